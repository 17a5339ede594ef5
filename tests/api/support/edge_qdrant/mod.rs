//! Runs a Qdrant across a socket that really searches: a gRPC server whose collections are `qdrant_edge` shards
//! in temporary folders, so that a test writes a collection with the client as to any server.
//!
//! Options that only tune a server (HNSW, optimizers, shards, quantization) are ignored; options that would
//! change an answer and are not built are refused as unimplemented, by their name.

mod collection;
mod convert;
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qdrant_client::qdrant as q;
use qdrant_client::qdrant::collections_server::Collections;
use qdrant_client::qdrant::points_server::Points;
use qdrant_client::qdrant::qdrant_server::Qdrant;
use qdrant_edge::{PointOperations, UpdateOperation};
use tonic::{Request, Response, Status};

use collection::Collection;

use crate::support::grpc::{self, Answer};

/// Runs the server as long as the test runs.
pub struct EdgeQdrant {
    url: String,
    state: Arc<Mutex<State>>,
}

/// Counts the calls so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Calls {
    /// Calls of each method, failed or not, by its name in `qdrant_client`. The client itself repeats a call on
    /// points that fails as unavailable or internal, once.
    pub methods: BTreeMap<&'static str, usize>,
    /// Number of points that were upserted.
    pub points: usize,
}

#[derive(Default)]
struct State {
    collections: BTreeMap<String, Collection>,
    calls: Calls,
    /// Number of upserts that still succeed.
    upserts_left: Option<usize>,
    down: bool,
    no_metadata: bool,
}

#[derive(Clone)]
struct Service(Arc<Mutex<State>>);

impl EdgeQdrant {
    /// Starts a server without collections.
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let url = grpc::start(Service(Arc::clone(&state))).await;
        Self { url, state }
    }

    /// Returns the server's address, as `http://host:port`.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Returns the calls so far.
    pub fn calls(&self) -> Calls {
        lock(&self.state).calls.clone()
    }

    /// Fails every call after `count` more upserts, until [`EdgeQdrant::recover`].
    pub fn fail_after_upserts(&self, count: usize) {
        lock(&self.state).upserts_left = Some(count);
    }

    /// Ends the failures that [`EdgeQdrant::fail_after_upserts`] began.
    pub fn recover(&self) {
        let mut state = lock(&self.state);
        (state.upserts_left, state.down) = (None, false);
    }

    /// Ignores the metadata in requests if `ignored`, as a server before 1.16 does.
    pub fn ignore_metadata(&self, ignored: bool) {
        lock(&self.state).no_metadata = ignored;
    }
}

/// Locks the state, also after the engine has panicked under the lock.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Service {
    /// Runs `work` on a blocking thread, as the engine is synchronous.
    async fn answer<R: Send + 'static, T: Send + 'static>(
        &self,
        method: &'static str,
        request: Request<R>,
        work: fn(&mut State, R) -> Result<T, Status>,
    ) -> Answer<T> {
        let state = Arc::clone(&self.0);
        let work = move || {
            let mut state = lock(&state);
            state.enter(method)?;
            work(&mut state, request.into_inner())
        };
        let outcome = tokio::task::spawn_blocking(work).await;
        outcome.map_err(|_| Status::internal("the engine panicked"))?.map(Response::new)
    }
}

impl State {
    /// Counts a call, and fails it if the server is cut off.
    fn enter(&mut self, method: &'static str) -> Result<(), Status> {
        *self.calls.methods.entry(method).or_default() += 1;
        if method == "upsert_points" {
            self.down |= self.upserts_left == Some(0);
            self.upserts_left = self.upserts_left.map(|left| left.saturating_sub(1));
        }
        if self.down { Err(Status::unavailable("the test has cut it off")) } else { Ok(()) }
    }

    fn collection(&mut self, name: &str) -> Result<&mut Collection, Status> {
        let missing = || Status::not_found(format!("Not found: Collection `{name}` doesn't exist!"));
        self.collections.get_mut(name).ok_or_else(missing)
    }

    fn create(&mut self, mut request: q::CreateCollection) -> Result<q::CollectionOperationResponse, Status> {
        let name = std::mem::take(&mut request.collection_name);
        if self.collections.contains_key(&name) {
            return Err(Status::already_exists(format!("Wrong input: Collection `{name}` already exists!")));
        }
        if self.no_metadata {
            request.metadata.clear();
        }
        self.collections.insert(name, Collection::new(request)?);
        Ok(q::CollectionOperationResponse { result: true, ..Default::default() })
    }

    fn update(&mut self, request: q::UpdateCollection) -> Result<q::CollectionOperationResponse, Status> {
        let no_metadata = self.no_metadata;
        let collection = self.collection(&request.collection_name)?;
        if !no_metadata {
            collection.metadata.merge(&convert::payload(request.metadata));
        }
        Ok(q::CollectionOperationResponse { result: true, ..Default::default() })
    }

    fn remove(&mut self, request: q::DeleteCollection) -> Result<q::CollectionOperationResponse, Status> {
        let result = self.collections.remove(&request.collection_name).is_some();
        Ok(q::CollectionOperationResponse { result, ..Default::default() })
    }

    fn exists(&mut self, request: q::CollectionExistsRequest) -> Result<q::CollectionExistsResponse, Status> {
        let exists = self.collections.contains_key(&request.collection_name);
        let result = Some(q::CollectionExists { exists });
        Ok(q::CollectionExistsResponse { result, ..Default::default() })
    }

