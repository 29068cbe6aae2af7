//! Which trouble comes back: features of open times, models, calibration, and the tests that keep them honest.
//!
//! Deliberately absent: clocks, files, tables and texts. Incidents are handed in, chance is a seed, and what is known
//! only after an origin is never a feature at it.
#![deny(clippy::iter_over_hash_type)]

pub mod belief;
pub mod blend;
pub mod boost;
pub mod evaluate;
pub mod features;
pub mod forecast;
pub mod history;
pub mod kept;
pub mod logistic;
pub mod metrics;
pub mod next;
pub mod platt;
pub mod train;
pub mod usual;
pub mod verify;

pub mod rate;

mod chance;
mod split;
mod sure;
mod sweep;
mod table;

#[cfg(test)]
mod tests;

pub use evaluate::{Plan, Scorecard, Scores, evaluate};
pub use forecast::{Forecast, Forecasts, Outlook, forecasts};
pub use history::{History, Links, NEIGHBOURS, Span};
pub use kept::{KeptScorecard, KeptScores, Marked, scorecard};
pub use next::Next;
pub use rate::{RateChange, rate_change};
pub use table::Table;
pub use train::{Chosen, Model};
pub use verify::{Before, FixVerdict, Verification, verify};
