//! Holds the domain: a question, the passages retrieved for it, and the events of an answer.
//!
//! The domain knows no wire: no HTTP, no Gemini, no Qdrant, and no serialisation. The only room it imports is
//! the leaf `text`. A text of a reader or of a passage is never part of a `Debug` output, so that no log line
//! can show one by accident.

mod answer;
mod question;

use std::fmt;

use uuid::Uuid;

pub use answer::{
    AnswerEvent, FinishReason, Passage, Source, Status, Summary, Timings, Usage, Vector, WholeAnswer,
};
pub use question::{
    DEFAULT_TOP_K, Field, Filter, FilterValue, MAX_FILTER_CHARS, MAX_FILTER_VALUES, MAX_HISTORY_MESSAGES,
    MAX_MESSAGE_CHARS, MAX_PAGE_TITLE_CHARS, MAX_PAGE_URL_CHARS, MAX_QUERY_CHARS, MAX_SELECTION_CHARS,
    MAX_TOP_K, Message, OutOfBounds, Page, Question, QuestionParts, Role, filter_value_bounds, history_bounds,
    top_k_bounds,
};

/// Identifies one request of this process: 128 random bits, so that nobody can guess or choose one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(u128);

impl RequestId {
    /// Draws a new id from the process's cryptographic random number generator.
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for RequestId {
    /// Writes 32 lower-case hexadecimal digits in the groups of a UUID. No version is marked, because every bit
    /// is random.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_u128(self.0).fmt(f)
    }
}

/// Names the stages of a request, as the log, the metrics and the errors spell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StageName {
    /// The embedding of the question.
    Embed,
    /// The search in the index.
    Retrieve,
    /// The wait for the first visible text of `GENERATIVE_MODEL`, and the writing.
    Generate,
    /// The wait for the first visible text of `GENERATIVE_MODEL_FALLBACK`.
    Fallback,
}

impl StageName {
    /// Returns the label of the stage: `embed`, `retrieve`, `generate` or `fallback`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Retrieve => "retrieve",
            Self::Generate => "generate",
            Self::Fallback => "fallback",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_groups_of_32_hexadecimal_digits_and_differ() {
        let (one, other) = (RequestId::random().to_string(), RequestId::random().to_string());
        assert_ne!(one, other);
        assert!(one.split('-').map(str::len).eq([8, 4, 4, 4, 12]), "{one}");
        assert!(one.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'), "{one}");
    }
}
