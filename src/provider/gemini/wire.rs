//! Writes Gemini's request bodies and decodes its responses, streams and errors, without I/O.
//!
//! Facts about the wire come from recordings of the v1beta REST API and from the responses that its SDKs
//! tolerate: every field of a response may be missing, every enum may hold an unknown name, usage is
//! cumulative, a finish reason may come before the last text, and an error may arrive inside a 200.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::chat::{FinishReason, Role, Usage};
use crate::config::Thinking;
use crate::provider::types::{Document, Finish, Prompt, Task};

/// Tokens of an answer, thoughts included; a longer answer ends as `max_tokens`. Leaves room for a long answer
/// of a thinking model.
const MAX_OUTPUT_TOKENS: u32 = 8_192;

/// Writes the body of `embedContent`.
pub(super) fn embed_request(model: &str, text: &str, task: Task<'_>, dimensions: usize) -> Value {
    let mut body = json!({ "model": format!("models/{model}"), "outputDimensionality": dimensions });
    let text = if has_task_type(model) {
        match task {
            Task::Query => body["taskType"] = "RETRIEVAL_QUERY".into(),
            Task::Document { title, .. } => {
                body["taskType"] = "RETRIEVAL_DOCUMENT".into();
                if !title.is_empty() {
                    body["title"] = title.into();
                }
            }
        }
        text.to_owned()
    } else {
        match task {
            Task::Query => format!("task: search result | query: {text}"),
            Task::Document { title: "", .. } => format!("title: none | text: {text}"),
            Task::Document { title, .. } => format!("title: {title} | text: {text}"),
        }
    };
    body["content"] = json!({ "parts": [{ "text": text }] });
    body
}

/// Writes the body of `batchEmbedContents`.
pub(super) fn batch_request(model: &str, documents: &[Document<'_>], dimensions: usize) -> Value {
    let request = |&Document { title, heading, text }: &Document<'_>| {
        embed_request(model, text, Task::Document { title, heading }, dimensions)
    };
    json!({ "requests": documents.iter().map(request).collect::<Vec<_>>() })
}

/// Returns true if a model takes the task as `taskType`; `gemini-embedding-2` takes the task as a prefix of the
/// text.
fn has_task_type(model: &str) -> bool {
    !model.starts_with("gemini-embedding-2")
}

/// Writes the body of `streamGenerateContent`, without sampling parameters: newer models ignore or refuse them.
pub(super) fn generate_request(model: &str, prompt: &Prompt, thinking: Option<&Thinking>) -> Value {
    let contents: Vec<Value> = prompt
        .messages
        .iter()
        .map(|message| {
            let role = match message.role {
                Role::User => "user",
                Role::Assistant => "model",
            };
            json!({ "role": role, "parts": [{ "text": message.content }] })
        })
        .collect();
    let mut config = json!({ "maxOutputTokens": MAX_OUTPUT_TOKENS });
    if let Some(thinking) = thinking {
        config["thinkingConfig"] = match thinking {
            // The 3.x Flash-Lite line refuses a budget of 0; `minimal` is the least that it accepts.
            Thinking::Off if model.starts_with("gemini-3") && model.contains("flash-lite") => {
                json!({ "thinkingLevel": "minimal" })
            }
            Thinking::Off => json!({ "thinkingBudget": 0 }),
            Thinking::Level(level) => json!({ "thinkingLevel": level }),
            Thinking::Budget(budget) => json!({ "thinkingBudget": budget }),
        };
    }
    json!({
        "systemInstruction": { "parts": [{ "text": prompt.system }] },
        "contents": contents,
        "generationConfig": config,
    })
}

/// Holds the response of `embedContent`.
#[derive(Debug, Deserialize)]
pub(super) struct EmbedResponse {
    pub(super) embedding: Values,
}

/// Holds the response of `batchEmbedContents`.
#[derive(Debug, Deserialize)]
pub(super) struct BatchResponse {
    pub(super) embeddings: Vec<Values>,
}

