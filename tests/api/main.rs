//! Tests the server as a client sees it: the real binary's own `App::build` and `serve` on a free port,
//! against fakes across sockets.
//!
//! # Index
//!
//! Each behaviour has a file, and `cargo test --test api NAME` runs it alone. [`support`] holds the helpers and
//! the fakes.
//!
//! - [`health`]: checks `GET /health` and `GET /ready`.
//! - [`startup`]: checks the faults that stop the start, each with its sentence, and the faults that do not.
//! - [`shutdown`]: checks that a server which is asked to stop finishes its open answers within the grace, and
//!   takes no new work.
//! - [`cli`]: checks the binary as a process: its exit codes, `--help`, and the output of `check`.
//! - [`demo`]: checks `docent demo`: its offline answers, and the pages that its citations lead to.
//! - [`chat`]: checks `POST /chat` in both of its forms: the order of events, the one JSON object, the marks
//!   of a refusal.
//! - [`bad_requests`]: checks the problem that each wrong request gets, and that the problem names the wrong
//!   fields.
//! - [`body_bounds`]: checks that a body is bounded in size and in time, and that a client whose body is
//!   refused can read the reason.
//! - [`connections`]: checks single connections: heads that are slow, too large or no HTTP, idle connections,
//!   and pipelined requests.
//! - [`disconnects`]: checks that a reader who leaves or stops reading ends the work for its answer, at every
//!   stage.
//! - [`backpressure`]: checks that a slow reader slows the model down instead of filling memory.
//! - [`concurrency`]: checks the permits for answers: a full server sheds, many answers stream at once, and no
//!   answer leaves anything behind.
//! - [`heartbeat`]: checks that a silent stream is kept open with comment lines.
//! - [`deadlines`]: checks the deadlines of each stage and of the whole answer.
//! - [`faults`]: checks the fault matrix: every fault of every stage's dependency ends in one clear way for
//!   the client.
//! - [`retries`]: checks which failures are tried again, how often and when.
//! - [`circuit_breaker`]: checks that a dead dependency fails fast after a while, and that a dependency which
//!   comes back is used again.
//! - [`fallback`]: checks when the second model answers, and that a second model that does not exist stops the
//!   start.
//! - [`budget`]: checks the daily budget: the costs that count, and that a spent budget answers with the
//!   sources alone.
//! - [`rate_limit`]: checks the rate limit of each client, behind proxies and without.
//! - [`embedding_cache`]: checks that the embedding of a repeated question is taken from the cache.
//! - [`gemini_requests`]: checks the requests to Gemini: the key in its header alone, the prompt, the
//!   parameters.
//! - [`gemini_streams`]: checks how the events of Gemini become an answer: thoughts, early finish reasons,
//!   bounds, any split on the wire.
//! - [`qdrant_search`]: checks the queries to a remote index over gRPC, and the passages that are read from its
//!   payloads.
//! - [`hostile_text`]: checks that text from outside stays text: in the prompt, in links and among events.
//! - [`security_headers`]: checks the headers that keep a browser from guessing types, running scripts and
//!   framing pages.
//! - [`cors`]: checks which origins may read a response.
//! - [`static_files`]: checks the files that a browser loads, the widget on any site and the demo page: CORS,
//!   caching, compression.
//! - [`metrics`]: checks `GET /metrics`: its token, its counts and its labels.
//! - [`request_log`]: checks the one log line of each request: its fields, its ids, and that nothing from
//!   outside forges a line.
//! - [`embedded_index`]: checks the embedded index: the results of a search, and that a published generation
//!   survives every end of a writer.
//! - [`indexing`]: checks a run that writes an index, of either kind: the passages that are embedded, kept and
//!   stored.
//! - [`index_command`]: checks the binary's `index`: its output and its exit codes.
//! - [`index_interrupted`]: checks runs that are refused, cut off or killed: the index answers all the while,
//!   and the next run goes on.
//! - [`index_search`]: checks the passages found in an index that a run wrote: equal in both kinds, found at
//!   once, in every language.
//! - [`eval_command`]: checks the binary's `eval`: its measures and its exit codes.
//! - [`soak`]: runs a mixed load against the binary while its dependencies break at random and its readers come
//!   and go.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

mod backpressure;
mod bad_requests;
mod body_bounds;
mod budget;
mod chat;
mod circuit_breaker;
mod cli;
mod concurrency;
mod connections;
mod cors;
mod deadlines;
mod demo;
mod disconnects;
#[cfg(feature = "embedded")]
mod embedded_index;
mod embedding_cache;
#[cfg(feature = "embedded")]
mod eval_command;
mod fallback;
mod faults;
mod gemini_requests;
mod gemini_streams;
mod health;
mod heartbeat;
mod hostile_text;
#[cfg(feature = "embedded")]
mod index_command;
#[cfg(feature = "embedded")]
mod index_interrupted;
#[cfg(feature = "embedded")]
mod index_search;
#[cfg(feature = "embedded")]
mod indexing;
mod metrics;
mod qdrant_search;
mod rate_limit;
mod request_log;
mod retries;
mod security_headers;
mod shutdown;
mod soak;
mod startup;
mod static_files;

#[test]
fn the_index_lists_every_file_with_its_sentence() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api");
    let joined_docs = |path: &std::path::Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let docs: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
        docs.split(|line| line.is_empty()).map(|part| part.join(" ")).collect::<Vec<_>>()
    };
    let index = joined_docs(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/main.rs").as_ref()).join("\n");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if ["main", "support"].contains(&name.as_str()) {
            continue;
        }
        let path = if path.is_dir() { path.join("mod.rs") } else { path };
        let sentence = joined_docs(&path)[0].clone();
        let line = format!("- [`{name}`]: {}{}", sentence[..1].to_lowercase(), &sentence[1..]);
        assert!(index.contains(&line), "main.rs does not list this:\n{line}");
    }
}
