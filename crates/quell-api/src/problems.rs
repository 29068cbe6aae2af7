//! What programs read of problems: their list, one of them, signatures, and what an incident was taken for.
//!
//! Absent on purpose: changing them (`problem_commands`).

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;
use quell_domain::{
    Attached, Cost, Fix, IncidentId, KnownSignature, PastIncident, Problem as Row, ProblemEntry, ProblemId,
    ProblemState, Recognition, Sign, SignatureId,
};
use quell_formats::views::reason_json;
use quell_store::{ProblemDetail, ProblemQuery, RecognisedQuery};
use serde_json::{Value, json};

use crate::App;
use crate::answer::Problem;
use crate::evidence::Toll;
use crate::forecasts::{self, Expected};
use crate::params::{DEFAULT_LIMIT, MAX_LIMIT, Params};
use crate::reads::{EARLIER, list};
use crate::shards::{self, Cursor, Listed};

/// Incidents shown with one problem.
pub(crate) const INCIDENTS: u32 = 200;
/// Alerts shown of a signature, those in most of its incidents first.
const SIGNS: usize = 20;
/// Past incidents shown as similar.
const SIMILAR: usize = 5;

/// The words of `state=`.
pub(crate) fn states(word: &str) -> Option<Vec<ProblemState>> {
    match word {
        "open" => Some(ProblemState::ALL.into_iter().filter(|state| state.is_open()).collect()),
        "settled" => Some(ProblemState::ALL.into_iter().filter(|state| !state.is_open()).collect()),
        "all" => Some(Vec::new()),
        name => ProblemState::from_name(name).map(|state| vec![state]),
    }
}

/// Reads `state=`.
pub(crate) fn wanted(params: &Params<'_>) -> Result<(String, Vec<ProblemState>), Problem> {
    let word = params.get("state").unwrap_or("open");
    let states = states(word).ok_or_else(|| {
        let names: Vec<&str> = ProblemState::ALL.iter().map(|state| state.as_str()).collect();
        Problem::bad("query parameter state", word, format!("open, settled, all, {}", names.join(", ")))
    })?;
    Ok((word.to_owned(), states))
}

/// `GET /api/v1/problems`.
pub(crate) async fn problems(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Value>, Problem> {
    let params = Params::read(&uri, &["state", "order", "limit", "cursor"])?;
    let (_, states) = wanted(&params)?;
    if params.choice("order", &[("newest", false), ("cost", true)], false)? {
        return by_cost(&app, states, params.limit(DEFAULT_LIMIT, MAX_LIMIT)?).await;
    }
    let limit = params.limit(DEFAULT_LIMIT, MAX_LIMIT)?;
    let from = shards::cursor(&app.api.sharding, &params, EARLIER)?;
    let listed = listed(&app, &states, from, limit).await?;
    let (next, items) = (listed.next.clone(), listed.items());
    let expected = forecasts::expected(&app, &items).await?;
    let shown: Vec<Value> = items.iter().map(|row| with_forecast(head(row), expected.get(&row.id))).collect();
    Ok(list(&shown, next))
}

/// A part of the list, newest first.
pub(crate) async fn listed(
    app: &App,
    states: &[ProblemState],
    from: Option<Cursor<ProblemId>>,
    limit: u32,
) -> Result<Listed<Row>, Problem> {
    let ask =
        |shard, before, limit| app.api.store.problems(shard, ProblemQuery { states: states.to_vec(), before, limit });
    Ok(shards::page(&app.api.sharding, from, limit, ask).await?)
}

/// All of them, those expected to cost most within a week first.
async fn by_cost(app: &App, states: Vec<ProblemState>, limit: u32) -> Result<Json<Value>, Problem> {
    let mut items = listed(app, &states, None, MAX_LIMIT).await?.items();
    let expected = forecasts::expected(app, &items).await?;
    forecasts::rank(&mut items, &expected);
    items.truncate(limit as usize);
    let shown: Vec<Value> = items.iter().map(|row| with_forecast(head(row), expected.get(&row.id))).collect();
    Ok(list(&shown, None::<ProblemId>))
}

fn with_forecast(mut shown: Value, expected: Option<&Expected>) -> Value {
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("forecast".into(), forecasts::expected_json(expected));
    }
    shown
}

/// `GET /api/v1/problems/{id}`.
pub(crate) async fn problem(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    Params::read(&uri, &[])?;
    let (detail, incidents) = detail(&app, &id).await?;
    let expected = forecasts::expected(&app, std::slice::from_ref(&detail.problem)).await?;
    let shown = whole(&detail, &incidents, &toll(&app, &detail, &incidents));
    Ok(Json(with_forecast(shown, expected.get(&detail.problem.id))))
}

