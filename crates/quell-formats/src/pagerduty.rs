//! PagerDuty's Events API, version 2: one event in each body.
//!
//! The routing key is a credential: it is part of the identity and otherwise kept out of labels, annotations and
//! refused texts. Change events are read by [`change`]. Absent on purpose: version 1, and the answers' status codes.

pub mod change;

use std::borrow::Cow;

use quell_domain::{Action, Batch, BatchBuilder, Ending, ItemDraft, Severity, Source, Timestamp};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::alertmanager::{MAX_NAME, MAX_VALUE};
use crate::sniff;
use crate::text::{body_text, clean, cut_annotation};

const PATH: &str = "/v2/enqueue";
const ALLOWED: &str = "a JSON object with `routing_key`, `event_action` and `payload`";
const MISSING_ACTION: &str = "'event_action' is missing or blank";

/// Characters of a routing key.
const ROUTING_KEY: usize = 32;
/// Characters that a dedup key may have.
const MAX_DEDUP_KEY: usize = 255;
/// Details that become annotations; the annotation `custom_details.more` counts the rest.
const MAX_DETAILS: usize = 128;

/// An event that PagerDuty would accept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    /// What it asks.
    pub action: Action,
    /// Its key. `None` only for a trigger: give it one with [`with_dedup_key`] before it is recorded.
    pub dedup_key: Option<String>,
}

/// Checks a body as PagerDuty does.
///
/// # Errors
/// The texts for `errors` in the answer, all at once. A body that is not a JSON object gives one text that says so.
pub fn check(body: &[u8]) -> Result<Checked, Vec<String>> {
    let text = body_text(body);
    let event = parse(&text).map_err(|reason| vec![reason])?;
    check_event(&event)
}

/// The body with this dedup key put in, so that its record says which alert it is. `None` when the body is not a JSON
/// object or has a dedup key already.
#[must_use]
pub fn with_dedup_key(body: &[u8], key: &str) -> Option<Vec<u8>> {
    let text = body_text(body);
    let mut event = parse(&text).ok()?;
    if filled(&event, "dedup_key").is_some() {
        return None;
    }
    if event.contains_key("dedup_key") || event.is_empty() {
        event.insert("dedup_key".into(), Value::from(key));
        return Some(Value::Object(event).to_string().into_bytes());
    }
    // All else stays as it was posted, to the byte.
    let (before, after) = text.split_once('{')?;
    Some(format!("{before}{{\"dedup_key\":{},{after}", Value::from(key)).into_bytes())
}

/// Reads the body of `POST /v2/enqueue`. Never fails: what is wrong is the one reject.
///
/// The identity is the routing key and the dedup key. A trigger without one (as in a file to be replayed; the gateway
/// records none) gets the hash of its body as its key.
#[must_use]
pub fn decode(body: &[u8]) -> Batch {
    let text = body_text(body);
    let mut builder = BatchBuilder::new(Source::PagerDuty, text.len());
    let taken = parse(&text)
        .and_then(|event| check_event(&event).map(|checked| (event, checked)).map_err(|errors| errors.join("; ")));
    match taken {
        Ok((event, checked)) => push(&mut builder, &event, checked, &text),
        Err(reason) => builder.reject(None, reason, &redact(&text)),
    }
    builder.finish()
}

fn parse(text: &str) -> Result<Map<String, Value>, String> {
    parse_as(text, ALLOWED, PATH)
}

fn parse_as(text: &str, allowed: &str, path: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| sniff::refusal(text, &error, allowed, path))
}

/// A text field that is there and not blank.
fn filled<'a>(object: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    object.get(field)?.as_str().filter(|text| !text.trim().is_empty())
}

fn check_routing_key(event: &Map<String, Value>, errors: &mut Vec<String>) {
    match filled(event, "routing_key") {
        None => errors.push("'routing_key' is missing or blank".to_owned()),
        Some(key) if key.chars().count() != ROUTING_KEY => {
            errors.push(format!("Length of 'routing_key' is incorrect (should be {ROUTING_KEY} characters)"));
        }
        Some(_) => {}
    }
}

fn check_event(event: &Map<String, Value>) -> Result<Checked, Vec<String>> {
    let mut errors = Vec::new();
    check_routing_key(event, &mut errors);
    let action = match filled(event, "event_action") {
        None => Err(MISSING_ACTION.to_owned()),
        Some("trigger") => Ok(Action::Fire),
        Some("acknowledge") => Ok(Action::Acknowledge),
        Some("resolve") => Ok(Action::Resolve),
        Some(_) => Err("'event_action' is invalid (must be one of the following: 'trigger', 'acknowledge' or \
                        'resolve')"
            .to_owned()),
    };
    let dedup_key = filled(event, "dedup_key").map(str::to_owned);
    match (&dedup_key, &action) {
        (None, Ok(Action::Acknowledge | Action::Resolve)) => {
            errors.push("'dedup_key' is missing or blank".to_owned());
        }
        (Some(key), _) if key.chars().count() > MAX_DEDUP_KEY => {
            errors.push(format!("Length of 'dedup_key' is incorrect (should be at most {MAX_DEDUP_KEY} characters)"));
        }
        (None, _) if !matches!(event.get("dedup_key"), None | Some(Value::Null | Value::String(_))) => {
            errors.push("'dedup_key' is invalid (must be a string)".to_owned());
        }
        _ => {}
    }
    if action == Ok(Action::Fire) {
        check_payload(event.get("payload"), &mut errors);
    }
    match action {
        Ok(action) if errors.is_empty() => Ok(Checked { action, dedup_key }),
        Ok(_) => Err(errors),
        Err(error) => {
            errors.push(error);
            Err(errors)
        }
    }
}

