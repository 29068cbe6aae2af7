//! Remember, tell, let go, with a store that fails when it is told to. Absent on purpose: the real loop and the real
//! log; processes are tortured elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use prometheus::Registry;
use quell_api::ports::Live;
use quell_domain::{
    Alert, AlertId, ArtefactKind, Command, CommandKind, Digest, Feedback, Fingerprint, HistoricIncident, Incident,
    IncidentId, Input, KeptForecast, KeptModel, KnownSignature, Moment, Outcome, Position, Shard, SignatureId, Subject,
    Timestamp, Verdict,
};
use quell_engine::{Checkpoint, Engine, Parked};
use quell_formats::{alertmanager, settings};
use quell_log::LogState;
use quell_store::contract::Answer;
use quell_store::{
    AlertQuery, Change, ChangeQuery, Commit, Committed, Delivery, IncidentDetail, IncidentQuery, Page, Positions,
    Restored, SqliteStore, Store, StoreError,
};
use tokio::sync::watch;

use crate::artefacts::Shelf;
use crate::batch::Memory;
use crate::desk::Desk;
use crate::gauges::Gauges;
use crate::live::Published;

/// How a commit fails.
#[derive(Clone, Copy)]
pub(crate) enum Failure {
    Full,
    Fenced,
    /// Commits succeed, and reading the latest alerts fails.
    Unread,
    /// Commits succeed, and reading an artefact fails.
    Silent,
    /// A commit with an alert named Poison never succeeds.
    Poison,
}

/// A store whose first calls fail.
pub(crate) struct Flaky {
    pub(crate) inner: SqliteStore,
    pub(crate) failure: Failure,
    pub(crate) left: AtomicU32,
}

impl Flaky {
    fn fails(&self) -> bool {
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

macro_rules! pass_on {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $out:ty;)*) => {
        $(fn $name(&self, $($arg: $kind),*) -> Answer<'_, $out> { self.inner.$name($($arg),*) })*
    };
}

impl quell_store::ProblemStore for Flaky {
    fn problems_due<'a>(
        &'a self,
        shard: Shard,
        sink: &'a str,
        now: Timestamp,
        limit: u32,
    ) -> Answer<'a, Vec<quell_store::ProblemDelivery>> {
        self.inner.problems_due(shard, sink, now, limit)
    }

    pass_on! {
        problems(shard: Shard, query: quell_store::ProblemQuery) -> Page<quell_domain::Problem, quell_domain::ProblemId>;
        problem(shard: Shard, id: quell_domain::ProblemId) -> Option<quell_store::ProblemDetail>;
        signature(shard: Shard, id: SignatureId) -> Option<KnownSignature>;
        signatures(shard: Shard, before: Option<SignatureId>, limit: u32) -> Page<KnownSignature, SignatureId>;
        recognition(shard: Shard, incident: IncidentId) -> Option<quell_domain::Recognition>;
        recognised(shard: Shard, query: quell_store::RecognisedQuery) -> Vec<quell_domain::Recognition>;
        recognised_since(shard: Shard) -> Option<Timestamp>;
        outages(shard: Shard, after: Timestamp) -> Vec<quell_domain::Outage>;
    }
}

impl quell_store::ForecastStore for Flaky {
    fn keep_forecasts<'a>(&'a self, shard: Shard, rows: &'a [KeptForecast]) -> Answer<'a, ()> {
        self.inner.keep_forecasts(shard, rows)
    }

    fn mark_forecasts<'a>(&'a self, shard: Shard, rows: &'a [KeptForecast]) -> Answer<'a, ()> {
        self.inner.mark_forecasts(shard, rows)
    }

    fn put_model<'a>(&'a self, shard: Shard, model: &'a KeptModel) -> Answer<'a, ()> {
        self.inner.put_model(shard, model)
    }

    fn add_history<'a>(&'a self, shard: Shard, incidents: &'a [HistoricIncident]) -> Answer<'a, u64> {
        self.inner.add_history(shard, incidents)
    }

