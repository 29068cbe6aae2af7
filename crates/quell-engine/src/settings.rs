//! What rules and pipelines say, checked: the engine reads these values and nothing else.
//!
//! Absent on purpose: YAML, file names and defaults; the shipped defaults are the files under `rules/` and
//! `pipelines/`, read by `quell-formats`.

use std::time::Duration;

pub use quell_cmdb::BindBy;
use quell_domain::{Impact, Labels, Priority, Severity, Source, Urgency};

use crate::rules::Rules;

/// Everything an operator can set that changes decisions. One immutable artefact, activated on the log.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// One pipeline for each source, in the order of [`Source::ALL`]. That of changes may be missing.
    pub pipelines: Vec<Pipeline>,
    /// See [`Correlation`].
    pub correlation: Correlation,
    /// See [`Lifecycle`].
    pub lifecycle: Lifecycle,
    /// See [`Limits`].
    pub limits: Limits,
    /// Impact × urgency → priority.
    pub priorities: PriorityMatrix,
    /// The operator's own rules, and what alerts' names say.
    pub rules: Rules,
}

impl Settings {
    /// The pipeline of a source. `None` only for a source without one, which the check refuses.
    #[must_use]
    pub fn pipeline(&self, source: Source) -> Option<&Pipeline> {
        self.pipelines.iter().find(|pipeline| pipeline.source == source)
    }
}

/// How alerts or changes of one contract are read.
#[derive(Clone, PartialEq, Debug)]
pub struct Pipeline {
    /// Whose.
    pub source: Source,
    /// How severity is read from labels.
    pub severity: SeverityMap,
    /// How they are bound to CIs: what each step finds is evidence, and of about equal evidence that of the earlier
    /// step counts.
    pub bind: Vec<BindStep>,
}

/// How a source's own words map to [`Severity`].
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SeverityMap {
    /// Labels that may carry it, in order; the first that is present decides.
    pub labels: Vec<String>,
    /// Its words, in lower case, and what they mean. A word not listed is [`Severity::Unknown`].
    pub words: Vec<(String, Severity)>,
}

impl SeverityMap {
    /// What the labels claim, if they claim anything.
    #[must_use]
    pub fn read(&self, labels: quell_domain::LabelsRef<'_>) -> Option<Severity> {
        let word = self.labels.iter().find_map(|name| labels.get(name))?;
        let known = self.words.iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
        Some(known.map_or(Severity::Unknown, |&(_, severity)| severity))
    }
}

/// One way to find an alert's CI.
#[derive(Clone, PartialEq, Debug)]
pub enum BindStep {
    /// The value of one of these labels is looked up; see [`BindBy`].
    Label {
        /// Label names.
        labels: Vec<String>,
        /// As what the value is looked up: the first way that finds exactly one CI counts.
        by: Vec<BindBy>,
        /// How much a word that fits exactly one CI weighs, 0 to 1.
        confidence: f64,
    },
    /// A CI all of whose labels the alert carries; of several, the one with the most labels.
    CiLabels {
        /// How sure such a binding is, 0 to 1.
        confidence: f64,
    },
}

/// When two alerts are the same trouble.
#[derive(Clone, PartialEq, Debug)]
pub struct Correlation {
    /// An incident of unbound alerts takes new ones for this long after its last one.
    pub window: Duration,
    /// How often a CI raises an alert by chance, that is for a trouble of its own: once in this time.
    pub background: Duration,
    /// How far apart on the service graph two CIs may be, in relationships.
    pub max_hops: u32,
    /// The least probability, 0 to 1, that joins an alert to an incident.
    pub threshold: f64,
    /// An unbound alert joins an incident of alerts with equal values of these labels (those of them that it has).
    pub unbound_by: Vec<String>,
}

/// How incidents live.
#[derive(Clone, PartialEq, Debug)]
pub struct Lifecycle {
    /// API v2: an alert sent without `endsAt` ends this long after it was last sent.
    pub resolve_timeout: Duration,
    /// A resolved incident reopens when its trouble comes back within this time.
    pub reopen_window: Duration,
    /// A fire that comes this soon after its resolve and began before it is late, not new.
    pub lateness: Duration,
    /// A resolve without a fire is kept for this long.
    pub tombstone: Duration,
    /// Causes, priority and title are judged anew this long after a change.
    pub review_after: Duration,
}

/// Named limits (INV-6). Reaching one is counted and collapses, never silences.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Alerts in hand; one more is counted into the overflow alert.
    pub active_alerts: u64,
    /// CIs that one walk over the graph may visit before it says "partial".
    pub walk_cis: u64,
    /// Recent changes in hand; of more the oldest are let go of, and are no evidence any more.
    pub recent_changes: u64,
    /// Ended alerts of an open incident in hand; of more, those that ended first are let go of.
    pub ended_alerts: u64,
}

/// Impact × urgency → priority.
#[derive(Clone, PartialEq, Debug)]
pub struct PriorityMatrix {
    /// `rows[impact][urgency]`, both lowest first.
    pub rows: [[Priority; 3]; 3],
}

impl PriorityMatrix {
    /// The priority of an impact and an urgency.
    #[must_use]
    pub fn priority(&self, impact: Impact, urgency: Urgency) -> Priority {
        self.rows[impact as usize][urgency as usize]
    }
}

/// Label values an unbound alert is grouped by, as a label set.
#[must_use]
pub fn unbound_key(labels: quell_domain::LabelsRef<'_>, by: &[String]) -> Labels {
    Labels::new(by.iter().filter_map(|name| labels.get(name).map(|value| (name.as_str(), value))))
}
