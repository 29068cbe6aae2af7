//! What an error of PostgreSQL means to the caller. Absent on purpose: retries.

use sqlx::Error;

use crate::contract::StoreError;
use crate::sql::damaged;

/// Turns an error of the database into the store's, for one operation.
///
/// Whatever the server's disk does, the server decides what it can promise: its word that nothing was changed holds, so
/// all but rows that cannot be is tried again.
pub(crate) fn fault(operation: &'static str) -> impl Fn(Error) -> StoreError {
    move |source| {
        let code = source.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
        match code.as_str() {
            "53100" => StoreError::DiskFull { operation },
            // Data that does not fit, constraints, limits of the program: the same commit would fail for ever.
            _ if code.starts_with("22") || code.starts_with("23") || code.starts_with("54") => {
                damaged(operation, "a row written", source.to_string())
            }
            // The server found its own files damaged.
            "XX001" | "XX002" => StoreError::DiskFailed { operation, source },
            _ if matches!(source, Error::ColumnDecode { .. } | Error::Decode(_)) => {
                damaged(operation, "a row read", source.to_string())
            }
            _ => StoreError::Unavailable { operation, source },
        }
    }
}

/// True when a server that is not there yet, or not any more, may explain it, so that waiting helps.
pub(super) fn passes(error: &StoreError) -> bool {
    let StoreError::Unavailable { source, .. } = error else { return false };
    match source {
        // A server that cannot prove who it is, as it says itself by way of TLS, will not learn it.
        Error::Io(error) => error.kind() != std::io::ErrorKind::InvalidData,
        // Starting, stopping, and all connections taken.
        Error::Database(error) => {
            error.code().is_some_and(|code| matches!(&*code, "57P01" | "57P02" | "57P03" | "53300" | "25006"))
        }
        _ => false,
    }
}

/// An answer that did not come in time.
pub(super) fn late(operation: &'static str) -> StoreError {
    let source = Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "the server does not answer"));
    StoreError::Unavailable { operation, source }
}
