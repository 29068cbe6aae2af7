//! What the next incident of a trouble is expected to be like: its CI, its minutes, and how far it reaches; and the rows
//! that forecasts are kept as.
//!
//! How far it reaches is asked of the topology in force, which knows it better than incidents of a year ago. Absent on
//! purpose: the arithmetic of intervals (`quell-forecast`) and the walk over the graph (`quell-cmdb`).

use std::collections::{BTreeMap, BTreeSet};

use quell_cmdb::{CiIx, Graph, Scratch};
use quell_domain::{CiId, Digest, HistoricIncident, KeptForecast, Subject, Timestamp};
use quell_forecast::usual::{Spread, Usual};
use quell_forecast::{Forecasts, Links, NEIGHBOURS};

/// Forecasts of one subject, horizon and instant that are kept (INV-6): those ranked highest.
const KEPT: usize = 2_000;
/// CIs that one walk for a blast radius visits at most.
const WALK: usize = 20_000;

/// An incident of the past, quell's own or another system's.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    pub(crate) incident: HistoricIncident,
    pub(crate) dependents: Option<u64>,
}

/// What all forecasts of one look share.
pub(crate) struct Blank {
    pub(crate) subject: Subject,
    pub(crate) horizon: u32,
    pub(crate) at: Timestamp,
    pub(crate) scored: bool,
    pub(crate) model: Digest,
}

/// How incidents of each name usually went.
#[derive(Default)]
pub(crate) struct Usually<'a> {
    minutes: BTreeMap<&'a str, Vec<f64>>,
    dependents: BTreeMap<&'a str, Vec<f64>>,
    cis: BTreeMap<&'a str, BTreeMap<&'a CiId, u64>>,
    seen: BTreeMap<&'a str, u64>,
    spread: [Option<Spread>; 2],
}

impl<'a> Usually<'a> {
    pub(crate) fn of(past: &'a [Past]) -> Self {
        let mut usually = Usually::default();
        for Past { incident, dependents } in past {
            let name = incident.signature.as_str();
            *usually.seen.entry(name).or_default() += 1;
            if let Some(closed_at) = incident.closed_at {
                let minutes = (closed_at.micros() - incident.opened_at.micros()).max(0) as f64 / 60e6;
                usually.minutes.entry(name).or_default().push(minutes);
            }
            if let Some(dependents) = dependents {
                usually.dependents.entry(name).or_default().push(*dependents as f64);
            }
            if let Some(ci) = &incident.ci {
                *usually.cis.entry(name).or_default().entry(ci).or_default() += 1;
            }
        }
        let all = |sizes: &BTreeMap<&str, Vec<f64>>| Spread::of(&sizes.values().flatten().copied().collect::<Vec<_>>());
        usually.spread = [all(&usually.minutes), all(&usually.dependents)];
        usually
    }

    fn ci(&self, name: &str) -> Option<CiId> {
        let cis = self.cis.get(name)?;
        cis.iter().max_by_key(|(ci, count)| (**count, std::cmp::Reverse(**ci))).map(|(ci, _)| (*ci).clone())
    }

    fn minutes(&self, name: &str) -> Option<Usual> {
        self.spread[0]?.usual(self.minutes.get(name)?)
    }

    /// What depends on its CI in the topology in force, else what its incidents say, and nine in ten of these.
    fn dependents(&self, name: &str, now: Option<f64>) -> (Option<f64>, Option<[f64; 2]>) {
        let past = self.spread[1].and_then(|spread| spread.usual(self.dependents.get(name)?));
        let expected = now.or(past.map(|past| past.median));
        let between = past.zip(expected);
        (expected, between.map(|(past, now)| [past.between[0].min(now), past.between[1].max(now)]))
    }
}

/// The dependents of CIs in one graph, each walked for once.
struct Reach<'a> {
    graph: &'a Graph,
    scratch: Scratch,
    walked: BTreeMap<CiId, Option<f64>>,
}

impl Reach<'_> {
    /// How many CIs hang on one; `None` where the topology does not know it.
    fn of(&mut self, ci: &CiId) -> Option<f64> {
        if let Some(found) = self.walked.get(ci) {
            return *found;
        }
        let found = self.graph.find(ci);
        let found = found.map(|ix| self.graph.blast_in(&mut self.scratch, &[ix], WALK).dependents.len() as f64);
        self.walked.insert(ci.clone(), found);
        found
    }
}

