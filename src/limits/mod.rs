//! Bounds requests, open answers, each client's rate of requests and a day's spending, so that none of them
//! grows without bound.
//!
//! A bound that only one room applies is in that room, beside the code that applies it; a bound that two rooms
//! share is here. The counters count in this process only: several servers do not share them.

mod budget;
mod permits;
mod rate;
mod request;

pub use budget::{Budget, Spending};
pub use permits::AnswerPermits;
pub use rate::RateLimit;
pub use request::*;

/// Bytes of an answer's text; a longer text is cut there and ends as `max_tokens`.
pub const MAX_ANSWER_BYTES: usize = 1024 * 1024;
