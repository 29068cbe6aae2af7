//! Forecasts while serving: trains on what was remembered and imported, says what is likely to come back, keeps what was
//! said, and marks it once its window is over.
//!
//! Beside the stream, like the learner, and further from it: the engine decides nothing by a forecast, so that none of
//! this is on the log, and a model that is missing or damaged costs a training and nothing else (decision 0026). Absent
//! on purpose: the arithmetic (`quell-forecast`) and the models' text (`quell-formats`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use prometheus::{IntCounterVec, Opts, Registry};
use quell_api::ports::Live;
use quell_cmdb::Graph;
use quell_domain::{
    Came, HORIZONS, HistoricIncident, IncidentId, KeptForecast, KeptModel, Recognition, Signature, SignatureId,
    Subject, Timestamp,
};
use quell_forecast::{History, Model, Next, Span, forecasts};
use quell_formats::{forecast, topology};
use quell_log::Clock;
use quell_store::{RecognisedQuery, Which};

use crate::expected::{Blank, Past, Usually, links, rows};
use crate::intake::Door;

/// How often it is looked whether anything is to do.
const ROUND: Duration = Duration::from_secs(60);
/// Forecasts are this old at most, while time passes.
const EVERY: Duration = Duration::from_secs(3600);
/// And no younger than this when they are made anew because something new was seen.
const SOON: Duration = Duration::from_secs(300);
/// A model is this old at most.
const TRAIN: Duration = Duration::from_secs(86_400);
/// Or its history has grown by a tenth.
const GROWN: u64 = 10;
/// Incidents that are learned from (INV-6), the last of quell's own and all imported ones up to this.
const INCIDENTS: usize = 1_000_000;
/// Rows read at once.
const PIECE: u32 = 2_000;
/// Records that may wait to be decided: with more of them, forecasts wait.
const BUSY: u64 = 1_000;
const SEED: u64 = 1;

/// What forecasts.
pub(crate) struct Forecaster {
    door: Arc<Door>,
    clock: Arc<dyn Clock>,
    rounds: IntCounterVec,
    /// What was there when forecasts were made last: the newest incident, the last place of the import.
    seen: Option<(Option<IncidentId>, u64)>,
}

impl Forecaster {
    pub(crate) fn new(door: &Arc<Door>, clock: Arc<dyn Clock>, rounds: IntCounterVec) -> Self {
        Forecaster { door: Arc::clone(door), clock, rounds, seen: None }
    }

    /// What is counted of rounds, of all shards together.
    ///
    /// # Errors
    /// When there is such a metric already.
    pub(crate) fn rounds(registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
        let help = "Times that forecasts were made, or could not be; nothing else depends on them";
        let rounds = IntCounterVec::new(Opts::new("quell_forecast_rounds_total", help), &["outcome"])?;
        for outcome in ["made", "failed"] {
            rounds.with_label_values(&[outcome]);
        }
        registry.register(Box::new(rounds.clone()))?;
        Ok(rounds)
    }

