//! What the torture run sends: a deterministic payload for each id, in the body of its contract.
//!
//! Deliberately absent: which ids are sent when; that is the driver's.

use std::time::Duration;

use quell_domain::{Fingerprint, Source, Timestamp};
use serde_json::{Value, json};

use crate::storm::decode;

/// What is said of one id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    Fire,
    Resolve,
}

/// Payloads of one seed.
#[derive(Clone, Debug)]
pub(crate) struct Payloads {
    seed: u64,
    base: Timestamp,
    /// `instance` values that the topology knows.
    instances: Vec<String>,
}

impl Payloads {
    pub(crate) fn new(seed: u64, base: Timestamp, instances: Vec<String>) -> Self {
        Payloads { seed, base, instances }
    }

    /// Six of ten ids go by API v2, three by the webhook, one by PagerDuty.
    pub(crate) fn source(id: u64) -> Source {
        match id % 10 {
            0..=5 => Source::AlertmanagerApi,
            6..=8 => Source::AlertmanagerWebhook,
            _ => Source::PagerDuty,
        }
    }

    /// True for the ids that are sent without an end and so expire by the resolve timeout.
    pub(crate) fn may_expire(id: u64) -> bool {
        id.is_multiple_of(10)
    }

    /// The identity that the id's alert must have.
    pub(crate) fn fingerprint(&self, id: u64) -> Option<Fingerprint> {
        let body = self.body(Self::source(id), &[(id, Act::Fire)], self.base);
        decode(Self::source(id), body.as_bytes()).items().first().map(|item| item.fingerprint)
    }

    /// One body; PagerDuty's contract carries one event in each.
    pub(crate) fn body(&self, source: Source, acts: &[(u64, Act)], now: Timestamp) -> String {
        match source {
            Source::AlertmanagerApi => {
                Value::Array(acts.iter().map(|&(id, act)| self.pushed(id, act, now)).collect()).to_string()
            }
            Source::AlertmanagerWebhook => self.group(acts, now).to_string(),
            // Of changes the torture knows nothing.
            Source::PagerDuty | Source::PagerDutyChange => {
                acts.first().map_or(Value::Null, |&(id, act)| self.event(id, act)).to_string()
            }
        }
    }

    fn starts_at(&self, id: u64) -> Timestamp {
        self.base - Duration::from_secs(60) - Duration::from_millis(id % 60_000)
    }

    /// Half of the ids are on known CIs, the others are not in the topology.
    fn labels(&self, id: u64) -> Value {
        let known = self.instances.get(usize::try_from(id / 2).unwrap_or(0) % self.instances.len().max(1));
        let instance = known.filter(|_| id.is_multiple_of(2));
        let severity = match id % 3 {
            0 => "critical",
            1 => "warning",
            _ => "info",
        };
        json!({
            "alertname": format!("Torture{}", id % 37),
            "torture_id": format!("{}-{id}", self.seed),
            "instance": instance.cloned().unwrap_or_else(|| format!("192.0.2.{}:9100", id % 200)),
            "job": "node",
            "severity": severity,
            "cluster": "dc1",
            "team": format!("team-{}", id % 11),
        })
    }

    fn pushed(&self, id: u64, act: Act, now: Timestamp) -> Value {
        let mut alert = json!({
            "labels": self.labels(id),
            "annotations": { "summary": format!("torture alert {id}"), "runbook_url": "https://runbooks.example.com/t" },
            "startsAt": self.starts_at(id).to_string(),
            "generatorURL": "https://prometheus.example.com/graph",
        });
        match act {
            Act::Resolve => alert["endsAt"] = json!(now.to_string()),
            Act::Fire if Self::may_expire(id) => {}
            Act::Fire => alert["endsAt"] = json!((self.base + Duration::from_secs(86_400)).to_string()),
        }
        alert
    }

    fn group(&self, acts: &[(u64, Act)], now: Timestamp) -> Value {
        let alerts: Vec<Value> = acts
            .iter()
            .map(|&(id, act)| {
                let over = act == Act::Resolve;
                json!({
                    "status": if over { "resolved" } else { "firing" },
                    "labels": self.labels(id),
                    "annotations": { "summary": format!("torture alert {id}") },
                    "startsAt": self.starts_at(id).to_string(),
                    "endsAt": if over { now.to_string() } else { "0001-01-01T00:00:00Z".into() },
                    "generatorURL": "https://prometheus.example.com/graph",
                    "fingerprint": format!("{:016x}", self.seed.rotate_left(40) ^ id),
                })
            })
            .collect();
        json!({
            "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": "firing", "receiver": "quell",
            "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
            "externalURL": "https://alertmanager.example.com", "alerts": alerts,
        })
    }

    fn event(&self, id: u64, act: Act) -> Value {
        let routing_key = format!("{:032x}", self.seed);
        let dedup_key = format!("torture/{id}");
        match act {
            Act::Resolve => json!({ "routing_key": routing_key, "event_action": "resolve", "dedup_key": dedup_key }),
            Act::Fire => json!({
                "routing_key": routing_key, "event_action": "trigger", "dedup_key": dedup_key,
                "payload": {
                    "summary": format!("torture alert {id}"),
                    "source": self.labels(id)["instance"],
                    "severity": "error",
                    "timestamp": self.starts_at(id).to_string(),
                    "class": format!("Torture{}", id % 37),
                },
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_have_identities_of_their_own_that_acts_do_not_change() {
        let now = Timestamp::from_seconds(1_800_000_000);
        let payloads = Payloads::new(7, now, vec!["10.0.1.1:9100".into()]);
        let mut seen = BTreeSet::new();
        for id in 0..200 {
            let source = Payloads::source(id);
            let fingerprint = payloads.fingerprint(id).expect("a decodable body");
            assert!(seen.insert(fingerprint), "id {id}");
            for act in [Act::Fire, Act::Resolve] {
                let batch = decode(source, payloads.body(source, &[(id, act)], now).as_bytes());
                assert!(batch.rejects.is_empty(), "{:?}", batch.rejects);
                assert_eq!(batch.items()[0].fingerprint, fingerprint, "id {id}, {act:?}");
            }
        }
    }
}
