//! Turns at deciding: a node stands by until it is its turn, takes over, decides, and stands by again when another node
//! was given the turn or its commit was refused. The process goes on all the while: what it receives goes onto the log,
//! and what it shows comes from the store.
//!
//! Whose turn it is, the log's group says (`logs`); it is a hint, and the store's epoch is the fence. Absent on purpose:
//! deciding (`shell`), and reading what was not decided yet (`recover`).

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use prometheus::{IntCounter, Registry};
use quell_domain::{Digest, Input, Position};
use quell_engine::{Artefact, Settings};
use quell_log::{Clock, Read, ReadError, Stream};
use quell_store::StoreError;
use tokio::sync::watch;

use crate::aside::{Aside, Rescue};
use crate::batch::{self, Memory};
use crate::desk::Desk;
use crate::follow::Follower;
use crate::intake::Door;
use crate::journey::{Journeys, Told};
use crate::live::Role;
use crate::seats::Seat;
use crate::tails::{Tails, Taken};
use crate::workers::Workers;
use crate::{recover, shell};

/// Records taken at once while standing by.
const CHUNK: usize = 256;
/// After a take-over that failed for now.
const AGAIN: Duration = Duration::from_secs(1);

/// The rules and pipelines that this node wants in force.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) settings: Arc<Settings>,
    pub(crate) digest: Digest,
    pub(crate) bytes: Vec<u8>,
}

/// What is counted of turns.
#[derive(Clone)]
pub(crate) struct TurnCounts {
    begun: IntCounter,
    refused: IntCounter,
}

impl TurnCounts {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let begun = IntCounter::new("quell_turns_total", "Times that this node began to decide")?;
        let refused = "Commits of this node that the store refused because another one had taken over";
        let refused = IntCounter::new("quell_commits_refused_total", refused)?;
        registry.register(Box::new(begun.clone()))?;
        registry.register(Box::new(refused.clone()))?;
        Ok(TurnCounts { begun, refused })
    }
}

/// A node's turns in one shard, one after the other.
pub(crate) struct Turns {
    pub(crate) door: Arc<Door>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) told: Arc<Told>,
    pub(crate) aside: Arc<Aside>,
    pub(crate) counts: TurnCounts,
    pub(crate) rules: Rules,
    pub(crate) workers: Workers,
    pub(crate) tails: Tails,
    pub(crate) follower: Follower,
    /// Where the log is, in words.
    pub(crate) place: String,
}

/// How a turn ended.
enum Ended {
    /// The doors are closed and everything received is decided.
    Closed,
    /// Another node was given it.
    Superseded,
    /// The store refused a commit: another node had it already.
    Refused,
    /// It could not begin, for now.
    NotNow,
}

impl Turns {
    /// Runs until `closing` turns true.
    ///
    /// # Errors
    /// When the process must not go on: the store's disk failed, or log and store do not belong together.
    pub(crate) async fn run(mut self, mut seat: Seat, closing: watch::Receiver<bool>) -> anyhow::Result<()> {
        let shard = self.door.shard.number;
        loop {
            if !self.stand_by(&seat, closing.clone()).await {
                self.door.appender.close().await;
                break;
            }
            match self.turn(&seat, closing.clone()).await? {
                Ended::Closed => break,
                Ended::Superseded => tracing::warn!(shard, "another node was given the turn; standing by"),
                Ended::Refused => {
                    tracing::warn!(shard, "another node has taken over: a commit was refused; asking whose turn it is");
                    seat = tokio::select! {
                        seat = seat.ask_anew() => seat?,
                        () = closed(closing.clone()) => {
                            self.door.appender.close().await;
                            return Ok(());
                        }
                    };
                }
                Ended::NotNow => tokio::select! {
                    () = tokio::time::sleep(AGAIN) => {}
                    () = closed(closing.clone()) => {}
                },
            }
        }
        seat.leave().await;
        Ok(())
    }

