//! A disk that fills up and a disk that fails: nothing is acknowledged that is not there afterwards.
//!
//! Absent on purpose: crashes; the torture has those.

mod support {
    pub(crate) mod process;
}

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use reqwest::StatusCode;
use support::process::{Process, alerts, fresh_folder, impatient, numbers, serve, until};
use tokio::io::AsyncBufReadExt;
use tokio::process::{Child, Command};

/// A small disk of its own, which only this test's processes see. It is gone with the process that holds it.
struct SmallDisk {
    holder: Child,
    place: PathBuf,
}

impl SmallDisk {
    async fn new(place: PathBuf, size: &str) -> anyhow::Result<SmallDisk> {
        // Inside a changed root there is no mount whose propagation could be changed; there nobody shares it either.
        let private = Command::new("unshare").args(["--mount", "true"]).output().await?.status.success();
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if !is_root() {
            command.args(["--user", "--map-root-user"]);
        } else if !private {
            command.args(["--propagation", "unchanged"]);
        }
        let script = "mount -t tmpfs -o size=$1 quell-test \"$0\" && echo mounted && exec cat";
        command.args(["sh", "-c", script]).arg(&place).arg(size);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut holder = command.spawn().context("start unshare")?;
        let mut said = String::new();
        let out = holder.stdout.as_mut().context("its output is piped")?;
        tokio::io::BufReader::new(out).read_line(&mut said).await?;
        ensure!(said.trim() == "mounted", "a small disk cannot be mounted here: unshare said {said:?}");
        Ok(SmallDisk { holder, place })
    }

    fn id(&self) -> anyhow::Result<u32> {
        self.holder.id().context("the holder has ended")
    }

    /// How the test itself reaches it.
    fn path(&self, name: &str) -> anyhow::Result<PathBuf> {
        let inside = self.place.strip_prefix("/").unwrap_or(&self.place);
        Ok(Path::new("/proc").join(self.id()?.to_string()).join("root").join(inside).join(name))
    }

    /// Starts quell with its data there.
    async fn quell(&self, config: &Path, log: &Path) -> anyhow::Result<Process> {
        let id = self.id()?.to_string();
        let mut before = vec!["nsenter", "--target", id.as_str(), "--mount", "--root"];
        if !is_root() {
            // Only root may change its groups, so they are kept.
            before.extend(["--user", "--preserve-credentials"]);
        }
        before.push("--");
        let mut command = serve(&before, &self.place.join("data"));
        command.arg("--config").arg(config);
        Process::start(command, log).await
    }
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|text| text.contains("\nUid:\t0\t"))
}

async fn check_all_there(quell: &Process, acknowledged: &[u64]) -> anyhow::Result<()> {
    until("everything decided", Duration::from_secs(20), async || quell.is_done().await).await?;
    let there = quell.list("/api/v1/alerts?state=all").await?;
    let found = numbers(&there);
    let mut once = found.clone();
    once.dedup();
    ensure!(once == found, "an alert is there twice");
    let missing: Vec<&u64> = acknowledged.iter().filter(|n| found.binary_search(n).is_err()).collect();
    ensure!(missing.is_empty(), "acknowledged and lost: {missing:?}");
    let ended = there.iter().filter(|alert| alert["state"] != "firing").count();
    ensure!(ended == 0, "{ended} alerts ended by mistake");
    Ok(())
}

/// Posts new alerts; whether they were taken. Refused ones are told when to come again, and all are answered in time.
async fn offer(quell: &Process, batch: std::ops::Range<u64>) -> anyhow::Result<bool> {
    let asked = Instant::now();
    let answer = quell.post("/api/v2/alerts", alerts(batch)).await.context("an answer, not a hang")?;
    ensure!(asked.elapsed() < Duration::from_secs(2), "answered after {:?}", asked.elapsed());
    match answer.status() {
        StatusCode::OK => Ok(true),
        StatusCode::SERVICE_UNAVAILABLE => {
            ensure!(answer.headers().contains_key("retry-after"), "a 503 without Retry-After");
            Ok(false)
        }
        other => bail!("answered {other}: {}", answer.text().await?),
    }
}

