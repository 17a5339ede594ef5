//! Checks a run that writes an index, of either kind: the passages that are embedded, kept and stored.

use docent::docs::Root;
use docent::retrieval::INDEX_VERSION;
use qdrant_client::Qdrant;
use qdrant_client::qdrant::{Modifier, ScrollPointsBuilder, vectors_config};
use serde_json::{Value, json};

use crate::support::index_fixture::{BOTH, IndexFixture, Kind, root};

/// Longest ASCII text that is sent, in characters: at most 2,048 tokens.
const MAX_ASCII: usize = 3 * 2_048;

#[tokio::test]
async fn a_batch_is_within_the_bounds_of_the_model() {
    for kind in BOTH {
        let fixture = IndexFixture::start(kind).await;
        fixture.write_sections("many.md", 130);
        fixture
            .write("long.md", format!("---\ntitle: Long\ndescription: {}\n---\nText.", "word ".repeat(2_000)));
        let code = format!("```\n{}```\n", "let it = work;\n".repeat(2_000));
        fixture.write("code.md", format!("# Code\n\n{code}"));
        let summary = fixture.run().await.unwrap();
        let batches = fixture.batches();
        assert!(batches.len() > 1 && batches.iter().all(|batch| batch.len() <= 100), "{kind:?}");
        let requests: Vec<Value> = batches.into_iter().flatten().collect();
        assert_eq!((summary.pages, summary.embedded, summary.kept), (3, requests.len(), 0), "{kind:?}");
        for request in &requests {
            assert_eq!(request["model"], "models/gemini-embedding-001");
            assert_eq!(request["taskType"], "RETRIEVAL_DOCUMENT");
            assert_eq!(request["outputDimensionality"], 768);
            let text = request["content"]["parts"][0]["text"].as_str().unwrap();
            assert!(text.len() <= MAX_ASCII, "{} characters", text.len());
        }
        let of = |title: &str| requests.iter().filter(|request| request["title"] == title).count();
        assert_eq!((of("many"), of("Long")), (130, 1), "{kind:?}");
        assert_eq!(of("Code"), requests.len() - 131, "{kind:?}");
    }
}

#[tokio::test]
async fn a_second_run_embeds_changed_passages_and_deletes_removed_ones() {
    for kind in BOTH {
        let fixture = IndexFixture::start(kind).await;
        let api = Root { route_base: "/api".to_owned(), ..root() };
        fixture.write("b.md", "# B\n\nBananas are yellow.\n");
        fixture.run_as(&api).await.unwrap();
        fixture.write("a.md", "# A\n\nApples.\n\n## Kettle\n\nThe kettle whistles.\n");
        assert_eq!(fixture.run().await.unwrap().embedded, 3);
        let (calls, points) = (fixture.batches().len(), fixture.qdrant.calls().points);

        let again = fixture.run().await.unwrap();
        assert_eq!((again.chunks, again.embedded, again.kept, again.deleted), (3, 0, 3, 0), "{kind:?}");
        assert_eq!((fixture.batches().len(), fixture.qdrant.calls().points), (calls, points), "{kind:?}");

        fixture.write("a.md", "# A\n\nApples.\n\n## Kettle\n\nThe kettle sings.\n");
        let changed = fixture.run().await.unwrap();
        assert_eq!((changed.embedded, changed.kept, changed.deleted), (1, 2, 0), "{kind:?}");
        let last = fixture.batches().pop().unwrap();
        assert_eq!(last.len(), 1);
        assert_eq!(last[0]["content"]["parts"][0]["text"], "A\nKettle\n\nThe kettle sings.");
        let written = fixture.qdrant.calls().points - points;
        assert_eq!(written, usize::from(kind == Kind::Remote), "unchanged passages are not written again");

        fixture.remove("b.md");
        let removed = fixture.run().await.unwrap();
        assert_eq!((removed.chunks, removed.embedded, removed.deleted), (2, 0, 1), "{kind:?}");
        let mut found = fixture.find("bananas kettle apples", &[]).await;
        found.sort();
        assert_eq!(found, ["/api/b", "/docs/a", "/docs/a#kettle"], "{kind:?}");
    }
}

