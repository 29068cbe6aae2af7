//! `quell serve`: every room put together in one process.
//!
//! Absent on purpose: anything a room does itself; this opens, connects, starts and stops.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use prometheus::Registry;
use quell_api::{Api, ApiLimits, Metrics};
use quell_domain::{Digest, Input, Shard};
use quell_engine::Artefact;
use quell_formats::config::{Config, Destination};
use quell_formats::record;
use quell_log::kafka::Duty;
use quell_log::{Clock, Stream};
use quell_notify::{EgressPolicy, Sink};
use quell_store::Store;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::artefacts::Shelf;
use crate::aside::{Aside, Rescue};
use crate::clock::SystemClock;
use crate::desk::Desk;
use crate::forecaster::Forecaster;
use crate::gauges::{Gauges, Lag, LearnedGauges};
use crate::intake::Door;
use crate::learner::Learner;
use crate::live::Published;
use crate::logs::{self, Log, LogGauges};
use crate::prover::Prover;
use crate::{keeper, recover, settings, shell, stores, streams};

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

/// Opens everything, catches up with the log and starts to listen.
///
/// # Errors
/// Why it could not start.
pub async fn start(serve: Serve) -> anyhow::Result<Served> {
    // Installed twice only when two processes' worth of tests run in one: the first one stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = settings::config(serve.config.as_deref())?;
    config.data_dir = serve.data_dir.unwrap_or(config.data_dir);
    config.listen = serve.listen.unwrap_or(config.listen);
    config.store = stores::database(serve.store, config.store)?;
    config.log = logs::address(serve.log, config.log)?;
    let files = settings::files(config.rules_dir.as_deref(), config.pipelines_dir.as_deref())?;
    let compiled = settings::compile(&files)?;
    let sinks = sinks(&config)?;
    let policy = Arc::new(egress(&config)?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // A node that stands by does not listen, so that its senders turn to the one that decides.
    let log = logs::open(&config, Arc::clone(&clock), outage).await?;
    let listener = TcpListener::bind(config.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", config.listen))?;
    let address = listener.local_addr()?;
    let log_gauges = LogGauges::new(&log)?;
    let Log { appender, main, commands, reader, last, place, patience, dead, duty, .. } = log;
    let store = stores::open(&config.data_dir, config.store.as_ref()).await?;
    let published = Arc::new(Published::new(appender.state()));
    let registry = Registry::new();
    let gauges = Arc::new(Gauges::new(&registry)?);
    let learned = LearnedGauges::new(&registry)?;
    registry.register(Box::new(log_gauges))?;
    registry.register(Box::new(Lag::new(Arc::clone(&published))?))?;
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;

    let shard = Shard::FIRST;
    let shipped = Arc::new(compiled.settings);
    let aside = Arc::new(Aside::new(dead, Arc::clone(&clock), &registry)?);
    let rescue = Rescue { aside: Arc::clone(&aside), reader: Arc::clone(&reader), settings: Arc::clone(&shipped) };
    let (engine, restored) = recover::restore(&*store, shard, Arc::clone(&shipped)).await?;
    let positions = restored.positions;
    if positions.applied > last[0] || positions.commands > last[1] {
        bail!(
            "{place} ends at record {} and command {}, but the store holds what followed from {} and {}: the log was \
             replaced or lost its end, or the store is another node's. Put the log back, or begin anew with an empty log \
             and an empty store",
            last[0],
            last[1],
            positions.applied,
            positions.commands
        );
    }
    let shelf = Arc::new(Shelf::default());
    let told: Vec<String> = config.told_topics.iter().map(|told| told.name.clone()).collect();
    let mut desk = Desk {
        shard,
        epoch: restored.epoch,
        engine,
        store: Arc::clone(&store),
        shelf: Arc::clone(&shelf),
        published: Arc::clone(&published),
        gauges,
        sinks: sinks.iter().map(|sink| sink.name.clone()).chain(told.clone()).collect(),
        problem_sinks: told,
        rescue: Some(rescue),
        commands: positions.commands,
        pending: quell_engine::Effects::default(),
        activated: Vec::new(),
        forced: true,
        folds: Vec::new(),
        folded: positions.folded,
    };
    recover::catch_up(&mut desk, &*reader, positions.applied, last).await?;
    let door =
        Arc::new(Door { shard, appender, reader, store: Arc::clone(&store), shelf, published: Arc::clone(&published) });
    let learner = Learner::new(&door, Arc::clone(&clock), shipped.correlation.max_hops, learned);
    put_rules_in_force(&door, &desk, compiled.digest, &compiled.canonical, shipped).await?;
    published.recovered();

    let (stop, stopping) = watch::channel(false);
    for sink in sinks {
        tokio::spawn(tell(sink, Arc::clone(&policy), Arc::clone(&store), published.wake.subscribe(), stopping.clone()));
    }
    streams::start(&config, &door, &aside, &registry, &stopping).await?;
    let house = keeper::run(Arc::clone(&door), Arc::clone(&store), Arc::clone(&clock), shard, config.clone());
    let watch = keeper::watch(Arc::clone(&store), Arc::clone(&published), shard);
    let prover = Prover::new(&door, Arc::clone(&clock));
    let forecaster = Forecaster::new(&door, Arc::clone(&clock), &registry)?;
    let house = [
        tokio::spawn(house),
        tokio::spawn(watch),
        tokio::spawn(learner.run(config.learning)),
        tokio::spawn(prover.run()),
        tokio::spawn(forecaster.run(config.learning.enabled)),
    ];
    let limits = ApiLimits {
        encoded_bytes: config.intake.body_bytes,
        decoded_bytes: config.intake.decoded_bytes,
        append_patience: patience.unwrap_or(ApiLimits::default().append_patience),
        ..topology_limits(config.intake.topology_bytes)
    };
    let api = Api {
        intake: Arc::clone(&door) as Arc<dyn quell_api::ports::Intake>,
        live: published,
        store: Arc::clone(&store),
        metrics: Arc::new(Metrics::new(registry)?),
        shard,
        limits,
        now: Arc::new(SystemClock::now),
    };
    let http = tokio::spawn(quell_api::serve(listener, quell_api::router(api), until(stopping.clone())));
    // The loop goes on until the doors are closed, so that what was accepted is decided.
    let (last_call, closed) = watch::channel(false);
    let engine = tokio::spawn(shell::run(desk, Arc::clone(&door), clock, main, commands, closed));
    let done = tokio::spawn(supervise(engine, http, door, duty, last_call));
    let served = Served { address, stop, done };
    tokio::spawn(async move {
        until(stopping).await;
        house.iter().for_each(tokio::task::JoinHandle::abort);
    });
    Ok(served)
}

/// Waits for the end: asked for, or forced by a disk that failed.
async fn supervise(
    mut engine: tokio::task::JoinHandle<anyhow::Result<()>>,
    mut http: tokio::task::JoinHandle<std::io::Result<()>>,
    door: Arc<Door>,
    duty: Option<Duty>,
    last_call: watch::Sender<bool>,
) -> anyhow::Result<()> {
    tokio::select! {
        // What it has in hand is the other's to decide now.
        () = logs::superseded(duty.as_ref()) => bail!("another node decides now; start again to stand by"),
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

async fn until(mut stopping: watch::Receiver<bool>) {
    // A dropped sender means that nobody can ask any more: as good as asked.
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn tell(
    sink: Sink,
    policy: Arc<EgressPolicy>,
    store: Arc<dyn Store>,
    wake: watch::Receiver<()>,
    stopping: watch::Receiver<bool>,
) {
    let name = sink.name.clone();
    if let Err(error) = quell_notify::run(sink, policy, store, Arc::new(SystemClock), wake, until(stopping)).await {
        tracing::error!(sink = name, error = %chain(&error), "nothing can be told to this sink");
    }
}

/// The body of an Outage record.
fn outage(from: quell_domain::Timestamp, to: quell_domain::Timestamp) -> Vec<u8> {
    let (_, body) = record::encode(&Input::Outage { from, to }).expect("only alerts are recorded as they were posted");
    body
}

/// Rules that are not in force yet are stored and activated on the log, so that a replay decides by the same ones.
async fn put_rules_in_force(
    door: &Door,
    desk: &Desk,
    digest: Digest,
    bytes: &[u8],
    settings: Arc<quell_engine::Settings>,
) -> anyhow::Result<()> {
    let Some(activation) = recover::rules_to_activate(&desk.engine, digest) else { return Ok(()) };
    door.store.put_artefact(activation.kind, digest, bytes).await?;
    door.shelf.put(digest, Artefact::Rules(settings));
    if let Err(refusal) = door.append_input(Stream::Main, Input::Activate(activation)).await {
        // A full disk must not keep the process from starting: it decides by the rules that were in force.
        tracing::warn!(%refusal, "the rules could not be put in force; restart when there is room");
    }
    Ok(())
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
