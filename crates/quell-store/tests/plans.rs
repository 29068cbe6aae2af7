//! Look-ups that must not slow down with the history: each uses the index that was made for it, on either database.
//!
//! Absent on purpose: times; a plan is the same on every machine.

mod support;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use support::Dir;
use support::postgres::{beside, database, options};

/// A statement, what its plan names in SQLite, and in PostgreSQL.
const LOOK_UPS: &[(&str, &str, &str)] = &[
    (
        "SELECT * FROM alerts WHERE tenant = ? AND shard = ? AND incident = ? ORDER BY id LIMIT 100",
        "alerts_by_incident",
        "alerts_by_incident",
    ),
    (
        "SELECT * FROM alerts WHERE tenant = ? AND shard = ? AND in_hand = 1 ORDER BY id",
        "alerts_in_hand",
        "alerts_in_hand",
    ),
    (
        "SELECT * FROM alerts WHERE tenant = ? AND shard = ? AND in_hand = 1 AND state = 0 ORDER BY id DESC LIMIT 9",
        "alerts_in_hand",
        "alerts_in_hand",
    ),
    (
        "SELECT * FROM alerts WHERE tenant = ? AND shard = ? AND fingerprint = ? AND opened_position <= ?",
        "alerts_by_fingerprint",
        "alerts_by_fingerprint",
    ),
    (
        "SELECT * FROM incidents WHERE tenant = ? AND shard = ? AND in_hand = 1 ORDER BY number",
        "incidents_in_hand",
        "incidents_in_hand",
    ),
    (
        "SELECT * FROM incidents WHERE tenant = ? AND shard = ? AND state = 0 ORDER BY number DESC LIMIT 9",
        "incidents_by_state",
        "incidents_by_state",
    ),
    ("SELECT * FROM incidents WHERE tenant = ? AND shard = ? AND number = ?", "PRIMARY KEY", "incidents_pkey"),
    (
        "SELECT number FROM incidents WHERE tenant = ? AND shard = ? AND merged_into = ? ORDER BY number LIMIT 9",
        "incidents_by_merger",
        "incidents_by_merger",
    ),
    (
        "SELECT number FROM incidents WHERE tenant = ? AND shard = ? AND split_from = ? ORDER BY number LIMIT 9",
        "incidents_by_origin",
        "incidents_by_origin",
    ),
    (
        "SELECT change, number, state FROM incidents WHERE tenant = ? AND shard = ? AND change > ? ORDER BY change \
        LIMIT 9",
        "incidents_by_change",
        "incidents_by_change",
    ),
    (
        "SELECT id FROM alerts WHERE tenant = ? AND shard = ? AND opened_position <= ? ORDER BY id DESC LIMIT 1",
        "PRIMARY KEY",
        "alerts_pkey",
    ),
    (
        "SELECT * FROM alerts WHERE tenant = ? AND shard = ? AND id < ? ORDER BY id DESC LIMIT 9",
        "PRIMARY KEY",
        "alerts_pkey",
    ),
    (
        "SELECT * FROM change_events WHERE tenant = ? AND shard = ? AND in_hand = 1 ORDER BY position, ordinal",
        "change_events_in_hand",
        "change_events_in_hand",
    ),
    (
        "SELECT * FROM change_events WHERE tenant = ? AND shard = ? AND ci = ? ORDER BY position DESC, ordinal DESC \
        LIMIT 9",
        "change_events_by_ci",
        "change_events_by_ci",
    ),
    (
        "SELECT * FROM change_events WHERE tenant = ? AND shard = ? AND fingerprint = ? ORDER BY position DESC, \
        ordinal DESC LIMIT 9",
        "change_events_by_fingerprint",
        "change_events_by_fingerprint",
    ),
    (
        "SELECT * FROM feedback WHERE tenant = ? AND shard = ? AND standing = 0 ORDER BY command",
        "feedback_in_force",
        "feedback_in_force",
    ),
    (
        "SELECT * FROM recognitions WHERE tenant = ? AND shard = ? AND signature IN (?, ?) ORDER BY incident DESC LIMIT 9",
        "recognitions_by_signature",
        "recognitions_by_signature",
    ),
    (
        "SELECT * FROM recognitions WHERE tenant = ? AND shard = ? AND cause = ? ORDER BY incident DESC LIMIT 9",
        "recognitions_by_cause",
        "recognitions_by_cause",
    ),
    (
        "SELECT * FROM problem_timeline WHERE tenant = ? AND shard = ? AND problem = ? ORDER BY id",
        "problem_timeline",
        "problem_timeline_by_problem",
    ),
    (
        "SELECT count(*) FROM outbox WHERE tenant = ? AND shard = ? AND incident = ? AND state = 1",
        "outbox_told",
        "outbox_told",
    ),
    (
        "SELECT number FROM signatures WHERE tenant = ? AND shard = ? AND merged_into = ?",
        "signatures_by_merger",
        "signatures_by_merger",
    ),
    (
        "SELECT * FROM outbox WHERE sink = ? AND tenant = ? AND shard = ? AND state = 0 ORDER BY seq LIMIT 9",
        "outbox_waiting",
        "outbox_waiting",
    ),
    (
        "SELECT * FROM timeline WHERE tenant = ? AND shard = ? AND incident = ? ORDER BY id",
        "timeline_by_incident",
        "timeline_by_incident",
    ),
];

