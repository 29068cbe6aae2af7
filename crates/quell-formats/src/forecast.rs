//! A trained forecast as a file that anybody can read, and a scorecard as JSON.
//!
//! The model file names its features and holds nothing but numbers; reading it back gives the same forecasts to the bit.
//! Absent on purpose: reading and writing files.

use quell_domain::{KeptForecast, Timestamp};
use quell_forecast::belief::{Belief, Calibration, Slump};
use quell_forecast::blend::{Blend, Ewma};
use quell_forecast::boost::{Node, Tree};
use quell_forecast::features::{EXACT, OWN};
use quell_forecast::logistic::{Logistic, Scale};
pub use quell_forecast::metrics::Bin;
use quell_forecast::platt::Platt;
use quell_forecast::train::{Inner, Thin};
use quell_forecast::{Chosen, KeptScores, Marked, Model, Next, Scorecard, Scores};
pub use quell_forecast::{KeptScorecard, RateChange, rate_change};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::mistake::Mistake;

/// What a model file calls itself.
const FORMAT: &str = "quell-forecast";
/// The version of the model file that is written, and the only one that is read.
pub const SCHEMA: u32 = 2;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    schema: u32,
    features: Vec<String>,
    horizon_us: i64,
    chosen: String,
    abstains: Option<ThinFile>,
    base_rate: f64,
    ewma: EwmaFile,
    last_window: [f64; 2],
    share: f64,
    logistic: Option<LogisticFile>,
    trees: Vec<Vec<NodeFile>>,
    belief: BeliefFile,
    curve: Vec<(usize, f64, f64)>,
    inner: InnerFile,
    learned: [String; 2],
    rows: [usize; 2],
    seed: u64,
    next: Option<NextFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum ThinFile {
    NoOrigin { days: u32, horizon_days: u32 },
    FewOutcomes { hits: usize, misses: usize },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EwmaFile {
    half_life_days: f64,
    platt: [f64; 2],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogisticFile {
    /// Low, high, mean, deviation of each feature.
    scales: Vec<[f64; 4]>,
    weights: Vec<f64>,
    offset: f64,
}

/// A leaf is its answer; a split is its feature, its threshold and the place of its left child.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
enum NodeFile {
    Leaf(f64),
    Split(u32, f64, u32),
}

/// Slope and offset, and the curvature that holds them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CalibrationFile {
    platt: [f64; 2],
    firmness: [f64; 3],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BeliefFile {
    model: CalibrationFile,
    ewma: CalibrationFile,
    lead: f64,
    order: f64,
    trust: f64,
    /// Of lead, order and trust: lost, sum of squares, windows.
    slump: [[f64; 3]; 3],
}

/// Model or chosen first, EWMA or base rate second.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InnerFile {
    rows: usize,
    pr_auc: [f64; 2],
    log_loss: [f64; 2],
    brier: [f64; 2],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NextFile {
    weights: Vec<f64>,
    curve: Vec<[f64; 2]>,
}

fn names() -> Vec<String> {
    EXACT.iter().chain(&OWN).map(|name| (*name).to_owned()).collect()
}

fn pair(platt: Platt) -> [f64; 2] {
    let Platt { slope, offset } = platt;
    [slope, offset]
}

fn platt([slope, offset]: [f64; 2]) -> Platt {
    Platt { slope, offset }
}

fn calibration_file(Calibration { platt, firmness }: Calibration) -> CalibrationFile {
    CalibrationFile { platt: pair(platt), firmness }
}

fn calibration(CalibrationFile { platt: pair, firmness }: CalibrationFile) -> Calibration {
    Calibration { platt: platt(pair), firmness }
}

/// Writes a model, and the times to the next incident where they were learned.
#[must_use]
pub fn encode(model: &Model, next: Option<&Next>) -> String {
    let Model {
        horizon,
        chosen,
        abstains,
        base_rate,
        ewma,
        last_window,
        blend,
        share,
        belief,
        curve,
        inner,
        learned,
        rows,
        seed,
    } = model;
    let Inner { rows: judged, pr_auc, log_loss, brier } = *inner;
    let Belief { model: of_model, ewma: of_ewma, lead, order, trust, slump } = *belief;
    let slump = slump.map(|Slump { lost, swing: [squares, windows] }| [lost, squares, windows]);
    let thin = |thin: Thin| match thin {
        Thin::NoOrigin { days, horizon_days } => ThinFile::NoOrigin { days, horizon_days },
        Thin::FewOutcomes { hits, misses } => ThinFile::FewOutcomes { hits, misses },
    };
    let node = |node: &Node| match *node {
        Node::Leaf(answer) => NodeFile::Leaf(answer),
        Node::Split { feature, threshold, left } => NodeFile::Split(feature, threshold, left),
    };
    let file = File {
        format: FORMAT.to_owned(),
        schema: SCHEMA,
        features: names(),
        horizon_us: *horizon,
        chosen: chosen.word().to_owned(),
        abstains: abstains.map(thin),
        base_rate: *base_rate,
        ewma: EwmaFile { half_life_days: ewma.half_life(), platt: pair(ewma.platt) },
        last_window: pair(*last_window),
        share: *share,
        logistic: blend.as_ref().map(|blend| logistic_file(&blend.logistic)),
        trees: blend.iter().flat_map(|blend| &blend.trees).map(|tree| tree.iter().map(node).collect()).collect(),
        belief: BeliefFile {
            model: calibration_file(of_model),
            ewma: calibration_file(of_ewma),
            lead,
            order,
            trust,
            slump,
        },
        curve: curve.iter().map(|Bin { rows, forecast, observed }| (*rows, *forecast, *observed)).collect(),
        inner: InnerFile { rows: judged, pr_auc, log_loss, brier },
        learned: learned.map(|at| at.to_string()),
        rows: *rows,
        seed: *seed,
        next: next.map(|Next { weights, curve }| NextFile { weights: weights.to_vec(), curve: curve.clone() }),
    };
    serde_json::to_string(&file).unwrap_or_default()
}

fn logistic_file(Logistic { scales, weights, offset }: &Logistic) -> LogisticFile {
    let scale = |Scale { low, high, mean, deviation }: &Scale| [*low, *high, *mean, *deviation];
    LogisticFile { scales: scales.iter().map(scale).collect(), weights: weights.clone(), offset: *offset }
}

/// Reads a model that [`encode`] wrote.
///
/// # Errors
/// Says where the text is no such model, or that its schema is another one.
pub fn decode(text: &str) -> Result<(Model, Option<Next>), Mistake> {
    let wrong = |path: &str, found: String, allowed: String| Mistake {
        file: String::new(),
        path: path.to_owned(),
        found,
        allowed,
    };
    let value: Value = serde_json::from_str(text)
        .map_err(|error| wrong("", format!("no JSON: {error}"), "a model file".to_owned()))?;
    let (format, schema) = (value["format"].as_str(), value["schema"].as_u64());
    if format != Some(FORMAT) {
        return Err(wrong("format", value["format"].to_string(), format!("\"{FORMAT}\"")));
    }
    if schema != Some(u64::from(SCHEMA)) {
        return Err(wrong("schema", value["schema"].to_string(), SCHEMA.to_string()));
    }
    let file: File = serde_json::from_value(value)
        .map_err(|error| wrong("", error.to_string(), "a model file as `docs/forecast.md` says".to_owned()))?;
    if file.features != names() {
        return Err(wrong("features", format!("{} names", file.features.len()), names().join(", ")));
    }
    let (model, next) = assemble(file).map_err(|(path, allowed)| wrong(path, "another value".to_owned(), allowed))?;
    model.sound().map_err(|fault| wrong("", fault, "a model that can be run".to_owned()))?;
    Ok((model, next))
}

/// The values of a file; the path and what is allowed there where one of them cannot be.
fn assemble(file: File) -> Result<(Model, Option<Next>), (&'static str, String)> {
    let File {
        format: _,
        schema: _,
        features: _,
        horizon_us,
        chosen,
        abstains,
        base_rate,
        ewma,
        last_window,
        share,
        ..
    } = file;
    let File { logistic, trees, belief, curve, inner, learned, rows, seed, next, .. } = file;
    let EwmaFile { half_life_days, platt: ewma_platt } = ewma;
    let ewma = Ewma::new(half_life_days, horizon_us, platt(ewma_platt));
    let BeliefFile { model: of_model, ewma: of_ewma, lead, order, trust, slump } = belief;
    let slump = slump.map(|[lost, squares, windows]| Slump { lost, swing: [squares, windows] });
    let InnerFile { rows: judged, pr_auc, log_loss, brier } = inner;
    let at = |text: &String| Timestamp::parse_rfc3339(text).ok_or(("learned", "two times, RFC 3339".to_owned()));
    let [from, until] = &learned;
    let words = "\"model\", \"ewma\" or \"base_rate\"";
    let trees: Vec<Tree> = trees.into_iter().map(|tree| tree.into_iter().map(node).collect()).collect();
    let scale = |[low, high, mean, deviation]: [f64; 4]| Scale { low, high, mean, deviation };
    let blend = logistic.map(|LogisticFile { scales, weights, offset }| Blend {
        logistic: Logistic { scales: scales.into_iter().map(scale).collect(), weights, offset },
        trees,
    });
    let next = next.map(|NextFile { weights, curve }| {
        let weights = weights.try_into().map_err(|_| ("next.weights", "one for each number of a moment".to_owned()));
        weights.map(|weights| Next { weights, curve })
    });
    let model = Model {
        horizon: horizon_us,
        chosen: Chosen::from_word(&chosen).ok_or(("chosen", words.to_owned()))?,
        abstains: abstains.map(|thin| match thin {
            ThinFile::NoOrigin { days, horizon_days } => Thin::NoOrigin { days, horizon_days },
            ThinFile::FewOutcomes { hits, misses } => Thin::FewOutcomes { hits, misses },
        }),
        base_rate,
        ewma: ewma.ok_or(("ewma.half_life_days", "one of the half-lives that are tried".to_owned()))?,
        last_window: platt(last_window),
        blend,
        share,
        belief: Belief { model: calibration(of_model), ewma: calibration(of_ewma), lead, order, trust, slump },
        curve: curve.into_iter().map(|(rows, forecast, observed)| Bin { rows, forecast, observed }).collect(),
        inner: Inner { rows: judged, pr_auc, log_loss, brier },
        learned: [at(from)?, at(until)?],
        rows,
        seed,
    };
    Ok((model, next.transpose()?))
}

fn node(node: NodeFile) -> Node {
    match node {
        NodeFile::Leaf(answer) => Node::Leaf(answer),
        NodeFile::Split(feature, threshold, left) => Node::Split { feature, threshold, left },
    }
}

/// The scorecard of forecasts that were kept and marked; `None` without any.
#[must_use]
pub fn kept(rows: &[KeptForecast]) -> Option<KeptScorecard> {
    let marked = rows.iter().filter_map(|row| {
        let KeptForecast { at, probability, rank, baselines, outcome, .. } = row;
        let first = (*outcome)?.first_at;
        let hours = |first: Timestamp| (first.micros() - at.micros()) as f64 / 3_600e6;
        let (probability, rank, baselines) = (*probability, *rank, *baselines);
        Some(Marked { at: at.micros(), probability, rank, baselines, lead_hours: first.map(hours) })
    });
    quell_forecast::scorecard(&marked.collect::<Vec<_>>())
}

/// The same as the API shows it.
#[must_use]
pub fn kept_json(card: &KeptScorecard) -> Value {
    let KeptScorecard { rows, hits, origins, scores, curve, lead_hours } = card;
    let score = |KeptScores { pr_auc, brier, ece, precision }: &KeptScores| json!({"pr_auc": pr_auc, "brier": brier, "ece": ece, "precision_at_10": precision});
    let [quell, ewma, last_window, base_rate] = scores;
    let bin =
        |Bin { rows, forecast, observed }: &Bin| json!({"rows": rows, "forecast": forecast, "observed": observed});
    json!({
        "rows": rows,
        "hits": hits,
        "origins": origins,
        "models": {
            "quell": score(quell), "ewma": score(ewma), "last_window": score(last_window), "base_rate": score(base_rate),
        },
        "calibration": curve.iter().map(bin).collect::<Vec<_>>(),
        "lead_hours": lead_hours,
    })
}

/// A scorecard as `quell forecast evaluate --json` prints it. A measure that cannot be taken is `null`.
#[must_use]
pub fn scorecard(card: &Scorecard) -> Value {
    let Scorecard { quell, ewma, last_window, base_rate, split_at, train, test, model, order } = card;
    json!({
        "models": {
            "quell": scores(quell), "ewma": scores(ewma), "last_window": scores(last_window), "base_rate": scores(base_rate),
        },
        "rows": { "train": train.rows, "test": test.rows },
        "positives": { "train": train.hits, "test": test.hits },
        "origins": { "train": train.origins, "test": test.origins },
        "split_at": split_at.to_string(),
        "chosen": model.chosen.word(),
        "abstained": model.abstains.is_some(),
        "verdict": card.verdict(),
        "reason": card.reason(),
        "ewma_half_life_days": model.ewma.half_life(),
        "c_index": {
            "quell": order.quell, "ewma_gap": order.ewma_gap, "last_gap": order.last_gap, "incidents": order.incidents,
        },
        "seed": model.seed,
    })
}

/// The same where nothing could be judged: every measure is `null`, and the reason says what is missing.
#[must_use]
pub fn no_scorecard(reason: &str) -> Value {
    let none = json!({
        "pr_auc": null, "pr_auc_mid": null, "roc_auc": null, "brier": null, "bss": null, "ece": null, "p50": null,
    });
    json!({
        "models": {"quell": none, "ewma": none, "last_window": none, "base_rate": none},
        "rows": {"train": 0, "test": 0},
        "positives": {"train": 0, "test": 0},
        "origins": {"train": 0, "test": 0},
        "split_at": null,
        "chosen": "base_rate",
        "abstained": true,
        "verdict": "abstains",
        "reason": format!("too little to judge by: {reason}"),
        "ewma_half_life_days": null,
        "c_index": {"quell": null, "ewma_gap": null, "last_gap": null, "incidents": 0},
        "seed": null,
    })
}

fn scores(scores: &Scores) -> Value {
    let Scores { pr_auc, pr_auc_mid, roc_auc, brier, bss, ece, p50 } = *scores;
    json!({
        "pr_auc": pr_auc, "pr_auc_mid": pr_auc_mid, "roc_auc": roc_auc,
        "brier": brier, "bss": bss, "ece": ece, "p50": p50,
    })
}
