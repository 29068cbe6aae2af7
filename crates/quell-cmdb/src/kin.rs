//! Kin: CIs whose names begin alike. Who names machines after the rack they stand in, and replicas after what they are
//! replicas of, says more than most CMDBs know.
//!
//! A stem without a number names a class of things (`host`, `db`), which have nothing in common but that.
//!
//! Absent on purpose: whether it means anything; a group that is large says little about any two of its members.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};

use crate::graph::{CiIx, Graph};

/// A larger group says nothing.
const LARGEST: usize = 256;

/// Which CIs have names that begin alike.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Kin {
    of: HashMap<CiIx, u32, BuildHasherDefault<DefaultHasher>>,
    groups: Vec<(String, Vec<CiIx>)>,
    named: HashMap<String, u32, BuildHasherDefault<DefaultHasher>>,
}

/// What a name has in common with those beside it: all but the last part, or but the number at its end.
#[must_use]
pub fn stem(name: &str) -> Option<&str> {
    let number = || name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let end = name.rfind(['-', '_', '.', ':', '/']).unwrap_or_else(number);
    let stem = name.get(..end)?;
    (!stem.is_empty() && end < name.len()).then_some(stem)
}

impl Kin {
    /// The kin of a graph. Takes `O(n log n)`.
    #[must_use]
    pub fn new(graph: &Graph) -> Self {
        let mut groups: BTreeMap<&str, Vec<CiIx>> = BTreeMap::new();
        for (at, ci) in (0..).zip(graph.topology().cis()) {
            if let Some(stem) = stem(&ci.name).filter(|stem| stem.bytes().any(|byte| byte.is_ascii_digit())) {
                groups.entry(stem).or_default().push(CiIx(at));
            }
        }
        let mut kin = Kin::default();
        for (stem, members) in groups.into_iter().filter(|(_, members)| (2..=LARGEST).contains(&members.len())) {
            let number = u32::try_from(kin.groups.len()).unwrap_or(u32::MAX);
            kin.of.extend(members.iter().map(|&member| (member, number)));
            kin.named.insert(stem.to_owned(), number);
            kin.groups.push((stem.to_owned(), members));
        }
        kin
    }

    /// The group of a CI.
    #[must_use]
    pub fn of(&self, ci: CiIx) -> Option<u32> {
        self.of.get(&ci).copied()
    }

    /// The group that a name would belong to.
    #[must_use]
    pub fn of_name(&self, name: &str) -> Option<u32> {
        self.named.get(stem(name)?).copied()
    }

    /// How the names of a group begin.
    #[must_use]
    pub fn stem(&self, group: u32) -> &str {
        self.groups.get(group as usize).map_or("", |(stem, _)| stem)
    }

    /// The members of a group, by id.
    #[must_use]
    pub fn members(&self, group: u32) -> &[CiIx] {
        self.groups.get(group as usize).map_or(&[], |(_, members)| members)
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::{graph, ids};

    use super::*;

    #[test]
    fn a_stem_is_all_but_the_last_part() {
        let stems = ["host-3001-05", "db12", "10.0.3.7", "svc", "-x", "a-"].map(stem);
        assert_eq!(stems, [Some("host-3001"), Some("db"), Some("10.0.3"), None, None, Some("a")]);
    }

    #[test]
    fn kin_have_names_that_begin_alike() {
        let graph = graph("rack7-1>x rack7-2>x rack8-1>x");
        let kin = Kin::new(&graph);
        let group = kin.of_name("rack7-9").expect("two of them");
        assert_eq!(kin.members(group), ids(&graph, "rack7-1 rack7-2"));
        assert_eq!((kin.stem(group), kin.of(ids(&graph, "x")[0]), kin.of_name("rack8-2")), ("rack7", None, None));
    }
}
