//! A page's body as a row of headings and texts, in the order in which a reader sees them. No I/O.
//!
//! `markdown`, by the author of MDX's own parser, gives the syntax tree with the place of every node; texts are cut out
//! of the source by those places, so that code, tables and lists stay as they were written. Tags, imports, expressions
//! and comments go, what stands between tags stays.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use markdown::mdast::{AttributeContent, AttributeValue, Heading, MdxJsxAttribute, Node};

use regex::Regex;

use super::dialect;
use super::parser::{self, Syntax};
use super::pattern;
use super::routes::Anchors;

/// Attributes of components that a reader sees.
const SHOWN_ATTRIBUTES: &[&str] = &["label", "title", "summary", "alt", "description"];

/// A text directive, as `:latest` in `image:latest`: Docusaurus' parser takes it out before headings get their anchors.
static DIRECTIVE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(^|[^:]):([A-Za-z](?:[\w-]*[A-Za-z0-9])?)(?:\[([^\]]*)\])?(?:\{[^}]*\})?($|[^:\w-])")
});

/// The import of a Markdown file, which is then a component.
static IMPORT: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"import\s+(\w+)\s+from\s+['"]((?:\.|@site/)[^'"]*\.mdx?)['"]"#));

/// A piece of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// A heading with its anchor.
    Heading {
        /// 1 to 6.
        level: u8,
        /// Its text, without marks.
        text: String,
        /// Its anchor; may be empty, and Docusaurus gives level 1 none.
        anchor: String,
    },
    /// Markdown: a paragraph, list, table, quote or code block.
    Text(String),
}

/// What becomes of links.
pub enum Links<'a> {
    /// Only their texts stay: a target means nothing outside its page.
    Drop,
    /// They lead where this says.
    Keep(&'a dyn Fn(&str) -> String),
}

/// How a body becomes blocks.
pub struct Reading<'a> {
    /// Of the body.
    pub syntax: Syntax,
    /// In its texts.
    pub links: &'a Links<'a>,
    /// The blocks of the file that an import names.
    pub partial: &'a dyn Fn(&str) -> Result<Vec<Block>, String>,
}

/// Reads a page's body.
///
/// # Errors
///
/// Where the MDX is broken, and how.
pub fn read(body: &str, reading: &Reading<'_>) -> Result<Vec<Block>, String> {
    let source = dialect::plain(body);
    let tree = parser::parse(&source, reading.syntax)?;
    let mut reader = Reader {
        source: &source,
        reading,
        anchors: Anchors::default(),
        definitions: Vec::new(),
        imports: HashMap::new(),
        blocks: Vec::new(),
        broken: None,
    };
    reader.define(&tree);
    reader.flatten(&tree);
    reader.broken.map_or(Ok(reader.blocks), Err)
}

struct Reader<'a> {
    source: &'a str,
    reading: &'a Reading<'a>,
    anchors: Anchors,
    /// Link definitions: identifier and target.
    definitions: Vec<(String, String)>,
    /// Markdown files by the component they are imported as.
    imports: HashMap<String, String>,
    blocks: Vec<Block>,
    /// What is wrong with an imported file.
    broken: Option<String>,
}

/// A place of the source, and what stands there instead.
type Edit = (Range<usize>, String);

