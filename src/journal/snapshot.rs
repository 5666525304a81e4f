//! Snapshots: the state at a signature, sealed; its evidence in the ledger; a receipt from the signature after that.
//!
//! A snapshot lives through three steps: a [`Draft`] is written, which needs the state and nothing else, so that a ledger
//! can go on meanwhile; evidence of its digest is written to the ledger as a claim, and the file gets its name; and once
//! that is committed, the receipt follows in the file, and its committed name.
//! Format specification, section 7.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::disk::Disk;
use super::seal::SealKey;
use super::sign::{Signed, Signers};
use crate::crypto::cose::with_inclusion_proof;
use crate::crypto::digest::{Digest, Sha256Stream};
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::entry::{EntryIv, entry_head};
use crate::format::names::SnapshotName;
use crate::format::snapshot::{
    StateEntry, key_order, map_len, state_entry_len, write_header_saying, write_map_head, write_state_entry,
};
use crate::kv::base::Base;
use crate::kv::store::Committed;
use crate::merkle::Tree;
use crate::merkle::receipt::{LeafComponents, write_cbor_proof, write_json};

/// Bytes that are put together before they are encrypted and written.
const PIECE: usize = 1 << 16;
/// Name of the one file that is being written; what a crash leaves in it is written over by the next snapshot.
const DRAFT_NAME: &str = "snapshot.part";

/// A snapshot that is to be written, by whoever holds the state: this takes long.
pub struct Draft {
    /// The seqno of the state: a signature's.
    pub seqno: Seqno,
    /// The signature's leaf.
    pub leaf: Digest,
    /// First seqno of each view, from view 1 on.
    pub view_history: Vec<Seqno>,
    /// The ledger secret.
    pub key: Arc<SealKey>,
    /// 0; in 1.x the seqno before.
    pub max_conflict_version: i64,
}

/// The maps of one domain, as a snapshot is to hold them.
pub trait Maps {
    /// Names, sorted, with the seqno of each one's last change: 0 for a map that never held anything.
    fn names(&self) -> Vec<(&str, u64)>;

    /// Bytes that a map's entries take.
    fn entries_len(&self, map: &str) -> u64;

