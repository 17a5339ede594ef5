//! The written half of an answer: a model's text, checked as it comes, and what is said of it at the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;

use super::AnswerStream;
use super::citations::Citations;
use super::progress::Progress;
use super::stage::{Stage, kind_of, within};
use crate::chat::{AnswerEvent, FinishReason, Source, StageName, Status, Summary};
use crate::error::Error;
use crate::limits::{MAX_ANSWER_BYTES, Spending};
use crate::provider::{
    self, Delta, DeltaStream, End, Generation, NOT_IN_DOCS, NOT_IN_DOCS_SENTENCE, Prompt, Provider,
};
use crate::telemetry::metrics;
use crate::text::estimate_tokens;

/// The sentence a reader gets when the day's budget for written answers is spent.
const SEARCH_ONLY_SENTENCE: &str =
    "No more answers can be written today; these sections of the documentation fit the question best.";

/// A model that writes, and how it has done lately.
#[derive(Debug)]
struct Writer {
    generation: Generation,
    stage: Stage,
}

/// The models that may write an answer: the one that is asked, and the one that is asked where that has not begun.
#[derive(Debug, Clone)]
pub(super) struct Writers(Arc<(Writer, Option<Writer>)>);

impl Writers {
    pub(super) fn of(provider: &Provider) -> Self {
        let writer =
            |generation: &Generation, kind| Writer { generation: generation.clone(), stage: Stage::new(kind) };
        let fallback = provider.fallback.as_ref().map(|fallback| writer(fallback, StageName::Fallback));
        Self(Arc::new((writer(&provider.generation, StageName::Generate), fallback)))
    }

    /// Opens an answer. The time to its first text is for both models together.
    async fn open(&self, deadlines: &Deadlines, prompt: &Prompt) -> Result<Opened, Error> {
        let (first, fallback) = &*self.0;
        let Some(fallback) = fallback else {
            return first.open(deadlines, deadlines.first_token, prompt).await;
        };
        let began = Instant::now();
        let failure = match first.open(deadlines, deadlines.first_token / 2, prompt).await {
            Err(error) if !matches!(error, Error::AnswerTimeout) => error,
            opened => return opened,
        };
        tracing::warn!(cause = %failure, "the model has not begun to answer: asking GENERATIVE_MODEL_FALLBACK");
        metrics::count_fallback();
        let left = deadlines.first_token.saturating_sub(began.elapsed());
        match fallback.open(deadlines, left, prompt).await {
            // It will never answer, but the first model may.
            Err(Error::Generation(provider::Error::Refused(cause))) => {
                tracing::warn!(cause, "GENERATIVE_MODEL_FALLBACK refuses");
                Err(failure)
            }
            opened => opened,
        }
    }
}

/// An answer that has begun, and which model writes it.
type Opened = (DeltaStream, Option<String>);

impl Writer {
    async fn open(&self, deadlines: &Deadlines, limit: Duration, prompt: &Prompt) -> Result<Opened, Error> {
        let generate = async { self.generation.generate(prompt).await.map_err(Error::Generation) };
        let (deltas, _) = self.stage.run(deadlines.answer, limit, generate).await?;
        Ok((deltas, self.generation.model().map(str::to_owned)))
    }
}

/// How long the model may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    pub(super) first_token: Duration,
    pub(super) gap: Duration,
    pub(super) answer: Instant,
}

impl Deadlines {
    /// The next delta; a stream that stops without its end was cut.
    async fn next(&self, deltas: &mut DeltaStream) -> Result<Delta, Error> {
        let missed = Error::Generation(provider::Error::Timeout("GAP_TIMEOUT".to_owned()));
        let delta = match within(self.answer, self.gap, missed, deltas.next()).await {
            Ok(Some(delta)) => delta.map_err(Error::Generation),
            Ok(None) => Err(Error::Generation(provider::Error::Truncated)),
            Err(error) => Err(error),
        };
        delta.inspect_err(|error| metrics::count_upstream_error(StageName::Generate, kind_of(error)))
    }
}

/// Everything a written answer needs: it owns it, so that who drops the answer ends the model's work.
pub(super) struct Job {
    pub(super) sources: Vec<Source>,
    pub(super) draft: Draft,
    pub(super) deadlines: Deadlines,
    pub(super) writers: Writers,
    pub(super) prompt: Prompt,
}

