//! What every store promises of forecasts, models, and incidents of other systems.
//!
//! Absent on purpose: how forecasts are made.

use quell_domain::{
    Came, CiId, Digest, HORIZONS, HistoricIncident, KeptForecast, KeptModel, Priority, Shard, Signature, Subject,
};
use quell_store::{Store, Which};

use super::at;

const SHARD: Shard = Shard::FIRST;
const DAY: u32 = HORIZONS[0];

/// A forecast with every field set.
fn forecast(day: i64, name: &str, scored: bool) -> KeptForecast {
    KeptForecast {
        at: at(day * 86_400),
        horizon: DAY,
        subject: Subject::Signature,
        name: name.into(),
        ci: Some(CiId::new("db-1")),
        probability: 1.0 / 3.0,
        interval: [0.1, 0.1 + 0.2],
        rank: f64::from(u32::from(name.as_bytes()[4])),
        baselines: [0.25, 0.5, 0.125],
        rests_on: "ewma".into(),
        abstains: Some("too little".into()),
        window: [Some(at(1)), None, Some(at(3))],
        seen: 7,
        dependents: Some(2.5),
        dependents_between: Some([0.0, 9.0]),
        minutes: None,
        minutes_between: None,
        model: Digest([3; 32]),
        scored,
        outcome: None,
    }
}

pub(crate) async fn forecasts_are_kept_and_marked(store: &dyn Store) {
    let of = |which| store.forecasts(SHARD, Subject::Signature, DAY, which, 9);
    assert_eq!(of(Which::Latest).await.expect("read"), []);
    let first = [forecast(0, "SIG-1", true), forecast(0, "SIG-2", true)];
    store.keep_forecasts(SHARD, &first).await.expect("kept");
    assert_eq!(of(Which::Latest).await.expect("read"), [first[1].clone(), first[0].clone()], "the highest rank first");
    // Later ones that do not count replace each other; those that count stay.
    store.keep_forecasts(SHARD, &[forecast(1, "SIG-1", false), forecast(1, "SIG-3", false)]).await.expect("kept");
    let last = [forecast(2, "SIG-1", false)];
    store.keep_forecasts(SHARD, &last).await.expect("kept");
    store.keep_forecasts(SHARD, &[]).await.expect("nothing to keep");
    assert_eq!(of(Which::Latest).await.expect("read"), last);
    assert_eq!(of(Which::Due(at(86_399))).await.expect("read"), [], "their window is still open");
    let mut due = of(Which::Due(at(86_400))).await.expect("read");
    assert_eq!(due, first);
    (due[0].outcome, due[1].outcome) = (Some(Came { first_at: Some(at(99)) }), Some(Came { first_at: None }));
    store.mark_forecasts(SHARD, &due).await.expect("marked");
    assert_eq!(of(Which::Due(at(86_400))).await.expect("read"), []);
    assert_eq!(of(Which::Marked).await.expect("read"), due);
    let of = |names: &[&str], limit| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        async move { store.forecasts_of(SHARD, Subject::Signature, DAY, &names, limit).await.expect("read") }
    };
    assert_eq!(of(&["SIG-2", "SIG-1"], 9).await, due, "those that count, of these names");
    assert_eq!(of(&["SIG-2", "SIG-1"], 1).await, due[..1]);
    assert_eq!(of(&["SIG-3"], 9).await, []);
    let elsewhere = Shard { tenant: 0, number: 9 };
    let other = |shard, subject, horizon| store.forecasts(shard, subject, horizon, Which::Marked, 9);
    assert_eq!(other(elsewhere, Subject::Signature, DAY).await.expect("read"), []);
    assert_eq!(other(SHARD, Subject::Ci, DAY).await.expect("read"), []);
    assert_eq!(other(SHARD, Subject::Signature, HORIZONS[1]).await.expect("read"), []);
}

pub(crate) async fn the_last_models_are_kept(store: &dyn Store) {
    let model = |day: i64, subject| KeptModel {
        subject,
        horizon: DAY,
        at: at(day * 86_400),
        incidents: 40,
        digest: Digest([u8::try_from(day).expect("small"); 32]),
        text: format!("{{\"day\":{day}}}"),
    };
    assert_eq!(store.model(SHARD, Subject::Ci, DAY).await.expect("read"), None);
    for day in 0..9 {
        store.put_model(SHARD, &model(day, Subject::Ci)).await.expect("kept");
    }
    store.put_model(SHARD, &model(1, Subject::Signature)).await.expect("kept");
    assert_eq!(store.model(SHARD, Subject::Ci, DAY).await.expect("read"), Some(model(8, Subject::Ci)));
    let other = store.model(SHARD, Subject::Signature, DAY).await.expect("read");
    assert_eq!(other, Some(model(1, Subject::Signature)));
}

pub(crate) async fn incidents_of_other_systems_are_added_once(store: &dyn Store) {
    let incident = |seconds: i64, ci: Option<&str>| HistoricIncident {
        opened_at: at(seconds),
        closed_at: ci.map(|_| at(seconds + 60)),
        signature: Signature::new("disk full ✓").expect("a text"),
        ci: ci.map(CiId::new),
        service: ci.map(|_| CiId::new("shop")),
        priority: Priority::new(2).filter(|_| ci.is_some()),
    };
    let all: Vec<HistoricIncident> = (0..5).map(|n| incident(n, (n > 0).then_some("db-1"))).collect();
    assert_eq!(store.add_history(SHARD, &all[..3]).await.expect("added"), 3);
    assert_eq!(store.add_history(SHARD, &all).await.expect("added"), 2, "the rest is there already");
    let first = store.history(SHARD, 0, 2).await.expect("read");
    assert_eq!(first.iter().map(|(_, one)| one.clone()).collect::<Vec<_>>(), all[..2]);
    let rest = store.history(SHARD, first[1].0, 9).await.expect("read");
    assert_eq!(rest.into_iter().map(|(_, one)| one).collect::<Vec<_>>(), all[2..]);
}
