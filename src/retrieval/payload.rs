//! Reads a passage out of a payload that any common indexer wrote. No I/O.
//!
//! Known shapes, in the order in which they are tried: plain keys; LangChain's `page_content` and `metadata`;
//! LlamaIndex's `_node_content`, a JSON text; Haystack's `content` and `meta`.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use url::Url;

use crate::chat::Passage;
use crate::config::PayloadKeys;
use crate::text::clip;

/// Holds a point's payload, an object of any shape.
pub type Payload = Map<String, Value>;

/// Key of the hash of the text and model from which a passage's vector was made; only Docent writes this key.
pub const HASH_KEY: &str = "chunk_hash";
/// Key of the route base of a passage's documentation root.
pub const ROOT_KEY: &str = "root";
/// Key of the file that a passage comes from.
pub const FILE_KEY: &str = "file";
/// Key of a passage's language tag, as the operator gave it.
pub const LANGUAGE_KEY: &str = "language";
/// Key of a passage's version.
pub const VERSION_KEY: &str = "version";

const TEXT_KEYS: &[&str] =
    &["text", "content", "page_content", "chunk", "chunk_text", "body", "document", "passage"];
const TITLE_KEYS: &[&str] =
    &["title", "page_title", "document_title", "doc_title", "chapter", "name", "h1", "Header 1"];
const SECTION_KEYS: &[&str] = &[
    "section",
    "heading",
    "headings",
    "heading_path",
    "section_title",
    "header",
    "h2",
    "Header 3",
    "Header 2",
];
const URL_KEYS: &[&str] =
    &["url", "link", "permalink", "page_url", "source_url", "href", "slug", "source", "path"];
/// Keys of the objects in which indexers keep the other fields beside the text.
const NESTS: &[&str] = &["metadata", "meta", "payload", "text_resource"];

/// Longest title and section of a source, in characters; longer ones are cut.
const MAX_LABEL_CHARS: usize = 300;
/// Longest link, in characters; a longer one is left out.
const MAX_URL_CHARS: usize = 2_000;

/// Reads passages out of payloads: by the operator's keys, and with relative links made absolute.
#[derive(Debug, Clone, Default)]
pub struct PayloadReader {
    /// Keys that the operator set; a value without such a key is found by its usual names.
    pub keys: PayloadKeys,
    /// Address to which relative links are joined (`SITE_URL`); without it they stay relative.
    pub site_url: Option<Url>,
}

impl PayloadReader {
    /// Returns the passage in `payload`; `None` where there is no text.
    pub(super) fn read_passage(&self, payload: &Payload, score: f64) -> Option<Passage> {
        let node = node_content(payload);
        let find = |operators: &Option<String>, usual: &[&str]| match operators {
            Some(key) => value_at(payload, key).and_then(readable_text),
            None => find_text(payload, usual).or_else(|| node.as_ref().and_then(|node| find_text(node, usual))),
        };
        let text = find(&self.keys.text, TEXT_KEYS)?;
        let section = find(&self.keys.section, SECTION_KEYS);
        let url = match &self.keys.url {
            Some(key) => value_at(payload, key)
                .and_then(readable_text)
                .map(|url| self.safe_url(&url))
                .unwrap_or_default(),
            None if payload.contains_key(HASH_KEY) => payload
                .get("url")
                .and_then(readable_text)
                .map(|url| self.safe_page_url(&url))
                .unwrap_or_default(),
            None => self.find_url(payload, node.as_ref()),
        };
        let title = find(&self.keys.title, TITLE_KEYS).or_else(|| section.clone());
        let title = title.unwrap_or_else(|| if url.is_empty() { "Untitled".to_owned() } else { url.clone() });
        let url = append_anchor(url, find(&None, &["anchor"]));
        let label = |text: String| clip(&text, MAX_LABEL_CHARS).to_owned();
        Some(Passage { title: label(title), section: section.map(label), url, text, score })
    }

    /// Returns the address under the first usual key that holds one, at any nesting.
    fn find_url(&self, payload: &Payload, node: Option<&Payload>) -> String {
        let objects: Vec<&Payload> =
            nested_objects(payload).chain(node.into_iter().flat_map(nested_objects)).collect();
        let candidates = URL_KEYS.iter().flat_map(|key| {
            // The value of these keys is often a name in one word, which is no address.
            let may_be_a_name = matches!(*key, "source" | "path");
            let texts = objects.iter().filter_map(|object| object.get(*key).and_then(readable_text));
            texts.filter(move |text| !may_be_a_name || text.contains(['/', '#', '?', '.'])).collect::<Vec<_>>()
        });
        candidates.map(|text| self.safe_url(&text)).find(|url| !url.is_empty()).unwrap_or_default()
    }

