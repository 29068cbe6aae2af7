//! INV-1 to INV-4 of ARCHITECTURE.md over seeded random storms: duplicated, reordered, late and re-delivered input,
//! crashes between a commit and a flush, outages, commands, operators' rules and changes of them.
//!
//! Absent on purpose: durability of the log and the store; their own rooms prove that.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use quell_cmdb::Graph;
use quell_domain::{
    Action, Alert, AlertId, AlertState, ChangeId, CiId, Command, CommandKind, IncidentId, IncidentState, Input, Moment,
    Position, ProblemAct, ProblemAsk, ProblemCommand, ProblemField, ProblemId, ProblemState, Shard, SignatureId,
    Source,
};
use quell_engine::{Artefact, Engine, Ledger, Settings};
use support::{Desk, Told, alert, at, batch, change, ruled, settings, topology};

const SEEDS: u64 = 2000;
const ESTATE: &str =
    "**shop>web1/web **shop>web2/web web1>db web2>db web1>h1 web2>h2 db>h3 h1>sw h2>sw h3>sw **pay>db **mail>mx mx>h4";

/// A small generator (splitmix64): the seed is the test's name for a run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).expect("small")]
    }
}

fn told(dice: &mut Dice, now: i64) -> Told {
    let ci = *dice.pick(&["shop", "web1", "web2", "db", "h1", "h2", "h3", "sw", "pay", "mx", "", "", "nowhere"]);
    let name = *dice.pick(&["Down", "Slow", "Errors"]);
    let mut told = alert(name, ci).says(["a", "b"][usize::from(dice.one_in(4))]);
    told.source = *dice.pick(&Source::ALERTS);
    if dice.one_in(2) {
        told = told.starts(now - i64::try_from(dice.below(90)).expect("small"));
    }
    match dice.below(10) {
        0..=2 => told = told.resolves().ends(now - i64::try_from(dice.below(60)).expect("small")),
        3 => told = told.ends(now + 30 + i64::try_from(dice.below(600)).expect("small")),
        4 => told.action = if told.source == Source::PagerDuty { Action::Acknowledge } else { Action::Fire },
        _ => {}
    }
    told
}

fn incident(dice: &mut Dice) -> IncidentId {
    IncidentId { shard: 0, number: 1 + dice.below(8) }
}

/// Anything an operator may ask, sensible or not; `told_of` is about how many alerts there are.
fn command(dice: &mut Dice, told_of: u64) -> CommandKind {
    let alert = |dice: &mut Dice| AlertId(1 + dice.below(told_of / 2 + 2));
    let ci = |dice: &mut Dice| CiId::new(dice.pick::<&str>(&["db", "h1", "sw", "web1", "nowhere"]));
    match dice.below(12) {
        0 => CommandKind::Acknowledge,
        1 => CommandKind::Resolve { note: None },
        2 => CommandKind::Comment { text: "looking".into() },
        3..=5 => CommandKind::Merge { into: incident(dice) },
        6 => CommandKind::Split { alerts: (0..1 + dice.below(5)).map(|_| alert(dice)).collect() },
        7 => CommandKind::WrongGroup { alert: alert(dice) },
        8 => CommandKind::WrongCause { ci: ci(dice), right: dice.one_in(2).then(|| ci(dice)) },
        _ => CommandKind::Undo,
    }
}

