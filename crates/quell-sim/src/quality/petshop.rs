//! Metrics with injected issues, in the shape of the petshop set: alerts are what strays from the fault-free median.
//!
//! An issue is one of latency or of availability; what is looked at is that metric, in the statistic in which its
//! objective is stated. Deliberately absent: numbers of requests, and every stray that is good news.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quell_cmdb::Graph;
use quell_domain::{CiId, Digest, Timestamp};

use super::baselines::{self, Scores, Symptom};
use super::cause::{Alert, Fault, Level, Stage, name_causes};
use super::files::{Edge, FolderFault, Map, Node, Row, Table};
use super::measure::{RankScore, ranking};
use super::replay::Variant;

/// So many robust standard deviations off is an alert.
const STRAY: f64 = 3.0;
/// Standard deviation of a normal distribution in units of its median absolute deviation.
const ROBUST: f64 = 1.4826;
/// A metric that never moves is taken to move by this share of its median.
const STILL: f64 = 0.001;
/// A row tells of so much time after its stamp.
const BIN: Duration = Duration::from_secs(300);

/// What was measured of one set.
#[derive(Clone, PartialEq, Debug)]
pub struct Petshop {
    /// Which set it is, by the bytes of its metrics.
    pub digest: Digest,
    /// Candidates of an issue, on average.
    pub candidates: usize,
    /// From the strays alone.
    pub alone: RankScore,
    /// From the strays and an alert at the node whose objective was violated.
    pub with_target: RankScore,
    /// Each baseline that does not know the violated node.
    pub baselines: Vec<(&'static str, RankScore)>,
    /// Each baseline that does.
    pub target_baselines: Vec<(&'static str, RankScore)>,
}

struct Issue {
    scenario: String,
    file: (String, String),
    target: String,
    metric: String,
    stat: String,
    at: Timestamp,
    root: String,
}

/// One series of values: node, metric and statistic.
type Series<'a> = (&'a str, &'a str, &'a str);

/// Scores a folder.
///
/// # Errors
/// When one of its files cannot be read as what it is.
pub fn measure(folder: &Path, variant: &Variant) -> Result<Petshop, FolderFault> {
    let metrics = Table::read(&folder.join("metrics.csv.gz"))?;
    let calls_at = folder.join("graph.csv");
    let calls = Table::read(&calls_at)?;
    let issues = issues(&Table::read(&folder.join("issues.csv"))?)?;
    let mut of_scenario: BTreeMap<&str, Vec<Row<'_>>> = BTreeMap::new();
    for row in metrics.rows().filter(|row| row.get("metric") != "requests") {
        of_scenario.entry(row.need("scenario")?).or_default().push(row);
    }
    let mut found = Petshop {
        digest: metrics.digest,
        candidates: 0,
        alone: RankScore::default(),
        with_target: RankScore::default(),
        baselines: Vec::new(),
        target_baselines: Vec::new(),
    };
    for (scenario, rows) in of_scenario {
        let map = graph(&calls, scenario)?;
        let issues: Vec<&Issue> = issues.iter().filter(|issue| issue.scenario == scenario).collect();
        let faults = strays(&rows, &issues)?;
        let topology = map.topology(&calls_at)?;
        let graph = Arc::new(Graph::new(topology.clone()));
        let stage = Stage::new(Level::Service, &map, &topology, &faults);
        let named = name_causes(&faults, variant, &graph);
        let told: Vec<Fault> = faults.iter().zip(&issues).map(|(fault, issue)| with_target(fault, issue)).collect();
        let named_with: Vec<Vec<(CiId, f64)>> = name_causes(&told, variant, &graph);
        found.candidates += stage.candidates.len() * issues.len();
        found.alone = found.alone.with(stage.score(&named));
        found.with_target = found.with_target.with(stage.score(&named_with));
        add(&mut found.baselines, stage.baselines());
        add(&mut found.target_baselines, vec![("traversal", traversal(&stage.candidates, &map, &faults, &issues))]);
    }
    found.candidates /= issues.len().max(1);
    Ok(found)
}

fn add(sum: &mut Vec<(&'static str, RankScore)>, more: Vec<(&'static str, RankScore)>) {
    for (name, score) in more {
        match sum.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = known.with(score),
            None => sum.push((name, score)),
        }
    }
}

fn issues(table: &Table) -> Result<Vec<Issue>, FolderFault> {
    let mut issues = Vec::new();
    for row in table.rows() {
        #[expect(clippy::cast_possible_truncation, reason = "instants of our age fit")]
        let at = Timestamp::from_seconds(row.number("target_ts")? as i64);
        issues.push(Issue {
            scenario: row.need("scenario")?.to_owned(),
            file: (row.need("split")?.to_owned(), row.need("issue")?.to_owned()),
            target: row.need("target_node")?.to_owned(),
            metric: row.need("target_metric")?.to_owned(),
            stat: row.need("target_agg")?.to_owned(),
            at,
            root: row.need("root_cause")?.to_owned(),
        });
    }
    issues.sort_by_key(|issue| issue.at);
    Ok(issues)
}

