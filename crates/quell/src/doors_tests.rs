//! Three shards of one process by way of their front: what comes is shared out, each engine decides its part, and what is
//! asked finds its shard.
//!
//! Absent on purpose: HTTP (`tests/shards.rs`) and other nodes (`tests/cluster_shards.rs`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use quell_api::ports::{Held, Intake, Live};
use quell_domain::{
    ArtefactKind, Command, CommandKind, IncidentId, IncidentState, Labels, ReceiptId, Shard, Sharding, Source,
    Timestamp, Verdict,
};
use quell_formats::config::Config;
use quell_formats::{alertmanager, pagerduty};
use quell_log::Clock;
use quell_sim::estate::sample_estate;
use quell_store::{AlertQuery, IncidentQuery, Store};
use tokio::sync::watch;

use crate::clock::SystemClock;
use crate::doors::Doors;
use crate::serve::{outage, read};
use crate::{logs, shards, stores};

const PATIENCE: Duration = Duration::from_secs(20);
const COUNT: u32 = 3;

fn sharding() -> Sharding {
    Sharding::by("group", COUNT).expect("good")
}

/// A region of each shard.
fn regions() -> Vec<String> {
    let of = |number| {
        let region = (0..).map(|n| format!("region-{n}"));
        let mut region = region.filter(|name| sharding().of(Labels::new([("group", name)]).as_ref()) == number);
        region.next().expect("there is one for each")
    };
    (0..COUNT).map(of).collect()
}

/// A process's shards at work.
struct Rig {
    doors: Arc<Doors>,
    store: Arc<dyn Store>,
    closing: watch::Sender<bool>,
    engines: tokio::task::JoinHandle<anyhow::Result<()>>,
}

fn fresh(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("quell-doors-{name}-{}", std::process::id()));
    // Left behind by a run that was killed.
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

impl Rig {
    async fn open(folder: &Path) -> Rig {
        let config = Config { shards: sharding(), data_dir: folder.to_owned(), ..Config::default() };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let first = logs::open(&config, Shard::FIRST, Arc::clone(&clock), outage).await.expect("the log opens");
        let store = stores::open(folder, None, COUNT).await.expect("the store opens");
        stores::keep_sharding(&*store, &config.shards).await.expect("the same");
        let settled = read(config).expect("the shipped files hold together");
        let ready = shards::ready(settled, first, Arc::clone(&store), clock, &Registry::new()).await.expect("ready");
        let doors = Arc::clone(&ready.doors);
        let (closing, closed) = watch::channel(false);
        let engines = ready.begin(&closed);
        tokio::time::timeout(PATIENCE, shards::all_decide(&doors)).await.expect("they decide");
        Rig { doors, store, closing, engines }
    }

    async fn close(self) {
        self.closing.send_replace(true);
        self.engines.await.expect("no panic").expect("a good end");
    }

    /// Waits until everything received is decided.
    async fn decided(&self) {
        let done = async {
            while Live::health(&*self.doors).lag_records > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, done).await.expect("decided");
    }

