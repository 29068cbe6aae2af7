//! Four shards on two nodes, with their logs on real Kafka and one store in real PostgreSQL: turns are spread, taken over
//! shard by shard, and what the nodes decide is what one process decides of the same records.
//!
//! Absent on purpose: one shard on several nodes (`cluster.rs`).

mod support {
    #[path = "../../../quell-log/tests/support/broker.rs"]
    pub(crate) mod broker;
    pub(crate) mod process;
}
#[path = "../../quell-store/tests/support/postgres_server.rs"]
mod postgres_server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use postgres_server::Server;
use quell_domain::{Alert, Incident, Labels, Position, Shard, Sharding, Timestamp};
use quell_log::embedded::{EmbeddedLog, Options};
use quell_log::kafka::{self, KafkaLog};
use quell_log::{Clock, Draft, Read, Record, Stream};
use quell_store::{AlertQuery, IncidentQuery, PostgresStore, SqliteStore, Store, postgres};
use support::broker::Brokers;
use support::process::{Process, fresh_folder, serve, until};

/// How long a condition may take to hold.
const PATIENCE: Duration = Duration::from_secs(60);
const COUNT: u32 = 4;
const CONFIG: &str = "shards: {label: region, count: 4}\n";
/// Regions that alerts come from: some for each shard.
const REGIONS: u64 = 12;

fn sharding() -> Sharding {
    Sharding::by("region", COUNT).expect("good")
}

fn region(n: u64) -> String {
    format!("region-{}", n % REGIONS)
}

