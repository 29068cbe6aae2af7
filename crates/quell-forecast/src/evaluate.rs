//! The evaluation by time: learn from the first part of a history, forecast the rest, and compare with the baselines.
//!
//! Absent on purpose: tables and JSON; the scorecard is a value.

use std::time::Duration;

use quell_domain::Timestamp;

use crate::belief::Scored;
use crate::history::{DAY, History, days};
use crate::metrics::{brier, ece, pr_auc, precision_at, roc_auc};
use crate::next::{Next, Order, order};
use crate::split::{Split, micros};
use crate::table::Table;
use crate::train::{Chosen, Model};

/// Signatures at the top of each origin whose precision is reported.
pub const TOP: usize = 50;
/// Incidents in 28 days between which a signature is neither silent nor chronic.
const MID: std::ops::RangeInclusive<f64> = 1.0..=10.0;

/// What is evaluated, and how.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Plan {
    /// The window that is forecast.
    pub horizon: Duration,
    /// The share of the span's whole days that is learned from.
    pub split: f64,
    /// The seed of what is drawn.
    pub seed: u64,
}

/// Why there is nothing to evaluate.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Unfit {
    /// The share is not between 0 and 1.
    #[error("split: found {0}; allowed: more than 0 and less than 1")]
    Split(f64),
    /// The horizon is not between an hour and a year.
    #[error("horizon: found {0} days; allowed: an hour to 365 days")]
    Horizon(f64),
    /// No window of the future lies within the span.
    #[error(
        "the span {from} to {until} has {days} days; no window of {horizon} days lies between the split at {at} and its end; \
         give more history, a shorter horizon or an earlier split"
    )]
    NoTest {
        /// The span's start.
        from: Timestamp,
        /// The span's end.
        until: Timestamp,
        /// Its days.
        days: f64,
        /// Days of the horizon.
        horizon: f64,
        /// Where the future begins.
        at: Timestamp,
    },
}

/// How good one forecaster was on the test rows. A measure that needs an incident, or a quiet window, and had none is
/// `None`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Scores {
    /// Average precision over all rows.
    pub pr_auc: Option<f64>,
    /// The same over rows with 1 to 10 incidents in the last 28 days.
    pub pr_auc_mid: Option<f64>,
    /// Area under the ROC curve.
    pub roc_auc: Option<f64>,
    /// Mean squared error of the probabilities.
    pub brier: f64,
    /// 1 - Brier / Brier of the base rate; `None` where that is 0.
    pub bss: Option<f64>,
    /// Expected calibration error, 10 bins of equal count.
    pub ece: f64,
    /// Mean over test origins of the precision among the [`TOP`] highest.
    pub p50: Option<f64>,
}

/// Rows of one side of the split.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Side {
    /// Rows: one for each signature known at each origin.
    pub rows: usize,
    /// Those with an incident in the window.
    pub hits: usize,
    /// Origins.
    pub origins: usize,
}

/// What an evaluation found.
#[derive(Clone, PartialEq, Debug)]
pub struct Scorecard {
    /// quell's forecast, whatever it rests on.
    pub quell: Scores,
    /// The EWMA with the half-life that did best in training.
    pub ewma: Scores,
    /// The count of the last window.
    pub last_window: Scores,
    /// The share of training windows with an incident.
    pub base_rate: Scores,
    /// Where the future begins.
    pub split_at: Timestamp,
    /// The past.
    pub train: Side,
    /// The future.
    pub test: Side,
    /// The forecast that was trained on the past.
    pub model: Model,
    /// How well times to the next incident were put in order (C-index).
    pub order: Order,
}

impl Scorecard {
    /// Why quell abstains or does not use its model, as a sentence; `None` where it uses it.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        match (self.model.abstains, self.model.chosen) {
            (Some(thin), _) => Some(format!("too little to learn from: {thin}")),
            (None, Chosen::Model) => None,
            (None, Chosen::Ewma) => Some("the model did not beat the EWMA on later windows of the past".to_owned()),
            (None, Chosen::BaseRate) => {
                Some("no signal: on later windows of the past nothing beat the base rate".to_owned())
            }
        }
    }

    /// The verdict in words.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match (self.model.abstains, self.model.chosen) {
            (Some(_), _) => "abstains",
            (None, Chosen::BaseRate) => "no signal",
            (None, Chosen::Model | Chosen::Ewma) => "signal",
        }
    }
}

