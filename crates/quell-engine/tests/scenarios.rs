//! What the engine does with storms that people would recognise. Absent on purpose: invariants over random input; see
//! `invariants.rs`.

mod support;

use quell_domain::{CommandKind, IncidentState, Input, Source, Verdict};
use support::{Desk, Told, alert, at, settings};

const SHOP: &str = "**shop>web1/web **shop>web2/web web1>db web2>db web1>h1 web2>h2 db>h3 h1>sw h2>sw **pay>db";

#[track_caller]
fn check(estate: &str, storm: &[(i64, Told)], expected: &[&str]) -> Desk {
    let mut desk = Desk::new(estate);
    for (seconds, told) in storm {
        desk.tell(*seconds, std::slice::from_ref(told));
    }
    let last = storm.last().map_or(0, |(seconds, _)| *seconds);
    desk.tick(last + 2);
    assert_eq!(desk.incidents(), expected);
    desk
}

#[test]
fn dependents_of_a_failed_database_join_its_incident() {
    check(
        SHOP,
        &[
            (0, alert("Down", "db")),
            (5, alert("Errors", "web1")),
            (6, alert("Errors", "web2")),
            (9, alert("Slow", "pay")),
        ],
        &["INC-1 open [Down@db Errors@web1 Errors@web2 Slow@pay] <- db"],
    );
}

#[test]
fn a_silent_switch_is_named_when_all_that_hangs_on_it_alerts() {
    check(
        "h1>sw h2>sw h3>sw h4>sw",
        &[(0, alert("Down", "h1")), (1, alert("Down", "h2")), (2, alert("Down", "h3")), (3, alert("Down", "h4"))],
        &["INC-1 open [Down@h1 Down@h2 Down@h3 Down@h4] <- sw"],
    );
}

#[test]
fn replicas_that_fail_together_without_a_shared_dependency_point_at_what_they_are_replicas_of() {
    check(
        "**api>api1/r **api>api2/r **api>api3/r api1>h1 api2>h2 api3>h3 **web>api",
        &[
            (0, alert("RolloutStuck", "api")),
            (1, alert("CrashLooping", "api1")),
            (1, alert("CrashLooping", "api2")),
            (2, alert("CrashLooping", "api3")),
            (3, alert("HighErrorRate", "web")),
        ],
        &[
            "INC-1 open [RolloutStuck@api CrashLooping@api1 CrashLooping@api2 CrashLooping@api3 HighErrorRate@web] <- api",
        ],
    );
}

#[test]
fn a_database_beneath_all_replicas_outweighs_what_they_are_replicas_of() {
    check(
        "**api>api1/r **api>api2/r **api>api3/r api1>db api2>db api3>db **web>api",
        &[
            (0, alert("Down", "db")),
            (1, alert("CrashLooping", "api1")),
            (1, alert("CrashLooping", "api2")),
            (2, alert("CrashLooping", "api3")),
            (2, alert("HighErrorRate", "api")),
            (3, alert("HighErrorRate", "web")),
        ],
        &[
            "INC-1 open [Down@db CrashLooping@api1 CrashLooping@api2 CrashLooping@api3 HighErrorRate@api HighErrorRate@web] <- db",
        ],
    );
}

#[test]
fn unrelated_faults_at_the_same_minute_stay_apart() {
    check(
        "**a>db1 **b>db2",
        &[(0, alert("Down", "db1")), (1, alert("Down", "db2")), (2, alert("Errors", "a")), (3, alert("Errors", "b"))],
        &["INC-1 open [Down@db1 Errors@a] <- db1", "INC-2 open [Down@db2 Errors@b] <- db2"],
    );
}

#[test]
fn a_shared_hub_joins_nothing() {
    let hosts: String = (0..200).map(|n| format!("h{n}>core ")).collect();
    check(
        &hosts,
        &[(0, alert("Disk", "h1")), (1, alert("Fan", "h2"))],
        &["INC-1 open [Disk@h1] <- h1", "INC-2 open [Fan@h2] <- h2"],
    );
}

#[test]
fn unbound_alerts_meet_by_equal_labels() {
    check(
        "",
        &[
            (0, alert("Lag", "").label("job", "etl").label("pod", "a")),
            (1, alert("Lag", "").label("job", "etl").label("pod", "b")),
            (2, alert("Lag", "").label("job", "web").label("pod", "c")),
        ],
        &["INC-1 open [Lag Lag]", "INC-2 open [Lag]"],
    );
}

