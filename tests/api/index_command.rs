//! The binary's `index` and `eval`: what they print and how they end.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::bench::{BOTH, Bench, Kind, root};
use crate::cli;
use crate::fake_gemini::{Reply, error};
use crate::helpers::within;

/// Exit code and whatever was printed, which never holds a key.
async fn index(bench: &Bench, more: &[&str]) -> (Option<i32>, String) {
    let variables = bench.variables();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    index_with(bench, more, &variables).await
}

async fn index_with(bench: &Bench, more: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let arguments = [&["index", bench.pages().to_str().unwrap()], more].concat();
    let (code, output) = cli::run(&arguments, variables).await;
    assert!(!output.contains("secret"), "{output}");
    (code, output)
}

#[tokio::test]
async fn a_run_says_what_it_did() {
    for kind in BOTH {
        let bench = Bench::start(kind).await;
        bench.write("a.md", "# A\n\nApples.\n\n## Kettle\n\nThe kettle whistles.\n");
        let options = ["--route-base", "guide/", "--version-label", "2.x", "--language", "en"];
        let (code, output) = index(&bench, &options).await;
        assert_eq!(code, Some(0), "{output}");
        assert!(output.contains("1 pages, 2 passages: 2 embedded, 0 kept, 0 deleted, in "), "{output}");
        let labels = [("version", "2.x"), ("language", "en")];
        assert_eq!(bench.found("kettle", &labels).await, ["/guide/a#kettle", "/guide/a"], "{kind:?}");
        assert_eq!(bench.found("kettle", &[("version", "3.x")]).await, [""; 0], "{kind:?}");
    }
}

#[tokio::test]
async fn a_broken_file_is_named_and_what_it_gave_before_stays() {
    for kind in BOTH {
        let bench = Bench::start(kind).await;
        let breaks: [(&str, &[u8]); 3] = [
            ("yaml.md", b"---\ntitle: [open\n---\nText."),
            ("latin.md", b"caf\xe9"),
            ("component.mdx", b"<Tabs>\n\nNever closed.\n"),
        ];
        bench.write("fine.md", "Apples.");
        bench.write("huge.md", "Text of huge.");
        for (file, _) in breaks {
            bench.write(file, format!("Text of {file}."));
        }
        let (code, output) = index(&bench, &[]).await;
        assert_eq!(code, Some(0), "{output}");
        for (file, bytes) in breaks {
            bench.write(file, bytes);
        }
        bench.write("huge.md", vec![b'x'; 5 * 1024 * 1024]);
        bench.remove("fine.md");
        bench.write("new.md", "Bananas.");
        let (code, output) = index(&bench, &[]).await;
        assert_eq!(code, Some(2), "{output}");
        for file in ["yaml.md", "latin.md", "component.mdx", "huge.md"] {
            assert!(output.contains(&format!("skipped {file}: ")), "{output}");
        }
        assert!(output.contains("1 pages, 1 passages: 1 embedded, 0 kept, 1 deleted"), "{output}");
        let mut found = bench.found("text", &[]).await;
        found.sort();
        let expected = ["/docs/component", "/docs/huge", "/docs/latin", "/docs/new", "/docs/yaml"];
        assert_eq!(found, expected, "{kind:?}");
    }
}

#[tokio::test]
async fn a_folder_without_pages_ends_with_64_and_leaves_the_index() {
    let bench = Bench::start(Kind::Embedded).await;
    let (code, output) = index(&bench, &[]).await;
    assert_eq!(code, Some(64), "{output}");
    assert!(output.contains("holds no .md or .mdx file"), "{output}");
    bench.write("a.md", "Apples.");
    assert_eq!(index(&bench, &[]).await.0, Some(0));
    bench.write("a.md", "---\ntitle: [open\n---\n");
    let (code, output) = index(&bench, &[]).await;
    assert_eq!(code, Some(64), "{output}");
    assert!(output.contains("a.md: ") && output.contains("left as it is"), "{output}");
    assert_eq!(bench.found("apples", &[]).await, ["/docs/a"]);
}

