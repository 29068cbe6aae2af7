//! What history teaches: how often each CI alerts by chance, which alerts come alone and which in storms, how late a
//! rule fires, how rare an alert is, how soon alerts come again, and which CIs fail together though no relationship says
//! so.
//!
//! No labels are used: who was right is not asked. Learned state is an artefact like a topology: made of what is
//! remembered, stored by its digest, and in force from where the log activates it, so that a replay decides the same.
//! Absent on purpose: when to learn, where history lies, and how the artefact is written.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use quell_cmdb::{CiIx, Graph};
use quell_domain::{Alert, AlertState, CiId, Fingerprint, Timestamp};

use crate::again::Again;
use crate::alerts::told_ended_at;
use crate::signs::{Signs, named, value};
use crate::suspects::{Place, Suspects};

/// Alert episodes that are learned from at most: the latest ones.
pub const EPISODES: usize = 50_000;

/// Alerts so close in time may be of one trouble.
const TOGETHER: Duration = Duration::from_secs(60);

/// A dependency with more dependents than this makes no neighbours.
const NEAR: u32 = 64;

/// A pair of CIs fails together when it did so at least this often.
const LEAST_PAIRS: u32 = 3;

/// And this many times as often as by chance.
const LEAST_LIFT: f64 = 4.0;

/// CIs that are remembered to fail together with one CI: the most telling ones.
const FELLOWS: usize = 8;

/// Dependencies of one CI that are looked at most.
const WALK: usize = 512;

/// Values that are remembered of one alert.
pub const VALUES: usize = 32;

/// Alerting CIs of a storm beyond which pairs are not counted: so large a storm says nothing about two of them.
const STORM: usize = 64;

/// What history teaches about the alerts of one name.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct NameSeen {
    /// Episodes.
    pub seen: u64,
    /// Of them, weighed: an alert that comes alone counts 1, one of n that come together 1/n, and one that comes again as
    /// the same trouble's as much as it did the last time.
    pub alone: f64,
    /// Seconds by which it is late, as a rule: the 20th percentile of the time since the first alert of its incident,
    /// over incidents of several CIs.
    pub delay: f64,
}

/// What history teaches about the alerts of one name on one CI.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Fired {
    /// Incidents in which it fired.
    pub incidents: u32,
    /// How far off it was in each of the last [`VALUES`] of them, where it said so.
    pub values: Vec<f64>,
}

/// A CI that tends to alert when another does.
#[derive(Clone, PartialEq, Debug)]
pub struct Fellow {
    /// The other.
    pub ci: CiId,
    /// The part of the other's alerting times at which this one alerted too, 0 to 1.
    pub share: f64,
}

/// What was learned up to one moment. Text keys, so that it outlives the topology it was learned with.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Learned {
    /// Seconds from the first episode to the last.
    pub seconds: f64,
    /// Episodes.
    pub episodes: u64,
    /// Of them, those that are bound to no CI.
    pub unbound: u64,
    /// Incidents that they were in and that are over.
    pub incidents: u64,
    /// Of them, those in which several CIs alerted: what is usual in one alert's incident is not in a storm's.
    pub several: u64,
    /// Troubles of its own for each CI: its episodes, weighed as in [`NameSeen::alone`].
    pub troubles: BTreeMap<CiId, f64>,
    /// For each alert name.
    pub names: BTreeMap<String, NameSeen>,
    /// For each CI: in how many incidents it alerted or was named by an alert.
    pub alerted: BTreeMap<CiId, u32>,
    /// For each CI: which alerts fired on it or named it, the latter under `signs`'s words.
    pub fired: BTreeMap<CiId, BTreeMap<String, Fired>>,
    /// CIs that fail together with a CI.
    pub fellows: BTreeMap<CiId, Vec<Fellow>>,
    /// How soon after their end alerts come again.
    pub again: Again,
}

/// When it is worth learning anew: `known` episodes were learned from `since` ago, and there are `total` now.
#[must_use]
pub fn due(known: u64, total: u64, since: Duration) -> bool {
    let more = total.saturating_sub(known);
    more > 0 && (since >= Duration::from_secs(3600) || more >= 100 && more >= known)
}

struct Heard<'a> {
    at: Timestamp,
    ci: Option<CiIx>,
    name: &'a str,
    incident: Option<u64>,
    fires: bool,
    alert: &'a Alert,
}