/// Anything people may ask of problems and signatures, sensible or not.
fn ask(dice: &mut Dice, now: i64) -> ProblemAsk {
    let signature = |dice: &mut Dice| SignatureId { shard: 0, number: 1 + dice.below(5) };
    let problem = |dice: &mut Dice| ProblemId { shard: 0, number: 1 + dice.below(3) };
    let act = match dice.below(16) {
        0 => return ProblemAsk::MergeSignatures { from: signature(dice), into: signature(dice) },
        1 => return ProblemAsk::PartSignature(signature(dice)),
        2 => return ProblemAsk::SplitSignature { from: signature(dice), incidents: vec![incident(dice)] },
        3 => return ProblemAsk::Helped { incident: incident(dice), helped: dice.one_in(2) },
        4 | 5 => return ProblemAsk::Draft(signature(dice)),
        6 => ProblemAct::Accept,
        7 => ProblemAct::Reject { why: None },
        8 => ProblemAct::Merge { into: problem(dice) },
        9 | 10 => ProblemAct::Move { to: *dice.pick(&ProblemState::ALL), why: None },
        11 => ProblemAct::Set(ProblemField::Workaround((!dice.one_in(3)).then(|| "restart".into()))),
        12 => ProblemAct::Set(ProblemField::Owner(Some("bob".into()))),
        13 => ProblemAct::Link { change: ChangeId { position: Position(1), ordinal: 0 }, since: at(now) },
        14 => ProblemAct::Undo,
        _ => ProblemAct::Comment { text: "hm".into() },
    };
    ProblemAsk::Of(problem(dice), act)
}

/// The log of one run: every record with its stream, in the order in which it was applied.
fn storm(seed: u64) -> Vec<(Moment, Input)> {
    let mut dice = Dice(seed);
    let (mut now, mut position, mut commands) = (0_i64, 0, 0);
    let mut log: Vec<(Moment, Input)> = Vec::new();
    // About how many episodes there may be: most commands then name one that there is.
    let mut told_of = 0;
    let mut last = incident(&mut dice);
    for _ in 0..40 + dice.below(40) {
        now += i64::try_from(dice.below(40)).expect("small") * if dice.one_in(15) { 20 } else { 1 };
        let input = match dice.below(20) {
            0 | 4 => {
                let kind = command(&mut dice, told_of);
                // Often the one just spoken of: that is what is taken back.
                last = if dice.one_in(3) { incident(&mut dice) } else { last };
                let incident = last;
                commands += 1;
                let command = Command { incident, actor: "ana".into(), kind };
                let moment = Moment { position: Position(commands), received_at: at(now) };
                log.push((moment, Input::Command(command)));
                continue;
            }
            1 if dice.one_in(2) => {
                commands += 1;
                let moment = Moment { position: Position(commands), received_at: at(now) };
                let command = ProblemCommand { actor: "ana".into(), ask: ask(&mut dice, now) };
                log.push((moment, Input::Problem(command)));
                continue;
            }
            1 => Input::Tick,
            2 if dice.one_in(3) => {
                let from = now;
                now += i64::try_from(dice.below(4000)).expect("small");
                Input::Outage { from: at(from), to: at(now) }
            }
            2 if dice.one_in(2) => {
                let kind = quell_domain::ArtefactKind::Rules;
                let digest = *dice.pick(&RULES);
                Input::Activate(quell_domain::Activation { kind, digest })
            }
            // A record delivered twice.
            3 if !log.is_empty() => match dice.pick(&log).1.clone() {
                again @ (Input::Alerts(_) | Input::Changes(_)) => again,
                _ => Input::Tick,
            },
            5 => {
                let ci = *dice.pick(&["shop", "web1", "db", "h1", "sw", "mx", "nowhere"]);
                let starts = now - i64::try_from(dice.below(300)).expect("small");
                Input::Changes(change(dice.pick::<&str>(&["deploy", "patch"]), ci, (!dice.one_in(3)).then_some(starts)))
            }
            _ => {
                let source = *dice.pick(&Source::ALERTS);
                let items = 1 + dice.below(4);
                told_of += items;
                let items: Vec<Told> = (0..items).map(|_| told(&mut dice, now).by(source)).collect();
                Input::Alerts(batch(&items))
            }
        };
        position += 1;
        log.push((Moment { position: Position(position), received_at: at(now) }, input));
    }
    log
}

/// Digests of rules that storms activate: none at all, and two sets with every action.
const RULES: [quell_domain::Digest; 3] =
    [quell_domain::Digest([2; 32]), quell_domain::Digest([3; 32]), quell_domain::Digest([4; 32])];

