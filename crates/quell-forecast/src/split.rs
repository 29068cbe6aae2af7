//! Which origins train and which test: the past on one side of an instant, the future on the other.
//!
//! Absent on purpose: splits at random; a forecast is judged on what came later.

use std::time::Duration;

use crate::history::{DAY, Span};

/// Days that must have passed before the first origin, so that there is something to learn from.
const WARM_UP: i64 = 28;
/// The same where that leaves fewer than [`FEW_ORIGINS`].
const SHORT_WARM_UP: i64 = 14;
const FEW_ORIGINS: usize = 6;

/// The horizon in whole microseconds, at least one.
pub(crate) fn micros(horizon: Duration) -> i64 {
    i64::try_from(horizon.as_micros()).unwrap_or(i64::MAX).max(1)
}

/// Origins in microseconds since the epoch, each a horizon after the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Split {
    /// Where the future begins; whole days after the span's start.
    pub(crate) at: i64,
    /// Those whose window ends at `at` or before.
    pub(crate) train: Vec<i64>,
    /// Those from `at` whose window ends within the span.
    pub(crate) test: Vec<i64>,
}

impl Split {
    pub(crate) fn of(span: Span, horizon: i64, share: f64) -> Split {
        let (start, end) = (span.start.micros(), span.end.micros());
        let at = start + (share * span.days()).floor() as i64 * DAY;
        Split { at, train: training(start, at, horizon), test: steps(at, end, horizon) }
    }
}

/// The origins to train on when everything before `until` is known.
pub(crate) fn training(start: i64, until: i64, horizon: i64) -> Vec<i64> {
    let long = steps(start + WARM_UP * DAY, until, horizon);
    if long.len() >= FEW_ORIGINS { long } else { steps(start + SHORT_WARM_UP * DAY, until, horizon) }
}

/// Origins from `from`, one horizon apart, whose window ends at `until` or before.
fn steps(from: i64, until: i64, horizon: i64) -> Vec<i64> {
    let next = |at: &i64| at.checked_add(horizon);
    std::iter::successors(Some(from), next).take_while(|at| at.saturating_add(horizon) <= until).collect()
}

#[cfg(test)]
mod tests {
    use quell_domain::Timestamp;

    use super::*;

    #[test]
    fn the_published_split_comes_out() {
        let day = |text: &str| Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z")).expect("valid");
        let span = Span { start: day("2013-10-01"), end: day("2014-04-01") };
        let split = Split::of(span, 7 * DAY, 0.6);
        assert_eq!(split.at, day("2014-01-18").micros());
        assert_eq!((split.train.len(), split.test.len()), (11, 10));
        assert_eq!(split.train.first(), Some(&day("2013-10-29").micros()));
    }

    #[test]
    fn a_short_past_warms_up_for_two_weeks_only() {
        let span = Span { start: Timestamp::from_seconds(0), end: Timestamp::from_seconds(100 * 86_400) };
        let split = Split::of(span, 7 * DAY, 0.6);
        assert_eq!(split.train.first(), Some(&(14 * DAY)));
        assert_eq!(split.train.len(), 6);
        assert_eq!(split.test, (0..5).map(|week| (60 + 7 * week) * DAY).collect::<Vec<_>>());
    }
}
