//! Telling the outside: one egress client, one worker per sink.
//!
//! A notice is told at least once to every sink, with the same id at every attempt, and an incident's notices in
//! order. What keeps one sink waiting keeps no other.
//!
//! Deliberately absent: deciding what is told (the engine) and remembering what was taken (the store).

pub mod egress;
pub mod signature;
pub mod stream;
pub mod worker;

pub use egress::{EgressClient, EgressError, EgressPolicy};
pub use signature::Secret;
pub use stream::{Announcer, Shapes, Untaken};
pub use worker::{Attempt, Attempted, Clock, Observer, Outbox, Sink, run};
