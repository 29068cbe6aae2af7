//! What stands behind a problem: who worked on it for how long, how its incidents came, what was said of it and what came,
//! and what would not have happened without it. `GET /api/v1/problems/{id}/evidence`, and the problem's page.
//!
//! Everything is read off what was remembered; nothing is replayed. Absent on purpose: the problem itself (`problems`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;
use quell_domain::{HORIZONS, KeptForecast, Recognition, Sign, Subject, Timestamp};
use quell_formats::forecast::{RateChange, rate_change};
use quell_store::{Involved, ProblemDetail, RecognisedQuery, Which};
use serde_json::{Value, json};

use crate::answer::Problem;
use crate::charts::Chart;
use crate::params::Params;
use crate::problems::{detail, took};
use crate::{App, PersonHour};

/// How far back "what if" looks.
const BACK: Duration = Duration::from_secs(90 * 86_400);
/// Incidents it looks at.
const INCIDENTS: u32 = 1_000;
/// Alerts of which it is told what without them.
const ALERTS: usize = 5;
/// Minutes for which an alert could be held back.
const HELD: [u32; 3] = [5, 15, 60];
/// Forecasts of the past that are told.
const SAID: u32 = 60;
/// Forecasts that are looked through for those of the problem's signatures: as many as are kept.
const RANKED: u32 = 2_000;

/// What a problem cost people.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Toll {
    /// Who worked on its incidents.
    pub(crate) people: BTreeSet<String>,
    /// Of each person the time from the first act on an incident until it was over, added up.
    pub(crate) hours: f64,
    /// The same in money, where it is configured what an hour costs.
    pub(crate) money: Option<(f64, String)>,
}

impl Toll {
    pub(crate) fn of(
        involved: &[Involved],
        incidents: &[Recognition],
        now: Timestamp,
        price: Option<&PersonHour>,
    ) -> Toll {
        let ended = |row: &Recognition| (row.incident, row.ended_at.unwrap_or(now));
        let ended: BTreeMap<_, _> = incidents.iter().map(ended).collect();
        let busy = involved.iter().filter_map(|one| Some(ended.get(&one.incident)?.micros() - one.since.micros()));
        // An empty sum of numbers is -0, which people would see.
        let hours = busy.fold(0.0, |sum: f64, micros| sum + micros.max(0) as f64 / 3_600e6);
        let money = price.map(|PersonHour { price, currency }| (price * hours, currency.clone()));
        Toll { people: involved.iter().map(|one| one.person.clone()).collect(), hours, money }
    }

    pub(crate) fn json(&self) -> Value {
        let Toll { people, hours, money } = self;
        json!({
            "people": people.iter().collect::<Vec<_>>(),
            "person_hours": (hours * 100.0).round() / 100.0,
            "money": money.as_ref().map(|(sum, currency)| json!({
                "amount": (sum * 100.0).round() / 100.0, "currency": currency,
            })),
        })
    }
}

/// Something that could be done, and which incidents of the last [`BACK`] would not have been.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct WhatIf {
    pub(crate) kind: &'static str,
    pub(crate) text: String,
    pub(crate) incidents: usize,
    pub(crate) minutes: f64,
}

/// What was said of a signature, and what came.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Said {
    pub(crate) at: Timestamp,
    pub(crate) name: String,
    pub(crate) probability: f64,
    pub(crate) ewma: f64,
    /// Whether it came; `None` while the window is open.
    pub(crate) came: Option<bool>,
}

/// All of it.
pub(crate) struct Evidence {
    pub(crate) opened: Vec<Timestamp>,
    pub(crate) change: Option<RateChange>,
    /// By days from now, the chance that it came by then, with an interval where one is known.
    pub(crate) curve: Vec<(f64, f64, Option<[f64; 2]>)>,
    /// The likely window: one in ten, half, nine in ten by then.
    pub(crate) window: [Option<Timestamp>; 3],
    pub(crate) said: Vec<Said>,
    pub(crate) what_if: Vec<WhatIf>,
}

