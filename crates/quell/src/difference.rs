//! The difference between two runs over the same traffic: which incidents of one are merged, split or missing in the
//! other, and how far the two agree.
//!
//! Absent on purpose: running anything; this only looks at two ledgers.

use std::collections::{BTreeMap, BTreeSet};

use quell_domain::{Alert, AlertState, Fingerprint, IncidentId, Position, Timestamp};
use quell_engine::Ledger;
use quell_sim::quality::measure::{self, Filed};

/// Changes of reasons that one change names at most.
const WHY: usize = 5;

/// What became of an incident of the one run in the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Several of the first run's incidents are one in the second.
    Merged,
    /// One of the first run is several in the second.
    Split,
    /// Several are several others: their alerts are dealt out anew.
    Regrouped,
    /// It is in the first run only.
    Missed,
    /// It is in the second run only.
    New,
    /// The same incident with some alerts more or fewer.
    Changed,
    /// The same alerts, opened earlier in the second run.
    Earlier,
    /// The same alerts, opened later in the second run.
    Later,
    /// The same.
    Equal,
}

impl Kind {
    /// Every kind, in the order of a report.
    pub const ALL: [Kind; 9] = [
        Kind::Merged,
        Kind::Split,
        Kind::Regrouped,
        Kind::Missed,
        Kind::New,
        Kind::Changed,
        Kind::Earlier,
        Kind::Later,
        Kind::Equal,
    ];

    /// The name used in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Merged => "merged",
            Kind::Split => "split",
            Kind::Regrouped => "regrouped",
            Kind::Missed => "missed",
            Kind::New => "new",
            Kind::Changed => "changed",
            Kind::Earlier => "earlier",
            Kind::Later => "later",
            Kind::Equal => "equal",
        }
    }
}

/// Incidents of both runs that share alerts.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// What became of them.
    pub kind: Kind,
    /// The first run's, by id.
    pub before: Vec<IncidentId>,
    /// The second run's, by id.
    pub after: Vec<IncidentId>,
    /// Alert episodes in them.
    pub alerts: usize,
    /// How much later the second run opened the first of them, in seconds; `None` when only one run has it.
    pub later_seconds: Option<f64>,
    /// Which reasons for membership changed, the commonest first.
    pub why: Vec<Why>,
}

/// Alerts that are where they are for another reason than before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Why {
    /// How many of them.
    pub alerts: usize,
    /// The code of the reason in the first run; empty where it had no incident.
    pub from: String,
    /// The code in the second run.
    pub to: String,
    /// The name of one of them.
    pub example: String,
    /// Its reason in the first run, in words.
    pub before: String,
    /// Its reason in the second run.
    pub after: String,
}

/// How far two partitions agree.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Agreement {
    /// Of all pairs of alerts, the share that both runs have together or both have apart (the Rand index).
    pub pairs: f64,
    /// The adjusted Rand index between both.
    pub ari: f64,
}

/// How well each run fits the truth that the alerts carry.
#[derive(Clone, PartialEq, Debug)]
pub struct Truth {
    /// The label that carries it.
    pub label: String,
    /// Alert episodes that carry it.
    pub alerts: usize,
    /// The adjusted Rand index of the first run.
    pub before: f64,
    /// And of the second.
    pub after: f64,
}

/// The whole difference.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// Every group of incidents, the changed ones first, in the order of [`Kind`] and then by id.
    pub changes: Vec<Change>,
    /// How far both agree.
    pub agreement: Agreement,
    /// How well each fits, when a label says what is true.
    pub truth: Option<Truth>,
}

impl Difference {
    /// How many groups are of a kind.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.changes.iter().filter(|change| change.kind == kind).count()
    }
}

/// An episode that either run knows: its fingerprint and the record that opened it.
type Key = (Fingerprint, Position);

/// One run's alerts, found by what both runs have in common.
struct Side<'a> {
    ledger: &'a Ledger,
    episodes: BTreeMap<Key, &'a Alert>,
}

impl<'a> Side<'a> {
    fn new(ledger: &'a Ledger) -> Self {
        let alerts = ledger.alerts.values().filter(|alert| alert.state != AlertState::Stale);
        // Of several of one record the last: it is the one that the record left.
        let episodes = alerts.map(|alert| ((alert.fingerprint, alert.opened_position), alert)).collect();
        Side { ledger, episodes }
    }

