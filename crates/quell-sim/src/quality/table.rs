//! What was measured, as one table for people and as JSON for programs.
//!
//! Deliberately absent: measuring.

use std::fmt::Write as _;

use quell_domain::Digest;
use serde_json::{Value, json};

use super::bars::{self, How};
use super::cause::{Causes, Level, LevelScore};
use super::correlation::{Correlation, Filing};
use super::measure::{PartitionScore, RankScore};
use super::petshop::Petshop;

/// One scored task of one folder.
#[derive(Clone, PartialEq, Debug)]
pub enum Scored {
    /// Which incident.
    Correlation(Correlation),
    /// Which cause.
    Cause(Causes),
    /// Which cause, from metrics.
    Petshop(Petshop),
}

/// One line of the table.
struct Line {
    set: String,
    task: String,
    measure: &'static str,
    measured: f64,
    /// Unless a bar says so, the figure to be beaten, and by which it is held.
    best: (f64, &'static str),
    bar: Option<bars::Bar>,
}

/// Holds no figure to be beaten.
const NOBODY: &str = "none";

/// A measure's name, and how it is read off a score.
type Measure<S> = (&'static str, fn(&S) -> f64);

/// How well causes are named.
const AC: [Measure<RankScore>; 4] = [
    ("AC@1", |score| score.at[0]),
    ("AC@3", |score| score.at[2]),
    ("AC@5", |score| score.at[4]),
    ("Avg@5", |score| score.average()),
];

/// The table for people: one line for each measure of each set.
#[must_use]
pub fn text(scored: &[(String, Scored)]) -> String {
    let mut lines = Vec::new();
    for (name, scored) in scored {
        match scored {
            Scored::Correlation(found) => correlation(name, found, &mut lines),
            Scored::Cause(found) => cause(name, found, &mut lines),
            Scored::Petshop(found) => petshop(name, found, &mut lines),
        }
    }
    let shown: Vec<[String; 6]> = lines.iter().map(cells).collect();
    let head = ["set", "task", "measure", "measured", "bar", "best baseline"].map(str::to_owned);
    let mut widths = head.clone().map(|cell| cell.chars().count());
    for row in &shown {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&head).chain(&shown) {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())))
            .collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

fn cells(line: &Line) -> [String; 6] {
    let Line { set, task, measure, measured, best: (best, holder), bar } = line;
    let (met, bar) = match bar {
        Some(bar) => (Some(bar.met(*measured)), bar.shown()),
        None => (None, "-".to_owned()),
    };
    let mark = match met {
        Some(true) => " ok",
        Some(false) => " below",
        None => "",
    };
    let mark = if met == Some(false) && line.bar.is_some_and(|bar| bar.how == How::AtMost) { " above" } else { mark };
    let measured = format!("{measured:.3}{mark}");
    let best = if *holder == NOBODY { "-".to_owned() } else { format!("{best:.3} ({holder})") };
    [set.clone(), task.clone(), (*measure).to_owned(), measured, bar, best]
}

fn correlation(name: &str, found: &Correlation, lines: &mut Vec<Line>) {
    // The baseline with the best ARI speaks for all: one that leaves every alert alone has no noise in its faults.
    let best = found.baselines.iter().max_by(|(_, a), (_, b)| a.rows.ari.total_cmp(&b.rows.ari));
    let mut line = |task: &str, measure: &'static str, measured: f64, best: Option<(f64, &'static str)>| {
        let (best, bar) = (best.unwrap_or((0.0, NOBODY)), bars::of(found.digest, task, measure));
        lines.push(Line { set: name.into(), task: task.into(), measure, measured, best, bar });
    };
    let measures: [Measure<PartitionScore>; 9] = [
        ("ARI", |score| score.ari),
        ("pair F1", |score| score.pair_f1),
        ("pair precision", |score| score.precision),
        ("pair recall", |score| score.recall),
        ("V", |score| score.v),
        ("incidents/fault", |score| score.incidents_per_fault),
        ("noise in faults", |score| score.noise_contamination),
        ("mixing incidents", |score| score.mixing),
        ("compression", |score| score.compression),
    ];
    for (measure, of) in measures {
        line("correlation", measure, of(&found.last.rows), best.map(|(name, filing)| (of(&filing.rows), *name)));
    }
    // In these each baseline stands for itself.
    let b3: [Measure<Filing>; 2] =
        [("B³ F1, rows", |filing| filing.rows.b3), ("B³ F1, episodes", |filing| filing.episodes.b3)];
    for (measure, of) in b3 {
        let best = found.baselines.iter().map(|(name, filing)| (of(filing), *name)).max_by(|a, b| a.0.total_cmp(&b.0));
        line("correlation", measure, of(&found.last), best);
    }
    for (measure, of) in &measures[..2] {
        line("at arrival", measure, of(&found.at_arrival), best.map(|(name, filing)| (of(&filing.rows), *name)));
    }
    let causes = found.causes.iter().flat_map(|causes| AC.map(|(measure, of)| (measure, of(causes))));
    causes.for_each(|(measure, measured)| line("cause among others", measure, measured, None));
}

