//! Learned state as an artefact: canonical JSON, so that equal states have equal bytes.
//!
//! Absent on purpose: what the numbers mean; see `quell_engine::learn`.

use std::collections::BTreeMap;

use quell_domain::CiId;
use quell_engine::again::{Again, Span};
use quell_engine::learn::{Fellow, Fired, Learned, NameSeen};
use serde::{Deserialize, Serialize};

/// The version of the shape that is written and read.
const VERSION: u32 = 3;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LearnedText {
    version: u32,
    seconds: f64,
    episodes: u64,
    /// Of them, those bound to no CI.
    unbound: u64,
    incidents: u64,
    /// Of them, those of several CIs.
    several: u64,
    troubles: BTreeMap<String, f64>,
    /// Episodes, of them alone, delay in seconds.
    names: BTreeMap<String, (u64, f64, f64)>,
    /// Incidents.
    alerted: BTreeMap<String, u32>,
    /// Incidents, and the values told in them.
    fired: BTreeMap<String, BTreeMap<String, (u32, Vec<f64>)>>,
    fellows: BTreeMap<String, Vec<(String, f64)>>,
    /// Alerts that came again in each span after their end, and the seconds in which they could have.
    again: [(u64, f64); 4],
}

/// What every version says first.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Why bytes are no learned state.
#[derive(Debug, thiserror::Error)]
pub enum LearnedError {
    /// They are not of the shape.
    #[error("the learned state cannot be read")]
    Shape(#[source] serde_json::Error),
    /// They are of a newer version.
    #[error("the learned state has version {found}; allowed: up to {VERSION}")]
    Version {
        /// What was found.
        found: u32,
    },
}

/// Writes it.
#[must_use]
pub fn encode(learned: &Learned) -> Vec<u8> {
    let Learned { seconds, episodes, unbound, incidents, several, troubles, names, alerted, fired, fellows, again } =
        learned;
    let text = |ci: &CiId| ci.as_str().to_owned();
    let name = |(name, seen): (&String, &NameSeen)| {
        let NameSeen { seen, alone, delay } = *seen;
        (name.clone(), (seen, alone, delay))
    };
    let fellow = |Fellow { ci, share }: &Fellow| (text(ci), *share);
    let fire = |(name, Fired { incidents, values }): (&String, &Fired)| (name.clone(), (*incidents, values.clone()));
    let text = LearnedText {
        version: VERSION,
        seconds: *seconds,
        episodes: *episodes,
        unbound: *unbound,
        incidents: *incidents,
        several: *several,
        troubles: troubles.iter().map(|(ci, count)| (text(ci), *count)).collect(),
        names: names.iter().map(name).collect(),
        alerted: alerted.iter().map(|(ci, incidents)| (text(ci), *incidents)).collect(),
        fired: fired.iter().map(|(ci, names)| (text(ci), names.iter().map(fire).collect())).collect(),
        fellows: fellows.iter().map(|(ci, others)| (text(ci), others.iter().map(fellow).collect())).collect(),
        again: again.spans.map(|Span { came, seconds }| (came, seconds)),
    };
    serde_json::to_vec(&text).expect("plain values with text keys always serialise")
}

/// Reads it back, bit for bit.
///
/// What an older version of quell learned counts as nothing: it is soon learned anew.
///
/// # Errors
/// When the bytes are of another shape or of a newer version.
pub fn decode(bytes: &[u8]) -> Result<Learned, LearnedError> {
    let Versioned { version } = serde_json::from_slice(bytes).map_err(LearnedError::Shape)?;
    match version {
        VERSION => {}
        older if older < VERSION => return Ok(Learned::default()),
        found => return Err(LearnedError::Version { found }),
    }
    let text: LearnedText = serde_json::from_slice(bytes).map_err(LearnedError::Shape)?;
    let LearnedText {
        version: _,
        seconds,
        episodes,
        unbound,
        incidents,
        several,
        troubles,
        names,
        alerted,
        fired,
        fellows,
        again,
    } = text;
    let fellow = |(ci, share): (String, f64)| Fellow { ci: CiId::new(&ci), share };
    let fire = |(name, (incidents, values))| (name, Fired { incidents, values });
    Ok(Learned {
        seconds,
        episodes,
        unbound,
        incidents,
        several,
        troubles: troubles.into_iter().map(|(ci, count)| (CiId::new(&ci), count)).collect(),
        names: names.into_iter().map(|(name, (seen, alone, delay))| (name, NameSeen { seen, alone, delay })).collect(),
        alerted: alerted.into_iter().map(|(ci, incidents)| (CiId::new(&ci), incidents)).collect(),
        fired: fired.into_iter().map(|(ci, names)| (CiId::new(&ci), names.into_iter().map(fire).collect())).collect(),
        fellows: fellows
            .into_iter()
            .map(|(ci, others)| (CiId::new(&ci), others.into_iter().map(fellow).collect()))
            .collect(),
        again: Again { spans: again.map(|(came, seconds)| Span { came, seconds }) },
    })
}

/// Learned state as people are shown it: what is known of the most telling ones.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LearnedJson {
    episodes: u64,
    unbound: u64,
    incidents: u64,
    seconds: f64,
    names: Part<NameJson>,
    late: Part<NameJson>,
    cis: Part<CiJson>,
    fellows: Part<FellowJson>,
    again: Vec<AgainJson>,
}

