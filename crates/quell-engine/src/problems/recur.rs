//! What recurrence leads to: a problem is drafted with its evidence and cost, and a closed one that comes back reopens.
//!
//! Three incidents of one signature within a quarter are drafted: two may be chance, and a draft costs a person one look,
//! while what comes once a quarter costs less than its analysis. Absent on purpose: what people decide (`asked`).

use std::time::Duration;

use quell_domain::{Cost, IncidentId, PastIncident, Problem, ProblemEntry, ProblemId, ProblemState, Reason, Timestamp};

use super::ProblemRow;
use crate::engine::Engine;
use crate::lifecycle::QUELL;

/// So many incidents of one signature are a problem.
pub(super) const RECURS: usize = 3;
/// Within so long.
const WITHIN: Duration = Duration::from_secs(90 * 86_400);
/// Past incidents that a draft names.
const NAMED: usize = 12;

impl Engine {
    /// The problem of a signature that is known, if it has one.
    pub(super) fn problem_of(&self, signature: u64) -> Option<u64> {
        let root = self.problems.root(signature);
        let problem = self.problems.signatures.get(&root)?.problem?;
        self.problems.problems.contains_key(&problem.number).then_some(problem.number)
    }

    /// The last incidents of some signatures that are in hand, by when they were opened.
    pub(super) fn past_of(&self, group: &[u64]) -> Vec<&PastIncident> {
        let rows = group.iter().filter_map(|number| self.problems.signatures.get(number));
        let mut past: Vec<&PastIncident> = rows.flat_map(|row| &row.past).collect();
        past.sort_by_key(|past| (past.opened_at, past.incident));
        past
    }

    /// An incident of this signature is over.
    pub(super) fn recurred(&mut self, signature: u64, incident: u64) {
        match self.problem_of(signature) {
            Some(problem) => {
                self.refresh(problem);
                self.came_back(problem, incident);
            }
            None => self.draft_if_it_recurs(signature),
        }
    }

    /// Drafts the problem of a signature that has none and whose incidents are as many as that needs.
    pub(super) fn draft_if_it_recurs(&mut self, signature: u64) {
        let root = self.problems.root(signature);
        let group = self.problems.group(&[root]);
        let since = self.now() - WITHIN;
        let recent = self.past_of(&group).iter().filter(|past| past.opened_at >= since).count();
        if recent >= RECURS && self.problem_of(root).is_none() {
            self.draft(root, QUELL, self.now(), ProblemState::New);
        }
    }

    /// Drafts a problem; `None` when there is no room for it.
    pub(super) fn draft(&mut self, root: u64, actor: &str, at: Timestamp, state: ProblemState) -> Option<u64> {
        match self.problems.room_for_problem() {
            Ok(Some(gone)) => self.turn.effects.problems.problems.push(ProblemRow::LetGo(gone)),
            Ok(None) => {}
            Err(()) => {
                self.turn.effects.problems.tally.not_drafted += 1;
                return None;
            }
        }
        let title = self.problems.signatures.get(&root)?.title.clone();
        self.problems.last_problem += 1;
        let number = self.problems.last_problem;
        let id = ProblemId { shard: self.shard.number, number };
        let signature = self.signature_id(root);
        let problem = Problem {
            id,
            state,
            title,
            signatures: vec![signature],
            cause: None,
            opened_at: at,
            cost: Cost::default(),
            first_at: at,
            last_at: at,
            owner: None,
            due: None,
            root_cause: None,
            workaround: None,
            usual_micros: None,
            used: 0,
            helped: 0,
            fix: None,
            closed_at: None,
            merged_into: None,
            before: Vec::new(),
        };
        self.problems.problems.insert(number, problem);
        if let Some(row) = self.problems.signatures.get_mut(&root) {
            row.problem = Some(id);
        }
        self.put_signature(root);
        self.refresh(number);
        self.turn.effects.problems.tally.drafted += 1;
        let reason = self.evidence(number, actor);
        self.tell(number, at, actor, reason);
        Some(number)
    }

