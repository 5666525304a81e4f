//! Receipts: the proof that a transaction is under a signed root, in both of CCF's forms.
//!
//! JSON receipts are signed by a node's key over the root; COSE receipts are the ledger's own COSE signature with an
//! inclusion proof in its unprotected header, signed by the service's key. Format specification, section 7.3.

use serde::{Deserialize, Serialize};

use super::tree::{Step, fold};
use crate::crypto::cose::Sign1;
use crate::crypto::digest::{Digest, sha256};
use crate::crypto::ecdsa::VerifyingKey;
use crate::crypto::x509::Certificate;
use crate::format::TxId;
use crate::format::entry;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Largest receipt that is read: a path, a certificate and a signature have a few kilobytes.
pub(super) const MAX_RECEIPT_BYTES: usize = 1 << 20;
/// Longest path that can exist: a tree of 2^64 leaves.
pub(super) const MAX_PATH: usize = 64;

/// A proof nests 3 deep.
const MAX_NESTING: usize = 8;

/// Why a receipt does not prove what it should.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The file has none.
    #[error("there is no receipt after the snapshot")]
    Absent,
    /// It can't be read.
    #[error("the receipt can't be read: {0}")]
    Unreadable(String),
    /// It proves something else.
    #[error("the receipt's claims digest is {found}, but the snapshot's digest is {expected}")]
    OtherClaims {
        /// Claims digest in the receipt, hex.
        found: String,
        /// Digest of the snapshot, hex.
        expected: String,
    },
    /// Its signature does not verify.
    #[error("the receipt's signature does not verify: {0}")]
    Signature(String),
}

/// The transaction a receipt speaks of: what its leaf is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafComponents {
    /// SHA-256 of the raw entry.
    pub write_set_digest: Digest,
    /// The evidence text `ce:view.seqno:nonce`.
    pub commit_evidence: String,
    /// Claims digest: for a snapshot's evidence, the digest of the snapshot.
    pub claims_digest: Digest,
}

impl LeafComponents {
    /// The Merkle leaf.
    pub fn leaf(&self) -> Digest {
        let evidence = sha256(self.commit_evidence.as_bytes());
        entry::leaf(&self.write_set_digest, Some(&evidence), Some(&self.claims_digest))
    }
}

/// Who signed a receipt, and how.
pub enum Signer {
    /// A node, with the certificate that the service gave it.
    Node {
        /// The certificate.
        certificate: Box<Certificate>,
        /// Its PEM, as it stands in the receipt.
        certificate_pem: String,
        /// Node id, hex.
        node_id: String,
        /// DER signature over the root.
        signature: Vec<u8>,
    },
    /// The service, through COSE.
    Service(Box<Sign1>),
}

/// A receipt, read.
pub struct Receipt {
    /// The transaction.
    pub leaf_components: LeafComponents,
    /// Its path to the root.
    pub path: Vec<Step>,
    /// Who signed the root.
    pub signer: Signer,
}

#[derive(Serialize, Deserialize)]
struct JsonReceipt {
    cert: String,
    leaf_components: JsonLeaf,
    node_id: String,
    proof: Vec<JsonStep>,
    signature: String,
}

#[derive(Serialize, Deserialize)]
struct JsonLeaf {
    claims_digest: String,
    commit_evidence: String,
    write_set_digest: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum JsonStep {
    Left(String),
    Right(String),
}

impl JsonStep {
    pub(super) fn read(&self) -> Result<Step, ReceiptError> {
        let (left, digest) = match self {
            JsonStep::Left(digest) => (true, digest),
            JsonStep::Right(digest) => (false, digest),
        };
        Ok(Step {
            left,
            digest: hex_digest(digest)?,
        })
    }