#[test]
fn repeats_are_counted_and_never_rows() {
    let mut desk = Desk::new(SHOP);
    desk.tell(0, &[alert("Down", "db").starts(0)]);
    for n in 1..=1000 {
        let disposed = desk.tell(n, &[alert("Down", "db").starts(0)]);
        assert_eq!((disposed.deduplicated, disposed.sum()), (1, 1));
    }
    assert_eq!(desk.ledger.alerts.len(), 1);
    let folds = desk.engine.take_folds();
    assert_eq!(folds.len(), 1);
    assert_eq!(folds[0].count, 1001);
    assert_eq!(folds[0].ends_at, Some(at(1300)));
    assert!(desk.engine.take_folds().is_empty());
}

#[test]
fn an_alert_ends_by_its_end_or_by_the_timeout_and_the_incident_with_it() {
    let mut desk = Desk::new(SHOP);
    desk.tell(0, &[alert("Down", "db").ends(60)]);
    desk.tell(1, &[alert("Errors", "web1")]);
    desk.tick(61);
    assert_eq!(desk.incidents(), ["INC-1 open [Down@db Errors@web1] <- db"]);
    desk.tick(301);
    assert_eq!(desk.incidents(), ["INC-1 resolved [Down@db Errors@web1] <- db"]);
    let incident = desk.ledger.incidents.values().next().expect("one");
    assert_eq!(incident.resolved_at, Some(at(301)));
}

#[test]
fn webhook_and_pagerduty_alerts_end_only_by_their_own_resolve() {
    for source in [Source::AlertmanagerWebhook, Source::PagerDuty] {
        let mut desk = Desk::new(SHOP);
        desk.tell(0, &[alert("Down", "db").by(source)]);
        desk.tick(86_400 * 30);
        assert_eq!(desk.incidents(), ["INC-1 open [Down@db] <- db"]);
        let disposed = desk.tell(86_400 * 30 + 1, &[alert("Down", "db").by(source).resolves()]);
        assert_eq!(disposed.resolved, 1);
        assert_eq!(desk.incidents(), ["INC-1 resolved [Down@db] <- db"]);
    }
}

#[test]
fn an_outage_gives_the_time_back() {
    let mut desk = Desk::new(SHOP);
    desk.tell(0, &[alert("Down", "db").ends(240)]);
    desk.input(3600, &Input::Outage { from: at(10), to: at(3600) });
    assert_eq!(desk.incidents(), ["INC-1 open [Down@db] <- db"]);
    desk.tick(3600 + 229);
    assert_eq!(desk.incidents(), ["INC-1 open [Down@db] <- db"]);
    desk.tick(3600 + 231);
    assert_eq!(desk.incidents(), ["INC-1 resolved [Down@db] <- db"]);
}

#[test]
fn what_ended_before_the_outage_stays_ended() {
    let mut desk = Desk::new(SHOP);
    desk.tell(0, &[alert("Down", "db").ends(60)]);
    desk.input(3600, &Input::Outage { from: at(100), to: at(3600) });
    assert_eq!(desk.incidents(), ["INC-1 resolved [Down@db] <- db"]);
    assert_eq!(desk.ledger.incidents.values().next().and_then(|i| i.resolved_at), Some(at(60)));
}

#[test]
fn a_resolved_incident_reopens_within_its_window_and_not_after() {
    let mut desk = Desk::new(SHOP);
    desk.tell(0, &[alert("Down", "db").starts(0).ends(10)]);
    desk.tick(20);
    desk.tell(100, &[alert("Down", "db").starts(100).ends(200)]);
    assert_eq!(desk.incidents(), ["INC-1 open [Down@db Down@db] <- db"]);
    desk.tick(201);
    desk.tell(2000, &[alert("Down", "db").starts(2000)]);
    assert_eq!(desk.incidents(), ["INC-1 resolved [Down@db Down@db] <- db", "INC-2 open [Down@db] <- db"]);
}

