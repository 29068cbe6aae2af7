//! Suspects: which open incidents could share a cause with a new alert.
//!
//! Every CI an incident's alerts are bound to hangs on other CIs. Each of these is a suspect, and the incident stakes a
//! claim on it. A new alert looks only at its own suspects, so that the cost of a decision does not grow with the
//! number of incidents or alerts. Same CI, one depending on the other, and two that share a dependency are one case:
//! a shared suspect at different distances.
//!
//! Absent on purpose: time and thresholds; `correlate` weighs what this finds.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};

use quell_cmdb::{CiIx, Graph, Reach, Scratch};

/// How much of a suspicion is left after one more relationship. A cause one hop away is likelier than one two hops away.
const DECAY: f64 = 0.85;

/// Dependents at which a shared dependency begins to lose its power to join two alerts: that both hang on the core
/// switch says little.
const HUB: f64 = 16.0;

/// Dependents beyond which counting more of them changes nothing worth its cost.
const FAN_LIMIT: usize = 2048;

/// A suspect of one CI: how far, and how strongly the CI hangs on it, 0 to 1.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Suspect {
    pub(crate) ci: CiIx,
    pub(crate) hops: u32,
    pub(crate) strength: f64,
}

/// An incident's claim on a suspect: its member CI that hangs on it most strongly.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Claim {
    pub(crate) hops: u32,
    pub(crate) strength: f64,
    pub(crate) member: CiIx,
}

/// The best claim an incident has on one of a new alert's suspects.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Shared {
    pub(crate) incident: u64,
    pub(crate) suspect: CiIx,
    /// From the new alert's CI.
    pub(crate) hops: u32,
    pub(crate) claim: Claim,
    /// How many CIs hang on the suspect.
    pub(crate) fan_in: u32,
    /// 0 to 1.
    pub(crate) closeness: f64,
}

/// The claims on one suspect, by incident: of those that have an alert on it, and of those that hang on it.
#[derive(Debug, Default)]
struct Claims {
    own: BTreeMap<u64, Claim>,
    via: BTreeMap<u64, Claim>,
}

/// All claims, and what was measured of the graph on the way.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    claims: HashMap<CiIx, Claims, BuildHasherDefault<DefaultHasher>>,
    fan_in: HashMap<CiIx, u32, BuildHasherDefault<DefaultHasher>>,
    scratch: Scratch,
    reach: Vec<Reach>,
}

impl Suspects {
    /// The suspects of a CI, nearest first, itself at 0 hops.
    pub(crate) fn of(&mut self, graph: &Graph, ci: CiIx, max_hops: u32, limit: usize) -> Vec<Suspect> {
        graph.dependencies_in(&mut self.scratch, ci, max_hops, limit, &mut self.reach);
        let strength = |reach: &Reach| reach.weight * DECAY.powi(reach.hops.cast_signed());
        self.reach.iter().map(|reach| Suspect { ci: reach.ci, hops: reach.hops, strength: strength(reach) }).collect()
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

    /// An incident has an alert on `member`: it claims all of that CI's suspects.
    pub(crate) fn claim(&mut self, incident: u64, member: CiIx, suspects: &[Suspect]) {
        for suspect in suspects {
            let claim = Claim { hops: suspect.hops, strength: suspect.strength, member };
            let claims = self.claims.entry(suspect.ci).or_default();
            let claims = if suspect.hops == 0 { &mut claims.own } else { &mut claims.via };
            // The nearest member counts; of equals the one with the lowest id, whichever came first.
            claims
                .entry(incident)
                .and_modify(|kept| {
                    if (claim.strength, kept.member) > (kept.strength, claim.member) {
                        *kept = claim;
                    }
                })
                .or_insert(claim);
        }
    }

    /// Gives up all claims that an incident has on these suspects.
    pub(crate) fn release(&mut self, incident: u64, suspects: &[Suspect]) {
        for suspect in suspects {
            if let Some(claims) = self.claims.get_mut(&suspect.ci) {
                claims.own.remove(&incident);
                claims.via.remove(&incident);
                if claims.own.is_empty() && claims.via.is_empty() {
                    self.claims.remove(&suspect.ci);
                }
            }
        }
    }

    /// Forgets everything: another graph, or other rules, are in force.
    pub(crate) fn clear(&mut self) {
        self.claims.clear();
        self.fan_in.clear();
    }

    /// The incidents that share a suspect with a CI, each by its best one, by number. Claims that could not reach
    /// `threshold` are not looked at, so that a hub on which thousands of incidents hang costs nothing.
    pub(crate) fn shared(&mut self, graph: &Graph, suspects: &[Suspect], max_hops: u32, threshold: f64) -> Vec<Shared> {
        let mut best: BTreeMap<u64, Shared> = BTreeMap::new();
        for suspect in suspects {
            if !self.claims.contains_key(&suspect.ci) {
                continue;
            }
            let fan_in = self.fan_in(graph, suspect.ci, max_hops);
            let between = 1.0 / (1.0 + (1.0 + f64::from(fan_in) / HUB).ln());
            let discount = if suspect.hops > 0 { between } else { 1.0 };
            let Claims { own, via } = &self.claims[&suspect.ci];
            let reachable = suspect.strength * DECAY * discount >= threshold;
            let via = reachable.then_some(via).into_iter().flatten().map(|claim| (claim, discount));
            for ((&incident, &claim), discount) in own.iter().map(|claim| (claim, 1.0)).chain(via) {
                let closeness = suspect.strength * claim.strength * discount;
                let (hops, suspect) = (suspect.hops, suspect.ci);
                let shared = Shared { incident, suspect, hops, claim, fan_in, closeness };
                best.entry(incident).and_modify(|kept| *kept = better(*kept, shared)).or_insert(shared);
            }
        }
        best.into_values().collect()
    }
}

fn better(kept: Shared, other: Shared) -> Shared {
    if other.closeness > kept.closeness { other } else { kept }
}
