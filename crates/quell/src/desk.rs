//! The engine at its desk: inputs in, effects gathered, one commit for many inputs, and only then the telling.
//!
//! Remember, tell, let go: effects, positions and outbox rows are committed in one transaction; only then is anything
//! published; a crash between any two steps is harmless. Absent on purpose: where inputs come from (`shell`).

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use opentelemetry::trace::TraceContextExt as _;
use quell_domain::{Activation, Input, Moment, Position, Shard, Sharding};
use quell_engine::{Artefact, Disposed, Effects, Engine, Fold};
use quell_store::{Commit, Flush, Store, StoreError, Version};

use crate::artefacts::Shelf;
use crate::aside::{Rescue, TRIES, is_its_own_fault};
use crate::clock::SystemClock;
use crate::gauges::Gauges;
use crate::journey::Journeys;
use crate::live::Published;

/// The wait before a refused commit is tried again, doubled each time up to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// True when the same may succeed later.
pub(crate) fn passes(error: &StoreError) -> bool {
    matches!(error, StoreError::DiskFull { .. } | StoreError::Unavailable { .. })
}

/// The engine with what is not committed yet.
pub(crate) struct Desk {
    pub(crate) shard: Shard,
    /// Says which part of a record is this shard's.
    pub(crate) sharding: Arc<Sharding>,
    pub(crate) epoch: u64,
    pub(crate) engine: Engine,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) published: Arc<Published>,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) sinks: Vec<String>,
    /// Those of them that are told of problems, too.
    pub(crate) problem_sinks: Vec<String>,
    /// Without it a record that cannot be decided is only said, and one that cannot be committed ends the process.
    pub(crate) rescue: Option<Rescue>,
    /// The last command that was applied.
    pub(crate) commands: Position,
    pub(crate) pending: Effects,
    /// Artefacts that came into force since the last commit.
    pub(crate) activated: Vec<Version>,
    /// Something must be committed even when no row changed: an artefact came into force.
    pub(crate) forced: bool,
    pub(crate) folds: Vec<Fold>,
    /// The last record of the main stream contained in a flush.
    pub(crate) folded: Position,
    pub(crate) journeys: Journeys,
}

impl Desk {
    /// Applies one record of the main stream.
    pub(crate) async fn apply(&mut self, moment: Moment, input: &Input) {
        if let Input::Activate(activation) = input {
            // An artefact that cannot be read any more must not stop intake: what is in force stays in force.
            match self.artefact(*activation).await {
                Ok(artefact) => self.engine.shelve(activation.digest, artefact),
                Err(error) => tracing::error!(error = format!("{error:#}"), "an activated artefact cannot be used"),
            }
            self.forced = true;
        }
        self.forced |= matches!(input, Input::Outage { .. });
        let effects = self.engine.on_input(moment, input);
        self.journeys.decided(&effects);
        self.pending.absorb(effects);
        if let &Input::Activate(activation) = input
            && self.engine.checkpoint().artefact(activation.kind) == Some(activation.digest)
        {
            self.activated.push(Version { position: moment.position, at: moment.received_at, activation });
        }
    }

