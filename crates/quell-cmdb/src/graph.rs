//! An immutable snapshot of a topology, ready to be walked in both directions.
//!
//! Absent on purpose: changing it; a new topology is a new graph.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use petgraph::csr::Csr;
use quell_domain::{Ci, CiId, ServiceAtRisk, Topology};

use crate::blast::number_services;
use crate::names::Names;

/// A CI's index in one [`Graph`]; meaningless in another. CIs are numbered by id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CiIx(pub u32);

impl CiIx {
    pub(crate) fn at(self) -> usize {
        self.0 as usize
    }
}

/// How a dependent is tied to a dependency.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Tie {
    /// It degrades when the dependency fails.
    #[default]
    Hard,
    /// The dependency is one of several alternatives: an index into [`Graph::groups`].
    Alternative(u32),
}

/// Alternatives of one CI, of which `at_least` must be up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Group {
    pub(crate) members: u32,
    pub(crate) at_least: u32,
}

/// The graph of one topology. Relationships between the same two CIs are one tie; a hard one outweighs alternatives.
pub struct Graph {
    topology: Topology,
    names: Names,
    /// Every service, the most critical first, then by id.
    pub(crate) services: Vec<Arc<ServiceAtRisk>>,
    /// Which of them a CI is.
    pub(crate) service_of: Vec<u32>,
    pub(crate) groups: Vec<Group>,
    /// dependent → dependency
    pub(crate) dependencies: Csr<(), Tie>,
    /// dependency → dependent
    pub(crate) dependents: Csr<(), Tie>,
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Graph({} CIs, {} ties)", self.topology.cis().len(), self.dependencies.edge_count())
    }
}

impl Default for Graph {
    fn default() -> Self {
        Graph::new(Topology::default())
    }
}

impl Graph {
    /// The graph of a topology. Takes `O((n + m) log m)` for n CIs and m relationships.
    #[must_use]
    pub fn new(topology: Topology) -> Self {
        let (ties, groups) = ties(&topology);
        let nodes = topology.cis().len();
        let mut reversed: Vec<(u32, u32, Tie)> = ties.iter().map(|&(from, to, tie)| (to, from, tie)).collect();
        reversed.sort_unstable_by_key(|&(from, to, _)| (from, to));
        let names = Names::new(topology.cis());
        let (services, service_of) = number_services(topology.cis());
        let (dependencies, dependents) = (csr(nodes, &ties), csr(nodes, &reversed));
        Graph { topology, names, services, service_of, groups, dependencies, dependents }
    }

    /// The topology it was made from.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The index of a CI.
    #[must_use]
    pub fn find(&self, id: &CiId) -> Option<CiIx> {
        index(&self.topology, id)
    }

    /// The CI at an index of this graph.
    #[must_use]
    pub fn ci(&self, ix: CiIx) -> &Ci {
        &self.topology.cis()[ix.at()]
    }

    /// How many CIs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.topology.cis().len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names CIs are known by.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The CIs this one depends on directly.
    #[must_use]
    pub fn dependencies_of(&self, ix: CiIx) -> &[u32] {
        self.dependencies.neighbors_slice(ix.0)
    }

    /// The alternatives this CI depends on (its replicas, as a rule), each with a number that those of one group share.
    pub fn alternatives_of(&self, ix: CiIx) -> impl Iterator<Item = (CiIx, u32)> {
        let ties = self.dependencies.neighbors_slice(ix.0).iter().zip(self.dependencies.edges_slice(ix.0));
        ties.filter_map(|(&dependency, &tie)| match tie {
            Tie::Hard => None,
            Tie::Alternative(group) => Some((CiIx(dependency), group)),
        })
    }

    /// The CIs that depend on this one directly.
    #[must_use]
    pub fn dependents_of(&self, ix: CiIx) -> &[u32] {
        self.dependents.neighbors_slice(ix.0)
    }
}

