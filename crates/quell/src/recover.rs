//! Starting where the last process stopped.
//!
//! Rows say what was decided; the log says what came after, and which repeats the rows do not contain. Absent on
//! purpose: anything live; the loop takes over at the end of the backlog.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use quell_domain::{Activation, ArtefactKind, Input, Position, Shard, Sharding, Timestamp};
use quell_engine::{Artefact, Engine, Settings};
use quell_formats::record::decode_part;
use quell_log::{Read, ReadError, Record, Stamp, Stream};
use quell_store::{Restored, Store};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::artefacts;
use crate::desk::Desk;
use crate::shell::{ROWS, decoded, moment};

/// Records read at once.
const CHUNK: usize = 256;

/// Pieces that were read and wait, decoded or about to be.
const AHEAD: usize = 2;

/// Rows gathered before a commit of the backlog: nobody waits for what lies that far back.
const BACKLOG_ROWS: usize = 4 * ROWS;

/// How long they are gathered at most.
const BACKLOG_GATHER: Duration = Duration::from_secs(1);

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
    let mut backlog = Backlog::new(desk, reader, Stream::Commands, desk.commands.next(), last_command);
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
    let mut backlog = Backlog::new(desk, reader, Stream::Main, applied.next(), last_main);
    let (mut decided, mut committed) = (0_u64, Instant::now());
    while let Some(records) = backlog.next().await? {
        for record in records {
            desk.journeys.begin(&record);
            let moment = moment(&record);
            let input = desk.input(record).await.unwrap_or(Input::Tick);
            desk.apply(moment, &input).await;
            decided += 1;
            if desk.weight() >= BACKLOG_ROWS {
                desk.commit_beside(false, BACKLOG_ROWS).await?;
                committed = Instant::now();
            }
        }
        if desk.weight() == 0 || committed.elapsed() >= BACKLOG_GATHER {
            desk.commit_beside(false, BACKLOG_ROWS).await?;
            committed = Instant::now();
        }
    }
    // The loop flushes repeats as soon as it has a moment; whoever waits for the turn to be taken need not wait for that.
    desk.commit(false).await?;
    tracing::info!(refolded, decided, "read what was received before the start");
    Ok(())
}

/// Folds repeats again that no row contains; how many records there were.
pub(crate) async fn refold(desk: &mut Desk, reader: &Arc<dyn Read<Input>>, applied: Position) -> anyhow::Result<u64> {
    let mut backlog = Backlog::new(desk, reader, Stream::Main, desk.folded.next(), applied);
    let mut refolded = 0_u64;
    while let Some(records) = backlog.next().await? {
        for record in records {
            let moment = moment(&record);
            if let Some(input) = decoded(desk, record) {
                desk.engine.refold(moment, &input);
                refolded += 1;
            }
        }
    }
    Ok(refolded)
}

/// Records up to one, piece by piece: while one piece is decided and committed the next ones are read, and decoded on
/// threads of their own; they come in the order of the log all the same.
struct Backlog {
    pieces: mpsc::Receiver<anyhow::Result<JoinHandle<Vec<Record<Input>>>>>,
    reading: JoinHandle<()>,
}

impl Backlog {
    fn new(desk: &Desk, reader: &Arc<dyn Read<Input>>, stream: Stream, from: Position, through: Position) -> Backlog {
        let (give, pieces) = mpsc::channel(AHEAD);
        let (reader, sharding, number) = (Arc::clone(reader), Arc::clone(&desk.sharding), desk.memory.shard.number);
        let reading = tokio::spawn(async move {
            let mut from = from;
            while from <= through {
                let read = next(&*reader, stream, from, through).await;
                let last = read.as_ref().ok().and_then(|records| records.last()).map(|record| record.stamp.position);
                let sharding = Arc::clone(&sharding);
                let decode = move |record| with_input(record, &sharding, number);
                let piece =
                    read.map(|records| tokio::task::spawn_blocking(move || records.into_iter().map(decode).collect()));
                // Whoever took the others may have gone away, and an error is the last that comes.
                if give.send(piece).await.is_err() {
                    return;
                }
                let Some(last) = last else { return };
                from = last.next();
            }
        });
        Backlog { pieces, reading }
    }

    /// At least one record; `None` behind the last one.
    async fn next(&mut self) -> anyhow::Result<Option<Vec<Record<Input>>>> {
        let Some(piece) = self.pieces.recv().await else { return Ok(None) };
        let records = piece?.await?;
        Ok((!records.is_empty()).then_some(records))
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Decoded to the shard's part where it can be; what cannot is told of where it is decided.
fn with_input(record: Record<Input>, sharding: &Sharding, number: u32) -> Record<Input> {
    if record.damage.is_some() || record.carry.is_some() {
        return record;
    }
    match decode_part(record.kind, &record.body, sharding, number) {
        Ok(input) => Record { carry: Some(input), body: Bytes::new(), ..record },
        Err(_) => record,
    }
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
