//! Reads a sound topology in one pass, without a tree of the whole text in memory.
//!
//! Absent on purpose: saying what is wrong. Whatever is not plainly sound is refused here and read again by the parent,
//! which finds every mistake.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use quell_domain::{Ci, CiId, Criticality, Lifecycle, Redundancy, Relationship, Timestamp, Topology};
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use crate::tree;

/// The topology in `bytes`, when there is no mistake in it.
pub(super) fn read(bytes: &[u8]) -> Option<Topology> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let File { cis, relationships, redundancies } = serde_json::from_slice(bytes).ok()?;
    Topology::new(cis.0, relationships.0, redundancies.0).ok()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    #[serde(default, borrow)]
    cis: List<CiIn<'a>, Ci>,
    #[serde(default, borrow)]
    relationships: List<RelationshipIn<'a>, Relationship>,
    #[serde(default, borrow)]
    redundancies: List<RedundancyIn<'a>, Redundancy>,
}

/// A list whose items are made what they are to be one by one, so that the list is in memory once.
struct List<In, Out>(Vec<Out>, PhantomData<In>);

impl<In, Out> Default for List<In, Out> {
    fn default() -> Self {
        List(Vec::new(), PhantomData)
    }
}

impl<'de, In: Deserialize<'de> + Sound<Out>, Out> Deserialize<'de> for List<In, Out> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

struct ListVisitor<In, Out>(PhantomData<(In, Out)>);

impl<'de, In: Deserialize<'de> + Sound<Out>, Out> Visitor<'de> for ListVisitor<In, Out> {
    type Value = List<In, Out>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::new();
        while let Some(item) = list.next_element::<In>()? {
            read.push(item.sound().ok_or_else(|| A::Error::custom("not plainly sound"))?);
        }
        Ok(List(read, PhantomData))
    }
}

/// What becomes of an item as it stands in the text; `None` when something about it is wrong.
trait Sound<Out> {
    fn sound(self) -> Option<Out>;
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CiIn<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    aliases: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default, borrow)]
    criticality: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    lifecycle: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    source: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RelationshipIn<'a> {
    #[serde(borrow)]
    from: Cow<'a, str>,
    #[serde(borrow)]
    to: Cow<'a, str>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    redundancy: Option<String>,
    #[serde(default, borrow)]
    last_seen: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    ttl: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    source: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RedundancyIn<'a> {
    #[serde(borrow)]
    ci: Cow<'a, str>,
    name: String,
    #[serde(default)]
    at_least: Option<u32>,
}

/// A text that says something.
fn says<T: AsRef<str>>(text: T) -> Option<T> {
    (!text.as_ref().trim().is_empty()).then_some(text)
}

/// A value that may be missing, and is wrong when it is there and cannot be read.
fn maybe<T, U>(value: Option<T>, read: impl Fn(T) -> Option<U>) -> Option<Option<U>> {
    match value {
        None => Some(None),
        Some(value) => read(value).map(Some),
    }
}

fn shared(text: Cow<'_, str>) -> Option<Arc<str>> {
    says(text).map(|text| Arc::from(&*text))
}

impl Sound<Ci> for CiIn<'_> {
    fn sound(self) -> Option<Ci> {
        let CiIn { id, kind, name, aliases, labels, owner, criticality, lifecycle, source } = self;
        let id = says(id)?;
        let (aliases, labels) = (aliases.unwrap_or_default(), labels.unwrap_or_default());
        if aliases.iter().chain(labels.values()).any(|text| text.trim().is_empty()) {
            return None;
        }
        Some(Ci {
            id: CiId::new(&id),
            kind: says(kind)?.into_owned(),
            name: maybe(name, says)?.unwrap_or_else(|| id.into_owned()),
            aliases,
            labels,
            owner: maybe(owner, says)?,
            criticality: maybe(criticality, |name| Criticality::from_name(&name))?.unwrap_or_default(),
            lifecycle: maybe(lifecycle, |name| Lifecycle::from_name(&name))?.unwrap_or_default(),
            source: maybe(source, shared)?,
        })
    }
}

impl Sound<Relationship> for RelationshipIn<'_> {
    fn sound(self) -> Option<Relationship> {
        let RelationshipIn { from, to, kind, redundancy, last_seen, ttl, source } = self;
        Some(Relationship {
            from: CiId::new(&says(from)?),
            to: CiId::new(&says(to)?),
            kind: maybe(kind, says)?.unwrap_or_else(|| super::KIND.to_owned()),
            redundancy: maybe(redundancy, says)?,
            last_seen: maybe(last_seen, |at| Timestamp::parse_rfc3339(&at))?,
            ttl: maybe(ttl, |ttl| tree::duration(&ttl))?,
            source: maybe(source, shared)?,
        })
    }
}

impl Sound<Redundancy> for RedundancyIn<'_> {
    fn sound(self) -> Option<Redundancy> {
        let RedundancyIn { ci, name, at_least } = self;
        Some(Redundancy { ci: CiId::new(&says(ci)?), name: says(name)?, at_least: at_least.unwrap_or(1) })
    }
}
