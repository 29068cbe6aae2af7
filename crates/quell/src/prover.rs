//! Whether fixes work: looks at the problems whose fix is being verified, and puts the verdict on the log once the
//! evidence suffices.
//!
//! The arithmetic is `quell_forecast::verify`, which the engine may not depend on: the verdict is a command like those of
//! people, given by quell, so that a replay meets it at its place (decision 0026). Absent on purpose: closing and
//! reopening; the engine does that when the verdict comes.

use std::sync::Arc;
use std::time::Duration;

use quell_domain::{
    FixOutcome, Input, Outage, Problem, ProblemAct, ProblemAsk, ProblemCommand, ProblemState, SignatureId, Timestamp,
    Verified,
};
use quell_forecast::{Before, FixVerdict, Verification, verify};
use quell_log::{Clock, Stream};
use quell_store::{ProblemQuery, RecognisedQuery};

use crate::intake::Door;

/// How often it is looked.
const ROUND: Duration = Duration::from_secs(30);
/// The chance of each wrong verdict.
const ALPHA: f64 = 0.05;
/// How far before a fix incidents are counted.
const BEFORE: Duration = Duration::from_secs(180 * 86_400);
/// Incidents of one problem that are looked at, the last ones.
const INCIDENTS: u32 = 10_000;
/// Problems looked at in one round.
const PROBLEMS: u32 = 1_000;
/// Evidence is told up to this.
const MOST: f64 = 1e9;
const DAY: f64 = 86_400e6;

/// What watches fixes.
pub(crate) struct Prover {
    door: Arc<Door>,
    clock: Arc<dyn Clock>,
}

impl Prover {
    pub(crate) fn new(door: &Arc<Door>, clock: Arc<dyn Clock>) -> Self {
        Prover { door: Arc::clone(door), clock }
    }

    /// Looks again and again, for ever. Whatever fails is said and tried again.
    pub(crate) async fn run(self) {
        loop {
            tokio::time::sleep(ROUND).await;
            if let Err(error) = self.round().await {
                tracing::warn!(error = format!("{error:#}"), "fixes could not be verified; they are looked at again");
            }
        }
    }

    /// Looks at every fix once; returns how many verdicts went onto the log.
    ///
    /// # Errors
    /// When the store or the log did not do as asked.
    pub(crate) async fn round(&self) -> anyhow::Result<usize> {
        let query = ProblemQuery { states: vec![ProblemState::Verifying], before: None, limit: PROBLEMS };
        let verifying = self.door.store.problems(self.door.shard, query).await?.items;
        let mut said = 0;
        for problem in verifying {
            let Some(verified) = self.look(&problem).await? else { continue };
            let act = ProblemAct::Verified(verified);
            let command = ProblemCommand { actor: "quell".to_owned(), ask: ProblemAsk::Of(problem.id, act) };
            self.door.append_input(Stream::Commands, Input::Problem(command)).await?;
            said += 1;
        }
        Ok(said)
    }

    /// The verdict on a problem's fix; `None` while the evidence does not suffice.
    async fn look(&self, problem: &Problem) -> anyhow::Result<Option<Verified>> {
        let (store, shard) = (&self.door.store, self.door.shard);
        let Some(since) = problem.fix.as_ref().map(|fix| fix.since) else { return Ok(None) };
        let Some(detail) = store.problem(shard, problem.id).await? else { return Ok(None) };
        let signatures: Vec<SignatureId> = detail.signatures.iter().map(|row| row.id).collect();
        let over = Some(true);
        let signatures = Some(signatures);
        let query = RecognisedQuery { signatures, over, limit: INCIDENTS, ..RecognisedQuery::default() };
        let mut opened: Vec<Timestamp> =
            store.recognised(shard, query).await?.iter().map(|row| row.opened_at).collect();
        opened.sort_unstable();
        let known = store.recognised_since(shard).await?.unwrap_or(since).max(since - BEFORE);
        let outages = store.outages(shard, known).await?;
        Ok(weigh(&opened, &outages, [known, since, self.clock.now()]))
    }
}

