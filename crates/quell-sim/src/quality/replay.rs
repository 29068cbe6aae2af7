//! An engine that is fed a recorded stream: every body through the real decoder, every deadline at its time.
//!
//! Deliberately absent: the truth; whoever compares asks for what was decided.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use quell_cmdb::Graph;
use quell_domain::{
    Activation, Alert, AlertId, ArtefactKind, CiId, Digest, Fingerprint, Incident, Input, Moment, Position, Shard,
    Source, Timestamp,
};
use quell_engine::{AlertChange, Artefact, Effects, Engine, Learned, Part, Settings, learn};
use serde_json::json;

/// The digest under which the topology is activated; any will do, nothing is stored.
const TOPOLOGY: Digest = Digest([7; 32]);

/// The same for learned state.
const LEARNED: Digest = Digest([8; 32]);

/// The settings as shipped.
///
/// # Panics
/// Never: `quell check` holds the shipped files together.
#[must_use]
pub fn shipped() -> Settings {
    let files = quell_formats::settings::shipped();
    quell_formats::settings::compile(&files).expect("the shipped files hold together").settings
}

/// A change of the settings that leaves out a part of the decision.
type Switch = (&'static str, fn(&mut Settings));

/// What can be left out by settings; the engine's own [`Part`]s can be, too.
const SWITCHES: [Switch; 2] = [
    ("the graph", |settings| settings.correlation.max_hops = 0),
    ("changes", |settings| settings.limits.recent_changes = 0),
];

/// The engine as it ships, or without one part.
#[derive(Clone, Debug)]
pub struct Variant {
    settings: Arc<Settings>,
    without: Option<Part>,
}

impl Variant {
    /// As it ships.
    #[must_use]
    pub fn shipped() -> Variant {
        Variant { settings: Arc::new(shipped()), without: None }
    }

    /// Without each part in turn, by that part's name.
    pub fn without_each(&self) -> impl Iterator<Item = (&'static str, Variant)> {
        let by_settings = SWITCHES.iter().map(|(part, switch)| {
            let mut settings = Settings::clone(&self.settings);
            switch(&mut settings);
            (*part, Variant { settings: Arc::new(settings), ..self.clone() })
        });
        by_settings.chain(Part::ALL.into_iter().map(|part| (part.words(), self.without(part))))
    }

    /// Without this part.
    #[must_use]
    pub fn without(&self, part: Part) -> Variant {
        Variant { without: Some(part), ..self.clone() }
    }
}

/// What became of one alert episode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Episode {
    /// The incident it was put into on arrival.
    pub at_arrival: Option<u64>,
    /// The incident it is in now.
    pub now: Option<u64>,
}

/// The engine with what it has said so far.
pub struct Replay {
    engine: Engine,
    position: Position,
    now: Timestamp,
    latest: HashMap<Fingerprint, AlertId>,
    episodes: BTreeMap<AlertId, Episode>,
    incidents: BTreeMap<u64, Incident>,
    graph: Arc<Graph>,
    max_hops: u32,
    /// Every episode's row, as a store keeps it.
    rows: BTreeMap<AlertId, Alert>,
    /// How many episodes were learned from, and when.
    learned: (u64, Timestamp),
}

impl Replay {
    /// An engine that has seen nothing but its topology.
    #[must_use]
    pub fn new(Variant { settings, without }: &Variant, graph: &Arc<Graph>, start: Timestamp) -> Replay {
        let mut engine = Engine::new(Shard::FIRST, Arc::clone(settings));
        without.iter().for_each(|&part| engine.leave_out(part));
        engine.shelve(TOPOLOGY, Artefact::Topology(Arc::clone(graph)));
        let mut replay = Replay {
            engine,
            position: Position::START,
            now: start,
            latest: HashMap::new(),
            episodes: BTreeMap::new(),
            incidents: BTreeMap::new(),
            graph: Arc::clone(graph),
            max_hops: settings.correlation.max_hops,
            rows: BTreeMap::new(),
            learned: (0, start),
        };
        replay.apply(start, &Input::Activate(Activation { kind: ArtefactKind::Topology, digest: TOPOLOGY }));
        replay
    }

