//! What the HTTP side counts, and the registry it is read from.
//!
//! Absent on purpose: ids, paths as requested, addresses; a label's values come from the route table only.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// The process's metrics; the HTTP side registers its own and shows all of them at `/metrics`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    pub(crate) streams: IntGauge,
}

impl Metrics {
    /// Registers the HTTP side's metrics.
    ///
    /// # Errors
    /// When the registry already has metrics of these names.
    pub fn new(registry: Registry) -> Result<Self, prometheus::Error> {
        let requests = Opts::new("quell_http_requests_total", "HTTP requests answered, by route and status");
        let requests = IntCounterVec::new(requests, &["route", "status"])?;
        let streams = IntGauge::new("quell_http_streams", "Live streams that are open")?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(streams.clone()))?;
        Ok(Metrics { registry, requests, streams })
    }

    /// Counts an answered request.
    pub(crate) fn answered(&self, route: &str, status: &str) {
        self.requests.with_label_values(&[route, status]).inc();
    }

    /// Every metric of the process, in Prometheus' text format.
    pub(crate) fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
