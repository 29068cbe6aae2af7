//! How lively an incident is: the rate at which the next of its alerts is to be expected.
//!
//! Alerts of one trouble come in bursts and then ever more rarely: about half of the waits are short, some are long. A
//! sum of exponentials over scales a factor apart comes close to such a power law and is kept with one number a scale
//! (a Hawkes process; Hardiman, Bercot, Bouchaud, Physica B 2013, on the kernel). So there is no window to set: a
//! storm is followed closely, and a quiet night's alerts may lie minutes apart.
//!
//! Absent on purpose: where the alerts are.

use quell_domain::{Pulse, Timestamp};

/// Time scales, in seconds: from one scrape to an hour.
const SCALES: [f64; 4] = [10.0, 60.0, 360.0, 2160.0];

/// How many alerts are expected to follow one alert, on each scale. A little below one in all: troubles end.
const WEIGHT: f64 = 0.9 / 4.0;

/// One more alert, which began at `at`.
pub(crate) fn beat(pulse: &mut Pulse, at: Timestamp) {
    let (first, last) = pulse.span.unwrap_or((at, at));
    let newest = last.max(at);
    let passed = newest.since(last).as_secs_f64();
    let late = newest.since(at).as_secs_f64();
    for (mass, scale) in pulse.masses.iter_mut().zip(SCALES) {
        *mass = *mass * (-passed / scale).exp() + (-late / scale).exp();
    }
    pulse.span = Some((first.min(at), newest));
}

/// Alerts a second to be expected at `at`, by those so far. Between the first and the last alert it is what it was at
/// the last one: an alert that comes late finds its incident.
pub(crate) fn rate(pulse: &Pulse, at: Timestamp) -> f64 {
    let Some((first, last)) = pulse.span else { return 0.0 };
    let passed = at.since(last).as_secs_f64().max(first.since(at).as_secs_f64());
    pulse.masses.iter().zip(SCALES).map(|(mass, scale)| WEIGHT / scale * mass * (-passed / scale).exp()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn fades_and_adds_up() {
        let mut one = Pulse::default();
        assert!(rate(&one, at(0)).abs() < 1e-12);
        beat(&mut one, at(0));
        let rates: Vec<f64> = [0, 10, 60, 600, 6000].map(|seconds| rate(&one, at(seconds))).to_vec();
        assert!(rates.windows(2).all(|pair| pair[0] > 2.0 * pair[1]), "{rates:?}");
        let mut many = one;
        for _ in 0..9 {
            beat(&mut many, at(0));
        }
        assert!((rate(&many, at(60)) / rate(&one, at(60)) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn the_order_of_late_alerts_does_not_matter() {
        let beats = |order: &[i64]| {
            let mut pulse = Pulse::default();
            order.iter().for_each(|&seconds| beat(&mut pulse, at(seconds)));
            rate(&pulse, at(40))
        };
        assert!((beats(&[0, 20, 30]) - beats(&[30, 0, 20])).abs() < 1e-12);
    }

    #[test]
    fn before_its_first_alert_an_incident_is_as_far_as_after_its_last() {
        let mut pulse = Pulse::default();
        beat(&mut pulse, at(100));
        assert!((rate(&pulse, at(70)) - rate(&pulse, at(130))).abs() < 1e-12);
    }
}
