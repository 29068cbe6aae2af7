//! Faults whose root is known, one at a time: which CI quell holds for the cause.
//!
//! Deliberately absent: other alerts than the fault's own, and the faults' names; what came in earlier faults the
//! engine has seen, because it is one engine for all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quell_cmdb::Graph;
use quell_domain::{CiId, Digest, Source, Timestamp, Topology};
use quell_engine::STANDS_OUT;

use super::baselines::{self, Rarity, Scores, Symptom};
use super::files::{FolderFault, Map, Row, Table};
use super::measure::{RankScore, most_often, ranking, sure};
use super::replay::{Replay, Variant, body};

/// Between two faults at least so much time passes, so that the one is over for quell when the next begins.
const APART: Duration = Duration::from_secs(86_400);
/// After a fault's last alert quell has so much time to judge; its alerts fire until then.
pub(super) const SETTLE: Duration = Duration::from_secs(120);

/// Which nodes may be the cause.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Instances stand for their service.
    Service,
    /// Every service, instance, host, cache and database, and what else is of a kind that was at fault.
    Exact,
}

/// What was measured of one set.
#[derive(Clone, PartialEq, Debug)]
pub struct Causes {
    /// Which set it is, by the bytes of its alerts.
    pub digest: Digest,
    /// How many faults.
    pub faults: usize,
    /// By service and by node.
    pub levels: Vec<LevelScore>,
}

/// What was measured on one level.
#[derive(Clone, PartialEq, Debug)]
pub struct LevelScore {
    /// Which.
    pub level: Level,
    /// How many nodes may be the cause.
    pub candidates: usize,
    /// quell's.
    pub score: RankScore,
    /// Each baseline by name.
    pub baselines: Vec<(&'static str, RankScore)>,
}

/// One fault and what it raised.
pub(super) struct Fault {
    pub(super) root: String,
    pub(super) alerts: Vec<Alert>,
}

/// One alert of a fault.
#[derive(Clone)]
pub(super) struct Alert {
    pub(super) at: Timestamp,
    pub(super) entity: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) caller: String,
    pub(super) detail: String,
    pub(super) severity: &'static str,
    /// How far off, in robust standard deviations, where that is known.
    pub(super) value: Option<f64>,
}

/// Scores a folder.
///
/// # Errors
/// When one of its files cannot be read as what it is.
pub fn measure(folder: &Path, variant: &Variant) -> Result<Causes, FolderFault> {
    let table = Table::read(&folder.join("alerts.csv.gz"))?;
    let at = folder.join("topology.json");
    let map = Map::read(&at)?;
    let faults = read(&table, &Table::read(&folder.join("faults.csv"))?)?;
    let topology = map.topology(&at)?;
    let named = name_causes(&faults, variant, &Arc::new(Graph::new(topology.clone())));
    let levels = [Level::Service, Level::Exact].map(|level| {
        let stage = Stage::new(level, &map, &topology, &faults);
        LevelScore {
            level,
            candidates: stage.candidates.len(),
            score: stage.score(&named),
            baselines: stage.baselines(),
        }
    });
    Ok(Causes { digest: table.digest, faults: faults.len(), levels: levels.into() })
}

fn read(alerts: &Table, faults: &Table) -> Result<Vec<Fault>, FolderFault> {
    let mut of_fault: BTreeMap<&str, Vec<Alert>> = BTreeMap::new();
    for row in alerts.rows() {
        of_fault.entry(row.need("fault_id")?).or_default().push(alert(row)?);
    }
    let mut found = Vec::new();
    for row in faults.rows().filter(|row| !row.get("augmented").eq_ignore_ascii_case("true")) {
        let mut alerts = of_fault.remove(row.need("fault_id")?).unwrap_or_default();
        alerts.sort_by_key(|alert| alert.at);
        found.push((row.time("start")?, Fault { root: row.need("root_cause")?.to_owned(), alerts }));
    }
    found.sort_by_key(|(start, _)| *start);
    Ok(found.into_iter().map(|(_, fault)| fault).collect())
}

fn alert(row: Row<'_>) -> Result<Alert, FolderFault> {
    Ok(Alert {
        at: row.time("ts")?,
        entity: row.need("entity")?.to_owned(),
        kind: row.get("kind").to_owned(),
        name: row.need("name")?.to_owned(),
        caller: row.get("caller").to_owned(),
        detail: row.get("detail").to_owned(),
        severity: "",
        value: None,
    })
}

/// What the engine names for each fault, best first: the causes of the incident that holds most of its alerts (of
/// equals the first), asked when all are in.
pub(super) fn name_causes(faults: &[Fault], variant: &Variant, graph: &Arc<Graph>) -> Vec<Vec<(CiId, f64)>> {
    let first = faults.iter().find_map(|fault| fault.alerts.first());
    let mut replay = Replay::new(variant, graph, first.map_or(Timestamp::from_seconds(0), |alert| alert.at));
    faults.iter().map(|fault| name_cause(fault, &mut replay)).collect()
}

