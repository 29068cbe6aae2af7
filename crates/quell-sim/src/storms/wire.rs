//! A storm as its senders put it: each alert when it starts, again while it lasts, and when it is over.
//!
//! Deliberately absent: the truth.

use std::time::Duration;

use quell_domain::Timestamp;
use serde_json::{Map, Value, json};

use super::episodes::labels;
use super::estate::Kind;
use super::{Episode, Storm};

/// Seconds after which an alert that lasts is sent again.
const RESEND: f64 = 180.0;
/// Seconds for which an alert is valid without being sent again.
const VALID: f64 = 600.0;

/// The instant of second 0.
pub const START: Timestamp = Timestamp::from_seconds(1_780_000_000);

/// A request to API v2, with the episodes that its alerts belong to, in their order.
#[derive(Clone, PartialEq, Debug)]
pub struct Post {
    /// When.
    pub at: Timestamp,
    /// What.
    pub body: String,
    /// Whose alerts, by index.
    pub told: Vec<usize>,
}

/// That second of the storm.
#[must_use]
pub fn instant(seconds: f64) -> Timestamp {
    START + Duration::from_secs_f64(seconds.max(0.0))
}

/// Every request, in order of time. What is due within the same five seconds goes in one.
pub fn posts(storm: &Storm) -> impl Iterator<Item = Post> {
    posts_every(storm, RESEND)
}

/// The same, with alerts that last sent again every so many seconds.
pub fn posts_every(storm: &Storm, resend: f64) -> impl Iterator<Item = Post> {
    let mut due: Vec<(u64, usize, bool)> = Vec::new();
    for (ix, Episode { starts, ends, .. }) in storm.episodes.iter().enumerate() {
        let mut at = *starts;
        while at < *ends {
            due.push((slot(at), ix, false));
            at += resend;
        }
        due.push((slot(*ends), ix, true));
    }
    due.sort_unstable();
    let mut from = 0;
    std::iter::from_fn(move || {
        let (first, ..) = *due.get(from)?;
        let together = due[from..].iter().take_while(|(slot, ..)| *slot == first).take(MOST).count();
        let part = &due[from..from + together];
        from += together;
        #[expect(clippy::cast_precision_loss, reason = "a few hours")]
        let at = (first + 1) as f64 * SLOT;
        let alerts: Vec<Value> = part.iter().map(|&(_, ix, over)| alert(storm, ix, at, over)).collect();
        let told = part.iter().map(|&(_, ix, _)| ix).collect();
        Some(Post { at: instant(at), body: Value::Array(alerts).to_string(), told })
    })
}

/// Every change as a change event of PagerDuty's contract, in order of time.
pub fn changes(storm: &Storm) -> impl Iterator<Item = (Timestamp, String)> {
    storm.changes.iter().enumerate().map(|(number, change)| {
        let part = &storm.estate.parts[change.part];
        let word = match part.kind {
            Kind::Service => "service",
            Kind::Host | Kind::Switch => "host",
            _ => "component",
        };
        let mut details = Map::new();
        if change.vague {
            details.insert("repository".to_owned(), format!("acme/{}", part.id).into());
        } else {
            details.insert(word.to_owned(), part.id.clone().into());
        }
        details.insert("run".to_owned(), number.into());
        let body = json!({
            "routing_key": ROUTING_KEY,
            "payload": {
                "summary": format!("{} {}", change.what, part.id),
                "timestamp": instant(change.at).to_string(),
                "source": change.by,
                "custom_details": details,
            },
            "links": [{ "href": format!("https://{}.example.net/{number}", change.by) }],
        });
        (instant(change.told), body.to_string())
    })
}

/// Any will do: it has the right length.
const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";

/// Alerts that one request carries at most.
const MOST: usize = 500;

/// Rules are evaluated this often.
const SLOT: f64 = 5.0;

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hours, never negative")]
fn slot(seconds: f64) -> u64 {
    (seconds / SLOT) as u64
}

fn alert(storm: &Storm, ix: usize, at: f64, over: bool) -> Value {
    let episode = &storm.episodes[ix];
    let labels: Map<String, Value> =
        labels(&storm.estate, episode).into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let ends_at = if over { episode.ends } else { at + VALID };
    json!({
        "labels": labels,
        "annotations": { "summary": format!("{} on {}", episode.name, storm.estate.parts[episode.part].id) },
        "startsAt": instant(episode.starts).to_string(),
        "endsAt": instant(ends_at.max(episode.starts)).to_string(),
        "generatorURL": "https://prometheus.example.com/graph",
    })
}
