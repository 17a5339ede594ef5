//! Reports the liveness, the readiness and the metrics of this process to operators.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use secrecy::ExposeSecret as _;
use serde::Serialize;

use crate::app::{App, Readiness};
use crate::error::Error;
use crate::telemetry::metrics;

/// Media type of Prometheus's text format, version 0.0.4.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns the routes of operators.
pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/health", get(report_health))
        .route("/ready", get(report_readiness))
        .route("/metrics", get(render_metrics))
}

/// Holds the body of `/health`.
#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
}

/// Answers 200 while the process serves, even if a dependency fails.
async fn report_health() -> Json<Health> {
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// Holds the body of `/ready`.
#[derive(Serialize)]
struct Ready {
    status: &'static str,
    #[serde(flatten)]
    dependencies: Readiness,
}

/// Answers with the last result of the background check; 503 when a question could not be answered, or while
/// draining.
async fn report_readiness(State(app): State<Arc<App>>) -> (StatusCode, Json<Ready>) {
    let dependencies = app.readiness.get();
    let (code, status) = if app.drain.begun.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if dependencies.is_ready() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
    };
    (code, Json(Ready { status, dependencies }))
}

/// Answers with all metrics in Prometheus's text format. If `METRICS_TOKEN` is set, the request must carry that
/// token.
async fn render_metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Error> {
    let admitted = app.metrics_token.as_ref().is_none_or(|token| is_bearer(&headers, token.expose_secret()));
    if !admitted {
        return Err(Error::Unauthorized);
    }
    let Readiness { qdrant, gemini } = app.readiness.get();
    metrics::set_dependency_ready("qdrant", qdrant.is_usable());
    metrics::set_dependency_ready("gemini", gemini.is_usable());
    metrics::set_open_answers(app.permits.taken(), app.permits.max());
    let headers = [(header::CONTENT_TYPE, TEXT_FORMAT), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, metrics::render()).into_response())
}

/// Reports whether the request carries this bearer token. Every byte is compared, also after a difference, so
/// that the time taken does not show how much of a wrong token is right; the length is no secret.
fn is_bearer(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    let wanted = format!("Bearer {token}");
    let differs = given.iter().zip(wanted.as_bytes()).fold(0, |differs, (a, b)| differs | (a ^ b));
    given.len() == wanted.len() && differs == 0
}
