//! Detects languages and splits texts into words, without a model. Imports no other room.
//!
//! Docent knows a language by its stop words (`language/stop_words.txt`): the words that say nothing about the
//! subject of a question, such as "how" and "the". A language is added by a variant of [`Language`], its code,
//! its place in [`Language::ALL`] and its lines in that file; the compiler and the tests name what is missing.

use std::collections::HashSet;
use std::sync::LazyLock;

use rust_stemmers::{Algorithm, Stemmer};

/// Names the languages whose stop words Docent knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// English.
    English,
    /// German.
    German,
    /// French.
    French,
    /// Spanish.
    Spanish,
    /// Portuguese.
    Portuguese,
    /// Italian.
    Italian,
    /// Dutch.
    Dutch,
    /// Russian.
    Russian,
    /// Arabic.
    Arabic,
    /// Urdu.
    Urdu,
    /// Hindi.
    Hindi,
}

impl Language {
    /// Every language, in the order in which [`detect`] prefers them when it finds equally many stop words of
    /// several.
    pub const ALL: [Self; 11] = [
        Self::English,
        Self::German,
        Self::French,
        Self::Spanish,
        Self::Portuguese,
        Self::Italian,
        Self::Dutch,
        Self::Russian,
        Self::Arabic,
        Self::Urdu,
        Self::Hindi,
    ];

    /// Returns the code of the language (ISO 639-1), which starts its lines in `stop_words.txt`.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::French => "fr",
            Self::Spanish => "es",
            Self::Portuguese => "pt",
            Self::Italian => "it",
            Self::Dutch => "nl",
            Self::Russian => "ru",
            Self::Arabic => "ar",
            Self::Urdu => "ur",
            Self::Hindi => "hi",
        }
    }
}

/// Stop words of each language, in the order of [`Language::ALL`].
static STOP_WORDS: LazyLock<Vec<(Language, HashSet<&'static str>)>> =
    LazyLock::new(|| Language::ALL.map(|language| (language, read_stop_words(language))).into());

fn read_stop_words(language: Language) -> HashSet<&'static str> {
    let strip_code = |line: &'static str| line.strip_prefix(language.code())?.strip_prefix(' ');
    let lines = include_str!("language/stop_words.txt").lines().filter_map(strip_code);
    lines.flat_map(str::split_whitespace).collect()
}

/// Returns the language of most stop words in the text; `None` if the text has no stop word of any language.
pub fn detect(text: &str) -> Option<Language> {
    let lower = text.to_lowercase();
    let words: Vec<&str> = word_runs(&lower).collect();
    let counts = STOP_WORDS.iter().map(|(language, stop)| {
        let count = words.iter().filter(|word| stop.contains(*word)).count();
        (*language, count)
    });
    // `max_by_key` returns the last of equal counts. The order is reversed, so the first language in `ALL`
    // wins.
    let (language, count) = counts.rev().max_by_key(|(_, count)| *count)?;
    (count > 0).then_some(language)
}

/// Returns true if a word, in lower case, is a stop word of any language.
pub fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.iter().any(|(_, stop)| stop.contains(word))
}

/// Returns true if a text has at least two characters of a script without spaces between words.
pub fn is_unspaced(text: &str) -> bool {
    text.chars().filter(|c| is_unspaced_char(*c)).count() > 1
}

/// Returns true for a character of Thai, or of the wide range that holds Han, kana and Hangul.
pub fn is_unspaced_char(c: char) -> bool {
    ('\u{2e80}'..='\u{ffdc}').contains(&c) || ('\u{e00}'..='\u{e7f}').contains(&c)
}

/// Splits a text into runs of letters and digits.
pub fn word_runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty())
}

/// Returns the parts of a name in mixed case that have two characters or more: `mapStateToProps` has `map`,
/// `State`, `To`, `Props`. A word without parts has none.
pub fn name_parts(run: &str) -> impl Iterator<Item = &str> {
    let parts = split_name(run);
    let is_name = parts.len() > 1;
    parts.into_iter().filter(move |part| is_name && part.chars().nth(1).is_some())
}

