//! Gives every failure its status, its code and its public text. No other place does so.
//!
//! The rooms below know no HTTP: `provider::Error` and `retrieval::Error` say what went wrong with a
//! dependency, and [`Error`] names the stage. A client reads text fixed per code, in the shape of its protocol.
//! The cause is logged once, in the request's log line: the middleware notes the failure before the head, the
//! pump after it, and the request's log writes the line when it is dropped.
//!
//! A new failure is a variant here, an arm of [`Error::public`], a row of the test below, and a row of the
//! handbook's page of errors.

use std::time::Duration;

use crate::chat::StageName;
use crate::{provider, retrieval};

/// Names the reason why a request failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// 400 `malformed_json`: the body is not JSON, or did not arrive whole.
    #[error("the body is not JSON: {0}")]
    MalformedJson(String),
    /// 404 `not_found`: no such route.
    #[error("no such route")]
    NotFound,
    /// 405 `method_not_allowed`: the route exists, but for another method.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// 406 `not_acceptable`: `Accept` admits neither a stream nor JSON.
    #[error("nothing acceptable")]
    NotAcceptable,
    /// 413 `payload_too_large`: the body exceeds [`crate::limits::MAX_BODY_BYTES`].
    #[error("the body is too large")]
    PayloadTooLarge,
    /// 415 `unsupported_media_type`: the body is not declared as JSON.
    #[error("the body is not application/json")]
    UnsupportedMediaType,
    /// 422 `invalid_request`: fields are wrong.
    #[error("{} invalid field(s), first: {}", .0.len(), .0.first().map_or("?", |e| e.field.as_str()))]
    InvalidRequest(Vec<FieldError>),
    /// 401 `unauthorized`: `/metrics` without its token.
    #[error("not the METRICS_TOKEN")]
    Unauthorized,
    /// 429 `rate_limited`: this client asks more often than `RATE_LIMIT`.
    #[error("beyond RATE_LIMIT")]
    RateLimited(Duration),
    /// 503 `overloaded`: every permit is taken, or the server is draining.
    #[error("overloaded: {0}")]
    Overloaded(&'static str),
    /// 502 `embedding_failed`, or 503, 504 by what the provider said.
    #[error("embed: {0}")]
    Embedding(#[source] provider::Error),
    /// 502 `retrieval_failed`, or 503, 504 by what the index said.
    #[error("retrieve: {0}")]
    Retrieval(#[from] retrieval::Error),
    /// 502 `generation_failed` or `answer_truncated`, or 503, 504 by what the provider said.
    #[error("generate: {0}")]
    Generation(#[source] provider::Error),
    /// 504 `upstream_timeout`: the circuit breaker of a stage that keeps missing its deadline is open.
    #[error("{}: not asked, because it has kept missing its deadline", .stage.as_str())]
    CircuitOpen {
        /// Stage whose circuit breaker is open.
        stage: StageName,
        /// Time after which another question may be admitted.
        retry_after: Duration,
    },
    /// 504 `upstream_timeout`: the whole answer missed `ANSWER_TIMEOUT`.
    #[error("the answer missed ANSWER_TIMEOUT")]
    AnswerTimeout,
    /// 500 `internal`: a fault of Docent.
    #[error("internal: {0}")]
    Internal(String),
}

/// Names a wrong field of a request and what the field must be, never the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Path of the field in its protocol, as `history[0].role`; empty for the whole body.
    pub field: String,
    /// End of a sentence that begins with the field: "must be a string".
    pub message: String,
}

/// Holds the public side of an [`Error`], fixed per code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicError {
    /// HTTP status.
    pub status: u16,
    /// Code for programs, fixed by the contract.
    pub code: &'static str,
    /// Title of a few words.
    pub title: &'static str,
    /// Sentence that a reader can be shown.
    pub detail: &'static str,
    /// True if the same request may succeed later.
    pub retryable: bool,
    /// Time to wait, if waiting helps.
    pub retry_after: Option<Duration>,
}

/// Time that a client is asked to wait when the server is full.
const OVERLOADED_RETRY_AFTER: Duration = Duration::from_secs(1);

impl Error {
    /// Returns status, code and text for the client.
    pub fn public(&self) -> PublicError {
        match self {
            Self::MalformedJson(_) => {
                request_fault(400, "malformed_json", "Malformed JSON", "The request body is not valid JSON.")
            }
            Self::NotFound => request_fault(404, "not_found", "Not found", "There is nothing at this address."),
            Self::MethodNotAllowed => request_fault(
                405,
                "method_not_allowed",
                "Method not allowed",
                "This address does not take this method; see the Allow header.",
            ),
            Self::NotAcceptable => request_fault(
                406,
                "not_acceptable",
                "Not acceptable",
                "The answer comes as text/event-stream or application/json; Accept admits neither.",
            ),
            Self::PayloadTooLarge => request_fault(
                413,
                "payload_too_large",
                "Payload too large",
                "The request body is larger than 1 MiB.",
            ),
            Self::UnsupportedMediaType => request_fault(
                415,
                "unsupported_media_type",
                "Unsupported media type",
                "The request body must be sent as application/json.",
            ),
            Self::InvalidRequest(_) => request_fault(
                422,
                "invalid_request",
                "Invalid request",
                "Some fields of the request are wrong; see errors.",
            ),
            Self::Unauthorized => request_fault(
                401,
                "unauthorized",
                "Unauthorized",
                "This address asks for a bearer token, which is missing or wrong.",
            ),
            Self::RateLimited(wait) => PublicError {
                retryable: true,
                retry_after: Some(*wait),
                ..request_fault(
                    429,
                    "rate_limited",
                    "Rate limited",
                    "Too many questions; wait before the next one.",
                )
            },
            Self::Overloaded(_) => PublicError {
                retryable: true,
                retry_after: Some(OVERLOADED_RETRY_AFTER),
                ..request_fault(503, "overloaded", "Overloaded", "The server is busy; try again in a moment.")
            },
            Self::Embedding(error) => from_provider(error, EMBEDDING_FAILED),
            Self::Generation(error) => from_provider(error, GENERATION_FAILED),
            Self::Retrieval(error) => from_retrieval(error),
            Self::AnswerTimeout => UPSTREAM_TIMEOUT,
            Self::CircuitOpen { retry_after, .. } => {
                PublicError { retry_after: Some(*retry_after), ..UPSTREAM_TIMEOUT }
            }
            Self::Internal(_) => {
                request_fault(500, "internal", "Internal error", "Something went wrong on the server.")
            }
        }
    }

    /// Returns the wrong fields of an [`Error::InvalidRequest`]; no field for any other failure.
    pub fn fields(&self) -> &[FieldError] {
        match self {
            Self::InvalidRequest(fields) => fields,
            _ => &[],
        }
    }
}

/// Rounds a duration up to whole seconds, as `Retry-After` takes them, so that no client tries again too early.
pub fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

const EMBEDDING_FAILED: PublicError = PublicError {
    status: 502,
    code: "embedding_failed",
    title: "Embedding failed",
    detail: "The question could not be prepared for the search.",
    retryable: true,
    retry_after: None,
};

const RETRIEVAL_FAILED: PublicError = PublicError {
    status: 502,
    code: "retrieval_failed",
    title: "Retrieval failed",
    detail: "The documentation could not be searched.",
    retryable: true,
    retry_after: None,
};

const GENERATION_FAILED: PublicError = PublicError {
    status: 502,
    code: "generation_failed",
    title: "Generation failed",
    detail: "The answer could not be written.",
    retryable: true,
    retry_after: None,
};

const UPSTREAM_BUSY: PublicError = PublicError {
    status: 503,
    code: "upstream_busy",
    title: "Upstream busy",
    detail: "A service the answer needs is busy; try again later.",
    retryable: true,
    retry_after: None,
};

const UPSTREAM_TIMEOUT: PublicError = PublicError {
    status: 504,
    code: "upstream_timeout",
    title: "Upstream timeout",
    detail: "A service the answer needs took too long.",
    retryable: true,
    retry_after: None,
};

const ANSWER_TRUNCATED: PublicError = PublicError {
    status: 502,
    code: "answer_truncated",
    title: "Answer truncated",
    detail: "The answer broke off before its end.",
    retryable: true,
    retry_after: None,
};

/// Makes the public side of a fault of the request itself: sending the request again changes nothing.
const fn request_fault(
    status: u16,
    code: &'static str,
    title: &'static str,
    detail: &'static str,
) -> PublicError {
    PublicError { status, code, title, detail, retryable: false, retry_after: None }
}

fn from_provider(error: &provider::Error, failed: PublicError) -> PublicError {
    match error {
        provider::Error::Refused(_) => PublicError { retryable: false, ..failed },
        provider::Error::Failed(_) => failed,
        provider::Error::Busy { retry_after, .. } => PublicError { retry_after: *retry_after, ..UPSTREAM_BUSY },
        provider::Error::QuotaSpent(_) => PublicError { retryable: false, ..UPSTREAM_BUSY },
        provider::Error::Timeout(_) => UPSTREAM_TIMEOUT,
        provider::Error::Truncated => ANSWER_TRUNCATED,
    }
}

fn from_retrieval(error: &retrieval::Error) -> PublicError {
    match error {
        retrieval::Error::Refused(_) => PublicError { retryable: false, ..RETRIEVAL_FAILED },
        retrieval::Error::Failed(_) => RETRIEVAL_FAILED,
        retrieval::Error::Busy { retry_after, .. } => {
            PublicError { retry_after: *retry_after, ..UPSTREAM_BUSY }
        }
        retrieval::Error::Timeout => UPSTREAM_TIMEOUT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_BODY_BYTES;

    #[test]
    fn the_text_for_a_body_that_is_too_large_names_the_bound() {
        let bound = format!(" {} MiB.", MAX_BODY_BYTES / 1024 / 1024);
        assert!(Error::PayloadTooLarge.public().detail.ends_with(&bound), "{bound}");
    }

    /// Lists every code of the contract with its status and whether a retry may help.
    #[test]
    fn every_error_has_the_status_code_and_retryability_of_the_contract() {
        use provider::Error as P;
        use retrieval::Error as R;
        let text = || "cause".to_owned();
        let wait = Duration::from_millis(1_500);
        let busy = || P::Busy { retry_after: Some(wait), cause: text() };
        let table = [
            (Error::MalformedJson(text()), 400, "malformed_json", false, None),
            (Error::NotFound, 404, "not_found", false, None),
            (Error::MethodNotAllowed, 405, "method_not_allowed", false, None),
            (Error::NotAcceptable, 406, "not_acceptable", false, None),
            (Error::PayloadTooLarge, 413, "payload_too_large", false, None),
            (Error::UnsupportedMediaType, 415, "unsupported_media_type", false, None),
            (Error::InvalidRequest(vec![]), 422, "invalid_request", false, None),
            (Error::Overloaded("full"), 503, "overloaded", true, Some(1)),
            (Error::Embedding(P::Refused(text())), 502, "embedding_failed", false, None),
            (Error::Embedding(P::Failed(text())), 502, "embedding_failed", true, None),
            (Error::Embedding(busy()), 503, "upstream_busy", true, Some(2)),
            (Error::Embedding(P::QuotaSpent(text())), 503, "upstream_busy", false, None),
            (Error::Embedding(P::Timeout(text())), 504, "upstream_timeout", true, None),
            (Error::Retrieval(R::Refused(text())), 502, "retrieval_failed", false, None),
            (Error::Retrieval(R::Failed(text())), 502, "retrieval_failed", true, None),
            (Error::Retrieval(R::Busy { retry_after: None, cause: text() }), 503, "upstream_busy", true, None),
            (Error::Retrieval(R::Timeout), 504, "upstream_timeout", true, None),
            (Error::Generation(P::Refused(text())), 502, "generation_failed", false, None),
            (Error::Generation(P::Failed(text())), 502, "generation_failed", true, None),
            (Error::Generation(P::Truncated), 502, "answer_truncated", true, None),
            (Error::Unauthorized, 401, "unauthorized", false, None),
            (Error::RateLimited(wait), 429, "rate_limited", true, Some(2)),
            (
                Error::CircuitOpen { stage: StageName::Embed, retry_after: wait },
                504,
                "upstream_timeout",
                true,
                Some(2),
            ),
            (Error::AnswerTimeout, 504, "upstream_timeout", true, None),
            (Error::Internal(text()), 500, "internal", false, None),
        ];
        for (error, status, code, retryable, retry_after) in table {
            let public = error.public();
            assert_eq!(
                (public.status, public.code, public.retryable, public.retry_after.map(whole_seconds)),
                (status, code, retryable, retry_after),
                "{error}"
            );
            assert!(!format!("{public:?}").contains("cause"), "a cause leaked into {public:?}");
        }
    }
}
