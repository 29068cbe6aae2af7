//! Forecasts: what is likely to come back, how good such forecasts were here, and the history they learn from.
//!
//! Absent on purpose: making them; a worker of the process does that beside the stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use quell_domain::{HORIZONS, HistoricIncident, KeptForecast, Labels, Problem as Row, ProblemId, Shard, Subject};
use quell_formats::forecast::{self, KeptScorecard};
use quell_formats::history::{self, ColumnMap, Sound};
use quell_store::{StoreError, Which};
use serde_json::{Value, json};

use crate::App;
use crate::answer::Problem;
use crate::body::{self, Caps};
use crate::charts::Chart;
use crate::pages::{Frame, show};
use crate::params::{DEFAULT_LIMIT, MAX_LIMIT, Params};
use crate::shards;

/// Marked forecasts that a scorecard is made of, the newest ones.
const MARKED: u32 = 100_000;
/// Forecasts that problems are ranked by: as many as are kept.
const RANKED: u32 = 2_000;
/// Forecasts on the page.
const LISTED: u32 = 50;
/// Mistakes told of an import.
const TOLD: usize = 20;

fn subject(params: &Params<'_>) -> Result<Subject, Problem> {
    params.choice("subject", &Subject::ALL.map(|subject| (subject.as_str(), subject)), Subject::Signature)
}

fn horizon(params: &Params<'_>) -> Result<u32, Problem> {
    params.choice("horizon", &[("24h", HORIZONS[0]), ("7d", HORIZONS[1])], HORIZONS[1])
}

/// `GET /api/v1/forecasts`.
pub(crate) async fn forecasts(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Value>, Problem> {
    let params = Params::read(&uri, &["subject", "horizon", "limit"])?;
    let (subject, horizon) = (subject(&params)?, horizon(&params)?);
    let limit = params.limit(DEFAULT_LIMIT, MAX_LIMIT)?;
    let rows = latest(&app, subject, horizon, limit).await?;
    let made_at = rows.iter().map(|(_, row)| row.at).max().map(|at| at.to_string());
    let items = rows.iter().map(|(shard, row)| shards::name(&app.api.sharding, *shard, shape(row)));
    Ok(Json(json!({"made_at": made_at, "items": items.collect::<Vec<_>>()})))
}

/// Those made last in each shard, the ones ranked highest first.
async fn latest(
    app: &App,
    subject: Subject,
    horizon: u32,
    limit: u32,
) -> Result<Vec<(Shard, KeptForecast)>, StoreError> {
    let ask = |shard, limit| app.api.store.forecasts(shard, subject, horizon, Which::Latest, limit);
    shards::merged(&app.api.sharding, limit, ask, |a, b| b.rank.total_cmp(&a.rank)).await
}

/// Why it is not the model that speaks; `None` where it does.
fn because(row: &KeptForecast) -> Option<&str> {
    const EWMA: &str = "the model does not beat the EWMA on what was seen here, so the EWMA speaks";
    row.abstains.as_deref().or((row.rests_on == "ewma").then_some(EWMA))
}

fn shape(row: &KeptForecast) -> Value {
    let KeptForecast {
        at: _,
        horizon,
        subject,
        name,
        ci,
        probability,
        interval: [low, high],
        rank: _,
        baselines: [ewma, last_window, base_rate],
        rests_on,
        abstains,
        window: [early, middle, late],
        seen,
        dependents,
        dependents_between,
        minutes,
        minutes_between,
        model,
        scored: _,
        outcome: _,
    } = row;
    let instant = |at: &Option<quell_domain::Timestamp>| at.map(|at| at.to_string());
    let between = |between: &Option<[f64; 2]>| between.map(|[low, high]| json!({"low": low, "high": high}));
    json!({
        "subject": subject.as_str(),
        "name": name,
        "ci": ci.as_ref().map(|ci| ci.as_str()),
        "horizon_seconds": horizon,
        "probability": probability,
        "interval": {"low": low, "high": high},
        "baselines": {"ewma": ewma, "last_window": last_window, "base_rate": base_rate},
        "rests_on": rests_on,
        "abstains": abstains,
        "window": {"early": instant(early), "middle": instant(middle), "late": instant(late)},
        "incidents": seen,
        "reason": because(row),
        "expected_dependents": dependents,
        "expected_dependents_interval": between(dependents_between),
        "expected_minutes": minutes,
        "expected_minutes_interval": between(minutes_between),
        "model": model.to_string(),
    })
}

/// `GET /api/v1/forecasts/scorecard`.
pub(crate) async fn scorecard(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Value>, Problem> {
    let params = Params::read(&uri, &["subject", "horizon"])?;
    let (subject, horizon) = (subject(&params)?, horizon(&params)?);
    let card = card(&app, subject, horizon).await?;
    Ok(Json(json!({
        "subject": subject.as_str(),
        "horizon_seconds": horizon,
        "scorecard": card.as_ref().map(forecast::kept_json),
    })))
}

async fn card(app: &App, subject: Subject, horizon: u32) -> Result<Option<KeptScorecard>, Problem> {
    let each = MARKED / app.api.sharding.count();
    let ask = |shard, _| app.api.store.forecasts(shard, subject, horizon, Which::Marked, each);
    let rows = shards::merged(&app.api.sharding, MARKED, ask, |a, b| b.at.cmp(&a.at)).await?;
    let rows: Vec<KeptForecast> = rows.into_iter().map(|(_, row)| row).collect();
    let made = tokio::task::spawn_blocking(move || forecast::kept(&rows)).await;
    made.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "it could not be put together"))
}