    fn forecasts_of<'a>(
        &'a self,
        shard: Shard,
        of: Subject,
        horizon: u32,
        names: &'a [String],
        limit: u32,
    ) -> Answer<'a, Vec<KeptForecast>> {
        self.inner.forecasts_of(shard, of, horizon, names, limit)
    }

    pass_on! {
        forecasts(shard: Shard, of: Subject, horizon: u32, which: quell_store::Which, limit: u32) -> Vec<KeptForecast>;
        model(shard: Shard, of: Subject, horizon: u32) -> Option<KeptModel>;
        history(shard: Shard, after: u64, limit: u32) -> Vec<(u64, HistoricIncident)>;
    }
}

fn is_poison(change: &quell_engine::AlertChange) -> bool {
    change.row().is_some_and(|alert| alert.name() == "Poison")
}

impl Store for Flaky {
    fn commit<'a>(&'a self, commit: Commit<'a>, sinks: &'a [String]) -> Answer<'a, Committed> {
        match self.failure {
            Failure::Full if self.fails() => Box::pin(async { Err(StoreError::DiskFull { operation: "commit" }) }),
            Failure::Fenced if self.fails() => {
                let epoch = commit.epoch;
                Box::pin(async move { Err(StoreError::Fenced { operation: "commit", epoch }) })
            }
            Failure::Poison if commit.effects.alerts.iter().any(is_poison) => Box::pin(async {
                let (what, why) = ("a row written".to_owned(), "a constraint".to_owned());
                Err(StoreError::Damaged { operation: "commit", what, why })
            }),
            Failure::Full | Failure::Fenced | Failure::Unread | Failure::Silent | Failure::Poison => {
                self.inner.commit(commit, sinks)
            }
        }
    }

    fn artefact(&self, kind: ArtefactKind, digest: Digest) -> Answer<'_, Option<Vec<u8>>> {
        if matches!(self.failure, Failure::Silent) && self.fails() {
            return Box::pin(async { Err(StoreError::DiskFull { operation: "artefact" }) });
        }
        self.inner.artefact(kind, digest)
    }

    fn latest_alerts(&self, shard: Shard, before: Option<AlertId>, limit: u32) -> Answer<'_, Vec<Alert>> {
        if matches!(self.failure, Failure::Unread) && self.fails() {
            return Box::pin(async { Err(StoreError::DiskFull { operation: "latest alerts" }) });
        }
        self.inner.latest_alerts(shard, before, limit)
    }

    fn put_artefact<'a>(&'a self, kind: ArtefactKind, digest: Digest, bytes: &'a [u8]) -> Answer<'a, ()> {
        self.inner.put_artefact(kind, digest, bytes)
    }

    fn keep_sharding<'a>(&'a self, sharding: &'a quell_domain::Sharding) -> Answer<'a, quell_domain::Sharding> {
        self.inner.keep_sharding(sharding)
    }

    fn due<'a>(&'a self, shard: Shard, sink: &'a str, now: Timestamp, limit: u32) -> Answer<'a, Vec<Delivery>> {
        self.inner.due(shard, sink, now, limit)
    }

    fn delivered<'a>(&'a self, id: &'a str, at: Timestamp) -> Answer<'a, ()> {
        self.inner.delivered(id, at)
    }

    fn failed<'a>(&'a self, id: &'a str, at: Timestamp, why: &'a str, retry: Option<Duration>) -> Answer<'a, ()> {
        self.inner.failed(id, at, why, retry)
    }

    pass_on! {
        sharding() -> Option<quell_domain::Sharding>;
        take_over(shard: Shard) -> Restored;
        versions(shard: Shard, kind: ArtefactKind, at: Timestamp, limit: u32) -> Vec<quell_store::Version>;
        drop_superseded(shard: Shard, kind: ArtefactKind, before: Position) -> u64;
        last_alert(shard: Shard, through: Position) -> Option<AlertId>;
        position(shard: Shard) -> (Positions, Checkpoint);
        incidents(shard: Shard, query: IncidentQuery) -> Page<Incident, IncidentId>;
        incident(shard: Shard, id: IncidentId, alerts: u32) -> Option<IncidentDetail>;
        alerts(shard: Shard, query: AlertQuery) -> Page<Alert, AlertId>;
        episodes(shard: Shard, fingerprint: Fingerprint, through: Position) -> Vec<Alert>;
        parked_of(shard: Shard, position: Position) -> Vec<Parked>;
        parked(shard: Shard, limit: u32) -> Vec<Parked>;
        outcomes(shard: Shard, after: Position, limit: u32) -> Vec<Outcome>;
        feedback(shard: Shard, limit: u32) -> Vec<Feedback>;
        change_events(shard: Shard, query: ChangeQuery) -> Page<quell_domain::Change, quell_domain::ChangeId>;
        changes_since(shard: Shard, number: u64, limit: u32) -> Vec<Change>;
        newest_change(shard: Shard) -> u64;
        forget_before(shard: Shard, before: Timestamp) -> u64;
    }
}

