//! What the embedded log adds to the promises of every log (`contract.rs`): outages, full disks, crashes, locks.

mod support;

use std::collections::HashSet;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quell_domain::{Position, RecordKind, Timestamp};
use quell_log::{
    AppendError, Appender, Clock, Draft, EmbeddedLog, LogState, OpenError, Opened, Options, Record, Retention, Stamp,
    Stream,
};
use support::{ALERTS, Dir, START, Script, alerts, body, command, outage};

async fn open(dir: &Path, options: Options, clock: &Arc<Script>) -> Opened<u64> {
    EmbeddedLog::open(dir, options, Arc::clone(clock) as Arc<dyn Clock>, outage).await.expect("the log opens")
}

async fn append(appender: &Appender<u64>, draft: Draft<u64>) -> Stamp {
    appender.append(draft).await.expect("appended")
}

/// Everything on a stream, read again.
async fn all(log: &Opened<u64>, stream: Stream) -> Vec<Record<u64>> {
    let mut records: Vec<Record<u64>> = Vec::new();
    loop {
        let from = records.last().map_or(Position(1), |record| record.stamp.position.next());
        let more = log.reader.read(stream, from, 100).await.expect("readable");
        if more.is_empty() {
            return records;
        }
        records.extend(more);
    }
}

#[tokio::test]
async fn time_never_goes_back_and_a_gap_becomes_an_outage() {
    let (dir, clock) = (Dir::new(), Script::new());
    let mut log = open(&dir.0, Options::default(), &clock).await;
    let first = append(&log.appender, alerts(1)).await;
    clock.set(-3_600);
    let second = append(&log.appender, alerts(2)).await;
    assert_eq!(first.received_at, second.received_at);
    clock.set(10);
    append(&log.appender, alerts(3)).await;
    clock.set(40);
    let after = append(&log.appender, alerts(4)).await;
    assert_eq!(after.position, Position(5), "an outage was put before it");
    let records = log.main.recv_many(10).await;
    let kinds: Vec<_> = records.iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [ALERTS, ALERTS, ALERTS, RecordKind::Outage, ALERTS]);
    assert_eq!(records[3].body, outage(Timestamp::from_seconds(START + 10), Timestamp::from_seconds(START + 40)));
    assert!(records.is_sorted_by_key(|record| record.stamp.received_at));
    // Without any append, too: the writer looks around by itself.
    clock.set(100);
    let alone = log.main.recv().await.expect("an outage");
    assert_eq!((alone.kind, alone.stamp.received_at), (RecordKind::Outage, Timestamp::from_seconds(START + 100)));
}

#[tokio::test]
async fn time_in_which_alerts_were_refused_for_want_of_room_is_an_outage() {
    let (dir, clock) = (Dir::new(), Script::new());
    let options = Options { waiting_records: 1, ..Options::default() };
    let mut log = open(&dir.0, options, &clock).await;
    append(&log.appender, alerts(1)).await;
    log.appender.append(alerts(2)).await.expect_err("there is room for one");
    // The log itself is alive all the time.
    for second in [10, 20, 30, 40] {
        clock.set(second);
        append(&log.appender, command(1)).await;
    }
    assert_eq!(log.main.recv().await.expect("a record").kind, ALERTS);
    clock.set(45);
    append(&log.appender, alerts(3)).await;
    let refused = log.main.recv().await.expect("an outage");
    assert_eq!(refused.kind, RecordKind::Outage);
    assert_eq!(refused.body, outage(Timestamp::from_seconds(START), Timestamp::from_seconds(START + 45)));
    assert_eq!(log.main.recv().await.expect("a record").kind, ALERTS);
}

#[tokio::test]
async fn a_second_process_is_told_clearly() {
    let (dir, clock) = (Dir::new(), Script::new());
    let log = open(&dir.0, Options::default(), &clock).await;
    let second = EmbeddedLog::open::<u64>(&dir.0, Options::default(), clock.clone(), outage).await;
    let error = second.expect_err("in use");
    assert!(matches!(error, OpenError::InUse { .. }) && error.to_string().contains("in use by another"), "{error}");
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&dir.0), 0o700);
    append(&log.appender, alerts(1)).await;
    for name in ["lock", "log.db", "log.db-wal", "log.db-shm"] {
        assert_eq!(mode(&dir.0.join(name)), 0o600, "{name}");
    }
    log.appender.close().await;
    open(&dir.0, Options::default(), &clock).await;
}

