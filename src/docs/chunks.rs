//! Cuts the blocks of a page into chunks, which are embedded, retrieved and cited. No I/O.
//!
//! A chunk stands under one heading and never crosses the next. A chunk grows block by block, up to a size at
//! which its text is still about one thing. A code block stays whole as long as an embedding model can read the
//! block.

use std::fmt;

use super::blocks::Block;
use crate::text::{Redacted, clip_tokens, estimate_tokens};

/// Longest text, in estimated tokens, that every embedding model in use reads whole. A passage with its title
/// and headings stays below this bound, unless its title and its description are very long.
pub const MAX_PASSAGE_TOKENS: usize = 2_048;
/// Size at which a chunk is full, in estimated tokens.
const MAX_CHUNK_TOKENS: usize = 600;
/// Space for title and headings, which are embedded with every chunk, in estimated tokens.
const HEADING_TOKENS: usize = 256;
/// Longest code block that stays whole, in estimated tokens; a longer one is cut between lines.
const MAX_CODE_TOKENS: usize = MAX_PASSAGE_TOKENS - HEADING_TOKENS;

/// Holds a piece of a page under one heading.
#[derive(Clone, PartialEq, Eq)]
pub struct PageChunk {
    /// Headings above the piece, outermost first, without the page's title.
    pub section: Vec<String>,
    /// Anchor of the innermost heading; `None` before the first one.
    pub anchor: Option<String>,
    /// Markdown of the piece.
    pub text: String,
}

impl fmt::Debug for PageChunk {
    /// Prints the length of the text alone: a log must show no passage.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { anchor, text, .. } = self;
        let mut shown = f.debug_struct("PageChunk");
        shown.field("anchor", anchor).field("text", &Redacted(text)).finish_non_exhaustive()
    }
}

/// Cuts a page's blocks into chunks, in the order of the text.
pub(super) fn cut_into_chunks(blocks: Vec<Block>) -> Vec<PageChunk> {
    let mut chunks = Vec::new();
    let mut path: Vec<(u8, String)> = Vec::new();
    let mut anchor = None;
    let mut texts = Vec::new();
    let mut close = |path: &[(u8, String)], anchor: &Option<String>, texts: &mut Vec<String>| {
        let section: Vec<String> = path.iter().map(|(_, text)| text.clone()).collect();
        let pieces = std::mem::take(texts).into_iter().flat_map(|block| split_block(&block));
        let packed = pack_pieces(pieces, "\n\n", MAX_CHUNK_TOKENS).into_iter();
        chunks.extend(packed.map(|text| PageChunk { section: section.clone(), anchor: anchor.clone(), text }));
    };
    for block in blocks {
        match block {
            Block::Text(text) => texts.push(text),
            Block::Heading { level, text, anchor: own } => {
                close(&path, &anchor, &mut texts);
                path.retain(|(outer, _)| *outer < level);
                // Level 1 is the page's own title, to which Docusaurus gives no anchor.
                anchor = (level > 1 && !own.is_empty()).then_some(own);
                if level > 1 {
                    path.push((level, text));
                }
            }
        }
    }
    close(&path, &anchor, &mut texts);
    chunks
}

/// Joins neighbouring pieces while they fit in `max` estimated tokens together.
fn pack_pieces(pieces: impl Iterator<Item = String>, separator: &str, max: usize) -> Vec<String> {
    let mut packed: Vec<String> = Vec::new();
    let mut room = 0;
    for piece in pieces {
        let tokens = estimate_tokens(&piece) + 1;
        match packed.last_mut() {
            Some(last) if tokens <= room => {
                last.push_str(separator);
                last.push_str(&piece);
                room -= tokens;
            }
            _ => {
                packed.push(piece);
                room = max.saturating_sub(tokens);
            }
        }
    }
    packed
}

/// Returns a block whole if it fits, else cuts it between lines. Every part of a code block repeats its fences,
/// and every part of a table its head.
fn split_block(block: &str) -> Vec<String> {
    let mut lines: Vec<&str> = block.lines().collect();
    let first = lines.first().map_or("", |line| line.trim_start());
    let is_code = is_fence(first);
    let max = if is_code { MAX_CODE_TOKENS } else { MAX_CHUNK_TOKENS };
    if estimate_tokens(block) <= max {
        return vec![block.to_owned()];
    }
    let rule = |line: &&str| line.contains('-') && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '));
    let is_table = first.contains('|') && lines.get(1).is_some_and(rule);
    let is_closed = lines.last().is_some_and(|line| line.trim().starts_with(&first[..3.min(first.len())]));
    let (head, tail) = match (is_code, is_table) {
        (true, _) => (vec![lines.remove(0)], if is_closed { lines.pop() } else { None }),
        (_, true) => (lines.drain(..2).collect(), None),
        _ => (Vec::new(), None),
    };
    let (head, tail) = (head.join("\n"), tail.unwrap_or_default());
    let room = MAX_CHUNK_TOKENS.saturating_sub(estimate_tokens(&head) + estimate_tokens(tail)).max(64);
    let whole = |part: String| {
        let parts = [head.as_str(), &part, tail].into_iter().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join("\n")
    };
    let units = if is_code { lines.into_iter().map(str::to_owned).collect() } else { split_into_units(&lines) };
    let pieces =
        units.into_iter().flat_map(|unit| if unit.contains('\n') { vec![unit] } else { cut_line(&unit, room) });
    let parts = pack_pieces(pieces, "\n", room).into_iter().filter(|part| !part.trim().is_empty());
    parts.map(whole).collect()
}

