//! Real Kafka and real PostgreSQL for a run, started by the project's scripts and broken on purpose.
//!
//! Each ends with its script, and that with this process: it waits for the end of its input. Absent on purpose: a process
//! that the scripts did not start.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::server::signal;

/// Longer than any of them may take to come up.
const START: Duration = Duration::from_secs(120);

struct Script {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Script {
    fn start(command: &mut Command) -> Result<Script> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start a script")?;
        let orders = child.stdin.take().context("its input is piped")?;
        let answers = BufReader::new(child.stdout.take().context("its output is piped")?).lines();
        Ok(Script { child, orders, answers })
    }

    async fn line(&mut self) -> Result<String> {
        let line = timeout(START, self.answers.next_line()).await.context("a script says nothing")??;
        line.context("a script ended; what it said stands above")
    }
}

/// Brokers that run.
pub struct Brokers {
    script: Script,
    /// Their addresses, separated by commas.
    pub bootstrap: String,
    /// Their process ids.
    pub pids: Vec<u32>,
}

impl Brokers {
    /// Starts that many; `scripts` is the project's folder of scripts.
    ///
    /// # Errors
    /// When they do not come up.
    pub async fn start(scripts: &Path, folder: &Path, count: usize) -> Result<Brokers> {
        let mut command = Command::new(scripts.join("kafka"));
        let mut script = Script::start(command.arg("run").arg(folder).arg(count.to_string()))?;
        let ready = script.line().await?;
        let mut words = ready.split_whitespace();
        ensure!(words.next() == Some("ready"), "scripts/kafka said {ready:?}");
        let bootstrap = words.next().context("scripts/kafka named no broker")?.to_owned();
        let pids = words.map(str::parse).collect::<Result<_, _>>().context("a process id")?;
        Ok(Brokers { script, bootstrap, pids })
    }

    pub(crate) async fn signal(&self, at: usize, name: &str) -> Result<()> {
        signal(self.pids[at], name).await
    }

    /// Kills one and starts it again.
    pub(crate) async fn kill_and_start(&mut self, at: usize) -> Result<()> {
        self.signal(at, "KILL").await?;
        self.script.orders.write_all(format!("start {}\n", at + 1).as_bytes()).await?;
        let started = self.script.line().await?;
        let pid = started.split_whitespace().nth(2).context("scripts/kafka named no process")?;
        self.pids[at] = pid.parse().context("a process id")?;
        Ok(())
    }

    /// Ends them all.
    ///
    /// # Errors
    /// When they do not end.
    pub async fn stop(self) -> Result<()> {
        stop(self.script).await
    }
}

/// A database server.
pub struct Database {
    scripts: PathBuf,
    folder: PathBuf,
    script: Script,
    /// `postgres://…`; the same after a start.
    pub url: String,
}

impl Database {
    /// Starts one.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(scripts: &Path, folder: &Path) -> Result<Database> {
        let mut command = Command::new(scripts.join("postgres"));
        let mut script = Script::start(command.arg(folder))?;
        let url = script.line().await?;
        ensure!(url.starts_with("postgres://"), "scripts/postgres said {url:?}");
        Ok(Database { scripts: scripts.to_owned(), folder: folder.to_owned(), script, url })
    }

    /// Stops it as a crash would, and starts it again after a while.
    pub(crate) async fn stop_and_start(self, after: Duration) -> Result<Database> {
        let Database { scripts, folder, script, url } = self;
        stop(script).await?;
        tokio::time::sleep(after).await;
        let again = Database::start(&scripts, &folder).await?;
        ensure!(again.url == url, "PostgreSQL came back at {}, and was at {url}", again.url);
        Ok(again)
    }

    /// Ends it; its folder goes.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(self) -> Result<()> {
        stop(self.script).await?;
        std::fs::remove_dir_all(&self.folder).context("remove the database")
    }
}

async fn stop(script: Script) -> Result<()> {
    let Script { mut child, orders, answers } = script;
    drop(orders);
    timeout(START, child.wait()).await.context("a script does not end")??;
    drop(answers);
    Ok(())
}
