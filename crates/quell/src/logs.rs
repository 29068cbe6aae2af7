//! The log that an installation has: its own file, or Kafka.
//!
//! Absent on purpose: what is put there; everything after the opening knows a log by its contract only.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, IntGaugeVec, Opts};
use quell_domain::Input;
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

/// Between two tries to ask a group that does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// The folder of dead letters in the data directory.
pub(crate) const DEAD_LETTERS: &str = "dead-letters";

/// An open log, in its parts.
pub(crate) struct Log {
    pub(crate) appender: Arc<dyn Append<Input>>,
    pub(crate) reader: Arc<dyn Read<Input>>,
    pub(crate) tails: Tails,
    /// Where it is, in words.
    pub(crate) place: String,
    /// How long an append may take before a sender is told to come again.
    pub(crate) patience: Option<Duration>,
    /// Where what cannot be decided goes.
    pub(crate) dead: Arc<dyn DeadLetters>,
    /// This node's place among those of the log.
    pub(crate) seat: Seat,
    spooled: Option<kafka::Appender<Input>>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({})", self.place)
    }
}

/// How the Kafka is used that the config names.
pub(crate) fn options(config: &Config) -> anyhow::Result<kafka::Options> {
    let (intake, address) = (config.intake, config.log.as_deref().context("the config names no Kafka")?);
    Ok(kafka::Options {
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

/// Opens the log that the config names.
pub(crate) async fn open(config: &Config, clock: Arc<dyn Clock>, outage: OutageBody) -> anyhow::Result<Log> {
    let intake = config.intake;
    if config.log.is_some() {
        let options = options(config)?;
        let place = format!("the log on {}", options.address);
        let spool = config.data_dir.join("spool");
        let dead = Arc::new(KafkaLog::dead_letters(&options));
        let seat = if config.roles.engine { Seat::ask(options.clone()).await? } else { Seat::Never };
        let opened = KafkaLog::open(&spool, options, clock, outage).await?;
        let kafka::Opened { appender, main, commands, reader, last } = opened;
        let prepared = Arc::new(AtomicBool::new(false));
        let wanted = Arc::clone(&prepared);
        main.prepare(Box::new(move |kind, body| {
            wanted.load(Ordering::Acquire).then(|| record::decode(kind, body).ok())?
        }));
        return Ok(Log {
            spooled: Some(appender.clone()),
            appender: Arc::new(appender),
            reader: Arc::new(reader),
            tails: Tails::new(Box::new(main), Box::new(commands), last).prepared(prepared),
            place,
            patience: Some(2 * ACK + Duration::from_secs(1)),
            dead,
            seat,
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
        tails: Tails::new(Box::new(main), Box::new(commands), last),
        place: format!("the log in {}", config.data_dir.display()),
        patience: None,
        dead: Arc::new(FileLetters::new(&config.data_dir.join(DEAD_LETTERS))),
        seat: Seat::Alone,
    })
}

/// A node's place among those of a log: when it is its turn to decide.
pub(crate) enum Seat {
    /// There are no others: always.
    Alone,
    /// When the group of engines says so.
    Shared(Box<Group>),
    /// Never: others do.
    Never,
}

/// A place in the group of engines, and what is needed to ask for another.
pub(crate) struct Group {
    duty: kafka::Duty,
    options: kafka::Options,
}

impl Seat {
    async fn ask(options: kafka::Options) -> anyhow::Result<Seat> {
        let duty = KafkaLog::duty(&options).await?;
        Ok(Seat::Shared(Box::new(Group { duty, options })))
    }

    /// Whether there may be others.
    pub(crate) fn is_shared(&self) -> bool {
        !matches!(self, Seat::Alone)
    }

    /// Returns when it is this node's turn.
    pub(crate) async fn mine(&self) {
        match self {
            Seat::Alone => {}
            Seat::Never => std::future::pending().await,
            Seat::Shared(group) => {
                let mut turn = group.duty.turns()[0].clone();
                let said = turn.wait_for(|turn| *turn != kafka::Turn::Unknown).await;
                if said.is_ok_and(|turn| *turn == kafka::Turn::Others) {
                    tracing::info!("another node decides; standing by");
                }
                wait_for(turn, kafka::Turn::Mine).await;
            }
        }
    }

    /// Returns when another node has been given the turn; never where there are no others.
    pub(crate) fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        let turn = match self {
            Seat::Shared(group) => Some(group.duty.turns()[0].clone()),
            Seat::Alone | Seat::Never => None,
        };
        async move {
            match turn {
                Some(turn) => wait_for(turn, kafka::Turn::Others).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Gives the turn back, and asks for it anew: what this node believed of it was wrong.
    pub(crate) async fn ask_anew(self) -> anyhow::Result<Seat> {
        let Seat::Shared(group) = self else { return Ok(self) };
        let Group { duty, options } = *group;
        duty.leave().await;
        // Kafka may be away just now, and then nobody is given a turn.
        loop {
            match Seat::ask(options.clone()).await {
                Ok(seat) => return Ok(seat),
                Err(error) => tracing::warn!(error = format!("{error:#}"), "the group of engines cannot be asked"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Gives the turn back for good.
    pub(crate) async fn leave(self) {
        if let Seat::Shared(group) = self {
            group.duty.leave().await;
        }
    }
}

async fn wait_for(mut turn: watch::Receiver<kafka::Turn>, wanted: kafka::Turn) {
    // Nobody is left who could say: then nothing is said.
    if turn.wait_for(|turn| *turn == wanted).await.is_err() {
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
