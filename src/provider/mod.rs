//! Offers the two services that an answer needs, the embedding of a question and a stream of text, each from
//! Gemini or offline.
//!
//! Alternatives are enums. Everything that depends on the provider is a method here, so that no other room
//! names a variant. An error says if another call can help and knows no HTTP; the text of an error is for the
//! log.

pub(crate) mod gemini;
pub mod offline;
mod types;
pub(crate) mod upstream;

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::chat::Vector;
use crate::config::{OFFLINE_MODEL, ProviderConfig, ProviderLimits};
use crate::text::clip_tokens;

pub use gemini::Gemini;
pub use offline::Offline;
pub use types::{
    BatchLimits, Delta, DeltaStream, Document, Error, Finish, NOT_IN_DOCS, NOT_IN_DOCS_SENTENCE, Prompt, Reach,
    Service, Task,
};

/// Longest text that is embedded, in estimated tokens: the smallest bound of all embeddings, so that all of
/// them cut passages alike. A longer text is cut here and not by the service, so that the embedded part is
/// known.
pub const MAX_EMBEDDED_TOKENS: usize = gemini::MAX_INPUT_TOKENS;

/// Bounds of a batch that is embedded in this process. Only the progress display needs them: it advances after
/// each batch.
const OFFLINE_BATCH: BatchLimits = BatchLimits { max_items: 100, max_tokens: 24_000 };

/// Holds the service that embeds and the services that write. They differ where texts are embedded offline and
/// Gemini writes, as in a demo with a key.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Embeds questions and passages.
    pub embedding: Embedding,
    /// Writes answers.
    pub generation: Generation,
    /// Writes an answer if `generation` fails before its first text.
    pub fallback: Option<Generation>,
}

/// Embeds texts.
#[derive(Debug, Clone)]
pub enum Embedding {
    /// The Gemini API.
    Gemini(Gemini),
    /// Words, concepts and word pieces, in this process.
    Offline,
}

/// Writes answers.
#[derive(Debug, Clone)]
pub enum Generation {
    /// The Gemini API.
    Gemini(Gemini),
    /// Quotes of the best sentences of the passages, in this process.
    Offline(Offline),
}

impl Provider {
    /// Builds the provider that the settings select; nothing is sent yet. `token_delay` is the pause between
    /// words of an offline answer.
    ///
    /// # Errors
    ///
    /// Returns an error if the TLS roots of this machine cannot be read.
    pub fn new(
        config: &ProviderConfig,
        token_delay: Duration,
        limits: &ProviderLimits,
    ) -> Result<Self, reqwest::Error> {
        let gemini = match config {
            ProviderConfig::Gemini(gemini) => Gemini::new(gemini.clone(), limits)?,
            ProviderConfig::Offline => {
                let generation = Generation::Offline(Offline { token_delay });
                return Ok(Self { embedding: Embedding::Offline, generation, fallback: None });
            }
        };
        let embedding = match gemini.embedding_model() {
            Some(_) => Embedding::Gemini(gemini.clone()),
            None => Embedding::Offline,
        };
        let fallback = gemini.fallback().map(Generation::Gemini);
        Ok(Self { embedding, generation: Generation::Gemini(gemini), fallback })
    }

    /// Looks up the models that embed and write, which spends no tokens.
    pub async fn probe(&self) -> Reach {
        match self.embedding.probe().await {
            Reach::Ok => self.generation.probe().await,
            other => other,
        }
    }

    /// Looks up every model, the fallback included. A start does so, because a wrong setting can be changed
    /// then.
    pub async fn probe_all(&self) -> Reach {
        match (self.probe().await, &self.fallback) {
            (Reach::Ok, Some(fallback)) => fallback.probe().await,
            (reach, _) => reach,
        }
    }
}

impl Embedding {
    /// Embeds the beginning of a text, at most [`MAX_EMBEDDED_TOKENS`] long: as a dense vector of `dimensions`
    /// values and length 1, or offline as a sparse vector.
    ///
    /// # Errors
    ///
    /// Returns the error of the provider, or [`Error::Failed`] for a vector that has the wrong size, the length
    /// 0 or a value that is not finite.
    pub async fn embed(&self, text: &str, task: Task<'_>, dimensions: usize) -> Result<Vector, Error> {
        let text = clip_tokens(text, MAX_EMBEDDED_TOKENS);
        match self {
            Self::Gemini(gemini) => to_unit_length(gemini.embed(text, task, dimensions).await?, dimensions),
            Self::Offline => Ok(Vector::Sparse(offline::embed(text, task))),
        }
    }

