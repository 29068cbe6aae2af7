//! Operators' commands: acknowledge, resolve, comment.
//!
//! Absent on purpose: who may give them. A command never moves the engine's clock, since it overtakes alerts that
//! still wait; it carries the time at which it was given.

use quell_domain::{Command, CommandKind, Moment, Outcome, Reason, Transition, Verdict};

use crate::engine::Engine;

impl Engine {
    pub(crate) fn command(&mut self, moment: Moment, command: &Command) {
        let Command { incident, actor, kind } = command;
        let number = incident.number;
        let known = incident.shard == self.shard.number && self.incidents.contains_key(&number);
        let verdict = match kind {
            _ if !known => Verdict::NotFound,
            CommandKind::Acknowledge => self.acknowledge(moment, number, actor),
            CommandKind::Resolve { note } => {
                if self.incidents[&number].is_open() {
                    let reason = Reason::new("resolved_by", "{actor} resolved it{note}")
                        .text("actor", actor)
                        .text("note", note.as_ref().map(|note| format!(": {note}")).unwrap_or_default());
                    self.resolve(number, Some((actor, moment.received_at)), reason);
                    self.end_triggers(number, moment.received_at);
                    Verdict::Done
                } else {
                    Verdict::Unchanged
                }
            }
            CommandKind::Comment { text } => {
                self.note(number, moment.received_at, actor, Reason::new("comment", "{text}").text("text", text));
                self.touch_incident(number);
                Verdict::Done
            }
        };
        let outcome = Outcome { command: moment.position, after: self.position, verdict };
        self.turn.effects.outcomes.push(outcome);
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
}
