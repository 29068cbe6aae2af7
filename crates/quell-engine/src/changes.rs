//! Changes: which of them are in hand, and what a recent one says of a CI as the cause of an incident.
//!
//! A change is evidence in so far as it came sooner before the incident than changes of that CI do by chance. Troubles
//! of a CI come by themselves, and after each of its changes at a rate that fades with time (a Hawkes process whose
//! events are excited by changes): so at an onset the CI is likelier at fault by 1 + odds · x, where x is the faded sum
//! of its changes beside the same for changes that come at their usual rate, and is 1 on average. What is deployed all
//! day long comes to about that average, and says nothing. How often a CI is changed is its own count, drawn to the mean
//! of all that are changed.
//!
//! Absent on purpose: how a cause's score is made (`locate`), and a rule for any tool or kind of change.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use quell_cmdb::{CiIx, Graph};
use quell_domain::{Change, ChangeId, Changes, Fingerprint, Moment, Reason, ReceiptId, Timestamp, ToldChange};

use crate::bind::{Bound, bind};
use crate::effects::{ChangeRow, Parked};
use crate::engine::Engine;

/// Changes are in hand for so long: a week, so that what is changed once a week is seen to be.
const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// A CI is taken to be changed once a day until more is known. That counts as much as one change that was seen.
const USUAL: f64 = 86_400.0;

/// Half of the troubles that a change brings show within so many seconds, the rest ever more rarely: within ten times
/// as many it is ten of eleven.
const HALF: f64 = 600.0;

/// How many troubles come of changes for each that comes by itself, where changes are told of. Nobody knows, so as many.
const ODDS: f64 = 1.0;

/// Evidence below this is chance as likely as not: it does not count, and nothing is said.
const LEAST: f64 = 2.0;

/// The latest changes of a CI that are looked at.
const LOOKED: usize = 64;

/// A sender that got no answer says the same again within so long. It tells only changes without a time apart: one
/// with a time says which it is.
const AGAIN: Duration = Duration::from_secs(60);

/// What changes say of a CI as a cause.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Changed {
    /// How many times likelier they make it, at least [`LEAST`].
    pub(crate) times: f64,
    /// The change that says most.
    pub(crate) reason: Reason,
}

/// The recent changes.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    rows: BTreeMap<ChangeId, Change>,
    /// By what was said: the latest.
    known: HashMap<Fingerprint, ChangeId, BuildHasherDefault<DefaultHasher>>,
    /// Of each CI, by when they began.
    by_ci: BTreeMap<CiIx, Vec<(Timestamp, ChangeId)>>,
    /// All that are bound, by when they began.
    bound: BTreeSet<(Timestamp, ChangeId)>,
}

impl Recent {
    pub(crate) fn of_rows(rows: Vec<Change>, graph: &Graph) -> Self {
        let mut recent = Recent::default();
        for row in rows {
            recent.known.insert(row.fingerprint, row.id);
            recent.rows.insert(row.id, row);
        }
        recent.index(graph);
        recent
    }

