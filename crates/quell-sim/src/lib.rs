//! Storms with ground truth, scoring, and the harness that breaks quell on purpose.
//!
//! [`storm`] is the demo's, on one small estate; [`storms`] are generated, of any size, to be measured by; [`quality`]
//! measures on recorded alerts. Deliberately absent: decisions about alerts (this crate knows the truth and must not
//! share code with the judge).

pub mod estate;
pub mod http;
pub mod quality;
pub mod rng;
pub mod score;
pub mod storm;
pub mod storms;
pub mod torture;

pub use estate::sample_estate;
pub use score::{FaultScore, FoundIncident, score};
pub use storm::{Fault, Post, Storm, demo_storm};
