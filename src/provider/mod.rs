//! The two services an answer needs, each in two kinds: an embedding of the question, and a stream of text.
//!
//! Alternatives are enums. An error says what the caller can do about it and knows no HTTP; its text is for the log.

pub mod gemini;
pub mod offline;

use std::time::Duration;

use futures::stream::BoxStream;

use crate::chat::{FinishReason, Message, Passage, Usage, Vector};
use crate::config::OFFLINE_MODEL;
use crate::text::{clip_tokens, estimate_tokens};

pub use gemini::Gemini;
pub use offline::Offline;

/// What a model is told to begin its answer with when the passages do not answer the question.
pub const NOT_IN_DOCS: &str = "[NOT_IN_DOCS]";

/// The sentence a reader gets when the documentation does not answer.
pub const NOT_IN_DOCS_SENTENCE: &str = "The documentation does not seem to answer this question.";

/// Tokens an embedding model reads of one text (`gemini-embedding-001`); what exceeds them is cut by ourselves, so that
/// it is known what was embedded.
pub const MAX_EMBEDDED_TOKENS: usize = 2_048;

/// Texts of one call that embeds passages; Gemini refuses more.
pub const MAX_BATCH_ITEMS: usize = 100;
/// Estimated tokens of one such call: a free key has 30,000 a minute, and a call beyond that would never pass.
pub const MAX_BATCH_TOKENS: usize = 24_000;

/// Who embeds and who writes. They differ in a demo with a key: offline retrieval, Gemini's answer.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Embeds questions and passages.
    pub embedding: Embedding,
    /// Writes answers.
    pub generation: Generation,
    /// Is asked where that one has not begun to answer.
    pub fallback: Option<Generation>,
}

/// Who embeds.
#[derive(Debug, Clone)]
pub enum Embedding {
    /// Gemini.
    Gemini(Gemini),
    /// Words, concepts and word pieces, in process.
    Offline,
}

/// Who writes.
#[derive(Debug, Clone)]
pub enum Generation {
    /// Gemini.
    Gemini(Gemini),
    /// Quotes the best sentences of the passages.
    Offline(Offline),
}

/// What a text is embedded as; a model places questions and passages differently.
#[derive(Debug, Clone, Copy)]
pub enum Task<'a> {
    /// A question that looks for passages.
    Query,
    /// A passage.
    Document {
        /// Title of its page; may be empty.
        title: &'a str,
        /// The heading right above it; may be empty.
        heading: &'a str,
    },
}

/// A passage to embed.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// Title of its page.
    pub title: &'a str,
    /// The heading right above it, or the title.
    pub heading: &'a str,
    /// Its text, title and headings included.
    pub text: &'a str,
}

/// Everything a model is told, and what the offline provider needs to answer without one.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// The stable part.
    pub system: String,
    /// The conversation; the last message is the reader's, with the passages in it.
    pub messages: Vec<Message>,
    /// The question with what it depends on: what the passages were retrieved for.
    pub question: String,
    /// The passages alone, in the order of their numbers.
    pub passages: Vec<Passage>,
}

impl Prompt {
    /// How many tokens it surely fits in.
    pub fn estimated_tokens(&self) -> u64 {
        let texts = self.messages.iter().map(|message| &message.content).chain([&self.system]);
        texts.map(|text| estimate_tokens(text) as u64).sum()
    }
}

/// What comes out of a model.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// The next piece of visible text; never empty.
    Text(String),
    /// The end; nothing follows.
    End(End),
}

/// How a generation ended.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// Why.
    pub finish_reason: FinishReason,
    /// Which model it was; `None` where none was asked.
    pub model: Option<String>,
    /// What it cost.
    pub usage: Option<Usage>,
}

/// A generation under way. Dropping it closes the connection to the model.
pub type DeltaStream = BoxStream<'static, Result<Delta, Error>>;

/// Why a provider did not deliver. The text is the cause, for the log: never for a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It will refuse again until a setting changes (400, 401, 403, 404, a redirect).
    #[error("refused: {0}")]
    Refused(String),
    /// It broke off, or sent something unusable; the same request may succeed later.
    #[error("failed: {0}")]
    Failed(String),
    /// It asked to wait (429, 503).
    #[error("busy: {cause}")]
    Busy {
        /// For how long, where it said so.
        retry_after: Option<Duration>,
        /// For the log.
        cause: String,
    },
    /// A quota that waiting does not refill within the day is spent.
    #[error("quota spent: {0}")]
    QuotaSpent(String),
    /// It took too long.
    #[error("timed out: {0}")]
    Timeout(String),
    /// Its stream ended before its answer did.
    #[error("the stream ended without a finish reason")]
    Truncated,
}

impl Error {
    /// The kind, as it is counted.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Busy { .. } => "busy",
            Self::QuotaSpent(_) => "quota",
            Self::Timeout(_) => "timeout",
            Self::Truncated => "truncated",
        }
    }
}

