//! The way onto the log, for the HTTP side.
//!
//! Absent on purpose: decoding; what comes here is decoded already and travels with its bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use quell_api::ports::{Activated, Commanded, Held, Intake, Received, Refusal};
use quell_domain::{
    Activation, ArtefactKind, Batch, Changes, Command, Input, Position, ProblemCommand, ReceiptId, RecordKind, Shard,
    Source, Topology,
};
use quell_engine::Engine;
use quell_formats::{record, topology};
use quell_log::{Append, AppendError, Appended, Draft, Read, Stamp, Stream};
use quell_store::Store;

use crate::artefacts::Shelf;
use crate::gauges::Gauges;
use crate::journey;
use crate::live::{Published, Role};

/// What a request needs to become durable.
pub(crate) struct Door {
    pub(crate) shard: Shard,
    pub(crate) appender: Arc<dyn Append<Input>>,
    pub(crate) reader: Arc<dyn Read<Input>>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) published: Arc<Published>,
    pub(crate) gauges: Arc<Gauges>,
}

impl Door {
    async fn append(&self, stream: Stream, kind: RecordKind, body: Bytes, input: Input) -> Result<Appended, Refusal> {
        if matches!(kind, RecordKind::Alerts(_)) && self.published.is_too_much() {
            self.published.refused();
            return Err(Refusal::Overloaded);
        }
        let begun = Instant::now();
        let (span, context) = journey::append(stream);
        let draft = Draft { stream, kind, body, carry: Some(input), context };
        let appended = self.appender.append(draft).await;
        journey::appended(&span, &appended);
        if appended.is_ok() {
            self.gauges.appended(begun.elapsed());
        }
        let appended = appended.map_err(|error| refusal(&error)).inspect_err(|refusal| {
            if matches!(refusal, Refusal::Overloaded) {
                self.published.refused();
            }
        })?;
        if let (Stream::Main, Some(stamp)) = (stream, appended.stamp()) {
            self.published.appended(stamp.position);
        }
        Ok(appended)
    }

    /// Appends what a sender posted. It has no receipt while it lies in the spool.
    async fn take(&self, source: Source, body: Bytes, input: Input) -> Result<Option<ReceiptId>, Refusal> {
        let appended = self.append(Stream::Main, RecordKind::Alerts(source), body, input).await?;
        Ok(appended.stamp().map(|stamp| ReceiptId { shard: self.shard.number, position: stamp.position }))
    }

    /// Appends an input that quell itself makes.
    pub(crate) async fn append_input(&self, stream: Stream, input: Input) -> Result<Stamp, Refusal> {
        let (kind, body) = record::encode(&input).expect("only alerts and changes are recorded as they were posted");
        let appended = self.append(stream, kind, body.into(), input).await?;
        // No spool takes such a record.
        appended.stamp().ok_or(Refusal::Unavailable)
    }
}

fn refusal(error: &AppendError) -> Refusal {
    match error {
        AppendError::Overloaded { .. } => Refusal::Overloaded,
        AppendError::DiskFull => Refusal::DiskFull,
        AppendError::Failed(_) => Refusal::Failed,
        AppendError::Away(_) => Refusal::Unavailable,
        AppendError::Closed => Refusal::Closing,
    }
}

impl Intake for Door {
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
        Box::pin(async move {
            let stamp = self.append_input(Stream::Commands, Input::Command(command)).await?;
            let verdict = self.published.verdict(stamp.position, patience).await;
            Ok(Commanded { position: stamp.position, verdict })
        })
    }

    fn problem(&self, command: ProblemCommand, patience: Duration) -> BoxFuture<'_, Result<Commanded, Refusal>> {
        Box::pin(async move {
            let stamp = self.append_input(Stream::Commands, Input::Problem(command)).await?;
            let verdict = self.published.verdict(stamp.position, patience).await;
            Ok(Commanded { position: stamp.position, verdict })
        })
    }

    fn topology(&self, topology: Topology) -> BoxFuture<'_, Result<Activated, Refusal>> {
        Box::pin(async move {
            let made = tokio::task::spawn_blocking(move || {
                let bytes = topology::encode(&topology);
                (topology::digest(&bytes), bytes, Engine::topology_artefact(topology))
            });
            let (digest, bytes, artefact) = made.await.map_err(|_| Refusal::Closing)?;
            if quell_api::ports::Live::topology(&*self.published) == Some(digest) {
                return Ok(Activated { digest, changed: false });
            }
            let kind = ArtefactKind::Topology;
            if let Err(error) = self.store.put_artefact(kind, digest, &bytes).await {
                tracing::error!(error = %crate::serve::chain(&error), "a topology could not be kept");
                return Err(Refusal::Unavailable);
            }
            // Another node reads it from the store.
            if self.published.role() == Role::Deciding {
                self.shelf.put(digest, artefact);
            }
            let stamp = self.append_input(Stream::Main, Input::Activate(Activation { kind, digest })).await?;
            self.published.wait_for_activation(stamp.position).await;
            Ok(Activated { digest, changed: true })
        })
    }

    fn record(&self, position: Position) -> BoxFuture<'_, Result<Option<Received>, Refusal>> {
        Box::pin(async move {
            let found = self.reader.read_one(Stream::Main, position).await;
            let found = found.map_err(|error| {
                tracing::error!(error = %crate::serve::chain(&error), %position, "a record could not be read");
                Refusal::Unavailable
            })?;
            let Some(found) = found else { return Ok(None) };
            let received_at = found.stamp.received_at;
            Ok(match record::decode(found.kind, &found.body) {
                Ok(Input::Alerts(batch)) => Some(Received { received_at, held: Held::Alerts(batch) }),
                Ok(Input::Changes(changes)) => Some(Received { received_at, held: Held::Changes(changes) }),
                Ok(_) => None,
                Err(error) => {
                    tracing::error!(error = %crate::serve::chain(&error), %position, "a record could not be decoded");
                    return Err(Refusal::Unavailable);
                }
            })
        })
    }
}
