//! The figures as tables, and the bars that they are held against. Deliberately absent: how they were taken.

use std::fmt;

use quell_benches::figures::{median, slope};
use quell_benches::phase::Phase;
use serde::Serialize;

use crate::engine::{Side, Sides};
use crate::paced::{Kept, SAMPLE};
use crate::place::Used;

/// The share of decoding only that the engine's side must reach.
const ENGINE: f64 = 0.6;
/// Alerts a second that must go from the client to the store, when they repeat.
const THROUGH: f64 = 100_000.0;
/// Milliseconds until an incident is seen, of 99 in 100.
const SEEN_MS: f64 = 1_000.0;
/// Memory counts as flat when the median of the last third is no more than this share above that of the middle one; a
/// slope over minutes would hang on single pages.
const FLAT: f64 = 0.02;

/// One server as fast as it goes: alerts it did not know, the same again, and some new among them.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Run {
    pub(crate) what: String,
    /// Nodes of quell; 0 where it is another server.
    pub(crate) nodes: usize,
    pub(crate) phases: Vec<Phase>,
    pub(crate) used: Vec<Used>,
    /// CPU seconds of the busiest threads of all nodes, by name, in each phase.
    pub(crate) threads: Vec<Vec<(String, f64)>>,
    pub(crate) resident_mib: f64,
}

/// Everything measured.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Results {
    pub(crate) sides: Vec<Sides>,
    pub(crate) runs: Vec<Run>,
    pub(crate) kept: Vec<Kept>,
    pub(crate) soak: Option<Kept>,
}

const PHASES: [&str; 3] = ["new", "repeats", "mixed"];

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        sides(f, &self.sides)?;
        runs(f, &self.runs)?;
        for kept in &self.kept {
            rate(f, kept)?;
        }
        if let Some(kept) = &self.soak {
            rate(f, kept)?;
            memory(f, &kept.resident_mib)?;
        }
        writeln!(f)?;
        for Bar { what, must, found, held } in bars(self) {
            writeln!(f, "{} {what}: {found}; must be {must}", if held { "reached" } else { "MISSED " })?;
        }
        Ok(())
    }
}

/// Something that must be reached, and what was found.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Bar {
    what: String,
    must: String,
    found: String,
    held: bool,
}

/// Those that were measured.
pub(crate) fn bars(results: &Results) -> Vec<Bar> {
    let mut bars = Vec::new();
    for Sides { what, rounds } in &results.sides {
        let share = share(rounds, |side| &side.decoded);
        let (found, must) = (format!("{:.0} % of decoding only", share * 100.0), format!("{:.0} %", ENGINE * 100.0));
        bars.push(Bar { what: format!("engine's side, {what}"), must, found, held: share >= ENGINE });
    }
    for Run { what, nodes, phases, .. } in results.runs.iter().filter(|run| run.nodes > 0) {
        // More nodes on the same cores are shown, and held against nothing.
        let Some(repeats) = phases.get(1).filter(|_| *nodes == 1).map(Phase::per_second) else { continue };
        let (found, must) = (format!("{repeats:.0} alerts/s"), format!("{THROUGH:.0}"));
        bars.push(Bar { what: format!("{what}, repeats"), must, found, held: repeats >= THROUGH });
    }
    for Kept { nodes, asked, sent, visible_ms, .. } in &results.kept {
        let most = visible_ms.iter().map(|[_, p99, _]| *p99).fold(0.0, f64::max);
        let found = format!("p99 {most:.0} ms at {sent:.0} alerts/s");
        // A rate that was not kept proves nothing.
        let held = most <= SEEN_MS && *sent >= asked * 0.99;
        bars.push(Bar {
            what: format!("answer to incident, {nodes} nodes"),
            must: format!("{SEEN_MS:.0} ms"),
            found,
            held,
        });
    }
    if let Some(Kept { resident_mib, .. }) = &results.soak {
        let Memory { second, last, an_hour, .. } = Memory::of(resident_mib);
        let held = second > 0.0 && last <= second * (1.0 + FLAT);
        let found = format!("{second:.0} to {last:.0} MiB, {an_hour:+.1} MiB an hour");
        let must = format!("at most {:.0} MiB", second * (1.0 + FLAT));
        bars.push(Bar { what: "memory of a soak".to_owned(), must, found, held });
    }
    bars
}

/// One of the ways.
type Pick = fn(&Side) -> &Phase;

