//! Converts between the types of the wire and those of the engine.

use std::collections::HashMap;

use qdrant_client::Payload;
use qdrant_client::qdrant::condition::ConditionOneOf;
use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::{self as q, vector, vector_input, vector_output, vectors, vectors_output};
use qdrant_client::qdrant::{with_payload_selector, with_vectors_selector};
use qdrant_edge::bm25_embed::EdgeBm25;
use qdrant_edge::{self as edge, OperationError, PointId, VectorInternal, VectorStructInternal};
use serde_json::{Value, json};
use tonic::Status;

pub(super) fn unknown_option(what: impl std::fmt::Display) -> Status {
    Status::unimplemented(format!("EdgeQdrant does not know: {what}"))
}

pub(super) fn engine_status(error: OperationError) -> Status {
    match error {
        OperationError::ServiceError { .. } => Status::internal(error.to_string()),
        _ => Status::invalid_argument(format!("Wrong input: {error}")),
    }
}

/// Reads a value of the engine from the JSON form that it shares with the server.
pub(super) fn parse<T: serde::de::DeserializeOwned>(json: Value) -> Result<T, Status> {
    serde_json::from_value(json).map_err(|error| Status::invalid_argument(format!("Wrong input: {error}")))
}

pub(super) fn payload(wire: HashMap<String, q::Value>) -> edge::Payload {
    edge::Payload(Payload::from(wire).into())
}

pub(super) fn id(wire: q::PointId) -> Result<PointId, Status> {
    match wire.point_id_options {
        Some(PointIdOptions::Num(number)) => Ok(PointId::NumId(number)),
        Some(PointIdOptions::Uuid(text)) => match edge::external::uuid::Uuid::parse_str(&text) {
            Ok(uuid) => Ok(PointId::Uuid(uuid)),
            Err(_) => Err(Status::invalid_argument(format!("Unable to parse UUID: {text}"))),
        },
        None => Err(Status::invalid_argument("No ID options provided")),
    }
}

pub(super) fn ids(wire: Vec<q::PointId>) -> Result<Vec<PointId>, Status> {
    wire.into_iter().map(id).collect()
}

pub(super) fn wire_id(id: PointId) -> q::PointId {
    match id {
        PointId::NumId(number) => number.into(),
        PointId::Uuid(uuid) => uuid.to_string().into(),
    }
}

pub(super) fn point(wire: q::PointStruct) -> Result<edge::PointStructPersisted, Status> {
    let named = match wire.vectors.and_then(|vectors| vectors.vectors_options) {
        Some(vectors::VectorsOptions::Vector(vector)) => HashMap::from([(String::new(), vector)]),
        Some(vectors::VectorsOptions::Vectors(named)) => named.vectors,
        None => HashMap::new(),
    };
    let named = named.into_iter().map(|(name, wire)| Ok((name, vector_to_store(wire)?)));
    let named = named.collect::<Result<HashMap<_, _>, Status>>()?;
    let id = id(wire.id.unwrap_or_default())?;
    Ok(edge::PointStruct::new(id, named, Value::Object(payload(wire.payload).0)).into())
}

/// Converts a vector to store; the text of a document becomes BM25 weights.
fn vector_to_store(wire: q::Vector) -> Result<edge::Vector, Status> {
    match wire.vector {
        Some(vector::Vector::Dense(dense)) => Ok(dense.data.into()),
        Some(vector::Vector::Sparse(sparse)) => sparse_vector(sparse),
        Some(vector::Vector::Document(document)) => Ok(bm25(&document)?.embed_document(&document.text).into()),
        other => Err(unknown_option(format!("vector {other:?}"))),
    }
}

/// Converts a vector to search with; the text of a document becomes a set of words.
pub(super) fn vector_to_search(wire: q::VectorInput) -> Result<VectorInternal, Status> {
    match wire.variant {
        Some(vector_input::Variant::Dense(dense)) => Ok(VectorInternal::Dense(dense.data)),
        Some(vector_input::Variant::Sparse(sparse)) => Ok(sparse_vector(sparse)?.0),
        Some(vector_input::Variant::Document(document)) => {
            Ok(VectorInternal::Sparse(bm25(&document)?.embed_query(&document.text)))
        }
        other => Err(unknown_option(format!("nearest {other:?}"))),
    }
}

fn sparse_vector(wire: q::SparseVector) -> Result<edge::Vector, Status> {
    edge::Vector::new_sparse(wire.indices, wire.values).map_err(engine_status)
}

fn bm25(document: &q::Document) -> Result<EdgeBm25, Status> {
    if !document.model.eq_ignore_ascii_case("qdrant/bm25") {
        return Err(Status::internal("Service internal error: InferenceService is not initialized"));
    }
    let options = parse(Value::Object(payload(document.options.clone()).0))?;
    EdgeBm25::new(options).map_err(|error| Status::invalid_argument(format!("Wrong input: {error}")))
}

