//! Defines the input and the output of a provider: texts to embed, prompts, pieces of an answer, errors.

use std::fmt;
use std::time::Duration;

use futures::stream::BoxStream;

use crate::chat::{FinishReason, Message, Passage, Usage};
use crate::text::{Redacted, estimate_tokens};

/// Mark at the beginning of a model's answer if the passages do not answer the question; the prompt asks for
/// the mark.
pub const NOT_IN_DOCS: &str = "[NOT_IN_DOCS]";

/// Sentence that a reader gets if the documentation does not answer the question.
pub const NOT_IN_DOCS_SENTENCE: &str = "The documentation does not seem to answer this question.";

/// Names the role of a text that is embedded; a model places questions and passages differently.
#[derive(Clone, Copy)]
pub enum Task<'a> {
    /// A question that looks for passages.
    Query,
    /// A passage.
    Document {
        /// Title of the page; may be empty.
        title: &'a str,
        /// Heading right above the passage; may be empty.
        heading: &'a str,
    },
}

/// Holds a passage to embed.
#[derive(Clone, Copy)]
pub struct Document<'a> {
    /// Title of the page.
    pub title: &'a str,
    /// Heading right above the passage, or the title.
    pub heading: &'a str,
    /// Text of the passage, title and headings included.
    pub text: &'a str,
}

/// Holds everything that a model gets, and the question and the passages for the offline provider, which asks
/// no model.
#[derive(Clone, PartialEq)]
pub struct Prompt {
    /// Stable part: the instructions.
    pub system: String,
    /// Conversation; the last message is the reader's, with the passages in it.
    pub messages: Vec<Message>,
    /// Question with the context it depends on: the text for which the passages were retrieved.
    pub question: String,
    /// Passages, in the order of their numbers.
    pub passages: Vec<Passage>,
}

/// Holds the next part of a model's answer.
#[derive(Clone, PartialEq)]
pub enum Delta {
    /// Next piece of visible text; never empty.
    Text(String),
    /// End of the answer; nothing follows.
    Finish(Finish),
}

/// Describes how a generation ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Finish {
    /// Reason why the model stopped.
    pub finish_reason: FinishReason,
    /// Model that wrote the answer; `None` if no model was asked.
    pub model: Option<String>,
    /// Tokens of prompt and answer; `None` if the model did not report them.
    pub usage: Option<Usage>,
}

/// Streams the deltas of one answer. Dropping the stream closes the connection to the model.
pub type DeltaStream = BoxStream<'static, Result<Delta, Error>>;

/// Reports the state of a service after its models have been looked up, which spends no tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// The service answers and accepts the key and the models, or no service is needed.
    Ok,
    /// The service refuses the key or a model; the text names the setting.
    Refused(String),
    /// The service is there but does not answer as expected.
    Failing(String),
    /// No connection opens.
    Unreachable(String),
}

/// Names a service over the network, for sentences to the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service<'a> {
    /// Name of the service.
    pub name: &'static str,
    /// Address of the service.
    pub address: &'a str,
    /// Setting that holds the address.
    pub setting: &'static str,
}

/// Bounds one call that embeds passages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Texts of one call; more are refused.
    pub max_items: usize,
    /// Estimated tokens of one call; a batch ends before the passage that exceeds them.
    pub max_tokens: usize,
}

/// Names the reason why a provider did not deliver. The text is the cause, for the log; a client never gets the
/// text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The service will refuse again until a setting changes (400, 401, 403, 404, a redirect).
    #[error("refused: {0}")]
    Refused(String),
    /// The service broke off or sent something unusable; the same request may succeed later.
    #[error("failed: {0}")]
    Failed(String),
    /// The service asked to wait (429, 503).
    #[error("busy: {cause}")]
    Busy {
        /// Time to wait, if the service named one.
        retry_after: Option<Duration>,
        /// Cause, for the log.
        cause: String,
    },
    /// A quota per day is spent, or a quota is zero: waiting a minute does not help.
    #[error("quota spent: {0}")]
    QuotaSpent(String),
    /// The service took too long.
    #[error("timed out: {0}")]
    Timeout(String),
    /// The stream of the service ended before its answer did.
    #[error("the stream ended without a finish reason")]
    Truncated,
}

impl Prompt {
    /// Returns an upper estimate of the prompt's tokens.
    pub fn estimated_tokens(&self) -> u64 {
        let texts = self.messages.iter().map(|message| &message.content).chain([&self.system]);
        texts.map(|text| estimate_tokens(text) as u64).sum()
    }
}

impl Error {
    /// Returns the label under which the metrics count the error.
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

// Questions, passages and answers are never logged, so `Debug` prints none of them.

impl fmt::Debug for Task<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Query => "Query",
            Self::Document { .. } => "Document",
        })
    }
}

impl fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("text", &Redacted(self.text)).finish_non_exhaustive()
    }
}

impl fmt::Debug for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.debug_tuple("Text").field(&Redacted(text)).finish(),
            Self::Finish(finish) => f.debug_tuple("Finish").field(finish).finish(),
        }
    }
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prompt")
            .field("messages", &self.messages.len())
            .field("passages", &self.passages.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Role;

    #[test]
    fn debug_shows_no_text_of_a_reader_or_a_page() {
        let text = "a private text";
        let passage = Passage {
            title: text.to_owned(),
            section: Some(text.to_owned()),
            url: text.to_owned(),
            text: text.to_owned(),
            score: 1.0,
        };
        let prompt = Prompt {
            system: text.to_owned(),
            messages: vec![Message { role: Role::User, content: text.to_owned() }],
            question: text.to_owned(),
            passages: vec![passage],
        };
        let document = Document { title: text, heading: text, text };
        let task = Task::Document { title: text, heading: text };
        let delta = Delta::Text(text.to_owned());
        let shown = format!("{prompt:?} {document:?} {task:?} {delta:?}");
        assert!(!shown.contains("private"), "{shown}");
    }
}
