//! Turns the source of a file into a page, and a page into passages. No I/O.

use std::collections::HashMap;
use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value};
use url::Url;
use uuid::Uuid;

use super::blocks::{self, Block, Links, MarkdownOptions};
use super::chunks::{PageChunk, cut_into_chunks};
use super::folder::SkippedFile;
use super::front_matter::FrontMatter;
use super::mdx::Syntax;
use super::routes;
use crate::text::{Redacted, clip};

/// Longest title, and longest path of headings, that are embedded with a passage, in characters; a longer one
/// is cut, as it would crowd out the passage.
const MAX_EMBEDDED_LABEL_CHARS: usize = 300;
/// Deepest chain of imports that is followed; a file that is imported deeper is left out.
const MAX_IMPORT_DEPTH: usize = 4;

/// ASCII characters that `encodeURI` escapes, and characters that would end a path or be read as an escape.
/// Characters outside ASCII are always escaped.
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

/// Describes the properties that the pages of one documentation folder share.
#[derive(Debug, Clone, Default)]
pub struct Root {
    /// Path of the pages on the site: `/docs`.
    pub route_base: String,
    /// Address of the site, for absolute links; links stay relative without it.
    pub site: Option<Url>,
    /// Version that the pages document, for filters.
    pub version: Option<String>,
    /// Language of the pages, for filters and for word forms.
    pub language: Option<String>,
    /// Keys of the front matter that are stored for filters.
    pub filter_keys: Vec<String>,
}

/// Describes a page: its address, its title and its text, cut into chunks.
#[derive(Debug, Clone, PartialEq)]
pub struct DocPage {
    /// File of the page, below the root's folder.
    file: String,
    /// Path of the page on the site, escaped as a URL.
    pub address: String,
    /// Title: from the front matter, else the first heading, else the name of the file.
    pub title: String,
    /// Text of the page, in pieces that are embedded and retrieved.
    pub chunks: Vec<PageChunk>,
    /// Label of the sidebar and description; searched with the first chunk.
    lead: String,
    /// Values of the filter keys in the front matter.
    filter_values: Map<String, Value>,
}

/// Describes a passage of a page: the text that is cited, and the text that is embedded.
#[derive(Clone, PartialEq)]
pub struct PagePassage {
    /// Identity: the number of the chunk under one heading of one page of one root. The id stays when the text
    /// changes.
    pub id: Uuid,
    /// File of the page, below the root's folder.
    pub file: String,
    /// Path of the heading above the passage on the site, with anchor, escaped as a URL.
    pub path: String,
    /// Title of the page.
    pub title: String,
    /// Headings above the passage without the page's title, joined by ` › `; empty before the first heading.
    pub section: String,
    /// Markdown of the passage.
    pub text: String,
    /// Texts that are embedded, and counted by BM25, for the passage.
    pub embedded: EmbeddedText,
    /// Values of the filter keys in the front matter of the page.
    pub filter_values: Map<String, Value>,
}

/// Holds the texts that an embedding model reads for a passage, and that BM25 counts.
#[derive(Clone, PartialEq, Eq)]
pub struct EmbeddedText {
    /// Title of the page, at most 300 characters.
    pub title: String,
    /// Heading right above the passage, or the title; at most 300 characters.
    pub heading: String,
    /// Title, section, label and description, and after an empty line the passage.
    pub text: String,
}

// A log must show no passage, so `Debug` prints the lengths of texts alone.

impl fmt::Debug for PagePassage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, path, text, embedded, .. } = self;
        let mut shown = f.debug_struct("PagePassage");
        shown.field("id", id).field("path", path).field("text", &Redacted(text));
        shown.field("embedded", embedded).finish_non_exhaustive()
    }
}

impl fmt::Debug for EmbeddedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedText").field("text", &Redacted(&self.text)).finish_non_exhaustive()
    }
}

impl DocPage {
    /// Reads a page from the source of its file; `None` for a draft and an unlisted page.
    ///
    /// # Errors
    ///
    /// Returns the fault of the front matter or of the MDX, in the file or in a file that it imports.
    pub fn read(
        root: &Root,
        file: &str,
        source: &str,
        imports: &ImportedSources<'_>,
    ) -> Result<Option<Self>, String> {
        let (front_matter, blocks) = read_blocks(file, source, imports, &Links::Drop)?;
        Ok(Self::new(root, file, &front_matter, blocks))
    }

    /// Makes a page of the blocks of a file; `None` for a draft and an unlisted page.
    pub(super) fn new(root: &Root, file: &str, front_matter: &FrontMatter, blocks: Vec<Block>) -> Option<Self> {
        if front_matter.is_hidden {
            return None;
        }
        let title = choose_title(file, front_matter, &blocks);
        let label = front_matter.sidebar_label.iter().filter(|label| **label != title);
        let lead: Vec<&str> = label.chain(&front_matter.description).map(String::as_str).collect();
        let values = root
            .filter_keys
            .iter()
            .filter_map(|key| Some((key.clone(), filterable_value(front_matter.values.get(key)?)?)));
        Some(Self {
            file: file.to_owned(),
            address: escaped_address(root, file, front_matter),
            lead: lead.join("\n"),
            title,
            chunks: cut_into_chunks(blocks),
            filter_values: values.collect(),
        })
    }

