//! Moving alerts between incidents: merging, splitting, and taking either back.
//!
//! Every move is a revision: the alert's row says why it is where it is now, and both timelines say what happened
//! (INV-2). Absent on purpose: who may ask (`operator`), and when quell does it by itself (`revise`, `bridge`, `wave`).

use std::collections::{BTreeMap, BTreeSet};

use quell_domain::{
    Act, ActKind, AlertId, AlertState, IncidentId, Position, Reason, SPLIT_ORDINAL, Timestamp, Transition,
};

use crate::alerts::{Entry, Slot};
use crate::engine::Engine;
use crate::lifecycle::{Given, QUELL};

/// Acts of one incident that can be taken back; beyond it the oldest stands for good.
const ACTS: usize = 32;

/// Who does it, when, and by which command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct By<'a> {
    pub(crate) actor: &'a str,
    pub(crate) at: Timestamp,
    pub(crate) command: Option<Position>,
}

impl By<'static> {
    /// quell itself.
    pub(crate) fn quell(at: Timestamp) -> Self {
        By { actor: QUELL, at, command: None }
    }
}

impl Engine {
    /// Moves alerts to another incident, which has to be in hand and not merged: members, counts, claims, look-ups and
    /// times of both follow. What becomes of the incidents (state, judgement, timeline) is left to the caller; see
    /// [`Engine::settle`].
    pub(crate) fn move_alerts(&mut self, slots: &[Slot], to: u64, reason: &Reason) {
        let mut leaving: BTreeMap<u64, Vec<Slot>> = BTreeMap::new();
        for &slot in slots {
            if let Some(from) = self.alerts.get(slot).incident.filter(|&from| from != to) {
                leaving.entry(from).or_default().push(slot);
            }
        }
        for (from, slots) in leaving {
            self.take_out(from, &slots);
            for slot in slots {
                self.put_in(to, slot);
                self.touch_alert(slot, Given { membership: Some(reason.clone()), ..Given::default() });
            }
            self.part_twins(from);
            self.touch_incident(from);
        }
        self.part_twins(to);
        self.touch_incident(to);
    }

    fn take_out(&mut self, from: u64, slots: &[Slot]) {
        self.release_claims(from);
        for &slot in slots {
            self.leave_unbound(from, slot);
            let entry = self.alerts.get(slot);
            let (id, firing, counts) = (entry.id, entry.state == AlertState::Firing, entry.counts());
            let live = self.live(from);
            live.members.remove(&id);
            live.row.alerts = live.row.alerts.saturating_sub(counts);
            live.row.firing = live.row.firing.saturating_sub(u64::from(firing));
        }
        // What stays claims anew: a claim does not say how many alerts it rests on.
        self.claim_anew(from);
        let rest = self.members(from);
        let now = self.now();
        let entries = || rest.iter().map(|&slot| self.alerts.get(slot));
        let times = entries().map(|entry| entry.starts_at.min(now)).min().zip(entries().map(|e| e.first_seen).max());
        let here: u64 = entries().map(Entry::counts).sum();
        if let Some((started_at, last_fired_at)) = times {
            let row = &mut self.live(from).row;
            // Of those that are history already nobody knows here when they began.
            let history = here < row.alerts;
            row.started_at = if history { row.started_at } else { started_at };
            row.last_fired_at = last_fired_at;
        }
    }

    fn put_in(&mut self, to: u64, slot: Slot) {
        self.alerts.get_mut(slot).incident = Some(to);
        self.link(to, slot);
        let now = self.now();
        let entry = self.alerts.get(slot);
        let (started_at, fired_at) = (entry.starts_at.min(now), entry.first_seen);
        let (firing, counts) = (entry.state == AlertState::Firing, entry.counts());
        let row = &mut self.live(to).row;
        row.alerts += counts;
        row.firing += u64::from(firing);
        row.started_at = row.started_at.min(started_at);
        row.last_fired_at = row.last_fired_at.max(fired_at);
    }

    /// After alerts came or went: an incident without one that fires is resolved, one that got some from an open incident
    /// is open, and it is judged anew.
    pub(crate) fn settle(&mut self, by: By<'_>, number: u64, opens: bool, change: Reason) {
        let row = &self.live(number).row;
        let (firing, open) = (row.firing, row.state == quell_domain::IncidentState::Open);
        if !self.live(number).members.is_empty() {
            self.judge(number);
        }
        self.note(number, by.at, by.actor, change.clone());
        match (firing > 0, open) {
            (false, true) => {
                self.resolve(number, None, Reason::new("none_left", "none of the alerts it has left fires"))
            }
            (true, false) if opens => self.reopen_if_resolved(number, "alerts that fire were moved here"),
            (_, true) => self.notify(number, by.at, Transition::Updated, change),
            (_, false) => {}
        }
        self.schedule_let_go(number);
        self.touch_incident(number);
    }

