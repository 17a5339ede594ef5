//! Puts a streaming, cited chat on a documentation site.
//!
//! # Flow
//!
//! ```text
//! bytes ─http─▶ Question ─provider─▶ vector ─retrieval─▶ passages ─rag::prompt─▶ Prompt
//!       ─provider─▶ deltas ─rag::citations─▶ AnswerEvents ─http─▶ events on the wire, or one JSON object
//! ```
//!
//! # Layout
//!
//! A room is one of these modules. A room imports only rooms that stand below it in this list; the table in
//! `walls.rs` names them, and its tests check the imports of every file.
//!
//! - [`cli`]: runs the commands and decides how they end.
//! - [`http`]: serves HTTP: the machinery around every request, and one folder a protocol ([`http::native`]).
//! - [`app`]: holds everything a request needs, built by one function; readiness; the stages of a shutdown.
//! - [`startup`]: reaches the dependencies at the start, and waits for them.
//! - [`indexing`]: runs `docent index`: embeds passages and writes them into an index.
//! - [`docs`]: turns the pages of a site into passages, without an index or a provider.
//! - [`eval`]: measures retrieval and answers with questions whose answers are known.
//! - [`rag`]: turns a question into a stream of answer events.
//! - [`error`]: gives every failure its status, its code and its public text.
//! - [`retrieval`]: finds passages, on a Qdrant server or in the embedded index.
//! - [`provider`]: embeds and generates, by Gemini or offline.
//! - [`telemetry`]: sets up the log and the metrics.
//! - [`limits`]: bounds requests, and counts open answers, a client's requests and a day's spending.
//! - [`config`]: reads the settings, one file a concern, checked once before a port is bound.
//! - [`chat`]: holds the domain types; [`Question::new`](chat::Question::new) enforces every bound of a
//!   question.
//! - [`language`], [`text`]: leaves: the language of a text; cutting and cleaning texts.
//!
//! # A question's way
//!
//! `POST /chat` with `Accept: text/event-stream`, from the socket and back:
//!
//! 1. [`http::serve::serve`] accepts the connection; the socket gets a write deadline and a check that the
//!    reader is still there.
//! 2. [`http::router`] leads the request through the layers: [`http::middleware::finish_request`] begins the
//!    request's [`RequestLog`](http::request_log::RequestLog) with an id of its own;
//!    [`http::middleware::refuse_while_draining`] refuses new work during a shutdown.
//! 3. The protocol's handler, [`http::native::answer_question`], has the request admitted by
//!    [`http::admission::Call::admit`]: its client's rate, the form of the answer
//!    ([`http::accept::choose_form`]), type, size and bytes of the body.
//! 4. [`http::native::request::read_question`] reads the JSON with [`http::fields`], which collects every wrong
//!    field by its path, and makes a [`chat::Question`].
//! 5. [`http::pump::open`] takes one of [`limits::AnswerPermits`] and grounds the question.
//! 6. [`rag::Rag::ground`] builds the text to search for ([`rag::search_text::build`]: the question, and before
//!    a follow-up the earlier questions), embeds it ([`provider::Embedding::embed`], or a vector of the
//!    embedding cache), searches ([`retrieval::Index::search`]: each leg, fused by [`retrieval::fusion`],
//!    parsed by [`retrieval::payload`]), and keeps the passages that fit the prompt. Each stage runs in its
//!    [`rag::stage_runner`]: a deadline, figures, and a [`rag::circuit_breaker`]. A failure up to here has a
//!    status.
//! 7. [`rag::Rag::answer`] assembles the prompt ([`rag::prompt`]), reserves its cost ([`limits::Budget`]), and
//!    returns a lazy [`rag::AnswerStream`]. The model is not called until the stream is polled.
//! 8. [`ActiveAnswer::stream`](http::pump::ActiveAnswer::stream) makes the response: hyper polls the body, the
//!    body polls the answer. On its way back the response passes [`http::middleware::finish_request`], which
//!    adds the header with the id.
//! 9. [`rag::writers`] opens the model's stream ([`provider::Generation::generate`]), or the second model's;
//!    [`provider::upstream`] reads bounded lines, `provider::gemini::wire` decodes them into
//!    [`provider::Delta`]s.
//! 10. [`rag::answer`] passes each delta through [`rag::citations`], under the deadlines of the first token, of
//!     the gap and of the whole answer, and yields [`chat::AnswerEvent`]s: `Sources`, any number of `Text`,
//!     `Done`.
//! 11. [`http::pump`] encodes each event in the protocol of the route ([`http::encoder`],
//!     [`http::native::wire`]), sends a heartbeat when no event comes, and is the only place that counts the
//!     answer and notes its end.
//! 12. When the body has been sent or dropped, the last holder drops the request's log, which writes the one
//!     line.
//!
//! Ownership: the response owns its stream, and the stream owns the permit, the reserved budget and the call to
//! the model. No task and no channel stand between. A reader who leaves drops the response, and with it
//! everything above.
//!
//! Docent tries three things again, each in its own room: a call that failed quickly
//! ([`provider::upstream::retry`]), an answer that the first model did not begin ([`rag::writers`]), and a
//! stage that kept missing its deadline ([`rag::circuit_breaker`]). After the first token nothing is tried
//! again.
//!
//! For the way of a failure before the head, see [`http::middleware`].
//!
//! # Adding a protocol
//!
//! 1. A folder `http/NAME/`: `mod.rs` with `router()` and a handler of at most 25 lines
//!    ([`http::admission::Call::admit`], [`http::pump::open`], then `stream` or `collect`), `request.rs` (bytes
//!    → [`chat::Question`], with [`http::fields`]), `wire.rs` (the encoder and the error body, pure).
//!    [`http::native`] shows the shape.
//! 2. A variant of [`http::encoder::Encoder`] with its arms.
//! 3. A `merge(with_layers(…))` line in [`http::router`]. Every failure of its routes before the head has its
//!    error body from then on, also 405, 413, a panic and the drain.
//!
//! # Adding a provider
//!
//! 1. A folder `provider/NAME/` with its calls and its pure wire; lines and retries come from
//!    [`provider::upstream`].
//! 2. A variant of [`provider::Embedding`] or [`provider::Generation`], and one arm in each method:
//!    `is_metered`, `probe`, `batch_limits`, `new_index_dimensions`… Only [`config`] and [`provider`] name the
//!    new variant.
//! 3. A file `config/NAME.rs` with its settings, and a variant of [`config::ProviderConfig`].
//!
//! # Adding a setting
//!
//! 1. A row in [`config::SETTINGS`]: the flag, `--help` and the checks follow from it.
//! 2. A field in the struct of its concern, and the line that reads it, both in one file of [`config`].
//! 3. Its lines in `.env.example` and its row in the handbook's `configure.md`; tests compare both with the
//!    table.
//!
//! # Adding a source of pages
//!
//! 1. A file in [`docs`] that reads the source into [`docs::DocPage`]s; no network and no index there.
//! 2. A variant of [`docs::Docs`], and an arm in each of its methods.
//! 3. The option of [`cli`] that chooses it.

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
#[cfg(test)]
mod words;
