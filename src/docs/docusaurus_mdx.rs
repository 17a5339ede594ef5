//! Rewrites Docusaurus' additions to MDX as plain MDX, line by line: admonitions, HTML comments, heading ids,
//! and fences that hold MDX. Code stays as it is. No I/O.

use std::sync::LazyLock;

use regex::Regex;

use super::pattern::compile_pattern;

/// Indentation and quote marks before the text of a line.
static PREFIX: LazyLock<Regex> = LazyLock::new(|| compile_pattern(r"^[\s>]*"));
/// Beginning of a fence, which may follow a list mark.
static FENCE: LazyLock<Regex> =
    LazyLock::new(|| compile_pattern(r"^[\s>]*(?:(?:[-*+]|\d+[.)])\s+)*(`{3,}|~{3,})\s*(.*)$"));
/// Beginning of an admonition: `:::note`, `:::note[Title]`, `:::note Title`, attributes after it.
static ADMONITION: LazyLock<Regex> = LazyLock::new(|| {
    compile_pattern(r"^:{3,}\s*([A-Za-z][\w-]*)\s*(?:\[(.*)\]|([^\[{].*?))?\s*(?:\{.*\})?\s*$")
});
/// End of an admonition.
static ADMONITION_END: LazyLock<Regex> = LazyLock::new(|| compile_pattern(r"^:{3,}\s*$"));

/// Describes an open fence.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fence {
    /// Character of the fence: a backtick or a tilde.
    mark: char,
    /// Number of marks; a line of as many marks, or of more, closes the fence.
    length: usize,
}

impl Fence {
    /// Returns the fence that a line opens, and the text after its marks.
    fn opened_by(line: &str) -> Option<(Self, &str)> {
        let found = FENCE.captures(line)?;
        let (marks, info) = (found.get(1)?.as_str(), found.get(2)?.as_str());
        let mark = marks.chars().next()?;
        // A line such as ```x``` is inline code.
        (mark == '~' || !info.contains('`')).then_some((Self { mark, length: marks.len() }, info))
    }

    /// Returns true if a line closes the fence.
    fn is_closed_by(self, line: &str) -> bool {
        let text = line.trim_start_matches(|c: char| c.is_whitespace() || c == '>').trim_end();
        text.len() >= self.length && text.chars().all(|c| c == self.mark)
    }
}

/// Rewrites a page's body as plain MDX.
pub(super) fn to_plain_mdx(body: &str) -> String {
    let mut rewriter = Rewriter { out: String::with_capacity(body.len()), ..Rewriter::default() };
    body.split_inclusive('\n').for_each(|line| rewriter.push_line(line));
    rewriter.out
}

/// Rewrites a body line by line. Holds the text so far, and the constructs that are open at its end.
#[derive(Default)]
struct Rewriter {
    out: String,
    /// Fence of the code that is open.
    fence: Option<Fence>,
    /// Fence of the `mdx-code-block` that is open: its content is MDX, and its fences are removed.
    unwrapped: Option<Fence>,
    /// True while an HTML comment is open.
    in_comment: bool,
}

impl Rewriter {
    /// Rewrites the next line.
    fn push_line(&mut self, line: &str) {
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
        let line = self.remove_comments(line);
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
            None => self.push_text(&line),
        }
    }

    /// Rewrites a line outside code: the marks of an admonition become a bold title and blank lines.
    fn push_text(&mut self, line: &str) {
        let prefix = PREFIX.find(line).map_or("", |found| found.as_str().trim_end_matches(['\n', '\r']));
        let rest = line[prefix.len()..].trim_end();
        if ADMONITION_END.is_match(rest) {
            self.out.push_str(prefix);
            self.out.push('\n');
        } else if let Some(found) = ADMONITION.captures(rest) {
            let title = found.get(2).or_else(|| found.get(3)).map_or("", |title| title.as_str().trim());
            let kind = found.get(1).map_or("", |kind| kind.as_str());
            let title = if title.is_empty() { capitalize(kind) } else { title.to_owned() };
            let title = if title.contains('*') { title } else { format!("**{title}**") };
            self.out.push_str(&format!("{prefix}\n{prefix}{title}\n{prefix}\n"));
        } else {
            self.out.push_str(line);
        }
    }

    /// Removes HTML comments, which may span lines, from a line; comments in inline code stay.
    fn remove_comments(&mut self, line: &str) -> String {
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
                // An empty expression takes the comment's place in a heading, so that the anchor keeps the
                // space before the comment.
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

/// Returns a word with its first letter in upper case.
fn capitalize(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admonitions_keep_their_title_and_content() {
        assert_eq!(to_plain_mdx(":::note\nHi.\n:::\n"), "\n**Note**\n\nHi.\n\n");
        assert_eq!(to_plain_mdx("::::tip[Own `x`]{.a}\nHi.\n::::\n"), "\n**Own `x`**\n\nHi.\n\n");
        assert_eq!(to_plain_mdx("> :::info Old title\n> Hi.\n> :::\n"), "> \n> **Old title**\n> \n> Hi.\n> \n");
    }

    #[test]
    fn comments_go_and_code_stays() {
        assert_eq!(to_plain_mdx("a <!-- b --> c\n<!--\nd\n-->e\n"), "a  c\n\n\ne\n");
        for code in
            ["`<!-- a -->`\n", "```md\n:::note\n<!-- a -->\n# x {#y}\n```\n", "~~~\n```\n:::note\n~~~\n"]
        {
            assert_eq!(to_plain_mdx(code), code);
        }
        assert_eq!(to_plain_mdx("````\n```\n:::a\n````\n<!-- b -->"), "````\n```\n:::a\n````\n");
    }

    #[test]
    fn heading_ids_are_escaped_and_fences_of_mdx_unwrapped() {
        assert_eq!(to_plain_mdx("## A {#b}\n"), "## A \\{#b}\n");
        assert_eq!(to_plain_mdx("## A <!-- #b -->\n"), "## A {/**/}\n");
        assert_eq!(to_plain_mdx("```mdx-code-block\n<A/>\n```\nb\n"), "\n<A/>\n\nb\n");
    }
}