/// What they stand for; the second is in force at the start.
static SETTINGS: LazyLock<[Arc<Settings>; 3]> = LazyLock::new(|| {
    let mut few = ruled(3, 900);
    few.limits.recent_changes = 2;
    few.limits.ended_alerts = 2;
    [settings(), ruled(2, 200), few].map(Arc::new)
});

fn rules(digest: quell_domain::Digest) -> Artefact {
    let which = RULES.iter().position(|known| *known == digest).expect("storms activate these only");
    Artefact::Rules(Arc::clone(&SETTINGS[which]))
}

/// Applies a record as the shell does: what it activates is ready.
fn step(engine: &mut Engine, moment: Moment, input: &Input) -> quell_engine::Effects {
    if let Input::Activate(activation) = input {
        engine.shelve(activation.digest, rules(activation.digest));
    }
    engine.on_input(moment, input)
}

fn engine() -> Engine {
    let mut engine = Engine::new(Shard::FIRST, Arc::clone(&SETTINGS[1]));
    engine.shelve(quell_domain::Digest([1; 32]), Artefact::Topology(Arc::new(Graph::new(topology(ESTATE)))));
    let activation =
        quell_domain::Activation { kind: quell_domain::ArtefactKind::Topology, digest: quell_domain::Digest([1; 32]) };
    engine.on_input(Moment { position: Position(0), received_at: at(0) }, &Input::Activate(activation));
    engine
}

fn run(log: &[(Moment, Input)]) -> (Engine, Ledger) {
    let (mut engine, mut ledger) = (engine(), Ledger::default());
    for (moment, input) in log {
        ledger.apply(step(&mut engine, *moment, input));
    }
    ledger.flush(engine.take_folds());
    (engine, ledger)
}

fn check_disposed(seed: u64, ledger: &Ledger) {
    assert_eq!(ledger.disposed.received, ledger.disposed.sum(), "INV-1, seed {seed}: {:?}", ledger.disposed);
    let sum: u64 = ledger.altered.each().iter().map(|(count, _)| count).sum();
    assert_eq!(ledger.altered.received, sum, "seed {seed}: {:?}", ledger.altered);
    assert_eq!(ledger.altered.bound + ledger.altered.unbound, ledger.changes.len() as u64, "seed {seed}");
}

fn check_membership(seed: u64, ledger: &Ledger) {
    let mut openings = BTreeSet::new();
    for incident in ledger.incidents.values() {
        assert!(openings.insert((incident.opened_position, incident.opened_ordinal)), "INV-2, seed {seed}");
    }
    let members = ledger.members();
    let in_hand = ledger.snapshot(quell_engine::Checkpoint::default()).alerts;
    let in_hand: BTreeSet<_> = in_hand.iter().map(|alert| alert.id).collect();
    for (id, incident) in &ledger.incidents {
        let alerts = members.get(id).map_or(&[][..], Vec::as_slice);
        let firing = alerts.iter().filter(|alert| alert.state == AlertState::Firing).count() as u64;
        let counted = alerts.iter().filter(|alert| alert.twin_of.is_none()).count() as u64;
        assert_eq!((incident.alerts, incident.firing), (counted, firing), "INV-2, seed {seed}, {id}");
        // Of two that are in hand; what is history stays where it was when the other one is moved.
        for twin in alerts.iter().filter(|alert| in_hand.contains(&alert.id)).filter_map(|alert| alert.twin_of) {
            let Some(other) = ledger.alerts.get(&twin).filter(|alert| in_hand.contains(&alert.id)) else { continue };
            assert_eq!((other.incident, other.twin_of), (Some(*id), None), "seed {seed}: {id} has a twin elsewhere");
        }
        assert!(incident.state == IncidentState::Resolved || firing > 0, "seed {seed}: {id} is open without an alert");
        let left = alerts.iter().any(|alert| in_hand.contains(&alert.id));
        let closed = incident.state == IncidentState::Resolved && !left;
        assert!(incident.merged_into.is_none() || closed, "INV-2, seed {seed}: {id} is merged and has alerts");
        assert_eq!(incident.merged_into.is_some(), !incident.moved.is_empty(), "seed {seed}: {id}");
        let shares: f64 = incident.causes.iter().map(|cause| cause.score).sum();
        assert!((0.0..=1.0 + 1e-9).contains(&shares), "seed {seed}: {id} believes {shares}");
    }
    for alert in ledger.alerts.values() {
        let why = alert.membership.as_ref().map(|reason| reason.code.as_ref());
        let unplaced = alert.state == AlertState::Stale || matches!(why, Some("suppressed" | "held"));
        assert_eq!(unplaced, alert.incident.is_none(), "INV-2, seed {seed}: {alert:?}");
        assert!(alert.ends_at.is_none_or(|end| end >= alert.starts_at || alert.ends_at <= Some(alert.last_seen)));
        assert!(
            alert.binding.is_some() != alert.unbound.is_some() || alert.incident.is_none(),
            "seed {seed}: {alert:?}"
        );
    }
}

