//! How fast bodies become batches: `POST /api/v2/alerts` with 100 alerts of about 900 bytes.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quell_domain::Timestamp;
use quell_formats::alertmanager;

fn parser(criterion: &mut Criterion) {
    let bodies = quell_benches::bodies(0, 10_000, 100, Timestamp::from_seconds(1_800_000_000));
    let mut group = criterion.benchmark_group("parser");
    group.throughput(Throughput::Elements(100));
    let mut next = bodies.iter().cycle();
    group.bench_function("api_v2_100_alerts", |bencher| {
        bencher.iter(|| next.next().map(|body| alertmanager::decode_api(black_box(body.as_bytes()))));
    });
    group.finish();
}

criterion_group!(benches, parser);
criterion_main!(benches);
