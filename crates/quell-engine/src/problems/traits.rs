//! What an incident looks like, and how like it is to those of a signature.
//!
//! Of many alerts those with the least hashes are kept (a bottom-k sketch: Broder, "On the resemblance and containment
//! of documents", 1997), so that what is kept of two storms can be compared whatever order their alerts came in. An
//! alert that is in most incidents of a signature counts for more than one that was in one of them.
//! Absent on purpose: what follows from a likeness (`recognise`).

use std::collections::BTreeMap;

use quell_cmdb::Graph;
use quell_domain::{KnownSignature, Sign, Traits};

use crate::engine::Engine;

/// Alerts kept of one incident.
pub(super) const SIGNS: usize = 32;
/// Words kept of one incident.
pub(super) const WORDS: usize = 24;
/// Alerts of an incident that are looked at, the first ones.
const LOOKED: usize = 1024;

/// At least so like is the same trouble. With the weights below: the same alerts though another cause is judged, or the
/// same cause and about half of the alerts, and never only the same cause.
pub(super) const SAME: f64 = 0.6;
const OF_SIGNS: f64 = 0.55;
const OF_CAUSE: f64 = 0.30;
const OF_WORDS: f64 = 0.15;

/// FNV-1a of the parts, finished by the mixer of splitmix64 so that the least hashes are a fair draw: the same in every
/// build, because it is remembered.
pub(super) fn key(parts: [&str; 2]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts[0].bytes().chain([0xff]).chain(parts[1].bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// Keeps the least keys.
fn keep<V>(kept: &mut BTreeMap<u64, V>, most: usize, key: u64, value: impl FnOnce() -> V) {
    if kept.len() >= most && kept.last_key_value().is_some_and(|(&last, _)| key >= last) {
        return;
    }
    kept.entry(key).or_insert_with(value);
    if kept.len() > most {
        kept.pop_last();
    }
}

/// The words of a text that are the same whenever it is said: those without a digit.
fn words(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split(|c: char| !c.is_alphanumeric());
    let fixed = parts.filter(|word| word.len() > 1 && !word.chars().any(|c| c.is_ascii_digit()));
    fixed.map(str::to_lowercase)
}

impl Engine {
    /// What an incident looks like, and its alerts in words.
    pub(super) fn traits(&self, number: u64) -> (Traits, BTreeMap<u64, Sign>) {
        let Some(live) = self.incidents.get(&number) else { return Default::default() };
        let (mut signs, mut said) = (BTreeMap::new(), BTreeMap::new());
        for &slot in live.members.values().take(LOOKED) {
            let entry = self.alerts.get(slot);
            let labels = entry.labels.as_ref();
            let place = match entry.ci {
                Some(ci) => Some(self.graph.ci(ci).id.as_str()),
                None => labels.get("instance").or_else(|| labels.get("source")),
            };
            let alert = entry.name();
            keep(&mut signs, SIGNS, key([place.unwrap_or_default(), alert]), || Sign {
                place: place.map(str::to_owned),
                alert: alert.to_owned(),
            });
            let summary = entry.annotations.as_ref().get("summary").unwrap_or_default();
            for word in words(alert).chain(words(summary)) {
                keep(&mut said, WORDS, key(["", &word]), || ());
            }
        }
        let cause = live.row.causes.first().map(|cause| cause.ci.clone());
        (Traits { cause, signs: signs.keys().copied().collect(), words: said.into_keys().collect() }, signs)
    }
}

/// How like an incident is to those of a signature, 0 to 1; one that is still open may lack what is yet to come.
pub(super) fn likeness(graph: &Graph, traits: &Traits, known: &KnownSignature, open: bool) -> f64 {
    let many = known.cost.incidents;
    if many == 0 {
        return 0.0;
    }
    let share = |count: u32| (f64::from(count) / many as f64).min(1.0);
    let signs = soft(&traits.signs, known.signs.iter().map(|(&key, &(_, count))| (key, share(count))), SIGNS);
    let words = soft(&traits.words, known.words.iter().map(|(&key, &count)| (key, share(count))), WORDS);
    let measure = |soft: Soft| if open { soft.contained } else { soft.alike };
    let mut sum = OF_SIGNS * measure(signs);
    let mut weight = OF_SIGNS;
    if traits.cause.is_some() || !known.causes.is_empty() {
        sum += OF_CAUSE * cause(graph, traits, known, &share);
        weight += OF_CAUSE;
    }
    if !traits.words.is_empty() || !known.words.is_empty() {
        sum += OF_WORDS * measure(words);
        weight += OF_WORDS;
    }
    sum / weight
}

/// In what share of its incidents the cause was the same; one beside it in the graph counts half.
fn cause(graph: &Graph, traits: &Traits, known: &KnownSignature, share: &impl Fn(u32) -> f64) -> f64 {
    let Some(cause) = &traits.cause else { return 0.0 };
    let same = known.causes.get(cause).map_or(0.0, |&count| share(count));
    let Some(ix) = graph.find(cause) else { return same };
    let beside = |other: &&quell_domain::CiId| {
        let other = graph.find(other).map(|other| other.0);
        other
            .is_some_and(|other| graph.dependencies_of(ix).contains(&other) || graph.dependents_of(ix).contains(&other))
    };
    let near: f64 = known.causes.iter().filter(|(ci, _)| beside(ci)).map(|(_, &count)| share(count)).sum();
    (same + near / 2.0).min(1.0)
}

/// Two ways to compare a set with one whose members have shares.
#[derive(Clone, Copy)]
struct Soft {
    /// The lesser share of each over the greater, summed up: 1 for the same.
    alike: f64,
    /// The mean share of what is in the set.
    contained: f64,
}

/// Over the `most` least keys of both, which both have kept.
fn soft(ours: &[u64], theirs: impl Iterator<Item = (u64, f64)>, most: usize) -> Soft {
    let mut theirs = theirs.peekable();
    let mut ours = ours.iter().copied().peekable();
    let (mut less, mut greater, mut own, mut seen) = (0.0, 0.0, 0.0, 0);
    while seen < most {
        let (mine, share) = match (ours.peek().copied(), theirs.peek().copied()) {
            (None, None) => break,
            (Some(key), Some((other, share))) if key == other => {
                ours.next();
                theirs.next();
                (true, share)
            }
            (Some(key), other) if other.is_none_or(|(other, _)| key < other) => {
                ours.next();
                (true, 0.0)
            }
            (_, other) => {
                theirs.next();
                (false, other.map_or(0.0, |(_, share)| share))
            }
        };
        less += if mine { share } else { 0.0 };
        greater += if mine { 1.0 } else { share };
        own += f64::from(u8::from(mine));
        seen += 1;
    }
    let over = |sum: f64, all: f64| if all > 0.0 { sum / all } else { 0.0 };
    Soft { alike: over(less, greater), contained: over(less, own) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ours: &[u64], theirs: &[(u64, f64)], expected: (f64, f64)) {
        let found = soft(ours, theirs.iter().copied(), 4);
        assert_eq!((found.alike, found.contained), expected, "{ours:?} {theirs:?}");
    }

    #[test]
    fn sets_are_compared_by_what_both_have_kept() {
        check(&[1, 2], &[(1, 1.0), (2, 1.0)], (1.0, 1.0));
        check(&[1], &[(1, 1.0), (2, 1.0)], (0.5, 1.0));
        check(&[1, 3], &[(1, 0.5), (2, 0.5)], (0.2, 0.25));
        check(&[], &[], (0.0, 0.0));
        // Beyond the fourth key nobody knows what the other did not keep.
        check(&[1, 2, 3, 4, 9], &[(1, 1.0), (2, 1.0), (3, 1.0), (4, 1.0), (8, 1.0)], (1.0, 1.0));
    }

    #[test]
    fn words_that_change_each_time_are_left_out() {
        let found: Vec<String> = words("Disk 93% full on db-07, job 0xAF3: /var/lib").collect();
        assert_eq!(found, ["disk", "full", "on", "db", "job", "var", "lib"]);
    }

    #[test]
    fn the_least_keys_are_kept_whatever_the_order() {
        let mut orders = [[5, 1, 4, 2, 3], [1, 2, 3, 4, 5], [5, 4, 3, 2, 1]].map(|order| {
            let mut kept = BTreeMap::new();
            for n in order {
                keep(&mut kept, 3, n, || ());
            }
            kept.into_keys().collect::<Vec<_>>()
        });
        orders.sort();
        assert_eq!(orders, [[1, 2, 3], [1, 2, 3], [1, 2, 3]]);
    }
}
