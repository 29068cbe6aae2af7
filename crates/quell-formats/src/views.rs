//! What the API, the incident files and the page show of alerts and incidents, as JSON.
//!
//! Every field of a value is either shown or left out by name, so that a new one cannot be forgotten. Absent on
//! purpose: routes, paging and markup.

use std::collections::BTreeMap;

use quell_domain::{
    Alert, AlertState, Binding, BlastRadius, Cause, CauseVerdict, Fact, Impact, Incident, Labels, Reason, ReceiptId,
    ServiceAtRisk, TimelineEntry, Timestamp, Urgency,
};
use serde::Serialize;

/// An instant in RFC 3339.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Time(String);

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Time(at.to_string())
    }
}

/// Why something was done.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ReasonJson {
    /// A stable name: what programs compare.
    pub code: String,
    /// One sentence.
    pub text: String,
    /// The facts by name.
    pub facts: BTreeMap<String, FactJson>,
}

/// One fact of a reason.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(untagged)]
pub enum FactJson {
    /// A name, an id, a label's value.
    Text(String),
    /// A count.
    Count(u64),
    /// A measure.
    Number(f64),
    /// An instant.
    Time(Time),
    /// Several names.
    List(Vec<String>),
}

/// The CI an alert was bound to.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct BindingJson {
    /// The CI's id.
    pub ci: String,
    /// How sure, 0 to 1.
    pub confidence: f64,
    /// By what.
    pub reason: ReasonJson,
}

/// An alert episode.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct AlertJson {
    /// Its number in the shard.
    pub id: u64,
    /// The identity shared by its repeats.
    pub fingerprint: String,
    /// The contract it came by.
    pub source: &'static str,
    /// The request that brought it first; `null` when it is of no incident.
    pub receipt: Option<String>,
    /// Which item of that request, from 0.
    pub item: u32,
    /// What a person would call it.
    pub name: String,
    /// `firing`, `ended` or `stale`.
    pub state: &'static str,
    /// The sender's claim.
    pub severity: &'static str,
    /// What identifies it.
    pub labels: BTreeMap<String, String>,
    /// What else was said.
    pub annotations: BTreeMap<String, String>,
    /// The id of its CI; `null` when unbound.
    pub ci: Option<String>,
    /// How it was bound.
    pub binding: Option<BindingJson>,
    /// Why it was not bound.
    pub unbound: Option<ReasonJson>,
    /// Its incident.
    pub incident: Option<String>,
    /// Why it belongs there.
    pub reason: Option<ReasonJson>,
    /// The alert that it repeats in other words, and beside which it is not counted.
    pub twin_of: Option<u64>,
    /// When the condition began.
    pub starts_at: Time,
    /// When it ended; `null` while it fires.
    pub ends_at: Option<Time>,
    /// How often it was received.
    pub count: u64,
    /// When it was first received.
    pub first_seen: Time,
    /// When it was last received.
    pub last_seen: Time,
}

/// A CI judged likely at fault.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CauseJson {
    /// The CI's id.
    pub ci: String,
    /// Its share of the belief, 0 to 1.
    pub score: f64,
    /// What speaks for and against it, the weightiest first.
    pub evidence: Vec<ReasonJson>,
}

/// What an operator said of a CI.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct VerdictJson {
    /// The CI's id.
    pub ci: String,
    /// True when it is at fault, false when it is not.
    pub right: bool,
    /// Who said so.
    pub by: String,
    /// When.
    pub at: Time,
}

/// The dependents that may degrade.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct BlastJson {
    /// How many CIs, the faulty ones not counted.
    pub cis: u64,
    /// The services among them, the most critical first.
    pub services: Vec<ServiceJson>,
    /// True when there may be more.
    pub partial: bool,
    /// How many of the relationships that this rests on are stale.
    pub stale_relationships: u64,
    /// When the longest unseen of those was last seen.
    pub oldest_seen: Option<Time>,
}

/// A service in a blast radius.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ServiceJson {
    /// The CI's id.
    pub ci: String,
    /// What people call it.
    pub name: String,
    /// `low` to `critical`.
    pub criticality: &'static str,
    /// Who answers for it.
    pub owner: Option<String>,
}

/// One entry of a timeline.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TimelineJson {
    /// When.
    pub at: Time,
    /// `quell`, or the operator's name.
    pub actor: String,
    /// What kind of entry: the reason's code.
    pub kind: String,
    /// One sentence.
    pub text: String,
    /// What and why.
    pub reason: ReasonJson,
}

