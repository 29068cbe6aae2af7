//! The incident: an unplanned interruption or loss of quality of a service.
//!
//! Absent on purpose: when to open, update or resolve one; the engine decides that.

use std::fmt;
use std::sync::Arc;

use crate::ci::{CiId, Criticality};
use crate::ids::{AlertId, IncidentId, Position};
use crate::reason::Reason;
use crate::time::Timestamp;

/// Where an incident stands. Whether somebody has taken it is `acknowledged_at`, not a state of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum IncidentState {
    /// Something is still wrong.
    Open = 0,
    /// Restored; it may reopen.
    Resolved = 1,
}

impl IncidentState {
    /// The name used in files and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            IncidentState::Open => "open",
            IncidentState::Resolved => "resolved",
        }
    }
}

/// How much of the business is touched, from the blast radius.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Impact {
    /// No service at risk, or only ones of low criticality.
    Low,
    /// A service of medium criticality at risk.
    Medium,
    /// A service of high or critical criticality at risk.
    High,
}

/// How fast it must be acted on, from the severities of the firing alerts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Urgency {
    /// For information only.
    Low,
    /// Warnings.
    Medium,
    /// Errors and worse.
    High,
}

/// Impact × urgency, 1 (worst) to 5.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Priority(u8);

impl Priority {
    /// From its number; `None` outside 1..=5.
    #[must_use]
    pub const fn new(number: u8) -> Option<Priority> {
        if number >= 1 && number <= 5 { Some(Priority(number)) } else { None }
    }

    /// Its number, 1 to 5.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "P{}", self.0)
    }
}

/// A CI judged likely at fault.
#[derive(Clone, PartialEq, Debug)]
pub struct Cause {
    /// The CI.
    pub ci: CiId,
    /// Its share of the belief among all candidates, 0 to 1; the scores of one incident sum to at most 1.
    pub score: f64,
    /// What speaks for and against it, the weightiest first.
    pub evidence: Vec<Reason>,
}

/// A service in a blast radius.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceAtRisk {
    /// The service.
    pub ci: CiId,
    /// What people call it.
    pub name: String,
    /// What its loss costs.
    pub criticality: Criticality,
    /// Who answers for it.
    pub owner: Option<String>,
}

/// The dependents that may degrade.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BlastRadius {
    /// How many CIs, the faulty ones not counted.
    pub cis: u64,
    /// The services among them, the most critical first, then by id. Shared, because a large graph hands out the same
    /// ones again and again.
    pub services: Vec<Arc<ServiceAtRisk>>,
    /// True when the walk stopped at its cost limit, so that there may be more.
    pub partial: bool,
    /// How many of the relationships that this rests on are stale.
    pub stale_relationships: u64,
    /// When the longest unseen of those was last seen.
    pub oldest_seen: Option<Timestamp>,
}

/// An incident as remembered. Its alerts are found by their `incident`; its timeline by its id.
#[derive(Clone, PartialEq, Debug)]
pub struct Incident {
    /// Its identity.
    pub id: IncidentId,
    /// Open or resolved.
    pub state: IncidentState,
    /// One line that says what is wrong.
    pub title: String,
    /// quell's judgement.
    pub priority: Priority,
    /// How much is touched.
    pub impact: Impact,
    /// How fast to act.
    pub urgency: Urgency,
    /// The record that opened it; for one that was split off, the last record before that. With `opened_ordinal`,
    /// unique in the shard (INV-2).
    pub opened_position: Position,
    /// Which item of that record, or one from [`SPLIT_ORDINAL`] on.
    pub opened_ordinal: u32,
    /// When it was opened, in engine time.
    pub opened_at: Timestamp,
    /// The earliest start of its alerts.
    pub started_at: Timestamp,
    /// When its last alert fired anew (repeats do not count).
    pub last_fired_at: Timestamp,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
    /// Who resolved it; `None` when it resolved by itself.
    pub resolved_by: Option<String>,
    /// When somebody first took it.
    pub acknowledged_at: Option<Timestamp>,
    /// Who took it.
    pub acknowledged_by: Option<String>,
    /// How often it came back.
    pub reopened: u32,
    /// Alert episodes in it.
    pub alerts: u64,
    /// Those that still fire.
    pub firing: u64,
    /// Probable causes, best first.
    pub causes: Vec<Cause>,
    /// What may degrade.
    pub blast_radius: BlastRadius,
    /// When causes, priority and title are to be judged anew; `None` when nothing has changed since.
    pub review_at: Option<Timestamp>,
    /// The next number of its notices.
    pub transitions: u32,
    /// The incident that its alerts went to: it is closed and takes no others.
    pub merged_into: Option<IncidentId>,
    /// The alerts that went there; empty unless it is merged.
    pub moved: Vec<AlertId>,
    /// The incident it was split off from.
    pub split_from: Option<IncidentId>,
    /// What people said of its causes, oldest first.
    pub verdicts: Vec<CauseVerdict>,
    /// What can be taken back, oldest first.
    pub acts: Vec<Act>,
    /// A person took a merge or a split of it back, or split it: quell merges it with nothing by itself any more.
    pub held_apart: bool,
    /// How many CIs alerted in it when the incidents around it were last looked at.
    pub looked_at: u32,
}

