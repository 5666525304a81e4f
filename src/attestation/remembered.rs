//! What was verified once and need not be again. A verification without its time is a function of its bytes alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::crypto::Digest;

/// Results kept of each kind; then all are forgotten, which costs time and nothing else.
const KEPT: usize = 512;

/// Bytes of what a result is remembered of at most: real ones are a third of this, and hostile ones are not worth memory.
const LARGEST: usize = 32 << 10;

/// Results by the digest of what they are results of.
pub(super) struct Remembered<T>(Mutex<HashMap<Digest, Arc<T>>>);

impl<T> Remembered<T> {
    pub(super) fn new() -> Self {
        Remembered(Mutex::new(HashMap::new()))
    }

    /// The result for what has this digest and size, made by `make` if it is not known. Two threads may make the same one,
    /// and neither waits for the other.
    pub(super) fn get(&self, of: Digest, size: usize, make: impl FnOnce() -> T) -> Arc<T> {
        if size > LARGEST {
            return Arc::new(make());
        }
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&of) {
            return Arc::clone(known);
        }
        let made = Arc::new(make());
        let mut results = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if results.len() >= KEPT {
            results.clear();
        }
        Arc::clone(results.entry(of).or_insert(made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_made_once_and_memory_is_bounded() {
        let results = Remembered::new();
        let mut made = 0;
        for _ in 0..3 {
            assert_eq!(*results.get([1; 32], 1, || made += 1), ());
        }
        assert_eq!(made, 1);
        let results = Remembered::new();
        for number in 0..2 * KEPT {
            let mut of = [0; 32];
            of[..8].copy_from_slice(&number.to_le_bytes());
            assert_eq!(*results.get(of, LARGEST, || number), number);
            assert!(results.0.lock().unwrap().len() <= KEPT);
        }
        let before = results.0.lock().unwrap().len();
        assert_eq!(*results.get([0xff; 32], LARGEST + 1, || 7), 7);
        assert_eq!(results.0.lock().unwrap().len(), before);
    }
}
