//! `quell replay`: the same engine over recorded traffic, with the recorded times as its clock.
//!
//! Absent on purpose: the log, the store and HTTP; effects go to a ledger in memory. Two runs give the same bytes.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use quell_domain::{Activation, ArtefactKind, Input, Moment, Position, RecordKind, Shard, Source, Timestamp};
use quell_engine::{Artefact, Disposed, Engine, Ledger, Settings};
use quell_formats::{record, topology, views};

use crate::traffic::Traffic;

/// What a replay came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Replayed {
    /// Lines read.
    pub records: u64,
    /// What became of the items in them.
    pub disposed: Disposed,
    /// Incidents opened.
    pub incidents: u64,
}

/// An engine over a ledger.
#[derive(Debug)]
pub struct Replay {
    engine: Engine,
    ledger: Ledger,
    position: Position,
    now: Option<Timestamp>,
}

impl Replay {
    /// Starts with settings and a topology in force.
    #[must_use]
    pub fn new(settings: Arc<Settings>, topology: quell_domain::Topology) -> Self {
        Replay::of(Shard::FIRST, settings, topology)
    }

    /// The same for one of several shards.
    #[must_use]
    pub fn of(shard: Shard, settings: Arc<Settings>, topology: quell_domain::Topology) -> Self {
        let mut engine = Engine::new(shard, settings);
        let digest = topology::digest(&topology::encode(&topology));
        let artefact: Artefact = Engine::topology_artefact(topology);
        engine.shelve(digest, artefact);
        let activation = Activation { kind: ArtefactKind::Topology, digest };
        let moment = Moment { position: Position::START, received_at: Timestamp::MIN };
        let effects = engine.on_input(moment, &Input::Activate(activation));
        let mut ledger = Ledger::default();
        ledger.apply(effects);
        Replay { engine, ledger, position: Position::START, now: None }
    }

    /// Puts an artefact in force.
    pub fn activate(&mut self, received_at: Timestamp, activation: Activation, artefact: Artefact) {
        self.engine.shelve(activation.digest, artefact);
        self.input(received_at, &Input::Activate(activation));
    }

    /// Plays one body. A time before the one of the body before it counts as that one.
    pub fn play(&mut self, received_at: Timestamp, source: Source, payload: &[u8]) {
        let input = record::decode(RecordKind::Alerts(source), payload);
        self.input(received_at, &input.expect("what was posted is always read: what is wrong is among its rejects"));
    }

    /// Plays one input.
    pub fn input(&mut self, received_at: Timestamp, input: &Input) {
        self.position = self.position.next();
        let now = self.now.map_or(received_at, |now| now.max(received_at));
        self.now = Some(now);
        // Deadlines fire one by one at their own times, as they would with a clock that ticks.
        while let Some((at, _)) = self.engine.next_deadline().filter(|(at, _)| *at < now) {
            let tick = Moment { position: self.position, received_at: at };
            let effects = self.engine.on_tick(tick);
            self.ledger.apply(effects);
        }
        let effects = self.engine.on_input(Moment { position: self.position, received_at: now }, input);
        self.ledger.apply(effects);
    }

    /// What is remembered at the end.
    #[must_use]
    pub fn finish(mut self) -> Ledger {
        self.ledger.flush(self.engine.take_folds());
        self.ledger
    }
}

/// Replays recorded traffic and writes the incidents, one a line, in the order they were opened.
///
/// # Errors
/// When a file cannot be read, understood or written.
pub async fn run(settings: Arc<Settings>, traffic: &Traffic, output: &Path) -> anyhow::Result<Replayed> {
    let (replay, records) = traffic.play(settings).await?;
    let ledger = replay.finish();
    write(&ledger, output).with_context(|| format!("cannot write {}", output.display()))?;
    Ok(Replayed { records, disposed: ledger.disposed, incidents: ledger.incidents.len() as u64 })
}

/// Reads a topology file.
///
/// # Errors
/// All of its mistakes.
pub fn read_topology(path: &Path) -> anyhow::Result<quell_domain::Topology> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    topology::decode(&bytes).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}:\n{}", path.display(), lines.join("\n"))
    })
}

fn write(ledger: &Ledger, output: &Path) -> anyhow::Result<()> {
    let mut out = BufWriter::new(std::fs::File::create(output)?);
    let members = ledger.members();
    for (id, incident) in &ledger.incidents {
        let alerts = members.get(id).map_or(&[][..], Vec::as_slice);
        let timeline = ledger.timelines.get(id).map_or(&[][..], Vec::as_slice);
        serde_json::to_writer(&mut out, &views::incident_json(incident, alerts, timeline))?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}
