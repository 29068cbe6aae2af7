//! What operators ask for, and what became of it.
//!
//! Absent on purpose: who may ask; that is settled before a command reaches the log.

use crate::ci::CiId;
use crate::ids::{AlertId, IncidentId, Position};

/// An operator's request about one incident.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// The incident.
    pub incident: IncidentId,
    /// Who asks.
    pub actor: String,
    /// What is asked.
    pub kind: CommandKind,
}

/// What an operator can ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandKind {
    /// "I have it."
    Acknowledge,
    /// "It is over", with why, if said.
    Resolve {
        /// A note for the timeline.
        note: Option<String>,
    },
    /// A remark for the timeline.
    Comment {
        /// The remark.
        text: String,
    },
    /// "It is the same trouble as that one": all of its alerts move there, and it is closed.
    Merge {
        /// Where they move.
        into: IncidentId,
    },
    /// "These are another trouble": they move to a new incident.
    Split {
        /// Alerts of the incident, not all of them.
        alerts: Vec<AlertId>,
    },
    /// "This alert does not belong here": it moves to an incident of its own.
    WrongGroup {
        /// The alert.
        alert: AlertId,
    },
    /// "This CI is not at fault", with the one that is, if known.
    WrongCause {
        /// The CI judged wrongly.
        ci: CiId,
        /// The CI at fault.
        right: Option<CiId>,
    },
    /// Takes back the last merge, split, wrong group or wrong cause of the incident that still stands.
    Undo,
}

/// What the engine made of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It was done.
    Done,
    /// It was so already; nothing changed.
    Unchanged,
    /// The engine knows no such incident, or no longer keeps it in hand.
    NotFound,
    /// It cannot be done as things stand: nothing changed.
    Refused,
}

impl Verdict {
    /// The name used in the API and the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Done => "done",
            Verdict::Unchanged => "unchanged",
            Verdict::NotFound => "not_found",
            Verdict::Refused => "refused",
        }
    }
}

/// A decided command. `after` keeps its place among the alerts, so that a replay puts it there again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Its position on the stream of commands.
    pub command: Position,
    /// The last record of the other stream that was applied before it.
    pub after: Position,
    /// What became of it.
    pub verdict: Verdict,
}
