//! Whether the process lives, is ready, and what it counts.
//!
//! Absent on purpose: any repair; these only tell.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::App;
use crate::answer::Problem;

/// `GET /livez`, `GET /-/healthy`: the process answers.
pub(crate) async fn live() -> &'static str {
    "OK"
}

/// `GET /readyz`, `GET /-/ready`: a record can be accepted durably now, with what is worse than it should be, one a line;
/// else 503 with what is in the way. Where there may be other nodes, the last line says what this one does.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    let health = app.api.live.health();
    let role = health.role.map(|role| format!("role: {role}"));
    if health.not_ready.is_empty() {
        let degraded = health.degraded.iter().map(|what| format!("degraded: {what}"));
        let lines = std::iter::once("OK".to_owned()).chain(degraded).chain(role);
        return lines.collect::<Vec<_>>().join("\n").into_response();
    }
    let problem = Problem::unavailable("not_ready", "not ready", 2);
    problem.answer_with(health.not_ready.into_iter().chain(role).collect::<Vec<_>>().join("\n"))
}

/// `GET /metrics`.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let text = app.api.metrics.text().map_err(|error| {
        tracing::error!(%error, "the metrics cannot be written");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "metrics", "the metrics cannot be written")
    })?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