impl Reader<'_> {
    fn define(&mut self, node: &Node) {
        match node {
            Node::Definition(definition) => {
                self.definitions.push((definition.identifier.clone(), definition.url.clone()));
            }
            Node::MdxjsEsm(esm) => {
                let found = IMPORT.captures_iter(&esm.value);
                self.imports.extend(found.map(|found| (found[1].to_owned(), found[2].to_owned())));
            }
            _ => {}
        }
        node.children().into_iter().flatten().for_each(|child| self.define(child));
    }

    /// Takes a node's children one by one; those that hold headings are opened up.
    fn flatten(&mut self, node: &Node) {
        for child in node.children().into_iter().flatten() {
            match child {
                Node::Heading(heading) => self.heading(heading),
                Node::MdxJsxFlowElement(element) => {
                    let import = element.name.as_ref().and_then(|name| self.imports.get(name));
                    if let Some(target) = import {
                        // It has anchors of its own, which may repeat the page's.
                        match (self.reading.partial)(target) {
                            Ok(blocks) => self.blocks.extend(blocks),
                            Err(cause) => self.broken = Some(cause),
                        }
                    }
                    self.blocks.extend(shown(&element.attributes).map(Block::Text));
                    self.flatten(child);
                }
                _ if has_heading(child) => self.flatten(child),
                _ => {
                    let text = self.text(child);
                    if !text.trim().is_empty() {
                        self.blocks.push(Block::Text(text));
                    }
                }
            }
        }
    }

    fn heading(&mut self, heading: &Heading) {
        // HTML counts only inside of something else.
        let children = heading.children.iter().filter(|child| !matches!(child, Node::Html(_)));
        let counted: String = children.map(counted).collect();
        let seen: String = heading.children.iter().map(seen).collect();
        let (text, anchor) = match (comment_id(heading.children.last()), classic_id(&counted)) {
            (Some(id), _) => (seen, id),
            (None, Some(id)) => (seen.rsplit_once("{#").map_or(seen.as_str(), |(text, _)| text).to_owned(), id),
            (None, None) => (seen, self.anchors.next(&counted)),
        };
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.blocks.push(Block::Heading { level: heading.depth, text, anchor });
    }

    /// A node's source, rewritten, and without the marks of the containers it stands in.
    fn text(&self, node: &Node) -> String {
        let Some(position) = node.position() else { return String::new() };
        let mut edits = Vec::new();
        self.edit(node, &mut edits);
        let range = position.start.offset..position.end.offset;
        let edited = apply(self.source, range, edits);
        unindented(&edited, position.start.column.saturating_sub(1))
            .trim_end()
            .trim_start_matches([' ', '\t'])
            .to_owned()
    }

    /// What has to change in a node's source.
    fn edit(&self, node: &Node, edits: &mut Vec<Edit>) {
        let Some(range) = range(node) else { return };
        let gone = |edits: &mut Vec<Edit>, text: String| edits.push((range.clone(), text));
        match node {
            Node::Link(link) => self.link(node, &link.url, edits),
            Node::LinkReference(link) => {
                let target = self.definitions.iter().find(|(id, _)| *id == link.identifier);
                match target.map(|(_, url)| url.clone()) {
                    Some(url) => self.link(node, &url, edits),
                    None => self.children(node, edits),
                }
            }
            Node::Image(image) => gone(edits, image.alt.clone()),
            Node::ImageReference(image) => gone(edits, image.alt.clone()),
            Node::MdxJsxTextElement(element) => self.unwrap(node, shown(&element.attributes).collect(), edits),
            Node::MdxJsxFlowElement(element) => self.unwrap(node, shown(&element.attributes).collect(), edits),
            Node::MdxTextExpression(expression) => gone(edits, literal(&expression.value)),
            Node::MdxFlowExpression(expression) => gone(edits, literal(&expression.value)),
            Node::Html(html) => gone(edits, without_tags(&html.value)),
            Node::MdxjsEsm(_) | Node::Definition(_) | Node::ThematicBreak(_) | Node::FootnoteReference(_) => {
                gone(edits, String::new());
            }
            _ => self.children(node, edits),
        }
    }

    fn children(&self, node: &Node, edits: &mut Vec<Edit>) {
        node.children().into_iter().flatten().for_each(|child| self.edit(child, edits));
    }

    fn link(&self, node: &Node, url: &str, edits: &mut Vec<Edit>) {
        let target = match self.reading.links {
            Links::Drop => None,
            Links::Keep(target) => Some(target(url)),
        };
        let Some(range) = range(node) else { return };
        let is_literal = inner(node).is_none_or(|inner| inner == range);
        match target {
            _ if is_literal => {}
            Some(target) => {
                let inner = inner(node).unwrap_or(range.clone());
                edits.push((range.start..inner.start, "[".to_owned()));
                self.children(node, edits);
                edits.push((inner.end..range.end, format!("](<{}>)", target.replace(['<', '>', '\n'], ""))));
            }
            None => self.unwrap(node, Vec::new(), edits),
        }
    }

    /// Cuts away what stands around a node's children, its tags.
    fn unwrap(&self, node: &Node, shown: Vec<String>, edits: &mut Vec<Edit>) {
        let Some(range) = range(node) else { return };
        let shown = shown.join(" ");
        match inner(node) {
            Some(inner) => {
                let lead = if shown.is_empty() { shown } else { format!("{shown} ") };
                edits.push((range.start..inner.start, lead));
                self.children(node, edits);
                edits.push((inner.end..range.end, String::new()));
            }
            None => edits.push((range, shown)),
        }
    }
}

