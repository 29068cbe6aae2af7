//! When the next incident of a signature is likely to come.
//!
//! The logarithm of the time to the next incident is a weighted sum of how the gaps went so far (least squares; times
//! that had not ended count as the time expected beyond what was waited, after Buckley and James, 1979), and the spread
//! around it is the Kaplan-Meier curve of what was left over.
//! Absent on purpose: the horizon; this is about time, not about one window.

use quell_domain::Timestamp;

use crate::chance::unit;
use crate::history::{DAY, History, Series, days};
use crate::metrics::concordance;

/// The gap, in days, that stands where there was none yet.
const NO_GAP: f64 = 90.0;
/// Added to each gap before its logarithm is taken: one minute, in days.
const MINUTE: f64 = 1.0 / 1440.0;
/// Weights of the newest gap in the two averages.
const QUICK: f64 = 0.3;
const SLOW: f64 = 0.1;
/// How many numbers describe a moment.
pub const MOMENT: usize = 7;
/// Moments that are learned from at most, and at least.
const MOST: usize = 60_000;
const LEAST: usize = 30;
/// Rounds in which times that had not ended are filled in.
const ROUNDS: usize = 4;
/// By how much a hazard is scaled at most.
const SCALE: f64 = 20.0;
/// Points of the curve that are kept.
const POINTS: usize = 128;

/// How the gaps of a signature went up to one incident.
#[derive(Clone, Copy, Debug)]
struct Gaps {
    quick: f64,
    slow: f64,
    last: f64,
    logs: f64,
    count: f64,
}

impl Gaps {
    const NONE: Gaps = Gaps { quick: NO_GAP, slow: 0.0, last: NO_GAP, logs: 0.0, count: 0.0 };

    fn take(&mut self, gap: f64) {
        let log = (gap + MINUTE).ln();
        let first = self.count == 0.0;
        self.quick = if first { gap } else { QUICK * gap + (1.0 - QUICK) * self.quick };
        self.slow = if first { log } else { SLOW * log + (1.0 - SLOW) * self.slow };
        self.last = gap;
        self.logs += log;
        self.count += 1.0;
    }

    /// What the regression sees; `elapsed` are the days from the span's start to the incident.
    fn moment(&self, elapsed: f64) -> [f64; MOMENT] {
        let none = self.count == 0.0;
        let log = |gap: f64| (gap + MINUTE).ln();
        [
            1.0,
            f64::from(u8::from(none)),
            log(self.quick),
            if none { log(NO_GAP) } else { self.slow },
            log(self.last),
            if none { log(NO_GAP) } else { self.logs / self.count },
            ((elapsed + 1.0) / (self.count + 1.0)).ln(),
        ]
    }
}

/// One incident: how things stood, how long was waited for the next, and whether it came.
#[derive(Clone, Copy, Debug)]
struct Wait {
    moment: [f64; MOMENT],
    gaps: Gaps,
    waited: f64,
    came: bool,
}

/// Calls with each incident opened within `[from, until)`, its wait cut off at `until`.
fn waits(history: &History, from: i64, until: i64, mut with: impl FnMut(Wait)) {
    for series in &history.series {
        let mut gaps = Gaps::NONE;
        for (place, &at) in series.opened.iter().take_while(|at| **at < until).enumerate() {
            if let Some(before) = place.checked_sub(1) {
                gaps.take(days(at - series.opened[before]));
            }
            if at < from {
                continue;
            }
            let next = series.opened.get(place + 1).copied().filter(|next| *next < until);
            let moment = gaps.moment(days(at - history.span.start.micros()));
            with(Wait { moment, gaps, waited: days(next.unwrap_or(until) - at), came: next.is_some() });
        }
    }
}

/// Learned times to the next incident.
#[derive(Clone, PartialEq, Debug)]
pub struct Next {
    /// One weight for each number of a moment.
    pub weights: [f64; MOMENT],
    /// Of the logarithm of what is waited beyond the expected: values that rise, each with the share that waits longer.
    pub curve: Vec<[f64; 2]>,
}

/// When the next incident is likely to come; `None` where the past does not reach that far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// One in ten comes before.
    pub early: Option<Timestamp>,
    /// Half come before.
    pub middle: Option<Timestamp>,
    /// Nine in ten come before.
    pub late: Option<Timestamp>,
}

