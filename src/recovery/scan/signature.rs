//! Signature transactions, picked out of the entries that are scanned and taken apart.

use super::{MAX_TRUST_BYTES, SegmentScan, TrustTable, TrustWrite};
use crate::crypto::digest::Digest;
use crate::format::chunk::{Fault, Located};
use crate::format::domain::{EntryType, Write};
use crate::format::{Malformed, Seqno, TxId, View};
use crate::merkle::tree::TreeView;
use crate::tables::{names, values};

/// A signature transaction, taken apart but not checked.
#[derive(Clone, Debug)]
pub struct SignatureTx {
    /// Its seqno: it signs the root of all leaves below.
    pub seqno: Seqno,
    /// Its view, by the nonce.
    pub view: View,
    /// Type of its entry.
    pub entry_type: EntryType,
    /// Offset of its entry.
    pub offset: u64,
    /// Which chunk of the ledger.
    pub chunk_index: usize,
    /// The node's signature, where there is one.
    pub node: Option<Result<values::Signature, Malformed>>,
    /// The COSE signature, where there is one.
    pub cose: Option<Result<Vec<u8>, Malformed>>,
    /// What is wrong with the serialised tree, or that there is none.
    pub tree_fault: Option<String>,
    /// Root of the serialised tree: computed only where no root is recorded, as in COSE-only transactions.
    pub tree_root: Option<Digest>,
    /// A table that a signature transaction may not write, or not under such a key.
    pub foreign_table: Option<String>,
}

impl SignatureTx {
    /// Which transaction it is.
    pub fn txid(&self) -> TxId {
        TxId {
            view: self.view,
            seqno: self.seqno,
        }
    }

    /// The root that the transaction itself records.
    pub fn recorded_root(&self) -> Option<Digest> {
        match &self.node {
            Some(Ok(signature)) => Some(signature.root.0),
            _ => self.tree_root,
        }
    }
}

/// The public values of a signature transaction, while its maps are walked.
#[derive(Default)]
struct SignatureValues<'a> {
    node: Option<&'a [u8]>,
    cose: Option<&'a [u8]>,
    tree: Option<&'a [u8]>,
    others: Option<&'a str>,
    /// One of its own tables that it writes under another key than the one of eight zero bytes, or removes from.
    stray: Option<&'a str>,
}

/// Walks an entry's public writes: keeps those to trust tables, and takes a signature transaction apart.
#[inline]
pub(super) fn pick_out(located: Located<'_>, chunk_index: usize, scan: &mut SegmentScan) -> Option<SignatureTx> {
    let mut maps = located.maps();
    let Located {
        offset,
        seqno,
        entry,
        public,
    } = located;
    let mut signature = SignatureValues::default();
    let outcome = loop {
        let name = match maps.next_name() {
            Ok(Some(name)) => name,
            Ok(None) => break Ok(()),
            Err(why) => break Err(why),
        };
        if !name.starts_with(names::CCF_PREFIX) {
            signature.others = Some(name);
            match maps.writes(|_| ()) {
                Ok(()) => continue,
                Err(why) => break Err(why),
            }
        }
        let (mut singleton, mut too_large) = (None, None);
        let trust = TrustTable::of(name);
        if names::attests(name) && scan.attesting.last() != Some(&seqno) {
            scan.attesting.push(seqno);
        }
        let walked = maps.writes(|write: Write<'_>| {
            let largest = write.key.len().max(write.value.map_or(0, <[u8]>::len));
            if largest > MAX_TRUST_BYTES && (trust.is_some() || is_signature_table(name)) {
                too_large = Some(largest);
            } else if let Some(table) = trust {
                scan.writes.push(TrustWrite {
                    seqno,
                    view: entry.iv().view,
                    offset,
                    chunk_index,
                    table,
                    key: write.key.to_vec(),
                    value: write.value.map(<[u8]>::to_vec),
                    claims_digest: public.claims_digest.copied(),
                });
            }
            if write.key == crate::tables::SINGLETON_KEY {
                singleton = write.value;
            } else if stray_is_wrong(name, write.key) {
                signature.stray = Some(name);
            }
        });
        if let Err(why) = walked {
            break Err(why);
        }
        if let Some(found) = too_large {
            let what = format!("a write to {name} has {found} bytes, expected at most {MAX_TRUST_BYTES}");
            break Err(Malformed::at(0, what));
        }
        match name {
            names::SIGNATURES => signature.node = singleton.or(Some(&[])),
            names::COSE_SIGNATURES => signature.cose = singleton.or(Some(&[])),
            names::TREE => signature.tree = singleton.or(Some(&[])),
            other => signature.others = Some(other),
        }
    };
    if let Err(why) = outcome {
        let public_at = offset + (entry.raw.len() - entry.private.len() - entry.public.len()) as u64;
        scan.faults.push(Fault::Writes {
            seqno,
            offset: public_at + why.offset as u64,
            why,
        });
    }
    if signature.others.is_some() && scan.recovering {
        scan.public_writers.push(seqno);
    }
    // Nothing but a signature transaction writes a tree: one without a signature is a damaged one.
    if signature.node.is_none() && signature.cose.is_none() && signature.tree.is_none() {
        return None;
    }
    let place = Place {
        txid: TxId {
            view: entry.iv().view,
            seqno,
        },
        entry_type: public.entry_type,
        offset,
        chunk_index,
    };
    Some(take_apart(signature, place))
}

/// Whether a key beside the one of eight zero bytes has no business in a table of signatures. Later versions write COSE
/// signatures of further identities, under their numbers.
fn stray_is_wrong(table: &str, key: &[u8]) -> bool {
    match table {
        names::SIGNATURES | names::TREE => true,
        names::COSE_SIGNATURES => key.len() != crate::tables::SINGLETON_KEY.len(),
        _ => false,
    }
}

/// Which entry a signature transaction is, and where.
struct Place {
    txid: TxId,
    entry_type: EntryType,
    offset: u64,
    chunk_index: usize,
}

/// Tables of signature transactions whose values are parsed. The tree is only borrowed, and as long as it has leaves.
fn is_signature_table(name: &str) -> bool {
    matches!(name, names::SIGNATURES | names::COSE_SIGNATURES)
}

#[cold]
fn take_apart(found: SignatureValues<'_>, place: Place) -> SignatureTx {
    let seqno = place.txid.seqno;
    let tree = found.tree.map(TreeView::parse);
    let tree_fault = match &tree {
        _ if found.node.is_none() && found.cose.is_none() => Some("it writes a tree, but no signature".to_owned()),
        None => Some("it writes no tree".to_owned()),
        Some(Err(why)) => Some(format!("its tree can't be read: {why}")),
        Some(Ok(tree)) if tree.len() != seqno => Some(format!("its tree has {} leaves, expected {seqno}", tree.len())),
        Some(Ok(_)) => None,
    };
    let node = found.node.map(values::from_json::<values::Signature>);
    let recorded = matches!(node, Some(Ok(_)));
    SignatureTx {
        seqno,
        view: place.txid.view,
        entry_type: place.entry_type,
        offset: place.offset,
        chunk_index: place.chunk_index,
        cose: found
            .cose
            .map(|value| values::from_json::<values::Base64>(value).map(|b| b.0)),
        tree_root: match (&tree, recorded) {
            (Some(Ok(tree)), false) if tree_fault.is_none() => tree.root(),
            _ => None,
        },
        node,
        tree_fault,
        foreign_table: found.others.or(found.stray).map(str::to_owned),
    }
}
