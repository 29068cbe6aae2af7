//! The body of the outgoing webhook: one notice as JSON.
//!
//! Absent on purpose: the signature, headers and where it is sent.

use quell_domain::Notice;
use serde::Serialize;

use crate::views::{ReasonJson, Time, reason_json};

#[derive(Serialize)]
struct NoticeJson<'a> {
    version: &'static str,
    id: &'a str,
    event: String,
    incident: String,
    number: u32,
    transition: &'static str,
    at: Time,
    title: &'a str,
    priority: String,
    cause: Option<&'a str>,
    alerts: u64,
    reason: ReasonJson,
}

/// The body for a notice. `id` is the delivery's: the same at every attempt, so that a receiver can drop repeats.
/// Equal notices give equal bytes.
#[must_use]
pub fn encode(id: &str, notice: &Notice) -> Vec<u8> {
    let Notice { incident, number, transition, at, title, priority, cause, alerts, reason } = notice;
    let body = NoticeJson {
        version: "1",
        id,
        event: format!("incident.{}", transition.as_str()),
        incident: incident.to_string(),
        number: *number,
        transition: transition.as_str(),
        at: (*at).into(),
        title,
        priority: priority.to_string(),
        cause: cause.as_ref().map(quell_domain::CiId::as_str),
        alerts: *alerts,
        reason: reason_json(reason),
    };
    serde_json::to_vec(&body).expect("structs of texts and numbers are always JSON")
}
