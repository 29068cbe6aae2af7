//! Problems from the first incident to the proof of the fix. Absent on purpose: the invariants over random storms; see
//! `invariants.rs`.

mod support;

use quell_domain::{
    ChangeId, FixOutcome, IncidentId, Position, Problem, ProblemAct, ProblemAsk, ProblemField, ProblemId, ProblemState,
    Recognition, SignatureId, Verdict, Verified,
};
use support::{Desk, Told, alert, at};

const ESTATE: &str = "**a>db1 **b>db2 c>db1 **mail>mx";
const HOUR: i64 = 3600;

fn incident(number: u64) -> IncidentId {
    IncidentId { shard: 0, number }
}

fn problem(number: u64) -> ProblemId {
    ProblemId { shard: 0, number }
}

fn signature(number: u64) -> SignatureId {
    SignatureId { shard: 0, number }
}

/// A trouble of these alerts that begins then and is over after so many seconds.
fn trouble(desk: &mut Desk, from: i64, lasts: i64, alerts: &[Told]) {
    for told in alerts {
        let told = told.clone().starts(from).ends(from + 10 * HOUR);
        desk.tell(from, &[told]);
    }
    desk.tick(from + 2);
    for told in alerts {
        desk.tell(from + lasts, &[told.clone().resolves().starts(from).ends(from + lasts)]);
    }
    // Long enough that it does not reopen.
    desk.tick(from + lasts + 700);
}

fn db1() -> Vec<Told> {
    vec![alert("Down", "db1").says("db1 is down since 12:07"), alert("Errors", "a").says("500s")]
}

fn known(desk: &Desk, number: u64) -> &Recognition {
    &desk.ledger.problems.recognitions[&incident(number)]
}

fn the(desk: &Desk, number: u64) -> &Problem {
    &desk.ledger.problems.problems[&problem(number)].0
}

/// Three times the same: `PRB-1` of `SIG-1` with `INC-1` to `INC-3`.
fn drafted() -> Desk {
    let mut desk = Desk::new(ESTATE);
    for day in 0..3 {
        assert!(desk.ledger.problems.problems.is_empty(), "not before the third");
        trouble(&mut desk, day * 24 * HOUR, 1200, &db1());
    }
    desk
}

fn of(number: u64, act: ProblemAct) -> ProblemAsk {
    ProblemAsk::Of(problem(number), act)
}

fn said(desk: &Desk, number: u64) -> Vec<String> {
    desk.ledger.problems.timelines[&problem(number)].iter().map(|entry| entry.reason.to_string()).collect()
}

fn on_incident(desk: &Desk, number: u64, code: &str) -> Vec<String> {
    let entries = desk.ledger.timelines[&incident(number)].iter().filter(|entry| entry.reason.code == code);
    entries.map(|entry| entry.reason.to_string()).collect()
}

#[test]
fn the_same_trouble_has_one_signature_and_another_has_its_own() {
    let mut desk = Desk::new(ESTATE);
    trouble(&mut desk, 0, 60, &db1());
    assert!(known(&desk, 1).novel);
    assert_eq!(known(&desk, 1).signature, Some(signature(1)));
    // One alert more, and another text: still the same.
    let mut more = db1();
    more[0] = alert("Down", "db1").says("db1 is down since 03:59");
    more.push(alert("Errors", "c"));
    trouble(&mut desk, 24 * HOUR, 60, &more);
    assert_eq!((known(&desk, 2).signature, known(&desk, 2).novel), (Some(signature(1)), false));
    let like = on_incident(&desk, 2, "like");
    assert_eq!(like.len(), 1, "{like:?}");
    assert!(
        like[0].starts_with("like SIG-1 (100 % alike, seen before: 1); the last one was INC-1: all of"),
        "{like:?}"
    );
    // Another CI, and the same CI with another alert.
    trouble(&mut desk, 48 * HOUR, 60, &[alert("Down", "db2"), alert("Errors", "b")]);
    trouble(&mut desk, 72 * HOUR, 60, &[alert("DiskFull", "db1")]);
    assert_eq!((known(&desk, 3).signature, known(&desk, 3).novel), (Some(signature(2)), true));
    assert_eq!((known(&desk, 4).signature, known(&desk, 4).novel), (Some(signature(3)), true));
    let tally = desk.ledger.problems.tally;
    assert_eq!((tally.known, tally.novel), (1, 3));
}

