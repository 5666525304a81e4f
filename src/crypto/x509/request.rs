//! PKCS#10 certificate requests (RFC 2986): what a node asks the service to endorse.
//!
//! A request is signed with SHA-512 whatever the curve, as CCF's nodes sign theirs (recovery specification, section
//! 8.1); one that others signed with SHA-256 or SHA-384 is read as well. A request that was read is one whose
//! signature was verified by the key it asks for.

use std::str::FromStr;

use p384::ecdsa::signature::hazmat::PrehashSigner;
use sha2::{Digest as _, Sha512};
use x509_cert::der::asn1::{BitString, OctetString, SetOfVec};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{Any, Decode, Encode};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, ExtensionReq, Version};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use super::alternative::{self, AlternativeName};
use super::{ECDSA_WITH_SHA512, Envelope, malformed};
use crate::crypto::ecdsa::{Private, SigningKey, VerifyingKey};
use crate::crypto::{error::Error, pem};

const PEM_LABEL: &str = "CERTIFICATE REQUEST";

/// A certificate request whose signature is the requested key's own.
#[derive(Clone)]
pub struct CertificateRequest {
    pub(super) subject: Name,
    pub(super) key: VerifyingKey,
    /// The value of the requested subjectAltName extension: it is copied as it is.
    pub(super) names_der: Option<Vec<u8>>,
    names: Vec<AlternativeName>,
    der: Vec<u8>,
}

impl CertificateRequest {
    /// Reads a request and verifies its signature by its own key.
    ///
    /// # Errors
    /// [`Error::MalformedPem`], [`Error::WrongPemKind`], [`Error::MalformedCertificate`], an error of its key as
    /// [`VerifyingKey::from_spki_der`], [`Error::UnsupportedSignatureAlgorithm`] or [`Error::SignatureInvalid`].
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let block = pem::first_block(text)?;
        match block.label {
            PEM_LABEL | "NEW CERTIFICATE REQUEST" => Self::from_der(&block.der),
            other => Err(pem::wrong_kind("a certificate request", other)),
        }
    }

    fn from_der(der: &[u8]) -> Result<Self, Error> {
        let envelope = Envelope::parse(der)?;
        let CertReq { info, .. } =
            CertReq::from_der(der).map_err(|_| malformed("it is not a certificate request (PKCS#10)"))?;
        let spki = info.public_key.to_der().map_err(|_| malformed("public key"))?;
        let key = VerifyingKey::from_spki_der(&spki)?;
        let unsupported = || Error::UnsupportedSignatureAlgorithm {
            oid: envelope.signature_oid.clone(),
        };
        let hash = envelope.hash.ok_or_else(unsupported)?;
        key.verify_der(hash, envelope.signed, envelope.signature)?;
        let names_der = requested_names(&info)?;
        let names = match &names_der {
            Some(value) => alternative::decode(value).ok_or(malformed("subject alternative names of the request"))?,
            None => Vec::new(),
        };
        Ok(Self {
            subject: info.subject,
            key,
            names_der,
            names,
            der: der.to_vec(),
        })
    }

    /// The key to be certified.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The subject as text (RFC 4514).
    pub fn subject(&self) -> String {
        self.subject.to_string()
    }

    /// The DNS names and addresses asked for.
    pub fn alternative_names(&self) -> &[AlternativeName] {
        &self.names
    }

    /// The request as PEM, with a final newline.
    pub fn to_pem(&self) -> String {
        pem::encode(PEM_LABEL, &self.der)
    }
}

impl std::fmt::Debug for CertificateRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CertificateRequest({}, {:?})", self.subject(), self.key)
    }
}

/// A request for `key` in PEM, signed by it: ECDSA with SHA-512. The same arguments give the same bytes.
///
/// `subject` is RFC 4514 text such as `CN=CCF Node`. Without `names` there is no subjectAltName.
///
/// # Errors
/// [`Error::CannotIssue`] for a subject or names that cannot be encoded.
pub fn request(subject: &str, names: &[AlternativeName], key: &SigningKey) -> Result<String, Error> {
    let cannot = |problem| Error::CannotIssue { problem };
    let subject = Name::from_str(subject).map_err(|_| cannot("the subject is not a name such as CN=CCF Node"))?;
    let der = build(subject, names, key).ok_or(cannot("the request could not be encoded"))?;
    Ok(pem::encode(PEM_LABEL, &der))
}

fn build(subject: Name, names: &[AlternativeName], key: &SigningKey) -> Option<Vec<u8>> {
    let mut attributes = SetOfVec::new();
    if !names.is_empty() {
        let extension = Extension {
            extn_id: SubjectAltName::OID,
            critical: false,
            extn_value: OctetString::new(alternative::encode(names)?).ok()?,
        };
        attributes.insert(ExtensionReq(vec![extension]).try_into().ok()?).ok()?;
    }
    let info = CertReqInfo {
        version: Version::V1,
        subject,
        public_key: SubjectPublicKeyInfoOwned::from_der(key.verifying_key().spki_der()).ok()?,
        attributes,
    };
    let signature = sign_sha512(key, &info.to_der().ok()?)?;
    let request = CertReq {
        info,
        algorithm: AlgorithmIdentifierOwned {
            oid: ECDSA_WITH_SHA512,
            parameters: None::<Any>,
        },
        signature: BitString::from_bytes(&signature).ok()?,
    };
    request.to_der().ok()
}

/// DER signature; ECDSA takes as many bits of the digest as the curve's order has.
fn sign_sha512(key: &SigningKey, message: &[u8]) -> Option<Vec<u8>> {
    let digest = Sha512::digest(message);
    Some(match key.private() {
        Private::P256(key) => {
            let signature: p256::ecdsa::Signature = key.sign_prehash(&digest).ok()?;
            signature.to_der().as_bytes().to_vec()
        }
        Private::P384(key) => {
            let signature: p384::ecdsa::Signature = key.sign_prehash(&digest).ok()?;
            signature.to_der().as_bytes().to_vec()
        }
    })
}

/// The value of the subjectAltName extension that the request's attributes ask for.
fn requested_names(info: &CertReqInfo) -> Result<Option<Vec<u8>>, Error> {
    for attribute in info.attributes.iter().filter(|it| it.oid == ExtensionReq::OID) {
        for value in attribute.values.iter() {
            let extensions: Vec<Extension> = value
                .decode_as()
                .map_err(|_| malformed("requested extensions of the request"))?;
            let names = extensions.into_iter().find(|it| it.extn_id == SubjectAltName::OID);
            if let Some(names) = names {
                return Ok(Some(names.extn_value.into_bytes().into()));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
