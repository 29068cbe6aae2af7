//! What depends on CIs, and what a change of them risks: `GET /api/v1/impact`.
//!
//! Absent on purpose: the walk over the graph (`quell-cmdb`).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use quell_cmdb::{CiIx, Graph, Scratch};
use quell_domain::{Change, CiId, Recognition, Timestamp};
use quell_store::{ChangeQuery, RecognisedQuery};
use serde_json::{Value, json};

use crate::answer::Problem;
use crate::params::Params;
use crate::past::{self, InForce};
use crate::{App, shape, shards};

/// Dependents listed when nothing is asked.
const DEPENDENTS: u32 = 1_000;
/// Dependents listed at most.
const MAX_DEPENDENTS: u32 = 100_000;
/// CIs that one question names.
const CIS: usize = 100;
/// Dependents with fewer alternatives that are listed.
const LOST: usize = 200;
/// The last changes of a CI, and the last incidents of one, that are looked at.
const CHANGES: u32 = 200;
const INCIDENTS: u32 = 1_000;
/// Incidents that are named.
const NAMED: usize = 10;
/// An incident within so many seconds of a change's end came after it.
const AFTER: u64 = 4 * 3600;

/// `GET /api/v1/impact`.
pub(crate) async fn impact(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Value>, Problem> {
    let params = Params::read(&uri, &["ci", "limit", "at"])?;
    let asked = params.get("ci").ok_or_else(|| Problem::bad("query parameter ci", "", "the id of a CI"))?;
    let limit = params.limit(DEPENDENTS, MAX_DEPENDENTS)?;
    let at = params.instant("at")?;
    let InForce { graph, digest: _ } = past::in_force(&app, at).await?;
    let changed = find(&graph, asked)?;
    let walk = app.api.limits.walk_cis;
    let (told, graph_of_walk, seeds) = (graph.clone(), graph, changed.clone());
    let now = at.or_else(|| Some((app.api.now)()));
    let walked = move || {
        let blast = graph_of_walk.blast_at(&mut Scratch::default(), &seeds, walk, now);
        let down: Vec<CiIx> = seeds.into_iter().chain(blast.dependents.iter().map(|one| one.ci)).collect();
        let lost = graph_of_walk.lost_redundancy(&down);
        (blast, lost)
    };
    let walked = tokio::task::spawn_blocking(walked).await;
    let (blast, lost) =
        walked.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the walk failed"))?;
    let mut shown = shape::impact(&told, changed[0], &blast, limit as usize);
    let mut history = Vec::new();
    for &ci in &changed {
        history.push(after_changes(&app, &told.ci(ci).id).await?);
    }
    if let Some(fields) = shown.as_object_mut() {
        let ids: Vec<&str> = changed.iter().map(|&ci| told.ci(ci).id.as_str()).collect();
        fields.insert("changed".into(), json!(ids));
        let rest: Vec<Value> = lost.iter().take(LOST).map(|lost| lost_json(&told, lost)).collect();
        fields.insert("redundancy_lost".into(), json!(rest));
        fields.insert("redundancy_lost_total".into(), json!(lost.len()));
        fields.insert("after_changes".into(), json!(history));
    }
    Ok(Json(shown))
}

/// The id of a CI, which may have commas in it, or several ids between commas.
fn find(graph: &Graph, asked: &str) -> Result<Vec<CiIx>, Problem> {
    if let Some(one) = graph.find(&CiId::new(asked)) {
        return Ok(vec![one]);
    }
    let mut found = Vec::new();
    for name in asked.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let ix = graph.find(&CiId::new(name)).ok_or_else(|| Problem::not_found("CI", name))?;
        if !found.contains(&ix) {
            found.push(ix);
        }
    }
    if found.is_empty() || found.len() > CIS {
        let allowed = format!("1 to {CIS} ids of CIs, with commas between them");
        return Err(Problem::bad("query parameter ci", asked, allowed));
    }
    Ok(found)
}

fn lost_json(graph: &Graph, lost: &quell_cmdb::Lost) -> Value {
    let ci = graph.ci(lost.dependent);
    json!({
        "ci": ci.id.as_str(),
        "name": ci.name,
        "alternatives": lost.alternatives,
        "left": lost.left,
        "at_least": lost.at_least,
        "falls": lost.falls(),
        "one_more_failure_fells_it": lost.is_bare(),
    })
}

/// How often an incident of a CI came after a change of it, beside how often that would be by chance.
async fn after_changes(app: &App, ci: &CiId) -> Result<Value, Problem> {
    let store = &app.api.store;
    let ask = |shard, before, limit| {
        store.change_events(shard, ChangeQuery { ci: Some(ci.clone()), before, limit, ..ChangeQuery::default() })
    };
    let changes: Vec<Change> = shards::page(&app.api.sharding, None, CHANGES, ask).await?.items();
    let ask = |shard, limit| {
        store.recognised(shard, RecognisedQuery { cause: Some(ci.clone()), limit, ..RecognisedQuery::default() })
    };
    let incidents = shards::merged(&app.api.sharding, INCIDENTS, ask, |a, b| b.opened_at.cmp(&a.opened_at)).await?;
    let incidents: Vec<Recognition> = incidents.into_iter().map(|(_, row)| row).collect();
    let oldest = changes.iter().map(|change| change.starts_at).min();
    let mut followed = 0_u64;
    let mut named: Vec<String> = Vec::new();
    let mut watched = 0.0;
    for change in &changes {
        let until = change.ends_at.unwrap_or(change.starts_at) + std::time::Duration::from_secs(AFTER);
        watched += seconds(change.starts_at, until);
        let after = incidents.iter().filter(|row| change.starts_at <= row.opened_at && row.opened_at < until);
        let ids: Vec<String> = after.map(|row| row.incident.to_string()).collect();
        followed += u64::from(!ids.is_empty());
        named.extend(ids);
    }
    named.sort();
    named.dedup();
    named.truncate(NAMED);
    // Incidents come at their own rate too, since the first of these changes.
    let span = oldest.map_or(0.0, |oldest| seconds(oldest, (app.api.now)()));
    let since = incidents.iter().filter(|row| oldest.is_some_and(|oldest| row.opened_at >= oldest)).count() as f64;
    let mean = if changes.is_empty() { 0.0 } else { watched / changes.len() as f64 };
    let chance = if span > 0.0 { 1.0 - (-since / span * mean).exp() } else { 0.0 };
    Ok(json!({
        "ci": ci.as_str(),
        "changes": changes.len(),
        "followed_by_an_incident": followed,
        "expected_by_chance": (chance * changes.len() as f64 * 10.0).round() / 10.0,
        "within_seconds": AFTER,
        "incidents": named,
        "incidents_of_it": incidents.len(),
    }))
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.since(from).as_secs_f64()
}
