//! Records of the log to inputs and back.
//!
//! Alerts are recorded exactly as posted and decoded again by their contract; the rest is small JSON with a version.
//! Absent on purpose: positions and times of records; the log has them.

use quell_domain::{
    Activation, AlertId, ArtefactKind, CiId, Command, CommandKind, Digest, Input, RecordKind, Sharding, Source,
    Timestamp, ids::BadId,
};
use serde::{Deserialize, Serialize};

use crate::{alertmanager, pagerduty, problem_record};

/// The version of the JSON written here.
pub(crate) const VERSION: u32 = 1;

/// Why a record cannot be read. It was written by quell, so this is damage or a newer quell.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not the JSON of that kind.
    #[error("{kind}: not the JSON of such a record")]
    Shape {
        /// Which kind.
        kind: &'static str,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Written by a newer quell.
    #[error("{kind}: version {found}, this binary knows {VERSION}; use a newer quell")]
    TooNew {
        /// Which kind.
        kind: &'static str,
        /// The record's version.
        found: u32,
    },
    /// An id that is none.
    #[error("{kind}: bad id {found:?}")]
    Id {
        /// Which kind.
        kind: &'static str,
        /// What stands there.
        found: String,
        /// What is wrong.
        #[source]
        source: BadId,
    },
    /// A word that this binary does not know.
    #[error("{kind}: unknown {what} {found:?}; use a newer quell")]
    Word {
        /// Which kind.
        kind: &'static str,
        /// What it is a word for.
        what: &'static str,
        /// What stands there.
        found: String,
    },
    /// A kind of artefact that this binary does not know.
    #[error("activate: unknown artefact kind {found:?}; allowed: topology, rules")]
    Artefact {
        /// What stands there.
        found: String,
    },
}

