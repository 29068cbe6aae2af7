//! Storms with ground truth, scoring, and the harness that breaks quell on purpose.
//!
//! Deliberately absent: decisions about alerts (this crate knows the truth and must not share code with the judge),
//! and the large generator that measures correlation over many storms; it gets its own module beside [`storm`].

pub mod estate;
pub mod http;
pub mod quality;
pub mod rng;
pub mod score;
pub mod storm;
pub mod torture;

pub use estate::sample_estate;
pub use score::{FaultScore, FoundIncident, score};
pub use storm::{Fault, Post, Storm, demo_storm};