/// A problem, and its last incidents.
pub(crate) async fn detail(app: &App, id: &str) -> Result<(ProblemDetail, Vec<Recognition>), Problem> {
    let known = problem_id(app, id)?;
    let shard = app.api.of(known.shard);
    let detail = app.api.store.problem(shard, known).await?;
    let detail = detail.ok_or_else(|| Problem::not_found("problem", id))?;
    let signatures = Some(detail.signatures.iter().map(|row| row.id).collect());
    let query = RecognisedQuery { signatures, limit: INCIDENTS, ..RecognisedQuery::default() };
    let incidents = app.api.store.recognised(shard, query).await?;
    Ok((detail, incidents))
}

/// What it cost people.
pub(crate) fn toll(app: &App, detail: &ProblemDetail, incidents: &[Recognition]) -> Toll {
    Toll::of(&detail.involved, incidents, (app.api.now)(), app.api.person_hour.as_ref())
}

/// `GET /api/v1/signatures`.
pub(crate) async fn signatures(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Value>, Problem> {
    let params = Params::read(&uri, &["limit", "cursor"])?;
    let limit = params.limit(DEFAULT_LIMIT, MAX_LIMIT)?;
    let from = shards::cursor(&app.api.sharding, &params, EARLIER)?;
    let ask = |shard, before, limit| app.api.store.signatures(shard, before, limit);
    let Listed { rows, next } = shards::page(&app.api.sharding, from, limit, ask).await?;
    Ok(list(&rows.iter().map(|(_, row)| signature_json(row)).collect::<Vec<_>>(), next))
}

/// `GET /api/v1/signatures/{id}`.
pub(crate) async fn signature(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    Params::read(&uri, &[])?;
    let known = signature_id(&app, &id)?;
    let found = app.api.store.signature(app.api.of(known.shard), known).await?;
    Ok(Json(signature_json(&found.ok_or_else(|| Problem::not_found("signature", &id))?)))
}

/// Reads the id of a problem of a shard that there is.
pub(crate) fn problem_id(app: &App, text: &str) -> Result<ProblemId, Problem> {
    let id = text.parse().ok().filter(|id: &ProblemId| app.api.has(id.shard));
    id.ok_or_else(|| Problem::not_found("problem", text))
}

/// Reads the id of a signature of a shard that there is.
pub(crate) fn signature_id(app: &App, text: &str) -> Result<SignatureId, Problem> {
    let id = text.parse().ok().filter(|id: &SignatureId| app.api.has(id.shard));
    id.ok_or_else(|| Problem::not_found("signature", text))
}

fn minutes(micros: u64) -> f64 {
    (micros as f64 / 6e6).round() / 10.0
}

/// Minutes between two instants, to a tenth.
pub(crate) fn took(row: &Recognition) -> Option<f64> {
    let micros = row.ended_at?.micros() - row.opened_at.micros();
    Some(minutes(u64::try_from(micros).unwrap_or(0)))
}

fn cost(Cost { incidents, open_micros, alerts }: Cost) -> Value {
    json!({"incidents": incidents, "open_minutes": minutes(open_micros), "alerts": alerts})
}

/// A problem without what belongs to it.
#[must_use]
pub fn head(row: &Row) -> Value {
    let Row {
        id,
        state,
        title,
        signatures,
        cause,
        opened_at,
        cost: spent,
        first_at,
        last_at,
        owner,
        due,
        root_cause,
        workaround,
        usual_micros,
        used,
        helped,
        fix,
        closed_at,
        merged_into,
        before,
    } = row;
    let fix = fix.as_ref().map(|Fix { since, change, verdict }| {
        json!({
            "since": since.to_string(),
            "change": change.map(|id| id.to_string()),
            "verdict": verdict.as_ref().map(reason_json),
        })
    });
    json!({
        "id": id.to_string(),
        "state": state.as_str(),
        "title": title,
        "signatures": signatures.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "cause": cause.as_ref().map(|ci| ci.as_str()),
        "opened_at": opened_at.to_string(),
        "cost": cost(*spent),
        "first_at": first_at.to_string(),
        "last_at": last_at.to_string(),
        "owner": owner,
        "due": due.map(|at| at.to_string()),
        "root_cause": root_cause,
        "workaround": workaround.as_ref().map(|text| json!({
            "text": text, "used": used, "helped": helped, "usual_minutes": usual_micros.map(minutes),
        })),
        "fix": fix,
        "closed_at": closed_at.map(|at| at.to_string()),
        "merged_into": merged_into.map(|id| id.to_string()),
        "can_undo": !before.is_empty(),
    })
}

/// A problem with what belongs to it.
pub(crate) fn whole(detail: &ProblemDetail, incidents: &[Recognition], toll: &Toll) -> Value {
    let ProblemDetail { problem, timeline, signatures, told, involved: _ } = detail;
    let mut shown = head(problem);
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("told".into(), json!(told));
        fields.insert("toll".into(), toll.json());
        fields.insert("known_signatures".into(), json!(signatures.iter().map(signature_json).collect::<Vec<_>>()));
        fields.insert("incidents".into(), json!(incidents.iter().map(recognition).collect::<Vec<_>>()));
        let entries = timeline.iter().map(|ProblemEntry { problem: _, at, actor, reason }| {
            json!({
                "at": at.to_string(),
                "actor": actor,
                "kind": reason.code,
                "text": reason.to_string(),
                "reason": reason_json(reason),
            })
        });
        fields.insert("timeline".into(), json!(entries.collect::<Vec<_>>()));
    }
    shown
}