    /// True when alerts can be moved to or from it.
    pub(crate) fn movable(&self, number: u64) -> bool {
        self.incidents.get(&number).is_some_and(|live| live.row.merged_into.is_none())
    }

    /// Merges `from` into `into`; false, with nothing changed, when they are the same or one is not there to be merged.
    /// `reason` becomes the membership of every alert that moves.
    pub(crate) fn merge(&mut self, by: By<'_>, into: u64, from: u64, reason: &Reason) -> bool {
        if into == from || !self.movable(into) || !self.movable(from) {
            return false;
        }
        let from_id = self.fold_into(by, into, from, reason);
        self.remember_act(into, Act { command: by.command, kind: ActKind::Merged(from_id) });
        true
    }

    /// The merge itself, without a way to take it back from `into`.
    fn fold_into(&mut self, by: By<'_>, into: u64, from: u64, reason: &Reason) -> IncidentId {
        let (into_id, from_id) = (self.live(into).row.id, self.live(from).row.id);
        let was_open = self.live(from).is_open();
        let closed = Reason::new("merged_into", "merged into {incident}: {why}")
            .text("incident", into_id.to_string())
            .text("why", reason.to_string());
        self.note(from, by.at, by.actor, closed.clone());
        self.notify(from, by.at, Transition::Merged, closed);
        let slots = self.members(from);
        let moved: Vec<AlertId> = self.live(from).members.keys().copied().collect();
        let count = moved.len() as u64;
        self.move_alerts(&slots, into, reason);
        let row = &mut self.live(from).row;
        row.merged_into = Some(into_id);
        row.moved = moved;
        row.review_at = None;
        let taken = row.acknowledged_at.zip(row.acknowledged_by.clone());
        if was_open {
            row.state = quell_domain::IncidentState::Resolved;
            row.resolved_at = Some(by.at.max(row.opened_at));
            self.open -= 1;
        }
        let live = self.live(into);
        live.merged.insert(from);
        if let Some((at, actor)) = taken.filter(|(at, _)| live.row.acknowledged_at.is_none_or(|known| *at < known)) {
            live.row.acknowledged_at = Some(at);
            live.row.acknowledged_by = Some(actor);
        }
        let change = Reason::new("merged", "{incident} was merged into it (alerts: {alerts}): {why}")
            .text("incident", from_id.to_string())
            .count("alerts", count)
            .text("why", reason.to_string());
        self.settle(by, into, was_open, change);
        from_id
    }

    /// Takes a merge back: the alerts that came from `from` and are still there go back, and it is what it was; false
    /// when it is not merged.
    pub(crate) fn unmerge(&mut self, by: By<'_>, from: u64) -> bool {
        let merged_into = self.incidents.get(&from).and_then(|live| live.row.merged_into);
        let Some(into) = merged_into.map(|id| id.number).filter(|into| self.incidents.contains_key(into)) else {
            return false;
        };
        let (into_id, from_id) = (self.live(into).row.id, self.live(from).row.id);
        for number in [from, into] {
            self.live(number).row.held_apart |= by.command.is_some();
        }
        let row = &mut self.live(from).row;
        row.merged_into = None;
        let moved = std::mem::take(&mut row.moved);
        let opens = row.resolved_by.is_none();
        let live = self.live(into);
        live.merged.remove(&from);
        live.row.acts.retain(|act| act.kind != ActKind::Merged(from_id));
        let there = |slot: &Slot| self.alerts.get(*slot).incident == Some(into);
        let slots: Vec<Slot> = moved.iter().filter_map(|&id| self.alerts.find(id)).filter(there).collect();
        let back = Reason::new("unmerged", "went back with {incident}: {actor} took the merge into {other} back")
            .text("incident", from_id.to_string())
            .text("other", into_id.to_string())
            .text("actor", by.actor);
        self.move_alerts(&slots, from, &back);
        let undone = |other: IncidentId, template| {
            Reason::new("unmerged", template)
                .text("actor", by.actor)
                .text("other", other.to_string())
                .count("alerts", slots.len() as u64)
        };
        let change = undone(into_id, "{actor} took the merge into {other} back (alerts here again: {alerts})");
        self.settle(by, from, opens, change);
        let change = undone(from_id, "{actor} took the merge of {other} back (alerts that went there: {alerts})");
        self.settle(by, into, false, change);
        true
    }

