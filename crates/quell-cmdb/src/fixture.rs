//! Graphs for tests, written as text: `a>b` (a depends on b), `a>b/pair` (as one of the alternatives `pair`),
//! `!a/pair=2` (at least 2 of them), `a>b@5` (last seen 5 seconds after 1970), `a:service:high` gives a CI a kind and a
//! criticality.
//! Absent on purpose: anything a shipped program would use.

use std::collections::BTreeMap;

use quell_domain::{Ci, CiId, Criticality, Redundancy, Relationship, Timestamp, Topology};

use crate::graph::{CiIx, Graph};

/// The graph written in `text`.
pub(crate) fn graph(text: &str) -> Graph {
    let mut cis: BTreeMap<String, Ci> = BTreeMap::new();
    let (mut relationships, mut redundancies) = (Vec::new(), Vec::new());
    for word in text.split_whitespace() {
        if let Some(rule) = word.strip_prefix('!') {
            let (group, at_least) = rule.split_once('=').expect("!ci/group=n");
            let (ci, name) = group.split_once('/').expect("!ci/group=n");
            let at_least = at_least.parse().expect("a number");
            redundancies.push(Redundancy { ci: CiId::new(ci), name: name.into(), at_least });
            continue;
        }
        let (from, to) = word.split_once('>').expect("a>b");
        let (to, seen) = to.split_once('@').map_or((to, None), |(to, at)| (to, Some(at.parse().expect("seconds"))));
        let (to, redundancy) = to.split_once('/').map_or((to, None), |(to, name)| (to, Some(name.to_owned())));
        let (from, to) = (declare(&mut cis, from), (declare(&mut cis, to), seen));
        let (to, seen) = to;
        let last_seen = seen.map(Timestamp::from_seconds);
        relationships.push(Relationship { redundancy, last_seen, ..Relationship::new(from, to, "depends_on") });
    }
    Graph::new(Topology::new(cis.into_values().collect(), relationships, redundancies).expect("a sound topology"))
}

fn declare(cis: &mut BTreeMap<String, Ci>, text: &str) -> CiId {
    let mut parts = text.split(':');
    let id = parts.next().unwrap_or_default();
    let kind = parts.next().unwrap_or("host").to_owned();
    let criticality = parts.next().and_then(Criticality::from_name).unwrap_or_default();
    let entry = cis.entry(id.to_owned()).or_insert_with(|| Ci { criticality, ..Ci::new(id, &kind) });
    entry.id.clone()
}

/// The indices of CIs, by their ids.
pub(crate) fn ids(graph: &Graph, text: &str) -> Vec<CiIx> {
    text.split_whitespace().map(|id| graph.find(&CiId::new(id)).expect("a CI of the graph")).collect()
}
