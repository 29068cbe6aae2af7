//! The one task that writes the log: group commit, positions, signs of life, and what happens when the disk is full or
//! fails. Absent on purpose: SQL.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quell_domain::{Position, RecordKind, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::OutageBody;
use super::appender::{Job, Waiting, failed};
use super::disk::{Disk, Found, MAX_ROWS, Row, key};
use super::fault::Fault;
use super::tail::{Delivered, TailEnd};
use crate::contract::{AppendError, Clock, LogState, Record, Stamp, Stream};
use crate::room::Room;

/// The most records of one group, one less than a statement takes: an Outage record may go before them.
const GROUP: usize = MAX_ROWS - 1;
/// The most compressed bytes of one group, but for its last record.
const GROUP_BYTES: usize = 4 << 20;
/// How often the writer looks around: for signs of life, idle checkpoints, and whether a full disk has room again.
const BEAT: Duration = Duration::from_millis(500);
/// How old the sign of life on the disk may become.
const LIFE: Duration = Duration::from_secs(5);
/// A silence longer than this was no scheduling delay: the process was suspended or the clock was set.
const GAP: Duration = Duration::from_secs(15);

/// See the module.
pub(super) struct Writer<T> {
    disk: Disk,
    clock: Arc<dyn Clock>,
    outage: OutageBody,
    jobs: mpsc::UnboundedReceiver<Job<T>>,
    tails: [TailEnd<T>; 2],
    room: Arc<Room>,
    state: watch::Sender<LogState>,
    last: [Position; 2],
    /// When the log was last able to accept, in the time it stamps: never decreases.
    alive: Timestamp,
    /// The sign of life on the disk.
    remembered: Timestamp,
    /// True when intake was down until now, however short: at the open of a log that is not new, and after a full
    /// disk.
    returning: bool,
    /// Since when alerts are refused for want of room, though everything else is accepted.
    choked_from: Option<Timestamp>,
    quiet: bool,
    /// Held for its lock.
    lock: File,
}