/// Every change of membership is on both timelines, and what points at another incident finds it.
fn check_lineage(seed: u64, ledger: &Ledger) {
    for (id, incident) in &ledger.incidents {
        let codes = |id: &IncidentId| -> Vec<String> {
            ledger.timelines.get(id).into_iter().flatten().map(|entry| entry.reason.to_string()).collect()
        };
        for (other, mine) in [(incident.merged_into, "merged into"), (incident.split_from, "split off from")] {
            let Some(other) = other else { continue };
            assert!(ledger.incidents.contains_key(&other), "seed {seed}: {id} points at {other}");
            let told = codes(id).iter().any(|text| text.starts_with(&format!("{mine} {other}")));
            assert!(told, "INV-2, seed {seed}: {id} does not tell of {other}: {:?}", codes(id));
            let theirs = codes(&other).iter().any(|text| text.contains(&id.to_string()));
            assert!(theirs, "INV-2, seed {seed}: {other} does not tell of {id}: {:?}", codes(&other));
        }
    }
    let notices = ledger.incidents.values().map(|incident| u64::from(incident.transitions)).sum::<u64>();
    assert_eq!(notices, ledger.notices, "INV-5, seed {seed}: notices are numbered without gaps");
}

/// Problems' counts are the sums of what they count, whatever people merged, split and took back.
fn check_problems(seed: u64, ledger: &Ledger) {
    let problems = &ledger.problems;
    for (id, (signature, in_hand)) in &problems.signatures {
        let of_it = problems.recognitions.values().filter(|row| row.signature == Some(*id));
        let over = of_it.filter(|row| row.ended_at.is_some()).count() as u64;
        assert!(!in_hand || signature.cost.incidents == over, "seed {seed}: {id} has {over}: {signature:?}");
    }
    for (incident, row) in &problems.recognitions {
        let state = ledger.incidents[incident].state;
        let over = row.ended_at.is_some();
        assert!(!over || state == IncidentState::Resolved, "seed {seed}: {incident} is open and counts as over");
        assert!(!over || row.signature.is_some(), "seed {seed}: {incident} is over and has no signature");
    }
    for (id, (problem, _)) in &problems.problems {
        let closed = problem.state == ProblemState::Closed;
        assert_eq!(problem.closed_at.is_some(), closed, "seed {seed}: {id}");
        assert!(problem.helped <= problem.used, "seed {seed}: {id}");
        assert!(problems.timelines.contains_key(id), "seed {seed}: {id} says nothing");
    }
}

