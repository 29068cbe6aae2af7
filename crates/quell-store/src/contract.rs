//! What every store promises, whichever database it lies in. One suite of tests runs against each.

use std::time::Duration;

use futures::future::BoxFuture;
use quell_domain::{
    Activation, Alert, AlertId, ArtefactKind, ChangeId, CiId, Digest, Feedback, Fingerprint, Incident, IncidentId,
    IncidentState, Notice, Outcome, Position, Shard, Sharding, TimelineEntry, Timestamp,
};
use quell_engine::{Checkpoint, Effects, Fold, Parked, Snapshot};

/// How far the store contains what the log holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Positions {
    /// The last record of the main stream whose effects are contained.
    pub applied: Position,
    /// The last record up to which repeats are contained for every alert.
    pub folded: Position,
    /// The last command whose effects are contained.
    pub commands: Position,
}

/// Everything of one transaction.
#[derive(Clone, Debug)]
pub struct Commit<'a> {
    /// Whose.
    pub shard: Shard,
    /// The epoch under which the writer got the shard; another one is refused ([`StoreError::Fenced`]).
    pub epoch: u64,
    /// `applied` and `commands` after this commit; `folded` moves only with a flush.
    pub applied: Position,
    /// See [`Positions::commands`].
    pub commands: Position,
    /// See [`Checkpoint`].
    pub checkpoint: Checkpoint,
    /// What to remember. Of several versions of a row only the last is written.
    pub effects: &'a Effects,
    /// Artefacts that came into force since the last commit.
    pub activations: &'a [Version],
    /// Those of the sinks that are told of problems, too.
    pub problem_sinks: &'a [String],
    /// Repeats folded since the last flush, when this commit flushes; then `folded` becomes `applied`.
    pub flush: Option<Flush<'a>>,
}

/// An artefact that came into force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    /// The record that put it in force.
    pub position: Position,
    /// When.
    pub at: Timestamp,
    /// What it is.
    pub activation: Activation,
}

/// The alerts touched by repeats since the last flush.
#[derive(Clone, Copy, Debug)]
pub struct Flush<'a> {
    /// Their folds, each alert once.
    pub folds: &'a [Fold],
}

/// What a commit brought forth.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Committed {
    /// One change for each incident written, with its new place in the order of changes.
    pub changes: Vec<Change>,
}

/// An incident changed. The numbers grow with every commit and never repeat, so a reader can ask for "all since".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// Its place in the order of changes.
    pub number: u64,
    /// The incident.
    pub incident: IncidentId,
    /// Its state after the change.
    pub state: IncidentState,
}

/// What a shard's engine starts from.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The epoch that commits must carry from now on; one more than the last.
    pub epoch: u64,
    /// Where to go on reading.
    pub positions: Positions,
    /// The engine's state.
    pub snapshot: Snapshot,
}

/// Which incidents to list; newest first (by number, descending).
#[derive(Clone, Debug)]
pub struct IncidentQuery {
    /// Only those in this state.
    pub state: Option<IncidentState>,
    /// Only those before this one in the order of the list.
    pub before: Option<IncidentId>,
    /// At most so many.
    pub limit: u32,
}

/// Which alerts to list; newest first (by id, descending). Stale ones are never listed.
#[derive(Clone, Debug, Default)]
pub struct AlertQuery {
    /// Only firing ones, or only ended ones.
    pub firing: Option<bool>,
    /// Only bound ones, or only unbound ones.
    pub bound: Option<bool>,
    /// Only those of this incident.
    pub incident: Option<IncidentId>,
    /// Only episodes of this fingerprint.
    pub fingerprint: Option<Fingerprint>,
    /// Only those before this one in the order of the list.
    pub before: Option<AlertId>,
    /// At most so many.
    pub limit: u32,
}

/// Which changes told of to list; those received last first (by id, descending).
#[derive(Clone, Debug, Default)]
pub struct ChangeQuery {
    /// Only those of this CI.
    pub ci: Option<CiId>,
    /// Only those in which the same was said.
    pub fingerprint: Option<Fingerprint>,
    /// Only bound ones, or only unbound ones.
    pub bound: Option<bool>,
    /// Only those that began then or later.
    pub from: Option<Timestamp>,
    /// Only those that began before then.
    pub to: Option<Timestamp>,
    /// Only those before this one in the order of the list.
    pub before: Option<ChangeId>,
    /// At most so many.
    pub limit: u32,
}

