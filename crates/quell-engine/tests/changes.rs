//! Changes as evidence: what is said of a CI that was changed shortly before it failed, and when nothing is said.
//!
//! Absent on purpose: how changes are told (`quell-formats`) and kept (`quell-store`).

mod support;

use quell_domain::{Fact, Input, Reason};
use support::{Desk, alert, at, batch, change, settings, topology};

const ESTATE: &str = "**shop>api api>db api>cache db>h1 cache>h1 **pay>db";
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;

/// The cause named first, and what each cause's changes say.
fn causes(desk: &Desk) -> (Option<String>, Vec<(String, Reason)>) {
    let incident = desk.ledger.incidents.values().next_back().expect("an incident");
    let said = incident.causes.iter().flat_map(|cause| {
        let changes = cause.evidence.iter().filter(|reason| reason.code == "change");
        changes.map(|reason| (cause.ci.to_string(), reason.clone()))
    });
    (incident.causes.first().map(|cause| cause.ci.to_string()), said.collect())
}

/// Changes as (seconds, summary, CI), then `shop` and `api` fail at second 0; what is said then, each as `CI: sentence`.
fn check(changes: &[(i64, &str, &str)], first: &str, said: &[&str]) {
    let mut desk = Desk::new("");
    desk.install(-8 * DAY, topology(ESTATE));
    for &(seconds, summary, ci) in changes {
        desk.change(seconds, summary, ci, Some(seconds));
    }
    desk.tell(0, &[alert("Errors", "shop").starts(0), alert("Errors", "api").starts(2)]);
    desk.tick(10);
    let (cause, found) = causes(&desk);
    let found: Vec<String> = found.iter().map(|(ci, reason)| format!("{ci}: {reason}")).collect();
    assert_eq!((cause.as_deref(), found), (Some(first), said.iter().map(ToString::to_string).collect()));
}

#[test]
fn a_change_shortly_before_is_evidence_and_one_long_before_or_afterwards_is_not() {
    check(&[], "api", &[]);
    let said = "shop: it was changed 120 s before the first alert: deploy 7 (by ci-bot)";
    check(&[(-120, "deploy 7", "shop")], "shop", &[said]);
    check(&[(-20 * HOUR, "deploy 7", "shop")], "api", &[]);
    check(&[(5, "roll back", "shop")], "api", &[]);
    check(&[(-120, "deploy 7", "nowhere")], "api", &[]);
}

#[test]
fn a_suspect_that_raises_no_alert_is_named_when_it_was_changed() {
    let said = "cache: it was changed 60 s before the first alert: new config (by ci-bot)";
    let mut desk = Desk::new(ESTATE);
    desk.change(-60, "new config", "cache", None);
    desk.tell(0, &[alert("Errors", "shop").starts(0), alert("Errors", "api").starts(2)]);
    desk.tick(10);
    let (_, found) = causes(&desk);
    assert_eq!(found.iter().map(|(ci, reason)| format!("{ci}: {reason}")).collect::<Vec<_>>(), [said]);
}

#[test]
fn an_alert_of_what_was_changed_a_moment_ago_is_likelier_its_own_trouble() {
    let incidents = |changed: &str| {
        let mut desk = Desk::new(ESTATE);
        desk.tell(0, &[alert("Down", "api").starts(0)]);
        desk.change(40, "deploy 7", changed, None);
        desk.tell(60, &[alert("Errors", "shop").starts(60)]);
        desk.ledger.incidents.len()
    };
    assert_eq!((incidents("pay"), incidents("shop")), (1, 2));
}

#[test]
fn a_release_of_a_service_is_one_of_each_of_its_replicas() {
    let fails = |changed: bool| {
        let mut desk = Desk::new("**shop>web1/web **shop>web2/web **shop>web3/web web1>h1 web2>h1 web3>h1");
        if changed {
            desk.change(-120, "deploy 7", "shop", None);
        }
        desk.tell(0, &[alert("Crash", "web1").starts(0)]);
        desk.tick(10);
        causes(&desk).0
    };
    assert_eq!((fails(false).as_deref(), fails(true).as_deref()), (Some("web1"), Some("shop")));
}

#[test]
fn what_is_changed_all_day_long_says_nothing() {
    let often: Vec<(i64, &str, &str)> = (1..300).rev().map(|n| (-600 * n + 300, "deploy", "shop")).collect();
    check(&often, "api", &[]);
    // One that is changed seldom beside it still does.
    let rare = often.into_iter().chain([(-240, "failover", "db")]).collect::<Vec<_>>();
    let mut desk = Desk::new("");
    desk.install(-8 * DAY, topology(ESTATE));
    rare.iter().for_each(|&(seconds, summary, ci)| desk.change(seconds, summary, ci, Some(seconds)));
    desk.tell(0, &[alert("Errors", "shop").starts(0), alert("Errors", "api").starts(2)]);
    desk.tick(10);
    assert_eq!(causes(&desk).1.iter().map(|(ci, _)| ci.as_str()).collect::<Vec<_>>(), ["db"]);
}

