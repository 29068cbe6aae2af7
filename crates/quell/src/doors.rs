//! The front of all shards: shares out what comes among their doors, and shows what they know as one.
//!
//! A request becomes one record for each shard that has a part of it, all with the same bytes, and is answered when every
//! one of them is durable. If one cannot be, the answer says so; what is durable already is recognised as a repeat when
//! the sender comes again. Absent on purpose: which shard something is for; that is `quell_domain::Sharding`'s.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use quell_api::ports::{Activated, Commanded, Health, Intake, Live, Received, Refusal};
use quell_cmdb::Graph;
use quell_domain::{
    Activation, ArtefactKind, Batch, Changes, Command, Digest, Input, ProblemCommand, ReceiptId, Sharding, Source,
    Topology, TwoShards,
};
use quell_engine::Engine;
use quell_formats::topology;
use quell_store::Change;
use tokio::sync::broadcast;

use crate::intake::Door;
use crate::serve::chain;

/// A node's doors, one for each shard.
pub(crate) struct Doors {
    sharding: Arc<Sharding>,
    first: Arc<Door>,
    others: Vec<Arc<Door>>,
}

impl Doors {
    /// `others` are those of the shards after the first one, in their order.
    pub(crate) fn new(sharding: Arc<Sharding>, first: Arc<Door>, others: Vec<Arc<Door>>) -> Self {
        Doors { sharding, first, others }
    }

    /// The door of an installation with one shard.
    #[cfg(test)]
    pub(crate) fn alone(door: &Arc<Door>) -> Self {
        Doors::new(Arc::clone(&door.sharding), Arc::clone(door), Vec::new())
    }

    /// The first shard's, which knows what is the same for all of them.
    pub(crate) fn first(&self) -> &Arc<Door> {
        &self.first
    }

    /// Every shard's, in order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Door>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// A shard's. One that is not there has nothing that could be asked for, as the first shard will say.
    fn of(&self, number: u32) -> &Arc<Door> {
        let other = number.checked_sub(1).and_then(|at| self.others.get(at as usize));
        other.unwrap_or(&self.first)
    }

    /// Makes each shard's part durable; the receipt is that of the first shard concerned.
    async fn take(&self, source: Source, body: Bytes, input: Input) -> Result<Option<ReceiptId>, Refusal> {
        if self.others.is_empty() {
            return self.first.take(source, body, input).await;
        }
        let parts = self.sharding.split(input).into_iter();
        // All at once: each is handed to its log when it is first polled.
        let taken = join_all(parts.map(|(number, part)| self.of(number).take(source, body.clone(), part))).await;
        let mut receipts = taken.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter();
        Ok(receipts.next().flatten())
    }
}

impl Intake for Doors {
    fn accept(&self, source: Source, body: Bytes, batch: Batch) -> BoxFuture<'_, Result<Option<ReceiptId>, Refusal>> {
        Box::pin(self.take(source, body, Input::Alerts(batch)))
    }

    fn changes(
        &self,
        source: Source,
        body: Bytes,
        changes: Changes,
    ) -> BoxFuture<'_, Result<Option<ReceiptId>, Refusal>> {
        Box::pin(self.take(source, body, Input::Changes(changes)))
    }

    fn command(&self, command: Command, patience: Duration) -> BoxFuture<'_, Result<Commanded, Refusal>> {
        Box::pin(async move { self.of(asked(command.shard())).ask(Input::Command(command), patience).await })
    }

    fn problem(&self, command: ProblemCommand, patience: Duration) -> BoxFuture<'_, Result<Commanded, Refusal>> {
        Box::pin(async move { self.of(asked(command.shard())).ask(Input::Problem(command), patience).await })
    }

    fn topology(&self, topology: Topology) -> BoxFuture<'_, Result<Activated, Refusal>> {
        Box::pin(async move {
            let made = tokio::task::spawn_blocking(move || {
                let bytes = topology::encode(&topology);
                (topology::digest(&bytes), bytes, Engine::topology_artefact(topology))
            });
            let (digest, bytes, artefact) = made.await.map_err(|_| Refusal::Closing)?;
            // Where it was not put in force everywhere the last time, the rest is done now.
            let without: Vec<&Arc<Door>> =
                self.all().filter(|door| Live::topology(&*door.published) != Some(digest)).collect();
            if without.is_empty() {
                return Ok(Activated { digest, changed: false });
            }
            let kind = ArtefactKind::Topology;
            if let Err(error) = self.first.store.put_artefact(kind, digest, &bytes).await {
                tracing::error!(error = %chain(&error), "a topology could not be kept");
                return Err(Refusal::Unavailable);
            }
            let activation = Activation { kind, digest };
            let activated = join_all(without.iter().map(|door| door.activate(activation, artefact.clone()))).await;
            activated.into_iter().collect::<Result<(), _>>()?;
            Ok(Activated { digest, changed: true })
        })
    }

    fn record(&self, receipt: ReceiptId) -> BoxFuture<'_, Result<Option<Received>, Refusal>> {
        let ReceiptId { shard, position } = receipt;
        Box::pin(async move {
            if shard >= self.sharding.count() {
                return Ok(None);
            }
            self.of(shard).record(position).await
        })
    }
}

