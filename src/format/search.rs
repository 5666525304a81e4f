//! Where in a damaged chunk entries may begin: looked up once, however often a walk loses its way.
//!
//! Whether an entry can be read at a place is a property of the file. What a search has passed without finding any is
//! remembered as *barren*, for all walkers of the same file, and holes of a sparse file are barren from the start: so a hundred
//! wrong sizes before a long empty tail cost one pass over what was ever written. A file made of nothing but entries that
//! fit nowhere ends the search early instead: `PASSES` times its size is looked at and no more.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::Seqno;
use super::entry::VERSION;

/// How often the bytes of a file are looked at in all.
const PASSES: u64 = 8;
/// Shorter stretches between two readable places are not worth remembering.
const MIN_BARREN: u64 = 4 << 10;
/// What trying to read an entry costs, in bytes looked at.
const TRY_COST: u64 = 64;

/// What is known about one file.
pub struct Search {
    known: Mutex<Known>,
}

struct Known {
    /// Offsets at which no entry can be read.
    offsets: Barren,
    /// Indexes of the positions table that don't lead to their entries.
    indexes: Barren,
    budget: u64,
}

impl Search {
    /// Nothing is known of `size` bytes, but for the holes among them: these are zeros.
    pub fn new(size: u64, holes: impl Iterator<Item = Range<u64>>) -> Search {
        let mut offsets = Barren::default();
        holes.for_each(|hole| offsets.add(hole));
        let known = Known {
            offsets,
            indexes: Barren::default(),
            budget: size.saturating_mul(PASSES).saturating_add(1 << 20),
        };
        Search {
            known: Mutex::new(known),
        }
    }

    /// The first offset in `range` at which `read` finds an entry, by its seqno, that `fits`.
    pub(super) fn entry(
        &self,
        bytes: &[u8],
        range: Range<u64>,
        read: impl Fn(u64) -> Option<Seqno>,
        mut fits: impl FnMut(u64, Seqno) -> bool,
    ) -> Option<(u64, Seqno)> {
        let mut guard = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { offsets, budget, .. } = &mut *guard;
        let (mut at, mut barren_from, mut found) = (range.start, range.start, None);
        while at < range.end && found.is_none() {
            if let Some(end) = offsets.end_of(at) {
                at = end;
                continue;
            }
            let limit = offsets.next_start(at).unwrap_or(range.end).min(range.end);
            let piece = bytes.get(at as usize..limit as usize)?;
            let step = memchr::memchr(VERSION, piece).map_or(piece.len(), |before| before + 1) as u64;
            *budget = budget.checked_sub(step.saturating_add(TRY_COST))?;
            at += step;
            let candidate = at - 1;
            if bytes.get(candidate as usize) != Some(&VERSION) {
                continue;
            }
            if let Some(seqno) = read(candidate) {
                offsets.add_if_long(barren_from..candidate);
                barren_from = at;
                found = fits(candidate, seqno).then_some((candidate, seqno));
            }
        }
        offsets.add_if_long(barren_from..at.min(range.end));
        found
    }

    /// The first index in `range` at which `read` finds the entry that belongs there, and what it says of it.
    pub(super) fn index<T>(
        &self,
        range: Range<u64>,
        mut read: impl FnMut(u64) -> Option<T>,
        mut fits: impl FnMut(&T) -> bool,
    ) -> Option<T> {
        let mut guard = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { indexes, budget, .. } = &mut *guard;
        let (mut at, mut barren_from) = (range.start, range.start);
        while at < range.end {
            if let Some(end) = indexes.end_of(at) {
                at = end;
                continue;
            }
            *budget = budget.checked_sub(TRY_COST)?;
            if let Some(found) = read(at) {
                indexes.add_if_long(barren_from..at);
                barren_from = at + 1;
                if fits(&found) {
                    return Some(found);
                }
            }
            at += 1;
        }
        indexes.add_if_long(barren_from..at.min(range.end));
        None
    }
}

/// Disjoint ranges, by their start.
#[derive(Default)]
struct Barren(BTreeMap<u64, u64>);

impl Barren {
    /// Where the range that holds `at` ends.
    fn end_of(&self, at: u64) -> Option<u64> {
        let (_, &end) = self.0.range(..=at).next_back()?;
        (end > at).then_some(end)
    }

    /// Where the first range after `at` starts.
    fn next_start(&self, at: u64) -> Option<u64> {
        self.0.range(at + 1..).next().map(|(&start, _)| start)
    }

    fn add_if_long(&mut self, range: Range<u64>) {
        if range.end.saturating_sub(range.start) >= MIN_BARREN {
            self.add(range);
        }
    }

    /// Adds a range, together with those that it touches.
    fn add(&mut self, mut range: Range<u64>) {
        while let Some((&start, &end)) = self.0.range(..=range.end).next_back()
            && end >= range.start
        {
            self.0.remove(&start);
            range = range.start.min(start)..range.end.max(end);
        }
        if range.start < range.end {
            self.0.insert(range.start, range.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn ranges_that_touch_become_one() {
        let mut barren = Barren::default();
        for range in [10..20, 40..50, 20..30, 5..6, 28..41] {
            barren.add(range);
        }
        assert_eq!(barren.0.into_iter().collect::<Vec<_>>(), [(5, 6), (10, 50)]);
    }

    #[test]
    fn what_was_passed_is_not_looked_at_again() {
        let mut bytes = vec![0; 100_000];
        for at in [10, 50_000, 99_000] {
            bytes[at] = VERSION;
        }
        let search = Search::new(bytes.len() as u64, std::iter::empty());
        let tries = Cell::new(0);
        let read = |at: u64| {
            tries.set(tries.get() + 1);
            (at == 99_000).then_some(7)
        };
        for from in [0, 5, 11, 60_000] {
            assert_eq!(
                search.entry(&bytes, from..100_000, read, |_, seqno| seqno == 7),
                Some((99_000, 7))
            );
        }
        // Three places were tried once, and only the one that can be read again, once for each further search.
        assert_eq!(tries.get(), 3 + 3);
        assert_eq!(search.entry(&bytes, 0..90_000, read, |_, _| true), None);
        assert_eq!(tries.get(), 6);
    }

    #[test]
    fn holes_are_never_looked_at() {
        let bytes = vec![VERSION; 10_000];
        let search = Search::new(10_000, std::iter::once(0..9_990));
        let tries = Cell::new(0);
        let read = |_| {
            tries.set(tries.get() + 1);
            None
        };
        assert_eq!(search.entry(&bytes, 0..10_000, read, |_, _| true), None);
        assert_eq!(tries.get(), 10);
    }

    #[test]
    fn a_file_full_of_entries_that_fit_nowhere_ends_the_search() {
        let bytes = vec![VERSION; 10_000];
        let search = Search::new(1000, std::iter::empty());
        let tries = Cell::new(0u64);
        let read = |_| {
            tries.set(tries.get() + 1);
            Some(1)
        };
        for _ in 0..1000 {
            assert_eq!(search.entry(&bytes, 0..10_000, read, |_, _| false), None);
            assert_eq!(search.index(0..10_000, |at| read(at).map(|_| at), |_| false), None);
        }
        assert!(tries.get() <= (1000 * PASSES + (1 << 20)) / TRY_COST);
    }
}
