//! Recorded traffic: a file of alerts, or the log of an installation, read only and as often as wanted.
//!
//! Operators' commands on a log are left out: they name incidents, and another configuration may open others. Absent on
//! purpose: deciding anything; the records go to a [`Replay`].

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use quell_domain::{Activation, ArtefactKind, Input, Position, Shard, Sharding, Timestamp, Topology};
use quell_engine::{Artefact, Settings};
use quell_formats::config::Config;
use quell_formats::database::Database;
use quell_formats::{record, replay as lines, topology};
use quell_log::Stream;
use quell_log::embedded::EmbeddedLog;
use quell_log::kafka::{self, KafkaLog};
use quell_log::{Read, ReadError, Record};
use quell_store::Store;

use crate::artefacts;
use crate::replay::Replay;
use crate::{logs, stores, streams};

/// Records read at once.
const CHUNK: usize = 256;

/// Where recorded traffic lies.
pub enum Traffic {
    /// One body a line, with a topology for all of them.
    File {
        /// The file.
        alerts: PathBuf,
        /// What depends on what.
        topology: Topology,
    },
    /// The log of an installation, with its artefacts.
    Log {
        /// Its records.
        reader: Arc<dyn Read<Input>>,
        /// Its store, for the artefacts that the log activates.
        store: Arc<dyn Store>,
        /// In force all the time instead of what the log activates.
        topology: Option<Topology>,
        /// Which part of each record is played: this shard's.
        part: (Sharding, Shard),
    },
}

impl Traffic {
    /// The traffic of a data directory, whether or not a process has it; its store may lie in a database. Of several shards
    /// one must be wanted.
    ///
    /// # Errors
    /// When there is no log or no store in it, they are of another version, or there is no such shard.
    pub async fn of_directory(
        directory: &Path,
        database: Option<&Database>,
        topology: Option<Topology>,
        wanted: Option<u32>,
    ) -> anyhow::Result<Self> {
        let store = stores::open_read_only(directory, database).await?;
        let part = part(&*store, wanted).await?;
        let directory = logs::directory(directory, part.1);
        let reader: Arc<dyn Read<Input>> = Arc::new(EmbeddedLog::read_only(&directory)?);
        Ok(Traffic::Log { reader, store, topology, part })
    }

    /// The traffic of a log on Kafka, whether or not a process decides it; its store lies in a database or a directory.
    ///
    /// # Errors
    /// When Kafka cannot be reached as the config says, the store cannot be read, or there is no such shard.
    pub async fn of_kafka(
        address: &str,
        config: &Config,
        directory: &Path,
        database: Option<&Database>,
        (topology, wanted): (Option<Topology>, Option<u32>),
    ) -> anyhow::Result<Self> {
        let store = stores::open_read_only(directory, database).await?;
        let part = part(&*store, wanted).await?;
        let options = kafka::Options {
            shard: part.1,
            shards: part.0.count(),
            security: streams::security(config)?,
            body_bytes: config.intake.decoded_bytes,
            ..kafka::Options::at(address.parse()?)
        };
        let reader: Arc<dyn Read<Input>> = Arc::new(KafkaLog::read_only(&options).await?);
        Ok(Traffic::Log { reader, store, topology, part })
    }

    /// The rules that an installation has in force; `None` for a file.
    ///
    /// # Errors
    /// When its store cannot be read.
    pub async fn rules(&self) -> anyhow::Result<Option<Arc<Settings>>> {
        let Traffic::Log { store, part, .. } = self else { return Ok(None) };
        let (_, checkpoint) = store.position(part.1).await?;
        let Some(digest) = checkpoint.rules else { return Ok(None) };
        match artefacts::load(&**store, ArtefactKind::Rules, digest).await? {
            Artefact::Rules(settings) => Ok(Some(settings)),
            _ => Ok(None),
        }
    }

    /// Plays all of it under these settings; returns the ledger's replay and how many bodies there were.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub async fn play(&self, settings: Arc<Settings>) -> anyhow::Result<(Replay, u64)> {
        match self {
            Traffic::File { alerts, topology } => {
                let mut replay = Replay::new(settings, topology.clone());
                let records = play_file(&mut replay, alerts)?;
                Ok((replay, records))
            }
            Traffic::Log { reader, store, topology, part } => {
                play_log(settings, &**reader, &**store, topology.as_ref(), part).await
            }
        }
    }
}

/// How the inputs of an installation are shared out, and the shard that is wanted of it.
async fn part(store: &dyn Store, wanted: Option<u32>) -> anyhow::Result<(Sharding, Shard)> {
    let sharding = store.sharding().await?.unwrap_or_default();
    let count = sharding.count();
    let Some(number) = wanted.or((count == 1).then_some(0)) else {
        bail!("this installation has {count} shards: name the one to play by --shard, 0 to {}", count - 1)
    };
    ensure!(number < count, "--shard: found {number}; allowed: 0 to {}", count - 1);
    Ok((sharding, Shard { tenant: Shard::FIRST.tenant, number }))
}