fn check_payload(payload: Option<&Value>, errors: &mut Vec<String>) {
    let Some(Value::Object(payload)) = payload else {
        errors.push("'payload' is missing or blank".to_owned());
        return;
    };
    for field in ["summary", "source"] {
        if filled(payload, field).is_none() {
            errors.push(format!("'payload.{field}' is missing or blank"));
        }
    }
    match filled(payload, "severity") {
        None => errors.push("'payload.severity' is missing or blank".to_owned()),
        Some(word) if severity(word).is_none() => errors.push(
            "'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')"
                .to_owned(),
        ),
        Some(_) => {}
    }
    for field in LABELS {
        if let Some(text) = filled(payload, field)
            && text.len() > MAX_VALUE
        {
            errors.push(format!("Length of 'payload.{field}' is incorrect (should be at most {MAX_VALUE} bytes)"));
        }
    }
}

fn severity(word: &str) -> Option<Severity> {
    match word {
        "critical" => Some(Severity::Critical),
        "error" => Some(Severity::Error),
        "warning" => Some(Severity::Warning),
        "info" => Some(Severity::Info),
        _ => None,
    }
}

/// The payload's fields that become labels.
const LABELS: [&str; 5] = ["source", "component", "group", "class", "severity"];

type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

fn push(builder: &mut BatchBuilder, event: &Map<String, Value>, checked: Checked, text: &str) {
    let Checked { action, dedup_key } = checked;
    let dedup_key = dedup_key.unwrap_or_else(|| key_of(text));
    let identity = format!("{}\n{dedup_key}", filled(event, "routing_key").unwrap_or_default());
    let mut draft = ItemDraft {
        dedup_key: Some(&identity),
        action,
        ending: Ending::Explicit,
        starts_at: None,
        ends_at: None,
        severity: Severity::Unknown,
    };
    let (mut labels, mut annotations): (Pairs<'_>, Pairs<'_>) = (Vec::new(), Vec::new());
    if action == Action::Fire {
        if let Some(Value::Object(payload)) = event.get("payload") {
            draft.severity = filled(payload, "severity").and_then(severity).unwrap_or_default();
            for field in LABELS {
                labels.extend(filled(payload, field).map(|text| (field.into(), text.into())));
            }
            annotations.extend(filled(payload, "summary").map(|text| ("summary".into(), text.into())));
            if let Some(timestamp) = filled(payload, "timestamp") {
                draft.starts_at = Timestamp::parse_rfc3339(timestamp);
                if draft.starts_at.is_none() {
                    annotations.push(("timestamp".into(), timestamp.into()));
                }
            }
            if let Some(details) = payload.get("custom_details") {
                push_details(details, &mut annotations);
            }
        }
        annotations.push(("dedup_key".into(), dedup_key.as_str().into()));
        for field in ["client", "client_url"] {
            annotations.extend(filled(event, field).map(|text| (field.into(), text.into())));
        }
        let link = event.get("links").and_then(|links| links.get(0)?.get("href")?.as_str());
        annotations.extend(link.map(|href| ("link".into(), href.into())));
    }
    for (name, value) in labels.iter_mut().chain(&mut annotations) {
        scrub(name);
        scrub(value);
    }
    for (_, value) in &mut annotations {
        *value = cut_annotation(std::mem::take(value));
    }
    builder.push(
        draft,
        &mut labels.iter().map(|(name, value)| (&**name, &**value)).collect(),
        &mut annotations.iter().map(|(name, value)| (&**name, &**value)).collect(),
    );
}

fn scrub(text: &mut Cow<'_, str>) {
    if text.bytes().any(|b| b < b' ') {
        *text = Cow::Owned(clean(text));
    }
}

/// Details one level deep: texts as they are, everything else as JSON.
fn push_details<'a>(details: &'a Value, annotations: &mut Pairs<'a>) {
    match details {
        Value::Null => {}
        Value::Object(fields) => {
            let before = annotations.len();
            let named = fields.iter().filter(|(name, _)| name.len() <= MAX_NAME).take(MAX_DETAILS);
            annotations.extend(named.map(|(name, value)| (format!("custom_details.{name}").into(), shown(value))));
            let left_out = fields.len() - (annotations.len() - before);
            if left_out > 0 {
                annotations.push(("custom_details.more".into(), left_out.to_string().into()));
            }
        }
        other => annotations.push(("custom_details".into(), shown(other))),
    }
}

fn shown(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => text.into(),
        Value::Null => "".into(),
        other => other.to_string().into(),
    }
}

fn key_of(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The text without its routing keys: what is shown of a refused event.
fn redact(text: &str) -> String {
    const FIELD: &str = "routing_key\"";
    let (mut kept, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once(FIELD) {
        kept.push_str(before);
        kept.push_str(FIELD);
        let value = after.trim_start_matches([' ', '\t', '\n', '\r', ':']);
        kept.push_str(&after[..after.len() - value.len()]);
        rest = match value.strip_prefix('"') {
            Some(secret) => {
                kept.push_str("\"(left out)\"");
                &secret[secret.find('"').map_or(secret.len(), |end| end + 1)..]
            }
            None => value,
        };
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_texts_hold_no_routing_key() {
        let check = |text: &str, expected: &str| assert_eq!(redact(text), expected);
        check(r#"{"routing_key" : "abc","a":"b"}"#, r#"{"routing_key" : "(left out)","a":"b"}"#);
        check(r#"{"routing_key":"abc"#, r#"{"routing_key":"(left out)""#);
        check(r#"{"routing_key":null}"#, r#"{"routing_key":null}"#);
        check("routing_key\"", "routing_key\"");
    }
}
