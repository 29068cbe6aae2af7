//! Localisation: which CI is probably at fault, and what speaks for and against it.
//!
//! Every alerting CI has a weight: how surprising its alerts are, by how rarely they fired in earlier incidents, how
//! soon they came (a rule's own delay taken off) and how far off the value is that they carry. A CI either fails by
//! itself or because something fails that it depends on, so its weight is shared between itself and its dependencies,
//! nearer ones getting more, those that alert themselves far more than silent ones, unless most of what hangs on a
//! silent one alerts: nobody watches it. A CI that alerts in most incidents anyway says nothing about its
//! dependencies. Replicas of one CI that fail together share with it: what they have in common is what was deployed.
//! The shares that a CI is given in all are its score.
//!
//! Absent on purpose: where history comes from (`learn`), and what people said (`verdicts`).

use std::collections::BTreeMap;

use quell_cmdb::{CiIx, Graph};
use quell_domain::{Cause, Reason, Timestamp};

use crate::changes::Changed;
use crate::suspects::{Place, Suspect, Suspects};

/// How many causes an incident names at most.
const NAMED: usize = 10;

/// What an alerting CI gives to a dependency one hop away, beside 1 that it keeps.
const PASSED: f64 = 0.5;

/// The part of it that a silent dependency gets: monitors have gaps, but fewer gaps than eyes.
const SILENT: f64 = 0.15;

/// What an alerting replica gives to a CI several of whose replicas alert.
const PARTS: f64 = 0.6;

/// A CI that alerts in a share p of all incidents passes (1 − p) to this power.
const BUSY: i32 = 4;

/// A cause below this share of the belief is not worth naming.
const LEAST_SHARE: f64 = 0.005;

/// Scores are raised to this power before they share the belief: twice the score is more than twice as likely.
const SHARPNESS: i32 = 2;

/// Belief that none of the candidates is at fault, beside the score of the best: what keeps a lone weak candidate from
/// looking certain.
const DOUBT: f64 = 0.25;

/// An alert this much after the first one still counts as among the first: rules wait, scrapes take turns.
const ONSET_SLACK_SECONDS: f64 = 30.0;

/// After so much more it counts two thirds.
const ONSET_SECONDS: f64 = 120.0;

/// Member CIs whose suspects are walked at most; more of them do not change the ranking.
const MEMBERS: usize = 512;

/// An alerting CI of an incident.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Member {
    pub(crate) ci: CiIx,
    /// Its first alert's start, the rule's own delay taken off.
    pub(crate) since: Timestamp,
    /// How surprising its alerts are, above 0.
    pub(crate) surprise: f64,
    /// In which share of earlier incidents it alerted.
    pub(crate) busy: f64,
}

#[derive(Clone, Copy, Default)]
struct Tally {
    /// How many alerting CIs hang on it, itself not counted.
    dependents: f64,
    /// How many of its replicas alert, where several of one group do.
    parts: u32,
    /// What it is given in all.
    score: f64,
}

/// Everything that ranks one incident.
struct Case<'a> {
    graph: &'a Graph,
    max_hops: u32,
    limit: usize,
    /// By CI.
    members: &'a [Member],
    /// The earliest ones: they tell most, and the rest is taken to be like them.
    walked: Vec<Member>,
    first: Timestamp,
    tallies: BTreeMap<CiIx, Tally>,
    /// What changes say of a CI.
    changed: &'a dyn Fn(CiIx) -> Option<Changed>,
}

/// Ranks the suspects of `members` (ordered by CI). Empty when there is none.
pub(crate) fn locate(
    graph: &Graph,
    suspects: &mut Suspects,
    members: &[Member],
    max_hops: u32,
    limit: usize,
    changed: &dyn Fn(CiIx) -> Option<Changed>,
) -> Vec<Cause> {
    let Some(first) = members.iter().map(|member| member.since).min() else { return Vec::new() };
    let mut walked = members.to_vec();
    walked.sort_by_key(|member| (member.since, member.ci));
    walked.truncate(MEMBERS);
    let mut case = Case { graph, max_hops, limit, members, walked, first, tallies: BTreeMap::new(), changed };
    case.count(suspects);
    case.share(suspects);
    case.causes(suspects)
}

