//! What the HTTP side counts, and the registry it is read from.
//!
//! Absent on purpose: ids, paths as requested, addresses; a label's values come from the route table only.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// The process's metrics; the HTTP side registers its own and shows all of them at `/metrics`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    took: HistogramVec,
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
        let took = HistogramOpts::new("quell_http_request_seconds", "How long requests took to answer, by route")
            .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]);
        let took = HistogramVec::new(took, &["route"])?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(took.clone()))?;
        registry.register(Box::new(streams.clone()))?;
        Ok(Metrics { registry, requests, took, streams })
    }

    /// Counts an answered request.
    pub(crate) fn answered(&self, route: &str, status: &str, took: Duration) {
        self.took.with_label_values(&[route]).observe(took.as_secs_f64());
        self.requests.with_label_values(&[route, status]).inc();
    }

    /// Every metric of the process, in Prometheus' text format.
    pub(crate) fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
