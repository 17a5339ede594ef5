//! Opens an answer with the first model, or with the second model if the first does not begin to answer.
//!
//! The second model is one of three ways of trying again; see [the pipeline](super#trying-again).

use std::time::{Duration, Instant};

use super::stage_runner::StageRunner;
use crate::chat::StageName;
use crate::error::Error;
use crate::provider::{self, DeltaStream, Generation, Prompt, Provider};
use crate::telemetry::metrics;

/// Holds the models that may write an answer.
#[derive(Debug)]
pub(super) struct Writers {
    /// Model of `GENERATIVE_MODEL`, asked first.
    first: GuardedModel,
    /// Model of `GENERATIVE_MODEL_FALLBACK`, asked if the first does not begin to answer.
    fallback: Option<GuardedModel>,
}

/// Holds a model and the circuit breaker in front of it.
#[derive(Debug)]
struct GuardedModel {
    generation: Generation,
    stage: StageRunner,
}

/// Holds an answer that has begun.
pub(super) struct OpenAnswer {
    /// Text of the answer, as it arrives.
    pub(super) deltas: DeltaStream,
    /// Name of the model that writes; `None` offline.
    pub(super) model: Option<String>,
}

impl Writers {
    /// Guards the models of a provider.
    pub(super) fn new(provider: &Provider) -> Self {
        let guarded = |generation: &Generation, stage| GuardedModel {
            generation: generation.clone(),
            stage: StageRunner::new(stage),
        };
        Self {
            first: guarded(&provider.generation, StageName::Generate),
            fallback: provider.fallback.as_ref().map(|model| guarded(model, StageName::Fallback)),
        }
    }

    /// Opens an answer before the whole answer's `deadline`; both models together have `limit` for the first
    /// text. If there is a second model, the first has half of `limit`.
    ///
    /// # Errors
    ///
    /// Returns the error of the model that was asked last, or of the first model if the second refuses.
    pub(super) async fn open(
        &self,
        deadline: Instant,
        limit: Duration,
        prompt: &Prompt,
    ) -> Result<OpenAnswer, Error> {
        let Some(fallback) = &self.fallback else {
            return self.first.open(deadline, limit, prompt).await;
        };
        let began = Instant::now();
        let failure = match self.first.open(deadline, limit / 2, prompt).await {
            Err(error) if !matches!(error, Error::AnswerTimeout) => error,
            opened => return opened,
        };
        tracing::warn!(cause = %failure, "the model has not begun to answer: asking GENERATIVE_MODEL_FALLBACK");
        metrics::count_fallback();
        match fallback.open(deadline, limit.saturating_sub(began.elapsed()), prompt).await {
            // The second model will refuse until a setting changes; the first may answer the next question.
            Err(Error::Generation(provider::Error::Refused(cause))) => {
                tracing::warn!(cause, "GENERATIVE_MODEL_FALLBACK refuses");
                Err(failure)
            }
            opened => opened,
        }
    }
}

impl GuardedModel {
    /// Opens an answer of this model within `limit` and the whole answer's `deadline`.
    async fn open(&self, deadline: Instant, limit: Duration, prompt: &Prompt) -> Result<OpenAnswer, Error> {
        let generate = async { self.generation.generate(prompt).await.map_err(Error::Generation) };
        let (deltas, _) = self.stage.run(deadline, limit, generate).await?;
        Ok(OpenAnswer { deltas, model: self.generation.model().map(str::to_owned) })
    }
}
