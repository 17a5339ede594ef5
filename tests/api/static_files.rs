//! Checks the files that a browser loads, the widget on any site and the demo page: CORS, caching, compression.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::app::{TestApp, spawn_with_fakes};
use crate::support::wait::within;

const ALLOWED: &str = "https://docs.example";

const FOREIGN: &str = "https://foreign.example";

/// Starts a server that admits one site.
async fn spawn_for_one_site() -> TestApp {
    spawn_with_fakes(&[("ALLOWED_ORIGINS", ALLOWED)]).await.0
}

/// Returns the text of every file of the widget, by its path on the server.
fn widget_files() -> BTreeMap<String, String> {
    let folder = Path::new(env!("OUT_DIR"));
    let names = std::fs::read_dir(folder.join("widget")).unwrap();
    let names = names.map(|file| file.unwrap().file_name().into_string().unwrap());
    let modules = names.filter(|name| name.ends_with(".js")).map(|name| format!("/widget/{name}"));
    let read = |path: String| {
        let text = std::fs::read_to_string(folder.join(&path[1..])).unwrap();
        (path, text)
    };
    modules.chain(["/widget.js".to_owned()]).map(read).collect()
}

/// Sends a `GET` with these headers; returns status, headers and body.
async fn get(app: &TestApp, path: &str, with: &[(&str, &str)]) -> (u16, HeaderMap, Vec<u8>) {
    let request = with.iter().fold(app.http.get(app.url(path)), |r, (name, value)| r.header(*name, *value));
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, headers, response.bytes().await.unwrap().to_vec())
}

/// Returns all values of a header, joined.
fn joined_values(headers: &HeaderMap, name: &str) -> String {
    let values: Vec<&str> = headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
    values.join(",")
}

#[tokio::test]
async fn every_file_of_the_widget_is_served_to_every_site() {
    let app = spawn_for_one_site().await;
    let files = widget_files();
    assert!(files.len() > 1, "{:?}", files.keys());
    for (path, text) in files {
        for with in [&[][..], &[("origin", FOREIGN)], &[("origin", "null")]] {
            let (status, headers, body) = get(&app, &path, with).await;
            assert_eq!((status, body), (200, text.clone().into_bytes()), "{path}");
            assert_eq!(headers["content-type"], "text/javascript; charset=utf-8", "{path}");
            assert_eq!(headers["access-control-allow-origin"], "*", "{path} {with:?}");
            assert_eq!(headers["cross-origin-resource-policy"], "cross-origin", "{path}");
            assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        }
    }
}

#[tokio::test]
async fn a_site_that_may_load_the_widget_may_not_read_answers() {
    let app = spawn_for_one_site().await;
    let request = app.http.post(app.url("/chat")).header("origin", FOREIGN);
    let answer = request.json(&json!({"query": "How?"})).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    for headers in [answer.headers(), &get(&app, "/", &[("origin", FOREIGN)]).await.1] {
        let open = |name: &&str| name.starts_with("access-control-") || name.starts_with("cross-origin-");
        assert_eq!(headers.keys().map(|name| name.as_str()).find(open), None, "{headers:?}");
    }
}

#[tokio::test]
async fn a_site_that_is_allowed_may_load_the_widget_too() {
    let app = spawn_for_one_site().await;
    let (status, headers, _) = get(&app, "/widget.js", &[("origin", ALLOWED)]).await;
    let allowed = joined_values(&headers, "access-control-allow-origin");
    assert_eq!((status, allowed.as_str()), (200, ALLOWED));
    assert!(joined_values(&headers, "vary").contains("origin"), "{headers:?}");
}

#[tokio::test]
async fn a_file_that_a_browser_has_already_is_not_sent_again() {
    let app = spawn_for_one_site().await;
    let mut tags = Vec::new();
    for path in
        widget_files().into_keys().chain(["/", "/demo.js", "/demo.css", "/favicon.svg"].map(str::to_owned))
    {
        let (_, headers, _) = get(&app, &path, &[]).await;
        assert_eq!(headers["cache-control"], "no-cache", "{path}");
        let weak = headers["etag"].to_str().unwrap().to_owned();
        let strong = weak.trim_start_matches("W/");
        for known in [&weak, strong, "*", &format!("\"other\" , {weak}"), &format!("W/\"a,b\",{strong}")] {
            let (status, unchanged, body) = get(&app, &path, &[("if-none-match", known)]).await;
            assert_eq!((status, body.len()), (304, 0), "{path} {known}");
            for name in ["etag", "cache-control", "vary", "access-control-allow-origin"] {
                assert_eq!(unchanged.get(name), headers.get(name), "{path}: {name}");
            }
        }
        for unknown in ["", "\"other\"", strong.trim_matches('"'), "\"a,*,b\"", "W/\"\""] {
            assert_eq!(get(&app, &path, &[("if-none-match", unknown)]).await.0, 200, "{path} {unknown}");
        }
        tags.push(weak);
    }
    let again = spawn_for_one_site().await;
    assert_eq!(get(&again, "/", &[]).await.1["etag"], get(&app, "/", &[]).await.1["etag"]);
    let count = tags.len();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), count, "two files share a tag");
}

