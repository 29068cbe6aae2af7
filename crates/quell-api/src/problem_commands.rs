//! What people ask of problems and signatures; as JSON by programs, as forms by the pages.
//!
//! Absent on purpose: deciding it. A command is put on the log, and what became of it is told when known in time.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use quell_domain::{
    ChangeId, IncidentId, Position, ProblemAct, ProblemAsk, ProblemCommand, ProblemField, ProblemState, ReceiptId,
    Timestamp, TwoShards, Verdict,
};
use quell_store::ChangeQuery;
use serde_json::{Value, json};

use crate::answer::Problem;
use crate::commands::{Words, by_form, incident_id, read_words};
use crate::doors::no_answer;
use crate::problems::{detail, problem_id, signature_id, toll, whole};
use crate::{App, pages, shards};

/// Incidents that one split names.
const SPLIT_INCIDENTS: usize = 100;

/// `POST /api/v1/problems/{id}/accept`.
pub(crate) async fn accept(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    of(&app, &id, request, &[], |_| Ok(ProblemAct::Accept)).await
}

/// `POST /api/v1/problems/{id}/reject`.
pub(crate) async fn reject(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    of(&app, &id, request, &[], |words| Ok(ProblemAct::Reject { why: words.note.clone() })).await
}

/// `POST /api/v1/problems/{id}/merge`.
pub(crate) async fn merge(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    let merge = |words: &Words| {
        let into = words.one("into", "the id of another problem, as PRB-7")?;
        Ok(ProblemAct::Merge { into: problem_id(&app, into)? })
    };
    of(&app, &id, request, &["into"], merge).await
}

/// `POST /api/v1/problems/{id}/move`.
pub(crate) async fn move_to(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    let step = |words: &Words| {
        let allowed = "investigating, known_error, fix_in_progress, verifying, closed";
        let word = words.one("to", allowed)?;
        let to = ProblemState::from_name(word).filter(|to| allowed.split(", ").any(|name| name == to.as_str()));
        let to = to.ok_or_else(|| Problem::bad("to", word, allowed))?;
        Ok(ProblemAct::Move { to, why: words.note.clone() })
    };
    of(&app, &id, request, &["to"], step).await
}

/// `POST /api/v1/problems/{id}/set`.
pub(crate) async fn set(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    let set = |words: &Words| {
        let allowed = "title, owner, due, root_cause, workaround";
        let text = words.note.clone();
        let field = match words.one("field", allowed)? {
            "title" => ProblemField::Title(text.ok_or_else(|| Problem::bad("text", "", "a title"))?),
            "owner" => ProblemField::Owner(text),
            "due" => ProblemField::Due(text.as_deref().map(due).transpose()?),
            "root_cause" => ProblemField::RootCause(text),
            "workaround" => ProblemField::Workaround(text),
            other => return Err(Problem::bad("field", other, allowed)),
        };
        Ok(ProblemAct::Set(field))
    };
    of(&app, &id, request, &["field"], set).await
}

/// A day, as a form of a page has it, is over at its midnight, UTC.
fn due(text: &str) -> Result<Timestamp, Problem> {
    let day = || Timestamp::parse_rfc3339(&format!("{text}T23:59:59Z"));
    let at = Timestamp::parse_rfc3339(text).or_else(day);
    at.ok_or_else(|| Problem::bad("text", text, "an instant, as 2026-01-31T12:00:00Z, or a day, as 2026-01-31"))
}

/// `POST /api/v1/problems/{id}/link`.
pub(crate) async fn link(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    let form = by_form(&request);
    let asked = async {
        let words = read_words(&app, request, (form, &["change", "item"])).await?;
        let problem = problem_id(&app, &id)?;
        let change = change_id(&words, problem.shard)?;
        let before = Some(ChangeId { ordinal: change.ordinal.saturating_add(1), ..change });
        let query = ChangeQuery { before, limit: 1, ..ChangeQuery::default() };
        let found = app.api.store.change_events(app.api.of(problem.shard), query).await?.items.pop();
        let found = found.filter(|found| found.id == change);
        let found = found.ok_or_else(|| Problem::not_found("change", &change.to_string()))?;
        let since = found.ends_at.unwrap_or(found.starts_at);
        let act = ProblemAct::Link { change, since };
        ask(&app, words.by, ProblemAsk::Of(problem, act)).await
    };
    answer(&app, form, About::Problem(&id), asked.await).await
}

