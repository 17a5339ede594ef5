//! Describes the points of an index: passages to write, passages as they are stored, and samples to compare.

use std::collections::HashMap;
use std::fmt;

use uuid::Uuid;

use super::payload::Payload;
use crate::chat::Vector;

/// Holds a passage to store.
#[derive(Clone)]
pub struct Point {
    /// Identity, which stays the same from run to run.
    pub id: Uuid,
    /// The passage's embedding.
    pub vector: Vector,
    /// The words that BM25 counts beside a dense vector.
    pub text: String,
    /// Fields of the passage, from which a search reads it.
    pub payload: Payload,
}

/// Leaves the passage out: its text does not belong in a log.
impl fmt::Debug for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Point").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Maps ids to the points that an index holds under them; an id without a point is absent.
pub type StoredPoints = HashMap<Uuid, StoredPoint>;

/// Holds a passage as an index stores it.
#[derive(Clone)]
pub struct StoredPoint {
    /// Fields of the passage, from which a search reads it.
    pub payload: Payload,
    /// The passage's embedding.
    pub vector: Vector,
    /// True if the point has every vector that it should have.
    pub is_complete: bool,
}

/// Leaves the passage out: its text does not belong in a log.
impl fmt::Debug for StoredPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredPoint").field("is_complete", &self.is_complete).finish_non_exhaustive()
    }
}

/// Holds the text and the vector of a stored point, to compare the vector with a fresh embedding of the text.
#[derive(Clone, PartialEq)]
pub struct Sample {
    /// Title of the passage's page.
    pub title: String,
    /// Text of the passage.
    pub text: String,
    /// The stored embedding.
    pub vector: Vector,
}

/// Leaves the passage out: its text does not belong in a log.
impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sample").finish_non_exhaustive()
    }
}

/// Reports whether a stored passage's file is one of `paths`, or lies in a folder among them.
pub(super) fn is_at_or_below(file: &str, paths: &[String]) -> bool {
    let mut rests = paths.iter().filter_map(|path| file.strip_prefix(path.as_str()));
    rests.any(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_lies_below_a_folder_but_not_below_a_prefix_of_its_name() {
        let paths = ["guides".to_owned(), "intro.md".to_owned()];
        assert!(is_at_or_below("intro.md", &paths));
        assert!(is_at_or_below("guides/a/b.md", &paths));
        assert!(!is_at_or_below("guides-old/a.md", &paths));
        assert!(!is_at_or_below("intro.mdx", &paths));
    }

    #[test]
    fn the_debug_form_of_a_point_holds_no_text() {
        let payload: Payload = [("text".to_owned(), "secret".into())].into_iter().collect();
        let vector = Vector::Dense(Vec::new());
        let text = "secret".to_owned();
        let point =
            Point { id: Uuid::nil(), vector: vector.clone(), text: text.clone(), payload: payload.clone() };
        let stored = StoredPoint { payload, vector: vector.clone(), is_complete: true };
        let sample = Sample { title: text.clone(), text, vector };
        let debug = format!("{point:?} {stored:?} {sample:?}");
        assert!(!debug.contains("secret"), "{debug}");
    }
}
