//! Dead letters on a topic of the log's: the bytes and headers of a record as they were, with quell's headers before
//! them.
//!
//! Absent on purpose: a group; whoever lists letters reads the end of the topic.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::client::{self, Context};
use super::publisher::Publisher;
use super::{Options, topics};
use crate::dead::{DeadLetter, DeadLetterError, DeadLetters, LETTERS};

/// The one partition of dead letters, whichever shard they are of.
const PARTITION: i32 = 0;
/// How long a broker may take to give the next letter.
const ANSWER: Duration = Duration::from_secs(5);

/// Letters on a topic.
#[derive(Debug)]
pub struct TopicLetters {
    options: Options,
    publisher: Publisher,
}

impl TopicLetters {
    pub(super) fn new(options: &Options) -> TopicLetters {
        let Options { address, security, body_bytes, .. } = options;
        let topic = topics::dead(&address.prefix);
        let publisher = Publisher::new(address.brokers.clone(), security.clone(), topic, body_bytes + topics::OVERHEAD);
        TopicLetters { options: options.clone(), publisher }
    }
}

impl DeadLetters for TopicLetters {
    fn put(&self, letter: DeadLetter) -> BoxFuture<'_, Result<(), DeadLetterError>> {
        Box::pin(async move {
            let headers = letter.to_headers();
            let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
            let put = self.publisher.publish(letter.id.as_bytes(), &headers, &letter.body).await;
            put.map_err(|error| DeadLetterError::Away(Box::new(error)))
        })
    }

    fn list(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, DeadLetterError>> {
        Box::pin(async move {
            let options = self.options.clone();
            let read = client::aside(move || read(&options)).await;
            let mut letters = read.map_err(|error| DeadLetterError::Away(Box::new(error)))?;
            // The last of one id holds.
            letters.reverse();
            let mut known = BTreeSet::new();
            letters.retain(|letter| known.insert(letter.id.clone()));
            letters.truncate(limit);
            Ok(letters)
        })
    }
}

/// The letters at the end of the topic, oldest first.
fn read(options: &Options) -> KafkaResult<Vec<DeadLetter>> {
    let Options { address, security, body_bytes, .. } = options;
    let topic = topics::dead(&address.prefix);
    let max = body_bytes + topics::OVERHEAD;
    let consumer: BaseConsumer<Context> =
        client::consumer(&address.brokers, security, &address.prefix, max).create_with_context(Context)?;
    let (low, high) = consumer.fetch_watermarks(&topic, PARTITION, ANSWER)?;
    let from = low.max(high - i64::try_from(LETTERS).unwrap_or(i64::MAX));
    let mut letters = Vec::new();
    if from >= high {
        return Ok(letters);
    }
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition_offset(&topic, PARTITION, Offset::Offset(from))?;
    consumer.assign(&list)?;
    let mut until = Instant::now() + ANSWER;
    loop {
        match consumer.poll(until.saturating_duration_since(Instant::now())) {
            Some(Ok(message)) => {
                let copy = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
                let headers = message.headers().map(|headers| {
                    headers.iter().map(|one| (one.key.to_owned(), copy(one.value.unwrap_or_default()))).collect()
                });
                let body = copy(message.payload().unwrap_or_default());
                letters.extend(DeadLetter::from_headers(headers.unwrap_or_default(), body));
                if message.offset() + 1 >= high {
                    return Ok(letters);
                }
                until = Instant::now() + ANSWER;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(letters),
            Some(Err(error)) if Instant::now() >= until => return Err(error),
            Some(Err(_)) => {}
            None => return Ok(letters),
        }
    }
}