    /// Splits alerts off to a new incident, whose number is returned; `None`, with nothing changed, when none of them or
    /// all there are belong to it. `reason` becomes their membership.
    pub(crate) fn split(&mut self, by: By<'_>, from: u64, alerts: &[AlertId], reason: &Reason) -> Option<u64> {
        if !self.movable(from) {
            return None;
        }
        let wanted: BTreeSet<AlertId> = alerts.iter().copied().collect();
        let live = self.live(from);
        let slots: Vec<Slot> = wanted.iter().filter_map(|id| live.members.get(id).copied()).collect();
        if slots.is_empty() || slots.len() == live.members.len() {
            return None;
        }
        let (from_id, resolved) = (live.row.id, live.row.resolved_by.clone().filter(|_| !live.is_open()));
        let fired_at = slots.iter().map(|&slot| self.alerts.get(slot).first_seen).max()?;
        let to = self.born(self.position, SPLIT_ORDINAL, by.at, by.at);
        let to_id = self.live(to).row.id;
        let row = &mut self.live(to).row;
        row.split_from = Some(from_id);
        row.held_apart = by.command.is_some();
        row.last_fired_at = fired_at;
        self.move_alerts(&slots, to, reason);
        self.judge(to);
        let change = |template, other: IncidentId| {
            Reason::new("split", template)
                .text("incident", other.to_string())
                .count("alerts", slots.len() as u64)
                .text("why", reason.to_string())
        };
        let born = change("split off from {incident} (alerts: {alerts}): {why}", from_id);
        self.note(to, by.at, by.actor, born.clone());
        self.notify(to, by.at, Transition::Opened, born);
        match resolved {
            Some(actor) => {
                let reason = Reason::new("resolved_before", "{actor} had resolved {incident} before it was split")
                    .text("actor", &actor)
                    .text("incident", from_id.to_string());
                self.resolve(to, Some((&actor, by.at)), reason);
            }
            None if self.live(to).row.firing == 0 => {
                self.resolve(to, None, Reason::new("all_ended", "all of its alerts have ended"));
            }
            None => {}
        }
        self.settle(by, from, false, change("{incident} was split off from it (alerts: {alerts}): {why}", to_id));
        self.remember_act(from, Act { command: by.command, kind: ActKind::Split(to_id) });
        Some(to)
    }

    /// Takes a split back: whatever `part` has now goes to the incident it was split off from; false when either is not
    /// there any more, or was merged meanwhile.
    pub(crate) fn unsplit(&mut self, by: By<'_>, part: u64) -> bool {
        let origin = self.incidents.get(&part).and_then(|live| live.row.split_from);
        let Some(origin) = origin.map(|id| id.number).filter(|&origin| self.movable(origin)) else { return false };
        if !self.movable(part) {
            return false;
        }
        let part_id = self.live(part).row.id;
        self.live(origin).row.acts.retain(|act| act.kind != ActKind::Split(part_id));
        let back = Reason::new("unsplit", "came back with {incident}: {actor} took the split back")
            .text("incident", part_id.to_string())
            .text("actor", by.actor);
        self.fold_into(by, origin, part, &back);
        true
    }

    pub(crate) fn remember_act(&mut self, number: u64, act: Act) {
        let acts = &mut self.live(number).row.acts;
        acts.push(act);
        if acts.len() > ACTS {
            acts.remove(0);
        }
        self.touch_incident(number);
    }

    /// Puts restored incidents that are merged to those they are merged into.
    pub(crate) fn relate_merged(&mut self) {
        let merged = |live: &crate::lifecycle::Live| live.row.merged_into.map(|into| (live.row.id.number, into.number));
        let related: Vec<(u64, u64)> = self.incidents.values().filter_map(merged).collect();
        for (from, into) in related {
            if let Some(live) = self.incidents.get_mut(&into) {
                live.merged.insert(from);
            }
        }
    }

    /// Lets go of incidents that are merged into one that is let go of.
    pub(crate) fn forget_merged(&mut self, merged: BTreeSet<u64>) {
        let mut left: Vec<u64> = merged.into_iter().collect();
        while let Some(number) = left.pop() {
            if let Some(live) = self.incidents.remove(&number) {
                left.extend(live.merged);
                self.turn.effects.forgotten.push(live.row.id);
            }
        }
    }
}
