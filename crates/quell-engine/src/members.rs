//! What an incident's alerts say of each alerting CI: since when, and how surprising they are.
//!
//! Absent on purpose: what follows from it (`locate`).

use std::collections::BTreeMap;
use std::time::Duration;

use quell_cmdb::CiIx;
use quell_domain::Timestamp;

use crate::alerts::Entry;
use crate::engine::Engine;
use crate::locate::Member;

/// The annotation or label in which an alert may carry a value.
const VALUE: &str = "value";

/// A surprise is at least this: whatever alerts may be at fault.
const LEAST: f64 = 1e-3;

#[derive(Default)]
struct Symptoms {
    since: Option<Timestamp>,
    /// The greatest value of each alert name, where it carries one.
    names: BTreeMap<String, Option<f64>>,
}

impl Engine {
    /// The alerting CIs of an incident, by CI.
    pub(crate) fn members_of(&self, number: u64) -> Vec<Member> {
        let Some(live) = self.incidents.get(&number) else { return Vec::new() };
        let mut by_ci: BTreeMap<CiIx, Symptoms> = BTreeMap::new();
        for entry in live.members.values().map(|&slot| self.alerts.get(slot)) {
            let Some(ci) = entry.ci else { continue };
            let symptoms = by_ci.entry(ci).or_default();
            let name = entry.name();
            let delay = Duration::from_secs_f64(self.history.delay(name).clamp(0.0, 3600.0));
            let since = entry.starts_at - delay;
            symptoms.since = Some(symptoms.since.map_or(since, |known| known.min(since)));
            let value = value(entry);
            match symptoms.names.get_mut(name) {
                Some(known) => *known = greater(*known, value),
                None => _ = symptoms.names.insert(name.to_owned(), value),
            }
        }
        let least = least_values(&by_ci);
        let member = |ci: CiIx, symptoms: &Symptoms| {
            let surprise = |(name, value): (&String, &Option<f64>)| {
                self.history.rarity(ci, name) * magnitude(*value, least.get(name).copied())
            };
            let rare: f64 = symptoms.names.iter().map(surprise).sum();
            Member {
                ci,
                since: symptoms.since.unwrap_or_default(),
                surprise: (rare - self.history.usual(ci)).max(LEAST),
                busy: self.history.busy(ci),
            }
        };
        by_ci.iter().map(|(&ci, symptoms)| member(ci, symptoms)).collect()
    }
}

/// The value that an alert carries: its distance from what is usual, as whoever measured it says.
fn value(entry: &Entry) -> Option<f64> {
    let text = entry.annotations.get(VALUE).or_else(|| entry.labels.get(VALUE))?;
    text.trim().parse().ok().filter(|value: &f64| value.is_finite() && *value > 0.0)
}

fn greater(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

/// The least value of each alert name among all CIs.
fn least_values(by_ci: &BTreeMap<CiIx, Symptoms>) -> BTreeMap<String, f64> {
    let mut least: BTreeMap<String, f64> = BTreeMap::new();
    for (name, value) in by_ci.values().flat_map(|symptoms| &symptoms.names) {
        if let Some(value) = *value {
            least.entry(name.clone()).and_modify(|known| *known = known.min(value)).or_insert(value);
        }
    }
    least
}

/// How much more an alert counts for its value: 1 for the least of its name, and one more for each factor of e.
fn magnitude(value: Option<f64>, least: Option<f64>) -> f64 {
    match (value, least) {
        (Some(value), Some(least)) => 1.0 + (value / least).ln().clamp(0.0, 4.0),
        _ => 1.0,
    }
}
