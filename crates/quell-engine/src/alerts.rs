//! The alerts in hand: found by fingerprint, folded in place.
//!
//! Absent on purpose: what an alert means for incidents; this only knows episodes and their times.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use quell_cmdb::CiIx;
use quell_domain::{
    Alert, AlertId, AlertState, Ending, Fingerprint, IncidentId, Labels, Position, Severity, Source, Timestamp,
};

use crate::effects::Fold;
use crate::rules::Matched;
use crate::symptoms::SymptomIx;

/// Where an episode lies in [`Alerts`]; free for another once it is removed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Slot(u32);

/// An episode as the engine keeps it. Reasons are not kept: they were remembered when they were given.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Entry {
    pub(crate) id: AlertId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) source: Source,
    pub(crate) state: AlertState,
    pub(crate) severity: Severity,
    pub(crate) labels: Labels,
    pub(crate) annotations: Labels,
    pub(crate) content: u64,
    pub(crate) ci: Option<CiIx>,
    pub(crate) incident: Option<u64>,
    pub(crate) starts_at: Timestamp,
    pub(crate) ends_at: Option<Timestamp>,
    pub(crate) ending: Ending,
    pub(crate) timed_out: bool,
    pub(crate) count: u64,
    pub(crate) first_seen: Timestamp,
    pub(crate) began_at: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) opened_position: Position,
    pub(crate) opened_ordinal: u32,
    pub(crate) closed_position: Option<Position>,
    pub(crate) folded_through: Position,
    /// A row of it was made.
    pub(crate) written: bool,
    /// Repeats were folded that no row contains yet.
    pub(crate) dirty: bool,
    /// Among them one that said something new.
    pub(crate) said: bool,
    /// An expiry deadline stands in the heap at this time or earlier.
    pub(crate) deadline: Option<Timestamp>,
    /// What the rules in force say of it.
    pub(crate) matched: Matched,
    pub(crate) symptom: Option<SymptomIx>,
    /// The alert that it repeats in other words.
    pub(crate) twin_of: Option<AlertId>,
}

/// Of an alert that ended: when that was, or when it was last heard of, whichever is later.
pub(crate) fn told_ended_at(ends_at: Option<Timestamp>, last_seen: Timestamp) -> Timestamp {
    ends_at.map_or(last_seen, |end| end.max(last_seen))
}

impl Entry {
    /// The row, without the reasons: a store keeps those it has.
    pub(crate) fn row(&self, shard: u32) -> Alert {
        Alert {
            id: self.id,
            fingerprint: self.fingerprint,
            source: self.source,
            state: self.state,
            severity: self.severity,
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            content: self.content,
            binding: None,
            unbound: None,
            incident: self.incident.map(|number| IncidentId { shard, number }),
            membership: None,
            twin_of: self.twin_of,
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            ending: self.ending,
            timed_out: self.timed_out,
            count: self.count,
            first_seen: self.first_seen,
            began_at: self.began_at,
            last_seen: self.last_seen,
            opened_position: self.opened_position,
            opened_ordinal: self.opened_ordinal,
            closed_position: self.closed_position,
            folded_through: self.folded_through,
        }
    }

    /// The episode of a row, bound to an index of the graph in force.
    pub(crate) fn of_row(alert: Alert, ci: Option<CiIx>) -> Self {
        let Alert {
            id,
            fingerprint,
            source,
            state,
            severity,
            labels,
            annotations,
            content,
            binding: _,
            unbound: _,
            incident,
            membership: _,
            twin_of,
            starts_at,
            ends_at,
            ending,
            timed_out,
            count,
            first_seen,
            began_at,
            last_seen,
            opened_position,
            opened_ordinal,
            closed_position,
            folded_through,
        } = alert;
        Entry {
            id,
            fingerprint,
            source,
            state,
            severity,
            labels,
            annotations,
            content,
            ci,
            incident: incident.map(|id| id.number),
            starts_at,
            ends_at,
            ending,
            timed_out,
            count,
            first_seen,
            began_at,
            last_seen,
            opened_position,
            opened_ordinal,
            closed_position,
            folded_through,
            written: true,
            dirty: false,
            said: false,
            deadline: None,
            matched: Matched::default(),
            symptom: None,
            twin_of,
        }
    }

    /// How many alerts of an incident it counts for: a twin for none.
    pub(crate) fn counts(&self) -> u64 {
        u64::from(self.twin_of.is_none())
    }

    /// See [`told_ended_at`].
    pub(crate) fn told_ended_at(&self) -> Timestamp {
        told_ended_at(self.ends_at, self.last_seen)
    }

    /// Of one that ended: nobody said so, it was only not heard of for too long.
    pub(crate) fn was_cut_off(&self) -> bool {
        self.timed_out && self.ends_at.is_some_and(|end| end > self.last_seen)
    }

    /// What a person would call it.
    pub(crate) fn name(&self) -> &str {
        quell_domain::alert::name(&self.labels, &self.annotations)
    }

    /// What repeats changed since the row was written.
    pub(crate) fn fold(&self) -> Fold {
        Fold {
            alert: self.id,
            count: self.count,
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            timed_out: self.timed_out,
            last_seen: self.last_seen,
            folded_through: self.folded_through,
            said: self.said.then(|| (self.severity, self.annotations.clone(), self.content)),
        }
    }
}

/// A fingerprint is a hash already: its low half serves as it is.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u128(&mut self, value: u128) {
        #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
        let low = value as u64;
        self.0 = low;
    }
}

/// Episodes that lie together.
const PIECE: usize = 1024;

