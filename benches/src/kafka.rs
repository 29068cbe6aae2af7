//! Bodies onto a real Kafka and back: by the client library alone, and by quell's log.
//!
//! Deliberately absent: starting brokers; what is measured with.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use quell_domain::{RecordKind, Source, Timestamp};
use quell_log::kafka::{Appender, KafkaLog, Opened, Options};
use quell_log::{Append, AppendError, Clock, Draft, Stream};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use crate::phase::Phase;
use crate::process;

/// After a record for which there was no room.
const AGAIN: Duration = Duration::from_millis(2);

/// The clock on the wall.
#[derive(Debug)]
pub struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// What this process did since some instant.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    begun: Instant,
    cpu: f64,
}

impl Since {
    /// From now on.
    ///
    /// # Errors
    /// Where there is no `/proc`.
    pub fn now() -> Result<Since> {
        Ok(Since { begun: Instant::now(), cpu: process::cpu_seconds(std::process::id())? })
    }

    /// That many alerts went through.
    ///
    /// # Errors
    /// As [`Since::now`].
    pub fn phase(self, alerts: u64) -> Result<Phase> {
        let cpu_seconds = process::cpu_seconds(std::process::id())? - self.cpu;
        Ok(Phase { alerts, wall: self.begun.elapsed().as_secs_f64(), cpu_seconds, ..Phase::default() })
    }
}

struct Counted(AtomicU64);

impl ClientContext for Counted {}

impl ProducerContext for Counted {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Produces that many records with the settings that quell's log has, as fast as it goes. Blocks.
///
/// # Errors
/// When not all of them landed.
pub fn produce(brokers: &str, topic: &str, bodies: &[Bytes], records: u64, batch: u64) -> Result<Phase> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("acks", "all").set("enable.idempotence", "true");
    config.set("compression.type", "lz4").set("linger.ms", "1").set("queue.buffering.max.kbytes", "262144");
    config.set("message.max.bytes", "16777216");
    let producer: ThreadedProducer<Counted> = config.create_with_context(Counted(AtomicU64::new(0)))?;
    let since = Since::now()?;
    for body in bodies.iter().cycle().take(usize::try_from(records)?) {
        let headers = OwnedHeaders::new().insert(Header { key: "quell", value: Some(&[0_u8; 58][..]) });
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(0).key(&[0; 8]).payload(body).headers(headers);
        while let Err((error, back)) = producer.send(record) {
            ensure!(error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull), "{error}");
            record = back;
            std::thread::yield_now();
        }
    }
    producer.flush(Duration::from_secs(60))?;
    ensure!(producer.context().0.load(Ordering::Relaxed) == records, "not everything landed");
    since.phase(records * batch)
}

/// Takes that many records from the beginning of a topic, and does `each` with every body. Counted from the first one
/// on. Blocks.
///
/// # Errors
/// When nothing comes for ten seconds, or `each` fails.
pub fn consume(
    brokers: &str,
    topic: &str,
    records: u64,
    batch: u64,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<Phase> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "raw").set("enable.auto.commit", "false");
    config.set("check.crcs", "true").set("fetch.message.max.bytes", "16777216").set("fetch.queue.backoff.ms", "20");
    let consumer: BaseConsumer = config.create()?;
    let mut all = TopicPartitionList::new();
    all.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&all)?;
    let mut since = Since::now()?;
    let mut seen = 0;
    while seen < records {
        match consumer.poll(Duration::from_secs(10)).context("nothing comes")? {
            Ok(message) => {
                if seen == 0 {
                    since = Since::now()?;
                }
                each(message.payload().unwrap_or_default())?;
                seen += 1;
            }
            Err(KafkaError::PartitionEOF(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    since.phase(records * batch)
}

/// quell's log on that Kafka, under that prefix.
///
/// # Errors
/// When it cannot be opened.
pub async fn open(brokers: &str, prefix: &str, spool: &Path) -> Result<Opened<()>> {
    let options = Options::at(format!("kafka://{brokers}/{prefix}").parse()?);
    Ok(KafkaLog::open(spool, options, Arc::new(Wall), |_, _| Vec::new()).await?)
}

/// Appends that many records of alerts, `ways` at once, each of which is answered.
///
/// # Errors
/// When one of them did not go onto Kafka at once.
pub async fn append(appender: &Appender<()>, bodies: &[Bytes], records: u64, batch: u64, ways: u64) -> Result<Phase> {
    let since = Since::now()?;
    let ways = (0..ways).map(|way| async move {
        for number in (way..records).step_by(usize::try_from(ways)?) {
            let body = bodies[usize::try_from(number % bodies.len() as u64)?].clone();
            let kind = RecordKind::Alerts(Source::AlertmanagerApi);
            let draft = Draft { stream: Stream::Main, kind, body, carry: None, context: Bytes::new() };
            loop {
                match appender.append(draft.clone()).await {
                    // A sender would be told to come again.
                    Err(AppendError::Overloaded { .. }) => tokio::time::sleep(AGAIN).await,
                    appended => break ensure!(appended?.stamp().is_some(), "a record went into the spool"),
                }
            }
        }
        Ok(())
    });
    futures::future::try_join_all(ways).await?;
    since.phase(records * batch)
}
