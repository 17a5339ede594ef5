//! Writes an answer: streams a model's text, checks the citations on the way, and ends with a summary.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::citations::Citations;
use super::stage_runner::{error_kind, within_deadlines};
use super::stage_times::StageTimes;
use super::writers::{OpenAnswer, Writers};
use crate::chat::{AnswerEvent, FinishReason, Source, StageName, Status, Summary, Timings};
use crate::error::Error;
use crate::limits::{MAX_ANSWER_BYTES, Spending};
use crate::provider::{self, Delta, DeltaStream, Finish, NOT_IN_DOCS_SENTENCE, Prompt};
use crate::telemetry::metrics;
use crate::text::estimate_tokens;

/// Text of an answer on a day whose budget is spent: no model is asked.
const SEARCH_ONLY_SENTENCE: &str =
    "No more answers can be written today; these sections of the documentation fit the question best.";

/// Streams an answer: `Sources`, any number of `Text`, then `Done` or one error, then nothing.
pub type AnswerStream = BoxStream<'static, Result<AnswerEvent, Error>>;

/// Bounds the time of the model that writes an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// Time to the first visible text, for both models together.
    pub(super) first_token: Duration,
    /// Time between two pieces of text.
    pub(super) gap: Duration,
    /// End of the whole answer.
    pub(super) answer: Instant,
}

impl Deadlines {
    /// Returns the next delta. A stream that stops without [`Delta::Finish`] was cut off, which is an error.
    async fn next_delta(&self, deltas: &mut DeltaStream) -> Result<Delta, Error> {
        let missed = Error::Generation(provider::Error::Timeout("GAP_TIMEOUT".to_owned()));
        let delta = match within_deadlines(self.answer, self.gap, missed, deltas.next()).await {
            Ok(Some(delta)) => delta.map_err(Error::Generation),
            Ok(None) => Err(Error::Generation(provider::Error::Truncated)),
            Err(error) => Err(error),
        };
        delta.inspect_err(|error| metrics::count_upstream_error(StageName::Generate, error_kind(error)))
    }
}

/// Owns everything that a written answer needs, so that dropping the answer ends the model's work.
pub(super) struct AnswerParts {
    pub(super) sources: Vec<Source>,
    pub(super) answer: AnswerInProgress,
    pub(super) deadlines: Deadlines,
    pub(super) writers: Arc<Writers>,
    pub(super) prompt: Prompt,
}

/// Streams an answer that a model writes; the model is asked after the caller has taken the sources from the
/// stream.
pub(super) fn stream_written(parts: AnswerParts) -> AnswerStream {
    let AnswerParts { sources, mut answer, deadlines, writers, prompt } = parts;
    let stream = async_stream::try_stream! {
        yield AnswerEvent::Sources(sources);
        let opened = writers.open(deadlines.answer, deadlines.first_token, &prompt).await;
        let mut deltas = answer.begin_or_refund(opened)?;
        let end = loop {
            match deadlines.next_delta(&mut deltas).await? {
                Delta::Text(text) => {
                    let (visible, is_full) = answer.push(&text);
                    if let Some(visible) = visible {
                        yield AnswerEvent::Text(visible);
                    }
                    if is_full {
                        break answer.end_at_limit();
                    }
                }
                Delta::Finish(end) => break end,
            }
        };
        drop(deltas);
        for event in answer.finish(end) {
            yield event;
        }
    };
    stream.boxed()
}

/// Streams the answer to a question for which nothing was retrieved: the model is not asked.
pub(super) fn stream_nothing_found(timings: Timings) -> AnswerStream {
    stream_fixed(Vec::new(), NOT_IN_DOCS_SENTENCE, Status::NotInDocs, timings)
}

/// Streams the answer on a day whose budget is spent: the sources and a fixed sentence. The model is not asked.
pub(super) fn stream_search_only(sources: Vec<Source>, timings: Timings) -> AnswerStream {
    stream_fixed(sources, SEARCH_ONLY_SENTENCE, Status::SearchOnly, timings)
}

fn stream_fixed(sources: Vec<Source>, sentence: &str, status: Status, timings: Timings) -> AnswerStream {
    let summary = Summary {
        status,
        cited: Vec::new(),
        finish_reason: FinishReason::Stop,
        model: None,
        usage: None,
        timings,
        invalid_citations: 0,
    };
    let text = AnswerEvent::Text(sentence.to_owned());
    let events = [AnswerEvent::Sources(sources), text, AnswerEvent::Done(summary)];
    futures::stream::iter(events.map(Ok)).boxed()
}

/// Holds the state of an answer while a model writes the text. Has no `Debug`, because a log must not show the
/// text.
pub(super) struct AnswerInProgress {
    citations: Citations,
    bytes: usize,
    /// True once some text has gone to the reader.
    has_visible_text: bool,
    /// Name of the model that writes; `None` offline.
    model: Option<String>,
    /// Share of the day's budget; `None` if no budget is set.
    spending: Option<Spending>,
    times: Arc<StageTimes>,
}

impl AnswerInProgress {
    /// Starts an empty answer that may cite the sources 1 to `sources`.
    pub(super) fn new(sources: usize, spending: Option<Spending>, times: Arc<StageTimes>) -> Self {
        let citations = Citations::new(sources);
        Self { citations, bytes: 0, has_visible_text: false, model: None, spending, times }
    }

