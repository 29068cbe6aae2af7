//! Alertmanager's two contracts: the alerts that Prometheus pushes (API v2) and the webhook (version 4).
//!
//! A body is read once, borrowing; only when something in it is wrong is it split into items and read again, so that
//! the good items are taken and each bad one is refused with its own text.
//!
//! Absent on purpose: severity (pipelines read it from labels) and every decision about `ends_at`.

mod fields;

use std::fmt;

use quell_domain::{Action, Batch, BatchBuilder, Ending, ItemDraft, Severity, Source};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::sniff;
use crate::text::{Text, body_text, cut_annotation};
use fields::{Fields, FieldsSeed, Pairs};

/// Alerts that one request may carry.
pub const MAX_ALERTS: usize = 5_000;
/// Labels that one alert may carry.
pub const MAX_LABELS: usize = 64;
/// Bytes of a label's or an annotation's name.
pub const MAX_NAME: usize = 256;
/// Bytes of a label's value.
pub const MAX_VALUE: usize = 4 * 1024;

const API_PATH: &str = "/api/v2/alerts";
const API_ALLOWED: &str = "a JSON array of alerts, each an object with `labels`";
const WEBHOOK_PATH: &str = "/api/v1/webhooks/alertmanager";
const WEBHOOK_ALLOWED: &str = "Alertmanager's webhook, version \"4\": a JSON object with `alerts`, an array";

/// Reads the body of `POST /api/v2/alerts`. Never fails: what is wrong is among the rejects.
///
/// Label sets are the identity; `generatorURL` becomes an annotation; Go's zero time means "not set".
#[must_use]
pub fn decode_api(body: &[u8]) -> Batch {
    decode(body, Source::AlertmanagerApi)
}

/// Reads the body of Alertmanager's webhook. Never fails: what is wrong is among the rejects.
///
/// Each alert's own `status` and `fingerprint` count, never the group's. Alerts that Alertmanager left out
/// (`truncatedAlerts`) are not touched: nothing is resolved by absence.
#[must_use]
pub fn decode_webhook(body: &[u8]) -> Batch {
    decode(body, Source::AlertmanagerWebhook)
}

fn decode(body: &[u8], source: Source) -> Batch {
    let text = body_text(body);
    let mut sink = Sink::new(source, text.len());
    let mut reader = serde_json::Deserializer::from_str(&text);
    let whole = Whole { sink: &mut sink, webhook: source == Source::AlertmanagerWebhook };
    match whole.deserialize(&mut reader).and_then(|()| reader.end()) {
        Ok(()) => sink.builder.finish(),
        Err(_) => decode_apart(&text, source),
    }
}

/// Reads a body in which something is wrong: item by item, refusing the bad ones.
fn decode_apart(text: &str, source: Source) -> Batch {
    let webhook = source == Source::AlertmanagerWebhook;
    let mut sink = Sink::new(source, text.len());
    let mut reader = serde_json::Deserializer::from_str(text);
    let split = Split { webhook }.deserialize(&mut reader).and_then(|items| reader.end().map(|()| items));
    let items = match split {
        Ok(items) => items,
        Err(error) => {
            let (allowed, own) = if webhook { (WEBHOOK_ALLOWED, WEBHOOK_PATH) } else { (API_ALLOWED, API_PATH) };
            sink.builder.reject(None, sniff::refusal(text, &error, allowed, own), text);
            return sink.builder.finish();
        }
    };
    if items.count > MAX_ALERTS {
        let reason = format!("{} alerts in one request; allowed: at most {MAX_ALERTS}", items.count);
        sink.builder.reject(None, reason, text);
        return sink.builder.finish();
    }
    for (ordinal, raw) in (0_u32..).zip(items.kept) {
        let mut reader = serde_json::Deserializer::from_str(raw.get());
        let seed = FieldsSeed { labels: &mut sink.labels, annotations: &mut sink.annotations };
        let taken = seed
            .deserialize(&mut reader)
            .map_err(|error| format!("not an alert: {error}"))
            .and_then(|fields| sink.push(&fields));
        if let Err(reason) = taken {
            sink.builder.reject(Some(ordinal), reason, raw.get());
        }
    }
    sink.builder.finish()
}

