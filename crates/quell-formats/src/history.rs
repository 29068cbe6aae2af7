//! Incidents of the past as another system exports them: a CSV file with a line for each.
//!
//! Columns are found by name, in any order: `opened_at` and one of `signature` and `ci` must be there; `closed_at`,
//! `service` and `priority` may be. Times are RFC 3339, or `YYYY-MM-DD HH:MM:SS` without an offset, which is taken as UTC;
//! seconds, or the whole time of day, may be missing. Without a signature the CI is the signature.
//! Absent on purpose: reading and unpacking files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use quell_domain::{CiId, HistoricIncident, Priority, Signature, Timestamp};
use serde_json::{Value, json};

use crate::csv::{Record, Records};
use crate::mistake::{Mistake, Mistakes};
use crate::tree;

/// The columns that are read.
pub const COLUMNS: [&str; 6] = ["opened_at", "closed_at", "signature", "ci", "service", "priority"];
/// What a time may look like.
const TIMES: &str = "RFC 3339, `YYYY-MM-DD HH:MM:SS`, `YYYY-MM-DD HH:MM` or `YYYY-MM-DD`";
/// Mistakes of an import that are told.
const MISTAKES: usize = 20;
/// What exports write where there is nothing.
const NOTHING: [&str; 7] = ["", "null", "none", "nan", "nat", "n/a", "-"];

/// Which column of a file stands for which of [`COLUMNS`]; those not named stand for themselves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ColumnMap(BTreeMap<&'static str, String>);

impl ColumnMap {
    /// Reads `opened_at=Open_Time,signature=CI_Name`.
    ///
    /// # Errors
    /// Names the part that cannot be read.
    pub fn parse(text: &str) -> Result<ColumnMap, Mistake> {
        let mut map = BTreeMap::new();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let wrong = |found: &str| Mistake {
                file: String::new(),
                path: "map".to_owned(),
                found: format!("`{found}`"),
                allowed: format!("COLUMN=NAME,… with COLUMN one of {}, each once", COLUMNS.join(", ")),
            };
            let (column, name) = part.split_once('=').ok_or_else(|| wrong(part))?;
            let known = COLUMNS.into_iter().find(|known| *known == column.trim()).ok_or_else(|| wrong(part))?;
            if name.trim().is_empty() || map.insert(known, name.trim().to_owned()).is_some() {
                return Err(wrong(part));
            }
        }
        Ok(ColumnMap(map))
    }

    fn name(&self, column: &'static str) -> &str {
        self.0.get(column).map_or(column, String::as_str)
    }
}

/// As [`ColumnMap::parse`] reads it.
impl fmt::Display for ColumnMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(column, name)| format!("{column}={name}")).collect();
        f.write_str(&parts.join(","))
    }
}

/// What a file held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read {
    /// Its incidents, in its order.
    pub incidents: Vec<HistoricIncident>,
    /// Incidents whose priority is none that is known; they are read without one.
    pub unknown_priorities: usize,
}

/// Reads a horizon or another stretch of time, as `7d` or `24h`.
///
/// # Errors
/// What is allowed, when it is none.
pub fn stretch(text: &str) -> Result<Duration, String> {
    let read = tree::duration(text).filter(|stretch| !stretch.is_zero());
    read.ok_or_else(|| "a stretch of time, as 24h, 7d or 1d12h".to_owned())
}

/// Reads an instant in any of the spellings that a file may have.
///
/// # Errors
/// What is allowed, when it is none.
pub fn instant(text: &str) -> Result<Timestamp, String> {
    time(text.trim()).ok_or_else(|| TIMES.to_owned())
}

/// Where each column stands; `None` where the file lacks it.
struct Places([Option<usize>; COLUMNS.len()]);

