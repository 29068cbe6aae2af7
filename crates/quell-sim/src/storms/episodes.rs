//! What monitors tell of faults, and of nothing: alert episodes with the truth beside them.
//!
//! Deliberately absent: how they are sent, and how often.

use std::collections::{BTreeMap, BTreeSet};

use super::estate::{Estate, Kind, address};
use super::rules::{self, Level, Rule};
use super::spread::{FaultKind, Hit};
use super::{Fault, LEAD, NOISY, Options, SPAN, around};
use crate::rng::Rng;

/// One alert from its start to its end.
#[derive(Clone, PartialEq, Debug)]
pub struct Episode {
    /// The fault behind it, by index; `None` for noise.
    pub fault: Option<usize>,
    /// What it is about, by index in the estate.
    pub part: usize,
    /// The rule's name.
    pub name: &'static str,
    /// As the rule claims.
    pub severity: &'static str,
    /// Who scrapes.
    pub job: &'static str,
    /// Seconds after the storm's start.
    pub starts: f64,
    /// When it is over.
    pub ends: f64,
}

/// Everything that is told, in order of time.
pub(super) fn tell(estate: &Estate, faults: &[Fault], options: &Options, rng: &mut Rng) -> Vec<Episode> {
    let mut teller = Teller { estate, rng, waits: BTreeMap::new(), told: BTreeMap::new(), all: Vec::new() };
    for (at, fault) in faults.iter().enumerate() {
        let before = teller.all.len();
        let silent = teller.rng.chance(options.unwatched);
        // Some roots are the last to be told of: what watches them asks seldom, or hangs on them itself.
        let late = if teller.rng.chance(0.15) { teller.rng.range(120.0, 480.0) } else { 0.0 };
        for hit in &fault.hits {
            let root = hit.part == fault.root;
            if !(root && silent) {
                teller.hit(at, fault, hit, if root { late } else { 0.0 });
            }
        }
        let raised: BTreeSet<usize> = teller.all[before..].iter().map(|episode| episode.part).collect();
        if raised.len() < 2 {
            teller.forget(before);
        }
    }
    teller.noise(faults, options.noise);
    let mut all = teller.all;
    all.sort_by(|a, b| a.starts.total_cmp(&b.starts).then(a.part.cmp(&b.part)).then(a.name.cmp(b.name)));
    all
}

struct Teller<'a> {
    estate: &'a Estate,
    rng: &'a mut Rng,
    /// How long each rule of this estate waits.
    waits: BTreeMap<&'static str, f64>,
    /// Until when a rule of a CI fires: it does not fire twice at once, whoever made it.
    told: BTreeMap<(usize, &'static str), Vec<(f64, f64)>>,
    all: Vec<Episode>,
}

