//! Takes all rows of a store in SQLite over into an empty one in PostgreSQL, in one transaction.
//!
//! Both have the same tables and columns, which the target's catalogue names; only how values are written differs. Absent
//! on purpose: what the rows mean, and positions; they are taken over as they are.

use std::path::Path;

use futures::TryStreamExt as _;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteRow;
use sqlx::{
    Arguments as _, AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _, SqliteConnection,
};

use crate::contract::StoreError;
use crate::postgres::PostgresStore;
use crate::postgres::error::fault as theirs;
use crate::postgres::escape::escape;
use crate::sqlite::error::fault as ours;
use crate::sqlite::open;

const OPERATION: &str = "take over";
/// Values of one statement; PostgreSQL takes 65,535.
const VALUES: usize = 16_000;
/// Rows of one statement.
const ROWS: usize = 500;

/// Why nothing was taken over.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// One of the databases.
    #[error("take the store over")]
    Store(#[from] StoreError),
    /// The target holds something.
    #[error("take the store over: the table {table} of the target has {rows} rows: only an empty one is filled")]
    NotEmpty {
        /// Which.
        table: String,
        /// How many.
        rows: i64,
    },
    /// Something went missing on the way.
    #[error("take the store over: {table} has {found} rows instead of {wanted}")]
    Short {
        /// Which.
        table: String,
        /// In the target.
        found: i64,
        /// In the source.
        wanted: i64,
    },
}

struct Table {
    name: String,
    /// Each column with its type, and whether the database counts it.
    columns: Vec<(String, String, bool)>,
}

/// Takes everything over; the tables with their rows. Nothing is there when it fails.
///
/// # Errors
/// See [`TransferError`].
pub async fn transfer(from: &Path, to: &PostgresStore) -> Result<Vec<(String, u64)>, TransferError> {
    let mut source = open::read_only(from).connect().await.map_err(ours(OPERATION))?;
    let mut target = to.connection(OPERATION).await?;
    let mut transaction = target.begin().await.map_err(theirs(OPERATION))?;
    let alone = "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 0; \
        LOCK TABLE shards IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(alone).execute(&mut *transaction).await.map_err(theirs(OPERATION))?;
    let tables = tables(&mut transaction).await?;
    for table in &tables {
        let rows = count_theirs(&mut transaction, &table.name).await?;
        if rows > 0 {
            return Err(TransferError::NotEmpty { table: table.name.clone(), rows });
        }
    }
    sqlx::raw_sql("BEGIN").execute(&mut source).await.map_err(ours(OPERATION))?;
    let mut moved = Vec::new();
    for table in &tables {
        copy(&mut source, &mut transaction, table).await?;
        let text = AssertSqlSafe(format!("SELECT count(*) FROM {}", table.name));
        let wanted: i64 = sqlx::query_scalar(text).fetch_one(&mut source).await.map_err(ours(OPERATION))?;
        let found = count_theirs(&mut transaction, &table.name).await?;
        if found != wanted {
            return Err(TransferError::Short { table: table.name.clone(), found, wanted });
        }
        moved.push((table.name.clone(), wanted.unsigned_abs()));
    }
    transaction.commit().await.map_err(theirs(OPERATION))?;
    source.close().await.map_err(ours(OPERATION))?;
    Ok(moved)
}

async fn tables(target: &mut PgConnection) -> Result<Vec<Table>, StoreError> {
    let sql = "SELECT table_name::text, column_name::text, data_type::text, is_identity = 'YES' \
        FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name) \
        WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' AND table_name <> 'quell_schema' \
        ORDER BY table_name, ordinal_position";
    let rows: Vec<(String, String, String, bool)> =
        sqlx::query_as(sql).fetch_all(target).await.map_err(theirs(OPERATION))?;
    let mut tables: Vec<Table> = Vec::new();
    for (name, column, kind, counted) in rows {
        if tables.last().is_none_or(|table| table.name != name) {
            tables.push(Table { name, columns: Vec::new() });
        }
        if let Some(table) = tables.last_mut() {
            table.columns.push((column, kind, counted));
        }
    }
    Ok(tables)
}

async fn count_theirs(target: &mut PgConnection, table: &str) -> Result<i64, StoreError> {
    let text = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query_scalar(text).fetch_one(target).await.map_err(theirs(OPERATION))
}

async fn copy(source: &mut SqliteConnection, target: &mut PgConnection, table: &Table) -> Result<(), StoreError> {
    let names: Vec<&str> = table.columns.iter().map(|(name, ..)| name.as_str()).collect();
    let names = names.join(", ");
    let most = (VALUES / table.columns.len().max(1)).clamp(1, ROWS);
    let text = AssertSqlSafe(format!("SELECT {names} FROM {}", table.name));
    let mut rows = sqlx::query(text).fetch(source);
    let mut piece = Vec::with_capacity(most);
    loop {
        let row = rows.try_next().await.map_err(ours(OPERATION))?;
        let ended = row.is_none();
        piece.extend(row);
        if piece.len() >= most || (ended && !piece.is_empty()) {
            write(target, table, &names, &piece).await?;
            piece.clear();
        }
        if ended {
            break;
        }
    }
    if let Some((column, ..)) = table.columns.iter().find(|(.., counted)| *counted) {
        let name = &table.name;
        let text = format!(
            "SELECT setval(pg_get_serial_sequence('{name}', '{column}'), greatest((SELECT max({column}) FROM {name}), 1), \
             EXISTS (SELECT 1 FROM {name}))"
        );
        sqlx::query(AssertSqlSafe(text)).execute(target).await.map_err(theirs(OPERATION))?;
    }
    Ok(())
}

async fn write(target: &mut PgConnection, table: &Table, names: &str, rows: &[SqliteRow]) -> Result<(), StoreError> {
    let mut arguments = PgArguments::default();
    let (mut text, mut place) = (format!("INSERT INTO {} ({names}) OVERRIDING SYSTEM VALUE VALUES ", table.name), 0);
    for (number, row) in rows.iter().enumerate() {
        text.push_str(if number == 0 { "(" } else { ",(" });
        for (at, (_, kind, _)) in table.columns.iter().enumerate() {
            place += 1;
            if at > 0 {
                text.push(',');
            }
            text.push('$');
            text.push_str(&place.to_string());
            bind(&mut arguments, row, at, kind).map_err(ours(OPERATION))?;
        }
        text.push(')');
    }
    sqlx::query_with(AssertSqlSafe(text), arguments).execute(target).await.map_err(theirs(OPERATION))?;
    Ok(())
}

/// Reads a value as SQLite holds it and writes it as PostgreSQL does.
fn bind(arguments: &mut PgArguments, row: &SqliteRow, at: usize, kind: &str) -> Result<(), sqlx::Error> {
    let integer = || row.try_get::<Option<i64>, _>(at);
    let narrow = |value: i64| i16::try_from(value).map_err(|error| sqlx::Error::Decode(Box::new(error)));
    let added = match kind {
        "smallint" => arguments.add(integer()?.map(narrow).transpose()?),
        "boolean" => arguments.add(integer()?.map(|value| value != 0)),
        "double precision" => arguments.add(row.try_get::<Option<f64>, _>(at)?),
        "text" => arguments.add(row.try_get::<Option<String>, _>(at)?.map(escape)),
        "bytea" => arguments.add(row.try_get::<Option<Vec<u8>>, _>(at)?),
        _ => arguments.add(integer()?),
    };
    added.map_err(sqlx::Error::Encode)
}
