//! What every record on Kafka carries beside its bytes, in one header: kind, time, origin, and how far its producer
//! had read.
//!
//! Absent on purpose: Kafka's own timestamp, which may go back; see [`super`] on time.

use quell_domain::{Origin, Position, RecordKind, Timestamp};
use xxhash_rust::xxh3::Xxh3;

/// The name of the header.
pub(super) const NAME: &str = "quell";
/// The name of the header that a record's context travels in, as other programs on Kafka name a W3C trace context.
pub(super) const CONTEXT: &str = "traceparent";
/// The version of its bytes.
const VERSION: u8 = 1;
/// `version, kind, time, node, sequence, through, floor, since, checksum`, little end first.
pub(super) const LENGTH: usize = 2 + 7 * 8;
/// Stands for "never tried before".
const NEVER: u64 = u64::MAX;

/// How far somebody had read a stream: the greatest instant of all records up to a position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    pub(super) through: Position,
    pub(super) floor: Timestamp,
}

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Envelope {
    pub(super) kind: RecordKind,
    /// When its node received it.
    pub(super) at: Timestamp,
    pub(super) origin: Origin,
    /// How far its node had read when it sent this.
    pub(super) mark: Mark,
    /// The same record may lie on the log already, after this position.
    pub(super) since: Option<Position>,
}

impl Envelope {
    pub(super) fn encode(&self, body: &[u8]) -> [u8; LENGTH] {
        let Envelope { kind, at, origin: Origin { node, sequence }, mark: Mark { through, floor }, since } = *self;
        let mut bytes = [0; LENGTH];
        (bytes[0], bytes[1]) = (VERSION, kind.code());
        let since = since.map_or(NEVER, |position| position.0);
        let words = [at.micros().cast_unsigned(), node, sequence, through.0, floor.micros().cast_unsigned(), since];
        for (place, word) in bytes[2..].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let sum = checksum(&bytes[..LENGTH - 8], body);
        bytes[LENGTH - 8..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8], body: &[u8]) -> Result<Envelope, &'static str> {
        let Some((&version, _)) = bytes.split_first() else { return Err("its header is empty") };
        if version != VERSION {
            return Err("its version is unknown to this binary");
        }
        let bytes: &[u8; LENGTH] = bytes.try_into().map_err(|_| "its header has another length")?;
        let mut words = bytes[2..].chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
        let mut word = || words.next().unwrap_or(0);
        let (at, node, sequence, through, floor, since) = (word(), word(), word(), word(), word(), word());
        if word() != checksum(&bytes[..LENGTH - 8], body) {
            return Err("its checksum does not match");
        }
        let kind = RecordKind::from_code(bytes[1]).ok_or("its kind is unknown to this binary")?;
        Ok(Envelope {
            kind,
            at: Timestamp::from_micros(at.cast_signed()),
            origin: Origin { node, sequence },
            mark: Mark { through: Position(through), floor: Timestamp::from_micros(floor.cast_signed()) },
            since: (since != NEVER).then_some(Position(since)),
        })
    }
}

fn checksum(head: &[u8], body: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(head);
    hash.update(body);
    hash.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_what_is_read_or_it_shows() {
        let envelope = Envelope {
            kind: RecordKind::Outage,
            at: Timestamp::from_micros(-7),
            origin: Origin { node: u64::MAX, sequence: 3 },
            mark: Mark { through: Position(9), floor: Timestamp::MIN },
            since: Some(Position(0)),
        };
        for envelope in [envelope, Envelope { since: None, ..envelope }] {
            let bytes = envelope.encode(b"body");
            assert_eq!(Envelope::decode(&bytes, b"body"), Ok(envelope));
            assert_eq!(Envelope::decode(&bytes, b"bodY"), Err("its checksum does not match"));
            for at in 0..LENGTH {
                let mut damaged = bytes;
                damaged[at] ^= 1;
                assert!(Envelope::decode(&damaged, b"body").is_err(), "byte {at}");
            }
            assert!(Envelope::decode(&bytes[..10], b"body").is_err() && Envelope::decode(&[], b"body").is_err());
        }
    }
}
