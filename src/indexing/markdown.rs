//! A Docusaurus Markdown page, read into sections that begin at headings and know their anchors. No I/O.

use std::collections::HashMap;
use std::ops::Range;

use pulldown_cmark::{Alignment, CowStr, Event, Options, Parser, Tag, TagEnd, html};

/// Longest chunk, in characters, unless a single block is longer: well under the 2,048 tokens of an embedding model.
const MAX_CHUNK_CHARS: usize = 1_600;

/// What Docusaurus' Markdown has beyond CommonMark.
const OPTIONS: Options = Options::ENABLE_TABLES
    .union(Options::ENABLE_STRIKETHROUGH)
    .union(Options::ENABLE_FOOTNOTES)
    .union(Options::ENABLE_HEADING_ATTRIBUTES);

/// A page: its title and its chunks in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// From the front matter, else the first top-level heading, else the file's name.
    pub title: String,
    /// The `slug` of the front matter.
    pub slug: Option<String>,
    /// What is embedded and retrieved.
    pub chunks: Vec<Chunk>,
}

/// A piece of a page under one heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The headings it stands under, outermost first, without the page's title.
    pub section: Vec<String>,
    /// Anchor of the innermost heading; `None` before the first one.
    pub anchor: Option<String>,
    /// Its Markdown, with links replaced by their texts.
    pub text: String,
}

/// A heading where it stands in the source.
struct Heading {
    level: usize,
    text: String,
    anchor: String,
    range: Range<usize>,
}

/// Reads a page; `name` is the file's, without its extension.
pub fn read(source: &str, name: &str) -> Page {
    let (matter, body) = front_matter(source);
    let headings = headings(body);
    let first = headings.iter().find(|heading| heading.level == 1);
    let title = matter.get("title").cloned().or_else(|| first.map(|heading| heading.text.clone()));
    Page {
        title: title.unwrap_or_else(|| name.to_owned()),
        slug: matter.get("slug").cloned(),
        chunks: chunks(body, &headings),
    }
}

/// The page as HTML, with the anchors its chunks name; `route` turns the target of a link to another file into its
/// address.
pub fn render(source: &str, route: impl Fn(&str) -> String) -> String {
    let (matter, body) = front_matter(source);
    let mut anchors = headings(body).into_iter();
    let events = Parser::new_ext(body, OPTIONS).map(|event| match event {
        Event::Start(Tag::Heading { level, classes, attrs, .. }) => {
            let id = anchors.next().map(|heading| heading.anchor.into());
            Event::Start(Tag::Heading { level, id, classes, attrs })
        }
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let dest_url = CowStr::from(route(&dest_url));
            Event::Start(Tag::Link { link_type, dest_url, title, id })
        }
        // Aligned columns come out as inline styles, which the pages' policy forbids.
        Event::Start(Tag::Table(columns)) => Event::Start(Tag::Table(vec![Alignment::None; columns.len()])),
        other => other,
    });
    let mut out = String::new();
    if let Some(title) = matter.get("title") {
        let mut text = String::new();
        html::push_html(&mut text, [Event::Text(title.as_str().into())].into_iter());
        out.push_str(&format!("<h1>{text}</h1>\n"));
    }
    html::push_html(&mut out, events);
    out
}

/// The `key: value` lines between the `---` of the first line and the next, and what follows them.
fn front_matter(source: &str) -> (HashMap<String, String>, &str) {
    let source = source.trim_start_matches('\u{feff}');
    let none = (HashMap::new(), source);
    let Some(rest) = source.strip_prefix("---\n").or_else(|| source.strip_prefix("---\r\n")) else {
        return none;
    };
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "---" {
            let values = rest[..end].lines().filter_map(|line| {
                let (key, value) = line.split_once(':')?;
                let value = value.trim().trim_matches(['"', '\'']);
                (!value.is_empty()).then(|| (key.trim().to_owned(), value.to_owned()))
            });
            return (values.collect(), &rest[end + line.len()..]);
        }
        end += line.len();
    }
    none
}

fn headings(body: &str) -> Vec<Heading> {
    let mut headings: Vec<Heading> = Vec::new();
    let mut used: HashMap<String, usize> = HashMap::new();
    let mut open: Option<(usize, Option<String>, String)> = None;
    for (event, range) in Parser::new_ext(body, OPTIONS).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level, id, .. }) => {
                open = Some((level as usize, id.map(|id| id.to_string()), String::new()));
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some((.., heading)) = &mut open {
                    heading.push_str(&text);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                if let Some((level, id, text)) = open.take() {
                    let anchor = id.unwrap_or_else(|| unique(slug(&text), &mut used));
                    headings.push(Heading { level, text: text.trim().to_owned(), anchor, range });
                }
            }
            _ => {}
        }
    }
    headings
}

