//! The durable log: what was received, in one order per stream, kept until nothing needs it.
//!
//! A record is acknowledged only when it cannot be lost any more. Deliberately absent: what the bytes mean
//! (`quell-formats`), what follows from them (`quell-engine`), and clocks (one is handed in).

pub mod contract;
pub mod dead;
pub mod embedded;
pub mod kafka;
mod room;

pub use contract::{
    Append, AppendError, Appended, CONTEXT_BYTES, Clock, Damage, Draft, Follow, LogState, Read, ReadError, Record,
    Retention, Stamp, Stream,
};
pub use dead::{DeadLetter, DeadLetterError, DeadLetters, FileLetters};
pub use embedded::{Appender, EmbeddedLog, OpenError, Opened, Options, OutageBody, Reader, Tail};
