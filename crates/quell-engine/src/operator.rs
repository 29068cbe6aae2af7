//! Operators' commands: acknowledge, resolve, comment, merge, split, wrong group, wrong cause, and undo.
//!
//! Absent on purpose: who may give them. A command never moves the engine's clock, since it overtakes alerts that
//! still wait; it carries the time at which it was given.

use std::collections::BTreeSet;

use quell_domain::{
    Act, ActKind, AlertId, CauseVerdict, CiId, Command, CommandKind, Feedback, IncidentId, Moment, Outcome, Reason,
    Said, Standing, Transition, Verdict,
};

use crate::engine::Engine;
use crate::moving::By;
use crate::verdicts::VERDICTS;

impl Engine {
    pub(crate) fn command(&mut self, moment: Moment, command: &Command) {
        let Command { incident, actor, kind } = command;
        let number = incident.number;
        let by = By { actor, at: moment.received_at, command: Some(moment.position) };
        let verdict = match kind {
            _ if !self.knows(*incident) => Verdict::NotFound,
            CommandKind::Acknowledge => self.acknowledge(moment, number, actor),
            CommandKind::Resolve { note } => self.resolve_for(by, number, note.as_deref()),
            CommandKind::Comment { text } => {
                self.note(number, by.at, actor, Reason::new("comment", "{text}").text("text", text));
                self.touch_incident(number);
                Verdict::Done
            }
            CommandKind::Merge { into } => self.merge_for(by, number, *into),
            CommandKind::Split { alerts } => {
                let why = Reason::new("split", "{actor} split it off").text("actor", actor);
                self.split_for(by, number, alerts, &why)
            }
            CommandKind::WrongGroup { alert } => {
                let why = Reason::new("wrong_group", "{actor} said that it does not belong to {incident}")
                    .text("actor", actor)
                    .text("incident", incident.to_string());
                self.split_for(by, number, &[*alert], &why)
            }
            CommandKind::WrongCause { ci, right } => self.wrong_cause(by, number, ci, right.as_ref()),
            CommandKind::Undo => self.undo(by, number),
        };
        let outcome = Outcome { command: moment.position, after: self.position, verdict };
        self.turn.effects.outcomes.push(outcome);
    }

    fn knows(&self, incident: IncidentId) -> bool {
        incident.shard == self.shard.number && self.incidents.contains_key(&incident.number)
    }

    pub(crate) fn acknowledge(&mut self, moment: Moment, number: u64, actor: &str) -> Verdict {
        let row = &mut self.live(number).row;
        if row.acknowledged_at.is_some() || row.state != quell_domain::IncidentState::Open {
            return Verdict::Unchanged;
        }
        row.acknowledged_at = Some(moment.received_at);
        row.acknowledged_by = Some(actor.to_owned());
        let reason = Reason::new("acknowledged", "{actor} has it").text("actor", actor);
        self.note(number, moment.received_at, actor, reason.clone());
        self.notify(number, moment.received_at, Transition::Acknowledged, reason);
        Verdict::Done
    }

    fn resolve_for(&mut self, by: By<'_>, number: u64, note: Option<&str>) -> Verdict {
        if !self.incidents[&number].is_open() {
            return Verdict::Unchanged;
        }
        let reason = Reason::new("resolved_by", "{actor} resolved it{note}")
            .text("actor", by.actor)
            .text("note", note.map(|note| format!(": {note}")).unwrap_or_default());
        self.resolve(number, Some((by.actor, by.at)), reason);
        self.end_triggers(number, by.at);
        Verdict::Done
    }

    fn merge_for(&mut self, by: By<'_>, from: u64, into: IncidentId) -> Verdict {
        if !self.knows(into) {
            return Verdict::NotFound;
        }
        let from_id = self.live(from).row.id;
        if self.live(from).row.merged_into == Some(into) {
            return Verdict::Unchanged;
        }
        let (ours, theirs) = (self.members(into.number), self.members(from));
        let said = Said::Together { ours: self.parties(ours), theirs: self.parties(theirs) };
        let why = Reason::new("merged", "{actor} merged {incident} into {into}")
            .text("actor", by.actor)
            .text("incident", from_id.to_string())
            .text("into", into.to_string());
        if !self.merge(by, into.number, from, &why) {
            return Verdict::Refused;
        }
        self.hear_from(by, into, said);
        Verdict::Done
    }

