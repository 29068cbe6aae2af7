//! A whole estate at one instant, checked.
//!
//! Absent on purpose: graph walks (`quell-cmdb`) and files (`quell-formats`).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher};

use crate::ci::{Ci, CiId, Redundancy, Relationship};
use crate::time::Timestamp;

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
        let known = known(&cis, &mut faults);
        share_ids(&known, &mut relationships, &mut faults);
        let mut alternatives: BTreeMap<(&CiId, &str), BTreeSet<&CiId>> = BTreeMap::new();
        for relationship in &relationships {
            if let Some(name) = &relationship.redundancy {
                alternatives.entry((&relationship.from, name)).or_default().insert(&relationship.to);
            }
        }
        for (at, redundancy) in redundancies.iter().enumerate() {
            let (ci, name, at_least) = (&redundancy.ci, &redundancy.name, redundancy.at_least);
            let members = alternatives.get(&(ci, name.as_str())).map(|of| u32::try_from(of.len()).unwrap_or(u32::MAX));
            match members {
                None => {
                    let (ci, name) = (ci.to_string(), name.clone());
                    faults.push(TopologyFault::UnknownRedundancy { at, ci, name });
                }
                Some(members) if at_least == 0 || at_least > members => {
                    faults.push(TopologyFault::AtLeast { at, at_least, members });
                }
                Some(_) => {}
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        drop(known);
        cis.sort_by(|a, b| a.id.cmp(&b.id));
        sort(&cis, &mut relationships);
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

/// A hasher without a random seed, so that two runs are the same run.
type Fixed = BuildHasherDefault<DefaultHasher>;

/// The ids there are.
fn known(cis: &[Ci], faults: &mut Vec<TopologyFault>) -> HashSet<CiId, Fixed> {
    let mut known = HashSet::with_capacity_and_hasher(cis.len(), Fixed::default());
    for (at, ci) in cis.iter().enumerate() {
        if ci.id.as_str().is_empty() {
            faults.push(TopologyFault::EmptyId { at });
        } else if !known.insert(ci.id.clone()) {
            faults.push(TopologyFault::DuplicateId { at, id: ci.id.to_string() });
        }
    }
    known
}

/// Lets the ends of relationships share the text of their CIs' ids: there are millions of them.
fn share_ids(known: &HashSet<CiId, Fixed>, relationships: &mut [Relationship], faults: &mut Vec<TopologyFault>) {
    for (at, relationship) in relationships.iter_mut().enumerate() {
        for (end, id) in [("from", &mut relationship.from), ("to", &mut relationship.to)] {
            match known.get(id) {
                Some(shared) => *id = shared.clone(),
                None => faults.push(TopologyFault::UnknownCi { at, end, id: id.to_string() }),
            }
        }
    }
}

/// Sorts relationships by their ends, and of those that one source tells twice keeps the one that is believed longer.
/// CIs are sorted, so that comparing their numbers is comparing their ids, only faster.
fn sort(cis: &[Ci], relationships: &mut Vec<Relationship>) {
    let numbers: HashMap<&CiId, u32, Fixed> = cis.iter().map(|ci| &ci.id).zip(0..).collect();
    let number = |id: &CiId| numbers.get(id).copied().unwrap_or(u32::MAX);
    relationships.sort_by_cached_key(|r| (number(&r.from), number(&r.to)));
    let told = |a: &Relationship, b: &Relationship| {
        let ends = a.from.cmp(&b.from).then_with(|| a.to.cmp(&b.to));
        ends.then_with(|| (&a.kind, &a.redundancy, &a.source).cmp(&(&b.kind, &b.redundancy, &b.source)))
    };
    for of_two in relationships.chunk_by_mut(|a, b| a.from == b.from && a.to == b.to) {
        // One that is never stale comes first.
        let longest = |r: &Relationship| std::cmp::Reverse(r.stale_from().unwrap_or(Timestamp::MAX));
        of_two.sort_by(|a, b| {
            let rest = |r: &Relationship| (longest(r), r.last_seen, r.ttl);
            told(a, b).then_with(|| rest(a).cmp(&rest(b)))
        });
    }
    relationships.dedup_by(|a, b| told(a, b).is_eq());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ci(id: &str, kind: &str) -> Ci {
        Ci::new(id, kind)
    }

    fn on(from: &str, to: &str, redundancy: Option<&str>) -> Relationship {
        let redundancy = redundancy.map(Into::into);
        Relationship { redundancy, ..Relationship::new(CiId::new(from), CiId::new(to), "depends_on") }
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
    fn of_one_relationship_told_twice_the_fresher_is_kept() {
        let seen = |at: Option<i64>, source: &str| Relationship {
            last_seen: at.map(Timestamp::from_seconds),
            source: Some(source.into()),
            ..on("a", "b", None)
        };
        let of = |relationships: &[Relationship]| {
            let topology = Topology::new(vec![ci("a", "host"), ci("b", "host")], relationships.to_vec(), vec![]);
            topology.expect("sound").relationships().to_vec()
        };
        assert_eq!(of(&[seen(Some(5), "s"), seen(Some(9), "s")]), [seen(Some(9), "s")]);
        assert_eq!(of(&[seen(None, "s"), seen(Some(9), "s")]), [seen(None, "s")]);
        assert_eq!(of(&[seen(Some(9), "t"), seen(Some(5), "s")]), [seen(Some(5), "s"), seen(Some(9), "t")]);
    }
}
