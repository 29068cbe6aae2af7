//! The log on Kafka, which several nodes share: two topics, of which each has one partition for each shard.
//!
//! # Positions
//! A position is the offset and one. Offsets may be passed over (a record that was there twice, one that is damaged), so
//! positions grow and need not be dense.
//!
//! # Time
//! A record's time is the greatest instant that any record up to it was given by the node that received it, so it never
//! decreases along a stream whatever the clocks do. Every reader computes it from the log alone; see `cursor`.
//!
//! # How a reader takes over
//! As on the embedded log: [`Opened::last`] names the newest record of each stream as it was found; up to there one
//! reads, and everything after it comes by the [`Tail`] of its stream.
//!
//! # When Kafka is away
//! Alerts go to the `spool` of this node, and from there onto Kafka when it is back.
//!
//! Absent on purpose: groups, transactions, and positions at the broker; the store keeps positions with the effects.

mod address;
mod appender;
mod client;
mod cursor;
mod drain;
mod duty;
mod envelope;
mod fill;
mod letters;
mod own;
mod publisher;
mod raw;
mod reader;
mod security;
mod spool;
mod tail;
mod topics;

use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quell_domain::{Position, Shard};
use rdkafka::error::KafkaError;
use tokio::sync::watch;

pub use address::{Address, BadAddress};
pub use appender::Appender;
pub use duty::{Duty, Turn};
pub use fill::{FillError, Filled};
pub use letters::TopicLetters;
pub use publisher::{Publisher, Untaken};
pub use raw::{RawMessage, RawOptions, RawTopic};
pub use reader::Reader;
pub use security::{Mechanism, NotBuilt, Sasl, Security, Tls};
pub use tail::{Prepare, Tail};

use crate::contract::{Clock, LogState, ReadError, Stream};
use crate::embedded::{self, OutageBody};
use crate::room::Room;
use appender::Shared;
use cursor::{Bounds, Cursor};
use drain::Drain;
use envelope::Mark;
use own::Own;
use spool::Spool;

/// The key of every record of a shard: tenant first.
fn key(shard: Shard) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&shard.tenant.to_be_bytes());
    key[4..].copy_from_slice(&shard.number.to_be_bytes());
    key
}

/// Records that wait in a tail.
const TAIL_RECORDS: usize = 4096;
/// Their bytes.
const TAIL_BYTES: usize = 64 << 20;

/// Where a shard's log is, and its named limits.
#[derive(Clone, Debug)]
pub struct Options {
    /// The brokers.
    pub address: Address,
    /// Whose log of those on the same topics.
    pub shard: Shard,
    /// How many shards there are, each with a partition.
    pub shards: u32,
    /// How they are reached.
    pub security: Security,
    /// The bytes of the largest body.
    pub body_bytes: usize,
    /// What a new topic keeps: until either is exceeded.
    pub retention_age: Duration,
    /// See [`Options::retention_age`].
    pub retention_bytes: u64,
    /// The bytes of the spool, after which it is full.
    pub spool_bytes: u64,
    /// Records of alerts of this node that may be on Kafka and not yet taken by its reader.
    pub waiting_records: usize,
    /// Their bytes.
    pub waiting_bytes: usize,
    /// Commands that may wait; a reserve of their own.
    pub waiting_commands: usize,
    /// How long Kafka may take to acknowledge a record before it goes to the spool.
    pub ack: Duration,
    /// How long Kafka may take to answer at the start.
    pub patience: Duration,
}

impl Options {
    /// The partition of the shard.
    pub(crate) fn partition(&self) -> i32 {
        i32::try_from(self.shard.number).unwrap_or(i32::MAX)
    }

    /// The usual limits, for the only shard of an installation.
    #[must_use]
    pub fn at(address: Address) -> Options {
        let embedded::Options { waiting_records, waiting_bytes, waiting_commands, max_pages: _ } =
            embedded::Options::default();
        Options {
            address,
            shard: Shard::FIRST,
            shards: 1,
            security: Security::default(),
            body_bytes: 16 << 20,
            retention_age: Duration::from_secs(7 * 86_400),
            retention_bytes: 10 << 30,
            spool_bytes: 1 << 30,
            waiting_records,
            waiting_bytes,
            waiting_commands,
            ack: Duration::from_secs(2),
            patience: Duration::from_secs(30),
        }
    }
}

/// Opens logs. See the module's text for how its parts are used together.
#[derive(Clone, Copy, Debug)]
pub struct KafkaLog;

/// An open log, in its parts.
#[derive(Debug)]
pub struct Opened<T: Send + 'static> {
    /// The way onto it.
    pub appender: Appender<T>,
    /// New records of the main stream.
    pub main: Tail<T>,
    /// New records of the stream of commands.
    pub commands: Tail<T>,
    /// Any record that is still kept.
    pub reader: Reader,
    /// The newest record of each stream as it was found, by [`Stream`].
    pub last: [Position; 2],
}

