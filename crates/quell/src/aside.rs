//! Putting aside what cannot be decided, so that nothing stands still for it: a record that cannot be read or decoded, one
//! whose commit fails for its own sake, and a message that is too large for the log.
//!
//! Absent on purpose: where letters lie (`quell-log`).

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use prometheus::{IntCounterVec, Opts, Registry};
use quell_domain::{Input, Moment, RecordKind, Shard};
use quell_engine::Settings;
use quell_formats::record::decode_part;
use quell_log::dead::{CUT, DeadLetter, DeadLetters};
use quell_log::{Clock, Read, Record, Stamp, Stream};
use quell_store::StoreError;

use crate::batch::Memory;
use crate::desk::Desk;
use crate::recover;

/// Tries of a commit that fails for the sake of what is in it, before that is put aside.
pub(crate) const TRIES: u32 = 3;

/// Between two tries to put a letter aside while its place is away.
const RETRY: Duration = Duration::from_secs(1);

/// Why a letter is one: the values of a label.
const CODES: [&str; 4] = ["damaged", "undecodable", "uncommittable", "too_large"];

/// The way to the dead letters.
pub(crate) struct Aside {
    letters: Arc<dyn DeadLetters>,
    clock: Arc<dyn Clock>,
    counts: IntCounterVec,
}

impl Aside {
    pub(crate) fn new(
        letters: Arc<dyn DeadLetters>,
        clock: Arc<dyn Clock>,
        registry: &Registry,
    ) -> Result<Aside, prometheus::Error> {
        let help = "Records and messages that were put aside as dead letters, by what was wrong with them";
        let counts = IntCounterVec::new(Opts::new("quell_dead_letters_total", help), &["reason"])?;
        for code in CODES {
            counts.with_label_values(&[code]);
        }
        registry.register(Box::new(counts.clone()))?;
        Ok(Aside { letters, clock, counts })
    }

    /// Puts a letter aside; tries until it is kept, because whatever it is about is passed over then.
    pub(crate) async fn put(&self, letter: DeadLetter) {
        let letter = DeadLetter { at: self.clock.now(), ..letter };
        let DeadLetter { id, code, reason, place, .. } = &letter;
        tracing::error!(id, code, reason, "{place} is put aside as a dead letter");
        while let Err(error) = self.letters.put(letter.clone()).await {
            tracing::error!(error = %crate::serve::chain(&error), "a dead letter could not be kept; trying again");
            tokio::time::sleep(RETRY).await;
        }
        self.counts.with_label_values(&[&letter.code]).inc();
    }

    /// A message of a raw topic that is larger than a record may be.
    pub(crate) async fn too_large(
        &self,
        (topic, partition, offset): (&str, i32, i64),
        kind: RecordKind,
        headers: Vec<(String, Bytes)>,
        body: &Bytes,
        allowed: usize,
    ) {
        self.put(DeadLetter {
            id: format!("raw-{topic}-{partition}-{offset}"),
            at: self.clock.now(),
            code: "too_large".into(),
            reason: format!("it has {} bytes; allowed: {allowed}", body.len()),
            place: format!("the message at {offset} of partition {partition} of {topic}"),
            stream: None,
            kind: Some(kind),
            size: body.len() as u64,
            headers,
            body: body.slice(..body.len().min(CUT)),
            replayed: None,
        })
        .await;
    }

    async fn record(&self, shard: Shard, stamp: Stamp, (code, reason): (&str, String), of: Of) {
        let Stamp { stream, position, .. } = stamp;
        let (number, whose) = match shard.number {
            0 => (position.to_string(), String::new()),
            shard => (format!("{shard}.{position}"), format!(" of shard {shard}")),
        };
        let (name, words) = match stream {
            Stream::Main => ("main", "record"),
            Stream::Commands => ("commands", "command"),
        };
        let (kind, headers, body) = of;
        self.put(DeadLetter {
            id: format!("{name}-{number}"),
            at: self.clock.now(),
            code: code.into(),
            reason,
            place: format!("{words} {position} of the log{whose}"),
            stream: Some(stream),
            kind,
            size: body.len() as u64,
            headers,
            body,
            replayed: None,
        })
        .await;
    }
}

/// What a record was: its kind where that is known, its headers and its bytes.
type Of = (Option<RecordKind>, Vec<(String, Bytes)>, Bytes);

