//! A statement with its values, and statements of many rows, for either database. Absent on purpose: what the columns
//! mean, and how a database is reached.

use quell_domain::Shard;

use super::Session;
use crate::contract::StoreError;

/// A value of a column.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Cell {
    /// A number without fractions; `u64` with the same bits.
    Integer(Option<i64>),
    /// A number with them.
    Real(Option<f64>),
    /// Yes or no.
    Truth(bool),
    /// A text.
    Text(Option<String>),
    /// Bytes.
    Bytes(Option<Vec<u8>>),
}

macro_rules! cells {
    ($($kind:ty => |$value:ident| $cell:expr;)*) => {
        $(impl From<$kind> for Cell {
            fn from($value: $kind) -> Cell {
                $cell
            }
        })*
    };
}

cells! {
    i64 => |value| Cell::Integer(Some(value));
    f64 => |value| Cell::Real(Some(value));
    i32 => |value| Cell::Integer(Some(value.into()));
    u32 => |value| Cell::Integer(Some(value.into()));
    u8 => |value| Cell::Integer(Some(value.into()));
    bool => |value| Cell::Truth(value);
    String => |value| Cell::Text(Some(value));
    Vec<u8> => |value| Cell::Bytes(Some(value));
    Option<i64> => |value| Cell::Integer(value);
    Option<u32> => |value| Cell::Integer(value.map(i64::from));
    Option<f64> => |value| Cell::Real(value);
    Option<String> => |value| Cell::Text(value);
    Option<Vec<u8>> => |value| Cell::Bytes(value);
}

/// A statement whose values are being bound. In its text `?` stands for the next value and `?7` for the seventh; a text
/// has the one kind or the other, and no question mark besides.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Query {
    pub(crate) text: String,
    pub(crate) values: Vec<Cell>,
}

impl Query {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Query { text: text.into(), values: Vec::new() }
    }

    /// The next value.
    pub(crate) fn bind(mut self, value: impl Into<Cell>) -> Self {
        self.values.push(value.into());
        self
    }

    /// More text.
    pub(crate) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// A value in its place.
    pub(crate) fn push_bind(&mut self, value: impl Into<Cell>) -> &mut Self {
        self.text.push('?');
        self.values.push(value.into());
        self
    }

    /// Values in their place, for `IN`: with commas between them, and one that equals nothing where there is none.
    pub(crate) fn push_list<T: Into<Cell>>(&mut self, values: impl IntoIterator<Item = T>) -> &mut Self {
        let mut any = false;
        for value in values {
            self.push(if std::mem::replace(&mut any, true) { ", " } else { "" }).push_bind(value);
        }
        if any { self } else { self.push("NULL") }
    }
}

/// A query of one shard's rows; more conditions may follow.
pub(crate) fn within(select: &str, shard: Shard, table: &str) -> Query {
    let mut sql = Query::new(select);
    sql.push(" WHERE ").push(table).push("tenant = ").push_bind(shard.tenant);
    sql.push(" AND ").push(table).push("shard = ").push_bind(shard.number);
    sql
}

/// What stands around the rows of a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// Before them.
    pub(crate) before: &'a str,
    /// The shard, whose tenant and number each row begins with.
    pub(crate) shard: Shard,
    /// Other rows are found by them, so it matters how many there are of either: the plan of a run that met an empty table
    /// must not be kept for one that meets a full one.
    pub(crate) finds: bool,
    /// The values of a row.
    pub(crate) columns: usize,
    /// After them.
    pub(crate) after: &'a str,
}

/// A table into which rows are put.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its columns after tenant and shard.
    pub(crate) columns: &'static [&'static str],
}

impl Table {
    /// What stands before the rows of an `INSERT`.
    pub(crate) fn insert(self) -> String {
        format!("INSERT INTO {} (tenant, shard, {})", self.name, self.columns.join(", "))
    }
}

/// What becomes of rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Put<'a> {
    /// Where they go.
    pub(crate) table: Table,
    /// The shard, whose tenant and number each row begins with.
    pub(crate) shard: Shard,
    /// What is done where a row is there already, if one may be.
    pub(crate) tail: &'a str,
}

/// Puts a row for each item into a table; `tail` says what is done where one is there already. Of one key there may be
/// one item only.
pub(crate) async fn put_rows<S: Session, I: Sync>(
    session: &mut S,
    (operation, shard): (&'static str, Shard),
    (table, tail): (Table, &str),
    items: &[I],
    bind: impl Fn(Query, &I) -> Query + Send,
) -> Result<(), StoreError> {
    let mut left = items;
    while !left.is_empty() {
        let (piece, rest) = left.split_at(S::piece(left.len()));
        session.put(operation, Put { table, shard, tail }, values(piece, table.columns.len(), &bind)).await?;
        left = rest;
    }
    Ok(())
}

/// The values of items, one after the other.
fn values<I>(items: &[I], columns: usize, bind: impl Fn(Query, &I) -> Query) -> Vec<Cell> {
    let empty = Query { text: String::new(), values: Vec::with_capacity(items.len() * columns) };
    items.iter().fold(empty, bind).values
}

/// Writes items with as few statements as the database allows, each of one row for each item: `head`, the rows, `tail`.
/// The first two columns are tenant and shard. Returns how many rows were written.
pub(crate) async fn write_rows<S: Session, I: Sync>(
    session: &mut S,
    (operation, shard): (&'static str, Shard),
    (head, columns, tail): (&str, usize, &str),
    items: &[I],
    bind: impl Fn(Query, &I) -> Query + Send,
) -> Result<u64, StoreError> {
    let frame = Frame { before: head, shard, finds: false, columns, after: tail };
    in_pieces(session, operation, frame, items, bind).await
}

/// Runs a statement that reads tenant, shard and `columns` of a table `given`, which has one row for each item. Rows of
/// other tables are found by all of them together: a planner that knows nothing of a table yet takes tenant and shard, as
/// constants, for so rare that it reads the whole shard for each item. For the same reason it must not look into `given`.
pub(crate) async fn with_given<S: Session, I: Sync>(
    session: &mut S,
    (operation, shard): (&'static str, Shard),
    (columns, statement): (&[&str], &str),
    items: &[I],
    bind: impl Fn(Query, &I) -> Query + Send,
) -> Result<(), StoreError> {
    let before = format!("WITH given (tenant, shard, {}) AS MATERIALIZED (", columns.join(", "));
    let after = format!(") {statement}");
    let frame = Frame { before: &before, shard, finds: true, columns: columns.len(), after: &after };
    in_pieces(session, operation, frame, items, bind).await.map(drop)
}

async fn in_pieces<S: Session, I: Sync>(
    session: &mut S,
    operation: &'static str,
    frame: Frame<'_>,
    items: &[I],
    bind: impl Fn(Query, &I) -> Query + Send,
) -> Result<u64, StoreError> {
    let (mut left, mut changed) = (items, 0);
    while !left.is_empty() {
        let (piece, rest) = left.split_at(S::piece(left.len()));
        changed += session.write(operation, frame, values(piece, frame.columns, &bind)).await?;
        left = rest;
    }
    Ok(changed)
}
