//! How well a partition or a ranking fits the truth.
//!
//! Pairwise precision and recall, adjusted Rand index, V-measure, B³, accuracy at k. Deliberately absent: where either
//! comes from.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// One alert row (or episode): the fault it truly belongs to, `None` for noise, and the incident it was filed into,
/// `None` when into none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Filed {
    /// The truth.
    pub fault: Option<usize>,
    /// The claim.
    pub incident: Option<u64>,
}

/// How a partition compares with the truth. All but `compression` and `noise_contamination` look at alerts of faults
/// only.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct PartitionScore {
    /// Of all pairs in one incident, the share that are of one fault; 0 when there is no such pair.
    pub precision: f64,
    /// Of all pairs of one fault, the share that are in one incident.
    pub recall: f64,
    /// Their harmonic mean.
    pub pair_f1: f64,
    /// Adjusted Rand index: (index − expected) / (max − expected) over pairs.
    pub ari: f64,
    /// V-measure: the harmonic mean of homogeneity and completeness.
    pub v: f64,
    /// B³: the harmonic mean of the precision and the recall of each alert's own incident and fault.
    pub b3: f64,
    /// 1 − incidents / alerts, over all alerts.
    pub compression: f64,
    /// In how many incidents a fault's alerts are, on average.
    pub incidents_per_fault: f64,
    /// Of the incidents that hold alerts of faults, the share that hold those of several.
    pub mixing: f64,
    /// Of the noise, the share that was filed into an incident that holds alerts of faults.
    pub noise_contamination: f64,
    /// Alerts of faults in no incident at all.
    pub missed: usize,
}

fn float(count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of alerts are far below 2^52")]
    let float = count as f64;
    float
}

fn pairs(count: usize) -> f64 {
    float(count) * (float(count) - 1.0) / 2.0
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn harmonic(a: f64, b: f64) -> f64 {
    ratio(2.0 * a * b, a + b)
}

/// Scores a partition.
#[must_use]
pub fn partition(filed: &[Filed]) -> PartitionScore {
    // What is in no incident is alone: a cluster of its own, beyond every real number of an incident.
    let mut alone = u64::MAX;
    let mut of_faults: Vec<(usize, u64)> = Vec::new();
    let (mut all, mut missed) = (BTreeSet::new(), 0);
    for Filed { fault, incident } in filed {
        let incident = incident.unwrap_or_else(|| {
            alone -= 1;
            alone
        });
        all.insert(incident);
        missed += usize::from(fault.is_some() && incident >= alone);
        of_faults.extend(fault.map(|fault| (fault, incident)));
    }
    let count = |keys: &mut dyn Iterator<Item = u64>| -> BTreeMap<u64, usize> {
        let mut counts = BTreeMap::new();
        keys.for_each(|key| *counts.entry(key).or_default() += 1);
        counts
    };
    let faults = count(&mut of_faults.iter().map(|&(fault, _)| fault as u64));
    let incidents = count(&mut of_faults.iter().map(|&(_, incident)| incident));
    let mut cells: BTreeMap<(usize, u64), usize> = BTreeMap::new();
    of_faults.iter().for_each(|&cell| *cells.entry(cell).or_default() += 1);
    let n = of_faults.len();
    let sum = |counts: &mut dyn Iterator<Item = usize>| counts.map(pairs).sum::<f64>();
    let (same, claimed, true_) =
        (sum(&mut cells.values().copied()), sum(&mut incidents.values().copied()), sum(&mut faults.values().copied()));
    let (precision, recall) = (ratio(same, claimed), ratio(same, true_));
    let expected = ratio(claimed * true_, pairs(n));
    let most = f64::midpoint(claimed, true_);
    let ari = if (most - expected).abs() < 1e-12 { 1.0 } else { (same - expected) / (most - expected) };
    let mut kinds: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
    cells.keys().for_each(|&(fault, incident)| {
        kinds.entry(incident).or_default().insert(fault);
    });
    let noise: Vec<&Filed> = filed.iter().filter(|filed| filed.fault.is_none()).collect();
    let mixed_in = noise.iter().filter(|f| f.incident.is_some_and(|i| kinds.contains_key(&i))).count();
    let (mut b_precision, mut b_recall) = (0.0, 0.0);
    for (&(fault, incident), &cell) in &cells {
        b_precision += float(cell) * float(cell) / float(incidents[&incident]);
        b_recall += float(cell) * float(cell) / float(faults[&(fault as u64)]);
    }
    PartitionScore {
        precision,
        recall,
        pair_f1: harmonic(precision, recall),
        ari,
        v: v_measure(n, &faults, &incidents, &cells),
        b3: harmonic(ratio(b_precision, float(n)), ratio(b_recall, float(n))),
        compression: 1.0 - ratio(float(all.len()), float(filed.len())),
        incidents_per_fault: ratio(float(cells.len()), float(faults.len())),
        mixing: ratio(float(kinds.values().filter(|faults| faults.len() > 1).count()), float(kinds.len())),
        noise_contamination: ratio(float(mixed_in), float(noise.len())),
        missed,
    }
}

/// Homogeneity 1 − H(C|K)/H(C) and completeness 1 − H(K|C)/H(K), their harmonic mean.
fn v_measure(
    n: usize,
    faults: &BTreeMap<u64, usize>,
    incidents: &BTreeMap<u64, usize>,
    cells: &BTreeMap<(usize, u64), usize>,
) -> f64 {
    let entropy = |counts: &mut dyn Iterator<Item = usize>| -> f64 {
        counts.map(|count| float(count) / float(n)).map(|share| -share * share.ln()).sum()
    };
    let (true_, claimed, both) = (
        entropy(&mut faults.values().copied()),
        entropy(&mut incidents.values().copied()),
        entropy(&mut cells.values().copied()),
    );
    let known = |whole: f64, given: f64| if whole > 0.0 { 1.0 - (both - given) / whole } else { 1.0 };
    harmonic(known(true_, claimed), known(claimed, true_))
}

/// The fault that each incident speaks for: the one that most of its alerts belong to; of equals the earlier one.
#[must_use]
pub fn spoken_for(filed: &[Filed]) -> BTreeMap<u64, usize> {
    let mut held: BTreeMap<u64, BTreeMap<usize, usize>> = BTreeMap::new();
    for Filed { fault, incident } in filed {
        if let (Some(fault), Some(incident)) = (fault, incident) {
            *held.entry(*incident).or_default().entry(*fault).or_default() += 1;
        }
    }
    let most = |held: BTreeMap<usize, usize>| held.into_iter().max_by_key(|&(fault, held)| (held, Reverse(fault)));
    held.into_iter().filter_map(|(incident, held)| Some((incident, most(held)?.0))).collect()
}

/// The incident that comes most often; of equals the older one.
#[must_use]
pub fn most_often(incidents: impl Iterator<Item = u64>) -> Option<u64> {
    let mut held: BTreeMap<u64, usize> = BTreeMap::new();
    incidents.for_each(|incident| *held.entry(incident).or_default() += 1);
    held.into_iter().max_by_key(|&(incident, held)| (held, Reverse(incident))).map(|(incident, _)| incident)
}

/// How well rankings name the root.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct RankScore {
    /// Faults ranked.
    pub faults: usize,
    /// Share of them whose root is among the first 1, 2, 3, 4, 5.
    pub at: [f64; 5],
    /// Share of them whose first cause stands out, and share whose first cause stands out and is right; 0 for whoever
    /// never says that nothing does.
    pub sure: [f64; 2],
}

