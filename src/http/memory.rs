//! How much memory requests and answers may take, of a session and of all of them.
//!
//! A client decides how much it sends and how little it reads. So everything that waits for a client has a share of two
//! budgets for as long as it lies in memory: heads and bodies until their handler is done with them, answers until the
//! last byte of them is written. A session that has used up its own waits for itself; where all together have, requests
//! are answered 503 until there is memory again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use hyper::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::Activity;

const UNIT_BYTES: usize = 1 << 10;
/// Of all sessions together.
const ALL_BYTES: usize = 256 << 20;
/// Of the heads of a session's requests at work.
const HEADS_BYTES: usize = 256 << 10;
/// Of a session's answers that are not written yet: the next request is handled when there is less. An answer that is
/// larger is alone.
const ANSWERS_BYTES: usize = 256 << 10;
/// What a header takes beside its text.
const PER_HEADER_BYTES: usize = 100;
/// Requests at work that a session always may have, and how many all may have together: each takes some memory, even if
/// it only waits.
const OWN_REQUESTS: usize = 8;
const ALL_REQUESTS: usize = 4096;

/// What all sessions share.
pub(super) struct Budget {
    bytes: Arc<Semaphore>,
    requests: AtomicUsize,
}

impl Budget {
    pub(super) fn new() -> Self {
        Budget {
            bytes: Arc::new(Semaphore::new(ALL_BYTES / UNIT_BYTES)),
            requests: AtomicUsize::new(0),
        }
    }

    /// A share of the memory, if there is that much.
    pub(super) fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        self.bytes.clone().try_acquire_many_owned(units(bytes)).ok()
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

/// What one session may take.
pub(super) struct Allowance {
    requests: Arc<AtomicUsize>,
    heads: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    body_limit: usize,
}

/// A request at work, counted until this is dropped.
pub(super) struct AtWork {
    own: Arc<AtomicUsize>,
    all: Arc<Budget>,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.own.fetch_sub(1, Relaxed);
        self.all.requests.fetch_sub(1, Relaxed);
    }
}

/// A share of a session's memory and of everybody's.
pub(super) struct Share {
    _own: Option<OwnedSemaphorePermit>,
    _all: Option<OwnedSemaphorePermit>,
}

impl Allowance {
    /// Of a session whose requests' bodies are at most `body_limit` bytes.
    pub(super) fn new(body_limit: usize) -> Self {
        let of = |bytes| Arc::new(Semaphore::new(units(bytes) as usize));
        Allowance {
            requests: Arc::default(),
            heads: of(HEADS_BYTES),
            // Two at once: while one is worked on the next may arrive.
            bodies: of(body_limit.saturating_mul(2).min(ALL_BYTES)),
            answers: of(ANSWERS_BYTES),
            body_limit,
        }
    }

    /// Counts a request, unless there are too many.
    pub(super) fn begin(&self, all: &Arc<Budget>) -> Option<AtWork> {
        let (own, together) = (self.requests.fetch_add(1, Relaxed), all.requests.fetch_add(1, Relaxed));
        let counted = AtWork {
            own: self.requests.clone(),
            all: all.clone(),
        };
        (own < OWN_REQUESTS || together < ALL_REQUESTS).then_some(counted)
    }

