//! Correlation: which incident, if any, a new alert belongs to, and why.
//!
//! A first version: time and the service graph for bound alerts, equal labels for unbound ones. Absent on purpose:
//! text, learned co-occurrence, merging of incidents that turn out to be one; their place is here.

use quell_cmdb::Graph;
use quell_domain::{Incident, IncidentState, Reason, Timestamp};

use crate::settings::Correlation;
use crate::suspects::Shared;

/// What is left of freshness after the window, for the same CI.
const LASTING: f64 = 0.5;

/// An incident that a new alert could join.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Candidate {
    pub(crate) incident: u64,
    /// 0 to 1; see [`score`].
    pub(crate) score: f64,
    pub(crate) reason: Reason,
}

/// How fresh an incident is, 1 just after its last new alert to 0.5 at the end of the window; `None` beyond it.
pub(crate) fn freshness(rules: &Correlation, last_fired_at: Timestamp, now: Timestamp) -> Option<f64> {
    let age = now.since(last_fired_at);
    (age <= rules.window).then(|| 1.0 - 0.5 * age.as_secs_f64() / rules.window.as_secs_f64().max(1e-6))
}

/// Weighs a shared suspect: closeness × freshness; `None` below the threshold.
pub(crate) fn weigh(
    rules: &Correlation,
    graph: &Graph,
    shared: &Shared,
    incident: &Incident,
    now: Timestamp,
) -> Option<Candidate> {
    let last_fired_at = incident.last_fired_at;
    let same_ci = shared.hops == 0 && shared.claim.hops == 0;
    // While something is still wrong with a CI, the next thing wrong with it is the same trouble, however late.
    let lasting = (same_ci && incident.state == IncidentState::Open).then_some(LASTING);
    let score = shared.closeness * freshness(rules, last_fired_at, now).or(lasting)?;
    (score >= rules.threshold).then(|| {
        let apart = now.since(last_fired_at).as_secs_f64();
        let reason = explain(graph, shared).number("score", score).number("apart_seconds", apart);
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

fn explain(graph: &Graph, shared: &Shared) -> Reason {
    let name = |ix| graph.ci(ix).id.to_string();
    let (suspect, member) = (name(shared.suspect), name(shared.claim.member));
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