    /// Embeds passages, at most as many as [`Embedding::batch_limits`] allows. The call may take minutes,
    /// because no reader waits for passages.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Embedding::embed`], or [`Error::Failed`] if there is not one vector for each
    /// passage.
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
        vectors.into_iter().map(|vector| to_unit_length(vector, dimensions)).collect()
    }

    /// Returns the bounds of one call of [`Embedding::embed_batch`].
    pub fn batch_limits(&self) -> BatchLimits {
        match self {
            Self::Gemini(_) => gemini::BATCH_LIMITS,
            Self::Offline => OFFLINE_BATCH,
        }
    }

    /// Returns the size of the vectors of a new index; 0 for sparse vectors, which have none.
    pub fn new_index_dimensions(&self) -> usize {
        match self {
            Self::Gemini(_) => gemini::NEW_INDEX_DIMENSIONS,
            Self::Offline => 0,
        }
    }

    /// Returns the sizes of vectors that the model can make; `None` if the sizes are not known.
    pub fn dimension_range(&self) -> Option<RangeInclusive<usize>> {
        match self {
            Self::Gemini(gemini) => gemini.dimension_range(),
            Self::Offline => None,
        }
    }

    /// Returns the name of the model, as an index records it.
    pub fn model(&self) -> &str {
        match self {
            Self::Gemini(gemini) => gemini.embedding_model().unwrap_or_default(),
            Self::Offline => OFFLINE_MODEL,
        }
    }

    /// Returns the service that embeds; `None` offline.
    pub fn service(&self) -> Option<Service<'_>> {
        match self {
            Self::Gemini(gemini) => Some(gemini.service()),
            Self::Offline => None,
        }
    }

    /// Returns true if embedding costs money or quota.
    pub fn is_metered(&self) -> bool {
        self.service().is_some()
    }

    /// Looks up the model that embeds, which spends no tokens.
    pub async fn probe(&self) -> Reach {
        match self {
            Self::Gemini(gemini) => gemini.probe_embedding().await,
            Self::Offline => Reach::Ok,
        }
    }
}

impl Generation {
    /// Opens an answer. The future resolves at the first visible text, or at the end of an answer without text:
    /// until then a provider may repeat the call. The caller bounds the wait.
    ///
    /// # Errors
    ///
    /// Returns the error because of which the answer could not begin.
    pub async fn generate(&self, prompt: &Prompt) -> Result<DeltaStream, Error> {
        match self {
            Self::Gemini(gemini) => gemini.generate(prompt).await,
            Self::Offline(offline) => Ok(offline.generate(prompt)),
        }
    }

    /// Returns the configured model; `None` offline, where no model is asked.
    pub fn model(&self) -> Option<&str> {
        match self {
            Self::Gemini(gemini) => Some(gemini.generative_model()),
            Self::Offline(_) => None,
        }
    }

    /// Returns the service that writes; `None` offline.
    pub fn service(&self) -> Option<Service<'_>> {
        match self {
            Self::Gemini(gemini) => Some(gemini.service()),
            Self::Offline(_) => None,
        }
    }

    /// Returns true if an answer costs money or quota.
    pub fn is_metered(&self) -> bool {
        self.service().is_some()
    }

    /// Looks up the model that writes, which spends no tokens.
    pub async fn probe(&self) -> Reach {
        match self {
            Self::Gemini(gemini) => gemini.probe_generation().await,
            Self::Offline(_) => Reach::Ok,
        }
    }
}

/// Scales a vector to length 1: only full-size `gemini-embedding-001` vectors come with this length.
fn to_unit_length(mut vector: Vec<f32>, dimensions: usize) -> Result<Vector, Error> {
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
        // Back to f32, in which vectors are stored.
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
        assert_eq!(to_unit_length(vec![3.0, 4.0], 2).unwrap(), Vector::Dense(vec![0.6, 0.8]));
    }

    #[test]
    fn a_vector_of_the_wrong_size_or_without_direction_is_refused() {
        for vector in [vec![1.0], vec![0.0, 0.0], vec![f32::NAN, 1.0], vec![f32::INFINITY, 1.0]] {
            assert!(matches!(to_unit_length(vector.clone(), 2), Err(Error::Failed(_))), "{vector:?}");
        }
    }
}
