//! The pages: the list of incidents and one incident, rendered here and complete without any script.
//!
//! Absent on purpose: markup in code. Templates escape whatever is put into them.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use quell_domain::{Alert, AlertState, Cause, Incident, IncidentId, IncidentState, TimelineEntry, Timestamp};
use quell_store::{IncidentDetail, IncidentQuery};

use crate::App;
use crate::again::again;
use crate::answer::Problem;
use crate::commands::incident_id;
use crate::hygiene::{self, Hygiene};
use crate::params::{DEFAULT_LIMIT, MAX_LIMIT, Params};
use crate::problems::{self, Like};
use crate::region;
use crate::shards;

const CSS: &str = include_str!("../assets/app.css");
const JS: &str = include_str!("../assets/app.js");
/// Alerts shown on an incident's page.
const ALERTS: u32 = 200;
/// More records than this waiting to be decided are worth a word on every page.
const LAG_WORTH_SAYING: u64 = 1_000;

/// What every page has.
pub(crate) struct Frame {
    pub(crate) title: String,
    /// What is wrong with quell itself; empty when nothing is.
    pub(crate) warnings: Vec<String>,
    pub(crate) now: Timestamp,
    pub(crate) version: &'static str,
}

impl Frame {
    pub(crate) fn new(app: &App, title: impl Into<String>) -> Self {
        let health = app.api.live.health();
        let mut warnings: Vec<String> =
            health.not_ready.into_iter().map(|why| format!("Alerts are refused: {why}")).collect();
        warnings.extend(health.degraded);
        if health.lag_records >= LAG_WORTH_SAYING {
            warnings.push(format!("{} requests are safe but not yet decided", health.lag_records));
        }
        Frame { title: title.into(), warnings, now: (app.api.now)(), version: env!("CARGO_PKG_VERSION") }
    }

    /// How many whole days ago, for people.
    fn days(&self, at: &Timestamp) -> String {
        match self.now.since(*at).as_secs() / 86_400 {
            0 => "less than a day ago".into(),
            1 => "a day ago".into(),
            days => format!("{days} days ago"),
        }
    }

    /// How long ago, for people.
    pub(crate) fn ago(&self, at: &Timestamp) -> String {
        match self.now.since(*at).as_secs() {
            0..5 => "just now".into(),
            seconds @ ..90 => format!("{seconds} s ago"),
            seconds @ ..5_400 => format!("{} min ago", seconds / 60),
            seconds @ ..129_600 => format!("{} h ago", seconds / 3_600),
            seconds => format!("{} d ago", seconds / 86_400),
        }
    }
}

/// A tab of the list.
struct Tab {
    word: &'static str,
    current: bool,
}

#[derive(Template)]
#[template(path = "incidents.html")]
struct ListPage {
    frame: Frame,
    tabs: Vec<Tab>,
    state: &'static str,
    incidents: Vec<Incident>,
    first: bool,
    next: Option<String>,
    host: String,
    /// What recurs of each incident.
    again: BTreeMap<IncidentId, String>,
    /// The label that says where an incident is, where there are several shards.
    label: Option<String>,
    regions: BTreeMap<IncidentId, String>,
}

impl ListPage {
    fn recurs(&self, incident: &Incident) -> Option<&String> {
        self.again.get(&incident.id)
    }

    fn region(&self, incident: &Incident) -> &str {
        self.regions.get(&incident.id).map_or("", String::as_str)
    }
}

#[derive(Template)]
#[template(path = "incident.html")]
struct IncidentPage {
    frame: Frame,
    incident: Incident,
    alerts: Vec<Alert>,
    timeline: Vec<TimelineEntry>,
    merged: Vec<IncidentId>,
    split: Vec<IncidentId>,
    like: Option<Like>,
    /// What recurs of it, in a few words.
    again: Option<String>,
    /// The label that says where it is, and what that says.
    region: Option<(String, String)>,
}

#[derive(Template)]
#[template(path = "hygiene.html")]
struct HygienePage {
    frame: Frame,
    list: Hygiene,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    frame: Frame,
    message: String,
}

/// `GET /`.
pub(crate) async fn incidents(State(app): State<Arc<App>>, uri: Uri, headers: axum::http::HeaderMap) -> Response {
    let page = async {
        let params = Params::read(&uri, &["state", "limit", "cursor"])?;
        let words = [("open", "open"), ("resolved", "resolved"), ("all", "all")];
        let state = params.choice("state", &words, "open")?;
        let from = shards::cursor(&app.api.sharding, &params, "the next of an earlier page")?;
        let limit = params.limit(DEFAULT_LIMIT, MAX_LIMIT)?;
        let wanted = match state {
            "open" => Some(IncidentState::Open),
            "resolved" => Some(IncidentState::Resolved),
            _ => None,
        };
        let first = from.is_none();
        let ask = |shard, before, limit| app.api.store.incidents(shard, IncidentQuery { state: wanted, before, limit });
        let listed = shards::page(&app.api.sharding, from, limit, ask).await?;
        let (next, incidents) = (listed.next.clone(), listed.items());
        let tabs = words.map(|(word, _)| Tab { word, current: word == state }).into();
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost").to_owned();
        let (frame, again) = (Frame::new(&app, "Incidents"), again(&app, &incidents).await?);
        let (label, regions) = (app.api.sharding.label().map(str::to_owned), region::regions(&app, &incidents).await?);
        Ok(ListPage { frame, tabs, state, incidents, first, next, host, again, label, regions })
    };
    show(&app, page.await)
}

