//! `quell explain`: the whole chain of one incident or alert, from the request that brought it to what was made of it.
//!
//! The documents of the API are all it needs: from a running server, or made of the store in a data directory. Absent
//! on purpose: decisions; it tells what was decided and why.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use quell_domain::{AlertId, Fingerprint, IncidentId, Shard};
use quell_formats::database::Database;
use quell_formats::views;
use quell_store::{AlertQuery, IncidentDetail, Store};
use serde_json::Value;

use crate::stores;

/// Alerts of an incident that are explained one by one.
const ALERTS: usize = 20;

/// Alerts that are read of one incident.
const READ: u32 = 1_000;

/// How long a server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where decisions are remembered.
pub enum Source {
    /// A running server.
    Server {
        /// `http://127.0.0.1:9099`.
        url: String,
        /// Asks it.
        client: reqwest::Client,
    },
    /// A store, whether or not a process writes to it.
    Store(Arc<dyn Store>),
}

/// What is to be explained.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// `INC-7`.
    Incident(IncidentId),
    /// The number of an alert.
    Alert(AlertId),
    /// Every episode of a fingerprint.
    Fingerprint(Fingerprint),
}

impl std::str::FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let incident = text.parse().map(Subject::Incident);
        let fingerprint = text.parse().map(Subject::Fingerprint);
        incident
            .or(fingerprint)
            .or(text.parse().map(|number| Subject::Alert(AlertId(number))))
            .map_err(|_| "found neither an incident (INC-7), nor an alert (42), nor a fingerprint (32 digits)".into())
    }
}

impl Source {
    /// The server at an address, or the store in a database or a directory.
    ///
    /// # Errors
    /// When the store cannot be read, or none is named.
    pub async fn open(
        url: Option<String>,
        database: Option<Database>,
        directory: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        match (url, directory) {
            (Some(url), _) => {
                // Fails only when it is installed already, which is as good.
                let _ = rustls::crypto::ring::default_provider().install_default();
                let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
                Ok(Source::Server { url: url.trim_end_matches('/').to_owned(), client })
            }
            (None, None) if database.is_none() => bail!("nowhere to look: name --url, --store or --data-dir"),
            (None, directory) => {
                let directory = directory.unwrap_or_default();
                Ok(Source::Store(stores::open_read_only(&directory, database.as_ref()).await?))
            }
        }
    }

