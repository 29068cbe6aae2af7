//! What should be put right so that alerts find their CIs: `GET /api/v1/hygiene` and its page.
//!
//! Absent on purpose: judging a topology (`quell-cmdb`); here its list meets the alerts.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use quell_cmdb::{Duplicate, Graph, Part};
use quell_domain::{Alert, Lifecycle, Relationship, Timestamp};
use quell_store::AlertQuery;
use serde_json::{Value, json};

use crate::App;
use crate::answer::Problem;
use crate::params::Params;
use crate::shards;

/// Items of each list when nothing is asked.
pub(crate) const LISTED: u32 = 20;
/// Items of each list at most.
const MOST: u32 = 1_000;
/// The newest alerts that are looked at, bound and unbound ones each.
const ALERTS: u32 = 10_000;

/// Alerts of one source and name that are bound to nothing for one reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unbound {
    pub(crate) source: &'static str,
    pub(crate) name: String,
    /// The label that an ambiguous name stood in; empty where no label named any CI.
    pub(crate) label: String,
    /// Why, as told of the newest of them.
    pub(crate) why: String,
    pub(crate) alerts: u64,
    /// Labels of the newest of them that may be meant for a CI.
    pub(crate) example: String,
}

/// A retired CI that alerts are about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Retired {
    pub(crate) ci: String,
    pub(crate) alerts: u64,
    pub(crate) last: Timestamp,
}

/// The whole list.
#[derive(Clone, Debug)]
pub(crate) struct Hygiene {
    /// By how many alerts there are, the most first.
    pub(crate) unbound: Part<Unbound>,
    pub(crate) unbound_alerts: u64,
    pub(crate) retired: Part<Retired>,
    pub(crate) graph: quell_cmdb::Hygiene,
    /// How many alerts were looked at.
    pub(crate) looked_at: u64,
    /// True when there are more alerts than were looked at.
    pub(crate) cut: bool,
}

/// Makes the list, of `most` items each.
pub(crate) async fn make(app: &App, most: usize) -> Result<Hygiene, Problem> {
    // One at a time: a large graph takes a second.
    let _turn = app.tidying.lock().await;
    let newest = async |bound| {
        let query = |before, limit| AlertQuery { bound: Some(bound), before, limit, ..AlertQuery::default() };
        let ask = |shard, before, limit| app.api.store.alerts(shard, query(before, limit));
        shards::page::<Alert>(&app.api.sharding, None, ALERTS, ask).await
    };
    let (unbound, bound) = (newest(false).await?, newest(true).await?);
    let looked_at = (unbound.rows.len() + bound.rows.len()) as u64;
    let cut = unbound.next.is_some() || bound.next.is_some();
    let (mut unbound, bound) = (unbound.items(), bound.items());
    unbound.retain(|alert| !suppressed(alert));
    let (graph, now) = (app.api.live.graph(), (app.api.now)());
    let made = tokio::task::spawn_blocking(move || Hygiene {
        unbound: group(&unbound, most),
        unbound_alerts: unbound.len() as u64,
        retired: retired(&graph, &bound, most),
        graph: graph.hygiene(now, most),
        looked_at,
        cut,
    });
    made.await.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "it could not be put together"))
}

/// What a rule keeps from every incident needs no CI.
fn suppressed(alert: &Alert) -> bool {
    alert.membership.as_ref().is_some_and(|reason| reason.code == "suppressed")
}

