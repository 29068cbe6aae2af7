//! What an error of the database means for the log. Absent on purpose: what is done about it.

use std::io;

/// Why a write did not happen. SQLite has undone the statement in either case.
#[derive(Debug)]
pub(super) enum Fault {
    /// There is no room; it may come back.
    Full(sqlx::Error),
    /// Nothing can be relied on any more.
    Failed(sqlx::Error),
}

const FULL: i32 = 13;
/// The shared index of the WAL could not grow. It holds nothing durable, and a full disk is what stops it.
const IOERR_SHMSIZE: i32 = 10 | 19 << 8;

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|e| e.code()).and_then(|code| code.parse::<i32>().ok());
        match code {
            Some(code) if code & 0xff == FULL || code == IOERR_SHMSIZE => Fault::Full(error),
            _ => Fault::Failed(error),
        }
    }
}

/// An [`io::Error`] for each of many appenders, of one error of the database.
pub(super) fn io_error(error: &sqlx::Error) -> io::Error {
    io::Error::other(error.to_string())
}
