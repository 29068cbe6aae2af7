//! HTTP: the senders' doors, the REST API, the live stream and the pages.
//!
//! Deliberately absent: decisions, SQL, and any way around the log; whatever changes something goes through
//! [`ports::Intake`].

mod again;
mod answer;
mod body;
mod changes;
mod charts;
mod commands;
mod doors;
mod evidence;
mod forecasts;
mod guard;
mod health;
mod hygiene;
mod impact;
mod learned;
mod metrics;
mod pages;
mod params;
mod past;
pub mod ports;
mod problem_commands;
mod problem_pages;
mod problems;
mod reads;
mod receipts;
mod region;
mod routes;
mod seen;
mod server;
mod shape;
mod shards;
mod stream;
mod trace;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use quell_domain::{Sharding, Timestamp};
use quell_store::Store;

pub use metrics::Metrics;
pub use problems::head as problem_shape;
pub use server::serve;
pub use shape::head as incident_shape;

use ports::{Intake, Live};

/// What time it is, for ages on pages; the process that serves owns the clock.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Everything the HTTP side needs.
#[derive(Clone)]
pub struct Api {
    /// The way onto the log.
    pub intake: Arc<dyn Intake>,
    /// What the engine's side knows now.
    pub live: Arc<dyn Live>,
    /// What is remembered.
    pub store: Arc<dyn Store>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The shards whose incidents are shown, and the label that says the shard of an alert.
    pub sharding: Arc<Sharding>,
    /// What of all this is served.
    pub serves: Serves,
    /// See [`ApiLimits`].
    pub limits: ApiLimits,
    /// The clock for ages on pages.
    pub now: Now,
    /// What an hour of somebody's work costs, where it is configured.
    pub person_hour: Option<PersonHour>,
}

/// What an hour of somebody's work costs.
#[derive(Clone, PartialEq, Debug)]
pub struct PersonHour {
    /// The price.
    pub price: f64,
    /// In what, as people write it.
    pub currency: String,
}

/// What is served here, where other nodes may serve the rest. Health and metrics always are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Serves {
    /// The senders' doors.
    pub senders: bool,
    /// Pages, the API and the live stream.
    pub people: bool,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("sharding", &self.sharding).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Limits of everything a client can make grow or wait.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiLimits {
    /// Bytes of a sender's body as sent.
    pub encoded_bytes: usize,
    /// Bytes of a sender's body unpacked.
    pub decoded_bytes: usize,
    /// Bytes of a topology, as sent and unpacked.
    pub topology_bytes: usize,
    /// Bytes of all bodies in flight together.
    pub bodies_bytes: usize,
    /// Bytes of path and query.
    pub uri_bytes: usize,
    /// How long a body may take to arrive.
    pub body_patience: Duration,
    /// How long the log may take before a sender is told to come again.
    pub append_patience: Duration,
    /// How long an operator waits for what became of a command.
    pub command_patience: Duration,
    /// How long a topology may take to arrive, and again to be put in force.
    pub topology_patience: Duration,
    /// Live streams open at once.
    pub streams: usize,
    /// Between two signs of life on a live stream.
    pub heartbeat: Duration,
    /// CIs that one walk over the graph may visit.
    pub walk_cis: usize,
    /// Host names that are answered beside loopback ones.
    pub hosts: Vec<String>,
}

impl Default for ApiLimits {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        ApiLimits {
            encoded_bytes: 5 * MIB,
            decoded_bytes: 16 * MIB,
            topology_bytes: 64 * MIB,
            bodies_bytes: 256 * MIB,
            uri_bytes: 8 * 1024,
            body_patience: Duration::from_secs(10),
            append_patience: Duration::from_secs(1),
            command_patience: Duration::from_secs(1),
            topology_patience: Duration::from_secs(30),
            streams: 500,
            heartbeat: Duration::from_secs(5),
            walk_cis: 1_000_000,
            hosts: Vec::new(),
        }
    }
}

/// What handlers share.
#[derive(Debug)]
pub(crate) struct App {
    api: Api,
    budget: body::Budget,
    hub: stream::Hub,
    keys: doors::Keys,
    past: past::Past,
    /// Held by whoever makes the hygiene list or reads what was learned.
    tidying: tokio::sync::Mutex<()>,
}

/// The router over everything that is served.
pub fn router(api: Api) -> Router {
    let budget = body::Budget::new(api.limits.bodies_bytes);
    let hub = stream::Hub::new(api.limits.streams);
    routes::router(Arc::new(App {
        api,
        budget,
        hub,
        keys: doors::Keys::default(),
        past: past::Past::default(),
        tidying: tokio::sync::Mutex::default(),
    }))
}
