//! Look-ups that must not slow down with the history: each uses the index that was made for it.
//!
//! Absent on purpose: times; a plan is the same on every machine.

mod support;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use support::Dir;

#[track_caller]
fn check(statement: &str, plan: &str, wanted: &str) {
    assert!(plan.contains(wanted), "{statement}\nis planned as {plan}\nand should use {wanted}");
}

#[tokio::test]
async fn look_ups_use_their_indexes() {
    let dir = Dir::new();
    let store = quell_store::SqliteStore::open(&dir.file()).await.expect("a new store opens");
    let mut connection =
        SqliteConnectOptions::new().filename(dir.file()).connect().await.expect("a second reader opens");
    for (statement, wanted) in [
        (
            "UPDATE alerts SET in_hand = 0 WHERE tenant = ? AND shard = ? AND incident = ? AND state = 1",
            "alerts_by_incident",
        ),
        (
            "SELECT * FROM alerts WHERE tenant = ? AND shard = ? AND incident = ? ORDER BY id LIMIT 100",
            "alerts_by_incident",
        ),
        ("SELECT * FROM alerts WHERE tenant = ? AND shard = ? AND in_hand = 1 ORDER BY id", "alerts_in_hand"),
        (
            "SELECT * FROM alerts WHERE tenant = ? AND shard = ? AND in_hand = 1 AND state = 0 ORDER BY id DESC LIMIT 9",
            "alerts_in_hand",
        ),
        (
            "SELECT * FROM alerts WHERE tenant = ? AND shard = ? AND fingerprint = ? AND opened_position <= ?",
            "alerts_by_fingerprint",
        ),
        ("SELECT * FROM incidents WHERE tenant = ? AND shard = ? AND in_hand = 1 ORDER BY number", "incidents_in_hand"),
        (
            "SELECT * FROM incidents WHERE tenant = ? AND shard = ? AND state = 0 ORDER BY number DESC LIMIT 9",
            "incidents_by_state",
        ),
        ("SELECT * FROM incidents WHERE tenant = ? AND shard = ? AND number = ?", "PRIMARY KEY"),
        (
            "SELECT number FROM incidents WHERE tenant = ? AND shard = ? AND merged_into = ? ORDER BY number LIMIT 9",
            "incidents_by_merger",
        ),
        (
            "SELECT number FROM incidents WHERE tenant = ? AND shard = ? AND split_from = ? ORDER BY number LIMIT 9",
            "incidents_by_origin",
        ),
        (
            "SELECT id FROM alerts WHERE tenant = ? AND shard = ? AND opened_position <= ? ORDER BY id DESC LIMIT 1",
            "PRIMARY KEY",
        ),
        ("SELECT * FROM alerts WHERE tenant = ? AND shard = ? AND id < ? ORDER BY id DESC LIMIT 9", "PRIMARY KEY"),
        (
            "SELECT * FROM change_events WHERE tenant = ? AND shard = ? AND in_hand = 1 ORDER BY position, ordinal",
            "change_events_in_hand",
        ),
        (
            "SELECT * FROM change_events WHERE tenant = ? AND shard = ? AND ci = ? ORDER BY position DESC, ordinal DESC \
            LIMIT 9",
            "change_events_by_ci",
        ),
        (
            "SELECT * FROM change_events WHERE tenant = ? AND shard = ? AND fingerprint = ? ORDER BY position DESC, \
            ordinal DESC LIMIT 9",
            "change_events_by_fingerprint",
        ),
        (
            "SELECT * FROM feedback WHERE tenant = ? AND shard = ? AND standing = 0 ORDER BY command",
            "feedback_in_force",
        ),
        (
            "SELECT * FROM recognitions WHERE tenant = ? AND shard = ? AND signature IN (?, ?) ORDER BY incident DESC \
            LIMIT 9",
            "recognitions_by_signature",
        ),
        (
            "SELECT * FROM recognitions WHERE tenant = ? AND shard = ? AND cause = ? ORDER BY incident DESC LIMIT 9",
            "recognitions_by_cause",
        ),
        (
            "SELECT * FROM problem_timeline WHERE tenant = ? AND shard = ? AND problem = ? ORDER BY id",
            "problem_timeline",
        ),
        ("SELECT count(*) FROM outbox WHERE tenant = ? AND shard = ? AND incident = ? AND state = 1", "outbox_told"),
        ("SELECT number FROM signatures WHERE tenant = ? AND shard = ? AND merged_into = ?", "signatures_by_merger"),
    ] {
        let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")));
        let rows = rows.fetch_all(&mut connection).await.expect("the statement fits the schema");
        let plan: Vec<String> = rows.iter().map(|row| row.get::<String, _>("detail")).collect();
        check(statement, &plan.join("; "), wanted);
    }
    store.close().await;
}
