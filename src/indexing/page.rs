//! From a file's source to what an index stores. No I/O.

use std::collections::HashMap;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value};
use url::Url;
use uuid::Uuid;

use super::chunks::{Chunk, chunks};
use super::markdown::{self, Block, Links, Reading};
use super::matter::{self, Matter};
use super::parser::Syntax;
use super::{Skipped, routes};
use crate::retrieval::payload::{FILE_KEY, LANGUAGE_KEY, Payload, PayloadReader, ROOT_KEY, VERSION_KEY};
use crate::text::clip;

/// Characters of a title, and of a path of headings, that are embedded with every passage: they must not crowd it out.
const MAX_LABEL_CHARS: usize = 300;
/// How deep imported files may import others.
const MAX_IMPORT_DEPTH: usize = 4;

/// What `encodeURI` escapes in ASCII, and what would end a path or be taken for an escape; other scripts are escaped too.
const ESCAPED: AsciiSet = CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A documentation root: what the pages of one folder have in common.
#[derive(Debug, Clone, Default)]
pub struct Root {
    /// Where its pages are on the site: `/docs`.
    pub route_base: String,
    /// The site, for absolute links; relative ones without.
    pub site: Option<Url>,
    /// The version it documents, for filters.
    pub version: Option<String>,
    /// Its language, for filters and for word forms.
    pub language: Option<String>,
    /// Keys of the front matter that are stored for filters.
    pub filter_keys: Vec<String>,
}

/// A page, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The file it is made of.
    file: String,
    /// Where it is on the site, escaped as a URL.
    pub address: String,
    /// From the front matter, else its first heading, else its file's name.
    pub title: String,
    /// What is embedded and retrieved.
    pub chunks: Vec<Chunk>,
    /// What the sidebar and the description say of it; searched with its first chunk.
    lead: String,
    /// Values of the filter keys.
    values: Map<String, Value>,
}

/// A passage to store.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The same for the same place on the same page.
    pub id: Uuid,
    /// Title of its page.
    pub title: String,
    /// The heading right above it, or the title.
    pub heading: String,
    /// What is embedded, and what BM25 counts.
    pub text: String,
    /// Everything a passage is read from.
    pub payload: Payload,
}

impl Page {
    /// The page of a file's [`blocks`]; `None` for a draft and an unlisted page.
    pub fn new(root: &Root, file: &str, matter: &Matter, blocks: Vec<Block>) -> Option<Self> {
        if matter.hidden {
            return None;
        }
        let title = title(file, matter, &blocks);
        let label = matter.sidebar_label.iter().filter(|label| **label != title);
        let lead: Vec<&str> = label.chain(&matter.description).map(String::as_str).collect();
        let keys = root.filter_keys.iter().filter(|key| !matches!(key.as_str(), VERSION_KEY | LANGUAGE_KEY));
        let values = keys.filter_map(|key| Some((key.clone(), filterable(matter.all.get(key)?)?))).collect();
        Some(Self {
            file: file.to_owned(),
            address: address(root, file, matter),
            lead: lead.join("\n"),
            title,
            chunks: chunks(blocks),
            values,
        })
    }

    /// Its passages, in the order of the text.
    pub fn entries(self, root: &Root) -> Vec<Entry> {
        let reader = PayloadReader { site_url: root.site.clone(), ..PayloadReader::default() };
        let mut entries = Vec::new();
        // A section that comes or goes must not move the others.
        let mut parts_of: HashMap<String, usize> = HashMap::new();
        for (number, chunk) in self.chunks.iter().enumerate() {
            let path = match &chunk.anchor {
                Some(anchor) => format!("{}#{}", self.address, escaped(anchor)),
                None => self.address.clone(),
            };
            let section = chunk.section.join(" › ");
            let lead = if number == 0 { self.lead.as_str() } else { "" };
            let label = |text| clip(text, MAX_LABEL_CHARS);
            let parts = [label(self.title.as_str()), label(&section), lead, "", &chunk.text].into_iter();
            let text = parts.enumerate().filter(|(at, part)| *at == 3 || !part.is_empty());
            let text = text.map(|(_, part)| part).collect::<Vec<_>>().join("\n");
            let mut payload = self.values.clone();
            let mut put = |key: &str, value: &str| payload.insert(key.to_owned(), value.into());
            put("title", &self.title);
            if !section.is_empty() {
                put("section", &section);
            }
            put("url", &reader.safe_page_url(&path));
            put("text", &chunk.text);
            put(ROOT_KEY, &root.route_base);
            put(FILE_KEY, &self.file);
            for (key, value) in [(VERSION_KEY, &root.version), (LANGUAGE_KEY, &root.language)] {
                if let Some(value) = value {
                    put(key, value);
                }
            }
            let part = parts_of.entry(path.clone()).or_default();
            let id =
                Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{} {path} {part}", root.route_base).as_bytes());
            *part += 1;
            let heading = label(chunk.section.last().unwrap_or(&self.title)).to_owned();
            entries.push(Entry { id, title: label(&self.title).to_owned(), heading, text, payload });
        }
        entries
    }
}

