//! What a model sees of one signature at one origin: numbers made of earlier open times only.
//!
//! The first 17 are the published set of the recurrence task; the others are quell's own: rates of self-excitation at
//! several half-lives (an exponential Hawkes kernel each), neighbours in the same service or on the same CI, the
//! calendar, and how the past windows went.
//! Absent on purpose: weights; a model learns them.

use std::time::Duration;

use quell_domain::{Signature, Timestamp};

use crate::history::{History, days};
use crate::split::micros;
use crate::sweep::{HALF_LIVES, Sweep, WINDOWS};

/// Names of the 17 published features, in their order: `ln(1 + x)` of counts, gaps and rates; days; shares.
pub const EXACT: [&str; 17] = [
    "recency_d",
    "c1",
    "c3",
    "c7",
    "c14",
    "c28",
    "ctot",
    "age_d",
    "mean_gap_d",
    "gap_cv",
    "recency_over_gap",
    "ew7",
    "ew28",
    "active_days28",
    "frac_business_hours",
    "frac_weekend",
    "global7",
];

/// Names of quell's own features, in their order.
pub const OWN: [&str; 22] = [
    "excitation_1d",
    "excitation_3d",
    "excitation_7d",
    "excitation_14d",
    "excitation_28d",
    "excitation_56d",
    "excitation_112d",
    "hits_of_4_windows",
    "hits_of_12_windows",
    "last_window",
    "last_gap",
    "recency",
    "recency_over_last_gap",
    "by_weekday",
    "target_weekend",
    "service_3d",
    "service_28d",
    "ci_3d",
    "ci_28d",
    "trend",
    "returned",
    "urgent_share",
];

/// How many features a row has.
pub const WIDTH: usize = EXACT.len() + OWN.len();

/// The shortest mean gap that a ratio is taken of: one second, in days, for incidents of one instant.
const SHORTEST_GAP: f64 = 1.0 / 86_400.0;
/// What stands for "none expected" under a logarithm: one incident in a hundred windows.
const FLOOR: f64 = 0.01;

/// Calls with every signature known at an origin, its 17 published features and whether it opened within the horizon:
/// for those who compare them with other people's.
pub fn published(
    history: &History,
    horizon: Duration,
    origins: &[Timestamp],
    mut with: impl FnMut(Timestamp, &Signature, bool, [f64; EXACT.len()]),
) {
    let mut sweep = Sweep::new(history, micros(horizon));
    for &origin in origins {
        sweep.advance(origin.micros());
        for series in sweep.known() {
            with(origin, &history.series[series].signature, sweep.label(series), exact(&sweep, series));
        }
    }
}

/// The 17 published features of one signature that has an incident before the origin.
pub(crate) fn exact(sweep: &Sweep<'_>, series: usize) -> [f64; EXACT.len()] {
    let (all, state) = (&sweep.history.series[series], &sweep.states[series]);
    let (recency, seen) = (sweep.recency(series), state.seen as f64);
    let gap = state.mean_gap(recency);
    let count: [f64; WINDOWS.len()] = std::array::from_fn(|window| state.count(window).ln_1p());
    [
        recency,
        count[0],
        count[1],
        count[2],
        count[3],
        count[4],
        seen.ln_1p(),
        days(sweep.origin - all.opened[0]),
        gap.ln_1p(),
        state.gap_variation(),
        (recency / gap.max(SHORTEST_GAP)).ln_1p(),
        state.rate(2, recency).ln_1p(),
        state.rate(4, recency).ln_1p(),
        state.active_days(all),
        state.in_business_hours as f64 / seen,
        state.on_weekend as f64 / seen,
        sweep.context.week.ln_1p(),
    ]
}

/// Incidents expected within the horizon at the half-life of that place, corrected for the time before the span began,
/// of which nothing is known: a sum over `elapsed` days holds `1 - 2^(-elapsed / half-life)` of its weight.
pub(crate) fn expected(sweep: &Sweep<'_>, series: usize, half_life: usize) -> f64 {
    let held = 1.0 - (-sweep.context.elapsed / HALF_LIVES[half_life]).exp2();
    sweep.states[series].rate(half_life, sweep.recency(series)) * days(sweep.horizon) / held.max(1e-6)
}

/// Quell's own features of one signature that has an incident before the origin.
pub(crate) fn own(sweep: &Sweep<'_>, series: usize) -> [f64; OWN.len()] {
    let (all, state, context) = (&sweep.history.series[series], &sweep.states[series], &sweep.context);
    let (recency, horizon) = (sweep.recency(series), days(sweep.horizon));
    let excitation: [f64; HALF_LIVES.len()] = std::array::from_fn(|at| (expected(sweep, series, at) + FLOOR).ln());
    let service = sweep.neighbours(series, true).map(|rate| (rate * horizon).ln_1p());
    let ci = sweep.neighbours(series, false).map(|rate| (rate * horizon).ln_1p());
    let last_gap = if state.seen > 1 { state.last_gap } else { recency };
    let week = context.elapsed.clamp(1.0, 7.0);
    let month = context.elapsed.clamp(1.0, 28.0);
    [
        excitation[0],
        excitation[1],
        excitation[2],
        excitation[3],
        excitation[4],
        excitation[5],
        excitation[6],
        hits(sweep, series, 4),
        hits(sweep, series, 12),
        (all.count_within(sweep.origin - sweep.horizon, sweep.origin) as f64).ln_1p(),
        last_gap.ln_1p(),
        (recency + 0.05).ln(),
        (recency / last_gap.max(SHORTEST_GAP)).ln_1p(),
        (state.by_weekday(&context.target, recency) + FLOOR).ln(),
        context.weekend,
        service[0],
        service[1],
        ci[0],
        ci[1],
        ((context.week / week + 0.1) / (context.month / month + 0.1)).ln(),
        (context.returned / (1.0 - context.returned)).ln(),
        state.urgent as f64 / state.seen as f64,
    ]
}

/// Of the last `windows` windows of one horizon each that lie within the span, the share with an incident.
fn hits(sweep: &Sweep<'_>, series: usize, windows: i64) -> f64 {
    let all = &sweep.history.series[series];
    let first = sweep.history.span.start.micros();
    let whole = ((sweep.origin - first) / sweep.horizon.max(1)).clamp(1, windows);
    let begin = sweep.origin - whole * sweep.horizon;
    let opened = &all.opened[all.opened.partition_point(|&at| at < begin)..sweep.states[series].seen];
    let mut hit = (0, i64::MIN);
    for &at in opened {
        let window = (sweep.origin - 1 - at) / sweep.horizon.max(1);
        if window != hit.1 {
            hit = (hit.0 + 1, window);
        }
    }
    f64::from(hit.0) / whole as f64
}
