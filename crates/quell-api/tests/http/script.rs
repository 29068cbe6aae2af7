//! Ports and a store that do as the test says, and helpers to ask the router.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use quell_api::ports::{Activated, Commanded, Health, Intake, Live, Received, Refusal};
use quell_api::{Api, ApiLimits, Metrics, Serves, router};
use quell_cmdb::Graph;
use quell_domain::{
    Alert, AlertId, AlertState, ArtefactKind, Batch, Binding, BlastRadius, Cause, ChangeId, Changes, CiId, Command,
    Criticality, Digest, Ending, Feedback, Fingerprint, Impact, Incident, IncidentId, IncidentState, Labels, Outcome,
    Position, Priority, Reason, ReceiptId, ServiceAtRisk, Severity, Shard, Source, TimelineEntry, Timestamp, Topology,
    Urgency, Verdict,
};
use quell_engine::{Checkpoint, Parked};
use quell_store::contract::Answer;
use quell_store::{
    AlertQuery, Change, ChangeQuery, Commit, Committed, Delivery, IncidentDetail, IncidentQuery, Page, Positions,
    Restored, Store, Version,
};
use serde_json::Value;
use tokio::sync::broadcast;
use tower::ServiceExt;

/// What the ports and the store have and were asked.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) refusal: Option<Refusal>,
    pub(crate) hang: bool,
    pub(crate) accepted: Vec<(Source, Bytes, Batch)>,
    pub(crate) accepted_changes: Vec<(Bytes, Changes)>,
    /// What is accepted has no place on the log yet.
    pub(crate) spooling: bool,
    pub(crate) told: Vec<quell_domain::Change>,
    pub(crate) asked: Option<ChangeQuery>,
    pub(crate) commands: Vec<Command>,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) records: BTreeMap<Position, Received>,
    pub(crate) incidents: Vec<IncidentDetail>,
    pub(crate) alerts: Vec<Alert>,
    pub(crate) parked: Vec<Parked>,
    pub(crate) feedback: Vec<Feedback>,
    pub(crate) applied: Position,
    pub(crate) changes: Vec<Change>,
    pub(crate) health: Health,
    pub(crate) graph: Arc<Graph>,
    pub(crate) versions: Vec<Version>,
    pub(crate) artefacts: BTreeMap<Digest, Vec<u8>>,
    pub(crate) problems: Vec<quell_store::ProblemDetail>,
    pub(crate) recognitions: Vec<quell_domain::Recognition>,
    pub(crate) forecasts: Vec<quell_domain::KeptForecast>,
    pub(crate) imported: Vec<quell_domain::HistoricIncident>,
    pub(crate) asked_problems: Vec<quell_domain::ProblemCommand>,
}

/// The ports and the store.
pub(crate) struct Script {
    pub(crate) state: Mutex<State>,
    pub(crate) told: broadcast::Sender<Change>,
}

pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

impl Script {
    pub(crate) fn new() -> Arc<Script> {
        Arc::new(Script { state: Mutex::default(), told: broadcast::channel(16).0 })
    }

    pub(crate) fn set(self: &Arc<Self>, change: impl FnOnce(&mut State)) -> Arc<Script> {
        change(&mut self.state.lock().expect("no test panics while it holds this"));
        self.clone()
    }

    pub(crate) fn get<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.lock().expect("no test panics while it holds this"))
    }

    pub(crate) fn router(self: &Arc<Self>) -> Router {
        self.router_with(ApiLimits::default())
    }

    pub(crate) fn router_with(self: &Arc<Self>, limits: ApiLimits) -> Router {
        router(self.api(limits))
    }

    pub(crate) fn api(self: &Arc<Self>, limits: ApiLimits) -> Api {
        Api {
            intake: self.clone(),
            live: self.clone(),
            store: self.clone(),
            metrics: Arc::new(Metrics::new(prometheus::Registry::new()).expect("an empty registry")),
            sharding: Arc::new(quell_domain::Sharding::ONE),
            serves: Serves { senders: true, people: true },
            limits,
            now: Arc::new(|| NOW),
            person_hour: Some(quell_api::PersonHour { price: 80.0, currency: "EUR".to_owned() }),
        }
    }

    async fn gate(&self) -> Result<(), Refusal> {
        let (hang, refusal) = self.get(|state| (state.hang, state.refusal));
        if hang {
            std::future::pending::<()>().await;
        }
        refusal.map_or(Ok(()), Err)
    }
}