fn name_cause(fault: &Fault, replay: &mut Replay) -> Vec<(CiId, f64)> {
    let (Some(first), Some(last)) = (fault.alerts.first(), fault.alerts.last()) else { return Vec::new() };
    let (begins, ends) = (first.at, last.at + SETTLE);
    // As recorded, or later where the last fault is not over yet.
    let shift = (replay.now() + APART).since(begins);
    let mut ids = BTreeSet::new();
    for Alert { at, entity, kind, name, caller, detail, severity, value } in &fault.alerts {
        let labels =
            [("alertname", &**name), ("entity", entity), ("kind", kind), ("caller", caller), ("severity", severity)];
        let value = value.map(|value| format!("{value:.3}")).unwrap_or_default();
        let annotations = [("detail", &**detail), ("value", &value)];
        let valid = ends.since(*at) + Duration::from_secs(1);
        let at = *at + shift;
        ids.extend(
            replay.post(at, Source::AlertmanagerApi, &body(&labels, &annotations, at, valid)).into_iter().flatten(),
        );
    }
    replay.pass(ends + shift);
    let most = most_often(ids.iter().filter_map(|&id| replay.episode(id)?.now));
    most.map(|incident| replay.ranking(incident)).unwrap_or_default()
}

/// One level's candidates, and the faults as seen from there.
pub(super) struct Stage<'a> {
    folded: BTreeMap<&'a str, &'a str>,
    pub(super) candidates: BTreeSet<&'a str>,
    calls: BTreeSet<(&'a str, &'a str)>,
    faults: &'a [Fault],
}

impl<'a> Stage<'a> {
    pub(super) fn new(level: Level, map: &'a Map, topology: &'a Topology, faults: &'a [Fault]) -> Self {
        let nodes = map.nodes.iter().map(|node| &*node.id);
        let folded = if level == Level::Service { map.services() } else { nodes.clone().zip(nodes).collect() };
        let roots: BTreeSet<&str> = faults.iter().map(|fault| &*fault.root).collect();
        let kinds: BTreeSet<&str> =
            map.nodes.iter().filter(|node| roots.contains(&*node.id)).map(|node| &*node.kind).collect();
        let usual = |word: &str| {
            let kind = word.to_lowercase();
            kinds.contains(word)
                || ["service", "instance", "host", "cache", "database"].iter().any(|k| kind.contains(k))
        };
        let named = map.nodes.iter().filter(|node| level == Level::Service || usual(&node.kind));
        let candidates = named.map(|node| folded[&*node.id]).collect();
        let fold = |ci: &'a CiId| folded.get(ci.as_str()).copied();
        let calls = topology.relationships().iter().filter_map(|r| Some((fold(&r.from)?, fold(&r.to)?))).collect();
        Stage { folded, candidates, calls, faults }
    }

    fn fold(&self, entity: &'a str) -> &'a str {
        self.folded.get(entity).copied().unwrap_or(entity)
    }

    fn score_all(&self, scores: impl Iterator<Item = Scores<'a>>) -> RankScore {
        let roots = self.faults.iter().map(|fault| self.fold(&fault.root));
        ranking(&self.candidates, &scores.zip(roots).collect::<Vec<_>>())
    }

    /// quell's: the service of an instance takes the place of the first of them.
    pub(super) fn score(&self, named: &'a [Vec<(CiId, f64)>]) -> RankScore {
        let scores = named.iter().map(|causes| {
            let mut scores = Scores::new();
            for (ci, score) in causes {
                let best = scores.entry(self.fold(ci.as_str())).or_insert(f64::NEG_INFINITY);
                *best = best.max(*score);
            }
            scores
        });
        let roots = self.faults.iter().map(|fault| self.fold(&fault.root));
        let sure = sure(&scores.clone().zip(roots).collect::<Vec<_>>(), STANDS_OUT);
        RankScore { sure, ..self.score_all(scores) }
    }

    pub(super) fn baselines(&self) -> Vec<(&'static str, RankScore)> {
        let symptoms: Vec<Vec<Symptom<'a>>> =
            self.faults.iter().map(|fault| fault.alerts.iter().map(|alert| self.symptom(alert)).collect()).collect();
        let each = |method: fn(&[Symptom<'a>]) -> Scores<'a>| self.score_all(symptoms.iter().map(|s| method(s)));
        let mut rarity = Rarity::default();
        let rare: Vec<Scores<'a>> = symptoms.iter().map(|symptoms| rarity.scores(symptoms)).collect();
        let walked = |weights: Scores<'a>| baselines::page_rank(&weights, &self.calls);
        let mut all = vec![
            ("most alerts", each(baselines::most_alerts)),
            ("earliest", each(baselines::earliest)),
            ("PageRank(count)", self.score_all(symptoms.iter().map(|s| walked(baselines::most_alerts(s))))),
            ("rarity", self.score_all(rare.iter().cloned())),
            ("PageRank(rarity)", self.score_all(rare.iter().cloned().map(walked))),
        ];
        if self.faults.iter().flat_map(|fault| &fault.alerts).any(|alert| alert.value.is_some()) {
            all.push(("max z", each(baselines::most_off)));
            all.push(("PageRank(max z)", self.score_all(symptoms.iter().map(|s| walked(baselines::most_off(s))))));
        }
        all
    }

    fn symptom(&self, alert: &'a Alert) -> Symptom<'a> {
        Symptom {
            at: alert.at,
            candidate: self.fold(&alert.entity),
            pair: (&alert.entity, &alert.name, &alert.detail),
            magnitude: alert.value.map_or(1.0, f64::abs),
        }
    }
}
