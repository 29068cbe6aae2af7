//! Binding: which CI an alert is about, how sure that is, and why.
//!
//! Every step of the pipeline may speak. What each found is evidence with a weight; CIs are ranked by the strongest
//! evidence for them, and the best is bound if it is clearly ahead. Otherwise the words are ambiguous, the alert stays
//! unbound and says between which CIs. Absent on purpose: names of labels; pipelines say which to look at, in which
//! order.

use quell_cmdb::{BindBy, CiIx, Found, Graph, Word};
use quell_domain::{Binding, LabelsRef, Reason};

use crate::settings::{BindStep, Pipeline};

/// How much of a step's confidence is left when only the host part of a word fits.
const HOST: f64 = 0.95;

/// And when only the first part of a host name does: `db-1` of another domain may be another machine.
const SHORT_NAME: f64 = 0.8;

/// CIs whose strongest evidence differs by no more than this are about equally likely.
const LEAD: f64 = 0.05;

/// Pieces of evidence and CIs that a reason lists.
const LISTED: usize = 5;

/// What became of the attempt to bind.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Bound {
    /// To this CI.
    To(CiIx, Binding),
    /// To none, for this reason.
    Not(Reason),
}

/// How a piece of evidence was found.
#[derive(Clone, Copy, Debug)]
enum How<'a> {
    Label { label: &'a str, value: &'a str, by: BindBy },
    CiLabels,
}

/// One step's word for one CI.
#[derive(Clone, Copy, Debug)]
struct Evidence<'a> {
    ci: CiIx,
    /// The step's place in the pipeline.
    step: usize,
    how: How<'a>,
    /// How many CIs the word fits.
    of: u32,
    /// 0 to 1: the step's confidence, less where only a part of the word fits, shared among the CIs it fits.
    weight: f64,
}

/// A CI that some evidence speaks for.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    ci: CiIx,
    /// Its strongest evidence; of equals the first.
    strongest: usize,
    weight: f64,
    step: usize,
    /// How many steps speak for it.
    steps: u32,
    /// All CIs that its strongest evidence fits are listed, so that they could be compared.
    whole: bool,
}

/// Ranks what all steps of the pipeline find.
pub(crate) fn bind(graph: &Graph, pipeline: &Pipeline, labels: LabelsRef<'_>) -> Bound {
    if graph.is_empty() {
        return Bound::Not(Reason::new("no_topology", "no topology is in force"));
    }
    let evidence = gather(graph, pipeline, labels);
    let candidates = candidates(&evidence);
    match choose(graph, &candidates) {
        Choice::None => Bound::Not(Reason::new("no_match", "no CI is known by any of its labels")),
        Choice::Clear(best) => Bound::To(best.ci, binding(graph, &evidence, &candidates, best)),
        Choice::Ambiguous(best) => Bound::Not(ambiguous(graph, &evidence, &candidates, best)),
    }
}

fn gather<'a>(graph: &'a Graph, pipeline: &'a Pipeline, labels: LabelsRef<'a>) -> Vec<Evidence<'a>> {
    let mut evidence = Vec::new();
    for (step, rule) in pipeline.bind.iter().enumerate() {
        match rule {
            BindStep::Label { labels: names, by, confidence } => {
                for label in names {
                    if let Some(value) = labels.get(label) {
                        look_up(graph, &mut evidence, step, label, value, by, *confidence);
                    }
                }
            }
            BindStep::CiLabels { confidence } => {
                let mut sharing = Vec::new();
                let found = graph.names().find_by_labels(graph.topology().cis(), labels, &mut sharing);
                add(&mut evidence, step, How::CiLabels, *confidence, found, &sharing);
            }
        }
    }
    evidence
}

/// Looks one value up: the first way that finds exactly one CI counts, else the first that finds several.
fn look_up<'a>(
    graph: &Graph,
    evidence: &mut Vec<Evidence<'a>>,
    step: usize,
    label: &'a str,
    value: &'a str,
    by: &[BindBy],
    confidence: f64,
) {
    let word = Word::new(value);
    let mut several = None;
    for &by in by {
        let (how, weight) = (How::Label { label, value, by }, confidence * quality(by));
        match graph.names().find_word(by, &word) {
            found @ Found::One(_) => return add(evidence, step, how, weight, found, &[]),
            Found::Many(count) => several = several.or(Some((by, how, weight, count))),
            Found::None => {}
        }
    }
    let Some((by, how, weight, count)) = several else { return };
    let sharing = graph.names().sharing(by, &word);
    // A service and its deployment may share a name: the label says which kind is meant.
    let mut alike = sharing.iter().filter(|&&ix| is_kind(&graph.ci(ix).kind, label));
    match (alike.next(), alike.next(), sharing.len() == count as usize) {
        (Some(&only), None, true) => add(evidence, step, how, weight, Found::One(only), &[]),
        _ => add(evidence, step, how, weight, Found::Many(count), sharing),
    }
}

