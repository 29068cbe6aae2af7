//! What a torture run saw, and whether quell passed.
//!
//! Deliberately absent: how it was seen.

use std::fmt;

use serde::Serialize;

/// The run, counted.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Report {
    /// Repeat the run with it.
    pub seed: u64,
    /// How long it took.
    pub seconds: f64,
    /// Kills under load.
    pub kills: u64,
    /// Further kills in the middle of a recovery.
    pub kills_in_recovery: u64,
    /// Requests that were sent before a kill and never answered.
    pub hit_in_flight: u64,
    /// Starts that found records on the log that the store did not contain yet.
    pub recoveries_with_unapplied: u64,
    /// Requests acknowledged.
    pub acknowledged_requests: u64,
    /// Alerts in them, repeats and resolves included.
    pub acknowledged_alerts: u64,
    /// Operators' commands acknowledged.
    pub acknowledged_commands: u64,
    /// Without so many acknowledged alerts the run proves nothing.
    pub least_acknowledged: u64,
    /// Requests sent once more.
    pub retried: u64,
    /// Answers 503.
    pub refused: u64,
    /// Alert episodes at the end.
    pub alerts: u64,
    /// Incidents at the end.
    pub incidents: u64,
    /// Comparisons of everything owed with everything there.
    pub checks: u64,
    /// Acknowledged and lost.
    pub lost: u64,
    /// Incidents there twice, or alerts in two of them.
    pub duplicate_incidents: u64,
    /// The longest time from a start to "ready".
    pub slowest_ready_ms: u64,
    /// From a fresh alert's request to its incident, after the last fault.
    pub fresh_alert_ms: u64,
    /// What only several nodes have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterReport>,
    /// Every broken promise, cut at a readable number.
    pub findings: Vec<String>,
}

/// What several nodes with one log and one store saw beside kills.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct ClusterReport {
    /// How many nodes.
    pub nodes: u64,
    /// How many brokers.
    pub brokers: u64,
    /// From the end or freezing of the node that decided until another one did, each in milliseconds, sorted.
    pub take_overs_ms: Vec<u64>,
    /// Nodes frozen for longer than their session.
    pub frozen: u64,
    /// Commits of theirs that the store was seen to refuse when they woke.
    pub commits_refused: u64,
    /// Nodes that left by themselves and joined again.
    pub left_and_joined: u64,
    /// Times that a broker was stopped, or killed and started again.
    pub broker_faults: u64,
    /// Times that PostgreSQL was stopped and started again.
    pub store_faults: u64,
    /// Requests acknowledged into the spool of a node.
    pub spooled: u64,
}

/// The longest that a take-over may take.
const TAKE_OVER_MS: u64 = 15_000;

impl ClusterReport {
    /// The median of the take-overs.
    #[must_use]
    pub fn median_ms(&self) -> u64 {
        self.take_overs_ms.get(self.take_overs_ms.len() / 2).copied().unwrap_or(0)
    }

    /// The longest of them.
    #[must_use]
    pub fn longest_ms(&self) -> u64 {
        self.take_overs_ms.last().copied().unwrap_or(0)
    }

    fn vacuous(&self) -> Option<String> {
        match self {
            _ if self.take_overs_ms.is_empty() => Some("no node took over from another".to_owned()),
            _ if self.frozen > 0 && self.commits_refused == 0 => Some("no frozen node's commit was refused".to_owned()),
            _ => None,
        }
    }
}

