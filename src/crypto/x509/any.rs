//! Certificates of others than CCF: any key, any signature scheme in use, extensions, and the rules of a path.
//!
//! The original bytes are kept and are what is verified: nothing is encoded again. Serial numbers are not judged (AMD's is
//! 0). Dates are read, never compared: when is for the caller to know.

use std::ops::Range;

use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};
use x509_cert::name::Name;

use super::{Validity, element, malformed};
use crate::crypto::any_key::{AnyKey, Encoding, Scheme};
use crate::crypto::digest::{Digest, sha256};
use crate::crypto::ecdsa::HashAlgorithm;
use crate::crypto::{error::Error, pem};

mod algorithm;
mod crl;
mod path;

pub use crl::RevocationList;
pub use path::{PathError, Rules, check_last, check_link, check_path};

/// More extensions than any certificate has.
const MAX_EXTENSIONS: usize = 64;
/// Bytes of a certificate or revocation list that is read at all.
const MAX_BYTES: usize = 1 << 20;

const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const SUBJECT_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
const AUTHORITY_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");

/// A certificate with any kind of key.
#[derive(Clone)]
pub struct AnyCertificate {
    der: Vec<u8>,
    signed: Range<usize>,
    /// Number of the version: 1 or 3.
    version: u8,
    serial: Vec<u8>,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    validity: Validity,
    spki: Vec<u8>,
    scheme: Option<Scheme>,
    signature: Vec<u8>,
    extensions: Vec<Extension>,
}

#[derive(Clone)]
struct Extension {
    oid: ObjectIdentifier,
    is_critical: bool,
    value: Vec<u8>,
}

/// Whether a certificate may sign others, and how many may stand between it and a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicConstraints {
    /// It may.
    pub is_ca: bool,
    /// Authorities below it, without the leaf.
    pub path_length: Option<u64>,
    is_critical: bool,
}

