//! One place on one topic, and what must be known of the records before it: the greatest instant, and which records
//! were seen. Both readers of a stream are made of it, so that both see the same.
//!
//! # What is before
//! Beginning in the middle must give what beginning at the start gives, though earlier records may be gone. So each
//! record says how far its producer had read and what the greatest instant up to there was; a reader that begins at a
//! position looks back to the mark of a record shortly before it, and takes what lies between. A record that is sent
//! again from the spool says after which position its first copy would lie, and what was given up may land after its copy
//! from the spool, which then lies behind its own mark; so each record is looked for from there on. Nothing is assumed of
//! clocks.
//!
//! Blocks: only for threads that may wait. Absent on purpose: positions kept at the broker, and groups.

use std::time::{Duration, Instant};

use bytes::Bytes;
use quell_domain::{Position, Seen, Timestamp};
use rdkafka::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};

use super::client::{self, Context};
use super::envelope::{self, Envelope, Mark};
use super::{Options, topics};
use crate::contract::{CONTEXT_BYTES, Damage, Stamp, Stream};

/// Records before the place that are looked at first.
const WINDOW: i64 = 64;
/// How long a broker may take to give the next record of those that are there.
const ANSWER: Duration = Duration::from_secs(5);
/// How long one question may take.
const ASK: Duration = Duration::from_secs(2);
/// Between two tries to seek while the fetching begins.
const SETTLE: Duration = Duration::from_millis(5);
/// Stretches of seen records that are kept; of more all are forgotten, and looked up again if one is asked for.
const STRETCHES: usize = 4096;

/// See the module.
pub(super) struct Cursor {
    consumer: BaseConsumer<Context>,
    topic: String,
    partition: i32,
    stream: Stream,
    /// The offset to be read next.
    next: i64,
    /// Whether the consumer stands there.
    placed: bool,
    /// Whether it was ever given its partition.
    assigned: bool,
    /// The greatest instant of all records before `next`.
    floor: Timestamp,
    /// The records from `known` to `next`.
    seen: Seen,
    known: i64,
    end: i64,
}

/// A record as it lies there.
#[derive(Debug)]
pub(super) struct Found<B> {
    pub(super) stamp: Stamp,
    pub(super) envelope: Envelope,
    /// What was made of its bytes.
    pub(super) body: B,
    /// What its producer gave it to take along.
    pub(super) context: Bytes,
}

/// What is at the place.
#[derive(Debug)]
pub(super) enum Step<B> {
    /// A record.
    Record(Found<B>),
    /// One that is on the log already.
    Again,
    /// One that cannot be read.
    Damaged(Stamp, Box<Damage>),
    /// None yet.
    End,
}

/// The first kept offset and the one after the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) low: i64,
    pub(super) high: i64,
}

/// A position is the offset and one: the first record of a stream is at 1, and 0 is before it.
pub(super) fn position(offset: i64) -> Position {
    Position(offset.unsigned_abs() + 1)
}

/// The offset of a position; that of "before the first" is the first one's.
pub(super) fn offset(position: Position) -> i64 {
    i64::try_from(position.0.saturating_sub(1)).unwrap_or(i64::MAX)
}

impl Cursor {
    pub(super) fn new(options: &Options, stream: Stream) -> KafkaResult<Cursor> {
        let Options { address, security, body_bytes, .. } = options;
        let config = client::consumer(&address.brokers, security, &address.prefix, body_bytes + topics::OVERHEAD);
        Ok(Cursor {
            consumer: config.create_with_context(Context)?,
            topic: topics::name(&address.prefix, stream),
            partition: options.partition(),
            stream,
            next: 0,
            placed: false,
            assigned: false,
            floor: Timestamp::MIN,
            seen: Seen::default(),
            known: 0,
            end: 0,
        })
    }

