//! Judgement of an incident: its causes, its blast radius, its priority and its title.
//!
//! Absent on purpose: how suspects are ranked (`locate`) and how far a failure reaches (`quell-cmdb`).

use std::sync::Arc;
use std::time::Duration;

use quell_cmdb::{Blast, CiIx};
use quell_domain::{
    AlertState, BlastRadius, Cause, Criticality, Impact, Reason, ServiceAtRisk, Severity, Timestamp, Transition,
    Urgency,
};

use crate::alerts::Entry;
use crate::deadlines::DeadlineReason;
use crate::engine::Engine;
use crate::lifecycle::QUELL;
use crate::locate::{STANDS_OUT, doubt, locate};
use crate::members::Member;

/// An incident that has changed waits no longer than this to be judged anew, however many alerts it has.
const AT_MOST: Duration = Duration::from_secs(15);

impl Engine {
    /// Has an incident judged anew a little later, once for all that changes until then. One with many alerts is judged
    /// less often, because all of them are read again each time.
    pub(crate) fn review_soon(&mut self, number: u64) {
        let hundreds = u32::try_from(self.live(number).members.len() / 100).unwrap_or(u32::MAX).max(1);
        let after = self.settings.lifecycle.review_after;
        self.review_after(number, after.saturating_mul(hundreds).min(AT_MOST.max(after)));
    }

    /// The same after this time, unless it is judged before.
    pub(crate) fn review_after(&mut self, number: u64, after: Duration) {
        let at = self.now() + after;
        let row = &mut self.live(number).row;
        if row.review_at.is_none_or(|known| known > at) {
            row.review_at = Some(at);
            self.deadlines.add(at, DeadlineReason::IncidentReview, number);
        }
    }

    pub(crate) fn review_due(&mut self, at: Timestamp, number: u64) {
        let Some(live) = self.incidents.get_mut(&number) else { return };
        if live.row.review_at != Some(at) {
            return;
        }
        live.row.review_at = None;
        self.bridge(number);
        self.revise(number);
        let Some(live) = self.incidents.get_mut(&number).filter(|live| live.row.merged_into.is_none()) else { return };
        let (priority, cause) = (live.row.priority, live.row.causes.first().map(|cause| cause.ci.clone()));
        self.let_go_of_ended(number);
        self.touch_incident(number);
        self.judge(number);
        let row = &self.live(number).row;
        let (now_priority, now_cause) = (row.priority, row.causes.first().map(|cause| cause.ci.clone()));
        let mut change = None;
        if cause != now_cause {
            let reason = Reason::new("cause", "the probable cause is now {cause}, was {before}")
                .text("cause", now_cause.map_or("unknown".to_owned(), |ci| ci.to_string()))
                .text("before", cause.map_or("unknown".to_owned(), |ci| ci.to_string()));
            self.note(number, at, QUELL, reason.clone());
            change = Some(reason);
        }
        if priority != now_priority {
            let row = &self.live(number).row;
            let reason =
                Reason::new("priority", "priority {priority}, was {before}: impact {impact}, urgency {urgency}")
                    .text("priority", now_priority.to_string())
                    .text("before", priority.to_string())
                    .text("impact", impact_word(row.impact))
                    .text("urgency", urgency_word(row.urgency));
            self.note(number, at, QUELL, reason.clone());
            change = Some(reason);
        }
        if let Some(reason) = change {
            self.notify(number, at, Transition::Updated, reason);
        }
    }

    /// Judges an incident now.
    pub(crate) fn judge(&mut self, number: u64) {
        if !self.incidents.contains_key(&number) {
            return;
        }
        let members = self.members_of(number);
        let (max_hops, limit) = (self.settings.correlation.max_hops, self.walk_limit());
        let (onset, shard) = (self.incidents[&number].row.started_at, self.shard.number);
        let changed = |ci| self.changes.evidence(shard, ci, onset);
        let causes = locate(&self.graph, &members, max_hops, limit, &changed);
        let mut causes = self.heard_causes(number, causes);
        doubt(&mut causes);
        let blast_radius = self.blast_radius(&members, &causes);
        let bound = !members.is_empty();
        let impact = self.impact(bound, &blast_radius);
        let urgency = self.urgency(number);
        let title = self.title(number, causes.first());
        let priority = self.settings.priorities.priority(impact, urgency);
        let row = &mut self.live(number).row;
        row.causes = causes;
        row.blast_radius = blast_radius;
        row.impact = impact;
        row.urgency = urgency;
        row.title = title;
        row.priority = priority;
    }