/// Why a log was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No broker answers.
    #[error("open the log: no Kafka broker of {brokers} answers")]
    Away {
        /// Where they were looked for.
        brokers: String,
        /// The last answer.
        #[source]
        source: KafkaError,
    },
    /// A topic can neither be found nor made.
    #[error("open the log: the topic {topic} cannot be found or made")]
    Topic {
        /// Its name.
        topic: String,
        /// Why.
        #[source]
        source: KafkaError,
    },
    /// Topics are there and are not as they must be.
    #[error("open the log: Kafka's topics do not fit:\n  {}\nalter them, or name others: kafka://HOST:PORT/PREFIX", faults.join("\n  "))]
    Unfit {
        /// What was found and what is allowed, by topic.
        faults: Vec<String>,
    },
    /// Kafka does not give what is there.
    #[error("open the log: Kafka cannot be read")]
    Client {
        /// Why.
        #[source]
        source: KafkaError,
    },
    /// The spool cannot be opened.
    #[error("open the log: its spool cannot be used")]
    Spool(#[source] embedded::OpenError),
    /// The spool cannot be read.
    #[error("open the log: its spool cannot be read")]
    SpoolRead(#[source] ReadError),
}

/// A number that nobody else has drawn.
fn draw() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// A cursor at the end of its stream.
fn at_the_end(options: &Options, stream: Stream) -> Result<(Cursor, Mark), KafkaError> {
    let mut cursor = Cursor::new(options, stream)?;
    let Bounds { high, .. } = cursor.bounds()?;
    cursor.seek(high)?;
    let mark = cursor.mark();
    Ok((cursor, mark))
}

impl KafkaLog {
    /// Asks for turns at deciding, in every shard of these topics, among all nodes of this log.
    ///
    /// # Errors
    /// [`OpenError`], when the topics cannot be had or the settings are refused.
    pub async fn duty(options: &Options) -> Result<Duty, OpenError> {
        topics::look_after(options).await?;
        let asked = options.clone();
        client::aside(move || Duty::join(&asked)).await.map_err(|source| OpenError::Client { source })
    }

    /// A reader of the log that changes nothing: no topic is made or checked, no group joined.
    ///
    /// # Errors
    /// [`OpenError::Client`], when the settings are refused.
    pub async fn read_only(options: &Options) -> Result<Reader, OpenError> {
        let asked = options.clone();
        client::aside(move || Reader::new(&asked)).await.map_err(|source| OpenError::Client { source })
    }

    /// Where dead letters of this log go. Nothing is asked of Kafka before the first one.
    #[must_use]
    pub fn dead_letters(options: &Options) -> TopicLetters {
        TopicLetters::new(options)
    }

    /// Opens a shard's log, whose spool lies in `dir`: makes missing topics, checks those that are there, and puts onto
    /// Kafka what an earlier run left in the spool. The topics are every shard's, and seen to with the first one, which is
    /// to be opened before the others.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open<T: Send + 'static>(
        dir: &Path,
        options: Options,
        clock: Arc<dyn Clock>,
        outage: OutageBody,
    ) -> Result<Opened<T>, OpenError> {
        if options.shard == Shard::FIRST {
            topics::prepare(&options).await?;
        }
        let asked = options.clone();
        let made = client::aside(move || {
            let cursors = [at_the_end(&asked, Stream::Main)?, at_the_end(&asked, Stream::Commands)?];
            Ok((cursors, Reader::new(&asked)?, appender::producer(&asked)?))
        });
        let ([(main, main_mark), (commands, commands_mark)], reader, producer) =
            made.await.map_err(|source| OpenError::Client { source })?;
        let open = Spool::open(dir, &options, Arc::clone(&clock), main_mark.through).await?;
        let node = draw();
        let own = [main_mark, commands_mark].map(|mark| Arc::new(Own::new(node, mark)));
        let closed = Arc::new(AtomicBool::new(false));
        let room = || tail::Room::new(TAIL_RECORDS, TAIL_BYTES);
        let main = Tail::start(main, room(), Arc::clone(&own[0]), Arc::clone(&closed));
        let commands = Tail::start(commands, room(), Arc::clone(&own[1]), Arc::clone(&closed));
        let (closing, stop) = watch::channel(false);
        let spool = Arc::clone(&open.spool);
        let drain = Drain::new(open, options.clone(), Arc::clone(&own[0]), outage, stop);
        let mut state = spool.state();
        let drain = Mutex::new(Some(tokio::spawn(drain.run())));
        let room = Arc::new(Room::new(options.waiting_records, options.waiting_bytes, options.waiting_commands));
        let patience = options.patience;
        let producer = Mutex::new(producer);
        let shared = Shared { options, clock, own, room, spool, producer, closed, closing, drain };
        // Kafka has just answered, so this is soon; and what is received from now on need not pass through the spool.
        tokio::time::timeout(patience, state.wait_for(|state| *state != LogState::Spooling)).await.ok();
        let last = [main_mark.through, commands_mark.through];
        Ok(Opened { appender: Appender::new(Arc::new(shared)), main, commands, reader, last })
    }
}
