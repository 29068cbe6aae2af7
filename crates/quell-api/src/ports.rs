//! What the HTTP side needs from the process it runs in. The shell implements it; tests script it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use quell_cmdb::Graph;
use quell_domain::{
    Batch, Changes, Command, Digest, Position, ProblemCommand, ReceiptId, Source, Timestamp, Topology, Verdict,
};
use quell_store::Change;
use tokio::sync::broadcast;

/// The way onto the log.
pub trait Intake: Send + Sync + 'static {
    /// Makes a request durable. Returns only when it cannot be lost any more. There is no receipt while the log is away
    /// and the request lies in the spool of this node, because it has no place on the log yet.
    fn accept(&self, source: Source, body: Bytes, batch: Batch) -> BoxFuture<'_, Result<Option<ReceiptId>, Refusal>>;

    /// Makes a request that tells of changes durable, as [`Intake::accept`] does one of alerts.
    fn changes(
        &self,
        source: Source,
        body: Bytes,
        changes: Changes,
    ) -> BoxFuture<'_, Result<Option<ReceiptId>, Refusal>>;

    /// Makes a command durable, and waits up to `patience` for what became of it.
    fn command(&self, command: Command, patience: Duration) -> BoxFuture<'_, Result<Commanded, Refusal>>;

    /// Makes a command about problems durable, and waits as [`Intake::command`] does.
    fn problem(&self, command: ProblemCommand, patience: Duration) -> BoxFuture<'_, Result<Commanded, Refusal>>;

    /// Keeps a topology and puts it in force; returns when the engine has it in force.
    fn topology(&self, topology: Topology) -> BoxFuture<'_, Result<Activated, Refusal>>;

    /// What of a record its shard received, decoded again; `None` when the log no longer (or not yet) holds it, or it holds
    /// neither alerts nor changes.
    fn record(&self, receipt: ReceiptId) -> BoxFuture<'_, Result<Option<Received>, Refusal>>;
}

/// A command that is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Commanded {
    /// Its place on the stream of commands.
    pub position: Position,
    /// What became of it; `None` when that was not decided in time.
    pub verdict: Option<Verdict>,
}

/// A topology in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Activated {
    /// Its digest.
    pub digest: Digest,
    /// False when it was in force already.
    pub changed: bool,
}

/// A request as received.
#[derive(Clone, PartialEq, Debug)]
pub struct Received {
    /// When.
    pub received_at: Timestamp,
    /// What it held.
    pub held: Held,
}

/// What a request held.
#[derive(Clone, PartialEq, Debug)]
pub enum Held {
    /// Alerts.
    Alerts(Batch),
    /// Changes.
    Changes(Changes),
}

/// Why a request was not made durable. Nothing of it was kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// More is waiting than the limit allows.
    #[error("more is waiting to be decided than the limit allows")]
    Overloaded,
    /// The disk is full; it opens again by itself.
    #[error("the disk is full")]
    DiskFull,
    /// The disk failed; the process is about to exit.
    #[error("the disk failed")]
    Failed,
    /// Shutting down.
    #[error("shutting down")]
    Closing,
    /// The store or the log is away.
    #[error("the store or the log is unavailable")]
    Unavailable,
}

/// What the engine's side knows now.
pub trait Live: Send + Sync + 'static {
    /// Changes as they are committed. A reader that falls behind asks the store for what it missed.
    fn changes(&self) -> broadcast::Receiver<Change>;

    /// The graph in force.
    fn graph(&self) -> Arc<Graph>;

    /// The digest of the topology in force.
    fn topology(&self) -> Option<Digest>;

    /// Whether a record can be accepted durably now.
    fn health(&self) -> Health;
}

/// Whether the process does its job.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// What keeps it from accepting; empty when it is ready.
    pub not_ready: Vec<String>,
    /// What is worse than it should be although it accepts.
    pub degraded: Vec<String>,
    /// Records that are durable and not yet decided.
    pub lag_records: u64,
    /// What this node does about deciding, where there may be others.
    pub role: Option<&'static str>,
}
