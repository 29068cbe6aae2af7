//! Receiving: is it the same alert again, a new one, the end of one, or nothing?
//!
//! A fire of an alert that fires already is folded into it: a look-up and a counter. Absent on purpose: what a new
//! alert belongs to (`correlate`, through `place`).

use quell_domain::{
    Action, AlertId, AlertState, Batch, Ending, Fingerprint, Item, Labels, LabelsRef, Moment, Severity, Source,
    Timestamp,
};

use crate::alerts::{Entry, Slot};
use crate::deadlines::DeadlineReason;
use crate::effects::Parked;
use crate::engine::Engine;
use crate::lifecycle::{Given, QUELL};
use crate::rules::Matched;

/// A sender's clock may run ahead of ours by this much before its times are no longer believed.
const SKEW_SECONDS: u64 = 300;

/// Alerts in hand, ended ones of incidents that are not let go of yet included, for each that may fire.
const ENDED: u64 = 4;

/// The alert that stands for everything over the limit of alerts in hand.
pub(crate) const OVERFLOW: Fingerprint = Fingerprint(0x6f76_6572_666c_6f77);

/// An item's times, in the engine's terms.
#[derive(Clone, Copy, Debug)]
struct Told {
    fires: bool,
    /// When the condition began, if the sender said so.
    starts_at: Option<Timestamp>,
    /// Firing: when it expires. Not firing: when it ended.
    ends_at: Option<Timestamp>,
    timed_out: bool,
    /// The sender may have sent it before what it sent last, and says enough to tell. PagerDuty's contract has no such
    /// thing: there a trigger after a resolve is a new alert, whatever its time.
    may_be_late: bool,
}

impl Engine {
    pub(crate) fn receive(&mut self, moment: Moment, batch: &Batch) {
        self.turn.effects.disposed.received += batch.received() as u64;
        for (ordinal, reject) in (0..).zip(&batch.rejects) {
            self.turn.effects.disposed.rejected += 1;
            self.turn.effects.parked.push(Parked {
                position: moment.position,
                ordinal,
                item: reject.ordinal,
                source: batch.source,
                received_at: moment.received_at,
                reason: reject.reason.clone(),
                raw: reject.raw.clone(),
            });
        }
        for (ordinal, item) in (0..).zip(batch.items()) {
            let told = self.told(moment, batch.source, item);
            match self.alerts.latest(item.fingerprint) {
                Some(slot) if self.repeat(moment, batch, item, told, slot) => {
                    self.turn.effects.disposed.deduplicated += 1;
                }
                Some(slot) => self.turn_of(moment, batch, item, ordinal, told, slot),
                None if told.fires => self.first(moment, batch, item, ordinal, told),
                None => self.unseen(moment, batch, item, ordinal, told),
            }
        }
    }

    /// See [`Engine::refold`].
    pub(crate) fn refold_batch(&mut self, moment: Moment, batch: &Batch) {
        // Looked at before any is folded, so that a fingerprint that stands twice in one record is folded twice.
        let due = |engine: &Engine, item: &Item| {
            engine.alerts.latest(item.fingerprint).filter(|&slot| {
                let entry = engine.alerts.get(slot);
                entry.opened_position < moment.position && entry.folded_through < moment.position
            })
        };
        let due: Vec<(&Item, Slot)> =
            batch.items().iter().filter_map(|item| due(self, item).map(|slot| (item, slot))).collect();
        for (item, slot) in due {
            let told = self.told(moment, batch.source, item);
            self.repeat(moment, batch, item, told, slot);
        }
    }

