//! A recorded stream of alerts whose true incidents are known: what quell files where, and what it names as the cause.
//!
//! An incident's causes are those that are named when all alerts of a fault are in, and count for the fault that most of
//! its alert episodes belong to in the end. Deliberately absent: the method; the engine is the one that ships, with the
//! settings that ship.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quell_cmdb::Graph;
use quell_domain::{AlertId, CiId, Digest, Source, Timestamp};

use super::baselines::{self, LONG_WINDOW, Scores, Seen, WINDOW};
use super::cause::SETTLE;
use super::files::{FolderFault, Map, Table};
use super::measure::{Filed, PartitionScore, RankScore, most_often, partition, ranking, spoken_for};
use super::replay::{Replay, Variant, body};

/// How long an alert is valid after its row.
const VALID: Duration = Duration::from_secs(60);
/// Rows may count from zero; the engine is then told of instants after this one.
const EPOCH: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// How well alerts are filed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Filing {
    /// Over rows.
    pub rows: PartitionScore,
    /// Over alert episodes: an alert that is told again while it fires counts once for each fault.
    pub episodes: PartitionScore,
}

/// What was measured of one set.
#[derive(Clone, PartialEq, Debug)]
pub struct Correlation {
    /// Which set it is, by the bytes of its alerts.
    pub digest: Digest,
    /// How many alerts.
    pub alerts: usize,
    /// How many true incidents.
    pub faults: usize,
    /// By where each alert is filed in the end.
    pub last: Filing,
    /// By where each alert was put when it came.
    pub at_arrival: PartitionScore,
    /// What was named as the cause of each fault whose root is told; `None` when none is.
    pub causes: Option<RankScore>,
    /// Each baseline by name.
    pub baselines: Vec<(&'static str, Filing)>,
}

/// One true incident.
struct Fault {
    /// Empty where nobody tells.
    root: String,
    /// Its rows.
    alerts: Vec<usize>,
}

struct Alert {
    at: Timestamp,
    entity: String,
    kind: String,
    name: String,
    caller: String,
    label: String,
    fault: Option<usize>,
}

/// What the engine makes of a stream.
struct Decided {
    /// The episode of each row.
    episodes: Vec<Option<AlertId>>,
    at_arrival: Vec<Option<u64>>,
    last: Vec<Option<u64>>,
    /// For each fault, best first.
    named: Vec<Vec<(CiId, f64)>>,
}

/// Scores a folder.
///
/// # Errors
/// When one of its files cannot be read as what it is.
pub fn measure(folder: &Path, variant: &Variant) -> Result<Correlation, FolderFault> {
    let table = Table::read(&folder.join("alerts.csv.gz"))?;
    let truth = Table::read(&folder.join("incidents.csv"))?;
    let at = folder.join("topology.json");
    let map = Map::read(&at)?;
    let graph = Arc::new(Graph::new(map.topology(&at)?));
    let (mut numbers, mut faults) = (BTreeMap::new(), Vec::new());
    let mut fault = |id: &str, root: &str| {
        *numbers.entry(id.to_owned()).or_insert_with(|| {
            faults.push(Fault { root: root.to_owned(), alerts: Vec::new() });
            faults.len() - 1
        })
    };
    for row in truth.rows() {
        fault(row.need("incident")?, row.get("root_cause"));
    }
    let alerts = read(&table, &mut |id| fault(id, ""))?;
    for (at, alert) in alerts.iter().enumerate() {
        if let Some(fault) = alert.fault {
            faults[fault].alerts.push(at);
        }
    }
    let decided = replay(&alerts, &faults, variant, &graph);
    let seen: Vec<Seen<'_>> =
        alerts.iter().map(|alert| Seen { at: alert.at, entity: &alert.entity, label: &alert.label }).collect();
    let scored = |incidents: &[u64]| filing(&alerts, &decided, &incidents.iter().map(|&i| Some(i)).collect::<Vec<_>>());
    Ok(Correlation {
        digest: table.digest,
        alerts: alerts.len(),
        faults: faults.len(),
        last: filing(&alerts, &decided, &decided.last),
        at_arrival: partition(&rows(&alerts, &decided.at_arrival)),
        causes: causes(&alerts, &faults, &decided, &map),
        baselines: vec![
            ("every alert alone", scored(&baselines::alone(&seen))),
            ("time gap 60 s", scored(&baselines::time_gap(&seen, WINDOW))),
            ("time bucket, 5 min", scored(&baselines::time_bucket(&seen, Timestamp::from_seconds(0), LONG_WINDOW))),
            ("topology ≤ 2 hops, 60 s", scored(&baselines::topology(&seen, &map, 2, WINDOW))),
            ("topology ≤ 2 hops, 5 min", scored(&baselines::topology(&seen, &map, 2, LONG_WINDOW))),
            ("same label, 60 s", scored(&baselines::same_label(seen.iter().copied(), WINDOW))),
        ],
    })
}

fn rows(alerts: &[Alert], incidents: &[Option<u64>]) -> Vec<Filed> {
    alerts.iter().zip(incidents).map(|(alert, &incident)| Filed { fault: alert.fault, incident }).collect()
}

/// Each episode once for each fault that told of it, filed where its first row is.
fn episodes(alerts: &[Alert], decided: &Decided, incidents: &[Option<u64>]) -> Vec<Filed> {
    let mut met = BTreeSet::new();
    let filed = rows(alerts, incidents).into_iter().zip(&decided.episodes);
    filed.filter(|(filed, id)| id.is_none_or(|id| met.insert((id, filed.fault)))).map(|(filed, _)| filed).collect()
}

fn filing(alerts: &[Alert], decided: &Decided, incidents: &[Option<u64>]) -> Filing {
    Filing { rows: partition(&rows(alerts, incidents)), episodes: partition(&episodes(alerts, decided, incidents)) }
}

/// How the roots that are told were named; a fault whose alerts most are in another fault's incident is not found.
fn causes(alerts: &[Alert], faults: &[Fault], decided: &Decided, map: &Map) -> Option<RankScore> {
    let told = || faults.iter().enumerate().filter(|(_, fault)| !fault.root.is_empty());
    let mut candidates: BTreeSet<&str> = map.nodes.iter().map(|node| &*node.id).collect();
    candidates.extend(told().map(|(_, fault)| &*fault.root));
    let filed = episodes(alerts, decided, &decided.last);
    let spoken_for = spoken_for(&filed);
    let rankings: Vec<(Scores<'_>, &str)> = told()
        .map(|(number, fault)| {
            let own = filed.iter().filter(|filed| filed.fault == Some(number)).filter_map(|filed| filed.incident);
            let speaks = most_often(own).and_then(|incident| spoken_for.get(&incident)) == Some(&number);
            let named = decided.named[number].iter().filter(|_| speaks);
            (named.map(|(ci, score)| (ci.as_str(), *score)).collect(), &*fault.root)
        })
        .collect();
    (!rankings.is_empty()).then(|| ranking(&candidates, &rankings))
}

fn read(table: &Table, fault: &mut dyn FnMut(&str) -> usize) -> Result<Vec<Alert>, FolderFault> {
    let label = ["system", "cluster", "name"].into_iter().find(|column| table.has(column)).unwrap_or("name");
    let mut alerts = Vec::new();
    for row in table.rows() {
        let incident = row.need("incident")?;
        let at = row.time("ts")?;
        let early = at < Timestamp::from_seconds(300_000_000);
        alerts.push(Alert {
            at: if early { EPOCH + at.since(Timestamp::from_seconds(0)) } else { at },
            entity: row.need("entity")?.to_owned(),
            kind: row.get("kind").to_owned(),
            name: row.need("name")?.to_owned(),
            caller: row.get("caller").to_owned(),
            label: row.get(label).to_owned(),
            fault: (!incident.is_empty()).then(|| fault(incident)),
        });
    }
    alerts.sort_by_key(|alert| alert.at);
    Ok(alerts)
}

fn replay(alerts: &[Alert], faults: &[Fault], variant: &Variant, graph: &Arc<Graph>) -> Decided {
    let start = alerts.first().map_or(EPOCH, |alert| alert.at);
    let mut replay = Replay::new(variant, graph, start);
    let mut due: Vec<(Timestamp, usize)> = faults
        .iter()
        .enumerate()
        .filter_map(|(number, fault)| Some((alerts[*fault.alerts.last()?].at + SETTLE, number)))
        .collect();
    due.sort_unstable_by(|a, b| b.cmp(a));
    let mut named = vec![Vec::new(); faults.len()];
    let mut episodes: Vec<Option<AlertId>> = Vec::with_capacity(alerts.len());
    let mut at_arrival = Vec::with_capacity(alerts.len());
    let incident =
        |replay: &Replay, id: Option<AlertId>| id.and_then(|id| replay.episode(id)).and_then(|episode| episode.now);
    let mut ask = |replay: &mut Replay, episodes: &[Option<AlertId>], until: Timestamp| {
        while let Some((at, fault)) = due.pop_if(|(at, _)| *at <= until) {
            replay.pass(at);
            let ids: BTreeSet<AlertId> = faults[fault].alerts.iter().filter_map(|&row| episodes[row]).collect();
            let holds_most = most_often(ids.into_iter().filter_map(|id| incident(replay, Some(id))));
            named[fault] = holds_most.map(|incident| replay.ranking(incident)).unwrap_or_default();
        }
    };
    for Alert { at, entity, kind, name, caller, label: _, fault: _ } in alerts {
        ask(&mut replay, &episodes, *at);
        let labels = [("alertname", &**name), ("entity", entity), ("kind", kind), ("caller", caller)];
        let id = replay.post(*at, Source::AlertmanagerApi, &body(&labels, &[], *at, VALID)).first().copied().flatten();
        // A repeat belongs where its episode is by now.
        at_arrival.push(incident(&replay, id));
        episodes.push(id);
    }
    let end = replay.now() + Duration::from_secs(86_400);
    ask(&mut replay, &episodes, end);
    replay.pass(end);
    let last = episodes.iter().map(|&id| incident(&replay, id)).collect();
    Decided { episodes, at_arrival, last, named }
}
