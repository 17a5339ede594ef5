//! Bounds a request, and counts what must not grow without bound: open answers, a client's requests, a day's
//! spending.
//!
//! A bound that one room alone applies is written in that room, beside the code that applies it; a bound that
//! two rooms share is here. The counters count in this process alone.

mod budget;
mod permits;
mod rate;
mod request;

pub use budget::{Budget, Spending};
pub use permits::AnswerPermits;
pub use rate::RateLimit;
pub use request::*;

/// Bytes of an answer's text; a longer one is cut there and ends as `max_tokens`.
pub const MAX_ANSWER_BYTES: usize = 1024 * 1024;