#[test]
fn an_alert_that_comes_again_soon_stays_where_it_was() {
    // `pay` is slow for half a minute in the database's incident, and so many seconds after its end again.
    let incidents = |quiet: i64| {
        let mut desk = Desk::new(SHOP);
        desk.tell(0, &[alert("Down", "db").starts(0)]);
        desk.tell(5, &[alert("Errors", "web1").starts(5), alert("Errors", "web2").starts(5)]);
        desk.tell(9, &[alert("Slow", "pay").starts(9)]);
        desk.tell(39, &[alert("Slow", "pay").starts(9).ends(39)]);
        let again = 39 + quiet;
        desk.tell(again, &[alert("Slow", "pay").starts(again)]);
        desk.incidents()
    };
    let one = ["INC-1 open [Down@db Errors@web1 Errors@web2 Slow@pay Slow@pay] <- db"];
    assert_eq!(incidents(550), one);
    assert_eq!(incidents(1800).len(), 2, "long after its end it is another trouble");
}

#[test]
fn what_a_sender_repeats_is_no_second_wave() {
    let hosts = ["h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8"];
    let mut desk = Desk::new("h1>sw h2>sw h3>sw h4>sw h5>sw h6>sw h7>sw h8>sw");
    for start in [0, 200] {
        for (host, second) in hosts.iter().zip(start..) {
            desk.tell(second, &[alert("Down", host).starts(second)]);
        }
        for (host, second) in hosts.iter().zip(start..) {
            desk.tell(second + 60, &[alert("Down", host).starts(second).ends(second + 60)]);
        }
    }
    assert_eq!(desk.ledger.incidents.len(), 1, "{:?}", desk.incidents());
}

#[test]
fn an_alert_that_no_ci_is_known_for_comes_again_where_it_was() {
    let mut desk = Desk::new(SHOP);
    for seconds in [0, 500] {
        desk.tell(seconds, &[alert("Odd", "elsewhere").starts(seconds)]);
        desk.tell(seconds + 30, &[alert("Odd", "elsewhere").starts(seconds).ends(seconds + 30)]);
    }
    assert_eq!(desk.ledger.incidents.len(), 1);
}

#[test]
fn the_same_episode_firing_again_is_revived_not_doubled() {
    let mut desk = Desk::new(SHOP);
    desk.tell(0, &[alert("Down", "db").starts(0).ends(10)]);
    desk.tick(60);
    desk.tell(61, &[alert("Down", "db").starts(0).ends(400)]);
    assert_eq!(desk.incidents(), ["INC-1 open [Down@db] <- db"]);
    assert_eq!(desk.ledger.incidents.values().next().map(|i| i.reopened), Some(1));
}

#[test]
fn a_resolve_that_overtakes_its_fire_wins() {
    let mut desk = Desk::new(SHOP);
    let disposed = desk.tell(100, &[alert("Down", "db").starts(10).ends(50)]);
    assert_eq!(disposed.stale, 1);
    desk.tell(110, &[alert("Down", "db").starts(10).ends(400)]);
    assert_eq!(desk.incidents(), ["INC-1 resolved [Down@db] <- db"]);
    let alert = desk.ledger.alerts.values().next().expect("one");
    assert_eq!((alert.starts_at, alert.ends_at), (at(10), Some(at(50))));
}

#[test]
fn a_pagerduty_trigger_after_a_resolve_is_a_new_alert_whatever_its_time() {
    let mut desk = Desk::new(SHOP);
    let event = || alert("Down", "db").by(Source::PagerDuty).starts(0);
    desk.tell(1, &[event()]);
    desk.tell(2, &[event().resolves()]);
    desk.tell(3, &[event()]);
    assert_eq!(desk.incidents(), ["INC-1 open [Down@db Down@db] <- db"]);
    // Nor does the resolve of something unknown hold back what is triggered after it.
    let other = || alert("Slow", "mx").by(Source::PagerDuty).starts(0);
    desk.tell(4, &[other().resolves()]);
    let disposed = desk.tell(5, &[other()]);
    assert_eq!((disposed.opened, desk.engine.in_hand().0), (1, 2));
}

#[test]
fn a_pagerduty_trigger_after_an_operators_resolve_is_a_new_alert() {
    let mut desk = Desk::new(SHOP);
    let event = || alert("Down", "db").by(Source::PagerDuty);
    desk.tell(1, &[event()]);
    assert_eq!(desk.command(60, 1, CommandKind::Resolve { note: None }), Verdict::Done);
    desk.tell(7 * 86_400, &[event()]);
    assert_eq!(desk.incidents(), ["INC-1 resolved [Down@db] <- db", "INC-2 open [Down@db] <- db"]);
}

