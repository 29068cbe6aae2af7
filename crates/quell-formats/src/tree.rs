//! Reads files that people write: a tree of JSON or YAML, walked field by field so that every mistake is found at once.
//!
//! Absent on purpose: what any field means, and the hot path; what senders post is read by visitors.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::mistake::Mistakes;

/// Parses YAML.
pub(crate) fn yaml(text: &str, mistakes: &Mistakes) -> Option<Value> {
    match serde_saphyr::from_str(text) {
        Ok(value) => Some(value),
        Err(error) => {
            mistakes.add("", format!("no YAML: {error}"), "YAML");
            None
        }
    }
}

/// Parses each document of a YAML text.
pub(crate) fn yaml_documents(text: &[u8], mistakes: &Mistakes) -> Vec<Value> {
    match serde_saphyr::from_slice_multiple(text) {
        Ok(values) => values,
        Err(error) => {
            mistakes.add("", format!("no YAML: {error}"), "YAML");
            Vec::new()
        }
    }
}

/// Parses JSON.
pub(crate) fn json(text: &[u8], mistakes: &Mistakes) -> Option<Value> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    match serde_json::from_slice(text) {
        Ok(value) => Some(value),
        Err(error) => {
            mistakes.add("", format!("no JSON: {error}"), "JSON");
            None
        }
    }
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node<'a> {
    mistakes: &'a Mistakes,
    pub(crate) path: String,
    pub(crate) value: &'a Value,
}

impl<'a> Node<'a> {
    pub(crate) fn top(value: &'a Value, mistakes: &'a Mistakes) -> Self {
        Node { mistakes, path: String::new(), value }
    }

    /// Notes that this value is not what is allowed.
    pub(crate) fn wrong(&self, allowed: impl Into<String>) {
        self.mistakes.add(self.path.clone(), shown(self.value), allowed);
    }

    /// Notes that this value is not what is allowed, without the value: it may hold a secret.
    pub(crate) fn wrong_unseen(&self, allowed: impl Into<String>) {
        self.mistakes.add(self.path.clone(), "a text that is not shown, as it may hold a secret", allowed);
    }

    /// Notes that there is more of something than is allowed.
    pub(crate) fn too_many(&self, found: usize, allowed: &str) {
        self.mistakes.add(self.path.clone(), found.to_string(), allowed);
    }

    /// Notes that a text below this value is not what is allowed.
    pub(crate) fn wrong_at(&self, name: &str, found: &str, allowed: &str) {
        let path = self.below(name, &Value::Null).path;
        self.mistakes.add(path, shown(&found.into()), allowed);
    }

    pub(crate) fn text(&self) -> Option<&'a str> {
        match self.value.as_str() {
            Some(text) if !text.trim().is_empty() => Some(text),
            _ => self.or_wrong(None, "a text"),
        }
    }

    pub(crate) fn flag(&self) -> Option<bool> {
        self.or_wrong(self.value.as_bool(), "true or false")
    }

    /// A whole number of `least` or more.
    pub(crate) fn count(&self, least: u64) -> Option<u64> {
        let count = self.value.as_u64().filter(|&count| count >= least);
        self.or_wrong(count, format!("a whole number of {least} or more"))
    }

    /// A whole number, whichever; nothing is said of what is none.
    pub(crate) fn number(&self) -> Option<u64> {
        self.value.as_u64()
    }

    /// A number of 0 or more.
    pub(crate) fn amount(&self) -> Option<f64> {
        self.or_wrong(self.value.as_f64().filter(|amount| *amount >= 0.0), "a number of 0 or more")
    }

    /// A number from 0 to 1.
    pub(crate) fn share(&self) -> Option<f64> {
        self.or_wrong(self.value.as_f64().filter(|share| (0.0..=1.0).contains(share)), "a number from 0 to 1")
    }

    pub(crate) fn duration(&self) -> Option<Duration> {
        let duration = self.value.as_str().and_then(duration);
        self.or_wrong(duration, "a duration, as 30s, 5m, 1h30m or 7d")
    }

    pub(crate) fn list(&self) -> Vec<Node<'a>> {
        let Some(list) = self.value.as_array() else {
            self.wrong("a list");
            return Vec::new();
        };
        let node = |(at, value)| Node { mistakes: self.mistakes, path: format!("{}[{at}]", self.path), value };
        list.iter().enumerate().map(node).collect()
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.list().iter().filter_map(Node::text).map(str::to_owned).collect()
    }

    /// Names with a node each.
    pub(crate) fn entries(&self) -> Vec<(&'a str, Node<'a>)> {
        let Some(map) = self.value.as_object() else {
            self.wrong("names, each with a value");
            return Vec::new();
        };
        map.iter().map(|(name, value)| (name.as_str(), self.below(name, value))).collect()
    }

    /// Names with a text each.
    pub(crate) fn named_texts(&self) -> BTreeMap<String, String> {
        self.entries().iter().filter_map(|(name, node)| Some(((*name).to_owned(), node.text()?.to_owned()))).collect()
    }

    /// One of several words, by its name.
    pub(crate) fn choice<T>(&self, read: impl Fn(&str) -> Option<T>, names: &[&str]) -> Option<T> {
        let chosen = self.value.as_str().and_then(read);
        self.or_wrong(chosen, format!("one of {}", names.join(", ")))
    }

    /// A field of an object; nothing is noted where there is none.
    pub(crate) fn field(&self, name: &str) -> Option<Node<'a>> {
        let value = self.value.as_object()?.get(name).filter(|value| !value.is_null())?;
        Some(self.below(name, value))
    }

    pub(crate) fn object(&self) -> Object<'a> {
        let fields = self.value.as_object();
        if fields.is_none() {
            self.wrong("an object");
        }
        Object { node: self.clone(), fields, known: Vec::new() }
    }

    fn below(&self, name: &str, value: &'a Value) -> Node<'a> {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Node { mistakes: self.mistakes, path, value }
    }

    fn or_wrong<T>(&self, value: Option<T>, allowed: impl Into<String>) -> Option<T> {
        if value.is_none() {
            self.wrong(allowed);
        }
        value
    }
}

