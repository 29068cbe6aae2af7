//! Recognising incidents: what each is most like while it is open, and which signature it has once it is over.
//!
//! Absent on purpose: how like two incidents are (`traits`), and what recurrence leads to (`recur`).

use std::collections::BTreeMap;

use quell_domain::{
    Attached, IncidentId, IncidentState, PastIncident, Reason, Recognition, SignatureId, Timestamp, Traits,
};

use super::traits::{SAME, likeness};
use super::{RecognitionRow, SignatureRow};
use crate::engine::Engine;
use crate::lifecycle::QUELL;

/// Signatures that an incident is compared with, those that share its rarest alerts.
const COMPARED: usize = 256;

/// The incident as it counts with a signature; `None` while it is not over.
pub(super) fn past(row: &Recognition) -> Option<PastIncident> {
    let Recognition { incident, opened_at, ended_at, how, alerts, traits, .. } = row;
    let ended_at = (*ended_at)?;
    let (incident, opened_at, alerts) = (*incident, *opened_at, *alerts);
    Some(PastIncident { incident, opened_at, ended_at, how: how.clone(), alerts, traits: traits.clone() })
}

impl Engine {
    /// Looks at every incident touched in this turn.
    pub(crate) fn recognise_touched(&mut self) {
        let mut touched = self.turn.incidents.clone();
        touched.sort_unstable();
        touched.dedup();
        for number in touched {
            self.recognise(number);
        }
    }

    fn recognise(&mut self, number: u64) {
        let Some(live) = self.incidents.get(&number) else { return };
        let row = &live.row;
        if row.merged_into.is_some() {
            return self.unrecognise(number);
        }
        let known = self.problems.recognitions.get(&number);
        match row.state {
            IncidentState::Open => {
                if known.is_some_and(|known| known.ended_at.is_some()) {
                    self.take_back(number);
                }
                // While more comes in it is judged again soon, and then looked at.
                if self.incidents[&number].row.review_at.is_none() && !self.incidents[&number].members.is_empty() {
                    self.recognise_open(number);
                }
            }
            IncidentState::Resolved => {
                let same = |known: &Recognition| known.ended_at == row.resolved_at && known.alerts == row.alerts;
                if live.members.is_empty() || known.is_some_and(same) {
                    return;
                }
                self.take_back(number);
                self.recognise_over(number);
            }
        }
    }

    /// What is known that it is most like: the signature it counts with, and how like.
    fn most_like(&self, traits: &Traits, open: bool) -> Option<(u64, f64)> {
        let known = &self.problems;
        let compared = known.sharing(&traits.signs, COMPARED).into_iter().filter_map(|number| {
            let row = known.signatures.get(&number)?;
            let like = likeness(&self.graph, traits, row, open);
            (like >= SAME).then_some((number, like, row.last_at))
        });
        let best = compared.max_by(|a, b| a.1.total_cmp(&b.1).then(a.2.cmp(&b.2)).then(a.0.cmp(&b.0)));
        best.map(|(number, like, _)| (number, like))
    }

    fn recognise_open(&mut self, number: u64) {
        let (traits, _) = self.traits(number);
        let known = self.problems.recognitions.get(&number);
        if known.is_some_and(|known| known.traits == traits) {
            return;
        }
        let found = self.most_like(&traits, true);
        // One that came back has its own signature, which may have no other incident yet.
        let own = known.and_then(|known| known.signature).filter(|own| self.is_empty_signature(own.number));
        let signature = found.map(|(found, _)| self.signature_id(found)).or(own);
        let before = known.and_then(|known| known.signature).map(|id| self.problems.root(id.number));
        let row = Recognition {
            signature,
            likeness: found.map_or(0.0, |(_, like)| like),
            novel: found.is_none(),
            traits,
            ..self.recognition(number)
        };
        self.problems.recognitions.insert(number, row);
        if let Some((found, like)) = found
            && before != Some(self.problems.root(found))
        {
            self.note_like(number, found, like);
        }
        self.attach_workaround(number);
        self.put_recognition(number);
    }

