//! How lively an incident is: the rate at which the next of its alerts is to be expected.
//!
//! Alerts of one trouble come in bursts and then ever more rarely: about half of the waits are short, some are long. A
//! sum of exponentials over scales a factor apart comes close to such a power law and is kept with one number a scale
//! (a Hawkes process; Hardiman, Bercot, Bouchaud, Physica B 2013, on the kernel). So there is no window to set: a
//! storm is followed closely, and a quiet night's alerts may lie minutes apart.
//!
//! Absent on purpose: where the alerts are.

use quell_domain::Timestamp;

/// Time scales, in seconds: from one scrape to an hour.
const SCALES: [f64; 4] = [10.0, 60.0, 360.0, 2160.0];

/// How many alerts are expected to follow one alert, on each scale. A little below one in all: troubles end.
const WEIGHT: f64 = 0.9 / 4.0;

/// Alerts, fading.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Pulse {
    /// What is left of them on each scale at the last one's time.
    masses: [f64; 4],
    first: Timestamp,
    last: Timestamp,
}

impl Pulse {
    /// Nothing yet; the first alert will begin at `at`.
    pub(crate) fn new(at: Timestamp) -> Pulse {
        Pulse { masses: [0.0; 4], first: at, last: at }
    }

    /// One more alert, which began at `at` and counts `weight`; a negative one takes back what was counted before.
    pub(crate) fn beat(&mut self, at: Timestamp, weight: f64) {
        let newest = self.last.max(at);
        let passed = newest.since(self.last).as_secs_f64();
        let late = newest.since(at).as_secs_f64();
        for (mass, scale) in self.masses.iter_mut().zip(SCALES) {
            let kept = if passed > 0.0 { (-passed / scale).exp() } else { 1.0 };
            let new = if late > 0.0 { (-late / scale).exp() } else { 1.0 };
            *mass = *mass * kept + weight * new;
        }
        (self.first, self.last) = (self.first.min(at), newest);
    }

    /// Alerts a second to be expected at `at`, by those so far. Between the first and the last alert it is what it was
    /// at the last one: an alert that comes late finds its incident.
    pub(crate) fn rate(&self, at: Timestamp) -> f64 {
        self.rate_by(&self.masses, at)
    }

    /// The same by the last alert alone, which counts 1 whatever became of it.
    pub(crate) fn rate_of_last(&self, at: Timestamp) -> f64 {
        self.rate_by(&[1.0; 4], at)
    }

    fn rate_by(&self, masses: &[f64; 4], at: Timestamp) -> f64 {
        let passed = at.since(self.last).as_secs_f64().max(self.first.since(at).as_secs_f64());
        let on_scale = |(mass, scale): (&f64, f64)| WEIGHT / scale * mass * (-passed / scale).exp();
        masses.iter().zip(SCALES).map(on_scale).sum::<f64>().max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn beats(order: &[i64]) -> Pulse {
        let mut pulse = Pulse::new(at(order[0]));
        order.iter().for_each(|&seconds| pulse.beat(at(seconds), 1.0));
        pulse
    }

    #[test]
    fn fades_and_adds_up() {
        assert!(Pulse::new(at(0)).rate(at(0)).abs() < 1e-12);
        let one = beats(&[0]);
        let rates: Vec<f64> = [0, 10, 60, 600, 6000].map(|seconds| one.rate(at(seconds))).to_vec();
        assert!(rates.windows(2).all(|pair| pair[0] > 2.0 * pair[1]), "{rates:?}");
        assert!((beats(&[0; 10]).rate(at(60)) / one.rate(at(60)) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn the_last_alert_counts_although_it_was_taken_back() {
        let mut pulse = beats(&[0, 60]);
        pulse.beat(at(60), -1.0);
        assert!(pulse.rate(at(90)) < pulse.rate_of_last(at(90)));
        assert!((pulse.rate_of_last(at(90)) - beats(&[60]).rate(at(90))).abs() < 1e-12);
    }

    #[test]
    fn the_order_of_late_alerts_does_not_matter() {
        assert!((beats(&[0, 20, 30]).rate(at(40)) - beats(&[30, 0, 20]).rate(at(40))).abs() < 1e-12);
    }

    #[test]
    fn before_its_first_alert_an_incident_is_as_far_as_after_its_last() {
        assert!((beats(&[100]).rate(at(70)) - beats(&[100]).rate(at(130))).abs() < 1e-12);
    }
}
