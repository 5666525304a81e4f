//! Where roots differ: which entries are not the ones that were signed.
//!
//! The tree in a signature transaction holds the leaves since an earlier signature. If that tree has the signed root,
//! it is the truth about them: comparing leaf by leaf names the entries that differ, and the tree's own state lets the
//! verification go on after the damage. This is the slow path; an undamaged ledger never comes here but once, for the
//! tree of its last signature.

use std::collections::{BTreeMap, BTreeSet};

use crate::crypto::digest::Digest;
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::merkle::Accumulator;
use crate::merkle::tree::TreeView;
use crate::recovery::join::Joiner;
use crate::recovery::reading::{for_each_entry, read_tree, with_entry};
use crate::recovery::scan::{LOST_LEAF, SignatureTx};
use crate::recovery::shape;
use crate::recovery::signed::LastSignature;
use crate::report::Code;

/// What a mismatch turned out to be.
pub enum Diagnosis {
    /// The signature is over the entries' root: what the transaction records beside it is wrong.
    RecordWrong(String),
    /// The signed tree is known; these entries differ from it, and this is the state to go on from.
    EntriesDiffer {
        /// State of the signed tree.
        accumulator: Accumulator,
        /// Seqnos whose entries are not the signed ones.
        differing: BTreeSet<Seqno>,
        /// Whether that is all the difference: what lies before the tree's first leaf is what was signed.
        is_all: bool,
    },
    /// Neither the entries' root nor the recorded one is signed.
    NothingKnown(String),
}

/// How often the whole ledger may be read again, and how many bytes whatever its size: each signature with a tree of its own
/// asks for all entries that are in it.
const READ_AGAIN: u64 = 4;
/// The bytes.
const READ_AGAIN_ANYWAY: u64 = 16 << 20;

/// Finds out why `root`, that of the entries (if everything before is known), is not the recorded one.
pub fn mismatch(joiner: &mut Joiner<'_>, tx: &SignatureTx, root: Option<Digest>) -> Diagnosis {
    let recorded = tx.recorded_root();
    let shown = recorded.map_or("none".to_owned(), hex::encode);
    let most = joiner.files.size_bytes().saturating_mul(READ_AGAIN) + READ_AGAIN_ANYWAY;
    if joiner.read_again > most {
        let text = "the root is not that of the entries, nor looked into: so much differs before that a recovery can't come from here";
        return Diagnosis::NothingKnown(text.to_owned());
    }
    let bytes = read_tree(joiner.files, tx.chunk_index, tx.offset);
    let tree = bytes
        .as_deref()
        .and_then(|bytes| TreeView::parse(bytes).ok())
        .filter(|tree| tree.len() == tx.seqno);
    let accumulator = tree.and_then(|tree| tree.accumulator(tx.seqno));
    if let (Some(tree), Some(accumulator)) = (tree, accumulator) {
        let tree_root = accumulator.root();
        // Where a node recorded the tree's root, the two vouch for each other: entries are then held against the tree
        // even if the signature is no good or its key is not known, which the caller finds out. Where nothing before is
        // known, the tree is all there is.
        let vouched = match &tx.node {
            Some(Ok(signature)) => signature.root.0 == tree_root,
            _ => root.is_none(),
        };
        if root != Some(tree_root) && (vouched || is_signed(joiner, tx, tree_root)) {
            let differing = compare_leaves(joiner, tx, &tree);
            let is_all = root.is_none() || root == root_with(&tree, &differing);
            if let (Some(root), true) = (root, differing.is_empty()) {
                let text = format!(
                    "the signed root is {}, the entries' root is {}; entries {} to {} are the signed ones, so the difference lies before them",
                    hex::encode(tree_root),
                    hex::encode(root),
                    tree.flushed,
                    tx.seqno.saturating_sub(1)
                );
                joiner.list(Code::RootDiffers, text, tx.chunk_index, tx.offset, tx.seqno);
            }
            return Diagnosis::EntriesDiffer {
                accumulator,
                differing: differing.into_keys().collect(),
                is_all,
            };
        }
    }
    match root {
        Some(root) if is_signed(joiner, tx, root) => Diagnosis::RecordWrong(format!(
            "the signature is over the entries' root {}, but the transaction records {shown}",
            hex::encode(root)
        )),
        _ => Diagnosis::NothingKnown(no_root_signed(root, &shown)),
    }
}