/// What stands next to each CI that had an incident: what it depends on, and what depends on it.
pub(crate) fn links(past: &[Past], graph: &Graph) -> Links {
    let cis: BTreeSet<&CiId> = past.iter().filter_map(|past| past.incident.ci.as_ref()).collect();
    let near = |ix: CiIx| {
        let near = graph.dependencies_of(ix).iter().chain(graph.dependents_of(ix)).take(NEIGHBOURS);
        near.map(|&other| graph.ci(CiIx(other)).id.clone()).collect()
    };
    cis.into_iter().filter_map(|ci| graph.find(ci).map(|ix| (ci.clone(), near(ix)))).collect()
}

/// The rows that are kept, those ranked highest first.
pub(crate) fn rows(blank: &Blank, said: Forecasts, usually: &Usually<'_>, graph: &Graph) -> Vec<KeptForecast> {
    let Forecasts { mut forecasts, rests_on, abstains } = said;
    let abstains = abstains.map(|why| why.to_string());
    forecasts.sort_by(|a, b| b.outlook.rank.total_cmp(&a.outlook.rank).then_with(|| a.signature.cmp(&b.signature)));
    forecasts.truncate(KEPT);
    let mut reach = Reach { graph, scratch: Scratch::default(), walked: BTreeMap::new() };
    let row = |said: quell_forecast::Forecast| {
        let name = said.signature.as_str();
        let ci = usually.ci(name);
        let (dependents, dependents_between) = usually.dependents(name, ci.as_ref().and_then(|ci| reach.of(ci)));
        let minutes = usually.minutes(name);
        KeptForecast {
            at: blank.at,
            horizon: blank.horizon,
            subject: blank.subject,
            name: name.to_owned(),
            ci,
            probability: said.outlook.probability,
            interval: said.outlook.interval,
            rank: said.outlook.rank,
            baselines: said.baselines,
            rests_on: rests_on.word().to_owned(),
            abstains: abstains.clone(),
            window: said.window.map_or([None; 3], |window| [window.early, window.middle, window.late]),
            seen: usually.seen.get(name).copied().unwrap_or(0),
            dependents,
            dependents_between,
            minutes: minutes.map(|usual| usual.median),
            minutes_between: minutes.map(|usual| usual.between),
            model: blank.model,
            scored: blank.scored,
            outcome: None,
        }
    };
    forecasts.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use quell_domain::{Ci, Relationship, Signature, Topology};

    use super::*;

    fn past(name: &str, ci: &str, minutes: i64, dependents: Option<u64>) -> Past {
        let opened_at = Timestamp::from_seconds(1_800_000_000);
        let incident = HistoricIncident {
            opened_at,
            closed_at: Some(Timestamp::from_seconds(1_800_000_000 + minutes * 60)),
            signature: Signature::new(name).expect("a text"),
            ci: Some(CiId::new(ci)),
            service: None,
            priority: None,
        };
        Past { incident, dependents }
    }

    fn estate() -> Graph {
        let on = |from: &str, to: &str| Relationship::new(CiId::new(from), CiId::new(to), "depends_on");
        let cis = ["db", "shop", "web-1", "web-2"].map(|id| Ci::new(id, "host")).into();
        let ties = vec![on("web-1", "db"), on("web-2", "db"), on("shop", "web-1"), on("shop", "web-2")];
        Graph::new(Topology::new(cis, ties, vec![]).expect("sound"))
    }

    #[test]
    fn the_reach_is_asked_of_the_topology_in_force() {
        let all = [past("a", "db", 10, Some(40)), past("a", "db", 30, Some(60)), past("b", "gone", 20, Some(5))];
        let (usually, graph) = (Usually::of(&all), estate());
        let mut reach = Reach { graph: &graph, scratch: Scratch::default(), walked: BTreeMap::new() };
        let mut of = |name: &str| usually.dependents(name, usually.ci(name).as_ref().and_then(|ci| reach.of(ci)));
        let (now, between) = of("a");
        assert_eq!(now, Some(3.0), "three hang on it now, though its incidents say fifty");
        assert!(between.is_some_and(|[low, high]| low <= 3.0 && high >= 40.0), "{between:?}");
        let (past, between) = of("b");
        assert_eq!(past, Some(5.0), "a CI that is no more is as its incidents were");
        assert!(between.is_some_and(|[low, high]| low < 5.0 && high > 5.0), "one incident says little: {between:?}");
        let minutes = usually.minutes("a").expect("two were over");
        assert!(minutes.between[0] < 10.0 && minutes.between[1] > 30.0 && minutes.median == 30.0, "{minutes:?}");
    }

    #[test]
    fn neighbours_are_those_on_both_sides() {
        let all = [past("a", "web-1", 1, None), past("b", "gone", 1, None)];
        let links = links(&all, &estate());
        let near: Vec<&str> = links[&CiId::new("web-1")].iter().map(|ci| ci.as_str()).collect();
        assert_eq!((near, links.len()), (vec!["db", "shop"], 1));
    }
}
