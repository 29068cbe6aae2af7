//! Problems: what programs read and ask, and the pages for people.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use quell_domain::{
    Attached, Change, ChangeId, CiId, Cost, Fix, IncidentId, IncidentState, KnownSignature, Labels, PastIncident,
    Position, Priority, Problem, ProblemAct, ProblemAsk, ProblemEntry, ProblemField, ProblemId, ProblemState, Reason,
    Recognition, Sign, SignatureId, Source, Timestamp, Traits, Verdict,
};
use quell_store::{Involved, ProblemDetail};
use serde_json::{Value, json};

use crate::reads::conforms;
use crate::script::{NASTY, NOW, Script, ask, get, incident, post};

const PROBLEM: ProblemId = ProblemId { shard: 0, number: 1 };
const SIGNATURE: SignatureId = SignatureId { shard: 0, number: 2 };

fn id(number: u64) -> IncidentId {
    IncidentId { shard: 0, number }
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(NOW.micros() / 1_000_000 - 86_400 + seconds)
}

fn past(number: u64, seconds: i64) -> PastIncident {
    let traits = Traits { cause: Some(CiId::new("db-1")), signs: vec![1], words: vec![] };
    let how = format!("ana resolved it: {NASTY}");
    PastIncident { incident: id(number), opened_at: at(seconds), ended_at: at(seconds + 600), how, alerts: 2, traits }
}

pub(crate) fn detail(state: ProblemState) -> ProblemDetail {
    let signature = KnownSignature {
        id: SIGNATURE,
        causes: BTreeMap::from([(CiId::new("db-1"), 3)]),
        signs: BTreeMap::from([(1, (Sign { place: Some("db-1".into()), alert: NASTY.into() }, 3))]),
        words: BTreeMap::new(),
        cost: Cost { incidents: 3, open_micros: 3_600_000_000, alerts: 6 },
        first_at: at(0),
        last_at: at(200),
        title: NASTY.into(),
        past: vec![past(5, 0), past(6, 100), past(7, 200)],
        merged_into: None,
        problem: Some(PROBLEM),
    };
    let problem = Problem {
        id: PROBLEM,
        state,
        title: NASTY.into(),
        signatures: vec![SIGNATURE],
        cause: Some(CiId::new("db-1")),
        opened_at: at(300),
        cost: signature.cost,
        first_at: at(0),
        last_at: at(200),
        owner: Some("ana".into()),
        due: Some(at(86_400)),
        root_cause: None,
        workaround: Some(NASTY.into()),
        usual_micros: Some(1_800_000_000),
        used: 2,
        helped: 1,
        fix: Some(Fix { since: at(400), change: None, verdict: None }),
        closed_at: None,
        merged_into: None,
        before: vec![],
    };
    let involved = |incident, person: &str, seconds| Involved {
        incident: id(incident),
        person: person.into(),
        since: at(seconds),
    };
    let involved = vec![involved(7, "ana", 500), involved(7, NASTY, 620), involved(3, "ana", 0)];
    let reason = Reason::new("drafted", "drafted by {actor}").text("actor", "quell");
    let timeline = vec![ProblemEntry { problem: PROBLEM, at: at(300), actor: "quell".into(), reason }];
    ProblemDetail { problem, timeline, signatures: vec![signature], told: 4, involved }
}

pub(crate) fn recognition(number: u64) -> Recognition {
    Recognition {
        incident: id(number),
        signature: Some(SIGNATURE),
        likeness: 0.876_54,
        novel: false,
        traits: Traits { cause: Some(CiId::new("db-1")), signs: vec![1], words: vec![] },
        opened_at: at(200),
        ended_at: Some(at(800)),
        how: "all of its alerts have ended".into(),
        alerts: 2,
        priority: Priority::new(2).expect("2 is one"),
        service: None,
        dependents: 3,
        workaround: Some(Attached {
            problem: PROBLEM,
            text: NASTY.into(),
            at: at(210),
            helped: Some(true),
            said_by: None,
        }),
    }
}

