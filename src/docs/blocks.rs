//! Reads the body of a page as a list of headings and texts, in the order in which a reader sees them. No I/O.
//!
//! The crate `markdown`, by the author of MDX's own parser, gives the syntax tree with the place of every node.
//! Texts are cut out of the source by those places, so that code, tables and lists stay as they were written.
//! Tags, imports, expressions and comments are removed; the text between tags stays.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use markdown::mdast::{AttributeContent, AttributeValue, Heading, MdxJsxAttribute, Node};
use regex::Regex;

use super::docusaurus_mdx::to_plain_mdx;
use super::mdx::{self, Syntax};
use super::pattern::compile_pattern;
use super::routes::Anchors;

/// Attributes of components that a reader sees.
const VISIBLE_ATTRIBUTES: &[&str] = &["label", "title", "summary", "alt", "description"];

/// Text directive, as `:latest` in `image:latest`: Docusaurus' parser removes it before headings get their
/// anchors.
static DIRECTIVE: LazyLock<Regex> = LazyLock::new(|| {
    compile_pattern(r"(^|[^:]):([A-Za-z](?:[\w-]*[A-Za-z0-9])?)(?:\[([^\]]*)\])?(?:\{[^}]*\})?($|[^:\w-])")
});

/// Import of a Markdown file, which the page then uses as a component.
static IMPORT: LazyLock<Regex> =
    LazyLock::new(|| compile_pattern(r#"import\s+(\w+)\s+from\s+['"]((?:\.|@site/)[^'"]*\.mdx?)['"]"#));

/// Holds one piece of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Block {
    /// A heading with its anchor.
    Heading {
        /// Level, 1 to 6.
        level: u8,
        /// Text of the heading, without marks.
        text: String,
        /// Anchor; may be empty. Docusaurus gives no anchor to level 1.
        anchor: String,
    },
    /// Markdown: a paragraph, list, table, quote or code block.
    Text(String),
}

/// Selects the treatment of links.
pub(super) enum Links<'a> {
    /// Replaces a link by its text: a target means nothing outside its page.
    Drop,
    /// Replaces the target of a link by the target that the function returns.
    Keep(&'a dyn Fn(&str) -> String),
}

/// Holds the options of [`read_blocks`].
pub(super) struct MarkdownOptions<'a> {
    /// Syntax of the body.
    pub(super) syntax: Syntax,
    /// Treatment of links in texts.
    pub(super) links: &'a Links<'a>,
    /// Reads the blocks of the file that an import names.
    pub(super) imported_blocks: &'a dyn Fn(&str) -> Result<Vec<Block>, String>,
}

/// Reads the body of a page.
///
/// # Errors
///
/// Returns the reason why the MDX of the page, or of a file that the page imports, is not valid.
pub(super) fn read_blocks(body: &str, options: &MarkdownOptions<'_>) -> Result<Vec<Block>, String> {
    let source = to_plain_mdx(body);
    let tree = mdx::parse(&source, options.syntax)?;
    let mut reader = BlockReader {
        source: &source,
        options,
        anchors: Anchors::default(),
        definitions: Vec::new(),
        imports: HashMap::new(),
        blocks: Vec::new(),
        broken: None,
    };
    reader.collect_definitions(&tree);
    reader.push_children(&tree);
    reader.broken.map_or(Ok(reader.blocks), Err)
}

/// Collects the blocks of a syntax tree.
struct BlockReader<'a> {
    source: &'a str,
    options: &'a MarkdownOptions<'a>,
    anchors: Anchors,
    /// Link definitions of the page: identifier and target.
    definitions: Vec<(String, String)>,
    /// Markdown files by the component they are imported as.
    imports: HashMap<String, String>,
    blocks: Vec<Block>,
    /// Fault of an imported file; the last one, if there are several.
    broken: Option<String>,
}

/// Names a place of the source, and the text that replaces it.
type Edit = (Range<usize>, String);

