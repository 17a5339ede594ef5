//! Writes the native protocol: the events of a stream, the JSON answer, and the problem object of a failure. No
//! I/O.
//!
//! A stream is `sources`, `token`…, then `done` or `error`; the JSON answer holds the same values in one
//! object.

use bytes::Bytes;
use serde::Serialize;

use crate::chat::{AnswerEvent, Source, Summary, Timings, Usage, WholeAnswer};
use crate::error::{Error, FieldError, whole_seconds};
use crate::http::sse;

/// Media type of a [`Problem`] (RFC 9457).
pub(in crate::http) const PROBLEM_TYPE: &str = "application/problem+json";

/// Writes each step of an answer as one server-sent event. Keeps no state.
#[derive(Debug, Clone)]
pub(crate) struct NativeEncoder;

impl NativeEncoder {
    /// Writes one step of an answer.
    pub(in crate::http) fn push(&mut self, event: &AnswerEvent, request_id: &str) -> Bytes {
        match event {
            AnswerEvent::Sources(sources) => {
                let sources = sources.iter().map(SourceBody::from).collect();
                sse::frame("sources", &SourcesEvent { request_id, sources })
            }
            AnswerEvent::Text(text) => sse::frame("token", &TokenEvent { text }),
            AnswerEvent::Done(summary) => sse::frame("done", &SummaryBody::new(summary, request_id)),
        }
    }

    /// Writes the failure that ends a stream.
    pub(in crate::http) fn fail(&mut self, error: &Error, request_id: &str) -> Bytes {
        sse::frame("error", &Problem::new(error, request_id))
    }

    /// Writes the body of a failure before the head.
    pub(in crate::http) fn error_body(&self, error: &Error, request_id: &str) -> Vec<u8> {
        serde_json::to_vec(&Problem::new(error, request_id)).unwrap_or_default()
    }
}

/// Holds the data of a `sources` event.
#[derive(Serialize)]
struct SourcesEvent<'a> {
    request_id: &'a str,
    sources: Vec<SourceBody<'a>>,
}

/// Holds the data of a `token` event.
#[derive(Serialize)]
struct TokenEvent<'a> {
    text: &'a str,
}

/// Holds the JSON answer.
#[derive(Serialize)]
pub(super) struct AnswerBody<'a> {
    response: &'a str,
    sources: Vec<SourceBody<'a>>,
    #[serde(flatten)]
    summary: SummaryBody<'a>,
}

impl<'a> AnswerBody<'a> {
    /// Joins the parts of a whole answer.
    pub(super) fn new(answer: &'a WholeAnswer, request_id: &'a str) -> Self {
        let WholeAnswer { response, sources, summary } = answer;
        let sources = sources.iter().map(SourceBody::from).collect();
        Self { response, sources, summary: SummaryBody::new(summary, request_id) }
    }
}

/// Holds a source, as both forms of an answer write it.
#[derive(Serialize)]
struct SourceBody<'a> {
    number: usize,
    title: &'a str,
    section: Option<&'a str>,
    url: &'a str,
    snippet: &'a str,
    score: f64,
}

impl<'a> From<&'a Source> for SourceBody<'a> {
    fn from(source: &'a Source) -> Self {
        let Source { number, title, section, url, snippet, score } = source;
        Self { number: *number, title, section: section.as_deref(), url, snippet, score: *score }
    }
}

/// Holds the data of a `done` event, which are also the last members of the JSON answer.
#[derive(Serialize)]
struct SummaryBody<'a> {
    status: &'static str,
    cited: &'a [usize],
    finish_reason: &'static str,
    model: Option<&'a str>,
    usage: Option<UsageBody>,
    timings: TimingsBody,
    request_id: &'a str,
}

impl<'a> SummaryBody<'a> {
    fn new(summary: &'a Summary, request_id: &'a str) -> Self {
        Self {
            status: summary.status.as_str(),
            cited: &summary.cited,
            finish_reason: summary.finish_reason.as_str(),
            model: summary.model.as_deref(),
            usage: summary.usage.map(UsageBody::from),
            timings: summary.timings.into(),
            request_id,
        }
    }
}

