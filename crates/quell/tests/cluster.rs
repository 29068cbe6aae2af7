//! Nodes with the log on real Kafka and one store in real PostgreSQL: killed, frozen and woken under load, and what one
//! of them does while another one decides.
//!
//! Absent on purpose: either by itself (`kafka.rs`, `postgres.rs`), and the long torture (`quell-sim torture`).

mod support {
    #[path = "../../../quell-log/tests/support/broker.rs"]
    pub(crate) mod broker;
    pub(crate) mod process;
}
#[path = "../../quell-store/tests/support/postgres_server.rs"]
mod postgres_server;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use postgres_server::Server;
use serde_json::{Value, json};
use support::broker::Brokers;
use support::process::{Process, alerts, check_all_there, fresh_folder, serve, until};

/// How long a condition may take to hold.
const PATIENCE: Duration = Duration::from_secs(40);

/// 1 where a node decides in the first shard.
const DECIDING: &str = "quell_deciding{shard=\"0\"} ";

/// How long it may take from the end of one node until another decides.
const TAKE_OVER: Duration = Duration::from_secs(15);

/// What nodes have in common.
struct Cluster {
    folder: PathBuf,
    log: String,
    store: String,
    _brokers: Brokers,
    _server: Server,
}

impl Cluster {
    fn start(name: &str) -> anyhow::Result<Cluster> {
        let brokers = Brokers::start(&format!("{name}-kafka"), 1);
        let server = Server::start(&Server::folder(name), true, &[]);
        let (log, store) = (brokers.address("cluster").to_string(), server.url.clone());
        Ok(Cluster { folder: fresh_folder(name)?, log, store, _brokers: brokers, _server: server })
    }

    /// A node that listens.
    async fn node(&self, name: &str, more: &[&str]) -> anyhow::Result<Process> {
        let own = self.folder.join(name);
        std::fs::create_dir_all(&own)?;
        let mut command = serve(&[], &own.join("data"));
        command.args(["--log", &self.log, "--store", &self.store]).args(more);
        Process::start(command, &own.join("quell.log")).await
    }
}

async fn text(node: &Process, path: &str) -> anyhow::Result<String> {
    Ok(node.client.get(format!("{}{path}", node.url)).send().await?.text().await?)
}

async fn has_role(node: &Process, role: &str) -> anyhow::Result<()> {
    let wanted = format!("role: {role}");
    until(&wanted, PATIENCE, async || Ok(text(node, "/readyz").await?.lines().any(|line| line == wanted))).await
}

async fn count(node: &Process, metric: &str) -> anyhow::Result<u64> {
    let text = text(node, "/metrics").await?;
    let found = text.lines().find_map(|line| line.strip_prefix(metric)?.trim().parse().ok());
    found.with_context(|| format!("no {metric}"))
}