    /// Forecasts again and again, for ever. Whatever fails is said, counted and tried again.
    pub(crate) async fn run(&mut self, enabled: bool) {
        if !enabled {
            return;
        }
        loop {
            match self.round().await {
                Ok(made) if made > 0 => self.rounds.with_label_values(&["made"]).inc(),
                Ok(_) => {}
                Err(error) => {
                    self.rounds.with_label_values(&["failed"]).inc();
                    tracing::warn!(error = format!("{error:#}"), "no forecasts could be made; they are tried again");
                }
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    /// Makes forecasts if they are due, and marks those whose window is over; returns how many were made.
    ///
    /// # Errors
    /// When the store did not do as asked.
    pub(crate) async fn round(&mut self) -> anyhow::Result<usize> {
        if self.door.published.lag() > BUSY {
            return Ok(0);
        }
        let now = self.clock.now();
        let (store, shard) = (&self.door.store, self.door.shard);
        let newest = RecognisedQuery { limit: 1, ..RecognisedQuery::default() };
        let newest = store.recognised(shard, newest).await?.pop().map(|row| row.incident);
        let place = self.seen.map_or(0, |(_, place)| place);
        let imported = !store.history(shard, place, 1).await?.is_empty();
        let last = store.forecasts(shard, Subject::Signature, HORIZONS[0], Which::Latest, 1).await?.pop();
        let age = last.as_ref().map(|last| now.since(last.at));
        let news = imported || self.seen.map(|(seen, _)| seen) != Some(newest);
        if age.is_some_and(|age| age < SOON || (age < EVERY && !news)) {
            return Ok(0);
        }
        let (past, place) = self.past().await?;
        if past.is_empty() {
            return Ok(0);
        }
        self.mark(now, &past).await?;
        let mut made = 0;
        for subject in Subject::ALL {
            let past = of_subject(subject, &past);
            for horizon in HORIZONS {
                made += self.forecast(subject, horizon, now, past.clone()).await?;
            }
        }
        self.seen = Some((newest, place));
        Ok(made)
    }

    /// Everything that is learned from, and the last place of the import.
    async fn past(&self) -> anyhow::Result<(Vec<Past>, u64)> {
        let (store, shard) = (&self.door.store, self.door.shard);
        let merged = self.merged().await?;
        let mut past: Vec<Past> = Vec::new();
        let mut before = None;
        loop {
            let query = RecognisedQuery { before, limit: PIECE, ..RecognisedQuery::default() };
            let piece = store.recognised(shard, query).await?;
            past.extend(piece.iter().filter_map(|row| own(row, &merged)));
            before = piece.last().map(|row| row.incident);
            if piece.len() < PIECE as usize || past.len() >= INCIDENTS {
                break;
            }
        }
        let mut place = 0;
        while past.len() < INCIDENTS {
            let piece = store.history(shard, place, PIECE).await?;
            place = piece.last().map_or(place, |(place, _)| *place);
            let end = piece.len() < PIECE as usize;
            past.extend(piece.into_iter().map(|(_, incident)| Past { incident, dependents: None }));
            if end {
                break;
            }
        }
        Ok((past, place))
    }

    /// Signatures that people merged into others.
    async fn merged(&self) -> anyhow::Result<BTreeMap<SignatureId, SignatureId>> {
        let mut merged = BTreeMap::new();
        let mut before = None;
        loop {
            let page = self.door.store.signatures(self.door.shard, before, PIECE).await?;
            merged.extend(page.items.iter().filter_map(|row| row.merged_into.map(|into| (row.id, into))));
            match page.next {
                Some(next) => before = Some(next),
                None => return Ok(merged),
            }
        }
    }

    /// Forecasts of one subject and horizon.
    async fn forecast(&self, subject: Subject, horizon: u32, now: Timestamp, past: Vec<Past>) -> anyhow::Result<usize> {
        if past.is_empty() {
            return Ok(0);
        }
        let (store, shard) = (&self.door.store, self.door.shard);
        let kept = store.model(shard, subject, horizon).await?;
        let last = store.forecasts(shard, subject, horizon, Which::Latest, 1).await?.pop();
        let day = |at: Timestamp| at.micros().div_euclid(86_400_000_000);
        let scored = last.is_none_or(|last| day(last.at) != day(now));
        let graph = self.door.published.graph();
        let asked = (subject, horizon, now, scored);
        let Made { rows, trained } = beside(move || make(asked, &past, kept, &graph)).await?;
        if let Some(trained) = trained {
            tracing::info!(subject = subject.as_str(), horizon, incidents = trained.incidents, "trained a forecast");
            store.put_model(shard, &trained).await?;
        }
        store.keep_forecasts(shard, &rows).await?;
        Ok(rows.len())
    }

    /// Writes down what came of forecasts whose window is over.
    async fn mark(&self, now: Timestamp, past: &[Past]) -> anyhow::Result<()> {
        let (store, shard) = (&self.door.store, self.door.shard);
        for subject in Subject::ALL {
            let mut opened: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
            for Past { incident, .. } in of_subject(subject, past) {
                opened.entry(incident.signature.as_str().to_owned()).or_default().push(incident.opened_at);
            }
            opened.values_mut().for_each(|times| times.sort_unstable());
            for horizon in HORIZONS {
                loop {
                    let mut due = store.forecasts(shard, subject, horizon, Which::Due(now), PIECE).await?;
                    for row in &mut due {
                        row.outcome = Some(came(row, opened.get(&row.name).map_or(&[], Vec::as_slice)));
                    }
                    store.mark_forecasts(shard, &due).await?;
                    if due.len() < PIECE as usize {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The first incident within a forecast's window; `opened` rises.
fn came(row: &KeptForecast, opened: &[Timestamp]) -> Came {
    let end = row.at + Duration::from_secs(u64::from(row.horizon));
    let first = opened.get(opened.partition_point(|at| *at < row.at)).copied();
    Came { first_at: first.filter(|at| *at < end) }
}

/// One of quell's own; `None` while it is like nothing that is known.
fn own(row: &Recognition, merged: &BTreeMap<SignatureId, SignatureId>) -> Option<Past> {
    let mut signature = row.signature?;
    // A merge into what was merged is refused, so that every chain ends.
    while let Some(into) = merged.get(&signature) {
        signature = *into;
    }
    let incident = HistoricIncident {
        opened_at: row.opened_at,
        closed_at: row.ended_at,
        signature: Signature::new(&signature.to_string())?,
        ci: row.traits.cause.clone(),
        service: row.service.clone(),
        priority: Some(row.priority),
    };
    Some(Past { incident, dependents: Some(row.dependents) })
}

/// The same incidents named after the subject; without those that have none.
fn of_subject(subject: Subject, past: &[Past]) -> Vec<Past> {
    let named = |past: &Past| {
        let mut past = past.clone();
        if subject == Subject::Ci {
            past.incident.signature = Signature::new(past.incident.ci.as_ref()?.as_str())?;
        }
        Some(past)
    };
    past.iter().filter_map(named).collect()
}

/// What a training and a look at one instant gave.
struct Made {
    rows: Vec<KeptForecast>,
    trained: Option<KeptModel>,
}

/// Works on a thread that gives way to all others of the machine. A panic there ends nothing else.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    let (done, made) = tokio::sync::oneshot::channel();
    let work = move || {
        // Without it, it is merely in the way for a second.
        if let Err(error) = rustix::process::setpriority_process(None, 19) {
            tracing::debug!(%error, "the thread that forecasts keeps its priority");
        }
        // Nobody waits any more at the end of the process.
        let _ = done.send(work());
    };
    std::thread::Builder::new().name("quell-forecast".into()).spawn(work).context("no thread to forecast on")?;
    made.await.map_err(|_| anyhow!("the thread that forecasts came to nothing"))
}

fn make(
    (subject, horizon, now, scored): (Subject, u32, Timestamp, bool),
    past: &[Past],
    kept: Option<KeptModel>,
    graph: &Graph,
) -> Made {
    let incidents: Vec<HistoricIncident> = past.iter().map(|past| past.incident.clone()).collect();
    let start = Span::busy(&incidents).map_or(now, |span| span.start);
    let history = History::linked(&incidents, Span { start, end: now }, &links(past, graph));
    let count = incidents.len() as u64;
    let fresh = kept.filter(|kept| now.since(kept.at) < TRAIN && count < kept.incidents + kept.incidents / GROWN + 1);
    // One that cannot be read is as good as none.
    let read = fresh.and_then(|kept| match forecast::decode(&kept.text) {
        Ok((model, next)) => Some((kept.digest, model, next)),
        Err(mistake) => {
            tracing::warn!(%mistake, "a kept forecast model cannot be read and is trained anew");
            None
        }
    });
    let (digest, model, next, trained) = match read {
        Some((digest, model, next)) => (digest, model, next, None),
        None => {
            let model = Model::train(&history, now, i64::from(horizon) * 1_000_000, SEED);
            let next = Next::train(&history, now, SEED);
            let text = forecast::encode(&model, next.as_ref());
            let digest = topology::digest(text.as_bytes());
            let trained = KeptModel { subject, horizon, at: now, incidents: count, digest, text };
            (digest, model, next, Some(trained))
        }
    };
    let said = forecasts(&model, next.as_ref(), &history, now);
    let blank = Blank { subject, horizon, at: now, scored, model: digest };
    Made { rows: rows(&blank, said, &Usually::of(past), graph), trained }
}