    /// Returns the passages of the page, in the order of the text.
    pub fn passages(&self, root: &Root) -> Vec<PagePassage> {
        // Parts are counted for each path, so that a new or a removed section does not change the ids of the
        // other sections' passages.
        let mut parts_by_path: HashMap<String, usize> = HashMap::new();
        let passage = |(number, chunk): (usize, &PageChunk)| {
            let path = self.chunk_path(chunk);
            let part = parts_by_path.entry(path.clone()).or_default();
            let name = format!("{} {path} {part}", root.route_base);
            *part += 1;
            let section = chunk.section.join(" › ");
            PagePassage {
                id: Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()),
                file: self.file.clone(),
                path,
                title: self.title.clone(),
                embedded: self.embedded_text(chunk, &section, number == 0),
                section,
                text: chunk.text.clone(),
                filter_values: self.filter_values.clone(),
            }
        };
        self.chunks.iter().enumerate().map(passage).collect()
    }

    /// Returns the path of a chunk on the site, with the anchor of its heading.
    fn chunk_path(&self, chunk: &PageChunk) -> String {
        match &chunk.anchor {
            Some(anchor) => format!("{}#{}", self.address, escape_path(anchor)),
            None => self.address.clone(),
        }
    }

    /// Puts title, headings and, before the first chunk, the lead of the page in front of a chunk.
    fn embedded_text(&self, chunk: &PageChunk, section: &str, is_first: bool) -> EmbeddedText {
        let label = |text| clip(text, MAX_EMBEDDED_LABEL_CHARS);
        let lead = if is_first { self.lead.as_str() } else { "" };
        let labels = [label(&self.title), label(section), lead].into_iter().filter(|part| !part.is_empty());
        let text = (!chunk.text.is_empty()).then_some(chunk.text.as_str());
        let lines: Vec<&str> = labels.chain([""]).chain(text).collect();
        EmbeddedText {
            title: label(&self.title).to_owned(),
            heading: label(chunk.section.last().unwrap_or(&self.title)).to_owned(),
            text: lines.join("\n"),
        }
    }
}

/// Returns the path of the page of `file` on the site, escaped as a URL.
pub(super) fn escaped_address(root: &Root, file: &str, front_matter: &FrontMatter) -> String {
    escape_path(&routes::page_address(&root.route_base, file, front_matter))
}

/// Reads sources of imported files by their paths below the root's folder; gives `None` for a file that does
/// not exist.
pub type ImportedSources<'a> = dyn Fn(&str) -> Result<Option<String>, SkippedFile> + 'a;

/// Reads the front matter of a file and the blocks of its page, the blocks of imported files included.
///
/// # Errors
///
/// Returns the fault of the front matter or of the MDX.
pub(super) fn read_blocks(
    file: &str,
    source: &str,
    imports: &ImportedSources<'_>,
    links: &Links<'_>,
) -> Result<(FrontMatter, Vec<Block>), String> {
    read_blocks_to_depth(file, source, imports, links, MAX_IMPORT_DEPTH)
}

/// Reads as [`read_blocks`] does, but follows a chain of at most `depth` imports.
fn read_blocks_to_depth(
    file: &str,
    source: &str,
    imports: &ImportedSources<'_>,
    links: &Links<'_>,
    depth: usize,
) -> Result<(FrontMatter, Vec<Block>), String> {
    let (front_matter, body) = FrontMatter::parse(source)?;
    let imported_blocks = |target: &str| {
        let imported = routes::resolve_file(file, target);
        // An import gives no blocks if the file is outside the root's folder, or if the chain is too long, as
        // that of a file that imports itself.
        let Some(depth) = depth.checked_sub(1) else { return Ok(Vec::new()) };
        let Some(source) = imports(&imported).map_err(|skipped| format!("it imports {skipped}"))? else {
            return Ok(Vec::new());
        };
        let (_, blocks) = read_blocks_to_depth(&imported, &source, imports, links, depth)
            .map_err(|cause| format!("it imports {imported}: {cause}"))?;
        Ok(blocks)
    };
    let syntax = choose_syntax(file, &front_matter);
    let blocks =
        blocks::read_blocks(body, &MarkdownOptions { syntax, links, imported_blocks: &imported_blocks })?;
    Ok((front_matter, blocks))
}

/// Chooses the syntax of a file, as Docusaurus does with its default settings.
fn choose_syntax(file: &str, front_matter: &FrontMatter) -> Syntax {
    match (front_matter.is_markdown, file.ends_with(".mdx")) {
        (true, _) => Syntax::Markdown,
        (false, true) => Syntax::Mdx,
        (false, false) => Syntax::Either,
    }
}