#[tokio::test]
async fn an_unchanged_file_leaves_its_connection_in_order() {
    let app = spawn_for_one_site().await;
    let mut socket = TcpStream::connect(&app.address).await.unwrap();
    let head = |rest: &str| format!("GET /widget.js HTTP/1.1\r\nHost: x\r\n{rest}\r\n");
    let requests = head("If-None-Match: *\r\n") + &head("If-None-Match: *\r\nConnection: close\r\n");
    socket.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = String::new();
    within(socket.read_to_string(&mut answers)).await.unwrap();
    let answers = answers.to_lowercase();
    assert_eq!(answers.matches("http/1.1 304").count(), 2, "{answers}");
    assert!(!answers.contains("\ncontent-length") && !answers.contains("\ncontent-type"), "{answers}");
}

#[tokio::test]
async fn files_are_compressed_for_clients_that_accept_it() {
    let app = spawn_for_one_site().await;
    for path in ["/", "/demo.js", "/demo.css", "/widget.js", "/widget/chat.js"] {
        let (_, plain, whole) = get(&app, path, &[]).await;
        assert!(!plain.contains_key("content-encoding"), "{path}");
        assert_eq!(get(&app, path, &[("accept-encoding", "gzip;q=0, br")]).await.2, whole, "{path}");
        for accepted in ["gzip", "br;q=1.0, gzip;q=0.5", "gzip, deflate, br, zstd"] {
            let (status, headers, packed) = get(&app, path, &[("accept-encoding", accepted)]).await;
            assert_eq!((status, headers["content-encoding"].to_str().unwrap()), (200, "gzip"), "{path}");
            assert!(packed.len() < whole.len(), "{path}: {} of {}", packed.len(), whole.len());
            let mut unpacked = Vec::new();
            GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
            assert_eq!(unpacked, whole, "{path}");
            assert_eq!(headers["etag"], plain["etag"], "{path}");
            for headers in [&headers, &plain] {
                assert!(joined_values(headers, "vary").contains("accept-encoding"), "{path}: {headers:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_is_never_compressed() {
    let app = spawn_for_one_site().await;
    for form in ["text/event-stream", "application/json"] {
        let request = app.http.post(app.url("/chat")).header("accept", form).header("accept-encoding", "gzip");
        let response = request.json(&json!({"query": "How?"})).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &form.parse().unwrap())
        );
        assert!(!response.headers().contains_key("content-encoding"), "{form}");
        assert!(response.text().await.unwrap().contains("\"request_id\":"), "{form}");
    }
}

#[tokio::test]
async fn a_head_request_gets_the_headers_of_a_get() {
    let app = spawn_for_one_site().await;
    for with in ["identity", "gzip"] {
        let (_, mut expected, _) = get(&app, "/widget/chat.js", &[("accept-encoding", with)]).await;
        let request = app.http.head(app.url("/widget/chat.js")).header("accept-encoding", with);
        let mut headers = request.send().await.unwrap().headers().clone();
        for varies in ["date", "x-request-id", "transfer-encoding"] {
            expected.remove(varies);
            headers.remove(varies);
        }
        assert_eq!(headers, expected, "{with}");
    }
}

#[tokio::test]
async fn no_other_file_is_found_beside_the_widget() {
    let app = spawn_for_one_site().await;
    let ask = async |method: &str, path: &str| {
        let mut socket = TcpStream::connect(&app.address).await.unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(socket.read_to_string(&mut answer)).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-type: application/problem+json"), "{path}: {head}");
        serde_json::from_str::<Value>(body).unwrap()["code"].as_str().unwrap().to_owned()
    };
    for path in [
        "/widget",
        "/widget/",
        "/widget/x.js",
        "/widget/chat",
        "/widget/chat.js/",
        "/widget//sse.js",
        "/widget/../demo.html",
        "/widget/..%2fdemo.html",
        "/widget/%2e%2e/%2e%2e/Cargo.toml",
        "/widget/../../../../etc/passwd",
        "/widget/..\\demo.html",
        "/static/widget.js",
        "/sse.js",
        "/demo.html",
    ] {
        assert_eq!(ask("GET", path).await, "not_found", "{path}");
    }
    assert_eq!(ask("POST", "/widget.js").await, "method_not_allowed");
}
