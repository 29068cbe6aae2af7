//! Localisation: which CI is probably at fault, and what speaks for and against it.
//!
//! Every CI that alerts, and every one that such a CI hangs on, may be at fault; the evidence for each is a sum of nats
//! (see `members`). That its own alerts are rare speaks for it. So does every alerting CI that hangs on it, by how
//! rarely that alerts and how surely the failure reaches it: one relationship passes a failure on or does not, a CI on
//! the way that alerts shows that it arrived there, and a silent one makes it doubtful. So the far end of a chain of
//! alerts explains them all, a CI that always alerts explains nothing and needs no explanation, and a silent CI may be
//! the cause when enough of what hangs on it alerts. Replicas of one CI that fail together speak for it too: what they
//! have in common is what was deployed, and often nothing watches it but they.
//!
//! Absent on purpose: where history comes from (`learn`), and what people said (`verdicts`). What does not alert speaks
//! against nobody: most failures reach only some of what hangs on them.

use std::collections::{BTreeMap, BTreeSet};

use quell_cmdb::{CiIx, Graph};
use quell_domain::{Cause, Reason, Timestamp};

use crate::changes::Changed;
use crate::members::Member;

/// How many causes an incident names at most.
const NAMED: usize = 10;

/// The probability that a failure shows on a replica of what fails: rather than not.
const SHOWN: f64 = 2.0 / 3.0;

/// The probability that a CI on the way was reached although it is silent: monitors have gaps, but fewer gaps than eyes.
const SILENT: f64 = 0.15;

/// The probability that nobody watches the CI at fault.
const UNWATCHED: f64 = 0.1;

/// What e times as many dependents count in favour of a CI: enough to tell equals apart, and no evidence.
const FELT: f64 = 0.1;

/// Causes beyond the first five are not worth naming below this share of the belief.
const LEAST_SHARE: f64 = 0.005;

/// Causes that are named however unlikely.
const ALWAYS: usize = 5;

/// Belief that none of the candidates is at fault, beside that in the best: alerts of other troubles get in, and the
/// CMDB has gaps. A lone candidate is believed four times in five.
const DOUBT: f64 = 0.25;

/// A first cause that is believed less is likelier wrong than right, and its evidence says so.
pub const STANDS_OUT: f64 = 0.5;

/// Member CIs whose dependencies are walked at most; the rest is taken to be like them.
const MEMBERS: usize = 512;

/// What is known of a candidate.
#[derive(Clone, Copy, Default)]
struct Tally {
    /// How many alerting CIs hang on it, itself not counted.
    dependents: f64,
    /// How many of its replicas alert, where several of one group do.
    parts: u32,
    /// The evidence of what hangs on it and of its replicas.
    nats: f64,
}

/// Everything that ranks one incident.
struct Case<'a> {
    graph: &'a Graph,
    max_hops: u32,
    limit: usize,
    /// By CI.
    members: &'a [Member],
    first: Option<Timestamp>,
    tallies: BTreeMap<CiIx, Tally>,
    /// What changes say of a CI.
    changed: &'a dyn Fn(CiIx) -> Option<Changed>,
}

/// Ranks the suspects of `members` (ordered by CI). Empty when there is none. At most `limit` dependencies of each
/// within `max_hops` are looked at. `changed` tells what changes say of a CI.
pub(crate) fn locate(
    graph: &Graph,
    members: &[Member],
    max_hops: u32,
    limit: usize,
    changed: &dyn Fn(CiIx) -> Option<Changed>,
) -> Vec<Cause> {
    let first = members.iter().filter_map(|member| member.since).min();
    let mut case = Case { graph, max_hops, limit, members, first, tallies: BTreeMap::new(), changed };
    // The most telling ones, of equals the earliest.
    let mut walked: Vec<&Member> = members.iter().collect();
    if walked.len() > MEMBERS {
        walked.sort_by(|a, b| b.hit.total_cmp(&a.hit).then(a.since.cmp(&b.since)).then(a.ci.cmp(&b.ci)));
        walked.truncate(MEMBERS);
    }
    let count = |members: usize| f64::from(u32::try_from(members).unwrap_or(u32::MAX));
    let scale = count(members.len()) / count(walked.len()).max(1.0);
    for member in walked {
        case.walk(member, scale);
    }
    case.causes()
}