/// Where decoded alerts go, with room that is used again for each of them.
struct Sink<'de> {
    builder: BatchBuilder,
    source: Source,
    labels: Pairs<'de>,
    annotations: Pairs<'de>,
    spare_labels: Vec<(&'static str, &'static str)>,
    spare_annotations: Vec<(&'static str, &'static str)>,
}

impl Sink<'_> {
    fn new(source: Source, text_hint: usize) -> Self {
        Sink {
            builder: BatchBuilder::new(source, text_hint),
            source,
            labels: Vec::new(),
            annotations: Vec::new(),
            spare_labels: Vec::new(),
            spare_annotations: Vec::new(),
        }
    }

    /// Adds the alert whose labels and annotations were just read, or says why not, in Alertmanager's words.
    fn push(&mut self, fields: &Fields<'_>) -> Result<(), String> {
        let (action, ending, ends_at) = match self.source {
            Source::AlertmanagerWebhook => match fields.status.as_deref() {
                Some("firing") => (Action::Fire, Ending::Explicit, None),
                Some("resolved") => (Action::Resolve, Ending::Explicit, fields.ends_at),
                found => return Err(bad_status(found)),
            },
            _ => {
                if let (Some(starts_at), Some(ends_at)) = (fields.starts_at, fields.ends_at)
                    && ends_at < starts_at
                {
                    return Err("start time must be before end time".into());
                }
                (Action::Fire, Ending::Expires, fields.ends_at)
            }
        };
        check_labels(&self.labels)?;
        check_annotations(&mut self.annotations)?;
        let dedup_key = match self.source {
            Source::AlertmanagerWebhook => fields.fingerprint.as_deref().filter(|key| !key.is_empty()),
            _ => None,
        };
        let (starts_at, severity) = (fields.starts_at, Severity::Unknown);
        let draft = ItemDraft { dedup_key, action, ending, starts_at, ends_at, severity };
        let mut labels = relabel(std::mem::take(&mut self.spare_labels));
        labels.extend(self.labels.iter().map(|(name, value)| (&**name, &**value)));
        let mut annotations = relabel(std::mem::take(&mut self.spare_annotations));
        // First, so that an annotation of that name wins over the field.
        annotations.extend(fields.generator_url.as_deref().map(|url| ("generatorURL", url)));
        annotations.extend(self.annotations.iter().map(|(name, value)| (&**name, &**value)));
        self.builder.push(draft, &mut labels, &mut annotations);
        self.spare_labels = relabel(labels);
        self.spare_annotations = relabel(annotations);
        Ok(())
    }
}

/// The same room for pairs of another lifetime; nothing is allocated (the standard library collects in place).
fn relabel<'b>(pairs: Vec<(&str, &str)>) -> Vec<(&'b str, &'b str)> {
    let mut pairs = pairs;
    pairs.clear();
    pairs.into_iter().map(|_| ("", "")).collect()
}

fn bad_status(found: Option<&str>) -> String {
    match found {
        Some(found) => format!("status: found {found:?}; allowed: \"firing\" or \"resolved\""),
        None => "status: missing; allowed: \"firing\" or \"resolved\"".into(),
    }
}

fn check_labels(labels: &Pairs<'_>) -> Result<(), String> {
    // The last pair decides for its name, so looking at it answers almost always.
    let any = labels.last().is_some_and(|(_, value)| !value.is_empty())
        || labels
            .iter()
            .enumerate()
            .any(|(at, (name, value))| !value.is_empty() && !labels[at + 1..].iter().any(|(later, _)| later == name));
    if !any {
        return Err("at least one label pair required".into());
    }
    if labels.len() > MAX_LABELS {
        return Err(format!("invalid label set: {} labels; allowed: at most {MAX_LABELS}", labels.len()));
    }
    for (name, value) in labels {
        if name.is_empty() {
            return Err("invalid label set: invalid name \"\"".into());
        }
        if name.len() > MAX_NAME {
            return Err(format!("invalid label set: a name of {} bytes; allowed: at most {MAX_NAME}", name.len()));
        }
        if value.len() > MAX_VALUE {
            let (name, bytes) = (name, value.len());
            return Err(format!("invalid label set: {name:?} has {bytes} bytes; allowed: at most {MAX_VALUE}"));
        }
    }
    Ok(())
}

