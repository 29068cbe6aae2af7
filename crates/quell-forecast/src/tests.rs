//! Features against values worked out by hand, the leak test, and forecasts of logs whose truth is known.

use std::time::Duration;

use quell_domain::{CiId, HistoricIncident, Priority, Signature, Timestamp};

use crate::chance::{bits, unit};
use crate::evaluate::{Plan, evaluate};
use crate::features::{EXACT, OWN, exact, own};
use crate::forecast::forecasts;
use crate::history::{DAY, History, Links, Span};
use crate::next::Next;
use crate::sweep::Sweep;
use crate::train::{Chosen, Model};

/// 2014-01-06, a Monday.
const MONDAY: i64 = 1_388_966_400_000_000;

fn incident(signature: &str, days: f64) -> HistoricIncident {
    HistoricIncident {
        opened_at: Timestamp::from_micros(MONDAY + (days * DAY as f64).round() as i64),
        closed_at: None,
        signature: Signature::new(signature).expect("not blank"),
        ci: None,
        service: None,
        priority: None,
    }
}

fn history(incidents: &[HistoricIncident]) -> History {
    History::new(incidents, Span::of(incidents).expect("some incidents"))
}

/// A log in which each signature has a rate of its own, and each incident may bring on another soon.
fn bursts(signatures: u64, days: f64, offspring: f64, seed: u64) -> Vec<HistoricIncident> {
    let mut incidents = Vec::new();
    for signature in 0..signatures {
        let salt = bits(seed, signature);
        let mut number = 0;
        let mut draw = || {
            number += 1;
            unit(salt, number)
        };
        let rate = 0.004 + 0.04 * draw().powi(4);
        let mut at = 0.0;
        loop {
            at -= (1.0 - draw()).ln() / rate;
            if at >= days {
                break;
            }
            let mut then = at;
            while then < days {
                incidents.push(incident(&format!("s{signature:04}"), then));
                if draw() > offspring {
                    break;
                }
                then -= (1.0 - draw()).ln() * 2.0;
            }
        }
    }
    incidents
}

/// Runs of chance alone: every signature has the same rate.
fn noise(signatures: u64, days: f64, rate: f64, seed: u64) -> Vec<HistoricIncident> {
    let mut incidents = Vec::new();
    for signature in 0..signatures {
        let (mut at, mut number) = (0.0, 0);
        loop {
            number += 1;
            at -= (1.0 - unit(bits(seed, signature), number)).ln() / rate;
            if at >= days {
                break;
            }
            incidents.push(incident(&format!("s{signature:04}"), at));
        }
    }
    incidents
}

fn feature<const N: usize>(names: [&str; N], values: [f64; N], name: &str) -> f64 {
    values[names.iter().position(|other| *other == name).expect("a known feature")]
}

#[test]
fn the_published_features_come_out_as_by_hand() {
    // Monday 09:00, Monday 21:00, Saturday 12:00; origin on the Monday after that, 00:00: day 7.
    let opened = [0.375, 0.875, 5.5];
    let incidents: Vec<_> = opened.iter().map(|at| incident("a", *at)).chain([incident("b", 20.0)]).collect();
    let history = history(&incidents);
    let mut sweep = Sweep::new(&history, 7 * DAY);
    sweep.advance(MONDAY + 7 * DAY);
    assert_eq!(sweep.known().count(), 1, "what opens later is not known");
    let values = exact(&sweep, 0);
    let check = |name: &str, wanted: f64| {
        let found = feature(EXACT, values, name);
        assert!((found - wanted).abs() < 1e-12, "{name}: found {found}, wanted {wanted}");
    };
    check("recency_d", 1.5);
    check("c1", 0.0);
    check("c3", 2.0_f64.ln());
    check("c7", 4.0_f64.ln());
    check("ctot", 4.0_f64.ln());
    check("age_d", 6.625);
    // Gaps of 0.5 and 4.625: mean 2.5625, deviation 2.0625.
    check("mean_gap_d", 3.5625_f64.ln());
    check("gap_cv", 2.0625 / 2.5625);
    check("recency_over_gap", (1.0 + 1.5 / 2.5625_f64).ln());
    let decayed = |half_life: f64| opened.iter().map(|at| ((at - 7.0) / half_life).exp2()).sum::<f64>();
    check("ew7", (1.0 + decayed(7.0) * 2.0_f64.ln() / 7.0).ln());
    check("ew28", (1.0 + decayed(28.0) * 2.0_f64.ln() / 28.0).ln());
    check("active_days28", 2.0);
    check("frac_business_hours", 2.0 / 3.0);
    check("frac_weekend", 1.0 / 3.0);
    check("global7", 4.0_f64.ln());
}

