//! The receipt of a snapshot's evidence, made again: the same bytes as the service wrote, because all of it is in the ledger.
//!
//! The leaf is that of the evidence transaction, the path comes from the tree in the first signature after it, and who
//! signed is in that signature. Where a node signed it is JSON, where the service alone did it is COSE.
//! Format specification, section 7.3.

use super::evidence::Evidence;
use crate::crypto::cose::with_inclusion_proof;
use crate::crypto::digest::{Digest, sha256};
use crate::crypto::x509::Certificate;
use crate::format::directory::LedgerFiles;
use crate::format::domain::EntryType;
use crate::format::located::Located;
use crate::format::{Seqno, TxId};
use crate::merkle::Tree;
use crate::merkle::receipt::{LeafComponents, Receipt, Signer, write_cbor_proof, write_json};
use crate::merkle::tree::{Step, TreeView};
use crate::recovery::segments::Windows;
use crate::recovery::writes::{is_signature, txid};
use crate::tables::names;
use crate::tables::values::{Base64, Signature, from_json};

/// What the ledger holds beside the state of a snapshot: three of its entries.
pub struct Proof {
    /// Type of the entry whose state it is, which tells 1.x from what came after.
    pub entry_type: EntryType,
    /// Its leaf.
    pub leaf: Digest,
    /// Whether it is a signature, as it must be.
    pub is_signature: bool,
    /// The evidence transaction.
    pub evidence: EvidenceEntry,
    /// The path from its leaf to the root that is signed.
    path: Vec<Step>,
    /// Who signed.
    signed: Signed,
}

/// The transaction that holds the evidence.
pub struct EvidenceEntry {
    /// View and seqno.
    pub txid: TxId,
    /// SHA-256 of the raw entry.
    write_set_digest: Digest,
    claims_digest: Option<Digest>,
    commit_evidence_digest: Option<Digest>,
}

/// What the signature transaction holds.
struct Signed {
    node: Option<Signature>,
    cose: Option<Vec<u8>>,
    tree: Option<Vec<u8>>,
}

