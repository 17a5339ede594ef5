//! Runs the pipeline from a question to a stream of answer events: embed, retrieve, assemble, generate, check.
//!
//! [`Rag::ground`] runs before a response has a head, so its failures have a status; [`Rag::answer`] runs the
//! other stages as a stream, and a failure is the stream's last item. The stream owns everything it needs:
//! dropping it cancels the model.
//!
//! # Trying again
//!
//! Three things happen when a dependency fails, each in its own place:
//!
//! - The *retry* repeats a call that may succeed, before the first token: in [`provider`](crate::provider),
//!   around each call.
//! - The *second model* is asked if the first does not begin to answer: in `writers`.
//! - The *circuit breaker* stops asking a stage for a while if the stage keeps missing its deadline: in
//!   `circuit_breaker`, which `stage_runner` puts in front of each stage.

pub(crate) mod answer;
pub(crate) mod circuit_breaker;
pub mod citations;
pub(crate) mod prompt;
pub(crate) mod search_text;
pub(crate) mod stage_runner;
pub(crate) mod stage_times;
pub(crate) mod writers;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use uuid::Uuid;

use crate::chat::{Passage, Question, Source, StageName, Vector};
use crate::config::{RagLimits, SiteConfig};
use crate::error::Error;
use crate::limits::Budget;
use crate::provider::{Provider, Task};
use crate::retrieval::{Index, Search};
use crate::telemetry::metrics;
use crate::text::clip;

pub use answer::AnswerStream;
pub use stage_times::{StageDurations, StageTimes};

use answer::{
    AnswerInProgress, AnswerParts, Deadlines, stream_nothing_found, stream_search_only, stream_written,
};
use stage_runner::StageRunner;
use writers::Writers;

/// Characters of a snippet in `sources`; a longer passage is cut there.
const SNIPPET_CHARS: usize = 240;

/// Answers questions from an index, with a provider's embeddings and models.
#[derive(Debug)]
pub struct Rag {
    /// Provider of embeddings and answers.
    pub provider: Provider,
    /// Index that is searched.
    pub index: Index,
    /// Site whose name and instructions go into the prompt.
    pub site: SiteConfig,
    /// Deadlines of the stages, and sizes of the budget and the cache.
    pub limits: RagLimits,
    /// Budget of a day's answers; `None` if answers cost nothing or no ceiling is set.
    budget: Option<Arc<Budget>>,
    /// Embeddings of recent questions, by [`cache_key`]; `None` if embedding costs nothing or `EMBED_CACHE` is
    /// 0.
    embedding_cache: Option<Cache<Uuid, Vector>>,
    embed: StageRunner,
    retrieve: StageRunner,
    writers: Arc<Writers>,
}

/// Holds a question with the passages that were retrieved for it.
pub struct GroundedQuestion {
    question: Question,
    search_text: String,
    passages: Vec<Passage>,
    times: Arc<StageTimes>,
}

/// Prints only the number of passages: a log must not show questions or passages.
impl fmt::Debug for GroundedQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroundedQuestion").field("passages", &self.passages.len()).finish_non_exhaustive()
    }
}

impl Rag {
    /// Creates the pipeline over these services.
    pub fn new(provider: Provider, index: Index, site: SiteConfig, limits: RagLimits) -> Self {
        let has_ceiling = limits.daily_requests > 0 || limits.daily_tokens > 0;
        let has_budget = has_ceiling && provider.generation.is_metered();
        let has_cache = limits.embed_cache > 0 && provider.embedding.is_metered();
        Self {
            budget: has_budget.then(|| Budget::new(limits.daily_requests, limits.daily_tokens)),
            embedding_cache: has_cache.then(|| Cache::new(limits.embed_cache)),
            embed: StageRunner::new(StageName::Embed),
            retrieve: StageRunner::new(StageName::Retrieve),
            writers: Arc::new(Writers::new(&provider)),
            provider,
            index,
            site,
            limits,
        }
    }

