//! A recorded stream of alerts whose true incidents are known: what quell files where.
//!
//! Deliberately absent: the method; the engine is the one that ships, with the settings that ship.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quell_cmdb::Graph;
use quell_domain::{AlertId, Digest, Source, Timestamp};
use quell_engine::Settings;

use super::baselines::{self, Seen, WINDOW};
use super::files::{FolderFault, Map, Table};
use super::measure::{Filed, PartitionScore, partition};
use super::replay::{Replay, body};

/// How long an alert is valid after its row.
const VALID: Duration = Duration::from_secs(60);
/// Rows may count from zero; the engine is then told of instants after this one.
const EPOCH: Timestamp = Timestamp::from_seconds(1_700_000_000);

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
    pub last: PartitionScore,
    /// By where each alert was put when it came.
    pub at_arrival: PartitionScore,
    /// Each baseline by name.
    pub baselines: Vec<(&'static str, PartitionScore)>,
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

/// Scores a folder.
///
/// # Errors
/// When one of its files cannot be read as what it is.
pub fn measure(folder: &Path, settings: &Arc<Settings>) -> Result<Correlation, FolderFault> {
    let table = Table::read(&folder.join("alerts.csv.gz"))?;
    let truth = Table::read(&folder.join("incidents.csv"))?;
    let at = folder.join("topology.json");
    let map = Map::read(&at)?;
    let graph = Arc::new(Graph::new(map.topology(&at)?));
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    for row in truth.rows() {
        let next = numbers.len();
        numbers.entry(row.need("incident")?.to_owned()).or_insert(next);
    }
    let alerts = read(&table, &mut numbers)?;
    let truth = |incidents: &[u64]| -> Vec<Filed> {
        let pairs = alerts.iter().zip(incidents);
        pairs.map(|(alert, &incident)| Filed { fault: alert.fault, incident: Some(incident) }).collect()
    };
    let seen: Vec<Seen<'_>> =
        alerts.iter().map(|alert| Seen { at: alert.at, entity: &alert.entity, label: &alert.label }).collect();
    let scored = |incidents: &[u64]| partition(&truth(incidents));
    let (at_arrival, last) = replay(&alerts, settings, &graph);
    Ok(Correlation {
        digest: table.digest,
        alerts: alerts.len(),
        faults: numbers.len(),
        last: partition(&last),
        at_arrival: partition(&at_arrival),
        baselines: vec![
            ("every alert alone", scored(&baselines::alone(&seen))),
            ("time gap 60 s", scored(&baselines::time_gap(&seen, WINDOW))),
            ("topology ≤ 2 hops, 60 s", scored(&baselines::topology(&seen, &map, 2, WINDOW))),
            ("same label, 60 s", scored(&baselines::same_label(seen.iter().copied(), WINDOW))),
        ],
    })
}

fn read(table: &Table, numbers: &mut BTreeMap<String, usize>) -> Result<Vec<Alert>, FolderFault> {
    let label = ["system", "cluster", "name"].into_iter().find(|column| table.has(column)).unwrap_or("name");
    let mut alerts = Vec::new();
    for row in table.rows() {
        let incident = row.need("incident")?;
        let next = numbers.len();
        let at = row.time("ts")?;
        let early = at < Timestamp::from_seconds(300_000_000);
        alerts.push(Alert {
            at: if early { EPOCH + at.since(Timestamp::from_seconds(0)) } else { at },
            entity: row.need("entity")?.to_owned(),
            kind: row.get("kind").to_owned(),
            name: row.need("name")?.to_owned(),
            caller: row.get("caller").to_owned(),
            label: row.get(label).to_owned(),
            fault: (!incident.is_empty()).then(|| *numbers.entry(incident.to_owned()).or_insert(next)),
        });
    }
    alerts.sort_by_key(|alert| alert.at);
    Ok(alerts)
}

/// What the engine makes of it: at arrival, and in the end.
fn replay(alerts: &[Alert], settings: &Arc<Settings>, graph: &Arc<Graph>) -> (Vec<Filed>, Vec<Filed>) {
    let start = alerts.first().map_or(EPOCH, |alert| alert.at);
    let mut replay = Replay::new(settings, graph, start);
    let mut episodes: Vec<Option<AlertId>> = Vec::with_capacity(alerts.len());
    let mut at_arrival = Vec::with_capacity(alerts.len());
    for Alert { at, entity, kind, name, caller, label: _, fault } in alerts {
        let labels = [("alertname", &**name), ("entity", entity), ("kind", kind), ("caller", caller)];
        let id = replay.post(*at, Source::AlertmanagerApi, &body(&labels, &[], *at, VALID)).first().copied().flatten();
        // A repeat belongs where its episode is by now.
        let incident = id.and_then(|id| replay.episode(id)).and_then(|episode| episode.now);
        at_arrival.push(Filed { fault: *fault, incident });
        episodes.push(id);
    }
    replay.pass(replay.now() + Duration::from_secs(86_400));
    let last = alerts.iter().zip(&episodes).map(|(alert, id)| {
        let incident = id.and_then(|id| replay.episode(id)).and_then(|episode| episode.now);
        Filed { fault: alert.fault, incident }
    });
    (at_arrival, last.collect())
}
