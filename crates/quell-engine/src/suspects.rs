//! Suspects: which open incidents could share a cause with a new alert, and how close.
//!
//! Every CI an incident's alerts are bound to hangs on other CIs. Each of these is a suspect, and the incident stakes a
//! claim on it. A new alert looks only at its own suspects, so that the cost of a decision does not grow with the
//! number of incidents or alerts. Same CI, one depending on the other, and two that share a dependency are one case:
//! a shared suspect at different distances. The last suspect of every CI is the part of the estate that it lies in: a
//! storm in a small part may have a cause that no relationship shows.
//!
//! Absent on purpose: time and thresholds; `correlate` weighs what this finds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use quell_cmdb::{CiIx, Cone, Graph, Kin, Parts, Reach, Scratch};
use quell_domain::Timestamp;

use crate::pulse::Pulse;

/// How strongly a replica hangs on what it is a replica of: they share what was deployed.
pub(crate) const WHOLE: f64 = 0.85;

/// How strongly CIs with names that begin alike hang on what they have in common, whatever it is.
pub(crate) const KIN: f64 = 0.5;

/// How strongly a CI hangs on its part of the estate.
const PART: f64 = 0.85;

/// What an alert counts for that has ended, beside one that fires: its sender says that all is well again, though not for
/// what hangs on its CI.
const ENDED: f64 = 0.05;

/// Dependents beyond which counting more of them changes nothing worth its cost.
const FAN_LIMIT: usize = 2048;

/// CIs that are counted of what hangs on one.
const CONE_LIMIT: usize = 16_384;

/// An incident is looked at through a shared dependency when at least one in so many of its dependents alert. Below
/// that the dependency cannot join anything to it, and a hub would have every incident looked at.
const LEAST_SHARE: f64 = 200.0;

/// Lists of suspects kept, by CI; more of them start afresh.
const LISTS: usize = 65_536;

/// What may be at fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Place {
    /// A CI.
    Ci(CiIx),
    /// Something that CIs with names that begin alike have in common; nothing claims it.
    Kin(u32),
    /// Something in this part of the estate.
    Part(u32),
    /// Whatever makes this CI and another alert together, as history shows; nothing claims it.
    Fellow(CiIx),
}

/// A suspect of one CI: how far, and how strongly the CI hangs on it, 0 to 1.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Suspect {
    pub(crate) place: Place,
    pub(crate) hops: u32,
    pub(crate) strength: f64,
}

/// An alert of an incident, as its claims count it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Beat {
    pub(crate) member: CiIx,
    /// When it began.
    pub(crate) at: Timestamp,
    /// It is the incident's first one on this CI.
    pub(crate) fresh: bool,
    /// It has not ended.
    pub(crate) fires: bool,
}

/// An incident's claim on a suspect: of its alerting CIs, the one that hangs on it most strongly, and how much all do.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Claim {
    pub(crate) hops: u32,
    pub(crate) strength: f64,
    pub(crate) member: CiIx,
    /// The sum of their strengths.
    mass: f64,
    /// Their alerts, each as strong.
    pulse: Pulse,
}

/// For when claims are weighed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct When {
    /// When the alert began.
    pub(crate) at: Timestamp,
    /// The earliest that any alert to come may be told to have begun.
    pub(crate) earliest: Timestamp,
    /// Alerts a second that are too few to matter for any alert, by what is known of chance.
    pub(crate) faint: f64,
}

/// The best claim an incident has on one of a new alert's suspects.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Shared {
    pub(crate) incident: u64,
    pub(crate) suspect: Place,
    /// From the new alert's CI.
    pub(crate) hops: u32,
    pub(crate) claim: Claim,
    /// How many CIs hang on the suspect.
    pub(crate) fan_in: u32,
    /// Alerts a second of the incident's trouble that are to be expected on the new alert's CI.
    pub(crate) expected: f64,
}

/// An incident's claims on one suspect: of its alerts on it, and of those that hang on it.
#[derive(Debug, Default)]
struct Both {
    own: Option<Claim>,
    via: Option<Claim>,
}

/// The claims on one suspect, by incident.
#[derive(Debug, Default)]
struct Claims {
    all: BTreeMap<u64, Both>,
    /// Those with an alert on the suspect itself.
    own: BTreeSet<u64>,
    /// Those that may still join something that hangs on it: heavy enough, and not faded. One that has faded is found
    /// when it is looked at, and wakes with its next alert.
    awake: BTreeSet<u64>,
}

/// What an incident's claims come to.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    /// Its alerting CIs.
    cis: f64,
    /// The greatest [`Weight::fit`] of its suspects.
    best: f64,
}