#[test]
fn inv_1_and_2_every_item_is_disposed_of_once_and_every_alert_is_in_one_incident() {
    let mut episodes = 0;
    let mut codes: BTreeMap<String, u64> = BTreeMap::new();
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    let (mut altered, mut evidence, mut crowded_out) = (quell_engine::Altered::default(), 0, 0);
    let mut counted = quell_engine::Recognised::default();
    for seed in 0..SEEDS {
        let (_, ledger) = run(&storm(seed));
        check_disposed(seed, &ledger);
        check_membership(seed, &ledger);
        check_lineage(seed, &ledger);
        check_problems(seed, &ledger);
        counted.add(ledger.problems.tally);
        episodes += ledger.alerts.len();
        altered.add(ledger.altered);
        crowded_out += ledger.disposed.crowded_out;
        let named = ledger.incidents.values().flat_map(|incident| &incident.causes).flat_map(|cause| &cause.evidence);
        evidence += named.filter(|reason| reason.code == "change").count() as u64;
        for reason in ledger.alerts.values().filter_map(|alert| alert.membership.as_ref()) {
            *reasons.entry(reason.code.to_string()).or_default() += 1;
        }
        let done = ledger.timelines.values().flatten().map(|entry| entry.reason.code.to_string());
        done.for_each(|code| *codes.entry(code).or_default() += 1);
    }
    for code in ["merged", "merged_into", "unmerged", "split", "wrong_cause", "unjudged"] {
        assert!(codes.get(code).is_some_and(|&times| times > 40), "{code} is hardly tried: {codes:?}");
    }
    for code in ["suppressed", "held", "threshold", "threshold_passed", "rule", "same_symptom"] {
        assert!(reasons.get(code).is_some_and(|&count| count > SEEDS / 10), "too few are {code}: {reasons:?}");
    }
    let problems = counted.each();
    assert!(
        problems[..2].iter().chain(&problems[3..4]).all(|(count, _)| *count > SEEDS / 10),
        "hardly any: {problems:?}"
    );
    let counts = altered.each().map(|(count, _)| count);
    let enough = counts[..3].iter().chain([&altered.crowded_out, &evidence]).all(|&count| count > SEEDS / 10);
    assert!(crowded_out > SEEDS, "hardly any alert was let go of while its incident went on: {crowded_out}");
    assert!(enough, "changes are hardly tried: {altered:?}, {evidence} as evidence");
    assert!(episodes > 10 * usize::try_from(SEEDS).expect("small"), "the storms are too quiet to prove anything");
}

#[test]
fn inv_3_a_replay_gives_the_same_and_a_restart_goes_on_the_same() {
    let mut restarts_with_folds = 0;
    for seed in 0..SEEDS {
        let log = storm(seed);
        let (engine, ledger) = run(&log);
        let again = run(&log);
        assert_eq!(ledger, again.1, "INV-3, seed {seed}: a replay differs");
        let cut = usize::try_from(Dice(seed).below(log.len() as u64)).expect("small");
        let flush = usize::try_from(Dice(seed + 1).below(cut as u64 + 1)).expect("small");
        let (resumed, folds) = crash(&log, flush, cut);
        restarts_with_folds += usize::from(folds > 0);
        let (one, other) = (comparable(&resumed.0), comparable(&engine));
        for (a, b) in one.alerts.iter().zip(&other.alerts) {
            assert_eq!(a, b, "INV-3, seed {seed}: flush {flush}, crash {cut}");
        }
        assert_eq!(one, other, "INV-3, seed {seed}: flush {flush}, crash {cut}");
        let (one, other) = (rows(resumed.1), rows(ledger));
        for (a, b) in one.alerts.values().zip(other.alerts.values()) {
            assert_eq!(a, b, "INV-3, seed {seed}: flush {flush}, crash {cut}");
        }
        assert_eq!(one, other, "INV-3, seed {seed}: flush {flush}, crash {cut}");
    }
    assert!(restarts_with_folds > 100, "too few restarts had repeats to fold again: {restarts_with_folds}");
}

