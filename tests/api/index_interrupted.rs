//! Checks runs that are refused, cut off or killed: the index answers all the while, and the next run goes on.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use docent::docs::Root;
use docent::indexing::Error;
use qdrant_client::qdrant::{
    CreateCollectionBuilder, Distance, PointStruct, UpdateCollectionBuilder, UpsertPointsBuilder,
    VectorParamsBuilder,
};
use qdrant_client::{Payload, Qdrant};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::fake_gemini::{Reply, embeddings, error, gate};
use crate::support::index_fixture::{BOTH, IndexFixture, Kind, root};
use crate::support::wait::within;

const BATCH: &str = ":batchEmbedContents";

/// Prepares an index of one page, `/docs/old`, and 150 new passages to index, which take two batches.
async fn start_with_new_passages(kind: Kind) -> IndexFixture {
    let fixture = IndexFixture::start(kind).await;
    fixture.write("old.md", "# Old\n\nAncient words.\n");
    fixture.run().await.unwrap();
    fixture.write_sections("new.md", 150);
    fixture
}

/// Reports whether the old page is found.
async fn finds_old_page(fixture: &IndexFixture) -> bool {
    fixture.find("ancient words", &[]).await.first().is_some_and(|best| best == "/docs/old")
}

/// Makes the error of a quota that is spent, with these details.
fn quota_error(details: Value) -> Reply {
    error(429, "RESOURCE_EXHAUSTED", details)
}

#[tokio::test]
async fn a_run_waits_for_a_quota_per_minute() {
    let fixture = IndexFixture::start(Kind::Embedded).await;
    fixture.write("a.md", "Apples.");
    let info = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.9s"}]);
    fixture.gemini.on_batch(quota_error(info));
    let began = Instant::now();
    assert_eq!(fixture.run().await.unwrap().embedded, 1);
    assert!(began.elapsed() >= Duration::from_millis(900), "tried again after {:?}", began.elapsed());
    assert_eq!(fixture.batches().len(), 2);
}

#[tokio::test]
async fn a_quota_per_day_ends_the_run_and_the_next_one_embeds_only_what_is_missing() {
    for kind in BOTH {
        let fixture = start_with_new_passages(kind).await;
        let quota = "EmbedContentRequestsPerDayPerProjectPerModel-FreeTier";
        fixture
            .gemini
            .on_batch(Reply::Unscripted)
            .on_batch(quota_error(json!([{"violations": [{"quotaId": quota}]}])));
        let refused = fixture.run().await.unwrap_err();
        assert!(matches!(refused, Error::Embedding(_)), "{kind:?}: {refused:?}");
        let sentence = refused.to_string();
        assert!(sentence.contains("quota") && sentence.contains("run it again"), "{sentence}");
        assert_eq!(fixture.batches().len(), 3, "{kind:?}: it is not tried again");
        assert!(finds_old_page(&fixture).await, "{kind:?}");
        assert_finishes(&fixture, 50, 101).await;
    }
}

#[tokio::test]
async fn a_run_that_is_stopped_is_continued_by_the_next() {
    for kind in BOTH {
        let fixture = start_with_new_passages(kind).await;
        fixture.gemini.on_batch(Reply::Unscripted).on_batch(Reply::Silence);
        let stop = CancellationToken::new();
        let root = root();
        let (refused, ()) = tokio::join!(fixture.run_until(&root, &stop), async {
            within(fixture.gemini.wait_for_requests(BATCH, 3)).await;
            assert!(finds_old_page(&fixture).await, "{kind:?}: during the run");
            stop.cancel();
        });
        assert!(matches!(refused, Err(Error::Stopped)), "{kind:?}: {refused:?}");
        assert!(finds_old_page(&fixture).await, "{kind:?}: after the run");
        assert_finishes(&fixture, 50, 101).await;
    }
}

/// Runs again and checks that `embedded` passages are embedded now, `kept` are kept, and all of them are found.
async fn assert_finishes(fixture: &IndexFixture, embedded: usize, kept: usize) {
    let before = fixture.batches().len();
    let summary = fixture.run().await.unwrap();
    assert_eq!((summary.chunks, summary.embedded), (151, embedded), "{:?}", fixture.kind);
    assert_eq!((summary.kept, summary.deleted), (kept, 0), "{:?}", fixture.kind);
    let asked: usize = fixture.batches()[before..].iter().map(Vec::len).sum();
    assert_eq!(asked, embedded, "{:?}", fixture.kind);
    assert_eq!(fixture.find("word3", &[]).await[0], "/docs/new#part-3");
    assert_eq!(fixture.find("word149", &[]).await[0], "/docs/new#part-149");
    assert_eq!(fixture.app().await.rag.index.description().points, 151);
}

