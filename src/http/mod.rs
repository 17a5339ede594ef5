//! The HTTP side: routes, the layers around them, and the server's own accept loop.

mod accept;
mod chat;
mod client;
mod observe;
mod ops;
mod record;
mod request;
pub mod serve;
mod site;
mod sse;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::response::Response;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::app::App;
use crate::config::AllowedOrigins;
use crate::error::Error;

use record::REQUEST_ID;

/// How long a browser may keep the answer to a preflight.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(3_600);

/// Every route with its layers, outermost last.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/chat", post(chat::chat))
        .route("/health", get(ops::health))
        .route("/ready", get(ops::ready))
        .route("/metrics", get(ops::metrics))
        .merge(site::router())
        .fallback(site::documentation)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&app), observe::refuse_while_draining))
        .layer(cors(&app.allowed_origins))
        .layer(axum::middleware::map_response(without_idle_cors))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&app), observe::observe))
        .with_state(app)
}

/// Exact origins or, written out, any; never credentials. A request from elsewhere is served without these headers,
/// which is what makes a browser keep the answer from the page.
fn cors(allowed: &AllowedOrigins) -> CorsLayer {
    let origin = match allowed {
        AllowedOrigins::Any => AllowOrigin::any(),
        AllowedOrigins::List(origins) => {
            AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
        }
    };
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::CONTENT_TYPE,
            header::ACCEPT,
            HeaderName::from_static(REQUEST_ID),
            HeaderName::from_static("traceparent"),
        ])
        .expose_headers([HeaderName::from_static(REQUEST_ID), header::RETRY_AFTER])
        .max_age(PREFLIGHT_MAX_AGE)
}

/// A response that admits no origin needs no other word on the matter.
async fn without_idle_cors(mut response: Response) -> Response {
    if !response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        response.headers_mut().remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
    }
    std::future::ready(response).await
}

/// Reads any body as a request's: what it gives is within its bounds.
#[cfg(fuzzing)]
pub fn fuzz(body: &[u8]) {
    use crate::limits::{MAX_HISTORY_MESSAGES, MAX_QUERY_CHARS, MAX_TOP_K};
    let keys = ["version".to_owned(), "language".to_owned()];
    match request::read(body, &keys) {
        Ok(question) => {
            assert!((1..=MAX_QUERY_CHARS).contains(&question.query.chars().count()));
            assert!(
                (1..=MAX_TOP_K).contains(&question.top_k) && question.history.len() <= MAX_HISTORY_MESSAGES
            );
            assert!(question.filter.keys().all(|key| keys.contains(key)));
            let _ = crate::rag::standalone::text(&question);
        }
        Err(Error::InvalidRequest(fields)) => assert!(!fields.is_empty()),
        Err(error) => assert!(matches!(error, Error::MalformedJson(_)), "{error}"),
    }
}
