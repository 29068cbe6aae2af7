//! A worker against a real receiver on loopback, with a scripted outbox.
//!
//! Absent on purpose: a database; the store's own suite proves the outbox.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use quell_domain::{
    Alert, AlertId, ArtefactKind, ChangeId, Digest, Feedback, Fingerprint, HistoricIncident, Incident, IncidentId,
    KeptForecast, KeptModel, KnownSignature, Notice, Outcome, Position, Priority, Problem, ProblemId, Reason,
    Recognition, Shard, SignatureId, Subject, Timestamp, Transition,
};
use quell_engine::{Checkpoint, Parked};
use quell_notify::signature::sign;
use quell_notify::{Attempt, Attempted, EgressPolicy, Observer, Secret, Sink, run};
use quell_store::contract::Answer;
use quell_store::{
    AlertQuery, Change, ChangeQuery, Commit, Committed, Delivery, IncidentDetail, IncidentQuery, Page, Positions,
    Restored, Store,
};
use tokio::sync::{mpsc, oneshot, watch};

/// What the worker said of a delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Said {
    Delivered(String),
    Failed { id: String, why: String, retry_in: Option<Duration> },
}

/// Counts nothing, and tells the sink of one trace.
struct Unobserved;

impl Observer for Unobserved {
    fn begin(&self, _: &str, _: &Delivery) -> Box<dyn Attempt> {
        Box::new(Unobserved)
    }
}

impl Attempt for Unobserved {
    fn traceparent(&self) -> Option<String> {
        Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into())
    }

    fn end(self: Box<Self>, _: Attempted) {}
}

/// An outbox of one sink.
struct Outbox {
    waiting: Mutex<Vec<(Timestamp, Delivery)>>,
    said: mpsc::UnboundedSender<Said>,
}

impl Outbox {
    fn told(&self, said: Said) {
        self.said.send(said).expect("the test listens");
    }
}

fn none<'a, T: Send + 'a>() -> Answer<'a, T> {
    Box::pin(async { unreachable!("a worker asks nothing but its outbox") })
}

impl quell_store::ProblemStore for Outbox {
    fn problems_due<'a>(
        &'a self,
        _: Shard,
        _: &'a str,
        _: Timestamp,
        _: u32,
    ) -> Answer<'a, Vec<quell_store::ProblemDelivery>> {
        none()
    }
    fn problems(&self, _: Shard, _: quell_store::ProblemQuery) -> Answer<'_, Page<Problem, ProblemId>> {
        none()
    }
    fn problem(&self, _: Shard, _: ProblemId) -> Answer<'_, Option<quell_store::ProblemDetail>> {
        none()
    }
    fn signature(&self, _: Shard, _: SignatureId) -> Answer<'_, Option<KnownSignature>> {
        none()
    }
    fn signatures(&self, _: Shard, _: Option<SignatureId>, _: u32) -> Answer<'_, Page<KnownSignature, SignatureId>> {
        none()
    }
    fn recognition(&self, _: Shard, _: IncidentId) -> Answer<'_, Option<Recognition>> {
        none()
    }
    fn recognised(&self, _: Shard, _: quell_store::RecognisedQuery) -> Answer<'_, Vec<Recognition>> {
        none()
    }
    fn recognised_since(&self, _: Shard) -> Answer<'_, Option<Timestamp>> {
        none()
    }
    fn outages(&self, _: Shard, _: Timestamp) -> Answer<'_, Vec<quell_domain::Outage>> {
        none()
    }
}

impl quell_store::ForecastStore for Outbox {
    fn keep_forecasts<'a>(&'a self, _: Shard, _: &'a [KeptForecast]) -> Answer<'a, ()> {
        none()
    }
    fn forecasts(&self, _: Shard, _: Subject, _: u32, _: quell_store::Which, _: u32) -> Answer<'_, Vec<KeptForecast>> {
        none()
    }
    fn forecasts_of<'a>(
        &'a self,
        _: Shard,
        _: Subject,
        _: u32,
        _: &'a [String],
        _: u32,
    ) -> Answer<'a, Vec<KeptForecast>> {
        none()
    }
    fn mark_forecasts<'a>(&'a self, _: Shard, _: &'a [KeptForecast]) -> Answer<'a, ()> {
        none()
    }
    fn put_model<'a>(&'a self, _: Shard, _: &'a KeptModel) -> Answer<'a, ()> {
        none()
    }
    fn model(&self, _: Shard, _: Subject, _: u32) -> Answer<'_, Option<KeptModel>> {
        none()
    }
    fn add_history<'a>(&'a self, _: Shard, _: &'a [HistoricIncident]) -> Answer<'a, u64> {
        none()
    }
    fn history(&self, _: Shard, _: u64, _: u32) -> Answer<'_, Vec<(u64, HistoricIncident)>> {
        none()
    }
}