pub(super) fn with_payload(
    wire: Option<q::WithPayloadSelector>,
    default: bool,
) -> Result<edge::WithPayloadInterface, Status> {
    use with_payload_selector::SelectorOptions;
    parse(match wire.and_then(|selector| selector.selector_options) {
        Some(SelectorOptions::Enable(enable)) => json!(enable),
        Some(SelectorOptions::Include(include)) => json!(include.fields),
        Some(SelectorOptions::Exclude(exclude)) => json!({ "exclude": exclude.fields }),
        None => json!(default),
    })
}

pub(super) fn with_vectors(wire: Option<q::WithVectorsSelector>) -> edge::WithVector {
    use with_vectors_selector::SelectorOptions;
    match wire.and_then(|selector| selector.selector_options) {
        Some(SelectorOptions::Enable(enable)) => edge::WithVector::Bool(enable),
        Some(SelectorOptions::Include(include)) => edge::WithVector::Selector(include.names),
        None => edge::WithVector::Bool(false),
    }
}

pub(super) fn filter(wire: q::Filter) -> Result<edge::Filter, Status> {
    parse(filter_json(wire)?)
}

fn filter_json(wire: q::Filter) -> Result<Value, Status> {
    if wire.min_should.is_some() {
        return Err(unknown_option("min_should"));
    }
    let mut json = json!({});
    for (name, wire) in [("must", wire.must), ("should", wire.should), ("must_not", wire.must_not)] {
        if !wire.is_empty() {
            json[name] = wire.into_iter().map(condition).collect::<Result<_, _>>()?;
        }
    }
    Ok(json)
}

fn condition(wire: q::Condition) -> Result<Value, Status> {
    match wire.condition_one_of {
        Some(ConditionOneOf::Field(wire)) => field(wire),
        Some(ConditionOneOf::IsEmpty(wire)) => Ok(json!({ "is_empty": { "key": wire.key } })),
        Some(ConditionOneOf::HasId(wire)) => Ok(json!({ "has_id": ids(wire.has_id)? })),
        Some(ConditionOneOf::Filter(wire)) => filter_json(wire),
        other => Err(unknown_option(format!("condition {other:?}"))),
    }
}

fn field(wire: q::FieldCondition) -> Result<Value, Status> {
    let more = q::FieldCondition { key: String::new(), r#match: None, range: None, ..wire.clone() };
    let matched = wire.r#match.clone().and_then(|wire| wire.match_value);
    let (name, value) = match (matched, wire.range) {
        _ if more != q::FieldCondition::default() => return Err(unknown_option(format!("condition {wire:?}"))),
        (Some(MatchValue::Keyword(text)), None) => ("match", json!({ "value": text })),
        (Some(MatchValue::Integer(number)), None) => ("match", json!({ "value": number })),
        (Some(MatchValue::Boolean(truth)), None) => ("match", json!({ "value": truth })),
        (Some(MatchValue::Keywords(any)), None) => ("match", json!({ "any": any.strings })),
        (Some(MatchValue::Integers(any)), None) => ("match", json!({ "any": any.integers })),
        (None, Some(q::Range { lt, gt, gte, lte })) => {
            ("range", json!({ "lt": lt, "gt": gt, "gte": gte, "lte": lte }))
        }
        _ => return Err(unknown_option(format!("condition {wire:?}"))),
    };
    Ok(json!({ "key": wire.key, name: value }))
}

fn wire_payload(payload: Option<edge::Payload>) -> HashMap<String, q::Value> {
    Payload::from(payload.unwrap_or_default().0).into()
}

fn wire_vectors(vectors: VectorStructInternal) -> q::VectorsOutput {
    let out = |vector: VectorInternal| {
        let vector = match vector {
            VectorInternal::Dense(data) => vector_output::Vector::Dense(q::DenseVector { data }),
            VectorInternal::Sparse(edge::SparseVector { indices, values }) => {
                vector_output::Vector::Sparse(q::SparseVector { indices, values })
            }
            VectorInternal::MultiDense(_) => panic!("create refuses multivectors"),
        };
        q::VectorOutput { vector: Some(vector), ..Default::default() }
    };
    let options = match vectors {
        VectorStructInternal::Single(data) => {
            vectors_output::VectorsOptions::Vector(out(VectorInternal::Dense(data)))
        }
        VectorStructInternal::Named(named) => {
            let vectors = named.into_iter().map(|(name, vector)| (name, out(vector))).collect();
            vectors_output::VectorsOptions::Vectors(q::NamedVectorsOutput { vectors })
        }
        VectorStructInternal::MultiDense(_) => panic!("create refuses multivectors"),
    };
    q::VectorsOutput { vectors_options: Some(options) }
}

pub(super) fn retrieved_point(record: edge::Record) -> q::RetrievedPoint {
    q::RetrievedPoint {
        id: Some(wire_id(record.id)),
        payload: wire_payload(record.payload),
        vectors: record.vector.map(wire_vectors),
        ..Default::default()
    }
}

pub(super) fn scored_point(point: edge::ScoredPoint) -> q::ScoredPoint {
    q::ScoredPoint {
        id: Some(wire_id(point.id)),
        payload: wire_payload(point.payload),
        score: point.score,
        version: point.version,
        vectors: point.vector.map(wire_vectors),
        ..Default::default()
    }
}