/// What is not sent again ends after so many seconds; the disk stays full for longer. What the test does while there is
/// room takes about three.
const PATIENCE: u64 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_and_survived() -> anyhow::Result<()> {
    let folder = fresh_folder("disk-full")?;
    let config = impatient(&folder, PATIENCE)?;
    let place = folder.join("disk");
    std::fs::create_dir(&place)?;
    let disk = SmallDisk::new(place, "24m").await?;
    let filler = disk.path("filler")?;
    std::fs::write(&filler, vec![1; 16 << 20])?;
    let mut quell = disk.quell(&config, &folder.join("quell.log")).await?;
    let (mut next, mut acknowledged) = (0, Vec::new());
    let begun = Instant::now();
    let mut shut_since = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    // Full for longer than alerts live without news, without a break.
    while shut_since.elapsed() < Duration::from_secs(PATIENCE + 1) {
        ensure!(begun.elapsed() < Duration::from_secs(60), "the disk never stayed full");
        let batch = next..next + 100;
        next += 100;
        if offer(&quell, batch.clone()).await? {
            acknowledged.extend(batch);
            shut_since = Instant::now();
        } else {
            ticks.tick().await;
        }
    }
    ensure!(acknowledged.len() > 100, "nothing was acknowledged before");
    let ready = quell.client.get(format!("{}/readyz", quell.url)).send().await?;
    let (status, text) = (ready.status(), ready.text().await?);
    ensure!(status == StatusCode::SERVICE_UNAVAILABLE && text.contains("full"), "/readyz says {status}: {text}");

    std::fs::remove_file(&filler)?;
    until("intake after there is room", Duration::from_secs(10), async || offer(&quell, next..next + 1).await).await?;
    acknowledged.push(next);
    check_all_there(&quell, &acknowledged).await.context("without a restart")?;
    quell.kill().await?;
    let quell = disk.quell(&config, &folder.join("quell.log")).await?;
    check_all_there(&quell, &acknowledged).await.context("after a restart")
}

/// Starts quell with every sync of one file failing from the twentieth on. The tracer is not its parent, so that the
/// process that a failed test leaves to be killed is quell and not the tracer alone.
async fn with_failing_syncs(folder: &Path, file: &str) -> anyhow::Result<Process> {
    let strace = std::env::var("QUELL_STRACE").unwrap_or_else(|_| "strace".to_owned());
    let data = folder.join("data");
    let path = data.join(file).display().to_string();
    let (calls, inject) = ("trace=fsync,fdatasync", "inject=fsync,fdatasync:error=EIO:when=20+");
    let before = [&strace, "-D", "-f", "-qq", "-o", "/dev/null", "-P", &path, "-e", calls, "-e", inject];
    let started = Process::start(serve(&before, &data), &folder.join("quell.log")).await;
    started.context("under strace; run `./dev test`, which fetches it")
}

/// It has ended by itself and said why; started again, everything acknowledged is there.
async fn check_end(folder: &Path, mut quell: Process, acknowledged: &[u64], why: &str) -> anyhow::Result<()> {
    ensure!(!acknowledged.is_empty(), "nothing was acknowledged before");
    let log = folder.join("quell.log");
    let status = quell.ended(Duration::from_secs(5)).await?;
    let said = std::fs::read_to_string(&log)?;
    let last = said.lines().find(|line| line.starts_with("quell: ")).unwrap_or_default();
    ensure!(status.code() == Some(1) && last.contains(why), "ended with {status}, having said:\n{said}");
    let quell = Process::start(serve(&[], &folder.join("data")), &log).await?;
    check_all_there(&quell, acknowledged).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_fsync_of_the_log_is_never_acknowledged_and_ends_the_process() -> anyhow::Result<()> {
    let folder = fresh_folder("fsync-fails")?.canonicalize()?;
    let quell = with_failing_syncs(&folder, "log.db-wal").await?;
    let (mut next, mut acknowledged, mut refused) = (0, Vec::new(), 0);
    loop {
        ensure!(next < 10_000, "no fsync failed");
        let batch = next..next + 10;
        next += 10;
        let asked = Instant::now();
        let answer = quell.post("/api/v2/alerts", alerts(batch.clone())).await;
        ensure!(asked.elapsed() < Duration::from_secs(1), "answered after {:?}", asked.elapsed());
        match answer.map(|answer| answer.status()) {
            Ok(StatusCode::OK) => {
                ensure!(refused == 0, "acknowledged after an fsync had failed");
                acknowledged.extend(batch);
            }
            Ok(StatusCode::SERVICE_UNAVAILABLE) => refused += 1,
            Ok(other) => bail!("answered {other}"),
            // It is gone.
            Err(_) => break,
        }
    }
    ensure!(refused > 0, "the request that met the error was not told so");
    check_end(&folder, quell, &acknowledged, "the log's disk failed").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_fsync_of_the_store_ends_the_process_and_loses_nothing() -> anyhow::Result<()> {
    let folder = fresh_folder("store-fsync-fails")?.canonicalize()?;
    let quell = with_failing_syncs(&folder, "store.db-wal").await?;
    let (mut next, mut acknowledged) = (0, Vec::new());
    // The log is whole, so what it takes until the process ends is rightly acknowledged.
    while let Ok(answer) = quell.post("/api/v2/alerts", alerts(next..next + 10)).await {
        ensure!(next < 100_000, "no fsync failed");
        if answer.status() == StatusCode::OK {
            acknowledged.extend(next..next + 10);
        }
        next += 10;
    }
    check_end(&folder, quell, &acknowledged, "what was decided cannot be remembered").await
}