    /// The time of the last thing applied.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Posts a body at a time not before the last one; the episodes that its items belong to, in their order, `None`
    /// for an item that belongs to none.
    pub fn post(&mut self, at: Timestamp, source: Source, body: &[u8]) -> Vec<Option<AlertId>> {
        self.pass(at);
        let batch = crate::storm::decode(source, body);
        let fingerprints: Vec<Fingerprint> = batch.items().iter().map(|item| item.fingerprint).collect();
        self.apply(at, &Input::Alerts(batch));
        fingerprints.iter().map(|fingerprint| self.latest.get(fingerprint).copied()).collect()
    }

    /// Posts a change event at a time not before the last one. Nothing is learned meanwhile, so that a stream with and
    /// one without changes can be compared.
    pub fn change(&mut self, at: Timestamp, body: &[u8]) {
        self.deadlines(at, false);
        self.apply(at, &Input::Changes(quell_formats::pagerduty::change::decode(body)));
    }

    /// Lets time pass up to `until`; whatever is due on the way happens at its own time.
    pub fn pass(&mut self, until: Timestamp) {
        self.deadlines(until, true);
        self.between(until);
        self.now = self.now.max(until);
    }

    fn deadlines(&mut self, until: Timestamp, learns: bool) {
        while let Some((at, _)) = self.engine.next_deadline().filter(|(at, _)| *at <= until) {
            let at = at.max(self.now);
            if learns {
                self.between(at);
            }
            self.apply(at, &Input::Tick);
        }
    }

    /// What a running quell does beside the stream: it learns from what was seen before `now`.
    fn between(&mut self, now: Timestamp) {
        let (known, at) = self.learned;
        let total = self.rows.len() as u64;
        if !learn::due(known, total, now.since(at)) {
            return;
        }
        let latest: Vec<Alert> = self.rows.values().rev().take(learn::EPISODES).cloned().collect();
        let learned = Learned::of(&self.graph, self.max_hops, &latest);
        self.learned = (total, now);
        self.engine.shelve(LEARNED, Artefact::Learned(Arc::new(learned)));
        self.apply(now, &Input::Activate(Activation { kind: ArtefactKind::Learned, digest: LEARNED }));
    }

    fn apply(&mut self, at: Timestamp, input: &Input) {
        self.position = self.position.next();
        self.now = self.now.max(at);
        let effects = self.engine.on_input(Moment { position: self.position, received_at: at }, input);
        self.keep(effects);
    }

    fn keep(&mut self, effects: Effects) {
        for change in effects.alerts {
            let (AlertChange::Open(row) | AlertChange::Put(row)) = change else { continue };
            let incident = row.incident.map(|id| id.number);
            let fresh = Episode { at_arrival: incident, now: incident };
            self.episodes.entry(row.id).or_insert(fresh).now = incident;
            let kept = self.rows.remove(&row.id).and_then(|row| row.binding);
            self.rows.insert(row.id, Alert { binding: row.binding.clone().or(kept), ..(*row).clone() });
            let latest = self.latest.entry(row.fingerprint).or_insert(row.id);
            *latest = row.id.max(*latest);
        }
        for row in effects.incidents {
            self.incidents.insert(row.id.number, row);
        }
    }

    /// What became of an episode.
    #[must_use]
    pub fn episode(&self, id: AlertId) -> Option<Episode> {
        self.episodes.get(&id).copied()
    }

    /// The probable causes of an incident, best first, with their scores.
    #[must_use]
    pub fn ranking(&self, incident: u64) -> Vec<(CiId, f64)> {
        let row = self.incidents.get(&incident);
        row.map(|row| row.causes.iter().map(|cause| (cause.ci.clone(), cause.score)).collect()).unwrap_or_default()
    }

    /// Every incident's last version, by number.
    #[must_use]
    pub fn incidents(&self) -> &BTreeMap<u64, Incident> {
        &self.incidents
    }
}

/// One API v2 alert as a body; labels that are empty are left out.
#[must_use]
pub fn body(labels: &[(&str, &str)], annotations: &[(&str, &str)], starts_at: Timestamp, valid: Duration) -> Vec<u8> {
    let object = |pairs: &[(&str, &str)]| -> serde_json::Map<String, serde_json::Value> {
        pairs.iter().filter(|(_, value)| !value.is_empty()).map(|&(name, value)| (name.into(), value.into())).collect()
    };
    json!([{
        "labels": object(labels),
        "annotations": object(annotations),
        "startsAt": starts_at.to_string(),
        "endsAt": (starts_at + valid).to_string(),
    }])
    .to_string()
    .into_bytes()
}
