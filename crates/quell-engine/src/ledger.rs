//! What a store holds, in memory: effects applied to rows. Replays and tests remember with it.
//!
//! Absent on purpose: durability, history limits, the outbox.

use std::collections::{BTreeMap, BTreeSet};

use quell_domain::{
    Alert, AlertId, Change, ChangeId, Feedback, Incident, IncidentId, Outcome, Position, Standing, TimelineEntry,
};

use crate::effects::{AlertChange, Altered, ChangeRow, Checkpoint, Disposed, Effects, Fold, Parked, Snapshot};
use crate::problems::ProblemLedger;

/// Every row that effects brought forth.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ledger {
    /// Alert episodes, by id.
    pub alerts: BTreeMap<AlertId, Alert>,
    /// Incidents, by id.
    pub incidents: BTreeMap<IncidentId, Incident>,
    /// Timelines, oldest first.
    pub timelines: BTreeMap<IncidentId, Vec<TimelineEntry>>,
    /// Refused parts of requests.
    pub parked: Vec<Parked>,
    /// Decided commands.
    pub outcomes: Vec<Outcome>,
    /// What operators said, by command.
    pub feedback: BTreeMap<Position, Feedback>,
    /// Changes told of, by id.
    pub changes: BTreeMap<ChangeId, Change>,
    /// What is remembered of problems.
    pub problems: ProblemLedger,
    /// What became of every item.
    pub disposed: Disposed,
    /// What became of every change.
    pub altered: Altered,
    /// How many notices there were.
    pub notices: u64,
    forgotten: BTreeSet<IncidentId>,
    let_go: BTreeSet<AlertId>,
    let_go_changes: BTreeSet<ChangeId>,
}

impl Ledger {
    /// Remembers.
    pub fn apply(&mut self, effects: Effects) {
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
        } = effects;
        for change in alerts {
            match change {
                AlertChange::Open(row) | AlertChange::Put(row) => self.put(*row),
                AlertChange::Forget(id) => {
                    self.alerts.remove(&id);
                }
                AlertChange::LetGo(id) => {
                    self.let_go.insert(id);
                }
            }
        }
        for incident in incidents {
            self.incidents.insert(incident.id, incident);
        }
        for entry in timeline {
            self.timelines.entry(entry.incident).or_default().push(entry);
        }
        self.forgotten.extend(forgotten);
        self.notices += notices.len() as u64;
        self.parked.extend(parked);
        self.outcomes.extend(outcomes);
        self.feedback.extend(feedback.into_iter().map(|said| (said.command, said)));
        for change in changes {
            match change {
                ChangeRow::Put(row) => _ = self.changes.insert(row.id, *row),
                ChangeRow::LetGo(id) => _ = self.let_go_changes.insert(id),
            }
        }
        self.problems.apply(problems);
        self.disposed.add(disposed);
        self.altered.add(altered);
    }

    /// Writes a row; reasons that are not given anew are kept.
    fn put(&mut self, mut row: Alert) {
        if let Some(kept) = self.alerts.remove(&row.id) {
            if row.binding.is_none() && row.unbound.is_none() {
                row.binding = kept.binding;
                row.unbound = kept.unbound;
            }
            row.membership = row.membership.or(kept.membership);
        }
        self.alerts.insert(row.id, row);
    }

    /// Writes what repeats changed.
    pub fn flush(&mut self, folds: Vec<Fold>) {
        for fold in folds {
            let Fold { alert, count, starts_at, ends_at, timed_out, last_seen, folded_through, said } = fold;
            let Some(row) = self.alerts.get_mut(&alert) else { continue };
            row.count = count;
            row.starts_at = starts_at;
            row.ends_at = ends_at;
            row.timed_out = timed_out;
            row.last_seen = last_seen;
            row.folded_through = folded_through;
            if let Some((severity, annotations, content)) = said {
                row.severity = severity;
                row.annotations = annotations;
                row.content = content;
            }
        }
    }

    /// What an engine starts from.
    #[must_use]
    pub fn snapshot(&self, checkpoint: Checkpoint) -> Snapshot {
        let gone = |id: &IncidentId| self.forgotten.contains(id);
        let kept = |alert: &&Alert| !alert.incident.as_ref().is_some_and(gone) && !self.let_go.contains(&alert.id);
        let alerts = self.alerts.values().filter(kept).cloned().collect();
        let incidents = self.incidents.values().filter(|incident| !gone(&incident.id)).cloned().collect();
        let in_force = |said: &&Feedback| said.standing == Standing::InForce;
        let feedback = self.feedback.values().filter(in_force).cloned().collect();
        let kept = |change: &&Change| !self.let_go_changes.contains(&change.id);
        let changes = self.changes.values().filter(kept).cloned().collect();
        let problems = self.problems.snapshot(|id| !gone(id));
        Snapshot { checkpoint, alerts, incidents, feedback, changes, problems }
    }

    /// The alerts of every incident, by id.
    #[must_use]
    pub fn members(&self) -> BTreeMap<IncidentId, Vec<Alert>> {
        let mut members: BTreeMap<IncidentId, Vec<Alert>> = BTreeMap::new();
        for alert in self.alerts.values() {
            if let Some(incident) = alert.incident {
                members.entry(incident).or_default().push(alert.clone());
            }
        }
        members
    }
}
