//! The storm is the same for each seed, its truth agrees with the graph, and every body is well formed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quell_domain::{CiId, Source, Timestamp, Topology};

use super::*;
use crate::estate::sample_estate;

fn storm(seed: u64) -> Storm {
    demo_storm(&sample_estate(), StormOptions { seed, start: Timestamp::from_seconds(1_800_000_000), pace: 20.0 })
}

/// The CIs that depend on `root`, over any number of hops.
fn dependents_of(topology: &Topology, root: &CiId) -> BTreeSet<CiId> {
    let of = spread::dependents(topology);
    let mut seen = BTreeSet::from([root.clone()]);
    let mut queue = VecDeque::from([root.clone()]);
    while let Some(ci) = queue.pop_front() {
        for relationship in of.get(&ci).into_iter().flatten() {
            if seen.insert(relationship.from.clone()) {
                queue.push_back(relationship.from.clone());
            }
        }
    }
    seen
}

#[test]
fn the_same_seed_gives_the_same_storm() {
    assert_eq!(storm(7), storm(7));
    assert_ne!(storm(7).posts, storm(8).posts);
}

#[test]
fn every_alert_of_a_fault_is_about_the_root_its_parts_or_its_dependents() {
    let estate = sample_estate();
    for seed in 0..20 {
        for fault in storm(seed).faults {
            let reached = dependents_of(&estate, &fault.root);
            let parts: BTreeSet<&CiId> =
                estate.relationships().iter().filter(|r| r.from == fault.root).map(|r| &r.to).collect();
            assert!(fault.alerts.len() >= 3, "{}: {} alerts", fault.name, fault.alerts.len());
            assert!(fault.alerts.values().any(|ci| *ci == fault.root), "{}: nothing at its root", fault.name);
            for ci in fault.alerts.values() {
                assert!(reached.contains(ci) || parts.contains(ci), "{}: {ci} does not depend on it", fault.name);
            }
        }
    }
}

#[test]
fn an_alert_belongs_to_one_fault_or_to_none() {
    let storm = storm(7);
    let mut owner: BTreeMap<_, &str> = BTreeMap::new();
    for fault in &storm.faults {
        for fingerprint in fault.alerts.keys() {
            assert!(!storm.noise.contains(fingerprint));
            assert_eq!(owner.insert(*fingerprint, &fault.name), None, "{fingerprint} is in two faults");
        }
    }
}

#[test]
fn every_body_decodes_without_rejects_and_names_only_known_alerts() {
    for seed in 0..5 {
        let storm = storm(seed);
        let known: BTreeSet<_> =
            storm.faults.iter().flat_map(|f| f.alerts.keys()).chain(&storm.noise).copied().collect();
        for post in &storm.posts {
            let batch = decode(post.source, post.body.as_bytes());
            assert!(batch.rejects.is_empty(), "{:?} in {}", batch.rejects, post.body);
            assert_eq!(batch.items().len(), post.alerts);
            assert!(batch.items().iter().all(|item| known.contains(&item.fingerprint)));
        }
    }
}

#[test]
fn it_is_a_storm() {
    let storm = storm(7);
    let distinct = storm.faults.iter().map(|f| f.alerts.len()).sum::<usize>() + storm.noise.len();
    assert_eq!(storm.faults.len(), SCRIPTS.len());
    assert!(distinct >= 60, "{distinct} distinct alerts");
    assert!(storm.received() >= 10 * distinct, "{} received, {distinct} distinct", storm.received());
    assert!(storm.posts.is_sorted_by(|a, b| a.at_seconds <= b.at_seconds));
    for source in Source::ALERTS {
        assert!(storm.posts.iter().any(|post| post.source == source), "{source}");
    }
}
