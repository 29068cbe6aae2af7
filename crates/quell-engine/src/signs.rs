//! What the alerts of one incident say of each CI: which names fired on it or name it, since when, and how far off.
//!
//! An alert speaks of the CI it is bound to, and of another one that its labels name: who calls and gets no answer says
//! as much of itself as of whom it calls. Absent on purpose: what follows from it (`members`), and history (`learn`).

use std::collections::BTreeMap;

use quell_cmdb::{CiIx, Graph};
use quell_domain::{CiId, Labels, Timestamp};

use crate::suspects::{Place, Suspects};

/// The annotation or label in which an alert may carry a value.
const VALUE: &str = "value";

/// What stands before the name of an alert where it is not bound to the CI but names it.
const NAMES: &str = "named by ";

/// What is said of one CI.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Sign {
    /// Its own first alert's start; `None` when others only name it.
    pub(crate) since: Option<Timestamp>,
    /// Alerts of others that name it.
    pub(crate) named: u32,
    /// A critical alert is among its own.
    pub(crate) critical: bool,
    /// By alert name, the greatest value where one is told.
    pub(crate) names: BTreeMap<String, Option<f64>>,
}

/// What is said of all.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Signs(BTreeMap<CiIx, Sign>);

impl Signs {
    /// One alert, bound to `ci`, that names others.
    pub(crate) fn note(&mut self, ci: CiIx, name: &str, since: Timestamp, value: Option<f64>, named: Vec<CiIx>) {
        let sign = self.0.entry(ci).or_default();
        sign.since = Some(sign.since.map_or(since, |known| known.min(since)));
        sign.tell(name, value);
        if !named.is_empty() {
            let name = format!("{NAMES}{name}");
            for other in named {
                let sign = self.0.entry(other).or_default();
                sign.named += 1;
                sign.tell(&name, value);
            }
        }
    }

    /// One of a CI's own alerts is critical.
    pub(crate) fn critical(&mut self, ci: CiIx) {
        self.0.entry(ci).or_default().critical = true;
    }

    /// By CI.
    pub(crate) fn cis(&self) -> impl Iterator<Item = (CiIx, &Sign)> {
        self.0.iter().map(|(&ci, sign)| (ci, sign))
    }

    /// How many CIs alert themselves.
    pub(crate) fn alerting(&self) -> usize {
        self.0.values().filter(|sign| sign.since.is_some()).count()
    }
}

impl Sign {
    fn tell(&mut self, name: &str, value: Option<f64>) {
        match self.names.get_mut(name) {
            Some(known) => *known = greater(*known, value),
            None => _ = self.names.insert(name.to_owned(), value),
        }
    }
}

/// The CIs whose ids are values of an alert's labels, beside the one it is bound to and what that hangs on: of those
/// the graph speaks.
pub(crate) fn named(
    graph: &Graph,
    suspects: &mut Suspects,
    (max_hops, limit): (u32, usize),
    ci: CiIx,
    labels: &Labels,
) -> Vec<CiIx> {
    let mut named: Vec<CiIx> = labels.iter().filter_map(|(_, value)| graph.find(&CiId::new(value))).collect();
    named.retain(|&other| other != ci);
    if !named.is_empty() {
        named.sort_unstable();
        named.dedup();
        let hangs_on = suspects.of(graph, ci, max_hops, limit);
        named.retain(|&other| !hangs_on.iter().any(|suspect| suspect.place == Place::Ci(other)));
    }
    named
}

/// The value that an alert carries: its distance from what is usual, as whoever measured it says.
pub(crate) fn value(labels: &Labels, annotations: &Labels) -> Option<f64> {
    let text = annotations.get(VALUE).or_else(|| labels.get(VALUE))?;
    text.trim().parse().ok().filter(|value: &f64| value.is_finite() && *value > 0.0)
}

fn greater(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use quell_domain::{Ci, Relationship, Topology};

    use super::*;

    fn graph() -> Graph {
        let cis = ["api", "db", "h1", "web"].map(|id| Ci::new(id, "service")).to_vec();
        let on = |from: &str, to: &str| Relationship::new(CiId::new(from), CiId::new(to), "depends_on");
        Graph::new(Topology::new(cis, vec![on("web", "api"), on("api", "h1")], vec![]).expect("holds together"))
    }

    #[test]
    fn labels_name_whom_the_graph_does_not_speak_of() {
        let check = |labels: &[(&str, &str)], expected: &[&str]| {
            let graph = graph();
            let ci = graph.find(&CiId::new("api")).expect("a CI");
            let labels = Labels::new(labels.iter().copied());
            let named = named(&graph, &mut Suspects::default(), (4, 100), ci, &labels);
            assert_eq!(named.iter().map(|&ci| graph.ci(ci).id.as_str()).collect::<Vec<_>>(), expected);
        };
        check(&[("alertname", "Slow"), ("caller", "web")], &["web"]);
        check(&[("caller", "web"), ("client", "web"), ("peer", "db")], &["db", "web"]);
        // What it hangs on explains it already, and itself it need not name.
        check(&[("node", "h1"), ("service", "api")], &[]);
        check(&[("caller", "nobody")], &[]);
    }

    #[test]
    fn a_named_ci_does_not_alert() {
        let (graph, mut signs) = (graph(), Signs::default());
        let ix = |id| graph.find(&CiId::new(id)).expect("a CI");
        signs.note(ix("api"), "Slow", Timestamp::from_seconds(7), Some(2.0), vec![ix("web")]);
        signs.note(ix("api"), "Slow", Timestamp::from_seconds(5), Some(1.0), vec![ix("web")]);
        let told: Vec<_> = signs.cis().map(|(ci, sign)| (graph.ci(ci).id.as_str(), sign.clone())).collect();
        let sign = |since: Option<i64>, named, name: &str| Sign {
            since: since.map(Timestamp::from_seconds),
            named,
            critical: false,
            names: [(name.to_owned(), Some(2.0))].into(),
        };
        assert_eq!(told, [("api", sign(Some(5), 0, "Slow")), ("web", sign(None, 2, "named by Slow"))]);
        assert_eq!(signs.alerting(), 1);
    }

    #[test]
    fn a_value_is_a_distance() {
        let check = |labels: &[(&str, &str)], annotations: &[(&str, &str)], expected: Option<f64>| {
            let found = value(&Labels::new(labels.iter().copied()), &Labels::new(annotations.iter().copied()));
            assert_eq!(found, expected);
        };
        check(&[], &[("value", " 3.5 ")], Some(3.5));
        check(&[("value", "2")], &[], Some(2.0));
        check(&[("value", "2")], &[("value", "3")], Some(3.0));
        check(&[], &[("value", "-1")], None);
        check(&[], &[("value", "high")], None);
    }
}