    /// Embeds the question and retrieves its passages; `times` records each stage that ends.
    ///
    /// # Errors
    ///
    /// Returns the error of the stage that failed or missed its deadline.
    pub async fn ground(&self, question: Question, times: Arc<StageTimes>) -> Result<GroundedQuestion, Error> {
        let search_text = search_text::build(&question);
        let deadline = times.started() + self.limits.answer_timeout;
        let (vector, took) = match self.cached_embedding(&search_text) {
            Some(vector) => (vector, Duration::ZERO),
            None => {
                self.embed.run(deadline, self.limits.embed_timeout, self.embed_question(&search_text)).await?
            }
        };
        times.record_embed(took);
        let (top_k, filter) = (question.top_k(), question.filter().clone());
        let search = Search { text: search_text.clone(), vector, top_k, filter };
        let search = async { self.index.search(search).await.map_err(Error::Retrieval) };
        let (passages, took) = self.retrieve.run(deadline, self.limits.retrieve_timeout, search).await?;
        times.record_retrieve(took);
        Ok(GroundedQuestion { question, search_text, passages: prompt::within_budget(passages), times })
    }

    /// Looks up a question's embedding in the cache; `None` if the cache has no such embedding or there is no
    /// cache.
    fn cached_embedding(&self, search_text: &str) -> Option<Vector> {
        let cached = self.embedding_cache.as_ref()?.get(&cache_key(search_text));
        metrics::count_cache_lookup(cached.is_some());
        cached
    }

    /// Embeds a question, and keeps the embedding in the cache.
    async fn embed_question(&self, search_text: &str) -> Result<Vector, Error> {
        let embed = self.provider.embedding.embed(search_text, Task::Query, self.index.dimensions());
        let vector = embed.await.map_err(Error::Embedding)?;
        if let Some(cache) = &self.embedding_cache {
            cache.insert(cache_key(search_text), vector.clone());
        }
        Ok(vector)
    }

    /// Answers a grounded question. No model is asked if nothing was retrieved or the day's budget is spent.
    pub fn answer(&self, grounded: GroundedQuestion) -> AnswerStream {
        let GroundedQuestion { question, search_text, passages, times } = grounded;
        if passages.is_empty() {
            return stream_nothing_found(times.timings());
        }
        let sources = list_sources(&passages);
        let deadlines = Deadlines {
            first_token: self.limits.first_token_timeout,
            gap: self.limits.gap_timeout,
            answer: times.started() + self.limits.answer_timeout,
        };
        let prompt = prompt::assemble(&self.site, &question, search_text, passages);
        let spending = match &self.budget {
            None => None,
            Some(budget) => match budget.reserve(prompt.estimated_tokens()) {
                None => return stream_search_only(sources, times.timings()),
                spending => spending,
            },
        };
        let answer = AnswerInProgress::new(sources.len(), spending, times);
        stream_written(AnswerParts { sources, answer, deadlines, writers: Arc::clone(&self.writers), prompt })
    }
}

/// Returns the key of a text in the embedding cache: its hash, because the text may be long.
fn cache_key(text: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes())
}

/// Lists the passages as a reader gets them.
fn list_sources(passages: &[Passage]) -> Vec<Source> {
    let source = |(index, passage): (usize, &Passage)| Source {
        number: index + 1,
        title: passage.title.clone(),
        section: passage.section.clone(),
        url: passage.url.clone(),
        snippet: build_snippet(&passage.text),
        score: (passage.score * 1e6).round() / 1e6,
    };
    passages.iter().enumerate().map(source).collect()
}

/// Returns the beginning of a passage on one line, at most [`SNIPPET_CHARS`] long.
fn build_snippet(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match clip(&line, SNIPPET_CHARS) {
        whole if whole.len() == line.len() => line,
        _ => format!("{}…", clip(&line, SNIPPET_CHARS - 1).trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_is_one_short_line() {
        assert_eq!(build_snippet("a\n  b"), "a b");
        let long = build_snippet(&"wort ".repeat(100));
        assert!(long.ends_with("wort…"), "{long}");
        assert!(long.chars().count() <= SNIPPET_CHARS && long.chars().count() > SNIPPET_CHARS - 10);
    }
}
