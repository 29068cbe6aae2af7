//! The log that an installation has: its own file, or Kafka.
//!
//! Absent on purpose: what is put there; everything after the opening knows a log by its contract only.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, IntGaugeVec, Opts};
use quell_domain::{Input, Position};
use quell_formats::config::Config;
use quell_log::embedded::{self, EmbeddedLog, OutageBody};
use quell_log::kafka::{self, KafkaLog};
use quell_log::{Append, Clock, DeadLetters, FileLetters, Follow, LogState, Read};
use tokio::sync::watch;

use crate::streams;

/// How long Kafka may take to acknowledge a record before it goes to the spool.
const ACK: Duration = Duration::from_secs(2);

/// The folder of dead letters in the data directory.
pub(crate) const DEAD_LETTERS: &str = "dead-letters";

/// An open log, in its parts.
pub(crate) struct Log {
    pub(crate) appender: Arc<dyn Append<Input>>,
    pub(crate) reader: Arc<dyn Read<Input>>,
    pub(crate) main: Box<dyn Follow<Input>>,
    pub(crate) commands: Box<dyn Follow<Input>>,
    pub(crate) last: [Position; 2],
    /// Where it is, in words.
    pub(crate) place: String,
    /// How long an append may take before a sender is told to come again.
    pub(crate) patience: Option<Duration>,
    /// Where what cannot be decided goes.
    pub(crate) dead: Arc<dyn DeadLetters>,
    /// This node's place among those of a shared log.
    pub(crate) duty: Option<kafka::Duty>,
    spooled: Option<kafka::Appender<Input>>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({})", self.place)
    }
}

/// Opens the log that the config names.
pub(crate) async fn open(config: &Config, clock: Arc<dyn Clock>, outage: OutageBody) -> anyhow::Result<Log> {
    let intake = config.intake;
    if let Some(address) = &config.log {
        let options = kafka::Options {
            body_bytes: intake.decoded_bytes,
            retention_age: config.retention.age,
            retention_bytes: config.retention.bytes,
            spool_bytes: intake.spool_bytes,
            waiting_records: intake.waiting_records,
            waiting_bytes: intake.waiting_bytes,
            ack: ACK,
            security: streams::security(config)?,
            ..kafka::Options::at(address.parse()?)
        };
        let place = format!("the log on {}", options.address);
        let spool = config.data_dir.join("spool");
        let dead = Arc::new(KafkaLog::dead_letters(&options));
        let duty = stand_by(&spool, &options, &clock, outage).await?;
        let opened = KafkaLog::open(&spool, options, clock, outage).await?;
        let kafka::Opened { appender, main, commands, reader, last } = opened;
        return Ok(Log {
            spooled: Some(appender.clone()),
            appender: Arc::new(appender),
            reader: Arc::new(reader),
            main: Box::new(main),
            commands: Box::new(commands),
            last,
            place,
            patience: Some(2 * ACK + Duration::from_secs(1)),
            dead,
            duty: Some(duty),
        });
    }
    let options = embedded::Options {
        waiting_records: intake.waiting_records,
        waiting_bytes: intake.waiting_bytes,
        ..embedded::Options::default()
    };
    let opened = EmbeddedLog::open(&config.data_dir, options, clock, outage).await?;
    let embedded::Opened { appender, main, commands, reader, last } = opened;
    Ok(Log {
        spooled: None,
        appender: Arc::new(appender),
        reader: Arc::new(reader),
        main: Box::new(main),
        commands: Box::new(commands),
        last,
        place: format!("the log in {}", config.data_dir.display()),
        patience: None,
        dead: Arc::new(FileLetters::new(&config.data_dir.join(DEAD_LETTERS))),
        duty: None,
    })
}

/// Waits until it is this node's turn to decide. What an earlier run left in the spool goes onto Kafka before that.
async fn stand_by(
    spool: &Path,
    options: &kafka::Options,
    clock: &Arc<dyn Clock>,
    outage: OutageBody,
) -> anyhow::Result<kafka::Duty> {
    let duty = KafkaLog::duty(options).await?;
    let mut turn = duty.turn();
    let mut told = false;
    loop {
        let now = *turn.borrow_and_update();
        match now {
            kafka::Turn::Mine => return Ok(duty),
            kafka::Turn::Others if !std::mem::replace(&mut told, true) => {
                tracing::info!("another node decides; standing by for it to end");
                let left = KafkaLog::open::<Input>(spool, options.clone(), Arc::clone(clock), outage).await?;
                left.appender.close().await;
            }
            kafka::Turn::Others | kafka::Turn::Unknown => turn.changed().await?,
        }
    }
}

/// Returns when another node has been given the turn; never where there are no others.
pub(crate) async fn superseded(duty: Option<&kafka::Duty>) {
    let Some(duty) = duty else { return std::future::pending().await };
    if duty.turn().wait_for(|turn| *turn == kafka::Turn::Others).await.is_err() {
        std::future::pending::<()>().await;
    }
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

/// How the log is, read at the moment it is asked for.
pub(crate) struct LogGauges {
    state: watch::Receiver<LogState>,
    spooled: Option<kafka::Appender<Input>>,
    states: IntGaugeVec,
    waiting: IntGauge,
}

impl LogGauges {
    pub(crate) fn new(log: &Log) -> Result<Self, prometheus::Error> {
        let states = Opts::new("quell_log_state", "1 for the state that the log is in, 0 for the others");
        let help =
            "Records in this node's spool that are durable and not on Kafka yet; 0 where the log is this node's own";
        Ok(LogGauges {
            state: log.appender.state(),
            spooled: log.spooled.clone(),
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
        let now = *self.state.borrow();
        for (state, name) in [
            (LogState::Open, "open"),
            (LogState::Spooling, "spooling"),
            (LogState::Full, "full"),
            (LogState::Failed, "failed"),
            (LogState::Closed, "closed"),
        ] {
            self.states.with_label_values(&[name]).set(i64::from(state == now));
        }
        let waiting = self.spooled.as_ref().map_or(0, kafka::Appender::spooled);
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.states.collect().into_iter().chain(self.waiting.collect()).collect()
    }
}
