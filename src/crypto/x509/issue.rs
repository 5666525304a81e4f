//! The one certificate profile that Rekindle issues (recovery specification, section 8.6).

use std::time::Duration;

use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{self, Builder, CertificateBuilder};
use x509_cert::certificate::TbsCertificate;
use x509_cert::der::asn1::OctetString;
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{DateTime, Decode, Encode};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, KeyUsage, KeyUsages, SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity as DerValidity};

use super::{Certificate, Validity};
use crate::crypto::digest::sha256;
use crate::crypto::ecdsa::{Private, SigningKey, VerifyingKey};
use crate::crypto::error::Error;

/// Names and role of a certificate.
#[derive(Default)]
pub(super) struct Profile {
    pub(super) subject: Name,
    /// `None`: self-issued.
    pub(super) issuer: Option<Name>,
    /// The issuer's own name for its key; `None`: it is computed as for certificates issued here.
    pub(super) issuer_key_id: Option<OctetString>,
    pub(super) ca: bool,
    /// The value of the subjectAltName extension.
    pub(super) names: Option<Vec<u8>>,
}

impl BuilderProfile for Profile {
    fn get_issuer(&self, subject: &Name) -> Name {
        self.issuer.as_ref().unwrap_or(subject).clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        subject_key: SubjectPublicKeyInfoRef<'_>,
        issuer_key: SubjectPublicKeyInfoRef<'_>,
        _certificate: &TbsCertificate,
    ) -> builder::Result<Vec<Extension>> {
        let constraints = BasicConstraints {
            ca: self.ca,
            path_len_constraint: self.ca.then_some(1),
        };
        let mut extensions = vec![extension(&constraints, true)?];
        if self.ca {
            let usage = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::DigitalSignature);
            extensions.push(extension(&usage, true)?);
        }
        let subject_id = SubjectKeyIdentifier(key_identifier(subject_key)?);
        extensions.push(extension(&subject_id, false)?);
        let issuer_id = AuthorityKeyIdentifier {
            key_identifier: Some(match &self.issuer_key_id {
                Some(identifier) => identifier.clone(),
                None => key_identifier(issuer_key)?,
            }),
            ..AuthorityKeyIdentifier::default()
        };
        extensions.push(extension(&issuer_id, false)?);
        if let Some(names) = &self.names {
            extensions.push(Extension {
                extn_id: SubjectAltName::OID,
                critical: false,
                extn_value: OctetString::new(names.as_slice())?,
            });
        }
        Ok(extensions)
    }
}

/// `None` beyond the year 9999.
fn dates(validity: Validity) -> Option<DerValidity> {
    let time = |unix_s| {
        DateTime::from_unix_duration(Duration::from_secs(unix_s))
            .ok()
            .map(Time::from)
    };
    Some(DerValidity::new(
        time(validity.not_before_unix_s)?,
        time(validity.not_after_unix_s)?,
    ))
}

/// The signed certificate.
pub(super) fn build(
    profile: Profile,
    subject_key: &VerifyingKey,
    signer: &SigningKey,
    validity: Validity,
    serial: [u8; 16],
) -> Result<Certificate, Error> {
    let cannot = |problem| Error::CannotIssue { problem };
    let validity = dates(validity).ok_or(cannot("the dates are out of range"))?;
    let der =
        encode(profile, subject_key, signer, validity, serial).ok_or(cannot("the certificate could not be encoded"))?;
    Certificate::from_der(&der)
}

fn encode(
    profile: Profile,
    subject_key: &VerifyingKey,
    signer: &SigningKey,
    validity: DerValidity,
    serial: [u8; 16],
) -> Option<Vec<u8>> {
    let spki = SubjectPublicKeyInfoOwned::from_der(subject_key.spki_der()).ok()?;
    let serial = SerialNumber::new(&serial).ok()?;
    let builder = CertificateBuilder::new(profile, serial, validity, spki).ok()?;
    let certificate = match signer.private() {
        Private::P256(key) => builder.build::<_, p256::ecdsa::DerSignature>(key),
        Private::P384(key) => builder.build::<_, p384::ecdsa::DerSignature>(key),
    };
    certificate.ok()?.to_der().ok()
}

fn extension<T: Encode + AssociatedOid>(value: &T, critical: bool) -> builder::Result<Extension> {
    Ok(Extension {
        extn_id: T::OID,
        critical,
        extn_value: OctetString::new(value.to_der()?)?,
    })
}

/// The first 20 bytes of SHA-256 of the public key (RFC 7093, section 2, method 1): CCF has SHA-1 there, but
/// nothing compares the two, and no other part of Rekindle needs SHA-1.
fn key_identifier(key: SubjectPublicKeyInfoRef<'_>) -> builder::Result<OctetString> {
    let digest = sha256(key.subject_public_key.raw_bytes());
    let (identifier, _) = digest.split_at(20);
    Ok(OctetString::new(identifier)?)
}
