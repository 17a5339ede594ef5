//! What Docusaurus adds to MDX, rewritten as plain MDX line by line: admonitions, HTML comments, heading ids, and fences
//! that hold MDX. Code is left alone. No I/O.

use std::sync::LazyLock;

use regex::Regex;

use super::pattern;

/// What may stand before the text of a line: indentation and quote marks.
static PREFIX: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[\s>]*"));
/// The beginning of a fence, which may follow a list mark.
static FENCE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^[\s>]*(?:(?:[-*+]|\d+[.)])\s+)*(`{3,}|~{3,})\s*(.*)$"));
/// The beginning of an admonition: `:::note`, `:::note[Title]`, `:::note Title`, attributes after it.
static ADMONITION: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^:{3,}\s*([A-Za-z][\w-]*)\s*(?:\[(.*)\]|([^\[{].*?))?\s*(?:\{.*\})?\s*$"));
/// Its end.
static ADMONITION_END: LazyLock<Regex> = LazyLock::new(|| pattern(r"^:{3,}\s*$"));

/// An open fence: its character and how many.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fence(char, usize);

impl Fence {
    /// The fence a line opens, and what stands after it.
    fn opened_by(line: &str) -> Option<(Self, &str)> {
        let found = FENCE.captures(line)?;
        let (marks, info) = (found.get(1)?.as_str(), found.get(2)?.as_str());
        let mark = marks.chars().next()?;
        // A line such as ```x``` is inline code.
        (mark == '~' || !info.contains('`')).then_some((Self(mark, marks.len()), info))
    }

    /// Whether a line closes it.
    fn is_closed_by(self, line: &str) -> bool {
        let text = line.trim_start_matches(|c: char| c.is_whitespace() || c == '>').trim_end();
        text.len() >= self.1 && text.chars().all(|c| c == self.0)
    }
}

/// Rewrites a page's body as plain MDX.
pub fn plain(body: &str) -> String {
    let mut rewriter = Rewriter { out: String::with_capacity(body.len()), ..Rewriter::default() };
    body.split_inclusive('\n').for_each(|line| rewriter.line(line));
    rewriter.out
}

#[derive(Default)]
struct Rewriter {
    out: String,
    /// The code that is open.
    fence: Option<Fence>,
    /// The `mdx-code-block` that is open; its content is MDX, its fences go.
    unwrapped: Option<Fence>,
    /// Whether an HTML comment is open.
    in_comment: bool,
}

impl Rewriter {
    fn line(&mut self, line: &str) {
        if let Some(fence) = self.fence {
            self.out.push_str(line);
            self.fence = (!fence.is_closed_by(line)).then_some(fence);
            return;
        }
        if self.unwrapped.is_some_and(|fence| fence.is_closed_by(line)) {
            self.unwrapped = None;
            self.out.push('\n');
            return;
        }
        let line = self.without_comments(line);
        match Fence::opened_by(line.trim_end()) {
            Some((fence, "mdx-code-block")) => {
                self.unwrapped = Some(fence);
                self.out.push('\n');
            }
            Some((fence, _)) => {
                self.fence = Some(fence);
                self.out.push_str(&line);
            }
            None if line.starts_with('#') => {
                self.out.push_str(&line.replace("{#", "\\{#").replace("\\\\{#", "\\{#"))
            }
            None => self.text(&line),
        }
    }

    /// A line outside code: an admonition's marks become a bold title and blank lines.
    fn text(&mut self, line: &str) {
        let prefix = PREFIX.find(line).map_or("", |found| found.as_str().trim_end_matches(['\n', '\r']));
        let rest = line[prefix.len()..].trim_end();
        if ADMONITION_END.is_match(rest) {
            self.out.push_str(prefix);
            self.out.push('\n');
        } else if let Some(found) = ADMONITION.captures(rest) {
            let title = found.get(2).or_else(|| found.get(3)).map_or("", |title| title.as_str().trim());
            let kind = found.get(1).map_or("", |kind| kind.as_str());
            let title = if title.is_empty() { capitalised(kind) } else { title.to_owned() };
            let title = if title.contains('*') { title } else { format!("**{title}**") };
            self.out.push_str(&format!("{prefix}\n{prefix}{title}\n{prefix}\n"));
        } else {
            self.out.push_str(line);
        }
    }

    /// The line without HTML comments, which may span lines; what stands in inline code stays.
    fn without_comments(&mut self, line: &str) -> String {
        if !self.in_comment && !line.contains("<!--") {
            return line.to_owned();
        }
        let (mut kept, mut rest) = (String::new(), line);
        loop {
            if self.in_comment {
                let Some((_, after)) = rest.split_once("-->") else { break };
                self.in_comment = false;
                rest = after;
            }
            let Some((before, after)) = rest.split_once("<!--") else { break };
            kept.push_str(before);
            if kept.matches('`').count() % 2 == 1 {
                kept.push_str("<!--");
            } else {
                // In a heading it leaves its place: the anchor keeps the space before it.
                kept.push_str(if line.starts_with('#') { "{/**/}" } else { "" });
                self.in_comment = true;
            }
            rest = after;
        }
        if !self.in_comment {
            kept.push_str(rest);
        } else if line.ends_with('\n') {
            kept.push('\n');
        }
        kept
    }
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admonitions_keep_their_title_and_content() {
        assert_eq!(plain(":::note\nHi.\n:::\n"), "\n**Note**\n\nHi.\n\n");
        assert_eq!(plain("::::tip[Own `x`]{.a}\nHi.\n::::\n"), "\n**Own `x`**\n\nHi.\n\n");
        assert_eq!(plain("> :::info Old title\n> Hi.\n> :::\n"), "> \n> **Old title**\n> \n> Hi.\n> \n");
    }

    #[test]
    fn comments_go_and_code_stays() {
        assert_eq!(plain("a <!-- b --> c\n<!--\nd\n-->e\n"), "a  c\n\n\ne\n");
        for code in
            ["`<!-- a -->`\n", "```md\n:::note\n<!-- a -->\n# x {#y}\n```\n", "~~~\n```\n:::note\n~~~\n"]
        {
            assert_eq!(plain(code), code);
        }
        assert_eq!(plain("````\n```\n:::a\n````\n<!-- b -->"), "````\n```\n:::a\n````\n");
    }

    #[test]
    fn heading_ids_are_escaped_and_fences_of_mdx_unwrapped() {
        assert_eq!(plain("## A {#b}\n"), "## A \\{#b}\n");
        assert_eq!(plain("## A <!-- #b -->\n"), "## A {/**/}\n");
        assert_eq!(plain("```mdx-code-block\n<A/>\n```\nb\n"), "\n<A/>\n\nb\n");
    }
}