/// Alerts come newest first.
fn group(alerts: &[Alert], most: usize) -> Part<Unbound> {
    let mut groups: BTreeMap<(&'static str, &str, &str, &str), Unbound> = BTreeMap::new();
    for alert in alerts {
        let fact = |name: &str| {
            let facts = alert.unbound.as_ref().map(|reason| &reason.facts);
            let found = facts.into_iter().flatten().find(|(known, _)| *known == name);
            found.and_then(
                |(_, fact)| if let quell_domain::Fact::Text(text) = fact { Some(text.as_str()) } else { None },
            )
        };
        let label = fact("label").unwrap_or_default();
        let code = alert.unbound.as_ref().map_or("", |reason| &*reason.code);
        let group = groups.entry((alert.source.as_str(), alert.name(), label, code)).or_insert_with(|| Unbound {
            source: alert.source.as_str(),
            name: alert.name().to_owned(),
            label: label.to_owned(),
            why: alert.unbound.as_ref().map(ToString::to_string).unwrap_or_default(),
            alerts: 0,
            example: example(alert),
        });
        group.alerts += 1;
    }
    let mut groups: Vec<Unbound> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.alerts));
    let mut part = Part::default();
    groups.into_iter().for_each(|group| part.add(|| group, most));
    part
}

/// Labels that name things, and not the alert.
fn example(alert: &Alert) -> String {
    const NOT_THINGS: [&str; 5] = ["alertname", "severity", "job", "monitor", "prometheus"];
    const SHOWN: usize = 4;
    let things = alert.labels.iter().filter(|(name, _)| !NOT_THINGS.contains(name));
    things.take(SHOWN).map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

fn retired(graph: &Graph, alerts: &[Alert], most: usize) -> Part<Retired> {
    let mut found: BTreeMap<&str, Retired> = BTreeMap::new();
    for alert in alerts {
        let Some(binding) = &alert.binding else { continue };
        let is_retired = |ix| graph.ci(ix).lifecycle == Lifecycle::Retired;
        if !graph.find(&binding.ci).is_some_and(is_retired) {
            continue;
        }
        let (ci, last) = (binding.ci.to_string(), alert.last_seen);
        let one = found.entry(binding.ci.as_str()).or_insert(Retired { ci, alerts: 0, last });
        one.alerts += 1;
        one.last = one.last.max(last);
    }
    let mut found: Vec<Retired> = found.into_values().collect();
    found.sort_by_key(|one| std::cmp::Reverse(one.alerts));
    let mut part = Part::default();
    found.into_iter().for_each(|one| part.add(|| one, most));
    part
}

/// `GET /api/v1/hygiene`.
pub(crate) async fn hygiene(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Value>, Problem> {
    let most = Params::read(&uri, &["limit"])?.limit(LISTED, MOST)?;
    let Hygiene { unbound, unbound_alerts, retired, graph, looked_at, cut } = make(&app, most as usize).await?;
    let quell_cmdb::Hygiene { duplicates, ownerless, stale, retired: retired_cis } = graph;
    let unbound = part(
        &unbound,
        |Unbound { source, name, label, why, alerts, example }| json!({"source": source, "name": name, "label": label, "why": why, "alerts": alerts, "example": example}),
    );
    let retired = part(
        &retired,
        |Retired { ci, alerts, last }| json!({"ci": ci, "alerts": alerts, "last_seen": last.to_string()}),
    );
    let duplicates = part(
        &duplicates,
        |Duplicate { name, cis, count }| json!({"name": name, "cis": cis.iter().map(|id| id.as_str()).collect::<Vec<_>>(), "count": count}),
    );
    let stale = part(&stale, |Relationship { from, to, kind, last_seen, source, redundancy: _, ttl: _ }| {
        let seen = last_seen.map(|at| at.to_string());
        json!({"from": from.as_str(), "to": to.as_str(), "kind": kind, "last_seen": seen, "source": source.as_deref()})
    });
    Ok(Json(json!({
        "alerts_looked_at": looked_at,
        "alerts_cut": cut,
        "unbound_alerts": unbound_alerts,
        "unbound": unbound,
        "retired_that_alert": retired,
        "retired_cis": retired_cis.total,
        "duplicates": duplicates,
        "ownerless": part(&ownerless, |id| json!(id.as_str())),
        "stale_relationships": stale,
    })))
}

fn part<T>(part: &Part<T>, show: impl Fn(&T) -> Value) -> Value {
    json!({"total": part.total, "first": part.first.iter().map(show).collect::<Vec<_>>()})
}
