//! The log on Kafka beside raw rdkafka: the same bodies, one real broker on the same cores, one run.
//!
//! Says for each how many records and alerts a second went through, and how many alerts for each second of this
//! process's CPU; the broker's CPU is not counted. Absent on purpose: decoding and deciding.

use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use quell_benches::kafka::{Since, append, consume, open, produce};
use quell_benches::phase::Phase;
use quell_domain::{Position, Timestamp};
use quell_log::kafka::Opened;
use quell_log::{Append, Follow, Read, Stream};
use quell_sim::torture::services::Brokers;

/// Records of each measurement.
const RECORDS: u64 = 40_000;
/// Alerts in a body, as Prometheus sends them when much fires: bodies of about 10 KB.
const ALERTS: u64 = 10;
/// How often everything is measured.
const ROUNDS: u32 = 3;
/// Appends on their way at once.
const WAYS: u64 = 512;

fn report(what: &str, phase: &Phase) {
    println!(
        "{what:32} {:9.0} records/s {:11.0} alerts/s {:11.0} alerts/CPU-s",
        phase.per_second() / ALERTS as f64,
        phase.per_second(),
        phase.per_cpu_second()
    );
}

fn raw(brokers: &str, topic: &str, bodies: &[Bytes]) -> anyhow::Result<()> {
    report("raw rdkafka, produce", &produce(brokers, topic, bodies, RECORDS, ALERTS)?);
    let mut bytes = 0;
    let consumed = consume(brokers, topic, RECORDS, ALERTS, |body| {
        bytes += body.len();
        Ok(())
    })?;
    report("raw rdkafka, consume", &consumed);
    println!("  bodies of {} bytes", bytes / RECORDS as usize);
    Ok(())
}

/// One after the other, several times: a broker grows faster as it goes.
async fn measure(brokers: &str, folder: &Path) -> anyhow::Result<()> {
    let start = Timestamp::from_seconds(1_800_000_000);
    let bodies = quell_benches::bodies(0, 1_000 * ALERTS, ALERTS, start);
    let bodies: Vec<Bytes> = bodies.into_iter().map(Bytes::from).collect();
    for round in 1..=ROUNDS {
        println!("round {round}");
        let name = format!("raw{round}");
        // The topic of the raw ones is made by opening a log there.
        drop(open(brokers, &name, &folder.join(&name)).await?);
        let (at, topic, all) = (brokers.to_owned(), format!("{name}.main"), bodies.clone());
        tokio::task::spawn_blocking(move || raw(&at, &topic, &all)).await??;
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
    report("quell, append while following", &append(&appender, bodies, RECORDS, ALERTS, WAYS).await?);
    follower.await?;
    let since = Since::now()?;
    let (mut from, mut seen) = (Position(1), 0);
    while seen < RECORDS {
        let records = Read::<()>::read(&reader, Stream::Main, from, 256).await?;
        seen += records.len() as u64;
        from = records.last().context("the log is shorter")?.stamp.position.next();
    }
    report("quell, read again", &since.phase(RECORDS * ALERTS)?);
    Append::close(&appender).await;
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kafka-bench-{}", std::process::id()));
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts");
    let runtime = tokio::runtime::Runtime::new()?;
    let measured = runtime.block_on(async {
        let brokers = Brokers::start(&scripts, &folder.join("broker"), 1).await?;
        let measured = measure(&brokers.bootstrap, &folder).await;
        brokers.stop().await?;
        measured
    });
    std::fs::remove_dir_all(&folder)?;
    measured
}