    pub(super) fn of(step: &Step) -> JsonStep {
        let digest = hex::encode(step.digest);
        match step.left {
            true => JsonStep::Left(digest),
            false => JsonStep::Right(digest),
        }
    }
}

impl Receipt {
    /// Reads a receipt of either form: COSE starts with 0xD2, JSON with `{`.
    ///
    /// # Errors
    /// [`ReceiptError::Absent`] or [`ReceiptError::Unreadable`].
    pub fn parse(bytes: &[u8]) -> Result<Receipt, ReceiptError> {
        match bytes.first() {
            Some(_) if bytes.len() > MAX_RECEIPT_BYTES => Err(ReceiptError::Unreadable(format!(
                "it has {} bytes, expected at most {MAX_RECEIPT_BYTES}",
                bytes.len()
            ))),
            None => Err(ReceiptError::Absent),
            Some(0xd2) => Self::parse_cose(bytes),
            Some(_) => Self::parse_json(bytes),
        }
    }

    fn parse_json(bytes: &[u8]) -> Result<Receipt, ReceiptError> {
        let json: JsonReceipt = serde_json::from_slice(bytes).map_err(|e| ReceiptError::Unreadable(e.to_string()))?;
        if json.proof.len() > MAX_PATH {
            return Err(ReceiptError::Unreadable(format!(
                "its path has {} steps, expected at most {MAX_PATH}",
                json.proof.len()
            )));
        }
        let path = json
            .proof
            .iter()
            .map(JsonStep::read)
            .collect::<Result<_, ReceiptError>>()?;
        let certificate =
            Certificate::from_pem(&json.cert).map_err(|e| ReceiptError::Unreadable(format!("its certificate: {e}")))?;
        let signature = STANDARD
            .decode(&json.signature)
            .map_err(|e| ReceiptError::Unreadable(format!("its signature: {e}")))?;
        Ok(Receipt {
            leaf_components: LeafComponents {
                write_set_digest: hex_digest(&json.leaf_components.write_set_digest)?,
                commit_evidence: json.leaf_components.commit_evidence,
                claims_digest: hex_digest(&json.leaf_components.claims_digest)?,
            },
            path,
            signer: Signer::Node {
                certificate: Box::new(certificate),
                certificate_pem: json.cert,
                node_id: json.node_id,
                signature,
            },
        })
    }

    fn parse_cose(bytes: &[u8]) -> Result<Receipt, ReceiptError> {
        let unreadable = |what: String| ReceiptError::Unreadable(what);
        let message = Sign1::parse(bytes).map_err(|e| unreadable(e.to_string()))?;
        let proofs = message.inclusion_proofs().map_err(|e| unreadable(e.to_string()))?;
        let [proof] = proofs.as_slice() else {
            return Err(unreadable(format!(
                "it has {} inclusion proofs, expected 1",
                proofs.len()
            )));
        };
        let (leaf_components, path) = read_cbor_proof(proof)?;
        Ok(Receipt {
            leaf_components,
            path,
            signer: Signer::Service(Box::new(message)),
        })
    }

    /// The transaction that the receipt is of, as its evidence text names it.
    pub fn txid(&self) -> Option<TxId> {
        let text = self.leaf_components.commit_evidence.strip_prefix("ce:")?;
        let (txid, _nonce) = text.split_once(':')?;
        TxId::try_from(txid.to_owned()).ok()
    }

    /// The root that the signature must be over.
    pub fn root(&self) -> Digest {
        fold(self.leaf_components.leaf(), &self.path)
    }

