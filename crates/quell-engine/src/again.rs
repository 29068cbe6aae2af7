//! An alert that comes again: how surely it is the same trouble's, and where it goes then.
//!
//! Some senders repeat an alert while its trouble lasts and let it end in between, some alerts flap, and elsewhere what
//! comes again has another cause each time. History tells which without being told: the same trouble's come again soon
//! after their end or not at all, and what has another cause does at any time. So what comes again soon is compared with
//! what comes later.
//!
//! Absent on purpose: what comes for the first time (`correlate`).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use quell_domain::{Fingerprint, Reason, Timestamp};

use crate::alerts::Slot;
use crate::correlate::{Candidate, shown};
use crate::engine::Engine;
use crate::part::Part;

/// The ends of the spans after an alert's end in which coming again is counted, in seconds. In the last one it tells of
/// another trouble.
const ENDS: [f64; 4] = [60.0, 300.0, 900.0, 3600.0];

/// How many alerts the guess counts as much as that is made before anything is known.
const PRIOR: f64 = 10.0;

/// The guess: so often a second an alert comes again, and in the last span a tenth as often.
const USUAL: f64 = 1.0 / 1800.0;

/// How often alerts came again in one span after their end.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Span {
    /// How many did.
    pub came: u64,
    /// For how many seconds they could have, summed over all.
    pub seconds: f64,
}

/// How soon after their end alerts come again.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Again {
    /// Within a minute of their end, then within 5, 15 and 60 minutes.
    pub spans: [Span; 4],
}

impl Again {
    /// Counts alerts, in the order in which they began: which, when it began, when it ended or was last heard of, and
    /// whether it fires still.
    pub(crate) fn of(alerts: impl Iterator<Item = (Fingerprint, Timestamp, Timestamp, bool)>) -> Again {
        let mut again = Again::default();
        let mut ended: HashMap<Fingerprint, Timestamp, BuildHasherDefault<DefaultHasher>> = HashMap::default();
        let mut now = Timestamp::default();
        for (fingerprint, began_at, ended_at, fires) in alerts {
            now = began_at;
            // What fires cannot come again.
            let before = if fires { ended.remove(&fingerprint) } else { ended.insert(fingerprint, ended_at) };
            if let Some(end) = before {
                again.note(began_at.since(end), true);
            }
        }
        let mut over: Vec<(Fingerprint, Timestamp)> = ended.into_iter().collect();
        // Sums of fractions depend on their order.
        over.sort_unstable();
        over.iter().for_each(|(_, end)| again.note(now.since(*end), false));
        again
    }

    /// For so long after its end an alert had not come again, and then did or is not known to have.
    fn note(&mut self, quiet: Duration, came: bool) {
        let quiet = quiet.as_secs_f64();
        let mut begin = 0.0;
        for (span, end) in self.spans.iter_mut().zip(ENDS) {
            span.seconds += quiet.min(end) - begin;
            if quiet <= end {
                span.came += u64::from(came);
                return;
            }
            begin = end;
        }
    }

    /// How probably an alert that comes again so long after its end is the same trouble's, 0 to 1.
    #[must_use]
    pub fn same(&self, quiet: Duration) -> f64 {
        self.beside(quiet, 0.0)
    }

    /// The same where it also comes so often a second by chance.
    fn beside(&self, quiet: Duration, chance: f64) -> f64 {
        let soon = &ENDS[..ENDS.len() - 1];
        let Some(at) = soon.iter().position(|&end| quiet.as_secs_f64() <= end) else { return 0.0 };
        let (now, late) = (self.rate(at, USUAL), self.rate(ENDS.len() - 1, USUAL / 10.0));
        (now - late).max(0.0) / (now + chance)
    }

    /// For each span its end in seconds, how many alerts came again in it, and how probably one that does is the same
    /// trouble's.
    #[must_use]
    pub fn shown(&self) -> [(f64, u64, f64); 4] {
        [0, 1, 2, 3].map(|at| (ENDS[at], self.spans[at].came, self.same(Duration::from_secs_f64(ENDS[at]))))
    }

