//! The one clock of the process. Nobody else asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use quell_domain::Timestamp;

/// The wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl SystemClock {
    /// Now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
    pub fn now() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

impl quell_log::Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemClock::now()
    }
}

impl quell_notify::Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemClock::now()
    }
}
