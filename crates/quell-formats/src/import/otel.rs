//! OpenTelemetry: the service graph that spans draw, as OTLP JSON (`resourceSpans`): one object, or one a line as the
//! collector's file exporter writes them.
//!
//! | in the spans | becomes |
//! |---|---|
//! | `service.name` (in `service.namespace`) | a service `NAME` or `NAMESPACE/NAME` |
//! | a span whose parent is of another service | the parent's service `calls` this one |
//! | a consumer span with such a parent | this service `consumes` what the parent's sends |
//! | a client span without a child elsewhere, with `db.system` | a database `db:SYSTEM:ADDRESS[/NAME]` that is depended on |
//! | a producer or consumer span with `messaging.system` | a broker `queue:SYSTEM:ADDRESS` that is depended on |
//! | such a span with `peer.service` | that service is called |
//!
//! A relationship was last seen when the latest of its spans ended. Absent on purpose: rates, durations and errors.

use std::collections::{BTreeMap, BTreeSet};

use quell_domain::Timestamp;
use serde_json::Value;

use super::Text;
use super::draft::{Draft, alias, list, text};
use crate::mistake::Mistakes;
use crate::tree;

/// What of a span is needed.
struct Span {
    service: String,
    kind: Kind,
    parent: Option<(String, String)>,
    ended: Timestamp,
    /// What it talks to, as its attributes say: an id, a kind of CI, names, and how it is depended on.
    peer: Option<Peer>,
}

struct Peer {
    id: String,
    kind: &'static str,
    alias: String,
    how: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Client,
    Producer,
    Consumer,
    Other,
}

/// Reads spans of all files together: a trace may be spread over them.
pub(super) fn read(texts: &[Text<'_>], draft: &mut Draft<'_>) {
    let mut spans: BTreeMap<(String, String), Span> = BTreeMap::new();
    for text in texts {
        for (place, value) in lines(text, draft) {
            let resources = list(&value, "/resourceSpans");
            if resources.is_empty() && value.get("resourceSpans").is_none() {
                draft.wrong(text.name, &place, "no resourceSpans", "OTLP JSON: {\"resourceSpans\": […]}");
            }
            for (at, resource) in resources.iter().enumerate() {
                let mut path = format!("resourceSpans[{at}]");
                if !place.is_empty() {
                    path = format!("{place}: {path}");
                }
                of_resource(text.name, &path, resource, &mut spans, draft);
            }
        }
    }
    relate(&spans, draft);
}

/// One JSON value, or one a line.
fn lines(text: &Text<'_>, draft: &mut Draft<'_>) -> Vec<(String, Value)> {
    if let Ok(value) = serde_json::from_slice(text.bytes) {
        return vec![(String::new(), value)];
    }
    let mut read = Vec::new();
    for (number, line) in (1..).zip(text.bytes.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let mistakes = Mistakes::of(text.name);
        read.extend(tree::json(line, &mistakes).map(|value| (format!("line {number}"), value)));
        for mistake in mistakes.into_list() {
            draft.wrong(text.name, &format!("line {number}"), &mistake.found, &mistake.allowed);
        }
    }
    read
}

/// An attribute as text.
fn attribute<'v>(of: &'v Value, name: &str) -> Option<&'v str> {
    let found = list(of, "/attributes").iter().find(|attribute| attribute["key"] == *name)?;
    text(found, "/value/stringValue").or_else(|| text(found, "/value/intValue"))
}

fn of_resource(
    file: &str,
    path: &str,
    resource: &Value,
    spans: &mut BTreeMap<(String, String), Span>,
    draft: &mut Draft<'_>,
) {
    let about = &resource["resource"];
    let Some(name) = attribute(about, "service.name") else {
        return draft.wrong(file, &format!("{path}.resource"), "no service.name", "the attribute service.name");
    };
    let namespace = attribute(about, "service.namespace");
    let service = namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"));
    if let Some(ci) = draft.ci(&service, "service") {
        name.clone_into(&mut ci.name);
        ci.labels.insert("service_name".to_owned(), name.to_owned());
        if let Some(namespace) = namespace {
            ci.labels.insert("service_namespace".to_owned(), namespace.to_owned());
        }
    }
    let scopes = list(resource, "/scopeSpans").iter().chain(list(resource, "/instrumentationLibrarySpans"));
    let of_scopes = scopes.flat_map(|scope| list(scope, "/spans"));
    for (at, span) in of_scopes.enumerate() {
        let id = |field: &str| text(span, &format!("/{field}")).map(str::to_ascii_lowercase);
        let (Some(trace), Some(own)) = (id("traceId"), id("spanId")) else {
            draft.wrong(file, &format!("{path} span {at}"), "no traceId or no spanId", "both, as hexadecimal digits");
            continue;
        };
        let Some(ended) = instant(&span["endTimeUnixNano"]) else {
            let found = span["endTimeUnixNano"].to_string();
            draft.wrong(file, &format!("{path} span {at}.endTimeUnixNano"), &found, "nanoseconds since 1970");
            continue;
        };
        let kind = kind(&span["kind"]);
        let parent = id("parentSpanId").map(|parent| (trace.clone(), parent));
        let read = Span { service: service.clone(), kind, parent, ended, peer: peer(span, kind) };
        spans.insert((trace, own), read);
    }
}

