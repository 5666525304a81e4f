//! A set of seqnos, one bit for each: which entries are worth a second reading.
//!
//! At 600 bytes an entry that is a five-thousandth of the ledger, whatever the set.

use crate::format::Seqno;

const BITS: u64 = 64;
/// Words by which the set grows at most at a time: 268 million seqnos, 32 MiB. Files may claim any seqno.
const MAX_GROWTH: usize = 1 << 22;

/// The set.
#[derive(Clone, Debug, Default)]
pub struct SeqnoSet {
    /// Seqno of the first bit; a multiple of 64.
    base: Seqno,
    words: Vec<u64>,
    /// A seqno could not be kept: then every one counts as added.
    all: bool,
}

impl SeqnoSet {
    /// Adds seqnos that follow each other; the first ones ever added are the lowest of all.
    pub fn set_all(&mut self, seqnos: &[Seqno]) {
        seqnos.iter().for_each(|seqno| self.set(*seqno));
    }

    /// The same set with one more.
    pub fn with(mut self, seqno: Seqno) -> Self {
        self.set(seqno);
        self
    }

    fn set(&mut self, seqno: Seqno) {
        if self.words.is_empty() {
            self.base = seqno - seqno % BITS;
        }
        let bit = seqno.checked_sub(self.base);
        let word = bit.and_then(|bit| usize::try_from(bit / BITS).ok());
        let Some((bit, word)) = bit.zip(word.filter(|word| *word < self.words.len() + MAX_GROWTH)) else {
            self.all = true;
            return;
        };
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            *word |= 1 << (bit % BITS);
        }
    }

    /// Whether it is in the set.
    pub fn contains(&self, seqno: Seqno) -> bool {
        self.next(seqno, seqno.saturating_add(1)).is_some()
    }

    /// The first seqno in `from..until` that is in the set.
    pub fn next(&self, from: Seqno, until: Seqno) -> Option<Seqno> {
        if self.all {
            return Some(from).filter(|from| *from < until);
        }
        let start = from.max(self.base) - self.base;
        let first = usize::try_from(start / BITS).ok()?;
        let mut mask = u64::MAX << (start % BITS);
        for (number, word) in self.words.iter().enumerate().skip(first) {
            let found = word & mask;
            mask = u64::MAX;
            let at = self.base + number as u64 * BITS;
            if found != 0 {
                return Some(at + u64::from(found.trailing_zeros())).filter(|seqno| *seqno < until);
            }
            if at >= until {
                return None;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seqno_that_was_added_is_found_and_no_other() {
        let seqnos = [70, 71, 127, 128, 129, 1000, 5000];
        let mut set = SeqnoSet::default();
        set.set_all(&seqnos[..3]);
        set.set_all(&seqnos[3..6]);
        let set = set.with(5000);
        for (from, until) in [
            (0, 10_000),
            (71, 1000),
            (72, 1001),
            (129, 130),
            (130, 999),
            (5000, 5001),
            (5001, 9999),
        ] {
            let mut found = Vec::new();
            let mut at = from;
            while let Some(seqno) = set.next(at, until) {
                found.push(seqno);
                at = seqno + 1;
            }
            let expected: Vec<_> = seqnos
                .iter()
                .copied()
                .filter(|seqno| (from..until).contains(seqno))
                .collect();
            assert_eq!(found, expected, "{from}..{until}");
        }
        assert_eq!(SeqnoSet::default().next(0, 100), None);
    }

    #[test]
    fn seqnos_that_no_ledger_has_take_no_memory_and_hide_none() {
        let mut set = SeqnoSet::default();
        set.set_all(&[5, u64::MAX - 1]);
        assert!(set.words.len() < 2 && set.contains(5) && set.contains(u64::MAX - 1) && set.contains(77));
    }
}