pub(crate) fn script() -> std::sync::Arc<Script> {
    Script::new().set(|state| {
        state.incidents = vec![incident(7, IncidentState::Open)];
        state.problems = vec![detail(ProblemState::KnownError)];
        state.recognitions = vec![recognition(7)];
        state.verdict = Some(Verdict::Done);
    })
}

#[tokio::test]
async fn problems_are_read_as_described() {
    let script = script();
    let router = script.router();
    let list = get(&router, "/api/v1/problems").await.json();
    conforms("ProblemList", &list);
    assert_eq!(list["items"][0]["cost"], json!({"incidents": 3, "open_minutes": 60.0, "alerts": 6}));
    assert_eq!(get(&router, "/api/v1/problems?state=closed").await.json()["items"], json!([]));
    let wrong = get(&router, "/api/v1/problems?state=done").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(wrong.json().to_string().contains("open, settled, all, new, investigating"), "{}", wrong.text);
    let one = get(&router, "/api/v1/problems/PRB-1").await.json();
    conforms("Problem", &one);
    assert_eq!((&one["told"], &one["workaround"]["helped"]), (&json!(4), &json!(1)));
    assert_eq!(one["incidents"][0]["likeness"], 0.877);
    for missing in ["PRB-9", "PRB-1.1", "INC-7"] {
        let answer = get(&router, &format!("/api/v1/problems/{missing}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{missing}");
    }
    let signatures = get(&router, "/api/v1/signatures").await.json();
    conforms("SignatureList", &signatures);
    conforms("Signature", &get(&router, "/api/v1/signatures/SIG-2").await.json());
    assert_eq!(get(&router, "/api/v1/signatures/SIG-3").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_incident_says_what_it_is_like_and_what_helps() {
    let script = script();
    let shown = get(&script.router(), "/api/v1/incidents/INC-7").await.json();
    conforms("Incident", &shown);
    let like = &shown["recognised"];
    conforms("Recognition", like);
    let similar: Vec<&Value> = like["similar"].as_array().expect("a list").iter().map(|one| &one["incident"]).collect();
    assert_eq!(similar, ["INC-6", "INC-5"], "the latest first, and not itself");
    assert_eq!((&like["problem"]["id"], &like["novel"]), (&json!("PRB-1"), &json!(false)));
    assert_eq!(like["workaround"]["text"], NASTY);
    let script = script.set(|state| state.recognitions.clear());
    assert_eq!(get(&script.router(), "/api/v1/incidents/INC-7").await.json()["recognised"], Value::Null);
}

#[tokio::test]
async fn what_is_asked_goes_onto_the_log() {
    let of = |act| ProblemAsk::Of(PROBLEM, act);
    let text = || Some("restart".to_owned());
    let instant = Timestamp::parse_rfc3339("2026-01-31T23:59:59Z").expect("valid");
    for (path, body, asked) in [
        ("problems/PRB-1/accept", "{}", of(ProblemAct::Accept)),
        ("problems/PRB-1/reject", r#"{"note":"restart"}"#, of(ProblemAct::Reject { why: text() })),
        (
            "problems/PRB-1/merge",
            r#"{"into":"PRB-3"}"#,
            of(ProblemAct::Merge { into: ProblemId { number: 3, ..PROBLEM } }),
        ),
        ("problems/PRB-1/move", r#"{"to":"closed"}"#, of(ProblemAct::Move { to: ProblemState::Closed, why: None })),
        (
            "problems/PRB-1/set",
            r#"{"field":"workaround","text":"restart"}"#,
            of(ProblemAct::Set(ProblemField::Workaround(text()))),
        ),
        ("problems/PRB-1/set", r#"{"field":"owner"}"#, of(ProblemAct::Set(ProblemField::Owner(None)))),
        (
            "problems/PRB-1/set",
            r#"{"field":"due","text":"2026-01-31"}"#,
            of(ProblemAct::Set(ProblemField::Due(Some(instant)))),
        ),
        ("problems/PRB-1/comment", r#"{"text":"restart"}"#, of(ProblemAct::Comment { text: "restart".into() })),
        ("problems/PRB-1/undo", "", of(ProblemAct::Undo)),
        ("signatures/SIG-2/draft", "", ProblemAsk::Draft(SIGNATURE)),
        (
            "signatures/SIG-2/merge",
            r#"{"into":"SIG-3"}"#,
            ProblemAsk::MergeSignatures { from: SIGNATURE, into: SignatureId { number: 3, ..SIGNATURE } },
        ),
        ("signatures/SIG-2/part", "", ProblemAsk::PartSignature(SIGNATURE)),
        (
            "signatures/SIG-2/split",
            r#"{"incidents":["INC-5","INC-6"]}"#,
            ProblemAsk::SplitSignature { from: SIGNATURE, incidents: vec![id(5), id(6)] },
        ),
        ("incidents/INC-7/workaround", r#"{"helped":"no"}"#, ProblemAsk::Helped { incident: id(7), helped: false }),
    ] {
        let script = script();
        let answer = post(&script.router(), &format!("/api/v1/{path}"), body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{path}: {}", answer.text);
        conforms("ProblemCommanded", &answer.json());
        assert_eq!(answer.json()["outcome"], "done", "{path}");
        assert_eq!(script.get(|state| state.asked_problems[0].ask.clone()), asked, "{path}");
    }
}

#[tokio::test]
async fn a_linked_change_must_be_known_and_counts_from_its_end() {
    let change = Change {
        id: ChangeId { position: Position(7), ordinal: 1 },
        fingerprint: quell_domain::Fingerprint(1),
        source: Source::PagerDutyChange,
        summary: "Deploy".into(),
        by: String::new(),
        link: None,
        labels: Labels::default(),
        binding: None,
        unbound: None,
        starts_at: at(1),
        ends_at: Some(at(2)),
        received_at: at(3),
    };
    let script = script().set(|state| state.told = vec![change.clone()]);
    let answer = post(&script.router(), "/api/v1/problems/PRB-1/link", r#"{"change":"R-7","item":1}"#).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
    let link = ProblemAct::Link { change: change.id, since: at(2) };
    assert_eq!(script.get(|state| state.asked_problems[0].ask.clone()), ProblemAsk::Of(PROBLEM, link));
    let answer = post(&script.router(), "/api/v1/problems/PRB-1/link", r#"{"change":"R-7"}"#).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_change_of_several_cis_tells_what_it_risks() {
    let topology = r#"{"cis":[{"id":"shop","kind":"service","name":"Shop"},{"id":"web-1","kind":"host","name":"w1"},
        {"id":"web-2","kind":"host","name":"w2"},{"id":"db-1","kind":"database","name":"DB"}],
        "relationships":[{"from":"shop","to":"web-1","kind":"depends_on","redundancy":"web"},
        {"from":"shop","to":"web-2","kind":"depends_on","redundancy":"web"},{"from":"web-2","to":"db-1","kind":"runs_on"}]}"#;
    let topology = quell_formats::topology::decode(topology.as_bytes()).expect("a sound topology");
    let change = Change {
        id: ChangeId { position: Position(7), ordinal: 0 },
        fingerprint: quell_domain::Fingerprint(1),
        source: Source::PagerDutyChange,
        summary: "Deploy".into(),
        by: String::new(),
        link: None,
        labels: Labels::default(),
        binding: None,
        unbound: None,
        starts_at: at(100),
        ends_at: None,
        received_at: at(100),
    };
    let script = script().set(|state| {
        state.graph = std::sync::Arc::new(quell_cmdb::Graph::new(topology));
        state.told = vec![change];
    });
    let one = get(&script.router(), "/api/v1/impact?ci=db-1").await.json();
    conforms("ImpactOfCi", &one);
    assert_eq!((&one["cis"], &one["changed"]), (&json!(1), &json!(["db-1"])));
    let lost = json!({"ci": "shop", "name": "Shop", "alternatives": 2, "left": 1, "at_least": 1, "falls": false,
        "one_more_failure_fells_it": true});
    assert_eq!(one["redundancy_lost"], json!([lost]), "what falls with it is lost too");
    let after = &one["after_changes"][0];
    assert_eq!((&after["changes"], &after["followed_by_an_incident"]), (&json!(1), &json!(1)));
    assert_eq!((&after["incidents"], &after["expected_by_chance"]), (&json!(["INC-7"]), &json!(0.2)));
    let two = get(&script.router(), "/api/v1/impact?ci=db-1,web-1").await.json();
    assert_eq!((&two["changed"], &two["cis"]), (&json!(["db-1", "web-1"]), &json!(2)));
    assert_eq!((&two["redundancy_lost"][0]["falls"], &two["services"][0]["ci"]), (&json!(true), &json!("shop")));
    assert_eq!(get(&script.router(), "/api/v1/impact?ci=db-1,nowhere").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&script.router(), "/api/v1/impact?ci=,").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_what_is_allowed() {
    for (path, body, place) in [
        ("problems/PRB-1/move", r#"{"to":"new"}"#, "to"),
        ("problems/PRB-1/set", r#"{"field":"state","text":"x"}"#, "field"),
        ("problems/PRB-1/set", r#"{"field":"due","text":"soon"}"#, "text"),
        ("problems/PRB-1/comment", "{}", "text"),
        ("problems/PRB-1/link", r#"{"change":"deploy"}"#, "change"),
        ("incidents/INC-7/workaround", r#"{"helped":"perhaps"}"#, "helped"),
        ("signatures/SIG-2/split", "{}", "incidents"),
    ] {
        let script = script();
        let answer = post(&script.router(), &format!("/api/v1/{path}"), body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path} {body}");
        assert_eq!(answer.json()["error"]["where"], place, "{path} {body}");
        assert!(script.get(|state| state.asked_problems.is_empty()), "{path}");
    }
    let script = script().set(|state| state.verdict = Some(Verdict::NotFound));
    let answer = post(&script.router(), "/api/v1/problems/PRB-1/accept", "{}").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_pages_show_problems_and_their_forms_lead_back() {
    let script = script();
    let list = get(&script.router(), "/problems").await;
    assert_eq!(list.status, StatusCode::OK);
    for part in ["<h1>Problems</h1>", "href=\"/problems/PRB-1\"", "known error", "60 min", "aria-current=\"page\">open"]
    {
        assert!(list.text.contains(part), "{part}: {}", list.text);
    }
    let page = get(&script.router(), "/problems/PRB-1").await.text;
    for part in [
        "href=\"/incidents/INC-7\"",
        "in 3 of 3",
        "helped in 1",
        "whether it works is being tested",
        "drafted by quell",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let incident = get(&script.router(), "/incidents/INC-7").await.text;
    for part in ["PRB-1</a> is a known error", "The workaround helped", "SIG-2, 88 % alike", "over after 10 min"] {
        assert!(incident.contains(part), "{part}: {incident}");
    }
    for text in [&list.text, &page, &incident] {
        assert!(!text.contains(NASTY), "what others wrote is escaped: {text}");
        assert_eq!(text.matches("<h1>").count(), 1);
        assert_eq!(text.matches("<input").count(), text.matches("<label").count());
    }
    let empty = get(&Script::new().router(), "/problems").await.text;
    assert!(empty.contains("three incidents of the same trouble") && empty.contains("curl -sS"), "{empty}");
    let own = [("content-type", "application/x-www-form-urlencoded"), ("origin", "http://localhost:9099")];
    let form = "by=Ana&note=&to=closed";
    let answer = ask(&script.router(), Method::POST, "/api/v1/problems/PRB-1/move", &own, form).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/problems/PRB-1"));
    let refused = script.set(|state| state.verdict = Some(Verdict::Refused));
    let answer = ask(&refused.router(), Method::POST, "/api/v1/problems/PRB-1/move", &own, form).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    let foreign = [("content-type", "application/x-www-form-urlencoded"), ("origin", "http://evil.example")];
    let answer = ask(&refused.router(), Method::POST, "/api/v1/problems/PRB-1/move", &foreign, form).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}
