//! Kafka beside the log: topics that others fill, topics that incidents are told on, and dead letters, on a real broker.
//!
//! Absent on purpose: the log itself (`kafka.rs`).

mod support {
    #[path = "../../../quell-log/tests/support/broker.rs"]
    pub(crate) mod broker;
    pub(crate) mod process;
}

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, ensure};
use quell_log::kafka::{Mechanism, Publisher, RawMessage, RawOptions, RawTopic, Sasl, Security};
use serde_json::{Value, json};
use support::broker::Brokers;
use support::process::{Process, alerts, fresh_folder, numbers, serve, until};
use tokio::process::Command;

const PATIENCE: Duration = Duration::from_secs(60);

fn broker() -> &'static Brokers {
    static BROKERS: OnceLock<Brokers> = OnceLock::new();
    BROKERS.get_or_init(|| Brokers::start("kafka-streams-broker", 1))
}

fn publisher(topic: &str) -> Publisher {
    Publisher::new(broker().bootstrap.clone(), Security::default(), topic.into(), 4 << 20)
}

async fn start(folder: &Path, prefix: &str, config: &str) -> anyhow::Result<Process> {
    let file = folder.join("quell.yaml");
    std::fs::write(&file, config)?;
    let mut command = serve(&[], &folder.join("data"));
    command.arg("--config").arg(&file).args(["--log", &broker().address(prefix).to_string()]);
    Process::start(command, &folder.join("quell.log")).await
}

async fn metric(quell: &Process, line: &str) -> anyhow::Result<bool> {
    let text = quell.client.get(format!("{}/metrics", quell.url)).send().await?.text().await?;
    Ok(text.lines().any(|found| found == line))
}

