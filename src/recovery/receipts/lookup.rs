//! A transaction and the signature that covers it, looked up where they lie: what every receipt is made of.

use super::span;
use crate::crypto::digest::Digest;
use crate::format::chunk::Located;
use crate::format::directory::LedgerFiles;
use crate::format::{Seqno, TxId};
use crate::merkle::Tree;
use crate::merkle::tree::{Step, TreeView};
use crate::recovery::segments::Windows;
use crate::recovery::writes::{is_signature, txid};
use crate::tables::values::{Base64, Signature, from_json};
use crate::tables::{SINGLETON_KEY, names};

/// Signatures that are read after an entry, once one of them was of no use.
const MAX_SIGNATURES: usize = 16;

/// What a receipt says of an entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place.
    pub txid: TxId,
    /// SHA-256 of its bytes.
    pub write_set_digest: Digest,
    /// Digest of its commit evidence; absent before 2.0.
    pub evidence_digest: Option<Digest>,
    /// What the application claims; absent before 2.0.
    pub claims_digest: Option<Digest>,
    /// Its leaf.
    pub leaf: Digest,
}

/// What a signature transaction writes.
#[derive(Clone)]
pub struct Signed {
    /// The signature transaction.
    pub txid: TxId,
    /// A node's signature, and who it is.
    pub signature: Option<Signature>,
    /// The service's signature, COSE.
    pub cose: Option<Vec<u8>>,
    /// The serialised tree.
    pub tree: Vec<u8>,
}

/// An entry, and what signs it.
pub struct Found {
    /// The entry.
    pub entry: Entry,
    /// What it signs itself, where it is a signature transaction that can be read.
    pub own: Option<Signed>,
    /// The first signature transaction after it, and after the one given, that is wanted, and whose tree reaches back to it, or
    /// would if the one before were whole.
    pub signed: Option<Signed>,
    /// Why one after it could not be used.
    pub passed: Option<String>,
}

/// Looks up the entry at `seqno`, and the first `wanted` signature after `after`, which is the entry itself or a signature that
/// is of no use. `None` where no file has the entry.
///
/// # Errors
/// If a chunk can't be read.
pub fn find(
    files: &LedgerFiles,
    seqno: Seqno,
    after: Seqno,
    wanted: impl Fn(&Signed) -> bool,
) -> crate::Result<Option<Found>> {
    let mut found: Option<Found> = None;
    // A later tree begins after the entry: it is asked only where an earlier one can't be used.
    let mut is_damaged = after > seqno;
    let mut signatures = 0;
    let mut windows = Windows::new(files, seqno, Seqno::MAX);
    while let Some(window) = windows.next_window()? {
        for segment in &window {
            let mut done = false;
            segment.for_each(|located| {
                if located.seqno < seqno || done {
                    return;
                }
                if located.seqno == seqno {
                    let own = is_signature(&located).then(|| read_signed(&located));
                    found = Some(Found {
                        entry: read_entry(&located),
                        own: own.and_then(std::result::Result::ok),
                        signed: None,
                        passed: None,
                    });
                    return;
                }
                let Some(found) = &mut found else {
                    // No file has it, or it can't be read.
                    done = true;
                    return;
                };
                if located.seqno <= after || !is_signature(&located) {
                    return;
                }
                signatures += 1;
                done = signatures == MAX_SIGNATURES;
                match read_signed(&located) {
                    Ok(signed) if !is_damaged && !reaches(&signed, seqno) => {
                        let why = format!(
                            "the tree of the signature at {} does not reach back to it",
                            signed.txid.seqno
                        );
                        found.passed.get_or_insert(why);
                        is_damaged = !is_tree_of(&signed);
                        done |= !is_damaged;
                    }
                    Ok(signed) if wanted(&signed) => {
                        found.signed = Some(signed);
                        done = true;
                    }
                    Ok(signed) => {
                        let by = if signed.signature.is_some() {
                            "a node alone"
                        } else {
                            "the service alone"
                        };
                        found.passed.get_or_insert(format!("{} is signed by {by}", signed.txid));
                    }
                    Err(why) => {
                        found.passed.get_or_insert(why);
                        is_damaged = true;
                    }
                }
            });
            if done {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

fn read_entry(located: &Located<'_>) -> Entry {
    Entry {
        txid: txid(located),
        write_set_digest: located.entry.write_set_digest(),
        evidence_digest: located.public.commit_evidence_digest.copied(),
        claims_digest: located.public.claims_digest.copied(),
        leaf: located.entry.leaf(&located.public),
    }
}

fn reaches(signed: &Signed, seqno: Seqno) -> bool {
    TreeView::parse(&signed.tree).is_ok_and(|tree| tree.leaf(seqno).is_some())
}

/// Whether what is in a signature can be the tree of its place at all.
fn is_tree_of(signed: &Signed) -> bool {
    TreeView::parse(&signed.tree).is_ok_and(|tree| tree.len() == signed.txid.seqno)
}

/// What a signature transaction writes.
///
/// # Errors
/// Words, where its writes can't be read or there is no tree.
pub fn read_signed(located: &Located<'_>) -> Result<Signed, String> {
    let (mut signature, mut cose, mut tree) = (None, None, None);
    let mut maps = located.maps();
    while let Some(table) = maps.next_name().map_err(|why| why.to_string())? {
        maps.writes(|write| match table {
            _ if write.key != SINGLETON_KEY => {}
            names::SIGNATURES => signature = write.value.map(from_json::<Signature>),
            names::COSE_SIGNATURES => cose = write.value.map(from_json::<Base64>),
            names::TREE => tree = write.value.map(<[u8]>::to_vec),
            _ => {}
        })
        .map_err(|why| why.to_string())?;
    }
    let seqno = located.seqno;
    Ok(Signed {
        txid: txid(located),
        signature: signature
            .transpose()
            .map_err(|why| format!("the signature at {seqno} can't be read: {why}"))?,
        cose: cose
            .transpose()
            .map_err(|why| format!("the COSE signature at {seqno} can't be read: {why}"))?
            .map(|message| message.0),
        tree: tree.ok_or_else(|| format!("the signature at {seqno} has no tree"))?,
    })
}

/// The path from the leaf of `seqno` to the root that is signed.
///
/// # Errors
/// Words, where the tree can't be read, or does not have that leaf and can't be completed.
pub fn path(files: &LedgerFiles, signed: &Signed, seqno: Seqno) -> Result<Vec<Step>, String> {
    let view = TreeView::parse(&signed.tree).map_err(|why| why.to_string())?;
    let first = view.len() - view.leaves().count() as u64;
    let flushed = view.accumulator(first).ok_or("the signature's tree can't be read")?;
    let leaves: Vec<Digest> = view.leaves().copied().collect();
    match Tree::continuing(flushed, leaves).path(seqno) {
        Some(path) => Ok(path),
        None => span::path(files, seqno, signed.txid.seqno, &signed.tree),
    }
}
