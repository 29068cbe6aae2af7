//! What every log promises, whichever medium it lies on.

use std::io;

use bytes::Bytes;
use quell_domain::{Position, RecordKind, Timestamp};

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
}

/// Where and when an append was made durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Its stream.
    pub stream: Stream,
    /// Its place on the stream.
    pub position: Position,
    /// Set by the log; never decreases along a stream.
    pub received_at: Timestamp,
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
}

/// Why nothing was appended. In every case nothing was acknowledged; nothing of the draft will be read, but for
/// [`AppendError::Failed`].
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
    /// The log is shut down.
    #[error("append: the log is closed")]
    Closed,
}
