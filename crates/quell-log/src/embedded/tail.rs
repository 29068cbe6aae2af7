//! From the writer to the reader of this process, and the room that waits between them.
//! Absent on purpose: records of before the log was opened; see [`super::Reader`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::future::BoxFuture;
use quell_domain::RecordKind;
use tokio::sync::mpsc;

use super::Options;
use crate::contract::{AppendError, Follow, Record};

/// New records of one stream, in order, each once. Taking a record gives its room back.
#[derive(Debug)]
pub struct Tail<T> {
    records: mpsc::UnboundedReceiver<Delivered<T>>,
}

/// A record on its way to the reader.
#[derive(Debug)]
pub(super) struct Delivered<T> {
    pub(super) record: Record<T>,
    pub(super) ticket: Ticket,
}

/// The writer's end. The room bounds the channel, so it needs no bound of its own.
pub(super) type TailEnd<T> = mpsc::UnboundedSender<Delivered<T>>;

pub(super) fn pair<T>() -> (TailEnd<T>, Tail<T>) {
    let (end, records) = mpsc::unbounded_channel();
    (end, Tail { records })
}

impl<T> Tail<T> {
    /// The next record; `None` when the log is closed and everything was taken. Safe to cancel.
    pub async fn recv(&mut self) -> Option<Record<T>> {
        self.records.recv().await.map(Delivered::take)
    }

    /// The next records, at least one and at most `limit`; none when the log is closed and everything was taken, or
    /// when `limit` is 0. Safe to cancel.
    pub async fn recv_many(&mut self, limit: usize) -> Vec<Record<T>> {
        let mut delivered = Vec::new();
        self.records.recv_many(&mut delivered, limit).await;
        delivered.into_iter().map(Delivered::take).collect()
    }

    /// The next record, if one waits.
    pub fn try_recv(&mut self) -> Option<Record<T>> {
        self.records.try_recv().ok().map(Delivered::take)
    }

    /// How many records wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.records.len()
    }
}

impl<T: Send> Follow<T> for Tail<T> {
    fn recv_many(&mut self, limit: usize) -> BoxFuture<'_, Vec<Record<T>>> {
        Box::pin(Tail::recv_many(self, limit))
    }

    fn try_recv(&mut self) -> Option<Record<T>> {
        Tail::try_recv(self)
    }
}

impl<T> Delivered<T> {
    fn take(self) -> Record<T> {
        let Delivered { record, ticket } = self;
        drop(ticket);
        record
    }
}

/// Which reserve a record draws on.
#[derive(Clone, Copy, Debug)]
enum Class {
    Alerts,
    Commands,
    Own,
}

impl Class {
    fn of(kind: RecordKind) -> Class {
        match kind {
            RecordKind::Alerts(_) => Class::Alerts,
            RecordKind::Command | RecordKind::Problem => Class::Commands,
            RecordKind::Tick | RecordKind::Outage | RecordKind::Activate => Class::Own,
        }
    }
}

/// How much waits, and how much may.
#[derive(Debug)]
pub(super) struct Room {
    records: [AtomicUsize; 3],
    bytes: AtomicUsize,
    limits: [usize; 3],
    byte_limit: usize,
    choked: AtomicBool,
}

impl Room {
    pub(super) fn new(options: &Options) -> Self {
        let Options { waiting_records, waiting_bytes, waiting_commands, max_pages: _ } = *options;
        Room {
            records: Default::default(),
            bytes: AtomicUsize::new(0),
            limits: [waiting_records, waiting_commands, waiting_commands],
            byte_limit: waiting_bytes,
            choked: AtomicBool::new(false),
        }
    }

    /// Takes room for a record, or says how much waits. Bytes are limited for alerts only: all else is small.
    pub(super) fn reserve(self: &Arc<Self>, kind: RecordKind, bytes: usize) -> Result<Ticket, AppendError> {
        let ticket = self.force(kind, bytes);
        let class = ticket.class as usize;
        let waiting = self.records[class].load(Ordering::Relaxed);
        let held = self.bytes.load(Ordering::Relaxed);
        // A body larger than the whole allowance still passes when nothing else waits.
        let too_big = matches!(ticket.class, Class::Alerts) && held > self.byte_limit && held > bytes;
        if waiting > self.limits[class] || too_big {
            self.choked.fetch_or(matches!(ticket.class, Class::Alerts), Ordering::Relaxed);
            return Err(AppendError::Overloaded { waiting: waiting - 1, bytes: held.saturating_sub(ticket.bytes) });
        }
        Ok(ticket)
    }

    /// Whether alerts were refused since this was last asked.
    pub(super) fn take_choked(&self) -> bool {
        self.choked.swap(false, Ordering::Relaxed)
    }

    /// How many records wait, of every class.
    pub(super) fn waiting(&self) -> usize {
        self.records.iter().map(|records| records.load(Ordering::Relaxed)).sum()
    }

    /// Takes room whatever waits: for the log's own Outage records, of which there is one per outage.
    pub(super) fn force(self: &Arc<Self>, kind: RecordKind, bytes: usize) -> Ticket {
        let class = Class::of(kind);
        let bytes = if matches!(class, Class::Alerts) { bytes } else { 0 };
        self.records[class as usize].fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ticket { room: Arc::clone(self), class, bytes }
    }
}

/// Room that one record holds until it is taken or refused.
#[derive(Debug)]
pub(super) struct Ticket {
    room: Arc<Room>,
    class: Class,
    bytes: usize,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.room.records[self.class as usize].fetch_sub(1, Ordering::Relaxed);
        self.room.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