/// What is expected of a problem within a week.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Expected {
    /// The chance of at least one more incident of any of its signatures.
    pub(crate) probability: f64,
    /// The bounds of the same.
    pub(crate) interval: [f64; 2],
    /// Minutes of incidents: probability times what one usually takes, summed over its signatures.
    pub(crate) minutes: f64,
}

/// What is expected of each problem that a forecast is known for. Signatures are taken to be independent.
pub(crate) async fn expected(app: &App, problems: &[Row]) -> Result<BTreeMap<ProblemId, Expected>, Problem> {
    let mut rows = Vec::new();
    for number in shards::concerned(problems.iter().map(|problem| problem.id.shard)) {
        let of = (app.api.of(number), Subject::Signature, HORIZONS[1]);
        rows.extend(app.api.store.forecasts(of.0, of.1, of.2, Which::Latest, RANKED).await?);
    }
    let by_name: BTreeMap<&str, &KeptForecast> = rows.iter().map(|row| (row.name.as_str(), row)).collect();
    let mut expected = BTreeMap::new();
    for problem in problems {
        let (mut quiet, mut minutes, mut any) = ([1.0; 3], 0.0, false);
        for row in problem.signatures.iter().filter_map(|id| by_name.get(id.to_string().as_str())) {
            let [low, high] = row.interval;
            for (quiet, chance) in quiet.iter_mut().zip([row.probability, low, high]) {
                *quiet *= 1.0 - chance;
            }
            minutes += row.probability * row.minutes.unwrap_or(0.0);
            any = true;
        }
        if any {
            let [probability, low, high] = quiet.map(|quiet| 1.0 - quiet);
            expected.insert(problem.id, Expected { probability, interval: [low, high], minutes });
        }
    }
    Ok(expected)
}

/// Those expected to cost most within a week first; without a forecast, those that cost most so far.
pub(crate) fn rank(problems: &mut [Row], expected: &BTreeMap<ProblemId, Expected>) {
    let minutes = |row: &Row| expected.get(&row.id).map_or(-1.0, |expected| expected.minutes);
    problems.sort_by(|a, b| {
        let cost = |row: &Row| std::cmp::Reverse(row.cost.open_micros);
        minutes(b).total_cmp(&minutes(a)).then_with(|| cost(a).cmp(&cost(b))).then(a.id.cmp(&b.id))
    });
}

/// The same as JSON.
pub(crate) fn expected_json(expected: Option<&Expected>) -> Value {
    json!(expected.map(|Expected { probability, interval: [low, high], minutes }| json!({
        "horizon_seconds": HORIZONS[1],
        "probability": probability,
        "interval": {"low": low, "high": high},
        "expected_minutes": minutes,
    })))
}

/// `POST /api/v1/history`: incidents of another system, as CSV.
pub(crate) async fn import(State(app): State<Arc<App>>, request: Request) -> Result<Json<Value>, Problem> {
    let uri = request.uri().clone();
    let params = Params::read(&uri, &["map", "dry_run"])?;
    let map = ColumnMap::parse(params.get("map").unwrap_or_default())
        .map_err(|mistake| Problem::bad("query parameter map", mistake.found, mistake.allowed))?;
    let dry_run = params.choice("dry_run", &[("true", true), ("false", false)], false)?;
    let (head, body) = request.into_parts();
    let limits = &app.api.limits;
    let most = limits.topology_bytes;
    let caps = Caps { encoded: most, decoded: most, patience: limits.topology_patience };
    let whole = body::read(&head.headers, body, caps, &app.budget).await?;
    let bytes = whole.bytes.clone();
    let read = tokio::task::spawn_blocking(move || history::read_sound(&String::from_utf8_lossy(&bytes), &map)).await;
    let read = read.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "it could not be read"))?;
    let Sound { read, refused, mistakes } = read.map_err(|mistakes| {
        let mistakes: Vec<String> = mistakes.iter().take(TOLD).map(ToString::to_string).collect();
        let allowed = Some("CSV with a line of column names; see docs/forecast.md".into());
        let problem = Problem::new(StatusCode::BAD_REQUEST, "bad_history", mistakes.join("\n"));
        Problem { place: Some("body".into()), allowed, ..problem }
    })?;
    let new = match dry_run {
        true => None,
        false => Some(add(&app, read.incidents.clone()).await?),
    };
    Ok(Json(history::told(&read, refused, &mistakes, new)))
}

