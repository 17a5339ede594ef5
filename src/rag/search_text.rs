//! Builds the search text of a question: the text that is embedded and looked up in the index.
//!
//! The index knows no conversation, so the search text must be a *standalone question*: one that is understood
//! without the turns before it. Other systems ask a model to rewrite each follow-up question. Docent asks no
//! model: if a question depends on the conversation, the earlier questions are put before it; text that the
//! reader marked is put after it.
//!
//! A question depends on the conversation when it points at something without naming it ("how do I test
//! that?"), goes on from it ("and on Windows?"), or says nothing by itself ("why?"). The search for any other
//! question must not be drawn to the earlier questions. So history counts only for a dependent question, and a
//! pointer makes a question dependent only if the question has few meaningful words. No I/O.

use crate::chat::{Message, Question, Role};
use crate::language::{self, Language, count_meaningful_words};
use crate::text::clip;

/// Meaningful words up to which a question with a pointer depends on the conversation.
const MAX_POINTING_WORDS: usize = 4;
/// Meaningful words up to which a question that begins with an opener depends on the conversation.
const MAX_OPENING_WORDS: usize = 2;
/// Earlier questions that may be put before a question; older ones never count.
const MAX_EARLIER: usize = 3;
/// Characters of each earlier question; the rest is cut off, so that it does not outweigh the question itself.
const MAX_EARLIER_CHARS: usize = 300;

/// Lists the words with which a language points at something said before. Articles, and words that as often
/// mean something else, are left out, so that an independent question does not count as dependent.
struct Pointers {
    /// Words that replace a noun.
    pronouns: &'static str,
    /// Words that replace a noun or stand before one: "test this" points back, "this server" does not.
    determiners: &'static str,
    /// First words of a question that goes on from something.
    openers: &'static str,
    /// Pointers of several words, anywhere, separated by commas; written without apostrophes, which end a word.
    phrases: &'static str,
}

fn list_pointers(language: Language) -> Pointers {
    match language {
        Language::English => Pointers {
            pronouns: "it they them ones instead otherwise",
            determiners: "that this those these same both",
            openers: "and but so or then also",
            phrases: "what about, how about, what if, what else, which one, that one, this one, the other, the others, \
                the first one, the second one, the first option, the second option, the latter, the former",
        },
        Language::German => Pointers {
            pronouns: "es damit dafür davon daran darauf daraus dabei dadurch dazu ihn ihm ihnen denen stattdessen",
            determiners: "das dies diese dieser dieses",
            openers: "und aber oder dann also",
            phrases: "was ist mit, wie sieht es, die andere, das andere, der andere",
        },
        Language::French => Pointers {
            pronouns: "ça cela ceci celui celle ceux celles lui",
            determiners: "",
            openers: "et mais ou alors donc",
            phrases: "qu en est il, et pour, l autre",
        },
        Language::Spanish => Pointers {
            pronouns: "eso esto ello aquello ellos ellas",
            determiners: "",
            openers: "y pero o entonces",
            phrases: "qué hay de, qué pasa con, el otro, la otra",
        },
        Language::Portuguese => Pointers {
            pronouns: "isso isto aquilo ele eles elas",
            determiners: "",
            openers: "e mas ou então",
            phrases: "o outro, a outra",
        },
        Language::Italian => Pointers {
            pronouns: "ciò esso",
            determiners: "questo quello",
            openers: "e ma o allora",
            phrases: "l altro, l altra",
        },
        Language::Dutch => Pointers {
            pronouns: "daarmee daarvoor daarvan ervan ermee hiervoor",
            determiners: "dat dit deze",
            openers: "en maar of dus dan",
            phrases: "hoe zit het, de andere",
        },
        Language::Russian => Pointers {
            pronouns: "него ним",
            determiners: "это этим этого этому",
            openers: "и а но или",
            phrases: "",
        },
        Language::Arabic => {
            Pointers {
                pronouns: "", determiners: "هذا هذه ذلك تلك", openers: "و لكن ثم", phrases: "ماذا عن"
            }
        }
        Language::Urdu => {
            Pointers {
                pronouns: "اسے انہیں", determiners: "اس یہ وہ", openers: "اور لیکن پھر", phrases: ""
            }
        }
        Language::Hindi => {
            Pointers {
                pronouns: "इसे उसे इन्हें", determiners: "यह वह", openers: "और लेकिन फिर", phrases: ""
            }
        }
    }
}

/// Beginnings of a question that goes on from something, in scripts without spaces.
const UNSPACED_OPENERS: &str = "那 那么 还有 それで では じゃあ 그럼 그리고";
/// Words that replace a noun, in scripts without spaces.
const UNSPACED_PRONOUNS: &str = "它 それ これ あれ 그것 그건 이것 그거";

