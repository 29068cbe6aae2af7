//! The signature: by what incidents of the same trouble are known, and what each incident was taken for.
//!
//! Absent on purpose: when two incidents are the same trouble; the engine decides that. A signature that another system
//! wrote as a text is in `history`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::ci::CiId;
use crate::ids::{BadId, IncidentId, read_numbered, write_numbered};
use crate::incident::Priority;
use crate::problem::ProblemId;
use crate::time::Timestamp;

/// A signature, counted per shard from 1. Written `SIG-7` in the first shard, `SIG-2.7` in shard 2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SignatureId {
    /// The number of the shard that gave it.
    pub shard: u32,
    /// Its number within the shard.
    pub number: u64,
}

impl fmt::Display for SignatureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_numbered(f, "SIG-", self.shard, self.number)
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