    /// Follows what others decide until it is this node's turn; false when the doors are closed before.
    async fn stand_by(&mut self, seat: &Seat, closing: watch::Receiver<bool>) -> bool {
        let Turns { door, tails, follower, .. } = self;
        door.published.turn_to(Role::StandingBy);
        // What comes by the log is only counted: it must be read all the same, because each record that this node puts
        // there says how far its node had read.
        let taking = async {
            loop {
                match tails.next(CHUNK).await {
                    Taken::Main(_) => door.published.appended(tails.last()[0]),
                    Taken::Commands(_) => {}
                    Taken::Closed => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            biased;
            () = closed(closing) => false,
            () = seat.mine() => true,
            _ = async { tokio::join!(taking, follower.run()) } => true,
        }
    }

    /// One turn, and its end.
    async fn turn(&mut self, seat: &Seat, closing: watch::Receiver<bool>) -> anyhow::Result<Ended> {
        let published = Arc::clone(&self.door.published);
        published.turn_to(Role::TakingOver);
        self.tails.decode_ahead(true);
        let ended = tokio::select! {
            biased;
            () = seat.lost() => Ok(Ended::Superseded),
            decided = self.decide(seat.is_shared(), closing) => match decided {
                Ok(()) => Ok(Ended::Closed),
                Err(error) if !seat.is_shared() => Err(error),
                Err(error) if is_fenced(&error) => {
                    self.counts.refused.inc();
                    Ok(Ended::Refused)
                }
                Err(error) if passes(&error) => {
                    let (shard, error) = (self.door.shard.number, format!("{error:#}"));
                    tracing::warn!(shard, error, "this node cannot decide now; trying again");
                    Ok(Ended::NotNow)
                }
                Err(error) => Err(error),
            },
        };
        // Its state went with it; what was made ready for it, too.
        self.tails.decode_ahead(false);
        self.door.shelf.clear();
        self.door.gauges.in_hand(0, 0);
        published.unflushed(0);
        published.turn_to(Role::StandingBy);
        ended
    }

    /// Takes over and decides until the doors are closed. May be dropped at any point.
    async fn decide(&mut self, shared: bool, closing: watch::Receiver<bool>) -> anyhow::Result<()> {
        let mut desk = self.take_over(shared).await?;
        put_rules_in_force(&self.door, &desk, &self.rules).await?;
        self.door.published.turn_to(Role::Deciding);
        self.counts.begun.inc();
        let _at_work = self.workers.begin(&self.door, &self.clock);
        shell::run(&mut desk, &self.door, &*self.clock, &mut self.tails, closing).await
    }

    /// The engine as the store has it, with everything decided that was received until now.
    async fn take_over(&mut self, shared: bool) -> anyhow::Result<Desk> {
        let Door { shard, sharding, reader, store, shelf, published, gauges, .. } = &*self.door;
        let (engine, restored) = recover::restore(&**store, *shard, Arc::clone(&self.rules.settings)).await?;
        let positions = restored.positions;
        // Nobody else commits any more, so this is the last that is followed.
        if shared {
            self.follower.look().await?;
        }
        let needed = [positions.applied, positions.commands];
        if !reach(&mut self.tails, &**reader, needed).await? {
            let last = self.tails.last();
            bail!(
                "{} ends at record {} and command {}, but the store holds what followed from {} and {}: the log was \
                 replaced or lost its end, or the store is another node's. Put the log back, or begin anew with an empty \
                 log and an empty store",
                self.place,
                last[0],
                last[1],
                positions.applied,
                positions.commands
            );
        }
        let memory = Memory {
            shard: *shard,
            epoch: restored.epoch,
            store: Arc::clone(store),
            published: Arc::clone(published),
            gauges: Arc::clone(gauges),
            sinks: self.workers.sinks(),
            problem_sinks: self.workers.problem_sinks(),
        };
        let mut desk = Desk::new(memory, Arc::clone(sharding), engine, Arc::clone(shelf), positions);
        desk.journeys = Journeys::new(Arc::clone(&self.told));
        desk.rescue = Some(Rescue {
            aside: Arc::clone(&self.aside),
            reader: Arc::clone(reader),
            settings: Arc::clone(&self.rules.settings),
        });
        gauges.in_charge(restored.epoch);
        published.restored(positions.applied);
        let last = self.tails.last();
        recover::catch_up(&mut desk, reader, positions.applied, last).await?;
        // Records that are there twice have places that nothing comes from.
        published.applied(last[0]);
        Ok(desk)
    }
}

/// Takes records until none is ahead that the store contains: another node may have read further than this one. False
/// when the log does not have them.
async fn reach(tails: &mut Tails, reader: &dyn Read<Input>, needed: [Position; 2]) -> anyhow::Result<bool> {
    for (at, stream) in [(0, Stream::Main), (1, Stream::Commands)] {
        if needed[at] <= tails.last()[at] {
            continue;
        }
        if reader.read(stream, needed[at], 1).await?.is_empty() {
            return Ok(false);
        }
        while needed[at] > tails.last()[at] {
            if let Taken::Closed = tails.next(CHUNK).await {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Rules that are not in force yet are stored and activated on the log, so that a replay decides by the same ones.
async fn put_rules_in_force(door: &Door, desk: &Desk, rules: &Rules) -> anyhow::Result<()> {
    let Some(activation) = recover::rules_to_activate(&desk.engine, rules.digest) else { return Ok(()) };
    door.store.put_artefact(activation.kind, rules.digest, &rules.bytes).await?;
    door.shelf.put(rules.digest, Artefact::Rules(Arc::clone(&rules.settings)));
    if let Err(refusal) = door.append_input(Stream::Main, Input::Activate(activation)).await {
        // A full disk must not keep the process from starting: it decides by the rules that were in force.
        tracing::warn!(%refusal, "the rules could not be put in force; restart when there is room");
    }
    Ok(())
}

async fn closed(mut closing: watch::Receiver<bool>) {
    // A dropped sender means that nobody will say so any more: as good as said.
    let _ = closing.wait_for(|closing| *closing).await;
}

fn is_fenced(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StoreError::Fenced { .. }))
}

/// Whether the same may go well later.
fn passes(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(batch::passes) || matches!(error.downcast_ref(), Some(ReadError::Unavailable(_)))
}