    fn list(&mut self, _: q::ListCollectionsRequest) -> Result<q::ListCollectionsResponse, Status> {
        let names = self.collections.keys().cloned();
        let collections = names.map(|name| q::CollectionDescription { name }).collect();
        Ok(q::ListCollectionsResponse { collections, ..Default::default() })
    }

    fn upsert(&mut self, request: q::UpsertPoints) -> Result<q::PointsOperationResponse, Status> {
        if request.update_filter.is_some() || request.update_mode() != q::UpdateMode::Upsert {
            return Err(convert::unknown_option("conditional upsert"));
        }
        let collection = self.collection(&request.collection_name)?;
        let points = request.points.into_iter().map(convert::point).collect::<Result<Vec<_>, _>>()?;
        let count = points.len();
        let operation = PointOperations::UpsertPoints(points.into());
        let answer = collection.write(UpdateOperation::PointOperation(operation))?;
        self.calls.points += count;
        Ok(answer)
    }

    fn info(&mut self, request: q::GetCollectionInfoRequest) -> Result<q::GetCollectionInfoResponse, Status> {
        let info = self.collection(&request.collection_name)?.info();
        Ok(q::GetCollectionInfoResponse { result: Some(info), ..Default::default() })
    }

    fn query(&mut self, request: q::QueryPoints) -> Result<q::QueryResponse, Status> {
        let result = self.collection(&request.collection_name)?.query(request)?;
        Ok(q::QueryResponse { result, ..Default::default() })
    }

    fn query_batch(&mut self, request: q::QueryBatchPoints) -> Result<q::QueryBatchResponse, Status> {
        let collection = self.collection(&request.collection_name)?;
        let leg = |query| collection.query(query).map(|result| q::BatchResult { result });
        let result = request.query_points.into_iter().map(leg).collect::<Result<_, _>>()?;
        Ok(q::QueryBatchResponse { result, ..Default::default() })
    }

    fn health(&mut self, _: q::HealthCheckRequest) -> Result<q::HealthCheckReply, Status> {
        let version = if self.no_metadata { "1.15.5" } else { "1.20.0" };
        let title = "qdrant - vector search engine";
        Ok(q::HealthCheckReply { title: title.to_owned(), version: version.to_owned(), commit: None })
    }
}

service! {
    Points {
        async fn upsert(&self, request: Request<q::UpsertPoints>) -> Answer<q::PointsOperationResponse> {
            self.answer("upsert_points", request, State::upsert).await
        }
        async fn delete(&self, request: Request<q::DeletePoints>) -> Answer<q::PointsOperationResponse> {
            self.answer("delete_points", request, |state, it| state.collection(&it.collection_name)?.delete(it)).await
        }
        async fn create_field_index(&self, request: Request<q::CreateFieldIndexCollection>) -> Answer<q::PointsOperationResponse> {
            self.answer("create_field_index", request, |state, it| state.collection(&it.collection_name)?.index(it)).await
        }
        async fn scroll(&self, request: Request<q::ScrollPoints>) -> Answer<q::ScrollResponse> {
            self.answer("scroll", request, |state, it| state.collection(&it.collection_name)?.scroll(it)).await
        }
        async fn get(&self, request: Request<q::GetPoints>) -> Answer<q::GetResponse> {
            self.answer("get_points", request, |state, it| state.collection(&it.collection_name)?.get(it)).await
        }
        async fn count(&self, request: Request<q::CountPoints>) -> Answer<q::CountResponse> {
            self.answer("count", request, |state, it| state.collection(&it.collection_name)?.count(it)).await
        }
        async fn query(&self, request: Request<q::QueryPoints>) -> Answer<q::QueryResponse> {
            self.answer("query", request, State::query).await
        }
        async fn query_batch(&self, request: Request<q::QueryBatchPoints>) -> Answer<q::QueryBatchResponse> {
            self.answer("query_batch", request, State::query_batch).await
        }
    }
    unused {}
}

service! {
    Collections {
        async fn create(&self, request: Request<q::CreateCollection>) -> Answer<q::CollectionOperationResponse> {
            self.answer("create_collection", request, State::create).await
        }
        async fn get(&self, request: Request<q::GetCollectionInfoRequest>) -> Answer<q::GetCollectionInfoResponse> {
            self.answer("collection_info", request, State::info).await
        }
        async fn list(&self, request: Request<q::ListCollectionsRequest>) -> Answer<q::ListCollectionsResponse> {
            self.answer("list_collections", request, State::list).await
        }
        async fn collection_exists(&self, request: Request<q::CollectionExistsRequest>) -> Answer<q::CollectionExistsResponse> {
            self.answer("collection_exists", request, State::exists).await
        }
        async fn update(&self, request: Request<q::UpdateCollection>) -> Answer<q::CollectionOperationResponse> {
            self.answer("update_collection", request, State::update).await
        }
        async fn delete(&self, request: Request<q::DeleteCollection>) -> Answer<q::CollectionOperationResponse> {
            self.answer("delete_collection", request, State::remove).await
        }
    }
    unused {}
}

service! {
    Qdrant {
        async fn health_check(&self, request: Request<q::HealthCheckRequest>) -> Answer<q::HealthCheckReply> {
            self.answer("health_check", request, State::health).await
        }
    }
    unused {}
}
