//! How a fault spreads over the estate as it truly is: by chance, with delays, and not always where alerts follow.
//!
//! Deliberately absent: alerts; a CI may be hit and say nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::estate::{Carries, Estate, Kind};
use super::rules::Level;
use crate::rng::Rng;

/// What goes wrong first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FaultKind {
    /// A switch dies, or loses packets.
    Switch,
    /// A host dies, or is overloaded.
    Host,
    /// A disk array is slow or gone.
    Storage,
    /// A database locks up.
    Database,
    /// A release of a service is bad.
    Deploy,
    /// A certificate expires.
    Certificate,
    /// A zone loses power or cooling, one part after the other.
    Zone,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [FaultKind; 7] = [
        FaultKind::Switch,
        FaultKind::Host,
        FaultKind::Storage,
        FaultKind::Database,
        FaultKind::Deploy,
        FaultKind::Certificate,
        FaultKind::Zone,
    ];

    /// Its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            FaultKind::Switch => "switch",
            FaultKind::Host => "host",
            FaultKind::Storage => "storage",
            FaultKind::Database => "database",
            FaultKind::Deploy => "bad_deploy",
            FaultKind::Certificate => "certificate",
            FaultKind::Zone => "zone",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<FaultKind> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// What it may befall.
    #[must_use]
    pub const fn befalls(self) -> Kind {
        match self {
            FaultKind::Switch => Kind::Switch,
            FaultKind::Host => Kind::Host,
            FaultKind::Storage => Kind::Storage,
            FaultKind::Database => Kind::Database,
            FaultKind::Deploy => Kind::Service,
            FaultKind::Certificate => Kind::Certificate,
            FaultKind::Zone => Kind::Zone,
        }
    }

    /// How it begins.
    fn level(self, rng: &mut Rng) -> Level {
        let dead = match self {
            FaultKind::Switch | FaultKind::Host => 0.75,
            FaultKind::Storage | FaultKind::Zone => 0.5,
            FaultKind::Database => 0.4,
            FaultKind::Deploy | FaultKind::Certificate => 0.0,
        };
        if self == FaultKind::Certificate || rng.chance(dead) { Level::Down } else { Level::Degraded }
    }
}

/// A CI that was hit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Hit {
    /// Which.
    pub part: usize,
    /// How badly.
    pub level: Level,
    /// Seconds after the fault began.
    pub after: f64,
    /// Hit as a replica of the service whose release is bad.
    pub crashed: bool,
    /// Hit by nothing but the retries of those that call it.
    pub retried: bool,
}

/// Everything a fault hits, in order of time. A CI is hit once.
#[must_use]
pub fn spread(estate: &Estate, root: usize, kind: FaultKind, rng: &mut Rng) -> Vec<Hit> {
    let mut spread = Spread { estate, rng, due: BinaryHeap::new(), hit: BTreeMap::new(), lost: BTreeMap::new() };
    let level = if kind == FaultKind::Zone { Level::Down } else { kind.level(spread.rng) };
    spread.hit.insert(root, Hit { part: root, level, after: 0.0, crashed: false, retried: false });
    if kind == FaultKind::Zone {
        spread.zone(root);
    } else {
        spread.pass_on(root);
    }
    if kind == FaultKind::Deploy {
        spread.crash(root);
    }
    while let Some(Reverse((after, part, level))) = spread.due.pop() {
        let (after, down) = (from_millis(after), level == 1);
        if spread.hit.contains_key(&part) {
            continue;
        }
        let level = if down { Level::Down } else { Level::Degraded };
        spread.hit.insert(part, Hit { part, level, after, crashed: false, retried: false });
        spread.pass_on(part);
    }
    if matches!(kind, FaultKind::Deploy | FaultKind::Database) {
        spread.retries(root);
    }
    let mut hits: Vec<Hit> = spread.hit.into_values().collect();
    hits.sort_by(|a, b| a.after.total_cmp(&b.after).then(a.part.cmp(&b.part)));
    hits
}

