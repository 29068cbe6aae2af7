//! PagerDuty's Events API v2, with bodies as its clients post them and as they should not.

use proptest::prelude::*;
use quell_domain::{Action, Batch, Ending, Severity, Timestamp};
use quell_formats::pagerduty::{check, decode, with_dedup_key};
use serde_json::{Value, json};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// As Alertmanager's `pagerduty_configs` posts it.
fn trigger() -> Value {
    json!({
        "routing_key": KEY, "event_action": "trigger", "dedup_key": "a1b2",
        "client": "Alertmanager", "client_url": "http://am:9093/#/alerts?receiver=pd",
        "payload": {
            "summary": "[FIRING:1] DiskFull", "source": "Alertmanager", "severity": "error",
            "timestamp": "2026-11-23T09:00:00.000Z", "component": "db-1", "group": "prod-db", "class": "disk",
            "custom_details": {"firing": "Labels:\n - alertname = DiskFull", "num_firing": 1, "tags": ["a"], "no": null}
        },
        "links": [{"href": "http://runbook/1", "text": "runbook"}], "images": []
    })
}

fn with(mut event: Value, path: &str, value: Value) -> Value {
    match path.split_once('.') {
        Some((outer, inner)) => event[outer][inner] = value,
        None => event[path] = value,
    }
    event
}

fn read(event: &Value) -> Batch {
    decode(event.to_string().as_bytes())
}

#[test]
fn a_trigger_becomes_an_alert() {
    let batch = read(&trigger());
    assert_eq!(batch.rejects, []);
    let [item] = batch.items() else { panic!("one item: {batch:?}") };
    assert_eq!((item.action, item.ending, item.severity), (Action::Fire, Ending::Explicit, Severity::Error));
    assert_eq!(item.starts_at, Timestamp::parse_rfc3339("2026-11-23T09:00:00Z"));
    let labels: Vec<_> = batch.labels(item).iter().collect();
    let expected = [
        ("class", "disk"),
        ("component", "db-1"),
        ("group", "prod-db"),
        ("severity", "error"),
        ("source", "Alertmanager"),
    ];
    assert_eq!(labels, expected);
    let annotations: Vec<_> = batch.annotations(item).iter().collect();
    let expected = [
        ("client", "Alertmanager"),
        ("client_url", "http://am:9093/#/alerts?receiver=pd"),
        ("custom_details.firing", "Labels:\n - alertname = DiskFull"),
        ("custom_details.num_firing", "1"),
        ("custom_details.tags", "[\"a\"]"),
        ("dedup_key", "a1b2"),
        ("link", "http://runbook/1"),
        ("summary", "[FIRING:1] DiskFull"),
    ];
    assert_eq!(annotations, expected);
}

#[test]
fn the_key_alone_is_the_identity() {
    let fire = read(&trigger()).items()[0].fingerprint;
    for (action, expected) in [("acknowledge", Action::Acknowledge), ("resolve", Action::Resolve)] {
        let batch = read(&json!({"routing_key": KEY, "event_action": action, "dedup_key": "a1b2"}));
        let item = &batch.items()[0];
        assert_eq!((item.fingerprint, item.action), (fire, expected));
        assert!(batch.labels(item).is_empty() && batch.annotations(item).is_empty());
    }
    assert_ne!(read(&with(trigger(), "dedup_key", json!("other"))).items()[0].fingerprint, fire);
    assert_ne!(read(&with(trigger(), "routing_key", json!("f".repeat(32)))).items()[0].fingerprint, fire);
}

