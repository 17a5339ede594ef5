//! Reading a passage out of a payload, whoever indexed it. No I/O.
//!
//! Known shapes, in the order in which they are tried: plain keys; LangChain's `page_content` and `metadata`;
//! LlamaIndex's `_node_content`, a JSON text; Haystack's `content` and `meta`.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use url::Url;

use crate::chat::Passage;
use crate::config::PayloadKeys;
use crate::text::clip;

/// A payload: an object of any shape.
pub type Payload = Map<String, Value>;

/// Key of a stored passage that tells what its vector was made of.
pub const HASH_KEY: &str = "chunk_hash";
/// Key of a stored passage that tells which documentation root it belongs to, by its route base.
pub const ROOT_KEY: &str = "root";
/// Key of a stored passage that tells the file it comes from.
pub const FILE_KEY: &str = "file";
/// Key of a stored passage's language, as given.
pub const LANGUAGE_KEY: &str = "language";
/// Key of a stored passage's version.
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
/// Objects in which indexers keep everything but the text.
const NESTS: &[&str] = &["metadata", "meta", "payload", "text_resource"];

/// Longest title and section a source carries, in characters.
const MAX_LABEL_CHARS: usize = 300;
/// Longest link, in characters; a longer one is left out.
const MAX_URL_CHARS: usize = 2_000;

/// How payloads are read: the operator's keys, and the site that makes relative links absolute.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Keys the operator set; the others are found by their usual names.
    pub keys: PayloadKeys,
    /// `SITE_URL`.
    pub site: Option<Url>,
}

impl Reading {
    /// The passage in `payload`; `None` where there is no text.
    pub fn passage(&self, payload: &Payload, score: f64) -> Option<Passage> {
        let node = node_content(payload);
        let find = |set: &Option<String>, known: &[&str]| match set {
            Some(key) => at(payload, key).and_then(readable),
            None => find(payload, known).or_else(|| node.as_ref().and_then(|node| find(node, known))),
        };
        let text = find(&self.keys.text, TEXT_KEYS)?;
        let section = find(&self.keys.section, SECTION_KEYS);
        let url = match &self.keys.url {
            Some(key) => at(payload, key).and_then(readable).map(|url| self.link(&url)).unwrap_or_default(),
            None if payload.contains_key(HASH_KEY) => {
                payload.get("url").and_then(readable).map(|url| self.page_link(&url)).unwrap_or_default()
            }
            None => self.address(payload, node.as_ref()),
        };
        let title = find(&self.keys.title, TITLE_KEYS).or_else(|| section.clone());
        let title = title.unwrap_or_else(|| if url.is_empty() { "Untitled".to_owned() } else { url.clone() });
        let url = with_anchor(url, find(&None, &["anchor"]));
        let label = |text: String| clip(&text, MAX_LABEL_CHARS).to_owned();
        Some(Passage { title: label(title), section: section.map(label), url, text, score })
    }

    /// The first known key, wherever it is, that holds an address.
    fn address(&self, payload: &Payload, node: Option<&Payload>) -> String {
        let objects: Vec<&Payload> = nested(payload).chain(node.into_iter().flat_map(nested)).collect();
        let candidates = URL_KEYS.iter().flat_map(|key| {
            // These often name a source or a file in a word, which is no address.
            let named = matches!(*key, "source" | "path");
            let texts = objects.iter().filter_map(|object| object.get(*key).and_then(readable));
            texts.filter(move |text| !named || text.contains(['/', '#', '?', '.'])).collect::<Vec<_>>()
        });
        candidates.map(|text| self.link(&text)).find(|link| !link.is_empty()).unwrap_or_default()
    }

    /// A link that may be shown: `http(s)` or relative, made absolute where the site is known; anything else (a
    /// script, a file path of a source tree) gives an empty one.
    pub fn link(&self, text: &str) -> String {
        if is_file(text) && Url::parse(text).is_err() { String::new() } else { self.page_link(text) }
    }

    /// The same for what is known to be the address of a page, whatever its name looks like (`/docs/settings.py`).
    pub fn page_link(&self, text: &str) -> String {
        let text = text.trim();
        let too_long = text.chars().nth(MAX_URL_CHARS).is_some();
        if text.is_empty() || too_long || text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\')
        {
            return String::new();
        }
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => text.to_owned(),
            Err(url::ParseError::RelativeUrlWithoutBase) if !text.starts_with("//") => {
                match self.site.as_ref().map(|site| join(site, text)) {
                    Some(absolute) => absolute.unwrap_or_default(),
                    None => text.to_owned(),
                }
            }
            _ => String::new(),
        }
    }
}

