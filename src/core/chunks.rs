//! Where entries lie in chunk files. Format specification, sections 1.1 and 1.3.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::format::Seqno;
use crate::format::chunk::FIRST_ENTRY;
use crate::journal::files::Operation;

/// Entries of a chunk must end below 4 GiB, which its positions can express.
const LARGEST_CHUNK: u64 = u32::MAX as u64;
/// What is kept free of that for the signature that ends a chunk, which nobody can be refused, and for the node's own entries:
/// the tree in it has 32 bytes for each entry that is not committed.
const RESERVED: u64 = 256 << 20;
/// However large chunks may be, a signature ends them here: there is room in the next one.
pub(super) const LARGEST_AIM: u64 = LARGEST_CHUNK / 2;

/// A chunk that is not completed.
struct Chunk {
    first: Seqno,
    /// Where each entry begins.
    positions: Vec<u32>,
    /// Where the entries end.
    end: u64,
    /// Its last entry is a signature that ends it.
    ends: bool,
}

impl Chunk {
    fn next(&self) -> Seqno {
        self.first + self.positions.len() as u64
    }
}

/// Where an entry belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// First seqno of its chunk.
    pub(super) chunk: Seqno,
    /// Where it begins.
    pub(super) offset: u64,
    /// Whether it is the chunk's first entry.
    pub(super) is_first: bool,
    /// Whether the chunk belongs to a service that is being recovered.
    pub(super) recovering: bool,
}

/// The chunks that are not completed, in order. More than one where a chunk has ended that is not committed yet.
pub(super) struct Chunks {
    open: VecDeque<Chunk>,
    recovering: bool,
}

impl Chunks {
    /// Chunks of a service that is being recovered, or not.
    pub(super) fn new(recovering: bool) -> Chunks {
        Chunks {
            open: VecDeque::new(),
            recovering,
        }
    }

    /// Whether a service is being recovered.
    pub(super) fn is_recovering(&self) -> bool {
        self.recovering
    }

    /// From the next chunk on, a service is being recovered, or is not any more.
    pub(super) fn set_recovering(&mut self, recovering: bool) {
        self.recovering = recovering;
    }

    /// Bytes of the chunk that the next entry belongs to.
    pub(super) fn size(&self) -> u64 {
        self.growing().map_or(FIRST_ENTRY, |chunk| chunk.end)
    }

    /// First seqno of the chunks that are not completed.
    pub(super) fn first(&self) -> Option<Seqno> {
        self.open.front().map(|chunk| chunk.first)
    }

    /// First seqno of the chunk that the next entry belongs to, if it has entries.
    pub(super) fn growing_chunk(&self) -> Option<Seqno> {
        self.growing().map(|chunk| chunk.first)
    }

