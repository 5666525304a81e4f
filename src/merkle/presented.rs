//! A receipt as it is presented to somebody who was not there: of any transaction, in any form that CCF gives out.
//!
//! JSON receipts have the parts of a leaf, or the leaf alone (of a signature transaction: the root that it signs), and
//! beside them certificates or COSE endorsements that lead from an earlier service to a later one. COSE receipts bring
//! endorsements in a file beside them. Nothing is believed here: reading says what is claimed, and `recovery/receipts`
//! whether it holds. Format specification, sections 6.5 and 7.3.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::receipt::{JsonStep, MAX_PATH, MAX_RECEIPT_BYTES, ReceiptError, Signer, hex_digest, read_cbor_proof};
use super::tree::{Step, fold};
use crate::crypto::cose::Sign1;
use crate::crypto::digest::{Digest, sha256};
use crate::crypto::x509::Certificate;
use crate::format::TxId;
use crate::format::entry;

mod endorsements;

pub use endorsements::{MAX_ENDORSEMENTS, read_endorsements, write_endorsements};

/// Certificates that lead from one service to another at most: CCF has one, however many recoveries lie between.
const MAX_CERTIFICATES: usize = 64;

/// What the leaf of an entry is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// SHA-256 of the raw entry.
    pub write_set_digest: Digest,
    /// The transaction that the evidence names.
    pub txid: TxId,
    /// The evidence text `ce:view.seqno:nonce`.
    pub commit_evidence: String,
    /// What the application claims; absent in entries of 2.0.0-rc that were written without.
    pub claims_digest: Option<Digest>,
}

impl Parts {
    /// Takes the parts apart once more: the evidence must be the one text that CCF makes for its transaction.
    ///
    /// # Errors
    /// [`ReceiptError::Unreadable`] for other evidence.
    pub fn new(
        write_set_digest: Digest,
        commit_evidence: String,
        claims_digest: Option<Digest>,
    ) -> Result<Parts, ReceiptError> {
        let named = evidence_of(&commit_evidence).ok_or_else(|| {
            ReceiptError::Unreadable(format!(
                "its commit evidence is \"{}\", expected ce:VIEW.SEQNO: and 64 hexadecimal digits",
                commit_evidence.chars().take(80).collect::<String>()
            ))
        })?;
        Ok(Parts {
            write_set_digest,
            txid: named,
            commit_evidence,
            claims_digest,
        })
    }
}

/// The transaction that an evidence text names, if it is written as CCF writes it.
fn evidence_of(text: &str) -> Option<TxId> {
    let (txid, nonce) = text.strip_prefix("ce:")?.split_once(':')?;
    let is_nonce = nonce.len() == 64 && nonce.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let named: TxId = txid.parse().ok()?;
    (is_nonce && named.to_string() == txid).then_some(named)
}

/// What the path begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// The parts of an entry's leaf.
    Parts(Parts),
    /// A digest that says nothing of itself.
    Plain(Digest),
}

impl Leaf {
    /// The digest.
    pub fn digest(&self) -> Digest {
        match self {
            Leaf::Plain(digest) => *digest,
            Leaf::Parts(parts) => {
                let evidence = sha256(parts.commit_evidence.as_bytes());
                entry::leaf(&parts.write_set_digest, Some(&evidence), parts.claims_digest.as_ref())
            }
        }
    }
}

/// A receipt, read.
pub struct Presented {
    /// What it is of.
    pub leaf: Leaf,
    /// Its path to the root.
    pub path: Vec<Step>,
    /// Who signed the root.
    pub signer: Signer,
    /// Certificates of earlier services' keys: the first endorsed the node, each is endorsed by the next.
    pub service_endorsements: Vec<Certificate>,
    /// COSE endorsements of earlier services' keys by later ones, newest first.
    pub cose_endorsements: Vec<Vec<u8>>,
}

/// The JSON of a receipt: as CCF's nodes give it out, and with the ledger's COSE endorsements beside it.
#[derive(Serialize, Deserialize)]
struct Json {
    cert: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cose_endorsements: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaf: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaf_components: Option<JsonParts>,
    node_id: String,
    proof: Vec<JsonStep>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    service_endorsements: Vec<String>,
    signature: String,
}

#[derive(Serialize, Deserialize)]
struct JsonParts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claims_digest: Option<String>,
    commit_evidence: String,
    write_set_digest: String,
}

fn unreadable(why: impl Into<String>) -> ReceiptError {
    ReceiptError::Unreadable(why.into())
}

impl Presented {
    /// Reads a receipt of either form: COSE starts with 0xD2, JSON with `{`.
    ///
    /// # Errors
    /// [`ReceiptError::Absent`] or [`ReceiptError::Unreadable`].
    pub fn parse(bytes: &[u8]) -> Result<Presented, ReceiptError> {
        match bytes.first() {
            None => Err(ReceiptError::Absent),
            Some(_) if bytes.len() > MAX_RECEIPT_BYTES => Err(unreadable(format!(
                "it has {} bytes, expected at most {MAX_RECEIPT_BYTES}",
                bytes.len()
            ))),
            Some(0xd2) => Self::parse_cose(bytes),
            // Lists would be read as well, member for member.
            Some(_) if bytes.trim_ascii_start().starts_with(b"{") => Self::parse_json(bytes),
            Some(_) => Err(unreadable(
                "it begins neither like JSON ({) nor like COSE (0xD2: tag 18)",
            )),
        }
    }

