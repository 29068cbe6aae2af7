//! What is known of problems, with its look-ups. Absent on purpose: decisions.

use std::collections::{BTreeMap, BTreeSet};

use quell_domain::{
    Cost, IncidentId, KnownSignature, PastIncident, Problem, Recognition, Sign, SignatureId, Timestamp,
};

use super::{PROBLEMS, ProblemSnapshot, SIGNATURES};

/// Alerts kept of a signature: more than of one incident, for those that are in some of them only.
const SIGNS: usize = 64;
/// Words kept of a signature.
const WORDS: usize = 48;
/// Causes kept of a signature.
const CAUSES: usize = 8;
/// Past incidents kept in hand of a signature.
pub(super) const PAST: usize = 12;

/// Signatures, problems, and what incidents in hand were taken for.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Known {
    pub(super) signatures: BTreeMap<u64, KnownSignature>,
    pub(super) problems: BTreeMap<u64, Problem>,
    pub(super) recognitions: BTreeMap<u64, Recognition>,
    /// Signatures by the alerts they have.
    by_sign: BTreeMap<u64, BTreeSet<u64>>,
    /// Signatures that people merged into each.
    merged: BTreeMap<u64, BTreeSet<u64>>,
    /// Signatures by when they were last seen.
    by_age: BTreeSet<(Timestamp, u64)>,
    pub(super) last_signature: u64,
    pub(super) last_problem: u64,
}

impl Known {
    pub(crate) fn of_rows(rows: ProblemSnapshot) -> Self {
        let ProblemSnapshot { signatures, recognitions, problems, last_signature, last_problem } = rows;
        let mut known = Known { last_signature, last_problem, ..Known::default() };
        for row in signatures {
            for &key in row.signs.keys() {
                known.by_sign.entry(key).or_default().insert(row.id.number);
            }
            if let Some(into) = row.merged_into {
                known.merged.entry(into.number).or_default().insert(row.id.number);
            }
            known.by_age.insert((row.last_at, row.id.number));
            known.signatures.insert(row.id.number, row);
        }
        known.recognitions = recognitions.into_iter().map(|row| (row.incident.number, row)).collect();
        known.problems = problems.into_iter().map(|row| (row.id.number, row)).collect();
        known
    }

    pub(crate) fn rows(&self) -> ProblemSnapshot {
        ProblemSnapshot {
            signatures: self.signatures.values().cloned().collect(),
            recognitions: self.recognitions.values().cloned().collect(),
            problems: self.problems.values().cloned().collect(),
            last_signature: self.last_signature,
            last_problem: self.last_problem,
        }
    }

    /// Incidents that are history are recognised no more.
    pub(crate) fn forget(&mut self, incidents: &[IncidentId]) {
        for id in incidents {
            self.recognitions.remove(&id.number);
        }
    }

    /// Signatures that share an alert, those of the rarest alerts first, at most `most`.
    pub(super) fn sharing(&self, signs: &[u64], most: usize) -> BTreeSet<u64> {
        let mut groups: Vec<&BTreeSet<u64>> = signs.iter().filter_map(|key| self.by_sign.get(key)).collect();
        groups.sort_by_key(|group| group.len());
        let mut found = BTreeSet::new();
        for number in groups.into_iter().flat_map(|group| group.iter().rev()) {
            if found.len() == most {
                break;
            }
            found.insert(*number);
        }
        found
    }

    /// The signature that one counts with: people may have merged it into another.
    pub(super) fn root(&self, number: u64) -> u64 {
        let mut at = number;
        // A merge into what was merged is refused, so that the chain is short and ends.
        for _ in 0..SIGNATURES {
            match self.signatures.get(&at).and_then(|row| row.merged_into) {
                Some(next) if self.signatures.contains_key(&next.number) => at = next.number,
                _ => break,
            }
        }
        at
    }

    /// Every signature that counts with one of these.
    pub(super) fn group(&self, roots: &[u64]) -> Vec<u64> {
        let mut group: BTreeSet<u64> = BTreeSet::new();
        let mut left: Vec<u64> = roots.iter().copied().filter(|root| self.signatures.contains_key(root)).collect();
        while let Some(number) = left.pop() {
            if group.insert(number) {
                left.extend(self.merged.get(&number).into_iter().flatten());
            }
        }
        group.into_iter().collect()
    }

    /// Whether others were merged into a signature.
    pub(super) fn is_named(&self, number: u64) -> bool {
        self.merged.contains_key(&number)
    }

    /// Merges a signature into another, or parts it again; the one it was merged into before.
    pub(super) fn merge(&mut self, number: u64, into: Option<SignatureId>) -> Option<SignatureId> {
        let row = self.signatures.get_mut(&number)?;
        let before = std::mem::replace(&mut row.merged_into, into);
        if let Some(before) = before {
            unindex(&mut self.merged, before.number, number);
        }
        if let Some(into) = into {
            self.merged.entry(into.number).or_default().insert(number);
        }
        before
    }