    /// The greatest seqno up to `at_most` so that the entries after `after`, which are in these chunks, are of `bytes`
    /// together; at least one.
    pub(super) fn reach(&self, after: Seqno, at_most: Seqno, bytes: u64) -> Seqno {
        let holds = |chunk: &&Chunk| chunk.first <= after + 1 && after + 1 < chunk.next();
        let Some(chunk) = self.open.iter().find(holds) else {
            return at_most.min(after + 1);
        };
        let last = at_most.min(chunk.next() - 1);
        let at = |seqno: Seqno| {
            let index = usize::try_from(seqno - chunk.first).unwrap_or(usize::MAX);
            chunk.positions.get(index).map_or(chunk.end, |at| u64::from(*at))
        };
        let begin = at(after + 1);
        let within = |seqno: &Seqno| at(*seqno + 1) - begin <= bytes;
        // Positions rise: the last that is within is found by halves.
        let (mut low, mut high) = (after + 1, last);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            match within(&middle) {
                true => low = middle,
                false => high = middle - 1,
            }
        }
        low
    }

    fn growing(&self) -> Option<&Chunk> {
        self.open.back().filter(|chunk| !chunk.ends)
    }

    /// Whether an entry of `size` bytes still fits the chunk that is being written, with a signature after it, so that
    /// positions can express both.
    pub(super) fn has_room(&self, size: u64) -> bool {
        self.size().saturating_add(size) <= LARGEST_CHUNK - RESERVED
    }

    /// Whether an entry of `size` bytes that another node has sealed fits: whoever leads has to keep room for its signatures.
    pub(super) fn takes(&self, size: u64) -> bool {
        self.size().saturating_add(size) <= LARGEST_CHUNK
    }

    /// Gives the entry of `seqno` its place.
    pub(super) fn place(&mut self, seqno: Seqno, size: u64) -> Place {
        if self.growing().is_none() {
            self.open.push_back(Chunk {
                first: seqno,
                positions: Vec::new(),
                end: FIRST_ENTRY,
                ends: false,
            });
        }
        let Some(chunk) = self.open.back_mut() else {
            unreachable!("a chunk was opened above");
        };
        assert_eq!(chunk.next(), seqno, "entries are placed in order");
        let place = Place {
            chunk: chunk.first,
            offset: chunk.end,
            is_first: chunk.positions.is_empty(),
            recovering: self.recovering,
        };
        chunk.positions.push(u32::try_from(chunk.end).unwrap_or(u32::MAX));
        chunk.end += size;
        assert!(chunk.end <= LARGEST_CHUNK, "whoever seals asks for room first");
        place
    }

    /// The last entry was a signature that ends its chunk.
    pub(super) fn end_chunk(&mut self) {
        if let Some(chunk) = self.open.back_mut() {
            chunk.ends = true;
        }
    }

    /// Takes the chunks that end at or before `committed`, which can be completed now.
    pub(super) fn complete(&mut self, committed: Seqno) -> Vec<Operation> {
        let mut completed = Vec::new();
        while let Some(chunk) = self
            .open
            .pop_front_if(|chunk| chunk.ends && chunk.next() <= committed + 1)
        {
            completed.push(completion(chunk));
        }
        completed
    }

    /// Takes the chunk that is being written, to be completed although no signature ends it.
    pub(super) fn complete_last(&mut self) -> Option<Operation> {
        self.open.pop_back().map(completion)
    }

    /// Forgets every entry after `last`.
    pub(super) fn cut(&mut self, last: Seqno) -> Vec<Operation> {
        let mut cuts = Vec::new();
        while let Some(chunk) = self.open.pop_back_if(|chunk| chunk.first > last) {
            cuts.push(Operation::Remove { chunk: chunk.first });
        }
        if let Some(chunk) = self.open.back_mut()
            && chunk.next() > last + 1
        {
            let kept = usize::try_from(last + 1 - chunk.first).unwrap_or(usize::MAX);
            chunk.end = chunk.positions.get(kept).map_or(chunk.end, |end| u64::from(*end));
            chunk.positions.truncate(kept);
            chunk.ends = false;
            cuts.push(Operation::Cut {
                chunk: chunk.first,
                end: chunk.end,
            });
        }
        cuts
    }
}

fn completion(chunk: Chunk) -> Operation {
    Operation::Complete {
        chunk: chunk.first,
        last: chunk.next() - 1,
        end: chunk.end,
        positions: Arc::from(chunk.positions),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_fits_after_whatever_was_taken() {
        let mut chunks = Chunks::new(false);
        let (mut seqno, mut size) = (0, 1 << 30);
        while size > 0 {
            match chunks.has_room(size) {
                true => {
                    seqno += 1;
                    chunks.place(seqno, size);
                }
                false => size /= 2,
            }
        }
        assert!(chunks.size() >= LARGEST_AIM, "the next signature ends it");
        chunks.place(seqno + 1, 100 << 20);
        chunks.end_chunk();
        assert!(chunks.has_room(1 << 30));
    }
}
