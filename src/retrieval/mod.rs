//! Finding the passages a question is about: on a Qdrant server, or in the index that lives in this process.
//!
//! Both answer alike: a dense leg and, where the index has sparse vectors, a BM25 leg, fused by one rule
//! ([`fusion`]), and payloads of any common indexer read by one reader ([`payload`]).

pub mod bm25;
mod choice;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod fusion;
pub mod payload;
pub mod remote;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::chat::{Filter, Passage, Vector};

use fusion::{Candidate, fuse};
use payload::{Payload, Reading};

#[cfg(feature = "embedded")]
pub use embedded::Embedded;
pub use remote::Remote;

/// Candidates each leg contributes for one wanted passage: fusion needs more than it returns.
const CANDIDATES_PER_PASSAGE: usize = 4;
/// Parts of the best score of a leg that are told apart.
const MEANT_DIGITS: f64 = 1e5;
/// Points looked at to learn the payload's keys.
const SAMPLE_POINTS: u32 = 16;
/// Fewest candidates of a leg.
const MIN_CANDIDATES: usize = 20;

/// What to search.
#[derive(Debug)]
#[cfg_attr(feature = "embedded", expect(clippy::large_enum_variant, reason = "there is one in a process"))]
pub enum Index {
    /// A Qdrant server, over gRPC.
    Remote(Remote),
    /// `qdrant-edge`, in this process.
    #[cfg(feature = "embedded")]
    Embedded(Embedded),
}

/// One search.
#[derive(Debug, Clone)]
pub struct Search {
    /// The words, for the sparse leg.
    pub text: String,
    /// The embedded question. A sparse one is the only leg: it counts words itself.
    pub vector: Vector,
    /// How many passages are wanted.
    pub top_k: usize,
    /// Applied while searching, never after it.
    pub filter: Filter,
}

impl Search {
    /// How many candidates to ask of each leg.
    fn candidates(&self) -> usize {
        (self.top_k * CANDIDATES_PER_PASSAGE).max(MIN_CANDIDATES)
    }
}

/// The best passages of a search's legs; candidates without text are left out.
fn best(mut legs: Vec<Vec<Candidate<Payload>>>, reading: &Reading, top_k: usize) -> Vec<Passage> {
    legs.iter_mut().for_each(|leg| settle_ties(leg));
    let fused = fuse(legs, usize::MAX).into_iter();
    choice::choose(fused.filter_map(|(payload, score)| reading.passage(&payload, score)), top_k)
}

/// Orders candidates of one score by their ids: an engine has them in the order in which they happen to be stored, in which
/// it also adds their weights up, so that the last digits of a score say nothing.
fn settle_ties(leg: &mut [Candidate<Payload>]) {
    let best = leg.iter().map(|candidate| candidate.score.abs()).fold(f64::MIN_POSITIVE, f64::max);
    let digits = |candidate: &Candidate<Payload>| (candidate.score / best * MEANT_DIGITS).round();
    // Neighbours only: whether more or less is better depends on the collection's distance.
    for alike in leg.chunk_by_mut(|a, b| digits(a) == digits(b)) {
        alike.sort_by(|a, b| a.id.cmp(&b.id));
    }
}

/// Whether a stored passage's file is one of these, or in one of these folders.
fn is_among(file: &str, places: &[String]) -> bool {
    let below = |place: &String| file.strip_prefix(place.as_str());
    places.iter().filter_map(below).any(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Version of what an index that Docent wrote holds; a reader refuses any other.
pub const INDEX_VERSION: u32 = 2;

/// What an index that Docent wrote says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`INDEX_VERSION`] at the time it was written.
    pub index_version: u32,
    /// The model that embedded the passages.
    pub model: String,
    /// Size of their vectors; 0 where they are sparse.
    pub dimensions: usize,
    /// Language tags of the passages; an empty one where some have none.
    #[serde(default)]
    pub languages: BTreeSet<String>,
    /// Payload keys that are indexed for filters.
    #[serde(default)]
    pub filter_keys: BTreeSet<String>,
}

impl Manifest {
    /// Why an index that says this of itself cannot be searched with `model`; `None` if it can.
    pub fn unfit(&self, model: &str) -> Option<String> {
        if self.index_version != INDEX_VERSION {
            let version = self.index_version;
            return Some(format!(
                "has index version {version}, this Docent reads {INDEX_VERSION}: run docent index again"
            ));
        }
        let made = &self.model;
        (made != model).then(|| {
            format!("was embedded with {made}: set EMBEDDING_MODEL={made}, or index again with {model}")
        })
    }
}

/// A passage to store.
#[derive(Debug, Clone)]
pub struct Point {
    /// Identity: the same passage keeps it from run to run.
    pub id: Uuid,
    /// Its embedding.
    pub vector: Vector,
    /// What BM25 counts beside a dense one.
    pub text: String,
    /// Everything a passage is read from.
    pub payload: Payload,
}

/// What an index holds under some ids.
pub type Stored = HashMap<Uuid, StoredPoint>;

/// A passage as an index holds it.
#[derive(Debug, Clone)]
pub struct StoredPoint {
    /// Everything it is read from.
    pub payload: Payload,
    /// Its embedding.
    pub vector: Vector,
    /// Whether it has every vector that it should have.
    pub is_whole: bool,
}

/// Name of the dense vector of an index that Docent writes.
pub const DENSE: &str = "dense";
/// Name of its BM25 vector.
pub const BM25: &str = "bm25";
/// Name of the sparse vector of an index that Docent writes offline; it has no other.
pub const OFFLINE: &str = "offline";

/// What an index holds, as `docent check` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Where it is.
    pub place: String,
    /// Points, as counted when it was opened.
    pub points: u64,
    /// Dense vectors by name and size; the name may be empty.
    pub dense: Vec<(String, u64)>,
    /// Names of sparse vectors.
    pub sparse: Vec<String>,
    /// The vector that is searched.
    pub vector_name: String,
    /// Its size; 0 where it is sparse.
    pub dimensions: usize,
    /// How it measures similarity.
    pub distance: String,
    /// The sparse vector that is searched, which makes retrieval hybrid.
    pub sparse_name: Option<String>,
    /// Payload keys of a few points, nested ones with dots.
    pub payload_keys: Vec<String>,
    /// What the index says of itself, where Docent wrote it.
    pub manifest: Option<Manifest>,
    /// Payload keys that have an index for filters.
    pub indexed_keys: Vec<String>,
}

