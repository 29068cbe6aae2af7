//! The least HTTP/1.1 client that keeps connections alive and knows whether a request had been sent when it failed.
//!
//! Deliberately absent: TLS, redirects, compression, proxies; only loopback servers are talked to. An ordinary client
//! hides the difference between "not sent" and "sent, no answer yet", which is what a crash test must know.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// `Retry-After`, in seconds, if given.
    pub retry_after: Option<u64>,
    /// `X-Quell-Receipt`, if given.
    pub receipt: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// Status 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as text, whatever its bytes.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The server cannot have seen all of the request.
    #[error("request: not sent to {to}")]
    NotSent {
        /// The server.
        to: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// All of it was sent and nothing came back: the server may or may not have done it.
    #[error("request: sent to {to}, but not answered")]
    Unanswered {
        /// The server.
        to: SocketAddr,
        /// When its last byte was handed over.
        sent: Instant,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// One connection, opened when needed and kept alive.
#[derive(Debug)]
pub struct Connection {
    to: SocketAddr,
    patience: Duration,
    stream: Option<BufReader<TcpStream>>,
}

impl Connection {
    /// To a server; nothing is opened yet. A request that takes longer than `patience` has failed.
    #[must_use]
    pub fn new(to: SocketAddr, patience: Duration) -> Self {
        Connection { to, patience, stream: None }
    }

    /// `GET`.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn get(&mut self, path: &str) -> Result<Response, RequestError> {
        self.request("GET", path, b"").await
    }

    /// `POST` of JSON.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn post(&mut self, path: &str, body: &[u8]) -> Result<Response, RequestError> {
        self.request("POST", path, body).await
    }

    /// One request and its answer. After an error the next request opens a new connection.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn request(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Response, RequestError> {
        let to = self.to;
        let not_sent = |source| RequestError::NotSent { to, source };
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = timed(self.patience, TcpStream::connect(to)).await.map_err(not_sent)?;
                stream.set_nodelay(true).map_err(not_sent)?;
                BufReader::new(stream)
            }
        };
        let length = body.len();
        let mut message = format!(
            "{method} {path} HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
        .into_bytes();
        message.extend_from_slice(body);
        timed(self.patience, stream.write_all(&message)).await.map_err(not_sent)?;
        let sent = Instant::now();
        let unanswered = |source| RequestError::Unanswered { to, sent, source };
        let (response, keep) = timed(self.patience, answer(&mut stream)).await.map_err(unanswered)?;
        if keep {
            self.stream = Some(stream);
        }
        Ok(response)
    }
}

async fn timed<T>(patience: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(patience, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Reads one answer; says too whether the connection may be used again.
async fn answer(stream: &mut BufReader<TcpStream>) -> io::Result<(Response, bool)> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let line = read_line(stream).await?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| bad("no status line"))?;
    let mut response = Response { status, retry_after: None, receipt: None, body: Vec::new() };
    let (mut length, mut chunked, mut keep) = (None, false, true);
    loop {
        let line = read_line(stream).await?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad("a header without a colon"))?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = Some(value.parse::<usize>().map_err(|_| bad("content-length"))?),
            "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
            "connection" => keep = !value.eq_ignore_ascii_case("close"),
            "retry-after" => response.retry_after = value.parse().ok(),
            "x-quell-receipt" => response.receipt = Some(value.to_owned()),
            _ => {}
        }
    }
    if chunked {
        loop {
            let size = read_line(stream).await?;
            let size = usize::from_str_radix(size.split(';').next().unwrap_or("").trim(), 16);
            let size = size.map_err(|_| bad("chunk size"))?;
            if size == 0 {
                while !read_line(stream).await?.is_empty() {}
                break;
            }
            read_body(stream, &mut response.body, size).await?;
            read_line(stream).await?;
        }
    } else if let Some(length) = length {
        read_body(stream, &mut response.body, length).await?;
    } else if status != 204 && status != 304 {
        stream.read_to_end(&mut response.body).await?;
        keep = false;
    }
    Ok((response, keep))
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

async fn read_body(stream: &mut BufReader<TcpStream>, body: &mut Vec<u8>, length: usize) -> io::Result<()> {
    let from = body.len();
    body.resize(from + length, 0);
    stream.read_exact(&mut body[from..]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// A server that answers each request on its one connection with the next text, then closes.
    async fn scripted(answers: Vec<&'static str>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            for answer in answers {
                let mut buffer = [0; 4096];
                let n = stream.read(&mut buffer).await.expect("a request");
                assert!(n > 0, "the client closed early");
                stream.write_all(answer.as_bytes()).await.expect("the client listens");
            }
        });
        address
    }

    #[tokio::test]
    async fn reads_lengths_and_chunks_on_one_connection() {
        let answers = vec![
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-Quell-Receipt: R-7\r\n\r\nabc",
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n",
        ];
        let mut connection = Connection::new(scripted(answers).await, PATIENCE);
        let first = connection.post("/a", b"{}").await.expect("an answer");
        assert_eq!((first.status, first.text().as_str(), first.receipt.as_deref()), (200, "abc", Some("R-7")));
        let second = connection.get("/b").await.expect("an answer");
        assert_eq!((second.status, second.text().as_str(), second.retry_after), (503, "def", Some(2)));
    }

    #[tokio::test]
    async fn knows_a_sent_request_from_one_that_was_not() {
        let mut connection = Connection::new(scripted(vec!["HTTP/1.1 200"]).await, PATIENCE);
        let cut = connection.post("/a", b"{}").await;
        assert!(matches!(cut, Err(RequestError::Unanswered { .. })), "{cut:?}");
        let refused = connection.post("/a", b"{}").await;
        assert!(matches!(refused, Err(RequestError::NotSent { .. })), "{refused:?}");
    }
}
