//! Embeds and answers without a key, a network and a model: sparse embeddings of words, concepts and word
//! pieces, and answers that quote the best sentences of the passages. The answers are deterministic: one
//! question on one index always gets the same answer.

mod embedding;
mod words;

use std::collections::HashSet;
use std::time::Duration;

use futures::StreamExt as _;

use crate::chat::{FinishReason, Passage};
use crate::provider::types::{Delta, DeltaStream, Finish, NOT_IN_DOCS, NOT_IN_DOCS_SENTENCE, Prompt};

use words::{Word, is_english, read_words};

pub use embedding::embed;

/// Share of the question's weight that a passage must hold to be quoted.
const MIN_COVERAGE: f64 = 0.45;
/// Share that is enough for a question in another language than English: the thesaurus has only the commonest
/// words of that language.
const MIN_FOREIGN_COVERAGE: f64 = 0.2;
/// Most quotes in an answer.
const MAX_QUOTES: usize = 3;
/// Most pages that an answer names if no passage is quoted.
const MAX_CLOSEST_PAGES: usize = 3;
/// Share of a word's weight that counts if the passage has another word for the same thing.
const CONCEPT_MATCH: f64 = 0.8;
/// Share of a word's weight that counts if the passage has a word that differs by a typing error.
const TYPO_MATCH: f64 = 0.8;
/// Least number of letters of a word in which one typing error is allowed, and of a word in which two are
/// allowed.
const TYPO_LETTERS: (usize, usize) = (4, 8);

/// Writes answers from the passages, without a model.
#[derive(Debug, Clone)]
pub struct Offline {
    /// Pause before each word; zero for none.
    pub token_delay: Duration,
}

impl Offline {
    /// Streams the answer, word by word.
    pub fn generate(&self, prompt: &Prompt) -> DeltaStream {
        let answer =
            quote_best(&prompt.question, &prompt.passages).unwrap_or_else(|| name_closest(&prompt.passages));
        let delay = self.token_delay;
        let stream = async_stream::stream! {
            for word in answer.split_inclusive(char::is_whitespace) {
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                yield Ok(Delta::Text(word.to_owned()));
            }
            yield Ok(Delta::Finish(Finish { finish_reason: FinishReason::Stop, model: None, usage: None }));
        };
        stream.boxed()
    }
}

/// Writes the answer to a question that the passages do not answer: the names of the closest pages.
fn name_closest(passages: &[Passage]) -> String {
    let mut named: Vec<&str> = Vec::new();
    let mut pages = Vec::new();
    for (number, passage) in (1..).zip(passages) {
        if pages.len() < MAX_CLOSEST_PAGES && !named.contains(&passage.title.as_str()) {
            named.push(&passage.title);
            pages.push(format!("{} [{number}]", passage.title));
        }
    }
    format!("{NOT_IN_DOCS} {NOT_IN_DOCS_SENTENCE} The closest pages: {}.", pages.join(", "))
}

/// Indexes the words of a text, for lookups by stem, concept and form.
struct WordIndex {
    stems: HashSet<String>,
    concepts: HashSet<u16>,
    forms: HashSet<String>,
}

impl WordIndex {
    fn new(text: &str) -> Self {
        let words = read_words(text);
        Self {
            concepts: words.iter().flat_map(|word| word.concepts.iter().copied()).collect(),
            stems: words.iter().map(|word| word.stem.clone()).collect(),
            forms: words.into_iter().map(|word| word.form).collect(),
        }
    }

    /// Rates from 0 to 1 how surely the text contains the word, another word for the same thing, or the word
    /// with a typing error.
    fn match_word(&self, word: &Word) -> f64 {
        let in_other_words = word.concepts.iter().any(|concept| self.concepts.contains(concept));
        self.match_form(word).max(if in_other_words { CONCEPT_MATCH } else { 0.0 })
    }

    /// Rates from 0 to 1 how surely the text contains the word itself, also with a typing error; another word
    /// for the same thing does not count.
    fn match_form(&self, word: &Word) -> f64 {
        if self.stems.contains(&word.stem) {
            return 1.0;
        }
        let errors = match word.form.chars().count() {
            letters if letters < TYPO_LETTERS.0 => return 0.0,
            letters if letters < TYPO_LETTERS.1 => 1,
            _ => 2,
        };
        let close = |form: &String| {
            // In a word of four letters a different letter makes another word (`port` and `part`), so only
            // swapped letters count as a typing error.
            let are_both_short =
                form.chars().count() == TYPO_LETTERS.0 && word.form.chars().count() == TYPO_LETTERS.0;
            let same_letters = || {
                let sorted = |text: &str| {
                    let mut letters: Vec<char> = text.chars().collect();
                    letters.sort_unstable();
                    letters
                };
                sorted(form) == sorted(&word.form)
            };
            form.len().abs_diff(word.form.len()) <= errors
                && strsim::osa_distance(form, &word.form) <= errors
                && (!are_both_short || same_letters())
        };
        if self.forms.iter().chain(&self.stems).any(close) { TYPO_MATCH } else { 0.0 }
    }
}

