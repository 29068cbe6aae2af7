//! How good forecasts were that were kept and have been marked since.
//!
//! Absent on purpose: keeping and marking them; that needs a store.

use crate::metrics::{Bin, brier, calibration, ece, pr_auc, precision_at};

/// Subjects at the top of each origin whose precision is reported.
pub const TOP: usize = 10;
/// Bins of the calibration curve.
const BINS: usize = 10;

/// One forecast and what came of it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Marked {
    /// When it was made; forecasts of one instant are ranked together.
    pub at: i64,
    /// The probability that was said.
    pub probability: f64,
    /// What its subject was ranked by.
    pub rank: f64,
    /// What the EWMA, the count of the last window, and the base rate said.
    pub baselines: [f64; 3],
    /// Hours until the incident that came; `None` when none did.
    pub lead_hours: Option<f64>,
}

/// How good one forecaster was.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct KeptScores {
    /// Average precision; `None` without a hit.
    pub pr_auc: Option<f64>,
    /// Mean squared error of the probabilities.
    pub brier: f64,
    /// Expected calibration error.
    pub ece: f64,
    /// Mean over instants of the precision among the [`TOP`] ranked highest.
    pub precision: Option<f64>,
}

/// How good all of them were on the same forecasts.
#[derive(Clone, PartialEq, Debug)]
pub struct KeptScorecard {
    /// Forecasts that were marked.
    pub rows: usize,
    /// Those after which an incident came.
    pub hits: usize,
    /// Instants at which they were made.
    pub origins: usize,
    /// quell's forecast, then the EWMA, the last window and the base rate.
    pub scores: [KeptScores; 4],
    /// quell's calibration curve.
    pub curve: Vec<Bin>,
    /// The median of the hours from a forecast among the [`TOP`] of its instant to the incident that came.
    pub lead_hours: Option<f64>,
}

/// The scorecard of marked forecasts; `None` without any.
#[must_use]
pub fn scorecard(marked: &[Marked]) -> Option<KeptScorecard> {
    let mut rows = marked.to_vec();
    if rows.is_empty() {
        return None;
    }
    rows.sort_by_key(|row| row.at);
    let labels: Vec<bool> = rows.iter().map(|row| row.lead_hours.is_some()).collect();
    let said: Vec<f64> = rows.iter().map(|row| row.probability).collect();
    let ranks: Vec<f64> = rows.iter().map(|row| row.rank).collect();
    let of = |which: usize| rows.iter().map(|row| row.baselines[which]).collect::<Vec<f64>>();
    let score = |ranks: &[f64], probabilities: &[f64]| KeptScores {
        pr_auc: pr_auc(ranks, &labels),
        brier: brier(probabilities, &labels),
        ece: ece(probabilities, &labels),
        precision: precision(&rows, ranks, &labels),
    };
    let [ewma, last, base] = [0, 1, 2].map(of);
    Some(KeptScorecard {
        rows: rows.len(),
        hits: labels.iter().filter(|hit| **hit).count(),
        origins: rows.chunk_by(|a, b| a.at == b.at).count(),
        scores: [score(&ranks, &said), score(&ewma, &ewma), score(&last, &last), score(&base, &base)],
        curve: calibration(&said, &labels, BINS),
        lead_hours: lead(&rows),
    })
}

fn precision(rows: &[Marked], ranks: &[f64], labels: &[bool]) -> Option<f64> {
    let (mut sum, mut origins, mut from) = (0.0, 0.0, 0);
    for origin in rows.chunk_by(|a, b| a.at == b.at) {
        let to = from + origin.len();
        sum += precision_at(&ranks[from..to], &labels[from..to], TOP)?;
        origins += 1.0;
        from = to;
    }
    (origins > 0.0).then(|| sum / origins)
}

fn lead(rows: &[Marked]) -> Option<f64> {
    let mut leads = Vec::new();
    for origin in rows.chunk_by(|a, b| a.at == b.at) {
        let mut origin = origin.to_vec();
        origin.sort_by(|a, b| b.rank.total_cmp(&a.rank));
        leads.extend(origin.iter().take(TOP).filter_map(|row| row.lead_hours));
    }
    leads.sort_by(f64::total_cmp);
    leads.get(leads.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at: i64, probability: f64, lead_hours: Option<f64>) -> Marked {
        Marked { at, probability, rank: probability, baselines: [0.5, 0.5, 0.25], lead_hours }
    }

    #[test]
    fn kept_forecasts_are_scored_beside_their_baselines() {
        assert_eq!(scorecard(&[]), None);
        let rows = [row(2, 0.9, Some(3.0)), row(1, 0.9, Some(1.0)), row(1, 0.1, None), row(2, 0.1, None)];
        let card = scorecard(&rows).expect("rows");
        assert_eq!((card.rows, card.hits, card.origins), (4, 2, 2));
        assert_eq!((card.scores[0].pr_auc, card.scores[1].pr_auc), (Some(1.0), Some(0.5)));
        assert!((card.scores[0].brier - 0.01).abs() < 1e-12 && (card.scores[1].brier - 0.25).abs() < 1e-12);
        assert_eq!(card.lead_hours, Some(3.0));
        let quiet = scorecard(&[row(1, 0.2, None)]).expect("a row");
        assert_eq!((quiet.scores[0].pr_auc, quiet.lead_hours), (None, None));
    }
}
