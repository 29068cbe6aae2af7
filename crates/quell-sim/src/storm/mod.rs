//! The demo's storm: several faults at once, told as a shop's monitors would tell them, with the truth beside it.
//!
//! Deliberately absent: sending (the player does), the clock (the start is handed in), and the large generator that
//! measures correlation over many storms.

mod catalogue;
mod spread;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use quell_domain::{CiId, Fingerprint, Source, Timestamp, Topology};

use crate::rng::Rng;
use catalogue::{Level, Rule};
pub use wire::decode;

/// A request to be posted.
#[derive(Clone, PartialEq, Debug)]
pub struct Post {
    /// When, in seconds after the storm's start.
    pub at_seconds: f64,
    /// By which contract.
    pub source: Source,
    /// The JSON body.
    pub body: String,
    /// How many alerts it carries.
    pub alerts: usize,
}

impl Post {
    /// Where the contract has its door.
    #[must_use]
    pub fn path(&self) -> &'static str {
        path(self.source)
    }
}

/// Where a contract has its door.
#[must_use]
pub fn path(source: Source) -> &'static str {
    match source {
        Source::AlertmanagerApi => "/api/v2/alerts",
        Source::AlertmanagerWebhook => "/api/v1/webhooks/alertmanager",
        Source::PagerDuty => "/v2/enqueue",
        Source::PagerDutyChange => "/v2/change/enqueue",
    }
}

/// A true fault.
#[derive(Clone, PartialEq, Debug)]
pub struct Fault {
    /// What happened, for people.
    pub name: String,
    /// The CI at fault.
    pub root: CiId,
    /// The alerts it raised, each with the CI it is about, by fingerprint.
    pub alerts: BTreeMap<Fingerprint, CiId>,
}

/// A storm with its truth.
#[derive(Clone, PartialEq, Debug)]
pub struct Storm {
    /// The requests, in order of time.
    pub posts: Vec<Post>,
    /// The faults behind them, in order of time.
    pub faults: Vec<Fault>,
    /// Alerts that belong to no fault.
    pub noise: BTreeSet<Fingerprint>,
}

impl Storm {
    /// Alerts in all posts, repeats included.
    #[must_use]
    pub fn received(&self) -> usize {
        self.posts.iter().map(|post| post.alerts).sum()
    }
}

/// How a storm is told.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct StormOptions {
    /// The same seed gives the same storm.
    pub seed: u64,
    /// The instant of `at_seconds` 0, as written into the bodies.
    pub start: Timestamp,
    /// How many times faster than life it is told: the story takes ten minutes at pace 1.
    pub pace: f64,
}

/// One alert from its start to its end, however often it is sent.
struct Episode {
    fault: Option<usize>,
    ci: Option<CiId>,
    via: Source,
    labels: BTreeMap<&'static str, String>,
    annotations: BTreeMap<&'static str, String>,
    /// Seconds at pace 1.
    starts: f64,
    ends: Option<f64>,
}

/// How one fault begins.
struct Script {
    name: &'static str,
    root: &'static str,
    /// Seconds at pace 1.
    begins: f64,
    /// When it is mended; `None` when nobody does before the story ends.
    mended: Option<f64>,
    /// What the root itself shows.
    level: Level,
    own: Option<&'static [Rule]>,
    /// What its replicas show.
    replicas: &'static [Rule],
}

const SCRIPTS: &[Script] = &[
    Script {
        name: "access switch sw-r3-a fails",
        root: "sw-r3-a",
        begins: 40.0,
        mended: Some(430.0),
        level: Level::Down,
        own: None,
        replicas: &[],
    },
    Script {
        name: "disk of orders-db-1 is full",
        root: "orders-db-1",
        begins: 120.0,
        mended: None,
        level: Level::Degraded,
        own: Some(catalogue::DISK_FULL),
        replicas: &[],
    },
    Script {
        name: "bad deploy of search",
        root: "search",
        begins: 190.0,
        mended: Some(400.0),
        level: Level::Degraded,
        own: Some(catalogue::BAD_DEPLOY),
        replicas: catalogue::CRASH_LOOP,
    },
    Script {
        name: "certificate of partner-api expires",
        root: "cert-partner-api",
        begins: 260.0,
        mended: None,
        level: Level::Degraded,
        own: Some(catalogue::CERTIFICATE),
        replicas: &[],
    },
];

/// The demo's storm over the sample estate. CIs that the topology lacks are left out, with the faults rooted in them.
///
/// # Panics
/// Never: every body is one that its contract's decoder takes, as the tests check.
#[must_use]
pub fn demo_storm(topology: &Topology, options: StormOptions) -> Storm {
    let mut rng = Rng::new(options.seed);
    let mut episodes = Episodes { topology, told: BTreeSet::new(), all: Vec::new() };
    let mut faults = Vec::new();
    for script in SCRIPTS {
        let root = CiId::new(script.root);
        if find(topology, &root).is_some() {
            faults.push(Fault { name: script.name.into(), root, alerts: BTreeMap::new() });
            episodes.fault(faults.len() - 1, script, &mut rng);
        }
    }
    episodes.noise(&mut rng);
    let mut noise = BTreeSet::new();
    let mut posts = Vec::new();
    for (post, told) in wire::posts(&episodes.all, options) {
        let batch = wire::decode(post.source, post.body.as_bytes());
        assert_eq!(batch.items().len(), told.len(), "a body of the storm was refused: {:?}", batch.rejects);
        for (item, &ix) in batch.items().iter().zip(&told) {
            let episode = &episodes.all[ix];
            match (episode.fault, &episode.ci) {
                (Some(fault), Some(ci)) => {
                    faults[fault].alerts.insert(item.fingerprint, ci.clone());
                }
                _ => {
                    noise.insert(item.fingerprint);
                }
            }
        }
        posts.push(post);
    }
    Storm { posts, faults, noise }
}