#[test]
fn what_comes_back_within_its_reopen_window_counts_once() {
    let mut desk = Desk::new(ESTATE);
    for from in [0, 300, 600] {
        desk.tell(from, &[alert("Down", "db1").starts(from).ends(from + HOUR)]);
        desk.tell(from + 60, &[alert("Down", "db1").resolves().starts(from).ends(from + 60)]);
    }
    desk.tick(2 * HOUR);
    assert_eq!(desk.ledger.incidents.len(), 1);
    let (row, _) = &desk.ledger.problems.signatures[&signature(1)];
    assert_eq!((row.cost.incidents, row.cost.open_micros), (1, 660_000_000));
}

#[test]
fn what_recurs_is_drafted_with_its_evidence_and_cost() {
    let desk = drafted();
    let row = the(&desk, 1);
    assert_eq!((row.state, row.title.as_str()), (ProblemState::New, "Down on db1"));
    assert_eq!((row.cost.incidents, row.cost.alerts, row.cost.minutes()), (3, 6, 60.0));
    assert_eq!(row.cause.as_ref().map(|ci| ci.as_str()), Some("db1"));
    assert_eq!((row.first_at, row.last_at), (at(0), at(48 * HOUR)));
    let said = said(&desk, 1);
    assert!(said[0].starts_with("drafted by quell: 3 incidents of SIG-1 since "), "{said:?}");
    assert!(said[0].ends_with("open for 60.00 min together, 6 alerts; the last ones: INC-3, INC-2, INC-1"), "{said:?}");
}

#[test]
fn a_known_errors_workaround_goes_to_the_next_incident_and_its_success_is_counted() {
    let mut desk = drafted();
    assert_eq!(
        desk.ask(60 * HOUR, of(1, ProblemAct::Move { to: ProblemState::KnownError, why: None })),
        Verdict::Refused
    );
    let workaround = || ProblemAct::Set(ProblemField::Workaround(Some("fail over to db2".into())));
    assert_eq!(desk.ask(60 * HOUR, of(1, ProblemAct::Accept)), Verdict::Done);
    assert_eq!(desk.ask(60 * HOUR, of(1, workaround())), Verdict::Done);
    assert_eq!(desk.ask(60 * HOUR, of(1, workaround())), Verdict::Unchanged);
    assert_eq!(desk.ask(60 * HOUR, of(1, ProblemAct::Move { to: ProblemState::KnownError, why: None })), Verdict::Done);
    trouble(&mut desk, 72 * HOUR, 180, &db1());
    assert_eq!(on_incident(&desk, 4, "workaround"), ["PRB-1 is a known error; what helps: fail over to db2"]);
    assert_eq!(on_incident(&desk, 4, "workaround_helped").len(), 1);
    let attached = known(&desk, 4).workaround.as_ref().expect("attached");
    assert_eq!((attached.helped, attached.said_by.as_deref()), (Some(true), None));
    assert_eq!((the(&desk, 1).used, the(&desk, 1).helped, the(&desk, 1).cost.incidents), (1, 1, 4));
    trouble(&mut desk, 96 * HOUR, 7200, &db1());
    assert_eq!((the(&desk, 1).used, the(&desk, 1).helped), (2, 1));
    // Another trouble gets none.
    trouble(&mut desk, 120 * HOUR, 60, &[alert("Down", "mx")]);
    assert_eq!((known(&desk, 6).workaround.clone(), the(&desk, 1).used), (None, 2));
}

