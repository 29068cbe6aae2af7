//! What rules and symptoms do over time: twins that part, alerts that wait, and rules that change under them.
//!
//! Absent on purpose: each action by itself, which the tests in `rules/alerts.yaml` show.

mod support;

use std::sync::Arc;

use quell_domain::{Activation, AlertId, ArtefactKind, CommandKind, Digest, Input, Source, Verdict};
use quell_engine::rules::Rules;
use quell_engine::{Artefact, Settings};
use support::{Desk, alert, ruled, settings, symptoms};

const ESTATE: &str = "**shop>db db>h1 **mail>mx mx>h3";

fn with_symptoms() -> Settings {
    Settings { rules: Rules::new(Vec::new(), symptoms()), ..settings() }
}

fn activate(desk: &mut Desk, seconds: i64, settings: Settings) {
    let digest = Digest([9; 32]);
    desk.engine.shelve(digest, Artefact::Rules(Arc::new(settings)));
    desk.input(seconds, &Input::Activate(Activation { kind: ArtefactKind::Rules, digest }));
}

/// Every alert as `name twin-of why`, and how many each incident counts.
#[track_caller]
fn check(desk: &Desk, alerts: &[&str], counted: &[u64]) {
    let found: Vec<String> = desk
        .ledger
        .alerts
        .values()
        .map(|alert| {
            let twin = alert.twin_of.map_or("-".to_owned(), |id| id.0.to_string());
            format!("{} {twin} {}", alert.name(), alert.membership.as_ref().map_or("-", |reason| &reason.code))
        })
        .collect();
    assert_eq!(found, alerts);
    assert_eq!(desk.ledger.incidents.values().map(|incident| incident.alerts).collect::<Vec<_>>(), counted);
}

/// `Down` of one tool, then the same of another, and a word of the same class.
fn seen_three_times() -> Desk {
    let mut desk = Desk::with(ESTATE, with_symptoms());
    desk.tell(0, &[alert("Down", "db").ends(100)]);
    desk.tell(5, &[alert("Down", "db").by(Source::PagerDuty)]);
    desk.tell(6, &[alert("HostUnreachable", "db").ends(900)]);
    desk
}

#[test]
fn a_fault_that_several_monitors_see_counts_once() {
    let mut desk = seen_three_times();
    check(&desk, &["Down - opened", "Down 1 same_symptom", "HostUnreachable 1 same_symptom"], &[1]);
    let why = desk.ledger.alerts[&AlertId(2)].membership.as_ref().map(ToString::to_string);
    assert_eq!(why.as_deref(), Some("says what Down of alertmanager said: down on db"));
    // The first one ends: what the others say still holds.
    desk.tick(150);
    check(&desk, &["Down - opened", "Down 1 same_symptom", "HostUnreachable 1 same_symptom"], &[1]);
    assert_eq!(desk.ledger.incidents.values().map(|incident| incident.firing).collect::<Vec<_>>(), [2]);
}

#[test]
fn alerts_of_one_name_and_tool_or_of_other_cis_are_no_twins() {
    let mut desk = Desk::with(ESTATE, with_symptoms());
    desk.tell(
        0,
        &[alert("Down", "db").label("disk", "a"), alert("Down", "db").label("disk", "b"), alert("Down", "mx")],
    );
    desk.tell(1, &[alert("Slow", "db")]);
    assert!(desk.ledger.alerts.values().all(|alert| alert.twin_of.is_none()), "{:?}", desk.ledger.alerts);
}

#[test]
fn moving_a_twin_parts_it_from_the_other() {
    for alert in [1, 2] {
        let mut desk = seen_three_times();
        assert_eq!(desk.command(30, 1, CommandKind::WrongGroup { alert: AlertId(alert) }), Verdict::Done);
        let moved: Vec<_> = desk.ledger.alerts.values().map(|alert| alert.twin_of).collect();
        let counted: Vec<u64> = desk.ledger.incidents.values().map(|incident| incident.alerts).collect();
        match alert {
            1 => assert_eq!((moved, counted), (vec![None, None, None], vec![2, 1])),
            _ => assert_eq!((moved, counted), (vec![None, None, Some(AlertId(1))], vec![1, 1])),
        }
    }
}

#[test]
fn other_rules_part_twins_and_find_them_again() {
    let mut desk = seen_three_times();
    activate(&mut desk, 10, settings());
    check(&desk, &["Down - opened", "Down - same_symptom", "HostUnreachable - same_symptom"], &[3]);
    activate(&mut desk, 20, with_symptoms());
    check(&desk, &["Down - opened", "Down 1 same_symptom", "HostUnreachable 1 same_symptom"], &[1]);
}

#[test]
fn what_rules_held_back_or_suppressed_opens_an_incident_when_they_are_gone() {
    let mut desk = Desk::with("**mail>mx mx>h3 h1>sw", ruled(2, 200));
    let disposed = desk.tell(0, &[alert("Down", "mx").ends(900), alert("Slow", "sw").ends(900)]);
    assert_eq!((disposed.suppressed, disposed.received), (2, 2));
    check(&desk, &["Down - held", "Slow - suppressed"], &[]);
    // A threshold of three holds it back as well, and says so anew.
    activate(&mut desk, 10, ruled(3, 200));
    check(&desk, &["Down - held", "Slow - suppressed"], &[]);
    let why = desk.ledger.alerts[&AlertId(1)].membership.as_ref().map(ToString::to_string);
    assert_eq!(why.as_deref(), Some("held back by rule mail: 1 of 3 within 200.00 s"));
    activate(&mut desk, 20, settings());
    check(&desk, &["Down - opened", "Slow - opened"], &[1, 1]);
}

#[test]
fn a_held_alert_that_ended_still_counts_and_joins() {
    let mut desk = Desk::with(ESTATE, ruled(2, 200));
    desk.tell(0, &[alert("Down", "mx").ends(20)]);
    desk.tick(60);
    desk.tell(150, &[alert("Down", "h3").ends(900)]);
    check(&desk, &["Down - threshold", "Down - threshold"], &[2]);
    assert_eq!(desk.ledger.incidents.values().map(|incident| incident.firing).collect::<Vec<_>>(), [1]);
}

#[test]
fn an_alert_of_no_incident_is_let_go_of_when_it_is_long_over() {
    let mut desk = Desk::with(ESTATE, ruled(2, 3000));
    desk.tell(0, &[alert("Down", "mx").ends(20)]);
    // It counts for 3000 s, which is longer than an incident could reopen.
    desk.tick(2999);
    assert_eq!(desk.engine.dump().alerts.len(), 1);
    desk.tick(3000);
    assert_eq!(desk.engine.dump().alerts.len(), 0);
    check(&desk, &["Down - held"], &[]);
    assert_eq!(desk.ledger.snapshot(desk.engine.checkpoint()).alerts, []);
}
