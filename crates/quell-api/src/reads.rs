//! What programs read: incidents, alerts, parked parts, receipts, the topology and what depends on a CI.
//!
//! Absent on purpose: anything that changes something, but for the topology, which is replaced here.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, TryStreamExt, stream};
use quell_domain::{Alert, AlertId, ArtefactKind, Fingerprint, IncidentId, IncidentState, ReceiptId, Shard, Timestamp};
use quell_formats::topology;
use quell_formats::views::{IncidentJson, alert_json};
use quell_store::contract::Answer;
use quell_store::{AlertQuery, IncidentDetail, IncidentQuery, Page, Version};
use serde::Serialize;
use serde_json::{Value, json};

use crate::answer::Problem;
use crate::body::{self, Caps};
use crate::commands::incident_id;
use crate::doors::no_answer;
use crate::params::{DEFAULT_LIMIT, MAX_LIMIT, Params};
use crate::past::{self, InForce};
use crate::shards::{self, Listed};
use crate::{App, problems, receipts, shape};

/// Alerts shown with each incident of a list.
const ALERTS_IN_LIST: u32 = 100;
/// Alerts shown with one incident.
const ALERTS_OF_ONE: u32 = 100_000;
/// What a cursor may be.
pub(crate) const EARLIER: &str = "the next of an earlier answer";
/// Incidents of a list that are looked up at the same time.
const AT_ONCE: usize = 4;
/// The words of `state=` for incidents.
const STATES: [(&str, Option<IncidentState>); 3] =
    [("open", Some(IncidentState::Open)), ("resolved", Some(IncidentState::Resolved)), ("all", None)];

