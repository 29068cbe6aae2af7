//! Whether the rate of incidents has changed, and since when.
//!
//! Each instant of an incident is tried as the one of a change: the marginal likelihood of two rates over that of one, both
//! with a prior worth one incident at the mean rate, averaged over the instants, is the evidence (a Bayes factor; compare
//! Raftery and Akman, 1986).
//! Absent on purpose: more than one change; the last one that stands out is what people ask for.

use quell_domain::Timestamp;

use crate::history::DAY;

/// Evidence from which a change is told.
const ENOUGH: f64 = 20.0;

/// A change of the rate of incidents.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RateChange {
    /// The instant it most likely happened at.
    pub at: Timestamp,
    /// Incidents a day before it, and since.
    pub rates: [f64; 2],
    /// How many times as probable as without a change.
    pub evidence: f64,
}

/// The change of rate that incidents, which rise, show between two instants; `None` where they show none.
#[must_use]
pub fn rate_change(opened: &[Timestamp], from: Timestamp, to: Timestamp) -> Option<RateChange> {
    let days = |from: Timestamp, to: Timestamp| ((to.micros() - from.micros()) as f64 / DAY as f64).max(1e-6);
    let (count, span) = (opened.len(), days(from, to));
    if count < 4 {
        return None;
    }
    let scale = span / count as f64;
    let mut factorials = vec![0.0];
    factorials.extend((1..=count).scan(0.0, |sum, n| {
        *sum += (n as f64).ln();
        Some(*sum)
    }));
    // Of n incidents in t days, with rates drawn from an exponential prior of the mean rate.
    let log = |n: usize, t: f64| scale.ln() + factorials[n] - (n as f64 + 1.0) * (scale + t).ln();
    let whole = log(count, span);
    let tried: Vec<(usize, f64)> =
        (1..count).map(|n| (n, log(n, days(from, opened[n])) + log(count - n, days(opened[n], to)) - whole)).collect();
    let evidence = tried.iter().map(|(_, log)| log.exp()).sum::<f64>() / tried.len() as f64;
    let (n, _) = *tried.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let rates = [n as f64 / days(from, opened[n]), (count - n) as f64 / days(opened[n], to)];
    (evidence >= ENOUGH).then_some(RateChange { at: opened[n], rates, evidence })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::unit;

    fn at(days: f64) -> Timestamp {
        Timestamp::from_micros((days * DAY as f64) as i64)
    }

    /// Incidents at a rate a day up to the hundredth day, and at another one for a hundred more.
    fn log(before: f64, after: f64, seed: u64) -> Vec<Timestamp> {
        let (mut opened, mut now, mut number) = (Vec::new(), 0.0, 0);
        while now < 200.0 {
            number += 1;
            let rate = if now < 100.0 { before } else { after };
            let next = now - (1.0 - unit(seed, number)).ln() / rate;
            // What would come after the change is drawn anew from it on.
            now = if now < 100.0 && next > 100.0 { 100.0 } else { next };
            if now < 200.0 && now != 100.0 {
                opened.push(at(now));
            }
        }
        opened
    }

    #[test]
    fn a_change_is_found_and_none_is_made_up() {
        let found = |before: f64, after: f64| {
            (0..200).filter_map(move |seed| rate_change(&log(before, after, seed), at(0.0), at(200.0)))
        };
        let changes: Vec<RateChange> = found(0.1, 1.0).collect();
        assert!(changes.len() > 195, "{} of 200 found", changes.len());
        let near = changes.iter().filter(|change| (change.at.micros() - 100 * DAY).abs() < 10 * DAY).count();
        assert!(near > 190 && changes[0].rates[1] > 4.0 * changes[0].rates[0], "{near} near, {:?}", changes[0]);
        let made_up = found(0.5, 0.5).count();
        assert!(made_up <= 10, "{made_up} of 200 made up");
        assert_eq!(rate_change(&[at(1.0), at(1.0), at(1.0)], at(0.0), at(9.0)), None, "three say nothing");
        assert_eq!(rate_change(&[at(1.0); 9], at(1.0), at(1.0)).map(|found| found.evidence.is_finite()), None);
    }
}
