//! Whose turn it is: so many work at a time, and of one caller one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Turns at a time: most of theirs, scripts run in processes of their own.
const AT_A_TIME: usize = 4;

/// Of one caller so many wait or work: what others would find no place for.
const MOST_EACH: usize = 100;

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
    /// Waits for the turn of `caller`: first for the caller's own, so that one who waits takes no place of others. `None`
    /// if too many of the caller's wait already.
    pub async fn take(&self, caller: &str) -> Option<Turn> {
        let own = {
            let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever has or awaits a turn holds the semaphore too.
            callers.retain(|_, own| Arc::strong_count(own) > 1);
            let own = callers.entry(caller.to_owned());
            let own = own.or_insert_with(|| Arc::new(Semaphore::new(1)));
            if Arc::strong_count(own) > MOST_EACH {
                return None;
            }
            Arc::clone(own)
        };
        // Neither is ever closed.
        let own = own.acquire_owned().await.ok();
        let running = Arc::clone(&self.running).acquire_owned().await.ok();
        Some(Turn {
            _own: own,
            _running: running,
        })
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
        let first = turns.take("a").await.unwrap();
        assert!(timeout(soon, turns.take("a")).await.is_err());
        let others = [turns.take("b").await, turns.take("c").await, turns.take("d").await];
        assert!(others.iter().all(Option::is_some));
        assert!(timeout(soon, turns.take("e")).await.is_err(), "so many at a time");
        drop(first);
        let again = timeout(soon, turns.take("a")).await;
        assert!(again.is_ok());
        drop((others, again));
        drop(turns.take("z").await);
        assert!(turns.callers.lock().unwrap().len() <= 1, "who is gone is forgotten");
    }

    #[tokio::test]
    async fn a_caller_who_floods_is_turned_away_and_others_are_not() {
        let turns = Arc::new(Turns::default());
        let first = turns.take("a").await.unwrap();
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 1..MOST_EACH {
            let turns = Arc::clone(&turns);
            waiting.spawn(async move { turns.take("a").await.is_some() });
        }
        while turns.callers.lock().unwrap().get("a").map_or(0, Arc::strong_count) <= MOST_EACH {
            tokio::task::yield_now().await;
        }
        assert!(turns.take("a").await.is_none());
        assert!(turns.take("b").await.is_some());
        drop(first);
        while let Some(turn) = waiting.join_next().await {
            assert!(turn.unwrap(), "who waited in time gets a turn");
        }
        assert!(turns.take("a").await.is_some());
    }
}
