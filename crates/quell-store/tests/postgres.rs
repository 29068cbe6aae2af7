//! What only the store in PostgreSQL promises: writers that stand still or lose their connection, nodes that start at
//! the same moment, schemas of other versions.
//!
//! Absent on purpose: what every store promises; see `contract.rs`.

mod support;

use std::time::{Duration, Instant};

use quell_domain::Shard;
use quell_engine::Effects;
use quell_store::postgres::Options;
use quell_store::{AlertQuery, PostgresStore, Store, StoreError};
use sqlx::AssertSqlSafe;
use support::postgres::{beside, database, options};
use support::relay::Relay;
use support::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SHARD: Shard = Shard::FIRST;

async fn open(url: &str) -> PostgresStore {
    PostgresStore::open(&options(url)).await.expect("opens")
}

async fn run(url: &str, sql: &str) {
    let mut connection = beside(url).await;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.expect("runs");
}

async fn listed(store: &dyn Store) -> Vec<quell_domain::Alert> {
    store.alerts(SHARD, AlertQuery { limit: 9, ..AlertQuery::default() }).await.expect("read").items
}

#[tokio::test]
async fn a_writer_that_stands_still_in_a_transaction_does_not_hold_the_take_over() {
    let url = database().await;
    let store = open(&url).await;
    let (mut old, _) = Writer::take_over(&store).await;
    old.commit(Effects { alerts: vec![put(alert(1))], ..Effects::default() }).await;
    // It claims its epoch, writes, and then its process stands still: the relay passes on nothing after the insert.
    let relay = Relay::start(&url).await;
    let frozen = open(&relay.url).await;
    let (mut zombie, _) = Writer::take_over(&frozen).await;
    relay.stop_after("INSERT INTO alerts");
    let effects = Effects { alerts: vec![put(alert(2))], ..Effects::default() };
    let mut commit = Box::pin(zombie.try_commit(effects, None));
    tokio::select! {
        done = &mut commit => panic!("nothing can be committed: {done:?}"),
        () = relay.stopped() => {}
    }
    let began = Instant::now();
    let (mut new, restored) = Writer::take_over(&store).await;
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(6), "the take-over waited {waited:?}");
    assert_eq!(restored.snapshot.alerts, [alert(1)]);
    new.commit(Effects { alerts: vec![put(alert(3))], ..Effects::default() }).await;
    // It wakes up and goes on: first the server tells that its transaction is gone, then that its shard is.
    relay.go_on();
    let woken = commit.await;
    assert!(matches!(woken, Err(StoreError::Unavailable { .. })), "{woken:?}");
    let refused = zombie.try_commit(Effects { alerts: vec![put(alert(2))], ..Effects::default() }, None).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    assert_eq!(listed(&store).await, [alert(3), alert(1)]);
}

/// Commits an entry of the timeline while the relay loses the connection at a place, tries again as a writer does, and
/// expects it written once.
async fn check_lost_connection(lose: impl Fn(&Relay)) {
    let url = database().await;
    let relay = Relay::start(&url).await;
    let store = open(&relay.url).await;
    let (mut writer, _) = Writer::take_over(&store).await;
    writer.commit(Effects { incidents: vec![incident(1)], ..Effects::default() }).await;
    lose(&relay);
    let effects = || Effects {
        alerts: vec![put(alert(1))],
        incidents: vec![incident(1)],
        timeline: vec![entry(1, "noted")],
        notices: vec![notice(1, 0)],
        ..Effects::default()
    };
    let lost = writer.try_commit(effects(), None).await;
    assert!(matches!(lost, Err(StoreError::Unavailable { .. })), "{lost:?}");
    let again = writer.commit(effects()).await;
    let seen = store.changes_since(SHARD, 0, 9).await.expect("read");
    assert_eq!(again.changes, seen, "it is told of what is in the store");
    let detail = store.incident(SHARD, incident_id(1), 9).await.expect("read").expect("there");
    assert_eq!(detail.timeline, [entry(1, "noted")], "written once");
    assert_eq!(store.due(SHARD, "one", at(0), 9).await.expect("read").len(), 1);
    // The same once more, with other numbers, is another commit.
    writer.commit(Effects { timeline: vec![entry(1, "noted")], ..Effects::default() }).await;
    let detail = store.incident(SHARD, incident_id(1), 9).await.expect("read").expect("there");
    assert_eq!(detail.timeline.len(), 2);
}