/// What an operator said of a CI.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CauseVerdict {
    /// The CI.
    pub ci: CiId,
    /// True when it is at fault, false when it is not.
    pub right: bool,
    /// Who said so.
    pub actor: String,
    /// When.
    pub at: Timestamp,
    /// The command that said so: its place on the stream of commands.
    pub command: Position,
}

/// Something done to an incident that can be taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Act {
    /// The command that asked for it; `None` when quell did it by itself.
    pub command: Option<Position>,
    /// What was done.
    pub kind: ActKind,
}

/// What was done to an incident.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ActKind {
    /// That incident was merged into it.
    Merged(IncidentId),
    /// That incident was split off from it.
    Split(IncidentId),
    /// A cause was judged.
    Judged,
}

/// Ordinals from here on are not of items: the incident was split off after the record at its opening position, by a
/// command or by quell's own revision. Its number makes the ordinal unique; no request has so many items.
pub const SPLIT_ORDINAL: u32 = 1 << 31;

/// One entry of an incident's timeline.
#[derive(Clone, PartialEq, Debug)]
pub struct TimelineEntry {
    /// The incident.
    pub incident: IncidentId,
    /// When, in engine time.
    pub at: Timestamp,
    /// Who: `quell`, or the operator's name.
    pub actor: String,
    /// What and why; the reason's code is the kind of entry.
    pub reason: Reason,
}

/// What happened to an incident that the outside is told of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Transition {
    /// It was opened.
    Opened,
    /// Its priority or first cause changed.
    Updated,
    /// Somebody took it.
    Acknowledged,
    /// It was resolved.
    Resolved,
    /// It came back.
    Reopened,
    /// Its alerts went to another incident: it is over.
    Merged,
}

impl Transition {
    /// Every transition.
    pub const ALL: [Transition; 6] = [
        Transition::Opened,
        Transition::Updated,
        Transition::Acknowledged,
        Transition::Resolved,
        Transition::Reopened,
        Transition::Merged,
    ];

    /// The name used in files and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Transition::Opened => "opened",
            Transition::Updated => "updated",
            Transition::Acknowledged => "acknowledged",
            Transition::Resolved => "resolved",
            Transition::Reopened => "reopened",
            Transition::Merged => "merged",
        }
    }

    /// The transition of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Transition> {
        Self::ALL.into_iter().find(|transition| transition.as_str() == name)
    }
}

/// One thing to tell every sink: (incident, number) is its identity, the same at every delivery.
#[derive(Clone, PartialEq, Debug)]
pub struct Notice {
    /// The incident.
    pub incident: IncidentId,
    /// Counted per incident from 0.
    pub number: u32,
    /// What happened.
    pub transition: Transition,
    /// When, in engine time.
    pub at: Timestamp,
    /// The incident's title at that time.
    pub title: String,
    /// Its priority at that time.
    pub priority: Priority,
    /// Its first cause at that time.
    pub cause: Option<CiId>,
    /// Alert episodes in it at that time.
    pub alerts: u64,
    /// Why.
    pub reason: Reason,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_one_to_five() {
        assert_eq!(Priority::new(0), None);
        assert_eq!(Priority::new(6), None);
        assert_eq!(Priority::new(1).map(|p| p.to_string()), Some("P1".into()));
    }

    #[test]
    fn transitions_have_names() {
        for transition in Transition::ALL {
            assert_eq!(Transition::from_name(transition.as_str()), Some(transition));
        }
    }
}