/// Runs the log, losing everything but what was committed after `cut` records and flushed after `flush` records.
fn crash(log: &[(Moment, Input)], flush: usize, cut: usize) -> ((Engine, Ledger), usize) {
    let (mut engine, mut ledger) = (engine(), Ledger::default());
    for (n, (moment, input)) in log[..cut].iter().enumerate() {
        ledger.apply(step(&mut engine, *moment, input));
        if n + 1 == flush {
            ledger.flush(engine.take_folds());
        }
    }
    let lost = engine.take_folds().len();
    let applied = engine.position();
    let mut artefacts = vec![Artefact::Topology(Arc::clone(engine.graph()))];
    artefacts.extend(engine.checkpoint().rules.map(rules));
    let snapshot = ledger.snapshot(engine.checkpoint());
    let mut engine = Engine::restore(Shard::FIRST, Arc::clone(&SETTINGS[1]), artefacts, snapshot, applied);
    for (moment, input) in &log[flush.min(cut)..cut] {
        if !matches!(input, Input::Command(_) | Input::Problem(_)) {
            engine.refold(*moment, input);
        }
    }
    for (moment, input) in &log[cut..] {
        ledger.apply(step(&mut engine, *moment, input));
    }
    ledger.flush(engine.take_folds());
    ((engine, ledger), lost)
}

/// The state as rows; the claims and look-ups made of it show in what is decided afterwards.
fn comparable(engine: &Engine) -> quell_engine::Snapshot {
    let mut dump = engine.dump();
    dump.alerts.iter_mut().for_each(bookkeeping);
    dump
}

/// How far a row was written depends on when it was flushed, and decides nothing but what is folded again.
fn bookkeeping(alert: &mut Alert) {
    alert.folded_through = Position::START;
}

fn rows(mut ledger: Ledger) -> Ledger {
    ledger.alerts.values_mut().for_each(bookkeeping);
    ledger
}

#[test]
fn inv_4_redelivery_of_the_whole_log_changes_no_final_alert() {
    for seed in 0..SEEDS / 10 {
        let log: Vec<(Moment, Input)> =
            storm(seed).into_iter().filter(|(_, input)| matches!(input, Input::Alerts(_))).collect();
        let (mut engine, mut ledger) = run(&log);
        let before = ledger.clone();
        // Re-delivery after a crash: everything at or before the applied position is refolded, not applied.
        for (moment, input) in &log {
            engine.refold(*moment, input);
        }
        ledger.flush(engine.take_folds());
        assert_eq!(rows(ledger), rows(before), "INV-4, seed {seed}");
    }
}

#[test]
fn inv_4_permuting_one_fingerprints_items_within_lateness_gives_the_same_final_alert() {
    let fire = || alert("Down", "db").starts(0);
    let items = [fire().ends(300), fire().ends(320), fire().starts(-5).ends(310), fire().ends(3), fire().ends(2)];
    let mut finals: BTreeMap<String, u64> = BTreeMap::new();
    permutations(items.len(), &mut |order| {
        let mut desk = Desk::new(ESTATE);
        for (n, &item) in order.iter().enumerate() {
            desk.tell(5 + i64::try_from(n).expect("small"), std::slice::from_ref(&items[item]));
        }
        desk.tick(20);
        desk.ledger.flush(desk.engine.take_folds());
        let alerts: Vec<&Alert> =
            desk.ledger.alerts.values().filter(|alert| alert.state != AlertState::Stale).collect();
        let text: Vec<String> =
            alerts.iter().map(|a| format!("{:?} {}..{:?}", a.state, a.starts_at, a.ends_at)).collect();
        *finals.entry(text.join("; ")).or_default() += 1;
    });
    assert_eq!(finals.into_iter().collect::<Vec<_>>(), [(format!("Ended {}..{:?}", at(-5), Some(at(3))), 120)]);
}

fn permutations(n: usize, visit: &mut impl FnMut(&[usize])) {
    fn go(order: &mut Vec<usize>, left: &mut Vec<usize>, visit: &mut impl FnMut(&[usize])) {
        if left.is_empty() {
            return visit(order);
        }
        for n in 0..left.len() {
            let item = left.remove(n);
            order.push(item);
            go(order, left, visit);
            order.pop();
            left.insert(n, item);
        }
    }
    go(&mut Vec::new(), &mut (0..n).collect(), visit);
}
