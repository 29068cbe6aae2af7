//! The program under test: started, killed and started again on the same data directory.
//!
//! Deliberately absent: any process that this run did not start.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use crate::http::Connection;

/// Longer than any start may take; a start that takes longer fails the run.
const START: Duration = Duration::from_secs(60);
/// Longer than it may take to end when asked.
const LEAVE: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(5);

/// A running quell.
pub struct Server {
    child: Child,
    /// Its output, until it said where it listens.
    lines: Option<Lines<BufReader<ChildStdout>>>,
    started: Instant,
}

impl Server {
    /// Starts `quell serve` on a free loopback port; its messages are appended to `log`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(quell: &Path, data_dir: &Path, log: &Path) -> Result<Server> {
        Server::start_with(quell, data_dir, log, &[])
    }

    /// The same with more arguments.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(quell: &Path, data_dir: &Path, log: &Path, more: &[&str]) -> Result<Server> {
        let messages = OpenOptions::new().create(true).append(true).open(log).context("open the server's log file")?;
        let mut child = Command::new(quell)
            .arg("serve")
            .arg("--data-dir")
            .arg(data_dir)
            .args(["--listen", "127.0.0.1:0"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(messages)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", quell.display()))?;
        let stdout = child.stdout.take().context("the server's output is piped")?;
        Ok(Server { child, lines: Some(BufReader::new(stdout).lines()), started: Instant::now() })
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for the address it prints and until it says that it is ready; returns how long that took since the start.
    ///
    /// # Errors
    /// When it ends or stays silent for a minute.
    pub async fn ready(&mut self) -> Result<(SocketAddr, Duration)> {
        let started = self.started;
        let mut lines = self.lines.take().context("it was asked before")?;
        let address = timeout(START, async {
            while let Some(line) = lines.next_line().await? {
                if let Some((_, rest)) = line.split_once("listening on http://") {
                    return Ok(rest.trim().trim_end_matches('/').parse::<SocketAddr>()?);
                }
            }
            bail!("the server ended before it was ready")
        })
        .await
        .context("the server did not say where it listens")??;
        // What it says later is read and dropped, so that it never waits for a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let mut connection = Connection::new(address, Duration::from_secs(5));
        while !connection.get("/readyz").await.is_ok_and(|response| response.status == 200) {
            if started.elapsed() > START {
                bail!("the server at {address} was not ready in {START:?}");
            }
            sleep(LOOK).await;
        }
        Ok((address, started.elapsed()))
    }

    /// Asks it to end with SIGTERM, and waits until it has.
    ///
    /// # Errors
    /// When it does not end in half a minute, or says that it failed.
    pub async fn leave(mut self) -> Result<()> {
        signal(self.pid().context("it has ended by itself")?, "TERM").await?;
        let status = timeout(LEAVE, self.child.wait()).await.context("it was asked to end, and goes on")??;
        if status.success() { Ok(()) } else { bail!("it was asked to end, and ended with {status}") }
    }

    /// SIGKILL, and waits until the process is gone.
    ///
    /// # Errors
    /// When it had ended by itself before: that is a crash nobody ordered.
    pub async fn kill(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server ended by itself: {status}");
        }
        self.child.start_kill()?;
        self.child.wait().await?;
        Ok(())
    }
}

/// Sends a signal, named without SIG, to a process that this run started.
pub(crate) async fn signal(pid: u32, name: &str) -> Result<()> {
    // The shell has it built in; a bare machine has no program of that name.
    let status = Command::new("sh").args(["-c", "kill -s \"$1\" \"$0\"", &pid.to_string(), name]).status().await?;
    if status.success() { Ok(()) } else { bail!("kill -s {name} {pid} failed") }
}

/// One sample of a metric without labels, from a Prometheus text.
#[must_use]
pub fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The sum of a metric over all its labels; 0 when there is none.
#[must_use]
pub fn metric_sum(text: &str, name: &str) -> f64 {
    let samples = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once(' '));
    samples.filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
}

/// Waits until the engine has reached the end of the log; returns how many records it lacked at the first look.
///
/// # Errors
/// When that takes longer than `patience`.
pub async fn caught_up(connection: &mut Connection, patience: Duration) -> Result<f64> {
    let begun = Instant::now();
    let mut first = None;
    loop {
        let response = connection.get("/metrics").await?;
        let lag = metric(&response.text(), "quell_log_lag_records").context("quell_log_lag_records is missing")?;
        let first = *first.get_or_insert(lag);
        // Repeats are counted at once and written a little later.
        let unflushed =
            metric(&response.text(), "quell_alerts_unflushed").context("quell_alerts_unflushed is missing")?;
        if lag == 0.0 && unflushed == 0.0 {
            return Ok(first);
        }
        if begun.elapsed() > patience {
            bail!("{lag} records are still undecided, {unflushed} alerts unwritten after {patience:?}");
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_metric_by_its_whole_name() {
        let text = "# TYPE quell_log_lag_records gauge\nquell_log_lag_records_max 9\nquell_log_lag_records 3\n";
        assert_eq!(metric(text, "quell_log_lag_records"), Some(3.0));
        assert_eq!(metric(text, "quell_log"), None);
        let text = "fates{fate=\"opened\"} 2\nfates{fate=\"a b\"} 3\nfates_other{x=\"y\"} 9\n";
        assert_eq!(metric_sum(text, "fates"), 5.0);
    }
}
