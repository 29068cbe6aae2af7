//! Everything that can change a decision. Whatever is not an [`Input`] cannot.

use crate::batch::Batch;
use crate::change::Changes;
use crate::command::Command;
use crate::ids::Digest;
use crate::problem::ProblemCommand;
use crate::time::Timestamp;

/// What the log carries, decoded.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// Alerts of one accepted request, with what of it was refused.
    Alerts(Batch),
    /// Changes of one accepted request, with what of it was refused.
    Changes(Changes),
    /// An operator's request; it comes by the stream of commands.
    Command(Command),
    /// What is asked of problems; it comes by the stream of commands.
    Problem(ProblemCommand),
    /// Nothing but the time of its record: deadlines up to it are due.
    Tick,
    /// Nothing could be received in `[from, to)`: whatever would have ended for want of a repeat gets that time back.
    Outage {
        /// Since when.
        from: Timestamp,
        /// Until when.
        to: Timestamp,
    },
    /// From here on this artefact is in force.
    Activate(Activation),
}

/// Puts an artefact in force that was stored before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Activation {
    /// Which kind of artefact it replaces.
    pub kind: ArtefactKind,
    /// Which one.
    pub digest: Digest,
}

/// Large immutable things that decisions rest on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ArtefactKind {
    /// CIs and relationships.
    Topology = 1,
    /// Rules and pipelines.
    Rules = 2,
    /// What history teaches.
    Learned = 3,
}

impl ArtefactKind {
    /// Every kind.
    pub const ALL: [ArtefactKind; 3] = [ArtefactKind::Topology, ArtefactKind::Rules, ArtefactKind::Learned];

    /// The name used in the store and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ArtefactKind::Topology => "topology",
            ArtefactKind::Rules => "rules",
            ArtefactKind::Learned => "learned",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<ArtefactKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What a record's bytes hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RecordKind {
    /// A request's body, exactly as its sender posted it: alerts or changes, as its contract says.
    Alerts(crate::alert::Source),
    /// An operator's command.
    Command,
    /// A tick of time; no bytes.
    Tick,
    /// An outage of intake.
    Outage,
    /// An activation.
    Activate,
    /// What is asked of problems.
    Problem,
}

impl RecordKind {
    /// The number kept on the log: never renumber.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            RecordKind::Command => 1,
            RecordKind::Tick => 2,
            RecordKind::Outage => 3,
            RecordKind::Activate => 4,
            RecordKind::Problem => 5,
            RecordKind::Alerts(source) => 64 + source as u8,
        }
    }

    /// The kind with that number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<RecordKind> {
        match code {
            1 => Some(RecordKind::Command),
            2 => Some(RecordKind::Tick),
            3 => Some(RecordKind::Outage),
            4 => Some(RecordKind::Activate),
            5 => Some(RecordKind::Problem),
            code => crate::alert::Source::from_code(code.checked_sub(64)?).map(RecordKind::Alerts),
        }
    }
}