#[test]
fn errors_are_pagerdutys_own() {
    let severity =
        "'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')";
    for (path, value, expected) in [
        ("routing_key", json!("short"), "Length of 'routing_key' is incorrect (should be 32 characters)"),
        ("routing_key", Value::Null, "'routing_key' is missing or blank"),
        ("event_action", json!(""), "'event_action' is missing or blank"),
        (
            "event_action",
            json!("open"),
            "'event_action' is invalid (must be one of the following: 'trigger', 'acknowledge' or 'resolve')",
        ),
        ("dedup_key", json!("k".repeat(256)), "Length of 'dedup_key' is incorrect (should be at most 255 characters)"),
        ("dedup_key", json!(7), "'dedup_key' is invalid (must be a string)"),
        ("payload", Value::Null, "'payload' is missing or blank"),
        ("payload.summary", json!(" "), "'payload.summary' is missing or blank"),
        ("payload.source", Value::Null, "'payload.source' is missing or blank"),
        ("payload.severity", Value::Null, "'payload.severity' is missing or blank"),
        ("payload.severity", json!("Critical"), severity),
    ] {
        let event = with(trigger(), path, value);
        assert_eq!(check(event.to_string().as_bytes()), Err(vec![expected.to_owned()]), "{path}");
        let batch = read(&event);
        assert!(batch.items().is_empty());
        assert_eq!(batch.rejects[0].reason, expected);
        assert!(!batch.rejects[0].raw.contains(KEY), "{}", batch.rejects[0].raw);
    }
    let resolve = json!({"routing_key": KEY, "event_action": "resolve"});
    assert_eq!(check(resolve.to_string().as_bytes()), Err(vec!["'dedup_key' is missing or blank".to_owned()]));
    assert_eq!(check(b"{}").expect_err("empty").len(), 2, "all errors at once");
    let wrong = check(b"[{\"labels\":{}}]").expect_err("an array");
    assert!(wrong[0].ends_with("this looks like Alertmanager API v2: post it to /api/v2/alerts"), "{wrong:?}");
}

#[test]
fn a_generated_key_is_put_into_the_body_and_nothing_else_changes() {
    let body = format!(
        r#" {{ "routing_key":"{KEY}", "event_action":"trigger","payload":{{"summary":"s","source":"x","severity":"info","custom_details":{{"n":1.50}}}}}}"#
    );
    assert_eq!(check(body.as_bytes()).expect("valid").dedup_key, None);
    let keyed = with_dedup_key(body.as_bytes(), "g\"1").expect("keyed");
    assert_eq!(String::from_utf8_lossy(&keyed), body.replacen('{', "{\"dedup_key\":\"g\\\"1\",", 1));
    assert_eq!(check(&keyed).expect("valid").dedup_key.as_deref(), Some("g\"1"));
    assert_eq!(with_dedup_key(&keyed, "g2"), None, "it has one");
    let blank = with(trigger(), "dedup_key", Value::Null).to_string();
    let keyed = with_dedup_key(blank.as_bytes(), "g1").expect("keyed");
    assert_eq!(check(&keyed).expect("valid").dedup_key.as_deref(), Some("g1"));
    assert_eq!(with_dedup_key(b"[]", "g1"), None);
}

#[test]
fn a_trigger_without_a_key_is_still_one_alert() {
    let event = with(trigger(), "dedup_key", Value::Null);
    let other = with(event.clone(), "payload.summary", json!("another"));
    assert_eq!(read(&event).items()[0].fingerprint, read(&event).items()[0].fingerprint);
    assert_ne!(read(&event).items()[0].fingerprint, read(&other).items()[0].fingerprint);
}

#[test]
fn a_time_that_is_none_is_kept_as_said() {
    let batch = read(&with(trigger(), "payload.timestamp", json!("noon")));
    assert_eq!(batch.items()[0].starts_at, None);
    assert_eq!(batch.annotations(&batch.items()[0]).get("timestamp"), Some("noon"));
}

#[test]
fn many_details_are_counted() {
    let details: serde_json::Map<String, Value> = (0..200).map(|n| (format!("d{n:03}"), json!(n))).collect();
    let batch = read(&with(trigger(), "payload.custom_details", details.into()));
    let annotations = batch.annotations(&batch.items()[0]);
    assert_eq!(annotations.get("custom_details.more"), Some("72"));
    assert_eq!(annotations.get("custom_details.d127"), Some("127"));
    assert_eq!(annotations.get("custom_details.d128"), None);
}

proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = (decode(&body), check(&body), with_dedup_key(&body, "k"));
    }

    #[test]
    fn no_damage_panics_or_shows_the_key(at in 0_usize..700, byte in any::<u8>()) {
        let mut body = trigger().to_string().into_bytes();
        let at = at % body.len();
        body[at] = byte;
        let batch = decode(&body);
        prop_assert_eq!(batch.received(), 1);
        prop_assert_eq!(check(&body).is_ok(), batch.rejects.is_empty());
    }
}