#[track_caller]
fn check(statement: &str, plan: &str, wanted: &str) {
    assert!(plan.contains(wanted), "{statement}\nis planned as {plan}\nand should use {wanted}");
}

#[tokio::test]
async fn look_ups_use_their_indexes_on_sqlite() {
    let dir = Dir::new();
    let store = quell_store::SqliteStore::open(&dir.file()).await.expect("a new store opens");
    let mut connection =
        SqliteConnectOptions::new().filename(dir.file()).connect().await.expect("a second reader opens");
    let given = [
        (
            "WITH given (tenant, shard, number) AS MATERIALIZED (VALUES (0,0,?),(0,0,?)) UPDATE alerts SET in_hand = 0 \
            WHERE (tenant, shard, incident) IN (SELECT tenant, shard, number FROM given) AND state = 1",
            "alerts_by_incident (tenant=? AND shard=? AND incident=?",
        ),
        (
            "WITH given (tenant, shard, number) AS MATERIALIZED (VALUES (0,0,?),(0,0,?)) DELETE FROM folds \
            WHERE (tenant, shard, alert) IN (SELECT tenant, shard, number FROM given)",
            "PRIMARY KEY (tenant=? AND shard=? AND alert=?",
        ),
        (
            "WITH given (tenant, shard, position, ordinal) AS MATERIALIZED (VALUES (0,0,?,?),(0,0,?,?)) \
            UPDATE change_events SET in_hand = 0 WHERE (tenant, shard, position, ordinal) IN \
            (SELECT tenant, shard, position, ordinal FROM given)",
            "PRIMARY KEY (tenant=? AND shard=? AND position=?",
        ),
    ];
    for (statement, wanted) in LOOK_UPS.iter().map(|&(statement, wanted, _)| (statement, wanted)).chain(given) {
        let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")));
        let rows = rows.fetch_all(&mut connection).await.expect("the statement fits the schema");
        let plan: Vec<String> = rows.iter().map(|row| row.get::<String, _>("detail")).collect();
        check(statement, &plan.join("; "), wanted);
    }
    store.close().await;
}

/// Statements that find rows by many given ones, and the index that they use where there is much history.
const GIVEN: [(&str, &str); 4] = [
    (
        "WITH given (tenant, shard, number) AS MATERIALIZED (SELECT 0, 0, item.* FROM unnest(?::BIGINT[]) AS item) \
        UPDATE alerts SET in_hand = 0 \
        WHERE (tenant, shard, incident) IN (SELECT tenant, shard, number FROM given) AND state = 1",
        "alerts_by_incident",
    ),
    (
        "WITH given (tenant, shard, number) AS MATERIALIZED (SELECT 0, 0, item.* FROM unnest(?::BIGINT[]) AS item) \
        DELETE FROM folds WHERE (tenant, shard, alert) IN (SELECT tenant, shard, number FROM given)",
        "folds_pkey",
    ),
    (
        "WITH given (tenant, shard, position, ordinal) AS MATERIALIZED (SELECT 0, 0, item.* \
        FROM unnest(?::BIGINT[], ?::BIGINT[]) AS item) UPDATE change_events SET in_hand = 0 \
        WHERE (tenant, shard, position, ordinal) IN (SELECT tenant, shard, position, ordinal FROM given)",
        "change_events_pkey",
    ),
    (
        "WITH given (tenant, shard, id, severity, annotations, content) AS MATERIALIZED (SELECT 0, 0, item.* \
        FROM unnest(?::BIGINT[], ?::BIGINT[], ?::TEXT[], ?::BIGINT[]) AS item) \
        UPDATE alerts SET severity = given.severity, annotations = given.annotations, content = given.content \
        FROM given WHERE alerts.tenant = given.tenant AND alerts.shard = given.shard AND alerts.id = given.id",
        "alerts_pkey",
    ),
];

