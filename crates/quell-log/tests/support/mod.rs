//! What the tests of the logs share: clocks, folders and records.
//! Absent on purpose: any log.
#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod broker;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quell_domain::{Position, RecordKind, Source, Timestamp};
use quell_log::{Append, Appended, Clock, Draft, Follow, LogState, Read, Record, Stamp, Stream};

pub(crate) const ALERTS: RecordKind = RecordKind::Alerts(Source::AlertmanagerApi);
pub(crate) const START: i64 = 1_800_000_000;
/// How long anything may take; waited for only when something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A clock that stands still until it is set.
#[derive(Debug)]
pub(crate) struct Script(AtomicI64);

impl Script {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Script(AtomicI64::new(START)))
    }

    pub(crate) fn set(&self, seconds: i64) {
        self.0.store(START + seconds, Ordering::SeqCst);
    }
}

impl Clock for Script {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.0.load(Ordering::SeqCst))
    }
}

/// A directory of its own, removed at the end.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("quell-log-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        Dir(std::env::temp_dir().join(name))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

pub(crate) fn outage(from: Timestamp, to: Timestamp) -> Vec<u8> {
    format!("{from}/{to}").into_bytes()
}

pub(crate) fn draft(stream: Stream, kind: RecordKind, body: impl Into<Vec<u8>>, carry: Option<u64>) -> Draft<u64> {
    Draft { stream, kind, body: Bytes::from(body.into()), carry, context: Bytes::new() }
}

pub(crate) fn command(number: u64) -> Draft<u64> {
    draft(Stream::Commands, RecordKind::Command, "{}", Some(number))
}

pub(crate) fn alerts(number: u64) -> Draft<u64> {
    draft(Stream::Main, ALERTS, body(number), Some(number))
}

/// Bytes that do not compress to nothing, different for each number.
pub(crate) fn body(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = format!("{number}:").into_bytes();
    for _ in 0..250 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

/// The number of alerts made by [`alerts`], whether they come with what they carry or as bytes.
pub(crate) fn number(record: &Record<u64>) -> u64 {
    if let Some(number) = record.carry {
        return number;
    }
    let digits = record.body.iter().take_while(|byte| byte.is_ascii_digit()).copied().collect();
    let number = String::from_utf8(digits).expect("digits").parse().expect("a number");
    assert_eq!(record.body, body(number));
    number
}

/// An open log, on whichever medium.
pub(crate) struct Log {
    pub(crate) append: Arc<dyn Append<u64>>,
    pub(crate) read: Arc<dyn Read<u64>>,
    pub(crate) main: Box<dyn Follow<u64>>,
    pub(crate) commands: Box<dyn Follow<u64>>,
    pub(crate) last: [Position; 2],
}

impl Log {
    pub(crate) async fn stamp(&self, draft: Draft<u64>) -> Stamp {
        match self.append.append(draft).await {
            Ok(Appended::Logged(stamp)) => stamp,
            other => unreachable!("not on the log: {other:?}"),
        }
    }

    /// The next records of the main stream, so many of them.
    pub(crate) async fn next(&mut self, wanted: usize) -> Vec<Record<u64>> {
        follow(&mut *self.main, wanted).await
    }

    /// Everything on a stream, read again.
    pub(crate) async fn all(&self, stream: Stream) -> Vec<Record<u64>> {
        let mut records: Vec<Record<u64>> = Vec::new();
        loop {
            let from = records.last().map_or(Position(1), |record| record.stamp.position.next());
            let more = self.read.read(stream, from, 100).await.expect("readable");
            if more.is_empty() {
                return records;
            }
            records.extend(more);
        }
    }

    /// Waits until the log is in a state.
    pub(crate) async fn wait_for(&self, wanted: LogState) {
        let mut state = self.append.state();
        let seen = tokio::time::timeout(PATIENCE, state.wait_for(|state| *state == wanted)).await;
        assert!(seen.is_ok_and(|seen| seen.is_ok()), "never {wanted:?}");
    }
}

pub(crate) async fn follow(tail: &mut dyn Follow<u64>, wanted: usize) -> Vec<Record<u64>> {
    let mut records = Vec::new();
    while records.len() < wanted {
        let more = tokio::time::timeout(PATIENCE, tail.recv_many(wanted - records.len())).await;
        let more = more.unwrap_or_else(|_| unreachable!("{} of {wanted} records came", records.len()));
        assert!(!more.is_empty(), "the log ended after {} of {wanted} records", records.len());
        records.extend(more);
    }
    records
}
