//! Bodies of known alerts with some new ones among them.
//!
//! Deliberately absent: when they are sent.

use std::time::Duration;

use bytes::Bytes;
use quell_domain::Timestamp;
use serde_json::json;

/// Makes bodies, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    pool: Vec<String>,
    batch: u64,
    /// The next of the pool, and the number of the next new alert.
    next: (usize, u64),
    /// New alerts owed: parts of one.
    owed: f64,
    starts_at: Timestamp,
    /// How long a new alert lasts.
    lasts: Duration,
}

impl Mix {
    /// Known alerts start then, and last an hour.
    pub(crate) fn new(pool: u64, batch: u64, starts_at: Timestamp, lasts: Duration) -> Mix {
        let texts = (0..pool).map(|number| quell_benches::alert(number, starts_at).to_string()).collect();
        Mix { pool: texts, batch, next: (0, pool), owed: 0.0, starts_at, lasts }
    }

    /// The known ones, each once.
    pub(crate) fn known(&self) -> Vec<Bytes> {
        self.pool.chunks(self.batch as usize).map(|alerts| format!("[{}]", alerts.join(",")).into()).collect()
    }

    /// Alerts in a body.
    pub(crate) fn batch(&self) -> u64 {
        self.batch
    }

    /// From now on new alerts are others than a copy of this makes.
    pub(crate) fn skip_to_probes(&mut self) {
        self.next.1 += 1 << 40;
    }

    /// The instant from which new alerts last.
    pub(crate) fn at(&mut self, now: Timestamp) {
        self.starts_at = now;
    }

    /// The next body; that share of its alerts is new.
    pub(crate) fn body(&mut self, new: f64) -> String {
        let mut body = String::with_capacity(self.batch as usize * 1_000);
        body.push('[');
        for at in 0..self.batch {
            if at > 0 {
                body.push(',');
            }
            self.owed += new;
            if self.owed >= 1.0 {
                self.owed -= 1.0;
                body.push_str(&self.alert());
            } else {
                body.push_str(&self.pool[self.next.0]);
                self.next.0 = (self.next.0 + 1) % self.pool.len();
            }
        }
        body.push(']');
        body
    }

    /// A body of one new alert.
    pub(crate) fn probe(&mut self) -> String {
        format!("[{}]", self.alert())
    }

    fn alert(&mut self) -> String {
        let mut alert = quell_benches::alert(self.next.1, self.starts_at);
        self.next.1 += 1;
        alert["endsAt"] = json!((self.starts_at + self.lasts).to_string());
        alert.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_twenty_is_new() {
        let at = Timestamp::from_seconds(1_800_000_000);
        let mut mix = Mix::new(200, 10, at, Duration::from_secs(30));
        let known = mix.known();
        let fingerprints = |body: &[u8]| -> Vec<_> {
            let batch = quell_formats::alertmanager::decode_api(body);
            assert!(batch.rejects.is_empty(), "{:?}", batch.rejects);
            batch.items().iter().map(|item| item.fingerprint).collect()
        };
        let known: std::collections::BTreeSet<_> = known.iter().flat_map(|body| fingerprints(body)).collect();
        assert_eq!(known.len(), 200);
        let sent: Vec<_> = (0..100).flat_map(|_| fingerprints(mix.body(0.05).as_bytes())).collect();
        assert_eq!(sent.len(), 1_000);
        let new: std::collections::BTreeSet<_> = sent.iter().filter(|one| !known.contains(one)).collect();
        assert_eq!((new.len(), sent.iter().filter(|one| !known.contains(one)).count()), (50, 50));
        assert!(!known.contains(&fingerprints(mix.probe().as_bytes())[0]));
    }
}
