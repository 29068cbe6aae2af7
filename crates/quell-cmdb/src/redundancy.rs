//! What redundancy is lost while CIs are down: who keeps going, and with how many alternatives left.
//!
//! Absent on purpose: who falls; see `blast`.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::{CiIx, Graph};

/// A dependent that has fewer alternatives left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lost {
    /// The dependent.
    pub dependent: CiIx,
    /// How many alternatives it has.
    pub alternatives: u32,
    /// How many of them are left.
    pub left: u32,
    /// How many of them it needs.
    pub at_least: u32,
}

impl Lost {
    /// Whether it falls: fewer are left than it needs.
    #[must_use]
    pub fn falls(&self) -> bool {
        self.left < self.at_least
    }

    /// Whether one more failure makes it fall.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.left == self.at_least
    }
}

impl Graph {
    /// The dependents with alternatives among the CIs that are down, and what is left of them: those that fall first, then
    /// those with no spare, then by CI. `down` are all that are down, those that fell by themselves included.
    #[must_use]
    pub fn lost_redundancy(&self, down: &[CiIx]) -> Vec<Lost> {
        let down: BTreeSet<CiIx> = down.iter().copied().collect();
        let mut failed: BTreeMap<(CiIx, u32), u32> = BTreeMap::new();
        for &ci in &down {
            let edges = self.dependents.neighbors_slice(ci.0).iter().zip(self.dependents.edges_slice(ci.0));
            for (&dependent, edge) in edges {
                for &group in self.groups_of(&edge.tie) {
                    *failed.entry((CiIx(dependent), group)).or_default() += 1;
                }
            }
        }
        let lost = failed.into_iter().map(|((dependent, group), failed)| {
            let group = self.groups[group as usize];
            let left = group.members.saturating_sub(failed);
            Lost { dependent, alternatives: group.members, left, at_least: group.at_least }
        });
        let mut lost: Vec<Lost> = lost.collect();
        lost.sort_by_key(|lost| (!lost.falls(), !lost.is_bare(), lost.dependent));
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::graph;

    fn check(down: &[&str], expected: &[&str]) {
        let graph =
            graph("shop>web1/web shop>web2/web shop>web3/web web1>h1 web2>h2 web3>h2 pay>web1/web pay>web2/web");
        let ix = |id: &&str| graph.find(&quell_domain::CiId::new(id)).expect("in the estate");
        let down: Vec<CiIx> = down.iter().map(ix).collect();
        let found: Vec<String> = graph
            .lost_redundancy(&down)
            .iter()
            .map(|lost| {
                let word = if lost.falls() {
                    " falls"
                } else if lost.is_bare() {
                    " bare"
                } else {
                    ""
                };
                format!("{} {} of {}{word}", graph.ci(lost.dependent).id, lost.left, lost.alternatives)
            })
            .collect();
        assert_eq!(found, expected, "{down:?}");
    }

    #[test]
    fn what_is_left_of_alternatives_is_counted() {
        check(&["h1"], &[]);
        check(&["h1", "web1"], &["pay 1 of 2 bare", "shop 2 of 3"]);
        check(&["web2", "web3"], &["pay 1 of 2 bare", "shop 1 of 3 bare"]);
        check(&["web1", "web2"], &["pay 0 of 2 falls", "shop 1 of 3 bare"]);
    }
}
