//! What a text is about, without a model: its words cut to their stems, the concepts they stand for, and their pieces.
//!
//! Concepts come from a hand-written thesaurus of the words of software documentation in sixteen languages
//! (`lexicon.txt`), so that "erase" finds "Deleting", and a question in German a page in English. Pieces of four letters
//! find a word in spite of a typing error.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use rust_stemmers::{Algorithm, Stemmer};

/// Letters of a piece.
const PIECE: usize = 4;
/// Longest word of the thesaurus in a script that has no spaces between words.
const MAX_UNSPACED: usize = 8;

/// Words that say nothing, by language; the first is English.
static STOP_WORDS: LazyLock<Vec<HashSet<&'static str>>> = LazyLock::new(|| {
    let lines = include_str!("stop_words.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().collect()).collect()
});

/// The concepts of each word, as lines of the thesaurus; English words also by their stems.
static CONCEPTS: LazyLock<HashMap<String, Vec<u16>>> = LazyLock::new(|| {
    let mut concepts: HashMap<String, Vec<u16>> = HashMap::new();
    let lines = include_str!("lexicon.txt").lines().filter(|line| !line.starts_with('#'));
    for (concept, line) in (0..).zip(lines) {
        for word in line.split_whitespace() {
            for form in [word.to_owned(), stem(word)] {
                let known = concepts.entry(form).or_default();
                if !known.contains(&concept) {
                    known.push(concept);
                }
            }
        }
    }
    concepts
});

/// One word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// As it is written, in lower case.
    pub form: String,
    /// Whether it is written as a name: with a capital in English prose, but not at the beginning.
    pub is_name: bool,
    /// Its stem.
    pub stem: String,
    /// The concepts it stands for.
    pub concepts: Vec<u16>,
    /// Its pieces; none for a word of one or two letters.
    pub pieces: Vec<String>,
}

/// The words of a text that carry meaning. A name in several cases (`mapStateToProps`) is a word and its parts.
pub fn words(text: &str) -> Vec<Word> {
    let runs = text.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty());
    let runs: Vec<&str> = runs.collect();
    let capitals =
        runs.iter().skip(1).filter(|run| **run != "I" && run.starts_with(char::is_uppercase)).count();
    // In a title every word has one.
    let is_prose = capitals <= 2 || 2 * capitals <= runs.len();
    let mut words = Vec::new();
    for (place, run) in runs.into_iter().enumerate() {
        if run.chars().any(has_no_spaces) {
            words.extend(unspaced(run));
            continue;
        }
        let parts = parts(run);
        let parts = parts.iter().copied().filter(|part| parts.len() > 1 && part.chars().nth(1).is_some());
        let is_name = is_prose && place > 0 && run.starts_with(char::is_uppercase);
        let whole = word(run).map(|word| Word { is_name, ..word });
        words.extend(whole.into_iter().chain(parts.filter_map(word)));
    }
    words
}

/// The language of a text by its common words: its line in `stop_words.txt`, 0 for English and where nothing tells.
pub fn language(text: &str) -> usize {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).collect();
    let count = |stop: &HashSet<&str>| words.iter().filter(|word| stop.contains(*word)).count();
    let counts = STOP_WORDS.iter().map(count).enumerate();
    // The first of the largest: English wins a tie.
    counts.rev().max_by_key(|(_, count)| *count).map_or(0, |(language, _)| language)
}

/// Whether a text is in a script that has no spaces between words.
pub fn is_unspaced(text: &str) -> bool {
    text.chars().filter(|c| has_no_spaces(*c)).count() > 1
}

/// Whether a text is in English rather than in another language that can be told.
pub fn is_english(text: &str) -> bool {
    !is_unspaced(text) && language(text) == 0
}

/// The word, unless it says nothing.
fn word(run: &str) -> Option<Word> {
    let lower = run.to_lowercase();
    if STOP_WORDS.iter().any(|stop| stop.contains(lower.as_str())) {
        return None;
    }
    let stem = stem(&lower);
    // The Arabic article is written as part of its word.
    let forms = [lower.as_str(), &stem, lower.strip_prefix("ال").unwrap_or(&lower)];
    let concepts = forms.iter().find_map(|form| CONCEPTS.get(*form)).cloned().unwrap_or_default();
    Some(Word { pieces: pieces(&lower), form: lower, is_name: false, stem, concepts })
}

