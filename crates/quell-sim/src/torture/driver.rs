//! The senders: several connections that never give up on a request until it is acknowledged.
//!
//! Deliberately absent: killing and checking.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quell_domain::{Source, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};

use super::oracle::Oracle;
use super::payload::{Act, Payloads};
use crate::http::{Connection, RequestError, Response};
use crate::rng::Rng;
use crate::storm::path;

/// Alerts in one body, at most.
const BATCH: u64 = 40;
/// A request that is not answered in this time has failed; the contract says one second.
const PATIENCE: Duration = Duration::from_secs(10);
/// A sender that fell behind does not make up for more than this.
const DEBT: Duration = Duration::from_millis(500);

/// Where servers are now; none while all are down or being checked.
pub(crate) type Whereabouts = watch::Receiver<Vec<Address>>;

/// One life of the server.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) at: std::net::SocketAddr,
    /// When it was killed; set just before the kill.
    pub(crate) killed: Arc<std::sync::OnceLock<Instant>>,
}

/// What all senders share.
pub(crate) struct Shared {
    pub(crate) payloads: Payloads,
    pub(crate) oracle: Oracle,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) stop: AtomicBool,
    pub(crate) acknowledged_requests: AtomicU64,
    pub(crate) acknowledged_alerts: AtomicU64,
    pub(crate) acknowledged_commands: AtomicU64,
    /// Requests that were sent before a kill and never answered.
    pub(crate) hit_in_flight: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) refused: AtomicU64,
    /// A server may do later what it was asked to do before and did not answer: it is frozen, or its log is away.
    pub(crate) late: AtomicBool,
    /// Requests acknowledged without a receipt, where that may be: they lie in a spool.
    pub(crate) spooled: AtomicU64,
    /// Whether that may be.
    pub(crate) may_spool: bool,
    /// Answers that no contract allows.
    pub(crate) strange: std::sync::Mutex<Vec<String>>,
}

impl Shared {
    pub(crate) fn new(payloads: Payloads, oracle: Oracle, may_spool: bool) -> Self {
        Shared {
            payloads,
            oracle,
            in_flight: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            acknowledged_requests: AtomicU64::new(0),
            acknowledged_alerts: AtomicU64::new(0),
            acknowledged_commands: AtomicU64::new(0),
            hit_in_flight: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            late: AtomicBool::new(false),
            spooled: AtomicU64::new(0),
            may_spool,
            strange: std::sync::Mutex::default(),
        }
    }

    fn strange(&self, text: String) {
        let mut strange = self.strange.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if strange.len() < 20 {
            strange.push(text);
        }
    }
}

/// The wall clock, as senders write it into bodies.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// One sender. It owns the ids it makes, so what it says of each of them has an order.
pub(crate) struct Sender {
    pub(crate) shared: Arc<Shared>,
    pub(crate) server: Whereabouts,
    pub(crate) rng: Rng,
    /// Which of several servers it begins with.
    pub(crate) first: usize,
    /// Between two alerts, on average.
    pub(crate) pace: Duration,
    /// Its firing ids, by contract.
    pub(crate) live: [Vec<u64>; 3],
}

impl Sender {
    pub(crate) async fn run(mut self) {
        let mut link = Link::new(self.shared.clone(), self.server.clone(), self.first);
        let mut next = Instant::now();
        while !self.shared.stop.load(Ordering::Relaxed) {
            let (source, acts) = self.choose();
            let body = self.shared.payloads.body(source, &acts, now());
            let before = || self.shared.oracle.sending(&acts);
            let Some(response) = link.deliver(path(source), body.as_bytes(), before).await else { return };
            let expected = if source == Source::PagerDuty { response.status == 202 } else { response.is_success() };
            if expected {
                self.shared.oracle.acknowledged(&acts);
                self.shared.acknowledged_requests.fetch_add(1, Ordering::Relaxed);
                self.shared.acknowledged_alerts.fetch_add(acts.len() as u64, Ordering::Relaxed);
                if response.receipt.is_none() && self.shared.may_spool {
                    self.shared.spooled.fetch_add(1, Ordering::Relaxed);
                } else if response.receipt.is_none() {
                    self.shared.strange(format!("{}: {} without a receipt", path(source), response.status));
                }
            } else {
                self.shared.strange(format!("{}: {} {}", path(source), response.status, response.text()));
            }
            if link.unsure || response.receipt.is_none() {
                self.shared.oracle.out_of_order(&acts);
            }
            next = next.max(Instant::now().checked_sub(DEBT).unwrap_or(next));
            next += self.pace * u32::try_from(acts.len()).unwrap_or(u32::MAX);
            sleep_until(next.into()).await;
        }
    }

