//! What operators ask of an incident, from acknowledging it to merging it; as JSON by programs, as forms by the page.
//!
//! Absent on purpose: deciding it. A command is put on the log, and what became of it is told when known in time.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use quell_domain::{AlertId, CiId, Command, CommandKind, IncidentId, Verdict};
use serde_json::{Value, json};

use crate::answer::Problem;
use crate::body::{self, Caps};
use crate::doors::no_answer;
use crate::{App, guard, pages, shape, shards};

/// Alerts shown with the answer.
const ALERTS: u32 = 100;
/// Bytes of a command's body.
const BODY_BYTES: usize = 64 * 1024;
/// Characters of an operator's name.
const NAME_CHARS: usize = 100;
/// Characters of a note or comment.
const NOTE_CHARS: usize = 10_000;

/// Alerts that one split names.
const SPLIT_ALERTS: usize = 10_000;
/// Characters of a CI's id.
const CI_CHARS: usize = 500;

/// `POST /api/v1/incidents/{id}/ack`.
pub(crate) async fn acknowledge(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    answer(&app, &id, request, &[], |_| Ok(CommandKind::Acknowledge)).await
}

/// `POST /api/v1/incidents/{id}/resolve`.
pub(crate) async fn resolve(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    answer(&app, &id, request, &[], |words| Ok(CommandKind::Resolve { note: words.note.clone() })).await
}

/// `POST /api/v1/incidents/{id}/comment`.
pub(crate) async fn comment(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    let comment = |words: &Words| match &words.note {
        Some(text) => Ok(CommandKind::Comment { text: text.clone() }),
        None => Err(Problem::bad("text", "", format!("1 to {NOTE_CHARS} characters"))),
    };
    answer(&app, &id, request, &[], comment).await
}

/// `POST /api/v1/incidents/{id}/merge`.
pub(crate) async fn merge(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    let merge = |words: &Words| {
        let into = words.one("into", "the id of another incident, as INC-7")?;
        Ok(CommandKind::Merge { into: incident_id(&app, into)? })
    };
    answer(&app, &id, request, &["into"], merge).await
}

/// `POST /api/v1/incidents/{id}/split`.
pub(crate) async fn split(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    let split = |words: &Words| {
        let alerts = words.all("alerts");
        if alerts.is_empty() || alerts.len() > SPLIT_ALERTS {
            let allowed = format!("1 to {SPLIT_ALERTS} numbers of alerts of the incident, not all of them");
            return Err(Problem::bad("alerts", format!("{} numbers", alerts.len()), allowed));
        }
        let alerts = alerts.iter().map(|text| alert_id("alerts", text)).collect::<Result<_, _>>()?;
        Ok(CommandKind::Split { alerts })
    };
    answer(&app, &id, request, &["alerts"], split).await
}

/// `POST /api/v1/incidents/{id}/wrong-group`.
pub(crate) async fn wrong_group(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    let wrong = |words: &Words| {
        let alert = words.one("alert", "the number of an alert of the incident")?;
        Ok(CommandKind::WrongGroup { alert: alert_id("alert", alert)? })
    };
    answer(&app, &id, request, &["alert"], wrong).await
}

/// `POST /api/v1/incidents/{id}/wrong-cause`.
pub(crate) async fn wrong_cause(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    let wrong = |words: &Words| {
        let ci = CiId::new(words.one("ci", "the id of a CI")?);
        Ok(CommandKind::WrongCause { ci, right: words.all("right").first().map(|ci| CiId::new(ci)) })
    };
    answer(&app, &id, request, &["ci", "right"], wrong).await
}

/// `POST /api/v1/incidents/{id}/undo`.
pub(crate) async fn undo(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    answer(&app, &id, request, &[], |_| Ok(CommandKind::Undo)).await
}

fn alert_id(place: &'static str, text: &str) -> Result<AlertId, Problem> {
    text.parse().map(AlertId).map_err(|_| Problem::bad(place, text, "the number of an alert of the incident"))
}

/// What the body said.
#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) by: String,
    pub(crate) note: Option<String>,
    /// The fields of this command alone, each with its values.
    own: BTreeMap<&'static str, Vec<String>>,
}

