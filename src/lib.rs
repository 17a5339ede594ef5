//! Docent puts a streaming, cited chat on a documentation site.
//!
//! # Flow
//!
//! ```text
//! bytes ─http─▶ Question ─provider─▶ vector ─retrieval─▶ passages ─rag::prompt─▶ Prompt
//!       ─provider─▶ deltas ─rag::citations─▶ AnswerEvents ─http─▶ events on the wire, or one JSON object
//! ```
//!
//! No task and no channel per request: the response owns its stream, so a reader who leaves cancels the model.
//!
//! # Layout
//!
//! - [`cli`]: the commands, and how they end.
//! - [`config`]: settings, validated once before a port is bound.
//! - [`app`]: everything a request needs, built by one function.
//! - [`startup`]: waiting for the dependencies, and why a start fails.
//! - [`http`]: routes, the forms of an answer, the accept loop.
//! - [`rag`]: from a question to a stream of answer events.
//! - [`provider`]: embedding and generation, by Gemini or offline.
//! - [`retrieval`]: the passages, from a Qdrant server or the index in this process.
//! - [`docs`]: reads pages and cuts them into passages.
//! - [`indexing`]: writes the passages into an index.
//! - [`eval`]: measuring retrieval and answers with known questions.
//! - [`chat`]: the domain types; imports no other room.
//! - [`language`]: detecting languages and splitting texts into words; imports no other room.
//! - [`text`]: cutting and cleaning texts; imports no other room.
//! - [`error`]: status, code and public text of every failure.
//! - [`limits`]: bounds of a request; counters of open answers, requests a minute and a day's spending.
//! - [`telemetry`]: the log and the metrics.

#![warn(unreachable_pub)]

pub mod app;
pub mod chat;
pub mod cli;
pub mod config;
pub mod docs;
pub mod error;
pub mod eval;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod http;
pub mod indexing;
pub mod language;
pub mod limits;
pub mod provider;
pub mod rag;
pub mod retrieval;
pub mod startup;
pub mod telemetry;
pub mod text;
#[cfg(test)]
mod walls;
