//! The HTTP side, in process: scripted ports and a scripted store behind the real router.
//!
//! Absent on purpose: a real log, engine or database; their own rooms prove those.

mod changes;
mod doors;
mod forecasts;
mod pages;
mod problem_script;
mod problems;
mod reads;
mod script;
mod sharded;
mod stream;
