//! What every store promises. Each promise is a function over a store; the list at the end runs them all on each
//! database: a SQLite file and a real PostgreSQL server.

mod support;

use quell_domain::{
    Alert, AlertId, AlertState, CiId, Feedback, Incident, IncidentState, Labels, Party, Position, Said, Severity,
    Shard, Source, Standing, Timestamp,
};
use quell_engine::{AlertChange, ChangeRow, Effects, Parked};
use quell_store::{AlertQuery, ChangeQuery, IncidentQuery, Positions, Store, StoreError};
use support::artefacts::*;
use support::episodes::*;
use support::forecasts::*;
use support::outbox::*;
use support::problems::*;
use support::writers::*;
use support::*;

const SHARD: Shard = Shard::FIRST;

async fn a_new_store_is_empty(store: &dyn Store) {
    let restored = restored(store).await;
    assert_eq!((restored.epoch, restored.positions), (1, Positions::default()));
    assert!(restored.snapshot.alerts.is_empty() && restored.snapshot.incidents.is_empty());
    assert_eq!(store.position(Shard { tenant: 5, number: 5 }).await.expect("read"), Default::default());
}

async fn what_is_committed_is_restored(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let mut bare = alert(2);
    (bare.binding, bare.unbound, bare.membership, bare.incident) = (None, None, None, None);
    (bare.ends_at, bare.closed_position, bare.state) = (None, None, AlertState::Stale);
    let mut plain = incident(2);
    (plain.resolved_at, plain.resolved_by, plain.acknowledged_at, plain.acknowledged_by) = (None, None, None, None);
    (plain.review_at, plain.causes) = (None, vec![]);
    let effects = Effects {
        alerts: vec![put(bare.clone()), put(alert(1))],
        incidents: vec![plain.clone(), incident(1)],
        ..Effects::default()
    };
    let committed = writer.commit(effects).await;
    let numbers: Vec<_> = committed.changes.iter().map(|change| (change.number, change.incident.number)).collect();
    assert_eq!(numbers, [(1, 1), (2, 2)]);
    let restored = restored(store).await;
    assert_eq!(restored.epoch, 2);
    let positions = Positions { applied: Position(10), folded: Position(0), commands: Position(3) };
    assert_eq!(restored.positions, positions);
    assert_eq!(restored.snapshot.checkpoint, checkpoint());
    assert_eq!(restored.snapshot.alerts, [alert(1), bare]);
    assert_eq!(restored.snapshot.incidents, [incident(1), plain]);
    assert_eq!(store.position(SHARD).await.expect("read"), (positions, checkpoint()));
}

async fn of_several_versions_the_last_is_written(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let (mut second, mut later) = (alert(1), incident(1));
    second.count = 8;
    later.title = "later".into();
    let effects = Effects {
        alerts: vec![put(alert(1)), put(alert(3)), put(second.clone()), AlertChange::Forget(alert(3).id)],
        incidents: vec![incident(1), later.clone()],
        ..Effects::default()
    };
    assert_eq!(writer.commit(effects).await.changes.len(), 1);
    let mut third = second.clone();
    third.state = AlertState::Ended;
    writer.commit(Effects { alerts: vec![put(third.clone())], ..Effects::default() }).await;
    let snapshot = restored(store).await.snapshot;
    assert_eq!((snapshot.alerts, snapshot.incidents), (vec![third], vec![later]));
}

async fn reasons_are_kept_when_a_later_version_gives_none(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let bare = |id| {
        let mut later = alert(id);
        (later.binding, later.unbound, later.membership, later.count) = (None, None, None, 9);
        later
    };
    let (mut bound, mut unbound) = (alert(1), alert(2));
    bound.unbound = None;
    (unbound.binding, unbound.unbound) = (None, Some(reason("no_match")));
    // In one commit, and over two.
    let alerts = vec![put(bound.clone()), put(bare(1)), put(unbound.clone())];
    writer.commit(Effects { alerts, ..Effects::default() }).await;
    writer.commit(Effects { alerts: vec![put(bare(2))], ..Effects::default() }).await;
    (bound.count, unbound.count) = (9, 9);
    assert_eq!(restored(store).await.snapshot.alerts, [bound.clone(), unbound]);
    // A binding and the reason for having none replace each other.
    let (mut writer, _) = Writer::take_over(store).await;
    let mut lost = bare(1);
    lost.unbound = Some(reason("no_topology"));
    writer.commit(Effects { alerts: vec![put(lost.clone())], ..Effects::default() }).await;
    lost.membership = bound.membership;
    assert_eq!(restored(store).await.snapshot.alerts[0], lost);
}

