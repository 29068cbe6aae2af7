//! What is counted and traced of telling sinks.
//!
//! Absent on purpose: telling; see `quell-notify`.

use std::sync::Arc;

use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, global};
use prometheus::{IntCounterVec, Opts, Registry};
use quell_notify::{Attempt, Attempted, Observer, Sink};
use quell_store::Delivery;

use crate::journey::Told;
use crate::telemetry;

const fn name(attempted: Attempted) -> &'static str {
    match attempted {
        Attempted::Delivered => "delivered",
        Attempted::Failed => "failed",
        Attempted::GivenUp => "given_up",
    }
}

/// See the module.
pub(crate) struct Deliveries {
    attempts: IntCounterVec,
    told: Arc<Told>,
}

impl Deliveries {
    pub(crate) fn new(registry: &Registry, sinks: &[Sink], told: Arc<Told>) -> Result<Self, prometheus::Error> {
        let help = "Attempts to tell a sink of an incident: delivered, failed and tried again, given up";
        let attempts = Opts::new("quell_deliveries_attempted_total", help);
        let attempts = IntCounterVec::new(attempts, &["sink", "outcome"])?;
        for sink in sinks {
            for attempted in [Attempted::Delivered, Attempted::Failed, Attempted::GivenUp] {
                attempts.with_label_values(&[&*sink.name, name(attempted)]);
            }
        }
        registry.register(Box::new(attempts.clone()))?;
        Ok(Deliveries { attempts, told })
    }
}

impl Observer for Deliveries {
    fn begin(&self, sink: &str, delivery: &Delivery) -> Box<dyn Attempt> {
        let parent = self.told.parent(delivery.notice.incident, delivery.notice.number);
        let tracer = global::tracer("quell");
        let span = tracer
            .span_builder("deliver")
            .with_kind(SpanKind::Client)
            .with_attributes([
                KeyValue::new("http.request.method", "POST"),
                KeyValue::new("alerting.notify.integration.name", sink.to_owned()),
                KeyValue::new("quell.incident", delivery.notice.incident.to_string()),
                KeyValue::new("quell.transition", delivery.notice.transition.as_str()),
            ])
            .start_with_context(&tracer, &parent);
        let counters = self.attempts.clone();
        Box::new(Under { context: parent.with_span(span), counters, sink: sink.to_owned() })
    }
}

struct Under {
    context: Context,
    counters: IntCounterVec,
    sink: String,
}

impl Attempt for Under {
    fn traceparent(&self) -> Option<String> {
        telemetry::traceparent(&self.context)
    }

    fn end(self: Box<Self>, attempted: Attempted) {
        let name = name(attempted);
        self.counters.with_label_values(&[&*self.sink, name]).inc();
        let span = self.context.span();
        if attempted != Attempted::Delivered {
            span.set_status(Status::error(name));
        }
        span.end();
    }
}
