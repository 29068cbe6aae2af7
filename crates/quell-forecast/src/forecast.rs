//! What is said of every signature at one instant.
//!
//! Absent on purpose: keeping forecasts and marking them; that needs a store.

use quell_domain::{Signature, Timestamp};

use crate::belief::Belief;
use crate::history::History;
use crate::next::{Next, Window};
use crate::table::Table;
use crate::train::{Chosen, Model, Thin};

/// Windows since training whose outcomes are taken in before a forecast; older ones weigh next to nothing.
const WINDOWS: i64 = 60;
/// The two-sided 90 % quantile of the normal distribution, for intervals.
const Z: f64 = 1.644_853_626_951_472_2;

/// Why a probability is not quell's own judgement of the signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Abstention {
    /// There was too little to learn from.
    #[error("too little to learn from: {0}")]
    Thin(Thin),
    /// Nothing beat the base rate.
    #[error("no signal: nothing beat the base rate on later windows of the past")]
    NoSignal,
    /// What was learned has lately done worse than the base rate.
    #[error("what was learned has lately done worse than the base rate")]
    LostTrust,
}

/// The chance of at least one more incident of a signature within a horizon.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Outlook {
    /// Between 0 and 1.
    pub probability: f64,
    /// The 90 % interval of the share that came among windows of the past with a probability like this one (Wilson,
    /// 1927).
    pub interval: [f64; 2],
    /// What signatures are ranked by.
    pub rank: f64,
}

/// What is said of one signature.
#[derive(Clone, PartialEq, Debug)]
pub struct Forecast {
    /// The signature.
    pub signature: Signature,
    /// The chance within the model's horizon.
    pub outlook: Outlook,
    /// What the EWMA, the count of the last window, and the base rate say instead.
    pub baselines: [f64; 3],
    /// When the next incident is likely to come.
    pub window: Option<Window>,
}

/// What is said of every signature at one instant.
#[derive(Clone, PartialEq, Debug)]
pub struct Forecasts {
    /// By signature.
    pub forecasts: Vec<Forecast>,
    /// What the probabilities rest on now: whoever lost its lead or its trust since training is silent.
    pub rests_on: Chosen,
    /// Why the probabilities are only the base rate, where they are.
    pub abstains: Option<Abstention>,
}

/// The forecasts for every signature that opened before `at`. Outcomes of windows that ended by then are taken in first.
#[must_use]
pub fn forecasts(model: &Model, next: Option<&Next>, history: &History, at: Timestamp) -> Forecasts {
    let belief = brought_up(model, history, at.micros());
    let table = Table::at(history, model.horizon, at.micros());
    let forecast = |row: usize| {
        let series = &history.series[table.series[row] as usize];
        let said = model.say(&belief, &model.score(&table, row));
        let interval = interval(model, said.probability);
        Forecast {
            signature: series.signature.clone(),
            outlook: Outlook { probability: said.probability, interval, rank: said.rank },
            baselines: [
                model.ewma.probability(&table, row),
                model.last_window.probability(table.last_window[row].ln_1p()),
                model.base_rate,
            ],
            window: next
                .and_then(|next| next.window(history, series, at.micros(), Some((model.horizon, said.probability)))),
        }
    };
    let abstains = abstention(model, &belief);
    let rests_on = match model.chosen {
        _ if abstains.is_some() => Chosen::BaseRate,
        Chosen::Model if belief.lead <= 0.0 => Chosen::Ewma,
        chosen => chosen,
    };
    Forecasts { forecasts: (0..table.len()).map(forecast).collect(), rests_on, abstains }
}

/// The belief after the windows that ended between training and that instant.
fn brought_up(model: &Model, history: &History, at: i64) -> Belief {
    let from = model.learned[1].micros();
    let whole = (at.saturating_sub(from) / model.horizon).max(0);
    let origins: Vec<i64> = ((whole - WINDOWS).max(0)..whole).map(|window| from + window * model.horizon).collect();
    let mut belief = model.belief;
    if model.chosen != Chosen::BaseRate {
        Table::each(history, model.horizon, &origins, |table| {
            let scored: Vec<_> = (0..table.len()).map(|row| model.score(table, row)).collect();
            belief.learn(&scored, &table.labels, model.base_rate, model.horizon);
        });
    }
    belief
}

fn abstention(model: &Model, belief: &Belief) -> Option<Abstention> {
    match (model.abstains, model.chosen) {
        (Some(thin), _) => Some(Abstention::Thin(thin)),
        (None, Chosen::BaseRate) => Some(Abstention::NoSignal),
        (None, Chosen::Model | Chosen::Ewma) => (belief.trust <= 0.0).then_some(Abstention::LostTrust),
    }
}

/// Wilson's interval around a probability, with as many windows as the nearest bin of the calibration curve has.
fn interval(model: &Model, p: f64) -> [f64; 2] {
    let nearest = model.curve.iter().min_by(|a, b| (a.forecast - p).abs().total_cmp(&(b.forecast - p).abs()));
    let rows = nearest.map_or(model.rows[0], |bin| bin.rows).max(1) as f64;
    let middle = (p + Z * Z / (2.0 * rows)) / (1.0 + Z * Z / rows);
    let half = Z / (1.0 + Z * Z / rows) * (p * (1.0 - p) / rows + Z * Z / (4.0 * rows * rows)).sqrt();
    [(middle - half).clamp(0.0, p), (middle + half).clamp(p, 1.0)]
}
