//! Learning while serving: reads what was seen back from the store, makes learned state of it, and puts that in force
//! by the log.
//!
//! Absent on purpose: what is learned and when it is worth it (`quell_engine::learn`). Nothing here decides anything:
//! what is learned counts from where the log activates it, so that a replay and a restart decide the same.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use quell_api::ports::Live;
use quell_cmdb::Graph;
use quell_domain::{Activation, Alert, ArtefactKind, Binding, Digest, Input, Labels, Position, Reason, Timestamp};
use quell_engine::{Artefact, Checkpoint, Learned, learn};
use quell_formats::config::Learning;
use quell_formats::{learned, topology};
use quell_log::{Clock, Stream};
use quell_store::Version;

use crate::artefacts;
use crate::gauges::LearnedGauges;
use crate::intake::Door;

/// The kind of what is learned.
const KIND: ArtefactKind = ArtefactKind::Learned;

/// Alerts read at once.
const PIECE: u32 = 1_000;

/// Records that may wait to be decided: with more of them, learning waits.
const BUSY: u64 = 1_000;

/// The longest wait after failures.
const LONGEST: Duration = Duration::from_secs(3600);

/// What learns.
pub(crate) struct Learner {
    door: Arc<Door>,
    clock: Arc<dyn Clock>,
    max_hops: u32,
    gauges: LearnedGauges,
    /// What is known of the state in force, so that it is not read again each time.
    known: Option<Known>,
}

/// The learned state in force.
#[derive(Clone, Copy)]
struct Known {
    version: Version,
    /// The last alert that was opened by then.
    last: u64,
    episodes: u64,
}

impl Learner {
    pub(crate) fn new(door: &Arc<Door>, clock: Arc<dyn Clock>, max_hops: u32, gauges: LearnedGauges) -> Self {
        Learner { door: Arc::clone(door), clock, max_hops, gauges, known: None }
    }

