//! What the process counts of itself, beside what the HTTP side counts.
//!
//! Absent on purpose: ids, fingerprints and names of CIs as label values.

use std::sync::Arc;
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use quell_domain::{Notice, Priority, Transition};
use quell_engine::{AlertChange, Altered, Disposed, Recognised};

use crate::live::{Published, Role};

/// Every metric of the loop around the engine.
#[derive(Debug)]
pub(crate) struct Gauges {
    received: IntCounter,
    disposed: IntCounterVec,
    unbound: IntCounterVec,
    alerts: IntGauge,
    incidents: IntGauge,
    unflushed: IntGauge,
    commits: Histogram,
    decisions: Histogram,
    appends: Histogram,
    transitions: IntCounterVec,
    epoch: IntGauge,
    changes: ChangeCounters,
    problems: IntCounterVec,
}

/// What is counted of changes told of.
#[derive(Debug)]
struct ChangeCounters {
    received: IntCounter,
    disposed: IntCounterVec,
    crowded_out: IntCounter,
}

impl ChangeCounters {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let received = "Changes told of and decided, refused ones included; they are no alerts";
        let received = IntCounter::new("quell_changes_received_total", received)?;
        let disposed = "What became of changes told of; the sum equals quell_changes_received_total";
        let disposed = IntCounterVec::new(Opts::new("quell_changes_disposed_total", disposed), &["disposition"])?;
        for (_, name) in Altered::default().each() {
            disposed.with_label_values(&[name]);
        }
        let crowded_out = "Recent changes let go of before their time, because of the limit `recent_changes`";
        let crowded_out = IntCounter::new("quell_changes_crowded_out_total", crowded_out)?;
        let all: [Box<dyn Collector>; 3] =
            [Box::new(received.clone()), Box::new(disposed.clone()), Box::new(crowded_out.clone())];
        for metric in all {
            registry.register(metric)?;
        }
        Ok(ChangeCounters { received, disposed, crowded_out })
    }
}

/// What is counted of recurrence.
fn recognised(registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
    let said = "Incidents that were over, of a known signature or novel; signatures crowded out by the limit of them; \
        problems drafted, and not drafted because of the limit of them";
    let counts = IntCounterVec::new(Opts::new("quell_problems_counted_total", said), &["what"])?;
    for (_, name) in Recognised::default().each() {
        counts.with_label_values(&[name]);
    }
    registry.register(Box::new(counts.clone()))?;
    Ok(counts)
}

/// What is counted of incidents.
fn transitions(registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
    let said = "What happened to incidents, by their priority then";
    let counts = Opts::new("quell_incidents_transitions_total", said);
    let counts = IntCounterVec::new(counts, &["transition", "priority"])?;
    for transition in Transition::ALL {
        for priority in (1..=5).filter_map(Priority::new) {
            counts.with_label_values(&[transition.as_str(), &*priority.to_string()]);
        }
    }
    registry.register(Box::new(counts.clone()))?;
    Ok(counts)
}

