//! A collection on a Qdrant server, over gRPC. Docent adapts to what is there: at start it reads the collection and
//! takes its vectors, its size and its payload from it.

use std::time::Duration;

use qdrant_client::qdrant::{
    CollectionInfo, Condition, Document, Filter as QdrantFilter, PointId, Query, QueryBatchPoints, QueryPoints,
    QueryPointsBuilder, Range, ScrollPointsBuilder, VectorInput, point_id, vector_output, vectors_config,
};
use qdrant_client::{Qdrant, QdrantError};
use secrecy::ExposeSecret as _;
use tonic::Code;

use super::fusion::{Candidate, fuse};
use super::payload::{self, Payload, Reading};
use super::{Description, Error, OpenError, Sample, Search};
use crate::chat::{Filter, FilterValue, Passage};
use crate::config::RemoteConfig;

/// The model a Qdrant server computes BM25 vectors with by itself (1.15 and later).
const BM25_MODEL: &str = "qdrant/bm25";
/// Points looked at to learn the payload's keys.
const SAMPLE_POINTS: u32 = 16;
/// The client's own timeout only backs Docent's: it tries again once by itself, so a frozen server would cost twice.
const CLIENT_MARGIN: Duration = Duration::from_secs(5);
/// How long each look at the collection may take while it is opened.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A collection that was found fit to search.
pub struct Remote {
    client: Qdrant,
    config: RemoteConfig,
    reading: Reading,
    timeout: Duration,
    description: Description,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("description", &self.description).finish_non_exhaustive()
    }
}

impl Remote {
    /// Connects and reads the collection; `timeout` bounds every later call.
    ///
    /// # Errors
    ///
    /// That the server is not reachable, or what about the collection has to change.
    pub async fn open(config: RemoteConfig, reading: Reading, timeout: Duration) -> Result<Self, OpenError> {
        let client =
            connect(&config, timeout).map_err(|error| OpenError::Unusable(format!("QDRANT_URL: {error}")))?;
        let info = read_collection(&client, &config).await?;
        let mut description = describe(&config, &info)?;
        let payloads = scroll_payloads(&client, &config).await?;
        let mut keys: Vec<String> = payloads.iter().flat_map(payload::keys).collect();
        keys.sort();
        keys.dedup();
        if !payloads.is_empty() && payloads.iter().all(|payload| reading.passage(payload, 0.0).is_none()) {
            let tried = match &config.keys.text {
                Some(key) => format!("the payload key {key:?}"),
                None => "the usual payload keys".to_owned(),
            };
            return Err(OpenError::Unusable(format!(
                "{}: no text under {tried}; set PAYLOAD_TEXT_KEY to one of: {}",
                description.place,
                keys.join(", ")
            )));
        }
        description.payload_keys = keys;
        let mut remote = Self { client, config, reading, timeout, description };
        remote.settle_sparse().await?;
        Ok(remote)
    }

    /// What the collection holds.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Whether the collection would answer now.
    ///
    /// # Errors
    ///
    /// What keeps it from answering.
    pub async fn ping(&self) -> Result<(), Error> {
        let call = self.client.collection_info(&self.config.collection);
        within(self.timeout, call).await.map(drop)
    }