#[test]
fn a_single_incident_has_its_age_for_a_gap_and_ties_are_no_fault() {
    let incidents = [incident("a", 1.0), incident("b", 2.0), incident("b", 2.0), incident("b", 2.0)];
    let history = history(&incidents);
    let mut sweep = Sweep::new(&history, DAY);
    sweep.advance(MONDAY + 5 * DAY);
    let (one, three) = (exact(&sweep, 0), exact(&sweep, 1));
    assert_eq!(feature(EXACT, one, "mean_gap_d"), 5.0_f64.ln());
    assert_eq!(feature(EXACT, one, "recency_over_gap"), 2.0_f64.ln());
    assert_eq!(feature(EXACT, three, "gap_cv"), 0.0);
    assert!(three.iter().chain(&own(&sweep, 1)).all(|value| value.is_finite()));
}

#[test]
fn own_features_see_windows_neighbours_and_the_calendar() {
    let on = |signature: &str, at: f64| HistoricIncident {
        service: Some(CiId::new("mail")),
        priority: Priority::new(if at < 10.0 { 1 } else { 4 }),
        ..incident(signature, at)
    };
    let incidents = [on("a", 1.0), on("a", 13.5), on("b", 13.0), incident("c", 13.0)];
    let history = history(&incidents);
    let mut sweep = Sweep::new(&history, DAY);
    sweep.advance(MONDAY + 14 * DAY);
    let a = own(&sweep, 0);
    assert_eq!(feature(OWN, a, "hits_of_4_windows"), 0.25);
    assert_eq!(feature(OWN, a, "hits_of_12_windows"), 1.0 / 12.0);
    assert_eq!(feature(OWN, a, "last_window"), 2.0_f64.ln());
    assert_eq!(feature(OWN, a, "urgent_share"), 0.5);
    assert_eq!(feature(OWN, a, "target_weekend"), 0.0);
    let neighbour = 2.0_f64.ln() / 3.0 * (-1.0 / 3.0_f64).exp2();
    assert!((feature(OWN, a, "service_3d") - neighbour.ln_1p()).abs() < 1e-12);
    assert_eq!(feature(OWN, own(&sweep, 2), "service_3d"), 0.0, "without a service there are no neighbours");
    sweep.advance(MONDAY + 19 * DAY);
    assert_eq!(feature(OWN, own(&sweep, 0), "target_weekend"), 1.0, "a Saturday");
}

#[test]
fn neighbours_in_the_graph_are_seen_with_their_past_only() {
    let on =
        |signature: &str, ci: &str, at: f64| HistoricIncident { ci: Some(CiId::new(ci)), ..incident(signature, at) };
    let incidents = [on("a", "web", 12.0), on("b", "db", 13.0), on("b", "db", 14.5), on("c", "far", 13.0)];
    let links: Links = [("web", vec!["db", "unseen", "web"]), ("db", vec!["web"])]
        .map(|(ci, near)| (CiId::new(ci), near.into_iter().map(CiId::new).collect()))
        .into();
    let span = Span::of(&incidents).expect("some");
    let history = History::linked(&incidents, span, &links);
    let mut sweep = Sweep::new(&history, DAY);
    sweep.advance(MONDAY + 14 * DAY);
    // One incident of the neighbour, a day before the origin; that of half a day after it is not seen.
    let rate = |half_life: f64| (2.0_f64.ln() / half_life * (-1.0 / half_life).exp2()).ln_1p();
    let near = |series: usize, name: &str| feature(OWN, own(&sweep, series), name);
    assert!((near(0, "ci_3d") - rate(3.0)).abs() < 1e-12 && (near(0, "ci_28d") - rate(28.0)).abs() < 1e-12);
    assert!(near(1, "ci_3d") > 0.0 && near(2, "ci_3d") == 0.0, "nothing stands next to the third");
    let alone = History::new(&incidents, span);
    let mut sweep = Sweep::new(&alone, DAY);
    sweep.advance(MONDAY + 14 * DAY);
    assert_eq!(feature(OWN, own(&sweep, 0), "ci_3d"), 0.0, "without a graph only the CI itself counts");
}

