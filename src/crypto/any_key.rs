//! Public keys of others than CCF: processor makers and signers of software use RSA and P-521 too. Verification only.

use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::curve::{Curve, HashAlgorithm};
use super::ecdsa::{self, VerifyingKey};
use super::{error::Error, provider, rsa};

const ID_EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ID_RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ID_P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
/// Bytes of a scalar on P-521.
const P521_SCALAR: usize = 66;

/// How something was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// ECDSA over the message's digest.
    Ecdsa(HashAlgorithm),
    /// RSASSA-PSS; MGF1 with the same hash, and a salt of its length.
    RsaPss(HashAlgorithm),
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(HashAlgorithm),
}

/// How the two numbers of an ECDSA signature are written down. RSA has one way only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `SEQUENCE { r, s }`, as certificates have it.
    Der,
    /// `r‖s`, both of the curve's length, as COSE has it.
    Fixed,
}

/// A public key on P-256, P-384 or P-521, or an RSA key of 2048 to 8192 bits.
pub struct AnyKey(Kind);

enum Kind {
    Ec(VerifyingKey),
    P521(provider::P521Key),
    Rsa(provider::RsaPublicKey),
}

impl AnyKey {
    /// Reads a DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`Error::UnsupportedKey`] for other kinds; [`Error::MalformedKey`], [`Error::RsaKeySize`].
    pub fn from_spki_der(der: &[u8]) -> Result<Self, Error> {
        let malformed = Error::MalformedKey {
            what: "public key (SubjectPublicKeyInfo)",
        };
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| malformed.clone())?;
        let parameters: Option<ObjectIdentifier> = spki.algorithm.parameters.and_then(|any| any.decode_as().ok());
        let kind = match (spki.algorithm.oid, parameters) {
            (ID_RSA_ENCRYPTION, _) => {
                let parsed = rsa::public_key(der)?;
                let pkcs1 = spki.subject_public_key.as_bytes().ok_or(malformed.clone())?;
                Kind::Rsa(provider::RsaPublicKey::from_pkcs1(parsed, pkcs1).ok_or(malformed)?)
            }
            (ID_EC_PUBLIC_KEY, Some(ID_P521)) => {
                let point = spki.subject_public_key.as_bytes().ok_or(malformed.clone())?;
                let is_whole = point.first() == Some(&4) && point.len() == 1 + 2 * P521_SCALAR;
                let key = is_whole.then(|| provider::P521Key::from_sec1(point)).flatten();
                Kind::P521(key.ok_or(malformed)?)
            }
            _ => Kind::Ec(VerifyingKey::from_spki_der(der)?),
        };
        Ok(Self(kind))
    }

    /// The key, where it is on P-256 or P-384.
    pub fn as_ec(&self) -> Option<&VerifyingKey> {
        match &self.0 {
            Kind::Ec(key) => Some(key),
            _ => None,
        }
    }

    /// Verifies a signature of `message`.
    ///
    /// # Errors
    /// [`Error::SignatureInvalid`], also where the scheme is not one of the key's kind.
    pub fn verify(&self, scheme: Scheme, encoding: Encoding, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let valid = match (&self.0, scheme) {
            (Kind::Ec(key), Scheme::Ecdsa(hash)) => {
                let der = match encoding {
                    Encoding::Der => None,
                    Encoding::Fixed => {
                        let scalar = key.curve().scalar_bytes();
                        Some(ecdsa::fixed_to_der(scalar, signature).ok_or(Error::SignatureInvalid)?)
                    }
                };
                return key.verify_der(hash, message, der.as_deref().unwrap_or(signature));
            }
            (Kind::P521(key), Scheme::Ecdsa(hash)) => match encoding {
                Encoding::Der => key.verify(hash, message, signature),
                Encoding::Fixed => {
                    ecdsa::fixed_to_der(P521_SCALAR, signature).is_some_and(|der| key.verify(hash, message, &der))
                }
            },
            (Kind::Rsa(key), Scheme::RsaPss(hash)) => key.verify_pss(hash, message, signature),
            (Kind::Rsa(key), Scheme::RsaPkcs1(hash)) => key.verify_pkcs1(hash, message, signature),
            _ => false,
        };
        match valid {
            true => Ok(()),
            false => Err(Error::SignatureInvalid),
        }
    }
}

/// The SubjectPublicKeyInfo of an uncompressed point without its leading 4, as quotes of SGX have their key.
///
/// # Errors
/// [`Error::MalformedKey`] where it is not on the curve.
pub fn ec_key_of_point(curve: Curve, coordinates: &[u8]) -> Result<VerifyingKey, Error> {
    let malformed = Error::MalformedKey {
        what: "public key (coordinates of a point)",
    };
    let point: Vec<u8> = std::iter::once(4).chain(coordinates.iter().copied()).collect();
    let der = match curve {
        Curve::P256 => p256::PublicKey::from_sec1_bytes(&point).ok().and_then(|key| spki(&key)),
        Curve::P384 => p384::PublicKey::from_sec1_bytes(&point).ok().and_then(|key| spki(&key)),
    };
    VerifyingKey::from_spki_der(&der.ok_or(malformed)?)
}

fn spki(key: &impl p384::pkcs8::EncodePublicKey) -> Option<Vec<u8>> {
    key.to_public_key_der().ok()?.to_der().ok()
}

#[cfg(test)]
mod tests;
