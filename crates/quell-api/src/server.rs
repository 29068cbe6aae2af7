//! The accept loop: HTTP/1.1 over TCP, with a limit on everything a client can hold on to.
//!
//! Absent on purpose: TLS, HTTP/2 and any knowledge of routes.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::Sleep;
use tower::Service;

/// Connections held at once; the next one is told to come again.
const CONNECTIONS: usize = 4_096;
/// A client gets this long for a request's head, and between two requests.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);
/// A client that takes nothing of an answer for this long is cut off.
const WRITE_PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of a request's head.
const HEADER_BYTES: usize = 32 * 1024;
/// Bytes of read buffer per connection.
const BUFFER_BYTES: usize = 64 * 1024;
/// Requests in flight get this long when the server shuts down.
const FAREWELL: Duration = Duration::from_secs(5);
/// After a failed accept (no file descriptors left, say) nothing is accepted for this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What a connection over the limit is told.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Turns true when the server shuts down; endless answers end then.
#[derive(Clone, Debug)]
pub(crate) struct Closing(pub(crate) watch::Receiver<bool>);

impl Closing {
    /// Waits until the server shuts down.
    pub(crate) async fn wait(&mut self) {
        // A dropped sender means the server is gone: as good as closing.
        let _ = self.0.wait_for(|closing| *closing).await;
    }
}

/// Serves the router until `shutdown` is done, then lets requests in flight finish for a short while.
///
/// # Errors
/// When the listener's address cannot be read; a failed accept is logged and tried again.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let address = listener.local_addr()?;
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    let (close, closing) = watch::channel(false);
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    tracing::info!(%address, "listening");
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(seat) = seats.clone().try_acquire_owned() else {
            // Best effort: the socket's send buffer is empty, so this fits or the client is gone.
            let _ = stream.try_write(FULL);
            continue;
        };
        let connection = graceful.watch(connection(stream, router.clone(), Closing(closing.clone())));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(seat);
        });
    }
    drop(listener);
    close.send_replace(true);
    if tokio::time::timeout(FAREWELL, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time and are cut off");
    }
    Ok(())
}

fn connection(
    stream: TcpStream,
    router: Router,
    closing: Closing,
) -> http1::Connection<TokioIo<Patient<TcpStream>>, impl Service1> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(closing.clone());
        // A router is always ready: `poll_ready` of axum's router never waits.
        let mut router = router.clone();
        router.call(request)
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE)
        .max_header_size(HEADER_BYTES)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream, WRITE_PATIENCE)), service)
}

/// What hyper wants of the service above; a name for a bound that is needed twice.
trait Service1:
    hyper::service::Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Send
{
}

impl<S> Service1 for S where
    S: hyper::service::Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Send
{
}

/// A stream that fails when a write makes no progress for a while, so that a stalled reader holds nothing for ever.
struct Patient<S> {
    stream: S,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Patient { stream, patience, stalled: None }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.stalled = None;
            return progress;
        }
        let patience = self.patience;
        let sleep = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, progress)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;

    use super::*;

    async fn start(router: Router) -> (std::net::SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            serve(listener, router, stopped).await.expect("serves");
        });
        (address, stop, task)
    }

    async fn talk(address: std::net::SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(request).await.expect("sends");
        let mut answer = Vec::new();
        // A server that closes on a bad request may reset the connection after its answer.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn hello() -> Router {
        Router::new().route("/", axum::routing::get(|| async { "hello" }))
    }

    #[tokio::test]
    async fn answers_and_shuts_down() {
        let (address, stop, task) = start(hello()).await;
        let answer = talk(address, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hello"), "{answer}");
        stop.send(()).expect("running");
        task.await.expect("ends");
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn an_idle_connection_does_not_delay_shutdown() {
        let (address, stop, task) = start(hello()).await;
        let mut idle = TcpStream::connect(address).await.expect("connects");
        idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sends");
        let mut start = [0; 12];
        idle.read_exact(&mut start).await.expect("answers");
        stop.send(()).expect("running");
        tokio::time::timeout(FAREWELL, task).await.expect("before the farewell is over").expect("ends");
    }

    #[tokio::test]
    async fn refuses_what_is_not_clean_http() {
        let (address, _stop, _task) = start(hello()).await;
        let large = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(HEADER_BYTES));
        let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(200));
        for (request, expected) in [
            (large.as_bytes(), "431"),
            (many.as_bytes(), "431"),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx".as_slice(), "400"),
            (b"NOT HTTP\r\n\r\n".as_slice(), "400"),
        ] {
            let answer = talk(address, request).await;
            assert_eq!(answer.get(9..12), Some(expected), "{answer}");
        }
    }

    #[tokio::test]
    async fn a_stalled_reader_is_cut_off() {
        let (_reader, writer) = tokio::io::duplex(16);
        let mut patient = Patient::new(writer, Duration::from_millis(30));
        let failed = patient.write_all(&[0; 64]).await.expect_err("nobody reads");
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
    }
}