impl Store for Outbox {
    fn take_over(&self, _: Shard) -> Answer<'_, Restored> {
        none()
    }
    fn commit<'a>(&'a self, _: Commit<'a>, _: &'a [String]) -> Answer<'a, Committed> {
        none()
    }
    fn put_artefact<'a>(&'a self, _: ArtefactKind, _: Digest, _: &'a [u8]) -> Answer<'a, ()> {
        none()
    }
    fn artefact(&self, _: ArtefactKind, _: Digest) -> Answer<'_, Option<Vec<u8>>> {
        none()
    }
    fn versions(&self, _: Shard, _: ArtefactKind, _: Timestamp, _: u32) -> Answer<'_, Vec<quell_store::Version>> {
        none()
    }
    fn sharding(&self) -> Answer<'_, Option<quell_domain::Sharding>> {
        none()
    }
    fn keep_sharding<'a>(&'a self, _: &'a quell_domain::Sharding) -> Answer<'a, quell_domain::Sharding> {
        none()
    }
    fn drop_superseded(&self, _: Shard, _: ArtefactKind, _: Position) -> Answer<'_, u64> {
        none()
    }
    fn latest_alerts(&self, _: Shard, _: Option<AlertId>, _: u32) -> Answer<'_, Vec<Alert>> {
        none()
    }
    fn last_alert(&self, _: Shard, _: Position) -> Answer<'_, Option<AlertId>> {
        none()
    }
    fn position(&self, _: Shard) -> Answer<'_, (Positions, Checkpoint)> {
        none()
    }
    fn incidents(&self, _: Shard, _: IncidentQuery) -> Answer<'_, Page<Incident, IncidentId>> {
        none()
    }
    fn incident(&self, _: Shard, _: IncidentId, _: u32) -> Answer<'_, Option<IncidentDetail>> {
        none()
    }
    fn alerts(&self, _: Shard, _: AlertQuery) -> Answer<'_, Page<Alert, AlertId>> {
        none()
    }
    fn episodes(&self, _: Shard, _: Fingerprint, _: Position) -> Answer<'_, Vec<Alert>> {
        none()
    }
    fn parked_of(&self, _: Shard, _: Position) -> Answer<'_, Vec<Parked>> {
        none()
    }
    fn parked(&self, _: Shard, _: u32) -> Answer<'_, Vec<Parked>> {
        none()
    }
    fn outcomes(&self, _: Shard, _: Position, _: u32) -> Answer<'_, Vec<Outcome>> {
        none()
    }
    fn feedback(&self, _: Shard, _: u32) -> Answer<'_, Vec<Feedback>> {
        none()
    }
    fn change_events(&self, _: Shard, _: ChangeQuery) -> Answer<'_, Page<quell_domain::Change, ChangeId>> {
        none()
    }
    fn changes_since(&self, _: Shard, _: u64, _: u32) -> Answer<'_, Vec<Change>> {
        none()
    }
    fn newest_change(&self, _: Shard) -> Answer<'_, u64> {
        none()
    }
    fn forget_before(&self, _: Shard, _: Timestamp) -> Answer<'_, u64> {
        none()
    }

    fn due<'a>(&'a self, _: Shard, sink: &'a str, now: Timestamp, limit: u32) -> Answer<'a, Vec<Delivery>> {
        assert_eq!(sink, "pager");
        let waiting = self.waiting.lock().expect("not poisoned");
        let due = waiting.iter().filter(|(at, _)| *at <= now).take(limit as usize).map(|(_, d)| d.clone()).collect();
        Box::pin(async move { Ok(due) })
    }

    fn delivered<'a>(&'a self, id: &'a str, _: Timestamp) -> Answer<'a, ()> {
        self.waiting.lock().expect("not poisoned").retain(|(_, delivery)| delivery.id != id);
        self.told(Said::Delivered(id.into()));
        Box::pin(async { Ok(()) })
    }

    fn failed<'a>(&'a self, id: &'a str, at: Timestamp, why: &'a str, retry_in: Option<Duration>) -> Answer<'a, ()> {
        let mut waiting = self.waiting.lock().expect("not poisoned");
        for (due, delivery) in waiting.iter_mut().filter(|(_, delivery)| delivery.id == id) {
            delivery.attempts += 1;
            *due = retry_in.map_or(Timestamp::MAX, |wait| at + wait);
        }
        self.told(Said::Failed { id: id.into(), why: why.into(), retry_in });
        Box::pin(async { Ok(()) })
    }
}

