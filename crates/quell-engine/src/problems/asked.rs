//! What people ask of problems, and what the test of a fix said.
//!
//! Absent on purpose: who may ask, and the test itself. Nothing here moves the engine's clock.

use quell_domain::{
    ChangeId, Fix, FixOutcome, IncidentId, Moment, Outcome, Problem, ProblemAct, ProblemAsk, ProblemCommand,
    ProblemField, ProblemId, ProblemStanding, ProblemState, Reason, SignatureId, Timestamp, Verdict, Verified,
};

use crate::engine::Engine;

/// Moves of one problem that can be taken back; beyond it the oldest stands for good.
const MOVES: usize = 16;
/// Signatures of one problem; a merge that would make more is refused.
const SIGNATURES: usize = 64;

/// Who asks, and when.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) actor: &'a str,
    pub(super) at: Timestamp,
}

impl Asker<'_> {
    fn said(self, code: &'static str, template: &'static str) -> Reason {
        Reason::new(code, template).text("actor", self.actor)
    }

    fn note(self, code: &'static str, template: &'static str, why: Option<&str>) -> Reason {
        self.said(code, template).text("why", why.map(|why| format!(": {why}")).unwrap_or_default())
    }
}

impl Engine {
    pub(crate) fn problem_command(&mut self, moment: Moment, command: &ProblemCommand) {
        let ProblemCommand { actor, ask } = command;
        let by = Asker { actor, at: moment.received_at };
        let verdict = match ask {
            ProblemAsk::Draft(signature) => self.draft_for(by, *signature),
            ProblemAsk::Of(problem, act) => match self.problem_number(*problem) {
                Some(number) => self.act(by, number, act),
                None => Verdict::NotFound,
            },
            ProblemAsk::MergeSignatures { from, into } => self.merge_signatures(by, *from, *into),
            ProblemAsk::PartSignature(signature) => self.part_signature(by, *signature),
            ProblemAsk::SplitSignature { from, incidents } => self.split_signature(by, *from, incidents),
            ProblemAsk::Helped { incident, helped } => self.helped(by, *incident, *helped),
        };
        self.turn.effects.outcomes.push(Outcome { command: moment.position, after: self.position, verdict });
    }

    fn problem_number(&self, id: ProblemId) -> Option<u64> {
        (id.shard == self.shard.number && self.problems.problems.contains_key(&id.number)).then_some(id.number)
    }

    pub(super) fn signature_number(&self, id: SignatureId) -> Option<u64> {
        (id.shard == self.shard.number && self.problems.signatures.contains_key(&id.number)).then_some(id.number)
    }

    fn act(&mut self, by: Asker<'_>, number: u64, act: &ProblemAct) -> Verdict {
        let state = self.problems.problems[&number].state;
        if state == ProblemState::Merged && !matches!(act, ProblemAct::Comment { .. } | ProblemAct::Undo) {
            return Verdict::Refused;
        }
        match act {
            ProblemAct::Accept if !matches!(state, ProblemState::New | ProblemState::Rejected) => Verdict::Unchanged,
            ProblemAct::Accept => {
                self.stand(number, ProblemState::Investigating, None);
                self.say(by, number, by.said("accepted", "{actor} accepted it"))
            }
            ProblemAct::Reject { why: _ } if state == ProblemState::Rejected => Verdict::Unchanged,
            ProblemAct::Reject { why } => {
                self.stand(number, ProblemState::Rejected, None);
                self.say(by, number, by.note("rejected", "{actor} rejected it{why}", why.as_deref()))
            }
            ProblemAct::Merge { into } => self.merge_problem(by, number, *into),
            ProblemAct::Move { to, why } => self.move_problem(by, number, *to, why.as_deref()),
            ProblemAct::Set(field) => self.set_field(by, number, field),
            ProblemAct::Link { change, since } => self.link_change(by, number, *change, *since),
            ProblemAct::Comment { text } => self.say(by, number, Reason::new("comment", "{text}").text("text", text)),
            ProblemAct::Undo => self.undo_problem(by, number),
            ProblemAct::Verified(verified) => self.verified(by, number, verified),
        }
    }

    fn say(&mut self, by: Asker<'_>, number: u64, reason: Reason) -> Verdict {
        self.tell(number, by.at, by.actor, reason);
        Verdict::Done
    }

    /// Puts a problem into another state; where it stood can be taken back to.
    pub(super) fn stand(&mut self, number: u64, state: ProblemState, fix: Option<Fix>) {
        self.change_problem(number, |problem| {
            let before = ProblemStanding { state: problem.state, fix: problem.fix.take() };
            problem.before.push(before);
            if problem.before.len() > MOVES {
                problem.before.remove(0);
            }
            (problem.state, problem.fix, problem.closed_at) = (state, fix, None);
        });
    }

