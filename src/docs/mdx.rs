//! Parses Markdown and MDX with the settings of Docusaurus. No I/O.

use markdown::mdast::Node;
use markdown::{Constructs, MdxSignal, ParseOptions};

/// Names the syntax a body is parsed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// MDX; anything else is an error.
    Mdx,
    /// MDX, or Markdown with HTML if the body is not valid MDX.
    Either,
    /// Markdown with HTML, where `<` and `{` have no meaning of MDX.
    Markdown,
}

/// Parses a body into a syntax tree.
///
/// # Errors
///
/// Returns the parser's reason why the MDX is not valid.
pub(super) fn parse(source: &str, syntax: Syntax) -> Result<Node, String> {
    match syntax {
        Syntax::Markdown => parse_as(source, ParseOptions::gfm()),
        Syntax::Mdx => parse_as(source, mdx_options()),
        Syntax::Either => parse_as(source, mdx_options()).or_else(|_| parse_as(source, ParseOptions::gfm())),
    }
}

/// Renders a text of a page as HTML. Tags in the text are shown as text, and a link whose scheme is not one of
/// the web's leads nowhere. A text on which the parser panics becomes empty.
pub(super) fn to_html(text: &str) -> String {
    let html = std::panic::catch_unwind(|| markdown::to_html_with_options(text, &markdown::Options::gfm()));
    html.ok().and_then(Result::ok).unwrap_or_default()
}

/// Returns the options for MDX with the extensions of GitHub's Markdown that Docusaurus turns on.
fn mdx_options() -> ParseOptions {
    ParseOptions {
        constructs: Constructs {
            gfm_autolink_literal: true,
            gfm_footnote_definition: true,
            gfm_label_start_footnote: true,
            gfm_strikethrough: true,
            gfm_table: true,
            gfm_task_list_item: true,
            ..Constructs::mdx()
        },
        mdx_esm_parse: Some(Box::new(end_esm)),
        ..ParseOptions::mdx()
    }
}

/// Ends imports and exports at a blank line, unless a bracket is open there.
fn end_esm(code: &str) -> MdxSignal {
    let depth: i64 = code
        .chars()
        .map(|c| match c {
            '{' | '(' | '[' => 1,
            '}' | ')' | ']' => -1,
            _ => 0,
        })
        .sum();
    let place = || Box::new("docent".to_owned());
    if depth > 0 {
        MdxSignal::Eof("an import or export never ends".to_owned(), place(), place())
    } else {
        MdxSignal::Ok
    }
}

/// Parses a source into a syntax tree; a panic of the parser on odd input counts as an error.
fn parse_as(source: &str, options: ParseOptions) -> Result<Node, String> {
    let parsed =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| markdown::to_mdast(source, &options)));
    match parsed {
        Ok(tree) => tree.map_err(|message| format!("it is not valid MDX: {}", message.reason)),
        Err(_) => Err("it is not valid MDX: the parser gives up on it".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_on_which_the_parser_panics_is_read_as_markdown_or_is_an_error() {
        for odd in ["<>x\n-", "<>x\n\n- y"] {
            assert!(parse(odd, Syntax::Mdx).is_err(), "{odd:?}");
            assert!(parse(odd, Syntax::Either).is_ok(), "{odd:?}");
        }
    }
}
