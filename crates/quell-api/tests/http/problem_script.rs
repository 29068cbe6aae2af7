//! The part of the scripted store that tells of problems.

use quell_domain::{
    HistoricIncident, IncidentId, KeptForecast, KeptModel, KnownSignature, Outage, Problem, ProblemId, Recognition,
    Shard, SignatureId, Subject, Timestamp,
};
use quell_store::contract::Answer;
use quell_store::{Page, ProblemDetail, ProblemQuery, RecognisedQuery, Which};

use crate::script::{Script, State, now};

impl quell_store::ProblemStore for Script {
    fn problems_due<'a>(
        &'a self,
        _: Shard,
        _: &'a str,
        _: Timestamp,
        _: u32,
    ) -> Answer<'a, Vec<quell_store::ProblemDelivery>> {
        now(Vec::new())
    }

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

    fn recognised(&self, _: Shard, query: RecognisedQuery) -> Answer<'_, Vec<Recognition>> {
        let mut rows = self.get(|state| state.recognitions.clone());
        rows.retain(|row| query.cause.is_none() || row.traits.cause == query.cause);
        now(rows)
    }

    fn recognised_since(&self, _: Shard) -> Answer<'_, Option<Timestamp>> {
        now(None)
    }

    fn outages(&self, _: Shard, _: Timestamp) -> Answer<'_, Vec<Outage>> {
        now(Vec::new())
    }
}

impl quell_store::ForecastStore for Script {
    fn keep_forecasts<'a>(&'a self, _: Shard, _: &'a [KeptForecast]) -> Answer<'a, ()> {
        unreachable!("the HTTP side never forecasts")
    }

    fn forecasts(
        &self,
        _: Shard,
        subject: Subject,
        horizon: u32,
        which: Which,
        limit: u32,
    ) -> Answer<'_, Vec<KeptForecast>> {
        let mut rows = self.get(|state| state.forecasts.clone());
        rows.retain(|row| (row.subject, row.horizon) == (subject, horizon));
        rows.retain(|row| row.outcome.is_some() == (which == Which::Marked));
        rows.truncate(limit as usize);
        now(rows)
    }

    fn forecasts_of<'a>(
        &'a self,
        _: Shard,
        subject: Subject,
        horizon: u32,
        names: &'a [String],
        limit: u32,
    ) -> Answer<'a, Vec<KeptForecast>> {
        let mut rows = self.get(|state| state.forecasts.clone());
        rows.retain(|row| (row.subject, row.horizon, row.scored) == (subject, horizon, true));
        rows.retain(|row| names.contains(&row.name));
        rows.truncate(limit as usize);
        now(rows)
    }

    fn mark_forecasts<'a>(&'a self, _: Shard, _: &'a [KeptForecast]) -> Answer<'a, ()> {
        unreachable!("the HTTP side never forecasts")
    }

    fn put_model<'a>(&'a self, _: Shard, _: &'a KeptModel) -> Answer<'a, ()> {
        unreachable!("the HTTP side never forecasts")
    }

    fn model(&self, _: Shard, _: Subject, _: u32) -> Answer<'_, Option<KeptModel>> {
        now(None)
    }

    fn add_history<'a>(&'a self, _: Shard, incidents: &'a [HistoricIncident]) -> Answer<'a, u64> {
        self.state.lock().expect("not poisoned").imported.extend(incidents.iter().cloned());
        now(incidents.len() as u64)
    }

    fn history(&self, _: Shard, _: u64, _: u32) -> Answer<'_, Vec<(u64, HistoricIncident)>> {
        now(vec![])
    }
}
