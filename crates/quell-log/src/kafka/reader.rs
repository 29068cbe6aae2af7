//! Reads records again: at recovery, for receipts and for replays. Absent on purpose: records that come; see the tail.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use quell_domain::Position;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::Options;
use super::client::Lingering;
use super::cursor::{Cursor, Found, Step, offset};
use crate::contract::{Read, ReadError, Record, Stream};

/// Bodies of one read, after which it stops early.
const READ_BYTES: usize = 8 << 20;
/// How long the broker may take to give the next record.
const ANSWER: Duration = Duration::from_secs(5);

/// Reads records by position. Cheap to clone; one read of a stream at a time.
#[derive(Clone)]
pub struct Reader {
    cursors: Arc<Lingering<[Mutex<Cursor>; 2]>>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

impl Reader {
    /// Blocks.
    pub(super) fn new(options: &Options) -> KafkaResult<Reader> {
        let cursor = |stream| Cursor::new(options, stream).map(Mutex::new);
        let cursors = [cursor(Stream::Main)?, cursor(Stream::Commands)?];
        Ok(Reader { cursors: Arc::new(Lingering::new(cursors)) })
    }

    /// Uses the cursor of a stream on a thread that may block.
    pub(super) async fn with<R: Send + 'static>(
        &self,
        stream: Stream,
        work: impl FnOnce(&mut Cursor) -> R + Send + 'static,
    ) -> KafkaResult<R> {
        let cursors = Arc::clone(&self.cursors);
        let done = tokio::task::spawn_blocking(move || {
            work(&mut cursors[stream as usize].lock().unwrap_or_else(PoisonError::into_inner))
        });
        done.await.map_err(|_| KafkaError::Canceled)
    }
}

impl<T: Send + 'static> Read<T> for Reader {
    fn read(&self, stream: Stream, from: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record<T>>, ReadError>> {
        Box::pin(async move {
            let read = self.with(stream, move |cursor| read(cursor, stream, from, limit)).await;
            read.map_err(|error| ReadError::Unavailable(Box::new(error)))?
        })
    }
}

fn read<T>(cursor: &mut Cursor, stream: Stream, from: Position, limit: usize) -> Result<Vec<Record<T>>, ReadError> {
    let away = |error| ReadError::Unavailable(Box::new(error));
    let ahead = offset(from).saturating_add(i64::try_from(limit).unwrap_or(i64::MAX));
    // Far from the end there is no need to ask where it is.
    let high = if cursor.end() >= ahead { cursor.end() } else { cursor.bounds().map_err(away)?.high };
    let (mut records, mut bytes) = (Vec::new(), 0);
    if offset(from) >= high || limit == 0 {
        return Ok(records);
    }
    cursor.seek(offset(from)).map_err(away)?;
    let mut until = Instant::now() + ANSWER;
    while records.len() < limit && bytes < READ_BYTES && cursor.next() < high {
        match cursor.step(ANSWER, |_, bytes| Bytes::copy_from_slice(bytes)) {
            Ok(Step::Record(found)) => {
                bytes += found.body.len();
                records.push(record(found));
            }
            Ok(Step::Again) => {}
            // Whatever was good is returned, and the next read names the damaged one.
            Ok(Step::Damaged(..)) if !records.is_empty() => break,
            Ok(Step::Damaged(stamp, damage)) => {
                return Err(ReadError::Damaged {
                    stream,
                    position: stamp.position,
                    why: damage.why,
                    shared: Some(damage),
                });
            }
            // The rest up to the end is not for readers, or the broker does not answer.
            Ok(Step::End) if Instant::now() < until => continue,
            Ok(Step::End) if records.is_empty() => {
                return Err(away(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)));
            }
            Ok(Step::End) => break,
            Err(_) if !records.is_empty() => break,
            Err(error) => return Err(away(error)),
        }
        until = Instant::now() + ANSWER;
    }
    Ok(records)
}

fn record<T>(found: Found<Bytes>) -> Record<T> {
    let Found { stamp, envelope, body, context } = found;
    Record { stamp, kind: envelope.kind, body, carry: None, origin: Some(envelope.origin), context, damage: None }
}
