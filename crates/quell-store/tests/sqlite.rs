//! What only the store in a SQLite file promises: full disks, two handles on one file, schemas of other versions.
//!
//! Absent on purpose: what every store promises; see `contract.rs`.

mod support;

use quell_domain::{Activation, ArtefactKind, Digest, Position, Shard, Timestamp};
use quell_engine::Effects;
use quell_store::sqlite::Options;
use quell_store::{AlertQuery, SqliteStore, Store, StoreError, Version};
use support::*;

const SHARD: Shard = Shard::FIRST;

#[tokio::test]
async fn a_full_disk_changes_nothing_and_passes() {
    let dir = Dir::new();
    let store = SqliteStore::open_with(&dir.file(), Options { max_pages: Some(80) }).await.expect("opens");
    let (mut writer, _) = Writer::take_over(&store).await;
    writer.commit(Effects { alerts: vec![put(alert(1))], ..Effects::default() }).await;
    let many = || Effects { alerts: (2..2_000).map(alert).map(put).collect(), ..Effects::default() };
    let refused = writer.try_commit(many(), None).await;
    assert!(matches!(refused, Err(StoreError::DiskFull { .. })), "{refused:?}");
    writer.commit(Effects { alerts: vec![put(alert(2))], ..Effects::default() }).await;
    assert_eq!(restored(&store).await.snapshot.alerts, [alert(1), alert(2)]);
    store.close().await;
    let store = SqliteStore::open(&dir.file()).await.expect("opens");
    let (mut writer, _) = Writer::take_over(&store).await;
    writer.commit(many()).await;
    assert_eq!(restored(&store).await.snapshot.alerts.len(), 1_999);
}

#[tokio::test]
async fn a_store_of_the_first_schema_knows_what_was_in_force_last() {
    let dir = Dir::new();
    std::fs::write(dir.file(), "").expect("an empty file");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.file());
    let mut file = sqlx::ConnectOptions::connect(&options).await.expect("opens");
    sqlx::raw_sql(include_str!("../src/sqlite/schema.sql")).execute(&mut file).await.expect("the first schema");
    let row = "INSERT INTO shards VALUES (0, 0, 1, 9, 9, 0, 0, 1700000000000000, 0, 0, zeroblob(32), NULL)";
    sqlx::raw_sql(row).execute(&mut file).await.expect("a shard");
    sqlx::raw_sql("PRAGMA user_version = 1").execute(&mut file).await.expect("written");
    sqlx::Connection::close(file).await.expect("closed");
    let store = SqliteStore::open(&dir.file()).await.expect("brought up to date");
    let activation = Activation { kind: ArtefactKind::Topology, digest: Digest([0; 32]) };
    let version = Version { position: Position(9), at: Timestamp::from_seconds(1_700_000_000), activation };
    let found = store.versions(SHARD, ArtefactKind::Topology, Timestamp::MAX, 9).await.expect("read");
    assert_eq!(found, [version]);
    assert_eq!(store.versions(SHARD, ArtefactKind::Rules, Timestamp::MAX, 9).await.expect("read"), []);
    assert_eq!(store.sharding().await.expect("read"), Some(quell_domain::Sharding::ONE), "it was served as one shard");
    store.close().await;
}

#[tokio::test]
async fn two_handles_on_one_file_fence_each_other() {
    let dir = Dir::new();
    let first = SqliteStore::open(&dir.file()).await.expect("opens");
    let second = SqliteStore::open(&dir.file()).await.expect("opens");
    let (mut old, _) = Writer::take_over(&first).await;
    old.commit(Effects { alerts: vec![put(alert(1))], ..Effects::default() }).await;
    let (mut new, restored) = Writer::take_over(&second).await;
    assert_eq!(restored.snapshot.alerts, [alert(1)]);
    let refused = old.try_commit(Effects::default(), None).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    new.commit(Effects { alerts: vec![put(alert(2))], ..Effects::default() }).await;
    let listed = first.alerts(SHARD, AlertQuery { limit: 9, ..AlertQuery::default() }).await.expect("read");
    assert_eq!(listed.items.len(), 2);
}

#[tokio::test]
async fn a_store_that_is_only_read_is_not_changed() {
    let dir = Dir::new();
    assert!(SqliteStore::open_read_only(&dir.file()).await.is_err(), "nothing is created");
    let store = SqliteStore::open(&dir.file()).await.expect("opens");
    let (mut writer, _) = Writer::take_over(&store).await;
    writer.commit(Effects { alerts: vec![put(alert(1))], ..Effects::default() }).await;
    let reader = SqliteStore::open_read_only(&dir.file()).await.expect("opens beside its writer");
    let query = || AlertQuery { limit: 9, ..AlertQuery::default() };
    assert_eq!(reader.alerts(SHARD, query()).await.expect("read").items, [alert(1)]);
    assert!(reader.take_over(SHARD).await.is_err(), "a reader takes nothing over");
    writer.commit(Effects { alerts: vec![put(alert(2))], ..Effects::default() }).await;
    assert_eq!(reader.alerts(SHARD, query()).await.expect("read").items.len(), 2);
}

#[tokio::test]
async fn a_later_schema_is_refused() {
    let dir = Dir::new();
    SqliteStore::open(&dir.file()).await.expect("opens").close().await;
    let mut file: sqlx::SqliteConnection =
        <sqlx::SqliteConnection as sqlx::Connection>::connect(&format!("sqlite://{}", dir.file().display()))
            .await
            .expect("opens");
    let (newest,): (i64,) = sqlx::query_as("PRAGMA user_version").fetch_one(&mut file).await.expect("read");
    sqlx::query("PRAGMA user_version = 99").execute(&mut file).await.expect("written");
    sqlx::Connection::close(file).await.expect("closed");
    let error = SqliteStore::open(&dir.file()).await.expect_err("too new");
    assert!(matches!(error, StoreError::TooNew { found: 99, known } if known == newest), "{error}");
}

#[tokio::test]
async fn a_store_of_the_first_schema_is_brought_up_to_date() {
    let dir = Dir::new();
    let url = format!("sqlite://{}?mode=rwc", dir.file().display());
    let mut file = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.expect("a new file can be made");
    let row = "INSERT INTO incidents VALUES (0, 0, 7, 1, 1, 0, 'db down', 2, 1, 1, 70, 0, 5, 4, 6, NULL, NULL, NULL, \
        NULL, 0, 1, 1, '[]', '{\"cis\":0,\"services\":[],\"partial\":false}', NULL, 1)";
    for sql in [include_str!("../src/sqlite/schema.sql"), row, "PRAGMA user_version = 1"] {
        sqlx::raw_sql(sql).execute(&mut file).await.expect("the first schema");
    }
    sqlx::Connection::close(file).await.expect("closed");
    let store = SqliteStore::open(&dir.file()).await.expect("opens");
    let kept = restored(&store).await.snapshot.incidents.remove(0);
    assert_eq!((kept.id, kept.title.as_str(), kept.merged_into), (incident_id(7), "db down", None));
    assert!(kept.moved.is_empty() && kept.acts.is_empty() && kept.verdicts.is_empty());
}
