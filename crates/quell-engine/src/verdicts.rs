//! What operators say of an incident's causes: a wrong one is out, the right one stands first.
//!
//! Absent on purpose: the ranking itself (`locate`).

use quell_domain::{Cause, CauseVerdict, CiId, Reason};

use crate::engine::Engine;

/// Verdicts kept of one incident (INV-6); beyond it the oldest is dropped.
pub(crate) const VERDICTS: usize = 32;

/// The share of the belief that a CI has which a person named: people err too, and what speaks for others stays visible.
const NAMED_SHARE: f64 = 0.9;

/// Applies what people said to a ranking; the last word on each CI counts.
pub(crate) fn apply(verdicts: &[CauseVerdict], mut causes: Vec<Cause>) -> Vec<Cause> {
    let last = |ci: &CiId| verdicts.iter().rev().find(|verdict| verdict.ci == *ci);
    let out: f64 =
        causes.iter().filter(|cause| last(&cause.ci).is_some_and(|v| !v.right)).map(|cause| cause.score).sum();
    causes.retain(|cause| last(&cause.ci).is_none_or(|verdict| verdict.right));
    // The belief in what is out goes to the others.
    if out < 1.0 {
        causes.iter_mut().for_each(|cause| cause.score /= 1.0 - out);
    }
    let named = verdicts.iter().rev().find(|verdict| verdict.right && last(&verdict.ci) == Some(verdict));
    let Some(named) = named else { return causes };
    let at = causes.iter().position(|cause| cause.ci == named.ci);
    let known = at.map(|at| causes.remove(at));
    let rest: f64 = causes.iter().map(|cause| cause.score).sum();
    let scale = if rest > 0.0 { (1.0 - NAMED_SHARE) / rest.max(1.0 - NAMED_SHARE) } else { 0.0 };
    causes.iter_mut().for_each(|cause| cause.score *= scale);
    let mut evidence = vec![Reason::new("named", "named by {actor}").text("actor", &named.actor).time("at", named.at)];
    evidence.extend(known.into_iter().flat_map(|cause| cause.evidence));
    causes.insert(0, Cause { ci: named.ci.clone(), score: NAMED_SHARE, evidence });
    causes
}

impl Engine {
    /// A ranking as people left it.
    pub(crate) fn heard_causes(&self, number: u64, causes: Vec<Cause>) -> Vec<Cause> {
        match self.incidents.get(&number) {
            Some(live) if !live.row.verdicts.is_empty() => apply(&live.row.verdicts, causes),
            _ => causes,
        }
    }
}
