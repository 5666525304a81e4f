//! Writes a ledger entry by entry, each as a test wants it: nothing here minds whether a service would write that.
//!
//! Every entry is sealed and hashed as it should be, so that a ledger is wrong in exactly the place a test chose.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use rekindle::crypto::cose::{LedgerSignatureHeader, sign_ledger_root};
use rekindle::crypto::{Digest, LedgerSecret, sha256, sha256_three};
use rekindle::format::chunk_writer::ChunkWriter;
use rekindle::format::domain::{EntryType, PublicHeader, WriteSet};
use rekindle::format::entry::{EntryIv, write_entry};
use rekindle::format::{Seqno, TxId, View};
use rekindle::journal::SealKey;
use rekindle::journal::seal::Sealer;
use rekindle::merkle::Tree;
use rekindle::tables::values::{Base64, HexDigest, Signature, to_json};
use rekindle::tables::{SINGLETON_KEY, names};

use super::identity::Identity;

/// The ledger secret of every ledger that is written here.
pub fn secret() -> LedgerSecret {
    LedgerSecret::from_bytes([7; 32])
}

/// What every service since 4.x writes.
pub const NEWEST: EntryType = EntryType::WriteSetWithCommitEvidenceAndClaims;

/// Who signs, and how.
#[derive(Clone, Copy)]
pub struct By<'a> {
    pub node: Option<&'a Identity>,
    pub service: Option<&'a Identity>,
    pub with_certificate: bool,
}