#[test]
fn nothing_after_the_origin_changes_a_forecast() {
    let incidents = bursts(150, 140.0, 0.6, 3);
    let span = Span::of(&incidents).expect("some");
    let at = Timestamp::from_micros(MONDAY + 100 * DAY);
    let told = |incidents: &[HistoricIncident]| {
        let history = History::new(incidents, span);
        let model = Model::train(&history, Timestamp::from_micros(MONDAY + 86 * DAY), 7 * DAY, 1);
        let next = Next::train(&history, Timestamp::from_micros(MONDAY + 86 * DAY), 1);
        assert_eq!(model.abstains, None);
        forecasts(&model, next.as_ref(), &history, at)
    };
    let truth = told(&incidents);
    assert!(truth.forecasts.len() > 60 && truth.forecasts.iter().any(|forecast| forecast.window.is_some()));
    for seed in 0..3 {
        let shuffled: Vec<_> = incidents
            .iter()
            .enumerate()
            .map(|(number, incident)| {
                let mut incident = incident.clone();
                if incident.opened_at >= at {
                    let late = 40.0 * DAY as f64 * unit(seed, number as u64);
                    incident.opened_at = Timestamp::from_micros(at.micros() + late as i64);
                    incident.signature =
                        Signature::new(&format!("s{:04}", bits(seed, number as u64) % 300)).expect("text");
                    incident.service = Some(CiId::new("new"));
                }
                incident
            })
            .collect();
        assert_eq!(told(&shuffled), truth);
    }
}

#[test]
fn the_order_of_a_file_and_a_second_run_change_nothing() {
    let mut incidents = bursts(120, 120.0, 0.6, 5);
    let plan = Plan { horizon: Duration::from_secs(7 * 86_400), split: 0.6, seed: 1 };
    let first = evaluate(&history(&incidents), plan).expect("long enough");
    incidents.reverse();
    assert_eq!(evaluate(&history(&incidents), plan).expect("long enough"), first);
}

#[test]
fn bursts_are_foreseen_and_noise_is_called_noise() {
    let plan = Plan { horizon: Duration::from_secs(7 * 86_400), split: 0.6, seed: 1 };
    let found = evaluate(&history(&bursts(250, 180.0, 0.7, 1)), plan).expect("long enough");
    assert_eq!(found.verdict(), "signal");
    assert!(found.quell.brier < found.base_rate.brier * 0.95, "{:?} and {:?}", found.quell, found.base_rate);
    assert!(found.quell.pr_auc.expect("hits") > 2.0 * found.base_rate.pr_auc.expect("hits"), "{:?}", found.quell);
    for seed in 1..4 {
        let found = evaluate(&history(&noise(120, 180.0, 0.03, seed)), plan).expect("long enough");
        assert_eq!((found.model.chosen, found.verdict()), (Chosen::BaseRate, "no signal"), "seed {seed}");
        assert_eq!(found.quell.brier, found.base_rate.brier);
        assert_eq!(found.quell.pr_auc, found.ewma.pr_auc, "what is said to be noise is still ranked by the EWMA");
    }
}