impl Intake for Script {
    fn accept(&self, source: Source, body: Bytes, batch: Batch) -> BoxFuture<'_, Result<Option<ReceiptId>, Refusal>> {
        Box::pin(async move {
            self.gate().await?;
            let mut state = self.state.lock().expect("not poisoned");
            state.accepted.push((source, body, batch));
            let receipt = ReceiptId { shard: 0, position: Position(state.accepted.len() as u64) };
            Ok((!state.spooling).then_some(receipt))
        })
    }

    fn changes(&self, _: Source, body: Bytes, changes: Changes) -> BoxFuture<'_, Result<Option<ReceiptId>, Refusal>> {
        Box::pin(async move {
            self.gate().await?;
            let mut state = self.state.lock().expect("not poisoned");
            state.accepted_changes.push((body, changes));
            let receipt = ReceiptId { shard: 0, position: Position(state.accepted_changes.len() as u64) };
            Ok((!state.spooling).then_some(receipt))
        })
    }

    fn command(&self, command: Command, _patience: Duration) -> BoxFuture<'_, Result<Commanded, Refusal>> {
        Box::pin(async move {
            self.gate().await?;
            let mut state = self.state.lock().expect("not poisoned");
            state.commands.push(command);
            Ok(Commanded { position: Position(state.commands.len() as u64), verdict: state.verdict })
        })
    }

    fn problem(
        &self,
        command: quell_domain::ProblemCommand,
        _patience: Duration,
    ) -> BoxFuture<'_, Result<Commanded, Refusal>> {
        Box::pin(async move {
            self.gate().await?;
            let mut state = self.state.lock().expect("not poisoned");
            state.asked_problems.push(command);
            Ok(Commanded { position: Position(state.asked_problems.len() as u64), verdict: state.verdict })
        })
    }

    fn topology(&self, topology: Topology) -> BoxFuture<'_, Result<Activated, Refusal>> {
        Box::pin(async move {
            self.gate().await?;
            self.state.lock().expect("not poisoned").graph = Arc::new(Graph::new(topology));
            Ok(Activated { digest: Digest([7; 32]), changed: true })
        })
    }

    fn record(&self, receipt: ReceiptId) -> BoxFuture<'_, Result<Option<Received>, Refusal>> {
        Box::pin(async move {
            self.gate().await?;
            Ok(self.get(|state| state.records.get(&receipt.position).cloned()))
        })
    }
}

impl Live for Script {
    fn changes(&self) -> broadcast::Receiver<Change> {
        self.told.subscribe()
    }

    fn graph(&self) -> Arc<Graph> {
        self.get(|state| state.graph.clone())
    }

    fn topology(&self) -> Option<Digest> {
        Some(Digest([7; 32]))
    }

    fn health(&self) -> Health {
        self.get(|state| state.health.clone())
    }
}

/// An answer that is there at once.
pub(crate) fn now<'a, T: Send + 'a>(value: T) -> Answer<'a, T> {
    Box::pin(async move { Ok(value) })
}

