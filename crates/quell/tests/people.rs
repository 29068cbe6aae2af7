//! What people do with quell's decisions, through the whole process: mend a group and take it back, ask why, and try
//! other rules on what was received.
//!
//! Absent on purpose: what the engine makes of each command (`quell-engine/tests/people.rs`) and every kind of
//! difference (`difference_tests.rs`).

mod support {
    pub(crate) mod process;
}

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use support::process::{Process, fresh_folder, serve};
use tokio::process::Command;

async fn start(folder: &Path) -> anyhow::Result<Process> {
    Process::start(serve(&[], &folder.join("data")), &folder.join("quell.log")).await
}

/// Alerts without a CI: each name is a trouble of its own, in the same cluster.
fn alerts(names: &[&str]) -> String {
    let alert = |name: &&str| json!({"labels": {"alertname": name, "cluster": "eu", "truth": "one"}});
    json!(names.iter().map(alert).collect::<Vec<_>>()).to_string()
}

async fn done(quell: &Process) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(50));
    for _ in 0..400 {
        ticks.tick().await;
        if quell.is_done().await? {
            return Ok(());
        }
    }
    anyhow::bail!("quell is not done within 20 s")
}

async fn ask(quell: &Process, path: &str, body: Value) -> anyhow::Result<Value> {
    let answer = quell.post(path, body.to_string()).await?;
    let (status, text) = (answer.status(), answer.text().await?);
    ensure!(status.as_u16() == 202, "{path}: {status}: {text}");
    Ok(serde_json::from_str(&text)?)
}

/// Runs the program and gives what it says.
async fn quell(words: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_quell")).args(words).output().await?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "quell {words:?}: {}\n{out}{err}", output.status);
    Ok(out.into_owned())
}

/// The shipped rules, with one text replaced.
fn other_rules(folder: &Path, from: &str, to: &str) -> anyhow::Result<PathBuf> {
    let own = folder.join("other");
    std::fs::create_dir_all(&own)?;
    let mut changed = 0;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path)?;
            let wanted = text.replace(from, to);
            changed += u32::from(wanted != text);
            std::fs::write(own.join(path.file_name().context("a file has a name")?), wanted)?;
        }
    }
    ensure!(changed == 1, "the shipped rules no longer say {from:?} in one file");
    Ok(own)
}

const BY: &str = "unbound_by: [alertname, cluster, namespace, service, job]";

#[tokio::test]
async fn a_merge_outlives_a_restart_is_explained_and_is_taken_back() -> anyhow::Result<()> {
    let folder = fresh_folder("people")?;
    let data = folder.join("data").display().to_string();
    let mut server = start(&folder).await?;
    for name in ["DiskFull", "QueueFull"] {
        ensure!(server.post("/api/v2/alerts", alerts(&[name])).await?.status().is_success(), "{name}");
    }
    done(&server).await?;
    let merged = ask(&server, "/api/v1/incidents/INC-2/merge", json!({"by": "ana", "into": "INC-1"})).await?;
    ensure!(merged["outcome"] == "done" && merged["incident"]["merged_into"] == "INC-1", "{merged}");
    server.kill().await?;
    let server = start(&folder).await?;
    let one = server.get("/api/v1/incidents/INC-1").await?;
    ensure!(one["merged"] == json!(["INC-2"]) && one["alerts_total"] == 2, "{one}");
    let listed = server.get("/api/v1/feedback").await?;
    ensure!(listed["items"][0]["kind"] == "together" && listed["items"][0]["by"] == "ana", "{listed}");
    // The same words from the server and from its files.
    let (url, live) = (server.url.clone(), quell(&["explain", "INC-1", "--url", &server.url]).await?);
    for part in [
        "INC-1 P",
        "merged into it: INC-2",
        "ana [merged] INC-2 was merged into it (alerts: 1): ana merged INC-2 into INC-1",
        "blast radius: 0 CIs may degrade",
        "received     ",
        "by R-",
        "deduplicated 1 times received",
        "not bound    no topology is in force",
        "opened       INC-1 [opened]",
        "joined       INC-1 [merged] ana merged INC-2 into INC-1",
    ] {
        ensure!(live.contains(part), "{part:?} is not in\n{live}");
    }
    done(&server).await?;
    ensure!(live == quell(&["explain", "INC-1", "--data-dir", &data]).await?, "the files tell otherwise");
    let alert = quell(&["explain", "2", "--url", &url]).await?;
    ensure!(alert.contains("alert 2 ") && alert.contains("QueueFull") && alert.contains("INC-1 P"), "{alert}");
    let undone = ask(&server, "/api/v1/incidents/INC-1/undo", json!({"by": "bob"})).await?;
    ensure!(undone["outcome"] == "done" && undone["incident"]["alerts_total"] == 1, "{undone}");
    let again = ask(&server, "/api/v1/incidents/INC-1/undo", json!({})).await?;
    ensure!(again["outcome"] == "unchanged", "{again}");
    let listed = server.get("/api/v1/feedback").await?;
    ensure!(listed["items"][0]["standing"] == "undone", "{listed}");
    Ok(())
}

