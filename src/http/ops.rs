//! What operators ask: whether the process lives, whether it can answer, and what it has counted.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use secrecy::ExposeSecret as _;
use serde::Serialize;

use crate::app::{App, Readiness};
use crate::error::Error;
use crate::telemetry::metrics;

/// Version 0.0.4 of Prometheus's text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Debug, Serialize)]
pub(super) struct Health {
    status: &'static str,
    version: &'static str,
}

/// `GET /health`: 200 while the process serves, whatever its dependencies do.
pub(super) async fn health() -> Json<Health> {
    std::future::ready(Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })).await
}

#[derive(Debug, Serialize)]
pub(super) struct Ready {
    status: &'static str,
    #[serde(flatten)]
    dependencies: Readiness,
}

/// `GET /ready`: what the background check last saw; 503 when a question could not be answered, or while draining.
pub(super) async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Ready>) {
    let dependencies = app.readiness.get();
    let (code, status) = if app.drain.begun.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if dependencies.is_ready() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
    };
    std::future::ready((code, Json(Ready { status, dependencies }))).await
}

/// `GET /metrics`: Prometheus's text format; behind `METRICS_TOKEN`, where that is set.
pub(super) async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Error> {
    let admitted = app.metrics_token.as_ref().is_none_or(|token| is_bearer(&headers, token.expose_secret()));
    if !admitted {
        return Err(Error::Unauthorized);
    }
    let Readiness { qdrant, gemini } = app.readiness.get();
    metrics::ready("qdrant", qdrant.is_fine());
    metrics::ready("gemini", gemini.is_fine());
    metrics::open_answers(app.permits.taken(), app.permits.max());
    let headers = [(header::CONTENT_TYPE, TEXT_FORMAT), (header::CACHE_CONTROL, "no-store")];
    Ok(std::future::ready((headers, metrics::render()).into_response()).await)
}

/// Whether the request carries this bearer token. The time it takes does not tell how much of a wrong one was right.
fn is_bearer(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    let wanted = format!("Bearer {token}");
    let differs = given.iter().zip(wanted.as_bytes()).fold(0, |differs, (a, b)| differs | (a ^ b));
    given.len() == wanted.len() && differs == 0
}
