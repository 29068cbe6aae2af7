//! The model file: what is written is read back to the bit, and what is no such file is refused.

use quell_domain::{HistoricIncident, Signature, Timestamp};
use quell_forecast::{Chosen, History, Model, Next, Span, forecasts};
use quell_formats::forecast::{decode, encode};

const DAY: i64 = 86_400_000_000;

/// Signatures that come every few days, each at its own pace, so that there is much to learn.
fn clockwork() -> History {
    let opened = |signature: i64, number: i64| (3 + signature % 17) * number * DAY + signature * number % 5 * DAY / 7;
    let incident = |signature: i64, number: i64| HistoricIncident {
        opened_at: Timestamp::from_micros(opened(signature, number)),
        closed_at: None,
        signature: Signature::new(&format!("s{signature:02}")).expect("a text"),
        ci: None,
        service: None,
        priority: None,
    };
    let all = (0..80).flat_map(|s| (1..60).map(move |n| incident(s, n)));
    let incidents: Vec<_> = all.filter(|incident| incident.opened_at < Timestamp::from_micros(150 * DAY)).collect();
    History::new(&incidents, Span::of(&incidents).expect("some"))
}

#[test]
fn a_model_read_back_forecasts_the_same_to_the_bit() {
    let history = clockwork();
    let (until, at) = (Timestamp::from_micros(120 * DAY), Timestamp::from_micros(140 * DAY));
    let model = Model::train(&history, until, 7 * DAY, 7);
    let next = Next::train(&history, until, 7);
    assert_eq!(model.chosen, Chosen::Model, "{:?}", model.inner);
    let (read, read_next) = decode(&encode(&model, next.as_ref())).expect("a model file");
    assert_eq!((&read, &read_next), (&model, &next));
    let (told, again) =
        (forecasts(&model, next.as_ref(), &history, at), forecasts(&read, read_next.as_ref(), &history, at));
    assert_eq!(told.forecasts.len(), 80);
    for (a, b) in told.forecasts.iter().zip(&again.forecasts) {
        assert_eq!(a.outlook.probability.to_bits(), b.outlook.probability.to_bits());
        assert_eq!((a.outlook.rank.to_bits(), a.window), (b.outlook.rank.to_bits(), b.window));
        let [low, high] = a.outlook.interval;
        assert!(low <= a.outlook.probability && a.outlook.probability <= high, "{a:?}");
    }
}

#[test]
fn what_is_no_model_of_this_schema_is_refused_with_a_word() {
    let history = clockwork();
    let model = Model::train(&history, Timestamp::from_micros(120 * DAY), 7 * DAY, 7);
    let good = encode(&model, None);
    let check = |from: &str, to: &str, wanted: &str| {
        assert!(good.contains(from), "{from}");
        let refused = decode(&good.replacen(from, to, 1)).expect_err("refused").to_string();
        assert!(refused.contains(wanted), "{refused}");
    };
    check("\"schema\":2", "\"schema\":1", "schema: found 1; allowed: 2");
    check("quell-forecast", "other", "format: found \"other\"; allowed: \"quell-forecast\"");
    check("\"recency_d\"", "\"recency\"", "features: found 39 names");
    check("\"chosen\":\"model\"", "\"chosen\":\"oracle\"", "chosen: found another value; allowed: \"model\"");
    check("\"seed\":7", "\"seed\":7,\"more\":1", "unknown field `more`");
    check("\"weights\":[", "\"weights\":[0.5,", "39 scales and 40 weights for 39 features");
    check(",1]", ",0]", "trees[0], which cannot be walked");
    assert!(decode("{").expect_err("refused").to_string().contains("no JSON"));
}
