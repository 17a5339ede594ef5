//! Checks the binary's `index`: its output and its exit codes.

use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;

use crate::support::binary::run_to_end;
use crate::support::fake_gemini::{Reply, error};
use crate::support::index_fixture::{BOTH, IndexFixture, Kind};
use crate::support::wait::within;

/// Runs `docent index` over the pages; returns its exit code and its output, which never holds a key.
async fn index(fixture: &IndexFixture, more: &[&str]) -> (Option<i32>, String) {
    let variables = fixture.variables();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    index_with(fixture, more, &variables).await
}

async fn index_with(
    fixture: &IndexFixture,
    more: &[&str],
    variables: &[(&str, &str)],
) -> (Option<i32>, String) {
    let arguments = [&["index", fixture.pages().to_str().unwrap()], more].concat();
    let (code, output) = run_to_end(&arguments, variables).await;
    assert!(!output.contains("secret"), "{output}");
    (code, output)
}

#[tokio::test]
async fn a_run_prints_its_counts() {
    for kind in BOTH {
        let fixture = IndexFixture::start(kind).await;
        fixture.write("a.md", "# A\n\nApples.\n\n## Kettle\n\nThe kettle whistles.\n");
        let options = ["--route-base", "guide/", "--version-label", "2.x", "--language", "en"];
        let (code, output) = index(&fixture, &options).await;
        assert_eq!(code, Some(0), "{output}");
        assert!(output.contains("1 pages, 2 passages: 2 embedded, 0 kept, 0 deleted, in "), "{output}");
        let labels = [("version", "2.x"), ("language", "en")];
        assert_eq!(fixture.find("kettle", &labels).await, ["/guide/a#kettle", "/guide/a"], "{kind:?}");
        assert_eq!(fixture.find("kettle", &[("version", "3.x")]).await, [""; 0], "{kind:?}");
    }
}

#[tokio::test]
async fn a_broken_file_is_named_and_its_passages_stay() {
    for kind in BOTH {
        let fixture = IndexFixture::start(kind).await;
        let breaks: [(&str, &[u8]); 3] = [
            ("yaml.md", b"---\ntitle: [open\n---\nText."),
            ("latin.md", b"caf\xe9"),
            ("component.mdx", b"<Tabs>\n\nNever closed.\n"),
        ];
        fixture.write("fine.md", "Apples.");
        fixture.write("huge.md", "Text of huge.");
        for (file, _) in breaks {
            fixture.write(file, format!("Text of {file}."));
        }
        let (code, output) = index(&fixture, &[]).await;
        assert_eq!(code, Some(0), "{output}");
        for (file, bytes) in breaks {
            fixture.write(file, bytes);
        }
        fixture.write("huge.md", vec![b'x'; 5 * 1024 * 1024]);
        fixture.remove("fine.md");
        fixture.write("new.md", "Bananas.");
        let (code, output) = index(&fixture, &[]).await;
        assert_eq!(code, Some(2), "{output}");
        for file in ["yaml.md", "latin.md", "component.mdx", "huge.md"] {
            assert!(output.contains(&format!("skipped {file}: ")), "{output}");
        }
        assert!(output.contains("1 pages, 1 passages: 1 embedded, 0 kept, 1 deleted"), "{output}");
        let mut found = fixture.find("text", &[]).await;
        found.sort();
        let expected = ["/docs/component", "/docs/huge", "/docs/latin", "/docs/new", "/docs/yaml"];
        assert_eq!(found, expected, "{kind:?}");
    }
}

#[tokio::test]
async fn a_folder_without_pages_ends_with_64_and_leaves_the_index() {
    let fixture = IndexFixture::start(Kind::Embedded).await;
    let (code, output) = index(&fixture, &[]).await;
    assert_eq!(code, Some(64), "{output}");
    assert!(output.contains("holds no .md or .mdx file"), "{output}");
    fixture.write("a.md", "Apples.");
    assert_eq!(index(&fixture, &[]).await.0, Some(0));
    fixture.write("a.md", "---\ntitle: [open\n---\n");
    let (code, output) = index(&fixture, &[]).await;
    assert_eq!(code, Some(64), "{output}");
    assert!(output.contains("a.md: ") && output.contains("left as it is"), "{output}");
    assert_eq!(fixture.find("apples", &[]).await, ["/docs/a"]);
}

