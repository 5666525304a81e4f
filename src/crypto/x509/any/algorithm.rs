//! Signature algorithms by their identifiers.

use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Reader, SliceReader};

use super::{HashAlgorithm, Scheme, context, element, peek};

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const RSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// The scheme of a DER AlgorithmIdentifier; `None` for all that is not known here.
pub(super) fn scheme(der: &[u8]) -> Option<Scheme> {
    let (oid, parameters) = identifier(der)?;
    Some(match oid {
        ECDSA_WITH_SHA256 => Scheme::Ecdsa(HashAlgorithm::Sha256),
        ECDSA_WITH_SHA384 => Scheme::Ecdsa(HashAlgorithm::Sha384),
        ECDSA_WITH_SHA512 => Scheme::Ecdsa(HashAlgorithm::Sha512),
        RSA_WITH_SHA256 => Scheme::RsaPkcs1(HashAlgorithm::Sha256),
        RSA_WITH_SHA384 => Scheme::RsaPkcs1(HashAlgorithm::Sha384),
        RSA_WITH_SHA512 => Scheme::RsaPkcs1(HashAlgorithm::Sha512),
        RSASSA_PSS => Scheme::RsaPss(pss_hash(parameters?)?),
        _ => return None,
    })
}

/// The hash of RSASSA-PSS parameters (RFC 4055, section 3.1), if MGF1 has the same and the salt is as long. Read by hand:
/// AMD writes the trailer's default out, which strict parsers refuse.
fn pss_hash(parameters: &[u8]) -> Option<HashAlgorithm> {
    let sequence = element(parameters, "").ok()?;
    let mut reader = SliceReader::new(sequence.value()).ok()?;
    let mut fields: [Option<&[u8]>; 4] = [None; 4];
    while !reader.is_finished() {
        let tag = peek(&reader)?;
        let inner = element(reader.tlv_bytes().ok()?, "").ok()?.value();
        let slot = (0..4).find(|number| tag == context(*number))?;
        let field = fields.get_mut(slot as usize)?;
        field.is_none().then_some(())?;
        *field = Some(inner);
    }
    // Defaults are SHA-1 and a salt of 20 bytes, which nobody may use.
    let [Some(hash), Some(mask), Some(salt), trailer] = fields else {
        return None;
    };
    let hash = self::hash(hash)?;
    let (mgf, mask_hash) = identifier(mask)?;
    let salt_bytes = u32::from_der(salt).ok()?;
    let trailer = trailer.map_or(Some(1), |trailer| u8::from_der(trailer).ok())?;
    let wanted = match hash {
        HashAlgorithm::Sha256 => 32,
        HashAlgorithm::Sha384 => 48,
        HashAlgorithm::Sha512 => 64,
    };
    (mgf == MGF1 && self::hash(mask_hash?)? == hash && salt_bytes == wanted && trailer == 1).then_some(hash)
}

fn hash(der: &[u8]) -> Option<HashAlgorithm> {
    match identifier(der)?.0 {
        SHA256 => Some(HashAlgorithm::Sha256),
        SHA384 => Some(HashAlgorithm::Sha384),
        SHA512 => Some(HashAlgorithm::Sha512),
        _ => None,
    }
}

/// The object identifier of an AlgorithmIdentifier, and the DER of its parameters.
fn identifier(der: &[u8]) -> Option<(ObjectIdentifier, Option<&[u8]>)> {
    let sequence = element(der, "").ok()?;
    let mut reader = SliceReader::new(sequence.value()).ok()?;
    let oid = ObjectIdentifier::decode(&mut reader).ok()?;
    let parameters = match reader.is_finished() {
        true => None,
        false => Some(reader.tlv_bytes().ok()?),
    };
    Some((oid, parameters))
}
