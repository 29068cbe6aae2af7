//! What the log on Kafka adds to the promises of every log (`contract.rs`): topics, several nodes, damage, retention.
//!
//! Absent on purpose: brokers that are away; see `kafka_away.rs`.

mod support;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::join_all;
use quell_domain::{Position, RecordKind, Shard, Timestamp};
use quell_log::kafka::{self, KafkaLog};
use quell_log::{Clock, ReadError, Record, Stream};
use rdkafka::Offset;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::TopicPartitionList;
use support::broker::Brokers;
use support::{Dir, Log, PATIENCE, START, Script, alerts, command, number, outage};

fn brokers() -> &'static Brokers {
    static BROKERS: OnceLock<Brokers> = OnceLock::new();
    BROKERS.get_or_init(|| Brokers::start("kafka", 1))
}

fn config() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &brokers().bootstrap);
    config
}

fn admin() -> AdminClient<DefaultClientContext> {
    config().create().expect("a client")
}

async fn open(dir: &Dir, name: &str, clock: &Arc<Script>) -> Result<Log, kafka::OpenError> {
    open_as(dir, kafka::Options::at(brokers().address(name)), clock).await
}

/// One of several shards on the same topics.
fn shard_of(name: &str, number: u32, shards: u32) -> kafka::Options {
    let shard = Shard { tenant: 0, number };
    kafka::Options { shard, shards, ..kafka::Options::at(brokers().address(name)) }
}

async fn open_as(dir: &Dir, options: kafka::Options, clock: &Arc<Script>) -> Result<Log, kafka::OpenError> {
    let opened = KafkaLog::open(&dir.0, options, Arc::clone(clock) as Arc<dyn Clock>, outage).await?;
    let kafka::Opened { appender, main, commands, reader, last } = opened;
    let (append, read) = (Arc::new(appender), Arc::new(reader));
    Ok(Log { append, read, main: Box::new(main), commands: Box::new(commands), last })
}

