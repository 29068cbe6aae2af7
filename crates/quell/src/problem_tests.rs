//! The whole way of a problem through log, engine and store: drafted, a known error whose workaround goes to the next
//! incident, a change linked as the fix, and the verdict that quell finds by itself.
//!
//! Absent on purpose: HTTP (`quell-api`) and every branch of the decisions (`quell-engine/tests/problems.rs`).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use prometheus::Registry;
use quell_api::ports::Intake;
use quell_domain::{
    ChangeId, IncidentId, Input, Problem, ProblemAct, ProblemAsk, ProblemCommand, ProblemField, ProblemId,
    ProblemState, Shard, Source, Timestamp, Verdict,
};
use quell_formats::{alertmanager, pagerduty, record, settings};
use quell_log::embedded::{EmbeddedLog, Opened, Options, Tail};
use quell_log::{Clock, OutageBody, Stream};
use quell_store::{ChangeQuery, SqliteStore, Store};

use crate::artefacts::Shelf;
use crate::batch::Memory;
use crate::desk::Desk;
use crate::doors::Doors;
use crate::gauges::Gauges;
use crate::intake::Door;
use crate::live::Published;
use crate::prover::Prover;
use crate::recover;
use crate::shell::{decoded, moment};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const PROBLEM: ProblemId = ProblemId { shard: 0, number: 1 };

/// A clock that stands where it was put.
pub(crate) struct Scripted(pub(crate) AtomicI64);

impl Clock for Scripted {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// A process without its HTTP side, driven by hand.
pub(crate) struct Rig {
    pub(crate) desk: Desk,
    pub(crate) door: Arc<Door>,
    main: Tail<Input>,
    commands: Tail<Input>,
    pub(crate) clock: Arc<Scripted>,
    folder: PathBuf,
}

/// As the log writes that nothing could be received; here the clock jumps wherever time is to pass.
fn outage(from: Timestamp, to: Timestamp) -> Vec<u8> {
    record::encode(&Input::Outage { from, to }).expect("not alerts").1
}

/// The same of a process that was awake all the while.
fn awake(_: Timestamp, to: Timestamp) -> Vec<u8> {
    outage(to, to)
}

impl Rig {
    pub(crate) async fn new(name: &str) -> Rig {
        Rig::with(name, awake).await
    }

    async fn with(name: &str, outage: OutageBody) -> Rig {
        let folder = std::env::temp_dir().join(format!("quell-problem-{name}-{}", std::process::id()));
        // Left behind by a run that was killed.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let clock = Arc::new(Scripted(AtomicI64::new(1_800_000_000_000_000)));
        let log = EmbeddedLog::open::<Input>(&folder, Options::default(), clock.clone(), outage).await;
        let Opened { appender, main, commands, reader, last: _ } = log.expect("the log opens");
        let store = SqliteStore::open(&folder.join("store.db")).await.expect("the store opens");
        let store: Arc<dyn Store> = Arc::new(store);
        let shipped = settings::compile(&settings::shipped()).expect("the shipped files hold together").settings;
        let (engine, restored) = recover::restore(&*store, Shard::FIRST, Arc::new(shipped)).await.expect("restored");
        let published = Arc::new(Published::new(appender.state()));
        let (shard, shelf) = (Shard::FIRST, Arc::new(Shelf::default()));
        let sharding = Arc::new(quell_domain::Sharding::ONE);
        let desk = {
            let memory = Memory {
                shard,
                epoch: restored.epoch,
                store: Arc::clone(&store),
                published: Arc::clone(&published),
                gauges: Arc::new(Gauges::new(&Registry::new()).expect("a new registry has no metrics")),
                sinks: Vec::new(),
                problem_sinks: Vec::new(),
            };
            Desk::new(memory, Arc::clone(&sharding), engine, Arc::clone(&shelf), restored.positions)
        };
        let (appender, reader) = (Arc::new(appender), Arc::new(reader));
        let gauges = Arc::clone(&desk.memory.gauges);
        let door = Arc::new(Door { shard, sharding, appender, reader, store, shelf, published, gauges });
        Rig { desk, door, main, commands, clock, folder }
    }

