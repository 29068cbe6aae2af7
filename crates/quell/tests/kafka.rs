//! The whole process on a log on real Kafka: killed and started again, Kafka away, and compared with its own file.
//!
//! Absent on purpose: the log by itself (`quell-log`) and more than one node at work.

mod support {
    #[path = "../../../quell-log/tests/support/broker.rs"]
    pub(crate) mod broker;
    pub(crate) mod process;
}

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use quell_domain::{ArtefactKind, Position, RecordKind, Timestamp};
use quell_log::kafka::{self, KafkaLog};
use quell_log::{Append, Clock, Draft, EmbeddedLog, Options, Read, Record, Stream};
use quell_sim::estate::sample_estate;
use quell_sim::storm::{StormOptions, demo_storm};
use quell_store::{SqliteStore, Store};
use serde_json::{Value, json};
use support::broker::Brokers;
use support::process::{Process, alerts, fresh_folder, numbers, serve};
use tokio::sync::{Mutex, MutexGuard};

/// One broker, which the tests have in turn because some stop it.
async fn broker() -> (MutexGuard<'static, ()>, &'static Brokers) {
    static TURN: Mutex<()> = Mutex::const_new(());
    static BROKERS: OnceLock<Brokers> = OnceLock::new();
    (TURN.lock().await, BROKERS.get_or_init(|| Brokers::start("kafka-quell", 1)))
}

async fn start(folder: &Path, log: Option<kafka::Address>) -> anyhow::Result<Process> {
    let mut command = serve(&[], &folder.join("data"));
    if let Some(log) = log {
        command.args(["--log", &log.to_string()]);
    }
    Process::start(command, &folder.join("quell.log")).await
}

async fn until(what: &str, mut look: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    while !look().await? {
        ensure!(begun.elapsed() < Duration::from_secs(40), "{what}: not within 40 s");
        ticks.tick().await;
    }
    Ok(())
}

async fn text(quell: &Process, path: &str) -> anyhow::Result<String> {
    Ok(quell.client.get(format!("{}{path}", quell.url)).send().await?.text().await?)
}

async fn has_line(quell: &Process, line: &str) -> anyhow::Result<bool> {
    Ok(text(quell, "/metrics").await?.lines().any(|found| found == line))
}

