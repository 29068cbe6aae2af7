//! Topics that other systems fill: read as a member of a consumer group, each message at least once.
//!
//! A message's offset is stored when its reader says that it is done with it, and committed to Kafka once a second; so
//! whatever happens between is read again. Absent on purpose: what the bytes mean, and positions of our own: what comes
//! twice changes nothing further on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::statistics::Statistics;
use tokio::sync::mpsc;

use super::client::{self, Context};
use super::security::Security;
use super::tail::Room;

/// How long the thread waits for a message before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);
/// A reader that takes nothing for so long has its partitions paused, so that the group does not take it for dead.
const HOLD: Duration = Duration::from_secs(20);
/// The least that a fetch may bring.
const FETCH: usize = 8 << 20;

/// Which topic, as which group, and the named limits.
#[derive(Clone, Debug)]
pub struct RawOptions {
    /// `HOST:PORT`, separated by commas.
    pub brokers: String,
    /// How they are reached.
    pub security: Security,
    /// The topic.
    pub topic: String,
    /// The consumer group; nodes of one group share the partitions.
    pub group: String,
    /// Whether a group that is new begins with the oldest message that is kept, or with those to come.
    pub oldest: bool,
    /// Messages that may wait for their reader.
    pub waiting_records: usize,
    /// Their bytes.
    pub waiting_bytes: usize,
}

/// One message.
#[derive(Clone, Debug)]
pub struct RawMessage {
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its headers, as they were.
    pub headers: Vec<(String, Bytes)>,
    /// Its bytes; `None` for one that only deletes a key.
    pub body: Option<Bytes>,
}

/// A place in the group of one topic; left when this is dropped.
pub struct RawTopic {
    messages: mpsc::UnboundedReceiver<RawMessage>,
    room: Arc<Room>,
    topic: String,
    consumer: Arc<client::Lingering<BaseConsumer<Member>>>,
    ended: Arc<AtomicBool>,
    /// The last offset of each partition that was handed over to be stored.
    done: Mutex<BTreeMap<i32, i64>>,
}

impl std::fmt::Debug for RawTopic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawTopic({})", self.topic)
    }
}

/// What a member hears beside messages.
struct Member {
    topic: String,
    lag: AtomicU64,
}

impl RawTopic {
    /// Joins the group. Blocks shortly; whether a broker answers shows later.
    ///
    /// # Errors
    /// When the settings are refused.
    pub fn join(options: &RawOptions) -> KafkaResult<RawTopic> {
        let RawOptions { brokers, security, topic, group, oldest, waiting_records, waiting_bytes } = options;
        let mut config = client::admin(brokers, security);
        config
            .set("group.id", group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("auto.offset.reset", if *oldest { "earliest" } else { "latest" })
            // Stored when a message is done with, committed once a second and at the end.
            .set("enable.auto.offset.store", "false")
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", "1000")
            .set("session.timeout.ms", "10000")
            .set("statistics.interval.ms", "5000")
            .set("check.crcs", "true")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.queue.backoff.ms", "20")
            .set("fetch.message.max.bytes", FETCH.to_string())
            .set("fetch.max.bytes", (FETCH * 2).to_string())
            // One message that is larger than anything expected must not stop the topic: it is put aside.
            .set("receive.message.max.bytes", "1000000000")
            .set("queued.max.messages.kbytes", "32768");
        let member = Member { topic: topic.clone(), lag: AtomicU64::new(0) };
        let consumer: BaseConsumer<Member> = config.create_with_context(member)?;
        consumer.subscribe(&[topic])?;
        let consumer = Arc::new(client::Lingering::new(consumer));
        let room = Room::new(*waiting_records, *waiting_bytes);
        let ended = Arc::new(AtomicBool::new(false));
        let (end, messages) = mpsc::unbounded_channel();
        let thread = Reading {
            consumer: Arc::clone(&consumer),
            topic: topic.clone(),
            room: Arc::clone(&room),
            ended: Arc::clone(&ended),
            end,
        };
        std::thread::spawn(move || thread.run());
        Ok(RawTopic { messages, room, topic: topic.clone(), consumer, ended, done: Mutex::default() })
    }

    /// The next messages, at least one and at most `limit`; none when the topic was left. Safe to cancel.
    pub async fn next(&mut self, limit: usize) -> Vec<RawMessage> {
        let mut taken = Vec::new();
        self.messages.recv_many(&mut taken, limit).await;
        for message in &taken {
            self.room.give(1, weight(message));
        }
        taken
    }

    /// Has the offsets of messages committed, of which none comes again then: they are done with, and so are those
    /// before them. One whose partition went to another member meanwhile comes there again.
    pub fn done(&self, messages: &[RawMessage]) {
        let mut last: BTreeMap<i32, i64> = BTreeMap::new();
        for message in messages {
            let offset = last.entry(message.partition).or_insert(message.offset);
            *offset = (*offset).max(message.offset);
        }
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        for (partition, offset) in last {
            match self.consumer.store_offset(&self.topic, partition, offset) {
                Ok(()) => _ = done.insert(partition, offset),
                Err(error) => tracing::debug!(topic = self.topic, partition, %error, "an offset is another member's"),
            }
        }
    }

    /// Messages of this member's partitions that are not committed yet, as librdkafka last counted them.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.consumer.context().lag.load(Ordering::Acquire)
    }