/// An object whose fields are all to be known.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    node: Node<'a>,
    fields: Option<&'a Map<String, Value>>,
    known: Vec<&'static str>,
}

impl<'a> Object<'a> {
    /// A field that may be missing (or `null`).
    pub(crate) fn get(&mut self, name: &'static str) -> Option<Node<'a>> {
        self.known.push(name);
        let value = self.fields?.get(name).filter(|value| !value.is_null())?;
        Some(self.node.below(name, value))
    }

    /// A field that must be there.
    pub(crate) fn need(&mut self, name: &'static str, allowed: &str) -> Option<Node<'a>> {
        let node = self.get(name);
        if node.is_none() && self.fields.is_some() {
            self.node.mistakes.add(self.node.below(name, &Value::Null).path, "nothing", allowed);
        }
        node
    }

    /// True when the field is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.is_some_and(|fields| fields.get(name).is_some_and(|value| !value.is_null()))
    }

    /// Ends the reading: whatever was not asked for is a mistake.
    pub(crate) fn end(self) {
        for name in self.fields.into_iter().flat_map(Map::keys) {
            if !self.known.contains(&name.as_str()) {
                let path = self.node.below(name, &Value::Null).path;
                self.node.mistakes.add(path, "an unknown key", self.known.join(", "));
            }
        }
    }
}

/// A value as it is shown in a mistake.
fn shown(value: &Value) -> String {
    const MOST: usize = 60;
    let text = match value {
        Value::Array(list) if list.is_empty() => "an empty list".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    };
    if text.chars().count() <= MOST { text } else { text.chars().take(MOST).chain(['…']).collect() }
}

const UNITS: [(&str, u64); 6] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];

/// Reads `1h30m`: whole numbers, each with its unit.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut total) = (text, 0_u64);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, after) = after.split_at(letters);
        let (_, micros) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*micros)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_micros(total))
}

/// The one canonical spelling of a duration.
pub(crate) fn write_duration(duration: Duration) -> String {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let largest = UNITS.iter().rev().find(|(_, unit)| micros.is_multiple_of(*unit) && micros >= *unit);
    largest.map_or_else(|| "0s".to_owned(), |(name, unit)| format!("{}{name}", micros / unit))
}

/// Reads `64MiB`, `10GiB`, or a plain number of bytes.
pub(crate) fn bytes(node: &Node<'_>) -> Option<u64> {
    let read = |text: &str| {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let shift = match unit.trim_start() {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(1 << shift)
    };
    let bytes = node.value.as_u64().or_else(|| node.value.as_str().and_then(read)).filter(|&bytes| bytes > 0);
    if bytes.is_none() {
        node.wrong("a size, as 64MiB or 10GiB");
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [("5m", 300), ("1h30m", 5_400), ("0s", 0), ("7d", 604_800), ("90s", 90)] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("1500ms"), Some(Duration::from_millis(1_500)));
        for text in ["", "5", "m", "5 m", "-5m", "5M", "1.5h", "99999999999999999999s", "9999999999999d", "5mé"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes() {
        let check = |value: Value, expected| {
            let mistakes = Mistakes::of("");
            assert_eq!(bytes(&Node::top(&value, &mistakes)), expected, "{value}");
            assert_eq!(mistakes.any(), expected.is_none());
        };
        check("64MiB".into(), Some(64 << 20));
        check("10 GiB".into(), Some(10 << 30));
        check(512.into(), Some(512));
        for text in ["", "MiB", "5MB", "-1", "0", "99999999999TiB"] {
            check(text.into(), None);
        }
    }

    proptest! {
        #[test]
        fn a_written_duration_reads_back(micros in 0_u64..1 << 60) {
            let exact = Duration::from_micros(micros);
            prop_assert_eq!(duration(&write_duration(exact)), Some(exact));
        }
    }
}
