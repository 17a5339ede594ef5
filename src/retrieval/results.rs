//! Turns the legs of a search into a question's passages: fused by rank, read from their payloads, and chosen
//! from different headings, different pages and different texts. No I/O.

use std::collections::{HashMap, HashSet};

use super::fusion::{Hit, fuse};
use super::payload::{Payload, PayloadReader};
use crate::chat::Passage;

/// Scores are compared at 1/100,000 of the leg's best; smaller differences depend on storage order.
const SCORE_STEPS: f64 = 1e5;
/// Most headings of one page among a question's passages; further ones are left out.
const MAX_PER_PAGE: usize = 4;
/// Share of common words at which two texts count as one, such as two versions of a page.
const MIN_DUPLICATE: f64 = 0.9;
/// Separator between two parts of a long section.
const GAP: &str = "\n\n[…]\n\n";

/// Fuses the legs of a search and selects at most `top_k` passages, best first; hits without text are left out.
pub(super) fn fuse_and_select(
    mut legs: Vec<Vec<Hit<Payload>>>,
    reader: &PayloadReader,
    top_k: usize,
) -> Vec<Passage> {
    legs.iter_mut().for_each(|leg| order_ties_by_id(leg));
    let fused = fuse(legs, usize::MAX).into_iter();
    select_distinct(fused.filter_map(|(payload, score)| reader.read_passage(&payload, score)), top_k)
}

/// Orders hits of equal score by their ids. An engine returns such hits in the order in which they happen to be
/// stored. The engine also adds weights up in that order, so the last digits of a score mean nothing.
fn order_ties_by_id(leg: &mut [Hit<Payload>]) {
    let best = leg.iter().map(|hit| hit.score.abs()).fold(f64::MIN_POSITIVE, f64::max);
    let step = |hit: &Hit<Payload>| (hit.score / best * SCORE_STEPS).round();
    // Only neighbours are compared, because the collection's distance decides if a higher or a lower score is
    // better.
    for tie in leg.chunk_by_mut(|a, b| step(a) == step(b)) {
        tie.sort_by(|a, b| a.id.cmp(&b.id));
    }
}

/// Selects the first `top_k` of `ranked` that are worth a place. Further parts of a selected section join it;
/// more than a few sections of a page, and repetitions of a selected text, are left out.
fn select_distinct(ranked: impl Iterator<Item = Passage>, top_k: usize) -> Vec<Passage> {
    let mut selection = Selection::default();
    for (rank, passage) in ranked.enumerate() {
        // Beyond this rank, a further part of a section is too far from the question.
        let is_near = rank < 2 * top_k;
        let is_full = selection.passages.len() == top_k;
        if is_full && !is_near {
            break;
        }
        match selection.find_section(&passage.url) {
            Some(section) if is_near => {
                section.text.push_str(GAP);
                section.text.push_str(&passage.text);
            }
            Some(_) => {}
            None if is_full => {}
            None => selection.add_distinct(passage),
        }
    }
    selection.passages
}

/// Collects a question's passages, and the data that show repetitions.
#[derive(Default)]
struct Selection {
    passages: Vec<Passage>,
    /// The words of each selected passage.
    word_sets: Vec<HashSet<String>>,
    /// Number of selected passages by address of their page.
    page_counts: HashMap<String, usize>,
}

impl Selection {
    /// Returns the selected passage of the section at `url`. An address without an anchor names no section.
    fn find_section(&mut self, url: &str) -> Option<&mut Passage> {
        self.passages.iter_mut().find(|selected| url.contains('#') && selected.url == url)
    }

    /// Adds a passage, unless it repeats a selected text or its page has its full share.
    fn add_distinct(&mut self, passage: Passage) {
        let words = word_set(&passage.text);
        if self.word_sets.iter().any(|other| word_overlap(other, &words) >= MIN_DUPLICATE) {
            return;
        }
        let page = passage.url.split('#').next().unwrap_or_default();
        // Passages without an address need not be of one page.
        if !page.is_empty() {
            let count = self.page_counts.entry(page.to_owned()).or_default();
            if *count == MAX_PER_PAGE {
                return;
            }
            *count += 1;
        }
        self.word_sets.push(words);
        self.passages.push(passage);
    }
}

