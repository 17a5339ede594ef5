//! What surrounds every request: its [`Record`], and the body of a failure.
//!
//! A handler's [`Error`] travels as a response extension; here it gets its problem body, with the request's id. A stream's
//! failure after the head is written by `sse`.

use std::any::Any;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument as _;

use super::record::{PROBES, REQUEST_ID, Record};
use super::serve::Guarded;
use crate::app::App;
use crate::error::{Error, whole_seconds};

impl IntoResponse for Error {
    /// Status and headers; [`observe`] adds the body, which needs the request's id.
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

/// The answer to a request whose handler panicked.
pub(super) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    Error::Internal("a handler panicked".to_owned()).into_response()
}

/// Runs a request and finishes its response.
pub(super) async fn observe(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let open = app.drain.requests.token();
    let route = request.extensions().get::<MatchedPath>().map_or("(none)", MatchedPath::as_str).to_owned();
    let record = Record::new(request.method(), route, request.headers());
    request.extensions_mut().insert(Arc::clone(&record));
    let mut response = next.run(request).instrument(span(&record.id)).await;
    if let Some(error) = response.extensions_mut().remove::<Arc<Error>>() {
        record.failed(&error);
        response = with_problem(response, &error, &record.id);
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if app.drain.begun.is_cancelled() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Ok(value) = HeaderValue::from_str(&record.id) {
        headers.insert(REQUEST_ID, value);
    }
    record.head(response.status().as_u16());
    response.map(|body| axum::body::Body::new(Guarded::new(body, open, record)))
}

/// What names the request in lines that are logged on its way. It is there at every level, or a warning would have no id.
pub(super) fn span(id: &str) -> tracing::Span {
    tracing::error_span!("request", request_id = id)
}

/// Takes no new work while the server drains; whoever asks for its state is still told.
pub(super) async fn refuse_while_draining(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if app.drain.begun.is_cancelled() && !PROBES.contains(&route) {
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
