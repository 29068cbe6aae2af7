//! Configuration items and how they depend on each other, as values.
//!
//! Absent on purpose: graph walks (`quell-cmdb`) and files (`quell-formats`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// The id of a CI, as its owner wrote it. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CiId(Arc<str>);

impl CiId {
    /// From its text.
    #[must_use]
    pub fn new(id: &str) -> Self {
        CiId(id.into())
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CiId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CiId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// What its loss costs the business, as its owner judges.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum Criticality {
    /// Nobody notices for a day.
    Low = 0,
    /// Some are hindered. The default where nothing is said.
    #[default]
    Medium = 1,
    /// Many are hindered.
    High = 2,
    /// Business stops.
    Critical = 3,
}

impl Criticality {
    /// Every criticality, lowest first.
    pub const ALL: [Criticality; 4] = [Criticality::Low, Criticality::Medium, Criticality::High, Criticality::Critical];

    /// The name used in files and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Criticality::Low => "low",
            Criticality::Medium => "medium",
            Criticality::High => "high",
            Criticality::Critical => "critical",
        }
    }

    /// The criticality of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Criticality> {
        Self::ALL.into_iter().find(|criticality| criticality.as_str() == name)
    }
}

/// A configuration item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ci {
    /// Unique in its topology.
    pub id: CiId,
    /// What it is, in the owner's words: `service`, `host`, `database`, `switch`, ….
    pub kind: String,
    /// What people call it.
    pub name: String,
    /// Other names monitors know it by: FQDN, IP, IP:port, host name.
    pub aliases: Vec<String>,
    /// Labels that identify it: an alert that carries all of them is about it.
    pub labels: BTreeMap<String, String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What its loss costs.
    pub criticality: Criticality,
}

impl Ci {
    /// True for a CI that users consume: its kind is `service` or ends in `service` (`business_service`, `web service`).
    #[must_use]
    pub fn is_service(&self) -> bool {
        self.kind.get(self.kind.len().saturating_sub(7)..).is_some_and(|tail| tail.eq_ignore_ascii_case("service"))
    }
}

/// `from` depends on `to`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relationship {
    /// The dependent.
    pub from: CiId,
    /// Its dependency.
    pub to: CiId,
    /// How: `depends_on`, `runs_on`, `connected_to`, `part_of`, or the owner's word.
    pub kind: String,
    /// Relationships of one CI that share this name are alternatives; see [`Redundancy`].
    pub redundancy: Option<String>,
}

/// Of the alternatives of `ci` named `name`, `at_least` must be up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Redundancy {
    /// The dependent.
    pub ci: CiId,
    /// The name its relationships share.
    pub name: String,
    /// How many of them must be up, at least 1. Where nothing is said, 1.
    pub at_least: u32,
}

/// A whole estate at one instant. Checked: ids unique, relationships between known CIs, redundancies that exist.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Topology {
    cis: Vec<Ci>,
    relationships: Vec<Relationship>,
    redundancies: Vec<Redundancy>,
}

/// What is wrong with a topology, and where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TopologyFault {
    /// A CI without an id.
    #[error("cis[{at}].id: is empty; allowed: a text that no other CI has")]
    EmptyId {
        /// Index in `cis`.
        at: usize,
    },
    /// Two CIs with one id.
    #[error("cis[{at}].id: {id:?} is used twice; allowed: an id that no other CI has")]
    DuplicateId {
        /// Index in `cis` of the second.
        at: usize,
        /// The id.
        id: String,
    },
    /// A relationship to nowhere.
    #[error("relationships[{at}].{end}: no CI has the id {id:?}; allowed: an id listed in `cis`")]
    UnknownCi {
        /// Index in `relationships`.
        at: usize,
        /// `from` or `to`.
        end: &'static str,
        /// The id.
        id: String,
    },
    /// A redundancy that no relationship names.
    #[error(
        "redundancies[{at}]: {ci:?} has no relationship with redundancy {name:?}; allowed: a name its relationships carry"
    )]
    UnknownRedundancy {
        /// Index in `redundancies`.
        at: usize,
        /// The CI.
        ci: String,
        /// The name.
        name: String,
    },
    /// A redundancy that can never or will always hold.
    #[error("redundancies[{at}].at_least: {at_least} of {members} alternatives; allowed: 1 to {members}")]
    AtLeast {
        /// Index in `redundancies`.
        at: usize,
        /// What was asked.
        at_least: u32,
        /// How many alternatives there are.
        members: u32,
    },
}

