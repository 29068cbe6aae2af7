//! HTTP: the senders' doors, the REST API, the live stream and the pages.
//!
//! Deliberately absent: decisions, SQL, and any way around the log; whatever changes something goes through
//! [`ports::Intake`].

pub mod ports;
