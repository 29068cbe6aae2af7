//! The engine: deduplicate, correlate, locate and carry incidents through their life. Values in, values out.
//!
//! Deliberately absent: clocks, randomness, logging, IO, async and errors. The engine is told the time, counts its
//! ids, and says what it wants remembered as [`Effects`]; the shell persists before it speaks.

#![deny(clippy::iter_over_hash_type)]

pub mod again;
mod alerts;
mod bind;
mod bridge;
mod changes;
mod correlate;
pub mod deadlines;
pub mod effects;
pub mod engine;
pub mod heard;
mod history;
mod judge;
pub mod learn;
pub mod ledger;
mod let_go;
mod lifecycle;
mod locate;
mod members;
mod moving;
mod operator;
mod part;
mod partition;
mod place;
pub mod problems;
mod pulse;
mod receive;
mod revise;
mod ruled;
pub mod rules;
pub mod settings;
mod signs;
mod strikes;
mod suspects;
pub mod symptoms;
mod threshold;
mod twins;
mod verdicts;
mod wave;

pub use deadlines::DeadlineReason;
pub use effects::{AlertChange, Altered, ChangeRow, Checkpoint, Disposed, Effects, Fold, Parked, Snapshot};
pub use engine::{Artefact, Engine};
pub use heard::{Link, PairKey, pair_key};
pub use learn::Learned;
pub use ledger::Ledger;
pub use locate::STANDS_OUT;
pub use part::Part;
pub use problems::{
    ProblemEffects, ProblemLedger, ProblemRow, ProblemSnapshot, Recognised, RecognitionRow, SignatureRow,
};
pub use settings::Settings;
