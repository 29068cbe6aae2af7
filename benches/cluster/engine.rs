//! The engine's side: what others put onto Kafka, taken, decoded, decided and remembered by a node that has just begun;
//! beside a consumer that only decodes the same records, and one that throws them away.
//!
//! Deliberately absent: the way onto Kafka by HTTP.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use quell_benches::kafka::{append, consume, open, produce};
use quell_benches::phase::Phase;
use quell_benches::process;
use quell_benches::servers::{DECIDING, Peer, Quell};
use quell_domain::{RecordKind, Source};
use quell_formats::record;
use quell_log::kafka::Opened;
use quell_log::{Append, Follow};
use serde::Serialize;

use crate::mix::Mix;
use crate::place::{Place, Store, Used};
use crate::{Arguments, now};

/// Appends on their way at once.
const WAYS: u64 = 64;
/// Between two looks at how far a node is.
const LOOK: Duration = Duration::from_millis(10);
/// No node may take longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// Some records by four ways, several times.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sides {
    pub(crate) what: String,
    pub(crate) rounds: Vec<Side>,
}

/// The same records by four ways.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Side {
    pub(crate) produced: Phase,
    pub(crate) consumed: Phase,
    pub(crate) decoded: Phase,
    pub(crate) decided: Phase,
    /// By what took part in deciding.
    pub(crate) used: Used,
}

pub(crate) async fn measure(place: &Place, arguments: &Arguments, batch: u64) -> Result<Vec<Sides>> {
    let prefix = format!("engine{batch}");
    let store = place.store(&prefix).await?;
    let mix = Mix::new(arguments.pool, batch, now(), Duration::from_secs(3_600));
    fill(place, &prefix, &mix.known()).await?;
    let node = place.node(&prefix, 0, &store).await?;
    settled(&node, 0.0).await?;
    node.stop().await?;
    let (share, records) = (arguments.new_share, arguments.alerts / batch);
    let mut sides = [
        Sides { what: format!("repeats, bodies of {batch}"), rounds: Vec::new() },
        Sides { what: format!("{:.0} % new, bodies of {batch}", share * 100.0), rounds: Vec::new() },
    ];
    let repeats: Vec<Bytes> = mix.known().into_iter().cycle().take(usize::try_from(records)?).collect();
    let mut mixed = mix.clone();
    for round in 1..=arguments.rounds {
        // New ones are new in each round.
        let mixed: Vec<Bytes> = (0..records / 2).map(|_| mixed.body(share).into()).collect();
        for (at, bodies) in [(0, &repeats), (1, &mixed)] {
            sides[at].rounds.push(side(place, (&prefix, &format!("raw{at}{round}")), &store, batch, bodies).await?);
        }
        eprintln!("bodies of {batch}, round {round} of {}: done", arguments.rounds);
    }
    store.stop().await?;
    Ok(sides.into())
}

/// One set of records: put on the log for a node that decides them, and raw on a topic of their own.
async fn side(
    place: &Place,
    (prefix, name): (&str, &str),
    store: &Store,
    batch: u64,
    bodies: &[Bytes],
) -> Result<Side> {
    fill(place, prefix, bodies).await?;
    // The topic of the raw ones is made by opening a log there.
    let raw = format!("{prefix}{name}");
    let opened = open(&place.brokers.bootstrap, &raw, &place.folder.join(&raw)).await?;
    Append::close(&opened.appender).await;
    let (brokers, topic, all) = (place.brokers.bootstrap.clone(), format!("{raw}.main"), bodies.to_vec());
    let records = bodies.len() as u64;
    let by_hand = tokio::task::spawn_blocking(move || -> Result<_> {
        let produced = produce(&brokers, &topic, &all, records, batch)?;
        let mut bytes = 0;
        let consumed = consume(&brokers, &topic, records, batch, |body| {
            bytes += body.len();
            Ok(())
        })?;
        ensure!(bytes == all.iter().map(Bytes::len).sum::<usize>(), "other bodies came than were sent");
        let kind = RecordKind::Alerts(Source::AlertmanagerApi);
        let decoded = consume(&brokers, &topic, records, batch, |body| {
            std::hint::black_box(record::decode(kind, body)?);
            Ok(())
        })?;
        Ok((produced, consumed, decoded))
    });
    let (produced, consumed, decoded) = by_hand.await??;
    let (decided, used) = decided(place, prefix, store, records, batch).await?;
    Ok(Side { produced, consumed, decoded, decided, used })
}

/// Puts records onto the log as a gateway does, which follows them as it goes.
async fn fill(place: &Place, prefix: &str, bodies: &[Bytes]) -> Result<()> {
    let spool = place.folder.join(format!("{prefix}-gateway"));
    let Opened { appender, mut main, .. } = open(&place.brokers.bootstrap, prefix, &spool).await?;
    let follower = tokio::spawn(async move { while !main.recv_many(256).await.is_empty() {} });
    append(&appender, bodies, bodies.len() as u64, 1, WAYS).await?;
    Append::close(&appender).await;
    follower.await?;
    Ok(())
}

/// How fast a node that has just begun decides what waits, from the first twentieth on.
async fn decided(place: &Place, prefix: &str, store: &Store, records: u64, batch: u64) -> Result<(Phase, Used)> {
    let node = place.node(prefix, 0, store).await?;
    let pid = node.pids()[0];
    let most = records as f64 * 0.95;
    let from = settled(&node, most).await?;
    let used = || -> Result<Used> {
        let (quell, broker) = (process::cpu_seconds(pid)?, process::cpu_seconds(place.brokers.pids[0])?);
        Ok(Used { quell, broker, postgres: process::family_cpu_seconds(store.pid)?, client: 0.0 })
    };
    let (begun, before) = (Instant::now(), used()?);
    ensure!(
        from > records as f64 / 2.0,
        "the node had decided most before it was looked at: {from} of {records} were left"
    );
    settled(&node, 0.0).await?;
    let wall = begun.elapsed().as_secs_f64();
    let used = used()?.since(before);
    node.stop().await?;
    Ok((Phase { alerts: from as u64 * batch, wall, cpu_seconds: used.quell, ..Phase::default() }, used))
}

/// Waits until no more than that many records wait to be decided, and the node decides; how many do.
async fn settled(node: &Quell, most: f64) -> Result<f64> {
    let settled = async {
        let mut begun = false;
        loop {
            let lag = node.metric("quell_log_lag_records").await?;
            begun |= lag > 0.0 || node.metric(DECIDING).await? == 1.0;
            if begun && lag <= most {
                return Ok(lag);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.context("a node does not reach the end of the log")?
}