impl Words {
    pub(crate) fn all(&self, name: &str) -> &[String] {
        self.own.get(name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn one(&self, name: &str, allowed: &str) -> Result<&str, Problem> {
        match self.all(name) {
            [one] => Ok(one),
            [] => Err(Problem::bad(name, "", allowed)),
            more => Err(Problem::bad(name, format!("{} values", more.len()), allowed)),
        }
    }
}

async fn answer(
    app: &App,
    id: &str,
    request: Request,
    own: &[&'static str],
    kind: impl FnOnce(&Words) -> Result<CommandKind, Problem>,
) -> Response {
    let form = by_form(&request);
    match run(app, id, request, (form, own), kind).await {
        Err(problem) if form => pages::refused(app, problem),
        Err(problem) => problem.into_response(),
        Ok(Done { verdict: Some(Verdict::Refused | Verdict::NotFound), incident, .. }) if form => {
            let message = format!("{incident}: that cannot be done as things stand; nothing was changed");
            pages::refused(app, Problem::new(StatusCode::CONFLICT, "refused", message))
        }
        Ok(Done { incident, .. }) if form => see_other(incident),
        Ok(Done { body, .. }) => (StatusCode::ACCEPTED, Json(body)).into_response(),
    }
}

struct Done {
    incident: IncidentId,
    verdict: Option<Verdict>,
    body: Value,
}

async fn run(
    app: &App,
    id: &str,
    request: Request,
    (form, own): (bool, &[&'static str]),
    kind: impl FnOnce(&Words) -> Result<CommandKind, Problem>,
) -> Result<Done, Problem> {
    let incident = incident_id(app, id)?;
    let words = read_words(app, request, (form, own)).await?;
    let limits = &app.api.limits;
    let kind = kind(&words)?;
    let (store, shard) = (&app.api.store, app.api.of(incident.shard));
    if store.incident(shard, incident, 0).await?.is_none() {
        return Err(Problem::not_found("incident", id));
    }
    if let CommandKind::Merge { into } = &kind
        && store.incident(app.api.of(into.shard), *into, 0).await?.is_none()
    {
        return Err(Problem::not_found("incident", &into.to_string()));
    }
    let command = Command { incident, actor: words.by, kind };
    command.shard().map_err(|error| shards::two_shards(error, id))?;
    let patience = limits.command_patience + limits.append_patience;
    let asked = app.api.intake.command(command, limits.command_patience);
    let asked = tokio::time::timeout(patience, asked).await.map_err(|_| no_answer("the log", patience))??;
    let after = store.incident(shard, incident, ALERTS).await?;
    let body = json!({
        "command": shards::command_name(incident.shard, asked.position),
        "outcome": asked.verdict.map(Verdict::as_str),
        "incident": after.as_ref().map(shape::incident),
    });
    Ok(Done { incident, verdict: asked.verdict, body })
}

/// Whether a page of this server asks.
pub(crate) fn by_form(request: &Request) -> bool {
    is_form(request.headers()) && from_browser(request.headers())
}

/// Reads what is asked: a form of a page of this server, or JSON. `own` are the fields of this command alone.
pub(crate) async fn read_words(
    app: &App,
    request: Request,
    (form, own): (bool, &[&'static str]),
) -> Result<Words, Problem> {
    let (head, body) = request.into_parts();
    let foreign = || {
        let problem =
            Problem::bad("header Content-Type", "a form", "application/json, or a form of this server's page");
        Problem { status: StatusCode::FORBIDDEN, code: "cross_origin", ..problem }
    };
    if form && !guard::from_own_page(&head.headers) {
        return Err(foreign());
    }
    let limits = &app.api.limits;
    let caps = Caps { encoded: BODY_BYTES, decoded: BODY_BYTES, patience: limits.body_patience };
    let whole = body::read(&head.headers, body, caps, &app.budget).await?;
    // Programs post JSON under their library's default content type, which is that of forms.
    if !form && is_form(&head.headers) && !whole.bytes.trim_ascii_start().starts_with(b"{") {
        return Err(foreign());
    }
    if form { from_form(&whole.bytes, own) } else { from_json(&whole.bytes, own) }
}

/// Reads the id of an incident of a shard that there is.
pub(crate) fn incident_id(app: &App, text: &str) -> Result<IncidentId, Problem> {
    let id = text.parse().ok().filter(|id: &IncidentId| app.api.has(id.shard));
    id.ok_or_else(|| Problem::not_found("incident", text))
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&[][..], |kind| kind.as_bytes());
    let form = b"application/x-www-form-urlencoded";
    kind.len() >= form.len() && kind[..form.len()].eq_ignore_ascii_case(form)
}

/// Browsers always say where a form comes from.
fn from_browser(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site")
}

fn from_json(bytes: &[u8], own: &[&'static str]) -> Result<Words, Problem> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return words(None, None, BTreeMap::new());
    }
    let names: Vec<&str> = ["by", "note", "text"].into_iter().chain(own.iter().copied()).collect();
    let allowed = format!("a JSON object with {}", names.join(", "));
    let fields: BTreeMap<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| Problem::bad("body", error.to_string(), allowed))?;
    let mut found: BTreeMap<&str, String> = BTreeMap::new();
    let mut more: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for (name, value) in &fields {
        match (name.as_str(), own.iter().find(|known| **known == name), value) {
            ("by" | "note" | "text", _, Value::Null) | (_, Some(_), Value::Null) => {}
            ("by" | "note" | "text", _, Value::String(text)) => _ = found.insert(name, text.clone()),
            ("by" | "note" | "text", _, other) => return Err(Problem::bad(name, other.to_string(), "a string")),
            (_, Some(&known), Value::Array(values)) => {
                more.insert(known, values.iter().map(|value| plain(known, value)).collect::<Result<_, _>>()?);
            }
            (_, Some(&known), value) => _ = more.insert(known, vec![plain(known, value)?]),
            _ => return Err(Problem::bad("body", name, names.join(", "))),
        }
    }
    let note = found.remove("note").or(found.remove("text"));
    words(found.remove("by"), note, more)
}

/// A text or a whole number, as a text.
fn plain(place: &'static str, value: &Value) -> Result<String, Problem> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) if number.is_u64() => Ok(number.to_string()),
        other => Err(Problem::bad(place, other.to_string(), "a string or a whole number")),
    }
}

fn from_form(bytes: &[u8], own: &[&'static str]) -> Result<Words, Problem> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut more: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(bytes).into_owned() {
        match own.iter().find(|known| **known == name) {
            Some(&known) => more.entry(known).or_default().push(value),
            None => _ = fields.insert(name, value),
        }
    }
    let note = fields.remove("note").or(fields.remove("text"));
    words(fields.remove("by"), note, more)
}

fn words(
    by: Option<String>,
    note: Option<String>,
    mut own: BTreeMap<&'static str, Vec<String>>,
) -> Result<Words, Problem> {
    let tidy = |place: &str, text: Option<String>, most: usize| match text.map(|text| text.trim().to_owned()) {
        Some(text) if text.chars().count() > most => {
            Err(Problem::bad(place, text, format!("at most {most} characters")))
        }
        text => Ok(text.filter(|text| !text.is_empty())),
    };
    let by = tidy("by", by, NAME_CHARS)?.unwrap_or_else(|| "operator".into());
    if by.chars().any(char::is_control) {
        return Err(Problem::bad("by", by, "a name without control characters"));
    }
    for (name, values) in &mut own {
        // A field of a form that was left empty says nothing.
        values.iter_mut().for_each(|value| *value = value.trim().to_owned());
        values.retain(|value| !value.is_empty());
        if let Some(long) = values.iter().find(|value| value.chars().count() > CI_CHARS) {
            return Err(Problem::bad(*name, long, format!("at most {CI_CHARS} characters")));
        }
    }
    Ok(Words { by, note: tidy("note", note, NOTE_CHARS)?, own })
}

fn see_other(incident: IncidentId) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, format!("/incidents/{incident}"))]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Result<(&str, Option<&str>), &str>) {
        let found = from_json(body.as_bytes(), &["alerts"]);
        let found = found.as_ref().map(|w| (w.by.as_str(), w.note.as_deref())).map_err(|p| p.place.as_deref());
        assert_eq!(found, expected.map_err(Some), "{body}");
    }