#[tokio::test]
async fn a_run_without_a_key_names_the_way_without_one() {
    let fixture = IndexFixture::start(Kind::Embedded).await;
    fixture.write("a.md", "# A\n\nApples.\n\n## Kettle\n\nThe kettle whistles.\n");
    let data = fixture.data();
    let place = ("DOCENT_DATA", data.to_str().unwrap());
    let (code, output) = index_with(&fixture, &[], &[place]).await;
    assert_eq!(code, Some(64), "{output}");
    assert!(
        output.contains("GEMINI_API_KEY is not set") && output.contains("EMBEDDING_MODEL=offline"),
        "{output}"
    );
    assert!(!data.exists());

    let (code, output) = index_with(&fixture, &["--dry-run"], &[place]).await;
    assert_eq!((code, output.as_str()), (Some(0), "/docs/a\n/docs/a#kettle\n"));
    assert!(!data.exists());

    let (code, output) = index_with(&fixture, &["--embedding-model", "offline"], &[place]).await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("2 embedded"), "{output}");
    assert_eq!(fixture.batches().len(), 0);
    let mut fixture = fixture;
    fixture.set("EMBEDDING_MODEL", "offline");
    assert_eq!(fixture.find("whistling kettle", &[]).await[0], "/docs/a#kettle");
}

#[tokio::test]
async fn the_offline_index_is_kept_from_run_to_run() {
    for kind in BOTH {
        let mut fixture = IndexFixture::start(kind).await;
        fixture.set("EMBEDDING_MODEL", "offline");
        fixture.write("a.md", "# A\n\nApples.\n\n## Kettle\n\nThe kettle whistles.\n");
        assert_eq!(fixture.run().await.unwrap().embedded, 2, "{kind:?}");
        fixture.write("a.md", "# A\n\nPears.\n\n## Kettle\n\nThe kettle whistles.\n");
        let again = fixture.run().await.unwrap();
        assert_eq!((again.embedded, again.kept), (1, 1), "{kind:?}");
        assert_eq!(fixture.find("pears", &[]).await, ["/docs/a"], "{kind:?}");
    }
}

#[tokio::test]
async fn an_error_of_gemini_is_shown_without_the_key() {
    let fixture = IndexFixture::start(Kind::Embedded).await;
    fixture.write("a.md", "Apples.");
    let body = json!({"error": {"code": 400, "message": "bad key AIza-secret", "status": "INVALID_ARGUMENT"}});
    fixture.gemini.on_batch(Reply::Plain(400, "application/json", body.to_string().into_bytes()));
    let (code, output) = index(&fixture, &["--rust-log", "trace"]).await;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("could not be embedded") && output.contains("bad key [redacted]"), "{output}");
    fixture.gemini.on_batch(error(403, "PERMISSION_DENIED", json!([])));
    assert_eq!(index(&fixture, &[]).await.0, Some(1));
}

#[tokio::test]
async fn an_interrupt_ends_the_run_with_a_sentence_and_leaves_the_index() {
    for kind in BOTH {
        let fixture = IndexFixture::start(kind).await;
        fixture.write("old.md", "# Old\n\nAncient words.\n");
        fixture.run().await.unwrap();
        fixture.write_sections("new.md", 150);
        fixture.gemini.on_batch(Reply::Unscripted).on_batch(Reply::Silence);
        let run = fixture.spawn_binary(Stdio::piped());
        within(fixture.gemini.wait_for_requests(":batchEmbedContents", 3)).await;
        let id = run.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().await.unwrap().success());
        let output = within(run.wait_with_output()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{kind:?}: {said}");
        assert!(said.contains("docent: stopped; what Gemini embedded is kept"), "{kind:?}: {said}");
        assert_eq!(fixture.find("ancient words", &[]).await[0], "/docs/old", "{kind:?}");
        assert_eq!(fixture.run().await.unwrap().embedded, 50, "{kind:?}");
    }
}
