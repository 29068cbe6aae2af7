//! Logs of many shapes: whatever the shape, the forecast is at most a hair worse than its own EWMA at ranking and never
//! worse than the base rate in its probabilities.

use std::time::Duration;

use quell_domain::{CiId, HistoricIncident, Signature, Timestamp};
use quell_forecast::{History, Plan, Span, evaluate};

const DAY: f64 = 86_400e6;

/// `SplitMix64`.
struct Chance(u64);

impl Chance {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Openings at a rate a day, within `[from, to)`.
    fn poisson(&mut self, rate: f64, from: f64, to: f64) -> Vec<f64> {
        let mut at = from;
        let next = std::iter::from_fn(|| {
            at -= (1.0 - self.unit()).ln() / rate.max(1e-9);
            (at < to).then_some(at)
        });
        next.collect()
    }
}

#[derive(Default)]
struct Log(Vec<HistoricIncident>);

impl Log {
    fn open(&mut self, signature: usize, days: f64) {
        self.0.push(HistoricIncident {
            opened_at: Timestamp::from_seconds((1_388_966_400.0 + days * DAY / 1e6) as i64),
            closed_at: None,
            signature: Signature::new(&format!("s{signature:05}")).expect("not blank"),
            ci: None,
            service: Some(CiId::new(&format!("service-{}", signature % 12))),
            priority: None,
        });
    }
}

/// What PR-AUC may be short of the EWMA's.
const SLACK: f64 = 0.005;

fn check(shape: &str, make: fn(&mut Chance, &mut Log)) {
    check_within(SLACK, shape, make);
}

fn check_within(slack: f64, shape: &str, make: fn(&mut Chance, &mut Log)) {
    for seed in [11, 12] {
        let mut log = Log::default();
        make(&mut Chance(seed), &mut log);
        let history = History::new(&log.0, Span::of(&log.0).expect("incidents"));
        for days in [1, 7] {
            let plan = Plan { horizon: Duration::from_secs(days * 86_400), split: 0.6, seed: 1 };
            let card = evaluate(&history, plan).expect("a test window");
            let what = format!("{shape}, seed {seed}, {days} days, {} chosen", card.model.chosen.word());
            let (quell, ewma) = (card.quell.pr_auc.expect("hits"), card.ewma.pr_auc.expect("hits"));
            assert!(quell >= ewma - slack, "{what}: PR-AUC {quell:.4}, EWMA {ewma:.4}");
            let (quell, base) = (card.quell.brier, card.base_rate.brier);
            assert!(quell <= base, "{what}: Brier {quell:.5}, base rate {base:.5}");
        }
    }
}

#[test]
fn chance_alone() {
    check("equal rates", |chance, log| {
        (0..150).for_each(|s| chance.poisson(0.04, 0.0, 150.0).into_iter().for_each(|at| log.open(s, at)));
    });
}

#[test]
fn rates_of_their_own() {
    check("many rates", |chance, log| {
        for s in 0..250 {
            let rate = 0.6 * chance.unit().powi(4);
            chance.poisson(rate, 0.0, 150.0).into_iter().for_each(|at| log.open(s, at));
        }
    });
}

#[test]
fn bursts() {
    check("bursts", |chance, log| {
        for s in 0..200 {
            for first in chance.poisson(0.015, 0.0, 150.0) {
                let mut at = first;
                while at < 150.0 {
                    log.open(s, at);
                    at -= (1.0 - chance.unit()).ln() * 2.0;
                    if chance.unit() < 0.35 {
                        break;
                    }
                }
            }
        }
    });
}

#[test]
fn clockwork() {
    check("periods", |chance, log| {
        for s in 0..80 {
            let period = 3.0 + 25.0 * chance.unit();
            let mut at = period * chance.unit();
            while at < 180.0 {
                log.open(s, at);
                at += period * (0.9 + 0.2 * chance.unit());
            }
        }
    });
}

#[test]
fn births_and_deaths() {
    check("births and deaths", |chance, log| {
        for s in 0..250 {
            let (from, rate) = (-60.0 + 220.0 * chance.unit(), chance.unit().powi(2));
            let to = (from + 120.0 * chance.unit()).min(160.0);
            chance.poisson(rate, from.max(0.0), to).into_iter().for_each(|at| log.open(s, at));
        }
    });
}

#[test]
fn weekdays() {
    check("weekdays", |chance, log| {
        for s in 0..80 {
            let (own, rate) = ((chance.unit() * 7.0) as u32, chance.unit());
            for day in 0..150_u32 {
                if chance.unit() < if day % 7 == own { rate } else { 0.02 } {
                    log.open(s, f64::from(day) + 0.4);
                }
            }
        }
    });
}

#[test]
fn one_or_two_each() {
    check("one or two each", |chance, log| {
        for s in 0..500 {
            let at = 200.0 * chance.unit();
            log.open(s, at);
            let again = at - (1.0 - chance.unit()).ln() * 50.0;
            if chance.unit() < 0.3 && again < 200.0 {
                log.open(s, again);
            }
        }
    });
}

#[test]
fn bulk_imports_and_dates_without_a_time() {
    check("bulk imports", |chance, log| {
        for s in 0..200 {
            let rate = 0.1 * chance.unit().powi(2);
            chance.poisson(rate, 0.0, 160.0).into_iter().for_each(|at| log.open(s, at.floor()));
        }
        for _ in 0..7 {
            let day = (160.0 * chance.unit()).floor();
            (0..300).filter(|_| chance.unit() < 0.3).for_each(|s| log.open(s, day));
        }
    });
}

#[test]
fn a_handful_of_signatures() {
    check("six signatures", |chance, log| {
        for s in 0..6 {
            let rate = 0.3 * chance.unit();
            chance.poisson(rate, 0.0, 250.0).into_iter().for_each(|at| log.open(s, at));
        }
    });
}

#[test]
fn a_quieter_world_after_the_split() {
    // The fall comes at the very end of training: it takes a few windows until the model has lost its lead.
    check_within(0.015, "quieter", |chance, log| {
        for s in 0..250 {
            let rate = 0.5 * chance.unit().powi(4);
            for (share, from, to) in [(1.0, 0.0, 90.0), (0.3, 90.0, 150.0)] {
                chance.poisson(rate * share, from, to).into_iter().for_each(|at| log.open(s, at));
            }
        }
    });
}

#[test]
fn a_clockwork_that_stops_at_the_split() {
    // What the model has learned is worth nothing from the split on: its lead must go at once.
    check("stopped clocks", |chance, log| {
        for s in 0..80 {
            let period = 3.0 + 25.0 * chance.unit();
            let mut at = period * chance.unit();
            while at < 180.0 {
                log.open(s, at);
                let clock = period * (0.9 + 0.2 * chance.unit());
                at += if at < 108.0 { clock } else { -(1.0 - chance.unit()).ln() * period };
            }
        }
    });
}

#[test]
fn other_rates_after_the_split() {
    check("a new world", |chance, log| {
        for s in 0..250 {
            for (from, to) in [(0.0, 90.0), (90.0, 150.0)] {
                let rate = 0.4 * chance.unit().powi(4);
                chance.poisson(rate, from, to).into_iter().for_each(|at| log.open(s, at));
            }
        }
    });
}