/// Says of causes whose first one does not stand out that it does not.
pub(crate) fn doubt(causes: &mut [Cause]) {
    let second = causes.get(1).map(|second| (second.ci.to_string(), percent(second.score)));
    let Some(first) = causes.first_mut().filter(|first| first.score < STANDS_OUT) else { return };
    let sentence = match second {
        Some(_) => {
            "against it: nothing stands out, {percent} % of the belief is not half; next is {second} with {less} %"
        }
        None => "against it: nothing stands out, {percent} % of the belief is not half",
    };
    let mut reason = Reason::new(UNDECIDED, sentence).count("percent", percent(first.score));
    if let Some((second, less)) = second {
        reason = reason.text("second", second).count("less", less);
    }
    first.evidence.insert(0, reason);
}

/// The code of the reason that says that no cause stands out.
const UNDECIDED: &str = "undecided";

impl Case<'_> {
    fn member(&self, ci: CiIx) -> Option<&Member> {
        self.members.binary_search_by_key(&ci, |member| member.ci).ok().map(|at| &self.members[at])
    }

    /// What one member says of everything it hangs on.
    fn walk(&mut self, member: &Member, scale: f64) {
        for (ci, sure) in self.reached(member.ci) {
            let tally = self.tallies.entry(ci).or_default();
            if ci != member.ci {
                tally.dependents += scale;
                tally.nats += scale * reached_too(member.hit, sure);
            }
        }
        for &above in self.graph.dependents_of(member.ci) {
            let above = CiIx(above);
            if self.graph.alternatives_of(above).any(|(part, _)| part == member.ci) {
                let parts = u32::try_from(failing(self.graph, self.members, above).count()).unwrap_or(u32::MAX);
                let tally = self.tallies.entry(above).or_default();
                tally.parts = parts;
                // What was deployed of the whole was deployed of each of its replicas.
                let common = parts > 1 || (self.changed)(above).is_some();
                tally.nats += if common { reached_too(member.hit, SHOWN) } else { 0.0 };
            }
        }
    }

    /// What a CI hangs on, itself included, each with the probability that its failure reaches the CI, along the surest
    /// way, given which CIs on the way alert.
    fn reached(&self, from: CiIx) -> BTreeMap<CiIx, f64> {
        let mut surest = BTreeMap::from([(from, 1.0)]);
        let mut layer = vec![(from, 1.0)];
        for _ in 0..self.max_hops {
            let mut next: Vec<(CiIx, f64)> = Vec::new();
            for &(ci, sure) in &layer {
                // What alerts was reached, so it does not matter from how far.
                let arrived = ci != from && self.member(ci).is_some();
                let silent = if ci == from { 1.0 } else { SILENT };
                for (dependency, strength) in self.graph.needs_of(ci) {
                    let sure = if arrived { sure } else { sure * silent * strength };
                    let known = surest.get(&dependency).copied();
                    if known.is_none_or(|known| sure > known) && (known.is_some() || surest.len() < self.limit) {
                        surest.insert(dependency, sure);
                        next.push((dependency, sure));
                    }
                }
            }
            layer = next;
        }
        surest
    }

    fn causes(&self) -> Vec<Cause> {
        let own = |ci: CiIx| self.member(ci).map_or(UNWATCHED.ln(), |own| own.own);
        let nats = |ci: CiIx, tally: &Tally| {
            let alone = tally.nats + own(ci);
            let seen = if tally.parts > 1 { self.through_replicas(ci).max(alone) } else { alone };
            seen + self.felt(ci) + (self.changed)(ci).map_or(0.0, |changed| changed.times.ln())
        };
        let since = |ci: CiIx| self.member(ci).and_then(|own| own.since);
        let mut ranked: Vec<(f64, CiIx)> = self.tallies.iter().map(|(&ci, tally)| (nats(ci, tally), ci)).collect();
        let unheard = |ci: CiIx| (since(ci).is_none(), since(ci), ci);
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| unheard(a.1).cmp(&unheard(b.1))));
        let best = ranked.first().map_or(0.0, |(nats, _)| *nats);
        let belief = |nats: f64| (nats - best).exp();
        let total = ranked.iter().map(|(nats, _)| belief(*nats)).sum::<f64>() + DOUBT;
        let cause = |(nats, ci): (f64, CiIx)| Cause {
            ci: self.graph.ci(ci).id.clone(),
            score: belief(nats) / total,
            evidence: self.evidence(ci),
        };
        let causes = ranked.into_iter().take(NAMED).map(cause).enumerate();
        causes.filter(|(at, cause)| *at < ALWAYS || cause.score >= LEAST_SHARE).map(|(_, cause)| cause).collect()
    }

    /// The evidence for a CI that nobody watches but through its replicas: that of the most telling one, and how like it
    /// the others are.
    fn through_replicas(&self, ci: CiIx) -> f64 {
        let parts: BTreeSet<CiIx> = failing(self.graph, self.members, ci).collect();
        let parts: Vec<&Member> = parts.into_iter().filter_map(|part| self.member(part)).collect();
        let most = parts.iter().max_by(|a, b| a.own.total_cmp(&b.own).then(b.ci.cmp(&a.ci)));
        let Some(most) = most else { return f64::NEG_INFINITY };
        let like: f64 =
            parts.iter().filter(|part| part.ci != most.ci).map(|part| reached_too(like(most, part), SHOWN)).sum();
        let hangs_on_it = self.tallies.get(&most.ci).map_or(0.0, |tally| tally.nats);
        UNWATCHED.ln() + most.own + like + hangs_on_it
    }

    /// Between equals, the CI that more others hang on: its failure is felt by more, so it is likelier to be one that
    /// anybody is told of.
    fn felt(&self, ci: CiIx) -> f64 {
        let dependents = u32::try_from(self.graph.dependents_of(ci).len()).unwrap_or(u32::MAX);
        FELT * f64::from(dependents).ln_1p()
    }

    fn evidence(&self, ci: CiIx) -> Vec<Reason> {
        let (tally, own) = (self.tallies.get(&ci).copied().unwrap_or_default(), self.member(ci));
        let mut evidence = Vec::new();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, scaled up")]
        let dependents = tally.dependents.round() as u64;
        if dependents > 0 {
            evidence.push(
                Reason::new("explains", "{dependents} of {alerting} alerting CIs depend on it")
                    .count("dependents", dependents)
                    .count("alerting", self.members.len() as u64),
            );
        }
        if tally.parts > 1 {
            let reason = Reason::new("parts", "{parts} of its replicas alert at once");
            evidence.push(reason.count("parts", u64::from(tally.parts)));
        }
        match own.and_then(|own| own.since) {
            Some(since) if Some(since) <= self.first => {
                evidence.push(Reason::new("first", "it was the first to alert").time("since", since))
            }
            Some(since) => evidence.push(
                Reason::new("alerts", "it alerts itself, {late_seconds} s after the first alert")
                    .number("late_seconds", self.first.map_or(0.0, |first| since.since(first).as_secs_f64())),
            ),
            None => evidence.push(Reason::new("silent", "against it: it raises no alert itself")),
        }
        if let Some(own) = own {
            if own.named > 0 {
                let reason = Reason::new("named_by", "{named} alerts of other CIs name it");
                evidence.push(reason.count("named", u64::from(own.named)));
            }
            if own.busy > 0.5 {
                let reason = Reason::new("busy", "against it: it alerts in {percent} % of all incidents");
                evidence.push(reason.count("percent", percent(own.busy)));
            }
        }
        evidence.extend((self.changed)(ci).map(|changed| changed.reason));
        evidence
    }
}