/// The evaluation.
///
/// # Errors
/// Says which part of the plan does not fit this history.
pub fn evaluate(history: &History, plan: Plan) -> Result<Scorecard, Unfit> {
    let Plan { horizon, split: share, seed } = plan;
    let horizon = micros(horizon);
    if !(share > 0.0 && share < 1.0) {
        return Err(Unfit::Split(share));
    }
    if !(DAY / 24..=365 * DAY).contains(&horizon) {
        return Err(Unfit::Horizon(days(horizon)));
    }
    let span = history.span();
    let split = Split::of(span, horizon, share);
    let at = Timestamp::from_micros(split.at);
    if split.test.is_empty() || split.test.iter().all(|origin| history.known(*origin) == 0) {
        let (from, until) = (span.start, span.end);
        return Err(Unfit::NoTest { from, until, days: span.days(), horizon: days(horizon), at });
    }
    let model = Model::train(history, at, horizon, seed);
    let next = Next::train(history, at, seed);
    let judged = Judged::of(history, horizon, &split.test, &model);
    let base_rate = judged.scores(&judged.base, &judged.base, None);
    let scores = |rank: &[f64], probability: &[f64]| judged.scores(rank, probability, Some(base_rate.brier));
    Ok(Scorecard {
        quell: scores(&judged.rank, &judged.probability),
        ewma: scores(&judged.rate, &judged.ewma),
        last_window: scores(&judged.count, &judged.last_window),
        base_rate: Scores { bss: Some(0.0), ..base_rate },
        split_at: at,
        train: side(history, horizon, &split.train),
        test: Side { rows: judged.labels.len(), hits: judged.hits(), origins: split.test.len() },
        model,
        order: order(history, next.as_ref(), split.at),
    })
}

/// Counts rows without making them.
fn side(history: &History, horizon: i64, origins: &[i64]) -> Side {
    let mut side = Side { rows: 0, hits: 0, origins: origins.len() };
    for series in &history.series {
        for &origin in origins {
            if series.opened.first().is_some_and(|&first| first < origin) {
                side.rows += 1;
                side.hits += usize::from(series.opens_within(origin, origin + horizon));
            }
        }
    }
    side
}

/// What each forecaster said of each test row, and what came.
#[derive(Default)]
struct Judged {
    labels: Vec<bool>,
    mid: Vec<bool>,
    /// Where each origin's rows begin.
    begins: Vec<usize>,
    rank: Vec<f64>,
    probability: Vec<f64>,
    rate: Vec<f64>,
    ewma: Vec<f64>,
    count: Vec<f64>,
    last_window: Vec<f64>,
    base: Vec<f64>,
}

impl Judged {
    fn of(history: &History, horizon: i64, origins: &[i64], model: &Model) -> Judged {
        let mut judged = Judged::default();
        let mut belief = model.belief;
        Table::each(history, horizon, origins, |table| {
            judged.begins.push(judged.labels.len());
            let scored: Vec<Scored> = (0..table.len()).map(|row| model.score(table, row)).collect();
            for (row, scored) in scored.iter().enumerate() {
                let said = model.say(&belief, scored);
                judged.rank.push(said.rank);
                judged.probability.push(said.probability);
                judged.rate.push(model.ewma.rate(table, row));
                judged.ewma.push(model.ewma.probability(table, row));
                judged.count.push(table.last_window[row]);
                judged.last_window.push(model.last_window.probability(table.last_window[row].ln_1p()));
                judged.base.push(model.base_rate);
                judged.labels.push(table.labels[row]);
                judged.mid.push(MID.contains(&table.month[row]));
            }
            // By the next origin this window's outcome is known.
            belief.learn(&scored, &table.labels, model.base_rate, horizon);
        });
        judged
    }

    fn hits(&self) -> usize {
        self.labels.iter().filter(|&&hit| hit).count()
    }

    fn scores(&self, rank: &[f64], probability: &[f64], base: Option<f64>) -> Scores {
        let mid = |row: &usize| self.mid[*row];
        let mid_rank: Vec<f64> = (0..rank.len()).filter(mid).map(|row| rank[row]).collect();
        let mid_labels: Vec<bool> = (0..rank.len()).filter(mid).map(|row| self.labels[row]).collect();
        let brier = brier(probability, &self.labels);
        let ends = self.begins.iter().skip(1).copied().chain([rank.len()]);
        let tops: Vec<f64> = self
            .begins
            .iter()
            .zip(ends)
            .filter_map(|(&from, to)| precision_at(&rank[from..to], &self.labels[from..to], TOP))
            .collect();
        Scores {
            pr_auc: pr_auc(rank, &self.labels),
            pr_auc_mid: pr_auc(&mid_rank, &mid_labels),
            roc_auc: roc_auc(rank, &self.labels),
            brier,
            bss: base.filter(|base| *base > 0.0).map(|base| 1.0 - brier / base),
            ece: ece(probability, &self.labels),
            p50: (!tops.is_empty()).then(|| tops.iter().sum::<f64>() / tops.len() as f64),
        }
    }
}
