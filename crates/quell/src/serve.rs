//! `quell serve`: every room put together in one process.
//!
//! Absent on purpose: anything a room does itself; this opens, connects, starts and stops.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use prometheus::Registry;
use quell_api::{Api, ApiLimits, Metrics, Serves};
use quell_domain::{Input, Shard};
use quell_formats::config::{Config, Destination, Roles};
use quell_formats::record;
use quell_log::Clock;
use quell_notify::{EgressPolicy, Sink};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};

use crate::artefacts::Shelf;
use crate::aside::Aside;
use crate::clock::SystemClock;
use crate::deliveries::Deliveries;
use crate::follow::Follower;
use crate::forecaster::Forecaster;
use crate::gauges::{Gauges, Lag, LearnedGauges};
use crate::intake::Door;
use crate::journey::Told;
use crate::learner::Learner;
use crate::live::Published;
use crate::logs::{self, Log, LogGauges};
use crate::streams::Telling;
use crate::turns::{Rules, TurnCounts, Turns};
use crate::workers::Workers;
use crate::{keeper, settings, stores, streams};

/// What to serve, as the command line says it.
#[derive(Clone, Debug, Default)]
pub struct Serve {
    /// The config file.
    pub config: Option<PathBuf>,
    /// Instead of the config's.
    pub data_dir: Option<PathBuf>,
    /// Instead of the config's.
    pub listen: Option<SocketAddr>,
    /// The address of the store's database, instead of the config's.
    pub store: Option<String>,
    /// The address of the Kafka that the log lies on, instead of the config's.
    pub log: Option<String>,
    /// What this node does, instead of the config's.
    pub roles: Option<Roles>,
}

/// How long what was received may take to be decided once the doors are closed.
const LAST_CALL: std::time::Duration = std::time::Duration::from_secs(8);

/// An error with everything that caused it, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// A process that serves.
#[derive(Debug)]
pub struct Served {
    /// Where it listens.
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    done: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Served {
    /// Asks it to stop; [`Served::done`] tells when it has.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until it has stopped.
    ///
    /// # Errors
    /// Why it stopped by itself.
    pub async fn done(self) -> anyhow::Result<()> {
        self.done.await?
    }
}

/// Serves until a signal says stop.
///
/// # Errors
/// Why it could not start, or stopped by itself.
pub async fn run(serve: Serve) -> anyhow::Result<()> {
    let served = start(serve).await?;
    println!("listening on http://{}", served.address);
    let Served { stop, done, .. } = served;
    tokio::spawn(async move {
        signalled().await;
        tracing::info!("stopping");
        stop.send_replace(true);
        // A second signal does not wait.
        signalled().await;
        std::process::exit(130);
    });
    done.await?
}

/// Returns when the process is asked to stop.
pub(crate) async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
}

