//! Checks the binary's `eval`: its measures and its exit codes.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::binary::run_to_end;
use crate::support::index_fixture::{IndexFixture, Kind, root};

/// Returns the stages that a report has times of.
fn stages(report: &Value) -> Vec<&str> {
    report["stages"].as_array().unwrap().iter().map(|stage| stage["stage"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn eval_measures_the_search_and_names_a_broken_line() {
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
    let (code, output) = run_to_end(&arguments, &[]).await;
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

    let fixture = IndexFixture::start(Kind::Embedded).await;
    fixture.run_over(docs.as_ref(), &root(), &CancellationToken::new()).await.unwrap();
    let variables = fixture.variables();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let arguments = ["eval", &file, "--json", "--top-k", "1", "--rust-log", "off"];
    let (code, output) = run_to_end(&arguments, &variables).await;
    assert_eq!(code, Some(0), "{output}");
    let report: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(stages(&report), ["embed", "retrieve", "first token", "total"]);
    assert_eq!((&report["top_k"], &report["kinds"]["plain"]["recall"]), (&json!(1), &json!(1.0)));

    let broken = write("broken.jsonl", &format!("{lines}\n{{\"question\": 7}}\n"));
    let (code, output) = run_to_end(&["eval", &broken, "--docs", &docs], &[]).await;
    assert_eq!(code, Some(64), "{output}");
    assert!(output.contains("broken.jsonl: line 5: "), "{output}");
}
