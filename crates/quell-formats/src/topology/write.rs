//! Writes a topology as canonical bytes, item by item: names in alphabetical order, and nothing that goes without
//! saying, so that a topology keeps its digest when quell learns a new field.
//!
//! Absent on purpose: reading.

use std::collections::BTreeMap;

use quell_domain::{Ci, Lifecycle, Redundancy, Relationship, Topology};
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};

use crate::tree::write_duration;

/// The canonical bytes: equal topologies give equal bytes, and [`decode`](super::decode) gives the topology back.
///
/// # Panics
/// Never: texts and numbers can always be written to memory.
#[must_use]
pub fn encode(topology: &Topology) -> Vec<u8> {
    serde_json::to_vec(&FileOut {
        cis: List(topology.cis(), ci_out),
        redundancies: List(topology.redundancies(), redundancy_out),
        relationships: List(topology.relationships(), relationship_out),
    })
    .expect("texts and numbers can always be written to memory")
}

#[derive(Serialize)]
struct FileOut<'a> {
    cis: List<'a, Ci, CiOut<'a>>,
    redundancies: List<'a, Redundancy, RedundancyOut<'a>>,
    relationships: List<'a, Relationship, RelationshipOut<'a>>,
}

struct List<'a, T, Out>(&'a [T], fn(&'a T) -> Out);

impl<T, Out: Serialize> Serialize for List<'_, T, Out> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for item in self.0 {
            list.serialize_element(&(self.1)(item))?;
        }
        list.end()
    }
}

/// A CI as it is written.
#[derive(Serialize)]
pub(crate) struct CiOut<'a> {
    aliases: &'a [String],
    criticality: &'static str,
    id: &'a str,
    kind: &'a str,
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifecycle: Option<&'static str>,
    name: &'a str,
    owner: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
}

pub(crate) fn ci_out(ci: &Ci) -> CiOut<'_> {
    let Ci { id, kind, name, aliases, labels, owner, criticality, lifecycle, source } = ci;
    CiOut {
        aliases,
        criticality: criticality.as_str(),
        id: id.as_str(),
        kind,
        labels,
        lifecycle: Some(*lifecycle).filter(|lifecycle| *lifecycle != Lifecycle::default()).map(Lifecycle::as_str),
        name,
        owner: owner.as_deref(),
        source: source.as_deref(),
    }
}

/// A relationship as it is written.
#[derive(Serialize)]
pub(crate) struct RelationshipOut<'a> {
    from: &'a str,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redundancy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    to: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
}

pub(crate) fn relationship_out(relationship: &Relationship) -> RelationshipOut<'_> {
    let Relationship { from, to, kind, redundancy, last_seen, ttl, source } = relationship;
    RelationshipOut {
        from: from.as_str(),
        kind,
        last_seen: last_seen.map(|at| at.to_string()),
        redundancy: redundancy.as_deref(),
        source: source.as_deref(),
        to: to.as_str(),
        ttl: ttl.map(write_duration),
    }
}

#[derive(Serialize)]
struct RedundancyOut<'a> {
    at_least: u32,
    ci: &'a str,
    name: &'a str,
}

fn redundancy_out(redundancy: &Redundancy) -> RedundancyOut<'_> {
    let Redundancy { ci, name, at_least } = redundancy;
    RedundancyOut { at_least: *at_least, ci: ci.as_str(), name }
}