    fn told(&self, moment: Moment, source: Source, item: &Item) -> Told {
        let received_at = moment.received_at;
        let believed = received_at + std::time::Duration::from_secs(SKEW_SECONDS);
        let starts_at = item.starts_at.map(|at| if at > believed { received_at } else { at });
        match item.ending {
            Ending::Expires => {
                let timed_out = item.ends_at.is_none();
                let ends_at = item.ends_at.unwrap_or(received_at + self.settings.lifecycle.resolve_timeout);
                // Alertmanager: what starts without a start but with an end in the past started then.
                let starts_at = starts_at.or(item.ends_at.filter(|&at| at <= received_at));
                Told { fires: ends_at > received_at, starts_at, ends_at: Some(ends_at), timed_out, may_be_late: true }
            }
            Ending::Explicit => {
                let fires = item.action != Action::Resolve;
                let ended = item.ends_at.filter(|&at| at <= believed).unwrap_or(received_at);
                let may_be_late = source != Source::PagerDuty;
                Told { fires, starts_at, ends_at: (!fires).then_some(ended), timed_out: false, may_be_late }
            }
        }
    }

    /// Folds an item into the episode it repeats. False, with nothing changed, when it is not a repeat.
    fn repeat(&mut self, moment: Moment, batch: &Batch, item: &Item, told: Told, slot: Slot) -> bool {
        let lateness = self.settings.lifecycle.lateness;
        let entry = self.alerts.get_mut(slot);
        match (entry.state, told.fires) {
            (AlertState::Firing, true) => {
                if item.action == Action::Acknowledge {
                    return false;
                }
                entry.ends_at = later_end(entry, told);
                entry.timed_out &= told.timed_out;
                entry.last_seen = moment.received_at;
                if item.content != entry.content {
                    entry.content = item.content;
                    entry.annotations = batch.annotations(item).to_owned();
                    entry.said = true;
                    let severity = entry.severity;
                    self.read_rules_again(slot);
                    self.read_severity(batch, item, slot);
                    let entry = self.alerts.get(slot);
                    if let Some(number) = entry.incident.filter(|_| entry.severity != severity) {
                        self.touch_alert(slot, Given::default());
                        self.review_if_open(number);
                    }
                }
            }
            // Late: it was sent before the resolve and came after it.
            (AlertState::Ended, true) => {
                let before = told.starts_at.is_some_and(|at| entry.ends_at.is_some_and(|end| at <= end));
                if !told.may_be_late || !before || moment.received_at.since(entry.last_seen) > lateness {
                    return false;
                }
            }
            (AlertState::Ended, false) => {
                let newer = told.starts_at.is_some_and(|at| entry.ends_at.is_some_and(|end| at > end));
                if newer {
                    return false;
                }
                entry.ends_at = entry.ends_at.max(told.ends_at.map(|at| at.min(moment.received_at)));
            }
            _ => return false,
        }
        let entry = self.alerts.get_mut(slot);
        entry.count += 1;
        entry.starts_at = told.starts_at.map_or(entry.starts_at, |at| at.min(entry.starts_at));
        entry.folded_through = entry.folded_through.max(moment.position);
        // An end that the sender named may lie before the one that the timeout had made.
        if entry.state == AlertState::Firing && entry.ends_at < entry.deadline {
            self.schedule_expiry(slot);
        }
        self.alerts.mark(slot);
        true
    }

    fn review_if_open(&mut self, number: u64) {
        if self.incidents.get(&number).is_some_and(crate::lifecycle::Live::is_open) {
            self.review_soon(number);
            self.touch_incident(number);
        }
    }

