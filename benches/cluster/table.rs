//! The figures as tables. Deliberately absent: how they were taken.

use std::fmt;

use quell_benches::phase::Phase;
use serde::Serialize;

use crate::engine::Sides;
use crate::paced::Kept;
use crate::place::Used;

/// One server as fast as it goes: alerts it did not know, the same again, and some new among them.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Run {
    pub(crate) what: String,
    pub(crate) phases: Vec<Phase>,
    pub(crate) used: Vec<Used>,
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
        match &self.soak {
            Some(kept) => rate(f, kept).and_then(|()| memory(f, &kept.resident_mib)),
            None => Ok(()),
        }
    }
}

fn sides(f: &mut fmt::Formatter<'_>, sides: &[Sides]) -> fmt::Result {
    for Sides { what, produced, consumed, decoded, decided } in sides {
        writeln!(f, "{what}")?;
        let rows = [
            ("raw rdkafka, produce", produced),
            ("raw rdkafka, consume", consumed),
            ("consume and decode only", decoded),
            ("quell: taken, decided, kept", decided),
        ];
        for (name, phase) in rows {
            let (rate, cpu) = (phase.per_second(), phase.per_cpu_second());
            writeln!(f, "  {name:<28} {rate:>12.0} alerts/s {cpu:>12.0} alerts/CPU-s")?;
        }
        let share = |of: &Phase| 100.0 * decided.per_second() / of.per_second();
        writeln!(f, "  = {:.0} % of decoding only, {:.0} % of raw consume\n", share(decoded), share(consumed))?;
    }
    Ok(())
}

fn runs(f: &mut fmt::Formatter<'_>, runs: &[Run]) -> fmt::Result {
    for Run { what, phases, used, resident_mib } in runs {
        writeln!(f, "{what} ({resident_mib:.0} MiB resident at the end)")?;
        for (at, (name, phase)) in PHASES.iter().zip(phases).enumerate() {
            let rate = phase.per_second();
            let (p50, p99) = (phase.p50_ms, phase.p99_ms);
            write!(f, "  {name:<8} {rate:>9.0} alerts/s  p50 {p50:>6.1} ms  p99 {p99:>6.1} ms")?;
            match used.get(at) {
                Some(used) => cpu(f, *used, phase.wall)?,
                None => writeln!(f, "  cores: server {:.2}", phase.cpu_seconds / phase.wall)?,
            }
        }
        writeln!(f)?;
    }
    Ok(())
}

fn cpu(f: &mut fmt::Formatter<'_>, used: Used, wall: f64) -> fmt::Result {
    let [quell, broker, postgres, client] = [used.quell, used.broker, used.postgres, used.client].map(|s| s / wall);
    writeln!(f, "  cores: quell {quell:.2} broker {broker:.2} postgres {postgres:.2} client {client:.2}")
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
    write!(f, " ")?;
    cpu(f, *used, *seconds)
}

/// Medians of thirds, and the slope of the last two.
fn memory(f: &mut fmt::Formatter<'_>, resident_mib: &[f64]) -> fmt::Result {
    let third = resident_mib.len() / 3;
    if third == 0 {
        return writeln!(f, "  too short to say how memory grows");
    }
    let [first, second, last] = [0, third, 2 * third].map(|from| median(&resident_mib[from..from + third]));
    writeln!(f, "  resident MiB, medians of thirds: {first:.0}, {second:.0}, {last:.0}")
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