impl AnyCertificate {
    /// Reads a DER certificate, which must fill `der`.
    ///
    /// # Errors
    /// [`Error::MalformedCertificate`].
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        if der.len() > MAX_BYTES {
            return Err(malformed("length, over 1 MiB"));
        }
        let outside = Outside::parse(der)?;
        let inside = element(outside.signed, "signed part")?;
        let mut reader = SliceReader::new(inside.value()).map_err(|_| malformed("signed part"))?;
        let version = match peek(&reader) {
            Some(tag) if tag == context(0) => version(&mut reader)?,
            _ => 1,
        };
        let mut field = |name| reader.tlv_bytes().map_err(|_| malformed(name));
        let serial = element(field("serial number")?, "serial number")?;
        // RFC 5280, section 4.1.1.2: the unsigned copy must not say anything else.
        if field("signature algorithm")? != outside.algorithm {
            return Err(malformed("signature algorithm"));
        }
        let issuer = field("issuer")?.to_vec();
        let validity = Validity::from_der(field("validity")?).ok_or(malformed("validity"))?;
        let subject = field("subject")?.to_vec();
        let spki = field("public key")?.to_vec();
        let mut extensions = None;
        while !reader.is_finished() {
            let tag = peek(&reader);
            let bytes = reader.tlv_bytes().map_err(|_| malformed("extensions"))?;
            match tag {
                // Unique identifiers: nobody has them, and they mean nothing here.
                Some(tag) if [context_primitive(1), context_primitive(2)].contains(&tag) => {}
                Some(tag) if tag == context(3) && extensions.is_none() => extensions = Some(read_extensions(bytes)?),
                _ => return Err(malformed("what stands after the public key")),
            }
        }
        Ok(Self {
            signed: outside.start..outside.start + outside.signed.len(),
            version,
            serial: serial.value().to_vec(),
            issuer,
            subject,
            validity,
            spki,
            scheme: algorithm::scheme(outside.algorithm),
            signature: outside.signature.to_vec(),
            extensions: extensions.unwrap_or_default(),
            der: der.to_vec(),
        })
    }

    /// The whole certificate.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the whole certificate.
    pub fn fingerprint(&self) -> Digest {
        sha256(&self.der)
    }

    /// The DER SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of the SubjectPublicKeyInfo: what pins are made of, because certificates are re-issued and keys are not.
    pub fn spki_sha256(&self) -> Digest {
        sha256(&self.spki)
    }

    /// The subject's key.
    ///
    /// # Errors
    /// As [`AnyKey::from_spki_der`].
    pub fn key(&self) -> Result<AnyKey, Error> {
        AnyKey::from_spki_der(&self.spki)
    }

    /// The subject as text (RFC 4514); hex of the DER where it is too odd.
    pub fn subject(&self) -> String {
        name_text(&self.subject)
    }

    /// The issuer as text, as [`AnyCertificate::subject`].
    pub fn issuer(&self) -> String {
        name_text(&self.issuer)
    }

    /// The DER of the subject's name.
    pub fn subject_der(&self) -> &[u8] {
        &self.subject
    }

    /// The DER of the issuer's name.
    pub fn issuer_der(&self) -> &[u8] {
        &self.issuer
    }

    /// The content of the serial number, as it stands there.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// From when to when it says that it is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Whether it names itself as its issuer.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// The content of an extension, by the dotted text of its identifier: what is in its OCTET STRING.
    pub fn extension(&self, oid: &str) -> Option<&[u8]> {
        self.find(ObjectIdentifier::new(oid).ok()?)
    }

    /// Checks that `issuer` signed this certificate. Nothing else is looked at.
    ///
    /// # Errors
    /// [`Error::SignatureInvalid`], also where the scheme is not known.
    pub fn is_signed_by(&self, issuer: &AnyKey) -> Result<(), Error> {
        let scheme = self.scheme.ok_or(Error::SignatureInvalid)?;
        let signed = self.der.get(self.signed.clone()).ok_or(malformed("signed part"))?;
        issuer.verify(scheme, Encoding::Der, signed, &self.signature)
    }

    /// The basic constraints; `None` where there are none.
    ///
    /// # Errors
    /// [`Error::MalformedCertificate`].
    pub fn basic_constraints(&self) -> Result<Option<BasicConstraints>, Error> {
        let Some(found) = self.extensions.iter().find(|found| found.oid == BASIC_CONSTRAINTS) else {
            return Ok(None);
        };
        let wrong = || malformed("basic constraints");
        let sequence = element(&found.value, "basic constraints")?;
        let mut reader = SliceReader::new(sequence.value()).map_err(|_| wrong())?;
        let is_ca = match peek(&reader) {
            Some(Tag::Boolean) => bool::decode(&mut reader).map_err(|_| wrong())?,
            _ => false,
        };
        let path_length = match reader.is_finished() {
            true => None,
            false => Some(u64::decode(&mut reader).map_err(|_| wrong())?),
        };
        if sequence.tag() != Tag::Sequence || !reader.is_finished() {
            return Err(wrong());
        }
        Ok(Some(BasicConstraints {
            is_ca,
            path_length,
            is_critical: found.is_critical,
        }))
    }

    /// Whether the key usage names `bit` (0 digital signature, 5 signing certificates, 6 signing revocation lists); `None`
    /// where the certificate does not restrict its key.
    pub fn key_usage(&self, bit: usize) -> Option<bool> {
        // A BIT STRING: tag, length, unused bits, then bits from the highest on.
        let value = self.find(KEY_USAGE)?;
        let bits = element(value, "key usage")
            .ok()
            .filter(|bits| bits.tag() == Tag::BitString);
        let byte = bits
            .and_then(|bits| bits.value().get(1 + bit / 8).copied())
            .unwrap_or(0);
        Some(byte & (0x80 >> (bit % 8)) != 0)
    }

    /// Whether the extended key usage names this purpose, dotted. Encodings are compared: as text, a number over 32 bits is
    /// what is left of it in 32.
    pub fn is_for(&self, purpose: &str) -> bool {
        ObjectIdentifier::new(purpose).is_ok_and(|wanted| self.purposes().contains(&wanted))
    }

    /// The purposes in the extended key usage; empty where there are none, or one that can't be read.
    fn purposes(&self) -> Vec<ObjectIdentifier> {
        let read = || {
            let sequence = element(self.find(EXTENDED_KEY_USAGE)?, "extended key usage").ok()?;
            let mut reader = SliceReader::new(sequence.value()).ok()?;
            let mut purposes = Vec::new();
            while !reader.is_finished() {
                purposes.push(ObjectIdentifier::decode(&mut reader).ok()?);
            }
            Some(purposes)
        };
        read().unwrap_or_default()
    }

    fn find(&self, oid: ObjectIdentifier) -> Option<&[u8]> {
        let found = self.extensions.iter().find(|found| found.oid == oid)?;
        Some(&found.value)
    }

    fn subject_key_id(&self) -> Option<&[u8]> {
        Some(
            element(self.find(SUBJECT_KEY_ID)?, "subject key identifier")
                .ok()?
                .value(),
        )
    }

    /// The key identifier in the authority key identifier.
    fn authority_key_id(&self) -> Option<&[u8]> {
        let sequence = element(self.find(AUTHORITY_KEY_ID)?, "authority key identifier").ok()?;
        let mut reader = SliceReader::new(sequence.value()).ok()?;
        (peek(&reader)? == context_primitive(0)).then_some(())?;
        let field = reader.tlv_bytes().ok()?;
        Some(element(field, "authority key identifier").ok()?.value())
    }
}

