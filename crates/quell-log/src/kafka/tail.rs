//! New records of one stream, in order, each once, read by a thread of its own.
//!
//! A record of this process comes with what it carried, so that it is not decoded again. Absent on purpose: records of
//! before the log was opened; see [`super::Reader`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use rdkafka::error::KafkaError;
use tokio::sync::mpsc;

use super::cursor::{Cursor, Step};
use super::own::Own;
use super::reader::record;
use crate::contract::{Follow, Record};
use crate::room::Ticket;

/// How long the thread waits at the end of the log before it looks whether the log was closed.
const LOOK: Duration = Duration::from_millis(100);
/// Between two tries of a broker that is away.
const PAUSE: Duration = Duration::from_millis(500);

/// New records of one stream, in order, each once.
#[derive(Debug)]
pub struct Tail<T> {
    records: mpsc::UnboundedReceiver<Delivered<T>>,
    room: Arc<Room>,
}

/// A record on its way to the reader, with the room that it holds if this process appended it.
#[derive(Debug)]
struct Delivered<T> {
    record: Record<T>,
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
        let thread = Reading { cursor, room: Arc::clone(&room), own, closing, end };
        std::thread::spawn(move || thread.run());
        Tail { records, room }
    }

    fn taken(&self, Delivered { record, ticket }: Delivered<T>) -> Record<T> {
        drop(ticket);
        self.room.give(1, record.weight());
        record
    }
}

impl<T: Send + 'static> Follow<T> for Tail<T> {
    fn recv_many(&mut self, limit: usize) -> BoxFuture<'_, Vec<Record<T>>> {
        Box::pin(async move {
            let mut delivered = Vec::new();
            self.records.recv_many(&mut delivered, limit).await;
            delivered.into_iter().map(|delivered| self.taken(delivered)).collect()
        })
    }

    fn try_recv(&mut self) -> Option<Record<T>> {
        let delivered = self.records.try_recv().ok()?;
        Some(self.taken(delivered))
    }
}

/// The thread.
struct Reading<T> {
    cursor: Cursor,
    room: Arc<Room>,
    own: Arc<Own<T>>,
    closing: Arc<AtomicBool>,
    end: mpsc::UnboundedSender<Delivered<T>>,
}

impl<T: Send + 'static> Reading<T> {
    fn run(mut self) {
        let mut away = false;
        while !self.closing.load(Ordering::Acquire) && !self.end.is_closed() {
            if !self.room.wait() {
                continue;
            }
            match self.cursor.step(LOOK) {
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

    fn hand_over(&mut self, step: Step) {
        let mut ticket = None;
        let record = match step {
            Step::End => return,
            Step::Again => None,
            Step::Record(found) => {
                let mut record = record::<T>(found);
                if let Some((carry, held)) = record.origin.and_then(|origin| self.own.claim(origin)) {
                    (record.carry, ticket) = (carry, Some(held));
                }
                if record.carry.is_some() {
                    record.body = Bytes::new();
                }
                Some(record)
            }
            Step::Damaged(stamp, damage) => Some(Record::damaged(stamp, damage)),
        };
        self.own.read(self.cursor.mark());
        if let Some(record) = record {
            self.room.take(record.weight());
            // A reader that went away changes nothing.
            self.end.send(Delivered { record, ticket }).ok();
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

impl Room {
    /// Waits a moment, whether or not there is room.
    fn pause(&self) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.free.wait_timeout_while(held, PAUSE, |_| true));
    }
}
