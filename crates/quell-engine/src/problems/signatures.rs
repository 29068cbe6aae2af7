//! Signatures as people mend them: merged, parted again, and split.
//!
//! A merged signature keeps its own counts and counts with the other, so that parting them is exact. Absent on purpose:
//! when quell takes incidents for the same (`recognise`).

use std::collections::BTreeMap;

use quell_domain::{IncidentId, PastIncident, Reason, Sign, SignatureId, Verdict};

use super::RecognitionRow;
use super::asked::Asker;
use crate::engine::Engine;

impl Engine {
    pub(super) fn merge_signatures(&mut self, by: Asker<'_>, from: SignatureId, into: SignatureId) -> Verdict {
        let (Some(from_number), Some(into_number)) = (self.signature_number(from), self.signature_number(into)) else {
            return Verdict::NotFound;
        };
        let (from_root, into_root) = (self.problems.root(from_number), self.problems.root(into_number));
        if from_root == into_root {
            return Verdict::Unchanged;
        }
        // Of two that are worked on, people merge the problems.
        let problem = self.problem_of(from_root);
        if from_root != from_number || (problem.is_some() && self.problem_of(into_root).is_some()) {
            return Verdict::Refused;
        }
        let into_id = self.signature_id(into_root);
        self.problems.merge(from_number, Some(into_id));
        self.put_signature(from_number);
        if let Some(problem) = problem {
            let id = self.problems.problems[&problem].id;
            if let Some(row) = self.problems.signatures.get_mut(&into_root) {
                row.problem = Some(id);
            }
            self.put_signature(into_root);
        }
        self.tell_of_signatures(
            by,
            into_root,
            "signatures_merged",
            "{actor} said that {from} is the same trouble as {into}",
            [from, into],
        );
        self.draft_if_it_recurs(into_root);
        Verdict::Done
    }

    pub(super) fn part_signature(&mut self, by: Asker<'_>, signature: SignatureId) -> Verdict {
        let Some(number) = self.signature_number(signature) else { return Verdict::NotFound };
        let Some(into) = self.problems.merge(number, None) else { return Verdict::Unchanged };
        self.put_signature(number);
        // The problem had come with it, and goes with it.
        let came = self.problems.signatures.get(&number).and_then(|row| row.problem);
        let of_other = |problem: &quell_domain::Problem| problem.signatures.contains(&into);
        let stays = came.and_then(|id| self.problems.problems.get(&id.number)).is_some_and(of_other);
        if let Some(row) = self.problems.signatures.get_mut(&into.number)
            && came.is_some()
            && row.problem == came
            && !stays
        {
            row.problem = None;
            self.put_signature(into.number);
        }
        self.refresh_problem(number);
        self.draft_if_it_recurs(into.number);
        let template = "{actor} said that {from} is another trouble than {into}";
        self.tell_of_signatures(by, into.number, "signatures_parted", template, [signature, into]);
        Verdict::Done
    }

    /// Some of the last incidents of a signature get one of their own. It is refused where those that stay look the same,
    /// since the next one could not be told apart.
    pub(super) fn split_signature(&mut self, by: Asker<'_>, from: SignatureId, incidents: &[IncidentId]) -> Verdict {
        let Some(number) = self.signature_number(from) else { return Verdict::NotFound };
        let row = &self.problems.signatures[&number];
        let (gone, stay): (Vec<PastIncident>, Vec<PastIncident>) =
            row.past.iter().cloned().partition(|past| incidents.contains(&past.incident));
        let alike = gone.iter().any(|gone| stay.iter().any(|stay| stay.traits == gone.traits));
        let wanted: std::collections::BTreeSet<&IncidentId> = incidents.iter().collect();
        if gone.is_empty() || gone.len() != wanted.len() || stay.is_empty() || alike {
            return Verdict::Refused;
        }
        let texts: BTreeMap<u64, Sign> = row.signs.iter().map(|(&key, (sign, _))| (key, sign.clone())).collect();
        let title = row.title.clone();
        let born = self.born_signature(gone[0].opened_at);
        let id = self.signature_id(born);
        for past in gone {
            self.problems.withdraw(number, &past);
            if let Some(row) = self.problems.recognitions.get_mut(&past.incident.number) {
                row.signature = Some(id);
            }
            self.turn.effects.problems.recognitions.push(RecognitionRow::Moved(past.incident, id));
            self.problems.contribute(born, past, &texts, &title);
        }
        self.put_signature(number);
        self.put_signature(born);
        let template = "{actor} said that some of its incidents are another trouble: {into}";
        self.tell_of_signatures(by, number, "signature_split", template, [from, id]);
        Verdict::Done
    }

    /// Counts anew what changed, and says so where the trouble has a problem.
    fn tell_of_signatures(
        &mut self,
        by: Asker<'_>,
        signature: u64,
        code: &'static str,
        template: &'static str,
        [from, into]: [SignatureId; 2],
    ) {
        let Some(problem) = self.problem_of(signature) else { return };
        self.refresh(problem);
        let reason = Reason::new(code, template)
            .text("actor", by.actor)
            .text("from", from.to_string())
            .text("into", into.to_string());
        self.tell(problem, by.at, by.actor, reason);
    }
}