impl Embedding {
    /// Embeds one text, as far as a model reads it: as `dimensions` values of length 1, or offline as a sparse vector.
    ///
    /// # Errors
    ///
    /// What the provider said, or that its vector has the wrong size, a value that is not finite, or no length.
    pub async fn embed(&self, text: &str, task: Task<'_>, dimensions: usize) -> Result<Vector, Error> {
        let text = clip_tokens(text, MAX_EMBEDDED_TOKENS);
        match self {
            Self::Gemini(gemini) => unit_length(gemini.embed(text, task, dimensions).await?, dimensions),
            Self::Offline => Ok(Vector::Sparse(offline::embed(text, task))),
        }
    }

    /// Embeds passages, at most [`MAX_BATCH_ITEMS`]. Nobody waits for these: it may take minutes.
    ///
    /// # Errors
    ///
    /// As [`Embedding::embed`], or that there is not one vector for each.
    pub async fn embed_batch(
        &self,
        documents: &[Document<'_>],
        dimensions: usize,
    ) -> Result<Vec<Vector>, Error> {
        let clip = |document: &Document<'_>| clip_tokens(document.text, MAX_EMBEDDED_TOKENS).len();
        let clipped =
            documents.iter().map(|document| Document { text: &document.text[..clip(document)], ..*document });
        let clipped: Vec<Document<'_>> = clipped.collect();
        let vectors = match self {
            Self::Gemini(gemini) => gemini.embed_batch(&clipped, dimensions).await?,
            Self::Offline => {
                let embed = |Document { title, heading, text }| {
                    Vector::Sparse(offline::embed(text, Task::Document { title, heading }))
                };
                return Ok(clipped.into_iter().map(embed).collect());
            }
        };
        if vectors.len() != documents.len() {
            return Err(Error::Failed(format!(
                "{} embeddings for {} passages",
                vectors.len(),
                documents.len()
            )));
        }
        vectors.into_iter().map(|vector| unit_length(vector, dimensions)).collect()
    }

    /// Returns true if each embedding costs money or quota.
    pub fn is_metered(&self) -> bool {
        match self {
            Self::Gemini(_) => true,
            Self::Offline => false,
        }
    }

    /// Size of the vectors of a new index: for `gemini-embedding-001` the smallest of the three sizes Google recommends;
    /// 0 for sparse ones, which have none.
    pub fn dimensions(&self) -> usize {
        match self {
            Self::Gemini(_) => 768,
            Self::Offline => 0,
        }
    }

    /// The model's name, as an index records it.
    pub fn model(&self) -> &str {
        match self {
            Self::Gemini(gemini) => gemini.embedding_model().unwrap_or_default(),
            Self::Offline => OFFLINE_MODEL,
        }
    }
}

impl Generation {
    /// Returns true if each answer costs money or quota.
    pub fn is_metered(&self) -> bool {
        match self {
            Self::Gemini(_) => true,
            Self::Offline(_) => false,
        }
    }

    /// The configured model; `None` offline, where none is asked.
    pub fn model(&self) -> Option<&str> {
        match self {
            Self::Gemini(gemini) => Some(gemini.generative_model()),
            Self::Offline(_) => None,
        }
    }

    /// Opens an answer. It resolves once the first visible text, or the end without any, has come: until then a
    /// provider may try again. The caller bounds the wait.
    ///
    /// # Errors
    ///
    /// What kept the provider from beginning.
    pub async fn generate(&self, prompt: &Prompt) -> Result<DeltaStream, Error> {
        match self {
            Self::Gemini(gemini) => gemini.generate(prompt).await,
            Self::Offline(offline) => Ok(offline.generate(prompt)),
        }
    }
}

/// Scales a vector to length 1, which only full-size `gemini-embedding-001` vectors have by themselves.
fn unit_length(mut vector: Vec<f32>, dimensions: usize) -> Result<Vector, Error> {
    if vector.len() != dimensions {
        return Err(Error::Failed(format!("an embedding of {} values, {dimensions} wanted", vector.len())));
    }
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if !length.is_finite() {
        return Err(Error::Failed("an embedding with values that are not finite".to_owned()));
    }
    if length < f64::from(f32::EPSILON) {
        return Err(Error::Failed("an embedding of zeros".to_owned()));
    }
    for value in &mut vector {
        // Back to f32, which is what vectors are stored as.
        #[expect(clippy::cast_possible_truncation, reason = "a value of a unit vector is at most 1")]
        let scaled = (f64::from(*value) / length) as f32;
        *value = scaled;
    }
    Ok(Vector::Dense(vector))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_scaled_to_length_one() {
        assert_eq!(unit_length(vec![3.0, 4.0], 2).unwrap(), Vector::Dense(vec![0.6, 0.8]));
    }

    #[test]
    fn a_vector_of_the_wrong_size_or_without_direction_is_refused() {
        for vector in [vec![1.0], vec![0.0, 0.0], vec![f32::NAN, 1.0], vec![f32::INFINITY, 1.0]] {
            assert!(matches!(unit_length(vector.clone(), 2), Err(Error::Failed(_))), "{vector:?}");
        }
    }
}