/// How many times likelier a change of `shop` makes it: the fact of its reason; nothing where nothing is said.
fn times(told: quell_domain::Changes) -> Option<f64> {
    let mut desk = Desk::new(ESTATE);
    desk.input(0, &Input::Changes(told));
    desk.tell(3 * HOUR, &[alert("Errors", "shop").starts(3 * HOUR), alert("Errors", "api").starts(3 * HOUR)]);
    desk.tick(3 * HOUR + 10);
    causes(&desk).1.first().and_then(|(_, reason)| match reason.fact("times") {
        Some(Fact::Number(times)) => Some(*times),
        _ => None,
    })
}

#[test]
fn the_end_of_a_long_change_counts_and_the_longer_ago_it_ended_the_less() {
    let lasting = |starts: i64, ends: i64| {
        let mut told = change("upgrade", "shop", Some(starts));
        told.items[0].ends_at = Some(at(ends));
        times(told)
    };
    let (just, ongoing, long) = (lasting(0, 3 * HOUR - 60), lasting(0, 4 * HOUR), lasting(0, HOUR));
    assert!(
        just.is_some_and(|just| just > 2.0) && ongoing.is_some_and(|ongoing| ongoing > 2.0),
        "{just:?} {ongoing:?}"
    );
    assert_eq!((long, times(change("upgrade", "shop", Some(0)))), (None, None));
    assert!(times(change("deploy", "shop", Some(3 * HOUR - 60))) > just, "one that took no time says more");
}

#[test]
fn a_change_told_late_has_the_incident_judged_anew() {
    let mut desk = Desk::new(ESTATE);
    desk.tell(1000, &[alert("Errors", "shop").starts(1000), alert("Errors", "api").starts(1002)]);
    desk.tick(1010);
    assert_eq!(causes(&desk), (Some("api".to_owned()), vec![]));
    desk.change(1030, "deploy 7", "shop", Some(900));
    desk.tick(1040);
    assert_eq!(causes(&desk).0.as_deref(), Some("shop"));
}

#[test]
fn inv_4_a_change_that_is_delivered_again_counts_once_and_the_order_decides_nothing() {
    let told = || [change("a", "shop", Some(-300)), change("b", "shop", Some(-200)), change("c", "db", Some(-100))];
    let run = |order: &[usize]| {
        let mut desk = Desk::new(ESTATE);
        order.iter().for_each(|&which| _ = desk.input(0, &Input::Changes(told()[which].clone())));
        desk.tell(5, &[alert("Errors", "shop").starts(0), alert("Errors", "api").starts(2)]);
        desk.tick(10);
        let text: Vec<String> = causes(&desk).1.iter().map(|(ci, reason)| format!("{ci}: {reason}")).collect();
        (desk.incidents(), text, desk.ledger.altered)
    };
    let once = run(&[0, 1, 2]);
    for order in [&[2, 1, 0][..], &[1, 0, 2, 0, 1, 2, 2], &[0, 0, 0, 1, 2]] {
        let again = run(order);
        assert_eq!((&once.0, &once.1), (&again.0, &again.1), "{order:?}");
        assert_eq!((again.2.bound, again.2.repeated), (3, order.len() as u64 - 3));
    }
    // Without a time of its own, the same words a minute later are another change.
    let mut desk = Desk::new(ESTATE);
    for seconds in [0, 30, 60, 200] {
        desk.change(seconds, "deploy", "shop", None);
    }
    assert_eq!((desk.ledger.altered.bound, desk.ledger.altered.repeated), (2, 2));
}

#[test]
fn inv_6_changes_are_let_go_of_by_age_and_by_the_limit() {
    let mut few = settings();
    few.limits.recent_changes = 2;
    let mut desk = Desk::with(ESTATE, few);
    for seconds in 0..4 {
        desk.change(seconds, &format!("deploy {seconds}"), "shop", None);
    }
    assert_eq!((desk.engine.dump().changes.len(), desk.ledger.altered.crowded_out), (2, 2));
    desk.change(8 * DAY, "deploy", "shop", None);
    assert_eq!((desk.engine.dump().changes.len(), desk.ledger.altered.crowded_out), (1, 2));
    assert_eq!(desk.ledger.snapshot(desk.engine.checkpoint()).changes, desk.engine.dump().changes);
}

#[test]
fn an_unbound_change_is_kept_and_bound_when_its_ci_is_known() {
    let mut desk = Desk::new(ESTATE);
    desk.change(0, "deploy", "new", Some(0));
    let kept = |desk: &Desk| desk.ledger.changes.values().next().expect("kept").clone();
    assert_eq!(kept(&desk).unbound.map(|reason| reason.code.to_string()).as_deref(), Some("no_match"));
    desk.install(60, topology("**shop>new"));
    assert_eq!(kept(&desk).binding.map(|binding| binding.ci.to_string()).as_deref(), Some("new"));
    assert_eq!((desk.ledger.altered.bound, desk.ledger.altered.unbound), (0, 1), "counted as it was when it came");
    desk.input(120, &Input::Alerts(batch(&[alert("Errors", "shop").starts(100)])));
    desk.tick(130);
    assert_eq!(causes(&desk).1.len(), 1);
}