    pub(crate) fn rows(&self) -> Vec<Change> {
        self.rows.values().cloned().collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    fn index(&mut self, graph: &Graph) {
        self.by_ci.clear();
        self.bound.clear();
        for row in self.rows.values() {
            let Some(ci) = row.binding.as_ref().and_then(|binding| graph.find(&binding.ci)) else { continue };
            self.by_ci.entry(ci).or_default().push((row.starts_at, row.id));
            self.bound.insert((row.starts_at, row.id));
        }
        self.by_ci.values_mut().for_each(|of_ci| of_ci.sort_unstable());
    }

    fn add(&mut self, row: Change, ci: Option<CiIx>) {
        self.known.insert(row.fingerprint, row.id);
        if let Some(ci) = ci {
            let of_ci = self.by_ci.entry(ci).or_default();
            let at = of_ci.partition_point(|&other| other < (row.starts_at, row.id));
            of_ci.insert(at, (row.starts_at, row.id));
            self.bound.insert((row.starts_at, row.id));
        }
        self.rows.insert(row.id, row);
    }

    /// Lets go of the one that was received first.
    fn pop(&mut self, graph: &Graph) -> Option<ChangeId> {
        let (id, row) = self.rows.pop_first()?;
        if self.known.get(&row.fingerprint) == Some(&id) {
            self.known.remove(&row.fingerprint);
        }
        if let Some(ci) = row.binding.and_then(|binding| graph.find(&binding.ci))
            && let Some(of_ci) = self.by_ci.get_mut(&ci)
        {
            of_ci.retain(|&(_, other)| other != id);
            self.bound.remove(&(row.starts_at, id));
            if of_ci.is_empty() {
                self.by_ci.remove(&ci);
            }
        }
        Some(id)
    }

    /// The same change again?
    fn repeats(&self, told: &ToldChange, now: Timestamp) -> bool {
        let known = self.known.get(&told.fingerprint).and_then(|id| self.rows.get(id));
        known.is_some_and(|row| told.starts_at.is_some() || now.since(row.received_at) <= AGAIN)
    }

    /// What the changes of a CI say of it as the cause of an incident that began at `onset`. Later ones say nothing.
    pub(crate) fn evidence(&self, shard: u32, ci: CiIx, onset: Timestamp) -> Option<Changed> {
        let (times, row) = self.weighed(ci, onset)?;
        Some(Changed { times, reason: reason(row, shard, onset, times) })
    }

    /// How many times likelier a CI's changes make it that a trouble of its own shows at `onset`; at least 1.
    pub(crate) fn times(&self, ci: CiIx, onset: Timestamp) -> f64 {
        self.weighed(ci, onset).map_or(1.0, |(times, _)| times)
    }

    /// How many times likelier, where that is no chance, and the change that says most.
    fn weighed(&self, ci: CiIx, onset: Timestamp) -> Option<(f64, &Change)> {
        let of_ci = self.by_ci.get(&ci)?;
        let before = &of_ci[..of_ci.partition_point(|&(at, _)| at <= onset)];
        let looked = before.iter().rev().take(LOOKED).filter_map(|(_, id)| self.rows.get(id));
        let weighed = looked.map(|row| (density(row.starts_at, row.ends_at, onset), row));
        let mut sum = 0.0;
        let mut best: Option<(f64, &Change)> = None;
        for (density, row) in weighed {
            sum += density;
            if best.is_none_or(|(most, _)| density > most) {
                best = Some((density, row));
            }
        }
        let (_, row) = best?;
        let times = (1.0 + ODDS * sum / self.rate(before.len(), onset)) / (1.0 + ODDS);
        (times >= LEAST).then_some((times, row))
    }

    /// True when any change of a CI is in hand.
    pub(crate) fn any_of(&self, ci: CiIx) -> bool {
        self.by_ci.contains_key(&ci)
    }

    /// Changes a second of a CI that was changed `count` times before `onset`.
    fn rate(&self, count: usize, onset: Timestamp) -> f64 {
        let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let oldest = self.bound.first().map_or(onset, |&(at, _)| at);
        let seconds = onset.since(oldest).min(KEPT).as_secs_f64();
        let cis = number(self.by_ci.len());
        // Only CIs that were changed at least once are known of, so that one of each says nothing of how often.
        let mean = (number(self.bound.len()) - cis + 1.0) / (cis * seconds + USUAL);
        number(count) / (seconds + 1.0 / mean)
    }
}

/// How likely a trouble that a change brings shows at this instant, a second. One that takes its time may bring it at
/// any instant of it.
fn density(starts_at: Timestamp, ends_at: Option<Timestamp>, onset: Timestamp) -> f64 {
    let shown = |seconds: f64| seconds / (HALF + seconds);
    let since_start = onset.since(starts_at).as_secs_f64();
    match ends_at.map(|ends_at| (ends_at.since(starts_at).as_secs_f64(), onset.since(ends_at).as_secs_f64())) {
        Some((lasted, since_end)) if lasted >= 1.0 => (shown(since_start) - shown(since_end)) / lasted,
        _ => HALF / (HALF + since_start).powi(2),
    }
}

fn reason(row: &Change, shard: u32, onset: Timestamp, times: f64) -> Reason {
    let Change { id, summary, by, starts_at, ends_at, .. } = row;
    let template = match (ends_at, by.is_empty()) {
        (Some(end), _) if *end > onset => {
            "it was being changed when the first alert began, since {before_seconds} s: {summary}"
        }
        (_, true) => "it was changed {before_seconds} s before the first alert: {summary}",
        (_, false) => "it was changed {before_seconds} s before the first alert: {summary} (by {by})",
    };
    let reason = Reason::new("change", template)
        .text("summary", summary)
        .count("before_seconds", onset.since(*starts_at).as_secs())
        .text("by", by)
        .time("at", *starts_at)
        .text("receipt", ReceiptId { shard, position: id.position }.to_string())
        .number("times", (times * 10.0).round() / 10.0);
    match ends_at {
        Some(end) => reason.time("until", *end),
        None => reason,
    }
}

impl Engine {
    /// Takes the changes of one request.
    pub(crate) fn take_changes(&mut self, moment: Moment, changes: &Changes) {
        self.turn.effects.altered.received += changes.received() as u64;
        for (ordinal, reject) in (0..).zip(&changes.rejects) {
            self.turn.effects.altered.rejected += 1;
            self.turn.effects.parked.push(Parked {
                position: moment.position,
                ordinal,
                item: reject.ordinal,
                source: changes.source,
                received_at: moment.received_at,
                reason: reject.reason.clone(),
                raw: reject.raw.clone(),
            });
        }
        for (ordinal, told) in (0..).zip(&changes.items) {
            if self.changes.repeats(told, moment.received_at) {
                self.turn.effects.altered.repeated += 1;
            } else {
                self.take_change(moment, ordinal, changes, told);
            }
        }
        self.let_go_of_changes(moment.received_at);
    }

