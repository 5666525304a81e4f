//! The journal itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{ChunkFiles, claim_directory};
use super::seal::{SealKey, Sealed, Sealer};
use super::sign::Signers;
use super::snapshot::{Draft, Pending, Written};
use crate::crypto::digest::Digest;
use crate::error::{Error, Result};
use crate::format::domain::{EntryType, WriteSet};
use crate::format::entry::{FLAG_CHUNK_AFTER, FLAG_CHUNK_BEFORE};
use crate::format::names::SnapshotName;
use crate::format::{Seqno, TxId, View};
use crate::merkle::Tree;
use crate::merkle::receipt::LeafComponents;
use crate::tables::values::{HexDigest, SnapshotEvidence, to_json};
use crate::tables::{SINGLETON_KEY, names};

/// View of the first transaction of a service, and by how much a recovery raises the view.
pub const VIEW_STEP: View = 2;

/// How a journal is written.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// A chunk ends with the first signature that brings it to this many bytes.
    pub chunk_size: u64,
    /// Type of the entries: 4, or an older one.
    pub entry_type: EntryType,
}

/// The last signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastSigned {
    /// Its transaction.
    pub txid: TxId,
    /// The root it signs.
    pub root: Digest,
}

/// The ledger that a new service continues.
pub struct Recovered {
    /// The last signature.
    pub last: LastSigned,
    /// All leaves up to and including that transaction's.
    pub tree: Tree,
    /// First seqno of each view, from view 1 on.
    pub view_history: Vec<Seqno>,
}

/// Where a journal stood right after a signature: what an election goes back to.
pub struct Mark {
    last: LastSigned,
    tree: Tree,
    view_history: Vec<Seqno>,
}

/// Writes one service's ledger, transaction by transaction.
pub struct Journal {
    settings: Settings,
    files: ChunkFiles,
    snapshots: PathBuf,
    key: Arc<SealKey>,
    signers: Signers,
    view: View,
    tree: Tree,
    sealer: Sealer,
    /// Whether the next entry starts a recovered service.
    starts_recovery: bool,
    last_signed: Option<LastSigned>,
    /// First seqno of each view, from view 1 on.
    view_history: Vec<Seqno>,
    pending: Vec<Pending>,
    /// Snapshots that the last signature proves, with the receipts they get.
    proven: Vec<(Pending, Vec<u8>)>,
    /// Whether the last signature ends its chunk, and that has not been done yet.
    ends_chunk: bool,
    /// Whether what is written may yet be taken back, so that no chunk may end.
    is_tentative: bool,
}

impl Journal {
    /// Starts a ledger in the directory `ledger`, its snapshots in `snapshots`; both must be empty or absent.
    ///
    /// # Errors
    /// [`Error::Usage`] if a directory holds anything; [`Error::Io`].
    pub fn create(ledger: &Path, snapshots: &Path, settings: Settings, key: SealKey, signers: Signers) -> Result<Self> {
        claim_directory(snapshots)?;
        Ok(Journal {
            settings,
            files: ChunkFiles::create(ledger)?,
            snapshots: snapshots.to_owned(),
            key: Arc::new(key),
            signers,
            view: VIEW_STEP,
            tree: Tree::genesis(),
            sealer: Sealer::default(),
            starts_recovery: false,
            last_signed: None,
            view_history: Vec::new(),
            pending: Vec::new(),
            proven: Vec::new(),
            ends_chunk: false,
            is_tentative: false,
        })
    }

    /// Goes on with a ledger that a new service recovers, behind the signature `foundation` speaks of: the view rises by
    /// two, new files are begun. Recovery specification, section 2.5.
    pub fn recovering(
        ledger: &Path,
        snapshots: &Path,
        settings: Settings,
        key: SealKey,
        signers: Signers,
        on: Recovered,
    ) -> Self {
        let view = on.view_history.len() as u64 + VIEW_STEP;
        Journal {
            settings,
            files: ChunkFiles::recovering(ledger),
            snapshots: snapshots.to_owned(),
            key: Arc::new(key),
            signers,
            view,
            tree: on.tree,
            sealer: Sealer::default(),
            starts_recovery: true,
            last_signed: Some(on.last),
            view_history: on.view_history,
            pending: Vec::new(),
            proven: Vec::new(),
            ends_chunk: false,
            is_tentative: false,
        }
    }

    /// First seqno of each view, from view 1 on.
    pub fn view_history(&self) -> &[Seqno] {
        &self.view_history
    }

    /// The root of everything written so far.
    pub fn root(&self) -> Digest {
        self.tree.root()
    }