    /// Does something while the loop goes on.
    pub(crate) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                given = self.commands.recv_many(256) => {
                    for record in given {
                        let moment = moment(&record);
                        self.desk.command(moment, &decoded(&self.desk, record).expect("the log's own"));
                    }
                }
                taken = self.main.recv_many(256) => {
                    for record in taken {
                        let moment = moment(&record);
                        self.desk.apply(moment, &decoded(&self.desk, record).expect("the log's own")).await;
                    }
                }
            }
            self.desk.commit(true).await.expect("the store works");
        }
    }

    /// Lets time pass, and waits until everything before is decided.
    pub(crate) async fn pass(&mut self, time: Duration) {
        let until = self.clock.now() + time;
        self.clock.0.store(until.micros(), Ordering::SeqCst);
        let (door, published) = (Arc::clone(&self.door), Arc::clone(&self.door.published));
        self.beside(async move {
            door.append_input(Stream::Main, Input::Tick).await.expect("appended");
            while published.lag() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// An alert that is over after a while, as Prometheus tells of it.
    pub(crate) async fn trouble(&mut self, name: &str, lasts: Duration) {
        let start = self.clock.now();
        for end in [start + DAY, start + lasts] {
            let alert = format!(
                r#"[{{"labels":{{"alertname":"{name}","instance":"db-1"}},"startsAt":"{start}","endsAt":"{end}"}}]"#
            );
            let batch = alertmanager::decode_api(alert.as_bytes());
            let doors = Doors::alone(&self.door);
            let accepted = async move { doors.accept(Source::AlertmanagerApi, alert.into(), batch).await };
            self.beside(accepted).await.expect("accepted");
            self.pass(lasts).await;
        }
        // Long enough that it does not reopen.
        self.pass(Duration::from_secs(7200)).await;
    }

    async fn ask(&mut self, act: ProblemAct) -> Option<Verdict> {
        let command = ProblemCommand { actor: "ana".into(), ask: ProblemAsk::Of(PROBLEM, act) };
        let doors = Doors::alone(&self.door);
        let asked = async move { doors.problem(command, Duration::from_secs(10)).await };
        self.beside(asked).await.expect("durable").verdict
    }

    async fn prove(&mut self) -> usize {
        let prover = Prover::new(&self.door, self.clock.clone());
        let said = self.beside(prover.round()).await.expect("looked at");
        self.pass(Duration::from_secs(1)).await;
        said
    }

    async fn problem(&self) -> Problem {
        let found = self.door.store.problem(Shard::FIRST, PROBLEM).await.expect("readable");
        found.expect("it was drafted").problem
    }

    async fn told(&self) -> String {
        let found = self.door.store.problem(Shard::FIRST, PROBLEM).await.expect("readable").expect("there");
        found.timeline.last().expect("an entry").reason.to_string()
    }

    async fn incident(&self, number: u64) -> Vec<String> {
        let id = IncidentId { shard: 0, number };
        let found = self.door.store.incident(Shard::FIRST, id, 0).await.expect("readable").expect("there");
        found.timeline.iter().map(|entry| entry.reason.to_string()).collect()
    }

    /// Tells of a change, and gives it as the store has it.
    async fn change(&mut self) -> (ChangeId, Timestamp) {
        let body = r#"{"routing_key":"0123456789abcdef0123456789abcdef","payload":{"summary":"Deploy 7"}}"#;
        let changes = pagerduty::change::decode(body.as_bytes());
        let doors = Doors::alone(&self.door);
        let accepted = async move { doors.changes(Source::PagerDutyChange, body.into(), changes).await };
        self.beside(accepted).await.expect("accepted");
        self.pass(Duration::from_secs(1)).await;
        let query = ChangeQuery { limit: 1, ..ChangeQuery::default() };
        let found = self.door.store.change_events(Shard::FIRST, query).await.expect("readable").items.remove(0);
        (found.id, found.starts_at)
    }

    /// What another process would start from is what this one has in hand.
    async fn check_restored(self) {
        let store = SqliteStore::open(&self.folder.join("store.db")).await.expect("opens again");
        let restored = store.take_over(Shard::FIRST).await.expect("restored");
        assert_eq!(restored.snapshot.problems, self.desk.engine.dump().problems);
    }
}

/// Three troubles in three days, accepted as a known error with a workaround, and a fourth that it helps with.
async fn known_error(name: &str) -> Rig {
    known_error_of(Rig::new(name).await).await
}

async fn known_error_of(mut rig: Rig) -> Rig {
    for _ in 0..3 {
        rig.trouble("DiskFull", 40 * MINUTE).await;
        rig.pass(DAY).await;
    }
    let problem = rig.problem().await;
    assert_eq!((problem.state, problem.title.as_str()), (ProblemState::New, "DiskFull on db-1"));
    assert_eq!(problem.cost.incidents, 3);
    assert!(rig.told().await.starts_with("drafted by quell: 3 incidents of SIG-1"), "{}", rig.told().await);
    assert_eq!(rig.ask(ProblemAct::Accept).await, Some(Verdict::Done));
    let workaround = ProblemField::Workaround(Some("delete old logs".into()));
    assert_eq!(rig.ask(ProblemAct::Set(workaround)).await, Some(Verdict::Done));
    let known = ProblemAct::Move { to: ProblemState::KnownError, why: None };
    assert_eq!(rig.ask(known).await, Some(Verdict::Done));
    rig.trouble("DiskFull", 5 * MINUTE).await;
    let told = rig.incident(4).await;
    assert!(told.contains(&"PRB-1 is a known error; what helps: delete old logs".to_owned()), "{told:?}");
    let problem = rig.problem().await;
    assert_eq!((problem.used, problem.helped, problem.cost.incidents), (1, 1, 4));
    rig.pass(DAY).await;
    rig
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fix_that_works_closes_its_problem() {
    let mut rig = known_error("works").await;
    let (change, since) = rig.change().await;
    assert_eq!(rig.ask(ProblemAct::Link { change, since }).await, Some(Verdict::Done));
    assert_eq!(rig.prove().await, 0, "nothing is known yet");
    assert_eq!(rig.problem().await.state, ProblemState::Verifying);
    for _ in 0..60 {
        rig.pass(DAY).await;
        // Another trouble says nothing of this one.
        rig.trouble("CertExpired", MINUTE).await;
        rig.prove().await;
        if rig.problem().await.state != ProblemState::Verifying {
            break;
        }
    }
    let problem = rig.problem().await;
    assert_eq!(problem.state, ProblemState::Closed, "{problem:?}");
    assert!(rig.told().await.starts_with("closed: the fix works: 0 incidents in "), "{}", rig.told().await);
    assert_eq!(rig.prove().await, 0, "a verdict is said once");
    rig.check_restored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fix_that_does_not_work_reopens_its_problem() {
    let mut rig = known_error("does-not").await;
    let (change, since) = rig.change().await;
    assert_eq!(rig.ask(ProblemAct::Link { change, since }).await, Some(Verdict::Done));
    for _ in 0..40 {
        rig.trouble("DiskFull", 5 * MINUTE).await;
        rig.pass(DAY / 2).await;
        rig.prove().await;
        if rig.problem().await.state != ProblemState::Verifying {
            break;
        }
    }
    let problem = rig.problem().await;
    assert_eq!(problem.state, ProblemState::KnownError, "{problem:?}");
    assert!(rig.told().await.starts_with("reopened: the fix does not work: "), "{}", rig.told().await);
    rig.check_restored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_in_which_nothing_could_be_received_closes_nothing() {
    let mut rig = known_error_of(Rig::with("asleep", outage).await).await;
    let (change, since) = rig.change().await;
    assert_eq!(rig.ask(ProblemAct::Link { change, since }).await, Some(Verdict::Done));
    // As long as it takes for a fix to be seen to work where the process is awake, and longer.
    for _ in 0..90 {
        rig.pass(DAY).await;
        assert_eq!(rig.prove().await, 0);
    }
    assert_eq!(rig.problem().await.state, ProblemState::Verifying);
    let outages = rig.door.store.outages(Shard::FIRST, since).await.expect("readable");
    assert!(outages.len() >= 90, "each day is one: {}", outages.len());
}
