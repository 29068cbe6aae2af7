//! Change events: PagerDuty's contract, the list, and what a receipt says of one.

use axum::http::StatusCode;
use quell_api::ports::{Held, Received, Refusal};
use quell_domain::{Binding, Change, ChangeId, CiId, Labels, Position, Reason, Source, Timestamp, ToldChange};
use quell_formats::pagerduty::change::decode;
use serde_json::json;

use crate::reads::conforms;
use crate::script::{NASTY, NOW, Script, get, post};

const DOOR: &str = "/v2/change/enqueue";
const EVENT: &str = r#"{"routing_key":"0123456789abcdef0123456789abcdef","payload":{"summary":"Deploy 7","source":"jenkins","timestamp":"2026-01-01T00:00:00Z","custom_details":{"service":"checkout"}},"links":[{"href":"https://ci.example/7"}]}"#;

#[tokio::test]
async fn a_change_event_is_answered_as_pagerduty_does_once_it_is_durable() {
    let script = Script::new();
    let answer = post(&script.router(), DOOR, EVENT).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.json(), json!({"status": "success", "message": "Change event processed"}));
    conforms("ChangeTaken", &answer.json());
    assert_eq!(answer.header("x-quell-receipt"), "R-1");
    script.get(|state| {
        let (body, changes) = &state.accepted_changes[0];
        assert_eq!((&body[..], changes.items.len()), (EVENT.as_bytes(), 1));
        assert!(state.accepted.is_empty());
    });
    let refused = Script::new().set(|state| state.refusal = Some(Refusal::DiskFull));
    let answer = post(&refused.router(), DOOR, EVENT).await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "5"));
    conforms("EventRefused", &answer.json());
}

#[tokio::test]
async fn what_is_no_change_event_is_durable_before_the_400() {
    for (body, error) in [
        ("[]", "found an array"),
        ("{", "the body is not JSON"),
        (&EVENT.replace("0123456789abcdef\"", "\""), "Length of 'routing_key' is incorrect (should be 32 characters)"),
        (&EVENT.replace("Deploy 7", " "), "'payload.summary' is missing or blank"),
    ] {
        let script = Script::new();
        let answer = post(&script.router(), DOOR, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        conforms("EventRefused", &answer.json());
        let said = answer.json();
        assert_eq!((&said["status"], &said["message"]), (&json!("invalid event"), &json!("Event object is invalid")));
        assert!(said["errors"][0].as_str().is_some_and(|found| found.starts_with(error)), "{said}");
        assert_eq!(answer.header("x-quell-receipt"), "R-1");
        script.get(|state| assert_eq!(state.accepted_changes[0].1.rejects.len(), 1));
    }
}

fn told() -> ToldChange {
    decode(EVENT.as_bytes()).items.remove(0)
}

pub(crate) fn change(position: u64, bound: bool) -> Change {
    let why = || Reason::new("label", "label {label} names it").text("label", NASTY);
    Change {
        id: ChangeId { position: Position(position), ordinal: 0 },
        fingerprint: told().fingerprint,
        source: Source::PagerDutyChange,
        summary: NASTY.into(),
        by: String::new(),
        link: None,
        labels: Labels::new([("service", NASTY)]),
        binding: bound.then(|| Binding { ci: CiId::new("checkout"), confidence: 0.9, reason: why() }),
        unbound: (!bound).then(why),
        starts_at: NOW,
        ends_at: None,
        received_at: NOW,
    }
}

#[tokio::test]
async fn changes_are_listed_by_ci_and_time() {
    let script = Script::new().set(|state| state.told = vec![change(1, true), change(2, false), change(3, true)]);
    let answer = get(&script.router(), "/api/v1/changes?limit=2").await.json();
    conforms("ChangeList", &answer);
    assert_eq!((&answer["items"][0]["receipt"], &answer["next"]), (&json!("R-3"), &json!("2.0")));
    assert_eq!((&answer["items"][0]["ci"], &answer["items"][1]["ci"]), (&json!("checkout"), &json!(null)));
    assert_eq!(answer["items"][0]["summary"], NASTY);
    let path = "/api/v1/changes?ci=checkout&bound=true&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&cursor=2.0";
    assert_eq!(get(&script.router(), path).await.status, StatusCode::OK);
    let asked = script.get(|state| state.asked.clone()).expect("asked");
    let day = |text| Timestamp::parse_rfc3339(text);
    assert_eq!((asked.ci, asked.bound, asked.limit), (Some(CiId::new("checkout")), Some(true), 50));
    assert_eq!((asked.from, asked.to), (day("2026-01-01T00:00:00Z"), day("2026-01-02T00:00:00Z")));
    assert_eq!(asked.before, Some(ChangeId { position: Position(2), ordinal: 0 }));
    for wrong in ["cursor=x", "bound=perhaps", "from=noon", "since=2026-01-01T00:00:00Z"] {
        let answer = get(&script.router(), &format!("/api/v1/changes?{wrong}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn a_receipt_tells_what_became_of_a_change() {
    let check = async |applied: u64, rows: Vec<Change>, body: &str, fate: &str, reason: &str| {
        let script = Script::new().set(|state| {
            state.told = rows;
            state.applied = Position(applied);
            let held = Held::Changes(decode(body.as_bytes()));
            state.records.insert(Position(3), Received { received_at: NOW, held });
        });
        let answer = get(&script.router(), "/api/v1/receipts/R-3").await.json();
        conforms("Receipt", &answer);
        assert_eq!(answer["items"][0]["fate"], fate, "{answer}");
        let found = answer["items"][0]["reason"].as_str().unwrap_or_default();
        assert!(found.starts_with(reason), "{found}");
    };
    check(2, vec![], EVENT, "waiting", "the engine has not reached it yet").await;
    check(3, vec![change(3, true)], EVENT, "bound", "a change of checkout: label").await;
    check(3, vec![change(3, false)], EVENT, "unbound", "kept, and evidence for no cause: label").await;
    check(3, vec![change(1, true)], EVENT, "repeated", "the same change as in R-1").await;
    check(3, vec![], EVENT, "repeated", "the same change as an earlier one").await;
    check(3, vec![], "{}", "rejected", "'routing_key' is missing or blank").await;
}