    /// An item that changes the state of a known alert.
    fn turn_of(&mut self, moment: Moment, batch: &Batch, item: &Item, ordinal: u32, told: Told, slot: Slot) {
        let entry = self.alerts.get(slot);
        let (state, starts_at, ends_at) = (entry.state, entry.starts_at, entry.ends_at);
        let disposed = &mut self.turn.effects.disposed;
        match (state, told.fires) {
            (AlertState::Firing, true) => {
                disposed.deduplicated += 1;
                self.acknowledged_by_sender(moment, slot);
            }
            // The resolve of an episode before this one.
            (AlertState::Firing, false)
                if told.ends_at.is_some_and(|at| at < starts_at)
                    && item.starts_at.is_some_and(|at| at != starts_at) =>
            {
                disposed.stale += 1;
            }
            (AlertState::Firing, false) => {
                disposed.resolved += 1;
                self.alerts.get_mut(slot).count += 1;
                self.end(moment, slot, told.ends_at.unwrap_or(moment.received_at), told.starts_at);
            }
            (AlertState::Ended, true) if told.may_be_late && told.starts_at == Some(starts_at) => {
                disposed.deduplicated += 1;
                self.revive(moment, batch, item, told, slot);
            }
            (AlertState::Ended, true) => self.first(moment, batch, item, ordinal, told),
            (AlertState::Stale, true) => {
                let late = told.may_be_late && told.starts_at.is_some_and(|at| ends_at.is_some_and(|end| at <= end));
                self.forget_stale(self.alerts.get(slot).id.0);
                self.first(moment, batch, item, ordinal, told);
                // Nothing was born over the limit: the latest one is then an earlier episode, and over already.
                let latest = self.alerts.latest(item.fingerprint);
                let born = latest.filter(|&slot| late && self.alerts.get(slot).state == AlertState::Firing);
                if let (Some(slot), Some(end)) = (born, ends_at) {
                    self.end(moment, slot, end, None);
                }
            }
            (AlertState::Stale, false) => {
                disposed.stale += 1;
                let entry = self.alerts.get_mut(slot);
                entry.ends_at = entry.ends_at.max(told.ends_at);
                self.touch_alert(slot, Given::default());
            }
            // The resolve of an episode whose fire has not come yet.
            (AlertState::Ended, false) => self.unseen(moment, batch, item, ordinal, told),
        }
    }

    /// A new episode.
    fn first(&mut self, moment: Moment, batch: &Batch, item: &Item, ordinal: u32, told: Told) {
        if item.action == Action::Acknowledge {
            self.turn.effects.disposed.stale += 1;
            return;
        }
        let limit = self.settings.limits.active_alerts;
        if self.alerts.firing() >= limit || self.alerts.len() >= limit.saturating_mul(ENDED) {
            return self.overflow(moment, batch.source, ordinal);
        }
        let mut told = told;
        if let Some(before) = self.alerts.latest(item.fingerprint) {
            let Entry { dirty, ends_at, .. } = *self.alerts.get(before);
            // After a restart only the latest episode is folded again: the one before must be in its row.
            if dirty {
                self.touch_alert(before, Given::default());
            }
            // Episodes do not overlap: what is said to have begun before the last one ended begins anew now.
            told.starts_at = told.starts_at.filter(|&at| ends_at.is_none_or(|end| at > end));
        }
        let entry = self.entry(moment, batch, item, ordinal, told, AlertState::Firing);
        let slot = self.alerts.insert(entry);
        self.read_rules(slot);
        self.read_severity(batch, item, slot);
        self.schedule_expiry(slot);
        self.place(moment, slot);
    }

    /// The end of every alert of an incident whose sender hears of no operator's resolve: what it triggers after that is a
    /// new alert.
    pub(crate) fn end_triggers(&mut self, number: u64, at: Timestamp) {
        for slot in self.members(number) {
            let entry = self.alerts.get_mut(slot);
            if entry.state == AlertState::Firing && entry.source == Source::PagerDuty {
                entry.ends_at = Some(at.max(entry.starts_at));
                entry.closed_position = Some(self.position);
                self.closed(slot);
            }
        }
    }

    /// A resolve of nothing known: kept for a while, so that a fire that comes late is born ended.
    fn unseen(&mut self, moment: Moment, batch: &Batch, item: &Item, ordinal: u32, told: Told) {
        self.turn.effects.disposed.stale += 1;
        let bound = self.settings.limits.active_alerts;
        if self.alerts.len() >= bound.saturating_mul(2) {
            return;
        }
        if let Some(before) = self.alerts.latest(item.fingerprint).filter(|&slot| self.alerts.get(slot).dirty) {
            self.touch_alert(before, Given::default());
        }
        let mut entry = self.entry(moment, batch, item, ordinal, told, AlertState::Stale);
        entry.closed_position = Some(moment.position);
        let id = entry.id.0;
        let slot = self.alerts.insert(entry);
        let at = moment.received_at + self.settings.lifecycle.tombstone;
        self.deadlines.add(at, DeadlineReason::StaleForgotten, id);
        self.touch_alert(slot, Given::default());
    }

