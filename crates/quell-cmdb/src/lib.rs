//! The CMDB: configuration items and their relationships as a graph.
//!
//! Deliberately absent: files, tables, clocks, and any judgement about an alert. Every walk is bounded by its cost
//! and says "partial" when it stops.

pub mod graph;

pub use graph::{Blast, CiIx, Dependent, Graph};
