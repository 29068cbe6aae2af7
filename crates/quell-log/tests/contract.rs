//! What every log promises, tried on the embedded log and on real Kafka.
//!
//! Absent on purpose: what one medium adds; see `embedded.rs` and `kafka.rs`.

mod support;

use std::sync::{Arc, OnceLock};

use quell_domain::{Position, RecordKind, Timestamp};
use quell_log::kafka::{self, KafkaLog};
use quell_log::{AppendError, Clock, EmbeddedLog, LogState, Options, Record, Stream};
use support::broker::Brokers;
use support::{ALERTS, Dir, Log, START, Script, alerts, body, command, draft, follow, number, outage};

/// A log that can be opened, and opened again.
struct Medium {
    dir: Dir,
    kafka: Option<kafka::Address>,
    clock: Arc<Script>,
    limits: Options,
}

impl Medium {
    async fn open(&self) -> Log {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        if let Some(address) = self.kafka.clone() {
            let Options { waiting_records, waiting_bytes, waiting_commands, .. } = self.limits;
            let usual = kafka::Options::at(address);
            let options = kafka::Options { waiting_records, waiting_bytes, waiting_commands, ..usual };
            let opened = KafkaLog::open(&self.dir.0, options, clock, outage).await.expect("the log opens");
            let kafka::Opened { appender, main, commands, reader, last } = opened;
            let (append, read) = (Arc::new(appender), Arc::new(reader));
            return Log { append, read, main: Box::new(main), commands: Box::new(commands), last };
        }
        let opened = EmbeddedLog::open(&self.dir.0, self.limits.clone(), clock, outage).await.expect("the log opens");
        let quell_log::Opened { appender, main, commands, reader, last } = opened;
        let (append, read) = (Arc::new(appender), Arc::new(reader));
        Log { append, read, main: Box::new(main), commands: Box::new(commands), last }
    }

    fn limited(self, records: usize, bytes: usize, commands: usize) -> Medium {
        let limits =
            Options { waiting_records: records, waiting_bytes: bytes, waiting_commands: commands, max_pages: None };
        Medium { limits, ..self }
    }
}

fn embedded(_: &str) -> Medium {
    Medium { dir: Dir::new(), kafka: None, clock: Script::new(), limits: Options::default() }
}

fn on_kafka(name: &str) -> Medium {
    static BROKERS: OnceLock<Brokers> = OnceLock::new();
    let address = BROKERS.get_or_init(|| Brokers::start("kafka-contract", 1)).address(name);
    Medium { kafka: Some(address), ..embedded(name) }
}

/// Each check becomes a test of each medium.
macro_rules! every_log {
    ($($check:ident)*) => {
        mod the_embedded_log {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() { super::$check(super::embedded(stringify!($check))).await; })*
        }
        mod kafka_log {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() { super::$check(super::on_kafka(stringify!($check))).await; })*
        }
    };
}

every_log! {
    appended_records_are_handed_over_and_read_again_after_a_reopen
    concurrent_appends_are_handed_over_once_and_in_order
    a_full_room_refuses_alerts_at_once_and_passes_all_else
    bytes_that_wait_are_limited_too
    time_never_goes_back_and_reads_the_same_from_everywhere
    the_two_streams_have_positions_of_their_own
    a_closed_log_takes_nothing_and_ends_its_tails
    what_is_not_there_is_not_read
    a_context_goes_along_and_one_that_is_too_long_does_not
    large_bodies_come_back_whole
}

