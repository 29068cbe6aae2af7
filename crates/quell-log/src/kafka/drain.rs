//! Empties the spool onto Kafka, in its order, for as long as that takes.
//!
//! Absent on purpose: giving up; what was acknowledged is not dropped, and whatever keeps it from Kafka is said aloud.

use std::sync::Arc;
use std::time::Duration;

use quell_domain::{Position, Shard};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, ThreadedProducer};
use tokio::sync::{oneshot, watch};
use tokio::time::sleep;

use super::client::{self, Context, Landed, Lingering};
use super::envelope::Envelope;
use super::own::Own;
use super::spool::{OpenSpool, Progress, Spool, Spooled};
use super::{Options, topics};
use crate::contract::{CONTEXT_BYTES, Record, Stream};
use crate::embedded::{self, OutageBody};

/// Records that are on their way at once.
const BATCH: usize = 256;
/// After Kafka refused a record for good.
const PAUSE: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Drain<T> {
    spool: Arc<Spool>,
    tails: [embedded::Tail<()>; 2],
    reader: embedded::Reader,
    /// The last record in the spool.
    newest: Position,
    progress: Progress,
    options: Options,
    own: Arc<Own<T>>,
    outage: OutageBody,
    closing: watch::Receiver<bool>,
    producer: Option<Lingering<ThreadedProducer<Context>>>,
}

impl<T: Send + 'static> Drain<T> {
    pub(super) fn new(
        open: OpenSpool,
        options: Options,
        own: Arc<Own<T>>,
        outage: OutageBody,
        closing: watch::Receiver<bool>,
    ) -> Self {
        let OpenSpool { spool, tails, reader, last, progress } = open;
        let newest = last.max(progress.drained);
        let mut drain = Drain { spool, tails, reader, newest, progress, options, own, outage, closing, producer: None };
        drain.look();
        if drain.newest > drain.progress.drained {
            drop(drain.spool.begin());
        }
        drain
    }

    /// Takes notice of what has come into the spool.
    fn look(&mut self) {
        let [main, commands] = &mut self.tails;
        while let Some(record) = main.try_recv() {
            self.newest = record.stamp.position;
        }
        while commands.try_recv().is_some() {}
        self.spool.note(self.newest, self.progress.drained);
    }

    /// Runs until the log is closed.
    pub(super) async fn run(mut self) {
        loop {
            self.look();
            if self.newest > self.progress.drained || self.spool.is_spooling() {
                if !self.spool.is_spooling() {
                    drop(self.spool.begin());
                }
                self.empty().await;
            }
            let mut closing = self.closing.clone();
            tokio::select! {
                _ = closing.wait_for(|closing| *closing) => return,
                record = self.tails[0].recv() => match record {
                    Some(record) => self.newest = record.stamp.position,
                    // It was closed.
                    None => return,
                },
                () = self.spool.changed.notified() => {}
            }
        }
    }

    /// Puts everything onto Kafka and ends the spooling; returns early when the log is closed or nothing is to do now.
    async fn empty(&mut self) {
        let begun = self.progress.drained;
        while !self.is_closing() {
            self.look();
            let records = match self.reader.read::<()>(Stream::Main, self.progress.drained.next(), BATCH).await {
                Ok(records) => records,
                Err(error) => {
                    tracing::error!(%error, "the spool cannot be read; trying again");
                    self.pause().await;
                    continue;
                }
            };
            let Some(last) = records.last().map(|record| record.stamp.position) else { break };
            match self.put(&records).await {
                Ok(()) => {
                    self.progress = Progress { drained: last, through: self.own.mark().through, ..self.progress };
                    self.newest = self.newest.max(last);
                    self.spool.keep(self.progress).await;
                }
                Err(_) if self.is_closing() => return,
                Err(error) => {
                    tracing::error!(%error, "a spooled record is not taken by Kafka; trying again");
                    self.producer = None;
                    self.pause().await;
                }
            }
        }
        let [main, _] = &mut self.tails;
        let (newest, drained) = (&mut self.newest, self.progress.drained);
        let ended = self.spool.end(|| {
            while let Some(record) = main.try_recv() {
                *newest = record.stamp.position;
            }
            *newest <= drained
        });
        if ended {
            self.producer = None;
            self.spool.note(drained, drained);
            tracing::info!(records = drained.0 - begun.0, "the spool is empty: records go onto Kafka at once");
        }
    }

    /// Somebody said so, or nobody is left who could.
    fn is_closing(&self) -> bool {
        *self.closing.borrow() || self.closing.has_changed().is_err()
    }

    async fn pause(&mut self) {
        tokio::select! {
            () = sleep(PAUSE) => {}
            _ = self.closing.wait_for(|closing| *closing) => {}
        }
    }

    /// Sends some records in order and waits until all have landed.
    async fn put(&mut self, records: &[Record<()>]) -> Result<(), KafkaError> {
        let &Options { ref address, ref security, body_bytes, shard, .. } = &self.options;
        if self.producer.is_none() {
            // It never gives up: one that did could let a later record overtake an earlier one.
            let config = client::producer(&address.brokers, security, body_bytes + topics::OVERHEAD, 0);
            let made = client::aside(move || config.create_with_context(Context)).await?;
            self.producer = Some(Lingering::new(made));
        }
        let Some(producer) = &self.producer else { return Err(KafkaError::Canceled) };
        let topic = topics::name(&address.prefix, Stream::Main);
        let mut landing = Vec::with_capacity(records.len());
        for record in records {
            let mark = self.own.mark();
            let spooled = Spooled::of(record, self.progress, mark.floor, self.outage);
            let Some(Spooled { kind, origin, at, since, body }) = spooled else { continue };
            let envelope = Envelope { kind, at, origin, mark, since: Some(since) };
            landing.push(send(producer, (&topic, shard), &envelope, &body, &[])?);
        }
        for landed in landing {
            tokio::select! {
                landed = landed => drop(landed.map_err(|_| KafkaError::Canceled)??),
                _ = self.closing.wait_for(|closing| *closing) => return Err(KafkaError::Canceled),
            }
        }
        Ok(())
    }
}

/// Hands a record to librdkafka, which does not block; what became of it comes later.
pub(super) fn send(
    producer: &ThreadedProducer<Context>,
    (topic, shard): (&str, Shard),
    envelope: &Envelope,
    body: &[u8],
    context: &[u8],
) -> Result<oneshot::Receiver<Landed>, KafkaError> {
    use rdkafka::message::{Header, OwnedHeaders};
    let (waiting, landed) = oneshot::channel();
    let header = envelope.encode(body);
    let mut headers =
        OwnedHeaders::new_with_capacity(2).insert(Header { key: super::envelope::NAME, value: Some(&header[..]) });
    if (1..=CONTEXT_BYTES).contains(&context.len()) {
        headers = headers.insert(Header { key: super::envelope::CONTEXT, value: Some(context) });
    }
    let key = super::key(shard);
    let record = BaseRecord::with_opaque_to(topic, Box::new(waiting))
        .partition(i32::try_from(shard.number).unwrap_or(i32::MAX))
        .key(&key[..])
        .payload(body)
        .headers(headers);
    match producer.send(record) {
        Ok(()) => Ok(landed),
        Err((error, _)) => Err(error),
    }
}
