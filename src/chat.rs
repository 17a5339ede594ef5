//! The domain: a question, the passages retrieved for it, and the events of an answer.
//!
//! Nothing here knows a wire: no HTTP, no Gemini, no Qdrant. It imports no other room.

use std::collections::BTreeMap;

use serde::Serialize;

/// A reader's question, already checked against every bound of [`crate::limits`].
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What the reader asks: 1–4,000 characters, trimmed.
    pub query: String,
    /// The conversation so far, oldest first.
    pub history: Vec<Message>,
    /// Where the reader is.
    pub page: Page,
    /// Values a passage must carry under a payload key, if it carries that key at all.
    pub filter: Filter,
    /// How many passages to retrieve, 1–20.
    pub top_k: usize,
}

/// One turn of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// What was said.
    pub content: String,
}

/// Who said a [`Message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The reader.
    User,
    /// Docent.
    Assistant,
}

/// The page the reader asks from; each part is optional.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Its address.
    pub url: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// The text the reader marked on it.
    pub selection: Option<String>,
}

/// Payload key → accepted values (any of them). A passage without the key passes.
pub type Filter = BTreeMap<String, Vec<FilterValue>>;

/// One accepted value of a [`Filter`].
#[derive(Debug, Clone, PartialEq)]
pub enum FilterValue {
    /// A keyword.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A truth value.
    Bool(bool),
}

/// A text as an index compares it.
#[derive(Debug, Clone, PartialEq)]
pub enum Vector {
    /// What an embedding model makes, of length 1.
    Dense(Vec<f32>),
    /// Weights of features, by feature in ascending order.
    Sparse(Vec<(u32, f32)>),
}

/// A piece of the documentation that was retrieved.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    /// Title of its page.
    pub title: String,
    /// Heading (or path of headings) it stands under.
    pub section: Option<String>,
    /// Address with anchor: `http(s)`, relative, or empty where the collection has none.
    pub url: String,
    /// Its text.
    pub text: String,
    /// What ordered it: similarity, or the RRF sum in hybrid retrieval.
    pub score: f64,
}

/// A passage as a reader sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Source {
    /// The `n` of a citation `[n]`, from 1.
    pub number: usize,
    /// Title of the page.
    pub title: String,
    /// Heading within the page.
    pub section: Option<String>,
    /// Address with anchor, or empty.
    pub url: String,
    /// The beginning of the passage, at most 240 characters.
    pub snippet: String,
    /// Comparable within one answer only.
    pub score: f64,
}

/// What an answer consists of, in order: `Sources`, any number of `Text`, `Done`.
#[derive(Debug, Clone, PartialEq)]
pub enum AnswerEvent {
    /// The passages the answer may cite; empty when nothing was retrieved.
    Sources(Vec<Source>),
    /// The next piece of the answer; never empty.
    Text(String),
    /// The end of the answer.
    Done(Summary),
}

/// What is known once an answer has ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Whether the answer rests on the documentation.
    pub status: Status,
    /// The source numbers the answer cites, ascending.
    pub cited: Vec<usize>,
    /// Why the model stopped.
    pub finish_reason: FinishReason,
    /// The model that answered; null where none was called.
    pub model: Option<String>,
    /// Tokens; null where no model was called or it did not say.
    pub usage: Option<Usage>,
    /// How long the stages took.
    pub timings: Timings,
    /// Citations that named no source and were dropped; measured, not sent.
    #[serde(skip)]
    pub invalid_citations: usize,
}

/// Whether an answer rests on the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "&'static str")]
pub enum Status {
    /// It cites at least one source.
    Answered,
    /// It cites none.
    Uncited,
    /// The documentation does not answer the question.
    NotInDocs,
    /// The budget is spent: the sources are the answer.
    SearchOnly,
}

impl From<Status> for &'static str {
    fn from(status: Status) -> Self {
        status.name()
    }
}

impl Status {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Uncited => "uncited",
            Self::NotInDocs => "not_in_docs",
            Self::SearchOnly => "search_only",
        }
    }
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "&'static str")]
pub enum FinishReason {
    /// It was done.
    Stop,
    /// It, or Docent's own bound of 1 MiB, ran out of room.
    MaxTokens,
    /// The candidate was withheld for safety.
    Safety,
    /// It recited its training data.
    Recitation,
    /// The prompt or the candidate was blocked.
    Blocked,
    /// Any reason Docent does not know.
    Other,
}

impl From<FinishReason> for &'static str {
    fn from(reason: FinishReason) -> Self {
        reason.name()
    }
}

impl FinishReason {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
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

/// Tokens of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: u64,
    /// Of the answer, thoughts included.
    pub completion_tokens: u64,
    /// Their sum.
    pub total_tokens: u64,
}

/// Milliseconds, rounded to tenths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Timings {
    /// Embedding the question.
    pub embed_ms: f64,
    /// Searching the index.
    pub retrieve_ms: f64,
    /// From the request's arrival to the model's first visible text; null where there was none.
    pub first_token_ms: Option<f64>,
    /// From the request's arrival to the end of the answer.
    pub total_ms: f64,
}

/// Names the stages of a request, as the log, the metrics and the errors spell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StageName {
    /// Embedding the question.
    Embed,
    /// Searching the index.
    Retrieve,
    /// Waiting for the first visible text of `GENERATIVE_MODEL`, then writing.
    Generate,
    /// Waiting for the first visible text of `GENERATIVE_MODEL_FALLBACK`.
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
