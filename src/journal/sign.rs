//! Signature transactions: who signs the root, and the writes that say so. Format specification, section 6.

use std::sync::Arc;

use crate::crypto::cose::{LedgerSignatureHeader, sign_ledger_root};
use crate::crypto::digest::Digest;
use crate::crypto::{Certificate, SigningKey};
use crate::format::TxId;
use crate::format::domain::WriteSet;
use crate::merkle::Tree;
use crate::tables::values::{Base64, HexDigest, Signature, to_json};
use crate::tables::{SINGLETON_KEY, names};

/// Which keys sign the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureMode {
    /// The node alone: up to 5.x.
    Node,
    /// Node and service: 6.x and 7.x by default.
    Dual,
    /// The service alone, through COSE: 7.0 where it is configured.
    Cose,
}

impl SignatureMode {
    /// How a transaction with these writes is signed; none where it is no signature.
    pub fn of(writes: &WriteSet) -> Option<SignatureMode> {
        let has = |table| writes.get(table, &SINGLETON_KEY).flatten().is_some();
        match (has(names::SIGNATURES), has(names::COSE_SIGNATURES)) {
            (true, true) => Some(SignatureMode::Dual),
            (true, false) => Some(SignatureMode::Node),
            (false, true) => Some(SignatureMode::Cose),
            (false, false) => None,
        }
    }
}

/// The keys that sign, and how they introduce themselves.
#[derive(Clone)]
pub struct Signers {
    /// Which of them sign.
    pub mode: SignatureMode,
    /// The node's key.
    pub node: Arc<SigningKey>,
    /// The node's certificate, endorsed by the service.
    pub node_certificate: Certificate,
    /// The service's key.
    pub service: Arc<SigningKey>,
    /// COSE issuer; may be empty.
    pub issuer: String,
    /// COSE subject; may be empty.
    pub subject: String,
}

/// The signatures over one root.
pub struct Signed {
    /// DER, by the node; empty where it does not sign.
    pub node: Vec<u8>,
    /// COSE_Sign1, by the service; empty where it does not sign.
    pub cose: Vec<u8>,
    /// What the signature transaction writes.
    pub writes: WriteSet,
}

impl Signers {
    /// The node's id, hex.
    pub fn node_id(&self) -> String {
        hex::encode(self.node.verifying_key().id())
    }

    /// Signs `tree` for the signature transaction `txid`, which the tree does not hold yet.
    pub fn sign(&self, txid: TxId, tree: &Tree, issued_at_s: u64) -> Signed {
        self.sign_as(self.mode, txid, tree, issued_at_s)
    }

    /// The same in another mode than its own.
    pub fn sign_as(&self, mode: SignatureMode, txid: TxId, tree: &Tree, issued_at_s: u64) -> Signed {
        let root = tree.root();
        let mut writes = WriteSet::new();
        let mut put = |table: &str, value: Vec<u8>| writes.put(table, SINGLETON_KEY, value);
        let mut signed = Signed {
            node: Vec::new(),
            cose: Vec::new(),
            writes: WriteSet::new(),
        };
        if mode != SignatureMode::Cose {
            signed.node = self.node.sign_prehashed_der(&root);
            put(
                names::SIGNATURES,
                to_json(&self.signature_value(txid, &root, &signed.node)),
            );
        }
        if mode != SignatureMode::Node {
            let header = LedgerSignatureHeader {
                kid_hex: &hex::encode(self.service.verifying_key().id()),
                issued_at_s: i64::try_from(issued_at_s).unwrap_or(i64::MAX),
                issuer: &self.issuer,
                subject: &self.subject,
                txid: &txid.to_string(),
            };
            signed.cose = sign_ledger_root(&self.service, &header, &root);
            put(names::COSE_SIGNATURES, to_json(&Base64(signed.cose.clone())));
        }
        put(names::TREE, tree.serialise());
        signed.writes = writes;
        signed
    }

    fn signature_value(&self, txid: TxId, root: &Digest, sig: &[u8]) -> Signature {
        Signature {
            seqno: txid.seqno,
            view: txid.view,
            root: HexDigest(*root),
            node: HexDigest(self.node.verifying_key().id()),
            sig: Base64(sig.to_vec()),
            cert: Some(self.node_certificate.to_pem()),
            commit_seqno: 0,
            commit_view: 0,
            hashed_nonce: HexDigest([0; 32]),
        }
    }
}
