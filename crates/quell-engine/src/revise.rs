//! Revision: alerts that came one by one are looked at again together.
//!
//! On arrival an alert is put where it fits best by what is known then. When an incident has grown by a good part, its
//! alerts and those of the incidents around it are explained anew by `partition`: what one trouble explains is put into
//! one incident, what two explain is split, and an alert goes where it belongs better. Every move is a recorded revision
//! with its reason; splits and merges can be taken back. What people put together or apart, and what rules did, stays
//! as it is.
//!
//! Absent on purpose: what explains best (`partition`), and the moving itself (`moving`).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use quell_cmdb::CiIx;
use quell_domain::{AlertId, CiId, Fingerprint, Reason};

use crate::alerts::Slot;
use crate::engine::Engine;
use crate::moving::By;
use crate::part::Part;
use crate::partition::{Found, Sight, Spot, Tie, partition};
use crate::strikes::{LOOK, Strikes, Voice};
use crate::suspects::{KIN, Place, Suspect, WHOLE};

/// CIs of an incident whose surroundings are looked at: fewer explain nothing but themselves.
const LEAST: u32 = 3;

/// An incident without a new alert for so long has come to rest.
const REST: Duration = Duration::from_secs(60);

/// One in so many CIs around an incident must be new since they were looked at together. So what a look costs, which
/// grows with what is looked at, is shared by as many new alerts. One that has come to rest needs less: to have grown.
const GROWTH: u64 = 4;

/// CIs of an incident that stands alone: one of fewer is hardly told from what is left of another.
const ALONE: RangeInclusive<usize> = 3..=8;

/// How much likelier than chance a trouble must make an alert of such an incident, as a logarithm: seven times.
const SURE: f64 = 2.0;

/// Alerts that become an incident of their own at least; fewer stay with what they came with.
const SPLIT: usize = 3;

/// Places behind an incident through which others are found.
const PLACES: usize = 16;

/// Incidents looked at together.
const INCIDENTS: usize = 48;

/// Incidents found through one place: the latest.
const CLAIMANTS: usize = 24;

/// Alerts looked at together: the latest.
const ALERTS: usize = 1024;

/// Labels whose words are looked at.
const WORDS: usize = 16;

/// The latest incidents that may hold alerts without a known tie.
const LATEST: usize = 128;

/// How far back they may have begun, and the alerts that are looked at: troubles last.
const BACK: Duration = Duration::from_secs(3600);

/// The share of the troubles that strike a place which come from itself.
const OWN: f64 = 0.2;

/// How much rarer they come over one more relationship.
const HOP: f64 = 0.5;

/// Alerts of one name on one CI in one incident: they go together.
struct Unit {
    incident: u64,
    slots: Vec<Slot>,
}

/// What an alert is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Ci(CiIx),
    /// Nobody knows; only the same alert is about the same.
    Unbound(Fingerprint),
}

/// Numbers for places, in the order in which they are met.
#[derive(Default)]
struct Places {
    of: BTreeMap<Place, u32>,
    all: Vec<Place>,
}

impl Places {
    fn number(&mut self, place: Place) -> u32 {
        let next = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        *self.of.entry(place).or_insert_with(|| {
            self.all.push(place);
            next
        })
    }
}

impl Engine {
    /// Looks again at an incident and what is around it, if both have grown by a good part since they were last looked
    /// at. What grows on while there is little new around it is looked at when it has come to rest.
    pub(crate) fn revise(&mut self, number: u64) {
        if !self.has(Part::Together) || !self.revisable(number) || !self.grown(number) {
            return;
        }
        let around = self.around(number);
        let (mut all, mut new) = (0, 0);
        for other in &around {
            let live = &self.incidents[other];
            all += u64::from(live.size());
            new += u64::from(live.size().saturating_sub(live.row.looked_at));
        }
        let now = self.now();
        let at_rest = now.since(self.live(number).row.last_fired_at) >= REST;
        if !at_rest && new * GROWTH < all {
            self.review_after(number, REST);
            return;
        }
        for &other in &around {
            self.looked_at(other);
        }
        let units = self.units(&around);
        let (sights, mut places) = self.sights(&units);
        let count = places.all.len();
        let mut strikes = self.strikes(&units, &sights, &places);
        if at_rest {
            strikes.all_seen();
        }
        let cis = sights.iter().map(|sight| sight.ci as usize + 1).max().unwrap_or(0);
        let way = self.has(Part::Way) && !strikes.crowded(cis);
        let spots = way.then(|| self.spots(&units, &sights, &places));
        let found = partition(&sights, count, spots.as_deref(), &strikes, &mut |place| self.above(&mut places, place));
        self.act_on(&units, &places, &found);
    }

