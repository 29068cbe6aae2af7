//! How good a forecast was.
//!
//! Ties count at their expected value, so that no measure depends on the order of rows.
//! Absent on purpose: any judgement of whether that is good enough.

/// Indices by falling score; equal scores stay in order.
fn by_score(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order
}

/// Runs of equal scores from the highest down, each with its rows and how many of them are hits.
fn runs(scores: &[f64], labels: &[bool]) -> Vec<(f64, f64)> {
    let order = by_score(scores);
    let same = |a: &usize, b: &usize| scores[*a].total_cmp(&scores[*b]).is_eq();
    order.chunk_by(same).map(|run| (run.len() as f64, run.iter().filter(|&&row| labels[row]).count() as f64)).collect()
}

/// Average precision: the sum over falling thresholds of precision times the gain in recall, rows of one score taken
/// together (as scikit-learn has it). `None` without a hit.
#[must_use]
pub fn pr_auc(scores: &[f64], labels: &[bool]) -> Option<f64> {
    let (mut rows, mut hits, mut sum) = (0.0, 0.0, 0.0);
    for (run_rows, run_hits) in runs(scores, labels) {
        rows += run_rows;
        hits += run_hits;
        sum += run_hits * hits / rows;
    }
    (hits > 0.0).then(|| sum / hits)
}

/// Rows in the order of their scores, to be weighted again and again.
pub(crate) struct Ranking {
    /// Rows of one score stand together; each with whether it was a hit.
    runs: Vec<Vec<(usize, bool)>>,
}

impl Ranking {
    pub(crate) fn of(scores: &[f64], labels: &[bool]) -> Ranking {
        let order = by_score(scores);
        let same = |a: &usize, b: &usize| scores[*a].total_cmp(&scores[*b]).is_eq();
        Ranking { runs: order.chunk_by(same).map(|run| run.iter().map(|&row| (row, labels[row])).collect()).collect() }
    }

    /// Average precision with each row counted as often as `weight` says; 0 where no hit has weight.
    pub(crate) fn weighted(&self, weight: impl Fn(usize) -> f64) -> f64 {
        let (mut rows, mut hits, mut sum) = (0.0, 0.0, 0.0);
        for run in &self.runs {
            let mut run_hits = 0.0;
            for &(row, hit) in run {
                rows += weight(row);
                run_hits += if hit { weight(row) } else { 0.0 };
            }
            hits += run_hits;
            if run_hits > 0.0 {
                sum += run_hits * hits / rows;
            }
        }
        if hits > 0.0 { sum / hits } else { 0.0 }
    }
}

/// The chance that a hit scores higher than a miss (Mann and Whitney), ties counting one half. `None` with one class.
#[must_use]
pub fn roc_auc(scores: &[f64], labels: &[bool]) -> Option<f64> {
    let (mut hits, mut misses, mut won) = (0.0, 0.0, 0.0);
    for (run_rows, run_hits) in runs(scores, labels) {
        let run_misses = run_rows - run_hits;
        won += run_misses * (hits + run_hits / 2.0);
        hits += run_hits;
        misses += run_misses;
    }
    (hits > 0.0 && misses > 0.0).then(|| won / (hits * misses))
}

/// The mean squared distance of probabilities from what came (Brier, 1950). 0 without rows.
#[must_use]
pub fn brier(probabilities: &[f64], labels: &[bool]) -> f64 {
    let sum: f64 = probabilities.iter().zip(labels).map(|(p, &hit)| (p - f64::from(u8::from(hit))).powi(2)).sum();
    sum / probabilities.len().max(1) as f64
}

/// The mean negative logarithm of the probability given to what came; probabilities are kept 1e-9 from 0 and 1.
#[must_use]
pub fn log_loss(probabilities: &[f64], labels: &[bool]) -> f64 {
    let sum: f64 = probabilities.iter().zip(labels).map(|(&p, &hit)| surprise(p, hit)).sum();
    sum / probabilities.len().max(1) as f64
}

/// The negative logarithm of the probability given to what came.
pub(crate) fn surprise(probability: f64, hit: bool) -> f64 {
    let given = if hit { probability } else { 1.0 - probability };
    -given.max(1e-9).ln()
}

/// Rows of one bin of a calibration curve.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bin {
    /// How many.
    pub rows: usize,
    /// Their mean probability.
    pub forecast: f64,
    /// The share that came.
    pub observed: f64,
}

/// The calibration curve: rows by rising probability in bins of equal count, the first bins one larger where it does
/// not divide (as `numpy.array_split` has it). No bin is empty.
#[must_use]
pub fn calibration(probabilities: &[f64], labels: &[bool], bins: usize) -> Vec<Bin> {
    let mut order = by_score(probabilities);
    order.reverse();
    let (size, larger) = (order.len() / bins.max(1), order.len() % bins.max(1));
    let mut curve = Vec::new();
    let mut rest = order.as_slice();
    for bin in 0..bins {
        let (rows, after) = rest.split_at(size + usize::from(bin < larger));
        rest = after;
        if rows.is_empty() {
            continue;
        }
        let forecast = rows.iter().map(|&row| probabilities[row]).sum::<f64>() / rows.len() as f64;
        let observed = rows.iter().filter(|&&row| labels[row]).count() as f64 / rows.len() as f64;
        curve.push(Bin { rows: rows.len(), forecast, observed });
    }
    curve
}