impl Gauges {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let received =
            IntCounter::new("quell_alerts_received_total", "Items received and decided, refused ones included")?;
        let disposed = Opts::new(
            "quell_alerts_disposed_total",
            "What became of received items; the sum equals quell_alerts_received_total",
        );
        let disposed = IntCounterVec::new(disposed, &["disposition"])?;
        for (_, name) in Disposed::default().each() {
            disposed.with_label_values(&[name]);
        }
        let unbound = "Times that an alert was bound to no CI, by reason; alerts are bound when they are new and again \
            when another topology or other rules come into force";
        let unbound = IntCounterVec::new(Opts::new("quell_alerts_unbound_total", unbound), &["reason"])?;
        for code in ["ambiguous", "no_match", "no_topology"] {
            unbound.with_label_values(&[code]);
        }
        let alerts = IntGauge::new("quell_alerts_firing", "Alerts that fire")?;
        let incidents = IntGauge::new("quell_incidents_open", "Incidents that are open")?;
        let unflushed = "Alerts whose latest repeats are counted in memory and on the log, and not yet in the store";
        let unflushed = IntGauge::new("quell_alerts_unflushed", unflushed)?;
        let commits = HistogramOpts::new("quell_store_commit_seconds", "How long commits of effects took")
            .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5]);
        let commits = Histogram::with_opts(commits)?;
        let decisions = "From the receipt of a record of alerts or changes to the commit of what was decided of it";
        let decisions = HistogramOpts::new("quell_decision_seconds", decisions)
            .buckets(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0]);
        let decisions = Histogram::with_opts(decisions)?;
        let appends = HistogramOpts::new("quell_log_append_seconds", "How long it took to make records durable")
            .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0]);
        let appends = Histogram::with_opts(appends)?;
        let epoch =
            IntGauge::new("quell_shard_epoch", "The epoch in which this node decides; each take-over adds one")?;
        let build =
            Opts::new("quell_build_info", "The version that runs").const_label("version", env!("CARGO_PKG_VERSION"));
        let build = IntGauge::with_opts(build)?;
        build.set(1);
        let all: [Box<dyn Collector>; 11] = [
            Box::new(received.clone()),
            Box::new(disposed.clone()),
            Box::new(unbound.clone()),
            Box::new(alerts.clone()),
            Box::new(incidents.clone()),
            Box::new(unflushed.clone()),
            Box::new(commits.clone()),
            Box::new(decisions.clone()),
            Box::new(appends.clone()),
            Box::new(epoch.clone()),
            Box::new(build),
        ];
        for metric in all {
            registry.register(metric)?;
        }
        let changes = ChangeCounters::new(registry)?;
        let problems = recognised(registry)?;
        let transitions = transitions(registry)?;
        Ok(Gauges {
            received,
            disposed,
            unbound,
            alerts,
            incidents,
            unflushed,
            commits,
            decisions,
            appends,
            transitions,
            epoch,
            changes,
            problems,
        })
    }

    pub(crate) fn disposed(&self, disposed: Disposed) {
        self.received.inc_by(disposed.received);
        for (count, name) in disposed.each() {
            if count > 0 {
                self.disposed.with_label_values(&[name]).inc_by(count);
            }
        }
    }

    pub(crate) fn altered(&self, altered: Altered) {
        self.changes.received.inc_by(altered.received);
        self.changes.crowded_out.inc_by(altered.crowded_out);
        for (count, name) in altered.each().into_iter().filter(|(count, _)| *count > 0) {
            self.changes.disposed.with_label_values(&[name]).inc_by(count);
        }
    }

    pub(crate) fn recognised(&self, tally: Recognised) {
        for (count, name) in tally.each().into_iter().filter(|(count, _)| *count > 0) {
            self.problems.with_label_values(&[name]).inc_by(count);
        }
    }

    /// Counts what was left unbound; the codes are the engine's own, so that there are few.
    pub(crate) fn unbound(&self, changes: &[AlertChange]) {
        for change in changes {
            if let AlertChange::Put(alert) = change
                && let Some(reason) = &alert.unbound
            {
                self.unbound.with_label_values(&[&reason.code]).inc();
            }
        }
    }

    pub(crate) fn in_hand(&self, alerts: u64, incidents: u64) {
        self.alerts.set(i64::try_from(alerts).unwrap_or(i64::MAX));
        self.incidents.set(i64::try_from(incidents).unwrap_or(i64::MAX));
    }

    pub(crate) fn unflushed(&self, alerts: usize) {
        self.unflushed.set(i64::try_from(alerts).unwrap_or(i64::MAX));
    }

    /// A record was decided and remembered, so long after its receipt.
    pub(crate) fn decided(&self, took: Duration) {
        self.decisions.observe(took.as_secs_f64());
    }

    /// A record is durable, so long after it was there.
    pub(crate) fn appended(&self, took: Duration) {
        self.appends.observe(took.as_secs_f64());
    }

    /// What happened to incidents.
    pub(crate) fn transitions(&self, notices: &[Notice]) {
        for Notice { transition, priority, .. } in notices {
            self.transitions.with_label_values(&[transition.as_str(), &priority.to_string()]).inc();
        }
    }

    /// This node decides.
    pub(crate) fn in_charge(&self, epoch: u64) {
        self.epoch.set(i64::try_from(epoch).unwrap_or(i64::MAX));
    }

    pub(crate) fn committed(&self, took: Duration) {
        self.commits.observe(took.as_secs_f64());
    }
}

/// What is known of learned state.
#[derive(Debug)]
pub(crate) struct LearnedGauges {
    episodes: IntGauge,
    age: IntGauge,
    trainings: IntCounterVec,
}

impl LearnedGauges {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let episodes = "Alert episodes that the learned state in force was made of; 0 when none is in force";
        let episodes = IntGauge::new("quell_learned_episodes", episodes)?;
        let age = "Time since the learned state in force came into force; 0 when none is in force";
        let age = IntGauge::new("quell_learned_age_seconds", age)?;
        let trainings = Opts::new("quell_learned_trainings_total", "Times that quell learned anew, by what came of it");
        let trainings = IntCounterVec::new(trainings, &["outcome"])?;
        for outcome in ["activated", "failed"] {
            trainings.with_label_values(&[outcome]);
        }
        let all: [Box<dyn Collector>; 3] =
            [Box::new(episodes.clone()), Box::new(age.clone()), Box::new(trainings.clone())];
        for metric in all {
            registry.register(metric)?;
        }
        Ok(LearnedGauges { episodes, age, trainings })
    }

    pub(crate) fn in_force(&self, episodes: u64, age: Duration) {
        self.episodes.set(i64::try_from(episodes).unwrap_or(i64::MAX));
        self.age.set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    }

    pub(crate) fn trained(&self, outcome: &str) {
        self.trainings.with_label_values(&[outcome]).inc();
    }
}

/// The lag and whether the store is away, read at the moment they are asked for.
pub(crate) struct Lag {
    published: Arc<Published>,
    gauge: IntGauge,
    away: IntGauge,
    deciding: IntGauge,
}

impl Lag {
    pub(crate) fn new(published: Arc<Published>) -> Result<Self, prometheus::Error> {
        let help = "Records that are durable and not yet decided and remembered; 0 at the end of the log";
        let gauge = IntGauge::new("quell_log_lag_records", help)?;
        let help = "1 while the store takes no commit or does not answer, else 0";
        let away = IntGauge::new("quell_store_away", help)?;
        let help = "1 while this node decides, 0 while it stands by or takes over";
        Ok(Lag { published, gauge, away, deciding: IntGauge::new("quell_deciding", help)? })
    }
}

impl Collector for Lag {
    fn desc(&self) -> Vec<&Desc> {
        [self.gauge.desc(), self.away.desc(), self.deciding.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gauge.set(i64::try_from(self.published.lag()).unwrap_or(i64::MAX));
        self.away.set(i64::from(self.published.is_store_away()));
        self.deciding.set(i64::from(self.published.role() == Role::Deciding));
        [self.gauge.collect(), self.away.collect(), self.deciding.collect()].concat()
    }
}
