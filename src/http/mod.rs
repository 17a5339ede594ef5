//! Serves HTTP: the machinery around every request, and one folder a protocol.
//!
//! A protocol is a folder with a router, a handler, its request and its wire; a `merge` line in [`router`]; and
//! a variant of [`Encoder`]. Everything else is shared: [`admission`] admits a request, [`fields`] reads its
//! JSON, [`pump`] moves its answer, counts and logs. Imports run from a protocol's router to `pump`, from there
//! to `encoder`, and from there to the protocol's `wire`.

pub(crate) mod accept;
pub(crate) mod admission;
mod assets;
pub(crate) mod encoder;
pub(crate) mod fields;
mod handbook;
pub(crate) mod middleware;
pub(crate) mod native;
mod ops;
pub(crate) mod peer;
pub(crate) mod pump;
pub(crate) mod request_log;
pub mod serve;
pub(crate) mod sse;

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::{Extension, Router};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::app::{App, Drain};
use crate::config::AllowedOrigins;

use encoder::Encoder;
use request_log::REQUEST_ID;

/// Time for which a browser may keep the answer to a preflight.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(3_600);

/// Returns every route with its layers. A further protocol is one more `merge(with_layers(…))`.
pub(crate) fn router(app: Arc<App>) -> Router {
    let native = native::router().merge(ops::router()).merge(assets::router()).fallback(handbook::serve_page);
    let with_layers = |routes, encoder| with_layers(routes, encoder, &app.drain, &app.allowed_origins);
    Router::new()
        .merge(with_layers(native, Encoder::Native(native::wire::NativeEncoder)))
        .with_state(Arc::clone(&app))
}

/// Surrounds the routes of a protocol with the layers that every request passes. The order, from the outside
/// in, and its reasons:
///
/// 1. The encoder, so that the next layer can write a failure in the protocol of the route.
/// 2. `finish_request`: every response, also a preflight's and a refusal's, gets its id, its body and its line
///    in the log.
/// 3. `drop_expose_headers_without_origin`: outside of CORS, whose header it removes.
/// 4. CORS: outside of everything that refuses, so that a page may read the reason.
/// 5. `refuse_while_draining`: before any handler works.
/// 6. The catch of panics: innermost, so that a panic passes all of the above as an ordinary failure.
fn with_layers<S: Clone + Send + Sync + 'static>(
    routes: Router<S>,
    encoder: Encoder,
    drain: &Drain,
    allowed_origins: &AllowedOrigins,
) -> Router<S> {
    routes
        .method_not_allowed_fallback(middleware::refuse_method)
        .layer(CatchPanicLayer::custom(middleware::answer_panic))
        .layer(from_fn_with_state(drain.clone(), middleware::refuse_while_draining))
        .layer(cors_layer(allowed_origins))
        .layer(map_response(middleware::drop_expose_headers_without_origin))
        .layer(from_fn_with_state(drain.clone(), middleware::finish_request))
        .layer(Extension(encoder))
}

/// Allows the configured origins, or every origin if the setting says so; never credentials. A request from
/// another origin is answered without these headers, so the browser hides the answer from the page.
fn cors_layer(allowed: &AllowedOrigins) -> CorsLayer {
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

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::extract::Request;
    use axum::routing::{any, get, post};
    use tower::ServiceExt as _;

    use super::*;
    use crate::error::Error;

    /// Serves a request to two protocols beside each other, `/bare` and the native one.
    async fn serve(method: &str, path: &str, drain: &Drain) -> (u16, String, String) {
        async fn panics() {
            panic!("on purpose");
        }
        async fn fails() -> Error {
            Error::RateLimited(Duration::from_secs(1))
        }
        let origins = AllowedOrigins::List(Vec::new());
        // As a protocol puts its routes below a prefix, so that every other path there is a 404 of its own.
        let below = |prefix: &str| {
            let not_found = async || Error::NotFound;
            let routes = Router::new().route("/panics", get(panics)).route("/fails", post(fails));
            Router::new().nest(prefix, routes.fallback(not_found)).route(&format!("{prefix}/"), any(not_found))
        };
        let native = below("/native").fallback(async || Error::NotFound);
        let router: Router = Router::new()
            .merge(with_layers(native, Encoder::Native(native::wire::NativeEncoder), drain, &origins))
            .merge(with_layers(below("/bare"), Encoder::Bare, drain, &origins))
            .with_state(());
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let media_type = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, media_type, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn every_failure_before_the_head_has_the_body_of_the_protocol_of_its_route() {
        let (open, draining) = (Drain::default(), Drain::default());
        draining.begun.cancel();
        for (drain, method, path, status, code) in [
            (&open, "POST", "fails", 429, "rate_limited"),
            (&open, "GET", "panics", 500, "internal"),
            (&open, "PUT", "fails", 405, "method_not_allowed"),
            (&open, "GET", "nowhere/at/all", 404, "not_found"),
            (&open, "GET", "", 404, "not_found"),
            (&draining, "POST", "fails", 503, "overloaded"),
        ] {
            let (got, media_type, body) = serve(method, &format!("/bare/{path}"), drain).await;
            assert_eq!(
                (got, media_type.as_str(), body),
                (status, "text/x-bare", format!("bare: {code}")),
                "{path}"
            );
            let (got, media_type, body) = serve(method, &format!("/native/{path}"), drain).await;
            assert_eq!((got, media_type.as_str()), (status, "application/problem+json"), "{path}");
            assert!(body.contains(&format!("\"code\":\"{code}\"")), "{body}");
        }
        let (status, media_type, _) = serve("GET", "/elsewhere", &open).await;
        assert_eq!((status, media_type.as_str()), (404, "application/problem+json"));
    }
}
