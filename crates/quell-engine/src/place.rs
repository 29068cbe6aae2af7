//! Placing a new alert: bind it, find the incident it belongs to or open one, and say why.
//!
//! Absent on purpose: the weighing itself (`bind`, `suspects`, `correlate`).

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use quell_cmdb::CiIx;
use quell_domain::{AlertState, Moment, Reason, Timestamp};

use crate::alerts::{Entry, Slot};
use crate::bind::{Bound, bind};
use crate::correlate::{self, Candidate};
use crate::engine::Engine;
use crate::lifecycle::Given;
use crate::ruled::{Marks, Ruled};
use crate::suspects::When;
use crate::threshold::Gate;
use crate::wave::Recent;

/// An alert that comes back is the same trouble where it is the trouble, not one sign of many: in an incident of so many
/// CIs at most.
const OWN: usize = 2;

/// How late an alert may be told and still be placed by when it began.
const LATE: Duration = Duration::from_secs(900);

impl Engine {
    pub(crate) fn place(&mut self, moment: Moment, slot: Slot) {
        let mut given = self.bind_alert(slot);
        let held = match self.gate(slot) {
            Gate::Open(held) => held,
            Gate::Shut(reason) => {
                self.turn.effects.disposed.suppressed += 1;
                given.membership = Some(reason);
                self.mark(slot);
                return self.touch_alert(slot, given);
            }
        };
        let opened = self.seat_all(moment, self.alerts.get(slot).opened_ordinal, slot, held, &mut given);
        let disposed = &mut self.turn.effects.disposed;
        *(if opened { &mut disposed.opened } else { &mut disposed.correlated }) += 1;
        self.touch_alert(slot, given);
    }

    /// Finds an alert's incident, or opens one; true when it opened one. `ordinal` is for one that it opens, unique
    /// within the record.
    pub(crate) fn seat(&mut self, moment: Moment, ordinal: u32, slot: Slot, given: &mut Given) -> bool {
        let mut came_again = false;
        let candidate = match self.ruled(slot) {
            Ruled::Join(candidate) => Some(candidate),
            Ruled::Twin(of, candidate) => {
                self.alerts.get_mut(slot).twin_of = Some(of);
                Some(candidate)
            }
            Ruled::Apart => None,
            Ruled::Free => {
                let again = self.again(slot);
                came_again = again.is_some();
                again.or_else(|| self.candidate(slot))
            }
        };
        let opened = candidate.is_none();
        match candidate {
            Some(Candidate { incident, score: _, reason }) => {
                self.join(incident, slot, &reason);
                given.membership = Some(reason);
            }
            None => {
                self.open_as(moment, ordinal, slot);
                let why = Reason::new("opened", "opened the incident: nothing in hand explains it");
                given.membership = Some(self.threshold_reached(slot).unwrap_or(why));
            }
        }
        self.mark(slot);
        // What comes again as the same trouble's is no second wave.
        let incident = self.alerts.get(slot).incident.filter(|_| !came_again);
        if let Some(number) = incident.filter(|&number| self.earlier_in(number, slot) == 1) {
            self.split_wave(number, slot);
        }
        opened
    }

    fn bind_alert(&mut self, slot: Slot) -> Given {
        let entry = self.alerts.get(slot);
        let bound = match self.settings.pipeline(entry.source) {
            Some(pipeline) => bind(&self.graph, pipeline, entry.labels.as_ref()),
            None => Bound::Not(Reason::new("no_pipeline", "no pipeline reads this source")),
        };
        match bound {
            Bound::To(ix, binding) => {
                self.alerts.get_mut(slot).ci = Some(ix);
                Given { binding: Some(binding), ..Given::default() }
            }
            Bound::Not(reason) => {
                self.alerts.get_mut(slot).ci = None;
                Given { unbound: Some(reason), ..Given::default() }
            }
        }
    }

