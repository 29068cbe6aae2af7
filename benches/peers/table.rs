//! The figures of all rounds, and their medians as a table. Deliberately absent: how they were taken.

use std::fmt;

use quell_benches::figures::median;
use quell_benches::phase::{Phase, Phases};
use serde::Serialize;

/// A start on data with many open alerts.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Restart {
    pub(crate) open_alerts: u64,
    pub(crate) ready_ms: u64,
    pub(crate) resident_bytes: u64,
    /// Resident memory before the kill, less that of the empty server, for each alert with its text.
    pub(crate) grown_bytes_per_alert: u64,
}

/// Everything measured.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Results {
    pub(crate) alerts: u64,
    pub(crate) batch: u64,
    pub(crate) repeats: u64,
    pub(crate) connections: usize,
    pub(crate) alertmanager: Vec<Phases>,
    pub(crate) quell: Vec<Phases>,
    pub(crate) restart: Option<Restart>,
}

type Pick = fn(&Phases) -> &Phase;
const PHASES: [(&str, Pick); 3] = [("new", |p| &p.new), ("repeats", |p| &p.repeats), ("all", |p| &p.all)];

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (alerts, batch, repeats) = (self.alerts, self.batch, self.repeats);
        let rounds = self.quell.len();
        writeln!(
            f,
            "{alerts} alerts in bodies of {batch}, then {repeats} times again; {} connections;",
            self.connections
        )?;
        writeln!(f, "medians of {rounds} rounds\n")?;
        let (cpu, wall) = ("alerts/CPU-s", "alerts/s");
        writeln!(
            f,
            "{:<8} {:<13} {cpu:>13} {wall:>11} {:>8} {:>8} {:>8}",
            "phase", "server", "CPU s", "p50 ms", "p99 ms"
        )?;
        for (name, pick) in PHASES {
            let mut rates = Vec::new();
            for (server, rounds) in [("alertmanager", &self.alertmanager), ("quell", &self.quell)] {
                let of = |value: fn(&Phase) -> f64| median(rounds.iter().map(|round| value(pick(round))));
                let (cpu_rate, rate) = (of(Phase::per_cpu_second), of(Phase::per_second));
                let (cpu, p50, p99) = (of(|p| p.cpu_seconds), of(|p| p.p50_ms), of(|p| p.p99_ms));
                writeln!(f, "{name:<8} {server:<13} {cpu_rate:>13.0} {rate:>11.0} {cpu:>8.2} {p50:>8.2} {p99:>8.2}")?;
                rates.push((cpu_rate, rate));
            }
            if let [theirs, ours] = rates[..] {
                let ratio = |ours: f64, theirs: f64| ours / theirs.max(1e-9);
                let (cpu, wall) = (ratio(ours.0, theirs.0), ratio(ours.1, theirs.1));
                writeln!(f, "{name:<8} {:<13} {cpu:>12.1}x {wall:>10.1}x", "ratio")?;
            }
        }
        for (server, rounds) in [("alertmanager", &self.alertmanager), ("quell", &self.quell)] {
            let resident = median(rounds.iter().map(|round| round.resident_bytes as f64)) / f64::from(1 << 20);
            writeln!(f, "\n{server}: {resident:.0} MiB resident at the end")?;
        }
        if let Some(Restart { open_alerts, ready_ms, resident_bytes, grown_bytes_per_alert }) = self.restart {
            let mib = resident_bytes >> 20;
            writeln!(
                f,
                "\nquell with {open_alerts} open alerts: ready {ready_ms} ms after its start, {mib} MiB resident;"
            )?;
            writeln!(f, "{grown_bytes_per_alert} bytes resident for each alert before, its text included")?;
        }
        Ok(())
    }
}
