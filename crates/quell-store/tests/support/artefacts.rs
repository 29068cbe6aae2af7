//! What every store promises of artefacts: which was in force when, and which may go.
//!
//! Absent on purpose: what is in them.

use quell_domain::{Activation, ArtefactKind, Digest, Position, Shard, Sharding, Timestamp};
use quell_engine::Effects;
use quell_store::{Store, Version};

use super::Writer;

const SHARD: Shard = Shard::FIRST;

pub(crate) async fn artefacts_are_kept_by_digest(store: &dyn Store) {
    let (digest, kind) = (Digest([7; 32]), ArtefactKind::Rules);
    assert_eq!(store.artefact(kind, digest).await.expect("read"), None);
    for _ in 0..2 {
        store.put_artefact(kind, digest, b"bytes").await.expect("kept");
    }
    assert_eq!(store.artefact(kind, digest).await.expect("read"), Some(b"bytes".to_vec()));
    assert_eq!(store.artefact(ArtefactKind::Topology, digest).await.expect("read"), None);
}

pub(crate) async fn versions_say_what_was_in_force_when(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let version = |position, seconds, kind| Version {
        position: Position(position),
        at: Timestamp::from_seconds(seconds),
        activation: Activation { kind, digest: Digest([u8::try_from(position).expect("small"); 32]) },
    };
    let (topology, rules) = (ArtefactKind::Topology, ArtefactKind::Rules);
    let [a, b, c, other] =
        [version(1, 10, topology), version(2, 20, topology), version(3, 20, topology), version(4, 15, rules)];
    writer.activations = vec![a, b, other];
    writer.commit(Effects::default()).await;
    // Decided again after a crash: nothing is told twice.
    writer.activations = vec![b, c];
    writer.commit(Effects::default()).await;
    let at = |kind, seconds, limit| store.versions(SHARD, kind, Timestamp::from_seconds(seconds), limit);
    assert_eq!(at(topology, 9, 9).await.expect("read"), []);
    assert_eq!(at(topology, 10, 9).await.expect("read"), [a]);
    assert_eq!(at(topology, 99, 9).await.expect("read"), [c, b, a]);
    assert_eq!(at(topology, 20, 1).await.expect("read"), [c]);
    assert_eq!(at(rules, 99, 9).await.expect("read"), [other]);
    let elsewhere = Shard { tenant: 0, number: 9 };
    assert_eq!(store.versions(elsewhere, topology, Timestamp::MAX, 9).await.expect("read"), []);
}

pub(crate) async fn superseded_artefacts_go_and_what_a_kept_record_needs_stays(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let kind = ArtefactKind::Learned;
    let digest = |n: u8| Digest([n; 32]);
    let version = |n: u8| Version {
        position: Position(u64::from(n) * 10),
        at: Timestamp::from_seconds(i64::from(n)),
        activation: Activation { kind, digest: digest(n) },
    };
    // The fifth is in force by the checkpoint, the sixth never came into force.
    for n in 1..=6 {
        store.put_artefact(kind, digest(n), &[n]).await.expect("kept");
        store.put_artefact(ArtefactKind::Rules, digest(n), &[n]).await.expect("kept");
    }
    writer.activations = (1..=5).map(version).collect();
    writer.commit(Effects::default()).await;
    let left = async || {
        let mut left = Vec::new();
        for n in 1..=6 {
            left.extend(store.artefact(kind, digest(n)).await.expect("read").into_iter().flatten());
        }
        left
    };
    let drop = |before| store.drop_superseded(SHARD, kind, Position(before));
    assert_eq!(drop(9).await.expect("done"), 1, "only what nothing names");
    assert_eq!(left().await, [1, 2, 3, 4, 5]);
    assert_eq!(drop(29).await.expect("done"), 1, "the second is in force until the third");
    assert_eq!(left().await, [2, 3, 4, 5]);
    assert_eq!(drop(30).await.expect("done"), 1, "the third comes with the first record that is kept");
    assert_eq!(left().await, [3, 4, 5]);
    let versions = store.versions(SHARD, kind, Timestamp::MAX, 9).await.expect("read");
    assert_eq!(versions, [version(5), version(4), version(3)]);
    assert_eq!(drop(1_000).await.expect("done"), 2);
    assert_eq!(drop(1_000).await.expect("done"), 0);
    assert_eq!(left().await, [5]);
    for n in 1..=6 {
        assert!(store.artefact(ArtefactKind::Rules, digest(n)).await.expect("read").is_some(), "of another kind");
    }
}

pub(crate) async fn of_several_shards_only_what_was_superseded_goes(store: &dyn Store) {
    let sharding = Sharding::by("region", 3).expect("good");
    assert_eq!(store.keep_sharding(&sharding).await.expect("kept"), sharding);
    let (mut writer, _) = Writer::take_over(store).await;
    let kind = ArtefactKind::Learned;
    let version = |n: u8| Version {
        position: Position(u64::from(n) * 10),
        at: Timestamp::from_seconds(i64::from(n)),
        activation: Activation { kind, digest: Digest([n; 32]) },
    };
    // The third waits to be put in force in another shard.
    for n in 1..=3 {
        store.put_artefact(kind, Digest([n; 32]), &[n]).await.expect("kept");
    }
    writer.activations = vec![version(1), version(2)];
    writer.commit(Effects::default()).await;
    assert_eq!(store.drop_superseded(SHARD, kind, Position(25)).await.expect("done"), 1);
    assert_eq!(store.artefact(kind, Digest([1; 32])).await.expect("read"), None);
    assert_eq!(store.artefact(kind, Digest([3; 32])).await.expect("read"), Some(vec![3]));
}

pub(crate) async fn the_sharding_is_kept_once(store: &dyn Store) {
    assert_eq!(store.sharding().await.expect("read"), None);
    let sharding = Sharding::by("region", 3).expect("good");
    assert_eq!(store.keep_sharding(&sharding).await.expect("kept"), sharding);
    for later in [Sharding::ONE, Sharding::by("region", 4).expect("good"), Sharding::by("cluster", 3).expect("good")] {
        assert_eq!(store.keep_sharding(&later).await.expect("kept"), sharding);
    }
    assert_eq!(store.sharding().await.expect("read"), Some(sharding));
}
