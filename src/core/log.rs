//! The log: what is sealed, its tree, its views, its signatures. Format specification, sections 2 to 6.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::event::Now;
use crate::crypto::digest::Digest;
use crate::error::Result;
use crate::format::domain::{EntryType, WriteSet};
use crate::format::entry::{FLAG_CHUNK_AFTER, FLAG_CHUNK_BEFORE};
use crate::format::{Seqno, TxId, View};
use crate::journal::seal::{Sealed, Sealer};
use crate::journal::sign::Signed;
use crate::journal::{SealKey, SignatureMode, Signers};
use crate::merkle::Tree;

/// View of the first transaction of a service, and by how much a recovery raises the view.
pub const VIEW_STEP: View = 2;

/// A signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastSigned {
    /// Its transaction.
    pub txid: TxId,
    /// The root it signs.
    pub root: Digest,
}

/// What a log begins with: nothing, or a ledger that a new service recovers.
pub struct Start {
    /// All leaves so far.
    pub tree: Tree,
    /// First seqno of each view so far, from view 1 on.
    pub view_history: Vec<Seqno>,
    /// The last signature, which is the last entry: nothing unsigned is gone on from.
    pub last: Option<LastSigned>,
    /// The first entry is the first of a recovered service.
    pub is_recovery: bool,
}

impl Start {
    /// A new ledger.
    pub fn genesis() -> Start {
        Start {
            tree: Tree::genesis(),
            view_history: Vec::new(),
            last: None,
            is_recovery: false,
        }
    }
}

/// A signature in the log that can still be rolled back, or the last that can't.
pub(super) struct SignedEntry {
    pub(super) last: LastSigned,
    /// Its own leaf.
    pub(super) leaf: Digest,
    /// How the node signed that led before this one, if one did: it is gone on with.
    mode: Option<SignatureMode>,
}

/// A ledger secret.
struct Key {
    key: Arc<SealKey>,
    /// It was known from the beginning, whatever the log says: it stays where the entry that brings it is taken back.
    is_given: bool,
}

/// Everything about entries but where they lie.
pub(super) struct Log {
    entry_type: EntryType,
    view: View,
    tree: Tree,
    /// First seqno of each view, from view 1 on.
    view_history: Vec<Seqno>,
    /// Secrets by the first seqno that each seals: those that can be rolled back to, and all later ones.
    keys: BTreeMap<Seqno, Key>,
    signers: Signers,
    sealer: Sealer,
    /// The last nonce that was used, whatever has been rolled back since.
    last_sealed: Option<TxId>,
    starts_recovery: bool,
    /// The last committed signature and those after it.
    signatures: Vec<SignedEntry>,
    /// The last signature of the log that this one began with.
    began_after: Option<LastSigned>,
}

impl Log {
    /// `keys` by the first seqno that each seals.
    pub(super) fn new(
        start: Start,
        entry_type: EntryType,
        keys: impl IntoIterator<Item = (Seqno, Arc<SealKey>)>,
        signers: Signers,
    ) -> Log {
        let given = |(from, key)| (from, Key { key, is_given: true });
        Log {
            entry_type,
            view: start.view_history.len() as u64 + VIEW_STEP,
            keys: keys.into_iter().map(given).collect(),
            tree: start.tree,
            view_history: start.view_history,
            signers,
            sealer: Sealer::default(),
            last_sealed: start.last.map(|last| last.txid),
            starts_recovery: start.is_recovery,
            signatures: Vec::new(),
            began_after: start.last,
        }
    }

    /// The transaction that will be sealed next.
    pub(super) fn next(&self) -> TxId {
        TxId {
            view: self.view,
            seqno: self.tree.len(),
        }
    }

    pub(super) fn entry_type(&self) -> EntryType {
        self.entry_type
    }