    /// Returns `text` as an address that may be shown: `http(s)` or relative, made absolute where the site is
    /// known. Anything else (a script, a file path of a source tree) gives an empty address.
    fn safe_url(&self, text: &str) -> String {
        if is_source_file(text) && Url::parse(text).is_err() { String::new() } else { self.safe_page_url(text) }
    }

    /// Returns the address of a page in a form that may be shown: `http(s)` or relative, made absolute where
    /// the site is known, and empty for anything else. A page may be named like a source file
    /// (`/docs/settings.py`).
    pub fn safe_page_url(&self, text: &str) -> String {
        let text = text.trim();
        let too_long = text.chars().nth(MAX_URL_CHARS).is_some();
        if text.is_empty() || too_long || text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\')
        {
            return String::new();
        }
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => text.to_owned(),
            Err(url::ParseError::RelativeUrlWithoutBase) if !text.starts_with("//") => {
                match self.site_url.as_ref().map(|site| join_site_path(site, text)) {
                    Some(absolute) => absolute.unwrap_or_default(),
                    None => text.to_owned(),
                }
            }
            _ => String::new(),
        }
    }
}

/// Joins a path to the site's address, whose own path is kept; `/docs/x` and `docs/x` give the same address.
fn join_site_path(site: &Url, path: &str) -> Option<String> {
    let base = site.path().trim_end_matches('/');
    let rest = path.trim_start_matches('/');
    // A path that was indexed with the site's base path already has it.
    let path = match base.trim_start_matches('/') {
        "" => format!("/{rest}"),
        prefix if rest == prefix || rest.starts_with(&format!("{prefix}/")) => format!("/{rest}"),
        _ => format!("{base}/{rest}"),
    };
    site.join(&path).ok().map(Into::into)
}

/// Reports whether `text` is a path into a source tree (`docs/intro.md`, `/home/me/x.py`).
fn is_source_file(text: &str) -> bool {
    let path = text.split(['#', '?']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    matches!(
        extension.as_deref(),
        Some("md" | "mdx" | "markdown" | "rst" | "txt" | "pdf" | "docx" | "py" | "rs")
    )
}

/// Returns the keys of all `payloads`, nested ones with dots, sorted.
pub(super) fn key_paths(payloads: &[Payload]) -> Vec<String> {
    let mut keys = BTreeSet::new();
    for (key, value) in payloads.iter().flatten() {
        match value {
            Value::Object(inner) => keys.extend(inner.keys().map(|inner| format!("{key}.{inner}"))),
            _ => drop(keys.insert(key.clone())),
        }
    }
    keys.into_iter().collect()
}

/// Returns LlamaIndex's node, which holds text and metadata; it is stored as JSON text, or as an object.
fn node_content(payload: &Payload) -> Option<Payload> {
    match payload.get("_node_content")? {
        Value::String(text) => serde_json::from_str(text).ok(),
        Value::Object(node) => Some(node.clone()),
        _ => None,
    }
}

/// Returns the text under the first of `keys` that holds one, in the payload itself or in a nested object.
fn find_text(payload: &Payload, keys: &[&str]) -> Option<String> {
    nested_objects(payload)
        .find_map(|object| keys.iter().find_map(|key| object.get(*key).and_then(readable_text)))
}

/// Iterates over a payload and the objects in which indexers nest keys.
fn nested_objects(payload: &Payload) -> impl Iterator<Item = &Payload> {
    let nests = NESTS.iter().filter_map(|nest| payload.get(*nest).and_then(Value::as_object));
    std::iter::once(payload).chain(nests)
}

/// Returns the value at a key with dots; a key that itself contains dots is tried first.
fn value_at<'a>(payload: &'a Payload, key: &str) -> Option<&'a Value> {
    payload.get(key).or_else(|| {
        let (first, rest) = key.split_once('.')?;
        value_at(payload.get(first)?.as_object()?, rest)
    })
}

/// Returns a text, or a path of headings joined to one; `None` where there is nothing to read.
fn readable_text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Array(parts) => {
            let parts: Vec<&str> = parts.iter().filter_map(Value::as_str).map(str::trim).collect();
            parts.join(" › ")
        }
        _ => String::new(),
    };
    (!text.is_empty()).then_some(text)
}