/// What the node decided, as a share of what else was done with the same records: the median of all rounds.
fn share(rounds: &[Side], of: Pick) -> f64 {
    median(rounds.iter().map(|side| side.decided.per_second() / of(side).per_second()))
}

fn sides(f: &mut fmt::Formatter<'_>, sides: &[Sides]) -> fmt::Result {
    for Sides { what, rounds } in sides {
        writeln!(f, "{what}, medians of {} rounds", rounds.len())?;
        let rows: [(&str, Pick); 4] = [
            ("raw rdkafka, produce", |side| &side.produced),
            ("raw rdkafka, consume", |side| &side.consumed),
            ("consume and decode only", |side| &side.decoded),
            ("quell: taken, decided, kept", |side| &side.decided),
        ];
        for (name, of) in rows {
            let rate = median(rounds.iter().map(|side| of(side).per_second()));
            let cpu = median(rounds.iter().map(|side| of(side).per_cpu_second()));
            writeln!(f, "  {name:<28} {rate:>12.0} alerts/s {cpu:>12.0} alerts/CPU-s")?;
        }
        let cores = |of: fn(&Used) -> f64| median(rounds.iter().map(|side| of(&side.used) / side.decided.wall));
        let [quell, broker, postgres] =
            [cores(|used| used.quell), cores(|used| used.broker), cores(|used| used.postgres)];
        writeln!(f, "  cores meanwhile: quell {quell:.2}, broker {broker:.2}, postgres {postgres:.2}")?;
        let [decoding, raw] = [share(rounds, |side| &side.decoded), share(rounds, |side| &side.consumed)];
        writeln!(f, "  = {:.0} % of decoding only, {:.0} % of raw consume\n", decoding * 100.0, raw * 100.0)?;
    }
    Ok(())
}

fn runs(f: &mut fmt::Formatter<'_>, runs: &[Run]) -> fmt::Result {
    for Run { what, nodes: _, phases, used, threads, resident_mib } in runs {
        writeln!(f, "{what} ({resident_mib:.0} MiB resident at the end)")?;
        for (at, (name, phase)) in PHASES.iter().zip(phases).enumerate() {
            let (rate, p50, p99) = (phase.per_second(), phase.p50_ms, phase.p99_ms);
            write!(f, "  {name:<8} {rate:>9.0} alerts/s  p50 {p50:>6.1} ms  p99 {p99:>6.1} ms")?;
            writeln!(f, "  {} times told to come again", phase.refused)?;
            match used.get(at) {
                Some(used) => cpu(f, *used, phase)?,
                None => {
                    let (cores, rate) = (phase.cpu_seconds / phase.wall, phase.per_cpu_second());
                    writeln!(f, "           server {cores:.2} cores, {rate:.0} alerts/CPU-s")?;
                }
            }
            if let Some(threads) = threads.get(at).filter(|threads| !threads.is_empty()) {
                let each = threads.iter().map(|(name, used)| format!("{name} {:.2}", used / phase.wall));
                writeln!(f, "           quell's threads, cores: {}", each.collect::<Vec<_>>().join(", "))?;
            }
        }
        writeln!(f)?;
    }
    Ok(())
}

/// Cores of each that takes part, and alerts for each of its CPU seconds.
fn cpu(f: &mut fmt::Formatter<'_>, used: Used, phase: &Phase) -> fmt::Result {
    let all = [("quell", used.quell), ("broker", used.broker), ("postgres", used.postgres), ("client", used.client)];
    let each = all.map(|(name, cpu_seconds)| {
        let of = Phase { cpu_seconds, ..*phase };
        format!("{name} {:.2} ({:.0})", cpu_seconds / phase.wall, of.per_cpu_second())
    });
    writeln!(f, "           cores (alerts/CPU-s): {}", each.join(", "))
}

fn rate(f: &mut fmt::Formatter<'_>, kept: &Kept) -> fmt::Result {
    let Kept { nodes, asked, sent, seconds, new_share, answer_ms, visible_ms, probes, used, .. } = kept;
    writeln!(
        f,
        "{nodes} nodes, {asked:.0} alerts/s asked, {sent:.0} sent for {seconds:.0} s, {:.0} % new",
        new_share * 100.0
    )?;
    let line = |[p50, p99, most]: &[f64; 3]| format!("p50 {p50:.1} ms  p99 {p99:.1} ms  max {most:.1} ms");
    writeln!(f, "  until the answer             {}", line(answer_ms))?;
    for (name, took) in ["on the node that decides", "on another node"].iter().zip(visible_ms) {
        writeln!(f, "  answer to incident, seen {name}: {} ({probes} probes)", line(took))?;
    }
    cpu(f, *used, &Phase { alerts: (sent * seconds) as u64, wall: *seconds, ..Phase::default() })
}