    pub(super) fn root(&self) -> Digest {
        self.tree.root()
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(super) fn view_history(&self) -> &[Seqno] {
        &self.view_history
    }

    pub(super) fn signers(&self) -> &Signers {
        &self.signers
    }

    pub(super) fn set_signers(&mut self, signers: Signers) {
        self.signers = signers;
    }

    /// The secret that seals the next entry.
    pub(super) fn key(&self) -> Arc<SealKey> {
        self.key_at(self.tree.len())
    }

    /// The secret that sealed the entry of `seqno`, which is not older than what is committed.
    pub(super) fn key_at(&self, seqno: Seqno) -> Arc<SealKey> {
        let sealed = self.keys.range(..=seqno).next_back();
        match sealed.or_else(|| self.keys.first_key_value()) {
            Some((_, key)) => Arc::clone(&key.key),
            None => unreachable!("a log begins with a secret, and keeps the newest"),
        }
    }

    /// First seqno of each view up to this one.
    pub(super) fn view_history_at(&self, view: View) -> Vec<Seqno> {
        let views = usize::try_from(view).unwrap_or(usize::MAX);
        self.view_history.iter().take(views).copied().collect()
    }

    /// Seals from the next seqno on with another secret.
    pub(super) fn rekey(&mut self, key: Arc<SealKey>) {
        let is_given = false;
        self.keys.insert(self.tree.len(), Key { key, is_given });
    }

    /// The last signature.
    pub(super) fn last_signed(&self) -> Option<LastSigned> {
        let last = self.signatures.last().map(|signed| signed.last);
        last.or(self.began_after)
    }

    /// The signature at or before `seqno`, of those that can still be asked for.
    pub(super) fn signature_up_to(&self, seqno: Seqno) -> Option<&SignedEntry> {
        let signed = self.signatures.iter().rev();
        signed.into_iter().find(|signed| signed.last.txid.seqno <= seqno)
    }

    /// Seals the next entry. `flags` is asked once its size in bytes is known.
    ///
    /// # Errors
    /// If it is too large for the format or the cipher; nothing has changed then.
    pub(super) fn seal(
        &mut self,
        writes: &WriteSet,
        claims: Option<&Digest>,
        flags: impl FnOnce(u64) -> u8,
    ) -> Result<(TxId, Sealed, Bytes)> {
        let txid = self.next();
        if let Some(last) = self.last_sealed {
            let is_fresh = txid.view > last.view || (txid.view == last.view && txid.seqno > last.seqno);
            assert!(is_fresh, "the nonce of {txid} was used before: {last} is sealed");
        }
        let key = self.key();
        let begins = if self.starts_recovery { FLAG_CHUNK_BEFORE } else { 0 };
        let sealed = self
            .sealer
            .seal(&key, self.entry_type, txid, writes, claims, |size| flags(size) | begins)?;
        self.last_sealed = Some(txid);
        self.starts_recovery = false;
        self.tree.append(sealed.leaf);
        Ok((txid, sealed, Bytes::copy_from_slice(self.sealer.raw())))
    }

    /// How the newest signature was made that another node has led with.
    fn mode(&self) -> Option<SignatureMode> {
        self.signatures.last()?.mode
    }

    /// Makes a signature over everything so far; it is sealed with [`Log::seal_signature`].
    pub(super) fn sign(&mut self, now: Now) -> Signed {
        let mode = self.mode().unwrap_or(self.signers.mode);
        self.signers.sign_as(mode, self.next(), &self.tree, now.unix_s)
    }

    /// Seals a signature transaction. `ends` says whether it ends its chunk, by its size.
    ///
    /// # Errors
    /// As [`Log::seal`].
    pub(super) fn seal_signature(
        &mut self,
        writes: &WriteSet,
        ends: impl FnOnce(u64) -> bool,
    ) -> Result<(TxId, bool, Bytes)> {
        let root = self.tree.root();
        let first = self.last_signed().map_or(1, |previous| previous.txid.seqno + 1);
        let mut ends_chunk = false;
        let (txid, sealed, raw) = self.seal(writes, None, |size| {
            ends_chunk = ends(size);
            if ends_chunk { FLAG_CHUNK_AFTER } else { 0 }
        })?;
        while (self.view_history.len() as u64) < self.view {
            self.view_history.push(first);
        }
        let mode = self.mode();
        self.signatures.push(SignedEntry {
            last: LastSigned { txid, root },
            leaf: sealed.leaf,
            mode,
        });
        Ok((txid, ends_chunk, raw))
    }

    /// What is committed need not be in the tree any more (format specification, section 5.3), and no secret before it.
    pub(super) fn committed(&mut self, seqno: Seqno) {
        self.tree.flush_to(seqno);
        let newest = self
            .signatures
            .iter()
            .rposition(|signed| signed.last.txid.seqno <= seqno);
        self.signatures.drain(..newest.unwrap_or(0));
        let newest = self.keys.range(..=seqno).next_back().map(|(from, _)| *from);
        if let Some(newest) = newest {
            self.keys = self.keys.split_off(&newest);
        }
    }

    /// The log belongs to a node that is in this view, whatever it would be in alone.
    pub(super) fn begin_in(&mut self, view: View) {
        self.view = view;
    }

    /// What is sealed from here on is of this view.
    pub(super) fn enter(&mut self, view: View) {
        assert!(view >= self.view, "view {view} comes before {}", self.view);
        self.view = view;
    }

    /// Takes the next entry of another node. Whoever calls has compared the root that it signs, in this mode.
    pub(super) fn follow(&mut self, txid: TxId, leaf: Digest, signs: Option<Digest>, mode: Option<SignatureMode>) {
        assert_eq!(txid.seqno, self.tree.len(), "entries follow in order");
        let first = self.last_signed().map_or(1, |previous| previous.txid.seqno + 1);
        self.tree.append(leaf);
        let Some(root) = signs else { return };
        while (self.view_history.len() as u64) < txid.view {
            self.view_history.push(first);
        }
        self.signatures.push(SignedEntry {
            last: LastSigned { txid, root },
            leaf,
            mode,
        });
    }

    /// Forgets every entry after `to`.
    pub(super) fn roll_back(&mut self, to: Seqno) {
        self.tree.retract_to(to + 1);
        assert_eq!(
            self.tree.len(),
            to + 1,
            "the tree still holds what can be rolled back to"
        );
        self.signatures.retain(|signed| signed.last.txid.seqno <= to);
        let signed = self.last_signed().map_or(0, |last| last.txid.view);
        self.view_history
            .truncate(usize::try_from(signed).unwrap_or(usize::MAX));
        self.keys.retain(|from, key| key.is_given || *from <= to + 1);
    }

    /// A new service goes on from here, with a secret of its own.
    pub(super) fn start_recovery(&mut self, key: Arc<SealKey>, signers: Signers) {
        self.rekey(key);
        self.signers = signers;
        self.starts_recovery = true;
    }
}
