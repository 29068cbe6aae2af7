//! Correlation: which incident, if any, a new alert belongs to, and why.
//!
//! Two explanations compete. Either the alert is one more of an incident's trouble: then alerts of it are to be expected
//! at the incident's rate (`pulse`), and this one's CI takes the share of them that its closeness says (`suspects`). Or
//! something else is wrong: that happens to a CI once in a while by chance. The score is the first rate's part of both,
//! which is the probability of the first explanation by Bayes' rule for two Poisson processes. So windows adapt by
//! themselves: a storm reaches far over the graph and a lone alert hardly to its neighbours, and what was near a
//! moment ago is far an hour later.
//!
//! Absent on purpose: likeness of texts; its place is here.

use quell_cmdb::Graph;
use quell_domain::{Incident, Reason, Timestamp};

use crate::settings::Correlation;
use crate::suspects::{Place, Shared};

/// While something is wrong with a CI, the next thing wrong with it is the same trouble, however late, and so is an alert
/// that comes back: at least so many more alerts a second are expected there.
const LASTING: f64 = 1.0 / 1800.0;

/// An incident that a new alert could join.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Candidate {
    pub(crate) incident: u64,
    /// 0 to 1; see [`probability`].
    pub(crate) score: f64,
    pub(crate) reason: Reason,
}

/// How fresh an incident of unbound alerts is, 1 just after its last new alert to 0.5 at the end of the window; `None`
/// beyond it.
fn freshness(rules: &Correlation, last_fired_at: Timestamp, now: Timestamp) -> Option<f64> {
    let age = now.since(last_fired_at);
    (age <= rules.window).then(|| 1.0 - 0.5 * age.as_secs_f64() / rules.window.as_secs_f64().max(1e-6))
}

/// Weighs an incident with a shared suspect against `chance`, the alerts a second that this CI raises for a trouble of
/// its own; `lasts` says that an alert of the incident fires there, or that it is the same alert again. `None` below the threshold.
pub(crate) fn weigh(
    threshold: f64,
    graph: &Graph,
    shared: &Shared,
    (incident, lasts): (&Incident, bool),
    at: Timestamp,
    chance: f64,
) -> Option<Candidate> {
    let lasting = if lasts { LASTING } else { 0.0 };
    let expected = shared.expected.max(lasting);
    let score = probability(expected, chance);
    (score >= threshold).then(|| {
        let apart = at.since(incident.last_fired_at).as_secs_f64();
        let reason = explain(graph, shared)
            .number("score", shown(score))
            .number("apart_seconds", apart)
            .number("expected_per_hour", shown(expected * 3600.0))
            .number("chance_per_hour", shown(chance * 3600.0));
        Candidate { incident: shared.incident, score, reason }
    })
}

/// The same of an incident with equal labels.
pub(crate) fn weigh_labels(
    rules: &Correlation,
    incident: u64,
    labels: Vec<String>,
    last_fired_at: Timestamp,
    now: Timestamp,
) -> Option<Candidate> {
    let score = freshness(rules, last_fired_at, now)?;
    let apart = now.since(last_fired_at).as_secs_f64();
    let reason =
        Reason::new("same_labels", "bound to no CI; has {labels} in common with an alert {apart_seconds} s before")
            .list("labels", labels)
            .number("score", score)
            .number("apart_seconds", apart);
    Some(Candidate { incident, score, reason })
}

/// The probability of an incident's trouble beside chance, from how often either raises such an alert.
pub(crate) fn probability(expected: f64, chance: f64) -> f64 {
    expected / (expected + chance)
}

/// Three digits are enough to show.
pub(crate) fn shown(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let unit = 10_f64.powf(value.abs().log10().floor() - 2.0);
    (value / unit).round() * unit
}

fn explain(graph: &Graph, shared: &Shared) -> Reason {
    let name = |ix| graph.ci(ix).id.to_string();
    let member = name(shared.claim.member);
    let suspect = match shared.suspect {
        Place::Ci(ci) => name(ci),
        Place::Fellow(ci) => {
            return Reason::new(
                "fellow",
                "tends to alert with {other}, alerting {apart_seconds} s before, as history shows",
            )
            .text("other", name(ci));
        }
        Place::Kin(_) | Place::Part(_) => {
            return Reason::new(
                "same_part",
                "in the same part of the estate as {other}, alerting {apart_seconds} s before ({cis} CIs)",
            )
            .text("other", member)
            .count("cis", u64::from(shared.fan_in) + 1);
        }
    };
    let (mine, theirs) = (u64::from(shared.hops), u64::from(shared.claim.hops));
    match (mine, theirs) {
        (0, 0) => Reason::new("same_ci", "same CI {ci} as an alert {apart_seconds} s before").text("ci", suspect),
        (hops, 0) => Reason::new("depends_on", "depends on {dependency} (distance {hops}), alerting {apart_seconds} s before")
            .text("dependency", suspect)
            .count("hops", hops),
        (0, hops) => Reason::new("dependency_of", "{dependent}, alerting {apart_seconds} s before, depends on it (distance {hops})")
            .text("dependent", member)
            .count("hops", hops),
        (mine, theirs) => Reason::new(
            "shared_dependency",
            "hangs like {other}, alerting {apart_seconds} s before, on {dependency} (distances {hops} and {other_hops}; {fan_in} CIs do)",
        )
        .text("dependency", suspect)
        .text("other", member)
        .count("hops", mine)
        .count("other_hops", theirs)
        .count("fan_in", u64::from(shared.fan_in)),
    }
}

/// The best candidate: the highest score, of equals the oldest incident.
pub(crate) fn best(candidates: Vec<Candidate>) -> Option<Candidate> {
    candidates.into_iter().reduce(|kept, other| if other.score > kept.score { other } else { kept })
}
