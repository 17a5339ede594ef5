//! Every documented bound, and what keeps count: of answers that are open at once, of a client's requests, of what a day
//! may cost. All of them count in this process alone.

mod budget;
mod rate;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use budget::{Budget, Spending};
pub use rate::RateLimit;

/// JSON values of a body, names and lists among them; one with more is refused before it is read: it may take a hundred
/// times its size in memory. The largest question that is allowed has fewer.
pub const MAX_BODY_VALUES: usize = 2_000;
/// Bytes of a request's body; a larger one is a 413.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Bytes of all bodies that are being read, as they were declared; who comes beyond them is told that the server is busy.
pub const MAX_BODIES_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of a refused request's body that are read and thrown away before the connection is closed.
pub const MAX_DISCARDED_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of a request's head; hyper answers a larger one with 431.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Bytes of a response that the operating system holds for a reader who is slow to take them (Linux doubles the number); by
/// itself it would take up to 4 MiB for each. When they are full, reading from the model stops.
pub const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// Bytes of an answer's text; a longer one is cut there and ends as `max_tokens`.
pub const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// Bytes of an upstream's JSON body that Docent reads; a longer one is unusable.
/// A 3,072-dimension embedding takes about 64 KiB.
pub const MAX_UPSTREAM_BODY_BYTES: usize = 4 * 1024 * 1024;
/// The same for a batch of embeddings: 100 of 3,072 values take 4 to 8 MiB, depending on the white space.
pub const MAX_BATCH_BODY_BYTES: usize = 16 * 1024 * 1024;
/// Characters of a snippet in `sources`.
pub const SNIPPET_CHARS: usize = 240;

/// Room for the bodies that are being read: whoever sends many large ones slowly must not fill the memory.
#[derive(Debug, Clone)]
pub struct Bodies(Arc<Semaphore>);

impl Default for Bodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_BODIES_BYTES)))
    }
}

impl Bodies {
    /// Room for one body of so many bytes, until it has been read; `None` when there is none.
    pub fn try_acquire(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()
    }
}

/// How many answers may be open at once. Who finds none free is told at once (503): nothing queues.
#[derive(Debug, Clone)]
pub struct Permits {
    free: Arc<Semaphore>,
    max: usize,
}

impl Permits {
    /// Room for `max` answers.
    pub fn new(max: usize) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(max)), max }
    }

    /// How many there are in all.
    pub fn max(&self) -> usize {
        self.max
    }

    /// How many answers are open now.
    pub fn taken(&self) -> usize {
        self.max - self.free.available_permits()
    }

    /// One answer's permit, which it holds until it has ended; `None` when all are taken.
    pub fn try_acquire(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }
}