async fn many_rows_are_all_written(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let alerts: Vec<_> = (1..=1_300).map(alert).collect();
    let incidents: Vec<_> = (1..=700).map(incident).collect();
    let effects = Effects {
        alerts: alerts.iter().cloned().map(put).collect(),
        incidents: incidents.clone(),
        ..Effects::default()
    };
    writer.commit(effects).await;
    let folds: Vec<_> = (1..=1_100).map(fold).collect();
    writer.flush(&folds).await;
    let snapshot = restored(store).await.snapshot;
    assert_eq!(snapshot.incidents, incidents);
    let expected: Vec<_> =
        alerts.into_iter().map(|alert| if alert.id.0 <= 1_100 { folded(alert, &fold(1)) } else { alert }).collect();
    assert!(snapshot.alerts == expected, "all alerts, folded where a repeat came");
}

async fn a_flush_folds_and_moves_its_position(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let alerts = vec![put(alert(1)), put(alert(2)), put(alert(3))];
    writer.commit(Effects { alerts, ..Effects::default() }).await;
    let mut said = fold(2);
    said.said = Some((Severity::Info, Labels::new([("new", "words")]), 42));
    writer.flush(&[said.clone(), fold(1)]).await;
    let (positions, _) = store.position(SHARD).await.expect("read");
    assert_eq!((positions.applied, positions.folded), (Position(20), Position(20)));
    let expected = [folded(alert(1), &fold(1)), folded(alert(2), &said), alert(3)];
    assert_eq!(restored(store).await.snapshot.alerts, expected);
    let (mut writer, _) = Writer::take_over(store).await;
    writer.commit(Effects { alerts: vec![put(alert(1))], ..Effects::default() }).await;
    let found = restored(store).await;
    assert_eq!(found.snapshot.alerts[0], alert(1), "the whole row replaces what was folded");
    assert_eq!(found.positions.folded, Position(20), "only a flush moves it");
    let page = store.alerts(SHARD, AlertQuery { limit: 9, ..AlertQuery::default() }).await.expect("read");
    assert_eq!(page.items[1], expected[1], "readers see folds too");
}

async fn a_fenced_writer_changes_nothing(store: &dyn Store) {
    let (mut old, _) = Writer::take_over(store).await;
    let (mut new, _) = Writer::take_over(store).await;
    let effects = Effects { alerts: vec![put(alert(1))], notices: vec![notice(1, 0)], ..Effects::default() };
    let refused = old.try_commit(effects.clone(), None).await;
    assert!(matches!(refused, Err(StoreError::Fenced { epoch: 1, .. })), "{refused:?}");
    assert!(store.due(SHARD, "one", at(99), 9).await.expect("read").is_empty());
    new.commit(effects).await;
    assert_eq!(restored(store).await.snapshot.alerts, [alert(1)]);
}

async fn an_opening_position_opens_one_incident(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    writer.commit(Effects { incidents: vec![incident(1)], ..Effects::default() }).await;
    let mut twin = incident(2);
    twin.opened_position = incident(1).opened_position;
    let refused = writer.try_commit(Effects { incidents: vec![twin], ..Effects::default() }, None).await;
    assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{refused:?}");
    writer.commit(Effects { incidents: vec![incident(3)], ..Effects::default() }).await;
    assert_eq!(restored(store).await.snapshot.incidents, [incident(1), incident(3)]);
}

async fn what_is_let_go_of_is_history(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let mut ended = alert(7);
    (ended.state, ended.incident) = (AlertState::Ended, Some(incident_id(1)));
    let mut firing = alert(14);
    firing.incident = Some(incident_id(1));
    let mut over = incident(1);
    over.state = IncidentState::Resolved;
    let effects = Effects {
        alerts: vec![put(ended.clone()), put(firing.clone())],
        incidents: vec![over.clone(), incident(2)],
        timeline: vec![entry(1, "opened"), entry(2, "opened")],
        parked: vec![parked(5, 0)],
        ..Effects::default()
    };
    writer.commit(effects).await;
    assert_eq!(
        store.forget_before(SHARD, at(5_000)).await.expect("forgets"),
        1,
        "only what was parked: all is in hand"
    );
    writer.commit(Effects { forgotten: vec![incident_id(1)], ..Effects::default() }).await;
    let snapshot = restored(store).await.snapshot;
    assert_eq!((snapshot.alerts, snapshot.incidents), (vec![firing], vec![incident(2)]));
    let detail = store.incident(SHARD, incident_id(1), 9).await.expect("read").expect("still history");
    assert_eq!((detail.incident, detail.alerts.len(), detail.timeline), (over, 2, vec![entry(1, "opened")]));
    assert_eq!(store.forget_before(SHARD, at(12)).await.expect("forgets"), 0, "not yet old");
    assert_eq!(store.forget_before(SHARD, at(5_000)).await.expect("forgets"), 2);
    assert!(store.incident(SHARD, incident_id(1), 9).await.expect("read").is_none());
    assert_eq!(store.episodes(SHARD, ended.fingerprint, Position(999)).await.expect("read"), []);
    assert!(store.incident(SHARD, incident_id(2), 9).await.expect("read").is_some());
}