/// Every episode in hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alerts {
    /// In pieces of [`PIECE`], so that growing copies nothing and leaves nothing behind.
    slots: Vec<Vec<Option<Entry>>>,
    free: Vec<Slot>,
    /// The latest episode of each fingerprint.
    latest: HashMap<Fingerprint, Slot, BuildHasherDefault<Identity>>,
    /// Earlier episodes of a fingerprint that are in hand beside its latest one; few have any.
    earlier: HashMap<Fingerprint, BTreeMap<AlertId, Slot>, BuildHasherDefault<Identity>>,
    by_id: HashMap<u64, Slot, BuildHasherDefault<std::hash::DefaultHasher>>,
    firing: u64,
    dirty: Vec<Slot>,
}

impl Alerts {
    pub(crate) fn latest(&self, fingerprint: Fingerprint) -> Option<Slot> {
        self.latest.get(&fingerprint).copied()
    }

    /// Earlier episodes of a fingerprint that are in hand, the first one first.
    pub(crate) fn before(&self, fingerprint: Fingerprint, id: AlertId) -> impl DoubleEndedIterator<Item = Slot> + '_ {
        self.earlier.get(&fingerprint).into_iter().flat_map(move |earlier| earlier.range(..id).map(|(_, &slot)| slot))
    }

    pub(crate) fn find(&self, id: AlertId) -> Option<Slot> {
        self.by_id.get(&id.0).copied()
    }

    fn slot(&self, slot: Slot) -> &Option<Entry> {
        &self.slots[slot.0 as usize / PIECE][slot.0 as usize % PIECE]
    }

    fn slot_mut(&mut self, slot: Slot) -> &mut Option<Entry> {
        &mut self.slots[slot.0 as usize / PIECE][slot.0 as usize % PIECE]
    }

    pub(crate) fn get(&self, slot: Slot) -> &Entry {
        self.slot(slot).as_ref().expect("a slot is handed out only while its episode is in hand")
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> &mut Entry {
        self.slot_mut(slot).as_mut().expect("a slot is handed out only while its episode is in hand")
    }

    /// Alerts that fire.
    pub(crate) fn firing(&self) -> u64 {
        self.firing
    }

    /// Episodes in hand.
    pub(crate) fn len(&self) -> u64 {
        self.by_id.len() as u64
    }

    /// Changes an episode's state, keeping count.
    pub(crate) fn turn(&mut self, slot: Slot, state: AlertState) {
        let was = std::mem::replace(&mut self.get_mut(slot).state, state);
        self.firing -= u64::from(was == AlertState::Firing);
        self.firing += u64::from(state == AlertState::Firing);
    }

    pub(crate) fn insert(&mut self, entry: Entry) -> Slot {
        self.firing += u64::from(entry.state == AlertState::Firing);
        let (fingerprint, id) = (entry.fingerprint, entry.id);
        let slot = match self.free.pop() {
            Some(slot) => {
                *self.slot_mut(slot) = Some(entry);
                slot
            }
            None => {
                if self.slots.last().is_none_or(|piece| piece.len() == PIECE) {
                    self.slots.push(Vec::with_capacity(PIECE));
                }
                let pieces = self.slots.len() - 1;
                let piece = &mut self.slots[pieces];
                piece.push(Some(entry));
                Slot(u32::try_from(pieces * PIECE + piece.len() - 1).unwrap_or(u32::MAX))
            }
        };
        // Ids grow, so what is inserted later is the later episode.
        if let Some(before) = self.latest.insert(fingerprint, slot) {
            let id = self.get(before).id;
            self.earlier.entry(fingerprint).or_default().insert(id, before);
        }
        self.by_id.insert(id.0, slot);
        slot
    }

    /// Lets go of an episode. When it was its fingerprint's latest and an earlier one is in hand, that one is the
    /// latest again and is returned.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<AlertId> {
        let entry = self.slot_mut(slot).take()?;
        self.firing -= u64::from(entry.state == AlertState::Firing);
        self.by_id.remove(&entry.id.0);
        self.free.push(slot);
        let mut promoted = None;
        let was_latest = self.latest.get(&entry.fingerprint) == Some(&slot);
        if let Some(earlier) = self.earlier.get_mut(&entry.fingerprint) {
            if was_latest {
                promoted = earlier.pop_last();
            } else {
                earlier.remove(&entry.id);
            }
            if earlier.is_empty() {
                self.earlier.remove(&entry.fingerprint);
            }
        }
        match promoted {
            Some((_, slot)) => _ = self.latest.insert(entry.fingerprint, slot),
            None if was_latest => _ = self.latest.remove(&entry.fingerprint),
            None => {}
        }
        promoted.map(|(id, _)| id)
    }

    /// Notes that a row no longer contains all of an episode.
    pub(crate) fn mark(&mut self, slot: Slot) {
        let entry = self.get_mut(slot);
        if !entry.dirty {
            entry.dirty = true;
            self.dirty.push(slot);
        }
    }

    /// How many episodes may have repeats that no row contains.
    pub(crate) fn dirty(&self) -> usize {
        self.dirty.len()
    }

    /// Episodes with repeats that no row contains, each once.
    pub(crate) fn take_folds(&mut self) -> Vec<Fold> {
        let dirty = std::mem::take(&mut self.dirty);
        let mut folds = Vec::with_capacity(dirty.len());
        for slot in dirty {
            let Some(entry) = self.slot_mut(slot).as_mut() else { continue };
            if std::mem::take(&mut entry.dirty) {
                folds.push(entry.fold());
                entry.said = false;
            }
        }
        folds
    }

    /// Every episode, by slot: an order that depends on history; sort before deciding anything by it.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        (0..).map(Slot).zip(self.slots.iter().flatten()).filter_map(|(slot, entry)| entry.is_some().then_some(slot))
    }
}
