//! What a question is retrieved for: itself, the text the reader marked, and, where it cannot be understood alone, what was
//! asked before. No model is asked for that. No I/O.
//!
//! A question depends on the conversation when it points at something it does not name ("how do I test that?"), goes on
//! from it ("and on Windows?"), or says nothing by itself ("why?"). An independent one must not be pulled towards what was
//! talked about before, so history counts only then, and a pointer only while the question says little itself.

use crate::chat::{Message, Question, Role};
use crate::provider::offline;
use crate::text::clip;

/// Words of its own up to which a question that points at something depends on it.
const POINTING_WORDS: usize = 4;
/// Words of its own up to which a question that goes on from something depends on it.
const GOING_ON_WORDS: usize = 2;
/// Questions of the reader that are looked back on.
const MAX_BACK: usize = 3;
/// Characters of each that count: the question itself must not be crowded out.
const MAX_BACK_CHARS: usize = 300;

/// What a language says when it points at something said before. Articles, and words that mean something else as often,
/// are left out: an independent question must not be taken for a dependent one.
struct Pointers {
    /// Words that stand for something.
    words: &'static [&'static str],
    /// Words at the beginning that go on from something.
    first: &'static [&'static str],
    /// The same in several words, anywhere.
    phrases: &'static [&'static str],
}

/// English, German, French, Spanish, Portuguese, Italian, Dutch, Russian, Arabic, Urdu, Hindi: the order of the offline
/// provider's common words.
const POINTERS: [Pointers; 11] = [
    Pointers {
        words: &[
            "it",
            "they",
            "them",
            "that",
            "this",
            "those",
            "these",
            "ones",
            "same",
            "both",
            "instead",
            "otherwise",
        ],
        first: &["and", "but", "so", "or", "then", "also"],
        phrases: &[
            "what about",
            "how about",
            "what if",
            "which one",
            "that one",
            "this one",
            "the other",
            "the others",
            "the first one",
            "the second one",
            "the second option",
            "the first option",
            "the latter",
            "the former",
            "what else",
        ],
    },
    Pointers {
        words: &[
            "es",
            "das",
            "dies",
            "diese",
            "dieser",
            "dieses",
            "damit",
            "dafür",
            "davon",
            "daran",
            "darauf",
            "daraus",
            "dabei",
            "dadurch",
            "dazu",
            "ihn",
            "ihm",
            "ihnen",
            "denen",
            "stattdessen",
        ],
        first: &["und", "aber", "oder", "dann", "also"],
        phrases: &["was ist mit", "wie sieht es", "die andere", "das andere", "der andere"],
    },
    Pointers {
        words: &["ça", "cela", "ceci", "celui", "celle", "ceux", "celles", "lui"],
        first: &["et", "mais", "ou", "alors", "donc"],
        phrases: &["qu en est il", "et pour", "l autre"],
    },
    Pointers {
        words: &["eso", "esto", "ello", "aquello", "ellos", "ellas"],
        first: &["y", "pero", "o", "entonces"],
        phrases: &["qué hay de", "qué pasa con", "el otro", "la otra"],
    },
    Pointers {
        words: &["isso", "isto", "aquilo", "ele", "eles", "elas"],
        first: &["e", "mas", "ou", "então"],
        phrases: &["o outro", "a outra"],
    },
    Pointers {
        words: &["ciò", "esso", "questo", "quello"],
        first: &["e", "ma", "o", "allora"],
        phrases: &["l altro", "l altra"],
    },
    Pointers {
        words: &["dat", "dit", "deze", "daarmee", "daarvoor", "daarvan", "ervan", "ermee", "hiervoor"],
        first: &["en", "maar", "of", "dus", "dan"],
        phrases: &["hoe zit het", "de andere"],
    },
    Pointers {
        words: &["это", "этим", "этого", "этому", "него", "ним"],
        first: &["и", "а", "но", "или"],
        phrases: &[],
    },
    Pointers {
        words: &["هذا", "هذه", "ذلك", "تلك"], first: &["و", "لكن", "ثم"], phrases: &["ماذا عن"]
    },
    Pointers {
        words: &["اسے", "انہیں", "اس", "یہ", "وہ"], first: &["اور", "لیکن", "پھر"], phrases: &[]
    },
    Pointers {
        words: &["इसे", "उसे", "इन्हें", "यह", "वह"], first: &["और", "लेकिन", "फिर"], phrases: &[]
    },
];
/// Pointers that may stand before what they point at.
const DETERMINERS: &[&str] = &[
    "that",
    "this",
    "those",
    "these",
    "same",
    "both",
    "das",
    "dies",
    "diese",
    "dieser",
    "dieses",
    "questo",
    "quello",
    "dat",
    "dit",
    "deze",
    "это",
    "этого",
    "этому",
    "этим",
    "هذا",
    "هذه",
    "ذلك",
    "تلك",
    "اس",
    "یہ",
    "وہ",
    "यह",
    "वह",
];
/// The same in scripts without spaces: at the beginning, and anywhere.
const UNSPACED_FIRST: &[&str] = &["那", "那么", "还有", "それで", "では", "じゃあ", "그럼", "그리고"];
const UNSPACED_POINTERS: &[&str] = &["它", "それ", "これ", "あれ", "그것", "그건", "이것", "그거"];

