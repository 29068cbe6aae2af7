//! The senders' contracts: statuses, bodies and headers, and what was made durable before them.

use std::io::Write;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use flate2::Compression;
use flate2::write::GzEncoder;
use quell_api::ApiLimits;
use quell_api::ports::Refusal;
use quell_domain::Source;
use serde_json::json;

use crate::script::{Script, ask, get, post};

const GOOD: &str = r#"[{"labels":{"alertname":"Down","instance":"a"}}]"#;
const HALF: &str = r#"[{"labels":{}},{"labels":{"alertname":"Down"}},{"labels":{"a":7}}]"#;
const EVENT: &str = r#"{"routing_key":"0123456789abcdef0123456789abcdef","event_action":"trigger","payload":{"summary":"s","source":"h","severity":"error"}}"#;
const HOOK: &str = r#"{"version":"4","groupKey":"g","status":"firing","receiver":"r","alerts":[{"status":"firing","labels":{"alertname":"Down"},"annotations":{},"startsAt":"2026-01-01T00:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"","fingerprint":"abc"}]}"#;

#[tokio::test]
async fn alertmanager_api_answers_200_and_nothing() {
    let script = Script::new();
    let router = script.router();
    for path in ["/api/v2/alerts", "/api/v2/alerts/", "/api/v1/alerts"] {
        for kind in ["application/json", "text/plain; charset=UTF-8", ""] {
            let answer = ask(&router, Method::POST, path, &[("content-type", kind)], GOOD).await;
            assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, ""), "{path}");
            assert!(answer.header("x-quell-receipt").starts_with("R-"));
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
        }
    }
    script.get(|state| {
        assert_eq!(state.accepted.len(), 9);
        let (source, body, batch) = &state.accepted[0];
        assert_eq!((*source, &body[..], batch.items().len()), (Source::AlertmanagerApi, GOOD.as_bytes(), 1));
    });
}

#[tokio::test]
async fn what_is_invalid_is_named_and_the_rest_is_durable() {
    let script = Script::new();
    let answer = post(&script.router(), "/api/v2/alerts", HALF).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.json().as_str().is_some_and(|text| text.contains("; ")), "{}", answer.text);
    assert_eq!(answer.header("x-quell-receipt"), "R-1");
    script.get(|state| assert_eq!((state.accepted[0].2.items().len(), state.accepted[0].2.rejects.len()), (1, 2)));
}

#[tokio::test]
async fn what_does_not_parse_is_durable_before_the_400() {
    for (path, body) in [
        ("/api/v2/alerts", "{"),
        ("/api/v2/alerts", ""),
        ("/api/v1/webhooks/alertmanager", "not json"),
        ("/v2/enqueue", "[]"),
    ] {
        let script = Script::new();
        let answer = post(&script.router(), path, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(answer.header("x-quell-receipt"), "R-1", "{path}");
        script.get(|state| assert_eq!(state.accepted[0].2.rejects.len(), 1, "{path}"));
    }
}

#[tokio::test]
async fn webhook_answers_with_its_receipt() {
    let script = Script::new();
    let answer = post(&script.router(), "/api/v1/webhooks/alertmanager", HOOK).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.json(), json!({"status": "ok", "receipt": "R-1", "rejected": 0}));
    let refused = post(&script.router(), "/api/v1/webhooks/alertmanager", "[]").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.json()["error"]["code"], "not_understood");
}