fn percent(share: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
    let percent = (share * 100.0).round() as u64;
    percent
}

/// The evidence that a failure is the reason of what is seen on a CI that it reaches with this probability.
fn reached_too(nats: f64, sure: f64) -> f64 {
    // Beyond it the sum is what counts, and it is far from where numbers end.
    ((1.0 - sure) + sure * nats.min(500.0).exp()).ln()
}

/// How like one replica another is: what it shows of the same, less what it does not show.
fn like(one: &Member, other: &Member) -> f64 {
    let shown = |name: u32| other.names.binary_search_by_key(&name, |(name, _)| *name).ok().map(|at| other.names[at].1);
    one.names.iter().map(|&(name, nats)| shown(name).map_or(-nats, |theirs| theirs.min(nats))).sum()
}

/// The replicas of a CI that alert, of groups of which several do.
fn failing(graph: &Graph, members: &[Member], ci: CiIx) -> impl Iterator<Item = CiIx> {
    let mut groups: BTreeMap<u32, Vec<CiIx>> = BTreeMap::new();
    for (part, group) in graph.alternatives_of(ci) {
        if members.binary_search_by_key(&part, |member| member.ci).is_ok() {
            groups.entry(group).or_default().push(part);
        }
    }
    groups.into_values().filter(|alerting| alerting.len() > 1).flatten()
}

#[cfg(test)]
mod tests {
    use quell_domain::{Ci, CiId, Redundancy, Relationship, Topology};

    use super::*;