    /// Checks the signature over the root. A COSE receipt needs the service's key; a node's comes with it.
    ///
    /// # Errors
    /// [`ReceiptError::Signature`].
    pub fn verify(&self, service: &VerifyingKey) -> Result<(), ReceiptError> {
        let root = self.root();
        let outcome = match &self.signer {
            Signer::Node {
                certificate, signature, ..
            } => certificate.key().verify_prehashed_der(&root, signature),
            Signer::Service(message) => message.verify(service, Some(&root)),
        };
        outcome.map_err(|e| ReceiptError::Signature(e.to_string()))
    }
}

/// Serialises a JSON receipt as CCF puts it after a snapshot: compact, keys sorted.
pub fn write_json(
    components: &LeafComponents,
    path: &[Step],
    certificate_pem: &str,
    node_id: &str,
    signature: &[u8],
) -> Vec<u8> {
    let json = JsonReceipt {
        cert: certificate_pem.to_owned(),
        leaf_components: JsonLeaf {
            claims_digest: hex::encode(components.claims_digest),
            commit_evidence: components.commit_evidence.clone(),
            write_set_digest: hex::encode(components.write_set_digest),
        },
        node_id: node_id.to_owned(),
        proof: path.iter().map(JsonStep::of).collect(),
        signature: STANDARD.encode(signature),
    };
    serde_json::to_vec(&json).unwrap_or_default()
}

/// The CBOR inclusion proof for a COSE receipt: `{1: [wsd, evidence, claims], 2: [[left, digest]…]}`.
pub fn write_cbor_proof(components: &LeafComponents, path: &[Step]) -> Vec<u8> {
    use ciborium::Value;
    let bytes = |digest: &Digest| Value::Bytes(digest.to_vec());
    let value = Value::Map(vec![
        (
            Value::from(1),
            Value::Array(vec![
                bytes(&components.write_set_digest),
                Value::Text(components.commit_evidence.clone()),
                bytes(&components.claims_digest),
            ]),
        ),
        (
            Value::from(2),
            Value::Array(
                path.iter()
                    .map(|step| Value::Array(vec![Value::Bool(step.left), bytes(&step.digest)]))
                    .collect(),
            ),
        ),
    ]);
    let mut out = Vec::new();
    // Writing to a Vec can't fail.
    let _ = ciborium::into_writer(&value, &mut out);
    out
}

pub(super) fn read_cbor_proof(bytes: &[u8]) -> Result<(LeafComponents, Vec<Step>), ReceiptError> {
    use ciborium::Value;
    let unreadable = |what: &str| ReceiptError::Unreadable(format!("its inclusion proof: {what}"));
    let mut rest = bytes;
    let value: Value = ciborium::de::from_reader_with_recursion_limit(&mut rest, MAX_NESTING)
        .map_err(|e| unreadable(&e.to_string()))?;
    if !rest.is_empty() {
        return Err(unreadable("something comes after it"));
    }
    let map = value.as_map().ok_or_else(|| unreadable("is not a map"))?;
    let labels = |wanted: i64| {
        map.iter()
            .filter(|(key, _)| key.as_integer() == Some(wanted.into()))
            .count()
    };
    if labels(1) > 1 || labels(2) > 1 {
        return Err(unreadable("a label stands in it twice"));
    }
    let field = |label: i64| {
        map.iter()
            .find(|(key, _)| key.as_integer() == Some(label.into()))
            .and_then(|(_, value)| value.as_array())
            .ok_or_else(|| unreadable(&format!("label {label} is missing or not an array")))
    };
    let digest = |value: &Value| -> Option<Digest> { value.as_bytes()?.as_slice().try_into().ok() };
    let leaf = field(1)?;
    let components = match leaf.as_slice() {
        [wsd, evidence, claims] => digest(wsd).zip(evidence.as_text()).zip(digest(claims)),
        _ => None,
    };
    let ((write_set_digest, evidence), claims_digest) =
        components.ok_or_else(|| unreadable("its leaf is not [digest, text, digest]"))?;
    let steps = field(2)?;
    if steps.len() > MAX_PATH {
        return Err(unreadable("its path is longer than 64 steps"));
    }
    let path = steps
        .iter()
        .map(|step| match step.as_array()?.as_slice() {
            [left, sibling] => Some(Step {
                left: left.as_bool()?,
                digest: digest(sibling)?,
            }),
            _ => None,
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| unreadable("a step is not [bool, digest]"))?;
    let components = LeafComponents {
        write_set_digest,
        commit_evidence: evidence.to_owned(),
        claims_digest,
    };
    Ok((components, path))
}

pub(super) fn hex_digest(text: &str) -> Result<Digest, ReceiptError> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest).map_err(|e| {
        ReceiptError::Unreadable(format!(
            "\"{}\" is not a digest: {e}",
            text.chars().take(80).collect::<String>()
        ))
    })?;
    Ok(digest)
}

#[cfg(test)]
mod tests;