/// All claims, and what was measured of the graph on the way.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    claims: HashMap<Place, Claims, BuildHasherDefault<DefaultHasher>>,
    sums: HashMap<u64, Sum, BuildHasherDefault<DefaultHasher>>,
    fan_in: HashMap<CiIx, u32, BuildHasherDefault<DefaultHasher>>,
    cones: HashMap<CiIx, Arc<Cone>, BuildHasherDefault<DefaultHasher>>,
    lists: HashMap<CiIx, Arc<[Suspect]>, BuildHasherDefault<DefaultHasher>>,
    parts: Option<Parts>,
    kin: Option<Kin>,
    scratch: Scratch,
    reach: Vec<Reach>,
}

/// How well a suspect explains an incident.
struct Weight {
    own: f64,
    via: f64,
    fan_in: f64,
}

impl Weight {
    /// Alerting CIs explained × share of all its dependents that alert. An alert of its own is worth the root of its
    /// dependents: it says much, and of a hub less than most of its dependents would.
    fn fit(&self) -> f64 {
        let alerting = self.own * (self.fan_in + 1.0).sqrt() + self.via;
        (self.own + self.via) * (alerting / (self.fan_in + 1.0)).min(1.0)
    }
}

impl Suspects {
    /// The suspects of a CI, nearest first, itself at 0 hops.
    pub(crate) fn of(&mut self, graph: &Graph, ci: CiIx, max_hops: u32, limit: usize) -> Arc<[Suspect]> {
        if let Some(list) = self.lists.get(&ci) {
            return Arc::clone(list);
        }
        if self.lists.len() >= LISTS {
            self.lists.clear();
        }
        graph.dependencies_in(&mut self.scratch, ci, max_hops, limit, &mut self.reach);
        let suspect = |reach: &Reach| Suspect { place: Place::Ci(reach.ci), hops: reach.hops, strength: reach.weight };
        let mut wholes = graph.wholes_of(ci);
        let whole = wholes.next().filter(|_| wholes.next().is_none());
        let whole = whole.filter(|whole| self.reach.iter().all(|reach| reach.ci != *whole));
        let whole = whole.map(|ci| Suspect { place: Place::Ci(ci), hops: 1, strength: WHOLE });
        let part = self.parts.get_or_insert_with(|| Parts::new(graph)).of(ci);
        let part = part.map(|(part, _)| Suspect { place: Place::Part(part), hops: max_hops + 1, strength: PART });
        let list: Arc<[Suspect]> = self.reach.iter().map(suspect).chain(whole).chain(part).collect();
        self.lists.insert(ci, Arc::clone(&list));
        list
    }

    /// How many CIs hang on a suspect within `max_hops`.
    pub(crate) fn fan_in(&mut self, graph: &Graph, ci: CiIx, max_hops: u32) -> u32 {
        if let Some(&known) = self.fan_in.get(&ci) {
            return known;
        }
        let counted = graph.fan_in(&mut self.scratch, ci, max_hops, FAN_LIMIT);
        let counted = u32::try_from(counted).unwrap_or(u32::MAX);
        self.fan_in.insert(ci, counted);
        counted
    }

    /// What hangs on a CI, and what it consists of.
    pub(crate) fn cone(&mut self, graph: &Graph, ci: CiIx, max_hops: u32) -> Arc<Cone> {
        if let Some(cone) = self.cones.get(&ci) {
            return Arc::clone(cone);
        }
        if self.cones.len() >= LISTS {
            self.cones.clear();
        }
        let mut cone = graph.cone(&mut self.scratch, ci, max_hops, CONE_LIMIT);
        let parts = graph.alternatives_of(ci).filter(|(part, _)| graph.wholes_of(*part).count() == 1).count();
        cone.mass += WHOLE * f64::from(u32::try_from(parts).unwrap_or(u32::MAX));
        let cone = Arc::new(cone);
        self.cones.insert(ci, Arc::clone(&cone));
        cone
    }

    /// The sum over all that hangs on a place of how strongly it does.
    pub(crate) fn mass(&mut self, graph: &Graph, place: Place, max_hops: u32) -> f64 {
        match place {
            Place::Ci(ci) => self.cone(graph, ci, max_hops).mass,
            Place::Part(_) => PART * (f64::from(self.fan(graph, place, max_hops)) + 1.0),
            Place::Kin(_) | Place::Fellow(_) => f64::from(self.fan(graph, place, max_hops)).max(1.0),
        }
    }

    /// The group of CIs whose names begin like this one.
    pub(crate) fn kin(&mut self, graph: &Graph) -> &Kin {
        self.kin.get_or_insert_with(|| Kin::new(graph))
    }

    /// The last incidents with a claim on a place, at most `limit` of them.
    pub(crate) fn claimants(&self, place: Place, limit: usize) -> impl Iterator<Item = u64> {
        self.claims.get(&place).into_iter().flat_map(move |claims| claims.all.keys().rev().take(limit).copied())
    }