#[tokio::test]
async fn a_connection_lost_before_the_commit_leaves_nothing_half_written() {
    check_lost_connection(|relay| relay.cut_at("INSERT INTO timeline")).await;
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_not_made_twice() {
    check_lost_connection(|relay| relay.lose_answer_to("COMMIT\0")).await;
}

#[tokio::test]
async fn a_database_that_went_back_is_not_written_on() {
    let url = database().await;
    let store = open(&url).await;
    let (mut writer, _) = Writer::take_over(&store).await;
    writer.commit(Effects { alerts: vec![put(alert(1))], ..Effects::default() }).await;
    // What a standby takes over with that had not the last commit yet.
    run(&url, "CREATE TABLE earlier AS SELECT * FROM shards").await;
    writer.commit(Effects { alerts: vec![put(alert(2))], ..Effects::default() }).await;
    run(&url, "DELETE FROM shards; INSERT INTO shards SELECT * FROM earlier; DELETE FROM alerts WHERE id = 2").await;
    let refused = writer.try_commit(Effects { alerts: vec![put(alert(3))], ..Effects::default() }, None).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    let (mut writer, restored) = Writer::take_over(&store).await;
    assert_eq!((restored.positions.applied.0, restored.snapshot.alerts), (10, vec![alert(1)]), "it is loaded again");
    writer.commit(Effects { alerts: vec![put(alert(2))], ..Effects::default() }).await;
    assert_eq!(listed(&store).await, [alert(2), alert(1)]);
}

#[tokio::test]
async fn nodes_that_start_at_the_same_moment_make_one_schema() {
    let url = database().await;
    let opening = (0..6).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { open(&url).await })
    });
    let opened = futures::future::join_all(opening.collect::<Vec<_>>()).await;
    let stores: Vec<PostgresStore> = opened.into_iter().map(|store| store.expect("does not panic")).collect();
    let mut epochs = Vec::new();
    for store in &stores {
        epochs.push(store.take_over(SHARD).await.expect("taken over").epoch);
    }
    assert_eq!(epochs, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_later_schema_is_refused() {
    let url = database().await;
    let store = open(&url).await;
    let (mut writer, _) = Writer::take_over(&store).await;
    run(&url, "INSERT INTO quell_schema (version) VALUES (99); UPDATE shards SET epoch = epoch + 1").await;
    for error in [
        PostgresStore::open(&options(&url)).await.expect_err("too new"),
        PostgresStore::open_read_only(&options(&url)).await.expect_err("too new"),
    ] {
        assert!(matches!(error, StoreError::TooNew { found: 99, .. }), "{error}");
    }
    // A node that runs while another one changes the schema loses its shard and does not get it back.
    let refused = writer.try_commit(Effects::default(), None).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    let refused = store.take_over(SHARD).await;
    assert!(matches!(refused, Err(StoreError::TooNew { found: 99, .. })), "{refused:?}");
}

#[tokio::test]
async fn a_store_that_is_only_read_is_not_changed() {
    let url = database().await;
    let none = PostgresStore::open_read_only(&options(&url)).await;
    assert!(matches!(none, Err(StoreError::TooOld { found: 0, .. })), "nothing is created: {none:?}");
    let store = open(&url).await;
    let (mut writer, _) = Writer::take_over(&store).await;
    writer.commit(Effects { alerts: vec![put(alert(1))], ..Effects::default() }).await;
    let reader = PostgresStore::open_read_only(&options(&url)).await.expect("opens beside its writer");
    assert_eq!(listed(&reader).await, [alert(1)]);
    assert!(reader.take_over(SHARD).await.is_err(), "a reader takes nothing over");
    writer.commit(Effects { alerts: vec![put(alert(2))], ..Effects::default() }).await;
    assert_eq!(listed(&reader).await.len(), 2);
}

#[tokio::test]
async fn a_role_without_the_right_to_make_tables_is_enough_once_they_are_made() {
    let url = database().await;
    open(&url).await;
    let (_, name) = url.rsplit_once('/').expect("a database");
    let role = format!("only_{name}");
    let grants = format!(
        "CREATE ROLE {role} LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}; \
        REVOKE INSERT, UPDATE, DELETE ON quell_schema FROM {role}"
    );
    run(&url, &grants).await;
    let store = open(&url.replace("//quell@", &format!("//{role}@"))).await;
    let (mut writer, _) = Writer::take_over(&store).await;
    let effects = Effects {
        alerts: vec![put(alert(1))],
        incidents: vec![incident(1)],
        timeline: vec![entry(1, "noted")],
        notices: vec![notice(1, 0)],
        ..Effects::default()
    };
    writer.commit(effects).await;
    assert_eq!(listed(&store).await, [alert(1)]);
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    let url = database().await;
    let (server, name) = url.rsplit_once('/').expect("a database");
    let latin = format!("latin_{name}");
    run(&url, &format!("CREATE DATABASE {latin} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")).await;
    let error = PostgresStore::open(&options(&format!("{server}/{latin}"))).await.expect_err("refused");
    assert!(format!("{error:?}").contains("LATIN1"), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_waited_for_and_no_longer() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|bound| bound.local_addr()).expect("bound").port();
    let url = format!("postgres://quell@127.0.0.1:{port}/quell");
    let patience = Duration::from_millis(700);
    let began = Instant::now();
    let error = PostgresStore::open(&Options { patience, ..Options::new(url) }).await.expect_err("nobody is there");
    assert!(began.elapsed() >= patience, "it gave up after {:?}", began.elapsed());
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    let url = database().await;
    let began = Instant::now();
    let error = PostgresStore::open(&options(&format!("{url}-none"))).await.expect_err("no such database");
    assert!(began.elapsed() < Duration::from_secs(5), "waiting does not help: {error}");
}

/// Somebody who is not the server that was asked for: what it says after agreeing to encrypt is no TLS.
#[tokio::test]
async fn a_server_that_cannot_prove_itself_is_refused_at_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut asked = [0; 8];
            socket.read_exact(&mut asked).await.expect("the client asks for encryption first");
            socket.write_all(b"Sthis is no handshake").await.expect("written");
        }
    });
    let began = Instant::now();
    let url = format!("postgres://quell@127.0.0.1:{port}/quell?sslmode=verify-full");
    let error = PostgresStore::open(&options(&url)).await.expect_err("refused");
    assert!(began.elapsed() < Duration::from_secs(5), "it was waited for: {error:?}");
}

