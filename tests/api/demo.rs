//! Checks `docent demo`: its offline answers, and the pages that its citations lead to.

use serde_json::Value;

use crate::support::app::spawn_demo;
use crate::support::problem::assert_answer_status;

#[tokio::test]
async fn the_demo_answers_offline_and_says_when_the_handbook_does_not() {
    let app = spawn_demo().await;
    let answer = app.ask_json("How do I put the chat on my Docusaurus site?").await;
    assert_answer_status(&answer, "answered");
    let (_, answer) = answer;
    for key in ["model", "usage"] {
        assert_eq!(answer[key], Value::Null, "no model was asked, but {key} is set");
    }
    assert_eq!(answer["timings"]["first_token_ms"], Value::Null);
    let mut headings = 0;
    for cited in answer["cited"].as_array().unwrap() {
        let url = answer["sources"][cited.as_u64().unwrap() as usize - 1]["url"].as_str().unwrap();
        let (page, anchor) = url.split_once('#').unwrap_or((url, ""));
        let response = app.get(page).await;
        assert_eq!(response.status(), 200, "{url}");
        let html = response.text().await.unwrap();
        assert!(anchor.is_empty() || html.contains(&format!("id=\"{anchor}\"")), "{url} leads to no heading");
        headings += usize::from(!anchor.is_empty());
    }
    assert!(headings > 0, "no citation leads to a heading");
    let answer = app.ask_json("What is the capital of France?").await;
    assert_answer_status(&answer, "not_in_docs");
    let response = answer.1["response"].as_str().unwrap();
    assert!(
        response.contains("does not seem to answer") && response.contains("The closest pages: "),
        "{response}"
    );
}

#[tokio::test]
async fn the_same_offline_question_gets_the_same_answer() {
    let app = spawn_demo().await;
    let (_, one) = app.ask_json("Which events does the stream have?").await;
    let (_, two) = app.ask_json("Which events does the stream have?").await;
    assert_eq!(one["response"], two["response"]);
    assert_eq!(one["sources"], two["sources"]);
}
