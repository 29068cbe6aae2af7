//! The store in one SQLite file: WAL, synced at every commit, one connection that writes and a few that read.
//!
//! Absent on purpose: clocks; every instant is handed in.

mod change_events;
mod commit;
mod error;
mod forecasts;
mod open;
mod outbox;
mod problems;
mod read;
mod retention;
mod rows;
mod statement;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use quell_domain::{
    Alert, AlertId, ArtefactKind, ChangeId, Digest, Feedback, Fingerprint, Incident, IncidentId, Outcome, Position,
    Shard, Timestamp,
};
use quell_engine::{Checkpoint, Parked};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::contract::{
    AlertQuery, Answer, Change, ChangeQuery, Commit, Committed, Delivery, IncidentDetail, IncidentQuery, Page,
    Positions, Restored, Store, StoreError, Version,
};
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

/// The right to write. The connection is given back by [`Lease::keep`] only, so that neither a fault nor a dropped
/// future leaves a half-done transaction for the next writer.
struct Lease {
    operation: &'static str,
    connection: SqliteConnection,
    home: OwnedMutexGuard<Option<SqliteConnection>>,
}

impl Lease {
    async fn begin(&mut self) -> Result<Transaction<'_, Sqlite>, StoreError> {
        self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(fault(self.operation))
    }

    fn keep(mut self) {
        *self.home = Some(self.connection);
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

    /// Closes the file. What is asked of the store after that fails.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        if let Some(writer) = self.inner.writer.lock().await.take()
            && let Err(error) = writer.close().await
        {
            tracing::warn!(%error, "the store's file was not closed cleanly; it will be recovered at the next start");
        }
    }

    /// Decided commands after a place on their stream, in order, at most `limit`: what a replay puts back.
    ///
    /// # Errors
    /// As for every read.
    pub async fn outcomes(&self, shard: Shard, after: Position, limit: u32) -> Result<Vec<Outcome>, StoreError> {
        read::outcomes(&self.inner.readers, shard, after, limit).await
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
        Ok(Lease { operation, connection, home })
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
            Ok(_) | Err(StoreError::DiskFull { .. } | StoreError::Unavailable { .. }) => lease.keep(),
            Err(error) => {
                self.inner.failed.store(true, Ordering::Release);
                tracing::error!(%error, "the store's disk failed: nothing is committed any more");
            }
        }
    }
}

