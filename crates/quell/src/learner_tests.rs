//! Learning beside the loop, with a real log, a scripted clock and a store that fails when it is told to.
//!
//! Absent on purpose: what is learned; `quell-engine` and the simulator test that.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use prometheus::{Registry, TextEncoder};
use quell_api::ports::Intake;
use quell_domain::{Alert, ArtefactKind, Incident, Input, Position, Shard, Sharding, Timestamp};
use quell_engine::Settings;
use quell_formats::{record, settings};
use quell_log::embedded::{EmbeddedLog, Opened, Options, Tail};
use quell_log::{Append, Clock, Read, Retention, Stream};
use quell_sim::estate::sample_estate;
use quell_sim::storm::{StormOptions, decode, demo_storm};
use quell_store::{AlertQuery, IncidentQuery, SqliteStore, Store};

use crate::artefacts::Shelf;
use crate::batch::Memory;
use crate::desk::Desk;
use crate::desk_tests::{Failure, Flaky};
use crate::doors::Doors;
use crate::gauges::{Gauges, LearnedGauges};
use crate::intake::Door;
use crate::learner::Learner;
use crate::live::Published;
use crate::recover;
use crate::shell::{decoded, moment};
use crate::traffic::Traffic;

const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// Whoever is waited for longer never comes; a test that waits for ever says nothing.
const PATIENCE: Duration = Duration::from_secs(120);

/// A clock that stands where it was put.
struct Scripted(AtomicI64);

impl Scripted {
    fn set(&self, at: Timestamp) {
        self.0.fetch_max(at.micros(), Ordering::SeqCst);
    }
}

impl Clock for Scripted {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// A process without its HTTP side, driven by hand.
struct Rig {
    desk: Desk,
    door: Arc<Door>,
    main: Tail<Input>,
    learner: Learner,
    registry: Registry,
    clock: Arc<Scripted>,
    folder: PathBuf,
}

fn shipped() -> Arc<Settings> {
    Arc::new(settings::compile(&settings::shipped()).expect("the shipped files hold together").settings)
}

fn fresh(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("quell-learner-{name}-{}", std::process::id()));
    // Left behind by a run that was killed.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
    folder
}

fn outage(from: Timestamp, to: Timestamp) -> Vec<u8> {
    record::encode(&Input::Outage { from, to }).expect("not alerts").1
}

impl Rig {
    /// Opens what lies in a folder; the first `failures` reads of history fail.
    async fn open(folder: &Path, clock: Arc<Scripted>, failures: u32) -> Rig {
        let log = EmbeddedLog::open::<Input>(folder, Options::default(), clock.clone(), outage).await;
        let Opened { appender, main, commands: _, reader, last } = log.expect("the log opens");
        let appender: Arc<dyn Append<Input>> = Arc::new(appender);
        let reader: Arc<dyn Read<Input>> = Arc::new(reader);
        let inner = SqliteStore::open(&folder.join("store.db")).await.expect("the store opens");
        let store: Arc<dyn Store> = Arc::new(Flaky { inner, failure: Failure::Unread, left: AtomicU32::new(failures) });
        let (engine, restored) = recover::restore(&*store, Shard::FIRST, shipped()).await.expect("restored");
        let (registry, shelf) = (Registry::new(), Arc::new(Shelf::default()));
        let published = Arc::new(Published::new(appender.state()));
        let (shard, sharding) = (Shard::FIRST, Arc::new(Sharding::ONE));
        let mut desk = {
            let memory = Memory {
                shard,
                epoch: restored.epoch,
                store: Arc::clone(&store),
                published: Arc::clone(&published),
                gauges: Arc::new(Gauges::new(&registry).expect("a new registry has no metrics")),
                sinks: Vec::new(),
                problem_sinks: Vec::new(),
            };
            Desk::new(memory, Arc::clone(&sharding), engine, Arc::clone(&shelf), restored.positions)
        };
        recover::catch_up(&mut desk, &reader, restored.positions.applied, last).await.expect("caught up");
        let gauges = Arc::clone(&desk.memory.gauges);
        let door = Arc::new(Door { shard, sharding, appender, reader, store, shelf, published, gauges });
        let gauges = LearnedGauges::new(&registry).expect("of other names");
        let learner = Learner::new(&door, clock.clone(), shipped().correlation.max_hops, gauges);
        Rig { desk, door, main, learner, registry, clock, folder: folder.to_owned() }
    }

    /// A new installation with the sample estate.
    async fn new(name: &str, failures: u32) -> Rig {
        let clock = Arc::new(Scripted(AtomicI64::new(START.micros())));
        let mut rig = Rig::open(&fresh(name), clock, failures).await;
        let doors = Doors::alone(&rig.door);
        rig.beside(async move { doors.topology(sample_estate()).await.expect("activated") }).await;
        rig
    }

