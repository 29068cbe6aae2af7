//! The pages of problems: their list, those that cost most first, and one problem with its evidence.
//!
//! Absent on purpose: markup in code, and deciding anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use quell_domain::{
    IncidentId, KnownSignature, Problem as Row, ProblemEntry, ProblemId, ProblemState, Recognition, Sign,
};
use quell_store::ProblemDetail;

use crate::App;
use crate::charts::Chart;
use crate::evidence::{Evidence, Toll, WhatIf};
use crate::forecasts::{self, Expected};
use crate::pages::{Frame, show};
use crate::params::Params;
use crate::problems::{self, took};

/// Problems on the page; the engine keeps no more in hand.
const LISTED: u32 = 1_000;
/// People who are named.
const NAMES: usize = 20;
/// Alerts of a signature that are shown.
const SIGNS: usize = 10;

struct Tab {
    word: &'static str,
    current: bool,
}

#[derive(Template)]
#[template(path = "problems.html")]
struct ListPage {
    frame: Frame,
    tabs: Vec<Tab>,
    state: String,
    problems: Vec<Row>,
    expected: BTreeMap<ProblemId, Expected>,
}

impl ListPage {
    fn expects(&self, row: &Row) -> Option<&Expected> {
        self.expected.get(&row.id)
    }
}

#[derive(Template)]
#[template(path = "problem_page.html")]
struct ProblemPage {
    frame: Frame,
    problem: Row,
    timeline: Vec<ProblemEntry>,
    signatures: Vec<KnownSignature>,
    told: u64,
    incidents: Vec<Recognition>,
    expected: Option<Expected>,
    toll: Toll,
    evidence: Evidence,
    gaps: Chart,
    curve: Chart,
}

/// `GET /problems`.
pub(crate) async fn list(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let page = async {
        let params = Params::read(&uri, &["state"])?;
        let (state, states) = problems::wanted(&params)?;
        let mut problems = problems::listed(&app, &states, None, LISTED).await?.items();
        let expected = forecasts::expected(&app, &problems).await?;
        forecasts::rank(&mut problems, &expected);
        let tabs = ["open", "settled", "all"].map(|word| Tab { word, current: word == state }).into();
        Ok(ListPage { frame: Frame::new(&app, "Problems"), tabs, state, problems, expected })
    };
    show(&app, page.await)
}

/// `GET /problems/{id}`.
pub(crate) async fn one(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    let page = async {
        let (detail, incidents) = problems::detail(&app, &id).await?;
        let (toll, evidence) = (problems::toll(&app, &detail, &incidents), Evidence::of(&app, &detail).await?);
        let (gaps, curve) = (evidence.gaps(), evidence.chart((app.api.now)()));
        let ProblemDetail { problem, timeline, signatures, told, involved: _ } = detail;
        let frame = Frame::new(&app, format!("{} {}", problem.id, problem.title));
        let expected = forecasts::expected(&app, std::slice::from_ref(&problem)).await?.remove(&problem.id);
        Ok(ProblemPage { frame, problem, timeline, signatures, told, incidents, expected, toll, evidence, gaps, curve })
    };
    show(&app, page.await)
}

/// Whole minutes or hours, for people.
fn long(minutes: f64) -> String {
    match minutes {
        minutes if minutes < 1.0 => "under a minute".to_owned(),
        minutes if minutes < 90.0 => format!("{minutes:.0} min"),
        minutes if minutes < 2880.0 => format!("{:.1} h", minutes / 60.0),
        minutes => format!("{:.1} d", minutes / 1440.0),
    }
}

fn open_for(row: &Row) -> String {
    long(row.cost.minutes())
}

fn lasted(row: &Recognition) -> String {
    took(row).map_or_else(|| "not over yet".to_owned(), long)
}

fn usual(row: &Row) -> Option<String> {
    row.usual_micros.map(|micros| long(micros as f64 / 60e6))
}

/// Its alerts, those in most of its incidents first.
fn signs(row: &KnownSignature) -> Vec<(String, u32)> {
    let mut signs: Vec<(&Sign, u32)> = row.signs.values().map(|(sign, count)| (sign, *count)).collect();
    signs.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    signs.into_iter().take(SIGNS).map(|(sign, count)| (sign.to_string(), count)).collect()
}

fn day(at: &quell_domain::Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// The steps that lie ahead of a problem.
fn steps(row: &Row) -> Vec<(ProblemState, &'static str)> {
    let known = row.workaround.is_some() || row.root_cause.is_some();
    let all = [
        (ProblemState::Investigating, "Investigate"),
        (ProblemState::KnownError, "Known error"),
        (ProblemState::FixInProgress, "Fix in progress"),
        (ProblemState::Verifying, "It is fixed: test it"),
        (ProblemState::Closed, "Close without waiting for the test"),
    ];
    let here = |to: ProblemState| match to {
        ProblemState::KnownError => known,
        ProblemState::Closed => row.state == ProblemState::Verifying,
        _ => true,
    };
    let fresh = matches!(row.state, ProblemState::New | ProblemState::Merged);
    all.into_iter().filter(|(to, _)| *to != row.state && here(*to) && !fresh).collect()
}

fn is_new(row: &Row) -> bool {
    row.state == ProblemState::New
}

fn can_reject(row: &Row) -> bool {
    row.state.is_open()
}

fn is_merged(row: &Row) -> bool {
    row.state == ProblemState::Merged
}

/// Hours of people, and what they cost where that is configured.
fn hours(toll: &Toll) -> String {
    let money = toll.money.as_ref().map(|(sum, currency)| format!(", {sum:.0} {currency}")).unwrap_or_default();
    format!("{:.1} h{money}", toll.hours)
}

fn names(toll: &Toll) -> String {
    toll.people.iter().take(NAMES).cloned().collect::<Vec<_>>().join(", ")
}

fn spent(row: &WhatIf) -> String {
    if row.incidents == 0 { "–".to_owned() } else { long(row.minutes) }
}

fn share(share: &f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// A rate of incidents as people say it.
fn often(per_day: &f64) -> String {
    if *per_day >= 1.0 { format!("{per_day:.1} a day") } else { format!("one in {:.1} days", 1.0 / per_day.max(1e-6)) }
}

/// Its last incidents can be split off, but not of one that was merged.
fn can_split(row: &KnownSignature) -> bool {
    row.merged_into.is_none() && row.past.len() > 1
}

/// A chance with its interval.
fn chance(expected: &Expected) -> String {
    let percent = |share: f64| (share * 100.0).round();
    let [low, high] = expected.interval;
    format!("{} % ({} to {})", percent(expected.probability), percent(low), percent(high))
}

fn expected_minutes(expected: &Expected) -> String {
    long(expected.minutes)
}

fn incident(row: &Recognition) -> IncidentId {
    row.incident
}
