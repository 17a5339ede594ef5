//! Checks the passages found in an index that a run wrote: equal in both kinds, found at once, in every
//! language.

use docent::chat::Passage;
use docent::config::Config;
use docent::docs::Root;
use tokio_util::sync::CancellationToken;

use crate::support::app::{demo_config, spawn, test_vars};
use crate::support::binary::run_to_end;
use crate::support::index_fixture::{BOTH, IndexFixture, Kind, refresh, root, search};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/docusaurus/fixture/docs");

const HANDBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/docusaurus/docs");

const GERMAN: &str = "# Handbuch\n\nDie Häuser stehen am Wald.\n\n## Port\n\nDer Port lässt sich ändern: `PORT=9000`.\n\n\
    ## Fehler\n\nFehlermeldungen nennen einen Code und einen Status.\n";

const JAPANESE: &str = "# 設定\n\nポートは環境変数で変更できます。\n\n## エラー\n\nエラーにはコードとステータスがあります。\n\n\
    ## インストール\n\nバイナリをダウンロードして実行します。\n";

/// Questions: plain, misspelt, by a name in code, in other languages, and off the subject.
const QUESTIONS: [&str; 13] = [
    "How do I change the port?",
    "Which status does an error have?",
    "allowed origins",
    "QDRANT_COLLECTION_NAME",
    "how are answers streamed",
    "Can I try it without a key?",
    "kettle spout",
    "instal docusaurus widgit",
    "Wie ändere ich den Port?",
    "Haus",
    "ポートを変更する方法",
    "エラー コード",
    "quantum chromodynamics",
];

const FILTERS: [&[(&str, &str)]; 6] = [
    &[],
    &[("version", "2.x")],
    &[("version", "3.x")],
    &[("language", "de")],
    &[("language", "ja")],
    &[("version", "3.x"), ("language", "en")],
];

fn root_with_labels(base: &str, version: &str, language: &str) -> Root {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Root { route_base: base.to_owned(), version: some(version), language: some(language), ..root() }
}

/// Indexes a German and a Japanese page, each as a root of its own.
async fn index_two_languages(kind: Kind, model: &'static str) -> IndexFixture {
    let mut fixture = IndexFixture::start(kind).await;
    fixture.set("EMBEDDING_MODEL", model);
    for (base, text, language) in [("/de", GERMAN, "de"), ("/ja", JAPANESE, "ja")] {
        fixture.write("page.md", text);
        fixture.run_as(&root_with_labels(base, "", language)).await.unwrap();
    }
    fixture
}

/// Indexes the two pages and both folders of the repository.
async fn index_all_folders(kind: Kind, model: &'static str) -> IndexFixture {
    let fixture = index_two_languages(kind, model).await;
    let stop = CancellationToken::new();
    fixture.run_over(HANDBOOK.as_ref(), &root_with_labels("/docs", "2.x", "en"), &stop).await.unwrap();
    fixture.run_over(FIXTURE.as_ref(), &root_with_labels("/fixture", "3.x", ""), &stop).await.unwrap();
    fixture
}

#[tokio::test]
async fn both_kinds_find_the_same_passages_in_the_same_order_offline() {
    assert_both_find_the_same("offline").await;
}

#[tokio::test]
async fn both_kinds_find_the_same_passages_in_the_same_order_with_dense_vectors() {
    assert_both_find_the_same("gemini-embedding-001").await;
}

async fn assert_both_find_the_same(model: &'static str) {
    let fixtures =
        [index_all_folders(Kind::Embedded, model).await, index_all_folders(Kind::Remote, model).await];
    let apps = [fixtures[0].app().await, fixtures[1].app().await];
    assert_eq!(apps[0].rag.index.description().points, apps[1].rag.index.description().points);
    let mut found = 0;
    for question in QUESTIONS {
        for filter in FILTERS {
            let embedded = search(&apps[0], question, filter).await;
            let remote = search(&apps[1], question, filter).await;
            found += embedded.len();
            let seen = |passages: &[Passage]| -> Vec<(String, String)> {
                passages.iter().map(|passage| (passage.url.clone(), passage.text.clone())).collect()
            };
            assert_eq!(seen(&embedded), seen(&remote), "{question} {filter:?}");
            // The engine adds weights up in the order in which points are stored, so the last digits may
            // differ.
            let alike =
                |(one, other): (&Passage, &Passage)| (one.score - other.score).abs() <= 1e-4 * one.score.abs();
            assert!(embedded.iter().zip(&remote).all(alike), "{question} {filter:?}");
        }
    }
    assert!(found > 5 * QUESTIONS.len(), "only {found} passages are found");
}

