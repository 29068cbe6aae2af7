//! The store in one SQLite file: WAL, synced at every commit, one connection that writes and a few that read.
//!
//! Absent on purpose: clocks; every instant is handed in.

pub(crate) mod error;
pub(crate) mod open;
mod session;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::contract::StoreError;
use crate::sql::Backend;
use error::fault;

/// Rows written since the last checkpoint after which the next one is made.
const CHECKPOINT_ROWS: usize = 2_000;

/// The named limits of a store.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The greatest size of the file, in pages of 8 KiB; what does not fit is refused as by a full disk.
    pub max_pages: Option<u32>,
}

/// A store in one SQLite file. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    connect: SqliteConnectOptions,
    /// Empty while a writer has it, and after a fault: a connection whose transaction failed is not used again.
    writer: Arc<Mutex<Option<SqliteConnection>>>,
    readers: SqlitePool,
    unsettled: AtomicUsize,
    /// Set when a checkpoint failed: what it moved may be lost, so nothing may be committed after it.
    failed: AtomicBool,
}

/// The right to write.
pub(crate) struct Lease {
    operation: &'static str,
    connection: SqliteConnection,
    home: OwnedMutexGuard<Option<SqliteConnection>>,
    store: SqliteStore,
}

impl Lease {
    async fn run(&mut self, sql: &'static str) -> Result<(), StoreError> {
        sqlx::raw_sql(sql).execute(&mut self.connection).await.map(drop).map_err(fault(self.operation))
    }

    fn give_back(mut self) {
        *self.home = Some(self.connection);
    }
}

impl crate::sql::Lease for Lease {
    type Session = SqliteConnection;

    fn session(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    async fn begin(&mut self) -> Result<(), StoreError> {
        self.run("BEGIN IMMEDIATE").await
    }

    async fn freeze(&mut self) -> Result<(), StoreError> {
        self.run("BEGIN").await
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        self.run("COMMIT").await
    }

    fn keep(self, rows: usize) {
        let store = self.store.clone();
        self.give_back();
        store.wrote(rows);
    }
}

impl SqliteStore {
    /// Opens the store in a file, which is created where it is missing, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::TooNew`] for a file of a later quell, else what the disk says.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, Options::default()).await
    }

    /// As [`SqliteStore::open`], with limits.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub async fn open_with(path: &Path, options: Options) -> Result<Self, StoreError> {
        let (connect, writer, readers) = open::open(path, &options).await?;
        let writer = Arc::new(Mutex::new(Some(writer)));
        let (unsettled, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        Ok(SqliteStore { inner: Arc::new(Inner { connect, writer, readers, unsettled, failed }) })
    }

    /// Opens the store in a file only to read it, whether or not a process writes to it. What would change it fails.
    ///
    /// # Errors
    /// [`StoreError::TooNew`] and [`StoreError::TooOld`] for files of other versions, else what the disk says.
    pub async fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let (connect, readers) = open::open_read_only(path).await?;
        let (writer, unsettled, failed) = (Arc::default(), AtomicUsize::new(0), AtomicBool::new(false));
        Ok(SqliteStore { inner: Arc::new(Inner { connect, writer, readers, unsettled, failed }) })
    }

    /// Copies a store as it is at one instant into a new file, whether or not a process writes to it.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn back_up(path: &Path, to: &Path) -> Result<(), StoreError> {
        let operation = "back up";
        let mut connection = open::read_only(path).connect().await.map_err(fault(operation))?;
        let copied = sqlx::query("VACUUM INTO ?").bind(to.to_string_lossy().into_owned());
        copied.execute(&mut connection).await.map_err(fault(operation))?;
        connection.close().await.map_err(fault(operation))
    }

    /// Closes the file. What is asked of the store after that fails.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        if let Some(writer) = self.inner.writer.lock().await.take()
            && let Err(error) = writer.close().await
        {
            tracing::warn!(%error, "the store's file was not closed cleanly; it will be recovered at the next start");
        }
    }

    /// Counts what was written; when it is much, moves it from the WAL into the file, behind the writer's back.
    fn wrote(&self, rows: usize) {
        if self.inner.unsettled.fetch_add(rows + 1, Ordering::Relaxed) + rows + 1 < CHECKPOINT_ROWS {
            return;
        }
        self.inner.unsettled.store(0, Ordering::Relaxed);
        let store = self.clone();
        tokio::spawn(async move { store.checkpoint().await });
    }

    async fn checkpoint(&self) {
        let operation = "checkpoint";
        let Ok(mut lease) = self.lease(operation).await else { return };
        let done = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut lease.connection).await;
        match done.map_err(fault(operation)) {
            Ok(_) | Err(StoreError::DiskFull { .. } | StoreError::Unavailable { .. }) => lease.give_back(),
            Err(error) => {
                self.inner.failed.store(true, Ordering::Release);
                tracing::error!(%error, "the store's disk failed: nothing is committed any more");
            }
        }
    }
}

impl Backend for SqliteStore {
    type Session = SqliteConnection;
    type Reader = PoolConnection<Sqlite>;
    type Snapshot = Transaction<'static, Sqlite>;
    type Lease = Lease;

    async fn reader(&self, operation: &'static str) -> Result<PoolConnection<Sqlite>, StoreError> {
        self.inner.readers.acquire().await.map_err(fault(operation))
    }

    async fn snapshot(&self, operation: &'static str) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.inner.readers.begin().await.map_err(fault(operation))
    }

    async fn lease(&self, operation: &'static str) -> Result<Lease, StoreError> {
        let mut home = Arc::clone(&self.inner.writer).lock_owned().await;
        if self.inner.failed.load(Ordering::Acquire) {
            let source = sqlx::Error::Io(std::io::Error::other("an earlier checkpoint failed"));
            return Err(StoreError::DiskFailed { operation, source });
        }
        let connection = match home.take() {
            Some(connection) => connection,
            None => self.inner.connect.connect().await.map_err(fault(operation))?,
        };
        Ok(Lease { operation, connection, home, store: self.clone() })
    }
}
