//! What is under way from its receipt to its commit: when it came, and which trace it belongs to.
//!
//! One trace leads from the sender's request over the log to the decision and to who was told of it. On Kafka it goes
//! along in a header of the record, on the embedded log in memory; it rests on nothing that must hold, and nothing rests
//! on it. Absent on purpose: how spans are exported; see `telemetry`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry::trace::{Link, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value, global};
use quell_domain::{IncidentId, RecordKind, Timestamp};
use quell_engine::Effects;
use quell_log::{AppendError, Appended, Record, Stream};

use crate::telemetry;

/// Records of one commit that are traced and timed; the rest of a larger one goes without.
const RECORDS: usize = 1024;
/// Incidents that a span names.
const NAMED: usize = 16;
/// Notices whose trace is known until they are delivered.
const NOTICES: usize = 4096;

/// The traces of what is to be told, by incident and number of the notice.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<BTreeMap<(IncidentId, u32), SpanContext>>);

impl Told {
    fn put(&self, incident: IncidentId, number: u32, span: &SpanContext) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((incident, number), span.clone());
        // The oldest incident's: it was told long ago, or its sink is away and later ones matter more.
        while known.len() > NOTICES {
            known.pop_first();
        }
    }

    /// The span that a notice follows from; it stays known for further sinks and tries.
    pub(crate) fn parent(&self, incident: IncidentId, number: u32) -> Context {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(&(incident, number))
            .map_or_else(Context::new, |span| Context::new().with_remote_span_context(span.clone()))
    }
}

/// Begins the span of an append, under the request that is being answered.
pub(crate) fn append(stream: Stream) -> (Context, Bytes) {
    let current = Context::current();
    if !current.span().span_context().is_valid() {
        return (current, Bytes::new());
    }
    let name = match stream {
        Stream::Main => "main",
        Stream::Commands => "commands",
    };
    let tracer = global::tracer("quell");
    let span = tracer
        .span_builder(format!("send {name}"))
        .with_kind(SpanKind::Producer)
        .with_attributes([
            KeyValue::new("messaging.operation.type", "send"),
            KeyValue::new("messaging.destination.name", name),
        ])
        .start_with_context(&tracer, &current);
    let context = current.with_span(span);
    let carried = telemetry::traceparent(&context).map(Bytes::from).unwrap_or_default();
    (context, carried)
}

/// Ends it.
pub(crate) fn appended(context: &Context, outcome: &Result<Appended, AppendError>) {
    let span = context.span();
    match outcome {
        Ok(Appended::Logged(stamp)) => span.set_attribute(KeyValue::new("quell.position", position(stamp.position.0))),
        Ok(Appended::Spooled { .. }) => span.set_attribute(KeyValue::new("quell.spooled", true)),
        Err(error) => span.set_status(Status::error(error.to_string())),
    }
    span.end();
}

fn position(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Journeys {
    arrived: Vec<Timestamp>,
    deciding: Vec<Context>,
    /// Whether the last of them is of the record that is being decided.
    current: bool,
    told: Arc<Told>,
}

impl Journeys {
    /// `told` learns the traces of what is to be told.
    pub(crate) fn new(told: Arc<Told>) -> Self {
        Journeys { told, ..Journeys::default() }
    }

    /// A record is about to be decided.
    pub(crate) fn begin<T>(&mut self, record: &Record<T>) {
        self.current = false;
        if matches!(record.kind, RecordKind::Alerts(_)) && self.arrived.len() < RECORDS {
            self.arrived.push(record.stamp.received_at);
        }
        if record.context.is_empty() || self.deciding.len() >= RECORDS {
            return;
        }
        let parent = telemetry::parent(&record.context);
        let tracer = global::tracer("quell");
        let span = tracer
            .span_builder("decide")
            .with_kind(SpanKind::Consumer)
            .with_attributes([
                KeyValue::new("messaging.operation.type", "process"),
                KeyValue::new("quell.position", position(record.stamp.position.0)),
            ])
            .start_with_context(&tracer, &parent);
        self.deciding.push(parent.with_span(span));
        self.current = true;
    }

    /// What was decided of it.
    pub(crate) fn decided(&mut self, effects: &Effects) {
        let Some(context) = self.deciding.last().filter(|_| self.current) else { return };
        let span = context.span();
        for notice in &effects.notices {
            self.told.put(notice.incident, notice.number, span.span_context());
        }
        if !span.is_recording() {
            return;
        }
        let received = effects.disposed.received.saturating_add(effects.altered.received);
        span.set_attribute(KeyValue::new("alerting.alerts.count", position(received)));
        let mut incidents: Vec<IncidentId> = effects.incidents.iter().map(|incident| incident.id).collect();
        incidents.dedup();
        incidents.truncate(NAMED);
        let names = incidents.iter().map(|id| StringValue::from(id.to_string())).collect();
        span.set_attribute(KeyValue::new("quell.incidents", Value::Array(Array::String(names))));
    }

    /// Takes what was decided: it is about to be remembered.
    pub(crate) fn take(&mut self) -> Travelled {
        self.current = false;
        Travelled { arrived: std::mem::take(&mut self.arrived), deciding: std::mem::take(&mut self.deciding) }
    }
}

/// What is decided and about to be remembered.
#[derive(Debug)]
pub(crate) struct Travelled {
    arrived: Vec<Timestamp>,
    deciding: Vec<Context>,
}

impl Travelled {
    /// Begins the one span for all, under the first and linked to the others. It ends when it is dropped.
    pub(crate) fn commit(&self) -> Context {
        let Some((first, others)) = self.deciding.split_first() else { return Context::new() };
        let tracer = global::tracer("quell");
        let links = others.iter().take(NAMED).map(|other| Link::with_context(other.span().span_context().clone()));
        let span = tracer
            .span_builder("commit")
            .with_kind(SpanKind::Client)
            .with_links(links.collect())
            .start_with_context(&tracer, first);
        first.with_span(span)
    }

    /// It is remembered. How long each record took from its receipt.
    pub(crate) fn end(self, now: Timestamp) -> impl Iterator<Item = Duration> {
        for context in self.deciding {
            context.span().end();
        }
        self.arrived.into_iter().map(move |at| now.since(at))
    }
}
