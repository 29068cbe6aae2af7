//! Configuration items and how they depend on each other, as values.
//!
//! Absent on purpose: whole estates (`topology`), graph walks (`quell-cmdb`) and files (`quell-formats`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::time::Timestamp;

/// The id of a CI, as its owner wrote it. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CiId(Arc<str>);

impl CiId {
    /// From its text.
    #[must_use]
    pub fn new(id: &str) -> Self {
        CiId(id.into())
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CiId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CiId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// What its loss costs the business, as its owner judges.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum Criticality {
    /// Nobody notices for a day.
    Low = 0,
    /// Some are hindered. The default where nothing is said.
    #[default]
    Medium = 1,
    /// Many are hindered.
    High = 2,
    /// Business stops.
    Critical = 3,
}

impl Criticality {
    /// Every criticality, lowest first.
    pub const ALL: [Criticality; 4] = [Criticality::Low, Criticality::Medium, Criticality::High, Criticality::Critical];

    /// The name used in files and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Criticality::Low => "low",
            Criticality::Medium => "medium",
            Criticality::High => "high",
            Criticality::Critical => "critical",
        }
    }

    /// The criticality of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Criticality> {
        Self::ALL.into_iter().find(|criticality| criticality.as_str() == name)
    }
}

/// Where in its life a CI is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Lifecycle {
    /// Ordered, in stock or being built: nobody should hear of it yet.
    Planned,
    /// In use. The default where nothing is said.
    #[default]
    Active,
    /// Taken out of use: nobody should hear of it any more.
    Retired,
}

impl Lifecycle {
    /// Every one, in the order of a life.
    pub const ALL: [Lifecycle; 3] = [Lifecycle::Planned, Lifecycle::Active, Lifecycle::Retired];

    /// The name used in files and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Lifecycle::Planned => "planned",
            Lifecycle::Active => "active",
            Lifecycle::Retired => "retired",
        }
    }

    /// The lifecycle of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Lifecycle> {
        Self::ALL.into_iter().find(|lifecycle| lifecycle.as_str() == name)
    }
}

/// Whether a CI or a relationship can be touched.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Layer {
    /// Hardware, power and cables.
    Physical,
    /// Everything that runs on them.
    Logical,
}

impl Layer {
    /// The name used in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Layer::Physical => "physical",
            Layer::Logical => "logical",
        }
    }

    /// The layer of a kind of CI or relationship: physical when its last word is one of these, else logical.
    /// Words are parted by whatever is no letter or digit, and compared without regard to case.
    #[must_use]
    pub fn of_kind(kind: &str) -> Layer {
        const PHYSICAL: [&str; 30] = [
            "ap",
            "appliance",
            "array",
            "blade",
            "cable",
            "cabled",
            "chassis",
            "circuit",
            "device",
            "disk",
            "fan",
            "firewall",
            "hardware",
            "host",
            "interface",
            "machine",
            "nic",
            "node",
            "panel",
            "pdu",
            "port",
            "powered",
            "rack",
            "room",
            "router",
            "server",
            "site",
            "storage",
            "switch",
            "ups",
        ];
        // Named like a thing, and yet none.
        const LOGICAL: [&str; 7] = ["virtual", "vm", "app", "web", "application", "database", "db"];
        let words = || kind.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let among = |list: &[&str], word: &str| list.iter().any(|known| known.eq_ignore_ascii_case(word));
        let verb = kind.eq_ignore_ascii_case("connected_to") || kind.eq_ignore_ascii_case("powered_by");
        let noun = words().next_back().is_some_and(|word| among(&PHYSICAL, word));
        if verb || (noun && !words().any(|word| among(&LOGICAL, word))) { Layer::Physical } else { Layer::Logical }
    }
}

/// A configuration item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ci {
    /// Unique in its topology.
    pub id: CiId,
    /// What it is, in the owner's words: `service`, `host`, `database`, `switch`, ….
    pub kind: String,
    /// What people call it.
    pub name: String,
    /// Other names monitors know it by: FQDN, IP, IP:port, host name.
    pub aliases: Vec<String>,
    /// Labels that identify it: an alert that carries all of them is about it.
    pub labels: BTreeMap<String, String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What its loss costs.
    pub criticality: Criticality,
    /// Where in its life it is.
    pub lifecycle: Lifecycle,
    /// Which import it comes from, and is replaced by; `None` for one that was written by hand.
    pub source: Option<Arc<str>>,
}

impl Ci {
    /// One of which nothing else is known: its id is its name.
    #[must_use]
    pub fn new(id: &str, kind: &str) -> Self {
        Ci {
            id: CiId::new(id),
            kind: kind.to_owned(),
            name: id.to_owned(),
            aliases: Vec::new(),
            labels: BTreeMap::new(),
            owner: None,
            criticality: Criticality::default(),
            lifecycle: Lifecycle::default(),
            source: None,
        }
    }

    /// Whether it can be touched; see [`Layer::of_kind`].
    #[must_use]
    pub fn layer(&self) -> Layer {
        Layer::of_kind(&self.kind)
    }

