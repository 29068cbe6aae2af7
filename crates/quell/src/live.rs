//! What the loop around the engine lets the HTTP side see.
//!
//! Absent on purpose: anything that is not committed; see `shell` for the order of remembering and telling.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use quell_api::ports::{Health, Live};
use quell_cmdb::Graph;
use quell_domain::{Digest, Position, Verdict};
use quell_engine::Checkpoint;
use quell_log::LogState;
use quell_store::Change;
use tokio::sync::{broadcast, watch};

/// Changes kept for a reader that is slow; one that is slower asks the store.
const CHANGES: usize = 1024;

/// Verdicts kept for whoever waits for them.
const VERDICTS: usize = 4096;

/// Records that may wait before intake is called degraded.
const LAG_DEGRADED: u64 = 1000;

/// The state that the loop publishes.
#[derive(Debug)]
pub(crate) struct Published {
    changes: broadcast::Sender<Change>,
    graph: RwLock<Arc<Graph>>,
    topology: watch::Sender<Option<Digest>>,
    /// The last record known to be durable.
    appended: AtomicU64,
    /// The last record whose effects are committed.
    applied: AtomicU64,
    decided: watch::Sender<Position>,
    verdicts: Mutex<BTreeMap<Position, Verdict>>,
    /// The store does not take commits.
    store_away: AtomicBool,
    /// The store does not answer questions.
    store_silent: AtomicBool,
    /// Something was refused for want of room since the store took its last commit.
    refusing: AtomicBool,
    recovering: AtomicBool,
    log: watch::Receiver<LogState>,
    /// Wakes the sinks' workers.
    pub(crate) wake: watch::Sender<()>,
}

impl Published {
    pub(crate) fn new(log: watch::Receiver<LogState>) -> Self {
        Published {
            changes: broadcast::channel(CHANGES).0,
            graph: RwLock::default(),
            topology: watch::channel(None).0,
            appended: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            decided: watch::channel(Position::START).0,
            verdicts: Mutex::default(),
            store_away: AtomicBool::new(false),
            store_silent: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            recovering: AtomicBool::new(true),
            log,
            wake: watch::channel(()).0,
        }
    }

    /// A record is durable.
    pub(crate) fn appended(&self, position: Position) {
        self.appended.fetch_max(position.0, Ordering::AcqRel);
    }

    /// Everything up to here is decided and remembered.
    pub(crate) fn applied(&self, position: Position) {
        self.appended(position);
        self.applied.store(position.0, Ordering::Release);
    }

    pub(crate) fn lag(&self) -> u64 {
        let applied = self.applied.load(Ordering::Acquire);
        self.appended.load(Ordering::Acquire).saturating_sub(applied)
    }

    pub(crate) fn recovered(&self) {
        self.recovering.store(false, Ordering::Release);
    }

    pub(crate) fn store_away(&self, away: bool) {
        self.store_away.store(away, Ordering::Release);
        if !away {
            self.refusing.store(false, Ordering::Release);
        }
    }

    pub(crate) fn store_silent(&self, silent: bool) {
        self.store_silent.store(silent, Ordering::Release);
    }

    pub(crate) fn is_store_silent(&self) -> bool {
        self.store_silent.load(Ordering::Acquire)
    }

    /// True while the store does not do its work.
    pub(crate) fn is_store_away(&self) -> bool {
        self.store_away.load(Ordering::Acquire) || self.is_store_silent()
    }

    /// Something was refused because too much waits to be decided.
    pub(crate) fn refused(&self) {
        self.refusing.store(true, Ordering::Release);
    }

    pub(crate) fn in_force(&self, graph: &Arc<Graph>, checkpoint: Checkpoint) {
        *self.graph.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(graph);
        self.topology.send_replace(checkpoint.topology);
    }

    /// Waits until an activation at `position` is decided.
    pub(crate) async fn wait_for_activation(&self, position: Position) {
        let mut topology = self.topology.subscribe();
        // The sender lives as long as self, and sends after every activation.
        let _ = topology.wait_for(|_| self.applied.load(Ordering::Acquire) >= position.0).await;
    }

    /// Commands up to `position` are decided and remembered.
    pub(crate) fn decided(&self, verdicts: impl IntoIterator<Item = (Position, Verdict)>, position: Position) {
        let mut kept = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(verdicts);
        while kept.len() > VERDICTS {
            kept.pop_first();
        }
        drop(kept);
        self.decided.send_replace(position);
    }

    /// What became of a command; `None` when that is not decided within `patience`.
    pub(crate) async fn verdict(&self, position: Position, patience: Duration) -> Option<Verdict> {
        let mut decided = self.decided.subscribe();
        tokio::time::timeout(patience, decided.wait_for(|through| *through >= position)).await.ok()?.ok()?;
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner).get(&position).copied()
    }

    pub(crate) fn publish(&self, changes: Vec<Change>) {
        for change in changes {
            // Nobody listening is no error.
            let _ = self.changes.send(change);
        }
    }
}

impl Live for Published {
    fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    fn graph(&self) -> Arc<Graph> {
        Arc::clone(&self.graph.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn topology(&self) -> Option<Digest> {
        *self.topology.borrow()
    }

    fn health(&self) -> Health {
        let mut health = Health { lag_records: self.lag(), ..Health::default() };
        match *self.log.borrow() {
            LogState::Open => {}
            LogState::Spooling => {
                health.degraded.push("the log is away: what is received is kept on this node and decided later".into());
            }
            LogState::Full => health.not_ready.push("the log's disk is full".into()),
            LogState::Failed => health.not_ready.push("the log's disk has failed".into()),
            LogState::Closed => health.not_ready.push("shutting down".into()),
        }
        if self.recovering.load(Ordering::Acquire) {
            health.not_ready.push("still reading what was received before the start".into());
        }
        if self.store_away.load(Ordering::Acquire) {
            health.degraded.push("the store cannot be written: alerts are accepted and decided later".into());
            if self.refusing.load(Ordering::Acquire) {
                health.not_ready.push("all that may wait for the store waits: no more is accepted".into());
            }
        } else if self.is_store_silent() {
            health.degraded.push("the store does not answer: what was remembered cannot be shown".into());
        }
        if health.lag_records > LAG_DEGRADED {
            health.degraded.push(format!("{} records wait to be decided", health.lag_records));
        }
        health
    }
}
