//! What was promised against what quell shows.
//!
//! Deliberately absent: how either came about; everything here is a comparison of values.

use std::collections::{BTreeMap, BTreeSet};

use quell_domain::Fingerprint;
use serde_json::Value;

use super::oracle::Entry;

/// More findings than this help nobody.
const FINDINGS: usize = 50;

/// An alert episode as the API shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SeenAlert {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) starts_at: String,
    pub(crate) firing: bool,
    pub(crate) count: u64,
    pub(crate) incident: Option<String>,
}

impl SeenAlert {
    pub(crate) fn from_json(alert: &Value) -> Option<SeenAlert> {
        Some(SeenAlert {
            fingerprint: alert.get("fingerprint")?.as_str()?.parse().ok()?,
            starts_at: alert.get("starts_at")?.as_str()?.to_owned(),
            firing: alert.get("state")?.as_str()? == "firing",
            count: alert.get("count")?.as_u64()?,
            incident: alert.get("incident")?.as_str().map(str::to_owned),
        })
    }
}

/// An incident as the API shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SeenIncident {
    pub(crate) id: String,
    /// Where on the log it was opened, if shown.
    pub(crate) opened: Option<(u64, u64)>,
    /// Its alerts, by fingerprint and start; `None` where the list does not show them.
    pub(crate) alerts: Option<Vec<(Fingerprint, String)>>,
    /// It has more alerts than are shown.
    pub(crate) cut: bool,
    /// The incident that took its alerts.
    pub(crate) merged_into: Option<String>,
}

impl SeenIncident {
    pub(crate) fn from_json(incident: &Value) -> Option<SeenIncident> {
        let number = |name: &str| incident.get(name)?.as_u64();
        let member = |alert: &Value| {
            let fingerprint = alert.get("fingerprint")?.as_str()?.parse().ok()?;
            Some((fingerprint, alert.get("starts_at")?.as_str()?.to_owned()))
        };
        let alerts: Option<Vec<_>> =
            incident.get("alerts").and_then(Value::as_array).and_then(|alerts| alerts.iter().map(member).collect());
        let shown = alerts.as_ref().map_or(0, |alerts| alerts.len() as u64);
        Some(SeenIncident {
            id: incident.get("id")?.as_str()?.to_owned(),
            opened: number("opened_position").zip(number("opened_ordinal")),
            cut: number("alerts_total").is_some_and(|total| total > shown),
            alerts,
            merged_into: incident.get("merged_into").and_then(Value::as_str).map(str::to_owned),
        })
    }
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Findings {
    pub(crate) lost: u64,
    pub(crate) duplicate_incidents: u64,
    pub(crate) texts: Vec<String>,
}

impl Findings {
    fn say(&mut self, text: String) {
        if self.texts.len() < FINDINGS {
            self.texts.push(text);
        }
    }

