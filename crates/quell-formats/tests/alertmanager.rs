//! Alertmanager's two contracts, with bodies as their senders post them and as they should not.

use proptest::prelude::*;
use quell_domain::{Action, Batch, Ending, Severity, Source, Timestamp};
use quell_formats::alertmanager::{decode_api, decode_webhook};

/// As Prometheus 3 posts it.
const PROMETHEUS: &str = r#"[
  {"annotations":{"description":"Instance db-1:9100 is \"down\"\nsince 5m","summary":"Instance down"},
   "endsAt":"2026-11-23T09:04:00.123Z","startsAt":"2026-11-23T09:00:00.123456789Z",
   "generatorURL":"http://prometheus:9090/graph?g0.expr=up+%3D%3D+0\u0026g0.tab=1",
   "labels":{"alertname":"InstanceDown","instance":"db-1:9100","job":"node","severity":"critical"}},
  {"labels":{"alertname":"Watchdog","empty":""},"annotations":{},"startsAt":"0001-01-01T00:00:00.000Z",
   "endsAt":"0001-01-01T00:00:00Z","generatorURL":""}]"#;

/// As Alertmanager 0.27 posts it.
const WEBHOOK: &str = r#"{"receiver":"quell","status":"firing","alerts":[
  {"status":"firing","labels":{"alertname":"DiskFull","instance":"db-1"},"annotations":{"summary":"Disk full"},
   "startsAt":"2026-11-23T09:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://p/g","fingerprint":"c0ffee0000000001"},
  {"status":"resolved","labels":{"alertname":"DiskFull","instance":"db-2"},"annotations":{},
   "startsAt":"2026-11-23T08:00:00Z","endsAt":"2026-11-23T09:01:00Z","generatorURL":"","fingerprint":"c0ffee0000000002"}],
  "groupLabels":{"alertname":"DiskFull"},"commonLabels":{"alertname":"DiskFull"},"commonAnnotations":{},
  "externalURL":"http://am:9093","version":"4","groupKey":"{}:{alertname=\"DiskFull\"}","truncatedAlerts":3}"#;

fn at(text: &str) -> Option<Timestamp> {
    Some(Timestamp::parse_rfc3339(text).expect("a time"))
}

fn reasons(batch: &Batch) -> Vec<(Option<u32>, &str)> {
    batch.rejects.iter().map(|reject| (reject.ordinal, reject.reason.as_str())).collect()
}

#[test]
fn what_prometheus_posts() {
    let batch = decode_api(PROMETHEUS.as_bytes());
    assert_eq!(reasons(&batch), []);
    let [down, watchdog] = batch.items() else { panic!("two items: {batch:?}") };
    assert_eq!(down.starts_at, at("2026-11-23T09:00:00.123456Z"));
    assert_eq!(down.ends_at, at("2026-11-23T09:04:00.123Z"));
    assert_eq!((down.action, down.ending, down.severity), (Action::Fire, Ending::Expires, Severity::Unknown));
    let labels: Vec<_> = batch.labels(down).iter().collect();
    let expected =
        [("alertname", "InstanceDown"), ("instance", "db-1:9100"), ("job", "node"), ("severity", "critical")];
    assert_eq!(labels, expected);
    let annotations = batch.annotations(down);
    assert_eq!(annotations.get("description"), Some("Instance db-1:9100 is \"down\"\nsince 5m"));
    assert_eq!(annotations.get("generatorURL"), Some("http://prometheus:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1"));
    assert_eq!((watchdog.starts_at, watchdog.ends_at), (None, None));
    assert_eq!(batch.labels(watchdog).iter().collect::<Vec<_>>(), [("alertname", "Watchdog")]);
    assert!(batch.annotations(watchdog).is_empty());
}

#[test]
fn what_alertmanager_posts() {
    let batch = decode_webhook(WEBHOOK.as_bytes());
    assert_eq!(reasons(&batch), []);
    let [firing, resolved] = batch.items() else { panic!("two items: {batch:?}") };
    assert_eq!((firing.action, firing.ending, firing.ends_at), (Action::Fire, Ending::Explicit, None));
    assert_eq!((resolved.action, resolved.ending), (Action::Resolve, Ending::Explicit));
    assert_eq!(resolved.ends_at, at("2026-11-23T09:01:00Z"));
    assert_eq!(batch.annotations(firing).get("generatorURL"), Some("http://p/g"));
    let key = quell_domain::batch::fingerprint(Source::AlertmanagerWebhook, Some("c0ffee0000000001"), &[]);
    assert_eq!(firing.fingerprint, key);
}