fn range(node: &Node) -> Option<Range<usize>> {
    node.position().map(|position| position.start.offset..position.end.offset)
}

/// From the first child's beginning to the last one's end.
fn inner(node: &Node) -> Option<Range<usize>> {
    let children = node.children()?;
    Some(range(children.first()?)?.start..range(children.last()?)?.end)
}

fn has_heading(node: &Node) -> bool {
    matches!(node, Node::Heading(_)) || node.children().into_iter().flatten().any(has_heading)
}

/// A node's text as Docusaurus counts it for an anchor: expressions and comments by their source, directives not at all.
fn counted(node: &Node) -> String {
    match node {
        Node::Text(text) => DIRECTIVE.replace_all(&text.value, "$1$3$4").into_owned(),
        Node::InlineCode(code) => code.value.clone(),
        Node::MdxTextExpression(expression) => expression.value.clone(),
        Node::Html(html) => html.value.clone(),
        Node::Image(image) => image.alt.clone(),
        Node::ImageReference(image) => image.alt.clone(),
        _ => node.children().into_iter().flatten().map(counted).collect(),
    }
}

/// A node's text as a reader sees it.
fn seen(node: &Node) -> String {
    match node {
        Node::Text(text) => text.value.clone(),
        Node::InlineCode(code) => code.value.clone(),
        Node::MdxTextExpression(expression) => literal(&expression.value),
        Node::Image(image) => image.alt.clone(),
        Node::ImageReference(image) => image.alt.clone(),
        _ => node.children().into_iter().flatten().map(seen).collect(),
    }
}

/// The id in a comment at a heading's end, `{/* #own */}`.
fn comment_id(last: Option<&Node>) -> Option<String> {
    let Some(Node::MdxTextExpression(expression)) = last else { return None };
    let comment = expression.value.trim().strip_prefix("/*")?.strip_suffix("*/")?.trim();
    let id = comment.split(' ').next()?.strip_prefix('#').filter(|id| !id.is_empty())?;
    Some(id.to_owned())
}

/// The id at a heading's end in Docusaurus' own form, `{#own}`.
fn classic_id(text: &str) -> Option<String> {
    let (_, id) = text.strip_suffix('}')?.rsplit_once("{#")?;
    (!id.is_empty() && !id.contains('}')).then(|| id.trim().to_owned())
}

/// The attributes of a component that a reader sees, as text.
fn shown(attributes: &[AttributeContent]) -> impl Iterator<Item = String> + '_ {
    attributes.iter().filter_map(|attribute| match attribute {
        AttributeContent::Property(MdxJsxAttribute { name, value: Some(AttributeValue::Literal(text)) })
            if SHOWN_ATTRIBUTES.contains(&name.as_str()) && !text.trim().is_empty() =>
        {
            Some(format!("**{}**", text.trim()))
        }
        _ => None,
    })
}

/// The text of an expression that is nothing but a string.
fn literal(expression: &str) -> String {
    let text = expression.trim();
    let quoted = ['"', '\'', '`'].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    quoted.filter(|text| !text.contains("${")).unwrap_or_default().to_owned()
}

fn without_tags(html: &str) -> String {
    let mut text = String::new();
    let mut in_tag = false;
    for c in html.chars() {
        match c {
            '<' => in_tag = true,
            '>' if in_tag => in_tag = false,
            c if !in_tag => text.push(c),
            _ => {}
        }
    }
    text
}

fn apply(source: &str, range: Range<usize>, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|(place, _)| (place.start, place.end));
    let (mut out, mut done) = (String::new(), range.start);
    for (place, text) in edits {
        if place.start < done || place.end > range.end {
            continue;
        }
        out.push_str(source.get(done..place.start).unwrap_or_default());
        out.push_str(&text);
        done = place.end;
    }
    out.push_str(source.get(done..range.end).unwrap_or_default());
    out
}

