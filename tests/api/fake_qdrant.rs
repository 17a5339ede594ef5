//! A Qdrant across a socket: a gRPC server with one collection of canned points, which records what it is asked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use qdrant_client::Payload;
use qdrant_client::qdrant::collections_server::{Collections, CollectionsServer};
use qdrant_client::qdrant::points_server::{Points, PointsServer};
use qdrant_client::qdrant::qdrant_server::{Qdrant, QdrantServer};
use qdrant_client::qdrant::{
    self as q, BatchResult, QueryBatchPoints, QueryPoints, RetrievedPoint, ScoredPoint,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};

use crate::fake_gemini::DIMENSIONS;

type Answer<T> = Result<Response<T>, Status>;

/// The fake.
pub struct FakeQdrant {
    address: String,
    state: Arc<Shared>,
}

/// What it holds and how it behaves; a test changes it before or while it is asked.
#[derive(Clone)]
pub struct Behaviour {
    /// Names of the collections; the first is the one with points.
    pub collections: Vec<String>,
    /// Dense vectors by name ("" is the unnamed one) and size.
    pub dense: Vec<(String, u64)>,
    /// Names of sparse vectors.
    pub sparse: Vec<String>,
    /// Payloads of the points, in the order of the dense leg; ids are 1, 2, ….
    pub points: Vec<Value>,
    /// Ids in the order of the sparse leg.
    pub sparse_order: Vec<u64>,
    /// The vector of every point.
    pub vector: Vec<f32>,
    /// Refuses BM25 documents, as a server before 1.15.
    pub no_inference: bool,
    /// Fails queries with this.
    pub query_error: Option<Code>,
    /// Never answers queries.
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
    searching: AtomicUsize,
    batches: Mutex<Vec<QueryBatchPoints>>,
    keys: Mutex<Vec<Option<String>>>,
}

/// Counts a search while it is open.
struct Searching(Arc<Shared>);

impl Searching {
    fn new(state: &Arc<Shared>) -> Self {
        state.searching.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(state))
    }
}

impl Drop for Searching {
    fn drop(&mut self) {
        self.0.searching.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Clone)]
struct Service(Arc<Shared>);

impl FakeQdrant {
    /// Starts it with three points and an unnamed dense vector.
    pub async fn start() -> Self {
        Self::with(Behaviour::default()).await
    }

    pub async fn with(behaviour: Behaviour) -> Self {
        let state = Arc::new(Shared {
            behaviour: Mutex::new(behaviour),
            searching: AtomicUsize::new(0),
            batches: Mutex::default(),
            keys: Mutex::default(),
        });
        let service = Service(Arc::clone(&state));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tonic::transport::Server::builder()
            .add_service(PointsServer::new(service.clone()))
            .add_service(CollectionsServer::new(service.clone()))
            .add_service(QdrantServer::new(service));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.state.behaviour.lock().unwrap());
    }

    /// Searches it is asked now and does not answer.
    pub fn searching(&self) -> usize {
        self.state.searching.load(Ordering::SeqCst)
    }

    /// The batches it was asked, in order.
    pub fn batches(&self) -> Vec<QueryBatchPoints> {
        self.state.batches.lock().unwrap().clone()
    }

    /// The `api-key` headers it was sent, in order.
    pub fn keys(&self) -> Vec<Option<String>> {
        self.state.keys.lock().unwrap().clone()
    }
}

impl Service {
    fn behaviour<T>(&self, request: &Request<T>) -> Behaviour {
        let key = request.metadata().get("api-key").map(|key| key.to_str().unwrap().to_owned());
        self.0.keys.lock().unwrap().push(key);
        self.0.behaviour.lock().unwrap().clone()
    }