    /// Records which model answers, and returns its text. On failure, refunds the budget unless the model may
    /// have generated until a deadline.
    ///
    /// # Errors
    ///
    /// Returns the error of `opened`.
    fn begin_or_refund(&mut self, opened: Result<OpenAnswer, Error>) -> Result<DeltaStream, Error> {
        use provider::Error::Timeout;
        match opened {
            Ok(OpenAnswer { deltas, model }) => {
                self.model = model;
                Ok(deltas)
            }
            Err(error) => {
                let may_have_cost = matches!(error, Error::AnswerTimeout | Error::Generation(Timeout(_)));
                if let Some(spending) = self.spending.take().filter(|_| !may_have_cost) {
                    spending.refund();
                }
                Err(error)
            }
        }
    }

    /// Adds the next piece of text. Returns the text that a reader may have now, if any, and true if the answer
    /// exceeded [`MAX_ANSWER_BYTES`] and was cut there.
    fn push(&mut self, text: &str) -> (Option<String>, bool) {
        if self.model.is_some()
            && let Some(after) = self.times.record_first_token()
        {
            metrics::record_first_token(after);
        }
        if let Some(spending) = &mut self.spending {
            spending.add(estimate_tokens(text) as u64);
        }
        let room = MAX_ANSWER_BYTES - self.bytes;
        let is_full = text.len() > room;
        let text = if is_full { &text[..text.floor_char_boundary(room)] } else { text };
        self.bytes += text.len();
        let visible = Some(self.citations.push(text)).filter(|visible| !visible.is_empty());
        self.has_visible_text |= visible.is_some();
        (visible, is_full)
    }

    /// Ends an answer that has grown too long. The model has not reported its tokens yet.
    fn end_at_limit(&self) -> Finish {
        Finish { finish_reason: FinishReason::MaxTokens, model: self.model.clone(), usage: None }
    }

    /// Returns the last events: text that was held back, and the summary.
    fn finish(self, end: Finish) -> Vec<AnswerEvent> {
        if let (Some(mut spending), Some(usage)) = (self.spending, end.usage) {
            // A gateway may leave the counts out; then the estimate is kept.
            if usage.prompt_tokens > 0 && usage.completion_tokens > 0 {
                spending.correct(usage.total_tokens);
            }
        }
        let (remaining, report) = self.citations.finish();
        let mut events = Vec::new();
        if !remaining.is_empty() {
            events.push(AnswerEvent::Text(remaining));
        } else if report.refused && !self.has_visible_text {
            events.push(AnswerEvent::Text(NOT_IN_DOCS_SENTENCE.to_owned()));
        }
        let status = match (report.refused, report.cited.is_empty()) {
            (true, _) => Status::NotInDocs,
            (false, false) => Status::Answered,
            (false, true) => Status::Uncited,
        };
        let Finish { finish_reason, model, usage } = end;
        events.push(AnswerEvent::Done(Summary {
            status,
            cited: report.cited,
            finish_reason,
            model,
            usage,
            timings: self.times.timings(),
            invalid_citations: report.invalid,
        }));
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Budget;

    fn answer(sources: usize) -> AnswerInProgress {
        AnswerInProgress::new(sources, None, Arc::new(StageTimes::new(Instant::now())))
    }

    fn stop() -> Finish {
        Finish { finish_reason: FinishReason::Stop, model: None, usage: None }
    }

    #[test]
    fn an_answer_is_cut_at_its_bound_between_characters() {
        let mut answer = answer(1);
        let (_, is_full) = answer.push(&"a".repeat(MAX_ANSWER_BYTES - 1));
        assert!(!is_full);
        assert_eq!(answer.push("üü"), (None, true));
    }

    #[test]
    fn a_refusal_without_words_gets_the_fixed_sentence() {
        let mut answer = answer(1);
        assert_eq!(answer.push(" [NOT_IN_DOCS] \n"), (None, false));
        let events = answer.finish(stop());
        assert_eq!(events[0], AnswerEvent::Text(NOT_IN_DOCS_SENTENCE.to_owned()));
        assert!(matches!(&events[1], AnswerEvent::Done(summary) if summary.status == Status::NotInDocs));
    }

    #[test]
    fn a_failed_opening_is_refunded_unless_a_model_may_have_worked() {
        let failures = [
            (provider::Error::Failed("reset".to_owned()), true),
            (provider::Error::Timeout("FIRST_TOKEN_TIMEOUT".to_owned()), false),
        ];
        for (failure, is_refunded) in failures {
            let budget = Budget::new(1, 0);
            let times = Arc::new(StageTimes::new(Instant::now()));
            let mut answer = AnswerInProgress::new(1, budget.reserve(10), times);
            assert!(answer.begin_or_refund(Err(Error::Generation(failure))).is_err());
            assert_eq!(budget.reserve(10).is_some(), is_refunded);
        }
    }

    #[tokio::test]
    async fn an_answer_without_a_model_is_one_sentence_and_its_summary() {
        let events: Vec<_> = stream_nothing_found(Timings::default()).collect().await;
        let [Ok(AnswerEvent::Sources(sources)), Ok(AnswerEvent::Text(text)), Ok(AnswerEvent::Done(summary))] =
            events.as_slice()
        else {
            panic!("{events:?}");
        };
        assert!(sources.is_empty() && text == NOT_IN_DOCS_SENTENCE);
        assert_eq!((summary.status, summary.finish_reason), (Status::NotInDocs, FinishReason::Stop));
    }
}