impl std::fmt::Debug for AnyCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AnyCertificate({})", self.subject())
    }
}

/// The DER of every block of a PEM text with a label that ends in one of `labels`, in order; `None` in the place of one
/// whose base64 is damaged, and of the first one without an END line, after which nothing is read. At most `most` are read,
/// and their number is all that counts beyond.
pub fn der_blocks(text: &str, labels: &[&str], most: usize) -> Vec<Option<Vec<u8>>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("-----BEGIN ") {
        rest = rest.get(at..).unwrap_or("");
        let block = pem::first_block(rest);
        let wanted = |label: &str| labels.contains(&label);
        match &block {
            Ok(block) if !wanted(block.label) => {}
            _ if found.len() >= most => found.push(None),
            Ok(block) => found.push(Some(block.der.to_vec())),
            Err(_) => found.push(None),
        }
        // To the END line, which is where `first_block` stopped: no text is looked through twice. Without one there is none
        // for any later block either.
        let Some((_, after)) = rest.split_once("-----END ") else {
            break;
        };
        rest = after;
    }
    found
}

/// The common outside of certificates and revocation lists.
struct Outside<'a> {
    start: usize,
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Outside<'a> {
    fn parse(der: &'a [u8]) -> Result<Self, Error> {
        let outer = element(der, "outer sequence")?;
        let mut reader = SliceReader::new(outer.value()).map_err(|_| malformed("outer sequence"))?;
        let mut field = |name| reader.tlv_bytes().map_err(|_| malformed(name));
        let (signed, algorithm) = (field("signed part")?, field("signature algorithm")?);
        let signature = element(field("signature")?, "signature")?;
        if outer.tag() != Tag::Sequence || !reader.is_finished() {
            return Err(malformed("outer sequence"));
        }
        // The first byte of a BIT STRING counts unused bits: none in a signature.
        let signature = match (signature.tag(), signature.value().split_first()) {
            (Tag::BitString, Some((0, bytes))) => bytes,
            _ => return Err(malformed("signature")),
        };
        Ok(Self {
            start: der.len().saturating_sub(outer.value().len()),
            signed,
            algorithm,
            signature,
        })
    }
}

/// The tag of the next element, where there is one.
fn peek(reader: &SliceReader<'_>) -> Option<Tag> {
    Tag::peek(reader).ok()
}

fn context(number: u32) -> Tag {
    Tag::ContextSpecific {
        constructed: true,
        number: TagNumber(number),
    }
}

fn context_primitive(number: u32) -> Tag {
    Tag::ContextSpecific {
        constructed: false,
        number: TagNumber(number),
    }
}

/// `[0] EXPLICIT INTEGER`, 0 for version 1.
fn version<'a>(reader: &mut SliceReader<'a>) -> Result<u8, Error> {
    let wrong = |_| malformed("version");
    let field = element(reader.tlv_bytes().map_err(wrong)?, "version")?;
    let number = u8::from_der(field.value()).map_err(wrong)?;
    number
        .checked_add(1)
        .filter(|version| (1..=3).contains(version))
        .ok_or(malformed("version"))
}

fn read_extensions(bytes: &[u8]) -> Result<Vec<Extension>, Error> {
    let wrong = || malformed("extensions");
    let sequence = element(element(bytes, "extensions")?.value(), "extensions")?;
    let mut reader = SliceReader::new(sequence.value()).map_err(|_| wrong())?;
    let mut found: Vec<Extension> = Vec::new();
    while !reader.is_finished() {
        let one = element(reader.tlv_bytes().map_err(|_| wrong())?, "extension")?;
        let mut parts = SliceReader::new(one.value()).map_err(|_| wrong())?;
        let oid = ObjectIdentifier::decode(&mut parts).map_err(|_| wrong())?;
        let is_critical = match peek(&parts) {
            Some(Tag::Boolean) => bool::decode(&mut parts).map_err(|_| wrong())?,
            _ => false,
        };
        let value = element(parts.tlv_bytes().map_err(|_| wrong())?, "extension")?;
        // One of a kind (RFC 5280, section 4.2): which of two would others read?
        let is_again = found.iter().any(|before| before.oid == oid);
        if value.tag() != Tag::OctetString || !parts.is_finished() || is_again || found.len() == MAX_EXTENSIONS {
            return Err(wrong());
        }
        found.push(Extension {
            oid,
            is_critical,
            value: value.value().to_vec(),
        });
    }
    Ok(found)
}

fn name_text(der: &[u8]) -> String {
    Name::from_der(der).map_or_else(|_| format!("#{}", hex::encode(der)), |name| name.to_string())
}

#[cfg(test)]
mod crafted;
#[cfg(test)]
mod tests;
