//! How long the blast radius takes on 100,000 CIs, as percentiles. Not criterion, which has none.

use std::hint::black_box;
use std::time::{Duration, Instant};

use quell_benches::{large_estate, percentile};
use quell_cmdb::{CiIx, Graph};
use quell_sim::rng::Rng;

/// Asked for; a little more than 100,000 are made.
const CIS: usize = 104_000;
const LIMIT: usize = 100_000;
const WALKS: usize = 20_000;
/// The floor.
const FLOOR: Duration = Duration::from_millis(5);

fn report(what: &str, mut took: Vec<Duration>, reached: usize) {
    took.sort_unstable();
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| percentile(&took, share));
    let verdict = if p99 < FLOOR { "within" } else { "OVER" };
    let (walks, reached) = (took.len(), reached / took.len().max(1));
    println!(
        "{what}: {walks} walks, {reached} dependents on average; p50 {p50:?}, p99 {p99:?}, max {max:?}: {verdict} 5 ms"
    );
}

fn main() {
    let estate = large_estate(CIS, 7);
    let cis = u32::try_from(estate.cis().len()).unwrap_or(u32::MAX);
    let begun = Instant::now();
    let graph = Graph::new(estate);
    println!("graph of {cis} CIs built in {:?}", begun.elapsed());
    let mut rng = Rng::new(7);
    let walk = |failing: CiIx, took: &mut Vec<Duration>| {
        let begun = Instant::now();
        let blast = black_box(graph.blast(black_box(&[failing]), LIMIT));
        took.push(begun.elapsed());
        blast.dependents.len()
    };
    let (mut took, mut reached) = (Vec::with_capacity(WALKS), 0);
    for _ in 0..WALKS {
        let failing = CiIx(u32::try_from(rng.below(u64::from(cis))).unwrap_or(0));
        reached += walk(failing, &mut took);
    }
    report("any CI", took, reached);
    let deep: Vec<CiIx> = (0..cis).map(CiIx).filter(|&ix| graph.ci(ix).kind.ends_with("_switch")).collect();
    let (mut took, mut reached) = (Vec::new(), 0);
    for _ in 0..20 {
        for &failing in &deep {
            reached += walk(failing, &mut took);
        }
    }
    report("switches", took, reached);
}