/// What the program prints.
async fn run(words: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_quell")).args(words).output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "quell {words:?}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Messages of a topic from its beginning, until `enough` says so.
async fn read(topic: &str, group: &str, enough: impl Fn(&[RawMessage]) -> bool) -> anyhow::Result<Vec<RawMessage>> {
    let options = RawOptions {
        brokers: broker().bootstrap.clone(),
        security: Security::default(),
        topic: topic.into(),
        group: group.into(),
        oldest: true,
        waiting_records: 1024,
        waiting_bytes: 1 << 24,
    };
    let mut joined = tokio::task::spawn_blocking(move || RawTopic::join(&options)).await??;
    let mut all = Vec::new();
    let reading = async {
        while !enough(&all) {
            all.extend(joined.next(100).await);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.with_context(|| format!("{topic} did not say enough"))?;
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_put_on_a_topic_is_taken_as_if_it_were_posted() -> anyhow::Result<()> {
    let folder = fresh_folder("streams-raw")?;
    let config = "topics: [{topic: raw.alerts, format: alertmanager}]\nintake: {decoded_bytes: 100KiB}\n";
    let topic = publisher("raw.alerts");
    for number in 0..50_u64 {
        topic.publish(&number.to_le_bytes(), &[], alerts([number]).as_bytes()).await?;
    }
    topic.publish(b"k", &[], b"{ not alerts").await?;
    topic.publish(b"k", &[("source", b"elsewhere")], &vec![b' '; 200_000]).await?;
    topic.publish(b"k", &[], alerts([50]).as_bytes()).await?;
    let mut quell = start(&folder, "raw", config).await?;
    let whole = async || Ok(numbers(&quell.list("/api/v1/alerts?state=all").await?) == (0..=50).collect::<Vec<u64>>());
    until("all are there", PATIENCE, whole).await?;
    until("the broken ones", PATIENCE, async || {
        let taken = metric(&quell, "quell_raw_messages_total{outcome=\"taken\",topic=\"raw.alerts\"} 52").await?;
        Ok(taken
            && metric(&quell, "quell_dead_letters_total{reason=\"too_large\"} 1").await?
            && quell.is_done().await?)
    })
    .await?;
    let parked = quell.get("/api/v1/parked").await?;
    ensure!(parked["items"].as_array().is_some_and(|all| all.len() == 1), "{parked}");
    ensure!(parked["items"][0]["raw"].as_str().is_some_and(|raw| raw.contains("not alerts")), "{parked}");
    let log = broker().address("raw").to_string();
    let listed = run(&["dead-letters", "list", "--log", &log]).await?;
    ensure!(listed.contains("too_large") && listed.contains("200000 bytes; allowed: 102400"), "{listed}");
    // Killed and started again it goes on where it was; what comes twice changes nothing.
    quell.kill().await?;
    topic.publish(b"k", &[], alerts([51, 52]).as_bytes()).await?;
    let quell = start(&folder, "raw", config).await?;
    let more = async || {
        let found = numbers(&quell.list("/api/v1/alerts?state=all").await?);
        Ok(found == (0..=52).collect::<Vec<u64>>() && quell.is_done().await?)
    };
    until("the later ones", PATIENCE, more).await?;
    // The log on Kafka is replayed without changing anything.
    let output = folder.join("replayed.jsonl");
    let data = folder.join("data");
    let words = ["replay", "--log", &log, "--data-dir", &data.to_string_lossy(), "--output", &output.to_string_lossy()];
    let told = run(&words).await?;
    let wanted = quell.list("/api/v1/incidents?state=all").await?.len();
    let replayed = std::fs::read_to_string(&output)?.lines().count();
    ensure!(replayed == wanted && wanted > 0, "{replayed} incidents instead of {wanted}: {told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_an_incident_is_told_in_order_as_a_cloud_event() -> anyhow::Result<()> {
    let folder = fresh_folder("streams-told")?;
    let config = "sinks: [{name: bus, topic: told.events, source: 'urn:quell:test'}]\n";
    let mut quell = start(&folder, "told", config).await?;
    quell.post("/api/v2/alerts", alerts([1])).await?.error_for_status()?;
    until("an incident", PATIENCE, async || Ok(!quell.list("/api/v1/incidents?state=all").await?.is_empty())).await?;
    let by = json!({"by": "ana"}).to_string();
    quell.post("/api/v1/incidents/INC-1/ack", by.clone()).await?.error_for_status()?;
    // What was not told before a kill is told after it, with the same id.
    quell.kill().await?;
    let quell = start(&folder, "told", config).await?;
    quell.post("/api/v1/incidents/INC-1/resolve", by).await?.error_for_status()?;
    let is = |message: &RawMessage, kind: &str| {
        let event = message.body.as_ref().and_then(|body| serde_json::from_slice::<Value>(body).ok());
        event.is_some_and(|event| event["type"] == kind)
    };
    let all = read("told.events", "told-test", |all| all.iter().any(|one| is(one, "quell.incident.resolved"))).await?;
    let mut kinds: Vec<String> = Vec::new();
    let (mut ids, mut partitions) = (BTreeMap::new(), BTreeSet::new());
    for message in &all {
        let header = message.headers.iter().find(|(name, _)| name == "content-type").context("a content type")?;
        ensure!(&header.1[..] == b"application/cloudevents+json; charset=UTF-8", "{header:?}");
        let event: Value = serde_json::from_slice(message.body.as_deref().context("a body")?)?;
        // What the specification requires.
        ensure!(event["specversion"] == "1.0" && event["source"] == "urn:quell:test", "{event}");
        let (id, kind) = (event["id"].as_str().context("an id")?, event["type"].as_str().context("a type")?);
        ensure!(event["subject"] == "INC-1" && event["partitionkey"] == "INC-1", "{event}");
        ensure!(event["data"]["id"] == "INC-1" && event["data"]["change"]["reason"]["text"].is_string(), "{event}");
        ensure!(event["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{event}");
        partitions.insert(message.partition);
        // Again is allowed, and then it is the same one.
        match ids.insert(id.to_owned(), kind.to_owned()) {
            None => kinds.push(kind.to_owned()),
            Some(before) => ensure!(before == kind, "{id} was {before} and is {kind}"),
        }
    }
    ensure!(kinds == ["quell.incident.opened", "quell.incident.acknowledged", "quell.incident.resolved"], "{kinds:?}");
    ensure!(partitions.len() == 1, "one incident's events are on {partitions:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_record_is_put_aside_listed_and_put_back() -> anyhow::Result<()> {
    let folder = fresh_folder("streams-dead")?;
    let quell = start(&folder, "dead", "").await?;
    quell.post("/api/v2/alerts", alerts([1])).await?.error_for_status()?;
    publisher("dead.main").publish(b"k", &[("whose", b"somebody's")], alerts([2]).as_bytes()).await?;
    quell.post("/api/v2/alerts", alerts([3])).await?.error_for_status()?;
    let has = async |wanted: &[u64]| {
        Ok(numbers(&quell.list("/api/v1/alerts?state=all").await?) == wanted && quell.is_done().await?)
    };
    until("the others are decided", PATIENCE, async || has(&[1, 3]).await).await?;
    ensure!(metric(&quell, "quell_dead_letters_total{reason=\"damaged\"} 1").await?);
    let log = broker().address("dead").to_string();
    let listed = run(&["dead-letters", "list", "--log", &log]).await?;
    ensure!(listed.contains("it has no header of quell's") && listed.contains("1 dead letters"), "{listed}");
    let id = listed.split_whitespace().next().context("an id")?.to_owned();
    let replay = ["dead-letters", "replay", &id, "--log", &log, "--url", &quell.url];
    ensure!(run(&replay).await.is_err_and(|error| error.to_string().contains("--format")), "its kind is not known");
    let told = run(&[&replay[..], &["--format", "alertmanager"]].concat()).await?;
    ensure!(told.contains("receipt"), "{told}");
    until("it is decided", PATIENCE, async || has(&[1, 2, 3]).await).await?;
    let listed = run(&["dead-letters", "list", "--log", &log]).await?;
    ensure!(listed.contains("put back") && listed.contains("1 dead letters"), "{listed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_ask_for_a_password_are_given_it() -> anyhow::Result<()> {
    let folder = fresh_folder("streams-sasl")?;
    let brokers = Brokers::guarded("kafka-streams-guarded", "sesame-17");
    let sasl = Sasl { mechanism: Mechanism::Plain, username: "quell".into(), password: "sesame-17".into() };
    let security = Security { tls: None, sasl: Some(sasl) };
    let topic = Publisher::new(brokers.bootstrap.clone(), security, "raw".into(), 1 << 20);
    topic.publish(b"k", &[], alerts([1]).as_bytes()).await?;
    let stranger = Publisher::new(brokers.bootstrap.clone(), Security::default(), "raw".into(), 1 << 20);
    ensure!(stranger.publish(b"k", &[], alerts([2]).as_bytes()).await.is_err(), "it lets in whoever says nothing");
    let (file, password) = (folder.join("quell.yaml"), folder.join("password"));
    std::fs::write(&password, "sesame-17\n")?;
    let config = json!({
        "kafka": {
            "security_protocol": "sasl_plaintext", "sasl_mechanism": "plain", "username": "quell",
            "password_file": password,
        },
        "log": brokers.address("guarded").to_string(),
        "topics": [{"topic": "raw", "format": "alertmanager"}],
    });
    std::fs::write(&file, config.to_string())?;
    let mut command = serve(&[], &folder.join("data"));
    command.arg("--config").arg(&file);
    let quell = Process::start(command, &folder.join("quell.log")).await?;
    quell.post("/api/v2/alerts", alerts([3])).await?.error_for_status()?;
    let both = async || Ok(numbers(&quell.list("/api/v1/alerts?state=all").await?) == [1, 3]);
    until("both are there", PATIENCE, both).await?;
    let said = std::fs::read_to_string(folder.join("quell.log"))?;
    ensure!(!said.contains("sesame"), "the password is in the log of the process");
    Ok(())
}
