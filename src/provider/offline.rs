//! The provider that needs no key, no network and no model: embeddings by feature hashing, and answers that quote the
//! best sentences of the passages. Deterministic: the same question on the same index gives the same answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures::StreamExt as _;

use crate::chat::{FinishReason, Passage};
use crate::provider::{Delta, DeltaStream, End, Prompt, Task};

/// Name under which an index records these embeddings; a change of the hashing changes it.
pub const MODEL: &str = "offline-hash-1";
/// Size of the embeddings Docent makes offline.
pub const DIMENSIONS: usize = 512;

/// Share of the question's weight the best passage must hold to be quoted.
const MIN_COVERAGE: f64 = 0.5;
/// Quotes in an answer.
const MAX_QUOTES: usize = 3;
/// Weight of a three-letter piece beside a whole word: enough to find `configuring` by `configuration`.
const PIECE_WEIGHT: f32 = 0.25;
/// Weight of a page's title beside its text.
const TITLE_REPEAT: f32 = 2.0;

/// Writes answers from the passages alone.
#[derive(Debug, Clone)]
pub struct Offline {
    /// Pause before each word; zero for none.
    pub token_delay: Duration,
}

impl Offline {
    /// The answer, word by word.
    pub fn generate(&self, prompt: &Prompt) -> DeltaStream {
        let answer = quote(&prompt.question, &prompt.passages);
        let answer = answer.unwrap_or_else(|| crate::provider::NOT_IN_DOCS.to_owned());
        let delay = self.token_delay;
        let stream = async_stream::stream! {
            for word in answer.split_inclusive(char::is_whitespace) {
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                yield Ok(Delta::Text(word.to_owned()));
            }
            yield Ok(Delta::End(End { finish_reason: FinishReason::Stop, model: None, usage: None }));
        };
        stream.boxed()
    }
}

/// Hashes words and their three-letter pieces into `dimensions` buckets, signed so that collisions cancel out.
pub fn embed(text: &str, task: Task<'_>, dimensions: usize) -> Vec<f32> {
    let mut weights: BTreeMap<String, f32> = BTreeMap::new();
    let mut add = |text: &str, weight: f32| {
        for word in words(text) {
            for piece in pieces(&word) {
                *weights.entry(piece).or_default() += weight * PIECE_WEIGHT;
            }
            *weights.entry(word).or_default() += weight;
        }
    };
    add(text, 1.0);
    if let Task::Document { title } = task {
        add(title, TITLE_REPEAT);
    }
    let mut vector = vec![0.0; dimensions];
    for (feature, weight) in weights {
        let hash = fnv1a(&feature);
        let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
        if let Some(bucket) =
            usize::try_from(hash % dimensions.max(1) as u64).ok().and_then(|i| vector.get_mut(i))
        {
            *bucket += sign * (1.0 + weight).ln();
        }
    }
    if vector.iter().all(|value| *value == 0.0) {
        // A text without words still needs a direction; it then resembles nothing in particular.
        vector.fill(1.0);
    }
    vector
}

/// Quotes and cites the sentences that answer `question` best; `None` when no passage is about it.
fn quote(question: &str, passages: &[Passage]) -> Option<String> {
    let asked: BTreeSet<String> = words(question).into_iter().collect();
    let weights = weights(&asked, passages);
    let total: f64 = weights.values().sum();
    let found = |text: &str| -> f64 {
        let words: BTreeSet<String> = words(text).into_iter().collect();
        weights.iter().filter(|(word, _)| words.contains(*word)).map(|(_, weight)| weight).sum()
    };
    let mut quotes = Vec::new();
    for (rank, passage) in passages.iter().enumerate() {
        let heading = heading(passage);
        if total == 0.0 || found(&format!("{heading} {}", passage.text)) / total < MIN_COVERAGE {
            continue;
        }
        let context = found(&heading) / 2.0;
        let likeness = likeness(question, passage) * total;
        for (position, unit) in units(&passage.text).into_iter().enumerate() {
            // Earlier passages rank higher, and so do the first sentences under a heading.
            let discount = 1.0 / (1.0 + 0.15 * rank as f64 + 0.05 * position as f64);
            let score = (found(&unit.sentence) + context) * discount + likeness;
            quotes.push((score, rank, position, unit));
        }
    }
    quotes.sort_by(|a, b| b.0.total_cmp(&a.0));
    let best = quotes.first()?.0;
    quotes.retain(|(score, ..)| *score >= best / 2.0);
    quotes.truncate(MAX_QUOTES);
    quotes.sort_by_key(|(_, rank, position, _)| (*rank, *position));
    let quoted: Vec<String> = quotes.into_iter().map(|(_, rank, _, unit)| unit.quoted(rank + 1)).collect();
    Some(quoted.join("\n\n"))
}

/// How much the question is the passage's heading in other order: "What is X?" and the page "What X is". Here every
/// word counts, so that a question whose words are all common still finds its page.
fn likeness(question: &str, passage: &Passage) -> f64 {
    let heading = passage.section.as_deref().unwrap_or(&passage.title);
    let all = |text: &str| -> BTreeSet<String> { runs(&text.to_lowercase()).map(str::to_owned).collect() };
    let (question, heading) = (all(question), all(heading));
    let shared = question.intersection(&heading).count() as f64;
    let likeness = shared / question.union(&heading).count().max(1) as f64;
    // Squared, so that "What X is not" stays behind "What X is".
    if likeness > 0.5 { 2.0 * likeness * likeness } else { 0.0 }
}

