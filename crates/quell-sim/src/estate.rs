//! The sample estate: a web shop of about 150 CIs in one data centre, the same one every time.
//!
//! Deliberately absent: randomness; and anything that quell would have to know beyond the topology file.

use std::collections::BTreeMap;

use quell_domain::{Ci, CiId, Criticality, Redundancy, Relationship, Topology};

const DOMAIN: &str = "dc1.example.net";
const RACKS: u32 = 5;
const HOSTS_PER_RACK: u32 = 8;

/// Name, owner, criticality, services it is made of.
const BUSINESS: &[(&str, &str, Criticality, &[&str])] = &[
    (
        "online-store",
        "commerce",
        Criticality::Critical,
        &["web-frontend", "checkout", "catalog", "search", "recommendations"],
    ),
    ("mobile-app", "mobile", Criticality::Critical, &["mobile-bff", "checkout", "catalog"]),
    ("card-payments", "finance", Criticality::Critical, &["payments", "fraud-check"]),
    ("order-fulfilment", "logistics", Criticality::High, &["orders", "shipping", "inventory"]),
    ("partner-portal", "partners", Criticality::High, &["partner-api"]),
    ("customer-support", "support", Criticality::Medium, &["support-desk", "accounts"]),
    ("marketing-mail", "marketing", Criticality::Medium, &["notifications"]),
    ("management-reports", "finance", Criticality::Low, &["reporting"]),
];