/// Opens everything and starts to listen; where there are no other nodes, after it caught up with the log.
///
/// # Errors
/// Why it could not start.
pub async fn start(serve: Serve) -> anyhow::Result<Served> {
    // Installed twice only when two processes' worth of tests run in one: the first one stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = settled(serve)?;
    let files = settings::files(config.rules_dir.as_deref(), config.pipelines_dir.as_deref())?;
    let compiled = settings::compile(&files)?;
    let (sinks, policy) = (sinks(&config)?, Arc::new(egress(&config)?));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let log = logs::open(&config, Arc::clone(&clock), outage).await?;
    let listener = TcpListener::bind(config.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", config.listen))?;
    let address = listener.local_addr()?;
    let log_gauges = LogGauges::new(&log)?;
    let Log { appender, tails, reader, place, patience, dead, seat, .. } = log;
    let store = stores::open(&config.data_dir, config.store.as_ref()).await?;
    stores::keep_sharding(&*store, &config.shards).await?;
    let published = Arc::new(Published::new(appender.state()));
    let registry = Registry::new();
    let gauges = Arc::new(Gauges::new(&registry)?);
    let learned = LearnedGauges::new(&registry)?;
    let counts = TurnCounts::new(&registry)?;
    registry.register(Box::new(log_gauges))?;
    registry.register(Box::new(Lag::new(Arc::clone(&published))?))?;
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;

    let shard = Shard::FIRST;
    let shelf = Arc::new(Shelf::default());
    let store_of = Arc::clone(&store);
    let published_of = Arc::clone(&published);
    let gauges_of = Arc::clone(&gauges);
    let door =
        Arc::new(Door { shard, appender, reader, store: store_of, shelf, published: published_of, gauges: gauges_of });
    let settings = Arc::new(compiled.settings);
    let learner = Learner::new(&door, Arc::clone(&clock), settings.correlation.max_hops, learned);
    let forecaster = Forecaster::new(&door, Arc::clone(&clock), &registry)?;
    let mut follower = Follower::new(&store, &published, shard);
    let shared = seat.is_shared();
    if shared {
        // Of what others decide one knows only where they have the same store.
        let most = u64::try_from(config.intake.waiting_records).unwrap_or(u64::MAX);
        published.share(config.store.is_some().then_some(most));
        published.appended(tails.last()[0]);
        follower.look().await.context("the store cannot be read")?;
    }
    let told = Arc::new(Told::default());
    let observer = Arc::new(Deliveries::new(&registry, &sinks, Arc::clone(&told))?);
    let aside = Arc::new(Aside::new(dead, Arc::clone(&clock), &registry)?);
    let (stop, stopping) = watch::channel(false);
    if config.roles.gateway {
        streams::take(&config, &door, &aside, &registry, &stopping).await?;
    }
    let api = api(&door, registry, &config, patience)?;
    let turns = Turns {
        door: Arc::clone(&door),
        clock,
        gauges,
        told,
        aside,
        counts,
        rules: Rules { settings, digest: compiled.digest, bytes: compiled.canonical },
        workers: Workers {
            sinks,
            policy,
            observer,
            telling: Telling::new(&config)?,
            learner: Arc::new(Mutex::new(learner)),
            forecaster: Arc::new(Mutex::new(forecaster)),
            config,
        },
        tails,
        follower,
        place,
    };
    // It goes on until the doors are closed, so that what was accepted is decided.
    let (last_call, closing) = watch::channel(false);
    let mut engine = tokio::spawn(turns.run(seat, closing));
    if !shared {
        tokio::select! {
            ended = &mut engine => {
                ended??;
                bail!("the engine's loop ended by itself");
            }
            () = published.decides() => {}
        }
    }
    let watched = tokio::spawn(keeper::watch(store, published, shard));
    let http = tokio::spawn(quell_api::serve(listener, quell_api::router(api), until(stopping.clone())));
    let done = tokio::spawn(supervise(engine, http, door, last_call));
    tokio::spawn(async move {
        until(stopping).await;
        watched.abort();
    });
    Ok(Served { address, stop, done })
}

/// The config, with what the command line says instead.
fn settled(serve: Serve) -> anyhow::Result<Config> {
    let mut config = settings::config(serve.config.as_deref())?;
    config.data_dir = serve.data_dir.unwrap_or(config.data_dir);
    config.listen = serve.listen.unwrap_or(config.listen);
    config.store = stores::database(serve.store, config.store)?;
    config.log = logs::address(serve.log, config.log)?;
    config.roles = serve.roles.unwrap_or(config.roles);
    if config.roles != Roles::ALL && (config.log.is_none() || config.store.is_none()) {
        bail!(
            "a node that does not have all roles needs others: a log on Kafka (--log) and a store in PostgreSQL (--store)"
        );
    }
    if config.shards.count() > 1 {
        bail!("shards: found {}; allowed: none: this version serves one shard", config.shards.count());
    }
    Ok(config)
}

fn api(
    door: &Arc<Door>,
    registry: Registry,
    config: &Config,
    patience: Option<std::time::Duration>,
) -> anyhow::Result<Api> {
    Ok(Api {
        intake: Arc::clone(door) as Arc<dyn quell_api::ports::Intake>,
        live: Arc::clone(&door.published) as Arc<dyn quell_api::ports::Live>,
        store: Arc::clone(&door.store),
        metrics: Arc::new(Metrics::new(registry)?),
        shard: door.shard,
        serves: Serves { senders: config.roles.gateway, people: config.roles.api },
        limits: limits(config, patience),
        now: Arc::new(SystemClock::now),
        person_hour: config.person_hour.clone().map(|(price, currency)| quell_api::PersonHour { price, currency }),
    })
}

fn limits(config: &Config, patience: Option<std::time::Duration>) -> ApiLimits {
    ApiLimits {
        encoded_bytes: config.intake.body_bytes,
        decoded_bytes: config.intake.decoded_bytes,
        append_patience: patience.unwrap_or(ApiLimits::default().append_patience),
        ..topology_limits(config.intake.topology_bytes)
    }
}

/// Waits for the end: asked for, or forced by a disk that failed.
async fn supervise(
    mut engine: tokio::task::JoinHandle<anyhow::Result<()>>,
    mut http: tokio::task::JoinHandle<std::io::Result<()>>,
    door: Arc<Door>,
    last_call: watch::Sender<bool>,
) -> anyhow::Result<()> {
    tokio::select! {
        decided = &mut engine => {
            decided??;
            bail!("the engine's loop ended by itself");
        }
        () = logs::failed(door.appender.state()) => {
            // In-flight requests get their 503 before the process goes: nothing may be acknowledged any more.
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            bail!("the log's disk failed: nothing more can be accepted safely; see to the disk and start again");
        }
        closed = &mut http => {
            closed??;
        }
    }
    last_call.send_replace(true);
    match tokio::time::timeout(LAST_CALL, engine).await {
        Ok(decided) => decided?,
        // What waits is on the log: a store that takes nothing, or a long backlog, must not keep the process.
        Err(_) => {
            tracing::warn!("not everything received was decided before the end; the next start does it");
            Ok(())
        }
    }
}

pub(crate) async fn until(mut stopping: watch::Receiver<bool>) {
    // A dropped sender means that nobody can ask any more: as good as asked.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// The body of an Outage record.
pub(crate) fn outage(from: quell_domain::Timestamp, to: quell_domain::Timestamp) -> Vec<u8> {
    let (_, body) = record::encode(&Input::Outage { from, to }).expect("only alerts are recorded as they were posted");
    body
}

fn sinks(config: &Config) -> anyhow::Result<Vec<Sink>> {
    let read = |sink: &quell_formats::config::Sink| {
        let text = settings::secret(&format!("sink {}", sink.name), &sink.secret)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let secrets: Vec<_> = lines.map(quell_notify::Secret::new).collect();
        if secrets.is_empty() {
            bail!("sink {}: its secret is empty; allowed: one or more secrets, one a line", sink.name);
        }
        Ok(Sink { name: sink.name.clone(), url: sink.url.clone(), secrets })
    };
    config.sinks.iter().map(read).collect()
}

fn egress(config: &Config) -> anyhow::Result<EgressPolicy> {
    let entry = |destination: &Destination| match destination {
        Destination::Host { name, port } => format!("{name}:{port}"),
        Destination::Network { address, prefix, port } if address.is_ipv6() => format!("[{address}/{prefix}]:{port}"),
        Destination::Network { address, prefix, port } => format!("{address}/{prefix}:{port}"),
    };
    let entries: Vec<String> = config.egress.iter().map(entry).collect();
    EgressPolicy::parse(&entries)
        .map_err(|errors| anyhow::anyhow!(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}

/// A larger topology may take more of the bodies' room, and longer: half a minute for each 64 MiB.
fn topology_limits(bytes: usize) -> ApiLimits {
    let usual = ApiLimits::default();
    let times = u32::try_from(bytes.div_ceil(usual.topology_bytes)).unwrap_or(u32::MAX);
    ApiLimits {
        topology_bytes: bytes,
        bodies_bytes: usual.bodies_bytes.max(bytes.saturating_mul(2)),
        topology_patience: usual.topology_patience.saturating_mul(times),
        ..usual
    }
}
