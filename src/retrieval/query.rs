//! Describes one search: the question's words and vector, the filter, and the number of passages wanted.

use std::fmt;

use crate::chat::{Filter, Vector};

/// Hits that each leg contributes for one wanted passage: fusion needs more hits than it returns.
const HITS_PER_PASSAGE: usize = 4;
/// Fewest hits of a leg.
const MIN_HITS: usize = 20;

/// Describes one search.
#[derive(Clone)]
pub struct Search {
    /// The question's words, for the BM25 leg.
    pub text: String,
    /// The question's embedding. A sparse one is the only leg, because it counts words itself.
    pub vector: Vector,
    /// Number of passages wanted.
    pub top_k: usize,
    /// Accepted payload values, applied while searching and never after it.
    pub filter: Filter,
}

/// Leaves the question out: neither its words nor the filter's values belong in a log.
impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search")
            .field("top_k", &self.top_k)
            .field("filter_keys", &self.filter.keys())
            .finish_non_exhaustive()
    }
}

impl Search {
    /// Returns the number of hits to ask of each leg.
    pub(super) fn hits_per_leg(&self) -> usize {
        (self.top_k * HITS_PER_PASSAGE).max(MIN_HITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::FilterValue;

    #[test]
    fn the_debug_form_of_a_search_holds_no_question() {
        let filter = Filter::from([("version".to_owned(), vec![FilterValue::Text("secret".to_owned())])]);
        let search = Search { text: "secret".to_owned(), vector: Vector::Sparse(Vec::new()), top_k: 6, filter };
        let debug = format!("{search:?}");
        assert!(debug.contains("version") && !debug.contains("secret"), "{debug}");
    }
}
