//! The live stream.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use quell_api::ApiLimits;
use quell_domain::{IncidentId, IncidentState};
use quell_store::Change;
use tower::ServiceExt;

use crate::script::{Script, get, incident};

fn change(number: u64, incident: u64) -> Change {
    Change { number, incident: IncidentId { shard: 0, number: incident }, state: IncidentState::Open }
}

pub(crate) async fn open(router: &Router, last: Option<&str>) -> Body {
    let mut request = Request::builder().uri("/api/v1/stream").header("host", "localhost");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let response = router.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("answers");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body()
}

/// Reads until the text read so far has `wanted`.
pub(crate) async fn until(body: &mut Body, wanted: &str) -> String {
    let mut text = String::new();
    let read = async {
        while !text.contains(wanted) {
            let frame = body.frame().await.expect("the stream goes on").expect("no error");
            text.push_str(std::str::from_utf8(frame.data_ref().expect("data")).expect("UTF-8"));
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(10), read).await.is_ok();
    assert!(done, "{wanted} is not in {text}");
    text
}

#[tokio::test]
async fn changes_are_told_with_their_numbers() {
    let script = Script::new().set(|state| state.incidents = vec![incident(1, IncidentState::Open)]);
    let mut body = open(&script.router(), None).await;
    until(&mut body, "connected").await;
    script.told.send(change(5, 1)).expect("somebody listens");
    let text = until(&mut body, "\n\n").await;
    assert!(text.contains("id: 5\n") && text.contains("event: incident\n"), "{text}");
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
    let head: serde_json::Value = serde_json::from_str(data).expect("JSON");
    assert_eq!((&head["id"], &head["state"]), (&"INC-1".into(), &"open".into()));
    assert!(head.get("timeline").is_none(), "{head}");
}

#[tokio::test]
async fn resumes_after_the_last_event_seen() {
    let script = Script::new().set(|state| {
        state.incidents = (1..4).map(|n| incident(n, IncidentState::Open)).collect();
        state.changes = vec![change(1, 1), change(2, 2), change(3, 3)];
    });
    let mut body = open(&script.router(), Some("1")).await;
    let text = until(&mut body, "id: 3\n").await;
    assert!(text.contains("id: 2\n") && !text.contains("id: 1\n"), "{text}");
    let bad = get(&script.router(), "/api/v1/stream?last_event_id=x").await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn one_who_missed_too_much_is_told_to_look_anew() {
    let script = Script::new().set(|state| state.changes = (1..=2_001).map(|n| change(n, n)).collect());
    let mut body = open(&script.router(), Some("0")).await;
    until(&mut body, "event: resync\ndata: {\"since\":0}\n").await;
}

#[tokio::test]
async fn a_quiet_stream_shows_signs_of_life() {
    let limits = ApiLimits { heartbeat: Duration::from_millis(20), ..ApiLimits::default() };
    let mut body = open(&Script::new().router_with(limits), None).await;
    let text = until(&mut body, "event: heartbeat").await;
    assert!(text.contains(": heartbeat\n"), "{text}");
}

#[tokio::test]
async fn streams_are_limited_and_given_back() {
    let limits = ApiLimits { streams: 1, ..ApiLimits::default() };
    let router = Script::new().router_with(limits);
    let first = open(&router, None).await;
    let second = get(&router, "/api/v1/stream").await;
    assert_eq!(second.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(second.header("retry-after"), "10");
    drop(first);
    until(&mut open(&router, None).await, "connected").await;
}
