//! From a question to a stream of answer events: embed, retrieve, assemble, generate, check.
//!
//! [`Rag::ground`] runs before a response has a head, so its failures have a status; [`Rag::answer`] is the rest, and
//! its failures are the stream's last item. The stream owns everything it needs: who drops it cancels the model.

pub mod citations;
pub mod prompt;
pub mod standalone;

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::BoxStream;

use crate::chat::{
    AnswerEvent, FinishReason, NOT_IN_DOCS_SENTENCE, Passage, Question, Source, Status, Summary, Timings, clip,
    millis,
};
use crate::config::{LimitsConfig, SiteConfig};
use crate::error::Error;
use crate::limits::{MAX_ANSWER_BYTES, SNIPPET_CHARS};
use crate::provider::{self, Delta, DeltaStream, End, Generation, NOT_IN_DOCS, Prompt, Provider, Task};
use crate::retrieval::{self, Index, Search};

use citations::Citations;

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
    pub limits: LimitsConfig,
}

/// A question with its passages.
#[derive(Debug)]
pub struct Grounded {
    question: Question,
    passages: Vec<Passage>,
    timings: Timings,
    started: Instant,
}

impl Rag {
    /// Embeds the question and retrieves its passages. `started` is when the request arrived.
    ///
    /// # Errors
    ///
    /// What failed, or which deadline was missed.
    pub async fn ground(&self, question: Question, started: Instant) -> Result<Grounded, Error> {
        let text = standalone::text(&question);
        let deadline = started + self.limits.answer_timeout;
        let embed = self.provider.embedding.embed(&text, Task::Query, self.index.dimensions());
        let began = Instant::now();
        let missed = Error::Embedding(provider::Error::Timeout("EMBED_TIMEOUT".to_owned()));
        let vector =
            within(deadline, self.limits.embed_timeout, missed, embed).await?.map_err(Error::Embedding)?;
        let embed_ms = millis(began.elapsed());
        let began = Instant::now();
        let search = Search { text, vector, top_k: question.top_k, filter: question.filter.clone() };
        let missed = Error::Retrieval(retrieval::Error::Timeout);
        let search = self.index.search(search);
        let passages = within(deadline, self.limits.retrieve_timeout, missed, search).await??;
        let timings = Timings { embed_ms, retrieve_ms: millis(began.elapsed()), ..Timings::default() };
        Ok(Grounded { question, passages: prompt::fit(passages), timings, started })
    }

    /// Answers a grounded question.
    pub fn answer(&self, grounded: Grounded) -> AnswerStream {
        let Grounded { question, passages, timings, started } = grounded;
        let sources = sources(&passages);
        let draft = Draft {
            citations: Citations::new(passages.len()),
            bytes: 0,
            visible: false,
            model: self.provider.generation.model().map(str::to_owned),
            timings,
            started,
        };
        if passages.is_empty() {
            let events = [AnswerEvent::Sources(sources)].into_iter().chain(draft.nothing_found());
            return futures::stream::iter(events.map(Ok)).boxed();
        }
        let deadlines = Deadlines {
            first_token: self.limits.first_token_timeout,
            gap: self.limits.gap_timeout,
            answer: started + self.limits.answer_timeout,
        };
        let prompt = prompt::assemble(&self.site, &question, passages);
        write(sources, draft, deadlines, self.provider.generation.clone(), prompt)
    }
}

/// Runs a stage within its own `limit` (else it is `missed`) and the whole answer's `deadline`.
async fn within<T>(
    deadline: Instant,
    limit: Duration,
    missed: Error,
    work: impl Future<Output = T>,
) -> Result<T, Error> {
    let left = deadline.saturating_duration_since(Instant::now());
    let outcome = tokio::time::timeout(limit.min(left), work).await;
    outcome.map_err(|_| if left < limit { Error::AnswerTimeout } else { missed })
}

fn write(
    sources: Vec<Source>,
    mut draft: Draft,
    deadlines: Deadlines,
    generation: Generation,
    prompt: Prompt,
) -> AnswerStream {
    let stream = async_stream::try_stream! {
        yield AnswerEvent::Sources(sources);
        let mut deltas = deadlines.open(&generation, prompt).await?;
        let end = loop {
            match deadlines.next(&mut deltas).await? {
                Delta::Text(text) => {
                    let (text, full) = draft.push(&text);
                    if let Some(text) = text {
                        yield AnswerEvent::Text(text);
                    }
                    if full {
                        break draft.cut();
                    }
                }
                Delta::End(end) => break end,
            }
        };
        drop(deltas);
        for event in draft.finish(end) {
            yield event;
        }
    };
    stream.boxed()
}

/// How long the model may take.
#[derive(Debug, Clone, Copy)]
struct Deadlines {
    first_token: Duration,
    gap: Duration,
    answer: Instant,
}