#[derive(Serialize, Deserialize)]
struct CommandText {
    v: u32,
    incident: String,
    actor: String,
    #[serde(flatten)]
    ask: Ask,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
enum Ask {
    Acknowledge,
    Resolve { note: Option<String> },
    Comment { text: String },
    Merge { into: String },
    Split { alerts: Vec<u64> },
    WrongGroup { alert: u64 },
    WrongCause { ci: String, right: Option<String> },
    Undo,
}

#[derive(Serialize, Deserialize)]
struct OutageText {
    v: u32,
    /// Microseconds since the epoch.
    from: i64,
    to: i64,
}

#[derive(Serialize, Deserialize)]
struct ActivateText {
    v: u32,
    kind: String,
    sha256: String,
}

#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

/// The record of an input. `None` for alerts and changes: their record is the body as it was posted.
#[must_use]
pub fn encode(input: &Input) -> Option<(RecordKind, Vec<u8>)> {
    match input {
        Input::Alerts(_) | Input::Changes(_) => None,
        Input::Command(Command { incident, actor, kind }) => {
            let ask = ask_of(kind);
            let text = CommandText { v: VERSION, incident: incident.to_string(), actor: actor.clone(), ask };
            Some((RecordKind::Command, bytes(&text)))
        }
        Input::Problem(command) => Some((RecordKind::Problem, problem_record::encode(command))),
        Input::Tick => Some((RecordKind::Tick, Vec::new())),
        Input::Outage { from, to } => {
            let text = OutageText { v: VERSION, from: from.micros(), to: to.micros() };
            Some((RecordKind::Outage, bytes(&text)))
        }
        Input::Activate(Activation { kind, digest }) => {
            let text = ActivateText { v: VERSION, kind: kind.as_str().into(), sha256: digest.to_string() };
            Some((RecordKind::Activate, bytes(&text)))
        }
    }
}

fn ask_of(kind: &CommandKind) -> Ask {
    match kind.clone() {
        CommandKind::Acknowledge => Ask::Acknowledge,
        CommandKind::Resolve { note } => Ask::Resolve { note },
        CommandKind::Comment { text } => Ask::Comment { text },
        CommandKind::Merge { into } => Ask::Merge { into: into.to_string() },
        CommandKind::Split { alerts } => Ask::Split { alerts: alerts.iter().map(|id| id.0).collect() },
        CommandKind::WrongGroup { alert } => Ask::WrongGroup { alert: alert.0 },
        CommandKind::WrongCause { ci, right } => {
            Ask::WrongCause { ci: ci.to_string(), right: right.map(|ci| ci.to_string()) }
        }
        CommandKind::Undo => Ask::Undo,
    }
}

fn kind_of(ask: Ask) -> Result<CommandKind, RecordError> {
    Ok(match ask {
        Ask::Acknowledge => CommandKind::Acknowledge,
        Ask::Resolve { note } => CommandKind::Resolve { note },
        Ask::Comment { text } => CommandKind::Comment { text },
        Ask::Merge { into } => CommandKind::Merge { into: id("command", &into)? },
        Ask::Split { alerts } => CommandKind::Split { alerts: alerts.into_iter().map(AlertId).collect() },
        Ask::WrongGroup { alert } => CommandKind::WrongGroup { alert: AlertId(alert) },
        Ask::WrongCause { ci, right } => {
            CommandKind::WrongCause { ci: CiId::new(&ci), right: right.map(|ci| CiId::new(&ci)) }
        }
        Ask::Undo => CommandKind::Undo,
    })
}

pub(crate) fn bytes(text: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(text).expect("structs of texts and numbers are always JSON")
}

/// Reads a record. Alerts and changes never fail: what is wrong with them is among their rejects.
///
/// # Errors
/// [`RecordError`], when quell's own JSON cannot be read.
pub fn decode(kind: RecordKind, body: &[u8]) -> Result<Input, RecordError> {
    match kind {
        RecordKind::Alerts(Source::AlertmanagerApi) => Ok(Input::Alerts(alertmanager::decode_api(body))),
        RecordKind::Alerts(Source::AlertmanagerWebhook) => Ok(Input::Alerts(alertmanager::decode_webhook(body))),
        RecordKind::Alerts(Source::PagerDuty) => Ok(Input::Alerts(pagerduty::decode(body))),
        RecordKind::Alerts(Source::PagerDutyChange) => Ok(Input::Changes(pagerduty::change::decode(body))),
        RecordKind::Command => {
            let CommandText { v: _, incident, actor, ask } = parse("command", body)?;
            let incident = id("command", &incident)?;
            let kind = kind_of(ask)?;
            Ok(Input::Command(Command { incident, actor, kind }))
        }
        RecordKind::Problem => problem_record::decode(body).map(Input::Problem),
        RecordKind::Tick => Ok(Input::Tick),
        RecordKind::Outage => {
            let OutageText { v: _, from, to } = parse("outage", body)?;
            Ok(Input::Outage { from: Timestamp::from_micros(from), to: Timestamp::from_micros(to) })
        }
        RecordKind::Activate => {
            let ActivateText { v: _, kind, sha256 } = parse("activate", body)?;
            let digest: Digest = id("activate", &sha256)?;
            let kind = ArtefactKind::from_name(&kind).ok_or(RecordError::Artefact { found: kind })?;
            Ok(Input::Activate(Activation { kind, digest }))
        }
    }
}

/// Reads one shard's part of a record: the bytes are those of the whole request, and the shard decides its part of them.
///
/// # Errors
/// As for [`decode`].
pub fn decode_part(kind: RecordKind, body: &[u8], sharding: &Sharding, number: u32) -> Result<Input, RecordError> {
    Ok(sharding.part(number, decode(kind, body)?))
}

pub(crate) fn parse<'de, T: Deserialize<'de>>(kind: &'static str, body: &'de [u8]) -> Result<T, RecordError> {
    let shape = |source| RecordError::Shape { kind, source };
    let Versioned { v } = serde_json::from_slice(body).map_err(shape)?;
    if v > VERSION {
        return Err(RecordError::TooNew { kind, found: v });
    }
    serde_json::from_slice(body).map_err(shape)
}

pub(crate) fn id<T: std::str::FromStr<Err = BadId>>(kind: &'static str, text: &str) -> Result<T, RecordError> {
    text.parse().map_err(|source| RecordError::Id { kind, found: text.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quell_domain::IncidentId;

    use super::*;

    fn inputs() -> impl Strategy<Value = Input> {
        let kinds = prop_oneof![
            Just(CommandKind::Acknowledge),
            proptest::option::of(".*").prop_map(|note| CommandKind::Resolve { note }),
            ".*".prop_map(|text| CommandKind::Comment { text }),
            (any::<u32>(), any::<u64>())
                .prop_map(|(shard, number)| CommandKind::Merge { into: IncidentId { shard, number } }),
            proptest::collection::vec(any::<u64>().prop_map(AlertId), 0..5)
                .prop_map(|alerts| CommandKind::Split { alerts }),
            any::<u64>().prop_map(|alert| CommandKind::WrongGroup { alert: AlertId(alert) }),
            (".*", proptest::option::of(".*")).prop_map(|(ci, right)| CommandKind::WrongCause {
                ci: CiId::new(&ci),
                right: right.map(|ci| CiId::new(&ci)),
            }),
            Just(CommandKind::Undo),
        ];
        let commands = (any::<u32>(), any::<u64>(), ".*", kinds).prop_map(|(shard, number, actor, kind)| {
            Input::Command(Command { incident: IncidentId { shard, number }, actor, kind })
        });
        let outages = (any::<i64>(), any::<i64>()).prop_map(|(from, to)| Input::Outage {
            from: Timestamp::from_micros(from),
            to: Timestamp::from_micros(to),
        });
        let activations = (proptest::sample::select(ArtefactKind::ALL.to_vec()), any::<[u8; 32]>())
            .prop_map(|(kind, digest)| Input::Activate(Activation { kind, digest: Digest(digest) }));
        prop_oneof![commands, outages, activations, Just(Input::Tick)]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(input in inputs()) {
            let (kind, body) = encode(&input).expect("not alerts");
            prop_assert_eq!(decode(kind, &body).expect("own bytes"), input);
        }

        #[test]
        fn no_bytes_panic(code in any::<u8>(), body in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(kind) = RecordKind::from_code(code) {
                let _ = decode(kind, &body);
            }
        }
    }

    fn check_error(kind: RecordKind, body: &str, expected: &str) {
        let error = decode(kind, body.as_bytes()).expect_err("damaged");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn damage_says_what_is_wrong() {
        check_error(RecordKind::Outage, "{}", "outage: not the JSON of such a record");
        check_error(
            RecordKind::Outage,
            r#"{"v":2,"from":1,"to":2}"#,
            "outage: version 2, this binary knows 1; use a newer quell",
        );
        check_error(
            RecordKind::Command,
            r#"{"v":1,"incident":"7","actor":"a","ask":"acknowledge"}"#,
            "command: bad id \"7\"",
        );
        let body = format!(r#"{{"v":1,"kind":"model","sha256":"{}"}}"#, "0".repeat(64));
        check_error(RecordKind::Activate, &body, "activate: unknown artefact kind \"model\"; allowed: topology, rules");
    }
}
