//! What quell owes: the ledger of everything it acknowledged, in a file of its own that no fault touches.
//!
//! Deliberately absent: what quell says it has; the checker compares.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use quell_domain::{Fingerprint, Source};

use super::payload::{Act, Payloads};

/// What is known of one id.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) fingerprint: Fingerprint,
    /// Requests that carried it, answered or not; `None` when an earlier run sent some.
    pub(crate) sent: Option<u64>,
    /// Acknowledged requests that fired it.
    pub(crate) fires: u64,
    pub(crate) resolve_sent: bool,
    pub(crate) resolved: bool,
    /// When it was last acknowledged as firing by this run.
    pub(crate) last_fire: Option<Instant>,
    /// It was silent so long that it may have expired and begun anew, or what was said of it may be out of order.
    pub(crate) gap: bool,
}

/// An alert sent without an end may expire after this long without a repeat (the resolve timeout, less a margin).
pub(crate) const MAY_EXPIRE: Duration = Duration::from_secs(290);

impl Entry {
    /// It may have ended for want of a repeat.
    pub(crate) fn expired(&self) -> bool {
        Payloads::may_expire(self.id) && self.last_fire.is_none_or(|at| at.elapsed() > MAY_EXPIRE)
    }
}

/// A comment that was acknowledged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Comment {
    pub(crate) incident: String,
    pub(crate) token: String,
}

#[derive(Default)]
struct Owed {
    entries: Vec<Entry>,
    comments: Vec<Comment>,
    /// Ids passed over while one of another contract was wanted, by contract.
    spare: [Vec<u64>; 3],
}

/// The ledger, in memory and on disk.
pub(crate) struct Oracle {
    owed: Mutex<Owed>,
    lines: Sender<String>,
    writer: JoinHandle<io::Result<()>>,
}

