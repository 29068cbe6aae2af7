//! The tables of the log and every statement that writes them. Absent on purpose: when to write, and what a fault leads
//! to.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quell_domain::{Position, Timestamp};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};
use xxhash_rust::xxh3::Xxh3;

use super::OpenError;
use super::appender::Trimmed;
use super::fault::Fault;
use crate::contract::{Retention, Stream};

/// The version of the tables.
const VERSION: i64 = 1;
/// The most rows of one statement: a full group and an Outage record before it.
pub(super) const MAX_ROWS: usize = 65;
/// Rows that one piece of trimming drops, so that no append waits long behind it.
const TRIM_ROWS: i64 = 256;
/// Bytes written since the last checkpoint after which the writer makes one even when it is busy.
const CHECKPOINT_BYTES: usize = 16 << 20;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS records (
    key         INTEGER PRIMARY KEY,
    kind        INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    checksum    INTEGER NOT NULL,
    body        BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS life (
    one      INTEGER PRIMARY KEY CHECK (one = 0),
    alive_at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS ballast (
    one   INTEGER PRIMARY KEY CHECK (one = 0),
    bytes BLOB NOT NULL
);
PRAGMA user_version = 1;
";

/// A row as it is written; `body` is compressed.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: i64,
    pub(super) kind: u8,
    pub(super) received_at: i64,
    pub(super) body: Vec<u8>,
}

/// Stream and position in one number, so that one table in one order holds both. The busy stream has the upper half:
/// its rows always go to the end, which is what SQLite appends fastest.
pub(super) fn key(stream: Stream, position: Position) -> i64 {
    let position = i64::try_from(position.0).unwrap_or(MAIN_BASE - 1).min(MAIN_BASE - 1);
    match stream {
        Stream::Main => MAIN_BASE + position,
        Stream::Commands => position,
    }
}

/// The position in a key.
pub(super) fn position(key: i64) -> Position {
    Position((key % MAIN_BASE).unsigned_abs())
}

const MAIN_BASE: i64 = 1 << 62;

/// A hash over the whole row: what was written is what is read, or it shows.
pub(super) fn checksum(key: i64, kind: u8, received_at: i64, body: &[u8]) -> i64 {
    let mut hash = Xxh3::new();
    hash.update(&key.to_le_bytes());
    hash.update(&[kind]);
    hash.update(&received_at.to_le_bytes());
    hash.update(body);
    hash.digest().cast_signed()
}

/// Options that the writer and the readers share.
pub(super) fn connect_options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .busy_timeout(Duration::from_secs(5))
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
}

/// What was found at open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// The newest record of each stream.
    pub(super) last: [Position; 2],
    /// The greatest instant on the log: of a record, or of its last sign of life. `None` when it is new.
    pub(super) alive_at: Option<Timestamp>,
}

/// The one connection that writes.
#[derive(Debug)]
pub(super) struct Disk {
    connection: SqliteConnection,
    inserts: Vec<Arc<str>>,
    unsettled: usize,
}

impl Disk {
    pub(super) async fn open(file: &Path, max_pages: Option<u32>) -> Result<(Disk, Found), OpenError> {
        let mut options = connect_options(file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // A checkpoint's fault must be seen, so only the writer makes them.
            .pragma("wal_autocheckpoint", "0")
            .pragma("journal_size_limit", "33554432");
        if let Some(pages) = max_pages {
            options = options.pragma("max_page_count", pages.to_string());
        }
        let mut connection = options.connect().await.map_err(OpenError::Database)?;
        let found = prepare(&mut connection).await?;
        let inserts = (1..=MAX_ROWS).map(insert_statement).collect();
        Ok((Disk { connection, inserts, unsettled: 0 }, found))
    }

    /// Writes rows, at most [`MAX_ROWS`], all or nothing, and returns when they are on the disk. One statement outside
    /// a transaction: each call into the database costs a hop to its thread.
    pub(super) async fn insert(&mut self, rows: Vec<Row>) -> Result<(), Fault> {
        let Some(sql) = rows.len().checked_sub(1).and_then(|at| self.inserts.get(at)) else {
            return Ok(());
        };
        let mut query = sqlx::query(AssertSqlSafe(Arc::clone(sql)));
        for Row { key, kind, received_at, body } in rows {
            self.unsettled += body.len() + 512;
            let checksum = checksum(key, kind, received_at, &body);
            query = query.bind(key).bind(kind).bind(received_at).bind(checksum).bind(body);
        }
        query.execute(&mut self.connection).await?;
        self.unsettled += 8192;
        Ok(())
    }

    /// Remembers a sign of life.
    pub(super) async fn alive(&mut self, at: Timestamp) -> Result<(), Fault> {
        let sql = "INSERT INTO life VALUES (0, ?) ON CONFLICT DO UPDATE SET alive_at = excluded.alive_at";
        sqlx::query(sql).bind(at.micros()).execute(&mut self.connection).await?;
        self.unsettled += 4096;
        Ok(())
    }

    /// Finds out whether there is room for more than one small record, and leaves it free: without this a full log
    /// would open for every few bytes and be full again at once.
    pub(super) async fn probe(&mut self) -> Result<(), Fault> {
        let sql = "INSERT OR REPLACE INTO ballast VALUES (0, zeroblob(262144))";
        sqlx::query(sql).execute(&mut self.connection).await?;
        sqlx::query("DELETE FROM ballast").execute(&mut self.connection).await?;
        self.unsettled += 262_144;
        Ok(())
    }

    /// The newest record of each stream.
    pub(super) async fn last(&mut self) -> Result<[Position; 2], Fault> {
        Ok(last(&mut self.connection).await?.map(|(position, _)| position))
    }

    /// True when so much was written that a checkpoint must not wait for a quiet moment.
    pub(super) fn is_due(&self) -> bool {
        self.unsettled >= CHECKPOINT_BYTES
    }

    /// True when there is anything that a checkpoint would move.
    pub(super) fn is_unsettled(&self) -> bool {
        self.unsettled > 0
    }

    /// Moves what was written from the WAL into the file, so that the WAL is used again from its start.
    pub(super) async fn checkpoint(&mut self) -> Result<(), Fault> {
        sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut self.connection).await?;
        self.unsettled = 0;
        Ok(())
    }

