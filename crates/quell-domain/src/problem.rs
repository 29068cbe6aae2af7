//! The problem: the cause, or potential cause, of incidents that come again; and the signature by which they are known.
//!
//! Absent on purpose: when two incidents are the same trouble, and when a problem is drafted, closed or reopened; the
//! engine decides that. A signature that another system wrote as a text is in `history`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::change::ChangeId;
use crate::ci::CiId;
use crate::ids::{BadId, IncidentId, read_numbered, write_numbered};
use crate::incident::Priority;
use crate::reason::Reason;
use crate::time::Timestamp;

/// A signature, counted per shard from 1. Written `SIG-7` in the first shard, `SIG-2.7` in shard 2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SignatureId {
    /// The number of the shard that gave it.
    pub shard: u32,
    /// Its number within the shard.
    pub number: u64,
}

/// A problem, counted per shard from 1. Written `PRB-7` in the first shard, `PRB-2.7` in shard 2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProblemId {
    /// The number of the shard that drafted it.
    pub shard: u32,
    /// Its number within the shard.
    pub number: u64,
}

impl fmt::Display for SignatureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_numbered(f, "SIG-", self.shard, self.number)
    }
}

impl fmt::Display for ProblemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_numbered(f, "PRB-", self.shard, self.number)
    }
}

impl FromStr for SignatureId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let wanted = BadId { wanted: "SIG-<number> or SIG-<shard>.<number>" };
        let (shard, number) = read_numbered(text, "SIG-").ok_or(wanted)?;
        Ok(SignatureId { shard, number })
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

/// An alert's name, and the CI, else the instance, where it showed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Sign {
    /// Where; `None` when it names neither.
    pub place: Option<String>,
    /// What a person would call it.
    pub alert: String,
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{} on {place}", self.alert),
            None => f.write_str(&self.alert),
        }
    }
}

/// What incidents of the same trouble have in common. Signs and words go by their hashes; of many, those with the least
/// hashes are kept, so that what is kept of two incidents can be compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownSignature {
    /// Its identity.
    pub id: SignatureId,
    /// The CIs judged at fault, with in how many of its incidents.
    pub causes: BTreeMap<CiId, u32>,
    /// Its alerts, with in how many of its incidents each was.
    pub signs: BTreeMap<u64, (Sign, u32)>,
    /// The hashes of the words its alerts say, with in how many of its incidents each was.
    pub words: BTreeMap<u64, u32>,
    /// Its incidents that are over, and what they cost together.
    pub cost: Cost,
    /// When the first of them was opened.
    pub first_at: Timestamp,
    /// When the last of them was opened.
    pub last_at: Timestamp,
    /// The title of the last of them.
    pub title: String,
    /// The last few of them, by when they were opened.
    pub past: Vec<PastIncident>,
    /// The signature that people said is the same trouble.
    pub merged_into: Option<SignatureId>,
    /// Its problem.
    pub problem: Option<ProblemId>,
}

/// What incidents cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cost {
    /// How many there were.
    pub incidents: u64,
    /// How long they were open together, in microseconds.
    pub open_micros: u64,
    /// How many alerts were in them.
    pub alerts: u64,
}

impl Cost {
    /// Adds another's.
    pub fn add(&mut self, other: Cost) {
        self.incidents += other.incidents;
        self.open_micros = self.open_micros.saturating_add(other.open_micros);
        self.alerts += other.alerts;
    }

    /// Takes another's away.
    pub fn subtract(&mut self, other: Cost) {
        self.incidents = self.incidents.saturating_sub(other.incidents);
        self.open_micros = self.open_micros.saturating_sub(other.open_micros);
        self.alerts = self.alerts.saturating_sub(other.alerts);
    }

    /// Minutes open together.
    #[must_use]
    pub fn minutes(self) -> f64 {
        self.open_micros as f64 / 60e6
    }
}

/// An incident of a signature that is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PastIncident {
    /// Which.
    pub incident: IncidentId,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was over.
    pub ended_at: Timestamp,
    /// How it ended, in one sentence.
    pub how: String,
    /// Alerts in it.
    pub alerts: u64,
    /// What it looked like.
    pub traits: Traits,
}

impl PastIncident {
    /// What it cost.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let open_micros = u64::try_from(self.ended_at.micros() - self.opened_at.micros()).unwrap_or(0);
        Cost { incidents: 1, open_micros, alerts: self.alerts }
    }
}

/// What an incident looks like: hashes that rise.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Traits {
    /// The CI judged at fault.
    pub cause: Option<CiId>,
    /// Its alerts.
    pub signs: Vec<u64>,
    /// The words they say.
    pub words: Vec<u64>,
}

/// What an incident was taken for.
#[derive(Clone, PartialEq, Debug)]
pub struct Recognition {
    /// The incident.
    pub incident: IncidentId,
    /// The signature it has, or, while it is open, is most like; `None` when it is like none.
    pub signature: Option<SignatureId>,
    /// How like, 0 to 1.
    pub likeness: f64,
    /// Nothing of the kind was known when it was opened.
    pub novel: bool,
    /// What it looks like.
    pub traits: Traits,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was over; `None` while it is not, and then it does not count yet.
    pub ended_at: Option<Timestamp>,
    /// How it ended, in one sentence.
    pub how: String,
    /// Alerts in it.
    pub alerts: u64,
    /// Its priority at the end.
    pub priority: Priority,
    /// The most critical service at risk.
    pub service: Option<CiId>,
    /// How many CIs may have degraded.
    pub dependents: u64,
    /// The workaround that was attached to it.
    pub workaround: Option<Attached>,
}

/// A known error's workaround on an incident.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attached {
    /// Whose.
    pub problem: ProblemId,
    /// The workaround as it was then.
    pub text: String,
    /// When it was attached.
    pub at: Timestamp,
    /// Whether it helped; `None` when that is not known yet.
    pub helped: Option<bool>,
    /// Who said so; `None` when quell judged by how long the incident took.
    pub said_by: Option<String>,
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