pub(super) fn write(job: Job) -> AnswerStream {
    let Job { sources, mut draft, deadlines, writers, prompt } = job;
    let stream = async_stream::try_stream! {
        yield AnswerEvent::Sources(sources);
        let opened = writers.open(&deadlines, &prompt).await;
        let mut deltas = draft.begin(opened)?;
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

/// An answer as far as it has come.
#[derive(Debug)]
pub(super) struct Draft {
    citations: Citations,
    bytes: usize,
    /// Whether a reader has seen any of it.
    visible: bool,
    /// The model that writes; `None` offline.
    model: Option<String>,
    /// Its share of the day's budget; `None` where nothing is counted.
    spending: Option<Spending>,
    progress: Arc<Progress>,
}

impl Draft {
    /// An answer of which nothing has come, about so many sources.
    pub(super) fn new(sources: usize, progress: Arc<Progress>) -> Self {
        let citations = Citations::new(sources);
        Self { citations, bytes: 0, visible: false, model: None, spending: None, progress }
    }

    /// The same with its share of the day's budget.
    pub(super) fn paid_by(self, spending: Spending) -> Self {
        Self { spending: Some(spending), ..self }
    }

    /// A model has begun to write it, or none has. What a model may have worked on until a deadline is paid for; a refusal and
    /// a failure cost nothing.
    fn begin(&mut self, opened: Result<Opened, Error>) -> Result<DeltaStream, Error> {
        use provider::Error::Timeout;
        match opened {
            Ok((deltas, model)) => {
                self.model = model;
                Ok(deltas)
            }
            Err(error) => {
                let worked = matches!(error, Error::AnswerTimeout | Error::Generation(Timeout(_)));
                if let Some(spending) = self.spending.take().filter(|_| !worked) {
                    spending.refund();
                }
                Err(error)
            }
        }
    }

    /// What a reader may see of the next piece, and whether the answer is now as long as it may be.
    fn push(&mut self, text: &str) -> (Option<String>, bool) {
        if self.model.is_some()
            && let Some(after) = self.progress.first_token()
        {
            metrics::record_first_token(after);
        }
        if let Some(spending) = &mut self.spending {
            spending.add(estimate_tokens(text) as u64);
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
    fn finish(self, end: End) -> Vec<AnswerEvent> {
        if let (Some(mut spending), Some(usage)) = (self.spending, end.usage) {
            // A gateway may leave the counts out; then the estimate stands.
            if usage.prompt_tokens > 0 && usage.completion_tokens > 0 {
                spending.correct(usage.total_tokens);
            }
        }
        let (rest, checked) = self.citations.finish();
        let mut events = Vec::new();
        if !rest.is_empty() {
            events.push(AnswerEvent::Text(rest));
        } else if checked.refused && !self.visible {
            events.push(AnswerEvent::Text(NOT_IN_DOCS_SENTENCE.to_owned()));
        }
        let status = match (checked.refused, checked.cited.is_empty()) {
            (true, _) => Status::NotInDocs,
            (false, false) => Status::Answered,
            (false, true) => Status::Uncited,
        };
        let End { finish_reason, model, usage } = end;
        events.push(AnswerEvent::Done(Summary {
            status,
            cited: checked.cited,
            finish_reason,
            model,
            usage,
            timings: self.progress.timings(),
            invalid_citations: checked.invalid,
        }));
        events
    }

    /// The whole answer where there is nothing to ask a model about: a refusal without words.
    pub(super) fn nothing_found(mut self) -> Vec<AnswerEvent> {
        self.show(NOT_IN_DOCS);
        self.finish(End { finish_reason: FinishReason::Stop, model: None, usage: None })
    }

    /// The whole answer where no model may be asked any more: the sources stand for it.
    pub(super) fn search_only(self) -> Vec<AnswerEvent> {
        let summary = Summary {
            status: Status::SearchOnly,
            cited: Vec::new(),
            finish_reason: FinishReason::Stop,
            model: None,
            usage: None,
            timings: self.progress.timings(),
            invalid_citations: 0,
        };
        vec![AnswerEvent::Text(SEARCH_ONLY_SENTENCE.to_owned()), AnswerEvent::Done(summary)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(sources: usize) -> Draft {
        Draft::new(sources, Arc::new(Progress::new(Instant::now())))
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
}
