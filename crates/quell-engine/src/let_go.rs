//! Letting go: what is over becomes history, which a store keeps and no decision reads any more.
//!
//! A resolved incident goes with its alerts. One that goes on for long loses those of its alerts that ended first, once
//! there are many: else a trouble that never rests would fill the memory with what was. An alert of no incident goes by
//! itself. Absent on purpose: how long rows are kept, which is the store's (`retention`).

use std::time::Duration;

use quell_domain::{AlertId, AlertState, IncidentState, Position, Timestamp};

use crate::alerts::Slot;
use crate::deadlines::DeadlineReason;
use crate::effects::AlertChange;
use crate::engine::Engine;
use crate::lifecycle::Given;

/// Of an incident that goes on at least one alert must go for so many that stay.
const GOOD_PART: usize = 4;

impl Engine {
    /// When a resolved incident may be let go of; `None` while it is open or has alerts that fire, and for one that is
    /// merged: it goes with the other.
    fn let_go_at(&self, number: u64) -> Option<Timestamp> {
        let row = &self.incidents.get(&number)?.row;
        let over = row.state == IncidentState::Resolved && row.firing == 0 && row.merged_into.is_none();
        let resolved_at = row.resolved_at.filter(|_| over)?;
        let last = if row.resolved_by.is_some() { self.last_end(number).unwrap_or(resolved_at) } else { resolved_at };
        Some(resolved_at.max(last) + self.settings.lifecycle.reopen_window)
    }

    pub(crate) fn schedule_let_go(&mut self, number: u64) {
        if let Some(at) = self.let_go_at(number) {
            self.deadlines.add(at, DeadlineReason::IncidentLetGo, number);
        }
    }

    /// The incident and its ended alerts become history.
    pub(crate) fn let_go_due(&mut self, at: Timestamp, number: u64) {
        match self.let_go_at(number) {
            Some(due) if due <= at => {}
            Some(due) => return self.deadlines.add(due, DeadlineReason::IncidentLetGo, number),
            None => return,
        }
        let slots = self.members(number);
        self.write_unwritten(&slots);
        self.release_claims(number);
        let Some(live) = self.incidents.remove(&number) else { return };
        self.let_go_of_members(number, &slots);
        self.forget_merged(live.merged);
        self.turn.effects.forgotten.push(live.row.id);
    }

    /// Of an incident's ended alerts more than the limit become history, those that ended first. An alert that ended so
    /// short a while ago that its fire may still be late stays; so does one of which nobody said that it is over, for as
    /// long as a resolved incident: its sender may have been cut off, and tell of the same episode again.
    ///
    /// What stays claims anew, as after a restart. So that this costs little for each alert, it is left until it frees a
    /// good part of what is in hand.
    pub(crate) fn let_go_of_ended(&mut self, number: u64) {
        let most = usize::try_from(self.settings.limits.ended_alerts).unwrap_or(usize::MAX);
        let Some(live) = self.incidents.get(&number).filter(|live| live.is_open()) else { return };
        let firing = usize::try_from(live.row.firing).unwrap_or(usize::MAX);
        let ended = live.members.len().saturating_sub(firing);
        if ended <= most.saturating_add((most / 4).max(firing / 2)) {
            return;
        }
        let (now, lifecycle) = (self.now(), &self.settings.lifecycle);
        let over = |(&id, &slot): (&AlertId, &Slot)| {
            let entry = self.alerts.get(slot);
            let at = entry.told_ended_at();
            let stays = if entry.was_cut_off() { lifecycle.reopen_window } else { Duration::ZERO };
            let over = entry.state == AlertState::Ended && now.since(at) > stays.max(lifecycle.lateness);
            over.then_some((at, id, slot))
        };
        let mut gone: Vec<(Timestamp, AlertId, Slot)> = live.members.iter().filter_map(over).collect();
        gone.sort_unstable();
        gone.truncate(ended - most);
        if gone.is_empty() || gone.len().saturating_mul(GOOD_PART) < live.members.len() - gone.len() {
            return;
        }
        self.turn.effects.disposed.crowded_out += gone.len() as u64;
        let slots: Vec<Slot> = gone.iter().map(|&(.., slot)| slot).collect();
        self.write_unwritten(&slots);
        self.release_claims(number);
        for (_, id, _) in gone {
            self.live(number).members.remove(&id);
            self.turn.effects.alerts.push(AlertChange::LetGo(id));
        }
        self.let_go_of_members(number, &slots);
        self.claim_anew(number);
    }

    /// The engine forgets alerts of an incident, which claims nothing for them any more.
    fn let_go_of_members(&mut self, number: u64, slots: &[Slot]) {
        let mut promoted = Vec::new();
        for &slot in slots {
            self.leave_unbound(number, slot);
            self.unmark(slot);
            promoted.extend(self.alerts.remove(slot));
        }
        self.mark_promoted(promoted);
    }

    /// When an ended alert of no incident may be let go of: as late as one of an incident that could reopen, and not
    /// before it has ceased to count.
    fn unplaced_until(&self, slot: Slot) -> Option<Timestamp> {
        let entry = self.alerts.get(slot);
        if entry.state != AlertState::Ended || entry.incident.is_some() {
            return None;
        }
        let at = entry.told_ended_at() + self.settings.lifecycle.reopen_window;
        let rule = entry.matched.threshold.map(|ix| self.settings.rules.rule(ix));
        let counts = rule.and_then(|rule| rule.threshold.as_ref()).map(|rule| entry.first_seen + rule.within);
        Some(counts.map_or(at, |counts| counts.max(at)))
    }

    /// An alert of no incident has ended.
    pub(crate) fn let_go_later(&mut self, slot: Slot) {
        if let Some(at) = self.unplaced_until(slot) {
            self.deadlines.add(at, DeadlineReason::UnplacedLetGo, self.alerts.get(slot).id.0);
        }
    }

    /// It becomes history.
    pub(crate) fn let_go_of_unplaced(&mut self, at: Timestamp, id: u64) {
        let Some(slot) = self.alerts.find(AlertId(id)) else { return };
        match self.unplaced_until(slot) {
            Some(due) if due <= at => {}
            Some(_) => return self.let_go_later(slot),
            None => return,
        }
        self.write_unwritten(&[slot]);
        self.unmark(slot);
        let promoted = self.alerts.remove(slot);
        self.mark_promoted(promoted);
        self.turn.effects.alerts.push(AlertChange::LetGo(AlertId(id)));
    }

    /// What repeats changed must be in the rows before the engine forgets it.
    fn write_unwritten(&mut self, slots: &[Slot]) {
        for &slot in slots {
            if self.alerts.get(slot).dirty {
                self.touch_alert(slot, Given::default());
            }
        }
        self.write_rows(Position(self.position.0.saturating_sub(1)));
    }
}
