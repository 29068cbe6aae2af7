//! What the API shows that only the API shows; the incident's own shape is in `quell-formats`.
//!
//! Absent on purpose: choosing what to show.

use quell_cmdb::{Blast, CiIx, Graph};
use quell_domain::{CiId, Feedback, Incident, IncidentId, Party, Said};
use quell_formats::views::{self, BlastJson, IncidentJson};
use quell_store::IncidentDetail;
use serde_json::{Value, json};

use crate::receipts::{ItemFate, Receipt};
use crate::shards;

/// An incident without its alerts and timeline.
#[must_use]
pub fn head(incident: &Incident) -> Value {
    let mut shown = json!(views::incident_json(incident, &[], &[]));
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("alerts");
        fields.remove("timeline");
        fields.remove("merged");
        fields.remove("split");
    }
    shown
}

/// An incident with its timeline and the alerts that were asked for.
pub(crate) fn incident(detail: &IncidentDetail) -> IncidentJson {
    let IncidentDetail { incident, alerts, timeline, merged, split } = detail;
    let names = |ids: &[IncidentId]| ids.iter().map(ToString::to_string).collect();
    let (merged, split) = (names(merged), names(split));
    IncidentJson { merged, split, ..views::incident_json(incident, alerts, timeline) }
}

/// What an operator said of quell's decisions.
pub(crate) fn feedback(feedback: &Feedback) -> Value {
    let Feedback { command, incident, actor, at, said, standing } = feedback;
    let parties = |parties: &[Party]| -> Vec<Value> {
        let one = |Party { ci, alert }: &Party| json!({"ci": ci.as_ref().map(CiId::as_str), "alert": alert});
        parties.iter().map(one).collect()
    };
    let (kind, ours, theirs, wrong, right) = match said {
        Said::Together { ours, theirs } => ("together", ours, Some(theirs), None, None),
        Said::Apart { ours, theirs } => ("apart", ours, Some(theirs), None, None),
        Said::Cause { wrong, right, alerts } => ("cause", alerts, None, Some(wrong), right.as_ref()),
    };
    json!({
        "command": shards::command_name(incident.shard, *command),
        "incident": incident.to_string(),
        "by": actor,
        "at": at.to_string(),
        "kind": kind,
        "alerts": parties(ours),
        "others": theirs.map_or_else(Vec::new, |theirs| parties(theirs)),
        "wrong": wrong.map(CiId::as_str),
        "right": right.map(CiId::as_str),
        "standing": standing.as_str(),
    })
}

/// What became of a request.
pub(crate) fn receipt(explained: &Receipt) -> Value {
    let Receipt { receipt, received_at, decided, items } = explained;
    let items: Vec<Value> = items
        .iter()
        .map(|ItemFate { item, fate, fingerprint, alert, incident, reason }| {
            json!({
                "item": item,
                "fate": fate.as_str(),
                "alert": alert.map(|id| id.0),
                "fingerprint": fingerprint.map(|f| f.to_string()),
                "incident": incident.map(|id| id.to_string()),
                "reason": reason,
            })
        })
        .collect();
    json!({
        "receipt": receipt.to_string(),
        "received_at": received_at.to_string(),
        "state": if *decided { "decided" } else { "waiting" },
        "items": items,
    })
}

/// What may degrade when a CI fails.
pub(crate) fn impact(graph: &Graph, failing: CiIx, blast: &Blast, limit: usize) -> Value {
    let dependents: Vec<Value> = blast
        .dependents
        .iter()
        .take(limit)
        .map(|dependent| {
            let ci = graph.ci(dependent.ci);
            json!({
                "ci": ci.id.as_str(),
                "name": ci.name,
                "kind": ci.kind,
                "layer": ci.layer().as_str(),
                "hops": dependent.hops,
                "via": graph.ci(dependent.via).id.as_str(),
            })
        })
        .collect();
    let BlastJson { cis, services, partial, stale_relationships, oldest_seen } = views::blast_json(&blast.radius);
    json!({
        "ci": graph.ci(failing).id.as_str(),
        "layer": graph.ci(failing).layer().as_str(),
        "cis": cis,
        "services": services,
        "dependents": dependents,
        "partial": partial,
        "stale_relationships": stale_relationships,
        "oldest_seen": oldest_seen,
    })
}
