//! Moving an installation: from one machine to a real Kafka and a real PostgreSQL, and through a backup made while it
//! serves.
//!
//! Absent on purpose: what a cluster does afterwards (`cluster.rs`).

#[path = "../../quell-log/tests/support/broker.rs"]
mod broker;
#[path = "../../quell-store/tests/support/postgres_server.rs"]
mod postgres_server;
#[path = "support/process.rs"]
mod process;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use broker::Brokers;
use postgres_server::Server;
use process::{Process, alerts, fresh_folder, numbers, serve, until};
use quell::clock::SystemClock;
use quell_domain::{Position, Shard, Timestamp};
use quell_log::Retention;
use quell_log::embedded::{Appender, EmbeddedLog};
use quell_store::{AlertQuery, PostgresStore, SqliteStore, Store, postgres};
use serde_json::{Value, json};
use tokio::process::Command;

const PATIENCE: Duration = Duration::from_secs(40);
/// What is compared before and after.
const LISTS: [&str; 5] = [
    "/api/v1/incidents?state=all",
    "/api/v1/alerts?state=all",
    "/api/v1/problems",
    "/api/v1/changes?limit=100",
    "/api/v1/feedback?limit=100",
];

async fn run(words: &[&str]) -> anyhow::Result<Result<String, String>> {
    let done = Command::new(env!("CARGO_BIN_EXE_quell")).args(words).output().await?;
    let said = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok(if done.status.success() { Ok(said(&done.stdout)) } else { Err(said(&done.stderr)) })
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

async fn start(folder: &Path) -> anyhow::Result<Process> {
    Process::start(serve(&[], &folder.join("data")), &folder.join("quell.log")).await
}

/// Fills an installation: a topology, alerts with repeats and odd characters, a change, commands.
async fn live(quell: &Process) -> anyhow::Result<()> {
    let topology = json!({
        "cis": [{"id": "db-1", "kind": "database", "name": "db-1"}, {"id": "web", "kind": "service", "name": "web"}],
        "relationships": [{"from": "web", "to": "db-1", "kind": "depends_on"}],
    });
    let put = quell.client.put(format!("{}/api/v1/topology", quell.url)).header("content-type", "application/json");
    put.body(topology.to_string()).send().await?.error_for_status()?;
    for batch in [1..=30, 1..=30, 20..=60] {
        quell.post("/api/v2/alerts", alerts(batch)).await?.error_for_status()?;
    }
    let odd =
        json!([{"labels": {"alertname": "Odd \u{0}\u{1a}0 ünï", "instance": "db-1"}, "annotations": {"a": "\u{0}"}}]);
    quell.post("/api/v2/alerts", odd.to_string()).await?.error_for_status()?;
    let change = json!({"routing_key": "0123456789abcdef0123456789abcdef", "payload": {"summary": "deployed \u{1a}", "source": "db-1"}});
    quell.post("/v2/change/enqueue", change.to_string()).await?.error_for_status()?;
    until("decided", PATIENCE, async || quell.is_done().await).await?;
    for (what, body) in [("ack", json!({"by": "ana"})), ("comment", json!({"by": "ana", "text": "here"}))] {
        let answer = quell.post(&format!("/api/v1/incidents/INC-1/{what}"), body.to_string()).await?;
        answer.error_for_status()?;
    }
    until("decided", PATIENCE, async || quell.is_done().await).await
}

/// Everything that is shown of it.
async fn shown(quell: &Process) -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    for list in LISTS {
        all.push(quell.get(list).await.with_context(|| list.to_owned())?);
    }
    for incident in quell.list("/api/v1/incidents?state=all").await? {
        let id = incident["id"].as_str().context("an id")?;
        let mut incident = quell.get(&format!("/api/v1/incidents/{id}")).await?;
        // What it is taken for comes with the next look at it, whoever looks.
        incident.as_object_mut().context("an incident")?.remove("recognised");
        all.push(incident);
    }
    Ok(all)
}