    /// The best passages, best first.
    ///
    /// # Errors
    ///
    /// What kept the server from answering.
    pub async fn search(&self, search: &Search) -> Result<Vec<Passage>, Error> {
        let limit = search.candidates() as u64;
        let filter = filter(&search.filter);
        let mut queries =
            vec![self.query(search.vector.clone(), &self.description.vector_name, limit, &filter)];
        if let Some(sparse) = &self.description.sparse_name {
            let document =
                Document { text: search.text.clone(), model: BM25_MODEL.to_owned(), ..Default::default() };
            queries.push(self.query(document, sparse, limit, &filter));
        }
        let wanted = queries.len();
        let batch = QueryBatchPoints {
            collection_name: self.config.collection.clone(),
            query_points: queries,
            timeout: Some(self.timeout.as_secs().max(1)),
            ..Default::default()
        };
        // The caller bounds both attempts together.
        let response = match self.client.query_batch(batch.clone()).await {
            Err(error) if code(&error) == Some(Code::DeadlineExceeded) => self.client.query_batch(batch).await,
            response => response,
        };
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
        let fused = fuse(legs.collect(), usize::MAX);
        let passages = fused.into_iter().filter_map(|(payload, score)| self.reading.passage(&payload, score));
        Ok(passages.take(search.top_k).collect())
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
        let response = within(self.timeout, self.client.scroll(request)).await?;
        let sample = |point: qdrant_client::qdrant::RetrievedPoint| {
            let vector = match point.vectors?.get_vector_by_name(&self.description.vector_name)? {
                vector_output::Vector::Dense(dense) => dense.data,
                _ => return None,
            };
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

    /// A server that cannot compute BM25 by itself gets dense queries alone, and the log says so.
    async fn settle_sparse(&mut self) -> Result<(), OpenError> {
        let Some(sparse) = &self.description.sparse_name else { return Ok(()) };
        let document =
            Document { text: "documentation".to_owned(), model: BM25_MODEL.to_owned(), ..Default::default() };
        let query = self.query(document, sparse, 1, &None);
        let Ok(answer) = tokio::time::timeout(OPEN_TIMEOUT, self.client.query(query)).await else {
            return Err(open_error(&self.config)(Error::Timeout));
        };
        match answer {
            Ok(_) => Ok(()),
            // A server without inference says Internal, an older one InvalidArgument.
            Err(error)
                if matches!(
                    code(&error),
                    Some(Code::Internal | Code::InvalidArgument | Code::Unimplemented)
                ) =>
            {
                let cause = fault(&error);
                tracing::warn!(%cause, sparse, "this Qdrant does not compute BM25: retrieval is dense only");
                self.description.sparse_name = None;
                Ok(())
            }
            Err(error) => Err(open_error(&self.config)(fault(&error))),
        }
    }
}

fn connect(config: &RemoteConfig, timeout: Duration) -> Result<Qdrant, QdrantError> {
    let mut builder = Qdrant::from_url(&config.url)
        .timeout(timeout.max(OPEN_TIMEOUT) + CLIENT_MARGIN)
        .connect_timeout(CONNECT_TIMEOUT)
        .keep_alive_while_idle()
        // The check blocks and prints to standard output.
        .skip_compatibility_check();
    if let Some(key) = &config.api_key {
        builder = builder.api_key(key.expose_secret());
    }
    builder.build()
}

async fn read_collection(client: &Qdrant, config: &RemoteConfig) -> Result<CollectionInfo, OpenError> {
    let unusable = |cause: &str| OpenError::Unusable(format!("Qdrant at {}: {cause}", config.url));
    let call = client.collection_info(&config.collection);
    let Ok(answer) = tokio::time::timeout(OPEN_TIMEOUT, call).await else {
        return Err(open_error(config)(Error::Timeout));
    };
    match answer {
        Ok(response) => response.result.ok_or_else(|| unusable("sent no description of the collection")),
        Err(error) if code(&error) == Some(Code::NotFound) => {
            let there = within(OPEN_TIMEOUT, client.list_collections()).await.map_err(open_error(config))?;
            let names: Vec<String> = there.collections.into_iter().map(|collection| collection.name).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let wanted = &config.collection;
            Err(unusable(&format!(
                "there is no collection {wanted:?}; set QDRANT_COLLECTION_NAME to one that exists ({names})"
            )))
        }
        Err(error) => Err(open_error(config)(fault(&error))),
    }
}

fn open_error(config: &RemoteConfig) -> impl Fn(Error) -> OpenError {
    |error| match error {
        Error::Refused(cause) => OpenError::Unusable(format!(
            "Qdrant at {} refuses: {cause}; check QDRANT_URL, QDRANT_API_KEY and QDRANT_COLLECTION_NAME",
            config.url
        )),
        other => {
            OpenError::Unreachable(format!("Qdrant at {} is out of reach: {other}; see QDRANT_URL", config.url))
        }
    }
}

async fn scroll_payloads(client: &Qdrant, config: &RemoteConfig) -> Result<Vec<Payload>, OpenError> {
    let request = ScrollPointsBuilder::new(&config.collection).limit(SAMPLE_POINTS).with_payload(true);
    let response = within(OPEN_TIMEOUT, client.scroll(request)).await.map_err(open_error(config))?;
    Ok(response.result.into_iter().map(|point| json(point.payload)).collect())
}

/// Chooses the vectors to search.
fn describe(config: &RemoteConfig, info: &CollectionInfo) -> Result<Description, OpenError> {
    let params = info.config.as_ref().and_then(|config| config.params.as_ref());
    let all = match params.and_then(|params| params.vectors_config.as_ref()).and_then(|c| c.config.as_ref()) {
        Some(vectors_config::Config::Params(single)) => vec![(String::new(), single)],
        Some(vectors_config::Config::ParamsMap(map)) => map.map.iter().map(|(n, p)| (n.clone(), p)).collect(),
        None => Vec::new(),
    };
    // A multivector (late interaction) cannot be searched with one embedding.
    let mut dense: Vec<_> = all.into_iter().filter(|(_, params)| params.multivector_config.is_none()).collect();
    dense.sort_by(|a, b| a.0.cmp(&b.0));
    let names: Vec<&str> = dense.iter().map(|(name, _)| name.as_str()).collect();
    let chosen =
        choose("QDRANT_VECTOR_NAME", "dense", config.vector_name.as_deref(), &names, &config.collection)?;
    let Some((name, params)) = chosen.and_then(|chosen| dense.iter().find(|(name, _)| name == chosen)) else {
        return Err(OpenError::Unusable(format!(
            "collection {:?} has no dense vector to search",
            config.collection
        )));
    };
    let mut sparse: Vec<String> = info
        .config
        .iter()
        .filter_map(|config| config.params.as_ref()?.sparse_vectors_config.as_ref())
        .flat_map(|sparse| sparse.map.keys().cloned())
        .collect();
    sparse.sort();
    let sparse_names: Vec<&str> = sparse.iter().map(String::as_str).collect();
    let sparse_name = choose(
        "QDRANT_SPARSE_NAME",
        "sparse",
        config.sparse_name.as_deref(),
        &sparse_names,
        &config.collection,
    )?
    .map(str::to_owned);
    Ok(Description {
        place: format!("collection {:?} at {}", config.collection, config.url),
        points: info.points_count.unwrap_or(0),
        dense: dense.iter().map(|(name, params)| (name.clone(), params.size)).collect(),
        vector_name: name.clone(),
        dimensions: usize::try_from(params.size).unwrap_or(0),
        distance: params.distance().as_str_name().to_owned(),
        sparse_name,
        sparse,
        payload_keys: Vec::new(),
        model: None,
    })
}

/// The vector the setting names, the only one, or none; several without a setting stop the start.
fn choose<'a>(
    setting: &str,
    kind: &str,
    wanted: Option<&'a str>,
    names: &[&'a str],
    collection: &str,
) -> Result<Option<&'a str>, OpenError> {
    let list = || names.join(", ");
    match (wanted, names) {
        (Some(wanted), names) if names.contains(&wanted) => Ok(Some(wanted)),
        (Some(wanted), _) => Err(OpenError::Unusable(format!(
            "collection {collection:?} has no {kind} vector {wanted:?}; set {setting} to one of: {}",
            list()
        ))),
        (None, []) => Ok(None),
        (None, [only]) => Ok(Some(only)),
        (None, _) => Err(OpenError::Unusable(format!(
            "collection {collection:?} has several {kind} vectors; set {setting} to one of: {}",
            list()
        ))),
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

/// One call within its deadline; the client's own retry counts towards it.
async fn within<T>(timeout: Duration, call: impl Future<Output = Result<T, QdrantError>>) -> Result<T, Error> {
    match tokio::time::timeout(timeout, call).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(fault(&error)),
        Err(_) => Err(Error::Timeout),
    }
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
    let message: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    format!("{:?} {message}", status.code())
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
