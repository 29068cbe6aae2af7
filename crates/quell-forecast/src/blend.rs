//! quell's own model: a logistic regression and boosted trees, half and half in log-odds, leaning on the EWMA.
//!
//! Absent on purpose: the choice whether to use it; `train` makes it on the user's own past.

use crate::boost::{Growth, Tree, answer, grow};
use crate::features::WIDTH;
use crate::history::days;
use crate::logistic::Logistic;
use crate::metrics::pr_auc;
use crate::platt::{Platt, log_odds};
use crate::sweep::HALF_LIVES;
use crate::table::Table;

/// What is added to expected incidents before the logarithm is taken: one in a hundred windows.
const FLOOR: f64 = 0.01;
/// Pseudo-observations that draw the curve of a baseline to its prior; few, as there are only two parameters.
const BASELINE_WEIGHT: f64 = 2.0;

/// How the trees are grown; measured on synthetic logs of many shapes (`docs/forecast.md`).
const GROWTH: Growth = Growth { rounds: 120, depth: 3, step: 0.06, penalty: 10.0, least: 15.0, sample: 0.7 };

/// Exponentially weighted rate of a signature as a forecast.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ewma {
    /// The half-life's place among those tried.
    pub(crate) place: usize,
    /// Days of the horizon.
    pub(crate) horizon: f64,
    /// From the logarithm of expected incidents to a probability.
    pub platt: Platt,
}

impl Ewma {
    /// The half-life that ranks the rows best, with its calibration.
    pub(crate) fn fit(table: &Table, horizon: i64) -> Ewma {
        let quality = |place: usize| {
            let scores: Vec<f64> = table.rates.iter().map(|rates| rates[place]).collect();
            pr_auc(&scores, &table.labels).unwrap_or(0.0)
        };
        let mut best = (4, quality(4));
        for place in 0..HALF_LIVES.len() {
            let found = quality(place);
            if found > best.1 {
                best = (place, found);
            }
        }
        let mut ewma = Ewma { place: best.0, horizon: days(horizon), platt: Platt::IDENTITY };
        let scores: Vec<f64> = (0..table.len()).map(|row| ewma.score(table, row)).collect();
        ewma.platt = Platt::fit(&scores, &table.labels, Platt::IDENTITY, BASELINE_WEIGHT);
        ewma
    }

    /// From its parts; `None` where the half-life is none of those tried.
    #[must_use]
    pub fn new(half_life: f64, horizon: i64, platt: Platt) -> Option<Ewma> {
        let place = HALF_LIVES.iter().position(|tried| *tried == half_life)?;
        Some(Ewma { place, horizon: days(horizon), platt })
    }

    /// The half-life in days.
    #[must_use]
    pub fn half_life(&self) -> f64 {
        HALF_LIVES[self.place]
    }

    /// The rate a day: what the EWMA ranks by.
    pub(crate) fn rate(&self, table: &Table, row: usize) -> f64 {
        table.rates[row][self.place]
    }

    fn score(&self, table: &Table, row: usize) -> f64 {
        (self.rate(table, row) * self.horizon + FLOOR).ln()
    }

    /// The probability of at least one incident within the horizon.
    pub(crate) fn probability(&self, table: &Table, row: usize) -> f64 {
        self.platt.probability(self.score(table, row))
    }
}

/// The count of the last window as a forecast: `ln(1 + count)` through a Platt curve.
pub(crate) fn last_window(table: &Table) -> Platt {
    let scores: Vec<f64> = table.last_window.iter().map(|count| count.ln_1p()).collect();
    Platt::fit(&scores, &table.labels, Platt::IDENTITY, BASELINE_WEIGHT)
}

/// The fitted parts.
#[derive(Clone, PartialEq, Debug)]
pub struct Blend {
    /// The regression.
    pub logistic: Logistic,
    /// Trees that correct the EWMA's log-odds.
    pub trees: Vec<Tree>,
}

impl Blend {
    /// Fits the rows; `None` where the regression cannot be.
    pub(crate) fn fit(table: &Table, ewma: &Ewma, seed: u64) -> Option<Blend> {
        let logistic = Logistic::fit(table)?;
        let mut start: Vec<f64> = (0..table.len()).map(|row| log_odds(ewma.probability(table, row))).collect();
        let trees = grow(table, &mut start, &GROWTH, seed);
        Some(Blend { logistic, trees })
    }

    /// The log-odds of one row: the mean of both parts, the trees standing on the EWMA's log-odds.
    #[must_use]
    pub fn log_odds(&self, row: &[f64], ewma: f64) -> f64 {
        debug_assert_eq!(row.len(), WIDTH);
        f64::midpoint(self.logistic.log_odds(row), ewma + answer(&self.trees, row))
    }
}
