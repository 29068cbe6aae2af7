//! The torture of several nodes with one log on Kafka and one store in PostgreSQL: killed, frozen, leaving and joining,
//! with the broker and the database stopped under them.
//!
//! Senders speak to all nodes; each stays with its node while that one answers. Absent on purpose: one process with its
//! own files (`super`), and any process that this run did not start.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::time::{sleep, timeout};

use super::driver::Address;
use super::report::ClusterReport;
use super::server::{Server, metric, signal};
use super::services::{Brokers, Database};
use super::{CHECKED, PATIENCE, Report, Run, millis};
use crate::http::Connection;

/// What nodes have in common.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// How many nodes.
    pub nodes: usize,
    /// How many brokers: 1 or 3.
    pub brokers: usize,
    /// The folder of the scripts that start Kafka and PostgreSQL.
    pub scripts: PathBuf,
}

/// Longer than a node may be silent before its turn is another's.
const FROZEN: Duration = Duration::from_secs(8);
/// How long a broker is stopped: shorter than the nodes' session, longer than a record waits for it.
const BROKER_AWAY: Duration = Duration::from_secs(4);
/// How long PostgreSQL is stopped.
const STORE_AWAY: Duration = Duration::from_secs(2);
/// How long everything may take to be decided and written after a fault.
const SETTLE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// How long a node may take to answer a look.
const ANSWER: Duration = Duration::from_secs(2);

/// A node in one of its lives.
struct Node {
    server: Server,
    life: Address,
}

/// The run with its nodes and what they stand on.
struct Cluster<'a> {
    run: Run<'a>,
    asked: &'a ClusterOptions,
    brokers: Brokers,
    database: Option<Database>,
    /// `None` while it is down.
    nodes: Vec<Option<Node>>,
    seen: ClusterReport,
}

/// Carries out a run.
pub(super) async fn carry_out(run: Run<'_>, asked: &ClusterOptions) -> Result<Report> {
    ensure!(asked.nodes >= 2, "{} nodes; allowed: 2 or more", asked.nodes);
    let brokers = Brokers::start(&asked.scripts, &run.folder.join("kafka"), asked.brokers).await?;
    // Where whoever the server runs as can reach it.
    let place = std::env::temp_dir().join(format!("quell-torture-postgres-{}", std::process::id()));
    let database = Some(Database::start(&asked.scripts, &place).await?);
    let (nodes, brokers_count) = (asked.nodes as u64, asked.brokers as u64);
    let seen = ClusterReport { nodes, brokers: brokers_count, ..ClusterReport::default() };
    let nodes = (0..asked.nodes).map(|_| None).collect();
    Cluster { run, asked, brokers, database, nodes, seen }.carry_out().await
}

