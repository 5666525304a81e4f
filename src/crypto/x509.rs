//! X.509 certificates of services, nodes and members.
//!
//! Certificates carry keys here, and chains of one link; validity dates are ignored on purpose, because a
//! ledger outlives every certificate in it. So reading is tolerant: it walks the outer structure and leaves
//! serials, extensions and dates alone, which parsers disagree about. Issuing is deterministic and follows
//! the recovery specification, section 8.6.

use std::str::FromStr;

use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};
use x509_cert::name::Name;

use super::digest::{Digest, sha256};
use super::ecdsa::{HashAlgorithm, SigningKey, VerifyingKey};
use super::{error::Error, pem};

mod issue;

const PEM_LABEL: &str = "CERTIFICATE";
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");

/// A certificate with an elliptic-curve key.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    /// Where in `der` the signed part is.
    signed: std::ops::Range<usize>,
    /// `None` where the algorithm is not one that is supported: only [`Certificate::is_signed_by`] needs it.
    hash: Option<HashAlgorithm>,
    signature_oid: String,
    signature: Vec<u8>,
    subject_der: Vec<u8>,
    key: VerifyingKey,
}

impl Certificate {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// [`Error::MalformedPem`], [`Error::WrongPemKind`], or as [`Certificate::from_der`].
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let block = pem::first_block(pem)?;
        match block.label {
            PEM_LABEL | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => Self::from_der(&block.der),
            other => Err(pem::wrong_kind("a certificate", other)),
        }
    }

    /// Reads a DER certificate, which must fill `der`.
    ///
    /// # Errors
    /// [`Error::MalformedCertificate`]; [`Error::UnsupportedKey`] or [`Error::MalformedKey`] for its key.
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        let outer = element(der, "outer sequence")?;
        let mut reader = SliceReader::new(outer.value()).map_err(|_| malformed("outer sequence"))?;
        let signed = reader.tlv_bytes().map_err(|_| malformed("signed part"))?;
        let algorithm = reader.tlv_bytes().map_err(|_| malformed("signature algorithm"))?;
        let signature = AnyRef::decode(&mut reader).map_err(|_| malformed("signature"))?;
        if outer.tag() != Tag::Sequence || !reader.is_finished() {
            return Err(malformed("outer sequence"));
        }
        // The first byte of a BIT STRING counts unused bits: none in a signature.
        let signature = match (signature.tag(), signature.value().split_first()) {
            (Tag::BitString, Some((0, bytes))) => bytes.to_vec(),
            _ => return Err(malformed("signature")),
        };
        let (hash, signature_oid) = signature_algorithm(algorithm)?;
        let Signed {
            algorithm: signed_algorithm,
            subject,
            spki,
        } = Signed::parse(signed)?;
        // RFC 5280, section 4.1.1.2: the unsigned copy must not say anything else.
        if algorithm != signed_algorithm {
            return Err(malformed("signature algorithm"));
        }
        let start = der.len() - outer.value().len();
        Ok(Self {
            signed: start..start + signed.len(),
            hash,
            signature_oid,
            signature,
            subject_der: subject.to_vec(),
            key: VerifyingKey::from_spki_der(spki)?,
            der: der.to_vec(),
        })
    }

    /// The subject's public key.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// [`VerifyingKey::id`] of the subject's key: in hex the node id or service identity.
    pub fn key_id(&self) -> Digest {
        self.key.id()
    }

    /// The whole certificate.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The subject as text (RFC 4514), for example `CN=CCF Service`; hex of the DER where it is too odd.
    pub fn subject(&self) -> String {
        Name::from_der(&self.subject_der).map_or_else(
            |_| format!("#{}", hex::encode(&self.subject_der)),
            |name| name.to_string(),
        )
    }

    /// Checks that the key `issuer` signed this certificate. Dates and extensions are not looked at.
    ///
    /// # Errors
    /// [`Error::SignatureInvalid`] or [`Error::UnsupportedSignatureAlgorithm`].
    pub fn is_signed_by(&self, issuer: &VerifyingKey) -> Result<(), Error> {
        let unsupported = || Error::UnsupportedSignatureAlgorithm {
            oid: self.signature_oid.clone(),
        };
        let hash = self.hash.ok_or_else(unsupported)?;
        let signed = self.der.get(self.signed.clone()).ok_or(malformed("signed part"))?;
        issuer.verify_der(hash, signed, &self.signature)
    }

    /// The certificate as PEM, with a final newline.
    pub fn to_pem(&self) -> String {
        pem::encode(PEM_LABEL, &self.der)
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({}, {:?})", self.subject(), self.key)
    }
}

