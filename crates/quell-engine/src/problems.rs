//! Problems: which incidents are the same trouble, which trouble keeps coming back, and what became of its fix.
//!
//! Every incident that is over has a signature (`traits`, `recognise`); what recurs is drafted as a problem (`recur`);
//! people decide about it by commands (`asked`). Absent on purpose: forecasts, and the test of a fix: their arithmetic is
//! `quell-forecast`'s, and the verdict comes back by the log (decision 0026).

mod asked;
mod keep;
mod recognise;
mod recur;
mod signatures;
mod traits;

use std::collections::BTreeMap;

use quell_domain::{IncidentId, KnownSignature, Outage, Problem, ProblemEntry, ProblemId, Recognition, SignatureId};

pub(crate) use keep::Known;

/// Signatures in hand (INV-6); one more lets go of the one not seen for longest, which is counted.
pub const SIGNATURES: usize = 4096;

/// Problems in hand (INV-6). One more lets go of the one that was settled first; while none is settled, nothing is
/// drafted, which is counted.
pub const PROBLEMS: usize = 1000;

/// What is written of problems in one turn, in order; of several versions of one row, the last holds.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ProblemEffects {
    /// Signatures, new or changed, or let go of.
    pub signatures: Vec<SignatureRow>,
    /// What incidents were taken for.
    pub recognitions: Vec<RecognitionRow>,
    /// Problems, new or changed, or let go of.
    pub problems: Vec<ProblemRow>,
    /// Entries of problems' timelines. They are only ever added.
    pub timeline: Vec<ProblemEntry>,
    /// Times in which nothing could be received, which the test of a fix leaves out.
    pub outages: Vec<Outage>,
    /// What was counted.
    pub tally: Recognised,
}

/// A signature's row.
#[derive(Clone, PartialEq, Debug)]
pub enum SignatureRow {
    /// The whole row.
    Put(Box<KnownSignature>),
    /// It was crowded out: its row is history.
    LetGo(SignatureId),
}

/// A recognition's row.
#[derive(Clone, PartialEq, Debug)]
pub enum RecognitionRow {
    /// The whole row.
    Put(Box<Recognition>),
    /// People gave an incident, which may be history, another signature.
    Moved(IncidentId, SignatureId),
    /// The incident was merged into another one: it is none of its own.
    Void(IncidentId),
}

/// A problem's row.
#[derive(Clone, PartialEq, Debug)]
pub enum ProblemRow {
    /// The whole row.
    Put(Box<Problem>),
    /// It was crowded out: its row is history.
    LetGo(ProblemId),
}

/// What became of incidents that were over, and of what did not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recognised {
    /// Of a signature that was known.
    pub known: u64,
    /// The first of their kind.
    pub novel: u64,
    /// Signatures let go of because of the limit.
    pub crowded_out: u64,
    /// Problems drafted.
    pub drafted: u64,
    /// Problems not drafted because of the limit.
    pub not_drafted: u64,
}

impl Recognised {
    /// Adds another tally.
    pub fn add(&mut self, other: Recognised) {
        let Recognised { known, novel, crowded_out, drafted, not_drafted } = other;
        self.known += known;
        self.novel += novel;
        self.crowded_out += crowded_out;
        self.drafted += drafted;
        self.not_drafted += not_drafted;
    }

    /// Each count with its name in metrics.
    #[must_use]
    pub fn each(&self) -> [(u64, &'static str); 5] {
        let Recognised { known, novel, crowded_out, drafted, not_drafted } = *self;
        [
            (known, "known"),
            (novel, "novel"),
            (crowded_out, "crowded_out"),
            (drafted, "drafted"),
            (not_drafted, "not_drafted"),
        ]
    }
}

impl ProblemEffects {
    /// True when nothing has to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let ProblemEffects { signatures, recognitions, problems, timeline, outages, tally: _ } = self;
        signatures.is_empty()
            && recognitions.is_empty()
            && problems.is_empty()
            && timeline.is_empty()
            && outages.is_empty()
    }

    /// Adds what came after.
    pub fn absorb(&mut self, later: ProblemEffects) {
        let ProblemEffects { signatures, recognitions, problems, timeline, outages, tally } = later;
        self.outages.extend(outages);
        self.signatures.extend(signatures);
        self.recognitions.extend(recognitions);
        self.problems.extend(problems);
        self.timeline.extend(timeline);
        self.tally.add(tally);
    }
}

/// What the engine starts from.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ProblemSnapshot {
    /// Signatures not let go of, by number.
    pub signatures: Vec<KnownSignature>,
    /// What incidents in hand were taken for, by number.
    pub recognitions: Vec<Recognition>,
    /// Problems not let go of, by number.
    pub problems: Vec<Problem>,
    /// The greatest number of a signature, let go of or not.
    pub last_signature: u64,
    /// The greatest number of a problem.
    pub last_problem: u64,
}

/// What a store holds of problems, in memory: for replays and tests.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ProblemLedger {
    /// Signatures, by id; with whether they are in hand.
    pub signatures: BTreeMap<SignatureId, (KnownSignature, bool)>,
    /// What incidents were taken for.
    pub recognitions: BTreeMap<IncidentId, Recognition>,
    /// Problems, by id; with whether they are in hand.
    pub problems: BTreeMap<ProblemId, (Problem, bool)>,
    /// Problems' timelines, oldest first.
    pub timelines: BTreeMap<ProblemId, Vec<ProblemEntry>>,
    /// Times in which nothing could be received.
    pub outages: Vec<Outage>,
    /// What was counted.
    pub tally: Recognised,
}

impl ProblemLedger {
    /// Remembers.
    pub fn apply(&mut self, effects: ProblemEffects) {
        let ProblemEffects { signatures, recognitions, problems, timeline, outages, tally } = effects;
        self.outages.extend(outages);
        for row in signatures {
            match row {
                SignatureRow::Put(row) => _ = self.signatures.insert(row.id, (*row, true)),
                SignatureRow::LetGo(id) => {
                    self.signatures.entry(id).and_modify(|(_, in_hand)| *in_hand = false);
                }
            }
        }
        for row in recognitions {
            match row {
                RecognitionRow::Put(row) => _ = self.recognitions.insert(row.incident, *row),
                RecognitionRow::Moved(incident, to) => {
                    self.recognitions.entry(incident).and_modify(|row| row.signature = Some(to));
                }
                RecognitionRow::Void(incident) => _ = self.recognitions.remove(&incident),
            }
        }
        for row in problems {
            match row {
                ProblemRow::Put(row) => _ = self.problems.insert(row.id, (*row, true)),
                ProblemRow::LetGo(id) => {
                    self.problems.entry(id).and_modify(|(_, in_hand)| *in_hand = false);
                }
            }
        }
        for entry in timeline {
            self.timelines.entry(entry.problem).or_default().push(entry);
        }
        self.tally.add(tally);
    }

    /// What an engine starts from that has these incidents in hand.
    #[must_use]
    pub fn snapshot(&self, in_hand: impl Fn(&IncidentId) -> bool) -> ProblemSnapshot {
        ProblemSnapshot {
            signatures: self.signatures.values().filter(|(_, kept)| *kept).map(|(row, _)| row.clone()).collect(),
            recognitions: self.recognitions.values().filter(|row| in_hand(&row.incident)).cloned().collect(),
            problems: self.problems.values().filter(|(_, kept)| *kept).map(|(row, _)| row.clone()).collect(),
            last_signature: self.signatures.keys().map(|id| id.number).max().unwrap_or(0),
            last_problem: self.problems.keys().map(|id| id.number).max().unwrap_or(0),
        }
    }
}
