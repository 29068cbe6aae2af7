//! Forecasts, their scorecard, problems ranked by them, and the history they learn from.

use axum::http::{Method, StatusCode};
use quell_domain::{Came, CiId, Digest, HORIZONS, KeptForecast, Subject};
use serde_json::{Value, json};

use crate::problems::{at, detail, recognition, script};
use crate::reads::conforms;
use crate::script::{NASTY, NOW, Script, ask, get};

pub(crate) fn forecast(name: &str, probability: f64) -> KeptForecast {
    KeptForecast {
        at: NOW,
        horizon: HORIZONS[1],
        subject: Subject::Signature,
        name: name.into(),
        ci: Some(CiId::new("db-1")),
        probability,
        interval: [probability / 2.0, probability],
        rank: probability,
        baselines: [0.25, 0.5, 0.125],
        rests_on: "ewma".into(),
        abstains: None,
        window: [Some(NOW), None, None],
        seen: 7,
        dependents: Some(2.5),
        dependents_between: Some([1.0, 6.0]),
        minutes: Some(30.0),
        minutes_between: Some([4.0, 90.0]),
        model: Digest([3; 32]),
        scored: true,
        outcome: None,
    }
}

#[tokio::test]
async fn forecasts_and_their_scorecard_are_read_as_described() {
    let empty = Script::new();
    assert_eq!(get(&empty.router(), "/api/v1/forecasts").await.json(), json!({"made_at": null, "items": []}));
    let page = get(&empty.router(), "/forecasts").await.text;
    assert!(page.contains("quell import incidents --csv") && page.contains("No window of such a forecast"), "{page}");
    let hit = KeptForecast { outcome: Some(Came { first_at: Some(NOW) }), ..forecast("SIG-1", 0.75) };
    let miss = KeptForecast { outcome: Some(Came { first_at: None }), ..forecast("SIG-2", 0.25) };
    let script = Script::new().set(|state| state.forecasts = vec![forecast(NASTY, 0.75), hit, miss]);
    let list = get(&script.router(), "/api/v1/forecasts?subject=signature&horizon=7d").await.json();
    conforms("ForecastList", &list);
    assert_eq!((list["items"].as_array().map(Vec::len), &list["items"][0]["name"]), (Some(1), &json!(NASTY)));
    assert_eq!(get(&script.router(), "/api/v1/forecasts?subject=ci").await.json()["items"], json!([]));
    let card = get(&script.router(), "/api/v1/forecasts/scorecard").await.json();
    conforms("Scorecard", &card);
    let models = &card["scorecard"]["models"];
    assert_eq!((&models["quell"]["pr_auc"], &models["ewma"]["pr_auc"]), (&json!(1.0), &json!(0.5)));
    assert_eq!(models["quell"]["brier"], 0.0625);
    let none = get(&script.router(), "/api/v1/forecasts/scorecard?horizon=24h").await.json();
    assert_eq!(none["scorecard"], Value::Null);
    let page = get(&script.router(), "/forecasts").await.text;
    for part in [
        "75 %",
        "38 % and 75 %",
        "30 min (4 to 90)",
        "2 (1 to 6)",
        "Not the model's own: the model does not beat",
        "<polyline points=",
        "<th scope=\"row\">EWMA</th>",
        "Calibration curve",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains(NASTY), "{page}");
}

#[tokio::test]
async fn problems_are_ranked_by_what_is_expected_of_them() {
    let state = quell_domain::ProblemState::Investigating;
    let mut other = detail(state);
    other.problem.id.number = 2;
    other.problem.signatures = vec![quell_domain::SignatureId { shard: 0, number: 9 }];
    let script = script().set(|state| {
        state.problems.push(other);
        state.forecasts = vec![forecast("SIG-9", 0.5)];
    });
    let ranked = get(&script.router(), "/api/v1/problems?order=cost").await.json();
    conforms("ProblemList", &ranked);
    let ids: Vec<&str> =
        ranked["items"].as_array().expect("items").iter().filter_map(|item| item["id"].as_str()).collect();
    assert_eq!(ids, ["PRB-2", "PRB-1"]);
    let expected = json!({"horizon_seconds": 604_800, "probability": 0.5, "interval": {"low": 0.25, "high": 0.5},
        "expected_minutes": 15.0});
    assert_eq!(ranked["items"][0]["forecast"], expected);
    assert_eq!(ranked["items"][1]["forecast"], Value::Null);
    let page = get(&script.router(), "/problems").await.text;
    let (second, first) = (page.find("/problems/PRB-2"), page.find("/problems/PRB-1"));
    assert!(second < first && page.contains("50 % (25 to 50)") && page.contains("15 min"), "{page}");
    let one = get(&script.router(), "/api/v1/problems/PRB-2").await.json();
    conforms("Problem", &one);
    assert_eq!(one["forecast"], expected);
}

