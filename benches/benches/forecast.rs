//! How long a forecast takes to train and to score on one core, against the ceilings that were asked for; what the engine
//! feels of a training beside it; and what the test of a fix says of a thousand made-up fixes each. Not criterion: one
//! training takes seconds.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quell_benches::percentile;
use quell_domain::{HistoricIncident, Input, Moment, Position, Shard, Signature, Timestamp};
use quell_engine::{Engine, Settings};
use quell_forecast::features::WIDTH;
use quell_forecast::{Before, FixVerdict, History, Model, Next, Span, forecasts, verify};
use quell_formats::{alertmanager, settings};
use quell_sim::rng::Rng;

const DAY: i64 = 86_400_000_000;
const WEEK: i64 = 7 * DAY;
/// The ceilings.
const TRAINING: Duration = Duration::from_secs(10);
const SCORING: Duration = Duration::from_secs(1);

/// Signatures that all begin within four weeks and then recur at rates of their own, in bursts.
fn log(signatures: usize, days: i64, mean: f64, seed: u64) -> History {
    let mut rng = Rng::new(seed);
    let mut incidents = Vec::new();
    for number in 0..signatures {
        let signature = Signature::new(&format!("signature-{number:06}")).expect("a text that is not blank");
        let rate = mean * rng.range(0.05, 2.0).powi(3);
        let mut at = rng.range(0.0, 28.0);
        while at < days as f64 {
            let opened_at = Timestamp::from_micros((at * DAY as f64) as i64);
            let (signature, closed_at, ci, service, priority) = (signature.clone(), None, None, None, None);
            incidents.push(HistoricIncident { opened_at, closed_at, signature, ci, service, priority });
            let soon = if rng.chance(0.4) { 1.0 } else { rate };
            at -= (1.0 - rng.unit()).ln() / soon;
        }
    }
    let span = Span { start: Timestamp::from_micros(0), end: Timestamp::from_micros(days * DAY) };
    History::new(&incidents, span)
}

fn report(what: &str, took: Duration, ceiling: Duration) {
    let verdict = if took < ceiling { "within" } else { "OVER" };
    println!("{what}: {took:?}: {verdict} {ceiling:?}");
}

/// Alerts of one round of the engine, in records of so many, and rounds.
const ALERTS: u64 = 20_000;
const BATCH: u64 = 10;
const ROUNDS: usize = 9;

/// How long each decision on new alerts takes.
fn decide(settings: &Arc<Settings>, inputs: &[Input]) -> Vec<Duration> {
    let start = Timestamp::from_seconds(1_800_000_000);
    let mut engine = Engine::new(Shard::FIRST, Arc::clone(settings));
    let step = |(input, number): (&Input, u64)| {
        let position = Position(number + 1);
        let moment = Moment { position, received_at: start + Duration::from_millis(number) };
        let begun = Instant::now();
        black_box(engine.on_input(moment, black_box(input)));
        begun.elapsed()
    };
    inputs.iter().zip(0..).map(step).collect()
}

/// Decisions alone and with a training beside them, in turn, on a thread that gives way as that of `quell serve` does.
fn engine_beside(history: &Arc<History>) {
    let settings = settings::compile(&settings::shipped()).expect("the shipped files hold together").settings;
    let settings = Arc::new(settings);
    let bodies = quell_benches::bodies(0, ALERTS, BATCH, Timestamp::from_seconds(1_800_000_000));
    let inputs: Vec<Input> =
        bodies.iter().map(|body| Input::Alerts(alertmanager::decode_api(body.as_bytes()))).collect();
    let (mut alone, mut beside, mut trained) = (Vec::new(), Vec::new(), 0_u32);
    decide(&settings, &inputs);
    for _ in 0..ROUNDS {
        alone.extend(decide(&settings, &inputs));
        let (stop, history) = (Arc::new(AtomicBool::new(false)), Arc::clone(history));
        let (told, begun) = std::sync::mpsc::channel();
        let until = Arc::clone(&stop);
        let trainer = std::thread::spawn(move || {
            if let Err(error) = rustix::process::setpriority_process(None, 19) {
                println!("the thread that trains keeps its priority: {error}");
            }
            let mut trained = 0;
            while !until.load(Ordering::Relaxed) {
                told.send(()).ok();
                black_box(Model::train(&history, history.span().end, WEEK, 1));
                trained += 1;
            }
            trained
        });
        begun.recv().ok();
        beside.extend(decide(&settings, &inputs));
        stop.store(true, Ordering::Relaxed);
        trained += trainer.join().unwrap_or(0);
    }
    for (what, mut took) in [("alone", alone), ("a training beside", beside)] {
        took.sort_unstable();
        println!(
            "decisions on {BATCH} new alerts, {what}: p50 {:?}, p99 {:?}, p99.9 {:?} of {}",
            percentile(&took, 0.5),
            percentile(&took, 0.99),
            percentile(&took, 0.999),
            took.len()
        );
    }
    println!("trainings meanwhile: {trained}");
}