/// What a passage stands under.
fn heading(passage: &Passage) -> String {
    format!("{} {}", passage.title, passage.section.as_deref().unwrap_or_default())
}

/// How much each word of the question says: the rarer among the passages, the more; one that none has says most.
fn weights(asked: &BTreeSet<String>, passages: &[Passage]) -> HashMap<String, f64> {
    let whole =
        |passage: &Passage| words(&format!("{} {}", heading(passage), passage.text)).into_iter().collect();
    let texts: Vec<BTreeSet<String>> = passages.iter().map(whole).collect();
    let weight = |word: &String| {
        let holders = texts.iter().filter(|text| text.contains(word)).count();
        1.0 + ((texts.len() as f64 + 1.0) / (holders as f64 + 1.0)).ln()
    };
    asked.iter().map(|word| (word.clone(), weight(word))).collect()
}

/// A sentence, and the code block that follows it.
#[derive(Debug, PartialEq, Eq)]
struct Unit {
    sentence: String,
    code: Option<String>,
}

impl Unit {
    fn quoted(&self, number: usize) -> String {
        let lead = format!("“{}” [{number}]", self.sentence);
        match &self.code {
            Some(code) => format!("{lead}\n\n{code}"),
            None => lead,
        }
    }
}

/// The sentences of a Markdown passage, without headings and tables; code goes with the sentence before it.
fn units(text: &str) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    let mut prose = String::new();
    let mut code: Option<String> = None;
    let flush = |prose: &mut String, units: &mut Vec<Unit>| {
        units.extend(sentences(prose).into_iter().map(|sentence| Unit { sentence, code: None }));
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
fn sentences(prose: &str) -> Vec<String> {
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

/// The runs of letters and digits in a text.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty())
}

/// The words of a text that carry meaning, in lower case and cut to their stems. Scripts without spaces give pairs
/// of characters.
fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let mut words = Vec::new();
    for run in runs(&lower) {
        if run.chars().any(|c| ('\u{2e80}'..='\u{ffdc}').contains(&c)) {
            let chars: Vec<char> = run.chars().collect();
            words.extend(chars.windows(2.min(chars.len())).map(|pair| pair.iter().collect::<String>()));
        } else if !STOP_WORDS.contains(&run) {
            words.push(stem(run).to_owned());
        }
    }
    words
}

/// Cuts the commonest English endings, the same way on both sides of a comparison.
fn stem(word: &str) -> &str {
    for ending in ["ations", "ation", "ings", "ing", "ies", "ied", "ers", "er", "ed", "es", "s", "e", "y"] {
        if let Some(stem) = word.strip_suffix(ending).filter(|stem| stem.len() >= 3) {
            return without_double(stem);
        }
    }
    word
}

/// `logg`, left of `logged`, becomes the `log` of `logs`.
fn without_double(stem: &str) -> &str {
    match stem.as_bytes() {
        [_, _, .., a, b] if a == b && a.is_ascii_alphabetic() => &stem[..stem.len() - 1],
        _ => stem,
    }
}

/// The three-letter pieces of a word.
fn pieces(word: &str) -> Vec<String> {
    let chars: Vec<char> = format!("^{word}$").chars().collect();
    chars.windows(3).map(|piece| piece.iter().collect()).collect()
}

/// FNV-1a, 64 bits: <http://www.isthe.com/chongo/tech/comp/fnv/>.
fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// English words that say nothing about what is asked.
const STOP_WORDS: &[&str] = &[
    "a", "about", "all", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can", "could",
    "did", "do", "does", "for", "from", "get", "give", "had", "happen", "happens", "has", "have", "how", "i",
    "if", "in", "into", "is", "it", "its", "may", "me", "mean", "means", "my", "no", "not", "of", "on", "or",
    "our", "please", "s", "should", "so", "some", "t", "tell", "than", "that", "the", "their", "them", "then",
    "there", "these", "they", "this", "to", "up", "us", "was", "we", "were", "what", "when", "where", "which",
    "who", "why", "will", "with", "would", "you", "your",
];

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

    fn similarity(a: &[f32], b: &[f32]) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    #[test]
    fn a_question_resembles_a_passage_about_it_more_than_another() {
        let question = embed("How do I configure the port?", Task::Query, DIMENSIONS);
        let about = embed(
            "PORT is the configured port to listen on.",
            Task::Document { title: "Settings" },
            DIMENSIONS,
        );
        let other = embed("Every failure carries a code.", Task::Document { title: "Errors" }, DIMENSIONS);
        assert!(similarity(&question, &about) > similarity(&question, &other) + 0.1);
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
        let answer = quote("How do I install Docent with cargo?", &passages).unwrap();
        assert!(
            answer.contains("“Install it with cargo:” [2]\n\n```sh\ncargo install docent\n```"),
            "{answer}"
        );
        assert!(!answer.contains("failure"), "{answer}");
    }

    #[test]
    fn a_question_the_passages_do_not_answer_is_not_answered() {
        let passages = [passage("Install", "Docent is one binary. Install it with cargo.")];
        assert_eq!(quote("What is the capital of France?", &passages), None);
        assert_eq!(quote("???", &passages), None);
    }

    #[test]
    fn a_text_without_words_still_has_a_direction() {
        assert!(embed("???", Task::Query, 8).iter().any(|value| *value != 0.0));
    }
}
