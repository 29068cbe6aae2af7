//! PagerDuty's change events, with bodies as its clients post them and as they should not.

use proptest::prelude::*;
use quell_domain::{Changes, Labels, Source, Timestamp};
use quell_formats::pagerduty::change::{check, decode};
use serde_json::{Value, json};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// As a build server posts it.
fn event() -> Value {
    json!({
        "routing_key": KEY,
        "payload": {
            "summary": "Build Success: longer timeout", "timestamp": "2026-07-17T08:42:58.315+0000",
            "source": "acme-build-pipeline",
            "custom_details": {
                "service": "checkout", "build_number": 2, "user": "ana", "green": true, "nested": {"a": 1}, "no": null
            }
        },
        "links": [{"href": "https://acme.example/build/2", "text": "more"}], "images": []
    })
}

fn with(mut event: Value, path: &[&str], value: Value) -> Value {
    let at = path.iter().fold(&mut event, |at, name| &mut at[*name]);
    *at = value;
    event
}

fn read(event: &Value) -> Changes {
    decode(event.to_string().as_bytes())
}

#[test]
fn an_event_becomes_a_change() {
    let Changes { source, items, rejects } = read(&event());
    assert_eq!((source, items.len(), rejects), (Source::PagerDutyChange, 1, vec![]));
    let told = &items[0];
    assert_eq!((told.summary.as_str(), told.by.as_str()), ("Build Success: longer timeout", "ana"));
    assert_eq!(told.link.as_deref(), Some("https://acme.example/build/2"));
    assert_eq!(told.starts_at, Timestamp::parse_rfc3339("2026-07-17T08:42:58.315Z"));
    assert_eq!(told.ends_at, None);
    let labels = [("build_number", "2"), ("service", "checkout"), ("source", "acme-build-pipeline"), ("user", "ana")];
    assert_eq!(told.labels, Labels::new(labels));
    assert_eq!(check(event().to_string().as_bytes()), Ok(()));
}

#[test]
fn what_is_left_out_is_not_made_up() {
    let bare = json!({"routing_key": KEY, "payload": {"summary": "Merged"}});
    let told = &read(&bare).items[0];
    assert_eq!((told.by.as_str(), &told.link, told.starts_at), ("", &None, None));
    assert!(told.labels.is_empty());
    let odd = with(event(), &["payload", "timestamp"], json!("noon"));
    assert_eq!(read(&odd).items[0].starts_at, None, "taken as it comes, and as received then");
}

#[test]
fn details_may_say_since_when_and_until_when() {
    let check = |starts: &str, ends: &str, expected: (Option<&str>, Option<&str>)| {
        let timed = with(event(), &["payload", "custom_details", "starts_at"], json!(starts));
        let told = read(&with(timed, &["payload", "custom_details", "ends_at"], json!(ends))).items.remove(0);
        let time = |text: Option<&str>| text.and_then(Timestamp::parse_rfc3339);
        assert_eq!((told.starts_at, told.ends_at), (time(expected.0), time(expected.1)));
    };
    let (one, two) = ("2026-07-17T08:00:00Z", "2026-07-17T09:00:00Z");
    check(one, two, (Some(one), Some(two)));
    check(two, one, (Some(two), None));
    check("", two, (Some("2026-07-17T08:42:58.315Z"), Some(two)));
}

#[test]
fn all_that_is_said_is_the_identity() {
    let print = |event: &Value| read(event).items[0].fingerprint;
    assert_eq!(print(&event()), print(&event()));
    for (path, value) in [
        (&["routing_key"][..], json!("f".repeat(32))),
        (&["payload", "summary"], json!("another")),
        (&["payload", "timestamp"], json!("2026-07-17T08:42:59Z")),
        (&["payload", "custom_details", "build_number"], json!(3)),
        (&["links"], json!([])),
    ] {
        assert_ne!(print(&with(event(), path, value)), print(&event()), "{path:?}");
    }
}

#[test]
fn errors_are_pagerdutys_own_and_hold_no_routing_key() {
    for (path, value, expected) in [
        (&["routing_key"][..], json!("short"), "Length of 'routing_key' is incorrect (should be 32 characters)"),
        (&["routing_key"], Value::Null, "'routing_key' is missing or blank"),
        (&["payload"], Value::Null, "'payload' is missing or blank"),
        (&["payload", "summary"], json!(" "), "'payload.summary' is missing or blank"),
        (&["payload", "custom_details"], json!("text"), "'payload.custom_details' is invalid (must be an object)"),
    ] {
        let event = with(event(), path, value);
        assert_eq!(check(event.to_string().as_bytes()), Err(vec![expected.to_owned()]));
        let changes = read(&event);
        assert!(changes.items.is_empty());
        assert_eq!(changes.rejects[0].reason, expected);
        assert!(!changes.rejects[0].raw.contains(KEY), "{}", changes.rejects[0].raw);
    }
    assert_eq!(check(b"{}").expect_err("empty").len(), 2, "all errors at once");
    let wrong = check(b"[{\"labels\":{}}]").expect_err("an array");
    assert!(wrong[0].ends_with("this looks like Alertmanager API v2: post it to /api/v2/alerts"), "{wrong:?}");
}

#[test]
fn what_is_long_is_cut_and_what_is_much_is_left_out() {
    let long = read(&with(event(), &["payload", "summary"], json!("é".repeat(2000)))).items.remove(0);
    assert_eq!(long.summary.chars().count(), 1025);
    let many: serde_json::Map<String, Value> = (0..500).map(|n| (format!("d{n:03}"), json!(n))).collect();
    let told = read(&with(event(), &["payload", "custom_details"], many.into())).items.remove(0);
    assert_eq!(told.labels.iter().count(), 129);
}

proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = (decode(&body), check(&body));
    }
}
