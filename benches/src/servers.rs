//! The peers as processes: started on free loopback ports, stopped by their own ids.
//!
//! Deliberately absent: peers that run already.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quell_sim::http::Connection;
use quell_sim::torture::server::{Server, caught_up, metric};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::process;

/// Longer than any start or catching up may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// The metric that says whether a node decides in the only shard.
pub const DECIDING: &str = "quell_deciding{shard=\"0\"}";
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(2);

/// A server that takes `POST /api/v2/alerts`.
#[allow(async_fn_in_trait)] // nobody else implements it
pub trait Peer {
    /// Where it listens; senders are spread over all of them.
    fn addresses(&self) -> Vec<SocketAddr>;

    /// Its processes.
    fn pids(&self) -> Vec<u32>;

    /// Waits until all that was answered is done, as far as the server lets one know.
    async fn settle(&mut self) -> Result<()>;

    /// Ends the process.
    async fn stop(self) -> Result<()>;

    /// CPU seconds that it has used.
    ///
    /// # Errors
    /// When it has ended.
    fn cpu_seconds(&self) -> Result<f64> {
        let each = self.pids().into_iter().map(process::cpu_seconds);
        each.sum::<Result<f64, _>>().context("the server's CPU time")
    }

    /// Its resident memory.
    ///
    /// # Errors
    /// When it has ended.
    fn resident_bytes(&self) -> Result<u64> {
        let each = self.pids().into_iter().map(process::resident_bytes);
        each.sum::<Result<u64, _>>().context("the server's memory")
    }
}

/// Alertmanager, alone.
#[derive(Debug)]
pub struct Alertmanager {
    child: Child,
    address: SocketAddr,
    pid: u32,
}

impl Alertmanager {
    /// Starts it with its data in `place`.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start(program: &Path, place: &Path) -> Result<Self> {
        std::fs::create_dir_all(place.join("data"))?;
        let config = place.join("alertmanager.yml");
        std::fs::write(&config, "route:\n  receiver: none\nreceivers:\n  - name: none\n")?;
        // Bound for a moment to learn a free port; Alertmanager cannot choose one itself.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = std::fs::File::create(place.join("alertmanager.log"))?;
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", place.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--cluster.listen-address=", "--log.level=warn"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let pid = child.id().context("Alertmanager ended at once")?;
        let mut connection = Connection::new(address, PATIENCE);
        let begun = Instant::now();
        while !connection.get("/-/ready").await.is_ok_and(|response| response.status == 200) {
            ensure!(begun.elapsed() < PATIENCE, "Alertmanager at {address} did not become ready");
            sleep(LOOK).await;
        }
        Ok(Alertmanager { child, address, pid })
    }
}

impl Peer for Alertmanager {
    fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.address]
    }

    fn pids(&self) -> Vec<u32> {
        vec![self.pid]
    }

    async fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    async fn stop(mut self) -> Result<()> {
        self.child.kill().await.context("stop Alertmanager")
    }
}

/// quell as one process with its own log and store, or a node of many.
pub struct Quell {
    server: Server,
    address: SocketAddr,
    pid: u32,
}

impl Quell {
    /// Starts it with its data in `place`.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start(program: &Path, place: &Path) -> Result<Self> {
        Quell::start_with(program, place, &[]).await
    }

    /// The same with more arguments.
    ///
    /// # Errors
    /// As [`Quell::start`].
    pub async fn start_with(program: &Path, place: &Path, more: &[&str]) -> Result<Self> {
        std::fs::create_dir_all(place)?;
        let mut server = Server::start_with(program, &place.join("data"), &place.join("quell.log"), more)?;
        let pid = server.pid().context("quell ended at once")?;
        let (address, _) = server.ready().await?;
        Ok(Quell { server, address, pid })
    }

    /// A metric, now; its labels stand in the name.
    ///
    /// # Errors
    /// When it does not answer, or has no such metric.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let response = Connection::new(self.address, PATIENCE).get("/metrics").await?;
        metric(&response.text(), name).with_context(|| format!("{name} is missing"))
    }
}

impl Peer for Quell {
    fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.address]
    }

    fn pids(&self) -> Vec<u32> {
        vec![self.pid]
    }

    async fn settle(&mut self) -> Result<()> {
        caught_up(&mut Connection::new(self.address, PATIENCE), PATIENCE).await?;
        Ok(())
    }

    async fn stop(self) -> Result<()> {
        self.server.kill().await
    }
}