fn word_set(text: &str) -> HashSet<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// Returns the share of the words of two texts that both have, from 0 to 1 (their Jaccard index).
fn word_overlap(a: &HashSet<String>, b: &HashSet<String>) -> f64 {
    let shared = a.intersection(b).count();
    shared as f64 / (a.len() + b.len() - shared).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(url: &str, text: &str) -> Passage {
        Passage { title: "T".into(), section: None, url: url.into(), text: text.into(), score: 1.0 }
    }

    fn hit(id: &str, score: f64) -> Hit<Payload> {
        let payload = [("text".to_owned(), id.into()), ("title".to_owned(), id.into())];
        Hit { id: id.to_owned(), score, item: payload.into_iter().collect() }
    }

    fn urls(passages: &[Passage]) -> Vec<&str> {
        passages.iter().map(|passage| passage.url.as_str()).collect()
    }

    #[test]
    fn a_page_gives_a_few_passages_and_a_section_gives_one() {
        let ranked = ["/a#1", "/a#1", "/a#2", "/a#3", "/a#4", "/a#5", "/b"].into_iter().enumerate();
        let ranked = ranked.map(|(number, url)| passage(url, &format!("text{number}")));
        let chosen = select_distinct(ranked, 6);
        assert_eq!(urls(&chosen), ["/a#1", "/a#2", "/a#3", "/a#4", "/b"]);
        assert_eq!(chosen[0].text, "text0\n\n[…]\n\ntext1");
    }

    #[test]
    fn the_same_text_twice_is_shown_once() {
        let text = "The quick brown fox jumps over the lazy dog and runs away from all of them";
        let other = "Something else";
        let ranked = [("/2.x/a", text), ("/3.x/a", &text.to_uppercase()), ("/b", other)];
        let chosen = select_distinct(ranked.into_iter().map(|(url, text)| passage(url, text)), 6);
        assert_eq!(urls(&chosen), ["/2.x/a", "/b"]);
    }

    #[test]
    fn repetitions_leave_no_gap_while_there_are_others() {
        let copies =
            (0..24).map(|number| passage(&format!("/v{number}"), "The same words in every version of it"));
        let others = ["/a", "/b"].map(|url| passage(url, &format!("Only {url} says this")));
        assert_eq!(urls(&select_distinct(copies.chain(others), 3)), ["/v0", "/a", "/b"]);
    }

    #[test]
    fn passages_without_address_are_not_taken_for_one_page() {
        let ranked = (0..6).map(|number| passage("", &format!("text{number}")));
        assert_eq!(select_distinct(ranked, 6).len(), 6);
        assert_eq!(select_distinct((0..6).map(|n| passage(&format!("/{n}"), &format!("x{n}"))), 2).len(), 2);
    }

    #[test]
    fn hits_of_almost_one_score_are_ordered_by_their_ids() {
        let mut leg = vec![hit("c", 0.9), hit("b", 0.500_000_1), hit("a", 0.5), hit("d", 0.4)];
        order_ties_by_id(&mut leg);
        let order: Vec<&str> = leg.iter().map(|hit| hit.id.as_str()).collect();
        assert_eq!(order, ["c", "a", "b", "d"]);
    }

    #[test]
    fn hits_without_text_are_left_out() {
        let empty = Hit { id: "x".to_owned(), score: 1.0, item: Payload::new() };
        let passages = fuse_and_select(vec![vec![empty, hit("a", 0.5)]], &PayloadReader::default(), 6);
        assert_eq!(passages.len(), 1);
        assert_eq!(passages[0].title, "a");
    }
}
