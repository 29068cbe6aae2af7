//! From the writer to the reader of this process.
//! Absent on purpose: records of before the log was opened; see [`super::Reader`].

use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::contract::{Follow, Record};
use crate::room::Ticket;

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
