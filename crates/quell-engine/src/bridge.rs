//! Incidents that turn out to be one: a few alerts opened several before what they share had shown itself.
//!
//! When a small young incident is judged anew, its alerts are asked where they would join if they came now. Where they
//! would join another incident, it is merged into that, as a revision.
//!
//! Absent on purpose: the weighing (`correlate`) and the moving (`moving`).

use std::collections::BTreeMap;
use std::time::Duration;

use quell_domain::{Reason, Timestamp};

use crate::correlate;
use crate::engine::Engine;
use crate::moving::By;
use crate::part::Part;

/// CIs of an incident that may still be merged into another.
const SMALL: usize = 8;

/// An incident older than this stands for itself.
const YOUNG: Duration = Duration::from_secs(900);

/// The mean probability of its alerts that merges an incident into another.
const SURE: f64 = 0.88;

impl Engine {
    /// Merges a small incident into the one that it turns out to belong to.
    pub(crate) fn bridge(&mut self, number: u64) {
        if self.has(Part::Bridge)
            && let Some((into, mean)) = self.better_home(number)
        {
            self.merge_into(into, number, mean);
        }
    }

    fn may_merge(&self, number: u64) -> bool {
        self.incidents.get(&number).is_some_and(|live| {
            live.is_open()
                && live.cis.len() <= SMALL
                && self.now().since(live.row.opened_at) <= YOUNG
                && live.row.split_from.is_none()
                && !live.row.held_apart
        })
    }

    /// The incident that the alerts of a small one would join if they came now, with how
    /// surely they would on average.
    fn better_home(&mut self, number: u64) -> Option<(u64, f64)> {
        if !self.may_merge(number) {
            return None;
        }
        let live = &self.incidents[&number];
        let size = live.cis.len();
        let mut alerts: BTreeMap<_, (Timestamp, String)> = BTreeMap::new();
        for entry in live.members.values().map(|&slot| self.alerts.get(slot)) {
            if let Some(ci) = entry.ci {
                alerts.entry(ci).or_insert_with(|| (entry.began_at, entry.name().to_owned()));
            }
        }
        let (max_hops, limit) = (self.settings.correlation.max_hops, self.walk_limit());
        let mut homes: BTreeMap<u64, f64> = BTreeMap::new();
        for (&ci, (at, name)) in &alerts {
            let chance = self.chance(ci, name, *at);
            let suspects = self.suspects.of(&self.graph, ci, max_hops, limit);
            let when = self.when(*at);
            for shared in self.suspects.shared(&self.graph, &suspects, self.history.fellows(ci), max_hops, when) {
                *homes.entry(shared.incident).or_default() += correlate::probability(shared.expected, chance);
            }
        }
        let count = f64::from(u32::try_from(alerts.len()).unwrap_or(u32::MAX)).max(1.0);
        let home = |(&home, &sum): (&u64, &f64)| {
            let other = self.incidents.get(&home)?;
            let larger = (other.cis.len(), std::cmp::Reverse(home)) > (size, std::cmp::Reverse(number));
            let fits = home != number && larger && other.is_open() && !other.row.held_apart;
            (fits && sum / count >= SURE && other.row.merged_into.is_none()).then_some((home, sum / count))
        };
        homes.iter().filter_map(home).reduce(|kept, other| if other.1 > kept.1 { other } else { kept })
    }

    fn merge_into(&mut self, into: u64, from: u64, mean: f64) {
        let reason = Reason::new(
            "one_trouble",
            "its alerts would join {incident} if they came now (probability {probability} on average)",
        )
        .text("incident", self.live(into).row.id.to_string())
        .number("probability", correlate::shown(mean));
        let by = By::quell(self.now());
        self.merge(by, into, from, &reason);
    }
}