/// 64 bits, which JSON writes as text.
fn instant(value: &Value) -> Option<Timestamp> {
    let nanos = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    Some(Timestamp::from_micros(i64::try_from(nanos / 1_000).ok()?))
}

fn kind(value: &Value) -> Kind {
    match (value.as_u64(), value.as_str()) {
        (Some(3), _) | (_, Some("SPAN_KIND_CLIENT")) => Kind::Client,
        (Some(4), _) | (_, Some("SPAN_KIND_PRODUCER")) => Kind::Producer,
        (Some(5), _) | (_, Some("SPAN_KIND_CONSUMER")) => Kind::Consumer,
        _ => Kind::Other,
    }
}

/// What a span says it talks to; today's names of attributes and those before.
fn peer(span: &Value, kind: Kind) -> Option<Peer> {
    let first = |names: &[&str]| names.iter().find_map(|name| attribute(span, name));
    let address = first(&["server.address", "net.peer.name", "net.peer.ip"]);
    let port = first(&["server.port", "net.peer.port"]);
    let alias = match (address, port) {
        (Some(address), Some(port)) => format!("{address}:{port}"),
        (Some(address), None) => address.to_owned(),
        (None, _) => String::new(),
    };
    let at = address.unwrap_or("unknown");
    match kind {
        Kind::Producer | Kind::Consumer => {
            let system = first(&["messaging.system"])?;
            Some(Peer { id: format!("queue:{system}:{at}"), kind: "message_broker", alias, how: "depends_on" })
        }
        Kind::Client => {
            if let Some(system) = first(&["db.system.name", "db.system"]) {
                let name = first(&["db.namespace", "db.name"]).map(|name| format!("/{name}")).unwrap_or_default();
                return Some(Peer {
                    id: format!("db:{system}:{at}{name}"),
                    kind: "database",
                    alias,
                    how: "depends_on",
                });
            }
            let name = first(&["peer.service", "service.peer.name"])?;
            Some(Peer { id: name.to_owned(), kind: "service", alias, how: "calls" })
        }
        Kind::Other => None,
    }
}

fn relate(spans: &BTreeMap<(String, String), Span>, draft: &mut Draft<'_>) {
    let mut seen: BTreeMap<(&str, &str, &'static str), Timestamp> = BTreeMap::new();
    let mut see = |from, to, how, ended: Timestamp| {
        let latest = seen.entry((from, to, how)).or_insert(ended);
        *latest = ended.max(*latest);
    };
    let mut answered: BTreeSet<&(String, String)> = BTreeSet::new();
    for span in spans.values() {
        let Some((parent_id, parent)) = span.parent.as_ref().and_then(|id| spans.get_key_value(id)) else { continue };
        if parent.service != span.service {
            answered.insert(parent_id);
            match span.kind {
                // Who sends a message does not wait for who takes it.
                Kind::Consumer => see(span.service.as_str(), parent.service.as_str(), "consumes", span.ended),
                _ => see(parent.service.as_str(), span.service.as_str(), "calls", span.ended),
            }
        }
    }
    for (id, span) in spans {
        let Some(peer) = &span.peer else { continue };
        // A service that has spans of its own is known better by them.
        if peer.how == "calls" && answered.contains(id) {
            continue;
        }
        if let Some(ci) = draft.ci(&peer.id, peer.kind) {
            ci.name = peer.id.rsplit(':').next().unwrap_or(&peer.id).to_owned();
        }
        if let Some(ci) = draft.known(&peer.id) {
            alias(ci, &peer.alias);
        }
        see(span.service.as_str(), peer.id.as_str(), peer.how, span.ended);
    }
    for ((from, to, how), ended) in seen {
        if let Some(relationship) = draft.relate(from, to, how) {
            relationship.last_seen = Some(ended);
        }
    }
}
