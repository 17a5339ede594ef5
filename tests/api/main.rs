//! The server as a client sees it: the real binary's own `App::build` and `serve` on a free port, against fakes across
//! sockets.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod fake_gemini;
#[macro_use]
mod fake_qdrant;
#[cfg(feature = "embedded")]
mod bench;
mod binary;
#[cfg(feature = "embedded")]
mod edge_qdrant;
mod helpers;

mod chat;
mod cli;
#[cfg(feature = "embedded")]
mod embedded;
mod faults;
mod gemini;
#[cfg(feature = "embedded")]
mod index;
#[cfg(feature = "embedded")]
mod index_command;
#[cfg(feature = "embedded")]
mod index_search;
#[cfg(feature = "embedded")]
mod index_trouble;
mod limits;
mod operation;
mod readers;
mod remote;
mod security;
mod site;
mod soak;
mod wire;