async fn appended_records_are_handed_over_and_read_again_after_a_reopen(medium: Medium) {
    let mut log = medium.open().await;
    assert_eq!(log.last, [Position::START; 2]);
    assert_eq!(*log.append.state().borrow(), LogState::Open);
    for number in 1..=5 {
        assert_eq!(log.stamp(alerts(number)).await.position, Position(number));
    }
    let raw = log.stamp(draft(Stream::Main, RecordKind::Activate, "raw", None)).await;
    let command = log.stamp(draft(Stream::Commands, RecordKind::Command, "ack", Some(9))).await;
    assert_eq!((raw.position, command.position), (Position(6), Position(1)));
    let records = log.next(6).await;
    for (record, number) in records.iter().zip(1..=5) {
        assert_eq!((record.stamp.position, record.carry, record.body.len()), (Position(number), Some(number), 0));
    }
    let last = &records[5];
    assert_eq!((last.kind, &last.body[..], last.carry), (RecordKind::Activate, &b"raw"[..], None));
    assert_eq!(follow(&mut *log.commands, 1).await[0].carry, Some(9));
    log.append.close().await;

    medium.clock.set(60);
    let mut log = medium.open().await;
    assert_eq!(log.last, [Position(6), Position(1)]);
    let records = log.all(Stream::Main).await;
    assert!(
        records.iter().take(5).zip(1..).all(|(record, number)| record.body == body(number) && record.kind == ALERTS)
    );
    assert_eq!(&records[5].body[..], b"raw");
    assert_eq!(&log.all(Stream::Commands).await[0].body[..], b"ack");
    let back = log.next(1).await.remove(0);
    assert_eq!((back.stamp.position, back.kind), (Position(7), RecordKind::Outage), "the outage comes by the tail");
    assert_eq!(back.body, outage(Timestamp::from_seconds(START), Timestamp::from_seconds(START + 60)));
    assert_eq!(log.stamp(alerts(8)).await.position, Position(8));
    assert_eq!(number(&log.next(1).await[0]), 8);
}

async fn a_context_goes_along_and_one_that_is_too_long_does_not(medium: Medium) {
    let mut log = medium.open().await;
    let contexts = ["", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", &"x".repeat(65)];
    for (number, context) in (1..).zip(contexts) {
        let context = context.as_bytes().to_vec().into();
        log.stamp(quell_log::Draft { context, ..alerts(number) }).await;
    }
    let records = log.next(3).await;
    let found: Vec<&[u8]> = records.iter().map(|record| &record.context[..]).collect();
    assert_eq!(found, [b"", contexts[1].as_bytes(), b""]);
}

async fn concurrent_appends_are_handed_over_once_and_in_order(medium: Medium) {
    let mut log = medium.open().await;
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let append = Arc::clone(&log.append);
            tokio::spawn(async move {
                let mut stamps = Vec::new();
                for number in 0..20 {
                    let number = task * 20 + number;
                    let appended = append.append(alerts(number)).await.expect("appended");
                    stamps.push((appended.stamp().expect("on the log"), number));
                }
                stamps
            })
        })
        .collect();
    let mut acked = Vec::new();
    for task in tasks {
        acked.extend(task.await.expect("no panic"));
    }
    acked.sort_by_key(|(stamp, _)| stamp.position);
    let taken = log.next(1280).await;
    let taken: Vec<_> = taken.into_iter().map(|record| (record.stamp, record.carry.expect("carried"))).collect();
    assert_eq!(taken, acked);
    assert!(taken.iter().zip(1..).all(|((stamp, _), position)| stamp.position == Position(position)));
    let records = log.all(Stream::Main).await;
    assert_eq!(records.len(), 1280);
    assert!(records.iter().zip(&acked).all(|(record, (_, number))| record.body == body(*number)));
}

async fn a_full_room_refuses_alerts_at_once_and_passes_all_else(medium: Medium) {
    let mut log = medium.limited(3, 1 << 20, 2).open().await;
    for number in 1..=3 {
        log.stamp(alerts(number)).await;
    }
    let refused = log.append.append(alerts(4)).await;
    assert!(matches!(refused, Err(AppendError::Overloaded { waiting: 3, .. })), "{refused:?}");
    log.stamp(draft(Stream::Main, RecordKind::Tick, "", None)).await;
    for number in 0..2 {
        log.stamp(command(number)).await;
    }
    let refused = log.append.append(command(3)).await;
    assert!(matches!(refused, Err(AppendError::Overloaded { .. })), "{refused:?}");
    log.next(1).await;
    assert_eq!(log.stamp(alerts(5)).await.position, Position(5), "a refused one has no position");
}