    /// A new signature without incidents; the number of one that had to go for it.
    pub(super) fn born(&mut self, shard: u32, at: Timestamp) -> (u64, Option<SignatureId>) {
        let gone = if self.signatures.len() >= SIGNATURES { self.crowd_out() } else { None };
        self.last_signature += 1;
        let number = self.last_signature;
        let row = KnownSignature {
            id: SignatureId { shard, number },
            causes: BTreeMap::new(),
            signs: BTreeMap::new(),
            words: BTreeMap::new(),
            cost: Cost::default(),
            first_at: at,
            last_at: at,
            title: String::new(),
            past: Vec::new(),
            merged_into: None,
            problem: None,
        };
        self.signatures.insert(number, row);
        self.by_age.insert((at, number));
        (number, gone)
    }

    /// Lets go of the signature not seen for longest that no open problem rests on.
    fn crowd_out(&mut self) -> Option<SignatureId> {
        let held = |row: &KnownSignature| {
            let problem = row.problem.and_then(|id| self.problems.get(&id.number));
            self.is_named(row.id.number) || problem.is_some_and(|problem| problem.state.is_open())
        };
        let mut by_age = self.by_age.iter().filter_map(|(_, number)| self.signatures.get(number));
        let id = by_age.find(|row| !held(row))?.id;
        self.remove(id.number);
        Some(id)
    }

    pub(super) fn remove(&mut self, number: u64) {
        let Some(row) = self.signatures.remove(&number) else { return };
        self.by_age.remove(&(row.last_at, number));
        if let Some(into) = row.merged_into {
            unindex(&mut self.merged, into.number, number);
        }
        for key in row.signs.into_keys() {
            unindex(&mut self.by_sign, key, number);
        }
    }

    /// Adds an incident that is over.
    pub(super) fn contribute(&mut self, number: u64, past: PastIncident, texts: &BTreeMap<u64, Sign>, title: &str) {
        let Some(row) = self.signatures.get_mut(&number) else { return };
        row.cost.add(past.cost());
        row.first_at = row.first_at.min(past.opened_at);
        self.by_age.remove(&(row.last_at, number));
        row.last_at = row.last_at.max(past.opened_at);
        self.by_age.insert((row.last_at, number));
        row.title = title.to_owned();
        if let Some(cause) = &past.traits.cause {
            *row.causes.entry(cause.clone()).or_default() += 1;
            if row.causes.len() > CAUSES {
                let least = row.causes.iter().filter(|(ci, _)| *ci != cause).min_by_key(|(_, count)| **count);
                let least = least.map(|(ci, _)| ci.clone());
                least.map(|ci| row.causes.remove(&ci));
            }
        }
        for &key in &past.traits.signs {
            let unnamed = || Sign { place: None, alert: String::new() };
            let entry = row.signs.entry(key).or_insert_with(|| (texts.get(&key).cloned().unwrap_or_else(unnamed), 0));
            entry.1 += 1;
            self.by_sign.entry(key).or_default().insert(number);
        }
        while row.signs.len() > SIGNS {
            if let Some((key, _)) = row.signs.pop_last() {
                unindex(&mut self.by_sign, key, number);
            }
        }
        for &key in &past.traits.words {
            *row.words.entry(key).or_default() += 1;
        }
        while row.words.len() > WORDS {
            row.words.pop_last();
        }
        let at = row.past.partition_point(|other| (other.opened_at, other.incident) < (past.opened_at, past.incident));
        row.past.insert(at, past);
        if row.past.len() > PAST {
            row.past.remove(0);
        }
    }

    /// Takes an incident out that is not over after all, or is another's.
    pub(super) fn withdraw(&mut self, number: u64, past: &PastIncident) {
        let Some(row) = self.signatures.get_mut(&number) else { return };
        row.cost.subtract(past.cost());
        if let Some(cause) = &past.traits.cause {
            less(&mut row.causes, cause);
        }
        for &key in &past.traits.signs {
            if let Some((_, count)) = row.signs.get_mut(&key) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    row.signs.remove(&key);
                    unindex(&mut self.by_sign, key, number);
                }
            }
        }
        for key in &past.traits.words {
            less(&mut row.words, key);
        }
        row.past.retain(|other| other.incident != past.incident);
    }

    /// Room for one more problem: lets go of the one settled that was drafted first; `Err` when there is none.
    pub(super) fn room_for_problem(&mut self) -> Result<Option<quell_domain::ProblemId>, ()> {
        if self.problems.len() < PROBLEMS {
            return Ok(None);
        }
        let settled = self.problems.values().find(|problem| !problem.state.is_open()).map(|problem| problem.id);
        let id = settled.ok_or(())?;
        // Signatures that name it have none that is known any more: the same as having none.
        self.problems.remove(&id.number);
        Ok(Some(id))
    }
}

fn unindex(by_sign: &mut BTreeMap<u64, BTreeSet<u64>>, key: u64, number: u64) {
    if let Some(numbers) = by_sign.get_mut(&key) {
        numbers.remove(&number);
        if numbers.is_empty() {
            by_sign.remove(&key);
        }
    }
}

fn less<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}