    /// The episode that holds what the other run has as an episode of its own: the latest that began by then.
    fn episode(&self, (fingerprint, position): Key) -> Option<&'a Alert> {
        let earliest = (fingerprint, Position::START);
        self.episodes.range(earliest..=(fingerprint, position)).next_back().map(|(_, alert)| *alert)
    }

    fn opened_at(&self, ids: &[IncidentId]) -> Option<Timestamp> {
        ids.iter().filter_map(|id| self.ledger.incidents.get(id)).map(|incident| incident.opened_at).min()
    }
}

/// One alert in both runs.
struct Pair<'a> {
    before: Option<&'a Alert>,
    after: Option<&'a Alert>,
}

impl Pair<'_> {
    fn incidents(&self) -> (Option<IncidentId>, Option<IncidentId>) {
        (self.before.and_then(|alert| alert.incident), self.after.and_then(|alert| alert.incident))
    }
}

/// Compares two ledgers of one traffic. `truth` names the label that says which incident an alert truly belongs to.
#[must_use]
pub fn difference(before: &Ledger, after: &Ledger, truth: Option<&str>) -> Difference {
    let (before, after) = (Side::new(before), Side::new(after));
    let keys: BTreeSet<Key> = before.episodes.keys().chain(after.episodes.keys()).copied().collect();
    let pairs: Vec<Pair<'_>> =
        keys.into_iter().map(|key| Pair { before: before.episode(key), after: after.episode(key) }).collect();
    let mut changes: Vec<Change> = groups(&pairs).into_iter().map(|group| change(&before, &after, &group)).collect();
    changes.sort_by(|a, b| (a.kind, &a.before, &a.after).cmp(&(b.kind, &b.before, &b.after)));
    Difference { changes, agreement: agreement(&pairs), truth: truth.and_then(|label| against(&pairs, label)) }
}

/// Alerts whose incidents, of either run, hang together.
fn groups<'p, 'a>(pairs: &'p [Pair<'a>]) -> Vec<Vec<&'p Pair<'a>>> {
    // The root of each incident's group; `false` for the first run's.
    let mut roots: BTreeMap<(bool, IncidentId), (bool, IncidentId)> = BTreeMap::new();
    fn root(
        roots: &mut BTreeMap<(bool, IncidentId), (bool, IncidentId)>,
        mut node: (bool, IncidentId),
    ) -> (bool, IncidentId) {
        while let Some(&up) = roots.get(&node).filter(|&&up| up != node) {
            // Halves the way for the next one.
            let beyond = roots.get(&up).copied().unwrap_or(up);
            roots.insert(node, beyond);
            node = beyond;
        }
        roots.entry(node).or_insert(node);
        node
    }
    for pair in pairs {
        let (before, after) = pair.incidents();
        if let (Some(before), Some(after)) = (before, after) {
            let (one, other) = (root(&mut roots, (false, before)), root(&mut roots, (true, after)));
            roots.insert(one.max(other), one.min(other));
        }
    }
    let mut groups: BTreeMap<(bool, IncidentId), Vec<&Pair<'_>>> = BTreeMap::new();
    for pair in pairs {
        let (before, after) = pair.incidents();
        let node = before.map(|id| (false, id)).or(after.map(|id| (true, id)));
        if let Some(node) = node {
            groups.entry(root(&mut roots, node)).or_default().push(pair);
        }
    }
    groups.into_values().collect()
}

