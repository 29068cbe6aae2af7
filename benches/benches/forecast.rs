//! How long a forecast takes to train and to score on one core, against the ceilings. Not criterion: one training
//! takes seconds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use quell_domain::{HistoricIncident, Signature, Timestamp};
use quell_forecast::features::WIDTH;
use quell_forecast::{History, Model, Next, Span, forecasts};
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
}
