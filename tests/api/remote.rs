//! The remote index over gRPC: what it asks, what it reads, and what stops the start.

use docent::app::{App, StartError};
use docent::config::Config;
use qdrant_client::qdrant::{condition, query, vector_input};
use serde_json::json;

use crate::fake_gemini::{DIMENSIONS, FakeGemini};
use crate::fake_qdrant::{Behaviour, FakeQdrant};
use crate::helpers::{TestApp, production, spawn, spawn_app, within};

async fn app(behaviour: Behaviour, settings: &[(&str, &str)]) -> (TestApp, FakeQdrant) {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::with(behaviour).await);
    let app = spawn_app(&gemini, &qdrant, settings).await;
    (app, qdrant)
}

/// Why the server does not start.
async fn refusal(behaviour: Behaviour, settings: &[(&str, &str)]) -> String {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::with(behaviour).await);
    let config = Config::serve(&production(&gemini, &qdrant, settings)).unwrap();
    match within(App::build(config)).await {
        Err(StartError::Settings(sentence)) => sentence,
        other => panic!("expected wrong settings, got {other:?}"),
    }
}

#[tokio::test]
async fn a_dense_collection_is_asked_one_query_with_the_key() {
    let (app, qdrant) = app(Behaviour::default(), &[("QDRANT_API_KEY", "qd-key")]).await;
    let (status, answer) = app.ask_json("How?").await;
    assert_eq!((status, answer["sources"].as_array().unwrap().len()), (200, 3));
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
    assert!(qdrant.keys().iter().all(|key| key.as_deref() == Some("qd-key")));
}

#[tokio::test]
async fn a_hybrid_collection_is_asked_both_legs_in_one_batch_and_they_are_fused() {
    let behaviour = Behaviour {
        dense: vec![("text".into(), DIMENSIONS as u64)],
        sparse: vec!["bm25".into()],
        sparse_order: vec![3, 2],
        ..Behaviour::default()
    };
    let (app, qdrant) = app(behaviour, &[]).await;
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
    let (app, qdrant) = app(behaviour, &[]).await;
    let (status, _) = app.ask_json("How?").await;
    assert_eq!(status, 200);
    assert_eq!(qdrant.batches()[0].query_points.len(), 1);
}

#[tokio::test]
async fn a_filter_is_pushed_down_and_lets_passages_without_the_key_pass() {
    let (app, qdrant) = app(Behaviour::default(), &[("FILTER_KEYS", "version, tier")]).await;
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
    let (app, _qdrant) =
        app(Behaviour { points, ..Behaviour::default() }, &[("SITE_URL", "https://site.example")]).await;
    let (_, answer) = app.ask_json("How?").await;
    let urls: Vec<&str> =
        answer["sources"].as_array().unwrap().iter().map(|source| source["url"].as_str().unwrap()).collect();
    assert_eq!(urls, ["https://x.example/a", "", "https://site.example/c#d"]);
}

/// A collection, settings, and what the sentence must name.
type Refused = (Behaviour, &'static [(&'static str, &'static str)], &'static [&'static str]);

#[tokio::test]
async fn a_collection_that_cannot_work_stops_the_start_with_what_to_do() {
    let named =
        |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), DIMENSIONS as u64)).collect::<Vec<_>>();
    let cases: [Refused; 7] = [
        (
            Behaviour { collections: vec!["other".into(), "more".into()], ..Behaviour::default() },
            &[],
            &["\"docs\"", "QDRANT_COLLECTION_NAME", "other, more"],
        ),
        (Behaviour { dense: named(&["a", "b"]), ..Behaviour::default() }, &[], &["QDRANT_VECTOR_NAME", "a, b"]),
        (
            Behaviour { dense: named(&["a", "b"]), ..Behaviour::default() },
            &[("QDRANT_VECTOR_NAME", "c")],
            &["\"c\"", "QDRANT_VECTOR_NAME", "a, b"],
        ),
        (
            Behaviour { sparse: vec!["s".into(), "t".into()], ..Behaviour::default() },
            &[],
            &["QDRANT_SPARSE_NAME", "s, t"],
        ),
        (
            Behaviour { dense: vec![(String::new(), 64)], ..Behaviour::default() },
            &[],
            &["64", "EMBEDDING_MODEL"],
        ),
        (Behaviour { dense: Vec::new(), ..Behaviour::default() }, &[], &["no dense vector"]),
        (
            Behaviour { points: vec![json!({"raw": "x", "doc": {"y": "z"}})], ..Behaviour::default() },
            &[],
            &["PAYLOAD_TEXT_KEY", "doc.y, raw"],
        ),
    ];
    for (behaviour, settings, parts) in cases {
        let sentence = refusal(behaviour, settings).await;
        for part in parts {
            assert!(sentence.contains(part), "no {part:?} in: {sentence}");
        }
    }
}

