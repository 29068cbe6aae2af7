//! The alerts file: one body a line, with the time and the contract it came by.
//!
//! Absent on purpose: reading files and decoding bodies.

use std::borrow::Cow;

use quell_domain::{Source, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::mistake::Mistake;
use crate::text::Text;

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded<'a> {
    /// When it was received.
    pub received_at: Timestamp,
    /// The contract it came by.
    pub source: Source,
    /// The body, to the byte as it was posted.
    pub payload: &'a [u8],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    received_at: Text<'a>,
    #[serde(borrow)]
    source: Text<'a>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// Reads one line; `number` counts from 1. A blank line is `None`.
///
/// # Errors
/// What is wrong in it, with the line's number.
pub fn line(number: usize, text: &str) -> Result<Option<Recorded<'_>>, Mistake> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    let wrong = |field: &str, found: String, allowed: &str| {
        let dot = if field.is_empty() { "" } else { ", " };
        Mistake { file: String::new(), path: format!("line {number}{dot}{field}"), found, allowed: allowed.to_owned() }
    };
    let Line { received_at: Text(at), source: Text(name), payload } = serde_json::from_str(text).map_err(|error| {
        wrong("", format!("no such object: {error}"), "an object with `received_at`, `source` and `payload`")
    })?;
    let quoted = |text: &Cow<'_, str>| format!("{text:?}");
    let received_at = Timestamp::parse_rfc3339(&at)
        .ok_or_else(|| wrong("received_at", quoted(&at), "a time in RFC 3339, as 2026-01-31T08:00:00Z"))?;
    let source = Source::from_name(&name).ok_or_else(|| {
        wrong("source", quoted(&name), &format!("one of {}", Source::ALL.map(Source::as_str).join(", ")))
    })?;
    Ok(Some(Recorded { received_at, source, payload: payload.get().as_bytes() }))
}
