//! Which CIs could be at fault for what is seen on another: its dependencies, with how strongly it hangs on each.
//!
//! Absent on purpose: any alert; this only measures the graph.

use crate::graph::{CiIx, Edge, Graph, Scratch, Step, Tie};

/// How surely a failure passes on to what stands on a CI: nearly always.
pub const STOOD_ON: f64 = 0.9;

/// How surely a failure passes on to what uses a CI and does not stand on it: callers wait, try again or do without.
pub const USED: f64 = 0.6;

/// A dependency over some hops.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reach {
    /// The dependency; the CI itself at 0 hops.
    pub ci: CiIx,
    /// The least number of relationships on the way.
    pub hops: u32,
    /// How strongly it is depended on along that way: the product over its ties of [`STOOD_ON`] or [`USED`], and of
    /// `at_least / members` for an alternative.
    pub weight: f64,
}

/// What hangs on a CI over some hops.
#[derive(Clone, PartialEq, Debug)]
pub struct Cone {
    /// The sum over all that hangs on it, itself among them, of how strongly it does: the [`Reach::weight`] of the
    /// nearest way.
    pub mass: f64,
    /// How many CIs hang on it at each number of hops, itself at 0.
    pub at: Vec<u32>,
}

impl Graph {
    /// What hangs on a CI within `max_hops`; at most `limit` CIs are looked at.
    #[must_use]
    pub fn cone(&self, scratch: &mut Scratch, of: CiIx, max_hops: u32, limit: usize) -> Cone {
        scratch.begin(self);
        scratch.meet(of.0);
        scratch.queue.push(Step { ci: of.0, hops: 0, via: of.0, weight: 1.0 });
        let mut cone = Cone { mass: 0.0, at: vec![0; max_hops as usize + 1] };
        let mut next = 0;
        while let Some(&step) = scratch.queue.get(next) {
            next += 1;
            cone.mass += step.weight;
            cone.at[step.hops as usize] += 1;
            if step.hops == max_hops {
                continue;
            }
            let neighbours = self.dependents.neighbors_slice(step.ci);
            for (&dependent, &edge) in neighbours.iter().zip(self.dependents.edges_slice(step.ci)) {
                if scratch.queue.len() < limit && scratch.meet(dependent) {
                    let weight = step.weight * self.strength(edge);
                    scratch.queue.push(Step { ci: dependent, hops: step.hops + 1, via: step.ci, weight });
                }
            }
        }
        cone
    }

    /// The CI itself and its dependencies within `max_hops`, nearest first; at most `limit` of them.
    pub fn dependencies_in(
        &self,
        scratch: &mut Scratch,
        from: CiIx,
        max_hops: u32,
        limit: usize,
        found: &mut Vec<Reach>,
    ) {
        found.clear();
        scratch.begin(self);
        scratch.meet(from.0);
        scratch.queue.push(Step { ci: from.0, hops: 0, via: from.0, weight: 1.0 });
        let mut next = 0;
        while let Some(&step) = scratch.queue.get(next) {
            next += 1;
            found.push(Reach { ci: CiIx(step.ci), hops: step.hops, weight: step.weight });
            if step.hops == max_hops {
                continue;
            }
            let neighbours = self.dependencies.neighbors_slice(step.ci);
            let edges = self.dependencies.edges_slice(step.ci);
            for (&dependency, &edge) in neighbours.iter().zip(edges) {
                if scratch.queue.len() < limit && scratch.meet(dependency) {
                    let weight = step.weight * self.strength(edge);
                    scratch.queue.push(Step { ci: dependency, hops: step.hops + 1, via: step.ci, weight });
                }
            }
        }
    }

    /// What a CI depends on directly, each with how strongly: [`STOOD_ON`] or [`USED`], and of that
    /// `at_least / members` for an alternative.
    pub fn needs_of(&self, ci: CiIx) -> impl Iterator<Item = (CiIx, f64)> {
        let neighbours = self.dependencies.neighbors_slice(ci.0).iter();
        let edges = self.dependencies.edges_slice(ci.0).iter();
        neighbours.zip(edges).map(|(&dependency, &edge)| (CiIx(dependency), self.strength(edge)))
    }

