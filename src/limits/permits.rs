//! Counts the answers that are open at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Admits a bounded number of answers at once. Requests do not queue: if no permit is free, a request gets 503
/// at once.
#[derive(Debug, Clone)]
pub struct AnswerPermits {
    free: Arc<Semaphore>,
    max: usize,
}

impl AnswerPermits {
    /// Creates permits for `max` answers.
    pub fn new(max: usize) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(max)), max }
    }

    /// Returns the largest number of answers that may be open at once.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Returns the number of answers that are open now.
    pub fn taken(&self) -> usize {
        self.max - self.free.available_permits()
    }

    /// Takes a permit, which an answer holds until it has ended; `None` if all permits are taken.
    pub fn try_acquire(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_its_permit_until_it_has_ended() {
        let permits = AnswerPermits::new(1);
        let open = permits.try_acquire().unwrap();
        assert!(permits.try_acquire().is_none());
        assert_eq!((permits.taken(), permits.max()), (1, 1));
        drop(open);
        assert!(permits.try_acquire().is_some());
    }
}
