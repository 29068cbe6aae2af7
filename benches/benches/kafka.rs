//! The log on Kafka beside raw rdkafka: the same bodies, one real broker on the same cores, one run.
//!
//! Says for each how many records and alerts a second went through, and how many alerts for each second of this
//! process's CPU; the broker's CPU is not counted. Absent on purpose: decoding and deciding.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use quell_domain::{Position, RecordKind, Source, Timestamp};
use quell_log::kafka::{Appender, KafkaLog, Opened, Options};
use quell_log::{Append, Clock, Draft, Follow, Read, Stream};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

/// Records of each measurement.
const RECORDS: u64 = 40_000;
/// Alerts in a body, as Prometheus sends them when much fires: bodies of about 10 KB.
const ALERTS: u64 = 10;
/// How often everything is measured.
const ROUNDS: u32 = 3;
/// Appends on their way at once.
const WAYS: u64 = 512;

struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// Seconds of CPU that this process has used.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let words = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = words.skip(11).take(2).filter_map(|word| word.parse::<f64>().ok()).sum();
    ticks / 100.0
}

fn report(what: &str, begun: Instant, used: f64) {
    let (took, used) = (begun.elapsed().as_secs_f64(), cpu() - used);
    let (records, alerts) = (RECORDS as f64, (RECORDS * ALERTS) as f64);
    println!(
        "{what:32} {:9.0} records/s {:11.0} alerts/s {:11.0} alerts/CPU-s",
        records / took,
        alerts / took,
        alerts / used
    );
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

/// Produces with the settings that the log has, as fast as it goes.
fn raw_produce(brokers: &str, topic: &str, bodies: &[Bytes]) -> anyhow::Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("acks", "all").set("enable.idempotence", "true");
    config.set("compression.type", "lz4").set("linger.ms", "5").set("queue.buffering.max.kbytes", "262144");
    let producer: ThreadedProducer<Counted> = config.create_with_context(Counted(AtomicU64::new(0)))?;
    let (begun, used) = (Instant::now(), cpu());
    for body in bodies.iter().cycle().take(RECORDS as usize) {
        let headers = OwnedHeaders::new().insert(Header { key: "quell", value: Some(&[0_u8; 58][..]) });
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(0).key(&[0; 8]).payload(body).headers(headers);
        while let Err((error, back)) = producer.send(record) {
            ensure!(error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull), "{error}");
            record = back;
            std::thread::yield_now();
        }
    }
    producer.flush(Duration::from_secs(60))?;
    ensure!(producer.context().0.load(Ordering::Relaxed) == RECORDS, "not everything landed");
    report("raw rdkafka, produce", begun, used);
    Ok(())
}

fn raw_consume(brokers: &str, topic: &str) -> anyhow::Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "raw").set("enable.auto.commit", "false");
    config.set("check.crcs", "true").set("fetch.message.max.bytes", "16777216").set("fetch.queue.backoff.ms", "20");
    let consumer: BaseConsumer = config.create()?;
    let mut all = TopicPartitionList::new();
    all.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&all)?;
    let (mut begun, mut used, mut bytes) = (Instant::now(), cpu(), 0);
    let mut seen = 0;
    while seen < RECORDS {
        match consumer.poll(Duration::from_secs(10)).context("nothing comes")? {
            Ok(message) => {
                if seen == 0 {
                    (begun, used) = (Instant::now(), cpu());
                }
                bytes += message.payload().map_or(0, <[u8]>::len);
                seen += 1;
            }
            Err(KafkaError::PartitionEOF(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    report("raw rdkafka, consume", begun, used);
    println!("  bodies of {} bytes", bytes / RECORDS as usize);
    Ok(())
}

async fn open(brokers: &str, prefix: &str, spool: &Path) -> anyhow::Result<Opened<()>> {
    let options = Options::at(format!("kafka://{brokers}/{prefix}").parse()?);
    Ok(KafkaLog::open(spool, options, Arc::new(Wall), |_, _| Vec::new()).await?)
}

async fn append(appender: &Appender<()>, bodies: &[Bytes]) -> anyhow::Result<()> {
    let (begun, used) = (Instant::now(), cpu());
    let ways = (0..WAYS).map(|way| async move {
        for number in (way..RECORDS).step_by(WAYS as usize) {
            let body = bodies[(number % bodies.len() as u64) as usize].clone();
            let draft = Draft {
                stream: Stream::Main,
                kind: RecordKind::Alerts(Source::AlertmanagerApi),
                body,
                carry: None,
                context: Bytes::new(),
            };
            let appended = appender.append(draft).await?;
            ensure!(appended.stamp().is_some(), "spooled");
        }
        Ok(())
    });
    futures::future::try_join_all(ways).await?;
    report("quell, append while following", begun, used);
    Ok(())
}

/// One after the other, several times: a broker grows faster as it goes.
async fn measure(brokers: &str, folder: &Path) -> anyhow::Result<()> {
    let start = Timestamp::from_seconds(1_800_000_000);
    let bodies = quell_benches::bodies(0, 1_000 * ALERTS, ALERTS, start);
    let bodies: Vec<Bytes> = bodies.into_iter().map(Bytes::from).collect();
    for round in 1..=ROUNDS {
        println!("round {round}");
        let raw = format!("raw{round}");
        // The topic of the raw ones is made by opening a log there.
        drop(open(brokers, &raw, &folder.join(&raw)).await?);
        let (at, topic, all) = (brokers.to_owned(), format!("{raw}.main"), bodies.clone());
        tokio::task::spawn_blocking(move || raw_produce(&at, &topic, &all).and_then(|()| raw_consume(&at, &topic)))
            .await??;
        quell(brokers, folder, &format!("log{round}"), &bodies).await?;
    }
    Ok(())
}

async fn quell(brokers: &str, folder: &Path, name: &str, bodies: &[Bytes]) -> anyhow::Result<()> {
    let Opened { appender, mut main, reader, .. } = open(brokers, name, &folder.join(name)).await?;
    let follower = tokio::spawn(async move {
        let mut seen = 0;
        while seen < RECORDS {
            seen += main.recv_many(256).await.len() as u64;
        }
    });
    // The engine's side of a node follows while it appends.
    append(&appender, bodies).await?;
    follower.await?;
    let (begun, used) = (Instant::now(), cpu());
    let (mut from, mut seen) = (Position(1), 0);
    while seen < RECORDS {
        let records = Read::<()>::read(&reader, Stream::Main, from, 256).await?;
        seen += records.len() as u64;
        from = records.last().context("the log is shorter")?.stamp.position.next();
    }
    report("quell, read again", begun, used);
    Append::close(&appender).await;
    Ok(())
}

/// One broker; it ends when its input does.
fn broker(folder: &Path) -> anyhow::Result<(Child, String)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/kafka");
    let mut child = Command::new(script);
    child.arg("run").arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().context("scripts/kafka")?;
    let mut ready = String::new();
    BufReader::new(child.stdout.take().context("piped")?).read_line(&mut ready)?;
    let brokers = ready.split_whitespace().nth(1).with_context(|| format!("scripts/kafka said {ready:?}"))?;
    Ok((child, brokers.to_owned()))
}

fn main() -> anyhow::Result<()> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kafka-bench-{}", std::process::id()));
    let (mut script, brokers) = broker(&folder.join("broker"))?;
    let runtime = tokio::runtime::Runtime::new()?;
    let measured = runtime.block_on(measure(&brokers, &folder));
    drop(script.stdin.take());
    script.wait()?;
    std::fs::remove_dir_all(&folder)?;
    measured
}
