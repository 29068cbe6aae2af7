//! What the end-to-end tests share: real programs on free loopback ports, and waiting for a condition.
//!
//! Absent on purpose: retries of a test and fixed sleeps. A test polls until its condition holds or its deadline is
//! over, and then says what it saw last.
#![allow(dead_code, reason = "each test uses its part")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// How long a condition may take to hold. Generous: it is waited for only when something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A new folder of this name under the target folder; what an earlier run left there is gone.
pub(crate) fn fresh_folder(name: &str) -> anyhow::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder)
}

/// The path of a server to test against: from the environment, else from the PATH.
pub(crate) fn server(variable: &str, names: &[&str]) -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    found.into_iter().find(|program| program.is_file()).with_context(|| {
        format!("no {} on the PATH and {variable} is not set: run `./dev test`, which fetches it", names.join(" or "))
    })
}

/// Looks every tenth of a second until `look` gives a value. Ends with what it complained of last.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match look().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => {
                return Err(error.context(format!("{what}: did not come about in {PATIENCE:?}")));
            }
            Err(_) => {}
        }
    }
}

/// A program of the test, killed by its process id when dropped. Its output lies in `<folder>/<name>.log`.
#[derive(Debug)]
pub(crate) struct Program {
    _child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it with both outputs in one file.
    pub(crate) fn start(name: &str, path: &Path, args: &[String], folder: &Path) -> anyhow::Result<Program> {
        let log = folder.join(format!("{name}.log"));
        let out = fs::File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let child = Command::new(path)
            .args(args)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(out.try_clone().context("share the log")?)
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", path.display()))?;
        Ok(Program { _child: child, log })
    }

    /// Waits for a line with `before` in it, and gives the address that follows.
    pub(crate) async fn address_after(&self, before: &str) -> anyhow::Result<SocketAddr> {
        eventually(&format!("{} says {before:?}", self.log.display()), async || {
            let text = fs::read_to_string(&self.log).context("read the log")?;
            let Some((_, after)) = text.split_once(before) else { bail!("so far it said:\n{text}") };
            let address = after.split_whitespace().next().unwrap_or_default().trim_matches('"');
            address.parse().with_context(|| format!("{address:?} is no address"))
        })
        .await
    }
}

/// A running `quell serve` of its own data folder.
#[derive(Debug)]
pub(crate) struct Quell {
    _child: Child,
    client: reqwest::Client,
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
}

impl Quell {
    /// Starts it on a free port and waits for the line that says it is ready.
    pub(crate) async fn start(folder: &Path) -> anyhow::Result<Quell> {
        // Fails only when another test of this process was first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let log = fs::File::create(folder.join("quell.log")).context("create quell.log")?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_quell"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("start quell")?;
        let mut stdout = BufReader::new(child.stdout.take().context("quell's output is piped")?);
        let mut line = String::new();
        timeout(PATIENCE, stdout.read_line(&mut line)).await.context("quell did not become ready")??;
        // Whatever else it says is read, so that it never waits for a reader.
        tokio::spawn(async move { tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await });
        let url = line.trim().strip_prefix("listening on ");
        let url = url.with_context(|| format!("quell said {line:?}; see {}", folder.display()))?.to_owned();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().context("make a client")?;
        Ok(Quell { _child: child, client, url })
    }

    /// Its address without the scheme, as Prometheus wants it.
    pub(crate) fn authority(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// `GET` of a JSON document.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let response = self.client.get(format!("{}{path}", self.url)).send().await.context("GET")?;
        let (status, body) = (response.status(), response.text().await.context("GET")?);
        if !status.is_success() {
            bail!("GET {path}: {status}: {body}");
        }
        serde_json::from_str(&body).with_context(|| format!("GET {path}: not JSON: {body}"))
    }

    /// `PUT` of a JSON document.
    pub(crate) async fn put(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let response = self.client.put(format!("{}{path}", self.url)).json(body).send().await.context("PUT")?;
        let status = response.status();
        if !status.is_success() {
            bail!("PUT {path}: {status}: {}", response.text().await.unwrap_or_default());
        }
        Ok(())
    }

    /// Waits for an incident in a state, and gives it whole. `seen` says which one is wanted.
    pub(crate) async fn incident(&self, state: &str, seen: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        eventually(&format!("an incident that is {state}"), async || {
            let list = self.get(&format!("/api/v1/incidents?state={state}")).await?;
            for item in list["items"].as_array().into_iter().flatten() {
                let id = item["id"].as_str().context("an incident has an id")?;
                let incident = self.get(&format!("/api/v1/incidents/{id}")).await?;
                if seen(&incident) {
                    return Ok(incident);
                }
            }
            bail!("the list is {list:#}")
        })
        .await
    }
}

/// A metric that the test sets and Prometheus scrapes.
#[derive(Debug)]
pub(crate) struct Metric {
    value: Arc<AtomicU32>,
    /// Where it is scraped.
    pub(crate) address: SocketAddr,
}

impl Metric {
    /// Serves `name` on a free port until the test ends.
    pub(crate) async fn serve(name: &'static str, first: u32) -> anyhow::Result<Metric> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen")?;
        let address = listener.local_addr().context("listen")?;
        let value = Arc::new(AtomicU32::new(first));
        let shared = Arc::clone(&value);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let body = format!("# TYPE {name} gauge\n{name} {}\n", shared.load(Ordering::Relaxed));
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
                let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
                tokio::spawn(async move {
                    // One read takes a scrape's head; a scraper that goes away early is none of the test's business.
                    let _ = socket.read(&mut [0; 4096]).await;
                    let _ = socket.write_all(answer.as_bytes()).await;
                    let _ = socket.shutdown().await;
                });
            }
        });
        Ok(Metric { value, address })
    }

    /// What the next scrape sees.
    pub(crate) fn set(&self, value: u32) {
        self.value.store(value, Ordering::Relaxed);
    }
}