fn cause(name: &str, found: &Causes, lines: &mut Vec<Line>) {
    for LevelScore { level, candidates: _, score, baselines } in &found.levels {
        let task = if *level == Level::Service { "cause" } else { "cause, exact" };
        ranked(name, task, found.digest, score, baselines, lines);
    }
}

fn petshop(name: &str, found: &Petshop, lines: &mut Vec<Line>) {
    ranked(name, "cause", found.digest, &found.alone, &found.baselines, lines);
    ranked(name, "cause with target", found.digest, &found.with_target, &found.target_baselines, lines);
}

fn ranked(
    name: &str,
    task: &str,
    digest: Digest,
    score: &RankScore,
    baselines: &[(&'static str, RankScore)],
    lines: &mut Vec<Line>,
) {
    for (measure, of) in AC {
        let best = baselines.iter().map(|(name, score)| (of(score), *name)).max_by(|a, b| a.0.total_cmp(&b.0));
        lines.push(Line {
            set: name.into(),
            task: task.into(),
            measure,
            measured: of(score),
            best: best.unwrap_or((0.0, NOBODY)),
            bar: bars::of(digest, task, measure),
        });
    }
    let sure: [Measure<RankScore>; 2] =
        [("stands out", |score| score.sure[0]), ("right of these", |score| score.right())];
    for (measure, of) in sure {
        let (set, task, measured, best) = (name.into(), task.into(), of(score), (0.0, NOBODY));
        lines.push(Line { set, task, measure, measured, best, bar: None });
    }
}

/// What is told of a task where parts are left out.
fn figures(scored: &Scored) -> (&'static str, Vec<(&'static str, f64)>) {
    let ranked = |score: &RankScore| AC.map(|(measure, of)| (measure, of(score)));
    match scored {
        Scored::Correlation(found) => {
            let PartitionScore { ari, incidents_per_fault, noise_contamination, .. } = found.last.rows;
            let filed = [("B³ F1", found.last.episodes.b3), ("ARI", ari), ("inc/fault", incidents_per_fault)];
            let filed = filed.into_iter().chain([("noise in", noise_contamination)]);
            ("correlation", filed.chain(found.causes.iter().flat_map(ranked)).collect())
        }
        Scored::Cause(found) => {
            ("cause", found.levels.first().map(|level| ranked(&level.score).into()).unwrap_or_default())
        }
        Scored::Petshop(found) => ("cause with target", ranked(&found.with_target).into()),
    }
}

/// What each part of the decision is worth: every set's figures with all parts, and without each of them by its name.
#[must_use]
pub fn ablation(whole: &[(String, Scored)], without: &[(&'static str, Vec<(String, Scored)>)]) -> String {
    let mut text = String::new();
    let mut line = |name: &str, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>10}")).collect();
        let _ = writeln!(text, "  {name:36}{cells}");
    };
    for (at, (name, scored)) in whole.iter().enumerate() {
        let (task, all) = figures(scored);
        let shown = |figures: Vec<(&str, f64)>| figures.iter().map(|(_, figure)| format!("{figure:.3}")).collect();
        line(&format!("{name}, {task}"), all.iter().map(|(measure, _)| (*measure).to_owned()).collect());
        line("with all parts", shown(all));
        for (part, sets) in without {
            let figures = sets.get(at).map(|(_, scored)| figures(scored).1).unwrap_or_default();
            line(&format!("without {part}"), shown(figures));
        }
    }
    text
}

/// The same for programs. `sets` has one object for each task of each folder; beside it stand the finer level of
/// causes, causes with the violated node known, decisions at arrival, and the baselines.
#[must_use]
pub fn json(scored: &[(String, Scored)]) -> Value {
    let (mut sets, mut exact, mut with_target, mut at_arrival, mut baselines) =
        (vec![], vec![], vec![], vec![], vec![]);
    for (name, scored) in scored {
        match scored {
            Scored::Correlation(found) => {
                let mut set = filing_json(name, &found.last);
                if let Some(RankScore { faults, at: [one, _, three, _, five], .. }) = found.causes {
                    for (key, value) in [("ac1", one), ("ac3", three), ("ac5", five)] {
                        set[key] = json!(value);
                    }
                    set["faults"] = json!(faults);
                }
                sets.push(set);
                at_arrival.push(partition_json(name, &found.at_arrival));
                let others = found.baselines.iter();
                baselines.extend(others.map(|(by, filing)| by_baseline(filing_json(name, filing), by)));
            }
            Scored::Cause(found) => {
                for LevelScore { level, candidates: _, score, baselines: others } in &found.levels {
                    let (to, word) = match level {
                        Level::Service => (&mut sets, "service"),
                        Level::Exact => (&mut exact, "exact"),
                    };
                    to.push(rank_json(name, word, score));
                    baselines.extend(others.iter().map(|(by, score)| by_baseline(rank_json(name, word, score), by)));
                }
            }
            Scored::Petshop(found) => {
                sets.push(rank_json(name, "service", &found.alone));
                with_target.push(rank_json(name, "service", &found.with_target));
                let others = found.baselines.iter().chain(&found.target_baselines);
                baselines.extend(others.map(|(by, score)| by_baseline(rank_json(name, "service", score), by)));
            }
        }
    }
    json!({ "sets": sets, "exact": exact, "with_target": with_target, "at_arrival": at_arrival, "baselines": baselines })
}

fn by_baseline(mut score: Value, name: &str) -> Value {
    score["baseline"] = json!(name);
    score
}

fn filing_json(name: &str, filing: &Filing) -> Value {
    let mut json = partition_json(name, &filing.rows);
    json["b3_f1_episodes"] = json!(filing.episodes.b3);
    json
}

fn partition_json(name: &str, score: &PartitionScore) -> Value {
    let PartitionScore {
        precision,
        recall,
        pair_f1,
        ari,
        v,
        b3,
        compression,
        incidents_per_fault,
        mixing,
        noise_contamination,
        missed,
    } = score;
    json!({
        "name": name,
        "task": "correlation",
        "ari": ari,
        "pair_f1": pair_f1,
        "incidents_per_fault": incidents_per_fault,
        "noise_contamination": noise_contamination,
        "pair_precision": precision,
        "pair_recall": recall,
        "v": v,
        "b3_f1": b3,
        "compression": compression,
        "mixing": mixing,
        "missed": missed,
    })
}

fn rank_json(name: &str, level: &str, score: &RankScore) -> Value {
    let [one, _, three, _, five] = score.at;
    json!({
        "name": name,
        "task": "cause",
        "level": level,
        "ac1": one,
        "ac3": three,
        "ac5": five,
        "avg5": score.average(),
        "faults": score.faults,
        "stands_out": score.sure[0],
        "right_of_these": score.right(),
    })
}
