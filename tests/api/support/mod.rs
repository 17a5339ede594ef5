//! Holds the parts that the tests share: the server under test, the client that reads it, and the fakes that it
//! depends on.

#[macro_use]
pub mod grpc;
pub mod app;
pub mod binary;
#[cfg(feature = "embedded")]
pub mod edge_qdrant;
pub mod fake_gemini;
pub mod fake_qdrant;
pub mod faulty_proxy;
#[cfg(feature = "embedded")]
pub mod index_fixture;
pub mod problem;
pub mod stream;
pub mod wait;
pub mod word_vector;
