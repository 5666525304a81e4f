//! Where roots differ: which entries are not the ones that were signed.
//!
//! The tree in a signature transaction holds the leaves since an earlier signature. If that tree has the signed root,
//! it is the truth about them: comparing leaf by leaf names the entries that differ, and the tree's own state lets the
//! verification go on behind the damage. This is the slow path; an undamaged ledger never comes here but once, for the
//! tree of its last signature.

use std::collections::BTreeSet;

use crate::crypto::digest::Digest;
use crate::format::Seqno;
use crate::format::chunk::{Layout, Located};
use crate::format::directory::LedgerFiles;
use crate::format::domain::Maps;
use crate::format::entry::Entry;
use crate::merkle::Accumulator;
use crate::merkle::tree::TreeView;
use crate::recovery::join::{Joiner, LastSignature};
use crate::recovery::report::{Code, Severity};
use crate::recovery::scan::SignatureTx;
use crate::recovery::segments::{OpenChunk, Windows};
use crate::tables::names;

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
    },
    /// Neither the entries' root nor the recorded one is signed.
    NothingKnown(String),
}

/// Finds out why `root`, that of the entries (if everything before is known), is not the recorded one.
pub fn mismatch(joiner: &mut Joiner<'_>, tx: &SignatureTx, root: Option<Digest>) -> Diagnosis {
    let recorded = tx.recorded_root();
    let shown = recorded.map_or("none".to_owned(), hex::encode);
    if let Some(root) = root {
        let (check, _) = joiner.trust.check(tx, root);
        if (check.node.is_some() || check.cose.is_some()) && check.verify().is_empty() {
            return Diagnosis::RecordWrong(format!(
                "the signature is over the entries' root {}, but the transaction records {shown}",
                hex::encode(root)
            ));
        }
    }
    let Some(bytes) = read_tree(joiner.files, tx.chunk_index, tx.offset) else {
        return Diagnosis::NothingKnown(no_root_signed(root, &shown));
    };
    let Ok(tree) = TreeView::parse(&bytes) else {
        return Diagnosis::NothingKnown(no_root_signed(root, &shown));
    };
    let Some(accumulator) = tree.accumulator(tx.seqno).filter(|_| tree.len() == tx.seqno) else {
        return Diagnosis::NothingKnown(no_root_signed(root, &shown));
    };
    let (check, _) = joiner.trust.check(tx, accumulator.root());
    // Where nothing before is known, neither are the keys: the tree is then held against what the transaction records.
    let bridging = root.is_none() && check.node.is_none() && recorded == Some(accumulator.root());
    let signed = (check.node.is_some() || check.cose.is_some()) && check.verify().is_empty();
    if !signed && !bridging {
        return Diagnosis::NothingKnown(no_root_signed(root, &shown));
    }
    let differing = compare_leaves(joiner, tx, &tree);
    if differing.is_empty() && root.is_some() && !joiner.findings_since(tree.flushed) {
        let text = format!(
            "the signed root is {}, the entries' root is {}; entries {} to {} are the signed ones, so the difference lies before them",
            hex::encode(accumulator.root()),
            root.map_or(String::new(), hex::encode),
            tree.flushed,
            tx.seqno - 1
        );
        joiner.report(Code::RootDiffers, text, tx.chunk_index, tx.offset, tx.seqno);
    }
    Diagnosis::EntriesDiffer { accumulator, differing }
}

fn no_root_signed(root: Option<Digest>, recorded: &str) -> String {
    match root {
        Some(root) => format!(
            "the entries' root is {}, the transaction records {recorded}, and its signature is over neither",
            hex::encode(root)
        ),
        None => format!("the transaction records root {recorded}, which its signature is not over, and entries before it are missing"),
    }
}

impl Joiner<'_> {
    /// Whether something was already found to be wrong from `seqno` on.
    fn findings_since(&mut self, seqno: Seqno) -> bool {
        self.findings
            .iter_mut()
            .any(|finding| finding.severity == Severity::Error && finding.seqno.is_some_and(|at| at >= seqno))
    }
}

/// Reports the entries whose leaves are not the tree's, and returns their seqnos.
fn compare_leaves(joiner: &mut Joiner<'_>, tx: &SignatureTx, tree: &TreeView<'_>) -> BTreeSet<Seqno> {
    let mut differing = BTreeSet::new();
    let mut found = Vec::new();
    let outcome = for_each_entry(joiner.files, tree.flushed.max(1), tx.seqno - 1, |chunk_index, located| {
        let leaf = located.entry.leaf(&located.public);
        if tree.leaf(located.seqno).is_some_and(|signed| *signed != leaf) {
            differing.insert(located.seqno);
            found.push((chunk_index, located.offset, located.seqno, leaf));
        }
    });
    if outcome.is_err() {
        return differing;
    }
    for (chunk_index, offset, seqno, leaf) in found {
        // An entry that is already known to be damaged needs no second finding.
        if joiner.findings.has_fault_at(seqno) {
            continue;
        }
        let signed = tree.leaf(seqno).map_or(String::new(), hex::encode);
        let text = format!("the entry's digest is {}, the signed one is {signed}", hex::encode(leaf));
        joiner.report(Code::EntryDiffers, text, chunk_index, offset, seqno);
    }
    differing
}

/// Reads entries `from..=until` again, one thread, skipping what can't be read.
pub(super) fn for_each_entry(
    files: &LedgerFiles,
    from: Seqno,
    until: Seqno,
    mut each: impl FnMut(usize, Located<'_>),
) -> crate::Result<()> {
    let mut windows = Windows::new(files, from, until);
    while let Some(window) = windows.next_window()? {
        for segment in window {
            segment.for_each(|located| {
                if (from..=until).contains(&located.seqno) {
                    each(segment.chunk_index, located);
                }
            });
        }
    }
    Ok(())
}

/// Reads the serialised tree of a signature transaction again.
fn read_tree(files: &LedgerFiles, chunk_index: usize, offset: u64) -> Option<Vec<u8>> {
    let planned = files.chunks.get(chunk_index)?;
    let chunk = OpenChunk::open(&planned.file).ok()?;
    let Layout { entries_end, .. } = chunk.layout;
    let bytes = chunk.map.bytes().get(offset as usize..entries_end as usize)?;
    let entry = Entry::parse(bytes).ok()?;
    let mut cursor = crate::format::cursor::Cursor::new(entry.public);
    crate::format::domain::PublicHeader::read(&mut cursor).ok()?;
    let mut tree = None;
    let walked = Maps::new(cursor).for_each(|name, write| {
        if name == names::TREE && write.key == crate::tables::SINGLETON_KEY {
            tree = write.value.map(<[u8]>::to_vec);
        }
    });
    // What stands before the damage is as good as the rest: its root decides.
    let _ = walked;
    tree
}

/// What is wrong with the tree in the last signature, which no later signature covers.
pub fn last_tree(files: &LedgerFiles, last: &LastSignature) -> Option<String> {
    let root = last.root.filter(|_| !last.tree_is_judged)?.0;
    let bytes = read_tree(files, last.chunk_index, last.offset)?;
    let tree_root = TreeView::parse(&bytes).ok()?.root()?;
    (tree_root != root).then(|| {
        format!("the tree's root is {}, the signed root is {}", hex::encode(tree_root), hex::encode(root))
    })
}
