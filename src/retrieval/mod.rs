//! Finds the passages that a question is about, on a Qdrant server or in the index that lives in this process.
//!
//! Both kinds of index give the same answers. Each returns a dense leg and, where it has sparse vectors, BM25
//! legs; `results` fuses them by one rule and reads the payloads of any common indexer (`payload`).
//!
//! Files import downwards only: this one → `remote`, `embedded` → `results`, `points`, `bm25` → `fusion`,
//! `payload`, `query`, `description`, `error`.

pub mod bm25;
mod description;
#[cfg(feature = "embedded")]
pub mod embedded;
mod error;
pub(crate) mod fusion;
pub mod payload;
mod points;
mod query;
mod remote;
pub(crate) mod results;

use crate::chat::Passage;

pub use description::{Description, INDEX_VERSION, Manifest};
#[cfg(feature = "embedded")]
pub use embedded::{BuildError, Embedded, EmbeddedWriter};
pub use error::{Error, OpenError};
pub use points::{Point, Sample, StoredPoint, StoredPoints};
pub use query::Search;
pub use remote::{Remote, RemoteWriter};

/// Selects the kind of index that is searched.
#[derive(Debug)]
#[cfg_attr(feature = "embedded", expect(clippy::large_enum_variant, reason = "there is one in a process"))]
pub enum Index {
    /// A Qdrant server, over gRPC.
    Remote(Remote),
    /// `qdrant-edge`, in this process.
    #[cfg(feature = "embedded")]
    Embedded(Embedded),
}

impl Index {
    /// Returns the best passages, best first; finding none is no error.
    ///
    /// # Errors
    ///
    /// The cause that kept the index from answering.
    pub async fn search(&self, search: Search) -> Result<Vec<Passage>, Error> {
        match self {
            Self::Remote(remote) => remote.search(&search).await,
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => embedded.search(search).await,
        }
    }

    /// Returns a description of the index as it was when it was opened, or when it was last refreshed.
    pub fn description(&self) -> Description {
        match self {
            Self::Remote(remote) => remote.description().clone(),
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => embedded.description(),
        }
    }

    /// Returns the size of the vector that is searched; 0 where it is sparse.
    pub fn dimensions(&self) -> usize {
        match self {
            Self::Remote(remote) => remote.description().dimensions,
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => embedded.dimensions(),
        }
    }

    /// Checks that the index would answer now, and changes nothing. Returns the index's record of itself, for
    /// [`Index::refresh`]; `None` where Docent did not write the index.
    ///
    /// # Errors
    ///
    /// The cause that would keep the index from answering.
    pub async fn ping(&self) -> Result<Option<Manifest>, Error> {
        match self {
            Self::Remote(remote) => remote.ping().await,
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => Ok(embedded.description().manifest),
        }
    }

    /// Applies the changes since the index was opened: for a collection, the languages in `manifest`, which
    /// [`Index::ping`] returned; for an embedded index, a newer generation, if there is a compatible one.
    #[cfg_attr(
        not(feature = "embedded"),
        expect(clippy::unused_async, reason = "only the embedded index has something to wait for")
    )]
    pub async fn refresh(&self, manifest: Option<&Manifest>) {
        match self {
            Self::Remote(remote) => remote.refresh(manifest),
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => embedded.refresh().await,
        }
    }

    /// Returns a few stored points with their vectors.
    ///
    /// # Errors
    ///
    /// The cause that kept the index from answering.
    pub async fn samples(&self, count: u32) -> Result<Vec<Sample>, Error> {
        match self {
            Self::Remote(remote) => remote.samples(count).await,
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => embedded.samples(count).await,
        }
    }
}
