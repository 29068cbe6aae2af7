//! The engine at its desk: inputs in, effects gathered, one commit for many inputs, and only then the telling.
//!
//! Remember, tell, let go: effects, positions and outbox rows are committed in one transaction; only then is anything
//! published; a crash between any two steps is harmless. Absent on purpose: where inputs come from (`shell`).

use std::sync::Arc;

use anyhow::Context;
use quell_domain::{Activation, Input, Moment, Position, Sharding};
use quell_engine::{Artefact, Effects, Engine};
use quell_store::{Change, Positions, StoreError, Version};
use tokio::task::JoinSet;

use crate::artefacts::Shelf;
use crate::aside::{Rescue, TRIES, is_its_own_fault};
use crate::batch::{Batch, Memory, RETRY, passes};
use crate::clock::SystemClock;
use crate::journey::Journeys;

/// The engine with what is not committed yet.
pub(crate) struct Desk {
    pub(crate) memory: Arc<Memory>,
    /// Says which part of a record is this shard's.
    pub(crate) sharding: Arc<Sharding>,
    pub(crate) engine: Engine,
    pub(crate) shelf: Arc<Shelf>,
    /// Without it a record that cannot be decided is only said, and one that cannot be committed ends the process.
    pub(crate) rescue: Option<Rescue>,
    /// The last command that was applied.
    pub(crate) commands: Position,
    pub(crate) pending: Effects,
    /// Artefacts that came into force since the last commit.
    pub(crate) activated: Vec<Version>,
    /// Something must be committed even when no row changed: an artefact came into force.
    pub(crate) forced: bool,
    /// The last record of the main stream contained in a flush.
    pub(crate) folded: Position,
    pub(crate) journeys: Journeys,
    /// The commit that the store makes now: one at most, and none once the desk is gone.
    under_way: JoinSet<Outcome>,
    /// What became of it, until it is told.
    made: Option<Outcome>,
}

/// Why what became of a commit is known.
const WHOLE: &str = "a commit neither panics nor is stopped while its desk stands";

/// A batch, and what its commit changed.
type Outcome = (Batch, Result<Vec<Change>, StoreError>);

impl Desk {
    /// A desk that goes on from what is remembered.
    pub(crate) fn new(
        memory: Memory,
        sharding: Arc<Sharding>,
        engine: Engine,
        shelf: Arc<Shelf>,
        positions: Positions,
    ) -> Desk {
        Desk {
            memory: Arc::new(memory),
            sharding,
            engine,
            shelf,
            rescue: None,
            commands: positions.commands,
            pending: Effects::default(),
            activated: Vec::new(),
            forced: true,
            folded: positions.folded,
            journeys: Journeys::default(),
            under_way: JoinSet::new(),
            made: None,
        }
    }

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
            match self.shelf.take(&*self.memory.store, activation).await {
                Err(error) if error.downcast_ref().is_some_and(passes) => {
                    self.memory.published.store_away(true);
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

    /// Commits what is pending, if anything is, and tells of it. Waits as long as the store is away; what cannot be
    /// committed for its own sake is put aside.
    ///
    /// # Errors
    /// When the shard was lost or the disk has failed: the process must not go on.
    pub(crate) async fn commit(&mut self, flush: bool) -> anyhow::Result<()> {
        self.settle().await?;
        self.send(flush);
        self.settle().await
    }

    /// The same, but does not wait for the store to be done with it, only with what it was given before. Less than
    /// `enough` waits with what comes next.
    ///
    /// # Errors
    /// As [`Desk::commit`].
    pub(crate) async fn commit_beside(&mut self, flush: bool, enough: usize) -> anyhow::Result<()> {
        self.tell_made().await?;
        if !self.under_way.is_empty() && !flush && self.weight() < enough {
            return Ok(());
        }
        self.settle().await?;
        self.send(flush);
        Ok(())
    }

    /// Tells of what the store was given, if it is done with it.
    ///
    /// # Errors
    /// As [`Desk::commit`].
    pub(crate) async fn tell_made(&mut self) -> anyhow::Result<()> {
        match self.under_way.try_join_next() {
            None if self.made.is_none() => Ok(()),
            None => self.settle().await,
            Some(done) => {
                self.made = Some(done.expect(WHOLE));
                self.settle().await
            }
        }
    }

    /// Returns when the store is done with what it was given; never where it was given nothing. May be dropped.
    pub(crate) async fn made(&mut self) {
        if self.made.is_some() {
            return;
        }
        match self.under_way.join_next().await {
            Some(done) => self.made = Some(done.expect(WHOLE)),
            None => std::future::pending().await,
        }
    }

    /// Waits for the store and tells of what it made.
    async fn settle(&mut self) -> anyhow::Result<()> {
        if self.made.is_none() && self.under_way.is_empty() {
            return Ok(());
        }
        self.made().await;
        let Some((batch, made)) = self.made.take() else { return Ok(()) };
        let flush = batch.flush.is_some();
        match (made, self.rescue.clone()) {
            (Ok(changes), _) => {
                self.tell(batch, changes);
                Ok(())
            }
            (Err(error), Some(rescue)) if is_its_own_fault(&error) => {
                tracing::warn!(error = %crate::serve::chain(&error), "the store refused a commit for good");
                self.isolate(&rescue, flush).await
            }
            (Err(error), _) => Err(error).context("what was decided cannot be remembered"),
        }
    }

    /// Gives the store what is pending, or tells of it where nothing of it is to be remembered.
    fn send(&mut self, flush: bool) {
        let (batch, memorable) = self.batch(flush);
        if !memorable {
            self.tell(batch, Vec::new());
            return;
        }
        let memory = Arc::clone(&self.memory);
        let tries = if self.rescue.is_some() { TRIES } else { 1 };
        self.under_way.spawn(async move {
            let made = memory.remember(&batch, tries).await;
            (batch, made)
        });
    }

    /// Commits what is pending, once, and tells of it.
    pub(crate) async fn try_commit(&mut self, flush: bool) -> Result<(), StoreError> {
        let (batch, memorable) = self.batch(flush);
        let changes = if memorable { self.memory.remember(&batch, 1).await? } else { Vec::new() };
        self.tell(batch, changes);
        Ok(())
    }

    /// Takes what is pending, and whether any of it has to be remembered.
    fn batch(&mut self, flush: bool) -> (Batch, bool) {
        let folds = if flush { self.engine.take_folds() } else { Vec::new() };
        let flush = flush && (self.folded < self.engine.position() || !folds.is_empty());
        let memorable = !self.pending.is_empty() || self.forced || flush;
        let batch = Batch {
            applied: self.engine.position(),
            commands: self.commands,
            checkpoint: self.engine.checkpoint(),
            effects: std::mem::take(&mut self.pending),
            activated: std::mem::take(&mut self.activated),
            flush: flush.then_some(folds),
            graph: std::mem::take(&mut self.forced).then(|| Arc::clone(self.engine.graph())),
            in_hand: self.engine.in_hand(),
            unflushed: self.engine.unflushed(),
            travelled: self.journeys.take(),
        };
        (batch, memorable)
    }

    /// Tells of what is remembered.
    fn tell(&mut self, batch: Batch, changes: Vec<Change>) {
        if batch.flush.is_some() {
            self.folded = batch.applied;
        }
        self.memory.tell(batch, changes, SystemClock::now());
    }
}
