//! What operators say and do to the grouping: merges, splits, words on causes, and how each is taken back. Absent on
//! purpose: the invariants over random commands; see `invariants.rs`.

mod support;

use quell_domain::{
    AlertId, CiId, CommandKind, IncidentId, IncidentState, SPLIT_ORDINAL, Said, Standing, Transition, Verdict,
};
use quell_engine::{Link, pair_key};
use support::{Desk, alert, at, settings};

const ESTATE: &str = "**a>db1 **b>db2 c>db1 **mail>mx";

fn id(number: u64) -> IncidentId {
    IncidentId { shard: 0, number }
}

fn merge(into: u64) -> CommandKind {
    CommandKind::Merge { into: id(into) }
}

/// Two faults of three alerts: INC-1 with alerts 1 and 3, INC-2 with alert 2.
fn two() -> Desk {
    let mut desk = Desk::new(ESTATE);
    desk.tell(0, &[alert("Down", "db1")]);
    desk.tell(10, &[alert("Down", "db2")]);
    desk.tell(20, &[alert("Errors", "a")]);
    desk.tick(22);
    assert_eq!(desk.incidents(), ["INC-1 open [Down@db1 Errors@a] <- db1", "INC-2 open [Down@db2] <- db2"]);
    desk
}

#[track_caller]
fn check(desk: &Desk, expected: &[&str]) {
    assert_eq!(desk.incidents(), expected);
}

fn codes(desk: &Desk, number: u64) -> Vec<String> {
    desk.ledger.timelines[&id(number)].iter().map(|entry| entry.reason.code.to_string()).collect()
}

fn link(desk: &Desk, a: (&str, &str), b: (&str, &str)) -> Link {
    let key = |(ci, name)| pair_key(Some(&CiId::new(ci)), name);
    desk.engine.link_between(key(a), key(b))
}

#[test]
fn a_merge_moves_every_alert_and_closes_the_other_incident() {
    let mut desk = two();
    assert_eq!(desk.command(30, 2, CommandKind::Acknowledge), Verdict::Done);
    assert_eq!(desk.command(31, 2, merge(1)), Verdict::Done);
    check(&desk, &["INC-1 open [Down@db1 Down@db2 Errors@a] <- db1", "INC-2 resolved [] <- db2"]);
    let (into, from) = (&desk.ledger.incidents[&id(1)], &desk.ledger.incidents[&id(2)]);
    assert_eq!((into.alerts, into.firing, from.alerts, from.firing), (3, 3, 0, 0));
    assert_eq!((from.merged_into, from.moved.as_slice()), (Some(id(1)), &[AlertId(2)][..]));
    assert_eq!((into.acknowledged_at, into.acknowledged_by.as_deref()), (Some(at(30)), Some("ana")));
    let membership = desk.ledger.alerts[&AlertId(2)].membership.as_ref().expect("a reason");
    assert_eq!(membership.to_string(), "ana merged INC-2 into INC-1");
    assert_eq!(codes(&desk, 1), ["opened", "joined", "merged"]);
    assert_eq!(codes(&desk, 2), ["opened", "acknowledged", "merged_into"]);
    // A repeat and the end of a moved alert find it where it is now; so does what is new on its CI.
    desk.tell(40, &[alert("Down", "db2"), alert("Slow", "b")]);
    check(&desk, &["INC-1 open [Down@db1 Down@db2 Errors@a Slow@b] <- db1", "INC-2 resolved [] <- db2"]);
    desk.tell(50, &[alert("Down", "db2").resolves().ends(50)]);
    assert_eq!(desk.ledger.incidents[&id(1)].firing, 3);
    assert_eq!(desk.command(60, 2, merge(1)), Verdict::Unchanged);
    assert_eq!(desk.command(60, 2, CommandKind::Acknowledge), Verdict::Unchanged);
    assert_eq!(desk.command(60, 1, merge(1)), Verdict::Refused);
    assert_eq!(desk.command(60, 1, merge(2)), Verdict::Refused);
    assert_eq!(desk.command(60, 1, merge(9)), Verdict::NotFound);
}

#[test]
fn a_merge_is_taken_back_from_either_side_and_what_came_later_stays() {
    for asked in [1, 2] {
        let mut desk = two();
        desk.command(30, 2, merge(1));
        desk.tell(40, &[alert("Slow", "b")]);
        assert_eq!(link(&desk, ("db1", "Down"), ("db2", "Down")), Link { together: 1, apart: 0 });
        assert_eq!(desk.command(50, asked, CommandKind::Undo), Verdict::Done, "asked of INC-{asked}");
        desk.tick(55);
        check(&desk, &["INC-1 open [Down@db1 Errors@a Slow@b] <- db1", "INC-2 open [Down@db2] <- db2"]);
        assert_eq!(link(&desk, ("db1", "Down"), ("db2", "Down")), Link::default());
        assert_eq!(codes(&desk, 2), ["opened", "merged_into", "unmerged", "reopened"]);
        assert_eq!(desk.command(60, 1, CommandKind::Undo), Verdict::Unchanged);
        assert_eq!(desk.command(60, 2, CommandKind::Undo), Verdict::Unchanged);
        desk.tell(70, &[alert("Late", "db2")]);
        desk.tick(72);
        check(&desk, &["INC-1 open [Down@db1 Errors@a Slow@b] <- db1", "INC-2 open [Down@db2 Late@db2] <- db2"]);
    }
}