    /// True when an incident has grown by a good part since it was last looked at.
    fn grown(&self, number: u64) -> bool {
        let live = &self.incidents[&number];
        live.size() >= LEAST && u64::from(live.size()) * 10 >= u64::from(live.row.looked_at) * 11
    }

    fn looked_at(&mut self, number: u64) {
        let live = self.live(number);
        if live.row.looked_at != live.size() {
            live.row.looked_at = live.size();
            self.touch_incident(number);
        }
    }

    /// True when quell may move alerts to and from an incident by itself.
    fn revisable(&self, number: u64) -> bool {
        self.incidents.get(&number).is_some_and(|live| {
            live.takes_alerts() && !live.row.held_apart && live.row.acts.iter().all(|act| act.command.is_none())
        })
    }

    /// The incident, and those that hang on the same places.
    fn around(&mut self, number: u64) -> BTreeSet<u64> {
        let (max_hops, limit) = (self.settings.correlation.max_hops, self.walk_limit());
        let mut counts: BTreeMap<Place, f64> = BTreeMap::new();
        for ci in self.incidents[&number].cis.keys().take(ALERTS).copied().collect::<Vec<_>>() {
            for suspect in self.suspects.of(&self.graph, ci, max_hops, limit).iter() {
                *counts.entry(suspect.place).or_default() += suspect.strength;
            }
        }
        let mut weighed: Vec<(f64, Place)> = Vec::with_capacity(counts.len());
        for (place, count) in counts {
            let mass = self.suspects.mass(&self.graph, place, max_hops);
            weighed.push((count * (count / mass).min(1.0), place));
        }
        weighed.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut around = BTreeSet::from([number]);
        for (_, place) in weighed.into_iter().take(PLACES) {
            for other in self.suspects.claimants(place, CLAIMANTS) {
                if around.len() < INCIDENTS && self.revisable(other) {
                    around.insert(other);
                }
            }
        }
        // What the CMDB does not know is found by time alone.
        let oldest = self.incidents[&number].row.opened_at - BACK;
        let latest: Vec<u64> = self
            .incidents
            .iter()
            .rev()
            .take(LATEST)
            .filter(|(_, live)| {
                live.row.opened_at >= oldest
                    && (live.cis.is_empty() || self.history.unknown() > 0.0 && live.cis.len() < 2)
            })
            .map(|(&number, _)| number)
            .collect();
        around.extend(latest.into_iter().filter(|&other| self.revisable(other)));
        around
    }

    /// The alerts of these incidents, in the order in which they began.
    fn units(&self, incidents: &BTreeSet<u64>) -> Vec<Unit> {
        let members = incidents
            .iter()
            .filter_map(|number| self.incidents.get(number))
            .flat_map(|live| live.members.values().map(|&slot| (live.row.id.number, slot)));
        let mut all: Vec<(u64, Slot)> = members
            .filter(|&(_, slot)| {
                let entry = self.alerts.get(slot);
                !entry.matched.apart && entry.matched.correlate.is_none()
            })
            .collect();
        all.sort_by_key(|&(_, slot)| {
            let entry = self.alerts.get(slot);
            (entry.began_at, entry.id)
        });
        let Some(newest) = all.last().map(|&(_, slot)| self.alerts.get(slot).began_at) else { return Vec::new() };
        let mut units: Vec<Unit> = Vec::new();
        let mut known: BTreeMap<(u64, CiIx, &str), usize> = BTreeMap::new();
        for (incident, slot) in all {
            let entry = self.alerts.get(slot);
            if newest.since(entry.began_at) > BACK {
                continue;
            }
            // Nobody knows whether two alerts without a CI are about one thing.
            let next = units.len();
            let at = entry.ci.map_or(next, |ci| *known.entry((incident, ci, entry.name())).or_insert(next));
            if at == next {
                units.push(Unit { incident, slots: Vec::new() });
            }
            units[at].slots.push(slot);
        }
        units.drain(..units.len().saturating_sub(ALERTS));
        units
    }

