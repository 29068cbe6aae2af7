//! The life of an incident: open, join, resolve, reopen, let go.
//!
//! Absent on purpose: which incident an alert belongs to (`correlate`) and how bad it is (`judge`).

use std::collections::{BTreeMap, BTreeSet};

use quell_cmdb::CiIx;
use quell_domain::{
    Alert, AlertId, AlertState, Binding, BlastRadius, Impact, Incident, IncidentId, IncidentState, Moment, Notice,
    Position, Priority, Reason, SPLIT_ORDINAL, TimelineEntry, Timestamp, Transition, Urgency,
};

use crate::alerts::{Entry, Slot};
use crate::deadlines::DeadlineReason;
use crate::effects::AlertChange;
use crate::engine::{Engine, Joined};
use crate::suspects::Beat;
use crate::wave::Recent;

/// Who acts when nobody did.
pub(crate) const QUELL: &str = "quell";

/// Names of alerts that one entry of a timeline gives.
const NAMED: usize = 5;

/// An incident in hand.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Live {
    pub(crate) row: Incident,
    /// Its episodes, by id.
    pub(crate) members: BTreeMap<AlertId, Slot>,
    /// Its alerting CIs, with how many of its alerts fire on each.
    pub(crate) cis: BTreeMap<CiIx, u32>,
    /// Its last alerts.
    pub(crate) recent: Recent,
    /// Incidents whose alerts went to it: they are let go of with it.
    pub(crate) merged: BTreeSet<u64>,
}

impl Live {
    pub(crate) fn of_row(row: Incident) -> Self {
        Live { row, members: BTreeMap::new(), cis: BTreeMap::new(), recent: Recent::default(), merged: BTreeSet::new() }
    }

    /// How many CIs it is seen on.
    pub(crate) fn size(&self) -> u32 {
        u32::try_from(self.cis.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.row.state == IncidentState::Open
    }

    /// Takes new alerts: open, or resolved by itself and neither merged nor let go of yet.
    pub(crate) fn takes_alerts(&self) -> bool {
        self.is_open() || (self.row.resolved_by.is_none() && self.row.merged_into.is_none())
    }
}

/// Reasons given for an alert in this turn; what was given before is remembered already.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Given {
    pub(crate) binding: Option<Binding>,
    pub(crate) unbound: Option<Reason>,
    pub(crate) membership: Option<Reason>,
}

impl Given {
    pub(crate) fn absorb(&mut self, later: Given) {
        let Given { binding, unbound, membership } = later;
        self.binding = binding.or(self.binding.take());
        self.unbound = unbound.or(self.unbound.take());
        self.membership = membership.or(self.membership.take());
    }

    pub(crate) fn row(self, entry: &Entry, shard: u32) -> Alert {
        let Given { binding, unbound, membership } = self;
        Alert { binding, unbound, membership, ..entry.row(shard) }
    }
}

impl Engine {
    pub(crate) fn touch_alert(&mut self, slot: Slot, given: Given) {
        self.turn.alerts.push((slot, given));
    }

    pub(crate) fn touch_incident(&mut self, number: u64) {
        self.turn.incidents.push(number);
    }

    pub(crate) fn live(&mut self, number: u64) -> &mut Live {
        self.incidents.get_mut(&number).expect("an alert's incident is in hand as long as the alert is")
    }

    pub(crate) fn note(&mut self, number: u64, at: Timestamp, actor: &str, reason: Reason) {
        let incident = IncidentId { shard: self.shard.number, number };
        self.turn.effects.timeline.push(TimelineEntry { incident, at, actor: actor.to_owned(), reason });
    }

    pub(crate) fn notify(&mut self, number: u64, at: Timestamp, transition: Transition, reason: Reason) {
        let row = &mut self.live(number).row;
        let notice = Notice {
            incident: row.id,
            number: row.transitions,
            transition,
            at,
            title: row.title.clone(),
            priority: row.priority,
            cause: row.causes.first().map(|cause| cause.ci.clone()),
            alerts: row.alerts,
            reason,
        };
        row.transitions += 1;
        self.turn.effects.notices.push(notice);
        self.touch_incident(number);
    }

