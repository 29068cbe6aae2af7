//! Puts the records of another log onto Kafka, each at its own position, so that all that names positions holds.
//!
//! What is on Kafka already must be the beginning of the other log, so a filling that was broken off is gone on with.
//! Where the other log keeps its beginning no longer, ticks stand in for it and are dropped at the end. Absent on
//! purpose: whoever else uses the topics meanwhile; a record that lands elsewhere ends it.

use quell_domain::{Origin, Position, RecordKind, Timestamp};
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::producer::ThreadedProducer;

use super::client::{self, Context, Lingering};
use super::cursor::{offset, position};
use super::envelope::{Envelope, Mark};
use super::{KafkaLog, OpenError, Options, Reader, drain, topics};
use crate::contract::{Read, ReadError, Record, Stream};

/// Records on their way at once.
const BATCH: usize = 256;
/// Stands for the node that received what another log held.
const NODE: u64 = 0x7175_656c_6c2d_6d76;

/// Why a log was not filled. What was put there stays and is gone on with the next time.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// Kafka cannot be used.
    #[error("fill the log")]
    Open(#[from] OpenError),
    /// The other log, or what was put onto Kafka, cannot be read.
    #[error("fill the log: it cannot be read")]
    Read(#[from] ReadError),
    /// Kafka does not do as asked.
    #[error("fill the log: Kafka does not take it")]
    Kafka(#[from] rdkafka::error::KafkaError),
    /// There is something else.
    #[error(
        "fill the log: {topic} holds other records at {position}: only an empty one can be filled; name another prefix"
    )]
    Other {
        /// Where.
        topic: String,
        /// The first one that differs.
        position: Position,
    },
    /// Somebody else writes.
    #[error("fill the log: a record for {wanted} landed at {landed} of {topic}: somebody else writes there")]
    Elsewhere {
        /// Where.
        topic: String,
        /// Where it should be.
        wanted: Position,
        /// Where it is.
        landed: Position,
    },
}

/// What a stream holds after it was filled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Filled {
    /// Records that were compared with those of the other log, byte by byte, after they had landed.
    pub records: u64,
    /// Ticks that stood in for records that are kept no longer.
    pub stand_ins: u64,
    /// The last position.
    pub last: Position,
}

impl KafkaLog {
    /// Fills both streams of a shard from another log that nobody writes to.
    ///
    /// # Errors
    /// See [`FillError`].
    pub async fn fill<R: Read<()>>(options: &Options, from: &R) -> Result<[Filled; 2], FillError> {
        topics::look_after(options).await?;
        let asked = options.clone();
        let reader = client::aside(move || Reader::new(&asked)).await?;
        let config =
            client::producer(&options.address.brokers, &options.security, options.body_bytes + topics::OVERHEAD, 0);
        let producer = client::aside(move || config.create_with_context(Context)).await?;
        let mut filling = Filling { options, reader, producer: Lingering::new(producer), topic: String::new() };
        let mut filled = [Filled::default(); 2];
        for stream in [Stream::Commands, Stream::Main] {
            filling.topic = topics::name(&options.address.prefix, stream);
            filled[stream as usize] = filling.stream(stream, from).await?;
        }
        Ok(filled)
    }
}

struct Filling<'a> {
    options: &'a Options,
    reader: Reader,
    producer: Lingering<ThreadedProducer<Context>>,
    topic: String,
}

