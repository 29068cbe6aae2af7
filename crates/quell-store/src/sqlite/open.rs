//! Opens the file and brings its schema up to date. Absent on purpose: what the tables hold.

use std::cmp::Ordering;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection, SqlitePool};

use super::Options;
use super::error::fault;
use crate::contract::StoreError;

const OPEN: &str = "open";

/// What leads from each version of the schema to the next. Never change one that was released: add one.
const MIGRATIONS: [&str; 11] = [
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("began.sql"),
    include_str!("learned.sql"),
    include_str!("activations.sql"),
    include_str!("twins.sql"),
    include_str!("change_events.sql"),
    include_str!("problems.sql"),
    include_str!("forecasts.sql"),
    include_str!("expected.sql"),
    include_str!("sharding.sql"),
];

/// The options of the writing connection, that connection, and the reading ones.
pub(super) async fn open(
    path: &Path,
    options: &Options,
) -> Result<(SqliteConnectOptions, SqliteConnection, SqlitePool), StoreError> {
    create(path).map_err(|error| fault(OPEN)(sqlx::Error::Io(error)))?;
    let base = base(path);
    let mut write = base
        .clone()
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // A checkpoint's fault must be seen, so the store makes them itself.
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", "67108864")
        .pragma("cache_size", "-8192")
        // Rows that the database's thread may be ahead of the decoder: a large restore is bound by the slower of them.
        .row_buffer_size(1024);
    if let Some(pages) = options.max_pages {
        write = write.pragma("max_page_count", pages.to_string());
    }
    let mut writer = write.connect().await.map_err(fault(OPEN))?;
    migrate(&mut writer).await?;
    Ok((write, writer, readers(base)))
}

/// The options and the readers of a file that is not to be changed, whoever else has it open.
pub(super) async fn open_read_only(path: &Path) -> Result<(SqliteConnectOptions, SqlitePool), StoreError> {
    let options = base(path).read_only(true);
    let readers = readers(options.clone());
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&readers).await.map_err(fault(OPEN))?;
    match found.cmp(&known) {
        Ordering::Greater => Err(StoreError::TooNew { found, known }),
        Ordering::Less => Err(StoreError::TooOld { found, known }),
        Ordering::Equal => Ok((options, readers)),
    }
}

/// The options of a connection that only reads.
pub(crate) fn read_only(path: &Path) -> SqliteConnectOptions {
    base(path).read_only(true)
}

fn base(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(Duration::from_secs(5))
        .page_size(8192)
        .pragma("temp_store", "MEMORY")
        .statement_cache_capacity(200)
        .disable_statement_logging()
}

fn readers(base: SqliteConnectOptions) -> SqlitePool {
    let readers = base.read_only(true).row_buffer_size(256);
    SqlitePoolOptions::new().max_connections(4).connect_lazy_with(readers)
}

/// For the owner's eyes only; SQLite gives its side files the same rights. Synced into its directory, so that it is
/// still there after a power loss.
fn create(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

/// Each step is one transaction with its version number in it: a crash leaves one version or the next.
async fn migrate(writer: &mut SqliteConnection) -> Result<(), StoreError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(fault(OPEN))?;
    let found: i64 =
        sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *transaction).await.map_err(fault(OPEN))?;
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    let done = usize::try_from(found).unwrap_or(0);
    for (at, migration) in MIGRATIONS.iter().enumerate().skip(done) {
        sqlx::raw_sql(*migration).execute(&mut *transaction).await.map_err(fault(OPEN))?;
        let version = AssertSqlSafe(format!("PRAGMA user_version = {}", at + 1));
        sqlx::raw_sql(version).execute(&mut *transaction).await.map_err(fault(OPEN))?;
    }
    transaction.commit().await.map_err(fault(OPEN))
}
