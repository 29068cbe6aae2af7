//! Foreign texts to values and back: what senders post, the files people write, and what quell shows.
//!
//! Deliberately absent: clocks, environment, files, sockets and decisions. Bytes are handed in, and every mistake in
//! them is a value that says where it is, what was found and what is allowed.

#![cfg_attr(not(test), deny(clippy::iter_over_hash_type))]

pub mod alertmanager;
pub mod cloud_event;
pub mod config;
pub mod database;
pub mod forecast;
pub mod history;
pub mod import;
pub mod learned;
pub mod mistake;
pub mod notice;
pub mod pagerduty;
mod problem_record;
pub mod record;
pub mod replay;
pub mod settings;
pub mod streams;
pub mod tests_in_files;
pub mod topology;
mod user_rules;
pub mod views;

mod csv;
mod pipelines;
mod rules;
mod sniff;
mod text;
mod tree;
