//! How quell talks to Kafka: the settings of every client, what librdkafka says, and letting go of a client aside.
//!
//! Absent on purpose: topics and records. Everything here that blocks runs on a thread of its own, never on the
//! runtime's.

use std::ops::Deref;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use tokio::sync::oneshot;

use super::security::Security;

/// Where a produced record landed.
pub(super) type Landed = Result<i64, KafkaError>;

/// What librdkafka says goes to our log; a broker that is away is told once by whoever finds out, not by every client.
pub(super) struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "librdkafka", facility, "{message}");
            }
            _ => tracing::debug!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ConsumerContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<oneshot::Sender<Landed>>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        let landed = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        // Whoever does not wait for the answer does not need it.
        waiting.send(landed).ok();
    }
}

fn base(brokers: &str, security: &Security) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("client.id", "quell")
        // A broker that hangs is given up sooner than after a minute, and one that came back is found sooner than after
        // ten seconds.
        .set("socket.timeout.ms", "10000")
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "2000")
        .set("log.connection.close", "false");
    security.apply(&mut config);
    config
}

/// For the work of administrators and for looking around.
pub(super) fn admin(brokers: &str, security: &Security) -> ClientConfig {
    base(brokers, security)
}

/// For producing: every replica in sync has it before it is acknowledged, and the client's own repeats land once.
/// `patience` of 0 tries for ever.
pub(super) fn producer(brokers: &str, security: &Security, max_bytes: usize, patience_ms: u128) -> ClientConfig {
    let mut config = base(brokers, security);
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "1")
        .set("message.timeout.ms", patience_ms.to_string())
        .set("message.max.bytes", max_bytes.to_string())
        .set("queue.buffering.max.messages", "100000")
        .set("queue.buffering.max.kbytes", "262144");
    config
}

/// For reading from a position that we name: no group is joined and no offset is kept at the broker.
pub(super) fn consumer(brokers: &str, security: &Security, prefix: &str, max_bytes: usize) -> ClientConfig {
    let fetch = max_bytes.max(8 << 20);
    let mut config = base(brokers, security);
    config
        // The library wants a name although none is joined.
        .set("group.id", format!("{prefix}-reader"))
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        // What lies outside the log is an answer, not a reason to begin elsewhere.
        .set("auto.offset.reset", "error")
        .set("check.crcs", "true")
        // A transaction that somebody else left open must not hold up the stream.
        .set("isolation.level", "read_uncommitted")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.error.backoff.ms", "100")
        // By default a full queue stops the fetching for a second, and then it is empty for most of it.
        .set("fetch.queue.backoff.ms", "20")
        .set("fetch.message.max.bytes", fetch.to_string())
        .set("fetch.max.bytes", (fetch * 2).to_string())
        .set("receive.message.max.bytes", (fetch * 2 + 65_536).to_string())
        .set("queued.max.messages.kbytes", "32768");
    config
}

/// Runs what blocks on a thread for that.
pub(super) async fn aside<R: Send + 'static>(work: impl FnOnce() -> KafkaResult<R> + Send + 'static) -> KafkaResult<R> {
    tokio::task::spawn_blocking(work).await.map_err(|_| KafkaError::Canceled)?
}

/// Something whose end takes its time, which a thread of its own gives it.
#[derive(Debug)]
pub(super) struct Lingering<C: Send + 'static>(Option<C>);

impl<C: Send + 'static> Lingering<C> {
    pub(super) fn new(client: C) -> Self {
        Lingering(Some(client))
    }
}

impl<C: Send + 'static> Deref for Lingering<C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.0.as_ref().expect("taken only when dropped")
    }
}

impl<C: Send + 'static> Drop for Lingering<C> {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            std::thread::spawn(move || drop(client));
        }
    }
}