impl Case<'_> {
    fn member(&self, ci: CiIx) -> Option<Member> {
        self.members.binary_search_by_key(&ci, |member| member.ci).ok().map(|at| self.members[at])
    }

    /// How many members there are for each that is walked.
    fn scale(&self) -> f64 {
        let count = |members: &[Member]| f64::from(u32::try_from(members.len()).unwrap_or(u32::MAX));
        count(self.members) / count(&self.walked)
    }

    fn count(&mut self, suspects: &mut Suspects) {
        let scale = self.scale();
        for member in self.walked.clone() {
            for suspect in suspects.of(self.graph, member.ci, self.max_hops, self.limit).iter() {
                if let Place::Ci(ci) = suspect.place {
                    let tally = self.tallies.entry(ci).or_default();
                    tally.dependents += f64::from(u8::from(suspect.hops > 0)) * scale;
                }
            }
            for &above in self.graph.dependents_of(member.ci) {
                let parts = failing_parts(self.graph, self.members, CiIx(above));
                if parts > 0 {
                    self.tallies.entry(CiIx(above)).or_default().parts = parts;
                }
            }
        }
    }

    /// Shares each member's weight between itself, its dependencies and what it is a replica of.
    fn share(&mut self, suspects: &mut Suspects) {
        for member in self.walked.clone() {
            let late = member.since.since(self.first).as_secs_f64() - ONSET_SLACK_SECONDS;
            let weight = member.surprise / (1.0 + late.max(0.0) / (2.0 * ONSET_SECONDS));
            let passes = (1.0 - member.busy).max(0.0).powi(BUSY);
            let list = suspects.of(self.graph, member.ci, self.max_hops, self.limit);
            let mut shares: Vec<(CiIx, f64)> = Vec::with_capacity(list.len());
            for suspect in list.iter() {
                let Place::Ci(ci) = suspect.place else { continue };
                shares.push((ci, if suspect.hops == 0 { 1.0 } else { passes * self.passed(suspects, ci, suspect) }));
            }
            for &above in self.graph.dependents_of(member.ci) {
                let above = CiIx(above);
                let replica = || self.graph.alternatives_of(above).any(|(part, _)| part == member.ci);
                // What was deployed of the whole was deployed of each of its replicas.
                let common = self.tallies.get(&above).is_some_and(|tally| tally.parts > 1);
                if (common || (self.changed)(above).is_some()) && replica() {
                    shares.push((above, PARTS));
                }
            }
            let all: f64 = shares.iter().map(|(_, share)| share).sum();
            for (ci, share) in shares {
                self.tallies.entry(ci).or_default().score += weight * share / all;
            }
        }
    }

    fn passed(&self, suspects: &mut Suspects, ci: CiIx, suspect: &Suspect) -> f64 {
        let heard = if self.member(ci).is_some() {
            1.0
        } else {
            let dependents = self.tallies.get(&ci).map_or(0.0, |tally| tally.dependents);
            let covered = dependents / f64::from(suspects.fan_in(self.graph, ci, self.max_hops)).max(1.0);
            // One dependent that alerts is no sign of a cause beneath it that nobody sees.
            let several = 1.0 - 1.0 / dependents.max(1.0);
            SILENT + (1.0 - SILENT) * covered.min(1.0).powi(2) * several
        };
        PASSED * suspect.strength * heard
    }

    fn causes(&self, suspects: &mut Suspects) -> Vec<Cause> {
        let mut ranked: Vec<(f64, CiIx, Tally)> =
            self.tallies.iter().map(|(&ci, &tally)| (tally.score * self.altered(ci), ci, tally)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let best = ranked.first().map_or(0.0, |(score, ..)| *score).max(1e-12);
        let belief = |score: f64| (score / best).powi(SHARPNESS);
        let total = ranked.iter().map(|(score, ..)| belief(*score)).sum::<f64>() + DOUBT;
        let cause = |(score, ci, tally): (f64, CiIx, Tally)| {
            let fan_in = suspects.fan_in(self.graph, ci, self.max_hops);
            let mut evidence = self.evidence(tally, self.member(ci), fan_in);
            evidence.extend((self.changed)(ci).map(|changed| changed.reason));
            Cause { ci: self.graph.ci(ci).id.clone(), score: belief(score) / total, evidence }
        };
        ranked.into_iter().take(NAMED).map(cause).filter(|cause| cause.score >= LEAST_SHARE).collect()
    }

    /// What its changes make of a CI's score: the belief in it grows by as many times as they make it likelier.
    fn altered(&self, ci: CiIx) -> f64 {
        (self.changed)(ci).map_or(1.0, |changed| changed.times.powf(1.0 / f64::from(SHARPNESS)))
    }

    fn evidence(&self, tally: Tally, own: Option<Member>, fan_in: u32) -> Vec<Reason> {
        let mut evidence = Vec::new();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, scaled up")]
        let dependents = tally.dependents.round() as u32;
        if dependents > 0 {
            evidence.push(
                Reason::new("explains", "{dependents} of {alerting} alerting CIs depend on it")
                    .count("dependents", u64::from(dependents))
                    .count("alerting", self.members.len() as u64),
            );
        }
        if tally.parts > 1 {
            let reason = Reason::new("parts", "{parts} of its replicas alert at once");
            evidence.push(reason.count("parts", u64::from(tally.parts)));
        }
        match own {
            Some(own) if own.since <= self.first => {
                evidence.push(Reason::new("first", "it was the first to alert").time("since", own.since))
            }
            Some(own) => evidence.push(
                Reason::new("alerts", "it alerts itself, {late_seconds} s after the first alert")
                    .number("late_seconds", own.since.since(self.first).as_secs_f64()),
            ),
            None => evidence.push(Reason::new("silent", "against it: it raises no alert itself")),
        }
        if let Some(own) = own.filter(|own| own.busy > 0.5) {
            let reason = Reason::new("busy", "against it: it alerts in {percent} % of all incidents");
            evidence.push(reason.number("percent", (own.busy * 100.0).round()));
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
