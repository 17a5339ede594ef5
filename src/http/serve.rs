//! The server's own accept loop over hyper: `axum::serve` has no header timeout, no buffer bound and no write deadline.
//!
//! One task per connection. A shutdown closes the port at once and lets open requests finish; a request that comes on
//! an open connection meanwhile is told that the server is draining; what outlives the grace ends with an error event,
//! and connections that then still do not close are dropped.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
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
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::Service as _;

use super::client::Peer;
use super::record::Record;
use crate::app::App;
use crate::limits::{MAX_HEAD_BYTES, SEND_BUFFER_BYTES};

/// Pause after a failed accept (no file descriptors left, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the last frames may take to leave, once the grace is over.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Serves until `shutdown` resolves and the open requests have ended or their grace is over.
///
/// The caller owns the listener and the signal, so that tests and `main` run the same server.
pub async fn serve(app: Arc<App>, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    let router = super::router(Arc::clone(&app));
    let mut connections = JoinSet::new();
    let close = CancellationToken::new();
    let watcher = tokio::spawn({
        let app = Arc::clone(&app);
        async move { tokio::join!(app.watch(), app.tidy()) }
    });
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let stream = Watched::new(stream, app.limits.write_timeout);
                    connections.spawn(connection(stream, app.limits.head_timeout, Peer(peer.ip()), router.clone(), close.clone()));
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
    drain(&app, connections, &close).await;
}

async fn drain(app: &App, mut connections: JoinSet<()>, close: &CancellationToken) {
    let drain = &app.drain;
    let open = drain.requests.len();
    tracing::info!(open, "shutting down: open answers may finish");
    drain.begun.cancel();
    drain.requests.close();
    if timeout(app.limits.shutdown_grace, drain.requests.wait()).await.is_err() {
        tracing::warn!(open = drain.requests.len(), "the grace is over: open answers end with an error");
        drain.expired.cancel();
        let _ = timeout(LAST_WORDS, drain.requests.wait()).await;
    }
    close.cancel();
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(LAST_WORDS, all).await.is_err() {
        tracing::warn!(open = connections.len(), "connections that do not close are dropped");
        connections.shutdown().await;
    }
}

/// One connection, until it ends or `close` asks it to end after the request under way.
async fn connection(
    stream: Watched,
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

/// A socket that tells when its reader is gone.
///
/// Its writes fail once they have been stuck for too long: a reader that takes nothing is dropped, and with it everything
/// its answer holds. And it looks for the end of what the reader sends, which hyper does itself, but not past a stray
/// byte after a request's body: it keeps such a byte as the beginning of the next request.
struct Watched {
    stream: TcpStream,
    limit: Duration,
    stuck: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    fn new(stream: TcpStream, limit: Duration) -> Self {
        Self { stream, limit, stuck: None }
    }

    /// Fails once the reader has closed its side, and wakes the connection when it does; not past bytes that hyper has not
    /// taken yet, behind which a reader that leaves is found by a write or a deadline.
    fn left(&self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.stream.poll_peek(cx, &mut ReadBuf::new(&mut [0])) {
            Poll::Ready(Ok(0)) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(_)) | Poll::Pending => Ok(()),
        }
    }

    /// Passes a write's outcome on, and fails it when it has been pending for the limit.
    fn watch<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stuck = None;
            return outcome;
        }
        let limit = self.limit;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(limit)));
        match stuck.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes whenever it has nothing left to write, so this is where a silent connection is looked at.
        self.left(cx)?;
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A response's body, with which its request is open until it has been sent or dropped.
pub(super) struct Guarded {
    body: Body,
    _open: TaskTrackerToken,
    _record: Arc<Record>,
}

impl Guarded {
    pub(super) fn new(body: Body, open: TaskTrackerToken, record: Arc<Record>) -> Self {
        Self { body, _open: open, _record: record }
    }
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