    fn draft_for(&mut self, by: Asker<'_>, signature: SignatureId) -> Verdict {
        let Some(number) = self.signature_number(signature) else { return Verdict::NotFound };
        let root = self.problems.root(number);
        match self.problem_of(root) {
            Some(problem) if self.problems.problems[&problem].state.is_open() => Verdict::Unchanged,
            Some(problem) => {
                self.stand(problem, ProblemState::Investigating, None);
                self.say(by, problem, by.said("reopened", "{actor} reopened it"))
            }
            None => match self.draft(root, by.actor, by.at, ProblemState::Investigating) {
                Some(_) => Verdict::Done,
                None => Verdict::Refused,
            },
        }
    }

    fn merge_problem(&mut self, by: Asker<'_>, from: u64, into: ProblemId) -> Verdict {
        let Some(into) = self.problem_number(into) else { return Verdict::NotFound };
        let (ours, theirs) = (self.problems.problems[&from].clone(), self.problems.problems[&into].clone());
        let room = ours.signatures.len() + theirs.signatures.len() <= SIGNATURES;
        if from == into || theirs.state == ProblemState::Merged || !room {
            return Verdict::Refused;
        }
        self.stand(from, ProblemState::Merged, ours.fix);
        self.change_problem(from, |problem| problem.merged_into = Some(theirs.id));
        self.change_problem(into, |problem| problem.signatures.extend(ours.signatures.iter().copied()));
        self.give(&ours.signatures, theirs.id);
        self.refresh(into);
        let both = |template| {
            let reason = by.said("merged", template).text("problem", ours.id.to_string());
            reason.text("into", theirs.id.to_string())
        };
        self.say(by, from, both("{actor} said that it is the same as {into}"));
        self.say(by, into, both("{actor} said that {problem} is the same"))
    }

    /// Has signatures belong to a problem.
    fn give(&mut self, signatures: &[SignatureId], problem: ProblemId) {
        for id in signatures {
            let root = self.problems.root(id.number);
            if let Some(row) = self.problems.signatures.get_mut(&root) {
                row.problem = Some(problem);
                self.put_signature(root);
            }
        }
    }

    fn move_problem(&mut self, by: Asker<'_>, number: u64, to: ProblemState, why: Option<&str>) -> Verdict {
        let problem = &self.problems.problems[&number];
        let known = problem.workaround.is_some() || problem.root_cause.is_some();
        let fix = Fix { since: by.at, change: None, verdict: None };
        match to {
            to if to == problem.state => return Verdict::Unchanged,
            ProblemState::New | ProblemState::Merged | ProblemState::Rejected => return Verdict::Refused,
            ProblemState::KnownError if !known => return Verdict::Refused,
            ProblemState::Investigating | ProblemState::KnownError | ProblemState::FixInProgress => {
                self.stand(number, to, None);
            }
            ProblemState::Closed if problem.state == ProblemState::Verifying => {
                let fix = problem.fix.clone();
                self.stand(number, ProblemState::Closed, fix);
                self.change_problem(number, |problem| problem.closed_at = Some(by.at));
                let template = "{actor} closed it before the test of its fix was decided{why}";
                return self.say(by, number, by.note("closed", template, why));
            }
            // Nothing is closed without a test.
            ProblemState::Verifying | ProblemState::Closed => {
                self.stand(number, ProblemState::Verifying, Some(fix));
                let template = "{actor} said that it is fixed{why}; from now on that is tested: it closes or reopens by \
                    itself";
                return self.say(by, number, by.note("verifying", template, why));
            }
        }
        let reason = by.note("moved", "{actor} moved it to {state}{why}", why).text("state", to.words());
        self.say(by, number, reason)
    }

    fn set_field(&mut self, by: Asker<'_>, number: u64, field: &ProblemField) -> Verdict {
        let problem = &self.problems.problems[&number];
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let (name, before, after) = match field {
            ProblemField::Title(text) if text.trim().is_empty() => return Verdict::Refused,
            ProblemField::Title(text) => ("title", Some(problem.title.clone()), Some(text.clone())),
            ProblemField::Owner(owner) => ("owner", problem.owner.clone(), owner.clone()),
            ProblemField::Due(due) => ("due date", time(problem.due), time(*due)),
            ProblemField::RootCause(text) => ("root cause", problem.root_cause.clone(), text.clone()),
            ProblemField::Workaround(text) => ("workaround", problem.workaround.clone(), text.clone()),
        };
        if before == after {
            return Verdict::Unchanged;
        }
        let usual = self.usual_micros(&self.group_of(problem));
        self.change_problem(number, |problem| match field.clone() {
            ProblemField::Title(text) => problem.title = text,
            ProblemField::Owner(owner) => problem.owner = owner,
            ProblemField::Due(due) => problem.due = due,
            ProblemField::RootCause(text) => problem.root_cause = text,
            ProblemField::Workaround(text) => {
                // What its like took before there was any.
                problem.usual_micros = if text.is_some() { problem.usual_micros.or(usual) } else { None };
                problem.workaround = text;
            }
        });
        let said = |text: Option<String>| text.unwrap_or_else(|| "nothing".to_owned());
        let reason = by
            .said("set", "{actor} set the {field}: {after}, was {before}")
            .text("field", name)
            .text("after", said(after))
            .text("before", said(before));
        self.say(by, number, reason)
    }