    /// How often a second an alert comes again in a span.
    fn rate(&self, at: usize, usual: f64) -> f64 {
        let Span { came, seconds } = self.spans[at];
        let guessed = PRIOR * (ENDS[at] - if at == 0 { 0.0 } else { ENDS[at - 1] });
        (f64::from(u32::try_from(came).unwrap_or(u32::MAX)) + guessed * usual) / (seconds + guessed)
    }
}

impl Engine {
    /// The incident that an alert was in when it ended a moment ago, if it comes again as the same trouble's.
    pub(crate) fn again(&self, slot: Slot) -> Option<Candidate> {
        let entry = self.alerts.get(slot);
        let last = self.alerts.before(entry.fingerprint, entry.id).next_back().filter(|_| self.has(Part::Flapping))?;
        let last = self.alerts.get(last);
        let incident =
            last.incident.filter(|number| self.incidents.get(number).is_some_and(|live| live.takes_alerts()))?;
        let quiet = entry.began_at.since(last.told_ended_at());
        let chance = match entry.ci {
            Some(ci) => self.chance(ci, entry.name(), entry.began_at),
            None => self.chance_unbound(entry.name()),
        };
        let score = self.history.learned().again.beside(quiet, chance);
        (score >= self.settings.correlation.threshold).then(|| {
            let reason = Reason::new(
                "again",
                "was in it and ended {apart_seconds} s before; such alerts are the same trouble's",
            )
            .number("score", shown(score))
            .number("apart_seconds", quiet.as_secs_f64())
            .number("chance_per_hour", shown(chance * 3600.0));
            Candidate { incident, score, reason }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Alerts that each begin at these seconds and last ten.
    fn again(alerts: &[&[i64]], fires: bool) -> Again {
        let mut all: Vec<(i64, u128)> =
            (0..).zip(alerts).flat_map(|(which, begins)| begins.iter().map(move |&begin| (begin, which))).collect();
        all.sort_unstable();
        Again::of(all.into_iter().map(|(begin, which)| {
            let at = Timestamp::from_seconds;
            (Fingerprint(which), at(begin), at(begin + 10), fires)
        }))
    }

    fn seconds(again: &Again) -> [f64; 4] {
        again.spans.map(|span| span.seconds)
    }

    #[test]
    fn coming_again_counts_in_the_span_it_falls_in_and_waiting_in_all_before() {
        let once = again(&[&[0, 110]], false);
        assert_eq!(once.spans.map(|span| span.came), [0, 1, 0, 0]);
        // A hundred seconds until it came; nothing since it ended is later than the last alert.
        assert_eq!(seconds(&once), [60.0, 40.0, 0.0, 0.0]);
        assert_eq!(seconds(&again(&[&[0], &[1010]], false)), [60.0, 240.0, 600.0, 100.0]);
        assert_eq!(seconds(&again(&[&[0], &[1010]], true)), [0.0; 4], "what fires cannot come again");
        assert_eq!(seconds(&again(&[&[0], &[9000]], false)), [60.0, 240.0, 600.0, 2700.0]);
    }

    fn same(again: &Again, after: [u64; 4]) -> [f64; 4] {
        after.map(|seconds| again.same(Duration::from_secs(seconds)))
    }

    #[test]
    fn before_anything_is_known_what_comes_again_soon_is_the_same() {
        let [now, soon, later, late] = same(&Again::default(), [1, 200, 900, 901]);
        assert!([now, soon, later].iter().all(|same| (same - 0.9).abs() < 1e-9) && late == 0.0, "{now} {soon} {later}");
    }

    #[test]
    fn what_comes_again_soon_or_never_is_the_same_and_what_comes_at_any_time_is_not() {
        let [bursts, regular]: [Vec<Vec<i64>>; 2] = [
            (0..30).map(|which| (0..4).map(|nth| which * 700 + nth * 150).collect()).collect(),
            (0..30).map(|which| (0..12).map(|nth| which * 60 + nth * (200 + 130 * (nth % 7))).collect()).collect(),
        ];
        let known = |all: &[Vec<i64>]| again(&all.iter().map(Vec::as_slice).collect::<Vec<_>>(), false);
        assert!(known(&bursts).same(Duration::from_secs(140)) > 0.95);
        assert!(known(&regular).same(Duration::from_secs(140)) < 0.5, "{:?}", known(&regular));
    }
}
