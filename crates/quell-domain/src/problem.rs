//! The problem: the cause, or potential cause, of incidents that come again; and what people ask of it.
//!
//! Absent on purpose: when a problem is drafted, closed or reopened; the engine decides that.

use std::fmt;
use std::str::FromStr;

use crate::change::ChangeId;
use crate::ci::CiId;
use crate::ids::{BadId, IncidentId, read_numbered, write_numbered};
use crate::reason::Reason;
use crate::signature::{Cost, SignatureId};
use crate::time::Timestamp;

/// A problem, counted per shard from 1. Written `PRB-7` in the first shard, `PRB-2.7` in shard 2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProblemId {
    /// The number of the shard that drafted it.
    pub shard: u32,
    /// Its number within the shard.
    pub number: u64,
}

impl fmt::Display for ProblemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_numbered(f, "PRB-", self.shard, self.number)
    }
}

impl FromStr for ProblemId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let wanted = BadId { wanted: "PRB-<number> or PRB-<shard>.<number>" };
        let (shard, number) = read_numbered(text, "PRB-").ok_or(wanted)?;
        Ok(ProblemId { shard, number })
    }
}

/// Where a problem stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ProblemState {
    /// Drafted, and nobody has accepted it yet.
    New = 0,
    /// Somebody looks for the cause.
    Investigating = 1,
    /// Analysed, with a workaround or a root cause.
    KnownError = 2,
    /// The fix is being made.
    FixInProgress = 3,
    /// The fix is made, and whether it works is being tested.
    Verifying = 4,
    /// It stopped.
    Closed = 5,
    /// People said that it is no problem.
    Rejected = 6,
    /// It is the same problem as another one.
    Merged = 7,
}

impl ProblemState {
    /// Every state.
    pub const ALL: [ProblemState; 8] = [
        ProblemState::New,
        ProblemState::Investigating,
        ProblemState::KnownError,
        ProblemState::FixInProgress,
        ProblemState::Verifying,
        ProblemState::Closed,
        ProblemState::Rejected,
        ProblemState::Merged,
    ];

    /// The name used in files and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ProblemState::New => "new",
            ProblemState::Investigating => "investigating",
            ProblemState::KnownError => "known_error",
            ProblemState::FixInProgress => "fix_in_progress",
            ProblemState::Verifying => "verifying",
            ProblemState::Closed => "closed",
            ProblemState::Rejected => "rejected",
            ProblemState::Merged => "merged",
        }
    }

    /// What people call it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            ProblemState::KnownError => "known error",
            ProblemState::FixInProgress => "fix in progress",
            other => other.as_str(),
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<ProblemState> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether it is being worked on, or waits to be.
    #[must_use]
    pub const fn is_open(self) -> bool {
        !matches!(self, ProblemState::Closed | ProblemState::Rejected | ProblemState::Merged)
    }
}

/// A problem as remembered. Its incidents are found by its signatures, its timeline by its id.
#[derive(Clone, PartialEq, Debug)]
pub struct Problem {
    /// Its identity.
    pub id: ProblemId,
    /// Where it stands.
    pub state: ProblemState,
    /// One line that says what comes back.
    pub title: String,
    /// The signatures of its incidents, in the order they came to it.
    pub signatures: Vec<SignatureId>,
    /// The CI judged at fault most often.
    pub cause: Option<CiId>,
    /// When it was drafted.
    pub opened_at: Timestamp,
    /// What its incidents cost together.
    pub cost: Cost,
    /// When the first of them was opened.
    pub first_at: Timestamp,
    /// When the last of them was opened.
    pub last_at: Timestamp,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Until when it is to be solved.
    pub due: Option<Timestamp>,
    /// What people found.
    pub root_cause: Option<String>,
    /// What helps until it is solved.
    pub workaround: Option<String>,
    /// How long half of its incidents took at most, in microseconds, before there was the workaround.
    pub usual_micros: Option<u64>,
    /// How many incidents the workaround was attached to.
    pub used: u64,
    /// In how many of them it helped.
    pub helped: u64,
    /// The fix, once there is one.
    pub fix: Option<Fix>,
    /// When it was closed, while it is.
    pub closed_at: Option<Timestamp>,
    /// The problem that it is the same as.
    pub merged_into: Option<ProblemId>,
    /// Where it stood before, oldest first: what can be taken back.
    pub before: Vec<Standing>,
}

/// What is to make a problem stop.
#[derive(Clone, PartialEq, Debug)]
pub struct Fix {
    /// From when on it counts.
    pub since: Timestamp,
    /// The change that is the fix.
    pub change: Option<ChangeId>,
    /// What the test of it said.
    pub verdict: Option<Reason>,
}

/// Where a problem stood.
#[derive(Clone, PartialEq, Debug)]
pub struct Standing {
    /// Its state.
    pub state: ProblemState,
    /// Its fix.
    pub fix: Option<Fix>,
}

/// One entry of a problem's timeline.
#[derive(Clone, PartialEq, Debug)]
pub struct ProblemEntry {
    /// The problem.
    pub problem: ProblemId,
    /// When, in engine time.
    pub at: Timestamp,
    /// Who: `quell`, or the operator's name.
    pub actor: String,
    /// What and why; the reason's code is the kind of entry.
    pub reason: Reason,
}