/// Ten alerts of different regions in one body; they are told apart by their label `n`.
fn body(from: u64) -> String {
    let alert = |n: u64| {
        let (kind, host, region) = (n % 3, n % 40, region(n));
        format!(r#"{{"labels":{{"alertname":"Disk{kind}","instance":"host-{host}","region":"{region}","n":"{n}"}}}}"#)
    };
    format!("[{}]", (from..from + 10).map(alert).collect::<Vec<_>>().join(","))
}

/// What nodes have in common.
struct Cluster {
    folder: PathBuf,
    address: kafka::Address,
    store: String,
    _brokers: Brokers,
    _server: Server,
}

impl Cluster {
    fn start(name: &str) -> anyhow::Result<Cluster> {
        let brokers = Brokers::start(&format!("{name}-kafka"), 1);
        let server = Server::start(&Server::folder(name), true, &[]);
        let (address, store, folder) = (brokers.address("shards"), server.url.clone(), fresh_folder(name)?);
        std::fs::write(folder.join("quell.yaml"), CONFIG)?;
        Ok(Cluster { folder, address, store, _brokers: brokers, _server: server })
    }

    async fn node(&self, name: &str) -> anyhow::Result<Process> {
        let own = self.folder.join(name);
        std::fs::create_dir_all(&own)?;
        let mut command = serve(&[], &own.join("data"));
        command.args(["--log", &self.address.to_string(), "--store", &self.store]);
        command.arg("--config").arg(self.folder.join("quell.yaml"));
        Process::start(command, &own.join("quell.log")).await
    }
}

async fn metrics(node: &Process) -> anyhow::Result<String> {
    Ok(node.client.get(format!("{}/metrics", node.url)).send().await?.text().await?)
}

/// The shards in which a node decides.
async fn decides(node: &Process) -> anyhow::Result<Vec<u32>> {
    let text = metrics(node).await?;
    let yes = |number: &u32| text.lines().any(|line| line == format!("quell_deciding{{shard=\"{number}\"}} 1"));
    Ok((0..COUNT).filter(yes).collect())
}

/// Posts so many bodies of ten alerts; every one of them must be acknowledged.
async fn offer(node: &Process, next: &mut u64, bodies: u64) -> anyhow::Result<()> {
    for _ in 0..bodies {
        node.post("/api/v2/alerts", body(*next)).await?.error_for_status()?;
        *next += 10;
    }
    Ok(())
}

/// What is remembered of a shard.
struct Kept {
    alerts: Vec<Alert>,
    incidents: Vec<Incident>,
}

impl Kept {
    /// What does not change while time goes on: each incident with its opening, and each alert with its incident.
    fn decided(&self) -> Vec<String> {
        let incidents = self.incidents.iter().map(|incident| {
            let Incident { id, title, opened_at, opened_position, opened_ordinal, priority, alerts, .. } = incident;
            format!("{id} {title:?} {opened_at} {opened_position}.{opened_ordinal} {priority} {alerts}")
        });
        let alerts = self.alerts.iter().map(|alert| {
            let Alert { id, fingerprint, incident, opened_position, opened_ordinal, starts_at, .. } = alert;
            format!("{id} {fingerprint} {incident:?} {opened_position}.{opened_ordinal} {starts_at}")
        });
        incidents.chain(alerts).collect()
    }
}

async fn kept(store: &dyn Store, shard: Shard) -> anyhow::Result<Kept> {
    let alerts = store.alerts(shard, AlertQuery { limit: 10_000, ..AlertQuery::default() }).await?.items;
    let incidents = store.incidents(shard, IncidentQuery { state: None, before: None, limit: 10_000 }).await?.items;
    Ok(Kept { alerts, incidents })
}

/// Every alert up to `next` is there once, in the shard of its region, in an incident of that shard.
async fn check_all_there(store: &dyn Store, next: u64) -> anyhow::Result<()> {
    let mut found = BTreeMap::new();
    for shard in sharding().shards() {
        for alert in kept(store, shard).await?.alerts {
            let n: u64 = alert.labels.get("n").context("it has a number")?.parse()?;
            ensure!(found.insert(n, shard.number).is_none(), "alert {n} is there twice");
            ensure!(alert.incident.is_some_and(|incident| incident.shard == shard.number), "alert {n}: {alert:?}");
        }
    }
    for n in 0..next {
        let wanted = sharding().of(Labels::new([("region", region(n))]).as_ref());
        ensure!(found.get(&n) == Some(&wanted), "alert {n} is in {:?} and not in {wanted}", found.get(&n));
    }
    ensure!(found.len() as u64 == next, "{} alerts of {next}", found.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_share_four_shards_and_decide_what_one_process_decides() -> anyhow::Result<()> {
    let cluster = Cluster::start("cluster-shards")?;
    let (one, two) = tokio::join!(cluster.node("one"), cluster.node("two"));
    let (mut one, mut two) = (one?, two?);
    spread(&one, &two).await?;
    let mut next = 0;
    offer(&one, &mut next, 20).await?;
    offer(&two, &mut next, 20).await?;
    // One is killed in the middle; the other takes its shards over, and goes on in its own.
    let before = decides(&two).await?;
    one.kill().await?;
    offer(&two, &mut next, 20).await?;
    until("the other decides everywhere", PATIENCE, async || Ok(decides(&two).await?.len() == COUNT as usize)).await?;
    ensure!(before.len() == 2, "{before:?}");
    offer(&two, &mut next, 20).await?;
    // It comes back and is given half of them again.
    let mut one = cluster.node("one").await?;
    spread(&one, &two).await?;
    offer(&one, &mut next, 20).await?;
    for node in [&one, &two] {
        until("decided", PATIENCE, async || node.is_done().await).await?;
    }
    let store = PostgresStore::open_read_only(&postgres::Options::new(&cluster.store)).await?;
    check_all_there(&store, next).await?;
    for node in [&mut one, &mut two] {
        node.terminate().await?;
        node.ended(PATIENCE).await?;
    }
    same_in_one_process(&cluster, &store).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_frozen_is_given_shards_again_and_nothing_is_lost() -> anyhow::Result<()> {
    let cluster = Cluster::start("cluster-shards-frozen")?;
    let (one, two) = tokio::join!(cluster.node("one"), cluster.node("two"));
    let (one, two) = (one?, two?);
    spread(&one, &two).await?;
    let mut next = 0;
    offer(&one, &mut next, 10).await?;
    one.signal("STOP").await?;
    until("the other decides everywhere", PATIENCE, async || Ok(decides(&two).await?.len() == COUNT as usize)).await?;
    offer(&two, &mut next, 10).await?;
    one.signal("CONT").await?;
    // What it had in hand it may not write: in its shards the other has decided meanwhile.
    offer(&two, &mut next, 10).await?;
    spread(&one, &two).await?;
    offer(&one, &mut next, 10).await?;
    for node in [&one, &two] {
        until("decided", PATIENCE, async || node.is_done().await).await?;
    }
    let store = PostgresStore::open_read_only(&postgres::Options::new(&cluster.store)).await?;
    check_all_there(&store, next).await
}

/// Waits until each of two nodes decides in two shards, and both in all.
async fn spread(one: &Process, two: &Process) -> anyhow::Result<()> {
    until("each decides in two shards", PATIENCE, async || {
        let (one, two) = (decides(one).await?, decides(two).await?);
        let mut all = [one.as_slice(), &two].concat();
        all.sort_unstable();
        Ok(one.len() == 2 && all == [0, 1, 2, 3])
    })
    .await
}

/// Puts each shard's records into files of one machine at the same instants, and compares what is decided of them.
async fn same_in_one_process(cluster: &Cluster, store: &dyn Store) -> anyhow::Result<()> {
    let folder = cluster.folder.join("file");
    let data = folder.join("data");
    std::fs::create_dir_all(&data)?;
    for shard in sharding().shards() {
        copy(cluster, shard, &data).await?;
    }
    let mut command = serve(&[], &data);
    command.arg("--config").arg(cluster.folder.join("quell.yaml"));
    let mut quell = Process::start(command, &folder.join("quell.log")).await?;
    until("decided", PATIENCE, async || quell.is_done().await).await?;
    quell.terminate().await?;
    quell.ended(PATIENCE).await?;
    let file = SqliteStore::open_read_only(&data.join("store.db")).await?;
    let mut incidents = 0;
    for shard in sharding().shards() {
        let (ours, theirs) = (kept(store, shard).await?, kept(&file, shard).await?);
        incidents += ours.incidents.len();
        let (ours, theirs) = (ours.decided(), theirs.decided());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            ensure!(ours == theirs, "shard {}: on the nodes {ours}, in one process {theirs}", shard.number);
        }
        ensure!(ours.len() == theirs.len(), "shard {}: {} and {} rows", shard.number, ours.len(), theirs.len());
    }
    ensure!(incidents > 4, "only {incidents} incidents");
    file.close().await;
    Ok(())
}

/// A clock that is told what time it is.
struct Told(AtomicI64);

impl Clock for Told {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Copies a shard's log from Kafka to the place where one process has it.
async fn copy(cluster: &Cluster, shard: Shard, data: &Path) -> anyhow::Result<()> {
    let options = kafka::Options { shard, shards: COUNT, ..kafka::Options::at(cluster.address.clone()) };
    let reader = KafkaLog::read_only(&options).await?;
    let directory = match shard.number {
        0 => data.to_owned(),
        number => data.join(format!("shard-{number}")),
    };
    let first = Read::<()>::read_one(&reader, Stream::Main, Position(1)).await?.context("a first record")?;
    let clock = Arc::new(Told(AtomicI64::new(first.stamp.received_at.micros())));
    let outage = |_: Timestamp, _: Timestamp| Vec::new();
    let told = Arc::clone(&clock) as Arc<dyn Clock>;
    let log = EmbeddedLog::open::<()>(&directory, Options::default(), told, outage).await?;
    let mut from = Position::START.next();
    loop {
        let records: Vec<Record<()>> = reader.read(Stream::Main, from, 500).await?;
        let Some(last) = records.last().map(|record| record.stamp.position) else { break };
        for Record { stamp, kind, body, .. } in records {
            clock.0.store(stamp.received_at.micros(), Ordering::SeqCst);
            let draft = Draft { stream: Stream::Main, kind, body, carry: None, context: Default::default() };
            let copied = log.appender.append(draft).await?;
            ensure!(copied == stamp, "{copied:?} in the file, {stamp:?} on Kafka");
        }
        from = last.next();
    }
    ensure!(from > Position(20), "shard {} has only {from} records", shard.number);
    log.appender.close().await;
    Ok(())
}
