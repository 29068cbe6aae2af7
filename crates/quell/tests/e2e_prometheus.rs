//! End to end with the real senders: a rule of Prometheus fires and the incident opens; it stops and the incident
//! resolves. Once as Prometheus pushes to quell itself, once by way of Alertmanager's webhook.
//!
//! Absent on purpose: a mock of either, and a way to skip when one is missing.

mod support;

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};
use support::{Metric, Program, Quell, eventually, fresh_folder, server};

/// Two CIs: the database that the metric is about, and the service that depends on it.
fn topology() -> Value {
    json!({
        "cis": [
            {"id": "db-1", "kind": "database", "name": "db-1", "criticality": "high"},
            {"id": "checkout", "kind": "service", "name": "Checkout", "owner": "shop", "criticality": "critical"},
        ],
        "relationships": [{"from": "checkout", "to": "db-1", "kind": "depends_on"}],
    })
}

/// A Prometheus that scrapes `metric` as the instance `db-1` five times a second, and pushes to `receiver`.
fn prometheus(folder: &Path, metric: &Metric, receiver: &str) -> anyhow::Result<Program> {
    let config = format!(
        "global:\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\n  evaluation_interval: 200ms\n\
         rule_files: [rules.yml]\n\
         scrape_configs:\n  - job_name: database\n    static_configs:\n      \
         - targets: ['{}']\n        labels: {{instance: 'db-1:5432'}}\n\
         alerting:\n  alertmanagers:\n    - static_configs:\n        - targets: ['{receiver}']\n",
        metric.address,
    );
    fs::write(folder.join("prometheus.yml"), config).context("write prometheus.yml")?;
    let rules = "groups:\n  - name: database\n    rules:\n      - alert: DatabaseDown\n        expr: database_up == 0\n        \
                 labels: {severity: critical}\n        annotations: {summary: 'The database {{ $labels.instance }} is down'}\n";
    fs::write(folder.join("rules.yml"), rules).context("write rules.yml")?;
    let args = [
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=prometheus",
        "--web.listen-address=127.0.0.1:0",
        "--rules.alert.resend-delay=1s",
    ];
    let path = server("QUELL_PROMETHEUS", &["prometheus"])?;
    Program::start("prometheus", &path, &args.map(String::from), folder)
}

/// An Alertmanager that tells quell's webhook at once, and how to reach it.
async fn alertmanager(folder: &Path, quell: &Quell) -> anyhow::Result<(Program, String)> {
    let config = format!(
        "route:\n  receiver: quell\n  group_by: [alertname]\n  group_wait: 0s\n  group_interval: 1s\n\
         receivers:\n  - name: quell\n    webhook_configs:\n      \
         - url: '{}/api/v1/webhooks/alertmanager'\n        send_resolved: true\n",
        quell.url,
    );
    fs::write(folder.join("alertmanager.yml"), config).context("write alertmanager.yml")?;
    let args = [
        "--config.file=alertmanager.yml",
        "--storage.path=alertmanager",
        "--web.listen-address=127.0.0.1:0",
        "--cluster.listen-address=",
    ];
    let path = server("QUELL_ALERTMANAGER", &["prometheus-alertmanager", "alertmanager"])?;
    let program = Program::start("alertmanager", &path, &args.map(String::from), folder)?;
    let address = program.address_after("\"Listening on\" address=").await?;
    Ok((program, address.to_string()))
}

fn is_of_the_database(incident: &Value) -> bool {
    incident["alerts"][0]["labels"]["alertname"] == "DatabaseDown"
}

/// The whole story, whichever way the alerts come: down, open and bound; up again, resolved and nothing left open.
async fn check_story(quell: &Quell, metric: &Metric) -> anyhow::Result<()> {
    metric.set(0);
    let opened = quell.incident("open", is_of_the_database).await?;
    let alert = &opened["alerts"][0];
    assert_eq!(opened["alerts"].as_array().map(Vec::len), Some(1), "{opened:#}");
    assert_eq!(alert["ci"], "db-1", "{opened:#}");
    assert_eq!(alert["labels"]["severity"], "critical", "{opened:#}");
    assert_eq!(opened["causes"][0]["ci"], "db-1", "{opened:#}");
    assert_eq!(opened["blast_radius"]["cis"], 1, "{opened:#}");
    assert_eq!(opened["resolved_at"], Value::Null, "{opened:#}");

    metric.set(1);
    let resolved = quell.incident("resolved", is_of_the_database).await?;
    assert_eq!(resolved["id"], opened["id"], "{resolved:#}");
    assert_ne!(resolved["resolved_at"], Value::Null, "{resolved:#}");
    assert_ne!(resolved["alerts"][0]["ends_at"], Value::Null, "{resolved:#}");
    let open = quell.get("/api/v1/incidents?state=open").await?;
    assert_eq!(open["items"], json!([]), "{open:#}");
    Ok(())
}

#[tokio::test]
async fn prometheus_pushes_and_the_incident_opens_and_resolves() -> anyhow::Result<()> {
    let folder = fresh_folder("e2e-prometheus")?;
    let quell = Quell::start(&folder).await?;
    quell.put("/api/v1/topology", &topology()).await?;
    let metric = Metric::serve("database_up", 1).await?;
    let _prometheus = prometheus(&folder, &metric, quell.authority())?;

    check_story(&quell, &metric).await
}

#[tokio::test]
async fn alertmanager_tells_and_the_incident_opens_and_resolves() -> anyhow::Result<()> {
    let folder = fresh_folder("e2e-alertmanager")?;
    let quell = Quell::start(&folder).await?;
    quell.put("/api/v1/topology", &topology()).await?;
    let metric = Metric::serve("database_up", 1).await?;
    let (_alertmanager, receiver) = alertmanager(&folder, &quell).await?;
    let _prometheus = prometheus(&folder, &metric, &receiver)?;

    check_story(&quell, &metric).await
}

#[tokio::test]
async fn a_condition_that_holds_later_is_waited_for() -> anyhow::Result<()> {
    let mut looks = 0;
    let found = eventually("the third look", async || {
        looks += 1;
        anyhow::ensure!(looks == 3, "only {looks}");
        Ok(looks)
    })
    .await?;
    assert_eq!(found, 3);
    Ok(())
}
