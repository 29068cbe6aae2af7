//! Where a record on a shared log comes from, so that one that was put there twice is recognised.
//!
//! A node that never heard whether its record landed puts it there again under the same number. Absent on purpose: how
//! records travel, and what is done with a record that was seen before (the shell passes over it).

use std::collections::BTreeSet;

/// Which of whose records this is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Origin {
    /// One run of one node on one stream: drawn anew at each of its starts.
    pub node: u64,
    /// The record's number among those of that run for one shard, counted from 1.
    pub sequence: u64,
}

/// Numbers below the greatest that may be remembered as not seen yet. Records in flight together are fewer by far.
pub const GAPS: usize = 4096;

/// Which records of one run of a node were seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The run.
    pub node: u64,
    /// The greatest number seen.
    pub greatest: u64,
    /// Smaller numbers not seen yet, at most [`GAPS`]; of more the smallest count as seen.
    pub missing: BTreeSet<u64>,
}

impl Seen {
    /// Nothing of a run.
    #[must_use]
    pub const fn nothing(node: u64) -> Self {
        Seen { node, greatest: 0, missing: BTreeSet::new() }
    }

    /// Notes a record; true when it was not seen before.
    pub fn note(&mut self, sequence: u64) -> bool {
        if sequence <= self.greatest {
            return self.missing.remove(&sequence);
        }
        let gap = self.greatest + 1..sequence;
        let kept = sequence.saturating_sub(GAPS as u64).max(gap.start);
        self.missing.extend(kept..gap.end);
        while self.missing.len() > GAPS {
            self.missing.pop_first();
        }
        self.greatest = sequence;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sequences: &[u64], new: &[bool]) {
        let mut seen = Seen::nothing(1);
        let found: Vec<bool> = sequences.iter().map(|sequence| seen.note(*sequence)).collect();
        assert_eq!(found, new, "{sequences:?}");
    }

    #[test]
    fn each_record_is_new_once() {
        check(&[1, 2, 2, 3, 1], &[true, true, false, true, false]);
        check(&[1, 4, 3, 2, 3, 5], &[true, true, true, true, false, true]);
    }

    #[test]
    fn gaps_are_bounded() {
        let mut seen = Seen::nothing(1);
        assert!(seen.note(10_000_000));
        assert_eq!(seen.missing.len(), GAPS);
        assert!(seen.note(9_999_999), "the greatest gaps are kept");
        assert!(!seen.note(1), "the smallest count as seen");
    }
}