    #[test]
    fn reads_the_fields_of_one_command() {
        for body in [r#"{"alerts":[3," 4 "],"by":"Ana"}"#, r#"{"alerts":["3","4"],"right":null,"by":"Ana"}"#] {
            let words = from_json(body.as_bytes(), &["alerts", "right"]).expect(body);
            assert_eq!((words.all("alerts").join(" "), words.all("right").len()), ("3 4".into(), 0), "{body}");
        }
        let words = from_form(b"by=Ana&alerts=3&alerts=4&right=", &["alerts", "right"]).expect("a form");
        assert_eq!((words.all("alerts").join(" "), words.all("right").len()), ("3 4".into(), 0));
    }

    #[test]
    fn reads_who_and_what() {
        check("", Ok(("operator", None)));
        check(r#"{"by":" Ana ","note":"replaced the disk"}"#, Ok(("Ana", Some("replaced the disk"))));
        check(r#"{"by":"","text":"seen"}"#, Ok(("operator", Some("seen"))));
        check(r#"{"by":7}"#, Err("by"));
        check(r#"{"who":"Ana"}"#, Err("body"));
        check("[]", Err("body"));
        check(r#"{"alerts":[1.5]}"#, Err("alerts"));
        check(r#"{"alerts":{"a":1}}"#, Err("alerts"));
        check(r#"{"into":"INC-1"}"#, Err("body"));
        check(r#"{"by":"a\nb"}"#, Err("by"));
        check(&format!(r#"{{"by":"{}"}}"#, "x".repeat(101)), Err("by"));
        check(&format!(r#"{{"note":"{}"}}"#, "x".repeat(10_001)), Err("note"));
    }
}
