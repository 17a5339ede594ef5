//! Fuses ranked legs by reciprocal rank, with one rule for both kinds of index, so that both give the same
//! order.

use std::collections::HashMap;

/// The constant of the original paper (Cormack, Clarke and Büttcher, 2009). Qdrant's own fusion uses 2.
const K: f64 = 60.0;

/// Holds a point that one leg of a search found; a leg is a `Vec` of hits, best first.
pub(super) struct Hit<T> {
    /// Identity across legs.
    pub(super) id: String,
    /// The leg's own score.
    pub(super) score: f64,
    /// The point's payload.
    pub(super) item: T,
}

/// Returns the best `limit` items with their scores. One leg keeps its own scores; several give the sum of 1 /
/// (K + rank), rank from 1. Equal sums keep the order in which the legs brought them, dense before sparse.
pub(super) fn fuse<T>(legs: Vec<Vec<Hit<T>>>, limit: usize) -> Vec<(T, f64)> {
    if legs.len() == 1 {
        let only = legs.into_iter().flatten().take(limit);
        return only.map(|hit| (hit.item, hit.score)).collect();
    }
    let mut fused: Vec<(T, f64)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for leg in legs {
        for (rank, hit) in leg.into_iter().enumerate() {
            let gain = 1.0 / (K + rank as f64 + 1.0);
            let place = *places.entry(hit.id).or_insert(fused.len());
            match fused.get_mut(place) {
                Some((_, sum)) => *sum += gain,
                None => fused.push((hit.item, gain)),
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

    fn leg(ids: &[&str]) -> Vec<Hit<String>> {
        ids.iter().map(|id| Hit { id: (*id).to_owned(), score: 0.5, item: (*id).to_owned() }).collect()
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