/// Holds one embedding.
#[derive(Debug, Deserialize)]
pub(super) struct Values {
    // A value may be null: JSON has no other way to write a number that is not finite.
    values: Vec<Option<f32>>,
}

impl Values {
    /// Returns the vector, with NaN in place of null; the caller checks it.
    pub(super) fn into_vector(self) -> Vec<f32> {
        self.values.into_iter().map(|value| value.unwrap_or(f32::NAN)).collect()
    }
}

// None of these has `Debug`: they hold pieces of an answer.

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AnswerChunk {
    candidates: Option<Vec<AnswerCandidate>>,
    prompt_feedback: Option<PromptFeedback>,
    // The answer does not need these two fields, so an odd value in them must not fail the answer.
    usage_metadata: Option<Value>,
    model_version: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AnswerCandidate {
    content: Option<Content>,
    finish_reason: Option<String>,
    index: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Content {
    parts: Option<Vec<Part>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Part {
    text: Option<String>,
    thought: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PromptFeedback {
    block_reason: Option<String>,
}

/// Names the fault of an event that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EventFault {
    /// The event is not a JSON object of the known shape.
    Unusable,
    /// The event carries an error object.
    Api(ApiError),
}

/// Decodes the events of one stream; [`Decoder::finish`] returns how the stream ended.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    events: usize,
    finish_reason: Option<FinishReason>,
    model: Option<String>,
    usage: Option<Value>,
}

impl Decoder {
    /// Returns the visible text of one event; empty if the event has none.
    ///
    /// # Errors
    ///
    /// Returns a fault if the event is an error or no answer: skipping the event would lose words silently.
    pub(crate) fn push(&mut self, data: &str) -> Result<String, EventFault> {
        self.events += 1;
        if data.trim() == "[DONE]" {
            return Ok(String::new());
        }
        let value: Value = serde_json::from_str(data).map_err(|_| EventFault::Unusable)?;
        if let Some(error) = ApiError::from_value(&value) {
            return Err(EventFault::Api(error));
        }
        if !value.is_object() {
            return Err(EventFault::Unusable);
        }
        let chunk: AnswerChunk = serde_json::from_value(value).map_err(|_| EventFault::Unusable)?;
        Ok(self.apply(chunk))
    }

    /// Records the fields of a chunk and returns its visible text.
    fn apply(&mut self, chunk: AnswerChunk) -> String {
        let model = chunk.model_version.as_ref().and_then(Value::as_str).filter(|model| !model.is_empty());
        self.model = model.map(str::to_owned).or(self.model.take());
        self.usage = chunk.usage_metadata.filter(Value::is_object).or(self.usage.take());
        if chunk.prompt_feedback.is_some_and(|feedback| feedback.block_reason.is_some()) {
            self.finish_reason = Some(FinishReason::Blocked);
        }
        let mut candidates = chunk.candidates.unwrap_or_default().into_iter();
        let Some(candidate) = candidates.find(|candidate| candidate.index.unwrap_or(0) == 0) else {
            return String::new();
        };
        if let Some(reason) = candidate.finish_reason.as_deref().and_then(parse_finish_reason) {
            // Some proxies repeat STOP in every event, and tools end a round early: the last reason wins.
            self.finish_reason = Some(reason);
        }
        let parts = candidate.content.and_then(|content| content.parts).unwrap_or_default();
        parts.into_iter().filter(|part| part.thought != Some(true)).filter_map(|part| part.text).collect()
    }

    /// Returns true if a finish reason or a block reason has come.
    pub(super) fn is_finished(&self) -> bool {
        self.finish_reason.is_some()
    }

    /// Returns the number of events so far.
    pub(super) fn events(&self) -> usize {
        self.events
    }

    /// Returns how the stream ended; `None` if no finish reason came, which means that the stream was cut.
    /// `model` is the configured model, for a stream that did not name one.
    pub(crate) fn finish(&self, model: &str) -> Option<Finish> {
        Some(Finish {
            finish_reason: self.finish_reason?,
            model: Some(self.model.clone().unwrap_or_else(|| model.to_owned())),
            usage: self.usage.as_ref().map(read_usage),
        })
    }
}

/// Reads the tokens of `usageMetadata`; a count that is missing or odd counts as 0.
fn read_usage(metadata: &Value) -> Usage {
    let count = |key: &str| metadata.get(key).and_then(Value::as_u64).unwrap_or(0);
    let prompt_tokens = count("promptTokenCount");
    let completion_tokens = count("candidatesTokenCount").saturating_add(count("thoughtsTokenCount"));
    Usage { prompt_tokens, completion_tokens, total_tokens: prompt_tokens.saturating_add(completion_tokens) }
}

/// Reads a finish reason; `None` for a name that means that the model has not finished.
fn parse_finish_reason(name: &str) -> Option<FinishReason> {
    match name {
        "" | "FINISH_REASON_UNSPECIFIED" => None,
        "STOP" => Some(FinishReason::Stop),
        "MAX_TOKENS" => Some(FinishReason::MaxTokens),
        "SAFETY" => Some(FinishReason::Safety),
        "RECITATION" => Some(FinishReason::Recitation),
        "PROHIBITED_CONTENT" | "BLOCKLIST" | "SPII" => Some(FinishReason::Blocked),
        _ => Some(FinishReason::Other),
    }
}

/// Holds the parts of a `google.rpc.Status` that Docent uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ApiError {
    /// HTTP code; if the error has none, the code that belongs to the status name.
    pub(super) code: u16,
    /// Name of the code, as `NOT_FOUND`; empty if the error is not Google's own.
    pub(super) status: String,
    /// Message, for the log.
    pub(super) message: String,
    /// Time to wait, from `RetryInfo`.
    pub(super) retry_after: Option<Duration>,
    /// True for a quota per day or a quota of zero: waiting a minute does not help.
    pub(super) quota_spent: bool,
}

impl ApiError {
    /// Reads the error in a body `{"error": …}`, alone or as the first element of an array; `None` if the body
    /// has no error.
    pub(super) fn from_value(value: &Value) -> Option<Self> {
        let holder = value.as_array().and_then(|array| array.first()).unwrap_or(value);
        let error = holder.get("error").filter(|error| !error.is_null())?;
        let details = error.get("details").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
        let status = error.get("status").and_then(Value::as_str).unwrap_or_default();
        let number = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        Some(Self {
            code: number.unwrap_or_else(|| status_code(status)),
            status: status.to_owned(),
            message: format!("{status} {message}").trim().to_owned(),
            retry_after: details.iter().find_map(parse_retry_delay),
            quota_spent: message.contains("limit: 0") || details.iter().any(is_per_day),
        })
    }
}

/// Returns the HTTP code that belongs to a status name; 500 for an unknown name.
fn status_code(status: &str) -> u16 {
    match status {
        "RESOURCE_EXHAUSTED" => 429,
        "UNAVAILABLE" => 503,
        "DEADLINE_EXCEEDED" => 504,
        "INVALID_ARGUMENT" | "FAILED_PRECONDITION" => 400,
        "UNAUTHENTICATED" => 401,
        "PERMISSION_DENIED" => 403,
        "NOT_FOUND" => 404,
        _ => 500,
    }
}

/// Reads `RetryInfo.retryDelay`, a protobuf duration: decimal seconds and an `s`; `900ms` has been seen too.
fn parse_retry_delay(detail: &Value) -> Option<Duration> {
    let text = detail.get("retryDelay")?.as_str()?;
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s')?, 1.0),
    };
    Duration::try_from_secs_f64(number.trim().parse::<f64>().ok()? * unit).ok()
}

/// Returns true if a detail names a quota per day.
fn is_per_day(detail: &Value) -> bool {
    let violations = detail.get("violations").and_then(Value::as_array);
    violations.into_iter().flatten().any(|violation| {
        violation.get("quotaId").and_then(Value::as_str).is_some_and(|id| id.contains("PerDay"))
    })
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
