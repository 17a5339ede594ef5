//! Names the failures of a run.

use crate::docs::SkippedFile;
use crate::provider;
#[cfg(feature = "embedded")]
use crate::retrieval::BuildError;
use crate::retrieval::{self, OpenError};

/// Names the reason why a run did not finish. An embedded index is unchanged; a collection on a server keeps
/// the passages that the run has written. The next run continues from there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings do not allow writing the index.
    #[error("{0}")]
    Unusable(String),
    /// A dependency cannot be reached.
    #[error("{0}")]
    Unreachable(String),
    /// No file can be indexed; the index keeps its passages.
    #[error("no page can be indexed; the index is left as it is")]
    NoPage(Vec<SkippedFile>),
    /// The provider did not embed the passages.
    #[error("the passages could not be embedded: {0}; what was embedded is kept, run it again to go on")]
    Embedding(#[from] provider::Error),
    /// The server did not take the passages.
    #[error("the index could not be written: {0}; run it again to go on")]
    Index(#[from] retrieval::Error),
    /// The embedded index could not be built.
    #[cfg(feature = "embedded")]
    #[error("{0}")]
    Build(#[from] BuildError),
    /// The operator stopped the run.
    #[error("stopped; what Gemini embedded is kept, run it again to go on")]
    Stopped,
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Unusable(sentence) => Self::Unusable(sentence),
            OpenError::Unreachable(sentence) => Self::Unreachable(sentence),
        }
    }
}
