//! The parts of an estate: CIs that are connected at all, whatever the direction.
//!
//! Absent on purpose: how near they are.

use crate::graph::{CiIx, Graph};

/// Which part each CI belongs to, and how many CIs each has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Parts {
    of: Vec<u32>,
    sizes: Vec<u32>,
}

impl Parts {
    /// The parts of a graph, numbered by their first CI. Takes `O(n + m)`.
    #[must_use]
    pub fn new(graph: &Graph) -> Self {
        const NONE: u32 = u32::MAX;
        let mut parts = Parts { of: vec![NONE; graph.len()], sizes: Vec::new() };
        let mut open = Vec::new();
        for start in 0..u32::try_from(graph.len()).unwrap_or(NONE) {
            if parts.of[start as usize] != NONE {
                continue;
            }
            let part = u32::try_from(parts.sizes.len()).unwrap_or(NONE);
            parts.of[start as usize] = part;
            open.push(start);
            let mut size = 0;
            while let Some(ci) = open.pop() {
                size += 1;
                let ix = CiIx(ci);
                for &next in graph.dependencies_of(ix).iter().chain(graph.dependents_of(ix)) {
                    if parts.of[next as usize] == NONE {
                        parts.of[next as usize] = part;
                        open.push(next);
                    }
                }
            }
            parts.sizes.push(size);
        }
        parts
    }

    /// How many CIs a part has.
    #[must_use]
    pub fn size(&self, part: u32) -> u32 {
        self.sizes.get(part as usize).copied().unwrap_or(0)
    }

    /// The part of a CI, and how many CIs it has.
    #[must_use]
    pub fn of(&self, ix: CiIx) -> Option<(u32, u32)> {
        let part = *self.of.get(ix.0 as usize)?;
        Some((part, self.sizes[part as usize]))
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::{graph, ids};

    use super::*;

    #[test]
    fn connected_in_either_direction_is_one_part() {
        let graph = graph("a>b c>b d>e f>f");
        let parts = Parts::new(&graph);
        let part = |name: &str| parts.of(ids(&graph, name)[0]).expect("a CI");
        assert_eq!(part("a"), part("c"));
        assert_eq!((part("a").1, part("d").1, part("f").1), (3, 2, 1));
        assert_ne!(part("a").0, part("d").0);
        assert_eq!(parts.of(CiIx(99)), None);
    }
}
