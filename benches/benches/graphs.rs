//! A topology of 1,000,000 CIs and nearly 5,000,000 relationships: how long it takes to read and to build, what it
//! needs in memory, and how long a blast radius of 10,000 dependents takes. Writes the same graph for others to walk.
//!
//! `QUELL_GRAPHS_OUT` names the folder that `edges.csv` (dependency, dependent) and `starts.txt` go to. Absent on
//! purpose: the others; `graphs/compare.py` runs them.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use quell_benches::process::resident_bytes;
use quell_benches::{percentile, scattered_estate};
use quell_cmdb::{CiIx, Graph, Scratch};
use quell_domain::Timestamp;
use quell_formats::topology;

const SITES: usize = 100;
const PER_SITE: usize = 10_000;
const LIMIT: usize = 1_000_000;
const ROUNDS: usize = 50;
/// The bar.
const BAR: Duration = Duration::from_millis(20);

fn resident() -> u64 {
    resident_bytes(std::process::id()).unwrap_or(0) >> 20
}

fn timed<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let made = act();
    println!("{what}: {:.2} s; {} MiB resident", begun.elapsed().as_secs_f64(), resident());
    made
}

fn main() {
    let (estate, starts) = timed("made and checked", || scattered_estate(SITES, PER_SITE, 7));
    println!("{} CIs, {} relationships", estate.cis().len(), estate.relationships().len());
    let bytes = timed("written", || topology::encode(&estate));
    println!("{} MiB of text", bytes.len() >> 20);
    drop(estate);
    let estate = timed("read from the text", || topology::decode(&bytes).expect("own bytes are sound"));
    drop(bytes);
    let graph = timed("graph built", || Graph::new(estate));
    let failing: Vec<CiIx> = starts.iter().map(|id| graph.find(id).expect("a CI of the estate")).collect();
    let now = Some(Timestamp::from_seconds(1_800_000_000));
    let mut scratch = Scratch::default();
    let (mut took, mut reached) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        for &ci in &failing {
            let begun = Instant::now();
            let blast = black_box(graph.blast_at(&mut scratch, black_box(&[ci]), LIMIT, now));
            took.push(begun.elapsed());
            assert!(!blast.radius.partial && blast.radius.stale_relationships > 0, "whole, and told how fresh it is");
            reached += blast.dependents.len();
        }
    }
    took.sort_unstable();
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| percentile(&took, share));
    let verdict = if p99 < BAR { "within" } else { "OVER" };
    println!(
        "quell: {} walks, {} dependents on average; p50 {p50:?}, p99 {p99:?}, max {max:?}: {verdict} 20 ms",
        took.len(),
        reached / took.len()
    );
    if let Some(folder) = std::env::var_os("QUELL_GRAPHS_OUT").map(PathBuf::from) {
        write(&graph, &failing, &folder).expect("the folder can be written to");
    }
}

fn write(graph: &Graph, starts: &[CiIx], folder: &Path) -> std::io::Result<()> {
    let mut edges = BufWriter::new(File::create(folder.join("edges.csv"))?);
    for ci in (0..u32::try_from(graph.len()).unwrap_or(u32::MAX)).map(CiIx) {
        for dependent in graph.dependents_of(ci) {
            writeln!(edges, "{},{dependent}", ci.0)?;
        }
    }
    edges.flush()?;
    let lines: Vec<String> = starts.iter().map(|ci| ci.0.to_string()).collect();
    std::fs::write(folder.join("starts.txt"), lines.join("\n") + "\n")
}
