//! What one commit holds and what is told once it is made. While the store makes it, the engine decides on.
//!
//! Absent on purpose: what is decided anew when the store refuses for good (`aside`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use quell_cmdb::Graph;
use quell_domain::{Position, Shard, Timestamp};
use quell_engine::{Checkpoint, Disposed, Effects, Fold};
use quell_store::{Change, Commit, Flush, Store, StoreError, Version};

use crate::aside::is_its_own_fault;
use crate::gauges::Gauges;
use crate::journey::Travelled;
use crate::live::Published;

/// The wait before a refused commit is tried again, doubled each time up to the second.
pub(crate) const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// True when the same may succeed later.
pub(crate) fn passes(error: &StoreError) -> bool {
    matches!(error, StoreError::DiskFull { .. } | StoreError::Unavailable { .. })
}

/// Effects of many inputs, and the engine's state after the last of them.
pub(crate) struct Batch {
    pub(crate) applied: Position,
    pub(crate) commands: Position,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) effects: Effects,
    pub(crate) activated: Vec<Version>,
    pub(crate) flush: Option<Vec<Fold>>,
    /// The graph, where it may be another now.
    pub(crate) graph: Option<Arc<Graph>>,
    pub(crate) in_hand: (u64, u64),
    pub(crate) unflushed: usize,
    pub(crate) travelled: Travelled,
}

/// Where batches are remembered.
#[derive(Clone)]
pub(crate) struct Memory {
    pub(crate) shard: Shard,
    pub(crate) epoch: u64,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) published: Arc<Published>,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) sinks: Vec<String>,
    /// Those of them that are told of problems, too.
    pub(crate) problem_sinks: Vec<String>,
}

impl Memory {
    /// Commits a batch. Waits as long as the store is away; what the store refuses for the batch's own sake is tried so
    /// often.
    pub(crate) async fn remember(&self, batch: &Batch, tries: u32) -> Result<Vec<Change>, StoreError> {
        let _committing = batch.travelled.commit();
        let (mut wait, mut refusals) = (RETRY.0, 0);
        loop {
            let commit = Commit {
                shard: self.shard,
                epoch: self.epoch,
                applied: batch.applied,
                commands: batch.commands,
                checkpoint: batch.checkpoint,
                effects: &batch.effects,
                activations: &batch.activated,
                problem_sinks: &self.problem_sinks,
                flush: batch.flush.as_deref().map(|folds| Flush { folds }),
            };
            let started = Instant::now();
            match self.store.commit(commit, &self.sinks).await {
                Ok(committed) => {
                    self.gauges.committed(started.elapsed());
                    self.published.store_away(false);
                    return Ok(committed.changes);
                }
                Err(error) if passes(&error) => {
                    self.published.store_away(true);
                    tracing::warn!(error = %crate::serve::chain(&error), "the store did not take a commit; trying again");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY.1);
                }
                Err(error) if is_its_own_fault(&error) && refusals + 1 < tries => {
                    refusals += 1;
                    tracing::warn!(error = %crate::serve::chain(&error), refusals, "the store refused a commit");
                    tokio::time::sleep(RETRY.0).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Tells of what is remembered.
    pub(crate) fn tell(&self, batch: Batch, changes: Vec<Change>, now: Timestamp) {
        let Batch { applied, commands, checkpoint, effects, graph, in_hand, unflushed, travelled, .. } = batch;
        let Disposed { received, .. } = effects.disposed;
        if received != effects.disposed.sum() {
            tracing::error!(disposed = ?effects.disposed, "items were received and not disposed of once each");
        }
        self.gauges.disposed(effects.disposed);
        self.gauges.altered(effects.altered);
        self.gauges.recognised(effects.problems.tally);
        self.gauges.unbound(&effects.alerts);
        self.gauges.transitions(&effects.notices);
        travelled.end(now).for_each(|took| self.gauges.decided(took));
        let (alerts, incidents) = in_hand;
        self.gauges.in_hand(alerts, incidents);
        self.published.unflushed(unflushed as u64);
        self.published.applied(applied);
        if let Some(graph) = graph {
            self.published.in_force(&graph, checkpoint);
        }
        if !effects.outcomes.is_empty() {
            let verdicts = effects.outcomes.iter().map(|outcome| (outcome.command, outcome.verdict));
            self.published.decided(verdicts, commands);
        }
        self.published.publish(changes);
        if !effects.notices.is_empty() || !effects.problems.timeline.is_empty() {
            self.published.wake.send_replace(());
        }
    }
}
