//! Fakes a Qdrant across a socket: a gRPC server with one collection of canned points, which records its
//! requests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use qdrant_client::Payload;
use qdrant_client::qdrant::collections_server::Collections;
use qdrant_client::qdrant::points_server::Points;
use qdrant_client::qdrant::qdrant_server::Qdrant;
use qdrant_client::qdrant::{
    self as q, BatchResult, QueryBatchPoints, QueryPoints, RetrievedPoint, ScoredPoint,
};
use serde_json::{Value, json};
use tonic::{Code, Request, Response, Status};

use crate::support::fake_gemini::DIMENSIONS;
use crate::support::grpc::{self, Answer};

/// Runs a fake Qdrant as long as the test runs.
pub struct FakeQdrant {
    url: String,
    state: Arc<Shared>,
}

/// Describes the contents and the behaviour of the fake; a test may change both at any time.
#[derive(Clone)]
pub struct Behaviour {
    /// Names of the collections; the first one has the points.
    pub collections: Vec<String>,
    /// Dense vectors by name ("" is the unnamed one) and size.
    pub dense: Vec<(String, u64)>,
    /// Names of sparse vectors.
    pub sparse: Vec<String>,
    /// Payloads of the points, in the order of the dense leg; ids are 1, 2, ….
    pub points: Vec<Value>,
    /// Ids in the order of the sparse leg.
    pub sparse_order: Vec<u64>,
    /// Vector of every point.
    pub vector: Vec<f32>,
    /// True to refuse BM25 documents, as a server before 1.15 does.
    pub no_inference: bool,
    /// Code with which all queries fail.
    pub query_error: Option<Code>,
    /// True to leave queries unanswered for ever.
    pub frozen: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        let point = |number: usize| {
            json!({
                "text": format!("Passage {number} about things."),
                "title": format!("Page {number}"),
                "section": "Part",
                "url": format!("https://docs.example/p{number}#part"),
            })
        };
        Self {
            collections: vec!["docs".to_owned()],
            dense: vec![(String::new(), DIMENSIONS as u64)],
            sparse: Vec::new(),
            points: (1..=3).map(point).collect(),
            sparse_order: Vec::new(),
            vector: vec![0.5; DIMENSIONS],
            no_inference: false,
            query_error: None,
            frozen: false,
        }
    }
}

struct Shared {
    behaviour: Mutex<Behaviour>,
    open_searches: AtomicUsize,
    batches: Mutex<Vec<QueryBatchPoints>>,
    api_keys: Mutex<Vec<Option<String>>>,
}

/// Counts a search that is not answered yet.
struct OpenSearch(Arc<Shared>);

impl OpenSearch {
    fn new(state: &Arc<Shared>) -> Self {
        state.open_searches.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(state))
    }
}

impl Drop for OpenSearch {
    fn drop(&mut self) {
        self.0.open_searches.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Clone)]
struct Service(Arc<Shared>);

impl FakeQdrant {
    /// Starts a fake with three points and an unnamed dense vector.
    pub async fn start() -> Self {
        Self::start_with(Behaviour::default()).await
    }

    /// Starts a fake with this behaviour.
    pub async fn start_with(behaviour: Behaviour) -> Self {
        let state = Arc::new(Shared {
            behaviour: Mutex::new(behaviour),
            open_searches: AtomicUsize::new(0),
            batches: Mutex::default(),
            api_keys: Mutex::default(),
        });
        let url = grpc::start(Service(Arc::clone(&state))).await;
        Self { url, state }
    }

    /// Returns the fake's address, as `http://host:port`.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Changes the fake's behaviour from now on.
    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.state.behaviour.lock().unwrap());
    }

    /// Counts the searches that are not answered yet.
    pub fn open_searches(&self) -> usize {
        self.state.open_searches.load(Ordering::SeqCst)
    }

    /// Returns the batches of queries that the fake was sent, in order.
    pub fn batches(&self) -> Vec<QueryBatchPoints> {
        self.state.batches.lock().unwrap().clone()
    }

    /// Returns the `api-key` headers that the fake was sent, in order.
    pub fn api_keys(&self) -> Vec<Option<String>> {
        self.state.api_keys.lock().unwrap().clone()
    }
}

impl Service {
    /// Records the key of a request, and returns the behaviour.
    fn behaviour<T>(&self, request: &Request<T>) -> Behaviour {
        let key = request.metadata().get("api-key").map(|key| key.to_str().unwrap().to_owned());
        self.0.api_keys.lock().unwrap().push(key);
        self.0.behaviour.lock().unwrap().clone()
    }

    fn describe_collection(
        &self,
        request: Request<q::GetCollectionInfoRequest>,
    ) -> Answer<q::GetCollectionInfoResponse> {
        let behaviour = self.behaviour(&request);
        if !behaviour.collections.contains(&request.get_ref().collection_name) {
            return Err(Status::not_found("Not found: Collection doesn't exist!"));
        }
        let params = |size: &u64| q::VectorParams {
            size: *size,
            distance: q::Distance::Cosine.into(),
            ..Default::default()
        };
        let config = match &behaviour.dense[..] {
            [] => None,
            [(name, size)] if name.is_empty() => Some(q::vectors_config::Config::Params(params(size))),
            named => Some(q::vectors_config::Config::ParamsMap(q::VectorParamsMap {
                map: named.iter().map(|(name, size)| (name.clone(), params(size))).collect(),
            })),
        };
        let sparse = q::SparseVectorConfig {
            map: behaviour.sparse.iter().map(|name| (name.clone(), q::SparseVectorParams::default())).collect(),
        };
        let params = q::CollectionParams {
            vectors_config: Some(q::VectorsConfig { config }),
            sparse_vectors_config: (!sparse.map.is_empty()).then_some(sparse),
            ..Default::default()
        };
        let config = q::CollectionConfig { params: Some(params), ..Default::default() };
        let info = q::CollectionInfo {
            config: Some(config),
            points_count: Some(behaviour.points.len() as u64),
            ..Default::default()
        };
        Ok(Response::new(q::GetCollectionInfoResponse { result: Some(info), ..Default::default() }))
    }

