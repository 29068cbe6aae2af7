//! A node's seats among those of a log: in which shards it is its turn to decide.
//!
//! Absent on purpose: what a turn is (`turns`), and the fence; a seat is what one is told.

use std::sync::Arc;
use std::time::Duration;

use quell_domain::Shard;
use quell_formats::config::Config;
use quell_log::kafka::{self, KafkaLog};
use tokio::sync::watch;

use crate::logs;

/// Between two tries to ask a group that does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// A node's seat in one shard.
pub(crate) enum Seat {
    /// There are no others: it is always its turn.
    Alone,
    /// When the group of engines says so.
    Shared(Place),
    /// Never: others do.
    Never,
}

/// A seat in the group of engines.
pub(crate) struct Place {
    shard: u32,
    turn: watch::Receiver<kafka::Turn>,
    group: Arc<Group>,
}

/// A node's one place in the group, which has a turn for each shard; and what is needed to ask for another.
struct Group {
    duty: kafka::Duty,
    options: kafka::Options,
}

/// A seat for each shard, by its number.
///
/// # Errors
/// When the group cannot be asked.
pub(crate) async fn take(config: &Config) -> anyhow::Result<Vec<Seat>> {
    let count = config.shards.count();
    match (&config.log, config.roles.engine) {
        (None, _) => Ok((0..count).map(|_| Seat::Alone).collect()),
        (Some(_), false) => Ok((0..count).map(|_| Seat::Never).collect()),
        (Some(_), true) => ask(logs::options(config, Shard::FIRST)?).await,
    }
}

async fn ask(options: kafka::Options) -> anyhow::Result<Vec<Seat>> {
    let duty = KafkaLog::duty(&options).await?;
    let turns = duty.turns().to_vec();
    let group = Arc::new(Group { duty, options });
    let place = |(shard, turn)| Seat::Shared(Place { shard, turn, group: Arc::clone(&group) });
    Ok((0..).zip(turns).map(place).collect())
}

impl Seat {
    /// Whether there may be others.
    pub(crate) fn is_shared(&self) -> bool {
        !matches!(self, Seat::Alone)
    }

    /// Returns when it is this node's turn.
    pub(crate) async fn mine(&self) {
        match self {
            Seat::Alone => {}
            Seat::Never => std::future::pending().await,
            Seat::Shared(place) => {
                let mut turn = place.turn.clone();
                let said = turn.wait_for(|turn| *turn != kafka::Turn::Unknown).await;
                if said.is_ok_and(|turn| *turn == kafka::Turn::Others) {
                    tracing::info!(shard = place.shard, "another node decides; standing by");
                }
                wait_for(turn, kafka::Turn::Mine).await;
            }
        }
    }

    /// Returns when another node has been given the turn; never where there are no others.
    pub(crate) fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        let turn = match self {
            Seat::Shared(place) => Some(place.turn.clone()),
            Seat::Alone | Seat::Never => None,
        };
        async move {
            match turn {
                Some(turn) => wait_for(turn, kafka::Turn::Others).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Finds out whose turn it is, when what this node believed of it was wrong. Where there is one shard, by giving the
    /// turn back and asking for it anew. Of several only the whole group could be left, and the turns in other shards with
    /// it; so it is waited for as long as the group may need to say otherwise, and if it does not, the turn is this node's.
    pub(crate) async fn ask_anew(self) -> anyhow::Result<Seat> {
        let Seat::Shared(place) = self else { return Ok(self) };
        let Place { shard, mut turn, group } = place;
        if group.options.shards > 1 {
            let other = turn.wait_for(|turn| *turn != kafka::Turn::Mine);
            tokio::time::timeout(kafka::Duty::HEARSAY, other).await.ok();
            return Ok(Seat::Shared(Place { shard, turn, group }));
        }
        let options = group.options.clone();
        leave(group).await;
        // Kafka may be away just now, and then nobody is given a turn.
        loop {
            match ask(options.clone()).await.map(|mut seats| seats.pop()) {
                Ok(Some(seat)) => return Ok(seat),
                Ok(None) => return Ok(Seat::Never),
                Err(error) => tracing::warn!(error = format!("{error:#}"), "the group of engines cannot be asked"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Gives the turn back for good; the group is left with the last one.
    pub(crate) async fn leave(self) {
        if let Seat::Shared(Place { group, .. }) = self {
            leave(group).await;
        }
    }
}

async fn leave(group: Arc<Group>) {
    if let Some(group) = Arc::into_inner(group) {
        group.duty.leave().await;
    }
}

async fn wait_for(mut turn: watch::Receiver<kafka::Turn>, wanted: kafka::Turn) {
    // Nobody is left who could say: then nothing is said.
    if turn.wait_for(|turn| *turn == wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}
