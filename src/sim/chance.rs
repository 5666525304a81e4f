//! Choices from a seed.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// What reaches a disk as a whole, or not at all.
pub(super) const SECTOR: usize = 512;

/// What is chosen from random numbers.
pub(super) trait Chance {
    /// Below `n`; 0 where that is 0.
    fn below(&mut self, n: usize) -> usize;
    /// True once in `n` times.
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    /// True `n` times of a thousand.
    fn one_in_thousand(&mut self, n: u32) -> bool {
        self.below(1000) < n as usize
    }
    /// From the first up to the last.
    fn within(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last.saturating_sub(first) + 1)
    }
    /// One of them.
    fn pick<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        let at = self.below(all.len());
        all.get(at).copied()
    }
    /// In any order.
    fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            let other = self.below(at + 1);
            all.swap(at, other);
        }
    }
    /// Random numbers of their own.
    fn branch(&mut self) -> ChaCha20Rng;
}

impl Chance for ChaCha20Rng {
    fn below(&mut self, n: usize) -> usize {
        match n {
            0 => 0,
            n => (self.next_u64() % n as u64) as usize,
        }
    }

    fn branch(&mut self) -> ChaCha20Rng {
        let mut seed = [0; 32];
        self.fill_bytes(&mut seed);
        ChaCha20Rng::from_seed(seed)
    }
}
