//! Statements on a connection to PostgreSQL. Absent on purpose: which statements.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use futures::TryStreamExt as _;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{
    Arguments as _, AssertSqlSafe, Column as _, Decode, Executor as _, PgConnection, Postgres, Row as _,
    SqlSafeStr as _, Statement as _, Type,
};

use super::error::{fault, late};
use super::{escape, rows};
use crate::contract::StoreError;
use crate::sql::{Cell, Frame, Put, Query, Row, Session, Table, damaged};

/// The most rows of one statement, so that one message stays small beside the process.
const MOST: usize = 4096;

/// How long an answer may take. Longer than the server's own limit: beyond it the network is what does not answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(75);

/// Waits for an answer, but not for ever.
pub(super) async fn in_time<T>(
    operation: &'static str,
    answer: impl Future<Output = Result<T, StoreError>> + Send,
) -> Result<T, StoreError> {
    tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(late(operation)))
}

impl Session for PgConnection {
    type Row = PgRow;

    fn piece(left: usize) -> usize {
        left.min(MOST)
    }

    async fn execute(&mut self, operation: &'static str, query: Query) -> Result<u64, StoreError> {
        let arguments = arguments(operation, query.values)?;
        let query = sqlx::query_with(AssertSqlSafe(numbered(&query.text)), arguments);
        let done = in_time(operation, async { query.execute(self).await.map_err(fault(operation)) });
        Ok(done.await?.rows_affected())
    }

    async fn collect<T: Send>(
        &mut self,
        operation: &'static str,
        query: Query,
        read: impl Fn(&PgRow) -> Result<T, StoreError> + Send,
    ) -> Result<Vec<T>, StoreError> {
        let arguments = arguments(operation, query.values)?;
        let mut rows = sqlx::query_with(AssertSqlSafe(numbered(&query.text)), arguments).fetch(self);
        let mut items = Vec::new();
        while let Some(row) = in_time(operation, async { rows.try_next().await.map_err(fault(operation)) }).await? {
            items.push(read(&row)?);
        }
        Ok(items)
    }

    /// `before SELECT … FROM unnest($1, …) after`: one array for each column, so that the text is the same for any
    /// number of rows.
    async fn write(&mut self, operation: &'static str, frame: Frame<'_>, values: Vec<Cell>) -> Result<u64, StoreError> {
        let Frame { before, shard, finds, columns, after } = frame;
        let mut text = String::with_capacity(before.len() + after.len() + columns * 5 + 64);
        text.push_str(before);
        write!(text, " SELECT {}, {}, item.* FROM unnest(", shard.tenant, shard.number)
            .expect("writing to a string does not fail");
        for at in 1..=columns {
            let comma = if at == 1 { "" } else { ", " };
            write!(text, "{comma}${at}").expect("writing to a string does not fail");
        }
        text.push_str(") AS item ");
        text.push_str(after);
        let mut arguments = PgArguments::default();
        for column in transposed(operation, values, columns)? {
            let added = match column {
                Column::Integer(values) => arguments.add(values),
                Column::Real(values) => arguments.add(values),
                Column::Truth(values) => arguments.add(values),
                Column::Text(values) => arguments.add(values),
                Column::Bytes(values) => arguments.add(values),
            };
            added.map_err(|why| damaged(operation, "a row written", why.to_string()))?;
        }
        let query = sqlx::query_with(AssertSqlSafe(text), arguments).persistent(!finds);
        let done = in_time(operation, async { query.execute(self).await.map_err(fault(operation)) });
        Ok(done.await?.rows_affected())
    }

    /// `INSERT … SELECT … FROM unnest(…)` of an array of the table's own rows.
    async fn put(&mut self, operation: &'static str, put: Put<'_>, values: Vec<Cell>) -> Result<u64, StoreError> {
        let Put { table, shard, tail } = put;
        let Table { name, columns } = table;
        let whole = AssertSqlSafe(format!("SELECT {name} FROM {name}")).into_sql_str();
        let prepared = in_time(operation, async { self.prepare(whole).await.map_err(fault(operation)) }).await?;
        let rows = rows::rows(operation, table, prepared.columns()[0].type_info(), shard, &values)?;
        drop(values);
        let text = format!(
            "{} SELECT item.tenant, item.shard, item.{} FROM unnest($1) AS item {tail}",
            table.insert(),
            columns.join(", item.")
        );
        let mut arguments = PgArguments::default();
        arguments.add(rows).map_err(|why| damaged(operation, "rows written", why.to_string()))?;
        let query = sqlx::query_with(AssertSqlSafe(text), arguments);
        let done = in_time(operation, async { query.execute(self).await.map_err(fault(operation)) });
        Ok(done.await?.rows_affected())
    }
}