impl Filling<'_> {
    async fn stream<R: Read<()>>(&mut self, stream: Stream, from: &R) -> Result<Filled, FillError> {
        let bounds = self.reader.with(stream, super::cursor::Cursor::bounds).await??;
        let there = position(bounds.high);
        let first = from.read(stream, Position::START.next(), 1).await?.pop().map(|record| record.stamp);
        let Some(first) = first else {
            return if bounds.high == 0 { Ok(Filled::default()) } else { Err(self.other(Position(1))) };
        };
        let mut next = there;
        let mut mark = Mark { through: Position(next.0 - 1), floor: first.received_at };
        while next < first.position {
            let count = (first.position.0 - next.0).min(BATCH as u64);
            let ticks: Vec<Record<()>> =
                (next.0..next.0 + count).map(|at| stand_in(stream, Position(at), first.received_at)).collect();
            self.put(&ticks, &mut mark).await?;
            next = Position(next.0 + count);
        }
        self.drop_before(first.position).await?;
        // What an earlier filling put there is compared with all the rest, below.
        let mut last = Position(next.0 - 1);
        loop {
            let records = from.read(stream, last.next().max(first.position), BATCH).await?;
            let Some(newest) = records.last().map(|record| record.stamp) else { break };
            self.put(&records, &mut mark).await?;
            last = newest.position;
        }
        let records = self.compare(stream, from, first.position).await?;
        Ok(Filled { records, stand_ins: first.position.0 - 1, last })
    }

    fn other(&self, position: Position) -> FillError {
        FillError::Other { topic: self.topic.clone(), position }
    }

    /// Puts records there that follow each other, and sees that each landed at its position.
    async fn put(&self, records: &[Record<()>], mark: &mut Mark) -> Result<(), FillError> {
        let mut landing = Vec::with_capacity(records.len());
        for record in records {
            let (kind, at, place) = (record.kind, record.stamp.received_at, record.stamp.position);
            let origin = Origin { node: NODE, sequence: place.0 };
            let envelope = Envelope { kind, at, origin, mark: *mark, since: None };
            landing.push((
                place,
                drain::send(&self.producer, (&self.topic, self.options.shard), &envelope, &record.body, &[])?,
            ));
            *mark = Mark { through: place, floor: mark.floor.max(at) };
        }
        for (wanted, landed) in landing {
            let landed = landed.await.map_err(|_| rdkafka::error::KafkaError::Canceled)??;
            if position(landed) != wanted {
                return Err(FillError::Elsewhere { topic: self.topic.clone(), wanted, landed: position(landed) });
            }
        }
        Ok(())
    }

    /// Drops what stood in for records that are kept no longer.
    async fn drop_before(&self, first: Position) -> Result<(), FillError> {
        if first <= Position(1) {
            return Ok(());
        }
        let config = client::admin(&self.options.address.brokers, &self.options.security);
        let made = client::aside(move || config.create_with_context::<_, AdminClient<Context>>(Context));
        let admin = Lingering::new(made.await?);
        let mut until = TopicPartitionList::new();
        until.add_partition_offset(&self.topic, self.options.partition(), rdkafka::Offset::Offset(offset(first)))?;
        let done =
            admin.delete_records(&until, &AdminOptions::new().request_timeout(Some(self.options.patience))).await?;
        for element in done.elements() {
            element.error()?;
        }
        Ok(())
    }

    /// Reads both logs again, to the end of both.
    async fn compare<R: Read<()>>(&self, stream: Stream, from: &R, first: Position) -> Result<u64, FillError> {
        let (mut next, mut count) = (first, 0);
        loop {
            let theirs = from.read(stream, next, BATCH).await?;
            let limit = theirs.len().max(1);
            let mut ours: Vec<Record<()>> = Vec::new();
            while ours.len() < limit {
                let at = ours.last().map_or(next, |record| record.stamp.position.next());
                let more = self.reader.read(stream, at, limit - ours.len()).await?;
                if more.is_empty() {
                    break;
                }
                ours.extend(more);
            }
            let said = |record: &Record<()>| (record.stamp, record.kind, record.body.clone());
            let differs = theirs.iter().zip(&ours).find(|(theirs, ours)| said(theirs) != said(ours));
            if let Some((theirs, _)) = differs {
                return Err(self.other(theirs.stamp.position));
            }
            if theirs.len() != ours.len() {
                return Err(self.other(Position(next.0 + theirs.len().min(ours.len()) as u64)));
            }
            let Some(last) = theirs.last() else { return Ok(count) };
            count += theirs.len() as u64;
            next = last.stamp.position.next();
        }
    }
}

fn stand_in(stream: Stream, position: Position, received_at: Timestamp) -> Record<()> {
    let stamp = crate::contract::Stamp { stream, position, received_at };
    let (body, context) = Default::default();
    Record { stamp, kind: RecordKind::Tick, body, carry: None, origin: None, context, damage: None }
}
