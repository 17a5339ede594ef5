//! What the answers of a day may cost. A day is one of UTC; a restart begins it anew.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS_PER_DAY: u64 = 24 * 3_600;

/// Ceilings on the questions of a day that a model answers, and on their tokens; 0 for none.
#[derive(Debug)]
pub struct Budget {
    requests: u64,
    tokens: u64,
    day: Mutex<Day>,
}

/// What a day has cost so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Day {
    number: u64,
    requests: u64,
    tokens: u64,
}

impl Budget {
    /// Ceilings of `requests` and `tokens` a day; 0 for none.
    pub fn new(requests: u64, tokens: u64) -> Arc<Self> {
        Arc::new(Self { requests, tokens, day: Mutex::default() })
    }

    /// One answer's share, with the tokens its prompt surely fits in; `None` when a ceiling is reached.
    pub fn begin(self: &Arc<Self>, prompt_tokens: u64) -> Option<Spending> {
        let mut day = self.today(today());
        let reached = |ceiling: u64, so_far: u64| ceiling > 0 && so_far >= ceiling;
        if reached(self.requests, day.requests) || reached(self.tokens, day.tokens) {
            return None;
        }
        day.requests += 1;
        day.tokens = day.tokens.saturating_add(prompt_tokens);
        Some(Spending { budget: Arc::clone(self), day: day.number, counted: prompt_tokens })
    }

    /// The count of day `number`, begun anew where it is another than the last.
    fn today(&self, number: u64) -> MutexGuard<'_, Day> {
        let mut day = self.day.lock().unwrap_or_else(PoisonError::into_inner);
        if day.number != number {
            *day = Day { number, ..Day::default() };
        }
        day
    }
}

/// One answer's share of the budget. What it has cost counts while it is written, so that neither a crowd nor readers who
/// leave before the end get past the ceiling.
#[derive(Debug)]
pub struct Spending {
    budget: Arc<Budget>,
    day: u64,
    counted: u64,
}

impl Spending {
    /// Counts tokens that have been written.
    pub fn add(&mut self, tokens: u64) {
        self.settle(self.counted.saturating_add(tokens));
    }

    /// Takes it off the count: no model has worked on it.
    pub fn give_back(mut self) {
        self.settle(0);
        let mut day = self.budget.day.lock().unwrap_or_else(PoisonError::into_inner);
        if day.number == self.day {
            day.requests = day.requests.saturating_sub(1);
        }
    }

    /// Replaces what was estimated by what it cost.
    pub fn settle(&mut self, tokens: u64) {
        let mut day = self.budget.day.lock().unwrap_or_else(PoisonError::into_inner);
        if day.number == self.day {
            day.tokens = day.tokens.saturating_sub(self.counted).saturating_add(tokens);
        }
        self.counted = tokens;
    }
}

fn today() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / SECONDS_PER_DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_of_requests_is_exact() {
        let budget = Budget::new(2, 0);
        let open: Vec<_> = (0..3).map(|_| budget.begin(1_000_000)).collect();
        assert_eq!(open.iter().flatten().count(), 2);
        drop(open);
        assert!(budget.begin(1).is_none(), "an answer that has ended still counts");
    }

    #[test]
    fn tokens_count_while_they_are_written_and_also_when_nobody_stays_for_the_end() {
        let budget = Budget::new(0, 100);
        let mut spending = budget.begin(60).unwrap();
        spending.add(50);
        assert!(budget.begin(1).is_none());
        spending.settle(80);
        let left = budget.begin(20).unwrap();
        drop((spending, left));
        assert!(budget.begin(1).is_none());
    }

    #[test]
    fn what_no_model_worked_on_does_not_count() {
        let budget = Budget::new(1, 100);
        budget.begin(100).unwrap().give_back();
        assert!(budget.begin(100).is_some());
    }

    #[test]
    fn a_new_day_begins_at_nothing_whatever_the_old_one_still_spends() {
        let budget = Budget::new(1, 100);
        let mut yesterday = budget.begin(10).unwrap();
        let tomorrow = today() + 1;
        assert_eq!(*budget.today(tomorrow), Day { number: tomorrow, requests: 0, tokens: 0 });
        yesterday.settle(1_000);
        assert_eq!(budget.today(tomorrow).tokens, 0);
    }

    #[test]
    fn no_ceiling_refuses_nothing() {
        let budget = Budget::new(0, 0);
        assert!((0..1_000).all(|_| budget.begin(u64::MAX).is_some()));
    }
}
