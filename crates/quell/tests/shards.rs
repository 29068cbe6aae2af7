//! An installation of one machine with three shards, as its users meet it: HTTP in, one store out, restarts, and the
//! commands that read what it left.
//!
//! Absent on purpose: which shard something is for (`quell-domain`), and several nodes (`cluster_shards.rs`).

mod support {
    pub(crate) mod process;
}

use std::path::Path;

use anyhow::{Context, ensure};
use quell_domain::{Labels, Shard, Sharding};
use quell_store::{AlertQuery, IncidentQuery, SqliteStore, Store};
use serde_json::Value;
use support::process::{PATIENCE, Process, fresh_folder, serve, until};
use tokio::process::Command;

fn sharding() -> anyhow::Result<Sharding> {
    Ok(Sharding::by("region", 3)?)
}

/// A region of each shard.
fn regions() -> anyhow::Result<Vec<String>> {
    let sharding = sharding()?;
    let of = |shard: Shard| {
        let mut names = (0..100).map(|n| format!("region-{n}"));
        names.find(|name| sharding.of(Labels::new([("region", name)]).as_ref()) == shard.number).context("a region")
    };
    sharding.shards().map(of).collect()
}

async fn start(folder: &Path, shards: &str) -> anyhow::Result<Process> {
    let config = folder.join("quell.yaml");
    std::fs::write(&config, shards)?;
    let mut command = serve(&[], &folder.join("data"));
    command.arg("--config").arg(config);
    Process::start(command, &folder.join("quell.log")).await
}

const THREE: &str = "shards: {label: region, count: 3}\n";

