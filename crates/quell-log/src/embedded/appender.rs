//! The way onto the log. Absent on purpose: positions and times; the writer gives them.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use quell_domain::RecordKind;
use tokio::sync::{mpsc, oneshot, watch};

use super::fault::io_error;
use crate::contract::{Append, AppendError, Appended, CONTEXT_BYTES, Draft, LogState, Retention, Stamp, Stream};
use crate::room::{Room, Ticket};

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Job<T> {
    Append(Waiting<T>),
    Trim { retention: Retention, reply: oneshot::Sender<Result<Trimmed, AppendError>> },
    Close { reply: oneshot::Sender<()> },
}

/// A draft that waits to be written.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    pub(super) stream: Stream,
    pub(super) kind: RecordKind,
    pub(super) packed: Vec<u8>,
    /// What the reader of this process gets as body: nothing when there is a carry.
    pub(super) body: Bytes,
    pub(super) carry: Option<T>,
    pub(super) context: Bytes,
    pub(super) ticket: Ticket,
    /// `None` for the log's own records.
    pub(super) reply: Option<oneshot::Sender<Result<Stamp, AppendError>>>,
}

/// One piece of trimming.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Trimmed {
    pub(super) rows: u64,
    pub(super) more: bool,
}

/// Appends records. Cheap to clone; the log closes when every clone is dropped or one says [`Appender::close`].
#[derive(Debug)]
pub struct Appender<T> {
    jobs: mpsc::UnboundedSender<Job<T>>,
    room: Arc<Room>,
    state: watch::Receiver<LogState>,
}

impl<T> Clone for Appender<T> {
    fn clone(&self) -> Self {
        Appender { jobs: self.jobs.clone(), room: Arc::clone(&self.room), state: self.state.clone() }
    }
}

impl<T: Send + 'static> Appender<T> {
    pub(super) fn new(jobs: mpsc::UnboundedSender<Job<T>>, room: Arc<Room>, state: watch::Receiver<LogState>) -> Self {
        Appender { jobs, room, state }
    }

    /// Makes a record durable. Returns only when it cannot be lost any more. When the returned future is dropped the
    /// record may still be written, and is then handed over like any other.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was acknowledged.
    pub async fn append(&self, draft: Draft<T>) -> Result<Stamp, AppendError> {
        self.check()?;
        let Draft { stream, kind, body, carry, context } = draft;
        let ticket = self.room.reserve(kind, body.len())?;
        let context = if context.len() > CONTEXT_BYTES { Bytes::new() } else { context };
        // Compressed here and not by the writer, so that it costs no other request any time.
        let packed = lz4_flex::compress_prepend_size(&body);
        let body = if carry.is_some() { Bytes::new() } else { body };
        let (reply, answer) = oneshot::channel();
        let reply = Some(reply);
        self.send(Job::Append(Waiting { stream, kind, packed, body, carry, context, ticket, reply }))?;
        answer.await.map_err(|_| AppendError::Closed)?
    }

    /// Drops records that are kept no longer, in pieces between which appends are served. Their room in the file is
    /// used again. Returns how many went.
    ///
    /// # Errors
    /// As for [`Appender::append`]; what was dropped before the error stays dropped.
    pub async fn trim(&self, retention: Retention) -> Result<u64, AppendError> {
        let mut rows = 0;
        loop {
            let (reply, answer) = oneshot::channel();
            self.send(Job::Trim { retention, reply })?;
            let piece = answer.await.map_err(|_| AppendError::Closed)??;
            rows += piece.rows;
            if !piece.more {
                return Ok(rows);
            }
        }
    }

    /// Closes the log for every clone, after what was appended before. Returns when the file is closed and the
    /// directory free for another process.
    pub async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.send(Job::Close { reply }).is_ok() {
            // An error says that the writer has ended, which is what was asked for.
            answer.await.ok();
        }
    }

    /// Whether the log accepts records, now and as it changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<LogState> {
        self.state.clone()
    }

    /// Returns when the disk has failed: from then on nothing is accepted and the process should exit. Never returns
    /// otherwise, not even when the log is closed.
    pub async fn failed(&self) {
        let mut state = self.state.clone();
        if state.wait_for(|state| *state == LogState::Failed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// How many records of every kind wait to be written or taken.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.room.waiting()
    }

    fn check(&self) -> Result<(), AppendError> {
        match *self.state.borrow() {
            LogState::Open | LogState::Spooling => Ok(()),
            LogState::Full => Err(AppendError::DiskFull),
            LogState::Failed => Err(failed(None)),
            LogState::Closed => Err(AppendError::Closed),
        }
    }

    fn send(&self, job: Job<T>) -> Result<(), AppendError> {
        self.jobs.send(job).map_err(|_| AppendError::Closed)
    }
}

impl<T: Send + 'static> Append<T> for Appender<T> {
    fn append(&self, draft: Draft<T>) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(async move { Appender::append(self, draft).await.map(Appended::Logged) })
    }

    fn state(&self) -> watch::Receiver<LogState> {
        Appender::state(self)
    }

    fn trim(&self, retention: Retention) -> BoxFuture<'_, Result<u64, AppendError>> {
        Box::pin(Appender::trim(self, retention))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(Appender::close(self))
    }
}

/// The error of a log whose disk failed, with the database's word where it is known.
pub(super) fn failed(error: Option<&sqlx::Error>) -> AppendError {
    AppendError::Failed(error.map_or_else(|| std::io::Error::other("an earlier write failed"), io_error))
}