/// `service`, `k8s.service` and `Service` are kinds of what a label `service` names.
fn is_kind(kind: &str, label: &str) -> bool {
    let at = kind.len().saturating_sub(label.len());
    let before = at == 0 || kind.as_bytes().get(at - 1).is_some_and(|byte| !byte.is_ascii_alphanumeric());
    before && kind.get(at..).is_some_and(|tail| tail.eq_ignore_ascii_case(label))
}

fn quality(by: BindBy) -> f64 {
    match by {
        BindBy::Id | BindBy::Name | BindBy::Alias => 1.0,
        BindBy::Host => HOST,
        BindBy::ShortName => SHORT_NAME,
    }
}

fn add<'a>(evidence: &mut Vec<Evidence<'a>>, step: usize, how: How<'a>, weight: f64, found: Found, sharing: &[CiIx]) {
    match found {
        Found::None => {}
        Found::One(ci) => evidence.push(Evidence { ci, step, how, of: 1, weight }),
        Found::Many(of) => {
            let weight = weight / f64::from(of);
            evidence.extend(sharing.iter().map(|&ci| Evidence { ci, step, how, of, weight }));
        }
    }
}

/// Every CI that evidence speaks for, the likeliest first.
fn candidates(evidence: &[Evidence<'_>]) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = Vec::new();
    for (at, &Evidence { ci, step, how: _, of, weight }) in evidence.iter().enumerate() {
        let whole = of as usize <= quell_cmdb::names::LISTED;
        match candidates.iter_mut().find(|candidate| candidate.ci == ci) {
            Some(known) => {
                known.steps += u32::from(evidence[..at].iter().all(|other| other.ci != ci || other.step != step));
                if weight > known.weight {
                    (known.strongest, known.weight, known.step, known.whole) = (at, weight, step, whole);
                }
            }
            None => candidates.push(Candidate { ci, strongest: at, weight, step, steps: 1, whole }),
        }
    }
    // Stable: of equals the one that was found first stays first.
    candidates.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    candidates
}

enum Choice<'c> {
    None,
    Clear(&'c Candidate),
    Ambiguous(&'c Candidate),
}

/// The best candidate, and whether it is clearly ahead. Of those that are about equally likely the one wins that more
/// steps speak for, then the one that an earlier step found. What then is left are words of one step: where one of the
/// CIs directly depends on all others, the alert names a thing and what it stands on, and is about the thing.
fn choose<'c>(graph: &Graph, candidates: &'c [Candidate]) -> Choice<'c> {
    let Some(strongest) = candidates.first() else { return Choice::None };
    let equals = || candidates.iter().take_while(|candidate| candidate.weight >= strongest.weight - LEAD);
    let rank = |candidate: &Candidate| (std::cmp::Reverse(candidate.steps), candidate.step);
    let best = equals().map(rank).min().unwrap_or(rank(strongest));
    let equals = || equals().filter(move |candidate| rank(candidate) == best);
    let Some(first) = equals().next() else { return Choice::None };
    let stands_on = |one: &Candidate, other: &Candidate| graph.dependencies_of(one.ci).contains(&other.ci.0);
    let on_all = |one: &&Candidate| equals().all(|other| other.ci == one.ci || stands_on(one, other));
    match equals().find(on_all) {
        Some(top) if top.whole || top.steps > 1 => Choice::Clear(top),
        _ => Choice::Ambiguous(first),
    }
}