impl Places {
    fn of(head: &Record, map: &ColumnMap, mistakes: &Mistakes) -> Places {
        let names: Vec<&str> = head.fields.iter().map(|name| name.trim()).collect();
        let place = |column: &'static str| {
            let wanted = map.name(column);
            let exact = names.iter().position(|name| *name == wanted);
            let found = exact.or_else(|| names.iter().position(|name| name.eq_ignore_ascii_case(wanted)));
            let mapped = map.0.contains_key(column);
            if found.is_none() && (mapped || column == "opened_at") {
                let path = format!("line {}, column {wanted}", head.line);
                mistakes.add(path, "no such column", format!("one of the file's columns: {}", names.join(", ")));
            }
            found
        };
        let places = Places(COLUMNS.map(place));
        if places.0[2].is_none() && places.0[3].is_none() && !mistakes.any() {
            let path = format!("line {}", head.line);
            mistakes.add(
                path,
                "neither a column `signature` nor `ci`",
                "one of them, under its name or through the map",
            );
        }
        places
    }

    fn field<'a>(&self, record: &'a Record, column: usize) -> Option<&'a str> {
        let text = record.fields.get(self.0[column]?)?.trim();
        (!NOTHING.iter().any(|nothing| text.eq_ignore_ascii_case(nothing))).then_some(text)
    }
}

/// Reads a file.
///
/// # Errors
/// All mistakes at once, each with its line and column, up to a limit.
pub fn read(text: &str, map: &ColumnMap) -> Result<Read, Vec<Mistake>> {
    let Sound { read, refused: _, mistakes } = read_sound(text, map)?;
    if mistakes.is_empty() { Ok(read) } else { Err(mistakes) }
}

/// What of a file can be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sound {
    /// That part.
    pub read: Read,
    /// Lines that cannot be.
    pub refused: usize,
    /// What is wrong with them, up to a limit.
    pub mistakes: Vec<Mistake>,
}

/// Reads a file and leaves out the lines that cannot be read.
///
/// # Errors
/// What is wrong with its columns, or that it holds no line at all.
pub fn read_sound(text: &str, map: &ColumnMap) -> Result<Sound, Vec<Mistake>> {
    let mistakes = Mistakes::of("");
    let mut records = Records::of(text);
    let mut read = Read { incidents: Vec::new(), unknown_priorities: 0 };
    let mut refused = 0;
    let Some(head) = records.next() else {
        mistakes.add("line 1", "an empty file", format!("a line of column names, as {}", COLUMNS.join(",")));
        return Err(mistakes.into_list());
    };
    let places = Places::of(&head, map, &mistakes);
    if mistakes.any() {
        return Err(mistakes.into_list());
    }
    for record in records {
        match incident(&record, &places, map, &mistakes, &mut read.unknown_priorities) {
            Some(incident) => read.incidents.push(incident),
            None => refused += 1,
        }
    }
    if read.incidents.is_empty() && !mistakes.any() {
        mistakes.add("line 2", "no incident", "at least one line below the column names");
        return Err(mistakes.into_list());
    }
    Ok(Sound { read, refused, mistakes: mistakes.into_list() })
}

fn incident(
    record: &Record,
    places: &Places,
    map: &ColumnMap,
    mistakes: &Mistakes,
    unknown: &mut usize,
) -> Option<HistoricIncident> {
    let wrong = |column: usize, found: Option<&str>, allowed: &str| {
        let found = found.map_or("nothing".to_owned(), |found| format!("`{}`", cut(found)));
        mistakes.add(format!("line {}, column {}", record.line, map.name(COLUMNS[column])), found, allowed);
    };
    let opened = places.field(record, 0);
    let opened_at = opened.and_then(time);
    if opened_at.is_none() {
        wrong(0, opened, TIMES);
    }
    let closed = places.field(record, 1);
    let closed_at = closed.and_then(time);
    if closed.is_some() && closed_at.is_none() {
        wrong(1, closed, TIMES);
    }
    let ci = places.field(record, 3);
    let signature = places.field(record, 2).or(ci).and_then(Signature::new);
    if signature.is_none() {
        wrong(if places.0[2].is_some() { 2 } else { 3 }, None, "a text that names the trouble");
    }
    let written = places.field(record, 5);
    let priority = written.and_then(priority);
    *unknown += usize::from(written.is_some() && priority.is_none());
    let service = places.field(record, 4).map(CiId::new);
    let (opened_at, signature) = (opened_at?, signature?);
    if closed.is_some() && closed_at.is_none() {
        return None;
    }
    Some(HistoricIncident { opened_at, closed_at, signature, ci: ci.map(CiId::new), service, priority })
}

