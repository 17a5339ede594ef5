//! From Markdown pages to points of an index, and the bundled handbook.

pub mod markdown;
pub mod routes;

use std::collections::BTreeMap;

/// The bundled handbook: file names and sources, in the order of its sidebar.
const HANDBOOK: &[(&str, &str)] = &[
    ("intro.md", include_str!("../../examples/docusaurus/docs/intro.md")),
    ("try-it.md", include_str!("../../examples/docusaurus/docs/try-it.md")),
    ("docusaurus.md", include_str!("../../examples/docusaurus/docs/docusaurus.md")),
    ("deploy.md", include_str!("../../examples/docusaurus/docs/deploy.md")),
    ("configure.md", include_str!("../../examples/docusaurus/docs/configure.md")),
    ("http-api.md", include_str!("../../examples/docusaurus/docs/http-api.md")),
    ("stream.md", include_str!("../../examples/docusaurus/docs/stream.md")),
    ("errors.md", include_str!("../../examples/docusaurus/docs/errors.md")),
    ("how-it-works.md", include_str!("../../examples/docusaurus/docs/how-it-works.md")),
];

/// Where the handbook is served.
pub const ROUTE_BASE: &str = "/docs";

/// A page of the handbook as the demo serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandbookPage {
    /// Its path on the server.
    pub address: String,
    /// Its title, as text.
    pub title: String,
    /// Its content, as HTML.
    pub html: String,
}

/// A file of the handbook, read.
struct Source {
    file: &'static str,
    source: &'static str,
    page: markdown::Page,
    address: String,
}

/// The handbook's files, in the order of its sidebar.
fn handbook() -> Vec<Source> {
    let read = |(file, source): &(&'static str, &'static str)| {
        let page = markdown::read(source, routes::stem(file));
        let address = routes::route(ROUTE_BASE, file, page.slug.as_deref());
        Source { file, source, page, address }
    };
    HANDBOOK.iter().map(read).collect()
}

/// The handbook's pages, in the order of its sidebar.
pub fn handbook_pages() -> Vec<HandbookPage> {
    let sources = handbook();
    let by_file: BTreeMap<&str, &str> =
        sources.iter().map(|source| (source.file, source.address.as_str())).collect();
    let link =
        |target: &str| routes::link(target, |file| by_file.get(file).map(|address| (*address).to_owned()));
    let page = |source: &Source| HandbookPage {
        address: source.address.clone(),
        title: source.page.title.clone(),
        html: markdown::render(source.source, link),
    };
    sources.iter().map(page).collect()
}

#[cfg(feature = "embedded")]
pub use embedded::build_handbook;

#[cfg(feature = "embedded")]
mod embedded {
    use std::path::Path;

    use uuid::Uuid;

    use super::{Source, handbook};
    use crate::provider::{Embedding, Task, offline};
    use crate::retrieval::embedded::{Build, BuildError, Point};
    use crate::retrieval::payload::Payload;

    /// Indexes the handbook into a new generation under `data`, offline. Returns how many points it holds.
    ///
    /// # Errors
    ///
    /// What the engine or the file system said.
    pub async fn build_handbook(data: &Path) -> Result<usize, BuildError> {
        let mut points = Vec::new();
        for source in handbook() {
            points.extend(page_points(source).await?);
        }
        let data = data.to_owned();
        let build = tokio::task::spawn_blocking(move || {
            let mut build = Build::begin(&data, offline::MODEL, offline::DIMENSIONS, points.len())?;
            build.add(points)?;
            build.publish()
        });
        build.await.map_err(|_| BuildError::Engine("it panicked".to_owned()))?
    }

    async fn page_points(source: Source) -> Result<Vec<Point>, BuildError> {
        let Source { page, address, .. } = source;
        let mut points = Vec::new();
        for (index, chunk) in page.chunks.into_iter().enumerate() {
            let url = match &chunk.anchor {
                Some(anchor) => format!("{address}#{anchor}"),
                None => address.clone(),
            };
            let section = chunk.section.join(" › ");
            let text = format!("{}\n{section}\n\n{}", page.title, chunk.text);
            let embedded = Embedding::Offline
                .embed(&text, Task::Document { title: &page.title }, offline::DIMENSIONS)
                .await;
            let vector = embedded.map_err(|error| BuildError::Engine(error.to_string()))?;
            let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{url} {index}").as_bytes());
            let mut payload = Payload::new();
            payload.insert("title".to_owned(), page.title.as_str().into());
            if !section.is_empty() {
                payload.insert("section".to_owned(), section.into());
            }
            payload.insert("url".to_owned(), url.into());
            payload.insert("text".to_owned(), chunk.text.into());
            points.push(Point { id, vector, text, payload });
        }
        Ok(points)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_of_the_handbook_is_bundled() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/docusaurus/docs");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let mut bundled: Vec<&str> = HANDBOOK.iter().map(|(file, _)| *file).collect();
        bundled.sort_unstable();
        assert_eq!(files, bundled);
    }

    #[test]
    fn every_link_within_the_handbook_leads_to_a_page_and_a_heading() {
        let pages = handbook_pages();
        for HandbookPage { address: route, html, .. } in &pages {
            for target in html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                if target.starts_with("http") {
                    continue;
                }
                let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
                let path = if path.is_empty() { route } else { path };
                let Some(there) = pages.iter().find(|page| page.address == path) else {
                    panic!("{route} links to {target}: no such page")
                };
                assert!(
                    anchor.is_empty() || there.html.contains(&format!("id=\"{anchor}\"")),
                    "{route} links to {target}: no such heading"
                );
            }
        }
    }
}
