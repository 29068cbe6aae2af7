//! Senders that keep a rate: how long until an incident is seen, and how memory grows.
//!
//! Deliberately absent: sending as fast as it goes; see `drive`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use quell_benches::percentile;
use quell_benches::servers::Peer;
use quell_domain::Fingerprint;
use quell_sim::http::Connection;
use serde::Serialize;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::mix::Mix;
use crate::place::{Cluster, Place, Used};
use crate::{Arguments, now, present};

/// No answer may take longer, nor an incident.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks whether an incident is there.
const LOOK: Duration = Duration::from_millis(5);
/// Between two probes.
const PROBE: Duration = Duration::from_millis(100);
/// Between two looks at memory.
pub(crate) const SAMPLE: Duration = Duration::from_secs(2);

/// What came of a rate.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Kept {
    pub(crate) nodes: usize,
    /// Alerts a second as asked, and as sent.
    pub(crate) asked: f64,
    pub(crate) sent: f64,
    pub(crate) seconds: f64,
    pub(crate) new_share: f64,
    /// Milliseconds until an answer: of half, of 99 in 100, of all.
    pub(crate) answer_ms: [f64; 3],
    /// Milliseconds from the answer until the incident is seen on the node that decides, and on another one.
    pub(crate) visible_ms: Vec<[f64; 3]>,
    pub(crate) probes: usize,
    pub(crate) used: Used,
    /// Resident MiB of all nodes, every two seconds.
    pub(crate) resident_mib: Vec<f64>,
}

fn sorted(mut took: Vec<Duration>) -> [f64; 3] {
    took.sort_unstable();
    [0.5, 0.99, 1.0].map(|share| percentile(&took, share).as_secs_f64() * 1_000.0)
}

/// Keeps the rate for a while, with probes of which it is known when they are seen.
pub(crate) async fn keep(place: &Place, arguments: &Arguments, nodes: usize, soak: bool) -> Result<Kept> {
    let prefix = if soak { "soak".to_owned() } else { format!("paced{nodes}") };
    let mut cluster = place.cluster(&prefix, nodes).await?;
    // In a soak new alerts end soon, so that nothing but a leak grows.
    let lasts = Duration::from_secs(if soak { 20 } else { 3_600 });
    let mix = Mix::new(arguments.pool, arguments.batch, now(), lasts);
    let seconds = if soak { arguments.minutes * 60 } else { arguments.seconds };
    let addresses = cluster.addresses();
    let mut first = Connection::new(addresses[0], PATIENCE);
    for body in mix.known() {
        ensure!(first.post("/api/v2/alerts", &body).await?.status == 200, "a body was refused");
    }
    cluster.settle().await?;
    let deciding = cluster.decides().await?;
    let others = (0..nodes).find(|node| *node != deciding);
    let looked: Vec<SocketAddr> = [Some(deciding), others].into_iter().flatten().map(|node| addresses[node]).collect();
    let until = Instant::now() + Duration::from_secs(seconds);
    let (before, begun) = (cluster.used()?, Instant::now());
    let probes = tokio::spawn(probe(mix.clone(), addresses[0], looked.clone(), until));
    let share = if soak { arguments.soak_share } else { arguments.new_share };
    let senders = tokio::spawn(senders(mix, share, addresses, arguments.rate, arguments.connections, until));
    let resident_mib = watch(&cluster, until).await?;
    let (took, sent_for) = senders.await??;
    let seconds = begun.elapsed().as_secs_f64();
    let seen = probes.await??;
    let used = cluster.used()?.since(before);
    cluster.stop().await?;
    Ok(Kept {
        nodes,
        asked: arguments.rate,
        sent: (took.len() as u64 * arguments.batch) as f64 / sent_for.as_secs_f64(),
        seconds,
        new_share: share,
        answer_ms: sorted(took),
        probes: seen.len(),
        visible_ms: (0..looked.len()).map(|at| sorted(seen.iter().map(|each| each[at]).collect())).collect(),
        used,
        resident_mib,
    })
}

