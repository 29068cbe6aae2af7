//! What is due when. Entries are not removed when they move: whoever fires one asks its subject whether it still is
//! due, so that extending a deadline (every repeat does) costs nothing here.
//!
//! Absent on purpose: a clock; the engine says what time it is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use quell_domain::Timestamp;

/// What a deadline is about. The order is the order of firing at one instant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DeadlineReason {
    /// An alert was not sent again.
    AlertExpires,
    /// A resolve without a fire has been kept long enough.
    StaleForgotten,
    /// An incident has changed and is to be judged anew.
    IncidentReview,
    /// A resolved incident will not reopen any more.
    IncidentLetGo,
    /// An ended alert of no incident does not count any more.
    UnplacedLetGo,
}

/// One entry: the subject is an alert's or incident's number.
pub(crate) type Deadline = (Timestamp, DeadlineReason, u64);

/// All deadlines, the earliest first; at one instant by reason and number, so that the order is the same in every run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deadlines {
    heap: BinaryHeap<Reverse<Deadline>>,
}

impl Deadlines {
    pub(crate) fn add(&mut self, at: Timestamp, reason: DeadlineReason, subject: u64) {
        self.heap.push(Reverse((at, reason, subject)));
    }

    pub(crate) fn next(&self) -> Option<Deadline> {
        self.heap.peek().map(|Reverse(deadline)| *deadline)
    }

    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Deadline> {
        self.next().filter(|(at, ..)| *at <= now)?;
        self.heap.pop().map(|Reverse(deadline)| deadline)
    }
}