#[tokio::test]
async fn the_log_of_an_installation_is_played_under_other_rules_beside_it() -> anyhow::Result<()> {
    let folder = fresh_folder("people-compare")?;
    let data = folder.join("data").display().to_string();
    let server = start(&folder).await?;
    for name in ["DiskFull", "QueueFull", "DiskFull"] {
        ensure!(server.post("/api/v2/alerts", alerts(&[name])).await?.status().is_success(), "{name}");
    }
    done(&server).await?;
    // A command of an operator is no traffic: it is left out.
    ask(&server, "/api/v1/incidents/INC-2/merge", json!({"into": "INC-1"})).await?;
    let other = other_rules(&folder, BY, "unbound_by: [cluster]")?.display().to_string();
    let text = quell(&["replay", "--data-dir", &data, "--compare", &other]).await?;
    for part in [
        "3 records, 3 alerts received: 2 incidents before, 1 after",
        "merged 1, split 0",
        "both agree on 0.0000 of all pairs of alerts",
        "against the label truth of 2 alerts: ARI",
        "merged: INC-1, INC-2 -> INC-1 (alerts: 2",
        "why    opened -> same_labels (alerts: 1), as QueueFull:",
    ] {
        ensure!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let report: Value =
        serde_json::from_str(&quell(&["replay", "--data-dir", &data, "--compare", &other, "--json"]).await?)?;
    ensure!(report["counts"]["merged"] == 1 && report["incidents"] == json!({"before": 2, "after": 1}), "{report}");
    ensure!(report["changes"][0]["before"][1]["id"] == "INC-2", "{report}");
    let incidents = server.get("/api/v1/incidents/INC-1").await?;
    ensure!(incidents["alerts_total"] == 2, "nothing was changed by it: {incidents}");
    Ok(())
}

#[tokio::test]
async fn a_file_of_alerts_is_played_under_two_sets_of_rules() -> anyhow::Result<()> {
    let folder = fresh_folder("people-file")?;
    let mut lines = String::new();
    for (second, name) in (0..).zip(["DiskFull", "QueueFull", "DiskFull"]) {
        let body = alerts(&[name]);
        lines += &format!(
            "{{\"received_at\":\"2026-01-15T03:00:0{second}Z\",\"source\":\"alertmanager\",\"payload\":{body}}}\n"
        );
    }
    let file = folder.join("alerts.jsonl");
    std::fs::write(&file, lines)?;
    let file = file.display().to_string();
    let other = other_rules(&folder, BY, "unbound_by: [cluster]")?;
    let config = folder.join("quell.yaml");
    std::fs::write(&config, format!("rules_dir: '{}'\n", other.display()))?;
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules").display().to_string();
    let (config, other) = (config.display().to_string(), other.display().to_string());
    let same = quell(&["replay", "--alerts", &file, "--compare", &shipped]).await?;
    ensure!(same.contains("equal 2") && same.contains("both agree on 1.0000"), "{same}");
    let split = quell(&["replay", "--alerts", &file, "--config", &config, "--compare", &shipped]).await?;
    ensure!(split.contains("split: INC-1 -> INC-1, INC-2 (alerts: 2"), "{split}");
    let merged = quell(&["replay", "--alerts", &file, "--compare", &other, "--truth", "nothing"]).await?;
    ensure!(merged.contains("merged: INC-1, INC-2 -> INC-1") && !merged.contains("against the label"), "{merged}");
    Ok(())
}
