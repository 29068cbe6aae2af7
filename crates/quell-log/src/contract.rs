//! What every log promises, whichever medium it lies on.

use std::error::Error;
use std::io;

use bytes::Bytes;
use futures::future::BoxFuture;
use quell_domain::{Origin, Position, RecordKind, Timestamp};
use tokio::sync::watch;

/// The streams of a shard, each with positions of its own. Commands are applied before waiting alerts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Stream {
    /// Alerts, ticks, outages, activations.
    Main = 0,
    /// Operators' commands.
    Commands = 1,
}

/// The one clock of the process. The shell owns it; tests script it.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock, now.
    fn now(&self) -> Timestamp;
}

/// A record to be appended.
#[derive(Clone, Debug)]
pub struct Draft<T> {
    /// Onto which stream.
    pub stream: Stream,
    /// What the bytes hold.
    pub kind: RecordKind,
    /// The bytes, as received.
    pub body: Bytes,
    /// The decoded form, handed to the reader of this process so that nothing is decoded twice.
    pub carry: Option<T>,
    /// A word that goes with the record to whoever reads it first, at most [`CONTEXT_BYTES`]; empty for none. It may get
    /// lost on the way: nothing may depend on it.
    pub context: Bytes,
}

/// The bytes of a record's context; a longer one is left out.
pub const CONTEXT_BYTES: usize = 64;

/// Where and when an append was made durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Its stream.
    pub stream: Stream,
    /// Its place on the stream.
    pub position: Position,
    /// Set by the log; never decreases along a stream. On a log that several nodes share, the one that appended may
    /// learn an earlier instant than its readers do: only they know what came before it.
    pub received_at: Timestamp,
}

/// How an append was made durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Appended {
    /// It is on the log.
    Logged(Stamp),
    /// The log is away, and it lies in this node's own spool, from which it goes onto the log later.
    Spooled {
        /// Its number among the records of this node.
        sequence: u64,
    },
}

impl Appended {
    /// Its place on the log, if it has one yet.
    #[must_use]
    pub const fn stamp(self) -> Option<Stamp> {
        match self {
            Appended::Logged(stamp) => Some(stamp),
            Appended::Spooled { .. } => None,
        }
    }
}

/// Whether a log accepts records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogState {
    /// It does.
    Open,
    /// The log is away and records go to the spool of this node, which is durable.
    Spooling,
    /// The disk is full. It opens again by itself.
    Full,
    /// The disk failed. It never accepts again in this process.
    Failed,
    /// It was shut down.
    Closed,
}

/// What may be dropped. A record goes when it is before what is needed and too old or too much; the newest record of
/// each stream always stays, because positions are counted on from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// The first record of each stream that is still needed, by [`Stream`]; nothing from there on is dropped.
    pub needed: [Position; 2],
    /// What was received earlier goes.
    pub before: Option<Timestamp>,
    /// When the log's used bytes are more than this, the oldest records of the main stream go.
    pub max_bytes: Option<u64>,
}

/// A durable record, as its reader gets it. Bytes are fetched again only where `carry` is missing.
#[derive(Clone, Debug)]
pub struct Record<T> {
    /// Where and when.
    pub stamp: Stamp,
    /// What the bytes hold.
    pub kind: RecordKind,
    /// The bytes; empty in the live hand-over when `carry` is there.
    pub body: Bytes,
    /// The decoded form, if it came from this process.
    pub carry: Option<T>,
    /// Which of whose records it is, on a log that several nodes share.
    pub origin: Option<Origin>,
    /// See [`Draft::context`]. Kafka keeps it; the embedded log hands it over in memory only, and a spool drops it.
    pub context: Bytes,
    /// It cannot be read, and others than quell can have put it there; its place is passed like a tick's.
    pub damage: Option<Box<Damage>>,
}

/// What is kept of a record that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// What is wrong with it.
    pub why: &'static str,
    /// Its headers, as they were.
    pub headers: Vec<(String, Bytes)>,
    /// Its bytes.
    pub body: Bytes,
}

