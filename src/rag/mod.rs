//! From a question to a stream of answer events: embed, retrieve, assemble, generate, check.
//!
//! [`Rag::ground`] runs before a response has a head, so its failures have a status; [`Rag::answer`] is the rest, and
//! its failures are the stream's last item. The stream owns everything it needs: who drops it cancels the model.

pub mod citations;
mod progress;
pub mod prompt;
pub mod search_text;
mod stage;
mod write;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use moka::sync::Cache;
use uuid::Uuid;

use crate::chat::{AnswerEvent, Passage, Question, Source, StageName, Vector};
use crate::config::{RagLimits, SiteConfig};
use crate::error::Error;
use crate::limits::Budget;
use crate::provider::{Embedding, Generation, Provider, Task};
use crate::retrieval::{Index, Search};
use crate::telemetry::metrics;
use crate::text::clip;

pub use progress::{Progress, Times};
use stage::Stage;
use write::{Deadlines, Draft, Job, Writers, write};

/// Characters of a snippet in `sources`; a longer passage is cut there.
const SNIPPET_CHARS: usize = 240;

/// An answer under way: `Sources`, any number of `Text`, then `Done` or one error, then nothing.
pub type AnswerStream = BoxStream<'static, Result<AnswerEvent, Error>>;

/// The pipeline.
#[derive(Debug)]
pub struct Rag {
    /// Who embeds and who writes.
    pub provider: Provider,
    /// What is searched.
    pub index: Index,
    /// What the prompt says about the site.
    pub site: SiteConfig,
    /// The deadlines of the stages.
    pub limits: RagLimits,
    /// What a day's answers may cost, where they cost anything and there is a ceiling.
    budget: Option<Arc<Budget>>,
    /// Questions whose embedding is known, where it costs anything and is to be kept.
    known: Option<Cache<Uuid, Vector>>,
    embed: Stage,
    retrieve: Stage,
    writers: Writers,
}

/// A question with its passages.
#[derive(Debug)]
pub struct Grounded {
    question: Question,
    passages: Vec<Passage>,
    progress: Arc<Progress>,
}

impl Rag {
    /// The pipeline over these services.
    pub fn new(provider: Provider, index: Index, site: SiteConfig, limits: RagLimits) -> Self {
        let has_ceiling = limits.daily_requests > 0 || limits.daily_tokens > 0;
        let is_counted = has_ceiling && matches!(provider.generation, Generation::Gemini(_));
        let is_kept = limits.embed_cache > 0 && matches!(provider.embedding, Embedding::Gemini(_));
        Self {
            budget: is_counted.then(|| Budget::new(limits.daily_requests, limits.daily_tokens)),
            known: is_kept.then(|| Cache::new(limits.embed_cache)),
            embed: Stage::new(StageName::Embed),
            retrieve: Stage::new(StageName::Retrieve),
            writers: Writers::of(&provider),
            provider,
            index,
            site,
            limits,
        }
    }

    /// Embeds the question and retrieves its passages; `progress` takes note of both.
    ///
    /// # Errors
    ///
    /// What failed, or which deadline was missed.
    pub async fn ground(&self, question: Question, progress: Arc<Progress>) -> Result<Grounded, Error> {
        let text = search_text::build(&question);
        let deadline = progress.started() + self.limits.answer_timeout;
        let (vector, took) = match self.known(&text) {
            Some(vector) => (vector, Duration::ZERO),
            None => self.embed.run(deadline, self.limits.embed_timeout, self.embedding_of(&text)).await?,
        };
        progress.embedded(took);
        let search = Search { text, vector, top_k: question.top_k(), filter: question.filter().clone() };
        let search = async { self.index.search(search).await.map_err(Error::Retrieval) };
        let (passages, took) = self.retrieve.run(deadline, self.limits.retrieve_timeout, search).await?;
        progress.retrieved(took);
        Ok(Grounded { question, passages: prompt::fit(passages), progress })
    }

    /// The question's embedding, where it is still known.
    fn known(&self, text: &str) -> Option<Vector> {
        let known = self.known.as_ref()?.get(&key(text));
        metrics::count_cache_lookup(known.is_some());
        known
    }

    async fn embedding_of(&self, text: &str) -> Result<Vector, Error> {
        let embed = self.provider.embedding.embed(text, Task::Query, self.index.dimensions());
        let vector = embed.await.map_err(Error::Embedding)?;
        if let Some(known) = &self.known {
            known.insert(key(text), vector.clone());
        }
        Ok(vector)
    }

    /// Answers a grounded question.
    pub fn answer(&self, grounded: Grounded) -> AnswerStream {
        let Grounded { question, passages, progress } = grounded;
        let sources = sources(&passages);
        let draft = Draft::new(passages.len(), Arc::clone(&progress));
        let without_model = |sources, rest: Vec<AnswerEvent>| {
            futures::stream::iter([AnswerEvent::Sources(sources)].into_iter().chain(rest).map(Ok)).boxed()
        };
        if passages.is_empty() {
            return without_model(sources, draft.nothing_found());
        }
        let deadlines = Deadlines {
            first_token: self.limits.first_token_timeout,
            gap: self.limits.gap_timeout,
            answer: progress.started() + self.limits.answer_timeout,
        };
        let prompt = prompt::assemble(&self.site, &question, passages);
        let draft = match &self.budget {
            None => draft,
            Some(budget) => match budget.reserve(prompt.estimated_tokens()) {
                Some(spending) => draft.paid_by(spending),
                None => return without_model(sources, draft.search_only()),
            },
        };
        write(Job { sources, draft, deadlines, writers: self.writers.clone(), prompt })
    }
}

/// Under which an embedding is kept: a text may be long, its hash is not.
fn key(text: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes())
}

fn sources(passages: &[Passage]) -> Vec<Source> {
    let source = |(index, passage): (usize, &Passage)| Source {
        number: index + 1,
        title: passage.title.clone(),
        section: passage.section.clone(),
        url: passage.url.clone(),
        snippet: snippet(&passage.text),
        score: (passage.score * 1e6).round() / 1e6,
    };
    passages.iter().enumerate().map(source).collect()
}

/// The beginning of a passage on one line.
fn snippet(text: &str) -> String {
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
        assert_eq!(snippet("a\n  b"), "a b");
        let long = snippet(&"wort ".repeat(100));
        assert!(long.ends_with("wort…"), "{long}");
        assert!(long.chars().count() <= SNIPPET_CHARS && long.chars().count() > SNIPPET_CHARS - 10);
    }
}