    /// The incident as the API shows it; `None` when there is none.
    async fn incident(&self, id: IncidentId) -> anyhow::Result<Option<Value>> {
        match self {
            Source::Server { url, client } => get(client, &format!("{url}/api/v1/incidents/{id}")).await,
            Source::Store(store) => {
                let shard = Shard { number: id.shard, ..Shard::FIRST };
                let detail = store.incident(shard, id, READ).await?;
                Ok(detail.map(|detail| {
                    let IncidentDetail { incident, alerts, timeline, merged, split } = detail;
                    let mut shown = serde_json::json!(views::incident_json(&incident, &alerts, &timeline));
                    let names = |ids: &[IncidentId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
                    shown["merged"] = names(&merged).into();
                    shown["split"] = names(&split).into();
                    shown
                }))
            }
        }
    }

    /// Alerts as the API shows them.
    async fn alerts(&self, subject: Subject) -> anyhow::Result<Vec<Value>> {
        let (before, fingerprint, limit) = match subject {
            Subject::Alert(AlertId(number)) => (Some(number.saturating_add(1)), None, 1),
            Subject::Fingerprint(fingerprint) => (None, Some(fingerprint), 100),
            Subject::Incident(_) => return Ok(Vec::new()),
        };
        let found = match self {
            Source::Server { url, client } => {
                let cursor = before.map(|before| format!("&cursor={before}")).unwrap_or_default();
                let print = fingerprint.map(|print| format!("&fingerprint={print}")).unwrap_or_default();
                let list = get(client, &format!("{url}/api/v1/alerts?limit={limit}{cursor}{print}")).await?;
                let list = list.context("the server has no list of alerts: is it quell?")?;
                list["items"].as_array().cloned().unwrap_or_default()
            }
            Source::Store(store) => {
                let query = AlertQuery { fingerprint, before: before.map(AlertId), limit, ..AlertQuery::default() };
                // Each shard counts its alerts by itself, so of a number there may be one in each.
                let mut found = Vec::new();
                for shard in store.sharding().await?.unwrap_or_default().shards() {
                    let page = store.alerts(shard, query.clone()).await?;
                    found.extend(page.items.iter().map(|alert| serde_json::json!(views::alert_json(alert))));
                }
                found
            }
        };
        let wanted = |alert: &Value| match subject {
            Subject::Alert(AlertId(number)) => alert["id"].as_u64() == Some(number),
            Subject::Fingerprint(_) | Subject::Incident(_) => true,
        };
        Ok(found.into_iter().filter(wanted).collect())
    }
}

/// A document of the API; `None` for 404.
async fn get(client: &reqwest::Client, url: &str) -> anyhow::Result<Option<Value>> {
    let answer = client.get(url).send().await.with_context(|| format!("GET {url}"))?;
    let (status, body) = (answer.status(), answer.text().await.with_context(|| format!("GET {url}"))?);
    match status.as_u16() {
        404 => Ok(None),
        200 => Ok(Some(serde_json::from_str(&body).with_context(|| format!("GET {url}: not JSON"))?)),
        _ => bail!("GET {url}: {status}: {}", body.chars().take(300).collect::<String>()),
    }
}

/// The chain in words.
///
/// # Errors
/// When there is nothing of that name, or what remembers it cannot be asked.
pub async fn run(source: &Source, subject: Subject) -> anyhow::Result<String> {
    let mut out = String::new();
    match subject {
        Subject::Incident(id) => {
            let incident = source.incident(id).await?.with_context(|| format!("there is no incident {id}"))?;
            tell_incident(&mut out, &incident);
            let alerts = incident["alerts"].as_array().map(Vec::as_slice).unwrap_or_default();
            for alert in alerts.iter().take(ALERTS) {
                tell_alert(&mut out, alert);
            }
            let total = incident["alerts_total"].as_u64().unwrap_or_default();
            let shown = alerts.len().min(ALERTS) as u64;
            if total > shown {
                say(&mut out, 0, &format!("\n… {} more alerts; `quell explain NUMBER` explains each", total - shown));
            }
        }
        Subject::Alert(_) | Subject::Fingerprint(_) => {
            let alerts = source.alerts(subject).await?;
            if alerts.is_empty() {
                bail!("there is no such alert");
            }
            for alert in &alerts {
                tell_alert(&mut out, alert);
                let id = alert["incident"].as_str().and_then(|id| id.parse().ok());
                if let Some(id) = id
                    && let Some(incident) = source.incident(id).await?
                {
                    out.push('\n');
                    tell_incident(&mut out, &incident);
                }
            }
        }
    }
    Ok(out)
}

fn say(out: &mut String, depth: usize, text: &str) {
    writeln!(out, "{}{text}", "  ".repeat(depth)).expect("writing to a string does not fail");
}

/// A text of a document, for people.
fn word<'a>(value: &'a Value, absent: &'a str) -> &'a str {
    value.as_str().unwrap_or(absent)
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A share as per cent.
fn percent(value: &Value) -> String {
    format!("{:.0} %", value.as_f64().unwrap_or_default() * 100.0)
}

fn tell_incident(out: &mut String, incident: &Value) {
    let text = |name: &str| word(&incident[name], "-").to_owned();
    say(out, 0, &format!("{} {} {}: {}", text("id"), text("priority"), text("state"), text("title")));
    say(out, 1, &format!("impact {}, urgency {}", text("impact"), text("urgency")));
    say(out, 1, &format!("began {}, opened {}", text("started_at"), text("opened_at")));
    if let Some(at) = incident["acknowledged_at"].as_str() {
        say(out, 1, &format!("acknowledged {at} by {}", text("acknowledged_by")));
    }
    if let Some(at) = incident["resolved_at"].as_str() {
        say(out, 1, &format!("resolved {at} by {}", word(&incident["resolved_by"], "itself")));
    }
    for (name, template) in [("merged_into", "merged into"), ("split_from", "split off from")] {
        if let Some(other) = incident[name].as_str() {
            say(out, 1, &format!("{template} {other}"));
        }
    }
    for (name, template) in [("merged", "merged into it:"), ("split", "split off from it:")] {
        let others: Vec<&str> = items(&incident[name]).iter().filter_map(Value::as_str).collect();
        if !others.is_empty() {
            say(out, 1, &format!("{template} {}", others.join(", ")));
        }
    }
    say(out, 1, "revisions:");
    for entry in items(&incident["timeline"]) {
        let (at, actor, text) = (word(&entry["at"], "-"), word(&entry["actor"], "-"), word(&entry["text"], "-"));
        say(out, 2, &format!("{at} {actor} [{}] {text}", word(&entry["kind"], "-")));
    }
    let causes = items(&incident["causes"]);
    say(out, 1, if causes.is_empty() { "causes: none stands out" } else { "causes:" });
    for (rank, cause) in (1..).zip(causes) {
        say(out, 2, &format!("{rank}. {} {} of the belief", word(&cause["ci"], "-"), percent(&cause["score"])));
        for evidence in items(&cause["evidence"]) {
            let text = word(&evidence["text"], "-");
            let sign = if text.starts_with("against it") { '-' } else { '+' };
            say(out, 3, &format!("{sign} {text}"));
        }
    }
    for said in items(&incident["verdicts"]) {
        let right = if said["right"] == true { "is" } else { "is not" };
        say(out, 2, &format!("{} said that {} {right} the cause", word(&said["by"], "-"), word(&said["ci"], "-")));
    }
    let radius = &incident["blast_radius"];
    let more = if radius["partial"] == true { ", or more: the count stopped at its limit" } else { "" };
    say(out, 1, &format!("blast radius: {} CIs may degrade{more}", radius["cis"]));
    for service in items(&radius["services"]).iter().take(ALERTS) {
        let owner = word(&service["owner"], "nobody named");
        let (name, criticality) = (word(&service["name"], "-"), word(&service["criticality"], "-"));
        say(out, 2, &format!("{name} ({criticality}, owner: {owner})"));
    }
    let (total, firing) = (&incident["alerts_total"], &incident["alerts_firing"]);
    say(out, 1, &format!("alerts: {total}, {firing} firing"));
}

fn tell_alert(out: &mut String, alert: &Value) {
    let text = |name: &str| word(&alert[name], "-").to_owned();
    out.push('\n');
    say(out, 0, &format!("alert {} {} {}: {}", alert["id"], text("severity"), text("state"), text("name")));
    let receipt = word(&alert["receipt"], "an unknown request");
    let (item, source) = (&alert["item"], text("source"));
    say(out, 1, &format!("received     {} by {receipt}, item {item}, from {source}", text("first_seen")));
    let labels: Vec<String> = alert["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", word(value, "")))
        .collect();
    say(out, 1, &format!("identified   {} from {}", text("fingerprint"), labels.join(" ")));
    say(
        out,
        1,
        &format!(
            "deduplicated {} times received, first {}, last {}",
            alert["count"],
            text("first_seen"),
            text("last_seen")
        ),
    );
    match alert["binding"].as_object() {
        Some(binding) => {
            let why = word(&binding["reason"]["text"], "-");
            let sure = percent(&binding["confidence"]);
            say(out, 1, &format!("bound        to {}, {sure} sure: {why}", text("ci")));
        }
        None => say(out, 1, &format!("not bound    {}", word(&alert["unbound"]["text"], "-"))),
    }
    match (alert["incident"].as_str(), alert["reason"].as_object()) {
        (Some(incident), Some(reason)) => {
            let (code, why) = (word(&reason["code"], "-"), word(&reason["text"], "-"));
            let verb = if code == "opened" { "opened" } else { "joined" };
            say(out, 1, &format!("{verb:12} {incident} [{code}] {why}"));
            for (name, fact) in reason["facts"].as_object().into_iter().flatten() {
                let fact = fact.as_str().map_or_else(|| fact.to_string(), ToOwned::to_owned);
                say(out, 2, &format!("             {name} = {fact}"));
            }
        }
        (Some(incident), None) => say(out, 1, &format!("joined       {incident}")),
        (None, Some(reason)) => say(out, 1, &format!("suppressed   {}", word(&reason["text"], "-"))),
        (None, None) => say(out, 1, "in no incident"),
    }
    let ended = alert["ends_at"].as_str().map(|at| format!(", ended {at}")).unwrap_or_default();
    say(out, 1, &format!("condition    began {}{ended}", text("starts_at")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_an_incident_an_alert_or_a_fingerprint() {
        let incident = IncidentId { shard: 0, number: 7 };
        assert_eq!("INC-7".parse(), Ok(Subject::Incident(incident)));
        assert_eq!("42".parse(), Ok(Subject::Alert(AlertId(42))));
        let print = "0000000000000000000000000000feed";
        assert_eq!(print.parse(), Ok(Subject::Fingerprint(Fingerprint(0xfeed))));
        assert!("INC-x".parse::<Subject>().is_err_and(|why| why.contains("INC-7")));
    }
}
