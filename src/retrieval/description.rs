//! Describes an index: the record that Docent writes into it, and the contents of an index of any origin.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Version of the layout of an index that Docent writes; a reader refuses any other.
pub const INDEX_VERSION: u32 = 2;

/// Name of the dense vector of an index that Docent writes.
pub(super) const DENSE_VECTOR: &str = "dense";
/// Name of the BM25 vector beside the dense one.
pub(super) const BM25_VECTOR: &str = "bm25";
/// Name of the sparse vector of an index that Docent writes offline; such an index has no other.
pub(super) const OFFLINE_VECTOR: &str = "offline";
/// Points read to learn the keys of an index's payloads.
pub(super) const KEY_SAMPLE_POINTS: u32 = 16;

/// Records how Docent made an index, and is stored in that index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`INDEX_VERSION`] at the time of writing.
    pub index_version: u32,
    /// The model that embedded the passages.
    pub model: String,
    /// Size of the passages' vectors; 0 where they are sparse.
    pub dimensions: usize,
    /// Language tags of the passages; an empty one where some have none.
    #[serde(default)]
    pub languages: BTreeSet<String>,
    /// Payload keys that are indexed for filters.
    #[serde(default)]
    pub filter_keys: BTreeSet<String>,
}

impl Manifest {
    /// Returns the reason why an index with this manifest cannot be searched with `model`; `None` if it can.
    pub fn incompatibility(&self, model: &str) -> Option<String> {
        if self.index_version != INDEX_VERSION {
            let version = self.index_version;
            return Some(format!(
                "has index version {version}, this Docent reads {INDEX_VERSION}: run docent index again"
            ));
        }
        let made = &self.model;
        (made != model).then(|| {
            format!("was embedded with {made}: set EMBEDDING_MODEL={made}, or index again with {model}")
        })
    }
}

/// Describes an index of any origin, as `docent check` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Collection and server, or the folder, in words.
    pub place: String,
    /// Number of points when the index was opened.
    pub points: u64,
    /// Dense vectors by name and size; the name may be empty.
    pub dense: Vec<(String, u64)>,
    /// Names of the sparse vectors.
    pub sparse: Vec<String>,
    /// Name of the vector that is searched.
    pub vector_name: String,
    /// Size of the vector that is searched; 0 where it is sparse.
    pub dimensions: usize,
    /// Measure of similarity.
    pub distance: String,
    /// Name of the sparse vector that is searched beside the dense one, which makes retrieval hybrid.
    pub sparse_name: Option<String>,
    /// Payload keys of a few points, nested ones with dots.
    pub payload_keys: Vec<String>,
    /// The record of an index that Docent wrote.
    pub manifest: Option<Manifest>,
    /// Payload keys that have an index for filters.
    pub indexed_keys: Vec<String>,
}

impl Description {
    /// Returns a sentence for each of `keys`, the keys a request may filter by, that no sampled passage has or
    /// that has no index. An empty index gives none.
    pub fn filter_key_warnings(&self, keys: &[String]) -> Vec<String> {
        let warning = |key: &String| {
            if self.indexed_keys.contains(key) {
                return None;
            }
            Some(if self.payload_keys.contains(key) {
                format!(
                    "FILTER_KEYS: the key {key:?} has no index: filtering by it is slow, and a strict Qdrant refuses it"
                )
            } else {
                format!(
                    "FILTER_KEYS: no passage looked at has the key {key:?}: filtering by it changes nothing"
                )
            })
        };
        if self.points == 0 { Vec::new() } else { keys.iter().filter_map(warning).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_another_version_or_model_is_refused_with_a_way_out() {
        let manifest = Manifest {
            index_version: INDEX_VERSION,
            model: "a".to_owned(),
            dimensions: 3,
            languages: BTreeSet::new(),
            filter_keys: BTreeSet::new(),
        };
        assert_eq!(manifest.incompatibility("a"), None);
        assert!(manifest.incompatibility("b").unwrap().contains("EMBEDDING_MODEL=a"));
        let old = Manifest { index_version: 1, ..manifest };
        assert!(old.incompatibility("a").unwrap().contains("run docent index again"));
    }
}