/// `GET /api/v1/incidents`.
pub(crate) async fn incidents(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Value>, Problem> {
    let params = Params::read(&uri, &["state", "limit", "cursor"])?;
    let state = params.choice("state", &STATES, Some(IncidentState::Open))?;
    let limit = params.limit(DEFAULT_LIMIT, MAX_LIMIT)?;
    let from = shards::cursor(&app.api.sharding, &params, EARLIER)?;
    let store = &app.api.store;
    let ask = |shard, before, limit| store.incidents(shard, IncidentQuery { state, before, limit });
    let Listed { rows, next } = shards::page(&app.api.sharding, from, limit, ask).await?;
    let details = stream::iter(rows).map(|(shard, incident)| async move {
        let detail = store.incident(shard, incident.id, ALERTS_IN_LIST).await?;
        // Deleted since it was listed: its head is all that is left.
        Ok::<_, Problem>(detail.unwrap_or_else(|| IncidentDetail::bare(incident)))
    });
    let items: Vec<IncidentJson> =
        details.buffered(AT_ONCE).map_ok(|detail| shape::incident(&detail)).try_collect().await?;
    Ok(list(&items, next))
}

/// `GET /api/v1/incidents/{id}`.
pub(crate) async fn incident(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    Params::read(&uri, &[])?;
    let known = incident_id(&app, &id)?;
    let detail = app.api.store.incident(app.api.of(known.shard), known, ALERTS_OF_ONE).await?;
    let detail = detail.ok_or_else(|| Problem::not_found("incident", &id))?;
    let mut shown = json!(shape::incident(&detail));
    if let Some(fields) = shown.as_object_mut() {
        let like = problems::like(&app, detail.incident.id).await?;
        fields.insert("recognised".into(), json!(like.as_ref().map(problems::like_json)));
    }
    Ok(Json(shown))
}

/// `GET /api/v1/alerts`.
pub(crate) async fn alerts(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Value>, Problem> {
    let params = Params::read(&uri, &["state", "bound", "incident", "fingerprint", "limit", "cursor"])?;
    let states = [("firing", Some(true)), ("ended", Some(false)), ("all", None)];
    let bound = [("true", Some(true)), ("false", Some(false))];
    let query = AlertQuery {
        firing: params.choice("state", &states, None)?,
        bound: params.choice("bound", &bound, None)?,
        incident: params.parsed::<IncidentId>("incident", "an incident's id, such as INC-7")?,
        fingerprint: params.parsed::<Fingerprint>("fingerprint", "32 hexadecimal digits")?,
        ..AlertQuery::default()
    };
    let limit = params.limit(DEFAULT_LIMIT, MAX_LIMIT)?;
    let from = shards::cursor(&app.api.sharding, &params, EARLIER)?;
    let ask = |shard, before, limit| alerts_of(&app, shard, AlertQuery { before, limit, ..query.clone() });
    let Listed { rows, next } = shards::page(&app.api.sharding, from, limit, ask).await?;
    let shown = rows.iter().map(|(shard, alert)| shards::name(&app.api.sharding, *shard, json!(alert_json(alert))));
    Ok(list(&shown.collect::<Vec<_>>(), next))
}

/// A part of one shard's alerts. An incident has none in another shard.
fn alerts_of(app: &App, shard: Shard, query: AlertQuery) -> Answer<'_, Page<Alert, AlertId>> {
    match query.incident {
        Some(incident) if incident.shard != shard.number => {
            Box::pin(async { Ok(Page { items: Vec::new(), next: None }) })
        }
        _ => app.api.store.alerts(shard, query),
    }
}

/// `GET /api/v1/feedback`.
pub(crate) async fn feedback(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Value>, Problem> {
    let limit = Params::read(&uri, &["limit"])?.limit(DEFAULT_LIMIT, MAX_LIMIT)?;
    let ask = |shard, limit| app.api.store.feedback(shard, limit);
    let said = shards::merged(&app.api.sharding, limit, ask, |a, b| b.at.cmp(&a.at)).await?;
    Ok(list(&said.iter().map(|(_, said)| shape::feedback(said)).collect::<Vec<_>>(), None::<IncidentId>))
}

/// `GET /api/v1/parked`.
pub(crate) async fn parked(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Value>, Problem> {
    let limit = Params::read(&uri, &["limit"])?.limit(DEFAULT_LIMIT, MAX_LIMIT)?;
    let ask = |shard, limit| app.api.store.parked(shard, limit);
    let parked = shards::merged(&app.api.sharding, limit, ask, |a, b| b.received_at.cmp(&a.received_at)).await?;
    let items = parked.into_iter().map(|(shard, part)| {
        json!({
            "receipt": ReceiptId { shard: shard.number, position: part.position }.to_string(),
            "item": part.item,
            "source": part.source.as_str(),
            "received_at": part.received_at.to_string(),
            "reason": part.reason,
            "raw": part.raw,
        })
    });
    Ok(list(&items.collect::<Vec<Value>>(), None::<AlertId>))
}

/// `GET /api/v1/receipts/{id}`.
pub(crate) async fn receipt(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    Params::read(&uri, &[])?;
    let receipt: ReceiptId = id.parse().map_err(|_| Problem::not_found("receipt", &id))?;
    if !app.api.has(receipt.shard) {
        return Err(Problem::not_found("receipt", &id));
    }
    let patience = app.api.limits.append_patience;
    let record = tokio::time::timeout(patience, app.api.intake.record(receipt)).await;
    let record = record.map_err(|_| no_answer("the log", patience))??;
    let received = record.ok_or_else(|| Problem {
        allowed: Some("a receipt whose record the log still keeps".into()),
        ..Problem::not_found("receipt", &id)
    })?;
    let explained = receipts::explain(app.api.store.as_ref(), app.api.of(receipt.shard), receipt, &received).await?;
    Ok(Json(shape::receipt(&explained)))
}

/// `GET /api/v1/topology`.
pub(crate) async fn topology(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Problem> {
    let at = Params::read(&uri, &["at"])?.instant("at")?;
    let InForce { graph, digest } = past::in_force(&app, at).await?;
    let bytes = tokio::task::spawn_blocking(move || topology::encode(graph.topology())).await;
    let bytes =
        bytes.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "it could not be written"))?;
    let mut response = ([(header::CONTENT_TYPE, "application/json")], bytes).into_response();
    if let Some(tag) = digest.and_then(|digest| HeaderValue::try_from(format!("\"{digest}\"")).ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// `GET /api/v1/topology/versions`.
pub(crate) async fn versions(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Value>, Problem> {
    let params = Params::read(&uri, &["at", "limit"])?;
    let limit = params.limit(DEFAULT_LIMIT, MAX_LIMIT)?;
    let at = params.instant("at")?.unwrap_or(Timestamp::MAX);
    let versions = app.api.store.versions(app.api.first(), ArtefactKind::Topology, at, limit).await?;
    let items = versions.iter().map(|Version { position, at, activation }| {
        json!({"digest": activation.digest.to_string(), "since": at.to_string(), "position": position.0})
    });
    Ok(list(&items.collect::<Vec<Value>>(), None::<AlertId>))
}

/// `PUT /api/v1/topology`.
pub(crate) async fn put_topology(State(app): State<Arc<App>>, request: Request) -> Result<Json<Value>, Problem> {
    let limits = &app.api.limits;
    let most = limits.topology_bytes;
    let caps = Caps { encoded: most, decoded: most, patience: limits.topology_patience };
    let (head, body) = request.into_parts();
    let whole = body::read(&head.headers, body, caps, &app.budget).await?;
    let bytes = whole.bytes.clone();
    let decoded = tokio::task::spawn_blocking(move || topology::decode(&bytes)).await;
    let decoded =
        decoded.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "it could not be read"))?;
    let topology = decoded.map_err(|mistakes| {
        let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        Problem {
            place: Some("body".into()),
            allowed: Some("a topology: cis, relationships, redundancies".into()),
            ..Problem::new(StatusCode::BAD_REQUEST, "bad_topology", mistakes.join("\n"))
        }
    })?;
    let (cis, relationships) = (topology.cis().len(), topology.relationships().len());
    let activated = tokio::time::timeout(limits.topology_patience, app.api.intake.topology(topology)).await;
    let activated = activated.map_err(|_| no_answer("the engine", limits.topology_patience))??;
    Ok(Json(json!({
        "digest": activated.digest.to_string(),
        "changed": activated.changed,
        "cis": cis,
        "relationships": relationships,
    })))
}

pub(crate) fn list(items: &[impl Serialize], next: Option<impl ToString>) -> Json<Value> {
    Json(json!({"items": items, "next": next.map(|next| next.to_string())}))
}