    fn entry(
        &mut self,
        moment: Moment,
        batch: &Batch,
        item: &Item,
        ordinal: u32,
        told: Told,
        state: AlertState,
    ) -> Entry {
        self.checkpoint.last_alert += 1;
        let fires = state == AlertState::Firing;
        let received_at = moment.received_at;
        let end = told.ends_at.map(|at| if fires { at } else { at.min(received_at) });
        Entry {
            id: AlertId(self.checkpoint.last_alert),
            fingerprint: item.fingerprint,
            source: batch.source,
            state,
            severity: item.severity,
            labels: batch.labels(item).to_owned(),
            annotations: batch.annotations(item).to_owned(),
            content: item.content,
            ci: None,
            incident: None,
            starts_at: told.starts_at.unwrap_or(end.filter(|_| !fires).unwrap_or(received_at)),
            ends_at: end,
            ending: item.ending,
            timed_out: told.timed_out,
            count: 1,
            first_seen: received_at,
            began_at: told.starts_at.filter(|&at| at <= received_at).unwrap_or(received_at),
            last_seen: received_at,
            opened_position: moment.position,
            opened_ordinal: ordinal,
            closed_position: None,
            folded_through: moment.position,
            written: false,
            dirty: false,
            said: false,
            deadline: None,
            matched: Matched::default(),
            symptom: None,
            twin_of: None,
        }
    }

    /// What a rule says, else what the contract claims, else what the pipeline reads from the labels.
    fn read_severity(&mut self, batch: &Batch, item: &Item, slot: Slot) {
        let read = |labels: LabelsRef<'_>| self.settings.pipeline(batch.source).and_then(|p| p.severity.read(labels));
        let severity = match item.severity {
            Severity::Unknown => read(batch.labels(item)).unwrap_or_default(),
            claimed => claimed,
        };
        let entry = self.alerts.get_mut(slot);
        entry.severity = entry.matched.severity.unwrap_or(severity);
    }

    /// The alert is over: at `ends_at`, which is not after now.
    fn end(&mut self, moment: Moment, slot: Slot, ends_at: Timestamp, starts_at: Option<Timestamp>) {
        let now = self.now();
        let entry = self.alerts.get_mut(slot);
        entry.starts_at = starts_at.map_or(entry.starts_at, |at| at.min(entry.starts_at));
        entry.ends_at = Some(ends_at.min(now).max(entry.starts_at.min(now)));
        entry.closed_position = Some(moment.position);
        entry.last_seen = moment.received_at;
        self.closed(slot);
    }

    fn closed(&mut self, slot: Slot) {
        self.alerts.turn(slot, AlertState::Ended);
        self.touch_alert(slot, Given::default());
        match self.alerts.get(slot).incident {
            Some(number) => self.member_ended(number, slot),
            None => self.let_go_later(slot),
        }
    }

    /// An alert was not sent again in time.
    pub(crate) fn expire(&mut self, moment: Moment, at: Timestamp, id: u64) {
        let Some(slot) = self.alerts.find(AlertId(id)) else { return };
        let entry = self.alerts.get_mut(slot);
        if entry.deadline == Some(at) {
            entry.deadline = None;
        }
        if entry.state != AlertState::Firing || entry.ending != Ending::Expires {
            return;
        }
        if entry.ends_at.is_some_and(|ends_at| ends_at <= at) {
            entry.closed_position = Some(moment.position);
            self.closed(slot);
        } else {
            self.schedule_expiry(slot);
        }
    }

    /// Puts an alert's expiry in place, unless an earlier look at it is due anyway.
    pub(crate) fn schedule_expiry(&mut self, slot: Slot) {
        let entry = self.alerts.get_mut(slot);
        let Some(at) = entry.ends_at.filter(|_| entry.ending == Ending::Expires) else { return };
        if entry.deadline.is_none_or(|deadline| at < deadline) {
            entry.deadline = Some(at);
            let id = entry.id.0;
            self.deadlines.add(at, DeadlineReason::AlertExpires, id);
        }
    }