/// Builds the search text of a question.
pub(crate) fn build(question: &Question) -> String {
    let mut parts = Vec::new();
    let mut current = question.query();
    let earlier = question.history().iter().rev().filter(|message| message.role == Role::User);
    for Message { content, .. } in
        earlier.filter(|message| !message.content.trim().is_empty()).take(MAX_EARLIER)
    {
        if question.page().selection.is_some() || !depends_on_history(current) {
            break;
        }
        parts.push(clip(content, MAX_EARLIER_CHARS));
        current = content;
    }
    parts.reverse();
    parts.push(question.query());
    parts.extend(question.page().selection.as_deref());
    parts.join("\n\n")
}

/// Returns true if a question cannot be understood without the questions before it.
fn depends_on_history(query: &str) -> bool {
    let lower = query.to_lowercase();
    if language::is_unspaced(&lower) {
        let opens = UNSPACED_OPENERS.split(' ').any(|opener| lower.starts_with(opener));
        return opens || UNSPACED_PRONOUNS.split(' ').any(|pronoun| lower.contains(pronoun));
    }
    let words: Vec<&str> = language::word_runs(&lower).collect();
    let pointers = list_pointers(language::detect(query).unwrap_or(Language::English));
    let count = count_meaningful_words(query);
    let opens = words.first().is_some_and(|word| has_word(pointers.openers, word));
    count == 0
        || (opens && count <= MAX_OPENING_WORDS)
        || (count <= MAX_POINTING_WORDS && points_back(&words, &pointers))
}

/// Returns true if a word or a phrase of the question points at something that the question does not name.
fn points_back(words: &[&str], pointers: &Pointers) -> bool {
    let line = format!(" {} ", words.join(" "));
    let phrases = pointers.phrases.split(", ").filter(|phrase| !phrase.is_empty());
    let names_next = |place: usize| words.get(place + 1).is_some_and(|next| count_meaningful_words(next) > 0);
    words.iter().enumerate().any(|(place, word)| {
        has_word(pointers.pronouns, word) || (has_word(pointers.determiners, word) && !names_next(place))
    }) || phrases.into_iter().any(|phrase| line.contains(&format!(" {phrase} ")))
}

fn has_word(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|entry| entry == word)
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
    fn every_language_has_pointers_and_openers() {
        for language in Language::ALL {
            let Pointers { pronouns, determiners, openers, .. } = list_pointers(language);
            assert!(!openers.is_empty() && pronouns.len() + determiners.len() > 0, "{language:?}");
        }
    }

    #[test]
    fn a_question_that_points_back_is_retrieved_with_the_question_before_it() {
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
            "E come posso testarlo?",
            "Come posso cambiare questo?",
            "En hoe kan ik dat testen?",
            "E como posso testar isso?",
            "А как это проверить?",
            "كيف يمكنني تغيير هذا؟",
            "اور میں اسے کیسے تبدیل کروں؟",
            "मैं इसे कैसे बदलूँ?",
            "那怎么测试？",
            "それをテストするには？",
        ] {
            let expected = format!("How do I write a reducer?\n\n{query}");
            assert_eq!(build(&question(query, &["How do I write a reducer?"])), expected);
        }
        let two = ["How do I write a reducer?", "And how do I test it?"];
        assert_eq!(
            build(&question("why?", &two)),
            "How do I write a reducer?\n\nAnd how do I test it?\n\nwhy?"
        );
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
            "Come posso installare il server su Debian?",
            "Hoe installeer ik de server op Debian?",
            "Como instalar o servidor no Debian?",
            "Как установить сервер на Debian?",
            "كيف يمكنني تثبيت الخادم على ديبيان؟",
            "میں سرور کو ڈیبین پر کیسے انسٹال کروں؟",
            "मैं सर्वर को डेबियन पर कैसे इंस्टॉल करूँ?",
            "如何在 Debian 上安装服务器？",
            "サーバーをインストールするには？",
        ] {
            assert_eq!(build(&question(query, &["How do I write a reducer?"])), query);
        }
    }

    #[test]
    fn a_long_turn_does_not_crowd_the_question_out() {
        let log = "an error of the compiler ".repeat(300);
        assert!(build(&question("why?", &[&log])).chars().count() < 400);
    }

    #[test]
    fn the_selection_stands_in_for_the_conversation() {
        let asked = Message { role: Role::User, content: "How do I write a reducer?".to_owned() };
        let parts = QuestionParts {
            query: "What does this mean?".to_owned(),
            history: vec![asked],
            page: Page { selection: Some("ALLOWED_ORIGINS".to_owned()), ..Page::default() },
            ..QuestionParts::default()
        };
        let marked = Question::new(parts, &[]).unwrap();
        assert_eq!(build(&marked), "What does this mean?\n\nALLOWED_ORIGINS");
    }
}
