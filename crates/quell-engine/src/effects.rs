//! What the engine wants remembered and told.
//!
//! Absent on purpose: how it is remembered. Effects of many inputs may be committed together, in order.

use quell_domain::{
    Alert, AlertId, ArtefactKind, Change, ChangeId, Digest, Feedback, Incident, IncidentId, Labels, Notice, Outcome,
    Position, Severity, Source, TimelineEntry, Timestamp,
};

use crate::problems::{ProblemEffects, ProblemSnapshot};

/// What one input, or several in a row, did.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Effects {
    /// Alert episodes opened or changed, in order; of several changes to one, the last holds.
    pub alerts: Vec<AlertChange>,
    /// Incidents opened or changed, in order; of several versions of one, the last holds.
    pub incidents: Vec<Incident>,
    /// Timeline entries, in order. They are only ever added.
    pub timeline: Vec<TimelineEntry>,
    /// Incidents let go of: they and their ended alerts are history and are not restored any more.
    pub forgotten: Vec<IncidentId>,
    /// What the outside is to be told, in order.
    pub notices: Vec<Notice>,
    /// Refused parts of requests, to be kept until somebody mends them.
    pub parked: Vec<Parked>,
    /// Decided commands.
    pub outcomes: Vec<Outcome>,
    /// What operators said, new or standing differently, in order; of several versions of one, the last holds.
    pub feedback: Vec<Feedback>,
    /// Changes told of, bound otherwise, or let go of, in order; of several versions of one, the last holds.
    pub changes: Vec<ChangeRow>,
    /// What is remembered of problems.
    pub problems: ProblemEffects,
    /// What became of each received item.
    pub disposed: Disposed,
    /// What became of each change told of.
    pub altered: Altered,
}

impl Effects {
    /// True when nothing has to be written. Counts of repeats alone are not written; they travel with the next flush.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Effects {
            alerts,
            incidents,
            timeline,
            forgotten,
            notices,
            parked,
            outcomes,
            feedback,
            changes,
            problems,
            disposed: _,
            altered: _,
        } = self;
        alerts.is_empty()
            && incidents.is_empty()
            && timeline.is_empty()
            && forgotten.is_empty()
            && notices.is_empty()
            && parked.is_empty()
            && outcomes.is_empty()
            && feedback.is_empty()
            && changes.is_empty()
            && problems.is_empty()
    }

    /// Adds what came after.
    pub fn absorb(&mut self, later: Effects) {
        let Effects {
            alerts,
            incidents,
            timeline,
            forgotten,
            notices,
            parked,
            outcomes,
            feedback,
            changes,
            problems,
            disposed,
            altered,
        } = later;
        self.alerts.extend(alerts);
        self.incidents.extend(incidents);
        self.timeline.extend(timeline);
        self.forgotten.extend(forgotten);
        self.notices.extend(notices);
        self.parked.extend(parked);
        self.outcomes.extend(outcomes);
        self.feedback.extend(feedback);
        self.changes.extend(changes);
        self.problems.absorb(problems);
        self.disposed.add(disposed);
        self.altered.add(altered);
    }
}

/// A change of one alert's row.
#[derive(Clone, PartialEq, Debug)]
pub enum AlertChange {
    /// The whole row of a new episode, of which nothing is remembered yet.
    Open(Box<Alert>),
    /// The whole row of an episode of which more changed than a fold says. Reasons are given once: a version with neither
    /// binding nor the reason for having none keeps those remembered, and one without membership too.
    Put(Box<Alert>),
    /// The engine lets go of a stale one: its row may be deleted.
    Forget(AlertId),
    /// The engine lets go of an ended one, of no incident or of one that goes on: its row is history.
    LetGo(AlertId),
}

impl AlertChange {
    /// The whole row, where it is one.
    #[must_use]
    pub fn row(&self) -> Option<&Alert> {
        match self {
            AlertChange::Open(row) | AlertChange::Put(row) => Some(row),
            AlertChange::Forget(_) | AlertChange::LetGo(_) => None,
        }
    }
}

/// A change's row.
#[derive(Clone, PartialEq, Debug)]
pub enum ChangeRow {
    /// The whole row: told of, or bound otherwise.
    Put(Box<Change>),
    /// It is no evidence any more: its row is history.
    LetGo(ChangeId),
}

/// What repeats changed of an alert since its row was last written.
#[derive(Clone, PartialEq, Debug)]
pub struct Fold {
    /// The episode.
    pub alert: AlertId,
    /// How often it was received.
    pub count: u64,
    /// See [`Alert::starts_at`].
    pub starts_at: Timestamp,
    /// See [`Alert::ends_at`].
    pub ends_at: Option<Timestamp>,
    /// See [`Alert::timed_out`].
    pub timed_out: bool,
    /// When it was last received.
    pub last_seen: Timestamp,
    /// The last record whose items are contained.
    pub folded_through: Position,
    /// New severity, annotations and content hash, where they changed.
    pub said: Option<(Severity, Labels, u64)>,
}

