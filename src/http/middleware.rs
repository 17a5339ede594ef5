//! Surrounds every request: begins its log, refuses new work while the server drains, and finishes its
//! response.
//!
//! A failure before the head takes this way: a handler returns [`Error`], whose response has a status but no
//! body and carries the error as an extension; [`finish_request`] takes the extension out, notes the failure
//! for the log line, and writes the body in the protocol of the route, with the request's id. The pump handles
//! a failure after the head.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Extension;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Instrument as _;

use super::encoder::{Encoder, ErrorBody};
use super::request_log::{REQUEST_ID, RequestLog};
use crate::app::Drain;
use crate::error::{Error, whole_seconds};

/// Routes that report the state of the server; they are polled all the time, and answered also while the server
/// drains.
const PROBES: &[&str] = &["/health", "/ready", "/metrics"];

impl IntoResponse for Error {
    /// Returns status and headers; [`finish_request`] adds the body, which needs the request's id and protocol.
    fn into_response(self) -> Response {
        let public = self.public();
        let status = StatusCode::from_u16(public.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if let Some(wait) = public.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// Answers a request whose handler panicked.
pub(super) fn answer_panic(_: Box<dyn Any + Send + 'static>) -> Response {
    Error::Internal("a handler panicked".to_owned()).into_response()
}

/// Answers a request whose route exists for another method.
pub(super) async fn refuse_method() -> Error {
    Error::MethodNotAllowed
}

/// Refuses every request except a probe while the server drains.
pub(crate) async fn refuse_while_draining(
    State(drain): State<Drain>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if drain.begun.is_cancelled() && !PROBES.contains(&route) {
        return Error::Overloaded("draining").into_response();
    }
    next.run(request).await
}

/// Begins a request's log, runs the request, and completes the response: the body of a failure, the headers,
/// the id.
pub(crate) async fn finish_request(
    State(drain): State<Drain>,
    Extension(encoder): Extension<Encoder>,
    mut request: Request,
    next: Next,
) -> Response {
    let open = drain.requests.token();
    let route = request.extensions().get::<MatchedPath>().map_or("(none)", MatchedPath::as_str).to_owned();
    let log = RequestLog::new(request.method(), route, request.headers());
    request.extensions_mut().insert(Arc::clone(&log));
    let mut response = next.run(request).instrument(log.span()).await;
    if let Some(error) = response.extensions_mut().remove::<Arc<Error>>() {
        log.note_failure(&error);
        response = with_error_body(response, encoder.error_body(&error, log.shown_id()));
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if drain.begun.is_cancelled() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Ok(value) = HeaderValue::from_str(log.shown_id()) {
        headers.insert(REQUEST_ID, value);
    }
    log.note_head(response.status().as_u16());
    response.map(|body| Body::new(TrackedBody { body, _open: open, _log: log }))
}

fn with_error_body(mut response: Response, ErrorBody { media_type, bytes }: ErrorBody) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.remove(header::CONTENT_LENGTH);
    response.map(|_| bytes.into())
}

/// Removes `Access-Control-Expose-Headers` from responses without `Access-Control-Allow-Origin`: tower-http's
/// layer adds it to every response.
pub(super) async fn drop_expose_headers_without_origin(mut response: Response) -> Response {
    if !response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        response.headers_mut().remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
    }
    response
}

/// Keeps a request open, for the drain and the log, until its response's body has been sent or dropped.
struct TrackedBody {
    body: Body,
    _open: TaskTrackerToken,
    _log: Arc<RequestLog>,
}

impl HttpBody for TrackedBody {
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
