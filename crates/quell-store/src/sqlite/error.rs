//! What an error of SQLite means to the caller. Absent on purpose: retries.

use crate::contract::StoreError;
use crate::sql::damaged;

const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const CONSTRAINT: i32 = 19;
const NOTADB: i32 = 26;
/// The shared index of the WAL could not grow. It holds nothing durable, and a full disk is what stops it.
const IOERR_SHMSIZE: i32 = IOERR | 19 << 8;

/// Turns an error of the database into the store's, for one operation.
pub(crate) fn fault(operation: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| {
        let code = source.as_database_error().and_then(|e| e.code()).and_then(|code| code.parse::<i32>().ok());
        match (code, code.map(|code| code & 0xff)) {
            (_, Some(FULL)) | (Some(IOERR_SHMSIZE), _) => StoreError::DiskFull { operation },
            (_, Some(IOERR | CORRUPT | NOTADB)) => StoreError::DiskFailed { operation, source },
            (_, Some(BUSY | LOCKED | CANTOPEN)) => StoreError::Unavailable { operation, source },
            (_, Some(CONSTRAINT)) => damaged(operation, "a row written", source.to_string()),
            _ if matches!(source, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) => {
                damaged(operation, "a row read", source.to_string())
            }
            _ => StoreError::Unavailable { operation, source },
        }
    }
}