/// What a desk needs to put records aside.
#[derive(Clone)]
pub(crate) struct Rescue {
    pub(crate) aside: Arc<Aside>,
    pub(crate) reader: Arc<dyn Read<Input>>,
    pub(crate) settings: Arc<Settings>,
}

/// True when the same commit would fail for ever.
pub(crate) fn is_its_own_fault(error: &StoreError) -> bool {
    matches!(error, StoreError::Damaged { operation: "commit", .. })
}

impl Desk {
    /// The input of a record, as handed over or decoded again. `None` when it cannot be had; then it is put aside.
    pub(crate) async fn input(&self, record: Record<Input>) -> Option<Input> {
        let Record { stamp, kind, body, carry, origin: _, context: _, damage } = record;
        let (code, reason, of) = match (damage, carry) {
            (Some(damage), _) => ("damaged", damage.why.to_owned(), (None, damage.headers, damage.body)),
            (None, Some(input)) => return Some(input),
            (None, None) => match decode_part(kind, &body, &self.sharding, self.memory.shard.number) {
                Ok(input) => return Some(input),
                Err(error) => ("undecodable", crate::serve::chain(&error), (Some(kind), Vec::new(), body)),
            },
        };
        match &self.rescue {
            Some(rescue) => rescue.aside.record(self.memory.shard, stamp, (code, reason), of).await,
            None => tracing::error!(position = %stamp.position, code, reason, "a record is skipped"),
        }
        None
    }

    /// Decides anew, one by one, what the last commit should have contained, and puts aside what cannot be committed by
    /// itself.
    ///
    /// # Errors
    /// When the store or the log does not do its work: the process must not go on.
    pub(crate) async fn isolate(&mut self, rescue: &Rescue, flush: bool) -> anyhow::Result<()> {
        tracing::warn!("a commit fails for its own sake: its records are decided again one by one");
        let last = [self.engine.position(), self.commands];
        self.start_over(rescue).await?;
        for stream in [Stream::Commands, Stream::Main] {
            let done = if stream == Stream::Main { self.engine.position() } else { self.commands };
            let mut from = done.next();
            while from <= last[stream as usize] {
                let records = recover::next(&*rescue.reader, stream, from, last[stream as usize]).await?;
                let Some(end) = records.last().map(|record| record.stamp.position) else { break };
                for record in records {
                    self.alone(rescue, record).await?;
                }
                from = end.next();
            }
        }
        self.try_commit(flush).await.context("what was decided cannot be remembered")
    }

    /// Decides and commits one record; if that cannot be, passes it over.
    async fn alone(&mut self, rescue: &Rescue, record: Record<Input>) -> anyhow::Result<()> {
        let stamp = record.stamp;
        let of = (Some(record.kind), Vec::new(), record.body.clone());
        let moment = crate::shell::moment(&record);
        let input = self.input(record).await.unwrap_or(Input::Tick);
        self.decide(stamp.stream, moment, &input).await;
        let Err(error) = self.try_commit(false).await else { return Ok(()) };
        if !is_its_own_fault(&error) {
            return Err(error).context("what was decided cannot be remembered");
        }
        let reason = format!("its commit failed {TRIES} times: {}", crate::serve::chain(&error));
        rescue.aside.record(self.memory.shard, stamp, ("uncommittable", reason), of).await;
        self.start_over(rescue).await?;
        self.decide(stamp.stream, moment, &Input::Tick).await;
        self.try_commit(false).await.context("what was decided cannot be remembered")
    }

    /// Each record moves the position that is committed, so that starting over begins right before the next one.
    async fn decide(&mut self, stream: Stream, moment: Moment, input: &Input) {
        self.forced = true;
        match (stream, input) {
            (Stream::Main, input) => self.apply(moment, input).await,
            (Stream::Commands, Input::Tick) => self.commands = self.commands.max(moment.position),
            (Stream::Commands, input) => self.command(moment, input),
        }
    }

    /// Drops what is not committed and begins with what is.
    async fn start_over(&mut self, rescue: &Rescue) -> anyhow::Result<()> {
        let Memory { shard, store, .. } = &*self.memory;
        let (engine, restored) = recover::restore(&**store, *shard, Arc::clone(&rescue.settings)).await?;
        self.engine = engine;
        Arc::make_mut(&mut self.memory).epoch = restored.epoch;
        self.commands = restored.positions.commands;
        self.folded = restored.positions.folded;
        self.pending = quell_engine::Effects::default();
        self.activated.clear();
        self.forced = true;
        recover::refold(self, &rescue.reader, restored.positions.applied).await.map(drop)
    }
}
