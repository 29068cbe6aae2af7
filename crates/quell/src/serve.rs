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
use quell_formats::settings::Compiled;
use quell_log::Clock;
use quell_notify::{EgressPolicy, Sink};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::clock::SystemClock;
use crate::doors::Doors;
use crate::shards::Settled;
use crate::turns::Rules;
use crate::{keeper, logs, settings, shards, stores, streams};

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
    let settled = read(settled(serve)?)?;
    let config = settled.config.clone();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let first = logs::open(&config, Shard::FIRST, Arc::clone(&clock), outage).await?;
    let listener = TcpListener::bind(config.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", config.listen))?;
    let address = listener.local_addr()?;
    let store = stores::open(&config.data_dir, config.store.as_ref(), config.shards.count()).await?;
    stores::keep_sharding(&*store, &config.shards).await?;
    let registry = Registry::new();
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    let shards = shards::ready(settled, first, Arc::clone(&store), clock, &registry).await?;
    let doors = Arc::clone(&shards.doors);
    let (stop, stopping) = watch::channel(false);
    if config.roles.gateway {
        streams::take(&config, &doors, &shards.aside, &registry, &stopping).await?;
    }
    let api = api(&doors, registry, &config)?;
    // They go on until the doors are closed, so that what was accepted is decided.
    let (last_call, closing) = watch::channel(false);
    let shared = shards.are_shared();
    let mut engines = shards.begin(&closing);
    if !shared {
        tokio::select! {
            ended = &mut engines => {
                ended??;
                bail!("the engine's loop ended by itself");
            }
            () = shards::all_decide(&doors) => {}
        }
    }
    let published = doors.all().map(|door| Arc::clone(&door.published)).collect();
    let watched = tokio::spawn(keeper::watch(store, published));
    let http = tokio::spawn(quell_api::serve(listener, quell_api::router(api), until(stopping.clone())));
    let done = tokio::spawn(supervise(engines, http, doors, last_call));
    tokio::spawn(async move {
        until(stopping).await;
        watched.abort();
    });
    Ok(Served { address, stop, done })
}

/// What the config names, read and checked: rules, secrets of sinks, and where may be connected to.
pub(crate) fn read(config: Config) -> anyhow::Result<Settled> {
    let files = settings::files(config.rules_dir.as_deref(), config.pipelines_dir.as_deref())?;
    let Compiled { settings, digest, canonical, tests: _ } = settings::compile(&files)?;
    let rules = Rules { settings: Arc::new(settings), digest, bytes: canonical };
    let (sinks, policy) = (sinks(&config)?, Arc::new(egress(&config)?));
    Ok(Settled { config, rules, sinks, policy })
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
    Ok(config)
}

fn api(doors: &Arc<Doors>, registry: Registry, config: &Config) -> anyhow::Result<Api> {
    Ok(Api {
        intake: Arc::clone(doors) as Arc<dyn quell_api::ports::Intake>,
        live: Arc::clone(doors) as Arc<dyn quell_api::ports::Live>,
        store: Arc::clone(&doors.first().store),
        metrics: Arc::new(Metrics::new(registry)?),
        sharding: Arc::new(config.shards.clone()),
        serves: Serves { senders: config.roles.gateway, people: config.roles.api },
        limits: limits(config),
        now: Arc::new(SystemClock::now),
        person_hour: config.person_hour.clone().map(|(price, currency)| quell_api::PersonHour { price, currency }),
    })
}

fn limits(config: &Config) -> ApiLimits {
    ApiLimits {
        encoded_bytes: config.intake.body_bytes,
        decoded_bytes: config.intake.decoded_bytes,
        append_patience: logs::patience(config).unwrap_or(ApiLimits::default().append_patience),
        ..topology_limits(config.intake.topology_bytes)
    }
}

/// Waits for the end: asked for, or forced by a disk that failed.
async fn supervise(
    mut engines: tokio::task::JoinHandle<anyhow::Result<()>>,
    mut http: tokio::task::JoinHandle<std::io::Result<()>>,
    doors: Arc<Doors>,
    last_call: watch::Sender<bool>,
) -> anyhow::Result<()> {
    tokio::select! {
        decided = &mut engines => {
            decided??;
            bail!("the engine's loop ended by itself");
        }
        () = shards::failed(&doors) => {
            // In-flight requests get their 503 before the process goes: nothing may be acknowledged any more.
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            bail!("the log's disk failed: nothing more can be accepted safely; see to the disk and start again");
        }
        closed = &mut http => {
            closed??;
        }
    }
    last_call.send_replace(true);
    match tokio::time::timeout(LAST_CALL, engines).await {
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
