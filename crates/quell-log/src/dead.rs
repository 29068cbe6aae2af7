//! Dead letters: records that cannot be decided, put aside with why, where they lay and their bytes, so that nothing
//! stands still for them and nothing of them is lost.
//!
//! On a log of one's own each is a file in the data directory; on Kafka each is a message of a topic. Absent on purpose:
//! what makes a record one, and putting it back; the shell does both.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::future::BoxFuture;
use quell_domain::{RecordKind, Timestamp};

use crate::contract::Stream;

/// Letters that are kept in files; of more the oldest goes.
pub const LETTERS: usize = 10_000;
/// Bytes of a body that are kept of a letter whose body is too large for the log.
pub const CUT: usize = 64 << 10;

/// What was put aside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLetter {
    /// Made of where it lay, so that the same record has the same one: 1 to 300 letters, digits, dots, - and _.
    pub id: String,
    /// When it was put aside.
    pub at: Timestamp,
    /// What is wrong, in a word that programs compare.
    pub code: String,
    /// What is wrong, in a sentence.
    pub reason: String,
    /// Where it lay, in words.
    pub place: String,
    /// Its stream, if it lay on the log.
    pub stream: Option<Stream>,
    /// What its bytes hold, where that is known.
    pub kind: Option<RecordKind>,
    /// The bytes that it had; more than [`DeadLetter::body`] has when they were too many to keep.
    pub size: u64,
    /// Its headers, as they were.
    pub headers: Vec<(String, Bytes)>,
    /// Its bytes.
    pub body: Bytes,
    /// When it was put back onto the log.
    pub replayed: Option<Timestamp>,
}

/// Why a letter was neither put aside nor found.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// The files cannot be used.
    #[error("dead letters: {} cannot be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The topic cannot be used now.
    #[error("dead letters: the topic cannot be used")]
    Away(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where letters are kept.
pub trait DeadLetters: Send + Sync + 'static {
    /// Keeps a letter; returns when it cannot be lost any more. The same id again replaces the earlier one.
    fn put(&self, letter: DeadLetter) -> BoxFuture<'_, Result<(), DeadLetterError>>;

    /// Letters, those put aside last first, at most `limit`.
    fn list(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, DeadLetterError>>;
}

/// What begins the name of every header that is ours.
const OURS: &str = "quell-dead-";

impl DeadLetter {
    /// Whether its bytes are all there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.size == self.body.len() as u64
    }

    /// Ours, then its own.
    pub(crate) fn to_headers(&self) -> Vec<(String, Bytes)> {
        let DeadLetter { id, at, code, reason, place, stream, kind, size, headers, body: _, replayed } = self;
        let mut all: Vec<(String, Bytes)> = Vec::with_capacity(headers.len() + 9);
        let mut put = |name: &str, value: String| all.push((format!("{OURS}{name}"), Bytes::from(value)));
        put("id", id.clone());
        put("at", at.micros().to_string());
        put("code", code.clone());
        put("reason", reason.clone());
        put("place", place.clone());
        put("size", size.to_string());
        if let Some(stream) = stream {
            put("stream", (*stream as u8).to_string());
        }
        if let Some(kind) = kind {
            put("kind", kind.code().to_string());
        }
        if let Some(replayed) = replayed {
            put("replayed", replayed.micros().to_string());
        }
        all.extend(headers.iter().cloned());
        all
    }

    /// What [`DeadLetter::to_headers`] wrote; `None` when it is none.
    pub(crate) fn from_headers(all: Vec<(String, Bytes)>, body: Bytes) -> Option<DeadLetter> {
        let (mut ours, mut headers) = (Vec::new(), Vec::new());
        for (name, value) in all {
            match name.strip_prefix(OURS) {
                // Of a letter that lay among letters only the outer words are ours.
                Some(word) if !ours.iter().any(|(known, _): &(String, String)| known == word) => {
                    ours.push((word.to_owned(), String::from_utf8_lossy(&value).into_owned()));
                }
                _ => headers.push((name, value)),
            }
        }
        let text = |word: &str| ours.iter().find(|(known, _)| known == word).map(|(_, value)| value.clone());
        let number = |word: &str| text(word).and_then(|text| text.parse::<i64>().ok());
        let streams = [Stream::Main, Stream::Commands];
        Some(DeadLetter {
            id: text("id")?,
            at: Timestamp::from_micros(number("at")?),
            code: text("code")?,
            reason: text("reason")?,
            place: text("place")?,
            stream: number("stream").and_then(|code| streams.into_iter().find(|stream| *stream as i64 == code)),
            kind: number("kind").and_then(|code| u8::try_from(code).ok()).and_then(RecordKind::from_code),
            size: number("size")?.unsigned_abs(),
            headers,
            body,
            replayed: number("replayed").map(Timestamp::from_micros),
        })
    }

    /// One file: the number of headers, each with its lengths, and the body.
    fn to_bytes(&self) -> Vec<u8> {
        let headers = self.to_headers();
        let mut out = Vec::new();
        let length =
            |out: &mut Vec<u8>, n: usize| out.extend_from_slice(&u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes());
        length(&mut out, headers.len());
        for (name, value) in &headers {
            for part in [name.as_bytes(), value] {
                length(&mut out, part.len());
                out.extend_from_slice(part);
            }
        }
        out.extend_from_slice(&self.body);
        out
    }

    fn from_bytes(bytes: &[u8]) -> Option<DeadLetter> {
        let mut rest = bytes;
        let mut take = |n: usize| {
            rest.split_at_checked(n).map(|(taken, left)| {
                rest = left;
                taken.to_vec()
            })
        };
        let length = |take: &mut dyn FnMut(usize) -> Option<Vec<u8>>| {
            take(4).and_then(|bytes| bytes.try_into().ok()).map(|bytes| u32::from_le_bytes(bytes) as usize)
        };
        let count = length(&mut take)?;
        let mut headers = Vec::new();
        for _ in 0..count {
            let n = length(&mut take)?;
            let name = String::from_utf8(take(n)?).ok()?;
            let n = length(&mut take)?;
            headers.push((name, Bytes::from(take(n)?)));
        }
        DeadLetter::from_headers(headers, Bytes::copy_from_slice(rest))
    }
}

