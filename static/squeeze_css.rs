//! Squeezes the widget's CSS: takes out comments and the white space that no browser needs.
//!
//! `static/build.rs` uses this file as a module, and `cargo test --test squeeze_css` runs its tests. A full
//! parser of CSS (lightningcss) would add its own tree of crates to every build, and save few bytes more.

/// Returns `css` without comments and without the white space that separates nothing.
///
/// Strings, `url(…)` and escapes stay as they are. So does white space with a meaning: between selectors (`.a
/// :is(b)` is not `.a:is(b)`), between values, and around `+` and `-` (`calc(1px + 2px)`).
pub(crate) fn squeeze_css(css: &str) -> String {
    let mut squeezed = String::with_capacity(css.len());
    // `last` is the first character of the last token, so that an escaped or quoted sign separates nothing.
    let (mut rest, mut last) = (css.trim_ascii(), '{');
    while let Some(first) = rest.chars().next() {
        let after = skip_separator(rest);
        if after.len() < rest.len() {
            let separator = separator_between(last, &rest[..rest.len() - after.len()], after);
            last = separator.chars().next_back().unwrap_or(last);
            squeezed.push_str(separator);
            rest = after;
            continue;
        }
        let (token, after) = rest.split_at(token_length(rest, first));
        if token == "}" && last == ';' {
            squeezed.pop();
        }
        if !is_leading_zero(last, token, after) {
            squeezed.push_str(token);
            last = first;
        }
        rest = after;
    }
    squeezed
}

/// Returns `css` from its first token on, without the white space and the comments before that.
fn skip_separator(css: &str) -> &str {
    let mut after = css;
    loop {
        after = after.trim_ascii_start();
        let Some(comment) = after.strip_prefix("/*") else { return after };
        after = comment.split_once("*/").map_or("", |(_, after)| after);
    }
}

/// Shortens a run of white space and comments between two tokens to nothing if one of the tokens separates by
/// itself, else to a space. A run that is one comment alone becomes an empty comment, since `.a/**/.b` is not
/// `.a .b`.
fn separator_between(last: char, run: &str, after: &str) -> &'static str {
    let next = after.chars().next().unwrap_or('}');
    let is_comment = run.starts_with("/*") && run.find("*/").is_some_and(|end| end + 2 == run.len());
    if "{};,:(>~".contains(last) || "{};,)>~!".contains(next) {
        ""
    } else if is_comment {
        "/**/"
    } else {
        " "
    }
}

/// Returns the length in bytes of the token that `css` begins with: a string, a `url(…)` without quotes, an
/// escape, or one character, its `first`.
fn token_length(css: &str, first: char) -> usize {
    match first {
        '"' | '\'' => string_length(css, first),
        '\\' => 1 + css[1..].chars().next().map_or(0, char::len_utf8),
        'u' if css.starts_with("url(") => {
            let address = css["url(".len()..].trim_ascii_start();
            let is_quoted = address.starts_with(['"', '\'']);
            if is_quoted { "url(".len() } else { css.find(')').map_or(css.len(), |end| end + 1) }
        }
        _ => first.len_utf8(),
    }
}

/// Returns the length in bytes of the string that `css` begins with, its quotes included.
fn string_length(css: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, char) in css.char_indices().skip(1) {
        if char == quote && !is_escaped {
            return at + 1;
        }
        is_escaped = char == '\\' && !is_escaped;
    }
    css.len()
}

/// Returns true for the zero of `0.5`, which a browser reads without it.
fn is_leading_zero(last: char, token: &str, after: &str) -> bool {
    let is_fraction =
        after.strip_prefix('.').is_some_and(|digits| digits.starts_with(|c: char| c.is_ascii_digit()));
    token == "0" && is_fraction && !last.is_alphanumeric() && !"._#\\".contains(last)
}

#[cfg(test)]
mod tests {
    use super::squeeze_css;

    #[test]
    fn white_space_and_comments_that_separate_nothing_go() {
        for (css, squeezed) in [
            ("a {\n  color: red;\n  margin: 0 auto;\n}\n", "a{color:red;margin:0 auto}"),
            ("/* head */ a { /* in */ color: red; /* end */ }", "a{color:red}"),
            ("a,\nb > c {\n  d: e, f;\n}\n\ng ~ h {\n}", "a,b>c{d:e,f}g~h{}"),
            ("a { b: c !important }", "a{b:c!important}"),
            ("@media ( max-width: 3rem ) { a { b: c; } }", "@media (max-width:3rem){a{b:c}}"),
            ("a { b: /* unclosed", "a{b:"),
            ("", ""),
        ] {
            assert_eq!(squeeze_css(css), squeezed, "{css}");
        }
    }

    #[test]
    fn white_space_with_a_meaning_stays() {
        for css in [
            ".a :is(b,c) d{e:f}",
            "a{b:calc(1px + 2px - 3px)}",
            "& + &{a:b}",
            "@supports not (color:red){a{b:c}}",
            "@media (a:b) and (c:d){e{f:g}}",
            "a{font:1em/2 b;inset:0 auto 0 0}",
            "a{color:color-mix(in srgb,var(--b) 25%,var(--c))}",
            ".a [b=c] *{d:e}",
        ] {
            assert_eq!(squeeze_css(css), css);
        }
    }

    #[test]
    fn a_comment_alone_parts_tokens_and_is_no_space() {
        assert_eq!(squeeze_css(".a/* x */.b{c:d/* y */e}"), ".a/**/.b{c:d/**/e}");
        assert_eq!(squeeze_css(".a /* x */ .b{c:d/* y */ e}"), ".a .b{c:d e}");
        assert_eq!(squeeze_css("a{b:c/* 1 */;/* 2 */}"), "a{b:c}");
    }

    #[test]
    fn strings_addresses_and_escapes_stay_as_they_are() {
        for css in [
            r#"a{b:"  /* no comment */ ; } 0.5 "}"#,
            r#"a{b:'it\'s  \\';c:d}"#,
            "a{b:url(data:x;  y/*z*/0.5)}",
            r#"a{b:url("c  d")}"#,
            r".a\: .b\, .c{d:e}",
            r"a{b:\;}",
            "a{b:“ü ”}",
        ] {
            assert_eq!(squeeze_css(css), css);
        }
    }

    #[test]
    fn zeros_before_a_decimal_point_go_where_a_number_begins() {
        assert_eq!(
            squeeze_css("a{b:0.5em -0.8em 0 10.5px calc(0.1*1.05)}"),
            "a{b:.5em -.8em 0 10.5px calc(.1*1.05)}"
        );
        for css in ["#a0.b{c:0}", r".a\:0.b0{c:0}"] {
            assert_eq!(squeeze_css(css), css);
        }
    }
}
