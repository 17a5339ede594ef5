//! Serves the documentation that a demo's citations lead to; every other path gets 404.

use std::sync::Arc;

use axum::extract::{OriginalUri, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};

use super::assets::{HTML, page_headers};
use crate::app::App;
use crate::docs::site::escape_html;
use crate::error::Error;

/// Frame of a page, with places for its title, the list of pages, and its text.
const SHELL: &str = include_str!("../../static/handbook.html");

/// Serves a page of the demo's documentation.
pub(super) async fn serve_page(
    State(app): State<Arc<App>>,
    method: Method,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Error> {
    let site = app.site.as_ref().filter(|_| method == Method::GET).ok_or(Error::NotFound)?;
    let here = site.find(uri.path()).ok_or(Error::NotFound)?;
    let content = site.render_content(here).map_err(|cause| {
        tracing::warn!(%cause, "a page of the documentation cannot be shown");
        Error::NotFound
    })?;
    let links = site.pages.iter().map(|page| {
        let current = if page.address == here.address { " aria-current=\"page\"" } else { "" };
        format!("<li><a href=\"{}\"{current}>{}</a></li>", escape_html(&page.address), escape_html(&page.title))
    });
    let links: String = links.collect();
    let places = [("title", &*escape_html(&here.title)), ("links", &links), ("content", &content)];
    Ok((page_headers(HTML), fill_places(SHELL, &places)).into_response())
}

/// Fills the places of a template, `{name}`, in one pass: a value that looks like a place stays as it is.
fn fill_places(template: &str, places: &[(&str, &str)]) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let (before, from_open) = rest.split_at(open);
        filled.push_str(before);
        let place = places.iter().find_map(|(name, value)| {
            let after = from_open[1..].strip_prefix(name)?.strip_prefix('}')?;
            Some((*value, after))
        });
        let (value, after) = place.unwrap_or(("{", &from_open[1..]));
        filled.push_str(value);
        rest = after;
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_that_looks_like_a_place_is_not_filled() {
        let places = [("title", "{content}"), ("content", "<p>text</p>")];
        let page = fill_places("<title>{title}</title>{content} { {x} {title", &places);
        assert_eq!(page, "<title>{content}</title><p>text</p> { {x} {title");
    }
}