async fn an_alert_of_no_incident_is_let_go_of_and_then_forgotten(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let unplaced = |id| {
        let mut alert = alert(id);
        (alert.incident, alert.state, alert.ends_at) = (None, AlertState::Ended, Some(at(11)));
        alert
    };
    // Its last row and the letting go in one commit, and over two.
    let alerts = vec![put(unplaced(1)), AlertChange::LetGo(alert(1).id), put(unplaced(2)), put(unplaced(3))];
    writer.commit(Effects { alerts, ..Effects::default() }).await;
    writer.commit(Effects { alerts: vec![AlertChange::LetGo(alert(2).id)], ..Effects::default() }).await;
    assert_eq!(restored(store).await.snapshot.alerts, [unplaced(3)]);
    let listed = store.alerts(SHARD, AlertQuery { limit: 9, ..AlertQuery::default() }).await.expect("read");
    assert_eq!(listed.items, [unplaced(3), unplaced(2), unplaced(1)], "still history");
    assert_eq!(store.forget_before(SHARD, at(12)).await.expect("forgets"), 2);
    let listed = store.alerts(SHARD, AlertQuery { limit: 9, ..AlertQuery::default() }).await.expect("read");
    assert_eq!(listed.items, [unplaced(3)]);
}

async fn changes_can_be_caught_up_with(store: &dyn Store) {
    assert_eq!(store.newest_change(SHARD).await.expect("read"), 0, "of a shard that nobody ever had");
    let (mut writer, _) = Writer::take_over(store).await;
    let incidents = vec![incident(1), incident(2), incident(3)];
    let first = writer.commit(Effects { incidents, ..Effects::default() }).await;
    let mut over = incident(1);
    over.state = IncidentState::Resolved;
    let second = writer.commit(Effects { incidents: vec![over], ..Effects::default() }).await;
    let all = store.changes_since(SHARD, 0, 9).await.expect("read");
    assert_eq!(all, [first.changes[1], first.changes[2], second.changes[0]]);
    assert_eq!(all[2].state, IncidentState::Resolved);
    assert_eq!(store.changes_since(SHARD, all[0].number, 1).await.expect("read"), [all[1]]);
    assert!(store.changes_since(SHARD, all[2].number, 9).await.expect("read").is_empty());
    assert_eq!(store.newest_change(SHARD).await.expect("read"), all[2].number);
    let (mut next, _) = Writer::take_over(store).await;
    let third = next.commit(Effects { incidents: vec![incident(1)], ..Effects::default() }).await;
    assert!(third.changes[0].number > second.changes[0].number, "numbers never repeat");
}