/// What is retrieved for.
pub fn text(question: &Question) -> String {
    let mut parts = Vec::new();
    let mut current = question.query();
    let asked = question.history().iter().rev().filter(|message| message.role == Role::User);
    for Message { content, .. } in asked.filter(|message| !message.content.trim().is_empty()).take(MAX_BACK) {
        if question.page().selection.is_some() || !depends(current) {
            break;
        }
        parts.push(clip(content, MAX_BACK_CHARS));
        current = content;
    }
    parts.reverse();
    parts.push(question.query());
    parts.extend(question.page().selection.as_deref());
    parts.join("\n\n")
}

/// Whether a question cannot be understood alone.
fn depends(query: &str) -> bool {
    let lower = query.to_lowercase();
    if offline::is_unspaced(&lower) {
        let begins = UNSPACED_FIRST.iter().any(|first| lower.starts_with(first));
        return begins || UNSPACED_POINTERS.iter().any(|pointer| lower.contains(pointer));
    }
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let Some(language) = POINTERS.get(offline::language(query)) else { return false };
    let own = offline::meaningful_words(query);
    let line = format!(" {} ", words.join(" "));
    let goes_on = words.first().is_some_and(|word| language.first.contains(word));
    let phrased = language.phrases.iter().any(|phrase| line.contains(&format!(" {phrase} ")));
    // "this server" names what it points at, "test this" does not.
    let named = |place: usize| words.get(place + 1).is_some_and(|next| offline::meaningful_words(next) > 0);
    let points = words
        .iter()
        .enumerate()
        .any(|(place, word)| language.words.contains(word) && !(DETERMINERS.contains(word) && named(place)));
    own == 0 || (goes_on && own <= GOING_ON_WORDS) || ((points || phrased) && own <= POINTING_WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Page, QuestionParts};

    fn question(query: &str, history: &[&str]) -> Question {
        let message = |content: &&str| Message { role: Role::User, content: (*content).to_owned() };
        let history = history.iter().map(message).collect();
        let parts = QuestionParts { query: query.to_owned(), history, ..QuestionParts::default() };
        Question::new(parts, &[]).unwrap()
    }

    #[test]
    fn a_question_that_points_back_is_retrieved_with_what_it_points_at() {
        for query in [
            "And how do I test that?",
            "why?",
            "What about Windows?",
            "how do I change it",
            "and on Debian?",
            "what speaks for the second option?",
            "why can't it hand over the whole thing too?",
            "Und wie teste ich das?",
            "Wie kann ich es ändern?",
            "et pour le tester ?",
            "¿y cómo lo pruebo?",
            "那怎么测试？",
            "それをテストするには？",
        ] {
            let expected = format!("How do I write a reducer?\n\n{query}");
            assert_eq!(text(&question(query, &["How do I write a reducer?"])), expected);
        }
        let two = ["How do I write a reducer?", "And how do I test it?"];
        assert_eq!(text(&question("why?", &two)), "How do I write a reducer?\n\nAnd how do I test it?\n\nwhy?");
    }

    #[test]
    fn an_independent_question_is_not_disturbed_by_history() {
        for query in [
            "How do I deploy?",
            "What is Docent?",
            "Is there a rate limit for requests?",
            "How many requests per second are allowed?",
            "Where does Docent store its index?",
            "How do I set up one collection for two sites?",
            "How do I install the server on Debian?",
            "Which environment variables are read at startup?",
            "How do I allow the pages of my documentation site to call this server?",
            "Wie setze ich den Port des Servers?",
            "Wie installiere ich das Plugin auf Debian?",
            "Wie ändere ich die Farbe der Schaltfläche?",
            "¿Cómo configuro la base de datos?",
            "Comment déployer en production avec Docker ?",
            "Comment installer le serveur sur Debian ?",
            "如何在 Debian 上安装服务器？",
            "サーバーをインストールするには？",
        ] {
            assert_eq!(text(&question(query, &["How do I write a reducer?"])), query);
        }
    }

    #[test]
    fn a_long_turn_does_not_crowd_the_question_out() {
        let log = "an error of the compiler ".repeat(300);
        assert!(text(&question("why?", &[&log])).chars().count() < 400);
    }

    #[test]
    fn the_selection_says_what_is_meant() {
        let asked = Message { role: Role::User, content: "How do I write a reducer?".to_owned() };
        let parts = QuestionParts {
            query: "What does this mean?".to_owned(),
            history: vec![asked],
            page: Page { selection: Some("ALLOWED_ORIGINS".to_owned()), ..Page::default() },
            ..QuestionParts::default()
        };
        let marked = Question::new(parts, &[]).unwrap();
        assert_eq!(text(&marked), "What does this mean?\n\nALLOWED_ORIGINS");
    }
}
