//! Correlation under load: a million alerts of a storm over 10,000 CIs, and what one new alert costs with more and more
//! others open. Not criterion: each is one long run whose state grows.
//!
//! One thread; the clock stands while bodies are made. Decoding and deciding are timed apart; rows are made, and
//! thrown away. `cargo bench --bench correlate -- curve` (or `storm`) runs one of the two.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quell_cmdb::Graph;
use quell_domain::{Activation, ArtefactKind, Digest, Input, Moment, Position, Shard, Timestamp};
use quell_engine::{Artefact, Effects, Engine};
use quell_formats::alertmanager;
use quell_sim::quality::replay::shipped;
use quell_sim::rng::Rng;
use quell_sim::storms::estate::Estate;
use quell_sim::storms::spread::{FaultKind, spread};
use quell_sim::storms::{Options, rules, storm, wire};
use serde_json::{Value, json};

const CIS: usize = 10_000;
/// Alerts that the storm is to send in all.
const ALERTS: u64 = 1_000_000;
/// The floor, in alerts a second.
const FLOOR: f64 = 200_000.0;
/// Every firing alert is sent again after so many seconds, by each of two servers.
const RESEND: f64 = 60.0;
/// Open alerts at which the curve is read, and how many more are then decided for one point of it.
const CURVE: [u64; 5] = [1_000, 3_000, 10_000, 30_000, 100_000];
const POINT: u64 = 1_000;
/// New alerts a second while the curve is drawn.
const RATE: u64 = 20;

struct Desk {
    engine: Engine,
    position: Position,
    decoding: Duration,
    deciding: Duration,
    slowest: Duration,
    total: Effects,
}

impl Desk {
    fn new(topology: quell_domain::Topology) -> Desk {
        let mut desk = Desk {
            engine: Engine::new(Shard::FIRST, Arc::new(shipped())),
            position: Position::START,
            decoding: Duration::ZERO,
            deciding: Duration::ZERO,
            slowest: Duration::ZERO,
            total: Effects::default(),
        };
        let digest = Digest([7; 32]);
        desk.engine.shelve(digest, Artefact::Topology(Arc::new(Graph::new(topology))));
        desk.apply(wire::START, &Input::Activate(Activation { kind: ArtefactKind::Topology, digest }));
        desk.deciding = Duration::ZERO;
        desk
    }

    fn apply(&mut self, at: Timestamp, input: &Input) {
        self.position = self.position.next();
        let effects = self.engine.on_input(Moment { position: self.position, received_at: at }, input);
        self.total.disposed.add(effects.disposed);
    }

    fn post(&mut self, at: Timestamp, body: &str) {
        let begun = Instant::now();
        let batch = Input::Alerts(alertmanager::decode_api(body.as_bytes()));
        self.decoding += begun.elapsed();
        let begun = Instant::now();
        while let Some((due, _)) = self.engine.next_deadline().filter(|(due, _)| *due <= at) {
            self.apply(due, &Input::Tick);
        }
        self.apply(at, &batch);
        let took = begun.elapsed();
        self.deciding += took;
        self.slowest = self.slowest.max(took);
    }
}

#[allow(clippy::cast_precision_loss)] // far below 2^52
fn per_second(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(1e-9)
}

/// Storms over one estate, day after day, until enough was sent.
fn replay() {
    let mut options = Options { faults: 120, ..Options::usual(7, CIS) };
    let (mut desk, mut sent, mut storms) = (None, 0, 0);
    while sent < ALERTS {
        let storm = storm(&options);
        let desk = desk.get_or_insert_with(|| Desk::new(storm.cmdb.clone()));
        let shift = Duration::from_secs(86_400) * storms;
        for post in wire::posts_every(&storm, RESEND) {
            for server in 0..2 {
                desk.post(post.at + shift + Duration::from_millis(server), &post.body);
                sent += post.told.len() as u64;
            }
            if sent >= ALERTS {
                break;
            }
        }
        options.seed += 1;
        storms += 1;
    }
    let Some(desk) = desk else { return };
    let disposed = desk.total.disposed;
    let new = disposed.opened + disposed.correlated;
    let (decide, both) = (per_second(sent, desk.deciding), per_second(sent, desk.deciding + desk.decoding));
    let verdict = if decide >= FLOOR { "reaches" } else { "BELOW" };
    println!(
        "storm over {CIS} CIs: {sent} alerts ({new} new, {} opened incidents, {} resolved): decided at {decide:.0} \
         alerts/s ({verdict} {FLOOR:.0}), {both:.0} with decoding; a request took {:?} at most",
        disposed.opened, disposed.resolved, desk.slowest
    );
    println!(
        "  a new alert or an end cost {:?} on average",
        desk.deciding / u32::try_from(new + disposed.resolved).unwrap_or(u32::MAX).max(1)
    );
}

/// What one more costs the more are open: alerts of ever new faults, none of which ends.
fn curve() {
    let mut rng = Rng::new(7);
    let estate = Estate::new(CIS, &mut rng);
    let mut desk = Desk::new(estate.cmdb(&std::collections::BTreeSet::new(), 0.0, false, &mut rng));
    let last = CURVE[CURVE.len() - 1] + POINT;
    let (mut open, mut fault) = (0, 0_u64);
    let mut measured: Option<(u64, u64, Duration)> = None;
    while open < last {
        fault += 1;
        let kind = FaultKind::ALL[rng.index(6)];
        let roots = estate.of(kind.befalls());
        for hit in spread(&estate, roots[rng.index(roots.len())], kind, &mut rng) {
            let part = &estate.parts[hit.part];
            for rule in rules::rules(part.kind, hit.level) {
                if let Some(at) = CURVE.iter().find(|&&at| at == open) {
                    measured = Some((*at, open, desk.deciding));
                }
                let at = wire::START + Duration::from_secs(1) + Duration::from_millis(open * 1000 / RATE);
                desk.post(at, &alert(&part.id, rule.name, fault, at).to_string());
                open += 1;
                if let Some((named, from, before)) = measured.filter(|(_, from, _)| open == from + POINT) {
                    let each = (desk.deciding - before) / u32::try_from(open - from).unwrap_or(u32::MAX);
                    println!("{named:>7} open: a new alert is decided in {each:?}");
                    measured = None;
                }
            }
        }
    }
    let (firing, incidents) = desk.engine.in_hand();
    println!("  in the end {firing} fire in {incidents} open incidents; one took {:?} at most", desk.slowest);
}

fn alert(ci: &str, name: &str, fault: u64, at: Timestamp) -> Value {
    json!([{
        "labels": { "alertname": name, "ci": ci, "severity": "warning", "check": format!("{fault}") },
        "annotations": { "summary": format!("{name} on {ci}") },
        "startsAt": at.to_string(),
        "endsAt": (at + Duration::from_secs(10 * 86_400)).to_string(),
    }])
}

fn main() {
    // cargo passes `--bench`.
    let only: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|word| word == name);
    if wanted("storm") {
        replay();
    }
    if wanted("curve") {
        curve();
    }
}
