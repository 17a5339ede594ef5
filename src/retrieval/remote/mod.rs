//! Searches and writes a collection on a Qdrant server, over gRPC.
//!
//! Files import downwards only: `search`, `writer` → `lease` → `collection` → `connection` → `wire`.

mod collection;
mod connection;
mod lease;
mod search;
mod wire;
mod writer;

pub use search::Remote;
pub use writer::RemoteWriter;
