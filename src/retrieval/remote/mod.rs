//! A collection on a Qdrant server, over gRPC. Docent adapts to what is there: at start it reads the collection and
//! takes its vectors, its size and its payload from it.

mod collection;
mod connection;
mod lease;
pub mod writer;

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use qdrant_client::qdrant::{
    Condition, Document, Filter as QdrantFilter, PointId, Query, QueryBatchPoints, QueryPoints,
    QueryPointsBuilder, Range, ScrollPointsBuilder, VectorInput, VectorsOutput, point_id, vector_output,
};
use qdrant_client::{Qdrant, QdrantError};
use tonic::Code;

use super::bm25::Analyzer;
use super::fusion::Candidate;
use super::payload::{Payload, Reading};
use super::{Description, Error, Manifest, OFFLINE, OpenError, Sample, Search, best};
use crate::chat::{Filter, FilterValue, Passage, Vector};
use crate::config::{OFFLINE_MODEL, RemoteConfig};
use crate::text::log_safe;

/// The model a Qdrant server computes BM25 vectors with by itself (1.15 and later).
const BM25_MODEL: &str = "qdrant/bm25";
/// How long each look at the collection may take while it is opened.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

use connection::{Connection, connect};
pub use writer::Writer;

/// A collection that was found fit to search.
pub struct Remote {
    connection: Connection,
    config: RemoteConfig,
    reading: Reading,
    timeout: Duration,
    /// The model questions are embedded with; the collection must say the same, where it says anything.
    model: String,
    description: Description,
    /// Language tags of the passages, as the collection said last.
    languages: RwLock<Vec<String>>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("description", &self.description).finish_non_exhaustive()
    }
}

impl Remote {
    /// Connects and reads the collection, which `model` must have embedded where it says which one did; `timeout` bounds
    /// every later call but a search, which its caller bounds.
    ///
    /// # Errors
    ///
    /// That the server is not reachable, or what about the collection has to change.
    pub async fn open(
        config: RemoteConfig,
        model: &str,
        reading: Reading,
        timeout: Duration,
    ) -> Result<Self, OpenError> {
        let client =
            connect(&config, timeout).map_err(|error| OpenError::Unusable(format!("QDRANT_URL: {error}")))?;
        let mut description = collection::look(&client, &config, &reading).await?;
        let unfit = unfit(description.manifest.as_ref(), &description.vector_name, model);
        if let Some(cause) = unfit {
            return Err(OpenError::Unusable(format!("{} {cause}", description.place)));
        }
        settle_sparse(&client, &config, &mut description, "retrieval is dense only").await?;
        let languages = RwLock::new(languages(description.manifest.as_ref()));
        let connection = Connection::new(client, config.clone(), timeout);
        Ok(Self { connection, config, reading, timeout, model: model.to_owned(), description, languages })
    }

    /// Whether the server answers, and takes the key; the collection need not be there.
    ///
    /// # Errors
    ///
    /// That it is not reachable, or refuses.
    pub async fn reach(config: &RemoteConfig) -> Result<(), OpenError> {
        let client = connect(config, OPEN_TIMEOUT);
        let client = client.map_err(|error| OpenError::Unusable(format!("QDRANT_URL: {error}")))?;
        let exists = within(OPEN_TIMEOUT, client.collection_exists(&config.collection)).await;
        exists.map(drop).map_err(collection::open_error(config))
    }

    /// What the collection holds.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Whether the collection would answer now; takes note of languages that were added.
    ///
    /// # Errors
    ///
    /// What keeps it from answering, among it that another model has embedded it since.
    pub async fn ping(&self) -> Result<(), Error> {
        let mut call = self.connection.call();
        let info = within(self.timeout, call.client.collection_info(&self.config.collection)).await;
        call.ended(info.as_ref().err());
        let info = info.map_err(|error| fault(&error))?;
        let manifest = collection::manifest(info.result.as_ref());
        if let Some(cause) = unfit(manifest.as_ref(), &self.description.vector_name, &self.model) {
            return Err(Error::Refused(format!("{} {cause}", self.description.place)));
        }
        *self.languages.write().unwrap_or_else(PoisonError::into_inner) = languages(manifest.as_ref());
        Ok(())
    }