/// The first of a list, and how many there are in all.
#[derive(Clone, PartialEq, Debug, Serialize)]
struct Part<T> {
    total: usize,
    first: Vec<T>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
struct NameJson {
    name: String,
    episodes: u64,
    alone: f64,
    delay_seconds: f64,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
struct CiJson {
    ci: String,
    troubles: f64,
    incidents: u32,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
struct FellowJson {
    ci: String,
    fellow: String,
    share: f64,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
struct AgainJson {
    within_seconds: f64,
    alerts: u64,
    same: f64,
}

/// The state with at most `most` of each list: the names that come alone most often, those that are latest, the CIs
/// with most troubles of their own, and the CIs that most surely fail together.
#[must_use]
pub fn shown(learned: &Learned, most: usize) -> LearnedJson {
    let Learned {
        seconds,
        episodes,
        unbound,
        incidents,
        several: _,
        troubles,
        names,
        alerted,
        fired: _,
        fellows,
        again,
    } = learned;
    let name = |(name, seen): &(&String, &NameSeen)| {
        let NameSeen { seen, alone, delay } = **seen;
        let count = f64::from(u32::try_from(seen).unwrap_or(u32::MAX)).max(1.0);
        NameJson { name: (*name).clone(), episodes: seen, alone: alone / count, delay_seconds: delay }
    };
    let ci = |(ci, troubles): &(&CiId, &f64)| {
        let incidents = alerted.get(*ci).copied().unwrap_or(0);
        CiJson { ci: ci.as_str().to_owned(), troubles: **troubles, incidents }
    };
    let fellow = |(ci, Fellow { ci: other, share }): &(&CiId, &Fellow)| FellowJson {
        ci: ci.as_str().to_owned(),
        fellow: other.as_str().to_owned(),
        share: *share,
    };
    LearnedJson {
        episodes: *episodes,
        unbound: *unbound,
        incidents: *incidents,
        seconds: *seconds,
        names: part(names, |(_, seen)| seen.alone, most, name),
        late: part(names.iter().filter(|(_, seen)| seen.delay > 0.0), |(_, seen)| seen.delay, most, name),
        cis: part(troubles, |(_, count)| **count, most, ci),
        fellows: part(
            fellows.iter().flat_map(|(ci, others)| others.iter().map(move |other| (ci, other))),
            |(_, other)| other.share,
            most,
            fellow,
        ),
        again: again.shown().map(|(within_seconds, alerts, same)| AgainJson { within_seconds, alerts, same }).into(),
    }
}

/// The greatest first; of equal ones in the order they come.
fn part<T, V>(
    all: impl IntoIterator<Item = T>,
    rank: impl Fn(&T) -> f64,
    most: usize,
    show: impl Fn(&T) -> V,
) -> Part<V> {
    let mut all: Vec<T> = all.into_iter().collect();
    all.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
    Part { total: all.len(), first: all.iter().take(most).map(show).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned() -> Learned {
        let fellow = Fellow { ci: CiId::new("b"), share: 1.0 / 3.0 };
        Learned {
            seconds: 0.1 + 0.2,
            episodes: 7,
            unbound: 1,
            incidents: 3,
            several: 2,
            troubles: [(CiId::new("a"), 2.0 / 3.0)].into(),
            names: [("Down".to_owned(), NameSeen { seen: 7, alone: 1.5, delay: 12.25 })].into(),
            alerted: [(CiId::new("a"), 2)].into(),
            fired: [(CiId::new("a"), [("Down".to_owned(), Fired { incidents: 2, values: vec![0.7] })].into())].into(),
            fellows: [(CiId::new("a"), vec![fellow])].into(),
            again: Again { spans: [1, 5, 2, 0].map(|came| Span { came, seconds: 0.1 + came as f64 / 3.0 }) },
        }
    }

    #[test]
    fn comes_back_bit_for_bit() {
        assert_eq!(decode(&encode(&learned())).expect("its own bytes"), learned());
    }

    #[test]
    fn the_most_telling_are_shown_first() {
        let mut learned = learned();
        learned.names.insert("Slow".to_owned(), NameSeen { seen: 4, alone: 3.0, delay: 0.0 });
        learned.names.insert("Late".to_owned(), NameSeen { seen: 2, alone: 0.5, delay: 60.0 });
        learned.troubles.insert(CiId::new("b"), 5.0);
        let text = serde_json::to_value(shown(&learned, 1)).expect("plain values");
        let name = |name, episodes, alone, delay| serde_json::json!([{"name": name, "episodes": episodes, "alone": alone, "delay_seconds": delay}]);
        assert_eq!(text["names"]["total"], 3);
        assert_eq!(text["names"]["first"], name("Slow", 4, 0.75, 0.0));
        assert_eq!((&text["late"]["total"], &text["late"]["first"]), (&2.into(), &name("Late", 2, 0.25, 60.0)));
        assert_eq!(text["cis"]["first"], serde_json::json!([{"ci": "b", "troubles": 5.0, "incidents": 0}]));
        assert_eq!(text["fellows"]["first"], serde_json::json!([{"ci": "a", "fellow": "b", "share": 1.0 / 3.0}]));
        let same = learned.again.same(std::time::Duration::from_secs(300));
        assert_eq!(text["again"][1], serde_json::json!({"within_seconds": 300.0, "alerts": 5, "same": same}));
    }

    #[test]
    fn a_newer_version_is_refused_and_an_older_one_counts_as_nothing() {
        let text = String::from_utf8(encode(&learned())).expect("JSON").replace("\"version\":3", "\"version\":4");
        let refused = decode(text.as_bytes()).expect_err("from the future");
        assert_eq!(refused.to_string(), "the learned state has version 4; allowed: up to 3");
        assert!(decode(b"{}").is_err());
        let old = br#"{"version": 2, "seconds": 1.0, "whatever": "it had"}"#;
        assert_eq!(decode(old).expect("an older version"), Learned::default());
    }
}
