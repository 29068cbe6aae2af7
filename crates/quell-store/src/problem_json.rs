//! The JSON inside columns that says what is known of problems. Private to the store.
//! Absent on purpose: any promise to the outside; the API has forms of its own.

use quell_domain::{
    Attached, ChangeId, CiId, Cost, Fix, IncidentId, KnownSignature, PastIncident, Problem, ProblemId, ProblemStanding,
    ProblemState, Sign, SignatureId, Timestamp, Traits,
};
use serde::{Deserialize, Serialize};

use crate::json::{StoredReason, read, write};

#[derive(Serialize, Deserialize)]
struct StoredTraits {
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(rename = "s")]
    signs: Vec<u64>,
    #[serde(rename = "w")]
    words: Vec<u64>,
}

fn traits_out(traits: &Traits) -> StoredTraits {
    let Traits { cause, signs, words } = traits.clone();
    StoredTraits { cause: cause.map(|ci| ci.to_string()), signs, words }
}

fn traits_in(StoredTraits { cause, signs, words }: StoredTraits) -> Traits {
    Traits { cause: cause.map(|ci| CiId::new(&ci)), signs, words }
}

/// Writes what an incident looks like.
pub(crate) fn write_traits(traits: &Traits) -> String {
    write(&traits_out(traits))
}

/// Reads it back.
pub(crate) fn read_traits(text: &str) -> Result<Traits, String> {
    read(text).map(traits_in)
}

#[derive(Serialize, Deserialize)]
struct StoredAttached {
    problem: u64,
    text: String,
    at: i64,
    helped: Option<bool>,
    said_by: Option<String>,
}

/// Writes a workaround on an incident.
pub(crate) fn write_attached(attached: &Attached) -> String {
    let Attached { problem, text, at, helped, said_by } = attached.clone();
    write(&StoredAttached { problem: problem.number, text, at: at.micros(), helped, said_by })
}

/// Reads it back, of a shard with that number.
pub(crate) fn read_attached(text: &str, shard: u32) -> Result<Attached, String> {
    let StoredAttached { problem, text, at, helped, said_by } = read(text)?;
    let problem = ProblemId { shard, number: problem };
    Ok(Attached { problem, text, at: Timestamp::from_micros(at), helped, said_by })
}

#[derive(Serialize, Deserialize)]
struct StoredPast {
    incident: u64,
    opened_at: i64,
    ended_at: i64,
    how: String,
    alerts: u64,
    traits: StoredTraits,
}

#[derive(Serialize, Deserialize)]
struct StoredCost {
    incidents: u64,
    open_micros: u64,
    alerts: u64,
}

fn cost_out(Cost { incidents, open_micros, alerts }: Cost) -> StoredCost {
    StoredCost { incidents, open_micros, alerts }
}

fn cost_in(StoredCost { incidents, open_micros, alerts }: StoredCost) -> Cost {
    Cost { incidents, open_micros, alerts }
}

#[derive(Serialize, Deserialize)]
struct StoredSignature {
    causes: Vec<(String, u32)>,
    /// Key, place, alert, count.
    signs: Vec<(u64, Option<String>, String, u32)>,
    words: Vec<(u64, u32)>,
    cost: StoredCost,
    first_at: i64,
    title: String,
    past: Vec<StoredPast>,
    problem: Option<u64>,
}

/// Writes a signature but for its number, when it was last seen and what it was merged into, which are columns.
pub(crate) fn write_signature(row: &KnownSignature) -> String {
    let KnownSignature {
        id: _,
        causes,
        signs,
        words,
        cost,
        first_at,
        last_at: _,
        title,
        past,
        merged_into: _,
        problem,
    } = row;
    let past = past.iter().map(|past| {
        let PastIncident { incident, opened_at, ended_at, how, alerts, traits } = past;
        StoredPast {
            incident: incident.number,
            opened_at: opened_at.micros(),
            ended_at: ended_at.micros(),
            how: how.clone(),
            alerts: *alerts,
            traits: traits_out(traits),
        }
    });
    let sign =
        |(key, (Sign { place, alert }, count)): (&u64, &(Sign, u32))| (*key, place.clone(), alert.clone(), *count);
    write(&StoredSignature {
        causes: causes.iter().map(|(ci, count)| (ci.to_string(), *count)).collect(),
        signs: signs.iter().map(sign).collect(),
        words: words.iter().map(|(key, count)| (*key, *count)).collect(),
        cost: cost_out(*cost),
        first_at: first_at.micros(),
        title: title.clone(),
        past: past.collect(),
        problem: problem.map(|id| id.number),
    })
}

/// Reads it back.
pub(crate) fn read_signature(
    text: &str,
    id: SignatureId,
    last_at: Timestamp,
    merged_into: Option<SignatureId>,
) -> Result<KnownSignature, String> {
    let StoredSignature { causes, signs, words, cost, first_at, title, past, problem } = read(text)?;
    let shard = id.shard;
    let past = past.into_iter().map(|StoredPast { incident, opened_at, ended_at, how, alerts, traits }| PastIncident {
        incident: IncidentId { shard, number: incident },
        opened_at: Timestamp::from_micros(opened_at),
        ended_at: Timestamp::from_micros(ended_at),
        how,
        alerts,
        traits: traits_in(traits),
    });
    Ok(KnownSignature {
        id,
        causes: causes.into_iter().map(|(ci, count)| (CiId::new(&ci), count)).collect(),
        signs: signs.into_iter().map(|(key, place, alert, count)| (key, (Sign { place, alert }, count))).collect(),
        words: words.into_iter().collect(),
        cost: cost_in(cost),
        first_at: Timestamp::from_micros(first_at),
        last_at,
        title,
        past: past.collect(),
        merged_into,
        problem: problem.map(|number| ProblemId { shard, number }),
    })
}

