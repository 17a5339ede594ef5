//! Converts between Docent's types and those of `qdrant-edge`. No I/O.

use qdrant_edge::bm25_embed::EdgeBm25;
use qdrant_edge::external::uuid::Uuid as EdgeUuid;
use qdrant_edge::{PointId, ScoredPoint, SparseVector, VectorInternal, VectorStructInternal};
use uuid::Uuid;

use crate::chat::{Filter, FilterValue, Vector};
use crate::retrieval::bm25::Analyzer;
use crate::retrieval::description::{DENSE_VECTOR, OFFLINE_VECTOR};
use crate::retrieval::error::Error;
use crate::retrieval::fusion::Hit;
use crate::retrieval::payload::Payload;

/// Builds the engine's BM25 for a language, which gives the server's vectors bit for bit.
pub(super) fn edge_bm25(analyzer: Analyzer) -> Result<EdgeBm25, String> {
    let config = serde_json::from_value(analyzer.options().into()).map_err(|error| error.to_string())?;
    EdgeBm25::new(config).map_err(|error| error.to_string())
}

/// Builds a filter that admits, for each key, a point with any of the values or without that key. The filter is
/// written as JSON, a form that the engine shares with the server, and parsed by the engine.
pub(super) fn edge_filter(filter: &Filter) -> Result<Option<qdrant_edge::Filter>, Error> {
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

/// Builds a sparse vector.
pub(super) fn sparse_vector(features: &[(u32, f32)]) -> SparseVector {
    let (indices, values) = features.iter().copied().unzip();
    SparseVector { indices, values }
}

/// Returns the embedding among a point's vectors; `None` where there is none.
pub(super) fn read_embedding(vector: VectorStructInternal) -> Option<Vector> {
    let VectorStructInternal::Named(mut named) = vector else { return None };
    match named.remove(DENSE_VECTOR).or_else(|| named.remove(OFFLINE_VECTOR))? {
        VectorInternal::Dense(dense) => Some(Vector::Dense(dense)),
        VectorInternal::Sparse(sparse) => {
            Some(Vector::Sparse(sparse.indices.into_iter().zip(sparse.values).collect()))
        }
        VectorInternal::MultiDense(_) => None,
    }
}

/// Reads a found point.
pub(super) fn read_hit(point: ScoredPoint) -> Hit<Payload> {
    Hit {
        id: id_text(point.id),
        score: f64::from(point.score),
        item: point.payload.map(|payload| payload.0).unwrap_or_default(),
    }
}

/// Converts an id to the engine's type.
pub(super) fn point_id(id: Uuid) -> PointId {
    PointId::Uuid(EdgeUuid::from_bytes(*id.as_bytes()))
}

/// Reads the id of a point that Docent wrote; `None` for a number, which Docent never writes.
pub(super) fn read_uuid(id: PointId) -> Option<Uuid> {
    match id {
        PointId::Uuid(id) => Some(Uuid::from_bytes(*id.as_bytes())),
        PointId::NumId(_) => None,
    }
}

/// Returns the text of any point's id.
fn id_text(id: PointId) -> String {
    match id {
        PointId::NumId(number) => number.to_string(),
        PointId::Uuid(uuid) => uuid.to_string(),
    }
}
