//! The program as a process that tests start in odd places, kill and start again.
//!
//! Absent on purpose: what is posted to it.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long it may take to start or to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A new folder of this name; what an earlier run left there is gone.
pub(crate) fn fresh_folder(name: &str) -> anyhow::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Waits until `look` is true.
pub(crate) async fn until(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    while !look().await.unwrap_or(false) {
        ensure!(begun.elapsed() < within, "{what}: not within {within:?}");
        ticks.tick().await;
    }
    Ok(())
}

/// A process of `quell serve`.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Posts and gets, each within ten seconds.
    pub(crate) client: reqwest::Client,
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
}

/// The program with what it always needs; `before` is put in front of it (a tracer, a namespace).
pub(crate) fn serve(before: &[&str], data: &Path) -> Command {
    let program = env!("CARGO_BIN_EXE_quell");
    let mut words = before.iter().copied().chain([program, "serve", "--listen", "127.0.0.1:0", "--data-dir"]);
    let mut command = Command::new(words.next().unwrap_or(program));
    command.args(words).arg(data).stdin(Stdio::null());
    command
}

impl Process {
    /// Starts it and waits for its address. What it says on the side goes to `log`.
    pub(crate) async fn start(mut command: Command, log: &Path) -> anyhow::Result<Process> {
        // Fails only when another test of this process was first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let log = std::fs::File::options().create(true).append(true).open(log).context("open the log")?;
        let mut child = command.stdout(Stdio::piped()).stderr(log).kill_on_drop(true).spawn().context("start quell")?;
        let mut stdout = BufReader::new(child.stdout.take().context("quell's output is piped")?);
        let mut line = String::new();
        timeout(PATIENCE, stdout.read_line(&mut line)).await.context("quell did not become ready")??;
        tokio::spawn(async move { tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await });
        let url = line.trim().strip_prefix("listening on ").with_context(|| format!("quell said {line:?}"))?.to_owned();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        Ok(Process { child, client, url })
    }

    /// Posts a body; the status it is answered with.
    pub(crate) async fn post(&self, path: &str, body: String) -> reqwest::Result<reqwest::Response> {
        let request = self.client.post(format!("{}{path}", self.url)).header("content-type", "application/json");
        request.body(body).send().await
    }

    /// Gets a JSON document.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        if !status.is_success() {
            bail!("GET {path}: {status}: {text}");
        }
        Ok(serde_json::from_str(&text)?)
    }

    /// Every item of a list, whatever its length.
    pub(crate) async fn list(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let mut page = self.get(&format!("{path}&limit=1000{cursor}")).await?;
            all.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["next"].take() {
                Value::String(next) => cursor = format!("&cursor={next}"),
                _ => return Ok(all),
            }
        }
    }

    /// True when everything received is decided and written.
    pub(crate) async fn is_done(&self) -> anyhow::Result<bool> {
        let text = self.client.get(format!("{}/metrics", self.url)).send().await?.text().await?;
        let zero = |name: &str| text.lines().any(|line| line == format!("{name} 0"));
        Ok(zero("quell_log_lag_records") && zero("quell_alerts_unflushed"))
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        Ok(timeout(within, self.child.wait()).await.context("it goes on")??)
    }

    /// `kill -9`, and its end.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// `kill -TERM`.
    pub(crate) async fn terminate(&self) -> anyhow::Result<()> {
        self.signal("TERM").await
    }

    /// Sends it a signal, named without SIG.
    pub(crate) async fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.child.id().context("it has ended")?.to_string();
        // The shell has it built in; a bare machine has no program of that name.
        let status = Command::new("sh").args(["-c", "kill -s \"$1\" \"$0\"", &id, name]).status().await?;
        if status.success() { Ok(()) } else { bail!("kill -s {name} {id} failed") }
    }
}

/// A config in `folder` with the shipped rules, but for an end of what is not sent again after so many seconds.
pub(crate) fn impatient(folder: &Path, seconds: u64) -> anyhow::Result<PathBuf> {
    let (shipped, own) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules"), folder.join("rules"));
    std::fs::create_dir_all(&own)?;
    let mut changed = 0;
    for entry in std::fs::read_dir(shipped)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path)?;
            let wanted = text.replace("resolve_timeout: 5m", &format!("resolve_timeout: {seconds}s"));
            changed += u32::from(wanted != text);
            std::fs::write(own.join(path.file_name().context("a file has a name")?), wanted)?;
        }
    }
    if changed != 1 {
        bail!("the shipped rules no longer say `resolve_timeout: 5m` in one place");
    }
    let config = folder.join("quell.yaml");
    std::fs::write(&config, format!("rules_dir: '{}'\n", own.display()))?;
    Ok(config)
}

/// A body of alerts that are told apart by their label `n`.
pub(crate) fn alerts(numbers: impl IntoIterator<Item = u64>) -> String {
    let alert = |n: u64| {
        format!(
            r#"{{"labels":{{"alertname":"Disk{}","instance":"host-{}","n":"{n}","severity":"warning"}},"annotations":{{"summary":"{}"}}}}"#,
            n % 7,
            n % 50,
            format!("alert {n} is about something that is described at some length").repeat(4),
        )
    };
    format!("[{}]", numbers.into_iter().map(alert).collect::<Vec<_>>().join(","))
}

/// The label `n` of alerts as the API lists them, in order.
pub(crate) fn numbers(alerts: &[Value]) -> Vec<u64> {
    let mut all: Vec<u64> = alerts.iter().filter_map(|alert| alert["labels"]["n"].as_str()?.parse().ok()).collect();
    all.sort_unstable();
    all
}

/// Every acknowledged alert is there once, in one incident that is there once; how many incidents there are. That no
/// two have one beginning is the store's own promise, by a unique index.
pub(crate) async fn check_all_there(quell: &Process, acknowledged: &BTreeSet<u64>) -> anyhow::Result<usize> {
    until("everything decided", Duration::from_secs(40), async || quell.is_done().await).await?;
    let there = quell.list("/api/v1/alerts?state=all").await?;
    let found = numbers(&there);
    ensure!(found.iter().copied().collect::<BTreeSet<_>>().len() == found.len(), "an alert is there twice");
    let missing: Vec<_> = acknowledged.iter().filter(|n| found.binary_search(n).is_err()).collect();
    ensure!(missing.is_empty(), "acknowledged and lost: {missing:?}");
    ensure!(there.iter().all(|alert| !alert["incident"].is_null()), "an alert is in no incident");
    let incidents = quell.list("/api/v1/incidents?state=all").await?;
    let whole = incidents.iter().filter(|incident| incident["merged_into"].is_null());
    let held: u64 = whole.filter_map(|incident| incident["alerts_total"].as_u64()).sum();
    ensure!(held == found.len() as u64, "{} alerts, and {held} in {} incidents", found.len(), incidents.len());
    let ids: BTreeSet<&str> = incidents.iter().filter_map(|incident| incident["id"].as_str()).collect();
    ensure!(ids.len() == incidents.len(), "an incident is there twice");
    Ok(incidents.len())
}
