//! Three shards behind one API: rows in a real store, asked through the real router.
//!
//! Absent on purpose: which shard an input is for, and how rows come into being; their own rooms prove those.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{Method, StatusCode};
use quell_api::ports::{Held, Received};
use quell_api::{Api, ApiLimits, router};
use quell_domain::{
    Alert, BatchBuilder, Change, Feedback, Incident, IncidentId, IncidentState, KnownSignature, Labels, Position,
    Problem, ProblemId, ProblemState, Said, Shard, Sharding, SignatureId, Source, Standing,
};
use quell_engine::{
    AlertChange, ChangeRow, Checkpoint, Effects, Parked, ProblemEffects, ProblemRow, RecognitionRow, SignatureRow,
};
use quell_store::{Commit, Committed, ForecastStore, SqliteStore, Store};
use serde_json::{Value, json};

use crate::reads::conforms;
use crate::script::{NOW, Script, ask, get, post};
use crate::stream::{open, until};
use crate::{changes, forecasts, problems, script};

/// Three shards whose store lies in a folder of its own, which goes with it.
struct Installation {
    folder: PathBuf,
    store: Arc<SqliteStore>,
    script: Arc<Script>,
    router: Router,
    applied: u64,
}

impl Drop for Installation {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

fn three() -> Sharding {
    Sharding::by("region", 3).expect("a label and a count")
}

fn shard(number: u32) -> Shard {
    Shard { tenant: 0, number }
}

/// A value of the label that means a shard.
fn region(number: u32) -> String {
    let of = |name: &String| three().of(Labels::new([("region", name.as_str())]).as_ref()) == number;
    (0..100).map(|n| format!("region-{n}")).find(of).expect("one of a hundred")
}

impl Installation {
    async fn new() -> Installation {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("quell-api-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("created");
        let store = Arc::new(SqliteStore::open(&folder.join("store.db")).await.expect("opened"));
        let script = Script::new();
        let api = script.api(ApiLimits::default());
        let router = router(Api { store: store.clone(), sharding: Arc::new(three()), ..api });
        Installation { folder, store, script, router, applied: 0 }
    }

    async fn commit(&mut self, number: u32, effects: Effects) -> Committed {
        let epoch = self.store.take_over(shard(number)).await.expect("taken over").epoch;
        self.applied += 100;
        let commit = Commit {
            shard: shard(number),
            epoch,
            applied: Position(self.applied),
            commands: Position::START,
            checkpoint: Checkpoint::default(),
            effects: &effects,
            activations: &[],
            problem_sinks: &[],
            flush: None,
        };
        self.store.commit(commit, &[]).await.expect("committed")
    }

    /// Three incidents with an alert of each shard; one a minute, the shards in turn.
    async fn with_incidents() -> Installation {
        let mut quell = Installation::new().await;
        for number in 1..=3 {
            for shard in 0..3 {
                let effects = Effects {
                    incidents: vec![incident(shard, number)],
                    alerts: vec![AlertChange::Put(Box::new(alert(shard, number)))],
                    ..Effects::default()
                };
                quell.commit(shard, effects).await;
            }
        }
        quell
    }

    /// Every part of a list, and the ids in it.
    async fn all(&self, path: &str, field: &str) -> Vec<String> {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let answer = get(&self.router, &format!("{path}{cursor}")).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}{cursor}: {}", answer.text);
            let part = answer.json();
            let items = part["items"].as_array().cloned().unwrap_or_default();
            ids.extend(items.iter().map(|item| item[field].as_str().map_or(item[field].to_string(), str::to_owned)));
            match part["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return ids,
            }
        }
    }
}

fn minutes(shard: u32, number: u64) -> Duration {
    Duration::from_secs((number * 3 + u64::from(shard)) * 60)
}

fn incident(shard: u32, number: u64) -> Incident {
    let id = IncidentId { shard, number };
    let opened_at = NOW + minutes(shard, number);
    Incident { id, opened_at, ..script::incident(number, IncidentState::Open).incident }
}

fn alert(shard: u32, number: u64) -> Alert {
    let incident = Some(IncidentId { shard, number });
    let labels = Labels::new([("alertname", "Down"), ("region", region(shard).as_str())]);
    Alert { labels, first_seen: NOW + minutes(shard, number), ..script::alert(number, incident) }
}

