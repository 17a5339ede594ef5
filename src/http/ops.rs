//! What operators ask: whether the process lives, and whether it can answer.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::app::{App, Readiness};

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
