//! Are incidents of the same fault known as the same trouble? The demo's faults on ten days, each day told by another
//! storm: other alerts, another order, other delays, other noise.
//!
//! Absent on purpose: how well alerts are filed (`quality`, `storms`); an incident here stands for the fault most of its
//! alerts are of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quell_domain::{
    Command, CommandKind, IncidentId, IncidentState, Input, Moment, Position, Shard, SignatureId, Timestamp,
};
use quell_engine::{Artefact, Engine, Ledger};
use quell_formats::settings;
use quell_sim::estate::sample_estate;
use quell_sim::storm::{Storm, StormOptions, decode, demo_storm};

const DAYS: u64 = 10;

/// An engine with its ledger and its log's positions.
struct Desk {
    engine: Engine,
    ledger: Ledger,
    main: u64,
    commands: u64,
}

impl Desk {
    fn new() -> Self {
        let shipped = settings::compile(&settings::shipped()).expect("the shipped files hold together").settings;
        let engine = Engine::new(Shard::FIRST, Arc::new(shipped));
        let mut desk = Desk { engine, ledger: Ledger::default(), main: 0, commands: 0 };
        let digest = quell_domain::Digest([1; 32]);
        desk.engine.shelve(digest, Artefact::Topology(Arc::new(quell_cmdb::Graph::new(sample_estate()))));
        let kind = quell_domain::ArtefactKind::Topology;
        desk.input(Timestamp::from_seconds(0), &Input::Activate(quell_domain::Activation { kind, digest }));
        desk
    }

    fn input(&mut self, at: Timestamp, input: &Input) {
        self.main += 1;
        let moment = Moment { position: Position(self.main), received_at: at };
        let effects = self.engine.on_input(moment, input);
        self.ledger.apply(effects);
    }

    /// One day's storm; what nobody mended is resolved by hand at its end.
    fn day(&mut self, storm: &Storm, start: Timestamp) {
        for post in &storm.posts {
            let at = start + Duration::from_secs_f64(post.at_seconds.max(0.0));
            self.input(at, &Input::Alerts(decode(post.source, post.body.as_bytes())));
        }
        let evening = start + Duration::from_secs(3600);
        self.input(evening, &Input::Tick);
        let open: Vec<IncidentId> = self
            .ledger
            .incidents
            .values()
            .filter(|incident| incident.state == IncidentState::Open)
            .map(|incident| incident.id)
            .collect();
        for incident in open {
            self.commands += 1;
            let kind = CommandKind::Resolve { note: None };
            let command = Input::Command(Command { incident, actor: "ana".into(), kind });
            let moment = Moment { position: Position(self.commands), received_at: evening };
            let effects = self.engine.on_input(moment, &command);
            self.ledger.apply(effects);
        }
        self.input(start + Duration::from_secs(7200), &Input::Tick);
    }
}

/// Of all pairs of incidents: those of one fault with one signature, of one fault, of two faults with one signature, of
/// two faults.
fn pairs(seen: &[(String, SignatureId)]) -> [u32; 4] {
    let mut pairs = [0; 4];
    for (at, (fault, signature)) in seen.iter().enumerate() {
        for (other, theirs) in &seen[at + 1..] {
            let (same, known) = (fault == other, u32::from(signature == theirs));
            let base = if same { 0 } else { 2 };
            pairs[base] += known;
            pairs[base + 1] += 1;
        }
    }
    pairs
}

#[test]
fn incidents_of_one_fault_have_one_signature_and_of_two_faults_two() {
    let mut desk = Desk::new();
    let mut faults: BTreeMap<u64, BTreeMap<_, String>> = BTreeMap::new();
    for day in 1..=DAYS {
        let start = Timestamp::from_seconds(1_800_000_000 + i64::try_from(day).expect("small") * 86_400);
        let storm = demo_storm(&sample_estate(), StormOptions { seed: day, start, pace: 1.0 });
        let of = storm.faults.iter().flat_map(|fault| fault.alerts.keys().map(|alert| (*alert, fault.name.clone())));
        faults.insert(day, of.collect());
        desk.day(&storm, start);
    }
    let members = desk.ledger.members();
    let mut seen: Vec<(String, SignatureId)> = Vec::new();
    for (id, row) in &desk.ledger.problems.recognitions {
        let day = u64::try_from((row.opened_at.micros() / 1_000_000 - 1_800_000_000) / 86_400).expect("later");
        let mut votes: BTreeMap<&str, u32> = BTreeMap::new();
        for alert in members.get(id).into_iter().flatten() {
            let fault = faults[&day].get(&alert.fingerprint).map_or("noise", String::as_str);
            *votes.entry(fault).or_default() += 1;
        }
        let Some((fault, _)) = votes.into_iter().max_by_key(|(_, count)| *count) else { continue };
        // What is noise is of no fault, and one alert alone says little of one.
        if let (Some(signature), true) = (row.signature, fault != "noise" && row.alerts > 1) {
            seen.push((fault.to_owned(), signature));
        }
    }
    let [together, one, mixed, two] = pairs(&seen);
    println!("{} incidents; one fault: {together} of {one} pairs alike; two faults: {mixed} of {two}", seen.len());
    assert!(seen.len() >= 30, "{} incidents of faults", seen.len());
    assert!(together * 20 >= one * 19, "{together} of {one} pairs of one fault have one signature: {seen:?}");
    assert!(mixed * 50 < two, "{mixed} of {two} pairs of two faults have one signature: {seen:?}");
}
