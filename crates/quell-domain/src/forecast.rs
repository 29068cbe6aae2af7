//! The forecast that is kept: what was said of a trouble's next incident, and what came.
//!
//! Absent on purpose: how it is made; see `quell-forecast`.

use crate::ci::CiId;
use crate::ids::Digest;
use crate::time::Timestamp;

/// What a forecast is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Subject {
    /// Incidents of one signature.
    Signature = 0,
    /// Incidents of which one CI is the probable cause.
    Ci = 1,
}

impl Subject {
    /// Both.
    pub const ALL: [Subject; 2] = [Subject::Signature, Subject::Ci];

    /// The name used in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Subject::Signature => "signature",
            Subject::Ci => "ci",
        }
    }
}

/// The horizons that are forecast, in seconds: a day and a week.
pub const HORIZONS: [u32; 2] = [86_400, 7 * 86_400];

/// What was said of one subject at one instant.
#[derive(Clone, PartialEq, Debug)]
pub struct KeptForecast {
    /// When it was said.
    pub at: Timestamp,
    /// How far it reaches, in seconds.
    pub horizon: u32,
    /// What it is about.
    pub subject: Subject,
    /// The signature's or the CI's name.
    pub name: String,
    /// The CI judged at fault most often; for a CI itself.
    pub ci: Option<CiId>,
    /// The chance of at least one more incident within the horizon.
    pub probability: f64,
    /// Its 90 % interval.
    pub interval: [f64; 2],
    /// What its subject is ranked by.
    pub rank: f64,
    /// What the EWMA, the count of the last window, and the base rate say instead.
    pub baselines: [f64; 3],
    /// What the probability rests on: `model`, `ewma` or `base_rate`.
    pub rests_on: String,
    /// Why it is no judgement of its own, where it is none.
    pub abstains: Option<String>,
    /// When the next incident is likely to come: one in ten comes before the first, half before the second, nine in ten
    /// before the third; `None` where the past does not reach that far.
    pub window: [Option<Timestamp>; 3],
    /// Its incidents that are known.
    pub seen: u64,
    /// How many CIs may degrade: what depends on its CI in the topology in force; else the median of its past incidents;
    /// `None` where neither says so.
    pub dependents: Option<f64>,
    /// Nine in ten of its past incidents lay between these, drawn wide enough to hold what is expected.
    pub dependents_between: Option<[f64; 2]>,
    /// How many minutes it is likely to be open: the median of its past incidents; `None` where none of them says so.
    pub minutes: Option<f64>,
    /// Nine in ten of its past incidents lay between these, and with few of them, nine in ten of all.
    pub minutes_between: Option<[f64; 2]>,
    /// The model that said it.
    pub model: Digest,
    /// Whether it counts on the scorecard: the first one of each day does.
    pub scored: bool,
    /// What came; `None` while the window is open.
    pub outcome: Option<Came>,
}

/// What came within a forecast's window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Came {
    /// The first incident within it; `None` when there was none.
    pub first_at: Option<Timestamp>,
}

/// A trained model as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptModel {
    /// What it is about.
    pub subject: Subject,
    /// Its horizon in seconds.
    pub horizon: u32,
    /// When it was trained.
    pub at: Timestamp,
    /// Incidents it was trained on.
    pub incidents: u64,
    /// The SHA-256 of its text.
    pub digest: Digest,
    /// Its text, as `docs/forecast.md` says.
    pub text: String,
}
