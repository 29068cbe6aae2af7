//! The client: the same bodies over a few kept-alive connections, as fast as they are answered.
//!
//! Who is told to come again, because more waits than may, comes again when it was told to. Deliberately absent: any other
//! retry; an answer other than these ends the run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use quell_domain::Timestamp;
use quell_sim::http::{Connection, Response};
use tokio::task::JoinSet;

use crate::percentile;
use crate::phase::{Phase, Phases};
use crate::servers::Peer;

/// No answer may take longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is sent.
#[derive(Clone, Debug)]
pub struct Load {
    bodies: Arc<Vec<String>>,
    alerts: u64,
    repeats: u64,
    connections: usize,
}

impl Load {
    /// Distinct alerts in bodies of `batch`, and how often they are sent again.
    #[must_use]
    pub fn new(alerts: u64, batch: u64, repeats: u64, connections: usize, starts_at: Timestamp) -> Self {
        let bodies = crate::bodies(0, alerts, batch, starts_at);
        Load { repeats, ..Load::of(bodies, alerts, connections) }
    }

    /// Bodies as they are, with that many alerts in all; nothing is sent again.
    #[must_use]
    pub fn of(bodies: Vec<String>, alerts: u64, connections: usize) -> Self {
        Load { bodies: Arc::new(bodies), alerts, repeats: 0, connections }
    }
}

/// New alerts first, then all of them again.
///
/// # Errors
/// When the server does not answer with 200, or does not settle.
pub async fn drive<P: Peer>(peer: &mut P, load: &Load) -> Result<Phases> {
    let new = phase(peer, load, 1).await?;
    let repeats = phase(peer, load, load.repeats).await?;
    Ok(Phases { all: new.joined(&repeats), new, repeats, resident_bytes: peer.resident_bytes()? })
}

/// All bodies, that many times.
///
/// # Errors
/// As [`drive`].
pub async fn phase<P: Peer>(peer: &mut P, load: &Load, times: u64) -> Result<Phase> {
    let (cpu, begun) = (peer.cpu_seconds()?, Instant::now());
    let next = Arc::new(AtomicUsize::new(0));
    let total = load.bodies.len() * usize::try_from(times)?;
    let mut clients = JoinSet::new();
    let addresses = peer.addresses();
    for number in 0..load.connections {
        let (bodies, next, address) = (load.bodies.clone(), next.clone(), addresses[number % addresses.len()]);
        clients.spawn(async move {
            let (mut connection, mut took, mut refused) = (Connection::new(address, PATIENCE), Vec::new(), 0);
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= total {
                    return Ok::<_, anyhow::Error>((took, refused));
                }
                let sent = Instant::now();
                refused += send(&mut connection, bodies[at % bodies.len()].as_bytes()).await?;
                took.push(sent.elapsed());
            }
        });
    }
    let (mut took, mut refused) = (Vec::new(), 0);
    while let Some(client) = clients.join_next().await {
        let (of_one, refusals) = client.context("a client panicked")??;
        took.extend(of_one);
        refused += refusals;
    }
    peer.settle().await?;
    let wall = begun.elapsed().as_secs_f64();
    took.sort_unstable();
    let millis = |share| percentile(&took, share).as_secs_f64() * 1_000.0;
    let cpu_seconds = peer.cpu_seconds()? - cpu;
    Ok(Phase { alerts: load.alerts * times, wall, cpu_seconds, p50_ms: millis(0.5), p99_ms: millis(0.99), refused })
}

/// Sends a body until it is taken; how often it was refused for want of room before.
///
/// # Errors
/// At any answer but 200, and 503 with a time to come again.
pub async fn send(connection: &mut Connection, body: &[u8]) -> Result<u64> {
    let mut refused = 0;
    loop {
        let answer = connection.post("/api/v2/alerts", body).await?;
        match answer {
            Response { status: 200, .. } => return Ok(refused),
            Response { status: 503, retry_after: Some(seconds), .. } => {
                refused += 1;
                tokio::time::sleep(Duration::from_secs(seconds)).await;
            }
            answer => bail!("{} {}", answer.status, answer.text()),
        }
    }
}
