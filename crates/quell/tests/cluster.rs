//! Two nodes with the log on real Kafka and one store in real PostgreSQL: killed, frozen and woken under load.
//!
//! Absent on purpose: either by itself (`kafka.rs`, `postgres.rs`).

mod support {
    #[path = "../../../quell-log/tests/support/broker.rs"]
    pub(crate) mod broker;
    pub(crate) mod process;
}
#[path = "../../quell-store/tests/support/postgres_server.rs"]
mod postgres_server;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use postgres_server::Server;
use support::broker::Brokers;
use support::process::{Process, alerts, check_all_there, fresh_folder, serve, until};
use tokio::task::JoinHandle;

/// How long a condition may take to hold.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long it may take from the end of one node until the other decides.
const TAKE_OVER: Duration = Duration::from_secs(15);

/// What two nodes have in common.
struct Cluster {
    folder: PathBuf,
    log: String,
    store: String,
}

impl Cluster {
    /// A node on its way: it stands by until the other one is gone.
    fn node(&self, name: &str) -> anyhow::Result<JoinHandle<anyhow::Result<Process>>> {
        let own = self.folder.join(name);
        std::fs::create_dir_all(&own)?;
        let mut command = serve(&[], &own.join("data"));
        command.args(["--log", &self.log, "--store", &self.store]);
        let said = self.said(name);
        // What an earlier life of it said is not what this one says.
        if said.exists() {
            std::fs::remove_file(&said)?;
        }
        Ok(tokio::spawn(async move { Process::start(command, &said).await }))
    }

    fn said(&self, name: &str) -> PathBuf {
        self.folder.join(name).join("quell.log")
    }

    async fn stands_by(&self, name: &str) -> anyhow::Result<()> {
        let said = self.said(name);
        let says = |path: &Path| std::fs::read_to_string(path).is_ok_and(|said| said.contains("standing by"));
        until("standing by", PATIENCE, async || Ok(says(&said))).await
    }
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
    let brokers = Brokers::start("cluster-killed-kafka", 1);
    let server = Server::start(&Server::folder("cluster-killed"), true, &[]);
    let folder = fresh_folder("cluster-killed")?;
    let cluster = Cluster { folder, log: brokers.address("killed").to_string(), store: server.url.clone() };
    let (mut acknowledged, mut next) = (BTreeSet::new(), 0);
    let mut names = ["one", "two"];
    let mut deciding = cluster.node(names[0])?.await??;
    let mut worst = Duration::ZERO;
    for _ in 0..4 {
        let waiting = cluster.node(names[1])?;
        cluster.stands_by(names[1]).await?;
        offer(&deciding, &mut next, 20, &mut acknowledged).await;
        ensure!(!waiting.is_finished(), "two nodes decide at once");
        deciding.kill().await?;
        let begun = Instant::now();
        deciding = waiting.await??;
        worst = worst.max(begun.elapsed());
        check_all_there(&deciding, &acknowledged).await?;
        names.swap(0, 1);
    }
    ensure!(acknowledged.len() == 800, "{} acknowledged", acknowledged.len());
    ensure!(worst < TAKE_OVER, "it took {worst:?} to take over");
    println!("took over after {worst:?} at most");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_frozen_is_refused_when_it_wakes() -> anyhow::Result<()> {
    let brokers = Brokers::start("cluster-frozen-kafka", 1);
    let server = Server::start(&Server::folder("cluster-frozen"), true, &[]);
    let folder = fresh_folder("cluster-frozen")?;
    let cluster = Cluster { folder, log: brokers.address("frozen").to_string(), store: server.url.clone() };
    let (mut acknowledged, mut next) = (BTreeSet::new(), 0);
    let mut first = cluster.node("one")?.await??;
    let second = cluster.node("two")?;
    cluster.stands_by("two").await?;
    offer(&first, &mut next, 20, &mut acknowledged).await;
    first.signal("STOP").await?;
    let begun = Instant::now();
    let second = second.await??;
    let took = begun.elapsed();
    offer(&second, &mut next, 20, &mut acknowledged).await;
    check_all_there(&second, &acknowledged).await?;
    first.signal("CONT").await?;
    // What it had in hand, and what comes by the log to both, it may not write: it is not its turn any more.
    offer(&second, &mut next, 20, &mut acknowledged).await;
    let status = first.ended(PATIENCE).await.context("a node that is not in charge any more goes on")?;
    ensure!(!status.success(), "it ended as if all were well");
    check_all_there(&second, &acknowledged).await?;
    ensure!(acknowledged.len() == 600, "{} acknowledged", acknowledged.len());
    ensure!(took < TAKE_OVER, "it took {took:?} to take over");
    println!("took over after {took:?}");
    Ok(())
}