#[test]
fn a_person_knows_better_whether_a_workaround_helped() {
    let mut desk = drafted();
    desk.ask(60 * HOUR, of(1, ProblemAct::Set(ProblemField::Workaround(Some("restart".into())))));
    desk.tell(72 * HOUR, &[alert("Down", "db1")]);
    let helped = |helped| ProblemAsk::Helped { incident: incident(4), helped };
    assert_eq!(desk.ask(72 * HOUR + 5, helped(false)), Verdict::Done);
    assert_eq!(desk.ask(72 * HOUR + 6, helped(false)), Verdict::Unchanged);
    desk.tick(73 * HOUR);
    assert_eq!(known(&desk, 4).workaround.as_ref().and_then(|attached| attached.helped), Some(false));
    assert_eq!((the(&desk, 1).used, the(&desk, 1).helped), (1, 0));
    let gone = ProblemAsk::Helped { incident: incident(1), helped: true };
    assert_eq!(desk.ask(74 * HOUR, gone), Verdict::NotFound);
}

fn verified(since: i64, outcome: FixOutcome) -> ProblemAct {
    let (before, before_days, after, after_days, expected, evidence) = (3, 3.0, 0, 4.0, 4.0, 20.5);
    let since = at(since);
    ProblemAct::Verified(Verified { since, outcome, before, before_days, after, after_days, expected, evidence })
}

#[test]
fn a_fix_is_tested_and_closes_or_reopens_the_problem_by_itself() {
    let mut desk = drafted();
    let change = ChangeId { position: Position(9), ordinal: 0 };
    let link = |since| ProblemAct::Link { change, since: at(since) };
    assert_eq!(desk.ask(60 * HOUR, of(1, link(59 * HOUR))), Verdict::Done);
    assert_eq!(the(&desk, 1).state, ProblemState::Verifying);
    assert_eq!(
        desk.ask(61 * HOUR, of(1, verified(58 * HOUR, FixOutcome::Works))),
        Verdict::Refused,
        "of an earlier fix"
    );
    assert_eq!(desk.ask(61 * HOUR, of(1, verified(59 * HOUR, FixOutcome::DoesNot))), Verdict::Done);
    assert_eq!(the(&desk, 1).state, ProblemState::Investigating);
    assert_eq!(desk.ask(62 * HOUR, of(1, ProblemAct::Move { to: ProblemState::Closed, why: None })), Verdict::Done);
    assert_eq!(the(&desk, 1).state, ProblemState::Verifying, "nothing is closed without a test");
    assert_eq!(desk.ask(63 * HOUR, of(1, verified(62 * HOUR, FixOutcome::Works))), Verdict::Done);
    assert_eq!((the(&desk, 1).state, the(&desk, 1).closed_at), (ProblemState::Closed, Some(at(63 * HOUR))));
    let last = said(&desk, 1).pop().expect("an entry");
    assert!(
        last.starts_with("closed: the fix works: 0 incidents in 4.00 days after it, where 4.00 would have"),
        "{last}"
    );
    // Once is a warning, three times is a recurrence.
    for day in 3..6 {
        assert_eq!(the(&desk, 1).state, ProblemState::Closed);
        trouble(&mut desk, day * 24 * HOUR, 60, &db1());
    }
    assert_eq!((the(&desk, 1).state, the(&desk, 1).closed_at), (ProblemState::Investigating, None));
    let told = said(&desk, 1);
    assert!(told[told.len() - 3].starts_with("INC-4 is of it although it is closed"), "{told:?}");
    assert!(told[told.len() - 1].starts_with("reopened: INC-6 is of it, and so are 3 in all"), "{told:?}");
}