    /// How many CIs beside one hang on a place.
    pub(crate) fn fan(&mut self, graph: &Graph, place: Place, max_hops: u32) -> u32 {
        match place {
            Place::Ci(ci) => self.fan_in(graph, ci, max_hops),
            Place::Fellow(_) => 0,
            Place::Kin(group) => u32::try_from(self.kin(graph).members(group).len()).unwrap_or(u32::MAX),
            Place::Part(part) => self.parts.get_or_insert_with(|| Parts::new(graph)).size(part).saturating_sub(1),
        }
    }

    /// An incident has one more alert: it claims all suspects of its CI.
    pub(crate) fn claim(&mut self, graph: &Graph, incident: u64, beat: Beat, suspects: &[Suspect], max_hops: u32) {
        let Beat { member, at, fresh, fires } = beat;
        let mut best: f64 = 0.0;
        for suspect in suspects {
            let Suspect { place, hops, strength } = *suspect;
            let fan_in = f64::from(self.fan(graph, place, max_hops));
            let Claims { all, own, awake } = self.claims.entry(place).or_default();
            let both = all.entry(incident).or_default();
            let none = || Claim { hops, strength, member, mass: 0.0, pulse: Pulse::new(at) };
            let claim = if hops == 0 { &mut both.own } else { &mut both.via }.get_or_insert_with(none);
            claim.pulse.beat(at, if fires { strength } else { strength * ENDED });
            claim.mass += if fresh { strength } else { 0.0 };
            if hops == 0 {
                own.insert(incident);
            }
            if hops == 0 || claim.mass * LEAST_SHARE >= fan_in {
                awake.insert(incident);
            }
            if !fresh {
                continue;
            }
            // The nearest member counts; of equals the one with the lowest id, whichever came first.
            if (strength, claim.member) > (claim.strength, member) {
                (claim.hops, claim.strength, claim.member) = (hops, strength, member);
            }
            best = best.max(both.weight(fan_in).fit());
        }
        let sum = self.sums.entry(incident).or_default();
        sum.cis += f64::from(u8::from(fresh));
        sum.best = sum.best.max(best);
    }

    /// An alert of an incident ended, or fires again.
    pub(crate) fn turn(&mut self, incident: u64, beat: Beat, suspects: &[Suspect]) {
        for suspect in suspects {
            let Some(claims) = self.claims.get_mut(&suspect.place) else { continue };
            let both = claims.all.get_mut(&incident);
            let claim = both.and_then(|both| if suspect.hops == 0 { both.own.as_mut() } else { both.via.as_mut() });
            if let Some(claim) = claim {
                let weight = suspect.strength * (1.0 - ENDED);
                claim.pulse.beat(beat.at, if beat.fires { weight } else { -weight });
            }
        }
    }

    /// Gives up all claims that an incident has through these of its CIs.
    pub(crate) fn release(&mut self, incident: u64, suspects: &[Suspect]) {
        self.sums.remove(&incident);
        for suspect in suspects {
            if let Some(claims) = self.claims.get_mut(&suspect.place) {
                claims.all.remove(&incident);
                claims.own.remove(&incident);
                claims.awake.remove(&incident);
                if claims.all.is_empty() {
                    self.claims.remove(&suspect.place);
                }
            }
        }
    }

    /// The incidents that suspect a CI, by number.
    pub(crate) fn claimed_by(&self, ci: CiIx) -> Vec<u64> {
        self.claims.get(&Place::Ci(ci)).map(|claims| claims.all.keys().copied().collect()).unwrap_or_default()
    }

    /// Forgets everything: another graph, or other rules, are in force.
    pub(crate) fn clear(&mut self) {
        self.claims.clear();
        self.sums.clear();
        self.fan_in.clear();
        self.cones.clear();
        self.lists.clear();
        self.parts = None;
        self.kin = None;
    }

    /// Has every claim looked at again: what was too faint for the chance that was known may not be any more.
    pub(crate) fn wake(&mut self, graph: &Graph, max_hops: u32) {
        let places: Vec<Place> = self.claims.keys().copied().collect();
        for place in places {
            let fan_in = f64::from(self.fan(graph, place, max_hops));
            let Some(Claims { all, own: _, awake }) = self.claims.get_mut(&place) else { continue };
            let heavy = |both: &Both| {
                both.own.is_some() || both.via.as_ref().is_some_and(|via| via.mass * LEAST_SHARE >= fan_in)
            };
            awake.extend(all.iter().filter(|(_, both)| heavy(both)).map(|(incident, _)| incident));
        }
    }