/// A history of one shard that is large beside what is in hand, as the planner gets to know it. PostgreSQL reads a small
/// table whole, and rightly so.
const HISTORY: &str = "
    INSERT INTO alerts SELECT 0, 0, n, CASE WHEN n > 59000 THEN 1 ELSE 0 END, decode(md5((n / 4)::text), 'hex'), 1,
        CASE WHEN n > 59000 THEN 0 ELSE 1 END, 1, n, 'ci-' || n % 900, 1, n / 20, n, n, 0, false, 1, n, n, n, n, 0, n, n,
        '{}', '{}', '{}', NULL, '{}', NULL FROM generate_series(1, 60000) n;
    INSERT INTO folds SELECT 0, 0, n, 2, n, NULL, false, n, n FROM generate_series(40001, 60000) n;
    INSERT INTO incidents SELECT 0, 0, n, CASE WHEN n > 19800 THEN 1 ELSE 0 END, n, CASE WHEN n > 19800 THEN 0 ELSE 1 END,
        'title', 1, 1, 1, n, 0, n, n, n, n, NULL, NULL, NULL, 0, 1, 1, '[]', '{}', NULL, 1,
        CASE WHEN n % 50 = 0 THEN n / 100 END, '[]', CASE WHEN n % 50 = 1 THEN n / 100 END, '[]', '[]', false, 0
        FROM generate_series(1, 20000) n;
    INSERT INTO timeline (tenant, shard, incident, at, actor, reason)
        SELECT 0, 0, n / 3, n, 'quell', '{}' FROM generate_series(1, 60000) n;
    INSERT INTO change_events SELECT 0, 0, n, 0, CASE WHEN n > 19800 THEN 1 ELSE 0 END, decode(md5(n::text), 'hex'), 1,
        'summary', 'ana', NULL, '{}', 'ci-' || n % 900, 1, '{}', NULL, n, n, n FROM generate_series(1, 20000) n;
    INSERT INTO feedback SELECT 0, 0, n, n, n, 'ana', CASE WHEN n > 4900 THEN 0 ELSE 1 END, '{}'
        FROM generate_series(1, 5000) n;
    INSERT INTO recognitions SELECT 0, 0, n, n / 30, 1, false, n, n, 'how', 1, 1, 'ci-' || n % 5000, NULL, 0, '{}', NULL
        FROM generate_series(1, 60000) n;
    INSERT INTO problem_timeline (tenant, shard, problem, at, actor, reason)
        SELECT 0, 0, n / 10, n, 'ana', '{}' FROM generate_series(1, 20000) n;
    INSERT INTO signatures SELECT 0, 0, n, 1, n, CASE WHEN n % 40 = 0 THEN n / 80 END, '{}' FROM generate_series(1, 4000) n;
    INSERT INTO outbox (id, sink, tenant, shard, incident, number, transition, at, title, priority, alerts, reason, state,
        attempts, due_at) SELECT n::text, 'one', 0, 0, n, 0, 0, n, 'title', 1, 1, '{}', CASE WHEN n > 19900 THEN 0 ELSE 1 END,
        1, 0 FROM generate_series(1, 20000) n;
    ANALYZE;";

#[tokio::test]
async fn look_ups_use_their_indexes_on_postgres() {
    let url = database().await;
    let store = quell_store::PostgresStore::open(&options(&url)).await.expect("a new store opens");
    let mut connection = beside(&url).await;
    sqlx::raw_sql(HISTORY).execute(&mut connection).await.expect("the rows fit the schema");
    // As a statement is planned that runs often, whatever its values.
    sqlx::raw_sql("SET plan_cache_mode = force_generic_plan").execute(&mut connection).await.expect("known");
    let look_ups = LOOK_UPS.iter().map(|&(statement, _, wanted)| (statement, wanted));
    for (number, (statement, wanted)) in look_ups.chain(GIVEN).enumerate() {
        let mut parts = statement.split('?');
        let mut text = parts.next().unwrap_or_default().to_owned();
        let values = parts.zip(1..).map(|(part, at)| text.push_str(&format!("${at}{part}"))).count();
        let nulls = if values == 0 { String::new() } else { format!("({})", vec!["NULL"; values].join(", ")) };
        let prepare = AssertSqlSafe(format!("PREPARE s{number} AS {text}"));
        sqlx::raw_sql(prepare).execute(&mut connection).await.expect("the statement fits the schema");
        let rows = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN EXECUTE s{number}{nulls}")));
        let rows = rows.fetch_all(&mut connection).await.expect("it can be planned");
        let plan: Vec<String> = rows.iter().map(|row| row.get::<String, _>(0)).collect();
        check(statement, &plan.join("\n"), wanted);
    }
    store.close().await;
}

/// A new installation: nobody has analysed its tables yet, so the planner guesses from their size alone.
#[tokio::test]
async fn nothing_is_compared_with_every_row_before_tables_are_analysed() {
    let url = database().await;
    let store = quell_store::PostgresStore::open(&options(&url)).await.expect("a new store opens");
    let mut connection = beside(&url).await;
    let rows = HISTORY.replace("ANALYZE;", "");
    assert_ne!(rows, HISTORY, "the last statement is known");
    sqlx::raw_sql(AssertSqlSafe(rows)).execute(&mut connection).await.expect("the rows fit the schema");
    for (statement, _) in GIVEN {
        let mut text = statement.to_owned();
        for (kind, one) in [("BIGINT", "1"), ("TEXT", "'{}'")] {
            let many = vec![one; 250].join(", ");
            text = text.replace(&format!("?::{kind}[]"), &format!("ARRAY[{many}]::{kind}[]"));
        }
        let rows = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN {text}")));
        let rows = rows.fetch_all(&mut connection).await.expect("it can be planned");
        let plan: Vec<String> = rows.iter().map(|row| row.get::<String, _>(0)).collect();
        let plan = plan.join("\n");
        assert!(!plan.contains("Join Filter"), "{statement}\ncompares every row with every given one:\n{plan}");
    }
    store.close().await;
}
