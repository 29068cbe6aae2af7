//! What is read of all shards at the moment it is asked for: what waits, whose turn it is, and whether the store is away.
//!
//! Absent on purpose: what is counted as it happens (`gauges`).

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, IntGaugeVec, Opts};
use quell_domain::Shard;

use crate::live::{Published, Role};

/// See the module.
pub(crate) struct Shown {
    shards: Vec<(String, Arc<Published>)>,
    lag: IntGauge,
    unflushed: IntGauge,
    away: IntGauge,
    lags: IntGaugeVec,
    deciding: IntGaugeVec,
    /// Two looks at once must not mix their figures.
    looking: Mutex<()>,
}

impl Shown {
    pub(crate) fn new(shards: impl IntoIterator<Item = (Shard, Arc<Published>)>) -> Result<Self, prometheus::Error> {
        let help = "Records that are durable and not yet decided and remembered; 0 at the end of the log";
        let lag = IntGauge::new("quell_log_lag_records", help)?;
        let help = "Alerts whose latest repeats are counted in memory and on the log, and not yet in the store";
        let unflushed = IntGauge::new("quell_alerts_unflushed", help)?;
        let help = "1 while the store takes no commit or does not answer, else 0";
        let away = IntGauge::new("quell_store_away", help)?;
        let help = "The same as quell_log_lag_records, of each shard";
        let lags = IntGaugeVec::new(Opts::new("quell_shard_lag_records", help), &["shard"])?;
        let help = "1 while this node decides in a shard, 0 while it stands by or takes over";
        let deciding = IntGaugeVec::new(Opts::new("quell_deciding", help), &["shard"])?;
        let shards = shards.into_iter().map(|(shard, published)| (shard.number.to_string(), published)).collect();
        Ok(Shown { shards, lag, unflushed, away, lags, deciding, looking: Mutex::default() })
    }
}

fn shown(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Collector for Shown {
    fn desc(&self) -> Vec<&Desc> {
        [self.lag.desc(), self.unflushed.desc(), self.away.desc(), self.lags.desc(), self.deciding.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut records, mut alerts) = (0, 0);
        for (number, published) in &self.shards {
            let (lag, unflushed) = published.waiting();
            (records, alerts) = (records + lag, alerts + unflushed);
            self.lags.with_label_values(&[number]).set(shown(lag));
            self.deciding.with_label_values(&[number]).set(i64::from(published.role() == Role::Deciding));
        }
        self.lag.set(shown(records));
        self.unflushed.set(shown(alerts));
        self.away.set(i64::from(self.shards.iter().any(|(_, published)| published.is_store_away())));
        let lag = [self.lag.collect(), self.unflushed.collect(), self.lags.collect()].concat();
        [lag, self.away.collect(), self.deciding.collect()].concat()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use quell_domain::Position;
    use quell_log::LogState;
    use tokio::sync::watch;

    use super::*;

    /// Each record leaves one more alert unwritten; both figures are of one look.
    #[test]
    fn what_is_decided_during_a_look_does_not_pass_for_written() {
        const RECORDS: u64 = 20_000_000;
        let published = Arc::new(Published::new(watch::channel(LogState::Open).1));
        published.appended(Position(RECORDS));
        let registry = prometheus::Registry::new();
        let shown = Shown::new([(Shard::FIRST, Arc::clone(&published))]).expect("good names");
        registry.register(Box::new(shown)).expect("a new registry has no metrics");
        let ended = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for position in 1..=RECORDS {
                    published.unflushed(position);
                    published.applied(Position(position));
                }
                ended.store(true, Ordering::Release);
            });
            let mut looks = 0;
            while !ended.load(Ordering::Acquire) || looks == 0 {
                let shown = registry.gather();
                let value = |name: &str| {
                    let family = shown.iter().find(|family| family.name() == name).expect("shown");
                    family.get_metric()[0].get_gauge().get_value()
                };
                let (lag, unflushed) = (value("quell_log_lag_records"), value("quell_alerts_unflushed"));
                assert!(lag + unflushed >= RECORDS as f64, "{lag} wait to be decided and {unflushed} to be written");
                looks += 1;
            }
        });
    }
}
