//! Checks the queries to a remote index over gRPC, and the passages that are read from its payloads.

use qdrant_client::qdrant::{condition, query, vector_input};
use serde_json::json;

use crate::support::app::{TestApp, spawn_app};
use crate::support::fake_gemini::{DIMENSIONS, FakeGemini};
use crate::support::fake_qdrant::{Behaviour, FakeQdrant};

async fn spawn_with_qdrant(behaviour: Behaviour, settings: &[(&str, &str)]) -> (TestApp, FakeQdrant) {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start_with(behaviour).await);
    let app = spawn_app(&gemini, &qdrant, settings).await;
    (app, qdrant)
}

#[tokio::test]
async fn a_dense_collection_is_asked_one_query_with_the_key() {
    let (app, qdrant) = spawn_with_qdrant(Behaviour::default(), &[("QDRANT_API_KEY", "qd-key")]).await;
    let (status, answer) = app.ask_json("How?").await;
    assert_eq!(status, 200);
    assert_eq!(answer["sources"].as_array().unwrap().len(), 3);
    assert_eq!(answer["sources"][0]["score"], 1.0);
    let batch = &qdrant.batches()[0];
    assert_eq!((batch.collection_name.as_str(), batch.query_points.len()), ("docs", 1));
    let query = &batch.query_points[0];
    assert_eq!((query.using.as_deref(), query.limit), (None, Some(24)));
    let Some(query::Variant::Nearest(input)) = query.query.clone().unwrap().variant else {
        panic!("{query:?}")
    };
    let Some(vector_input::Variant::Dense(dense)) = input.variant else { panic!("{input:?}") };
    let length: f32 = dense.data.iter().map(|value| value * value).sum();
    assert_eq!(dense.data.len(), DIMENSIONS);
    assert!((length - 1.0).abs() < 1e-4, "the vector has length² {length}");
    assert!(qdrant.api_keys().iter().all(|key| key.as_deref() == Some("qd-key")));
}

#[tokio::test]
async fn a_hybrid_collection_is_asked_both_legs_in_one_batch_and_they_are_fused() {
    let behaviour = Behaviour {
        dense: vec![("text".into(), DIMENSIONS as u64)],
        sparse: vec!["bm25".into()],
        sparse_order: vec![3, 2],
        ..Behaviour::default()
    };
    let (app, qdrant) = spawn_with_qdrant(behaviour, &[]).await;
    let (_, answer) = app.ask_json("How do things work?").await;
    let titles: Vec<&str> =
        answer["sources"].as_array().unwrap().iter().map(|source| source["title"].as_str().unwrap()).collect();
    // 3: 1/63 + 1/61, 2: 1/62 + 1/62, 1: 1/61.
    assert_eq!(titles, ["Page 3", "Page 2", "Page 1"]);
    let score = answer["sources"][0]["score"].as_f64().unwrap();
    assert!((score - (1.0 / 63.0 + 1.0 / 61.0)).abs() < 1e-5, "{score}");
    let batch = &qdrant.batches()[0];
    let using: Vec<&str> = batch.query_points.iter().map(|query| query.using.as_deref().unwrap()).collect();
    assert_eq!(using, ["text", "bm25"]);
    let Some(query::Variant::Nearest(input)) = batch.query_points[1].query.clone().unwrap().variant else {
        panic!()
    };
    let Some(vector_input::Variant::Document(document)) = input.variant else { panic!("{input:?}") };
    assert_eq!((document.text.as_str(), document.model.as_str()), ("How do things work?", "qdrant/bm25"));
}

#[tokio::test]
async fn a_server_that_computes_no_bm25_is_asked_dense_queries_alone() {
    let behaviour = Behaviour { sparse: vec!["bm25".into()], no_inference: true, ..Behaviour::default() };
    let (app, qdrant) = spawn_with_qdrant(behaviour, &[]).await;
    let (status, _) = app.ask_json("How?").await;
    assert_eq!(status, 200);
    assert_eq!(qdrant.batches()[0].query_points.len(), 1);
}

#[tokio::test]
async fn a_filter_is_pushed_down_and_lets_passages_without_the_key_pass() {
    let (app, qdrant) = spawn_with_qdrant(Behaviour::default(), &[("FILTER_KEYS", "version, tier")]).await;
    let body = json!({"query": "How?", "filter": {"version": ["3.x", 2], "tier": true}});
    assert_eq!(app.ask(&body).await.status(), 200);
    let filter = qdrant.batches()[0].query_points[0].filter.clone().expect("a filter");
    assert_eq!(filter.must.len(), 2);
    let keys = filter.must.iter().map(|condition| match &condition.condition_one_of {
        Some(condition::ConditionOneOf::Filter(inner)) => {
            let last = inner.should.last().unwrap().condition_one_of.as_ref().unwrap();
            let condition::ConditionOneOf::IsEmpty(empty) = last else { panic!("{last:?}") };
            (empty.key.clone(), inner.should.len())
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(keys.collect::<Vec<_>>(), [("tier".to_owned(), 2), ("version".to_owned(), 3)]);
}

#[tokio::test]
async fn payloads_of_other_indexers_become_sources_and_bad_links_vanish() {
    let points = vec![
        json!({"page_content": "A", "metadata": {"title": "T", "source": "https://x.example/a"}}),
        json!({"content": "B", "meta": {"url": "javascript:alert(1)", "title": "U"}}),
        json!({"_node_content": json!({"text": "C", "metadata": {"title": "V", "url": "/c#d"}}).to_string()}),
    ];
    let (app, _qdrant) = spawn_with_qdrant(
        Behaviour { points, ..Behaviour::default() },
        &[("SITE_URL", "https://site.example")],
    )
    .await;
    let (_, answer) = app.ask_json("How?").await;
    let urls: Vec<&str> =
        answer["sources"].as_array().unwrap().iter().map(|source| source["url"].as_str().unwrap()).collect();
    assert_eq!(urls, ["https://x.example/a", "", "https://site.example/c#d"]);
}

#[tokio::test]
async fn a_named_vector_and_a_text_key_resolve_an_ambiguous_collection() {
    let behaviour = Behaviour {
        dense: vec![("a".into(), 64), ("b".into(), DIMENSIONS as u64)],
        points: vec![json!({"doc": {"raw": "Words."}})],
        ..Behaviour::default()
    };
    let (app, qdrant) =
        spawn_with_qdrant(behaviour, &[("QDRANT_VECTOR_NAME", "b"), ("PAYLOAD_TEXT_KEY", "doc.raw")]).await;
    let (_, answer) = app.ask_json("How?").await;
    assert_eq!(answer["sources"][0]["snippet"], "Words.");
    assert_eq!(answer["sources"][0]["title"], "Untitled");
    assert_eq!(qdrant.batches()[0].query_points[0].using.as_deref(), Some("b"));
}
