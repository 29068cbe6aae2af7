//! The part of the scripted store that tells of problems.

use quell_domain::{IncidentId, KnownSignature, Problem, ProblemId, Recognition, Shard, SignatureId, Timestamp};
use quell_store::contract::Answer;
use quell_store::{Page, ProblemDetail, ProblemQuery, RecognisedQuery};

use crate::script::{Script, State, now};

impl quell_store::ProblemStore for Script {
    fn problems(&self, _: Shard, query: ProblemQuery) -> Answer<'_, Page<Problem, ProblemId>> {
        let mut items: Vec<Problem> = self.get(|state| state.problems.iter().map(|d| d.problem.clone()).collect());
        items.sort_by_key(|problem| std::cmp::Reverse(problem.id));
        items.retain(|problem| query.states.is_empty() || query.states.contains(&problem.state));
        items.retain(|problem| query.before.is_none_or(|before| problem.id < before));
        let more = items.len() > query.limit as usize;
        items.truncate(query.limit as usize);
        let next = items.last().map(|problem| problem.id).filter(|_| more);
        now(Page { items, next })
    }

    fn problem(&self, _: Shard, id: ProblemId) -> Answer<'_, Option<ProblemDetail>> {
        now(self.get(|state| state.problems.iter().find(|detail| detail.problem.id == id).cloned()))
    }

    fn signature(&self, _: Shard, id: SignatureId) -> Answer<'_, Option<KnownSignature>> {
        let all =
            |state: &State| state.problems.iter().flat_map(|detail| detail.signatures.clone()).collect::<Vec<_>>();
        now(self.get(all).into_iter().find(|row| row.id == id))
    }

    fn signatures(&self, _: Shard, _: Option<SignatureId>, _: u32) -> Answer<'_, Page<KnownSignature, SignatureId>> {
        let all = |state: &State| state.problems.iter().flat_map(|detail| detail.signatures.clone()).collect();
        now(Page { items: self.get(all), next: None })
    }

    fn recognition(&self, _: Shard, incident: IncidentId) -> Answer<'_, Option<Recognition>> {
        now(self.get(|state| state.recognitions.iter().find(|row| row.incident == incident).cloned()))
    }

    fn recognised(&self, _: Shard, _: RecognisedQuery) -> Answer<'_, Vec<Recognition>> {
        now(self.get(|state| state.recognitions.clone()))
    }

    fn recognised_since(&self, _: Shard) -> Answer<'_, Option<Timestamp>> {
        now(None)
    }
}
