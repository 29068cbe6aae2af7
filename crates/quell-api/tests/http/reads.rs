//! What programs read, and the commands they give.

use axum::http::{Method, StatusCode};
use quell_api::ApiLimits;
use quell_api::ports::{Health, Held, Received, Refusal};
use quell_domain::{
    Activation, AlertId, AlertState, ArtefactKind, CiId, CommandKind, Digest, Feedback, IncidentId, IncidentState,
    Party, Position, Reason, Said, Source, Standing, Timestamp, Verdict,
};
use quell_engine::Parked;
use quell_formats::alertmanager::decode_api;
use serde_json::{Value, json};

use crate::script::{NOW, Script, alert, ask, get, incident, post, unbound};

const TOPOLOGY: &str = r#"{"cis":[{"id":"shop","kind":"service","name":"Shop"},{"id":"db","kind":"database","name":"DB"}],
    "relationships":[{"from":"shop","to":"db","kind":"depends_on"}]}"#;

/// The properties that the description of the API requires of a schema are in the value.
pub(crate) fn conforms(name: &str, value: &Value) {
    let described: Value = serde_json::from_str(include_str!("../../openapi.json")).expect("JSON");
    let schema = &described["components"]["schemas"][name];
    check(&described, schema, value, name);
}

fn check(described: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.trim_start_matches("#/components/schemas/");
        return check(described, &described["components"]["schemas"][name], value, name);
    }
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = |kind: &str| kind == found || (kind, found) == ("number", "integer");
    match &schema["type"] {
        Value::String(kind) => assert!(fits(kind), "{at}: {value} is no {kind}"),
        Value::Array(kinds) => {
            assert!(kinds.iter().filter_map(Value::as_str).any(fits), "{at}: {value} is none of {kinds:?}");
        }
        _ => {}
    }
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let Some(field) = value.get(required) else {
            unreachable!("{at}: {required} is missing in {value}");
        };
        check(described, &schema["properties"][required], field, &format!("{at}.{required}"));
    }
    for item in value.as_array().into_iter().flatten() {
        check(described, &schema["items"], item, &format!("{at}[]"));
    }
}

#[tokio::test]
async fn incidents_by_state_in_parts() {
    let script = Script::new().set(|state| {
        state.incidents = (1..=5).map(|n| incident(n, IncidentState::Open)).collect();
        state.incidents.push(incident(6, IncidentState::Resolved));
    });
    let router = script.router();
    let ids = |answer: &Value| -> Vec<String> {
        let items = answer["items"].as_array().expect("items");
        items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
    };
    let first = get(&router, "/api/v1/incidents?limit=2").await.json();
    conforms("IncidentList", &first);
    assert_eq!((ids(&first), &first["next"]), (vec!["INC-5".into(), "INC-4".into()], &json!("INC-4")));
    assert_eq!(first["items"][0]["alerts_total"], 1);
    let rest = get(&router, "/api/v1/incidents?limit=1000&cursor=INC-4").await.json();
    assert_eq!((ids(&rest).len(), &rest["next"]), (3, &Value::Null));
    assert_eq!(ids(&get(&router, "/api/v1/incidents?state=resolved").await.json()), ["INC-6"]);
    assert_eq!(ids(&get(&router, "/api/v1/incidents/?state=all").await.json()).len(), 6);
}

