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

/// The ablation: quell whole, and with each part off, with the difference.
#[must_use]
pub fn ablation(name: &str, whole: &Figures, without: &[(&'static str, Figures)]) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{name}, each part off in turn:");
    let _ = writeln!(text, "  {:26}{}", "", HEAD.map(|head| format!("{head:>10}")).concat());
    line(&mut text, "whole", whole);
    for (part, figures) in without {
        line(&mut text, &format!("without {part}"), figures);
    }
    text
}

/// The same for programs.
#[must_use]
pub fn json(settings: &[Setting]) -> Value {
    let settings: Vec<Value> = settings
        .iter()
        .map(|(name, summary)| {
            let Summary { seeds, sizes: [faults, episodes, noise], quell, baselines } = summary;
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