/// Name, owner, the racks of its replicas, how many of them must be up, what it calls.
type ServiceRow = (&'static str, &'static str, &'static [u32], u32, &'static [&'static str]);

const SERVICES: &[ServiceRow] = &[
    ("web-frontend", "commerce", &[1, 2, 4], 2, &["api-gateway"]),
    ("mobile-bff", "mobile", &[2, 5], 1, &["api-gateway"]),
    ("api-gateway", "platform", &[1, 4, 5], 2, &["auth"]),
    ("auth", "platform", &[4, 5], 1, &["accounts", "session-cache-1"]),
    ("accounts", "customers", &[3, 5], 1, &["accounts-db-1"]),
    ("checkout", "commerce", &[1, 2, 5], 2, &["cart", "orders", "payments", "pricing"]),
    ("cart", "commerce", &[2, 4], 1, &["session-cache-1", "pricing"]),
    ("orders", "logistics", &[1, 4, 5], 2, &["orders-db-1", "event-bus"]),
    ("payments", "finance", &[2, 4, 5], 2, &["payments-db-1", "fraud-check"]),
    ("fraud-check", "finance", &[2, 5], 1, &["payments-db-1"]),
    ("pricing", "commerce", &[1, 4], 1, &["catalog-db-1"]),
    ("catalog", "commerce", &[3, 4], 1, &["catalog-db-1", "reviews"]),
    ("reviews", "customers", &[3, 5], 1, &["catalog-db-1"]),
    ("search", "discovery", &[1, 4, 5], 2, &["search-index"]),
    ("recommendations", "discovery", &[2, 5], 1, &["search", "event-bus"]),
    ("inventory", "logistics", &[1, 3], 1, &["inventory-db-1", "event-bus"]),
    ("shipping", "logistics", &[1, 2], 1, &["orders", "event-bus"]),
    ("notifications", "platform", &[3, 4], 2, &["event-bus"]),
    ("partner-api", "partners", &[1, 5], 1, &["cert-partner-api", "auth"]),
    ("support-desk", "support", &[2, 3], 1, &["accounts", "file-store"]),
    ("reporting", "finance", &[3, 4], 1, &["reporting-db-1", "event-bus"]),
];

/// Databases: name, owner, rack of the primary. The replica stands in the next rack.
const DATABASES: &[(&str, &str, u32)] = &[
    ("orders-db", "dba", 1),
    ("payments-db", "dba", 2),
    ("catalog-db", "dba", 4),
    ("accounts-db", "dba", 5),
    ("inventory-db", "dba", 1),
    ("reporting-db", "dba", 4),
];

/// The estate: business services, services with replicas, databases, hosts in racks, switches, load balancers,
/// a message broker, DNS, storage, a certificate.
///
/// # Panics
/// Never: a test checks that the estate is sound.
#[must_use]
pub fn sample_estate() -> Topology {
    let mut draft = Draft::default();
    network(&mut draft);
    platform(&mut draft);
    databases(&mut draft);
    services(&mut draft);
    for (name, owner, criticality, parts) in BUSINESS {
        draft.ci(name, "business_service", owner, *criticality, &[], &[("business_service", name)]);
        for part in *parts {
            draft.on(name, part, "depends_on", None);
        }
    }
    Topology::new(draft.cis, draft.relationships, draft.redundancies)
        .expect("ids are unique and ends exist, as the tests check")
}

#[derive(Default)]
struct Draft {
    cis: Vec<Ci>,
    relationships: Vec<Relationship>,
    redundancies: Vec<Redundancy>,
    /// The next free slot of each rack, so that guests spread over its hosts.
    slots: BTreeMap<u32, u32>,
}

impl Draft {
    fn ci(
        &mut self,
        id: &str,
        kind: &str,
        owner: &str,
        criticality: Criticality,
        aliases: &[&str],
        labels: &[(&str, &str)],
    ) {
        self.cis.push(Ci {
            aliases: aliases.iter().map(ToString::to_string).collect(),
            labels: labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            owner: Some(owner.into()),
            criticality,
            ..Ci::new(id, kind)
        });
    }

    fn on(&mut self, from: &str, to: &str, kind: &str, redundancy: Option<&str>) {
        let (from, to) = (CiId::new(from), CiId::new(to));
        self.relationships
            .push(Relationship { redundancy: redundancy.map(Into::into), ..Relationship::new(from, to, kind) });
    }

    fn any_of(&mut self, ci: &str, name: &str, at_least: u32, of: &[String], kind: &str) {
        for to in of {
            self.on(ci, to, kind, Some(name));
        }
        self.redundancies.push(Redundancy { ci: CiId::new(ci), name: name.into(), at_least });
    }

    /// A guest (replica, database node, broker) on the next host of a rack; known by that host's IP and its own port.
    fn guest(&mut self, id: &str, kind: &str, owner: &str, rack: u32, port: u32, labels: &[(&str, &str)]) {
        let slot = self.slots.entry(rack).or_default();
        let number = *slot % HOSTS_PER_RACK + 1;
        *slot += 1;
        let (fqdn, socket) = (format!("{id}.{DOMAIN}"), format!("10.0.{rack}.{number}:{port}"));
        self.ci(id, kind, owner, Criticality::Medium, &[&fqdn, &socket], labels);
        self.on(id, &host(rack, number), "runs_on", None);
    }
}

fn host(rack: u32, number: u32) -> String {
    format!("host-r{rack}-{number:02}")
}

fn network(draft: &mut Draft) {
    let cores = ["core-1".to_owned(), "core-2".to_owned()];
    for (ix, core) in cores.iter().enumerate() {
        let (fqdn, ip) = (format!("{core}.{DOMAIN}"), format!("10.0.255.{}", ix + 1));
        draft.ci(core, "core_switch", "network", Criticality::High, &[&fqdn, &ip], &[]);
    }
    let resolvers = ["dns-1".to_owned(), "dns-2".to_owned()];
    for rack in 1..=RACKS {
        let name = format!("rack-r{rack}");
        draft.ci(&name, "rack", "facilities", Criticality::Medium, &[], &[]);
        // The two old racks have two access switches each; the newer ones were built with one, which is the risk.
        let switches: Vec<String> = if rack <= 2 { vec!["a", "b"] } else { vec!["a"] }
            .into_iter()
            .map(|side| format!("sw-r{rack}-{side}"))
            .collect();
        for (ix, switch) in switches.iter().enumerate() {
            let (fqdn, ip) = (format!("{switch}.{DOMAIN}"), format!("10.0.{rack}.{}", 250 + ix));
            draft.ci(switch, "access_switch", "network", Criticality::High, &[&fqdn, &ip], &[]);
            draft.any_of(switch, "core", 1, &cores, "connected_to");
            draft.on(switch, &name, "part_of", None);
        }
        for number in 1..=HOSTS_PER_RACK {
            let (id, ip) = (host(rack, number), format!("10.0.{rack}.{number}"));
            let (fqdn, exporter) = (format!("{id}.{DOMAIN}"), format!("{ip}:9100"));
            draft.ci(&id, "host", "platform", Criticality::Medium, &[&fqdn, &ip, &exporter], &[]);
            draft.on(&id, &name, "part_of", None);
            match switches.as_slice() {
                [only] => draft.on(&id, only, "connected_to", None),
                several => draft.any_of(&id, "uplink", 1, several, "connected_to"),
            }
        }
    }
    for (ix, resolver) in resolvers.iter().enumerate() {
        let (fqdn, ip) = (format!("{resolver}.{DOMAIN}"), format!("10.0.254.{}", ix + 1));
        draft.ci(resolver, "dns_server", "network", Criticality::High, &[&fqdn, &ip], &[]);
        draft.any_of(resolver, "core", 1, &cores, "connected_to");
    }
}

fn platform(draft: &mut Draft) {
    for (ix, balancer) in ["lb-1", "lb-2"].into_iter().enumerate() {
        let (fqdn, ip) = (format!("{balancer}.{DOMAIN}"), format!("10.0.254.{}", 11 + ix));
        draft.ci(balancer, "load_balancer", "network", Criticality::High, &[&fqdn, &ip], &[]);
        draft.any_of(balancer, "core", 1, &["core-1".into(), "core-2".into()], "connected_to");
    }
    draft.ci("san-1", "storage", "storage", Criticality::High, &[&format!("san-1.{DOMAIN}"), "10.0.254.21"], &[]);
    draft.ci("nas-1", "storage", "storage", Criticality::Medium, &[&format!("nas-1.{DOMAIN}"), "10.0.254.22"], &[]);
    draft.ci("file-store", "file_share", "storage", Criticality::Medium, &[], &[("share", "file-store")]);
    draft.on("file-store", "nas-1", "depends_on", None);
    draft.ci(
        "cert-partner-api",
        "certificate",
        "security",
        Criticality::High,
        &["partners.shop.example.com", "https://partners.shop.example.com/"],
        &[],
    );
    let brokers: Vec<String> = (1..=3).map(|n| format!("kafka-{n}")).collect();
    for (broker, rack) in brokers.iter().zip([1, 2, 4]) {
        draft.guest(broker, "broker_node", "platform", rack, 9308, &[]);
    }
    draft.ci("event-bus", "message_broker", "platform", Criticality::High, &[], &[("cluster_name", "event-bus")]);
    draft.any_of("event-bus", "brokers", 2, &brokers, "depends_on");
    let shards: Vec<String> = (1..=3).map(|n| format!("search-index-{n}")).collect();
    for (shard, rack) in shards.iter().zip([2, 4, 5]) {
        draft.guest(shard, "search_node", "discovery", rack, 9114, &[]);
    }
    draft.ci(
        "search-index",
        "search_cluster",
        "discovery",
        Criticality::Medium,
        &[],
        &[("cluster_name", "search-index")],
    );
    draft.any_of("search-index", "shards", 2, &shards, "depends_on");
    draft.guest("session-cache-1", "cache", "platform", 5, 9121, &[]);
}

fn databases(draft: &mut Draft) {
    for (name, owner, rack) in DATABASES {
        let (primary, replica) = (format!("{name}-1"), format!("{name}-2"));
        draft.guest(&primary, "database", owner, *rack, 9187, &[]);
        draft.guest(&replica, "database", owner, *rack % RACKS + 1, 9187, &[]);
        draft.on(&primary, "san-1", "connected_to", None);
        draft.on(&replica, &primary, "depends_on", None);
    }
}

fn services(draft: &mut Draft) {
    for (port, (name, owner, racks, at_least, calls)) in (8080u32..).zip(SERVICES) {
        let critical = matches!(*name, "checkout" | "payments" | "api-gateway" | "auth" | "orders");
        let criticality = if critical { Criticality::High } else { Criticality::Medium };
        let address = format!("{name}.prod.svc.cluster.local");
        draft.ci(name, "service", owner, criticality, &[&address], &[("service", name)]);
        let instances: Vec<String> = (1..=racks.len()).map(|n| format!("{name}-{n}")).collect();
        for (rack, instance) in racks.iter().zip(&instances) {
            draft.guest(instance, "instance", owner, *rack, port, &[]);
        }
        draft.any_of(name, "replicas", *at_least, &instances, "depends_on");
        for call in *calls {
            draft.on(name, call, "depends_on", None);
        }
        draft.any_of(name, "resolvers", 1, &["dns-1".into(), "dns-2".into()], "depends_on");
        if matches!(*name, "web-frontend" | "api-gateway" | "partner-api") {
            draft.any_of(name, "balancers", 1, &["lb-1".into(), "lb-2".into()], "depends_on");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn is_sound_and_of_the_promised_size() {
        let estate = sample_estate();
        assert!((140..=170).contains(&estate.cis().len()), "{} CIs", estate.cis().len());
        assert_eq!(estate, sample_estate());
        for kind in ["depends_on", "runs_on", "connected_to", "part_of"] {
            assert!(estate.relationships().iter().any(|r| r.kind == kind), "{kind}");
        }
    }

    #[test]
    fn no_two_cis_share_a_name_or_alias() {
        let estate = sample_estate();
        let mut seen = BTreeSet::new();
        for ci in estate.cis() {
            for name in std::iter::once(&ci.name).chain(&ci.aliases) {
                assert!(seen.insert(name.to_lowercase()), "{name} names two CIs");
            }
        }
    }

    #[test]
    fn business_services_have_owner_and_criticality() {
        let estate = sample_estate();
        let business: Vec<&Ci> = estate.cis().iter().filter(|ci| ci.kind == "business_service").collect();
        assert_eq!(business.len(), BUSINESS.len());
        assert!(business.iter().all(|ci| ci.owner.is_some() && ci.is_service()));
        assert!(business.iter().any(|ci| ci.criticality == Criticality::Critical));
    }
}