#[tokio::test]
async fn a_run_without_a_key_names_the_way_without_one() {
    let bench = Bench::start(Kind::Embedded).await;
    bench.write("a.md", "# A\n\nApples.\n\n## Kettle\n\nThe kettle whistles.\n");
    let data = bench.data();
    let place = ("DOCENT_DATA", data.to_str().unwrap());
    let (code, output) = index_with(&bench, &[], &[place]).await;
    assert_eq!(code, Some(64), "{output}");
    assert!(
        output.contains("GEMINI_API_KEY is not set") && output.contains("EMBEDDING_MODEL=offline"),
        "{output}"
    );
    assert!(!data.exists());

    let (code, output) = index_with(&bench, &["--dry-run"], &[place]).await;
    assert_eq!((code, output.as_str()), (Some(0), "/docs/a\n/docs/a#kettle\n"));
    assert!(!data.exists());

    let (code, output) = index_with(&bench, &["--embedding-model", "offline"], &[place]).await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("2 embedded"), "{output}");
    assert_eq!(bench.batches().len(), 0);
    let mut bench = bench;
    bench.set("EMBEDDING_MODEL", "offline");
    assert_eq!(bench.found("whistling kettle", &[]).await[0], "/docs/a#kettle");
}

#[tokio::test]
async fn the_offline_index_is_kept_from_run_to_run() {
    for kind in BOTH {
        let mut bench = Bench::start(kind).await;
        bench.set("EMBEDDING_MODEL", "offline");
        bench.write("a.md", "# A\n\nApples.\n\n## Kettle\n\nThe kettle whistles.\n");
        assert_eq!(bench.run().await.unwrap().embedded, 2, "{kind:?}");
        bench.write("a.md", "# A\n\nPears.\n\n## Kettle\n\nThe kettle whistles.\n");
        let again = bench.run().await.unwrap();
        assert_eq!((again.embedded, again.kept), (1, 1), "{kind:?}");
        assert_eq!(bench.found("pears", &[]).await, ["/docs/a"], "{kind:?}");
    }
}

#[tokio::test]
async fn what_gemini_says_is_shown_without_the_key() {
    let bench = Bench::start(Kind::Embedded).await;
    bench.write("a.md", "Apples.");
    let body = json!({"error": {"code": 400, "message": "bad key AIza-secret", "status": "INVALID_ARGUMENT"}});
    bench.gemini.on_batch(Reply::Plain(400, "application/json", body.to_string().into_bytes()));
    let (code, output) = index(&bench, &["--rust-log", "trace"]).await;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("could not be embedded") && output.contains("bad key [redacted]"), "{output}");
    bench.gemini.on_batch(error(403, "PERMISSION_DENIED", json!([])));
    assert_eq!(index(&bench, &[]).await.0, Some(1));
}

#[tokio::test]
async fn an_interrupt_ends_the_run_with_a_sentence_and_leaves_the_index() {
    for kind in BOTH {
        let bench = Bench::start(kind).await;
        bench.write("old.md", "# Old\n\nAncient words.\n");
        bench.run().await.unwrap();
        bench.write_sections("new.md", 150);
        bench.gemini.on_batch(Reply::Unscripted).on_batch(Reply::Silence);
        let mut command = Command::new(env!("CARGO_BIN_EXE_docent"));
        command.arg("index").arg(bench.pages()).env_clear().envs(bench.variables()).current_dir(bench.pages());
        let run = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        within(bench.gemini.arrived(":batchEmbedContents", 3)).await;
        let id = run.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().await.unwrap().success());
        let output = within(run.wait_with_output()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{kind:?}: {said}");
        assert!(said.contains("docent: stopped; what Gemini embedded is kept"), "{kind:?}: {said}");
        assert_eq!(bench.found("ancient words", &[]).await[0], "/docs/old", "{kind:?}");
        assert_eq!(bench.run().await.unwrap().embedded, 50, "{kind:?}");
    }
}

