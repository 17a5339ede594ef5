//! Searches and writes the index that lives in this process, on `qdrant-edge`: dense vectors and BM25.
//!
//! The engine is synchronous, so a search runs on a blocking thread, and at most one per core runs at a time:
//! more would only make all of them slower. A search that waits for its turn is dropped with its reader.
//!
//! Files import downwards only: this one → `writer` → `build` → `generations`, `journal`, `engine`.

mod build;
mod engine;
mod generations;
mod journal;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use qdrant_edge::bm25_embed::EdgeBm25;
use qdrant_edge::{
    CountRequest, EdgeShard, NamedQuery, QueryEnum, QueryRequest, ScoringQuery, ScrollRequest, VectorInternal,
    WithPayloadInterface, WithVector,
};
use tokio::sync::Semaphore;

use super::bm25::Analyzer;
use super::description::{BM25_VECTOR, DENSE_VECTOR, Description, KEY_SAMPLE_POINTS, Manifest, OFFLINE_VECTOR};
use super::error::{Error, OpenError};
use super::fusion::Hit;
use super::payload::{self, Payload, PayloadReader};
use super::points::Sample;
use super::query::Search;
use super::results::fuse_and_select;
use crate::chat::{Filter, Passage, Vector};
use engine::{edge_bm25, edge_filter, read_embedding, read_hit, sparse_vector};

pub use build::Build;
pub use generations::BuildError;
pub use writer::EmbeddedWriter;

/// Searches the embedded index, with one generation open at a time.
#[derive(Debug)]
pub struct Embedded {
    data: PathBuf,
    /// The model that embeds questions; a generation of another model is refused.
    model: String,
    payload_reader: PayloadReader,
    /// One permit per core.
    searches: Arc<Semaphore>,
    /// The generation in use; a running search keeps the generation it began with. A std lock, because it is
    /// held for one clone or one assignment and never across an `await`. Poisoning is ignored: the value is one
    /// pointer, which a panic cannot leave half written.
    open: RwLock<Arc<OpenGeneration>>,
    /// Name of the newer generation that was refused, so that it is not copied again and again. A std lock that
    /// may be poisoned, for the reasons of `open`.
    refused: Mutex<Option<String>>,
}

/// Holds a private copy of a generation open. The shard closes before its folder goes.
struct OpenGeneration {
    name: String,
    shard: EdgeShard,
    /// One BM25 per language that the index holds.
    bm25: Vec<(Analyzer, EdgeBm25)>,
    languages: Vec<String>,
    description: Description,
    _folder: tempfile::TempDir,
}

