//! Cuts, measures and cleans texts, and rounds durations, for every room. Imports no other room.

use std::fmt;
use std::time::Duration;

/// Characters of somebody else's message that are logged; the rest is cut off.
const MAX_CAUSE_CHARS: usize = 300;

/// Returns the first `max` characters of `text`, cut on a character boundary.
pub fn clip(text: &str, max: usize) -> &str {
    match text.char_indices().nth(max) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// Makes somebody else's text fit for a log line: at most 300 characters, without characters that end a line or
/// turn the direction of writing.
pub fn log_safe(text: &str) -> String {
    let disturbs_line = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    clip(text, MAX_CAUSE_CHARS)
        .chars()
        .map(|c| if c.is_control() || disturbs_line(c) { ' ' } else { c })
        .collect()
}

/// Shows the length of a text in place of the text, for `Debug` outputs that may reach a log.
pub struct Redacted<'a>(pub &'a str);

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} characters)", self.0.chars().count())
    }
}

/// Returns the thirds of a token that a character takes at most: three ASCII characters, or one other, count as
/// a token.
fn thirds_of_token(c: char) -> usize {
    if c.is_ascii() { 1 } else { 3 }
}

/// Estimates the tokens of a text from above: no model in use counts more.
pub fn estimate_tokens(text: &str) -> usize {
    text.chars().map(thirds_of_token).sum::<usize>().div_ceil(3)
}

/// Returns the beginning of `text` that surely fits in `max` tokens, cut on a character boundary.
pub fn clip_tokens(text: &str, max: usize) -> &str {
    let mut taken = 0;
    for (start, c) in text.char_indices() {
        taken += thirds_of_token(c);
        if taken > 3 * max {
            return &text[..start];
        }
    }
    text
}

/// Returns a duration in milliseconds, rounded to tenths.
pub fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e4).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(clip("grün", 3), "grü");
        assert_eq!(clip("grün", 4), "grün");
    }

    #[test]
    fn what_is_embedded_fits_the_model_in_every_script() {
        assert_eq!(clip_tokens(&"a".repeat(10_000), 2_048).len(), 6_144);
        assert_eq!(clip_tokens(&"語".repeat(4_000), 2_048).chars().count(), 2_048);
        assert_eq!(clip_tokens("short", 2_048), "short");
        assert_eq!((estimate_tokens("abcd"), estimate_tokens("語")), (2, 1));
    }

    #[test]
    fn a_log_line_stays_one_line_and_keeps_its_direction() {
        assert_eq!(log_safe("a\r\nb\u{202e}c\u{2028}d"), "a  b c d");
        assert_eq!(log_safe(&"x".repeat(1_000)).len(), MAX_CAUSE_CHARS);
    }
}
