//! What quell has learned: `GET /api/v1/learned`.
//!
//! Absent on purpose: learning, and choosing what is most telling (`quell-formats` shows it).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use quell_domain::{ArtefactKind, Shard, Timestamp};
use quell_formats::learned;
use serde_json::{Value, json};

use crate::App;
use crate::answer::Problem;
use crate::params::Params;
use crate::shards;

/// Items of each list when nothing is asked.
const LISTED: u32 = 20;
/// Items of each list at most.
const MOST: u32 = 1_000;

/// `GET /api/v1/learned`.
pub(crate) async fn learned(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Value>, Problem> {
    let most = Params::read(&uri, &["limit"])?.limit(LISTED, MOST)? as usize;
    // One at a time: the state of a large installation is some megabytes.
    let _turn = app.tidying.lock().await;
    if app.api.is_one() {
        return Ok(Json(of(&app, app.api.first(), most).await?));
    }
    // Each shard learns for itself.
    let mut shards = Vec::new();
    for shard in app.api.sharding.shards() {
        shards.push(shards::name(&app.api.sharding, shard, of(&app, shard, most).await?));
    }
    Ok(Json(json!({"shards": shards})))
}

/// What a shard has learned.
async fn of(app: &App, shard: Shard, most: usize) -> Result<Value, Problem> {
    let versions = app.api.store.versions(shard, ArtefactKind::Learned, Timestamp::MAX, 1).await?;
    let Some(version) = versions.first() else { return Ok(json!({"in_force": null})) };
    let digest = version.activation.digest;
    let unreadable = || {
        let why = format!("the learned state {digest} cannot be read");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", why)
    };
    let bytes = app.api.store.artefact(ArtefactKind::Learned, digest).await?.ok_or_else(unreadable)?;
    let read = move || learned::decode(&bytes).map(|learned| learned::shown(&learned, most));
    let shown = tokio::task::spawn_blocking(read).await.ok().and_then(Result::ok).ok_or_else(unreadable)?;
    Ok(json!({
        "in_force": {"digest": digest.to_string(), "since": version.at.to_string(), "position": version.position.0},
        "learned": shown,
    }))
}
