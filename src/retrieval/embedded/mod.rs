//! The index that lives in this process: `qdrant-edge`, dense and BM25.
//!
//! The engine is synchronous, so a search runs on a blocking thread, and at most one per core runs at a time: more
//! would only make all of them slower. A search that is waiting for its turn is dropped with its reader.

mod build;
pub mod generations;
mod journal;
pub mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use qdrant_edge::bm25_embed::EdgeBm25;
use qdrant_edge::{
    CountRequest, EdgeShard, NamedQuery, PointId, QueryEnum, QueryRequest, ScoredPoint, ScoringQuery,
    ScrollRequest, SparseVector, VectorInternal, WithPayloadInterface, WithVector,
};
use tokio::sync::Semaphore;

use super::bm25::Analyzer;
use super::fusion::Candidate;
use super::payload::{self, Payload, Reading};
use super::{
    BM25, DENSE, Description, Error, Manifest, OFFLINE, OpenError, SAMPLE_POINTS, Sample, Search, best,
};
use crate::chat::{Filter, FilterValue, Passage, Vector};

pub use build::Build;
pub use generations::BuildError;
pub use writer::Writer;

/// How often a reader looks again when the generation it copies is replaced under its hands.
const COPY_ATTEMPTS: usize = 5;

/// The embedded index, open on one generation at a time.
#[derive(Debug)]
pub struct Embedded {
    data: PathBuf,
    /// The model questions are embedded with; a generation of another one is refused.
    model: String,
    reading: Reading,
    /// One permit per core.
    searches: Arc<Semaphore>,
    /// The generation in use; searches under way keep the one they began with.
    open: RwLock<Arc<Generation>>,
    /// The newer generation that could not be opened, so that it is not copied again and again.
    passed_over: Mutex<Option<String>>,
}