impl Cluster<'_> {
    async fn carry_out(mut self) -> Result<Report> {
        let begun = Instant::now();
        // At the same moment, on an empty Kafka and an empty database.
        let mut servers = Vec::new();
        for at in 0..self.asked.nodes {
            servers.push(self.launch(at)?);
        }
        for (at, server) in servers.into_iter().enumerate() {
            self.nodes[at] = Some(ready(server).await?);
        }
        let first = self.deciding(None, SETTLE).await?;
        let topology = quell_formats::topology::encode(&self.run.topology);
        let other = self.address((first + 1) % self.asked.nodes)?;
        let put = Connection::new(other, PATIENCE).request("PUT", "/api/v1/topology", &topology).await?;
        ensure!(put.is_success(), "PUT /api/v1/topology: {} {}", put.status, put.text());
        let mut senders = self.run.senders();
        for cycle in 0..self.run.options.cycles {
            self.tell_where();
            self.fault(cycle).await.with_context(|| format!("the fault of cycle {cycle}"))?;
            self.load().await;
            self.kill(cycle).await.with_context(|| format!("kill {}", cycle + 1))?;
            if cycle % CHECKED == CHECKED - 1 {
                let asked = self.quiet().await?;
                self.run.check(asked, false).await.with_context(|| format!("the check after kill {}", cycle + 1))?;
            }
        }
        self.tell_where();
        self.run.shared.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = timeout(SETTLE, senders.join_next()).await.context("senders did not come to an end")? {
            ended.context("a sender panicked")?;
        }
        let asked = self.quiet().await?;
        self.run.check(asked, true).await.context("the last check")?;
        self.run.check_comments(asked).await?;
        self.run.check_liveness(asked).await?;
        for node in self.nodes.drain(..).flatten() {
            node.server.kill().await?;
        }
        self.brokers.stop().await?;
        if let Some(database) = self.database.take() {
            database.stop().await?;
        }
        self.seen.take_overs_ms.sort_unstable();
        self.run.report.cluster = Some(self.seen);
        self.run.report.seconds = begun.elapsed().as_secs_f64();
        self.run.finish()
    }

    fn launch(&self, at: usize) -> Result<Server> {
        let Run { options, folder, .. } = &self.run;
        let log = format!("kafka://{}", self.brokers.bootstrap);
        let store = &self.database.as_ref().context("PostgreSQL runs")?.url;
        let data = folder.join("data").join(at.to_string());
        std::fs::create_dir_all(&data).context("create a node's folder")?;
        let said = folder.join(format!("node-{at}.log"));
        Server::start_with(&options.quell, &data, &said, &["--log", &log, "--store", store])
    }

    async fn start(&mut self, at: usize) -> Result<()> {
        let node = ready(self.launch(at)?).await.with_context(|| format!("node {at}"))?;
        self.nodes[at] = Some(node);
        self.tell_where();
        Ok(())
    }

    fn address(&self, at: usize) -> Result<std::net::SocketAddr> {
        Ok(self.nodes[at].as_ref().context("the node runs")?.life.at)
    }

    /// Tells senders which nodes there are.
    fn tell_where(&self) {
        let lives = self.nodes.iter().flatten().filter(|node| node.life.killed.get().is_none());
        self.run.whereabouts.send_replace(lives.map(|node| node.life.clone()).collect());
    }

    async fn metrics(&self, at: usize) -> Option<String> {
        let node = self.nodes[at].as_ref()?;
        Some(Connection::new(node.life.at, ANSWER).get("/metrics").await.ok()?.text())
    }

    /// The node that decides, other than one; waits for it.
    async fn deciding(&self, other_than: Option<usize>, within: Duration) -> Result<usize> {
        let begun = Instant::now();
        loop {
            for at in (0..self.nodes.len()).filter(|at| Some(*at) != other_than) {
                let text = self.metrics(at).await.unwrap_or_default();
                if metric(&text, r#"quell_deciding{shard="0"}"#) == Some(1.0) {
                    return Ok(at);
                }
            }
            ensure!(begun.elapsed() < within, "no node decides after {within:?}");
            sleep(LOOK).await;
        }
    }

    /// The load goes on for a while, then until a request is in flight.
    async fn load(&mut self) {
        sleep(Duration::from_secs_f64(self.run.rng.range(0.2, 1.5))).await;
        let waited = Instant::now();
        while self.run.shared.in_flight.load(Ordering::Relaxed) == 0 && waited.elapsed() < super::IN_FLIGHT {
            tokio::task::yield_now().await;
        }
    }

    /// Kills a node, three times in five the one that decides, and starts it again.
    async fn kill(&mut self, cycle: u64) -> Result<()> {
        let decides = self.deciding(None, SETTLE).await?;
        let at = if cycle % 5 < 3 { decides } else { (decides + 1) % self.nodes.len() };
        let node = self.nodes[at].take().context("the node runs")?;
        let begun = Instant::now();
        let _ = node.life.killed.set(begun);
        node.server.kill().await?;
        self.run.report.kills += 1;
        self.tell_where();
        if at == decides {
            self.deciding(None, SETTLE).await?;
            self.seen.take_overs_ms.push(millis(begun.elapsed()));
        }
        self.start(at).await
    }

    /// Before some kills a fault of another kind, of which 20 kills see every one.
    async fn fault(&mut self, cycle: u64) -> Result<()> {
        match cycle % 20 {
            1 | 11 => self.freeze().await,
            4 => self.leave_and_join().await,
            7 | 14 => {
                let at = usize::try_from(cycle).unwrap_or(0) % self.asked.brokers;
                self.run.shared.late.store(true, Ordering::Relaxed);
                self.load().await;
                if cycle % 20 == 7 {
                    self.brokers.signal(at, "STOP").await?;
                    sleep(BROKER_AWAY).await;
                    self.brokers.signal(at, "CONT").await?;
                } else {
                    self.brokers.kill_and_start(at).await?;
                }
                self.seen.broker_faults += 1;
                self.until_even("the spools are empty", |text| {
                    metric(text, "quell_spool_waiting_records") == Some(0.0)
                })
                .await?;
                self.run.shared.late.store(false, Ordering::Relaxed);
                Ok(())
            }
            17 => {
                self.load().await;
                let database = self.database.take().context("PostgreSQL runs")?;
                self.database = Some(database.stop_and_start(STORE_AWAY).await?);
                self.seen.store_faults += 1;
                self.until_even("the store is there", |text| metric(text, "quell_store_away") == Some(0.0)).await
            }
            _ => Ok(()),
        }
    }

    /// Freezes the node that decides for longer than its session: when it wakes, its commit must be refused.
    async fn freeze(&mut self) -> Result<()> {
        self.load().await;
        let at = self.deciding(None, SETTLE).await?;
        let node = self.nodes[at].as_ref().context("the node runs")?;
        let (pid, begun) = (node.server.pid().context("it has ended")?, Instant::now());
        let refused = |text: &str| metric(text, "quell_commits_refused_total").unwrap_or(0.0);
        let before = self.metrics(at).await.map_or(0.0, |text| refused(&text));
        let _ = node.life.killed.set(begun);
        self.run.shared.late.store(true, Ordering::Relaxed);
        signal(pid, "STOP").await?;
        self.tell_where();
        self.deciding(Some(at), SETTLE).await?;
        self.seen.take_overs_ms.push(millis(begun.elapsed()));
        sleep(FROZEN.saturating_sub(begun.elapsed())).await;
        signal(pid, "CONT").await?;
        self.seen.frozen += 1;
        // It may have had nothing in hand; over the run at least one is seen refused.
        let woken = Instant::now();
        loop {
            let text = self.metrics(at).await.unwrap_or_default();
            let (refused, decides) =
                (refused(&text) - before, metric(&text, r#"quell_deciding{shard="0"}"#) == Some(1.0));
            if !text.is_empty() && !decides {
                self.seen.commits_refused += u64::from(refused > 0.0);
                break;
            }
            ensure!(woken.elapsed() < PATIENCE, "a node that was frozen still decides {PATIENCE:?} after it woke");
            sleep(LOOK).await;
        }
        let node = self.nodes[at].as_mut().context("the node runs")?;
        node.life = Address { at: node.life.at, killed: Arc::new(OnceLock::new()) };
        self.run.shared.late.store(false, Ordering::Relaxed);
        self.tell_where();
        Ok(())
    }

    /// A node is asked to end, is missing for a while, and joins again.
    async fn leave_and_join(&mut self) -> Result<()> {
        self.load().await;
        let at = self.deciding(None, SETTLE).await?;
        let node = self.nodes[at].take().context("the node runs")?;
        let begun = Instant::now();
        let _ = node.life.killed.set(begun);
        self.tell_where();
        node.server.leave().await?;
        self.deciding(None, SETTLE).await?;
        self.seen.take_overs_ms.push(millis(begun.elapsed()));
        self.seen.left_and_joined += 1;
        self.start(at).await
    }

    /// Waits until something holds of every node.
    async fn until_even(&self, what: &str, holds: impl Fn(&str) -> bool) -> Result<()> {
        let begun = Instant::now();
        loop {
            let mut all = true;
            for at in (0..self.nodes.len()).filter(|at| self.nodes[*at].is_some()) {
                all &= self.metrics(at).await.is_some_and(|text| holds(&text));
            }
            if all {
                return Ok(());
            }
            if begun.elapsed() > SETTLE {
                bail!("{what}: not within {SETTLE:?}");
            }
            sleep(LOOK).await;
        }
    }

    /// Has the senders pause until everything is decided and written; gives a node to ask.
    async fn quiet(&mut self) -> Result<std::net::SocketAddr> {
        self.run.whereabouts.send_replace(Vec::new());
        let begun = Instant::now();
        while self.run.shared.in_flight.load(Ordering::Relaxed) > 0 {
            ensure!(begun.elapsed() < SETTLE, "a request is still in flight");
            sleep(LOOK).await;
        }
        let zero = |text: &str, name: &str| metric(text, name) == Some(0.0);
        self.until_even("everything is decided and written", |text| {
            let even = zero(text, "quell_log_lag_records") && zero(text, "quell_alerts_unflushed");
            even && zero(text, "quell_spool_waiting_records")
        })
        .await?;
        let decides = self.deciding(None, SETTLE).await?;
        // What any of them shows is what there is.
        self.address((decides + 1) % self.nodes.len())
    }
}

async fn ready(mut server: Server) -> Result<Node> {
    let (at, _) = server.ready().await?;
    Ok(Node { server, life: Address { at, killed: Arc::new(OnceLock::new()) } })
}
