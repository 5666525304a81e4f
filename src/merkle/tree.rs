//! The tree as signature transactions carry it: recent leaves, and the peaks of those flushed before.
//!
//! | size | field |
//! |---|---|
//! | u64 **BE** | N, number of leaves stored |
//! | u64 **BE** | F, number of leaves flushed: index of the first stored leaf |
//! | 32·N | leaves F to F+N−1 |
//! | 32·popcount(F) | peaks of the first F leaves, smallest first |
//!
//! In the signature at seqno S, F+N = S. Format specification, section 5.2.

use super::accumulator::Accumulator;
use crate::crypto::digest::{Digest, sha256_pair};
use crate::format::Malformed;
use crate::format::cursor::Cursor;

/// Sizes of a serialised tree, read without copying its leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeView<'a> {
    /// Index of the first stored leaf.
    pub flushed: u64,
    leaves: &'a [u8],
    peaks: &'a [u8],
}

impl<'a> TreeView<'a> {
    /// Reads a serialised tree.
    ///
    /// # Errors
    /// [`Malformed`] if its length is not what its two numbers ask for.
    pub fn parse(bytes: &'a [u8]) -> Result<TreeView<'a>, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let stored = cursor.u64_be("number of leaves")?;
        let flushed = cursor.u64_be("number of flushed leaves")?;
        let peaks = u64::from(flushed.count_ones()) * 32;
        let expected = stored.checked_mul(32).and_then(|n| n.checked_add(peaks));
        if expected != Some(cursor.remaining() as u64) || flushed.checked_add(stored).is_none() {
            return Err(Malformed::at(
                0,
                format!(
                    "tree claims {stored} leaves after {flushed} flushed ones, but has {} bytes for them and its peaks",
                    cursor.remaining()
                ),
            ));
        }
        let peaks_len = peaks as usize;
        let leaves = cursor.take(cursor.remaining() - peaks_len, "leaves")?;
        Ok(TreeView {
            flushed,
            leaves,
            peaks: cursor.take(peaks_len, "peaks")?,
        })
    }

    /// Number of leaves in all, flushed ones included: the seqno of the signature that carries it.
    pub fn len(&self) -> u64 {
        self.flushed + (self.leaves.len() / 32) as u64
    }

    /// True for a tree of no leaves.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The stored leaf with this index.
    pub fn leaf(&self, index: u64) -> Option<&'a Digest> {
        let at = usize::try_from(index.checked_sub(self.flushed)?)
            .ok()?
            .checked_mul(32)?;
        self.leaves.get(at..)?.first_chunk()
    }

    /// The stored leaves, in order.
    pub fn leaves(&self) -> impl Iterator<Item = &'a Digest> {
        self.leaves.as_chunks::<32>().0.iter()
    }

    /// The peaks of the flushed leaves, largest first.
    pub fn peaks(&self) -> impl Iterator<Item = &'a Digest> {
        self.peaks.as_chunks::<32>().0.iter().rev()
    }

    /// The accumulator of the first `leaves` leaves; `None` if they are not among the stored ones.
    pub fn accumulator(&self, leaves: u64) -> Option<Accumulator> {
        let stored = leaves.checked_sub(self.flushed)?;
        if leaves > self.len() {
            return None;
        }
        let peaks: Vec<Digest> = self.peaks().copied().collect();
        let mut accumulator = Accumulator::from_peaks(self.flushed, &peaks)?;
        for leaf in self.leaves().take(stored as usize) {
            accumulator.append(leaf);
        }
        Some(accumulator)
    }

    /// The root of the whole tree.
    pub fn root(&self) -> Option<Digest> {
        self.accumulator(self.len()).map(|a| a.root())
    }
}

/// A growing tree that can still prove its recent leaves: what a writer of a ledger keeps.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The flushed part.
    flushed: Accumulator,
    /// Leaves from `flushed.leaves()` on.
    recent: Vec<Digest>,
    /// Everything.
    all: Accumulator,
}

impl Tree {
    /// A ledger's start.
    pub fn genesis() -> Self {
        Self::continuing(Accumulator::empty(), vec![[0; 32]])
    }

    /// From flushed peaks and the leaves after them.
    pub fn continuing(flushed: Accumulator, recent: Vec<Digest>) -> Self {
        let mut all = flushed.clone();
        recent.iter().for_each(|leaf| all.append(leaf));
        Tree { flushed, recent, all }
    }

