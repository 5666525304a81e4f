//! Signatures waiting to be verified: made in order, verified in parallel.

use std::sync::Arc;

use crate::crypto::cose::Sign1;
use crate::crypto::digest::Digest;
use crate::crypto::ecdsa::VerifyingKey;
use crate::crypto::x509::Certificate;
use crate::format::TxId;
use crate::recovery::fingerprint::Fingerprint;
use crate::report::Code;
use crate::tables::values::HexDigest;

/// Signatures to be verified, with the keys that must have made them.
pub struct Check {
    /// Seqno and view of the signature transaction.
    pub txid: TxId,
    /// Where it is.
    pub chunk_index: usize,
    /// Offset of its entry.
    pub offset: u64,
    /// The root that must have been signed.
    pub root: Digest,
    /// The node's key and its signature.
    pub node: Option<(Arc<Certificate>, Vec<u8>)>,
    /// Id of the node that signed, hex.
    pub signer: Option<HexDigest>,
    /// The service's key and its COSE signature.
    pub cose: Option<(Arc<Certificate>, Vec<u8>)>,
    /// Identity of the service that stands behind it, if the signatures verify: by its own, or because it endorsed the
    /// node. None where neither is there, as in 1.x.
    pub service: Option<HexDigest>,
    /// Of all entries before the signature transaction.
    pub fingerprint: Fingerprint,
}

/// What verifying a [`Check`] gave: what is wrong, if anything.
pub type Outcome = Vec<(Code, String)>;

impl Check {
    /// Verifies both signatures over the root. This is where most of an audit's time goes on a quiet service.
    pub fn verify(&self) -> Outcome {
        let mut wrong = Outcome::new();
        if let Some((certificate, signature)) = &self.node
            && certificate.key().verify_prehashed_der(&self.root, signature).is_err()
        {
            let text = format!(
                "the node's signature does not verify over root {} with the key of node {}",
                hex::encode(self.root),
                hex::encode(certificate.key_id())
            );
            wrong.push((Code::NodeSignature, text));
        }
        if let Some((certificate, message)) = &self.cose {
            wrong.extend(self.verify_cose(certificate.key(), message));
        }
        wrong
    }

    fn verify_cose(&self, key: &VerifyingKey, message: &[u8]) -> Outcome {
        let message = match Sign1::parse(message) {
            Ok(message) => message,
            Err(why) => {
                return vec![(
                    Code::SignatureMalformed,
                    format!("its COSE signature can't be read: {why}"),
                )];
            }
        };
        let mut wrong = Outcome::new();
        if let Err(why) = message.verify(key, Some(&self.root)) {
            let text = format!(
                "the service's COSE signature does not verify over root {} with service identity {}: {why}",
                hex::encode(self.root),
                hex::encode(key.id())
            );
            wrong.push((Code::CoseSignature, text));
        }
        let kid = hex::encode(key.id());
        if message.kid().is_some_and(|found| found != kid.as_bytes()) {
            wrong.push((
                Code::SignatureFields,
                format!("its COSE signature names another key than service identity {kid}"),
            ));
        }
        match message.txid() {
            Some(found) if found != self.txid.to_string() => {
                wrong.push((
                    Code::SignatureFields,
                    format!("its COSE signature is for transaction {found}, expected {}", self.txid),
                ));
            }
            _ => {}
        }
        wrong
    }
}