#[test]
fn a_chain_of_merges_is_taken_back_step_by_step() {
    let mut desk = two();
    desk.tell(23, &[alert("Queue", "mx")]);
    desk.command(30, 3, merge(2));
    desk.command(31, 2, merge(1));
    desk.tick(33);
    check(
        &desk,
        &[
            "INC-1 open [Down@db1 Down@db2 Errors@a Queue@mx] <- db1",
            "INC-2 resolved [] <- db2",
            "INC-3 resolved [] <- mx",
        ],
    );
    // While INC-2 is merged its own alerts are elsewhere: INC-3 has to wait for it.
    desk.command(40, 1, CommandKind::Undo);
    desk.command(41, 2, CommandKind::Undo);
    desk.tick(43);
    check(
        &desk,
        &["INC-1 open [Down@db1 Errors@a] <- db1", "INC-2 open [Down@db2] <- db2", "INC-3 open [Queue@mx] <- mx"],
    );
}

#[test]
fn a_split_opens_an_incident_and_is_taken_back_from_either_side() {
    for asked in [1, 3] {
        let mut desk = two();
        assert_eq!(desk.command(30, 1, CommandKind::Split { alerts: vec![AlertId(3), AlertId(2)] }), Verdict::Done);
        desk.tick(32);
        check(&desk, &["INC-1 open [Down@db1] <- db1", "INC-2 open [Down@db2] <- db2", "INC-3 open [Errors@a] <- a"]);
        let part = &desk.ledger.incidents[&id(3)];
        assert_eq!((part.split_from, part.opened_ordinal), (Some(id(1)), SPLIT_ORDINAL | 3));
        assert_eq!(link(&desk, ("db1", "Down"), ("a", "Errors")), Link { together: 0, apart: 1 });
        assert_eq!(desk.command(40, asked, CommandKind::Undo), Verdict::Done);
        desk.tick(42);
        let back = "INC-1 open [Down@db1 Errors@a] <- db1";
        check(&desk, &[back, "INC-2 open [Down@db2] <- db2", "INC-3 resolved [] <- a"]);
        assert_eq!(link(&desk, ("db1", "Down"), ("a", "Errors")), Link::default());
    }
}

#[test]
fn two_splits_between_two_records_have_openings_of_their_own() {
    let mut desk = two();
    desk.tell(25, &[alert("Slow", "a"), alert("Slow", "c")]);
    for alert in [3, 4] {
        assert_eq!(desk.command(30, 1, CommandKind::WrongGroup { alert: AlertId(alert) }), Verdict::Done);
    }
    let opening = |number| {
        let incident = &desk.ledger.incidents[&id(number)];
        (incident.opened_position, incident.opened_ordinal)
    };
    assert_eq!(opening(3).0, opening(4).0);
    assert_ne!(opening(3), opening(4));
}

#[test]
fn what_cannot_be_split_is_refused() {
    let mut desk = two();
    for alerts in [vec![], vec![AlertId(2)], vec![AlertId(1), AlertId(3)]] {
        assert_eq!(desk.command(30, 1, CommandKind::Split { alerts: alerts.clone() }), Verdict::Refused, "{alerts:?}");
    }
    assert_eq!(desk.command(30, 2, CommandKind::WrongGroup { alert: AlertId(2) }), Verdict::Refused);
    assert!(desk.ledger.feedback.is_empty(), "what was refused teaches nothing");
}

#[test]
fn a_wrong_cause_is_out_the_right_one_stands_first_and_both_can_be_taken_back() {
    let mut desk = two();
    let wrong =
        |ci: &str, right: Option<&str>| CommandKind::WrongCause { ci: CiId::new(ci), right: right.map(CiId::new) };
    assert_eq!(desk.command(30, 1, wrong("db1", Some("c"))), Verdict::Done);
    let causes = |desk: &Desk| -> Vec<String> {
        desk.ledger.incidents[&id(1)].causes.iter().map(|cause| cause.ci.to_string()).collect()
    };
    assert_eq!(causes(&desk)[0], "c");
    assert!(!causes(&desk).contains(&"db1".to_owned()));
    assert_eq!(desk.ledger.incidents[&id(1)].causes[0].evidence[0].to_string(), "named by ana");
    // It stays so when the incident is judged anew.
    desk.tell(40, &[alert("Slow", "c")]);
    desk.tick(50);
    assert_eq!(causes(&desk)[0], "c");
    let said = desk.ledger.feedback.values().next().expect("kept");
    assert!(matches!(&said.said, Said::Cause { wrong, alerts, .. } if *wrong == CiId::new("db1") && alerts.len() == 2));
    assert_eq!(desk.command(60, 1, CommandKind::Undo), Verdict::Done);
    assert_eq!(causes(&desk)[0], "db1");
    assert_eq!(desk.ledger.feedback.values().next().expect("kept").standing, Standing::Undone);
    assert_eq!(desk.command(61, 1, wrong("nowhere", None)), Verdict::Refused);
    assert_eq!(desk.command(61, 1, wrong("db1", Some("db1"))), Verdict::Refused);
}

