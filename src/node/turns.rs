//! Whose turn it is: so many work at a time, and of one caller one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Turns at a time: most of theirs, scripts run in processes of their own.
const AT_A_TIME: usize = 4;

/// Gives turns.
pub struct Turns {
    running: Arc<Semaphore>,
    /// One turn for each caller who has it, or waits for it.
    callers: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Default for Turns {
    fn default() -> Self {
        Turns {
            running: Arc::new(Semaphore::new(AT_A_TIME)),
            callers: Mutex::default(),
        }
    }
}

/// A turn, as long as it lives.
pub struct Turn {
    _own: Option<OwnedSemaphorePermit>,
    _running: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// Waits for the turn of `caller`: first for the caller's own, so that one who waits takes no place of others.
    pub async fn take(&self, caller: &str) -> Turn {
        let own = {
            let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever has or awaits a turn holds the semaphore too.
            callers.retain(|_, own| Arc::strong_count(own) > 1);
            let own = callers.entry(caller.to_owned());
            Arc::clone(own.or_insert_with(|| Arc::new(Semaphore::new(1))))
        };
        // Neither is ever closed.
        let own = own.acquire_owned().await.ok();
        let running = Arc::clone(&self.running).acquire_owned().await.ok();
        Turn {
            _own: own,
            _running: running,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_caller_who_wants_every_turn_gets_one_and_leaves_the_others() {
        let turns = Turns::default();
        let soon = Duration::from_millis(20);
        let first = turns.take("a").await;
        assert!(timeout(soon, turns.take("a")).await.is_err());
        let others = [turns.take("b").await, turns.take("c").await, turns.take("d").await];
        assert!(timeout(soon, turns.take("e")).await.is_err(), "so many at a time");
        drop(first);
        let again = timeout(soon, turns.take("a")).await;
        assert!(again.is_ok());
        drop((others, again));
        drop(turns.take("z").await);
        assert!(turns.callers.lock().unwrap().len() <= 1, "who is gone is forgotten");
    }
}