    /// The row of an incident as it stands; kept are its workaround and how it ended.
    fn recognition(&self, number: u64) -> Recognition {
        let row = &self.incidents[&number].row;
        let known = self.problems.recognitions.get(&number);
        Recognition {
            incident: row.id,
            signature: known.and_then(|known| known.signature),
            likeness: known.map_or(0.0, |known| known.likeness),
            novel: known.is_none_or(|known| known.novel),
            traits: known.map(|known| known.traits.clone()).unwrap_or_default(),
            opened_at: row.opened_at,
            ended_at: None,
            how: String::new(),
            alerts: row.alerts,
            priority: row.priority,
            service: row.blast_radius.services.first().map(|service| service.ci.clone()),
            dependents: row.blast_radius.cis,
            workaround: known.and_then(|known| known.workaround.clone()),
        }
    }

    /// It is over: it has a signature now, its own if it is like none.
    fn recognise_over(&mut self, number: u64) {
        let (traits, texts) = self.traits(number);
        let found = self.most_like(&traits, false);
        let own = self.problems.recognitions.get(&number).and_then(|known| known.signature);
        let own = own.map(|own| own.number).filter(|&own| self.is_empty_signature(own));
        let tally = &mut self.turn.effects.problems.tally;
        *(if found.is_some() { &mut tally.known } else { &mut tally.novel }) += 1;
        let (signature, like) = match (found, own) {
            (Some(found), _) => found,
            (None, Some(own)) => (own, 1.0),
            (None, None) => (self.born_signature(self.incidents[&number].row.opened_at), 1.0),
        };
        // One that was like another while it was open and is not after all leaves nothing behind.
        if let Some(own) = own.filter(|&own| own != signature) {
            self.drop_signature(own);
        }
        let row = &self.incidents[&number].row;
        let (ended_at, title) = (row.resolved_at, row.title.clone());
        let row = Recognition {
            signature: Some(self.signature_id(signature)),
            likeness: like,
            novel: found.is_none(),
            traits,
            ended_at,
            how: self.how_it_ended(number),
            ..self.recognition(number)
        };
        if let Some(past) = past(&row) {
            self.problems.contribute(signature, past, &texts, &title);
        }
        self.problems.recognitions.insert(number, row);
        self.judge_workaround(number);
        self.put_recognition(number);
        self.put_signature(signature);
        self.recurred(signature, number);
    }

    /// What its timeline said last of its end.
    fn how_it_ended(&self, number: u64) -> String {
        const ENDS: [&str; 3] = ["resolved_by", "all_ended", "resolved_before"];
        let id = IncidentId { shard: self.shard.number, number };
        let mut entries = self.turn.effects.timeline.iter().rev();
        let last = entries.find(|entry| entry.incident == id && ENDS.contains(&&*entry.reason.code));
        last.map(|entry| entry.reason.to_string()).unwrap_or_default()
    }

    /// It is not over after all, or will count anew.
    fn take_back(&mut self, number: u64) {
        let Some(row) = self.problems.recognitions.get_mut(&number) else { return };
        let Some(past) = past(row) else { return };
        row.ended_at = None;
        let signature = row.signature;
        // Looked at anew, whatever it looks like.
        row.traits = Traits::default();
        self.unjudge_workaround(number);
        self.put_recognition(number);
        if let Some(SignatureId { number: signature, .. }) = signature {
            self.problems.withdraw(signature, &past);
            self.put_signature(signature);
            self.refresh_problem(signature);
        }
    }

