//! The shell: configuration, the one clock, the loop around the engine, the wiring and the command line.
//!
//! Deliberately absent: decisions (`quell-engine`), formats, SQL, routes. This crate only puts the rooms together.

pub mod artefacts;
pub mod check;
pub mod cli;
pub mod clock;
pub mod compare;
mod demo;
mod desk;
#[cfg(test)]
mod desk_tests;
pub mod difference;
#[cfg(test)]
mod difference_tests;
pub mod explain;
pub mod forecast;
mod gauges;
mod hygiene;
mod import;
mod intake;
mod keeper;
mod learner;
#[cfg(test)]
mod learner_tests;
mod live;
mod logs;
mod recover;
pub mod replay;
pub mod serve;
mod settings;
pub mod shell;
pub mod traffic;
