//! The way onto the log of one shard.
//!
//! Absent on purpose: decoding, as what comes here is decoded already and travels with its bytes; and which shard
//! something is for (`doors`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quell_api::ports::{Commanded, Held, Received, Refusal};
use quell_domain::{Activation, Input, Position, ReceiptId, RecordKind, Shard, Sharding, Source};
use quell_engine::Artefact;
use quell_formats::record;
use quell_log::{Append, AppendError, Appended, Draft, Read, Stamp, Stream};
use quell_store::Store;

use crate::artefacts::Shelf;
use crate::gauges::Gauges;
use crate::journey;
use crate::live::{Published, Role};

/// What a request needs to become durable.
pub(crate) struct Door {
    pub(crate) shard: Shard,
    /// Says which part of a record is this shard's.
    pub(crate) sharding: Arc<Sharding>,
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

    /// Appends this shard's part of what a sender posted. It has no receipt while it lies in the spool.
    pub(crate) async fn take(&self, source: Source, body: Bytes, input: Input) -> Result<Option<ReceiptId>, Refusal> {
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

    /// Appends what an operator asks, and waits up to `patience` for what becomes of it.
    pub(crate) async fn ask(&self, input: Input, patience: Duration) -> Result<Commanded, Refusal> {
        let stamp = self.append_input(Stream::Commands, input).await?;
        let verdict = self.published.verdict(stamp.position, patience).await;
        Ok(Commanded { position: stamp.position, verdict })
    }

    /// Puts an artefact in force that is in the store, and waits until it is.
    pub(crate) async fn activate(&self, activation: Activation, artefact: Artefact) -> Result<(), Refusal> {
        // Another node reads it from the store.
        if self.published.role() == Role::Deciding {
            self.shelf.put(activation.digest, artefact);
        }
        let stamp = self.append_input(Stream::Main, Input::Activate(activation)).await?;
        self.published.wait_for_activation(stamp.position).await;
        Ok(())
    }

    /// This shard's part of a record, decoded again; `None` when the log does not hold it, or it holds neither alerts nor
    /// changes.
    pub(crate) async fn record(&self, position: Position) -> Result<Option<Received>, Refusal> {
        let found = self.reader.read_one(Stream::Main, position).await;
        let found = found.map_err(|error| {
            tracing::error!(error = %crate::serve::chain(&error), %position, "a record could not be read");
            Refusal::Unavailable
        })?;
        let Some(found) = found else { return Ok(None) };
        let received_at = found.stamp.received_at;
        Ok(match record::decode_part(found.kind, &found.body, &self.sharding, self.shard.number) {
            Ok(Input::Alerts(batch)) => Some(Received { received_at, held: Held::Alerts(batch) }),
            Ok(Input::Changes(changes)) => Some(Received { received_at, held: Held::Changes(changes) }),
            Ok(_) => None,
            Err(error) => {
                tracing::error!(error = %crate::serve::chain(&error), %position, "a record could not be decoded");
                return Err(Refusal::Unavailable);
            }
        })
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
