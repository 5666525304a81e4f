//! Writes a ledger entry by entry, with any type, flags, view and signature: what no journal would write.

use std::path::PathBuf;

use rekindle::crypto::cose::{LedgerSignatureHeader, sign_ledger_root};
use rekindle::crypto::{Certificate, LedgerSecret};
use rekindle::format::TxId;
use rekindle::format::domain::{EntryType, WriteSet};
use rekindle::journal::SealKey;
use rekindle::journal::seal::Sealer;
use rekindle::journal::succession::{Predecessor, endorse};
use rekindle::merkle::Tree;
use rekindle::tables::values::{
    Base64, HexDigest, IdentityEndorsement, ServiceInfo, ServiceStatus, Signature, to_json,
};
use rekindle::tables::{SINGLETON_KEY, names};

use super::forger::Identity;

pub const NEWEST: EntryType = EntryType::WriteSetWithCommitEvidenceAndClaims;

/// A ledger in memory, of one open chunk.
pub struct Scribe {
    key: SealKey,
    sealer: Sealer,
    tree: Tree,
    bytes: Vec<u8>,
    pub view: u64,
    pub next: u64,
    pub entry_type: EntryType,
    pub flags: u8,
    /// The last signature's transaction and root.
    pub signed: Option<(TxId, [u8; 32])>,
}

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
            node: Some(node),
            service: Some(service),
            with_certificate: true,
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

impl Scribe {
    pub fn new() -> Scribe {
        Scribe {
            key: SealKey::new(&LedgerSecret::from_bytes([7; 32])),
            sealer: Sealer::default(),
            tree: Tree::genesis(),
            bytes: vec![0; 8],
            view: 2,
            next: 1,
            entry_type: NEWEST,
            flags: 0,
            signed: None,
        }
    }

    pub fn txid(&self) -> TxId {
        TxId {
            view: self.view,
            seqno: self.next,
        }
    }

    pub fn append(&mut self, writes: &WriteSet) -> TxId {
        let txid = self.txid();
        let flags = std::mem::take(&mut self.flags);
        let sealed = self
            .sealer
            .seal(&self.key, self.entry_type, txid, writes, None, |_| flags);
        self.bytes.extend_from_slice(self.sealer.raw());
        self.tree.append(sealed.unwrap().leaf);
        self.next += 1;
        txid
    }

    /// So many application entries.
    pub fn serve(&mut self, entries: u64) {
        for number in 0..entries {
            let mut writes = WriteSet::new();
            writes.put("public:app", format!("{number}"), "value");
            self.append(&writes);
        }
    }

    pub fn sign(&mut self, by: By<'_>) -> TxId {
        self.sign_with(by, |_| {})
    }

    /// Signs; `change` may add to what the signature transaction writes.
    pub fn sign_with(&mut self, by: By<'_>, change: impl FnOnce(&mut WriteSet)) -> TxId {
        let txid = self.txid();
        self.sign_as(by, txid, change)
    }

    /// Signs with `claimed` as what the COSE signature says it is.
    pub fn sign_as(&mut self, by: By<'_>, claimed: TxId, change: impl FnOnce(&mut WriteSet)) -> TxId {
        let txid = self.txid();
        let root = self.tree.root();
        let mut writes = WriteSet::new();
        if let Some(node) = by.node {
            let signature = Signature {
                seqno: txid.seqno,
                view: txid.view,
                root: HexDigest(root),
                node: HexDigest(node.key.verifying_key().id()),
                sig: Base64(node.key.sign_prehashed_der(&root)),
                cert: by.with_certificate.then(|| node.certificate.to_pem()),
                commit_seqno: 0,
                commit_view: 0,
                hashed_nonce: HexDigest([0; 32]),
            };
            writes.put(names::SIGNATURES, SINGLETON_KEY, to_json(&signature));
        }
        if let Some(service) = by.service {
            let header = LedgerSignatureHeader {
                kid_hex: &service.id(),
                issued_at_s: 1_700_000_000,
                issuer: "",
                subject: "",
                txid: &claimed.to_string(),
            };
            let message = sign_ledger_root(&service.key, &header, &root);
            writes.put(names::COSE_SIGNATURES, SINGLETON_KEY, to_json(&Base64(message)));
        }
        writes.put(names::TREE, SINGLETON_KEY, self.tree.serialise());
        change(&mut writes);
        self.signed = Some((txid, root));
        self.append(&writes)
    }

    /// Writes the ledger; the directory lives as long as what is answered.
    pub fn end(self) -> (tempfile::TempDir, PathBuf) {
        let scratch = tempfile::tempdir().unwrap();
        let ledger = scratch.path().join("ledger");
        std::fs::create_dir(&ledger).unwrap();
        std::fs::write(ledger.join("ledger_1"), &self.bytes).unwrap();
        (scratch, ledger)
    }
}

/// `service.info` as a service writes it about itself.
#[derive(Clone)]
pub struct About {
    pub certificate: Certificate,
    pub status: ServiceStatus,
    pub count: Option<u64>,
    pub created: Option<TxId>,
}

impl About {
    pub fn put(&self, writes: &mut WriteSet) {
        let info = ServiceInfo {
            cert: self.certificate.to_pem(),
            status: self.status,
            previous_service_identity_version: None,
            recovery_count: self.count,
            current_service_create_txid: self.created,
            service_data: None,
        };
        writes.put(names::SERVICE_INFO, SINGLETON_KEY, to_json(&info));
    }
}

/// An endorsement as a service created at `created` writes it.
pub fn endorsement(
    service: &Identity,
    created: TxId,
    before: Option<(u64, IdentityEndorsement, [u8; 32])>,
) -> IdentityEndorsement {
    let previous = before.map(|(written_at, endorsement, root)| Predecessor {
        written_at: Some(written_at),
        endorsement,
        last_signed_root: Some(root),
    });
    endorse(&service.key, created, previous, 1_700_000_000)
}
