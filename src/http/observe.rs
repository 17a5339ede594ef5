//! What surrounds every request: its id, its log line, and the body of a failure.
//!
//! A handler's [`Error`] travels as a response extension; here it gets its problem body, with the request's id, and
//! is logged, once. A stream's failure after the head is logged by `sse`.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use uuid::Uuid;

use super::serve::Guarded;
use crate::app::App;
use crate::chat::{Summary, millis};
use crate::error::{Error, whole_seconds};

/// Name of the header that carries the id in and out.
const REQUEST_ID: &str = "x-request-id";
/// Longest id that is taken over from a caller.
const MAX_REQUEST_ID: usize = 128;

/// The id of a request: its caller's, if that is fit for a log, else one of ours.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) Arc<str>);

/// When a request arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived(pub(super) Instant);

impl IntoResponse for Error {
    /// Status and headers; [`observe`] adds the body, which needs the request's id.
    fn into_response(self) -> Response {
        let public = self.public();
        let status = StatusCode::from_u16(public.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if let Some(wait) = public.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// The answer to a request whose handler panicked.
pub(super) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    Error::Internal("a handler panicked".to_owned()).into_response()
}

/// Runs a request and finishes its response.
pub(super) async fn observe(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let arrived = Instant::now();
    let id = request_id(&request);
    let open = app.drain.requests.token();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("(none)", MatchedPath::as_str).to_owned();
    request.extensions_mut().insert(RequestId(Arc::clone(&id)));
    request.extensions_mut().insert(Arrived(arrived));
    let mut response = next.run(request).await;
    let failure = response.extensions_mut().remove::<Arc<Error>>();
    if let Some(error) = &failure {
        response = with_problem(response, error, &id);
    }
    if app.drain.begun.is_cancelled() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let status = response.status().as_u16();
    let total_ms = millis(arrived.elapsed());
    match failure {
        Some(error) if status >= 500 => {
            let code = error.public().code;
            tracing::error!(request_id = %id, %method, route, status, code, total_ms, cause = %error, "failed");
        }
        Some(error) => {
            let code = error.public().code;
            tracing::info!(request_id = %id, %method, route, status, code, total_ms, "refused");
        }
        None => tracing::info!(request_id = %id, %method, route, status, total_ms, "head sent"),
    }
    response.map(|body| axum::body::Body::new(Guarded::new(body, open)))
}

/// Takes no new work while the server drains; whoever asks for its state is still told.
pub(super) async fn refuse_while_draining(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if app.drain.begun.is_cancelled() && !matches!(route, "/health" | "/ready") {
        return Error::Overloaded("draining").into_response();
    }
    next.run(request).await
}

fn with_problem(mut response: Response, error: &Error, id: &str) -> Response {
    let body = serde_json::to_vec(&error.problem(id)).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.remove(header::CONTENT_LENGTH);
    response.map(|_| body.into())
}

/// The caller's id if it is 1 to 128 letters, digits and `-_.`; anything else could forge a log line.
fn request_id(request: &Request) -> Arc<str> {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let sane = |id: &&str| {
        (1..=MAX_REQUEST_ID).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    match given.filter(sane) {
        Some(id) => id.into(),
        None => Uuid::new_v4().to_string().into(),
    }
}

/// How an answer ended, for the log: one line, also when its reader left before the end.
pub(super) struct Outcome {
    id: Arc<str>,
    known: bool,
}

impl Outcome {
    /// The outcome of an answer that has begun.
    pub(super) fn new(id: Arc<str>) -> Self {
        Self { id, known: false }
    }

    /// The request's id.
    pub(super) fn id(&self) -> Arc<str> {
        Arc::clone(&self.id)
    }

    /// It came to its end.
    pub(super) fn answered(&mut self, summary: &Summary) {
        self.known = true;
        let Summary { status, finish_reason, timings, .. } = summary;
        let (embed_ms, retrieve_ms, total_ms) = (timings.embed_ms, timings.retrieve_ms, timings.total_ms);
        let (first_token_ms, cited) = (timings.first_token_ms, summary.cited.len());
        tracing::info!(
            request_id = %self.id, status = name(status), finish_reason = name(finish_reason), cited, embed_ms,
            retrieve_ms, first_token_ms, total_ms, "answered"
        );
    }

    /// It failed after its head was sent.
    pub(super) fn failed(&mut self, error: &Error) {
        self.known = true;
        let code = error.public().code;
        tracing::error!(request_id = %self.id, code, cause = %error, "the stream failed");
    }

    /// It failed before its head: [`observe`] says so.
    pub(super) fn refused(&mut self) {
        self.known = true;
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if !self.known {
            tracing::info!(request_id = %self.id, "the reader left");
        }
    }
}

/// The name a value has on the wire.
fn name(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