/// A receipt and, if it is not the first, the item of it; or both as the API writes them, as 7.0, of that shard.
fn change_id(words: &Words, shard: u32) -> Result<ChangeId, Problem> {
    let allowed = "the receipt of a change, as R-7";
    let text = words.one("change", allowed)?;
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let receipt: ReceiptId = text.parse().map_err(|_| Problem::bad("change", text, allowed))?;
    if receipt.shard != shard {
        let error = TwoShards { one: shard, other: receipt.shard };
        return Err(shards::two_shards(error, text));
    }
    let item = words.all("item").first().map(String::as_str).unwrap_or("0");
    let ordinal = item.parse().map_err(|_| Problem::bad("item", item, "a whole number from 0"))?;
    let position: Position = receipt.position;
    Ok(ChangeId { position, ordinal })
}

/// `POST /api/v1/problems/{id}/comment`.
pub(crate) async fn comment(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    let comment = |words: &Words| match &words.note {
        Some(text) => Ok(ProblemAct::Comment { text: text.clone() }),
        None => Err(Problem::bad("text", "", "a remark")),
    };
    of(&app, &id, request, &[], comment).await
}

/// `POST /api/v1/problems/{id}/undo`.
pub(crate) async fn undo(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    of(&app, &id, request, &[], |_| Ok(ProblemAct::Undo)).await
}

/// `POST /api/v1/signatures/{id}/draft`.
pub(crate) async fn draft(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    about_signature(&app, &id, request, &[], |_| Ok(ProblemAsk::Draft(signature_id(&app, &id)?))).await
}

/// `POST /api/v1/signatures/{id}/merge`.
pub(crate) async fn merge_signatures(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let merge = |words: &Words| {
        let into = words.one("into", "the id of another signature, as SIG-7")?;
        Ok(ProblemAsk::MergeSignatures { from: signature_id(&app, &id)?, into: signature_id(&app, into)? })
    };
    about_signature(&app, &id, request, &["into"], merge).await
}

/// `POST /api/v1/signatures/{id}/part`.
pub(crate) async fn part(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    about_signature(&app, &id, request, &[], |_| Ok(ProblemAsk::PartSignature(signature_id(&app, &id)?))).await
}

/// `POST /api/v1/signatures/{id}/split`.
pub(crate) async fn split(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    let split = |words: &Words| {
        let named = words.all("incidents");
        if named.is_empty() || named.len() > SPLIT_INCIDENTS {
            let allowed = format!("1 to {SPLIT_INCIDENTS} of its last incidents, not all of them");
            return Err(Problem::bad("incidents", format!("{} ids", named.len()), allowed));
        }
        let incidents = named.iter().map(|text| incident_id(&app, text)).collect::<Result<Vec<IncidentId>, _>>()?;
        Ok(ProblemAsk::SplitSignature { from: signature_id(&app, &id)?, incidents })
    };
    about_signature(&app, &id, request, &["incidents"], split).await
}

/// `POST /api/v1/incidents/{id}/workaround`.
pub(crate) async fn workaround(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    let form = by_form(&request);
    let asked = async {
        let words = read_words(&app, request, (form, &["helped"])).await?;
        let helped = match words.one("helped", "yes or no")? {
            "yes" => true,
            "no" => false,
            other => return Err(Problem::bad("helped", other, "yes or no")),
        };
        ask(&app, words.by, ProblemAsk::Helped { incident: incident_id(&app, &id)?, helped }).await
    };
    answer(&app, form, About::Incident(&id), asked.await).await
}

