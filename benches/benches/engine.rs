//! The engine's step on one core: new alerts, plain repeats, and the demo's storm over its estate.
//!
//! Bodies are decoded before; what is measured is decision and the making of rows, without store and log.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use quell_cmdb::Graph;
use quell_domain::{Activation, ArtefactKind, Digest, Input, Moment, Position, Shard, Timestamp, Topology};
use quell_engine::{Artefact, Engine, Settings};
use quell_formats::{alertmanager, settings};
use quell_sim::storm::{StormOptions, decode, demo_storm};

const ALERTS: u64 = 20_000;
const START: Timestamp = Timestamp::from_seconds(1_800_000_000);
const TOPOLOGY: Digest = Digest([7; 32]);

/// An engine with the records it was given so far.
struct Desk {
    engine: Engine,
    position: Position,
}

impl Desk {
    fn new(settings: &Arc<Settings>, topology: Option<&Arc<Graph>>) -> Self {
        let mut desk = Desk { engine: Engine::new(Shard::FIRST, settings.clone()), position: Position::START };
        if let Some(graph) = topology {
            desk.engine.shelve(TOPOLOGY, Artefact::Topology(graph.clone()));
            let activate = Activation { kind: ArtefactKind::Topology, digest: TOPOLOGY };
            desk.step(START, &Input::Activate(activate));
        }
        desk
    }

    fn step(&mut self, received_at: Timestamp, input: &Input) {
        self.position = self.position.next();
        black_box(self.engine.on_input(Moment { position: self.position, received_at }, black_box(input)));
    }

    /// All inputs, a millisecond apart.
    fn steps(mut self, inputs: &[Input]) -> Self {
        for (input, millis) in inputs.iter().zip(0..) {
            self.step(START + Duration::from_secs(60) + Duration::from_millis(millis), input);
        }
        self
    }
}

fn engine(criterion: &mut Criterion) {
    let settings = settings::compile(&settings::shipped()).expect("the shipped files hold together").settings;
    let settings = Arc::new(settings);
    let bodies = quell_benches::bodies(0, ALERTS, 100, START);
    let inputs: Vec<Input> =
        bodies.iter().map(|body| Input::Alerts(alertmanager::decode_api(body.as_bytes()))).collect();
    let mut group = criterion.benchmark_group("engine");
    group.sample_size(20);

    group.throughput(Throughput::Elements(ALERTS));
    group.bench_function("new_unbound", |bencher| {
        bencher.iter_batched(|| Desk::new(&settings, None), |desk| desk.steps(&inputs), BatchSize::PerIteration);
    });

    let estate = quell_sim::sample_estate();
    let graph = Arc::new(Graph::new(estate.clone()));
    group.bench_function("new_on_five_services", |bencher| {
        bencher.iter_batched(
            || Desk::new(&settings, Some(&graph)),
            |desk| desk.steps(&inputs),
            BatchSize::PerIteration,
        );
    });

    group.throughput(Throughput::Elements(100));
    let mut desk = Desk::new(&settings, None).steps(&inputs);
    let (mut next, mut at) = (inputs.iter().cycle(), START + Duration::from_secs(120));
    group.bench_function("repeat", |bencher| {
        bencher.iter(|| {
            // Slow enough that the hour after which the alerts end is never reached.
            at = at + Duration::from_micros(10);
            next.next().map(|input| desk.step(at, input))
        });
    });
    assert!(!desk.engine.take_folds().is_empty(), "nothing was folded: these were no repeats");

    storm(&mut group, &settings, &estate, &graph);
    group.finish();
}

fn storm(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    settings: &Arc<Settings>,
    estate: &Topology,
    graph: &Arc<Graph>,
) {
    let storm = demo_storm(estate, StormOptions { seed: 7, start: START, pace: 1.0 });
    let inputs: Vec<(Timestamp, Input)> = storm
        .posts
        .iter()
        .map(|post| {
            let batch = decode(post.source, post.body.as_bytes());
            (START + Duration::from_secs_f64(post.at_seconds), Input::Alerts(batch))
        })
        .collect();
    group.throughput(Throughput::Elements(storm.received() as u64));
    group.bench_function("demo_storm", |bencher| {
        bencher.iter_batched(
            || Desk::new(settings, Some(graph)),
            |mut desk| {
                for (at, input) in &inputs {
                    desk.step(*at, input);
                }
                desk
            },
            BatchSize::PerIteration,
        );
    });
}

criterion_group!(benches, engine);
criterion_main!(benches);
