//! Names the ways in which an index fails: while it is searched or written, and while it is opened.

use std::time::Duration;

/// Explains why a call to the index failed. The text is the cause, for the log; a client never sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A refusal that lasts until a setting changes (key, collection, vector name).
    #[error("refused: {0}")]
    Refused(String),
    /// A broken connection, or an unusable answer.
    #[error("failed: {0}")]
    Failed(String),
    /// A request of the server to wait.
    #[error("busy: {cause}")]
    Busy {
        /// The time to wait, where the server named one.
        retry_after: Option<Duration>,
        /// The server's words, for the log.
        cause: String,
    },
    /// A missed deadline.
    #[error("timed out")]
    Timeout,
}

impl Error {
    /// Returns the kind of failure, as a label of the metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Busy { .. } => "busy",
            Self::Timeout => "timeout",
        }
    }
}

/// Explains why an index cannot be opened at start, in a sentence that advises the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A setting, or the collection itself, has to change.
    #[error("{0}")]
    Unusable(String),
    /// The index does not answer now, and may in a moment.
    #[error("{0}")]
    Unreachable(String),
}