/// A refused part of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parked {
    /// The record it came with: its receipt.
    pub position: Position,
    /// Counted within the record.
    pub ordinal: u32,
    /// Which item of the request; `None` for the body as a whole.
    pub item: Option<u32>,
    /// The contract it came by.
    pub source: Source,
    /// When.
    pub received_at: Timestamp,
    /// What was found, where, and what is allowed.
    pub reason: String,
    /// The refused text, cut.
    pub raw: String,
}

/// What became of received items (INV-1): every item is exactly one of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Disposed {
    /// Items that the engine took.
    pub received: u64,
    /// Opened an incident.
    pub opened: u64,
    /// A new alert that joined an incident.
    pub correlated: u64,
    /// The same alert again.
    pub deduplicated: u64,
    /// Ended an alert.
    pub resolved: u64,
    /// A resolve of nothing, or of something already over.
    pub stale: u64,
    /// Of no incident by a rule: suppressed, or held back until there are enough of them.
    pub suppressed: u64,
    /// Over a limit: counted into the overflow alert.
    pub overflowed: u64,
    /// Not understood: parked.
    pub rejected: u64,
    /// Ended alerts let go of while their incident went on, because of the limit. They had been counted when they came.
    pub crowded_out: u64,
}

impl Disposed {
    /// Adds another tally.
    pub fn add(&mut self, other: Disposed) {
        for ((mine, _), (theirs, _)) in self.each_mut().into_iter().zip(other.each()) {
            *mine += theirs;
        }
        self.received += other.received;
        self.crowded_out += other.crowded_out;
    }

    /// Each way an item can be disposed of, with its name in metrics.
    #[must_use]
    pub fn each(&self) -> [(u64, &'static str); 8] {
        let mut copy = *self;
        copy.each_mut().map(|(count, name)| (*count, name))
    }

    fn each_mut(&mut self) -> [(&mut u64, &'static str); 8] {
        let Disposed {
            received: _,
            opened,
            correlated,
            deduplicated,
            resolved,
            stale,
            suppressed,
            overflowed,
            rejected,
            crowded_out: _,
        } = self;
        [
            (opened, "opened"),
            (correlated, "correlated"),
            (deduplicated, "deduplicated"),
            (resolved, "resolved"),
            (stale, "stale"),
            (suppressed, "suppressed"),
            (overflowed, "overflowed"),
            (rejected, "rejected"),
        ]
    }

    /// The sum over all ways; equal to `received`.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.each().iter().map(|(count, _)| count).sum()
    }
}

/// What became of changes told of: each is bound, unbound, repeated or rejected. They are no alerts, so that INV-1 does
/// not count them; the same holds of this tally.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Altered {
    /// Changes that the engine took.
    pub received: u64,
    /// Kept, and its CI was found.
    pub bound: u64,
    /// Kept, and no CI was found: it is no evidence.
    pub unbound: u64,
    /// The same change again.
    pub repeated: u64,
    /// Not understood: parked.
    pub rejected: u64,
    /// Let go of before its time, because of the limit. It had been counted when it came.
    pub crowded_out: u64,
}

impl Altered {
    /// Adds another tally.
    pub fn add(&mut self, other: Altered) {
        let Altered { received, bound, unbound, repeated, rejected, crowded_out } = other;
        self.received += received;
        self.bound += bound;
        self.unbound += unbound;
        self.repeated += repeated;
        self.rejected += rejected;
        self.crowded_out += crowded_out;
    }

    /// Each way a change can be disposed of, with its name in metrics; the sum is `received`.
    #[must_use]
    pub fn each(&self) -> [(u64, &'static str); 4] {
        let Altered { received: _, bound, unbound, repeated, rejected, crowded_out: _ } = *self;
        [(bound, "bound"), (unbound, "unbound"), (repeated, "repeated"), (rejected, "rejected")]
    }
}

/// What the engine needs beside rows to go on where it stopped; committed with every transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Checkpoint {
    /// Engine time: the greatest `received_at` applied.
    pub now: Option<Timestamp>,
    /// The number of the last alert episode.
    pub last_alert: u64,
    /// The number of the last incident.
    pub last_incident: u64,
    /// The topology in force.
    pub topology: Option<Digest>,
    /// The rules in force.
    pub rules: Option<Digest>,
    /// The learned state in force.
    pub learned: Option<Digest>,
}

impl Checkpoint {
    /// The artefact of that kind in force.
    #[must_use]
    pub fn artefact(&self, kind: ArtefactKind) -> Option<Digest> {
        match kind {
            ArtefactKind::Topology => self.topology,
            ArtefactKind::Rules => self.rules,
            ArtefactKind::Learned => self.learned,
        }
    }
}

/// What the engine starts from: rows it has not let go of yet, each ordered by id.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Snapshot {
    /// Where it stopped.
    pub checkpoint: Checkpoint,
    /// Alerts in hand: those that fire, those of incidents not yet let go of, and stale ones not yet forgotten.
    pub alerts: Vec<Alert>,
    /// Incidents not yet let go of.
    pub incidents: Vec<Incident>,
    /// What operators said that still counts, by command.
    pub feedback: Vec<Feedback>,
    /// Recent changes, by id.
    pub changes: Vec<Change>,
    /// What is known of problems.
    pub problems: ProblemSnapshot,
}