/// What the receiver got: id, timestamp, signature and body.
type Got = (String, String, String, Bytes);

/// Answers in order, then 200; keeps what it got.
#[derive(Clone, Default)]
struct Receiver {
    answers: Arc<Mutex<VecDeque<Response>>>,
    got: Arc<Mutex<Vec<Got>>>,
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers.get(name).map_or("", |value| value.to_str().expect("ASCII")).to_owned();
    let got = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"), body);
    receiver.got.lock().expect("not poisoned").push(got);
    receiver.answers.lock().expect("not poisoned").pop_front().unwrap_or_else(|| StatusCode::OK.into_response())
}

/// A worker at work against a receiver.
struct Scene {
    receiver: Receiver,
    said: mpsc::UnboundedReceiver<Said>,
    outbox: Arc<Outbox>,
    wake: watch::Sender<()>,
    stop: oneshot::Sender<()>,
    worker: tokio::task::JoinHandle<()>,
}

impl Scene {
    /// `host` is how the sink's address names loopback; `allow` whether the policy allows it.
    async fn new(host: &str, allow: bool, deliveries: Vec<Delivery>, answers: Vec<Response>) -> Scene {
        // Another test may have installed it first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let receiver = Receiver { answers: Arc::new(Mutex::new(answers.into())), ..Receiver::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let router = Router::new().fallback(receive).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let list = if allow { vec![format!("127.0.0.1:{port}")] } else { vec![] };
        let policy = Arc::new(EgressPolicy::parse(&list).expect("valid"));
        let (tx, said) = mpsc::unbounded_channel();
        let waiting = deliveries.into_iter().map(|delivery| (Timestamp::MIN, delivery)).collect();
        let outbox = Arc::new(Outbox { waiting: Mutex::new(waiting), said: tx });
        // Two hours go by between two looks, so that every retry is due at once.
        let hours = AtomicI64::new(400_000);
        let clock = Arc::new(move || Timestamp::from_seconds(hours.fetch_add(2, Ordering::Relaxed) * 3_600));
        let (wake, woken) = watch::channel(());
        let (stop, stopped) = oneshot::channel::<()>();
        let sink = Sink {
            name: "pager".into(),
            url: format!("http://{host}:{port}/hook"),
            secrets: vec![Secret::new("hush")],
        };
        let store = outbox.clone();
        let worker = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            run(
                sink,
                policy,
                quell_notify::Outbox { store, shard: Shard::FIRST },
                clock,
                Arc::new(Unobserved),
                woken,
                stopped,
            )
            .await
            .expect("a good address");
        });
        Scene { receiver, said, outbox, wake, stop, worker }
    }

    async fn next(&mut self) -> Said {
        let said = tokio::time::timeout(Duration::from_secs(10), self.said.recv()).await;
        said.expect("the worker works").expect("the outbox lives")
    }

    fn got(&self) -> Vec<Got> {
        self.receiver.got.lock().expect("not poisoned").clone()
    }
}

fn delivery(incident: u64, number: u32) -> Delivery {
    let incident = IncidentId { shard: 0, number: incident };
    let notice = Notice {
        incident,
        number,
        transition: Transition::Opened,
        at: Timestamp::from_seconds(1_700_000_000),
        title: "Database down".into(),
        priority: Priority::new(1).expect("1 to 5"),
        cause: None,
        alerts: 3,
        reason: Reason::new("opened", "it began"),
    };
    Delivery { id: format!("{incident}-{number}-pager"), notice, attempts: 0 }
}

