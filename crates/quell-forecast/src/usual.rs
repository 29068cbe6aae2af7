//! How large the next incident of a trouble is likely to be, in minutes or in CIs: what it usually was, with an interval.
//!
//! Sizes are taken to be log-normal, as times to restore are: the logarithms of one trouble's sizes lie around a mean of
//! its own, which is drawn to the mean of all troubles as if by `DRAWN` incidents, with the spread alike. So one
//! incident gives a wide interval and a hundred a narrow one.
//! Absent on purpose: which incidents belong to a trouble.

/// Incidents of all troubles that a trouble's own are weighed against.
const DRAWN: f64 = 3.0;
/// The two-sided 90 % quantile of the normal distribution.
const Z: f64 = 1.644_853_626_951_472_2;
/// Added before a logarithm is taken: one minute, one CI.
const ONE: f64 = 1.0;

/// The sizes of all troubles together.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    mean: f64,
    variance: f64,
}

/// What is expected of the next incident.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Usual {
    /// Half of the trouble's incidents were at most that large.
    pub median: f64,
    /// Nine in ten of its incidents are likely to lie between these.
    pub between: [f64; 2],
}

fn log(size: f64) -> f64 {
    (size.max(0.0) + ONE).ln()
}

impl Spread {
    /// Of the sizes of all incidents; `None` without any.
    #[must_use]
    pub fn of(sizes: &[f64]) -> Option<Spread> {
        let count = sizes.len() as f64;
        let mean = sizes.iter().map(|size| log(*size)).sum::<f64>() / count;
        let squares: f64 = sizes.iter().map(|size| (log(*size) - mean).powi(2)).sum();
        (!sizes.is_empty()).then(|| Spread { mean, variance: squares / (count - 1.0).max(1.0) })
    }

    /// What is expected of a trouble with these sizes; `None` without any.
    #[must_use]
    pub fn usual(&self, sizes: &[f64]) -> Option<Usual> {
        let mut sorted = sizes.to_vec();
        sorted.sort_by(f64::total_cmp);
        let median = *sorted.get(sorted.len() / 2)?;
        let count = sizes.len() as f64;
        let own = sizes.iter().map(|size| log(*size)).sum::<f64>() / count;
        let mean = (own * count + self.mean * DRAWN) / (count + DRAWN);
        let squares: f64 = sizes.iter().map(|size| (log(*size) - own).powi(2)).sum();
        let variance = (squares + self.variance * DRAWN) / (count - 1.0 + DRAWN);
        // The mean itself is not known better than this.
        let half = Z * (variance * (1.0 + 1.0 / (count + DRAWN))).sqrt();
        // To a thousandth: the way to logarithms and back is not exact, and sizes that are all equal are what they are.
        let size = |log: f64| ((log.exp() - ONE).max(0.0) * 1e3).round() / 1e3;
        Some(Usual { median, between: [size(mean - half).min(median), size(mean + half).max(median)] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::unit;

    #[test]
    fn sizes_that_are_all_equal_leave_no_doubt() {
        let sizes = [120.0; 7];
        let usual = Spread::of(&sizes).and_then(|spread| spread.usual(&sizes));
        assert_eq!(usual, Some(Usual { median: 120.0, between: [120.0, 120.0] }));
    }

    #[test]
    fn nine_in_ten_lie_between_the_bounds() {
        assert_eq!(Spread::of(&[]), None);
        // Troubles whose median lasts 5 to 200 minutes, each spread by a factor of about two.
        let size = |trouble: u64, number: u64| {
            let uniform = |part: u64| unit(trouble, number * 16 + part).max(1e-9);
            let normal: f64 = (0..12).map(uniform).sum::<f64>() - 6.0;
            5.0 * 40.0_f64.powf(unit(7, trouble)) * (0.7 * normal).exp()
        };
        for known in [1, 4, 40] {
            let of = |trouble: u64| (0..known).map(|number| size(trouble, number)).collect::<Vec<_>>();
            let spread = Spread::of(&(0..400).flat_map(of).collect::<Vec<_>>()).expect("some");
            let held = (0..400).filter(|&trouble| {
                let Usual { median, between: [low, high] } = spread.usual(&of(trouble)).expect("some");
                assert!(low <= median && median <= high && low >= 0.0);
                (low..=high).contains(&size(trouble, 1_000))
            });
            let share = held.count() as f64 / 400.0;
            assert!((0.84..=0.98).contains(&share), "{known} known: {share} between");
        }
        let spread = Spread::of(&[30.0, 30.0, 30.0]).expect("some");
        let found = spread.usual(&[30.0]).expect("one");
        assert!(found.between.iter().all(|bound| (bound - 30.0).abs() < 1e-9), "always the same: {found:?}");
        assert_eq!(spread.usual(&[]), None);
    }
}
