//! The pipelines: for each source, how severity is read and how alerts and changes are bound to CIs.
//!
//! Absent on purpose: reading bodies (`alertmanager`, `pagerduty`) and the binding itself (the engine).

use quell_domain::{Severity, Source};
use quell_engine::settings::{BindBy, BindStep, Pipeline, SeverityMap};
use serde_json::{Map, Value, json};

use crate::rules::severity_names;
use crate::tree::{Node, Object};

/// The fields of a pipeline, read from an object that may have more.
pub(crate) fn pipeline(fields: &mut Object<'_>) -> Option<Pipeline> {
    let names = Source::ALL.map(Source::as_str);
    let source = fields.need("source", &format!("one of {}", names.join(", ")));
    let source = source.and_then(|node| node.choice(Source::from_name, &names));
    // A change has no severity.
    let severity = if source.is_some_and(Source::tells_changes) && !fields.has("severity") {
        Some(SeverityMap::default())
    } else {
        fields.need("severity", "`labels` and `words`").and_then(|node| severity_map(&node))
    };
    let bind = fields.need("bind", "a list of steps").map(|node| node.list());
    let bind: Option<Vec<BindStep>> = bind.map(|steps| steps.iter().filter_map(bind_step).collect());
    Some(Pipeline { source: source?, severity: severity?, bind: bind? })
}

fn severity_map(node: &Node<'_>) -> Option<SeverityMap> {
    let mut fields = node.object();
    let labels = fields.need("labels", "a list of label names").map(|node| node.texts());
    let entries = fields.need("words", "the source's words, each with a severity").map(|node| node.entries());
    fields.end();
    let mut words = Vec::new();
    for (word, node) in entries? {
        if word.to_lowercase() != word {
            node.wrong("words in lower case; they are compared without regard to case");
        }
        words.extend(node.choice(Severity::from_name, &severity_names()).map(|severity| (word.to_owned(), severity)));
    }
    Some(SeverityMap { labels: labels?, words })
}

fn bind_step(node: &Node<'_>) -> Option<BindStep> {
    let mut fields = node.object();
    let by_ci_labels = fields.get("ci_labels");
    let labels = fields.get("labels").map(|node| node.texts());
    let names = BindBy::ALL.map(BindBy::as_str);
    let read = |name: &str| BindBy::ALL.into_iter().find(|by| by.as_str() == name);
    let by = fields.get("by").map(|node| node.list());
    let by: Option<Vec<BindBy>> = by.map(|list| list.iter().filter_map(|node| node.choice(read, &names)).collect());
    let confidence = fields.need("confidence", "a number from 0 to 1").and_then(|node| node.share());
    fields.end();
    match (by_ci_labels, labels, by) {
        (None, Some(labels), Some(by)) if !labels.is_empty() && !by.is_empty() => {
            Some(BindStep::Label { labels, by, confidence: confidence? })
        }
        (Some(flag), None, None) if flag.flag()? => Some(BindStep::CiLabels { confidence: confidence? }),
        _ => {
            node.wrong("either `labels` and `by`, neither of them empty, or `ci_labels: true`");
            None
        }
    }
}

pub(crate) fn pipeline_json(pipeline: &Pipeline) -> Value {
    let Pipeline { source, severity, bind } = pipeline;
    let SeverityMap { labels, words } = severity;
    let words: Map<String, Value> =
        words.iter().map(|(word, severity)| (word.clone(), severity.as_str().into())).collect();
    let bind: Vec<Value> = bind.iter().map(bind_step_json).collect();
    json!({ "source": source.as_str(), "severity": { "labels": labels, "words": words }, "bind": bind })
}

fn bind_step_json(step: &BindStep) -> Value {
    match step {
        BindStep::Label { labels, by, confidence } => {
            let by: Vec<&str> = by.iter().map(|by| by.as_str()).collect();
            json!({ "labels": labels, "by": by, "confidence": confidence })
        }
        BindStep::CiLabels { confidence } => json!({ "ci_labels": true, "confidence": confidence }),
    }
}
