//! New records of one stream, in order, each once, read by a thread of its own.
//!
//! A record of this process comes with what it carried, so that it is not decoded again; others are decoded on this
//! thread where [`Tail::prepare`] says how, while its reader does something else. Absent on purpose: what bytes mean, and
//! records of before the log was opened; see [`super::Reader`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use quell_domain::RecordKind;
use rdkafka::error::KafkaError;
use tokio::sync::mpsc;

use super::cursor::{Cursor, Found, Step};
use super::envelope::Envelope;
use super::own::Own;
use crate::contract::{Follow, Record};
use crate::room::Ticket;

/// How long the thread waits at the end of the log before it looks whether the log was closed.
const LOOK: Duration = Duration::from_millis(100);
/// Between two tries of a broker that is away.
const PAUSE: Duration = Duration::from_millis(500);

/// Makes of a record's bytes what its reader wants; `None` leaves that to the reader.
pub type Prepare<T> = Box<dyn Fn(RecordKind, &[u8]) -> Option<T> + Send + Sync>;

/// New records of one stream, in order, each once.
pub struct Tail<T> {
    records: mpsc::UnboundedReceiver<Delivered<T>>,
    room: Arc<Room>,
    prepare: Arc<OnceLock<Prepare<T>>>,
}

impl<T> std::fmt::Debug for Tail<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("room", &self.room).finish_non_exhaustive()
    }
}

/// A record on its way to the reader.
#[derive(Debug)]
struct Delivered<T> {
    record: Record<T>,
    /// What it holds of the tail's room: the bytes that it has, or had.
    weight: usize,
    /// The room that it holds if this process appended it.
    ticket: Option<Ticket>,
}

/// What is handed over of a record's bytes.
struct Made<T> {
    carry: Option<T>,
    body: Bytes,
    weight: usize,
    ticket: Option<Ticket>,
}

/// What waits in a tail, and how much may.
#[derive(Debug)]
pub(super) struct Room {
    held: Mutex<(usize, usize)>,
    limits: (usize, usize),
    free: Condvar,
}

impl Room {
    pub(super) fn new(records: usize, bytes: usize) -> Arc<Room> {
        Arc::new(Room { held: Mutex::default(), limits: (records.max(1), bytes.max(1)), free: Condvar::new() })
    }

    /// Waits for room; false when there was none within a moment.
    pub(super) fn wait(&self) -> bool {
        let full = |held: &mut (usize, usize)| held.0 >= self.limits.0 || held.1 >= self.limits.1;
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.free.wait_timeout_while(held, LOOK, full);
        !full(&mut waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    pub(super) fn take(&self, bytes: usize) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = (held.0 + 1, held.1 + bytes);
    }

    pub(super) fn give(&self, records: usize, bytes: usize) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = (held.0.saturating_sub(records), held.1.saturating_sub(bytes));
        self.free.notify_one();
    }
}

impl<T: Send + 'static> Tail<T> {
    /// Reads from where the cursor stands, until the log is closed.
    pub(super) fn start(cursor: Cursor, room: Arc<Room>, own: Arc<Own<T>>, closing: Arc<AtomicBool>) -> Tail<T> {
        let (end, records) = mpsc::unbounded_channel();
        let prepare = Arc::new(OnceLock::new());
        let thread = Reading { cursor, room: Arc::clone(&room), own, closing, end, prepare: Arc::clone(&prepare) };
        std::thread::spawn(move || thread.run());
        Tail { records, room, prepare }
    }

    /// From now on records that came from elsewhere carry what this makes of them, instead of their bytes. Only the first
    /// call counts.
    pub fn prepare(&self, with: Prepare<T>) {
        // A second one changes nothing, as promised.
        self.prepare.set(with).ok();
    }

    fn taken(&self, delivered: Vec<Delivered<T>>) -> Vec<Record<T>> {
        self.room.give(delivered.len(), delivered.iter().map(|delivered| delivered.weight).sum());
        let records = delivered.into_iter().map(|Delivered { record, weight: _, ticket }| {
            drop(ticket);
            record
        });
        records.collect()
    }
}