#[tokio::test]
async fn lists_are_in_one_order_and_paging_visits_every_row_once() {
    let quell = Installation::with_incidents().await;
    let newest_first = ["INC-2.3", "INC-1.3", "INC-3", "INC-2.2", "INC-1.2", "INC-2", "INC-2.1", "INC-1.1", "INC-1"]
        .map(str::to_owned);
    for limit in [1, 2, 4, 9, 50] {
        assert_eq!(quell.all(&format!("/api/v1/incidents?limit={limit}"), "id").await, newest_first, "{limit}");
        assert_eq!(quell.all(&format!("/api/v1/alerts?limit={limit}"), "incident").await, newest_first, "{limit}");
    }
    let first = get(&quell.router, "/api/v1/incidents?limit=2").await.json();
    conforms("IncidentList", &first);
    assert_eq!(first["next"], "INC-4,INC-1.3,INC-2.3");
    let alerts = get(&quell.router, "/api/v1/alerts?limit=2").await.json();
    conforms("AlertList", &alerts);
    assert_eq!((&alerts["items"][0]["shard"], &alerts["items"][1]["shard"]), (&json!(2), &json!(1)));
    assert_eq!(quell.all("/api/v1/alerts?incident=INC-1.2", "incident").await, ["INC-1.2"]);
    assert!(quell.all("/api/v1/alerts?incident=INC-7.2", "incident").await.is_empty());
    for cursor in ["INC-3", "INC-3,INC-1.3", "INC-3,INC-1.3,INC-1.3", "INC-3,INC-1.3,INC-2.3,INC-3.3", "x", "3,3,3"] {
        let answer = get(&quell.router, &format!("/api/v1/incidents?cursor={cursor}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{cursor}");
        assert_eq!(answer.json()["error"]["allowed"], "the next of an earlier answer");
    }
}

#[tokio::test]
async fn one_thing_is_read_from_its_shard() {
    let quell = Installation::with_incidents().await;
    for id in ["INC-2", "INC-1.2", "INC-2.2"] {
        let one = get(&quell.router, &format!("/api/v1/incidents/{id}")).await.json();
        conforms("Incident", &one);
        assert_eq!((&one["id"], one["alerts"].as_array().map(Vec::len)), (&json!(id), Some(1)));
        let page = get(&quell.router, &format!("/incidents/{id}")).await;
        assert!(page.status == StatusCode::OK && page.text.contains(id), "{}", page.text);
    }
    let held = Held::Alerts(BatchBuilder::new(Source::PagerDuty, 0).finish());
    quell.script.set(|state| _ = state.records.insert(Position(7), Received { received_at: NOW, held }));
    let receipt = get(&quell.router, "/api/v1/receipts/R-2.7").await.json();
    conforms("Receipt", &receipt);
    assert_eq!((&receipt["receipt"], &receipt["state"]), (&json!("R-2.7"), &json!("decided")));
    for path in [
        "/api/v1/incidents/INC-3.1",
        "/api/v1/incidents/INC-2.9",
        "/api/v1/problems/PRB-3.1",
        "/api/v1/signatures/SIG-3.1",
        "/api/v1/receipts/R-3.7",
        "/incidents/INC-3.1",
    ] {
        assert_eq!(get(&quell.router, path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn pages_say_where_and_go_on() {
    let quell = Installation::with_incidents().await;
    let page = get(&quell.router, "/?limit=4").await.text;
    let region = region(2);
    assert!(page.contains("<th scope=\"col\">region</th>"), "{page}");
    assert!(page.contains("INC-2.3") && page.contains(&format!("<td data-label=\"region\">{region}</td>")), "{page}");
    let next = page.split("cursor=").nth(1).and_then(|rest| rest.split('"').next()).expect("older ones");
    let older = get(&quell.router, &format!("/?limit=4&cursor={next}")).await.text;
    assert!(older.contains("INC-1.2") && !older.contains("INC-2.3"), "{older}");
    let one = get(&quell.router, "/incidents/INC-2.3").await.text;
    assert!(one.contains(&format!("<dt>region</dt><dd>{region}</dd>")), "{one}");
}

#[tokio::test]
async fn a_change_that_is_of_no_shard_is_told_once() {
    let mut quell = Installation::new().await;
    for number in 0..3 {
        let of = |position: u64, labels: Labels| {
            let received_at = NOW + minutes(number, position);
            ChangeRow::Put(Box::new(Change { labels, received_at, ..changes::change(position, true) }))
        };
        let everywhere = of(9, Labels::new([("service", "shop")]));
        let rows = vec![of(1, Labels::new([("region", region(number).as_str())])), everywhere];
        quell.commit(number, Effects { changes: rows, ..Effects::default() }).await;
    }
    for limit in [1, 2, 9] {
        let receipts = quell.all(&format!("/api/v1/changes?limit={limit}"), "receipt").await;
        assert_eq!(receipts, ["R-9", "R-2.1", "R-1.1", "R-1"], "{limit}");
    }
}

#[tokio::test]
async fn what_has_no_cursor_is_merged_too() {
    let mut quell = Installation::new().await;
    for number in 0..3 {
        let at = NOW + minutes(number, 0);
        let parked = Parked {
            position: Position(5),
            ordinal: 0,
            item: Some(0),
            source: Source::PagerDuty,
            received_at: at,
            reason: "because".into(),
            raw: "raw".into(),
        };
        let said = Said::Apart { ours: vec![], theirs: vec![] };
        let feedback = Feedback {
            command: Position(4),
            incident: IncidentId { shard: number, number: 1 },
            actor: "ana".into(),
            at,
            said,
            standing: Standing::InForce,
        };
        let effects = Effects { parked: vec![parked], feedback: vec![feedback], ..Effects::default() };
        quell.commit(number, effects).await;
        let row = forecasts::forecast(&format!("SIG-{number}"), 0.25 * f64::from(number + 1));
        quell.store.keep_forecasts(shard(number), &[row]).await.expect("kept");
    }
    assert_eq!(quell.all("/api/v1/parked?limit=2", "receipt").await, ["R-2.5", "R-1.5"]);
    assert_eq!(quell.all("/api/v1/feedback?limit=9", "command").await, ["C-2.4", "C-1.4", "C-4"]);
    assert_eq!(quell.all("/api/v1/forecasts?limit=2", "shard").await, ["2", "1"]);
    let learned = get(&quell.router, "/api/v1/learned").await.json();
    conforms("Learned", &learned);
    assert_eq!(learned["shards"][2], json!({"shard": 2, "in_force": null}));
    conforms("Hygiene", &get(&quell.router, "/api/v1/hygiene").await.json());
}

#[tokio::test]
async fn problems_and_signatures_of_every_shard_are_listed_and_read() {
    let mut quell = Installation::new().await;
    for number in 0..3 {
        let detail = problems::detail(ProblemState::KnownError);
        let (problem, signature) = (ProblemId { shard: number, number: 1 }, SignatureId { shard: number, number: 2 });
        let at = NOW + minutes(number, 0);
        let row = Problem { id: problem, signatures: vec![signature], opened_at: at, ..detail.problem };
        let known = detail.signatures.into_iter().next().expect("one");
        let past = known.past.iter().cloned().map(|mut past| {
            past.incident.shard = number;
            past
        });
        let past = past.collect();
        let known = KnownSignature { id: signature, problem: Some(problem), first_at: at, past, ..known };
        let mut recognition = problems::recognition(7);
        (recognition.incident.shard, recognition.signature) = (number, Some(signature));
        recognition.workaround = None;
        let effects = ProblemEffects {
            signatures: vec![SignatureRow::Put(Box::new(known))],
            recognitions: vec![RecognitionRow::Put(Box::new(recognition))],
            problems: vec![ProblemRow::Put(Box::new(row))],
            ..ProblemEffects::default()
        };
        let incidents = vec![incident(number, 7)];
        quell.commit(number, Effects { problems: effects, incidents, ..Effects::default() }).await;
    }
    assert_eq!(quell.all("/api/v1/problems?limit=2", "id").await, ["PRB-2.1", "PRB-1.1", "PRB-1"]);
    assert_eq!(quell.all("/api/v1/problems?order=cost", "id").await.len(), 3);
    assert_eq!(quell.all("/api/v1/signatures?limit=1", "id").await, ["SIG-2.2", "SIG-1.2", "SIG-2"]);
    let one = get(&quell.router, "/api/v1/problems/PRB-2.1").await.json();
    conforms("Problem", &one);
    assert_eq!(one["incidents"][0]["incident"], "INC-2.7");
    let incident = get(&quell.router, "/api/v1/incidents/INC-1.7").await.json();
    assert_eq!(incident["recognised"]["problem"]["id"], "PRB-1.1");
    for path in ["/problems", "/problems/PRB-2.1", "/", "/hygiene", "/forecasts"] {
        assert_eq!(get(&quell.router, path).await.status, StatusCode::OK, "{path}");
    }
    let risk = post(&quell.router, "/api/v1/problems/PRB-2.1/link", r#"{"change":"R-1.7"}"#).await;
    assert_eq!((risk.status, &risk.json()["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("two_shards")));
}

#[tokio::test]
async fn a_command_is_answered_from_its_shard() {
    let quell = Installation::with_incidents().await;
    let done = post(&quell.router, "/api/v1/incidents/INC-2.1/ack", r#"{"by":"ana"}"#).await;
    assert_eq!(done.status, StatusCode::ACCEPTED, "{}", done.text);
    assert_eq!((&done.json()["command"], &done.json()["incident"]["id"]), (&json!("C-2.1"), &json!("INC-2.1")));
    let merged = post(&quell.router, "/api/v1/incidents/INC-2.1/merge", r#"{"into":"INC-2.2"}"#).await;
    assert_eq!(merged.status, StatusCode::ACCEPTED, "{}", merged.text);
    let refused = post(&quell.router, "/api/v1/incidents/INC-2.1/merge", r#"{"into":"INC-1.2"}"#).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text);
    conforms("Error", &refused.json());
    assert_eq!(refused.json()["error"]["code"], "two_shards");
    assert!(refused.text.contains("it names things of shard 2 and of shard 1"), "{}", refused.text);
    quell.script.get(|state| assert_eq!(state.commands.len(), 2, "what is refused is not asked"));
    let none = ask(&quell.router, Method::POST, "/api/v1/incidents/INC-5.1/ack", &[], "").await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
}

/// The ids of the events in a text, and the incidents they tell of.
fn told(text: &str) -> Vec<(String, String)> {
    let field = |event: &str, name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let one = |event: &str| {
        let head: Value = serde_json::from_str(&field(event, "data: ")?).ok()?;
        Some((field(event, "id: ")?, head["id"].as_str()?.to_owned()))
    };
    text.split("\n\n").filter_map(one).collect()
}

#[tokio::test]
async fn a_stream_goes_on_in_every_shard_where_it_was() {
    let mut quell = Installation::with_incidents().await;
    let mut body = open(&quell.router, None).await;
    until(&mut body, "connected").await;
    let mut changes = Vec::new();
    for (shard, number) in [(2, 4), (0, 4), (2, 5)] {
        let effects = Effects { incidents: vec![incident(shard, number)], ..Effects::default() };
        changes.extend(quell.commit(shard, effects).await.changes);
    }
    quell.script.told.send(changes[0]).expect("somebody listens");
    let text = until(&mut body, "INC-2.4").await + &until(&mut body, "\n\n").await;
    // What shards 0 and 1 had told before is in the id, so that they do not begin anew.
    assert_eq!(told(&text), [("0:3,1:3,2:4".to_owned(), "INC-2.4".to_owned())], "{text}");
    drop(body);
    let mut body = open(&quell.router, Some("0:3,1:3,2:4")).await;
    let text = until(&mut body, "id: 0:4,1:3,2:5\n").await + &until(&mut body, "\n\n").await;
    let expected = [("0:4,1:3,2:4", "INC-4"), ("0:4,1:3,2:5", "INC-2.5")];
    assert_eq!(told(&text), expected.map(|(id, incident)| (id.to_owned(), incident.to_owned())), "{text}");
    // Told live once more, they are not sent again; what is new is.
    let effects = Effects { incidents: vec![incident(1, 4)], ..Effects::default() };
    let new = quell.commit(1, effects).await.changes;
    for change in changes.iter().chain(&new) {
        quell.script.told.send(*change).expect("somebody listens");
    }
    let text = until(&mut body, "id: 0:4,1:4,2:5\n").await + &until(&mut body, "\n\n").await;
    assert_eq!(told(&text), [("0:4,1:4,2:5".to_owned(), "INC-1.4".to_owned())], "{text}");
    for id in ["12", "3:1", "0:x", "2:1,0:1"] {
        let bad = get(&quell.router, &format!("/api/v1/stream?last_event_id={id}")).await;
        assert_eq!(bad.status, StatusCode::BAD_REQUEST, "{id}");
    }
}
