//! Standing by: what another node decided, as the store says it, for pages, streams and whoever waits for an outcome.
//!
//! The store is asked a few times a second how far it is, and for the rest only when it went on. Absent on purpose:
//! deciding, and anything that the store does not say; see `turns` for whose turn it is.

use std::sync::Arc;
use std::time::Duration;

use quell_domain::{ArtefactKind, Position, Shard};
use quell_engine::{Artefact, Checkpoint};
use quell_store::{Positions, Store};

use crate::artefacts;
use crate::live::Published;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// Changes and outcomes asked for at once.
const PIECE: u32 = 500;

/// Follows what the store says.
pub(crate) struct Follower {
    store: Arc<dyn Store>,
    published: Arc<Published>,
    shard: Shard,
    begun: bool,
    seen: Option<(Positions, Checkpoint)>,
}

impl Follower {
    pub(crate) fn new(store: &Arc<dyn Store>, published: &Arc<Published>, shard: Shard) -> Self {
        let (store, published) = (Arc::clone(store), Arc::clone(published));
        Follower { store, published, shard, begun: false, seen: None }
    }

    /// Looks again and again, for ever. A store that does not answer is asked again.
    pub(crate) async fn run(&mut self) {
        loop {
            if let Err(error) = self.look().await
                && !self.published.is_store_silent()
            {
                tracing::warn!(error = format!("{error:#}"), "the store does not say what was decided; asking again");
                self.published.store_silent(true);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Publishes what was decided since the last look.
    ///
    /// # Errors
    /// When the store does not answer, or the topology in force cannot be read.
    pub(crate) async fn look(&mut self) -> anyhow::Result<()> {
        let found = self.store.position(self.shard).await?;
        self.published.store_silent(false);
        if self.seen == Some(found) {
            return Ok(());
        }
        let (positions, checkpoint) = found;
        self.published.store_away(false);
        if !self.begun {
            self.published.begin(self.store.newest_change(self.shard).await?, positions.commands);
            self.begun = true;
        }
        if checkpoint.topology != quell_api::ports::Live::topology(&*self.published) {
            let graph = match checkpoint.topology {
                None => Arc::default(),
                Some(digest) => match artefacts::load(&*self.store, ArtefactKind::Topology, digest).await? {
                    Artefact::Topology(graph) => graph,
                    _ => anyhow::bail!("the artefact {digest} is no topology"),
                },
            };
            self.published.in_force(&graph, checkpoint);
        }
        self.changes().await?;
        self.published.applied(positions.applied);
        self.published.went_on();
        self.outcomes(positions.commands).await?;
        self.seen = Some(found);
        Ok(())
    }

    async fn changes(&self) -> anyhow::Result<()> {
        loop {
            let piece = self.store.changes_since(self.shard, self.published.newest(), PIECE).await?;
            let whole = piece.len() < PIECE as usize;
            self.published.publish(piece);
            if whole {
                return Ok(());
            }
        }
    }

    /// What became of commands up to one.
    async fn outcomes(&self, through: Position) -> anyhow::Result<()> {
        loop {
            let after = self.published.decided_through();
            if after >= through {
                return Ok(());
            }
            let mut piece = self.store.outcomes(self.shard, after, PIECE).await?;
            // Of those that came meanwhile the next look tells.
            piece.retain(|outcome| outcome.command <= through);
            let whole = piece.len() < PIECE as usize;
            let last = if whole { through } else { piece.last().map_or(through, |outcome| outcome.command) };
            self.published.decided(piece.iter().map(|outcome| (outcome.command, outcome.verdict)), last);
        }
    }
}