impl<T: Send + 'static> Follow<T> for Tail<T> {
    fn recv_many(&mut self, limit: usize) -> BoxFuture<'_, Vec<Record<T>>> {
        Box::pin(async move {
            let mut delivered = Vec::new();
            self.records.recv_many(&mut delivered, limit).await;
            self.taken(delivered)
        })
    }

    fn try_recv(&mut self) -> Option<Record<T>> {
        let delivered = self.records.try_recv().ok()?;
        self.taken(vec![delivered]).pop()
    }
}

/// The thread.
struct Reading<T> {
    cursor: Cursor,
    room: Arc<Room>,
    own: Arc<Own<T>>,
    closing: Arc<AtomicBool>,
    end: mpsc::UnboundedSender<Delivered<T>>,
    prepare: Arc<OnceLock<Prepare<T>>>,
}

impl<T: Send + 'static> Reading<T> {
    fn run(mut self) {
        let mut away = false;
        while !self.closing.load(Ordering::Acquire) && !self.end.is_closed() {
            if !self.room.wait() {
                continue;
            }
            let (own, prepare) = (&self.own, self.prepare.get());
            match self.cursor.step(LOOK, |envelope, bytes| Made::of(envelope, bytes, own, prepare)) {
                Ok(step) => {
                    away = false;
                    self.hand_over(step);
                }
                Err(error) if self.is_lost(&error) => return,
                Err(error) => {
                    if !std::mem::replace(&mut away, true) {
                        tracing::warn!(error = %error, "the log cannot be read; trying again");
                    }
                    self.room.pause();
                }
            }
        }
    }

    fn hand_over(&mut self, step: Step<Made<T>>) {
        let delivered = match step {
            Step::End => return,
            Step::Again => None,
            Step::Record(Found { stamp, envelope: Envelope { kind, origin, .. }, body: made, context }) => {
                let Made { carry, body, weight, ticket } = made;
                let record = Record { stamp, kind, body, carry, origin: Some(origin), context, damage: None };
                Some(Delivered { record, weight, ticket })
            }
            Step::Damaged(stamp, damage) => {
                let record = Record::damaged(stamp, damage);
                Some(Delivered { weight: record.weight(), record, ticket: None })
            }
        };
        self.own.read(self.cursor.mark());
        if let Some(delivered) = delivered {
            self.room.take(delivered.weight);
            // A reader that went away changes nothing.
            self.end.send(delivered).ok();
        }
    }

    /// True when the stream is not where it was: its end is gone, or the topic is.
    fn is_lost(&mut self, error: &KafkaError) -> bool {
        let Ok(bounds) = self.cursor.bounds() else { return false };
        let next = self.cursor.next();
        if next < bounds.low {
            tracing::error!(
                missing = bounds.low - next,
                "records were dropped by their age or number before they were read; reading on after them"
            );
            return self.cursor.skip(bounds.low).is_err();
        }
        if next > bounds.high {
            tracing::error!(%error, next, end = bounds.high, "the log lost its end; nothing more is read");
            return true;
        }
        false
    }
}

impl<T> Made<T> {
    /// What this process put there comes as it was kept; of others' records what is prepared, else a copy.
    fn of(envelope: &Envelope, bytes: &[u8], own: &Own<T>, prepare: Option<&Prepare<T>>) -> Made<T> {
        let (carry, ticket) = own.claim(envelope.origin).map_or((None, None), |(carry, ticket)| (carry, Some(ticket)));
        if carry.is_some() {
            return Made { carry, body: Bytes::new(), weight: 0, ticket };
        }
        let carry = prepare.and_then(|prepare| prepare(envelope.kind, bytes));
        let body = if carry.is_some() { Bytes::new() } else { Bytes::copy_from_slice(bytes) };
        Made { carry, body, weight: bytes.len(), ticket }
    }
}

impl Room {
    /// Waits a moment, whether or not there is room.
    fn pause(&self) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.free.wait_timeout_while(held, PAUSE, |_| true));
    }
}
