//! The topology file: read, written back to the byte, and every mistake at once.

use proptest::prelude::*;
use quell_domain::{Criticality, Lifecycle, Timestamp};
use quell_formats::mistake::Mistake;
use quell_formats::topology::{decode, digest, encode};

const SHOP: &str = r#"{
  "relationships": [
    {"from": "shop", "to": "web-2", "kind": "depends_on", "redundancy": "web"},
    {"from": "shop", "to": "web-1", "redundancy": "web"}
  ],
  "cis": [
    {"id": "web-2", "kind": "host"},
    {"id": "shop", "kind": "service", "name": "The shop", "aliases": ["shop.example.net"], "labels": {"app": "shop"},
     "owner": "team-shop", "criticality": "critical"},
    {"id": "web-1", "kind": "host", "name": null, "owner": null}
  ],
  "redundancies": [{"ci": "shop", "name": "web", "at_least": 1}]
}"#;

#[test]
fn reads_with_defaults_and_writes_canonically() {
    let topology = decode(SHOP.as_bytes()).expect("valid");
    let [shop, web_1, _] = topology.cis() else { panic!("three CIs") };
    assert_eq!((shop.name.as_str(), shop.criticality), ("The shop", Criticality::Critical));
    assert_eq!((web_1.name.as_str(), web_1.criticality), ("web-1", Criticality::Medium));
    assert_eq!(topology.relationships()[0].kind, "depends_on");
    let bytes = encode(&topology);
    assert_eq!(decode(&bytes).expect("own bytes"), topology);
    let mut reordered: serde_json::Value = serde_json::from_str(SHOP).expect("JSON");
    for list in ["cis", "relationships"] {
        reordered[list].as_array_mut().expect("a list").reverse();
    }
    let reordered = decode(reordered.to_string().as_bytes()).expect("valid");
    assert_eq!(digest(&encode(&reordered)), digest(&bytes));
    assert_ne!(digest(&bytes), digest(b""));
}

#[test]
fn freshness_and_life_are_read_and_written() {
    let text = br#"{"cis":[{"aliases":[],"criticality":"medium","id":"a","kind":"host","labels":{},"lifecycle":"retired","name":"a","owner":null,"source":"netbox"},{"aliases":[],"criticality":"medium","id":"b","kind":"host","labels":{},"name":"b","owner":null}],"redundancies":[],"relationships":[{"from":"a","kind":"calls","last_seen":"2026-01-31T12:00:00Z","source":"spans","to":"b","ttl":"1d"}]}"#;
    let topology = decode(text).expect("sound");
    assert_eq!(topology.cis()[0].lifecycle, Lifecycle::Retired);
    assert_eq!(topology.relationships()[0].last_seen, Timestamp::parse_rfc3339("2026-01-31T12:00:00Z"));
    assert_eq!(String::from_utf8(encode(&topology)).expect("text"), String::from_utf8_lossy(text));
    let wrong = br#"{"cis":[{"id":"a","kind":"host","lifecycle":"dead"}],
        "relationships":[{"from":"a","to":"a","last_seen":"yesterday","ttl":"soon","source":""}]}"#;
    let texts: Vec<String> = decode(wrong).expect_err("four").iter().map(Mistake::to_string).collect();
    assert_eq!(
        texts,
        [
            "cis[0].lifecycle: found \"dead\"; allowed: one of planned, active, retired",
            "relationships[0].last_seen: found \"yesterday\"; allowed: an instant, as 2026-01-31T12:00:00Z",
            "relationships[0].ttl: found \"soon\"; allowed: a duration, as 30s, 5m, 1h30m or 7d",
            "relationships[0].source: found \"\"; allowed: a text",
        ]
    );
}

#[test]
fn nothing_is_an_estate_too() {
    assert_eq!(encode(&decode(b"{}").expect("empty")), br#"{"cis":[],"redundancies":[],"relationships":[]}"#);
}

#[test]
fn all_mistakes_at_once() {
    let text = r#"{
      "cis": [{"id": "a", "kind": "host", "criticality": "urgent", "colour": "red"}, {"kind": "host"},
              {"id": "a", "kind": "host", "labels": {"n": 5}}, 7],
      "relationships": [{"from": "a", "to": "zzz", "redundancy": "pair"}, {"from": "a"}],
      "redundancies": [{"ci": "a", "name": "pair", "at_least": 2}, {"ci": "a", "name": "none"}],
      "extra": 1
    }"#;
    let mistakes = decode(text.as_bytes()).expect_err("many");
    let texts: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
    assert_eq!(
        texts,
        [
            "cis[0].criticality: found \"urgent\"; allowed: one of low, medium, high, critical",
            "cis[0].colour: found an unknown key; allowed: id, kind, name, aliases, labels, owner, criticality, lifecycle, source",
            "cis[1].id: found nothing; allowed: a text that no other CI has",
            "cis[2].labels.n: found 5; allowed: a text",
            "cis[3]: found 7; allowed: an object",
            "relationships[1].to: found nothing; allowed: the id of the CI it depends on",
            "extra: found an unknown key; allowed: cis, relationships, redundancies",
            "cis[2].id: found \"a\" a second time; allowed: an id that no other CI has",
            "relationships[0].to: found \"zzz\"; allowed: an id listed in `cis`",
            "redundancies[0].at_least: found 2; allowed: 1 to 1",
            "redundancies[1].name: found \"none\"; allowed: a `redundancy` that relationships from \"a\" carry",
        ]
    );
    let mistakes = decode(b"[").expect_err("no JSON");
    assert_eq!(mistakes[0].to_string(), "found no JSON: EOF while parsing a list at line 1 column 1; allowed: JSON");
}

#[test]
fn a_flood_of_mistakes_is_cut_and_says_so() {
    let cis = vec![r#"{"id":"","kind":"host"}"#; 5_000].join(",");
    let mistakes = decode(format!("{{\"cis\":[{cis}]}}").as_bytes()).expect_err("many");
    assert_eq!(mistakes.len(), 201);
    assert_eq!(mistakes[200].found, "more mistakes than are listed");
}

proptest! {
    #[test]
    fn no_bytes_panic(at in 0..SHOP.len(), byte in any::<u8>()) {
        let mut bytes = SHOP.as_bytes().to_vec();
        bytes[at] = byte;
        if let Ok(topology) = decode(&bytes) {
            prop_assert_eq!(decode(&encode(&topology)), Ok(topology));
        }
    }
}