/// Whether the transaction's signatures verify over `root`, by keys that were trusted.
fn is_signed(joiner: &mut Joiner<'_>, tx: &SignatureTx, root: Digest) -> bool {
    let (check, _) = joiner.trust.check(tx, root);
    (check.node.is_some() || check.cose.is_some()) && check.verify().is_empty()
}

fn no_root_signed(root: Option<Digest>, recorded: &str) -> String {
    match root {
        Some(root) => format!(
            "the entries' root is {}, the transaction records {recorded}, and its signature is over neither",
            hex::encode(root)
        ),
        None => format!(
            "the transaction records root {recorded}, which its signature is not over, and entries before it are missing"
        ),
    }
}

/// The root of the tree with the leaves that the entries really have.
fn root_with(tree: &TreeView<'_>, differing: &BTreeMap<Seqno, Digest>) -> Option<Digest> {
    let mut accumulator = tree.accumulator(tree.flushed)?;
    for (index, leaf) in (tree.flushed..).zip(tree.leaves()) {
        accumulator.append(differing.get(&index).unwrap_or(leaf));
    }
    Some(accumulator.root())
}

/// Reports the entries whose leaves are not the tree's. Returns their leaves, and the stand-in of those that can't be
/// read.
fn compare_leaves(joiner: &mut Joiner<'_>, tx: &SignatureTx, tree: &TreeView<'_>) -> BTreeMap<Seqno, Digest> {
    // The tree's leaves are in the file, so there are no more of them than it has bytes.
    let mut differing: BTreeMap<Seqno, Digest> = (tree.flushed.max(1)..tx.seqno)
        .map(|seqno| (seqno, LOST_LEAF))
        .collect();
    let mut found = Vec::new();
    let mut read = 0;
    let outcome = for_each_entry(
        joiner.files,
        tree.flushed.max(1),
        tx.seqno.saturating_sub(1),
        |chunk_index, located| {
            read += located.entry.raw.len() as u64;
            let leaf = located.entry.leaf(&located.public);
            if tree.leaf(located.seqno).is_some_and(|signed| *signed == leaf) {
                differing.remove(&located.seqno);
            } else {
                differing.insert(located.seqno, leaf);
                found.push((chunk_index, located.offset, located.seqno, leaf));
            }
        },
    );
    joiner.read_again = joiner.read_again.saturating_add(read);
    if outcome.is_err() {
        return differing;
    }
    for (chunk_index, offset, seqno, leaf) in found {
        // An entry that is already known to be damaged needs no second finding.
        if joiner.findings.has_fault_at(seqno) {
            continue;
        }
        let signed = tree.leaf(seqno).map_or(String::new(), hex::encode);
        let text = format!(
            "the entry's digest is {}, the signed one is {signed}",
            hex::encode(leaf)
        );
        joiner.list(Code::EntryDiffers, text, chunk_index, offset, seqno);
    }
    differing
}

/// What is wrong with the last signature transaction beside its signature: no later signature covers it.
pub fn last_signature(files: &LedgerFiles, last: &LastSignature) -> Vec<(Code, String)> {
    let mut wrong = Vec::new();
    if let Some(text) = last_tree(files, last) {
        wrong.push((Code::TreeDiffers, text));
    }
    let complaints = with_entry(files, last.chunk_index, last.offset, |entry| {
        Some(shape::complaints(&entry))
    });
    wrong.extend(
        complaints
            .unwrap_or_default()
            .into_iter()
            .map(|text| (Code::SignatureShape, text)),
    );
    wrong
}

fn last_tree(files: &LedgerFiles, last: &LastSignature) -> Option<String> {
    let root = last.root.filter(|_| !last.tree_is_judged)?.0;
    let bytes = read_tree(files, last.chunk_index, last.offset)?;
    let tree_root = TreeView::parse(&bytes).ok()?.root()?;
    (tree_root != root).then(|| {
        format!(
            "the tree's root is {}, the signed root is {}",
            hex::encode(tree_root),
            hex::encode(root)
        )
    })
}