    pub(super) fn bounds(&mut self) -> KafkaResult<Bounds> {
        let until = Instant::now() + ANSWER;
        loop {
            // Asked anew after a while: a question to a broker that has just been away may never be answered.
            match self.consumer.fetch_watermarks(&self.topic, self.partition, ASK) {
                Ok((low, high)) => {
                    self.end = high;
                    return Ok(Bounds { low, high });
                }
                Err(error) if Instant::now() >= until => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// The offset after the last one when that was last asked; there may be more by now.
    pub(super) fn end(&self) -> i64 {
        self.end
    }

    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// How far this was read.
    pub(super) fn mark(&self) -> Mark {
        Mark { through: Position(self.next.unsigned_abs()), floor: self.floor }
    }

    /// Goes to an offset, or to the first one that is kept after it.
    pub(super) fn seek(&mut self, offset: i64) -> KafkaResult<()> {
        if self.placed && offset == self.next {
            return Ok(());
        }
        let Bounds { low, high } = self.bounds()?;
        let offset = offset.clamp(low, high);
        self.placed = false;
        let before = (std::mem::take(&mut self.seen), std::mem::replace(&mut self.known, offset));
        self.floor = match self.floor_before(offset, low) {
            Ok(floor) => floor,
            Err(error) => {
                (self.seen, self.known) = before;
                return Err(error);
            }
        };
        self.next = offset;
        self.place(offset)
    }

    /// Passes over what is kept no longer; time does not go back by that.
    pub(super) fn skip(&mut self, offset: i64) -> KafkaResult<()> {
        let floor = self.floor;
        self.placed = false;
        self.seek(offset)?;
        self.floor = self.floor.max(floor);
        Ok(())
    }

    /// Waits up to `wait` for the next record. What is wanted of its bytes is made by `take` while they lie where the
    /// client put them, so that nobody copies what nobody keeps; of a record that is there again it is dropped.
    pub(super) fn step<B>(&mut self, wait: Duration, take: impl FnOnce(&Envelope, &[u8]) -> B) -> KafkaResult<Step<B>> {
        if !self.placed {
            self.place(self.next)?;
        }
        let (at, read, context) = match self.poll(wait)? {
            None => return Ok(Step::End),
            Some(message) => {
                let bytes = message.payload().unwrap_or_default();
                let read = match decode(&message) {
                    Ok(envelope) => Ok((envelope, take(&envelope, bytes))),
                    Err(why) => Err(Box::new(damage(&message, why, Bytes::copy_from_slice(bytes)))),
                };
                (message.offset(), read, context(&message))
            }
        };
        let (envelope, body) = match read {
            Ok(read) => read,
            Err(damage) => {
                self.next = at + 1;
                return Ok(Step::Damaged(self.stamp(at), damage));
            }
        };
        let after = envelope.since.unwrap_or(envelope.mark.through);
        if let Err(error) = self.know_from(offset(after.next()), at) {
            self.placed = false;
            return Err(error);
        }
        self.next = at + 1;
        self.floor = self.floor.max(envelope.at);
        let new = self.seen.note(envelope.origin);
        if self.seen.stretches() > STRETCHES {
            self.seen.clear();
            self.known = self.next;
        }
        if !new {
            return Ok(Step::Again);
        }
        Ok(Step::Record(Found { stamp: self.stamp(at), envelope, body, context }))
    }

    fn stamp(&self, offset: i64) -> Stamp {
        Stamp { stream: self.stream, position: position(offset), received_at: self.floor }
    }

    /// Has the consumer stand at an offset. It is assigned its partition once and sought from then on: a second assignment
    /// while the first one is being stopped ends the process (librdkafka#5573).
    fn place(&mut self, offset: i64) -> KafkaResult<()> {
        let at = Offset::Offset(offset);
        if !std::mem::replace(&mut self.assigned, true) {
            let mut list = TopicPartitionList::with_capacity(1);
            list.add_partition_offset(&self.topic, self.partition, at)?;
            self.consumer.assign(&list)?;
            self.placed = true;
            return Ok(());
        }
        let until = Instant::now() + ANSWER;
        loop {
            match self.consumer.seek(&self.topic, self.partition, at, ANSWER) {
                Ok(()) => break,
                Err(error) if Instant::now() >= until => return Err(error),
                // Its fetching has not begun yet; what comes meanwhile is not what is wanted.
                Err(_) => drop(self.consumer.poll(SETTLE)),
            }
        }
        self.placed = true;
        Ok(())
    }

    /// The next message; none at the end of the log or when the time is over.
    fn poll(&self, wait: Duration) -> KafkaResult<Option<BorrowedMessage<'_>>> {
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.consumer.poll(left) {
                None | Some(Err(KafkaError::PartitionEOF(_))) => return Ok(None),
                Some(Ok(message)) => return Ok(Some(message)),
                Some(Err(error)) if lasting(&error) => return Err(error),
                // The library tries again by itself, or has passed over what it could not read.
                Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::BadMessage) => {
                    tracing::error!(topic = self.topic, %error, "records are damaged and were passed over");
                }
                Some(Err(_)) if left.is_zero() => return Ok(None),
                Some(Err(_)) => {}
            }
        }
    }