/// SHA-256 of a DER certificate. Its hex is the member (and user) id.
pub fn member_id(cert_der: &[u8]) -> Digest {
    sha256(cert_der)
}

/// Issues an X.509 v3 certificate (recovery specification, section 8.6). The same arguments give the same bytes.
///
/// `subject` is RFC 4514 text such as `CN=CCF Service`. Without an `issuer` the certificate is self-issued:
/// `signer` should then be the private half of `subject_key`. With `ca` it may sign others (path length 1).
/// It is valid for `days` days from `not_before_unix_s` on, less the last second.
///
/// # Errors
/// [`Error::CannotIssue`] for a subject or dates that cannot be encoded.
#[allow(clippy::too_many_arguments)] // Each is a field of the certificate, and all are needed each time.
pub fn issue(
    subject: &str,
    subject_key: &VerifyingKey,
    issuer: Option<&Certificate>,
    signer: &SigningKey,
    ca: bool,
    not_before_unix_s: u64,
    days: u32,
    serial: [u8; 16],
) -> Result<Certificate, Error> {
    let cannot = |problem| Error::CannotIssue { problem };
    let subject = Name::from_str(subject).map_err(|_| cannot("the subject is not a name such as CN=CCF Service"))?;
    let issuer = match issuer {
        None => None,
        Some(issuer) => {
            Some(Name::from_der(&issuer.subject_der).map_err(|_| cannot("the issuer's name cannot be encoded"))?)
        }
    };
    let profile = issue::Profile { subject, issuer, ca };
    let validity = issue::validity(not_before_unix_s, days).ok_or(cannot("the dates are out of range"))?;
    let der = issue::build(profile, subject_key, signer, validity, serial)
        .ok_or(cannot("the certificate could not be encoded"))?;
    Certificate::from_der(&der)
}

fn malformed(problem: &'static str) -> Error {
    Error::MalformedCertificate { problem }
}

/// The one DER element that fills `der`.
fn element<'a>(der: &'a [u8], what: &'static str) -> Result<AnyRef<'a>, Error> {
    AnyRef::from_der(der).map_err(|_| malformed(what))
}

/// The hash of an AlgorithmIdentifier, where it is ECDSA with SHA-2, and its object identifier as text.
fn signature_algorithm(der: &[u8]) -> Result<(Option<HashAlgorithm>, String), Error> {
    let sequence = element(der, "signature algorithm")?;
    let mut reader = SliceReader::new(sequence.value()).map_err(|_| malformed("signature algorithm"))?;
    let Ok(oid) = ObjectIdentifier::decode(&mut reader) else {
        return Ok((None, "unknown".to_owned()));
    };
    let hash = match oid {
        ECDSA_WITH_SHA256 => Some(HashAlgorithm::Sha256),
        ECDSA_WITH_SHA384 => Some(HashAlgorithm::Sha384),
        ECDSA_WITH_SHA512 => Some(HashAlgorithm::Sha512),
        _ => None,
    };
    Ok((hash, oid.to_string()))
}

/// The DER of what is of interest in a TBSCertificate (RFC 5280, section 4.1).
struct Signed<'a> {
    algorithm: &'a [u8],
    subject: &'a [u8],
    spki: &'a [u8],
}

impl<'a> Signed<'a> {
    fn parse(der: &'a [u8]) -> Result<Self, Error> {
        const VERSION: Tag = Tag::ContextSpecific {
            constructed: true,
            number: TagNumber(0),
        };
        let sequence = element(der, "signed part")?;
        let mut reader = SliceReader::new(sequence.value()).map_err(|_| malformed("signed part"))?;
        if Tag::peek(&reader).is_ok_and(|tag| tag == VERSION) {
            reader.tlv_bytes().map_err(|_| malformed("version"))?;
        }
        let mut field = |name| reader.tlv_bytes().map_err(|_| malformed(name));
        field("serial number")?;
        let algorithm = field("signature algorithm")?;
        field("issuer")?;
        field("validity")?;
        Ok(Self {
            algorithm,
            subject: field("subject")?,
            spki: field("public key")?,
        })
    }
}

#[cfg(test)]
mod tests;