/// Takes the marks and the indentation of the containers from every line but the first, which begins after them.
fn unindented(text: &str, columns: usize) -> String {
    let lines = text.split_inclusive('\n').enumerate().map(|(index, line)| {
        let marks = line.bytes().take(if index == 0 { 0 } else { columns });
        let marks = marks.take_while(|byte| matches!(byte, b' ' | b'\t' | b'>')).count();
        &line[marks..]
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(body: &str, syntax: Syntax, links: &Links<'_>) -> Result<Vec<Block>, String> {
        read(body, &Reading { syntax, links, partial: &|_| Ok(Vec::new()) })
    }

    fn blocks(body: &str) -> Vec<String> {
        let blocks = read_as(body, Syntax::Mdx, &Links::Drop).unwrap();
        blocks
            .into_iter()
            .map(|block| match block {
                Block::Heading { level, text, anchor } => format!("{level} {text} #{anchor}"),
                Block::Text(text) => text,
            })
            .collect()
    }

    #[test]
    fn imports_tags_expressions_and_comments_go_and_their_text_stays() {
        let body = "import Tabs from '@theme/Tabs';\nexport const a = {\n\n  b: 1,\n};\n\n# Hi {/* x */}\n\n\
            Some <b>bold</b> {props.x}{'text'}<br/> here.\n\n<Tabs>\n  <TabItem value=\"npm\" label=\"With npm\">\n\n  \
            ```sh\n  npm i\n    x\n  ```\n\n  </TabItem>\n</Tabs>\n\n{/* gone */}\n";
        let expected = ["1 Hi #hi--x-", "Some bold text here.", "**With npm**", "```sh\nnpm i\n  x\n```"];
        assert_eq!(blocks(body), expected);
    }

    #[test]
    fn links_become_their_texts_or_lead_elsewhere_and_images_their_description() {
        let body = "See [the `x` page](x.md#a), [y][z], <!-- c -->![an image](i.png) and https://a.example.\n\n[z]: y.md\n";
        assert_eq!(blocks(body), ["See the `x` page, y, an image and https://a.example."]);
        let kept = read_as(body, Syntax::Mdx, &Links::Keep(&|target| format!("/docs/{target}"))).unwrap();
        let expected = "See [the `x` page](</docs/x.md#a>), [y](</docs/y.md>), an image and https://a.example.";
        assert_eq!(kept, [Block::Text(expected.to_owned())]);
    }

    #[test]
    fn tables_lists_quotes_and_code_stay_as_they_are() {
        for body in
            ["| a | b |\n| - | - |\n| `x` | y |", "- a\n  - b\n\n  c", "> a\n> b", "~~~md\n## no heading\n~~~"]
        {
            assert_eq!(blocks(body), [body]);
        }
    }

    #[test]
    fn headings_are_found_wherever_docusaurus_finds_them() {
        let body = "> ## In a quote\n> text\n\n<details>\n  <summary>More</summary>\n\n  ### Inside\n\n  text\n</details>\n\n\
            :::note\n#### Noted\ntext\n:::\n\n## Setup\n\n## Setup\n\nSetup\n---\n\n## A `b` [c](d) *e* ![f](g) &amp; <i>h</i> {#own}\n\n## X {/* #y */}\n";
        let expected = [
            "2 In a quote #in-a-quote",
            "text",
            "More",
            "3 Inside #inside",
            "text",
            "**Note**",
            "4 Noted #noted",
            "text",
            "2 Setup #setup",
            "2 Setup #setup-1",
            "2 Setup #setup-2",
            "2 A b c e f & h #own",
            "2 X #y",
        ];
        assert_eq!(blocks(body), expected);
    }

    #[test]
    fn what_is_no_mdx_is_read_as_markdown_unless_it_claims_to_be() {
        let body = "a <b and {c\n\n<div>\n<p>inside</p>\n</div>\n";
        assert!(read_as(body, Syntax::Mdx, &Links::Drop).unwrap_err().contains("not valid MDX"));
        assert_eq!(read_as(body, Syntax::Markdown, &Links::Drop), read_as(body, Syntax::Either, &Links::Drop));
        let texts = read_as(body, Syntax::Either, &Links::Drop).unwrap();
        assert_eq!(texts, [Block::Text("a <b and {c".into()), Block::Text("\ninside\n".trim_end().into())]);
    }
}
