//! Kafka that is away: stopped, killed and back. What was acknowledged is there, once and in order.
//!
//! Absent on purpose: what holds while Kafka answers; see `kafka.rs`.

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use quell_domain::{Position, RecordKind, Timestamp};
use quell_log::kafka::{self, KafkaLog};
use quell_log::{AppendError, Appended, Clock, LogState, Record, Stream};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use support::broker::Brokers;
use support::{ALERTS, Dir, Log, PATIENCE, START, Script, alerts, command, draft, number, outage};
use tokio::sync::{Mutex, MutexGuard};

/// One broker that the tests stop in turn.
async fn broker() -> (MutexGuard<'static, ()>, &'static Brokers) {
    static TURN: Mutex<()> = Mutex::const_new(());
    static BROKERS: OnceLock<Brokers> = OnceLock::new();
    (TURN.lock().await, BROKERS.get_or_init(|| Brokers::start("kafka-away", 1)))
}

fn options(brokers: &Brokers, name: &str) -> kafka::Options {
    kafka::Options { ack: Duration::from_secs(1), ..kafka::Options::at(brokers.address(name)) }
}

async fn open(dir: &Dir, options: kafka::Options, clock: &Arc<Script>) -> Log {
    let opened = KafkaLog::open(&dir.0, options, Arc::clone(clock) as Arc<dyn Clock>, outage).await;
    let kafka::Opened { appender, main, commands, reader, last } = opened.expect("the log opens");
    let (append, read) = (Arc::new(appender), Arc::new(reader));
    Log { append, read, main: Box::new(main), commands: Box::new(commands), last }
}

/// The numbers of alerts on the log, each with how often it is there.
async fn counted(log: &Log) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for record in log.all(Stream::Main).await.iter().filter(|record| record.kind == ALERTS) {
        *counts.entry(number(record)).or_default() += 1;
    }
    counts
}

/// Senders that go on until they are told to stop; what each had acknowledged, in order.
fn senders(log: &Log, stop: &Arc<AtomicBool>) -> Vec<tokio::task::JoinHandle<Vec<(u64, Appended)>>> {
    let sender = |sender: u64| {
        let (append, stop) = (Arc::clone(&log.append), Arc::clone(stop));
        tokio::spawn(async move {
            let mut acked = Vec::new();
            for number in sender * 1_000_000.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                if let Ok(appended) = append.append(alerts(number)).await {
                    acked.push((number, appended));
                }
            }
            acked
        })
    };
    (0..8).map(sender).collect()
}

/// Every acknowledged number is there once, and those of a sender in its order.
async fn check(log: &Log, acked: Vec<Vec<(u64, Appended)>>) -> (usize, usize) {
    let counts = counted(log).await;
    let all: Vec<(u64, Appended)> = acked.iter().flatten().copied().collect();
    let lost: Vec<_> = all.iter().filter(|(number, _)| !counts.contains_key(number)).collect();
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(lost.is_empty() && twice.is_empty(), "lost {lost:?}, twice {twice:?}, of {}", all.len());
    let order: Vec<u64> = log.all(Stream::Main).await.iter().filter(|r| r.kind == ALERTS).map(number).collect();
    for mine in &acked {
        let wanted: Vec<u64> = mine.iter().map(|(number, _)| *number).collect();
        let mut found = order.iter().filter(|number| wanted.binary_search(number).is_ok());
        assert!(wanted.iter().all(|number| found.next() == Some(number)), "another order");
    }
    (all.len(), all.iter().filter(|(_, appended)| matches!(appended, Appended::Spooled { .. })).count())
}

async fn join(tasks: Vec<tokio::task::JoinHandle<Vec<(u64, Appended)>>>) -> Vec<Vec<(u64, Appended)>> {
    let mut acked = Vec::new();
    for task in tasks {
        acked.push(task.await.expect("no panic"));
    }
    acked
}

