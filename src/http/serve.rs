//! Runs the server's own accept loop over hyper: `axum::serve` has no header timeout, no buffer bound and no
//! write deadline.
//!
//! One task per connection. A shutdown closes the port at once and lets open requests finish. A request that
//! comes meanwhile on an open connection is refused as overloaded. An answer that outlives the grace ends with
//! an error event, and a connection that then still does not close is dropped.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::peer::Peer;
use crate::app::App;
use crate::limits::MAX_HEAD_BYTES;

/// Bytes of a response that the operating system buffers for a slow reader (Linux doubles the number); the
/// system's own default is up to 4 MiB a connection. When the buffer is full, reading from the model stops.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// Pause after a failed accept (no file descriptors left, for example), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time for the last frames to leave once the grace is over, and then for connections to close.
const FLUSH_GRACE: Duration = Duration::from_secs(2);

/// Serves until `shutdown` resolves and the open requests have ended or their grace is over.
///
/// The caller owns the listener and the signal, so that tests and `main` run the same server.
pub async fn serve(app: Arc<App>, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    let router = super::router(Arc::clone(&app));
    let mut connections = JoinSet::new();
    let close = CancellationToken::new();
    let watcher = tokio::spawn({
        let app = Arc::clone(&app);
        async move { tokio::join!(app.watch_dependencies(), app.tidy_counters()) }
    });
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let stream = WatchedSocket::new(stream, app.limits.write_timeout);
                    let (head_timeout, peer) = (app.limits.head_timeout, Peer(peer.ip()));
                    connections.spawn(serve_connection(stream, head_timeout, peer, router.clone(), close.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    watcher.abort();
    drain_connections(&app, connections, &close).await;
}

/// Lets open requests finish within the grace, ends the others with an error, and closes every connection.
async fn drain_connections(app: &App, mut connections: JoinSet<()>, close: &CancellationToken) {
    let drain = &app.drain;
    let open = drain.requests.len();
    tracing::info!(open, "shutting down: open answers may finish");
    drain.begun.cancel();
    drain.requests.close();
    if timeout(app.limits.shutdown_grace, drain.requests.wait()).await.is_err() {
        tracing::warn!(open = drain.requests.len(), "the grace is over: open answers end with an error");
        drain.expired.cancel();
        let _ = timeout(FLUSH_GRACE, drain.requests.wait()).await;
    }
    close.cancel();
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(FLUSH_GRACE, all).await.is_err() {
        tracing::warn!(open = connections.len(), "connections that do not close are dropped");
        connections.shutdown().await;
    }
}

/// Serves one connection until its end; `close` ends it after the request under way.
async fn serve_connection(
    stream: WatchedSocket,
    head_timeout: Duration,
    peer: Peer,
    router: Router,
    close: CancellationToken,
) {
    let socket = SockRef::from(&stream.stream);
    if let Err(error) = socket.set_tcp_nodelay(true).and(socket.set_send_buffer_size(SEND_BUFFER_BYTES)) {
        tracing::debug!(%error, "a socket's options");
    }
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().call(request)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head_timeout).max_buf_size(MAX_HEAD_BYTES);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = close.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Wraps a socket whose writes fail once its reader is gone.
///
/// A write fails once it has been pending for `limit`: a reader that takes nothing is dropped, and with it
/// everything its answer holds. A flush fails once the reader has closed its side. hyper looks for that itself,
/// but a stray byte after a request's body hides it: hyper keeps the byte as the beginning of the next request.
struct WatchedSocket {
    stream: TcpStream,
    /// Longest time that a write may be pending.
    limit: Duration,
    /// Runs while a write is pending.
    write_deadline: Option<Pin<Box<Sleep>>>,
}

impl WatchedSocket {
    fn new(stream: TcpStream, limit: Duration) -> Self {
        Self { stream, limit, write_deadline: None }
    }

    /// Fails once the reader has closed its side, and wakes the connection then. Bytes that hyper has not read
    /// yet hide the closing; a failed write or a deadline then shows that the reader has left.
    fn check_reader(&self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.stream.poll_peek(cx, &mut ReadBuf::new(&mut [0])) {
            Poll::Ready(Ok(0)) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(_)) | Poll::Pending => Ok(()),
        }
    }

    /// Returns a write's outcome, or fails the write when it has been pending for the limit.
    fn bound_write<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.write_deadline = None;
            return outcome;
        }
        let limit = self.limit;
        let deadline = self.write_deadline.get_or_insert_with(|| Box::pin(sleep(limit)));
        match deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for WatchedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for WatchedSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.bound_write(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.bound_write(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes whenever nothing is left to write, so a silent connection is checked here.
        self.check_reader(cx)?;
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.bound_write(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
