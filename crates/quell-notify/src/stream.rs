//! Telling a stream of events: every change of an incident and of a problem as a CloudEvent, at least once, with the same
//! id each time, those of one incident or problem in order.
//!
//! What is to be told lies in the store, as for a webhook. An event is never given up while the stream is away; one that
//! the stream would refuse at any time is dead after a few tries. Absent on purpose: how a stream is reached; the shell
//! hands one in.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use quell_domain::{Incident, Notice, Problem, ProblemEntry, Shard};
use quell_formats::cloud_event::{self, Head};
use quell_formats::views::reason_json;
use quell_store::{Delivery, ProblemDelivery, Store, StoreError};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::worker::{Clock, rest};

/// Events of different incidents that are on their way at the same time.
const CONCURRENCY: usize = 64;
/// Deliveries asked of the store at a time.
const BATCH: u32 = 256;
/// The longest that an event waits for the next try.
const LONGEST: Duration = Duration::from_secs(30);
/// Tries of an event that the stream would refuse at any time.
const TRIES: u32 = 3;

/// The stream did not take an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Untaken {
    /// What it said.
    pub why: String,
    /// It would say so at any time.
    pub for_good: bool,
}

/// Takes an event of a key; returns when it cannot be lost any more.
pub type Put = Box<dyn Fn(String, Vec<u8>) -> BoxFuture<'static, Result<(), Untaken>> + Send + Sync>;

/// How the API shows what events are about.
#[derive(Clone, Copy, Debug)]
pub struct Shapes {
    /// An incident without its alerts and timeline.
    pub incident: fn(&Incident) -> Value,
    /// A problem without what belongs to it.
    pub problem: fn(&Problem) -> Value,
}

/// Tells one stream.
pub struct Announcer {
    /// The sink's name, as the store knows it.
    pub name: String,
    /// CloudEvents' `source`.
    pub source: String,
    /// Whose incidents and problems.
    pub shard: Shard,
    /// Where what is to be told lies.
    pub store: Arc<dyn Store>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// See [`Shapes`].
    pub shapes: Shapes,
    /// See [`Put`].
    pub put: Put,
}

impl std::fmt::Debug for Announcer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Announcer({})", self.name)
    }
}

/// One event, ready to be told.
struct Event {
    id: String,
    attempts: u32,
    key: String,
    bytes: Vec<u8>,
}

impl Announcer {
    /// Tells everything that becomes due, until `shutdown` is done. `wake` says that something may have become due.
    pub async fn run(self, wake: watch::Receiver<()>, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = self.work(wake) => {}
            () = shutdown => {}
        }
    }

    async fn work(&self, mut wake: watch::Receiver<()>) {
        loop {
            // Seen before looking, so that what comes while looking wakes again.
            wake.borrow_and_update();
            rest(&self.name, self.round().await, &mut wake).await;
        }
    }

    /// Tells what is due; how many it was.
    async fn round(&self) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let mut incidents = self.store.due(self.shard, &self.name, now, BATCH).await?;
        let mut problems = self.store.problems_due(self.shard, &self.name, now, BATCH).await?;
        // The store holds later ones back; this holds them even if one lets two through.
        let (mut seen, mut known) = (BTreeSet::new(), BTreeSet::new());
        incidents.retain(|delivery| seen.insert(delivery.notice.incident));
        problems.retain(|delivery| known.insert(delivery.entry.problem));
        let mut events = Vec::with_capacity(incidents.len() + problems.len());
        for delivery in incidents {
            events.push(self.of_incident(delivery).await?);
        }
        for delivery in problems {
            events.push(self.of_problem(delivery).await?);
        }
        let count = events.len();
        let told = futures::stream::iter(events).map(|event| self.tell(event)).buffer_unordered(CONCURRENCY);
        told.collect::<Vec<_>>().await.into_iter().collect::<Result<(), _>>()?;
        Ok(count)
    }

    async fn tell(&self, event: Event) -> Result<(), StoreError> {
        let Event { id, attempts, key, bytes } = event;
        match (self.put)(key, bytes).await {
            Ok(()) => self.store.delivered(&id, self.clock.now()).await,
            Err(Untaken { why, for_good }) => {
                let retry_in = retry(attempts + 1, for_good);
                let sink = &self.name;
                match retry_in {
                    Some(retry_in) => tracing::warn!(sink, id, why, ?retry_in, "an event was not taken"),
                    None => tracing::error!(sink, id, why, "an event was not taken and is given up"),
                }
                self.store.failed(&id, self.clock.now(), &why, retry_in).await
            }
        }
    }

    /// The incident as it is remembered now, and what happened to it.
    async fn of_incident(&self, delivery: Delivery) -> Result<Event, StoreError> {
        let Delivery { id, notice, attempts } = delivery;
        let Notice { incident, number, transition, at, title, priority, cause, alerts, reason } = &notice;
        let found = self.store.incident(self.shard, *incident, 0).await?;
        let mut data =
            found.map_or_else(|| json!({"id": incident.to_string()}), |found| (self.shapes.incident)(&found.incident));
        data["change"] = json!({
            "number": number,
            "transition": transition.as_str(),
            "at": at.to_string(),
            "title": title,
            "priority": priority.to_string(),
            "cause": cause.as_ref().map(quell_domain::CiId::as_str),
            "alerts": alerts,
            "reason": reason_json(reason),
        });
        let (key, kind) = (incident.to_string(), format!("incident.{}", transition.as_str()));
        let head = Head { id: &id, source: &self.source, kind: &kind, subject: &key, time: *at };
        let bytes = cloud_event::encode(&head, &data);
        Ok(Event { id, attempts, key, bytes })
    }

    /// The problem as it is remembered now, and what happened to it.
    async fn of_problem(&self, delivery: ProblemDelivery) -> Result<Event, StoreError> {
        let ProblemDelivery { id, entry, attempts } = delivery;
        let ProblemEntry { problem, at, actor, reason } = &entry;
        let found = self.store.problem(self.shard, *problem).await?;
        let mut data =
            found.map_or_else(|| json!({"id": problem.to_string()}), |found| (self.shapes.problem)(&found.problem));
        data["change"] = json!({"at": at.to_string(), "actor": actor, "reason": reason_json(reason)});
        let (key, kind) = (problem.to_string(), format!("problem.{}", reason.code));
        let head = Head { id: &id, source: &self.source, kind: &kind, subject: &key, time: *at };
        let bytes = cloud_event::encode(&head, &data);
        Ok(Event { id, attempts, key, bytes })
    }
}

/// When an event is tried again: after a second, doubled each time. Never where it is dead.
fn retry(attempt: u32, for_good: bool) -> Option<Duration> {
    let wait = Duration::from_secs(1_u64 << attempt.clamp(1, 6).saturating_sub(1)).min(LONGEST);
    (!for_good || attempt < TRIES).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_is_away_is_tried_for_ever_and_a_refused_event_is_not() {
        let seconds = |attempt, for_good| retry(attempt, for_good).map(|wait| wait.as_secs());
        assert_eq!([1, 2, 3, 6, 7, 1_000].map(|n| seconds(n, false)), [1, 2, 4, 30, 30, 30].map(Some));
        assert_eq!([1, 2, 3].map(|n| seconds(n, true)), [Some(1), Some(2), None]);
    }
}
