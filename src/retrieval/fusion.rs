//! Reciprocal rank fusion, the same for both indexes so that they order alike.

use std::collections::HashMap;

/// The constant of the original paper (Cormack, Clarke and Büttcher, 2009). Qdrant's own fusion uses 2.
pub const K: f64 = 60.0;

/// One candidate of a leg, in the leg's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate<T> {
    /// Identity across legs.
    pub id: String,
    /// The leg's own score.
    pub score: f64,
    /// What is fused.
    pub item: T,
}

/// The best `limit` candidates with their scores. One leg keeps its own scores; several give the sum of
/// 1 / (K + rank), rank from 1. Equal sums keep the order in which the legs brought them, dense before sparse.
pub fn fuse<T>(legs: Vec<Vec<Candidate<T>>>, limit: usize) -> Vec<(T, f64)> {
    if legs.len() == 1 {
        let only = legs.into_iter().flatten().take(limit);
        return only.map(|candidate| (candidate.item, candidate.score)).collect();
    }
    let mut fused: Vec<(T, f64)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for leg in legs {
        for (rank, candidate) in leg.into_iter().enumerate() {
            let gain = 1.0 / (K + rank as f64 + 1.0);
            let place = *places.entry(candidate.id).or_insert(fused.len());
            match fused.get_mut(place) {
                Some((_, sum)) => *sum += gain,
                None => fused.push((candidate.item, gain)),
            }
        }
    }
    fused.sort_by(|a, b| b.1.total_cmp(&a.1));
    fused.truncate(limit);
    fused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leg(ids: &[&str]) -> Vec<Candidate<String>> {
        ids.iter().map(|id| Candidate { id: (*id).to_owned(), score: 0.5, item: (*id).to_owned() }).collect()
    }

    #[test]
    fn a_candidate_of_both_legs_beats_the_best_of_one() {
        let fused = fuse(vec![leg(&["a", "b"]), leg(&["c", "b"])], 3);
        let order: Vec<&str> = fused.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(order, ["b", "a", "c"]);
        assert!((fused[0].1 - 2.0 / 62.0).abs() < 1e-12);
    }

    #[test]
    fn a_single_leg_keeps_its_own_scores() {
        assert_eq!(fuse(vec![leg(&["a", "b"])], 1), [("a".to_owned(), 0.5)]);
    }
}