impl RankScore {
    /// Of the faults of both.
    #[must_use]
    pub fn with(self, other: RankScore) -> RankScore {
        let faults = self.faults + other.faults;
        let (mine, theirs) = (float(self.faults), float(other.faults));
        let both = |a: f64, b: f64| ratio(a * mine + b * theirs, float(faults));
        let at = std::array::from_fn(|k| both(self.at[k], other.at[k]));
        let sure = std::array::from_fn(|k| both(self.sure[k], other.sure[k]));
        RankScore { faults, at, sure }
    }

    /// Of those whose first cause stands out, the share that is right.
    #[must_use]
    pub fn right(&self) -> f64 {
        ratio(self.sure[1], self.sure[0])
    }

    /// Mean of AC@1 to AC@5.
    #[must_use]
    pub fn average(&self) -> f64 {
        self.at.iter().sum::<f64>() / 5.0
    }
}

/// Scores rankings: for each fault the scores of those candidates that have one, and its root. A candidate without a
/// score comes after all that have one; of equals, each place counts by its share.
#[must_use]
pub fn ranking<'a>(candidates: &BTreeSet<&str>, rankings: &[(BTreeMap<&'a str, f64>, &'a str)]) -> RankScore {
    let mut at = [0.0; 5];
    for (scores, root) in rankings {
        let of = |candidate: &str| scores.get(candidate).copied().unwrap_or(f64::NEG_INFINITY);
        let mine = of(root);
        let better = candidates.iter().filter(|candidate| of(candidate) > mine).count();
        let equal = candidates.iter().filter(|candidate| of(candidate) == mine).count();
        if candidates.contains(root) {
            for (k, share) in (1..).zip(&mut at) {
                *share += ((float(k) - float(better)) / float(equal)).clamp(0.0, 1.0);
            }
        }
    }
    RankScore { faults: rankings.len(), at: at.map(|sum| ratio(sum, float(rankings.len()))), sure: [0.0; 2] }
}

