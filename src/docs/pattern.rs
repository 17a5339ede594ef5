//! Compiles the constant regular expressions of this room.

use regex::Regex;

/// Compiles a pattern that is written in this room.
#[expect(clippy::expect_used, reason = "the patterns are constants, and the tests compile each")]
pub(super) fn compile_pattern(regex: &str) -> Regex {
    Regex::new(regex).expect("a valid pattern")
}