impl<'a> By<'a> {
    pub fn both(node: &'a Identity, service: &'a Identity) -> By<'a> {
        By {
            service: Some(service),
            ..By::node(node)
        }
    }

    pub fn node(node: &'a Identity) -> By<'a> {
        By {
            node: Some(node),
            service: None,
            with_certificate: true,
        }
    }

    pub fn service(service: &'a Identity) -> By<'a> {
        By {
            node: None,
            service: Some(service),
            with_certificate: false,
        }
    }

    /// As CCF 1.x signed.
    pub fn bare(node: &'a Identity) -> By<'a> {
        By {
            with_certificate: false,
            ..By::node(node)
        }
    }
}

/// A ledger being written, and its tree.
pub struct Scribe {
    pub entry_type: EntryType,
    /// View of the next entry.
    pub view: View,
    /// Flags of the next entry that is appended without a word about them.
    pub flags: u8,
    pub tree: Tree,
    /// Seqno of the last signature that [`Scribe::sign`] wrote.
    pub signed_at: Seqno,
    /// That transaction, and the root that it signs.
    pub signed: Option<(TxId, Digest)>,
    /// The tree in the last signature transaction.
    pub signed_tree: Vec<u8>,
    sealer: Sealer,
    /// First seqno and raw entries of each chunk.
    pub chunks: Vec<(Seqno, Vec<Vec<u8>>)>,
}

impl Scribe {
    pub fn new(entry_type: EntryType) -> Scribe {
        Scribe {
            entry_type,
            view: 2,
            flags: 0,
            tree: Tree::genesis(),
            signed_at: 0,
            signed: None,
            signed_tree: Vec::new(),
            sealer: Sealer::default(),
            chunks: vec![(1, Vec::new())],
        }
    }

    /// The transaction that will be written next.
    pub fn next(&self) -> TxId {
        TxId {
            view: self.view,
            seqno: self.tree.len(),
        }
    }

    pub fn append(&mut self, writes: &WriteSet) -> TxId {
        let flags = std::mem::take(&mut self.flags);
        self.append_with(writes, flags, None)
    }

    /// So many application entries.
    pub fn serve(&mut self, entries: u64) {
        for number in 0..entries {
            let mut writes = WriteSet::new();
            writes.put("public:app", number.to_string(), format!("value {number}"));
            self.append(&writes);
        }
    }

    pub fn append_with(&mut self, writes: &WriteSet, flags: u8, claims: Option<&Digest>) -> TxId {
        let txid = self.next();
        let sealed = self
            .sealer
            .seal(&SealKey::new(&secret()), self.entry_type, txid, writes, claims, |_| {
                flags
            })
            .unwrap();
        let raw = self.sealer.raw().to_vec();
        self.push(raw, sealed.leaf);
        txid
    }

    /// An entry whose public domain holds, after its header, these bytes.
    pub fn append_public(&mut self, maps: &[u8]) -> TxId {
        let txid = self.next();
        let (evidence, claims) = ([1; 32], [0; 32]);
        let mut public = Vec::new();
        PublicHeader {
            entry_type: EntryType::WriteSetWithCommitEvidenceAndClaims,
            seqno: txid.seqno,
            claims_digest: Some(&claims),
            commit_evidence_digest: Some(&evidence),
            max_conflict_version: 0,
        }
        .write(&mut public);
        public.extend_from_slice(maps);
        let iv = EntryIv {
            seqno: txid.seqno,
            view: txid.view,
            snapshot: false,
        };
        let mut raw = Vec::new();
        write_entry(&mut raw, 0, &[7; 16], iv, &public, b"").unwrap();
        let leaf = sha256_three(&sha256(&raw), &evidence, &claims);
        self.push(raw, leaf);
        txid
    }

    fn push(&mut self, raw: Vec<u8>, leaf: Digest) {
        self.tree.append(leaf);
        self.chunks.last_mut().unwrap().1.push(raw);
    }

    /// The next entry starts a chunk.
    pub fn begin_chunk(&mut self) {
        let next = self.next().seqno;
        self.chunks.push((next, Vec::new()));
    }

    /// A node's signature of everything so far, as the next transaction.
    pub fn signature(&self, node: &Identity) -> Signature {
        let txid = self.next();
        let root = self.tree.root();
        Signature {
            seqno: txid.seqno,
            view: txid.view,
            root: HexDigest(root),
            node: HexDigest(node.key.verifying_key().id()),
            sig: Base64(node.key.sign_prehashed_der(&root)),
            cert: Some(node.certificate.to_pem()),
            commit_seqno: 0,
            commit_view: 0,
            hashed_nonce: HexDigest([0; 32]),
        }
    }

    /// A service's COSE signature of everything so far, as the next transaction.
    pub fn cose(&self, service: &Identity) -> Vec<u8> {
        self.cose_saying(service, &self.tree.root(), &service.id(), &self.next().to_string())
    }

    /// The same, saying and signing what it is told to.
    pub fn cose_saying(&self, service: &Identity, root: &Digest, kid_hex: &str, txid: &str) -> Vec<u8> {
        let header = LedgerSignatureHeader {
            kid_hex,
            issued_at_s: 1_700_000_000,
            issuer: "",
            subject: "",
            txid,
        };
        sign_ledger_root(&service.key, &header, root)
    }

    /// The writes of a signature transaction.
    pub fn signature_writes(&mut self, node: Option<&Signature>, cose: Option<&[u8]>) -> WriteSet {
        self.tree.flush_to(self.signed_at);
        let mut writes = WriteSet::new();
        if let Some(signature) = node {
            writes.put(names::SIGNATURES, SINGLETON_KEY, to_json(signature));
        }
        if let Some(cose) = cose {
            writes.put(names::COSE_SIGNATURES, SINGLETON_KEY, to_json(&Base64(cose.to_vec())));
        }
        self.signed_tree = self.tree.serialise();
        writes.put(names::TREE, SINGLETON_KEY, self.signed_tree.as_slice());
        writes
    }

    /// Writes a signature transaction.
    pub fn sign(&mut self, node: Option<&Signature>, cose: Option<&[u8]>) -> TxId {
        let root = self.tree.root();
        let writes = self.signature_writes(node, cose);
        self.append_signature(&writes, root)
    }

    fn append_signature(&mut self, writes: &WriteSet, root: Digest) -> TxId {
        let txid = self.append(writes);
        self.signed_at = txid.seqno;
        self.signed = Some((txid, root));
        txid
    }

    /// Writes a signature transaction by these.
    pub fn sign_by(&mut self, by: By<'_>) -> TxId {
        self.sign_with(by, |_| {})
    }

    /// The same; `change` may add to what the transaction writes.
    pub fn sign_with(&mut self, by: By<'_>, change: impl FnOnce(&mut WriteSet)) -> TxId {
        self.sign_as(by, self.next(), change)
    }

    /// The same, with `claimed` as what the COSE signature says it is.
    pub fn sign_as(&mut self, by: By<'_>, claimed: TxId, change: impl FnOnce(&mut WriteSet)) -> TxId {
        let root = self.tree.root();
        let signature = by.node.map(|node| {
            let mut signature = self.signature(node);
            signature.cert = signature.cert.filter(|_| by.with_certificate);
            signature
        });
        let say = |service: &Identity| self.cose_saying(service, &root, &service.id(), &claimed.to_string());
        let cose = by.service.map(say);
        let mut writes = self.signature_writes(signature.as_ref(), cose.as_deref());
        change(&mut writes);
        self.append_signature(&writes, root)
    }

    /// The ledger in a directory of its own, which lives as long as what is answered.
    pub fn end(&self) -> (tempfile::TempDir, PathBuf) {
        let scratch = tempfile::tempdir().unwrap();
        let ledger = scratch.path().join("ledger");
        self.store(&ledger);
        (scratch, ledger)
    }

    /// Writes the chunks: all are complete and committed but the last.
    pub fn store(&self, directory: &Path) {
        std::fs::create_dir_all(directory).unwrap();
        let last = self.chunks.len() - 1;
        for (index, (first, entries)) in self.chunks.iter().enumerate() {
            let mut writer = ChunkWriter::create(Cursor::new(Vec::new())).unwrap();
            entries.iter().for_each(|raw| writer.append(raw).unwrap());
            let name = if index < last {
                writer.complete().unwrap();
                format!("ledger_{first}-{}.committed", first + entries.len() as u64 - 1)
            } else {
                format!("ledger_{first}")
            };
            std::fs::write(directory.join(name), writer.out().get_ref()).unwrap();
        }
    }
}
