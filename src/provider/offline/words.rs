//! Reads the words of a text without a model: their stems, their concepts, and their pieces.
//!
//! Concepts come from a hand-written thesaurus of the words of software documentation in sixteen languages
//! (`lexicon.txt`), so that "erase" finds "Deleting", and a question in German finds a page in English. Pieces
//! of four letters find a word in spite of a typing error.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::language::{
    self, Language, is_stop_word, is_unspaced, is_unspaced_char, name_parts, stem, word_runs,
};

/// Letters of a piece.
const PIECE_LETTERS: usize = 4;
/// Characters of the longest word that is looked up in the thesaurus in a script without spaces.
const MAX_UNSPACED_CHARS: usize = 8;

/// Concepts of each word, as the numbers of their lines in the thesaurus; English words also by their stems.
static CONCEPTS: LazyLock<HashMap<String, Vec<u16>>> = LazyLock::new(|| {
    let mut concepts: HashMap<String, Vec<u16>> = HashMap::new();
    let lines = include_str!("lexicon.txt").lines().filter(|line| !line.starts_with('#'));
    for (concept, line) in (0..).zip(lines) {
        for word in line.split_whitespace() {
            for form in [word.to_owned(), stem(word)] {
                let numbers = concepts.entry(form).or_default();
                if !numbers.contains(&concept) {
                    numbers.push(concept);
                }
            }
        }
    }
    concepts
});

/// Describes one word of a text. Has no `Debug`: a log must not show what readers ask.
#[derive(Clone)]
pub(super) struct Word {
    /// Spelling of the word as it is written, in lower case.
    pub(super) form: String,
    /// True for a word that looks like a name in English prose: it has a capital and is not the first word.
    pub(super) is_name: bool,
    /// Stem of the word, without its ending.
    pub(super) stem: String,
    /// Concepts of the word.
    pub(super) concepts: Vec<u16>,
    /// Pieces of the word; none for a word of one or two letters, or in a script without spaces.
    pub(super) pieces: Vec<String>,
}

/// Reads the words of a text that are no stop words. A name in mixed case (`mapStateToProps`) counts as one
/// word and as its parts.
pub(super) fn read_words(text: &str) -> Vec<Word> {
    let runs: Vec<&str> = word_runs(text).collect();
    let capitals =
        runs.iter().skip(1).filter(|run| **run != "I" && run.starts_with(char::is_uppercase)).count();
    // In a title every word has a capital.
    let is_prose = capitals <= 2 || 2 * capitals <= runs.len();
    let mut words = Vec::new();
    for (place, run) in runs.into_iter().enumerate() {
        if run.chars().any(is_unspaced_char) {
            words.extend(read_unspaced(run));
            continue;
        }
        let is_name = is_prose && place > 0 && run.starts_with(char::is_uppercase);
        let whole = read_word(run).map(|word| Word { is_name, ..word });
        words.extend(whole.into_iter().chain(name_parts(run).filter_map(read_word)));
    }
    words
}

/// Returns true if the text is English or its language cannot be detected; false in a script without spaces.
pub(super) fn is_english(text: &str) -> bool {
    !is_unspaced(text) && language::detect(text).is_none_or(|language| language == Language::English)
}

/// Reads one word; `None` for a stop word.
fn read_word(run: &str) -> Option<Word> {
    let lower = run.to_lowercase();
    if is_stop_word(&lower) {
        return None;
    }
    let stem = stem(&lower);
    // The Arabic article is written as part of its word.
    let forms = [lower.as_str(), &stem, lower.strip_prefix("ال").unwrap_or(&lower)];
    let concepts = forms.iter().find_map(|form| CONCEPTS.get(*form)).cloned().unwrap_or_default();
    Some(Word { pieces: split_pieces(&lower), form: lower, is_name: false, stem, concepts })
}

/// Reads a run in a script without spaces: words of the thesaurus, and pairs of characters elsewhere.
fn read_unspaced(run: &str) -> Vec<Word> {
    let chars: Vec<char> = run.chars().collect();
    let mut words = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let lengths = (2..=MAX_UNSPACED_CHARS.min(chars.len() - at)).rev();
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

/// Splits a word in lower case, with a mark at each end, into overlapping pieces.
fn split_pieces(word: &str) -> Vec<String> {
    if word.chars().nth(2).is_none() {
        return Vec::new();
    }
    let chars: Vec<char> = format!("^{word}$").chars().collect();
    chars.windows(PIECE_LETTERS).map(|piece| piece.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn stems(text: &str) -> Vec<String> {
        read_words(text).into_iter().map(|word| word.stem).collect()
    }

    #[test]
    fn words_are_stems_without_stop_words() {
        assert_eq!(stems("How do I configure the allowed_origins?"), ["configur", "allow", "origin"]);
        assert_eq!(stems("Wie kann ich das konfigurieren"), ["konfigurieren"]);
        assert_eq!(stems("mapStateToProps"), ["mapstatetoprop", "map", "state", "prop"]);
    }

    #[test]
    fn english_is_distinguished_from_other_languages() {
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
        let concepts = |text: &str| -> HashSet<u16> {
            read_words(text).into_iter().flat_map(|word| word.concepts).collect()
        };
        let delete = concepts("Deleting");
        for other in ["erase", "löschen", "supprimer", "eliminar", "删除", "削除する", "حذف", "हटाना"]
        {
            assert!(!delete.is_disjoint(&concepts(other)), "{other}");
        }
        assert!(delete.is_disjoint(&concepts("create")));
    }

    #[test]
    fn a_word_with_a_typing_error_keeps_most_of_its_pieces() {
        let right: HashSet<String> = split_pieces("configuration").into_iter().collect();
        let wrong = split_pieces("configuartion");
        assert!(wrong.iter().filter(|piece| right.contains(*piece)).count() * 2 > wrong.len());
        assert!(split_pieces("ab").is_empty());
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
