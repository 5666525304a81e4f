//! The one certificate profile that Rekindle issues (recovery specification, section 8.6).

use std::time::Duration;

use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder, Result};
use x509_cert::certificate::TbsCertificate;
use x509_cert::der::asn1::OctetString;
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{DateTime, Decode, Encode};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity};

use crate::crypto::digest::sha256;
use crate::crypto::ecdsa::{Private, SigningKey, VerifyingKey};

const SECONDS_PER_DAY: u64 = 86_400;

/// Names and role of a certificate.
pub(super) struct Profile {
    pub(super) subject: Name,
    /// `None`: self-issued.
    pub(super) issuer: Option<Name>,
    pub(super) ca: bool,
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
    ) -> Result<Vec<Extension>> {
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
            key_identifier: Some(key_identifier(issuer_key)?),
            ..AuthorityKeyIdentifier::default()
        };
        extensions.push(extension(&issuer_id, false)?);
        Ok(extensions)
    }
}

/// From `not_before_unix_s` to `days` days later, less one second; `None` for no days or beyond the year 9999.
pub(super) fn validity(not_before_unix_s: u64, days: u32) -> Option<Validity> {
    let seconds = (u64::from(days) * SECONDS_PER_DAY).checked_sub(1)?;
    let time = |unix_s| {
        DateTime::from_unix_duration(Duration::from_secs(unix_s))
            .ok()
            .map(Time::from)
    };
    Some(Validity::new(
        time(not_before_unix_s)?,
        time(not_before_unix_s.checked_add(seconds)?)?,
    ))
}

/// The DER of the signed certificate.
pub(super) fn build(
    profile: Profile,
    subject_key: &VerifyingKey,
    signer: &SigningKey,
    validity: Validity,
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

fn extension<T: Encode + AssociatedOid>(value: &T, critical: bool) -> Result<Extension> {
    Ok(Extension {
        extn_id: T::OID,
        critical,
        extn_value: OctetString::new(value.to_der()?)?,
    })
}

/// The first 20 bytes of SHA-256 of the public key (RFC 7093, section 2, method 1): CCF has SHA-1 there, but
/// nothing compares the two, and no other part of Rekindle needs SHA-1.
fn key_identifier(key: SubjectPublicKeyInfoRef<'_>) -> Result<OctetString> {
    let digest = sha256(key.subject_public_key.raw_bytes());
    let (identifier, _) = digest.split_at(20);
    Ok(OctetString::new(identifier)?)
}
