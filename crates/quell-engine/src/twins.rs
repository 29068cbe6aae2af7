//! Twins: one fault seen by two monitors, on one CI and with one class of symptom.
//!
//! Nothing of a twin is lost: it is an alert with a row, a count and an end of its own. But it belongs to the incident of
//! the alert that it repeats in other words, and does not count there a second time. Absent on purpose: alerts of one
//! name and tool (two full disks of a host are two faults), and alerts without a CI or a class.

use std::hash::{DefaultHasher, Hash, Hasher};

use quell_domain::{AlertState, Reason};

use crate::alerts::{Entry, Slot};
use crate::correlate::Candidate;
use crate::engine::Engine;
use crate::lifecycle::Given;

/// Alerts of one CI and class that are compared with a new one; there are few of different names.
const LOOKED: usize = 32;

/// A CI with a class of symptom.
pub(crate) fn sight_key(entry: &Entry) -> Option<u64> {
    let mut hash = DefaultHasher::default();
    (entry.ci?, entry.symptom?).hash(&mut hash);
    Some(hash.finish())
}

impl Engine {
    /// The alert that one repeats in other words: an earlier one of another tool, or of another name, on the same CI and
    /// of the same class, that had not ended when this one came.
    fn twin(&self, entry: &Entry, fits: impl Fn(u64) -> bool) -> Option<&Entry> {
        if entry.matched.apart {
            return None;
        }
        let seen = self.marks.seen.of(sight_key(entry)?).take_while(|id| *id < entry.id).take(LOOKED);
        seen.filter_map(|id| self.alerts.find(id)).map(|slot| self.alerts.get(slot)).find(|other| {
            let fired = other.state == AlertState::Firing || other.ends_at.is_some_and(|end| end > entry.first_seen);
            let differs = other.source != entry.source || other.name() != entry.name();
            fired && differs && other.twin_of.is_none() && !other.matched.apart && other.incident.is_some_and(&fits)
        })
    }

    /// Where a new alert belongs as a twin, with the alert that it repeats.
    pub(crate) fn as_twin(&self, slot: Slot) -> Option<(quell_domain::AlertId, Candidate)> {
        let entry = self.alerts.get(slot);
        let other = self.twin(entry, |number| self.takes_alerts(number))?;
        let symptom = self.symptom(slot).map(|symptom| self.settings.rules.symptoms().name(symptom).to_owned());
        let ci = entry.ci.map(|ci| self.graph.ci(ci).id.to_string()).unwrap_or_default();
        let reason = Reason::new("same_symptom", "says what {alert} of {source} said: {symptom} on {ci}")
            .text("alert", other.name())
            .text("source", other.source.as_str())
            .text("symptom", symptom.unwrap_or_default())
            .text("ci", ci);
        Some((other.id, Candidate { incident: other.incident?, score: 1.0, reason }))
    }

    /// Rules or topology changed: twins are looked for again among the alerts of each incident.
    pub(crate) fn find_twins_again(&mut self) {
        let mut slots: Vec<Slot> =
            self.alerts.slots().filter(|&slot| self.alerts.get(slot).incident.is_some()).collect();
        slots.sort_by_key(|&slot| self.alerts.get(slot).id);
        for slot in slots {
            let entry = self.alerts.get(slot);
            let Some(own) = entry.incident else { continue };
            let twin_of = self.twin(entry, |number| number == own).map(|other| other.id);
            self.set_twin(slot, twin_of);
        }
    }

    /// Alerts were moved: a twin whose other half is in another incident counts for itself.
    pub(crate) fn part_twins(&mut self, number: u64) {
        let Some(live) = self.incidents.get(&number) else { return };
        let apart = |slot: &Slot| {
            let other = self.alerts.get(*slot).twin_of.map(|id| self.alerts.find(id));
            other.is_some_and(|slot| slot.is_none_or(|slot| self.alerts.get(slot).incident != Some(number)))
        };
        let parted: Vec<Slot> = live.members.values().copied().filter(apart).collect();
        for slot in parted {
            self.set_twin(slot, None);
        }
    }

    fn set_twin(&mut self, slot: Slot, twin_of: Option<quell_domain::AlertId>) {
        let entry = self.alerts.get_mut(slot);
        let before = std::mem::replace(&mut entry.twin_of, twin_of);
        let (incident, known) = (entry.incident, entry.counts());
        if before == twin_of {
            return;
        }
        self.touch_alert(slot, Given::default());
        if let Some(live) = incident.and_then(|number| self.incidents.get_mut(&number)) {
            live.row.alerts = live.row.alerts + known - u64::from(before.is_none());
            let number = live.row.id.number;
            self.touch_incident(number);
        }
    }
}