    /// Opens an incident for an alert that nothing in hand explains.
    pub(crate) fn open(&mut self, moment: Moment, slot: Slot) {
        self.open_as(moment, self.alerts.get(slot).opened_ordinal, slot);
    }

    /// The same where the alert is not an item of this record.
    pub(crate) fn open_as(&mut self, moment: Moment, ordinal: u32, slot: Slot) {
        let started_at = self.alerts.get(slot).starts_at;
        let now = self.now();
        let number = self.born(moment.position, ordinal, now, started_at.min(now));
        let name = self.alerts.get(slot).name().to_owned();
        self.add_member(number, slot);
        let reason = Reason::new("opened", "{alert} is explained by no open incident").text("alert", name);
        self.judge(number);
        self.note(number, now, QUELL, reason.clone());
        self.notify(number, now, Transition::Opened, reason);
    }

    /// A new incident in hand, open and without alerts yet. `ordinal` counts items, or is [`SPLIT_ORDINAL`].
    pub(crate) fn born(&mut self, position: Position, ordinal: u32, at: Timestamp, started_at: Timestamp) -> u64 {
        self.checkpoint.last_incident += 1;
        let number = self.checkpoint.last_incident;
        #[expect(clippy::cast_possible_truncation, reason = "only incidents of one position must differ")]
        let own = (number as u32) & (SPLIT_ORDINAL - 1);
        let row = Incident {
            id: IncidentId { shard: self.shard.number, number },
            state: IncidentState::Open,
            title: String::new(),
            priority: Priority::new(3).expect("3 is a priority"),
            impact: Impact::Medium,
            urgency: Urgency::Medium,
            opened_position: position,
            opened_ordinal: if ordinal == SPLIT_ORDINAL { ordinal | own } else { ordinal },
            opened_at: at,
            started_at,
            last_fired_at: at,
            resolved_at: None,
            resolved_by: None,
            acknowledged_at: None,
            acknowledged_by: None,
            reopened: 0,
            alerts: 0,
            firing: 0,
            causes: Vec::new(),
            blast_radius: BlastRadius::default(),
            review_at: None,
            transitions: 0,
            merged_into: None,
            moved: Vec::new(),
            split_from: None,
            verdicts: Vec::new(),
            acts: Vec::new(),
            held_apart: false,
            looked_at: 0,
        };
        self.incidents.insert(number, Live::of_row(row));
        self.open += 1;
        number
    }

    /// Adds an alert to an incident; a resolved one reopens.
    pub(crate) fn join(&mut self, number: u64, slot: Slot, why: &Reason) {
        self.add_member(number, slot);
        let joined = self.turn.joined.entry(number);
        let joined = joined.or_insert_with(|| Joined { alerts: 0, names: Vec::new(), why: why.clone() });
        joined.alerts += 1;
        let name = self.alerts.get(slot).name();
        if joined.names.len() < NAMED && joined.names.iter().all(|known| known != name) {
            joined.names.push(name.to_owned());
        }
        self.reopen_if_resolved(number, "an alert joined after it was resolved");
        self.review_soon(number);
        self.touch_incident(number);
    }

    /// Says on the timelines what joined in this turn.
    pub(crate) fn note_joined(&mut self) {
        let now = self.now();
        for (number, Joined { alerts, names, why }) in std::mem::take(&mut self.turn.joined) {
            let reason = match alerts {
                1 => Reason::new("joined", "{alerts} joined: {why}").list("alerts", names),
                _ => Reason::new("joined", "{count} alerts joined ({alerts}), the first one: {why}")
                    .count("count", alerts)
                    .list("alerts", names),
            };
            self.note(number, now, QUELL, reason.text("why", why.to_string()));
        }
    }

    pub(crate) fn reopen_if_resolved(&mut self, number: u64, why: &'static str) {
        let now = self.now();
        let row = &mut self.live(number).row;
        if row.state == IncidentState::Open {
            return;
        }
        row.state = IncidentState::Open;
        row.reopened += 1;
        row.resolved_at = None;
        row.resolved_by = None;
        self.open += 1;
        let reason = Reason::new("reopened", "reopened: {why}").text("why", why);
        self.note(number, now, QUELL, reason.clone());
        self.notify(number, now, Transition::Reopened, reason);
    }