/// A part of a list, and where the next part begins.
#[derive(Clone, PartialEq, Debug)]
pub struct Page<T, K> {
    /// The items.
    pub items: Vec<T>,
    /// Pass it as `before` for the next part; `None` at the end.
    pub next: Option<K>,
}

/// An incident with all that belongs to it.
#[derive(Clone, PartialEq, Debug)]
pub struct IncidentDetail {
    /// The incident.
    pub incident: Incident,
    /// Its alerts, by id; at most as many as asked for.
    pub alerts: Vec<Alert>,
    /// Its timeline, oldest first.
    pub timeline: Vec<TimelineEntry>,
    /// Incidents that were merged into it, by number; at most [`RELATED`].
    pub merged: Vec<IncidentId>,
    /// Incidents that were split off from it, by number; at most [`RELATED`].
    pub split: Vec<IncidentId>,
}

impl IncidentDetail {
    /// An incident without what belongs to it.
    #[must_use]
    pub fn bare(incident: Incident) -> Self {
        let (alerts, timeline, merged, split) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        IncidentDetail { incident, alerts, timeline, merged, split }
    }
}

/// Incidents of one relation that a detail names.
pub const RELATED: u32 = 100;

/// A notice that one sink has not taken yet.
#[derive(Clone, PartialEq, Debug)]
pub struct Delivery {
    /// Its identity at the sink: the same at every attempt, unique over (shard, incident, notice number, sink).
    pub id: String,
    /// What to tell.
    pub notice: Notice,
    /// Attempts made so far.
    pub attempts: u32,
}

