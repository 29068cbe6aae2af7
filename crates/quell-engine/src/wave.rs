//! The second wave: a new trouble amid the alerts of one that goes on.
//!
//! Two faults in the same part of an estate raise largely the same alerts, so that neither place nor time tells them
//! apart. But a fault raises an alert once and holds it, or lets it flap at its own pace. When many alerts that an
//! incident has already had come anew, all within half a minute and far more of them than in the minutes before,
//! something else has happened: they, and what came with them, become an incident of their own.
//!
//! Absent on purpose: the moving itself (`moving`).

use std::collections::VecDeque;
use std::time::Duration;

use quell_domain::{AlertId, Reason, Timestamp};

use crate::alerts::Slot;
use crate::engine::Engine;
use crate::moving::By;
use crate::part::Part;

/// The length of a wave's front.
const FRONT: Duration = Duration::from_secs(30);

/// How many fronts before it are looked at for what is usual.
const BEFORE: u32 = 4;

/// Alerts that come anew in a wave, at least.
const LEAST: usize = 5;

/// How many times as many as usual.
const RISE: f64 = 3.0;

/// How many times as many alerts as usual there must be in all.
const SWELL: f64 = 1.5;

/// Alerts remembered of an incident.
const KEPT: usize = 1024;

/// The last alerts of an incident.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Recent {
    all: VecDeque<(Timestamp, AlertId)>,
    /// Those of them that the incident has for the second time. What comes more often flaps.
    again: VecDeque<Timestamp>,
}

impl Recent {
    /// One more alert, which began at `at`; `earlier` episodes of the same alert are in the incident.
    pub(crate) fn add(&mut self, at: Timestamp, id: AlertId, earlier: usize) {
        push(&mut self.all, (at, id));
        if earlier == 1 {
            push(&mut self.again, at);
        }
    }

    /// The alerts of the wave that is running at `at`, if one is.
    fn wave(&self, at: Timestamp) -> Option<Vec<AlertId>> {
        let (mut new, mut usual, mut onset) = (0, 0, at);
        for &began in self.again.iter().rev() {
            match at.since(began) {
                age if age < FRONT => {
                    new += 1;
                    onset = onset.min(began);
                }
                age if age < FRONT * (BEFORE + 1) => usual += 1,
                _ => {}
            }
        }
        if new < LEAST || f64::from(new as u32) <= RISE * f64::from(usual) / f64::from(BEFORE) {
            return None;
        }
        let within = |from: Duration, to: Duration| {
            self.all.iter().filter(move |(began, _)| at.since(*began) >= from && at.since(*began) < to).count()
        };
        let before = (1..=BEFORE).map(|front| within(FRONT * front, FRONT * (front + 1))).max().unwrap_or(0) as f64;
        if within(Duration::ZERO, FRONT) as f64 <= SWELL * before {
            return None;
        }
        Some(self.all.iter().filter(|(began, _)| *began >= onset).map(|&(_, id)| id).collect())
    }
}

fn push<T>(queue: &mut VecDeque<T>, value: T) {
    if queue.len() == KEPT {
        queue.pop_front();
    }
    queue.push_back(value);
}

impl Engine {
    /// How many earlier episodes of an alert are in an incident.
    pub(crate) fn earlier_in(&self, number: u64, slot: Slot) -> usize {
        let entry = self.alerts.get(slot);
        self.alerts
            .before(entry.fingerprint, entry.id)
            .filter(|&earlier| self.alerts.get(earlier).incident == Some(number))
            .count()
    }

    /// Splits off the second wave, if the alert that just joined completes one.
    pub(crate) fn split_wave(&mut self, number: u64, slot: Slot) {
        let at = self.alerts.get(slot).began_at;
        let Some(wave) = self.live(number).recent.wave(at).filter(|_| self.has(Part::SecondWave)) else { return };
        let reason = Reason::new(
            "second_wave",
            "{alerts} alerts within {seconds} s, most of them for the second time: a new trouble in the same place",
        )
        .count("alerts", wave.len() as u64)
        .count("seconds", FRONT.as_secs());
        let now = self.now();
        self.split(By::quell(now), number, &wave, &reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `12!` is an alert at 12 s that comes for the second time.
    #[track_caller]
    fn check(alerts: &str, expected: Option<usize>) {
        let mut recent = Recent::default();
        let mut last = Timestamp::from_seconds(0);
        for (id, word) in (1..).zip(alerts.split_whitespace()) {
            let again = word.ends_with('!');
            last = Timestamp::from_seconds(word.trim_end_matches('!').parse().expect("seconds"));
            recent.add(last, AlertId(id), usize::from(again));
        }
        assert_eq!(recent.wave(last).map(|wave| wave.len()), expected, "{alerts}");
    }

    #[test]
    fn many_at_once_for_the_second_time_are_a_wave_with_what_comes_with_them() {
        check("0 1 2 3 4 5 200! 201! 202 203! 204! 205!", Some(6));
    }

    #[test]
    fn few_or_steady_ones_are_not() {
        check("0 1 2 3 4 5 200! 201! 202 203! 204!", None);
        check("0 1 2 3 100! 110! 120! 130! 140! 150! 160! 170! 180! 190! 200! 210! 220! 230! 240! 250!", None);
    }

    #[test]
    fn a_storm_that_goes_on_is_no_wave() {
        let storm: String = (0..90).map(|second| format!("{second} {second} ")).collect();
        check(&format!("{storm} 91! 92! 93! 94! 95!"), None);
    }
}