/// Fixes of each kind that are made up.
const FIXES: u64 = 1_000;
/// The chance of each wrong verdict that is allowed.
const ALPHA: f64 = 0.05;

fn openings(rng: &mut Rng, rate: f64, days: f64) -> Vec<f64> {
    let mut at = 0.0;
    let next = std::iter::from_fn(|| {
        at -= (1.0 - rng.unit()).ln() / rate.max(1e-12);
        (at < days).then_some(at)
    });
    next.collect()
}

/// What the test of a fix says of fixes that work, do not, and half work: 90 days before, up to 180 after.
fn fixes() {
    println!("\n| incidents a day | leaves | works | partly | does not | undecided | median days | false alarms |");
    println!("|---|---|---|---|---|---|---|---|");
    for rate in [0.2, 0.5, 2.0] {
        for leaves in [0.0, 0.1, 0.5, 1.0] {
            let (mut said, mut took) = ([0_u64; 4], Vec::new());
            for run in 0..FIXES {
                let mut rng = Rng::new(run);
                let before = openings(&mut rng, rate, 90.0).len();
                let before = Before { incidents: u32::try_from(before).unwrap_or(u32::MAX), days: 90.0 };
                let after = openings(&mut rng, rate * leaves, 180.0);
                let found = verify(before, &after, 180.0, ALPHA);
                said[found.verdict as usize] += 1;
                if found.verdict != FixVerdict::Undecided {
                    took.push(found.days);
                }
            }
            took.sort_by(f64::total_cmp);
            let [works, partly, does_not, undecided] = said;
            // What is not true: that one of half left works or does nothing lies on the edge of both.
            let wrong = match leaves {
                left if left < 0.5 => does_not + if left == 0.0 { partly } else { 0 },
                left if left < 1.0 => works + does_not,
                _ => works + partly,
            };
            let share = |count: u64| format!("{:.1} %", count as f64 / FIXES as f64 * 100.0);
            let median = took.get(took.len() / 2).map_or("-".to_owned(), |days| format!("{days:.0}"));
            println!(
                "| {rate} | {leaves} | {} | {} | {} | {} | {median} | {} |",
                share(works),
                share(partly),
                share(does_not),
                share(undecided),
                share(wrong)
            );
        }
    }
}

fn main() {
    let history = log(5_000, 98, 0.05, 1);
    let until = history.span().end;
    let begun = Instant::now();
    let model = black_box(Model::train(black_box(&history), until, WEEK, 1));
    report(
        &format!("training on {} rows of {WIDTH} features, {} chosen", model.rows[0], model.chosen.word()),
        begun.elapsed(),
        TRAINING,
    );
    let begun = Instant::now();
    let next = black_box(Next::train(black_box(&history), until, 1));
    println!("training on {} times to the next incident: {:?}", history.incidents(), begun.elapsed());

    let large = log(100_000, 98, 0.02, 2);
    for (what, next) in [("probabilities", None), ("probabilities and likely windows", next.as_ref())] {
        let begun = Instant::now();
        let said = black_box(forecasts(&model, next, black_box(&large), until));
        let of = said.forecasts.len();
        report(
            &format!("scoring {of} signatures with {} incidents, {what}", large.incidents()),
            begun.elapsed(),
            SCORING,
        );
    }
    engine_beside(&Arc::new(history));
    fixes();
}
