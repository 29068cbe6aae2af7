//! What was learned, ready to be asked: by index of the graph in force.
//!
//! Absent on purpose: learning (`learn`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use quell_cmdb::{CiIx, Graph};

use crate::learn::{Fired, Learned, NameSeen};

/// How many times likelier or unlikelier a name makes chance, at most: names change with every release.
const NAME_BOUND: f64 = 8.0;

/// Troubles that the setting counts as much as; with more learned ones, history outweighs it.
const PRIOR: f64 = 3.0;

/// The part of an incident in which whatever was never seen is taken for seen: where nothing is learned yet, what
/// alerts is four times likelier to be in trouble than not.
const SEEN: f64 = 0.25;

type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// See [`Learned`].
#[derive(Debug, Default)]
pub(crate) struct History {
    learned: Arc<Learned>,
    troubles: Map<CiIx, f64>,
    fired: Map<CiIx, BTreeMap<String, Fired>>,
    alerted: Map<CiIx, u32>,
    /// On how many CIs alerts of a name fired, and the least value they told.
    spread: HashMap<String, (u32, Option<f64>), BuildHasherDefault<DefaultHasher>>,
    fellows: Map<CiIx, Vec<(CiIx, f64)>>,
    /// Troubles of all CIs, and the episodes weighed as such.
    all: f64,
    cis: f64,
    /// Kinds of CIs of which any ever alerted.
    heard: BTreeSet<String>,
}

impl History {
    /// What was learned, for this graph.
    pub(crate) fn new(learned: Arc<Learned>, graph: &Graph) -> Self {
        let troubles: Map<CiIx, f64> =
            learned.troubles.iter().filter_map(|(ci, &count)| Some((graph.find(ci)?, count))).collect();
        let known = learned.troubles.keys().filter_map(|ci| graph.find(ci));
        let heard = known.map(|ci| graph.ci(ci).kind.clone()).collect();
        let mut fellows: Map<CiIx, Vec<(CiIx, f64)>> = Map::default();
        for (ci, others) in &learned.fellows {
            let Some(ci) = graph.find(ci) else { continue };
            let others = others.iter().filter_map(|fellow| Some((graph.find(&fellow.ci)?, fellow.share)));
            fellows.insert(ci, others.collect());
        }
        let mut fired: Map<CiIx, BTreeMap<String, Fired>> = Map::default();
        let mut spread: HashMap<String, (u32, Option<f64>), _> = HashMap::default();
        for (ci, names) in &learned.fired {
            let Some(ci) = graph.find(ci) else { continue };
            for (name, seen) in names {
                let (cis, least) = spread.entry(name.clone()).or_default();
                *cis += 1;
                *least = least.iter().chain(&seen.values).copied().reduce(f64::min);
            }
            fired.insert(ci, names.clone());
        }
        let alerted = learned.alerted.iter().filter_map(|(ci, &seen)| Some((graph.find(ci)?, seen))).collect();
        let all = learned.troubles.values().sum();
        let cis = f64::from(u32::try_from(graph.len()).unwrap_or(u32::MAX)).max(1.0);
        History { learned, troubles, fired, alerted, spread, fellows, all, cis, heard }
    }

    /// The artefact.
    pub(crate) fn learned(&self) -> &Arc<Learned> {
        &self.learned
    }

    /// True when a CI of this one's kind ever alerted: then somebody watches them.
    pub(crate) fn heard(&self, graph: &Graph, ci: CiIx) -> bool {
        self.heard.contains(&graph.ci(ci).kind)
    }

    /// How many troubles of its own a CI has a second: its own count, drawn to the mean of all CIs, and that to the
    /// setting, the more the less was seen.
    pub(crate) fn chance(&self, ci: CiIx, background: Duration) -> f64 {
        let (seconds, mean) = self.mean(background);
        let own = self.troubles.get(&ci).copied().unwrap_or(0.0);
        (own + 1.0) / (seconds + 1.0 / mean)
    }

    /// The least that [`Self::chance`] and [`Self::alone`] come to together.
    pub(crate) fn least_chance(&self, background: Duration) -> f64 {
        let (seconds, mean) = self.mean(background);
        1.0 / (seconds + 1.0 / mean) / NAME_BOUND
    }

