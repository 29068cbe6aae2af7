//! Three brokers: what is acknowledged outlives one of them.
//!
//! Absent on purpose: one broker; see `kafka.rs` and `kafka_away.rs`.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quell_log::kafka::{self, KafkaLog};
use quell_log::{Clock, LogState, Stream};
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use support::broker::Brokers;
use support::{ALERTS, Dir, Log, Script, alerts, number, outage};

async fn settings(brokers: &Brokers, topic: &str) -> (usize, Vec<(String, String)>) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &brokers.bootstrap).create().expect("a client");
    let found = admin.inner().fetch_metadata(Some(topic), Duration::from_secs(10)).expect("an answer");
    let replicas = found.topics()[0].partitions()[0].replicas().len();
    let described = admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &AdminOptions::new()).await;
    let resource = described.expect("asked").remove(0).expect("described");
    let wanted = ["cleanup.policy", "compression.type", "min.insync.replicas", "unclean.leader.election.enable"];
    let value = |name: &str| resource.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
    (replicas, wanted.iter().map(|name| ((*name).to_owned(), value(name))).collect())
}

/// The log goes on while one of three brokers is killed, twice, another one each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_of_three_loses_nothing() {
    let brokers = Brokers::start("kafka-three", 3);
    let (dir, clock) = (Dir::new(), Script::new());
    let options = kafka::Options::at(brokers.address("three"));
    let opened = KafkaLog::open(&dir.0, options, Arc::clone(&clock) as Arc<dyn Clock>, outage).await;
    let kafka::Opened { appender, main, commands, reader, last } = opened.expect("the log opens");
    let (append, read) = (Arc::new(appender), Arc::new(reader));
    let mut log = Log { append, read, main: Box::new(main), commands: Box::new(commands), last };
    let (replicas, found) = settings(&brokers, "three.main").await;
    let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(replicas, 3);
    assert_eq!(
        found,
        [
            ("cleanup.policy", "delete"),
            ("compression.type", "lz4"),
            ("min.insync.replicas", "2"),
            ("unclean.leader.election.enable", "false"),
        ]
    );
    let mut sent = BTreeSet::new();
    for at in [0, 1] {
        for round in 0..3_u64 {
            let numbers: Vec<u64> = (0..200).map(|number| at as u64 * 1_000 + round * 200 + number).collect();
            if round == 1 {
                brokers.signal(at, "KILL");
            }
            let appends = numbers.iter().map(|number| log.append.append(alerts(*number)));
            for (appended, number) in futures::future::join_all(appends).await.into_iter().zip(&numbers) {
                appended.expect("acknowledged, by Kafka or by the spool");
                sent.insert(*number);
            }
        }
        log.wait_for(LogState::Open).await;
        brokers.start_again(at);
    }
    log.stamp(alerts(9_999)).await;
    sent.insert(9_999);
    let read = log.all(Stream::Main).await;
    let mut numbers: Vec<u64> = read.iter().filter(|record| record.kind == ALERTS).map(number).collect();
    numbers.sort_unstable();
    let twice: Vec<u64> = numbers.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert_eq!(twice, Vec::<u64>::new(), "nothing twice");
    assert_eq!(numbers.into_iter().collect::<BTreeSet<_>>(), sent);
    let followed = log.next(read.len()).await;
    let stamps = |records: &[quell_log::Record<u64>]| records.iter().map(|record| record.stamp).collect::<Vec<_>>();
    assert_eq!(stamps(&followed), stamps(&read));
}
