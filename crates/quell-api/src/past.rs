//! The topology that was in force at a past instant, and a few of those graphs kept at hand.
//!
//! Absent on purpose: the one in force now; the engine's side has it.

use std::sync::Arc;

use axum::http::StatusCode;
use quell_cmdb::Graph;
use quell_domain::{ArtefactKind, Digest, Timestamp};
use quell_formats::topology;

use crate::App;
use crate::answer::Problem;

/// Graphs kept.
const GRAPHS: usize = 4;
/// CIs and relationships of all of them together; a single larger one is kept alone.
const PARTS: usize = 4_000_000;

/// Past graphs, the last used first. One is read at a time, so that many who ask cannot fill the memory.
#[derive(Debug, Default)]
pub(crate) struct Past {
    kept: tokio::sync::Mutex<Vec<(Digest, Arc<Graph>)>>,
}

/// A topology with what names it.
pub(crate) struct InForce {
    pub(crate) graph: Arc<Graph>,
    pub(crate) digest: Option<Digest>,
}

/// The topology in force at an instant, or now.
///
/// # Errors
/// When none was in force then, or it cannot be read.
pub(crate) async fn in_force(app: &App, at: Option<Timestamp>) -> Result<InForce, Problem> {
    let (graph, now) = (app.api.live.graph(), app.api.live.topology());
    let Some(at) = at else { return Ok(InForce { graph, digest: now }) };
    let versions = app.api.store.versions(app.api.first(), ArtefactKind::Topology, at, 1).await?;
    let Some(digest) = versions.first().map(|version| version.activation.digest) else {
        let allowed = Some("an instant since the first of /api/v1/topology/versions".into());
        return Err(Problem { allowed, ..Problem::not_found("topology in force at", &at.to_string()) });
    };
    if now == Some(digest) {
        return Ok(InForce { graph, digest: now });
    }
    let mut kept = app.past.kept.lock().await;
    let found = kept.iter().position(|(known, _)| *known == digest);
    let graph = match found {
        Some(place) => kept.remove(place).1,
        None => read(app, digest).await?,
    };
    kept.insert(0, (digest, Arc::clone(&graph)));
    forget(&mut kept);
    Ok(InForce { graph, digest: Some(digest) })
}

async fn read(app: &App, digest: Digest) -> Result<Arc<Graph>, Problem> {
    let unreadable = || {
        let why = format!("the topology {digest} cannot be read any more");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", why)
    };
    let bytes = app.api.store.artefact(ArtefactKind::Topology, digest).await?.ok_or_else(unreadable)?;
    let made =
        tokio::task::spawn_blocking(move || topology::decode(&bytes).map(|topology| Arc::new(Graph::new(topology))));
    made.await.ok().and_then(Result::ok).ok_or_else(unreadable)
}

/// Lets go of the longest unused beyond the limits.
fn forget(kept: &mut Vec<(Digest, Arc<Graph>)>) {
    kept.truncate(GRAPHS);
    let size = |graph: &Graph| graph.topology().cis().len() + graph.topology().relationships().len();
    while kept.len() > 1 && kept.iter().map(|(_, graph)| size(graph)).sum::<usize>() > PARTS {
        kept.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_graphs_are_kept_and_the_longest_unused_goes_first() {
        let mut kept: Vec<_> = (0..6).map(|n| (Digest([n; 32]), Arc::new(Graph::default()))).collect();
        forget(&mut kept);
        let left: Vec<u8> = kept.iter().map(|(digest, _)| digest.0[0]).collect();
        assert_eq!(left, [0, 1, 2, 3]);
    }
}