impl Deadlines {
    async fn open(&self, generation: &Generation, prompt: Prompt) -> Result<DeltaStream, Error> {
        let missed = Error::Generation(provider::Error::Timeout("FIRST_TOKEN_TIMEOUT".to_owned()));
        let opened = within(self.answer, self.first_token, missed, generation.generate(prompt)).await?;
        opened.map_err(Error::Generation)
    }

    /// The next delta; a stream that stops without its end was cut.
    async fn next(&self, deltas: &mut DeltaStream) -> Result<Delta, Error> {
        let missed = Error::Generation(provider::Error::Timeout("GAP_TIMEOUT".to_owned()));
        match within(self.answer, self.gap, missed, deltas.next()).await? {
            Some(delta) => delta.map_err(Error::Generation),
            None => Err(Error::Generation(provider::Error::Truncated)),
        }
    }
}

/// An answer as far as it has come.
#[derive(Debug)]
struct Draft {
    citations: Citations,
    bytes: usize,
    /// Whether a reader has seen any of it.
    visible: bool,
    /// The model that was asked; `None` offline.
    model: Option<String>,
    timings: Timings,
    started: Instant,
}

impl Draft {
    /// What a reader may see of the next piece, and whether the answer is now as long as it may be.
    fn push(&mut self, text: &str) -> (Option<String>, bool) {
        if self.model.is_some() {
            self.timings.first_token_ms.get_or_insert_with(|| millis(self.started.elapsed()));
        }
        let room = MAX_ANSWER_BYTES - self.bytes;
        let full = text.len() > room;
        let text = if full { &text[..text.floor_char_boundary(room)] } else { text };
        self.bytes += text.len();
        (self.show(text), full)
    }

    fn show(&mut self, text: &str) -> Option<String> {
        let text = Some(self.citations.push(text)).filter(|text| !text.is_empty());
        self.visible |= text.is_some();
        text
    }

    /// The end of an answer that has grown too long; what it cost so far, nobody has said yet.
    fn cut(&self) -> End {
        End { finish_reason: FinishReason::MaxTokens, model: self.model.clone(), usage: None }
    }

    /// The last events: what was held back, and the summary.
    fn finish(mut self, end: End) -> Vec<AnswerEvent> {
        let (rest, checked) = self.citations.finish();
        let mut events = Vec::new();
        if !rest.is_empty() {
            events.push(AnswerEvent::Text(rest));
        } else if checked.refused && !self.visible {
            events.push(AnswerEvent::Text(NOT_IN_DOCS_SENTENCE.to_owned()));
        }
        self.timings.total_ms = millis(self.started.elapsed());
        let status = match (checked.refused, checked.cited.is_empty()) {
            (true, _) => Status::NotInDocs,
            (false, false) => Status::Answered,
            (false, true) => Status::Uncited,
        };
        let End { finish_reason, model, usage } = end;
        let timings = self.timings;
        events.push(AnswerEvent::Done(Summary {
            status,
            cited: checked.cited,
            finish_reason,
            model,
            usage,
            timings,
            invalid_citations: checked.invalid,
        }));
        events
    }

    /// The whole answer where there is nothing to ask a model about: a refusal without words.
    fn nothing_found(mut self) -> Vec<AnswerEvent> {
        self.show(NOT_IN_DOCS);
        self.finish(End { finish_reason: FinishReason::Stop, model: None, usage: None })
    }
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

    fn draft(sources: usize) -> Draft {
        Draft {
            citations: Citations::new(sources),
            bytes: 0,
            visible: false,
            model: None,
            timings: Timings::default(),
            started: Instant::now(),
        }
    }

    fn stop() -> End {
        End { finish_reason: FinishReason::Stop, model: None, usage: None }
    }

    #[test]
    fn an_answer_is_cut_at_its_bound_between_characters() {
        let mut draft = draft(1);
        let (_, full) = draft.push(&"a".repeat(MAX_ANSWER_BYTES - 1));
        assert!(!full);
        assert_eq!(draft.push("üü"), (None, true));
    }

    #[test]
    fn a_refusal_without_words_gets_the_fixed_sentence() {
        let mut draft = draft(1);
        assert_eq!(draft.push(" [NOT_IN_DOCS] \n"), (None, false));
        let events = draft.finish(stop());
        assert_eq!(events[0], AnswerEvent::Text(NOT_IN_DOCS_SENTENCE.to_owned()));
        assert!(matches!(&events[1], AnswerEvent::Done(summary) if summary.status == Status::NotInDocs));
    }

    #[test]
    fn a_snippet_is_one_short_line() {
        assert_eq!(snippet("a\n  b"), "a b");
        let long = snippet(&"wort ".repeat(100));
        assert!(long.ends_with("wort…"), "{long}");
        assert!(long.chars().count() <= SNIPPET_CHARS && long.chars().count() > SNIPPET_CHARS - 10);
    }
}