#[test]
fn a_second_episode_whose_resolve_comes_first_ends() {
    let mut desk = Desk::new(SHOP);
    let webhook = || alert("Down", "db").by(Source::AlertmanagerWebhook);
    desk.tell(0, &[webhook().starts(0)]);
    desk.tell(10, &[webhook().starts(0).ends(10).resolves()]);
    desk.tell(31, &[webhook().starts(20).ends(30).resolves()]);
    desk.tell(32, &[webhook().starts(20)]);
    assert_eq!(desk.incidents(), ["INC-1 resolved [Down@db Down@db] <- db"]);
}

#[test]
fn a_resend_without_an_end_extends_one_that_was_named() {
    let mut desk = Desk::new(SHOP);
    desk.tell(0, &[alert("Down", "db").starts(0).ends(60)]);
    desk.tell(55, &[alert("Down", "db").starts(0)]);
    desk.tick(70);
    assert_eq!(desk.engine.in_hand(), (1, 1));
}

#[test]
fn a_resolve_by_a_clock_that_runs_behind_still_resolves() {
    let mut desk = Desk::new(SHOP);
    desk.tell(10, &[alert("Down", "db").ends(86_400)]);
    desk.tell(11, &[alert("Down", "db").ends(9)]);
    assert_eq!(desk.incidents(), ["INC-1 resolved [Down@db] <- db"]);
}

#[test]
fn beyond_512_alerting_cis_the_cause_still_is_what_alerted_first() {
    let hosts: String = (0..600).map(|n| format!("h{n}>zsw h{n}>power ")).collect();
    let mut desk = Desk::new(&hosts);
    desk.tell(0, &[alert("Unreachable", "zsw")]);
    let down: Vec<Told> = (0..600).map(|n| alert("Down", &format!("h{n}"))).collect();
    desk.tell(1, &down);
    desk.tick(5);
    let incident = desk.ledger.incidents.values().next().expect("one");
    assert_eq!(incident.causes[0].ci.as_str(), "zsw", "{:#?}", incident.causes);
}

#[test]
fn operators_act_and_are_answered() {
    let mut desk = Desk::new(SHOP);
    desk.tell(0, &[alert("Down", "db").by(Source::AlertmanagerWebhook)]);
    assert_eq!(desk.command(5, 1, CommandKind::Acknowledge), Verdict::Done);
    assert_eq!(desk.command(6, 1, CommandKind::Acknowledge), Verdict::Unchanged);
    assert_eq!(desk.command(7, 1, CommandKind::Comment { text: "on it".into() }), Verdict::Done);
    assert_eq!(desk.command(8, 1, CommandKind::Resolve { note: None }), Verdict::Done);
    assert_eq!(desk.command(9, 2, CommandKind::Acknowledge), Verdict::NotFound);
    let incident = desk.ledger.incidents.values().next().expect("one");
    assert_eq!((incident.acknowledged_at, incident.resolved_at), (Some(at(5)), Some(at(8))));
    assert_eq!(incident.state, IncidentState::Resolved);
    // Its alert still fires and is still repeated: that alone reopens nothing.
    desk.tell(20, &[alert("Down", "db").by(Source::AlertmanagerWebhook)]);
    assert_eq!(desk.incidents(), ["INC-1 resolved [Down@db] <- db"]);
}

#[test]
fn a_command_overtaking_waiting_alerts_does_not_move_their_clock() {
    let mut desk = Desk::new(SHOP);
    desk.tell(0, &[alert("Down", "db").ends(240)]);
    desk.command(4000, 1, CommandKind::Acknowledge);
    desk.tell(200, &[alert("Down", "db").ends(500)]);
    desk.tick(400);
    assert_eq!(desk.incidents(), ["INC-1 open [Down@db] <- db"]);
}

#[test]
fn priority_follows_the_services_at_risk_and_the_severity() {
    let mut desk = Desk::new(SHOP);
    desk.tell(0, &[alert("Down", "h2").label("severity", "critical")]);
    desk.tell(1, &[alert("Down", "db").label("severity", "critical")]);
    desk.tick(5);
    let priorities: Vec<String> = desk.ledger.incidents.values().map(|i| i.priority.to_string()).collect();
    let services: Vec<u64> = desk.ledger.incidents.values().map(|i| i.blast_radius.services.len() as u64).collect();
    assert_eq!((priorities, services), (vec!["P3".to_owned(), "P1".to_owned()], vec![0, 2]));
}