struct Spread<'a> {
    estate: &'a Estate,
    rng: &'a mut Rng,
    /// When (ms), what, and how badly (1 is down).
    due: BinaryHeap<Reverse<(u64, usize, u8)>>,
    hit: BTreeMap<usize, Hit>,
    /// How many alternatives of a CI and group are gone.
    lost: BTreeMap<(usize, &'static str), u32>,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "delays are positive and short")]
fn millis(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}

#[expect(clippy::cast_precision_loss, reason = "delays are short")]
fn from_millis(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

impl Spread<'_> {
    fn then(&mut self, part: usize, level: Level, after: f64) {
        self.due.push(Reverse((millis(after), part, u8::from(level == Level::Down))));
    }

    /// A part of the racks, one after the other.
    fn zone(&mut self, root: usize) {
        let share = self.rng.range(0.1, 0.35);
        for &link in &self.estate.dependents[root] {
            if self.rng.chance(share) {
                let after = self.rng.range(1.0, 240.0);
                self.then(self.estate.links[link].from, Level::Down, after);
            }
        }
    }

    /// Replicas of a bad release crash one by one.
    fn crash(&mut self, root: usize) {
        for &link in &self.estate.needs[root] {
            let link = &self.estate.links[link];
            if link.carries == Carries::Share && self.rng.chance(0.8) {
                let after = self.rng.range(0.0, 90.0);
                let hit = Hit { part: link.to, level: Level::Down, after, crashed: true, retried: false };
                self.hit.insert(link.to, hit);
            }
        }
    }

    /// Who cannot get an answer asks again, and again.
    fn retries(&mut self, root: usize) {
        for &link in &self.estate.needs[root] {
            let link = &self.estate.links[link];
            let calls = link.carries == Carries::Calls && self.estate.parts[link.to].kind == Kind::Service;
            if calls && !self.hit.contains_key(&link.to) && self.rng.chance(0.15) {
                let after = self.rng.range(30.0, 180.0);
                let hit = Hit { part: link.to, level: Level::Degraded, after, crashed: false, retried: true };
                self.hit.insert(link.to, hit);
            }
        }
    }

    fn pass_on(&mut self, part: usize) {
        let Hit { level, after, .. } = self.hit[&part];
        for &at in &self.estate.dependents[part] {
            let link = &self.estate.links[at];
            let (to, chance) = (link.from, link.chance);
            if self.hit.contains_key(&to) {
                continue;
            }
            let next = match link.carries {
                Carries::All => self.all(to, link.group, level, chance).map(|next| (next, self.rng.range(1.0, 40.0))),
                Carries::Share => self.share(to, level).map(|next| (next, self.rng.range(5.0, 90.0))),
                Carries::Calls => {
                    let chance = if level == Level::Down { chance } else { chance * 0.5 };
                    self.rng.chance(chance).then(|| (Level::Degraded, self.rng.range(3.0, 120.0)))
                }
                Carries::Later => {
                    self.rng.chance(chance * 0.6).then(|| (Level::Degraded, self.rng.range(120.0, 480.0)))
                }
            };
            if let Some((next, delay)) = next {
                self.then(to, next, after + delay);
            }
        }
    }

    /// What stands on it goes with it, unless something else carries it too.
    fn all(&mut self, to: usize, group: Option<(&'static str, u32)>, level: Level, chance: f64) -> Option<Level> {
        if let Some((name, at_least)) = group {
            let of = self.estate.needs[to].iter().filter(|&&l| self.estate.links[l].group.is_some_and(|g| g.0 == name));
            let of = u32::try_from(of.count()).unwrap_or(u32::MAX);
            let lost = self.lost.entry((to, name)).or_default();
            *lost += u32::from(level == Level::Down);
            if of - (*lost).min(of) >= at_least {
                // Failing over is not always noticed by nobody.
                return self.rng.chance(0.06).then_some(Level::Degraded);
            }
        }
        match level {
            Level::Down => self.rng.chance(chance).then_some(Level::Down),
            Level::Degraded => self.rng.chance(0.65).then_some(Level::Degraded),
        }
    }

    /// The more of its replicas are gone, the likelier a service suffers.
    fn share(&mut self, to: usize, level: Level) -> Option<Level> {
        let of = self.estate.needs[to].iter().filter(|&&l| self.estate.links[l].carries == Carries::Share).count();
        let lost = self.lost.entry((to, "replicas")).or_default();
        *lost += if level == Level::Down { 2 } else { 1 };
        #[expect(clippy::cast_precision_loss, reason = "a handful of replicas")]
        let share = (f64::from(*lost) / 2.0 / of.max(1) as f64).min(1.0);
        self.rng.chance(share.powi(2) * 0.9).then_some(Level::Degraded)
    }
}