/// Where the page of `file` is, escaped as a URL.
pub fn address(root: &Root, file: &str, matter: &Matter) -> String {
    escaped(&routes::address(&root.route_base, file, matter))
}

/// Sources of files by their paths below the root's folder; `None` for one that is not there.
pub type Files<'a> = dyn Fn(&str) -> Result<Option<String>, Skipped> + 'a;

/// A file's front matter and the blocks of its page, those of imported files included.
///
/// # Errors
///
/// What is wrong with the front matter or the MDX.
pub fn blocks(
    file: &str,
    source: &str,
    files: &Files<'_>,
    links: &Links<'_>,
) -> Result<(Matter, Vec<Block>), String> {
    blocks_within(file, source, files, links, MAX_IMPORT_DEPTH)
}

fn blocks_within(
    file: &str,
    source: &str,
    files: &Files<'_>,
    links: &Links<'_>,
    depth: usize,
) -> Result<(Matter, Vec<Block>), String> {
    let (matter, body) = matter::read(source)?;
    let partial = |target: &str| {
        let imported = routes::neighbour(file, target);
        // What is not below the root's folder, or imports itself, is left out.
        let Some(depth) = depth.checked_sub(1) else { return Ok(Vec::new()) };
        let Some(source) = files(&imported).map_err(|skipped| format!("it imports {skipped}"))? else {
            return Ok(Vec::new());
        };
        let (_, blocks) = blocks_within(&imported, &source, files, links, depth)
            .map_err(|cause| format!("it imports {imported}: {cause}"))?;
        Ok(blocks)
    };
    let blocks = markdown::read(body, &Reading { syntax: syntax(file, &matter), links, partial: &partial })?;
    Ok((matter, blocks))
}

/// How a file is read, as Docusaurus does unless its settings say otherwise.
fn syntax(file: &str, matter: &Matter) -> Syntax {
    match (matter.is_markdown, file.ends_with(".mdx")) {
        (true, _) => Syntax::Markdown,
        (false, true) => Syntax::Mdx,
        (false, false) => Syntax::Either,
    }
}

/// A page's title.
pub fn title(file: &str, matter: &Matter, blocks: &[Block]) -> String {
    let first = blocks.iter().find_map(|block| match block {
        Block::Heading { level, text, .. } => Some((*level, text)),
        Block::Text(_) => None,
    });
    let heading = first.filter(|(level, text)| *level == 1 && !text.is_empty()).map(|(_, text)| text.clone());
    matter.title.clone().or(heading).unwrap_or_else(|| routes::name(file, matter))
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, &ESCAPED).to_string()
}

