//! A set of seqnos: which entries are worth a second reading.
//!
//! Memory follows what is in it: a seventh of a byte for each seqno where all are, 136 bytes for one that stands alone.

use serde::{Deserialize, Serialize};

use crate::format::Seqno;

const BITS: u64 = 64;
/// Words of a block.
const WORDS: usize = 16;
/// Seqnos of a block.
const BLOCK: u64 = BITS * WORDS as u64;

/// The set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeqnoSet {
    /// Those with anything in them, in order.
    blocks: Vec<Block>,
    /// A seqno could not be kept: then every one counts as added.
    all: bool,
}

/// One bit for each of [`BLOCK`] seqnos.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Block {
    /// Its first seqno, divided by [`BLOCK`].
    number: u64,
    words: [u64; WORDS],
}

impl SeqnoSet {
    /// Adds seqnos that follow each other, after all that were added before.
    pub fn set_all(&mut self, seqnos: &[Seqno]) {
        seqnos.iter().for_each(|seqno| self.set(*seqno));
    }

    /// The same set with one more.
    pub fn with(mut self, seqno: Seqno) -> Self {
        self.set(seqno);
        self
    }

    fn set(&mut self, seqno: Seqno) {
        let number = seqno / BLOCK;
        match self.blocks.last().map(|block| block.number) {
            Some(last) if last == number => {}
            // Where a file claims seqnos of before, nothing is worth remembering.
            Some(last) if last > number => self.all = true,
            _ => self.blocks.push(Block {
                number,
                words: [0; WORDS],
            }),
        }
        let (word, bit) = ((seqno % BLOCK / BITS) as usize, seqno % BITS);
        if let Some(block) = self.blocks.last_mut().filter(|block| block.number == number)
            && let Some(word) = block.words.get_mut(word)
        {
            *word |= 1 << bit;
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
        let first = self.blocks.partition_point(|block| block.number < from / BLOCK);
        for block in self.blocks.get(first..)? {
            let start = block.number.saturating_mul(BLOCK);
            if start >= until {
                return None;
            }
            for (number, word) in (0..).zip(block.words) {
                let at = start.saturating_add(number * BITS);
                let before = from.saturating_sub(at);
                let mask = if before < BITS { u64::MAX << before } else { 0 };
                if word & mask != 0 {
                    let found = at.saturating_add(u64::from((word & mask).trailing_zeros()));
                    return Some(found).filter(|seqno| *seqno < until);
                }
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
        assert!(set.blocks.len() == 2 && set.contains(5) && set.contains(u64::MAX - 1) && !set.contains(77));
        set.set_all(&[6]);
        assert!(set.blocks.len() == 2 && set.contains(5) && set.contains(6) && set.contains(77));
    }

    #[test]
    fn a_set_is_written_and_read_back() {
        let mut set = SeqnoSet::default();
        set.set_all(&[1, 2, 5000]);
        let text = serde_json::to_string(&set).unwrap();
        assert_eq!(serde_json::from_str::<SeqnoSet>(&text).unwrap(), set);
    }
}