#[tokio::test]
async fn a_run_whose_server_fails_in_the_middle_is_continued_by_the_next() {
    let fixture = start_with_new_passages(Kind::Remote).await;
    fixture.qdrant.fail_after_upserts(1);
    let refused = fixture.run().await.unwrap_err();
    assert!(matches!(refused, Error::Index(_)), "{refused:?}");
    assert!(refused.to_string().contains("run it again"), "{refused}");
    fixture.qdrant.recover();
    assert!(finds_old_page(&fixture).await);
    assert_eq!(fixture.find("word3", &[]).await[0], "/docs/new#part-3", "what was written is found already");
    assert_finishes(&fixture, 50, 101).await;
}

#[tokio::test]
async fn a_second_run_into_the_same_folder_is_refused() {
    let fixture = start_with_new_passages(Kind::Embedded).await;
    let (answer, reply) = gate();
    fixture.gemini.on_batch(reply);
    let (first, ()) = tokio::join!(fixture.run(), async {
        within(fixture.gemini.wait_for_requests(BATCH, 2)).await;
        let refused = fixture.run().await.unwrap_err().to_string();
        assert!(refused.contains(&fixture.data().display().to_string()), "{refused}");
        assert!(refused.contains("another process is indexing"), "{refused}");
        answer.send(embeddings(&fixture.gemini.requests_to(BATCH)[1].body)).unwrap();
        drop(answer);
    });
    assert_eq!(first.unwrap().embedded, 150);
    assert_eq!(fixture.run().await.unwrap().kept, 151);
}

#[tokio::test]
async fn a_run_that_is_killed_leaves_the_old_index_and_is_continued_by_the_next() {
    for kind in BOTH {
        let fixture = start_with_new_passages(kind).await;
        fixture.gemini.on_batch(Reply::Unscripted).on_batch(Reply::Silence);
        let mut run = fixture.spawn_binary(Stdio::null());
        within(fixture.gemini.wait_for_requests(BATCH, 3)).await;
        run.kill().await.unwrap();
        assert!(finds_old_page(&fixture).await, "{kind:?}");
        if kind == Kind::Remote {
            // The killed run left its note behind, which would become stale with time; here the test makes the
            // note stale.
            let refused = fixture.run().await.unwrap_err().to_string();
            assert!(refused.contains("another run is writing into collection \"docs\""), "{refused}");
            let note = json!({"process": "killed", "at": 0});
            let update =
                UpdateCollectionBuilder::new("docs").metadata(HashMap::from([("docent_run".to_owned(), note)]));
            client(&fixture).update_collection(update).await.unwrap();
        }
        assert_finishes(&fixture, 50, 101).await;
    }
}

#[tokio::test]
async fn a_second_run_into_the_same_collection_is_refused() {
    let fixture = start_with_new_passages(Kind::Remote).await;
    fixture.gemini.on_batch(Reply::Unscripted).on_batch(Reply::Silence);
    let mut first = fixture.spawn_binary(Stdio::null());
    within(fixture.gemini.wait_for_requests(BATCH, 3)).await;
    let refused = fixture.run().await.unwrap_err();
    assert!(refused.to_string().contains("wait until it has ended"), "{refused}");
    let id = first.id().unwrap().to_string();
    Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert_eq!(within(first.wait()).await.unwrap().code(), Some(1));
    assert_finishes(&fixture, 50, 101).await;
}

#[tokio::test]
async fn a_generation_that_cannot_be_read_is_not_replaced() {
    let fixture = start_with_new_passages(Kind::Embedded).await;
    let name = std::fs::read_to_string(fixture.data().join("current")).unwrap();
    std::fs::write(fixture.data().join("generations").join(&name).join("docent.json"), "{").unwrap();
    let other = Root { route_base: "/api".to_owned(), ..root() };
    let refused = fixture.run_as(&other).await.unwrap_err().to_string();
    assert!(refused.contains("cannot be read") && refused.contains("delete that folder"), "{refused}");
    assert_eq!(std::fs::read_to_string(fixture.data().join("current")).unwrap(), name);
    let left = std::fs::read_dir(fixture.data().join("generations")).unwrap().count();
    assert_eq!(left, 1, "what was begun takes no room");
}

