//! The alert: a notice that a condition holds on one CI.
//!
//! Absent on purpose: whether it matters, what it belongs to and when it is over; the engine decides that.

use std::fmt;

use crate::ci::CiId;
use crate::ids::{AlertId, Fingerprint, IncidentId, Position};
use crate::labels::Labels;
use crate::reason::Reason;
use crate::time::Timestamp;

/// The contract that an alert or a change came by. The discriminants go into fingerprints and onto the log: never
/// renumber.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Source {
    /// `POST /api/v2/alerts`, as Prometheus pushes.
    AlertmanagerApi = 1,
    /// Alertmanager's webhook, version 4.
    AlertmanagerWebhook = 2,
    /// PagerDuty Events API v2.
    PagerDuty = 3,
    /// PagerDuty Events API v2, change events.
    PagerDutyChange = 4,
}

impl Source {
    /// Every source there is.
    pub const ALL: [Source; 4] =
        [Source::AlertmanagerApi, Source::AlertmanagerWebhook, Source::PagerDuty, Source::PagerDutyChange];

    /// Those that tell of alerts.
    pub const ALERTS: [Source; 3] = [Source::AlertmanagerApi, Source::AlertmanagerWebhook, Source::PagerDuty];

    /// True for a contract that tells of changes.
    #[must_use]
    pub const fn tells_changes(self) -> bool {
        matches!(self, Source::PagerDutyChange)
    }

    /// The name used in files, metrics and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Source::AlertmanagerApi => "alertmanager",
            Source::AlertmanagerWebhook => "alertmanager-webhook",
            Source::PagerDuty => "pagerduty",
            Source::PagerDutyChange => "pagerduty-change",
        }
    }

    /// The source of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Source> {
        Self::ALL.into_iter().find(|source| source.as_str() == name)
    }

    /// The source with that discriminant, as kept on the log.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Source> {
        Self::ALL.into_iter().find(|source| *source as u8 == code)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The source's claim of how bad it is, normalised; the original stays in the labels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum Severity {
    /// The source says nothing that is understood. Never taken for harmless: it weighs like a warning.
    #[default]
    Unknown = 0,
    /// For information.
    Info = 1,
    /// Soon a loss of quality.
    Warning = 2,
    /// A loss of quality.
    Error = 3,
    /// An outage, or about to be one.
    Critical = 4,
}

impl Severity {
    /// Every severity, mildest first.
    pub const ALL: [Severity; 5] =
        [Severity::Unknown, Severity::Info, Severity::Warning, Severity::Error, Severity::Critical];

    /// The name used in files and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Unknown => "unknown",
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Critical => "critical",
        }
    }

    /// The severity of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Severity> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == name)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an alert ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Ending {
    /// At its `ends_at`, or the resolve timeout after the last time it was sent (API v2).
    Expires = 0,
    /// Only by its sender's own resolve (webhook, PagerDuty).
    Explicit = 1,
}

/// Where an alert episode stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum AlertState {
    /// The condition holds.
    Firing = 0,
    /// It is over.
    Ended = 1,
    /// A resolve that came before any fire: kept for a while, so that the late fire is born ended.
    Stale = 2,
}

/// The CI an alert was bound to, and why.
#[derive(Clone, PartialEq, Debug)]
pub struct Binding {
    /// The CI.
    pub ci: CiId,
    /// How sure the binding is, 0 to 1: the weight of its strongest evidence.
    pub confidence: f64,
    /// By what it was bound, what else speaks for it, and which CIs came after it.
    pub reason: Reason,
}

/// One alert episode with all that was decided of it. `[starts_at, ends_at)`.
#[derive(Clone, PartialEq, Debug)]
pub struct Alert {
    /// Its identity within the shard.
    pub id: AlertId,
    /// The identity shared by all its repeats.
    pub fingerprint: Fingerprint,
    /// The contract it came by.
    pub source: Source,
    /// Firing, ended or stale.
    pub state: AlertState,
    /// The sender's claim.
    pub severity: Severity,
    /// What identifies it.
    pub labels: Labels,
    /// What else was said; the latest.
    pub annotations: Labels,
    /// Hash of all but identity and times, as last seen (see [`crate::Item::content`]).
    pub content: u64,
    /// Its CI; `None` when unbound.
    pub binding: Option<Binding>,
    /// Why it is unbound, when it is.
    pub unbound: Option<Reason>,
    /// The incident it belongs to; `None` for a stale one, and for one that a rule suppresses or holds back.
    pub incident: Option<IncidentId>,
    /// Why it belongs there, or to none.
    pub membership: Option<Reason>,
    /// The alert of the same incident that it repeats in other words: the same fault, seen by another monitor. A twin is
    /// not counted among an incident's alerts.
    pub twin_of: Option<AlertId>,
    /// The earliest start its sender gave.
    pub starts_at: Timestamp,
    /// Firing: when it expires, if it does. Ended: when it ended.
    pub ends_at: Option<Timestamp>,
    /// How it ends.
    pub ending: Ending,
    /// True when `ends_at` was set by the resolve timeout and not by the sender.
    pub timed_out: bool,
    /// How often it was received, the first time included.
    pub count: u64,
    /// When it was first received.
    pub first_seen: Timestamp,
    /// When it began, by what its sender had said when it was first received: what alerts are compared by. Unlike
    /// `starts_at` it never changes.
    pub began_at: Timestamp,
    /// When it was last received.
    pub last_seen: Timestamp,
    /// The record that opened it.
    pub opened_position: Position,
    /// Which item of that record.
    pub opened_ordinal: u32,
    /// The record that ended it; `None` while it fires.
    pub closed_position: Option<Position>,
    /// The last record whose items are contained in this row.
    pub folded_through: Position,
}

impl Alert {
    /// What a person would call it: the label `alertname`, else the annotations `summary` or `title`.
    #[must_use]
    pub fn name(&self) -> &str {
        name(&self.labels, &self.annotations)
    }
}

/// See [`Alert::name`].
#[must_use]
pub fn name<'a>(labels: &'a Labels, annotations: &'a Labels) -> &'a str {
    labels
        .get("alertname")
        .or_else(|| annotations.get("summary"))
        .or_else(|| annotations.get("title"))
        .unwrap_or("(unnamed alert)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_are_one_to_one() {
        for source in Source::ALL {
            assert_eq!(Source::from_name(source.as_str()), Some(source));
            assert_eq!(Source::from_code(source as u8), Some(source));
        }
        for severity in Severity::ALL {
            assert_eq!(Severity::from_name(severity.as_str()), Some(severity));
        }
    }
}