    /// The transaction that will be written next.
    pub fn next(&self) -> TxId {
        TxId {
            view: self.view,
            seqno: self.tree.len(),
        }
    }

    /// The last signature, if there is one.
    pub fn last_signed(&self) -> Option<LastSigned> {
        self.last_signed
    }

    /// Who signs.
    pub fn signers(&self) -> &Signers {
        &self.signers
    }

    /// Writes one transaction.
    ///
    /// # Errors
    /// [`Error::Usage`] if it is too large; [`Error::Io`].
    pub fn append(&mut self, writes: &WriteSet, claims: Option<&Digest>) -> Result<TxId> {
        let txid = self.next();
        let flags = if self.starts_recovery { FLAG_CHUNK_BEFORE } else { 0 };
        self.write(txid, writes, claims, |_| flags)?;
        self.starts_recovery = false;
        Ok(txid)
    }

    fn write(
        &mut self,
        txid: TxId,
        writes: &WriteSet,
        claims: Option<&Digest>,
        flags: impl FnOnce(u64) -> u8,
    ) -> Result<Sealed> {
        // Nothing comes behind a signature that ends its chunk before that has ended.
        if self.ends_chunk {
            self.settle()?;
        }
        let sealed = self
            .sealer
            .seal(&self.key, self.settings.entry_type, txid, writes, claims, flags)?;
        self.files.append(txid.seqno, self.sealer.raw())?;
        self.tree.append(sealed.leaf);
        Ok(sealed)
    }

    /// Writes a signature transaction over everything before it, and answers its writes, for the store.
    ///
    /// It ends the chunk where that is large enough or `end_chunk` asks for it, and proves the snapshots whose evidence
    /// it covers; both happen when it is settled.
    ///
    /// # Errors
    /// [`Error::Io`]; nothing has changed then.
    pub fn sign(&mut self, issued_at_s: u64, end_chunk: bool) -> Result<(TxId, WriteSet)> {
        let txid = self.next();
        // What one signature before has committed need not be in the tree any more (format specification, 5.3).
        if let Some(previous) = self.last_signed {
            self.tree.flush_to(previous.txid.seqno);
        }
        let signed = self.signers.sign(txid, &self.tree, issued_at_s);
        let root = self.tree.root();
        let receipts = self
            .pending
            .iter()
            .map(|pending| pending.receipt(&self.tree, &signed, &self.signers));
        let receipts = receipts.collect::<Result<Vec<_>>>()?;
        let room = self.settings.chunk_size.saturating_sub(self.files.open_size());
        let (mut ends, is_tentative) = (end_chunk, self.is_tentative);
        self.write(txid, &signed.writes, None, |size| {
            ends = (ends || size >= room) && !is_tentative;
            if ends { FLAG_CHUNK_AFTER } else { 0 }
        })?;
        self.ends_chunk = ends;
        self.proven.extend(self.pending.drain(..).zip(receipts));
        let first = self.last_signed.map_or(1, |previous| previous.txid.seqno + 1);
        while (self.view_history.len() as u64) < self.view {
            self.view_history.push(first);
        }
        self.last_signed = Some(LastSigned { txid, root });
        Ok((txid, signed.writes))
    }