fn graph(calls: &Table, scenario: &str) -> Result<Map, FolderFault> {
    let mut map = Map::default();
    let mut names = BTreeSet::new();
    for row in calls.rows().filter(|row| row.get("scenario") == scenario) {
        let (source, target) = (row.need("caller")?.to_owned(), row.need("callee")?.to_owned());
        names.extend([source.clone(), target.clone()]);
        map.edges.push(Edge { source, target, label: "calls".to_owned() });
    }
    map.nodes = names.into_iter().map(|id| Node { id, kind: "Service".to_owned() }).collect();
    Ok(map)
}

fn stamp(row: Row<'_>) -> Result<Timestamp, FolderFault> {
    #[expect(clippy::cast_possible_truncation, reason = "instants of our age fit")]
    Ok(Timestamp::from_seconds(row.number("ts")? as i64))
}

/// The issues of one scenario, in order of time, with what strays during each.
fn strays(rows: &[Row<'_>], issues: &[&Issue]) -> Result<Vec<Fault>, FolderFault> {
    let mut normal: BTreeMap<Series<'_>, Vec<f64>> = BTreeMap::new();
    let mut during: BTreeMap<(&str, &str), Vec<Row<'_>>> = BTreeMap::new();
    for &row in rows {
        if row.need("split")? == "normal" {
            normal.entry(series(row)).or_default().push(row.number("value")?);
        } else {
            during.entry((row.get("split"), row.get("issue"))).or_default().push(row);
        }
    }
    let fault_free = !normal.is_empty();
    let mut usual = usual_values(&mut normal);
    let mut faults = Vec::new();
    for issue in issues {
        let rows = during.get(&(&*issue.file.0, &*issue.file.1)).cloned().unwrap_or_default();
        if !fault_free {
            // Without a fault-free file, what came before this issue and before the earlier ones.
            for &row in &rows {
                if stamp(row)? + BIN <= issue.at {
                    normal.entry(series(row)).or_default().push(row.number("value")?);
                }
            }
            usual = usual_values(&mut normal);
        }
        let mut alerts = Vec::new();
        for &row in rows.iter().filter(|row| row.get("metric") == issue.metric && row.get("stat") == issue.stat) {
            alerts.extend(stray(row, &usual)?);
        }
        alerts.sort_by_key(|alert| alert.at);
        faults.push(Fault { root: issue.root.clone(), alerts });
    }
    Ok(faults)
}

fn series<'a>(row: Row<'a>) -> Series<'a> {
    (row.get("node"), row.get("metric"), row.get("stat"))
}

/// Median and robust standard deviation of each series.
fn usual_values<'a>(values: &mut BTreeMap<Series<'a>, Vec<f64>>) -> BTreeMap<Series<'a>, (f64, f64)> {
    let usual = values.iter_mut().map(|(series, values)| {
        let middle = median(values);
        let mut off: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
        (*series, (middle, (ROBUST * median(&mut off)).max(STILL * middle.abs()).max(1e-9)))
    });
    usual.collect()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}

fn stray(row: Row<'_>, usual: &BTreeMap<Series<'_>, (f64, f64)>) -> Result<Option<Alert>, FolderFault> {
    let Some((middle, deviation)) = usual.get(&series(row)) else { return Ok(None) };
    let off = (row.number("value")? - middle) / deviation;
    let bad = match row.get("metric") {
        "availability" => -off,
        _ => off,
    };
    Ok((bad > STRAY).then_some(()).map(|()| stamp(row)).transpose()?.map(|at| Alert {
        at: at + BIN,
        entity: row.get("node").to_owned(),
        kind: "metric".to_owned(),
        name: format!("{} {}", row.get("metric"), row.get("stat")),
        caller: String::new(),
        detail: String::new(),
        severity: "",
        value: Some(bad),
    }))
}

/// The same fault with an alert of the objective that was violated, in its place in time.
fn with_target(fault: &Fault, issue: &Issue) -> Fault {
    let mut alerts = fault.alerts.clone();
    alerts.push(Alert {
        at: issue.at,
        entity: issue.target.clone(),
        kind: "slo".to_owned(),
        name: format!("{} objective violated", issue.metric),
        caller: String::new(),
        detail: String::new(),
        severity: "critical",
        value: None,
    });
    alerts.sort_by_key(|alert| alert.at);
    Fault { root: fault.root.clone(), alerts }
}

fn traversal(candidates: &BTreeSet<&str>, map: &Map, faults: &[Fault], issues: &[&Issue]) -> RankScore {
    let calls: BTreeSet<(&str, &str)> = map.edges.iter().map(|edge| (&*edge.source, &*edge.target)).collect();
    let scored = faults.iter().zip(issues).map(|(fault, issue)| {
        let symptoms: Vec<Symptom<'_>> = fault
            .alerts
            .iter()
            .map(|alert| Symptom {
                at: alert.at,
                candidate: &alert.entity,
                pair: (&alert.entity, &alert.name, ""),
                magnitude: alert.value.unwrap_or(1.0),
            })
            .collect();
        let scores: Scores<'_> = baselines::traversal(&issue.target, &symptoms, &calls);
        (scores, &*fault.root)
    });
    ranking(candidates, &scored.collect::<Vec<_>>())
}