/// What a command is about: where a form goes back to.
enum About<'a> {
    Problem(&'a str),
    Incident(&'a str),
    Signature(&'a str),
}

async fn of(
    app: &App,
    id: &str,
    request: Request,
    own: &[&'static str],
    act: impl FnOnce(&Words) -> Result<ProblemAct, Problem>,
) -> Response {
    let form = by_form(&request);
    let asked = async {
        let words = read_words(app, request, (form, own)).await?;
        let act = act(&words)?;
        ask(app, words.by, ProblemAsk::Of(problem_id(app, id)?, act)).await
    };
    answer(app, form, About::Problem(id), asked.await).await
}

async fn about_signature(
    app: &App,
    id: &str,
    request: Request,
    own: &[&'static str],
    what: impl FnOnce(&Words) -> Result<ProblemAsk, Problem>,
) -> Response {
    let form = by_form(&request);
    let asked = async {
        let words = read_words(app, request, (form, own)).await?;
        let what = what(&words)?;
        ask(app, words.by, what).await
    };
    answer(app, form, About::Signature(id), asked.await).await
}

/// What became of a command.
struct Asked {
    shard: u32,
    position: Position,
    verdict: Option<Verdict>,
}

async fn ask(app: &App, actor: String, ask: ProblemAsk) -> Result<Asked, Problem> {
    let limits = &app.api.limits;
    let patience = limits.command_patience + limits.append_patience;
    let command = ProblemCommand { actor, ask };
    let shard = command.shard().map_err(|error| shards::two_shards(error, "the ids"))?;
    let asked = app.api.intake.problem(command, limits.command_patience);
    let asked = tokio::time::timeout(patience, asked).await.map_err(|_| no_answer("the log", patience))??;
    Ok(Asked { shard, position: asked.position, verdict: asked.verdict })
}

/// The page of a signature's problem, which may be that of the one it was merged into; else the list.
async fn problem_of(app: &App, id: &str) -> String {
    let mut at = signature_id(app, id).ok();
    while let Some(known) = at {
        let Ok(Some(row)) = app.api.store.signature(app.api.of(known.shard), known).await else { break };
        if let Some(problem) = row.problem {
            return format!("/problems/{problem}");
        }
        at = row.merged_into;
    }
    "/problems".to_owned()
}

async fn answer(app: &App, form: bool, about: About<'_>, asked: Result<Asked, Problem>) -> Response {
    let asked = match asked {
        Ok(asked) => asked,
        Err(problem) if form => return pages::refused(app, problem),
        Err(problem) => return problem.into_response(),
    };
    if asked.verdict == Some(Verdict::NotFound) {
        let problem = match about {
            About::Problem(id) => Problem::not_found("problem in hand", id),
            About::Incident(id) => Problem::not_found("incident in hand", id),
            About::Signature(id) => Problem::not_found("signature in hand", id),
        };
        return if form { pages::refused(app, problem) } else { problem.into_response() };
    }
    if form && asked.verdict == Some(Verdict::Refused) {
        let message = "That cannot be done as things stand; nothing was changed";
        return pages::refused(app, Problem::new(StatusCode::CONFLICT, "refused", message));
    }
    if form {
        let to = match about {
            About::Problem(id) => format!("/problems/{id}"),
            About::Incident(id) => format!("/incidents/{id}"),
            About::Signature(id) => problem_of(app, id).await,
        };
        return (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
    }
    let problem = match about {
        About::Problem(id) => detail(app, id).await.ok().map(|(detail, incidents)| {
            let toll = toll(app, &detail, &incidents);
            whole(&detail, &incidents, &toll)
        }),
        About::Incident(_) | About::Signature(_) => None,
    };
    let body: Value = json!({
        "command": shards::command_name(asked.shard, asked.position),
        "outcome": asked.verdict.map(Verdict::as_str),
        "problem": problem,
    });
    (StatusCode::ACCEPTED, Json(body)).into_response()
}