    /// The best passages, best first.
    ///
    /// # Errors
    ///
    /// What kept the server from answering.
    pub async fn search(&self, search: &Search) -> Result<Vec<Passage>, Error> {
        let limit = search.candidates() as u64;
        let filter = filter(&search.filter);
        let input = match &search.vector {
            Vector::Dense(dense) => VectorInput::from(dense.clone()),
            Vector::Sparse(features) => {
                let (indices, values): (Vec<u32>, Vec<f32>) = features.iter().copied().unzip();
                VectorInput::new_sparse(indices, values)
            }
        };
        let mut queries = vec![self.query(input, &self.description.vector_name, limit, &filter)];
        if let Some(sparse) = &self.description.sparse_name {
            let languages = self.languages.read().unwrap_or_else(PoisonError::into_inner).clone();
            for analyzer in Analyzer::of_search(&languages, &search.filter) {
                queries.push(self.query(document(search.text.clone(), analyzer), sparse, limit, &filter));
            }
        }
        let wanted = queries.len();
        let batch = QueryBatchPoints {
            collection_name: self.config.collection.clone(),
            query_points: queries,
            timeout: Some(self.timeout.as_secs().max(1)),
            ..Default::default()
        };
        // The caller bounds both attempts together.
        let mut call = self.connection.call();
        let response = match call.client.query_batch(batch.clone()).await {
            Err(error) if code(&error) == Some(Code::DeadlineExceeded) => call.client.query_batch(batch).await,
            response => response,
        };
        call.ended(None);
        let response = response.map_err(|error| fault(&error))?;
        if response.result.len() != wanted {
            return Err(Error::Failed(format!("{} results for {wanted} queries", response.result.len())));
        }
        let legs = response.result.into_iter().map(|leg| {
            let point = |point: qdrant_client::qdrant::ScoredPoint| Candidate {
                id: point.id.map(id_text).unwrap_or_default(),
                score: f64::from(point.score),
                item: json(point.payload),
            };
            leg.result.into_iter().map(point).collect()
        });
        Ok(best(legs.collect(), &self.reading, search.top_k))
    }

    /// A few stored points with their vectors.
    ///
    /// # Errors
    ///
    /// What kept the server from answering.
    pub async fn samples(&self, count: u32) -> Result<Vec<Sample>, Error> {
        let request = ScrollPointsBuilder::new(&self.config.collection)
            .limit(count)
            .with_payload(true)
            .with_vectors(true);
        let response = within(self.timeout, self.connection.call().client.scroll(request))
            .await
            .map_err(|error| fault(&error))?;
        let sample = |point: qdrant_client::qdrant::RetrievedPoint| {
            let vector = vector_of(point.vectors?, &self.description.vector_name)?;
            let passage = self.reading.passage(&json(point.payload), 0.0)?;
            Some(Sample { title: passage.title, text: passage.text, vector })
        };
        Ok(response.result.into_iter().filter_map(sample).collect())
    }

    fn query(
        &self,
        input: impl Into<VectorInput>,
        using: &str,
        limit: u64,
        filter: &Option<QdrantFilter>,
    ) -> QueryPoints {
        let mut query = QueryPointsBuilder::new(&self.config.collection)
            .query(Query::from(input.into()))
            .limit(limit)
            .with_payload(true);
        if !using.is_empty() {
            query = query.using(using);
        }
        if let Some(filter) = filter {
            query = query.filter(filter.clone());
        }
        query.into()
    }
}

/// Why a collection with this manifest and searched vector cannot be searched with `model`.
fn unfit(manifest: Option<&Manifest>, vector_name: &str, model: &str) -> Option<String> {
    match (manifest, vector_name == OFFLINE, model == OFFLINE_MODEL) {
        (Some(manifest), _, _) => manifest.unfit(model),
        (None, true, false) => Some("was embedded offline: set EMBEDDING_MODEL=offline".to_owned()),
        (None, false, true) => {
            Some("was not embedded offline: set EMBEDDING_MODEL to the model that embedded it".to_owned())
        }
        (None, _, _) => None,
    }
}

fn languages(manifest: Option<&Manifest>) -> Vec<String> {
    manifest.map_or(Vec::new(), |manifest| manifest.languages.iter().cloned().collect())
}

/// Gives up the sparse vector where the server cannot compute BM25 by itself; the log says so, with the `consequence`.
async fn settle_sparse(
    client: &Qdrant,
    config: &RemoteConfig,
    description: &mut Description,
    consequence: &str,
) -> Result<(), OpenError> {
    let Some(sparse) = &description.sparse_name else { return Ok(()) };
    if !computes_bm25(client, config, sparse).await? {
        tracing::warn!(sparse, "this Qdrant does not compute BM25 (1.15 does): {consequence}");
        description.sparse_name = None;
    }
    Ok(())
}