    /// Hands a map's entries to `each`, in CCF's order.
    ///
    /// # Errors
    /// Whatever `each` answers.
    fn entries(&self, map: &str, each: &mut dyn FnMut(&StateEntry<'_>) -> Result<()>) -> Result<()>;
}

impl Maps for Base {
    fn names(&self) -> Vec<(&str, u64)> {
        self.maps()
    }

    fn entries_len(&self, map: &str) -> u64 {
        let lens = self
            .iter(map)
            .map(|live| state_entry_len(live.key.len(), live.value.len()));
        lens.sum()
    }

    fn entries(&self, map: &str, each: &mut dyn FnMut(&StateEntry<'_>) -> Result<()>) -> Result<()> {
        self.ordered(map, key_order).try_for_each(|live| {
            each(&StateEntry {
                key: live.key,
                version: live.version as i64,
                value: live.value,
            })
        })
    }
}

/// A snapshot's entry in a file that has no name for others yet.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// SHA-256 of the entry, of the bytes that were given to the disk.
    pub digest: Digest,
    /// The file's length.
    pub len: u64,
}

impl Draft {
    /// Writes the entry to `path`, piece by piece: `state` as it was at the draft's seqno. Where that fails, nothing is left.
    ///
    /// # Errors
    /// [`Error::Usage`] if the state is too large for one entry; [`Error::Io`].
    pub fn write<D: Disk>(&self, state: &Committed, disk: &D, path: &Path) -> Result<Written> {
        self.try_write(state, disk, path).inspect_err(|_| {
            let _ = disk.remove(path);
        })
    }

    fn try_write<D: Disk>(&self, state: &Committed, disk: &D, path: &Path) -> Result<Written> {
        let io = || Error::io("write the snapshot", path);
        let mut file = disk.replace(path).map_err(io())?;
        let mut len = 0;
        let digest = self.seal_into(&*state.public, &*state.private, |bytes| {
            disk.write_at(&mut file, len, bytes).map_err(io())?;
            len += bytes.len() as u64;
            Ok(())
        })?;
        Ok(Written { digest, len })
    }

    /// Hands the entry to `put`, piece by piece, and answers its digest.
    ///
    /// # Errors
    /// [`Error::Usage`] if the state is too large for one entry; whatever `put` answers.
    pub fn seal_into(
        &self,
        public: &impl Maps,
        private: &impl Maps,
        mut put: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<Digest> {
        let (public_len, private_len) = (self.header().len() as u64 + maps_len(public), maps_len(private));
        let iv = EntryIv {
            seqno: self.seqno,
            view: 0,
            snapshot: true,
        };
        // The tag stands before what it is the tag of, and the digest is of all: sealed once for the tag, once for the disk.
        let tag = self.seal(public, private, iv, |_| Ok(()))?;
        let head = entry_head(0, &tag, iv, public_len, private_len).map_err(|why| self.too_large(&why.to_string()))?;
        let mut digest = Sha256Stream::default();
        let mut put = |bytes: &[u8]| {
            digest.update(bytes);
            put(bytes)
        };
        put(&head)?;
        let again = self.seal(public, private, iv, &mut put)?;
        assert_eq!(tag, again, "the same state under the same nonce has the same tag");
        Ok(digest.finish())
    }

    fn header(&self) -> Vec<u8> {
        let mut header = Vec::new();
        let number = self.max_conflict_version;
        write_header_saying(&mut header, self.seqno, number, &self.leaf, &self.view_history);
        header
    }

    fn too_large(&self, why: &str) -> Error {
        Error::Usage(format!("the snapshot at {} can't be sealed: {why}", self.seqno))
    }

    /// Seals the state, hands every piece to `put`, and answers the tag.
    fn seal(
        &self,
        public_maps: &impl Maps,
        private_maps: &impl Maps,
        iv: EntryIv,
        mut put: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<[u8; 16]> {
        let mut stream = self.key.stream(iv);
        let mut public = Pieces::new(|piece: &mut [u8]| {
            stream.authenticate(piece);
            put(piece)
        });
        public.take(&self.header())?;
        write_maps(&mut |bytes| public.take(bytes), public_maps)?;
        public.end()?;
        let mut private = Pieces::new(|piece: &mut [u8]| {
            stream.encrypt(piece).map_err(|why| self.too_large(&why.to_string()))?;
            put(piece)
        });
        write_maps(&mut |bytes| private.take(bytes), private_maps)?;
        private.end()?;
        Ok(stream.finish())
    }
}

/// Collects bytes into pieces worth encrypting and writing; they are wiped after that.
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

fn maps_len(state: &impl Maps) -> u64 {
    let lens = state
        .names()
        .into_iter()
        .map(|(name, _)| map_len(name, state.entries_len(name)));
    lens.sum()
}

fn write_maps(out: &mut impl FnMut(&[u8]) -> Result<()>, state: &impl Maps) -> Result<()> {
    for (name, version) in state.names() {
        // A map that never held anything (only removals of absent keys) has version 0, as in CCF.
        write_map_head(out, name, version, state.entries_len(name))?;
        state.entries(name, &mut |entry| write_state_entry(out, entry))?;
    }
    Ok(())
}

/// The receipt that a signature over `tree` gives for the evidence at `seqno`.
///
/// # Errors
/// If the tree holds no path from it, or the receipt can't be made.
pub fn evidence_receipt(
    seqno: Seqno,
    evidence: &LeafComponents,
    tree: &Tree,
    signed: &Signed,
    signers: &Signers,
) -> Result<Vec<u8>> {
    let path = tree.path(seqno).ok_or_else(|| {
        Error::Usage(format!(
            "the tree holds no path from the snapshot evidence at {seqno} any more"
        ))
    })?;
    if signed.node.is_empty() {
        return with_inclusion_proof(&signed.cose, &write_cbor_proof(evidence, &path))
            .map_err(|why| Error::Usage(format!("the snapshot's receipt can't be made: {why}")));
    }
    let certificate = signers.node_certificate.to_pem();
    Ok(write_json(
        evidence,
        &path,
        &certificate,
        &signers.node_id(),
        &signed.node,
    ))
}

/// The files of snapshots in a directory, from the first byte to the committed name.
pub struct SnapshotFiles<D: Disk> {
    disk: D,
    directory: PathBuf,
    /// Lengths of those that have no receipt, by the seqno of their state.
    written: BTreeMap<Seqno, u64>,
}

impl<D: Disk> SnapshotFiles<D> {
    /// Files in `directory`, which is there.
    pub fn new(disk: D, directory: &Path) -> SnapshotFiles<D> {
        SnapshotFiles {
            disk,
            directory: directory.to_owned(),
            written: BTreeMap::new(),
        }
    }

    /// Where the next one is written. What a crash leaves there is written over.
    pub fn draft_path(&self) -> PathBuf {
        self.directory.join(DRAFT_NAME)
    }

    /// The snapshot of the state at `seqno` is written there, and has its evidence at `evidence_seqno`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn name(&mut self, seqno: Seqno, evidence_seqno: Seqno, written: Written) -> Result<()> {
        let from = self.draft_path();
        let to = self.path(seqno, evidence_seqno, false);
        self.disk
            .rename(&from, &to)
            .map_err(Error::io("rename the snapshot", &from))?;
        self.written.insert(seqno, written.len);
        Ok(())
    }

    /// Its receipt follows, and its committed name. Answers the file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Unreadable`] if it never got its name.
    pub fn prove(&mut self, seqno: Seqno, evidence_seqno: Seqno, receipt: &[u8]) -> Result<PathBuf> {
        let from = self.path(seqno, evidence_seqno, false);
        let to = self.path(seqno, evidence_seqno, true);
        let Some(len) = self.written.remove(&seqno) else {
            return Err(Error::Unreadable(format!("the snapshot at {seqno} was not written")));
        };
        let mut file = self.disk.open(&from).map_err(Error::io("open the snapshot", &from))?;
        let proven = self
            .disk
            .write_at(&mut file, len, receipt)
            .and_then(|()| self.disk.sync(&mut file));
        proven.map_err(Error::io("write the snapshot", &from))?;
        self.disk
            .rename(&from, &to)
            .map_err(Error::io("rename the snapshot", &from))?;
        let synced = self.disk.sync_directory(&self.directory);
        synced.map_err(Error::io("write the directory to disk", &self.directory))?;
        Ok(to)
    }

    /// Removes one that will never be proven, as far as that can be done: nobody reads a file of that name.
    pub fn give_up(&mut self, seqno: Seqno, evidence_seqno: Option<Seqno>) {
        self.written.remove(&seqno);
        let path = evidence_seqno.map_or_else(|| self.draft_path(), |evidence| self.path(seqno, evidence, false));
        let _ = self.disk.remove(&path);
    }

    fn path(&self, seqno: Seqno, evidence_seqno: Seqno, committed: bool) -> PathBuf {
        let name = SnapshotName {
            seqno,
            evidence_seqno,
            committed,
        };
        self.directory.join(name.to_string())
    }
}