/// Quotes and cites the sentences that answer `question` best; `None` if no passage answers the question.
fn quote_best(question: &str, passages: &[Passage]) -> Option<String> {
    let texts: Vec<WordIndex> =
        passages.iter().map(|passage| WordIndex::new(&text_with_headings(passage))).collect();
    let question_words = weigh_words(question, &texts);
    let is_english = is_english(question);
    // A name that no passage contains is the name of another product.
    let is_unknown_name = |word: &Word| word.is_name && texts.iter().all(|text| text.match_form(word) == 0.0);
    if is_english && question_words.iter().any(|(word, _)| is_unknown_name(word)) {
        return None;
    }
    let min_coverage = if is_english { MIN_COVERAGE } else { MIN_FOREIGN_COVERAGE };
    let total: f64 = question_words.iter().map(|(_, weight)| weight).sum();
    let matched_weight = |text: &WordIndex| -> f64 {
        question_words.iter().map(|(word, weight)| weight * text.match_word(word)).sum()
    };
    let mut quotes = Vec::new();
    for (rank, (passage, text)) in passages.iter().zip(&texts).enumerate() {
        // Concepts alone do not make a passage an answer: "minimum" and "quota" share one, and mean different
        // things.
        let is_named = !is_english || question_words.iter().any(|(word, _)| text.match_form(word) > 0.0);
        if total == 0.0 || !is_named || matched_weight(text) / total < min_coverage {
            continue;
        }
        let context = matched_weight(&WordIndex::new(&join_headings(passage))) / 2.0;
        let likeness = rate_heading(question, passage) * total;
        for (position, unit) in split_units(&passage.text).into_iter().enumerate() {
            // Earlier passages rank higher, and so do the first sentences of a passage.
            let discount = 1.0 / (1.0 + 0.15 * rank as f64 + 0.05 * position as f64);
            let score = (matched_weight(&WordIndex::new(&unit.sentence)) + context) * discount + likeness;
            quotes.push((score, rank, position, unit));
        }
    }
    quotes.sort_by(|a, b| b.0.total_cmp(&a.0));
    let best = quotes.first()?.0;
    quotes.retain(|(score, ..)| *score >= best / 2.0);
    quotes.truncate(MAX_QUOTES);
    quotes.sort_by_key(|(_, rank, position, _)| (*rank, *position));
    let quoted: Vec<String> = quotes.into_iter().map(|(_, rank, _, unit)| unit.quote(rank + 1)).collect();
    Some(quoted.join("\n\n"))
}

/// Rates the likeness of the question and the heading right above the passage: "What is X?" is like the section
/// "X", and like the page "What X is". In the second case stop words count too, so that a question of stop
/// words alone still finds its page.
fn rate_heading(question: &str, passage: &Passage) -> f64 {
    let heading =
        passage.section.as_deref().and_then(|path| path.rsplit(" › ").next()).unwrap_or(&passage.title);
    let forms =
        |text: &str| -> HashSet<String> { read_words(text).into_iter().map(|word| word.form).collect() };
    let named = forms(heading);
    if !named.is_empty() && named == forms(question) {
        return 2.0;
    }
    let all = |text: &str| -> HashSet<String> {
        let lower = text.to_lowercase();
        let runs = lower.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty());
        runs.map(str::to_owned).collect()
    };
    let (question, heading) = (all(question), all(heading));
    let shared = question.intersection(&heading).count() as f64;
    let likeness = shared / question.union(&heading).count().max(1) as f64;
    // The square puts "What X is not" behind "What X is".
    if likeness > 0.5 { 2.0 * likeness * likeness } else { 0.0 }
}

/// Joins the title and the section of a passage.
fn join_headings(passage: &Passage) -> String {
    format!("{} {}", passage.title, passage.section.as_deref().unwrap_or_default())
}

fn text_with_headings(passage: &Passage) -> String {
    format!("{} {}", join_headings(passage), passage.text)
}

/// Weighs the words of the question: the fewer passages contain a word, the more the word weighs.
fn weigh_words(question: &str, texts: &[WordIndex]) -> Vec<(Word, f64)> {
    let mut words: Vec<Word> = Vec::new();
    for word in read_words(question) {
        match words.iter_mut().find(|other| other.stem == word.stem) {
            Some(other) => other.is_name |= word.is_name,
            None => words.push(word),
        }
    }
    let weighed = words.into_iter().map(|word| {
        let holders: f64 = texts.iter().map(|text| text.match_word(&word)).sum();
        let weight = 1.0 + ((texts.len() as f64 + 1.0) / (holders + 1.0)).ln();
        (word, weight)
    });
    weighed.collect()
}

/// Holds a sentence, and the code block that follows it.
struct Unit {
    sentence: String,
    code: Option<String>,
}

impl Unit {
    fn quote(&self, number: usize) -> String {
        let lead = format!("“{}” [{number}]", self.sentence);
        match &self.code {
            Some(code) => format!("{lead}\n\n{code}"),
            None => lead,
        }
    }
}

