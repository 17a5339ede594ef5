//! The pages Docent serves itself: the demo page, and in the demo the documentation that citations lead to.

use std::sync::Arc;

use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::app::App;
use crate::error::Error;
use crate::indexing::escape;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// Nothing but what this server itself sends; no inline script or style, no frames around it.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                   base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The static files.
pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(async || page(HTML, include_str!("../../static/demo.html"))))
        .route("/demo.css", get(async || page(CSS, include_str!("../../static/demo.css"))))
        .route("/demo.js", get(async || page(JS, include_str!("../../static/demo.js"))))
        .route("/sse.js", get(async || page(JS, include_str!("../../static/sse.js"))))
        .route("/favicon.svg", get(async || page("image/svg+xml", include_str!("../../static/favicon.svg"))))
}

/// A page of the documentation the demo serves; any other path is not found.
pub(super) async fn documentation(
    State(app): State<Arc<App>>,
    method: Method,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Error> {
    let site = app.site.as_ref().filter(|_| method == Method::GET).ok_or(Error::NotFound)?;
    let here = site.find(uri.path()).ok_or(Error::NotFound)?;
    let content = site.html(here).map_err(|cause| {
        tracing::warn!(%cause, "a page of the documentation cannot be shown");
        Error::NotFound
    })?;
    let links = site.pages.iter().map(|page| {
        let current = if page.address == here.address { " aria-current=\"page\"" } else { "" };
        format!("<li><a href=\"{}\"{current}>{}</a></li>", escape(&page.address), escape(&page.title))
    });
    let links: String = links.collect();
    let shell = include_str!("../../static/handbook.html");
    let whole = shell
        .replace("{title}", &escape(&here.title))
        .replace("{links}", &links)
        .replace("{content}", &content);
    Ok(std::future::ready(page(HTML, whole)).await)
}

fn page(kind: &'static str, body: impl Into<axum::body::Body>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer")),
    ];
    (headers, body.into()).into_response()
}