/// Waits until so many were acknowledged by the spool.
async fn spooled(log: &Log) {
    log.wait_for(LogState::Spooling).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_broker_loses_nothing_and_doubles_nothing() {
    let (_turn, brokers) = broker().await;
    let (dir, clock) = (Dir::new(), Script::new());
    let mut log = open(&dir, options(brokers, "stopped"), &clock).await;
    log.stamp(alerts(900_000_000)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = senders(&log, &stop);
    log.next(200).await;
    brokers.signal(0, "STOP");
    spooled(&log).await;
    // Neither commands nor quell's own records wait in the spool.
    for refused in [command(1), draft(Stream::Main, RecordKind::Tick, "", None)] {
        let refused = log.append.append(refused).await;
        assert!(matches!(refused, Err(AppendError::Away(_))), "{refused:?}");
    }
    let number = 900_000_001;
    assert!(matches!(log.append.append(alerts(number)).await, Ok(Appended::Spooled { .. })));
    brokers.signal(0, "CONT");
    stop.store(true, Ordering::SeqCst);
    let mut acked = join(tasks).await;
    log.wait_for(LogState::Open).await;
    acked.push(vec![(900_000_000, Appended::Spooled { sequence: 0 }), (number, Appended::Spooled { sequence: 0 })]);
    log.stamp(alerts(900_000_002)).await;
    let (all, late) = check(&log, acked).await;
    assert!(all > 200 && late > 8, "{late} of {all} were spooled");
    // What a reader follows is what one reads again, and a reader that begins later sees the same.
    let read = log.all(Stream::Main).await;
    let mut followed: Vec<Record<u64>> = log.next(read.len() - 200).await;
    let last = followed.split_off(followed.len() - 8);
    let from = last[0].stamp.position;
    let fresh = open(&Dir::new(), options(brokers, "stopped"), &clock).await;
    let again = fresh.read.read(Stream::Main, from, 8).await.expect("readable");
    let stamps = |records: &[Record<u64>]| records.iter().map(|record| record.stamp).collect::<Vec<_>>();
    assert_eq!(stamps(&again), stamps(&last));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_produce_that_timed_out_but_landed_is_there_once() {
    let (_turn, brokers) = broker().await;
    let (dir, clock) = (Dir::new(), Script::new());
    let mut log = open(&dir, options(brokers, "landed"), &clock).await;
    log.stamp(alerts(1)).await;
    log.next(1).await;
    // The request reaches the broker's socket, and is read from there when it goes on.
    brokers.signal(0, "STOP");
    let appended = log.append.append(alerts(2)).await;
    assert!(matches!(appended, Ok(Appended::Spooled { .. })), "{appended:?}");
    brokers.signal(0, "CONT");
    log.wait_for(LogState::Open).await;
    let end = log.stamp(alerts(3)).await;
    assert_eq!(end.position, Position(4), "it landed twice: otherwise this test says nothing");
    let followed = log.next(2).await;
    assert_eq!(followed.iter().map(number).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(counted(&log).await, BTreeMap::from([(1, 1), (2, 1), (3, 1)]));
    // Also for one who begins between the two.
    let read = log.read.read(Stream::Main, Position(3), 9).await.expect("readable");
    assert_eq!(
        read.iter().map(|record| (record.stamp.position, number(record))).collect::<Vec<_>>(),
        [(Position(4), 3)]
    );
}

/// Puts the first record that lies there at its end once more, as it is.
fn land_again(brokers: &Brokers, topic: &str) {
    let config = |group: &str| {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &brokers.bootstrap).set("group.id", group);
        config
    };
    let reader: BaseConsumer = config("again").create().expect("a consumer");
    let mut first = TopicPartitionList::new();
    first.add_partition_offset(topic, 0, Offset::Beginning).expect("a place");
    reader.assign(&first).expect("assigned");
    let found = reader.poll(PATIENCE).expect("in time").expect("a record");
    let producer: BaseProducer = config("").create().expect("a producer");
    let headers = found.headers().expect("headers").detach();
    let again = BaseRecord::to(topic).partition(0).headers(headers);
    let again = again.key(found.key().expect("a key")).payload(found.payload().expect("a body"));
    producer.send(again).map_err(|(error, _)| error).expect("sent");
    producer.flush(PATIENCE).expect("landed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_produce_that_lands_after_its_copy_is_there_once() {
    let (_turn, brokers) = broker().await;
    let (dir, clock) = (Dir::new(), Script::new());
    let mut log = open(&dir, options(brokers, "late"), &clock).await;
    for number in 1..=3 {
        log.stamp(alerts(number)).await;
    }
    land_again(brokers, "late.main");
    let end = log.stamp(alerts(4)).await;
    assert_eq!(end.position, Position(5), "it landed twice: otherwise this test says nothing");
    let followed = log.next(4).await;
    assert_eq!(followed.iter().map(number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(counted(&log).await, (1..=4).map(|number| (number, 1)).collect());
    // Also for one who begins at the second, and for one who comes back to it.
    for fresh in [open(&Dir::new(), options(brokers, "late"), &clock).await, log] {
        let read = fresh.read.read(Stream::Main, Position(4), 9).await.expect("readable");
        let read: Vec<_> = read.iter().map(|record| (record.stamp.position, number(record))).collect();
        assert_eq!(read, [(Position(5), 4)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_and_then_a_killed_node_lose_nothing() {
    let (_turn, brokers) = broker().await;
    let (dir, clock) = (Dir::new(), Script::new());
    let log = open(&dir, options(brokers, "killed"), &clock).await;
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = senders(&log, &stop);
    brokers.signal(0, "KILL");
    spooled(&log).await;
    stop.store(true, Ordering::SeqCst);
    let acked = join(tasks).await;
    // Nothing is closed in order: the next start finds the spool as it was left.
    clock.set(20);
    drop(log);
    brokers.start_again(0);
    let mut log = reopened(&dir, options(brokers, "killed"), &clock).await;
    assert_eq!(*log.append.state().borrow(), LogState::Open, "the spool was emptied at the start");
    let (all, late) = check(&log, acked).await;
    assert!(late >= 8, "{late} of {all} were spooled");
    let outages = |records: &[Record<u64>]| records.iter().filter(|r| r.kind == RecordKind::Outage).count();
    let read = log.all(Stream::Main).await;
    assert_eq!(outages(&read), 1, "the time in which the node was down");
    let last = &read.last().expect("records").body[..];
    assert!(last.ends_with(Timestamp::from_seconds(START + 20).to_string().as_bytes()), "{last:?}");
    let rest = usize::try_from(read.last().expect("records").stamp.position.0 - log.last[0].0).expect("few");
    assert_eq!(outages(&log.next(rest).await), 1);
    log.append.close().await;
    // What was put onto Kafka is not put there again.
    let log = open(&dir, options(brokers, "killed"), &clock).await;
    assert_eq!(log.all(Stream::Main).await.len(), read.len() + 1, "one more outage, and nothing else");
}

/// Opens a log whose earlier user in this process is going away.
async fn reopened(dir: &Dir, options: kafka::Options, clock: &Arc<Script>) -> Log {
    let until = tokio::time::Instant::now() + PATIENCE;
    let mut look = tokio::time::interval(Duration::from_millis(50));
    loop {
        let opened = KafkaLog::open(&dir.0, options.clone(), Arc::clone(clock) as Arc<dyn Clock>, outage).await;
        match opened {
            Ok(kafka::Opened { appender, main, commands, reader, last }) => {
                let (append, read) = (Arc::new(appender), Arc::new(reader));
                return Log { append, read, main: Box::new(main), commands: Box::new(commands), last };
            }
            Err(kafka::OpenError::Spool(quell_log::OpenError::InUse { .. })) if tokio::time::Instant::now() < until => {
                look.tick().await;
            }
            Err(error) => unreachable!("{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_spool_refuses_and_what_it_holds_is_not_lost() {
    let (_turn, brokers) = broker().await;
    let (dir, clock) = (Dir::new(), Script::new());
    let small = kafka::Options { spool_bytes: 1 << 20, ..options(brokers, "full") };
    let log = open(&dir, small, &clock).await;
    log.stamp(alerts(0)).await;
    brokers.signal(0, "STOP");
    let mut acked = vec![(0, Appended::Spooled { sequence: 0 })];
    let refused = loop {
        let number = acked.len() as u64;
        match log.append.append(alerts(number)).await {
            Ok(appended) => acked.push((number, appended)),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, AppendError::DiskFull), "{refused:?}");
    assert!(acked.len() > 100, "{}", acked.len());
    log.wait_for(LogState::Full).await;
    brokers.signal(0, "CONT");
    log.wait_for(LogState::Open).await;
    log.stamp(alerts(999_999)).await;
    check(&log, vec![acked]).await;
}