impl BlockReader<'_> {
    /// Collects link definitions and imports below a node.
    fn collect_definitions(&mut self, node: &Node) {
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
        node.children().into_iter().flatten().for_each(|child| self.collect_definitions(child));
    }

    /// Pushes a block for each child of a node. A child that holds headings gives the blocks of its own
    /// children instead.
    fn push_children(&mut self, node: &Node) {
        for child in node.children().into_iter().flatten() {
            match child {
                Node::Heading(heading) => self.push_heading(heading),
                Node::MdxJsxFlowElement(element) => {
                    let import = element.name.as_ref().and_then(|name| self.imports.get(name));
                    if let Some(target) = import {
                        // The imported file has its own anchors, which may repeat the page's.
                        match (self.options.imported_blocks)(target) {
                            Ok(blocks) => self.blocks.extend(blocks),
                            Err(cause) => self.broken = Some(cause),
                        }
                    }
                    self.blocks.extend(visible_attributes(&element.attributes).map(Block::Text));
                    self.push_children(child);
                }
                _ if has_heading(child) => self.push_children(child),
                _ => {
                    let text = self.node_source(child);
                    if !text.trim().is_empty() {
                        self.blocks.push(Block::Text(text));
                    }
                }
            }
        }
    }

    /// Pushes a heading with the anchor that Docusaurus gives it.
    fn push_heading(&mut self, heading: &Heading) {
        // HTML directly in the heading does not count for the anchor; HTML inside emphasis or a link does.
        let children = heading.children.iter().filter(|child| !matches!(child, Node::Html(_)));
        let for_anchor: String = children.map(anchor_text).collect();
        let visible: String = heading.children.iter().map(visible_text).collect();
        let (text, anchor) = match (comment_id(heading.children.last()), classic_id(&for_anchor)) {
            (Some(id), _) => (visible, id),
            (None, Some(id)) => {
                let text = visible.rsplit_once("{#").map_or(visible.as_str(), |(text, _)| text);
                (text.to_owned(), id)
            }
            (None, None) => (visible, self.anchors.assign(&for_anchor)),
        };
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.blocks.push(Block::Heading { level: heading.depth, text, anchor });
    }

    /// Returns the source of a node, rewritten, and without the marks of the containers around the node.
    fn node_source(&self, node: &Node) -> String {
        let Some(position) = node.position() else { return String::new() };
        let mut edits = Vec::new();
        self.collect_edits(node, &mut edits);
        let range = position.start.offset..position.end.offset;
        let edited = apply_edits(self.source, range, edits);
        strip_container_marks(&edited, position.start.column.saturating_sub(1))
            .trim_end()
            .trim_start_matches([' ', '\t'])
            .to_owned()
    }

    /// Collects the edits that the source of a node needs.
    fn collect_edits(&self, node: &Node, edits: &mut Vec<Edit>) {
        let Some(range) = source_range(node) else { return };
        let replace = |edits: &mut Vec<Edit>, text: String| edits.push((range.clone(), text));
        match node {
            Node::Link(link) => self.edit_link(node, &link.url, edits),
            Node::LinkReference(link) => {
                let target = self.definitions.iter().find(|(id, _)| *id == link.identifier);
                match target.map(|(_, url)| url.clone()) {
                    Some(url) => self.edit_link(node, &url, edits),
                    None => self.edit_children(node, edits),
                }
            }
            Node::Image(image) => replace(edits, image.alt.clone()),
            Node::ImageReference(image) => replace(edits, image.alt.clone()),
            Node::MdxJsxTextElement(element) => {
                self.edit_tags(node, visible_attributes(&element.attributes).collect(), edits)
            }
            Node::MdxJsxFlowElement(element) => {
                self.edit_tags(node, visible_attributes(&element.attributes).collect(), edits)
            }
            Node::MdxTextExpression(expression) => replace(edits, string_literal(&expression.value)),
            Node::MdxFlowExpression(expression) => replace(edits, string_literal(&expression.value)),
            Node::Html(html) => replace(edits, strip_tags(&html.value)),
            Node::MdxjsEsm(_) | Node::Definition(_) | Node::ThematicBreak(_) | Node::FootnoteReference(_) => {
                replace(edits, String::new());
            }
            _ => self.edit_children(node, edits),
        }
    }

    /// Collects the edits of a node's children.
    fn edit_children(&self, node: &Node, edits: &mut Vec<Edit>) {
        node.children().into_iter().flatten().for_each(|child| self.collect_edits(child, edits));
    }

    /// Replaces the target of a link, or the link by its text; an address that is written as plain text stays.
    fn edit_link(&self, node: &Node, url: &str, edits: &mut Vec<Edit>) {
        let target = match self.options.links {
            Links::Drop => None,
            Links::Keep(target) => Some(target(url)),
        };
        let Some(range) = source_range(node) else { return };
        let is_literal = content_range(node).is_none_or(|content| content == range);
        match target {
            _ if is_literal => {}
            Some(target) => {
                let content = content_range(node).unwrap_or(range.clone());
                edits.push((range.start..content.start, "[".to_owned()));
                self.edit_children(node, edits);
                edits.push((content.end..range.end, format!("](<{}>)", target.replace(['<', '>', '\n'], ""))));
            }
            None => self.edit_tags(node, Vec::new(), edits),
        }
    }

    /// Removes the tags around a node's children, and puts the visible attributes before the children.
    fn edit_tags(&self, node: &Node, attributes: Vec<String>, edits: &mut Vec<Edit>) {
        let Some(range) = source_range(node) else { return };
        let attributes = attributes.join(" ");
        match content_range(node) {
            Some(content) => {
                let lead = if attributes.is_empty() { attributes } else { format!("{attributes} ") };
                edits.push((range.start..content.start, lead));
                self.edit_children(node, edits);
                edits.push((content.end..range.end, String::new()));
            }
            None => edits.push((range, attributes)),
        }
    }
}

