//! The change: a planned alteration of a CI, as whoever made it told.
//!
//! Absent on purpose: whether it broke anything; the engine weighs that.

use std::fmt;
use std::str::FromStr;

use crate::alert::{Binding, Source};
use crate::batch::Reject;
use crate::ids::{BadId, Fingerprint, Position};
use crate::labels::Labels;
use crate::reason::Reason;
use crate::time::Timestamp;

/// Which change: the record that told of it first, and its place among what that record told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChangeId {
    /// The record.
    pub position: Position,
    /// Counted within the record.
    pub ordinal: u32,
}

/// Written `7.0`: the record's position and the place within it.
impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.position, self.ordinal)
    }
}

impl FromStr for ChangeId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let read = || {
            let (position, ordinal) = text.split_once('.')?;
            Some(ChangeId { position: Position(position.parse().ok()?), ordinal: ordinal.parse().ok()? })
        };
        read().ok_or(BadId { wanted: "<position>.<ordinal>" })
    }
}

/// A change as its sender put it, before any decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToldChange {
    /// Its identity: the hash of all that its sender said of it. The same said again is the same change.
    pub fingerprint: Fingerprint,
    /// What was done, in the sender's words.
    pub summary: String,
    /// Who did it, or whose tool; empty where nobody says so.
    pub by: String,
    /// Where to read more.
    pub link: Option<String>,
    /// The words by which its CI is found.
    pub labels: Labels,
    /// When it began, where the sender says so.
    pub starts_at: Option<Timestamp>,
    /// When it was over, where the sender says so.
    pub ends_at: Option<Timestamp>,
}

/// The changes of one accepted request, decoded, with what of it was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changes {
    /// Which contract they came by.
    pub source: Source,
    /// The changes, in the sender's order.
    pub items: Vec<ToldChange>,
    /// The refused parts.
    pub rejects: Vec<Reject>,
}

impl Changes {
    /// Changes received in all: accepted and refused.
    #[must_use]
    pub fn received(&self) -> usize {
        self.items.len() + self.rejects.len()
    }
}

/// A change as it is remembered.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// See [`ChangeId`].
    pub id: ChangeId,
    /// See [`ToldChange::fingerprint`].
    pub fingerprint: Fingerprint,
    /// Which contract it came by.
    pub source: Source,
    /// See [`ToldChange::summary`].
    pub summary: String,
    /// See [`ToldChange::by`].
    pub by: String,
    /// See [`ToldChange::link`].
    pub link: Option<String>,
    /// See [`ToldChange::labels`].
    pub labels: Labels,
    /// The CI that was changed; `None` when none was found.
    pub binding: Option<Binding>,
    /// Why no CI was found.
    pub unbound: Option<Reason>,
    /// When it began: as the sender says, else when it was received.
    pub starts_at: Timestamp,
    /// When it was over; `None` for one that took no time, or whose sender does not say.
    pub ends_at: Option<Timestamp>,
    /// When it was first told of.
    pub received_at: Timestamp,
}