    fn take_change(&mut self, moment: Moment, ordinal: u32, changes: &Changes, told: &ToldChange) {
        let ToldChange { fingerprint, summary, by, link, labels, starts_at, ends_at } = told.clone();
        let id = ChangeId { position: moment.position, ordinal };
        let (source, received_at) = (changes.source, moment.received_at);
        let starts_at = starts_at.unwrap_or(received_at);
        let (binding, unbound) = (None, None);
        let mut row = Change {
            id,
            fingerprint,
            source,
            summary,
            by,
            link,
            labels,
            binding,
            unbound,
            starts_at,
            ends_at,
            received_at,
        };
        let ci = self.bind_change(&mut row);
        let altered = &mut self.turn.effects.altered;
        *(if ci.is_some() { &mut altered.bound } else { &mut altered.unbound }) += 1;
        self.turn.effects.changes.push(ChangeRow::Put(Box::new(row.clone())));
        self.changes.add(row, ci);
        if let Some(ci) = ci {
            self.judge_after_change(ci, starts_at);
        }
    }

    fn bind_change(&self, row: &mut Change) -> Option<CiIx> {
        let bound = match self.settings.pipeline(row.source) {
            Some(pipeline) => bind(&self.graph, pipeline, row.labels.as_ref()),
            None => Bound::Not(Reason::new("no_pipeline", "no pipeline reads this source")),
        };
        match bound {
            Bound::To(ci, binding) => {
                (row.binding, row.unbound) = (Some(binding), None);
                Some(ci)
            }
            Bound::Not(reason) => {
                (row.binding, row.unbound) = (None, Some(reason));
                None
            }
        }
    }

    /// A change may be told of later than the alerts it brought: incidents that could be its doing are judged anew.
    fn judge_after_change(&mut self, ci: CiIx, starts_at: Timestamp) {
        for number in self.suspects.claimed_by(ci) {
            let Some(live) = self.incidents.get(&number).filter(|live| live.is_open()) else { continue };
            let onset = live.row.started_at;
            if onset >= starts_at && self.changes.evidence(self.shard.number, ci, onset).is_some() {
                self.review_soon(number);
                self.touch_incident(number);
            }
        }
    }

    /// Lets go of what is too old, and of the oldest where there are more than the limit allows.
    fn let_go_of_changes(&mut self, now: Timestamp) {
        let limit = usize::try_from(self.settings.limits.recent_changes).unwrap_or(usize::MAX);
        while let Some((_, first)) = self.changes.rows.first_key_value() {
            let old = now.since(first.received_at) > KEPT;
            if !old && self.changes.len() <= limit {
                break;
            }
            self.turn.effects.altered.crowded_out += u64::from(!old);
            let gone = self.changes.pop(&self.graph);
            self.turn.effects.changes.extend(gone.map(ChangeRow::LetGo));
        }
    }

    /// Another topology, or other rules, are in force.
    pub(crate) fn rebind_changes(&mut self) {
        let mut rows = std::mem::take(&mut self.changes.rows);
        for row in rows.values_mut() {
            let before = (row.binding.clone(), row.unbound.clone());
            self.bind_change(row);
            if before != (row.binding.clone(), row.unbound.clone()) {
                self.turn.effects.changes.push(ChangeRow::Put(Box::new(row.clone())));
            }
        }
        self.changes.rows = rows;
        self.changes.index(&self.graph);
    }
}
