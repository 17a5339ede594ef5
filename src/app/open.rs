//! Opens the index to search: a collection, the embedded index, or a demo's documentation, which is indexed
//! first.

use std::path::Path;

use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::{Config, DemoConfig, IndexConfig};
use crate::docs::site::DemoSite;
use crate::docs::{Docs, Folder, Root};
use crate::indexing::{self, IndexJob, RunProgress};
use crate::provider::Embedding;
#[cfg(feature = "embedded")]
use crate::retrieval::Embedded;
use crate::retrieval::payload::PayloadReader;
use crate::retrieval::{Index, Remote};
use crate::startup::{NO_QDRANT, Patience, StartError};

/// Holds an open index, and the pages that a demo shows beside it.
pub(super) struct OpenedIndex {
    pub(super) index: Index,
    pub(super) site: Option<DemoSite>,
    /// Folder of the demo's index, which is deleted when the value is dropped.
    pub(super) folder: Option<tempfile::TempDir>,
}

/// Opens the index that the settings name, and waits for a Qdrant server that holds the index.
///
/// # Errors
///
/// Returns an error if the index stays out of reach, cannot be searched, or cannot be made.
pub(super) async fn open_index(
    config: &Config,
    embedding: &Embedding,
    patience: Patience,
) -> Result<OpenedIndex, StartError> {
    let site = config.site.url.clone();
    let opened = |index| OpenedIndex { index, site: None, folder: None };
    match &config.index {
        IndexConfig::Remote(remote) => {
            let reader = PayloadReader { keys: remote.keys.clone(), site_url: site };
            let timeout = config.rag_limits.retrieve_timeout;
            let open = || async {
                let open = Remote::open(remote.clone(), embedding.model(), reader.clone(), timeout);
                open.await.map_err(StartError::from)
            };
            let remote = patience.repeat(NO_QDRANT, open).await?;
            if remote.description().points == 0 {
                tracing::warn!(
                    "{} is empty: every answer will be that nothing was found",
                    remote.description().place
                );
            }
            Ok(opened(Index::Remote(remote)))
        }
        IndexConfig::Embedded { data } => open_embedded(data, embedding, site).await.map(opened),
        IndexConfig::Demo(demo) => open_demo(demo, &config.site.filter_keys, embedding).await,
    }
}

/// Opens the embedded index under `data`.
#[cfg(feature = "embedded")]
async fn open_embedded(data: &Path, embedding: &Embedding, site: Option<Url>) -> Result<Index, StartError> {
    let reader = PayloadReader { site_url: site, ..PayloadReader::default() };
    Ok(Index::Embedded(Embedded::open(data, embedding.model(), reader).await?))
}

/// Refuses the embedded index, which this build does not have.
#[cfg(not(feature = "embedded"))]
#[expect(clippy::unused_async, reason = "the function of the same name in a full build is async")]
async fn open_embedded(_data: &Path, _embedding: &Embedding, _site: Option<Url>) -> Result<Index, StartError> {
    let missing = "this build has no embedded index: set QDRANT_URL, or build with default features";
    Err(StartError::Settings(missing.to_owned()))
}

/// Indexes the demo's documentation in a temporary folder and opens it.
async fn open_demo(
    demo: &DemoConfig,
    filter_keys: &[String],
    embedding: &Embedding,
) -> Result<OpenedIndex, StartError> {
    let root = Root {
        route_base: demo.route_base.clone(),
        language: demo.language.clone(),
        filter_keys: filter_keys.to_vec(),
        ..Root::default()
    };
    let docs = match &demo.docs {
        Some(path) => Docs::Folder(Folder::open(path).map_err(StartError::Settings)?),
        None => Docs::Handbook,
    };
    let other = |error: std::io::Error| StartError::Other(format!("the demo's index: {error}"));
    let folder = tempfile::Builder::new().prefix("docent-demo-").tempdir().map_err(other)?;
    let index = IndexConfig::Embedded { data: folder.path().to_owned() };
    let stop = CancellationToken::new();
    let job = IndexJob { docs: &docs, root: &root, index: &index, embedding };
    let summary = indexing::run(job, &mut RunProgress::Silent, &stop).await?;
    for skipped in &summary.skipped {
        tracing::warn!("left out {skipped}");
    }
    let seconds = (summary.elapsed.as_secs_f64() * 10.0).round() / 10.0;
    tracing::info!(pages = summary.pages, passages = summary.chunks, seconds, "the documentation is indexed");
    let index = open_embedded(folder.path(), embedding, None).await?;
    Ok(OpenedIndex { index, site: Some(DemoSite::new(docs, &root)), folder: Some(folder) })
}