impl Store for Script {
    fn take_over(&self, _: Shard) -> Answer<'_, Restored> {
        unreachable!("the HTTP side never writes")
    }

    fn commit<'a>(&'a self, _: Commit<'a>, _: &'a [String]) -> Answer<'a, Committed> {
        unreachable!("the HTTP side never writes")
    }

    fn put_artefact<'a>(&'a self, _: ArtefactKind, _: Digest, _: &'a [u8]) -> Answer<'a, ()> {
        unreachable!("the HTTP side never writes")
    }

    fn artefact(&self, _: ArtefactKind, digest: Digest) -> Answer<'_, Option<Vec<u8>>> {
        now(self.get(|state| state.artefacts.get(&digest).cloned()))
    }

    fn versions(&self, _: Shard, _: ArtefactKind, at: Timestamp, limit: u32) -> Answer<'_, Vec<Version>> {
        let earlier = |state: &State| state.versions.iter().filter(|version| version.at <= at).copied().collect();
        let mut versions: Vec<Version> = self.get(earlier);
        versions.sort_by_key(|version| std::cmp::Reverse(version.at));
        versions.truncate(limit as usize);
        now(versions)
    }

    fn sharding(&self) -> Answer<'_, Option<quell_domain::Sharding>> {
        unreachable!("the HTTP side is told")
    }

    fn keep_sharding<'a>(&'a self, _: &'a quell_domain::Sharding) -> Answer<'a, quell_domain::Sharding> {
        unreachable!("the HTTP side never writes")
    }

    fn drop_superseded(&self, _: Shard, _: ArtefactKind, _: Position) -> Answer<'_, u64> {
        unreachable!("the HTTP side never writes")
    }

    fn outcomes(&self, _: Shard, _: Position, _: u32) -> Answer<'_, Vec<Outcome>> {
        unreachable!("the HTTP side never replays")
    }

    fn latest_alerts(&self, _: Shard, _: Option<AlertId>, _: u32) -> Answer<'_, Vec<Alert>> {
        unreachable!("the HTTP side never learns")
    }

    fn last_alert(&self, _: Shard, _: Position) -> Answer<'_, Option<AlertId>> {
        unreachable!("the HTTP side never learns")
    }

    fn position(&self, _: Shard) -> Answer<'_, (Positions, Checkpoint)> {
        let applied = self.get(|state| state.applied);
        now((Positions { applied, ..Positions::default() }, Checkpoint::default()))
    }

    fn incidents(&self, _: Shard, query: IncidentQuery) -> Answer<'_, Page<Incident, IncidentId>> {
        let mut items: Vec<Incident> = self.get(|state| state.incidents.iter().map(|d| d.incident.clone()).collect());
        items.sort_by_key(|incident| std::cmp::Reverse(incident.id));
        items.retain(|incident| query.state.is_none_or(|state| incident.state == state));
        items.retain(|incident| query.before.is_none_or(|before| incident.id < before));
        let more = items.len() > query.limit as usize;
        items.truncate(query.limit as usize);
        let next = items.last().map(|incident| incident.id).filter(|_| more);
        now(Page { items, next })
    }

    fn incident(&self, _: Shard, id: IncidentId, alerts: u32) -> Answer<'_, Option<IncidentDetail>> {
        let found = self.get(|state| state.incidents.iter().find(|detail| detail.incident.id == id).cloned());
        now(found.map(|mut detail| {
            detail.alerts.truncate(alerts as usize);
            detail
        }))
    }

    fn alerts(&self, _: Shard, query: AlertQuery) -> Answer<'_, Page<Alert, AlertId>> {
        let mut items = self.get(|state| state.alerts.clone());
        items.retain(|alert| query.firing.is_none_or(|firing| (alert.state == AlertState::Firing) == firing));
        items.retain(|alert| query.bound.is_none_or(|bound| alert.binding.is_some() == bound));
        items.truncate(query.limit as usize);
        now(Page { items, next: Some(AlertId(4)) })
    }

    fn episodes(&self, _: Shard, fingerprint: Fingerprint, through: Position) -> Answer<'_, Vec<Alert>> {
        let mut rows = self.get(|state| state.alerts.clone());
        rows.retain(|row| row.fingerprint == fingerprint && row.opened_position <= through);
        rows.sort_by_key(|row| std::cmp::Reverse(row.id));
        now(rows)
    }

    fn parked_of(&self, _: Shard, _: Position) -> Answer<'_, Vec<Parked>> {
        now(vec![])
    }

    fn parked(&self, _: Shard, limit: u32) -> Answer<'_, Vec<Parked>> {
        now(self.get(|state| state.parked.iter().take(limit as usize).cloned().collect()))
    }

    fn feedback(&self, _: Shard, limit: u32) -> Answer<'_, Vec<Feedback>> {
        now(self.get(|state| state.feedback.iter().take(limit as usize).cloned().collect()))
    }

    fn change_events(&self, _: Shard, query: ChangeQuery) -> Answer<'_, Page<quell_domain::Change, ChangeId>> {
        let mut items = self.get(|state| state.told.clone());
        items.retain(|change| query.fingerprint.is_none_or(|wanted| change.fingerprint == wanted));
        items.retain(|change| query.before.is_none_or(|before| change.id < before));
        items.sort_by_key(|change| std::cmp::Reverse(change.id));
        let more = items.len() > query.limit as usize;
        items.truncate(query.limit as usize);
        let next = items.last().map(|change| change.id).filter(|_| more);
        self.state.lock().expect("not poisoned").asked = Some(query);
        now(Page { items, next })
    }

    fn changes_since(&self, _: Shard, number: u64, limit: u32) -> Answer<'_, Vec<Change>> {
        let after = self.get(|state| state.changes.clone()).into_iter().filter(move |change| change.number > number);
        now(after.take(limit as usize).collect())
    }

    fn newest_change(&self, _: Shard) -> Answer<'_, u64> {
        unreachable!("the HTTP side asks for changes since one that it knows")
    }

    fn due<'a>(&'a self, _: Shard, _: &'a str, _: Timestamp, _: u32) -> Answer<'a, Vec<Delivery>> {
        now(vec![])
    }

    fn delivered<'a>(&'a self, _: &'a str, _: Timestamp) -> Answer<'a, ()> {
        unreachable!("the HTTP side never writes")
    }

    fn failed<'a>(&'a self, _: &'a str, _: Timestamp, _: &'a str, _: Option<Duration>) -> Answer<'a, ()> {
        unreachable!("the HTTP side never writes")
    }

    fn forget_before(&self, _: Shard, _: Timestamp) -> Answer<'_, u64> {
        unreachable!("the HTTP side never writes")
    }
}