#[tokio::test]
async fn pagerduty_event_without_a_key_is_recorded_with_the_one_it_is_given() {
    let script = Script::new();
    let answer = post(&script.router(), "/v2/enqueue", EVENT).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
    let body = answer.json();
    let key = body["dedup_key"].as_str().expect("a key").to_owned();
    assert_eq!(key.len(), 32);
    assert_eq!(body, json!({"status": "success", "message": "Event processed", "dedup_key": key}));
    script.get(|state| {
        let recorded: serde_json::Value = serde_json::from_slice(&state.accepted[0].1).expect("JSON");
        assert_eq!(recorded["dedup_key"], key);
        assert_eq!(state.accepted[0].2.items().len(), 1);
    });
    let again = post(&script.router(), "/v2/enqueue", &EVENT.replacen('{', r#"{"dedup_key":"mine","#, 1)).await;
    assert_eq!(again.json()["dedup_key"], "mine");
}

#[tokio::test]
async fn pagerduty_refuses_in_pagerdutys_words() {
    let script = Script::new();
    let body = EVENT.replace("0123456789abcdef0123456789abcdef", "short");
    let answer = post(&script.router(), "/v2/enqueue", &body).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let expected = json!({
        "status": "invalid event",
        "message": "Event object is invalid",
        "errors": ["Length of 'routing_key' is incorrect (should be 32 characters)"],
    });
    assert_eq!(answer.json(), expected);
    script.get(|state| assert_eq!(state.accepted.len(), 1));
}

#[tokio::test]
async fn a_refusal_is_503_with_retry_after_at_every_door() {
    for refusal in [Refusal::Overloaded, Refusal::DiskFull, Refusal::Failed, Refusal::Closing, Refusal::Unavailable] {
        let script = Script::new().set(|state| state.refusal = Some(refusal));
        for (path, body) in [("/api/v2/alerts", GOOD), ("/api/v1/webhooks/alertmanager", HOOK), ("/v2/enqueue", EVENT)]
        {
            let answer = post(&script.router(), path, body).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path} {refusal}");
            assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{path}");
            assert_eq!(answer.header("x-quell-receipt"), "", "{path}");
            assert_eq!(answer.json().is_string(), path == "/api/v2/alerts", "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn what_lies_in_the_spool_is_accepted_without_a_receipt() {
    let script = Script::new().set(|state| state.spooling = true);
    let doors = [
        ("/api/v2/alerts", GOOD, StatusCode::OK),
        ("/api/v1/webhooks/alertmanager", HOOK, StatusCode::OK),
        ("/v2/enqueue", EVENT, StatusCode::ACCEPTED),
    ];
    for (path, body, wanted) in doors {
        let answer = post(&script.router(), path, body).await;
        assert_eq!((answer.status, answer.header("x-quell-receipt")), (wanted, ""), "{path}");
        if path.ends_with("alertmanager") {
            assert!(answer.json()["receipt"].is_null(), "{}", answer.text);
        }
    }
    script.get(|state| assert_eq!(state.accepted.len(), doors.len()));
}

#[tokio::test]
async fn a_log_that_does_not_answer_is_503_and_no_hang() {
    let script = Script::new().set(|state| state.hang = true);
    let limits = ApiLimits { append_patience: Duration::from_millis(20), ..ApiLimits::default() };
    let answer = post(&script.router_with(limits), "/api/v2/alerts", GOOD).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn bodies_are_unpacked_and_limited() {
    let script = Script::new();
    let limits = ApiLimits { encoded_bytes: 1000, decoded_bytes: 5000, ..ApiLimits::default() };
    let router = script.router_with(limits);
    let gzip = |text: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).expect("memory")
    };
    let packed = ask(&router, Method::POST, "/api/v2/alerts", &[("content-encoding", "gzip")], gzip(GOOD)).await;
    assert_eq!(packed.status, StatusCode::OK, "{}", packed.text);
    let large = post(&router, "/api/v2/alerts", &" ".repeat(1001)).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    let bomb = gzip(&" ".repeat(5001));
    let bomb = ask(&router, Method::POST, "/v2/enqueue", &[("content-encoding", "gzip")], bomb).await;
    assert_eq!(bomb.status, StatusCode::PAYLOAD_TOO_LARGE);
    let headers = [("content-encoding", "br")];
    let unknown = ask(&router, Method::POST, "/api/v1/webhooks/alertmanager", &headers, "x").await;
    assert_eq!(unknown.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(unknown.json()["error"]["found"], "br");
    script.get(|state| {
        assert_eq!(state.accepted.len(), 1);
        assert_eq!(&state.accepted[0].1[..], GOOD.as_bytes(), "the log gets the unpacked body");
    });
}

#[tokio::test]
async fn a_foreign_page_cannot_post_alerts() {
    let script = Script::new();
    let headers = [("origin", "https://evil.example"), ("content-type", "text/plain")];
    let answer = ask(&script.router(), Method::POST, "/api/v2/alerts", &headers, GOOD).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let rebound = ask(&script.router(), Method::POST, "/api/v2/alerts", &[("host", "evil.example")], GOOD).await;
    assert_eq!(rebound.status, StatusCode::MISDIRECTED_REQUEST);
    script.get(|state| assert!(state.accepted.is_empty()));
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let script = Script::new();
    let router = script.router();
    post(&router, "/api/v2/alerts/", GOOD).await;
    post(&router, "/api/v2/alerts", "{").await;
    get(&router, "/api/v1/incidents/INC-99").await;
    get(&router, "/no/such/place").await;
    let metrics = get(&router, "/metrics").await.text;
    for line in [
        r#"quell_http_requests_total{route="/api/v2/alerts",status="200"} 1"#,
        r#"quell_http_requests_total{route="/api/v2/alerts",status="400"} 1"#,
        r#"quell_http_requests_total{route="/api/v1/incidents/{id}",status="404"} 1"#,
        r#"quell_http_requests_total{route="other",status="404"} 1"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
}
