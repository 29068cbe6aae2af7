//! An immutable snapshot of a topology, ready to be walked in both directions.
//!
//! Absent on purpose: changing it; a new topology is a new graph.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use petgraph::csr::Csr;
use quell_domain::{Ci, CiId, Layer, Relationship, ServiceAtRisk, Timestamp, Topology};

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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tie {
    /// It degrades when the dependency fails.
    Hard,
    /// The dependency is one of several alternatives: an index into [`Graph::groups`].
    Alternative(u32),
    /// It is an alternative in more than one group: an index into [`Graph::several`].
    Several(u32),
}

/// A tie, what it is made of, and how fresh it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Edge {
    pub(crate) tie: Tie,
    /// The dependent stands on the dependency: one of the two can be touched, or a relationship says so.
    pub(crate) footing: bool,
    /// An index into [`Graph::seen`]; [`NEVER_STALE`] where nothing wears out.
    pub(crate) seen: u32,
}

/// What [`Edge::seen`] says of a tie that holds until somebody says otherwise.
pub(crate) const NEVER_STALE: u32 = u32::MAX;

/// When a tie was last seen and from when on it is stale.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Seen {
    pub(crate) stale_from: Timestamp,
    pub(crate) last_seen: Timestamp,
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
    pub(crate) several: Vec<Vec<u32>>,
    /// Each instant once: an import stamps many relationships with the same one.
    pub(crate) seen: Vec<Seen>,
    /// dependent → dependency
    pub(crate) dependencies: Csr<(), Edge>,
    /// dependency → dependent
    pub(crate) dependents: Csr<(), Edge>,
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
        let names = Names::new(topology.cis());
        let Ties { mut list, groups, several, seen } = Ties::of(&topology, &names);
        let nodes = topology.cis().len();
        let dependencies = csr(nodes, &list);
        list.iter_mut().for_each(|(from, to, _)| std::mem::swap(from, to));
        list.sort_unstable_by_key(|&(from, to, _)| (from, to));
        let dependents = csr(nodes, &list);
        let (services, service_of) = number_services(topology.cis());
        Graph { topology, names, services, service_of, groups, several, seen, dependencies, dependents }
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
        let edges = self.dependencies.neighbors_slice(ix.0).iter().zip(self.dependencies.edges_slice(ix.0));
        edges.flat_map(|(&dependency, edge)| {
            self.groups_of(&edge.tie).iter().map(move |&group| (CiIx(dependency), group))
        })
    }

    /// The CIs of which this one is an alternative: what it is a replica of, or what can do with another one in its
    /// place.
    pub fn wholes_of(&self, ix: CiIx) -> impl Iterator<Item = CiIx> {
        let edges = self.dependents.neighbors_slice(ix.0).iter().zip(self.dependents.edges_slice(ix.0));
        edges.filter(|(_, edge)| edge.tie != Tie::Hard).map(|(&whole, _)| CiIx(whole))
    }

    /// The groups a tie belongs to; none for a hard one.
    pub(crate) fn groups_of<'a>(&'a self, tie: &'a Tie) -> &'a [u32] {
        match tie {
            Tie::Hard => &[],
            Tie::Alternative(group) => std::slice::from_ref(group),
            Tie::Several(at) => &self.several[*at as usize],
        }
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

/// One tie for each pair of CIs, sorted, and what they refer to.
#[derive(Default)]
struct Ties {
    list: Vec<(u32, u32, Edge)>,
    groups: Vec<Group>,
    several: Vec<Vec<u32>>,
    seen: Vec<Seen>,
}

impl Ties {
    /// Relationships and redundancies are in the order of the CIs, which are numbered in that order.
    fn of(topology: &Topology, names: &Names) -> Ties {
        let mut ties = Ties { list: Vec::with_capacity(topology.relationships().len()), ..Ties::default() };
        let mut instants = BTreeMap::new();
        let physical: Vec<bool> = topology.cis().iter().map(|ci| ci.layer() == Layer::Physical).collect();
        let mut redundancies = topology.redundancies().iter().peekable();
        for of_one in topology.relationships().chunk_by(|a, b| a.from == b.from) {
            let Some(from) = of_one.first().map(|r| &r.from) else { continue };
            let Some(from_ix) = names.id(from) else { continue };
            let mut named: Vec<(&str, u32)> = Vec::new();
            for of_two in of_one.chunk_by(|a, b| a.to == b.to) {
                let Some(to_ix) = of_two.first().and_then(|r| names.id(&r.to)) else { continue };
                let tie = ties.tie(of_two, &mut named);
                let seen = ties.seen(of_two, &mut instants);
                let touched = physical[from_ix.at()] || physical[to_ix.at()];
                let footing = touched || of_two.iter().any(Relationship::is_footing);
                ties.list.push((from_ix.0, to_ix.0, Edge { tie, footing, seen }));
            }
            while let Some(redundancy) = redundancies.next_if(|redundancy| redundancy.ci <= *from) {
                if let Some((_, group)) =
                    named.iter().find(|(name, _)| redundancy.ci == *from && *name == redundancy.name)
                {
                    ties.groups[*group as usize].at_least = redundancy.at_least;
                }
            }
        }
        ties
    }

    /// The tie between two CIs. A hard one outweighs alternatives, and is still one of their number.
    fn tie<'a>(&mut self, of_two: &'a [Relationship], named: &mut Vec<(&'a str, u32)>) -> Tie {
        let mut groups: Vec<u32> = Vec::new();
        for name in of_two.iter().filter_map(|r| r.redundancy.as_deref()) {
            let group = named.iter().find(|(known, _)| *known == name).map(|&(_, group)| group);
            let group = group.unwrap_or_else(|| {
                let group = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
                self.groups.push(Group { members: 0, at_least: 1 });
                named.push((name, group));
                group
            });
            if !groups.contains(&group) {
                self.groups[group as usize].members += 1;
                groups.push(group);
            }
        }
        match groups[..] {
            _ if of_two.iter().any(|r| r.redundancy.is_none()) => Tie::Hard,
            [group] => Tie::Alternative(group),
            _ => {
                self.several.push(groups);
                Tie::Several(u32::try_from(self.several.len() - 1).unwrap_or(u32::MAX))
            }
        }
    }

    /// The freshest of the relationships between two CIs says how fresh their tie is.
    fn seen(&mut self, of_two: &[Relationship], instants: &mut BTreeMap<Seen, u32>) -> u32 {
        let seen = |r: &Relationship| Some(Seen { stale_from: r.stale_from()?, last_seen: r.last_seen? });
        let freshest = of_two.iter().map(seen).reduce(|a, b| Some(a?.max(b?)));
        let Some(Some(freshest)) = freshest else { return NEVER_STALE };
        *instants.entry(freshest).or_insert_with(|| {
            self.seen.push(freshest);
            u32::try_from(self.seen.len() - 1).unwrap_or(NEVER_STALE)
        })
    }
}

fn csr(nodes: usize, sorted: &[(u32, u32, Edge)]) -> Csr<(), Edge> {
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
