//! What every store promises of forecasts and of what they learn from: a part of the contract, with files of its own.
//!
//! None of it decides anything of the engine's, so that it travels with no commit. Absent on purpose: making forecasts.

use quell_domain::{HistoricIncident, KeptForecast, KeptModel, Shard, Subject, Timestamp};

use crate::contract::Answer;

/// Which forecasts to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// Those made last, the subject ranked highest first.
    Latest,
    /// Those that count on the scorecard and whose window was over at an instant, the oldest first: to be marked.
    Due(Timestamp),
    /// Those that were marked, the newest first.
    Marked,
}

/// What a store keeps for forecasts.
pub trait ForecastStore: Send + Sync + 'static {
    /// Keeps forecasts of one subject and horizon, made at one instant; those made before that do not count on the
    /// scorecard go.
    fn keep_forecasts<'a>(&'a self, shard: Shard, rows: &'a [KeptForecast]) -> Answer<'a, ()>;

    /// A part of the forecasts of a subject and horizon, at most `limit`.
    fn forecasts(
        &self,
        shard: Shard,
        subject: Subject,
        horizon: u32,
        which: Which,
        limit: u32,
    ) -> Answer<'_, Vec<KeptForecast>>;

    /// Forecasts of subjects by their names that count on the scorecard, the newest first, at most `limit`.
    fn forecasts_of<'a>(
        &'a self,
        shard: Shard,
        subject: Subject,
        horizon: u32,
        names: &'a [String],
        limit: u32,
    ) -> Answer<'a, Vec<KeptForecast>>;

    /// Writes down what came of forecasts; each is found by its instant and its name.
    fn mark_forecasts<'a>(&'a self, shard: Shard, rows: &'a [KeptForecast]) -> Answer<'a, ()>;

    /// Keeps a model; of one subject and horizon the last few are kept.
    fn put_model<'a>(&'a self, shard: Shard, model: &'a KeptModel) -> Answer<'a, ()>;

    /// The last model of a subject and horizon.
    fn model(&self, shard: Shard, subject: Subject, horizon: u32) -> Answer<'_, Option<KeptModel>>;

    /// Adds incidents of other systems; one that is there already changes nothing. Returns how many were new.
    fn add_history<'a>(&'a self, shard: Shard, incidents: &'a [HistoricIncident]) -> Answer<'a, u64>;

    /// Incidents of other systems in the order they were added, after a place, at most `limit`; each with its place.
    fn history(&self, shard: Shard, after: u64, limit: u32) -> Answer<'_, Vec<(u64, HistoricIncident)>>;
}

/// Models of one subject and horizon that are kept.
pub const MODELS: u32 = 5;
