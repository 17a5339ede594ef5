//! Checks that [`EdgeQdrant`] answers a client as a server does.

use std::collections::HashMap;

use qdrant_client::qdrant::{Condition, Filter, PointId, PointStruct, value::Kind};
use qdrant_client::{Payload, Qdrant, QdrantError};
use serde_json::json;
use tonic::Code;
use uuid::Uuid;

use super::{EdgeQdrant, q};

/// Connects a client without its check of versions, which blocks the one thread that the server needs for its
/// answer.
fn client(server: &EdgeQdrant) -> Qdrant {
    Qdrant::from_url(&server.url()).skip_compatibility_check().build().unwrap()
}

fn bm25(text: &str) -> q::Document {
    let options = Payload::try_from(json!({ "language": "german", "avg_len": 4 })).unwrap();
    q::Document { text: text.to_owned(), model: "qdrant/bm25".to_owned(), options: options.into() }
}

/// Makes points 0 to 19: even ones by number, odd ones by UUID. Their vectors turn from [1, 0] to [0, 1].
fn point(number: u64) -> PointStruct {
    let angle = number as f32 / 19.0 * std::f32::consts::FRAC_PI_2;
    let text = if number == 7 { "Die Häuser stehen" } else { "Ein Wald wächst" };
    let vectors = q::NamedVectors::default()
        .add_vector("dense", vec![angle.cos(), angle.sin()])
        .add_vector("bm25", q::Vector::from(bm25(text)));
    let kind = ["a", "b", "c"][number as usize % 3];
    let mut payload = json!({ "number": number, "kind": kind });
    if number < 5 {
        payload["early"] = json!(true);
    }
    PointStruct::new(id(number), vectors, Payload::try_from(payload).unwrap())
}

fn id(number: u64) -> PointId {
    if number.is_multiple_of(2) { number.into() } else { Uuid::from_u128(number.into()).to_string().into() }
}

async fn create(client: &Qdrant) -> Result<(), QdrantError> {
    let mut dense = q::VectorsConfigBuilder::default();
    dense.add_named_vector_params("dense", q::VectorParamsBuilder::new(2, q::Distance::Cosine));
    let mut sparse = q::SparseVectorsConfigBuilder::default();
    let idf = q::SparseVectorParamsBuilder::default().modifier(q::Modifier::Idf);
    sparse.add_named_vector_params("bm25", idf);
    let create = q::CreateCollectionBuilder::new("docs").vectors_config(dense);
    let metadata = HashMap::from([("model".to_owned(), json!("m")), ("run".to_owned(), json!(1))]);
    client.create_collection(create.sparse_vectors_config(sparse).metadata(metadata)).await.map(drop)
}

async fn start_filled() -> (EdgeQdrant, Qdrant) {
    let server = EdgeQdrant::start().await;
    let client = client(&server);
    create(&client).await.unwrap();
    upsert(&client, (0..20).map(point).collect()).await.unwrap();
    (server, client)
}

async fn upsert(client: &Qdrant, points: Vec<PointStruct>) -> Result<(), QdrantError> {
    client.upsert_points(q::UpsertPointsBuilder::new("docs", points).wait(true)).await.map(drop)
}

async fn count(client: &Qdrant, filter: Filter) -> Result<u64, QdrantError> {
    let count = client.count(q::CountPointsBuilder::new("docs").filter(filter)).await?;
    Ok(count.result.unwrap().count)
}

async fn info(client: &Qdrant) -> q::CollectionInfo {
    client.collection_info("docs").await.unwrap().result.unwrap()
}

fn refusal<T: std::fmt::Debug>(outcome: Result<T, QdrantError>) -> (Code, String) {
    match outcome {
        Err(QdrantError::ResponseError { status }) => (status.code(), status.message().to_owned()),
        other => panic!("{other:?}"),
    }
}

fn nearest(query: impl Into<q::VectorInput>, using: &str) -> q::QueryPointsBuilder {
    let query = q::Query::new_nearest(query);
    q::QueryPointsBuilder::new("docs").query(query).using(using).limit(3).with_payload(true)
}

fn numbers(points: &[q::ScoredPoint]) -> Vec<i64> {
    points.iter().map(|point| point.payload["number"].as_integer().unwrap()).collect()
}

