//! Holds one collection: a shard of the real engine.

use std::collections::HashMap;

use qdrant_client::Payload;
use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_client::qdrant::{self as q, query, vectors_config};
use qdrant_edge::{
    self as edge, EdgeConfigBuilder, EdgeShard, EdgeSparseVectorParamsBuilder, EdgeVectorParamsBuilder,
    PayloadFieldSchema, PayloadSchemaType, PointOperations, QueryEnum, ScoringQuery, UpdateOperation,
};
use serde_json::json;
use tonic::Status;

use super::convert::*;

/// Lists the types of fields in the order of `q::FieldType`, and from 1 in that of `q::PayloadSchemaType`.
const FIELD_TYPES: [PayloadSchemaType; 8] = [
    PayloadSchemaType::Keyword,
    PayloadSchemaType::Integer,
    PayloadSchemaType::Float,
    PayloadSchemaType::Geo,
    PayloadSchemaType::Text,
    PayloadSchemaType::Bool,
    PayloadSchemaType::Datetime,
    PayloadSchemaType::Uuid,
];

/// Holds a shard, and the parameters of its creation. The shard closes before its folder is deleted.
pub(super) struct Collection {
    shard: EdgeShard,
    dense: Option<q::VectorsConfig>,
    sparse: Option<q::SparseVectorConfig>,
    pub(super) metadata: edge::Payload,
    _folder: tempfile::TempDir,
}

impl Collection {
    pub(super) fn new(request: q::CreateCollection) -> Result<Self, Status> {
        // The log is small, because it is never read.
        let wal = edge::WalOptions { segment_capacity: 1024 * 1024, ..Default::default() };
        let mut config = EdgeConfigBuilder::new().wal_options(wal);
        let dense = match request.vectors_config.clone().and_then(|vectors| vectors.config) {
            Some(vectors_config::Config::Params(params)) => HashMap::from([(String::new(), params)]),
            Some(vectors_config::Config::ParamsMap(named)) => named.map,
            None => HashMap::new(),
        };
        for (name, params) in dense {
            if params.multivector_config.is_some() {
                return Err(unknown_option("multivector_config"));
            }
            let distance = parse(json!(params.distance().as_str_name()))?;
            config = config.vector(name, EdgeVectorParamsBuilder::new(params.size as usize, distance).build());
        }
        for (name, params) in request.sparse_vectors_config.iter().flat_map(|sparse| &sparse.map) {
            let modifier = match params.modifier() {
                q::Modifier::Idf => edge::Modifier::Idf,
                q::Modifier::None => edge::Modifier::None,
            };
            config = config
                .sparse_vector(name.clone(), EdgeSparseVectorParamsBuilder::new().modifier(modifier).build());
        }
        let folder = tempfile::tempdir().map_err(|error| Status::internal(error.to_string()))?;
        let shard = EdgeShard::new(folder.path(), config.build()).map_err(engine_status)?;
        let (dense, sparse) = (request.vectors_config, request.sparse_vectors_config);
        Ok(Self { shard, dense, sparse, metadata: payload(request.metadata), _folder: folder })
    }

    pub(super) fn info(&self) -> q::CollectionInfo {
        let shard = self.shard.info();
        let params = q::CollectionParams {
            shard_number: 1,
            vectors_config: self.dense.clone(),
            sparse_vectors_config: self.sparse.clone(),
            ..Default::default()
        };
        let metadata = Payload::from(self.metadata.0.clone()).into();
        let schema = |(key, index): (edge::JsonPath, edge::PayloadIndexInfo)| {
            let place = FIELD_TYPES.iter().position(|kind| *kind == index.data_type).unwrap();
            let points = Some(index.points as u64);
            (key.to_string(), q::PayloadSchemaInfo { data_type: place as i32 + 1, points, params: None })
        };
        q::CollectionInfo {
            status: q::CollectionStatus::Green.into(),
            segments_count: shard.segments_count as u64,
            config: Some(q::CollectionConfig { params: Some(params), metadata, ..Default::default() }),
            payload_schema: shard.payload_schema.into_iter().map(schema).collect(),
            points_count: Some(shard.points_count as u64),
            ..Default::default()
        }
    }