/// Adds history to the shard of each incident's CI, where the topology in force says that by the CI's labels; else to the
/// first one. Returns how many were new.
async fn add(app: &App, incidents: Vec<HistoricIncident>) -> Result<u64, StoreError> {
    let (graph, sharding) = (app.api.live.graph(), &app.api.sharding);
    let shard_of = |incident: &HistoricIncident| {
        let ci = graph.ci(graph.find(incident.ci.as_ref()?)?);
        sharding.named(Labels::new(ci.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()))).as_ref())
    };
    let mut own: BTreeMap<u32, Vec<HistoricIncident>> = BTreeMap::new();
    for incident in incidents {
        own.entry(shard_of(&incident).unwrap_or_default()).or_default().push(incident);
    }
    let mut new = 0;
    for (number, incidents) in own {
        new += app.api.store.add_history(app.api.of(number), &incidents).await?;
    }
    Ok(new)
}

#[derive(Template)]
#[template(path = "forecasts.html")]
struct ForecastsPage {
    frame: Frame,
    tabs: Vec<Tab>,
    ahead: &'static str,
    rows: Vec<KeptForecast>,
    abstains: bool,
    /// Why they do not rest on the model, each reason once.
    reasons: Vec<String>,
    cards: Vec<Card>,
}

/// One of the lists.
struct Tab {
    subject: &'static str,
    horizon: &'static str,
    word: &'static str,
    current: bool,
}

const TABS: [(Subject, &str, u32, &str); 4] = [
    (Subject::Signature, "7d", HORIZONS[1], "by signature, 7 d"),
    (Subject::Signature, "24h", HORIZONS[0], "by signature, 24 h"),
    (Subject::Ci, "7d", HORIZONS[1], "by CI, 7 d"),
    (Subject::Ci, "24h", HORIZONS[0], "by CI, 24 h"),
];

/// One scorecard, with its curve drawn.
struct Card {
    what: &'static str,
    word: &'static str,
    card: Option<KeptScorecard>,
    chart: Chart,
}

/// `GET /forecasts`.
pub(crate) async fn page(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let page = async {
        let params = Params::read(&uri, &["subject", "horizon"])?;
        let (of, ahead) = (subject(&params)?, horizon(&params)?);
        let rows: Vec<KeptForecast> = latest(&app, of, ahead, LISTED).await?.into_iter().map(|(_, row)| row).collect();
        let mut cards = Vec::new();
        for subject in Subject::ALL {
            for (horizon, word) in HORIZONS.into_iter().zip(["within a day", "within a week"]) {
                let what = if subject == Subject::Ci { "by CI" } else { "by signature" };
                let card = card(&app, subject, horizon).await?;
                let chart = card.as_ref().map_or_else(Chart::default, |card| Chart::calibration(&card.curve));
                cards.push(Card { what, word, card, chart });
            }
        }
        let reasons: BTreeSet<String> = rows.iter().filter_map(|row| because(row).map(str::to_owned)).collect();
        let tab = |(of_tab, horizon, length, word): (Subject, &'static str, u32, &'static str)| Tab {
            subject: of_tab.as_str(),
            horizon,
            word,
            current: (of_tab, length) == (of, ahead),
        };
        Ok(ForecastsPage {
            frame: Frame::new(&app, "Forecasts"),
            tabs: TABS.map(tab).into(),
            ahead: if ahead == HORIZONS[0] { "day" } else { "week" },
            abstains: rows.first().is_some_and(|row| row.abstains.is_some()),
            rows,
            reasons: reasons.into_iter().collect(),
            cards,
        })
    };
    show(&app, page.await)
}

/// A share of 1 as per cent.
fn percent(share: &f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn number(value: &Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"))
}

fn three(value: &f64) -> String {
    format!("{value:.3}")
}

fn usual(row: &KeptForecast) -> String {
    let between = row.minutes_between.map(|[low, high]| format!(" ({low:.0} to {high:.0})")).unwrap_or_default();
    row.minutes.map_or_else(|| "–".to_owned(), |minutes| format!("{minutes:.0} min{between}"))
}

fn reach(row: &KeptForecast) -> String {
    let between = row.dependents_between.map(|[low, high]| format!(" ({low:.0} to {high:.0})")).unwrap_or_default();
    row.dependents.map_or_else(|| "–".to_owned(), |cis| format!("{cis:.0}{between}"))
}

fn likely(row: &KeptForecast) -> String {
    let [early, _, late] = row.window;
    let day = |at: quell_domain::Timestamp| at.to_string().chars().take(10).collect::<String>();
    match (early, late) {
        (Some(early), Some(late)) => format!("{} to {}", day(early), day(late)),
        (Some(early), None) => format!("after {}", day(early)),
        _ => "–".to_owned(),
    }
}