async fn watch(cluster: &Cluster, until: Instant) -> Result<Vec<f64>> {
    let mut resident = Vec::new();
    while Instant::now() < until {
        tokio::time::sleep(SAMPLE.min(until.saturating_duration_since(Instant::now()))).await;
        resident.push(cluster.resident_bytes()? as f64 / f64::from(1 << 20));
    }
    Ok(resident)
}

/// How long each answer took, and all of them. A sender that falls behind sends again at once until it has caught up.
async fn senders(
    mut mix: Mix,
    share: f64,
    addresses: Vec<SocketAddr>,
    rate: f64,
    connections: usize,
    until: Instant,
) -> Result<(Vec<Duration>, Duration)> {
    let begun = Instant::now();
    let each = Duration::from_secs_f64(mix.batch() as f64 * connections as f64 / rate);
    let (bodies, waiting) = mpsc::channel(connections.max(1));
    let waiting = Arc::new(Mutex::new(waiting));
    let mut all = JoinSet::new();
    for number in 0..connections {
        let (address, waiting) = (addresses[number % addresses.len()], Arc::clone(&waiting));
        all.spawn(async move {
            let (mut connection, mut took) = (Connection::new(address, PATIENCE), Vec::new());
            let mut tick = interval(each);
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            loop {
                tick.tick().await;
                let Some(body) = waiting.lock().await.recv().await else { return Ok::<_, anyhow::Error>(took) };
                let sent = Instant::now();
                let answer = connection.post("/api/v2/alerts", String::as_bytes(&body)).await?;
                ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
                took.push(sent.elapsed());
            }
        });
    }
    while Instant::now() < until {
        mix.at(present());
        // All senders have ended with an error, which is told below.
        if bodies.send(mix.body(share)).await.is_err() {
            break;
        }
    }
    drop(bodies);
    let mut took = Vec::new();
    while let Some(sender) = all.join_next().await {
        took.extend(sender.context("a sender panicked")??);
    }
    Ok((took, begun.elapsed()))
}

/// Sends a new alert every tenth of a second, and looks for its incident on each of those nodes.
async fn probe(mut mix: Mix, to: SocketAddr, looked: Vec<SocketAddr>, until: Instant) -> Result<Vec<Vec<Duration>>> {
    mix.skip_to_probes();
    let mut connection = Connection::new(to, PATIENCE);
    let mut tick = interval(PROBE);
    let mut looking = JoinSet::new();
    while Instant::now() < until {
        tick.tick().await;
        mix.at(present());
        let body = mix.probe();
        let batch = quell_formats::alertmanager::decode_api(body.as_bytes());
        let fingerprint = batch.items().first().context("a probe without an alert")?.fingerprint;
        let answer = connection.post("/api/v2/alerts", body.as_bytes()).await?;
        let answered = Instant::now();
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
        let each = looked.iter().map(|address| visible(*address, fingerprint, answered));
        looking.spawn(futures::future::try_join_all(each));
    }
    let mut seen = Vec::new();
    while let Some(look) = looking.join_next().await {
        seen.push(look.context("a look panicked")??);
    }
    Ok(seen)
}

/// How long after its answer a request's alert is in an incident that can be read.
async fn visible(address: SocketAddr, fingerprint: Fingerprint, answered: Instant) -> Result<Duration> {
    let mut connection = Connection::new(address, PATIENCE);
    let path = format!("/api/v1/alerts?fingerprint={fingerprint}");
    while answered.elapsed() < PATIENCE {
        let answer = connection.get(&path).await?;
        if answer.status == 200 {
            let told: serde_json::Value = serde_json::from_slice(&answer.body).context("a list of alerts")?;
            if told["items"][0]["incident"].is_string() {
                return Ok(answered.elapsed());
            }
        }
        tokio::time::sleep(LOOK).await;
    }
    bail!("{fingerprint} is in no incident after {PATIENCE:?}")
}