    /// Appends the leaf of the next transaction.
    pub fn append(&mut self, leaf: Digest) {
        self.all.append(&leaf);
        self.recent.push(leaf);
    }

    /// Number of leaves: the seqno of the next transaction.
    pub fn len(&self) -> u64 {
        self.all.leaves()
    }

    /// Never true for a ledger's tree, which starts with the zero leaf.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The root.
    pub fn root(&self) -> Digest {
        self.all.root()
    }

    /// Forgets the leaves below `index`, keeping their peaks.
    pub fn flush_to(&mut self, index: u64) {
        let Some(n) = index.checked_sub(self.flushed.leaves()) else {
            return;
        };
        let n = usize::try_from(n).unwrap_or(usize::MAX).min(self.recent.len());
        for leaf in self.recent.drain(..n) {
            self.flushed.append(&leaf);
        }
    }

    /// Drops the leaves from `leaves` on; those that were flushed stay.
    pub fn retract_to(&mut self, leaves: u64) {
        let kept = leaves.saturating_sub(self.flushed.leaves());
        self.recent.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        self.all = self.flushed.clone();
        self.recent.iter().for_each(|leaf| self.all.append(leaf));
    }

    /// The last leaf, unless it is flushed.
    pub fn last(&self) -> Option<&Digest> {
        self.recent.last()
    }

    /// The bytes for `public:ccf.internal.tree`.
    pub fn serialise(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + 32 * (self.recent.len() + 64));
        out.extend_from_slice(&(self.recent.len() as u64).to_be_bytes());
        out.extend_from_slice(&self.flushed.leaves().to_be_bytes());
        out.extend_from_slice(self.recent.as_flattened());
        for peak in self.flushed.peaks().rev() {
            out.extend_from_slice(peak);
        }
        out
    }

    /// The path from a recent leaf to the root, innermost sibling first; `None` if the leaf is flushed or not there.
    pub fn path(&self, index: u64) -> Option<Vec<Step>> {
        let base = self.flushed.leaves();
        let mut at = usize::try_from(index.checked_sub(base)?).ok()?;
        if at >= self.recent.len() {
            return None;
        }
        // One level at a time: the row of nodes from the flushed edge on. A flushed peak joins the row from the left
        // at the level where it stands.
        let mut row = self.recent.clone();
        let mut first = base;
        let mut peaks = self.flushed_peaks_by_level();
        let mut level = 0u8;
        let mut path = Vec::new();
        while row.len() > 1 || !peaks.is_empty() {
            if first & 1 == 1 {
                let peak = peaks.remove(&level)?;
                row.insert(0, peak);
                first -= 1;
                at += 1;
            }
            let sibling = at ^ 1;
            if let Some(digest) = row.get(sibling) {
                path.push(Step {
                    left: sibling < at,
                    digest: *digest,
                });
            }
            row = row
                .chunks(2)
                .filter_map(|pair| match pair {
                    [left, right] => Some(sha256_pair(left, right)),
                    [single] => Some(*single),
                    _ => None,
                })
                .collect();
            at /= 2;
            first /= 2;
            level += 1;
        }
        Some(path)
    }

    fn flushed_peaks_by_level(&self) -> std::collections::BTreeMap<u8, Digest> {
        let leaves = self.flushed.leaves();
        let levels = (0..64u8).rev().filter(|bit| leaves >> bit & 1 == 1);
        levels.zip(self.flushed.peaks().copied()).collect()
    }
}

/// One step of a path from a leaf to the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Whether the sibling stands on the left.
    pub left: bool,
    /// The sibling.
    pub digest: Digest,
}