async fn bytes_that_wait_are_limited_too(medium: Medium) {
    let mut log = medium.limited(100, 3_000, 2).open().await;
    let large = |size: usize| draft(Stream::Main, ALERTS, vec![b'x'; size], Some(0));
    log.stamp(large(5_000)).await;
    let refused = log.append.append(large(1)).await;
    assert!(matches!(refused, Err(AppendError::Overloaded { bytes: 5_000, .. })), "{refused:?}");
    log.next(1).await;
    log.stamp(large(1)).await;
}

async fn time_never_goes_back_and_reads_the_same_from_everywhere(medium: Medium) {
    let mut log = medium.open().await;
    let mut seconds = [0, 5, -3_600, 4, 9, 3, 9, 12, -7].iter().cycle();
    let mut acked = Vec::new();
    for number in 0..150 {
        medium.clock.set(*seconds.next().expect("it goes round"));
        acked.push(log.stamp(alerts(number)).await);
    }
    assert!(acked.is_sorted_by_key(|stamp| stamp.received_at), "{acked:?}");
    assert_eq!(acked[2].received_at, Timestamp::from_seconds(START + 5));
    let stamps = |records: Vec<Record<u64>>| records.iter().map(|record| record.stamp).collect::<Vec<_>>();
    assert_eq!(stamps(log.next(150).await), acked);
    for from in [1, 2, 7, 64, 65, 66, 149, 150] {
        let read = log.read.read(Stream::Main, Position(from), 20).await.expect("readable");
        let wanted = &acked[from as usize - 1..(from as usize + 19).min(150)];
        assert_eq!(stamps(read), wanted, "from {from}");
    }
    log.append.close().await;
    let log = medium.open().await;
    let one = log.read.read_one(Stream::Main, Position(77)).await.expect("readable").expect("kept");
    assert_eq!((one.stamp, number(&one)), (acked[76], 76));
}

async fn the_two_streams_have_positions_of_their_own(medium: Medium) {
    let mut log = medium.open().await;
    for number in 1..=3 {
        log.stamp(alerts(number)).await;
        assert_eq!(log.stamp(command(number)).await.position, Position(number));
    }
    let commands = follow(&mut *log.commands, 3).await;
    assert_eq!(commands.iter().map(|record| record.carry).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    assert_eq!(log.next(3).await.len(), 3);
    assert!(log.main.try_recv().is_none() && log.commands.try_recv().is_none());
}

async fn a_closed_log_takes_nothing_and_ends_its_tails(medium: Medium) {
    let mut log = medium.open().await;
    log.stamp(alerts(1)).await;
    log.next(1).await;
    log.append.close().await;
    assert_eq!(*log.append.state().borrow(), LogState::Closed);
    assert!(log.main.recv_many(9).await.is_empty() && log.commands.recv_many(9).await.is_empty());
    assert!(matches!(log.append.append(alerts(9)).await, Err(AppendError::Closed)));
}

async fn what_is_not_there_is_not_read(medium: Medium) {
    let log = medium.open().await;
    assert!(log.read.read(Stream::Main, Position(1), 9).await.expect("readable").is_empty());
    assert!(log.read.read_one(Stream::Commands, Position(1)).await.expect("readable").is_none());
    log.stamp(alerts(1)).await;
    assert!(log.read.read_one(Stream::Main, Position(2)).await.expect("readable").is_none());
    assert!(log.read.read(Stream::Main, Position(1), 0).await.expect("readable").is_empty());
    for from in [0, 1] {
        let read = log.read.read(Stream::Main, Position(from), 9).await.expect("readable");
        assert_eq!(read.iter().map(number).collect::<Vec<_>>(), [1], "from {from}");
    }
}

async fn large_bodies_come_back_whole(medium: Medium) {
    let mut log = medium.open().await;
    let large: Vec<u8> = (0..2_000).flat_map(body).collect();
    assert!(large.len() > 4_000_000);
    log.stamp(draft(Stream::Main, ALERTS, large.clone(), None)).await;
    log.stamp(alerts(1)).await;
    assert!(log.next(1).await[0].body == large, "handed over");
    assert_eq!(number(&log.next(1).await[0]), 1);
    let read = log.read.read(Stream::Main, Position(1), 2).await.expect("readable");
    assert!(read[0].body == large, "read again");
}