#[tokio::test]
async fn a_problem_shows_its_evidence_and_what_it_costs_people() {
    let hit = KeptForecast { outcome: Some(Came { first_at: Some(NOW) }), ..forecast("SIG-2", 0.75) };
    let day =
        KeptForecast { horizon: HORIZONS[0], interval: [0.125, 0.5], window: [None; 3], ..forecast("SIG-2", 0.25) };
    let script = script().set(|state| {
        state.forecasts = vec![forecast("SIG-2", 0.5), day, hit];
        state.recognitions = vec![recognition(7), recognition(6), recognition(5)];
        (state.recognitions[1].opened_at, state.recognitions[1].ended_at) = (at(-86_400), Some(at(-82_800)));
        (state.recognitions[2].opened_at, state.recognitions[2].traits.signs) = (at(-90 * 86_400), vec![1, 2]);
    });
    let found = get(&script.router(), "/api/v1/problems/PRB-1/evidence").await.json();
    conforms("ProblemEvidence", &found);
    let gaps: Vec<f64> =
        found["gaps"].as_array().expect("a list").iter().filter_map(|gap| gap["days"].as_f64()).collect();
    assert!(gaps.len() == 2 && gaps[0] == 89.0 && (gaps[1] - 1.002).abs() < 0.001, "{gaps:?}");
    assert_eq!(found["rate_change"], Value::Null, "three incidents say nothing of a change");
    assert_eq!(found["curve"][1], json!({"days": 1.0, "probability": 0.25, "interval": {"low": 0.125, "high": 0.5}}));
    assert_eq!(found["curve"][2]["probability"], 0.5);
    assert_eq!((&found["said"][1]["probability"], &found["said"][1]["came"]), (&json!(0.75), &json!(true)));
    assert_eq!(found["said"][0]["came"], Value::Null, "its window is open");
    // The first of the three was opened more than 90 days ago.
    let what_if = |kind: &str| {
        let items = found["what_if"]["items"].as_array().expect("a list").iter().filter(|item| item["kind"] == kind);
        items.map(|item| (item["incidents"].as_u64(), item["open_minutes"].as_f64())).collect::<Vec<_>>()
    };
    assert_eq!(what_if("fixed"), [(Some(2), Some(70.0))]);
    assert_eq!((what_if("ci"), what_if("alert")), (what_if("fixed"), what_if("fixed")));
    assert_eq!(what_if("held"), [(Some(0), Some(0.0)), (Some(1), Some(10.0)), (Some(1), Some(10.0))]);
    let one = get(&script.router(), "/api/v1/problems/PRB-1").await.json();
    conforms("Problem", &one);
    // The incident and the list say in a few words that it recurs.
    for path in ["/", "/incidents/INC-7"] {
        let page = get(&script.router(), path).await.text;
        assert!(page.contains("2 times in 14 d, 50 % again within 7 d"), "{path}: {page}");
    }
    let toll = json!({"people": [NASTY, "ana"], "person_hours": 0.13, "money": {"amount": 10.67, "currency": "EUR"}});
    assert_eq!(one["toll"], toll);
    let page = get(&script.router(), "/problems/PRB-1").await.text;
    for part in [
        "aria-label=\"Time since the one before, of each incident\"",
        "aria-label=\"The chance that it has come again by then\"",
        "<td data-label=\"Came\">yes</td>",
        "this problem were fixed",
        "its alerts were held back for 15 min",
        "0.1 h, 11 EUR",
        "action=\"/api/v1/signatures/SIG-2/split\"",
        "<input type=\"checkbox\" name=\"incidents\" value=\"INC-5\">",
        "action=\"/api/v1/signatures/SIG-2/merge\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains(NASTY), "{page}");
    let form = [("content-type", "application/x-www-form-urlencoded"), ("origin", "http://localhost:9099")];
    let back = ask(&script.router(), Method::POST, "/api/v1/signatures/SIG-2/part", &form, "by=ana").await;
    assert_eq!((back.status, back.header("location")), (StatusCode::SEE_OTHER, "/problems/PRB-1"), "{}", back.text);
}

#[tokio::test]
async fn history_is_imported_and_a_dry_run_keeps_nothing() {
    let csv = "Opened,CI,Closed\n2024-01-01 10:00:00,db-1,2024-01-01 11:00:00\nyesterday,db-1,\n2024-01-02,db-2,soon\n";
    let path = "/api/v1/history?map=opened_at%3DOpened,ci%3DCI,closed_at%3DClosed";
    let script = Script::new();
    let headers = [("content-type", "text/csv")];
    let dry = ask(&script.router(), Method::POST, &format!("{path}&dry_run=true"), &headers, csv).await;
    assert_eq!(dry.status, StatusCode::OK, "{}", dry.text);
    conforms("HistoryTaken", &dry.json());
    assert_eq!((&dry.json()["read"], &dry.json()["refused"], &dry.json()["new"]), (&json!(1), &json!(2), &Value::Null));
    assert!(dry.text.contains("line 3, column Opened") && dry.text.contains("line 4, column Closed"), "{}", dry.text);
    assert!(script.get(|state| state.imported.is_empty()));
    let taken = ask(&script.router(), Method::POST, path, &headers, csv).await.json();
    assert_eq!(taken["new"], 1);
    assert_eq!(script.get(|state| state.imported[0].signature.to_string()), "db-1");
    let wrong = ask(&script.router(), Method::POST, "/api/v1/history", &headers, csv).await;
    assert_eq!((wrong.status, &wrong.json()["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("bad_history")));
    let wrong = ask(&script.router(), Method::POST, "/api/v1/history?map=x%3Dy", &headers, csv).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}