/// An incident, with what of its alerts and timeline is shown beside it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct IncidentJson {
    /// `INC-7`.
    pub id: String,
    /// `open` or `resolved`.
    pub state: &'static str,
    /// One line that says what is wrong.
    pub title: String,
    /// `P1` to `P5`.
    pub priority: String,
    /// `low`, `medium` or `high`.
    pub impact: &'static str,
    /// `low`, `medium` or `high`.
    pub urgency: &'static str,
    /// The record that opened it; with `opened_ordinal` no other incident has the same.
    pub opened_position: u64,
    /// Which item of that record.
    pub opened_ordinal: u32,
    /// When quell opened it.
    pub opened_at: Time,
    /// The earliest start of its alerts.
    pub started_at: Time,
    /// When its last alert fired anew.
    pub last_fired_at: Time,
    /// When it was resolved.
    pub resolved_at: Option<Time>,
    /// Who resolved it; `null` when it resolved by itself.
    pub resolved_by: Option<String>,
    /// When somebody took it.
    pub acknowledged_at: Option<Time>,
    /// Who took it.
    pub acknowledged_by: Option<String>,
    /// How often it came back.
    pub reopened: u32,
    /// The incident that its alerts went to.
    pub merged_into: Option<String>,
    /// The incident it was split off from.
    pub split_from: Option<String>,
    /// Incidents that were merged into it, where they were asked for.
    pub merged: Vec<String>,
    /// Incidents that were split off from it, where they were asked for.
    pub split: Vec<String>,
    /// What people said of its causes, oldest first.
    pub verdicts: Vec<VerdictJson>,
    /// Alert episodes in it, shown or not.
    pub alerts_total: u64,
    /// Those that still fire.
    pub alerts_firing: u64,
    /// Its alerts, as many as were asked for.
    pub alerts: Vec<AlertJson>,
    /// Probable causes, best first.
    pub causes: Vec<CauseJson>,
    /// What may degrade.
    pub blast_radius: BlastJson,
    /// What happened, oldest first.
    pub timeline: Vec<TimelineJson>,
}

/// An incident with its alerts and timeline, or with as much of them as is handed in.
#[must_use]
pub fn incident_json(incident: &Incident, alerts: &[Alert], timeline: &[TimelineEntry]) -> IncidentJson {
    let Incident {
        id,
        state,
        title,
        priority,
        impact,
        urgency,
        opened_position,
        opened_ordinal,
        opened_at,
        started_at,
        last_fired_at,
        resolved_at,
        resolved_by,
        acknowledged_at,
        acknowledged_by,
        reopened,
        alerts: alerts_total,
        firing,
        causes,
        blast_radius,
        review_at: _,
        transitions: _,
        merged_into,
        moved: _,
        split_from,
        verdicts,
        acts: _,
        held_apart: _,
        looked_at: _,
    } = incident;
    IncidentJson {
        id: id.to_string(),
        state: state.as_str(),
        title: title.clone(),
        priority: priority.to_string(),
        impact: impact_name(*impact),
        urgency: urgency_name(*urgency),
        opened_position: opened_position.0,
        opened_ordinal: *opened_ordinal,
        opened_at: (*opened_at).into(),
        started_at: (*started_at).into(),
        last_fired_at: (*last_fired_at).into(),
        resolved_at: resolved_at.map(Time::from),
        resolved_by: resolved_by.clone(),
        acknowledged_at: acknowledged_at.map(Time::from),
        acknowledged_by: acknowledged_by.clone(),
        reopened: *reopened,
        merged_into: merged_into.map(|id| id.to_string()),
        split_from: split_from.map(|id| id.to_string()),
        merged: Vec::new(),
        split: Vec::new(),
        verdicts: verdicts.iter().map(verdict_json).collect(),
        alerts_total: *alerts_total,
        alerts_firing: *firing,
        alerts: alerts.iter().map(alert_json).collect(),
        causes: causes.iter().map(cause_json).collect(),
        blast_radius: blast_json(blast_radius),
        timeline: timeline.iter().map(timeline_json).collect(),
    }
}