impl Topology {
    /// Checks a draft and puts it in canonical order (by id, by ends), so that equal estates have equal bytes.
    ///
    /// # Errors
    /// All faults at once, in the order of the draft.
    pub fn new(
        mut cis: Vec<Ci>,
        mut relationships: Vec<Relationship>,
        mut redundancies: Vec<Redundancy>,
    ) -> Result<Self, Vec<TopologyFault>> {
        let mut faults = Vec::new();
        let mut known = BTreeSet::new();
        for (at, ci) in cis.iter().enumerate() {
            if ci.id.as_str().is_empty() {
                faults.push(TopologyFault::EmptyId { at });
            } else if !known.insert(ci.id.clone()) {
                faults.push(TopologyFault::DuplicateId { at, id: ci.id.to_string() });
            }
        }
        let mut alternatives: BTreeMap<(&CiId, &str), u32> = BTreeMap::new();
        for (at, relationship) in relationships.iter().enumerate() {
            for (end, id) in [("from", &relationship.from), ("to", &relationship.to)] {
                if !known.contains(id) {
                    faults.push(TopologyFault::UnknownCi { at, end, id: id.to_string() });
                }
            }
            if let Some(name) = &relationship.redundancy {
                *alternatives.entry((&relationship.from, name)).or_default() += 1;
            }
        }
        for (at, redundancy) in redundancies.iter().enumerate() {
            let (ci, name, at_least) = (&redundancy.ci, &redundancy.name, redundancy.at_least);
            match alternatives.get(&(ci, name.as_str())) {
                None => {
                    let (ci, name) = (ci.to_string(), name.clone());
                    faults.push(TopologyFault::UnknownRedundancy { at, ci, name });
                }
                Some(&members) if at_least == 0 || at_least > members => {
                    faults.push(TopologyFault::AtLeast { at, at_least, members });
                }
                Some(_) => {}
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        cis.sort_by(|a, b| a.id.cmp(&b.id));
        let ends = |r: &Relationship| (r.from.clone(), r.to.clone(), r.kind.clone(), r.redundancy.clone());
        relationships.sort_by_cached_key(ends);
        relationships.dedup();
        redundancies.sort_by(|a, b| (&a.ci, &a.name).cmp(&(&b.ci, &b.name)));
        Ok(Topology { cis, relationships, redundancies })
    }

    /// The CIs, by id.
    #[must_use]
    pub fn cis(&self) -> &[Ci] {
        &self.cis
    }

    /// The relationships, by their ends.
    #[must_use]
    pub fn relationships(&self) -> &[Relationship] {
        &self.relationships
    }

    /// The redundancies, by CI and name.
    #[must_use]
    pub fn redundancies(&self) -> &[Redundancy] {
        &self.redundancies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ci(id: &str, kind: &str) -> Ci {
        Ci {
            id: CiId::new(id),
            kind: kind.into(),
            name: id.into(),
            aliases: vec![],
            labels: BTreeMap::new(),
            owner: None,
            criticality: Criticality::Medium,
        }
    }

    fn on(from: &str, to: &str, redundancy: Option<&str>) -> Relationship {
        Relationship {
            from: CiId::new(from),
            to: CiId::new(to),
            kind: "depends_on".into(),
            redundancy: redundancy.map(Into::into),
        }
    }

    #[test]
    fn all_faults_at_once() {
        let faults = Topology::new(
            vec![ci("a", "host"), ci("a", "host"), ci("", "host")],
            vec![on("a", "b", Some("pair"))],
            vec![
                Redundancy { ci: CiId::new("a"), name: "pair".into(), at_least: 2 },
                Redundancy { ci: CiId::new("a"), name: "none".into(), at_least: 1 },
            ],
        )
        .expect_err("faulty");
        let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 5, "{texts:#?}");
        assert!(texts[2].contains("relationships[0].to: no CI has the id \"b\""), "{texts:#?}");
    }

    #[test]
    fn order_of_the_draft_does_not_matter() {
        let a = Topology::new(vec![ci("a", "host"), ci("b", "host")], vec![on("a", "b", None)], vec![]);
        let b = Topology::new(vec![ci("b", "host"), ci("a", "host")], vec![on("a", "b", None)], vec![]);
        assert_eq!(a, b);
    }

    #[test]
    fn services_by_kind() {
        for (kind, expected) in [("service", true), ("Business_Service", true), ("host", false), ("services", false)] {
            assert_eq!(ci("x", kind).is_service(), expected, "{kind}");
        }
    }
}
