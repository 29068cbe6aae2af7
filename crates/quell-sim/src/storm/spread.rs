//! How a fault spreads over the graph: the ground truth of a storm.
//!
//! Deliberately absent: quell's own blast radius. The truth is computed apart from the judge, by other rules: hard
//! failures go along `runs_on` and `connected_to`, degradation along `depends_on`, and fades.

use std::collections::{BTreeMap, VecDeque};

use quell_domain::{CiId, Relationship, Topology};

use super::catalogue::Level;
use crate::rng::Rng;

/// Hops over which degradation is still felt.
const FADE: u32 = 3;

/// The dependents of each CI, with the relationship they depend by.
pub(crate) fn dependents(topology: &Topology) -> BTreeMap<&CiId, Vec<&Relationship>> {
    let mut of: BTreeMap<&CiId, Vec<&Relationship>> = BTreeMap::new();
    for relationship in topology.relationships() {
        of.entry(&relationship.to).or_default().push(relationship);
    }
    of
}

/// A CI hit by a fault: how badly, and how many seconds after it began.
pub(crate) struct Hit {
    pub(crate) ci: CiId,
    pub(crate) level: Level,
    pub(crate) after: f64,
}

/// What a fault does to the dependents of its root, the root itself first, at the level given.
pub(crate) fn spread(topology: &Topology, root: &CiId, level: Level, rng: &mut Rng) -> Vec<Hit> {
    let of = dependents(topology);
    let mut hits: BTreeMap<CiId, (Level, f64)> = BTreeMap::from([(root.clone(), (level, 0.0))]);
    let mut order = vec![root.clone()];
    let mut queue = VecDeque::from([(root.clone(), 0u32)]);
    while let Some((ci, hops)) = queue.pop_front() {
        let (level, after) = hits[&ci];
        for relationship in of.get(&ci).into_iter().flatten() {
            let from = &relationship.from;
            let Some(next) = consequence(topology, relationship, level, &hits) else { continue };
            let hard = next == Level::Down;
            if !hard && (hops >= FADE || (hops > 0 && !rng.chance(0.95))) {
                continue;
            }
            let delay = if hard { rng.range(0.0, 2.0) } else { rng.range(4.0, 15.0) };
            match hits.get_mut(from) {
                Some((known, _)) if *known >= next => continue,
                Some((known, _)) => *known = next,
                None => {
                    hits.insert(from.clone(), (next, after + delay));
                    order.push(from.clone());
                }
            }
            if next != Level::Reduced {
                queue.push_back((from.clone(), if hard { 0 } else { hops + 1 }));
            }
        }
    }
    let hit = |ci: CiId| {
        let (level, after) = hits[&ci];
        Hit { ci, level, after }
    };
    order.into_iter().map(hit).collect()
}

/// What becomes of the dependent of one relationship when its dependency is hit; `None` when nothing does.
fn consequence(
    topology: &Topology,
    relationship: &Relationship,
    level: Level,
    hits: &BTreeMap<CiId, (Level, f64)>,
) -> Option<Level> {
    let broken = match &relationship.redundancy {
        None => true,
        Some(name) => {
            alternatives_left(topology, &relationship.from, name, hits) < at_least(topology, relationship, name)
        }
    };
    match (relationship.kind.as_str(), level, broken) {
        ("runs_on" | "connected_to", Level::Down, true) => Some(Level::Down),
        ("depends_on", Level::Down | Level::Degraded, true) => Some(Level::Degraded),
        ("depends_on", Level::Down, false) => Some(Level::Reduced),
        _ => None,
    }
}

fn alternatives_left(topology: &Topology, ci: &CiId, name: &str, hits: &BTreeMap<CiId, (Level, f64)>) -> usize {
    let members = topology.relationships().iter().filter(|r| &r.from == ci && r.redundancy.as_deref() == Some(name));
    members.filter(|r| hits.get(&r.to).is_none_or(|(level, _)| *level == Level::Reduced)).count()
}

fn at_least(topology: &Topology, relationship: &Relationship, name: &str) -> usize {
    let rule = topology.redundancies().iter().find(|r| r.ci == relationship.from && r.name == name);
    rule.map_or(1, |rule| rule.at_least as usize)
}
