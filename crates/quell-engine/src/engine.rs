//! The engine itself: one writer, one order. It is told what was received and when, and says what is to be remembered.
//!
//! Absent on purpose: any way to fail, wait, log or look at a clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use quell_cmdb::{Graph, Scratch};
use quell_domain::{
    AlertState, ArtefactKind, Digest, Incident, IncidentState, Input, Moment, Outage, Position, Reason, Shard,
    Timestamp, Topology,
};

use crate::alerts::{Alerts, Entry, Slot};
use crate::changes::Recent;
use crate::deadlines::{DeadlineReason, Deadlines};
use crate::effects::{AlertChange, Checkpoint, Effects, Fold, Snapshot};
use crate::heard::Heard;
use crate::history::History;
use crate::learn::Learned;
use crate::lifecycle::{Given, Live};
use crate::part::Part;
use crate::problems::Known;
use crate::ruled::Marks;
use crate::settings::Settings;
use crate::suspects::Suspects;
use crate::symptoms::Seen;

/// An artefact, read and ready to be put in force.
#[derive(Clone, Debug)]
pub enum Artefact {
    /// CIs and relationships.
    Topology(Arc<Graph>),
    /// Rules and pipelines.
    Rules(Arc<Settings>),
    /// What history teaches.
    Learned(Arc<Learned>),
}

/// The engine of one shard.
#[derive(Debug)]
pub struct Engine {
    pub(crate) shard: Shard,
    pub(crate) settings: Arc<Settings>,
    pub(crate) graph: Arc<Graph>,
    pub(crate) history: History,
    shelf: BTreeMap<Digest, Artefact>,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) position: Position,
    pub(crate) alerts: Alerts,
    pub(crate) incidents: BTreeMap<u64, Live>,
    /// How many of them are open.
    pub(crate) open: u64,
    /// Incidents of unbound alerts, by a hash of the label values they are grouped by.
    pub(crate) unbound: HashMap<u64, BTreeSet<u64>, BuildHasherDefault<DefaultHasher>>,
    pub(crate) suspects: Suspects,
    /// By what alerts of one rule find each other.
    pub(crate) marks: Marks,
    pub(crate) seen: Seen,
    pub(crate) scratch: Scratch,
    pub(crate) deadlines: Deadlines,
    /// What operators said, and what follows from it.
    pub(crate) heard: Heard,
    /// Recent changes.
    pub(crate) changes: Recent,
    /// Problems, and what incidents were taken for.
    pub(crate) problems: Known,
    pub(crate) turn: Turn,
    pub(crate) left_out: Option<Part>,
}

/// What one input touches; rows are made of it when the input is done, each once.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    pub(crate) effects: Effects,
    /// Alerts whose row is to be written, with the reasons given now.
    pub(crate) alerts: Vec<(Slot, Given)>,
    /// Incidents whose row is to be written.
    pub(crate) incidents: Vec<u64>,
    /// What joined each incident: one entry of its timeline for all of it.
    pub(crate) joined: BTreeMap<u64, Joined>,
}

/// Alerts that joined one incident in one turn.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) alerts: u64,
    /// The names of the first few, each once.
    pub(crate) names: Vec<String>,
    /// Why the first one did; the reason of every one stands with the alert.
    pub(crate) why: Reason,
}

impl Engine {
    /// An engine that has seen nothing: `settings` are in force until rules are activated, and there is no topology.
    #[must_use]
    pub fn new(shard: Shard, settings: Arc<Settings>) -> Self {
        Engine {
            shard,
            settings,
            graph: Arc::default(),
            history: History::default(),
            shelf: BTreeMap::new(),
            checkpoint: Checkpoint::default(),
            position: Position::START,
            alerts: Alerts::default(),
            incidents: BTreeMap::new(),
            open: 0,
            unbound: HashMap::default(),
            suspects: Suspects::default(),
            marks: Marks::default(),
            seen: Seen::default(),
            scratch: Scratch::default(),
            deadlines: Deadlines::default(),
            heard: Heard::default(),
            changes: Recent::default(),
            problems: Known::default(),
            turn: Turn::default(),
            left_out: None,
        }
    }