fn alert(name: &str, region: &str) -> String {
    format!(r#"{{"labels":{{"alertname":"{name}","instance":"{name}-1","region":"{region}"}}}}"#)
}

/// The names of alerts and the ids of incidents of each shard.
async fn kept(data: &Path) -> anyhow::Result<Vec<(Vec<String>, Vec<String>)>> {
    let store = SqliteStore::open_read_only(&data.join("store.db")).await?;
    let mut kept = Vec::new();
    for shard in sharding()?.shards() {
        let alerts = store.alerts(shard, AlertQuery { limit: 100, ..AlertQuery::default() }).await?.items;
        let query = IncidentQuery { state: None, before: None, limit: 100 };
        let incidents = store.incidents(shard, query).await?.items;
        let names = alerts.iter().rev().map(|alert| alert.name().to_owned()).collect();
        kept.push((names, incidents.iter().rev().map(|incident| incident.id.to_string()).collect()));
    }
    store.close().await;
    Ok(kept)
}

/// What a command of the program says, which must end well.
async fn said(words: &[&str]) -> anyhow::Result<String> {
    let done = Command::new(env!("CARGO_BIN_EXE_quell")).args(words).output().await?;
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    ensure!(done.status.success(), "{words:?}: {out}{err}");
    Ok(out.into_owned())
}

/// Every shard's incident is listed, shown, and takes what is asked of it.
async fn ask_each(quell: &Process) -> anyhow::Result<()> {
    let listed = quell.list("/api/v1/incidents?state=all").await?;
    let mut ids: Vec<&str> = listed.iter().filter_map(|incident| incident["id"].as_str()).collect();
    ids.sort_unstable();
    ensure!(ids == ["INC-1", "INC-1.1", "INC-2.1"], "{ids:?}");
    ensure!(quell.list("/api/v1/alerts?state=all").await?.len() == 3);
    for id in ids {
        let answer = quell.post(&format!("/api/v1/incidents/{id}/ack"), r#"{"by":"ana"}"#.into()).await?;
        let answer: Value = serde_json::from_str(&answer.error_for_status()?.text().await?)?;
        ensure!(answer["outcome"] == "done", "{id}: {answer}");
        let shown = quell.get(&format!("/api/v1/incidents/{id}")).await?;
        ensure!(shown["acknowledged_by"] == "ana", "{shown}");
    }
    let merge = quell.post("/api/v1/incidents/INC-1.1/merge", r#"{"by":"ana","into":"INC-2.1"}"#.into()).await?;
    let (status, said) = (merge.status(), merge.text().await?);
    ensure!(status.is_client_error() && said.contains("two_shards"), "{status} {said}");
    let receipt = quell.get("/api/v1/receipts/R-2").await?;
    ensure!(receipt["items"].as_array().is_some_and(|items| items.len() == 1), "its shard's part: {receipt}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_regions_are_three_shards_of_one_installation() -> anyhow::Result<()> {
    let (folder, regions) = (fresh_folder("shards")?, regions()?);
    let data = folder.join("data");
    let mut quell = start(&folder, THREE).await?;
    let body = format!("[{},{}]", alert("A", &regions[0]), alert("C", &regions[2]));
    let answer = quell.post("/api/v2/alerts", body).await?.error_for_status()?;
    let receipt = answer.headers().get("x-quell-receipt").map(|value| value.to_str().map(str::to_owned)).transpose()?;
    ensure!(receipt.as_deref() == Some("R-2"), "{receipt:?}");
    quell.post("/api/v2/alerts", format!("[{}]", alert("B", &regions[1]))).await?.error_for_status()?;
    quell.post("/api/v2/alerts", "[{\"labels\":{}}]".into()).await?;
    until("decided", PATIENCE, async || quell.is_done().await).await?;
    let expected = [("A", "INC-1"), ("B", "INC-1.1"), ("C", "INC-2.1")]
        .map(|(name, incident)| (vec![name.to_owned()], vec![incident.to_owned()]));
    ensure!(kept(&data).await? == expected, "{:?}", kept(&data).await?);
    ask_each(&quell).await?;
    quell.kill().await?;

    // Killed, and known again: nothing is opened anew.
    let mut quell = start(&folder, THREE).await?;
    for (name, region) in ["A", "B", "C"].iter().zip(&regions) {
        quell.post("/api/v2/alerts", format!("[{}]", alert(name, region))).await?.error_for_status()?;
    }
    until("decided", PATIENCE, async || quell.is_done().await).await?;
    ensure!(kept(&data).await? == expected, "{:?}", kept(&data).await?);
    quell.terminate().await?;
    quell.ended(PATIENCE).await?;
    for other in ["", "shards: {label: region, count: 4}\n", "shards: {label: cluster, count: 3}\n"] {
        ensure!(start(&folder, other).await.is_err(), "{other:?} is another sharding");
    }
    let log = std::fs::read_to_string(folder.join("quell.log"))?;
    ensure!(log.contains("allowed: {label: region, count: 3}, as this installation was created with"), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reads_an_installation_reads_every_shard() -> anyhow::Result<()> {
    let (folder, regions) = (fresh_folder("shards-read")?, regions()?);
    let data = folder.join("data");
    let quell = start(&folder, THREE).await?;
    for (name, region) in ["A", "B", "C"].iter().zip(&regions) {
        quell.post("/api/v2/alerts", format!("[{}]", alert(name, region))).await?.error_for_status()?;
    }
    until("decided", PATIENCE, async || quell.is_done().await).await?;
    let (from, backup, restored) = (data.to_string_lossy(), folder.join("backup"), folder.join("restored"));
    let told = said(&["backup", "--data-dir", &from, "--to", &backup.to_string_lossy()]).await?;
    ensure!(told.contains("shard-2/log.db") && told.contains("of shard 2 up to"), "{told}");
    let told =
        said(&["restore", "--from", &backup.to_string_lossy(), "--data-dir", &restored.to_string_lossy()]).await?;
    ensure!(told.contains("of shard 1 up to"), "{told}");
    ensure!(kept(&restored).await? == kept(&data).await?);

    let told = said(&["explain", "INC-2.1", "--data-dir", &from]).await?;
    ensure!(told.contains("INC-2.1") && told.contains('C'), "{told}");
    let output = folder.join("replayed.jsonl");
    let played = |shard: &'static str| {
        let (from, output) = (from.to_string(), output.to_string_lossy().into_owned());
        async move { said(&["replay", "--data-dir", &from, "--shard", shard, "--output", &output]).await }
    };
    played("2").await?;
    let incident: Value = serde_json::from_str(&std::fs::read_to_string(&output)?)?;
    ensure!(incident["id"] == "INC-2.1", "{incident}");
    let refused = said(&["replay", "--data-dir", &from, "--output", &output.to_string_lossy()]).await;
    let refused = refused.err().context("which shard was not said")?.to_string();
    ensure!(refused.contains("this installation has 3 shards: name the one to play by --shard, 0 to 2"), "{refused}");
    Ok(())
}
