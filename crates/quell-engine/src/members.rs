//! What an incident's alerts are worth as evidence, for each CI that alerts or is named: that the fault lies in it, and
//! that a fault reached it.
//!
//! All evidence is in nats: the logarithm of how many times likelier what is seen is if it is so than by chance.
//! Chance is how often the same was seen in earlier incidents. Absent on purpose: what follows from it (`locate`).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use quell_cmdb::CiIx;
use quell_domain::{Severity, Timestamp};

use crate::engine::Engine;
use crate::history::History;
use crate::signs::{Sign, Signs, named, value};

/// Alerts of an incident whose labels are searched for the names of other CIs at most.
const SEARCHED: usize = 1024;

/// What a value far off is worth at most: beyond it, units and scales are compared and not troubles.
const FAR: f64 = 2.0;

/// What it is worth at least that a service's alert is critical: its sender says that this is no chance.
const CRITICAL: f64 = 3.0;

/// A CI of an incident that alerts or is named.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Member {
    pub(crate) ci: CiIx,
    /// Its first alert's start, the rule's own delay taken off; `None` when it raises none itself.
    pub(crate) since: Option<Timestamp>,
    /// Alerts of others that name it.
    pub(crate) named: u32,
    /// Evidence that the fault lies in it: how rare its alerts are.
    pub(crate) own: f64,
    /// Evidence that a fault reached it, wherever that lies: how rarely it alerts at all.
    pub(crate) hit: f64,
    /// In which share of earlier incidents it alerted.
    pub(crate) busy: f64,
    /// What each alert name adds to `own`; names are numbered within the incident.
    pub(crate) names: Vec<(u32, f64)>,
}

type Now<'a> = HashMap<&'a str, Peers, BuildHasherDefault<DefaultHasher>>;

/// Who shows an alert name in this incident.
#[derive(Clone, Copy, Default)]
struct Peers {
    /// The name's number.
    name: u32,
    cis: u32,
    /// Of them, those that never did before.
    fresh: u32,
    /// The least value among them.
    least: Option<f64>,
}

impl Engine {
    /// The CIs of an incident that alert or are named, by CI.
    pub(crate) fn members_of(&mut self, number: u64) -> Vec<Member> {
        let (max_hops, limit) = (self.settings.correlation.max_hops, self.walk_limit());
        let Some(live) = self.incidents.get(&number) else { return Vec::new() };
        let mut signs = Signs::default();
        for (at, entry) in live.members.values().map(|&slot| self.alerts.get(slot)).enumerate() {
            let Some(ci) = entry.ci else { continue };
            let name = entry.name();
            let delay = Duration::from_secs_f64(self.history.delay(name).clamp(0.0, 3600.0));
            let others = if at < SEARCHED {
                named(&self.graph, &mut self.suspects, (max_hops, limit), ci, &entry.labels)
            } else {
                Vec::new()
            };
            signs.note(ci, name, entry.starts_at - delay, value(&entry.labels, &entry.annotations), others);
            if entry.severity == Severity::Critical && self.graph.service(ci).is_some() {
                signs.critical(ci);
            }
        }
        weigh(&self.history, &signs)
    }
}

fn weigh(history: &History, signs: &Signs) -> Vec<Member> {
    let mut now: Now<'_> = HashMap::default();
    for (ci, sign) in signs.cis() {
        for (name, value) in &sign.names {
            let number = u32::try_from(now.len()).unwrap_or(u32::MAX);
            let peers = now.entry(name).or_insert(Peers { name: number, ..Peers::default() });
            peers.cis += 1;
            peers.fresh += u32::from(!history.knows(ci, name));
            peers.least = peers.least.into_iter().chain(*value).reduce(f64::min);
        }
    }
    signs.cis().map(|(ci, sign)| member(history, &now, ci, sign)).collect()
}