/// Plays a file of alerts; returns how many bodies it held.
///
/// # Errors
/// When it cannot be read or understood.
pub fn play_file(replay: &mut Replay, alerts: &Path) -> anyhow::Result<u64> {
    let file = std::fs::File::open(alerts).with_context(|| format!("cannot read {}", alerts.display()))?;
    let mut reader = std::io::BufReader::with_capacity(1 << 20, file);
    let (mut text, mut number, mut records) = (String::new(), 0, 0);
    loop {
        text.clear();
        number += 1;
        if reader.read_line(&mut text).with_context(|| format!("cannot read {}", alerts.display()))? == 0 {
            return Ok(records);
        }
        match lines::line(number, &text) {
            Ok(Some(recorded)) => {
                records += 1;
                replay.play(recorded.received_at, recorded.source, recorded.payload);
            }
            Ok(None) => {}
            Err(mistake) => bail!("{}: {mistake}", alerts.display()),
        }
    }
}

async fn play_log(
    settings: Arc<Settings>,
    reader: &dyn Read<Input>,
    store: &dyn Store,
    fixed: Option<&Topology>,
    (sharding, shard): &(Sharding, Shard),
) -> anyhow::Result<(Replay, u64)> {
    let first = pieces(reader, Position::START.next(), 1).await?;
    // Where the log's beginning is kept no longer, the store still knows what was in force then.
    let start = first.first().map(|record| record.stamp).filter(|start| start.position > Position::START.next());
    let then = match start {
        Some(start) => store.versions(*shard, ArtefactKind::Topology, start.received_at, 1).await?.pop(),
        None => None,
    };
    let known = match (fixed, then.map(|version| version.activation.digest)) {
        (Some(topology), _) => topology.clone(),
        (None, Some(digest)) => {
            let bytes =
                store.artefact(ArtefactKind::Topology, digest).await?.context("the topology is not in the store")?;
            topology::decode(&bytes).map_err(|mistakes| {
                anyhow::anyhow!(mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
            })?
        }
        (None, None) => Topology::default(),
    };
    let mut replay = Replay::of(*shard, settings, known);
    if let Some((at, activation)) = learned_before(store, *shard, first.first().filter(|_| start.is_some())).await? {
        let artefact = artefacts::load(store, activation.kind, activation.digest).await?;
        replay.activate(at, activation, artefact);
    }
    let (mut from, mut bodies) = (Position::START.next(), 0);
    loop {
        let records = pieces(reader, from, CHUNK).await?;
        let Some(last) = records.last().map(|record| record.stamp.position) else { return Ok((replay, bodies)) };
        for entry in records {
            let received_at = entry.stamp.received_at;
            if entry.damage.is_some() {
                continue;
            }
            match record::decode_part(entry.kind, &entry.body, sharding, shard.number)? {
                Input::Activate(Activation { kind: ArtefactKind::Rules, .. })
                | Input::Command(_)
                | Input::Problem(_) => {}
                Input::Activate(Activation { kind: ArtefactKind::Topology, .. }) if fixed.is_some() => {}
                Input::Activate(activation) => {
                    let artefact = artefacts::load(store, activation.kind, activation.digest).await?;
                    replay.activate(received_at, activation, artefact);
                }
                input @ (Input::Alerts(_) | Input::Changes(_) | Input::Tick | Input::Outage { .. }) => {
                    bodies += u64::from(matches!(input, Input::Alerts(_) | Input::Changes(_)));
                    replay.input(received_at, &input);
                }
            }
        }
        from = last.next();
    }
}

/// The next records. One that others than quell put there, or that is damaged, has its place and nothing in it.
async fn pieces(reader: &dyn Read<Input>, from: Position, limit: usize) -> anyhow::Result<Vec<Record<Input>>> {
    match reader.read(Stream::Main, from, limit).await {
        Err(ReadError::Damaged { position, shared: Some(damage), .. }) => {
            tracing::warn!(%position, why = damage.why, "a record is damaged and passed over");
            let stamp = quell_log::Stamp { stream: Stream::Main, position, received_at: Timestamp::MIN };
            Ok(vec![Record::damaged(stamp, damage)])
        }
        read => Ok(read?),
    }
}

/// What had been learned when the first kept record was received.
async fn learned_before(
    store: &dyn Store,
    shard: Shard,
    first: Option<&quell_log::Record<Input>>,
) -> anyhow::Result<Option<(Timestamp, Activation)>> {
    let Some(first) = first.map(|record| record.stamp) else { return Ok(None) };
    // Of several of one instant the record itself may be one.
    let versions = store.versions(shard, ArtefactKind::Learned, first.received_at, 2).await?;
    let earlier = versions.into_iter().find(|version| version.position < first.position);
    Ok(earlier.map(|version| (first.received_at, version.activation)))
}
