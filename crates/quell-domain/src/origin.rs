//! Where a record on a shared log comes from, so that one that was put there twice is recognised.
//!
//! A node that never heard whether its record landed puts it there again under the same number. Absent on purpose: how
//! records travel, and from where on somebody looks.

use std::collections::BTreeMap;

/// Which of whose records this is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Origin {
    /// One run of one node: drawn anew at each of its starts.
    pub node: u64,
    /// The record's number among those of that run, counted from 1.
    pub sequence: u64,
}

/// Which records were seen, exactly: for each run the stretches of numbers, of which an orderly run has one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// The last number of each stretch, by run and first number.
    stretches: BTreeMap<(u64, u64), u64>,
}

impl Seen {
    /// Notes a record; true when it was not seen before.
    pub fn note(&mut self, origin: Origin) -> bool {
        let Origin { node, sequence } = origin;
        let mut first = sequence;
        if let Some((&(run, start), &last)) = self.stretches.range(..=(node, sequence)).next_back()
            && run == node
            && sequence <= last.saturating_add(1)
        {
            if sequence <= last {
                return false;
            }
            first = start;
        }
        // What lies right behind it belongs to the same stretch now.
        let behind = sequence.checked_add(1).and_then(|next| self.stretches.remove(&(node, next)));
        self.stretches.insert((node, first), behind.unwrap_or(sequence));
        true
    }

    /// How many stretches are kept: what this costs, and what its holder limits.
    #[must_use]
    pub fn stretches(&self) -> usize {
        self.stretches.len()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.stretches.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sequences: &[u64], new: &[bool], stretches: usize) {
        let mut seen = Seen::default();
        let found: Vec<bool> = sequences.iter().map(|&sequence| seen.note(Origin { node: 1, sequence })).collect();
        assert_eq!((found.as_slice(), seen.stretches()), (new, stretches), "{sequences:?}");
    }

    #[test]
    fn each_record_is_new_once() {
        check(&[1, 2, 2, 3, 1], &[true, true, false, true, false], 1);
        check(&[1, 4, 3, 2, 3, 5], &[true, true, true, true, false, true], 1);
        check(&[10_000_000, 7, 7, 10_000_000, 8], &[true, true, false, false, true], 2);
        check(&[u64::MAX, u64::MAX, 0], &[true, false, true], 2);
    }

    #[test]
    fn runs_do_not_touch_each_other() {
        let mut seen = Seen::default();
        for node in [2, 1, 3] {
            assert!(seen.note(Origin { node, sequence: 5 }) && !seen.note(Origin { node, sequence: 5 }));
        }
        assert!(seen.note(Origin { node: 2, sequence: 6 }) && seen.note(Origin { node: 2, sequence: 4 }));
        assert_eq!(seen.stretches(), 3);
        seen.clear();
        assert!(seen.note(Origin { node: 2, sequence: 5 }));
    }
}
