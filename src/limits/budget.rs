//! Bounds the cost of a day's answers. Days are counted in UTC; a restart resets the count.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS_PER_DAY: u64 = 24 * 3_600;

/// Counts the answers that a model writes in a day, and their tokens, each against a ceiling; 0 sets no
/// ceiling.
#[derive(Debug)]
pub struct Budget {
    requests: u64,
    tokens: u64,
    /// A std lock: held for a few additions and never across an `await`.
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
        let mut day = self.lock_day(utc_day());
        let reached = |ceiling: u64, so_far: u64| ceiling > 0 && so_far >= ceiling;
        if reached(self.requests, day.requests) || reached(self.tokens, day.tokens) {
            return None;
        }
        day.requests += 1;
        day.tokens = day.tokens.saturating_add(prompt_tokens);
        Some(Spending { budget: Arc::clone(self), day: day.number, counted: prompt_tokens })
    }

    /// Locks the count of day `number`, and resets the count if it was of another day.
    fn lock_day(&self, number: u64) -> MutexGuard<'_, Day> {
        let mut day = self.lock();
        if day.number != number {
            *day = Day { number, ..Day::default() };
        }
        day
    }

    /// Locks the count as it is. A panic under the lock leaves numbers that are whole, so poisoning is ignored.
    fn lock(&self) -> MutexGuard<'_, Day> {
        self.day.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds one answer's share of the budget. Tokens count while the answer is written, so the budget also sees
/// answers that are still open, and answers whose readers leave before the end.
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

    /// Refunds the whole share of an answer on which no model has worked.
    pub fn refund(mut self) {
        self.correct(0);
        let mut day = self.budget.lock();
        if day.number == self.day {
            day.requests = day.requests.saturating_sub(1);
        }
    }

    /// Replaces the tokens counted so far by `tokens`, the real cost of the answer.
    pub fn correct(&mut self, tokens: u64) {
        let mut day = self.budget.lock();
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
    fn tokens_count_while_they_are_written_and_also_when_the_reader_leaves_early() {
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
    fn an_answer_that_no_model_worked_on_does_not_count() {
        let budget = Budget::new(1, 100);
        budget.reserve(100).unwrap().refund();
        assert!(budget.reserve(100).is_some());
    }

    #[test]
    fn a_new_day_begins_at_zero_and_ignores_spending_of_the_old_day() {
        let budget = Budget::new(1, 100);
        let mut yesterday = budget.reserve(10).unwrap();
        let tomorrow = utc_day() + 1;
        assert_eq!(*budget.lock_day(tomorrow), Day { number: tomorrow, requests: 0, tokens: 0 });
        yesterday.correct(1_000);
        assert_eq!(budget.lock_day(tomorrow).tokens, 0);
    }

    #[test]
    fn a_budget_without_ceilings_refuses_nothing() {
        let budget = Budget::new(0, 0);
        assert!((0..1_000).all(|_| budget.reserve(u64::MAX).is_some()));
    }
}
