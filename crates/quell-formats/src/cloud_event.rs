//! CloudEvents 1.0 in structured mode: one JSON object with the event's attributes and its data.
//!
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md> names the attributes; `id`, `source`,
//! `specversion` and `type` are required. `partitionkey` is one of its documented extensions. Absent on purpose: binary
//! mode, and what is in the data.

use quell_domain::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// The content type of what [`encode`] writes.
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";

/// What stands before the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head<'a> {
    /// With `source` it is the event's identity: the same at every delivery.
    pub id: &'a str,
    /// Which quell says so: a URI.
    pub source: &'a str,
    /// `incident.opened`; `quell.` is put before it.
    pub kind: &'a str,
    /// What it is about, and whose events stay in order: `INC-7`.
    pub subject: &'a str,
    /// When it happened.
    pub time: Timestamp,
}

#[derive(Serialize)]
struct Event<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    r#type: String,
    subject: &'a str,
    time: String,
    datacontenttype: &'static str,
    partitionkey: &'a str,
    data: &'a Value,
}

/// The event as one JSON object.
#[must_use]
pub fn encode(head: &Head<'_>, data: &Value) -> Vec<u8> {
    let Head { id, source, kind, subject, time } = *head;
    let event = Event {
        specversion: "1.0",
        id,
        source,
        r#type: format!("quell.{kind}"),
        subject,
        time: time.to_string(),
        datacontenttype: "application/json",
        partitionkey: subject,
        data,
    };
    serde_json::to_vec(&event).expect("structs of texts and JSON are always JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_a_cloud_event() {
        let head = Head {
            id: "1.0-1-0-bus",
            source: "urn:quell",
            kind: "incident.opened",
            subject: "INC-1",
            time: Timestamp::from_seconds(1_750_000_000),
        };
        let event: Value = serde_json::from_slice(&encode(&head, &json!({"id": "INC-1"}))).expect("JSON");
        assert_eq!(
            event,
            json!({
                "specversion": "1.0", "id": "1.0-1-0-bus", "source": "urn:quell", "type": "quell.incident.opened",
                "subject": "INC-1", "time": "2025-06-15T15:06:40Z", "datacontenttype": "application/json",
                "partitionkey": "INC-1", "data": {"id": "INC-1"},
            })
        );
        // Names of attributes: lower-case letters and digits, at most 20.
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        assert!(event.as_object().is_some_and(|all| all.keys().all(|name| name.len() <= 20 && name.bytes().all(fits))));
    }
}
