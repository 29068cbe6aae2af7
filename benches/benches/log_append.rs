//! How fast requests become durable on the real disk: bodies of 100 alerts from 1, 8 and 64 concurrent appenders.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quell_domain::{RecordKind, Source, Timestamp};
use quell_log::embedded::{Appender, EmbeddedLog, Opened, Options};
use quell_log::{Clock, Draft, Stream};
use tokio::runtime::Runtime;

struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// Appends `total` bodies, the appenders taking turns; returns how long that took.
async fn append(appender: &Appender<()>, appenders: u64, total: u64, body: &Bytes) -> Duration {
    let begun = Instant::now();
    let tasks: Vec<_> = (0..appenders)
        .map(|number| {
            let (appender, body) = (appender.clone(), body.clone());
            let share = total / appenders + u64::from(number < total % appenders);
            tokio::spawn(async move {
                for _ in 0..share {
                    let kind = RecordKind::Alerts(Source::AlertmanagerApi);
                    let draft = Draft {
                        stream: Stream::Main,
                        kind,
                        body: body.clone(),
                        carry: Some(()),
                        context: Bytes::new(),
                    };
                    appender.append(draft).await.expect("the disk has room");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("appenders do not panic");
    }
    begun.elapsed()
}

fn log_append(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("log-append-{}", std::process::id()));
    let opened = EmbeddedLog::open(&folder, Options::default(), Arc::new(Wall), |_, _| Vec::new());
    let Opened { appender, mut main, .. } = runtime.block_on(opened).expect("a log in an empty folder");
    runtime.spawn(async move { while main.recv().await.is_some() {} });
    let bodies = quell_benches::bodies(0, 100, 100, Timestamp::from_seconds(1_800_000_000));
    let body = Bytes::from(bodies.into_iter().next().unwrap_or_default());
    let mut group = criterion.benchmark_group("log_append");
    group.throughput(Throughput::Elements(100));
    for appenders in [1, 8, 64] {
        group.bench_function(BenchmarkId::new("alerts_by_appenders", appenders), |bencher| {
            bencher.iter_custom(|total| runtime.block_on(append(&appender, appenders, total, &body)));
        });
    }
    group.finish();
    runtime.block_on(appender.close());
    std::fs::remove_dir_all(&folder).expect("the folder is this run's own");
}

criterion_group!(benches, log_append);
criterion_main!(benches);