/// A desk over a new store whose first `failures` commits fail.
async fn desk(name: &str, failure: Failure, failures: u32) -> Desk {
    let folder = std::env::temp_dir().join(format!("quell-desk-{name}-{}", std::process::id()));
    // Left behind by a run that was killed.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
    let inner = SqliteStore::open(&folder.join("store.db")).await.expect("a new store opens");
    let store: Arc<dyn Store> = Arc::new(Flaky { inner, failure, left: AtomicU32::new(failures) });
    let settings = settings::compile(&settings::shipped()).expect("the shipped files hold together").settings;
    let restored = store.take_over(Shard::FIRST).await.expect("a new store is free");
    // The channel's other end may go: the log of these tests stays open.
    let (_, log) = watch::channel(LogState::Open);
    let memory = Memory {
        shard: Shard::FIRST,
        epoch: restored.epoch,
        store,
        published: Arc::new(Published::new(log)),
        gauges: Arc::new(Gauges::new(&Registry::new()).expect("a new registry has no metrics")),
        sinks: vec!["pager".to_owned()],
        problem_sinks: Vec::new(),
    };
    let engine = Engine::new(Shard::FIRST, Arc::new(settings));
    let mut desk = Desk::new(memory, Arc::default(), engine, Arc::new(Shelf::default()), restored.positions);
    desk.forced = false;
    desk
}

fn moment(position: u64) -> Moment {
    Moment { position: Position(position), received_at: Timestamp::from_seconds(1_800_000_000) }
}

