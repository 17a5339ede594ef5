//! Decides if another attempt can help after an error of Gemini's, and removes the API key from the error's
//! text.

use std::sync::Arc;

use reqwest::RequestBuilder;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

use super::wire::ApiError;
use crate::provider::types::Error;
use crate::provider::upstream::{Fault, Retry};
use crate::text::log_safe;

/// Holds the API key, sends it in one header, and removes it from texts.
#[derive(Clone)]
pub(super) struct ApiKey(Arc<SecretString>);

impl ApiKey {
    /// Wraps `key`.
    pub(super) fn new(key: SecretString) -> Self {
        Self(Arc::new(key))
    }

    /// Adds the key to a request, in `x-goog-api-key`.
    pub(super) fn authorise(&self, request: RequestBuilder) -> RequestBuilder {
        let mut key =
            HeaderValue::from_str(self.0.expose_secret()).unwrap_or_else(|_| HeaderValue::from_static(""));
        key.set_sensitive(true);
        request.header("x-goog-api-key", key)
    }

    /// Makes a text of Gemini's safe for a log line, and removes the key from the text.
    pub(super) fn redact(&self, text: &str) -> String {
        log_safe(&text.replace(self.0.expose_secret(), "[redacted]"))
    }

    /// Reads the error of a response by its code.
    pub(super) fn read_fault(&self, error: &ApiError) -> Fault {
        let cause = format!("HTTP {} {}", error.code, self.redact(&error.message)).trim_end().to_owned();
        match error.code {
            429 if error.quota_spent => Fault { error: Error::QuotaSpent(cause), retry: Retry::No },
            429 | 503 => Fault {
                error: Error::Busy { retry_after: error.retry_after, cause },
                retry: Retry::After(error.retry_after),
            },
            504 => Fault { error: Error::Timeout(cause), retry: Retry::Once },
            200..=299 => Fault::unusable("a success without an answer"),
            408 | 499 | 500..=599 => Fault { error: Error::Failed(cause), retry: Retry::After(None) },
            _ => Fault::refused(cause),
        }
    }

    /// Reads an error inside a 200. A refusal and a timeout become failures there, and the call is not
    /// repeated; other errors are read by their code.
    pub(super) fn read_stream_fault(&self, error: &ApiError) -> Fault {
        let fault = self.read_fault(error);
        match fault.error {
            Error::Refused(cause) | Error::Timeout(cause) => {
                Fault { error: Error::Failed(cause), retry: Retry::No }
            }
            _ => fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_never_shows_the_key() {
        let key = ApiKey::new("AIza-1".to_owned().into());
        let error = ApiError { code: 400, message: "key AIza-1 is bad".to_owned(), ..ApiError::default() };
        assert_eq!(key.read_fault(&error).error, Error::Refused("HTTP 400 key [redacted] is bad".to_owned()));
    }

    #[test]
    fn a_refusal_inside_a_stream_is_a_failure_and_a_request_to_wait_stays_one() {
        let key = ApiKey::new("key".to_owned().into());
        let fault = |code| key.read_stream_fault(&ApiError { code, ..ApiError::default() });
        for code in [400, 403, 504] {
            let Fault { error, retry } = fault(code);
            assert!(matches!((error, retry), (Error::Failed(_), Retry::No)), "{code}");
        }
        for code in [429, 503] {
            assert!(matches!(fault(code).error, Error::Busy { .. }), "{code}");
        }
    }
}
