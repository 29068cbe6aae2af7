//! The shards of a node put together: for each its log, its door, its turns and what works beside its engine.
//!
//! Absent on purpose: what all nodes' HTTP side needs (`serve`), and whose turn it is (`seats`).

use std::sync::Arc;

use anyhow::Context;
use prometheus::{IntCounterVec, Registry};
use quell_domain::{Shard, Sharding};
use quell_formats::config::Config;
use quell_log::Clock;
use quell_notify::{EgressPolicy, Sink};
use quell_store::Store;
use tokio::sync::{Mutex, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::artefacts::Shelf;
use crate::aside::Aside;
use crate::deliveries::Deliveries;
use crate::doors::Doors;
use crate::follow::Follower;
use crate::forecaster::Forecaster;
use crate::gauges::{Gauges, LearnedGauges};
use crate::intake::Door;
use crate::journey::Told;
use crate::learner::Learner;
use crate::live::Published;
use crate::logs::{self, Log, LogGauges};
use crate::seats::{self, Seat};
use crate::serve::outage;
use crate::shown::Shown;
use crate::streams::Telling;
use crate::turns::{Rules, TurnCounts, Turns};
use crate::workers::Workers;

/// What a node's config names besides logs and store, read and checked.
pub(crate) struct Settled {
    pub(crate) config: Config,
    pub(crate) rules: Rules,
    pub(crate) sinks: Vec<Sink>,
    pub(crate) policy: Arc<EgressPolicy>,
}

/// What is counted of all shards, and who is told of.
struct Counted {
    gauges: Gauges,
    learned: LearnedGauges,
    turns: TurnCounts,
    rounds: IntCounterVec,
    told: Arc<Told>,
    observer: Arc<Deliveries>,
    aside: Arc<Aside>,
}

impl Counted {
    fn new(settled: &Settled, clock: &Arc<dyn Clock>, registry: &Registry) -> anyhow::Result<Self> {
        let told = Arc::new(Told::default());
        let dead = logs::dead_letters(&settled.config)?;
        Ok(Counted {
            gauges: Gauges::new(registry)?,
            learned: LearnedGauges::new(registry)?,
            turns: TurnCounts::new(registry)?,
            rounds: Forecaster::rounds(registry)?,
            observer: Arc::new(Deliveries::new(registry, &settled.sinks, Arc::clone(&told))?),
            aside: Arc::new(Aside::new(dead, Arc::clone(clock), registry)?),
            told,
        })
    }
}

/// A node's shards before their turns begin.
pub(crate) struct Shards {
    pub(crate) doors: Arc<Doors>,
    pub(crate) aside: Arc<Aside>,
    turns: Vec<(Turns, Seat)>,
}

/// Opens the logs of the other shards, and makes ready what each shard needs.
///
/// # Errors
/// Why a log cannot be opened, a name cannot be counted under, or the store cannot be read.
pub(crate) async fn ready(
    settled: Settled,
    first: Log,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    registry: &Registry,
) -> anyhow::Result<Shards> {
    let config = &settled.config;
    let sharding = Arc::new(config.shards.clone());
    let mut opened = vec![(Shard::FIRST, first)];
    for shard in sharding.shards().skip(1) {
        opened.push((shard, logs::open(config, shard, Arc::clone(&clock), outage).await?));
    }
    let seats = seats::take(config).await?;
    let counted = Counted::new(&settled, &clock, registry)?;
    registry.register(Box::new(LogGauges::new(opened.iter().map(|(_, log)| log))?))?;
    let common = Common { settled, sharding: Arc::clone(&sharding), store, clock, counted };
    let mut turns: Vec<(Turns, Seat)> = Vec::new();
    for ((shard, log), seat) in opened.into_iter().zip(seats) {
        let before = turns.first().map(|(turns, _)| &turns.door);
        turns.push((common.turns(shard, log, before, &seat).await?, seat));
    }
    let doors: Vec<Arc<Door>> = turns.iter().map(|(turns, _)| Arc::clone(&turns.door)).collect();
    let published = doors.iter().map(|door| (door.shard, Arc::clone(&door.published)));
    registry.register(Box::new(Shown::new(published)?))?;
    let mut doors = doors.into_iter();
    let first = doors.next().context("there is a first shard")?;
    let doors = Arc::new(Doors::new(sharding, first, doors.collect()));
    Ok(Shards { doors, aside: common.counted.aside, turns })
}

/// What the shards of a node have in common.
struct Common {
    settled: Settled,
    sharding: Arc<Sharding>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    counted: Counted,
}

impl Common {
    /// The turns of a shard; `before` is the first shard's door, where this is another.
    async fn turns(&self, shard: Shard, log: Log, before: Option<&Arc<Door>>, seat: &Seat) -> anyhow::Result<Turns> {
        let Common { settled, clock, counted, .. } = self;
        let Settled { config, rules, sinks, policy } = settled;
        let Log { appender, tails, reader, place, .. } = log;
        let state = appender.state();
        let published = Arc::new(match before {
            None => Published::new(state),
            Some(first) => first.published.beside(state),
        });
        let mut follower = Follower::new(&self.store, &published, shard);
        if seat.is_shared() {
            // Of what others decide one knows only where they have the same store.
            let most = u64::try_from(config.intake.waiting_records).unwrap_or(u64::MAX);
            published.share(config.store.is_some().then_some(most));
            published.appended(tails.last()[0]);
            follower.look().await.context("the store cannot be read")?;
        }
        let door = Arc::new(Door {
            shard,
            sharding: Arc::clone(&self.sharding),
            appender,
            reader,
            store: Arc::clone(&self.store),
            shelf: Arc::new(Shelf::default()),
            published,
            gauges: Arc::new(counted.gauges.beside(shard)),
        });
        let learned = counted.learned.beside(shard);
        let learner = Learner::new(&door, Arc::clone(clock), rules.settings.correlation.max_hops, learned);
        let forecaster = Forecaster::new(&door, Arc::clone(clock), counted.rounds.clone());
        Ok(Turns {
            door,
            clock: Arc::clone(clock),
            told: Arc::clone(&counted.told),
            aside: Arc::clone(&counted.aside),
            counts: counted.turns.clone(),
            rules: rules.clone(),
            workers: Workers {
                sinks: sinks.clone(),
                policy: Arc::clone(policy),
                observer: Arc::clone(&counted.observer) as Arc<dyn quell_notify::Observer>,
                telling: Telling::new(config)?,
                learner: Arc::new(Mutex::new(learner)),
                forecaster: Arc::new(Mutex::new(forecaster)),
                config: config.clone(),
            },
            tails,
            follower,
            place,
        })
    }
}

impl Shards {
    /// Whether other nodes may decide.
    pub(crate) fn are_shared(&self) -> bool {
        self.turns.iter().any(|(_, seat)| seat.is_shared())
    }

    /// Begins the turns of every shard, until `closing` turns true; done when all are over, or with the first that must
    /// not go on.
    pub(crate) fn begin(self, closing: &watch::Receiver<bool>) -> JoinHandle<anyhow::Result<()>> {
        let mut running = JoinSet::new();
        for (turns, seat) in self.turns {
            running.spawn(turns.run(seat, closing.clone()));
        }
        tokio::spawn(async move {
            while let Some(ended) = running.join_next().await {
                ended??;
            }
            Ok(())
        })
    }
}

/// Returns when this node decides in every shard.
pub(crate) async fn all_decide(doors: &Doors) {
    for door in doors.all() {
        door.published.decides().await;
    }
}

/// Returns when the disk of one of the logs has failed.
pub(crate) async fn failed(doors: &Doors) {
    let failed = doors.all().map(|door| Box::pin(logs::failed(door.appender.state())));
    futures::future::select_all(failed).await;
}