async fn end(mut quell: Process) -> anyhow::Result<()> {
    quell.terminate().await?;
    let status = quell.ended(Duration::from_secs(20)).await?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}

/// Has the log keep its beginning no longer, as retention does in time.
async fn drop_the_beginning(data: &Path, needed: Position) -> anyhow::Result<()> {
    let opened =
        EmbeddedLog::open::<()>(data, Default::default(), std::sync::Arc::new(SystemClock), |_, _| Vec::new()).await?;
    let appender: Appender<()> = opened.appender;
    let retention = Retention { needed: [needed, Position::START], before: Some(Timestamp::MAX), max_bytes: None };
    ensure!(appender.trim(retention).await? > 0, "nothing was dropped");
    appender.close().await;
    Ok(())
}

fn config(folder: &Path, brokers: &Brokers, prefix: &str, server: &Server) -> anyhow::Result<PathBuf> {
    let path = folder.join("cluster.yaml");
    let (log, data) = (brokers.address(prefix), folder.join("node"));
    std::fs::write(&path, format!("log: {log}\nstore: {{url: '{}'}}\ndata_dir: '{}'\n", server.url, data.display()))?;
    Ok(path)
}

async fn node(folder: &Path, config: &Path) -> anyhow::Result<Process> {
    let mut command = serve(&[], &folder.join("node"));
    command.arg("--config").arg(config);
    Process::start(command, &folder.join("node.log")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_moves_to_the_cluster_and_goes_on() -> anyhow::Result<()> {
    let folder = fresh_folder("migrate")?;
    let (brokers, server) = (Brokers::start("migrate-kafka", 1), Server::start(&Server::folder("migrate"), true, &[]));
    let config = config(&folder, &brokers, "moved", &server)?;
    let data = folder.join("data");
    let words = ["migrate", "--from", text(&data), "--to", text(&config)];
    let quell = start(&folder).await?;
    live(&quell).await?;
    let before = shown(&quell).await?;
    let refused = run(&words).await?.err().context("it moves what is served")?;
    ensure!(refused.contains("in use"), "{refused}");
    end(quell).await?;

    let said = run(&words).await?.map_err(anyhow::Error::msg)?;
    ensure!(said.contains("log commands: 2 records moved") && said.contains("store incidents: "), "{said}");
    println!("{said}");
    // The store is not empty any more.
    let refused = run(&words).await?.err().context("it moves twice")?;
    ensure!(refused.contains("in use already") || refused.contains("only an empty one"), "{refused}");

    let moved = node(&folder, &config).await?;
    let after = shown(&moved).await?;
    for (list, (before, after)) in before.iter().zip(&after).enumerate() {
        ensure!(before == after, "part {list} differs:\n{before:#}\n{after:#}");
    }
    ensure!(before.len() == after.len(), "{} parts became {}", before.len(), after.len());
    // It goes on: repeats are repeats, new ones get the next numbers.
    moved.post("/api/v2/alerts", alerts(55..=70)).await?.error_for_status()?;
    until("decided", PATIENCE, async || moved.is_done().await).await?;
    let all = moved.list("/api/v1/alerts?state=all").await?;
    let counted: Vec<u64> = numbers(&all).into_iter().filter(|n| *n > 0).collect();
    ensure!(counted == (1..=70).collect::<Vec<u64>>(), "{counted:?}");
    end(moved).await?;
    let again = node(&folder, &config).await?;
    ensure!(again.list("/api/v1/alerts?state=all").await?.len() == all.len(), "after a restart");
    Ok(())
}

/// The label `n` of the alerts of each of three shards, in order.
async fn by_shard(store: &dyn Store) -> anyhow::Result<Vec<Vec<u64>>> {
    let mut all = Vec::new();
    for number in 0..3 {
        let shard = Shard { number, ..Shard::FIRST };
        let alerts = store.alerts(shard, AlertQuery { limit: 1_000, ..AlertQuery::default() }).await?.items;
        let mut found: Vec<u64> = alerts.iter().filter_map(|alert| alert.labels.get("n")?.parse().ok()).collect();
        found.sort_unstable();
        all.push(found);
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shard_moves_to_its_partition() -> anyhow::Result<()> {
    let folder = fresh_folder("migrate-shards")?;
    let (brokers, server) = (Brokers::start("moving-kafka", 1), Server::start(&Server::folder("moving"), true, &[]));
    let config = config(&folder, &brokers, "moving", &server)?;
    let (data, shards) = (folder.join("data"), "shards: {label: instance, count: 3}\n");
    std::fs::write(folder.join("old.yaml"), shards)?;
    let mut command = serve(&[], &data);
    command.arg("--config").arg(folder.join("old.yaml"));
    let quell = Process::start(command, &folder.join("quell.log")).await?;
    quell.post("/api/v2/alerts", alerts(1..=60)).await?.error_for_status()?;
    until("decided", PATIENCE, async || quell.is_done().await).await?;
    end(quell).await?;
    let words = ["migrate", "--from", text(&data), "--to", text(&config)];
    let refused = run(&words).await?.err().context("it moves three shards into one")?;
    ensure!(refused.contains("3 shards by the label \"instance\""), "{refused}");
    let more = std::fs::read_to_string(&config)? + shards;
    std::fs::write(&config, more)?;
    let said = run(&words).await?.map_err(anyhow::Error::msg)?;
    ensure!(said.contains("log main of shard 2: "), "{said}");
    let old = SqliteStore::open_read_only(&data.join("store.db")).await?;
    let before = by_shard(&old).await?;
    old.close().await;
    ensure!(before.iter().all(|shard| !shard.is_empty()), "{before:?}");

    let moved = node(&folder, &config).await?;
    // Repeats are repeats in every shard, and new ones go where the others of their label went.
    moved.post("/api/v2/alerts", alerts(1..=110)).await?.error_for_status()?;
    until("decided", PATIENCE, async || moved.is_done().await).await?;
    let store = PostgresStore::open_read_only(&postgres::Options::new(&server.url)).await?;
    let after = by_shard(&store).await?;
    for (before, after) in before.iter().zip(&after) {
        ensure!(before.iter().all(|n| after.contains(n)), "{before:?} and {after:?}");
        ensure!(after.iter().all(|n| *n <= 60 || after.contains(&(n - 50))), "{after:?}");
    }
    ensure!(after.concat().len() == 110, "{after:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_its_beginning_keeps_its_positions() -> anyhow::Result<()> {
    let folder = fresh_folder("migrate-trimmed")?;
    let (brokers, server) = (Brokers::start("trimmed-kafka", 1), Server::start(&Server::folder("trimmed"), true, &[]));
    let config = config(&folder, &brokers, "trimmed", &server)?;
    let data = folder.join("data");
    let quell = start(&folder).await?;
    live(&quell).await?;
    let before = quell.list("/api/v1/alerts?state=all").await?.len();
    end(quell).await?;
    drop_the_beginning(&data, Position(4)).await?;
    let words = ["migrate", "--from", text(&data), "--to", text(&config)];
    // The store is away when the log is there already: the next try goes on from it.
    let wrong = folder.join("wrong.yaml");
    let other = std::fs::read_to_string(&config)?.replace("/postgres'", "/nowhere'");
    std::fs::write(&wrong, other)?;
    ensure!(run(&["migrate", "--from", text(&data), "--to", text(&wrong)]).await?.is_err(), "into no database");
    let said = run(&words).await?.map_err(anyhow::Error::msg)?;
    ensure!(said.contains("; 3 were kept no longer"), "{said}");
    let moved = node(&folder, &config).await?;
    ensure!(moved.list("/api/v1/alerts?state=all").await?.len() == before, "alerts got lost");
    moved.post("/api/v2/alerts", alerts(1..=90)).await?.error_for_status()?;
    until("decided", PATIENCE, async || moved.is_done().await).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_off_move_is_gone_on_with_and_another_log_is_refused() -> anyhow::Result<()> {
    use quell_log::kafka::{self, KafkaLog};
    let folder = fresh_folder("migrate-again")?;
    let brokers = Brokers::start("again-kafka", 1);
    let quell = start(&folder).await?;
    live(&quell).await?;
    end(quell).await?;
    let reader = EmbeddedLog::read_only(&folder.join("data"))?;
    let options = kafka::Options::at(brokers.address("again"));
    let first = KafkaLog::fill(&options, &reader).await?;
    // The log went on meanwhile: the rest is added.
    let quell = start(&folder).await?;
    quell.post("/api/v2/alerts", alerts(100..=110)).await?.error_for_status()?;
    until("decided", PATIENCE, async || quell.is_done().await).await?;
    end(quell).await?;
    let second = KafkaLog::fill(&options, &reader).await?;
    ensure!(second[0].records > first[0].records && second[1] == first[1], "{first:?} {second:?}");
    // Another installation's log is not put behind it.
    let other = fresh_folder("migrate-other")?;
    let quell = start(&other).await?;
    quell.post("/api/v2/alerts", alerts(1..=5)).await?.error_for_status()?;
    end(quell).await?;
    let reader = EmbeddedLog::read_only(&other.join("data"))?;
    let refused = KafkaLog::fill(&options, &reader).await;
    ensure!(matches!(refused, Err(kafka::FillError::Other { .. })), "{refused:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_under_load_is_restored_and_a_damaged_one_refused() -> anyhow::Result<()> {
    let folder = fresh_folder("backup")?;
    let (data, copy) = (folder.join("data"), folder.join("copy"));
    let quell = start(&folder).await?;
    live(&quell).await?;
    let before = quell.list("/api/v1/alerts?state=all").await?.len();
    // More comes while the copy is made; what was acknowledged before it began must be in it.
    let copying = async { run(&["backup", "--data-dir", text(&data), "--to", text(&copy)]).await };
    let loading = async {
        for number in 0..100_u64 {
            quell.post("/api/v2/alerts", alerts([1_000 + number])).await?.error_for_status()?;
        }
        anyhow::Ok(())
    };
    let (copied, loaded) = tokio::join!(copying, loading);
    loaded?;
    println!("{}", copied?.map_err(anyhow::Error::msg)?);
    end(quell).await?;

    let there = folder.join("restored");
    let restore = ["restore", "--from", text(&copy), "--data-dir"];
    let said = run(&[&restore[..], &[text(&there.join("data"))]].concat()).await?.map_err(anyhow::Error::msg)?;
    ensure!(said.contains("the log ends at"), "{said}");
    let refused = run(&[&restore[..], &[text(&there.join("data"))]].concat()).await?.err().context("twice")?;
    ensure!(refused.contains("already"), "{refused}");
    let restored = start(&there).await?;
    until("decided", PATIENCE, async || restored.is_done().await).await?;
    let after = restored.list("/api/v1/alerts?state=all").await?;
    ensure!((before..=before + 100).contains(&after.len()), "{before} became {}", after.len());
    let incident = restored.get("/api/v1/incidents/INC-1").await?;
    ensure!(incident["acknowledged_by"] == "ana", "{incident:#}");
    // It goes on.
    restored.post("/api/v2/alerts", alerts([5_000])).await?.error_for_status()?;
    until("decided", PATIENCE, async || restored.is_done().await).await?;
    ensure!(restored.list("/api/v1/alerts?state=all").await?.len() == after.len() + 1, "it does not go on");

    let mut bytes = std::fs::read(copy.join("store.db"))?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(copy.join("store.db"), bytes)?;
    let refused = run(&[&restore[..], &[text(&folder.join("other"))]].concat()).await?;
    match refused {
        Err(refused) if refused.contains("not what was backed up") => Ok(()),
        other => bail!("a damaged backup: {other:?}"),
    }
}
