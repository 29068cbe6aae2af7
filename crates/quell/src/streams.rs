//! Kafka beside the log: topics that other systems fill, and topics that incidents and problems are told on.
//!
//! Absent on purpose: what is done with a message (`raw`) and when something is told (`quell-notify`).

use std::sync::Arc;

use anyhow::Context;
use prometheus::Registry;
use quell_formats::config::Config;
use quell_formats::streams::{self as asked, ToldTopic};
use quell_log::kafka::{Address, Mechanism, Publisher, RawOptions, RawTopic, Sasl, Security, Tls};
use quell_notify::{Announcer, Shapes, Untaken};
use tokio::sync::watch;

use crate::aside::Aside;
use crate::doors::Doors;
use crate::intake::Door;
use crate::raw::{Raw, RawGauges};
use crate::serve::until;
use crate::{clock, settings};

/// Messages of a raw topic that may wait in memory.
const WAITING: usize = 4096;
/// Their bytes.
const WAITING_BYTES: usize = 64 << 20;
/// The bytes of one told event; Kafka's own limit for a message unless a topic has another.
const EVENT_BYTES: usize = 1_000_000;

/// How brokers are reached, with the password read from where the config says it is.
pub(crate) fn security(config: &Config) -> anyhow::Result<Security> {
    let asked::Kafka { brokers: _, tls, sasl } = &config.kafka;
    let tls = tls.as_ref().map(|asked::Tls { ca_file, pair }| Tls { ca: ca_file.clone(), pair: pair.clone() });
    let sasl = match sasl {
        None => None,
        Some(asked::Sasl { mechanism, username, password }) => {
            let text = settings::secret("kafka", password)?;
            let password = text.lines().next().unwrap_or_default().to_owned();
            let mechanism = Mechanism::from_name(mechanism).context("kafka: an unknown mechanism")?;
            Some(Sasl { mechanism, username: username.clone(), password })
        }
    };
    let security = Security { tls, sasl };
    security.check()?;
    Ok(security)
}

/// What of the config can be checked without a broker and without secrets.
pub(crate) fn check(config: &Config) -> anyhow::Result<()> {
    if let Some(log) = &config.log {
        log.parse::<Address>().context("log")?;
    }
    let asked::Kafka { brokers: _, tls, sasl } = &config.kafka;
    let tls = tls.as_ref().map(|_| Tls::default());
    let sasl = sasl.as_ref().and_then(|sasl| {
        let mechanism = Mechanism::from_name(&sasl.mechanism)?;
        Some(Sasl { mechanism, username: String::new(), password: String::new() })
    });
    Security { tls, sasl }.check().context("kafka")
}

/// The brokers of raw and told topics.
fn brokers(config: &Config) -> anyhow::Result<String> {
    if let Some(brokers) = &config.kafka.brokers {
        return Ok(brokers.clone());
    }
    let log =
        config.log.as_deref().context("topics: no brokers are named; allowed: `kafka.brokers`, or a log on Kafka")?;
    Ok(log.parse::<Address>()?.brokers)
}

/// Begins to take what other systems put on topics.
pub(crate) async fn take(
    config: &Config,
    doors: &Arc<Doors>,
    aside: &Arc<Aside>,
    registry: &Registry,
    stopping: &watch::Receiver<bool>,
) -> anyhow::Result<()> {
    if config.topics.is_empty() {
        return Ok(());
    }
    let (brokers, security) = (brokers(config)?, security(config)?);
    let gauges = RawGauges::new(registry)?;
    for asked::RawTopic { topic, format, group, oldest } in &config.topics {
        let options = RawOptions {
            brokers: brokers.clone(),
            security: security.clone(),
            topic: topic.clone(),
            group: group.clone(),
            oldest: *oldest,
            waiting_records: WAITING,
            waiting_bytes: WAITING_BYTES,
        };
        let joined = tokio::task::spawn_blocking(move || RawTopic::join(&options)).await?;
        let raw = Raw {
            topic: topic.clone(),
            format: *format,
            most: config.intake.decoded_bytes,
            doors: Arc::clone(doors),
            aside: Arc::clone(aside),
            gauges: gauges.clone(),
        };
        tokio::spawn(raw.run(joined.with_context(|| format!("topic {topic}"))?, stopping.clone()));
    }
    Ok(())
}

/// How topics are told of incidents and problems.
#[derive(Clone)]
pub(crate) struct Telling {
    topics: Vec<ToldTopic>,
    brokers: String,
    security: Security,
}

impl Telling {
    pub(crate) fn new(config: &Config) -> anyhow::Result<Telling> {
        let topics = config.told_topics.clone();
        if topics.is_empty() {
            return Ok(Telling { topics, brokers: String::new(), security: Security::default() });
        }
        Ok(Telling { topics, brokers: brokers(config)?, security: security(config)? })
    }

    /// The names under which topics are told.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.topics.iter().map(|told| told.name.clone())
    }

    /// Begins to tell, until `ending` turns true.
    pub(crate) fn begin(&self, door: &Door, ending: &watch::Receiver<bool>) {
        for told in &self.topics {
            let announcer = announcer(told, self.brokers.clone(), self.security.clone(), door);
            let wake = door.published.wake.subscribe();
            tokio::spawn(announcer.run(wake, until(ending.clone())));
        }
    }
}

fn announcer(told: &ToldTopic, brokers: String, security: Security, door: &Door) -> Announcer {
    let ToldTopic { name, topic, source } = told;
    let publisher = Arc::new(Publisher::new(brokers, security, topic.clone(), EVENT_BYTES));
    Announcer {
        name: name.clone(),
        source: source.clone(),
        shard: door.shard,
        store: Arc::clone(&door.store),
        clock: Arc::new(|| quell_log::Clock::now(&clock::SystemClock)),
        shapes: Shapes { incident: quell_api::incident_shape, problem: quell_api::problem_shape },
        put: Box::new(move |key, event| {
            let publisher = Arc::clone(&publisher);
            Box::pin(async move {
                let kind: &[(&str, &[u8])] = &[("content-type", quell_formats::cloud_event::CONTENT_TYPE.as_bytes())];
                publisher
                    .publish(key.as_bytes(), kind, &event)
                    .await
                    .map_err(|error| Untaken { why: crate::serve::chain(&error), for_good: error.is_its_own_fault() })
            })
        }),
    }
}