    /// An engine that goes on where another stopped. `artefacts` are those of the snapshot's checkpoint; `applied` is
    /// the last record of the main stream that the snapshot contains.
    #[must_use]
    pub fn restore(
        shard: Shard,
        settings: Arc<Settings>,
        artefacts: impl IntoIterator<Item = Artefact>,
        snapshot: Snapshot,
        applied: Position,
    ) -> Self {
        let mut engine = Engine::new(shard, settings);
        for artefact in artefacts {
            engine.put_in_force(artefact);
        }
        engine.checkpoint = snapshot.checkpoint;
        engine.position = applied;
        for incident in snapshot.incidents {
            engine.open += u64::from(incident.state == IncidentState::Open);
            engine.incidents.insert(incident.id.number, Live::of_row(incident));
        }
        engine.relate_merged();
        engine.heard = Heard::of_rows(snapshot.feedback);
        engine.changes = Recent::of_rows(snapshot.changes, &engine.graph);
        engine.problems = Known::of_rows(snapshot.problems);
        for alert in snapshot.alerts {
            let ci = alert.binding.as_ref().and_then(|binding| engine.graph.find(&binding.ci));
            let slot = engine.alerts.insert(Entry::of_row(alert, ci));
            engine.rejoin(slot);
        }
        engine.recount();
        engine
    }

    /// Has an artefact ready for when the log activates it.
    pub fn shelve(&mut self, digest: Digest, artefact: Artefact) {
        self.shelf.insert(digest, artefact);
    }

    /// Applies one input of the log. Deadlines up to its time fire before it.
    pub fn on_input(&mut self, moment: Moment, input: &Input) -> Effects {
        match input {
            Input::Alerts(batch) => {
                self.advance(moment);
                self.receive(moment, batch);
            }
            Input::Changes(changes) => {
                self.advance(moment);
                self.take_changes(moment, changes);
            }
            Input::Command(command) => self.command(moment, command),
            Input::Problem(command) => self.problem_command(moment, command),
            Input::Tick => self.advance(moment),
            &Input::Outage { from, to } => {
                // What was due before the outage is due; the rest gets the time back before the clock moves on.
                self.advance(Moment { received_at: from.min(moment.received_at), ..moment });
                self.extend(moment, from, to);
                if from < to {
                    self.turn.effects.problems.outages.push(Outage { from, to });
                }
                self.advance(moment);
            }
            Input::Activate(activation) => {
                self.advance(moment);
                self.activate(moment, activation.kind, activation.digest);
            }
        }
        self.finish()
    }

    /// Lets time pass: the same as [`Input::Tick`].
    pub fn on_tick(&mut self, moment: Moment) -> Effects {
        self.on_input(moment, &Input::Tick)
    }

