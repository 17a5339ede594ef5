//! Turns a passage of a page into the payload that an index stores. No I/O.

use uuid::Uuid;

use crate::docs::{EmbeddedText, PagePassage, Root};
use crate::retrieval::payload::{
    FILE_KEY, HASH_KEY, LANGUAGE_KEY, Payload, PayloadReader, ROOT_KEY, VERSION_KEY,
};

/// Returns the address of a passage: absolute if the site is known, else a path.
pub fn passage_url(root: &Root, passage: &PagePassage) -> String {
    let reader = PayloadReader { site_url: root.site.clone(), ..PayloadReader::default() };
    reader.safe_page_url(&passage.path)
}

/// Returns the payload that an index stores for a passage, without the fingerprint of its vector.
pub fn passage_payload(root: &Root, passage: &PagePassage) -> Payload {
    let values = passage.filter_values.iter();
    // Version and language come from the root, even if a front matter has other ones.
    let values = values.filter(|(key, _)| !matches!(key.as_str(), VERSION_KEY | LANGUAGE_KEY));
    let mut payload: Payload = values.map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut put = |key: &str, value: &str| payload.insert(key.to_owned(), value.into());
    put("title", &passage.title);
    if !passage.section.is_empty() {
        put("section", &passage.section);
    }
    put("url", &passage_url(root, passage));
    put("text", &passage.text);
    put(ROOT_KEY, &root.route_base);
    put(FILE_KEY, &passage.file);
    for (key, value) in [(VERSION_KEY, &root.version), (LANGUAGE_KEY, &root.language)] {
        if let Some(value) = value {
            put(key, value);
        }
    }
    payload
}

/// Computes the fingerprint of a vector: the same model and the same text give the same fingerprint.
pub(super) fn compute_fingerprint(embedded: &EmbeddedText, model: &str, dimensions: usize) -> Uuid {
    let EmbeddedText { title, heading, text } = embedded;
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{model}\n{dimensions}\n{title}\n{heading}\n{text}").as_bytes())
}

/// Adds the fingerprint of its vector to the payload of a passage.
pub(super) fn add_fingerprint(payload: &mut Payload, fingerprint: Uuid) {
    payload.insert(HASH_KEY.to_owned(), fingerprint.to_string().into());
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use url::Url;

    use super::*;
    use crate::docs::DocPage;

    fn root() -> Root {
        Root {
            route_base: "/docs".into(),
            filter_keys: vec!["version".into(), "product".into()],
            ..Root::default()
        }
    }

    fn passages(root: &Root, file: &str, source: &str) -> Vec<PagePassage> {
        DocPage::read(root, file, source, &|_| Ok(None)).unwrap().unwrap().passages(root)
    }

    #[test]
    fn a_payload_has_everything_a_passage_is_found_and_cited_by() {
        let source = "---\nproduct: [kettle, 3, {}]\nversion: 9\n---\n# Kettle\n\nHi.\n\n## Set up {#set up}\n\n### Wire it\n\nPlug.\n";
        let root = Root { version: Some("2.x".into()), language: Some("en".into()), ..root() };
        let payload = passage_payload(&root, &passages(&root, "a b.md", source)[1]);
        let expected = json!({"title": "Kettle", "section": "Set up › Wire it", "url": "/docs/a%20b#wire-it", "text": "Plug.",
            "root": "/docs", "file": "a b.md", "version": "2.x", "language": "en", "product": ["kettle", 3]});
        assert_eq!(Value::Object(payload), expected);
    }

    #[test]
    fn the_site_makes_addresses_absolute() {
        let root = Root { site: Url::parse("https://x.example/base/").ok(), ..root() };
        let payload = passage_payload(&root, &passages(&root, "01-a.md", "x")[0]);
        assert_eq!(payload["url"], "https://x.example/base/docs/a");
    }

    #[test]
    fn a_version_in_the_front_matter_is_not_the_roots() {
        let payload = passage_payload(&root(), &passages(&root(), "a.md", "---\nversion: 9\n---\nx")[0]);
        assert!(!payload.contains_key("version") && !payload.contains_key("section"), "{payload:?}");
    }

    #[test]
    fn a_fingerprint_depends_on_the_model_and_on_all_that_it_reads() {
        let text = |title: &str, heading: &str, text: &str| EmbeddedText {
            title: title.into(),
            heading: heading.into(),
            text: text.into(),
        };
        let first = compute_fingerprint(&text("a", "b", "c"), "m", 3);
        assert_eq!(first, compute_fingerprint(&text("a", "b", "c"), "m", 3));
        for (embedded, model, dimensions) in [
            (text("a", "b", "d"), "m", 3),
            (text("a", "d", "c"), "m", 3),
            (text("d", "b", "c"), "m", 3),
            (text("a", "b", "c"), "n", 3),
            (text("a", "b", "c"), "m", 4),
        ] {
            assert_ne!(first, compute_fingerprint(&embedded, model, dimensions));
        }
    }
}
