//! How well quell does on recorded alerts whose truth is known.
//!
//! A folder is what its files make it: `alerts.csv.gz`, `incidents.csv` and `topology.json` ask which incident;
//! `alerts.csv.gz`, `faults.csv` and `topology.json` ask which cause; `metrics.csv.gz`, `issues.csv` and `graph.csv`
//! ask for the cause from metrics. Deliberately absent: constants fitted to a set, and anything by a folder's name.

pub mod bars;
pub mod baselines;
pub mod cause;
pub mod correlation;
pub mod files;
pub mod measure;
pub mod petshop;
pub mod replay;
pub mod table;

use std::path::{Path, PathBuf};

use files::FolderFault;
use replay::Variant;
pub use table::Scored;

const CORRELATION: &[&str] = &["alerts.csv.gz", "incidents.csv", "topology.json"];
const CAUSE: &[&str] = &["alerts.csv.gz", "faults.csv", "topology.json"];
const PETSHOP: &[&str] = &["metrics.csv.gz", "issues.csv", "graph.csv"];

/// Scores a folder, or every folder in it, in order of their names; `only` picks one of them by its name.
///
/// # Errors
/// When there is nothing to score, or a file is not what it should be.
pub fn measure(data: &Path, only: Option<&str>, variant: &Variant) -> Result<Vec<(String, Scored)>, FolderFault> {
    let mut folders = vec![data.to_owned()];
    if !is_set(data) {
        let entries = std::fs::read_dir(data).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = entries.map_err(|source| FolderFault::Read { path: data.to_owned(), source })?;
        folders = entries.into_iter().map(|entry| entry.path()).filter(|path| is_set(path)).collect();
        folders.sort();
    }
    folders.retain(|folder| only.is_none_or(|only| name(folder) == only));
    let mut scored = Vec::new();
    for folder in &folders {
        if has(folder, CORRELATION) {
            scored.push((name(folder), Scored::Correlation(correlation::measure(folder, variant)?)));
        }
        if has(folder, CAUSE) {
            scored.push((name(folder), Scored::Cause(cause::measure(folder, variant)?)));
        }
        if has(folder, PETSHOP) {
            scored.push((name(folder), Scored::Petshop(petshop::measure(folder, variant)?)));
        }
    }
    if scored.is_empty() {
        let path = only.map_or(data.to_owned(), |only| data.join(only));
        return Err(FolderFault::Nothing { path });
    }
    Ok(scored)
}

fn is_set(folder: &Path) -> bool {
    [CORRELATION, CAUSE, PETSHOP].iter().any(|files| has(folder, files))
}

fn has(folder: &Path, files: &[&str]) -> bool {
    files.iter().all(|file| folder.join(file).is_file())
}

fn name(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| PathBuf::from(folder));
    whole.file_name().map_or_else(|| whole.display().to_string(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