#[tokio::test]
async fn a_collection_is_described_as_it_was_created_and_updated() {
    let (server, client) = start_filled().await;
    let (code, message) = refusal(create(&client).await);
    assert_eq!((code, message.contains("`docs` already exists")), (Code::AlreadyExists, true));
    server.ignore_metadata(true);
    let update = |value: serde_json::Value| {
        let metadata = HashMap::from([("run".to_owned(), value), ("more".to_owned(), json!([true]))]);
        q::UpdateCollectionBuilder::new("docs").metadata(metadata)
    };
    client.update_collection(update(json!(2))).await.unwrap();
    let config = info(&client).await.config.unwrap();
    assert_eq!((config.metadata["run"].as_integer(), config.metadata.len()), (Some(1), 2));
    server.ignore_metadata(false);
    client.update_collection(update(json!(null))).await.unwrap();
    let info = info(&client).await;
    let config = info.config.unwrap();
    let mut keys: Vec<&str> = config.metadata.keys().map(String::as_str).collect();
    keys.sort();
    assert_eq!((keys, info.points_count), (vec!["model", "more"], Some(20)));
    let params = config.params.unwrap();
    assert_eq!(params.sparse_vectors_config.unwrap().map["bm25"].modifier(), q::Modifier::Idf);
    let Some(q::vectors_config::Config::ParamsMap(dense)) = params.vectors_config.unwrap().config else {
        panic!("the vector is named")
    };
    assert_eq!((dense.map["dense"].size, dense.map["dense"].distance()), (2, q::Distance::Cosine));

    assert!(client.collection_exists("docs").await.unwrap());
    assert!(client.delete_collection("docs").await.unwrap().result);
    assert!(client.list_collections().await.unwrap().collections.is_empty());
    let missing = (Code::NotFound, "Not found: Collection `docs` doesn't exist!".to_owned());
    assert_eq!(refusal(count(&client, Filter::default()).await), missing);
    assert_eq!(client.health_check().await.unwrap().version, "1.20.0");
}

#[tokio::test]
async fn words_and_vectors_find_their_points_and_a_wrong_size_is_refused() {
    let (_server, client) = start_filled().await;
    let legs = vec![nearest(bm25("Haus"), "bm25").build(), nearest(vec![1.0, 0.0], "dense").build()];
    let answer = client.query_batch(q::QueryBatchPointsBuilder::new("docs", legs)).await.unwrap();
    assert_eq!(numbers(&answer.result[0].result), [7]);
    assert_eq!(numbers(&answer.result[1].result), [0, 1, 2]);
    assert!((answer.result[1].result[0].score - 1.0).abs() < 1e-4);
    let kind = Filter::must([Condition::matches("kind", "b".to_owned())]);
    let answer = client.query(nearest(vec![1.0, 0.0], "dense").filter(kind)).await.unwrap();
    assert_eq!(numbers(&answer.result), [1, 4, 7]);

    let wrong = PointStruct::new(99, q::NamedVectors::default().add_vector("dense", vec![1.0]), Payload::new());
    assert_eq!(refusal(upsert(&client, vec![wrong]).await).0, Code::InvalidArgument);
    assert_eq!(refusal(client.query(nearest(vec![1.0; 3], "dense")).await).0, Code::InvalidArgument);
    upsert(&client, vec![point(20)]).await.unwrap();
    assert_eq!(count(&client, Filter::default()).await.unwrap(), 21);
}

