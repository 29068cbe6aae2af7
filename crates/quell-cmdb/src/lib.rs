//! The CMDB: configuration items and their relationships as a graph.
//!
//! Deliberately absent: files, tables, clocks, and any judgement about an alert. Every walk is bounded by its cost
//! and says "partial" when it stops.
#![deny(clippy::iter_over_hash_type)]

pub mod blast;
pub mod graph;
pub mod names;
mod parts;
pub mod reach;

#[cfg(test)]
mod fixture;

pub use blast::{Blast, Dependent};
pub use graph::{CiIx, Graph, Scratch};
pub use names::{BindBy, Found, Word};
pub use parts::Parts;
pub use reach::Reach;
