//! Bytes that many look at and one makes: at most twice a second, whatever the number of viewers, who all get the same ones; less
//! often where they take long to make, so that little of a processor goes into them whatever they are made of.
//!
//! Viewers are also told how long to wait until they look again: so long that all of them together ask `WANTED_A_SECOND` times a
//! second. Those who don't care are refused beyond `MOST_A_SECOND`, before anything is done for them.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::crypto::sha256;

/// Bytes are made anew after this time, if anybody asks.
const FRESH: Duration = Duration::from_millis(500);
/// Bytes that took some time to make are made anew after so many times that time, if that is longer.
const COST: u32 = 20;
/// But not later than after this time.
const STALE: Duration = Duration::from_secs(30);
/// Answers a second that viewers are asked to keep to.
const WANTED_A_SECOND: u32 = 25;
/// Answers a second beyond which viewers are refused.
const MOST_A_SECOND: u32 = 400;
/// Between two looks of one viewer.
const SOONEST: Duration = Duration::from_secs(1);
/// The same, with any number of them.
const LATEST: Duration = Duration::from_secs(20);
const WINDOW: Duration = Duration::from_secs(1);

/// What is sent.
#[derive(Debug)]
pub struct Ready {
    /// All of it.
    pub bytes: Bytes,
    /// Differs where the bytes do; in quotes, as headers have it.
    pub tag: String,
}

/// See the head of the module.
#[derive(Default)]
pub struct Board {
    ready: RwLock<Option<(Fresh, Arc<Ready>)>>,
    turn: tokio::sync::Mutex<()>,
    rate: Mutex<Rate>,
}

impl Board {
    /// The bytes, from `make` if those that are there are not fresh. While somebody makes them, others get the ones before; who finds
    /// none waits. Nothing if `make` panics.
    pub async fn look(&self, make: impl FnOnce() -> String + Send + 'static) -> Option<Arc<Ready>> {
        let before = match self.known() {
            Some((fresh, ready)) if fresh.is() => return Some(ready),
            before => before,
        };
        let _turn = match (self.turn.try_lock(), before) {
            (Ok(turn), _) => turn,
            (Err(_), Some((_, ready))) => return Some(ready),
            (Err(_), None) => self.turn.lock().await,
        };
        // Somebody else may have made them while this one waited.
        if let Some((fresh, ready)) = self.known()
            && fresh.is()
        {
            return Some(ready);
        }
        let began = Instant::now();
        let made = tokio::task::spawn_blocking(make).await.ok()?;
        let fresh = Fresh::after(began.elapsed());
        let digest = sha256(made.as_bytes());
        let ready = Arc::new(Ready {
            tag: format!("\"{}\"", hex::encode(digest.first_chunk::<16>()?)),
            bytes: made.into(),
        });
        let mut known = self.ready.write().unwrap_or_else(PoisonError::into_inner);
        *known = Some((fresh, Arc::clone(&ready)));
        Some(ready)
    }

    /// A viewer asks: after how long it may ask again, or nothing if there are too many.
    pub fn admit(&self) -> Option<Duration> {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.admit(Instant::now())
    }

    fn known(&self) -> Option<(Fresh, Arc<Ready>)> {
        self.ready.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Since when bytes are there, and how long they will do.
#[derive(Clone, Copy)]
struct Fresh {
    since: Instant,
    lasts: Duration,
}

impl Fresh {
    /// From now on, for bytes that took so long to make.
    fn after(took: Duration) -> Fresh {
        Fresh {
            since: Instant::now(),
            lasts: took.saturating_mul(COST).clamp(FRESH, STALE),
        }
    }

    fn is(self) -> bool {
        self.since.elapsed() < self.lasts
    }
}

/// How often viewers ask.
struct Rate {
    since: Instant,
    asked: u32,
    wait: Duration,
}

impl Default for Rate {
    fn default() -> Self {
        Rate {
            since: Instant::now(),
            asked: 0,
            wait: SOONEST,
        }
    }
}

impl Rate {
    fn admit(&mut self, now: Instant) -> Option<Duration> {
        let window = now.saturating_duration_since(self.since);
        if window >= WINDOW {
            // As many viewers as asked, if each did what it was told.
            let viewers = f64::from(self.asked) / window.as_secs_f64() * self.wait.as_secs_f64();
            let wait = Duration::from_secs_f64(viewers / f64::from(WANTED_A_SECOND));
            *self = Rate {
                since: now,
                asked: 0,
                wait: wait.clamp(SOONEST, LATEST),
            };
        }
        self.asked = self.asked.saturating_add(1);
        (self.asked <= MOST_A_SECOND).then_some(self.wait)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn any_number_of_viewers_has_the_bytes_made_once() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .build()
            .unwrap();
        let (board, made) = (Arc::new(Board::default()), Arc::new(AtomicUsize::new(0)));
        let began = Instant::now();
        let viewers: Vec<_> = (0..500)
            .map(|_| {
                let (board, made) = (Arc::clone(&board), Arc::clone(&made));
                runtime.spawn(async move {
                    let make = move || format!("page {}", made.fetch_add(1, Ordering::SeqCst));
                    board.look(make).await.unwrap()
                })
            })
            .collect();
        for viewer in viewers {
            let ready = runtime.block_on(viewer).unwrap();
            assert!(ready.bytes.starts_with(b"page ") && ready.tag.len() == 34);
        }
        let most = 1 + began.elapsed().as_millis() / FRESH.as_millis();
        assert!(made.load(Ordering::SeqCst) as u128 <= most);
    }

    #[test]
    fn what_takes_long_to_make_is_made_less_often() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (board, made) = (Board::default(), Arc::new(AtomicUsize::new(0)));
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(1500) {
            let count = Arc::clone(&made);
            let make = move || {
                std::thread::sleep(Duration::from_millis(100));
                format!("page {}", count.fetch_add(1, Ordering::SeqCst))
            };
            runtime.block_on(board.look(make)).unwrap();
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert_eq!(Fresh::after(Duration::ZERO).lasts, FRESH);
        assert_eq!(Fresh::after(Duration::from_secs(3600)).lasts, STALE);
    }

    #[test]
    fn a_panic_while_the_bytes_are_made_costs_one_answer() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let board = Board::default();
        assert!(runtime.block_on(board.look(|| panic!("on purpose"))).is_none());
        let ready = runtime.block_on(board.look(|| "well".to_owned())).unwrap();
        assert_eq!(ready.bytes, "well");
    }

    #[test]
    fn many_viewers_are_asked_to_wait_longer_and_a_flood_is_refused() {
        let mut rate = Rate::default();
        let began = rate.since;
        let second = |n: u64| began + Duration::from_secs(n);
        assert_eq!(rate.admit(second(0)), Some(SOONEST));
        let refused = (0..600).filter(|_| rate.admit(second(0)).is_none()).count();
        assert_eq!(refused, 601 - MOST_A_SECOND as usize);
        // Six hundred a second, each told to wait one: each may ask every twenty-four, but nobody waits so long.
        assert_eq!(rate.admit(second(1)), Some(LATEST));
        // They did: the same again, and when they are gone everybody may look often.
        for _ in 0..99 {
            rate.admit(second(1));
        }
        assert!(rate.admit(second(2)).unwrap() > Duration::from_secs(9));
        rate.admit(second(100));
        assert_eq!(rate.admit(second(101)), Some(SOONEST));
    }
}