#[tokio::test]
async fn filters_count_the_same_with_and_without_an_index() {
    let (_server, client) = start_filled().await;
    let any = Condition::matches("kind", vec!["a".to_owned(), "b".to_owned()]);
    let range = Condition::range("number", q::Range { gte: Some(3.0), lt: Some(9.0), ..Default::default() });
    let either = Filter::should([Condition::matches("number", 4), Condition::matches("number", 19)]);
    let cases = [
        (Filter::must([Condition::matches("kind", "c".to_owned())]), 6),
        (Filter::must([any.clone(), range.clone()]), 4),
        (Filter::must_not([any, range]), 4),
        (Filter::must([Condition::matches("early", true), Condition::from(either)]), 1),
        (Filter::must([Condition::is_empty("early")]), 15),
        (Filter::must([Condition::has_id([id(3), id(4), id(77)])]), 2),
    ];
    for indexed in [false, true] {
        for (filter, expected) in &cases {
            assert_eq!(count(&client, filter.clone()).await.unwrap(), *expected, "{indexed} {filter:?}");
        }
        for (field, kind) in [("kind", q::FieldType::Keyword), ("number", q::FieldType::Integer)] {
            let index = q::CreateFieldIndexCollectionBuilder::new("docs", field, kind).wait(true);
            client.create_field_index(index).await.unwrap();
        }
    }
    let schema = info(&client).await.payload_schema;
    let indexed = |field: &str| (schema[field].data_type(), schema[field].points);
    assert_eq!(indexed("kind"), (q::PayloadSchemaType::Keyword, Some(20)));
    assert_eq!(indexed("number"), (q::PayloadSchemaType::Integer, Some(20)));
    let (code, message) = refusal(count(&client, Filter::must([Condition::is_null("kind")])).await);
    assert_eq!((code, message.contains("IsNull")), (Code::Unimplemented, true), "{message}");
}

#[tokio::test]
async fn pages_follow_each_other_and_what_is_deleted_is_gone() {
    let (_server, client) = start_filled().await;
    let page = q::ScrollPointsBuilder::new("docs").limit(8).with_vectors(true);
    let mut page = page.with_payload(q::PayloadIncludeSelector { fields: vec!["number".to_owned()] });
    let (mut seen, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let answer = client.scroll(page.clone()).await.unwrap();
        sizes.push(answer.result.len());
        seen.extend(answer.result);
        let Some(next) = answer.next_page_offset else { break };
        assert!(sizes.len() < 3, "the pages do not end");
        page = page.offset(next);
    }
    assert_eq!(sizes, [8, 8, 4]);
    for point in seen {
        let Some(Kind::IntegerValue(number)) = point.payload["number"].kind else { panic!("{point:?}") };
        assert_eq!((point.payload.len(), point.id), (1, Some(id(number as u64))));
        let vectors = point.vectors.unwrap();
        assert!(vectors.get_vector_by_name("dense").is_some() && vectors.get_vector_by_name("bm25").is_some());
    }
    let ids = [id(1), id(2)];
    client.delete_points(q::DeletePointsBuilder::new("docs").points(ids.clone())).await.unwrap();
    let early = Filter::must([Condition::matches("early", true)]);
    let found =
        client.get_points(q::GetPointsBuilder::new("docs", [&ids[..], &[id(3)]].concat())).await.unwrap();
    assert_eq!((found.result.len(), found.result[0].payload.len()), (1, 0));
    client.delete_points(q::DeletePointsBuilder::new("docs").points(early)).await.unwrap();
    assert_eq!(info(&client).await.points_count, Some(15));
}

#[tokio::test]
async fn a_server_that_is_cut_off_answers_nothing_until_it_recovers() {
    let (server, client) = start_filled().await;
    server.fail_after_upserts(1);
    upsert(&client, vec![point(20)]).await.unwrap();
    assert_eq!(refusal(upsert(&client, vec![point(21)]).await).0, Code::Unavailable);
    assert_eq!(refusal(count(&client, Filter::default()).await).0, Code::Unavailable);
    server.recover();
    assert_eq!(count(&client, Filter::default()).await.unwrap(), 21);
    let calls = server.calls();
    // The client repeated each failed call once.
    assert_eq!((calls.methods["upsert_points"], calls.methods["count"], calls.points), (4, 3, 21));
}

#[tokio::test]
async fn an_unnamed_vector_is_written_and_found_without_a_name() {
    let server = EdgeQdrant::start().await;
    let client = client(&server);
    let dense = q::VectorParamsBuilder::new(2, q::Distance::Dot);
    client.create_collection(q::CreateCollectionBuilder::new("docs").vectors_config(dense)).await.unwrap();
    upsert(&client, vec![PointStruct::new(1, vec![1.0, 2.0], Payload::new())]).await.unwrap();
    let query = q::QueryPointsBuilder::new("docs").query(vec![1.0, 1.0]).with_vectors(true);
    let found = client.query(query).await.unwrap().result;
    assert_eq!(found[0].score, 3.0);
    assert!(found[0].vectors.clone().unwrap().get_vector().is_some());
}