    /// What hangs on the probable cause and on the alerting CIs; those of them that are services are at risk too.
    fn blast_radius(&mut self, members: &[Member], causes: &[Cause]) -> BlastRadius {
        let cause = causes.first().and_then(|cause| self.graph.find(&cause.ci));
        let alerting = members.iter().filter(|member| member.since.is_some()).map(|member| member.ci);
        let alerting = alerting.filter(|&ci| Some(ci) != cause);
        let failing: Vec<CiIx> = cause.into_iter().chain(alerting.clone()).collect();
        let limit = usize::try_from(self.settings.limits.walk_cis).unwrap_or(usize::MAX);
        let now = self.now();
        let Blast { dependents: _, mut radius } = self.graph.blast_at(&mut self.scratch, &failing, limit, Some(now));
        radius.cis += alerting.clone().count() as u64;
        // The walk's own are in order already; only these few have to find their place.
        for service in alerting.filter_map(|ci| self.graph.service(ci)) {
            let rank = |service: &Arc<ServiceAtRisk>| (std::cmp::Reverse(service.criticality), service.ci.clone());
            let at = radius.services.partition_point(|other| rank(other) < rank(service));
            radius.services.insert(at, Arc::clone(service));
        }
        radius
    }

    /// From the most critical service at risk. Unknown, where nothing is bound, is not taken for low.
    fn impact(&self, bound: bool, radius: &BlastRadius) -> Impact {
        match radius.services.first().map(|service| service.criticality) {
            Some(Criticality::High | Criticality::Critical) => Impact::High,
            Some(Criticality::Medium) => Impact::Medium,
            Some(Criticality::Low) => Impact::Low,
            None if bound => Impact::Low,
            None => Impact::Medium,
        }
    }

    /// From the worst severity among the alerts that fire, or among all when none does.
    fn urgency(&self, number: u64) -> Urgency {
        let members = || self.incidents[&number].members.values().map(|&slot| self.alerts.get(slot));
        let firing = members().filter(|entry| entry.state == AlertState::Firing).map(weight).max();
        match firing.or_else(|| members().map(weight).max()) {
            Some(Severity::Error | Severity::Critical) => Urgency::High,
            Some(Severity::Info) => Urgency::Low,
            Some(Severity::Warning | Severity::Unknown) | None => Urgency::Medium,
        }
    }

    /// The alert that says best what is wrong: one on the probable cause, else the worst, of equals the earliest.
    fn title(&self, number: u64, cause: Option<&Cause>) -> String {
        let live = &self.incidents[&number];
        let stands_out = cause.is_some_and(|cause| cause.score >= STANDS_OUT);
        let cause = cause.and_then(|cause| self.graph.find(&cause.ci));
        let on_cause = |entry: &Entry| cause.is_some() && entry.ci == cause;
        let telling = live
            .members
            .values()
            .map(|&slot| self.alerts.get(slot))
            .min_by_key(|entry| (!on_cause(entry), std::cmp::Reverse(weight(entry)), entry.starts_at, entry.id));
        let Some(telling) = telling else { return "(no alert)".to_owned() };
        let place = telling.ci.map(|ci| self.graph.ci(ci).name.clone());
        match (place, cause.filter(|_| !on_cause(telling))) {
            (Some(place), Some(cause)) if stands_out => {
                format!("{} on {place}, probably from {}", telling.name(), self.graph.ci(cause).name)
            }
            (Some(place), _) => format!("{} on {place}", telling.name()),
            (None, _) => match telling.labels.get("instance").or_else(|| telling.labels.get("source")) {
                Some(place) => format!("{} on {place}", telling.name()),
                None => telling.name().to_owned(),
            },
        }
    }
}

/// Severity as a weight: what a source does not say weighs like a warning.
fn weight(entry: &Entry) -> Severity {
    if entry.severity == Severity::Unknown { Severity::Warning } else { entry.severity }
}

fn impact_word(impact: Impact) -> &'static str {
    match impact {
        Impact::Low => "low",
        Impact::Medium => "medium",
        Impact::High => "high",
    }
}

fn urgency_word(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::Low => "low",
        Urgency::Medium => "medium",
        Urgency::High => "high",
    }
}
