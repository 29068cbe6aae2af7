//! Alerts that belong to no incident: suppressed by a rule, or held back until there are enough of them.
//!
//! They are alerts like all others, with rows and reasons, and are counted as suppressed. Absent on purpose: receipts of
//! an alert that fires already as occurrences: how often a sender repeats itself is its own setting and says nothing.

use quell_domain::{AlertId, AlertState, Moment, Reason};

use crate::alerts::{Entry, Slot};
use crate::engine::Engine;
use crate::lifecycle::Given;
use crate::ruled::group_key;

/// Whether an alert may open or join an incident.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Gate {
    /// It may not, for this reason.
    Shut(Reason),
    /// It may, and those that were held back before it with it.
    Open(Vec<AlertId>),
}

impl Engine {
    /// What the rules make of a new alert before anybody asks where it belongs.
    pub(crate) fn gate(&self, slot: Slot) -> Gate {
        let (entry, rules) = (self.alerts.get(slot), &self.settings.rules);
        if let Some(rule) = entry.matched.suppress.map(|ix| rules.rule(ix)) {
            let why = rule.suppress.clone().unwrap_or_default();
            let reason = Reason::new("suppressed", "suppressed by rule {rule}: {why}").text("rule", &rule.name);
            return Gate::Shut(reason.text("why", why));
        }
        let Some((ix, rule)) = entry.matched.threshold.map(|ix| (ix, rules.rule(ix))) else {
            return Gate::Open(Vec::new());
        };
        let Some(threshold) = &rule.threshold else { return Gate::Open(Vec::new()) };
        let key = group_key(entry, ix, &threshold.by);
        let passed =
            self.marks.passed.of(key).next_back().and_then(|id| self.alerts.get(self.alerts.find(id)?).incident);
        if passed.is_some_and(|number| self.takes_alerts(number)) {
            return Gate::Open(self.marks.held.of(key).collect());
        }
        let now = self.now();
        let recent = |entry: &Entry| now.since(entry.first_seen) < threshold.within;
        let wanted = threshold.count as usize;
        // They came in order, so that whatever is older than one that is too old is too old as well.
        let others =
            self.marks.held.of(key).rev().filter_map(|id| self.alerts.find(id)).map(|slot| self.alerts.get(slot));
        let count = usize::from(recent(entry)) + others.take_while(|entry| recent(entry)).take(wanted).count();
        if count >= wanted {
            return Gate::Open(self.marks.held.of(key).collect());
        }
        let template = "held back by rule {rule}: {count} of {wanted} within {within_seconds} s";
        let reason = Reason::new("held", template).text("rule", &rule.name).count("count", count as u64);
        let within = threshold.within.as_secs_f64();
        Gate::Shut(reason.count("wanted", wanted as u64).number("within_seconds", within))
    }

    /// The reason of the alert that was one too many, where others were held back before it.
    pub(crate) fn threshold_reached(&self, slot: Slot) -> Option<Reason> {
        let rule = self.settings.rules.rule(self.alerts.get(slot).matched.threshold?);
        let threshold = rule.threshold.as_ref()?;
        let reason =
            Reason::new("threshold", "rule {rule}: {wanted} within {within_seconds} s").text("rule", &rule.name);
        let within = threshold.within.as_secs_f64();
        Some(reason.count("wanted", u64::from(threshold.count)).number("within_seconds", within))
    }

    /// Finds the incident of an alert and of those that were held back before it, the oldest first, so that they stand
    /// in it as they came; true when it had to be opened. See [`Engine::seat`].
    pub(crate) fn seat_all(
        &mut self,
        moment: Moment,
        ordinal: u32,
        slot: Slot,
        held: Vec<AlertId>,
        given: &mut Given,
    ) -> bool {
        let mut group: Vec<Slot> = held.into_iter().filter_map(|id| self.alerts.find(id)).chain([slot]).collect();
        group.sort_by_key(|&slot| self.alerts.get(slot).id);
        let reason = self.threshold_reached(slot);
        let (mut opened, mut incident) = (false, None);
        for member in group {
            if member != slot {
                self.unmark(member);
            }
            let mut own = Given::default();
            match (incident, &reason) {
                (Some(number), Some(reason)) => {
                    self.join(number, member, reason);
                    own.membership = Some(reason.clone());
                    self.mark(member);
                }
                _ => {
                    opened = self.seat(moment, ordinal, member, &mut own);
                    incident = self.alerts.get(member).incident;
                }
            }
            if member == slot {
                given.absorb(own);
            } else {
                self.touch_alert(member, own);
            }
        }
        opened
    }

    /// Other rules are in force: alerts that fire and were in no incident have another chance.
    pub(crate) fn reseat(&mut self, moment: Moment) {
        let unplaced = |slot: &Slot| {
            let entry = self.alerts.get(*slot);
            entry.incident.is_none() && entry.state != AlertState::Stale
        };
        let mut slots: Vec<Slot> = self.alerts.slots().filter(unplaced).collect();
        slots.sort_by_key(|&slot| self.alerts.get(slot).id);
        // The activation's record has no items, so that its ordinals are free.
        let mut ordinal = 0;
        for slot in slots {
            let entry = self.alerts.get(slot);
            match (entry.incident, entry.state) {
                (None, AlertState::Firing) => {}
                (None, _) => {
                    self.let_go_later(slot);
                    continue;
                }
                // Released together with one before it.
                (Some(_), _) => continue,
            }
            self.unmark(slot);
            let mut given = Given::default();
            match self.gate(slot) {
                Gate::Shut(reason) => {
                    given.membership = Some(reason);
                    self.mark(slot);
                }
                Gate::Open(held) => {
                    ordinal += u32::from(self.seat_all(moment, ordinal, slot, held, &mut given));
                }
            }
            self.touch_alert(slot, given);
        }
    }
}