#[test]
fn over_the_limit_alerts_collapse_into_one() {
    let mut small = settings();
    small.limits.active_alerts = 10;
    let mut desk = Desk::with("", small);
    let flood: Vec<Told> = (0..100).map(|n| alert(&format!("A{n}"), "")).collect();
    let disposed = desk.tell(0, &flood);
    assert_eq!((disposed.opened, disposed.overflowed, disposed.sum()), (10, 90, 100));
    assert_eq!(desk.ledger.incidents.len(), 11);
    assert!(desk.incidents().iter().any(|incident| incident.contains("QuellOverflow")));
    assert_eq!(desk.ledger.alerts.values().last().map(|alert| alert.name().to_owned()), Some("QuellOverflow".into()));
}

#[test]
fn another_topology_binds_what_fires_anew() {
    let mut desk = Desk::new("");
    desk.tell(0, &[alert("Down", "db")]);
    assert_eq!(desk.incidents(), ["INC-1 open [Down@db]"]);
    desk.install(10, support::topology(SHOP));
    desk.tick(12);
    assert_eq!(desk.incidents(), ["INC-1 open [Down@db] <- db"]);
    desk.tell(13, &[alert("Errors", "web1")]);
    assert_eq!(desk.incidents().len(), 1);
}

#[test]
fn an_incident_that_goes_on_lets_go_of_what_ended_first() {
    let mut few = settings();
    few.limits.ended_alerts = 4;
    let mut desk = Desk::with(SHOP, few);
    desk.tell(0, &[alert("Down", "db").ends(10_000)]);
    for n in 1..=9 {
        desk.tell(60 * n, &[alert(&format!("Slow{n}"), "web1").starts(60 * n).ends(60 * n + 20)]);
    }
    desk.tick(600);
    let in_hand = |desk: &Desk| -> Vec<String> {
        desk.engine.dump().alerts.iter().map(|alert| alert.name().to_owned()).collect()
    };
    assert_eq!(in_hand(&desk), ["Down", "Slow5", "Slow6", "Slow7", "Slow8", "Slow9"]);
    assert_eq!(desk.ledger.disposed.crowded_out, 4);
    let incident = desk.ledger.incidents.values().next().expect("open");
    assert_eq!((desk.ledger.incidents.len(), incident.alerts, incident.firing), (1, 10, 1), "all count and are shown");
    assert_eq!(desk.ledger.members()[&incident.id].len(), 10);
    // One of them again is a new episode, of the same incident.
    desk.tell(610, &[alert("Slow1", "web1").starts(610)]);
    let incident = desk.ledger.incidents.values().next().expect("open");
    assert_eq!((desk.ledger.incidents.len(), incident.alerts, incident.firing), (1, 11, 2));
}

#[test]
fn what_was_only_not_heard_of_stays_in_hand_until_its_incident_could_not_reopen() {
    let mut few = settings();
    few.limits.ended_alerts = 4;
    let mut desk = Desk::with(SHOP, few);
    let cut_off = |names: std::ops::RangeInclusive<u32>| -> Vec<support::Told> {
        names.map(|n| alert(&format!("Cut{n}"), "web1").starts(10)).collect()
    };
    desk.tell(0, &[alert("Down", "db").ends(10_000)]);
    desk.tell(20, &cut_off(1..=9));
    desk.tell(21, &(1..=9).map(|n| alert(&format!("Slow{n}"), "web1").starts(11).ends(60 + n)).collect::<Vec<_>>());
    // At 320 none of the first was heard of for the resolve timeout; what was said to be over goes, and nothing else.
    desk.tell(330, &[alert("Errors", "db").starts(330).ends(340)]);
    desk.tick(345);
    assert_eq!(desk.ledger.disposed.crowded_out, 9);
    desk.tell(350, &cut_off(1..=3));
    let incident = desk.ledger.incidents.values().next().expect("open");
    assert_eq!((desk.ledger.incidents.len(), incident.alerts, incident.firing), (1, 20, 4), "the same episodes go on");
    // Those that did not come back go in the end.
    desk.tick(2000);
    desk.tell(2010, &[alert("Slow", "db").starts(2010)]);
    desk.tick(2020);
    assert_eq!(desk.ledger.disposed.crowded_out, 15);
}
