//! An estate of any size, as it truly is, and as its CMDB knows it.
//!
//! What truly carries a failure from one CI to the next (how likely, how fast) stands here and nowhere in the CMDB.
//! Deliberately absent: faults and alerts.

use std::collections::{BTreeMap, BTreeSet};

use quell_domain::{Ci, CiId, Criticality, Redundancy, Relationship, Topology};

use crate::rng::Rng;

/// What a CI is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// A part of a data centre with its own power.
    Zone,
    /// Connects hosts.
    Switch,
    /// Carries guests.
    Host,
    /// A replica of a service.
    Instance,
    /// What others call.
    Service,
    /// Keeps data; a primary or its replica.
    Database,
    /// Disks of many volumes.
    Storage,
    /// What a database keeps its data on.
    Volume,
    /// Forgets.
    Cache,
    /// Hands over later.
    Queue,
    /// Spreads requests.
    Balancer,
    /// Expires.
    Certificate,
    /// What users see.
    Business,
}

impl Kind {
    /// The word in the CMDB.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Zone => "zone",
            Kind::Switch => "switch",
            Kind::Host => "host",
            Kind::Instance => "instance",
            Kind::Service => "service",
            Kind::Database => "database",
            Kind::Storage => "storage",
            Kind::Volume => "volume",
            Kind::Cache => "cache",
            Kind::Queue => "queue",
            Kind::Balancer => "load_balancer",
            Kind::Certificate => "certificate",
            Kind::Business => "business_service",
        }
    }
}

/// How a failure travels along a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carries {
    /// Without it nothing works: power, network, the machine beneath.
    All,
    /// Requests: the caller suffers as far as it depends on the answer.
    Calls,
    /// Messages: the other side suffers much later.
    Later,
    /// One of several replicas.
    Share,
}

/// `from` needs `to`.
#[derive(Clone, Debug)]
pub struct Link {
    /// The dependent's index.
    pub from: usize,
    /// The dependency's.
    pub to: usize,
    /// The word in the CMDB.
    pub word: &'static str,
    /// Alternatives of one CI share a name; this many of them must be up.
    pub group: Option<(&'static str, u32)>,
    /// How a failure travels.
    pub carries: Carries,
    /// How likely it does.
    pub chance: f64,
}

/// A CI as it truly is.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its id.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// The zone it stands in, or that it is mostly in.
    pub zone: usize,
    /// Which group of services it belongs to: who wrote it knows who calls it.
    pub domain: usize,
    /// Does any rule watch it? Some of what matters little is never watched.
    pub watched: bool,
}

/// The whole.
#[derive(Clone, Debug, Default)]
pub struct Estate {
    /// What there is.
    pub parts: Vec<Part>,
    /// What needs what.
    pub links: Vec<Link>,
    /// For each part, the links that lead to it.
    pub dependents: Vec<Vec<usize>>,
    /// For each part, the links that lead from it.
    pub needs: Vec<Vec<usize>>,
}

struct Builder<'a> {
    estate: Estate,
    rng: &'a mut Rng,
    zones: usize,
    domains: usize,
}

impl Estate {
    /// An estate of about that many CIs.
    #[must_use]
    pub fn new(cis: usize, rng: &mut Rng) -> Estate {
        let zones = if cis < 400 { 2 } else { 3 };
        let domains = (cis / 120).clamp(2, 400);
        let mut builder = Builder { estate: Estate::default(), rng, zones, domains };
        let hosts = builder.machines(cis);
        let stores = builder.stores(cis, &hosts);
        let services = builder.services(cis, &hosts, &stores);
        builder.edge(cis, &services);
        let mut estate = builder.estate;
        estate.dependents = vec![Vec::new(); estate.parts.len()];
        estate.needs = vec![Vec::new(); estate.parts.len()];
        for (at, link) in estate.links.iter().enumerate() {
            estate.dependents[link.to].push(at);
            estate.needs[link.from].push(at);
        }
        estate
    }

