//! The room for records that were accepted and not yet taken by the reader of this process.
//!
//! Absent on purpose: what is done with who finds no room; the log answers it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use quell_domain::RecordKind;

use crate::contract::AppendError;

/// Which reserve a record draws on.
#[derive(Clone, Copy, Debug)]
enum Class {
    Alerts,
    Commands,
    Own,
}

impl Class {
    fn of(kind: RecordKind) -> Class {
        match kind {
            RecordKind::Alerts(_) => Class::Alerts,
            RecordKind::Command | RecordKind::Problem => Class::Commands,
            RecordKind::Tick | RecordKind::Outage | RecordKind::Activate => Class::Own,
        }
    }
}

/// How much waits, and how much may.
#[derive(Debug)]
pub(crate) struct Room {
    records: [AtomicUsize; 3],
    bytes: AtomicUsize,
    limits: [usize; 3],
    byte_limit: usize,
    choked: AtomicBool,
}

impl Room {
    /// Room for so many records of alerts with so many bytes, and for so many commands.
    pub(crate) fn new(records: usize, bytes: usize, commands: usize) -> Self {
        Room {
            records: Default::default(),
            bytes: AtomicUsize::new(0),
            limits: [records, commands, commands],
            byte_limit: bytes,
            choked: AtomicBool::new(false),
        }
    }

    /// Takes room for a record, or says how much waits. Bytes are limited for alerts only: all else is small.
    pub(crate) fn reserve(self: &Arc<Self>, kind: RecordKind, bytes: usize) -> Result<Ticket, AppendError> {
        let ticket = self.force(kind, bytes);
        let class = ticket.class as usize;
        let waiting = self.records[class].load(Ordering::Relaxed);
        let held = self.bytes.load(Ordering::Relaxed);
        // A body larger than the whole allowance still passes when nothing else waits.
        let too_big = matches!(ticket.class, Class::Alerts) && held > self.byte_limit && held > bytes;
        if waiting > self.limits[class] || too_big {
            self.choked.fetch_or(matches!(ticket.class, Class::Alerts), Ordering::Relaxed);
            return Err(AppendError::Overloaded { waiting: waiting - 1, bytes: held.saturating_sub(ticket.bytes) });
        }
        Ok(ticket)
    }

    /// Whether alerts were refused since this was last asked.
    pub(crate) fn take_choked(&self) -> bool {
        self.choked.swap(false, Ordering::Relaxed)
    }

    /// How many records wait, of every class.
    pub(crate) fn waiting(&self) -> usize {
        self.records.iter().map(|records| records.load(Ordering::Relaxed)).sum()
    }

    /// Takes room whatever waits: for the log's own Outage records, of which there is one per outage.
    pub(crate) fn force(self: &Arc<Self>, kind: RecordKind, bytes: usize) -> Ticket {
        let class = Class::of(kind);
        let bytes = if matches!(class, Class::Alerts) { bytes } else { 0 };
        self.records[class as usize].fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ticket { room: Arc::clone(self), class, bytes }
    }
}

/// Room that one record holds until it is taken or refused.
#[derive(Debug)]
pub(crate) struct Ticket {
    room: Arc<Room>,
    class: Class,
    bytes: usize,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.room.records[self.class as usize].fetch_sub(1, Ordering::Relaxed);
        self.room.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