impl Live for Doors {
    fn changes(&self) -> broadcast::Receiver<Change> {
        // Every shard tells of its changes on the same channel.
        Live::changes(&*self.first.published)
    }

    fn graph(&self) -> Arc<Graph> {
        Live::graph(&*self.first.published)
    }

    fn topology(&self) -> Option<Digest> {
        Live::topology(&*self.first.published)
    }

    fn health(&self) -> Health {
        if self.others.is_empty() {
            return Live::health(&*self.first.published);
        }
        let shards: Vec<Health> = self.all().map(|door| Live::health(&*door.published)).collect();
        together(&shards)
    }
}

/// Whom to ask: of a command that names things of two shards, the first one says that it does not know the other.
fn asked(shard: Result<u32, TwoShards>) -> u32 {
    shard.unwrap_or_else(|two| two.one)
}

/// The health of all shards as one: what waits is summed, and what is wrong is said of those where it is.
fn together(shards: &[Health]) -> Health {
    let mut whole = Health::default();
    let (mut not_ready, mut degraded) = (Vec::new(), Vec::new());
    for (number, shard) in shards.iter().enumerate() {
        whole.lag_records += shard.lag_records;
        whole.role = worst(whole.role, shard.role);
        for (told, all) in [(&shard.not_ready, &mut not_ready), (&shard.degraded, &mut degraded)] {
            for words in told {
                note(all, words, number);
            }
        }
    }
    let said = |all: Vec<(String, Vec<usize>)>| all.into_iter().map(|told| of_shards(told, shards.len())).collect();
    (whole.not_ready, whole.degraded) = (said(not_ready), said(degraded));
    whole
}

/// A node that takes over anywhere says so; else it decides when it does so anywhere.
fn worst(one: Option<&'static str>, other: Option<&'static str>) -> Option<&'static str> {
    let place = |role: &str| crate::live::Role::WORDS.iter().position(|words| *words == role);
    match (one, other) {
        (Some(one), Some(other)) if place(one) < place(other) => Some(other),
        (one, other) => one.or(other),
    }
}

fn note(all: &mut Vec<(String, Vec<usize>)>, words: &str, number: usize) {
    match all.iter_mut().find(|(known, _)| known == words) {
        Some((_, numbers)) => numbers.push(number),
        None => all.push((words.to_owned(), vec![number])),
    }
}

fn of_shards((words, numbers): (String, Vec<usize>), count: usize) -> String {
    if numbers.len() == count {
        return words;
    }
    let names: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    format!("shard {}: {words}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(role: &'static str, lag_records: u64, degraded: &[&str]) -> Health {
        let degraded = degraded.iter().map(|words| (*words).to_owned()).collect();
        Health { lag_records, role: Some(role), degraded, ..Health::default() }
    }

    #[test]
    fn the_health_of_shards_is_their_sum_and_their_worst() {
        let whole = together(&[
            shard("standing by", 3, &["the store does not answer"]),
            shard("deciding", 4, &["the store does not answer", "7 records wait"]),
            shard("standing by", 0, &["the store does not answer"]),
        ]);
        let expected = shard("deciding", 7, &["the store does not answer", "shard 1: 7 records wait"]);
        assert_eq!(whole, expected);
        let whole = together(&[shard("deciding", 0, &[]), shard("taking over", 0, &[])]);
        assert_eq!(whole.role, Some("taking over"));
    }
}