    /// Learns whenever it is worth it, for ever. Whatever fails is said, counted and tried again, each time later.
    pub(crate) async fn run(&mut self, learning: Learning) {
        let Learning { enabled, every } = learning;
        let mut wait = every;
        loop {
            tokio::time::sleep(wait).await;
            wait = match self.round(enabled).await {
                Ok(()) => every,
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "nothing could be learned; what is in force stays");
                    (wait * 2).min(LONGEST).max(every)
                }
            };
        }
    }

    /// Looks once, and learns if it is worth it; then lets go of what was superseded.
    ///
    /// # Errors
    /// When the store or the log did not do as asked.
    pub(crate) async fn round(&mut self, enabled: bool) -> anyhow::Result<()> {
        let (positions, checkpoint) = self.door.store.position(self.door.shard).await?;
        let known = self.known(&checkpoint).await?;
        let age = known.map(|known| self.clock.now().since(known.version.at));
        self.gauges.in_force(known.map_or(0, |known| known.episodes), age.unwrap_or_default());
        if enabled && self.due(&checkpoint, known).await? && self.door.published.lag() <= BUSY {
            let trained = self.train().await;
            self.gauges.trained(if trained.is_ok() { "activated" } else { "failed" });
            trained?;
        }
        self.forget(positions.applied).await
    }

    /// What is known of the state in force, all of it from the store: a restart knows the same.
    async fn known(&mut self, checkpoint: &Checkpoint) -> anyhow::Result<Option<Known>> {
        let store = &*self.door.store;
        let version = store.versions(self.door.shard, KIND, Timestamp::MAX, 1).await?.into_iter().next();
        let version = version.filter(|version| checkpoint.learned == Some(version.activation.digest));
        if self.known.map(|known| known.version) != version {
            self.known = match version {
                None => None,
                Some(version) => {
                    let last = store.last_alert(self.door.shard, version.position).await?.map_or(0, |alert| alert.0);
                    let Artefact::Learned(learned) = artefacts::load(store, KIND, version.activation.digest).await?
                    else {
                        return Err(anyhow!("the artefact {} is no learned state", version.activation.digest));
                    };
                    Some(Known { version, last, episodes: learned.episodes })
                }
            };
        }
        Ok(self.known)
    }

    /// By the engine's time, which stands still while nothing is received. Before anything was learned it counts from
    /// when the rules came into force: at the latest start that brought others.
    async fn due(&self, checkpoint: &Checkpoint, known: Option<Known>) -> anyhow::Result<bool> {
        let Some(now) = checkpoint.now else { return Ok(false) };
        let (last, at) = match known {
            Some(known) => (known.last, known.version.at),
            None => {
                let rules = ArtefactKind::Rules;
                let versions = self.door.store.versions(self.door.shard, rules, Timestamp::MAX, 1).await?;
                (0, versions.first().map_or(now, |version| version.at))
            }
        };
        Ok(learn::due(last, checkpoint.last_alert, now.since(at)))
    }

    async fn train(&self) -> anyhow::Result<()> {
        let episodes = self.episodes().await?;
        let count = episodes.len();
        let Made { digest, bytes, learned } = make(self.door.published.graph(), self.max_hops, episodes).await?;
        let activation = Activation { kind: KIND, digest };
        self.door.store.put_artefact(KIND, digest, &bytes).await?;
        self.door.shelf.put(digest, Artefact::Learned(Arc::new(learned)));
        let appended = self.door.append_input(Stream::Main, Input::Activate(activation)).await;
        let stamp = appended.inspect_err(|_| self.door.shelf.discard(digest))?;
        self.door.published.wait_for_activation(stamp.position).await;
        tracing::info!(episodes = count, bytes = bytes.len(), %digest, "learned from what was seen");
        Ok(())
    }

    /// The latest episodes, of each only what is learned from.
    async fn episodes(&self) -> anyhow::Result<Vec<Alert>> {
        let mut episodes: Vec<Alert> = Vec::new();
        while episodes.len() < learn::EPISODES {
            let before = episodes.last().map(|alert| alert.id);
            let piece = self.door.store.latest_alerts(self.door.shard, before, PIECE).await?;
            let end = piece.len() < PIECE as usize;
            episodes.extend(piece.into_iter().map(slim));
            if end {
                break;
            }
        }
        episodes.truncate(learn::EPISODES);
        Ok(episodes)
    }

    /// Lets go of learned state that no record on the log needs. None waits to be put in force: only this puts them
    /// there, and it waits until they are.
    async fn forget(&self, applied: Position) -> anyhow::Result<()> {
        let kept = self.door.reader.read(Stream::Main, Position::START.next(), 1).await?;
        let first = kept.first().map_or(applied.next(), |record| record.stamp.position);
        self.door.store.drop_superseded(self.door.shard, KIND, first).await?;
        Ok(())
    }
}

/// What is learned from an episode: not its texts and reasons, which are most of its bytes.
fn slim(mut alert: Alert) -> Alert {
    let name = [("alertname", alert.name().to_owned())];
    alert.labels = Labels::new(name.iter().map(|(key, value)| (*key, value.as_str())));
    alert.annotations = Labels::default();
    (alert.unbound, alert.membership) = (None, None);
    alert.binding = alert.binding.map(|binding| Binding { reason: Reason::new("kept", ""), ..binding });
    alert
}

/// Learned state, ready to be kept.
struct Made {
    digest: Digest,
    bytes: Vec<u8>,
    learned: Learned,
}

/// Learns on a thread of its own that gives way to all others of the machine. A panic there ends nothing else.
async fn make(graph: Arc<Graph>, max_hops: u32, episodes: Vec<Alert>) -> anyhow::Result<Made> {
    let (done, made) = tokio::sync::oneshot::channel();
    let work = move || {
        // Without it, it is merely in the way for a second.
        if let Err(error) = rustix::process::setpriority_process(None, 19) {
            tracing::debug!(%error, "the thread that learns keeps its priority");
        }
        let learned = Learned::of(&graph, max_hops, &episodes);
        let bytes = learned::encode(&learned);
        // Nobody waits any more at the end of the process.
        let _ = done.send(Made { digest: topology::digest(&bytes), bytes, learned });
    };
    std::thread::Builder::new().name("quell-learn".into()).spawn(work).context("no thread to learn on")?;
    made.await.map_err(|_| anyhow!("the thread that learns came to nothing"))
}
