//! Converts between Docent's types and those of Qdrant's gRPC interface. No I/O.

use std::collections::HashMap;
use std::time::Duration;

use qdrant_client::QdrantError;
use qdrant_client::qdrant::{
    Condition, Document, Filter as QdrantFilter, PointId, Range, ScoredPoint, Value as QdrantValue,
    Vector as QdrantVector, VectorInput, VectorsOutput, point_id, vector_output,
};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::chat::{Filter, FilterValue, Vector};
use crate::retrieval::bm25::Analyzer;
use crate::retrieval::error::Error;
use crate::retrieval::fusion::Hit;
use crate::retrieval::payload::Payload;
use crate::text::log_safe;

/// The model with which a Qdrant server computes BM25 vectors by itself (1.15 and later).
const BM25_MODEL: &str = "qdrant/bm25";

/// Builds the document from which the server makes a BM25 vector.
pub(super) fn bm25_document(text: String, analyzer: Analyzer) -> Document {
    let options = analyzer.options().into_iter().map(|(key, value)| (key, value.into())).collect();
    Document { text, model: BM25_MODEL.to_owned(), options }
}

/// Builds the input of a query from a question's embedding.
pub(super) fn vector_input(vector: &Vector) -> VectorInput {
    match vector {
        Vector::Dense(dense) => VectorInput::from(dense.clone()),
        Vector::Sparse(features) => {
            let (indices, values): (Vec<u32>, Vec<f32>) = features.iter().copied().unzip();
            VectorInput::new_sparse(indices, values)
        }
    }
}

/// Builds the vector of a point to write.
pub(super) fn qdrant_vector(vector: Vector) -> QdrantVector {
    match vector {
        Vector::Dense(dense) => QdrantVector::new_dense(dense),
        Vector::Sparse(features) => {
            let (indices, values): (Vec<u32>, Vec<f32>) = features.into_iter().unzip();
            QdrantVector::new_sparse(indices, values)
        }
    }
}