    fn sights(&mut self, units: &[Unit]) -> (Vec<Sight>, Places) {
        let (max_hops, limit) = (self.settings.correlation.max_hops, self.walk_limit());
        let background = self.settings.correlation.background;
        let mut shared: BTreeMap<Place, u32> = BTreeMap::new();
        let cis: Vec<Option<CiIx>> = units.iter().map(|unit| self.alerts.get(unit.slots[0]).ci).collect();
        let unknown = self.history.unknown();
        for ci in cis.iter().flatten().copied() {
            for suspect in self.suspects.of(&self.graph, ci, max_hops, limit).iter() {
                *shared.entry(suspect.place).or_default() += 1;
            }
        }
        let first = units.first().map(|unit| self.alerts.get(unit.slots[0]).began_at).unwrap_or_default();
        let mut places = Places::default();
        let mut numbers: BTreeMap<Thing, u32> = BTreeMap::new();
        let mut kinds: BTreeMap<(Thing, String), u32> = BTreeMap::new();
        let mut sights = Vec::with_capacity(units.len());
        for (unit, &ci) in units.iter().zip(&cis) {
            let mut behind = Vec::new();
            let suspects = match ci {
                Some(ci) => self.suspects.of(&self.graph, ci, max_hops, limit),
                None => self.words(unit.slots[0]).into(),
            };
            for suspect in suspects.iter() {
                let place = suspect.place;
                if shared.get(&place).is_some_and(|&count| count > 1) || ci.is_none() {
                    let mass = self.suspects.mass(&self.graph, place, max_hops);
                    let Suspect { hops, strength, .. } = *suspect;
                    behind.push(Tie { place: places.number(place), share: (strength / mass).ln(), hops, strength });
                }
            }
            let entry = self.alerts.get(unit.slots[0]);
            let chance = match ci {
                Some(ci) => self.history.chance(ci, background) * self.history.alone(entry.name()),
                None => self.chance_unbound(entry.name()),
            };
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            let kind = u32::try_from(kinds.len()).unwrap_or(u32::MAX);
            let all = f64::from(u32::try_from(self.graph.len()).unwrap_or(u32::MAX)).max(1.0);
            // What the CMDB does not know may hang on anything; of what it knows a tie may be missing as often.
            let stray = if ci.is_none() { 1.0 } else { unknown } / all;
            let key = match ci {
                Some(ci) => Thing::Ci(ci),
                None => Thing::Unbound(entry.fingerprint),
            };
            sights.push(Sight {
                at: entry.began_at.since(first).as_secs_f64(),
                ci: *numbers.entry(key).or_insert(next),
                kind: *kinds.entry((key, entry.name().to_owned())).or_insert(kind),
                chance: chance.ln(),
                stray: stray.ln(),
                places: behind,
            });
        }
        (sights, places)
    }

    /// What each place is on the way that failures take.
    fn spots(&mut self, units: &[Unit], sights: &[Sight], places: &Places) -> Vec<Spot> {
        let (max_hops, limit) = (self.settings.correlation.max_hops, self.walk_limit());
        let alert = units.iter().zip(sights).filter_map(|(u, sight)| Some((self.alerts.get(u.slots[0]).ci?, sight.ci)));
        let alert: BTreeMap<CiIx, u32> = alert.collect();
        let spot = |place: &Place| {
            let Place::Ci(ci) = *place else { return Spot::None };
            if let Some(&number) = alert.get(&ci) {
                return Spot::Alerts(number);
            }
            let cone = self.suspects.cone(&self.graph, ci, max_hops);
            let suspects = self.suspects.of(&self.graph, ci, max_hops, limit);
            let tie = |&Suspect { place, hops, strength }: &Suspect| {
                Some(Tie { place: *places.of.get(&place)?, share: 0.0, hops, strength })
            };
            let on = suspects.iter().filter_map(tie).collect();
            Spot::Silent { direct: f64::from(cone.at.get(1).copied().unwrap_or(0)), on }
        };
        places.all.iter().map(spot).collect()
    }

