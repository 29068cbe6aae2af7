//! Logistic regression over standardised features.
//!
//! The fit is linfa's; scaling is by hand, so that a saved model is nothing but numbers with names.
//! Absent on purpose: weights of rows, which linfa ignores.

use linfa::prelude::*;
use linfa_logistic::LogisticRegression;
use ndarray::{Array1, Array2};

use crate::features::WIDTH;
use crate::table::Table;

/// Strength of the penalty on squared weights, against the sum of the losses of the rows.
const PENALTY: f64 = 3.0;
const STEPS: u64 = 40;
/// The share of rows beyond which a feature is cut off at either end, so that a value never seen cannot run away.
const CUT: f64 = 0.005;
/// Rows that the cuts are read from; more change nothing.
const CUT_ROWS: usize = 20_000;

/// How one feature is brought to mean 0 and deviation 1.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Scale {
    /// Values below are taken as this.
    pub low: f64,
    /// Values above are taken as this.
    pub high: f64,
    /// The mean after the cut.
    pub mean: f64,
    /// The standard deviation after the cut; 0 marks a feature that never varied and is left out.
    pub deviation: f64,
}

impl Scale {
    fn of(mut values: Vec<f64>) -> Scale {
        let step = values.len().div_ceil(CUT_ROWS).max(1);
        let mut some: Vec<f64> = values.iter().copied().step_by(step).collect();
        some.sort_by(f64::total_cmp);
        let place = (some.len() as f64 * CUT) as usize;
        let (low, high) = match some.len() {
            0 => (0.0, 0.0),
            rows => (some[place], some[rows - 1 - place]),
        };
        values.iter_mut().for_each(|value| *value = value.clamp(low, high));
        let rows = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / rows;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / rows;
        let deviation = if variance > 1e-18 { variance.sqrt() } else { 0.0 };
        Scale { low, high, mean, deviation }
    }

    fn apply(&self, value: f64) -> f64 {
        if self.deviation == 0.0 { 0.0 } else { (value.clamp(self.low, self.high) - self.mean) / self.deviation }
    }
}

/// A fitted regression: log-odds are `offset` plus the sum of `weights` times scaled features.
#[derive(Clone, PartialEq, Debug)]
pub struct Logistic {
    /// One for each feature.
    pub scales: Vec<Scale>,
    /// One for each feature.
    pub weights: Vec<f64>,
    /// The log-odds at the mean of all features.
    pub offset: f64,
}

impl Logistic {
    /// Fits the rows; `None` where they hold one class only or the fit fails.
    pub(crate) fn fit(table: &Table) -> Option<Logistic> {
        if table.hits() == 0 || table.hits() == table.len() {
            return None;
        }
        let scales: Vec<Scale> = (0..WIDTH)
            .map(|feature| Scale::of(table.features.iter().skip(feature).step_by(WIDTH).copied().collect()))
            .collect();
        let scaled: Vec<f64> = table
            .features
            .chunks_exact(WIDTH)
            .flat_map(|row| row.iter().zip(&scales).map(|(x, s)| s.apply(*x)))
            .collect();
        let rows = Array2::from_shape_vec((table.len(), WIDTH), scaled).ok()?;
        let labels = Array1::from_iter(table.labels.iter().copied());
        let fit = LogisticRegression::default().alpha(PENALTY).max_iterations(STEPS);
        let model = fit.fit(&Dataset::new(rows, labels)).ok()?;
        // linfa's "positive" class is the more frequent one, not the larger label (linfa issue 393).
        let sign = if model.labels().pos.class { 1.0 } else { -1.0 };
        let weights: Vec<f64> = model.params().iter().map(|weight| sign * weight).collect();
        let offset = sign * model.intercept();
        let sound = weights.iter().all(|weight| weight.is_finite()) && offset.is_finite();
        sound.then_some(Logistic { scales, weights, offset })
    }

    /// The log-odds of one row.
    #[must_use]
    pub fn log_odds(&self, row: &[f64]) -> f64 {
        let terms = row.iter().zip(&self.scales).zip(&self.weights);
        self.offset + terms.map(|((value, scale), weight)| scale.apply(*value) * weight).sum::<f64>()
    }
}
