//! Snapshots: the state at a signature, sealed; its evidence in the ledger; a receipt from the signature after that.
//!
//! A snapshot lives through three steps: `seal` makes the entry, the journal writes evidence of its digest as a
//! claim, and once that is signed `Pending::commit` puts the receipt behind it and gives it its committed name.
//! Format specification, section 7.

use std::path::{Path, PathBuf};

use super::seal::SealKey;
use super::sign::{SignatureMode, Signed, Signers};
use crate::crypto::cose::with_inclusion_proof;
use crate::crypto::digest::{Digest, sha256};
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::entry::{EntryIv, write_entry};
use crate::format::names::SnapshotName;
use crate::format::snapshot::{StateEntry, write_header, write_map};
use crate::kv::store::State;
use crate::merkle::Tree;
use crate::merkle::receipt::{LeafComponents, write_cbor_proof, write_json};

/// The entry part of a snapshot: `state` as it was after the signature at `seqno`, whose leaf is `leaf`.
///
/// # Errors
/// [`Error::Usage`] if the state is too large for one entry.
pub(super) fn seal(
    key: &SealKey,
    seqno: Seqno,
    leaf: &Digest,
    view_history: &[Seqno],
    state: &State,
) -> Result<Vec<u8>> {
    let mut public = Vec::new();
    write_header(&mut public, seqno, leaf, view_history);
    write_maps(&mut public, state, true);
    let mut plaintext = zeroize::Zeroizing::new(Vec::new());
    write_maps(&mut plaintext, state, false);
    let iv = EntryIv {
        seqno,
        view: 0,
        snapshot: true,
    };
    let mut ciphertext = Vec::new();
    let too_large = |why: String| Error::Usage(format!("the snapshot at {seqno} can't be sealed: {why}"));
    let tag = key
        .aead()
        .seal(&iv.to_bytes(), &public, &plaintext, &mut ciphertext)
        .map_err(|why| too_large(why.to_string()))?;
    let mut entry = Vec::with_capacity(44 + public.len() + ciphertext.len());
    write_entry(&mut entry, 0, &tag, iv, &public, &ciphertext).map_err(|why| too_large(why.to_string()))?;
    Ok(entry)
}

fn write_maps(out: &mut Vec<u8>, state: &State, public: bool) {
    let state = if public { &state.public } else { &state.private };
    for (name, version) in state.maps() {
        let mut entries: Vec<_> = state
            .iter(name)
            .map(|live| StateEntry {
                key: live.key,
                version: live.version as i64,
                value: live.value,
            })
            .collect();
        // A map that never held anything (only removals of absent keys) has version 0, as in CCF.
        write_map(out, name, version, &mut entries);
    }
}

/// A snapshot whose evidence is in the ledger and waits for a signature.
pub(super) struct Pending {
    path: PathBuf,
    name: SnapshotName,
    evidence: LeafComponents,
}

impl Pending {
    /// Writes the snapshot without a receipt.
    pub(super) fn write(
        directory: &Path,
        seqno: Seqno,
        evidence_seqno: Seqno,
        entry: &[u8],
        evidence: LeafComponents,
    ) -> Result<Self> {
        let name = SnapshotName {
            seqno,
            evidence_seqno,
            committed: false,
        };
        debug_assert_eq!(evidence.claims_digest, sha256(entry));
        let path = directory.join(name.to_string());
        std::fs::write(&path, entry).map_err(Error::io("write the snapshot", &path))?;
        Ok(Pending { path, name, evidence })
    }

    /// Seqno of the evidence.
    pub(super) fn evidence_seqno(&self) -> Seqno {
        self.name.evidence_seqno
    }

    /// Appends the receipt, and gives the file its committed name.
    pub(super) fn commit(&self, receipt: &[u8]) -> Result<PathBuf> {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(&self.path)
            .map_err(Error::io("open the snapshot", &self.path))?;
        std::io::Write::write_all(&mut file, receipt)
            .and_then(|()| file.sync_data())
            .map_err(Error::io("write the snapshot", &self.path))?;
        let name = SnapshotName {
            committed: true,
            ..self.name
        };
        let to = self.path.with_file_name(name.to_string());
        std::fs::rename(&self.path, &to).map_err(Error::io("rename the snapshot", &self.path))?;
        Ok(to)
    }

    /// The receipt that a signature over `tree` gives.
    pub(super) fn receipt(&self, tree: &Tree, signed: &Signed, signers: &Signers) -> Result<Vec<u8>> {
        let seqno = self.name.evidence_seqno;
        let path = tree.path(seqno).ok_or_else(|| {
            Error::Usage(format!(
                "the tree holds no path from the snapshot evidence at {seqno} any more"
            ))
        })?;
        if signers.mode == SignatureMode::Cose {
            return with_inclusion_proof(&signed.cose, &write_cbor_proof(&self.evidence, &path))
                .map_err(|why| Error::Usage(format!("the snapshot's receipt can't be made: {why}")));
        }
        let certificate = signers.node_certificate.to_pem();
        Ok(write_json(
            &self.evidence,
            &path,
            &certificate,
            &signers.node_id(),
            &signed.node,
        ))
    }
}
