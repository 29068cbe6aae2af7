//! What the rules say of the alerts in hand: kept with each alert, and marks by which alerts of one rule find each other.
//!
//! Everything here follows from rows and rules, so that a restart finds the same. Absent on purpose: the rules
//! themselves (`rules`), and alerts that wait for others (`threshold`).

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use quell_domain::{AlertId, AlertState, Reason};

use crate::alerts::{Entry, Slot};
use crate::correlate::Candidate;
use crate::engine::Engine;
use crate::receive::OVERFLOW;
use crate::rules::RuleIx;
use crate::symptoms::SymptomIx;
use crate::twins::sight_key;

/// Alerts in hand by what they have in common, each group in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Keyed {
    groups: HashMap<u64, BTreeSet<AlertId>, BuildHasherDefault<DefaultHasher>>,
}

impl Keyed {
    fn add(&mut self, key: u64, id: AlertId) {
        self.groups.entry(key).or_default().insert(id);
    }

    fn remove(&mut self, key: u64, id: AlertId) {
        if let Some(group) = self.groups.get_mut(&key) {
            group.remove(&id);
            if group.is_empty() {
                self.groups.remove(&key);
            }
        }
    }

    /// A group, the oldest first.
    pub(crate) fn of(&self, key: u64) -> impl DoubleEndedIterator<Item = AlertId> + '_ {
        self.groups.get(&key).into_iter().flatten().copied()
    }
}

/// The marks of all alerts in hand.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// In an incident: by the rule that correlates them and the values of its labels.
    joined: Keyed,
    /// In an incident: by the rule that had held them back and the values of its labels.
    pub(crate) passed: Keyed,
    /// In no incident: the same.
    pub(crate) held: Keyed,
    /// In an incident: by CI and class of symptom.
    pub(crate) seen: Keyed,
}

/// What the rules say of where an alert belongs.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Ruled {
    /// To this incident.
    Join(Candidate),
    /// To the incident of this alert, which it repeats in other words.
    Twin(AlertId, Candidate),
    /// To none that there is.
    Apart,
    /// Nothing.
    Free,
}

/// A rule with the values that an alert has of its labels.
pub(crate) fn group_key(entry: &Entry, ix: RuleIx, by: &[String]) -> u64 {
    let mut hash = DefaultHasher::default();
    ix.hash(&mut hash);
    for name in by {
        entry.labels.get(name).unwrap_or_default().hash(&mut hash);
    }
    hash.finish()
}

impl Engine {
    /// Notes with an alert what the rules say of it, before anything is decided.
    pub(crate) fn read_rules(&mut self, slot: Slot) {
        let entry = self.alerts.get_mut(slot);
        // What quell itself raises is nobody's to suppress.
        if entry.fingerprint != OVERFLOW {
            let rules = &self.settings.rules;
            entry.matched = rules.matched(entry.labels.as_ref());
            entry.symptom = entry.matched.symptom.or_else(|| self.seen.of(rules.symptoms(), entry.name()));
        }
    }

    /// An alert says something new of itself: without a label `alertname` that may be its name.
    pub(crate) fn read_rules_again(&mut self, slot: Slot) {
        if self.alerts.get(slot).labels.get("alertname").is_none() {
            self.unmark(slot);
            self.read_rules(slot);
            self.mark(slot);
        }
    }

    /// The class of symptom that an alert's name speaks of, or that a rule says.
    pub(crate) fn symptom(&self, slot: Slot) -> Option<SymptomIx> {
        self.alerts.get(slot).symptom
    }

    /// Makes an alert known to those that come after it; before what the marks are made of changes, see
    /// [`Engine::unmark`].
    pub(crate) fn mark(&mut self, slot: Slot) {
        self.each_mark(slot, Keyed::add);
    }

    /// Takes an alert's marks away again.
    pub(crate) fn unmark(&mut self, slot: Slot) {
        self.each_mark(slot, Keyed::remove);
    }

    fn each_mark(&mut self, slot: Slot, act: fn(&mut Keyed, u64, AlertId)) {
        let (entry, rules, marks) = (self.alerts.get(slot), &self.settings.rules, &mut self.marks);
        let threshold = |ix| rules.rule(ix).threshold.as_ref().map(|threshold| group_key(entry, ix, &threshold.by));
        match (entry.incident, entry.state) {
            (_, AlertState::Stale) => {}
            (None, _) => {
                let waits = entry.matched.threshold.filter(|_| entry.matched.suppress.is_none());
                if let Some(key) = waits.and_then(threshold) {
                    act(&mut marks.held, key, entry.id);
                }
            }
            (Some(_), _) => {
                if let Some(key) = sight_key(entry) {
                    act(&mut marks.seen, key, entry.id);
                }
                if let Some(key) = entry.matched.threshold.and_then(threshold) {
                    act(&mut marks.passed, key, entry.id);
                }
                if let Some((ix, rule)) =
                    entry.matched.correlate.and_then(|ix| Some((ix, rules.rule(ix).correlate.as_ref()?)))
                {
                    act(&mut marks.joined, group_key(entry, ix, &rule.by), entry.id);
                }
            }
        }
    }

    /// Where the rules want an alert that is not held back.
    pub(crate) fn ruled(&self, slot: Slot) -> Ruled {
        let entry = self.alerts.get(slot);
        let joined = self.correlated_by_rule(entry).or_else(|| self.passed_threshold(entry));
        match joined {
            Some(candidate) => Ruled::Join(candidate),
            None if entry.matched.apart => Ruled::Apart,
            None => self.as_twin(slot).map_or(Ruled::Free, |(of, candidate)| Ruled::Twin(of, candidate)),
        }
    }

    fn correlated_by_rule(&self, entry: &Entry) -> Option<Candidate> {
        let ix = entry.matched.correlate?;
        let rule = self.settings.rules.rule(ix);
        let by = rule.correlate.as_ref()?;
        let last = self.alerts.find(self.marks.joined.of(group_key(entry, ix, &by.by)).next_back()?)?;
        let last = self.alerts.get(last);
        let apart = self.now().since(last.first_seen);
        let incident = last.incident.filter(|number| self.takes_alerts(*number) && apart <= by.window)?;
        let labels =
            by.by.iter().map(|name| format!("{name}={}", entry.labels.get(name).unwrap_or_default())).collect();
        let reason = Reason::new("rule", "rule {rule}: the same {labels} as an alert {apart_seconds} s before")
            .text("rule", &rule.name)
            .list("labels", labels)
            .number("apart_seconds", apart.as_secs_f64());
        Some(Candidate { incident, score: 1.0, reason })
    }

    /// The incident that alerts of the same threshold brought about.
    fn passed_threshold(&self, entry: &Entry) -> Option<Candidate> {
        let ix = entry.matched.threshold?;
        let rule = self.settings.rules.rule(ix);
        let key = group_key(entry, ix, &rule.threshold.as_ref()?.by);
        let last = self.alerts.find(self.marks.passed.of(key).next_back()?)?;
        let incident = self.alerts.get(last).incident.filter(|number| self.takes_alerts(*number))?;
        let reason =
            Reason::new("threshold_passed", "rule {rule}: there were enough of them before").text("rule", &rule.name);
        Some(Candidate { incident, score: 1.0, reason })
    }

    pub(crate) fn takes_alerts(&self, number: u64) -> bool {
        self.incidents.get(&number).is_some_and(crate::lifecycle::Live::takes_alerts)
    }
}
