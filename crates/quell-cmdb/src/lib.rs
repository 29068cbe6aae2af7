//! The CMDB: configuration items and their relationships as a graph.
//!
//! Deliberately absent: files, tables, clocks, and any judgement about an alert. Every walk is bounded by its cost
//! and says "partial" when it stops.
#![deny(clippy::iter_over_hash_type)]

pub mod blast;
pub mod difference;
pub mod graph;
pub mod hygiene;
mod kin;
pub mod merge;
pub mod names;
mod parts;
pub mod reach;
mod redundancy;

#[cfg(test)]
mod fixture;

pub use blast::{Blast, Dependent};
pub use difference::{Change, Changes, Difference, FieldChange};
pub use graph::{CiIx, Graph, Scratch};
pub use hygiene::{Duplicate, Hygiene, Part};
pub use kin::{Kin, stem};
pub use merge::{Merged, merge};
pub use names::{BindBy, Found, Word};
pub use parts::Parts;
pub use reach::{Cone, Reach};
pub use redundancy::Lost;