impl Learned {
    /// Learns from episodes, the latest [`EPISODES`] of them, in any order. Takes a second for that many at most.
    #[must_use]
    pub fn of(graph: &Graph, max_hops: u32, episodes: &[Alert]) -> Learned {
        let mut heard: Vec<Heard<'_>> = episodes
            .iter()
            .map(|alert| Heard {
                at: alert.began_at,
                ci: alert.binding.as_ref().and_then(|binding| graph.find(&binding.ci)),
                name: quell_domain::alert::name(&alert.labels, &alert.annotations),
                incident: alert.incident.map(|id| id.number),
                fires: alert.state == AlertState::Firing,
                alert,
            })
            .collect();
        heard.sort_by_key(|heard| heard.at);
        heard.drain(..heard.len().saturating_sub(EPISODES));
        let (Some(first), Some(last)) = (heard.first(), heard.last()) else { return Learned::default() };
        let mut learned = Learned {
            seconds: last.at.since(first.at).as_secs_f64(),
            episodes: heard.len() as u64,
            unbound: heard.iter().filter(|heard| heard.ci.is_none()).count() as u64,
            again: Again::of(heard.iter().map(|heard| {
                (
                    heard.alert.fingerprint,
                    heard.at,
                    told_ended_at(heard.alert.ends_at, heard.alert.last_seen),
                    heard.fires,
                )
            })),
            ..Learned::default()
        };
        learned.count(graph, &heard, &company(graph, max_hops, &heard));
        learned.by_incident(graph, max_hops, &heard);
        learned.pairs(graph, &heard);
        learned
    }

