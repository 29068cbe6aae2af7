//! Did a fix work? A sequential test of the recurrence rate that may be looked at as often as one likes.
//!
//! Incidents before and after the fix are taken as two Poisson processes; `u` is the rate after over the rate before.
//! The rate before is not known but learned from the incidents before, with the scale-invariant prior, so each measure of
//! evidence is a ratio of two marginal likelihoods (gamma-Poisson) that depend on `u` alone:
//! `m(u) = u^k / (t0 + u t)^(k0 + k)` for `k0` incidents in `t0` days before and `k` in `t` days after.
//! Averaged over alternatives and divided by `m` at the edge of the hypothesis it is an e-process: by Ville's inequality it
//! ever reaches `1 / alpha` with a chance of at most `alpha` while the hypothesis holds (Ramdas, Grünwald, Vovk, Shafer,
//! "Game-theoretic statistics and safe anytime-valid inference", 2023; Pérez-Ortiz et al., "E-statistics, group invariance
//! and anytime-valid testing", 2024). Simulations in the tests hold it to that.
//! Absent on purpose: closing or reopening anything; that is for whoever asked.

/// What was seen before the fix.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Before {
    /// Incidents.
    pub incidents: u32,
    /// Over how many days.
    pub days: f64,
}

/// What the test says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FixVerdict {
    /// It recurs less than half as often as before.
    Works,
    /// It recurs less often than before, and more than a fifth as often.
    Partly,
    /// It recurs more than half as often as before.
    DoesNot,
    /// The evidence does not suffice yet.
    Undecided,
}

impl FixVerdict {
    /// Its word in files and answers.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            FixVerdict::Works => "works",
            FixVerdict::Partly => "partly",
            FixVerdict::DoesNot => "does_not",
            FixVerdict::Undecided => "undecided",
        }
    }
}

/// The verdict and what it rests on. Evidence of 20 is as rare as 1 in 20 where the opposite is true.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Verification {
    /// The first verdict that the evidence bore out, or none yet.
    pub verdict: FixVerdict,
    /// Days after the fix when it was reached, or looked at last.
    pub days: f64,
    /// Incidents after the fix until then.
    pub incidents: u32,
    /// Incidents that would have been expected by then without the fix.
    pub expected: f64,
    /// Rate after over rate before, as `(k + 1/2) / (days) / (rate before)`.
    pub ratio: f64,
    /// Evidence that it recurs less than half as often.
    pub less_than_half: f64,
    /// Evidence that it recurs more than half as often.
    pub more_than_half: f64,
    /// Evidence that it recurs less often than before.
    pub less: f64,
    /// Evidence that it recurs more than a fifth as often.
    pub remains: f64,
}

/// A hypothesis about `u` and what is held against it.
struct Hypothesis {
    edge: f64,
    alternatives: &'static [f64],
}

const NOT_HALVED: Hypothesis = Hypothesis { edge: 0.5, alternatives: &[0.0, 0.05, 0.1, 0.2, 0.3, 0.4] };
const HALVED: Hypothesis = Hypothesis { edge: 0.5, alternatives: &[0.6, 0.75, 0.9, 1.0, 1.15, 1.5, 2.5] };
const NO_BETTER: Hypothesis = Hypothesis { edge: 1.0, alternatives: &[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75] };
const GONE: Hypothesis = Hypothesis { edge: 0.2, alternatives: &[0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5] };

/// Looks at the days after a fix one by one, and at each incident, until a verdict is borne out.
///
/// `after` are the incidents in days since the fix, rising; `days` is how long it is ago; `alpha` bounds the chance of each
/// wrong verdict, 0.05 if in doubt. Without an incident before there is nothing to compare with: undecided.
#[must_use]
pub fn verify(before: Before, after: &[f64], days: f64, alpha: f64) -> Verification {
    let mut looks: Vec<f64> = after.iter().copied().filter(|at| *at <= days).collect();
    looks.extend((1..=days.clamp(0.0, 100_000.0) as u32).map(f64::from));
    looks.push(days);
    looks.sort_by(f64::total_cmp);
    let mut found = look(before, after, 0.0, alpha);
    for at in looks {
        found = look(before, after, at, alpha);
        if found.verdict != FixVerdict::Undecided {
            break;
        }
    }
    found
}

