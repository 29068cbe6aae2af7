//! Reads records again: at recovery, for receipts and for replays. Absent on purpose: records that are being written;
//! they come by a tail.

use std::path::Path;

use bytes::Bytes;
use futures::TryStreamExt as _;
use futures::future::BoxFuture;
use quell_domain::{Position, RecordKind, Timestamp};
use sqlx::SqlitePool;
use sqlx::sqlite::SqlitePoolOptions;

use super::disk::{checksum, connect_options, key, position};
use crate::contract::{Read, ReadError, Record, Stamp, Stream};

/// Bodies of one read, after which it stops early.
const READ_BYTES: usize = 8 << 20;

/// Reads records by position. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {
    pool: SqlitePool,
}

type Columns = (i64, i64, i64, i64, Vec<u8>);

impl Reader {
    pub(super) fn open(file: &Path) -> Self {
        let options = connect_options(file).read_only(true);
        Reader { pool: SqlitePoolOptions::new().max_connections(2).connect_lazy_with(options) }
    }

    /// Records of a stream from a position on, in order, at most `limit`; fewer when their bodies are large, none only
    /// when there is none. The first may be later than asked for, when earlier ones are kept no longer.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] names the first record that is not as it was written, when no good one comes before it;
    /// otherwise the good ones are returned and the next read names it.
    pub async fn read<T>(&self, stream: Stream, from: Position, limit: usize) -> Result<Vec<Record<T>>, ReadError> {
        let ceiling = match stream {
            Stream::Main => i64::MAX,
            Stream::Commands => key(Stream::Main, Position::START),
        };
        let sql = "SELECT key, kind, received_at, checksum, body FROM records \
            WHERE key >= ? AND key < ? ORDER BY key LIMIT ?";
        let mut rows = sqlx::query_as::<_, Columns>(sql)
            .bind(key(stream, from))
            .bind(ceiling)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch(&self.pool);
        let (mut records, mut bytes) = (Vec::<Record<T>>::new(), 0);
        while bytes < READ_BYTES {
            let record = match rows.try_next().await {
                Ok(None) => break,
                Ok(Some(columns)) => follow(records.last(), stream, columns),
                Err(error) => Err(ReadError::Unavailable(Box::new(error))),
            };
            match record {
                Ok(record) => {
                    bytes += record.body.len();
                    records.push(record);
                }
                Err(error) if records.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(records)
    }

    /// One record; `None` when it is kept no longer or not there yet.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_one<T>(&self, stream: Stream, position: Position) -> Result<Option<Record<T>>, ReadError> {
        let found = self.read(stream, position, 1).await?.pop();
        Ok(found.filter(|record| record.stamp.position == position))
    }

    /// Gives the file back. Reads after that fail.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl<T: Send + 'static> Read<T> for Reader {
    fn read(&self, stream: Stream, from: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record<T>>, ReadError>> {
        Box::pin(Reader::read(self, stream, from, limit))
    }
}

/// Checks a row, and that it is the one after the last.
fn follow<T>(last: Option<&Record<T>>, stream: Stream, columns: Columns) -> Result<Record<T>, ReadError> {
    let (key, kind, received_at, sum, packed) = columns;
    let position = position(key);
    let damaged = |position, why| ReadError::Damaged { stream, position, why, shared: None };
    if let Some(expected) = last.map(|record| record.stamp.position.next())
        && expected != position
    {
        return Err(damaged(expected, "it is missing"));
    }
    let code = u8::try_from(kind).map_err(|_| damaged(position, "its kind is out of range"))?;
    if checksum(key, code, received_at, &packed) != sum {
        return Err(damaged(position, "its checksum does not match"));
    }
    let kind = RecordKind::from_code(code).ok_or(damaged(position, "its kind is unknown to this binary"))?;
    let body = lz4_flex::decompress_size_prepended(&packed).map_err(|_| damaged(position, "it does not unpack"))?;
    let stamp = Stamp { stream, position, received_at: Timestamp::from_micros(received_at) };
    Ok(Record { stamp, kind, body: Bytes::from(body), carry: None, origin: None, context: Bytes::new(), damage: None })
}
