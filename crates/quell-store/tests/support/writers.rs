//! What every store promises its writer beside what is in a commit.
//!
//! Absent on purpose: who the writer is.

use std::time::Duration;

use quell_domain::{CiId, Outcome, Position, Shard, Verdict};
use quell_engine::{ChangeRow, Effects};
use quell_store::{ChangeQuery, Store};

use super::*;

const SHARD: Shard = Shard::FIRST;

pub(crate) async fn a_dropped_commit_leaves_the_writer_usable(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let many = Effects { alerts: (1..3_000).map(alert).map(put).collect(), ..Effects::default() };
    {
        let commit = std::pin::pin!(writer.try_commit(many, None));
        let dropped = tokio::time::timeout(Duration::from_millis(1), commit).await;
        assert!(dropped.is_err(), "3,000 rows take longer than a millisecond");
    }
    writer.commit(Effects { alerts: vec![put(alert(5_000))], ..Effects::default() }).await;
    assert_eq!(restored(store).await.snapshot.alerts, [alert(5_000)]);
}

pub(crate) async fn outcomes_are_kept_for_replays(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let outcome = |command, verdict| Outcome { command: Position(command), after: Position(90), verdict };
    let all = vec![
        outcome(1, Verdict::Done),
        outcome(2, Verdict::Unchanged),
        outcome(3, Verdict::NotFound),
        outcome(4, Verdict::Refused),
    ];
    writer.commit(Effects { outcomes: all.clone(), ..Effects::default() }).await;
    assert_eq!(store.outcomes(SHARD, Position(0), 9).await.expect("read"), all);
    assert_eq!(store.outcomes(SHARD, Position(1), 1).await.expect("read"), all[1..2]);
}

/// A text that some databases cannot hold as it is, and one that is longer than an ordered index of theirs takes.
pub(crate) async fn texts_of_any_character_are_kept_and_found(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let odd = "a\0b\u{1a}c\u{1a}0\u{ffff}é";
    // Not a repetition: a database may pack those before it looks at the length.
    let long: String =
        (0..4_000_u64).map(|n| char::from(b'a' + u8::try_from(n * n * 31 % 26).expect("small"))).collect();
    let bound = |name: &str, id| {
        let mut alert = alert(id);
        alert.unbound = None;
        alert.labels = Labels::new([("odd", odd), (odd, "label")]);
        alert.binding.as_mut().expect("it is bound").ci = CiId::new(name);
        alert
    };
    let mut titled = incident(1);
    (titled.title, titled.acknowledged_by) = (odd.to_owned(), Some(odd.to_owned()));
    titled.causes[0].ci = CiId::new(odd);
    let mut told = notice(1, 0);
    (told.title, told.cause) = (odd.to_owned(), Some(CiId::new(odd)));
    let mut said = entry(1, "said");
    said.actor = odd.to_owned();
    let named = |name: &str, position| {
        let mut change = change(position);
        change.binding.as_mut().expect("an odd one is bound").ci = CiId::new(name);
        change.summary = odd.to_owned();
        change
    };
    let changes = [named(odd, 1), named(&long, 3)];
    let effects = Effects {
        alerts: vec![put(bound(odd, 1)), put(bound(&long, 2))],
        incidents: vec![titled.clone()],
        timeline: vec![said.clone()],
        notices: vec![told.clone()],
        changes: changes.iter().map(|change| ChangeRow::Put(Box::new(change.clone()))).collect(),
        ..Effects::default()
    };
    writer.commit(effects).await;
    let snapshot = restored(store).await.snapshot;
    assert_eq!(snapshot.alerts, [bound(odd, 1), bound(&long, 2)]);
    assert_eq!(snapshot.incidents, [titled]);
    assert_eq!(snapshot.changes, changes);
    assert_eq!(store.incident(SHARD, incident_id(1), 0).await.expect("read").expect("there").timeline, [said]);
    let due = store.due(SHARD, "one", at(0), 9).await.expect("read");
    assert_eq!(due[0].notice, told);
    store.failed(&due[0].id, at(0), odd, None).await.expect("noted");
    for change in changes {
        let ci = change.binding.as_ref().map(|binding| binding.ci.clone());
        let query = ChangeQuery { ci, limit: 9, ..ChangeQuery::default() };
        assert_eq!(store.change_events(SHARD, query).await.expect("read").items, [change]);
    }
}
