//! A topology in the making: what the files of one export add up to.
//!
//! Absent on purpose: any one format.

use std::collections::BTreeMap;
use std::sync::Arc;

use quell_domain::{Ci, CiId, Redundancy, Relationship, Topology};
use serde_json::Value;

use super::{Imported, LeftOut, Stamp, Text};
use crate::mistake::{Mistake, Mistakes};
use crate::tree;

/// Gathers CIs and relationships of one source. Ids are given without the prefix.
pub(super) struct Draft<'a> {
    stamp: &'a Stamp,
    source: Arc<str>,
    cis: BTreeMap<String, Ci>,
    relationships: Vec<Relationship>,
    redundancies: BTreeMap<(String, String), u32>,
    mistakes: Vec<Mistake>,
    left_out: BTreeMap<String, (u64, String)>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(stamp: &'a Stamp) -> Self {
        Draft {
            stamp,
            source: stamp.source.as_str().into(),
            cis: BTreeMap::new(),
            relationships: Vec::new(),
            redundancies: BTreeMap::new(),
            mistakes: Vec::new(),
            left_out: BTreeMap::new(),
        }
    }

    /// Adds a CI with its id as its name; `None` when the id is taken.
    pub(super) fn ci(&mut self, id: &str, kind: &str) -> Option<&mut Ci> {
        let std::collections::btree_map::Entry::Vacant(place) = self.cis.entry(id.to_owned()) else { return None };
        let mut ci = Ci::new(&format!("{}{id}", self.stamp.prefix), kind);
        ci.name = id.to_owned();
        ci.source = Some(Arc::clone(&self.source));
        Some(place.insert(ci))
    }

    /// A CI that was added before.
    pub(super) fn known(&mut self, id: &str) -> Option<&mut Ci> {
        self.cis.get_mut(id)
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.cis.contains_key(id)
    }

    /// `from` depends on `to`. What is tied to itself is nothing.
    pub(super) fn relate(&mut self, from: &str, to: &str, kind: &str) -> Option<&mut Relationship> {
        if from == to {
            return None;
        }
        let id = |id: &str| CiId::new(&format!("{}{id}", self.stamp.prefix));
        let mut relationship = Relationship::new(id(from), id(to), kind);
        relationship.last_seen = self.stamp.seen_at;
        relationship.source = Some(Arc::clone(&self.source));
        self.relationships.push(relationship);
        self.relationships.last_mut()
    }

    /// `from` depends on several, of which one is enough. One alone is no alternative.
    pub(super) fn relate_any(&mut self, from: &str, to: &[&str], kind: &str, name: &str) {
        for dependency in to {
            if let Some(relationship) = self.relate(from, dependency, kind)
                && to.len() > 1
            {
                relationship.redundancy = Some(name.to_owned());
            }
        }
    }

    /// Adds what a topology file holds, as it stands.
    pub(super) fn whole(&mut self, topology: &Topology) {
        let prefix = self.stamp.prefix.as_str();
        let prefixed = |id: &CiId| CiId::new(&format!("{prefix}{id}"));
        for ci in topology.cis() {
            let source = Some(Arc::clone(&self.source));
            let ci_there = Ci { id: prefixed(&ci.id), source, ..ci.clone() };
            if self.cis.insert(ci.id.to_string(), ci_there).is_some() {
                let found = format!("{:?} a second time", ci.id);
                self.mistakes.push(mistake("", "cis", &found, "an id that no other file has"));
            }
        }
        for relationship in topology.relationships() {
            let mut there = relationship.clone();
            (there.from, there.to) = (prefixed(&relationship.from), prefixed(&relationship.to));
            there.last_seen = there.last_seen.or(self.stamp.seen_at);
            there.source = Some(Arc::clone(&self.source));
            self.relationships.push(there);
        }
        for Redundancy { ci, name, at_least } in topology.redundancies() {
            self.redundancies.insert((prefixed(ci).to_string(), name.clone()), *at_least);
        }
    }

    /// Notes a mistake.
    pub(super) fn wrong(&mut self, file: &str, path: &str, found: &str, allowed: &str) {
        self.mistakes.push(mistake(file, path, found, allowed));
    }

    /// Notes something that is understood and has no place here.
    pub(super) fn leave_out(&mut self, why: &str, what: &str) {
        let (count, _) = self.left_out.entry(why.to_owned()).or_insert_with(|| (0, what.to_owned()));
        *count += 1;
    }

    /// Reads each text as one JSON value; what is none is noted and skipped.
    pub(super) fn json(&mut self, texts: &[Text<'_>]) -> Vec<(String, Value)> {
        let mut read = Vec::new();
        for text in texts {
            let mistakes = Mistakes::of(text.name);
            read.extend(tree::json(text.bytes, &mistakes).map(|value| (text.name.to_owned(), value)));
            self.mistakes.extend(mistakes.into_list());
        }
        read
    }

    /// Reads each text as YAML documents, or as one JSON value where it begins like one; empty documents are skipped.
    pub(super) fn documents(&mut self, texts: &[Text<'_>]) -> Vec<(String, Value)> {
        let mut read = Vec::new();
        for text in texts {
            let mistakes = Mistakes::of(text.name);
            let bytes = text.bytes.trim_ascii_start();
            let values: Vec<Value> = if bytes.starts_with(b"{") || bytes.starts_with(b"[") {
                tree::json(bytes, &mistakes).into_iter().collect()
            } else {
                tree::yaml_documents(text.bytes, &mistakes)
            };
            self.mistakes.extend(mistakes.into_list());
            let many = values.len() > 1;
            let named = (1..).zip(values).filter(|(_, value)| !value.is_null());
            read.extend(named.map(|(number, value)| {
                (if many { format!("{} document {number}", text.name) } else { text.name.to_owned() }, value)
            }));
        }
        read
    }

    /// What it all adds up to. A relationship to what was not exported is left out: an export is seldom whole.
    pub(super) fn finish(mut self) -> Result<Imported, Vec<Mistake>> {
        if !self.mistakes.is_empty() {
            return Err(self.mistakes);
        }
        let known: std::collections::BTreeSet<CiId> = self.cis.values().map(|ci| ci.id.clone()).collect();
        let all = std::mem::take(&mut self.relationships);
        let (kept, gone): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|r: &Relationship| known.contains(&r.from) && known.contains(&r.to));
        for relationship in gone {
            let what = format!("{} {} {}", relationship.from, relationship.kind, relationship.to);
            self.leave_out("a relationship with a CI that is not in the export", &what);
        }
        let redundancies = self.redundancies.into_iter().map(|((ci, name), at_least)| Redundancy {
            ci: CiId::new(&ci),
            name,
            at_least,
        });
        let topology = Topology::new(self.cis.into_values().collect(), kept, redundancies.collect());
        let topology = topology.map_err(|faults| {
            faults.iter().map(|fault| mistake("", "", &fault.to_string(), "a sound topology")).collect::<Vec<_>>()
        })?;
        let left_out = self.left_out.into_iter().map(|(why, (count, first))| LeftOut { why, count, first }).collect();
        Ok(Imported { topology, left_out })
    }
}

fn mistake(file: &str, path: &str, found: &str, allowed: &str) -> Mistake {
    Mistake { file: file.to_owned(), path: path.to_owned(), found: found.to_owned(), allowed: allowed.to_owned() }
}

/// The text at a JSON pointer, when it says something.
pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
}

/// The list at a JSON pointer; empty where there is none.
pub(super) fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Adds a name that a CI is known by, once.
pub(super) fn alias(ci: &mut Ci, name: &str) {
    if !name.trim().is_empty() && ci.name != name && !ci.aliases.iter().any(|known| known == name) {
        ci.aliases.push(name.to_owned());
    }
}
