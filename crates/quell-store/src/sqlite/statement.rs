//! Statements of many rows. Absent on purpose: what the columns mean.

use std::fmt::Write as _;
use std::ops::Range;

use quell_domain::Shard;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};

use super::error::fault;
use crate::contract::StoreError;

/// A statement whose values are being bound.
pub(super) type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// The most rows of one statement.
const MOST: usize = 64;

/// Writes items with as few statements as possible, each of one row for each item: `head VALUES (…),(…) tail`.
///
/// The first two columns are tenant and shard; they stand in the text, because a numbered parameter that many rows share
/// is looked up by name for every one of them. Sizes are powers of two, so that few texts are ever prepared.
pub(super) async fn write_rows<I>(
    connection: &mut SqliteConnection,
    (operation, shard): (&'static str, Shard),
    (head, columns, tail): (&str, usize, &str),
    items: &[I],
    bind: impl Fn(Query, &I) -> Query,
) -> Result<(), StoreError> {
    for piece in pieces(items.len()) {
        let mut sql = String::with_capacity(head.len() + tail.len() + piece.len() * (columns * 2 + 8) + 16);
        sql.push_str(head);
        sql.push_str(" VALUES ");
        for at in 0..piece.len() {
            let comma = if at == 0 { "" } else { "," };
            write!(sql, "{comma}({},{}", shard.tenant, shard.number).expect("writing to a string does not fail");
            sql.push_str(&",?".repeat(columns));
            sql.push(')');
        }
        sql.push(' ');
        sql.push_str(tail);
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for item in &items[piece] {
            query = bind(query, item);
        }
        query.execute(&mut *connection).await.map_err(fault(operation))?;
    }
    Ok(())
}

/// `VALUES (?),(?)…` of the numbers of one piece, for use as a set; see [`pieces`].
pub(super) fn number_set(numbers: usize) -> String {
    let mut set = String::from("(VALUES ");
    for at in 0..numbers {
        set.push_str(if at == 0 { "(?)" } else { ",(?)" });
    }
    set.push(')');
    set
}

/// Ranges that cover `0..len`: full ones first, then powers of two.
pub(super) fn pieces(len: usize) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let left = len - from;
        let size = if left >= MOST { MOST } else { (left + 1).next_power_of_two() / 2 };
        let piece = from..from + size;
        from += size;
        (size > 0).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_everything_once() {
        for len in (0..40).chain([255, 256, 257, 511, 700, 1024]) {
            let covered: Vec<usize> = pieces(len).flatten().collect();
            assert_eq!(covered, (0..len).collect::<Vec<_>>(), "{len}");
            assert!(pieces(len).all(|piece| piece.len().is_power_of_two()), "{len}");
        }
    }
}
