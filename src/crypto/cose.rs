//! COSE_Sign1 as CCF writes it: ledger signatures, endorsements of identities, snapshot receipts, members'
//! requests.
//!
//! Reading is tolerant of missing labels (early 6.0.0-dev builds left some out), keeps the protected header's
//! original bytes for verification (CCF's key order is not canonical), and is bounded: nesting to 16 levels,
//! 16 MiB of input, memory to a multiple of that. Writing gives CCF's byte layout exactly.

use ciborium::Value;

use super::digest::Digest;
use super::ecdsa::{SigningKey, VerifyingKey};
use super::error::Error;

mod chain;
mod request;
mod strict;
mod write;

pub use request::{CREATED_AT, MESSAGE_TYPE, MessageType, PROPOSAL_ID, RequestHeader, sign_request};
pub use write::{LedgerSignatureHeader, sign_endorsement, sign_ledger_root, with_inclusion_proof};

const TAG_SIGN1: u64 = 18;
const LABEL_ALGORITHM: i64 = 1;
const LABEL_KID: i64 = 4;
const LABEL_CWT_CLAIMS: i64 = 15;
const LABEL_VDS: i64 = 395;
const LABEL_PROOFS: i64 = 396;
const PROOF_INCLUSION: i64 = -1;
const CLAIM_ISSUER: i64 = 1;
const CLAIM_SUBJECT: i64 = 2;
const CLAIM_ISSUED_AT: i64 = 6;
const CCF_CLAIMS: &str = "ccf.v1";

/// CCF's messages nest 4 deep; each level of nesting costs stack.
const MAX_NESTING: usize = 16;
/// A hostile header can take some 60 times its size once parsed; governance requests may hold megabytes of code.
const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// A receipt has one proof; more than this is somebody's joke.
const MAX_PROOFS: usize = 64;

type Map = Vec<(Value, Value)>;

/// A parsed COSE_Sign1 (format specification, section 6.3).
#[derive(Clone, Debug)]
pub struct Sign1 {
    protected_bytes: Vec<u8>,
    protected: Map,
    unprotected: Map,
    payload: Option<Vec<u8>>,
    signature: Vec<u8>,
}