/// `/docs/x` and `docs/x` both stand for a page under the site, whose own path is kept.
fn join(site: &Url, path: &str) -> Option<String> {
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

/// A path into a source tree (`docs/intro.md`, `/home/me/x.py`).
fn is_file(text: &str) -> bool {
    let path = text.split(['#', '?']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    matches!(
        extension.as_deref(),
        Some("md" | "mdx" | "markdown" | "rst" | "txt" | "pdf" | "docx" | "py" | "rs")
    )
}

/// The keys of all `payloads`, nested ones with dots, sorted.
pub fn keys(payloads: &[Payload]) -> Vec<String> {
    let mut keys = BTreeSet::new();
    for (key, value) in payloads.iter().flatten() {
        match value {
            Value::Object(inner) => keys.extend(inner.keys().map(|inner| format!("{key}.{inner}"))),
            _ => drop(keys.insert(key.clone())),
        }
    }
    keys.into_iter().collect()
}

/// LlamaIndex keeps a node as JSON text; its metadata stands beside its text.
fn node_content(payload: &Payload) -> Option<Payload> {
    match payload.get("_node_content")? {
        Value::String(text) => serde_json::from_str(text).ok(),
        Value::Object(node) => Some(node.clone()),
        _ => None,
    }
}

/// The first known key that holds something readable, here or in a nest.
fn find(payload: &Payload, known: &[&str]) -> Option<String> {
    nested(payload).find_map(|object| known.iter().find_map(|key| object.get(*key).and_then(readable)))
}

/// A payload and the objects in which indexers nest.
fn nested(payload: &Payload) -> impl Iterator<Item = &Payload> {
    let nests = NESTS.iter().filter_map(|nest| payload.get(*nest).and_then(Value::as_object));
    std::iter::once(payload).chain(nests)
}

/// The value at a key with dots; a key that itself contains dots is tried first.
fn at<'a>(payload: &'a Payload, key: &str) -> Option<&'a Value> {
    payload.get(key).or_else(|| {
        let (first, rest) = key.split_once('.')?;
        at(payload.get(first)?.as_object()?, rest)
    })
}

/// Text, or a path of headings as text; `None` where there is nothing to read.
fn readable(value: &Value) -> Option<String> {
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

fn with_anchor(url: String, anchor: Option<String>) -> String {
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

    fn read(reading: &Reading, payload: Value) -> Option<Passage> {
        reading.passage(payload.as_object().unwrap(), 0.5)
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
            assert_eq!(read(&Reading::default(), payload.clone()), Some(expected.clone()), "{payload}");
        }
    }

    #[test]
    fn the_operators_keys_win_and_may_be_nested() {
        let keys =
            PayloadKeys { text: Some("doc.raw".into()), title: Some("doc.t".into()), ..Default::default() };
        let reading = Reading { keys, site: None };
        let passage = read(&reading, json!({"text": "not this", "doc": {"raw": "this", "t": "T"}})).unwrap();
        assert_eq!((passage.text.as_str(), passage.title.as_str()), ("this", "T"));
        assert_eq!(read(&reading, json!({"text": "not this"})), None, "a set key is the only one");
    }

    #[test]
    fn only_http_and_relative_links_are_shown() {
        let reading = Reading::default();
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
            assert_eq!(reading.link(link), "", "{link:?}");
        }
        for link in ["https://x.example/a#b", "/docs/a#b", "docs/a", "?q=1"] {
            assert_eq!(reading.link(link), link);
        }
    }

    #[test]
    fn the_site_makes_relative_links_absolute() {
        let reading = |site: &str| Reading { site: Some(Url::parse(site).unwrap()), ..Default::default() };
        assert_eq!(reading("https://x.example").link("/docs/a#b"), "https://x.example/docs/a#b");
        assert_eq!(reading("https://x.example/base/").link("/docs/a"), "https://x.example/base/docs/a");
        assert_eq!(reading("https://x.example/base").link("/base/docs/a"), "https://x.example/base/docs/a");
        assert_eq!(reading("https://x.example").link("https://y.example/z"), "https://y.example/z");
    }

    #[test]
    fn the_first_key_that_holds_an_address_wins_wherever_it_is() {
        let url = |payload: Value| read(&Reading::default(), payload).unwrap().url;
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
        let passage = read(&Reading::default(), payload).unwrap();
        assert_eq!(passage.section.as_deref(), Some("Deploy › Docker"));
        assert_eq!(passage.url, "/d#docker");
    }

    #[test]
    fn a_payload_without_text_is_no_passage() {
        for payload in
            [json!({}), json!({"text": "  "}), json!({"text": 7}), json!({"_node_content": "{broken"})]
        {
            assert_eq!(read(&Reading::default(), payload), None);
        }
    }
}
