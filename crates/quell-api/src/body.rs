//! Reading a request's body within limits: of its bytes as sent, of its bytes unpacked, of time, and of memory over
//! all requests in flight.
//!
//! Absent on purpose: what the bytes mean, and any encoding but gzip.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::answer::Problem;

/// Memory is accounted in pieces of this many bytes.
const PIECE: usize = 64 * 1024;
/// Beyond this many unpacked bytes a body may not be more than [`RATIO`] times its packed size.
const RATIO_FROM: usize = 1024 * 1024;
/// No honest sender's text packs better than this.
const RATIO: usize = 100;

/// What one body may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    /// Bytes as sent.
    pub(crate) encoded: usize,
    /// Bytes unpacked.
    pub(crate) decoded: usize,
    /// Time from the first to the last byte.
    pub(crate) patience: Duration,
}

/// Memory for all bodies in flight together.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Budget(Arc::new(Semaphore::new(bytes.div_ceil(PIECE))))
    }

    fn hold(&self) -> Held {
        Held { pool: self.clone(), permit: None, pieces: 0 }
    }
}

/// What one body holds of the [`Budget`]; given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pool: Budget,
    permit: Option<OwnedSemaphorePermit>,
    pieces: usize,
}

impl Held {
    fn grow_to(&mut self, bytes: usize) -> Result<(), BodyFault> {
        let wanted = bytes.div_ceil(PIECE);
        let more = wanted.saturating_sub(self.pieces);
        if more == 0 {
            return Ok(());
        }
        let count = u32::try_from(more).map_err(|_| BodyFault::Busy)?;
        let more = self.pool.0.clone().try_acquire_many_owned(count).map_err(|_| BodyFault::Busy)?;
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        self.pieces = wanted;
        Ok(())
    }
}

/// A whole body. Its memory counts as in use until this is dropped.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    pub(crate) held: Held,
}

/// Why a body was not read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BodyFault {
    #[error("the body has more than {cap} bytes {form}")]
    TooLarge { cap: usize, form: &'static str },
    #[error("the body unpacks to more than {RATIO} times its size")]
    Bomb,
    #[error("Content-Encoding: found {found:?}; allowed: gzip, identity")]
    Encoding { found: String },
    #[error("the body did not arrive within {} s", patience.as_secs())]
    Slow { patience: Duration },
    #[error("the body broke off")]
    Broken,
    #[error("the body is not valid gzip")]
    Gzip,
    #[error("too many large requests are in flight")]
    Busy,
}

impl From<BodyFault> for Problem {
    fn from(fault: BodyFault) -> Self {
        let message = fault.to_string();
        match fault {
            BodyFault::TooLarge { cap, .. } => Problem {
                place: Some("body".into()),
                allowed: Some(format!("at most {cap} bytes")),
                ..Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
            },
            BodyFault::Bomb => Problem {
                place: Some("body".into()),
                allowed: Some(format!("at most {RATIO} times the packed size")),
                ..Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
            },
            BodyFault::Encoding { found } => Problem {
                place: Some("header Content-Encoding".into()),
                found: Some(found),
                allowed: Some("gzip, identity".into()),
                ..Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unknown_encoding", message)
            },
            BodyFault::Slow { .. } => Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", message),
            BodyFault::Broken => Problem::new(StatusCode::BAD_REQUEST, "broken_body", message),
            BodyFault::Gzip => Problem::new(StatusCode::BAD_REQUEST, "bad_gzip", message),
            BodyFault::Busy => Problem::unavailable("overloaded", message, 1),
        }
    }
}

/// Reads the body to its end. At most one copy of it is made, none when it came in one piece.
pub(crate) async fn read(headers: &HeaderMap, body: Body, caps: Caps, budget: &Budget) -> Result<Whole, BodyFault> {
    let packed = is_gzip(headers)?;
    let cap = if packed { caps.encoded } else { caps.encoded.min(caps.decoded) };
    let mut held = budget.hold();
    let collected = tokio::time::timeout(caps.patience, collect(body, cap, &mut held)).await;
    let bytes = collected.map_err(|_| BodyFault::Slow { patience: caps.patience })??;
    if !packed {
        return Ok(Whole { bytes, held });
    }
    let unpack = tokio::task::spawn_blocking(move || {
        let unpacked = unpack(&bytes, caps.decoded, &mut held)?;
        Ok(Whole { bytes: unpacked.into(), held })
    });
    unpack.await.map_err(|_| BodyFault::Gzip)?
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, BodyFault> {
    let mut found = headers.get_all(header::CONTENT_ENCODING).into_iter();
    let Some(value) = found.next() else {
        return Ok(false);
    };
    let text = value.to_str().unwrap_or("?").trim();
    match text.to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" if found.next().is_none() => Ok(true),
        "" | "identity" if found.next().is_none() => Ok(false),
        _ => Err(BodyFault::Encoding { found: text.chars().take(60).collect() }),
    }
}

