//! Checks the embedded index: the results of a search, and that a published generation survives every end of a
//! writer.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use docent::chat::{Filter, FilterValue, Vector};
use docent::retrieval::bm25::Analyzer;
use docent::retrieval::embedded::{Build, BuildError, Embedded};
use docent::retrieval::payload::PayloadReader;
use docent::retrieval::{INDEX_VERSION, Index, Manifest, OpenError, Point, Search};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::index_fixture::refresh;
use crate::support::wait::within;
use crate::support::word_vector::word_vector;

const SIZE: usize = 128;
const MODEL: &str = "test-words";
/// Variable with the folder of a helper process, and the number of points that the process writes.
const HELPER: &str = "DOCENT_TEST_BUILD";

/// Makes a dense vector in which texts with common words are alike.
fn dense(text: &str) -> Vector {
    Vector::Dense(word_vector(text, SIZE))
}

fn manifest(model: &str) -> Manifest {
    Manifest {
        index_version: INDEX_VERSION,
        model: model.to_owned(),
        dimensions: SIZE,
        languages: Default::default(),
        filter_keys: ["version".to_owned()].into(),
    }
}

fn begin(data: &Path, points: usize) -> Result<Build, BuildError> {
    Build::begin(data, manifest(MODEL), Analyzer::ENGLISH, points)
}

fn point(number: usize, text: &str, extra: Value) -> Point {
    let mut payload = json!({"title": format!("Page {number}"), "url": format!("/p{number}"), "text": text});
    payload.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    Point {
        id: Uuid::from_u128(number as u128),
        vector: dense(text),
        text: text.to_owned(),
        payload: payload.as_object().unwrap().clone(),
    }
}

fn build(data: &Path, texts: &[(&str, Value)]) {
    let mut build = begin(data, texts.len()).unwrap();
    for (number, (text, extra)) in texts.iter().enumerate() {
        build.add(vec![point(number, text, extra.clone())]).unwrap();
    }
    assert_eq!(build.publish().unwrap(), texts.len());
}

async fn open(data: &Path) -> Index {
    Index::Embedded(Embedded::open(data, MODEL, PayloadReader::default()).await.unwrap())
}

async fn search(index: &Index, text: &str, top_k: usize, filter: Filter) -> Vec<String> {
    let vector = dense(text);
    let passages = index.search(Search { text: text.to_owned(), vector, top_k, filter }).await.unwrap();
    passages.into_iter().map(|passage| passage.title).collect()
}

#[tokio::test]
async fn both_legs_find_and_the_best_comes_first() {
    let data = tempfile::tempdir().unwrap();
    let texts = [
        ("The port is 8080 and can be changed.", json!({})),
        ("Errors carry a code and a status.", json!({})),
        ("The frobnicator needs oil.", json!({})),
    ];
    build(data.path(), &texts);
    let index = open(data.path()).await;
    assert_eq!(search(&index, "frobnicator", 1, Filter::new()).await, ["Page 2"]);
    assert_eq!(search(&index, "Which status has an error?", 1, Filter::new()).await, ["Page 1"]);
    assert_eq!(search(&index, "port", 20, Filter::new()).await.len(), 3);
    let description = index.description();
    assert_eq!((description.points, description.dimensions), (3, SIZE));
    assert_eq!(description.payload_keys, ["text", "title", "url"]);
}

#[tokio::test]
async fn a_filter_is_applied_while_searching_and_lets_passages_without_the_key_pass() {
    let data = tempfile::tempdir().unwrap();
    let texts = [
        ("install it slowly", json!({"version": "2.x", "level": 2})),
        ("install it quickly", json!({"version": "3.x", "level": 3})),
        ("install it anyhow", json!({})),
    ];
    build(data.path(), &texts);
    let index = open(data.path()).await;
    let found = async |key: &str, values: Vec<FilterValue>| {
        let mut found = search(&index, "install", 20, Filter::from([(key.to_owned(), values)])).await;
        found.sort();
        found
    };
    assert_eq!(found("version", vec![FilterValue::Text("3.x".into())]).await, ["Page 1", "Page 2"]);
    assert_eq!(found("level", vec![FilterValue::Integer(2)]).await, ["Page 0", "Page 2"]);
    assert_eq!(found("level", vec![FilterValue::Float(3.0)]).await, ["Page 1", "Page 2"]);
    let both = vec![FilterValue::Text("2.x".into()), FilterValue::Text("3.x".into())];
    assert_eq!(found("version", both).await.len(), 3);
}

#[tokio::test]
async fn an_index_that_is_missing_or_of_another_model_is_refused_with_advice() {
    let data = tempfile::tempdir().unwrap();
    let refused = async |model: &str| match Embedded::open(data.path(), model, PayloadReader::default()).await {
        Err(OpenError::Unusable(sentence)) => sentence,
        other => panic!("{other:?}"),
    };
    assert!(refused(MODEL).await.contains("QDRANT_URL"));
    build(data.path(), &[("x", json!({}))]);
    let sentence = refused("gemini-embedding-001").await;
    assert!(sentence.contains("EMBEDDING_MODEL=test-words"), "{sentence}");
}

