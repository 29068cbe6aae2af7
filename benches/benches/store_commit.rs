//! What a commit costs in SQLite and in PostgreSQL: the same effects of the engine to both in turn, on the same disk,
//! fsync included; the server is on this machine, reached over loopback.
//!
//! Absent on purpose: reading; and a server that is far away, where each of a commit's round trips takes longer.

#[path = "../../crates/quell-store/tests/support/postgres_server.rs"]
mod postgres_server;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres_server::Server;
use quell_domain::{Input, Moment, Position, Shard, Timestamp};
use quell_engine::{Effects, Engine};
use quell_formats::{alertmanager, settings};
use quell_store::postgres::Options;
use quell_store::{Commit, Flush, PostgresStore, SqliteStore, Store};

const SHARD: Shard = Shard::FIRST;

/// A store and how long its commits took.
struct Rival {
    name: &'static str,
    store: Box<dyn Store>,
    epoch: u64,
    took: Vec<Duration>,
}

impl Rival {
    async fn new(name: &'static str, store: impl Store) -> Rival {
        let store: Box<dyn Store> = Box::new(store);
        let epoch = store.take_over(SHARD).await.expect("a new store is free").epoch;
        Rival { name, store, epoch, took: Vec::new() }
    }

    async fn commit(&mut self, engine: &Engine, effects: &Effects, flush: Option<Flush<'_>>) {
        let commit = Commit {
            shard: SHARD,
            epoch: self.epoch,
            applied: engine.position(),
            commands: Position::START,
            checkpoint: engine.checkpoint(),
            effects,
            activations: &[],
            problem_sinks: &[],
            flush,
        };
        let begun = Instant::now();
        self.store.commit(commit, &[]).await.expect("the disk has room");
        self.took.push(begun.elapsed());
    }
}

/// Prints what each took for `alerts` in each commit.
fn report(what: &str, alerts: usize, rivals: &mut [Rival; 2]) {
    let mut rates = Vec::new();
    for rival in rivals {
        rival.took.sort_unstable();
        let all: Duration = rival.took.iter().sum();
        let rate = (alerts * rival.took.len()) as f64 / all.as_secs_f64();
        let at =
            |share: usize| rival.took[(rival.took.len() * share / 100).min(rival.took.len() - 1)].as_secs_f64() * 1e3;
        let (name, commits) = (rival.name, rival.took.len());
        println!(
            "{what:24} {name:10} {commits:5} commits  {rate:9.0} alerts/s  p50 {:7.2} ms  p99 {:7.2} ms",
            at(50),
            at(99)
        );
        rates.push(rate);
        rival.took.clear();
    }
    println!("{what:24} PostgreSQL / SQLite: {:.2}", rates[1] / rates[0]);
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("store-commit-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    let server = Server::start(&Server::folder("bench"), true, &[]);
    runtime.block_on(measure(&folder, &server.url));
    server.stop();
    std::fs::remove_dir_all(&folder).expect("the folder is this run's own");
}

async fn measure(folder: &Path, url: &str) {
    let sqlite = SqliteStore::open(&folder.join("store.db")).await.expect("a new store opens");
    let postgres = PostgresStore::open(&Options::new(url)).await.expect("a new store opens");
    let mut rivals = [Rival::new("SQLite", sqlite).await, Rival::new("PostgreSQL", postgres).await];
    let compiled = settings::compile(&settings::shipped()).expect("the shipped files hold together");
    let mut engine = Engine::new(SHARD, Arc::new(compiled.settings));
    let start = Timestamp::from_seconds(1_800_000_000);
    let (mut position, mut first) = (0, 0_u64);
    let decide = |engine: &mut Engine, position: &mut u64, body: &str| {
        *position += 1;
        let received_at = start + Duration::from_millis(*position);
        let moment = Moment { position: Position(*position), received_at };
        engine.on_input(moment, &Input::Alerts(alertmanager::decode_api(body.as_bytes())))
    };
    for (size, commits) in [(1, 400), (100, 150), (1_000, 20)] {
        let total = size * commits;
        let bodies = quell_benches::bodies(first, total, size, start);
        first += total;
        for body in &bodies {
            let effects = decide(&mut engine, &mut position, body);
            // Who goes first changes, so that neither always finds a warm cache.
            let turn = usize::try_from(position % 2).expect("0 or 1");
            for at in [turn, 1 - turn] {
                rivals[at].commit(&engine, &effects, None).await;
            }
        }
        report(&format!("new alerts, {size} each"), usize::try_from(size).expect("small"), &mut rivals);
    }
    // Repeats of 20,000 alerts are written as one flush.
    for _ in 0..5 {
        for body in &quell_benches::bodies(0, 20_000, 1_000, start) {
            decide(&mut engine, &mut position, body);
        }
        let folds = engine.take_folds();
        for rival in &mut rivals {
            rival.commit(&engine, &Effects::default(), Some(Flush { folds: &folds })).await;
        }
    }
    report("flush of repeats, 20,000", 20_000, &mut rivals);
}