    /// What is known of each place beforehand: whether its CI alerts, and what changes say of it whenever an alert that
    /// it may be behind began.
    fn strikes(&self, units: &[Unit], sights: &[Sight], places: &Places) -> Strikes {
        let speak: BTreeSet<CiIx> = units.iter().filter_map(|unit| self.alerts.get(unit.slots[0]).ci).collect();
        let rate = if self.has(Part::Rate) { self.history.struck(LOOK) } else { 0.0 };
        let mut strikes = Strikes::new(rate, self.graph.len());
        let mut changed: BTreeMap<u32, CiIx> = BTreeMap::new();
        for (number, place) in (0..).zip(&places.all) {
            strikes.push(match *place {
                Place::Ci(ci) if speak.contains(&ci) || !self.has(Part::Silence) => Voice::Speaks,
                Place::Ci(ci) if self.history.heard(&self.graph, ci) => Voice::Silent,
                Place::Ci(_) => Voice::Unheard,
                Place::Kin(_) | Place::Part(_) | Place::Fellow(_) => Voice::Speaks,
            });
            if let Place::Ci(ci) = *place
                && self.changes.any_of(ci)
            {
                changed.insert(number, ci);
            }
        }
        for (unit, sight) in units.iter().zip(sights) {
            let began_at = self.alerts.get(unit.slots[0]).began_at;
            for Tie { place, .. } in &sight.places {
                if let Some(&ci) = changed.get(place) {
                    strikes.change(*place, sight.at, self.changes.times(ci, began_at));
                }
            }
        }
        strikes
    }

    /// What an alert without a CI may hang on, by the words of its labels: what it would be a replica of, and whatever
    /// those have in common that are named alike.
    fn words(&mut self, slot: Slot) -> Vec<Suspect> {
        let mut found: Vec<Suspect> = Vec::new();
        let labels = self.alerts.get(slot).labels.clone();
        for (name, value) in labels.as_ref().iter().take(WORDS) {
            if name == "alertname" || name == "severity" {
                continue;
            }
            let host = value.split(['.', ':']).next().unwrap_or_default();
            let word = if host.bytes().all(|byte| byte.is_ascii_digit()) { value } else { host };
            let Some(stem) = quell_cmdb::stem(word) else { continue };
            let whole = self.graph.find(&CiId::new(stem)).map(Place::Ci);
            found.extend(whole.map(|place| Suspect { place, hops: 1, strength: WHOLE }));
            let kin = self.suspects.kin(&self.graph);
            let members = kin.of_name(word).map(|group| kin.members(group)).unwrap_or_default();
            let members: Vec<CiIx> = members.iter().take(WORDS).copied().collect();
            found.extend(self.common(&members));
        }
        found.sort_by(|a, b| a.place.cmp(&b.place).then(b.strength.total_cmp(&a.strength)));
        found.dedup_by_key(|suspect| suspect.place);
        found
    }

    /// What most of these CIs hang on: one more of their kind hangs on it as well, as far as that goes.
    fn common(&mut self, members: &[CiIx]) -> Vec<Suspect> {
        let (max_hops, limit) = (self.settings.correlation.max_hops, self.walk_limit());
        let mut found: BTreeMap<Place, (u32, Suspect)> = BTreeMap::new();
        for &member in members {
            for suspect in self.suspects.of(&self.graph, member, max_hops, limit).iter().filter(|s| s.hops > 0) {
                found.entry(suspect.place).or_insert((0, *suspect)).0 += 1;
            }
        }
        let all = u32::try_from(members.len()).unwrap_or(u32::MAX);
        let most = found.into_values().filter(|(count, _)| count * 2 > all);
        most.map(|(count, suspect)| Suspect {
            strength: suspect.strength * KIN * f64::from(count) / f64::from(all),
            ..suspect
        })
        .collect()
    }

    /// What a place hangs on, with the share of the troubles there that strike here. What CIs of like names have in
    /// common is among it.
    fn above(&mut self, places: &mut Places, place: u32) -> Vec<(u32, f64)> {
        let (max_hops, limit) = (self.settings.correlation.max_hops, self.walk_limit());
        let share = |hops: u32, count: u32| match hops {
            0 => OWN.ln(),
            hops => ((1.0 - OWN) * HOP.powi(hops.cast_signed()) / f64::from(count.max(1))).ln(),
        };
        let Place::Ci(own) = places.all[place as usize] else { return vec![(place, share(0, 1))] };
        let mut above = Vec::new();
        for suspect in self.suspects.of(&self.graph, own, max_hops, limit).iter() {
            let Place::Ci(ci) = suspect.place else { continue };
            let Some(&number) = places.of.get(&suspect.place) else { continue };
            let cone = self.suspects.cone(&self.graph, ci, max_hops);
            above.push((number, share(suspect.hops, cone.at.get(suspect.hops as usize).copied().unwrap_or(1))));
        }
        let kin = self.suspects.kin(&self.graph);
        if let Some(group) = kin.of(own) {
            let count = u32::try_from(kin.members(group).len()).unwrap_or(u32::MAX);
            above.push((places.number(Place::Kin(group)), share(1, count)));
        }
        above
    }