    fn info(&self, request: Request<q::GetCollectionInfoRequest>) -> Answer<q::GetCollectionInfoResponse> {
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

    fn names(&self, request: Request<q::ListCollectionsRequest>) -> Answer<q::ListCollectionsResponse> {
        let names = self.behaviour(&request).collections;
        let collections = names.into_iter().map(|name| q::CollectionDescription { name }).collect();
        Ok(Response::new(q::ListCollectionsResponse { collections, ..Default::default() }))
    }

    fn page(&self, request: Request<q::ScrollPoints>) -> Answer<q::ScrollResponse> {
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

    async fn batch(&self, request: Request<QueryBatchPoints>) -> Answer<q::QueryBatchResponse> {
        let behaviour = self.behaviour(&request);
        let batch = request.into_inner();
        self.0.batches.lock().unwrap().push(batch.clone());
        if behaviour.frozen {
            let _searching = Searching::new(&self.0);
            std::future::pending::<()>().await;
        }
        if let Some(code) = behaviour.query_error {
            return Err(Status::new(code, "internal words of Qdrant"));
        }
        let legs: Result<Vec<_>, Status> =
            batch.query_points.iter().map(|query| leg(&behaviour, query)).collect();
        let result = legs?.into_iter().map(|result| BatchResult { result }).collect();
        Ok(Response::new(q::QueryBatchResponse { result, ..Default::default() }))
    }

    fn single(&self, request: Request<QueryPoints>) -> Answer<q::QueryResponse> {
        let behaviour = self.behaviour(&request);
        let result = leg(&behaviour, request.get_ref())?;
        Ok(Response::new(q::QueryResponse { result, ..Default::default() }))
    }
}

/// The canned order of one leg, as far as its limit.
fn leg(behaviour: &Behaviour, query: &QueryPoints) -> Result<Vec<ScoredPoint>, Status> {
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

/// Implements a service whose other methods no test may reach; those that neither fake has are here.
macro_rules! service {
    (Points { $($own:item)* } unused { $($unused:tt)* }) => {
        service! { @all Points { $($own)* } unused {
            update_vectors(UpdatePointVectors) -> PointsOperationResponse;
            delete_vectors(DeletePointVectors) -> PointsOperationResponse;
            set_payload(SetPayloadPoints) -> PointsOperationResponse;
            overwrite_payload(SetPayloadPoints) -> PointsOperationResponse;
            delete_payload(DeletePayloadPoints) -> PointsOperationResponse;
            clear_payload(ClearPayloadPoints) -> PointsOperationResponse;
            delete_field_index(DeleteFieldIndexCollection) -> PointsOperationResponse;
            create_vector_name(CreateVectorNameRequest) -> PointsOperationResponse;
            delete_vector_name(DeleteVectorNameRequest) -> PointsOperationResponse;
            search(SearchPoints) -> SearchResponse;
            search_batch(SearchBatchPoints) -> SearchBatchResponse;
            search_groups(SearchPointGroups) -> SearchGroupsResponse;
            recommend(RecommendPoints) -> RecommendResponse;
            recommend_batch(RecommendBatchPoints) -> RecommendBatchResponse;
            recommend_groups(RecommendPointGroups) -> RecommendGroupsResponse;
            discover(DiscoverPoints) -> DiscoverResponse;
            discover_batch(DiscoverBatchPoints) -> DiscoverBatchResponse;
            update_batch(UpdateBatchPoints) -> UpdateBatchResponse;
            query_groups(QueryPointGroups) -> QueryGroupsResponse;
            facet(FacetCounts) -> FacetResponse;
            search_matrix_pairs(SearchMatrixPoints) -> SearchMatrixPairsResponse;
            search_matrix_offsets(SearchMatrixPoints) -> SearchMatrixOffsetsResponse;
            $($unused)*
        } }
    };
    (Collections { $($own:item)* } unused { $($unused:tt)* }) => {
        service! { @all Collections { $($own)* } unused {
            update_aliases(ChangeAliases) -> CollectionOperationResponse;
            list_collection_aliases(ListCollectionAliasesRequest) -> ListAliasesResponse;
            list_aliases(ListAliasesRequest) -> ListAliasesResponse;
            collection_cluster_info(CollectionClusterInfoRequest) -> CollectionClusterInfoResponse;
            update_collection_cluster_setup(UpdateCollectionClusterSetupRequest) -> UpdateCollectionClusterSetupResponse;
            create_shard_key(CreateShardKeyRequest) -> CreateShardKeyResponse;
            delete_shard_key(DeleteShardKeyRequest) -> DeleteShardKeyResponse;
            list_shard_keys(ListShardKeysRequest) -> ListShardKeysResponse;
            $($unused)*
        } }
    };
    (Qdrant { $($own:item)* } unused { $($unused:tt)* }) => {
        service! { @all Qdrant { $($own)* } unused { $($unused)* } }
    };
    (@all $service:ident { $($own:item)* } unused { $($name:ident($request:ident) -> $response:ident;)* }) => {
        #[tonic::async_trait]
        impl $service for Service {
            $($own)*
            $(
                async fn $name(&self, _: Request<q::$request>) -> Answer<q::$response> {
                    Err(Status::unimplemented(concat!("no test asks for ", stringify!($name))))
                }
            )*
        }
    };
}

service! {
    Points {
        async fn query_batch(&self, request: Request<QueryBatchPoints>) -> Answer<q::QueryBatchResponse> {
            self.batch(request).await
        }
        async fn query(&self, request: Request<QueryPoints>) -> Answer<q::QueryResponse> {
            self.single(request)
        }
        async fn scroll(&self, request: Request<q::ScrollPoints>) -> Answer<q::ScrollResponse> {
            self.page(request)
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
            self.info(request)
        }
        async fn list(&self, request: Request<q::ListCollectionsRequest>) -> Answer<q::ListCollectionsResponse> {
            self.names(request)
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
