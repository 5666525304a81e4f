//! The path from a transaction to a signature that is not the first one after it.
//!
//! The tree in a signature holds the leaves since an earlier signature only, and of all before them no more than what the root
//! takes. Where the first signature after a transaction is of no use, the leaves between are put together: from the tree in
//! that signature, or in the last one before the transaction, from entries, and from the later trees, which know the leaf of a
//! damaged signature. Nothing of it is believed: the result must have the root of the later tree, which the path leads to.
//! Format specification, sections 5.1 to 5.3.

use std::collections::HashMap;

use crate::crypto::digest::Digest;
use crate::error::Result;
use crate::format::Seqno;
use crate::format::chunk::Located;
use crate::format::directory::LedgerFiles;
use crate::merkle::Tree;
use crate::merkle::tree::{Step, TreeView};
use crate::recovery::segments::Windows;
use crate::recovery::writes::is_signature;
use crate::tables::names;

/// Leaves that are put together at most: as many as CCF puts in a tree.
const MAX_LEAVES: u64 = 1_000_000;

/// The path from the leaf of `seqno` to the root of the tree in the signature at `signed`.
///
/// # Errors
/// Words, where the leaves between can't be put together.
pub(super) fn path(
    files: &LedgerFiles,
    seqno: Seqno,
    signed: Seqno,
    tree: &[u8],
) -> std::result::Result<Vec<Step>, String> {
    let root = TreeView::parse(tree).ok().and_then(|view| view.root());
    for base in [first_after, last_before] {
        let base = base(files, seqno).map_err(|why| why.to_string())?;
        let Some(base) = base.filter(|base| base.len() <= signed) else {
            continue;
        };
        let grown = grow(files, base, signed).map_err(|why| why.to_string())?;
        if let Some(grown) = grown.filter(|grown| Some(grown.root()) == root)
            && let Some(path) = grown.path(seqno)
        {
            return Ok(path);
        }
    }
    Err(format!(
        "the tree of the signature at {signed} begins after it, and what stands between is not whole, neither in entries nor in \
         the trees of other signatures"
    ))
}

/// The tree in the first signature after a transaction, if it has its leaf.
fn first_after(files: &LedgerFiles, seqno: Seqno) -> Result<Option<Tree>> {
    let mut windows = Windows::new(files, seqno.saturating_add(1), Seqno::MAX);
    while let Some(window) = windows.next_window()? {
        for segment in &window {
            let mut found = None;
            segment.for_each(|located| {
                if located.seqno > seqno && found.is_none() && is_signature(&located) {
                    found = Some(signed_tree(&located));
                }
            });
            if let Some(tree) = found {
                return Ok(tree.filter(|tree| tree.path(seqno).is_some()));
            }
        }
    }
    Ok(None)
}

/// The tree in the last signature before a transaction that has one; at a ledger's start, that of none.
fn last_before(files: &LedgerFiles, seqno: Seqno) -> Result<Option<Tree>> {
    let Some(until) = seqno.checked_sub(1) else {
        return Ok(None);
    };
    let mut windows = Windows::newest_first(files, files.first_seqno(), until);
    while let Some(window) = windows.next_window()? {
        for segment in &window {
            let mut found = None;
            segment.for_each(|located| {
                if located.seqno <= until && is_signature(&located) {
                    found = signed_tree(&located).or(found.take());
                }
            });
            if found.is_some() {
                return Ok(found);
            }
        }
    }
    Ok((files.first_seqno() == 1).then(Tree::genesis))
}

/// The tree in a signature transaction, as far as it can be one of that place.
fn signed_tree(located: &Located<'_>) -> Option<Tree> {
    let bytes = tree_bytes(located)?;
    let view = TreeView::parse(&bytes)
        .ok()
        .filter(|view| view.len() == located.seqno)?;
    let leaves: Vec<Digest> = view.leaves().copied().collect();
    Some(Tree::continuing(
        view.accumulator(view.len() - leaves.len() as u64)?,
        leaves,
    ))
}

fn tree_bytes(located: &Located<'_>) -> Option<Vec<u8>> {
    let mut maps = located.maps();
    let mut tree = None;
    while let Ok(Some(table)) = maps.next_name() {
        maps.writes(|write| {
            if table == names::TREE {
                tree = write.value.map(<[u8]>::to_vec);
            }
        })
        .ok()?;
    }
    tree
}

/// Adds to a tree what stands between it and the signature at `signed`.
fn grow(files: &LedgerFiles, mut tree: Tree, signed: Seqno) -> Result<Option<Tree>> {
    if signed - tree.len() > MAX_LEAVES {
        return Ok(None);
    }
    // Leaves of entries, and whether these are signatures.
    let mut waiting: HashMap<Seqno, (Digest, bool)> = HashMap::new();
    let mut windows = Windows::new(files, tree.len(), signed);
    while let Some(window) = windows.next_window()? {
        for segment in &window {
            segment.for_each(|located| {
                let seqno = located.seqno;
                if seqno < tree.len() || seqno > signed {
                    return;
                }
                let signs = is_signature(&located);
                if let Some(bytes) = signs.then(|| tree_bytes(&located)).flatten()
                    && let Ok(view) = TreeView::parse(&bytes)
                    && view.len() == seqno
                    && let Some(leaves) = between(&tree, &view, &waiting, seqno, seqno == signed)
                {
                    leaves.into_iter().for_each(|leaf| tree.append(leaf));
                    waiting.clear();
                }
                waiting.insert(seqno, (located.entry.leaf(&located.public), signs));
            });
        }
    }
    Ok((tree.len() == signed).then_some(tree))
}

/// The leaves from a tree's end up to the signature at `seqno`: of signatures as a later tree has them, because it is a damaged
/// one that made all this necessary; of other entries as they are, unless the tree is the one that the root is of.
fn between(
    tree: &Tree,
    view: &TreeView<'_>,
    waiting: &HashMap<Seqno, (Digest, bool)>,
    seqno: Seqno,
    is_last: bool,
) -> Option<Vec<Digest>> {
    let leaf = |index: Seqno| {
        let stored = view.leaf(index).copied();
        match waiting.get(&index) {
            Some((leaf, signs)) if stored.is_none() || !(*signs || is_last) => Some(*leaf),
            _ => stored,
        }
    };
    (tree.len()..seqno).map(leaf).collect()
}