    /// The incident that explains an alert best.
    fn candidate(&mut self, slot: Slot) -> Option<Candidate> {
        let entry = self.alerts.get(slot);
        let now = self.now();
        let Some(ci) = entry.ci else {
            let like = self.unbound.get(&self.unbound_key(entry)?)?;
            let live = like.iter().filter_map(|number| self.incidents.get(number)).filter(|live| live.takes_alerts());
            let live = live.max_by_key(|live| (live.row.last_fired_at, std::cmp::Reverse(live.row.id)))?;
            let number = live.row.id.number;
            let rules = &self.settings.correlation;
            let shared = crate::settings::unbound_key(entry.labels.as_ref(), &rules.unbound_by);
            let labels = shared.iter().map(|(name, value)| format!("{name}={value}")).collect();
            return correlate::weigh_labels(rules, number, labels, live.row.last_fired_at, now);
        };
        let rules = &self.settings.correlation;
        let (max_hops, limit) = (rules.max_hops, self.walk_limit());
        let when = self.when(entry.began_at);
        let at = when.at;
        let chance = self.chance(ci, entry.name(), entry.began_at);
        let suspects = self.suspects.of(&self.graph, ci, max_hops, limit);
        let shared = self.suspects.shared(&self.graph, &suspects, self.history.fellows(ci), max_hops, when);
        let candidates = shared.iter().filter_map(|shared| {
            let live = self.incidents.get(&shared.incident).filter(|live| live.takes_alerts())?;
            let firing = live.is_open() && live.cis.get(&ci).is_some_and(|&firing| firing > 0);
            let lasts = firing || live.cis.len() <= OWN && self.earlier_in(shared.incident, slot) > 0;
            correlate::weigh(rules.threshold, &self.graph, shared, (&live.row, lasts), at, chance)
        });
        correlate::best(candidates.collect())
    }

    /// How many alerts of this name a second a CI raises for a trouble of its own: as history says, and more where it, or
    /// what it is a replica of, was changed a moment ago.
    pub(crate) fn chance(&self, ci: CiIx, name: &str, began_at: Timestamp) -> f64 {
        let usual = self.history.chance(ci, self.settings.correlation.background) * self.history.alone(name);
        let wholes = self.graph.wholes_of(ci);
        let changed = wholes.chain([ci]).map(|ci| self.changes.times(ci, began_at));
        usual * changed.fold(1.0, f64::max)
    }

    /// How many alerts of this name a second come by chance on any one thing that the CMDB does not know.
    pub(crate) fn chance_unbound(&self, name: &str) -> f64 {
        self.history.mean(self.settings.correlation.background).1 * self.history.alone(name)
    }

    /// For an alert that began then; one that comes very late is taken to have come a little late.
    pub(crate) fn when(&self, began_at: Timestamp) -> When {
        let rules = &self.settings.correlation;
        let earliest = self.now() - LATE;
        let odds = rules.threshold.clamp(0.01, 0.99);
        let faint = self.history.least_chance(rules.background) * odds / (1.0 - odds);
        When { at: began_at.max(earliest), earliest, faint }
    }

    /// The hash of the label values by which an unbound alert finds its like; `None` when it has none of them.
    pub(crate) fn unbound_key(&self, entry: &Entry) -> Option<u64> {
        let labels = entry.labels.as_ref();
        let by = &self.settings.correlation.unbound_by;
        let values: Vec<Option<&str>> = by.iter().map(|name| labels.get(name)).collect();
        values.iter().any(Option::is_some).then(|| BuildHasherDefault::<DefaultHasher>::default().hash_one(values))
    }

    /// Another topology, or other rules, are in force: alerts in hand are bound again, and every look-up is made anew.
    pub(crate) fn rebind(&mut self) {
        self.suspects.clear();
        self.unbound.clear();
        self.marks = Marks::default();
        self.seen.clear();
        let mut slots: Vec<Slot> = self.alerts.slots().collect();
        slots.sort_by_key(|&slot| self.alerts.get(slot).id);
        for live in self.incidents.values_mut() {
            live.cis.clear();
            live.recent = Recent::default();
        }
        for slot in slots {
            let entry = self.alerts.get(slot);
            if entry.state == AlertState::Stale {
                continue;
            }
            let given = self.bind_alert(slot);
            self.read_rules(slot);
            self.touch_alert(slot, given);
            self.relink(slot);
            self.mark(slot);
        }
        for number in self.incidents.keys().copied().collect::<Vec<_>>() {
            if self.incidents[&number].is_open() {
                self.review_soon(number);
                self.touch_incident(number);
            }
        }
    }
}
