//! How often keys of token issuers are fetched, and when.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// How often keys were fetched, and the wish to have it done now.
#[derive(Default)]
pub struct JwtRefresh {
    attempts: AtomicU64,
    successes: AtomicU64,
    wish: Notify,
}

impl JwtRefresh {
    /// Fetches at once.
    pub fn wake(&self) {
        self.wish.notify_one();
    }

    /// Waits until somebody asks for it.
    pub(super) async fn wished(&self) {
        self.wish.notified().await;
    }

    /// One issuer is asked.
    pub(super) fn attempted(&self) {
        self.attempts.fetch_add(1, Ordering::AcqRel);
    }

    /// It has answered, and its keys are known.
    pub(super) fn succeeded(&self) {
        self.successes.fetch_add(1, Ordering::AcqRel);
    }

    /// Attempts, one for each issuer and time, and how many of them succeeded.
    pub fn counts(&self) -> (u64, u64) {
        // In this order: what succeeds meanwhile was attempted before.
        let successes = self.successes.load(Ordering::Acquire);
        (self.attempts.load(Ordering::Acquire), successes)
    }
}