struct Episodes<'a> {
    topology: &'a Topology,
    /// CI and alert name: one condition is told once, by whichever fault raised it first.
    told: BTreeSet<(String, &'static str)>,
    all: Vec<Episode>,
}

impl Episodes<'_> {
    fn fault(&mut self, fault: usize, script: &Script, rng: &mut Rng) {
        let root = CiId::new(script.root);
        for hit in spread::spread(self.topology, &root, script.level, rng) {
            let Some(ci) = find(self.topology, &hit.ci) else { continue };
            let rules = if hit.ci == root { script.own } else { None };
            let rules = rules.unwrap_or_else(|| catalogue::rules(&ci.kind, hit.level));
            self.tell(Some(fault), ci, rules, script.begins + hit.after, script.mended, rng);
        }
        for relationship in self.topology.relationships().iter().filter(|r| r.from == root) {
            if let Some(replica) = find(self.topology, &relationship.to).filter(|ci| ci.kind == "instance") {
                self.tell(Some(fault), replica, script.replicas, script.begins, script.mended, rng);
            }
        }
    }

    fn noise(&mut self, rng: &mut Rng) {
        let hosts: Vec<_> = self.topology.cis().iter().filter(|ci| ci.kind == "host").collect();
        if hosts.is_empty() {
            return;
        }
        for _ in 0..10 {
            let host = hosts[rng.index(hosts.len())];
            let rule = rng.index(catalogue::NOISE.len());
            let starts = rng.range(0.0, wire::STORY - 120.0);
            let ends = starts + rng.range(45.0, 110.0);
            self.tell(None, host, &catalogue::NOISE[rule..=rule], starts, Some(ends), rng);
        }
        let labels = [("alertname", "Watchdog"), ("severity", "none"), ("prometheus", "monitoring/prod")];
        self.all.push(Episode {
            fault: None,
            ci: None,
            via: Source::AlertmanagerApi,
            labels: labels.map(|(name, value)| (name, value.to_owned())).into(),
            annotations: BTreeMap::from([("summary", "Always fires, to show that the pipeline works.".to_owned())]),
            starts: 0.0,
            ends: None,
        });
    }

    fn tell(
        &mut self,
        fault: Option<usize>,
        ci: &quell_domain::Ci,
        rules: &[Rule],
        since: f64,
        mended: Option<f64>,
        rng: &mut Rng,
    ) {
        for rule in rules {
            let starts = since + rng.range(rule.delay.0, rule.delay.1);
            let heals = mended.map(|mended| mended + rng.range(5.0, 40.0));
            let fires = rng.chance(rule.chance) && heals.is_none_or(|heals| heals > starts + 15.0);
            if fires && self.told.insert((ci.id.to_string(), rule.alertname)) {
                self.all.push(Episode {
                    fault,
                    ci: Some(ci.id.clone()),
                    via: rule.via,
                    labels: labels(ci, rule),
                    annotations: annotations(ci, rule),
                    starts,
                    ends: heals,
                });
            }
        }
    }
}

fn find<'a>(topology: &'a Topology, id: &CiId) -> Option<&'a quell_domain::Ci> {
    topology.cis().binary_search_by(|ci| ci.id.cmp(id)).ok().map(|at| &topology.cis()[at])
}

/// What Prometheus' scrape and external labels would say of this CI.
fn labels(ci: &quell_domain::Ci, rule: &Rule) -> BTreeMap<&'static str, String> {
    let mut labels = BTreeMap::from([
        ("alertname", rule.alertname.to_owned()),
        ("severity", rule.severity.to_owned()),
        ("job", rule.job.to_owned()),
        ("cluster", "dc1".to_owned()),
        ("env", "prod".to_owned()),
        ("region", "eu-central-1".to_owned()),
        ("prometheus", "monitoring/prod".to_owned()),
    ]);
    if let Some(owner) = &ci.owner {
        labels.insert("team", owner.clone());
    }
    match ci.kind.as_str() {
        "service" => {
            labels.insert("namespace", "prod".into());
            labels.insert("service", ci.name.clone());
        }
        "business_service" => {
            labels.insert("source", ci.name.clone());
        }
        "search_cluster" | "message_broker" => {
            labels.insert("cluster_name", ci.name.clone());
        }
        // The last alias of a host or guest is IP:port, of a switch its IP, of a certificate the probed URL.
        _ => {
            if let Some(address) = ci.aliases.last() {
                labels.insert("instance", address.clone());
            }
        }
    }
    if ci.kind == "instance" {
        labels.insert("namespace", "prod".into());
        labels.insert("pod", ci.name.clone());
    }
    labels
}

fn annotations(ci: &quell_domain::Ci, rule: &Rule) -> BTreeMap<&'static str, String> {
    let summary = rule.summary.replace("{}", &ci.name);
    let description = format!("{summary} for more than its allowed time. Kind: {}. Job: {}.", ci.kind, rule.job);
    BTreeMap::from([
        ("summary", summary),
        ("description", description),
        ("runbook_url", format!("https://runbooks.example.com/{}", rule.alertname)),
        ("dashboard", format!("https://grafana.example.com/d/{}?var-ci={}", rule.job, ci.name)),
    ])
}

#[cfg(test)]
mod tests;
