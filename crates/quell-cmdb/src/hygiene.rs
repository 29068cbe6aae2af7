//! What should be put right in a topology: what is there twice, what nobody answers for, and what nobody has seen for
//! long.
//!
//! Absent on purpose: alerts; whoever has them says which retired or unknown CIs they are about.

use std::collections::BTreeMap;

use quell_domain::{CiId, Lifecycle, Relationship, Timestamp};

use crate::graph::{CiIx, Graph};

/// The first items of a list, and how many there are in all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part<T> {
    /// How many in all.
    pub total: u64,
    /// The first of them.
    pub first: Vec<T>,
}

impl<T> Default for Part<T> {
    fn default() -> Self {
        Part { total: 0, first: Vec::new() }
    }
}

impl<T> Part<T> {
    /// Counts an item, and keeps it when fewer than `most` are kept.
    pub fn add(&mut self, item: impl FnOnce() -> T, most: usize) {
        self.total += 1;
        if self.first.len() < most {
            self.first.push(item());
        }
    }
}

/// One name that several CIs are known by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Duplicate {
    /// The name, in small letters.
    pub name: String,
    /// Some of them, by id; at most [`TOLD`].
    pub cis: Vec<CiId>,
    /// How many they are.
    pub count: u64,
}

/// CIs that are named for one duplicate.
pub const TOLD: usize = 10;

/// What should be put right.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Hygiene {
    /// Names, addresses and aliases that several CIs in use have: an alert that says one binds to none of them. A name
    /// counts where the kinds are the same, or where it is another's alias.
    pub duplicates: Part<Duplicate>,
    /// CIs in use that nobody answers for, services first, then by id.
    pub ownerless: Part<CiId>,
    /// Stale relationships, the longest unseen first.
    pub stale: Part<Relationship>,
    /// Retired CIs.
    pub retired: Part<CiId>,
}

impl Graph {
    /// What should be put right in it, at most `most` of each. Takes `O((n + m) log (n + m))`.
    #[must_use]
    pub fn hygiene(&self, now: Timestamp, most: usize) -> Hygiene {
        let mut hygiene = Hygiene { duplicates: self.duplicates(most), ..Hygiene::default() };
        let cis = self.topology().cis();
        for services in [true, false] {
            for ci in cis.iter().filter(|ci| ci.is_service() == services && ci.lifecycle == Lifecycle::Active) {
                if ci.owner.is_none() {
                    hygiene.ownerless.add(|| ci.id.clone(), most);
                }
            }
        }
        for ci in cis.iter().filter(|ci| ci.lifecycle == Lifecycle::Retired) {
            hygiene.retired.add(|| ci.id.clone(), most);
        }
        let is_stale = |relationship: &&Relationship| relationship.stale_from().is_some_and(|from| now > from);
        let mut stale: Vec<&Relationship> = self.topology().relationships().iter().filter(is_stale).collect();
        // Those seen at one instant stay in the order of their ends.
        stale.sort_by_key(|relationship| relationship.last_seen);
        for relationship in stale {
            hygiene.stale.add(|| relationship.clone(), most);
        }
        hygiene
    }

    fn duplicates(&self, most: usize) -> Part<Duplicate> {
        let mut known: Vec<(String, CiIx, bool)> = Vec::with_capacity(self.len() * 2);
        for (ix, ci) in (0..).map(CiIx).zip(self.topology().cis()).filter(|(_, ci)| ci.lifecycle != Lifecycle::Retired)
        {
            known.push((ci.name.to_lowercase(), ix, false));
            known.extend(ci.aliases.iter().map(|alias| (alias.to_lowercase(), ix, true)));
        }
        known.sort_unstable();
        let mut found = Part::default();
        for same in known.chunk_by(|a, b| a.0 == b.0) {
            if same.len() == 1 {
                continue;
            }
            let any_alias = same.iter().any(|(_, _, alias)| *alias);
            let mut cis: Vec<CiIx> = same.iter().map(|&(_, ix, _)| ix).collect();
            cis.dedup();
            if !any_alias {
                // Of a service and a pod of one name neither is too many.
                let mut of_kind: BTreeMap<&str, u32> = BTreeMap::new();
                for &ix in &cis {
                    *of_kind.entry(&self.ci(ix).kind).or_default() += 1;
                }
                cis.retain(|&ix| of_kind.get(self.ci(ix).kind.as_str()).is_some_and(|&count| count > 1));
            }
            if let ([_, _, ..], Some((name, ..))) = (&cis[..], same.first()) {
                let ids = cis.iter().take(TOLD).map(|&ix| self.ci(ix).id.clone());
                let duplicate = || Duplicate { name: name.clone(), cis: ids.collect(), count: cis.len() as u64 };
                found.add(duplicate, most);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use quell_domain::{Ci, Topology};

    use super::*;

    fn ids(part: &Part<CiId>) -> (u64, Vec<&str>) {
        (part.total, part.first.iter().map(CiId::as_str).collect())
    }

    #[test]
    fn lists_what_should_be_put_right() {
        let ci = |id: &str, kind: &str, name: &str, aliases: &[&str]| Ci {
            name: name.into(),
            aliases: aliases.iter().map(ToString::to_string).collect(),
            owner: Some("me".into()),
            ..Ci::new(id, kind)
        };
        let cis = vec![
            ci("a1", "host", "DB", &["10.0.0.1"]),
            ci("a2", "host", "db", &[]),
            ci("a3", "service", "db", &[]),
            ci("b1", "host", "web", &["10.0.0.2"]),
            ci("b2", "pod", "other", &["10.0.0.2", "10.0.0.2"]),
            Ci { lifecycle: Lifecycle::Retired, ..ci("b3", "host", "web", &["10.0.0.2"]) },
            Ci { owner: None, ..ci("c1", "host", "c1", &[]) },
            Ci { owner: None, ..ci("c2", "service", "c2", &["c2"]) },
        ];
        let seen = |from: &str, at| Relationship {
            last_seen: Some(Timestamp::from_seconds(at)),
            ..Relationship::new(CiId::new(from), CiId::new("a1"), "calls")
        };
        let day = 86_400;
        let relationships = vec![seen("b1", 5 * day), seen("b2", 3 * day), seen("c1", 30 * day)];
        let graph = Graph::new(Topology::new(cis, relationships, vec![]).expect("sound"));
        let found = graph.hygiene(Timestamp::from_seconds(20 * day), 10);
        let duplicate = |name: &str, cis: &[&str]| Duplicate {
            name: name.into(),
            cis: cis.iter().map(|id| CiId::new(id)).collect(),
            count: cis.len() as u64,
        };
        assert_eq!(found.duplicates.first, [duplicate("10.0.0.2", &["b1", "b2"]), duplicate("db", &["a1", "a2"])]);
        assert_eq!(ids(&found.ownerless), (2, vec!["c2", "c1"]));
        assert_eq!(ids(&found.retired), (1, vec!["b3"]));
        assert_eq!(found.stale.first, [seen("b2", 3 * day), seen("b1", 5 * day)]);
        let cut = graph.hygiene(Timestamp::from_seconds(20 * day), 1);
        assert_eq!((cut.stale.total, cut.stale.first), (2, vec![seen("b2", 3 * day)]));
    }
}
