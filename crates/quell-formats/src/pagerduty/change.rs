//! PagerDuty's change events: what was deployed, merged or switched, told by whoever did it. One in each body.
//!
//! Absent on purpose: images, and what the change did to anything.

use std::borrow::Cow;

use quell_domain::batch::fingerprint;
use quell_domain::{Changes, Fingerprint, Labels, Reject, Source, Timestamp, ToldChange};
use serde_json::{Map, Value};

use super::{MAX_DETAILS, check_routing_key, filled, parse_as, redact};
use crate::alertmanager::{MAX_NAME, MAX_VALUE};
use crate::text::{body_text, clean};

const PATH: &str = "/v2/change/enqueue";
const ALLOWED: &str = "a JSON object with `routing_key` and `payload`";

/// Characters of a summary that are kept; PagerDuty takes no more.
const MAX_SUMMARY: usize = 1024;

/// Details that say who did it, in the order of preference; the payload's source is the tool that tells.
const BY: [&str; 5] = ["user", "author", "actor", "deployed_by", "by"];

/// Checks a body as PagerDuty does.
///
/// # Errors
/// The texts for `errors` in the answer, all at once. A body that is not a JSON object gives one text that says so.
pub fn check(body: &[u8]) -> Result<(), Vec<String>> {
    let event = parse_as(&body_text(body), ALLOWED, PATH).map_err(|reason| vec![reason])?;
    check_event(&event)
}

/// Reads the body of `POST /v2/change/enqueue`. Never fails: what is wrong is the one reject.
///
/// A change event has no key of its own, so all that it says is its identity: a sender that got no answer says the same
/// again. The times are `payload.timestamp`, or `starts_at` and `ends_at` among the details.
#[must_use]
pub fn decode(body: &[u8]) -> Changes {
    let text = body_text(body);
    let mut changes = Changes { source: Source::PagerDutyChange, items: Vec::new(), rejects: Vec::new() };
    let checked = parse_as(&text, ALLOWED, PATH)
        .and_then(|event| check_event(&event).map(|()| event).map_err(|errors| errors.join("; ")));
    match checked {
        Ok(event) => changes.items.push(told(&event)),
        Err(reason) => changes.rejects.push(Reject::new(None, reason, &redact(&text))),
    }
    changes
}

fn check_event(event: &Map<String, Value>) -> Result<(), Vec<String>> {
    let mut errors = Vec::new();
    check_routing_key(event, &mut errors);
    match event.get("payload") {
        Some(Value::Object(payload)) => {
            if filled(payload, "summary").is_none() {
                errors.push("'payload.summary' is missing or blank".to_owned());
            }
            if !matches!(payload.get("custom_details"), None | Some(Value::Null | Value::Object(_))) {
                errors.push("'payload.custom_details' is invalid (must be an object)".to_owned());
            }
        }
        _ => errors.push("'payload' is missing or blank".to_owned()),
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn told(event: &Map<String, Value>) -> ToldChange {
    let payload = event.get("payload").and_then(Value::as_object);
    let details = payload.and_then(|payload| payload.get("custom_details")?.as_object());
    let said = |field: &str| payload.and_then(|payload| filled(payload, field));
    let detail = |field: &str| details.and_then(|details| filled(details, field));
    let time = |text: Option<&str>| text.and_then(Timestamp::parse_rfc3339);
    let starts_at = time(detail("starts_at")).or_else(|| time(said("timestamp")));
    let ends_at = time(detail("ends_at")).filter(|&ends_at| starts_at.is_some_and(|start| start <= ends_at));
    let by = BY.iter().find_map(|field| detail(field)).or(said("source")).unwrap_or_default();
    let link = event.get("links").and_then(|links| links.get(0)?.get("href")?.as_str());
    ToldChange {
        fingerprint: identity(event),
        summary: cut(said("summary").unwrap_or_default(), MAX_SUMMARY),
        by: cut(by, MAX_SUMMARY),
        link: link.filter(|href| href.len() <= MAX_VALUE).map(clean),
        labels: labels(details, said("source")),
        starts_at,
        ends_at,
    }
}

fn identity(event: &Map<String, Value>) -> Fingerprint {
    let said: Vec<String> = ["routing_key", "payload", "links"]
        .iter()
        .map(|field| event.get(*field).map(Value::to_string).unwrap_or_default())
        .collect();
    fingerprint(Source::PagerDutyChange, Some(&said.join("\n")), &[])
}

/// Details one level deep, texts and numbers, each under its own name; and the source.
fn labels(details: Option<&Map<String, Value>>, source: Option<&str>) -> Labels {
    let plain = |value: &Value| match value {
        Value::String(text) => Some(clean(text)),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let named = details.into_iter().flatten().filter(|(name, _)| name.len() <= MAX_NAME).take(MAX_DETAILS);
    let named = named.filter_map(|(name, value)| Some((clean(name), plain(value)?)));
    let source = source.map(|source| ("source".to_owned(), clean(source)));
    Labels::new(named.chain(source).filter(|(_, value)| value.len() <= MAX_VALUE))
}

fn cut(text: &str, characters: usize) -> String {
    let end = text.char_indices().nth(characters).map(|(at, _)| at);
    clean(&end.map_or(Cow::Borrowed(text), |end| Cow::Owned(format!("{}…", &text[..end]))))
}