    /// When the engine next wants to be told the time, and why. It may turn out that nothing was due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<(Timestamp, DeadlineReason)> {
        self.deadlines.next().map(|(at, reason, _)| (at, reason))
    }

    /// Applies again what repeats of a record did that was applied before the last stop, for rows that do not contain
    /// it: `position` lies after the last flush and not after the last commit. Changes nothing else.
    pub fn refold(&mut self, moment: Moment, input: &Input) {
        match input {
            Input::Alerts(batch) => self.refold_batch(moment, batch),
            &Input::Outage { from, to } => self.extend(moment, from, to),
            Input::Changes(_) | Input::Command(_) | Input::Problem(_) | Input::Tick | Input::Activate(_) => {}
        }
        // Whatever a repeat had brought about is remembered already.
        self.turn = Turn::default();
    }

    /// Repeats folded since this was last asked: to be committed as a flush.
    pub fn take_folds(&mut self) -> Vec<Fold> {
        self.alerts.take_folds()
    }

    /// How many alerts may have repeats that were never taken as folds.
    #[must_use]
    pub fn unflushed(&self) -> usize {
        self.alerts.dirty()
    }

    /// What a commit must carry beside effects.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        self.checkpoint
    }

    /// The last record of the main stream that was applied.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The graph in force.
    #[must_use]
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Alerts that fire, and incidents that are open.
    #[must_use]
    pub fn in_hand(&self) -> (u64, u64) {
        (self.alerts.firing(), self.open)
    }

    /// The whole state as rows without reasons, by id: what two engines that decide alike must agree on.
    #[must_use]
    pub fn dump(&self) -> Snapshot {
        let mut alerts: Vec<_> = self.alerts.slots().map(|slot| self.alert_row(slot)).collect();
        alerts.sort_by_key(|alert| alert.id);
        let incidents: Vec<Incident> = self.incidents.values().map(|live| live.row.clone()).collect();
        let (feedback, changes, problems) = (self.heard.rows(), self.changes.rows(), self.problems.rows());
        Snapshot { checkpoint: self.checkpoint, alerts, incidents, feedback, changes, problems }
    }

    pub(crate) fn alert_row(&self, slot: Slot) -> quell_domain::Alert {
        let entry = self.alerts.get(slot);
        let mut row = entry.row(self.shard.number);
        row.binding = entry.ci.map(|ix| quell_domain::Binding {
            ci: self.graph.ci(ix).id.clone(),
            confidence: 0.0,
            reason: quell_domain::Reason::new("kept", ""),
        });
        row
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.checkpoint.now.unwrap_or_default()
    }

    /// Moves the clock on and fires what is due. Commands never do this: they overtake alerts that still wait.
    fn advance(&mut self, moment: Moment) {
        self.position = self.position.max(moment.position);
        let now = self.checkpoint.now.map_or(moment.received_at, |now| now.max(moment.received_at));
        self.checkpoint.now = Some(now);
        while let Some((at, reason, subject)) = self.deadlines.pop_due(now) {
            match reason {
                DeadlineReason::AlertExpires => self.expire(moment, at, subject),
                DeadlineReason::StaleForgotten => self.forget_stale(subject),
                DeadlineReason::IncidentReview => self.review_due(at, subject),
                DeadlineReason::IncidentLetGo => self.let_go_due(at, subject),
                DeadlineReason::UnplacedLetGo => self.let_go_of_unplaced(at, subject),
            }
        }
    }

    /// Gives back the time in which nothing could be received to every alert that ends for want of a repeat.
    fn extend(&mut self, moment: Moment, from: Timestamp, to: Timestamp) {
        let lost = to.since(from);
        for slot in self.alerts.slots().collect::<Vec<_>>() {
            let entry = self.alerts.get_mut(slot);
            let expires = entry.state == AlertState::Firing && entry.ending == quell_domain::Ending::Expires;
            let due = entry.ends_at.filter(|&ends_at| ends_at >= from);
            if let (true, Some(due), true) = (expires, due, entry.folded_through < moment.position) {
                entry.ends_at = Some(due + lost);
                entry.folded_through = moment.position;
                self.alerts.mark(slot);
            }
        }
    }

    fn activate(&mut self, moment: Moment, kind: ArtefactKind, digest: Digest) {
        let Some(artefact) = self.shelf.remove(&digest) else { return };
        match kind {
            ArtefactKind::Topology => self.checkpoint.topology = Some(digest),
            ArtefactKind::Rules => self.checkpoint.rules = Some(digest),
            ArtefactKind::Learned => self.checkpoint.learned = Some(digest),
        }
        self.put_in_force(artefact);
        // Either of the others decides what alerts are bound to and how they are looked up.
        if kind == ArtefactKind::Learned {
            self.suspects.wake(&self.graph, self.settings.correlation.max_hops);
        } else {
            self.rebind();
            self.rebind_changes();
            self.find_twins_again();
            self.reseat(moment);
        }
    }

    fn put_in_force(&mut self, artefact: Artefact) {
        match artefact {
            Artefact::Topology(graph) => {
                self.graph = graph;
                self.history = History::new(Arc::clone(self.history.learned()), &self.graph);
            }
            Artefact::Rules(settings) => self.settings = settings,
            Artefact::Learned(learned) => self.history = History::new(self.counted(learned), &self.graph),
        }
    }

    fn finish(&mut self) -> Effects {
        self.write_rows(self.position);
        self.note_joined();
        self.problems.forget(&self.turn.effects.forgotten);
        std::mem::take(&mut self.turn).effects
    }

    /// Makes rows of what the input touched so far; they contain the items of all records up to `through`. Called at the
    /// end, and before anything touched is let go of, which happens before the record's own items are looked at.
    pub(crate) fn write_rows(&mut self, through: Position) {
        self.recognise_touched();
        if self.turn.alerts.is_empty() && self.turn.incidents.is_empty() {
            return;
        }
        let mut last: BTreeMap<u64, (Slot, Given)> = BTreeMap::new();
        for (slot, given) in std::mem::take(&mut self.turn.alerts) {
            let id = self.alerts.get(slot).id.0;
            last.entry(id).and_modify(|(_, kept)| kept.absorb(given.clone())).or_insert((slot, given));
        }
        for (slot, given) in last.into_values() {
            let entry = self.alerts.get_mut(slot);
            entry.folded_through = entry.folded_through.max(through);
            entry.dirty = false;
            entry.said = false;
            let row = Box::new(given.row(entry, self.shard.number));
            let opened = !std::mem::replace(&mut entry.written, true);
            self.turn.effects.alerts.push(if opened { AlertChange::Open(row) } else { AlertChange::Put(row) });
        }
        let mut touched = std::mem::take(&mut self.turn.incidents);
        touched.sort_unstable();
        touched.dedup();
        for number in touched {
            if let Some(live) = self.incidents.get(&number) {
                self.turn.effects.incidents.push(live.row.clone());
            }
        }
    }

    /// A topology as the engine takes it.
    #[must_use]
    pub fn topology_artefact(topology: Topology) -> Artefact {
        Artefact::Topology(Arc::new(Graph::new(topology)))
    }
}
