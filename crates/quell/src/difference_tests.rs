//! The difference of two runs, on ledgers written as text: `"a b, c"` is one incident of the alerts a and b, and one of
//! c. Absent on purpose: the engine's own decisions; only who is together is looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use quell_domain::{IncidentId, Reason, Source, Timestamp};
use quell_engine::Ledger;
use quell_formats::settings;

use crate::difference::{Difference, Kind, difference};
use crate::replay::Replay;

/// Alerts `a` to `j`, one a record.
const NAMES: &str = "abcdefghij";

fn id(number: u64) -> IncidentId {
    IncidentId { shard: 0, number }
}

/// A ledger with these incidents, opened ten seconds apart; `late` is added to the opening of the first.
fn ledger(spec: &str, late: u64) -> Ledger {
    let shipped = settings::compile(&settings::shipped()).expect("shipped rules are sound").settings;
    let mut replay = Replay::new(Arc::new(shipped), quell_domain::Topology::default());
    let start = Timestamp::from_seconds(1_800_000_000);
    for (at, name) in (0..).zip(NAMES.chars()) {
        let truth = if name < 'c' { "one" } else { "two" };
        let body = format!(r#"[{{"labels":{{"alertname":"{name}","truth":"{truth}"}}}}]"#);
        replay.play(start + std::time::Duration::from_secs(at), Source::AlertmanagerApi, body.as_bytes());
    }
    let mut ledger = replay.finish();
    let parts: Vec<&str> = spec.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let mut homes: BTreeMap<char, u64> = BTreeMap::new();
    for (number, part) in (1..).zip(&parts) {
        homes.extend(part.chars().filter(|name| *name != ' ').map(|name| (name, number)));
    }
    ledger.alerts.retain(|_, alert| homes.contains_key(&alert.name().chars().next().expect("named")));
    for alert in ledger.alerts.values_mut() {
        let home = homes[&alert.name().chars().next().expect("named")];
        alert.incident = Some(id(home));
        alert.membership = Some(Reason::new(if parts.len() > 1 { "alone" } else { "together" }, "said so"));
    }
    ledger.incidents.retain(|id, _| id.number <= parts.len() as u64);
    for incident in ledger.incidents.values_mut() {
        let seconds = incident.id.number * 10 + if incident.id.number == 1 { late } else { 0 };
        incident.opened_at = start + std::time::Duration::from_secs(seconds);
    }
    ledger
}

#[track_caller]
fn check(before: &str, after: &str, expected: &[(Kind, &[u64], &[u64])]) -> Difference {
    let found = difference(&ledger(before, 0), &ledger(after, 0), Some("truth"));
    let numbers = |ids: &[IncidentId]| ids.iter().map(|id| id.number).collect::<Vec<_>>();
    let changes: Vec<_> = found.changes.iter().map(|c| (c.kind, numbers(&c.before), numbers(&c.after))).collect();
    let expected: Vec<_> = expected.iter().map(|(kind, old, new)| (*kind, old.to_vec(), new.to_vec())).collect();
    assert_eq!(changes, expected, "{before} -> {after}");
    found
}

#[test]
fn what_is_together_in_both_is_equal() {
    let found = check("ab, c", "ab, c", &[(Kind::Equal, &[1], &[1]), (Kind::Equal, &[2], &[2])]);
    assert_eq!((found.agreement.pairs, found.agreement.ari), (1.0, 1.0));
    let truth = found.truth.expect("the alerts carry it");
    assert_eq!((truth.alerts, truth.before, truth.after), (3, 1.0, 1.0));
}

#[test]
fn several_that_become_one_are_merged_and_the_reason_is_named() {
    let found = check("ab, c, d", "ab c d", &[(Kind::Merged, &[1, 2, 3], &[1])]);
    let why = &found.changes[0].why;
    assert_eq!((why.len(), why[0].alerts, why[0].from.as_str(), why[0].to.as_str()), (1, 4, "alone", "together"));
    assert!(found.agreement.pairs < 0.2 && found.agreement.ari < 0.01, "{:?}", found.agreement);
}

#[test]
fn one_that_becomes_several_is_split() {
    let found = check("abcd", "ab, cd", &[(Kind::Split, &[1], &[1, 2])]);
    // Two of six pairs are together in both, four are not.
    assert!((found.agreement.pairs - 2.0 / 6.0).abs() < 1e-12, "{:?}", found.agreement);
    let truth = found.truth.expect("the alerts carry it");
    assert_eq!((truth.before, truth.after), (0.0, 1.0));
}

#[test]
fn alerts_that_are_dealt_out_anew_are_regrouped_and_others_are_left_alone() {
    check("ab, cd, e", "ac, bd, e", &[(Kind::Regrouped, &[1, 2], &[1, 2]), (Kind::Equal, &[3], &[3])]);
    check("ab, c, de", "a, bc, de", &[(Kind::Regrouped, &[1, 2], &[1, 2]), (Kind::Equal, &[3], &[3])]);
}

#[test]
fn what_only_one_run_has_is_missed_or_new_or_changed() {
    check("ab, c", "ab", &[(Kind::Missed, &[2], &[]), (Kind::Equal, &[1], &[1])]);
    check("ab", "ab, c", &[(Kind::New, &[], &[2]), (Kind::Equal, &[1], &[1])]);
    check("abc", "ab", &[(Kind::Changed, &[1], &[1])]);
}

#[test]
fn the_same_alerts_may_be_told_of_earlier_or_later() {
    for (before, after, kind, seconds) in [(0, 7, Kind::Later, 7.0), (7, 0, Kind::Earlier, -7.0)] {
        let found = difference(&ledger("ab", before), &ledger("ab", after), None);
        assert_eq!((found.changes[0].kind, found.changes[0].later_seconds), (kind, Some(seconds)));
        assert_eq!(found.truth, None);
    }
}