#[test]
fn every_step_can_be_taken_back() {
    let mut desk = drafted();
    let states = |desk: &Desk| (the(desk, 1).state, the(desk, 1).fix.is_some());
    assert_eq!(desk.ask(1, of(1, ProblemAct::Reject { why: Some("planned restarts".into()) })), Verdict::Done);
    assert_eq!(states(&desk), (ProblemState::Rejected, false));
    trouble(&mut desk, 72 * HOUR, 60, &db1());
    assert_eq!(desk.ledger.problems.problems.len(), 1, "what people rejected is not drafted again");
    assert_eq!(the(&desk, 1).cost.incidents, 4);
    assert_eq!(desk.ask(2, of(1, ProblemAct::Undo)), Verdict::Done);
    assert_eq!(states(&desk), (ProblemState::New, false));
    assert_eq!(desk.ask(3, of(1, ProblemAct::Undo)), Verdict::Unchanged);
    assert_eq!(desk.ask(4, of(2, ProblemAct::Undo)), Verdict::NotFound);
    for day in 4..7 {
        trouble(&mut desk, day * 24 * HOUR, 60, &[alert("Down", "mx")]);
    }
    assert_eq!(the(&desk, 2).title, "Down on mx");
    assert_eq!(desk.ask(5, of(2, ProblemAct::Merge { into: problem(1) })), Verdict::Done);
    assert_eq!((the(&desk, 2).state, the(&desk, 2).merged_into), (ProblemState::Merged, Some(problem(1))));
    assert_eq!(the(&desk, 1).cost.incidents, 7);
    trouble(&mut desk, 8 * 24 * HOUR, 60, &[alert("Down", "mx")]);
    assert_eq!(the(&desk, 1).cost.incidents, 8, "its incidents count with the other");
    assert_eq!(desk.ask(6, of(2, ProblemAct::Accept)), Verdict::Refused);
    assert_eq!(desk.ask(7, of(2, ProblemAct::Undo)), Verdict::Done);
    assert_eq!((the(&desk, 1).cost.incidents, the(&desk, 2).cost.incidents), (4, 4));
    assert_eq!((the(&desk, 2).state, the(&desk, 2).merged_into), (ProblemState::New, None));
}

#[test]
fn people_merge_part_and_split_signatures() {
    let mut desk = Desk::new(ESTATE);
    let twice = [alert("Down", "db1"), alert("Down", "mx")];
    for (day, told) in [0, 1, 0].into_iter().enumerate() {
        let from = i64::try_from(day).expect("small") * 24 * HOUR;
        trouble(&mut desk, from, 60, &twice[told..=told]);
    }
    let merge = ProblemAsk::MergeSignatures { from: signature(2), into: signature(1) };
    assert_eq!(desk.ask(80 * HOUR, merge.clone()), Verdict::Done);
    assert_eq!(desk.ask(80 * HOUR, merge), Verdict::Unchanged);
    assert_eq!(the(&desk, 1).cost.incidents, 3, "together they recur");
    trouble(&mut desk, 96 * HOUR, 60, &twice[1..]);
    assert_eq!((known(&desk, 4).signature, the(&desk, 1).cost.incidents), (Some(signature(2)), 4));
    assert_eq!(desk.ask(100 * HOUR, ProblemAsk::PartSignature(signature(2))), Verdict::Done);
    assert_eq!(the(&desk, 1).cost.incidents, 2);
    let split = |incidents: &[u64]| ProblemAsk::SplitSignature {
        from: signature(1),
        incidents: incidents.iter().map(|&number| incident(number)).collect(),
    };
    assert_eq!(desk.ask(101 * HOUR, split(&[1])), Verdict::Refused, "what stays looks the same");
    // Half of the alerts alike is the same trouble, until people say that it is not.
    trouble(&mut desk, 120 * HOUR, 60, &[alert("Down", "db1"), alert("Errors", "c")]);
    assert_eq!(known(&desk, 5).signature, Some(signature(1)));
    assert_eq!(desk.ask(130 * HOUR, split(&[5])), Verdict::Done);
    assert_eq!(known(&desk, 5).signature, Some(signature(3)));
    assert_eq!(the(&desk, 1).cost.incidents, 2);
    trouble(&mut desk, 144 * HOUR, 60, &[alert("Down", "db1"), alert("Errors", "c")]);
    assert_eq!(known(&desk, 6).signature, Some(signature(3)), "the next one goes with what was split off");
}

