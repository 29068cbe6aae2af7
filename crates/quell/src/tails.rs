//! New records of both streams, and how far they were taken: whoever begins to decide reads the log up to there, and goes
//! on with what comes.
//!
//! Absent on purpose: what is done with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quell_domain::{Input, Position};
use quell_log::{Follow, Record};

/// New records of both streams.
pub(crate) struct Tails {
    main: Box<dyn Follow<Input>>,
    commands: Box<dyn Follow<Input>>,
    last: [Position; 2],
    ahead: Arc<AtomicBool>,
}

/// The next records of one of them.
pub(crate) enum Taken {
    /// Of the main stream; at least one.
    Main(Vec<Record<Input>>),
    /// Commands; at least one.
    Commands(Vec<Record<Input>>),
    /// The log is closed, and everything was taken.
    Closed,
}

impl Tails {
    /// `last` is the newest record of each stream as it was found when the log was opened.
    pub(crate) fn new(main: Box<dyn Follow<Input>>, commands: Box<dyn Follow<Input>>, last: [Position; 2]) -> Self {
        Tails { main, commands, last, ahead: Arc::default() }
    }

    /// Records of the main stream that others received come decoded while that is set.
    pub(crate) fn prepared(self, ahead: Arc<AtomicBool>) -> Self {
        Tails { ahead, ..self }
    }

    /// Whether records shall come decoded; who only counts them needs none.
    pub(crate) fn decode_ahead(&self, wanted: bool) {
        self.ahead.store(wanted, Ordering::Release);
    }

    /// The last record of each stream that was taken, or was there before.
    pub(crate) fn last(&self) -> [Position; 2] {
        self.last
    }

    /// The next records, commands first. Safe to cancel.
    pub(crate) async fn next(&mut self, limit: usize) -> Taken {
        let Tails { main, commands, last, ahead: _ } = self;
        let (at, records) = tokio::select! {
            biased;
            given = commands.recv_many(limit) => (1, given),
            taken = main.recv_many(limit) => (0, taken),
        };
        let Some(newest) = records.last() else { return Taken::Closed };
        last[at] = newest.stamp.position;
        if at == 1 { Taken::Commands(records) } else { Taken::Main(records) }
    }

    /// The next command, if one waits.
    pub(crate) fn try_command(&mut self) -> Option<Record<Input>> {
        let record = self.commands.try_recv()?;
        self.last[1] = record.stamp.position;
        Some(record)
    }

    /// The next record of the main stream, if one waits.
    pub(crate) fn try_main(&mut self) -> Option<Record<Input>> {
        let record = self.main.try_recv()?;
        self.last[0] = record.stamp.position;
        Some(record)
    }
}