    fn add_member(&mut self, number: u64, slot: Slot) {
        self.alerts.get_mut(slot).incident = Some(number);
        let now = self.now();
        self.link(number, slot);
        let entry = self.alerts.get(slot);
        let (started_at, firing) = (entry.starts_at.min(now), entry.state == AlertState::Firing);
        let counts = entry.counts();
        let row = &mut self.live(number).row;
        row.alerts += counts;
        row.firing += u64::from(firing);
        row.started_at = row.started_at.min(started_at);
        row.last_fired_at = now;
    }

    /// Puts an alert into its incident's look-ups, and the incident's claims on suspects.
    pub(crate) fn link(&mut self, number: u64, slot: Slot) {
        let entry = self.alerts.get(slot);
        // What is to stay apart is found by no other alert.
        let apart = entry.matched.apart;
        let (id, ci, began_at) = (entry.id, entry.ci.filter(|_| !apart), entry.began_at);
        let firing = entry.state == AlertState::Firing;
        let key = if entry.ci.is_none() && !apart { self.unbound_key(entry) } else { None };
        let earlier = self.earlier_in(number, slot);
        let live = self.live(number);
        live.members.insert(id, slot);
        live.recent.add(began_at, id, earlier);
        let fresh = ci.is_some_and(|ci| !live.cis.contains_key(&ci));
        if let Some(ci) = ci {
            *live.cis.entry(ci).or_default() += u32::from(firing);
        }
        if let Some(key) = key {
            self.unbound.entry(key).or_default().insert(number);
        }
        if let Some(ci) = ci {
            let (max_hops, limit) = (self.settings.correlation.max_hops, self.walk_limit());
            let suspects = self.suspects.of(&self.graph, ci, max_hops, limit);
            self.suspects.claim(
                &self.graph,
                number,
                Beat { member: ci, at: began_at, fresh, fires: firing },
                &suspects,
                max_hops,
            );
        }
    }

    /// One alert of an incident ended: the last one resolves it.
    pub(crate) fn member_ended(&mut self, number: u64, slot: Slot) {
        self.turn_claims(number, slot, false);
        let row = &mut self.live(number).row;
        row.firing = row.firing.saturating_sub(1);
        let (firing, open) = (row.firing, row.state == IncidentState::Open);
        self.touch_incident(number);
        match (firing, open) {
            (0, true) => self.resolve(number, None, Reason::new("all_ended", "all of its alerts have ended")),
            (0, false) => self.schedule_let_go(number),
            (_, true) => self.review_soon(number),
            (_, false) => {}
        }
    }

    /// What an incident claims for an alert that ended counts little, until it fires again.
    fn turn_claims(&mut self, number: u64, slot: Slot, fires: bool) {
        let entry = self.alerts.get(slot);
        let (at, Some(member)) = (entry.began_at, entry.ci.filter(|_| !entry.matched.apart)) else { return };
        if let Some(firing) = self.live(number).cis.get_mut(&member) {
            *firing = if fires { *firing + 1 } else { firing.saturating_sub(1) };
        }
        let (max_hops, limit) = (self.settings.correlation.max_hops, self.walk_limit());
        let suspects = self.suspects.of(&self.graph, member, max_hops, limit);
        self.suspects.turn(number, Beat { member, at, fresh: false, fires }, &suspects);
    }

    /// One of an incident's alerts fires again in the same episode.
    pub(crate) fn member_revived(&mut self, number: u64, slot: Slot) {
        self.turn_claims(number, slot, true);
        let now = self.now();
        let row = &mut self.live(number).row;
        row.firing += 1;
        row.last_fired_at = now;
        self.reopen_if_resolved(number, "one of its alerts fires again");
        self.review_soon(number);
        self.touch_incident(number);
    }

    /// Resolves an incident, by itself or for an operator.
    pub(crate) fn resolve(&mut self, number: u64, by: Option<(&str, Timestamp)>, reason: Reason) {
        let now = self.now();
        let ended = self.last_end(number);
        let live = self.live(number);
        let at = by.map_or(ended.unwrap_or(now).clamp(live.row.opened_at, now.max(live.row.opened_at)), |(_, at)| at);
        live.row.state = IncidentState::Resolved;
        live.row.resolved_at = Some(at);
        live.row.resolved_by = by.map(|(actor, _)| actor.to_owned());
        live.row.review_at = None;
        self.open -= 1;
        self.note(number, at, by.map_or(QUELL, |(actor, _)| actor), reason.clone());
        self.notify(number, at, Transition::Resolved, reason);
        self.schedule_let_go(number);
    }