fn binding(graph: &Graph, evidence: &[Evidence<'_>], candidates: &[Candidate], best: &Candidate) -> Binding {
    let by = &evidence[best.strongest];
    let others = |candidate: &&Candidate| candidate.ci != best.ci;
    let behind: Vec<String> = candidates
        .iter()
        .filter(others)
        .take(LISTED)
        .map(|candidate| {
            format!("{} ({:.2}: {})", graph.ci(candidate.ci).id, candidate.weight, say(&evidence[candidate.strongest]))
        })
        .collect();
    let also: Vec<String> = evidence
        .iter()
        .enumerate()
        .filter(|(at, other)| other.ci == best.ci && *at != best.strongest)
        .take(LISTED)
        .map(|(_, other)| say(other))
        .collect();
    let mut reason = match by.how {
        How::Label { label, value, by } => Reason::new("label", "label {label}={value} is its {by}")
            .text("label", label)
            .text("value", value)
            .text("by", Word::new(value).kind(by)),
        How::CiLabels => {
            let own = graph.ci(best.ci).labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            Reason::new("ci_labels", "carries all of its labels: {labels}").list("labels", own)
        }
    };
    if by.of > 1 {
        reason = reason.count("shared_by", u64::from(by.of));
    }
    if !also.is_empty() {
        reason = reason.list("also", also);
    }
    if !behind.is_empty() {
        reason.template = format!("{}; less likely: {{runners_up}}", reason.template).into();
        reason = reason.list("runners_up", behind);
    }
    Binding { ci: graph.ci(best.ci).id.clone(), confidence: best.weight, reason }
}

fn ambiguous(graph: &Graph, evidence: &[Evidence<'_>], candidates: &[Candidate], best: &Candidate) -> Reason {
    let by = &evidence[best.strongest];
    let likely = candidates.iter().filter(|candidate| candidate.weight >= best.weight - LEAD);
    let named: Vec<String> =
        likely.clone().take(LISTED).map(|candidate| graph.ci(candidate.ci).id.to_string()).collect();
    let count = u64::from(by.of).max(likely.count() as u64);
    let reason = match by.how {
        How::Label { label, value, by } if evidence[best.strongest].of > 1 => Reason::new(
            "ambiguous",
            "label {label}={value} is the {by} of {cis} CIs ({candidates}), and nothing else decides",
        )
        .text("label", label)
        .text("value", value)
        .text("by", Word::new(value).kind(by)),
        _ => Reason::new("ambiguous", "its labels name {cis} CIs ({candidates}), and nothing decides between them"),
    };
    let said = candidates.iter().take(LISTED).map(|candidate| say(&evidence[candidate.strongest])).collect();
    reason.count("cis", count).list("candidates", named).list("evidence", said)
}

/// A piece of evidence in words.
fn say(evidence: &Evidence<'_>) -> String {
    let shared = if evidence.of > 1 { format!(" of {} CIs", evidence.of) } else { String::new() };
    match evidence.how {
        How::Label { label, value, by } => format!("{label}={value} is the {}{shared}", Word::new(value).kind(by)),
        How::CiLabels => format!("carries all labels{shared}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use quell_domain::{Ci, CiId, Labels, Relationship, Source, Topology};

    use super::*;
    use crate::settings::SeverityMap;

    fn ci(id: &str, kind: &str, name: &str, aliases: &[&str], labels: &[(&str, &str)]) -> Ci {
        Ci {
            name: name.into(),
            aliases: aliases.iter().map(ToString::to_string).collect(),
            labels: labels.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect::<BTreeMap<_, _>>(),
            ..Ci::new(id, kind)
        }
    }

    /// `checkout` is a service and its deployment, `web-1` a host in two domains, `vm-7` runs on `metal-3`.
    fn estate() -> Graph {
        let cis = vec![
            ci("svc/checkout", "service", "checkout", &[], &[]),
            ci("dep/checkout", "deployment", "checkout", &[], &[("app", "checkout"), ("tier", "web")]),
            ci("db-1", "host", "db-1", &["db-1.corp.example", "10.0.0.5", "00:1a:2b:3c:4d:5e"], &[]),
            ci("web-1.corp", "host", "web-1.corp", &[], &[]),
            ci("web-1.lab", "host", "web-1.lab", &[], &[("rack", "b7")]),
            ci("vm-7", "vm", "vm-7", &[], &[]),
            ci("metal-3", "host", "metal-3", &[], &[]),
            ci("a", "host", "twin", &[], &[]),
            ci("b", "host", "twin", &[], &[]),
        ];
        let tie = |from: &str, to: &str| Relationship::new(CiId::new(from), CiId::new(to), "runs_on");
        let ties = vec![tie("vm-7", "metal-3"), tie("svc/checkout", "dep/checkout")];
        Graph::new(Topology::new(cis, ties, Vec::new()).expect("a sound topology"))
    }

    fn pipeline() -> Pipeline {
        let step = |labels: &[&str], confidence| BindStep::Label {
            labels: labels.iter().map(ToString::to_string).collect(),
            by: BindBy::ALL.to_vec(),
            confidence,
        };
        let bind = vec![
            step(&["ci"], 1.0),
            step(&["instance", "node", "mac"], 0.9),
            step(&["service", "deployment", "app"], 0.8),
            BindStep::CiLabels { confidence: 0.6 },
            step(&["job"], 0.5),
        ];
        Pipeline { source: Source::AlertmanagerApi, severity: SeverityMap::default(), bind }
    }

    /// Labels as `name=value name=value`; the outcome as `CI confidence reason` or `code reason`.
    #[track_caller]
    fn check(labels: &str, expected: &str) {
        let labels = Labels::new(labels.split(' ').filter_map(|pair| pair.split_once('=')));
        let found = match bind(&estate(), &pipeline(), labels.as_ref()) {
            Bound::To(_, Binding { ci, confidence, reason }) => format!("{ci} {confidence:.2} {reason}"),
            Bound::Not(reason) => format!("{} {reason}", reason.code),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn every_kind_of_word_is_evidence() {
        check("ci=db-1", "db-1 1.00 label ci=db-1 is its id");
        check("instance=10.0.0.5:9100", "db-1 0.85 label instance=10.0.0.5:9100 is its ip without its port");
        check("instance=DB-1.corp.example", "db-1 0.90 label instance=DB-1.corp.example is its fqdn");
        check("mac=001A.2B3C.4D5E", "db-1 0.90 label mac=001A.2B3C.4D5E is its mac");
        check("node=db-1.other.example", "db-1 0.72 label node=db-1.other.example is its short_name");
        check("tier=web app=nothing rack=b7", "web-1.lab 0.60 carries all of its labels: rack=b7");
        check("alertname=Down", "no_match no CI is known by any of its labels");
    }

    #[test]
    fn the_strongest_wins_and_the_rest_is_named() {
        check(
            "ci=db-1 instance=vm-7:9100 job=metal-3",
            "db-1 1.00 label ci=db-1 is its id; less likely: \
             vm-7 (0.85: instance=vm-7:9100 is the host without its port), metal-3 (0.50: job=metal-3 is the id)",
        );
    }

    #[test]
    fn a_name_that_two_share_binds_to_neither_unless_something_else_decides() {
        check(
            "node=web-1.x",
            "ambiguous label node=web-1.x is the short_name of 2 CIs (web-1.corp, web-1.lab), and nothing else decides",
        );
        check(
            "node=web-1.x rack=b7",
            "web-1.lab 0.60 carries all of its labels: rack=b7; less likely: \
             web-1.corp (0.36: node=web-1.x is the short_name of 2 CIs)",
        );
        check("ci=twin", "ambiguous label ci=twin is the name of 2 CIs (a, b), and nothing else decides");
        check("node=twin job=a", "a 0.50 label job=a is its id; less likely: b (0.45: node=twin is the name of 2 CIs)");
    }

    #[test]
    fn the_label_says_which_kind_is_meant() {
        check("service=checkout", "svc/checkout 0.80 label service=checkout is its name");
        check("deployment=checkout", "dep/checkout 0.80 label deployment=checkout is its name");
        assert!(is_kind("k8s.service", "service") && is_kind("Service", "service"));
        assert!(!is_kind("microservice", "service") && !is_kind("host", "service"));
    }

    #[test]
    fn two_labels_that_contradict_each_other_bind_to_neither() {
        check(
            "instance=db-1 node=metal-3",
            "ambiguous its labels name 2 CIs (db-1, metal-3), and nothing decides between them",
        );
        // One runs on the other: the alert is about what runs.
        check(
            "instance=metal-3 node=vm-7",
            "vm-7 0.90 label node=vm-7 is its id; less likely: metal-3 (0.90: instance=metal-3 is the id)",
        );
        // Steps have an order, and the earlier one is the finer.
        check(
            "instance=db-1:9100 service=vm-7",
            "db-1 0.85 label instance=db-1:9100 is its host without its port; less likely: vm-7 (0.80: service=vm-7 is the id)",
        );
    }

    #[test]
    fn a_second_step_that_agrees_decides_between_equals() {
        check(
            "instance=db-1 node=metal-3 job=db-1",
            "db-1 0.90 label instance=db-1 is its id; less likely: metal-3 (0.90: node=metal-3 is the id)",
        );
    }
}