/// Appends until the log is full; returns the numbers that were acknowledged.
async fn fill(log: &mut Opened<u64>, from: u64) -> Vec<u64> {
    let mut acked = Vec::new();
    for number in from..from + 100_000 {
        match log.appender.append(alerts(number)).await {
            Ok(_) => acked.push(number),
            Err(AppendError::DiskFull) => return acked,
            Err(error) => unreachable!("{error}"),
        }
        while log.main.try_recv().is_some() {}
    }
    unreachable!("it is never full");
}

/// The numbers of all alerts on the log.
async fn numbers(log: &Opened<u64>) -> Vec<u64> {
    let records = all(log, Stream::Main).await;
    let number = |record: &Record<u64>| {
        let digits = record.body.iter().take_while(|byte| byte.is_ascii_digit()).copied().collect();
        let number = String::from_utf8(digits).expect("digits").parse().expect("a number");
        assert_eq!(record.body, body(number));
        number
    };
    records.iter().filter(|record| record.kind == ALERTS).map(number).collect()
}

async fn wait_for(appender: &Appender<u64>, wanted: LogState) {
    let mut state = appender.state();
    let seen = tokio::time::timeout(Duration::from_secs(20), state.wait_for(|state| *state == wanted)).await;
    assert!(seen.is_ok_and(|seen| seen.is_ok()), "never {wanted:?}");
}

#[tokio::test]
async fn a_full_log_refuses_and_opens_again_by_itself() {
    let (dir, clock) = (Dir::new(), Script::new());
    let options = Options { max_pages: Some(300), ..Options::default() };
    let mut log = open(&dir.0, options.clone(), &clock).await;
    let mut acked = fill(&mut log, 1).await;
    assert!(acked.len() > 100, "{}", acked.len());
    wait_for(&log.appender, LogState::Full).await;
    clock.set(7);
    let half = Position(acked.len() as u64 / 2);
    let retention = Retention { needed: [half, Position::START], before: Some(Timestamp::MAX), max_bytes: None };
    let dropped = log.appender.trim(retention).await.expect("trims when full");
    assert_eq!(dropped, half.0 - 1);
    wait_for(&log.appender, LogState::Open).await;
    let back = log.main.recv().await.expect("the outage");
    assert_eq!((back.kind, back.stamp.position), (RecordKind::Outage, Position(acked.len() as u64 + 1)));
    assert_eq!(back.body, outage(Timestamp::from_seconds(START), Timestamp::from_seconds(START + 7)));
    let kept = acked.split_off(half.0 as usize - 1);
    assert_eq!(numbers(&log).await, kept, "nothing refused, nothing acknowledged is missing");
    append(&log.appender, alerts(700_000)).await;
    log.appender.close().await;
    let log = open(&dir.0, options, &clock).await;
    assert_eq!(numbers(&log).await, [kept, vec![700_000]].concat());
}

#[tokio::test]
async fn a_failed_write_shuts_the_log_for_good() {
    let (dir, clock) = (Dir::new(), Script::new());
    let mut log = open(&dir.0, Options::default(), &clock).await;
    append(&log.appender, alerts(1)).await;
    let path = format!("sqlite://{}", dir.0.join("log.db").display());
    let mut other = <sqlx::SqliteConnection as sqlx::Connection>::connect(&path).await.expect("opens");
    sqlx::query("ALTER TABLE records RENAME TO away").execute(&mut other).await.expect("taken away");
    let refused = log.appender.append(alerts(2)).await;
    assert!(matches!(refused, Err(AppendError::Failed(_))), "{refused:?}");
    tokio::time::timeout(Duration::from_secs(20), log.appender.failed()).await.expect("it says so");
    sqlx::query("ALTER TABLE away RENAME TO records").execute(&mut other).await.expect("put back");
    let refused = log.appender.append(alerts(3)).await;
    assert!(matches!(refused, Err(AppendError::Failed(_))), "for ever after: {refused:?}");
    assert_eq!(numbers(&log).await, [1]);
    log.main.recv().await.expect("the acknowledged one");
    assert_eq!((log.main.waiting(), log.appender.waiting()), (0, 0), "refused ones hold no room");
}