    /// Carries out what the last signature decided, once nothing can take it back: what it covers reaches the disk, the
    /// chunk is completed. To be called before anything is appended, and again where it failed.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn settle(&mut self) -> Result<()> {
        self.files.sync()?;
        if self.ends_chunk {
            self.files.complete()?;
            self.ends_chunk = false;
        }
        Ok(())
    }

    /// Gives the snapshots that the last settled signature proves their receipts and committed names; answers these
    /// files. One for which that fails is given up.
    ///
    /// # Errors
    /// [`Error::Io`]; the others follow with the next call.
    pub fn prove_snapshots(&mut self) -> Result<Vec<PathBuf>> {
        let mut proven = Vec::new();
        while let Some((pending, receipt)) = self.proven.pop() {
            proven.push(pending.commit(&receipt)?);
        }
        Ok(proven)
    }

    /// Lets other keys, or another certificate, sign from here on.
    pub fn set_signers(&mut self, signers: Signers) {
        self.signers = signers;
    }

    /// Seals later transactions with another ledger secret.
    pub fn rekey(&mut self, key: SealKey) {
        self.key = Arc::new(key);
    }

    /// A snapshot of the state right after the last signature, to be written beside everything else. One at a time.
    ///
    /// # Errors
    /// [`Error::Usage`] if the last transaction is no signature, or its entries' type has no claims.
    pub fn draft_snapshot(&self) -> Result<Draft> {
        let seqno = self.next().seqno - 1;
        let at_signature = self.last_signed.is_some_and(|signed| signed.txid.seqno == seqno);
        let leaf = self.tree.last().filter(|_| at_signature).ok_or_else(|| {
            Error::Usage(format!(
                "a snapshot is of the state at a signature, but transaction {seqno} is none"
            ))
        })?;
        if !self.settings.entry_type.has_commit_evidence() {
            return Err(Error::Usage(
                "entries of types 0 and 2 have no commit evidence, so a snapshot could have no receipt".into(),
            ));
        }
        let key = Arc::clone(&self.key);
        Ok(Draft::new(&self.snapshots, key, seqno, *leaf, &self.view_history))
    }

    /// Writes the evidence of a snapshot, which gets its name. Answers the evidence's writes, for the store. Where that
    /// fails, the snapshot's file is removed.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn witness_snapshot(&mut self, written: Written) -> Result<(TxId, WriteSet)> {
        let txid = self.next();
        let name = SnapshotName {
            seqno: written.seqno,
            evidence_seqno: txid.seqno,
            committed: false,
        };
        let path = self.snapshots.join(name.to_string());
        std::fs::rename(&written.path, &path).map_err(Error::io("rename the snapshot", &written.path))?;
        let claims_digest = written.digest;
        let evidence = SnapshotEvidence {
            hash: HexDigest(claims_digest),
            version: written.seqno,
        };
        let mut writes = WriteSet::new();
        writes.put(names::SNAPSHOT_EVIDENCE, SINGLETON_KEY, to_json(&evidence));
        let sealed = self.write(txid, &writes, Some(&claims_digest), |_| 0);
        let sealed = sealed.inspect_err(|_| {
            let _ = std::fs::remove_file(&path);
        })?;
        let components = LeafComponents {
            write_set_digest: sealed.write_set_digest,
            commit_evidence: self.key.evidence_text(txid),
            claims_digest,
        };
        self.pending.push(Pending::new(path, name, components));
        Ok((txid, writes))
    }

    /// Begins a recovery as CCF does: everything behind the last signature is dropped, the view rises by two, and a
    /// new service with a new ledger secret writes to new files. Answers the transaction that was last.
    ///
    /// # Errors
    /// [`Error::Usage`] if nothing is signed; [`Error::Io`].
    pub fn recover(&mut self, key: SealKey, signers: Signers) -> Result<LastSigned> {
        let last = self.last_signed.ok_or_else(|| {
            Error::Usage("a ledger without a signature can't be recovered: nothing in it is proven".into())
        })?;
        self.tree.retract_to(last.txid.seqno + 1);
        self.files.truncate(last.txid.seqno)?;
        self.files.start_recovery()?;
        self.pending
            .retain(|pending| pending.evidence_seqno() <= last.txid.seqno);
        self.view = self.view_history.len() as u64 + VIEW_STEP;
        self.key = Arc::new(key);
        self.signers = signers;
        self.starts_recovery = true;
        Ok(last)
    }

    /// Goes on as a primary does whose transactions reach nobody: signatures end no chunk, because an election will take
    /// everything from here on back. `None` where the last transaction is no signature.
    pub fn go_astray(&mut self) -> Option<Mark> {
        let last = self.last_signed.filter(|last| last.txid.seqno + 1 == self.tree.len())?;
        self.is_tentative = true;
        Some(Mark {
            last,
            tree: self.tree.clone(),
            view_history: self.view_history.clone(),
        })
    }

    /// Another node is elected: what was written since `mark` is dropped, the view rises by one. The new primary's first
    /// transaction must be a signature.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn elect(&mut self, mark: &Mark, signers: Signers) -> Result<()> {
        let last = mark.last.txid.seqno;
        self.files.truncate(last)?;
        self.tree = mark.tree.clone();
        self.view_history.clone_from(&mark.view_history);
        self.last_signed = Some(mark.last);
        self.pending.retain(|pending| pending.evidence_seqno() <= last);
        self.view += 1;
        self.signers = signers;
        self.is_tentative = false;
        Ok(())
    }

    /// Brings everything written so far into the files, for somebody who copies them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn flush(&mut self) -> Result<()> {
        self.files.flush()
    }

    /// The recovered service is open: its files get their names.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn opened(&mut self) -> Result<()> {
        self.files.finish_recovery()
    }

    /// Ends the writing; the last chunk stays open.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn close(self) -> Result<()> {
        self.files.close()
    }
}
