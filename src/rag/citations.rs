//! Checks citations while an answer streams. No I/O.
//!
//! Outside code, a citation `[n]` that names no source never reaches a reader; grouped and foreign forms become
//! plain ones: `[1, 2]` becomes `[1][2]`, and `[^1]` and `【1】` become `[1]`; the model's mark of a refusal is
//! removed from the beginning of the answer. Code stays unchanged: backticks open code until as many backticks
//! close it or the paragraph ends; three backticks or tildes at the start of a line open code until their fence
//! closes. Text goes out at once, except characters that may still become a citation or the mark.
//!
//! The checker reads one character at a time, so the places where the stream was cut into pieces make no
//! difference.

use std::collections::BTreeSet;

use crate::provider::NOT_IN_DOCS;

/// Longest citation, in characters; a longer bracket stays ordinary text.
const MAX_MARKER_CHARS: usize = 64;
/// Characters at the beginning of an answer, the mark included, that are held back while the mark may still
/// come; if there are more, they are released as text.
const MAX_START_CHARS: usize = 64;

/// Checks the citations of one answer. Has no `Debug`, because a log must not show the answer's text.
pub struct Citations {
    sources: usize,
    phase: Phase,
    /// Characters that may still become the mark or a citation.
    pending: String,
    /// True if the text released just before `pending` begins a bracket: dropping `pending` must not complete
    /// that bracket.
    in_bracket: bool,
    code: Code,
    /// Fence characters just before the next character; `None` after any other character.
    run: Option<FenceRun>,
    /// Beginning of the line while the line has only indentation and list or quote marks; `None` once the line
    /// has more.
    lead: Option<String>,
    cited: BTreeSet<usize>,
    refused: bool,
    invalid: usize,
}

/// Reports the citations and the refusal mark that the checker found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CitationReport {
    /// Numbers of the cited sources, ascending.
    pub cited: Vec<usize>,
    /// True if the model marked its answer as a refusal.
    pub refused: bool,
    /// Number of citations that named no source.
    pub invalid: usize,
}

/// Counts equal fence characters in a row.
#[derive(Debug, Clone, Copy)]
struct FenceRun {
    /// Backtick or tilde.
    mark: char,
    ticks: usize,
    /// True if the run began where a fence may stand: at the start of a line.
    is_at_start: bool,
}

#[derive(Debug, PartialEq)]
enum Phase {
    /// The mark may still come.
    Start,
    /// The mark has come; white space after it is removed too.
    AfterMark,
    /// Ordinary text.
    Body,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Code {
    None,
    /// Code opened by this many backticks.
    Inline(usize),
    /// Code opened by this many of `mark` at the start of a line. `info` is true until that line ends;
    /// `closing` is true on a line that has only the closing fence so far.
    Fence {
        mark: char,
        ticks: usize,
        info: bool,
        closing: bool,
    },
}

impl Citations {
    /// Creates a checker for an answer that may cite the sources 1 to `sources`.
    pub fn new(sources: usize) -> Self {
        Self {
            sources,
            phase: Phase::Start,
            pending: String::new(),
            in_bracket: false,
            code: Code::None,
            run: None,
            lead: Some(String::new()),
            cited: BTreeSet::new(),
            refused: false,
            invalid: 0,
        }
    }

    /// Checks the next piece of the answer and returns the text that a reader may have now.
    pub fn push(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            match self.phase {
                Phase::Start => self.read_start(c, &mut out),
                Phase::AfterMark if c.is_whitespace() => {}
                Phase::AfterMark | Phase::Body => {
                    self.phase = Phase::Body;
                    self.read_body(c, &mut out);
                }
            }
        }
        out
    }

    /// Ends the answer: characters still held are ordinary text.
    pub fn finish(mut self) -> (String, CitationReport) {
        let mut out = String::new();
        match self.phase {
            Phase::Start => self.release_start(&mut out),
            Phase::AfterMark | Phase::Body => {}
        }
        out.push_str(&self.pending);
        (
            out,
            CitationReport {
                cited: self.cited.into_iter().collect(),
                refused: self.refused,
                invalid: self.invalid,
            },
        )
    }

