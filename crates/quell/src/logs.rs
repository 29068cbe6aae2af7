//! The log that each shard of an installation has: a file of its own, or its partition of Kafka's topics.
//!
//! Absent on purpose: what is put there; everything after the opening knows a log by its contract only.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, IntGaugeVec, Opts};
use quell_domain::{Input, Shard};
use quell_formats::config::Config;
use quell_formats::record;
use quell_log::embedded::{self, EmbeddedLog, OutageBody};
use quell_log::kafka::{self, KafkaLog};
use quell_log::{Append, Clock, DeadLetters, FileLetters, LogState, Read};
use tokio::sync::watch;

use crate::streams;
use crate::tails::Tails;

/// How long Kafka may take to acknowledge a record before it goes to the spool.
const ACK: Duration = Duration::from_secs(2);

/// The folder of dead letters in the data directory.
pub(crate) const DEAD_LETTERS: &str = "dead-letters";

/// One shard's open log, in its parts.
pub(crate) struct Log {
    pub(crate) appender: Arc<dyn Append<Input>>,
    pub(crate) reader: Arc<dyn Read<Input>>,
    pub(crate) tails: Tails,
    /// Where it is, in words.
    pub(crate) place: String,
    spooled: Option<kafka::Appender<Input>>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({})", self.place)
    }
}

/// How the Kafka is used that the config names, for one shard.
pub(crate) fn options(config: &Config, shard: Shard) -> anyhow::Result<kafka::Options> {
    let (intake, address) = (config.intake, config.log.as_deref().context("the config names no Kafka")?);
    Ok(kafka::Options {
        shard,
        shards: config.shards.count(),
        body_bytes: intake.decoded_bytes,
        retention_age: config.retention.age,
        retention_bytes: config.retention.bytes,
        spool_bytes: intake.spool_bytes,
        waiting_records: intake.waiting_records,
        waiting_bytes: intake.waiting_bytes,
        ack: ACK,
        security: streams::security(config)?,
        ..kafka::Options::at(address.parse()?)
    })
}

/// The directory of a shard's log: the data directory itself for the first one.
pub(crate) fn directory(data_dir: &Path, shard: Shard) -> PathBuf {
    match shard.number {
        0 => data_dir.to_owned(),
        number => data_dir.join(format!("shard-{number}")),
    }
}

/// The directory of a shard's spool.
pub(crate) fn spool(config: &Config, shard: Shard) -> PathBuf {
    config.data_dir.join(match shard.number {
        0 => "spool".to_owned(),
        number => format!("spool-{number}"),
    })
}

/// Opens the log of a shard where the config says; the first shard's before those of others.
pub(crate) async fn open(
    config: &Config,
    shard: Shard,
    clock: Arc<dyn Clock>,
    outage: OutageBody,
) -> anyhow::Result<Log> {
    let whose = match config.shards.count() {
        1 => "the log".to_owned(),
        _ => format!("the log of shard {}", shard.number),
    };
    if config.log.is_some() {
        let options = options(config, shard)?;
        let place = format!("{whose} on {}", options.address);
        let opened = KafkaLog::open(&spool(config, shard), options, clock, outage).await?;
        let kafka::Opened { appender, main, commands, reader, last } = opened;
        let prepared = Arc::new(AtomicBool::new(false));
        let (wanted, sharding) = (Arc::clone(&prepared), config.shards.clone());
        main.prepare(Box::new(move |kind, body| {
            wanted.load(Ordering::Acquire).then(|| record::decode_part(kind, body, &sharding, shard.number).ok())?
        }));
        return Ok(Log {
            spooled: Some(appender.clone()),
            appender: Arc::new(appender),
            reader: Arc::new(reader),
            tails: Tails::new(Box::new(main), Box::new(commands), last).prepared(prepared),
            place,
        });
    }
    let options = embedded::Options {
        waiting_records: config.intake.waiting_records,
        waiting_bytes: config.intake.waiting_bytes,
        ..embedded::Options::default()
    };
    let directory = directory(&config.data_dir, shard);
    let opened = EmbeddedLog::open(&directory, options, clock, outage).await?;
    let embedded::Opened { appender, main, commands, reader, last } = opened;
    Ok(Log {
        spooled: None,
        appender: Arc::new(appender),
        reader: Arc::new(reader),
        tails: Tails::new(Box::new(main), Box::new(commands), last),
        place: format!("{whose} in {}", directory.display()),
    })
}

/// How long an append may take before a sender is told to come again, where that is not as usual.
pub(crate) fn patience(config: &Config) -> Option<Duration> {
    config.log.is_some().then_some(2 * ACK + Duration::from_secs(1))
}

/// Where what cannot be decided goes, whichever shard it is of.
pub(crate) fn dead_letters(config: &Config) -> anyhow::Result<Arc<dyn DeadLetters>> {
    if config.log.is_some() {
        return Ok(Arc::new(KafkaLog::dead_letters(&options(config, Shard::FIRST)?)));
    }
    Ok(Arc::new(FileLetters::new(&config.data_dir.join(DEAD_LETTERS))))
}

/// The address of a log as the command line or the config says it.
pub(crate) fn address(asked: Option<String>, config: Option<String>) -> anyhow::Result<Option<String>> {
    let address = asked.or(config);
    if let Some(address) = &address {
        address.parse::<kafka::Address>().context("where the log is")?;
    }
    Ok(address)
}

/// Returns when the disk has failed: from then on nothing is accepted and the process should exit. Never returns
/// otherwise, not even when the log is closed.
pub(crate) async fn failed(mut state: watch::Receiver<LogState>) {
    if state.wait_for(|state| *state == LogState::Failed).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The states of a log with their names, each worse than the one before.
const STATES: [(LogState, &str); 5] = [
    (LogState::Open, "open"),
    (LogState::Spooling, "spooling"),
    (LogState::Closed, "closed"),
    (LogState::Full, "full"),
    (LogState::Failed, "failed"),
];

fn place(state: LogState) -> Option<usize> {
    STATES.iter().position(|(known, _)| *known == state)
}

/// How the logs of all shards are, read at the moment they are asked for.
pub(crate) struct LogGauges {
    logs: Vec<(watch::Receiver<LogState>, Option<kafka::Appender<Input>>)>,
    states: IntGaugeVec,
    waiting: IntGauge,
}

impl LogGauges {
    pub(crate) fn new<'a>(logs: impl IntoIterator<Item = &'a Log>) -> Result<Self, prometheus::Error> {
        let states =
            Opts::new("quell_log_state", "1 for the state that the log is in, 0 for the others; of several the worst");
        let help =
            "Records in this node's spool that are durable and not on Kafka yet; 0 where the log is this node's own";
        Ok(LogGauges {
            logs: logs.into_iter().map(|log| (log.appender.state(), log.spooled.clone())).collect(),
            states: IntGaugeVec::new(states, &["state"])?,
            waiting: IntGauge::new("quell_spool_waiting_records", help)?,
        })
    }
}

impl Collector for LogGauges {
    fn desc(&self) -> Vec<&Desc> {
        self.states.desc().into_iter().chain(self.waiting.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let worst = self.logs.iter().filter_map(|(state, _)| place(*state.borrow())).max().unwrap_or_default();
        for (at, (_, name)) in STATES.iter().enumerate() {
            self.states.with_label_values(&[name]).set(i64::from(at == worst));
        }
        let waiting: u64 = self.logs.iter().flat_map(|(_, spooled)| spooled).map(kafka::Appender::spooled).sum();
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.states.collect().into_iter().chain(self.waiting.collect()).collect()
    }
}
