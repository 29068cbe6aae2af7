//! Scores of storms as a table for people and as JSON for programs.
//!
//! Deliberately absent: scoring.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::score::{Figures, Summary};

const HEAD: [&str; 11] =
    ["B³ F1", "ARI", "pair P", "pair R", "inc/fault", "noise in", "compr.", "missed", "AC@1", "AC@3", "AC@5"];

/// One setting: its name and what was measured.
pub type Setting = (String, Summary);

/// The table: for each setting a line for quell and one for each baseline.
#[must_use]
pub fn text(settings: &[Setting]) -> String {
    let mut text = String::new();
    for (name, summary) in settings {
        let [faults, episodes, noise] = summary.sizes;
        let easy = if summary.counts() { "" } else { "; too easy to count" };
        let _ = writeln!(
            text,
            "{name}: median of {} seeds; {faults:.0} faults, {episodes:.0} alert episodes, {noise:.0} of them noise{easy}",
            summary.seeds
        );
        let _ = writeln!(text, "  {:26}{}", "", HEAD.map(|head| format!("{head:>10}")).concat());
        line(&mut text, "quell", &summary.quell);
        for (name, figures) in &summary.baselines {
            line(&mut text, name, figures);
        }
    }
    text
}

fn line(text: &mut String, name: &str, figures: &Figures) {
    let causes = figures.causes.map(|causes| causes.map(Some)).unwrap_or_default();
    let cells = figures.partition.map(Some).into_iter().chain(causes);
    let cells: Vec<String> =
        cells.map(|cell| cell.map_or(format!("{:>10}", "-"), |figure| format!("{figure:>10.3}"))).collect();
    let _ = writeln!(text, "  {name:26}{}", cells.concat());
}

/// The ablation: what leaving out each part adds to each figure, storm by storm: the mean and its standard error.
#[must_use]
pub fn ablation(name: &str, whole: &Summary, without: &[(&'static str, Summary)]) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{name}, the mean difference over {} storms without each part:", whole.seeds);
    let _ = writeln!(text, "  {:36}{}", "", HEAD.map(|head| format!("{head:>14}")).concat());
    for (part, summary) in without {
        let pairs: Vec<_> = whole.each.iter().map(row).zip(summary.each.iter().map(row)).collect();
        let column =
            |at: usize| difference(&pairs.iter().map(|(whole, part)| part[at] - whole[at]).collect::<Vec<_>>());
        let cells: Vec<String> = (0..HEAD.len())
            .map(|at| column(at).map_or(format!("{:>14}", "-"), |(mean, error)| format!("{mean:>+8.3}±{error:.3}")))
            .collect();
        let _ = writeln!(text, "  without {part:28}{}", cells.concat());
    }
    text
}

fn row(figures: &Figures) -> [f64; HEAD.len()] {
    let mut row = [0.0; HEAD.len()];
    let cells = figures.partition.into_iter().chain(figures.causes.unwrap_or_default());
    row.iter_mut().zip(cells).for_each(|(cell, figure)| *cell = figure);
    row
}

/// The mean of differences and its standard error; `None` of fewer than two.
#[expect(clippy::cast_precision_loss, reason = "a count of storms")]
fn difference(differences: &[f64]) -> Option<(f64, f64)> {
    let count = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / count;
    let squares: f64 = differences.iter().map(|difference| (difference - mean).powi(2)).sum();
    (differences.len() > 1).then(|| (mean, (squares / (count - 1.0) / count).sqrt()))
}

/// The same for programs.
#[must_use]
pub fn json(settings: &[Setting]) -> Value {
    let settings: Vec<Value> = settings
        .iter()
        .map(|(name, summary)| {
            let Summary { seeds, sizes: [faults, episodes, noise], quell, baselines, each: _ } = summary;
            json!({
                "name": name,
                "seeds": seeds,
                "faults": faults,
                "episodes": episodes,
                "noise": noise,
                "counts": summary.counts(),
                "quell": figures(quell),
                "baselines": baselines.iter().map(|(name, of)| ((*name).to_owned(), figures(of))).collect::<serde_json::Map<_, _>>(),
            })
        })
        .collect();
    json!({ "storms": settings })
}

fn figures(figures: &Figures) -> Value {
    let Figures { partition, causes } = figures;
    let [b3_f1, ari, pair_precision, pair_recall, incidents_per_fault, noise_contamination, compression, missed] =
        partition;
    let mut value = json!({
        "b3_f1": b3_f1,
        "ari": ari,
        "pair_precision": pair_precision,
        "pair_recall": pair_recall,
        "incidents_per_fault": incidents_per_fault,
        "noise_contamination": noise_contamination,
        "compression": compression,
        "missed": missed,
    });
    if let Some([ac1, ac3, ac5]) = causes {
        value["ac1"] = json!(ac1);
        value["ac3"] = json!(ac3);
        value["ac5"] = json!(ac5);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_with_its_error() {
        let (mean, error) = difference(&[1.0, 2.0, 3.0]).expect("three");
        assert!((mean - 2.0).abs() < 1e-12 && (error - (1.0_f64 / 3.0).sqrt()).abs() < 1e-12, "{mean} {error}");
        assert_eq!(difference(&[1.0]), None);
    }
}