/// What became of an import, for programs; `new` is `None` for a dry run.
#[must_use]
pub fn told(read: &Read, refused: usize, mistakes: &[Mistake], new: Option<u64>) -> Value {
    let Read { incidents, unknown_priorities } = read;
    let times = || incidents.iter().map(|incident| incident.opened_at);
    let signatures: BTreeSet<&Signature> = incidents.iter().map(|incident| &incident.signature).collect();
    json!({
        "read": incidents.len(),
        "signatures": signatures.len(),
        "closed": incidents.iter().filter(|incident| incident.closed_at.is_some()).count(),
        "from": times().min().map(|at| at.to_string()),
        "to": times().max().map(|at| at.to_string()),
        "unknown_priorities": unknown_priorities,
        "refused": refused,
        "mistakes": mistakes.iter().take(MISTAKES).map(ToString::to_string).collect::<Vec<_>>(),
        "new": new,
    })
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

/// A time with or without an offset, with or without a time of day.
fn time(text: &str) -> Option<Timestamp> {
    let parted = text.replacen(' ', "T", 1);
    if let Some(at) = Timestamp::parse_rfc3339(text).or_else(|| Timestamp::parse_rfc3339(&parted)) {
        return Some(at);
    }
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{}T{}:00Z", text.get(..10)?, text.get(11..)?),
        19.. => format!("{}T{}Z", text.get(..10)?, text.get(11..)?),
        _ => return None,
    };
    let parted = text.as_bytes().get(10).is_none_or(|parting| matches!(parting, b' ' | b'T' | b't'));
    Timestamp::parse_rfc3339(&whole).filter(|_| parted)
}

/// `2`, `P2`, `2 - High` or the usual words.
fn priority(text: &str) -> Option<Priority> {
    let text = text.strip_prefix(['P', 'p']).unwrap_or(text);
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let number = match (digits.parse().ok(), text.to_ascii_lowercase().as_str()) {
        (Some(number), _) => number,
        (None, "critical" | "urgent" | "highest") => 1,
        (None, "high") => 2,
        (None, "medium" | "moderate" | "normal") => 3,
        (None, "low") => 4,
        (None, "planning" | "very low" | "lowest") => 5,
        _ => return None,
    };
    Priority::new(number)
}

/// One row of published features to compare with: `origin,sig,label` and the features in their order, written with six
/// decimals.
#[derive(Clone, PartialEq, Debug)]
pub struct ExactRow {
    /// Its line, counted from 1.
    pub line: usize,
    /// The origin.
    pub origin: Timestamp,
    /// The signature.
    pub signature: String,
    /// Whether it opened within the horizon.
    pub label: bool,
    /// The features.
    pub features: Vec<f64>,
}

/// Reads rows of published features; `names` are those of the features, in their order.
///
/// # Errors
/// All mistakes at once, each with its line.
pub fn exact_rows(text: &str, names: &[&str]) -> Result<Vec<ExactRow>, Vec<Mistake>> {
    let mistakes = Mistakes::of("");
    let wanted: Vec<&str> = ["origin", "sig", "label"].into_iter().chain(names.iter().copied()).collect();
    let mut records = Records::of(text);
    if records.next().is_none_or(|head| head.fields != wanted) {
        mistakes.add("line 1", "other columns", wanted.join(","));
    }
    let row = |Record { line, fields }: Record| {
        let [origin, signature, label, features @ ..] = fields.as_slice() else { return None };
        let features: Vec<f64> = features.iter().map(|value| value.parse().ok()).collect::<Option<_>>()?;
        let row = ExactRow { line, origin: time(origin)?, signature: signature.clone(), label: label == "1", features };
        (row.features.len() == names.len()).then_some(row)
    };
    let mut rows = Vec::new();
    for record in records {
        let line = record.line;
        match row(record) {
            Some(row) => rows.push(row),
            None => mistakes.add(format!("line {line}"), "no such row", wanted.join(",")),
        }
    }
    if mistakes.any() { Err(mistakes.into_list()) } else { Ok(rows) }
}