fn status(code: u16) -> Response {
    StatusCode::from_u16(code).expect("a status").into_response()
}

#[tokio::test]
async fn a_notice_is_told_signed() {
    let mut scene = Scene::new("127.0.0.1", true, vec![delivery(1, 0)], vec![]).await;
    assert_eq!(scene.next().await, Said::Delivered("INC-1-0-pager".into()));
    let got = scene.got();
    let [(id, at, signature, body)] = &got[..] else { unreachable!("one notice: {got:?}") };
    assert_eq!(id, "INC-1-0-pager");
    assert_eq!(signature, &sign(&[Secret::new("hush")], id, at, body));
    assert_ne!(signature, &sign(&[Secret::new("other")], id, at, body));
    let body: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    assert!(body.to_string().contains("Database down") && body.to_string().contains("INC-1"), "{body}");
}

#[tokio::test]
async fn a_retry_carries_the_same_id_and_a_later_time() {
    let mut scene = Scene::new("127.0.0.1", true, vec![delivery(1, 0)], vec![status(500), status(301)]).await;
    for expected in ["answered 500", "answered 301"] {
        let said = scene.next().await;
        let Said::Failed { why, retry_in: Some(_), .. } = said else { unreachable!("{said:?}") };
        assert!(why.starts_with(expected), "{why}");
    }
    assert_eq!(scene.next().await, Said::Delivered("INC-1-0-pager".into()));
    let got = scene.got();
    assert_eq!(got.len(), 3);
    assert!(got.iter().all(|(id, ..)| id == "INC-1-0-pager"));
    assert!(got[0].1 < got[2].1 && got[0].2 != got[2].2, "signed anew: {got:?}");
}

#[tokio::test]
async fn an_incidents_notices_come_in_order_even_when_one_fails() {
    let deliveries = vec![delivery(1, 0), delivery(1, 1), delivery(2, 0), delivery(1, 2)];
    let mut scene = Scene::new("127.0.0.1", true, deliveries, vec![status(500), status(500)]).await;
    let mut delivered = Vec::new();
    while delivered.len() < 4 {
        if let Said::Delivered(id) = scene.next().await {
            delivered.push(id);
        }
    }
    delivered.retain(|id| id.starts_with("INC-1-"));
    assert_eq!(delivered, ["INC-1-0-pager", "INC-1-1-pager", "INC-1-2-pager"]);
}

#[tokio::test]
async fn what_is_gone_is_given_up_after_three_tries() {
    let mut scene = Scene::new("127.0.0.1", true, vec![delivery(1, 0)], (0..3).map(|_| status(410)).collect()).await;
    let mut retries = Vec::new();
    for _ in 0..3 {
        let said = scene.next().await;
        let Said::Failed { retry_in, .. } = said else { unreachable!("{said:?}") };
        retries.push(retry_in.is_some());
    }
    assert_eq!(retries, [true, true, false]);
}

#[tokio::test]
async fn a_blocked_address_is_never_connected_to() {
    for host in ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]"] {
        let mut scene = Scene::new(host, false, vec![delivery(1, 0)], vec![]).await;
        let said = scene.next().await;
        let Said::Failed { why, .. } = said else { unreachable!("{said:?}") };
        assert!(why.starts_with("blocked by egress policy; ask an admin to allow "), "{host}: {why}");
        assert!(scene.got().is_empty(), "{host}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 1024])));
    let answer = axum::body::Body::from_stream(endless).into_response();
    let mut scene = Scene::new("127.0.0.1", true, vec![delivery(1, 0)], vec![answer]).await;
    assert_eq!(scene.next().await, Said::Delivered("INC-1-0-pager".into()));
}

#[tokio::test]
async fn wakes_for_what_comes_later_and_stops_when_told() {
    let mut scene = Scene::new("127.0.0.1", true, vec![], vec![]).await;
    scene.outbox.waiting.lock().expect("not poisoned").push((Timestamp::MIN, delivery(9, 0)));
    scene.wake.send_replace(());
    assert_eq!(scene.next().await, Said::Delivered("INC-9-0-pager".into()));
    scene.stop.send(()).expect("at work");
    scene.worker.await.expect("ends");
}
