//! Localisation: which CI is probably at fault, and what speaks for and against it.
//!
//! A first version: a suspect is the likelier the more of the alerting CIs hang on it, the fewer of its dependents are
//! silent, if it alerts itself, and if it did so first; one whose replicas fail together explains them too, though it
//! depends on them and not they on it: what they share is what was deployed. Absent on purpose: rarity, changes, magnitudes, history; their
//! place is here.

use std::collections::BTreeMap;

use quell_cmdb::{CiIx, Graph};
use quell_domain::{Cause, Reason, Timestamp};

use crate::suspects::{Place, Suspects};

/// How many causes an incident names at most.
const NAMED: usize = 5;

/// How strongly a CI explains its replicas when several of them alert at once.
const PARTS: f64 = 0.5;

/// Scores are raised to this power before they share the belief: twice the score is far more than twice as likely.
const SHARPNESS: i32 = 3;

/// A cause below this share of the belief is not worth naming.
const LEAST_SHARE: f64 = 0.05;

/// Belief that none of the candidates is at fault, in the unit of a candidate's score: what keeps a lone weak candidate
/// from looking certain.
const DOUBT: f64 = 0.2;

/// How much less likely a CI is at fault that raised no alert itself: monitors have gaps, but fewer gaps than eyes.
const SILENT: f64 = 0.45;

/// How much one silent dependent speaks against a suspect, beside one that alerts.
const SILENT_DEPENDENT: f64 = 0.1;

/// An alert this much after the first one still counts as among the first: rules wait, scrapes take turns.
const ONSET_SLACK_SECONDS: f64 = 30.0;

/// Member CIs whose suspects are walked at most; more of them do not change the ranking.
const MEMBERS: usize = 512;

/// An alerting CI of an incident.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Member {
    pub(crate) ci: CiIx,
    /// Its first alert's start.
    pub(crate) since: Timestamp,
}

#[derive(Clone, Copy, Default)]
struct Tally {
    /// Sum of the strengths by which alerting CIs hang on it.
    explained: f64,
    /// How many alerting CIs do, itself not counted.
    dependents: f64,
    /// How many of its replicas do, where several of one group do.
    parts: u32,
}

/// Ranks the suspects of `members` (ordered by CI). Empty when there is none.
pub(crate) fn locate(
    graph: &Graph,
    suspects: &mut Suspects,
    members: &[Member],
    max_hops: u32,
    limit: usize,
) -> Vec<Cause> {
    let Some(first) = members.iter().map(|member| member.since).min() else { return Vec::new() };
    // The earliest ones tell most; the rest is taken to be like them.
    let mut walked = members.to_vec();
    walked.sort_by_key(|member| (member.since, member.ci));
    walked.truncate(MEMBERS);
    let scale = f64::from(u32::try_from(members.len()).unwrap_or(u32::MAX))
        / f64::from(u32::try_from(walked.len()).unwrap_or(u32::MAX));
    let mut tallies: BTreeMap<CiIx, Tally> = BTreeMap::new();
    for member in &walked {
        for suspect in suspects.of(graph, member.ci, max_hops, limit).iter() {
            let Place::Ci(ci) = suspect.place else { continue };
            let tally = tallies.entry(ci).or_default();
            tally.explained += suspect.strength * scale;
            tally.dependents += f64::from(u8::from(suspect.hops > 0)) * scale;
        }
    }
    for member in &walked {
        let tally = tallies.entry(member.ci).or_default();
        tally.parts = failing_parts(graph, members, member.ci);
        tally.explained += PARTS * f64::from(tally.parts);
    }
    let mut ranked: Vec<(f64, CiIx, Tally)> = tallies
        .into_iter()
        .map(|(ci, tally)| {
            let own = members.binary_search_by_key(&ci, |member| member.ci).ok().map(|at| members[at]);
            let fan_in = f64::from(suspects.fan_in(graph, ci, max_hops));
            (score(tally, members.len(), own, first, fan_in).powi(SHARPNESS), ci, tally)
        })
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let total: f64 = ranked.iter().map(|(score, ..)| score).sum::<f64>() + DOUBT.powi(SHARPNESS);
    ranked
        .into_iter()
        .take(NAMED)
        .map(|(score, ci, tally)| {
            let own = members.binary_search_by_key(&ci, |member| member.ci).ok().map(|at| members[at]);
            let fan_in = suspects.fan_in(graph, ci, max_hops);
            let evidence = evidence(members.len(), tally, own, first, fan_in);
            Cause { ci: graph.ci(ci).id.clone(), score: score / total, evidence }
        })
        .filter(|cause| cause.score >= LEAST_SHARE)
        .collect()
}

/// How many replicas of a CI alert, counting only groups of which several do.
fn failing_parts(graph: &Graph, members: &[Member], ci: CiIx) -> u32 {
    let mut groups: BTreeMap<u32, u32> = BTreeMap::new();
    for (part, group) in graph.alternatives_of(ci) {
        if members.binary_search_by_key(&part, |member| member.ci).is_ok() {
            *groups.entry(group).or_default() += 1;
        }
    }
    groups.into_values().filter(|&alerting| alerting > 1).sum()
}

/// share of the alerting CIs explained × √(share of its dependents that alert, silent ones at a tenth) × own alert × onset
fn score(tally: Tally, members: usize, own: Option<Member>, first: Timestamp, fan_in: f64) -> f64 {
    let explained = tally.explained / f64::from(u32::try_from(members).unwrap_or(u32::MAX));
    let alerting = tally.dependents + f64::from(tally.parts) + f64::from(u8::from(own.is_some()));
    let silent = (fan_in - tally.dependents).max(0.0);
    let coverage = alerting / (alerting + SILENT_DEPENDENT * silent);
    let onset = own.map_or(SILENT, |own| {
        let late = own.since.since(first).as_secs_f64() - ONSET_SLACK_SECONDS;
        1.0 / (1.0 + late.max(0.0) / (4.0 * ONSET_SLACK_SECONDS))
    });
    explained * coverage.sqrt() * onset
}

fn evidence(members: usize, tally: Tally, own: Option<Member>, first: Timestamp, fan_in: u32) -> Vec<Reason> {
    let mut evidence = Vec::new();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, scaled up")]
    let dependents = tally.dependents.round() as u32;
    if dependents > 0 {
        evidence.push(
            Reason::new("explains", "{dependents} of {alerting} alerting CIs depend on it")
                .count("dependents", u64::from(dependents))
                .count("alerting", members as u64),
        );
    }
    if tally.parts > 0 {
        let reason = Reason::new("parts", "{parts} of its replicas alert at once");
        evidence.push(reason.count("parts", u64::from(tally.parts)));
    }
    match own {
        Some(own) if own.since <= first => {
            evidence.push(Reason::new("first", "it was the first to alert").time("since", own.since))
        }
        Some(own) => evidence.push(
            Reason::new("alerts", "it alerts itself, {late_seconds} s after the first alert")
                .number("late_seconds", own.since.since(first).as_secs_f64()),
        ),
        None => evidence.push(Reason::new("silent", "against it: it raises no alert itself")),
    }
    let silent = fan_in.saturating_sub(dependents);
    if silent > 0 {
        evidence.push(
            Reason::new("silent_dependents", "against it: {silent} of its {fan_in} dependents raise no alert")
                .count("silent", u64::from(silent))
                .count("fan_in", u64::from(fan_in)),
        );
    }
    evidence
}
