//! Opening what is searched: a collection, the embedded index, or a demo's documentation, indexed first.

use std::path::Path;

use tokio_util::sync::CancellationToken;
use url::Url;

use super::{NO_QDRANT, Patience, StartError, patiently};
use crate::config::{Config, DemoConfig, IndexConfig};
use crate::docs::site::DemoSite;
use crate::docs::{Docs, Folder, Root};
use crate::indexing::{self, IndexJob, RunProgress};
use crate::provider::Embedding;
#[cfg(feature = "embedded")]
use crate::retrieval::Embedded;
use crate::retrieval::payload::PayloadReader;
use crate::retrieval::{Index, Remote};

/// What a server searches, and what a demo shows beside it.
pub(super) struct Opened {
    pub(super) index: Index,
    pub(super) site: Option<DemoSite>,
    /// Holds the demo's index.
    pub(super) folder: Option<tempfile::TempDir>,
}

pub(super) async fn open_index(
    config: &Config,
    embedding: &Embedding,
    patience: Patience,
) -> Result<Opened, StartError> {
    let site = config.site.url.clone();
    let opened = |index| Opened { index, site: None, folder: None };
    match &config.index {
        IndexConfig::Remote(remote) => {
            let reader = PayloadReader { keys: remote.keys.clone(), site_url: site };
            let timeout = config.rag_limits.retrieve_timeout;
            let open = || async {
                let open = Remote::open(remote.clone(), embedding.model(), reader.clone(), timeout);
                open.await.map_err(StartError::from)
            };
            let remote = patiently(patience, NO_QDRANT, open).await?;
            if remote.description().points == 0 {
                tracing::warn!(
                    "{} is empty: every answer will be that nothing was found",
                    remote.description().place
                );
            }
            Ok(opened(Index::Remote(remote)))
        }
        IndexConfig::Embedded { data } => embedded(data, embedding, site).await.map(opened),
        IndexConfig::Demo(demo) => open_demo(demo, &config.site.filter_keys, embedding).await,
    }
}

#[cfg(feature = "embedded")]
async fn embedded(data: &Path, embedding: &Embedding, site: Option<Url>) -> Result<Index, StartError> {
    let reader = PayloadReader { site_url: site, ..PayloadReader::default() };
    Ok(Index::Embedded(Embedded::open(data, embedding.model(), reader).await?))
}

#[cfg(not(feature = "embedded"))]
async fn embedded(_data: &Path, _embedding: &Embedding, _site: Option<Url>) -> Result<Index, StartError> {
    let missing = "this build has no embedded index: set QDRANT_URL, or build with default features";
    std::future::ready(Err(StartError::Settings(missing.to_owned()))).await
}

/// Indexes the demo's documentation in a temporary folder and opens it.
async fn open_demo(
    demo: &DemoConfig,
    filter_keys: &[String],
    embedding: &Embedding,
) -> Result<Opened, StartError> {
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
    let index = embedded(folder.path(), embedding, None).await?;
    Ok(Opened { index, site: Some(DemoSite::new(docs, &root)), folder: Some(folder) })
}
