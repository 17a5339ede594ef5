//! Small functions over texts and durations that every room may use. Imports no other room.

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

/// Makes somebody else's text fit for a log line: at most 300 characters, without characters that end a line or turn
/// the direction of writing.
pub fn log_safe(text: &str) -> String {
    let moves = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    clip(text, MAX_CAUSE_CHARS).chars().map(|c| if c.is_control() || moves(c) { ' ' } else { c }).collect()
}

/// Shows the length of a text in place of the text, for `Debug` outputs that may reach a log.
pub struct Redacted<'a>(pub &'a str);

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} characters)", self.0.chars().count())
    }
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
    fn a_log_line_stays_one_line_and_keeps_its_direction() {
        assert_eq!(log_safe("a\r\nb\u{202e}c\u{2028}d"), "a  b c d");
        assert_eq!(log_safe(&"x".repeat(1_000)).len(), MAX_CAUSE_CHARS);
    }
}