/// Letters in files of a directory.
#[derive(Clone, Debug)]
pub struct FileLetters {
    directory: PathBuf,
}

impl FileLetters {
    /// In this directory, which is made with the first letter.
    #[must_use]
    pub fn new(directory: &Path) -> FileLetters {
        FileLetters { directory: directory.to_owned() }
    }

    /// Every letter's file, by name.
    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "letter"));
        files.sort();
        Ok(files)
    }

    fn read_all(&self) -> io::Result<Vec<(PathBuf, DeadLetter)>> {
        let mut letters = Vec::new();
        for path in self.files()? {
            let mut bytes = Vec::new();
            std::fs::File::open(&path)?.read_to_end(&mut bytes)?;
            match DeadLetter::from_bytes(&bytes) {
                Some(letter) => letters.push((path, letter)),
                None => tracing::warn!(path = %path.display(), "no dead letter of quell's"),
            }
        }
        letters.sort_by(|(_, one), (_, other)| (other.at, &other.id).cmp(&(one.at, &one.id)));
        Ok(letters)
    }

    fn write(&self, letter: &DeadLetter) -> io::Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        if self.files()?.len() >= LETTERS
            && let Some((oldest, _)) = self.read_all()?.pop()
        {
            tracing::warn!(path = %oldest.display(), limit = LETTERS, "there are too many dead letters: the oldest goes");
            std::fs::remove_file(oldest)?;
        }
        let path = self.directory.join(format!("{}.letter", letter.id));
        let new = self.directory.join(format!("{}.new", letter.id));
        let mut file = std::fs::File::create(&new)?;
        file.write_all(&letter.to_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        std::fs::File::open(&self.directory)?.sync_all()
    }

    async fn aside<R: Send + 'static>(
        &self,
        work: impl FnOnce(&FileLetters) -> io::Result<R> + Send + 'static,
    ) -> Result<R, DeadLetterError> {
        let own = self.clone();
        let done =
            tokio::task::spawn_blocking(move || work(&own)).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        done.map_err(|source| DeadLetterError::File { path: self.directory.clone(), source })
    }
}

impl DeadLetters for FileLetters {
    fn put(&self, letter: DeadLetter) -> BoxFuture<'_, Result<(), DeadLetterError>> {
        Box::pin(self.aside(move |own| own.write(&letter)))
    }

    fn list(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, DeadLetterError>> {
        Box::pin(self.aside(move |own| Ok(own.read_all()?.into_iter().take(limit).map(|(_, letter)| letter).collect())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_aside_is_read_back() {
        let letter = DeadLetter {
            id: "main-17".into(),
            at: Timestamp::from_micros(-5),
            code: "damaged".into(),
            reason: "its checksum does not match".into(),
            place: "record 17 of the log".into(),
            stream: Some(Stream::Commands),
            kind: Some(RecordKind::Command),
            size: 4,
            headers: vec![
                ("quell-dead-id".into(), Bytes::from_static(b"x")),
                ("k".into(), Bytes::from_static(b"\xff")),
            ],
            body: Bytes::from_static(b"\0\x01\xfe\n"),
            replayed: Some(Timestamp::from_micros(9)),
        };
        for letter in [
            letter.clone(),
            DeadLetter { stream: None, kind: None, replayed: None, size: 1 << 40, headers: Vec::new(), ..letter },
        ] {
            let bytes = letter.to_bytes();
            assert_eq!(DeadLetter::from_bytes(&bytes), Some(letter.clone()));
            assert_eq!(letter.is_whole(), letter.size == 4);
            for cut in 0..bytes.len() - letter.body.len() {
                assert_eq!(DeadLetter::from_bytes(&bytes[..cut]), None, "cut at {cut}");
            }
        }
    }
}
