//! What a question is retrieved for: itself, the text the reader marked, and, where it cannot be understood alone, what was
//! asked before. No model is asked for that. No I/O.
//!
//! A question depends on the conversation when it points at something it does not name ("and how do I test that?"), or
//! hardly says anything ("why?"). An independent one must not be pulled towards what was talked about before, so history
//! counts only then.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::chat::{Message, Question, Role};
use crate::provider::offline;

/// Words of its own from which a question is about something, whatever it points at.
const ENOUGH_WORDS: usize = 7;
/// Fewer words of its own than this say nothing.
const FEW_WORDS: usize = 2;
/// Questions of the reader that are looked back on.
const MAX_BACK: usize = 3;

/// Words that point at something said before, and words that go on from it, in the languages of the widget and their
/// neighbours: English, German, French, Spanish, Portuguese, Italian, Dutch, Urdu, Hindi, Arabic, Russian.
static POINTERS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    "it its they them their theirs that this those these there one ones same both either instead otherwise he she him her former latter \
     other others another else again second third \
     es das dies diese dieser dieses damit dafür dazu davon daran darauf daraus dabei dadurch ihn ihm ihnen deren dessen denen stattdessen \
     ça cela ceci celui celle ceux celles lui leur en y \
     eso esto ello lo la los las ese esa aquello isso isto ele ela eles elas ciò questo questa quello quella lo ne ci \
     dat dit deze die daarmee daarvoor daarvan ervan ermee hiervoor \
     اس ان یہ وہ इस उस यह वह هذا هذه ذلك تلك это этот эта этого этим его её их там"
        .split_whitespace()
        .collect()
});
static CONNECTIVES: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    "and but so or then also what's und aber oder dann also et mais ou alors donc y pero o entonces e mas então ma allora en maar dus \
     اور لیکن और लेकिन و لكن ثم и а но"
        .split_whitespace()
        .collect()
});
/// Pointers that may stand before what they point at.
const DETERMINERS: &[&str] =
    &["this", "that", "these", "those", "same", "other", "another", "diese", "dieser", "dieses"];
/// Pointers in scripts without spaces.
const UNSPACED_POINTERS: &[&str] =
    &["它", "这个", "那个", "这", "那", "それ", "これ", "その", "この", "そこ", "그것", "그건", "이것", "그럼"];

/// What is retrieved for.
pub fn text(question: &Question) -> String {
    let mut parts = Vec::new();
    let mut current = question.query.as_str();
    let asked = question.history.iter().rev().filter(|message| message.role == Role::User);
    for Message { content, .. } in asked.filter(|message| !message.content.trim().is_empty()).take(MAX_BACK) {
        if question.page.selection.is_some() || !depends(current) {
            break;
        }
        parts.push(content.as_str());
        current = content;
    }
    parts.reverse();
    parts.push(&question.query);
    parts.extend(question.page.selection.as_deref());
    parts.join("\n\n")
}

/// Whether a question cannot be understood alone.
fn depends(query: &str) -> bool {
    let lower = query.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty()).collect();
    if words.iter().any(|word| word.chars().any(|c| ('\u{2e80}'..='\u{ffdc}').contains(&c))) {
        return UNSPACED_POINTERS.iter().any(|pointer| lower.contains(pointer)) || lower.chars().count() < 6;
    }
    let own = offline::meaningful_words(query);
    let goes_on = words.first().is_some_and(|word| CONNECTIVES.contains(word));
    // "this server" names what it points at, "test this" does not.
    let names = |next: Option<&&str>| next.is_some_and(|next| offline::meaningful_words(next) > 0);
    let points = words.iter().enumerate().any(|(place, word)| {
        POINTERS.contains(word) && !(DETERMINERS.contains(word) && names(words.get(place + 1)))
    });
    own < FEW_WORDS || (own < ENOUGH_WORDS && (goes_on || points))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Filter, Page};

    fn question(query: &str, history: &[&str]) -> Question {
        let message = |content: &&str| Message { role: Role::User, content: (*content).to_owned() };
        Question {
            query: query.to_owned(),
            history: history.iter().map(message).collect(),
            page: Page::default(),
            filter: Filter::new(),
            top_k: 6,
        }
    }

    #[test]
    fn a_question_that_points_back_is_retrieved_with_what_it_points_at() {
        for query in [
            "And how do I test that?",
            "why?",
            "What about Windows?",
            "Und wie teste ich das?",
            "et pour le tester ?",
            "那怎么测试它？",
        ] {
            assert_eq!(
                text(&question(query, &["How do I write a reducer?"])),
                format!("How do I write a reducer?\n\n{query}")
            );
        }
        let two = ["How do I write a reducer?", "And how do I test it?"];
        assert_eq!(text(&question("why?", &two)), "How do I write a reducer?\n\nAnd how do I test it?\n\nwhy?");
    }

    #[test]
    fn an_independent_question_is_not_disturbed_by_history() {
        for query in [
            "How do I install the server on Debian?",
            "Which environment variables are read at startup?",
            "Wie setze ich den Port des Servers?",
            "Comment installer le serveur sur Debian ?",
            "如何在 Debian 上安装服务器？",
            "How do I allow the pages of my documentation site to call this server?",
        ] {
            assert_eq!(text(&question(query, &["How do I write a reducer?"])), query);
        }
    }

    #[test]
    fn the_selection_says_what_is_meant() {
        let mut marked = question("What does this mean?", &["How do I write a reducer?"]);
        marked.page.selection = Some("ALLOWED_ORIGINS".to_owned());
        assert_eq!(text(&marked), "What does this mean?\n\nALLOWED_ORIGINS");
    }
}