    /// Looks at the messages from `from` to before `until`, in order. Where they reach up to those that are among the
    /// seen, they are so too from now on.
    fn scan(&mut self, from: i64, until: i64, mut see: impl FnMut(i64, Option<Envelope>)) -> KafkaResult<()> {
        if from >= until {
            return Ok(());
        }
        self.place(from)?;
        self.placed = false;
        let reaches = until >= self.known;
        let mut patience = Instant::now() + ANSWER;
        loop {
            let Some(message) = self.poll(ANSWER)? else {
                // The end before `until` is no fault when nothing is there; a broker that says nothing is one.
                let Bounds { high, .. } = self.bounds()?;
                if high < until || Instant::now() >= patience {
                    return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
                }
                continue;
            };
            let (at, envelope) = (message.offset(), decode(&message).ok());
            if let Some(envelope) = envelope.filter(|_| reaches && at < self.known) {
                self.seen.note(envelope.origin);
            }
            if at < until {
                see(at, envelope);
            }
            if at + 1 >= until {
                if reaches {
                    self.known = self.known.min(from);
                }
                return Ok(());
            }
            patience = Instant::now() + ANSWER;
        }
    }

    /// The greatest instant of all records before an offset.
    fn floor_before(&mut self, offset: i64, low: i64) -> KafkaResult<Timestamp> {
        if offset <= low {
            // What was before is kept no longer; the first record that is says what its producer knew of it.
            let mut floor = Timestamp::MIN;
            let Bounds { high, .. } = self.bounds()?;
            if low > 0 && low < high {
                self.scan(low, low + 1, |_, envelope| floor = envelope.map_or(floor, |envelope| envelope.mark.floor))?;
            }
            return Ok(floor);
        }
        let mut start = offset.saturating_sub(WINDOW).max(low);
        loop {
            let mut best: Option<Mark> = None;
            let mut instants = Vec::new();
            self.scan(start, offset, |at, envelope| {
                let Some(Envelope { at: instant, mark, .. }) = envelope else { return };
                instants.push((position(at), instant));
                if best.is_none_or(|best| best.through < mark.through) {
                    best = Some(mark);
                }
            })?;
            let Some(mark) = best else {
                // Nothing of quell's in there: further back.
                if start == low {
                    return Ok(Timestamp::MIN);
                }
                start = start.saturating_sub(WINDOW * 16).max(low);
                continue;
            };
            // The offset of the record after those that the mark speaks of.
            let after = i64::try_from(mark.through.0).unwrap_or(i64::MAX);
            let mut floor = mark.floor;
            if after >= start {
                let between = instants.iter().filter(|(position, _)| *position > mark.through);
                return Ok(between.map(|(_, at)| *at).fold(floor, Timestamp::max));
            }
            self.scan(after.max(low), offset, |_, envelope| {
                floor = envelope.map_or(floor, |envelope| floor.max(envelope.at));
            })?;
            return Ok(floor);
        }
    }

    /// Has every record from an offset to before `at` among those seen; stands behind `at` afterwards.
    fn know_from(&mut self, from: i64, at: i64) -> KafkaResult<()> {
        if from >= self.known {
            return Ok(());
        }
        let low = self.bounds()?.low;
        self.scan(from.max(low), self.known, |_, _| {})?;
        // What is kept no longer need not be asked for again.
        self.known = from;
        self.place(at + 1)
    }
}

/// What a message says of itself.
fn decode(message: &BorrowedMessage<'_>) -> Result<Envelope, &'static str> {
    let headers = message.headers().ok_or("it has no header of quell's")?;
    let header = headers.iter().find(|header| header.key == envelope::NAME).ok_or("it has no header of quell's")?;
    Envelope::decode(header.value.unwrap_or_default(), message.payload().unwrap_or_default())
}

/// What a record's producer gave it to take along; nothing that is too long.
fn context(message: &BorrowedMessage<'_>) -> Bytes {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let found = headers.filter(|header| header.key == envelope::CONTEXT).find_map(|header| header.value);
    found.filter(|value| value.len() <= CONTEXT_BYTES).map(Bytes::copy_from_slice).unwrap_or_default()
}

/// What is kept of one that cannot be read.
fn damage(message: &BorrowedMessage<'_>, why: &'static str, body: Bytes) -> Damage {
    let headers = message.headers().map(|headers| {
        let copy = |header: rdkafka::message::Header<'_, &[u8]>| {
            (header.key.to_owned(), Bytes::copy_from_slice(header.value.unwrap_or_default()))
        };
        headers.iter().map(copy).collect()
    });
    Damage { why, headers: headers.unwrap_or_default(), body }
}

/// Whether trying again cannot help.
fn lasting(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let lasting = [
        Code::OffsetOutOfRange,
        Code::AutoOffsetReset,
        Code::UnknownTopicOrPartition,
        Code::UnknownTopic,
        Code::UnknownPartition,
        Code::TopicAuthorizationFailed,
        Code::Fatal,
    ];
    matches!(error, KafkaError::MessageConsumptionFatal(_))
        || error.rdkafka_error_code().is_some_and(|code| lasting.contains(&code))
}
