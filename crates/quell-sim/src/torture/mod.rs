//! The torture run: quell under load is killed with SIGKILL, again and again, and must lose nothing it acknowledged.
//!
//! `oracle` remembers what was promised, `driver` sends, `server` starts and kills, `check` compares. Absent on
//! purpose: disk and network faults (tests of their own), and any process that this run did not start.

mod check;
mod cluster;
mod driver;
mod oracle;
mod payload;
mod report;
pub mod server;
pub mod services;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quell_domain::Topology;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::estate::sample_estate;
use crate::http::Connection;
use crate::rng::Rng;
use check::{Findings, SeenAlert, SeenIncident};
pub use cluster::ClusterOptions;
use driver::{Address, Sender, Shared};
use oracle::Oracle;
use payload::Payloads;
pub use report::{ClusterReport, Report, Shape};
use server::{Server, caught_up, metric, metric_sum};

/// What a run is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program under test.
    pub quell: PathBuf,
    /// How often it is killed.
    pub cycles: u64,
    /// The same seed gives the same payloads and the same schedule of kills.
    pub seed: u64,
    /// Where the data, the ledger and the server's messages lie. Nothing: a folder of its own, removed on success.
    pub data_dir: Option<PathBuf>,
    /// Senders with a connection each.
    pub senders: u64,
    /// Alerts sent a second, all senders together.
    pub rate: u64,
    /// Acknowledged alerts without which the run proves nothing.
    pub least_acknowledged: u64,
    /// Several nodes instead of one process with everything in one directory.
    pub cluster: Option<ClusterOptions>,
}

impl Options {
    /// 50 cycles with seed 7, 8 senders, 1,500 alerts/s.
    #[must_use]
    pub fn new(quell: PathBuf) -> Self {
        let (cycles, seed, senders, rate, least_acknowledged) = (50, 7, 8, 1_500, 1_000);
        Options { quell, cycles, seed, data_dir: None, senders, rate, least_acknowledged, cluster: None }
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
/// A fresh alert must be in an incident within this time after the last fault (faults A1).
const LIVENESS: Duration = Duration::from_secs(5);
/// A kill waits this long for a request to be in flight.
const IN_FLIGHT: Duration = Duration::from_millis(500);

/// Everything is compared after every so many kills, and at the end.
const CHECKED: u64 = 10;

/// Runs the torture; the report says whether quell passed.
///
/// # Errors
/// When the run itself could not be carried out: the program does not start, or ends by itself.
pub async fn run(options: Options) -> Result<Report> {
    let own = options.data_dir.is_none();
    let folder = options
        .data_dir
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("quell-torture-{}-{}", std::process::id(), options.seed)));
    std::fs::create_dir_all(folder.join("data")).context("create the run's folder")?;
    let result = match &options.cluster {
        None => Run::new(&options, &folder, false)?.carry_out().await,
        Some(asked) => cluster::carry_out(Run::new(&options, &folder, true)?, asked).await,
    };
    let result = result.with_context(|| format!("seed {}; everything is kept in {}", options.seed, folder.display()));
    if own && result.as_ref().is_ok_and(Report::passed) {
        std::fs::remove_dir_all(&folder).context("remove the run's folder")?;
    }
    result
}

struct Run<'a> {
    options: &'a Options,
    folder: &'a Path,
    topology: Topology,
    shared: Arc<Shared>,
    whereabouts: watch::Sender<Vec<Address>>,
    rng: Rng,
    report: Report,
    findings: Findings,
}

impl<'a> Run<'a> {
    fn new(options: &'a Options, folder: &'a Path, may_spool: bool) -> Result<Self> {
        let topology = sample_estate();
        let hosts = topology.cis().iter().filter(|ci| ci.kind == "host");
        let instances = hosts.filter_map(|ci| ci.aliases.last().cloned()).collect();
        let payloads = Payloads::new(options.seed, driver::now(), instances);
        let oracle = Oracle::open(&folder.join("ledger.txt"), &payloads).context("open the ledger")?;
        let report = Report { seed: options.seed, least_acknowledged: options.least_acknowledged, ..Report::default() };
        Ok(Run {
            options,
            folder,
            topology,
            shared: Arc::new(Shared::new(payloads, oracle, may_spool)),
            whereabouts: watch::Sender::default(),
            rng: Rng::new(options.seed),
            report,
            findings: Findings::default(),
        })
    }