    /// All of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Vec<usize> {
        (0..self.parts.len()).filter(|&at| self.parts[at].kind == kind).collect()
    }

    /// What the CMDB says: `missing` are the CIs it does not know; of the links it knows a share of `errors` is
    /// forgotten, and half as many again point to another CI of the same kind. A `plain` one has one word for every
    /// relationship and knows of no alternatives.
    ///
    /// # Panics
    /// Never: ids are counted, and ends are known.
    #[must_use]
    pub fn cmdb(&self, missing: &BTreeSet<usize>, errors: f64, plain: bool, rng: &mut Rng) -> Topology {
        let mut of_kind: BTreeMap<Kind, Vec<usize>> = BTreeMap::new();
        for at in (0..self.parts.len()).filter(|at| !missing.contains(at)) {
            of_kind.entry(self.parts[at].kind).or_default().push(at);
        }
        let cis = of_kind.values().flatten().map(|&at| self.ci(at)).collect();
        let (mut relationships, mut groups, mut seen) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        for link in self.links.iter().filter(|link| !missing.contains(&link.from) && !missing.contains(&link.to)) {
            let mut to = link.to;
            if rng.chance(errors) {
                continue;
            }
            if rng.chance(errors / 2.0) {
                let same = &of_kind[&self.parts[to].kind];
                to = same[rng.index(same.len())];
            }
            if to == link.from || !seen.insert((link.from, to)) {
                continue;
            }
            let group = link.group.filter(|_| !plain);
            if let Some((name, at_least)) = group {
                groups.entry((link.from, name)).or_insert((at_least, 0)).1 += 1;
            }
            relationships.push(Relationship {
                redundancy: group.map(|(name, _)| name.to_owned()),
                ..Relationship::new(self.id(link.from), self.id(to), if plain { "depends_on" } else { link.word })
            });
        }
        let redundancy = |((ci, name), (at_least, known)): ((usize, &str), (u32, u32))| Redundancy {
            ci: self.id(ci),
            name: name.to_owned(),
            at_least: at_least.min(known),
        };
        let redundancies = groups.into_iter().map(redundancy).collect();
        Topology::new(cis, relationships, redundancies).expect("ids are counted and ends are known")
    }

    fn id(&self, at: usize) -> CiId {
        CiId::new(&self.parts[at].id)
    }

    fn ci(&self, at: usize) -> Ci {
        let part = &self.parts[at];
        let labels = match part.kind {
            Kind::Service => BTreeMap::from([("service".to_owned(), part.id.clone())]),
            _ => BTreeMap::new(),
        };
        let criticality = match part.kind {
            Kind::Business => Criticality::ALL[1 + at % 3],
            Kind::Switch | Kind::Storage | Kind::Zone => Criticality::High,
            _ => Criticality::Medium,
        };
        Ci {
            aliases: vec![format!("{}.example.net", part.id), address(at)],
            labels,
            owner: Some(format!("team-{}", part.domain)),
            criticality,
            ..Ci::new(&part.id, part.kind.word())
        }
    }
}

/// The address by which some monitors know a CI.
#[must_use]
pub fn address(at: usize) -> String {
    format!("10.{}.{}.{}", at / 62_500 + 1, at / 250 % 250, at % 250 + 1)
}