/// Posts batches of ten until a request fails; what was acknowledged is noted.
async fn offer(quell: &Process, next: &mut u64, batches: u64, acknowledged: &mut BTreeSet<u64>) {
    for _ in 0..batches {
        let batch = *next..*next + 10;
        *next += 10;
        match quell.post("/api/v2/alerts", alerts(batch.clone())).await {
            Ok(answer) if answer.status().is_success() => acknowledged.extend(batch),
            _ => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_take_over_from_each_other_and_lose_nothing() -> anyhow::Result<()> {
    let cluster = Cluster::start("cluster-killed")?;
    let (mut acknowledged, mut next) = (BTreeSet::new(), 0);
    // At the same moment, on an empty Kafka and an empty database.
    let (one, two) = tokio::join!(cluster.node("one", &[]), cluster.node("two", &[]));
    let (one, two) = (one?, two?);
    until("one of them decides", PATIENCE, async || {
        Ok(count(&one, DECIDING).await? + count(&two, DECIDING).await? == 1)
    })
    .await?;
    let first = count(&one, DECIDING).await? == 1;
    let (mut deciding, mut other) = if first { (one, two) } else { (two, one) };
    let mut names = if first { ["one", "two"] } else { ["two", "one"] };
    let mut worst = Duration::ZERO;
    for _ in 0..4 {
        has_role(&other, "standing by").await?;
        offer(&deciding, &mut next, 10, &mut acknowledged).await;
        offer(&other, &mut next, 10, &mut acknowledged).await;
        deciding.kill().await?;
        let begun = Instant::now();
        // Nobody decides now, and what is received is safe all the same.
        offer(&other, &mut next, 10, &mut acknowledged).await;
        has_role(&other, "deciding").await?;
        worst = worst.max(begun.elapsed());
        check_all_there(&other, &acknowledged).await?;
        deciding = other;
        other = cluster.node(names[0], &[]).await?;
        names.swap(0, 1);
    }
    ensure!(acknowledged.len() == 1_200, "{} acknowledged", acknowledged.len());
    ensure!(worst < TAKE_OVER, "it took {worst:?} to take over");
    println!("took over after {worst:?} at most");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_frozen_is_refused_stands_by_and_takes_over_again() -> anyhow::Result<()> {
    let cluster = Cluster::start("cluster-frozen")?;
    let (mut acknowledged, mut next) = (BTreeSet::new(), 0);
    let first = cluster.node("one", &[]).await?;
    has_role(&first, "deciding").await?;
    let mut second = cluster.node("two", &[]).await?;
    has_role(&second, "standing by").await?;
    offer(&first, &mut next, 20, &mut acknowledged).await;
    first.signal("STOP").await?;
    let begun = Instant::now();
    has_role(&second, "deciding").await?;
    let took = begun.elapsed();
    offer(&second, &mut next, 20, &mut acknowledged).await;
    check_all_there(&second, &acknowledged).await?;
    first.signal("CONT").await?;
    // What it had in hand, and what comes by the log to both, it may not write: it is not its turn any more.
    offer(&second, &mut next, 20, &mut acknowledged).await;
    // Its commit is refused, or the group tells it first; the torture wants the former seen.
    has_role(&first, "standing by").await?;
    check_all_there(&second, &acknowledged).await?;
    // It is a gateway like any other, and takes over again.
    offer(&first, &mut next, 20, &mut acknowledged).await;
    check_all_there(&first, &acknowledged).await?;
    second.kill().await?;
    has_role(&first, "deciding").await?;
    offer(&first, &mut next, 20, &mut acknowledged).await;
    check_all_there(&first, &acknowledged).await?;
    ensure!(acknowledged.len() == 1_000, "{} acknowledged", acknowledged.len());
    ensure!(took < TAKE_OVER, "it took {took:?} to take over");
    println!("took over after {took:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stands_by_receives_shows_and_takes_commands() -> anyhow::Result<()> {
    let cluster = Cluster::start("cluster-standby")?;
    let deciding = cluster.node("one", &["--roles", "engine"]).await?;
    has_role(&deciding, "deciding").await?;
    let standby = cluster.node("two", &["--roles", "gateway,api"]).await?;
    has_role(&standby, "standing by").await?;
    // What a node has no role for it says; its health it shows.
    let refused = deciding.post("/api/v2/alerts", alerts([0])).await?;
    ensure!(refused.status() == 404 && refused.text().await?.contains("another_role"));
    ensure!(deciding.client.get(format!("{}/", deciding.url)).send().await?.status() == 404);
    let mut stream = standby.client.get(format!("{}/api/v1/stream", standby.url)).send().await?.error_for_status()?;
    standby.post("/api/v2/alerts", alerts(1..=5)).await?.error_for_status()?;
    let mut told = String::new();
    while !told.contains("event: incident") {
        told += &String::from_utf8_lossy(&stream.chunk().await?.context("the stream goes on")?);
    }
    until("shown", PATIENCE, async || Ok(standby.list("/api/v1/alerts?state=all").await?.len() == 5)).await?;
    ensure!(text(&standby, "/").await?.contains("INC-1"), "the page shows what another node decided");
    let answer = standby.post("/api/v1/incidents/INC-1/ack", json!({"by": "ana"}).to_string()).await?;
    let answer: Value = serde_json::from_str(&answer.error_for_status()?.text().await?)?;
    ensure!(answer["outcome"] == "done", "{answer}");
    let topology = quell_formats::topology::encode(&quell_sim::estate::sample_estate());
    let put = standby.client.put(format!("{}/api/v1/topology", standby.url)).header("content-type", "application/json");
    put.body(topology).send().await?.error_for_status()?;
    let versions = standby.get("/api/v1/topology/versions").await?;
    ensure!(versions.to_string().contains("digest"), "{versions}");
    ensure!(count(&standby, DECIDING).await? == 0, "it decides nothing");
    Ok(())
}

/// What a node that stands by received counts as waiting until the store says that it was decided, and repeats alone leave
/// no row that would say so.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stands_by_sees_that_repeats_are_decided() -> anyhow::Result<()> {
    /// More than come until the deciding node says how far it is, and fewer than come until it writes repeats.
    const WAITING: usize = 500;
    let cluster = Cluster::start("cluster-repeats")?;
    let deciding = cluster.node("one", &[]).await?;
    has_role(&deciding, "deciding").await?;
    let config = cluster.folder.join("few.yaml");
    std::fs::write(&config, format!("intake:\n  waiting_records: {WAITING}\n"))?;
    let config = config.to_str().context("a path of letters")?;
    let other = cluster.node("two", &["--config", config]).await?;
    has_role(&other, "standing by").await?;
    for number in 0..3 * WAITING {
        let answer = other.post("/api/v2/alerts", alerts(0..1)).await?;
        ensure!(answer.status().is_success(), "repeat {number} was answered {}", answer.status());
    }
    Ok(())
}