#[tokio::test]
async fn an_index_of_another_model_is_refused_with_the_setting_to_change() {
    for kind in BOTH {
        let mut fixture = start_with_new_passages(kind).await;
        fixture.set("EMBEDDING_MODEL", "gemini-embedding-2");
        let sentence = fixture.start_refusal().await;
        assert!(sentence.contains("EMBEDDING_MODEL=gemini-embedding-001"), "{kind:?}: {sentence}");
        let other = Root { route_base: "/api".to_owned(), ..root() };
        let refused = fixture.run_as(&other).await.unwrap_err().to_string();
        let way = if kind == Kind::Remote { "QDRANT_COLLECTION_NAME" } else { "DOCENT_DATA" };
        assert!(refused.contains("EMBEDDING_MODEL=gemini-embedding-001"), "{kind:?}: {refused}");
        assert!(refused.contains(way), "{kind:?}: {refused}");
        fixture.set("EMBEDDING_MODEL", "gemini-embedding-001");
        assert!(finds_old_page(&fixture).await, "{kind:?}");
    }
}

#[tokio::test]
async fn an_index_of_another_version_is_refused_with_advice() {
    for kind in BOTH {
        let mut fixture = start_with_new_passages(kind).await;
        let mut manifest = json!({"index_version": 1, "model": "gemini-embedding-001", "dimensions": 768});
        match kind {
            Kind::Embedded => {
                let name = std::fs::read_to_string(fixture.data().join("current")).unwrap();
                let path = fixture.data().join("generations").join(name).join("docent.json");
                std::fs::write(path, manifest.to_string()).unwrap();
            }
            Kind::Remote => {
                let metadata = HashMap::from([("docent".to_owned(), manifest.take())]);
                let update = UpdateCollectionBuilder::new("docs").metadata(metadata);
                client(&fixture).update_collection(update).await.unwrap();
            }
        }
        let sentence = fixture.start_refusal().await;
        assert!(sentence.contains("index version 1") && sentence.contains("run docent index"), "{sentence}");
        // The advice in the sentence must work.
        if kind == Kind::Remote {
            let refused = fixture.run().await.unwrap_err().to_string();
            assert!(refused.contains("QDRANT_COLLECTION_NAME"), "{refused}");
            fixture.set("QDRANT_COLLECTION_NAME", "docs2");
        }
        assert_eq!(fixture.run().await.unwrap().embedded, 151, "{kind:?}");
        assert!(finds_old_page(&fixture).await, "{kind:?}");
    }
}

#[tokio::test]
async fn a_collection_with_passages_of_others_is_left_alone() {
    let fixture = IndexFixture::start(Kind::Remote).await;
    fixture.write("a.md", "Apples.");
    let client = client(&fixture);
    let dense = VectorParamsBuilder::new(768, Distance::Cosine);
    client.create_collection(CreateCollectionBuilder::new("docs").vectors_config(dense)).await.unwrap();
    let payload = Payload::try_from(json!({"text": "Theirs.", "title": "T"})).unwrap();
    let point = PointStruct::new(1, vec![0.5; 768], payload);
    client.upsert_points(UpsertPointsBuilder::new("docs", vec![point]).wait(true)).await.unwrap();
    let refused = fixture.run().await.unwrap_err();
    assert!(matches!(&refused, Error::Unusable(_)), "{refused:?}");
    assert!(refused.to_string().contains("QDRANT_COLLECTION_NAME"), "{refused}");
    assert_eq!((fixture.qdrant.calls().points, fixture.batches().len()), (1, 0));
}

#[tokio::test]
async fn a_server_that_keeps_no_metadata_is_written_to_again_and_again() {
    let fixture = IndexFixture::start(Kind::Remote).await;
    fixture.qdrant.ignore_metadata(true);
    fixture.write("old.md", "# Old\n\nAncient words.\n");
    assert_eq!(fixture.run().await.unwrap().embedded, 1);
    assert!(finds_old_page(&fixture).await);
    fixture.write("new.md", "# New\n\nFresh words.\n");
    let again = fixture.run().await.unwrap();
    assert_eq!((again.embedded, again.kept), (1, 1));
    assert_eq!(fixture.find("fresh", &[]).await[0], "/docs/new");
}

fn client(fixture: &IndexFixture) -> Qdrant {
    Qdrant::from_url(&fixture.qdrant.url()).skip_compatibility_check().build().unwrap()
}