#[test]
fn a_thin_past_is_called_thin() {
    let plan = Plan { horizon: Duration::from_secs(7 * 86_400), split: 0.6, seed: 1 };
    let found = evaluate(&history(&bursts(20, 30.0, 0.5, 1)), plan).expect("a test window");
    assert_eq!(found.verdict(), "abstains");
    let reason = found.reason().expect("a reason");
    assert!(reason.starts_with("too little to learn from: no whole window of 7 days lies in the 1"), "{reason}");
    let found = evaluate(&history(&bursts(12, 90.0, 0.1, 2)), plan).expect("a test window");
    assert!(found.reason().expect("a reason").contains("at least 10 of each are needed"), "{:?}", found.reason());
    let short = evaluate(&history(&[incident("a", 0.0), incident("a", 3.0)]), plan);
    assert!(short.expect_err("too short").to_string().contains("no window of 7 days lies between the split"));
    for (split, text) in [(0.0, "split: found 0; allowed"), (f64::NAN, "split: found NaN; allowed")] {
        let refused = evaluate(&history(&[incident("a", 0.0)]), Plan { split, ..plan }).expect_err("refused");
        assert!(refused.to_string().starts_with(text), "{refused}");
    }
}

#[test]
fn a_sparse_beginning_and_a_mistyped_year_are_left_out_of_the_span() {
    let mut incidents: Vec<_> = (0..100).map(|day| incident("a", f64::from(day) + 0.5)).collect();
    let whole = Span::of(&incidents);
    assert_eq!(Span::busy(&incidents), whole, "an even log is taken whole");
    incidents.extend([incident("old", -900.0), incident("future", 30_000.0)]);
    let busy = Span::busy(&incidents).expect("some");
    let whole = whole.expect("some");
    assert!(busy.start.since(whole.start) <= Duration::from_secs(3 * 86_400), "{busy:?}");
    assert!(whole.end.since(busy.end) <= Duration::from_secs(3 * 86_400), "{busy:?}");
    // A mistyped year on one side does not hide one on the other.
    incidents.extend([incident("older", -700_000.0), incident("later", 2_900_000.0)]);
    let busy = Span::busy(&incidents).expect("some");
    assert!((95.0..=100.0).contains(&busy.days()) && busy.start >= whole.start, "{busy:?}");
    assert_eq!(Span::busy(&[]), None);
}

#[test]
fn a_clockwork_is_foreseen_in_time() {
    // One incident every ten days, but for a little chance: the window lies around the tenth day.
    let opened =
        |signature: u64, number: u64| 0.3 * signature as f64 % 10.0 + 10.0 * number as f64 + unit(signature, number);
    let all = (0..60).flat_map(|s| (0..20).map(move |n| incident(&format!("s{s:02}"), opened(s, n))));
    let incidents: Vec<_> = all.collect();
    let history = history(&incidents);
    let at = Timestamp::from_micros(MONDAY + 150 * DAY);
    let next = Next::train(&history, at, 1).expect("enough");
    for series in &history.series {
        let window = next.window(&history, series, at.micros(), None).expect("known");
        let coming = *series.opened.iter().find(|opened| **opened >= at.micros()).expect("one comes");
        let off = (window.middle.expect("within the curve").micros() - coming).abs() as f64 / DAY as f64;
        assert!(off < 1.5, "{}: {off} days off", series.signature);
        assert!(window.early <= window.middle && window.middle <= window.late);
        // It agrees with what is said of a week, whatever that is.
        let week = Timestamp::from_micros(at.micros() + 7 * DAY);
        for chance in [0.0, 0.05, 0.3, 0.7, 0.95, 1.0] {
            let window = next.window(&history, series, at.micros(), Some((7 * DAY, chance))).expect("known");
            let within = |instant: Option<Timestamp>| instant.is_some_and(|instant| instant < week);
            for (share, instant) in [(0.1, window.early), (0.5, window.middle), (0.9, window.late)] {
                assert!(!within(instant) || share <= chance, "{chance}: {window:?}");
                assert!(share > chance || instant.is_none_or(|instant| instant <= week), "{chance}: {window:?}");
            }
        }
    }
}