    /// New alerts, repeats and resolves, mixed.
    fn choose(&mut self) -> (Source, Vec<(u64, Act)>) {
        let source = Source::ALL[[0, 0, 0, 1, 1, 2][self.rng.index(6)]];
        let (shared, rng) = (&self.shared, &mut self.rng);
        let live = &mut self.live[source as usize - 1];
        let wanted = if source == Source::PagerDuty { 1 } else { 1 + rng.below(BATCH) };
        let (mut acts, mut taken) = (Vec::new(), std::collections::BTreeSet::new());
        for _ in 0..wanted {
            let known = rng.index(live.len().max(1));
            let (id, act) = match rng.below(100) {
                roll if roll < 20 || live.is_empty() => {
                    let id = shared.oracle.create(&shared.payloads, source);
                    live.push(id);
                    (id, Act::Fire)
                }
                roll if roll < 35 && !taken.contains(&live[known]) => (live.swap_remove(known), Act::Resolve),
                _ => (live[known], Act::Fire),
            };
            if taken.insert(id) {
                acts.push((id, act));
            }
        }
        (source, acts)
    }
}

/// A connection that follows the server through its lives.
struct Link {
    shared: Arc<Shared>,
    server: Whereabouts,
    open: Option<(std::net::SocketAddr, Connection)>,
    /// Which of several servers; it stays there while that one answers.
    at: usize,
    /// What was delivered last may be done once more later.
    unsure: bool,
}

impl Link {
    fn new(shared: Arc<Shared>, server: Whereabouts, at: usize) -> Link {
        Link { shared, server, open: None, at, unsure: false }
    }

    /// Sends the same bytes until they are answered with anything but 503. `None` when the run is over.
    async fn deliver(&mut self, path: &str, body: &[u8], before: impl Fn()) -> Option<Response> {
        let mut tries = 0u64;
        self.unsure = false;
        loop {
            let address = {
                let all = self.server.wait_for(|all| !all.is_empty()).await.ok()?;
                all[self.at % all.len()].clone()
            };
            if tries > 0 {
                self.shared.retried.fetch_add(1, Ordering::Relaxed);
            }
            tries += 1;
            before();
            let mut connection = match self.open.take() {
                Some((at, connection)) if at == address.at => connection,
                _ => Connection::new(address.at, PATIENCE),
            };
            self.shared.in_flight.fetch_add(1, Ordering::Relaxed);
            let answer = connection.post(path, body).await;
            self.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
            match answer {
                Ok(response) if response.status == 503 => {
                    self.shared.refused.fetch_add(1, Ordering::Relaxed);
                    self.open = Some((address.at, connection));
                    self.at += 1;
                    sleep(Duration::from_secs(response.retry_after.unwrap_or(1).min(2))).await;
                }
                Ok(response) => {
                    self.open = Some((address.at, connection));
                    return Some(response);
                }
                Err(error) => {
                    self.unsure |= self.shared.late.load(Ordering::Relaxed);
                    self.at += 1;
                    self.failed(&error, &address).await;
                }
            }
        }
    }

    async fn failed(&self, error: &RequestError, address: &Address) {
        match (error, address.killed.get()) {
            (RequestError::Unanswered { sent, .. }, Some(killed)) if sent < killed => {
                self.shared.hit_in_flight.fetch_add(1, Ordering::Relaxed);
            }
            (_, Some(_)) => {}
            (RequestError::Unanswered { source, .. }, None)
                if source.kind() == std::io::ErrorKind::TimedOut && !self.unsure =>
            {
                self.shared.strange(format!("no answer from a living server in {PATIENCE:?}"));
            }
            // An idle connection that the server closed.
            (_, None) => sleep(Duration::from_millis(2)).await,
        }
    }
}

/// An operator who now and then acknowledges an incident or comments on it.
pub(crate) async fn operate(shared: Arc<Shared>, server: Whereabouts, mut rng: Rng) {
    let mut link = Link::new(shared.clone(), server.clone(), 1);
    let mut server = server;
    for number in 0u64.. {
        sleep(Duration::from_millis(100 + rng.below(500))).await;
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let Ok(all) = server.wait_for(|all| !all.is_empty()).await.map(|all| all.clone()) else { return };
        let address = &all[rng.index(all.len())];
        let list = Connection::new(address.at, PATIENCE).get("/api/v1/incidents?state=open&limit=20").await;
        let incidents: Value = match list.map(|response| serde_json::from_slice(&response.body)) {
            Ok(Ok(incidents)) => incidents,
            _ => continue,
        };
        let items = incidents.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let Some(id) = items.get(rng.index(items.len())).and_then(|item| item.get("id")?.as_str()) else { continue };
        let token = format!("torture-{}-{number}", now().micros());
        let (verb, body) = match rng.below(3) {
            0 => ("ack", json!({ "by": "operator" })),
            _ => ("comment", json!({ "by": "operator", "text": token })),
        };
        let path = format!("/api/v1/incidents/{id}/{verb}");
        let Some(response) = link.deliver(&path, body.to_string().as_bytes(), || ()).await else { return };
        if response.status == 202 {
            shared.acknowledged_commands.fetch_add(1, Ordering::Relaxed);
            if verb == "comment" {
                shared.oracle.commented(id, &token);
            }
        } else {
            shared.strange(format!("{path}: {} {}", response.status, response.text()));
        }
    }
}
