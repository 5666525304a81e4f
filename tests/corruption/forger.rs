//! Writes histories that are consistent in every root and signed by whomever a test wants.

use std::path::{Path, PathBuf};

use rekindle::core::Settings;
use rekindle::crypto::LedgerSecret;
use rekindle::fixture::writer::LedgerWriter;
use rekindle::format::TxId;
use rekindle::format::domain::{EntryType, WriteSet};
use rekindle::journal::seal::Sealer;
use rekindle::journal::{SealKey, SignatureMode, Signers};
use rekindle::merkle::Tree;
use rekindle::tables::values::{Base64, HexDigest, ServiceStatus, Signature, to_json};
use rekindle::tables::{SINGLETON_KEY, names};

pub use super::identity::{Identity, put_node, put_service};

const ENTRY_TYPE: EntryType = EntryType::WriteSetWithCommitEvidenceAndClaims;

/// A history being written, and the tree of it, so that signatures can be made by hand too.
pub struct Forger {
    scratch: tempfile::TempDir,
    writer: LedgerWriter,
    tree: Tree,
    sealer: Sealer,
    mode: SignatureMode,
}

fn seal_key() -> SealKey {
    SealKey::new(&LedgerSecret::from_bytes([7; 32]))
}

fn signers(mode: SignatureMode, service: &Identity, node: &Identity) -> Signers {
    Signers {
        mode,
        node: node.key.clone(),
        node_certificate: node.certificate.clone(),
        service: service.key.clone(),
        issuer: String::new(),
        subject: String::new(),
    }
}

impl Forger {
    /// A service whose first transaction trusts `node`, and makes known, as Pending, `other`.
    pub fn begin(mode: SignatureMode, service: &Identity, node: &Identity, other: &Identity) -> Forger {
        let scratch = tempfile::tempdir().unwrap();
        let settings = Settings {
            chunk_size: 1 << 30,
            entry_type: ENTRY_TYPE,
            signatures: None,
            max_uncommitted: 0,
            snapshots: None,
        };
        let (ledger, snapshots) = (scratch.path().join("ledger"), scratch.path().join("snapshots"));
        let writer =
            LedgerWriter::create(&ledger, &snapshots, settings, seal_key(), signers(mode, service, node)).unwrap();
        let mut forger = Forger {
            scratch,
            writer,
            tree: Tree::genesis(),
            sealer: Sealer::default(),
            mode,
        };
        let mut writes = WriteSet::new();
        put_service(&mut writes, service, ServiceStatus::Opening);
        put_node(&mut writes, node, "Trusted");
        put_node(&mut writes, other, "Pending");
        forger.append(&writes);
        forger.sign(false);
        let mut writes = WriteSet::new();
        put_service(&mut writes, service, ServiceStatus::Open);
        forger.append(&writes);
        forger
    }

    pub fn append(&mut self, writes: &WriteSet) -> TxId {
        let txid = self.writer.append(writes, None).unwrap();
        self.follow(txid, writes);
        txid
    }

    fn follow(&mut self, txid: TxId, writes: &WriteSet) {
        let sealed = self
            .sealer
            .seal(&seal_key(), ENTRY_TYPE, txid, writes, None, |_| 0)
            .unwrap();
        self.tree.append(sealed.leaf);
    }

    /// So many application entries, which differ by `salt`.
    pub fn serve(&mut self, entries: u64, salt: &str) {
        for number in 0..entries {
            let mut writes = WriteSet::new();
            writes.put("public:app", format!("{number}"), format!("{salt} {number}"));
            self.append(&writes);
        }
    }

    /// Signs as a service does. Nothing can be appended by hand after a signature that ends its chunk.
    pub fn sign(&mut self, end_chunk: bool) -> TxId {
        let (txid, writes) = self.writer.sign(1_700_000_000, end_chunk, false).unwrap();
        self.follow(txid, &writes);
        txid
    }

    /// From here on, others sign: what an intruder writes after the last signature, in a later view.
    pub fn take_over(&mut self, service: &Identity, node: &Identity) -> TxId {
        self.writer
            .recover(seal_key(), signers(self.mode, service, node))
            .unwrap()
            .txid
    }

    /// A node's signature as 1.x made it, without a certificate. Right only where no signature before ended a chunk.
    pub fn sign_without_certificate(&mut self, node: &Identity) -> TxId {
        let txid = self.writer.next();
        let root = self.tree.root();
        let signature = Signature {
            seqno: txid.seqno,
            view: txid.view,
            root: HexDigest(root),
            node: HexDigest(node.key.verifying_key().id()),
            sig: Base64(node.key.sign_prehashed_der(&root)),
            cert: None,
            commit_seqno: 0,
            commit_view: 0,
            hashed_nonce: HexDigest([0; 32]),
        };
        let mut writes = WriteSet::new();
        writes.put(names::SIGNATURES, SINGLETON_KEY, to_json(&signature));
        writes.put(names::TREE, SINGLETON_KEY, self.tree.serialise());
        self.append(&writes)
    }

    /// Ends the writing; the directory lives as long as what is answered.
    pub fn end(mut self) -> (tempfile::TempDir, PathBuf) {
        self.writer.opened().unwrap();
        self.writer.close().unwrap();
        let ledger = self.scratch.path().join("ledger");
        (self.scratch, ledger)
    }
}

/// Names of the chunks in a directory, by first seqno.
pub fn chunk_names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_by_key(|name| {
        let digits: String = name
            .trim_start_matches("ledger_")
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        digits.parse::<u64>().unwrap()
    });
    names
}