    pub(crate) fn last_end(&self, number: u64) -> Option<Timestamp> {
        self.incidents[&number].members.values().filter_map(|&slot| self.alerts.get(slot).ends_at).max()
    }

    /// Gives up what an incident claims, and forgets which CIs it claimed it for.
    pub(crate) fn release_claims(&mut self, number: u64) {
        let (max_hops, limit) = (self.settings.correlation.max_hops, self.walk_limit());
        self.live(number).recent = Recent::default();
        for ci in std::mem::take(&mut self.live(number).cis).into_keys() {
            let suspects = self.suspects.of(&self.graph, ci, max_hops, limit);
            self.suspects.release(number, &suspects);
        }
    }

    /// An incident that claims nothing claims anew what its alerts in hand hang on.
    pub(crate) fn claim_anew(&mut self, number: u64) {
        for slot in self.members(number) {
            self.link(number, slot);
        }
    }

    /// An incident's alerts in hand, by id.
    pub(crate) fn members(&self, number: u64) -> Vec<Slot> {
        self.incidents.get(&number).map(|live| live.members.values().copied().collect()).unwrap_or_default()
    }

    /// Takes an incident out of the look-up of unbound alerts like this one.
    pub(crate) fn leave_unbound(&mut self, number: u64, slot: Slot) {
        let Some(key) = self.unbound_key(self.alerts.get(slot)) else { return };
        let Some(like) = self.unbound.get_mut(&key) else { return };
        like.remove(&number);
        if like.is_empty() {
            self.unbound.remove(&key);
        }
    }

    /// A resolve that no fire followed is forgotten.
    pub(crate) fn forget_stale(&mut self, id: u64) {
        let Some(slot) = self.alerts.find(AlertId(id)) else { return };
        if self.alerts.get(slot).state == AlertState::Stale {
            self.turn.alerts.retain(|(touched, _)| *touched != slot);
            let promoted = self.alerts.remove(slot);
            self.mark_promoted(promoted);
            self.turn.effects.alerts.push(AlertChange::Forget(AlertId(id)));
        }
    }

    /// Episodes that are their fingerprint's latest again take no repeats from before this record: their rows say so.
    pub(crate) fn mark_promoted(&mut self, promoted: impl IntoIterator<Item = AlertId>) {
        for id in promoted {
            if let Some(slot) = self.alerts.find(id) {
                self.touch_alert(slot, Given::default());
            }
        }
    }

    /// Puts a restored alert back into its incident, and its deadline in place.
    pub(crate) fn rejoin(&mut self, slot: Slot) {
        self.read_rules(slot);
        let entry = self.alerts.get(slot);
        let (id, state) = (entry.id.0, entry.state);
        match state {
            AlertState::Firing => self.schedule_expiry(slot),
            AlertState::Stale => {
                let at = entry.last_seen + self.settings.lifecycle.tombstone;
                self.deadlines.add(at, DeadlineReason::StaleForgotten, id);
            }
            AlertState::Ended => self.let_go_later(slot),
        }
        self.relink(slot);
        self.mark(slot);
    }

    /// Puts an alert that was bound anew back into its incident's look-ups.
    pub(crate) fn relink(&mut self, slot: Slot) {
        let number = self.alerts.get(slot).incident.filter(|number| self.incidents.contains_key(number));
        if let Some(number) = number {
            self.link(number, slot);
        }
    }

    /// Puts back the deadlines of restored incidents.
    pub(crate) fn recount(&mut self) {
        for number in self.incidents.keys().copied().collect::<Vec<_>>() {
            if let Some(at) = self.live(number).row.review_at {
                self.deadlines.add(at, DeadlineReason::IncidentReview, number);
            }
            self.schedule_let_go(number);
        }
    }

    /// How many CIs a walk for suspects may meet: far more than ever matter, far fewer than a runaway hub has.
    pub(crate) fn walk_limit(&self) -> usize {
        usize::try_from(self.settings.limits.walk_cis).unwrap_or(usize::MAX).min(4096)
    }
}