fn member(history: &History, now: &Now<'_>, ci: CiIx, sign: &Sign) -> Member {
    let (mut whole, mut own, mut farthest) = (0.0, 0.0, 0.0_f64);
    let mut names = Vec::with_capacity(sign.names.len());
    for (name, &value) in &sign.names {
        let peers = now.get(&**name).copied().unwrap_or_default();
        let (known, least) = history.spread(name);
        let far = value.zip(least.into_iter().chain(peers.least).reduce(f64::min));
        let far = far.map_or(0.0, |(value, least)| (value / least).ln().clamp(0.0, FAR));
        let rare = history.rarity(ci, name, value) + far;
        // What all others that ever showed it show now as well, is not its own; of a new name nobody knows that.
        let others = f64::from((known + peers.fresh).saturating_sub(1));
        let share = if known > 0 { f64::from(peers.cis.saturating_sub(1)) / (others + 1.0) } else { 0.0 };
        whole += rare;
        let rare = rare * (1.0 - share);
        own += rare;
        names.push((peers.name, rare));
        farthest = farthest.max(far);
    }
    names.sort_unstable_by_key(|(name, _)| *name);
    let busy = history.busy(ci);
    let hit = (farthest - busy.ln()) * if whole > 0.0 { own / whole } else { 1.0 };
    let hit = if sign.critical { hit.max(CRITICAL) } else { hit };
    Member { ci, since: sign.since, named: sign.named, own, hit, busy, names }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use quell_cmdb::Graph;
    use quell_domain::{Ci, CiId, Topology};

    use super::*;
    use crate::learn::{Fired, Learned};

    /// After eight incidents of several CIs: `a:Down=4` fired in 4 of them, `a:Slow=2@5,9` in 2, that far off.
    fn weighed(learned: &str, alerts: &str) -> BTreeMap<String, Member> {
        let cis = ["a", "b", "c", "d"].map(|id| Ci::new(id, "host")).to_vec();
        let graph = Graph::new(Topology::new(cis, vec![], vec![]).expect("holds together"));
        let mut known = Learned { several: 8, ..Learned::default() };
        for word in learned.split_whitespace() {
            let (ci, rest) = word.split_once(':').expect("a CI");
            let (name, seen) = rest.split_once('=').expect("how often");
            let (incidents, values) = seen.split_once('@').unwrap_or((seen, ""));
            let incidents = incidents.parse().expect("a count");
            let values = values.split(',').filter_map(|value| value.parse().ok()).collect();
            known.fired.entry(CiId::new(ci)).or_default().insert(name.into(), Fired { incidents, values });
            known.alerted.insert(CiId::new(ci), incidents);
        }
        let mut signs = Signs::default();
        for word in alerts.split_whitespace() {
            let (ci, rest) = word.split_once(':').expect("a CI");
            let (name, value) = rest.split_once('@').unwrap_or((rest, ""));
            let (ci, critical) = (ci.trim_end_matches('!'), ci.ends_with('!'));
            let ix = graph.find(&CiId::new(ci)).expect("a CI");
            signs.note(ix, name, Timestamp::from_seconds(0), value.parse().ok(), Vec::new());
            if critical {
                signs.critical(ix);
            }
        }
        let history = History::new(Arc::new(known), &graph);
        weigh(&history, &signs).into_iter().map(|member| (graph.ci(member.ci).id.to_string(), member)).collect()
    }

    fn check(learned: &str, alerts: &str, expected: &[(&str, f64, f64)]) {
        let members = weighed(learned, alerts);
        for &(ci, own, hit) in expected {
            let member = &members[ci];
            let near = (member.own - own).abs() < 1e-9 && (member.hit - hit).abs() < 1e-9;
            assert!(near, "{ci}: {} {}, not {own} {hit}", member.own, member.hit);
        }
    }

    #[test]
    fn what_fired_often_says_little() {
        let nats = |often: f64| (9.0 / (often + 0.25)).ln();
        check("a:Down=8 b:Up=1", "a:Down b:Odd", &[("a", nats(8.0), nats(8.0)), ("b", nats(0.0), nats(1.0))]);
    }

    #[test]
    fn what_all_who_ever_showed_it_show_is_not_its_own() {
        let nats = (9.0_f64 / 1.25).ln();
        check("a:Down=1 b:Down=1 c:Down=1", "a:Down", &[("a", nats, nats)]);
        check("a:Down=1 b:Down=1 c:Down=1", "a:Down b:Down c:Down", &[("a", nats / 3.0, nats / 3.0)]);
    }

    #[test]
    fn a_value_counts_beside_what_was_seen_of_it() {
        let (seen, new) = ((9.0_f64 / 2.25).ln(), (9.0_f64 / 0.25).ln());
        // As far off as ever, then farther than ever; twice the least value is worth ln 2, and no more than 2 in all.
        check("a:Slow=2@6,6", "a:Slow@6", &[("a", seen, seen)]);
        check("a:Slow=2@6,6", "a:Slow@12", &[("a", new + 2.0_f64.ln(), seen + 2.0_f64.ln())]);
        check("a:Slow=2@6,6", "a:Slow@6000", &[("a", new + FAR, seen + FAR)]);
    }

    #[test]
    fn a_critical_alert_of_a_service_is_no_chance() {
        let nats = (9.0_f64 / 8.25).ln();
        check("a:Violated=8", "a:Violated", &[("a", nats, nats)]);
        check("a:Violated=8", "a!:Violated", &[("a", nats, CRITICAL)]);
    }
}