/// Appends an anchor to an address that has none, unless the anchor holds white space.
fn append_anchor(url: String, anchor: Option<String>) -> String {
    match anchor {
        Some(anchor) if !url.is_empty() && !url.contains('#') && !anchor.chars().any(char::is_whitespace) => {
            format!("{url}#{}", anchor.trim_start_matches('#'))
        }
        _ => url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(reader: &PayloadReader, payload: Value) -> Option<Passage> {
        reader.read_passage(payload.as_object().unwrap(), 0.5)
    }

    #[test]
    fn payloads_of_the_common_indexers_are_read() {
        let expected = Passage {
            title: "Deploy".to_owned(),
            section: Some("Docker".to_owned()),
            url: "https://x.example/docs/deploy#docker".to_owned(),
            text: "Run it.".to_owned(),
            score: 0.5,
        };
        let meta =
            json!({"title": "Deploy", "section": "Docker", "url": "https://x.example/docs/deploy#docker"});
        let node = json!({"text": "Run it.", "metadata": meta}).to_string();
        let mut plain = meta.clone();
        plain["text"] = "Run it.".into();
        for payload in [
            plain,
            json!({"page_content": "Run it.", "metadata": meta}),
            json!({"_node_content": node, "_node_type": "TextNode"}),
            json!({"_node_content": json!({"text_resource": {"text": "Run it."}, "metadata": meta}).to_string()}),
            json!({"content": "Run it.", "meta": meta}),
        ] {
            assert_eq!(read(&PayloadReader::default(), payload.clone()), Some(expected.clone()), "{payload}");
        }
    }

    #[test]
    fn the_operators_keys_win_and_may_be_nested() {
        let keys =
            PayloadKeys { text: Some("doc.raw".into()), title: Some("doc.t".into()), ..Default::default() };
        let reader = PayloadReader { keys, site_url: None };
        let passage = read(&reader, json!({"text": "not this", "doc": {"raw": "this", "t": "T"}})).unwrap();
        assert_eq!((passage.text.as_str(), passage.title.as_str()), ("this", "T"));
        assert_eq!(read(&reader, json!({"text": "not this"})), None, "a set key is the only one");
    }

    #[test]
    fn only_http_and_relative_links_are_shown() {
        let reader = PayloadReader::default();
        for link in [
            "javascript:alert(1)",
            "data:text/html,x",
            "//evil.example/x",
            "file:///etc/passwd",
            "/\\evil",
            "docs/intro.md",
            "/a b",
            "java\nscript:x",
            "",
        ] {
            assert_eq!(reader.safe_url(link), "", "{link:?}");
        }
        for link in ["https://x.example/a#b", "/docs/a#b", "docs/a", "?q=1"] {
            assert_eq!(reader.safe_url(link), link);
        }
    }

    #[test]
    fn the_site_makes_relative_links_absolute() {
        let reader =
            |site: &str| PayloadReader { site_url: Some(Url::parse(site).unwrap()), ..Default::default() };
        assert_eq!(reader("https://x.example").safe_url("/docs/a#b"), "https://x.example/docs/a#b");
        assert_eq!(reader("https://x.example/base/").safe_url("/docs/a"), "https://x.example/base/docs/a");
        assert_eq!(reader("https://x.example/base").safe_url("/base/docs/a"), "https://x.example/base/docs/a");
        assert_eq!(reader("https://x.example").safe_url("https://y.example/z"), "https://y.example/z");
    }

    #[test]
    fn the_first_key_that_holds_an_address_wins_wherever_it_is() {
        let url = |payload: Value| read(&PayloadReader::default(), payload).unwrap().url;
        let page = "https://x.example/a";
        for payload in [
            json!({"text": "x", "path": "docs/a.md", "source": page}),
            json!({"text": "x", "path": "docs/a", "metadata": {"url": page}}),
            json!({"text": "x", "source": "handbook", "metadata": {"url": page}}),
            json!({"text": "x", "url": "javascript:x", "link": page}),
        ] {
            assert_eq!(url(payload.clone()), page, "{payload}");
        }
        assert_eq!(url(json!({"text": "x", "source": "handbook"})), "");
        assert_eq!(url(json!({"text": "x", "url": "install.html", "slug": "start"})), "install.html");
    }

    #[test]
    fn a_path_of_headings_becomes_one_section_and_an_anchor_joins_the_url() {
        let payload = json!({"text": "x", "headings": ["Deploy", "Docker"], "url": "/d", "anchor": "docker"});
        let passage = read(&PayloadReader::default(), payload).unwrap();
        assert_eq!(passage.section.as_deref(), Some("Deploy › Docker"));
        assert_eq!(passage.url, "/d#docker");
    }

    #[test]
    fn a_payload_without_text_is_no_passage() {
        for payload in
            [json!({}), json!({"text": "  "}), json!({"text": 7}), json!({"_node_content": "{broken"})]
        {
            assert_eq!(read(&PayloadReader::default(), payload), None);
        }
    }
}