/// Expected calibration error: the mean distance of forecast and observed over 10 bins of equal count.
#[must_use]
pub fn ece(probabilities: &[f64], labels: &[bool]) -> f64 {
    let curve = calibration(probabilities, labels, 10);
    let distance = |bin: &Bin| bin.rows as f64 * (bin.observed - bin.forecast).abs();
    curve.iter().map(distance).sum::<f64>() / probabilities.len().max(1) as f64
}

/// The share of hits among the `k` highest scores, a tie at the edge counting at its expected value; over fewer rows
/// than `k`, among all. `None` without rows.
#[must_use]
pub fn precision_at(scores: &[f64], labels: &[bool], k: usize) -> Option<f64> {
    let wanted = k.min(scores.len()) as f64;
    let (mut rows, mut hits) = (0.0, 0.0);
    for (run_rows, run_hits) in runs(scores, labels) {
        let taken = run_rows.min(wanted - rows);
        hits += run_hits * taken / run_rows;
        rows += taken;
        if rows >= wanted {
            break;
        }
    }
    (rows > 0.0).then(|| hits / rows)
}

/// Harrell's concordance: of the pairs whose order is known, the share that the predicted times put right, ties of the
/// prediction counting one half. A pair is known when the shorter time ended in an event. `None` without such a pair.
///
/// `times` and `events` say how long was waited and whether it came; O(n log n).
#[must_use]
pub fn concordance(predicted: &[f64], times: &[f64], events: &[bool]) -> Option<f64> {
    let mut ranked: Vec<f64> = predicted.to_vec();
    ranked.sort_by(f64::total_cmp);
    ranked.dedup();
    let rank = |value: f64| ranked.partition_point(|&other| other < value);
    // Counts by rank of the prediction among the rows that waited longer (a Fenwick tree).
    let mut tree = vec![0.0; ranked.len() + 1];
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by(|&a, &b| times[b].total_cmp(&times[a]));
    let (mut longer, mut right, mut pairs) = (0.0, 0.0, 0.0);
    let same = |a: &usize, b: &usize| times[*a].total_cmp(&times[*b]).is_eq();
    for run in order.chunk_by(same) {
        for &row in run.iter().filter(|&&row| events[row]) {
            let at = rank(predicted[row]);
            let (below, up_to) = (prefix(&tree, at), prefix(&tree, at + 1));
            right += (longer - up_to) + (up_to - below) / 2.0;
            pairs += longer;
        }
        for &row in run {
            let mut at = rank(predicted[row]) + 1;
            while at < tree.len() {
                tree[at] += 1.0;
                at += at & at.wrapping_neg();
            }
            longer += 1.0;
        }
    }
    (pairs > 0.0).then(|| right / pairs)
}

/// The sum of the first `end` counts of a Fenwick tree.
fn prefix(tree: &[f64], end: usize) -> f64 {
    let (mut at, mut sum) = (end, 0.0);
    while at > 0 {
        sum += tree[at];
        at &= at - 1;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<f64>, wanted: f64) {
        assert!((found.expect("a value") - wanted).abs() < 1e-12, "found {found:?}, wanted {wanted}");
    }

    #[test]
    fn ranking_measures_agree_with_hand_counts() {
        let labels = [true, false, true, false];
        // Thresholds .8, .4, .35, .1: precisions 1, 1/2, 2/3 where recall grows by 1/2, 0, 1/2.
        near(pr_auc(&[0.8, 0.4, 0.35, 0.1], &labels), 0.5 + 0.5 * 2.0 / 3.0);
        near(roc_auc(&[0.8, 0.4, 0.35, 0.1], &labels), 0.75);
        near(pr_auc(&[0.3; 4], &labels), 0.5);
        near(roc_auc(&[0.3; 4], &labels), 0.5);
        assert_eq!(pr_auc(&[0.1], &[false]), None);
        assert_eq!(roc_auc(&[0.1], &[true]), None);
    }

    #[test]
    fn precision_at_k_shares_a_tie_at_the_edge() {
        near(precision_at(&[0.9, 0.5, 0.5, 0.5], &[true, true, false, false], 2), (1.0 + 1.0 / 3.0) / 2.0);
        near(precision_at(&[0.9], &[true], 50), 1.0);
        assert_eq!(precision_at(&[], &[], 50), None);
    }

    #[test]
    fn probabilities_are_judged_by_their_distance() {
        assert!((brier(&[1.0, 0.5], &[true, false]) - 0.125).abs() < 1e-12);
        assert!(
            (ece(&[0.2; 10], &[true, false, false, false, false, false, false, false, false, true]) - 0.32).abs()
                < 1e-9
        );
        let curve = calibration(&[0.1, 0.9, 0.2], &[false, true, true], 2);
        assert_eq!(curve.iter().map(|bin| (bin.rows, bin.observed)).collect::<Vec<_>>(), [(2, 0.5), (1, 1.0)]);
    }

    #[test]
    fn concordance_agrees_with_counting_pairs() {
        // Times 1 (event), 2 (censored), 3 (event): known pairs are (1,2) and (1,3).
        near(concordance(&[5.0, 4.0, 9.0], &[1.0, 2.0, 3.0], &[true, false, true]), 0.5);
        near(concordance(&[5.0, 5.0, 9.0], &[1.0, 2.0, 3.0], &[true, false, true]), 0.75);
        assert_eq!(concordance(&[1.0, 2.0], &[1.0, 1.0], &[true, true]), None);
    }
}