    /// Reads one character while the mark may still come.
    fn read_start(&mut self, c: char, out: &mut String) {
        self.pending.push(c);
        let rest = self.pending.trim_start();
        if rest == NOT_IN_DOCS {
            self.refused = true;
            self.pending.clear();
            self.phase = Phase::AfterMark;
        } else if !NOT_IN_DOCS.starts_with(rest) || self.pending.chars().count() > MAX_START_CHARS {
            self.release_start(out);
        }
    }

    /// Releases the characters held for the mark, which has not come, as ordinary text.
    fn release_start(&mut self, out: &mut String) {
        self.phase = Phase::Body;
        for c in std::mem::take(&mut self.pending).chars() {
            self.read_body(c, out);
        }
    }

    /// Reads one character of the answer after the place of the mark.
    fn read_body(&mut self, c: char, out: &mut String) {
        if let Some(run) = self.run.take_if(|run| run.mark != c) {
            self.end_run(run);
        }
        if matches!(c, '`' | '~') {
            self.release_marker(out);
            self.extend_run(c);
            out.push(c);
            return;
        }
        self.track_line(c);
        if self.code != Code::None {
            out.push(c);
        } else if self.pending.is_empty() {
            if matches!(c, '[' | '【') { self.pending.push(c) } else { out.push(c) }
        } else {
            self.read_marker(c, out);
        }
    }

    /// Reads one more character of a bracket that may be a citation.
    fn read_marker(&mut self, c: char, out: &mut String) {
        let close = if self.pending.starts_with('[') { ']' } else { '】' };
        if c == close {
            match parse_marker(&self.pending) {
                Some(numbers) => {
                    self.pending.clear();
                    self.cite(&numbers, out);
                }
                None => {
                    self.release_marker(out);
                    out.push(c);
                }
            }
        } else if is_marker_char(c) && self.pending.chars().count() < MAX_MARKER_CHARS {
            self.pending.push(c);
        } else {
            self.release_marker(out);
            if matches!(c, '[' | '【') {
                self.pending.push(c);
                self.in_bracket = true;
            } else {
                out.push(c);
            }
        }
    }

    /// Writes the numbers that name a source, one bracket each.
    fn cite(&mut self, numbers: &[usize], out: &mut String) {
        let before = out.len();
        for number in numbers {
            if (1..=self.sources).contains(number) {
                self.cited.insert(*number);
                out.push_str(&format!("[{number}]"));
            } else {
                self.invalid += 1;
            }
        }
        if std::mem::take(&mut self.in_bracket) && out.len() == before {
            // Of "[9[9]]" nothing would be left but a new "[9]".
            out.push('…');
        }
    }

    /// Releases the characters held for a citation as ordinary text.
    fn release_marker(&mut self, out: &mut String) {
        out.push_str(&self.pending);
        self.pending.clear();
        self.in_bracket = false;
    }

    fn extend_run(&mut self, mark: char) {
        let is_at_start = self.lead.take().is_some();
        let run = self.run.get_or_insert(FenceRun { mark, ticks: 0, is_at_start });
        run.ticks += 1;
    }

    /// Ends a run of backticks or tildes, which opens code, closes code, or is part of it.
    fn end_run(&mut self, run: FenceRun) {
        let FenceRun { mark, ticks, is_at_start } = run;
        let opens_fence = ticks >= 3 && is_at_start;
        self.code = match self.code {
            // "```x```" on one line is inline code after all.
            Code::Fence { mark: '`', ticks: open, info: true, .. } if mark == '`' => {
                if open == ticks {
                    Code::None
                } else {
                    Code::Inline(open)
                }
            }
            Code::Fence { mark: opened, ticks: open, info: false, .. }
                if mark == opened && ticks >= open && is_at_start =>
            {
                Code::Fence { mark, ticks: open, info: false, closing: true }
            }
            Code::Fence { mark, ticks, info, .. } => Code::Fence { mark, ticks, info, closing: false },
            Code::None | Code::Inline(_) if opens_fence => {
                Code::Fence { mark, ticks, info: true, closing: false }
            }
            other if mark == '~' => other,
            Code::None => Code::Inline(ticks),
            Code::Inline(open) if open == ticks => Code::None,
            inline => inline,
        };
    }

