//! Starting where the last process stopped.
//!
//! Rows say what was decided; the log says what came after, and which repeats the rows do not contain. Absent on
//! purpose: anything live; the loop takes over at the end of the backlog.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use quell_domain::{Activation, ArtefactKind, Input, Position, Shard, Timestamp};
use quell_engine::{Artefact, Engine, Settings};
use quell_log::{Read, ReadError, Record, Stamp, Stream};
use quell_store::{Restored, Store};
use tokio::task::JoinHandle;

use crate::artefacts;
use crate::desk::Desk;
use crate::shell::{GATHER, ROWS, decoded, moment};

/// Records read at once.
const CHUNK: usize = 256;

/// The engine's state as committed, and the positions to go on from.
pub(crate) async fn restore(
    store: &dyn Store,
    shard: Shard,
    settings: Arc<Settings>,
) -> anyhow::Result<(Engine, Restored)> {
    let mut restored = store.take_over(shard).await.context("the store cannot be read")?;
    let mut in_force: Vec<Artefact> = Vec::new();
    for kind in ArtefactKind::ALL {
        if let Some(digest) = restored.snapshot.checkpoint.artefact(kind) {
            in_force.push(artefacts::load(store, kind, digest).await?);
        }
    }
    let snapshot = std::mem::take(&mut restored.snapshot);
    let engine = Engine::restore(shard, settings, in_force, snapshot, restored.positions.applied);
    Ok((engine, restored))
}

/// Reads the backlog up to `last`: repeats that no row contains are folded again, commands and records that were never
/// decided are decided.
pub(crate) async fn catch_up(
    desk: &mut Desk,
    reader: &Arc<dyn Read<Input>>,
    applied: Position,
    last: [Position; 2],
) -> anyhow::Result<()> {
    let [last_main, last_command] = last;
    let first = reader.read(Stream::Main, Position::START.next(), 1).await?;
    let first = first.first().map(|record| record.stamp.position);
    if let Some((from, to)) = missing(desk.folded.next(), first, last_main) {
        bail!(
            "the log no longer has the records {from} to {to}, which the store does not contain: the store is older than \
             what the log keeps, as after a backup was restored that was made before `retention`. Restore a later one"
        );
    }
    let refolded = refold(desk, reader, applied).await?;
    let mut backlog = Backlog::new(reader, Stream::Commands, desk.commands.next(), last_command);
    while let Some(records) = backlog.next().await? {
        for record in records {
            desk.journeys.begin(&record);
            let moment = moment(&record);
            match desk.input(record).await {
                Some(input) => desk.command(moment, &input),
                None => desk.commands = desk.commands.max(moment.position),
            }
        }
        desk.commit(false).await?;
    }
    let mut backlog = Backlog::new(reader, Stream::Main, applied.next(), last_main);
    let (mut decided, mut committed) = (0_u64, Instant::now());
    while let Some(records) = backlog.next().await? {
        for record in records {
            desk.journeys.begin(&record);
            let moment = moment(&record);
            let input = desk.input(record).await.unwrap_or(Input::Tick);
            desk.apply(moment, &input).await;
            decided += 1;
            if desk.weight() >= ROWS {
                desk.commit(false).await?;
                committed = Instant::now();
            }
        }
        if desk.weight() == 0 || committed.elapsed() >= GATHER {
            desk.commit(false).await?;
            committed = Instant::now();
        }
    }
    desk.commit(true).await?;
    tracing::info!(refolded, decided, "read what was received before the start");
    Ok(())
}

/// Folds repeats again that no row contains; how many records there were.
pub(crate) async fn refold(desk: &mut Desk, reader: &Arc<dyn Read<Input>>, applied: Position) -> anyhow::Result<u64> {
    let mut backlog = Backlog::new(reader, Stream::Main, desk.folded.next(), applied);
    let mut refolded = 0_u64;
    while let Some(records) = backlog.next().await? {
        for record in records {
            let moment = moment(&record);
            if let Some(input) = decoded(record) {
                desk.engine.refold(moment, &input);
                refolded += 1;
            }
        }
    }
    Ok(refolded)
}