impl Evidence {
    pub(crate) async fn of(app: &App, detail: &ProblemDetail) -> Result<Evidence, Problem> {
        let (store, shard, now) = (&app.api.store, app.api.of(detail.problem.id.shard), (app.api.now)());
        let signatures = Some(detail.signatures.iter().map(|row| row.id).collect());
        let query = RecognisedQuery { signatures, limit: INCIDENTS, ..RecognisedQuery::default() };
        let own = store.recognised(shard, query).await?;
        let beside = match &detail.problem.cause {
            Some(cause) => {
                let query =
                    RecognisedQuery { cause: Some(cause.clone()), limit: INCIDENTS, ..RecognisedQuery::default() };
                store.recognised(shard, query).await?
            }
            None => Vec::new(),
        };
        let names: Vec<String> = detail.problem.signatures.iter().map(ToString::to_string).collect();
        let said = store.forecasts_of(shard, Subject::Signature, HORIZONS[1], &names, SAID).await?;
        let mut now_said = Vec::new();
        for horizon in HORIZONS {
            let mut rows = store.forecasts(shard, Subject::Signature, horizon, Which::Latest, RANKED).await?;
            rows.retain(|row| names.contains(&row.name));
            now_said.push(rows);
        }
        let mut opened: Vec<Timestamp> = own.iter().map(|row| row.opened_at).collect();
        opened.sort_unstable();
        let change = opened.first().and_then(|&first| rate_change(&opened, first, now));
        let likeliest = now_said.iter().flatten().filter(|row| row.window[1].is_some());
        let likeliest = likeliest.max_by(|a, b| a.probability.total_cmp(&b.probability));
        let window = likeliest.map_or([None; 3], |row| row.window);
        Ok(Evidence {
            curve: curve(&now_said, window, now),
            what_if: what_if(detail, &own, &beside, now),
            said: said.into_iter().map(told).collect(),
            opened,
            change,
            window,
        })
    }

    pub(crate) fn gaps(&self) -> Chart {
        Chart::gaps(&self.opened)
    }

    /// The forecast as a curve, with the likely window.
    pub(crate) fn chart(&self, now: Timestamp) -> Chart {
        let words = ["1 in 10", "half", "9 in 10"];
        let window: Vec<(f64, &str)> =
            self.window.iter().zip(words).filter_map(|(at, word)| Some((days(now, (*at)?), word))).collect();
        Chart::curve(&self.curve, &window)
    }

    fn json(&self) -> Value {
        let Evidence { opened, change, curve, window, said, what_if } = self;
        let gaps =
            opened.windows(2).map(|pair| json!({"opened_at": pair[1].to_string(), "days": days(pair[0], pair[1])}));
        let instant = |at: &Option<Timestamp>| at.map(|at| at.to_string());
        let [early, middle, late] = window;
        json!({
            "gaps": gaps.collect::<Vec<_>>(),
            "rate_change": change.as_ref().map(|RateChange { at, rates: [before, since], evidence }| json!({
                "at": at.to_string(), "per_day_before": before, "per_day_since": since, "evidence": evidence.min(1e9),
            })),
            "curve": curve.iter().map(|(days, chance, between)| json!({
                "days": days, "probability": chance, "interval": between.map(|[low, high]| json!({"low": low, "high": high})),
            })).collect::<Vec<_>>(),
            "window": {"early": instant(early), "middle": instant(middle), "late": instant(late)},
            "said": said.iter().map(|Said { at, name, probability, ewma, came }| json!({
                "at": at.to_string(), "signature": name, "probability": probability, "ewma": ewma, "came": came,
            })).collect::<Vec<_>>(),
            "what_if": {
                "days": BACK.as_secs() / 86_400,
                "items": what_if.iter().map(|WhatIf { kind, text, incidents, minutes }| json!({
                    "kind": kind, "text": text, "incidents": incidents, "open_minutes": minutes,
                })).collect::<Vec<_>>(),
            },
        })
    }
}

