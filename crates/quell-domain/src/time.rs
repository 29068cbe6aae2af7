//! Instants. Absent on purpose: any way to ask what time it is now; time is always handed in.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// An instant, in whole microseconds since 1970-01-01T00:00:00Z.
///
/// Microseconds because PostgreSQL keeps no more; truncated once, on the way in, so that order and equality survive
/// every store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest instant that can be written as RFC 3339: year 0000.
    pub const MIN: Timestamp = Timestamp(-62_167_219_200_000_000);
    /// The latest instant that can be written as RFC 3339: 9999-12-30T22:00:00Z, so that every offset fits.
    pub const MAX: Timestamp = Timestamp(253_402_207_200_000_000);

    /// From microseconds since the epoch, clamped to [`Self::MIN`]..=[`Self::MAX`].
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        if micros < Self::MIN.0 {
            Self::MIN
        } else if micros > Self::MAX.0 {
            Self::MAX
        } else {
            Timestamp(micros)
        }
    }

    /// From whole seconds since the epoch, clamped like [`Self::from_micros`].
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self::from_micros(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339; digits below a microsecond are cut off. `None` when the text is not RFC 3339.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let at: jiff::Timestamp = text.parse().ok()?;
        Some(Self::from_micros(at.as_microsecond()))
    }

    /// True for the zero time that Go programs send for "not set" (`0001-01-01T00:00:00Z`), and for anything earlier.
    #[must_use]
    pub const fn is_go_zero(self) -> bool {
        self.0 <= -62_135_596_800_000_000
    }

    /// Time since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The distance between two instants, whichever is first.
    #[must_use]
    pub fn distance(self, other: Timestamp) -> Duration {
        Duration::from_micros(self.0.abs_diff(other.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, by: Duration) -> Timestamp {
        Self::from_micros(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;

    fn sub(self, by: Duration) -> Timestamp {
        Self::from_micros(self.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }
}

/// RFC 3339 in UTC, with as many fractional digits as needed.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(at) => at.fmt(f),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_rfc3339_to_the_microsecond() {
        let at = Timestamp::parse_rfc3339("2026-11-23T08:48:46.123456789+01:00").expect("valid");
        assert_eq!(at.to_string(), "2026-11-23T07:48:46.123456Z");
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
    }

    #[test]
    fn knows_the_zero_time_of_go() {
        assert!(Timestamp::parse_rfc3339("0001-01-01T00:00:00Z").expect("valid").is_go_zero());
        assert!(!Timestamp::from_seconds(0).is_go_zero());
    }

    #[test]
    fn saturates_at_its_ends() {
        assert_eq!(Timestamp::MAX + Duration::from_secs(1), Timestamp::MAX);
        assert_eq!(Timestamp::from_seconds(5).since(Timestamp::from_seconds(9)), Duration::ZERO);
        assert!(Timestamp::parse_rfc3339(&Timestamp::MAX.to_string()).is_some());
    }
}
