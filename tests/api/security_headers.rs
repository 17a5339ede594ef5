//! Checks the headers that keep a browser from guessing types, running scripts and framing pages.

use crate::support::app::spawn_demo;

#[tokio::test]
async fn pages_carry_a_strict_policy_and_no_inline_script() {
    let app = spawn_demo().await;
    for path in ["/", "/docs", "/docs/configure"] {
        let response = app.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let html = response.text().await.unwrap();
        assert!(!html.contains(" style=") && !html.contains(" onclick="), "{path}");
        assert!(!html.contains("<script>"), "{path}");
    }
}

#[tokio::test]
async fn every_response_forbids_type_sniffing_and_pages_forbid_scripts_and_frames() {
    let app = spawn_demo().await;
    for path in ["/", "/demo.js", "/demo.css", "/docs", "/health", "/ready", "/metrics", "/nothing", "/chat"] {
        let response = app.get(path).await;
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{path}");
    }
    for path in ["/", "/docs"] {
        let response = app.get(path).await;
        let headers = response.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(part), "{path}: no {part} in {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(headers["referrer-policy"], "no-referrer");
    }
}