async fn lists_come_in_pages(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let mut alerts: Vec<_> = (1..=10).map(alert).collect();
    alerts[2].state = AlertState::Stale;
    alerts[4].state = AlertState::Ended;
    alerts[6].binding = None;
    let mut incidents: Vec<_> = (1..=5).map(incident).collect();
    incidents[1].state = IncidentState::Resolved;
    let rows = alerts.iter().cloned().map(put).collect();
    writer.commit(Effects { alerts: rows, incidents, ..Effects::default() }).await;
    let incidents = async |state, before, limit| {
        let query = IncidentQuery { state, before, limit };
        let page = store.incidents(SHARD, query).await.expect("read");
        (page.items.iter().map(|i| i.id.number).collect::<Vec<_>>(), page.next.map(|id| id.number))
    };
    assert_eq!(incidents(None, None, 3).await, (vec![5, 4, 3], Some(3)));
    assert_eq!(incidents(None, Some(incident_id(3)), 2).await, (vec![2, 1], None));
    assert_eq!(incidents(Some(IncidentState::Open), None, 9).await, (vec![5, 4, 3, 1], None));
    assert_eq!(incidents(Some(IncidentState::Resolved), None, 9).await, (vec![2], None));
    let listed = async |query: AlertQuery| {
        let page = store.alerts(SHARD, query).await.expect("read");
        (page.items.iter().map(|a| a.id.0).collect::<Vec<_>>(), page.next.map(|id| id.0))
    };
    let nine = AlertQuery { limit: 9, ..AlertQuery::default() };
    assert_eq!(listed(nine.clone()).await, (vec![10, 9, 8, 7, 6, 5, 4, 2, 1], None), "stale ones are never listed");
    assert_eq!(listed(AlertQuery { limit: 2, ..nine.clone() }).await, (vec![10, 9], Some(9)));
    assert_eq!(listed(AlertQuery { before: Some(alert(4).id), ..nine.clone() }).await.0, [2, 1]);
    assert_eq!(listed(AlertQuery { firing: Some(true), ..nine.clone() }).await.0, [10, 9, 8, 7, 6, 4, 2, 1]);
    assert_eq!(listed(AlertQuery { firing: Some(false), ..nine.clone() }).await.0, [5]);
    assert_eq!(listed(AlertQuery { bound: Some(false), ..nine.clone() }).await.0, [7]);
    assert_eq!(listed(AlertQuery { bound: Some(true), limit: 1, ..nine.clone() }).await, (vec![10], Some(10)));
    assert_eq!(listed(AlertQuery { incident: Some(incident_id(2)), ..nine.clone() }).await.0, [8, 1]);
    assert_eq!(listed(AlertQuery { fingerprint: Some(alert(6).fingerprint), ..nine }).await.0, [6]);
    let detail = store.incident(SHARD, incident_id(2), 1).await.expect("read").expect("there");
    assert_eq!(detail.alerts, [alert(1)]);
}

async fn receipts_find_their_episodes(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let mut episodes: Vec<_> = (1..=3).map(alert).collect();
    for episode in &mut episodes {
        episode.fingerprint = alert(1).fingerprint;
    }
    episodes[1].state = AlertState::Stale;
    let alerts = episodes.iter().cloned().chain([alert(4)]).map(put).collect();
    writer.commit(Effects { alerts, ..Effects::default() }).await;
    let found = async |through| store.episodes(SHARD, alert(1).fingerprint, Position(through)).await.expect("read");
    assert_eq!(found(20).await, [episodes[1].clone(), episodes[0].clone()]);
    assert_eq!(found(9).await, []);
    assert_eq!(found(999).await.len(), 3);
}

fn parked(position: u64, ordinal: u32) -> Parked {
    Parked {
        position: Position(position),
        ordinal,
        item: (ordinal > 0).then_some(ordinal + 2),
        source: Source::AlertmanagerWebhook,
        received_at: at(60),
        reason: "labels: expected an object".into(),
        raw: "{\"labels\": 5}".into(),
    }
}

async fn parked_parts_are_kept(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let all = vec![parked(5, 0), parked(5, 1), parked(6, 0)];
    writer.commit(Effects { parked: all, ..Effects::default() }).await;
    assert_eq!(store.parked_of(SHARD, Position(5)).await.expect("read"), [parked(5, 0), parked(5, 1)]);
    assert_eq!(store.parked(SHARD, 2).await.expect("read"), [parked(6, 0), parked(5, 1)]);
}

async fn what_people_said_is_kept_and_only_what_counts_is_restored(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let party = |ci: Option<&str>, alert: &str| Party { ci: ci.map(CiId::new), alert: alert.into() };
    let (ours, theirs) = (vec![party(Some("db-1"), "Down"), party(None, "Sl\"ow")], vec![party(Some("mx"), "Queue")]);
    let cause = |right| Said::Cause { wrong: CiId::new("db-1"), right, alerts: ours.clone() };
    let all = [
        Said::Together { ours: ours.clone(), theirs: theirs.clone() },
        Said::Apart { ours: ours.clone(), theirs },
        cause(None),
        cause(Some(CiId::new("sw"))),
    ];
    let feedback = |(command, said)| Feedback {
        command: Position(command),
        incident: incident_id(4),
        actor: "ana".into(),
        at: at(i64::try_from(command).expect("small")),
        said,
        standing: Standing::InForce,
    };
    let said: Vec<Feedback> = (1..).zip(all).map(feedback).collect();
    writer.commit(Effects { feedback: said.clone(), ..Effects::default() }).await;
    assert_eq!(restored(store).await.snapshot.feedback, said);
    let undone = Feedback { standing: Standing::Undone, ..said[1].clone() };
    let crowded = Feedback { standing: Standing::CrowdedOut, ..said[0].clone() };
    let (mut writer, _) = Writer::take_over(store).await;
    // Of two versions in one commit the last holds.
    let feedback = vec![crowded.clone(), said[1].clone(), undone.clone()];
    writer.commit(Effects { feedback, ..Effects::default() }).await;
    assert_eq!(restored(store).await.snapshot.feedback, said[2..]);
    let listed = store.feedback(SHARD, 3).await.expect("read");
    assert_eq!(listed, [said[3].clone(), said[2].clone(), undone]);
    assert_eq!(store.forget_before(SHARD, at(2)).await.expect("forgotten"), 1);
    assert!(!store.feedback(SHARD, 9).await.expect("read").contains(&crowded), "history goes when it is old");
}

