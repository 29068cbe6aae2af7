//! What is received while Kafka is away: kept in an embedded log of this node, whose fsync is what a 2xx then rests on,
//! and put onto Kafka later, in order.
//!
//! While anything is in the spool everything received passes through it. The same file remembers when this node was
//! last alive, and the embedded log appends the record of an outage to it by itself; that record goes onto Kafka like
//! any other. Absent on purpose: commands and quell's own records, which are refused while Kafka is away.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use quell_domain::{Origin, Position, RecordKind, Timestamp};
use tokio::sync::{Notify, watch};

use super::{OpenError, Options};
use crate::contract::{AppendError, Clock, Draft, LogState, Record, Stream};
use crate::embedded::{self, EmbeddedLog, OutageBody};

/// Bytes before the body of a spooled record.
const HEAD: usize = 32;
/// Records that may be on their way into the spool at once.
const ENTERING: usize = 50_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Spool {
    appender: embedded::Appender<()>,
    gate: Mutex<Gate>,
    pub(super) changed: Notify,
    state: watch::Sender<LogState>,
    /// The last record in it, and the last one that is on Kafka.
    newest: AtomicU64,
    drained: AtomicU64,
}

#[derive(Debug, Default)]
struct Gate {
    /// Everything received passes through the spool.
    spooling: bool,
    /// Records on their way into it.
    entering: usize,
    closed: bool,
}

/// A record on its way into the spool: until this is dropped the spool is not taken for empty.
pub(super) struct Entering<'a>(&'a Spool);

impl Drop for Entering<'_> {
    fn drop(&mut self) {
        self.0.gate().entering -= 1;
        self.0.changed.notify_one();
    }
}

/// A spooled record.
#[derive(Clone, Debug)]
pub(super) struct Spooled {
    pub(super) kind: RecordKind,
    pub(super) origin: Origin,
    pub(super) at: Timestamp,
    /// It may lie on Kafka already, after this position.
    pub(super) since: Position,
    pub(super) body: Bytes,
}

/// What of the spool is on Kafka already. Kept in the spool itself, on its stream of commands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// Drawn once for each spool: whose outages these are.
    pub(super) id: u64,
    /// The last record of the spool that is on Kafka.
    pub(super) drained: Position,
    /// How far Kafka's stream was read when this was written.
    pub(super) through: Position,
}

/// An open spool in its parts.
pub(super) struct OpenSpool {
    pub(super) spool: Arc<Spool>,
    pub(super) tails: [embedded::Tail<()>; 2],
    pub(super) reader: embedded::Reader,
    pub(super) last: Position,
    pub(super) progress: Progress,
}

impl Spool {
    pub(super) async fn open(
        dir: &Path,
        options: &Options,
        clock: Arc<dyn Clock>,
        through: Position,
    ) -> Result<OpenSpool, OpenError> {
        let limits = embedded::Options {
            waiting_records: ENTERING,
            waiting_bytes: options.waiting_bytes,
            waiting_commands: ENTERING,
            max_pages: Some(u32::try_from(options.spool_bytes / 4096).unwrap_or(u32::MAX).max(256)),
        };
        let opened = EmbeddedLog::open::<()>(dir, limits, clock, silence).await.map_err(OpenError::Spool)?;
        let embedded::Opened { appender, main, commands, reader, last } = opened;
        let kept = reader.read_one::<()>(Stream::Commands, last[1]).await.map_err(OpenError::SpoolRead)?;
        let fresh = Progress { id: super::draw(), drained: Position::START, through };
        let progress = kept.and_then(|record| Progress::decode(&record.body)).unwrap_or(fresh);
        let state = watch::channel(LogState::Open).0;
        let gate = Mutex::default();
        let (newest, drained) = (AtomicU64::new(0), AtomicU64::new(0));
        let spool = Arc::new(Spool { appender, gate, changed: Notify::new(), state, newest, drained });
        tokio::spawn(follow_disk(Arc::downgrade(&spool), spool.appender.state()));
        // The outage that the open itself may append goes before this, so that it is known of afterwards.
        spool.keep(progress).await;
        Ok(OpenSpool { spool, tails: [main, commands], reader, last: last[0], progress })
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> watch::Receiver<LogState> {
        self.state.subscribe()
    }

    /// Records that are not on Kafka yet.
    pub(super) fn waiting(&self) -> u64 {
        self.newest.load(Ordering::Relaxed).saturating_sub(self.drained.load(Ordering::Relaxed))
    }

    /// Notes how far it goes, and how far it is on Kafka.
    pub(super) fn note(&self, newest: Position, drained: Position) {
        self.newest.fetch_max(newest.0, Ordering::Relaxed);
        self.drained.fetch_max(drained.0, Ordering::Relaxed);
    }

    pub(super) fn is_spooling(&self) -> bool {
        self.gate().spooling
    }

    /// The way into the spool, when everything passes through it.
    pub(super) fn enter(&self) -> Option<Entering<'_>> {
        let mut gate = self.gate();
        if !gate.spooling {
            return None;
        }
        gate.entering += 1;
        Some(Entering(self))
    }

