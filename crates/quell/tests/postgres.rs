//! The store in a real PostgreSQL: the whole program on it, and the server going away under load.
//!
//! Absent on purpose: what every store promises (the store's own suite), and several nodes.

mod support {
    pub(crate) mod process;
}
#[path = "../../quell-store/tests/support/postgres_server.rs"]
mod postgres_server;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use postgres_server::Server;
use reqwest::StatusCode;
use support::process::{Process, alerts, check_all_there, fresh_folder, serve, until};
use tokio::process::Command;

/// How long a condition may take to hold.
const PATIENCE: Duration = Duration::from_secs(40);

/// Starts quell on a database, with room for few records that wait.
async fn quell(folder: &Path, url: &str) -> anyhow::Result<Process> {
    let config = folder.join("quell.yaml");
    std::fs::write(&config, "intake: {waiting_records: 40}\n")?;
    let mut command = serve(&[], &folder.join("data"));
    command.arg("--store").arg(url).arg("--config").arg(config);
    Process::start(command, &folder.join("quell.log")).await
}

async fn text(quell: &Process, path: &str) -> anyhow::Result<(StatusCode, String)> {
    let answer = quell.client.get(format!("{}{path}", quell.url)).send().await?;
    Ok((answer.status(), answer.text().await?))
}

#[tokio::test]
async fn a_store_that_goes_away_and_comes_back_loses_nothing() -> anyhow::Result<()> {
    let folder = fresh_folder("postgres-away")?;
    let cluster = Server::folder("away");
    let mut server = Server::start(&cluster, false, &[]);
    let quell = quell(&folder, &server.url).await?;
    let (mut acknowledged, mut next) = (BTreeSet::new(), 0_u64);
    let mut offer = async |quell: &Process| {
        let batch = next..next + 10;
        next += 10;
        let answer = quell.post("/api/v2/alerts", alerts(batch.clone())).await.context("an answer, not a hang")?;
        match answer.status() {
            StatusCode::OK => acknowledged.extend(batch),
            StatusCode::SERVICE_UNAVAILABLE => {
                ensure!(answer.headers().contains_key("retry-after"), "a 503 without Retry-After");
                return Ok(false);
            }
            other => bail!("answered {other}: {}", answer.text().await?),
        }
        Ok(true)
    };
    for _ in 0..3 {
        for _ in 0..20 {
            ensure!(offer(&quell).await?, "there is room and the store is there");
        }
        server.stop();
        // Intake goes on until all that may wait waits; then it says when to come again, and that it is not ready.
        let mut taken = 0;
        while offer(&quell).await? {
            taken += 1;
            ensure!(taken < 1_000, "the limit of what may wait is not kept");
        }
        // Of the forty that may wait, those twenty may have waited already.
        ensure!(taken >= 20, "only {taken} records were taken while the store was away");
        let (status, ready) = text(&quell, "/readyz").await?;
        ensure!(status == StatusCode::SERVICE_UNAVAILABLE && ready.contains("store"), "{status}: {ready}");
        let (_, metrics) = text(&quell, "/metrics").await?;
        ensure!(metrics.contains("\nquell_store_away 1\n"), "{metrics}");
        let (status, page) = text(&quell, "/api/v1/incidents").await?;
        ensure!(status == StatusCode::SERVICE_UNAVAILABLE, "what cannot be read is not made up: {status} {page}");
        server = Server::start(&cluster, false, &[]);
        until("ready again", PATIENCE, async || {
            let (status, ready) = text(&quell, "/readyz").await?;
            Ok(status == StatusCode::OK && ready == "OK")
        })
        .await?;
        until("what waited is decided", PATIENCE, async || quell.is_done().await).await?;
    }
    ensure!(offer(&quell).await?, "it takes alerts again");
    let incidents = check_all_there(&quell, &acknowledged).await?;
    let (_, metrics) = text(&quell, "/metrics").await?;
    ensure!(metrics.contains("\nquell_store_away 0\n"), "{metrics}");

    // The next process goes on from what the database holds.
    let mut quell = quell;
    quell.kill().await?;
    let mut command = serve(&[], &folder.join("data"));
    command.arg("--store").arg(&server.url);
    let again = Process::start(command, &folder.join("quell.log")).await?;
    ensure!(check_all_there(&again, &acknowledged).await? == incidents, "other incidents after a restart");

    // The same store explains them, beside the process that writes to it.
    let told = Command::new(env!("CARGO_BIN_EXE_quell")).args(["explain", "INC-1", "--store", &server.url]).output();
    let told = told.await?;
    let (said, error) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    ensure!(told.status.success() && said.contains("INC-1"), "{said}{error}");
    ensure!(!folder.join("data/store.db").exists(), "a second store was made");
    server.stop();
    std::fs::remove_dir_all(cluster)?;
    Ok(())
}

#[tokio::test]
async fn an_idle_node_notices_that_its_store_is_away() -> anyhow::Result<()> {
    let folder = fresh_folder("postgres-idle")?;
    let server = Server::start(&Server::folder("idle"), true, &["fsync=off"]);
    let quell = quell(&folder, &server.url).await?;
    let (status, ready) = text(&quell, "/readyz").await?;
    ensure!(status == StatusCode::OK && ready == "OK", "{status}: {ready}");
    server.stop();
    until("it is said", PATIENCE, async || {
        let (status, ready) = text(&quell, "/readyz").await?;
        let (_, metrics) = text(&quell, "/metrics").await?;
        // Alerts are still accepted, so it is ready.
        Ok(status == StatusCode::OK && ready.contains("store") && metrics.contains("\nquell_store_away 1\n"))
    })
    .await
}

#[tokio::test]
async fn a_password_in_the_address_is_refused_and_not_repeated() -> anyhow::Result<()> {
    let folder = fresh_folder("postgres-password")?;
    for address in ["postgres://quell:sesame-17@127.0.0.1:1/quell", "postgres://quell@127.0.0.1:1/q?password=sesame-17"]
    {
        let mut command = serve(&[], &folder.join("data"));
        let output = command.arg("--store").arg(address).output().await?;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(!output.status.success(), "{said}");
        ensure!(said.contains("PGPASSWORD") && !said.contains("sesame"), "{said}");
    }
    Ok(())
}