    /// Drops the oldest rows that are kept no longer, a bounded number.
    pub(super) async fn trim(&mut self, retention: Retention, last: [Position; 2]) -> Result<Trimmed, Fault> {
        let Retention { needed, before, max_bytes } = retention;
        let mut trimmed = Trimmed::default();
        for stream in [Stream::Main, Stream::Commands] {
            let cut = key(stream, needed[stream as usize].min(last[stream as usize]));
            let mut limit = before;
            if let (Stream::Main, Some(max)) = (stream, max_bytes)
                && self.used_bytes().await? > max
            {
                limit = Some(Timestamp::MAX);
            }
            let Some(limit) = limit else { continue };
            // Times only grow along a stream, so the inner limit may stop the search early.
            let sql = "DELETE FROM records WHERE key IN (SELECT key FROM \
                (SELECT key, received_at FROM records WHERE key >= ? AND key < ? ORDER BY key LIMIT ?) \
                WHERE received_at < ?)";
            let done = sqlx::query(sql)
                .bind(key(stream, Position::START))
                .bind(cut)
                .bind(TRIM_ROWS)
                .bind(limit.micros())
                .execute(&mut self.connection)
                .await?;
            trimmed.rows += done.rows_affected();
            trimmed.more |= done.rows_affected() == TRIM_ROWS.unsigned_abs();
        }
        if trimmed.rows > 0 {
            self.unsettled += 8192;
        }
        Ok(trimmed)
    }

    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        self.connection.close().await
    }

    async fn used_bytes(&mut self) -> Result<u64, Fault> {
        let sql = "SELECT (page_count - freelist_count) * page_size \
            FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
        let used: i64 = sqlx::query_scalar(sql).fetch_one(&mut self.connection).await?;
        Ok(used.unsigned_abs())
    }
}

fn insert_statement(rows: usize) -> Arc<str> {
    let mut sql = String::from("INSERT INTO records (key, kind, received_at, checksum, body) VALUES ");
    for at in 0..rows {
        let comma = if at == 0 { "" } else { "," };
        write!(sql, "{comma}(?,?,?,?,?)").expect("writing to a string does not fail");
    }
    sql.into()
}

async fn prepare(connection: &mut SqliteConnection) -> Result<Found, OpenError> {
    let fault = OpenError::Database;
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await.map_err(fault)?;
    if version > VERSION {
        return Err(OpenError::TooNew { found: version, known: VERSION });
    }
    if version < VERSION {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(fault)?;
        sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await.map_err(fault)?;
        transaction.commit().await.map_err(fault)?;
    }
    let found = last(connection).await.map_err(fault)?;
    let life: Option<i64> =
        sqlx::query_scalar("SELECT alive_at FROM life").fetch_optional(&mut *connection).await.map_err(fault)?;
    let records = found.iter().filter(|(position, _)| *position > Position::START).map(|&(_, at)| at);
    let alive_at = records.chain(life.map(Timestamp::from_micros)).max();
    Ok(Found { last: found.map(|(position, _)| position), alive_at })
}

/// Position and time of the newest record of each stream.
async fn last(connection: &mut SqliteConnection) -> Result<[(Position, Timestamp); 2], sqlx::Error> {
    let mut found = [(Position::START, Timestamp::MIN); 2];
    for (stream, ceiling) in [(Stream::Main, i64::MAX), (Stream::Commands, MAIN_BASE)] {
        let sql = "SELECT key, received_at FROM records WHERE key > ? AND key < ? ORDER BY key DESC LIMIT 1";
        let row: Option<(i64, i64)> = sqlx::query_as(sql)
            .bind(key(stream, Position::START))
            .bind(ceiling)
            .fetch_optional(&mut *connection)
            .await?;
        if let Some((key, at)) = row {
            found[stream as usize] = (position(key), Timestamp::from_micros(at));
        }
    }
    Ok(found)
}