/// True when everything received is on Kafka, decided and written.
async fn is_done(quell: &Process) -> anyhow::Result<bool> {
    let deciding = has_line(quell, r#"quell_deciding{shard="0"} 1"#).await?;
    Ok(deciding && has_line(quell, "quell_spool_waiting_records 0").await? && quell.is_done().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_comes_back_with_everything() -> anyhow::Result<()> {
    let (_turn, brokers) = broker().await;
    let folder = fresh_folder("kafka-killed")?;
    let log = || Some(brokers.address("killed"));
    let mut quell = start(&folder, log()).await?;
    let mut receipts = Vec::new();
    for _ in 0..3 {
        let answer = quell.post("/api/v2/alerts", alerts(1..=30)).await?.error_for_status()?;
        receipts.push(answer.headers().get("x-quell-receipt").context("a receipt")?.to_str()?.to_owned());
    }
    until("decided", async || is_done(&quell).await).await?;
    let receipt = quell.get(&format!("/api/v1/receipts/{}", receipts[1])).await?;
    ensure!(receipt.to_string().contains("INC-1"), "{receipt}");
    let by = json!({"by": "ana"}).to_string();
    let answer = quell.post("/api/v1/incidents/INC-1/ack", by).await?.error_for_status()?;
    let answer: Value = serde_json::from_str(&answer.text().await?)?;
    ensure!(answer["outcome"] == "done", "{answer}");
    // The last ones may not be decided when it is killed.
    quell.post("/api/v2/alerts", alerts(31..=60)).await?.error_for_status()?;
    quell.kill().await?;
    let mut quell = start(&folder, log()).await?;
    until("decided", async || is_done(&quell).await).await?;
    let found = quell.list("/api/v1/alerts?state=all").await?;
    ensure!(numbers(&found) == (1..=60).collect::<Vec<u64>>(), "{:?}", numbers(&found));
    let wanted = |alert: &Value| match alert["labels"]["n"].as_str().and_then(|n| n.parse::<u64>().ok()) {
        Some(..=30) => 3,
        _ => 1,
    };
    let wrong: Vec<_> = found.iter().filter(|alert| alert["count"] != wanted(alert)).collect();
    ensure!(wrong.is_empty(), "repeats of {} were lost or counted twice, as of {}", wrong.len(), wrong[0]);
    let incident = quell.get("/api/v1/incidents/INC-1").await?;
    ensure!(incident["acknowledged_by"] == "ana", "{incident}");
    let incidents = quell.list("/api/v1/incidents?state=all").await?;
    let memberships: usize = incidents.iter().filter_map(|one| one["alerts_total"].as_u64()).sum::<u64>() as usize;
    ensure!(memberships == found.len(), "{memberships} memberships of {} alerts", found.len());
    quell.terminate().await?;
    let status = quell.ended(Duration::from_secs(15)).await?;
    ensure!(status.success(), "asked to end, it ended with {status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_kafka_is_away_alerts_are_spooled_and_nothing_is_lost() -> anyhow::Result<()> {
    let (_turn, brokers) = broker().await;
    let folder = fresh_folder("kafka-away")?;
    let log = || Some(brokers.address("spooled"));
    let mut quell = start(&folder, log()).await?;
    quell.post("/api/v2/alerts", alerts([0])).await?.error_for_status()?;
    until("decided", async || is_done(&quell).await).await?;
    ensure!(
        text(&quell, "/readyz").await? == "OK\nrole: deciding"
            && has_line(&quell, "quell_log_state{state=\"open\"} 1").await?
    );
    brokers.signal(0, "STOP");
    for batch in 0..10_u64 {
        let answer =
            quell.post("/api/v2/alerts", alerts(batch * 20 + 1..=batch * 20 + 20)).await?.error_for_status()?;
        ensure!(answer.headers().get("x-quell-receipt").is_none(), "it has no place on the log yet");
    }
    ensure!(has_line(&quell, "quell_log_state{state=\"spooling\"} 1").await?);
    ensure!(has_line(&quell, "quell_spool_waiting_records 10").await?, "{}", text(&quell, "/metrics").await?);
    let ready = text(&quell, "/readyz").await?;
    ensure!(ready.starts_with("OK\ndegraded: the log is away"), "{ready}");
    let refused = quell.post("/api/v1/incidents/INC-1/ack", json!({"by": "ana"}).to_string()).await?;
    ensure!(refused.status() == 503 && refused.headers().contains_key("retry-after"), "{}", refused.status());
    // What is in the spool outlives the process.
    quell.kill().await?;
    brokers.signal(0, "CONT");
    let quell = start(&folder, log()).await?;
    until("decided", async || {
        let found = quell.list("/api/v1/alerts?state=all").await?;
        Ok(is_done(&quell).await? && numbers(&found) == (0..=200).collect::<Vec<u64>>())
    })
    .await?;
    ensure!(has_line(&quell, "quell_log_state{state=\"open\"} 1").await?);
    let found = quell.list("/api/v1/alerts?state=all").await?;
    let twice: Vec<_> = found.iter().filter(|alert| alert["count"] != 1).collect();
    ensure!(twice.is_empty(), "{} counted twice, as {}", twice.len(), twice[0]);
    let acked = quell.post("/api/v1/incidents/INC-1/ack", json!({"by": "ana"}).to_string()).await?;
    ensure!(acked.status() == 202, "{}", acked.status());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_stands_by_and_takes_over() -> anyhow::Result<()> {
    let (_turn, brokers) = broker().await;
    let folder = fresh_folder("kafka-standby")?;
    let log = || Some(brokers.address("standby"));
    let [one, two] = [folder.join("one"), folder.join("two")];
    for node in [&one, &two] {
        std::fs::create_dir_all(node)?;
    }
    let mut first = start(&one, log()).await?;
    first.post("/api/v2/alerts", alerts(1..=30)).await?.error_for_status()?;
    until("decided", async || is_done(&first).await).await?;
    let before = decided(&first).await?;
    let second = start(&two, log()).await?;
    let stands_by = async |node: &Process| Ok(text(node, "/readyz").await?.ends_with("role: standing by"));
    until("standing by", async || stands_by(&second).await).await?;
    // It waits for as long as the first one is there.
    first.post("/api/v2/alerts", alerts(31..=40)).await?.error_for_status()?;
    until("decided", async || is_done(&first).await).await?;
    ensure!(stands_by(&second).await?, "two nodes decide at once");
    first.kill().await?;
    let begun = Instant::now();
    until("deciding", async || has_line(&second, r#"quell_deciding{shard="0"} 1"#).await).await?;
    let took = begun.elapsed();
    until("decided", async || is_done(&second).await).await?;
    ensure!(took < Duration::from_secs(15), "it took over after {took:?}");
    // It had no store in common with the first one: the log alone makes the same incidents.
    let after = decided(&second).await?;
    ensure!(numbers(&second.list("/api/v1/alerts?state=all").await?) == (1..=40).collect::<Vec<u64>>());
    for incident in &before {
        let same = after.iter().find(|other| other["id"] == incident["id"]).context("an incident is gone")?;
        ensure!(same["opened_at"] == incident["opened_at"] && same["receipt"] == incident["receipt"], "{same}");
    }
    // The first one comes back, and stands by.
    let first = start(&one, log()).await?;
    until("standing by", async || stands_by(&first).await).await?;
    ensure!(has_line(&second, r#"quell_deciding{shard="0"} 1"#).await?, "it kept the turn");
    println!("took over after {took:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_none_is_refused_with_a_word() -> anyhow::Result<()> {
    let folder = fresh_folder("kafka-address")?;
    let refused = serve(&[], &folder.join("data")).args(["--log", "amqp://x"]).output().await?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && said.contains("kafka://HOST:PORT"), "{}: {said}", refused.status);
    Ok(())
}

/// A clock that says what each record's stamp was.
#[derive(Debug)]
struct Told(AtomicI64);

impl Clock for Told {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// What is decided of a storm: every incident with its alerts, causes and opening.
async fn decided(quell: &Process) -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    for incident in quell.list("/api/v1/incidents?state=all").await? {
        let id = incident["id"].as_str().context("an id")?.to_owned();
        let whole = quell.get(&format!("/api/v1/incidents/{id}")).await?;
        let alerts: Vec<Value> = whole["alerts"]
            .as_array()
            .context("alerts")?
            .iter()
            .map(|alert| json!([alert["fingerprint"], alert["starts_at"], alert["ci"]]))
            .collect();
        let parts = ["id", "title", "opened_at", "priority", "causes", "receipt", "alerts_total"];
        let mut kept: serde_json::Map<String, Value> =
            parts.iter().map(|part| ((*part).to_owned(), whole[*part].clone())).collect();
        kept.insert("alerts".to_owned(), alerts.into());
        all.push(kept.into());
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_log_makes_the_same_incidents_on_kafka_and_in_a_file() -> anyhow::Result<()> {
    let (_turn, brokers) = broker().await;
    let folder = fresh_folder("kafka-same")?;
    let quell = start(&folder, Some(brokers.address("same"))).await?;
    let estate = sample_estate();
    let bytes = quell_formats::topology::encode(&estate);
    let put = quell.client.put(format!("{}/api/v1/topology", quell.url)).header("content-type", "application/json");
    put.body(bytes.clone()).send().await?.error_for_status()?;
    let start_at = quell::clock::SystemClock.now();
    for post in demo_storm(&estate, StormOptions { seed: 3, start: start_at, pace: 1.0 }).posts {
        quell.post(post.path(), post.body.clone()).await?.error_for_status()?;
    }
    until("decided", async || is_done(&quell).await).await?;

    // The same records at the same instants, in a file.
    let records = read_all(brokers.address("same"), &folder.join("reader")).await?;
    let clock = Arc::new(Told(AtomicI64::new(records[0].stamp.received_at.micros())));
    let data = folder.join("file").join("data");
    let outage = |_: Timestamp, _: Timestamp| Vec::new();
    let log = EmbeddedLog::open::<()>(&data, Options::default(), Arc::clone(&clock) as Arc<dyn Clock>, outage).await?;
    for Record { stamp, kind, body, .. } in records {
        clock.0.store(stamp.received_at.micros(), Ordering::SeqCst);
        let copied = log
            .appender
            .append(Draft { stream: Stream::Main, kind, body, carry: None, context: Default::default() })
            .await?;
        ensure!(copied == stamp, "{copied:?} in the file, {stamp:?} on Kafka");
    }
    log.appender.close().await;
    let store = SqliteStore::open(&data.join("store.db")).await?;
    store.put_artefact(ArtefactKind::Topology, quell_formats::topology::digest(&bytes), &bytes).await?;
    drop(store);
    let other = start(&folder.join("file"), None).await?;
    until("decided", async || other.is_done().await).await?;
    // Both look again at what they have put together, each when its own clock says so.
    let same = until("judged", async || Ok(decided(&quell).await? == decided(&other).await?)).await;
    let (on_kafka, in_a_file) = (decided(&quell).await?, decided(&other).await?);
    ensure!(on_kafka.len() > 3, "only {} incidents", on_kafka.len());
    for (one, other) in on_kafka.iter().zip(&in_a_file) {
        ensure!(one == other, "on Kafka {one:#}\nin a file {other:#}");
    }
    ensure!(on_kafka.len() == in_a_file.len(), "{} on Kafka, {} in a file", on_kafka.len(), in_a_file.len());
    same
}

/// Every record of the main stream, but for an outage at its end.
async fn read_all(address: kafka::Address, spool: &Path) -> anyhow::Result<Vec<Record<()>>> {
    let clock = Arc::new(Told(AtomicI64::new(0)));
    let outage = |_: Timestamp, _: Timestamp| Vec::new();
    let log = KafkaLog::open::<()>(spool, kafka::Options::at(address), clock, outage).await?;
    let mut records: Vec<Record<()>> = Vec::new();
    while records.last().map_or(Position::START, |record| record.stamp.position) < log.last[0] {
        let from = records.last().map_or(Position(1), |record| record.stamp.position.next());
        records.extend(Read::<()>::read(&log.reader, Stream::Main, from, 500).await?);
    }
    Append::close(&log.appender).await;
    ensure!(records.iter().filter(|record| matches!(record.kind, RecordKind::Alerts(_))).count() > 50, "too few");
    Ok(records)
}