    /// Posts alerts of regions, firing or ended.
    async fn post(&self, alerts: &[(&str, &str)]) -> Option<ReceiptId> {
        let alert = |(name, region): &(&str, &str)| {
            format!(r#"{{"labels":{{"alertname":"{name}","instance":"{name}-1","group":"{region}"}}}}"#)
        };
        let body = format!("[{}]", alerts.iter().map(alert).collect::<Vec<_>>().join(","));
        let batch = alertmanager::decode_api(body.as_bytes());
        let receipt = self.doors.accept(Source::AlertmanagerApi, body.into(), batch).await.expect("accepted");
        self.decided().await;
        receipt
    }

    /// An event of PagerDuty's, whose end does not say again what its beginning said.
    async fn event(&self, body: String) {
        let batch = pagerduty::decode(body.as_bytes());
        self.doors.accept(Source::PagerDuty, body.into(), batch).await.expect("accepted");
        self.decided().await;
    }

    async fn ask(&self, incident: IncidentId, kind: CommandKind) -> Option<Verdict> {
        let command = Command { incident, actor: "ana".into(), kind };
        self.doors.command(command, PATIENCE).await.expect("durable").verdict
    }

    /// The names of alerts with their incidents, by shard.
    async fn seen(&self) -> BTreeMap<u32, Vec<(String, String)>> {
        let mut seen = BTreeMap::new();
        for shard in sharding().shards() {
            let query = AlertQuery { limit: 100, ..AlertQuery::default() };
            let alerts = self.store.alerts(shard, query).await.expect("readable").items;
            let said = alerts.iter().rev().map(|alert| {
                (alert.name().to_owned(), alert.incident.map(|incident| incident.to_string()).unwrap_or_default())
            });
            seen.insert(shard.number, said.collect());
        }
        seen
    }

    async fn states(&self, shard: u32) -> Vec<IncidentState> {
        let query = IncidentQuery { state: None, before: None, limit: 100 };
        let shard = Shard { number: shard, ..Shard::FIRST };
        let found = self.store.incidents(shard, query).await.expect("readable").items;
        found.iter().rev().map(|incident| incident.state).collect()
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, incident)| ((*name).to_owned(), (*incident).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_of_three_regions_are_decided_in_three_shards_and_after_a_restart_too() {
    let (folder, regions) = (fresh("regions"), regions());
    let rig = Rig::open(&folder).await;
    // One body with all of them, in another order than the shards'.
    let receipt = rig.post(&[("C", &regions[2]), ("A", &regions[0]), ("B", &regions[1])]).await.expect("a receipt");
    assert_eq!(receipt.shard, 0, "that of the first shard concerned");
    let received = rig.doors.record(receipt).await.expect("readable").expect("there");
    let Held::Alerts(part) = received.held else { panic!("alerts were posted") };
    assert_eq!((part.items().len(), part.places()), (1, vec![1]), "its part of the body");
    let elsewhere = ReceiptId { shard: COUNT, ..receipt };
    assert_eq!(rig.doors.record(elsewhere).await, Ok(None), "of a shard that is not there");
    let alone = rig.post(&[("D", &regions[2])]).await.expect("a receipt");
    assert_eq!(alone.shard, 2);
    let seen = rig.seen().await;
    assert_eq!(seen[&0], pairs(&[("A", "INC-1")]));
    assert_eq!(seen[&1], pairs(&[("B", "INC-1.1")]));
    assert_eq!(seen[&2].iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["C", "D"]);
    assert!(seen[&2].iter().all(|(_, incident)| incident.starts_with("INC-2.")), "{seen:?}");
    rig.close().await;
    let rig = Rig::open(&folder).await;
    assert_eq!(rig.seen().await, seen);
    // Known again: nothing opens anew.
    rig.post(&[("A", &regions[0]), ("B", &regions[1]), ("C", &regions[2])]).await;
    assert_eq!(rig.seen().await, seen);
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_finds_its_shard() {
    let regions = regions();
    let rig = Rig::open(&fresh("asked")).await;
    rig.post(&[("A", &regions[0]), ("B", &regions[1]), ("C", &regions[2])]).await;
    let id = |shard| IncidentId { shard, number: 1 };
    for shard in 0..COUNT {
        assert_eq!(rig.ask(id(shard), CommandKind::Acknowledge).await, Some(Verdict::Done), "shard {shard}");
        let of = Shard { number: shard, ..Shard::FIRST };
        let detail = rig.store.incident(of, id(shard), 9).await.expect("readable").expect("there");
        assert_eq!(detail.incident.acknowledged_by.as_deref(), Some("ana"));
    }
    let missing = rig.ask(IncidentId { shard: 1, number: 9 }, CommandKind::Acknowledge).await;
    // Neither a shard that is not there, nor things of two, is anybody's.
    assert_eq!(rig.ask(id(7), CommandKind::Acknowledge).await, missing);
    assert_eq!(rig.ask(id(1), CommandKind::Merge { into: id(2) }).await, missing);
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_without_the_label_is_found_by_the_shard_that_knows_it() {
    let regions = regions();
    let rig = Rig::open(&fresh("ends")).await;
    let key = r#""routing_key":"0123456789abcdef0123456789abcdef","dedup_key":"k""#;
    rig.event(format!(
        r#"{{{key},"event_action":"trigger","payload":{{"summary":"disk full","source":"db-1","severity":"critical","group":"{}"}}}}"#,
        regions[2]
    ))
    .await;
    assert_eq!(rig.states(2).await, [IncidentState::Open]);
    rig.event(format!(r#"{{{key},"event_action":"resolve"}}"#)).await;
    assert_eq!(rig.states(2).await, [IncidentState::Resolved]);
    for shard in [0, 1] {
        assert_eq!(rig.states(shard).await, [], "who does not know it opens nothing");
    }
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topology_is_put_in_force_in_every_shard() {
    let rig = Rig::open(&fresh("topology")).await;
    let activated = Intake::topology(&*rig.doors, sample_estate()).await.expect("activated");
    assert!(activated.changed);
    for shard in sharding().shards() {
        let versions = rig.store.versions(shard, ArtefactKind::Topology, Timestamp::MAX, 9).await.expect("readable");
        assert_eq!(versions.iter().map(|version| version.activation.digest).collect::<Vec<_>>(), [activated.digest]);
    }
    for door in rig.doors.all() {
        assert_eq!(Live::topology(&*door.published), Some(activated.digest));
    }
    assert!(!Intake::topology(&*rig.doors, sample_estate()).await.expect("known").changed);
    rig.close().await;
}