    /// Puts what one trouble explains into one incident: the one that holds most of it, or a new one.
    fn act_on(&mut self, units: &[Unit], places: &Places, found: &Found) {
        let mut groups: BTreeMap<u32, (u32, Vec<usize>)> = BTreeMap::new();
        for (at, of) in found.of.iter().enumerate() {
            // What stands alone stays so unless chance is all but out of the question; what the CMDB does not know has
            // no other way.
            let bound = self.alerts.get(units[at].slots[0]).ci.is_some();
            let alone =
                bound && self.incidents.get(&units[at].incident).is_none_or(|live| ALONE.contains(&live.cis.len()));
            let sure = !alone || found.surer[at] >= SURE;
            if let Some(of) = of.filter(|_| sure) {
                let (head, place) = found.heads[of as usize];
                groups.entry(head).or_insert((place, Vec::new())).1.push(at);
            }
        }
        let mut held: BTreeMap<(u32, u64), usize> = BTreeMap::new();
        for (&group, (_, members)) in &groups {
            for &at in members {
                *held.entry((group, units[at].incident)).or_default() += 1;
            }
        }
        let mut order: Vec<(usize, u64, u32)> = held.iter().map(|(&(group, i), &count)| (count, i, group)).collect();
        order.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        let (mut home, mut taken) = (BTreeMap::new(), BTreeSet::new());
        for (_, incident, group) in order {
            if !home.contains_key(&group) && taken.insert(incident) {
                home.insert(group, incident);
            }
        }
        for (group, (place, members)) in &groups {
            let place = match places.all[*place as usize] {
                Place::Ci(ci) | Place::Fellow(ci) => self.graph.ci(ci).id.to_string(),
                Place::Kin(group) => format!("what {}… have in common", self.suspects.kin(&self.graph).stem(group)),
                // No place explains it: then arrival is the better guide.
                Place::Part(_) => continue,
            };
            self.gather(units, members, home.get(group).copied(), &place);
        }
    }

    fn gather(&mut self, units: &[Unit], members: &[usize], home: Option<u64>, place: &str) {
        let mut leaving: BTreeMap<u64, Vec<Slot>> = BTreeMap::new();
        for &at in members {
            if Some(units[at].incident) != home {
                leaving.entry(units[at].incident).or_default().extend(&units[at].slots);
            }
        }
        let by = By::quell(self.now());
        let reason = Reason::new("one_trouble", "{place} explains it together with what is there").text("place", place);
        let mut home = home;
        for (from, slots) in leaving {
            let ids: Vec<AlertId> = slots.iter().map(|&slot| self.alerts.get(slot).id).collect();
            let all = self.incidents.get(&from).map_or(0, |live| live.members.len()) == ids.len();
            match home {
                Some(to) if all => _ = self.merge(by, to, from, &reason),
                Some(to) => self.shift(by, from, to, &slots, &reason),
                None if slots.len() < SPLIT => {}
                None => {
                    let apart = Reason::new("two_troubles", "{place} explains it, and not what it was with")
                        .text("place", place);
                    home = self.split(by, from, &ids, &apart);
                }
            }
        }
    }

    /// Moves some alerts from one incident to another, and says so on both timelines.
    fn shift(&mut self, by: By<'_>, from: u64, to: u64, slots: &[Slot], reason: &Reason) {
        let (from_id, to_id) = (self.live(from).row.id.to_string(), self.live(to).row.id.to_string());
        let was_open = self.live(from).is_open();
        self.move_alerts(slots, to, reason);
        let said = |template, other: &str| {
            Reason::new("moved", template)
                .text("incident", other)
                .count("alerts", slots.len() as u64)
                .text("why", reason.to_string())
        };
        self.settle(by, to, was_open, said("{alerts} alerts came from {incident}: {why}", &from_id));
        self.settle(by, from, false, said("{alerts} alerts went to {incident}: {why}", &to_id));
    }
}