    /// Follows the beginning of the line, and ends code where its line or paragraph ends.
    fn track_line(&mut self, c: char) {
        if c == '\n' {
            let blank = self.lead.as_deref().is_some_and(|lead| lead.trim().is_empty());
            self.code = match self.code {
                Code::Fence { closing: true, .. } => Code::None,
                Code::Fence { mark, ticks, .. } => Code::Fence { mark, ticks, info: false, closing: false },
                Code::Inline(_) if blank => Code::None,
                other => other,
            };
            self.lead = Some(String::new());
            return;
        }
        if let (Code::Fence { closing, .. }, false) = (&mut self.code, c.is_whitespace()) {
            // Text after closing backticks: they did not close the fence.
            *closing = false;
        }
        let Some(lead) = &mut self.lead else { return };
        if c == ' ' && starts_block(lead) && matches!(self.code, Code::Inline(_)) {
            self.code = Code::None;
        }
        let marks =
            c.is_whitespace() || matches!(c, '>' | '#' | '-' | '*' | '+' | '.' | ')') || c.is_ascii_digit();
        if marks && lead.len() < MAX_MARKER_CHARS {
            lead.push(c);
        } else {
            self.lead = None;
        }
    }
}

/// Returns true if `lead`, before a space, begins a heading or a list item, and with it a paragraph. A line
/// that is indented further continues the paragraph before it.
fn starts_block(lead: &str) -> bool {
    let mark = lead.trim_start();
    let heading = !mark.is_empty() && mark.len() <= 6 && mark.bytes().all(|byte| byte == b'#');
    lead.len() - mark.len() <= 3 && (heading || matches!(mark, "-" | "*" | "+" | "1." | "1)"))
}

/// Returns true for a character that may stand between the brackets of a citation.
fn is_marker_char(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, ' ' | ',' | ';' | '，' | '、' | '^')
}

