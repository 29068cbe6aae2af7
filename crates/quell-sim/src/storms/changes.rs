//! What people and machines change while it storms: most of it harmless, some of it the cause of a bad release.
//!
//! Rates are drawn for each CI by itself, over orders of magnitude, since nobody deploys as often as anybody else: so a
//! change alone proves nothing. The generator shares no number with the engine, and its randomness is a stream of its
//! own, so that faults and alerts are the same with and without it. Deliberately absent: changes that bring other faults.

use super::estate::{Estate, Kind};
use super::spread::FaultKind;
use super::{Fault, LEAD, SPAN, TAIL};
use crate::rng::Rng;

/// One change.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// The fault it brought, by index.
    pub fault: Option<usize>,
    /// What was changed, by index in the estate.
    pub part: usize,
    /// What was done.
    pub what: &'static str,
    /// Whose tool tells of it.
    pub by: &'static str,
    /// When, in seconds after the storm's start.
    pub at: f64,
    /// When it is told of.
    pub told: f64,
    /// The sender says in which repository, and not of which CI.
    pub vague: bool,
}

/// A bad release is preceded by a change that is told of, in most cases; the rest is done by hand.
const TOLD: f64 = 0.85;

const DAY: f64 = 86_400.0;

/// Every change, in order of the time it is told of.
pub(super) fn changes(estate: &Estate, faults: &[Fault], rng: &mut Rng) -> Vec<Change> {
    let mut changer = Changer { estate, rng, all: Vec::new() };
    changer.unrelated();
    for (at, fault) in faults.iter().enumerate().filter(|(_, fault)| fault.kind == FaultKind::Deploy) {
        changer.bad_release(at, fault);
    }
    let mut all = changer.all;
    all.sort_by(|a, b| a.told.total_cmp(&b.told).then(a.part.cmp(&b.part)).then(a.at.total_cmp(&b.at)));
    all
}

struct Changer<'a> {
    estate: &'a Estate,
    rng: &'a mut Rng,
    all: Vec<Change>,
}

impl Changer<'_> {
    /// Somewhere between the two, every order of magnitude as likely.
    fn scaled(&mut self, from: f64, to: f64) -> f64 {
        self.rng.range(from.ln(), to.ln()).exp()
    }

    /// Seconds between two changes of a CI, on average; `None` for what nobody changes by itself.
    fn every(&mut self, kind: Kind) -> Option<(f64, &'static str, &'static str)> {
        Some(match kind {
            // A few are released by a machine, over and over.
            Kind::Service if self.rng.chance(0.02) => (self.scaled(600.0, 1800.0), "sync", "argocd"),
            Kind::Service => (self.scaled(DAY / 8.0, DAY * 7.0), "deploy", "jenkins"),
            Kind::Host => (self.scaled(DAY * 3.0, DAY * 30.0), "patch", "ansible"),
            Kind::Database => (self.scaled(DAY * 2.0, DAY * 30.0), "migrate", "flyway"),
            Kind::Cache | Kind::Queue => (self.scaled(DAY * 4.0, DAY * 30.0), "configure", "ansible"),
            Kind::Balancer => (self.scaled(DAY / 2.0, DAY * 7.0), "configure", "terraform"),
            Kind::Switch | Kind::Storage => (self.scaled(DAY * 10.0, DAY * 90.0), "configure", "terraform"),
            Kind::Certificate => (self.scaled(DAY * 30.0, DAY * 90.0), "renew", "certbot"),
            Kind::Zone | Kind::Instance | Kind::Volume | Kind::Business => return None,
        })
    }

    fn unrelated(&mut self) {
        for part in 0..self.estate.parts.len() {
            let Some((every, what, by)) = self.every(self.estate.parts[part].kind) else { continue };
            let mut at = 0.0;
            loop {
                // Exponential waits: changes come by chance.
                at -= every * (1.0 - self.rng.unit()).ln();
                if at >= LEAD + SPAN + TAIL {
                    break;
                }
                self.add(None, part, what, by, at);
                if what == "deploy" && self.rng.chance(0.2) {
                    self.train(part, at);
                }
            }
        }
    }

    /// Services that are released together with one.
    fn train(&mut self, part: usize, at: f64) {
        let domain = self.estate.parts[part].domain;
        let kin = self.estate.of(Kind::Service).into_iter();
        let kin: Vec<usize> = kin.filter(|&o| o != part && self.estate.parts[o].domain == domain).collect();
        for _ in 0..(1 + self.rng.index(3)).min(kin.len()) {
            let (other, later) = (kin[self.rng.index(kin.len())], self.rng.range(0.0, 300.0));
            self.add(None, other, "deploy", "jenkins", at + later);
        }
    }

    fn bad_release(&mut self, fault: usize, told_of: &Fault) {
        let &Fault { root, begins, mended, .. } = told_of;
        if self.rng.chance(TOLD) {
            let before = self.scaled(20.0, 1800.0);
            let at = begins - before;
            self.add(Some(fault), root, "deploy", "jenkins", at);
            if self.rng.chance(0.2) {
                self.train(root, at);
            }
        }
        // It is taken back, or mended with another release; that is no cause any more.
        if self.rng.chance(0.7) {
            let at = mended - self.rng.range(30.0, 300.0);
            self.add(None, root, "roll back", "jenkins", at);
        }
    }

    fn add(&mut self, fault: Option<usize>, part: usize, what: &'static str, by: &'static str, at: f64) {
        // Most are told of at once, some sit in a queue.
        let late = if self.rng.chance(0.05) { self.rng.range(20.0, 600.0) } else { self.rng.range(0.0, 20.0) };
        let vague = self.rng.chance(0.05);
        self.all.push(Change { fault, part, what, by, at, told: at + late, vague });
    }
}
