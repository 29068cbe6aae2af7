//! A change told of and the alerts it brought, through the whole process: the list, the receipt, the cause's evidence,
//! the metrics, `quell explain`, and all of that again after the process was killed.
//!
//! Absent on purpose: how evidence is weighed (`quell-engine/tests/changes.rs`).

mod support {
    pub(crate) mod process;
}

use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use support::process::{Process, fresh_folder, serve};

const KEY: &str = "0123456789abcdef0123456789abcdef";

async fn start(folder: &Path) -> anyhow::Result<Process> {
    Process::start(serve(&[], &folder.join("data")), &folder.join("quell.log")).await
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

/// Tells of a change; its receipt.
async fn tell(quell: &Process, details: Value, expected: u16) -> anyhow::Result<String> {
    let payload = json!({"summary": "Deploy checkout 7", "source": "jenkins", "custom_details": details});
    let body = json!({"routing_key": KEY, "payload": payload}).to_string();
    let answer = quell.post("/v2/change/enqueue", body).await?;
    ensure!(answer.status().as_u16() == expected, "{}", answer.status());
    let receipt = answer.headers().get("x-quell-receipt").context("a receipt")?.to_str()?.to_owned();
    Ok(receipt)
}

/// The evidence of its changes that an incident's causes name, once it was judged: `CI: sentence`.
async fn evidence(quell: &Process) -> anyhow::Result<Vec<String>> {
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(50));
    for _ in 0..400 {
        ticks.tick().await;
        let listed = quell.get("/api/v1/incidents").await?;
        let Some(incident) = listed["items"].get(0) else { continue };
        let mut said = Vec::new();
        for cause in incident["causes"].as_array().into_iter().flatten() {
            let of_changes = cause["evidence"].as_array().into_iter().flatten().filter(|e| e["code"] == "change");
            said.extend(of_changes.map(|e| format!("{}: {}", cause["ci"], e["text"])));
        }
        if !said.is_empty() {
            return Ok(said);
        }
    }
    anyhow::bail!("no cause has a change for evidence within 20 s")
}

#[tokio::test]
async fn a_change_told_of_outlives_a_restart_and_is_evidence() -> anyhow::Result<()> {
    let folder = fresh_folder("changes")?;
    let mut server = start(&folder).await?;
    let topology = json!({
        "cis": [
            {"id": "web", "kind": "service"}, {"id": "checkout", "kind": "service"}, {"id": "db", "kind": "database"}
        ],
        "relationships": [{"from": "web", "to": "checkout"}, {"from": "checkout", "to": "db"}],
    });
    let put = server.client.put(format!("{}/api/v1/topology", server.url)).body(topology.to_string()).send().await?;
    ensure!(put.status().is_success(), "{}", put.status());
    let receipt = tell(&server, json!({"service": "checkout"}), 202).await?;
    ensure!(tell(&server, json!({"service": "checkout"}), 202).await? != receipt, "each request has a receipt");
    tell(&server, json!({"repository": "acme/website"}), 202).await?;
    tell(&server, json!("no object"), 400).await?;
    done(&server).await?;
    check(&server, &receipt).await?;
    let metrics = server.client.get(format!("{}/metrics", server.url)).send().await?.text().await?;
    for line in [
        "quell_changes_received_total 4",
        "quell_changes_disposed_total{disposition=\"bound\"} 1",
        "quell_changes_disposed_total{disposition=\"repeated\"} 1",
        "quell_changes_disposed_total{disposition=\"unbound\"} 1",
        "quell_changes_disposed_total{disposition=\"rejected\"} 1",
        "quell_alerts_received_total 0",
    ] {
        ensure!(metrics.contains(line), "{line:?} is not in\n{metrics}");
    }
    server.kill().await?;
    // What was changed before is known again, and the alerts come only now.
    let server = start(&folder).await?;
    check(&server, &receipt).await?;
    let alert = |service: &str| json!({"labels": {"alertname": "Errors", "service": service}});
    let alerts = json!([alert("web"), alert("checkout")]).to_string();
    ensure!(server.post("/api/v2/alerts", alerts).await?.status().is_success(), "alerts are taken");
    let said = evidence(&server).await?;
    ensure!(said.len() == 1 && said[0].starts_with("\"checkout\": \"it was changed "), "{said:?}");
    ensure!(said[0].ends_with(" s before the first alert: Deploy checkout 7 (by jenkins)\""), "{said:?}");
    let explained = tokio::process::Command::new(env!("CARGO_BIN_EXE_quell"))
        .args(["explain", "INC-1", "--url", &server.url])
        .output()
        .await?;
    let text = String::from_utf8_lossy(&explained.stdout);
    ensure!(text.contains("+ it was changed ") && text.contains("Deploy checkout 7 (by jenkins)"), "{text}");
    Ok(())
}

/// What is remembered of the changes, wherever it is asked for.
async fn check(server: &Process, receipt: &str) -> anyhow::Result<()> {
    let listed = server.get("/api/v1/changes?ci=checkout").await?;
    let found = (&listed["items"][0]["receipt"], &listed["items"][0]["summary"], &listed["items"][1]);
    ensure!(found == (&json!(receipt), &json!("Deploy checkout 7"), &Value::Null), "{listed}");
    let unbound = server.get("/api/v1/changes?bound=false").await?;
    ensure!(unbound["items"][0]["unbound"]["code"] == "no_match", "{unbound}");
    let told = server.get(&format!("/api/v1/receipts/{receipt}")).await?;
    ensure!(told["items"][0]["fate"] == "bound", "{told}");
    let parked = server.get("/api/v1/parked").await?;
    ensure!(parked["items"][0]["source"] == "pagerduty-change", "{parked}");
    Ok(())
}
