//! What every store promises of problems, signatures and what incidents were taken for.
//!
//! Absent on purpose: when any of them is made.

use std::collections::BTreeMap;

use quell_domain::{
    Attached, ChangeId, CiId, Cost, Fix, KnownSignature, Outage, PastIncident, Position, Priority, Problem,
    ProblemEntry, ProblemId, ProblemStanding, ProblemState, Recognition, Shard, Sign, SignatureId, TimelineEntry,
    Timestamp, Traits,
};
use quell_engine::{Effects, ProblemEffects, ProblemRow, RecognitionRow, SignatureRow};
use quell_store::{ProblemQuery, RecognisedQuery, Store};

use super::{Writer, at, incident, incident_id, notice, reason, restored};

const SHARD: Shard = Shard::FIRST;

fn signature_id(number: u64) -> SignatureId {
    SignatureId { shard: 0, number }
}

fn problem_id(number: u64) -> ProblemId {
    ProblemId { shard: 0, number }
}

fn traits() -> Traits {
    Traits { cause: Some(CiId::new("db-1")), signs: vec![1, u64::MAX - 1], words: vec![7, u64::MAX] }
}

/// A signature with every field set.
fn signature(number: u64) -> KnownSignature {
    let past = PastIncident {
        incident: incident_id(4),
        opened_at: at(1),
        ended_at: at(2),
        how: "ana resolved it: \"restart\"".into(),
        alerts: 9,
        traits: traits(),
    };
    let sign = Sign { place: Some("db-1".into()), alert: "Down ✓".into() };
    KnownSignature {
        id: signature_id(number),
        causes: BTreeMap::from([(CiId::new("db-1"), 3)]),
        signs: BTreeMap::from([(u64::MAX - 1, (sign, 2)), (1, (Sign { place: None, alert: "Slow".into() }, 1))]),
        words: BTreeMap::from([(u64::MAX, 3)]),
        cost: Cost { incidents: 3, open_micros: u64::MAX / 3, alerts: 12 },
        first_at: at(1),
        last_at: at(9),
        title: "Down on db-1".into(),
        past: vec![past],
        merged_into: Some(signature_id(1)),
        problem: Some(problem_id(5)),
    }
}

/// A problem with every field set.
fn problem(number: u64) -> Problem {
    let change = ChangeId { position: Position(7), ordinal: 2 };
    let fix = Fix { since: at(20), change: Some(change), verdict: Some(reason("fix_works")) };
    Problem {
        id: problem_id(number),
        state: ProblemState::Verifying,
        title: "Down on \"db-1\"".into(),
        signatures: vec![signature_id(1), signature_id(3)],
        cause: Some(CiId::new("db-1")),
        opened_at: at(10),
        cost: Cost { incidents: 4, open_micros: 5, alerts: 6 },
        first_at: at(1),
        last_at: at(9),
        owner: Some("ana".into()),
        due: Some(at(99)),
        root_cause: Some("a leak".into()),
        workaround: Some("restart".into()),
        usual_micros: Some(77),
        used: 3,
        helped: 2,
        fix: Some(fix.clone()),
        closed_at: Some(at(30)),
        merged_into: Some(problem_id(70)),
        before: vec![
            ProblemStanding { state: ProblemState::New, fix: None },
            ProblemStanding { state: ProblemState::KnownError, fix: Some(fix) },
        ],
    }
}

/// A recognition with every field set.
fn recognition(number: u64) -> Recognition {
    Recognition {
        incident: incident_id(number),
        signature: Some(signature_id(number % 2 + 1)),
        likeness: 0.1 + 0.2,
        novel: number.is_multiple_of(2),
        traits: traits(),
        opened_at: at(i64::try_from(number).expect("small")),
        ended_at: Some(at(50)),
        how: "all of its alerts have ended".into(),
        alerts: 4,
        priority: Priority::new(2).expect("2 is one"),
        service: Some(CiId::new("shop")),
        dependents: 12,
        workaround: Some(Attached {
            problem: problem_id(5),
            text: "restart".into(),
            at: at(2),
            helped: Some(true),
            said_by: Some("bob".into()),
        }),
    }
}

fn entry(problem: u64, code: &'static str) -> ProblemEntry {
    ProblemEntry { problem: problem_id(problem), at: at(3), actor: "ana".into(), reason: reason(code) }
}

fn by(incident: u64, actor: &str, seconds: i64) -> TimelineEntry {
    TimelineEntry { incident: incident_id(incident), at: at(seconds), actor: actor.into(), reason: reason("comment") }
}

fn put(row: Recognition) -> RecognitionRow {
    RecognitionRow::Put(Box::new(row))
}

fn known(row: KnownSignature) -> SignatureRow {
    SignatureRow::Put(Box::new(row))
}

fn kept(row: Problem) -> ProblemRow {
    ProblemRow::Put(Box::new(row))
}