    /// The same episode fires again after it had ended.
    fn revive(&mut self, moment: Moment, batch: &Batch, item: &Item, told: Told, slot: Slot) {
        let entry = self.alerts.get_mut(slot);
        entry.ends_at = told.ends_at;
        entry.timed_out = told.timed_out;
        entry.closed_position = None;
        entry.count += 1;
        entry.last_seen = moment.received_at;
        entry.content = item.content;
        entry.annotations = batch.annotations(item).to_owned();
        let number = entry.incident;
        self.read_rules_again(slot);
        self.read_severity(batch, item, slot);
        self.alerts.turn(slot, AlertState::Firing);
        self.schedule_expiry(slot);
        self.touch_alert(slot, Given::default());
        if let Some(number) = number {
            self.member_revived(number, slot);
        }
    }

    /// PagerDuty's `acknowledge`: somebody took it at the sender's side.
    fn acknowledged_by_sender(&mut self, moment: Moment, slot: Slot) {
        let entry = self.alerts.get_mut(slot);
        entry.count += 1;
        entry.last_seen = moment.received_at;
        let (number, source) = (entry.incident, entry.source);
        self.touch_alert(slot, Given::default());
        if let Some(number) = number {
            self.acknowledge(moment, number, source.as_str());
        }
    }

    /// One alert over the limit: counted into the alert that stands for all of them.
    fn overflow(&mut self, moment: Moment, source: Source, ordinal: u32) {
        self.turn.effects.disposed.overflowed += 1;
        let ends_at = moment.received_at + self.settings.lifecycle.resolve_timeout;
        let firing = self.alerts.latest(OVERFLOW).filter(|&slot| self.alerts.get(slot).state == AlertState::Firing);
        if let Some(slot) = firing {
            let entry = self.alerts.get_mut(slot);
            entry.count += 1;
            entry.ends_at = Some(ends_at);
            entry.last_seen = moment.received_at;
            entry.folded_through = entry.folded_through.max(moment.position);
            return self.alerts.mark(slot);
        }
        self.checkpoint.last_alert += 1;
        let limit = self.settings.limits.active_alerts.to_string();
        let summary = format!("More than {limit} alerts fire: new ones are counted here until some end");
        let slot = self.alerts.insert(Entry {
            id: AlertId(self.checkpoint.last_alert),
            fingerprint: OVERFLOW,
            source,
            state: AlertState::Firing,
            severity: Severity::Critical,
            labels: Labels::new([("alertname", "QuellOverflow"), ("limit", &limit)]),
            annotations: Labels::new([("summary", &summary)]),
            content: 0,
            ci: None,
            incident: None,
            starts_at: moment.received_at,
            ends_at: Some(ends_at),
            ending: Ending::Expires,
            timed_out: true,
            count: 1,
            first_seen: moment.received_at,
            began_at: moment.received_at,
            last_seen: moment.received_at,
            opened_position: moment.position,
            opened_ordinal: ordinal,
            closed_position: None,
            folded_through: moment.position,
            written: false,
            dirty: false,
            said: false,
            deadline: None,
            matched: Matched::default(),
            symptom: None,
            twin_of: None,
        });
        self.schedule_expiry(slot);
        let unbound = quell_domain::Reason::new("own", "raised by {actor} itself").text("actor", QUELL);
        let given = Given { unbound: Some(unbound), ..Given::default() };
        self.touch_alert(slot, given);
        self.open(moment, slot);
    }
}

/// When a repeat says its alert ends: the later of both ends, but an end that the sender names takes the place of one that
/// the timeout made. As in Alertmanager, a resend without an end extends one that was named.
fn later_end(entry: &Entry, told: Told) -> Option<Timestamp> {
    if entry.timed_out && !told.timed_out { told.ends_at } else { entry.ends_at.max(told.ends_at) }
}
