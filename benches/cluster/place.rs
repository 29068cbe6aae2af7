//! Kafka, PostgreSQL and nodes of quell for one measurement, and what each of them has used.
//!
//! Deliberately absent: servers that run already.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use quell_benches::process;
use quell_benches::servers::{DECIDING, Peer, Quell};
use quell_sim::torture::services::{Brokers, Database};
use serde::Serialize;

use crate::Arguments;

/// Longer than it may take until the first node decides.
const TURN: Duration = Duration::from_secs(60);

/// One broker, and where everything lies.
pub(crate) struct Place {
    pub(crate) brokers: Brokers,
    pub(crate) folder: PathBuf,
    pub(crate) quell: PathBuf,
    scripts: PathBuf,
}

impl Place {
    pub(crate) async fn start(arguments: &Arguments, folder: &Path) -> Result<Place> {
        let brokers = Brokers::start(&arguments.scripts, &folder.join("kafka"), 1).await?;
        let (quell, scripts) = (arguments.quell.clone(), arguments.scripts.clone());
        Ok(Place { brokers, folder: folder.to_owned(), quell, scripts })
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.brokers.stop().await
    }

    /// A database of its own for the nodes of one prefix.
    pub(crate) async fn store(&self, name: &str) -> Result<Store> {
        let folder = self.folder.join(format!("{name}-store"));
        let database = Database::start(&self.scripts, &folder).await?;
        let pid = std::fs::read_to_string(folder.join("data/postmaster.pid")).context("postmaster.pid")?;
        let pid = pid.lines().next().unwrap_or_default().trim().parse().context("a process id")?;
        Ok(Store { database, pid })
    }

    /// A node of the log under that prefix, with every role.
    pub(crate) async fn node(&self, prefix: &str, number: usize, store: &Store) -> Result<Quell> {
        let log = format!("kafka://{}/{prefix}", self.brokers.bootstrap);
        let place = self.folder.join(format!("{prefix}-{number}"));
        Quell::start_with(&self.quell, &place, &["--log", &log, "--store", &store.database.url]).await
    }

    /// That many nodes, one of which decides.
    pub(crate) async fn cluster(&self, prefix: &str, nodes: usize) -> Result<Cluster> {
        let store = self.store(prefix).await?;
        let mut cluster = Cluster { nodes: Vec::new(), store, broker: self.brokers.pids[0] };
        for number in 0..nodes {
            cluster.nodes.push(self.node(prefix, number, &cluster.store).await?);
        }
        tokio::time::timeout(TURN, cluster.decides()).await.context("no node decides")??;
        Ok(cluster)
    }
}

/// A database server.
pub(crate) struct Store {
    database: Database,
    pub(crate) pid: u32,
}

impl Store {
    pub(crate) async fn stop(self) -> Result<()> {
        self.database.stop().await
    }
}

/// Nodes on one log and one store.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Quell>,
    store: Store,
    broker: u32,
}

/// CPU seconds of all that takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Used {
    pub(crate) quell: f64,
    pub(crate) broker: f64,
    pub(crate) postgres: f64,
    /// The client that sends.
    pub(crate) client: f64,
}

impl Used {
    pub(crate) fn since(self, before: Used) -> Used {
        Used {
            quell: self.quell - before.quell,
            broker: self.broker - before.broker,
            postgres: self.postgres - before.postgres,
            client: self.client - before.client,
        }
    }
}

impl Cluster {
    pub(crate) fn used(&self) -> Result<Used> {
        Ok(Used {
            quell: self.cpu_seconds()?,
            broker: process::cpu_seconds(self.broker)?,
            postgres: process::family_cpu_seconds(self.store.pid)?,
            client: process::cpu_seconds(std::process::id())?,
        })
    }

    /// CPU seconds of the nodes' threads, by name.
    pub(crate) fn threads(&self) -> Result<BTreeMap<String, f64>> {
        let mut all = BTreeMap::new();
        for pid in self.pids() {
            for (name, cpu) in process::thread_cpu_seconds(pid)? {
                *all.entry(name).or_default() += cpu;
            }
        }
        Ok(all)
    }

    /// The place of the node that decides.
    pub(crate) async fn decides(&mut self) -> Result<usize> {
        loop {
            for (number, node) in self.nodes.iter_mut().enumerate() {
                if node.metric(DECIDING).await? == 1.0 {
                    return Ok(number);
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Peer for Cluster {
    fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().flat_map(Peer::addresses).collect()
    }

    fn pids(&self) -> Vec<u32> {
        self.nodes.iter().flat_map(Peer::pids).collect()
    }

    async fn settle(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.settle().await?;
        }
        Ok(())
    }

    async fn stop(self) -> Result<()> {
        for node in self.nodes {
            node.stop().await?;
        }
        self.store.stop().await
    }
}
