//! One span for each request that changes something, under the trace of whoever sent it.
//!
//! Named as OpenTelemetry's conventions for HTTP say. Where no exporter is set up nothing is recorded, and the sender's
//! trace is passed on all the same. Absent on purpose: what becomes of the spans; the process that serves says that.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use opentelemetry::propagation::Extractor;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, global};

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}

/// Begins the span of a request.
pub(crate) fn begin(request: &Request, route: &str) -> Context {
    let parent = global::get_text_map_propagator(|known| known.extract(&Headers(request.headers())));
    let method = request.method();
    let tracer = global::tracer("quell");
    let span = tracer
        .span_builder(format!("{method} {route}"))
        .with_kind(SpanKind::Server)
        .with_attributes([
            KeyValue::new("http.request.method", method.to_string()),
            KeyValue::new("http.route", route.to_owned()),
            KeyValue::new("url.path", request.uri().path().to_owned()),
            KeyValue::new("url.scheme", "http"),
        ])
        .start_with_context(&tracer, &parent);
    parent.with_span(span)
}

/// Ends it.
pub(crate) fn end(context: &Context, status: StatusCode) {
    let span = context.span();
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    if status.is_server_error() {
        span.set_status(Status::error(status.as_str().to_owned()));
    }
    span.end();
}
