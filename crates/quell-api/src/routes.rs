//! The one table of routes; the router is built from it, and the tests compare it with the OpenAPI description.
//!
//! Absent on purpose: what the handlers do.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::answer::Problem;
use crate::{
    App, Serves, changes, commands, doors, evidence, forecasts, guard, health, hygiene, impact, learned, pages,
    problem_commands, problem_pages, problems, reads, stream,
};

/// The description of this API, kept by hand.
pub(crate) const OPENAPI: &str = include_str!("../openapi.json");

/// Whom a route is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum For {
    Senders,
    People,
    /// Whoever looks after the process.
    Keepers,
}

impl For {
    fn is_served(self, Serves { senders, people }: Serves) -> bool {
        match self {
            For::Senders => senders,
            For::People => people,
            For::Keepers => true,
        }
    }
}

/// One entry of the table.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    whom: For,
    handler: MethodRouter<Arc<App>>,
}

fn route<H, T>(method: Method, path: &'static str, handler: H) -> Route
where
    H: Handler<T, Arc<App>>,
    T: 'static,
{
    let filter = match method {
        Method::POST => MethodFilter::POST,
        Method::PUT => MethodFilter::PUT,
        // Answers HEAD too.
        _ => MethodFilter::GET,
    };
    Route { method, path, whom: For::People, handler: on(filter, handler) }
}

fn door<H, T>(path: &'static str, handler: H) -> Route
where
    H: Handler<T, Arc<App>>,
    T: 'static,
{
    Route { whom: For::Senders, ..route(Method::POST, path, handler) }
}

fn watched<H, T>(path: &'static str, handler: H) -> Route
where
    H: Handler<T, Arc<App>>,
    T: 'static,
{
    Route { whom: For::Keepers, ..route(Method::GET, path, handler) }
}

/// Everything that is served.
pub(crate) fn table() -> Vec<Route> {
    let get = Method::GET;
    let post = Method::POST;
    vec![
        door("/api/v2/alerts", doors::alertmanager_api),
        door("/api/v1/alerts", doors::alertmanager_api),
        door("/api/v1/webhooks/alertmanager", doors::alertmanager_webhook),
        door("/v2/enqueue", doors::pagerduty),
        door("/v2/change/enqueue", changes::pagerduty_change),
        route(Method::PUT, "/api/v1/topology", reads::put_topology),
        route(get.clone(), "/api/v1/topology", reads::topology),
        route(get.clone(), "/api/v1/topology/versions", reads::versions),
        route(get.clone(), "/api/v1/impact", impact::impact),
        route(get.clone(), "/api/v1/hygiene", hygiene::hygiene),
        route(get.clone(), "/api/v1/learned", learned::learned),
        route(get.clone(), "/api/v1/incidents", reads::incidents),
        route(get.clone(), "/api/v1/incidents/{id}", reads::incident),
        route(post.clone(), "/api/v1/incidents/{id}/ack", commands::acknowledge),
        route(post.clone(), "/api/v1/incidents/{id}/resolve", commands::resolve),
        route(post.clone(), "/api/v1/incidents/{id}/comment", commands::comment),
        route(post.clone(), "/api/v1/incidents/{id}/merge", commands::merge),
        route(post.clone(), "/api/v1/incidents/{id}/split", commands::split),
        route(post.clone(), "/api/v1/incidents/{id}/wrong-group", commands::wrong_group),
        route(post.clone(), "/api/v1/incidents/{id}/wrong-cause", commands::wrong_cause),
        route(post.clone(), "/api/v1/incidents/{id}/undo", commands::undo),
        route(post.clone(), "/api/v1/incidents/{id}/workaround", problem_commands::workaround),
        route(get.clone(), "/api/v1/problems", problems::problems),
        route(get.clone(), "/api/v1/problems/{id}", problems::problem),
        route(get.clone(), "/api/v1/problems/{id}/evidence", evidence::evidence),
        route(post.clone(), "/api/v1/problems/{id}/accept", problem_commands::accept),
        route(post.clone(), "/api/v1/problems/{id}/reject", problem_commands::reject),
        route(post.clone(), "/api/v1/problems/{id}/merge", problem_commands::merge),
        route(post.clone(), "/api/v1/problems/{id}/move", problem_commands::move_to),
        route(post.clone(), "/api/v1/problems/{id}/set", problem_commands::set),
        route(post.clone(), "/api/v1/problems/{id}/link", problem_commands::link),
        route(post.clone(), "/api/v1/problems/{id}/comment", problem_commands::comment),
        route(post.clone(), "/api/v1/problems/{id}/undo", problem_commands::undo),
        route(get.clone(), "/api/v1/forecasts", forecasts::forecasts),
        route(get.clone(), "/api/v1/forecasts/scorecard", forecasts::scorecard),
        route(post.clone(), "/api/v1/history", forecasts::import),
        route(get.clone(), "/api/v1/signatures", problems::signatures),
        route(get.clone(), "/api/v1/signatures/{id}", problems::signature),
        route(post.clone(), "/api/v1/signatures/{id}/draft", problem_commands::draft),
        route(post.clone(), "/api/v1/signatures/{id}/merge", problem_commands::merge_signatures),
        route(post.clone(), "/api/v1/signatures/{id}/part", problem_commands::part),
        route(post, "/api/v1/signatures/{id}/split", problem_commands::split),
        route(get.clone(), "/api/v1/feedback", reads::feedback),
        route(get.clone(), "/api/v1/alerts", reads::alerts),
        route(get.clone(), "/api/v1/changes", changes::changes),
        route(get.clone(), "/api/v1/parked", reads::parked),
        route(get.clone(), "/api/v1/receipts/{id}", reads::receipt),
        route(get.clone(), "/api/v1/stream", stream::stream),
        watched("/api/openapi.json", openapi),
        watched("/livez", health::live),
        watched("/readyz", health::ready),
        watched("/-/healthy", health::live),
        watched("/-/ready", health::ready),
        watched("/metrics", health::metrics),
        route(get.clone(), "/", pages::incidents),
        route(get.clone(), "/incidents/{id}", pages::incident),
        route(get.clone(), "/forecasts", forecasts::page),
        route(get.clone(), "/problems", problem_pages::list),
        route(get.clone(), "/problems/{id}", problem_pages::one),
        route(get.clone(), "/hygiene", pages::hygiene),
        route(get.clone(), "/assets/app.css", pages::css),
        route(get, "/assets/app.js", pages::js),
    ]
}

/// The router of what of the table is served here; every path also with a trailing slash.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for Route { method, path, whom, handler } in table() {
        let served = whom.is_served(app.api.serves);
        tracing::trace!(%method, path, served, "a route");
        let filter = MethodFilter::try_from(method).unwrap_or(MethodFilter::GET);
        let handler = if served { handler } else { on(filter, elsewhere) };
        if path != "/" {
            router = router.route(&format!("{path}/"), handler.clone());
        }
        router = router.route(path, handler);
    }
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_this_way)
        .layer(from_fn_with_state(app.clone(), guard::guard))
        .with_state(app)
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// Another node has the role that this is asked of.
async fn elsewhere(uri: Uri) -> Problem {
    let why = format!("{} is served by other nodes: this one does not have the role", uri.path());
    Problem::new(StatusCode::NOT_FOUND, "another_role", why)
}

async fn nothing_here(uri: Uri) -> Problem {
    Problem { allowed: Some("the paths in /api/openapi.json".into()), ..Problem::not_found("page at", uri.path()) }
}

async fn not_this_way(method: Method, uri: Uri) -> Problem {
    let problem = Problem::bad("method", method.as_str(), "the methods in /api/openapi.json");
    let place = Some(uri.path().to_owned());
    Problem { status: StatusCode::METHOD_NOT_ALLOWED, code: "method_not_allowed", place, ..problem }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn described() -> Value {
        serde_json::from_str(OPENAPI).expect("openapi.json is JSON")
    }

    #[test]
    fn the_description_has_every_route_and_no_other() {
        let served: BTreeSet<(String, String)> =
            table().iter().map(|route| (route.path.to_owned(), route.method.as_str().to_ascii_lowercase())).collect();
        let described = described();
        let paths = described["paths"].as_object().expect("paths");
        let described: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, methods)| methods.as_object().into_iter().flatten().map(move |(m, _)| (path, m)))
            .map(|(path, method)| (path.clone(), method.clone()))
            .collect();
        assert_eq!(described, served);
    }

    /// Every `$ref` under `value` names a schema.
    fn check_references(value: &Value, schemas: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(name)) = fields.get("$ref") {
                    let name = name.strip_prefix("#/components/schemas/").expect("a schema of this file");
                    assert!(schemas.get(name).is_some(), "{name} is not described");
                }
                fields.values().for_each(|field| check_references(field, schemas));
            }
            Value::Array(items) => items.iter().for_each(|item| check_references(item, schemas)),
            _ => {}
        }
    }

    #[test]
    fn every_operation_is_named_once_and_refers_to_what_exists() {
        let described = described();
        check_references(&described, &described["components"]["schemas"]);
        let mut names = BTreeSet::new();
        for (path, methods) in described["paths"].as_object().expect("paths") {
            for (method, operation) in methods.as_object().expect("methods") {
                let name = operation["operationId"].as_str().expect("a name");
                assert!(names.insert(name.to_owned()), "{name} is used twice");
                for parameter in path.split('{').skip(1).filter_map(|rest| rest.split_once('}')) {
                    let has = |p: &Value| p["in"] == "path" && p["name"] == parameter.0;
                    let listed = operation["parameters"].as_array().is_some_and(|all| all.iter().any(has));
                    assert!(listed, "{method} {path} does not describe {}", parameter.0);
                }
            }
        }
    }
}