/// Why the store did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The shard was taken over by another writer: drop the state and load again.
    #[error("{operation}: the shard's epoch is no longer {epoch}")]
    Fenced {
        /// What was tried.
        operation: &'static str,
        /// The epoch the writer believed in.
        epoch: u64,
    },
    /// The disk is full: nothing was changed; try again.
    #[error("{operation}: no space left on the store's disk")]
    DiskFull {
        /// What was tried.
        operation: &'static str,
    },
    /// A write or fsync failed: the process must not go on.
    #[error("{operation}: the store's disk failed")]
    DiskFailed {
        /// What was tried.
        operation: &'static str,
        /// The database's word.
        #[source]
        source: sqlx::Error,
    },
    /// The database is away or busy: nothing was changed; try again.
    #[error("{operation}: the store is unavailable")]
    Unavailable {
        /// What was tried.
        operation: &'static str,
        /// The database's word.
        #[source]
        source: sqlx::Error,
    },
    /// The schema is newer than this binary.
    #[error("open: the store has schema {found}, this binary knows {known}; use a newer quell")]
    TooNew {
        /// The store's schema.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// The schema is older than this binary, and the file is only to be read.
    #[error("open: the store has schema {found}, this binary knows {known}; start quell on it once")]
    TooOld {
        /// The store's schema.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// A row that this binary cannot read.
    #[error("{operation}: the row of {what} is damaged: {why}")]
    Damaged {
        /// What was tried.
        operation: &'static str,
        /// Which row.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Shorthand for what every method returns.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A store. Methods that write for a shard are called by its one engine only.
pub trait Store: crate::problems::ProblemStore + crate::forecasts::ForecastStore {
    /// How inputs are shared out among shards; `None` when that was not said yet.
    fn sharding(&self) -> Answer<'_, Option<Sharding>>;

    /// Keeps how inputs are shared out, when nothing is kept yet; gives what is kept, which never changes.
    fn keep_sharding<'a>(&'a self, sharding: &'a Sharding) -> Answer<'a, Sharding>;

    /// Takes the shard over: raises its epoch and reads what its engine needs.
    fn take_over(&self, shard: Shard) -> Answer<'_, Restored>;

    /// Remembers, all or nothing. Notices become one delivery for each of `sinks` in the same transaction, and entries of
    /// problems' timelines one for each of [`Commit::problem_sinks`].
    fn commit<'a>(&'a self, commit: Commit<'a>, sinks: &'a [String]) -> Answer<'a, Committed>;

    /// Keeps an artefact by its digest; keeping it again changes nothing.
    fn put_artefact<'a>(&'a self, kind: ArtefactKind, digest: Digest, bytes: &'a [u8]) -> Answer<'a, ()>;

    /// The bytes of an artefact.
    fn artefact(&self, kind: ArtefactKind, digest: Digest) -> Answer<'_, Option<Vec<u8>>>;

    /// Artefacts of a kind that came into force at or before an instant, the last one first, at most `limit`: the first
    /// of them was in force then.
    fn versions(&self, shard: Shard, kind: ArtefactKind, at: Timestamp, limit: u32) -> Answer<'_, Vec<Version>>;

    /// Lets go of artefacts of a kind that were superseded before a record, and, where there is one shard, of those that
    /// nothing names: what came into force at the record or later stays, and what was in force until then. Only for a
    /// caller who knows that no artefact of the kind waits to be put in force in this shard; of several shards nobody
    /// knows that. Returns how many artefacts went.
    fn drop_superseded(&self, shard: Shard, kind: ArtefactKind, before: Position) -> Answer<'_, u64>;

    /// Positions and checkpoint of a shard, as committed.
    fn position(&self, shard: Shard) -> Answer<'_, (Positions, Checkpoint)>;

    /// A part of the list of incidents.
    fn incidents(&self, shard: Shard, query: IncidentQuery) -> Answer<'_, Page<Incident, IncidentId>>;

    /// One incident with its timeline and its first `alerts` alerts.
    fn incident(&self, shard: Shard, id: IncidentId, alerts: u32) -> Answer<'_, Option<IncidentDetail>>;

    /// A part of the list of alerts.
    fn alerts(&self, shard: Shard, query: AlertQuery) -> Answer<'_, Page<Alert, AlertId>>;

    /// The latest alerts before one, newest first, stale ones included, at most `limit`: what is learned from. In
    /// pieces, so that no reader is held long.
    fn latest_alerts(&self, shard: Shard, before: Option<AlertId>, limit: u32) -> Answer<'_, Vec<Alert>>;

    /// The last alert that is kept of those opened at or before a record.
    fn last_alert(&self, shard: Shard, through: Position) -> Answer<'_, Option<AlertId>>;

    /// The episodes of a fingerprint whose row was opened at or before a record, newest first, stale ones included:
    /// what a receipt is explained from.
    fn episodes(&self, shard: Shard, fingerprint: Fingerprint, through: Position) -> Answer<'_, Vec<Alert>>;

    /// What of a record was parked.
    fn parked_of(&self, shard: Shard, position: Position) -> Answer<'_, Vec<Parked>>;

    /// Parked parts, newest first, at most `limit`.
    fn parked(&self, shard: Shard, limit: u32) -> Answer<'_, Vec<Parked>>;

    /// Decided commands after a place on their stream, in order, at most `limit`: what a replay puts back.
    fn outcomes(&self, shard: Shard, after: Position, limit: u32) -> Answer<'_, Vec<Outcome>>;

    /// What operators said, the latest first, at most `limit`; what was taken back included.
    fn feedback(&self, shard: Shard, limit: u32) -> Answer<'_, Vec<Feedback>>;

    /// A part of the list of changes told of: planned alterations of CIs, not changes of incidents.
    fn change_events(&self, shard: Shard, query: ChangeQuery) -> Answer<'_, Page<quell_domain::Change, ChangeId>>;

    /// Changes after a number, in order, each incident once (its last change), at most `limit`.
    fn changes_since(&self, shard: Shard, number: u64, limit: u32) -> Answer<'_, Vec<Change>>;

    /// The number of the last change; 0 before the first. It may be greater than that of any incident.
    fn newest_change(&self, shard: Shard) -> Answer<'_, u64>;

    /// Deliveries of a shard to a sink that are due at `now`, but for those of problems, the oldest first, at most `limit`.
    /// An incident's later notices are not due before its earlier ones are delivered or dead.
    fn due<'a>(&'a self, shard: Shard, sink: &'a str, now: Timestamp, limit: u32) -> Answer<'a, Vec<Delivery>>;

    /// The sink took it.
    fn delivered<'a>(&'a self, id: &'a str, at: Timestamp) -> Answer<'a, ()>;

    /// The sink did not take it; try again after `retry_in`, or never again when that is `None` (dead: kept, counted,
    /// visible).
    fn failed<'a>(&'a self, id: &'a str, at: Timestamp, why: &'a str, retry_in: Option<Duration>) -> Answer<'a, ()>;

    /// Deletes history older than `before`: ended alerts, resolved incidents and changes that no engine has in hand.
    /// Returns how many rows went.
    fn forget_before(&self, shard: Shard, before: Timestamp) -> Answer<'_, u64>;
}