/// Splits `HTTPServer2` into `HTTP`, `Server`, `2`.
fn split_name(run: &str) -> Vec<&str> {
    let chars: Vec<(usize, char)> = run.char_indices().collect();
    let mut starts = vec![0];
    for window in 1..chars.len() {
        let (before, (at, c)) = (chars[window - 1].1, chars[window]);
        let next = chars.get(window + 1).map(|(_, next)| *next);
        let rises = before.is_lowercase() && c.is_uppercase();
        let ends_capitals = before.is_uppercase() && c.is_uppercase() && next.is_some_and(char::is_lowercase);
        if rises || ends_capitals || before.is_numeric() != c.is_numeric() {
            starts.push(at);
        }
    }
    let ends = starts.iter().skip(1).copied().chain([run.len()]);
    starts.iter().zip(ends).map(|(start, end)| &run[*start..end]).collect()
}

/// Cuts a word to its stem by the rules of English; words of other languages mostly stay as they are.
pub fn stem(word: &str) -> String {
    Stemmer::create(Algorithm::English).stem(word).into_owned()
}

/// Counts the different stems of a text without its stop words, as a measure of how much the text says by
/// itself. In a script without spaces each pair of neighbouring characters counts as a word.
pub fn count_meaningful_words(text: &str) -> usize {
    let mut stems: HashSet<String> = HashSet::new();
    for run in word_runs(text) {
        if run.chars().any(is_unspaced_char) {
            stems.extend(character_pairs(run));
            continue;
        }
        let forms = std::iter::once(run).chain(name_parts(run)).map(str::to_lowercase);
        stems.extend(forms.filter(|form| !is_stop_word(form)).map(|form| stem(&form)));
    }
    stems.len()
}

/// Returns each character of a run together with the next; the last character stands alone.
fn character_pairs(run: &str) -> impl Iterator<Item = String> {
    let chars: Vec<char> = run.chars().collect();
    (0..chars.len()).map(move |at| chars[at..chars.len().min(at + 2)].iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_stop_words_and_every_line_has_a_language() {
        for (language, words) in STOP_WORDS.iter() {
            assert!(words.len() > 40, "{language:?} has {} stop words", words.len());
        }
        let codes: HashSet<&str> = Language::ALL.iter().map(|language| language.code()).collect();
        assert_eq!(codes.len(), Language::ALL.len(), "two languages have one code");
        let lines = include_str!("language/stop_words.txt").lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            let code = line.split(' ').next().unwrap();
            assert!(codes.contains(code), "no language in Language::ALL has the code of: {line}");
        }
    }

    #[test]
    fn a_language_is_detected_by_its_stop_words() {
        for (text, language) in [
            ("How do I configure it?", Language::English),
            ("Wie kann ich das machen?", Language::German),
            ("Comment puis-je le faire avec Docker ?", Language::French),
            ("¿Cómo puedo hacerlo en el servidor?", Language::Spanish),
            ("Como posso fazer isso com você?", Language::Portuguese),
            ("Come posso farlo con il server?", Language::Italian),
            ("Hoe kan ik dat met een server doen?", Language::Dutch),
            ("Как это сделать?", Language::Russian),
            ("كيف يمكنني أن أفعل ذلك؟", Language::Arabic),
            ("میں یہ کیسے کروں", Language::Urdu),
            ("मैं यह कैसे करूँ?", Language::Hindi),
        ] {
            assert_eq!(detect(text), Some(language), "{text}");
        }
        for text in ["configuration", "props.dispatch undefined", "如何配置", ""] {
            assert_eq!(detect(text), None, "{text}");
        }
    }

    #[test]
    fn english_wins_a_tie() {
        assert_eq!(detect("me"), Some(Language::English));
    }

    #[test]
    fn a_script_without_spaces_is_recognised() {
        assert!(is_unspaced("如何在 Debian 上安装") && is_unspaced("설치") && is_unspaced("ติดตั้ง"));
        assert!(!is_unspaced("install 語") && !is_unspaced("Как это сделать?"));
    }

    #[test]
    fn a_name_is_split_where_its_case_changes() {
        assert_eq!(split_name("HTTPServer2x"), ["HTTP", "Server", "2", "x"]);
        assert_eq!(name_parts("mapStateToX").collect::<Vec<_>>(), ["map", "State", "To"]);
        assert_eq!(name_parts("word").count(), 0);
    }

    #[test]
    fn only_different_words_that_carry_meaning_count() {
        for (text, count) in [
            ("why?", 0),
            ("How do I configure the configuration?", 1),
            ("and what about it", 0),
            ("mapStateToProps", 4),
            ("語", 1),
            ("配置文件", 4),
        ] {
            assert_eq!(count_meaningful_words(text), count, "{text}");
        }
    }
}
