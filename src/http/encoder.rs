//! Encodes a response in the protocol of its route. Each protocol is one variant, with one arm in each method.
//!
//! An encoder turns each step of an answer into bytes, and a failure into the body or the event of its
//! protocol. An encoder neither counts nor logs: the pump does both, for every protocol. [`super::with_layers`]
//! puts a fresh encoder into every request, so that a failure outside a handler (404, 405, 413, a panic,
//! draining) finds the protocol of its route too.

use axum::http::HeaderValue;
use bytes::Bytes;

use super::native::wire as native;
use crate::chat::AnswerEvent;
use crate::error::Error;

/// Encodes one response in the protocol of its route.
#[derive(Debug, Clone)]
pub(crate) enum Encoder {
    /// Docent's own protocol, and the failures of every route that belongs to no other.
    Native(native::NativeEncoder),
    /// A protocol of two words, for the tests of what surrounds a protocol.
    #[cfg(test)]
    Bare,
}

/// Holds the body of a failure before the head.
pub(super) struct ErrorBody {
    /// Media type of the bytes.
    pub(super) media_type: HeaderValue,
    /// The body.
    pub(super) bytes: Vec<u8>,
}

impl Encoder {
    /// Encodes one step of an answer.
    pub(super) fn push(&mut self, event: &AnswerEvent, request_id: &str) -> Bytes {
        match self {
            Self::Native(encoder) => encoder.push(event, request_id),
            #[cfg(test)]
            Self::Bare => Bytes::from_static(b"step\n"),
        }
    }

    /// Encodes the failure that ends a stream.
    pub(super) fn fail(&mut self, error: &Error, request_id: &str) -> Bytes {
        match self {
            Self::Native(encoder) => encoder.fail(error, request_id),
            #[cfg(test)]
            Self::Bare => Bytes::from_static(b"failed\n"),
        }
    }

    /// Encodes the body of a failure before the head; `request_id` is the id the response's header carries.
    pub(super) fn error_body(&self, error: &Error, request_id: &str) -> ErrorBody {
        let (media_type, bytes) = match self {
            Self::Native(encoder) => (native::PROBLEM_TYPE, encoder.error_body(error, request_id)),
            #[cfg(test)]
            Self::Bare => ("text/x-bare", format!("bare: {}", error.public().code).into_bytes()),
        };
        ErrorBody { media_type: HeaderValue::from_static(media_type), bytes }
    }
}