#[tokio::test]
async fn a_renamed_version_embeds_nothing_and_is_on_every_passage() {
    for kind in BOTH {
        let fixture = IndexFixture::start(kind).await;
        fixture.write("a.md", "# A\n\nApples.\n\n## Kettle\n\nThe kettle whistles.\n");
        let labelled = |label: &str| Root { version: Some(label.to_owned()), ..root() };
        fixture.run_as(&labelled("2.x")).await.unwrap();
        let renamed = fixture.run_as(&labelled("3.x")).await.unwrap();
        assert_eq!((renamed.embedded, renamed.kept, renamed.deleted), (0, 2, 0), "{kind:?}");
        assert_eq!(fixture.batches().len(), 1, "{kind:?}");
        assert_eq!(fixture.find("kettle", &[("version", "2.x")]).await, [""; 0], "{kind:?}");
        let found = fixture.find("kettle", &[("version", "3.x")]).await;
        assert_eq!(found, ["/docs/a#kettle", "/docs/a"], "{kind:?}");
    }
}

#[tokio::test]
async fn a_collection_is_created_with_both_vectors_a_manifest_and_indexes_for_filters() {
    let fixture = IndexFixture::start(Kind::Remote).await;
    fixture.write("a.md", "# A\n\nApples.\n");
    let keys = ["version", "language", "product"].map(str::to_owned).to_vec();
    let german = Root { language: Some("de".to_owned()), filter_keys: keys, ..root() };
    fixture.run_as(&german).await.unwrap();
    let client = Qdrant::from_url(&fixture.qdrant.url()).skip_compatibility_check().build().unwrap();
    let info = client.collection_info("docs").await.unwrap().result.unwrap();
    let mut keys: Vec<&String> = info.payload_schema.keys().collect();
    keys.sort();
    assert_eq!(keys, ["language", "product", "root", "version"]);
    assert!(info.payload_schema.values().all(|schema| schema.data_type().as_str_name() == "Keyword"));
    let config = info.config.unwrap();
    let params = config.params.unwrap();
    let Some(vectors_config::Config::ParamsMap(dense)) = params.vectors_config.unwrap().config else {
        panic!("the dense vector has no name")
    };
    assert_eq!(dense.map.len(), 1);
    assert_eq!((dense.map["dense"].size, dense.map["dense"].distance().as_str_name()), (768, "Cosine"));
    assert_eq!(params.sparse_vectors_config.unwrap().map["bm25"].modifier(), Modifier::Idf);
    let manifest = json!({"index_version": INDEX_VERSION, "model": "gemini-embedding-001", "dimensions": 768,
        "languages": ["de"], "filter_keys": ["language", "product", "version"]});
    assert_eq!(Value::from(config.metadata["docent"].clone()), manifest);
    // Another root adds its language.
    let french = Root { route_base: "/fr".to_owned(), language: Some("fr".to_owned()), ..root() };
    fixture.run_as(&french).await.unwrap();
    assert_eq!(fixture.app().await.rag.index.description().manifest.unwrap().languages.len(), 2);
    let points = client.scroll(ScrollPointsBuilder::new("docs").with_vectors(true).limit(9)).await.unwrap();
    assert_eq!(points.result.len(), 2);
    for point in points.result {
        let vectors = point.vectors.unwrap();
        assert!(vectors.get_vector_by_name("dense").is_some() && vectors.get_vector_by_name("bm25").is_some());
    }
}

#[tokio::test]
async fn values_of_the_front_matter_can_be_filtered_by() {
    for kind in BOTH {
        let fixture = IndexFixture::start(kind).await;
        fixture.write("a.md", "---\nproduct: [kettle, pot]\n---\nIt boils.");
        fixture.write("b.md", "---\nproduct: pan\n---\nIt boils over.");
        fixture.write("c.md", "It boils anywhere.");
        let root = Root { filter_keys: vec!["product".to_owned()], ..root() };
        fixture.run_as(&root).await.unwrap();
        let mut found = fixture.find("boils", &[("product", "pot")]).await;
        found.sort();
        assert_eq!(found, ["/docs/a", "/docs/c"], "{kind:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_passages_of_a_folder_stay_while_it_cannot_be_read() {
    for kind in BOTH {
        let (fixture, elsewhere) = (IndexFixture::start(kind).await, tempfile::tempdir().unwrap());
        std::fs::write(elsewhere.path().join("far.md"), "Apples.").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), fixture.pages().join("linked")).unwrap();
        fixture.write("near.md", "Bananas.");
        assert_eq!(fixture.run().await.unwrap().embedded, 2, "{kind:?}");
        drop(elsewhere);
        let summary = fixture.run().await.unwrap();
        assert_eq!((summary.kept, summary.deleted), (1, 0), "{kind:?}");
        assert_eq!(summary.skipped[0].file, "linked", "{kind:?}");
        assert_eq!(fixture.find("apples", &[]).await[0], "/docs/linked/far", "{kind:?}");
    }
}
