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

    /// Reads RFC 3339; digits below a microsecond are cut off, times beyond the ends are clamped. `None` when the
    /// text is not RFC 3339.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        // The common spelling is read by hand: every alert carries two of them.
        if let Some(micros) = plain_rfc3339(text.as_bytes()) {
            return Some(Self::from_micros(micros));
        }
        let at: jiff::Timestamp = text.parse().ok()?;
        Some(Self::from_micros(i64::try_from(at.as_nanosecond().div_euclid(1000)).ok()?))
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

/// `YYYY-MM-DDTHH:MM:SS[.fraction](Z|+hh:mm|-hh:mm)` in microseconds since the epoch; `None` for whatever else a time
/// may look like.
fn plain_rfc3339(text: &[u8]) -> Option<i64> {
    let (date_time, rest) = text.split_at_checked(19)?;
    let &[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', n0, n1, b':', s0, s1] = date_time else {
        return None;
    };
    let (year, month, day) = (number(&[y0, y1, y2, y3])?, number(&[m0, m1])?, number(&[d0, d1])?);
    let (hour, minute, second) = (number(&[h0, h1])?, number(&[n0, n1])?, number(&[s0, s1])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day < 1 || day > longest || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, zone) = match rest {
        [b'.', after @ ..] => {
            let digits = after.iter().take_while(|b| b.is_ascii_digit()).count();
            if digits == 0 || digits > 9 {
                return None;
            }
            let (kept, power) = (digits.min(6), [1_000_000, 100_000, 10_000, 1_000, 100, 10, 1]);
            (number(&after[..kept])? * power[kept], &after[digits..])
        }
        zone => (0, zone),
    };
    let offset = match *zone {
        [b'Z'] => 0,
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let (hours, minutes) = (number(&[h0, h1])?, number(&[m0, m1])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let east = hours * 3600 + minutes * 60;
            if sign == b'+' { east } else { -east }
        }
        _ => return None,
    };
    // Days since the epoch in the proleptic Gregorian calendar, with years that begin in March, so that the leap day
    // is the last one (Howard Hinnant, "chrono-compatible low-level date algorithms").
    let (shifted, of_year) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = shifted.div_euclid(4) - shifted.div_euclid(100) + shifted.div_euclid(400);
    let days = shifted * 365 + leap_days + (153 * of_year + 2) / 5 + day - 1 - 719_468;
    Some((days * 86_400 + hour * 3600 + minute * 60 + second - offset) * 1_000_000 + fraction)
}

/// Decimal digits and nothing else.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
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
    fn the_plain_spelling_is_read_as_any_other() {
        let check = |text: &str| {
            let by_jiff: jiff::Timestamp = text.parse().expect("valid");
            let micros = i64::try_from(by_jiff.as_nanosecond().div_euclid(1000)).expect("in range");
            assert_eq!(plain_rfc3339(text.as_bytes()), Some(micros), "{text}");
        };
        // Every day of 500 years, each with another time, fraction and offset.
        for day in 0..182_621_i64 {
            let at = jiff::Timestamp::from_microsecond((day * 86_400 - 9_000_000_000) * 1_000_000 + day * 475_319);
            check(&at.expect("in range").to_string());
        }
        for text in [
            "0000-01-01T00:00:00Z",
            "0000-03-01T00:00:00Z",
            "1969-12-31T23:59:59.9999999Z",
            "2024-02-29T12:00:00.1+05:30",
            "2000-02-29T23:59:59.123456789-23:59",
            "9999-12-30T21:59:59Z",
        ] {
            check(text);
        }
    }

    #[test]
    fn what_is_not_a_time_is_refused_and_odd_spellings_are_read() {
        for text in [
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.Z",
            "2024-01-01",
            "1700000000",
            "",
            "2024-01-01T00:00:00Zé",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text}");
        }
        let noon = Timestamp::parse_rfc3339("2024-01-01T12:00:00Z");
        for text in ["2024-01-01t12:00:00z", "2024-01-01 12:00:00Z", "2024-01-01T13:00:00+0100"] {
            assert_eq!(Timestamp::parse_rfc3339(text), noon, "{text}");
        }
        assert_eq!(Timestamp::parse_rfc3339("9999-12-31T23:59:59Z"), Some(Timestamp::MAX));
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