    /// What a draft rests on.
    fn evidence(&self, number: u64, actor: &str) -> Reason {
        let problem = &self.problems.problems[&number];
        let group = self.group_of(problem);
        let past = self.past_of(&group);
        let last: Vec<String> = past.iter().rev().take(NAMED).map(|past| past.incident.to_string()).collect();
        let template = "drafted by {actor}: {count} incidents of {signature} since {first}, open for {minutes} min \
            together, {alerts} alerts; the last ones: {incidents}";
        let reason = Reason::new("drafted", template)
            .text("actor", actor)
            .count("count", problem.cost.incidents)
            .list("signature", problem.signatures.iter().map(ToString::to_string).collect())
            .time("first", problem.first_at)
            .number("minutes", (problem.cost.minutes() * 10.0).round() / 10.0)
            .count("alerts", problem.cost.alerts)
            .list("incidents", last);
        match &problem.cause {
            Some(cause) => reason.text("cause", cause.to_string()),
            None => reason,
        }
    }

    /// The numbers of all signatures whose incidents are of a problem.
    pub(super) fn group_of(&self, problem: &Problem) -> Vec<u64> {
        let roots: Vec<u64> = problem.signatures.iter().map(|id| self.problems.root(id.number)).collect();
        self.problems.group(&roots)
    }

    /// Counts what the problem of a signature costs anew.
    pub(super) fn refresh_problem(&mut self, signature: u64) {
        if let Some(problem) = self.problem_of(signature) {
            self.refresh(problem);
        }
    }

    pub(super) fn refresh(&mut self, number: u64) {
        let Some(problem) = self.problems.problems.get(&number) else { return };
        let group = self.group_of(problem);
        let mut cost = Cost::default();
        let (mut first_at, mut last_at) = (Timestamp::MAX, problem.opened_at);
        let mut causes: std::collections::BTreeMap<&quell_domain::CiId, u32> = std::collections::BTreeMap::new();
        for row in group.iter().filter_map(|number| self.problems.signatures.get(number)) {
            cost.add(row.cost);
            if row.cost.incidents > 0 {
                last_at = if first_at == Timestamp::MAX { row.last_at } else { last_at.max(row.last_at) };
                first_at = first_at.min(row.first_at);
            }
            for (ci, count) in &row.causes {
                *causes.entry(ci).or_default() += count;
            }
        }
        let cause = causes.into_iter().max_by_key(|(ci, count)| (*count, std::cmp::Reverse((*ci).clone())));
        let cause = cause.map(|(ci, _)| ci.clone());
        self.change_problem(number, |problem| {
            problem.cost = cost;
            problem.cause = cause;
            if first_at != Timestamp::MAX {
                (problem.first_at, problem.last_at) = (first_at, last_at);
            }
        });
    }

    /// A closed problem that has another incident says so, and reopens once they are as many as a draft needs.
    fn came_back(&mut self, number: u64, incident: u64) {
        let problem = &self.problems.problems[&number];
        let Some(closed_at) = problem.closed_at.filter(|_| problem.state == ProblemState::Closed) else { return };
        let group = self.group_of(problem);
        let since = closed_at.max(self.now() - WITHIN);
        let back = self.past_of(&group).iter().filter(|past| past.opened_at > since).count();
        if back == 0 {
            return;
        }
        let id = IncidentId { shard: self.shard.number, number: incident };
        let count = back as u64;
        let reason = if back < RECURS {
            Reason::new("came_back", "{incident} is of it although it is closed ({count} since, reopens at {limit})")
        } else {
            Reason::new("reopened", "reopened: {incident} is of it, and so are {count} in all since it was closed")
        };
        let reason = reason.text("incident", id.to_string()).count("count", count).count("limit", RECURS as u64);
        if back >= RECURS {
            self.stand(number, ProblemState::Investigating, None);
        }
        self.tell(number, self.now(), QUELL, reason);
    }

    /// Adds to a problem's timeline.
    pub(super) fn tell(&mut self, number: u64, at: Timestamp, actor: &str, reason: Reason) {
        let problem = ProblemId { shard: self.shard.number, number };
        self.turn.effects.problems.timeline.push(ProblemEntry { problem, at, actor: actor.to_owned(), reason });
    }

    /// Changes a problem's row.
    pub(super) fn change_problem(&mut self, number: u64, change: impl FnOnce(&mut Problem)) {
        let Some(problem) = self.problems.problems.get_mut(&number) else { return };
        let before = problem.clone();
        change(problem);
        if *problem != before {
            let row = Box::new(problem.clone());
            self.turn.effects.problems.problems.push(ProblemRow::Put(row));
        }
    }
}
