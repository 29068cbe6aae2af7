//! The JSON inside columns that says what people said and did. Private to the store.
//! Absent on purpose: any promise to the outside; the API has forms of its own.

use quell_domain::{Act, ActKind, CauseVerdict, CiId, IncidentId, Party, Position, Said, Timestamp};
use serde::{Deserialize, Serialize};

use crate::json::{read, write};

#[derive(Serialize, Deserialize)]
struct StoredVerdict {
    ci: String,
    right: bool,
    actor: String,
    at: i64,
    command: u64,
}

/// Writes what was said of causes.
pub(crate) fn write_verdicts(verdicts: &[CauseVerdict]) -> String {
    let stored = |verdict: &CauseVerdict| {
        let CauseVerdict { ci, right, actor, at, command } = verdict.clone();
        StoredVerdict { ci: ci.to_string(), right, actor, at: at.micros(), command: command.0 }
    };
    write(&verdicts.iter().map(stored).collect::<Vec<_>>())
}

/// Reads it back.
pub(crate) fn read_verdicts(text: &str) -> Result<Vec<CauseVerdict>, String> {
    let verdict = |StoredVerdict { ci, right, actor, at, command }| CauseVerdict {
        ci: CiId::new(&ci),
        right,
        actor,
        at: Timestamp::from_micros(at),
        command: Position(command),
    };
    Ok(read::<Vec<StoredVerdict>>(text)?.into_iter().map(verdict).collect())
}

#[derive(Serialize, Deserialize)]
struct StoredAct {
    command: Option<u64>,
    #[serde(flatten)]
    kind: StoredKind,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", content = "incident", rename_all = "snake_case")]
enum StoredKind {
    Merged(u64),
    Split(u64),
    Judged,
}

/// Writes what can be taken back.
pub(crate) fn write_acts(acts: &[Act]) -> String {
    let stored = |&Act { command, kind }: &Act| StoredAct {
        command: command.map(|position| position.0),
        kind: match kind {
            ActKind::Merged(id) => StoredKind::Merged(id.number),
            ActKind::Split(id) => StoredKind::Split(id.number),
            ActKind::Judged => StoredKind::Judged,
        },
    };
    write(&acts.iter().map(stored).collect::<Vec<_>>())
}

/// Reads it back, of a shard with that number.
pub(crate) fn read_acts(text: &str, shard: u32) -> Result<Vec<Act>, String> {
    let id = |number| IncidentId { shard, number };
    let act = |StoredAct { command, kind }| Act {
        command: command.map(Position),
        kind: match kind {
            StoredKind::Merged(number) => ActKind::Merged(id(number)),
            StoredKind::Split(number) => ActKind::Split(id(number)),
            StoredKind::Judged => ActKind::Judged,
        },
    };
    Ok(read::<Vec<StoredAct>>(text)?.into_iter().map(act).collect())
}

/// A kind of alert: its CI and its name.
type StoredParty = (Option<String>, String);

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum StoredSaid {
    Together { ours: Vec<StoredParty>, theirs: Vec<StoredParty> },
    Apart { ours: Vec<StoredParty>, theirs: Vec<StoredParty> },
    Cause { wrong: String, right: Option<String>, alerts: Vec<StoredParty> },
}

/// Writes a statement.
pub(crate) fn write_said(said: &Said) -> String {
    let all = |parties: &[Party]| {
        let one = |Party { ci, alert }: &Party| (ci.as_ref().map(ToString::to_string), alert.clone());
        parties.iter().map(one).collect()
    };
    write(&match said {
        Said::Together { ours, theirs } => StoredSaid::Together { ours: all(ours), theirs: all(theirs) },
        Said::Apart { ours, theirs } => StoredSaid::Apart { ours: all(ours), theirs: all(theirs) },
        Said::Cause { wrong, right, alerts } => StoredSaid::Cause {
            wrong: wrong.to_string(),
            right: right.as_ref().map(ToString::to_string),
            alerts: all(alerts),
        },
    })
}

/// Reads it back.
pub(crate) fn read_said(text: &str) -> Result<Said, String> {
    let all = |parties: Vec<StoredParty>| {
        let one = |(ci, alert): StoredParty| Party { ci: ci.map(|ci| CiId::new(&ci)), alert };
        parties.into_iter().map(one).collect()
    };
    Ok(match read::<StoredSaid>(text)? {
        StoredSaid::Together { ours, theirs } => Said::Together { ours: all(ours), theirs: all(theirs) },
        StoredSaid::Apart { ours, theirs } => Said::Apart { ours: all(ours), theirs: all(theirs) },
        StoredSaid::Cause { wrong, right, alerts } => {
            Said::Cause { wrong: CiId::new(&wrong), right: right.map(|ci| CiId::new(&ci)), alerts: all(alerts) }
        }
    })
}