/// Returns the sentences of a Markdown passage, without headings and tables; a code block belongs to the
/// sentence before it.
fn split_units(text: &str) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    let mut prose = String::new();
    let mut code: Option<String> = None;
    let flush = |prose: &mut String, units: &mut Vec<Unit>| {
        units.extend(split_sentences(prose).into_iter().map(|sentence| Unit { sentence, code: None }));
        prose.clear();
    };
    for line in text.lines() {
        let trimmed = line.trim();
        let fence = trimmed.starts_with("```");
        match &mut code {
            Some(block) => {
                block.push('\n');
                block.push_str(line);
                if fence {
                    let block = code.take();
                    if let Some(unit) = units.last_mut().filter(|unit| unit.code.is_none()) {
                        unit.code = block;
                    }
                }
            }
            None if fence => {
                flush(&mut prose, &mut units);
                code = Some(line.to_owned());
            }
            None if trimmed.is_empty() || trimmed.starts_with(['#', '|']) => flush(&mut prose, &mut units),
            None => {
                let item = ["- ", "* ", "> "].iter().find_map(|marker| trimmed.strip_prefix(marker));
                if item.is_some() {
                    flush(&mut prose, &mut units);
                }
                prose.push_str(item.unwrap_or(trimmed));
                prose.push(' ');
            }
        }
    }
    flush(&mut prose, &mut units);
    units
}

/// Splits prose after `.`, `!` or `?` before white space, and after their East Asian forms; never inside code.
fn split_sentences(prose: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut current = String::new();
    let mut chars = prose.chars().peekable();
    let mut in_code = false;
    while let Some(c) = chars.next() {
        current.push(c);
        in_code ^= c == '`';
        let before_space = chars.peek().is_none_or(|next| next.is_whitespace());
        let abbreviation = current.ends_with("e.g.") || current.ends_with("i.e.");
        let full_stop = matches!(c, '.' | '!' | '?') && before_space && !abbreviation;
        if !in_code && (full_stop || matches!(c, '。' | '！' | '？')) {
            sentences.push(std::mem::take(&mut current));
        }
    }
    sentences.push(current);
    let trimmed = sentences.iter().map(|sentence| sentence.trim());
    trimmed.filter(|sentence| sentence.chars().any(char::is_alphanumeric)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(title: &str, text: &str) -> Passage {
        Passage {
            title: title.to_owned(),
            section: None,
            url: String::new(),
            text: text.to_owned(),
            score: 1.0,
        }
    }

    #[test]
    fn the_best_sentence_is_quoted_with_its_number_and_its_code() {
        let passages = [
            passage("Errors", "Every failure carries a code."),
            passage(
                "Install",
                "Docent is one binary. Install it with cargo:\n\n```sh\ncargo install docent\n```\n",
            ),
        ];
        let answer = quote_best("How do I install Docent with cargo?", &passages).unwrap();
        assert!(
            answer.contains("“Install it with cargo:” [2]\n\n```sh\ncargo install docent\n```"),
            "{answer}"
        );
        assert!(!answer.contains("failure"), "{answer}");
    }

    #[test]
    fn a_question_the_passages_do_not_answer_is_not_answered() {
        let passages = [passage("Install", "Docent is one binary. Install it with cargo.")];
        assert_eq!(quote_best("What is the capital of France?", &passages), None);
        assert_eq!(quote_best("???", &passages), None);
    }

    #[test]
    fn a_question_in_other_words_with_errors_or_in_another_language_is_answered() {
        let passages = [
            passage("Errors", "Every failure carries a code."),
            passage("Files", "Deleting a file needs a confirmation."),
        ];
        for question in ["How can I erase a file?", "how to delte a file", "Wie lösche ich eine Datei?"] {
            assert!(quote_best(question, &passages).is_some_and(|answer| answer.contains("[2]")), "{question}");
        }
    }

    #[test]
    fn the_section_of_the_very_name_is_quoted_before_another_that_says_the_word() {
        let under = |section: &str, text: &str| Passage {
            section: Some(section.to_owned()),
            ..passage("Glossary", text)
        };
        let passages = [
            under("Links › Stores", "Articles about a store and its stores."),
            under("Terms › Store", "A store holds the state."),
        ];
        let answer = quote_best("What is a store?", &passages).unwrap();
        assert!(answer.contains("“A store holds the state.” [2]") && !answer.contains("Articles"), "{answer}");
    }

    #[test]
    fn a_question_about_another_product_is_not_answered() {
        let passages = [passage("Modules", "A module has a name and may be nested in another module.")];
        assert!(quote_best("How do I nest a module?", &passages).is_some());
        assert_eq!(quote_best("How do I nest a module in Vuex?", &passages), None);
    }

    #[test]
    fn the_closest_pages_are_named_once_if_no_passage_answers() {
        let passages = [passage("Install", "a"), passage("Install", "b"), passage("Errors", "c")];
        let answer = name_closest(&passages);
        assert!(
            answer.starts_with(NOT_IN_DOCS) && answer.ends_with("pages: Install [1], Errors [3]."),
            "{answer}"
        );
    }
}