#[derive(Serialize, Deserialize)]
struct StoredFix<'a> {
    since: i64,
    change: Option<(u64, u32)>,
    #[serde(borrow)]
    verdict: Option<StoredReason<'a>>,
}

#[derive(Serialize, Deserialize)]
struct StoredStanding<'a> {
    state: u8,
    #[serde(borrow)]
    fix: Option<StoredFix<'a>>,
}

#[derive(Serialize, Deserialize)]
struct StoredProblem<'a> {
    title: String,
    signatures: Vec<u64>,
    cause: Option<String>,
    opened_at: i64,
    cost: StoredCost,
    first_at: i64,
    last_at: i64,
    owner: Option<String>,
    due: Option<i64>,
    root_cause: Option<String>,
    workaround: Option<String>,
    usual_micros: Option<u64>,
    used: u64,
    helped: u64,
    #[serde(borrow)]
    fix: Option<StoredFix<'a>>,
    closed_at: Option<i64>,
    merged_into: Option<u64>,
    #[serde(borrow)]
    before: Vec<StoredStanding<'a>>,
}

fn fix_out(Fix { since, change, verdict }: &Fix) -> StoredFix<'_> {
    StoredFix {
        since: since.micros(),
        change: change.map(|ChangeId { position, ordinal }| (position.0, ordinal)),
        verdict: verdict.as_ref().map(StoredReason::from),
    }
}

fn fix_in(StoredFix { since, change, verdict }: StoredFix<'_>) -> Fix {
    let change = change.map(|(position, ordinal)| ChangeId { position: quell_domain::Position(position), ordinal });
    Fix { since: Timestamp::from_micros(since), change, verdict: verdict.map(Into::into) }
}

/// Writes a problem but for its number and state, which are columns.
pub(crate) fn write_problem(problem: &Problem) -> String {
    let Problem {
        id: _,
        state: _,
        title,
        signatures,
        cause,
        opened_at,
        cost,
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
    } = problem;
    let standing = |ProblemStanding { state, fix }: &'_ ProblemStanding| (*state as u8, fix.clone());
    let standings: Vec<(u8, Option<Fix>)> = before.iter().map(standing).collect();
    let standings =
        standings.iter().map(|(state, fix)| StoredStanding { state: *state, fix: fix.as_ref().map(fix_out) });
    write(&StoredProblem {
        title: title.clone(),
        signatures: signatures.iter().map(|id| id.number).collect(),
        cause: cause.as_ref().map(ToString::to_string),
        opened_at: opened_at.micros(),
        cost: cost_out(*cost),
        first_at: first_at.micros(),
        last_at: last_at.micros(),
        owner: owner.clone(),
        due: due.map(Timestamp::micros),
        root_cause: root_cause.clone(),
        workaround: workaround.clone(),
        usual_micros: *usual_micros,
        used: *used,
        helped: *helped,
        fix: fix.as_ref().map(fix_out),
        closed_at: closed_at.map(Timestamp::micros),
        merged_into: merged_into.map(|id| id.number),
        before: standings.collect(),
    })
}

/// The state with that code.
pub(crate) fn state(code: i64) -> Option<ProblemState> {
    ProblemState::ALL.into_iter().find(|known| *known as i64 == code)
}

/// Reads it back.
pub(crate) fn read_problem(text: &str, id: ProblemId, in_state: ProblemState) -> Result<Problem, String> {
    let stored: StoredProblem<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let shard = id.shard;
    let standing = |StoredStanding { state: code, fix }| {
        let state = state(i64::from(code)).ok_or_else(|| "a state is unknown".to_owned())?;
        Ok(ProblemStanding { state, fix: fix.map(fix_in) })
    };
    Ok(Problem {
        id,
        state: in_state,
        title: stored.title,
        signatures: stored.signatures.into_iter().map(|number| SignatureId { shard, number }).collect(),
        cause: stored.cause.map(|ci| CiId::new(&ci)),
        opened_at: Timestamp::from_micros(stored.opened_at),
        cost: cost_in(stored.cost),
        first_at: Timestamp::from_micros(stored.first_at),
        last_at: Timestamp::from_micros(stored.last_at),
        owner: stored.owner,
        due: stored.due.map(Timestamp::from_micros),
        root_cause: stored.root_cause,
        workaround: stored.workaround,
        usual_micros: stored.usual_micros,
        used: stored.used,
        helped: stored.helped,
        fix: stored.fix.map(fix_in),
        closed_at: stored.closed_at.map(Timestamp::from_micros),
        merged_into: stored.merged_into.map(|number| ProblemId { shard, number }),
        before: stored.before.into_iter().map(standing).collect::<Result<_, String>>()?,
    })
}
