//! Bounds the bytes of a request, before they are parsed. The bounds of a question are beside
//! [`Question`](crate::chat::Question).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a request's body; a larger body gets 413 `payload_too_large`.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Declared bytes of all bodies that are being read at once; a request beyond them gets 503 `overloaded`.
pub const MAX_BODIES_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of a refused request's body that are read and discarded before the connection is closed.
pub const MAX_DISCARDED_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of a request's head; hyper answers a larger head with 431.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Counts the bytes of the bodies that are being read: clients that send many large bodies slowly must not fill
/// the memory.
#[derive(Debug, Clone)]
pub struct BodyBytes(Arc<Semaphore>);

impl Default for BodyBytes {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_BODIES_BYTES)))
    }
}

impl BodyBytes {
    /// Reserves room for one body of `bytes` until the permit is dropped; `None` if there is no room.
    pub fn try_acquire(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_the_room_and_give_it_back() {
        let bytes = BodyBytes::default();
        let most = bytes.try_acquire(MAX_BODIES_BYTES - 1).unwrap();
        assert!(bytes.try_acquire(2).is_none());
        drop(most);
        assert!(bytes.try_acquire(2).is_some());
        assert!(bytes.try_acquire(MAX_BODIES_BYTES + 1).is_none() && bytes.try_acquire(usize::MAX).is_none());
    }
}