pub(crate) async fn what_is_known_of_problems_is_restored(store: &dyn Store) {
    let (mut writer, first) = Writer::take_over(store).await;
    assert_eq!(first.snapshot.problems, Default::default());
    let mut bare = problem(6);
    (bare.cause, bare.owner, bare.due, bare.root_cause, bare.workaround) = (None, None, None, None, None);
    (bare.usual_micros, bare.fix, bare.closed_at, bare.merged_into, bare.before) = (None, None, None, None, vec![]);
    let mut open = recognition(2);
    (open.signature, open.ended_at, open.service, open.workaround, open.traits.cause) = (None, None, None, None, None);
    let mut later = signature(2);
    (later.title, later.merged_into, later.problem) = ("later".into(), None, None);
    let problems = ProblemEffects {
        signatures: vec![known(signature(2)), known(signature(1)), known(later.clone()), known(signature(8))],
        recognitions: vec![put(recognition(1)), put(open.clone()), put(recognition(3)), put(recognition(9))],
        problems: vec![kept(problem(5)), kept(bare.clone()), kept(problem(7))],
        ..ProblemEffects::default()
    };
    // The ninth incident is history already.
    let incidents = vec![incident(1), incident(2), incident(3)];
    writer.commit(Effects { incidents, problems, ..Effects::default() }).await;
    let problems = ProblemEffects {
        signatures: vec![SignatureRow::LetGo(signature_id(8))],
        recognitions: vec![
            RecognitionRow::Moved(incident_id(1), signature_id(8)),
            RecognitionRow::Void(incident_id(3)),
        ],
        problems: vec![ProblemRow::LetGo(problem_id(7))],
        ..ProblemEffects::default()
    };
    writer.commit(Effects { problems, ..Effects::default() }).await;
    let problems = restored(store).await.snapshot.problems;
    assert_eq!(problems.signatures, [signature(1), later]);
    let mut moved = recognition(1);
    moved.signature = Some(signature_id(8));
    assert_eq!(problems.recognitions, [moved.clone(), open]);
    assert_eq!(problems.problems, [problem(5), bare]);
    assert_eq!((problems.last_signature, problems.last_problem), (8, 7));
    let one = store.signature(SHARD, signature_id(8)).await.expect("read");
    assert_eq!(one, Some(signature(8)), "what was let go of is history");
    assert_eq!(store.recognition(SHARD, incident_id(1)).await.expect("read"), Some(moved));
    assert_eq!(store.recognition(SHARD, incident_id(3)).await.expect("read"), None);
    let elsewhere = Shard { tenant: 0, number: 9 };
    assert_eq!(
        store.problems(elsewhere, ProblemQuery { limit: 9, ..Default::default() }).await.expect("read").items,
        []
    );
    assert_eq!(store.signature(elsewhere, signature_id(1)).await.expect("read"), None);
}

pub(crate) async fn a_problem_is_read_with_what_belongs_to_it(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let mut one = problem(1);
    one.signatures = vec![signature_id(1)];
    let alone = |number| KnownSignature { merged_into: None, ..signature(number) };
    let under = |number, into| KnownSignature { merged_into: Some(signature_id(into)), ..signature(number) };
    let rows = [alone(1), alone(2), under(3, 1), under(4, 3), under(5, 2)];
    let of = |number, signature| Recognition { signature: Some(signature_id(signature)), ..recognition(number) };
    let effects = Effects {
        incidents: (1..=4).map(incident).collect(),
        notices: vec![notice(1, 0), notice(2, 0), notice(4, 0)],
        timeline: vec![
            by(1, "bob", 4),
            by(1, "quell", 1),
            by(1, "bob", 9),
            by(1, "ana", 4),
            by(2, "ana", 4),
            by(4, "eve", 4),
        ],
        problems: ProblemEffects {
            signatures: rows.clone().map(known).into(),
            recognitions: vec![put(of(1, 4)), put(of(2, 1)), put(of(4, 2))],
            problems: vec![kept(one.clone())],
            timeline: vec![entry(1, "drafted"), entry(2, "drafted"), entry(1, "accepted")],
            ..ProblemEffects::default()
        },
        ..Effects::default()
    };
    writer.commit(effects).await;
    for delivery in store.due(SHARD, "one", Timestamp::MAX, 9).await.expect("read") {
        store.delivered(&delivery.id, at(60)).await.expect("done");
    }
    let detail = store.problem(SHARD, problem_id(1)).await.expect("read").expect("there");
    assert_eq!(detail.problem, one);
    assert_eq!(detail.timeline, [entry(1, "drafted"), entry(1, "accepted")]);
    assert_eq!(detail.signatures, [rows[0].clone(), rows[2].clone(), rows[3].clone()]);
    let involved = |incident, person: &str| (incident_id(incident), person.to_owned(), at(4));
    let found = detail.involved.iter().map(|one| (one.incident, one.person.clone(), one.since));
    assert_eq!(found.collect::<Vec<_>>(), [involved(2, "ana"), involved(1, "ana"), involved(1, "bob")]);
    assert_eq!(detail.told, 2, "two of the three delivered are of its incidents, and none waits with the other sink");
    assert_eq!(store.problem(SHARD, problem_id(2)).await.expect("read"), None);
    let query = |signatures: &[u64], before| RecognisedQuery {
        signatures: Some(signatures.iter().map(|&number| signature_id(number)).collect()),
        before,
        limit: 9,
        ..RecognisedQuery::default()
    };
    assert_eq!(store.recognised(SHARD, query(&[1, 4], None)).await.expect("read"), [of(2, 1), of(1, 4)]);
    assert_eq!(store.recognised(SHARD, query(&[1, 4], Some(incident_id(2)))).await.expect("read"), [of(1, 4)]);
    assert_eq!(store.recognised(SHARD, query(&[], None)).await.expect("read"), []);
    let of_cause = |ci| RecognisedQuery { cause: Some(CiId::new(ci)), limit: 9, ..RecognisedQuery::default() };
    assert_eq!(store.recognised(SHARD, of_cause("db-1")).await.expect("read").len(), 3);
    assert_eq!(store.recognised(SHARD, of_cause("db-2")).await.expect("read"), []);
    let over = |over| RecognisedQuery { over: Some(over), limit: 9, ..RecognisedQuery::default() };
    assert_eq!(store.recognised(SHARD, over(false)).await.expect("read"), []);
    assert_eq!(store.recognised(SHARD, over(true)).await.expect("read").len(), 3);
    assert_eq!(store.recognised_since(SHARD).await.expect("read"), Some(at(1)));
}