impl<T: Send + 'static> Writer<T> {
    #[expect(clippy::too_many_arguments, reason = "the parts of one thing, put together in one place")]
    pub(super) fn new(
        disk: Disk,
        found: Found,
        clock: Arc<dyn Clock>,
        outage: OutageBody,
        jobs: mpsc::UnboundedReceiver<Job<T>>,
        tails: [TailEnd<T>; 2],
        room: Arc<Room>,
        state: watch::Sender<LogState>,
        lock: File,
    ) -> Self {
        let Found { last, alive_at } = found;
        let alive = alive_at.unwrap_or_else(|| clock.now());
        let returning = alive_at.is_some();
        let (remembered, quiet) = (Timestamp::MIN, true);
        let choked_from = None;
        Writer {
            disk,
            clock,
            outage,
            jobs,
            tails,
            room,
            state,
            last,
            alive,
            remembered,
            returning,
            choked_from,
            quiet,
            lock,
        }
    }

    /// Writes until the log is closed.
    pub(super) async fn run(mut self) {
        self.write(Vec::new()).await;
        let mut inbox = Vec::with_capacity(GROUP);
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let closing = loop {
            tokio::select! {
                biased;
                _ = beat.tick() => self.beat().await,
                taken = self.jobs.recv_many(&mut inbox, GROUP) => {
                    if taken == 0 {
                        break Vec::new();
                    }
                    let closing = self.serve(&mut inbox).await;
                    if !closing.is_empty() {
                        break closing;
                    }
                }
            }
        };
        self.close(closing).await;
    }

    /// Does what was asked, in order. Returns whom to tell when the log is closed, if anybody asked for that.
    async fn serve(&mut self, inbox: &mut Vec<Job<T>>) -> Vec<oneshot::Sender<()>> {
        let mut jobs: VecDeque<Job<T>> = inbox.drain(..).collect();
        let (mut group, mut bytes, mut closing) = (Vec::new(), 0, Vec::new());
        while let Some(job) = jobs.pop_front() {
            match job {
                Job::Append(waiting) if closing.is_empty() => {
                    bytes += waiting.packed.len();
                    group.push(waiting);
                    if bytes >= GROUP_BYTES {
                        self.write(std::mem::take(&mut group)).await;
                        bytes = 0;
                    }
                }
                Job::Append(waiting) => refuse(waiting, AppendError::Closed),
                Job::Trim { retention, reply } => {
                    self.write(std::mem::take(&mut group)).await;
                    let trimmed = match *self.state.borrow() {
                        LogState::Failed => Err(failed(None)),
                        _ => Ok(()),
                    };
                    let trimmed = match trimmed {
                        Ok(()) => self.disk.trim(retention, self.last).await.map_err(|fault| self.judge(&fault)),
                        Err(error) => Err(error),
                    };
                    // Whoever does not wait for the answer does not need it.
                    reply.send(trimmed).ok();
                }
                Job::Close { reply } => closing.push(reply),
            }
        }
        if !group.is_empty() {
            self.write(group).await;
        }
        closing
    }

    /// Writes a group, hands it over and answers it; first an Outage record, if one is due.
    async fn write(&mut self, group: Vec<Waiting<T>>) {
        let refusal = match *self.state.borrow() {
            LogState::Open => None,
            LogState::Full => Some(AppendError::DiskFull),
            LogState::Failed | LogState::Spooling | LogState::Closed => Some(failed(None)),
        };
        if let Some(refusal) = refusal {
            refuse_all(group, &refusal);
            return;
        }
        if let Err((fault, group)) = self.try_write(group).await {
            let refusal = self.judge(&fault);
            refuse_all(group, &refusal);
        }
    }

    async fn try_write(&mut self, group: Vec<Waiting<T>>) -> Result<(), (Fault, Vec<Waiting<T>>)> {
        let now = self.alive.max(self.clock.now());
        if self.room.take_choked() {
            self.choked_from.get_or_insert(self.alive);
        }
        let main = group.iter().any(|waiting| waiting.stream == Stream::Main);
        let mut records: Vec<Waiting<T>> = self.due_outage(now, main).into_iter().chain(group).collect();
        let mut last = self.last;
        let mut rows = Vec::with_capacity(records.len());
        let mut stamps = Vec::with_capacity(records.len());
        for waiting in &mut records {
            let stream = waiting.stream;
            let position = last[stream as usize].next();
            last[stream as usize] = position;
            let body = std::mem::take(&mut waiting.packed);
            rows.push(Row { key: key(stream, position), kind: waiting.kind.code(), received_at: now.micros(), body });
            stamps.push(Stamp { stream, position, received_at: now });
        }
        if let Err(fault) = self.disk.insert(rows).await {
            return Err((fault, records));
        }
        (self.last, self.alive, self.returning) = (last, now, false);
        self.choked_from = self.choked_from.filter(|_| !main);
        self.quiet &= records.is_empty();
        for (waiting, stamp) in records.into_iter().zip(stamps) {
            self.hand_over(waiting, stamp);
        }
        if self.disk.is_due() {
            self.checkpoint().await;
        }
        Ok(())
    }

    /// First to the reader, then to the appender: whoever is answered can rely on the record's being on its way.
    fn hand_over(&self, waiting: Waiting<T>, stamp: Stamp) {
        let Waiting { stream, kind, packed: _, body, carry, context, ticket, reply } = waiting;
        let record = Record { stamp, kind, body, carry, origin: None, context, damage: None };
        // Neither a reader nor an appender that went away changes what is durable.
        self.tails[stream as usize].send(Delivered { record, ticket }).ok();
        if let Some(reply) = reply {
            reply.send(Ok(stamp)).ok();
        }
    }

    /// The record of a time in which nothing could be received, if there was one that ends now. Alerts that were refused
    /// for want of room while a store was away were not received either; that ends with the first record of the main
    /// stream, be it a tick.
    fn due_outage(&self, now: Timestamp, main: bool) -> Option<Waiting<T>> {
        let silent = (self.returning || now.since(self.alive) > GAP).then_some(self.alive);
        let choked = self.choked_from.filter(|&from| main && now.since(from) > GAP);
        let from = silent.into_iter().chain(choked).min();
        from.map(|from| {
            let body = Bytes::from((self.outage)(from, now));
            let packed = lz4_flex::compress_prepend_size(&body);
            let ticket = self.room.force(RecordKind::Outage, body.len());
            let (stream, kind) = (Stream::Main, RecordKind::Outage);
            Waiting { stream, kind, packed, body, carry: None, context: Bytes::new(), ticket, reply: None }
        })
    }

    /// Looks around; see [`BEAT`].
    async fn beat(&mut self) {
        let state = *self.state.borrow();
        match state {
            LogState::Open => {
                // Writes an Outage record if one is due; otherwise this is the sign of life itself.
                self.write(Vec::new()).await;
                if self.alive.since(self.remembered) >= LIFE && *self.state.borrow() == LogState::Open {
                    self.remember().await;
                }
                if std::mem::replace(&mut self.quiet, true) && self.disk.is_unsettled() {
                    self.checkpoint().await;
                }
            }
            LogState::Full => self.try_again().await,
            LogState::Failed | LogState::Spooling | LogState::Closed => {}
        }
    }

    /// Opens a log that was full, by appending the Outage record of the time it was shut.
    async fn try_again(&mut self) {
        self.checkpoint().await;
        match self.disk.last().await {
            Ok(last) if last == self.last => {}
            Ok(last) => {
                tracing::error!(?last, expected = ?self.last, "the log holds other records than were acknowledged");
                self.state.send_replace(LogState::Failed);
                return;
            }
            Err(fault) => {
                self.judge(&fault);
                return;
            }
        }
        if *self.state.borrow() == LogState::Failed {
            return;
        }
        let written = match self.disk.probe().await {
            Ok(()) => self.try_write(Vec::new()).await.map_err(|(fault, _)| fault),
            Err(fault) => Err(fault),
        };
        match written {
            Ok(()) => {
                self.state.send_replace(LogState::Open);
                tracing::info!("the log's disk has room again: records are accepted");
            }
            Err(fault) => {
                self.judge(&fault);
            }
        }
    }

    async fn remember(&mut self) {
        self.remembered = self.alive;
        if let Err(fault) = self.disk.alive(self.alive).await {
            self.judge(&fault);
        }
    }

    /// A checkpoint that finds no room is none, and loses nothing; one that fails may have lost what it moved.
    async fn checkpoint(&mut self) {
        match self.disk.checkpoint().await {
            Ok(()) | Err(Fault::Full(_)) => {}
            Err(fault) => {
                self.judge(&fault);
            }
        }
    }

    /// Shuts the log as a fault demands, and says what its group is answered.
    fn judge(&mut self, fault: &Fault) -> AppendError {
        match fault {
            Fault::Full(error) => {
                if self.state.send_replace(LogState::Full) == LogState::Open {
                    tracing::warn!(%error, "the log's disk is full: nothing is accepted until there is room");
                }
                self.returning = true;
                AppendError::DiskFull
            }
            Fault::Failed(error) => {
                if self.state.send_replace(LogState::Failed) != LogState::Failed {
                    tracing::error!(%error, "the log's disk failed: nothing is accepted any more");
                }
                failed(Some(error))
            }
        }
    }

    async fn close(mut self, closing: Vec<oneshot::Sender<()>>) {
        self.jobs.close();
        while let Ok(job) = self.jobs.try_recv() {
            if let Job::Append(waiting) = job {
                refuse(waiting, AppendError::Closed);
            }
        }
        if *self.state.borrow() == LogState::Open {
            self.alive = self.alive.max(self.clock.now());
            self.remember().await;
        }
        let Writer { disk, state, lock, .. } = self;
        if let Err(error) = disk.close().await {
            tracing::warn!(%error, "the log's file was not closed cleanly; it will be recovered at the next start");
        }
        drop(lock);
        state.send_if_modified(|state| {
            let open = *state != LogState::Failed;
            if open {
                *state = LogState::Closed;
            }
            open
        });
        for reply in closing {
            reply.send(()).ok();
        }
    }
}

fn refuse<T>(waiting: Waiting<T>, error: AppendError) {
    let Waiting { ticket, reply, .. } = waiting;
    // Room first: whoever is answered may come again at once.
    drop(ticket);
    if let Some(reply) = reply {
        reply.send(Err(error)).ok();
    }
}

fn refuse_all<T>(group: Vec<Waiting<T>>, error: &AppendError) {
    for waiting in group {
        let error = match error {
            AppendError::DiskFull => AppendError::DiskFull,
            AppendError::Failed(source) => AppendError::Failed(std::io::Error::other(source.to_string())),
            AppendError::Overloaded { .. } | AppendError::Away(_) | AppendError::Closed => AppendError::Closed,
        };
        refuse(waiting, error);
    }
}