    /// Its alerts went to another incident: it was none of its own.
    fn unrecognise(&mut self, number: u64) {
        self.take_back(number);
        self.detach_workaround(number, None);
        let Some(row) = self.problems.recognitions.remove(&number) else { return };
        self.turn.effects.problems.recognitions.push(RecognitionRow::Void(row.incident));
        if let Some(own) = row.signature.map(|id| id.number).filter(|&own| self.is_empty_signature(own)) {
            self.drop_signature(own);
        }
    }

    fn note_like(&mut self, number: u64, signature: u64, like: f64) {
        let root = self.problems.root(signature);
        let group = self.problems.group(&[root]);
        let rows = || group.iter().filter_map(|number| self.problems.signatures.get(number));
        let seen: u64 = rows().map(|row| row.cost.incidents).sum();
        let last = rows().filter_map(|row| row.past.last()).max_by_key(|past| (past.opened_at, past.incident));
        let Some(last) = last else { return };
        let template = "like {signature} ({percent} % alike, seen before: {count}); the last one was {incident}: {how}";
        let reason = Reason::new("like", template)
            .text("signature", self.signature_id(root).to_string())
            .count("count", seen)
            .count("percent", (like * 100.0).round() as u64)
            .text("incident", last.incident.to_string())
            .text("how", if last.how.is_empty() { "it ended" } else { &last.how });
        self.note(number, self.now(), QUELL, reason);
    }

    pub(super) fn signature_id(&self, number: u64) -> SignatureId {
        SignatureId { shard: self.shard.number, number }
    }

    fn is_empty_signature(&self, number: u64) -> bool {
        self.problems.signatures.get(&number).is_some_and(|row| row.cost.incidents == 0)
    }

    pub(super) fn born_signature(&mut self, at: Timestamp) -> u64 {
        let (number, gone) = self.problems.born(self.shard.number, at);
        if let Some(gone) = gone {
            self.turn.effects.problems.tally.crowded_out += 1;
            self.turn.effects.problems.signatures.push(SignatureRow::LetGo(gone));
        }
        number
    }

    /// Lets go of a signature that nothing has any more; one that people or a problem name stays.
    fn drop_signature(&mut self, number: u64) {
        let Some(row) = self.problems.signatures.get(&number) else { return };
        if row.problem.is_some() || row.merged_into.is_some() || self.problems.is_named(number) {
            return;
        }
        self.turn.effects.problems.signatures.push(SignatureRow::LetGo(row.id));
        self.problems.remove(number);
    }

    pub(super) fn put_recognition(&mut self, number: u64) {
        if let Some(row) = self.problems.recognitions.get(&number) {
            self.turn.effects.problems.recognitions.push(RecognitionRow::Put(Box::new(row.clone())));
        }
    }

    pub(super) fn put_signature(&mut self, number: u64) {
        if let Some(row) = self.problems.signatures.get(&number) {
            self.turn.effects.problems.signatures.push(SignatureRow::Put(Box::new(row.clone())));
        }
    }
}

/// The workaround of a known error on its incidents.
impl Engine {
    /// Attaches the workaround of the problem that an open incident is of, once; takes off one that does not fit.
    pub(super) fn attach_workaround(&mut self, number: u64) {
        let Some(row) = self.problems.recognitions.get(&number) else { return };
        let problem = row.signature.and_then(|id| self.problem_of(id.number));
        let problem = problem.and_then(|problem| self.problems.problems.get(&problem));
        let fits = problem.filter(|problem| problem.state.is_open()).and_then(|problem| {
            let text = problem.workaround.clone()?;
            Some((problem.id, text))
        });
        let attached = row.workaround.as_ref().map(|attached| attached.problem);
        if attached.is_some() && fits.as_ref().map(|(id, _)| *id) == attached {
            return;
        }
        if attached.is_some() {
            let why = "the incident turned out to be another trouble";
            self.detach_workaround(number, Some(why));
        }
        let Some((problem, text)) = fits else { return };
        let at = self.now();
        let reason = Reason::new("workaround", "{problem} is a known error; what helps: {workaround}")
            .text("problem", problem.to_string())
            .text("workaround", &text);
        self.note(number, at, QUELL, reason);
        if let Some(row) = self.problems.recognitions.get_mut(&number) {
            row.workaround = Some(Attached { problem, text, at, helped: None, said_by: None });
        }
        self.change_problem(problem.number, |problem| problem.used += 1);
    }