impl Next {
    /// Learns from what opened before `until`; `None` where fewer than 30 incidents were followed by another.
    #[must_use]
    pub fn train(history: &History, until: Timestamp, seed: u64) -> Option<Next> {
        let until = until.micros();
        let share = MOST as f64 / history.opened.partition_point(|&at| at < until).max(1) as f64;
        let (mut all, mut number) = (Vec::new(), 0);
        waits(history, i64::MIN, until, |wait| {
            number += 1;
            if share >= 1.0 || unit(seed ^ 0x0e87, number) < share {
                all.push(wait);
            }
        });
        if all.iter().filter(|wait| wait.came).count() < LEAST {
            return None;
        }
        let mut logs: Vec<f64> = all.iter().map(|wait| (wait.waited + MINUTE).ln()).collect();
        let mut next = Next { weights: [0.0; MOMENT], curve: Vec::new() };
        for _ in 0..ROUNDS {
            next.weights = least_squares(&all, &logs)?;
            let weights = next.weights;
            let left = |wait: &Wait| (wait.waited + MINUTE).ln() - sum(&weights, &wait.moment);
            next.curve = survival(all.iter().map(|wait| (left(wait), wait.came)).collect());
            let beyond = Beyond::of(&next.curve);
            for (log, wait) in logs.iter_mut().zip(&all).filter(|(_, wait)| !wait.came) {
                *log = sum(&weights, &wait.moment) + beyond.mean(left(wait));
            }
        }
        Some(next)
    }

    /// The logarithm of the expected days to the next incident.
    fn expected(&self, moment: &[f64; MOMENT]) -> f64 {
        sum(&self.weights, moment)
    }

    /// The likely window of the next incident of a series that has one before `at`, given that none came since. Where the
    /// chance within a horizon is known, the hazard is scaled so that it agrees, and what still would not is cut off there:
    /// two models of one thing must not contradict each other.
    pub(crate) fn window(
        &self,
        history: &History,
        series: &Series,
        at: i64,
        known: Option<(i64, f64)>,
    ) -> Option<Window> {
        let seen = series.opened.partition_point(|&opened| opened < at);
        let last = *series.opened.get(seen.checked_sub(1)?)?;
        let mut gaps = Gaps::NONE;
        series.opened[..seen].windows(2).for_each(|pair| gaps.take(days(pair[1] - pair[0])));
        let expected = self.expected(&gaps.moment(days(last - history.span.start.micros())));
        let longer = |than: i64| self.waits_longer((days(than - last) + MINUTE).ln() - expected);
        let now = longer(at);
        let hazard = known.map_or(1.0, |(horizon, chance)| {
            let quiet = (longer(at.saturating_add(horizon)) / now).ln();
            let scale = (1.0 - chance.clamp(1e-6, 1.0 - 1e-6)).ln() / quiet;
            if quiet < 0.0 { scale.clamp(1.0 / SCALE, SCALE) } else { 1.0 }
        });
        let quantile = |share: f64| {
            let wanted = now * (1.0 - share).powf(1.0 / hazard);
            let [beyond, _] = *self.curve.iter().find(|[_, longer]| *longer <= wanted)?;
            let waited = (expected + beyond).exp() - MINUTE;
            let micros = (waited * DAY as f64).min(1e17) as i64;
            Some(last.saturating_add(micros).max(at))
        };
        let agreed = |share: f64| {
            let found = quantile(share);
            let found = match known {
                Some((horizon, chance)) if share <= chance => Some(found?.min(at.saturating_add(horizon))),
                Some((horizon, _)) => found.filter(|found| *found >= at.saturating_add(horizon)),
                None => found,
            };
            found.map(Timestamp::from_micros)
        };
        let early = agreed(0.1).or_else(|| {
            let (horizon, chance) = known?;
            // It is only known that it comes later.
            (chance < 0.1).then(|| Timestamp::from_micros(at.saturating_add(horizon)))
        });
        Some(Window { early, middle: agreed(0.5), late: agreed(0.9) })
    }

    /// The share that waits longer than that much beyond the expected.
    fn waits_longer(&self, beyond: f64) -> f64 {
        let after = self.curve.partition_point(|[value, _]| *value <= beyond);
        after.checked_sub(1).map_or(1.0, |at| self.curve[at][1]).max(1e-6)
    }
}

fn sum(weights: &[f64; MOMENT], moment: &[f64; MOMENT]) -> f64 {
    weights.iter().zip(moment).map(|(weight, x)| weight * x).sum()
}