    pub(crate) fn join(&mut self, other: Findings) {
        self.lost += other.lost;
        self.duplicate_incidents += other.duplicate_incidents;
        for text in other.texts {
            self.say(text);
        }
    }
}

/// Compares what is owed with what is there.
pub(crate) fn check(owed: &[Entry], alerts: &[SeenAlert], incidents: &[SeenIncident]) -> Findings {
    let mut findings = Findings::default();
    let mut episodes: BTreeMap<Fingerprint, Vec<&SeenAlert>> = BTreeMap::new();
    for alert in alerts {
        episodes.entry(alert.fingerprint).or_default().push(alert);
    }
    for entry in owed {
        let seen = episodes.remove(&entry.fingerprint).unwrap_or_default();
        check_entry(entry, &seen, &mut findings);
    }
    for fingerprint in episodes.keys() {
        findings.say(format!("alert {fingerprint} was never sent"));
    }
    check_incidents(alerts, incidents, &mut findings);
    findings
}

fn check_entry(entry: &Entry, seen: &[&SeenAlert], findings: &mut Findings) {
    let id = entry.id;
    let alert = match seen {
        [] => {
            if entry.fires > 0 {
                findings.lost += 1;
                findings.say(format!("alert {id} was acknowledged {} times and is lost", entry.fires));
            }
            return;
        }
        [..] if entry.gap => return,
        [alert] => *alert,
        several => {
            findings.say(format!("alert {id} has {} episodes; it fired once", several.len()));
            return;
        }
    };
    if alert.count < entry.fires {
        findings.lost += entry.fires - alert.count;
        findings.say(format!("alert {id}: {} of {} acknowledged repeats counted", alert.count, entry.fires));
    }
    if let Some(sent) = entry.sent.filter(|&sent| alert.count > sent) {
        findings.say(format!("alert {id}: counted {} times and sent {sent} times", alert.count));
    }
    if entry.resolved && alert.firing {
        findings.lost += 1;
        findings.say(format!("alert {id}: its acknowledged resolve had no effect"));
    }
    if !entry.resolve_sent && !alert.firing && !entry.expired() {
        findings.say(format!("alert {id} was resolved by mistake"));
    }
}

fn check_incidents(alerts: &[SeenAlert], incidents: &[SeenIncident], findings: &mut Findings) {
    let (mut ids, mut opened) = (BTreeSet::new(), BTreeSet::new());
    let mut homes: BTreeMap<(Fingerprint, &str), &str> = BTreeMap::new();
    for incident in incidents {
        let twice = !ids.insert(incident.id.as_str()) || incident.opened.is_some_and(|place| !opened.insert(place));
        if twice {
            findings.duplicate_incidents += 1;
            findings.say(format!("incident {} is there twice", incident.id));
        }
        let empty = !incident.cut && incident.alerts.as_ref().is_some_and(Vec::is_empty);
        if empty && incident.merged_into.is_none() {
            findings.duplicate_incidents += 1;
            findings.say(format!("incident {} has no alerts: they went to another", incident.id));
        }
        for (fingerprint, starts_at) in incident.alerts.iter().flatten() {
            if let Some(other) = homes.insert((*fingerprint, starts_at), &incident.id) {
                findings.duplicate_incidents += 1;
                findings.say(format!("alert {fingerprint} is in {other} and in {}", incident.id));
            }
        }
    }
    for incident in incidents {
        if let Some(into) = incident.merged_into.as_deref().filter(|into| !ids.contains(into)) {
            findings.say(format!("incident {} was merged into {into}, which is not there", incident.id));
        }
    }
    for alert in alerts {
        match &alert.incident {
            None => findings.say(format!("alert {} is in no incident", alert.fingerprint)),
            Some(id) if !ids.contains(id.as_str()) => {
                findings.say(format!("alert {} is in {id}, which is not there", alert.fingerprint));
            }
            Some(id) => {
                let home = homes.get(&(alert.fingerprint, alert.starts_at.as_str()));
                if let Some(other) = home.filter(|home| *home != id) {
                    findings.say(format!("alert {} says {id}, but {other} has it", alert.fingerprint));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn owed() -> Entry {
        Entry {
            id: 1,
            fingerprint: Fingerprint(1),
            sent: Some(3),
            fires: 2,
            resolve_sent: false,
            resolved: false,
            last_fire: Some(Instant::now()),
            gap: false,
        }
    }

    fn alert() -> SeenAlert {
        let (fingerprint, starts_at) = (Fingerprint(1), "2026-11-23T09:00:00Z".into());
        SeenAlert { fingerprint, starts_at, firing: true, count: 2, incident: Some("INC-1".into()) }
    }

    fn incident(id: &str) -> SeenIncident {
        let alert = alert();
        let alerts = Some(vec![(alert.fingerprint, alert.starts_at)]);
        SeenIncident { id: id.into(), opened: None, alerts, cut: false, merged_into: None }
    }

    /// Breaks one promise and expects exactly the finding that names it; `lost` and `duplicate_incidents` too.
    fn finds(owed: Entry, alerts: &[SeenAlert], incidents: &[SeenIncident], counted: (u64, u64), expected: &str) {
        let findings = check(&[owed], alerts, incidents);
        assert!(findings.texts.iter().any(|text| text.contains(expected)), "{expected:?} not in {:?}", findings.texts);
        assert_eq!((findings.lost, findings.duplicate_incidents), counted, "{:?}", findings.texts);
    }

    #[test]
    fn promises_kept_are_no_findings() {
        assert_eq!(check(&[owed()], &[alert()], &[incident("INC-1")]), Findings::default());
        let unanswered = Entry { fires: 0, last_fire: None, ..owed() };
        assert_eq!(check(&[unanswered], &[], &[]), Findings::default());
    }

    #[test]
    fn each_broken_promise_is_found() {
        let one = [incident("INC-1")];
        finds(owed(), &[], &[], (1, 0), "is lost");
        let again = SeenAlert { starts_at: "later".into(), ..alert() };
        finds(owed(), &[alert(), again], &one, (0, 0), "has 2 episodes");
        finds(owed(), &[SeenAlert { count: 1, ..alert() }], &one, (1, 0), "1 of 2 acknowledged repeats");
        finds(owed(), &[SeenAlert { count: 4, ..alert() }], &one, (0, 0), "counted 4 times and sent 3");
        let resolved = Entry { resolve_sent: true, resolved: true, ..owed() };
        finds(resolved, &[alert()], &one, (1, 0), "resolve had no effect");
        finds(owed(), &[SeenAlert { firing: false, ..alert() }], &one, (0, 0), "resolved by mistake");
        finds(Entry { fingerprint: Fingerprint(2), fires: 0, ..owed() }, &[alert()], &one, (0, 0), "never sent");
    }

    #[test]
    fn each_fault_of_incidents_is_found() {
        let one = [incident("INC-1")];
        finds(owed(), &[alert()], &[incident("INC-1"), incident("INC-2")], (0, 1), "is in INC-1 and in INC-2");
        let bare = SeenIncident { alerts: None, ..incident("INC-1") };
        finds(owed(), &[alert()], &[bare.clone(), bare], (0, 1), "is there twice");
        let placed = |id| SeenIncident { opened: Some((7, 0)), alerts: None, ..incident(id) };
        finds(owed(), &[alert()], &[placed("INC-1"), placed("INC-2")], (0, 1), "INC-2 is there twice");
        finds(owed(), &[SeenAlert { incident: None, ..alert() }], &one, (0, 0), "in no incident");
        let empty = SeenIncident { alerts: Some(vec![]), ..incident("INC-2") };
        finds(owed(), &[alert()], &[incident("INC-1"), empty.clone()], (0, 1), "INC-2 has no alerts");
        let merged = |into: &str| SeenIncident { merged_into: Some(into.into()), ..empty.clone() };
        assert_eq!(check(&[owed()], &[alert()], &[incident("INC-1"), merged("INC-1")]), Findings::default());
        finds(
            owed(),
            &[alert()],
            &[incident("INC-1"), merged("INC-9")],
            (0, 0),
            "merged into INC-9, which is not there",
        );
        finds(owed(), &[alert()], &[], (0, 0), "which is not there");
        let other = SeenAlert { incident: Some("INC-2".into()), ..alert() };
        let second = SeenIncident { alerts: None, ..incident("INC-2") };
        finds(owed(), &[other], &[incident("INC-1"), second], (0, 0), "but INC-1 has it");
    }
}
