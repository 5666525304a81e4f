//! The tree's right edge: enough to append leaves and to know the root, and nothing more.
//!
//! An [`Accumulator`] holds the perfect subtrees ("peaks") that cover leaves 0 to n−1, largest first. [`Subtrees`]
//! reduces any range of leaves to the perfect subtrees inside it, without knowing what stands before: this is what
//! lets ranges of a ledger be hashed in parallel and joined in order with a handful of hashes.

use crate::crypto::digest::{Digest, sha256_pair, sha256_pairs};

/// A perfect subtree of 2^level leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subtree {
    /// Height: 0 is a leaf.
    pub level: u8,
    /// Its root.
    pub digest: Digest,
}

/// The peaks of leaves 0 to n−1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accumulator {
    peaks: Vec<Subtree>,
    leaves: u64,
}

impl Accumulator {
    /// No leaves at all.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A ledger's start: the one zero leaf that stands for seqno 0.
    pub fn genesis() -> Self {
        let mut start = Self::empty();
        start.append(&[0; 32]);
        start
    }

    /// From the peaks of `leaves` leaves, largest first.
    ///
    /// `None` if their number does not fit `leaves`.
    pub fn from_peaks(leaves: u64, digests: &[Digest]) -> Option<Self> {
        if leaves.count_ones() as usize != digests.len() {
            return None;
        }
        let levels = (0..64u8).rev().filter(|bit| leaves >> bit & 1 == 1);
        Some(Accumulator {
            peaks: levels
                .zip(digests)
                .map(|(level, digest)| Subtree { level, digest: *digest })
                .collect(),
            leaves,
        })
    }

    /// The peaks, largest first.
    pub fn peaks(&self) -> impl DoubleEndedIterator<Item = &Digest> {
        self.peaks.iter().map(|node| &node.digest)
    }

    /// Number of leaves; also the seqno of the next one.
    #[inline]
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    /// Appends one leaf.
    #[inline]
    pub fn append(&mut self, leaf: &Digest) {
        self.append_node(Subtree {
            level: 0,
            digest: *leaf,
        });
    }

    /// Appends a perfect subtree, as [`Subtrees`] produces them: its first leaf is the accumulator's next one, and
    /// it is no larger than the alignment of that leaf allows.
    pub fn append_node(&mut self, node: Subtree) {
        debug_assert!(self.leaves.trailing_zeros() >= u32::from(node.level));
        self.leaves += 1 << node.level;
        let mut node = node;
        while let Some(last) = self.peaks.last().filter(|last| last.level == node.level) {
            node = Subtree {
                level: node.level + 1,
                digest: sha256_pair(&last.digest, &node.digest),
            };
            self.peaks.pop();
        }
        self.peaks.push(node);
    }

    /// The root of all leaves; zeros for an empty tree.
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks().rev();
        let Some(mut root) = peaks.next().copied() else {
            return [0; 32];
        };
        for peak in peaks {
            root = sha256_pair(peak, &root);
        }
        root
    }
}

/// Blocks of at least 2^5 leaves are reduced level by level: below, the lanes would stay empty.
const MIN_BLOCK_LEVEL: u32 = 5;
/// And of at most 2^10: 32 KiB of digests, which fit the first-level cache with their messages.
const MAX_BLOCK_LEVEL: u32 = 10;

/// The root of 2^k leaves.
fn reduce(leaves: &[Digest]) -> Digest {
    let mut row = Vec::with_capacity(leaves.len() / 2);
    sha256_pairs(leaves, &mut row);
    let mut above = Vec::with_capacity(row.len() / 2);
    while row.len() > 1 {
        above.clear();
        sha256_pairs(&row, &mut above);
        std::mem::swap(&mut row, &mut above);
    }
    row.first().or(leaves.first()).copied().unwrap_or_default()
}

/// Reduces consecutive leaves, starting anywhere, to aligned perfect subtrees.
#[derive(Clone, Debug)]
pub struct Subtrees {
    nodes: Vec<Subtree>,
    next: u64,
}

impl Subtrees {
    /// Starts at leaf number `first`.
    pub fn starting_at(first: u64) -> Self {
        Subtrees {
            nodes: Vec::new(),
            next: first,
        }
    }

    /// Appends the next leaf.
    #[inline]
    pub fn append(&mut self, leaf: Digest) {
        // Leaf i closes one subtree for every trailing one of i, if that subtree began within the range.
        self.append_node(Subtree { level: 0, digest: leaf });
    }

