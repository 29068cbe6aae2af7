//! What the measurements share: realistic bodies, a large estate, percentiles, a client, servers, and
//! a process's own figures.
//!
//! Deliberately absent: the measurements themselves (`benches/` and `src/bin/`).

pub mod drive;
pub mod figures;
pub mod kafka;
pub mod phase;
pub mod process;
pub mod servers;

use std::time::Duration;

use quell_domain::{Ci, CiId, Criticality, Redundancy, Relationship, Timestamp, Topology};
use quell_sim::rng::Rng;
use serde_json::{Value, json};

/// One alert as a Prometheus of a busy shop pushes it: 12 labels, 5 annotations, about 900 bytes.
#[must_use]
pub fn alert(number: u64, starts_at: Timestamp) -> Value {
    let (rack, host, pod) = (number / 40 % 250, number % 40 + 1, number % 7_919);
    let service = ["checkout", "payments", "catalog", "search", "orders"][usize::try_from(number % 5).unwrap_or(0)];
    let name = ["HighErrorRate", "HighRequestLatency", "KubePodNotReady", "TargetDown"];
    let name = name[usize::try_from(number % 4).unwrap_or(0)];
    json!({
        "labels": {
            "alertname": name,
            "cluster": "prod-eu-central-1",
            "container": service,
            "endpoint": "http-metrics",
            "env": "prod",
            "instance": format!("10.{rack}.{}.{host}:8080", number / 10_000),
            "job": format!("{service}-metrics"),
            "namespace": format!("{service}-prod"),
            "pod": format!("{service}-7c9f8b6d54-{pod:05}"),
            "prometheus": "monitoring/k8s",
            "service": service,
            "severity": "warning",
        },
        "annotations": {
            "summary": format!("{name}: {service} on pod {pod:05}"),
            "description": format!("{service} has been outside its objective for more than five minutes; the value is 0.07, the objective 0.05."),
            "runbook_url": format!("https://runbooks.example.com/alerts/{name}"),
            "dashboard_url": format!("https://grafana.example.com/d/service?var-service={service}&var-pod={pod:05}"),
            "team": "shop",
        },
        "startsAt": starts_at.to_string(),
        "endsAt": (starts_at + Duration::from_secs(3_600)).to_string(),
        "generatorURL": "https://prometheus.example.com/graph?g0.expr=rate%28http_errors%5B5m%5D%29+%3E+0.05&g0.tab=1",
    })
}

/// Bodies for `POST /api/v2/alerts` that carry the alerts `from..from + alerts`, `batch` in each.
#[must_use]
pub fn bodies(from: u64, alerts: u64, batch: u64, starts_at: Timestamp) -> Vec<String> {
    let ends = (from..from + alerts).step_by(usize::try_from(batch.max(1)).unwrap_or(usize::MAX));
    ends.map(|first| {
        let numbers = first..(first + batch).min(from + alerts);
        Value::Array(numbers.map(|number| alert(number, starts_at)).collect()).to_string()
    })
    .collect()
}

