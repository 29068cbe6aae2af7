//! What is asked of problems, as a record of the log and back.
//!
//! Absent on purpose: what becomes of it; the engine decides that.

use quell_domain::{
    ChangeId, FixOutcome, IncidentId, ProblemAct, ProblemAsk, ProblemCommand, ProblemField, ProblemId, ProblemState,
    SignatureId, Timestamp, Verified,
};
use serde::{Deserialize, Serialize};

use crate::record::{RecordError, VERSION, bytes, id, parse};

const KIND: &str = "problem command";

#[derive(Serialize, Deserialize)]
struct Text {
    v: u32,
    actor: String,
    #[serde(flatten)]
    ask: Ask,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
enum Ask {
    Draft { signature: String },
    MergeSignatures { from: String, into: String },
    PartSignature { signature: String },
    SplitSignature { from: String, incidents: Vec<String> },
    Helped { incident: String, helped: bool },
    Accept { problem: String },
    Reject { problem: String, why: Option<String> },
    Merge { problem: String, into: String },
    Move { problem: String, to: String, why: Option<String> },
    Title { problem: String, text: String },
    Owner { problem: String, text: Option<String> },
    Due { problem: String, at: Option<i64> },
    RootCause { problem: String, text: Option<String> },
    Workaround { problem: String, text: Option<String> },
    Link { problem: String, change: String, since: i64 },
    Comment { problem: String, text: String },
    Undo { problem: String },
    Verified { problem: String, found: Found },
}

#[derive(Serialize, Deserialize)]
struct Found {
    since: i64,
    outcome: String,
    before: u64,
    before_days: f64,
    after: u64,
    after_days: f64,
    expected: f64,
    evidence: f64,
}

pub(crate) fn encode(command: &ProblemCommand) -> Vec<u8> {
    let ProblemCommand { actor, ask } = command;
    bytes(&Text { v: VERSION, actor: actor.clone(), ask: ask_of(ask) })
}

pub(crate) fn decode(body: &[u8]) -> Result<ProblemCommand, RecordError> {
    let Text { v: _, actor, ask } = parse(KIND, body)?;
    Ok(ProblemCommand { actor, ask: read(ask)? })
}

fn ask_of(ask: &ProblemAsk) -> Ask {
    match ask {
        ProblemAsk::Draft(signature) => Ask::Draft { signature: signature.to_string() },
        ProblemAsk::MergeSignatures { from, into } => {
            Ask::MergeSignatures { from: from.to_string(), into: into.to_string() }
        }
        ProblemAsk::PartSignature(signature) => Ask::PartSignature { signature: signature.to_string() },
        ProblemAsk::SplitSignature { from, incidents } => Ask::SplitSignature {
            from: from.to_string(),
            incidents: incidents.iter().map(ToString::to_string).collect(),
        },
        ProblemAsk::Helped { incident, helped } => Ask::Helped { incident: incident.to_string(), helped: *helped },
        ProblemAsk::Of(problem, act) => act_of(problem.to_string(), act.clone()),
    }
}

fn act_of(problem: String, act: ProblemAct) -> Ask {
    match act {
        ProblemAct::Accept => Ask::Accept { problem },
        ProblemAct::Reject { why } => Ask::Reject { problem, why },
        ProblemAct::Merge { into } => Ask::Merge { problem, into: into.to_string() },
        ProblemAct::Move { to, why } => Ask::Move { problem, to: to.as_str().to_owned(), why },
        ProblemAct::Set(ProblemField::Title(text)) => Ask::Title { problem, text },
        ProblemAct::Set(ProblemField::Owner(text)) => Ask::Owner { problem, text },
        ProblemAct::Set(ProblemField::Due(due)) => Ask::Due { problem, at: due.map(Timestamp::micros) },
        ProblemAct::Set(ProblemField::RootCause(text)) => Ask::RootCause { problem, text },
        ProblemAct::Set(ProblemField::Workaround(text)) => Ask::Workaround { problem, text },
        ProblemAct::Link { change, since } => Ask::Link { problem, change: change.to_string(), since: since.micros() },
        ProblemAct::Comment { text } => Ask::Comment { problem, text },
        ProblemAct::Undo => Ask::Undo { problem },
        ProblemAct::Verified(verified) => Ask::Verified { problem, found: found(&verified) },
    }
}

fn found(verified: &Verified) -> Found {
    let Verified { since, outcome, before, before_days, after, after_days, expected, evidence } = *verified;
    let (since, outcome) = (since.micros(), outcome.as_str().to_owned());
    Found { since, outcome, before, before_days, after, after_days, expected, evidence }
}

fn read(ask: Ask) -> Result<ProblemAsk, RecordError> {
    let signature = |text: &str| id::<SignatureId>(KIND, text);
    let of = |problem: &str, act| Ok(ProblemAsk::Of(id::<ProblemId>(KIND, problem)?, act));
    let set = |problem: &str, field| of(problem, ProblemAct::Set(field));
    match ask {
        Ask::Draft { signature: text } => Ok(ProblemAsk::Draft(signature(&text)?)),
        Ask::MergeSignatures { from, into } => {
            Ok(ProblemAsk::MergeSignatures { from: signature(&from)?, into: signature(&into)? })
        }
        Ask::PartSignature { signature: text } => Ok(ProblemAsk::PartSignature(signature(&text)?)),
        Ask::SplitSignature { from, incidents } => {
            let incidents = incidents.iter().map(|text| id(KIND, text)).collect::<Result<_, _>>()?;
            Ok(ProblemAsk::SplitSignature { from: signature(&from)?, incidents })
        }
        Ask::Helped { incident, helped } => {
            Ok(ProblemAsk::Helped { incident: id::<IncidentId>(KIND, &incident)?, helped })
        }
        Ask::Accept { problem } => of(&problem, ProblemAct::Accept),
        Ask::Reject { problem, why } => of(&problem, ProblemAct::Reject { why }),
        Ask::Merge { problem, into } => of(&problem, ProblemAct::Merge { into: id(KIND, &into)? }),
        Ask::Move { problem, to, why } => {
            let to = ProblemState::from_name(&to).ok_or_else(|| unknown("state", &to))?;
            of(&problem, ProblemAct::Move { to, why })
        }
        Ask::Title { problem, text } => set(&problem, ProblemField::Title(text)),
        Ask::Owner { problem, text } => set(&problem, ProblemField::Owner(text)),
        Ask::Due { problem, at } => set(&problem, ProblemField::Due(at.map(Timestamp::from_micros))),
        Ask::RootCause { problem, text } => set(&problem, ProblemField::RootCause(text)),
        Ask::Workaround { problem, text } => set(&problem, ProblemField::Workaround(text)),
        Ask::Link { problem, change, since } => {
            let change = id::<ChangeId>(KIND, &change)?;
            of(&problem, ProblemAct::Link { change, since: Timestamp::from_micros(since) })
        }
        Ask::Comment { problem, text } => of(&problem, ProblemAct::Comment { text }),
        Ask::Undo { problem } => of(&problem, ProblemAct::Undo),
        Ask::Verified { problem, found } => of(&problem, ProblemAct::Verified(verified(found)?)),
    }
}

fn verified(found: Found) -> Result<Verified, RecordError> {
    let Found { since, outcome, before, before_days, after, after_days, expected, evidence } = found;
    let outcome = FixOutcome::from_name(&outcome).ok_or_else(|| unknown("outcome", &outcome))?;
    let since = Timestamp::from_micros(since);
    Ok(Verified { since, outcome, before, before_days, after, after_days, expected, evidence })
}

fn unknown(what: &'static str, found: &str) -> RecordError {
    RecordError::Word { kind: KIND, what, found: found.to_owned() }
}

#[cfg(test)]
mod tests {
    use quell_domain::Position;