/// Days from one instant to another in which alerts could be received; `outages` rise.
fn exposed(outages: &[Outage], from: Timestamp, to: Timestamp) -> f64 {
    let (mut open, mut at) = (0, from.micros());
    for outage in outages {
        open += (outage.from.micros().min(to.micros()) - at).max(0);
        at = at.max(outage.to.micros());
    }
    open += (to.micros() - at).max(0);
    open as f64 / DAY
}

/// `opened` rises; incidents are known from the first of these instants on, the second is the fix, the third now.
fn weigh(opened: &[Timestamp], outages: &[Outage], [known, since, now]: [Timestamp; 3]) -> Option<Verified> {
    let days = |from: Timestamp, to: Timestamp| exposed(outages, from, to);
    // What is known begins with an incident: if with one of these, it says when, and not how often.
    let before = opened.iter().filter(|at| known < **at && **at < since).count();
    let after: Vec<f64> = opened.iter().filter(|at| **at >= since).map(|at| days(since, *at)).collect();
    let seen = Before { incidents: u32::try_from(before).unwrap_or(u32::MAX), days: days(known, since) };
    let found = verify(seen, &after, days(since, now), ALPHA);
    let Verification { verdict, days: after_days, incidents, expected, ratio: _, .. } = found;
    let (outcome, evidence) = match verdict {
        FixVerdict::Works => (FixOutcome::Works, found.less_than_half),
        FixVerdict::Partly => (FixOutcome::Partly, found.less.min(found.remains)),
        FixVerdict::DoesNot => (FixOutcome::DoesNot, found.more_than_half),
        FixVerdict::Undecided => return None,
    };
    Some(Verified {
        since,
        outcome,
        before: before as u64,
        before_days: seen.days,
        after: u64::from(incidents),
        after_days,
        expected,
        evidence: evidence.min(MOST),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000 + hours * 3600)
    }

    fn check(opened: &[i64], now: i64, expected: Option<(FixOutcome, u64)>) {
        let opened: Vec<Timestamp> = opened.iter().map(|&hours| at(hours)).collect();
        let found = weigh(&opened, &[], [at(0), at(220), at(now)]);
        assert_eq!(found.map(|verified| (verified.outcome, verified.before)), expected, "{opened:?} {now}");
    }

    #[test]
    fn a_fix_is_judged_by_what_came_before_and_after_it() {
        let daily: Vec<i64> = (0..10).map(|day| day * 24).collect();
        check(&daily, 221, None);
        // What is known begins with the first of them: nine are counted.
        check(&daily, 220 + 24 * 30, Some((FixOutcome::Works, 9)));
        let on: Vec<i64> = daily.iter().copied().chain((0..60).map(|half| 220 + half * 12)).collect();
        check(&on, 220 + 24 * 30, Some((FixOutcome::DoesNot, 9)));
        check(&[], 220 + 24 * 30, None);
    }

    #[test]
    fn what_could_not_be_received_says_nothing_of_a_fix() {
        let outage = |from: i64, to: i64| Outage { from: at(from), to: at(to) };
        // They may overlap, reach beyond what is asked, or lie outside of it.
        let outages = [outage(-50, -10), outage(-5, 12), outage(24, 36), outage(30, 48), outage(90, 200)];
        assert!((exposed(&outages, at(0), at(96)) - (96.0 - 12.0 - 24.0 - 6.0) / 24.0).abs() < 1e-9);
        assert!((exposed(&[], at(0), at(96)) - 4.0).abs() < 1e-9);
        assert!(exposed(&outages, at(100), at(150)).abs() < 1e-9);
        let opened: Vec<Timestamp> = (0..10).map(|day| at(day * 24)).collect();
        let now = at(220 + 24 * 30);
        assert!(weigh(&opened, &[], [at(0), at(220), now]).is_some());
        let away = [outage(220, 220 + 24 * 29)];
        assert_eq!(weigh(&opened, &away, [at(0), at(220), now]), None, "a silence of one day proves nothing");
        // Before the fix the rate was higher than the calendar says: 9 in 5 days instead of 9.
        let away = [outage(1, 23), outage(49, 71), outage(97, 119), outage(145, 167)];
        let found = weigh(&opened, &away, [at(0), at(220), now]).expect("decided");
        assert!((found.before_days - (220.0 - 88.0) / 24.0).abs() < 1e-9, "{found:?}");
    }
}