fn check_annotations(annotations: &mut Pairs<'_>) -> Result<(), String> {
    for (name, value) in annotations {
        if name.is_empty() {
            return Err("invalid annotations: invalid name \"\"".into());
        }
        if name.len() > MAX_NAME {
            return Err(format!("invalid annotations: a name of {} bytes; allowed: at most {MAX_NAME}", name.len()));
        }
        if value.len() > crate::text::MAX_ANNOTATION {
            *value = cut_annotation(std::mem::take(value));
        }
    }
    Ok(())
}

/// Reads a whole body straight into a sink; any fault ends it.
struct Whole<'s, 'de> {
    sink: &'s mut Sink<'de>,
    webhook: bool,
}

impl<'de> DeserializeSeed<'de> for Whole<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.webhook { deserializer.deserialize_map(self) } else { deserializer.deserialize_seq(self) }
    }
}

impl<'de> Visitor<'de> for Whole<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.webhook { "an object" } else { "an array of alerts" })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut count = 0;
        loop {
            let seed = FieldsSeed { labels: &mut self.sink.labels, annotations: &mut self.sink.annotations };
            let Some(fields) = seq.next_element_seed(seed)? else { return Ok(()) };
            count += 1;
            if count > MAX_ALERTS {
                return Err(A::Error::custom("too many alerts"));
            }
            self.sink.push(&fields).map_err(A::Error::custom)?;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut found = false;
        while let Some(Text(key)) = map.next_key()? {
            match &*key {
                "alerts" if found => return Err(A::Error::duplicate_field("alerts")),
                "alerts" => {
                    found = true;
                    map.next_value_seed(Whole { sink: &mut *self.sink, webhook: false })?;
                }
                "version" => check_version(&map.next_value::<Text<'_>>()?.0).map_err(A::Error::custom)?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if found { Ok(()) } else { Err(A::Error::missing_field("alerts")) }
    }
}

fn check_version(version: &str) -> Result<(), String> {
    if version == "4" { Ok(()) } else { Err(format!("version: found {version:?}; allowed: \"4\"")) }
}

/// The items of a body, unread.
struct Items<'de> {
    /// The first ones, at most [`MAX_ALERTS`].
    kept: Vec<&'de RawValue>,
    /// All of them.
    count: usize,
}

/// Splits a body into its items without reading them.
struct Split {
    webhook: bool,
}

impl<'de> DeserializeSeed<'de> for Split {
    type Value = Items<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Items<'de>, D::Error> {
        if self.webhook { deserializer.deserialize_map(self) } else { deserializer.deserialize_seq(self) }
    }
}

impl<'de> Visitor<'de> for Split {
    type Value = Items<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.webhook { "an object" } else { "an array of alerts" })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items<'de>, A::Error> {
        let mut items = Items { kept: Vec::new(), count: 0 };
        while items.count < MAX_ALERTS {
            let Some(item) = seq.next_element()? else { return Ok(items) };
            items.kept.push(item);
            items.count += 1;
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            items.count += 1;
        }
        Ok(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Items<'de>, A::Error> {
        let mut items = None;
        while let Some(Text(key)) = map.next_key()? {
            match &*key {
                "alerts" => items = Some(map.next_value_seed(Split { webhook: false })?),
                "version" => check_version(&map.next_value::<Text<'_>>()?.0).map_err(A::Error::custom)?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        items.ok_or_else(|| A::Error::missing_field("alerts"))
    }
}