/// Folds a path: the root that `leaf` has by it.
pub fn fold(leaf: Digest, path: &[Step]) -> Digest {
    path.iter().fold(leaf, |at, step| match step.left {
        true => sha256_pair(&step.digest, &at),
        false => sha256_pair(&at, &step.digest),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::digest::sha256;

    fn tree(flushed: u64, leaves: u64) -> Tree {
        let mut tree = Tree::genesis();
        (1..leaves).for_each(|i| tree.append(sha256(&i.to_le_bytes())));
        tree.flush_to(flushed);
        tree
    }

    #[test]
    fn a_serialised_tree_has_the_root_of_the_growing_one() {
        for (flushed, leaves) in [(0, 1), (0, 9), (8, 9), (13, 40), (39, 40), (31, 33)] {
            let tree = tree(flushed, leaves);
            let bytes = tree.serialise();
            let view = TreeView::parse(&bytes).unwrap();
            assert_eq!((view.flushed, view.len()), (flushed, leaves));
            assert_eq!(view.root(), Some(tree.root()));
        }
    }

    #[test]
    fn a_retracted_tree_is_the_one_that_never_grew() {
        let mut grown = tree(13, 40);
        grown.retract_to(22);
        assert_eq!((grown.len(), grown.root()), (22, tree(13, 22).root()));
        assert_eq!(grown.serialise(), tree(13, 22).serialise());
    }

    #[test]
    fn every_recent_leaf_is_proven_by_its_path() {
        for leaves in 1..40 {
            for flushed in 0..leaves {
                let tree = tree(flushed, leaves);
                for index in flushed..leaves {
                    let leaf = match index {
                        0 => [0; 32],
                        i => sha256(&i.to_le_bytes()),
                    };
                    let path = tree.path(index).unwrap();
                    assert_eq!(fold(leaf, &path), tree.root(), "leaf {index} of {flushed}..{leaves}");
                }
            }
        }
    }

    #[test]
    fn a_view_hands_out_exactly_the_leaves_that_are_stored() {
        let bytes = tree(13, 20).serialise();
        let view = TreeView::parse(&bytes).unwrap();
        assert_eq!(view.leaf(12), None, "flushed");
        for index in 13..20u64 {
            assert_eq!(view.leaf(index), Some(&sha256(&index.to_le_bytes())));
        }
        assert_eq!(view.leaf(20), None, "not there yet");
        assert_eq!(view.leaf(u64::MAX), None);
    }

    #[test]
    fn a_view_gives_the_accumulator_of_any_of_its_leaves() {
        let bytes = tree(13, 20).serialise();
        let view = TreeView::parse(&bytes).unwrap();
        for leaves in 13..=20 {
            let accumulator = view.accumulator(leaves).unwrap();
            assert_eq!(accumulator.leaves(), leaves);
            assert_eq!(accumulator.root(), tree(0, leaves).root(), "{leaves} leaves");
        }
        assert_eq!(view.accumulator(12), None);
        assert_eq!(view.accumulator(21), None);
    }

    #[test]
    fn only_a_tree_of_no_leaves_is_empty() {
        let none = TreeView::parse(&[0; 16]).unwrap();
        assert!(none.is_empty());
        assert_eq!((none.len(), none.root()), (0, Some([0; 32])));
        for (flushed, leaves) in [(0, 1), (1, 1), (8, 9)] {
            let tree = tree(flushed, leaves);
            let bytes = tree.serialise();
            assert!(!TreeView::parse(&bytes).unwrap().is_empty());
            assert!(!tree.is_empty());
        }
        assert!(Tree::continuing(Accumulator::empty(), Vec::new()).is_empty());
    }

    #[test]
    fn the_last_leaf_is_known_until_it_is_flushed() {
        let mut tree = tree(13, 20);
        assert_eq!(tree.last(), Some(&sha256(&19u64.to_le_bytes())));
        tree.flush_to(20);
        assert_eq!((tree.last(), tree.len()), (None, 20));
        tree.flush_to(5);
        tree.append([7; 32]);
        assert_eq!((tree.last(), tree.len()), (Some(&[7; 32]), 21));
    }

    #[test]
    fn no_path_leads_from_a_leaf_that_is_flushed_or_not_there() {
        let tree = tree(13, 20);
        assert_eq!(tree.path(12), None);
        assert_eq!(tree.path(20), None);
        assert!(tree.path(13).is_some() && tree.path(19).is_some());
    }

    #[test]
    fn a_tree_of_more_leaves_than_can_be_counted_is_refused() {
        // As many flushed leaves as a u64 counts, with their 64 peaks, and one more.
        let bytes = [&1u64.to_be_bytes()[..], &u64::MAX.to_be_bytes(), &[7; 65 * 32]].concat();
        assert!(TreeView::parse(&bytes).is_err());
        let bytes = [&1u64.to_be_bytes()[..], &(u64::MAX - 1).to_be_bytes(), &[7; 64 * 32]].concat();
        assert_eq!(TreeView::parse(&bytes).unwrap().len(), u64::MAX);
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = tree(13, 20).serialise();
        for end in 0..bytes.len() {
            assert!(TreeView::parse(&bytes[..end]).is_err());
        }
    }
}