#[tokio::test]
async fn a_password_is_never_shown() {
    let url = database().await;
    let options = Options { password: Some("sesame-17".into()), ..options(&url) };
    let store = PostgresStore::open(&options).await.expect("the server asks for none");
    let (server, _) = url.rsplit_once('/').expect("a database");
    let nowhere = Options { url: format!("{server}/nowhere"), ..options.clone() };
    let error = PostgresStore::open(&nowhere).await.expect_err("no such database");
    let shown = format!("{options:?} {store:?} {error} {error:?}");
    assert!(!shown.contains("sesame"), "{shown}");
}

#[tokio::test]
async fn a_server_that_ends_sessions_is_reached_again() {
    let url = database().await;
    let store = open(&url).await;
    let (mut writer, _) = Writer::take_over(&store).await;
    writer.commit(Effects { alerts: vec![put(alert(1))], ..Effects::default() }).await;
    listed(&store).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'quell' \
        AND datname = current_database()";
    run(&url, end).await;
    // The first attempt may find its connection gone, as a writer has to expect.
    let effects = || Effects { alerts: vec![put(alert(2))], ..Effects::default() };
    if let Err(error) = writer.try_commit(effects(), None).await {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        writer.commit(effects()).await;
    }
    assert_eq!(listed(&store).await, [alert(2), alert(1)], "readers look before they ask");
}

#[tokio::test]
async fn a_password_opens_and_a_wrong_one_is_refused_at_once() {
    let url = database().await;
    let (_, name) = url.rsplit_once('/').expect("a database");
    let role = format!("asked_{name}");
    run(&url, &format!("CREATE ROLE {role} LOGIN PASSWORD 'sesame-17'; GRANT CREATE ON SCHEMA public TO {role}")).await;
    let mut connection = beside(&url).await;
    let file: String = sqlx::query_scalar("SHOW hba_file").fetch_one(&mut connection).await.expect("told");
    let lines = std::fs::read_to_string(&file).expect("read");
    std::fs::write(&file, format!("host all {role} 127.0.0.1/32 scram-sha-256\n{lines}")).expect("written");
    sqlx::raw_sql("SELECT pg_reload_conf()").execute(&mut connection).await.expect("reloads");
    // The server reads the file a moment later.
    let with = |password: &str| Options {
        password: Some(password.into()),
        ..options(&url.replace("//quell@", &format!("//{role}@")))
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    let error = loop {
        match PostgresStore::open(&with("open-18")).await {
            Err(error) => break error,
            Ok(store) => store.close().await,
        }
        assert!(Instant::now() < deadline, "any password opens");
    };
    assert!(!format!("{error} {error:?}").contains("open-18"), "{error:?}");
    let began = Instant::now();
    PostgresStore::open(&with("open-18")).await.expect_err("wrong");
    assert!(began.elapsed() < Duration::from_secs(5), "waiting does not help");
    let store = PostgresStore::open(&with("sesame-17")).await.expect("opens");
    assert_eq!(store.take_over(SHARD).await.expect("taken over").epoch, 1);
}
