//! Binding: which CI an alert is about, how sure that is, and why.
//!
//! Absent on purpose: names of labels; pipelines say which to look at, in which order.

use quell_cmdb::{CiIx, Found, Graph};
use quell_domain::{Binding, LabelsRef, Reason};

use crate::settings::{BindStep, Pipeline};

/// What became of the attempt to bind.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Bound {
    /// To this CI.
    To(CiIx, Binding),
    /// To none, for this reason.
    Not(Reason),
}

/// Tries the pipeline's steps in order; the first that finds exactly one CI wins. A word that fits several CIs binds to
/// none of them, and later steps still have their turn.
pub(crate) fn bind(graph: &Graph, pipeline: &Pipeline, labels: LabelsRef<'_>) -> Bound {
    if graph.is_empty() {
        return Bound::Not(Reason::new("no_topology", "no topology is in force"));
    }
    let mut ambiguous = None;
    for step in &pipeline.bind {
        match step {
            BindStep::Label { labels: names, by, confidence } => {
                for name in names {
                    let Some(value) = labels.get(name) else { continue };
                    for &by in by {
                        match graph.names().find(by, value) {
                            Found::One(ix) => {
                                let reason = Reason::new("label", "label {label}={value} is its {by}")
                                    .text("label", name)
                                    .text("value", value)
                                    .text("by", by.as_str());
                                return to(graph, ix, *confidence, reason);
                            }
                            Found::Many(count) => ambiguous = ambiguous.or(Some((name, value, by.as_str(), count))),
                            Found::None => {}
                        }
                    }
                }
            }
            BindStep::CiLabels { confidence } => {
                if let Found::One(ix) = graph.names().find_by_labels(graph.topology().cis(), labels) {
                    let own = graph.ci(ix).labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
                    let reason = Reason::new("ci_labels", "carries all of its labels: {labels}").list("labels", own);
                    return to(graph, ix, *confidence, reason);
                }
            }
        }
    }
    Bound::Not(match ambiguous {
        Some((label, value, by, count)) => {
            Reason::new("ambiguous", "label {label}={value} is the {by} of {cis} CIs, and nothing else decides")
                .text("label", label)
                .text("value", value)
                .text("by", by)
                .count("cis", u64::from(count))
        }
        None => Reason::new("no_match", "no CI is known by any of its labels"),
    })
}

fn to(graph: &Graph, ix: CiIx, confidence: f64, reason: Reason) -> Bound {
    Bound::To(ix, Binding { ci: graph.ci(ix).id.clone(), confidence, reason })
}