/// A private copy of a generation. The shard closes before its folder goes.
struct Generation {
    name: String,
    shard: EdgeShard,
    /// One per language that the index holds.
    bm25: Vec<(Analyzer, EdgeBm25)>,
    languages: Vec<String>,
    description: Description,
    _folder: tempfile::TempDir,
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generation").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens the current generation under `data`.
    ///
    /// # Errors
    ///
    /// That there is none, that `model` did not embed it, or what keeps it from being opened.
    pub async fn open(data: &Path, model: &str, reading: Reading) -> Result<Self, OpenError> {
        let (data, model) = (data.to_owned(), model.to_owned());
        let generation = {
            let (data, model) = (data.clone(), model.clone());
            blocking(move || Generation::open(&data, &model)).await.map_err(|error| match error {
                Error::Failed(cause) | Error::Refused(cause) => OpenError::Unusable(cause),
                other => OpenError::Unusable(other.to_string()),
            })?
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            data,
            model,
            reading,
            searches: Arc::new(Semaphore::new(cores)),
            open: RwLock::new(Arc::new(generation)),
            passed_over: Mutex::new(None),
        })
    }

    /// What the current generation holds.
    pub fn description(&self) -> Description {
        self.current().description.clone()
    }

    /// Swaps to the current generation, if it is a newer one. One that does not fit is passed over for good, one that
    /// cannot be opened now is tried again at the next call; the log says so, and the one in use goes on answering.
    pub async fn refresh(&self) {
        let (data, model, open) = (self.data.clone(), self.model.clone(), self.current());
        let Ok(Some(name)) = generations::current(&data) else { return };
        let passed_over = self.passed_over.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if name == open.name || Some(&name) == passed_over.as_ref() {
            return;
        }
        match blocking(move || Generation::open(&data, &model)?.instead_of(&open)).await {
            Ok(newer) => {
                tracing::info!(points = newer.description.points, "a new generation of the index is in use");
                *self.open.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(newer);
            }
            Err(cause) => {
                tracing::error!(%cause, "a new generation of the index cannot be used: the old one stays");
                if matches!(cause, Error::Refused(_)) {
                    *self.passed_over.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
                }
            }
        }
    }

    /// The best passages, best first.
    ///
    /// # Errors
    ///
    /// What the engine said.
    pub async fn search(&self, search: Search) -> Result<Vec<Passage>, Error> {
        let turn = Arc::clone(&self.searches).acquire_owned().await;
        let turn = turn.map_err(|_| Error::Failed("the index is closed".to_owned()))?;
        let (generation, reading) = (self.current(), self.reading.clone());
        blocking(move || {
            let passages = generation.search(&search, &reading);
            // The turn ends with the search, not with the reader, who may be gone.
            drop(turn);
            passages
        })
        .await
    }

    /// A few stored points with their vectors.
    ///
    /// # Errors
    ///
    /// What the engine said.
    pub async fn samples(&self, count: u32) -> Result<Vec<Sample>, Error> {
        let (generation, reading) = (self.current(), self.reading.clone());
        blocking(move || generation.samples(count as usize, &reading)).await
    }

    fn current(&self) -> Arc<Generation> {
        Arc::clone(&self.open.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Generation {
    fn open(data: &Path, model: &str) -> Result<Self, Error> {
        let unusable = |cause: String| Error::Failed(format!("the index in {} {cause}", data.display()));
        let (name, folder, manifest) = private_copy(data).map_err(|error| unusable(error.to_string()))?;
        if let Some(cause) = manifest.unfit(model) {
            return Err(Error::Refused(format!("the index in {} {cause}", data.display())));
        }
        let shard = EdgeShard::load(folder.path(), None).map_err(|error| unusable(error.to_string()))?;
        let languages: Vec<String> = manifest.languages.iter().cloned().collect();
        let analyzers = Analyzer::of_search(&languages, &Filter::new()).into_iter().chain([Analyzer::ENGLISH]);
        let bm25: Result<Vec<_>, _> = analyzers.map(|analyzer| Ok((analyzer, bm25(analyzer)?))).collect();
        let bm25 = bm25.map_err(|error: String| unusable(error))?;
        let points = shard.count(CountRequest { filter: None, exact: true }).map_err(engine)?;
        let payloads: Vec<Payload> =
            scroll(&shard, SAMPLE_POINTS as usize, false)?.into_iter().map(|(payload, _)| payload).collect();
        let offline = manifest.dimensions == 0;
        let description = Description {
            place: format!("embedded index in {}", data.display()),
            points: points as u64,
            dense: (!offline).then(|| (DENSE.to_owned(), manifest.dimensions as u64)).into_iter().collect(),
            sparse: vec![if offline { OFFLINE } else { BM25 }.to_owned()],
            vector_name: if offline { OFFLINE } else { DENSE }.to_owned(),
            dimensions: manifest.dimensions,
            distance: if offline { "Dot with IDF" } else { "Cosine" }.to_owned(),
            sparse_name: (!offline).then(|| BM25.to_owned()),
            payload_keys: payload::keys(&payloads),
            indexed_keys: manifest.filter_keys.iter().cloned().collect(),
            manifest: Some(manifest),
        };
        Ok(Self { name, shard, bm25, languages, description, _folder: folder })
    }

    /// This generation, if questions embedded for the `old` one can search it.
    fn instead_of(self, old: &Self) -> Result<Self, Error> {
        if self.description.dimensions == old.description.dimensions {
            return Ok(self);
        }
        Err(Error::Refused("it has vectors of another size: restart to use it".to_owned()))
    }

    fn search(&self, search: &Search, reading: &Reading) -> Result<Vec<Passage>, Error> {
        let filter = filter(&search.filter)?;
        let mut legs = match &search.vector {
            Vector::Dense(dense) => {
                vec![self.leg(VectorInternal::Dense(dense.clone()), DENSE, search, filter.clone())?]
            }
            Vector::Sparse(features) => {
                let found = self.leg(VectorInternal::Sparse(sparse(features)), OFFLINE, search, filter)?;
                return Ok(best(vec![found], reading, search.top_k));
            }
        };
        for analyzer in Analyzer::of_search(&self.languages, &search.filter) {
            let Some((_, bm25)) = self.bm25.iter().find(|(known, _)| *known == analyzer) else { continue };
            let words = bm25.embed_query(&search.text);
            legs.push(self.leg(VectorInternal::Sparse(words), BM25, search, filter.clone())?);
        }
        Ok(best(legs, reading, search.top_k))
    }

    fn leg(
        &self,
        query: VectorInternal,
        using: &str,
        search: &Search,
        filter: Option<qdrant_edge::Filter>,
    ) -> Result<Vec<Candidate<Payload>>, Error> {
        if matches!(&query, VectorInternal::Sparse(sparse) if sparse.indices.is_empty()) {
            return Ok(Vec::new());
        }
        let request = QueryRequest {
            prefetches: Vec::new(),
            query: Some(ScoringQuery::Vector(QueryEnum::Nearest(NamedQuery::new(query, using)))),
            filter,
            score_threshold: None,
            limit: search.candidates(),
            offset: 0,
            params: None,
            with_vector: WithVector::Bool(false),
            with_payload: WithPayloadInterface::Bool(true),
        };
        let candidate = |point: ScoredPoint| Candidate {
            id: id_text(point.id),
            score: f64::from(point.score),
            item: point.payload.map(|payload| payload.0).unwrap_or_default(),
        };
        Ok(self.shard.query(request).map_err(engine)?.into_iter().map(candidate).collect())
    }

    fn samples(&self, count: usize, reading: &Reading) -> Result<Vec<Sample>, Error> {
        let points = scroll(&self.shard, count, true)?;
        Ok(points
            .into_iter()
            .filter_map(|(payload, vector)| {
                let passage = reading.passage(&payload, 0.0)?;
                Some(Sample { title: passage.title, text: passage.text, vector: vector? })
            })
            .collect())
    }
}

/// A stored point: its payload and its embedding.
type Scrolled = (Payload, Option<Vector>);

fn scroll(shard: &EdgeShard, limit: usize, vectors: bool) -> Result<Vec<Scrolled>, Error> {
    let request = ScrollRequest {
        limit: Some(limit),
        with_vector: WithVector::Bool(vectors),
        ..ScrollRequest::default()
    };
    let (records, _) = shard.scroll(request).map_err(engine)?;
    let read = |record: qdrant_edge::Record| {
        (record.payload.map(|payload| payload.0).unwrap_or_default(), record.vector.and_then(writer::embedding))
    };
    Ok(records.into_iter().map(read).collect())
}

/// A copy of the current generation; looks again when it is replaced meanwhile.
fn private_copy(data: &Path) -> io::Result<(String, tempfile::TempDir, Manifest)> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for _ in 0..COPY_ATTEMPTS {
        let Some(name) = generations::current(data)? else {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "does not exist yet: set QDRANT_URL to search a Qdrant server, or DOCENT_DATA to a folder with an index",
            ));
        };
        let copied = generations::copy(data, &name);
        // A writer removes a generation only once it is no longer current: if it still is, the copy is whole.
        if generations::current(data)?.as_deref() == Some(name.as_str()) {
            return copied.map(|(folder, manifest)| (name, folder, manifest));
        }
        last = copied.err().unwrap_or(last);
    }
    Err(last)
}

