//! The engine: deduplicate, correlate, locate and carry incidents through their life. Values in, values out.
//!
//! Deliberately absent: clocks, randomness, logging, IO, async and errors. The engine is told the time, counts its
//! ids, and says what it wants remembered as [`Effects`]; the shell persists before it speaks.

pub mod effects;
pub mod settings;

pub use effects::{AlertChange, Checkpoint, Disposed, Effects, Fold, Parked, Snapshot};
pub use settings::Settings;