#[tokio::test]
async fn a_new_generation_is_taken_up_while_the_old_one_is_in_use() {
    let data = tempfile::tempdir().unwrap();
    build(data.path(), &[("old words", json!({}))]);
    let index = open(data.path()).await;
    build(data.path(), &[("old words", json!({})), ("new words", json!({}))]);
    assert_eq!(search(&index, "words", 20, Filter::new()).await.len(), 1);
    refresh(&index).await;
    assert_eq!(search(&index, "words", 20, Filter::new()).await.len(), 2);
    assert_eq!(index.description().points, 2);
}

#[tokio::test]
async fn a_new_generation_that_does_not_fit_is_passed_over() {
    let data = tempfile::tempdir().unwrap();
    build(data.path(), &[("old words", json!({}))]);
    let index = open(data.path()).await;
    let other = Build::begin(data.path(), manifest("another-model"), Analyzer::ENGLISH, 0).unwrap();
    other.publish().unwrap();
    for _ in 0..2 {
        refresh(&index).await;
        assert_eq!(search(&index, "words", 20, Filter::new()).await, ["Page 0"]);
    }
    build(data.path(), &[("new words", json!({})), ("more words", json!({}))]);
    refresh(&index).await;
    assert_eq!(index.description().points, 2);
}

#[tokio::test]
async fn a_writer_that_is_dropped_or_killed_leaves_the_current_generation() {
    let data = tempfile::tempdir().unwrap();
    build(data.path(), &[("first words", json!({}))]);
    let mut dropped = begin(data.path(), 1).unwrap();
    dropped.add(vec![point(9, "never seen", json!({}))]).unwrap();
    drop(dropped);
    assert_eq!(search(&open(data.path()).await, "words", 20, Filter::new()).await, ["Page 0"]);

    let mut helper = Helper::start(data.path(), "endless");
    helper.wait_for_points().await;
    helper.0.kill().unwrap();
    helper.0.wait().unwrap();
    assert_eq!(search(&open(data.path()).await, "words", 20, Filter::new()).await, ["Page 0"]);

    // The lock ended with its holder, and the next build removes the folder that the holder left.
    build(data.path(), &[("second words", json!({})), ("more", json!({}))]);
    assert_eq!(open(data.path()).await.description().points, 2);
    build(data.path(), &[("third", json!({}))]);
    let generations = std::fs::read_dir(data.path().join("generations")).unwrap().count();
    assert!(generations <= 2, "{generations} generations are kept");
}

#[tokio::test]
async fn two_readers_search_while_another_process_builds_and_a_second_writer_waits_outside() {
    let data = tempfile::tempdir().unwrap();
    build(data.path(), &[("first words", json!({}))]);
    let (one, two) = (open(data.path()).await, open(data.path()).await);
    let mut helper = Helper::start(data.path(), "200");
    helper.wait_for_points().await;
    assert!(matches!(begin(data.path(), 1), Err(BuildError::Locked(_))));
    let mut searches = 0;
    while helper.0.try_wait().unwrap().is_none() {
        for index in [&one, &two] {
            assert_eq!(search(index, "words", 1, Filter::new()).await.len(), 1);
            searches += 1;
        }
        let third = open(data.path()).await;
        assert!(!search(&third, "words", 1, Filter::new()).await.is_empty());
    }
    assert!(searches > 0 && helper.0.wait().unwrap().success());
    for index in [&one, &two] {
        refresh(index).await;
        assert_eq!(index.description().points, 200);
    }
}

/// Holds another process that builds an index: this test binary, running [`build_in_another_process`].
struct Helper(Child, PathBuf);

impl Helper {
    fn start(data: &Path, points: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "embedded_index::build_in_another_process", "--ignored", "--nocapture"]);
        command.env(HELPER, format!("{points} {}", data.display())).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap(), data.to_owned())
    }

    /// Waits until the process has flushed points.
    async fn wait_for_points(&self) {
        within(async {
            while !self.1.join("flushed").exists() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
#[ignore = "the other process of the tests above"]
async fn build_in_another_process() {
    let Ok(task) = std::env::var(HELPER) else { return };
    let (points, data) = task.split_once(' ').unwrap();
    let data = Path::new(data);
    let mut build = begin(data, 100).unwrap();
    let count = points.parse().unwrap_or(usize::MAX);
    for number in 0..count {
        build.add(vec![point(number, "other words", json!({}))]).unwrap();
        if number == 20 {
            std::fs::write(data.join("flushed"), "").unwrap();
        }
    }
    build.publish().unwrap();
}