/// Whether the server computes BM25 vectors by itself.
async fn computes_bm25(client: &Qdrant, config: &RemoteConfig, sparse: &str) -> Result<bool, OpenError> {
    let probe = document("documentation".to_owned(), Analyzer::ENGLISH);
    let query = QueryPointsBuilder::new(&config.collection).query(Query::from(VectorInput::from(probe)));
    match within(OPEN_TIMEOUT, client.query(query.using(sparse).limit(1))).await {
        Ok(_) => Ok(true),
        // A server without inference says Internal, an older one InvalidArgument.
        Err(error)
            if matches!(code(&error), Some(Code::Internal | Code::InvalidArgument | Code::Unimplemented)) =>
        {
            tracing::debug!(cause = %fault(&error), "BM25 is refused");
            Ok(false)
        }
        Err(error) => Err(collection::open_error(config)(error)),
    }
}

/// A text of which the server makes a BM25 vector.
fn document(text: String, analyzer: Analyzer) -> Document {
    let options = analyzer.options().into_iter().map(|(key, value)| (key, value.into())).collect();
    Document { text, model: BM25_MODEL.to_owned(), options }
}

/// The vector of this name.
fn vector_of(vectors: VectorsOutput, name: &str) -> Option<Vector> {
    match vectors.get_vector_by_name(name)? {
        vector_output::Vector::Dense(dense) => Some(Vector::Dense(dense.data)),
        vector_output::Vector::Sparse(sparse) => {
            Some(Vector::Sparse(sparse.indices.into_iter().zip(sparse.values).collect()))
        }
        vector_output::Vector::MultiDense(_) => None,
    }
}

/// For each key: any of the values, or no such key.
fn filter(filter: &Filter) -> Option<QdrantFilter> {
    let condition = |key: &String, value: &FilterValue| match value {
        FilterValue::Text(text) => Condition::matches(key, text.clone()),
        FilterValue::Integer(number) => Condition::matches(key, *number),
        FilterValue::Bool(truth) => Condition::matches(key, *truth),
        FilterValue::Float(number) => {
            Condition::range(key, Range { gte: Some(*number), lte: Some(*number), ..Default::default() })
        }
    };
    let keys = filter.iter().map(|(key, values)| {
        let any = values.iter().map(|value| condition(key, value)).chain([Condition::is_empty(key)]);
        Condition::from(QdrantFilter::should(any))
    });
    let keys: Vec<Condition> = keys.collect();
    (!keys.is_empty()).then(|| QdrantFilter::must(keys))
}

/// One call within its deadline, missed as if the server had said so; the client's own retry counts towards it.
async fn within<T>(
    timeout: Duration,
    call: impl Future<Output = Result<T, QdrantError>>,
) -> Result<T, QdrantError> {
    let missed = |_| Err(tonic::Status::deadline_exceeded("no answer in time").into());
    tokio::time::timeout(timeout, call).await.unwrap_or_else(missed)
}

/// The server's code, where it answered.
fn code(error: &QdrantError) -> Option<Code> {
    match error {
        QdrantError::ResponseError { status } | QdrantError::ResourceExhaustedError { status, .. } => {
            Some(status.code())
        }
        _ => None,
    }
}

fn fault(error: &QdrantError) -> Error {
    match error {
        QdrantError::ResourceExhaustedError { status, retry_after_seconds } => {
            Error::Busy { retry_after: Some(Duration::from_secs(*retry_after_seconds)), cause: cause(status) }
        }
        QdrantError::ResponseError { status } => match status.code() {
            Code::ResourceExhausted => Error::Busy { retry_after: None, cause: cause(status) },
            Code::DeadlineExceeded => Error::Timeout,
            Code::NotFound
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented => Error::Refused(cause(status)),
            _ => Error::Failed(cause(status)),
        },
        other => Error::Failed(other.to_string()),
    }
}

fn cause(status: &tonic::Status) -> String {
    // tonic appends the debug form of its own error.
    let message = status.message().split(": tonic::").next().unwrap_or_default();
    format!("{:?} {}", status.code(), log_safe(message))
}

fn json(payload: std::collections::HashMap<String, qdrant_client::qdrant::Value>) -> Payload {
    payload.into_iter().map(|(key, value)| (key, value.into())).collect()
}

fn id_text(id: PointId) -> String {
    match id.point_id_options {
        Some(point_id::PointIdOptions::Num(number)) => number.to_string(),
        Some(point_id::PointIdOptions::Uuid(uuid)) => uuid,
        None => String::new(),
    }
}
