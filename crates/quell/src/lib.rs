//! The shell: configuration, the one clock, the loop around the engine, the wiring and the command line.
//!
//! Deliberately absent: decisions (`quell-engine`), formats, SQL, routes. This crate only puts the rooms together.

pub mod artefacts;
mod aside;
mod backup;
mod batch;
pub mod check;
pub mod cli;
pub mod clock;
pub mod compare;
mod dead_letters;
mod deliveries;
mod demo;
mod desk;
#[cfg(test)]
mod desk_tests;
pub mod difference;
#[cfg(test)]
mod difference_tests;
mod doors;
#[cfg(test)]
mod doors_tests;
mod expected;
pub mod explain;
mod follow;
pub mod forecast;
mod forecaster;
#[cfg(test)]
mod forecaster_tests;
mod gauges;
mod hygiene;
mod impact;
mod import;
mod import_incidents;
mod intake;
mod journey;
mod keeper;
mod learner;
#[cfg(test)]
mod learner_tests;
mod live;
mod logs;
mod migrate;
#[cfg(test)]
mod problem_tests;
mod problems;
mod prover;
mod raw;
mod recover;
pub mod replay;
mod seats;
pub mod serve;
mod settings;
mod shards;
pub mod shell;
mod shown;
mod stores;
mod streams;
mod tails;
mod telemetry;
pub mod traffic;
mod turns;
mod workers;