/// A node with a clock of its own.
async fn node(name: &str) -> (Dir, Arc<Script>, Log) {
    let (dir, clock) = (Dir::new(), Script::new());
    let log = open(&dir, name, &clock).await.expect("the log opens");
    (dir, clock, log)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_reaches_the_readers_of_other_nodes() {
    let (_here, _clock, log) = node("context").await;
    let (_there, _other, mut other) = node("context").await;
    log.stamp(quell_log::Draft { context: "a word".into(), ..alerts(1) }).await;
    assert_eq!(&other.next(1).await[0].context[..], b"a word", "as it comes");
    assert_eq!(&other.all(Stream::Main).await[0].context[..], b"a word", "and as it is read again");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_at_once_make_the_topics_together() {
    let mut nodes = join_all((0..4).map(|_| node("together"))).await;
    for (number, (_, _, log)) in (0..).zip(&nodes) {
        log.stamp(alerts(number)).await;
    }
    let mut seen = Vec::new();
    for (_, _, log) in &mut nodes {
        seen.push(log.next(4).await.iter().map(|record| record.stamp).collect::<Vec<_>>());
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_does_not_fit_is_refused_with_what_is_allowed() {
    let topic = NewTopic::new("unfit.main", 6, TopicReplication::Fixed(1))
        .set("cleanup.policy", "compact")
        .set("compression.type", "gzip")
        .set("max.message.bytes", "1000");
    let made = admin().create_topics(&[topic], &AdminOptions::new()).await.expect("asked");
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    let refused = open(&Dir::new(), "unfit", &Script::new()).await.err().expect("refused").to_string();
    let wanted = "open the log: Kafka's topics do not fit:\n  \
        unfit.main: it has 6 partitions; allowed: 1, one for each shard\n  \
        unfit.main: cleanup.policy is compact; allowed: delete\n  \
        unfit.main: compression.type is gzip; allowed: producer, lz4, snappy, uncompressed\n  \
        unfit.main: max.message.bytes is 1000; allowed: 16842752 or more, because one request may have 16777216 bytes\n\
        alter them, or name others: kafka://HOST:PORT/PREFIX";
    assert_eq!(refused, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_are_not_there_are_named() {
    let address = "kafka://127.0.0.1:1/x".parse().expect("an address");
    let options = kafka::Options { patience: Duration::from_secs(1), ..kafka::Options::at(address) };
    let refused = KafkaLog::open::<u64>(&Dir::new().0, options, Script::new(), outage).await.expect_err("refused");
    assert_eq!(refused.to_string(), "open the log: no Kafka broker of 127.0.0.1:1 answers");
}

/// Two nodes whose clocks differ by an hour and jump.
#[tokio::test(flavor = "multi_thread")]
async fn stamps_never_decrease_and_are_the_same_wherever_one_begins() {
    let (_slow_dir, slow_clock, mut slow) = node("clocks").await;
    let (_fast_dir, fast_clock, fast) = node("clocks").await;
    for number in 0..100_u64 {
        slow_clock.set(number as i64 - 3_600);
        // No leap is so long that it counts as an outage.
        fast_clock.set((number as i64 * 7) % 13);
        slow.stamp(alerts(2 * number)).await;
        fast.stamp(alerts(2 * number + 1)).await;
    }
    let followed = slow.next(200).await;
    let stamps: Vec<_> = followed.iter().map(|record| record.stamp).collect();
    assert!(stamps.is_sorted_by_key(|stamp| stamp.received_at));
    assert!(stamps[0].received_at < Timestamp::from_seconds(START), "the slow one was first");
    assert!(stamps[150].received_at >= Timestamp::from_seconds(START));
    for from in [1, 2, 3, 64, 65, 66, 100, 129, 130, 200] {
        // A reader of its own each time: it knows nothing of before.
        let (_dir, _clock, late) = node("clocks").await;
        let read = late.read.read(Stream::Main, Position(from), 9).await.expect("readable");
        let read: Vec<_> = read.iter().map(|record| record.stamp).collect();
        assert_eq!(read, stamps[from as usize - 1..(from as usize + 8).min(200)], "from {from}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_put_there_is_damage_and_stops_nobody() {
    let (_dir, _clock, mut log) = node("damage").await;
    log.stamp(alerts(1)).await;
    let producer: BaseProducer = config().create().expect("a client");
    let strange = BaseRecord::<str, str>::to("damage.main").payload("not quell's").key("k");
    producer.send(strange).map_err(|(error, _)| error).expect("sent");
    tokio::task::spawn_blocking(move || producer.flush(Duration::from_secs(10))).await.expect("runs").expect("landed");
    log.stamp(alerts(3)).await;
    let followed = log.next(3).await;
    assert_eq!((followed[1].kind, followed[1].stamp.position), (RecordKind::Tick, Position(2)), "its place is passed");
    assert_eq!(followed[2].stamp.position, Position(3));
    let read = log.read.read(Stream::Main, Position(1), 9).await.expect("readable");
    assert_eq!(read.iter().map(number).collect::<Vec<_>>(), [1], "the good ones before it");
    let damaged = log.read.read(Stream::Main, Position(2), 9).await;
    assert!(matches!(damaged, Err(ReadError::Damaged { position: Position(2), .. })), "{damaged:?}");
    let read = log.read.read(Stream::Main, Position(3), 9).await.expect("readable");
    assert_eq!(read.iter().map(number).collect::<Vec<_>>(), [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_what_was_dropped_the_rest_reads_as_before() {
    let (_dir, clock, mut log) = node("dropped").await;
    for number in 1..=150 {
        clock.set(if number == 40 { 14 } else { number as i64 % 10 });
        log.stamp(alerts(number)).await;
    }
    let whole = log.next(150).await;
    let mut before = TopicPartitionList::new();
    before.add_partition_offset("dropped.main", 0, Offset::Offset(99)).expect("an offset");
    admin().delete_records(&before, &AdminOptions::new()).await.expect("dropped");
    let (_late_dir, _late_clock, late) = node("dropped").await;
    let stamps = |records: &[Record<u64>]| records.iter().map(|record| record.stamp).collect::<Vec<_>>();
    for (from, first) in [(1, 100), (99, 100), (100, 100), (101, 101), (140, 140)] {
        let read = late.read.read(Stream::Main, Position(from), 5).await.expect("readable");
        assert_eq!(stamps(&read), stamps(&whole[first - 1..first + 4]), "from {from}");
    }
    assert!(late.read.read_one(Stream::Main, Position(7)).await.expect("readable").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shard_has_a_log_of_its_own_on_the_same_topics() {
    let clock = Script::new();
    let mut shards = Vec::new();
    for number in 0..3 {
        let dir = Dir::new();
        let log = open_as(&dir, shard_of("shards", number, 3), &clock).await.expect("the log opens");
        shards.push((dir, log));
    }
    for (at, (_, log)) in (0_u64..).zip(&shards) {
        for count in 0..=at {
            let stamp = log.stamp(alerts(10 * at + count)).await;
            assert_eq!(stamp.position, Position(count + 1), "positions are the shard's own");
        }
        log.stamp(command(at)).await;
    }
    for (at, (_, log)) in (0_u64..).zip(&mut shards) {
        let expected: Vec<u64> = (0..=at).map(|count| 10 * at + count).collect();
        let followed = log.next(at as usize + 1).await;
        assert_eq!(followed.iter().map(number).collect::<Vec<_>>(), expected, "as they come");
        assert_eq!(log.all(Stream::Main).await.iter().map(number).collect::<Vec<_>>(), expected, "and read again");
        assert_eq!(log.all(Stream::Commands).await.len(), 1);
    }
    let other = open_as(&Dir::new(), shard_of("shards", 0, 2), &clock).await.err().expect("refused").to_string();
    assert!(other.contains("shards.main: it has 3 partitions; allowed: 2, one for each shard"), "{other}");
}

/// The shards of which it is a node's turn, once it is each one's of one node.
async fn spread<const N: usize>(nodes: [&kafka::Duty; N]) -> [Vec<usize>; N] {
    let mine = |duty: &kafka::Duty| -> Vec<usize> {
        let turns = duty.turns().iter().enumerate();
        turns.filter(|(_, turn)| *turn.borrow() == kafka::Turn::Mine).map(|(number, _)| number).collect()
    };
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let found = nodes.map(mine);
        let mut all = found.concat();
        all.sort_unstable();
        if all == [0, 1, 2, 3] && found.iter().all(|mine| mine.len() == 4 / N) {
            return found;
        }
        assert!(tokio::time::Instant::now() < until, "the turns are not spread: {found:?}");
        let changes = nodes.iter().flat_map(|duty| duty.turns()).map(|turn| {
            let mut turn = turn.clone();
            Box::pin(async move { turn.changed().await.ok() })
        });
        // A change may have come between the look and the wait.
        tokio::time::timeout(Duration::from_millis(200), futures::future::select_all(changes)).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_turns_of_four_shards_are_spread_over_two_nodes_and_taken_over() {
    let options = shard_of("turns", 0, 4);
    let one = KafkaLog::duty(&options).await.expect("joined");
    assert_eq!(spread([&one]).await, [vec![0, 1, 2, 3]]);
    let two = KafkaLog::duty(&options).await.expect("joined");
    let [kept, given] = spread([&one, &two]).await;
    for (duty, others) in [(&one, given), (&two, kept)] {
        for number in others {
            assert_eq!(*duty.turns()[number].borrow(), kafka::Turn::Others);
        }
    }
    one.leave().await;
    assert_eq!(spread([&two]).await, [vec![0, 1, 2, 3]]);
}
