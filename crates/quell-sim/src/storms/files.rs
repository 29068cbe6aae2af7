//! A storm as a folder: the formats that `quality` reads, and the CMDB as quell reads it.
//!
//! Deliberately absent: resends; a row is the start of an episode.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use quell_domain::Topology;
use serde_json::{Value, json};

use super::Storm;
use crate::quality::files::{Edge, Map, Node};

/// Writes `alerts.csv.gz`, `incidents.csv`, `faults.csv`, `changes.csv`, `topology.json` and `quell-topology.json`. The
/// folder is made if it is not there.
///
/// # Errors
/// When one of them cannot be written.
pub fn write(storm: &Storm, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let id = |part: usize| &storm.estate.parts[part].id;
    let name = |fault: usize| format!("f-{fault:04}");
    let mut alerts = "alert_id,ts_s,entity,kind,name,caller,system,incident,fault_id\n".to_owned();
    for (number, episode) in storm.episodes.iter().enumerate() {
        let (entity, job, fault) = (id(episode.part), episode.job, episode.fault.map(name).unwrap_or_default());
        let (starts, rule, zone) = (episode.starts, episode.name, storm.estate.parts[episode.part].zone + 1);
        let _ = writeln!(alerts, "{number},{starts:.3},{entity},{job},{rule},,dc1-{zone},{fault},{fault}");
    }
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(alerts.as_bytes())?;
    std::fs::write(folder.join("alerts.csv.gz"), packer.finish()?)?;
    let mut incidents = "incident,system,root_cause,fault_type,start_s,end_s,alerts\n".to_owned();
    let mut faults = "fault_id,start_s,end_s,level,root_cause,fault_type,augmented\n".to_owned();
    for (number, fault) in storm.faults.iter().enumerate() {
        let count = storm.episodes.iter().filter(|episode| episode.fault == Some(number)).count();
        let (name, root, kind, zone) =
            (name(number), id(fault.root), fault.kind.word(), storm.estate.parts[fault.root].zone + 1);
        let (begins, mended) = (fault.begins, fault.mended);
        let _ = writeln!(incidents, "{name},dc1-{zone},{root},{kind},{begins:.3},{mended:.3},{count}");
        let level = fault.kind.befalls().word();
        let _ = writeln!(faults, "{name},{begins:.3},{mended:.3},{level},{root},{kind},False");
    }
    std::fs::write(folder.join("incidents.csv"), incidents)?;
    std::fs::write(folder.join("faults.csv"), faults)?;
    let mut changes = "ts_s,told_s,entity,summary,source,names_entity,fault_id\n".to_owned();
    for change in &storm.changes {
        let (entity, fault) = (id(change.part), change.fault.map(name).unwrap_or_default());
        let (at, told, what, by, named) = (change.at, change.told, change.what, change.by, !change.vague);
        let _ = writeln!(changes, "{at:.3},{told:.3},{entity},{what} {entity},{by},{named},{fault}");
    }
    std::fs::write(folder.join("changes.csv"), changes)?;
    std::fs::write(folder.join("topology.json"), map_json(&map(&storm.cmdb)).to_string())?;
    std::fs::write(folder.join("quell-topology.json"), quell_formats::topology::encode(&storm.cmdb))
}

/// The CMDB in the words of the recorded sets: `instance_of`, `hosted_on`, and what uses what.
#[must_use]
pub fn map(cmdb: &Topology) -> Map {
    let kind = |kind: &str| match kind {
        "service" | "business_service" => "Service".to_owned(),
        "instance" => "Service_Instance".to_owned(),
        other => other[..1].to_uppercase() + &other[1..],
    };
    let nodes = cmdb.cis().iter().map(|ci| Node { id: ci.id.to_string(), kind: kind(&ci.kind) }).collect();
    let edges = cmdb.relationships().iter().map(|r| {
        let (from, to) = (r.from.to_string(), r.to.to_string());
        match (r.kind.as_str(), r.redundancy.as_deref()) {
            (_, Some("replicas")) => Edge { source: to, target: from, label: "instance_of".to_owned() },
            ("runs_on", _) => Edge { source: from, target: to, label: "hosted_on".to_owned() },
            ("depends_on", _) => Edge { source: from, target: to, label: "calls".to_owned() },
            (word, _) => Edge { source: from, target: to, label: word.to_owned() },
        }
    });
    Map { nodes, edges: edges.collect() }
}

fn map_json(map: &Map) -> Value {
    let nodes: Vec<Value> = map.nodes.iter().map(|node| json!({ "id": node.id, "type": node.kind })).collect();
    let edges: Vec<Value> =
        map.edges.iter().map(|e| json!({ "source": e.source, "target": e.target, "label": e.label })).collect();
    json!({ "nodes": nodes, "edges": edges })
}