/// The values of a column of many rows.
enum Column {
    Integer(Vec<Option<i64>>),
    Real(Vec<Option<f64>>),
    Truth(Vec<bool>),
    Text(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

/// Rows to columns.
fn transposed(operation: &'static str, values: Vec<Cell>, columns: usize) -> Result<Vec<Column>, StoreError> {
    let rows = values.len() / columns.max(1);
    let mut all: Vec<Column> = Vec::with_capacity(columns);
    for cell in &values[..columns.min(values.len())] {
        all.push(match cell {
            Cell::Integer(_) => Column::Integer(Vec::with_capacity(rows)),
            Cell::Real(_) => Column::Real(Vec::with_capacity(rows)),
            Cell::Truth(_) => Column::Truth(Vec::with_capacity(rows)),
            Cell::Text(_) => Column::Text(Vec::with_capacity(rows)),
            Cell::Bytes(_) => Column::Bytes(Vec::with_capacity(rows)),
        });
    }
    for (at, cell) in values.into_iter().enumerate() {
        match (&mut all[at % columns], cell) {
            (Column::Integer(column), Cell::Integer(value)) => column.push(value),
            (Column::Real(column), Cell::Real(value)) => column.push(value),
            (Column::Truth(column), Cell::Truth(value)) => column.push(value),
            (Column::Text(column), Cell::Text(value)) => column.push(value.map(escape::escape)),
            (Column::Bytes(column), Cell::Bytes(value)) => column.push(value),
            _ => return Err(damaged(operation, "a row written", "its values are of other kinds than those before")),
        }
    }
    Ok(all)
}

fn arguments(operation: &'static str, values: Vec<Cell>) -> Result<PgArguments, StoreError> {
    let mut arguments = PgArguments::default();
    for value in values {
        let added = match value {
            Cell::Integer(value) => arguments.add(value),
            Cell::Real(value) => arguments.add(value),
            Cell::Truth(value) => arguments.add(value),
            Cell::Text(value) => arguments.add(value.map(escape::escape)),
            Cell::Bytes(value) => arguments.add(value),
        };
        added.map_err(|why| damaged(operation, "a row written", why.to_string()))?;
    }
    Ok(arguments)
}

/// `?` as `$1`, `$2`… and `?7` as `$7`.
fn numbered(text: &str) -> String {
    let mut numbered = String::with_capacity(text.len() + 16);
    let (mut parts, mut next) = (text.split('?'), 1);
    numbered.extend(parts.next());
    for part in parts {
        numbered.push('$');
        if !part.starts_with(|first: char| first.is_ascii_digit()) {
            write!(numbered, "{next}").expect("writing to a string does not fail");
            next += 1;
        }
        numbered.push_str(part);
    }
    numbered
}

/// Unchecked means only that the declared types are not compared: a small number may stand in a small column. A value
/// that does not fit is still an error.
fn cell<'r, T: Decode<'r, Postgres> + Type<Postgres>>(row: &'r PgRow, at: usize) -> Result<Option<T>, sqlx::Error> {
    row.try_get_unchecked(at)
}

impl Row for PgRow {
    fn integer(&self, at: usize) -> Result<Option<i64>, sqlx::Error> {
        cell(self, at)
    }

    fn real(&self, at: usize) -> Result<Option<f64>, sqlx::Error> {
        cell(self, at)
    }

    fn truth(&self, at: usize) -> Result<Option<bool>, sqlx::Error> {
        cell(self, at)
    }

    fn text(&self, at: usize) -> Result<Option<&str>, sqlx::Error> {
        cell(self, at)
    }

    fn bytes(&self, at: usize) -> Result<Option<&[u8]>, sqlx::Error> {
        cell(self, at)
    }

    fn plain(text: &str) -> Cow<'_, str> {
        escape::plain(text)
    }

    fn fault(operation: &'static str, error: sqlx::Error) -> StoreError {
        fault(operation)(error)
    }
}

#[cfg(test)]
mod tests {
    use super::numbered;

    #[test]
    fn places_are_numbered() {
        assert_eq!(numbered("a = ? AND b < (?, ?)"), "a = $1 AND b < ($2, $3)");
        assert_eq!(numbered("SET a = ?2, b = ?10 WHERE c = ?1"), "SET a = $2, b = $10 WHERE c = $1");
        assert_eq!(numbered("no place"), "no place");
    }
}