/// An answer, read to its end.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| unreachable!("not JSON: {error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }
}

pub(crate) async fn ask(
    router: &Router,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Answered {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "localhost:9099");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body.into()).expect("a request");
    let response = router.clone().oneshot(request).await.expect("a router never fails");
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.expect("a body").to_bytes();
    let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
    Answered { status: head.status, headers: head.headers, text }
}

pub(crate) async fn get(router: &Router, path: &str) -> Answered {
    ask(router, Method::GET, path, &[], "").await
}

pub(crate) async fn post(router: &Router, path: &str, body: &str) -> Answered {
    ask(router, Method::POST, path, &[("content-type", "application/json")], body.to_owned()).await
}

/// Everything that text from outside can reach says this.
pub(crate) const NASTY: &str = "<script>alert('x')</script>\"&";

pub(crate) fn incident(number: u64, state: IncidentState) -> IncidentDetail {
    let id = IncidentId { shard: 0, number };
    let service = ServiceAtRisk {
        ci: CiId::new(NASTY),
        name: NASTY.into(),
        criticality: Criticality::Critical,
        owner: Some(NASTY.into()),
    };
    let why = || Reason::new("because", "because {it}").text("it", NASTY);
    let incident = Incident {
        id,
        state,
        title: format!("Trouble {number} {NASTY}"),
        priority: Priority::new(2).expect("1 to 5"),
        impact: Impact::High,
        urgency: Urgency::Medium,
        opened_position: Position(number),
        opened_ordinal: 0,
        opened_at: NOW - Duration::from_secs(600),
        started_at: NOW - Duration::from_secs(700),
        last_fired_at: NOW,
        resolved_at: (state == IncidentState::Resolved).then_some(NOW),
        resolved_by: Some(NASTY.into()),
        acknowledged_at: Some(NOW),
        acknowledged_by: Some(NASTY.into()),
        reopened: 1,
        alerts: 1,
        firing: 1,
        causes: vec![Cause { ci: CiId::new(NASTY), score: 0.75, evidence: vec![why()] }],
        blast_radius: BlastRadius {
            cis: 3,
            services: vec![service.into()],
            partial: true,
            stale_relationships: 2,
            oldest_seen: Some(NOW - Duration::from_secs(40 * 86_400)),
        },
        review_at: None,
        transitions: 1,
        merged_into: None,
        moved: vec![],
        split_from: None,
        verdicts: vec![],
        acts: vec![],
        held_apart: false,
        looked_at: 0,
    };
    let timeline = vec![TimelineEntry { incident: id, at: NOW, actor: NASTY.into(), reason: why() }];
    IncidentDetail { alerts: vec![alert(number, Some(id))], timeline, ..IncidentDetail::bare(incident) }
}

/// An alert that no CI was found for.
pub(crate) fn unbound(number: u64) -> Alert {
    let why = Reason::new("ambiguous", "label {label}={value} is the name of several").text("label", "host");
    Alert { binding: None, unbound: Some(why.text("value", NASTY)), ..alert(number, None) }
}

pub(crate) fn alert(number: u64, incident: Option<IncidentId>) -> Alert {
    let why = || Reason::new("because", "because {it}").text("it", NASTY);
    Alert {
        id: AlertId(number),
        fingerprint: Fingerprint(number.into()),
        source: Source::AlertmanagerApi,
        state: AlertState::Firing,
        severity: Severity::Critical,
        labels: Labels::new([("alertname", NASTY), (NASTY, NASTY)]),
        annotations: Labels::new([
            ("runbook_url", "https://runbooks.example/x?y=1"),
            ("bad_url", "javascript:alert(1)"),
            ("summary", NASTY),
        ]),
        content: 0,
        binding: Some(Binding { ci: CiId::new(NASTY), confidence: 1.0, reason: why() }),
        unbound: None,
        incident,
        membership: Some(why()),
        twin_of: None,
        starts_at: NOW - Duration::from_secs(60),
        ends_at: None,
        ending: Ending::Expires,
        timed_out: false,
        count: 3,
        first_seen: NOW,
        began_at: NOW,
        last_seen: NOW,
        opened_position: Position(number),
        opened_ordinal: 0,
        closed_position: None,
        folded_through: Position(number),
    }
}