    fn split_for(&mut self, by: By<'_>, number: u64, alerts: &[AlertId], why: &Reason) -> Verdict {
        let live = self.live(number);
        let incident = live.row.id;
        let wanted: BTreeSet<AlertId> = alerts.iter().copied().collect();
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for (id, &slot) in &live.members {
            if wanted.contains(id) { theirs.push(slot) } else { ours.push(slot) }
        }
        let said = Said::Apart { ours: self.parties(ours), theirs: self.parties(theirs) };
        match self.split(by, number, alerts, why) {
            Some(_) => {
                self.hear_from(by, incident, said);
                Verdict::Done
            }
            None => Verdict::Refused,
        }
    }

    fn wrong_cause(&mut self, by: By<'_>, number: u64, wrong: &CiId, right: Option<&CiId>) -> Verdict {
        let known = |ci: &CiId| self.graph.find(ci).is_some();
        if !self.movable(number) || right == Some(wrong) || !known(wrong) || !right.is_none_or(known) {
            return Verdict::Refused;
        }
        let Some(command) = by.command else { return Verdict::Refused };
        let verdict =
            |ci: &CiId, right| CauseVerdict { ci: ci.clone(), right, actor: by.actor.to_owned(), at: by.at, command };
        let slots = self.members(number);
        let alerts = self.parties(slots);
        let row = &mut self.live(number).row;
        let incident = row.id;
        row.verdicts.extend([verdict(wrong, false)].into_iter().chain(right.map(|ci| verdict(ci, true))));
        let over = row.verdicts.len().saturating_sub(VERDICTS);
        row.verdicts.drain(..over);
        let reason = match right {
            Some(ci) => Reason::new("wrong_cause", "{actor} said: {wrong} is not the cause, {right} is")
                .text("actor", by.actor)
                .text("wrong", wrong.to_string())
                .text("right", ci.to_string()),
            None => Reason::new("wrong_cause", "{actor} said: {wrong} is not the cause")
                .text("actor", by.actor)
                .text("wrong", wrong.to_string()),
        };
        self.settle(by, number, false, reason);
        self.remember_act(number, Act { command: by.command, kind: ActKind::Judged });
        self.hear_from(by, incident, Said::Cause { wrong: wrong.clone(), right: right.cloned(), alerts });
        Verdict::Done
    }

    fn hear_from(&mut self, by: By<'_>, incident: IncidentId, said: Said) {
        let Some(command) = by.command else { return };
        let standing = Standing::InForce;
        self.hear(Feedback { command, incident, actor: by.actor.to_owned(), at: by.at, said, standing });
    }

    /// Takes back what was done last and can be: the merge of this incident into another, else its own acts from the last
    /// one on, else the split that made it.
    fn undo(&mut self, by: By<'_>, number: u64) -> Verdict {
        let id = self.live(number).row.id;
        if let Some(into) = self.live(number).row.merged_into {
            let act = self.act_of(into, ActKind::Merged(id));
            let done = self.unmerge(by, number);
            return self.undone(done, act);
        }
        while let Some(act) = self.live(number).row.acts.pop() {
            let done = match act.kind {
                ActKind::Merged(from) => self.unmerge(by, from.number),
                ActKind::Split(part) => self.unsplit(by, part.number),
                ActKind::Judged => self.unjudge(by, number, act),
            };
            self.touch_incident(number);
            if done {
                return self.undone(done, Some(act));
            }
        }
        let Some(origin) = self.live(number).row.split_from else { return Verdict::Unchanged };
        let act = self.act_of(origin, ActKind::Split(id));
        let done = self.unsplit(by, number);
        self.undone(done, act)
    }

    fn act_of(&self, incident: IncidentId, kind: ActKind) -> Option<Act> {
        self.incidents.get(&incident.number)?.row.acts.iter().find(|act| act.kind == kind).copied()
    }

    fn undone(&mut self, done: bool, act: Option<Act>) -> Verdict {
        if !done {
            return Verdict::Refused;
        }
        if let Some(command) = act.and_then(|act| act.command) {
            self.unhear(command);
        }
        Verdict::Done
    }

    fn unjudge(&mut self, by: By<'_>, number: u64, act: Act) -> bool {
        let row = &mut self.live(number).row;
        let before = row.verdicts.len();
        row.verdicts.retain(|verdict| Some(verdict.command) != act.command);
        if row.verdicts.len() == before {
            return false;
        }
        let reason = Reason::new("unjudged", "{actor} took a word on its causes back").text("actor", by.actor);
        self.settle(by, number, false, reason);
        true
    }
}
