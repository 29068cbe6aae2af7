//! Alertmanager and quell, driven one after the other with the same bodies by the same client, several rounds in turn.
//!
//! Counted are CPU seconds of the server until everything is answered and, for quell, until its engine has reached the
//! end of the log. Alertmanager's own work after its answers is not counted, which favours it. Deliberately absent:
//! pinning of processes, and any peer that is not installed.

mod table;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Parser;
use quell_benches::drive::{Load, drive};
use quell_benches::phase::Phases;
use quell_benches::servers::{Alertmanager, Peer, Quell};
use quell_domain::Timestamp;

use table::{Restart, Results};

/// Drives Alertmanager and quell with the same bodies.
#[derive(Parser)]
struct Arguments {
    /// A release build of quell.
    #[arg(long, default_value = "target/release/quell")]
    quell: PathBuf,
    /// Alertmanager's program; without it the environment's `QUELL_ALERTMANAGER`, else the one on the path.
    #[arg(long)]
    alertmanager: Option<PathBuf>,
    /// Distinct alerts.
    #[arg(long, default_value_t = 20_000)]
    alerts: u64,
    /// Alerts in one body.
    #[arg(long, default_value_t = 100)]
    batch: u64,
    /// How often everything is sent again.
    #[arg(long, default_value_t = 9)]
    repeats: u64,
    /// Kept-alive connections.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Rounds; medians are reported.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// Also start quell again with 100,000 open alerts.
    #[arg(long)]
    restart: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = std::env::temp_dir().join(format!("quell-peers-{}", std::process::id()));
    std::fs::create_dir_all(&folder).context("create a folder for the servers' data")?;
    let results = measure(&arguments, &folder).await;
    std::fs::remove_dir_all(&folder).context("remove the servers' data")?;
    let results = results?;
    println!("{}", if arguments.json { serde_json::to_string_pretty(&results)? } else { results.to_string() });
    Ok(())
}

async fn measure(arguments: &Arguments, folder: &std::path::Path) -> Result<Results> {
    let mut results = Results {
        alerts: arguments.alerts,
        batch: arguments.batch,
        repeats: arguments.repeats,
        connections: arguments.connections,
        ..Results::default()
    };
    let named = arguments.alertmanager.clone().or_else(|| std::env::var_os("QUELL_ALERTMANAGER").map(PathBuf::from));
    let alertmanager = named.unwrap_or_else(|| "prometheus-alertmanager".into());
    for round in 0..arguments.rounds {
        // The same bodies for both; new times in each round, so that nothing is over before it is sent.
        let load = Load::new(arguments.alerts, arguments.batch, arguments.repeats, arguments.connections, now());
        let place = folder.join(format!("alertmanager-{round}"));
        let peer = Alertmanager::start(&alertmanager, &place).await?;
        results.alertmanager.push(one(peer, &load).await?);
        let place = folder.join(format!("quell-{round}"));
        let peer = Quell::start(&arguments.quell, &place).await?;
        results.quell.push(one(peer, &load).await?);
        eprintln!("round {} of {} done", round + 1, arguments.rounds);
    }
    if arguments.restart {
        results.restart = Some(restart(arguments, &folder.join("restart")).await?);
    }
    Ok(results)
}

async fn one<P: Peer>(mut peer: P, load: &Load) -> Result<Phases> {
    let phases = drive(&mut peer, load).await;
    peer.stop().await?;
    phases
}

/// Kills quell with 100,000 open alerts and times its next start.
async fn restart(arguments: &Arguments, place: &std::path::Path) -> Result<Restart> {
    const OPEN: u64 = 100_000;
    let load = Load::new(OPEN, arguments.batch, 0, arguments.connections, now());
    let mut peer = Quell::start(&arguments.quell, place).await?;
    let before = peer.resident_bytes()?;
    drive(&mut peer, &load).await?;
    let after = peer.resident_bytes()?;
    peer.stop().await?;
    let begun = Instant::now();
    let peer = Quell::start(&arguments.quell, place).await?;
    let ready = begun.elapsed();
    let resident_bytes = peer.resident_bytes()?;
    peer.stop().await?;
    let (grown, ready_ms) = (after.saturating_sub(before), u64::try_from(ready.as_millis()).unwrap_or(u64::MAX));
    Ok(Restart { open_alerts: OPEN, ready_ms, resident_bytes, grown_bytes_per_alert: grown / OPEN })
}

/// The instant written into bodies as their alerts' start: a minute ago.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)) - Duration::from_secs(60)
}