/// The state of the evidence at one moment.
fn look(before: Before, after: &[f64], at: f64, alpha: f64) -> Verification {
    let seen = after.iter().filter(|opened| **opened <= at).count() as f64;
    let against = |hypothesis: &Hypothesis| evidence(before, seen, at, hypothesis);
    let [less_than_half, more_than_half] = [against(&NOT_HALVED), against(&HALVED)];
    let [less, remains] = [against(&NO_BETTER), against(&GONE)];
    let enough = |evidence: f64| evidence >= 1.0 / alpha;
    let verdict = if enough(less_than_half) {
        FixVerdict::Works
    } else if enough(more_than_half) {
        FixVerdict::DoesNot
    } else if enough(less) && enough(remains) {
        FixVerdict::Partly
    } else {
        FixVerdict::Undecided
    };
    let rate = f64::from(before.incidents) / before.days.max(f64::MIN_POSITIVE);
    let expected = rate * at;
    let ratio = if expected > 0.0 { (seen + 0.5) / expected } else { f64::NAN };
    let (days, incidents) = (at, seen as u32);
    Verification { verdict, days, incidents, expected, ratio, less_than_half, more_than_half, less, remains }
}

/// The mean over the alternatives of `m(u) / m(edge)`; 1 where nothing can be said.
fn evidence(before: Before, seen: f64, days: f64, hypothesis: &Hypothesis) -> f64 {
    let known = f64::from(before.incidents);
    if before.incidents == 0 || before.days <= 0.0 {
        return 1.0;
    }
    let log = |u: f64| {
        let came = if seen == 0.0 { 0.0 } else { seen * u.ln() };
        came - (known + seen) * (1.0 + u * days / before.days).ln()
    };
    let edge = log(hypothesis.edge);
    let sum: f64 = hypothesis.alternatives.iter().map(|u| (log(*u) - edge).exp()).sum();
    sum / hypothesis.alternatives.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::unit;

    const ALPHA: f64 = 0.05;

    /// Openings of a Poisson process over so many days.
    fn openings(rate: f64, days: f64, seed: u64) -> Vec<f64> {
        let mut at = 0.0;
        let mut number = 0;
        let gaps = std::iter::from_fn(|| {
            number += 1;
            at -= (1.0 - unit(seed, number)).ln() / rate.max(1e-12);
            (at < days).then_some(at)
        });
        gaps.collect()
    }

    /// Shares of works, partly, does not, undecided over 1,000 runs of 180 days, and the median days to a verdict.
    fn simulate(rate: f64, ratio: f64) -> ([f64; 4], f64) {
        let mut shares = [0.0; 4];
        let mut took = Vec::new();
        for run in 0..1000 {
            let before = openings(rate, 90.0, 1_000 + run);
            let after = openings(rate * ratio, 180.0, 900_000 + run);
            let before = Before { incidents: u32::try_from(before.len()).expect("few"), days: 90.0 };
            let found = verify(before, &after, 180.0, ALPHA);
            shares[found.verdict as usize] += 0.001;
            if found.verdict != FixVerdict::Undecided {
                took.push(found.days);
            }
        }
        took.sort_by(f64::total_cmp);
        (shares, took.get(took.len() / 2).copied().unwrap_or(f64::INFINITY))
    }

    #[test]
    fn a_fix_that_works_is_seen_and_one_that_does_not_is_not_believed() {
        for rate in [0.2, 0.5, 2.0] {
            let ([works, partly, does_not, _], took) = simulate(rate, 0.0);
            assert!(works > 0.95 && partly + does_not == 0.0 && took < 60.0, "gone: {works} in {took} days");
            let ([works, partly, does_not, _], _) = simulate(rate, 1.0);
            assert!(works <= ALPHA && partly <= ALPHA, "false alarms: {works} and {partly}");
            assert!(does_not > 0.5, "found: {does_not}");
            let ([works, partly, does_not, _], _) = simulate(rate, 0.5);
            assert!(works <= ALPHA && does_not <= ALPHA, "half: works {works}, does not {does_not}");
            assert!(rate < 2.0 || partly > 0.5, "half is found: {partly}");
            let ([_, _, does_not, _], _) = simulate(rate, 0.1);
            assert!(does_not <= ALPHA, "a tenth: does not {does_not}");
        }
    }

    #[test]
    fn evidence_agrees_with_a_hand_count() {
        // 10 incidents in 100 days, none in 50 days after: m(0) = 1, m(1/2) = 1.25^-10.
        let before = Before { incidents: 10, days: 100.0 };
        let one = Hypothesis { edge: 0.5, alternatives: &[0.0] };
        assert!((evidence(before, 0.0, 50.0, &one) - 1.25_f64.powi(10)).abs() < 1e-9);
        assert_eq!(evidence(before, 1.0, 50.0, &one), 0.0, "an incident rules out that it is gone for good");
    }

    #[test]
    fn nothing_before_decides_nothing() {
        let found = verify(Before { incidents: 0, days: 90.0 }, &[], 1000.0, ALPHA);
        assert_eq!(found.verdict, FixVerdict::Undecided);
        let found = verify(Before { incidents: 3, days: 90.0 }, &[], 0.0, ALPHA);
        assert_eq!((found.verdict, found.incidents), (FixVerdict::Undecided, 0));
    }
}