/// A heading's anchor as github-slugger makes it, which Docusaurus uses.
fn slug(text: &str) -> String {
    let kept = text.trim().chars().flat_map(char::to_lowercase);
    let kept = kept.filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The first `setup` stays, the next become `setup-1`, `setup-2`.
fn unique(slug: String, used: &mut HashMap<String, usize>) -> String {
    let mut anchor = slug.clone();
    while used.contains_key(&anchor) {
        let count = used.entry(slug.clone()).or_default();
        *count += 1;
        anchor = format!("{slug}-{count}");
    }
    used.insert(anchor.clone(), 0);
    anchor
}

fn chunks(body: &str, headings: &[Heading]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut path: Vec<(usize, String)> = Vec::new();
    let starts = std::iter::once(None).chain(headings.iter().map(Some));
    for (index, heading) in starts.enumerate() {
        let start = heading.map_or(0, |heading| heading.range.end);
        let end = headings.get(index).map_or(body.len(), |next| next.range.start);
        if let Some(heading) = heading {
            path.retain(|(level, _)| *level < heading.level);
            if heading.level > 1 {
                path.push((heading.level, heading.text.clone()));
            }
        }
        let section: Vec<String> = path.iter().map(|(_, text)| text.clone()).collect();
        let anchor = heading.filter(|heading| heading.level > 1).map(|heading| heading.anchor.clone());
        let pieces = pack(&without_links(&body[start..end]));
        chunks.extend(pieces.into_iter().map(|text| Chunk {
            section: section.clone(),
            anchor: anchor.clone(),
            text,
        }));
    }
    chunks
}

/// Packs a section's blocks into as few chunks as their bound allows; a longer block is cut between lines.
fn pack(section: &str) -> Vec<String> {
    let mut packed: Vec<String> = Vec::new();
    let mut room = 0;
    for block in blocks(section).iter().flat_map(|block| cut(block)) {
        let chars = block.chars().count();
        match packed.last_mut() {
            Some(last) if chars + 2 <= room => {
                last.push_str("\n\n");
                last.push_str(&block);
                room -= chars + 2;
            }
            _ => {
                packed.push(block);
                room = MAX_CHUNK_CHARS.saturating_sub(chars);
            }
        }
    }
    packed
}

/// The top-level blocks of a section: paragraphs, lists, tables, code blocks.
fn blocks(section: &str) -> Vec<&str> {
    let mut blocks = Vec::new();
    let mut depth = 0;
    for (event, range) in Parser::new_ext(section, OPTIONS).into_offset_iter() {
        match event {
            Event::Start(_) => {
                if depth == 0 {
                    blocks.push(section[range].trim_end());
                }
                depth += 1;
            }
            Event::End(_) => depth -= 1,
            _ => {}
        }
    }
    blocks.retain(|block| !block.trim().is_empty());
    blocks
}

/// A block as it is, or, if it is longer than two chunks, cut between lines.
fn cut(block: &str) -> Vec<String> {
    if block.chars().count() <= 2 * MAX_CHUNK_CHARS {
        return vec![block.to_owned()];
    }
    let mut parts = vec![String::new()];
    let mut room = MAX_CHUNK_CHARS;
    for line in block.split_inclusive('\n').flat_map(|line| slices(line, MAX_CHUNK_CHARS)) {
        let chars = line.chars().count();
        if chars > room {
            parts.push(String::new());
            room = MAX_CHUNK_CHARS;
        }
        if let Some(last) = parts.last_mut() {
            last.push_str(&line);
        }
        room = room.saturating_sub(chars);
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// A line in slices of at most `max` characters.
fn slices(line: &str, max: usize) -> Vec<String> {
    let chars: Vec<char> = line.chars().collect();
    chars.chunks(max).map(|slice| slice.iter().collect()).collect()
}

/// Replaces links by their texts and leaves images out: a link's target means nothing outside its page.
fn without_links(section: &str) -> String {
    let mut out = String::new();
    let mut done = 0;
    let mut inner: Option<Range<usize>> = None;
    let mut links = 0;
    for (event, range) in Parser::new_ext(section, OPTIONS).into_offset_iter() {
        match event {
            Event::Start(Tag::Link { .. } | Tag::Image { .. }) => {
                if links == 0 {
                    out.push_str(&section[done..range.start]);
                    done = range.end;
                }
                links += 1;
            }
            Event::End(TagEnd::Link) => {
                links -= 1;
                if let (0, Some(text)) = (links, inner.take()) {
                    out.push_str(&section[text]);
                }
            }
            Event::End(TagEnd::Image) => {
                links -= 1;
                inner = None;
            }
            _ if links > 0 => {
                let start = inner.as_ref().map_or(range.start, |inner| inner.start);
                inner = Some(start..range.end);
            }
            _ => {}
        }
    }
    out.push_str(&section[done..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(source: &str) -> Vec<(Vec<String>, Option<String>, String)> {
        read(source, "file").chunks.into_iter().map(|chunk| (chunk.section, chunk.anchor, chunk.text)).collect()
    }

    #[test]
    fn a_page_has_its_title_and_its_sections_their_path_and_anchor() {
        let source = "---\ntitle: \"Deploy\"\nslug: /ship\n---\nIntro.\n\n## With `Docker`\n\nRun it.\n\n### On a server\n\nAs root.\n\n## Next\n\nDone.\n";
        let page = read(source, "file");
        assert_eq!((page.title.as_str(), page.slug.as_deref()), ("Deploy", Some("/ship")));
        let path = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            sections(source),
            [
                (path(&[]), None, "Intro.".to_owned()),
                (path(&["With Docker"]), Some("with-docker".to_owned()), "Run it.".to_owned()),
                (path(&["With Docker", "On a server"]), Some("on-a-server".to_owned()), "As root.".to_owned()),
                (path(&["Next"]), Some("next".to_owned()), "Done.".to_owned()),
            ]
        );
    }

    #[test]
    fn the_first_top_level_heading_or_the_file_name_stands_in_for_a_title() {
        assert_eq!(read("# Hello `world`\n\nx", "file").title, "Hello world");
        assert_eq!(read("x", "file").title, "file");
        assert_eq!(sections("# Hello\n\nx"), [(vec![], None, "x".to_owned())]);
    }

    #[test]
    fn anchors_are_those_of_github_slugger() {
        for (heading, anchor) in [
            ("What it is", "what-it-is"),
            ("`POST /chat` & errors", "post-chat--errors"),
            ("C++: why?", "c-why"),
            ("Über_uns", "über_uns"),
            ("Own {#mine}", "mine"),
        ] {
            let chunks = read(&format!("## {heading}\n\nx"), "file").chunks;
            assert_eq!(chunks[0].anchor.as_deref(), Some(anchor), "{heading}");
        }
        let anchors: Vec<_> = read("## A\n\nx\n\n## A\n\ny\n\n## A-1\n\nz\n\n## A\n\nw", "file").chunks;
        let anchors: Vec<_> = anchors.into_iter().filter_map(|chunk| chunk.anchor).collect();
        assert_eq!(anchors, ["a", "a-1", "a-1-1", "a-2"]);
    }

    #[test]
    fn headings_in_code_are_no_headings_and_code_is_not_cut_apart() {
        let source = "## A\n\n```sh\n# not a heading\n\n## nor this\n```\n";
        assert_eq!(sections(source)[0].2, "```sh\n# not a heading\n\n## nor this\n```");
        assert_eq!(sections(source).len(), 1);
    }

    #[test]
    fn links_become_their_texts_outside_code() {
        let source = "See [the `x` page](x.md#a) and ![image](i.png), not `[y](z)`.";
        assert_eq!(sections(source)[0].2, "See the `x` page and , not `[y](z)`.");
    }

    #[test]
    fn a_long_section_is_cut_between_blocks_and_a_long_block_between_lines() {
        let paragraph = "word ".repeat(200);
        let source = format!("## A\n\n{paragraph}\n\n{paragraph}\n\n{}", "line of code\n".repeat(400));
        let chunks = read(&source, "file").chunks;
        assert!(chunks.len() > 3, "{}", chunks.len());
        assert!(chunks.iter().all(|chunk| chunk.text.chars().count() <= MAX_CHUNK_CHARS));
        assert!(chunks.iter().all(|chunk| chunk.anchor.as_deref() == Some("a")));
    }

    #[test]
    fn the_rendered_page_has_the_same_anchors() {
        let html = render(
            "---\ntitle: A & B\n---\n## Set up {#own}\n\n## Set up\n\n[x](y.md#z)\n\n| a |\n|--:|\n| b |",
            |to| format!("/docs/{to}"),
        );
        assert!(html.contains("<h1>A &amp; B</h1>"), "{html}");
        assert!(html.contains("<h2 id=\"own\">") && html.contains("<h2 id=\"set-up\">"), "{html}");
        assert!(html.contains("href=\"/docs/y.md#z\""), "{html}");
        assert!(html.contains("<td>b</td>") && !html.contains("style="), "{html}");
    }
}
