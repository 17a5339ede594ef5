//! Bounds the cost of a day's answers. Days are counted in UTC; a restart resets the count.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS_PER_DAY: u64 = 24 * 3_600;

/// Counts the questions a model answers in a day, and their tokens, against a ceiling for each; a ceiling of 0
/// is none.
#[derive(Debug)]
pub struct Budget {
    requests: u64,
    tokens: u64,
    day: Mutex<Day>,
}

/// Holds the cost of a day so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Day {
    number: u64,
    requests: u64,
    tokens: u64,
}

impl Budget {
    /// Creates a budget of `requests` and `tokens` a day; 0 for no ceiling.
    pub fn new(requests: u64, tokens: u64) -> Arc<Self> {
        Arc::new(Self { requests, tokens, day: Mutex::default() })
    }

    /// Counts one answer and reserves `prompt_tokens`, an upper estimate for its prompt; `None` when a ceiling
    /// is reached.
    pub fn reserve(self: &Arc<Self>, prompt_tokens: u64) -> Option<Spending> {
        let mut day = self.on_day(utc_day());
        let reached = |ceiling: u64, so_far: u64| ceiling > 0 && so_far >= ceiling;
        if reached(self.requests, day.requests) || reached(self.tokens, day.tokens) {
            return None;
        }
        day.requests += 1;
        day.tokens = day.tokens.saturating_add(prompt_tokens);
        Some(Spending { budget: Arc::clone(self), day: day.number, counted: prompt_tokens })
    }

    /// Locks the count of day `number`, reset if the last count was of another day.
    fn on_day(&self, number: u64) -> MutexGuard<'_, Day> {
        let mut day = self.day.lock().unwrap_or_else(PoisonError::into_inner);
        if day.number != number {
            *day = Day { number, ..Day::default() };
        }
        day
    }
}

/// Holds one answer's share of the budget. Tokens count while the answer is written, so neither many questions
/// at once nor readers who leave before the end exceed the ceiling.
#[derive(Debug)]
pub struct Spending {
    budget: Arc<Budget>,
    day: u64,
    counted: u64,
}

impl Spending {
    /// Adds tokens that have been written.
    pub fn add(&mut self, tokens: u64) {
        self.correct(self.counted.saturating_add(tokens));
    }

    /// Refunds the whole share: no model has worked on the answer.
    pub fn refund(mut self) {
        self.correct(0);
        let mut day = self.budget.day.lock().unwrap_or_else(PoisonError::into_inner);
        if day.number == self.day {
            day.requests = day.requests.saturating_sub(1);
        }
    }

    /// Replaces the estimate by the tokens the answer really cost.
    pub fn correct(&mut self, tokens: u64) {
        let mut day = self.budget.day.lock().unwrap_or_else(PoisonError::into_inner);
        if day.number == self.day {
            day.tokens = day.tokens.saturating_sub(self.counted).saturating_add(tokens);
        }
        self.counted = tokens;
    }
}

/// Returns the number of days since 1970-01-01 UTC.
fn utc_day() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / SECONDS_PER_DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_of_requests_is_exact() {
        let budget = Budget::new(2, 0);
        let open: Vec<_> = (0..3).map(|_| budget.reserve(1_000_000)).collect();
        assert_eq!(open.iter().flatten().count(), 2);
        drop(open);
        assert!(budget.reserve(1).is_none(), "an answer that has ended still counts");
    }

    #[test]
    fn tokens_count_while_they_are_written_and_also_when_nobody_stays_for_the_end() {
        let budget = Budget::new(0, 100);
        let mut spending = budget.reserve(60).unwrap();
        spending.add(50);
        assert!(budget.reserve(1).is_none());
        spending.correct(80);
        let left = budget.reserve(20).unwrap();
        drop((spending, left));
        assert!(budget.reserve(1).is_none());
    }

    #[test]
    fn what_no_model_worked_on_does_not_count() {
        let budget = Budget::new(1, 100);
        budget.reserve(100).unwrap().refund();
        assert!(budget.reserve(100).is_some());
    }

    #[test]
    fn a_new_day_begins_at_nothing_whatever_the_old_one_still_spends() {
        let budget = Budget::new(1, 100);
        let mut yesterday = budget.reserve(10).unwrap();
        let tomorrow = utc_day() + 1;
        assert_eq!(*budget.on_day(tomorrow), Day { number: tomorrow, requests: 0, tokens: 0 });
        yesterday.correct(1_000);
        assert_eq!(budget.on_day(tomorrow).tokens, 0);
    }

    #[test]
    fn no_ceiling_refuses_nothing() {
        let budget = Budget::new(0, 0);
        assert!((0..1_000).all(|_| budget.reserve(u64::MAX).is_some()));
    }
}