    /// True for a CI that users consume: its kind is `service` or ends in `service` (`business_service`, `web service`).
    #[must_use]
    pub fn is_service(&self) -> bool {
        self.kind.get(self.kind.len().saturating_sub(7)..).is_some_and(|tail| tail.eq_ignore_ascii_case("service"))
    }
}

/// `from` depends on `to`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relationship {
    /// The dependent.
    pub from: CiId,
    /// Its dependency.
    pub to: CiId,
    /// How: `depends_on`, `runs_on`, `connected_to`, `part_of`, or the owner's word.
    pub kind: String,
    /// Relationships of one CI that share this name are alternatives; see [`Redundancy`].
    pub redundancy: Option<String>,
    /// When whoever reports it last saw it; `None` for one that holds until somebody says otherwise.
    pub last_seen: Option<Timestamp>,
    /// How long after `last_seen` it is believed in full; [`Self::TTL`] where nothing is said.
    pub ttl: Option<Duration>,
    /// Which import it comes from, and is replaced by; `None` for one that was written by hand.
    pub source: Option<Arc<str>>,
}

impl Relationship {
    /// How long a relationship is believed in full after it was seen, where it does not say so itself: a week, so that
    /// what only a weekly job needs is not doubted in between.
    pub const TTL: Duration = Duration::from_secs(7 * 86_400);

    /// One that holds until somebody says otherwise.
    #[must_use]
    pub fn new(from: CiId, to: CiId, kind: &str) -> Self {
        let kind = kind.to_owned();
        Relationship { from, to, kind, redundancy: None, last_seen: None, ttl: None, source: None }
    }

    /// Whether `from` stands on `to`, by its word: physical, or one of `runs_on`, `hosted_on` and `stored_on`.
    #[must_use]
    pub fn is_footing(&self) -> bool {
        let footing = ["runs_on", "hosted_on", "stored_on"].iter().any(|word| self.kind.eq_ignore_ascii_case(word));
        footing || Layer::of_kind(&self.kind) == Layer::Physical
    }

    /// The instant from which on it is stale; `None` when it never is.
    #[must_use]
    pub fn stale_from(&self) -> Option<Timestamp> {
        self.last_seen.map(|seen| seen + self.ttl.unwrap_or(Self::TTL))
    }

    /// How far it is believed at an instant, from 0 to 1: in full until it is stale, then half as much after each
    /// further `ttl`.
    #[must_use]
    pub fn confidence(&self, at: Timestamp) -> f64 {
        let Some(stale_from) = self.stale_from() else { return 1.0 };
        let ttl = self.ttl.unwrap_or(Self::TTL).max(Duration::from_secs(1));
        0.5_f64.powf(at.since(stale_from).as_secs_f64() / ttl.as_secs_f64())
    }
}

/// Of the alternatives of `ci` named `name`, `at_least` must be up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Redundancy {
    /// The dependent.
    pub ci: CiId,
    /// The name its relationships share.
    pub name: String,
    /// How many of them must be up, at least 1. Where nothing is said, 1.
    pub at_least: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_by_kind() {
        for (kind, expected) in [("service", true), ("Business_Service", true), ("host", false), ("services", false)] {
            assert_eq!(Ci::new("x", kind).is_service(), expected, "{kind}");
        }
    }

    #[test]
    fn layers_by_kind() {
        for kind in ["host", "access_switch", "Linux Server", "cmdb_ci_server", "powered_by", "connected_to", "UPS"] {
            assert_eq!(Layer::of_kind(kind), Layer::Physical, "{kind}");
        }
        for kind in ["service", "virtual_machine", "app_server", "web server", "runs_on", "depends_on", "pod", ""] {
            assert_eq!(Layer::of_kind(kind), Layer::Logical, "{kind}");
        }
    }

    #[test]
    fn footings_by_kind() {
        let footing = |kind: &str| Relationship::new(CiId::new("a"), CiId::new("b"), kind).is_footing();
        for (kind, expected) in [("runs_on", true), ("Hosted_on", true), ("powered_by", true), ("depends_on", false)] {
            assert_eq!(footing(kind), expected, "{kind}");
        }
    }

    #[test]
    fn belief_halves_with_every_ttl_after_the_first() {
        const DAY: Duration = Duration::from_secs(86_400);
        let seen = Timestamp::from_seconds(1_000_000);
        let mut relationship = Relationship::new(CiId::new("a"), CiId::new("b"), "calls");
        assert_eq!((relationship.confidence(Timestamp::MAX), relationship.stale_from()), (1.0, None));
        relationship.last_seen = Some(seen);
        let mut check = |ttl: Option<Duration>, age: Duration, expected: f64| {
            relationship.ttl = ttl;
            assert_eq!(relationship.confidence(seen + age), expected, "{ttl:?} {age:?}");
        };
        check(None, Duration::ZERO, 1.0);
        check(None, DAY * 7, 1.0);
        check(None, DAY * 14, 0.5);
        check(None, DAY * 21, 0.25);
        check(Some(DAY), DAY, 1.0);
        check(Some(DAY), DAY * 4, 0.125);
        check(Some(Duration::ZERO), Duration::from_secs(1), 0.5);
        assert_eq!(relationship.confidence(seen - DAY), 1.0);
    }
}