/// Builds a filter that admits, for each key, a point with any of the values or without that key.
pub(super) fn qdrant_filter(filter: &Filter) -> Option<QdrantFilter> {
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

/// Reads a found point.
pub(super) fn read_hit(point: ScoredPoint) -> Hit<Payload> {
    Hit {
        id: point.id.map(id_text).unwrap_or_default(),
        score: f64::from(point.score),
        item: read_payload(point.payload),
    }
}

/// Reads the vector called `name`; `None` where there is none, or where it is a multivector.
pub(super) fn read_vector(vectors: VectorsOutput, name: &str) -> Option<Vector> {
    match vectors.get_vector_by_name(name)? {
        vector_output::Vector::Dense(dense) => Some(Vector::Dense(dense.data)),
        vector_output::Vector::Sparse(sparse) => {
            Some(Vector::Sparse(sparse.indices.into_iter().zip(sparse.values).collect()))
        }
        vector_output::Vector::MultiDense(_) => None,
    }
}

/// Reads a payload as JSON.
pub(super) fn read_payload(payload: HashMap<String, QdrantValue>) -> Payload {
    payload.into_iter().map(|(key, value)| (key, value.into())).collect()
}

/// Reads the id of a point that Docent wrote; `None` for a number, which Docent never writes.
pub(super) fn read_uuid(id: PointId) -> Option<Uuid> {
    match id.point_id_options? {
        point_id::PointIdOptions::Uuid(uuid) => Uuid::parse_str(&uuid).ok(),
        point_id::PointIdOptions::Num(_) => None,
    }
}

/// Returns the text of any point's id.
fn id_text(id: PointId) -> String {
    match id.point_id_options {
        Some(point_id::PointIdOptions::Num(number)) => number.to_string(),
        Some(point_id::PointIdOptions::Uuid(uuid)) => uuid,
        None => String::new(),
    }
}

/// Returns the server's status code; `None` where the server did not answer.
pub(super) fn status_code(error: &QdrantError) -> Option<Code> {
    match error {
        QdrantError::ResponseError { status } | QdrantError::ResourceExhaustedError { status, .. } => {
            Some(status.code())
        }
        _ => None,
    }
}

/// Converts a failed call into the room's error, by the server's status.
pub(super) fn retrieval_error(error: &QdrantError) -> Error {
    match error {
        QdrantError::ResourceExhaustedError { status, retry_after_seconds } => {
            let retry_after = Some(Duration::from_secs(*retry_after_seconds));
            Error::Busy { retry_after, cause: status_text(status) }
        }
        QdrantError::ResponseError { status } => match status.code() {
            Code::ResourceExhausted => Error::Busy { retry_after: None, cause: status_text(status) },
            Code::DeadlineExceeded => Error::Timeout,
            Code::NotFound
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented => Error::Refused(status_text(status)),
            _ => Error::Failed(status_text(status)),
        },
        other => Error::Failed(other.to_string()),
    }
}

/// Returns a status as a line of the log.
fn status_text(status: &Status) -> String {
    // tonic appends the debug form of its own error.
    let message = status.message().split(": tonic::").next().unwrap_or_default();
    format!("{:?} {}", status.code(), log_safe(message))
}

#[cfg(test)]
mod tests {
    use qdrant_client::qdrant::condition::ConditionOneOf;
    use qdrant_client::qdrant::vectors_output::VectorsOptions;
    use qdrant_client::qdrant::{
        DenseVector, MultiDenseVector, NamedVectorsOutput, SparseVector, VectorOutput, vector_input,
    };

    use super::*;

    fn vectors(named: Vec<(&str, vector_output::Vector)>) -> VectorsOutput {
        let output = |vector| VectorOutput { vector: Some(vector), ..VectorOutput::default() };
        let vectors = named.into_iter().map(|(name, vector)| (name.to_owned(), output(vector))).collect();
        VectorsOutput { vectors_options: Some(VectorsOptions::Vectors(NamedVectorsOutput { vectors })) }
    }

    #[test]
    fn a_filter_asks_for_any_value_of_every_key_and_lets_points_without_the_key_pass() {
        assert_eq!(qdrant_filter(&Filter::new()), None);
        let text = |text: &str| FilterValue::Text(text.to_owned());
        let filter = Filter::from([
            ("language".to_owned(), vec![text("de"), text("en")]),
            ("major".to_owned(), vec![FilterValue::Float(2.5)]),
        ]);
        let must = qdrant_filter(&filter).unwrap().must;
        let any_of = |condition: &Condition| match condition.condition_one_of.clone().unwrap() {
            ConditionOneOf::Filter(filter) => filter.should,
            other => panic!("{other:?}"),
        };
        let expected = [
            Condition::matches("language", "de".to_owned()),
            Condition::matches("language", "en".to_owned()),
            Condition::is_empty("language"),
        ];
        assert_eq!(any_of(&must[0]), expected);
        let range = Range { gte: Some(2.5), lte: Some(2.5), ..Default::default() };
        assert_eq!(any_of(&must[1]), [Condition::range("major", range), Condition::is_empty("major")]);
        assert_eq!(must.len(), 2);
    }

    #[test]
    fn the_vector_that_is_searched_is_found_among_others() {
        let dense = vector_output::Vector::Dense(DenseVector { data: vec![1.0, 2.0] });
        let sparse = vector_output::Vector::Sparse(SparseVector { indices: vec![7], values: vec![0.5] });
        let multi = vector_output::Vector::MultiDense(MultiDenseVector::default());
        let all = vectors(vec![("dense", dense), ("offline", sparse), ("late", multi)]);
        assert_eq!(read_vector(all.clone(), "dense"), Some(Vector::Dense(vec![1.0, 2.0])));
        assert_eq!(read_vector(all.clone(), "offline"), Some(Vector::Sparse(vec![(7, 0.5)])));
        assert_eq!(read_vector(all.clone(), "late"), None);
        assert_eq!(read_vector(all, "missing"), None);
    }

    #[test]
    fn a_sparse_question_keeps_its_features_and_their_weights() {
        let input = super::vector_input(&Vector::Sparse(vec![(3, 0.25), (9, 1.0)]));
        match input.variant.unwrap() {
            vector_input::Variant::Sparse(sparse) => {
                assert_eq!((sparse.indices, sparse.values), (vec![3, 9], vec![0.25, 1.0]));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_found_point_keeps_its_id_and_its_payload() {
        let payload = HashMap::from([("text".to_owned(), QdrantValue::from("words"))]);
        let point = ScoredPoint { id: Some(PointId::from(7)), payload, score: 0.5, ..Default::default() };
        let hit = read_hit(point);
        assert_eq!((hit.id.as_str(), hit.score), ("7", 0.5));
        assert_eq!(hit.item["text"], "words");
        let uuid = Uuid::from_u128(7);
        assert_eq!(read_uuid(PointId::from(uuid.to_string())), Some(uuid));
        assert_eq!(read_uuid(PointId::from(7)), None);
        assert_eq!(id_text(PointId::default()), "");
    }

    #[test]
    fn a_status_becomes_an_error_by_its_code_and_its_message_one_line() {
        let failed = |code| retrieval_error(&Status::new(code, "first\nsecond: tonic::Status {}").into());
        assert_eq!(failed(Code::DeadlineExceeded), Error::Timeout);
        assert!(matches!(failed(Code::ResourceExhausted), Error::Busy { retry_after: None, .. }));
        for code in [Code::NotFound, Code::Unauthenticated, Code::InvalidArgument, Code::Unimplemented] {
            assert!(matches!(failed(code), Error::Refused(_)), "{code:?}");
        }
        match failed(Code::Unavailable) {
            Error::Failed(cause) => {
                assert!(cause.starts_with("Unavailable first"), "{cause}");
                assert!(!cause.contains('\n') && !cause.contains("tonic"), "{cause}");
            }
            other => panic!("{other:?}"),
        }
        let asked = QdrantError::ResourceExhaustedError {
            status: Status::new(Code::ResourceExhausted, ""),
            retry_after_seconds: 3,
        };
        match retrieval_error(&asked) {
            Error::Busy { retry_after, .. } => assert_eq!(retry_after, Some(Duration::from_secs(3))),
            other => panic!("{other:?}"),
        }
        assert_eq!(status_code(&asked), Some(Code::ResourceExhausted));
    }

    #[test]
    fn the_server_is_told_the_language_of_a_bm25_text() {
        let document = bm25_document("Wörter".to_owned(), Analyzer::for_language("de"));
        assert_eq!((document.model.as_str(), document.text.as_str()), ("qdrant/bm25", "Wörter"));
        assert_eq!(document.options["language"], QdrantValue::from("german"));
    }
}