#[test]
fn a_merged_incident_is_let_go_of_with_the_one_it_went_to() {
    let mut desk = two();
    desk.command(30, 2, merge(1));
    let over = |name, ci| alert(name, ci).resolves().ends(40);
    desk.tell(40, &[over("Down", "db1"), over("Down", "db2"), over("Errors", "a")]);
    assert_eq!(desk.ledger.incidents[&id(1)].state, IncidentState::Resolved);
    desk.tick(41 + 600);
    assert_eq!(desk.command(700, 1, CommandKind::Undo), Verdict::NotFound);
    assert_eq!(desk.command(700, 2, CommandKind::Undo), Verdict::NotFound);
    assert!(desk.ledger.snapshot(desk.engine.checkpoint()).incidents.is_empty());
}

#[test]
fn a_revived_alert_follows_its_present_incident() {
    let mut desk = two();
    desk.tell(25, &[alert("Down", "db2").starts(10).ends(400)]);
    desk.command(30, 2, merge(1));
    let over = |name: &str, ci: &str, starts| alert(name, ci).starts(starts).ends(100);
    desk.tell(100, &[over("Down", "db1", 0), over("Down", "db2", 10), over("Errors", "a", 20)]);
    desk.tick(420);
    assert_eq!(desk.ledger.incidents[&id(1)].state, IncidentState::Resolved, "{:?}", desk.incidents());
    let entry = &desk.ledger.alerts[&AlertId(2)];
    let starts = entry.starts_at;
    desk.tell(
        450,
        &[alert("Down", "db2").starts(i64::try_from(starts.since(at(0)).as_secs()).expect("small")).ends(900)],
    );
    assert_eq!(desk.ledger.incidents[&id(1)].state, IncidentState::Open, "{:?}", desk.incidents());
    assert_eq!(desk.ledger.incidents[&id(2)].state, IncidentState::Resolved);
}

#[test]
fn an_incident_resolved_by_a_person_does_not_reopen_for_a_merge_of_resolved_ones() {
    let mut desk = two();
    desk.command(30, 1, CommandKind::Resolve { note: None });
    desk.command(31, 2, CommandKind::Resolve { note: None });
    assert_eq!(desk.command(32, 2, merge(1)), Verdict::Done);
    check(&desk, &["INC-1 resolved [Down@db1 Down@db2 Errors@a] <- db1", "INC-2 resolved [] <- db2"]);
    assert_eq!(desk.command(33, 2, CommandKind::Undo), Verdict::Done);
    check(&desk, &["INC-1 resolved [Down@db1 Errors@a] <- db1", "INC-2 resolved [Down@db2] <- db2"]);
}

#[test]
fn an_open_incident_reopens_the_one_it_is_merged_into() {
    let mut desk = two();
    desk.command(30, 1, CommandKind::Resolve { note: None });
    assert_eq!(desk.command(32, 2, merge(1)), Verdict::Done);
    assert_eq!(desk.ledger.incidents[&id(1)].state, IncidentState::Open);
    assert_eq!(desk.engine.in_hand(), (3, 1));
}

#[test]
fn statements_over_the_limit_crowd_the_oldest_out() {
    let mut settings = settings();
    settings.limits.active_alerts = 1_000_000;
    let mut desk = Desk::with(ESTATE, settings);
    desk.tell(0, &[alert("Down", "db1")]);
    desk.tell(1, &[alert("Errors", "a")]);
    for _ in 0..quell_engine::heard::STATEMENTS + 3 {
        let wrong = CommandKind::WrongCause { ci: CiId::new("db1"), right: None };
        assert_eq!(desk.command(30, 1, wrong), Verdict::Done);
    }
    let standing = |wanted| desk.ledger.feedback.values().filter(|said| said.standing == wanted).count();
    assert_eq!((standing(Standing::InForce), standing(Standing::CrowdedOut)), (quell_engine::heard::STATEMENTS, 3));
    let row = &desk.ledger.incidents[&id(1)];
    assert_eq!((row.verdicts.len(), row.acts.len()), (32, 32));
    assert_eq!(desk.engine.dump().feedback, desk.ledger.snapshot(desk.engine.checkpoint()).feedback);
}

#[test]
fn a_merge_tells_that_the_old_incident_is_over() {
    assert_eq!(Transition::from_name("merged"), Some(Transition::Merged));
    let mut desk = two();
    let before = desk.ledger.notices;
    desk.command(30, 2, merge(1));
    assert_eq!(desk.ledger.notices, before + 2, "one of each incident");
}
