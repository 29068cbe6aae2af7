//! What the loop around the engine lets the HTTP side see; on a node that stands by, what the store says instead
//! (`follow`).
//!
//! Absent on purpose: anything that is not committed; see `shell` for the order of remembering and telling.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
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

/// What a node does about deciding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// It decides nothing, and follows what is decided elsewhere.
    StandingBy,
    /// It is its turn, and it reads what was not decided yet.
    TakingOver,
    /// It decides.
    Deciding,
}

impl Role {
    /// What is said of each of them; of several shards, the last of these counts.
    pub(crate) const WORDS: [&str; 3] = [Role::StandingBy.words(), Role::Deciding.words(), Role::TakingOver.words()];

    const fn words(self) -> &'static str {
        match self {
            Role::StandingBy => "standing by",
            Role::TakingOver => "taking over",
            Role::Deciding => "deciding",
        }
    }
}

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
    /// Alerts of which repeats up to there are not in the store yet.
    unflushed: AtomicU64,
    decided: watch::Sender<Position>,
    verdicts: Mutex<BTreeMap<Position, Verdict>>,
    /// The store does not take commits.
    store_away: AtomicBool,
    /// The store does not answer questions.
    store_silent: AtomicBool,
    /// Something was refused for want of room since the store took its last commit.
    refusing: AtomicBool,
    role: watch::Sender<Role>,
    /// What may wait to be decided by another node; set where there may be others, whose store this node sees.
    others: OnceLock<u64>,
    /// The log has other nodes, so the role is worth a word.
    shared: AtomicBool,
    /// The number of the last change that was published.
    newest: AtomicU64,
    log: watch::Receiver<LogState>,
    /// Wakes the sinks' workers.
    pub(crate) wake: watch::Sender<()>,
}

impl Published {
    pub(crate) fn new(log: watch::Receiver<LogState>) -> Self {
        Published::telling(log, broadcast::channel(CHANGES).0)
    }

    /// Of another shard: what changes is told by the same channel.
    pub(crate) fn beside(&self, log: watch::Receiver<LogState>) -> Self {
        Published::telling(log, self.changes.clone())
    }

    fn telling(log: watch::Receiver<LogState>, changes: broadcast::Sender<Change>) -> Self {
        Published {
            changes,
            graph: RwLock::default(),
            topology: watch::channel(None).0,
            appended: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            unflushed: AtomicU64::new(0),
            decided: watch::channel(Position::START).0,
            verdicts: Mutex::default(),
            store_away: AtomicBool::new(false),
            store_silent: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            role: watch::channel(Role::StandingBy).0,
            others: OnceLock::new(),
            shared: AtomicBool::new(false),
            newest: AtomicU64::new(0),
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
        self.applied.fetch_max(position.0, Ordering::AcqRel);
    }

    /// Everything up to here is in the store from which the engine starts, and nothing after it.
    pub(crate) fn restored(&self, position: Position) {
        self.appended(position);
        self.applied.store(position.0, Ordering::Release);
    }

    /// Of so many alerts the latest repeats are not in the store; said before their records are said to be decided.
    pub(crate) fn unflushed(&self, alerts: u64) {
        self.unflushed.store(alerts, Ordering::Release);
    }

    /// How many records wait to be decided, and of how many alerts the repeats decided by then wait to be written: both
    /// are 0 only when everything received by then is in the store.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        // In this order: what is decided after the first look must not pass for written.
        (self.lag(), self.unflushed.load(Ordering::Acquire))
    }

    pub(crate) fn lag(&self) -> u64 {
        let applied = self.applied.load(Ordering::Acquire);
        self.appended.load(Ordering::Acquire).saturating_sub(applied)
    }

    /// Says what this node does now.
    pub(crate) fn turn_to(&self, role: Role) {
        self.role.send_replace(role);
    }

    pub(crate) fn role(&self) -> Role {
        *self.role.borrow()
    }

    /// Returns when this node decides.
    pub(crate) async fn decides(&self) {
        // The sender lives as long as self.
        let _ = self.role.subscribe().wait_for(|role| *role == Role::Deciding).await;
    }

    /// There may be other nodes; `most` records may wait for them, where that can be seen.
    pub(crate) fn share(&self, most: Option<u64>) {
        self.shared.store(true, Ordering::Release);
        if let Some(most) = most {
            // Said once, at the start.
            let _ = self.others.set(most);
        }
    }

    /// Whether there may be other nodes.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Acquire)
    }

    /// Whether as much waits for other nodes as may: what waits for this one has room of its own.
    pub(crate) fn is_too_much(&self) -> bool {
        self.role() == Role::StandingBy && self.others.get().is_some_and(|most| self.lag() >= *most)
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

    /// Wakes whoever waits for an activation: more is decided.
    pub(crate) fn went_on(&self) {
        self.topology.send_modify(|_| {});
    }

    /// The last command that is known to be decided.
    pub(crate) fn decided_through(&self) -> Position {
        *self.decided.borrow()
    }

    /// What was decided before this node looked is told to nobody.
    pub(crate) fn begin(&self, newest: u64, decided: Position) {
        self.newest.store(newest, Ordering::Release);
        self.decided.send_replace(decided);
    }

    /// The number of the last change that was published.
    pub(crate) fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
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
            self.newest.fetch_max(change.number, Ordering::AcqRel);
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
        let role = self.role();
        if self.is_shared() {
            health.role = Some(role.words());
        }
        if role == Role::TakingOver {
            health.degraded.push("still reading what was received before this node began to decide".into());
        }
        if self.store_away.load(Ordering::Acquire) {
            health.degraded.push("the store cannot be written: alerts are accepted and decided later".into());
        } else if self.is_store_silent() {
            health.degraded.push("the store does not answer: what was remembered cannot be shown".into());
        }
        if self.is_store_away() && self.refusing.load(Ordering::Acquire) {
            health.not_ready.push("all that may wait for the store waits: no more is accepted".into());
        } else if self.is_too_much() {
            health.not_ready.push("all that may wait to be decided waits: no more is accepted".into());
        }
        if health.lag_records > LAG_DEGRADED {
            health.degraded.push(format!("{} records wait to be decided", health.lag_records));
        }
        health
    }
}