    /// `web>db web>h1` is a graph; `web=web-1,web-2` makes replicas of which one must be up.
    fn graph(text: &str) -> Graph {
        let (mut ids, mut relationships, mut redundancies) = (BTreeSet::new(), Vec::new(), Vec::new());
        for word in text.split(' ') {
            let (from, to) = word.split_once(['>', '=']).expect("a relationship");
            ids.insert(from);
            for to in to.split(',') {
                ids.insert(to);
                let redundancy = word.contains('=').then(|| "replicas".to_owned());
                let relationship = Relationship::new(CiId::new(from), CiId::new(to), "depends_on");
                relationships.push(Relationship { redundancy, ..relationship });
            }
            if word.contains('=') {
                redundancies.push(Redundancy { ci: CiId::new(from), name: "replicas".into(), at_least: 1 });
            }
        }
        let cis = ids.into_iter().map(|id| Ci::new(id, "service")).collect();
        Graph::new(Topology::new(cis, relationships, redundancies).expect("holds together"))
    }

    /// `db:5/2` alerts with 5 nats that the fault is its own and 2 that it was hit, all names alike.
    fn causes(topology: &str, alerting: &str) -> Vec<Cause> {
        let graph = graph(topology);
        let member = |(at, word): (i64, &str)| {
            let (ci, nats) = word.split_once(':').expect("nats");
            let (own, hit) = nats.split_once('/').expect("two of them");
            let (own, hit): (f64, f64) = (own.parse().expect("nats"), hit.parse().expect("nats"));
            let ci = graph.find(&CiId::new(ci)).expect("a CI");
            let since = Some(Timestamp::from_seconds(at));
            Member { ci, since, named: 0, own, hit, busy: 0.1, names: vec![(0, own)] }
        };
        let mut members: Vec<Member> = (0..).zip(alerting.split_whitespace()).map(member).collect();
        members.sort_by_key(|member| member.ci);
        let mut causes = locate(&graph, &members, 4, 100, &|_| None);
        doubt(&mut causes);
        causes
    }

    fn check(topology: &str, alerting: &str, expected: &str) {
        let causes = causes(topology, alerting);
        let named: Vec<&str> = causes.iter().take(expected.split(' ').count()).map(|cause| cause.ci.as_str()).collect();
        assert_eq!(named.join(" "), expected, "{causes:#?}");
    }

    #[test]
    fn the_far_end_of_a_chain_explains_it() {
        check("web>api api>db db>disk", "web:2/2 api:2/2 db:2/2", "db api");
        // However early the others came.
        check("web>api api>db", "db:2/2 api:2/2 web:2/2", "db");
    }

    #[test]
    fn what_is_rarest_is_at_fault_when_nothing_hangs_together() {
        check("a>x b>y c>z", "a:2/1 b:6/1 c:1/1", "b a c");
        // A chain of what always alerts explains nothing.
        check("web>api api>db", "web:0/0 api:4/0 db:1/0", "api db");
    }

    #[test]
    fn a_silent_ci_is_named_when_enough_of_what_hangs_on_it_alerts() {
        check("a>sw b>sw c>sw d>sw", "a:2/2 b:2/2", "a");
        check("a>sw b>sw c>sw d>sw", "a:2/2 b:2/2 c:2/2 d:2/2", "sw");
    }

    #[test]
    fn a_silent_ci_on_the_way_makes_the_way_doubtful() {
        // Both may be the reason of what is seen on web, and mq is the rarer one.
        check("web>api api>db web>bus bus>mq", "web:1/4 api:1/1 bus:1/1 db:2/2 mq:3/3", "mq");
        check("web>api api>db web>bus bus>mq", "web:1/4 api:1/1 db:2/2 mq:3/3", "db");
    }

    #[test]
    fn what_all_replicas_show_is_the_fault_of_what_they_are_replicas_of() {
        check("web=w1,w2,w3 w1>h1 w2>h2 w3>h3", "w1:6/1 w2:6/1 w3:6/1", "web");
        check("web=w1,w2,w3 w1>h1 w2>h2 w3>h3", "w1:6/1 w2:0/1 w3:0/1", "w1");
    }

    #[test]
    fn nothing_stands_out_is_said_and_only_then() {
        let first = |alerting: &str| causes("a>x b>y", alerting)[0].evidence[0].clone();
        let unsure = first("a:2/1 b:2/1");
        assert_eq!(unsure.code, UNDECIDED);
        assert_eq!(
            unsure.to_string(),
            "against it: nothing stands out, 43 % of the belief is not half; next is b with 43 %"
        );
        assert_eq!(first("a:6/1 b:2/1").code, "first");
    }

    #[test]
    fn belief_is_never_more_than_all_and_a_lone_candidate_is_not_certain() {
        let causes = causes("a>x b>y", "a:20/1 b:2/1");
        assert!((causes[0].score - 0.8).abs() < 1e-6, "{causes:#?}");
        assert!(causes.iter().map(|cause| cause.score).sum::<f64>() < 1.0);
    }
}
