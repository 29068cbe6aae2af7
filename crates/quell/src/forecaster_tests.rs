//! Forecasting beside the loop: on the first day from imported history, kept, marked and scored; a damaged model costs a
//! training and nothing else. Absent on purpose: how good forecasts are (`quell-forecast`).

use std::time::Duration;

use prometheus::Registry;
use quell_domain::{
    CiId, Digest, HORIZONS, HistoricIncident, KeptForecast, KeptModel, Shard, Signature, Subject, Timestamp,
};
use quell_formats::forecast;
use quell_store::Which;

use crate::forecaster::Forecaster;
use crate::problem_tests::Rig;

const DAY: Duration = Duration::from_secs(86_400);
const WEEK: u32 = HORIZONS[1];

fn incident(opened_at: Timestamp, ci: &str) -> HistoricIncident {
    HistoricIncident {
        opened_at,
        closed_at: Some(opened_at + Duration::from_secs(1800)),
        signature: Signature::new(&format!("trouble of {ci}")).expect("a text"),
        ci: Some(CiId::new(ci)),
        service: None,
        priority: None,
    }
}

/// Two dozen troubles over 150 days: eight come every three days, sixteen every two months.
fn history(now: Timestamp) -> Vec<HistoricIncident> {
    let mut history = Vec::new();
    for trouble in 0..24_u32 {
        let every = if trouble < 8 { 3 } else { 60 };
        let mut at = now - DAY * 150 + Duration::from_secs(3601) * trouble;
        while at < now - Duration::from_secs(600) {
            history.push(incident(at, &format!("ci-{trouble}")));
            at = at + DAY * every + Duration::from_secs(u64::from(trouble * 977 % 40_000));
        }
    }
    history
}

async fn forecasting(name: &str) -> (Rig, Forecaster) {
    let rig = Rig::new(name).await;
    let rounds = Forecaster::rounds(&Registry::new()).expect("a new registry");
    let forecaster = Forecaster::new(&rig.door, rig.clock.clone(), rounds);
    (rig, forecaster)
}

async fn latest(rig: &Rig, subject: Subject, horizon: u32) -> Vec<KeptForecast> {
    rig.door.store.forecasts(Shard::FIRST, subject, horizon, Which::Latest, 100).await.expect("readable")
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[tokio::test(flavor = "multi_thread")]
async fn imported_history_gives_forecasts_on_the_first_day() {
    let (mut rig, mut forecaster) = forecasting("first-day").await;
    assert_eq!(forecaster.round().await.expect("nothing to do"), 0, "nothing is known");
    let past = history(quell_log::Clock::now(&*rig.clock));
    rig.door.store.add_history(Shard::FIRST, &past).await.expect("added");
    assert_eq!(forecaster.round().await.expect("made"), 4 * 24);
    assert_eq!(forecaster.round().await.expect("not due"), 0);
    let said = latest(&rig, Subject::Ci, WEEK).await;
    let of = |ci: &str| said.iter().find(|row| row.name == ci).expect("every CI");
    let (often, seldom) = (of("ci-3"), of("ci-20"));
    assert!(often.probability > 0.8 && seldom.probability < 0.4, "{often:?} {seldom:?}");
    for row in &said {
        assert!(row.interval[0] <= row.probability && row.probability <= row.interval[1], "{row:?}");
        assert!(row.scored && row.minutes.is_some_and(|minutes| near(minutes, 30.0)), "{row:?}");
    }
    let signature = latest(&rig, Subject::Signature, WEEK).await;
    let named = signature.iter().find(|row| row.name == "trouble of ci-3").expect("named by its owner");
    assert_eq!(named.ci.as_ref().map(|ci| ci.as_str()), Some("ci-3"));
    // Each is marked when its window is over, by what came.
    rig.pass(DAY * 8).await;
    let came = quell_log::Clock::now(&*rig.clock) - DAY * 3;
    rig.door.store.add_history(Shard::FIRST, &[incident(came, "ci-3")]).await.expect("added");
    assert!(forecaster.round().await.expect("made") > 0);
    let marked = rig.door.store.forecasts(Shard::FIRST, Subject::Ci, WEEK, Which::Marked, 100).await.expect("read");
    assert_eq!(marked.len(), 24);
    let hits: Vec<&str> = marked
        .iter()
        .filter(|row| row.outcome.is_some_and(|came| came.first_at.is_some()))
        .map(|row| &*row.name)
        .collect();
    assert_eq!(hits, ["ci-3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_quell_saw_itself_is_forecast_too_and_a_thin_past_is_said_to_be() {
    let (mut rig, mut forecaster) = forecasting("own").await;
    for _ in 0..3 {
        rig.trouble("DiskFull", Duration::from_secs(600)).await;
        rig.pass(DAY).await;
    }
    assert_eq!(forecaster.round().await.expect("made"), 2, "by signature only: no alert was bound to a CI");
    let said = latest(&rig, Subject::Signature, WEEK).await.remove(0);
    assert_eq!((said.name.as_str(), said.seen, said.rests_on.as_str()), ("SIG-1", 3, "base_rate"));
    assert!(said.abstains.as_ref().is_some_and(|why| why.starts_with("too little to learn from")), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_model_costs_a_training_and_the_same_past_gives_the_same_forecasts() {
    let mut all = Vec::new();
    for name in ["sound", "damaged"] {
        let (rig, mut forecaster) = forecasting(name).await;
        let now = quell_log::Clock::now(&*rig.clock);
        let past = history(now);
        rig.door.store.add_history(Shard::FIRST, &past).await.expect("added");
        if name == "damaged" {
            let text = "{\"format\":\"quell forecast\"".to_owned();
            let (at, digest, incidents) = (now, Digest([9; 32]), 1_000_000);
            for (subject, horizon) in Subject::ALL.into_iter().flat_map(|s| HORIZONS.map(|h| (s, h))) {
                let model = KeptModel { subject, horizon, at: at - DAY / 2, incidents, digest, text: text.clone() };
                rig.door.store.put_model(Shard::FIRST, &model).await.expect("kept");
            }
        }
        assert_eq!(forecaster.round().await.expect("made"), 4 * 24, "{name}");
        let model = rig.door.store.model(Shard::FIRST, Subject::Ci, WEEK).await.expect("read").expect("trained");
        assert_eq!(model.incidents, past.len() as u64);
        forecast::decode(&model.text).expect("an open format that is read without training");
        all.push((model, latest(&rig, Subject::Ci, WEEK).await));
    }
    assert_eq!(all[0], all[1]);
}
