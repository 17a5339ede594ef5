//! The Markdown parser as Docusaurus sets it up. No I/O.

use markdown::mdast::Node;
use markdown::{Constructs, MdxSignal, ParseOptions};

/// How a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// It must be MDX.
    Mdx,
    /// MDX, or where it is none, Markdown with HTML.
    Either,
    /// Markdown with HTML, where `<` and `{` mean nothing to MDX.
    Markdown,
}

/// The syntax tree of a body.
///
/// # Errors
///
/// Where the MDX is broken, and how.
pub fn parse(source: &str, syntax: Syntax) -> Result<Node, String> {
    match syntax {
        Syntax::Markdown => parse_as(source, ParseOptions::gfm()),
        Syntax::Mdx => parse_as(source, mdx()),
        Syntax::Either => parse_as(source, mdx()).or_else(|_| parse_as(source, ParseOptions::gfm())),
    }
}

/// A text of a page as HTML; tags in it come out as text, and links with other schemes than the web's lead nowhere.
pub fn html(text: &str) -> String {
    let html = std::panic::catch_unwind(|| markdown::to_html_with_options(text, &markdown::Options::gfm()));
    html.ok().and_then(Result::ok).unwrap_or_default()
}

fn mdx() -> ParseOptions {
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
        mdx_esm_parse: Some(Box::new(esm)),
        ..ParseOptions::mdx()
    }
}

/// Imports and exports end at a blank line, unless a bracket is open there.
fn esm(code: &str) -> MdxSignal {
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

/// The syntax tree; the parser's panics on odd input count as errors.
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
