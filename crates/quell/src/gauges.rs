//! What the process counts of itself, beside what the HTTP side counts.
//!
//! Absent on purpose: ids, fingerprints and names of CIs as label values.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use quell_domain::{Notice, Priority, Shard, Transition};
use quell_engine::{AlertChange, Altered, Disposed, Recognised};

/// The label of what is said of each shard; there are few of them.
const SHARD: &str = "shard";

/// One shard's share of a gauge that shows the sum of all of them.
#[derive(Clone, Debug)]
struct Share {
    sum: IntGauge,
    own: Arc<AtomicI64>,
}

impl Share {
    fn of(sum: IntGauge) -> Self {
        Share { sum, own: Arc::default() }
    }

    fn set(&self, value: i64) {
        self.sum.add(value - self.own.swap(value, Ordering::AcqRel));
    }

    /// Another shard's.
    fn beside(&self) -> Self {
        Share::of(self.sum.clone())
    }
}

/// Every metric of the loop around one shard's engine; what is counted is counted together with the other shards.
#[derive(Clone, Debug)]
pub(crate) struct Gauges {
    received: IntCounter,
    disposed: IntCounterVec,
    crowded_out: IntCounter,
    unbound: IntCounterVec,
    alerts: Share,
    incidents: Share,
    commits: Histogram,
    decisions: Histogram,
    appends: Histogram,
    transitions: IntCounterVec,
    epochs: IntGaugeVec,
    shard: Shard,
    changes: ChangeCounters,
    problems: IntCounterVec,
}

/// What is counted of changes told of.
#[derive(Clone, Debug)]
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
        let crowded_out = "Ended alerts let go of while their incident went on, because of the limit `ended_alerts`";
        let crowded_out = IntCounter::new("quell_alerts_crowded_out_total", crowded_out)?;
        let unbound = "Times that an alert was bound to no CI, by reason; alerts are bound when they are new and again \
            when another topology or other rules come into force";
        let unbound = IntCounterVec::new(Opts::new("quell_alerts_unbound_total", unbound), &["reason"])?;
        for code in ["ambiguous", "no_match", "no_topology"] {
            unbound.with_label_values(&[code]);
        }
        let alerts = IntGauge::new("quell_alerts_firing", "Alerts that fire")?;
        let incidents = IntGauge::new("quell_incidents_open", "Incidents that are open")?;
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
        let epochs = "The epoch in which this node decides in a shard; each take-over adds one";
        let epochs = IntGaugeVec::new(Opts::new("quell_shard_epoch", epochs), &[SHARD])?;
        epochs.with_label_values(&[&*Shard::FIRST.number.to_string()]);
        let build =
            Opts::new("quell_build_info", "The version that runs").const_label("version", env!("CARGO_PKG_VERSION"));
        let build = IntGauge::with_opts(build)?;
        build.set(1);
        let all: [Box<dyn Collector>; 11] = [
            Box::new(received.clone()),
            Box::new(disposed.clone()),
            Box::new(crowded_out.clone()),
            Box::new(unbound.clone()),
            Box::new(alerts.clone()),
            Box::new(incidents.clone()),
            Box::new(commits.clone()),
            Box::new(decisions.clone()),
            Box::new(appends.clone()),
            Box::new(epochs.clone()),
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
            crowded_out,
            unbound,
            alerts: Share::of(alerts),
            incidents: Share::of(incidents),
            commits,
            decisions,
            appends,
            transitions,
            epochs,
            shard: Shard::FIRST,
            changes,
            problems,
        })
    }

    /// Those of another shard.
    pub(crate) fn beside(&self, shard: Shard) -> Self {
        self.epochs.with_label_values(&[&*shard.number.to_string()]);
        Gauges { shard, alerts: self.alerts.beside(), incidents: self.incidents.beside(), ..self.clone() }
    }

    pub(crate) fn disposed(&self, disposed: Disposed) {
        self.received.inc_by(disposed.received);
        self.crowded_out.inc_by(disposed.crowded_out);
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
            if let Some(reason) = change.row().and_then(|alert| alert.unbound.as_ref()) {
                self.unbound.with_label_values(&[&reason.code]).inc();
            }
        }
    }

    pub(crate) fn in_hand(&self, alerts: u64, incidents: u64) {
        self.alerts.set(i64::try_from(alerts).unwrap_or(i64::MAX));
        self.incidents.set(i64::try_from(incidents).unwrap_or(i64::MAX));
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
        let gauge = self.epochs.with_label_values(&[&*self.shard.number.to_string()]);
        gauge.set(i64::try_from(epoch).unwrap_or(i64::MAX));
    }

    pub(crate) fn committed(&self, took: Duration) {
        self.commits.observe(took.as_secs_f64());
    }
}

/// What is known of a shard's learned state.
#[derive(Clone, Debug)]
pub(crate) struct LearnedGauges {
    episodes: Share,
    age: Greatest,
    trainings: IntCounterVec,
}

/// One shard's value of a gauge that shows the greatest.
#[derive(Clone, Debug)]
struct Greatest {
    shown: IntGauge,
    all: Arc<Mutex<BTreeMap<Shard, i64>>>,
    shard: Shard,
}

impl Greatest {
    fn set(&self, value: i64) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(self.shard, value);
        self.shown.set(all.values().copied().max().unwrap_or_default());
    }
}

impl LearnedGauges {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let episodes = "Alert episodes that the learned state in force was made of; 0 when none is in force";
        let episodes = IntGauge::new("quell_learned_episodes", episodes)?;
        let age = "Time since the learned state in force came into force, the oldest shard's; 0 when none is in force";
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
        let age = Greatest { shown: age, all: Arc::default(), shard: Shard::FIRST };
        Ok(LearnedGauges { episodes: Share::of(episodes), age, trainings })
    }

    /// Those of another shard.
    pub(crate) fn beside(&self, shard: Shard) -> Self {
        let age = Greatest { shard, ..self.age.clone() };
        LearnedGauges { age, episodes: self.episodes.beside(), ..self.clone() }
    }

    pub(crate) fn in_force(&self, episodes: u64, age: Duration) {
        self.episodes.set(i64::try_from(episodes).unwrap_or(i64::MAX));
        self.age.set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    }

    pub(crate) fn trained(&self, outcome: &str) {
        self.trainings.with_label_values(&[outcome]).inc();
    }
}