/// The value below which that share of the durations lies; zero when there are none.
#[must_use]
pub fn percentile(sorted: &[Duration], share: f64) -> Duration {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // far below 2^52
    let at = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// An estate of about `cis` CIs: racks of 40 hosts, 4 instances on each host, services of 3 replicas that call others,
/// and a business service over every 20 services. What lies deep (switches) has thousands of dependents.
///
/// # Panics
/// Never: ids are counted, and ends name CIs that were made.
#[must_use]
pub fn large_estate(cis: usize, seed: u64) -> Topology {
    let mut rng = Rng::new(seed);
    let (mut all, mut relationships, mut redundancies) = (Vec::new(), Vec::new(), Vec::new());
    let mut ci = |id: &str, kind: &str| {
        all.push(Ci {
            aliases: vec![format!("{id}.example.net")],
            owner: Some("shop".into()),
            criticality: Criticality::ALL[id.len() % 4],
            ..Ci::new(id, kind)
        });
    };
    let mut on = |from: String, to: String, kind: &str, redundancy: Option<&str>| {
        let redundancy = redundancy.map(Into::into);
        let (from, to) = (CiId::new(&from), CiId::new(&to));
        relationships.push(Relationship { redundancy, ..Relationship::new(from, to, kind) });
    };
    // Of 100 CIs 15 are hosts, 60 instances, 20 services, 1 is a business service; the rest are switches.
    let (hosts, services) = (cis * 15 / 100, cis * 20 / 100);
    let (instances, switches) = (services * 3, hosts.div_ceil(40));
    for switch in 0..switches {
        ci(&format!("sw-{switch}"), "access_switch");
        on(format!("sw-{switch}"), format!("core-{}", switch % 8), "connected_to", None);
    }
    (0..8).for_each(|core| ci(&format!("core-{core}"), "core_switch"));
    for host in 0..hosts {
        ci(&format!("host-{host}"), "host");
        on(format!("host-{host}"), format!("sw-{}", host / 40), "connected_to", None);
    }
    for instance in 0..instances {
        ci(&format!("inst-{instance}"), "instance");
        on(format!("inst-{instance}"), format!("host-{}", rng.index(hosts)), "runs_on", None);
    }
    for service in 0..services {
        let id = format!("svc-{service}");
        ci(&id, "service");
        for replica in 0..3 {
            on(id.clone(), format!("inst-{}", service * 3 + replica), "depends_on", Some("replicas"));
        }
        redundancies.push(Redundancy { ci: CiId::new(&id), name: "replicas".into(), at_least: 2 });
        for _ in 0..2 {
            if service > 0 {
                on(id.clone(), format!("svc-{}", rng.index(service)), "depends_on", None);
            }
        }
    }
    for business in 0..services / 20 {
        ci(&format!("business-{business}"), "business_service");
        for part in 0..20 {
            on(format!("business-{business}"), format!("svc-{}", business * 20 + part), "depends_on", None);
        }
    }
    Topology::new(all, relationships, redundancies).expect("ids are counted and ends were made")
}

/// An estate whose every corner has `per_site` CIs: in each of `sites`, CI number k depends on five random ones with a
/// lower number, so that all others of a site may degrade with its first. Ids are shuffled over the whole estate, so
/// that what belongs together lies apart in memory; half of the relationships say when they were seen. With the ids of
/// the first CIs.
///
/// # Panics
/// Never: ids are counted, and ends name CIs that were made.
#[must_use]
pub fn scattered_estate(sites: usize, per_site: usize, seed: u64) -> (Topology, Vec<CiId>) {
    let mut rng = Rng::new(seed);
    let mut numbers: Vec<usize> = (0..sites * per_site).collect();
    for at in (1..numbers.len()).rev() {
        numbers.swap(at, rng.index(at + 1));
    }
    let ids: Vec<CiId> = numbers.iter().map(|number| CiId::new(&format!("ci-{number:07}"))).collect();
    let cis = ids.iter().enumerate().map(|(at, id)| Ci {
        owner: Some("shop".into()),
        aliases: vec![format!("{id}.example.net")],
        ..Ci::new(id.as_str(), if at % 10 == 9 { "service" } else { "host" })
    });
    let cis = cis.collect();
    let mut relationships = Vec::with_capacity(ids.len() * 5);
    for site in ids.chunks(per_site) {
        for (at, from) in site.iter().enumerate().skip(1) {
            for nth in 0..5 {
                let to = site[rng.index(at)].clone();
                let last_seen = (nth % 2 == 0).then(|| Timestamp::from_seconds(1_700_000_000));
                relationships.push(Relationship { last_seen, ..Relationship::new(from.clone(), to, "depends_on") });
            }
        }
    }
    let topology = Topology::new(cis, relationships, Vec::new()).expect("ids are counted, and ends were made");
    (topology, ids.iter().step_by(per_site).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_has_the_promised_size() {
        let alert = alert(12_345, Timestamp::from_seconds(1_800_000_000));
        assert_eq!(alert["labels"].as_object().map(serde_json::Map::len), Some(12));
        assert_eq!(alert["annotations"].as_object().map(serde_json::Map::len), Some(5));
        let bytes = alert.to_string().len();
        assert!((850..1_100).contains(&bytes), "{bytes} bytes");
    }

    #[test]
    fn bodies_carry_distinct_alerts_and_decode() {
        let mut seen = std::collections::BTreeSet::new();
        for body in bodies(0, 20_000, 100, Timestamp::from_seconds(1_800_000_000)) {
            let batch = quell_formats::alertmanager::decode_api(body.as_bytes());
            assert!(batch.rejects.is_empty(), "{:?}", batch.rejects);
            seen.extend(batch.items().iter().map(|item| item.fingerprint));
        }
        assert_eq!(seen.len(), 20_000);
    }

    #[test]
    fn percentiles_of_a_hundred() {
        let sorted: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 0.5), Duration::from_millis(50));
        assert_eq!(percentile(&sorted, 0.99), Duration::from_millis(99));
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }

    #[test]
    fn a_large_estate_is_large() {
        let estate = large_estate(10_000, 1);
        assert!((9_500..10_500).contains(&estate.cis().len()), "{}", estate.cis().len());
    }
}