    /// Allowance for the head of a request, if there is any.
    pub(super) fn head(&self, all: &Budget, target_bytes: usize, headers: &HeaderMap) -> Option<Share> {
        let each = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
            name.as_str().len() + value.len() + PER_HEADER_BYTES
        };
        // The path and the query are kept as they are and decoded.
        let bytes = 2 * target_bytes + headers.iter().map(each).sum::<usize>();
        Some(Share {
            _own: Some(self.heads.clone().try_acquire_many_owned(units(bytes)).ok()?),
            _all: Some(all.take(bytes)?),
        })
    }

    /// Waits until the session may take a body of `bytes`, or of any size within the limit.
    pub(super) async fn body(&self, bytes: Option<u64>) -> Option<OwnedSemaphorePermit> {
        let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
        let most = bytes.unwrap_or(self.body_limit).min(self.body_limit);
        let bodies = self.bodies.clone();
        bodies.acquire_many_owned(units(most)).await.ok()
    }

    /// Waits until earlier answers leave memory for another.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.answers.clone().acquire_owned().await.ok()
    }

    /// Allowance for an answer that is there, if all together have that much.
    pub(super) fn answer(&self, all: &Budget, turn: Option<OwnedSemaphorePermit>, bytes: usize) -> Option<Share> {
        let together = all.take(bytes)?;
        let more = (units(bytes) as usize).min(self.answers.available_permits());
        let own = match (turn, self.answers.clone().try_acquire_many_owned(more as u32)) {
            (Some(mut turn), Ok(more)) => {
                turn.merge(more);
                Some(turn)
            }
            (turn, _) => turn,
        };
        Some(Share {
            _own: own,
            _all: Some(together),
        })
    }
}

/// An answer on its way: ends with its last byte.
pub(super) struct Sending {
    activity: Arc<Activity>,
    /// The answer's share, and the request's place among those at work.
    _held: (Option<Share>, Option<AtWork>),
}

impl Sending {
    pub(super) fn new(activity: &Arc<Activity>, share: Option<Share>, at_work: Option<AtWork>) -> Arc<Self> {
        activity.answer_begins();
        Arc::new(Sending {
            activity: activity.clone(),
            _held: (share, at_work),
        })
    }

    /// Bytes that tell the session when they are written.
    pub(super) fn piece(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Piece {
            bytes,
            sending: self.clone(),
        })
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.activity.answer_ends();
    }
}

/// A piece of an answer; it is dropped when it is written.
struct Piece {
    bytes: Bytes,
    sending: Arc<Sending>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.sending.activity.answer_moves();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_given_back() {
        let all = Budget::new();
        let whole = all.take(ALL_BYTES).unwrap();
        assert!(all.take(1).is_none());
        drop(whole);
        assert!(all.take(ALL_BYTES).is_some());
    }

    #[tokio::test]
    async fn a_session_waits_for_its_own_answers_to_be_written() {
        let (all, allowance) = (Budget::new(), Allowance::new(1 << 20));
        let turn = allowance.turn().await;
        // Larger than what a session may have: it goes alone.
        let first = allowance.answer(&all, turn, 10 * ANSWERS_BYTES).unwrap();
        let mut next = std::pin::pin!(allowance.turn());
        let waits = tokio::time::timeout(std::time::Duration::from_millis(20), next.as_mut()).await;
        assert!(waits.is_err());
        drop(first);
        assert!(next.await.is_some());
        assert_eq!(all.bytes.available_permits(), ALL_BYTES / UNIT_BYTES);
    }

    #[test]
    fn requests_are_counted_and_a_session_always_may_have_some() {
        let (all, allowance, other) = (Arc::new(Budget::new()), Allowance::new(1), Allowance::new(1));
        let mut at_work: Vec<_> = (0..ALL_REQUESTS).map(|_| allowance.begin(&all).unwrap()).collect();
        assert!(allowance.begin(&all).is_none());
        let few: Vec<_> = (0..OWN_REQUESTS).map(|_| other.begin(&all).unwrap()).collect();
        assert!(other.begin(&all).is_none());
        drop(few);
        at_work.clear();
        assert_eq!(all.requests.load(Relaxed), 0);
        assert!(allowance.begin(&all).is_some());
    }

    #[test]
    fn heads_have_memory_up_to_a_bound() {
        let (all, allowance) = (Budget::new(), Allowance::new(1));
        let mut headers = HeaderMap::new();
        for number in 0..64 {
            let name = hyper::header::HeaderName::try_from(format!("x-{number}")).unwrap();
            headers.insert(name, hyper::header::HeaderValue::from_static("value"));
        }
        let held: Vec<_> = std::iter::from_fn(|| allowance.head(&all, 2000, &headers)).collect();
        assert!((10..40).contains(&held.len()), "{}", held.len());
        drop(held);
        assert!(allowance.head(&all, 2000, &headers).is_some());
    }
}
