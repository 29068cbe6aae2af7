//! What operators said of earlier decisions, and the pairs of alerts that follow from it: those that belong together, and
//! those that do not.
//!
//! Absent on purpose: how much a pair weighs; `correlate` reads `Heard::link` and decides.

use std::collections::BTreeMap;

use quell_domain::{CiId, Feedback, Party, Position, Said, Standing};

use crate::alerts::Slot;
use crate::engine::Engine;

/// Statements that count (INV-6); one more crowds the oldest out.
pub const STATEMENTS: usize = 1024;

/// Kinds of alerts that one side of a statement names; the first ones that fired tell enough.
pub const PARTIES: usize = 16;

/// The stable hash of a kind of alert on one CI.
pub type PairKey = u64;

/// How often people said that two kinds of alerts belong together, and how often that they do not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Link {
    /// Statements that they are one trouble.
    pub together: u32,
    /// Statements that they are not.
    pub apart: u32,
}

/// FNV-1a of CI and name, 64 bits: the same in every build, so that a restart reads the same links.
#[must_use]
pub fn pair_key(ci: Option<&CiId>, alert: &str) -> PairKey {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let ci = ci.map_or("", CiId::as_str);
    for byte in ci.bytes().chain([0xff]).chain(alert.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

fn key(party: &Party) -> PairKey {
    pair_key(party.ci.as_ref(), &party.alert)
}

/// Every statement that counts, and the links that follow.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Heard {
    statements: BTreeMap<Position, Feedback>,
    /// The lower key first.
    links: BTreeMap<(PairKey, PairKey), Link>,
}

impl Heard {
    pub(crate) fn of_rows(rows: Vec<Feedback>) -> Self {
        let mut heard = Heard::default();
        for row in rows {
            heard.count(&row, true);
            heard.statements.insert(row.command, row);
        }
        heard
    }

    pub(crate) fn rows(&self) -> Vec<Feedback> {
        self.statements.values().cloned().collect()
    }

    /// What people said of two kinds of alerts.
    pub(crate) fn link(&self, a: PairKey, b: PairKey) -> Link {
        self.links.get(&(a.min(b), a.max(b))).copied().unwrap_or_default()
    }

    /// Takes a statement; returns the one that it crowds out.
    fn add(&mut self, said: Feedback) -> Option<Feedback> {
        self.count(&said, true);
        self.statements.insert(said.command, said);
        let (&oldest, _) = self.statements.first_key_value().filter(|_| self.statements.len() > STATEMENTS)?;
        self.remove(oldest, Standing::CrowdedOut)
    }

    fn remove(&mut self, command: Position, standing: Standing) -> Option<Feedback> {
        let said = self.statements.remove(&command)?;
        self.count(&said, false);
        Some(Feedback { standing, ..said })
    }

    fn count(&mut self, said: &Feedback, counts: bool) {
        let (ours, theirs, together) = match &said.said {
            Said::Together { ours, theirs } => (ours, theirs, true),
            Said::Apart { ours, theirs } => (ours, theirs, false),
            Said::Cause { .. } => return,
        };
        for a in ours.iter().map(key) {
            for b in theirs.iter().map(key).filter(|&b| b != a) {
                let pair = (a.min(b), a.max(b));
                let link = self.links.entry(pair).or_default();
                let number = if together { &mut link.together } else { &mut link.apart };
                *number = if counts { number.saturating_add(1) } else { number.saturating_sub(1) };
                if *link == Link::default() {
                    self.links.remove(&pair);
                }
            }
        }
    }
}

impl Engine {
    /// What people said of alerts of these two kinds.
    #[must_use]
    pub fn link_between(&self, a: PairKey, b: PairKey) -> Link {
        self.heard.link(a, b)
    }

    pub(crate) fn hear(&mut self, said: Feedback) {
        self.turn.effects.feedback.push(said.clone());
        if let Some(gone) = self.heard.add(said) {
            self.turn.effects.feedback.push(gone);
        }
    }

    pub(crate) fn unhear(&mut self, command: Position) {
        if let Some(gone) = self.heard.remove(command, Standing::Undone) {
            self.turn.effects.feedback.push(gone);
        }
    }

    /// The kinds of some alerts, each once, at most [`PARTIES`].
    pub(crate) fn parties(&self, slots: impl IntoIterator<Item = Slot>) -> Vec<Party> {
        let mut parties: Vec<Party> = Vec::new();
        for slot in slots {
            if parties.len() == PARTIES {
                break;
            }
            let entry = self.alerts.get(slot);
            let ci = entry.ci.map(|ix| self.graph.ci(ix).id.clone());
            let party = Party { ci, alert: entry.name().to_owned() };
            if !parties.contains(&party) {
                parties.push(party);
            }
        }
        parties
    }
}