/// Text in a script without spaces: the words that the thesaurus knows, and pairs of characters.
fn unspaced(run: &str) -> Vec<Word> {
    let chars: Vec<char> = run.chars().collect();
    let mut words = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let lengths = (2..=MAX_UNSPACED.min(chars.len() - at)).rev();
        let found = lengths.map(|length| chars[at..at + length].iter().collect::<String>());
        let known =
            found.into_iter().find_map(|word| Some((word.chars().count(), CONCEPTS.get(&word)?.clone())));
        let (length, concepts) = known.unwrap_or((1, Vec::new()));
        let pair: String = chars[at..chars.len().min(at + length.max(2))].iter().collect();
        words.push(Word { form: pair.clone(), is_name: false, stem: pair, concepts, pieces: Vec::new() });
        at += length;
    }
    words
}

/// Han, kana and Hangul, Thai.
fn has_no_spaces(c: char) -> bool {
    ('\u{2e80}'..='\u{ffdc}').contains(&c) || ('\u{e00}'..='\u{e7f}').contains(&c)
}

/// `mapStateToProps` → `map`, `State`, `To`, `Props`; `HTTPServer2` → `HTTP`, `Server`, `2`.
fn parts(run: &str) -> Vec<&str> {
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

fn stem(word: &str) -> String {
    Stemmer::create(Algorithm::English).stem(word).into_owned()
}

/// The pieces of a word in lower case, with its ends marked.
fn pieces(word: &str) -> Vec<String> {
    if word.chars().nth(2).is_none() {
        return Vec::new();
    }
    let chars: Vec<char> = format!("^{word}$").chars().collect();
    chars.windows(PIECE).map(|piece| piece.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stems(text: &str) -> Vec<String> {
        words(text).into_iter().map(|word| word.stem).collect()
    }

    #[test]
    fn words_are_stems_without_those_that_say_nothing() {
        assert_eq!(stems("How do I configure the allowed_origins?"), ["configur", "allow", "origin"]);
        assert_eq!(stems("Wie kann ich das konfigurieren"), ["konfigurieren"]);
        assert_eq!(stems("mapStateToProps"), ["mapstatetoprop", "map", "state", "prop"]);
        assert_eq!(parts("HTTPServer2x"), ["HTTP", "Server", "2", "x"]);
    }

    #[test]
    fn english_is_told_from_other_languages() {
        for text in ["How do I configure it?", "configuration", "props.dispatch is undefined"] {
            assert!(is_english(text), "{text}");
        }
        for text in [
            "Wie kann ich das machen?",
            "¿Cómo puedo hacerlo?",
            "میں یہ کیسے کروں",
            "如何配置",
            "Как это сделать?",
        ] {
            assert!(!is_english(text), "{text}");
        }
    }

    #[test]
    fn words_for_the_same_thing_share_a_concept() {
        let concepts =
            |text: &str| -> HashSet<u16> { words(text).into_iter().flat_map(|word| word.concepts).collect() };
        let delete = concepts("Deleting");
        for other in ["erase", "löschen", "supprimer", "eliminar", "删除", "削除する", "حذف", "हटाना"]
        {
            assert!(!delete.is_disjoint(&concepts(other)), "{other}");
        }
        assert!(delete.is_disjoint(&concepts("create")));
    }

    #[test]
    fn a_word_with_a_typing_error_keeps_most_of_its_pieces() {
        let right: HashSet<String> = pieces("configuration").into_iter().collect();
        let wrong = pieces("configuartion");
        assert!(wrong.iter().filter(|piece| right.contains(*piece)).count() * 2 > wrong.len());
        assert!(pieces("ab").is_empty());
    }

    #[test]
    fn the_thesaurus_holds_no_word_more_than_twice() {
        let mut lines: HashMap<&str, usize> = HashMap::new();
        let text = include_str!("lexicon.txt");
        for word in text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace) {
            *lines.entry(word).or_default() += 1;
        }
        let often: Vec<_> = lines.iter().filter(|(_, count)| **count > 2).collect();
        assert!(lines.len() > 10_000 && often.is_empty(), "{often:?}");
    }
}