fn change(before: &Side<'_>, after: &Side<'_>, group: &[&Pair<'_>]) -> Change {
    let ids = |of: fn(&Pair<'_>) -> Option<IncidentId>| -> Vec<IncidentId> {
        group.iter().filter_map(|pair| of(pair)).collect::<BTreeSet<_>>().into_iter().collect()
    };
    let (olds, news) = (ids(|pair| pair.incidents().0), ids(|pair| pair.incidents().1));
    let later = before.opened_at(&olds).zip(after.opened_at(&news));
    let later_seconds = later.map(|(old, new)| new.since(old).as_secs_f64() - old.since(new).as_secs_f64());
    let whole = group.iter().all(|pair| pair.before.is_some() && pair.after.is_some());
    let kind = match (olds.len(), news.len()) {
        (_, 0) => Kind::Missed,
        (0, _) => Kind::New,
        (1, 1) if !whole => Kind::Changed,
        (1, 1) => match later_seconds {
            Some(seconds) if seconds < 0.0 => Kind::Earlier,
            Some(seconds) if seconds > 0.0 => Kind::Later,
            _ => Kind::Equal,
        },
        (_, 1) => Kind::Merged,
        (1, _) => Kind::Split,
        _ => Kind::Regrouped,
    };
    let why = if kind == Kind::Equal { Vec::new() } else { why(group) };
    Change { kind, before: olds, after: news, alerts: group.len(), later_seconds, why }
}

/// The reasons for membership that differ, by their codes.
fn why(group: &[&Pair<'_>]) -> Vec<Why> {
    let said = |alert: Option<&Alert>| match alert.map(|alert| &alert.membership) {
        Some(Some(reason)) => (reason.code.to_string(), reason.to_string()),
        Some(None) => (String::new(), "no reason".to_owned()),
        None => (String::new(), "in no incident".to_owned()),
    };
    let mut found: BTreeMap<(String, String), Why> = BTreeMap::new();
    for pair in group {
        let ((from, before), (to, after)) = (said(pair.before), said(pair.after));
        if from == to {
            continue;
        }
        let name = pair.before.or(pair.after).map_or(String::new(), place);
        let entry = found.entry((from.clone(), to.clone()));
        entry.or_insert(Why { alerts: 0, from, to, example: name, before, after }).alerts += 1;
    }
    let mut why: Vec<Why> = found.into_values().collect();
    why.sort_by(|a, b| b.alerts.cmp(&a.alerts).then_with(|| (&a.from, &a.to).cmp(&(&b.from, &b.to))));
    why.truncate(WHY);
    why
}

/// An alert and where it is.
fn place(alert: &Alert) -> String {
    match &alert.binding {
        Some(binding) => format!("{} on {}", alert.name(), binding.ci),
        None => alert.name().to_owned(),
    }
}

/// Numbers of incidents, and one for each alert that is in none.
fn number(incident: Option<IncidentId>, alone: &mut u64) -> u64 {
    incident.map_or_else(
        || {
            *alone -= 1;
            *alone
        },
        |id| id.number,
    )
}

fn agreement(pairs: &[Pair<'_>]) -> Agreement {
    let mut alone = u64::MAX;
    let filed: Vec<Filed> = pairs
        .iter()
        .map(|pair| {
            let (before, after) = pair.incidents();
            let fault = usize::try_from(number(before, &mut alone)).unwrap_or(usize::MAX);
            Filed { fault: Some(fault), incident: Some(number(after, &mut alone)) }
        })
        .collect();
    Agreement { pairs: rand_index(&filed), ari: measure::partition(&filed).ari }
}

/// Of all pairs, the share on which both partitions agree.
fn rand_index(filed: &[Filed]) -> f64 {
    let couples = |count: u64| (count * count.saturating_sub(1)) as f64 / 2.0;
    let mut counts: [BTreeMap<(usize, u64), u64>; 3] = Default::default();
    for Filed { fault, incident } in filed {
        let (fault, incident) = (fault.unwrap_or_default(), incident.unwrap_or_default());
        for (counts, key) in counts.iter_mut().zip([(fault, 0), (0, incident), (fault, incident)]) {
            *counts.entry(key).or_default() += 1;
        }
    }
    let [before, after, both] = counts.map(|counts| counts.into_values().map(couples).sum::<f64>());
    let all = couples(filed.len() as u64);
    if all > 0.0 { (all - before - after + 2.0 * both) / all } else { 1.0 }
}

/// How well both runs fit what a label says; `None` when no alert carries it.
fn against(pairs: &[Pair<'_>], label: &str) -> Option<Truth> {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for pair in pairs {
        let Some(alert) = pair.before.or(pair.after) else { continue };
        let said = alert.labels.get(label).or_else(|| alert.annotations.get(label));
        let Some(said) = said.filter(|said| !said.is_empty()) else { continue };
        let next = known.len();
        let fault = Some(*known.entry(said.to_owned()).or_insert(next));
        let (old, new) = pair.incidents();
        before.push(Filed { fault, incident: old.map(|id| id.number) });
        after.push(Filed { fault, incident: new.map(|id| id.number) });
    }
    let ari = |filed: &[Filed]| measure::partition(filed).ari;
    (!before.is_empty()).then(|| Truth {
        label: label.to_owned(),
        alerts: before.len(),
        before: ari(&before),
        after: ari(&after),
    })
}