/// Splits a block into the units from which parts are packed: single lines, and whole code blocks while a model
/// can read them.
fn split_into_units(lines: &[&str]) -> Vec<String> {
    let mut units: Vec<String> = Vec::new();
    let mut code: Option<Vec<&str>> = None;
    for line in lines {
        match (&mut code, is_fence(line)) {
            (None, true) => code = Some(vec![*line]),
            (None, false) => units.push((*line).to_owned()),
            (Some(block), false) => block.push(line),
            (Some(block), true) => {
                block.push(line);
                units.extend(code_units(block));
                code = None;
            }
        }
    }
    units.extend(code.iter().flat_map(|block| code_units(block)));
    units
}

/// Returns true if a line opens or closes a code block.
fn is_fence(line: &str) -> bool {
    line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~")
}

/// Returns a code block as one unit if a model can read it, else its lines.
fn code_units(block: &[&str]) -> Vec<String> {
    let whole = block.join("\n");
    if estimate_tokens(&whole) <= MAX_CODE_TOKENS {
        return vec![whole];
    }
    block.iter().map(|line| (*line).to_owned()).collect()
}

/// Cuts a line into pieces of at most `room` tokens, after a sentence or a word where possible.
fn cut_line(line: &str, room: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while estimate_tokens(rest) > room {
        let most = clip_tokens(rest, room);
        let sentence = most
            .rfind(['.', '!', '?', '。'])
            .map(|at| at + most[at..].chars().next().map_or(1, char::len_utf8));
        let at = sentence.filter(|at| *at > most.len() / 2).or_else(|| most.rfind(' ').filter(|at| *at > 0));
        let (piece, after) = rest.split_at(at.unwrap_or(most.len()));
        pieces.push(piece.to_owned());
        rest = after.trim_start();
    }
    pieces.push(rest.to_owned());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heading(level: u8, text: &str) -> Block {
        Block::Heading { level, text: text.to_owned(), anchor: text.to_lowercase() }
    }

    fn text(text: &str) -> Block {
        Block::Text(text.to_owned())
    }

    #[test]
    fn chunks_follow_headings_and_carry_their_path() {
        let blocks = vec![
            heading(1, "Title"),
            text("Intro."),
            heading(2, "A"),
            heading(3, "B"),
            text("b"),
            text("c"),
            heading(2, "C"),
            text("d"),
        ];
        let made: Vec<_> =
            cut_into_chunks(blocks).into_iter().map(|c| (c.section.join("/"), c.anchor, c.text)).collect();
        let expected = [("", None, "Intro."), ("A/B", Some("b"), "b\n\nc"), ("C", Some("c"), "d")];
        let expected = expected.map(|(s, a, t)| (s.to_owned(), a.map(str::to_owned), t.to_owned()));
        assert_eq!(made, expected);
    }

    #[test]
    fn a_code_block_stays_whole_while_a_model_can_read_it() {
        let code = format!("```js\n{}```", "const a = 1;\n".repeat(300));
        assert!(estimate_tokens(&code) > MAX_CHUNK_TOKENS && estimate_tokens(&code) < MAX_CODE_TOKENS);
        assert_eq!(cut_into_chunks(vec![text(&code)])[0].text, code);
    }

    #[test]
    fn code_in_a_long_list_is_not_cut_apart() {
        let step = format!("1. Do this:\n\n   ```sh\n{}   ```\n", "   run it\n".repeat(60));
        let parts = cut_into_chunks(vec![text(&step.repeat(8))]);
        assert!(parts.len() > 2);
        assert!(parts.iter().all(|part| part.text.matches("```").count() % 2 == 0), "{parts:?}");
        let open = format!("```sh\n{}", "run it\n".repeat(2_000));
        let last = cut_into_chunks(vec![text(&open)]).pop().unwrap();
        assert!(last.text.ends_with("run it"), "an open fence has no last line to repeat");
    }

    #[test]
    fn what_is_too_long_is_cut_and_every_part_stands_alone() {
        let code = format!("```js\n{}```", "const a = 1;\n".repeat(2_000));
        let table = format!("| a | b |\n|---|---|\n{}", "| some | cells |\n".repeat(500));
        for (block, head, tail) in [(code, "```js\n", "```"), (table, "| a | b |\n|---|---|\n", "|")] {
            let parts = split_block(&block);
            assert!(parts.len() > 2);
            for part in parts {
                assert!(part.starts_with(head) && part.ends_with(tail), "{part}");
                assert!(estimate_tokens(&part) <= MAX_CHUNK_TOKENS + 2, "{}", estimate_tokens(&part));
            }
        }
        for long in ["One sentence. ".repeat(600), "语".repeat(5_000), "x".repeat(20_000)] {
            let parts = cut_into_chunks(vec![text(&long)]);
            assert!(parts.iter().all(|chunk| estimate_tokens(&chunk.text) <= MAX_CHUNK_TOKENS + 2));
            let whole: String = parts.iter().map(|chunk| chunk.text.replace([' ', '\n'], "")).collect();
            assert_eq!(whole, long.replace(' ', ""), "nothing is lost");
        }
    }
}