    /// Does something while the loop goes on.
    async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let mut patience = std::pin::pin!(tokio::time::sleep(PATIENCE));
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = &mut patience => {
                    let (lag, log) = (self.door.published.lag(), self.door.appender.state());
                    panic!("it does not end; {lag} records are not applied, the log is {:?}", *log.borrow());
                }
                taken = self.main.recv_many(256) => {
                    for record in taken {
                        let moment = moment(&record);
                        let input = decoded(&self.desk, record).expect("the log's own");
                        self.desk.apply(moment, &input).await;
                    }
                    let committed = tokio::time::timeout(PATIENCE, self.desk.commit(true)).await;
                    committed.expect("the store answers").expect("the store works");
                }
            }
        }
    }

    /// One look of the learner's.
    async fn round(&mut self, enabled: bool) -> anyhow::Result<()> {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let spare = LearnedGauges::new(&Registry::new()).expect("a new registry has no metrics");
        let mut learner = std::mem::replace(&mut self.learner, Learner::new(&self.door, clock, 1, spare));
        let done = self.beside(learner.round(enabled)).await;
        self.learner = learner;
        done
    }

    /// Ten minutes of trouble, told by the clock; no two requests further apart than the log calls an outage.
    async fn storm(&mut self, seed: u64) {
        let start = self.clock.now() + Duration::from_secs(60);
        for post in demo_storm(&sample_estate(), StormOptions { seed, start, pace: 1.0 }).posts {
            self.pass(start + Duration::from_secs_f64(post.at_seconds.max(0.0))).await;
            let batch = decode(post.source, post.body.as_bytes());
            let doors = Doors::alone(&self.door);
            let body = post.body.into_bytes().into();
            self.beside(async move { doors.accept(post.source, body, batch).await.expect("accepted") }).await;
        }
    }

    /// As many episodes as are worth learning from.
    async fn history(&mut self) {
        for seed in 1..=3 {
            self.storm(seed).await;
        }
        let seen = self.desk.engine.checkpoint().last_alert;
        assert!(seen >= 100, "{seen} episodes");
    }

    async fn pass(&mut self, until: Timestamp) {
        while self.clock.now() < until {
            self.clock.set(until.min(self.clock.now() + Duration::from_secs(10)));
            let door = Arc::clone(&self.door);
            self.beside(async move { door.append_input(Stream::Main, Input::Tick).await.expect("appended") }).await;
        }
        self.settle().await;
    }

    async fn settle(&mut self) {
        let published = Arc::clone(&self.door.published);
        self.beside(async move {
            while published.lag() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Ends it in good order and opens it again.
    async fn restart(mut self) -> Rig {
        self.settle().await;
        let Rig { desk, door, learner, main, clock, folder, registry: _ } = self;
        door.appender.close().await;
        drop((desk, learner, main, door));
        Rig::open(&folder, clock, 0).await
    }

    /// When learned state came into force, the latest first.
    async fn learned(&self) -> Vec<Timestamp> {
        let versions = self.door.store.versions(Shard::FIRST, ArtefactKind::Learned, Timestamp::MAX, 99).await;
        versions.expect("readable").iter().map(|version| version.at).collect()
    }

    /// What was decided, without the places on the log, which a restart moves.
    async fn decided(&mut self) -> Vec<String> {
        self.settle().await;
        let alerts = AlertQuery { limit: 10_000, ..AlertQuery::default() };
        let incidents = IncidentQuery { state: None, before: None, limit: 10_000 };
        let alerts = self.door.store.alerts(Shard::FIRST, alerts).await.expect("readable").items;
        let incidents = self.door.store.incidents(Shard::FIRST, incidents).await.expect("readable").items;
        alerts.iter().map(alert).chain(incidents.iter().map(incident)).collect()
    }

    fn metrics(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("text")
    }
}

fn alert(alert: &Alert) -> String {
    let membership = alert.membership.as_ref().map(ToString::to_string);
    format!("{:?} {:?} {:?} {:?} {membership:?}", alert.id, alert.state, alert.incident, alert.twin_of)
}

fn incident(incident: &Incident) -> String {
    let Incident { id, title, state, priority, causes, alerts, firing, opened_at, .. } = incident;
    format!("{id} {title} {state:?} {priority:?} {alerts} {firing} {opened_at} {causes:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_learns_when_enough_was_seen_and_not_again_after_a_restart() {
    let mut rig = Rig::new("due", 0).await;
    rig.round(true).await.expect("nothing to do");
    assert_eq!(rig.learned().await, []);
    assert!(rig.metrics().contains("quell_learned_episodes 0"), "{}", rig.metrics());
    rig.history().await;
    let at = rig.clock.now();
    rig.round(false).await.expect("switched off");
    assert_eq!(rig.learned().await, []);
    rig.round(true).await.expect("learned");
    assert_eq!(rig.learned().await, [at]);
    assert_eq!(rig.desk.engine.checkpoint().learned.map(|_| ()), Some(()), "the engine has it");
    rig.round(true).await.expect("nothing to do");
    assert!(rig.metrics().contains("quell_learned_trainings_total{outcome=\"activated\"} 1"), "{}", rig.metrics());
    assert!(!rig.metrics().contains("quell_learned_episodes 0"), "{}", rig.metrics());
    let mut rig = rig.restart().await;
    rig.round(true).await.expect("nothing to do");
    assert_eq!(rig.learned().await, [at], "a restart teaches nothing");
    // An hour later one more is reason enough.
    rig.pass(at + Duration::from_secs(3601)).await;
    rig.round(true).await.expect("nothing to do");
    assert_eq!(rig.learned().await, [at], "nothing new was seen");
    rig.storm(9).await;
    rig.round(true).await.expect("learned");
    assert_eq!(rig.learned().await, [rig.clock.now(), at]);
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_3_what_was_learned_decides_the_same_after_a_restart_and_in_a_replay() {
    let mut decided = Vec::new();
    for (name, learns, restarts) in [("through", true, false), ("again", true, true), ("never", false, false)] {
        let mut rig = Rig::new(name, 0).await;
        rig.history().await;
        rig.round(learns).await.expect("done");
        if restarts {
            rig = rig.restart().await;
        }
        rig.storm(9).await;
        decided.push(rig.decided().await);
        let traffic = Traffic::of_directory(&rig.folder, None, None, None).await.expect("readable");
        let (replay, _) = traffic.play(shipped()).await.expect("played");
        let ledger = replay.finish();
        let mut replayed: Vec<String> = ledger.incidents.values().map(incident).collect();
        replayed.reverse();
        let live = decided.last().expect("just pushed");
        assert_eq!(live[live.len() - replayed.len()..], replayed, "{name}");
    }
    assert_eq!(decided[0], decided[1]);
    assert_ne!(decided[0], decided[2], "what was learned makes a difference");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_read_is_counted_and_intake_goes_on() {
    let mut rig = Rig::new("unread", 2).await;
    rig.history().await;
    for failed in 1..=2 {
        let error = rig.round(true).await.expect_err("the store does not answer");
        assert!(format!("{error:#}").contains("latest alerts"), "{error:#}");
        let wanted = format!("quell_learned_trainings_total{{outcome=\"failed\"}} {failed}");
        assert!(rig.metrics().contains(&wanted), "{}", rig.metrics());
    }
    let before = rig.decided().await.len();
    rig.storm(9).await;
    assert!(rig.decided().await.len() > before, "alerts are decided all the same");
    rig.round(true).await.expect("the store answers again");
    assert_eq!(rig.learned().await, [rig.clock.now()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_6_superseded_state_goes_when_the_log_no_longer_needs_it() {
    let mut rig = Rig::new("kept", 0).await;
    rig.history().await;
    for seed in 1..=4 {
        rig.storm(seed).await;
        rig.pass(rig.clock.now() + Duration::from_secs(3601)).await;
        rig.round(true).await.expect("learned");
    }
    assert_eq!(rig.learned().await.len(), 4, "the log can be replayed from its start");
    let versions = rig.door.store.versions(Shard::FIRST, ArtefactKind::Learned, Timestamp::MAX, 9).await;
    let versions = versions.expect("readable");
    // Records up to the one before the third are kept no longer.
    let before = versions[1].at;
    let needed = [Position(u64::MAX), Position(u64::MAX)];
    rig.door.appender.trim(Retention { needed, before: Some(before), max_bytes: None }).await.expect("trimmed");
    rig.round(true).await.expect("nothing to learn");
    let kept = rig.door.store.versions(Shard::FIRST, ArtefactKind::Learned, Timestamp::MAX, 9).await;
    let kept = kept.expect("readable");
    assert!(kept.len() < 4 && kept.contains(&versions[0]) && kept.contains(&versions[1]), "{kept:?}");
    for version in &versions {
        let bytes = rig.door.store.artefact(ArtefactKind::Learned, version.activation.digest).await;
        assert_eq!(bytes.expect("readable").is_some(), kept.contains(version), "{version:?}");
    }
    let traffic = Traffic::of_directory(&rig.folder, None, None, None).await.expect("readable");
    traffic.play(shipped()).await.expect("whatever is left of the log can be replayed");
}