    /// Seconds that were learned from, and how many troubles of its own a CI has a second on average.
    pub(crate) fn mean(&self, background: Duration) -> (f64, f64) {
        let setting = 1.0 / background.as_secs_f64().max(1e-6);
        let seconds = self.learned.seconds;
        // Without a graph there is no CI to ask for.
        (seconds, (self.all + PRIOR) / (seconds * self.cis.max(1.0) + PRIOR / setting))
    }

    /// How many troubles that several CIs show strike each CI within `span`; one all in all before anything is known.
    pub(crate) fn struck(&self, span: Duration) -> f64 {
        let span = span.as_secs_f64();
        (self.incidents() + 1.0) * span / ((self.learned.seconds + span) * self.cis.max(1.0))
    }

    /// The share of the alerts that the CMDB knows no CI for.
    pub(crate) fn unknown(&self) -> f64 {
        let count = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        count(self.learned.unbound) / count(self.learned.episodes).max(1.0)
    }

    /// How many times likelier an alert of this name comes by chance than any alert does.
    pub(crate) fn alone(&self, name: &str) -> f64 {
        let Some(&NameSeen { seen, alone, .. }) = self.learned.names.get(name) else { return 1.0 };
        let count = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let (episodes, all) =
            (count(self.learned.episodes), self.learned.names.values().map(|name| name.alone).sum::<f64>());
        let together = count(seen) - alone;
        // Shrunk to the mean of all names by one episode.
        let mean = all / episodes.max(1.0);
        let chance = (alone + mean) / (all + mean).max(1e-9);
        let storm = (together + 1.0 - mean) / (episodes - all + 1.0 - mean).max(1e-9);
        (chance / storm.max(1e-9)).clamp(1.0 / NAME_BOUND, NAME_BOUND)
    }

    /// How surprising an alert of this name on this CI is: minus the logarithm of how often it fired in earlier
    /// incidents, being as far off as now.
    pub(crate) fn rarity(&self, ci: CiIx, name: &str, value: Option<f64>) -> f64 {
        let fired = self.fired.get(&ci).and_then(|names| names.get(name));
        ((self.incidents() + 1.0) / (fired.map_or(0.0, |fired| times(fired, value)) + SEEN)).ln().max(0.0)
    }

    /// True when an alert of this name fired on this CI in an earlier incident.
    pub(crate) fn knows(&self, ci: CiIx, name: &str) -> bool {
        self.fired.get(&ci).is_some_and(|names| names.contains_key(name))
    }

    /// On how many CIs alerts of a name fired, and the least value they told.
    pub(crate) fn spread(&self, name: &str) -> (u32, Option<f64>) {
        self.spread.get(name).copied().unwrap_or_default()
    }

    /// In which share of all incidents it alerts, above 0.
    pub(crate) fn busy(&self, ci: CiIx) -> f64 {
        let alerted = self.alerted.get(&ci).copied().unwrap_or(0);
        ((f64::from(alerted) + SEEN) / (self.incidents() + 1.0)).min(1.0)
    }

    /// Incidents that chance is a share of: those of several CIs. What fires alone as well is the less surprising.
    fn incidents(&self) -> f64 {
        f64::from(u32::try_from(self.learned.several).unwrap_or(u32::MAX))
    }

    /// Seconds by which an alert of this name is late, as a rule.
    pub(crate) fn delay(&self, name: &str) -> f64 {
        self.learned.names.get(name).map_or(0.0, |seen| seen.delay)
    }

    /// CIs that tend to alert together with one, each with how often.
    pub(crate) fn fellows(&self, ci: CiIx) -> &[(CiIx, f64)] {
        self.fellows.get(&ci).map_or(&[], Vec::as_slice)
    }
}

/// In how many incidents it fired and was as far off; where no value is told, in how many it fired.
fn times(fired: &Fired, value: Option<f64>) -> f64 {
    let incidents = f64::from(fired.incidents);
    match value {
        Some(value) if !fired.values.is_empty() => {
            let count = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
            let farther = fired.values.iter().filter(|&&known| known >= value).count();
            incidents * count(farther) / count(fired.values.len())
        }
        _ => incidents,
    }
}