impl std::fmt::Debug for OpenGeneration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenGeneration").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens the current generation under `data`.
    ///
    /// # Errors
    ///
    /// There is no generation, `model` did not embed it, or it cannot be opened.
    pub async fn open(data: &Path, model: &str, payload_reader: PayloadReader) -> Result<Self, OpenError> {
        let (data, model) = (data.to_owned(), model.to_owned());
        let generation = {
            let (data, model) = (data.clone(), model.clone());
            run_blocking(move || OpenGeneration::open(&data, &model)).await.map_err(|error| match error {
                Error::Failed(cause) | Error::Refused(cause) => OpenError::Unusable(cause),
                other => OpenError::Unusable(other.to_string()),
            })?
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            data,
            model,
            payload_reader,
            searches: Arc::new(Semaphore::new(cores)),
            open: RwLock::new(Arc::new(generation)),
            refused: Mutex::new(None),
        })
    }

    /// Returns a description of the generation in use.
    pub(super) fn description(&self) -> Description {
        self.generation_in_use().description.clone()
    }

    /// Returns the size of the vectors that are searched; 0 where they are sparse.
    pub(super) fn dimensions(&self) -> usize {
        self.generation_in_use().description.dimensions
    }

    /// Takes over the current generation, if it is newer than the one in use. An incompatible generation is
    /// never tried again; a generation that cannot be opened now is tried again at the next call. In both cases
    /// the log says so, and the generation in use continues to answer.
    pub(super) async fn refresh(&self) {
        let (data, model, open) = (self.data.clone(), self.model.clone(), self.generation_in_use());
        let Ok(Some(name)) = generations::current_name(&data) else { return };
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if name == open.name || Some(&name) == refused.as_ref() {
            return;
        }
        match run_blocking(move || OpenGeneration::open(&data, &model)?.require_same_size(&open)).await {
            Ok(newer) => {
                tracing::info!(points = newer.description.points, "a new generation of the index is in use");
                *self.open.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(newer);
            }
            Err(cause) => {
                tracing::error!(%cause, "a new generation of the index cannot be used: the old one stays");
                if matches!(cause, Error::Refused(_)) {
                    *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
                }
            }
        }
    }

    /// Returns the best passages, best first.
    ///
    /// # Errors
    ///
    /// The engine failed.
    pub(super) async fn search(&self, search: Search) -> Result<Vec<Passage>, Error> {
        let permit = Arc::clone(&self.searches).acquire_owned().await;
        let permit = permit.map_err(|_| Error::Failed("the index is closed".to_owned()))?;
        let (generation, reader) = (self.generation_in_use(), self.payload_reader.clone());
        run_blocking(move || {
            let passages = generation.search(&search, &reader);
            // The permit is held until the search ends, even if the reader has left before.
            drop(permit);
            passages
        })
        .await
    }

    /// Returns a few stored points with their vectors.
    ///
    /// # Errors
    ///
    /// The engine failed.
    pub(super) async fn samples(&self, count: u32) -> Result<Vec<Sample>, Error> {
        let (generation, reader) = (self.generation_in_use(), self.payload_reader.clone());
        run_blocking(move || generation.samples(count as usize, &reader)).await
    }

    /// Returns the generation in use.
    fn generation_in_use(&self) -> Arc<OpenGeneration> {
        Arc::clone(&self.open.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl OpenGeneration {
    /// Copies and opens the current generation under `data`, which `model` must have embedded.
    fn open(data: &Path, model: &str) -> Result<Self, Error> {
        let unusable = |cause: String| Error::Failed(format!("the index in {} {cause}", data.display()));
        let (name, folder, manifest) =
            generations::make_private_copy(data).map_err(|error| unusable(error.to_string()))?;
        if let Some(cause) = manifest.incompatibility(model) {
            return Err(Error::Refused(format!("the index in {} {cause}", data.display())));
        }
        let shard = EdgeShard::load(folder.path(), None).map_err(|error| unusable(error.to_string()))?;
        let languages: Vec<String> = manifest.languages.iter().cloned().collect();
        let analyzers = Analyzer::for_search(&languages, &Filter::new()).into_iter().chain([Analyzer::ENGLISH]);
        let bm25: Result<Vec<_>, _> = analyzers.map(|analyzer| Ok((analyzer, edge_bm25(analyzer)?))).collect();
        let bm25 = bm25.map_err(|error: String| unusable(error))?;
        let points = shard.count(CountRequest { filter: None, exact: true }).map_err(engine_error)?;
        let payloads: Vec<Payload> = read_points(&shard, KEY_SAMPLE_POINTS as usize, false)?
            .into_iter()
            .map(|(payload, _)| payload)
            .collect();
        let place = format!("embedded index in {}", data.display());
        let description = describe_generation(place, points as u64, payload::key_paths(&payloads), manifest);
        Ok(Self { name, shard, bm25, languages, description, _folder: folder })
    }

    /// Returns this generation, unless questions that are embedded for the `old` one cannot search it.
    fn require_same_size(self, old: &Self) -> Result<Self, Error> {
        if self.description.dimensions == old.description.dimensions {
            return Ok(self);
        }
        Err(Error::Refused("it has vectors of another size: restart to use it".to_owned()))
    }

    fn search(&self, search: &Search, reader: &PayloadReader) -> Result<Vec<Passage>, Error> {
        let filter = edge_filter(&search.filter)?;
        let mut legs = match &search.vector {
            Vector::Dense(dense) => {
                vec![self.search_leg(
                    VectorInternal::Dense(dense.clone()),
                    DENSE_VECTOR,
                    search,
                    filter.clone(),
                )?]
            }
            Vector::Sparse(features) => {
                let features = VectorInternal::Sparse(sparse_vector(features));
                let only = self.search_leg(features, OFFLINE_VECTOR, search, filter)?;
                return Ok(fuse_and_select(vec![only], reader, search.top_k));
            }
        };
        for analyzer in Analyzer::for_search(&self.languages, &search.filter) {
            let Some((_, bm25)) = self.bm25.iter().find(|(other, _)| *other == analyzer) else { continue };
            let words = bm25.embed_query(&search.text);
            legs.push(self.search_leg(VectorInternal::Sparse(words), BM25_VECTOR, search, filter.clone())?);
        }
        Ok(fuse_and_select(legs, reader, search.top_k))
    }

    /// Returns the hits of one vector, best first; none for a sparse query without features.
    fn search_leg(
        &self,
        query: VectorInternal,
        vector_name: &str,
        search: &Search,
        filter: Option<qdrant_edge::Filter>,
    ) -> Result<Vec<Hit<Payload>>, Error> {
        if matches!(&query, VectorInternal::Sparse(sparse) if sparse.indices.is_empty()) {
            return Ok(Vec::new());
        }
        let request = QueryRequest {
            prefetches: Vec::new(),
            query: Some(ScoringQuery::Vector(QueryEnum::Nearest(NamedQuery::new(query, vector_name)))),
            filter,
            score_threshold: None,
            limit: search.hits_per_leg(),
            offset: 0,
            params: None,
            with_vector: WithVector::Bool(false),
            with_payload: WithPayloadInterface::Bool(true),
        };
        Ok(self.shard.query(request).map_err(engine_error)?.into_iter().map(read_hit).collect())
    }

    fn samples(&self, count: usize, reader: &PayloadReader) -> Result<Vec<Sample>, Error> {
        let points = read_points(&self.shard, count, true)?;
        Ok(points
            .into_iter()
            .filter_map(|(payload, vector)| {
                let passage = reader.read_passage(&payload, 0.0)?;
                Some(Sample { title: passage.title, text: passage.text, vector: vector? })
            })
            .collect())
    }
}

/// Holds a stored point's payload and its embedding.
type PayloadAndVector = (Payload, Option<Vector>);

/// Reads the first `limit` points, with their embeddings if `vectors` is true.
fn read_points(shard: &EdgeShard, limit: usize, vectors: bool) -> Result<Vec<PayloadAndVector>, Error> {
    let request = ScrollRequest {
        limit: Some(limit),
        with_vector: WithVector::Bool(vectors),
        ..ScrollRequest::default()
    };
    let (records, _) = shard.scroll(request).map_err(engine_error)?;
    let read = |record: qdrant_edge::Record| {
        (record.payload.map(|payload| payload.0).unwrap_or_default(), record.vector.and_then(read_embedding))
    };
    Ok(records.into_iter().map(read).collect())
}

/// Describes a generation; its manifest decides which vectors it has.
fn describe_generation(
    place: String,
    points: u64,
    payload_keys: Vec<String>,
    manifest: Manifest,
) -> Description {
    let is_offline = manifest.dimensions == 0;
    let dense = (!is_offline).then(|| (DENSE_VECTOR.to_owned(), manifest.dimensions as u64));
    Description {
        place,
        points,
        dense: dense.into_iter().collect(),
        sparse: vec![if is_offline { OFFLINE_VECTOR } else { BM25_VECTOR }.to_owned()],
        vector_name: if is_offline { OFFLINE_VECTOR } else { DENSE_VECTOR }.to_owned(),
        dimensions: manifest.dimensions,
        distance: if is_offline { "Dot with IDF" } else { "Cosine" }.to_owned(),
        sparse_name: (!is_offline).then(|| BM25_VECTOR.to_owned()),
        payload_keys,
        indexed_keys: manifest.filter_keys.iter().cloned().collect(),
        manifest: Some(manifest),
    }
}

/// Runs `work` on a blocking thread; a panic in it fails this search and no other.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(Error::Failed("the search engine panicked".to_owned())),
    }
}

fn engine_error(error: qdrant_edge::OperationError) -> Error {
    Error::Failed(format!("qdrant-edge: {error}"))
}