fn firing() -> Input {
    Input::Alerts(alertmanager::decode_api(br#"[{"labels":{"alertname":"Down","instance":"db-1"}}]"#))
}

#[tokio::test(start_paused = true)]
async fn inv_5_nothing_is_told_before_it_is_remembered() {
    let mut desk = desk("told", Failure::Full, 3).await;
    let published = Arc::clone(&desk.memory.published);
    let mut changes = published.changes();
    desk.apply(moment(1), &firing()).await;
    published.appended(Position(1));
    {
        let mut commit: BoxFuture<'_, anyhow::Result<()>> = Box::pin(desk.commit(false));
        // The first attempts fail: nothing may have been said, and the record still counts as undecided.
        let waiting = tokio::time::timeout(Duration::from_millis(60), &mut commit).await;
        assert!(waiting.is_err(), "the store was full and the commit is done");
        assert!(changes.try_recv().is_err());
        assert_eq!(published.lag(), 1);
        assert!(published.health().degraded.iter().any(|text| text.contains("store")));
        commit.await.expect("the store has room again");
    }
    assert_eq!(changes.try_recv().expect("told").incident.to_string(), "INC-1");
    assert_eq!((published.lag(), published.health().degraded), (0, vec![]));
    // The database's own threads are waited for in real time.
    tokio::time::resume();
    let due = desk.memory.store.due(Shard::FIRST, "pager", Timestamp::MAX, 10).await.expect("readable");
    assert_eq!(due.len(), 1, "one notice for the one sink, however often the commit was tried");
}

#[tokio::test(start_paused = true)]
async fn what_is_decided_while_the_store_is_at_work_waits_for_its_turn() {
    let mut desk = desk("beside", Failure::Full, 3).await;
    let published = Arc::clone(&desk.memory.published);
    let mut changes = published.changes();
    let alert = |name: &str| {
        let body = format!(r#"[{{"labels":{{"alertname":"{name}","instance":"{name}"}}}}]"#);
        Input::Alerts(alertmanager::decode_api(body.as_bytes()))
    };
    published.appended(Position(3));
    desk.apply(moment(1), &alert("One")).await;
    desk.commit_beside(false, 1_000).await.expect("under way");
    desk.apply(moment(2), &alert("Two")).await;
    desk.apply(moment(3), &alert("One")).await;
    desk.commit_beside(false, 1_000).await.expect("too little to wait for the store");
    assert!(changes.try_recv().is_err());
    assert_eq!((published.lag(), desk.weight() > 0), (3, true));
    desk.made().await;
    assert!(changes.try_recv().is_err(), "told by the loop, not beside it");
    desk.tell_made().await.expect("the store has room again");
    assert_eq!(changes.try_recv().expect("told").incident.to_string(), "INC-1");
    assert_eq!(published.lag(), 2, "only the first is remembered");
    // The database's own threads are waited for in real time.
    tokio::time::resume();
    let (positions, _) = desk.memory.store.position(Shard::FIRST).await.expect("readable");
    assert_eq!(positions.applied, Position(1));
    desk.commit(true).await.expect("the store works");
    assert_eq!(changes.try_recv().expect("told").incident.to_string(), "INC-2");
    assert_eq!(published.lag(), 0);
    let query = AlertQuery { limit: 10, ..AlertQuery::default() };
    let alerts = desk.memory.store.alerts(Shard::FIRST, query).await.expect("readable").items;
    assert_eq!(alerts.iter().map(|alert| (alert.name(), alert.count)).collect::<Vec<_>>(), [("Two", 1), ("One", 2)]);
}

#[tokio::test]
async fn an_artefact_is_waited_for_while_the_store_is_away() {
    let mut desk = desk("artefact", Failure::Silent, 2).await;
    let bytes = quell_formats::topology::encode(&quell_domain::Topology::default());
    let digest = quell_formats::topology::digest(&bytes);
    desk.memory.store.put_artefact(ArtefactKind::Topology, digest, &bytes).await.expect("kept");
    let activation = quell_domain::Activation { kind: ArtefactKind::Topology, digest };
    desk.apply(moment(1), &Input::Activate(activation)).await;
    assert_eq!(desk.engine.checkpoint().topology, Some(digest), "as at a run whose store was never away");
    assert!(desk.memory.published.is_store_away(), "until the next commit");
    desk.commit(false).await.expect("the store works");
    assert!(!desk.memory.published.is_store_away());
}

#[tokio::test]
async fn a_shard_taken_over_by_another_stops_the_writer() {
    let mut desk = desk("fenced", Failure::Fenced, 1).await;
    desk.apply(moment(1), &firing()).await;
    let error = desk.commit(false).await.expect_err("the epoch is another's");
    assert!(format!("{error:#}").contains("epoch"), "{error:#}");
    assert!(desk.memory.published.changes().try_recv().is_err());
}

#[tokio::test]
async fn repeats_alone_commit_nothing_until_they_are_flushed() {
    let mut desk = desk("repeats", Failure::Full, 0).await;
    for position in 1..=100 {
        desk.apply(moment(position), &firing()).await;
        desk.commit(false).await.expect("the store works");
    }
    let (positions, _) = desk.memory.store.position(Shard::FIRST).await.expect("readable");
    assert_eq!((positions.applied, positions.folded), (Position(1), Position::START));
    assert_eq!(desk.memory.published.lag(), 0);
    desk.commit(true).await.expect("the store works");
    let (positions, _) = desk.memory.store.position(Shard::FIRST).await.expect("readable");
    assert_eq!((positions.applied, positions.folded), (Position(100), Position(100)));
    let query = AlertQuery { limit: 10, ..AlertQuery::default() };
    let alerts = desk.memory.store.alerts(Shard::FIRST, query).await.expect("readable").items;
    assert_eq!(alerts.iter().map(|alert| alert.count).collect::<Vec<_>>(), [100]);
}

#[tokio::test]
async fn whoever_waits_for_a_command_is_answered_after_it_is_remembered() {
    let mut desk = desk("command", Failure::Full, 0).await;
    desk.apply(moment(1), &firing()).await;
    let incident = IncidentId { shard: 0, number: 1 };
    let command = Command { incident, actor: "ana".into(), kind: CommandKind::Acknowledge };
    desk.command(moment(1), &Input::Command(command));
    assert_eq!(desk.memory.published.verdict(Position(1), Duration::from_millis(1)).await, None);
    desk.commit(false).await.expect("the store works");
    assert_eq!(desk.memory.published.verdict(Position(1), Duration::from_secs(1)).await, Some(Verdict::Done));
    let detail = desk.memory.store.incident(Shard::FIRST, incident, 10).await.expect("readable").expect("there");
    assert_eq!(detail.incident.acknowledged_by.as_deref(), Some("ana"));
}

/// A log that is only read.
struct Kept(Vec<quell_log::Record<Input>>);

impl quell_log::Read<Input> for Kept {
    fn read(
        &self,
        stream: quell_log::Stream,
        from: Position,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<quell_log::Record<Input>>, quell_log::ReadError>> {
        let wanted = self.0.iter().filter(|record| record.stamp.stream == stream && record.stamp.position >= from);
        let wanted: Vec<_> = wanted.take(limit).cloned().collect();
        Box::pin(std::future::ready(Ok(wanted)))
    }
}

#[tokio::test]
async fn a_record_whose_commit_never_succeeds_is_put_aside_and_the_rest_is_decided() {
    use quell_log::{DeadLetters as _, FileLetters, Record, Stamp, Stream};
    let mut desk = desk("poison", Failure::Poison, 0).await;
    let body = |name: &str| format!(r#"[{{"labels":{{"alertname":"{name}","instance":"db-1"}}}}]"#);
    let record = |at: u64, name: &str| Record {
        stamp: Stamp {
            stream: Stream::Main,
            position: Position(at),
            received_at: Timestamp::from_seconds(1_800_000_000),
        },
        kind: quell_domain::RecordKind::Alerts(quell_domain::Source::AlertmanagerApi),
        body: body(name).into(),
        carry: None,
        origin: None,
        context: bytes::Bytes::new(),
        damage: None,
    };
    let log = vec![record(1, "First"), record(2, "Poison"), record(3, "First"), record(4, "Last")];
    let folder = std::env::temp_dir().join(format!("quell-letters-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let letters = FileLetters::new(&folder);
    let registry = Registry::new();
    let clock = Arc::new(crate::clock::SystemClock);
    let aside = crate::aside::Aside::new(Arc::new(letters.clone()), clock, &registry).expect("no metrics yet");
    let settings = settings::compile(&settings::shipped()).expect("the shipped files hold together").settings;
    desk.rescue = Some(crate::aside::Rescue {
        aside: Arc::new(aside),
        reader: Arc::new(Kept(log.clone())),
        settings: Arc::new(settings),
    });
    for record in log {
        let moment = crate::shell::moment(&record);
        let input = desk.input(record).await.expect("it can be decoded");
        desk.apply(moment, &input).await;
        // The last two are decided while the store refuses the second.
        desk.commit_beside(false, 3).await.expect("what is refused is under way");
    }
    desk.commit(true).await.expect("without the poison the store works");
    let query = AlertQuery { limit: 10, ..AlertQuery::default() };
    let alerts = desk.memory.store.alerts(Shard::FIRST, query).await.expect("readable").items;
    let found: Vec<_> = alerts.iter().map(|alert| (alert.name(), alert.count)).collect();
    assert_eq!(found, [("Last", 1), ("First", 2)]);
    let (positions, _) = desk.memory.store.position(Shard::FIRST).await.expect("readable");
    assert_eq!((positions.applied, positions.folded), (Position(4), Position(4)), "nothing stands still");
    let aside = letters.list(9).await.expect("readable");
    let found: Vec<_> = aside.iter().map(|one| (&*one.id, &*one.code, &one.body[..])).collect();
    assert_eq!(found, [("main-2", "uncommittable", body("Poison").as_bytes())]);
    std::fs::remove_dir_all(&folder).expect("removable");
}
