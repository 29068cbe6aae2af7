//! What operators say of quell's decisions, kept as data to learn from.
//!
//! Absent on purpose: what is learned from it; the engine decides that.

use crate::ci::CiId;
use crate::ids::{IncidentId, Position};
use crate::time::Timestamp;

/// One statement of an operator. The command that carried it is its identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Feedback {
    /// The command's place on the stream of commands.
    pub command: Position,
    /// The incident it was said of.
    pub incident: IncidentId,
    /// Who said it.
    pub actor: String,
    /// When.
    pub at: Timestamp,
    /// What was said.
    pub said: Said,
    /// Whether it still counts.
    pub standing: Standing,
}

/// What was said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// Alerts of both sides are one trouble.
    Together {
        /// Of the incident.
        ours: Vec<Party>,
        /// Of the other one.
        theirs: Vec<Party>,
    },
    /// Alerts of both sides are different troubles.
    Apart {
        /// What stayed in the incident.
        ours: Vec<Party>,
        /// What does not belong there.
        theirs: Vec<Party>,
    },
    /// A CI is not at fault for such alerts.
    Cause {
        /// That CI.
        wrong: CiId,
        /// The one that is.
        right: Option<CiId>,
        /// Alerts of the incident.
        alerts: Vec<Party>,
    },
}

/// A kind of alert on one CI: what recurs when the same trouble comes again.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Party {
    /// The CI; `None` for an unbound alert.
    pub ci: Option<CiId>,
    /// The alert's name.
    pub alert: String,
}

/// Whether a statement still counts. The discriminants are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Standing {
    /// It counts.
    InForce = 0,
    /// It was taken back.
    Undone = 1,
    /// Later ones took its place: the table is full.
    CrowdedOut = 2,
}

impl Standing {
    /// The name used in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Standing::InForce => "in_force",
            Standing::Undone => "undone",
            Standing::CrowdedOut => "crowded_out",
        }
    }
}
