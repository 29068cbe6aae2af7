//! What this process knows of its own records on one stream while they are on their way: their numbers, what they
//! carry, and the room that they hold until they are taken again. And how far it has read.
//!
//! Absent on purpose: other nodes' records.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quell_domain::{Origin, Timestamp};

use super::envelope::Mark;
use crate::room::Ticket;

/// See the module.
#[derive(Debug)]
pub(super) struct Own<T> {
    node: u64,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    sequence: u64,
    /// The last instant that was given.
    last: Timestamp,
    mark: Mark,
    /// Bounded by the room: each holds a ticket.
    waiting: HashMap<u64, (Option<T>, Ticket)>,
}

/// One more record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbered {
    pub(super) origin: Origin,
    pub(super) at: Timestamp,
    pub(super) mark: Mark,
}

impl<T> Own<T> {
    pub(super) fn new(node: u64, mark: Mark) -> Self {
        let state = State { sequence: 0, last: mark.floor, mark, waiting: HashMap::new() };
        Own { node, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers a record and sends it while no other can come between, so that numbers and instants grow in the order of
    /// sending. What it carries is kept until it is claimed or given up.
    pub(super) fn send<E>(
        &self,
        now: Timestamp,
        carry: Option<T>,
        ticket: Ticket,
        send: impl FnOnce(Numbered) -> Result<(), E>,
    ) -> Result<Numbered, E> {
        let mut state = self.state();
        let numbered = number(&mut state, self.node, now);
        send(numbered)?;
        state.waiting.insert(numbered.origin.sequence, (carry, ticket));
        Ok(numbered)
    }

    /// Numbers a record that is not sent yet.
    pub(super) fn number(&self, now: Timestamp) -> Numbered {
        number(&mut self.state(), self.node, now)
    }

    /// What a record carries, when it comes back, and the room that it held.
    pub(super) fn claim(&self, origin: Origin) -> Option<(Option<T>, Ticket)> {
        if origin.node != self.node {
            return None;
        }
        self.state().waiting.remove(&origin.sequence)
    }

    /// How far the stream was read.
    pub(super) fn read(&self, mark: Mark) {
        self.state().mark = mark;
    }

    pub(super) fn mark(&self) -> Mark {
        self.state().mark
    }
}

fn number<T>(state: &mut State<T>, node: u64, now: Timestamp) -> Numbered {
    state.sequence += 1;
    state.last = state.last.max(state.mark.floor).max(now);
    Numbered { origin: Origin { node, sequence: state.sequence }, at: state.last, mark: state.mark }
}
