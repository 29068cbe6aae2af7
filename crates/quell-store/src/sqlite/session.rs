//! Statements on a connection to SQLite. Absent on purpose: which statements.

use std::fmt::Write as _;

use futures::TryStreamExt as _;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, Decode, Row as _, Sqlite, SqliteConnection, Type};

use super::error::fault;
use crate::contract::StoreError;
use crate::sql::{Cell, Frame, Put, Query, Row, Session, damaged};

/// The most rows of one statement.
const MOST: usize = 64;

impl Session for SqliteConnection {
    type Row = SqliteRow;

    /// Powers of two, so that few texts are ever prepared.
    fn piece(left: usize) -> usize {
        if left >= MOST { MOST } else { (left + 1).next_power_of_two() / 2 }
    }

    async fn execute(&mut self, operation: &'static str, query: Query) -> Result<u64, StoreError> {
        let arguments = arguments(operation, query.values)?;
        let done = sqlx::query_with(AssertSqlSafe(query.text), arguments).execute(self).await;
        Ok(done.map_err(fault(operation))?.rows_affected())
    }

    async fn collect<T: Send>(
        &mut self,
        operation: &'static str,
        query: Query,
        read: impl Fn(&SqliteRow) -> Result<T, StoreError> + Send,
    ) -> Result<Vec<T>, StoreError> {
        let arguments = arguments(operation, query.values)?;
        let mut rows = sqlx::query_with(AssertSqlSafe(query.text), arguments).fetch(self);
        let mut items = Vec::new();
        while let Some(row) = rows.try_next().await.map_err(fault(operation))? {
            items.push(read(&row)?);
        }
        Ok(items)
    }

    /// `before VALUES (…),(…) after`. Tenant and shard stand in the text, because a numbered parameter that many rows
    /// share is looked up by name for every one of them.
    async fn write(&mut self, operation: &'static str, frame: Frame<'_>, values: Vec<Cell>) -> Result<u64, StoreError> {
        let Frame { before, shard, finds: _, columns, after } = frame;
        let rows = values.len() / columns;
        let mut text = String::with_capacity(before.len() + after.len() + rows * (columns * 2 + 8) + 16);
        text.push_str(before);
        text.push_str(" VALUES ");
        let places = &",?".repeat(columns);
        for at in 0..rows {
            text.push_str(if at == 0 { "(" } else { ",(" });
            write!(text, "{},{}{places}", shard.tenant, shard.number).expect("writing to a string does not fail");
            text.push(')');
        }
        text.push(' ');
        text.push_str(after);
        self.execute(operation, Query { text, values }).await
    }

    async fn put(&mut self, operation: &'static str, put: Put<'_>, values: Vec<Cell>) -> Result<u64, StoreError> {
        let Put { table, shard, tail } = put;
        let before = table.insert();
        let frame = Frame { before: &before, shard, finds: false, columns: table.columns.len(), after: tail };
        self.write(operation, frame, values).await
    }
}

fn arguments(operation: &'static str, values: Vec<Cell>) -> Result<SqliteArguments, StoreError> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(values.len(), 0);
    for value in values {
        let added = match value {
            Cell::Integer(value) => arguments.add(value),
            Cell::Real(value) => arguments.add(value),
            Cell::Truth(value) => arguments.add(value),
            Cell::Text(value) => arguments.add(value),
            Cell::Bytes(value) => arguments.add(value),
        };
        added.map_err(|why| damaged(operation, "a row written", why.to_string()))?;
    }
    Ok(arguments)
}

/// Unchecked means only that SQLite's declared types are not compared; a value that does not fit is still an error.
fn cell<'r, T: Decode<'r, Sqlite> + Type<Sqlite>>(row: &'r SqliteRow, at: usize) -> Result<Option<T>, sqlx::Error> {
    row.try_get_unchecked(at)
}

impl Row for SqliteRow {
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

    fn fault(operation: &'static str, error: sqlx::Error) -> StoreError {
        fault(operation)(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_everything_once() {
        for len in (0..40).chain([255, 256, 257, 511, 700, 1024]) {
            let mut left = len;
            while left > 0 {
                let piece = SqliteConnection::piece(left);
                assert!(piece.is_power_of_two() && piece <= left, "{len}");
                left -= piece;
            }
        }
    }
}