fn signature_json(row: &KnownSignature) -> Value {
    let KnownSignature {
        id,
        causes,
        signs,
        words: _,
        cost: spent,
        first_at,
        last_at,
        title,
        past,
        merged_into,
        problem,
    } = row;
    let mut alerts: Vec<&(Sign, u32)> = signs.values().collect();
    alerts.sort_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then_with(|| a.cmp(b)));
    let alerts = alerts.into_iter().take(SIGNS);
    json!({
        "id": id.to_string(),
        "title": title,
        "causes": causes.iter().map(|(ci, count)| json!({"ci": ci.as_str(), "incidents": count})).collect::<Vec<_>>(),
        "alerts": alerts.map(|(Sign { place, alert }, count)| json!({
            "alert": alert, "place": place, "incidents": count,
        })).collect::<Vec<_>>(),
        "cost": cost(*spent),
        "first_at": first_at.to_string(),
        "last_at": last_at.to_string(),
        "last_incidents": past.iter().rev().map(past_json).collect::<Vec<_>>(),
        "merged_into": merged_into.map(|id| id.to_string()),
        "problem": problem.map(|id| id.to_string()),
    })
}

fn past_json(past: &PastIncident) -> Value {
    let PastIncident { incident, opened_at, ended_at, how, alerts, traits } = past;
    json!({
        "incident": incident.to_string(),
        "opened_at": opened_at.to_string(),
        "ended_at": ended_at.to_string(),
        "open_minutes": minutes(past.cost().open_micros),
        "how": how,
        "alerts": alerts,
        "cause": traits.cause.as_ref().map(|ci| ci.as_str()),
    })
}

/// What an incident was taken for, without its like.
pub(crate) fn recognition(row: &Recognition) -> Value {
    let Recognition {
        incident,
        signature,
        likeness,
        novel,
        traits,
        opened_at,
        ended_at,
        how,
        alerts,
        priority,
        service,
        dependents,
        workaround,
    } = row;
    json!({
        "incident": incident.to_string(),
        "signature": signature.map(|id| id.to_string()),
        "likeness": (likeness * 1000.0).round() / 1000.0,
        "novel": novel,
        "cause": traits.cause.as_ref().map(|ci| ci.as_str()),
        "opened_at": opened_at.to_string(),
        "ended_at": ended_at.map(|at| at.to_string()),
        "open_minutes": took(row),
        "how": (!how.is_empty()).then_some(how),
        "alerts": alerts,
        "priority": priority.to_string(),
        "service": service.as_ref().map(|ci| ci.as_str()),
        "dependents": dependents,
        "workaround": workaround.as_ref().map(|Attached { problem, text, at, helped, said_by }| json!({
            "problem": problem.to_string(), "text": text, "at": at.to_string(), "helped": helped, "said_by": said_by,
        })),
    })
}

/// What an incident was taken for, with the last of its like and the problem they are of.
pub(crate) struct Like {
    pub(crate) recognition: Recognition,
    pub(crate) past: Vec<PastIncident>,
    pub(crate) problem: Option<Row>,
}

/// `None` where it was not looked at yet, or was merged into another.
pub(crate) async fn like(app: &App, incident: IncidentId) -> Result<Option<Like>, Problem> {
    let (store, shard) = (&app.api.store, app.api.of(incident.shard));
    let Some(recognition) = store.recognition(shard, incident).await? else { return Ok(None) };
    let mut past: Vec<PastIncident> = Vec::new();
    let (mut at, mut problem) = (recognition.signature, None);
    // People may have merged it into another one, and that one again.
    for _ in 0..SIMILAR {
        let Some(id) = at else { break };
        let Some(row) = store.signature(shard, id).await? else { break };
        past.extend(row.past.into_iter().filter(|past| past.incident != incident));
        (at, problem) = (row.merged_into, row.problem.or(problem));
    }
    past.sort_by_key(|past| (std::cmp::Reverse(past.opened_at), past.incident));
    past.truncate(SIMILAR);
    let problem = match problem {
        Some(id) => store.problem(shard, id).await?.map(|detail| detail.problem),
        None => None,
    };
    Ok(Some(Like { recognition, past, problem }))
}

/// The same as JSON.
pub(crate) fn like_json(like: &Like) -> Value {
    let Like { recognition: row, past, problem } = like;
    let mut shown = recognition(row);
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("similar".into(), json!(past.iter().map(past_json).collect::<Vec<_>>()));
        fields.insert(
            "problem".into(),
            json!(problem.as_ref().map(|row| json!({
                "id": row.id.to_string(), "state": row.state.as_str(), "title": row.title,
            }))),
        );
    }
    shown
}