#[tokio::test]
async fn words_of_a_language_are_found_in_their_other_forms_and_without_spaces() {
    for kind in BOTH {
        let fixture = index_two_languages(kind, "gemini-embedding-001").await;
        for (question, language, best) in [
            ("Welches Haus?", "de", "/de/page"),
            ("Fehlermeldung", "de", "/de/page#fehler"),
            ("ダウンロード", "ja", "/ja/page#インストール"),
        ] {
            let found = fixture.find(question, &[("language", language)]).await;
            assert_eq!(decode(&found[0]), best, "{kind:?}: {question}: {found:?}");
        }
    }
}

#[tokio::test]
async fn a_language_that_is_added_is_searched_in_its_forms_without_a_restart() {
    for kind in BOTH {
        let fixture = IndexFixture::start(kind).await;
        fixture.write("short.md", "Kurz.");
        fixture.run_as(&root_with_labels("/en", "", "en")).await.unwrap();
        let app = fixture.app().await;
        fixture
            .write("long.md", "Am Rand von einem Wald steht ganz allein ein altes Haus mit vielen Fenstern.");
        fixture.run_as(&root_with_labels("/de", "", "de")).await.unwrap();
        refresh(&app.rag.index).await;
        assert_eq!(search(&app, "Häuser", &[]).await[0].url, "/de/long", "{kind:?}");
    }
}

fn decode(url: &str) -> String {
    percent_encoding::percent_decode_str(url).decode_utf8().unwrap().into_owned()
}

#[tokio::test]
async fn a_server_answers_from_a_new_index_without_a_restart() {
    for kind in BOTH {
        let fixture = IndexFixture::start(kind).await;
        fixture.write("old.md", "# Old\n\nAncient words.\n");
        fixture.run().await.unwrap();
        let served = spawn(Config::serve(&fixture.vars()).unwrap()).await;
        fixture.write("new.md", "# New\n\nThe frobnicator needs oil.\n");
        fixture.remove("old.md");
        fixture.run().await.unwrap();
        if kind == Kind::Embedded {
            assert_eq!(served.ask_json("frobnicator oil").await.1["sources"][0]["url"], "/docs/old");
            refresh(&served.app.rag.index).await;
        }
        let (status, answer) = served.ask_json("frobnicator oil").await;
        assert_eq!(status, 200, "{kind:?}");
        assert_eq!(answer["sources"].as_array().unwrap().len(), 1, "{kind:?}");
        assert_eq!(answer["sources"][0]["url"], "/docs/new", "{kind:?}");
    }
}

#[tokio::test]
async fn a_filter_key_that_is_missing_or_not_indexed_is_named() {
    for kind in BOTH {
        let mut fixture = IndexFixture::start(kind).await;
        fixture.write("a.md", "# A\n\nApples.\n");
        fixture.run_as(&Root { version: Some("2.x".to_owned()), ..root() }).await.unwrap();
        let keys = ["version", "file", "product"].map(str::to_owned);
        let troubles = fixture.app().await.rag.index.description().filter_key_warnings(&keys);
        assert_eq!(troubles.len(), 2, "{kind:?}: {troubles:?}");
        assert!(troubles[0].contains("\"file\" has no index"), "{kind:?}: {troubles:?}");
        assert!(troubles[1].contains("no passage looked at has the key \"product\""), "{kind:?}: {troubles:?}");
        fixture.set("FILTER_KEYS", "version,file,product");
        let variables = fixture.variables();
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (code, output) = run_to_end(&["check"], &variables).await;
        assert_eq!(code, Some(0), "{output}");
        assert!(output.contains("version (indexed)"), "{output}");
        for trouble in troubles {
            assert!(output.contains(&format!("note              {trouble}")), "{kind:?}: {output}");
        }
        assert!(output.contains("look like this model's") && !output.contains("secret"), "{output}");
    }
}

#[tokio::test]
async fn a_demo_of_a_folder_shows_the_headings_that_its_sources_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("02-Tea time")).unwrap();
    let page = "# Grüner Tee\n\nLeaves.\n\n## Brew it {#brewing}\n\nEighty degrees for the frobnicator.\n\n\
        ## Über Wasser\n\nSoft water tastes best.\n";
    std::fs::write(folder.path().join("02-Tea time/grün.md"), page).unwrap();
    let served =
        spawn(Config::demo(&test_vars(&[]), demo_config(Some(folder.path().to_owned()))).unwrap()).await;
    for (question, anchor) in [("frobnicator degrees", "brewing"), ("Which water tastes best?", "über-wasser")]
    {
        let (_, answer) = served.ask_json(question).await;
        let url = answer["sources"][0]["url"].as_str().unwrap();
        assert_eq!(decode(url), format!("/docs/Tea time/grün#{anchor}"));
        let response = served.http.get(served.url(url)).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let html = response.text().await.unwrap();
        assert!(html.contains(&format!("<h2 id=\"{anchor}\">")), "{html}");
    }
    assert_eq!(served.http.get(served.url("/docs/none")).send().await.unwrap().status(), 404);
}
