//! How far a live stream is: of each shard, the number of the last change that was told. This is what an event's id says,
//! and what a client that comes back says it has seen.
//!
//! With one shard an id is that number; with several, the numbers of those that have one: `0:12,2:7`.
//!
//! Absent on purpose: reading changes and telling them (`stream`).

use std::fmt;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen(Vec<u64>);

impl Seen {
    /// Nothing, of that many shards.
    pub(crate) fn nothing(shards: u32) -> Seen {
        Seen(vec![0; shards as usize])
    }

    /// Reads an id; `None` when there is no such id of that many shards.
    pub(crate) fn read(text: &str, shards: u32) -> Option<Seen> {
        let mut seen = Seen::nothing(shards);
        if shards == 1 {
            seen.0[0] = text.parse().ok()?;
            return Some(seen);
        }
        let mut next = 0;
        for part in text.split(',') {
            let (shard, number) = part.split_once(':')?;
            let (shard, number): (usize, u64) = (shard.parse().ok()?, number.parse().ok()?);
            if shard < next {
                return None;
            }
            *seen.0.get_mut(shard)? = number;
            next = shard + 1;
        }
        Some(seen)
    }

    /// The last number of a shard.
    pub(crate) fn of(&self, shard: u32) -> u64 {
        self.0.get(shard as usize).copied().unwrap_or(0)
    }

    /// A change was told; false when it was before.
    pub(crate) fn tell(&mut self, shard: u32, number: u64) -> bool {
        match self.0.get_mut(shard as usize) {
            Some(last) if *last < number => {
                *last = number;
                true
            }
            _ => false,
        }
    }

    /// What is seen of either.
    pub(crate) fn and(&self, other: &Seen) -> Seen {
        Seen(self.0.iter().zip(&other.0).map(|(one, other)| *one.max(other)).collect())
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [number] = self.0.as_slice() {
            return number.fmt(f);
        }
        let known = self.0.iter().enumerate().filter(|(_, number)| **number > 0);
        for (at, (shard, number)) in known.enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            write!(f, "{shard}:{number}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shards: u32, text: &str, expected: Option<&[u64]>) {
        let seen = Seen::read(text, shards);
        assert_eq!(seen.as_ref().map(|seen| seen.0.as_slice()), expected, "{text} of {shards}");
        if let Some(seen) = seen {
            assert_eq!(Seen::read(&seen.to_string(), shards), Some(seen), "{text} of {shards}");
        }
    }

    #[test]
    fn an_id_says_the_last_number_of_each_shard() {
        check(1, "12", Some(&[12]));
        check(3, "0:12,2:7", Some(&[12, 0, 7]));
        check(3, "1:9", Some(&[0, 9, 0]));
        assert_eq!(Seen(vec![12, 0, 7]).to_string(), "0:12,2:7");
        for (shards, text) in [(1, ""), (1, "x"), (1, "0:12"), (3, "12"), (3, ""), (3, "3:1"), (3, "2:7,0:12")] {
            check(shards, text, None);
        }
        for text in ["0:1,0:2", "0:", ":1", "0:1,", "0:-1"] {
            check(3, text, None);
        }
    }

    #[test]
    fn what_was_told_is_not_told_again() {
        let mut seen = Seen::nothing(2);
        assert!(seen.tell(1, 5) && !seen.tell(1, 5) && !seen.tell(1, 4) && seen.tell(0, 1));
        assert_eq!((seen.of(0), seen.of(1)), (1, 5));
        assert!(!seen.tell(2, 1), "there is no such shard");
        assert_eq!(seen.and(&Seen(vec![3, 4])), Seen(vec![3, 5]));
    }
}