    async fn carry_out(mut self) -> Result<Report> {
        let begun = Instant::now();
        let mut server = self.start()?;
        let (mut address, _) = server.ready().await?;
        let topology = quell_formats::topology::encode(&self.topology);
        let put = Connection::new(address, PATIENCE).request("PUT", "/api/v1/topology", &topology).await?;
        ensure!(put.is_success(), "PUT /api/v1/topology: {} {}", put.status, put.text());
        let mut senders = self.senders();
        for cycle in 0..self.options.cycles {
            let life = Address { at: address, killed: Arc::new(OnceLock::new()) };
            self.whereabouts.send_replace(vec![life.clone()]);
            self.load_until_kill(&life).await;
            server.kill().await?;
            self.whereabouts.send_replace(Vec::new());
            self.report.kills += 1;
            (server, address) = self.recover().await?;
            // What is lost stays lost: comparing everything after every kill would only take longer each time.
            if cycle % CHECKED == CHECKED - 1 {
                self.check(address, false).await.with_context(|| format!("the check after kill {}", cycle + 1))?;
            }
        }
        self.shared.stop.store(true, Ordering::Relaxed);
        self.whereabouts.send_replace(vec![Address { at: address, killed: Arc::new(OnceLock::new()) }]);
        while let Some(ended) =
            timeout(PATIENCE, senders.join_next()).await.context("senders did not come to an end")?
        {
            ended.context("a sender panicked")?;
        }
        caught_up(&mut Connection::new(address, PATIENCE), PATIENCE).await?;
        self.check(address, true).await.context("the last check")?;
        self.check_comments(address).await?;
        self.check_liveness(address).await?;
        server.kill().await?;
        self.report.seconds = begun.elapsed().as_secs_f64();
        self.finish()
    }

    fn start(&self) -> Result<Server> {
        Server::start(&self.options.quell, &self.folder.join("data"), &self.folder.join("server.log"))
    }

    fn senders(&mut self) -> JoinSet<()> {
        let mut senders = JoinSet::new();
        let pace = Duration::from_secs_f64(self.options.senders as f64 / self.options.rate.max(1) as f64);
        for number in 0..self.options.senders {
            let (shared, server, rng) = (self.shared.clone(), self.whereabouts.subscribe(), self.rng.fork(number));
            let first = usize::try_from(number).unwrap_or(0);
            senders.spawn(Sender { shared, server, rng, first, pace, live: [vec![], vec![], vec![]] }.run());
        }
        let rng = self.rng.fork(u64::MAX);
        senders.spawn(driver::operate(self.shared.clone(), self.whereabouts.subscribe(), rng));
        senders
    }

    /// Lets the load run for 0.2 to 3 s, then until a request is in flight.
    async fn load_until_kill(&mut self, life: &Address) {
        sleep(Duration::from_secs_f64(self.rng.range(0.2, 3.0))).await;
        let waited = Instant::now();
        while self.shared.in_flight.load(Ordering::Relaxed) == 0 && waited.elapsed() < IN_FLIGHT {
            tokio::task::yield_now().await;
        }
        let _ = life.killed.set(Instant::now());
    }

    /// Starts again; one time in six it is killed once more in the middle of its recovery.
    async fn recover(&mut self) -> Result<(Server, std::net::SocketAddr)> {
        if self.rng.chance(1.0 / 6.0) {
            let server = self.start()?;
            sleep(Duration::from_secs_f64(self.rng.range(0.0, 0.2))).await;
            server.kill().await?;
            self.report.kills_in_recovery += 1;
        }
        let mut server = self.start()?;
        let (address, took) = server.ready().await?;
        self.report.slowest_ready_ms = self.report.slowest_ready_ms.max(millis(took));
        let mut connection = Connection::new(address, PATIENCE);
        caught_up(&mut connection, PATIENCE).await?;
        // Nobody sends now, so whatever this process has decided it found on the log.
        let text = connection.get("/metrics").await?.text();
        let received =
            metric(&text, "quell_alerts_received_total").context("quell_alerts_received_total is missing")?;
        let disposed = metric_sum(&text, "quell_alerts_disposed_total");
        if received > 0.0 {
            self.report.recoveries_with_unapplied += 1;
        }
        if received != disposed {
            let text = format!("{received} alerts received after a start, {disposed} disposed of");
            self.findings.join(Findings { texts: vec![text], ..Findings::default() });
        }
        Ok((server, address))
    }