/// The stages that an `eval` timed.
fn stages(report: &Value) -> Vec<&str> {
    report["stages"].as_array().unwrap().iter().map(|stage| stage["stage"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn eval_measures_what_is_found_and_names_a_broken_line() {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    write("docs/tea.md", "# Tea\n\nLeaves.\n\n## Brewing\n\nEighty degrees for the frobnicator.\n");
    write("docs/pan.md", "# Pan\n\n## Frying\n\nOil makes pancakes brown.\n");
    let docs = folder.path().join("docs").display().to_string();
    let questions = [
        json!({"question": "How many degrees does the frobnicator need?", "gold": ["/docs/tea#brewing"], "kind": "plain"}),
        json!({"question": "What makes pancakes brown?", "gold": ["/docs/pan#frying", "/docs/pan#none"], "kind": "plain"}),
        json!({"question": "frobnicator degrees", "gold": ["/docs/none"], "kind": "lost"}),
        json!({"question": "xylophone quartets", "gold": [], "kind": "outside"}),
    ];
    let lines = questions.map(|question| question.to_string()).join("\n");
    let file = write("questions.jsonl", &lines);
    let arguments = ["eval", &file, "--docs", &docs, "--json", "--rust-log", "off"];
    let (code, output) = cli::run(&arguments, &[]).await;
    assert_eq!(code, Some(0), "{output}");
    let report: Value = serde_json::from_str(&output).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&report), ["top_k", "kinds", "stages", "missed"]);
    assert_eq!(report["top_k"], 6);
    assert_eq!(keys(&report["kinds"]), ["all", "lost", "outside", "plain"]);
    let plain = json!({"questions": 2, "answerable": 2, "recall": 0.75, "hits": 1.0, "mrr": 1.0, "answered": 1.0,
        "uncited": 0.0, "not_in_docs": 0.0, "failed": 0, "invalid_citations": 0});
    assert_eq!(report["kinds"]["plain"], plain);
    let all = json!({"questions": 4, "answerable": 3, "recall": 0.5, "hits": 0.667, "mrr": 0.667, "answered": 0.75,
        "uncited": 0.0, "not_in_docs": 0.25, "failed": 0, "invalid_citations": 0});
    assert_eq!(report["kinds"]["all"], all);
    assert_eq!(report["missed"][0]["question"], "frobnicator degrees");
    assert_eq!(report["missed"][0]["gold"], json!(["/docs/none"]));
    assert_eq!(report["missed"][0]["found"][0], "/docs/tea#brewing");
    assert_eq!(stages(&report), ["embed", "retrieve", "total"], "no model is asked offline");
    assert_eq!(keys(&report["stages"][0]), ["stage", "p50_ms", "p95_ms"]);

    let bench = Bench::start(Kind::Embedded).await;
    bench.run_over(docs.as_ref(), &root(), &CancellationToken::new()).await.unwrap();
    let variables = bench.variables();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let arguments = ["eval", &file, "--json", "--top-k", "1", "--rust-log", "off"];
    let (code, output) = cli::run(&arguments, &variables).await;
    assert_eq!(code, Some(0), "{output}");
    let report: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(stages(&report), ["embed", "retrieve", "first token", "total"]);
    assert_eq!((&report["top_k"], &report["kinds"]["plain"]["recall"]), (&json!(1), &json!(1.0)));

    let broken = write("broken.jsonl", &format!("{lines}\n{{\"question\": 7}}\n"));
    let (code, output) = cli::run(&["eval", &broken, "--docs", &docs], &[]).await;
    assert_eq!(code, Some(64), "{output}");
    assert!(output.contains("broken.jsonl: line 5: "), "{output}");
}
