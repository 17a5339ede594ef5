//! Holds the passages retrieved for a question, and the events of an answer.

use std::fmt;

use crate::text::Redacted;

/// Holds the vector of a text, which an index compares with others.
#[derive(Debug, Clone, PartialEq)]
pub enum Vector {
    /// Values of an embedding model; the vector has length 1.
    Dense(Vec<f32>),
    /// Weights of features, by feature in ascending order.
    Sparse(Vec<(u32, f32)>),
}

/// Holds a piece of the documentation that was retrieved.
#[derive(Clone, PartialEq)]
pub struct Passage {
    /// Title of the page.
    pub title: String,
    /// Heading (or path of headings) above the passage.
    pub section: Option<String>,
    /// Address with anchor: `http(s)`, relative, or empty where the collection has none.
    pub url: String,
    /// Text of the passage.
    pub text: String,
    /// Similarity, or the RRF sum in hybrid retrieval: the number that ordered the passages.
    pub score: f64,
}

impl fmt::Debug for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, text, score, .. } = self;
        let mut shown = f.debug_struct("Passage");
        shown.field("url", url).field("text", &Redacted(text)).field("score", score).finish_non_exhaustive()
    }
}

/// Describes a passage to a reader.
#[derive(Clone, PartialEq)]
pub struct Source {
    /// Number of the source in a citation, from 1.
    pub number: usize,
    /// Title of the page.
    pub title: String,
    /// Heading within the page.
    pub section: Option<String>,
    /// Address with anchor, or empty.
    pub url: String,
    /// The beginning of the passage, at most 240 characters.
    pub snippet: String,
    /// Score of the passage; comparable within one answer only.
    pub score: f64,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, url, snippet, score, .. } = self;
        let mut shown = f.debug_struct("Source");
        shown.field("number", number).field("url", url).field("snippet", &Redacted(snippet));
        shown.field("score", score).finish_non_exhaustive()
    }
}

/// Carries one step of an answer. In order: `Sources`, any number of `Text`, `Done`.
#[derive(Clone, PartialEq)]
pub enum AnswerEvent {
    /// The passages the answer may cite; empty when nothing was retrieved.
    Sources(Vec<Source>),
    /// The next piece of the answer; never empty.
    Text(String),
    /// The end of the answer.
    Done(Summary),
}

impl fmt::Debug for AnswerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sources(sources) => f.debug_tuple("Sources").field(sources).finish(),
            Self::Text(text) => f.debug_tuple("Text").field(&Redacted(text)).finish(),
            Self::Done(summary) => f.debug_tuple("Done").field(summary).finish(),
        }
    }
}

/// Holds an answer that has ended, its texts joined.
#[derive(Clone, PartialEq)]
pub struct WholeAnswer {
    /// Text of the answer: its events' texts, joined.
    pub response: String,
    /// The passages the answer may cite.
    pub sources: Vec<Source>,
    /// The end of the answer.
    pub summary: Summary,
}

impl fmt::Debug for WholeAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { response, sources, summary } = self;
        let mut shown = f.debug_struct("WholeAnswer");
        shown.field("response", &Redacted(response)).field("sources", sources);
        shown.field("summary", summary).finish()
    }
}

/// Summarises an answer that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Relation of the answer to the documentation.
    pub status: Status,
    /// The source numbers the answer cites, ascending.
    pub cited: Vec<usize>,
    /// Reason why the model stopped.
    pub finish_reason: FinishReason,
    /// Model that answered; `None` where none was called.
    pub model: Option<String>,
    /// Tokens; `None` where no model was called or the model reported none.
    pub usage: Option<Usage>,
    /// Time that each stage took.
    pub timings: Timings,
    /// Citations that named no source and were dropped; counted, not sent.
    pub invalid_citations: usize,
}

/// Names the relation of an answer to the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The answer cites at least one source.
    Answered,
    /// The answer cites no source.
    Uncited,
    /// The documentation does not answer the question.
    NotInDocs,
    /// The budget is spent: the sources are the answer.
    SearchOnly,
}

impl Status {
    /// Returns the name: `answered`, `uncited`, `not_in_docs` or `search_only`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Uncited => "uncited",
            Self::NotInDocs => "not_in_docs",
            Self::SearchOnly => "search_only",
        }
    }
}

/// Names the reason why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The answer is complete.
    Stop,
    /// The model's bound of tokens, or Docent's own bound of 1 MiB, was reached.
    MaxTokens,
    /// The candidate was withheld for safety.
    Safety,
    /// The model recited its training data.
    Recitation,
    /// The prompt or the candidate was blocked.
    Blocked,
    /// Any reason that Docent does not know.
    Other,
}

impl FinishReason {
    /// Returns the name: `stop`, `max_tokens`, `safety`, `recitation`, `blocked` or `other`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::MaxTokens => "max_tokens",
            Self::Safety => "safety",
            Self::Recitation => "recitation",
            Self::Blocked => "blocked",
            Self::Other => "other",
        }
    }
}

/// Counts the tokens of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer, thoughts included.
    pub completion_tokens: u64,
    /// Sum of both.
    pub total_tokens: u64,
}

/// Holds the times of an answer in milliseconds, rounded to tenths.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Timings {
    /// Time to embed the question.
    pub embed_ms: f64,
    /// Time to search the index.
    pub retrieve_ms: f64,
    /// Time from the request's arrival to the model's first visible text; `None` where there was none.
    pub first_token_ms: Option<f64>,
    /// Time from the request's arrival to the end of the answer.
    pub total_ms: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_an_answer_or_a_passage_is_part_of_a_debug_output() {
        let text = || "secret words".to_owned();
        let (title, section, url, score) = (text(), Some(text()), "/docs/a#b".to_owned(), 1.0);
        let passage =
            Passage { title: title.clone(), section: section.clone(), url: url.clone(), text: text(), score };
        let source = Source { number: 1, title, section, url, snippet: text(), score };
        let events = [AnswerEvent::Sources(vec![source.clone()]), AnswerEvent::Text(text())];
        let summary = Summary {
            status: Status::Answered,
            cited: vec![1],
            finish_reason: FinishReason::Stop,
            model: None,
            usage: None,
            timings: Timings::default(),
            invalid_citations: 0,
        };
        let whole = WholeAnswer { response: text(), sources: vec![source], summary };
        let shown = format!("{passage:?} {events:?} {whole:?}");
        assert!(!shown.contains("secret") && shown.contains("(12 characters)"), "{shown}");
    }
}