/// Counts the tokens of an answer.
#[derive(Serialize)]
struct UsageBody {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

impl From<Usage> for UsageBody {
    fn from(usage: Usage) -> Self {
        let Usage { prompt_tokens, completion_tokens, total_tokens } = usage;
        Self { prompt_tokens, completion_tokens, total_tokens }
    }
}

/// Holds the times of an answer, in milliseconds.
#[derive(Serialize)]
struct TimingsBody {
    embed_ms: f64,
    retrieve_ms: f64,
    first_token_ms: Option<f64>,
    total_ms: f64,
}

impl From<Timings> for TimingsBody {
    fn from(timings: Timings) -> Self {
        let Timings { embed_ms, retrieve_ms, first_token_ms, total_ms } = timings;
        Self { embed_ms, retrieve_ms, first_token_ms, total_ms }
    }
}

/// Holds an RFC 9457 problem object, as a body or as the data of an `error` event.
#[derive(Serialize)]
struct Problem<'a> {
    /// `urn:docent:problem:` and the code.
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'static str,
    code: &'static str,
    retryable: bool,
    request_id: &'a str,
    /// Seconds to wait; absent where waiting does not help.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    /// The wrong fields of an `invalid_request`; absent otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem<'a>>,
}

/// Names one wrong field of a request.
#[derive(Serialize)]
struct FieldProblem<'a> {
    field: &'a str,
    message: &'a str,
}

impl<'a> Problem<'a> {
    fn new(error: &'a Error, request_id: &'a str) -> Self {
        let public = error.public();
        let wrong = |FieldError { field, message }: &'a FieldError| FieldProblem { field, message };
        Self {
            r#type: format!("urn:docent:problem:{}", public.code),
            title: public.title,
            status: public.status,
            detail: public.detail,
            code: public.code,
            retryable: public.retryable,
            request_id,
            retry_after: public.retry_after.map(whole_seconds),
            errors: error.fields().iter().map(wrong).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::chat::{FinishReason, Status};

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_stream_is_sources_then_tokens_then_done() {
        let source = Source {
            number: 1,
            title: "Deploy".to_owned(),
            section: None,
            url: "/docs/deploy#docker".to_owned(),
            snippet: "Run".to_owned(),
            score: 0.5,
        };
        let summary = Summary {
            status: Status::Answered,
            cited: vec![1],
            finish_reason: FinishReason::MaxTokens,
            model: None,
            usage: Some(Usage { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }),
            timings: Timings::default(),
            invalid_citations: 4,
        };
        let mut encoder = NativeEncoder;
        let mut push = |event: AnswerEvent| text(&encoder.push(&event, "id")).to_owned();
        assert_eq!(
            push(AnswerEvent::Sources(vec![source])),
            "event: sources\ndata: {\"request_id\":\"id\",\"sources\":[{\"number\":1,\"title\":\"Deploy\",\"section\":null,\
             \"url\":\"/docs/deploy#docker\",\"snippet\":\"Run\",\"score\":0.5}]}\n\n"
        );
        assert_eq!(push(AnswerEvent::Text("a\nb".to_owned())), "event: token\ndata: {\"text\":\"a\\nb\"}\n\n");
        assert_eq!(
            push(AnswerEvent::Done(summary)),
            "event: done\ndata: {\"status\":\"answered\",\"cited\":[1],\"finish_reason\":\"max_tokens\",\"model\":null,\
             \"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3},\"timings\":{\"embed_ms\":0.0,\
             \"retrieve_ms\":0.0,\"first_token_ms\":null,\"total_ms\":0.0},\"request_id\":\"id\"}\n\n"
        );
    }

    #[test]
    fn a_failure_is_the_same_problem_as_a_body_and_as_an_event() {
        let error = Error::RateLimited(Duration::from_millis(1_500));
        let body = String::from_utf8(NativeEncoder.error_body(&error, "id")).unwrap();
        assert_eq!(text(&NativeEncoder.fail(&error, "id")), format!("event: error\ndata: {body}\n\n"));
        assert!(body.starts_with("{\"type\":\"urn:docent:problem:rate_limited\",\"title\":"), "{body}");
        assert!(body.ends_with("\"retryable\":true,\"request_id\":\"id\",\"retry_after\":2}"), "{body}");
    }

    #[test]
    fn wrong_fields_are_named_and_a_cause_never_leaks() {
        let wrong = FieldError { field: "top_k".to_owned(), message: "must be a number".to_owned() };
        let body = NativeEncoder.error_body(&Error::InvalidRequest(vec![wrong]), "id");
        let body = String::from_utf8(body).unwrap();
        assert!(
            body.ends_with("\"errors\":[{\"field\":\"top_k\",\"message\":\"must be a number\"}]}"),
            "{body}"
        );
        let body = NativeEncoder.error_body(&Error::Internal("cause".to_owned()), "id");
        assert!(!String::from_utf8(body).unwrap().contains("cause"));
    }
}