#[tokio::test]
async fn trimming_keeps_what_is_needed_and_the_newest() {
    let (dir, clock) = (Dir::new(), Script::new());
    let log = open(&dir.0, Options::default(), &clock).await;
    for number in 1..=10 {
        clock.set(i64::try_from(number).expect("small"));
        append(&log.appender, alerts(number)).await;
    }
    let everything = [Position(u64::MAX); 2];
    let old = Retention { needed: everything, before: Some(Timestamp::from_seconds(START + 4)), max_bytes: None };
    assert_eq!(log.appender.trim(old).await.expect("trimmed"), 3);
    let needed = Retention { needed: [Position(6), Position(1)], before: None, max_bytes: Some(0) };
    assert_eq!(log.appender.trim(needed).await.expect("trimmed"), 2);
    let all_of_it = Retention { needed: everything, before: None, max_bytes: Some(0) };
    assert_eq!(log.appender.trim(all_of_it).await.expect("trimmed"), 4);
    assert_eq!(numbers(&log).await, [10]);
    assert_eq!(append(&log.appender, alerts(11)).await.position, Position(11));
}

/// Copies the files of a running log as a crash would leave them.
fn crash(dir: &Path) -> Dir {
    let image = Dir::new();
    std::fs::create_dir(&image.0).expect("created");
    for name in ["log.db", "log.db-wal"] {
        std::fs::copy(dir.join(name), image.0.join(name)).expect("copied");
    }
    image
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_end_never_hides_or_alters_what_comes_before() {
    let (dir, clock) = (Dir::new(), Script::new());
    let log = open(&dir.0, Options::default(), &clock).await;
    for number in 1..=40 {
        append(&log.appender, alerts(number)).await;
    }
    let whole = crash(&dir.0);
    let length = std::fs::metadata(whole.0.join("log.db-wal")).expect("there").len();
    let mut seen = HashSet::new();
    for at in 0..24 {
        for flip in [false, true] {
            let image = crash(&dir.0);
            let wal =
                std::fs::OpenOptions::new().write(true).read(true).open(image.0.join("log.db-wal")).expect("there");
            let place = length * at / 24 + 37;
            if flip {
                let mut byte = [0];
                wal.read_exact_at(&mut byte, place).expect("readable");
                wal.write_all_at(&[byte[0] ^ 0x55], place).expect("writable");
            } else {
                wal.set_len(place).expect("cut");
            }
            let opened = EmbeddedLog::open::<u64>(&image.0, Options::default(), clock.clone(), outage).await;
            let Ok(log) = opened else { continue };
            let found = numbers(&log).await;
            assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>(), "a prefix");
            seen.insert(found.len());
            log.appender.close().await;
        }
    }
    assert!(seen.len() > 10, "damage at different places leaves different prefixes: {seen:?}");
    let log = open(&whole.0, Options::default(), &clock).await;
    assert_eq!(numbers(&log).await.len(), 40, "an undamaged image has all that was acknowledged");
}

#[tokio::test]
async fn a_damaged_record_is_named_not_returned() {
    let (dir, clock) = (Dir::new(), Script::new());
    let log = open(&dir.0, Options::default(), &clock).await;
    for number in 1..=20 {
        append(&log.appender, alerts(number)).await;
    }
    log.appender.close().await;
    log.reader.close().await;
    let file = dir.0.join("log.db");
    let bytes = std::fs::read(&file).expect("readable");
    let wanted = &body(7)[200..300];
    let place = bytes.windows(wanted.len()).position(|window| window == wanted).expect("stored as it is");
    let handle = std::fs::OpenOptions::new().write(true).open(&file).expect("there");
    handle.write_all_at(b"!", place as u64).expect("writable");
    let log = open(&dir.0, Options::default(), &clock).await;
    let good = log.reader.read::<u64>(Stream::Main, Position(1), 100).await.expect("the good ones first");
    assert_eq!(good.len(), 6);
    let error = log.reader.read::<u64>(Stream::Main, Position(7), 100).await.expect_err("damaged");
    assert!(error.to_string().contains("record at 7 of Main is damaged"), "{error}");
    assert_eq!(log.reader.read::<u64>(Stream::Main, Position(8), 1).await.expect("good")[0].body, body(8));
}