    fn parse_json(bytes: &[u8]) -> Result<Presented, ReceiptError> {
        let json: Json = serde_json::from_slice(bytes).map_err(|why| unreadable(why.to_string()))?;
        let leaf = match (json.leaf, json.leaf_components) {
            (Some(leaf), None) => Leaf::Plain(hex_digest(&leaf)?),
            (None, Some(parts)) => Leaf::Parts(Parts::new(
                hex_digest(&parts.write_set_digest)?,
                parts.commit_evidence,
                parts.claims_digest.as_deref().map(hex_digest).transpose()?,
            )?),
            (leaf, _) => {
                let found = if leaf.is_some() { "both" } else { "neither" };
                return Err(unreadable(format!(
                    "it has {found} of leaf and leaf_components, expected one"
                )));
            }
        };
        if json.proof.len() > MAX_PATH {
            let found = json.proof.len();
            return Err(unreadable(format!(
                "its path has {found} steps, expected at most {MAX_PATH}"
            )));
        }
        let path = json.proof.iter().map(JsonStep::read).collect::<Result<_, _>>()?;
        let certificate = |what: &str, pem: &str| {
            Certificate::from_pem(pem).map_err(|why| unreadable(format!("{what} is no certificate in PEM: {why}")))
        };
        let most = [
            (
                "service_endorsements",
                json.service_endorsements.len(),
                MAX_CERTIFICATES,
            ),
            ("cose_endorsements", json.cose_endorsements.len(), MAX_ENDORSEMENTS),
        ];
        if let Some((what, found, most)) = most.iter().find(|(_, found, most)| found > most) {
            return Err(unreadable(format!("it has {found} {what}, expected at most {most}")));
        }
        let service_endorsements = json.service_endorsements.iter();
        let cose_endorsements = json.cose_endorsements.iter();
        let base64 = |what: &str, text: &str| {
            STANDARD
                .decode(text)
                .map_err(|why| unreadable(format!("{what} is not base64: {why}")))
        };
        Ok(Presented {
            leaf,
            path,
            signer: Signer::Node {
                certificate: Box::new(certificate("its cert", &json.cert)?),
                certificate_pem: json.cert,
                node_id: json.node_id,
                signature: base64("its signature", &json.signature)?,
            },
            service_endorsements: service_endorsements
                .map(|pem| certificate("one of its service_endorsements", pem))
                .collect::<Result<_, _>>()?,
            cose_endorsements: cose_endorsements
                .map(|text| base64("one of its cose_endorsements", text))
                .collect::<Result<_, _>>()?,
        })
    }

    fn parse_cose(bytes: &[u8]) -> Result<Presented, ReceiptError> {
        let message = Sign1::parse(bytes).map_err(|why| unreadable(why.to_string()))?;
        if message.payload().is_some() {
            return Err(unreadable(
                "it has a payload, expected none: what is signed is the root",
            ));
        }
        let proofs = message.inclusion_proofs().map_err(|why| unreadable(why.to_string()))?;
        let [proof] = proofs.as_slice() else {
            return Err(unreadable(format!(
                "it has {} inclusion proofs, expected 1",
                proofs.len()
            )));
        };
        let (components, path) = read_cbor_proof(proof)?;
        let parts = Parts::new(
            components.write_set_digest,
            components.commit_evidence,
            Some(components.claims_digest),
        )?;
        Ok(Presented {
            leaf: Leaf::Parts(parts),
            path,
            signer: Signer::Service(Box::new(message)),
            service_endorsements: Vec::new(),
            cose_endorsements: Vec::new(),
        })
    }

    /// The transaction that it names.
    pub fn txid(&self) -> Option<TxId> {
        match &self.leaf {
            Leaf::Parts(parts) => Some(parts.txid),
            Leaf::Plain(_) => None,
        }
    }

    /// The root that the signature must be over.
    pub fn root(&self) -> Digest {
        fold(self.leaf.digest(), &self.path)
    }

    /// Whether it is of a signature transaction: no other leaf of a ledger is a root.
    pub fn is_of_signature(&self) -> bool {
        self.path.is_empty() && matches!(self.leaf, Leaf::Plain(_))
    }
}

/// Serialises a JSON receipt as CCF's nodes give it out: compact, keys sorted; and the COSE endorsements beside it.
pub fn write_json_receipt(
    leaf: &Leaf,
    path: &[Step],
    (certificate_pem, node_id): (&str, &str),
    signature: &[u8],
    cose_endorsements: &[Vec<u8>],
) -> Vec<u8> {
    let (plain, parts) = match leaf {
        Leaf::Plain(digest) => (Some(hex::encode(digest)), None),
        Leaf::Parts(parts) => (
            None,
            Some(JsonParts {
                claims_digest: parts.claims_digest.map(hex::encode),
                commit_evidence: parts.commit_evidence.clone(),
                write_set_digest: hex::encode(parts.write_set_digest),
            }),
        ),
    };
    let json = Json {
        cert: certificate_pem.to_owned(),
        cose_endorsements: cose_endorsements.iter().map(|one| STANDARD.encode(one)).collect(),
        leaf: plain,
        leaf_components: parts,
        node_id: node_id.to_owned(),
        proof: path.iter().map(JsonStep::of).collect(),
        service_endorsements: Vec::new(),
        signature: STANDARD.encode(signature),
    };
    // Strings and lists of strings can always be written.
    serde_json::to_vec(&json).unwrap_or_default()
}

/// On which side the siblings stand on the way from a leaf to the root of a tree of `leaves` leaves, innermost first.
pub fn sides(mut index: u64, mut leaves: u64) -> Vec<bool> {
    let mut sides = Vec::new();
    while leaves > 1 {
        let sibling = index ^ 1;
        if sibling < leaves {
            sides.push(sibling < index);
        }
        index /= 2;
        leaves = leaves.div_ceil(2);
    }
    sides
}

#[cfg(test)]
mod tests;