pub(crate) async fn outages_are_remembered_once(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let outage = |from, to| Outage { from: at(from), to: at(to) };
    for outages in [vec![outage(50, 60), outage(1, 2)], vec![outage(50, 70)]] {
        let problems = ProblemEffects { outages, ..ProblemEffects::default() };
        writer.commit(Effects { problems, ..Effects::default() }).await;
    }
    assert_eq!(store.outages(SHARD, at(0)).await.expect("read"), [outage(1, 2), outage(50, 70)]);
    assert_eq!(store.outages(SHARD, at(2)).await.expect("read"), [outage(50, 70)], "the first was over by then");
    assert_eq!(store.outages(Shard { tenant: 0, number: 9 }, at(0)).await.expect("read"), []);
}

pub(crate) async fn problems_and_signatures_come_in_pages(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let of = |number: u64, state| Problem { state, ..problem(number) };
    let states = [ProblemState::New, ProblemState::Closed, ProblemState::New, ProblemState::Rejected];
    let rows: Vec<Problem> = (1..).zip(states).map(|(number, state)| of(number, state)).collect();
    let problems = ProblemEffects {
        problems: rows.iter().cloned().map(kept).collect(),
        signatures: (1..=3).map(|number| known(signature(number))).collect(),
        ..ProblemEffects::default()
    };
    writer.commit(Effects { problems, ..Effects::default() }).await;
    let query = |states: &[ProblemState], before, limit| ProblemQuery { states: states.to_vec(), before, limit };
    let first = store.problems(SHARD, query(&[], None, 3)).await.expect("read");
    assert_eq!(first.items, [rows[3].clone(), rows[2].clone(), rows[1].clone()]);
    let rest = store.problems(SHARD, query(&[], first.next, 3)).await.expect("read");
    assert_eq!((rest.items, rest.next), (vec![rows[0].clone()], None));
    let open = store.problems(SHARD, query(&[ProblemState::New, ProblemState::Closed], None, 9)).await.expect("read");
    assert_eq!(open.items.iter().map(|row| row.id.number).collect::<Vec<_>>(), [3, 2, 1]);
    let page = store.signatures(SHARD, None, 2).await.expect("read");
    assert_eq!(page.items, [signature(3), signature(2)]);
    assert_eq!(store.signatures(SHARD, page.next, 2).await.expect("read").items, [signature(1)]);
}

pub(crate) async fn problems_are_told_in_order_to_those_that_want_it(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let told = |timeline: Vec<ProblemEntry>| Effects {
        notices: vec![notice(1, 0)],
        problems: ProblemEffects { timeline, ..ProblemEffects::default() },
        ..Effects::default()
    };
    writer.commit(told(vec![entry(1, "drafted"), entry(2, "drafted"), entry(1, "accepted")])).await;
    writer.commit(told(vec![entry(1, "closed")])).await;
    let due = store.problems_due(SHARD, "one", at(9), 9).await.expect("read");
    assert_eq!(due.iter().map(|one| one.entry.clone()).collect::<Vec<_>>(), [entry(1, "drafted"), entry(2, "drafted")]);
    assert_eq!(
        store.due(SHARD, "one", at(9), 9).await.expect("read").len(),
        1,
        "incidents are told apart from problems"
    );
    assert!(store.problems_due(SHARD, "two", at(9), 9).await.expect("read").is_empty(), "who did not ask is not told");
    let mut codes = Vec::new();
    while let Some(delivery) = store.problems_due(SHARD, "one", at(9), 1).await.expect("read").pop() {
        codes.push((delivery.entry.problem.number, delivery.entry.reason.code.to_string()));
        store.delivered(&delivery.id, at(9)).await.expect("noted");
    }
    let wanted = [(1, "drafted"), (2, "drafted"), (1, "accepted"), (1, "closed")];
    assert_eq!(codes, wanted.map(|(number, code)| (number, code.to_owned())));
}
