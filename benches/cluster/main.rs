//! quell with its log on Kafka and its store in PostgreSQL, beside raw rdkafka and Alertmanager, in one run on one
//! machine: one real broker and one real database server share its cores with the nodes and the client.
//!
//! Deliberately absent: pinning of processes; servers on other machines.

mod engine;
mod mix;
mod paced;
mod place;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Parser;
use quell_benches::drive::{Load, phase};
use quell_benches::servers::{Alertmanager, Peer};
use quell_domain::Timestamp;

use mix::Mix;
use place::{Cluster, Place};
use table::{Results, Run};

/// Names of threads that are told.
const THREADS: usize = 5;

/// Measures quell on Kafka and PostgreSQL.
#[derive(Parser, Clone)]
pub(crate) struct Arguments {
    /// A release build of quell.
    #[arg(long, default_value = "target/release/quell")]
    quell: PathBuf,
    /// Alertmanager's program; without it the environment's `QUELL_ALERTMANAGER`, else the one on the path.
    #[arg(long)]
    alertmanager: Option<PathBuf>,
    /// The folder of the scripts that start Kafka and PostgreSQL.
    #[arg(long, default_value = "scripts")]
    scripts: PathBuf,
    /// What to measure.
    #[arg(long, value_delimiter = ',', default_value = "engine,http,paced")]
    part: Vec<Part>,
    /// Alerts of each phase; half as many where some are new.
    #[arg(long, default_value_t = 2_000_000)]
    alerts: u64,
    /// How often the parts that go as fast as they can are measured; medians are told.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Distinct alerts that are known beforehand.
    #[arg(long, default_value_t = 20_000)]
    pool: u64,
    /// Alerts in one body.
    #[arg(long, default_value_t = 100)]
    batch: u64,
    /// The share of new alerts where there are some.
    #[arg(long, default_value_t = 0.05)]
    new_share: f64,
    /// Kept-alive connections.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Numbers of nodes.
    #[arg(long, value_delimiter = ',', default_value = "1,2,3")]
    nodes: Vec<usize>,
    /// Alerts a second where a rate is kept.
    #[arg(long, default_value_t = 20_000.0)]
    rate: f64,
    /// How long it is kept.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// The same of a soak.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// The share of new alerts in a soak; each ends after 20 seconds.
    #[arg(long, default_value_t = 0.01)]
    soak_share: f64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A part of the measurements.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Part {
    /// Taking from Kafka: raw, decoding only, deciding.
    Engine,
    /// From the client to the store, as fast as it goes, and Alertmanager.
    Http,
    /// A rate that is kept, and when incidents are seen.
    Paced,
    /// The same for long.
    Soak,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = std::env::temp_dir().join(format!("quell-cluster-{}", std::process::id()));
    std::fs::create_dir_all(&folder).context("create a folder for the servers' data")?;
    let place = Place::start(&arguments, &folder).await?;
    let results = measure(&arguments, &place).await;
    place.stop().await?;
    std::fs::remove_dir_all(&folder).context("remove the servers' data")?;
    let results = results?;
    println!("{}", if arguments.json { serde_json::to_string_pretty(&results)? } else { results.to_string() });
    Ok(())
}

async fn measure(arguments: &Arguments, place: &Place) -> Result<Results> {
    let mut results = Results::default();
    let asked = |part| arguments.part.contains(&part);
    if asked(Part::Engine) {
        for batch in [arguments.batch, 10] {
            results.sides.extend(engine::measure(place, arguments, batch).await?);
        }
    }
    if asked(Part::Http) {
        results.runs.push(alertmanager(arguments, &place.folder).await?);
        for nodes in &arguments.nodes {
            let mut cluster = place.cluster(&format!("http{nodes}"), *nodes).await?;
            let run = as_fast_as_it_goes(arguments, &mut cluster, *nodes).await;
            cluster.stop().await?;
            results.runs.push(run?);
        }
    }
    if asked(Part::Paced) {
        for nodes in &arguments.nodes {
            results.kept.push(paced::keep(place, arguments, *nodes, false).await?);
            eprintln!("{nodes} nodes at a rate: done");
        }
    }
    if asked(Part::Soak) {
        results.soak = Some(paced::keep(place, arguments, 2, true).await?);
    }
    Ok(results)
}

/// Known alerts once, then again and again, then with new ones among them.
struct Loads {
    known: Load,
    repeats: u64,
    mixed: Load,
}

fn loads(arguments: &Arguments) -> Loads {
    let Arguments { alerts, pool, batch, connections, new_share, .. } = *arguments;
    let mut mix = Mix::new(pool, batch, now(), Duration::from_secs(3_600));
    let known = mix.known().iter().map(|body| String::from_utf8_lossy(body).into_owned()).collect();
    let bodies = alerts / 2 / batch;
    Loads {
        known: Load::of(known, pool, connections),
        repeats: (alerts / pool).max(1),
        mixed: Load::of((0..bodies).map(|_| mix.body(new_share)).collect(), bodies * batch, connections),
    }
}

async fn as_fast_as_it_goes(arguments: &Arguments, cluster: &mut Cluster, nodes: usize) -> Result<Run> {
    let Loads { known, repeats, mixed } = loads(arguments);
    let mut run = Run { what: format!("quell, {nodes} on Kafka and PostgreSQL"), nodes, ..Run::default() };
    for (load, times) in [(&known, 1), (&known, repeats), (&mixed, 1)] {
        let (before, threads) = (cluster.used()?, cluster.threads()?);
        run.phases.push(phase(cluster, load, times).await?);
        eprintln!(
            "{nodes} nodes, phase {} of 3: {:.1} s",
            run.phases.len(),
            run.phases.last().map_or(0.0, |phase| phase.wall)
        );
        run.used.push(cluster.used()?.since(before));
        run.threads.push(busiest(&threads, &cluster.threads()?));
    }
    run.resident_mib = cluster.resident_bytes()? as f64 / f64::from(1 << 20);
    Ok(run)
}

/// The threads that used most between two looks, by name.
fn busiest(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> Vec<(String, f64)> {
    let used = |(name, cpu): (&String, &f64)| (name.clone(), cpu - before.get(name).copied().unwrap_or_default());
    let mut used: Vec<(String, f64)> = after.iter().map(used).collect();
    used.sort_by(|one, other| other.1.total_cmp(&one.1));
    used.truncate(THREADS);
    used
}

async fn alertmanager(arguments: &Arguments, folder: &Path) -> Result<Run> {
    let named = arguments.alertmanager.clone().or_else(|| std::env::var_os("QUELL_ALERTMANAGER").map(PathBuf::from));
    let program = named.unwrap_or_else(|| "prometheus-alertmanager".into());
    let mut peer = Alertmanager::start(&program, &folder.join("alertmanager")).await?;
    let Loads { known, repeats, mixed } = loads(arguments);
    // A tenth is enough to know its rate.
    let repeats = repeats.div_ceil(10);
    let mut run = Run { what: "Alertmanager, in memory only".to_owned(), ..Run::default() };
    for (load, times) in [(&known, 1), (&known, repeats), (&mixed, 1)] {
        run.phases.push(phase(&mut peer, load, times).await?);
    }
    run.resident_mib = peer.resident_bytes()? as f64 / f64::from(1 << 20);
    peer.stop().await?;
    Ok(run)
}

/// The instant written into bodies as the start of alerts that last: a minute ago.
fn now() -> Timestamp {
    present() - Duration::from_secs(60)
}

/// The instant at which an alert starts that ends soon.
fn present() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_told_by_what_they_used_since() {
        let before = BTreeMap::from([("a".to_owned(), 5.0), ("b".to_owned(), 1.0)]);
        let after = BTreeMap::from([("a".to_owned(), 6.0), ("b".to_owned(), 3.0), ("c".to_owned(), 1.5)]);
        let told = busiest(&before, &after);
        assert_eq!(told, [("b".to_owned(), 2.0), ("c".to_owned(), 1.5), ("a".to_owned(), 1.0)]);
    }
}