    /// How many CIs hang on this one within `max_hops`, counted up to `limit`.
    #[must_use]
    pub fn fan_in(&self, scratch: &mut Scratch, of: CiIx, max_hops: u32, limit: usize) -> usize {
        scratch.begin(self);
        scratch.meet(of.0);
        scratch.queue.push(Step { ci: of.0, hops: 0, via: of.0, weight: 1.0 });
        let mut next = 0;
        while let Some(&step) = scratch.queue.get(next) {
            next += 1;
            if step.hops == max_hops {
                continue;
            }
            for &dependent in self.dependents.neighbors_slice(step.ci) {
                if scratch.queue.len() > limit {
                    return limit;
                }
                if scratch.meet(dependent) {
                    scratch.queue.push(Step { ci: dependent, hops: step.hops + 1, via: step.ci, weight: 1.0 });
                }
            }
        }
        scratch.queue.len() - 1
    }

    /// How surely a failure passes over a tie.
    fn strength(&self, edge: Edge) -> f64 {
        let passes = if edge.footing { STOOD_ON } else { USED };
        passes
            * match edge.tie {
                Tie::Hard => 1.0,
                Tie::Alternative(_) | Tie::Several(_) => {
                    let strength = |&group: &u32| {
                        let group = self.groups[group as usize];
                        f64::from(group.at_least) / f64::from(group.members.max(1))
                    };
                    self.groups_of(&edge.tie).iter().map(strength).fold(0.0, f64::max)
                }
            }
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::{graph, ids};

    use super::*;

    #[test]
    fn dependencies_come_nearest_first_with_their_weight() {
        let graph = graph("a>b b>c a>d/pair a>e/pair e>c");
        let mut found = Vec::new();
        graph.dependencies_in(&mut Scratch::default(), ids(&graph, "a")[0], 2, 100, &mut found);
        let seen: Vec<(&str, u32, f64)> =
            found.iter().map(|r| (graph.ci(r.ci).id.as_str(), r.hops, r.weight)).collect();
        let (one, half) = (STOOD_ON, STOOD_ON / 2.0);
        assert_eq!(seen, [("a", 0, 1.0), ("b", 1, one), ("d", 1, half), ("e", 1, half), ("c", 2, one * one)]);
    }

    #[test]
    fn what_is_used_passes_a_failure_on_less_surely_than_what_is_stood_on() {
        let graph = graph("web:service>api:service api:service>db:database db:database>h1:host web:service>h2:host");
        let mut found = Vec::new();
        graph.dependencies_in(&mut Scratch::default(), ids(&graph, "web")[0], 3, 100, &mut found);
        let seen: Vec<(&str, f64)> = found.iter().map(|r| (graph.ci(r.ci).id.as_str(), r.weight)).collect();
        let twice = USED * USED;
        let expected = [("web", 1.0), ("api", USED), ("h2", STOOD_ON), ("db", twice), ("h1", twice * STOOD_ON)];
        assert_eq!(seen, expected);
    }

    #[test]
    fn hops_and_limit_bound_the_walk() {
        let graph = graph("a>b b>c c>d");
        let mut found = Vec::new();
        graph.dependencies_in(&mut Scratch::default(), ids(&graph, "a")[0], 1, 100, &mut found);
        assert_eq!(found.len(), 2);
        graph.dependencies_in(&mut Scratch::default(), ids(&graph, "a")[0], 9, 3, &mut found);
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn a_cone_weighs_dependents_by_their_ties() {
        let graph = graph("a:service>x:service b>x c>b d>x/pair d>e/pair");
        let cone = graph.cone(&mut Scratch::default(), ids(&graph, "x")[0], 2, 100);
        assert_eq!(cone.at, [1, 3, 1]);
        let expected = 1.0 + USED + STOOD_ON + STOOD_ON * STOOD_ON + STOOD_ON / 2.0;
        assert!((cone.mass - expected).abs() < 1e-12, "{cone:?}");
    }

    #[test]
    fn fan_in_counts_dependents_over_hops() {
        let graph = graph("a>x b>x c>b d>c");
        let x = ids(&graph, "x")[0];
        assert_eq!(graph.fan_in(&mut Scratch::default(), x, 1, 100), 2);
        assert_eq!(graph.fan_in(&mut Scratch::default(), x, 9, 100), 4);
        assert_eq!(graph.fan_in(&mut Scratch::default(), x, 9, 3), 3);
    }
}