/// How memory went.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Memory {
    /// Medians of thirds, in MiB.
    first: f64,
    second: f64,
    last: f64,
    /// MiB an hour by least squares over the last two thirds; the first one is warm-up.
    an_hour: f64,
}

impl Memory {
    fn of(resident_mib: &[f64]) -> Memory {
        let third = resident_mib.len() / 3;
        let [first, second, last] =
            [0, 1, 2].map(|number| median(resident_mib[number * third..(number + 1) * third].iter().copied()));
        let an_hour = slope(&resident_mib[third..]) * 3_600.0 / SAMPLE.as_secs_f64();
        Memory { first, second, last, an_hour }
    }
}

fn memory(f: &mut fmt::Formatter<'_>, resident_mib: &[f64]) -> fmt::Result {
    let Memory { first, second, last, an_hour } = Memory::of(resident_mib);
    writeln!(
        f,
        "  resident MiB, medians of thirds: {first:.0}, {second:.0}, {last:.0}; {an_hour:+.1} an hour at the end"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(alerts: u64, wall: f64) -> Phase {
        Phase { alerts, wall, ..Phase::default() }
    }

    fn check(results: &Results, expected: &[(&str, bool)]) {
        let found = bars(results);
        let found: Vec<(&str, bool)> = found.iter().map(|bar| (bar.found.as_str(), bar.held)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_engine_is_held_against_decoding_by_the_median_of_its_rounds() {
        let side = |decided| Side {
            produced: phase(1, 1.0),
            consumed: phase(1_000, 1.0),
            decoded: phase(100, 1.0),
            decided: phase(decided, 1.0),
            used: Used::default(),
        };
        let sides = |decided: [u64; 3]| Results {
            sides: vec![Sides { what: "repeats".into(), rounds: decided.map(side).into() }],
            ..Results::default()
        };
        check(&sides([60, 10, 90]), &[("60 % of decoding only", true)]);
        check(&sides([59, 59, 90]), &[("59 % of decoding only", false)]);
    }

    #[test]
    fn one_node_is_held_against_the_rate_of_repeats() {
        let run = |nodes, rate| Run { nodes, phases: vec![phase(1, 1.0), phase(rate, 1.0)], ..Run::default() };
        let runs = |runs: Vec<Run>| Results { runs, ..Results::default() };
        check(&runs(vec![run(0, 5), run(1, 100_000), run(2, 5)]), &[("100000 alerts/s", true)]);
        check(&runs(vec![run(1, 99_999)]), &[("99999 alerts/s", false)]);
    }

    #[test]
    fn a_rate_that_was_not_kept_proves_nothing() {
        let kept = |sent, p99| {
            let kept =
                Kept { asked: 100.0, sent, visible_ms: vec![[1.0, 2.0, 3.0], [1.0, p99, 9e9]], ..Kept::default() };
            Results { kept: vec![kept], ..Results::default() }
        };
        check(&kept(100.0, 1_000.0), &[("p99 1000 ms at 100 alerts/s", true)]);
        check(&kept(100.0, 1_001.0), &[("p99 1001 ms at 100 alerts/s", false)]);
        check(&kept(90.0, 10.0), &[("p99 10 ms at 90 alerts/s", false)]);
    }

    #[test]
    fn memory_is_flat_when_the_last_third_is_like_the_middle_one() {
        let soak = |grows: f64| {
            // Warm-up, then a line.
            let resident_mib =
                (0..30).map(|at| if at < 10 { 10.0 } else { 100.0 + grows * f64::from(at - 10) }).collect();
            Results { soak: Some(Kept { resident_mib, ..Kept::default() }), ..Results::default() }
        };
        check(&soak(0.0), &[("100 to 100 MiB, +0.0 MiB an hour", true)]);
        check(&soak(0.5), &[("102 to 108 MiB, +900.0 MiB an hour", false)]);
        check(
            &Results { soak: Some(Kept::default()), ..Results::default() },
            &[("0 to 0 MiB, +0.0 MiB an hour", false)],
        );
    }
}