    /// Compares everything owed with everything there; `deep` looks at every member of every incident, where lists show
    /// only some of them.
    async fn check(&mut self, address: std::net::SocketAddr, deep: bool) -> Result<()> {
        let mut connection = Connection::new(address, PATIENCE);
        let owed = self.shared.oracle.entries();
        let alerts = list(&mut connection, "/api/v1/alerts?state=all", SeenAlert::from_json).await?;
        let mut incidents = list(&mut connection, "/api/v1/incidents?state=all", SeenIncident::from_json).await?;
        for incident in incidents.iter_mut().filter(|incident| deep && incident.cut) {
            let path = format!("/api/v1/incidents/{}", incident.id);
            let shown = serde_json::from_slice(&connection.get(&path).await?.body).context("an incident")?;
            *incident = SeenIncident::from_json(&shown).with_context(|| format!("{path}: another shape"))?;
        }
        self.report.alerts = alerts.len() as u64;
        self.report.incidents = incidents.len() as u64;
        self.report.checks += 1;
        self.findings.join(check::check(&owed, &alerts, &incidents));
        Ok(())
    }

    async fn check_comments(&mut self, address: std::net::SocketAddr) -> Result<()> {
        let mut connection = Connection::new(address, PATIENCE);
        for comment in self.shared.oracle.comments() {
            let shown = connection.get(&format!("/api/v1/incidents/{}", comment.incident)).await?;
            if !shown.text().contains(&comment.token) {
                let text = format!("comment {} on {} was acknowledged and is lost", comment.token, comment.incident);
                self.findings.join(Findings { lost: 1, texts: vec![text], ..Findings::default() });
            }
        }
        Ok(())
    }

    /// After the faults a fresh alert must become visible in an incident.
    async fn check_liveness(&mut self, address: std::net::SocketAddr) -> Result<()> {
        let mut connection = Connection::new(address, PATIENCE);
        let mark = format!("fresh-{}", driver::now().micros());
        let body = json!([{ "labels": { "alertname": "TortureFresh", "instance": mark, "severity": "critical" } }]);
        let begun = Instant::now();
        let posted = connection.post("/api/v2/alerts", body.to_string().as_bytes()).await?;
        ensure!(posted.status == 200, "a fresh alert: {} {}", posted.status, posted.text());
        loop {
            let page = connection.get("/api/v1/alerts?state=firing&limit=20").await?;
            let page: Value = serde_json::from_slice(&page.body).context("a list of alerts")?;
            let items = page.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let fresh = items.iter().find(|a| a["labels"]["instance"] == mark.as_str());
            if fresh.is_some_and(|alert| alert["incident"].is_string()) {
                self.report.fresh_alert_ms = millis(begun.elapsed());
                return Ok(());
            }
            if begun.elapsed() > LIVENESS {
                self.findings.join(Findings {
                    texts: vec![format!("a fresh alert was in no incident after {LIVENESS:?}")],
                    ..Findings::default()
                });
                return Ok(());
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn finish(self) -> Result<Report> {
        let Run { shared, mut report, findings, whereabouts, .. } = self;
        drop(whereabouts);
        let shared = Arc::into_inner(shared).context("a sender is still at work")?;
        report.acknowledged_requests = shared.acknowledged_requests.into_inner();
        report.acknowledged_alerts = shared.acknowledged_alerts.into_inner();
        report.acknowledged_commands = shared.acknowledged_commands.into_inner();
        report.hit_in_flight = shared.hit_in_flight.into_inner();
        report.retried = shared.retried.into_inner();
        report.refused = shared.refused.into_inner();
        if let Some(cluster) = &mut report.cluster {
            cluster.spooled = shared.spooled.into_inner();
        }
        report.lost = findings.lost;
        report.duplicate_incidents = findings.duplicate_incidents;
        report.findings = findings.texts;
        report.findings.extend(shared.strange.into_inner().unwrap_or_else(PoisonError::into_inner));
        shared.oracle.close().context("write the ledger")?;
        Ok(report)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// All items of a list, page by page.
async fn list<T>(connection: &mut Connection, path: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let response = connection.get(&format!("{path}&limit=1000{cursor}")).await?;
        ensure!(response.status == 200, "{path}: {} {}", response.status, response.text());
        let page: Value = serde_json::from_slice(&response.body).with_context(|| format!("{path}: not JSON"))?;
        for item in page.get("items").and_then(Value::as_array).with_context(|| format!("{path}: no items"))? {
            all.push(read(item).with_context(|| format!("{path}: an item of another shape: {item}"))?);
        }
        match page.get("next") {
            Some(Value::String(next)) => cursor = format!("&cursor={next}"),
            Some(Value::Number(next)) => cursor = format!("&cursor={next}"),
            _ => return Ok(all),
        }
    }
}
