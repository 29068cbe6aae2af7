//! Rows to learn from and to be judged on: one for each signature known at each origin.
//!
//! Absent on purpose: rows in number without limit; a table to learn from thins its origins.

use crate::features::{EXACT, OWN, WIDTH, exact, own};
use crate::history::History;
use crate::sweep::{HALF_LIVES, Sweep};

/// Rows of features with what came of them, row by row, oldest origin first.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// [`WIDTH`] numbers a row.
    pub features: Vec<f64>,
    /// Whether the signature opened within the horizon.
    pub labels: Vec<bool>,
    /// The number of the row's signature.
    pub series: Vec<u32>,
    /// The number of the row's origin.
    pub origins: Vec<u32>,
    /// One rate a day for each half-life.
    pub(crate) rates: Vec<[f64; HALF_LIVES.len()]>,
    /// Openings in the last 7 days.
    pub(crate) last_window: Vec<f64>,
    /// Openings in the last 28 days.
    pub(crate) month: Vec<f64>,
}

impl Table {
    /// The rows of those origins, which rise, that a test of their number keeps.
    pub(crate) fn drawn(history: &History, horizon: i64, origins: &[i64], keep: impl Fn(u64) -> bool) -> Table {
        let mut table = Table::default();
        let mut sweep = Sweep::new(history, horizon);
        let mut rows = 0;
        for (&origin, number) in origins.iter().zip(0..) {
            sweep.advance(origin);
            for series in sweep.known() {
                rows += 1;
                if keep(rows) {
                    table.push(&sweep, series, number);
                    table.labels.push(sweep.label(series));
                }
            }
        }
        table
    }

    /// Hands over the rows of one origin after the other, so that they need not all be held.
    pub(crate) fn each(history: &History, horizon: i64, origins: &[i64], mut with: impl FnMut(&Table)) {
        let mut sweep = Sweep::new(history, horizon);
        for (&origin, number) in origins.iter().zip(0..) {
            sweep.advance(origin);
            let mut table = Table::default();
            for series in sweep.known() {
                table.push(&sweep, series, number);
                table.labels.push(sweep.label(series));
            }
            with(&table);
        }
    }

    /// The rows of one origin, of which the outcome is not asked: every label is `false`.
    pub(crate) fn at(history: &History, horizon: i64, origin: i64) -> Table {
        let mut table = Table::default();
        let mut sweep = Sweep::new(history, horizon);
        sweep.advance(origin);
        for series in sweep.known() {
            table.push(&sweep, series, 0);
            table.labels.push(false);
        }
        table
    }

    fn push(&mut self, sweep: &Sweep<'_>, series: usize, origin: u32) {
        let (exact, own): ([f64; EXACT.len()], [f64; OWN.len()]) = (exact(sweep, series), own(sweep, series));
        self.features.extend(exact);
        self.features.extend(own);
        let (state, recency) = (&sweep.states[series], sweep.recency(series));
        self.rates.push(std::array::from_fn(|at| state.rate(at, recency)));
        self.last_window.push(state.count(2));
        self.month.push(state.count(4));
        self.series.push(u32::try_from(series).unwrap_or(u32::MAX));
        self.origins.push(origin);
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The features of one row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f64] {
        &self.features[row * WIDTH..(row + 1) * WIDTH]
    }

    /// Rows with a label of `true`.
    #[must_use]
    pub fn hits(&self) -> usize {
        self.labels.iter().filter(|&&hit| hit).count()
    }

    /// The rows that a test of their place and origin keeps, in order.
    pub(crate) fn filter(&self, keep: impl Fn(usize) -> bool) -> Table {
        let mut table = Table::default();
        for row in (0..self.len()).filter(|&row| keep(row)) {
            table.features.extend(self.row(row));
            table.labels.push(self.labels[row]);
            table.series.push(self.series[row]);
            table.origins.push(self.origins[row]);
            table.rates.push(self.rates[row]);
            table.last_window.push(self.last_window[row]);
            table.month.push(self.month[row]);
        }
        table
    }
}
