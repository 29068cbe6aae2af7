//! What the API shows that only the API shows; the incident's own shape is in `quell-formats`.
//!
//! Absent on purpose: choosing what to show.

use quell_cmdb::{Blast, CiIx, Graph};
use quell_domain::{Alert, Incident, ServiceAtRisk};
use crate::interim::views;
use quell_store::IncidentDetail;
use serde_json::{Value, json};

use crate::receipts::{ItemFate, Receipt};

/// An incident with its alerts and timeline.
pub(crate) fn incident(detail: &IncidentDetail) -> Value {
    let mut shown = views::incident_json(&detail.incident, &detail.alerts, &detail.timeline);
    shown["alerts_total"] = detail.incident.alerts.into();
    shown
}

/// An incident without its alerts and timeline.
pub(crate) fn head(incident: &Incident) -> Value {
    let mut shown = views::incident_json(incident, &[], &[]);
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("alerts");
        fields.remove("timeline");
    }
    shown["alerts_total"] = incident.alerts.into();
    shown
}

/// One alert of the list of alerts.
pub(crate) fn alert(alert: &Alert) -> Value {
    views::alert_json(alert)
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
                "hops": dependent.hops,
                "via": graph.ci(dependent.via).id.as_str(),
            })
        })
        .collect();
    let services: Vec<Value> = blast.radius.services.iter().map(service).collect();
    json!({
        "ci": graph.ci(failing).id.as_str(),
        "cis": blast.radius.cis,
        "services": services,
        "dependents": dependents,
        "partial": blast.radius.partial,
    })
}

fn service(service: &ServiceAtRisk) -> Value {
    let ServiceAtRisk { ci, name, criticality, owner } = service;
    json!({"ci": ci.as_str(), "name": name, "criticality": criticality.as_str(), "owner": owner})
}