    fn count(&mut self, graph: &Graph, heard: &[Heard<'_>], company: &[u32]) {
        let mut last: HashMap<Fingerprint, (Timestamp, f64), BuildHasherDefault<DefaultHasher>> = HashMap::default();
        for (heard, &others) in heard.iter().zip(company) {
            let alone = 1.0 / (1.0 + f64::from(others));
            let alone = last.get(&heard.alert.fingerprint).map_or(alone, |&(end, before)| {
                let same = self.again.same(heard.at.since(end));
                same * before + (1.0 - same) * alone
            });
            last.insert(heard.alert.fingerprint, (told_ended_at(heard.alert.ends_at, heard.alert.last_seen), alone));
            if let Some(ci) = heard.ci {
                *self.troubles.entry(graph.ci(ci).id.clone()).or_default() += alone;
            }
            let name = self.names.entry(heard.name.to_owned()).or_default();
            name.seen += 1;
            name.alone += alone;
        }
    }

    fn by_incident(&mut self, graph: &Graph, max_hops: u32, heard: &[Heard<'_>]) {
        let mut incidents: BTreeMap<u64, Vec<&Heard<'_>>> = BTreeMap::new();
        let open: BTreeSet<u64> = heard.iter().filter(|heard| heard.fires).filter_map(|heard| heard.incident).collect();
        for heard in heard {
            if let Some(number) = heard.incident.filter(|number| !open.contains(number)) {
                incidents.entry(number).or_default().push(heard);
            }
        }
        self.incidents = incidents.len() as u64;
        let mut suspects = Suspects::default();
        let mut delays: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for alerts in incidents.values() {
            let mut signs = Signs::default();
            for heard in alerts {
                let Some(ci) = heard.ci else { continue };
                let Alert { labels, annotations, .. } = heard.alert;
                let named = named(graph, &mut suspects, (max_hops, WALK), ci, labels);
                signs.note(ci, heard.name, heard.at, value(labels, annotations), named);
            }
            let first = alerts[0].at;
            let alone = signs.alerting() < 2;
            self.several += u64::from(!alone);
            for (ci, sign) in signs.cis() {
                *self.alerted.entry(graph.ci(ci).id.clone()).or_default() += 1;
                let names = self.fired.entry(graph.ci(ci).id.clone()).or_default();
                for (name, &value) in &sign.names {
                    let fired = names.entry(name.clone()).or_default();
                    fired.incidents += 1;
                    fired.values.extend(value);
                    fired.values.drain(..fired.values.len().saturating_sub(VALUES));
                }
            }
            let mut pairs: BTreeMap<(CiIx, &str), Timestamp> = BTreeMap::new();
            for heard in alerts.iter().filter(|_| !alone) {
                if let Some(ci) = heard.ci {
                    pairs.entry((ci, heard.name)).or_insert(heard.at);
                }
            }
            for ((_, name), at) in pairs {
                delays.entry(name).or_default().push(at.since(first).as_secs_f64());
            }
        }
        for (name, mut delays) in delays {
            delays.sort_by(f64::total_cmp);
            if let Some(seen) = self.names.get_mut(name) {
                seen.delay = delays[delays.len() / 5];
            }
        }
    }

    /// Counts which CIs alert in the same minute.
    fn pairs(&mut self, graph: &Graph, heard: &[Heard<'_>]) {
        let mut minutes: BTreeMap<i64, BTreeSet<CiIx>> = BTreeMap::new();
        let minute = i64::try_from(TOGETHER.as_micros()).unwrap_or(i64::MAX);
        for heard in heard {
            if let Some(ci) = heard.ci {
                minutes.entry(heard.at.micros() / minute).or_default().insert(ci);
            }
        }
        let mut alone: BTreeMap<CiIx, u32> = BTreeMap::new();
        let mut both: BTreeMap<(CiIx, CiIx), u32> = BTreeMap::new();
        for cis in minutes.values() {
            for &ci in cis {
                *alone.entry(ci).or_default() += 1;
            }
            if cis.len() > STORM {
                continue;
            }
            for (at, &a) in cis.iter().enumerate() {
                for &b in cis.iter().skip(at + 1) {
                    *both.entry((a, b)).or_default() += 1;
                }
            }
        }
        let all = (self.seconds / TOGETHER.as_secs_f64()).max(1.0);
        let mut fellows: BTreeMap<CiIx, Vec<(f64, CiIx)>> = BTreeMap::new();
        for ((a, b), count) in both.into_iter().filter(|&(_, count)| count >= LEAST_PAIRS) {
            let lift = f64::from(count) * all / (f64::from(alone[&a]) * f64::from(alone[&b]));
            if lift >= LEAST_LIFT {
                fellows.entry(a).or_default().push((f64::from(count) / (f64::from(alone[&b]) + 1.0), b));
                fellows.entry(b).or_default().push((f64::from(count) / (f64::from(alone[&a]) + 1.0), a));
            }
        }
        for (ci, mut others) in fellows {
            others.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)));
            let fellow = |&(share, other): &(f64, CiIx)| Fellow { ci: graph.ci(other).id.clone(), share };
            let others = others.iter().take(FELLOWS).map(fellow).collect();
            self.fellows.insert(graph.ci(ci).id.clone(), others);
        }
    }
}

/// For each alert, how many others came within [`TOGETHER`] of it on neighbouring CIs.
fn company(graph: &Graph, max_hops: u32, heard: &[Heard<'_>]) -> Vec<u32> {
    let mut suspects = Suspects::default();
    let mut near: HashMap<Place, u32, BuildHasherDefault<DefaultHasher>> = HashMap::default();
    let mut around = |suspects: &mut Suspects, ci: CiIx, change: i32| -> u32 {
        let mut most = 0;
        for suspect in suspects.of(graph, ci, max_hops, WALK).iter() {
            if suspects.fan(graph, suspect.place, max_hops) <= NEAR {
                let count = near.entry(suspect.place).or_default();
                *count = count.saturating_add_signed(change);
                most = most.max(*count);
            }
        }
        most
    };
    let mut entered = 0;
    let mut inside: VecDeque<usize> = VecDeque::new();
    let mut company = Vec::with_capacity(heard.len());
    for this in heard {
        while let Some(next) = heard.get(entered).filter(|next| next.at <= this.at + TOGETHER) {
            if let Some(ci) = next.ci {
                around(&mut suspects, ci, 1);
            }
            inside.push_back(entered);
            entered += 1;
        }
        while let Some(&oldest) = inside.front().filter(|&&oldest| heard[oldest].at + TOGETHER < this.at) {
            if let Some(ci) = heard[oldest].ci {
                around(&mut suspects, ci, -1);
            }
            inside.pop_front();
        }
        // Itself is among those counted.
        company.push(this.ci.map_or(0, |ci| around(&mut suspects, ci, 0).saturating_sub(1)));
    }
    company
}