    use super::*;

    #[test]
    fn what_is_asked_is_read_back() {
        let problem = ProblemId { shard: 2, number: 7 };
        let (from, into) = (SignatureId { shard: 2, number: 1 }, SignatureId { shard: 2, number: 3 });
        let incident = IncidentId { shard: 2, number: 4 };
        let at = Timestamp::from_micros(1_800_000_000_000_001);
        let verified = |outcome| {
            let (before, before_days, after, after_days, expected, evidence) = (3, 0.1 + 0.2, 1, 2.5, 1.0 / 3.0, 20.5);
            Verified { since: at, outcome, before, before_days, after, after_days, expected, evidence }
        };
        let mut acts = vec![
            ProblemAct::Accept,
            ProblemAct::Reject { why: None },
            ProblemAct::Reject { why: Some("no".into()) },
            ProblemAct::Merge { into: ProblemId { shard: 2, number: 1 } },
            ProblemAct::Set(ProblemField::Title("t\n".into())),
            ProblemAct::Set(ProblemField::Owner(Some("ana".into()))),
            ProblemAct::Set(ProblemField::Due(Some(at))),
            ProblemAct::Set(ProblemField::Due(None)),
            ProblemAct::Set(ProblemField::RootCause(None)),
            ProblemAct::Set(ProblemField::Workaround(Some("\"restart\"".into()))),
            ProblemAct::Link { change: ChangeId { position: Position(7), ordinal: 1 }, since: at },
            ProblemAct::Comment { text: String::new() },
            ProblemAct::Undo,
        ];
        acts.extend(ProblemState::ALL.map(|to| ProblemAct::Move { to, why: Some("because".into()) }));
        acts.extend(FixOutcome::ALL.map(|outcome| ProblemAct::Verified(verified(outcome))));
        let mut asks: Vec<ProblemAsk> = acts.into_iter().map(|act| ProblemAsk::Of(problem, act)).collect();
        asks.extend([
            ProblemAsk::Draft(from),
            ProblemAsk::MergeSignatures { from, into },
            ProblemAsk::PartSignature(from),
            ProblemAsk::SplitSignature { from, incidents: vec![incident, incident] },
            ProblemAsk::Helped { incident, helped: true },
        ]);
        for ask in asks {
            let command = ProblemCommand { actor: "ana".into(), ask };
            assert_eq!(decode(&encode(&command)).expect("its own bytes"), command);
        }
    }

    #[test]
    fn damage_says_what_is_wrong() {
        let body = br#"{"v":1,"actor":"a","ask":"move","problem":"PRB-1","to":"done","why":null}"#;
        let error = decode(body).expect_err("damaged").to_string();
        assert_eq!(error, "problem command: unknown state \"done\"; use a newer quell");
    }
}