#[test]
fn an_incident_that_is_merged_into_another_is_none_of_its_own() {
    let mut desk = Desk::new(ESTATE);
    desk.tell(0, &[alert("Down", "db1")]);
    desk.tell(1, &[alert("Down", "mx")]);
    let merge = quell_domain::CommandKind::Merge { into: incident(1) };
    assert_eq!(desk.command(5, 2, merge), Verdict::Done);
    assert!(!desk.ledger.problems.recognitions.contains_key(&incident(2)));
    assert_eq!(desk.command(6, 2, quell_domain::CommandKind::Undo), Verdict::Done);
    desk.tick(HOUR);
    assert_eq!(desk.ledger.problems.signatures.len(), 2, "each has its own again");
}

/// Alerts that no CI is known for, each with a name of its own: as many signatures.
fn many(desk: &mut Desk, names: std::ops::Range<i64>) {
    for number in names {
        let (from, told) = (number * 10, alert(&format!("Odd{number}"), ""));
        desk.tell(from, &[told.clone().starts(from).ends(from + HOUR)]);
        desk.tell(from + 6, &[told.resolves().starts(from).ends(from + 5)]);
    }
}

#[test]
fn inv_6_signatures_are_limited_and_those_of_open_problems_stay() {
    let most = i64::try_from(quell_engine::problems::SIGNATURES).expect("small");
    let mut desk = drafted();
    let start = 100_000;
    many(&mut desk, start..start + most - 1);
    let in_hand = |desk: &Desk| desk.ledger.problems.signatures.values().filter(|(_, in_hand)| *in_hand).count();
    assert_eq!((in_hand(&desk), desk.ledger.problems.tally.crowded_out), (quell_engine::problems::SIGNATURES, 0));
    many(&mut desk, start + most - 1..start + most + 1);
    assert_eq!((in_hand(&desk), desk.ledger.problems.tally.crowded_out), (quell_engine::problems::SIGNATURES, 2));
    let (_, kept) = desk.ledger.problems.signatures[&signature(1)];
    assert!(kept, "the oldest one has an open problem");
    let (_, oldest_of_the_rest) = desk.ledger.problems.signatures[&signature(2)];
    assert!(!oldest_of_the_rest);
    assert_eq!(desk.engine.dump().problems, desk.ledger.snapshot(desk.engine.checkpoint()).problems);
}

#[test]
fn inv_6_problems_are_limited_and_settled_ones_make_room() {
    let most = i64::try_from(quell_engine::problems::PROBLEMS).expect("small");
    let mut desk = Desk::new("");
    many(&mut desk, 1..most + 3);
    let draft = |desk: &mut Desk, number: i64| {
        let number = u64::try_from(number).expect("positive");
        desk.ask(1_000_000, ProblemAsk::Draft(signature(number)))
    };
    for number in 1..=most {
        assert_eq!(draft(&mut desk, number), Verdict::Done, "{number}");
    }
    assert_eq!(draft(&mut desk, most + 1), Verdict::Refused);
    assert_eq!(desk.ledger.problems.tally.not_drafted, 1);
    assert_eq!(desk.ask(1_000_001, of(7, ProblemAct::Reject { why: None })), Verdict::Done);
    assert_eq!(draft(&mut desk, most + 1), Verdict::Done);
    assert_eq!(desk.ask(1_000_002, of(7, ProblemAct::Accept)), Verdict::NotFound, "it made room");
    assert_eq!(desk.engine.dump().problems, desk.ledger.snapshot(desk.engine.checkpoint()).problems);
}