    fn detach_workaround(&mut self, number: u64, why: Option<&str>) {
        let Some(row) = self.problems.recognitions.get_mut(&number) else { return };
        let Some(Attached { problem, helped, .. }) = row.workaround.take() else { return };
        self.change_problem(problem.number, |problem| {
            problem.used = problem.used.saturating_sub(1);
            problem.helped = problem.helped.saturating_sub(u64::from(helped == Some(true)));
        });
        if let Some(why) = why {
            let reason = Reason::new("workaround_off", "the workaround of {problem} does not fit any more: {why}")
                .text("problem", problem.to_string())
                .text("why", why);
            self.note(number, self.now(), QUELL, reason);
        }
    }

    /// It helped when the incident was over sooner than its like were before there was a workaround; what a person said
    /// of it stands.
    fn judge_workaround(&mut self, number: u64) {
        let Some(row) = self.problems.recognitions.get(&number) else { return };
        let Some((attached, past)) = row.workaround.clone().zip(past(row)) else { return };
        let of = row.signature.and_then(|id| self.problem_of(id.number));
        if of != Some(attached.problem.number) {
            return self.detach_workaround(number, Some("the incident turned out to be another trouble"));
        }
        let usual = self.problems.problems.get(&attached.problem.number).and_then(|problem| problem.usual_micros);
        let Some(usual) = usual.filter(|_| attached.helped.is_none()) else { return };
        let took = past.cost().open_micros;
        let helped = took < usual;
        let template = "over in {took_minutes} min; before there was the workaround of {problem} half of its like took \
            longer than {usual_minutes} min";
        let minutes = |micros: u64| (micros as f64 / 6e6).round() / 10.0;
        let reason = Reason::new(if helped { "workaround_helped" } else { "workaround_did_not_help" }, template)
            .number("took_minutes", minutes(took))
            .text("problem", attached.problem.to_string())
            .number("usual_minutes", minutes(usual));
        self.note(number, past.ended_at, QUELL, reason);
        self.mark_helped(number, Some(helped), None);
    }

    fn unjudge_workaround(&mut self, number: u64) {
        let row = self.problems.recognitions.get(&number);
        let judged = row.and_then(|row| row.workaround.as_ref());
        if judged.is_some_and(|attached| attached.helped.is_some() && attached.said_by.is_none()) {
            self.mark_helped(number, None, None);
        }
    }

    pub(super) fn mark_helped(&mut self, number: u64, helped: Option<bool>, said_by: Option<&str>) {
        let row = self.problems.recognitions.get_mut(&number);
        let Some(attached) = row.and_then(|row| row.workaround.as_mut()) else { return };
        let (before, problem) = (attached.helped == Some(true), attached.problem.number);
        attached.helped = helped;
        attached.said_by = said_by.map(str::to_owned);
        let now = helped == Some(true);
        if before != now {
            self.change_problem(problem, |problem| {
                problem.helped = problem.helped.saturating_sub(u64::from(before)) + u64::from(now);
            });
        }
    }

    /// How long half of the incidents of a problem took at most.
    pub(super) fn usual_micros(&self, signatures: &[u64]) -> Option<u64> {
        let rows = self.problems.group(signatures);
        let rows = rows.iter().filter_map(|number| self.problems.signatures.get(number));
        let mut took: BTreeMap<(u64, IncidentId), ()> = BTreeMap::new();
        for past in rows.flat_map(|row| &row.past) {
            took.insert((past.cost().open_micros, past.incident), ());
        }
        took.keys().nth(took.len() / 2).map(|(micros, _)| *micros)
    }
}