/// Least squares with a slight penalty on the weights, by Cholesky's method; `None` where it cannot be solved.
fn least_squares(all: &[Wait], logs: &[f64]) -> Option<[f64; MOMENT]> {
    let mut normal = [[0.0; MOMENT]; MOMENT];
    let mut right = [0.0; MOMENT];
    for (wait, log) in all.iter().zip(logs) {
        for (i, x) in wait.moment.iter().enumerate() {
            right[i] += x * log;
            for (j, y) in wait.moment.iter().enumerate().take(i + 1) {
                normal[i][j] += x * y;
            }
        }
    }
    for (i, row) in normal.iter_mut().enumerate() {
        row[i] += 1.0;
    }
    for i in 0..MOMENT {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| normal[i][k] * normal[j][k]).sum();
            let rest = normal[i][j] - known;
            normal[i][j] = if i == j { rest.sqrt() } else { rest / normal[j][j] };
        }
        right[i] = (right[i] - (0..i).map(|k| normal[i][k] * right[k]).sum::<f64>()) / normal[i][i];
    }
    for i in (0..MOMENT).rev() {
        right[i] = (right[i] - (i + 1..MOMENT).map(|k| normal[k][i] * right[k]).sum::<f64>()) / normal[i][i];
    }
    right.iter().all(|weight| weight.is_finite()).then_some(right)
}

/// The Kaplan-Meier curve: values that rise, each with the share that lies beyond it, thinned to [`POINTS`].
fn survival(mut left: Vec<(f64, bool)>) -> Vec<[f64; 2]> {
    left.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut waiting, mut share, mut kept) = (left.len() as f64, 1.0, 1.0);
    let mut curve = Vec::new();
    for run in left.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let came = run.iter().filter(|(_, came)| *came).count() as f64;
        if came > 0.0 {
            share *= 1.0 - came / waiting;
            if kept - share >= 1.0 / POINTS as f64 || came >= waiting {
                curve.push([run[0].0, share]);
                kept = share;
            }
        }
        waiting -= run.len() as f64;
    }
    curve
}

/// The mean of what lies beyond a value of the curve.
struct Beyond {
    /// From the end: the value, and the mean of the curve beyond it.
    means: Vec<[f64; 2]>,
}

impl Beyond {
    fn of(curve: &[[f64; 2]]) -> Beyond {
        let last = curve.last().map_or(0.0, |[value, _]| *value);
        // What the curve leaves open beyond its last value counts there.
        let (mut mass, mut sum) = (curve.last().map_or(0.0, |[_, share]| *share), 0.0);
        sum += mass * last;
        let mut means = Vec::with_capacity(curve.len());
        for (at, [value, share]) in curve.iter().enumerate().rev() {
            means.push([*value, if mass > 0.0 { sum / mass } else { *value }]);
            let before = at.checked_sub(1).map_or(1.0, |before| curve[before][1]);
            sum += (before - share) * value;
            mass += before - share;
        }
        means.reverse();
        Beyond { means }
    }

    fn mean(&self, value: f64) -> f64 {
        let at = self.means.partition_point(|[from, _]| *from <= value).saturating_sub(1);
        self.means.get(at).map_or(value, |[_, mean]| mean.max(value))
    }
}

/// How well predicted times order the true ones, over incidents opened from `from` to the span's end, times that had
/// not ended by then counting as longer than what was waited.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Order {
    /// The learned times; `None` where nothing was learned or nothing can be compared.
    pub quell: Option<f64>,
    /// The exponentially weighted gap (0.3 for the newest).
    pub ewma_gap: Option<f64>,
    /// The last gap.
    pub last_gap: Option<f64>,
    /// Incidents compared.
    pub incidents: usize,
}

/// Judges the predictions made at every incident from `from` on.
pub(crate) fn order(history: &History, next: Option<&Next>, from: i64) -> Order {
    let mut all = Vec::new();
    waits(history, from, history.span.end.micros(), |wait| all.push(wait));
    let times: Vec<f64> = all.iter().map(|wait| wait.waited).collect();
    let events: Vec<bool> = all.iter().map(|wait| wait.came).collect();
    let of = |predicted: Vec<f64>| concordance(&predicted, &times, &events);
    Order {
        quell: next.and_then(|next| of(all.iter().map(|wait| next.expected(&wait.moment)).collect())),
        ewma_gap: of(all.iter().map(|wait| wait.gaps.quick).collect()),
        last_gap: of(all.iter().map(|wait| wait.gaps.last).collect()),
        incidents: all.len(),
    }
}