impl Sign1 {
    /// Reads a message that starts with CBOR tag 18 and fills `bytes`.
    ///
    /// # Errors
    /// [`Error::CoseTagMissing`] or [`Error::MalformedCose`].
    pub fn parse(bytes: &[u8]) -> Result<Sign1, Error> {
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(malformed("it is longer than 16 MiB"));
        }
        strict::check_items(bytes)?;
        let Value::Tag(TAG_SIGN1, content) = decode(bytes, "it is not one CBOR item")? else {
            return Err(Error::CoseTagMissing);
        };
        let fields = content.into_array().map_err(|_| malformed("it is not an array"))?;
        let Ok([protected, unprotected, payload, signature]) = <[Value; 4]>::try_from(fields) else {
            return Err(malformed("it does not have four fields"));
        };
        let protected_bytes = protected
            .into_bytes()
            .map_err(|_| malformed("protected header is not bytes"))?;
        let protected = if protected_bytes.is_empty() {
            Map::new()
        } else {
            strict::check_items(&protected_bytes)?;
            decode(&protected_bytes, "protected header is not CBOR")?
                .into_map()
                .map_err(|_| malformed("protected header is not a map"))?
        };
        let payload = match payload {
            Value::Null => None,
            Value::Bytes(bytes) => Some(bytes),
            _ => return Err(malformed("payload is neither bytes nor nil")),
        };
        let unprotected = unprotected
            .into_map()
            .map_err(|_| malformed("unprotected header is not a map"))?;
        strict::check_labels(&protected, &unprotected)?;
        Ok(Sign1 {
            protected_bytes,
            protected,
            unprotected,
            payload,
            signature: signature
                .into_bytes()
                .map_err(|_| malformed("signature is not bytes"))?,
        })
    }

    /// Label 1: -7 (ES256), -35 (ES384) or another.
    pub fn algorithm(&self) -> Option<i64> {
        integer(label(&self.protected, LABEL_ALGORITHM)?)
    }

    /// Label 4: in CCF the ASCII hex of the signing key's id.
    pub fn kid(&self) -> Option<&[u8]> {
        label(&self.protected, LABEL_KID)?.as_bytes().map(Vec::as_slice)
    }

    /// Label 395: the verifiable data structure (2 for the CCF ledger).
    pub fn verifiable_data_structure(&self) -> Option<i64> {
        integer(label(&self.protected, LABEL_VDS)?)
    }

    /// CWT claim 6: seconds since 1970.
    pub fn issued_at(&self) -> Option<i64> {
        integer(self.claim(CLAIM_ISSUED_AT)?)
    }

    /// CWT claim 1; may be empty.
    pub fn issuer(&self) -> Option<&str> {
        self.claim(CLAIM_ISSUER)?.as_text()
    }

    /// CWT claim 2; may be empty.
    pub fn subject(&self) -> Option<&str> {
        self.claim(CLAIM_SUBJECT)?.as_text()
    }

    /// `view.seqno` of the transaction that the signature stands in.
    pub fn txid(&self) -> Option<&str> {
        self.ccf_text("txid")
    }

    /// A text field of the `ccf.v1` claims: `txid`, `epoch.start.txid`, `epoch.end.txid`.
    pub fn ccf_text(&self, name: &str) -> Option<&str> {
        named(self.ccf_claims()?, name)?.as_text()
    }

    /// A bytes field of the `ccf.v1` claims: `epoch.end.merkle.root`.
    pub fn ccf_bytes(&self, name: &str) -> Option<&[u8]> {
        named(self.ccf_claims()?, name)?.as_bytes().map(Vec::as_slice)
    }

    /// The value of a text label of the protected header: governance requests name what they are about this way
    /// (recovery specification, section 3.4).
    pub fn named_header(&self, name: &str) -> Option<&Value> {
        named(&self.protected, name)
    }

    /// The embedded payload; `None` if it is detached.
    pub fn payload(&self) -> Option<&[u8]> {
        self.payload.as_deref()
    }

    /// The raw signature `r‖s`.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The encoded inclusion proofs: unprotected `{396: {-1: [bytes]}}` (format specification, section 7.3).
    /// Empty where there are none.
    ///
    /// # Errors
    /// [`Error::MalformedCose`] where those labels hold something else, or more than 64 proofs.
    pub fn inclusion_proofs(&self) -> Result<Vec<Vec<u8>>, Error> {
        let Some(proofs) = label(&self.unprotected, LABEL_PROOFS) else {
            return Ok(Vec::new());
        };
        let proofs = proofs.as_map().ok_or(malformed("label 396 is not a map"))?;
        let Some(proofs) = label(proofs, PROOF_INCLUSION) else {
            return Ok(Vec::new());
        };
        let proofs = proofs
            .as_array()
            .ok_or(malformed("inclusion proofs are not an array"))?;
        if proofs.len() > MAX_PROOFS {
            return Err(malformed("it has more than 64 inclusion proofs"));
        }
        let bytes = |proof: &Value| {
            proof
                .as_bytes()
                .cloned()
                .ok_or(malformed("an inclusion proof is not bytes"))
        };
        proofs.iter().map(bytes).collect()
    }

    /// Verifies the signature with `key`, over the embedded payload or over `detached_payload`.
    ///
    /// Where both are there they must be equal: the caller says what should have been signed.
    ///
    /// # Errors
    /// [`Error::CoseAlgorithmMismatch`] unless label 1 is the algorithm of the key's curve;
    /// [`Error::CosePayloadMissing`]; [`Error::CosePayloadMismatch`]; [`Error::SignatureInvalid`].
    pub fn verify(&self, key: &VerifyingKey, detached_payload: Option<&[u8]>) -> Result<(), Error> {
        let algorithm = self.algorithm();
        if algorithm != Some(key.curve().cose_algorithm()) {
            return Err(Error::CoseAlgorithmMismatch {
                algorithm,
                curve: key.curve(),
            });
        }
        let payload = match (self.payload(), detached_payload) {
            (Some(embedded), Some(expected)) if embedded != expected => {
                return Err(Error::CosePayloadMismatch);
            }
            (Some(payload), _) | (None, Some(payload)) => payload,
            (None, None) => return Err(Error::CosePayloadMissing),
        };
        key.verify_fixed(&write::to_be_signed(&self.protected_bytes, payload), &self.signature)
    }

    fn claim(&self, claim: i64) -> Option<&Value> {
        label(label(&self.protected, LABEL_CWT_CLAIMS)?.as_map()?, claim)
    }

    fn ccf_claims(&self) -> Option<&Map> {
        named(&self.protected, CCF_CLAIMS)?.as_map()
    }
}

fn malformed(problem: &'static str) -> Error {
    Error::MalformedCose { problem }
}

/// The one CBOR item that fills `bytes`.
fn decode(mut bytes: &[u8], problem: &'static str) -> Result<Value, Error> {
    let value = ciborium::de::from_reader_with_recursion_limit(&mut bytes, MAX_NESTING);
    match value {
        Ok(value) if bytes.is_empty() => Ok(value),
        _ => Err(malformed(problem)),
    }
}

/// The value of an integer label; the first one, should it stand there twice.
fn label(map: &Map, wanted: i64) -> Option<&Value> {
    map.iter()
        .find(|(label, _)| integer(label) == Some(wanted))
        .map(|(_, value)| value)
}

/// The value of a text label.
fn named<'a>(map: &'a Map, wanted: &str) -> Option<&'a Value> {
    map.iter()
        .find(|(label, _)| label.as_text() == Some(wanted))
        .map(|(_, value)| value)
}

fn integer(value: &Value) -> Option<i64> {
    value.as_integer()?.try_into().ok()
}

#[cfg(test)]
mod tests;
