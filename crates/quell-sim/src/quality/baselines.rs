//! What anybody would do first: the methods that quell must beat, computed on the same alerts.
//!
//! Their definitions are those of the published tables, so that known sets give known figures. Deliberately absent:
//! anything of quell's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use quell_domain::Timestamp;

use super::files::Map;

/// The window of all of them.
pub const WINDOW: Duration = Duration::from_secs(60);

/// The window of those that wait for rules which wait for minutes.
pub const LONG_WINDOW: Duration = Duration::from_secs(300);

/// What a baseline may see of an alert.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// When.
    pub at: Timestamp,
    /// On what.
    pub entity: &'a str,
    /// Of which system, or whatever else equal alerts share.
    pub label: &'a str,
}

/// Every alert alone.
#[must_use]
pub fn alone(alerts: &[Seen<'_>]) -> Vec<u64> {
    (0..alerts.len() as u64).collect()
}

/// Everything that came between two strokes of a clock that begins at `from`.
#[must_use]
pub fn time_bucket(alerts: &[Seen<'_>], from: Timestamp, width: Duration) -> Vec<u64> {
    let bucket = |alert: &Seen<'_>| alert.at.since(from).as_secs() / width.as_secs().max(1);
    alerts.iter().map(bucket).collect()
}

/// A new incident wherever nothing came for `gap`.
#[must_use]
pub fn time_gap(alerts: &[Seen<'_>], gap: Duration) -> Vec<u64> {
    same_label(alerts.iter().map(|alert| Seen { label: "", ..*alert }), gap)
}

/// The incident of the last alert of the same label, when that is not older than `gap`.
#[must_use]
pub fn same_label<'a>(alerts: impl IntoIterator<Item = Seen<'a>>, gap: Duration) -> Vec<u64> {
    let mut last: HashMap<&str, (Timestamp, u64)> = HashMap::new();
    let mut next = 0..;
    let mut file = |alert: Seen<'a>| {
        let kept = last.get(alert.label).filter(|(at, _)| alert.at.since(*at) <= gap).map(|&(_, incident)| incident);
        let incident = kept.or_else(|| next.next()).unwrap_or_default();
        last.insert(alert.label, (alert.at, incident));
        incident
    };
    alerts.into_iter().map(&mut file).collect()
}

/// The incident of the last alert within so many edges, either way, when that is not older than `gap`; of equally old
/// ones the older incident.
#[must_use]
pub fn topology(alerts: &[Seen<'_>], map: &Map, hops: usize, gap: Duration) -> Vec<u64> {
    let near = Near::new(map);
    let mut around: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut last: HashMap<&str, (Timestamp, u64)> = HashMap::new();
    let mut next = 0..;
    let mut filed = Vec::with_capacity(alerts.len());
    for alert in alerts {
        let around = around.entry(alert.entity).or_insert_with(|| near.within(alert.entity, hops));
        let recent = around.iter().filter_map(|other| last.get(other)).filter(|(at, _)| alert.at.since(*at) <= gap);
        let kept =
            recent.max_by_key(|(at, incident)| (*at, std::cmp::Reverse(*incident))).map(|&(_, incident)| incident);
        let incident = kept.or_else(|| next.next()).unwrap_or_default();
        last.insert(alert.entity, (alert.at, incident));
        filed.push(incident);
    }
    filed
}

/// Neighbours, whichever way the edge points.
struct Near<'a>(HashMap<&'a str, BTreeSet<&'a str>>);

impl<'a> Near<'a> {
    fn new(map: &'a Map) -> Self {
        let mut near: HashMap<&str, BTreeSet<&str>> = HashMap::new();
        for edge in &map.edges {
            near.entry(&edge.source).or_default().insert(&edge.target);
            near.entry(&edge.target).or_default().insert(&edge.source);
        }
        Near(near)
    }

    fn within(&self, entity: &'a str, hops: usize) -> Vec<&'a str> {
        let (mut found, mut seen) = (vec![entity], BTreeSet::from([entity]));
        let mut from = 0;
        for _ in 0..hops {
            let to = found.len();
            for at in from..to {
                let more = self.0.get(found[at]).into_iter().flatten().copied();
                let more: Vec<&str> = more.filter(|other| seen.insert(other)).collect();
                found.extend(more);
            }
            from = to;
        }
        found
    }
}

/// An alert of one fault, for ranking.
#[derive(Clone, Copy, Debug)]
pub struct Symptom<'a> {
    /// When.
    pub at: Timestamp,
    /// On which candidate.
    pub candidate: &'a str,
    /// On what exactly, and what it says: what is rare or not.
    pub pair: (&'a str, &'a str, &'a str),
    /// How far off it is, where that is known; else 1.
    pub magnitude: f64,
}

/// Scores of the candidates that have one.
pub type Scores<'a> = BTreeMap<&'a str, f64>;

/// The more alerts, the likelier.
#[must_use]
pub fn most_alerts<'a>(symptoms: &[Symptom<'a>]) -> Scores<'a> {
    let mut scores = Scores::new();
    symptoms.iter().for_each(|symptom| *scores.entry(symptom.candidate).or_default() += 1.0);
    scores
}