impl Teller<'_> {
    fn hit(&mut self, at: usize, fault: &Fault, hit: &Hit, late: f64) {
        let part = &self.estate.parts[hit.part];
        let root = hit.part == fault.root;
        if !part.watched && !root {
            return;
        }
        let rules = match (root, fault.kind) {
            (true, FaultKind::Deploy) => rules::BAD_DEPLOY,
            (true, FaultKind::Database) if hit.level == Level::Degraded => rules::FULL_DISK,
            _ if hit.crashed => rules::CRASH,
            _ if hit.retried => rules::RETRIES,
            _ => rules::rules(part.kind, hit.level),
        };
        let heals = fault.mended + self.rng.range(5.0, 300.0);
        for rule in rules {
            if self.rng.chance(rule.chance) {
                let starts = fault.begins + hit.after + late + self.wait(rule);
                self.fire(Some(at), hit.part, rule, starts, heals);
            }
        }
    }

    /// Seconds from a condition to its alert: the rule's own wait, and the scrape's and evaluation's turn.
    fn wait(&mut self, rule: &Rule) -> f64 {
        let (shortest, longest) = rule.wait;
        let rng = &mut *self.rng;
        let wait = *self.waits.entry(rule.name).or_insert_with(|| rng.range(shortest, longest));
        wait + self.rng.range(0.0, 45.0)
    }

    /// An alert, in several episodes where it flaps.
    fn fire(&mut self, fault: Option<usize>, part: usize, rule: &Rule, starts: f64, ends: f64) {
        if starts + 15.0 >= ends {
            return;
        }
        let flaps = self.rng.chance(0.06);
        let mut at = starts;
        while at + 15.0 < ends {
            let until = if flaps { (at + self.rng.range(60.0, 300.0)).min(ends) } else { ends };
            self.add(fault, part, rule, at, until);
            at = until + self.rng.range(60.0, 240.0);
        }
    }

    fn add(&mut self, fault: Option<usize>, part: usize, rule: &Rule, starts: f64, ends: f64) {
        let told = self.told.entry((part, rule.name)).or_default();
        if told.iter().any(|&(from, to)| starts <= to + 30.0 && from <= ends + 30.0) {
            return;
        }
        told.push((starts, ends));
        let Rule { name, severity, job, .. } = *rule;
        self.all.push(Episode { fault, part, name, severity, job, starts, ends });
    }

    fn forget(&mut self, from: usize) {
        for episode in self.all.drain(from..) {
            if let Some(told) = self.told.get_mut(&(episode.part, episode.name)) {
                told.retain(|&(starts, _)| starts.total_cmp(&episode.starts).is_ne());
            }
        }
    }

    /// Alerts that mean nothing: most of them single and anywhere, a few again and again on the same CI, some beside a
    /// fault. It is noise before the first fault as well.
    fn noise(&mut self, faults: &[Fault], share: f64) {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count"
        )]
        let wanted = (self.all.len() as f64 * share) as usize;
        let noisy: Vec<usize> =
            (0..self.estate.parts.len()).filter(|&at| NOISY.contains(&self.estate.parts[at].kind)).collect();
        let before = self.all.len();
        let mut tries = 0;
        while self.all.len() - before < wanted && tries < wanted * 10 {
            tries += 1;
            let starts = self.rng.range(0.0, LEAD + SPAN + 1200.0);
            let part = match faults {
                [_, ..] if self.rng.chance(0.1) => {
                    let near = around(self.estate, faults[self.rng.index(faults.len())].root, 2);
                    near[self.rng.index(near.len())]
                }
                _ => noisy[self.rng.index(noisy.len())],
            };
            let rules = rules::noise(self.estate.parts[part].kind);
            if rules.is_empty() {
                continue;
            }
            let rule = rules[self.rng.index(rules.len())];
            if self.rng.chance(0.1) {
                self.chatter(part, &rule, wanted - (self.all.len() - before));
            } else {
                let lasts = self.rng.range(60.0, 1500.0);
                self.add(None, part, &rule, starts, starts + lasts);
            }
        }
    }

    /// One alert that comes and goes all day.
    fn chatter(&mut self, part: usize, rule: &Rule, most: usize) {
        let every = self.rng.range(240.0, 1800.0);
        let mut at = self.rng.range(0.0, every);
        for _ in 0..most.min(24) {
            let lasts = self.rng.range(45.0, every * 0.5);
            self.add(None, part, rule, at, at + lasts);
            at += every * self.rng.range(0.6, 1.5);
            if at > LEAD + SPAN + 1200.0 {
                break;
            }
        }
    }
}

/// What an alert says it is about: by the labels that this kind of monitor sets.
pub(super) fn labels(estate: &Estate, episode: &Episode) -> Vec<(&'static str, String)> {
    let part = &estate.parts[episode.part];
    let zone = format!("dc1-{}", part.zone + 1);
    let mut labels = vec![
        ("alertname", episode.name.to_owned()),
        ("severity", episode.severity.to_owned()),
        ("job", episode.job.to_owned()),
        ("env", "prod".to_owned()),
        ("datacenter", zone),
    ];
    let id = || part.id.clone();
    let domain = || format!("domain-{}", part.domain);
    labels.extend(match part.kind {
        // One monitor knows hosts by name, the other by address.
        Kind::Host if episode.job == "node" => vec![("instance", format!("{}:9100", address(episode.part)))],
        Kind::Host | Kind::Switch => vec![("instance", format!("{}.example.net", part.id))],
        Kind::Instance => vec![("namespace", domain()), ("pod", id())],
        Kind::Service => vec![("namespace", domain()), ("service", id())],
        Kind::Database => vec![("instance", format!("{}.example.net:9187", part.id)), ("namespace", domain())],
        Kind::Cache | Kind::Queue => vec![("instance", format!("{}:9121", address(episode.part)))],
        Kind::Volume => vec![("persistentvolumeclaim", id()), ("namespace", domain())],
        Kind::Business => vec![("target", id())],
        Kind::Balancer | Kind::Certificate | Kind::Storage | Kind::Zone => vec![("instance", id())],
    });
    labels
}