impl Description {
    /// Of the keys a request may filter by, those that no sampled passage has or that have no index, each with a sentence.
    pub fn filter_troubles(&self, keys: &[String]) -> Vec<String> {
        let trouble = |key: &String| {
            let has = self.payload_keys.contains(key) || self.indexed_keys.contains(key);
            match (has, self.indexed_keys.contains(key)) {
                (false, _) => Some(format!(
                    "FILTER_KEYS: no passage looked at has the key {key:?}: filtering by it changes nothing"
                )),
                (true, false) => Some(format!(
                    "FILTER_KEYS: the key {key:?} has no index: filtering by it is slow, and a strict Qdrant refuses it"
                )),
                (true, true) => None,
            }
        };
        if self.points == 0 { Vec::new() } else { keys.iter().filter_map(trouble).collect() }
    }
}

/// A stored point, to compare its vector with a fresh embedding of its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Title of its page.
    pub title: String,
    /// Its text.
    pub text: String,
    /// Its embedding.
    pub vector: Vector,
}

/// Why a search did not deliver. The text is the cause, for the log: never for a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It will refuse again until a setting changes (key, collection, vector name).
    #[error("refused: {0}")]
    Refused(String),
    /// It broke off, or answered something unusable.
    #[error("failed: {0}")]
    Failed(String),
    /// It asked to wait.
    #[error("busy: {cause}")]
    Busy {
        /// For how long, where it said so.
        retry_after: Option<Duration>,
        /// For the log.
        cause: String,
    },
    /// It missed its deadline.
    #[error("timed out")]
    Timeout,
}

impl Error {
    /// The kind, as it is counted.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Busy { .. } => "busy",
            Self::Timeout => "timeout",
        }
    }
}

/// Why an index cannot be opened at start, as a sentence that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A setting, or the collection itself, has to change.
    #[error("{0}")]
    Unusable(String),
    /// It may be there in a moment.
    #[error("{0}")]
    Unreachable(String),
}

impl Index {
    /// The best passages, best first; none is no error.
    ///
    /// # Errors
    ///
    /// What kept the index from answering.
    pub async fn search(&self, search: Search) -> Result<Vec<Passage>, Error> {
        match self {
            Self::Remote(remote) => remote.search(&search).await,
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => embedded.search(search).await,
        }
    }

    /// What it holds.
    pub fn description(&self) -> Description {
        match self {
            Self::Remote(remote) => remote.description().clone(),
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => embedded.description(),
        }
    }

    /// Size of the vectors that are searched.
    pub fn dimensions(&self) -> usize {
        match self {
            Self::Remote(remote) => remote.description().dimensions,
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => embedded.description().dimensions,
        }
    }

    /// Whether it would answer now; an embedded index also swaps to a newer generation, if there is one that fits.
    ///
    /// # Errors
    ///
    /// What would keep it from answering.
    pub async fn ping(&self) -> Result<(), Error> {
        match self {
            Self::Remote(remote) => remote.ping().await,
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => {
                embedded.refresh().await;
                Ok(())
            }
        }
    }

    /// A few stored points with their vectors.
    ///
    /// # Errors
    ///
    /// What kept the index from answering.
    pub async fn samples(&self, count: u32) -> Result<Vec<Sample>, Error> {
        match self {
            Self::Remote(remote) => remote.samples(count).await,
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => embedded.samples(count).await,
        }
    }
}