    /// The incidents that share a suspect with a CI, each by its best one, by number.
    pub(crate) fn shared(
        &mut self,
        graph: &Graph,
        suspects: &[Suspect],
        fellows: &[(CiIx, f64)],
        max_hops: u32,
        when: When,
    ) -> Vec<Shared> {
        let When { at, earliest, faint } = when;
        let mut faded = Vec::new();
        let mut best: BTreeMap<u64, Shared> = BTreeMap::new();
        for suspect in suspects {
            if !self.claims.contains_key(&suspect.place) {
                continue;
            }
            let fan_in = self.fan(graph, suspect.place, max_hops);
            let Some(Claims { all, own, awake }) = self.claims.get_mut(&suspect.place) else { continue };
            // What the CI has itself is looked at however faint: it lasts.
            let here = own.iter().filter(|incident| suspect.hops == 0 && !awake.contains(incident));
            for &incident in awake.iter().chain(here) {
                let Some(both) = all.get(&incident) else { continue };
                let Some(claim) = both.own.or(both.via) else { continue };
                let rates = both.rates(at, suspect.hops);
                let root = (f64::from(fan_in) + 1.0).sqrt();
                if (rates.0 + rates.1) / root < faint {
                    // It has faded when it has for what hangs on the suspect.
                    let (own, via) = both.rates(earliest, 1);
                    if (own + via) / root < faint {
                        faded.push(incident);
                    }
                    if suspect.hops > 0 {
                        continue;
                    }
                }
                let others = f64::from(fan_in) + 1.0;
                if suspect.hops > 0 && (rates.0 / root + rates.1 / others) * suspect.strength < faint {
                    continue;
                }
                let sum = self.sums.get(&incident).copied().unwrap_or_default();
                let expected = expected(suspect, rates, &both.weight(f64::from(fan_in)), sum);
                let (hops, suspect) = (suspect.hops, suspect.place);
                let shared = Shared { incident, suspect, hops, claim, fan_in, expected };
                best.entry(incident).and_modify(|kept| *kept = better(*kept, shared)).or_insert(shared);
            }
            for incident in faded.drain(..) {
                awake.remove(&incident);
            }
        }
        for &(fellow, share) in fellows {
            let Some(Claims { all, own, awake: _ }) = self.claims.get(&Place::Ci(fellow)) else { continue };
            for &incident in own {
                let Some(claim) = all.get(&incident).and_then(|both| both.own) else { continue };
                let expected = claim.pulse.rate(at) * share;
                let suspect = Place::Fellow(fellow);
                let shared = Shared { incident, suspect, hops: max_hops, claim, fan_in: 1, expected };
                best.entry(incident).and_modify(|kept| *kept = better(*kept, shared)).or_insert(shared);
            }
        }
        best.into_values().collect()
    }
}

impl Both {
    fn weight(&self, fan_in: f64) -> Weight {
        let mass = |claim: &Option<Claim>| claim.as_ref().map_or(0.0, |claim| claim.mass);
        Weight { own: mass(&self.own), via: mass(&self.via), fan_in }
    }

    /// Alerts a second to be expected, by so many hops from the suspect, of its own ones, and of those that hang on it.
    /// What hangs on a CI that was hit may yet alert although that has ended: its last alert counts as if it fired.
    fn rates(&self, at: Timestamp, hops: u32) -> (f64, f64) {
        let rate = |claim: &Option<Claim>| claim.as_ref().map_or(0.0, |claim| claim.pulse.rate(at));
        let hit = self.own.as_ref().filter(|_| hops > 0).map_or(0.0, |own| own.pulse.rate_of_last(at));
        (rate(&self.own).max(hit), rate(&self.via))
    }
}

/// Alerts a second to be expected on a CI with this suspect: the alerts of the suspect itself and of those that hang on
/// it, shared among all that do, and fewer where another suspect explains the incident better. The last counts the
/// more, the more CIs alert: of one alert any suspect may be the cause. One CI's own alerts are shared with nobody.
fn expected(suspect: &Suspect, (own, via): (f64, f64), weight: &Weight, sum: Sum) -> f64 {
    let others = weight.fan_in + 1.0;
    let power = 1.0 - 1.0 / sum.cis.max(1.0);
    let plausible = if sum.best > 0.0 { (weight.fit() / sum.best).min(1.0).powf(power) } else { 1.0 };
    if let Place::Part(_) = suspect.place {
        // Two alerts in one part are no storm yet: what no relationship shows takes several to be believed.
        // Only a storm over much of it speaks for the whole.
        let covered = (weight.via / others).min(1.0);
        via / others * plausible * power * suspect.strength * covered
    } else if suspect.hops == 0 {
        own.max(via / others.sqrt() * plausible)
    } else {
        (own / others.sqrt() + via / others) * plausible * suspect.strength
    }
}

fn better(kept: Shared, other: Shared) -> Shared {
    if other.expected > kept.expected { other } else { kept }
}