    /// From here on everything passes through the spool.
    pub(super) fn begin(&self) -> Entering<'_> {
        let mut gate = self.gate();
        gate.spooling = true;
        gate.entering += 1;
        drop(gate);
        self.refresh();
        Entering(self)
    }

    /// Ends the spooling when nothing is left and nothing is on its way; `is_empty` is asked last.
    pub(super) fn end(&self, is_empty: impl FnOnce() -> bool) -> bool {
        let mut gate = self.gate();
        if gate.entering > 0 || !is_empty() {
            return false;
        }
        gate.spooling = false;
        drop(gate);
        self.refresh();
        true
    }

    /// Says how the log is now.
    pub(super) fn refresh(&self) {
        let Gate { spooling, closed, .. } = *self.gate();
        let disk = *self.appender.state().borrow();
        let state = match disk {
            _ if closed => LogState::Closed,
            LogState::Failed => LogState::Failed,
            LogState::Full if spooling => LogState::Full,
            _ if spooling => LogState::Spooling,
            _ => LogState::Open,
        };
        self.state.send_if_modified(|known| std::mem::replace(known, state) != state);
    }

    /// Keeps a record; it is on the disk when this returns.
    pub(super) async fn keep_record(&self, record: Spooled, _entering: Entering<'_>) -> Result<(), AppendError> {
        let kind = record.kind;
        let draft = Draft { stream: Stream::Main, kind, body: record.encode(), carry: None, context: Bytes::new() };
        let stamp = self.appender.append(draft).await?;
        self.note(stamp.position, Position::START);
        Ok(())
    }

    /// Keeps how far it is drained, and drops what is on Kafka.
    pub(super) async fn keep(&self, progress: Progress) {
        let (stream, kind) = (Stream::Commands, RecordKind::Tick);
        let draft = Draft { stream, kind, body: progress.encode(), carry: None, context: Bytes::new() };
        let kept = self.appender.append(draft).await;
        let needed = match &kept {
            Ok(stamp) => [progress.drained.next(), stamp.position],
            // Whatever is not known to be drained is put onto Kafka again, where it is recognised.
            Err(_) => [progress.drained.next(), Position::START],
        };
        let retention = crate::contract::Retention { needed, before: Some(Timestamp::MAX), max_bytes: None };
        if let Err(error) = kept.map(|_| ()).and(self.appender.trim(retention).await.map(|_| ())) {
            tracing::debug!(%error, "the spool could not note what is drained");
        }
    }

    pub(super) async fn close(&self) {
        self.gate().closed = true;
        self.refresh();
        self.appender.close().await;
    }

    /// No more is accepted.
    pub(super) fn shut(&self) {
        self.gate().closed = true;
        self.refresh();
    }
}

/// The spool's own record of a time in which this node was silent. Whether nothing could be received meanwhile, Kafka's
/// stream says: another node may have been there.
fn silence(from: Timestamp, to: Timestamp) -> Vec<u8> {
    [from, to].iter().flat_map(|at| at.micros().to_le_bytes()).collect()
}

/// Passes on how the disk is.
async fn follow_disk(spool: Weak<Spool>, mut disk: watch::Receiver<LogState>) {
    while disk.changed().await.is_ok() {
        let Some(spool) = spool.upgrade() else { return };
        spool.refresh();
    }
}

impl Spooled {
    fn encode(&self) -> Bytes {
        let Spooled { kind: _, origin: Origin { node, sequence }, at, since, body } = self;
        let mut bytes = Vec::with_capacity(HEAD + body.len());
        for word in [*node, *sequence, since.0, at.micros().cast_unsigned()] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(body);
        bytes.into()
    }

    /// A record as the spool gives it back; `floor` is the latest instant known of Kafka's stream. None for a silence of
    /// this node in which another one went on.
    pub(super) fn of(record: &Record<()>, progress: Progress, floor: Timestamp, outage: OutageBody) -> Option<Spooled> {
        let (kind, body) = (record.kind, &record.body);
        let word = |at: usize| body.get(at..at + 8).and_then(|word| word.try_into().ok()).map_or(0, u64::from_le_bytes);
        if kind != RecordKind::Outage {
            return Some(Spooled {
                kind,
                origin: Origin { node: word(0), sequence: word(8) },
                since: Position(word(16)),
                at: Timestamp::from_micros(word(24).cast_signed()),
                body: body.slice(HEAD.min(body.len())..),
            });
        }
        let [from, to] = [0, 8].map(|at| Timestamp::from_micros(word(at).cast_signed()));
        let from = from.max(floor);
        (from <= to).then(|| Spooled {
            kind,
            origin: Origin { node: progress.id, sequence: record.stamp.position.0 },
            since: progress.through,
            at: record.stamp.received_at,
            body: outage(from, to).into(),
        })
    }
}

impl Progress {
    fn encode(self) -> Bytes {
        let Progress { id, drained, through } = self;
        [id, drained.0, through.0].iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn decode(bytes: &[u8]) -> Option<Progress> {
        let words: Vec<u64> = bytes.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes)).collect();
        let &[id, drained, through] = words.as_slice() else { return None };
        Some(Progress { id, drained: Position(drained), through: Position(through) })
    }
}