/// How a report is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Report {
    /// Nothing was lost, nothing is there twice, and the run proves something.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.lost == 0
            && self.duplicate_incidents == 0
            && self.findings.is_empty()
            && self.vacuous().is_empty()
            && !self.is_late()
    }

    /// A take-over took too long.
    fn is_late(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.longest_ms() > TAKE_OVER_MS)
    }

    /// What the run would have had to see to prove anything, and did not.
    #[must_use]
    pub fn vacuous(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if self.hit_in_flight == 0 {
            missing.push("no kill hit a request in flight".to_owned());
        }
        if self.acknowledged_alerts < self.least_acknowledged {
            let (seen, least) = (self.acknowledged_alerts, self.least_acknowledged);
            missing.push(format!("{seen} alerts were acknowledged, at least {least} are needed"));
        }
        if let Some(cluster) = &self.cluster {
            missing.extend(cluster.vacuous());
        } else if self.recoveries_with_unapplied == 0 {
            missing.push("no start found records that were not applied yet".to_owned());
        }
        missing
    }

    /// The report as text or JSON.
    ///
    /// # Errors
    /// Never for this type; the writer's signature has one.
    pub fn written(&self, shape: Shape) -> serde_json::Result<String> {
        match shape {
            Shape::Text => Ok(self.to_string()),
            Shape::Json => {
                let mut value = serde_json::to_value(self)?;
                value["passed"] = self.passed().into();
                value["vacuous"] = self.vacuous().into();
                serde_json::to_string_pretty(&value)
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "torture, seed {}: {} kills under load in {:.0} s", self.seed, self.kills, self.seconds)?;
        writeln!(f, "  {:>8} requests in flight when a kill came", self.hit_in_flight)?;
        writeln!(f, "  {:>8} kills in the middle of a recovery", self.kills_in_recovery)?;
        writeln!(f, "  {:>8} starts with records not applied yet", self.recoveries_with_unapplied)?;
        let (requests, commands) = (self.acknowledged_requests, self.acknowledged_commands);
        writeln!(
            f,
            "  {:>8} alerts acknowledged in {requests} requests; {commands} commands",
            self.acknowledged_alerts
        )?;
        writeln!(f, "  {:>8} requests sent again, {} answered 503", self.retried, self.refused)?;
        writeln!(f, "  {:>8} alert episodes in {} incidents, {} checks", self.alerts, self.incidents, self.checks)?;
        writeln!(
            f,
            "  {:>8} ms to be ready, at worst; {} ms for a fresh alert",
            self.slowest_ready_ms, self.fresh_alert_ms
        )?;
        writeln!(f, "  {:>8} acknowledged and lost", self.lost)?;
        writeln!(f, "  {:>8} duplicate incidents", self.duplicate_incidents)?;
        if let Some(cluster) = &self.cluster {
            write!(f, "{cluster}")?;
        }
        for finding in &self.findings {
            writeln!(f, "  finding: {finding}")?;
        }
        for missing in self.vacuous() {
            writeln!(f, "  proves nothing: {missing}")?;
        }
        f.write_str(if self.passed() { "passed" } else { "FAILED" })
    }
}

impl fmt::Display for ClusterReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nodes, brokers, count) = (self.nodes, self.brokers, self.take_overs_ms.len());
        writeln!(f, "  {nodes:>8} nodes, {brokers} brokers")?;
        writeln!(f, "  {count:>8} take-overs: median {} ms, longest {} ms", self.median_ms(), self.longest_ms())?;
        writeln!(f, "  {:>8} nodes frozen, {} commits of theirs refused", self.frozen, self.commits_refused)?;
        writeln!(f, "  {:>8} times a node left and joined again", self.left_and_joined)?;
        let (broker, store) = (self.broker_faults, self.store_faults);
        writeln!(f, "  {broker:>8} times a broker was stopped or killed, {store} times PostgreSQL")?;
        writeln!(f, "  {:>8} requests acknowledged into a spool", self.spooled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        Report {
            hit_in_flight: 1,
            acknowledged_alerts: 10,
            least_acknowledged: 10,
            recoveries_with_unapplied: 1,
            ..Report::default()
        }
    }

    #[test]
    fn a_run_that_proves_nothing_fails() {
        assert!(good().passed());
        for vacuous in [
            Report { hit_in_flight: 0, ..good() },
            Report { acknowledged_alerts: 9, ..good() },
            Report { recoveries_with_unapplied: 0, ..good() },
        ] {
            assert!(!vacuous.passed());
            assert!(vacuous.to_string().contains("proves nothing"), "{vacuous}");
        }
    }

    #[test]
    fn nodes_must_take_over_in_time_and_be_seen_refused() {
        let several = ClusterReport { take_overs_ms: vec![900, 6_000, 14_000], ..ClusterReport::default() };
        let with = |cluster| Report { recoveries_with_unapplied: 0, cluster: Some(cluster), ..good() };
        assert!(with(several.clone()).passed());
        assert_eq!((several.median_ms(), several.longest_ms()), (6_000, 14_000));
        assert!(with(ClusterReport { frozen: 2, commits_refused: 1, ..several.clone() }).passed());
        for bad in [
            ClusterReport { take_overs_ms: Vec::new(), ..several.clone() },
            ClusterReport { frozen: 2, ..several.clone() },
            ClusterReport { take_overs_ms: vec![15_001], ..several },
        ] {
            assert!(!with(bad.clone()).passed(), "{bad}");
        }
    }

    #[test]
    fn a_broken_promise_fails() {
        assert!(!Report { lost: 1, ..good() }.passed());
        assert!(!Report { duplicate_incidents: 1, ..good() }.passed());
        let found = Report { findings: vec!["alert 7".into()], ..good() };
        assert!(!found.passed() && found.to_string().contains("finding: alert 7"));
        assert!(found.written(Shape::Json).expect("JSON").contains("\"passed\": false"));
    }
}