/// CIs are in order of their ids, so a binary search finds one.
fn index(topology: &Topology, id: &CiId) -> Option<CiIx> {
    let at = topology.cis().binary_search_by(|ci| ci.id.cmp(id)).ok()?;
    u32::try_from(at).ok().map(CiIx)
}

/// One tie for each pair of CIs, sorted, and the groups of alternatives they refer to.
fn ties(topology: &Topology) -> (Vec<(u32, u32, Tie)>, Vec<Group>) {
    let mut groups: Vec<Group> = Vec::new();
    let mut group_of: BTreeMap<(&CiId, &str), u32> = BTreeMap::new();
    let mut ties: BTreeMap<(u32, u32), Tie> = BTreeMap::new();
    for relationship in topology.relationships() {
        let (Some(from), Some(to)) = (index(topology, &relationship.from), index(topology, &relationship.to)) else {
            continue;
        };
        let tie = match &relationship.redundancy {
            None => Tie::Hard,
            Some(name) => Tie::Alternative(*group_of.entry((&relationship.from, name)).or_insert_with(|| {
                groups.push(Group { members: 0, at_least: 1 });
                u32::try_from(groups.len() - 1).unwrap_or(u32::MAX)
            })),
        };
        // A hard tie between the same two outweighs an alternative, whichever comes first.
        ties.entry((from.0, to.0))
            .and_modify(|kept| *kept = if *kept == Tie::Hard { Tie::Hard } else { tie })
            .or_insert(tie);
    }
    for tie in ties.values() {
        if let Tie::Alternative(group) = tie {
            groups[*group as usize].members += 1;
        }
    }
    for redundancy in topology.redundancies() {
        if let Some(&group) = group_of.get(&(&redundancy.ci, redundancy.name.as_str())) {
            groups[group as usize].at_least = redundancy.at_least;
        }
    }
    (ties.into_iter().map(|((from, to), tie)| (from, to, tie)).collect(), groups)
}

fn csr(nodes: usize, sorted: &[(u32, u32, Tie)]) -> Csr<(), Tie> {
    let mut graph = Csr::from_sorted_edges(sorted).expect("the ties are sorted and each pair stands once");
    while graph.node_count() < nodes {
        graph.add_node(());
    }
    graph
}

/// Working memory of walks, reused from one to the next so that a walk costs what it visits and not the whole graph.
#[derive(Debug, Default)]
pub struct Scratch {
    epoch: u32,
    seen: Vec<u32>,
    group_epoch: Vec<u32>,
    group_failed: Vec<u32>,
    pub(crate) queue: Vec<Step>,
}

/// One CI reached by a walk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) ci: u32,
    pub(crate) hops: u32,
    pub(crate) via: u32,
    pub(crate) weight: f64,
}

impl Scratch {
    /// Starts a walk over `graph`.
    pub(crate) fn begin(&mut self, graph: &Graph) {
        self.queue.clear();
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 || self.seen.len() != graph.len() || self.group_epoch.len() != graph.groups.len() {
            self.epoch = 1;
            self.seen = vec![0; graph.len()];
            self.group_epoch = vec![0; graph.groups.len()];
            self.group_failed = vec![0; graph.groups.len()];
        }
    }

    /// True the first time a CI is met in this walk.
    pub(crate) fn meet(&mut self, ci: u32) -> bool {
        let seen = &mut self.seen[ci as usize];
        let first = *seen != self.epoch;
        *seen = self.epoch;
        first
    }

    /// True when the CI was met in this walk.
    pub(crate) fn met(&self, ci: u32) -> bool {
        self.seen[ci as usize] == self.epoch
    }

    /// Counts one more failed alternative of a group; the count so far in this walk.
    pub(crate) fn fail_one(&mut self, group: u32) -> u32 {
        let group = group as usize;
        if self.group_epoch[group] != self.epoch {
            self.group_epoch[group] = self.epoch;
            self.group_failed[group] = 0;
        }
        self.group_failed[group] += 1;
        self.group_failed[group]
    }
}