#[tokio::test]
async fn one_incident() {
    let script = Script::new().set(|state| state.incidents = vec![incident(7, IncidentState::Resolved)]);
    let answer = get(&script.router(), "/api/v1/incidents/INC-7").await;
    assert_eq!(answer.status, StatusCode::OK);
    conforms("Incident", &answer.json());
    assert_eq!(answer.json()["alerts"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn every_error_says_what_where_and_what_is_allowed() {
    let script = Script::new();
    for (path, status, place) in [
        ("/api/v1/incidents?limit=5000", 400, json!("query parameter limit")),
        ("/api/v1/incidents?state=closed", 400, json!("query parameter state")),
        ("/api/v1/incidents?cursor=7", 400, json!("query parameter cursor")),
        ("/api/v1/alerts?fingerprint=xyz", 400, json!("query parameter fingerprint")),
        ("/api/v1/alerts?colour=red", 400, json!("query parameter")),
        ("/api/v1/impact", 400, json!("query parameter ci")),
        ("/api/v1/impact?ci=nowhere", 404, Value::Null),
        ("/api/v1/incidents/INC-7", 404, Value::Null),
        ("/api/v1/incidents/7", 404, Value::Null),
        ("/api/v1/incidents/INC-2.7", 404, Value::Null),
        ("/api/v1/receipts/R-7", 404, Value::Null),
        ("/api/v1/receipts/x", 404, Value::Null),
        ("/api/v1/nothing", 404, Value::Null),
        ("/v2/enqueue", 405, json!("/v2/enqueue")),
    ] {
        let answer = get(&script.router(), path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text);
        conforms("Error", &answer.json());
        assert_eq!(answer.json()["error"]["where"], place, "{path}");
    }
}

#[tokio::test]
async fn alerts_and_parked_parts() {
    let script = Script::new().set(|state| {
        state.alerts = (1..=3).map(|n| alert(n, None)).collect();
        state.alerts[0].binding = None;
        state.parked = vec![Parked {
            position: Position(9),
            ordinal: 0,
            item: None,
            source: Source::PagerDuty,
            received_at: NOW,
            reason: "no JSON".into(),
            raw: "{".into(),
        }];
    });
    let unbound = get(&script.router(), "/api/v1/alerts?bound=false&state=firing").await.json();
    conforms("AlertList", &unbound);
    assert_eq!((unbound["items"].as_array().map(Vec::len), &unbound["next"]), (Some(1), &json!("4")));
    let parked = get(&script.router(), "/api/v1/parked?limit=10").await.json();
    conforms("ParkedList", &parked);
    assert_eq!((&parked["items"][0]["receipt"], &parked["items"][0]["source"]), (&json!("R-9"), &json!("pagerduty")));
}

#[tokio::test]
async fn a_topology_is_put_read_and_asked() {
    let script = Script::new();
    let router = script.router();
    let put = ask(&router, Method::PUT, "/api/v1/topology", &[], TOPOLOGY).await;
    assert_eq!(put.status, StatusCode::OK, "{}", put.text);
    conforms("TopologyTaken", &put.json());
    assert_eq!((&put.json()["cis"], &put.json()["relationships"]), (&json!(2), &json!(1)));
    let read = get(&router, "/api/v1/topology").await;
    conforms("Topology", &read.json());
    assert_eq!(read.header("etag").len(), 66);
    let impact = get(&router, "/api/v1/impact?ci=db").await.json();
    conforms("ImpactOfCi", &impact);
    assert_eq!(impact["ci"], "db");
}

#[tokio::test]
async fn a_past_instant_is_answered_with_the_topology_of_then() {
    let (old, new) = (TOPOLOGY, TOPOLOGY.replace("\"db\"", "\"database\""));
    let version = |digest, seconds| quell_store::Version {
        position: Position(3),
        at: Timestamp::from_seconds(seconds),
        activation: Activation { kind: ArtefactKind::Topology, digest: Digest([digest; 32]) },
    };
    let script = Script::new().set(|state| {
        // The one in force now has the digest 7; 1 cannot be read any more.
        state.versions = vec![version(1, 500), version(2, 1_000), version(7, 2_000)];
        state.artefacts.insert(Digest([2; 32]), old.as_bytes().to_vec());
    });
    let router = script.router();
    ask(&router, Method::PUT, "/api/v1/topology", &[], new).await;
    let at = |seconds: i64| Timestamp::from_seconds(seconds).to_string();
    for (path, status, ci) in [
        (format!("/api/v1/impact?ci=db&at={}", at(1_500)), 200, "db"),
        (format!("/api/v1/impact?ci=db&at={}", at(1_000)), 200, "db"),
        (format!("/api/v1/impact?ci=database&at={}", at(2_000)), 200, "database"),
        ("/api/v1/impact?ci=database".to_owned(), 200, "database"),
        (format!("/api/v1/impact?ci=db&at={}", at(2_000)), 404, ""),
        (format!("/api/v1/impact?ci=db&at={}", at(499)), 404, ""),
        (format!("/api/v1/impact?ci=db&at={}", at(500)), 500, ""),
        ("/api/v1/impact?ci=db&at=yesterday".to_owned(), 400, ""),
    ] {
        let answer = get(&router, &path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert_eq!(answer.json()["ci"].as_str().unwrap_or_default(), ci, "{path}");
    }
    let then = get(&router, &format!("/api/v1/topology?at={}", at(1_500))).await;
    assert_eq!(then.header("etag"), format!("\"{}\"", Digest([2; 32])));
    assert_eq!(then.json()["cis"][0]["id"], "db");
    let versions = get(&router, &format!("/api/v1/topology/versions?at={}", at(1_500))).await.json();
    conforms("TopologyVersions", &versions);
    assert_eq!(versions["items"][0], json!({"digest": Digest([2; 32]).to_string(), "since": at(1_000), "position": 3}));
    assert_eq!(versions["items"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn hygiene_lists_what_should_be_put_right() {
    let estate = r#"{"cis":[{"id":"old","kind":"host","lifecycle":"retired","owner":"a"},{"id":"x","kind":"host","aliases":["10.0.0.1"]},
        {"id":"y","kind":"host","owner":"a","aliases":["10.0.0.1"]}],
        "relationships":[{"from":"x","to":"y","last_seen":"2020-01-01T00:00:00Z"},{"from":"y","to":"x"}]}"#;
    let mut about_old = alert(1, None);
    about_old.binding.as_mut().expect("bound").ci = quell_domain::CiId::new("old");
    let script = Script::new().set(|state| state.alerts = vec![unbound(4), unbound(3), alert(2, None), about_old]);
    let router = script.router();
    ask(&router, Method::PUT, "/api/v1/topology", &[], estate).await;
    let found = get(&router, "/api/v1/hygiene?limit=1").await.json();
    conforms("Hygiene", &found);
    assert_eq!((&found["unbound_alerts"], &found["unbound"]["total"]), (&json!(2), &json!(1)));
    let unbound = &found["unbound"]["first"][0];
    assert_eq!((&unbound["alerts"], &unbound["label"]), (&json!(2), &json!("host")));
    assert_eq!(found["retired_that_alert"]["first"][0]["ci"], "old");
    assert_eq!(found["duplicates"]["first"], json!([{"name": "10.0.0.1", "cis": ["x", "y"], "count": 2}]));
    assert_eq!(found["ownerless"], json!({"total": 1, "first": ["x"]}));
    assert_eq!(found["stale_relationships"]["first"][0]["last_seen"], "2020-01-01T00:00:00Z");
    let page = get(&router, "/hygiene").await.text;
    for words in
        ["Alerts bound to no CI: 2", "Retired CIs that alert: 1", "Names of several CIs: 1", "Stale relationships: 1"]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[tokio::test]
async fn what_was_learned_is_shown_with_when_it_came_into_force() {
    let script = Script::new();
    let router = script.router();
    assert_eq!(get(&router, "/api/v1/learned").await.json(), json!({"in_force": null}));
    let seen = |alone, delay| quell_engine::learn::NameSeen { seen: 4, alone, delay };
    let learned = quell_engine::Learned {
        episodes: 8,
        names: [("Down".to_owned(), seen(1.0, 30.0)), ("Noise".to_owned(), seen(3.0, 0.0))].into(),
        ..quell_engine::Learned::default()
    };
    let activation = Activation { kind: ArtefactKind::Learned, digest: Digest([3; 32]) };
    let version = quell_store::Version { position: Position(5), at: Timestamp::from_seconds(1_000), activation };
    let script = script.set(|state| {
        state.versions = vec![version];
        state.artefacts.insert(Digest([3; 32]), quell_formats::learned::encode(&learned));
    });
    let router = script.router();
    let shown = get(&router, "/api/v1/learned?limit=1").await.json();
    conforms("Learned", &shown);
    let since = version.at.to_string();
    assert_eq!(shown["in_force"], json!({"digest": Digest([3; 32]).to_string(), "since": since, "position": 5}));
    let (names, late) = (&shown["learned"]["names"], &shown["learned"]["late"]);
    assert_eq!(names["total"], 2);
    assert_eq!(
        names["first"],
        json!([{"name": "Noise", "episodes": 4, "alone": 0.75, "delay_seconds": 0.0}]),
        "no more than asked for"
    );
    assert_eq!((&late["total"], &late["first"][0]["name"]), (&json!(1), &json!("Down")));
    assert_eq!(get(&router, "/api/v1/learned?limit=0").await.status, StatusCode::BAD_REQUEST);
    let script = script.set(|state| state.artefacts.clear());
    assert_eq!(get(&script.router(), "/api/v1/learned").await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_faulty_topology_names_every_mistake() {
    let script = Script::new();
    let faulty = TOPOLOGY.replace("\"id\":\"db\"", "\"id\":\"shop\"");
    let answer = ask(&script.router(), Method::PUT, "/api/v1/topology", &[], faulty).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let message = answer.json()["error"]["message"].as_str().expect("text").to_owned();
    assert!(message.contains("cis[1].id") && message.contains("relationships[0].to"), "{message}");
}

#[tokio::test]
async fn commands_are_answered_with_what_became_of_them() {
    for (verdict, outcome) in
        [(Some(Verdict::Done), json!("done")), (Some(Verdict::Unchanged), json!("unchanged")), (None, Value::Null)]
    {
        let script = Script::new().set(|state| {
            state.incidents = vec![incident(7, IncidentState::Open)];
            state.verdict = verdict;
        });
        let answer = post(&script.router(), "/api/v1/incidents/INC-7/resolve", r#"{"by":"Ana","note":"x"}"#).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        conforms("Commanded", &answer.json());
        assert_eq!((&answer.json()["command"], &answer.json()["outcome"]), (&json!("C-1"), &outcome));
        let kind = script.get(|state| state.commands[0].kind.clone());
        assert_eq!(kind, CommandKind::Resolve { note: Some("x".into()) });
    }
}

#[tokio::test]
async fn groups_and_causes_are_mended_by_commands() {
    let id = |number| IncidentId { shard: 0, number };
    let split = |alerts: &[u64]| CommandKind::Split { alerts: alerts.iter().copied().map(AlertId).collect() };
    let cause = |right: Option<&str>| CommandKind::WrongCause { ci: CiId::new("db"), right: right.map(CiId::new) };
    for (act, body, expected) in [
        ("merge", r#"{"into":"INC-8"}"#, CommandKind::Merge { into: id(8) }),
        ("split", r#"{"alerts":[3,"4"]}"#, split(&[3, 4])),
        ("split", r#"{"alerts":5}"#, split(&[5])),
        ("wrong-group", r#"{"alert":3}"#, CommandKind::WrongGroup { alert: AlertId(3) }),
        ("wrong-cause", r#"{"ci":"db"}"#, cause(None)),
        ("wrong-cause", r#"{"ci":"db","right":"sw"}"#, cause(Some("sw"))),
        ("undo", "", CommandKind::Undo),
    ] {
        let script = Script::new().set(|state| {
            state.incidents = vec![incident(7, IncidentState::Open), incident(8, IncidentState::Open)];
            state.verdict = Some(Verdict::Refused);
        });
        let answer = post(&script.router(), &format!("/api/v1/incidents/INC-7/{act}"), body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{act}: {}", answer.text);
        conforms("Commanded", &answer.json());
        assert_eq!(answer.json()["outcome"], "refused");
        assert_eq!(script.get(|state| state.commands[0].kind.clone()), expected);
    }
}

#[tokio::test]
async fn what_operators_said_is_listed() {
    let party = |ci: Option<&str>| Party { ci: ci.map(CiId::new), alert: "Down".into() };
    let (ours, theirs) = (vec![party(Some("db"))], vec![party(None)]);
    let feedback = |command, said| Feedback {
        command: Position(command),
        incident: IncidentId { shard: 0, number: 7 },
        actor: "ana".into(),
        at: NOW,
        said,
        standing: Standing::InForce,
    };
    let cause = Said::Cause { wrong: CiId::new("db"), right: None, alerts: ours.clone() };
    let script = Script::new().set(|state| {
        state.feedback = vec![feedback(2, Said::Apart { ours, theirs }), feedback(1, cause)];
    });
    let listed = get(&script.router(), "/api/v1/feedback?limit=5").await.json();
    conforms("FeedbackList", &listed);
    assert_eq!((&listed["items"][0]["kind"], &listed["items"][1]["wrong"]), (&json!("apart"), &json!("db")));
}

#[tokio::test]
async fn commands_that_cannot_be() {
    let script = Script::new().set(|state| state.incidents = vec![incident(7, IncidentState::Open)]);
    for (path, body, status) in [
        ("/api/v1/incidents/INC-8/ack", "{}", 404),
        ("/api/v1/incidents/INC-7/ack", "nonsense", 400),
        ("/api/v1/incidents/INC-7/comment", r#"{"by":"Ana"}"#, 400),
        ("/api/v1/incidents/INC-7/ack", r#"{"by":7}"#, 400),
        ("/api/v1/incidents/INC-7/ack", r#"{"into":"INC-8"}"#, 400),
        ("/api/v1/incidents/INC-7/merge", "{}", 400),
        ("/api/v1/incidents/INC-7/merge", r#"{"into":"INC-9"}"#, 404),
        ("/api/v1/incidents/INC-7/merge", r#"{"into":["INC-9","INC-7"]}"#, 400),
        ("/api/v1/incidents/INC-7/split", r#"{"alerts":[]}"#, 400),
        ("/api/v1/incidents/INC-7/split", r#"{"alerts":["x"]}"#, 400),
        ("/api/v1/incidents/INC-7/wrong-group", r#"{"alert":-1}"#, 400),
        ("/api/v1/incidents/INC-7/wrong-cause", r#"{"right":"db"}"#, 400),
    ] {
        let answer = post(&script.router(), path, body).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {body}: {}", answer.text);
        conforms("Error", &answer.json());
    }
    let overloaded = script.set(|state| state.refusal = Some(Refusal::Overloaded));
    let answer = post(&overloaded.router(), "/api/v1/incidents/INC-7/ack", "").await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    script.get(|state| assert!(state.commands.is_empty()));
}

/// One request with nine items, and rows as the engine would have left them.
fn receipt_script() -> std::sync::Arc<Script> {
    let body = r#"[
        {"labels":{"alertname":"new"}},
        {"labels":{}},
        {"labels":{"alertname":"joined"}},
        {"labels":{"alertname":"known"}},
        {"labels":{"alertname":"ended"},"startsAt":"2023-01-01T00:00:00Z","endsAt":"2023-01-02T00:00:00Z"},
        {"labels":{"alertname":"unheard"},"startsAt":"2023-01-01T00:00:00Z","endsAt":"2023-01-02T00:00:00Z"},
        {"labels":{"alertname":"new"}},
        {"labels":{"alertname":"beyond"}},
        {"labels":{"alertname":"over"},"startsAt":"2023-01-01T00:00:00Z","endsAt":"2023-01-02T00:00:00Z"}
    ]"#;
    let batch = decode_api(body.as_bytes());
    let prints: Vec<_> = batch.items().iter().map(|item| item.fingerprint).collect();
    let opening = incident(3, IncidentState::Open);
    let id = opening.incident.id;
    Script::new().set(|state| {
        let row = |number: u64, print: usize, position: u64, ordinal: u32| {
            let mut row = alert(number, Some(id));
            (row.fingerprint, row.opened_position, row.opened_ordinal) = (prints[print], Position(position), ordinal);
            row
        };
        let mut ended = row(13, 3, 1, 0);
        (ended.state, ended.closed_position) = (AlertState::Ended, Some(Position(3)));
        let mut over = row(14, 7, 1, 1);
        (over.state, over.closed_position, over.ends_at) = (AlertState::Ended, Some(Position(2)), Some(NOW));
        state.alerts = vec![row(10, 0, 3, 0), row(11, 1, 3, 1), row(12, 2, 2, 0), ended, over];
        state.incidents = vec![opening];
        state.applied = Position(3);
        state.records.insert(Position(3), Received { received_at: NOW, held: Held::Alerts(batch) });
    })
}

#[tokio::test]
async fn a_receipt_tells_the_fate_of_each_item() {
    let answer = get(&receipt_script().router(), "/api/v1/receipts/R-3").await.json();
    conforms("Receipt", &answer);
    assert_eq!(answer["state"], "decided");
    let fates: Vec<(u64, &str, Option<u64>)> = answer["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|i| (i["item"].as_u64().expect("a number"), i["fate"].as_str().expect("a fate"), i["alert"].as_u64()))
        .collect();
    let expected = [
        (0, "opened", Some(10)),
        (1, "rejected", None),
        (2, "correlated", Some(11)),
        (3, "deduplicated", Some(12)),
        (4, "resolved", Some(13)),
        (5, "stale", None),
        (6, "deduplicated", Some(10)),
        (7, "overflowed", None),
        (8, "deduplicated", Some(14)),
    ];
    assert_eq!(fates, expected);
    assert_eq!(answer["items"][0]["incident"], "INC-3");
}

#[tokio::test]
async fn a_receipt_tells_why_an_alert_belongs_to_no_incident() {
    let script = receipt_script().set(|state| {
        state.alerts[1].incident = None;
        state.alerts[1].membership = Some(Reason::new("held", "held back by rule {rule}").text("rule", "restarts"));
    });
    let answer = get(&script.router(), "/api/v1/receipts/R-3").await.json();
    conforms("Receipt", &answer);
    let item = &answer["items"][2];
    let found = (&item["fate"], &item["incident"], &item["reason"]);
    assert_eq!(found, (&json!("suppressed"), &json!(null), &json!("held back by rule restarts")));
}

#[tokio::test]
async fn a_receipt_waits_until_the_engine_has_reached_it() {
    let script = receipt_script().set(|state| state.applied = Position(2));
    let answer = get(&script.router(), "/api/v1/receipts/R-3").await.json();
    conforms("Receipt", &answer);
    assert_eq!((&answer["state"], &answer["items"][0]["fate"]), (&json!("waiting"), &json!("waiting")));
    assert_eq!(answer["items"][1]["fate"], "rejected");
}

#[tokio::test]
async fn health_in_alertmanagers_words() {
    let script = Script::new();
    for path in ["/livez", "/readyz", "/-/healthy", "/-/ready"] {
        for method in [Method::GET, Method::HEAD] {
            let answer = ask(&script.router(), method.clone(), path, &[], "").await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            assert_eq!(answer.text, if method == Method::GET { "OK" } else { "" }, "{path}");
        }
    }
    let not_ready = vec!["the disk is full".to_owned()];
    script.set(|state| state.health = Health { not_ready, ..Health::default() });
    for (path, status) in [("/livez", 200), ("/-/healthy", 200), ("/readyz", 503), ("/-/ready", 503)] {
        assert_eq!(get(&script.router(), path).await.status.as_u16(), status, "{path}");
    }
    assert_eq!(get(&script.router(), "/readyz").await.text, "the disk is full");
}

#[tokio::test]
async fn hosts_and_addresses_are_limited() {
    let limits = ApiLimits { hosts: vec!["quell.example".into()], ..ApiLimits::default() };
    let router = Script::new().router_with(limits);
    for (host, status) in [("quell.example", 200), ("[::1]:9099", 200), ("other.example", 421)] {
        let answer = ask(&router, Method::GET, "/livez", &[("host", host)], "").await;
        assert_eq!(answer.status.as_u16(), status, "{host}");
    }
    let long = get(&router, &format!("/livez?{}", "x".repeat(9_000))).await;
    assert_eq!(long.status, StatusCode::URI_TOO_LONG);
    let described = get(&router, "/api/openapi.json").await;
    assert_eq!(described.json()["openapi"], "3.1.0");
}
