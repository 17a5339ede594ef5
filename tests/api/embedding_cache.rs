//! Checks that the embedding of a repeated question is taken from the cache.

use serde_json::json;

use crate::support::app::spawn_with_fakes;
use crate::support::fake_gemini::error;

#[tokio::test]
async fn a_cached_embedding_is_not_asked_for_again() {
    let (app, gemini, _) = spawn_with_fakes(&[("EMBED_CACHE", "10")]).await;
    for _ in 0..3 {
        assert_eq!(app.ask_json("How?").await.0, 200);
    }
    assert_eq!(gemini.requests_to(":embedContent").len(), 1);
    gemini.on_embed(error(500, "INTERNAL", json!([])));
    assert_eq!(app.ask_json("How else?").await.0, 200);
    assert_eq!(gemini.requests_to(":embedContent").len(), 3, "another question has another embedding");
}