/// How often the best belief of a ranking is at least `least`, and how often it is and belongs to the root, as shares
/// of all rankings.
#[must_use]
pub fn sure(rankings: &[(BTreeMap<&str, f64>, &str)], least: f64) -> [f64; 2] {
    let best = |scores: &BTreeMap<&str, f64>| scores.values().copied().fold(0.0, f64::max);
    let stands: Vec<_> = rankings.iter().filter(|(scores, _)| best(scores) >= least).collect();
    let right = stands.iter().filter(|(scores, root)| scores.get(root) == Some(&best(scores)));
    [stands.len(), right.count()].map(|count| ratio(float(count), float(rankings.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_speaks_for_the_fault_with_most_of_its_alerts() {
        let filed = [(Some(0), 7), (Some(1), 7), (Some(1), 7), (Some(3), 8), (Some(2), 8), (None, 9), (None, 9)];
        let filed = filed.map(|(fault, incident)| Filed { fault, incident: Some(incident) });
        assert_eq!(spoken_for(&filed), BTreeMap::from([(7, 1), (8, 2)]));
        assert_eq!(most_often([3, 1, 2, 2, 1].into_iter()), Some(1));
        assert_eq!(most_often(std::iter::empty()), None);
    }

    fn filed(cells: &[(&str, &str)]) -> Vec<Filed> {
        let number = |word: &str| word.bytes().next().map(u64::from);
        cells
            .iter()
            .map(|(fault, incident)| Filed {
                fault: number(fault).and_then(|n| usize::try_from(n).ok()),
                incident: number(incident),
            })
            .collect()
    }

    #[test]
    fn a_partition_by_hand() {
        // Fault a: two alerts in x, one in y; fault b: one in y; noise: one in y, one alone.
        let score = partition(&filed(&[("a", "x"), ("a", "x"), ("a", "y"), ("b", "y"), ("", "y"), ("", "z")]));
        let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-9, "{found}, not {wanted}");
        near(score.precision, 1.0 / 2.0);
        near(score.recall, 1.0 / 3.0);
        near(score.pair_f1, 0.4);
        // Index 1, expected 2·3/6 = 1.
        near(score.ari, 0.0);
        // Precision (1 + 1 + ½ + ½)/4, recall (⅔ + ⅔ + ⅓ + 1)/4.
        near(score.b3, 2.0 * 0.75 * (2.0 / 3.0) / (0.75 + 2.0 / 3.0));
        near(score.compression, 0.5);
        near(score.incidents_per_fault, 1.5);
        near(score.mixing, 0.5);
        near(score.noise_contamination, 0.5);
    }

    #[test]
    fn the_truth_scores_one_and_what_is_in_no_incident_is_missed() {
        let truth = filed(&[("a", "x"), ("a", "x"), ("b", "y"), ("b", "y"), ("", "z")]);
        let score = partition(&truth);
        assert_eq!([score.pair_f1, score.ari, score.v, score.b3, score.incidents_per_fault], [1.0; 5]);
        assert_eq!((score.noise_contamination, score.missed), (0.0, 0));
        let mut lost = truth;
        lost[0].incident = None;
        assert_eq!(partition(&lost).missed, 1);
        assert!(partition(&lost).b3 < 1.0);
    }

    #[test]
    fn who_stands_out_may_be_right() {
        let scores = |pairs: &[(&'static str, f64)]| pairs.iter().copied().collect::<BTreeMap<_, _>>();
        let right = (scores(&[("a", 0.6), ("b", 0.2)]), "a");
        let wrong = (scores(&[("a", 0.5)]), "b");
        let unsure = (scores(&[("a", 0.4), ("b", 0.4)]), "a");
        assert_eq!(sure(&[right, wrong, unsure.clone(), unsure], 0.5), [0.5, 0.25]);
    }

    #[test]
    fn equals_share_their_places() {
        let candidates = BTreeSet::from(["a", "b", "c", "d"]);
        let check = |scores: &[(&'static str, f64)], root, expected: [f64; 5]| {
            let scores = scores.iter().copied().collect();
            assert_eq!(ranking(&candidates, &[(scores, root)]).at, expected);
        };
        check(&[("a", 2.0), ("b", 1.0)], "a", [1.0; 5]);
        check(&[("a", 2.0), ("b", 1.0)], "b", [0.0, 1.0, 1.0, 1.0, 1.0]);
        check(&[("a", 1.0), ("b", 1.0)], "b", [0.5, 1.0, 1.0, 1.0, 1.0]);
        check(&[("a", 1.0)], "d", [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0, 1.0]);
        check(&[("a", 1.0)], "unheard of", [0.0; 5]);
    }
}