/// Returns the place of a node in the source.
fn source_range(node: &Node) -> Option<Range<usize>> {
    node.position().map(|position| position.start.offset..position.end.offset)
}

/// Returns the place of a node's children: from the beginning of the first to the end of the last.
fn content_range(node: &Node) -> Option<Range<usize>> {
    let children = node.children()?;
    Some(source_range(children.first()?)?.start..source_range(children.last()?)?.end)
}

/// Returns true if a node is a heading or holds one.
fn has_heading(node: &Node) -> bool {
    matches!(node, Node::Heading(_)) || node.children().into_iter().flatten().any(has_heading)
}

/// Returns the text of a node from which Docusaurus makes an anchor: expressions and comments count with their
/// source, directives do not count.
fn anchor_text(node: &Node) -> String {
    match node {
        Node::Text(text) => DIRECTIVE.replace_all(&text.value, "$1$3$4").into_owned(),
        Node::InlineCode(code) => code.value.clone(),
        Node::MdxTextExpression(expression) => expression.value.clone(),
        Node::Html(html) => html.value.clone(),
        Node::Image(image) => image.alt.clone(),
        Node::ImageReference(image) => image.alt.clone(),
        _ => node.children().into_iter().flatten().map(anchor_text).collect(),
    }
}

/// Returns the text of a node as a reader sees it.
fn visible_text(node: &Node) -> String {
    match node {
        Node::Text(text) => text.value.clone(),
        Node::InlineCode(code) => code.value.clone(),
        Node::MdxTextExpression(expression) => string_literal(&expression.value),
        Node::Image(image) => image.alt.clone(),
        Node::ImageReference(image) => image.alt.clone(),
        _ => node.children().into_iter().flatten().map(visible_text).collect(),
    }
}

/// Returns the id in a comment at the end of a heading, `{/* #own */}`.
fn comment_id(last: Option<&Node>) -> Option<String> {
    let Some(Node::MdxTextExpression(expression)) = last else { return None };
    let comment = expression.value.trim().strip_prefix("/*")?.strip_suffix("*/")?.trim();
    let id = comment.split(' ').next()?.strip_prefix('#').filter(|id| !id.is_empty())?;
    Some(id.to_owned())
}

/// Returns the id at the end of a heading in Docusaurus' own form, `{#own}`.
fn classic_id(text: &str) -> Option<String> {
    let (_, id) = text.strip_suffix('}')?.rsplit_once("{#")?;
    (!id.is_empty() && !id.contains('}')).then(|| id.trim().to_owned())
}

/// Returns the attributes of a component that a reader sees, as text.
fn visible_attributes(attributes: &[AttributeContent]) -> impl Iterator<Item = String> + '_ {
    attributes.iter().filter_map(|attribute| match attribute {
        AttributeContent::Property(MdxJsxAttribute { name, value: Some(AttributeValue::Literal(text)) })
            if VISIBLE_ATTRIBUTES.contains(&name.as_str()) && !text.trim().is_empty() =>
        {
            Some(format!("**{}**", text.trim()))
        }
        _ => None,
    })
}

/// Returns the text of an expression that is a single string; an empty text for any other expression.
fn string_literal(expression: &str) -> String {
    let text = expression.trim();
    let quoted = ['"', '\'', '`'].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    quoted.filter(|text| !text.contains("${")).unwrap_or_default().to_owned()
}

/// Removes the tags from a piece of HTML.
fn strip_tags(html: &str) -> String {
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

/// Returns a range of the source with the edits applied. Of overlapping edits only the first is applied, and
/// edits outside the range are ignored.
fn apply_edits(source: &str, range: Range<usize>, mut edits: Vec<Edit>) -> String {
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

/// Removes the marks and the indentation of the containers from the second and all later lines; the first line
/// already begins after them. `columns` is the width of marks and indentation together.
fn strip_container_marks(text: &str, columns: usize) -> String {
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
        read_blocks(body, &MarkdownOptions { syntax, links, imported_blocks: &|_| Ok(Vec::new()) })
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
