//! Blast radius: which dependents may degrade when some CIs fail.
//!
//! Absent on purpose: a limit in hops; a walk is bounded by what it visits.

use std::sync::Arc;

use quell_domain::{BlastRadius, Ci, ServiceAtRisk, Timestamp};

use crate::graph::{CiIx, Edge, Graph, Scratch, Step, Tie};

/// Relationships that a walk may look at for each CI it may visit: an estate has about five for each CI, a hub many
/// more that lead nowhere.
pub const TIES_PER_CI: usize = 64;

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
        self.blast_at(scratch, failing, limit, None)
    }

    /// [`Self::blast_in`], counting the relationships it rests on that are stale at `now`. A walk that looks at more
    /// than [`TIES_PER_CI`] relationships for each CI it may visit says "partial" too.
    #[must_use]
    pub fn blast_at(&self, scratch: &mut Scratch, failing: &[CiIx], limit: usize, now: Option<Timestamp>) -> Blast {
        scratch.begin(self);
        for &ci in failing {
            if scratch.meet(ci.0) {
                scratch.queue.push(Step { ci: ci.0, hops: 0, via: ci.0, weight: 1.0 });
            }
        }
        let seeds = scratch.queue.len();
        let mut radius = BlastRadius::default();
        let mut cost = limit.saturating_mul(TIES_PER_CI);
        let mut next = 0;
        'walk: while let Some(&step) = scratch.queue.get(next) {
            next += 1;
            let neighbours = self.dependents.neighbors_slice(step.ci);
            let edges = self.dependents.edges_slice(step.ci);
            for (&dependent, &edge) in neighbours.iter().zip(edges) {
                if cost == 0 {
                    radius.partial = true;
                    break 'walk;
                }
                cost -= 1;
                if scratch.met(dependent) || !self.falls(scratch, &edge.tie) {
                    continue;
                }
                if scratch.queue.len() - seeds >= limit {
                    radius.partial = true;
                    break 'walk;
                }
                self.doubt(&mut radius, edge, now);
                scratch.meet(dependent);
                scratch.queue.push(Step { ci: dependent, hops: step.hops + 1, via: step.ci, weight: 1.0 });
            }
        }
        let reached = &scratch.queue[seeds..];
        let dependents: Vec<Dependent> =
            reached.iter().map(|step| Dependent { ci: CiIx(step.ci), hops: step.hops, via: CiIx(step.via) }).collect();
        radius.cis = dependents.len() as u64;
        radius.services = self.services(reached);
        Blast { dependents, radius }
    }

    /// Whether a dependent falls with one more of its dependencies failed.
    fn falls(&self, scratch: &mut Scratch, tie: &Tie) -> bool {
        if *tie == Tie::Hard {
            return true;
        }
        let mut falls = false;
        for &group in self.groups_of(tie) {
            let failed = scratch.fail_one(group);
            let group = self.groups[group as usize];
            falls |= group.members.saturating_sub(failed) < group.at_least;
        }
        falls
    }

    /// Counts a relationship that the answer rests on, when it is stale.
    fn doubt(&self, radius: &mut BlastRadius, edge: Edge, now: Option<Timestamp>) {
        let Some(seen) = self.seen.get(edge.seen as usize) else { return };
        if now.is_some_and(|now| now > seen.stale_from) {
            radius.stale_relationships += 1;
            radius.oldest_seen = Some(radius.oldest_seen.map_or(seen.last_seen, |oldest| oldest.min(seen.last_seen)));
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
    use quell_domain::Timestamp;

    use crate::fixture::{graph, ids};
    use crate::graph::Scratch;

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
        check("s>r1/trio s>r2/trio s>r3/trio !s/trio=3", "r1", "s");
    }

    #[test]
    fn redundancy_within_redundancy() {
        // Two clusters of two of three, of which one must be up.
        let nested = "s>c1/any s>c2/any !c1/q=2 !c2/q=2 c1>a/q c1>b/q c1>c/q c2>d/q c2>e/q c2>f/q";
        check(nested, "a", "");
        check(nested, "a b", "c1");
        check(nested, "a b d", "c1");
        check(nested, "a b d e", "c1 c2 s");
    }

    #[test]
    fn redundancy_in_a_cycle_falls_only_when_its_alternatives_do() {
        // Two databases that follow each other, each with a disk.
        let pair = "app>db1/db app>db2/db db1>db2/peer db1>disk1 db2>db1/peer db2>disk2";
        check(pair, "disk1", "app db1 db2");
        let quorum = "app>q/one q>n1/q q>n2/q q>n3/q !q/q=2 n1>q/one n2>q/one n3>q/one";
        check(quorum, "n1", "");
        check(quorum, "n1 n2", "app n3 q");
    }

    #[test]
    fn one_dependency_in_two_groups_counts_in_both() {
        check("s>b/g1 s>c/g1 s>b/g2 s>d/g2", "c", "");
        check("s>b/g1 s>c/g1 s>b/g2 s>d/g2", "c d", "");
        check("s>b/g1 s>c/g1 s>b/g2 s>d/g2", "b", "");
        check("s>b/g1 s>c/g1 s>b/g2 s>d/g2", "b d", "s");
        // A hard one is up as long as its dependent is.
        check("s>b s>b/trio s>c/trio s>d/trio !s/trio=2", "c", "");
        check("s>b s>b/trio s>c/trio s>d/trio !s/trio=2", "c d", "s");
        check("s>b s>b/trio s>c/trio s>d/trio !s/trio=2", "b", "s");
    }

    #[test]
    fn counts_the_stale_relationships_it_rests_on() {
        const DAY: i64 = 86_400;
        // Between a and b two relationships: the fresher one counts.
        let graph = graph(&format!("a>b@{} a>b/x@0 c>a@0 d>c e>a@{}", 30 * DAY, 5 * DAY));
        let at = |day: i64| {
            let now = Some(Timestamp::from_seconds(day * DAY));
            let radius = graph.blast_at(&mut Scratch::default(), &ids(&graph, "b"), 100, now).radius;
            (radius.cis, radius.stale_relationships, radius.oldest_seen.map(|at| at.micros() / 1_000_000 / DAY))
        };
        assert_eq!(at(7), (4, 0, None));
        assert_eq!(at(8), (4, 1, Some(0)));
        assert_eq!(at(13), (4, 2, Some(0)));
        assert_eq!(at(38), (4, 3, Some(0)));
        assert_eq!(graph.blast(&ids(&graph, "b"), 100).radius.stale_relationships, 0);
    }

    #[test]
    fn a_hub_that_leads_nowhere_is_bounded_by_its_cost() {
        let many: Vec<String> = (0..500).map(|n| format!("s{n}>hub/pair s{n}>other/pair")).collect();
        let graph = graph(&many.join(" "));
        let blast = |limit| graph.blast(&ids(&graph, "hub"), limit).radius;
        assert_eq!((blast(7).partial, blast(7).cis), (true, 0));
        assert_eq!((blast(8).partial, blast(8).cis), (false, 0));
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
