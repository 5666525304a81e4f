//! X.509 certificates of services, nodes and members.
//!
//! Certificates carry keys here, and chains of one link; validity dates are no part of any check, because a
//! ledger outlives every certificate in it. So reading is tolerant: it walks the outer structure and leaves
//! serials, extensions and dates alone until they are asked for, as parsers disagree about them. Issuing is
//! deterministic and follows the recovery specification, section 8.6.

use std::str::FromStr;

use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{Decode, Encode, Reader, SliceReader, Tag, TagNumber, Tagged};
use x509_cert::ext::pkix::{SubjectAltName, SubjectKeyIdentifier};
use x509_cert::name::Name;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::digest::{Digest, sha256};
use super::ecdsa::{HashAlgorithm, SigningKey, VerifyingKey};
use super::{error::Error, pem};

mod alternative;
mod any;
mod issue;
mod issuer;
mod request;
mod time;

pub use alternative::AlternativeName;
pub use any::{
    AnyCertificate, BasicConstraints, PathError, RevocationList, Rules, check_last, check_link, check_path, der_blocks,
};
pub use request::{CertificateRequest, request};
pub use time::{Validity, parse_time, time_text};

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
        let envelope = Envelope::parse(der)?;
        let Signed {
            algorithm,
            subject,
            spki,
            ..
        } = Signed::parse(envelope.signed)?;
        // RFC 5280, section 4.1.1.2: the unsigned copy must not say anything else.
        if envelope.algorithm != algorithm {
            return Err(malformed("signature algorithm"));
        }
        Ok(Self {
            signed: envelope.start..envelope.start + envelope.signed.len(),
            hash: envelope.hash,
            signature: envelope.signature.to_vec(),
            subject_der: subject.to_vec(),
            key: VerifyingKey::from_spki_der(spki)?,
            der: der.to_vec(),
            signature_oid: envelope.signature_oid,
        })
    }

    /// Reads every certificate of a PEM text, in order; other kinds of blocks in it are refused.
    ///
    /// # Errors
    /// As [`Certificate::from_pem`], also where there is none.
    pub fn bundle_from_pem(pem: &str) -> Result<Vec<Self>, Error> {
        let mut found = Vec::new();
        let mut rest = pem;
        loop {
            found.push(Self::from_pem(rest)?);
            // After the END line that `from_pem` stopped at: each turn consumes text.
            rest = rest.split_once("-----END ").map_or("", |(_, rest)| rest);
            if !rest.contains("-----BEGIN ") {
                return Ok(found);
            }
        }
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

    /// The DER of the subject's name.
    pub fn subject_der(&self) -> &[u8] {
        &self.subject_der
    }

    /// From when to when it says that it is valid.
    ///
    /// # Errors
    /// [`Error::MalformedCertificate`] for dates that are not from 1970 to 9999 in the form of RFC 5280.
    pub fn validity(&self) -> Result<Validity, Error> {
        let signed = self.der.get(self.signed.clone()).ok_or(malformed("signed part"))?;
        Validity::from_der(Signed::parse(signed)?.validity).ok_or(malformed("validity"))
    }

    /// The DNS names and addresses of its subjectAltName extension; empty where there is none that can be read.
    pub fn alternative_names(&self) -> Vec<AlternativeName> {
        self.extension::<SubjectAltName>()
            .and_then(|names| names.to_der().ok())
            .and_then(|value| alternative::decode(&value))
            .unwrap_or_default()
    }

    /// An extension that occurs once; `None` also where the certificate is too odd for the strict parser.
    fn extension<T: AssociatedOid + for<'a> Decode<'a>>(&self) -> Option<T> {
        let certificate = x509_cert::Certificate::from_der(&self.der).ok()?;
        let found = certificate.tbs_certificate().get_extension::<T>().ok()??;
        Some(found.1)
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

/// The DER of the first certificate of a PEM text, whatever its key: members and users may have RSA keys.
///
/// # Errors
/// [`Error::MalformedPem`], [`Error::WrongPemKind`] or [`Error::MalformedCertificate`].
pub fn any_certificate_from_pem(pem: &str) -> Result<Vec<u8>, Error> {
    let block = pem::first_block(pem)?;
    match block.label {
        PEM_LABEL | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
            check_any_certificate(&block.der)?;
            Ok(block.der.to_vec())
        }
        other => Err(pem::wrong_kind("a certificate", other)),
    }
}

/// A DER certificate, of whatever kind and whether it is one or not, as PEM with a final newline.
pub fn any_certificate_pem(der: &[u8]) -> String {
    pem::encode(PEM_LABEL, der)
}

/// Checks that `der` has the structure of a certificate with a public key of any kind.
///
/// # Errors
/// [`Error::MalformedCertificate`].
pub fn check_any_certificate(der: &[u8]) -> Result<(), Error> {
    let signed = Signed::parse(Envelope::parse(der)?.signed)?;
    Name::from_der(signed.subject).map_err(|_| malformed("subject"))?;
    SubjectPublicKeyInfoRef::from_der(signed.spki).map_err(|_| malformed("public key"))?;
    Ok(())
}

/// The DER of the public key (SubjectPublicKeyInfo) of a DER certificate, whatever its kind.
///
/// # Errors
/// [`Error::MalformedCertificate`].
pub fn any_certificate_spki(der: &[u8]) -> Result<&[u8], Error> {
    Ok(Signed::parse(Envelope::parse(der)?.signed)?.spki)
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
    let profile = issue::Profile {
        ca,
        ..profile(subject_name(subject)?, issuer)?
    };
    let validity = Validity::days(not_before_unix_s, days)?;
    issue::build(profile, subject_key, signer, validity, serial)
}

/// Issues a node's self-signed certificate: it may sign (path length 1), and names the node's addresses.
///
/// # Errors
/// [`Error::CannotIssue`] for a subject, names or dates that cannot be encoded.
pub fn issue_self_signed(
    subject: &str,
    names: &[AlternativeName],
    key: &SigningKey,
    validity: Validity,
    serial: [u8; 16],
) -> Result<Certificate, Error> {
    let cannot = || Error::CannotIssue {
        problem: "the subject alternative names cannot be encoded",
    };
    let names = match names {
        [] => None,
        names => Some(alternative::encode(names).ok_or_else(cannot)?),
    };
    let profile = issue::Profile {
        ca: true,
        names,
        ..profile(subject_name(subject)?, None)?
    };
    issue::build(profile, &key.verifying_key(), key, validity, serial)
}

/// Issues a service's self-signed certificate with the subject of `model`, byte for byte: the previous service's, or
/// the one to be renewed.
///
/// # Errors
/// [`Error::CannotIssue`] for a subject or dates that cannot be encoded again.
pub fn issue_service_like(
    model: &Certificate,
    key: &SigningKey,
    validity: Validity,
    serial: [u8; 16],
) -> Result<Certificate, Error> {
    let profile = issue::Profile {
        ca: true,
        ..profile(name_of(model)?, None)?
    };
    issue::build(profile, &key.verifying_key(), key, validity, serial)
}

/// Issues a certificate for the key of an earlier service: its subject, and `issuer`, the present service's certificate,
/// as issuer. `signer` is the present service's key. It may sign others (path length 1), as the earlier service did.
///
/// # Errors
/// [`Error::CannotIssue`] for a name or dates that cannot be encoded again.
pub fn endorse_service(
    earlier: &Certificate,
    issuer: &Certificate,
    signer: &SigningKey,
    validity: Validity,
    serial: [u8; 16],
) -> Result<Certificate, Error> {
    let profile = issue::Profile {
        ca: true,
        ..profile(name_of(earlier)?, Some(issuer))?
    };
    issue::build(profile, earlier.key(), signer, validity, serial)
}

/// Issues the endorsed certificate that a node's `request` asks for: its key, subject and names, the subject of the
/// service certificate `issuer` as issuer, and no right to sign others. `signer` is the service's key.
///
/// # Errors
/// [`Error::CannotIssue`] for an issuer or dates that cannot be encoded.
pub fn issue_from_request(
    request: &CertificateRequest,
    issuer: &Certificate,
    signer: &SigningKey,
    validity: Validity,
    serial: [u8; 16],
) -> Result<Certificate, Error> {
    let profile = issue::Profile {
        names: request.names_der.clone(),
        ..profile(request.subject.clone(), Some(issuer))?
    };
    issue::build(profile, &request.key, signer, validity, serial)
}

fn profile(subject: Name, issuer: Option<&Certificate>) -> Result<issue::Profile, Error> {
    Ok(issue::Profile {
        subject,
        issuer: issuer.map(name_of).transpose()?,
        issuer_key_id: issuer.and_then(|issuer| Some(issuer.extension::<SubjectKeyIdentifier>()?.0)),
        ..issue::Profile::default()
    })
}

fn subject_name(subject: &str) -> Result<Name, Error> {
    Name::from_str(subject).map_err(|_| Error::CannotIssue {
        problem: "the subject is not a name such as CN=CCF Service",
    })
}

/// A certificate's subject, in a form that encodes to the same bytes again.
fn name_of(certificate: &Certificate) -> Result<Name, Error> {
    Name::from_der(&certificate.subject_der)
        .ok()
        .filter(|name| name.to_der().is_ok_and(|der| der == certificate.subject_der))
        .ok_or(Error::CannotIssue {
            problem: "the issuer's or previous certificate's name cannot be encoded again",
        })
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

/// The common outside of certificates and certificate requests: what is signed, and the signature.
struct Envelope<'a> {
    /// Where in the whole `signed` starts.
    start: usize,
    signed: &'a [u8],
    algorithm: &'a [u8],
    /// `None` for algorithms other than ECDSA with SHA-2.
    hash: Option<HashAlgorithm>,
    signature_oid: String,
    signature: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// `der` must be filled.
    fn parse(der: &'a [u8]) -> Result<Self, Error> {
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
            (Tag::BitString, Some((0, bytes))) => bytes,
            _ => return Err(malformed("signature")),
        };
        let (hash, signature_oid) = signature_algorithm(algorithm)?;
        Ok(Self {
            start: der.len() - outer.value().len(),
            signed,
            algorithm,
            hash,
            signature_oid,
            signature,
        })
    }
}

/// The DER of what is of interest in a TBSCertificate (RFC 5280, section 4.1).
struct Signed<'a> {
    algorithm: &'a [u8],
    validity: &'a [u8],
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
        Ok(Self {
            algorithm,
            validity: field("validity")?,
            subject: field("subject")?,
            spki: field("public key")?,
        })
    }
}

#[cfg(test)]
mod tests;