impl Oracle {
    /// Opens the ledger; what an earlier run wrote is owed still.
    pub(crate) fn open(path: &Path, payloads: &Payloads) -> io::Result<Oracle> {
        let mut owed = Owed::default();
        if path.exists() {
            for line in BufReader::new(File::open(path)?).lines() {
                restore(&mut owed, &line?, payloads);
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let (lines, written) = channel();
        let writer = std::thread::Builder::new().name("ledger".into()).spawn(move || write(file, &written))?;
        Ok(Oracle { owed: Mutex::new(owed), lines, writer })
    }

    /// A new id of that contract.
    pub(crate) fn create(&self, payloads: &Payloads, source: Source) -> u64 {
        let mut owed = self.owed();
        if let Some(id) = owed.spare[source as usize - 1].pop() {
            return id;
        }
        loop {
            let id = owed.entries.len() as u64;
            owed.entries.push(entry(id, payloads));
            match Payloads::source(id) {
                found if found == source => return id,
                other => owed.spare[other as usize - 1].push(id),
            }
        }
    }

    /// A request is about to be sent, for the first time or again.
    pub(crate) fn sending(&self, acts: &[(u64, Act)]) {
        let mut owed = self.owed();
        for &(id, act) in acts {
            if let Some(entry) = slot(&mut owed, id) {
                entry.gap |= entry.fires > 0 && entry.expired();
                entry.sent = entry.sent.map(|sent| sent + 1);
                entry.resolve_sent |= act == Act::Resolve;
            }
        }
    }

    /// A request was acknowledged.
    pub(crate) fn acknowledged(&self, acts: &[(u64, Act)]) {
        let mut lines = String::new();
        {
            let mut owed = self.owed();
            for &(id, act) in acts {
                let Some(entry) = slot(&mut owed, id) else { continue };
                match act {
                    Act::Fire => {
                        entry.fires += 1;
                        entry.last_fire = Some(Instant::now());
                        lines.push_str(&format!("F {id}\n"));
                    }
                    Act::Resolve => {
                        entry.resolved = true;
                        lines.push_str(&format!("R {id}\n"));
                    }
                }
            }
        }
        self.keep(lines);
    }

    /// What was acknowledged may come onto the log after what is sent later, so that only its being there is owed.
    pub(crate) fn out_of_order(&self, acts: &[(u64, Act)]) {
        let mut owed = self.owed();
        for &(id, _) in acts {
            if let Some(entry) = slot(&mut owed, id) {
                entry.gap = true;
            }
        }
    }

    /// A comment was acknowledged.
    pub(crate) fn commented(&self, incident: &str, token: &str) {
        self.owed().comments.push(Comment { incident: incident.into(), token: token.into() });
        self.keep(format!("C {incident} {token}\n"));
    }

    /// A copy of what is owed now.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.owed().entries.clone()
    }

    /// A copy of the comments owed.
    pub(crate) fn comments(&self) -> Vec<Comment> {
        self.owed().comments.clone()
    }

    /// Closes the ledger.
    pub(crate) fn close(self) -> io::Result<()> {
        drop(self.lines);
        self.writer.join().unwrap_or_else(|_| Err(io::Error::other("the ledger's thread panicked")))
    }

    /// A writer that is gone shows its error at [`Self::close`].
    fn keep(&self, lines: String) {
        let _ = self.lines.send(lines);
    }

    fn owed(&self) -> MutexGuard<'_, Owed> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry(id: u64, payloads: &Payloads) -> Entry {
    let fingerprint = payloads.fingerprint(id).unwrap_or(Fingerprint(0));
    let (sent, fires, last_fire) = (Some(0), 0, None);
    Entry { id, fingerprint, sent, fires, resolve_sent: false, resolved: false, last_fire, gap: false }
}

fn slot(owed: &mut Owed, id: u64) -> Option<&mut Entry> {
    owed.entries.get_mut(usize::try_from(id).ok()?)
}

/// One line of an earlier run. A torn last line is no promise: its request may have been acknowledged, but to nobody
/// who is left.
fn restore(owed: &mut Owed, line: &str, payloads: &Payloads) {
    let mut words = line.split(' ');
    let (kind, first, second) = (words.next(), words.next(), words.next());
    match (kind, first, second) {
        (Some("C"), Some(incident), Some(token)) => {
            owed.comments.push(Comment { incident: incident.into(), token: token.into() });
        }
        (Some(kind @ ("F" | "R")), Some(id), None) => {
            let Ok(id) = id.parse::<u64>() else { return };
            while owed.entries.len() as u64 <= id {
                // Ids are handed out in order, so all up to the last one of an earlier run may have been sent.
                let next = entry(owed.entries.len() as u64, payloads);
                owed.entries.push(Entry { sent: None, resolve_sent: true, ..next });
            }
            if let Some(entry) = slot(owed, id) {
                if kind == "F" {
                    entry.fires += 1;
                } else {
                    entry.resolved = true;
                }
            }
        }
        _ => {}
    }
}

/// Writes what waits, with one fsync for all of it.
fn write(mut file: File, lines: &Receiver<String>) -> io::Result<()> {
    while let Ok(mut text) = lines.recv() {
        text.extend(lines.try_iter());
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use quell_domain::Timestamp;

    use super::*;

    #[test]
    fn an_acknowledgement_outlives_the_process() {
        let path = std::env::temp_dir().join(format!("quell-ledger-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let payloads = Payloads::new(7, Timestamp::from_seconds(1_800_000_000), vec![]);
        let oracle = Oracle::open(&path, &payloads).expect("a writable folder");
        let ids: Vec<u64> = (0..3).map(|_| oracle.create(&payloads, Source::AlertmanagerApi)).collect();
        oracle.acknowledged(&[(ids[0], Act::Fire), (ids[2], Act::Fire)]);
        oracle.acknowledged(&[(ids[0], Act::Resolve)]);
        oracle.commented("INC-1", "t-1");
        oracle.close().expect("written");
        let again = Oracle::open(&path, &payloads).expect("readable");
        let owed: Vec<(u64, bool)> = again.entries().iter().map(|e| (e.fires, e.resolved)).collect();
        assert_eq!(owed, [(1, true), (0, false), (1, false)]);
        assert_eq!(again.comments(), [Comment { incident: "INC-1".into(), token: "t-1".into() }]);
        again.close().expect("written");
        std::fs::remove_file(&path).expect("the file is there");
    }
}
