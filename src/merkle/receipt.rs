//! Receipts: the proof that a transaction is under a signed root, in both of CCF's forms.
//!
//! JSON receipts are signed by a node's key over the root; COSE receipts are the ledger's own COSE signature with an
//! inclusion proof in its unprotected header, signed by the service's key. Format specification, section 7.3.

use serde::{Deserialize, Serialize};

use super::tree::{Step, fold};
use crate::crypto::cose::Sign1;
use crate::crypto::digest::{Digest, sha256, sha256_three};
use crate::crypto::ecdsa::VerifyingKey;
use crate::crypto::x509::Certificate;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Longest path that can exist: a tree of 2^64 leaves.
const MAX_PATH: usize = 64;

/// Why a receipt does not prove what it should.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The file has none.
    #[error("there is no receipt behind the snapshot")]
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
        sha256_three(&self.write_set_digest, &evidence, &self.claims_digest)
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
enum JsonStep {
    Left(String),
    Right(String),
}

impl Receipt {
    /// Reads a receipt of either form: COSE starts with 0xD2, JSON with `{`.
    ///
    /// # Errors
    /// [`ReceiptError::Absent`] or [`ReceiptError::Unreadable`].
    pub fn parse(bytes: &[u8]) -> Result<Receipt, ReceiptError> {
        match bytes.first() {
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
            .map(|step| match step {
                JsonStep::Left(digest) => Ok(Step {
                    left: true,
                    digest: hex_digest(digest)?,
                }),
                JsonStep::Right(digest) => Ok(Step {
                    left: false,
                    digest: hex_digest(digest)?,
                }),
            })
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

/// Serialises a JSON receipt as CCF puts it behind a snapshot: compact, keys sorted.
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
        proof: path
            .iter()
            .map(|step| match step.left {
                true => JsonStep::Left(hex::encode(step.digest)),
                false => JsonStep::Right(hex::encode(step.digest)),
            })
            .collect(),
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

fn read_cbor_proof(bytes: &[u8]) -> Result<(LeafComponents, Vec<Step>), ReceiptError> {
    use ciborium::Value;
    let unreadable = |what: &str| ReceiptError::Unreadable(format!("its inclusion proof: {what}"));
    let value: Value = ciborium::from_reader(bytes).map_err(|e| unreadable(&e.to_string()))?;
    let map = value.as_map().ok_or_else(|| unreadable("is not a map"))?;
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

fn hex_digest(text: &str) -> Result<Digest, ReceiptError> {
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
mod tests {
    use super::*;

    use crate::crypto::cose::{LedgerSignatureHeader, sign_ledger_root, with_inclusion_proof};
    use crate::crypto::x509::issue;
    use crate::crypto::{Curve, SigningKey};
    use crate::merkle::Tree;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    fn components() -> LeafComponents {
        LeafComponents {
            write_set_digest: [1; 32],
            commit_evidence: "ce:2.9:00".into(),
            claims_digest: [2; 32],
        }
    }

    fn key(seed: u64) -> SigningKey {
        SigningKey::generate(Curve::P256, &mut ChaCha20Rng::seed_from_u64(seed))
    }

    /// A tree in which the transaction is leaf 5 of 9, its path, and its root.
    fn proven() -> (Vec<Step>, Digest) {
        let mut tree = Tree::genesis();
        for leaf in 1..9 {
            tree.append(if leaf == 5 { components().leaf() } else { [leaf; 32] });
        }
        (tree.path(5).unwrap(), tree.root())
    }

    fn json_receipt(path: &[Step], signature: &[u8]) -> Vec<u8> {
        let certificate = issue(
            "CN=Node",
            &key(1).verifying_key(),
            None,
            &key(1),
            false,
            0,
            365,
            [1; 16],
        )
        .unwrap();
        write_json(&components(), path, &certificate.to_pem(), "node", signature)
    }

    fn cose_receipt(root: &Digest, proofs: &[u8]) -> Vec<u8> {
        let header = LedgerSignatureHeader {
            kid_hex: "",
            issued_at_s: 0,
            issuer: "",
            subject: "",
            txid: "2.9",
        };
        with_inclusion_proof(&sign_ledger_root(&key(2), &header, root), proofs).unwrap()
    }

    fn many_steps(number: usize) -> Vec<Step> {
        (0..number)
            .map(|step| Step {
                left: step % 2 == 0,
                digest: [step as u8; 32],
            })
            .collect()
    }

    #[test]
    fn a_leaf_is_the_digest_of_write_set_evidence_and_claims() {
        let evidence = sha256(b"ce:2.9:00");
        assert_eq!(components().leaf(), sha256(&[[1; 32], evidence, [2; 32]].concat()));
    }

    #[test]
    fn a_node_s_receipt_reads_back_and_proves_the_root_that_the_node_signed() {
        let (path, root) = proven();
        let bytes = json_receipt(&path, &key(1).sign_prehashed_der(&root));
        let receipt = Receipt::parse(&bytes).unwrap();
        assert_eq!((&receipt.leaf_components, &receipt.path), (&components(), &path));
        assert_eq!(receipt.root(), root);
        let Signer::Node {
            certificate, node_id, ..
        } = &receipt.signer
        else {
            panic!("a node signed it");
        };
        assert_eq!((certificate.key(), node_id.as_str()), (&key(1).verifying_key(), "node"));
        receipt.verify(&key(3).verifying_key()).unwrap();
        // Another root, and another key's signature.
        for signature in [key(1).sign_prehashed_der(&[9; 32]), key(3).sign_prehashed_der(&root)] {
            let receipt = Receipt::parse(&json_receipt(&path, &signature)).unwrap();
            assert!(matches!(
                receipt.verify(&key(3).verifying_key()),
                Err(ReceiptError::Signature(_))
            ));
        }
    }

    #[test]
    fn a_service_s_receipt_reads_back_and_is_proven_by_its_key_alone() {
        let (path, root) = proven();
        let receipt = Receipt::parse(&cose_receipt(&root, &write_cbor_proof(&components(), &path))).unwrap();
        assert_eq!((&receipt.leaf_components, &receipt.path), (&components(), &path));
        assert_eq!(receipt.root(), root);
        receipt.verify(&key(2).verifying_key()).unwrap();
        assert!(matches!(
            receipt.verify(&key(3).verifying_key()),
            Err(ReceiptError::Signature(_))
        ));
        let other = Receipt::parse(&cose_receipt(&[9; 32], &write_cbor_proof(&components(), &path))).unwrap();
        assert!(
            other.verify(&key(2).verifying_key()).is_err(),
            "another root was signed"
        );
    }

    #[test]
    fn a_path_has_as_many_steps_as_the_largest_tree_and_no_more() {
        for steps in [0, 1, 63, 64] {
            let path = many_steps(steps);
            assert_eq!(Receipt::parse(&json_receipt(&path, b"")).unwrap().path, path);
            assert_eq!(
                read_cbor_proof(&write_cbor_proof(&components(), &path)).unwrap().1,
                path
            );
        }
        for steps in [65, 66, 1000] {
            let path = many_steps(steps);
            assert!(matches!(
                Receipt::parse(&json_receipt(&path, b"")),
                Err(ReceiptError::Unreadable(_))
            ));
            assert!(read_cbor_proof(&write_cbor_proof(&components(), &path)).is_err());
        }
    }

    #[test]
    fn a_receipt_that_is_none_says_so() {
        assert!(matches!(Receipt::parse(b""), Err(ReceiptError::Absent)));
        for bytes in [&b"{}"[..], b"garbage", b"\xd2", b"\xd2\x80"] {
            assert!(matches!(Receipt::parse(bytes), Err(ReceiptError::Unreadable(_))));
        }
        let short = String::from_utf8(json_receipt(&many_steps(2), b"")).unwrap();
        let short = short.replacen(&hex::encode([1; 32]), "0101", 1);
        assert!(matches!(
            Receipt::parse(short.as_bytes()),
            Err(ReceiptError::Unreadable(_))
        ));
        let without = cose_receipt(&[9; 32], b"");
        assert!(matches!(Receipt::parse(&without), Err(ReceiptError::Unreadable(_))));
    }

    #[test]
    fn a_cbor_proof_reads_back() {
        let components = LeafComponents {
            write_set_digest: [1; 32],
            commit_evidence: "ce:2.9:00".into(),
            claims_digest: [2; 32],
        };
        let path = vec![
            Step {
                left: true,
                digest: [3; 32],
            },
            Step {
                left: false,
                digest: [4; 32],
            },
        ];
        let bytes = write_cbor_proof(&components, &path);
        assert_eq!(read_cbor_proof(&bytes).unwrap(), (components, path));
        for end in 0..bytes.len() {
            assert!(read_cbor_proof(&bytes[..end]).is_err());
        }
    }
}