impl Store for SqliteStore {
    fn take_over(&self, shard: Shard) -> Answer<'_, Restored> {
        Box::pin(async move {
            let mut lease = self.lease("take over").await?;
            let mut transaction = lease.begin().await?;
            let restored = read::take_over(&mut transaction, shard).await?;
            transaction.commit().await.map_err(fault("take over"))?;
            lease.keep();
            Ok(restored)
        })
    }

    fn commit<'a>(&'a self, commit: Commit<'a>, sinks: &'a [String]) -> Answer<'a, Committed> {
        Box::pin(async move {
            let rows = commit::weight(&commit);
            let mut lease = self.lease("commit").await?;
            let mut transaction = lease.begin().await?;
            let committed = commit::write(&mut transaction, commit, sinks).await?;
            transaction.commit().await.map_err(fault("commit"))?;
            lease.keep();
            self.wrote(rows);
            Ok(committed)
        })
    }

    fn put_artefact<'a>(&'a self, kind: ArtefactKind, digest: Digest, bytes: &'a [u8]) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut lease = self.lease("put artefact").await?;
            sqlx::query("INSERT INTO artefacts (kind, digest, bytes) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
                .bind(kind as u8)
                .bind(digest.0.to_vec())
                .bind(bytes.to_vec())
                .execute(&mut lease.connection)
                .await
                .map_err(fault("put artefact"))?;
            lease.keep();
            self.wrote(bytes.len() / 1024);
            Ok(())
        })
    }

    fn artefact(&self, kind: ArtefactKind, digest: Digest) -> Answer<'_, Option<Vec<u8>>> {
        Box::pin(async move {
            sqlx::query_scalar("SELECT bytes FROM artefacts WHERE kind = ? AND digest = ?")
                .bind(kind as u8)
                .bind(digest.0.to_vec())
                .fetch_optional(&self.inner.readers)
                .await
                .map_err(fault("artefact"))
        })
    }

    fn versions(&self, shard: Shard, kind: ArtefactKind, at: Timestamp, limit: u32) -> Answer<'_, Vec<Version>> {
        Box::pin(read::versions(&self.inner.readers, shard, kind, at, limit))
    }

    fn drop_superseded(&self, shard: Shard, kind: ArtefactKind, before: Position) -> Answer<'_, u64> {
        Box::pin(async move {
            let mut lease = self.lease("drop superseded").await?;
            let mut transaction = lease.begin().await?;
            let gone = retention::drop_superseded(&mut transaction, shard, kind, before).await?;
            transaction.commit().await.map_err(fault("drop superseded"))?;
            lease.keep();
            Ok(gone)
        })
    }

    fn position(&self, shard: Shard) -> Answer<'_, (Positions, Checkpoint)> {
        Box::pin(read::position(&self.inner.readers, shard))
    }

    fn incidents(&self, shard: Shard, query: IncidentQuery) -> Answer<'_, Page<Incident, IncidentId>> {
        Box::pin(read::incidents(&self.inner.readers, shard, query))
    }

    fn incident(&self, shard: Shard, id: IncidentId, alerts: u32) -> Answer<'_, Option<IncidentDetail>> {
        Box::pin(read::incident(&self.inner.readers, shard, id, alerts))
    }

    fn alerts(&self, shard: Shard, query: AlertQuery) -> Answer<'_, Page<Alert, AlertId>> {
        Box::pin(read::alerts(&self.inner.readers, shard, query))
    }

    fn latest_alerts(&self, shard: Shard, before: Option<AlertId>, limit: u32) -> Answer<'_, Vec<Alert>> {
        Box::pin(read::latest_alerts(&self.inner.readers, shard, before, limit))
    }

    fn last_alert(&self, shard: Shard, through: Position) -> Answer<'_, Option<AlertId>> {
        Box::pin(read::last_alert(&self.inner.readers, shard, through))
    }

    fn episodes(&self, shard: Shard, fingerprint: Fingerprint, through: Position) -> Answer<'_, Vec<Alert>> {
        Box::pin(read::episodes(&self.inner.readers, shard, fingerprint, through))
    }

    fn parked_of(&self, shard: Shard, position: Position) -> Answer<'_, Vec<Parked>> {
        Box::pin(read::parked_of(&self.inner.readers, shard, position))
    }

    fn parked(&self, shard: Shard, limit: u32) -> Answer<'_, Vec<Parked>> {
        Box::pin(read::parked(&self.inner.readers, shard, limit))
    }

    fn feedback(&self, shard: Shard, limit: u32) -> Answer<'_, Vec<Feedback>> {
        Box::pin(read::feedback(&self.inner.readers, shard, limit))
    }

    fn change_events(&self, shard: Shard, query: ChangeQuery) -> Answer<'_, Page<quell_domain::Change, ChangeId>> {
        Box::pin(change_events::change_events(&self.inner.readers, shard, query))
    }

    fn changes_since(&self, shard: Shard, number: u64, limit: u32) -> Answer<'_, Vec<Change>> {
        Box::pin(read::changes_since(&self.inner.readers, shard, number, limit))
    }

    fn due<'a>(&'a self, sink: &'a str, now: Timestamp, limit: u32) -> Answer<'a, Vec<Delivery>> {
        Box::pin(outbox::due(&self.inner.readers, sink, now, limit))
    }

    fn delivered<'a>(&'a self, id: &'a str, at: Timestamp) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut lease = self.lease("delivered").await?;
            outbox::delivered(&mut lease.connection, id, at).await?;
            lease.keep();
            self.wrote(1);
            Ok(())
        })
    }

    fn failed<'a>(&'a self, id: &'a str, at: Timestamp, why: &'a str, retry_in: Option<Duration>) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut lease = self.lease("failed").await?;
            outbox::failed(&mut lease.connection, id, at, why, retry_in).await?;
            lease.keep();
            self.wrote(1);
            Ok(())
        })
    }

    fn forget_before(&self, shard: Shard, before: Timestamp) -> Answer<'_, u64> {
        Box::pin(async move {
            let mut gone = 0;
            // The writer is free for others between two pieces.
            loop {
                let mut lease = self.lease("forget").await?;
                let mut transaction = lease.begin().await?;
                let piece = retention::forget_piece(&mut transaction, shard, before).await?;
                transaction.commit().await.map_err(fault("forget"))?;
                lease.keep();
                self.wrote(usize::try_from(piece.rows).unwrap_or(usize::MAX / 2));
                gone += piece.rows;
                if !piece.more {
                    return Ok(gone);
                }
            }
        })
    }
}
