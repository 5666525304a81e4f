//! Snapshots: the state at a signature, sealed; its evidence in the ledger; a receipt from the signature after that.
//!
//! A snapshot lives through three steps: a [`Draft`] is written, which needs the state and nothing else, so that a ledger
//! can go on meanwhile; the journal writes evidence of its digest as a claim, and gives it its name; and once that is
//! signed `Pending::commit` puts the receipt behind it and gives it its committed name.
//! Format specification, section 7.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::files::rename_durably;
use super::seal::SealKey;
use super::sign::{SignatureMode, Signed, Signers};
use crate::crypto::cose::with_inclusion_proof;
use crate::crypto::digest::{Digest, sha256};
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::entry::{EntryIv, entry_head};
use crate::format::map::MappedFile;
use crate::format::names::SnapshotName;
use crate::format::snapshot::{
    StateEntry, key_order, map_len, state_entry_len, write_header, write_map_head, write_state_entry,
};
use crate::kv::base::Base;
use crate::kv::store::State;
use crate::merkle::Tree;
use crate::merkle::receipt::{LeafComponents, write_cbor_proof, write_json};

/// Bytes that are put together before they are encrypted and written.
const PIECE: usize = 1 << 16;
/// Name of the one file that is being written; what a crash leaves in it is written over by the next snapshot.
const DRAFT_NAME: &str = "snapshot.part";

/// A snapshot that is to be written, by whoever holds the state: this takes long, and needs nothing of the journal.
pub struct Draft {
    path: PathBuf,
    key: Arc<SealKey>,
    seqno: Seqno,
    leaf: Digest,
    view_history: Vec<Seqno>,
}

/// A snapshot's entry in a file that has no name for others yet.
pub struct Written {
    pub(super) path: PathBuf,
    pub(super) seqno: Seqno,
    pub(super) digest: Digest,
}

impl Written {
    /// Seqno of the state it holds.
    pub fn seqno(&self) -> Seqno {
        self.seqno
    }
}

impl Draft {
    /// A snapshot of the state after the signature at `seqno`, whose leaf is `leaf`, to be written in `directory`.
    pub(super) fn new(directory: &Path, key: Arc<SealKey>, seqno: Seqno, leaf: Digest, view_history: &[Seqno]) -> Self {
        Draft {
            path: directory.join(DRAFT_NAME),
            key,
            seqno,
            leaf,
            view_history: view_history.to_vec(),
        }
    }

    /// Writes the entry, piece by piece: `state` as it was at the draft's seqno. Where that fails, nothing is left.
    ///
    /// # Errors
    /// [`Error::Usage`] if the state is too large for one entry; [`Error::Io`].
    pub fn write(self, state: &State) -> Result<Written> {
        let digest = write(&self, state).inspect_err(|_| {
            let _ = std::fs::remove_file(&self.path);
        })?;
        Ok(Written {
            path: self.path,
            seqno: self.seqno,
            digest,
        })
    }
}

/// Writes what is drafted, and answers its digest.
fn write(draft: &Draft, state: &State) -> Result<Digest> {
    let Draft {
        path,
        key,
        seqno,
        leaf,
        view_history,
    } = draft;
    let seqno = *seqno;
    let too_large = |why: String| Error::Usage(format!("the snapshot at {seqno} can't be sealed: {why}"));
    let io = || Error::io("write the snapshot", path);
    let mut header = Vec::new();
    write_header(&mut header, seqno, leaf, view_history);
    let iv = EntryIv {
        seqno,
        view: 0,
        snapshot: true,
    };
    let public_len = header.len() as u64 + maps_len(&state.public);
    let head = |tag: &[u8; 16]| {
        entry_head(0, tag, iv, public_len, maps_len(&state.private)).map_err(|why| too_large(why.to_string()))
    };
    let mut file = File::create(path).map_err(io())?;
    file.write_all(&head(&[0; 16])?).map_err(io())?;
    let mut stream = key.stream(iv);
    let mut public = Pieces::new(|piece: &mut [u8]| {
        stream.authenticate(piece);
        file.write_all(piece).map_err(io())
    });
    public.take(&header)?;
    write_maps(&mut |bytes| public.take(bytes), &state.public)?;
    public.end()?;
    let mut private = Pieces::new(|piece: &mut [u8]| {
        stream.encrypt(piece).map_err(|why| too_large(why.to_string()))?;
        file.write_all(piece).map_err(io())
    });
    write_maps(&mut |bytes| private.take(bytes), &state.private)?;
    private.end()?;
    let tag = stream.finish();
    file.seek(SeekFrom::Start(0)).map_err(io())?;
    file.write_all(&head(&tag)?).map_err(io())?;
    drop(file);
    let written = MappedFile::open(path).map_err(Error::io("read the snapshot", path))?;
    Ok(sha256(written.bytes()))
}

/// Collects bytes into pieces worth encrypting and writing; they are wiped behind that.
struct Pieces<F> {
    buffer: Zeroizing<Vec<u8>>,
    each: F,
}

impl<F: FnMut(&mut [u8]) -> Result<()>> Pieces<F> {
    fn new(each: F) -> Self {
        Pieces {
            buffer: Zeroizing::new(Vec::with_capacity(PIECE)),
            each,
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = PIECE - self.buffer.len();
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = rest;
            if self.buffer.len() == PIECE {
                (self.each)(&mut self.buffer)?;
                self.buffer.clear();
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<()> {
        (self.each)(&mut self.buffer)
    }
}

fn entries_len(state: &Base, map: &str) -> u64 {
    let lens = state
        .iter(map)
        .map(|live| state_entry_len(live.key.len(), live.value.len()));
    lens.sum()
}

fn maps_len(state: &Base) -> u64 {
    let lens = state
        .maps()
        .into_iter()
        .map(|(name, _)| map_len(name, entries_len(state, name)));
    lens.sum()
}

fn write_maps(out: &mut impl FnMut(&[u8]) -> Result<()>, state: &Base) -> Result<()> {
    for (name, version) in state.maps() {
        // A map that never held anything (only removals of absent keys) has version 0, as in CCF.
        write_map_head(out, name, version, entries_len(state, name))?;
        for live in state.ordered(name, key_order) {
            let entry = StateEntry {
                key: live.key,
                version: live.version as i64,
                value: live.value,
            };
            write_state_entry(out, &entry)?;
        }
    }
    Ok(())
}

/// A snapshot whose evidence is in the ledger and waits for a signature.
pub(super) struct Pending {
    path: PathBuf,
    name: SnapshotName,
    evidence: LeafComponents,
}

impl Pending {
    /// The snapshot at `path`, whose evidence is in the ledger.
    pub(super) fn new(path: PathBuf, name: SnapshotName, evidence: LeafComponents) -> Self {
        Pending { path, name, evidence }
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
        rename_durably(&self.path, &to)?;
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
