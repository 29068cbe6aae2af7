//! What the API shows that only the API shows; the incident's own shape is in `quell-formats`.
//!
//! Absent on purpose: choosing what to show.

use quell_cmdb::{Blast, CiIx, Graph};
use quell_domain::Incident;
use quell_formats::views::{self, BlastJson, IncidentJson};
use quell_store::IncidentDetail;
use serde_json::{Value, json};

use crate::receipts::{ItemFate, Receipt};

/// An incident without its alerts and timeline.
pub(crate) fn head(incident: &Incident) -> Value {
    let mut shown = json!(views::incident_json(incident, &[], &[]));
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("alerts");
        fields.remove("timeline");
    }
    shown
}

/// An incident with its timeline and the alerts that were asked for.
pub(crate) fn incident(detail: &IncidentDetail) -> IncidentJson {
    views::incident_json(&detail.incident, &detail.alerts, &detail.timeline)
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
