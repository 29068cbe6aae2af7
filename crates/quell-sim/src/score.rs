//! How well incidents match the true faults: the demo's last table.
//!
//! Deliberately absent: measures over many storms (adjusted Rand index and the like); they come with the large
//! generator.

use std::collections::BTreeSet;

use quell_domain::{CiId, Fingerprint};
use serde_json::Value;

use crate::storm::Fault;

/// What is looked at of an incident.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundIncident {
    /// Its id.
    pub id: String,
    /// Its alerts.
    pub alerts: BTreeSet<Fingerprint>,
    /// Its causes, best first.
    pub causes: Vec<CiId>,
}

impl FoundIncident {
    /// Reads an incident as `GET /api/v1/incidents/{id}` shows it. `None` when it has another shape.
    #[must_use]
    pub fn from_json(incident: &Value) -> Option<FoundIncident> {
        let fingerprint = |alert: &Value| alert.get("fingerprint")?.as_str()?.parse().ok();
        let ci = |cause: &Value| Some(CiId::new(cause.get("ci")?.as_str()?));
        Some(FoundIncident {
            id: incident.get("id")?.as_str()?.to_owned(),
            alerts: incident.get("alerts")?.as_array()?.iter().map(fingerprint).collect::<Option<_>>()?,
            causes: incident.get("causes")?.as_array()?.iter().map(ci).collect::<Option<_>>()?,
        })
    }
}

/// How one fault was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FaultScore {
    /// The fault's name.
    pub fault: String,
    /// The CI truly at fault.
    pub root: CiId,
    /// Alerts it raised.
    pub alerts: usize,
    /// The incident that holds most of them; of equals the one named first. `None` when none holds any.
    pub incident: Option<String>,
    /// How many of them it holds.
    pub held: usize,
    /// How many alerts of other origin it holds.
    pub foreign: usize,
    /// The cause it puts first.
    pub first_cause: Option<CiId>,
    /// The root's place among its causes, from 1; `None` when it is not among them.
    pub root_rank: Option<usize>,
}

impl FaultScore {
    /// The root is the first cause.
    #[must_use]
    pub fn root_first(&self) -> bool {
        self.root_rank == Some(1)
    }

    /// The root is among the first three causes.
    #[must_use]
    pub fn root_in_top_three(&self) -> bool {
        self.root_rank.is_some_and(|rank| rank <= 3)
    }
}

/// One score for each fault, in their order.
#[must_use]
pub fn score(faults: &[Fault], incidents: &[FoundIncident]) -> Vec<FaultScore> {
    faults.iter().map(|fault| score_one(fault, incidents)).collect()
}

fn score_one(fault: &Fault, incidents: &[FoundIncident]) -> FaultScore {
    let held_by = |incident: &FoundIncident| incident.alerts.iter().filter(|a| fault.alerts.contains_key(a)).count();
    // `max_by_key` keeps the last of equals, so the list is walked from its end.
    let best = incidents.iter().rev().map(|incident| (held_by(incident), incident)).max_by_key(|(held, _)| *held);
    let (held, incident) = best.filter(|(held, _)| *held > 0).map_or((0, None), |(held, found)| (held, Some(found)));
    FaultScore {
        fault: fault.name.clone(),
        root: fault.root.clone(),
        alerts: fault.alerts.len(),
        incident: incident.map(|found| found.id.clone()),
        held,
        foreign: incident.map_or(0, |found| found.alerts.len() - held),
        first_cause: incident.and_then(|found| found.causes.first().cloned()),
        root_rank: incident.and_then(|found| found.causes.iter().position(|ci| *ci == fault.root)).map(|at| at + 1),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(root: &str, alerts: &[u128]) -> Fault {
        let alerts = alerts.iter().map(|&a| (Fingerprint(a), CiId::new(root))).collect();
        Fault { name: format!("{root} fails"), root: CiId::new(root), alerts }
    }

    fn incident(id: &str, alerts: &[u128], causes: &[&str]) -> FoundIncident {
        let alerts = alerts.iter().copied().map(Fingerprint).collect();
        FoundIncident { id: id.into(), alerts, causes: causes.iter().map(|ci| CiId::new(ci)).collect() }
    }

    fn check(incidents: &[FoundIncident], expected: (Option<&str>, usize, usize, Option<usize>)) {
        let score = score_one(&fault("sw", &[1, 2, 3]), incidents);
        assert_eq!((score.incident.as_deref(), score.held, score.foreign, score.root_rank), expected);
    }

    #[test]
    fn the_incident_with_most_of_its_alerts_speaks_for_a_fault() {
        check(&[], (None, 0, 0, None));
        check(&[incident("I-1", &[9], &["sw"])], (None, 0, 0, None));
        let (small, large) = (incident("I-1", &[1], &["sw"]), incident("I-2", &[2, 3, 9], &["db", "sw"]));
        check(&[small.clone(), large], (Some("I-2"), 2, 1, Some(2)));
        check(&[small, incident("I-2", &[2], &[])], (Some("I-1"), 1, 0, Some(1)));
    }

    #[test]
    fn first_is_in_the_top_three_and_fourth_is_not() {
        let ranked = |causes: &[&str]| score_one(&fault("sw", &[1]), &[incident("I", &[1], causes)]);
        assert!(ranked(&["sw"]).root_first() && ranked(&["sw"]).root_in_top_three());
        assert!(!ranked(&["a", "b", "sw"]).root_first() && ranked(&["a", "b", "sw"]).root_in_top_three());
        assert!(!ranked(&["a", "b", "c", "sw"]).root_in_top_three());
    }

    #[test]
    fn reads_an_incident_as_the_api_shows_it() {
        let shown = json!({
            "id": "INC-7", "title": "…",
            "alerts": [{ "fingerprint": "0000000000000000000000000000002a", "ci": null }],
            "causes": [{ "ci": "sw", "score": 0.8, "evidence": [] }],
        });
        assert_eq!(FoundIncident::from_json(&shown), Some(incident("INC-7", &[42], &["sw"])));
        assert_eq!(FoundIncident::from_json(&json!({ "id": "INC-7" })), None);
    }
}