/// Records up to one, piece by piece: while one piece is decided the next is read and decoded.
struct Backlog {
    reader: Arc<dyn Read<Input>>,
    stream: Stream,
    through: Position,
    ahead: Option<JoinHandle<anyhow::Result<Vec<Record<Input>>>>>,
}

impl Backlog {
    fn new(reader: &Arc<dyn Read<Input>>, stream: Stream, from: Position, through: Position) -> Backlog {
        let mut backlog = Backlog { reader: Arc::clone(reader), stream, through, ahead: None };
        backlog.read_ahead(from);
        backlog
    }

    fn read_ahead(&mut self, from: Position) {
        let (reader, stream, through) = (Arc::clone(&self.reader), self.stream, self.through);
        self.ahead = (from <= through).then(|| {
            tokio::spawn(async move {
                let records = next(&*reader, stream, from, through).await?;
                Ok(tokio::task::spawn_blocking(move || records.into_iter().map(with_input).collect()).await?)
            })
        });
    }

    /// At least one record; `None` behind the last one.
    async fn next(&mut self) -> anyhow::Result<Option<Vec<Record<Input>>>> {
        let Some(ahead) = self.ahead.take() else { return Ok(None) };
        let records = ahead.await??;
        let Some(last) = records.last().map(|record| record.stamp.position) else { return Ok(None) };
        self.read_ahead(last.next());
        Ok(Some(records))
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        if let Some(ahead) = &self.ahead {
            ahead.abort();
        }
    }
}

/// Decoded where it can be; what cannot is told of where it is decided.
fn with_input(record: Record<Input>) -> Record<Input> {
    let open = record.damage.is_none() && record.carry.is_none();
    let carry = if open { quell_formats::record::decode(record.kind, &record.body).ok() } else { record.carry };
    Record { carry, ..record }
}

/// The records that the store needs next and the log has no more: the first and the last of them.
fn missing(needed: Position, first: Option<Position>, last: Position) -> Option<(Position, Position)> {
    let kept = first.unwrap_or(last.next());
    (needed <= last && kept > needed).then(|| (needed, Position(kept.0 - 1)))
}

/// The next records up to one; those after it come by the tail. On a log that others can write to, a damaged record is
/// passed over as the tail passes over it: as a tick that moves no clock, so that its place is not taken for unread.
pub(crate) async fn next(
    reader: &dyn Read<Input>,
    stream: Stream,
    from: Position,
    through: Position,
) -> anyhow::Result<Vec<Record<Input>>> {
    match reader.read(stream, from, CHUNK).await {
        Err(ReadError::Damaged { position, shared: Some(damage), .. }) => {
            let stamp = Stamp { stream, position, received_at: Timestamp::MIN };
            Ok(vec![Record::damaged(stamp, damage)])
        }
        read => {
            let mut records = read?;
            records.retain(|record| record.stamp.position <= through);
            Ok(records)
        }
    }
}

/// Puts rules in force that differ from those in force.
pub(crate) fn rules_to_activate(engine: &Engine, digest: quell_domain::Digest) -> Option<Activation> {
    (engine.checkpoint().rules != Some(digest)).then_some(Activation { kind: ArtefactKind::Rules, digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_were_dropped_before_the_store_had_them_are_missed() {
        for (needed, first, last, expected) in [
            // A new installation, one that is up to date, and one whose whole log was dropped after it was contained.
            (1, None, 0, None),
            (8, Some(3), 7, None),
            (8, None, 7, None),
            // The backlog is whole.
            (3, Some(3), 7, None),
            (5, Some(3), 7, None),
            // Its beginning, or all of it, is gone.
            (2, Some(5), 7, Some((2, 4))),
            (2, None, 7, Some((2, 7))),
        ] {
            let found = missing(Position(needed), first.map(Position), Position(last));
            let expected = expected.map(|(from, to)| (Position(from), Position(to)));
            assert_eq!(found, expected, "needed {needed}, first {first:?}, last {last}");
        }
    }
}