/// Returns the numbers in a marker, which comes without its closing bracket; `None` if the marker is no
/// citation. A number that is too large becomes `usize::MAX`, which names no source.
fn parse_marker(marker: &str) -> Option<Vec<usize>> {
    let inner = marker.trim_start_matches(['[', '【']);
    let number = |part: &str| {
        let part = part.trim();
        let digits = part.strip_prefix('^').unwrap_or(part);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().unwrap_or(usize::MAX))
    };
    inner.split([',', ';', '，', '、']).map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(sources: usize, text: &str) -> (String, Vec<usize>, bool) {
        check_pieces(sources, &[text])
    }

    fn check_pieces(sources: usize, pieces: &[&str]) -> (String, Vec<usize>, bool) {
        let mut citations = Citations::new(sources);
        let mut out: String = pieces.iter().map(|piece| citations.push(piece)).collect();
        let (rest, report) = citations.finish();
        out.push_str(&rest);
        (out, report.cited, report.refused)
    }

    #[test]
    fn citations_in_every_form_are_understood_and_invalid_ones_are_dropped() {
        for (text, expected, cited) in [
            ("A [1]. B [2].", "A [1]. B [2].", vec![1, 2]),
            ("A [1, 2] B", "A [1][2] B", vec![1, 2]),
            ("A [1][2]", "A [1][2]", vec![1, 2]),
            ("A [^1] B", "A [1] B", vec![1]),
            ("A【1】B【2，1】", "A[1]B[2][1]", vec![1, 2]),
            ("A [1, 9] B", "A [1] B", vec![1]),
            ("A [9] B", "A  B", vec![]),
            ("A [0] [99999999999999999999999] B", "A   B", vec![]),
            ("A [[1]] B", "A [[1]] B", vec![1]),
            ("A [x] [1x] [] [,] [1,] B", "A [x] [1x] [] [,] [1,] B", vec![]),
            ("A [1 B", "A [1 B", vec![]),
            ("A [1", "A [1", vec![]),
            ("A [9[9]] [9[8]9] [1[9]]", "A [9…] [9…9] [1…]", vec![]),
            ("[3[3]]", "[3…]", vec![]),
            ("[link](/x) [9](/y)", "[link](/x) (/y)", vec![]),
        ] {
            assert_eq!(check(2, text), (expected.to_owned(), cited, false), "{text}");
        }
    }

    #[test]
    fn code_is_never_touched() {
        for text in [
            "Use `a[9]` here",
            "```rust\nlet x = a[9];\n\nlet y = a[8];\n```\n",
            "- item\n  ```\n  a[9]\n\n  b[9]\n  ```\n",
            "``a`[9]`` b",
            "```\na\n```x\n[9]\n```\n",
            "~ `a\n[9]` b",
            "~~~ `x\na[9]\n\n```\nb[9]\n~~~\n",
            "Press ` now\n```\na[9]\n\nb[9]\n```\n",
            "> Use `a\n> b[9]` and c\n",
            "- `x\n    - y[9]` z\n",
            "```\na\n```~\nb[9]\n```\n",
        ] {
            assert_eq!(check(1, text), (text.to_owned(), vec![], false), "{text}");
        }
    }

    #[test]
    fn code_ends_where_it_closes_or_where_its_paragraph_ends() {
        for (text, expected) in [
            ("`a` [9]", "`a` "),
            ("`a [9]\n\nb [9]", "`a [9]\n\nb "),
            ("```\na[9]\n```\nb [9]", "```\na[9]\n```\nb "),
            ("```a``` [9]", "```a``` "),
            ("a ``` b [9]\n\n[9]", "a ``` b [9]\n\n"),
            ("Press ` now\n```\na[9]\n```\nb [9]", "Press ` now\n```\na[9]\n```\nb "),
            ("- a ` [9]\n- b [9]\n", "- a ` [9]\n- b \n"),
            ("~~~\na[9]\n~~~\nb [9] ~~[9]~~", "~~~\na[9]\n~~~\nb  ~~~~"),
        ] {
            assert_eq!(check(1, text).0, expected, "{text}");
        }
    }

    #[test]
    fn the_mark_of_a_refusal_is_taken_from_the_very_start() {
        for (text, expected, refused) in [
            ("[NOT_IN_DOCS]", "", true),
            (" \n[NOT_IN_DOCS]\n\nSorry.", "Sorry.", true),
            ("[NOT_IN_DOCS] See [1].", "See [1].", true),
            ("Well. [NOT_IN_DOCS]", "Well. [NOT_IN_DOCS]", false),
            ("[NOT_IN", "[NOT_IN", false),
            ("[1] yes", "[1] yes", false),
            ("  x", "  x", false),
        ] {
            let (out, _, was) = check(1, text);
            assert_eq!((out.as_str(), was), (expected, refused), "{text:?}");
        }
    }

    #[test]
    fn only_characters_that_may_become_a_citation_are_held_back() {
        let mut citations = Citations::new(3);
        assert_eq!(citations.push("Answer [1"), "Answer ");
        assert_eq!(citations.push(", 2] and"), "[1][2] and");
        assert_eq!(citations.push(" [see"), " [see");
    }

    /// Generates texts of pieces that meet in every way the checker distinguishes.
    fn text() -> impl Strategy<Value = String> {
        let atom = prop::sample::select(vec![
            "[1]",
            "[9]",
            "[1, 2]",
            "[^2]",
            "【1】",
            "[",
            "]",
            "`",
            "``",
            "```",
            "\n",
            "\n\n",
            " ",
            "a",
            "ü",
            "1",
            ",",
            "[NOT_IN_DOCS]",
            "- ",
            "x[0]",
        ]);
        prop::collection::vec(atom, 0..40).prop_map(|atoms| atoms.concat())
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_text_and_citations(text in text(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
            let chars: Vec<char> = text.chars().collect();
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(chars.len() + 1)).collect();
            places.extend([0, chars.len()]);
            places.sort_unstable();
            let split: Vec<String> = places.windows(2).map(|pair| chars[pair[0]..pair[1]].iter().collect()).collect();
            let split: Vec<&str> = split.iter().map(String::as_str).collect();
            prop_assert_eq!(check_pieces(2, &split), check(2, &text));
        }

        #[test]
        fn no_citation_outside_code_ever_names_a_missing_source(text in "[a-z \\[\\]0-9,^]{0,60}") {
            let (out, cited, _) = check(2, &text);
            prop_assert!(cited.iter().all(|number| (1..=2).contains(number)));
            for number in 3..10 {
                let marker = format!("[{number}]");
                prop_assert!(!out.contains(&marker), "{} in {}", marker, out);
            }
        }
    }
}