/// `GET /incidents/{id}`.
pub(crate) async fn incident(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    let page = async {
        let known = incident_id(&app, &id)?;
        let detail = app.api.store.incident(app.api.of(known.shard), known, ALERTS).await?;
        let detail = detail.ok_or_else(|| Problem::not_found("incident", &id))?;
        let frame = Frame::new(&app, format!("{} {}", detail.incident.id, detail.incident.title));
        let like = problems::like(&app, detail.incident.id).await?;
        let again = again(&app, std::slice::from_ref(&detail.incident)).await?.into_values().next();
        let IncidentDetail { incident, alerts, timeline, merged, split } = detail;
        let region = app.api.sharding.label().map(|label| (label.to_owned(), region::said(label, &alerts)));
        Ok(IncidentPage { frame, incident, alerts, timeline, merged, split, like, again, region })
    };
    show(&app, page.await)
}

/// `GET /hygiene`.
pub(crate) async fn hygiene(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let page = async {
        Params::read(&uri, &[])?;
        let list = hygiene::make(&app, hygiene::LISTED as usize).await?;
        Ok(HygienePage { frame: Frame::new(&app, "Hygiene"), list })
    };
    show(&app, page.await)
}

/// A page that says why something was refused.
pub(crate) fn refused(app: &App, problem: Problem) -> Response {
    let page = ProblemPage { frame: Frame::new(app, "That did not work"), message: problem.message.to_string() };
    match page.render() {
        Ok(html) => problem.answer_with(([(header::CONTENT_TYPE, "text/html; charset=utf-8")], html)),
        Err(_) => problem.into_response(),
    }
}

pub(crate) fn show(app: &App, page: Result<impl Template, Problem>) -> Response {
    match page.map(|page| page.render()) {
        Ok(Ok(html)) => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response(),
        Ok(Err(error)) => {
            tracing::error!(%error, "a page cannot be rendered");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the page cannot be rendered").into_response()
        }
        Err(problem) => refused(app, problem),
    }
}

/// `GET /assets/app.css`.
pub(crate) async fn css() -> Response {
    asset("text/css; charset=utf-8", CSS)
}

/// `GET /assets/app.js`.
pub(crate) async fn js() -> Response {
    asset("text/javascript; charset=utf-8", JS)
}

/// Pages name assets with the version, so a browser may keep them until quell is updated.
fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=3600")], text).into_response()
}

/// A share of 1 as whole per cent.
fn percent(share: &f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// The address, when it is one that a browser may follow safely, and its host.
fn link(value: &str) -> Option<(&str, &str)> {
    let rest = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"))?;
    let host = rest.split(['/', '?', '#']).next().filter(|host| !host.is_empty() && !host.contains('@'))?;
    value.bytes().all(|byte| byte.is_ascii_graphic()).then_some((value, host))
}

/// How long an incident of the past was open.
fn minutes(past: &quell_domain::PastIncident) -> String {
    match past.cost().minutes() {
        minutes if minutes < 1.0 => "less than a minute".to_owned(),
        minutes if minutes < 90.0 => format!("{minutes:.0} min"),
        minutes => format!("{:.1} h", minutes / 60.0),
    }
}

fn is_open(incident: &Incident) -> bool {
    incident.state == IncidentState::Open
}

/// True when an operator may move alerts and judge causes.
fn can_change(incident: &Incident) -> bool {
    incident.merged_into.is_none() && incident.alerts > 0
}

/// True when something of it can be taken back.
fn can_undo(incident: &Incident) -> bool {
    incident.merged_into.is_some() || incident.split_from.is_some() || !incident.acts.is_empty()
}

fn fires(alert: &Alert) -> bool {
    alert.state == AlertState::Firing
}

fn first_cause(incident: &Incident) -> Option<&Cause> {
    incident.causes.first()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_only_where_a_browser_is_safe() {
        for (value, host) in [
            ("https://runbooks.example/db?x=1#y", Some("runbooks.example")),
            ("http://10.0.0.1:9090/graph", Some("10.0.0.1:9090")),
            ("javascript:alert(1)", None),
            ("data:text/html,x", None),
            ("//evil.example", None),
            ("https://", None),
            ("https://trusted.example@evil.example/", None),
            ("https://evil.example/ onclick=x", None),
        ] {
            assert_eq!(link(value).map(|(_, host)| host), host, "{value}");
        }
    }

    #[test]
    fn ages_in_words() {
        let now = Timestamp::from_seconds(1_000_000);
        let frame = Frame { title: String::new(), warnings: vec![], now, version: "" };
        for (seconds, expected) in [
            (0, "just now"),
            (-60, "just now"),
            (60, "60 s ago"),
            (120, "2 min ago"),
            (7_200, "2 h ago"),
            (259_200, "3 d ago"),
        ] {
            assert_eq!(frame.ago(&Timestamp::from_seconds(1_000_000 - seconds)), expected);
        }
    }
}