impl Builder<'_> {
    fn part(&mut self, id: String, kind: Kind, zone: usize, domain: usize, watched: f64) -> usize {
        let watched = self.rng.chance(watched);
        self.estate.parts.push(Part { id, kind, zone, domain, watched });
        self.estate.parts.len() - 1
    }

    fn link(&mut self, from: usize, to: usize, word: &'static str, carries: Carries, chance: f64) {
        self.estate.links.push(Link { from, to, word, group: None, carries, chance });
    }

    fn any_of(&mut self, from: usize, to: &[usize], word: &'static str, group: (&'static str, u32), carries: Carries) {
        for &to in to {
            self.estate.links.push(Link { from, to, word, group: Some(group), carries, chance: 0.95 });
        }
    }

    /// Zones, switches and hosts; the hosts by zone.
    fn machines(&mut self, cis: usize) -> Vec<Vec<usize>> {
        let mut by_zone = Vec::new();
        let per_zone = (cis * 12 / 100 / self.zones).max(4);
        for zone in 0..self.zones {
            let hall = self.part(
                format!("zone-{}", (b'a' + u8::try_from(zone).unwrap_or(0)) as char),
                Kind::Zone,
                zone,
                0,
                1.0,
            );
            let mut hosts = Vec::new();
            let mut rack = 0;
            while hosts.len() < per_zone {
                rack += 1;
                let sides = if self.rng.chance(0.4) { 2 } else { 1 };
                let switches: Vec<usize> = (0..sides)
                    .map(|side| {
                        let id = format!("sw-{}{rack:03}{}", zone + 1, if side == 0 { 'a' } else { 'b' });
                        self.part(id, Kind::Switch, zone, 0, 1.0)
                    })
                    .collect();
                for &switch in &switches {
                    self.link(switch, hall, "part_of", Carries::All, 0.97);
                }
                let slots = (8 + self.rng.index(12)).min(per_zone - hosts.len() + 3);
                for slot in 0..slots {
                    let host = self.part(format!("host-{}{rack:03}-{slot:02}", zone + 1), Kind::Host, zone, 0, 0.97);
                    match switches.as_slice() {
                        [only] => self.link(host, *only, "connected_to", Carries::All, 0.97),
                        two => self.any_of(host, two, "connected_to", ("uplinks", 1), Carries::All),
                    }
                    hosts.push(host);
                }
            }
            by_zone.push(hosts);
        }
        by_zone
    }

    fn host(&mut self, hosts: &[Vec<usize>], zone: usize) -> usize {
        let of_zone = &hosts[zone % hosts.len()];
        of_zone[self.rng.index(of_zone.len())]
    }

    /// Storage, volumes, databases, caches and queues: what services keep things in, with their domain.
    fn stores(&mut self, cis: usize, hosts: &[Vec<usize>]) -> Vec<usize> {
        let arrays: Vec<usize> = (0..(cis / 300).max(self.zones))
            .map(|n| self.part(format!("san-{n:02}"), Kind::Storage, n % self.zones, 0, 1.0))
            .collect();
        let mut stores = Vec::new();
        for n in 0..(cis * 25 / 1000).max(3) {
            let domain = n % self.domains;
            let zone = self.rng.index(self.zones);
            let mut pair = Vec::new();
            for side in 0..2 {
                let zone = (zone + side) % self.zones;
                let database = self.part(format!("db-{n:04}-{}", side + 1), Kind::Database, zone, domain, 1.0);
                let volume = self.part(format!("vol-{n:04}-{}", side + 1), Kind::Volume, zone, domain, 0.5);
                let host = self.host(hosts, zone);
                let local: Vec<usize> = arrays.iter().copied().filter(|&a| self.estate.parts[a].zone == zone).collect();
                let array = local[self.rng.index(local.len())];
                self.link(database, host, "runs_on", Carries::All, 0.97);
                self.link(database, volume, "depends_on", Carries::All, 0.9);
                self.link(volume, array, "depends_on", Carries::All, 0.9);
                pair.push(database);
            }
            self.link(pair[1], pair[0], "depends_on", Carries::Later, 0.8);
            stores.push(pair[0]);
        }
        for (kind, word, count) in [(Kind::Cache, "cache", cis * 2 / 100), (Kind::Queue, "queue", cis * 2 / 100)] {
            for n in 0..count.max(1) {
                let (zone, domain) = (self.rng.index(self.zones), n % self.domains);
                let store = self.part(format!("{word}-{n:04}"), kind, zone, domain, 0.95);
                let host = self.host(hosts, zone);
                self.link(store, host, "runs_on", Carries::All, 0.97);
                stores.push(store);
            }
        }
        stores
    }

    /// Services, with their replicas; who comes later calls who came before.
    fn services(&mut self, cis: usize, hosts: &[Vec<usize>], stores: &[usize]) -> Vec<usize> {
        let mut services: Vec<usize> = Vec::new();
        let mut of_domain: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let shared = (cis / 800).clamp(1, 12);
        for n in 0..cis * 15 / 100 {
            let domain = n % self.domains;
            let home = self.rng.index(self.zones);
            let service = self.part(format!("svc-{n:04}"), Kind::Service, home, domain, 0.92);
            let replicas = 2 + self.rng.index(4);
            let instances: Vec<usize> = (0..replicas)
                .map(|replica| {
                    let zone = if self.rng.chance(0.5) { home } else { home + replica };
                    let host = self.host(hosts, zone);
                    let zone = zone % self.zones;
                    let instance = self.part(format!("svc-{n:04}-{replica}"), Kind::Instance, zone, domain, 0.85);
                    self.link(instance, host, "runs_on", Carries::All, 0.97);
                    instance
                })
                .collect();
            let must = u32::try_from(replicas.div_ceil(2)).unwrap_or(1);
            self.any_of(service, &instances, "depends_on", ("replicas", must), Carries::Share);
            let own: Vec<usize> = stores.iter().copied().filter(|&s| self.estate.parts[s].domain == domain).collect();
            for _ in 0..self.rng.index(3) {
                let near = if own.is_empty() || self.rng.chance(0.1) { stores } else { &own };
                let store = near[self.rng.index(near.len())];
                let later = self.estate.parts[store].kind == Kind::Queue;
                let chance = self.rng.range(0.4, 0.95);
                self.link(service, store, "depends_on", if later { Carries::Later } else { Carries::Calls }, chance);
            }
            for _ in 0..1 + self.rng.index(3) {
                let kin = of_domain.get(&domain).map_or(&[][..], Vec::as_slice);
                let callee = match (kin.is_empty(), services.is_empty()) {
                    (_, true) => continue,
                    (false, _) if self.rng.chance(0.75) => kin[self.rng.index(kin.len())],
                    // A few are called by everybody.
                    _ if self.rng.chance(0.5) => services[self.rng.index(shared.min(services.len()))],
                    _ => services[self.rng.index(services.len())],
                };
                let chance = self.rng.range(0.25, 0.9);
                self.link(service, callee, "depends_on", Carries::Calls, chance);
            }
            of_domain.entry(domain).or_default().push(service);
            services.push(service);
        }
        services
    }

    /// What stands between services and users.
    fn edge(&mut self, cis: usize, services: &[usize]) {
        let called: BTreeSet<usize> = self.estate.links.iter().map(|link| link.to).collect();
        let mut outer: Vec<usize> = services.iter().copied().filter(|service| !called.contains(service)).collect();
        if outer.is_empty() {
            outer = services.to_vec();
        }
        for n in 0..(cis / 100).max(1) {
            let balancer = self.part(format!("lb-{n:03}"), Kind::Balancer, n % self.zones, 0, 1.0);
            for _ in 0..3 {
                let service = outer[self.rng.index(outer.len())];
                self.link(service, balancer, "depends_on", Carries::Calls, 0.8);
            }
        }
        for n in 0..(cis * 2 / 100).max(1) {
            let service = outer[self.rng.index(outer.len())];
            let domain = self.estate.parts[service].domain;
            let certificate = self.part(format!("cert-{n:03}"), Kind::Certificate, 0, domain, 0.9);
            self.link(service, certificate, "depends_on", Carries::Calls, 0.95);
        }
        for n in 0..(cis * 3 / 100).max(1) {
            let business = self.part(format!("business-{n:03}"), Kind::Business, 0, n % self.domains, 0.7);
            for _ in 0..2 + self.rng.index(3) {
                let service = outer[self.rng.index(outer.len())];
                self.link(business, service, "depends_on", Carries::Calls, 0.7);
            }
        }
    }
}
