//! What the process says of itself: its log on standard error, and by OTLP where an endpoint is named.
//!
//! Nothing is exported unless the environment names an endpoint, as OpenTelemetry's own variables do. Exporting has
//! threads and queues of its own: what finds a full queue, or a collector that is away, is dropped and never waited for.
//! Absent on purpose: metrics by OTLP; they are scraped.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::{Context, global};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// How long what waits to be exported may take when the process ends.
const FAREWELL: Duration = Duration::from_secs(3);

/// What exporting itself says is not exported, or it would never end.
const EXPORTING: &str = "opentelemetry=off,opentelemetry_sdk=off,opentelemetry_otlp=off,opentelemetry_http=off,\
    hyper=off,hyper_util=off,reqwest=off,rustls=off,h2=off";

/// What must be let go of at the end of the process.
#[derive(Debug, Default)]
pub(crate) struct Telemetry {
    traces: Option<SdkTracerProvider>,
    logs: Option<SdkLoggerProvider>,
}

/// Whether the environment names somewhere to export a signal to.
fn is_wanted(signal: &str, read: impl Fn(&str) -> Option<String>) -> bool {
    let said = |name: &str| read(name).is_some_and(|value| !value.trim().is_empty());
    let off = read("OTEL_SDK_DISABLED").is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
        || read(&format!("OTEL_{signal}_EXPORTER")).is_some_and(|value| value.trim() == "none");
    !off && (said("OTEL_EXPORTER_OTLP_ENDPOINT") || said(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")))
}

fn resource() -> Resource {
    let resource =
        Resource::builder().with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    match std::env::var_os("OTEL_SERVICE_NAME") {
        Some(_) => resource.build(),
        None => resource.with_service_name("quell").build(),
    }
}

impl Telemetry {
    /// Sets up the process's log, and exporting for a process that serves. Not to be called on a runtime's thread.
    ///
    /// # Errors
    /// When an exporter is asked for in a way that it does not understand.
    pub(crate) fn install(serves: bool) -> anyhow::Result<Telemetry> {
        let level = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".into());
        let filter =
            |more: &str| EnvFilter::try_new(format!("{level}{more}")).unwrap_or_else(|_| EnvFilter::new("info"));
        let ansi = std::io::stderr().is_terminal();
        let shown = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi);
        let read = |name: &str| std::env::var(name).ok();
        let mut telemetry = Telemetry::default();
        // A sender's trace is passed on whether or not this process exports its own part.
        global::set_text_map_propagator(TraceContextPropagator::new());
        if serves && is_wanted("TRACES", read) {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let exporter = SpanExporter::builder().with_http().build().context("traces by OTLP")?;
            let traces = SdkTracerProvider::builder().with_resource(resource()).with_batch_exporter(exporter).build();
            global::set_tracer_provider(traces.clone());
            telemetry.traces = Some(traces);
        }
        if serves && is_wanted("LOGS", read) {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let exporter = LogExporter::builder().with_http().build().context("logs by OTLP")?;
            let logs = SdkLoggerProvider::builder().with_resource(resource()).with_batch_exporter(exporter).build();
            telemetry.logs = Some(logs);
        }
        let exported = telemetry
            .logs
            .as_ref()
            .map(|logs| OpenTelemetryTracingBridge::new(logs).with_filter(filter(&format!(",{EXPORTING}"))));
        tracing_subscriber::registry().with(shown.with_filter(filter(""))).with(exported).init();
        Ok(telemetry)
    }

    /// Exports what waits, for a short while.
    pub(crate) fn end(self) {
        let Telemetry { traces, logs } = self;
        if let Some(Err(error)) = traces.map(|traces| traces.shutdown_with_timeout(FAREWELL)) {
            tracing::warn!(%error, "the last traces were not exported");
        }
        if let Some(Err(error)) = logs.map(|logs| logs.shutdown_with_timeout(FAREWELL)) {
            tracing::warn!(%error, "the last logs were not exported");
        }
    }
}

#[derive(Default)]
struct Slot(Option<String>);

impl Injector for Slot {
    fn set(&mut self, key: &str, value: String) {
        if key == "traceparent" {
            self.0 = Some(value);
        }
    }
}

struct Word<'a>(&'a str);

impl Extractor for Word<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

/// The W3C trace context of a span, as one word; vendors' `tracestate` is left out.
pub(crate) fn traceparent(context: &Context) -> Option<String> {
    let mut slot = Slot::default();
    global::get_text_map_propagator(|known| known.inject_context(context, &mut slot));
    slot.0
}

/// The span that such a word names; none for anything else.
pub(crate) fn parent(word: &[u8]) -> Context {
    let Ok(word) = std::str::from_utf8(word) else { return Context::new() };
    global::get_text_map_propagator(|known| known.extract_with_context(&Context::new(), &Word(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_exported_unless_somewhere_is_named() {
        let check = |variables: &[(&str, &str)], wanted: bool| {
            let read = |name: &str| variables.iter().find(|known| known.0 == name).map(|known| known.1.to_owned());
            assert_eq!(is_wanted("TRACES", read), wanted, "{variables:?}");
        };
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        check(&[], false);
        check(&[endpoint], true);
        check(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4318/v1/traces")], true);
        check(&[("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://127.0.0.1:4318/v1/logs")], false);
        check(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], false);
        check(&[endpoint, ("OTEL_SDK_DISABLED", "true")], false);
        check(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")], false);
        check(&[endpoint, ("OTEL_LOGS_EXPORTER", "none")], true);
    }

    #[test]
    fn a_trace_context_comes_back_as_it_was() {
        global::set_text_map_propagator(TraceContextPropagator::new());
        let word = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(traceparent(&parent(word.as_bytes())).as_deref(), Some(word));
        for nonsense in [&b""[..], b"00-0-0-0", b"\xff\xfe", b"00-00000000000000000000000000000000-b7ad6b7169203331-01"]
        {
            assert_eq!(traceparent(&parent(nonsense)), None, "{nonsense:?}");
        }
    }
}
