//! Writing COSE_Sign1 messages with CCF's byte layout (format specification, sections 6.3, 6.5 and 10.3).
//!
//! The few CBOR items needed are written by hand, because their order and form must be exactly CCF's.

use super::{
    CCF_CLAIMS, CLAIM_ISSUED_AT, CLAIM_ISSUER, CLAIM_SUBJECT, Digest, Error, LABEL_ALGORITHM, LABEL_CWT_CLAIMS,
    LABEL_KID, LABEL_PROOFS, LABEL_VDS, PROOF_INCLUSION, Sign1, SigningKey, TAG_SIGN1, Value, integer, malformed,
};

/// Verifiable data structure 2: the CCF ledger.
const VDS_CCF_LEDGER: i64 = 2;

/// The protected header of a ledger signature (format specification, section 6.3).
#[derive(Clone, Copy, Debug)]
pub struct LedgerSignatureHeader<'a> {
    /// Hex of the signing service key's id.
    pub kid_hex: &'a str,
    /// Seconds since 1970.
    pub issued_at_s: i64,
    /// As configured; may be empty.
    pub issuer: &'a str,
    /// As configured; may be empty.
    pub subject: &'a str,
    /// `view.seqno` of the signature transaction.
    pub txid: &'a str,
}

/// Signs a Merkle root as the service does: detached payload, empty unprotected header.
pub fn sign_ledger_root(key: &SigningKey, header: &LedgerSignatureHeader, root: &Digest) -> Vec<u8> {
    let mut protected = Cbor::new();
    protected.map(5);
    protected
        .integer(LABEL_ALGORITHM)
        .integer(key.verifying_key().curve().cose_algorithm());
    protected.integer(LABEL_KID).bytes(header.kid_hex.as_bytes());
    protected.integer(LABEL_VDS).integer(VDS_CCF_LEDGER);
    protected.integer(LABEL_CWT_CLAIMS).map(3);
    protected.integer(CLAIM_ISSUED_AT).integer(header.issued_at_s);
    protected.integer(CLAIM_ISSUER).text(header.issuer);
    protected.integer(CLAIM_SUBJECT).text(header.subject);
    protected.text(CCF_CLAIMS).map(1).text("txid").text(header.txid);
    let signature = key.sign_fixed(&to_be_signed(&protected.0, root));
    let mut message = Cbor::new();
    message
        .tag(TAG_SIGN1)
        .array(4)
        .bytes(&protected.0)
        .map(0)
        .nil()
        .bytes(&signature);
    message.0
}

/// Endorses an earlier identity (format specification, section 6.5): the payload, embedded, is its SPKI DER.
///
/// `end_txid` and `end_root` are absent in the self-endorsement of a first service.
pub fn sign_endorsement(
    key: &SigningKey,
    issued_at_s: i64,
    payload_spki_der: &[u8],
    start_txid: &str,
    end_txid: Option<&str>,
    end_root: Option<&Digest>,
) -> Vec<u8> {
    let mut protected = Cbor::new();
    protected.map(3);
    protected
        .integer(LABEL_ALGORITHM)
        .integer(key.verifying_key().curve().cose_algorithm());
    protected
        .integer(LABEL_CWT_CLAIMS)
        .map(1)
        .integer(CLAIM_ISSUED_AT)
        .integer(issued_at_s);
    let fields = 1 + usize::from(end_txid.is_some()) + usize::from(end_root.is_some());
    protected
        .text(CCF_CLAIMS)
        .map(fields)
        .text("epoch.start.txid")
        .text(start_txid);
    if let Some(txid) = end_txid {
        protected.text("epoch.end.txid").text(txid);
    }
    if let Some(root) = end_root {
        protected.text("epoch.end.merkle.root").bytes(root);
    }
    let signature = key.sign_fixed(&to_be_signed(&protected.0, payload_spki_der));
    let mut message = Cbor::new();
    message
        .tag(TAG_SIGN1)
        .array(4)
        .bytes(&protected.0)
        .map(0)
        .bytes(payload_spki_der)
        .bytes(&signature);
    message.0
}

/// An existing message with one inclusion proof in its unprotected header, `{396: {-1: [proof]}}`: a COSE
/// snapshot receipt (format specification, section 7.3). Proofs already there are replaced; everything that
/// is signed stays as it was.
///
/// # Errors
/// As [`Sign1::parse`].
pub fn with_inclusion_proof(sign1: &[u8], proof_cbor: &[u8]) -> Result<Vec<u8>, Error> {
    let parsed = Sign1::parse(sign1)?;
    let others: Vec<_> = parsed
        .unprotected
        .iter()
        .filter(|(label, _)| integer(label) != Some(LABEL_PROOFS))
        .collect();
    let mut message = Cbor::new();
    message
        .tag(TAG_SIGN1)
        .array(4)
        .bytes(&parsed.protected_bytes)
        .map(others.len() + 1);
    for (label, value) in others {
        message.value(label)?.value(value)?;
    }
    message
        .integer(LABEL_PROOFS)
        .map(1)
        .integer(PROOF_INCLUSION)
        .array(1)
        .bytes(proof_cbor);
    match &parsed.payload {
        Some(payload) => message.bytes(payload),
        None => message.nil(),
    };
    message.bytes(&parsed.signature);
    Ok(message.0)
}

/// The Sig_structure (RFC 9052, section 4.4): ["Signature1", protected, no external data, payload].
pub(super) fn to_be_signed(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut structure = Cbor(Vec::with_capacity(32 + protected.len() + payload.len()));
    structure
        .array(4)
        .text("Signature1")
        .bytes(protected)
        .bytes(&[])
        .bytes(payload);
    structure.0
}

/// CBOR items one after the other, each in its shortest form.
pub(super) struct Cbor(pub(super) Vec<u8>);

impl Cbor {
    pub(super) fn new() -> Self {
        Cbor(Vec::with_capacity(256))
    }

    /// The head of an item: major type 0 to 7 and its argument (RFC 8949, section 3).
    pub(super) fn head(&mut self, major: u8, argument: u64) -> &mut Self {
        let bytes = argument.to_be_bytes();
        let (information, skip) = match argument {
            0..=23 => (bytes[7], 8),
            24..=0xff => (24, 7),
            0x100..=0xffff => (25, 6),
            0x1_0000..=0xffff_ffff => (26, 4),
            _ => (27, 0),
        };
        self.0.push(major << 5 | information);
        self.0.extend(bytes.iter().skip(skip));
        self
    }

    pub(super) fn integer(&mut self, value: i64) -> &mut Self {
        // CBOR writes a negative n as -1 - n, which is the complement of its bits.
        if value < 0 {
            self.head(1, !value as u64)
        } else {
            self.head(0, value as u64)
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(2, bytes.len() as u64).0.extend_from_slice(bytes);
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.head(3, text.len() as u64).0.extend_from_slice(text.as_bytes());
        self
    }

    pub(super) fn array(&mut self, length: usize) -> &mut Self {
        self.head(4, length as u64)
    }

    pub(super) fn map(&mut self, length: usize) -> &mut Self {
        self.head(5, length as u64)
    }

    pub(super) fn tag(&mut self, tag: u64) -> &mut Self {
        self.head(6, tag)
    }

    pub(super) fn nil(&mut self) -> &mut Self {
        self.0.push(0xf6);
        self
    }

    /// Any other item, as it was parsed.
    pub(super) fn value(&mut self, value: &Value) -> Result<&mut Self, Error> {
        ciborium::into_writer(value, &mut self.0).map_err(|_| malformed("unprotected header"))?;
        Ok(self)
    }
}