async fn collect(mut body: Body, cap: usize, held: &mut Held) -> Result<Bytes, BodyFault> {
    let too_large = || BodyFault::TooLarge { cap, form: "as sent" };
    let declared = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if declared.is_some_and(|bytes| bytes > cap) {
        return Err(too_large());
    }
    let mut first: Option<Bytes> = None;
    let mut whole: Vec<u8> = Vec::new();
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyFault::Broken)?.into_data() else {
            continue;
        };
        total += data.len();
        if total > cap {
            return Err(too_large());
        }
        held.grow_to(total)?;
        if total == data.len() {
            first = Some(data);
            continue;
        }
        if let Some(first) = first.take() {
            whole.reserve_exact(declared.unwrap_or(total * 2).max(total));
            whole.extend_from_slice(&first);
        }
        whole.extend_from_slice(&data);
    }
    Ok(first.unwrap_or_else(|| whole.into()))
}

fn unpack(packed: &[u8], cap: usize, held: &mut Held) -> Result<Vec<u8>, BodyFault> {
    let mut decoder = MultiGzDecoder::new(packed);
    let mut out = Vec::with_capacity(packed.len().saturating_mul(4).min(cap));
    loop {
        let read = decoder.by_ref().take(PIECE as u64).read_to_end(&mut out).map_err(|_| BodyFault::Gzip)?;
        if read == 0 {
            return Ok(out);
        }
        if out.len() > cap {
            return Err(BodyFault::TooLarge { cap, form: "unpacked" });
        }
        if out.len() > RATIO_FROM && out.len() / RATIO > packed.len() {
            return Err(BodyFault::Bomb);
        }
        held.grow_to(packed.len() + out.len())?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use axum::http::HeaderValue;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures::stream;

    use super::*;

    const CAPS: Caps = Caps { encoded: 256 * 1024, decoded: 2 * 1024 * 1024, patience: Duration::from_secs(5) };

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    async fn check(encoding: Option<&'static str>, body: Body, expected: Result<usize, BodyFault>) {
        let mut headers = HeaderMap::new();
        if let Some(encoding) = encoding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        let budget = Budget::new(4 * 1024 * 1024);
        let read = read(&headers, body, CAPS, &budget).await;
        assert_eq!(read.map(|whole| whole.bytes.len()), expected);
        assert_eq!(budget.0.available_permits(), 64, "all memory is given back");
    }

    #[tokio::test]
    async fn plain_and_packed_bodies() {
        check(None, Body::from("[]"), Ok(2)).await;
        check(Some("identity"), Body::from("[]"), Ok(2)).await;
        check(Some("GZIP"), Body::from(gzip(b"[1]")), Ok(3)).await;
        let pieces: [Result<Bytes, std::io::Error>; 3] = [Ok("[".into()), Ok("1".into()), Ok("]".into())];
        check(None, Body::from_stream(stream::iter(pieces)), Ok(3)).await;
    }

    #[tokio::test]
    async fn limits_as_sent_and_unpacked() {
        let sent = BodyFault::TooLarge { cap: CAPS.encoded, form: "as sent" };
        check(None, Body::from(vec![b'x'; CAPS.encoded + 1]), Err(sent.clone())).await;
        let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 1000])));
        check(None, Body::from_stream(endless), Err(sent)).await;
        check(Some("gzip"), Body::from(gzip(&vec![b'x'; 1_500_000])), Err(BodyFault::Bomb)).await;
        let mut mixed = Vec::new();
        for n in 0u64..400_000 {
            mixed.extend_from_slice(&(n.wrapping_mul(0x9e37_79b9) & 0x0f0f).to_le_bytes());
        }
        let packed = gzip(&mixed);
        assert!(packed.len() < CAPS.encoded && packed.len() * RATIO > mixed.len(), "{}", packed.len());
        check(Some("gzip"), Body::from(packed), Err(BodyFault::TooLarge { cap: CAPS.decoded, form: "unpacked" })).await;
    }

    #[tokio::test]
    async fn unknown_and_false_encodings() {
        check(Some("br"), Body::from("x"), Err(BodyFault::Encoding { found: "br".into() })).await;
        check(Some("gzip, gzip"), Body::from("x"), Err(BodyFault::Encoding { found: "gzip, gzip".into() })).await;
        check(Some("gzip"), Body::from("not gzip"), Err(BodyFault::Gzip)).await;
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let stuck = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let caps = Caps { patience: Duration::from_millis(30), ..CAPS };
        let fault = read(&HeaderMap::new(), stuck, caps, &Budget::new(PIECE)).await.map(|whole| whole.bytes);
        assert_eq!(fault, Err(BodyFault::Slow { patience: caps.patience }));
    }

    #[tokio::test]
    async fn memory_of_all_bodies_is_bounded() {
        let budget = Budget::new(PIECE);
        let first = read(&HeaderMap::new(), Body::from("x"), CAPS, &budget).await.expect("room for one");
        let second = read(&HeaderMap::new(), Body::from("x"), CAPS, &budget).await;
        assert_eq!(second.map(|w| w.bytes), Err(BodyFault::Busy));
        drop(first);
        assert!(read(&HeaderMap::new(), Body::from("x"), CAPS, &budget).await.is_ok());
    }
}