    /// Commits what is done and leaves the group.
    pub async fn leave(self) {
        self.ended.store(true, Ordering::Release);
        let consumer = Arc::clone(&self.consumer);
        let any = !self.done.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        let left = client::aside(move || {
            if any {
                consumer.commit_consumer_state(CommitMode::Sync)?;
            }
            consumer.unsubscribe();
            Ok(())
        });
        if let Err(error) = left.await {
            tracing::debug!(topic = self.topic, %error, "the last offsets are committed by whoever reads next");
        }
    }
}

impl Drop for RawTopic {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
    }
}

fn weight(message: &RawMessage) -> usize {
    message.body.as_ref().map_or(0, Bytes::len)
}

/// The thread.
struct Reading {
    consumer: Arc<client::Lingering<BaseConsumer<Member>>>,
    topic: String,
    room: Arc<Room>,
    ended: Arc<AtomicBool>,
    end: mpsc::UnboundedSender<RawMessage>,
}

impl Reading {
    fn run(self) {
        let mut troubled = false;
        let mut held: Option<Instant> = None;
        let mut paused = false;
        while !self.ended.load(Ordering::Acquire) && !self.end.is_closed() {
            if !self.room.wait() {
                let since = *held.get_or_insert_with(Instant::now);
                if since.elapsed() < HOLD {
                    continue;
                }
                // Nothing is fetched any more, and the group still hears of this member.
                self.pause(&mut paused, true);
            } else {
                held = None;
                self.pause(&mut paused, false);
            }
            match self.consumer.poll(LOOK) {
                None => {}
                Some(Ok(message)) => {
                    troubled = false;
                    let message = taken(&message);
                    self.room.take(weight(&message));
                    // A reader that went away changes nothing.
                    self.end.send(message).ok();
                }
                // The library tries again by itself, or has passed over what it could not read.
                Some(Err(error)) if !std::mem::replace(&mut troubled, true) => {
                    tracing::warn!(topic = self.topic, %error, "the topic cannot be read; trying again");
                }
                Some(Err(_)) => {}
            }
        }
    }

    fn pause(&self, paused: &mut bool, wanted: bool) {
        if *paused == wanted {
            return;
        }
        let mine = self.consumer.assignment().unwrap_or_default();
        let done = if wanted { self.consumer.pause(&mine) } else { self.consumer.resume(&mine) };
        match done {
            Ok(()) => *paused = wanted,
            Err(error) => tracing::debug!(topic = self.topic, %error, "partitions cannot be paused or resumed now"),
        }
    }
}

fn taken(message: &BorrowedMessage<'_>) -> RawMessage {
    let copy = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    let headers = message.headers().map(|headers| {
        headers.iter().map(|header| (header.key.to_owned(), copy(header.value.unwrap_or_default()))).collect()
    });
    RawMessage {
        partition: message.partition(),
        offset: message.offset(),
        headers: headers.unwrap_or_default(),
        body: message.payload().map(copy),
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Context.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let partitions = statistics.topics.get(&self.topic).map(|topic| &topic.partitions);
        let lags = partitions.into_iter().flatten().filter(|(number, _)| **number >= 0);
        let lag = lags.map(|(_, partition)| u64::try_from(partition.consumer_lag).unwrap_or(0)).sum();
        self.lag.store(lag, Ordering::Release);
    }
}

impl ConsumerContext for Member {
    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let mine = consumer.assignment().map(|mine| mine.count()).unwrap_or_default();
        tracing::info!(topic = self.topic, partitions = mine, change = ?rebalance, "the group shared the topic anew");
    }
}
