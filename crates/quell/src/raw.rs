//! Topics that other systems fill: each message is taken as the body of a request by the contract that the config names.
//!
//! A message is durable on the log before its offset is committed, so each is taken at least once; one that comes again
//! says what was said before, which changes nothing. What its contract refuses is parked, as of a request; what is too
//! large for the log is put aside. Absent on purpose: answers to whoever filled the topic.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use quell_api::ports::{Intake as _, Refusal};
use quell_domain::{Input, RecordKind, Source};
use quell_formats::record;
use quell_log::kafka::{RawMessage, RawTopic};
use tokio::sync::watch;

use crate::aside::Aside;
use crate::doors::Doors;

/// Messages that are on their way onto the log at once.
const WAVE: usize = 256;
/// After the log refused a message: doubled up to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Between two looks at how much waits.
const LOOK: Duration = Duration::from_secs(5);

/// What is counted of raw topics; a topic is a label because the config names each.
#[derive(Clone)]
pub(crate) struct RawGauges {
    messages: IntCounterVec,
    lag: IntGaugeVec,
}

impl RawGauges {
    pub(crate) fn new(registry: &Registry) -> Result<RawGauges, prometheus::Error> {
        let help = "Messages of topics that other systems fill, by what became of them: taken onto the log, empty, or \
            put aside because they were too large";
        let messages = IntCounterVec::new(Opts::new("quell_raw_messages_total", help), &["topic", "outcome"])?;
        let help = "Messages on this node's partitions of a topic that are not taken yet, as last counted";
        let lag = IntGaugeVec::new(Opts::new("quell_raw_lag_messages", help), &["topic"])?;
        registry.register(Box::new(messages.clone()))?;
        registry.register(Box::new(lag.clone()))?;
        Ok(RawGauges { messages, lag })
    }
}

/// One topic and where its messages go.
pub(crate) struct Raw {
    pub(crate) topic: String,
    pub(crate) format: Source,
    /// Bytes of a message, as of a request's body unpacked.
    pub(crate) most: usize,
    pub(crate) doors: Arc<Doors>,
    pub(crate) aside: Arc<Aside>,
    pub(crate) gauges: RawGauges,
}

impl Raw {
    /// Takes messages until `stopping` turns true.
    pub(crate) async fn run(self, mut from: RawTopic, mut stopping: watch::Receiver<bool>) {
        let lag = self.gauges.lag.with_label_values(&[&self.topic]);
        let mut look = tokio::time::interval(LOOK);
        loop {
            let messages = tokio::select! {
                biased;
                _ = stopping.wait_for(|stop| *stop) => break,
                messages = from.next(WAVE) => messages,
                _ = look.tick() => {
                    lag.set(i64::try_from(from.lag()).unwrap_or(i64::MAX));
                    continue;
                }
            };
            let taken = tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => false,
                taken = self.take(&messages) => taken,
            };
            if messages.is_empty() || !taken {
                break;
            }
            from.done(&messages);
        }
        from.leave().await;
    }

    /// Makes all of them durable, in their order; false when the log takes nothing any more.
    async fn take(&self, messages: &[RawMessage]) -> bool {
        let mut rest = messages;
        let mut wait = RETRY.0;
        loop {
            let inputs = self.decode(rest).await;
            // The first poll of each hands it to the log, so they come there in this order.
            let appended = join_all(rest.iter().zip(inputs).map(|(message, input)| self.append(message, input))).await;
            let Some(refused) = appended.iter().position(Result::is_err) else { return true };
            // What came after the refused one comes again after it: whatever was said last then holds.
            rest = &rest[refused..];
            if matches!(appended[refused], Err(Refusal::Failed | Refusal::Closing)) {
                return false;
            }
            tracing::warn!(topic = self.topic, why = ?appended[refused], "the log takes no messages now; trying again");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY.1);
        }
    }

    /// Decoded on a thread that may take its time; `None` for what is not to be decoded.
    async fn decode(&self, messages: &[RawMessage]) -> Vec<Option<Input>> {
        let (format, most) = (self.format, self.most);
        let bodies: Vec<Option<Bytes>> = messages.iter().map(|message| message.body.clone()).collect();
        let count = bodies.len();
        let decoded = tokio::task::spawn_blocking(move || {
            let one = |body: Option<Bytes>| {
                let body = body.filter(|body| body.len() <= most)?;
                record::decode(RecordKind::Alerts(format), &body).ok()
            };
            bodies.into_iter().map(one).collect()
        });
        decoded.await.unwrap_or_else(|_| vec![None; count])
    }

    async fn append(&self, message: &RawMessage, input: Option<Input>) -> Result<(), Refusal> {
        let RawMessage { partition, offset, headers, body } = message;
        let outcome = match (body, input) {
            (None, _) => "empty",
            (Some(body), Some(Input::Alerts(batch))) => {
                self.doors.accept(self.format, body.clone(), batch).await?;
                "taken"
            }
            (Some(body), Some(Input::Changes(changes))) => {
                self.doors.changes(self.format, body.clone(), changes).await?;
                "taken"
            }
            (Some(body), _) => {
                let place = (&*self.topic, *partition, *offset);
                let kind = RecordKind::Alerts(self.format);
                self.aside.too_large(place, kind, headers.clone(), body, self.most).await;
                "too_large"
            }
        };
        self.gauges.messages.with_label_values(&[&self.topic, outcome]).inc();
        Ok(())
    }
}
