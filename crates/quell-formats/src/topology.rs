//! The topology file: CIs, relationships and redundancies as JSON.
//!
//! Absent on purpose: YAML (estates are exported by programs) and every judgement about a CI.

mod sound;
pub(crate) mod write;

use quell_domain::{
    Ci, CiId, Criticality, Digest, Lifecycle, Redundancy, Relationship, Timestamp, Topology, TopologyFault,
};
use sha2::Digest as _;

pub use write::encode;

use crate::mistake::{Mistake, Mistakes};
use crate::tree::{self, Node};

/// How a relationship binds where nothing is said.
const KIND: &str = "depends_on";

/// Reads a topology.
///
/// `name` defaults to the id, `criticality` to `medium`, `lifecycle` to `active`, a relationship's `kind` to
/// `depends_on`; one without `last_seen` holds until somebody says otherwise.
///
/// # Errors
/// All mistakes at once.
pub fn decode(bytes: &[u8]) -> Result<Topology, Vec<Mistake>> {
    if let Some(topology) = sound::read(bytes) {
        return Ok(topology);
    }
    let mistakes = Mistakes::of("");
    let value = tree::json(bytes, &mistakes);
    let topology = value.as_ref().and_then(|value| read(&Node::top(value, &mistakes), &mistakes));
    match topology {
        Some(topology) if !mistakes.any() => Ok(topology),
        _ => Err(mistakes.into_list()),
    }
}

/// Reads a topology that is part of a larger text.
pub(crate) fn read(node: &Node<'_>, mistakes: &Mistakes) -> Option<Topology> {
    let mut top = node.object();
    let cis = top.get("cis").map(|node| node.list().iter().map(ci).collect()).unwrap_or_default();
    let relationships = top.get("relationships").map(|node| node.list().iter().map(relationship).collect());
    let redundancies = top.get("redundancies").map(|node| node.list().iter().map(redundancy).collect());
    top.end();
    match Topology::new(cis, relationships.unwrap_or_default(), redundancies.unwrap_or_default()) {
        Ok(topology) => Some(topology),
        Err(faults) => {
            for fault in faults {
                add_fault(&node.path, fault, mistakes);
            }
            None
        }
    }
}

fn ci(node: &Node<'_>) -> Ci {
    let mut ci = node.object();
    let text = |node: Option<Node<'_>>| node.and_then(|node| node.text().map(str::to_owned));
    let id = text(ci.need("id", "a text that no other CI has")).unwrap_or_default();
    let kind = text(ci.need("kind", "what it is, as service, host or database")).unwrap_or_default();
    let name = text(ci.get("name")).unwrap_or_else(|| id.clone());
    let aliases = ci.get("aliases").map(|node| node.texts()).unwrap_or_default();
    let labels = ci.get("labels").map(|node| node.named_texts()).unwrap_or_default();
    let owner = text(ci.get("owner"));
    let names = Criticality::ALL.map(Criticality::as_str);
    let criticality = ci.get("criticality").and_then(|node| node.choice(Criticality::from_name, &names));
    let names = Lifecycle::ALL.map(Lifecycle::as_str);
    let lifecycle = ci.get("lifecycle").and_then(|node| node.choice(Lifecycle::from_name, &names));
    let source = text(ci.get("source")).map(Into::into);
    ci.end();
    let (criticality, lifecycle) = (criticality.unwrap_or_default(), lifecycle.unwrap_or_default());
    Ci { id: CiId::new(&id), kind, name, aliases, labels, owner, criticality, lifecycle, source }
}

fn relationship(node: &Node<'_>) -> Relationship {
    let mut relationship = node.object();
    let text = |node: Option<Node<'_>>| node.and_then(|node| node.text().map(str::to_owned));
    let from = text(relationship.need("from", "the id of the CI that depends")).unwrap_or_default();
    let to = text(relationship.need("to", "the id of the CI it depends on")).unwrap_or_default();
    let kind = text(relationship.get("kind")).unwrap_or_else(|| KIND.to_owned());
    let redundancy = text(relationship.get("redundancy"));
    let last_seen = relationship.get("last_seen").and_then(|node| instant(&node));
    let ttl = relationship.get("ttl").and_then(|node| node.duration());
    let source = text(relationship.get("source")).map(Into::into);
    relationship.end();
    Relationship { from: CiId::new(&from), to: CiId::new(&to), kind, redundancy, last_seen, ttl, source }
}

fn instant(node: &Node<'_>) -> Option<Timestamp> {
    let at = node.value.as_str().and_then(Timestamp::parse_rfc3339);
    if at.is_none() {
        node.wrong("an instant, as 2026-01-31T12:00:00Z");
    }
    at
}

fn redundancy(node: &Node<'_>) -> Redundancy {
    let mut redundancy = node.object();
    let text = |node: Option<Node<'_>>| node.and_then(|node| node.text().map(str::to_owned));
    let ci = text(redundancy.need("ci", "the id of the CI that has alternatives")).unwrap_or_default();
    let name = text(redundancy.need("name", "a name its relationships carry")).unwrap_or_default();
    let at_least = redundancy.get("at_least").and_then(|node| node.count(1)).unwrap_or(1);
    redundancy.end();
    Redundancy { ci: CiId::new(&ci), name, at_least: u32::try_from(at_least).unwrap_or(u32::MAX) }
}

/// What the checked type refuses; a missing text was noted before and stands here as an empty one.
fn add_fault(path: &str, fault: TopologyFault, mistakes: &Mistakes) {
    let dot = if path.is_empty() { "" } else { "." };
    let add = |place: String, found: String, allowed: &str| mistakes.add(format!("{path}{dot}{place}"), found, allowed);
    match fault {
        TopologyFault::EmptyId { at: _ } => {}
        TopologyFault::DuplicateId { at, id } => {
            add(format!("cis[{at}].id"), format!("{id:?} a second time"), "an id that no other CI has");
        }
        TopologyFault::UnknownCi { at, end, id } => {
            if !id.is_empty() {
                add(format!("relationships[{at}].{end}"), format!("{id:?}"), "an id listed in `cis`");
            }
        }
        TopologyFault::UnknownRedundancy { at, ci, name } => {
            if !ci.is_empty() && !name.is_empty() {
                let allowed = format!("a `redundancy` that relationships from {ci:?} carry");
                add(format!("redundancies[{at}].name"), format!("{name:?}"), &allowed);
            }
        }
        TopologyFault::AtLeast { at, at_least, members } => {
            add(format!("redundancies[{at}].at_least"), at_least.to_string(), &format!("1 to {members}"));
        }
    }
}

/// The SHA-256 of an artefact's bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> Digest {
    Digest(sha2::Sha256::digest(bytes).into())
}