/// An alert episode.
#[must_use]
pub fn alert_json(alert: &Alert) -> AlertJson {
    let Alert {
        id,
        fingerprint,
        source,
        state,
        severity,
        labels,
        annotations,
        content: _,
        binding,
        unbound,
        incident,
        membership,
        twin_of,
        starts_at,
        ends_at,
        ending: _,
        timed_out: _,
        count,
        first_seen,
        began_at: _,
        last_seen,
        opened_position,
        opened_ordinal,
        closed_position: _,
        folded_through: _,
    } = alert;
    AlertJson {
        id: id.0,
        fingerprint: fingerprint.to_string(),
        source: source.as_str(),
        receipt: incident.map(|id| ReceiptId { shard: id.shard, position: *opened_position }.to_string()),
        item: *opened_ordinal,
        name: alert.name().to_owned(),
        state: state_name(*state),
        severity: severity.as_str(),
        labels: labels_json(labels),
        annotations: labels_json(annotations),
        ci: binding.as_ref().map(|binding| binding.ci.to_string()),
        binding: binding.as_ref().map(binding_json),
        unbound: unbound.as_ref().map(reason_json),
        incident: incident.map(|id| id.to_string()),
        reason: membership.as_ref().map(reason_json),
        twin_of: twin_of.map(|id| id.0),
        starts_at: (*starts_at).into(),
        ends_at: ends_at.filter(|_| *state != AlertState::Firing).map(Time::from),
        count: *count,
        first_seen: (*first_seen).into(),
        last_seen: (*last_seen).into(),
    }
}

/// An entry of a timeline.
#[must_use]
pub fn timeline_json(entry: &TimelineEntry) -> TimelineJson {
    let TimelineEntry { incident: _, at, actor, reason } = entry;
    let reason = reason_json(reason);
    let (kind, text) = (reason.code.clone(), reason.text.clone());
    TimelineJson { at: (*at).into(), actor: actor.clone(), kind, text, reason }
}

/// A blast radius.
#[must_use]
pub fn blast_json(blast: &BlastRadius) -> BlastJson {
    let BlastRadius { cis, services, partial, stale_relationships, oldest_seen } = blast;
    BlastJson {
        cis: *cis,
        services: services.iter().map(|service| service_json(service)).collect(),
        partial: *partial,
        stale_relationships: *stale_relationships,
        oldest_seen: oldest_seen.map(Time::from),
    }
}

/// A probable cause.
#[must_use]
pub fn cause_json(cause: &Cause) -> CauseJson {
    let Cause { ci, score, evidence } = cause;
    CauseJson { ci: ci.to_string(), score: rounded(*score), evidence: evidence.iter().map(reason_json).collect() }
}

/// What an operator said of a CI.
#[must_use]
pub fn verdict_json(verdict: &CauseVerdict) -> VerdictJson {
    let CauseVerdict { ci, right, actor, at, command: _ } = verdict;
    VerdictJson { ci: ci.to_string(), right: *right, by: actor.clone(), at: (*at).into() }
}

/// A reason.
#[must_use]
pub fn reason_json(reason: &Reason) -> ReasonJson {
    let Reason { code, template: _, facts } = reason;
    let facts = facts.iter().map(|(name, fact)| (name.to_string(), fact_json(fact))).collect();
    ReasonJson { code: code.to_string(), text: reason.to_string(), facts }
}

fn fact_json(fact: &Fact) -> FactJson {
    match fact {
        Fact::Text(text) => FactJson::Text(text.clone()),
        Fact::Count(count) => FactJson::Count(*count),
        Fact::Number(number) => FactJson::Number(rounded(*number)),
        Fact::Time(at) => FactJson::Time((*at).into()),
        Fact::List(names) => FactJson::List(names.clone()),
    }
}

fn binding_json(binding: &Binding) -> BindingJson {
    let Binding { ci, confidence, reason } = binding;
    BindingJson { ci: ci.to_string(), confidence: rounded(*confidence), reason: reason_json(reason) }
}

fn service_json(service: &ServiceAtRisk) -> ServiceJson {
    let ServiceAtRisk { ci, name, criticality, owner } = service;
    ServiceJson { ci: ci.to_string(), name: name.clone(), criticality: criticality.as_str(), owner: owner.clone() }
}

fn labels_json(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Six digits: more say nothing, and would differ where sums are ordered differently.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

/// The name of an alert's state in files and the API.
#[must_use]
pub fn state_name(state: AlertState) -> &'static str {
    match state {
        AlertState::Firing => "firing",
        AlertState::Ended => "ended",
        AlertState::Stale => "stale",
    }
}

fn impact_name(impact: Impact) -> &'static str {
    match impact {
        Impact::Low => "low",
        Impact::Medium => "medium",
        Impact::High => "high",
    }
}

fn urgency_name(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::Low => "low",
        Urgency::Medium => "medium",
        Urgency::High => "high",
    }
}
