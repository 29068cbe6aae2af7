//! What the stores in SQLite and in PostgreSQL have in common, which is nearly all: tables, statements, rows.
//!
//! The SQL is what both databases understand. Absent on purpose: connections, faults and schemas, which each database
//! has of its own kind.

mod change_events;
mod commit;
mod forecasts;
mod outbox;
mod problems;
mod read;
mod retention;
mod rows;
mod sharding;
mod statement;
mod store;

use std::borrow::Cow;
use std::ops::DerefMut;

use crate::contract::{Commit, Committed, StoreError};

pub(crate) use commit::Claimed;
pub(crate) use statement::{Cell, Frame, Put, Query, Table};

/// A connection to a database.
pub(crate) trait Session: Send {
    /// Its rows.
    type Row: Row;

    /// Of so many rows that are left to be written, how many the next statement takes.
    fn piece(left: usize) -> usize;

    /// Runs a statement; returns how many rows it changed.
    fn execute(
        &mut self,
        operation: &'static str,
        query: Query,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Runs a query and reads row by row: a whole result is never held beside what it is turned into.
    fn collect<T: Send>(
        &mut self,
        operation: &'static str,
        query: Query,
        read: impl Fn(&Self::Row) -> Result<T, StoreError> + Send,
    ) -> impl Future<Output = Result<Vec<T>, StoreError>> + Send;

    /// Runs a statement around rows, whose values stand one row after the other; returns how many rows it changed.
    fn write(
        &mut self,
        operation: &'static str,
        frame: Frame<'_>,
        values: Vec<Cell>,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Puts rows into a table; values as for [`Session::write`]. Returns how many rows it changed.
    fn put(
        &mut self,
        operation: &'static str,
        put: Put<'_>,
        values: Vec<Cell>,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// A row of a result.
pub(crate) trait Row {
    fn integer(&self, at: usize) -> Result<Option<i64>, sqlx::Error>;
    fn real(&self, at: usize) -> Result<Option<f64>, sqlx::Error>;
    fn truth(&self, at: usize) -> Result<Option<bool>, sqlx::Error>;
    /// A text as it lies in the database.
    fn text(&self, at: usize) -> Result<Option<&str>, sqlx::Error>;
    fn bytes(&self, at: usize) -> Result<Option<&[u8]>, sqlx::Error>;

    /// A text as it was given to the store.
    fn plain(text: &str) -> Cow<'_, str> {
        Cow::Borrowed(text)
    }

    /// What an error means.
    fn fault(operation: &'static str, error: sqlx::Error) -> StoreError;
}

/// The right to write. A connection goes back by [`Lease::keep`] only, so that neither a fault nor a dropped future
/// leaves a half-done transaction for the next writer.
pub(crate) trait Lease: Send {
    /// Its connection.
    type Session: Session;

    /// Its connection.
    fn session(&mut self) -> &mut Self::Session;

    /// Begins a transaction.
    fn begin(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Begins a transaction in which all that is read is of one instant.
    fn freeze(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends it.
    fn commit(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Gives the connection back after about so many rows were written.
    fn keep(self, rows: usize);
}

/// Connections to a database with the schema of a store.
pub(crate) trait Backend: Send + Sync + 'static {
    /// A connection.
    type Session: Session;
    /// One that reads.
    type Reader: DerefMut<Target = Self::Session> + Send;
    /// One that reads everything of one instant.
    type Snapshot: DerefMut<Target = Self::Session> + Send;
    /// One that writes.
    type Lease: Lease<Session = Self::Session>;

    /// A connection that reads.
    fn reader(&self, operation: &'static str) -> impl Future<Output = Result<Self::Reader, StoreError>> + Send;

    /// A connection that reads everything of one instant.
    fn snapshot(&self, operation: &'static str) -> impl Future<Output = Result<Self::Snapshot, StoreError>> + Send;

    /// A connection that writes.
    fn lease(&self, operation: &'static str) -> impl Future<Output = Result<Self::Lease, StoreError>> + Send;

    /// Refuses to take a shard over where another process may have changed the schema meanwhile.
    fn is_current(&self, _session: &mut Self::Session) -> impl Future<Output = Result<(), StoreError>> + Send {
        std::future::ready(Ok(()))
    }

    /// What an earlier attempt at this commit brought forth, if it turns out to have been made: where a database is
    /// reached over a network, the answer to a commit can get lost.
    ///
    /// Fails where earlier commits are not there any more.
    fn made_before(&self, _commit: &Commit<'_>, _claimed: Claimed) -> Result<Option<Committed>, StoreError> {
        Ok(None)
    }

    /// This commit is about to be made.
    fn making(&self, _commit: &Commit<'_>, _claimed: Claimed, _committed: &Committed) {}

    /// It is known what became of the commit that was about to be made.
    fn settled(&self, _commit: &Commit<'_>, _outcome: &Result<(), StoreError>) {}
}

/// A row that cannot be, for one operation.
pub(crate) fn damaged(operation: &'static str, what: impl Into<String>, why: impl Into<String>) -> StoreError {
    StoreError::Damaged { operation, what: what.into(), why: why.into() }
}
