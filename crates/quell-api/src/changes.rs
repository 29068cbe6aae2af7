//! Changes told of: their door, their list, and what became of one that a receipt names.
//!
//! Absent on purpose: reading bodies (`quell-formats`) and what a change says of a cause (the engine).

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;
use quell_domain::{Change, ChangeId, Changes, CiId, ReceiptId, Shard, Source};
use quell_formats::pagerduty;
use quell_formats::views::reason_json;
use quell_store::{ChangeQuery, Store, StoreError};
use serde_json::{Value, json};

use crate::App;
use crate::answer::Problem;
use crate::body::Whole;
use crate::doors::{invalid, no_answer, read, refuse, with_receipt};
use crate::params::{DEFAULT_LIMIT, MAX_LIMIT, Params};
use crate::reads::{EARLIER, list};
use crate::receipts::{Fate, ItemFate};
use crate::shards::{self, Listed};

/// `POST /v2/change/enqueue`, as PagerDuty answers it.
pub(crate) async fn pagerduty_change(State(app): State<Arc<App>>, request: Request) -> Response {
    let Whole { bytes, held: _held } = match read(&app, request).await {
        Ok(whole) => whole,
        Err(fault) => return refuse(&fault.into()),
    };
    let checked = pagerduty::change::check(&bytes);
    let changes = pagerduty::change::decode(&bytes);
    match (accept(&app, bytes, changes).await, checked) {
        (Err(problem), _) => refuse(&problem),
        (Ok(receipt), Err(errors)) => with_receipt(receipt, invalid(&errors)),
        (Ok(receipt), Ok(())) => {
            let body = json!({"status": "success", "message": "Change event processed"});
            with_receipt(receipt, (StatusCode::ACCEPTED, Json(body)))
        }
    }
}

async fn accept(app: &App, bytes: Bytes, changes: Changes) -> Result<Option<ReceiptId>, Problem> {
    let accepted = app.api.intake.changes(Source::PagerDutyChange, bytes, changes);
    match tokio::time::timeout(app.api.limits.append_patience, accepted).await {
        Ok(accepted) => Ok(accepted?),
        Err(_) => Err(no_answer("the log", app.api.limits.append_patience)),
    }
}

/// `GET /api/v1/changes`.
pub(crate) async fn changes(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Value>, Problem> {
    let params = Params::read(&uri, &["ci", "bound", "from", "to", "limit", "cursor"])?;
    let bound = [("true", Some(true)), ("false", Some(false))];
    let query = ChangeQuery {
        ci: params.get("ci").map(CiId::new),
        fingerprint: None,
        bound: params.choice("bound", &bound, None)?,
        from: params.instant("from")?,
        to: params.instant("to")?,
        ..ChangeQuery::default()
    };
    let limit = params.limit(DEFAULT_LIMIT, MAX_LIMIT)?;
    let from = shards::cursor(&app.api.sharding, &params, EARLIER)?;
    let ask = |shard, before, limit| app.api.store.change_events(shard, ChangeQuery { before, limit, ..query.clone() });
    let Listed { rows, next } = shards::page(&app.api.sharding, from, limit, ask).await?;
    let shown: Vec<Value> = rows.iter().map(|(shard, change)| shape(*shard, change)).collect();
    Ok(list(&shown, next))
}

fn shape(shard: Shard, change: &Change) -> Value {
    let Change {
        id: ChangeId { position, ordinal },
        fingerprint: _,
        source,
        summary,
        by,
        link,
        labels,
        binding,
        unbound,
        starts_at,
        ends_at,
        received_at,
    } = change;
    let labels: serde_json::Map<String, Value> =
        labels.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    json!({
        "receipt": ReceiptId { shard: shard.number, position: *position }.to_string(),
        "item": ordinal,
        "source": source.as_str(),
        "summary": summary,
        "by": (!by.is_empty()).then_some(by),
        "link": link,
        "labels": labels,
        "ci": binding.as_ref().map(|binding| binding.ci.as_str()),
        "binding": binding.as_ref().map(|binding| json!({
            "confidence": binding.confidence, "reason": reason_json(&binding.reason),
        })),
        "unbound": unbound.as_ref().map(reason_json),
        "starts_at": starts_at.to_string(),
        "ends_at": ends_at.map(|at| at.to_string()),
        "received_at": received_at.to_string(),
    })
}

/// What became of each change of a record that the engine has reached.
pub(crate) async fn fates(
    store: &dyn Store,
    shard: Shard,
    receipt: ReceiptId,
    changes: &Changes,
) -> Result<Vec<ItemFate>, StoreError> {
    let mut items = Vec::new();
    for (ordinal, told) in (0u32..).zip(&changes.items) {
        let id = ChangeId { position: receipt.position, ordinal };
        let before = Some(ChangeId { position: receipt.position, ordinal: ordinal + 1 });
        let query = ChangeQuery { fingerprint: Some(told.fingerprint), before, limit: 1, ..ChangeQuery::default() };
        let latest = store.change_events(shard, query).await?.items.pop();
        let (fate, reason) = match &latest {
            Some(Change { id: own, binding: Some(binding), .. }) if *own == id => {
                (Fate::Bound, format!("a change of {}: {}", binding.ci, binding.reason))
            }
            Some(Change { id: own, unbound, .. }) if *own == id => {
                let why = unbound.as_ref().map(ToString::to_string).unwrap_or_default();
                (Fate::Unbound, format!("kept, and evidence for no cause: {why}"))
            }
            Some(Change { id: ChangeId { position, .. }, .. }) => {
                let first = ReceiptId { shard: shard.number, position: *position };
                (Fate::Repeated, format!("the same change as in {first}"))
            }
            None => (Fate::Repeated, "the same change as an earlier one, which is kept no longer".to_owned()),
        };
        items.push(ItemFate::of_change(ordinal, told.fingerprint, fate, reason));
    }
    Ok(items)
}
