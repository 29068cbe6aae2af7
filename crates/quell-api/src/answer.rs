//! How a request is refused: one shape of error for programs and people.
//!
//! Absent on purpose: the bodies that senders' contracts prescribe; those are in `doors`.

use std::error::Error;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use quell_store::StoreError;
use serde_json::json;

use crate::ports::Refusal;

/// Why a request is refused: what was found, where, and what is allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// A stable name in snake case.
    pub(crate) code: &'static str,
    /// One sentence for people.
    pub(crate) message: Box<str>,
    pub(crate) found: Option<String>,
    pub(crate) place: Option<String>,
    pub(crate) allowed: Option<String>,
    /// Seconds after which the same request may succeed.
    pub(crate) retry_after: Option<u32>,
}

impl Problem {
    /// A problem without details yet.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<Box<str>>) -> Self {
        let message = message.into();
        Problem { status, code, message, found: None, place: None, allowed: None, retry_after: None }
    }

    /// A parameter or field with a value that is not allowed.
    pub(crate) fn bad(place: impl Into<String>, found: impl Into<String>, allowed: impl Into<String>) -> Self {
        let (place, found, allowed) = (place.into(), shorten(found.into()), allowed.into());
        let message = format!("{place}: found {found:?}; allowed: {allowed}");
        let (place, found, allowed) = (Some(place), Some(found), Some(allowed));
        Problem { found, place, allowed, ..Problem::new(StatusCode::BAD_REQUEST, "bad_request", message) }
    }

    /// Nothing has that id.
    pub(crate) fn not_found(what: &str, id: &str) -> Self {
        let message = format!("there is no {what} {:?}", shorten(id.to_owned()));
        let found = Some(shorten(id.to_owned()));
        Problem { found, ..Problem::new(StatusCode::NOT_FOUND, "not_found", message) }
    }

    /// It may work again in a while.
    pub(crate) fn unavailable(code: &'static str, message: impl Into<Box<str>>, retry_after: u32) -> Self {
        let retry_after = Some(retry_after);
        Problem { retry_after, ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, message) }
    }

    /// The status, `Retry-After` where there is one, and the body handed in.
    pub(crate) fn answer_with(&self, body: impl IntoResponse) -> Response {
        let mut response = body.into_response();
        *response.status_mut() = self.status;
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Quoted input is cut, so that an error never echoes a whole body.
fn shorten(mut text: String) -> String {
    if let Some((cut, _)) = text.char_indices().nth(200) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({"error": {
            "code": self.code,
            "message": self.message,
            "found": self.found,
            "where": self.place,
            "allowed": self.allowed,
        }});
        self.answer_with(Json(body))
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (code, seconds) = match refusal {
            Refusal::Overloaded => ("overloaded", 1),
            Refusal::DiskFull => ("disk_full", 5),
            Refusal::Failed => ("disk_failed", 5),
            Refusal::Closing => ("closing", 5),
            Refusal::Unavailable => ("unavailable", 2),
        };
        Problem::unavailable(code, refusal.to_string(), seconds)
    }
}

/// Logs, with its chain, that the store did not answer.
pub(crate) fn report(error: &StoreError) {
    let mut chain = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        chain.push_str(": ");
        chain.push_str(&cause.to_string());
        source = cause.source();
    }
    tracing::error!(error = chain, "the store did not answer a request");
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        report(&error);
        match error {
            StoreError::Damaged { .. } | StoreError::TooNew { .. } | StoreError::TooOld { .. } => {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "damaged", error.to_string())
            }
            StoreError::Fenced { .. }
            | StoreError::DiskFull { .. }
            | StoreError::DiskFailed { .. }
            | StoreError::Unavailable { .. } => Problem::unavailable("unavailable", error.to_string(), 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echoes_no_more_than_a_line() {
        let problem = Problem::bad("limit", "9".repeat(5_000), "1 to 1000");
        assert!(problem.message.len() < 300, "{}", problem.message);
    }

    #[test]
    fn every_refusal_says_when_to_come_again() {
        for refusal in [Refusal::Overloaded, Refusal::DiskFull, Refusal::Failed, Refusal::Closing, Refusal::Unavailable]
        {
            let response = Problem::from(refusal).into_response();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{refusal}");
            assert!(response.headers().contains_key(header::RETRY_AFTER), "{refusal}");
        }
    }
}
