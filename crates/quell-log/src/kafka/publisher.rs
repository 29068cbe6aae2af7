//! Messages for others on a topic: each is told to have landed only when every replica in sync has it.
//!
//! Absent on purpose: what they say, and trying again later; whoever publishes remembers what was not taken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use tokio::sync::oneshot;

use super::client::{self, Context, Lingering};
use super::security::Security;
use super::topics;

/// How long a message may take before it counts as not taken.
const ACK: Duration = Duration::from_secs(10);
/// How long a broker may take to answer when the topic is looked for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The way onto one topic.
pub struct Publisher {
    brokers: String,
    security: Security,
    topic: String,
    max_bytes: usize,
    producer: tokio::sync::Mutex<Option<Arc<Lingering<ThreadedProducer<Context>>>>>,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Publisher({})", self.topic)
    }
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
#[error("publish on {topic}: Kafka did not take it")]
pub struct Untaken {
    topic: String,
    #[source]
    source: KafkaError,
}

impl Untaken {
    /// Whether Kafka would refuse this message at any time.
    #[must_use]
    pub fn is_its_own_fault(&self) -> bool {
        use RDKafkaErrorCode as Code;
        let own = [Code::MessageSizeTooLarge, Code::InvalidRecord, Code::InvalidMessage];
        self.source.rdkafka_error_code().is_some_and(|code| own.contains(&code))
    }
}

impl Publisher {
    /// Nothing is asked of the brokers before the first message.
    #[must_use]
    pub fn new(brokers: String, security: Security, topic: String, max_bytes: usize) -> Publisher {
        Publisher { brokers, security, topic, max_bytes, producer: tokio::sync::Mutex::default() }
    }

    /// Puts a message there, and returns when it cannot be lost any more. Messages of one key stay in order when each is
    /// waited for.
    ///
    /// # Errors
    /// [`Untaken`]; whether it landed all the same is not known.
    pub async fn publish(&self, key: &[u8], headers: &[(&str, &[u8])], body: &[u8]) -> Result<(), Untaken> {
        let untaken = |source| Untaken { topic: self.topic.clone(), source };
        let producer = self.producer().await.map_err(untaken)?;
        let (waiting, landed) = oneshot::channel();
        let mut all = OwnedHeaders::new_with_capacity(headers.len());
        for (name, value) in headers {
            all = all.insert(Header { key: name, value: Some(*value) });
        }
        let record = BaseRecord::with_opaque_to(&self.topic, Box::new(waiting)).key(key).payload(body).headers(all);
        if let Err((error, _)) = producer.send(record) {
            return Err(untaken(error));
        }
        match landed.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                // One that has failed for good is no use any more.
                if producer.client().fatal_error().is_some() {
                    *self.producer.lock().await = None;
                }
                Err(untaken(error))
            }
            Err(_) => Err(untaken(KafkaError::Canceled)),
        }
    }

    /// The producer, after the topic was found or made.
    async fn producer(&self) -> Result<Arc<Lingering<ThreadedProducer<Context>>>, KafkaError> {
        let mut kept = self.producer.lock().await;
        if let Some(producer) = &*kept {
            return Ok(Arc::clone(producer));
        }
        topics::find_or_make_plain(&self.brokers, &self.security, &self.topic, Instant::now() + PATIENCE).await?;
        let mut config = client::producer(&self.brokers, &self.security, self.max_bytes, ACK.as_millis());
        // Of the partitions a key has one, the same that Java's clients would choose.
        config.set("partitioner", "murmur2_random");
        let made = client::aside(move || config.create_with_context(Context)).await?;
        let made = Arc::new(Lingering::new(made));
        *kept = Some(Arc::clone(&made));
        Ok(made)
    }
}
