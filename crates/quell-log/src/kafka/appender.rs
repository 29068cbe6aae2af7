//! The way onto Kafka, and into the spool while it is away. Absent on purpose: emptying the spool.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use quell_domain::RecordKind;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{Producer as _, ThreadedProducer};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::client::{self, Context, Lingering};
use super::cursor::position;
use super::drain;
use super::envelope::Envelope;
use super::own::{Numbered, Own};
use super::spool::{Entering, Spool, Spooled};
use super::{Options, topics};
use crate::contract::{Append, AppendError, Appended, Clock, Draft, LogState, Retention, Stamp, Stream};
use crate::room::Room;

/// How much longer than librdkafka we wait for what became of a record.
const SLACK: Duration = Duration::from_millis(500);
/// How long what is on its way may take when the log is closed.
const LAST: Duration = Duration::from_secs(3);

type Producer = Arc<Lingering<ThreadedProducer<Context>>>;

/// Appends records. Cheap to clone.
#[derive(Clone)]
pub struct Appender<T: Send + 'static> {
    shared: Arc<Shared<T>>,
}

pub(super) struct Shared<T: Send + 'static> {
    pub(super) options: Options,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) own: [Arc<Own<T>>; 2],
    pub(super) room: Arc<Room>,
    pub(super) spool: Arc<Spool>,
    pub(super) producer: Mutex<Producer>,
    /// Ends the threads that read.
    pub(super) closed: Arc<AtomicBool>,
    /// Ends the emptying of the spool.
    pub(super) closing: watch::Sender<bool>,
    pub(super) drain: Mutex<Option<JoinHandle<()>>>,
}

impl<T: Send + 'static> Drop for Shared<T> {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
    }
}

impl<T: Send + 'static> std::fmt::Debug for Appender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Appender({})", self.shared.options.address)
    }
}

/// A producer for what is received now.
pub(super) fn producer(options: &Options) -> Result<Producer, KafkaError> {
    let Options { address, security, body_bytes, ack, .. } = options;
    let config = client::producer(&address.brokers, security, body_bytes + topics::OVERHEAD, ack.as_millis().max(10));
    Ok(Arc::new(Lingering::new(config.create_with_context(Context)?)))
}

impl<T: Send + 'static> Appender<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        Appender { shared }
    }

    /// Records in the spool, which are not on Kafka yet.
    #[must_use]
    pub fn spooled(&self) -> u64 {
        self.shared.spool.waiting()
    }

    /// Puts a record onto Kafka, or into the spool while Kafka is away.
    async fn put(&self, draft: Draft<T>) -> Result<Appended, AppendError> {
        let Draft { stream, kind, body, carry, context } = draft;
        let Shared { room, spool, own, clock, options, .. } = &*self.shared;
        let own = &own[stream as usize];
        match *spool.state().borrow() {
            LogState::Open | LogState::Spooling => {}
            LogState::Full => return Err(AppendError::DiskFull),
            LogState::Failed => return Err(AppendError::Failed(std::io::Error::other("the spool's disk failed"))),
            LogState::Closed => return Err(AppendError::Closed),
        }
        let spools = matches!(kind, RecordKind::Alerts(_)) && stream == Stream::Main;
        if let Some(entering) = spool.enter() {
            if !spools {
                return Err(away("what is in the spool goes before it"));
            }
            let numbered = own.number(clock.now());
            return self.keep(numbered, kind, body, entering).await;
        }
        let ticket = room.reserve(kind, body.len())?;
        let topic = topics::name(&options.address.prefix, stream);
        let producer = Arc::clone(&self.shared.producer.lock().unwrap_or_else(PoisonError::into_inner));
        let mut landing = None;
        let sent = own.send(clock.now(), carry, ticket, |Numbered { origin, at, mark }| {
            let envelope = Envelope { kind, at, origin, mark, since: None };
            landing = Some(drain::send(&producer, (&topic, options.shard), &envelope, &body, &context)?);
            Ok::<_, KafkaError>(())
        });
        let numbered = match (sent, landing) {
            (Ok(numbered), Some(landing)) => {
                let landed = tokio::time::timeout(options.ack + SLACK, landing).await;
                match landed {
                    Ok(Ok(Ok(offset))) => {
                        let stamp = Stamp { stream, position: position(offset), received_at: numbered.at };
                        return Ok(Appended::Logged(stamp));
                    }
                    Ok(Ok(Err(error))) => (numbered, error),
                    Ok(Err(_)) | Err(_) => (numbered, KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut)),
                }
            }
            (Err(error), _) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                return Err(AppendError::Overloaded { waiting: room.waiting(), bytes: body.len() });
            }
            (Err(error), _) => (own.number(clock.now()), error),
            (Ok(numbered), None) => (numbered, KafkaError::Canceled),
        };
        let (numbered, error) = numbered;
        drop(own.claim(numbered.origin));
        if !spools || is_its_own_fault(&error) {
            return Err(AppendError::Away(Box::new(error)));
        }
        if !spool.is_spooling() {
            tracing::warn!(%error, "Kafka does not answer: what is received goes to this node's spool");
            self.renew(&producer);
        }
        let entering = spool.begin();
        self.keep(numbered, kind, body, entering).await
    }

    async fn keep(
        &self,
        numbered: Numbered,
        kind: RecordKind,
        body: bytes::Bytes,
        entering: Entering<'_>,
    ) -> Result<Appended, AppendError> {
        let Numbered { origin, at, mark } = numbered;
        let record = Spooled { kind, origin, at, since: mark.through, body };
        self.shared.spool.keep_record(record, entering).await?;
        Ok(Appended::Spooled { sequence: origin.sequence })
    }

    /// A producer that has failed for good is no use any more.
    fn renew(&self, failed: &Producer) {
        if failed.client().fatal_error().is_none() {
            return;
        }
        match producer(&self.shared.options) {
            Ok(new) => *self.shared.producer.lock().unwrap_or_else(PoisonError::into_inner) = new,
            Err(error) => tracing::error!(%error, "there is no new producer"),
        }
    }
}

fn away(why: &str) -> AppendError {
    AppendError::Away(why.into())
}

/// Whether Kafka would refuse this record at any time.
fn is_its_own_fault(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let own = [Code::MessageSizeTooLarge, Code::InvalidRecord, Code::InvalidMessage];
    error.rdkafka_error_code().is_some_and(|code| own.contains(&code))
}

impl<T: Send + 'static> Append<T> for Appender<T> {
    fn append(&self, draft: Draft<T>) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(self.put(draft))
    }

    fn state(&self) -> watch::Receiver<LogState> {
        self.shared.spool.state()
    }

    /// Kafka drops records by the retention of their topic, so nothing is to do.
    fn trim(&self, _: Retention) -> BoxFuture<'_, Result<u64, AppendError>> {
        Box::pin(std::future::ready(Ok(0)))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let Shared { spool, producer, closed, closing, drain, .. } = &*self.shared;
            spool.shut();
            let producer = Arc::clone(&producer.lock().unwrap_or_else(PoisonError::into_inner));
            // What does not land in time was not acknowledged, or goes to the spool.
            client::aside(move || producer.flush(LAST)).await.ok();
            closing.send_replace(true);
            closed.store(true, Ordering::Release);
            let drain = drain.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(drain) = drain {
                drain.await.ok();
            }
            spool.close().await;
        })
    }
}
