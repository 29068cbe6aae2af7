//! The senders' doors. Each answers exactly as its sender's contract says, and only after the record is durable.
//!
//! Absent on purpose: the contracts' bodies (`quell-formats`) and what becomes of the alerts (the engine).

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use quell_domain::{Batch, ReceiptId, Source};
use quell_formats::{alertmanager, pagerduty};
use serde_json::{Value, json};

use crate::App;
use crate::answer::Problem;
use crate::body::{self, BodyFault, Caps, Whole};

const RECEIPT: HeaderName = HeaderName::from_static("x-quell-receipt");
/// Bodies above this many bytes are decoded off the threads that serve connections.
const INLINE_BYTES: usize = 256 * 1024;

/// `POST /api/v2/alerts` and its old alias: 200 and nothing, or a JSON string that says what is wrong.
pub(crate) async fn alertmanager_api(State(app): State<Arc<App>>, request: Request) -> Response {
    let refuse = |problem: &Problem| problem.answer_with(Json(&problem.message));
    match take(&app, request, Source::AlertmanagerApi, alertmanager::decode_api).await {
        Err(problem) => refuse(&problem),
        Ok(Taken { receipt, faults, .. }) if faults.is_empty() => with_receipt(receipt, StatusCode::OK),
        Ok(Taken { receipt, faults, .. }) => with_receipt(receipt, (StatusCode::BAD_REQUEST, Json(faults.join("; ")))),
    }
}

/// `POST /api/v1/webhooks/alertmanager`.
pub(crate) async fn alertmanager_webhook(State(app): State<Arc<App>>, request: Request) -> Response {
    match take(&app, request, Source::AlertmanagerWebhook, alertmanager::decode_webhook).await {
        Err(problem) => problem.into_response(),
        Ok(Taken { receipt, understood: 0, faults }) if !faults.is_empty() => {
            let problem = Problem {
                place: Some("body".into()),
                allowed: Some("Alertmanager's webhook, version 4".into()),
                ..Problem::new(StatusCode::BAD_REQUEST, "not_understood", faults.join("; "))
            };
            with_receipt(receipt, problem)
        }
        Ok(Taken { receipt, faults, .. }) => {
            let body = json!({"status": "ok", "receipt": receipt.map(|id| id.to_string()), "rejected": faults.len()});
            with_receipt(receipt, Json(body))
        }
    }
}

/// `POST /v2/enqueue`, as PagerDuty answers it.
pub(crate) async fn pagerduty(State(app): State<Arc<App>>, request: Request) -> Response {
    let Whole { mut bytes, held: _held } = match read(&app, request).await {
        Ok(whole) => whole,
        Err(fault) => return refuse(&fault.into()),
    };
    let checked = pagerduty::check(&bytes);
    let mut key = None;
    if let Ok(event) = &checked {
        key.clone_from(&event.dedup_key);
        if key.is_none() {
            let made = app.keys.next();
            if let Some(keyed) = pagerduty::with_dedup_key(&bytes, &made) {
                bytes = keyed.into();
            }
            key = Some(made);
        }
    }
    let batch = match decode(bytes.clone(), pagerduty::decode).await {
        Ok(batch) => batch,
        Err(problem) => return refuse(&problem),
    };
    match (accept(&app, Source::PagerDuty, bytes, batch).await, checked) {
        (Err(problem), _) => refuse(&problem),
        (Ok(receipt), Err(errors)) => with_receipt(receipt, invalid(&errors)),
        (Ok(receipt), Ok(_)) => {
            let body = json!({"status": "success", "message": "Event processed", "dedup_key": key});
            with_receipt(receipt, (StatusCode::ACCEPTED, Json(body)))
        }
    }
}

/// PagerDuty's answer to an event that is none.
pub(crate) fn invalid(errors: &[String]) -> (StatusCode, Json<Value>) {
    let body = json!({"status": "invalid event", "message": "Event object is invalid", "errors": errors});
    (StatusCode::BAD_REQUEST, Json(body))
}

/// A refusal in the shape of PagerDuty's answers.
pub(crate) fn refuse(problem: &Problem) -> Response {
    let body = json!({"status": "error", "message": problem.message, "errors": [problem.message]});
    problem.answer_with(Json(body))
}

/// A request that is durable, and what of it was not understood.
struct Taken {
    receipt: Option<ReceiptId>,
    understood: usize,
    faults: Vec<String>,
}

async fn take(app: &App, request: Request, source: Source, decoder: fn(&[u8]) -> Batch) -> Result<Taken, Problem> {
    let Whole { bytes, held: _held } = read(app, request).await?;
    let batch = decode(bytes.clone(), decoder).await?;
    let understood = batch.items().len();
    let faults = batch.rejects.iter().map(|reject| reject.reason.clone()).collect();
    let receipt = accept(app, source, bytes, batch).await?;
    Ok(Taken { receipt, understood, faults })
}

pub(crate) async fn read(app: &App, request: Request) -> Result<Whole, BodyFault> {
    let limits = &app.api.limits;
    let caps = Caps { encoded: limits.encoded_bytes, decoded: limits.decoded_bytes, patience: limits.body_patience };
    let (head, body) = request.into_parts();
    body::read(&head.headers, body, caps, &app.budget).await
}

async fn decode(bytes: Bytes, decoder: fn(&[u8]) -> Batch) -> Result<Batch, Problem> {
    if bytes.len() <= INLINE_BYTES {
        return Ok(decoder(&bytes));
    }
    let decoded = tokio::task::spawn_blocking(move || decoder(&bytes)).await;
    decoded.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "quell failed at this request"))
}

/// Durable, or refused in time. When the log does not answer in time the outcome is unknown; a repeat does no harm.
async fn accept(app: &App, source: Source, bytes: Bytes, batch: Batch) -> Result<Option<ReceiptId>, Problem> {
    let accepted = app.api.intake.accept(source, bytes, batch);
    match tokio::time::timeout(app.api.limits.append_patience, accepted).await {
        Ok(accepted) => Ok(accepted?),
        Err(_) => Err(no_answer("the log", app.api.limits.append_patience)),
    }
}

/// Whether it was done is not known.
pub(crate) fn no_answer(who: &str, patience: Duration) -> Problem {
    Problem::unavailable("no_answer", format!("{who} did not answer within {patience:?}; send it again"), 1)
}

/// An answer that names its receipt, if there is one yet.
pub(crate) fn with_receipt(receipt: Option<ReceiptId>, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    if let Some(Ok(value)) = receipt.map(|id| HeaderValue::try_from(id.to_string())) {
        response.headers_mut().insert(RECEIPT, value);
    }
    response
}

/// Keys for PagerDuty triggers that come without one. They only need to be unique: the standard library's hasher,
/// keyed by the operating system's randomness, over a count.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    halves: [RandomState; 2],
    count: std::sync::atomic::AtomicU64,
}

impl Keys {
    fn next(&self) -> String {
        let count = self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let [high, low] = &self.halves;
        format!("{:016x}{:016x}", high.hash_one(count), low.hash_one(count))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn made_keys_are_32_hex_digits_and_differ() {
        let (one, other) = (Keys::default(), Keys::default());
        let made: BTreeSet<String> = (0..100).flat_map(|_| [one.next(), other.next()]).collect();
        assert_eq!(made.len(), 200);
        assert!(made.iter().all(|key| key.len() == 32 && key.bytes().all(|b| b.is_ascii_hexdigit())), "{made:?}");
    }
}
