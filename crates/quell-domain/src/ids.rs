//! Identities. Absent on purpose: random ids; every id is counted or computed, so that a replay gives the same ones.

use std::fmt;
use std::str::FromStr;

use crate::time::Timestamp;

/// One ordered stream of decisions: a tenant, or a tenant and one value of its sharding label.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Shard {
    /// The tenant's number.
    pub tenant: u32,
    /// The shard's number within the tenant; 0 is the first.
    pub number: u32,
}

impl Shard {
    /// The only shard of an installation with one tenant.
    pub const FIRST: Shard = Shard { tenant: 0, number: 0 };
}

/// A record's place on one stream of the log. The first record is at 1; 0 means "before the first".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position(pub u64);

impl Position {
    /// Before the first record.
    pub const START: Position = Position(0);

    /// The place after this one.
    #[must_use]
    pub const fn next(self) -> Position {
        Position(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where and when on the log an input stands; handed to the engine with the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// The record's position on its stream.
    pub position: Position,
    /// The instant the log stamped on the record; never decreases along a stream.
    pub received_at: Timestamp,
}

/// What every 2xx names: the record that holds the request. Written `R-7` in the first shard, `R-2.7` in shard 2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReceiptId {
    /// The shard whose log holds it.
    pub shard: u32,
    /// Its place on the main stream.
    pub position: Position,
}

impl fmt::Display for ReceiptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_numbered(f, "R-", self.shard, self.position.0)
    }
}

impl FromStr for ReceiptId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let (shard, number) = read_numbered(text, "R-").ok_or(BadId { wanted: "R-<number> or R-<shard>.<number>" })?;
        Ok(ReceiptId { shard, position: Position(number) })
    }
}

/// The computed identity of an alert: a 128-bit hash of its identity labels, or of its sender's dedup key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u128);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        if text.len() != 32 {
            return Err(BadId { wanted: "32 hexadecimal digits" });
        }
        u128::from_str_radix(text, 16).map(Fingerprint).map_err(|_| BadId { wanted: "32 hexadecimal digits" })
    }
}

/// An alert episode: one fingerprint from the moment it fires until it ends. Counted per shard from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AlertId(pub u64);

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An incident, counted per shard from 1. Written `INC-7` in the first shard, `INC-2.7` in shard 2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IncidentId {
    /// The number of the shard that opened it.
    pub shard: u32,
    /// Its number within the shard.
    pub number: u64,
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_numbered(f, "INC-", self.shard, self.number)
    }
}

impl FromStr for IncidentId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let (shard, number) =
            read_numbered(text, "INC-").ok_or(BadId { wanted: "INC-<number> or INC-<shard>.<number>" })?;
        Ok(IncidentId { shard, number })
    }
}

pub(crate) fn write_numbered(f: &mut fmt::Formatter<'_>, prefix: &str, shard: u32, number: u64) -> fmt::Result {
    match shard {
        0 => write!(f, "{prefix}{number}"),
        shard => write!(f, "{prefix}{shard}.{number}"),
    }
}

pub(crate) fn read_numbered(text: &str, prefix: &str) -> Option<(u32, u64)> {
    let rest = text.strip_prefix(prefix)?;
    let (shard, number) = match rest.split_once('.') {
        Some((shard, number)) => (u32::try_from(digits(shard)?).ok()?, number),
        None => (0, rest),
    };
    Some((shard, digits(number)?))
}

/// Plain decimal digits only: no sign, no blanks, so that every id has one spelling that parses.
fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// The SHA-256 of an artefact's canonical bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId { wanted: "64 hexadecimal digits" };
        if text.len() != 64 || !text.is_ascii() {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| bad())?;
        }
        Ok(Digest(bytes))
    }
}

/// A text that is not an id of the wanted form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected {wanted}")]
pub struct BadId {
    /// The form that was expected.
    pub wanted: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_incident(text: &str, expected: Option<IncidentId>) {
        assert_eq!(text.parse().ok(), expected, "{text}");
        if let Some(id) = expected {
            assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn incident_ids_have_one_spelling() {
        check_incident("INC-7", Some(IncidentId { shard: 0, number: 7 }));
        check_incident("INC-2.7", Some(IncidentId { shard: 2, number: 7 }));
        for text in ["INC-", "inc-7", "INC-+7", "INC-7.", "INC-.7", "7", "INC-7 "] {
            check_incident(text, None);
        }
    }

    #[test]
    fn fingerprints_and_digests_round_trip() {
        let fingerprint = Fingerprint(0xfeed);
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        let digest = Digest([0xab; 32]);
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }
}