#[test]
fn equal_label_sets_are_one_alert_however_they_are_written() {
    let a = decode_api(br#"[{"labels":{"b":"1","a":"x\u0041","gone":""}}]"#);
    let b = decode_api(br#"[{"labels":{"a":"old","a":"xA","b":"1"},"annotations":null,"status":{"state":"active"}}]"#);
    assert_eq!(a.items()[0].fingerprint, b.items()[0].fingerprint);
    assert_eq!(reasons(&b), []);
}

fn check_api(body: &str, taken: usize, expected: &[(Option<u32>, &str)]) {
    let batch = decode_api(body.as_bytes());
    assert_eq!((batch.items().len(), reasons(&batch)), (taken, expected.to_vec()), "{body:.300}");
}

#[test]
fn invalid_items_are_refused_in_alertmanagers_words_and_the_others_taken() {
    let ok = r#"{"labels":{"alertname":"A"}}"#;
    for (item, reason) in [
        (r#"{"labels":{}}"#, "at least one label pair required"),
        (r#"{"labels":null}"#, "at least one label pair required"),
        (r#"{"annotations":{"a":"b"}}"#, "at least one label pair required"),
        (r#"{"labels":{"a":"b","a":"","c":""}}"#, "at least one label pair required"),
        (r#"{"labels":{"":"b"}}"#, "invalid label set: invalid name \"\""),
        (
            r#"{"labels":{"a":"b"},"startsAt":"2026-01-02T00:00:00Z","endsAt":"2026-01-01T00:00:00Z"}"#,
            "start time must be before end time",
        ),
        (
            r#"{"labels":{"a":"b"},"startsAt":"yesterday"}"#,
            "not an alert: startsAt: found \"yesterday\"; allowed: a time in RFC 3339, as 2026-01-31T08:00:00Z at \
             line 1 column 43",
        ),
        (r#"{"labels":{"a":5}}"#, "not an alert: invalid type: integer `5`, expected a string at line 1 column 16"),
        (
            r#"{"labels":[]}"#,
            "not an alert: invalid type: sequence, expected `labels` as an object of strings at line 1 column 12",
        ),
        ("7", "not an alert: invalid type: integer `7`, expected an alert: an object with `labels` at line 1 column 1"),
    ] {
        check_api(&format!("[{ok},{item},{ok}]"), 2, &[(Some(1), reason)]);
        let batch = decode_api(format!("[{ok}, {item} ,{ok}]").as_bytes());
        assert_eq!(batch.rejects[0].raw, item);
        assert_eq!(batch.received(), 3);
    }
}

#[test]
fn limits_are_named() {
    let wide: Vec<String> = (0..65).map(|n| format!("\"l{n}\":\"v\"")).collect();
    let item = format!("[{{\"labels\":{{{}}}}}]", wide.join(","));
    check_api(&item, 0, &[(Some(0), "invalid label set: 65 labels; allowed: at most 64")]);
    let item = format!("[{{\"labels\":{{\"{}\":\"v\"}}}}]", "n".repeat(257));
    check_api(&item, 0, &[(Some(0), "invalid label set: a name of 257 bytes; allowed: at most 256")]);
    let item = format!("[{{\"labels\":{{\"a\":\"{}\"}}}}]", "v".repeat(4097));
    check_api(&item, 0, &[(Some(0), "invalid label set: \"a\" has 4097 bytes; allowed: at most 4096")]);
    let item = format!("[{{\"labels\":{{\"a\":\"b\"}},\"annotations\":{{\"d\":\"{}\"}}}}]", "v".repeat(20_000));
    let batch = decode_api(item.as_bytes());
    let annotation = batch.annotations(&batch.items()[0]).get("d").expect("kept").to_owned();
    assert!(annotation.ends_with("v… [cut: 16384 of 20000 bytes kept]"));
    let alerts = |n: usize| format!("[{}]", vec![r#"{"labels":{"a":"b"}}"#; n].join(","));
    check_api(&alerts(5_000), 5_000, &[]);
    check_api(&alerts(5_001), 0, &[(None, "5001 alerts in one request; allowed: at most 5000")]);
}

#[test]
fn bodies_that_are_something_else_are_told_where_to_go() {
    let array = "allowed: a JSON array of alerts, each an object with `labels`";
    for (body, expected) in [
        ("", format!("the body is empty; {array}")),
        (" \n", format!("the body is empty; {array}")),
        ("oops", format!("the body is not JSON: expected value at line 1 column 1; {array}")),
        ("[{}", format!("the body is not JSON: EOF while parsing a list at line 1 column 3; {array}")),
        (
            "null",
            format!(
                "found a single value: invalid type: null, expected an array of alerts at line 1 column 4; {array}"
            ),
        ),
        (
            WEBHOOK,
            format!(
                "found an object: invalid type: map, expected an array of alerts at line 1 column 0; {array}; this \
                 looks like Alertmanager's webhook: post it to /api/v1/webhooks/alertmanager"
            ),
        ),
    ] {
        check_api(body, 0, &[(None, &expected)]);
    }
    for (body, hint) in [
        (r#"{"routing_key":"k","event_action":"trigger"}"#, "PagerDuty Events v2: post it to /v2/enqueue"),
        (r#"{"alerts":[],"orgId":1,"receiver":"r"}"#, "Grafana's webhook"),
        (r#"{"evalMatches":[],"ruleId":1}"#, "Grafana's webhook"),
        (r#"{"labels":{"a":"b"}}"#, "one alert of Alertmanager API v2: put it into an array"),
    ] {
        let batch = decode_api(body.as_bytes());
        assert!(batch.rejects[0].reason.contains(hint), "{:?}", batch.rejects);
        assert_eq!(batch.rejects[0].raw, body);
    }
}

#[test]
fn what_the_webhook_refuses() {
    let check = |body: &str, expected: &str| {
        let batch = decode_webhook(body.as_bytes());
        assert!(batch.items().is_empty(), "{body}");
        assert!(batch.rejects[0].reason.contains(expected), "{body}: {:?}", batch.rejects);
    };
    check(PROMETHEUS, "this looks like Alertmanager API v2: post it to /api/v2/alerts");
    check(r#"{"version":"3","alerts":[]}"#, "version: found \"3\"; allowed: \"4\"");
    check(r#"{"version":"4"}"#, "missing field `alerts`");
    check(r#"{"alerts":{}}"#, "expected an array of alerts");
    check(r#"{"alerts":[{"labels":{"a":"b"}}]}"#, "status: missing; allowed: \"firing\" or \"resolved\"");
    check(r#"{"alerts":[{"status":"ok","labels":{"a":"b"}}]}"#, "status: found \"ok\"");
}

#[test]
fn odd_but_harmless_bodies_are_taken() {
    check_api("\u{feff}[{\"labels\":{\"a\":\"b\"}}]\n", 1, &[]);
    check_api("[]", 0, &[]);
    check_api(r#"[{"labels":{"a":"b"},"UpdatedAt":"x","Timeout":false,"deep":{"x":[1e400,-0]}}]"#, 1, &[]);
    let deep = format!("[{{\"labels\":{{\"a\":\"b\"}},\"deep\":{}{}}}]", "[".repeat(200_000), "]".repeat(200_000));
    check_api(&deep, 1, &[]);
    let batch = decode_api(b"[{\"labels\":{\"a\":\"b\xff\"},\"annotations\":{\"n\":\"x\\u0000y\"}}]");
    let item = &batch.items()[0];
    assert_eq!(batch.labels(item).get("a"), Some("b\u{fffd}"));
    assert_eq!(batch.annotations(item).get("n"), Some("x\u{fffd}y"));
}

#[test]
fn nesting_everywhere_else_is_refused_and_never_overflows() {
    for body in ["[".repeat(200_000), "{\"a\":".repeat(200_000), format!("[{{\"labels\":{}", "{\"a\":".repeat(99_999))]
    {
        assert!(decode_api(body.as_bytes()).items().is_empty());
        assert!(decode_webhook(body.as_bytes()).items().is_empty());
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = (decode_api(&body), decode_webhook(&body));
    }

    #[test]
    fn no_damage_panics_and_every_item_is_counted(at in 0..PROMETHEUS.len(), byte in any::<u8>()) {
        for (body, decode) in
            [(PROMETHEUS, decode_api as fn(&[u8]) -> Batch), (WEBHOOK, decode_webhook as fn(&[u8]) -> Batch)]
        {
            let mut bytes = body.as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            let batch = decode(&bytes);
            let whole = batch.rejects.iter().any(|reject| reject.ordinal.is_none());
            prop_assert!(batch.received() == 2 || (whole && batch.received() == 1) || batch.received() < 2);
        }
    }

    /// The two ways of reading agree: a bad item appended changes nothing about the good ones.
    #[test]
    fn reading_item_by_item_gives_the_same(
        alerts in proptest::collection::vec(
            (proptest::collection::vec(("[a-c]", "[x-z\"\\\\\u{1}é]{0,3}"), 1..5), "[a-z\n]{0,5}"),
            1..6,
        )
    ) {
        let items: Vec<String> = alerts.iter().map(|(labels, note)| {
            let text = |t: &str| serde_json::to_string(t).expect("a string");
            let labels: Vec<String> = labels.iter().map(|(n, v)| format!("{}:{}", text(n), text(v))).collect();
            format!("{{\"labels\":{{{},\"z\":\"1\"}},\"annotations\":{{\"n\":{}}}}}", labels.join(","), text(note))
        }).collect();
        let good = decode_api(format!("[{}]", items.join(",")).as_bytes());
        let mixed = decode_api(format!("[{},7]", items.join(",")).as_bytes());
        prop_assert_eq!(good.items(), mixed.items());
        prop_assert_eq!(mixed.rejects.len(), 1);
        for item in good.items() {
            prop_assert_eq!(good.labels(item), mixed.labels(item));
            prop_assert_eq!(good.annotations(item), mixed.annotations(item));
        }
    }
}
