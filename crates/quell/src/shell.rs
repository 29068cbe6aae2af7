//! The loop around the engine: one writer, one order.
//!
//! Commands go first, then records in the order of the log, then the deadlines that the engine asked for; a deadline is
//! a tick that is put on the log before it is acted on, and only once the end of the log is reached. Absent on purpose:
//! decisions (the engine) and durability (the log and the store).

use std::time::Duration;

use quell_domain::{Input, Moment};
use quell_formats::record as format;
use quell_log::{Clock, Record, Stream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::desk::Desk;
use crate::intake::Door;
use crate::tails::{Tails, Taken};

/// Records taken at once.
const CHUNK: usize = 256;

/// Rows gathered before a commit: enough to share the cost of the transaction, few enough to be told soon.
pub(crate) const ROWS: usize = 1024;

/// While more records wait, that long is gathered for one commit: it costs a few milliseconds however little is in it.
const GATHER: Duration = Duration::from_millis(50);

/// Other nodes see by the store how far this one is, at least this often while records come.
const SAY: Duration = Duration::from_millis(200);

/// Repeats are written at least this often while more of them come.
const FLUSH: Duration = Duration::from_secs(10);

/// Repeats are written this long after the last record: when nothing else is to do, nobody need wait for them.
const QUIET: Duration = Duration::from_millis(300);

/// Ticks come no closer than this, however many deadlines there are.
const TICKS: Duration = Duration::from_millis(250);

/// After a tick could not be put on the log.
const TICK_RETRY: Duration = Duration::from_secs(1);

/// The longest sleep: the wall clock may be set while the loop waits.
const NAP: Duration = Duration::from_secs(5);

/// Runs until `shutdown` turns true and everything received is decided. May be dropped in the middle: what it had in hand
/// is on the log, and whoever decides next begins from the store.
///
/// # Errors
/// When what was decided cannot be remembered: this engine must not go on.
pub(crate) async fn run(
    desk: &mut Desk,
    door: &Door,
    clock: &dyn Clock,
    tails: &mut Tails,
    mut shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut flushed = Instant::now();
    let mut tick_after = Instant::now();
    let mut quiet_since = Instant::now();
    let mut said = (desk.engine.position(), Instant::now());
    loop {
        let due = desk.engine.next_deadline().map(|(at, _)| at);
        let wait = due.map_or(NAP, |at| at.since(clock.now())).min(NAP);
        let tick_at = (Instant::now() + wait).max(tick_after);
        let quiet = desk.engine.unflushed() > 0;
        let flush_at = if quiet { (quiet_since + QUIET).min(flushed + FLUSH) } else { flushed + FLUSH };
        tokio::select! {
            biased;
            taken = tails.next(CHUNK) => match taken {
                Taken::Closed => break,
                Taken::Commands(given) => {
                    for record in given {
                        command(desk, record).await;
                    }
                }
                Taken::Main(records) => {
                    quiet_since = Instant::now();
                    for record in records {
                        one_of_many(desk, tails, record).await?;
                    }
                    while quiet_since.elapsed() < GATHER && let Some(record) = tails.try_main() {
                        one_of_many(desk, tails, record).await?;
                    }
                }
            },
            () = desk.made() => {}
            () = tokio::time::sleep_until(tick_at.min(flush_at)) => {
                let now = clock.now();
                if due.is_some_and(|at| at <= now) && Instant::now() >= tick_after {
                    let ticked = door.append_input(Stream::Main, Input::Tick).await;
                    tick_after = Instant::now() + if ticked.is_ok() { TICKS } else { TICK_RETRY };
                }
            }
            () = closed(&mut shutdown) => break,
        }
        let flush = Instant::now() >= flush_at;
        // Repeats alone commit nothing, and a node that stands by would take them for undecided, and refuse more.
        if door.published.is_shared() && said.1.elapsed() >= SAY && desk.engine.position() > said.0 {
            desk.forced = true;
            said = (desk.engine.position(), Instant::now());
        }
        desk.commit_beside(flush, ROWS).await?;
        if flush {
            flushed = Instant::now();
        }
    }
    finish(desk, door, tails).await
}

/// Returns when the doors are closed.
async fn closed(shutdown: &mut watch::Receiver<bool>) {
    // A dropped sender means that nobody will say so any more: as good as said.
    let _ = shutdown.wait_for(|closing| *closing).await;
}

/// Decides what was received before the log was closed.
async fn finish(desk: &mut Desk, door: &Door, tails: &mut Tails) -> anyhow::Result<()> {
    door.appender.close().await;
    overtake(desk, tails).await;
    while let Some(record) = tails.try_main() {
        one_of_many(desk, tails, record).await?;
    }
    desk.commit(true).await
}

/// Decides one record; commits when much has been gathered.
async fn one_of_many(desk: &mut Desk, tails: &mut Tails, record: Record<Input>) -> anyhow::Result<()> {
    apply(desk, record).await;
    desk.tell_made().await?;
    if desk.weight() >= ROWS {
        desk.commit_beside(false, ROWS).await?;
        overtake(desk, tails).await;
    }
    Ok(())
}

/// Commands that came while records were decided.
async fn overtake(desk: &mut Desk, tails: &mut Tails) {
    while let Some(record) = tails.try_command() {
        command(desk, record).await;
    }
}

async fn apply(desk: &mut Desk, record: Record<Input>) {
    desk.journeys.begin(&record);
    let moment = moment(&record);
    match desk.input(record).await {
        Some(input) => desk.apply(moment, &input).await,
        // Counted as time that passed: the record's place must not be taken for unread.
        None => desk.apply(moment, &Input::Tick).await,
    }
}

async fn command(desk: &mut Desk, record: Record<Input>) {
    desk.journeys.begin(&record);
    let moment = moment(&record);
    match desk.input(record).await {
        Some(input) => desk.command(moment, &input),
        None => desk.commands = desk.commands.max(moment.position),
    }
}

pub(crate) fn moment<T>(record: &Record<T>) -> Moment {
    Moment { position: record.stamp.position, received_at: record.stamp.received_at }
}

/// The input of a record: as handed over, or decoded again. `None`, said aloud, when that cannot be done; only for
/// records that were decided before.
pub(crate) fn decoded(desk: &Desk, record: Record<Input>) -> Option<Input> {
    if record.damage.is_some() {
        return None;
    }
    if let Some(input) = record.carry {
        return Some(input);
    }
    match format::decode_part(record.kind, &record.body, &desk.sharding, desk.memory.shard.number) {
        Ok(input) => Some(input),
        Err(error) => {
            let position = record.stamp.position;
            tracing::error!(error = %crate::serve::chain(&error), %position, "a record cannot be decoded and is skipped");
            None
        }
    }
}