    fn list_collections(
        &self,
        request: Request<q::ListCollectionsRequest>,
    ) -> Answer<q::ListCollectionsResponse> {
        let names = self.behaviour(&request).collections;
        let collections = names.into_iter().map(|name| q::CollectionDescription { name }).collect();
        Ok(Response::new(q::ListCollectionsResponse { collections, ..Default::default() }))
    }

    fn scroll_points(&self, request: Request<q::ScrollPoints>) -> Answer<q::ScrollResponse> {
        let behaviour = self.behaviour(&request);
        let limit = request.get_ref().limit.unwrap_or(10) as usize;
        let vector = q::VectorOutput {
            vector: Some(q::vector_output::Vector::Dense(q::DenseVector { data: behaviour.vector.clone() })),
            ..Default::default()
        };
        let options = match &behaviour.dense[..] {
            [(name, _), ..] if !name.is_empty() => {
                let vectors = HashMap::from([(name.clone(), vector)]);
                q::vectors_output::VectorsOptions::Vectors(q::NamedVectorsOutput { vectors })
            }
            _ => q::vectors_output::VectorsOptions::Vector(vector),
        };
        let point = |(index, payload): (usize, Value)| RetrievedPoint {
            id: Some((index as u64 + 1).into()),
            payload: Payload::try_from(payload).unwrap().into(),
            vectors: Some(q::VectorsOutput { vectors_options: Some(options.clone()) }),
            ..Default::default()
        };
        let result = behaviour.points.into_iter().take(limit).enumerate().map(point).collect();
        Ok(Response::new(q::ScrollResponse { result, ..Default::default() }))
    }

    async fn run_batch(&self, request: Request<QueryBatchPoints>) -> Answer<q::QueryBatchResponse> {
        let behaviour = self.behaviour(&request);
        let batch = request.into_inner();
        self.0.batches.lock().unwrap().push(batch.clone());
        if behaviour.frozen {
            let _open = OpenSearch::new(&self.0);
            std::future::pending::<()>().await;
        }
        if let Some(code) = behaviour.query_error {
            return Err(Status::new(code, "internal words of Qdrant"));
        }
        let results: Result<Vec<_>, Status> =
            batch.query_points.iter().map(|query| run_query(&behaviour, query)).collect();
        let result = results?.into_iter().map(|result| BatchResult { result }).collect();
        Ok(Response::new(q::QueryBatchResponse { result, ..Default::default() }))
    }

    fn run_single(&self, request: Request<QueryPoints>) -> Answer<q::QueryResponse> {
        let behaviour = self.behaviour(&request);
        let result = run_query(&behaviour, request.get_ref())?;
        Ok(Response::new(q::QueryResponse { result, ..Default::default() }))
    }
}

/// Returns the canned results of one query, up to its limit.
fn run_query(behaviour: &Behaviour, query: &QueryPoints) -> Result<Vec<ScoredPoint>, Status> {
    let sparse = behaviour.sparse.contains(&query.using().to_owned());
    if sparse && behaviour.no_inference {
        return Err(Status::internal("InferenceService is not initialized"));
    }
    let ids: Vec<u64> =
        if sparse { behaviour.sparse_order.clone() } else { (1..=behaviour.points.len() as u64).collect() };
    let point = |id: u64| ScoredPoint {
        id: Some(id.into()),
        payload: Payload::try_from(behaviour.points[id as usize - 1].clone()).unwrap().into(),
        score: 1.0 / id as f32,
        ..Default::default()
    };
    Ok(ids.into_iter().take(query.limit() as usize).map(point).collect())
}

service! {
    Points {
        async fn query_batch(&self, request: Request<QueryBatchPoints>) -> Answer<q::QueryBatchResponse> {
            self.run_batch(request).await
        }
        async fn query(&self, request: Request<QueryPoints>) -> Answer<q::QueryResponse> {
            self.run_single(request)
        }
        async fn scroll(&self, request: Request<q::ScrollPoints>) -> Answer<q::ScrollResponse> {
            self.scroll_points(request)
        }
    }
    unused {
        upsert(UpsertPoints) -> PointsOperationResponse;
        delete(DeletePoints) -> PointsOperationResponse;
        get(GetPoints) -> GetResponse;
        create_field_index(CreateFieldIndexCollection) -> PointsOperationResponse;
        count(CountPoints) -> CountResponse;
    }
}

service! {
    Collections {
        async fn get(&self, request: Request<q::GetCollectionInfoRequest>) -> Answer<q::GetCollectionInfoResponse> {
            self.describe_collection(request)
        }
        async fn list(&self, request: Request<q::ListCollectionsRequest>) -> Answer<q::ListCollectionsResponse> {
            self.list_collections(request)
        }
    }
    unused {
        create(CreateCollection) -> CollectionOperationResponse;
        update(UpdateCollection) -> CollectionOperationResponse;
        delete(DeleteCollection) -> CollectionOperationResponse;
        collection_exists(CollectionExistsRequest) -> CollectionExistsResponse;
    }
}

service! { Qdrant {} unused { health_check(HealthCheckRequest) -> HealthCheckReply; } }