/// Chooses the title of a page: from the front matter, else the first heading if it has level 1, else the
/// file's name.
pub(super) fn choose_title(file: &str, front_matter: &FrontMatter, blocks: &[Block]) -> String {
    let first = blocks.iter().find_map(|block| match block {
        Block::Heading { level, text, .. } => Some((*level, text)),
        Block::Text(_) => None,
    });
    let heading = first.filter(|(level, text)| *level == 1 && !text.is_empty()).map(|(_, text)| text.clone());
    front_matter.title.clone().or(heading).unwrap_or_else(|| routes::page_name(file, front_matter))
}

fn escape_path(text: &str) -> String {
    utf8_percent_encode(text, &ESCAPED).to_string()
}

/// Returns a value of the front matter if a filter can compare it; of a list, the members that can be compared.
fn filterable_value(value: &Value) -> Option<Value> {
    let is_simple = |value: &Value| matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_));
    match value {
        Value::Array(values) => {
            let values: Vec<Value> = values.iter().filter(|value| is_simple(value)).cloned().collect();
            (!values.is_empty()).then_some(Value::Array(values))
        }
        value => is_simple(value).then(|| value.clone()),
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

    fn read(root: &Root, file: &str, source: &str) -> DocPage {
        DocPage::read(root, file, source, &|_| Ok(None)).unwrap().unwrap()
    }

    #[test]
    fn a_page_becomes_passages_with_everything_they_are_found_and_cited_by() {
        let source = "---\nsidebar_label: Start\ndescription: About kettles.\nproduct: [kettle, 3, {}]\n---\n# Kettle\n\nHi.\n\n\
            ## Set up {#set up}\n\n### Wire it\n\nPlug.\n";
        let passages = read(&root(), "a b.md", source).passages(&root());
        assert_eq!(passages[0].embedded.text, "Kettle\nStart\nAbout kettles.\n\nHi.");
        assert_eq!(passages[1].embedded.text, "Kettle\nSet up › Wire it\n\nPlug.");
        assert_eq!((passages[0].embedded.heading.as_str(), passages[0].section.as_str()), ("Kettle", ""));
        let PagePassage { file, path, title, section, text, embedded, filter_values, .. } = &passages[1];
        assert_eq!((file.as_str(), path.as_str()), ("a b.md", "/docs/a%20b#wire-it"));
        assert_eq!((title.as_str(), section.as_str()), ("Kettle", "Set up › Wire it"));
        assert_eq!((text.as_str(), embedded.heading.as_str()), ("Plug.", "Wire it"));
        assert_eq!(Value::Object(filter_values.clone()), json!({"product": ["kettle", 3]}));
    }

    #[test]
    fn a_long_title_does_not_crowd_out_the_passage() {
        let passage = &read(&root(), "a.md", &format!("# {}\n\nx", "t".repeat(1_000))).passages(&root())[0];
        assert_eq!(passage.title.len(), 1_000);
        assert_eq!(passage.embedded.text, format!("{}\n\nx", "t".repeat(MAX_EMBEDDED_LABEL_CHARS)));
    }

    #[test]
    fn the_same_place_keeps_its_id_and_another_root_has_others() {
        let ids = |root: &Root, source: &str| -> Vec<Uuid> {
            read(root, "a.md", source).passages(root).into_iter().map(|passage| passage.id).collect()
        };
        assert_eq!(ids(&root(), "## A\n\nx"), ids(&root(), "## A\n\nother text"));
        assert_eq!(ids(&root(), "## A\n\nx")[0], ids(&root(), "## New\n\ny\n\n## A\n\nx")[1]);
        assert_ne!(ids(&root(), "## A\n\nx"), ids(&Root { route_base: "/api".into(), ..root() }, "## A\n\nx"));
    }

    #[test]
    fn a_title_is_always_found_and_hidden_pages_are_not_read() {
        assert_eq!(read(&root(), "01-a.md", "x").title, "a");
        assert_eq!(
            read(&root(), "a.md", "## B\n\n# C\n").title,
            "a",
            "a title is the first heading, or none is"
        );
        let hidden = DocPage::read(&root(), "a.md", "---\nunlisted: true\n---\nx", &|_| Ok(None));
        assert_eq!(hidden.unwrap(), None);
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
        let page = DocPage::read(&root(), "a/b.mdx", source, &files).unwrap().unwrap();
        let made: Vec<(&str, &str)> =
            page.chunks.iter().map(|chunk| (chunk.anchor.as_deref().unwrap(), chunk.text.as_str())).collect();
        let source = "import Bad from '@site/docs/_bad.mdx';\n\n<Bad />\n";
        let error = DocPage::read(&root(), "b.mdx", source, &files).unwrap_err();
        assert!(error.starts_with("it imports _bad.mdx: it is not valid MDX"), "{error}");
        assert_eq!((made[0], made[2]), (("a", "Own."), ("a-1", "Last.")));
        assert!(made[1].0 == "a" && made[1].1.starts_with("Shared.\n\nDeep."), "{made:?}");
    }
}