    /// Applies an update and flushes it.
    pub(super) fn write(&self, operation: UpdateOperation) -> Result<q::PointsOperationResponse, Status> {
        let outcome = self.shard.update(operation);
        self.shard.flush();
        outcome.map_err(engine_status)?;
        let result = q::UpdateResult { status: q::UpdateStatus::Completed.into(), ..Default::default() };
        Ok(q::PointsOperationResponse { result: Some(result), ..Default::default() })
    }

    pub(super) fn delete(&self, request: q::DeletePoints) -> Result<q::PointsOperationResponse, Status> {
        let operation = match request.points.and_then(|selector| selector.points_selector_one_of) {
            Some(PointsSelectorOneOf::Points(list)) => PointOperations::DeletePoints { ids: ids(list.ids)? },
            Some(PointsSelectorOneOf::Filter(condition)) => {
                PointOperations::DeletePointsByFilter(filter(condition)?)
            }
            None => return Err(Status::invalid_argument("PointsSelector is missing")),
        };
        self.write(UpdateOperation::PointOperation(operation))
    }

    pub(super) fn index(
        &self,
        request: q::CreateFieldIndexCollection,
    ) -> Result<q::PointsOperationResponse, Status> {
        if request.field_index_params.is_some() {
            return Err(unknown_option("field_index_params"));
        }
        let kind = request.field_type.map(|kind| PayloadFieldSchema::FieldType(FIELD_TYPES[kind as usize]));
        let index = edge::CreateIndex { field_name: parse(json!(request.field_name))?, field_schema: kind };
        let operation = UpdateOperation::FieldIndexOperation(edge::FieldIndexOperations::CreateIndex(index));
        self.write(operation)
    }

    pub(super) fn scroll(&self, request: q::ScrollPoints) -> Result<q::ScrollResponse, Status> {
        if request.order_by.is_some() {
            return Err(unknown_option("order_by"));
        }
        let scroll = edge::ScrollRequest {
            offset: request.offset.map(id).transpose()?,
            limit: request.limit.map(|limit| limit as usize),
            filter: request.filter.map(filter).transpose()?,
            with_payload: Some(with_payload(request.with_payload, true)?),
            with_vector: with_vectors(request.with_vectors),
            order_by: None,
        };
        let (records, next) = self.shard.scroll(scroll).map_err(engine_status)?;
        let result = records.into_iter().map(retrieved_point).collect();
        Ok(q::ScrollResponse { next_page_offset: next.map(wire_id), result, ..Default::default() })
    }

    pub(super) fn get(&self, request: q::GetPoints) -> Result<q::GetResponse, Status> {
        let (ids, vectors) = (ids(request.ids)?, with_vectors(request.with_vectors));
        let payload = with_payload(request.with_payload, false)?;
        let records = self.shard.retrieve(&ids, Some(payload), Some(vectors)).map_err(engine_status)?;
        Ok(q::GetResponse { result: records.into_iter().map(retrieved_point).collect(), ..Default::default() })
    }

    pub(super) fn count(&self, request: q::CountPoints) -> Result<q::CountResponse, Status> {
        let filter = request.filter.map(filter).transpose()?;
        let count = edge::CountRequest { filter, exact: request.exact.unwrap_or(true) };
        let count = self.shard.count(count).map_err(engine_status)? as u64;
        Ok(q::CountResponse { result: Some(q::CountResult { count }), ..Default::default() })
    }

    pub(super) fn query(&self, request: q::QueryPoints) -> Result<Vec<q::ScoredPoint>, Status> {
        if !request.prefetch.is_empty() || request.lookup_from.is_some() {
            return Err(unknown_option("prefetch or lookup_from"));
        }
        let nearest = match request.query.and_then(|query| query.variant) {
            Some(query::Variant::Nearest(input)) => vector_to_search(input)?,
            other => return Err(unknown_option(format!("query {other:?}"))),
        };
        let using = request.using.unwrap_or_default();
        let query = QueryEnum::Nearest(edge::NamedQuery::new(nearest, using));
        let query = edge::QueryRequest {
            prefetches: Vec::new(),
            query: Some(ScoringQuery::Vector(query)),
            filter: request.filter.map(filter).transpose()?,
            score_threshold: request.score_threshold.map(Into::into),
            limit: request.limit.unwrap_or(10) as usize,
            offset: request.offset.unwrap_or(0) as usize,
            params: None,
            with_vector: with_vectors(request.with_vectors),
            with_payload: with_payload(request.with_payload, false)?,
        };
        Ok(self.shard.query(query).map_err(engine_status)?.into_iter().map(scored_point).collect())
    }
}
