//! What holds for every request before its handler sees it, and for every answer after.
//!
//! Absent on purpose: who may do what; there are no accounts yet, so only loopback names are answered by default.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use opentelemetry::Context;
use opentelemetry::context::FutureExt as _;

use crate::answer::Problem;
use crate::{App, trace};

const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
                   connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
                   require-trusted-types-for 'script'";

/// Headers of every answer that a browser may show.
const DOCUMENT_HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP)),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ),
];

/// Checks, runs, completes and counts one request.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let reads = is_read(request.method());
    let name = route.as_ref().map_or("other", |path| known(path.as_str()));
    let begun = Instant::now();
    // Pages and scrapes would drown what came in.
    let context = if reads { Context::new() } else { trace::begin(&request, name) };
    let mut response = match check(&app, &request) {
        Err(problem) => problem.into_response(),
        Ok(()) => AssertUnwindSafe(next.run(request).with_context(context.clone()))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| {
                tracing::error!(route = route.as_ref().map(MatchedPath::as_str), "a request's handler panicked");
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "quell failed at this request")
                    .into_response()
            }),
    };
    let status = response.status();
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let html = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if reads || html {
        headers.extend(DOCUMENT_HEADERS);
    }
    app.api.metrics.answered(name, status.as_str(), begun.elapsed());
    trace::end(&context, status);
    response
}

/// A route with and without its trailing slash is one route.
fn known(path: &str) -> &str {
    if path.len() > 1 { path.trim_end_matches('/') } else { path }
}

pub(crate) fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn check(app: &App, request: &Request) -> Result<(), Problem> {
    let limits = &app.api.limits;
    if uri_len(request.uri()) > limits.uri_bytes {
        let allowed = format!("at most {} bytes", limits.uri_bytes);
        let problem = Problem::new(StatusCode::URI_TOO_LONG, "uri_too_long", "the address is too long");
        return Err(Problem { allowed: Some(allowed), ..problem });
    }
    check_host(request, &limits.hosts)?;
    if is_read(request.method()) { Ok(()) } else { check_origin(request) }
}

fn uri_len(uri: &Uri) -> usize {
    uri.path().len() + uri.query().map_or(0, str::len)
}

/// A name that leads elsewhere in the browser's eyes must not lead here (DNS rebinding).
fn check_host(request: &Request, configured: &[String]) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(header::HOST).into_iter();
    let host = match (request.uri().authority(), hosts.next(), hosts.next()) {
        (_, _, Some(_)) => return Err(Problem::bad("header Host", "two of them", "one")),
        (Some(authority), _, None) => authority.as_str(),
        (None, Some(host), None) => host.to_str().unwrap_or("?"),
        (None, None, None) if request.version() < Version::HTTP_11 => return Ok(()),
        (None, None, None) => return Err(Problem::bad("header Host", "", "the name this server is reached by")),
    };
    let name = host_name(host);
    if is_loopback(name) || configured.iter().any(|allowed| allowed.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    Err(Problem {
        status: StatusCode::MISDIRECTED_REQUEST,
        code: "unknown_host",
        ..Problem::bad("header Host", name, "localhost, a loopback address, or a host named in the configuration")
    })
}

/// Without the port; without the brackets of an IPv6 address.
fn host_name(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    }
}

fn is_loopback(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// A page of another origin must not act in a visitor's name. Programs send neither header and pass.
fn check_origin(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let (site, origin) = (text(headers, "sec-fetch-site"), text(headers, "origin"));
    let refused = |place: &str, found: &str| Problem {
        status: StatusCode::FORBIDDEN,
        code: "cross_origin",
        ..Problem::bad(place, found, "requests of this server's own pages, or of programs")
    };
    match (site, origin) {
        (Some("same-origin" | "none"), _) | (None, None) => Ok(()),
        (Some(site), _) => Err(refused("header Sec-Fetch-Site", site)),
        (None, Some(origin)) if same_origin(headers, origin) => Ok(()),
        (None, Some(origin)) => Err(refused("header Origin", origin)),
    }
}

/// True when a browser vouches that one of this server's own pages sent the request.
pub(crate) fn from_own_page(headers: &HeaderMap) -> bool {
    match (text(headers, "sec-fetch-site"), text(headers, "origin")) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => same_origin(headers, origin),
        (None, None) => false,
    }
}

fn same_origin(headers: &HeaderMap, origin: &str) -> bool {
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some() && authority == text(headers, "host")
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(method: Method, headers: &[(&'static str, &'static str)]) -> Request {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        for &(name, value) in headers {
            request.headers_mut().append(name, HeaderValue::from_static(value));
        }
        request
    }

    #[test]
    fn only_known_hosts() {
        for (host, allowed) in [
            ("localhost", true),
            ("LOCALHOST:9093", true),
            ("127.0.0.1:80", true),
            ("127.9.9.9", true),
            ("[::1]:80", true),
            ("quell.example:443", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            let found = check_host(&request(Method::GET, &[("host", host)]), &["quell.example".into()]);
            assert_eq!(found.is_ok(), allowed, "{host}");
        }
        assert!(check_host(&request(Method::GET, &[]), &[]).is_err());
        assert!(check_host(&request(Method::GET, &[("host", "localhost"), ("host", "x")]), &[]).is_err());
    }

    #[test]
    fn other_origins_may_not_act() {
        for (headers, allowed, own) in [
            (vec![], true, false),
            (vec![("sec-fetch-site", "same-origin")], true, true),
            (vec![("sec-fetch-site", "none")], true, false),
            (vec![("sec-fetch-site", "cross-site")], false, false),
            (vec![("sec-fetch-site", "same-site"), ("origin", "http://localhost:1")], false, false),
            (vec![("origin", "http://localhost:1")], true, true),
            (vec![("origin", "http://localhost:2")], false, false),
            (vec![("origin", "null")], false, false),
        ] {
            let mut all = vec![("host", "localhost:1")];
            all.extend(headers.iter().copied());
            let request = request(Method::POST, &all);
            assert_eq!(check_origin(&request).is_ok(), allowed, "{headers:?}");
            assert_eq!(from_own_page(request.headers()), own, "{headers:?}");
        }
    }
}