    /// Appends many leaves: whole aligned blocks level by level, on all vector lanes.
    pub fn append_all(&mut self, leaves: &[Digest]) {
        let mut rest = leaves;
        while let Some((first, others)) = rest.split_first() {
            let aligned = self.next.trailing_zeros().min(MAX_BLOCK_LEVEL);
            let fits = rest.len().ilog2();
            let level = aligned.min(fits);
            if level < MIN_BLOCK_LEVEL {
                self.append(*first);
                rest = others;
                continue;
            }
            let (block, after) = rest.split_at_checked(1 << level).unwrap_or((rest, &[]));
            self.append_node(Subtree {
                level: level as u8,
                digest: reduce(block),
            });
            rest = after;
        }
    }

    /// Appends a perfect subtree whose first leaf is the next one.
    fn append_node(&mut self, node: Subtree) {
        let mut node = node;
        let mut index = self.next >> node.level;
        self.next += 1 << node.level;
        while index & 1 == 1 {
            match self.nodes.last() {
                Some(left) if left.level == node.level => {
                    node = Subtree {
                        level: node.level + 1,
                        digest: sha256_pair(&left.digest, &node.digest),
                    };
                    self.nodes.pop();
                }
                _ => break,
            }
            index >>= 1;
        }
        self.nodes.push(node);
    }

    /// Number of the next leaf.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The subtrees so far, in leaf order; the next leaf starts a new range.
    pub fn take(&mut self) -> Vec<Subtree> {
        std::mem::take(&mut self.nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::digest::sha256;

    fn leaf(i: u64) -> Digest {
        sha256(&i.to_le_bytes())
    }

    /// The definition: split at the largest power of two below n.
    fn root_by_definition(leaves: &[Digest]) -> Digest {
        match leaves.len() {
            0 => [0; 32],
            1 => leaves[0],
            n => {
                let split = (n / 2 + n % 2).next_power_of_two();
                sha256_pair(
                    &root_by_definition(&leaves[..split]),
                    &root_by_definition(&leaves[split..]),
                )
            }
        }
    }

    #[test]
    fn roots_of_all_sizes_follow_the_definition() {
        let leaves: Vec<_> = (0..130).map(leaf).collect();
        let mut accumulator = Accumulator::empty();
        for n in 0..leaves.len() {
            assert_eq!(accumulator.root(), root_by_definition(&leaves[..n]), "{n} leaves");
            accumulator.append(&leaves[n]);
        }
    }

    #[test]
    fn any_cut_into_ranges_gives_the_same_accumulator() {
        let leaves: Vec<_> = (0..100).map(leaf).collect();
        let mut whole = Accumulator::empty();
        leaves.iter().for_each(|leaf| whole.append(leaf));
        for a in 0..100 {
            for b in [a, (a + 7).min(100), 100] {
                let mut joined = Accumulator::empty();
                for range in [0..a, a..b, b..100] {
                    let mut subtrees = Subtrees::starting_at(range.start as u64);
                    range.for_each(|i| subtrees.append(leaves[i]));
                    subtrees.take().into_iter().for_each(|node| joined.append_node(node));
                }
                assert_eq!(joined, whole, "cut at {a} and {b}");
            }
        }
    }

    #[test]
    fn many_leaves_at_once_are_the_same_as_one_by_one() {
        let leaves: Vec<_> = (0..3000).map(leaf).collect();
        for (first, lengths) in [(0, [3000, 0]), (1, [1500, 1499]), (37, [5, 2000]), (1024, [1, 1025])] {
            let (mut one_by_one, mut bulk) = (Subtrees::starting_at(first), Subtrees::starting_at(first));
            let mut at = first as usize;
            for length in lengths {
                let some = &leaves[at..(at + length).min(leaves.len())];
                some.iter().for_each(|leaf| one_by_one.append(*leaf));
                bulk.append_all(some);
                at += some.len();
            }
            assert_eq!(bulk.next(), one_by_one.next());
            assert_eq!(bulk.take(), one_by_one.take());
        }
    }

    #[test]
    fn subtrees_count_their_leaves_from_where_they_start() {
        let mut subtrees = Subtrees::starting_at(37);
        assert_eq!(subtrees.next(), 37);
        subtrees.append(leaf(37));
        assert_eq!(subtrees.next(), 38);
        let many: Vec<_> = (38..500).map(leaf).collect();
        subtrees.append_all(&many);
        assert_eq!(subtrees.next(), 500);
        assert_eq!(subtrees.take().iter().map(|node| 1u64 << node.level).sum::<u64>(), 463);
        assert_eq!(subtrees.next(), 500, "taking them does not go back");
    }

    #[test]
    fn peaks_rebuild_the_accumulator() {
        let mut accumulator = Accumulator::genesis();
        (1..77).for_each(|i| accumulator.append(&leaf(i)));
        let peaks: Vec<_> = accumulator.peaks().copied().collect();
        assert_eq!(Accumulator::from_peaks(77, &peaks), Some(accumulator));
        assert_eq!(Accumulator::from_peaks(78, &peaks[1..]), None);
    }
}