/// What is asked of problems and signatures; it comes by the stream of commands.
#[derive(Clone, PartialEq, Debug)]
pub struct ProblemCommand {
    /// Who asks.
    pub actor: String,
    /// What is asked.
    pub ask: ProblemAsk,
}

/// What can be asked.
#[derive(Clone, PartialEq, Debug)]
pub enum ProblemAsk {
    /// "Make a problem of it", however often it came.
    Draft(SignatureId),
    /// Something about one problem.
    Of(ProblemId, ProblemAct),
    /// "They are the same trouble": what the first one's incidents are is counted with the other's.
    MergeSignatures {
        /// The one that goes.
        from: SignatureId,
        /// Where it goes.
        into: SignatureId,
    },
    /// Takes such a merge back.
    PartSignature(SignatureId),
    /// "These are another trouble": they get a signature of their own.
    SplitSignature {
        /// The signature they have.
        from: SignatureId,
        /// Some of the last incidents of it, not all.
        incidents: Vec<IncidentId>,
    },
    /// Whether the workaround attached to an incident helped.
    Helped {
        /// The incident.
        incident: IncidentId,
        /// True when it did.
        helped: bool,
    },
}

/// What can be asked of a problem.
#[derive(Clone, PartialEq, Debug)]
pub enum ProblemAct {
    /// "It is one": somebody looks for the cause.
    Accept,
    /// "It is none", with why.
    Reject {
        /// A note for the timeline.
        why: Option<String>,
    },
    /// "It is the same as that one."
    Merge {
        /// The one that stays.
        into: ProblemId,
    },
    /// To another state, with why. To verifying or closed is to be tested, from now on.
    Move {
        /// Where to.
        to: ProblemState,
        /// A note for the timeline.
        why: Option<String>,
    },
    /// Sets a field, or empties it.
    Set(ProblemField),
    /// "That change is the fix": from its end on it is tested.
    Link {
        /// The change.
        change: ChangeId,
        /// When it was over.
        since: Timestamp,
    },
    /// A remark for the timeline.
    Comment {
        /// The remark.
        text: String,
    },
    /// Takes the last move, rejection, merge or link back.
    Undo,
    /// What the test of its fix said. Only quell says this.
    Verified(Verified),
}

/// A field of a problem that people write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProblemField {
    /// See [`Problem::title`]; never empty.
    Title(String),
    /// See [`Problem::owner`].
    Owner(Option<String>),
    /// See [`Problem::due`].
    Due(Option<Timestamp>),
    /// See [`Problem::root_cause`].
    RootCause(Option<String>),
    /// See [`Problem::workaround`].
    Workaround(Option<String>),
}

/// What the test of a fix found.
#[derive(Clone, PartialEq, Debug)]
pub struct Verified {
    /// The fix that was tested; a verdict on an earlier one counts for nothing.
    pub since: Timestamp,
    /// The verdict.
    pub outcome: FixOutcome,
    /// Incidents before the fix.
    pub before: u64,
    /// Over how many days.
    pub before_days: f64,
    /// Incidents after it.
    pub after: u64,
    /// Over how many days.
    pub after_days: f64,
    /// How many would have come in that time without it.
    pub expected: f64,
    /// The weight of the evidence: it is that many times as probable as if the opposite were true.
    pub evidence: f64,
}

/// A time in which alerts could not be received: that nothing recurred in it says nothing of a fix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Outage {
    /// Its first instant.
    pub from: Timestamp,
    /// The instant after its last.
    pub to: Timestamp,
}

/// Whether a fix works.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FixOutcome {
    /// It recurs less than half as often.
    Works,
    /// It recurs less often, and too often.
    Partly,
    /// It recurs more than half as often.
    DoesNot,
}

impl FixOutcome {
    /// Every outcome.
    pub const ALL: [FixOutcome; 3] = [FixOutcome::Works, FixOutcome::Partly, FixOutcome::DoesNot];

    /// The name used in files and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            FixOutcome::Works => "works",
            FixOutcome::Partly => "partly",
            FixOutcome::DoesNot => "does_not",
        }
    }

    /// The outcome of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<FixOutcome> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_spelling() {
        assert_eq!("PRB-7".parse(), Ok(ProblemId { shard: 0, number: 7 }));
        assert_eq!("SIG-2.7".parse(), Ok(SignatureId { shard: 2, number: 7 }));
        assert_eq!(SignatureId { shard: 2, number: 7 }.to_string(), "SIG-2.7");
        assert!("prb-7".parse::<ProblemId>().is_err() && "INC-7".parse::<SignatureId>().is_err());
    }

    #[test]
    fn states_and_outcomes_have_names() {
        for state in ProblemState::ALL {
            assert_eq!(ProblemState::from_name(state.as_str()), Some(state));
        }
        for outcome in FixOutcome::ALL {
            assert_eq!(FixOutcome::from_name(outcome.as_str()), Some(outcome));
        }
    }
}