impl<T> Record<T> {
    /// A record that cannot be read, in its place.
    #[must_use]
    pub fn damaged(stamp: Stamp, damage: Box<Damage>) -> Self {
        let (body, context) = (Bytes::new(), Bytes::new());
        Record { stamp, kind: RecordKind::Tick, body, carry: None, origin: None, context, damage: Some(damage) }
    }

    /// Bytes that it holds.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.body.len() + self.damage.as_ref().map_or(0, |damage| damage.body.len())
    }
}

/// Why nothing was appended. In every case nothing was acknowledged; nothing of the draft will be read, but for
/// [`AppendError::Failed`] and [`AppendError::Away`].
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// More waits to be read than the limit allows: answer 503 and come again.
    #[error("append: {waiting} records ({bytes} bytes) wait to be decided; the limit is reached")]
    Overloaded {
        /// Records appended and not yet read.
        waiting: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// The disk is full. The log opens again by itself when there is room.
    #[error("append: no space left on the log's disk")]
    DiskFull,
    /// A write or fsync failed: nothing more may be acknowledged by this process, and nothing more is read by it.
    /// Whether the draft reached the disk is not known, so the next start may find it there.
    #[error("append: the log's disk failed")]
    Failed(#[source] io::Error),
    /// The log is away and there is no spool for such a record: try again. Whether it landed all the same is not known
    /// when the log stopped answering in the middle of it.
    #[error("append: the log is away")]
    Away(#[source] Box<dyn Error + Send + Sync>),
    /// The log is shut down.
    #[error("append: the log is closed")]
    Closed,
}

/// Why a record was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What is on the log is not what was written.
    #[error("read the log: the record at {position} of {stream:?} is damaged: {why}")]
    Damaged {
        /// Its stream.
        stream: Stream,
        /// Its position.
        position: Position,
        /// What is wrong with it.
        why: &'static str,
        /// All of it where others than quell can have put it there: then it is passed over, and no reason to stop.
        shared: Option<Box<Damage>>,
    },
    /// The log cannot be read now.
    #[error("read the log: it cannot be read")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

/// The way onto one shard's log.
pub trait Append<T>: Send + Sync + 'static {
    /// Makes a record durable. Returns only when it cannot be lost any more. When the returned future is dropped the
    /// record may still be written, and is then handed over like any other.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was acknowledged.
    fn append(&self, draft: Draft<T>) -> BoxFuture<'_, Result<Appended, AppendError>>;

    /// Whether the log accepts records, now and as it changes.
    fn state(&self) -> watch::Receiver<LogState>;

    /// Drops records that are kept no longer, where the log leaves that to its user. Returns how many went.
    ///
    /// # Errors
    /// As for an append; what was dropped before the error stays dropped.
    fn trim(&self, retention: Retention) -> BoxFuture<'_, Result<u64, AppendError>>;

    /// Closes the log for every user, after what was appended before.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Any record of one shard's log that is still kept.
pub trait Read<T>: Send + Sync + 'static {
    /// Records of a stream from a position on, in order, at most `limit`; fewer when their bodies are large, none only
    /// when there is none. The first may be later than asked for, when earlier ones are kept no longer.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn read(&self, stream: Stream, from: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record<T>>, ReadError>>;

    /// One record; `None` when it is kept no longer or not there yet.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn read_one(&self, stream: Stream, position: Position) -> BoxFuture<'_, Result<Option<Record<T>>, ReadError>> {
        Box::pin(async move {
            let found = self.read(stream, position, 1).await?.pop();
            Ok(found.filter(|record| record.stamp.position == position))
        })
    }
}

/// New records of one stream of one shard, in order, each once.
pub trait Follow<T>: Send {
    /// The next records, at least one and at most `limit`; none when the log is closed and everything was taken, or
    /// when `limit` is 0. Safe to cancel.
    fn recv_many(&mut self, limit: usize) -> BoxFuture<'_, Vec<Record<T>>>;

    /// The next record, if one waits.
    fn try_recv(&mut self) -> Option<Record<T>>;
}