/// For each key: any of the values, or no such key. In the JSON form that the engine shares with the server.
fn filter(filter: &Filter) -> Result<Option<qdrant_edge::Filter>, Error> {
    use serde_json::json;
    if filter.is_empty() {
        return Ok(None);
    }
    let condition = |key: &String, value: &FilterValue| match value {
        FilterValue::Text(text) => json!({ "key": key, "match": { "value": text } }),
        FilterValue::Integer(number) => json!({ "key": key, "match": { "value": number } }),
        FilterValue::Bool(truth) => json!({ "key": key, "match": { "value": truth } }),
        FilterValue::Float(number) => json!({ "key": key, "range": { "gte": number, "lte": number } }),
    };
    let must: Vec<_> = filter
        .iter()
        .map(|(key, values)| {
            let mut should: Vec<_> = values.iter().map(|value| condition(key, value)).collect();
            should.push(json!({ "is_empty": { "key": key } }));
            json!({ "should": should })
        })
        .collect();
    let filter = serde_json::from_value(json!({ "must": must }));
    filter.map(Some).map_err(|error| Error::Failed(format!("filter: {error}")))
}

/// Runs `work` on a blocking thread; a panic in it fails this search and no other.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(Error::Failed("the search engine panicked".to_owned())),
    }
}

fn sparse(features: &[(u32, f32)]) -> SparseVector {
    let (indices, values) = features.iter().copied().unzip();
    SparseVector { indices, values }
}

/// The engine's BM25 for a language, which is the server's.
fn bm25(analyzer: Analyzer) -> Result<EdgeBm25, String> {
    let config = serde_json::from_value(analyzer.options().into()).map_err(|error| error.to_string())?;
    EdgeBm25::new(config).map_err(|error| error.to_string())
}

fn engine(error: qdrant_edge::OperationError) -> Error {
    Error::Failed(format!("qdrant-edge: {error}"))
}

fn id_text(id: PointId) -> String {
    match id {
        PointId::NumId(number) => number.to_string(),
        PointId::Uuid(uuid) => uuid.to_string(),
    }
}
