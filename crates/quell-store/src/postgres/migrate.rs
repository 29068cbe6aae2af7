//! Brings the schema up to date. Absent on purpose: what the tables hold.
//!
//! Each step is one transaction with its version in it, so a crash leaves one version or the next. Nodes that start at
//! the same moment take turns at a lock of the database; each looks anew at what is left to do. Where nothing is to do,
//! nothing is locked, and no right to create tables is needed.

use std::cmp::Ordering;

use sqlx::{AssertSqlSafe, PgConnection};

use super::error::fault;
use crate::contract::StoreError;

const OPEN: &str = "open";

/// What leads from each version of the schema to the next. Never change one that was released: add one.
const MIGRATIONS: [&str; 5] = [
    include_str!("schema.sql"),
    include_str!("problems.sql"),
    include_str!("forecasts.sql"),
    include_str!("expected.sql"),
    include_str!("sharding.sql"),
];

/// The lock that whoever changes the schema holds; no other program is likely to use this number.
const LOCK: i64 = 0x7175_656c_6c00_0001;

/// The newest schema known here.
fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Brings an older schema up to date.
pub(super) async fn migrate(connection: &mut PgConnection) -> Result<(), StoreError> {
    while step(connection).await? {}
    Ok(())
}

/// Refuses a schema of another version.
pub(super) async fn check(connection: &mut PgConnection) -> Result<(), StoreError> {
    let (found, known) = (found(connection).await?, known());
    match found.cmp(&known) {
        Ordering::Greater => Err(StoreError::TooNew { found, known }),
        Ordering::Less => Err(StoreError::TooOld { found, known }),
        Ordering::Equal => Ok(()),
    }
}

/// Makes one step; false when there was none to make.
async fn step(connection: &mut PgConnection) -> Result<bool, StoreError> {
    match check(connection).await {
        Ok(()) => return Ok(false),
        Err(StoreError::TooOld { .. }) => {}
        Err(error) => return Err(error),
    }
    // Building an index may take longer than a commit ever should, and so may waiting for the node that builds it.
    run(connection, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?;
    run(connection, "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0").await?;
    run(connection, AssertSqlSafe(format!("SELECT pg_advisory_xact_lock({LOCK})"))).await?;
    // Another node may have made the step meanwhile.
    let done = found(connection).await?;
    if let Some(migration) = usize::try_from(done).ok().and_then(|done| MIGRATIONS.get(done)) {
        run(connection, *migration).await?;
        let noted = "CREATE TABLE IF NOT EXISTS quell_schema (version BIGINT PRIMARY KEY, \
            made_at TIMESTAMPTZ NOT NULL DEFAULT now())";
        run(connection, noted).await?;
        run(connection, AssertSqlSafe(format!("INSERT INTO quell_schema (version) VALUES ({})", done + 1))).await?;
        // Whoever holds a shard with the earlier schema loses it, and is refused when it takes it over again.
        run(connection, "UPDATE shards SET epoch = epoch + 1").await?;
        tracing::info!(version = done + 1, "brought the store's schema up to date");
    }
    run(connection, "COMMIT").await?;
    Ok(true)
}

async fn run(connection: &mut PgConnection, sql: impl sqlx::SqlSafeStr) -> Result<(), StoreError> {
    sqlx::raw_sql(sql).execute(connection).await.map(drop).map_err(fault(OPEN))
}

/// The version of the schema; 0 for none.
async fn found(connection: &mut PgConnection) -> Result<i64, StoreError> {
    // A look into the catalogue itself: what a name stands for is remembered within a transaction, and another node may
    // have made the table since this one began.
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class WHERE relname = 'quell_schema' \
        AND pg_catalog.pg_table_is_visible(oid))";
    let any: bool = sqlx::query_scalar(sql).fetch_one(&mut *connection).await.map_err(fault(OPEN))?;
    if !any {
        return Ok(0);
    }
    let sql = "SELECT coalesce(max(version), 0) FROM quell_schema";
    sqlx::query_scalar(sql).fetch_one(connection).await.map_err(fault(OPEN))
}