/// Reads one entry.
fn entry_at<T>(files: &LedgerFiles, seqno: Seqno, read: impl Fn(&Located<'_>) -> T) -> Result<T, String> {
    let mut windows = Windows::new(files, seqno, seqno);
    while let Some(window) = windows.next_window().map_err(|why| why.to_string())? {
        for segment in &window {
            let mut found = None;
            segment.for_each(|located| {
                if located.seqno == seqno && found.is_none() {
                    found = Some(read(&located));
                }
            });
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }
    Err(format!("transaction {seqno} is in no file, or can't be read"))
}

/// Reads what a snapshot with this evidence is made and proven by.
///
/// # Errors
/// A sentence on what is missing or can't be read.
pub fn read(files: &LedgerFiles, evidence: &Evidence, signed_at: Seqno) -> Result<Proof, String> {
    let (entry_type, leaf, signs) = entry_at(files, evidence.seqno, |located| {
        (
            located.public.entry_type,
            located.entry.leaf(&located.public),
            is_signature(located),
        )
    })?;
    let entry = entry_at(files, evidence.evidence.seqno, |located| {
        let entry = EvidenceEntry {
            txid: txid(located),
            write_set_digest: located.entry.write_set_digest(),
            claims_digest: located.public.claims_digest.copied(),
            commit_evidence_digest: located.public.commit_evidence_digest.copied(),
        };
        (entry, located.entry.leaf(&located.public))
    });
    let (entry, evidence_leaf) = entry?;
    let signed = entry_at(files, signed_at, signature)??;
    let path = path(&signed, evidence.evidence.seqno, &evidence_leaf)
        .ok_or_else(|| format!("the tree in the signature at {signed_at} holds no path from the evidence"))?;
    Ok(Proof {
        entry_type,
        leaf,
        is_signature: signs,
        evidence: entry,
        path,
        signed,
    })
}

fn signature(located: &Located<'_>) -> Result<Signed, String> {
    let mut signed = Signed {
        node: None,
        cose: None,
        tree: None,
    };
    let mut maps = located.maps();
    let unreadable = |why: String| format!("the signature at {} can't be read: {why}", located.seqno);
    while let Some(table) = maps.next_name().map_err(|why| unreadable(why.to_string()))? {
        maps.writes(|write| match table {
            names::SIGNATURES => signed.node = write.value.and_then(|value| from_json(value).ok()),
            names::COSE_SIGNATURES => {
                let message = write.value.and_then(|value| from_json::<Base64>(value).ok());
                signed.cose = message.map(|message| message.0);
            }
            names::TREE => signed.tree = write.value.map(<[u8]>::to_vec),
            _ => {}
        })
        .map_err(|why| unreadable(why.to_string()))?;
    }
    Ok(signed)
}

fn path(signed: &Signed, seqno: Seqno, leaf: &Digest) -> Option<Vec<Step>> {
    let view = TreeView::parse(signed.tree.as_deref()?).ok()?;
    if view.leaf(seqno)? != leaf {
        return None;
    }
    let flushed = view.accumulator(view.flushed)?;
    Tree::continuing(flushed, view.leaves().copied().collect()).path(seqno)
}

impl Proof {
    /// The receipt's bytes, checked: the path ends in the root that was signed, by a node with a certificate of one of these
    /// services, or by one of them. `evidence_text` is the evidence transaction's.
    ///
    /// # Errors
    /// A sentence on why there is none.
    pub fn receipt(&self, evidence_text: &str, services: &[Certificate]) -> Result<Vec<u8>, String> {
        let at = self.evidence.txid;
        let components = LeafComponents {
            write_set_digest: self.evidence.write_set_digest,
            commit_evidence: evidence_text.to_owned(),
            claims_digest: self
                .evidence
                .claims_digest
                .ok_or_else(|| format!("the evidence transaction {at} has no claims, as before 2.0"))?,
        };
        match self.evidence.commit_evidence_digest {
            None => {
                return Err(format!(
                    "the evidence transaction {at} has no commit evidence, as in 1.x"
                ));
            }
            Some(digest) if digest != sha256(evidence_text.as_bytes()) => {
                return Err(format!(
                    "the commit evidence of transaction {at} is not what the ledger secret in force gives"
                ));
            }
            Some(_) => {}
        }
        let bytes = match (&self.signed.node, &self.signed.cose) {
            (Some(node), _) => {
                let pem = node
                    .cert
                    .as_deref()
                    .ok_or("the node signed without its certificate, as in 1.x")?;
                write_json(&components, &self.path, pem, &hex::encode(node.node.0), &node.sig.0)
            }
            (None, Some(cose)) => with_inclusion_proof(cose, &write_cbor_proof(&components, &self.path))
                .map_err(|why| format!("the service's signature can't carry it: {why}"))?,
            (None, None) => return Err("the signature transaction holds no signature that can be read".to_owned()),
        };
        verify(&bytes, services)?;
        Ok(bytes)
    }
}

/// Holds a receipt against its signer and the services.
fn verify(bytes: &[u8], services: &[Certificate]) -> Result<(), String> {
    let receipt = Receipt::parse(bytes).map_err(|why| why.to_string())?;
    let holds = match &receipt.signer {
        Signer::Node { certificate, .. } => {
            receipt.verify(certificate.key()).map_err(|why| why.to_string())?;
            services
                .iter()
                .any(|service| certificate.is_signed_by(service.key()).is_ok())
        }
        Signer::Service(_) => services.iter().any(|service| receipt.verify(service.key()).is_ok()),
    };
    match holds {
        true => Ok(()),
        false => Err("its signer is neither the service of that state nor a node with a certificate of it".to_owned()),
    }
}