/// A value of the front matter that a filter can compare.
fn filterable(value: &Value) -> Option<Value> {
    let simple = |value: &Value| matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_));
    match value {
        Value::Array(values) => {
            let values: Vec<Value> = values.iter().filter(|value| simple(value)).cloned().collect();
            (!values.is_empty()).then_some(Value::Array(values))
        }
        value => simple(value).then(|| value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn root() -> Root {
        Root {
            route_base: "/docs".into(),
            filter_keys: vec!["version".into(), "product".into()],
            ..Root::default()
        }
    }

    fn read(root: &Root, file: &str, source: &str, files: &Files<'_>) -> Result<Option<Page>, String> {
        let (matter, blocks) = blocks(file, source, files, &Links::Drop)?;
        Ok(Page::new(root, file, &matter, blocks))
    }

    #[test]
    fn a_page_becomes_passages_with_everything_they_are_found_and_cited_by() {
        let source = "---\nsidebar_label: Start\ndescription: About kettles.\nproduct: [kettle, 3, {}]\n---\n# Kettle\n\nHi.\n\n## Set up {#set up}\n\n### Wire it\n\nPlug.\n";
        let root = Root { version: Some("2.x".into()), language: Some("en".into()), ..root() };
        let page = read(&root, "a b.md", source, &|_| Ok(None)).unwrap().unwrap();
        let entries = page.entries(&root);
        assert_eq!(entries[0].text, "Kettle\nStart\nAbout kettles.\n\nHi.");
        assert_eq!(entries[1].text, "Kettle\nSet up › Wire it\n\nPlug.");
        let expected = json!({"title": "Kettle", "section": "Set up › Wire it", "url": "/docs/a%20b#wire-it", "text": "Plug.",
            "root": "/docs", "file": "a b.md", "version": "2.x", "language": "en", "product": ["kettle", 3]});
        assert_eq!(Value::Object(entries[1].payload.clone()), expected);
    }

    #[test]
    fn the_same_place_keeps_its_id_and_another_root_has_others() {
        let ids = |root: &Root, source: &str| -> Vec<Uuid> {
            let page = read(root, "a.md", source, &|_| Ok(None)).unwrap().unwrap();
            page.entries(root).into_iter().map(|entry| entry.id).collect()
        };
        assert_eq!(ids(&root(), "## A\n\nx"), ids(&root(), "## A\n\nother text"));
        assert_eq!(ids(&root(), "## A\n\nx")[0], ids(&root(), "## New\n\ny\n\n## A\n\nx")[1]);
        assert_ne!(ids(&root(), "## A\n\nx"), ids(&Root { route_base: "/api".into(), ..root() }, "## A\n\nx"));
    }

    #[test]
    fn the_site_makes_addresses_absolute_and_a_title_is_always_found() {
        let root = Root { site: Url::parse("https://x.example/base/").ok(), ..root() };
        let page = read(&root, "01-a.md", "x", &|_| Ok(None)).unwrap().unwrap();
        assert_eq!(page.title, "a");
        assert_eq!(page.entries(&root)[0].payload["url"], "https://x.example/base/docs/a");
        let page = read(&root, "a.md", "## B\n\n# C\n", &|_| Ok(None)).unwrap().unwrap();
        assert_eq!(page.title, "a", "a title is the first heading, or none is");
        assert_eq!(read(&root, "a.md", "---\nunlisted: true\n---\nx", &|_| Ok(None)).unwrap(), None);
    }

    #[test]
    fn an_imported_file_is_part_of_the_page_and_a_circle_of_imports_ends() {
        let files = |file: &str| match file {
            "a/_part.mdx" => {
                Ok(Some("## A\n\nShared.\n\nimport Deep from '../_deep.mdx';\n\n<Deep />\n".to_owned()))
            }
            "_deep.mdx" => Ok(Some("import Self from './_deep.mdx';\n\nDeep.\n\n<Self />\n".to_owned())),
            "_bad.mdx" => Ok(Some("{".to_owned())),
            _ => Ok(None),
        };
        let source = "import Part from './_part.mdx';\nimport None from './_none.mdx';\n\n## A\n\nOwn.\n\n<Part />\n\n<None />\n\n## A\n\nLast.\n";
        let page = read(&root(), "a/b.mdx", source, &files).unwrap().unwrap();
        let made: Vec<(&str, &str)> =
            page.chunks.iter().map(|chunk| (chunk.anchor.as_deref().unwrap(), chunk.text.as_str())).collect();
        let error =
            read(&root(), "b.mdx", "import Bad from '@site/docs/_bad.mdx';\n\n<Bad />\n", &files).unwrap_err();
        assert!(error.starts_with("it imports _bad.mdx: it is not valid MDX"), "{error}");
        assert_eq!((made[0], made[2]), (("a", "Own."), ("a-1", "Last.")));
        assert!(made[1].0 == "a" && made[1].1.starts_with("Shared.\n\nDeep."), "{made:?}");
    }
}
