//! Rows as one value: an array of a table's own row type, in the format that PostgreSQL's array_recv and record_recv
//! take.
//!
//! Absent on purpose: the statement around it. Numbers are big-endian.

use quell_domain::Shard;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgTypeKind};
use sqlx::{Encode, Postgres, Type, TypeInfo as _};

use super::escape;
use crate::contract::StoreError;
use crate::sql::{Cell, Table, damaged};

/// Instead of a length: no value.
const NONE: i32 = -1;

/// An array of rows.
pub(super) struct Rows {
    of: &'static str,
    bytes: Vec<u8>,
}

impl Type<Postgres> for Rows {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("record[]")
    }
}

impl Encode<'_, Postgres> for Rows {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.bytes);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::array_of(self.of))
    }
}

/// How a column holds its values.
#[derive(Clone, Copy)]
enum Kind {
    Small,
    Big,
    Real,
    Truth,
    Text,
    Bytes,
}

/// Where a column's values come from.
#[derive(Clone, Copy)]
enum Fill {
    Tenant,
    Shard,
    /// The value at that place of each row.
    Value(usize),
    /// The database gives it.
    Nowhere,
}

/// A column of the row type: its type's number, and how it is filled.
type Column = (u32, Kind, Fill);

fn columns(operation: &'static str, table: Table, of: &PgTypeInfo) -> Result<Vec<Column>, StoreError> {
    let wrong = |name: &str, why: &str| damaged(operation, format!("column {name} of {}", table.name), why);
    let PgTypeKind::Composite(fields) = of.kind() else {
        return Err(wrong("*", "the table has no row type"));
    };
    let column = |(name, of): &(String, PgTypeInfo)| {
        let kind = match of.name() {
            "INT2" => Kind::Small,
            "INT8" => Kind::Big,
            "FLOAT8" => Kind::Real,
            "BOOL" => Kind::Truth,
            "TEXT" => Kind::Text,
            "BYTEA" => Kind::Bytes,
            _ => return Err(wrong(name, "its type is not one of the schema")),
        };
        let from = match &**name {
            "tenant" => Fill::Tenant,
            "shard" => Fill::Shard,
            name => table.columns.iter().position(|column| *column == name).map_or(Fill::Nowhere, Fill::Value),
        };
        let number = of.oid().ok_or_else(|| wrong(name, "its type has no number"))?;
        Ok((number.0, kind, from))
    };
    fields.iter().map(column).collect()
}

/// Makes rows of values, which stand one row after the other in the order of the table's columns; `of` is the table's row
/// type.
pub(super) fn rows(
    operation: &'static str,
    table: Table,
    of: &PgTypeInfo,
    shard: Shard,
    values: &[Cell],
) -> Result<Rows, StoreError> {
    let columns = columns(operation, table, of)?;
    let wrong = |at: usize, why: &str| {
        damaged(operation, format!("column {} of a row of {}", table.columns[at], table.name), why)
    };
    let number = of.oid().ok_or_else(|| wrong(0, "the row type has no number"))?.0;
    let all = values.len() / table.columns.len();
    let size = values.iter().map(room).sum::<usize>() + all * (12 + columns.len() * 8) + 20;
    let mut out = Out(Vec::with_capacity(size));
    // One dimension, no row that is null, of that type, so many, counted from one.
    [1, 0, number.cast_signed(), length(all), 1].into_iter().for_each(|number| out.number(number));
    for row in values.chunks_exact(table.columns.len()) {
        let begins = out.0.len();
        out.number(0);
        out.number(length(columns.len()));
        for &(number, kind, from) in &columns {
            out.number(number.cast_signed());
            match from {
                Fill::Tenant => out.value(&i64::from(shard.tenant).to_be_bytes()),
                Fill::Shard => out.value(&i64::from(shard.number).to_be_bytes()),
                Fill::Nowhere => out.number(NONE),
                Fill::Value(at) => out.cell(kind, &row[at]).map_err(|why| wrong(at, why))?,
            }
        }
        let ends = out.0.len();
        out.0[begins..begins + 4].copy_from_slice(&length(ends - begins - 4).to_be_bytes());
    }
    Ok(Rows { of: table.name, bytes: out.0 })
}

struct Out(Vec<u8>);

impl Out {
    fn number(&mut self, number: i32) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    fn value(&mut self, bytes: &[u8]) {
        self.number(length(bytes.len()));
        self.0.extend_from_slice(bytes);
    }

    fn cell(&mut self, kind: Kind, cell: &Cell) -> Result<(), &'static str> {
        match (kind, cell) {
            (_, Cell::Integer(None) | Cell::Real(None) | Cell::Text(None) | Cell::Bytes(None)) => self.number(NONE),
            (Kind::Big, Cell::Integer(Some(number))) => self.value(&number.to_be_bytes()),
            (Kind::Small, Cell::Integer(Some(number))) => {
                let small = i16::try_from(*number).map_err(|_| "a number is out of range")?;
                self.value(&small.to_be_bytes());
            }
            (Kind::Real, Cell::Real(Some(number))) => self.value(&number.to_be_bytes()),
            (Kind::Truth, Cell::Truth(yes)) => self.value(&[u8::from(*yes)]),
            (Kind::Text, Cell::Text(Some(text))) => self.value(escape::escaped(text).as_bytes()),
            (Kind::Bytes, Cell::Bytes(Some(bytes))) => self.value(bytes),
            _ => return Err("a value is of another kind than its column"),
        }
        Ok(())
    }
}

/// About how many bytes a value takes.
fn room(cell: &Cell) -> usize {
    match cell {
        Cell::Text(text) => text.as_ref().map_or(0, String::len),
        Cell::Bytes(bytes) => bytes.as_ref().map_or(0, Vec::len),
        Cell::Integer(_) | Cell::Real(_) | Cell::Truth(_) => 8,
    }
}

/// What is longer than 2 GiB does not come about: the server's own limit is 1 GiB, and the log's is far below it.
fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("nothing written has 2 GiB")
}
