//! Which of the ranked passages a question gets: different headings, different pages, different texts. No I/O.

use std::collections::{HashMap, HashSet};

use crate::chat::Passage;

/// Headings of one page among a question's passages.
const MAX_PER_PAGE: usize = 4;
/// Share of their words that two texts have in common when they say the same, as two versions of a page do.
const MIN_DUPLICATE: f64 = 0.9;
/// What stands between two parts of a long section.
const GAP: &str = "\n\n[…]\n\n";

/// The first `top_k` of `ranked` that are worth a place: further parts of a chosen section join it, more than a few
/// sections of a page and repetitions of a chosen text are left out.
pub(super) fn choose(ranked: impl Iterator<Item = Passage>, top_k: usize) -> Vec<Passage> {
    let mut chosen: Vec<Passage> = Vec::new();
    let mut texts: Vec<HashSet<String>> = Vec::new();
    let mut pages: HashMap<String, usize> = HashMap::new();
    for (rank, passage) in ranked.enumerate() {
        // Beyond this, a further part of a section is too far from the question.
        let is_near = rank < 2 * top_k;
        if chosen.len() == top_k && !is_near {
            break;
        }
        let same = |other: &&mut Passage| passage.url.contains('#') && other.url == passage.url;
        if let Some(section) = chosen.iter_mut().find(same) {
            if is_near {
                section.text.push_str(GAP);
                section.text.push_str(&passage.text);
            }
            continue;
        }
        if chosen.len() == top_k {
            continue;
        }
        let words = words(&passage.text);
        if texts.iter().any(|other| alike(other, &words) >= MIN_DUPLICATE) {
            continue;
        }
        let page = passage.url.split('#').next().unwrap_or_default();
        if !page.is_empty() {
            let count = pages.entry(page.to_owned()).or_default();
            if *count == MAX_PER_PAGE {
                continue;
            }
            *count += 1;
        }
        texts.push(words);
        chosen.push(passage);
    }
    chosen
}

fn words(text: &str) -> HashSet<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// Share of all words of two texts that both have.
fn alike(a: &HashSet<String>, b: &HashSet<String>) -> f64 {
    let shared = a.intersection(b).count();
    shared as f64 / (a.len() + b.len() - shared).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(url: &str, text: &str) -> Passage {
        Passage { title: "T".into(), section: None, url: url.into(), text: text.into(), score: 1.0 }
    }

    fn urls(passages: &[Passage]) -> Vec<&str> {
        passages.iter().map(|passage| passage.url.as_str()).collect()
    }

    #[test]
    fn a_page_gives_a_few_passages_and_a_section_gives_one() {
        let ranked = ["/a#1", "/a#1", "/a#2", "/a#3", "/a#4", "/a#5", "/b"].into_iter().enumerate();
        let ranked = ranked.map(|(number, url)| passage(url, &format!("text{number}")));
        let chosen = choose(ranked, 6);
        assert_eq!(urls(&chosen), ["/a#1", "/a#2", "/a#3", "/a#4", "/b"]);
        assert_eq!(chosen[0].text, "text0\n\n[…]\n\ntext1");
    }

    #[test]
    fn the_same_text_twice_is_shown_once() {
        let text = "The quick brown fox jumps over the lazy dog and runs away from all of them";
        let other = "Something else";
        let ranked = [("/2.x/a", text), ("/3.x/a", &text.to_uppercase()), ("/b", other)];
        let chosen = choose(ranked.into_iter().map(|(url, text)| passage(url, text)), 6);
        assert_eq!(urls(&chosen), ["/2.x/a", "/b"]);
    }

    #[test]
    fn repetitions_leave_no_gap_while_there_are_others() {
        let copies =
            (0..24).map(|number| passage(&format!("/v{number}"), "The same words in every version of it"));
        let others = ["/a", "/b"].map(|url| passage(url, &format!("Only {url} says this")));
        assert_eq!(urls(&choose(copies.chain(others), 3)), ["/v0", "/a", "/b"]);
    }

    #[test]
    fn passages_without_address_are_not_taken_for_one_page() {
        let ranked = (0..6).map(|number| passage("", &format!("text{number}")));
        assert_eq!(choose(ranked, 6).len(), 6);
        assert_eq!(choose((0..6).map(|n| passage(&format!("/{n}"), &format!("x{n}"))), 2).len(), 2);
    }
}