    fn link_change(&mut self, by: Asker<'_>, number: u64, change: ChangeId, since: Timestamp) -> Verdict {
        let problem = &self.problems.problems[&number];
        let linked = problem.fix.as_ref().and_then(|fix| fix.change);
        if linked == Some(change) && problem.state == ProblemState::Verifying {
            return Verdict::Unchanged;
        }
        if !problem.state.is_open() {
            return Verdict::Refused;
        }
        self.stand(number, ProblemState::Verifying, Some(Fix { since, change: Some(change), verdict: None }));
        let template = "{actor} said that change {change} is the fix; from {since} on that is tested: it closes or \
            reopens by itself";
        let reason = by.said("linked", template).text("change", change.to_string()).time("since", since);
        self.say(by, number, reason)
    }

    fn undo_problem(&mut self, by: Asker<'_>, number: u64) -> Verdict {
        let problem = self.problems.problems[&number].clone();
        let Some(before) = problem.before.last().cloned() else { return Verdict::Unchanged };
        if let Some(into) = problem.merged_into {
            self.change_problem(into.number, |other| {
                other.signatures.retain(|id| !problem.signatures.contains(id));
            });
            self.give(&problem.signatures, problem.id);
            self.refresh(into.number);
            let reason = by.said("unmerged", "{actor} said that {problem} is not the same after all");
            self.say(by, into.number, reason.text("problem", problem.id.to_string()));
        }
        self.change_problem(number, |problem| {
            problem.before.pop();
            (problem.merged_into, problem.closed_at) = (None, None);
            if before.state == ProblemState::Closed {
                problem.closed_at = Some(by.at);
            }
            (problem.state, problem.fix) = (before.state, before.fix);
        });
        self.refresh(number);
        let reason = by.said("undone", "{actor} took the last step back: {state} again");
        self.say(by, number, reason.text("state", before.state.words()))
    }

    fn helped(&mut self, by: Asker<'_>, incident: IncidentId, helped: bool) -> Verdict {
        let known = self.problems.recognitions.get(&incident.number).filter(|row| row.incident == incident);
        let Some(known) = known else { return Verdict::NotFound };
        let Some(attached) = &known.workaround else { return Verdict::Refused };
        if attached.helped == Some(helped) && attached.said_by.is_some() {
            return Verdict::Unchanged;
        }
        let template = if helped {
            "{actor} said that the workaround of {problem} helped"
        } else {
            "{actor} said that the workaround of {problem} did not help"
        };
        let code = if helped { "workaround_helped" } else { "workaround_did_not_help" };
        let reason = by.said(code, template).text("problem", attached.problem.to_string());
        self.note(incident.number, by.at, by.actor, reason);
        self.mark_helped(incident.number, Some(helped), Some(by.actor));
        self.put_recognition(incident.number);
        Verdict::Done
    }

    /// The test of a fix has said its word.
    fn verified(&mut self, by: Asker<'_>, number: u64, verified: &Verified) -> Verdict {
        let problem: &Problem = &self.problems.problems[&number];
        let tested = problem.fix.clone().filter(|fix| fix.since == verified.since);
        let Some(fix) = tested.filter(|_| problem.state == ProblemState::Verifying) else { return Verdict::Refused };
        let back = if problem.workaround.is_some() { ProblemState::KnownError } else { ProblemState::Investigating };
        let Verified { since, outcome, before, before_days, after, after_days, expected, evidence } = verified;
        let (code, template, state) = match outcome {
            FixOutcome::Works => (
                "fix_works",
                "closed: the fix works: {after} incidents in {after_days} days after it, where \
                {expected} would have come (before it {before} in {before_days} days); that is {evidence} times as \
                probable as if it came back more than half as often",
                ProblemState::Closed,
            ),
            FixOutcome::Partly => (
                "fix_works_partly",
                "reopened: the fix works only in part: {after} incidents in \
                {after_days} days after it, where {expected} would have come (before it {before} in {before_days} days)",
                back,
            ),
            FixOutcome::DoesNot => (
                "fix_does_not_work",
                "reopened: the fix does not work: {after} incidents in {after_days} \
                days after it, where {expected} would have come (before it {before} in {before_days} days); that is \
                {evidence} times as probable as if it came back less than half as often",
                back,
            ),
        };
        let reason = Reason::new(code, template)
            .count("after", *after)
            .number("after_days", *after_days)
            .number("expected", *expected)
            .count("before", *before)
            .number("before_days", *before_days)
            .number("evidence", *evidence)
            .time("since", *since);
        self.stand(number, state, Some(Fix { verdict: Some(reason.clone()), ..fix }));
        if state == ProblemState::Closed {
            self.change_problem(number, |problem| problem.closed_at = Some(by.at));
        }
        self.say(by, number, reason)
    }
}
