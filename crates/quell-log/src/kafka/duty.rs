//! Which node decides in which shard: the one to which Kafka's group gives the partition of the shard.
//!
//! The group only says whose turn it is; nothing is read by it and no offset is kept. Another node is given a partition
//! when the first one has not been heard of for a while, and the store's epoch is what keeps the first one from writing
//! when it comes back. Absent on purpose: decisions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use tokio::sync::{oneshot, watch};

use super::client::{self, Context};
use super::{Options, topics};
use crate::contract::Stream;

/// How long a node may be silent before its partition is another's.
const SESSION_MS: &str = "6000";
/// Between two signs of life that a node gives.
const HEARTBEAT: Duration = Duration::from_millis(1500);
/// How long the thread waits for what the group has to say.
const LOOK: Duration = Duration::from_millis(100);
/// How long it may take to leave; a group that was not told finds out by itself.
const FAREWELL: Duration = Duration::from_secs(3);

/// Whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Not known now: the group is being asked, or does not answer.
    Unknown,
    /// This node's.
    Mine,
    /// Another node's.
    Others,
}

/// A node's place in the group; left when this is dropped.
#[derive(Debug)]
pub struct Duty {
    turns: Vec<watch::Receiver<Turn>>,
    ended: Arc<AtomicBool>,
    left: oneshot::Receiver<()>,
}

impl Duty {
    /// How long a node may need to hear from the group that a shard is another's, once it is.
    pub const HEARSAY: Duration = Duration::from_secs(3);

    /// Joins the group.
    pub(super) fn join(options: &Options) -> KafkaResult<Duty> {
        let Options { address, security, shards, .. } = options;
        let mut config = client::admin(&address.brokers, security);
        config
            .set("group.id", format!("{}-engine", address.prefix))
            .set("enable.auto.commit", "false")
            // Whoever has a partition keeps it when others come, but for what makes the shares even.
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", SESSION_MS)
            .set("heartbeat.interval.ms", HEARTBEAT.as_millis().to_string())
            .set("max.poll.interval.ms", "60000");
        let (said, turns) = (0..*shards).map(|_| watch::channel(Turn::Unknown)).unzip();
        let asked = Asked { said, lost: AtomicBool::new(false) };
        let consumer: BaseConsumer<Asked> = config.create_with_context(asked)?;
        let topic = topics::name(&address.prefix, Stream::Main);
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        let (gone, left) = oneshot::channel();
        std::thread::spawn(move || {
            if let Err(error) = consumer.subscribe(&[&topic]) {
                tracing::error!(%error, "the group of engines cannot be joined");
            }
            while !stop.load(Ordering::Acquire) {
                // Nothing is fetched, so whatever comes is an error that the library mends by itself.
                drop(consumer.poll(LOOK));
            }
            drop(consumer);
            // Whoever does not wait for it does not need to know.
            gone.send(()).ok();
        });
        Ok(Duty { turns, ended, left })
    }

    /// Leaves the group, so that another node is given the turn at once. Whoever wants it again asks anew, and gets it
    /// only when the group says so: that is how a node finds out whose turn it is once its own belief was wrong.
    pub async fn leave(mut self) {
        self.ended.store(true, Ordering::Release);
        let left = std::mem::replace(&mut self.left, oneshot::channel().1);
        tokio::time::timeout(FAREWELL, left).await.ok();
    }

    /// Whose turn it is in each shard, by its number, now and as it changes.
    #[must_use]
    pub fn turns(&self) -> &[watch::Receiver<Turn>] {
        &self.turns
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
    }
}

/// Hears what the group says.
struct Asked {
    said: Vec<watch::Sender<Turn>>,
    /// What is being taken back was lost: this node was silent, or the group cannot be asked.
    lost: AtomicBool,
}

impl Asked {
    /// Says whose turn it is in the shards that it is about.
    fn say(&self, turn: Turn, about: impl Fn(i32) -> bool) {
        for (number, said) in (0..).zip(&self.said) {
            if about(number) {
                said.send_if_modified(|known| std::mem::replace(known, turn) != turn);
            }
        }
    }
}

impl ClientContext for Asked {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Context.error(error, reason);
    }
}

impl ConsumerContext for Asked {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.lost.store(consumer.assignment_lost(), Ordering::Release);
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(_) => {
                // What is there already counts, too: a round may give nothing new.
                let mine = consumer.assignment().unwrap_or_default();
                // Nothing is read here.
                if mine.count() > 0
                    && let Err(error) = consumer.pause(&mine)
                {
                    tracing::warn!(%error, "partitions are fetched for nothing");
                }
                let mine = partitions(&mine);
                self.say(Turn::Mine, |number| mine.contains(&number));
                self.say(Turn::Others, |number| !mine.contains(&number));
            }
            // The group gives it to another one in its next round, which begins only after this.
            Rebalance::Revoke(gone) if !self.lost.load(Ordering::Acquire) => {
                let gone = partitions(gone);
                self.say(Turn::Others, |number| gone.contains(&number));
            }
            Rebalance::Revoke(_) | Rebalance::Error(_) => self.say(Turn::Unknown, |_| true),
        }
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<i32> {
    list.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::partition).collect()
}