    /// The artefact that is put in force. Waits as long as the store is away: without the artefact this run would decide
    /// otherwise than the next one.
    async fn artefact(&self, activation: Activation) -> anyhow::Result<Artefact> {
        let mut wait = RETRY.0;
        loop {
            match self.shelf.take(&*self.store, activation).await {
                Err(error) if error.downcast_ref().is_some_and(passes) => {
                    self.published.store_away(true);
                    tracing::warn!(error = format!("{error:#}"), "the store did not give an artefact; trying again");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY.1);
                }
                answer => return answer,
            }
        }
    }

    /// Applies one command.
    pub(crate) fn command(&mut self, moment: Moment, input: &Input) {
        self.commands = self.commands.max(moment.position);
        let effects = self.engine.on_input(moment, input);
        self.journeys.decided(&effects);
        self.pending.absorb(effects);
    }

    /// How many rows wait to be committed.
    pub(crate) fn weight(&self) -> usize {
        self.pending.alerts.len() + self.pending.timeline.len() + self.pending.parked.len() + self.pending.changes.len()
    }

    /// Commits what is pending, if anything is, then tells of it. Waits as long as the store is away; what cannot be
    /// committed for its own sake is put aside.
    ///
    /// # Errors
    /// When the shard was lost or the disk has failed: the process must not go on.
    pub(crate) async fn commit(&mut self, flush: bool) -> anyhow::Result<()> {
        for attempt in 1.. {
            match self.try_commit(flush).await {
                Ok(()) => break,
                Err(error) if self.rescue.is_some() && is_its_own_fault(&error) => {
                    tracing::warn!(error = %crate::serve::chain(&error), attempt, "the store refused a commit");
                    match self.rescue.clone() {
                        Some(rescue) if attempt >= TRIES => return self.isolate(&rescue, flush).await,
                        _ => tokio::time::sleep(RETRY.0).await,
                    }
                }
                Err(error) => return Err(error).context("what was decided cannot be remembered"),
            }
        }
        Ok(())
    }

    /// The same, once.
    pub(crate) async fn try_commit(&mut self, flush: bool) -> Result<(), StoreError> {
        if flush {
            self.folds.extend(self.engine.take_folds());
        }
        let flush = flush && (self.folded < self.engine.position() || !self.folds.is_empty());
        if self.pending.is_empty() && !self.forced && !flush {
            self.tell(Vec::new());
            return Ok(());
        }
        let span = self.journeys.commit();
        let mut wait = RETRY.0;
        let changes = loop {
            let commit = Commit {
                shard: self.shard,
                epoch: self.epoch,
                applied: self.engine.position(),
                commands: self.commands,
                checkpoint: self.engine.checkpoint(),
                effects: &self.pending,
                activations: &self.activated,
                problem_sinks: &self.problem_sinks,
                flush: flush.then_some(Flush { folds: &self.folds }),
            };
            let started = std::time::Instant::now();
            match self.store.commit(commit, &self.sinks).await {
                Ok(committed) => {
                    self.gauges.committed(started.elapsed());
                    break committed.changes;
                }
                Err(error) if passes(&error) => {
                    self.published.store_away(true);
                    tracing::warn!(error = %crate::serve::chain(&error), "the store did not take a commit; trying again");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY.1);
                }
                Err(error) => return Err(error),
            }
        };
        span.span().end();
        self.published.store_away(false);
        self.activated.clear();
        if flush {
            self.folds.clear();
            self.folded = self.engine.position();
        }
        self.tell(changes);
        Ok(())
    }

    /// Tells of what is remembered.
    fn tell(&mut self, changes: Vec<quell_store::Change>) {
        let effects = std::mem::take(&mut self.pending);
        let Disposed { received, .. } = effects.disposed;
        if received != effects.disposed.sum() {
            tracing::error!(disposed = ?effects.disposed, "items were received and not disposed of once each");
        }
        self.gauges.disposed(effects.disposed);
        self.gauges.altered(effects.altered);
        self.gauges.recognised(effects.problems.tally);
        self.gauges.unbound(&effects.alerts);
        self.gauges.transitions(&effects.notices);
        self.journeys.end(SystemClock::now()).for_each(|took| self.gauges.decided(took));
        let (alerts, incidents) = self.engine.in_hand();
        self.gauges.in_hand(alerts, incidents);
        self.gauges.unflushed(self.engine.unflushed());
        self.published.applied(self.engine.position());
        if std::mem::take(&mut self.forced) {
            self.published.in_force(self.engine.graph(), self.engine.checkpoint());
        }
        if !effects.outcomes.is_empty() {
            let verdicts = effects.outcomes.iter().map(|outcome| (outcome.command, outcome.verdict));
            self.published.decided(verdicts, self.commands);
        }
        self.published.publish(changes);
        if !effects.notices.is_empty() || !effects.problems.timeline.is_empty() {
            self.published.wake.send_replace(());
        }
    }
}
