//! Serves the files that are part of the binary: the widget and the demo page.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::{MethodRouter, get};
use tower_http::compression::CompressionLayer;
use uuid::Uuid;

use crate::app::App;

/// Media type of a page.
pub(super) const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Content security policy of every page: files of this server only, no inline script or style, no frame around
/// a page.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                   base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Holds a file that is part of the binary.
struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

/// Includes a file of `static/`, with its path and its media type.
macro_rules! file {
    ($path:literal, $kind:expr, $file:literal) => {
        File { path: $path, kind: $kind, text: include_str!(concat!("../../static/", $file)) }
    };
}

/// Includes a module that `static/build.rs` made, with its path.
macro_rules! module {
    ($path:literal) => {
        File { path: $path, kind: JS, text: include_str!(concat!(env!("OUT_DIR"), $path)) }
    };
}

/// Files of the demo page.
const DEMO: &[File] = &[
    file!("/", HTML, "demo.html"),
    file!("/demo.css", CSS, "demo.css"),
    file!("/demo.js", JS, "demo.js"),
    file!("/favicon.svg", SVG, "favicon.svg"),
];

/// Files of the widget. Any site may load them; `ALLOWED_ORIGINS` is about the widget's questions.
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

/// Returns the routes of the files, compressed for clients that accept it. No other route is compressed: the
/// stream of an answer would wait in the compressor.
pub(super) fn router() -> Router<Arc<App>> {
    let demo = DEMO.iter().map(|file| (file.path, serve_file(file, page_headers(file.kind))));
    let widget =
        WIDGET.iter().map(|file| (file.path, serve_file(file, admit_any_site(page_headers(file.kind)))));
    let files = demo.chain(widget);
    files.fold(Router::new(), |router, (path, file)| router.route(path, file)).layer(CompressionLayer::new())
}

/// Serves the file, or 304 if `If-None-Match` has its ETag.
fn serve_file(file: &'static File, mut headers: HeaderMap) -> MethodRouter<Arc<App>> {
    let tag = Uuid::new_v5(&Uuid::NAMESPACE_OID, file.text.as_bytes());
    // Weak, as the bytes differ between encodings.
    if let Ok(tag) = HeaderValue::try_from(format!("W/\"{tag}\"")) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    let mut unchanged = headers.clone();
    unchanged.remove(header::CONTENT_TYPE);
    get(async move |request: HeaderMap| {
        if has_tag(&request, &format!("\"{tag}\"")) {
            (StatusCode::NOT_MODIFIED, unchanged).into_response()
        } else {
            (headers, file.text).into_response()
        }
    })
}

/// Reports whether `If-None-Match` names this version; tags are compared without their mark of weakness (RFC
/// 9110, 13.1.2).
fn has_tag(request: &HeaderMap, tag: &str) -> bool {
    let given = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut given = given.map(str::trim);
    given.any(|list| list == "*" || list.split(',').any(|item| item.trim().trim_start_matches("W/") == tag))
}

/// Returns the headers of every file and page: browsers revalidate each time, and a page may do no more than it
/// needs.
pub(super) fn page_headers(kind: &'static str) -> HeaderMap {
    HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ])
}

/// Adds the headers with which a page of any site may load a file: browsers fetch modules with CORS, and a
/// cross-origin isolated page loads a script only with `Cross-Origin-Resource-Policy`.
fn admit_any_site(mut headers: HeaderMap) -> HeaderMap {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let policy = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(policy, HeaderValue::from_static("cross-origin"));
    headers
}