#[tokio::test]
async fn a_named_vector_and_a_text_key_settle_what_is_ambiguous() {
    let behaviour = Behaviour {
        dense: vec![("a".into(), 64), ("b".into(), DIMENSIONS as u64)],
        points: vec![json!({"doc": {"raw": "Words."}})],
        ..Behaviour::default()
    };
    let (app, qdrant) = app(behaviour, &[("QDRANT_VECTOR_NAME", "b"), ("PAYLOAD_TEXT_KEY", "doc.raw")]).await;
    let (_, answer) = app.ask_json("How?").await;
    assert_eq!(answer["sources"][0]["snippet"], "Words.");
    assert_eq!(answer["sources"][0]["title"], "Untitled");
    assert_eq!(qdrant.batches()[0].query_points[0].using.as_deref(), Some("b"));
}

#[tokio::test]
async fn what_qdrant_says_becomes_the_status_of_the_contract() {
    use tonic::Code;
    let (app, qdrant) = app(Behaviour::default(), &[]).await;
    for (code, status, problem, retryable) in [
        (Code::NotFound, 502, "retrieval_failed", false),
        (Code::Unauthenticated, 502, "retrieval_failed", false),
        (Code::Unavailable, 502, "retrieval_failed", true),
        (Code::Internal, 502, "retrieval_failed", true),
        (Code::ResourceExhausted, 503, "upstream_busy", true),
        (Code::DeadlineExceeded, 504, "upstream_timeout", true),
    ] {
        qdrant.change(|behaviour| behaviour.query_error = Some(code));
        let (got, body) = app.ask_json("How?").await;
        assert_eq!(
            (got, &body["code"], &body["retryable"]),
            (status, &json!(problem), &json!(retryable)),
            "{code:?}"
        );
        assert!(!body.to_string().contains("internal words"), "{body}");
    }
    qdrant.change(|behaviour| behaviour.query_error = None);
    assert_eq!(app.ask_json("How?").await.0, 200);
}

#[tokio::test]
async fn a_frozen_qdrant_is_given_up_on_at_its_deadline() {
    let (app, qdrant) = app(Behaviour::default(), &[("RETRIEVE_TIMEOUT", "200ms")]).await;
    qdrant.change(|behaviour| behaviour.frozen = true);
    let (status, body) = within(app.ask_json("How?")).await;
    assert_eq!((status, &body["code"]), (504, &json!("upstream_timeout")));
}

#[tokio::test]
async fn an_unreachable_dependency_is_told_apart_from_a_wrong_setting() {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    let vars = production(&gemini, &qdrant, &[("QDRANT_URL", "http://127.0.0.1:1")]);
    let building = tokio::spawn(App::build(Config::serve(&vars).unwrap()));
    // It keeps trying: a server that comes up meanwhile is found.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!building.is_finished());
    building.abort();
    let vars = production(&gemini, &qdrant, &[]);
    spawn(Config::serve(&vars).unwrap()).await;
}