/// `GET /api/v1/problems/{id}/evidence`.
pub(crate) async fn evidence(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    Params::read(&uri, &[])?;
    let (detail, _) = detail(&app, &id).await?;
    Ok(Json(Evidence::of(&app, &detail).await?.json()))
}

fn days(from: Timestamp, to: Timestamp) -> f64 {
    ((to.micros() - from.micros()) as f64 / 86_400e6).max(0.0)
}

fn told(row: KeptForecast) -> Said {
    let came = row.outcome.map(|came| came.first_at.is_some());
    Said { at: row.at, name: row.name, probability: row.probability, ewma: row.baselines[0], came }
}

/// Signatures are taken to be independent. The chances within a day and a week are the forecasts'; beyond them the likely
/// window says by when half and nine in ten come. It never falls.
fn curve(
    said: &[Vec<KeptForecast>],
    window: [Option<Timestamp>; 3],
    now: Timestamp,
) -> Vec<(f64, f64, Option<[f64; 2]>)> {
    let mut points = vec![(0.0, 0.0, None)];
    for (rows, horizon) in said.iter().zip(HORIZONS) {
        if rows.is_empty() {
            continue;
        }
        let any = |of: fn(&KeptForecast) -> f64| 1.0 - rows.iter().map(|row| 1.0 - of(row)).product::<f64>();
        let between = [any(|row| row.interval[0]), any(|row| row.interval[1])];
        points.push((f64::from(horizon) / 86_400.0, any(|row| row.probability), Some(between)));
    }
    if points.len() == 1 {
        return Vec::new();
    }
    let week = f64::from(HORIZONS[1]) / 86_400.0;
    let later = window.iter().zip([0.1, 0.5, 0.9]).filter_map(|(at, chance)| Some((days(now, (*at)?), chance, None)));
    points.extend(later.filter(|(days, ..)| *days > week));
    let mut least = 0.0_f64;
    for (_, chance, _) in &mut points {
        least = least.max(*chance);
        *chance = least;
    }
    points
}

fn what_if(detail: &ProblemDetail, own: &[Recognition], beside: &[Recognition], now: Timestamp) -> Vec<WhatIf> {
    let recent = |rows: &[Recognition]| -> Vec<Recognition> {
        rows.iter().filter(|row| row.opened_at >= now - BACK && row.ended_at.is_some()).cloned().collect()
    };
    let (own, beside) = (recent(own), recent(beside));
    let sum = |kind, text: String, rows: Vec<&Recognition>| WhatIf {
        kind,
        text,
        incidents: rows.len(),
        minutes: rows.iter().filter_map(|row| took(row)).fold(0.0, |sum, took| sum + took),
    };
    let mut what_if = vec![sum("fixed", "this problem were fixed".to_owned(), own.iter().collect())];
    if let Some(cause) = &detail.problem.cause {
        what_if.push(sum("ci", format!("{cause} did not fail"), beside.iter().collect()));
    }
    let mut signs: BTreeMap<u64, (&Sign, u32)> = BTreeMap::new();
    for (hash, (sign, count)) in detail.signatures.iter().flat_map(|row| &row.signs) {
        signs.entry(*hash).or_insert((sign, 0)).1 += count;
    }
    let mut signs: Vec<(u64, &Sign, u32)> =
        signs.into_iter().map(|(hash, (sign, count))| (hash, sign, count)).collect();
    signs.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.1.cmp(b.1)));
    for (hash, sign, _) in signs.into_iter().take(ALERTS) {
        let only = own.iter().filter(|row| row.traits.signs == [hash]);
        what_if.push(sum("alert", format!("{sign} were suppressed"), only.collect()));
    }
    for minutes in HELD {
        let short = own.iter().filter(|row| took(row).is_some_and(|took| took < f64::from(minutes)));
        what_if.push(sum("held", format!("its alerts were held back for {minutes} min"), short.collect()));
    }
    what_if
}
