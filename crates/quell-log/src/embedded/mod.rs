//! The log of one machine: an SQLite file with one row for each record, one writer with group commit.
//!
//! # How a reader takes over
//! [`Opened::last`] names the newest record of each stream as it was found. Everything up to there is read with
//! [`Reader::read`] and never comes by a tail; everything after it, the [`quell_domain::RecordKind::Outage`] that open
//! itself may append included, comes by the [`Tail`] of its stream, each record exactly once and in order. So: first
//! read the backlog up to `last`, then take from the tails. What waits in a tail counts against the room that
//! [`Options`] gives, so an appender is refused rather than memory filled while the backlog is read.
//!
//! # Sign of life
//! The log keeps when it was last able to accept records. Where that is long past, at open and when a suspended process
//! wakes, it appends an Outage record before anything else; after a full disk too.
//!
//! Absent on purpose: what bodies mean, and any retry on behalf of a sender.

mod appender;
mod disk;
mod fault;
mod files;
mod reader;
mod tail;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use quell_domain::{Position, Timestamp};
use tokio::sync::{mpsc, watch};

pub use appender::Appender;
pub use reader::Reader;
pub use tail::Tail;

use crate::contract::{Clock, LogState};
use crate::room::Room;
use disk::Disk;
use writer::Writer;

/// The named limits of a log.
#[derive(Clone, Debug)]
pub struct Options {
    /// Records of alerts that may be appended and not yet taken by the reader.
    pub waiting_records: usize,
    /// The bytes of their bodies.
    pub waiting_bytes: usize,
    /// Commands that may wait; a reserve of their own, so that they pass in the middle of a storm. The records of the
    /// process itself (ticks, outages, activations) have one more reserve of the same size.
    pub waiting_commands: usize,
    /// The greatest size of the file, in pages of 4 KiB; what does not fit is refused as by a full disk.
    pub max_pages: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Options { waiting_records: 50_000, waiting_bytes: 256 << 20, waiting_commands: 1_000, max_pages: None }
    }
}

/// Makes the body of an Outage record of `[from, to)`.
pub type OutageBody = fn(Timestamp, Timestamp) -> Vec<u8>;

/// Opens logs. See the module's text for how its parts are used together.
pub struct EmbeddedLog;

/// An open log, in its parts.
#[derive(Debug)]
pub struct Opened<T> {
    /// The way onto it.
    pub appender: Appender<T>,
    /// New records of the main stream.
    pub main: Tail<T>,
    /// New records of the stream of commands.
    pub commands: Tail<T>,
    /// Any record that is still kept.
    pub reader: Reader,
    /// The newest record of each stream as it was found, by [`crate::Stream`].
    pub last: [Position; 2],
}

/// Why a log was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("open the log: {dir} is in use by another quell; stop it or use another data directory")]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory or a file in it cannot be used.
    #[error("open the log: {path} cannot be used")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is of a later version.
    #[error("open the log: it has version {found}, this binary knows {known}; use a newer quell")]
    TooNew {
        /// Its version.
        found: i64,
        /// The latest version known here.
        known: i64,
    },
    /// The file cannot be read or written: damaged, full or failed.
    #[error("open the log: the file of records cannot be used")]
    Database(#[source] sqlx::Error),
}

impl EmbeddedLog {
    /// Opens the log in `dir`, which is created where it is missing, and starts its writer on the current runtime.
    ///
    /// # Errors
    /// See [`OpenError`]. A disk that is merely full is none: the log opens shut and recovers by itself.
    pub async fn open<T: Send + 'static>(
        dir: &Path,
        options: Options,
        clock: Arc<dyn Clock>,
        outage: OutageBody,
    ) -> Result<Opened<T>, OpenError> {
        let lock = files::prepare(dir)?;
        let file = dir.join(files::RECORDS);
        let (disk, found) = Disk::open(&file, options.max_pages).await?;
        let reader = Reader::open(&file);
        let (jobs, inbox) = mpsc::unbounded_channel();
        let (main_end, main) = tail::pair();
        let (commands_end, commands) = tail::pair();
        let (state, watch) = watch::channel(LogState::Open);
        let room = Arc::new(Room::new(options.waiting_records, options.waiting_bytes, options.waiting_commands));
        let last = found.last;
        let tails = [main_end, commands_end];
        let writer = Writer::new(disk, found, clock, outage, inbox, tails, Arc::clone(&room), state, lock);
        tokio::spawn(writer.run());
        let appender = Appender::new(jobs, room, watch);
        Ok(Opened { appender, main, commands, reader, last })
    }
}

impl EmbeddedLog {
    /// Only reads the log in `dir`, whether or not a process has it; nothing is created or changed.
    ///
    /// # Errors
    /// [`OpenError::File`], when there is no log.
    pub fn read_only(dir: &Path) -> Result<Reader, OpenError> {
        let path = dir.join(files::RECORDS);
        match std::fs::metadata(&path) {
            Ok(_) => Ok(Reader::open(&path)),
            Err(source) => Err(OpenError::File { path, source }),
        }
    }
}

/// A directory that no process can open as a log meanwhile.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "held for its lock")] std::fs::File);

impl EmbeddedLog {
    /// Keeps every process from opening the log of a directory, until what is returned is dropped.
    ///
    /// # Errors
    /// [`OpenError::InUse`] when one has it open; [`OpenError::File`] when there is none.
    pub fn hold(dir: &Path) -> Result<Held, OpenError> {
        let path = dir.join(files::RECORDS);
        path.metadata().map_err(|source| OpenError::File { path, source })?;
        Ok(Held(files::prepare(dir)?))
    }

    /// Copies the log of a directory as it is at one instant into a new file, whether or not a process writes to it.
    ///
    /// # Errors
    /// [`OpenError::File`] when it cannot be read or the file cannot be written.
    pub async fn back_up(dir: &Path, to: &Path) -> Result<(), OpenError> {
        use sqlx::{ConnectOptions as _, Connection as _};
        let path = dir.join(files::RECORDS);
        let failed = |error: sqlx::Error| OpenError::File { path: path.clone(), source: fault::io_error(&error) };
        let options = disk::connect_options(&path).read_only(true);
        let mut connection = options.connect().await.map_err(failed)?;
        let copied = sqlx::query("VACUUM INTO ?").bind(to.to_string_lossy().into_owned());
        copied.execute(&mut connection).await.map_err(failed)?;
        connection.close().await.map_err(failed)
    }
}

impl fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmbeddedLog")
    }
}