async fn changes_told_of_are_kept_and_those_in_hand_are_restored(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let put = |change: &quell_domain::Change| ChangeRow::Put(Box::new(change.clone()));
    let all: Vec<quell_domain::Change> = (1..=5).map(change).collect();
    writer.commit(Effects { changes: all.iter().map(put).collect(), ..Effects::default() }).await;
    assert_eq!(restored(store).await.snapshot.changes, all);
    // Of two versions in one commit the last holds, and what is let go of is history as it was last.
    let found = quell_domain::Change { binding: change(1).binding, unbound: None, ..change(2) };
    let (mut writer, _) = Writer::take_over(store).await;
    let changes = vec![put(&all[1]), put(&found), ChangeRow::LetGo(all[0].id), ChangeRow::LetGo(all[1].id)];
    writer.commit(Effects { changes, ..Effects::default() }).await;
    assert_eq!(restored(store).await.snapshot.changes, all[2..]);
    let listed = async |query: ChangeQuery| {
        let page = store.change_events(SHARD, query).await.expect("read");
        (page.items.iter().map(|change| change.id.position.0).collect::<Vec<_>>(), page.next.map(|id| id.position.0))
    };
    let query = || ChangeQuery { limit: 9, ..ChangeQuery::default() };
    assert_eq!(listed(ChangeQuery { limit: 2, ..query() }).await, (vec![5, 4], Some(4)));
    assert_eq!(listed(ChangeQuery { before: Some(all[3].id), ..query() }).await, (vec![3, 2, 1], None));
    assert_eq!(listed(ChangeQuery { ci: Some(CiId::new("db-1")), ..query() }).await.0, [5, 3, 2, 1]);
    assert_eq!(listed(ChangeQuery { bound: Some(false), ..query() }).await.0, [4]);
    assert_eq!(listed(ChangeQuery { fingerprint: Some(all[2].fingerprint), ..query() }).await.0, [3]);
    assert_eq!(listed(ChangeQuery { from: Some(at(2)), to: Some(at(4)), ..query() }).await.0, [3, 2]);
    assert_eq!(store.change_events(SHARD, query()).await.expect("read").items[3], found);
    assert_eq!(store.forget_before(SHARD, Timestamp::MAX).await.expect("forgotten"), 2, "history only");
    assert_eq!(listed(query()).await.0, [5, 4, 3]);
}

async fn an_incident_names_those_that_were_merged_into_it_and_split_off(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let plain = |number| Incident { merged_into: None, split_from: None, ..incident(number) };
    let merged = |number| Incident { merged_into: Some(incident_id(1)), ..plain(number) };
    let part = Incident { split_from: Some(incident_id(1)), ..plain(4) };
    writer.commit(Effects { incidents: vec![plain(1), merged(3), merged(2), part], ..Effects::default() }).await;
    let detail = store.incident(SHARD, incident_id(1), 0).await.expect("read").expect("there");
    assert_eq!((detail.merged, detail.split), (vec![incident_id(2), incident_id(3)], vec![incident_id(4)]));
    let detail = store.incident(SHARD, incident_id(2), 0).await.expect("read").expect("there");
    assert_eq!((detail.merged, detail.incident.merged_into), (vec![], Some(incident_id(1))));
}

