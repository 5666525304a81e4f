//! COSE_Sign1 by others than CCF: signed by the first of a chain of certificates in the header (RFC 9360), also with RSA.

use super::{Error, Sign1, Value, integer, label, malformed, write};
use crate::crypto::any_key::{AnyKey, Encoding, Scheme};
use crate::crypto::ecdsa::HashAlgorithm;

const LABEL_CONTENT_TYPE: i64 = 3;
const LABEL_X5CHAIN: i64 = 33;
/// Longer chains than this nobody has.
const MAX_CERTIFICATES: usize = 16;

impl Sign1 {
    /// Label 3, where it is a text.
    pub fn content_type(&self) -> Option<&str> {
        label(&self.protected, LABEL_CONTENT_TYPE)?.as_text()
    }

    /// Label 3, where it is a number: a CoAP content format.
    pub fn content_format(&self) -> Option<i64> {
        integer(label(&self.protected, LABEL_CONTENT_TYPE)?)
    }

    /// Label 33 of the protected header, leaf first: an array of DER certificates, or one alone. Empty where there is none.
    ///
    /// # Errors
    /// [`Error::MalformedCose`] where it is something else, or more than 16 certificates.
    pub fn x5chain(&self) -> Result<Vec<&[u8]>, Error> {
        let found = match label(&self.protected, LABEL_X5CHAIN) {
            None => return Ok(Vec::new()),
            Some(Value::Bytes(one)) => return Ok(vec![one]),
            Some(Value::Array(found)) if found.len() <= MAX_CERTIFICATES => found,
            Some(_) => return Err(malformed("label 33 is neither bytes nor an array of at most 16 items")),
        };
        let bytes = |one: &Value| match one {
            Value::Bytes(_) => Ok(()),
            _ => Err(malformed("label 33 holds an item that is not bytes")),
        };
        found.iter().try_for_each(bytes)?;
        Ok(found
            .iter()
            .filter_map(|one| one.as_bytes().map(Vec::as_slice))
            .collect())
    }

    /// How label 1 says that the message is signed: PS256, PS384, PS512, ES256, ES384 or ES512; `None` for others.
    pub fn scheme(&self) -> Option<Scheme> {
        Some(match self.algorithm()? {
            -7 => Scheme::Ecdsa(HashAlgorithm::Sha256),
            -35 => Scheme::Ecdsa(HashAlgorithm::Sha384),
            -36 => Scheme::Ecdsa(HashAlgorithm::Sha512),
            -37 => Scheme::RsaPss(HashAlgorithm::Sha256),
            -38 => Scheme::RsaPss(HashAlgorithm::Sha384),
            -39 => Scheme::RsaPss(HashAlgorithm::Sha512),
            _ => return None,
        })
    }

    /// Verifies the signature of the embedded payload with a key of any kind.
    ///
    /// # Errors
    /// [`Error::CosePayloadMissing`]; [`Error::SignatureInvalid`], also where the algorithm is unknown or the key of another
    /// kind.
    pub fn verify_embedded(&self, key: &AnyKey) -> Result<(), Error> {
        let payload = self.payload().ok_or(Error::CosePayloadMissing)?;
        let scheme = self.scheme().ok_or(Error::SignatureInvalid)?;
        let signed = write::to_be_signed(&self.protected_bytes, payload);
        key.verify(scheme, Encoding::Fixed, &signed, &self.signature)
    }
}
