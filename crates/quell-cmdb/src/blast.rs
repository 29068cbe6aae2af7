//! Blast radius: which dependents may degrade when some CIs fail.
//!
//! Absent on purpose: a limit in hops; a walk is bounded by what it visits.

use std::sync::Arc;

use quell_domain::{BlastRadius, Ci, ServiceAtRisk};

use crate::graph::{CiIx, Graph, Scratch, Step, Tie};

/// A CI that may degrade when others fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dependent {
    /// The CI.
    pub ci: CiIx,
    /// The least number of relationships between it and a failing CI.
    pub hops: u32,
    /// The dependency through which it degrades.
    pub via: CiIx,
}

/// What a failure reaches.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Blast {
    /// The dependents, nearest first.
    pub dependents: Vec<Dependent>,
    /// The same, counted, with services by criticality.
    pub radius: BlastRadius,
}

impl Graph {
    /// What may degrade when all of `failing` fail: dependents over any number of hops, those behind a redundancy
    /// only when fewer than `at_least` alternatives are left. Visits at most `limit` CIs, then says "partial".
    #[must_use]
    pub fn blast(&self, failing: &[CiIx], limit: usize) -> Blast {
        self.blast_in(&mut Scratch::default(), failing, limit)
    }

    /// [`Self::blast`] with working memory of the caller's.
    #[must_use]
    pub fn blast_in(&self, scratch: &mut Scratch, failing: &[CiIx], limit: usize) -> Blast {
        scratch.begin(self);
        for &ci in failing {
            if scratch.meet(ci.0) {
                scratch.queue.push(Step { ci: ci.0, hops: 0, via: ci.0, weight: 1.0 });
            }
        }
        let seeds = scratch.queue.len();
        let mut partial = false;
        let mut next = 0;
        'walk: while let Some(&step) = scratch.queue.get(next) {
            next += 1;
            let neighbours = self.dependents.neighbors_slice(step.ci);
            let ties = self.dependents.edges_slice(step.ci);
            for (&dependent, &tie) in neighbours.iter().zip(ties) {
                if scratch.met(dependent) || !self.falls(scratch, tie) {
                    continue;
                }
                if scratch.queue.len() - seeds >= limit {
                    partial = true;
                    break 'walk;
                }
                scratch.meet(dependent);
                scratch.queue.push(Step { ci: dependent, hops: step.hops + 1, via: step.ci, weight: 1.0 });
            }
        }
        let reached = &scratch.queue[seeds..];
        let dependents: Vec<Dependent> =
            reached.iter().map(|step| Dependent { ci: CiIx(step.ci), hops: step.hops, via: CiIx(step.via) }).collect();
        let radius = BlastRadius { cis: dependents.len() as u64, services: self.services(reached), partial };
        Blast { dependents, radius }
    }

    /// Whether a dependent falls with one more of its dependencies failed.
    fn falls(&self, scratch: &mut Scratch, tie: Tie) -> bool {
        match tie {
            Tie::Hard => true,
            Tie::Alternative(group) => {
                let failed = scratch.fail_one(group);
                let group = self.groups[group as usize];
                group.members.saturating_sub(failed) < group.at_least
            }
        }
    }

    fn services(&self, reached: &[Step]) -> Vec<Arc<ServiceAtRisk>> {
        let mut found: Vec<u32> = reached.iter().filter_map(|step| self.service_of(CiIx(step.ci))).collect();
        // Services are numbered in the order they are listed.
        found.sort_unstable();
        found.into_iter().map(|at| Arc::clone(&self.services[at as usize])).collect()
    }

    /// A CI as a service at risk, if it is one.
    #[must_use]
    pub fn service(&self, ix: CiIx) -> Option<&Arc<ServiceAtRisk>> {
        self.service_of(ix).map(|at| &self.services[at as usize])
    }

    fn service_of(&self, ix: CiIx) -> Option<u32> {
        Some(self.service_of[ix.at()]).filter(|&at| at != NO_SERVICE)
    }
}

/// What [`Graph::service_of`] says of a CI that is none.
pub(crate) const NO_SERVICE: u32 = u32::MAX;

/// Every service of a topology, the most critical first, then by id, and for each CI which of them it is.
pub(crate) fn number_services(cis: &[Ci]) -> (Vec<Arc<ServiceAtRisk>>, Vec<u32>) {
    let mut order: Vec<usize> = (0..cis.len()).filter(|&at| cis[at].is_service()).collect();
    // CIs stand in the order of their ids.
    order.sort_by_key(|&at| (std::cmp::Reverse(cis[at].criticality), at));
    let mut service_of = vec![NO_SERVICE; cis.len()];
    for (number, &at) in (0..).zip(&order) {
        service_of[at] = number;
    }
    let service = |at: usize| {
        let Ci { id, name, criticality, owner, .. } = &cis[at];
        Arc::new(ServiceAtRisk { ci: id.clone(), name: name.clone(), criticality: *criticality, owner: owner.clone() })
    };
    (order.into_iter().map(service).collect(), service_of)
}

#[cfg(test)]
mod tests {
    use crate::fixture::{graph, ids};

    #[track_caller]
    fn check(relationships: &str, failing: &str, expected: &str) {
        let graph = graph(relationships);
        let blast = graph.blast(&ids(&graph, failing), 1000);
        let mut reached: Vec<&str> = blast.dependents.iter().map(|d| graph.ci(d.ci).id.as_str()).collect();
        reached.sort_unstable();
        assert_eq!(reached.join(" "), expected);
        assert_eq!(blast.radius.cis, reached.len() as u64);
    }

    #[test]
    fn reaches_dependents_over_any_number_of_hops() {
        check("a>b b>c c>d d>e e>f f>g", "g", "a b c d e f");
        check("a>b b>c", "a", "");
        check("a>b b>c", "b", "a");
    }

    #[test]
    fn survives_cycles_and_self_loops() {
        check("a>b b>a b>b", "a", "b");
    }

    #[test]
    fn redundancy_holds_until_too_few_are_left() {
        check("s>r1/pair s>r2/pair t>s", "r1", "");
        check("s>r1/pair s>r2/pair t>s", "r1 r2", "s t");
        check("s>r1/trio s>r2/trio s>r3/trio !s/trio=2", "r1", "");
        check("s>r1/trio s>r2/trio s>r3/trio !s/trio=2", "r1 r2", "s");
    }

    #[test]
    fn alternatives_that_fall_by_one_shared_dependency_fall_together() {
        check("s>r1/pair s>r2/pair r1>h r2>h", "h", "r1 r2 s");
    }

    #[test]
    fn says_partial_when_it_stops() {
        let graph = graph("a>x b>x c>x d>x");
        let blast = graph.blast(&ids(&graph, "x"), 2);
        assert!(blast.radius.partial);
        assert_eq!(blast.radius.cis, 2);
    }

    #[test]
    fn services_come_by_criticality() {
        let graph = graph("shop:service:low>db pay:service:critical>db job>db");
        let blast = graph.blast(&ids(&graph, "db"), 100);
        let names: Vec<&str> = blast.radius.services.iter().map(|s| s.ci.as_str()).collect();
        assert_eq!(names, ["pay", "shop"]);
    }
}