async fn the_latest_alerts_are_read_back_piece_by_piece(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let mut alerts: Vec<Alert> = (1..=7).map(alert).collect();
    alerts[5].state = AlertState::Stale;
    writer.commit(Effects { alerts: alerts.iter().cloned().map(put).collect(), ..Effects::default() }).await;
    alerts.reverse();
    let latest = |before: Option<u64>| store.latest_alerts(SHARD, before.map(AlertId), 3);
    assert_eq!(latest(None).await.expect("read"), alerts[..3]);
    assert_eq!(latest(Some(5)).await.expect("read"), alerts[3..6]);
    assert_eq!(latest(Some(2)).await.expect("read"), alerts[6..]);
    assert_eq!(latest(Some(1)).await.expect("read"), []);
    let last = |through| store.last_alert(SHARD, Position(through));
    assert_eq!(last(9).await.expect("read"), None);
    assert_eq!(last(39).await.expect("read"), Some(AlertId(3)));
    assert_eq!(last(999).await.expect("read"), Some(AlertId(7)));
}

async fn shards_do_not_see_each_other(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let effects = Effects { alerts: vec![put(alert(1))], incidents: vec![incident(1)], ..Effects::default() };
    writer.commit(effects.clone()).await;
    for other in [Shard { tenant: 1, number: 0 }, Shard { tenant: 0, number: 1 }] {
        let restored = store.take_over(other).await.expect("taken over");
        assert_eq!((restored.epoch, restored.snapshot.alerts.len()), (1, 0));
        let query = IncidentQuery { state: None, before: None, limit: 9 };
        assert!(store.incidents(other, query).await.expect("read").items.is_empty());
    }
    let foreign = Effects {
        incidents: vec![quell_domain::Incident { id: quell_domain::IncidentId { shard: 1, number: 9 }, ..incident(9) }],
        ..Effects::default()
    };
    assert!(writer.try_commit(foreign, None).await.is_err(), "an incident of another shard is refused");
}

async fn sqlite() -> (quell_store::SqliteStore, Dir) {
    let dir = Dir::new();
    (quell_store::SqliteStore::open(&dir.file()).await.expect("opens"), dir)
}

async fn postgres() -> (quell_store::PostgresStore, ()) {
    let options = postgres::options(&postgres::database().await);
    (quell_store::PostgresStore::open(&options).await.expect("opens"), ())
}

/// Runs every promise against each database; each opens a new, empty store and what must live as long.
macro_rules! contract {
    ([$($database:ident by $open:path),*], $promises:tt) => {
        $(contract!(@ $database, $open, $promises);)*
    };
    (@ $database:ident, $open:path, [$($promise:ident),* $(,)?]) => {
        mod $database {
            $(
                #[tokio::test]
                async fn $promise() {
                    let (store, _home) = $open().await;
                    super::$promise(&store).await;
                }
            )*
        }
    };
}

contract!(
    [on_sqlite by super::sqlite, on_postgres by super::postgres],
    [
        a_new_store_is_empty,
        what_is_committed_is_restored,
        of_several_versions_the_last_is_written,
        new_episodes_are_added,
        reasons_are_kept_when_a_later_version_gives_none,
        many_rows_are_all_written,
        a_flush_folds_and_moves_its_position,
        a_fenced_writer_changes_nothing,
        an_opening_position_opens_one_incident,
        what_is_let_go_of_is_history,
        an_alert_of_no_incident_is_let_go_of_and_then_forgotten,
        deliveries_wait_for_earlier_ones,
        problems_are_told_in_order_to_those_that_want_it,
        changes_can_be_caught_up_with,
        lists_come_in_pages,
        receipts_find_their_episodes,
        parked_parts_are_kept,
        artefacts_are_kept_by_digest,
        what_people_said_is_kept_and_only_what_counts_is_restored,
        changes_told_of_are_kept_and_those_in_hand_are_restored,
        an_incident_names_those_that_were_merged_into_it_and_split_off,
        versions_say_what_was_in_force_when,
        superseded_artefacts_go_and_what_a_kept_record_needs_stays,
        of_several_shards_only_what_was_superseded_goes,
        the_sharding_is_kept_once,
        the_latest_alerts_are_read_back_piece_by_piece,
        shards_do_not_see_each_other,
        a_dropped_commit_leaves_the_writer_usable,
        outcomes_are_kept_for_replays,
        texts_of_any_character_are_kept_and_found,
        what_is_known_of_problems_is_restored,
        a_problem_is_read_with_what_belongs_to_it,
        problems_and_signatures_come_in_pages,
        outages_are_remembered_once,
        forecasts_are_kept_and_marked,
        the_last_models_are_kept,
        incidents_of_other_systems_are_added_once,
    ]
);
