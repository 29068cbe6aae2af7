//! What is read of all shards at the moment it is asked for: what waits, whose turn it is, and whether the store is away.
//!
//! Absent on purpose: what is counted as it happens (`gauges`).

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, IntGaugeVec, Opts};
use quell_domain::Shard;

use crate::live::{Published, Role};

/// See the module.
pub(crate) struct Shown {
    shards: Vec<(String, Arc<Published>)>,
    lag: IntGauge,
    away: IntGauge,
    lags: IntGaugeVec,
    deciding: IntGaugeVec,
}

impl Shown {
    pub(crate) fn new(shards: impl IntoIterator<Item = (Shard, Arc<Published>)>) -> Result<Self, prometheus::Error> {
        let help = "Records that are durable and not yet decided and remembered; 0 at the end of the log";
        let lag = IntGauge::new("quell_log_lag_records", help)?;
        let help = "1 while the store takes no commit or does not answer, else 0";
        let away = IntGauge::new("quell_store_away", help)?;
        let help = "The same as quell_log_lag_records, of each shard";
        let lags = IntGaugeVec::new(Opts::new("quell_shard_lag_records", help), &["shard"])?;
        let help = "1 while this node decides in a shard, 0 while it stands by or takes over";
        let deciding = IntGaugeVec::new(Opts::new("quell_deciding", help), &["shard"])?;
        let shards = shards.into_iter().map(|(shard, published)| (shard.number.to_string(), published)).collect();
        Ok(Shown { shards, lag, away, lags, deciding })
    }
}

fn shown(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Collector for Shown {
    fn desc(&self) -> Vec<&Desc> {
        [self.lag.desc(), self.away.desc(), self.lags.desc(), self.deciding.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (number, published) in &self.shards {
            self.lags.with_label_values(&[number]).set(shown(published.lag()));
            self.deciding.with_label_values(&[number]).set(i64::from(published.role() == Role::Deciding));
        }
        let shards = || self.shards.iter().map(|(_, published)| published);
        self.lag.set(shown(shards().map(|published| published.lag()).sum()));
        self.away.set(i64::from(shards().any(|published| published.is_store_away())));
        [self.lag.collect(), self.away.collect(), self.lags.collect(), self.deciding.collect()].concat()
    }
}