/// The earlier, the likelier.
#[must_use]
pub fn earliest<'a>(symptoms: &[Symptom<'a>]) -> Scores<'a> {
    let mut scores = Scores::new();
    let Some(first) = symptoms.iter().map(|symptom| symptom.at).min() else { return scores };
    for symptom in symptoms {
        let late = -symptom.at.since(first).as_secs_f64();
        scores.entry(symptom.candidate).and_modify(|score| *score = late.max(*score)).or_insert(late);
    }
    scores
}

/// The farther off, the likelier.
#[must_use]
pub fn most_off<'a>(symptoms: &[Symptom<'a>]) -> Scores<'a> {
    let mut scores = Scores::new();
    for symptom in symptoms {
        let score: &mut f64 = scores.entry(symptom.candidate).or_default();
        *score = symptom.magnitude.max(*score);
    }
    scores
}

/// The rarer what it says was in earlier faults, the likelier: the sum over distinct pairs of
/// max(0, ln((N + 1) / (df + ½))), df of N earlier faults having shown the pair.
#[derive(Debug, Default)]
pub struct Rarity<'a> {
    faults: u32,
    seen: HashMap<(&'a str, &'a str, &'a str), u32>,
}

impl<'a> Rarity<'a> {
    /// Scores a fault by those before it, then counts it among them.
    pub fn scores(&mut self, symptoms: &[Symptom<'a>]) -> Scores<'a> {
        let pairs: BTreeMap<_, &str> = symptoms.iter().map(|symptom| (symptom.pair, symptom.candidate)).collect();
        let mut scores = Scores::new();
        for (pair, candidate) in pairs {
            let seen = self.seen.entry(pair).or_default();
            let weight = ((f64::from(self.faults) + 1.0) / (f64::from(*seen) + 0.5)).ln().max(0.0);
            *scores.entry(candidate).or_default() += weight;
            *seen += 1;
        }
        self.faults += 1;
        scores.retain(|_, score| *score > 0.0);
        scores
    }
}

/// Personalised `PageRank` (α = 0.85) over the alerting candidates: from caller to callee by the callee's weight, back
/// by a tenth of the caller's, staying by one's own; restarts by weight.
#[must_use]
pub fn page_rank<'a>(weights: &Scores<'a>, calls: &BTreeSet<(&'a str, &'a str)>) -> Scores<'a> {
    const ALPHA: f64 = 0.85;
    let names: Vec<&str> = weights.keys().copied().collect();
    let index: BTreeMap<&str, usize> = names.iter().copied().zip(0..).collect();
    let total: f64 = weights.values().sum();
    if total <= 0.0 {
        return weights.clone();
    }
    let weight: Vec<f64> = weights.values().copied().collect();
    let mut out: Vec<BTreeMap<usize, f64>> = (0..names.len()).map(|at| BTreeMap::from([(at, weight[at])])).collect();
    for (caller, callee) in calls {
        if let (Some(&caller), Some(&callee)) = (index.get(caller), index.get(callee))
            && caller != callee
        {
            *out[caller].entry(callee).or_default() += weight[callee];
            *out[callee].entry(caller).or_default() += 0.1 * weight[caller];
        }
    }
    let restart: Vec<f64> = weight.iter().map(|weight| weight / total).collect();
    let mut rank = restart.clone();
    for _ in 0..100 {
        let mut next: Vec<f64> = restart.iter().map(|share| (1.0 - ALPHA) * share).collect();
        for (at, edges) in out.iter().enumerate() {
            let sum: f64 = edges.values().sum();
            if sum > 0.0 {
                edges.iter().for_each(|(&to, weight)| next[to] += ALPHA * rank[at] * weight / sum);
            } else {
                restart.iter().zip(&mut next).for_each(|(share, next)| *next += ALPHA * rank[at] * share);
            }
        }
        rank = next;
    }
    names.into_iter().zip(rank).collect()
}

/// From where the violation was seen along the calls, through what alerts: the deeper the likelier, of equals the
/// farther off.
#[must_use]
pub fn traversal<'a>(from: &'a str, symptoms: &[Symptom<'a>], calls: &BTreeSet<(&'a str, &'a str)>) -> Scores<'a> {
    let off = most_off(symptoms);
    let largest = off.values().copied().fold(1.0, f64::max);
    let mut scores = Scores::from([(from, 0.0)]);
    let (mut layer, mut depth) = (BTreeSet::from([from]), 0.0);
    while !layer.is_empty() {
        depth += 1.0;
        let callees = calls.iter().filter(|(caller, callee)| layer.contains(caller) && off.contains_key(callee));
        let next: BTreeSet<&str> = callees.map(|&(_, callee)| callee).filter(|c| !scores.contains_key(c)).collect();
        scores.extend(next.iter().map(|&callee| (callee, depth + off[callee] / (largest * 2.0))));
        layer = next;
    }
    scores
}
