//! Checks the binary as a process: its exit codes, `--help`, and the output of `check`.

use std::time::Duration;

use docent::app::App;
use docent::config::{Config, Vars};

use crate::support::binary::{Binary, run_to_end};
use crate::support::fake_gemini::{DIMENSIONS, FakeGemini, embedding};
use crate::support::fake_qdrant::{Behaviour, FakeQdrant};
use crate::support::wait::within;

#[tokio::test]
async fn wrong_settings_end_with_64_and_name_the_variable() {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    let (gemini, qdrant) = (gemini.url(), qdrant.url());
    let reach = [
        ("GEMINI_API_KEY", "AIza-secret"),
        ("GOOGLE_GEMINI_BASE_URL", gemini.as_str()),
        ("QDRANT_URL", qdrant.as_str()),
        ("QDRANT_COLLECTION_NAME", "docs"),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&reach[..], more].concat();
    for (arguments, variables, named) in [
        (&["serve"][..], vec![], "GEMINI_API_KEY"),
        (&["serve", "--port", "http"], with(&[]), "PORT"),
        (&["serve"], with(&[("QDRANT_COLLECTION_NAME", "missing")]), "QDRANT_COLLECTION_NAME"),
        (&["serve"], with(&[("QDRANT_URL", "")]), "QDRANT_URL"),
        (&["serve"], with(&[("LOG_FORMAT", "xml")]), "LOG_FORMAT"),
        (&["serve"], with(&[("HOST", "192.0.2.1")]), "HOST"),
        (&["serve"], with(&[("GEMINI_API_KEY", "AIza secret")]), "GEMINI_API_KEY"),
        (&["serve", "--no-such-option"], with(&[]), "--no-such-option"),
        (&["serve", "--gemini-api-key=AIza-secret"], vec![], "GEMINI_API_KEY has no flag"),
        (&["serve", "--port", "http"], with(&[("LOG_FORMAT", "xml")]), "PORT"),
        (&["dance"], vec![], "dance"),
    ] {
        let (code, output) = run_to_end(arguments, &variables).await;
        assert_eq!(code, Some(64), "{arguments:?}: {output}");
        assert!(output.contains(named), "{named} is not named in: {output}");
        assert!(output.contains("docent: ") || output.contains("error: "), "{output}");
        assert!(!output.contains("secret"), "{output}");
    }
}

#[tokio::test]
async fn a_dependency_that_stays_out_of_reach_ends_with_69() {
    let gemini = FakeGemini::start().await.url();
    // A port that no other test can get.
    let nobody = "http://127.0.0.1:1".to_owned();
    let settings = |gemini: &str, qdrant: &str| {
        let names = ["GOOGLE_GEMINI_BASE_URL", "QDRANT_URL", "GEMINI_API_KEY"];
        names.into_iter().map(str::to_owned).zip([gemini, qdrant, "key"].map(str::to_owned)).collect::<Vec<_>>()
    };
    for (settings, named) in [(settings(&gemini, &nobody), "Qdrant"), (settings(&nobody, &nobody), "Gemini")] {
        let mut config = Config::serve(&Vars::from_iter(settings)).unwrap();
        // The binary waits for 30 s and has no setting for that, so this test starts the app without a process.
        config.start_patience = Duration::ZERO;
        let error = within(App::build(config)).await.unwrap_err();
        assert_eq!(docent::cli::exit_code(&error), 69, "{error}");
        assert!(error.to_string().starts_with(named), "{error}");
    }
}

#[tokio::test]
async fn help_and_version_end_with_0() {
    for arguments in [&["--help"][..], &["serve", "--help"], &["--version"]] {
        let (code, output) = run_to_end(arguments, &[("GEMINI_API_KEY", "AIza-secret")]).await;
        assert_eq!(code, Some(0), "{output}");
        assert!(output.to_lowercase().contains("docent") && !output.contains("secret"), "{output}");
    }
}

#[tokio::test]
async fn check_prints_the_settings_that_serve_would_use() {
    let gemini = FakeGemini::start().await;
    let behaviour = Behaviour {
        dense: vec![("text".into(), DIMENSIONS as u64), ("other".into(), 7)],
        sparse: vec!["bm25".into()],
        ..Behaviour::default()
    };
    let qdrant = FakeQdrant::start_with(behaviour).await;
    let (base, url) = (gemini.url(), qdrant.url());
    let variables = [
        ("GEMINI_API_KEY", "AIza-secret"),
        ("GOOGLE_GEMINI_BASE_URL", base.as_str()),
        ("QDRANT_URL", url.as_str()),
        ("QDRANT_VECTOR_NAME", "text"),
    ];
    let (code, output) = run_to_end(&["check"], &variables).await;
    assert_eq!(code, Some(0), "{output}");
    for part in [
        "collection \"docs\" at http://127.0.0.1",
        "points            3",
        "other (7), text (256)",
        "text, 256 values, Cosine",
        "hybrid, with BM25 on bm25",
        "section, text, title, url",
        "gemini-embedding-001",
        "gemini-3.5-flash-lite",
        "look like this model's (similarity 1.00, 1.00, 1.00 on 3 points)",
        "serve would start",
    ] {
        assert!(output.contains(part), "no {part:?} in:\n{output}");
    }
    assert!(!output.contains("secret"), "{output}");
    assert_eq!(gemini.requests_to(":embedContent")[0].body["taskType"], "RETRIEVAL_DOCUMENT");
    // Vectors of another model point elsewhere.
    let elsewhere: Vec<f32> = (0..DIMENSIONS).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
    for _ in 0..3 {
        gemini.on_embed(embedding(&serde_json::json!(elsewhere)));
    }
    let (code, output) = run_to_end(&["check"], &variables).await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("do not look like this model's"), "{output}");
}

#[tokio::test]
async fn serve_answers_with_the_variables_alone() {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    let server = Binary::serve(&gemini.url(), &qdrant.url(), &[("QDRANT_COLLECTION_NAME", "docs")]).await;
    let request =
        reqwest::Client::new().post(format!("{}/chat", server.url)).json(&serde_json::json!({"query": "How?"}));
    let answer: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["response"], "Hello [1].");
    assert_eq!(answer["sources"][0]["url"], "https://docs.example/p1#part");
}
