//! The pages and scripts Docent serves itself: the widget, the demo page, and in the demo the documentation that citations
//! lead to.

use std::sync::Arc;

use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get};
use tower_http::compression::CompressionLayer;
use uuid::Uuid;

use crate::app::App;
use crate::error::Error;
use crate::indexing::escape;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Nothing but what this server itself sends; no inline script or style, no frames around it.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                   base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file that is part of the binary.
struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

/// A path, its media type and the file of `static/` behind it.
macro_rules! file {
    ($path:literal, $kind:expr, $file:literal) => {
        File { path: $path, kind: $kind, text: include_str!(concat!("../../static/", $file)) }
    };
}

/// The path of a module and the module, as `static/build.rs` made it.
macro_rules! module {
    ($path:literal) => {
        File { path: $path, kind: JS, text: include_str!(concat!(env!("OUT_DIR"), $path)) }
    };
}

/// The demo page.
const DEMO: &[File] = &[
    file!("/", HTML, "demo.html"),
    file!("/demo.css", CSS, "demo.css"),
    file!("/demo.js", JS, "demo.js"),
    file!("/favicon.svg", SVG, "favicon.svg"),
];

/// The widget, which any site may load, whatever `ALLOWED_ORIGINS` says of the questions it asks.
const WIDGET: &[File] = &[
    module!("/widget.js"),
    module!("/widget/chat.js"),
    module!("/widget/inline.js"),
    module!("/widget/markdown.js"),
    module!("/widget/panel.js"),
    module!("/widget/styles.js"),
    module!("/widget/turn.js"),
    module!("/widget/words.js"),
];

/// The static files, compressed for who asks for it. Nothing else is: an answer's stream would wait in the compressor.
pub(super) fn router() -> Router<Arc<App>> {
    let demo = DEMO.iter().map(|file| (file.path, serve(file, headers(file.kind))));
    let widget = WIDGET.iter().map(|file| (file.path, serve(file, public(headers(file.kind)))));
    let files = demo.chain(widget);
    files.fold(Router::new(), |router, (path, file)| router.route(path, file)).layer(CompressionLayer::new())
}

/// Answers with the file, or tells who has it already that it is the same.
fn serve(file: &'static File, mut headers: HeaderMap) -> MethodRouter<Arc<App>> {
    let tag = Uuid::new_v5(&Uuid::NAMESPACE_OID, file.text.as_bytes());
    // Weak, as the bytes differ between encodings.
    if let Ok(tag) = HeaderValue::try_from(format!("W/\"{tag}\"")) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    let mut unchanged = headers.clone();
    unchanged.remove(header::CONTENT_TYPE);
    get(move |request: HeaderMap| {
        std::future::ready(if has(&request, &format!("\"{tag}\"")) {
            (StatusCode::NOT_MODIFIED, unchanged).into_response()
        } else {
            (headers, file.text).into_response()
        })
    })
}

/// Whether `If-None-Match` names this version; tags are compared without their mark of weakness (RFC 9110, 13.1.2).
fn has(request: &HeaderMap, tag: &str) -> bool {
    let given = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut given = given.map(str::trim);
    given.any(|list| list == "*" || list.split(',').any(|one| one.trim().trim_start_matches("W/") == tag))
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
    Ok(std::future::ready((headers(HTML), whole).into_response()).await)
}

/// What goes with every file and page: it is asked for again each time, and may do no more than it needs.
fn headers(kind: &'static str) -> HeaderMap {
    HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ])
}

/// Admits every site: browsers fetch modules with CORS, and isolated pages take no script without the other header.
fn public(mut headers: HeaderMap) -> HeaderMap {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let policy = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(policy, HeaderValue::from_static("cross-origin"));
    headers
}
