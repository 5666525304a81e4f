//! ECDSA on P-256 and P-384: node signatures, COSE signatures, certificates.
//!
//! Keys are parsed once and cheap to clone. Verification belongs to the provider; signing is RustCrypto in
//! both, because on a ledger it must be deterministic (RFC 6979): the same seed gives the same ledger, byte for byte.

use std::sync::Arc;

use p384::ecdsa::signature::hazmat::PrehashSigner;
use p384::ecdsa::signature::{RandomizedSigner, Signer};
use p384::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey, LineEnding, PrivateKeyInfoRef};
use rand_core::CryptoRng;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::spki::SubjectPublicKeyInfoRef;
use zeroize::Zeroizing;

pub use super::curve::{Curve, HashAlgorithm};
use super::digest::{Digest, sha256};
use super::{error::Error, pem, provider};

const ID_EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ID_RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ID_P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ID_P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// The public key of a node, a service or a member, parsed once.
#[derive(Clone)]
pub struct VerifyingKey(Arc<Parsed>);

struct Parsed {
    curve: Curve,
    spki_der: Vec<u8>,
    id: Digest,
    key: provider::PublicKey,
}

impl VerifyingKey {
    /// Reads a DER SubjectPublicKeyInfo whose point may be compressed or not.
    ///
    /// # Errors
    /// [`Error::UnsupportedKey`] for RSA, other curves and other algorithms; [`Error::MalformedKey`] for broken
    /// DER or a point that is not on the curve.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, Error> {
        let malformed = Error::MalformedKey {
            what: "public key (SubjectPublicKeyInfo)",
        };
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| malformed.clone())?;
        let parameters = spki.algorithm.parameters.and_then(|any| any.decode_as().ok());
        let curve = supported_curve(spki.algorithm.oid, parameters)?;
        let point = spki.subject_public_key.as_bytes().ok_or(malformed.clone())?;
        // Both providers would also have to agree on hybrid points and the point at infinity: refuse them here.
        let expected = match point.first() {
            Some(2 | 3) => 1 + curve.scalar_bytes(),
            Some(4) => 1 + 2 * curve.scalar_bytes(),
            _ => return Err(malformed),
        };
        if point.len() != expected {
            return Err(malformed);
        }
        let key = provider::PublicKey::from_sec1(curve, point).ok_or(malformed)?;
        Ok(Self(Arc::new(Parsed {
            curve,
            spki_der: der.to_vec(),
            id: sha256(der),
            key,
        })))
    }

    /// Reads a PEM `PUBLIC KEY`.
    ///
    /// # Errors
    /// As [`VerifyingKey::from_spki_der`], and [`Error::MalformedPem`] or [`Error::WrongPemKind`].
    pub fn from_spki_pem(pem: &str) -> Result<Self, Error> {
        let block = pem::first_block(pem)?;
        match block.label {
            "PUBLIC KEY" => Self::from_spki_der(&block.der),
            other => Err(pem::wrong_kind("a public key", other)),
        }
    }

    /// The curve of the key.
    pub fn curve(&self) -> Curve {
        self.0.curve
    }

    /// The DER SubjectPublicKeyInfo, as it was given.
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki_der
    }

    /// The same as PEM, `PUBLIC KEY`.
    pub fn spki_pem(&self) -> String {
        pem::encode("PUBLIC KEY", self.spki_der())
    }

    /// SHA-256 of the SPKI DER. Its hex is the node id, the service identity and the COSE `kid`.
    pub fn id(&self) -> Digest {
        self.0.id
    }

    /// Verifies a DER signature of a 32-byte digest used directly, without further hashing, even with P-384
    /// (format specification, section 6.2).
    ///
    /// # Errors
    /// [`Error::SignatureInvalid`].
    pub fn verify_prehashed_der(&self, digest: &Digest, der_sig: &[u8]) -> Result<(), Error> {
        self.check(HashAlgorithm::Sha256, digest, der_sig)
    }

    /// Verifies a raw `r‖s` signature as COSE ES256 or ES384 has it: the message is hashed by the curve's hash.
    ///
    /// # Errors
    /// [`Error::SignatureInvalid`].
    pub fn verify_fixed(&self, message: &[u8], sig: &[u8]) -> Result<(), Error> {
        let der = fixed_to_der(self.curve().scalar_bytes(), sig).ok_or(Error::SignatureInvalid)?;
        self.verify_der(self.curve().hash(), message, &der)
    }

    /// Verifies a DER signature of `message`, as certificates have it.
    ///
    /// # Errors
    /// [`Error::SignatureInvalid`].
    pub fn verify_der(&self, hash: HashAlgorithm, message: &[u8], der_sig: &[u8]) -> Result<(), Error> {
        match hash {
            HashAlgorithm::Sha256 => self.check(hash, &Sha256::digest(message), der_sig),
            HashAlgorithm::Sha384 => self.check(hash, &Sha384::digest(message), der_sig),
            HashAlgorithm::Sha512 => self.check(hash, &Sha512::digest(message), der_sig),
        }
    }

    fn check(&self, hash: HashAlgorithm, digest: &[u8], der_sig: &[u8]) -> Result<(), Error> {
        let verify = || self.0.key.verify(hash, digest, der_sig);
        #[cfg(feature = "remember-verified")]
        let valid = super::memo::remember(&[&self.id(), &[hash as u8], digest, der_sig], verify);
        #[cfg(not(feature = "remember-verified"))]
        let valid = verify();
        if valid { Ok(()) } else { Err(Error::SignatureInvalid) }
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for VerifyingKey {}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifyingKey({:?} {})", self.curve(), hex::encode(self.id()))
    }
}

/// The curve that an algorithm identifier names.
fn supported_curve(algorithm: ObjectIdentifier, parameters: Option<ObjectIdentifier>) -> Result<Curve, Error> {
    let found = match (algorithm, parameters) {
        (ID_EC_PUBLIC_KEY, Some(ID_P256)) => return Ok(Curve::P256),
        (ID_EC_PUBLIC_KEY, Some(ID_P384)) => return Ok(Curve::P384),
        (ID_EC_PUBLIC_KEY, Some(ID_P521)) => "an elliptic-curve key on P-521".to_owned(),
        (ID_EC_PUBLIC_KEY, Some(curve)) => format!("an elliptic-curve key on curve {curve}"),
        (ID_EC_PUBLIC_KEY, None) => "an elliptic-curve key without a named curve".to_owned(),
        (ID_RSA_ENCRYPTION, _) => "an RSA key".to_owned(),
        (other, _) => format!("a key of algorithm {other}"),
    };
    Err(Error::UnsupportedKey { found })
}

/// A raw `r‖s` signature as a DER `SEQUENCE { INTEGER r, INTEGER s }`, of scalars of this many bytes, at most 66; `None` if
/// its length is wrong.
pub(super) fn fixed_to_der(scalar_bytes: usize, sig: &[u8]) -> Option<Vec<u8>> {
    if sig.len() != 2 * scalar_bytes {
        return None;
    }
    let (r, s) = sig.split_at_checked(scalar_bytes)?;
    // At most 2 + 67 bytes for each: the length of a number fits the one-byte form, that of both may need a second byte.
    let mut body = Vec::with_capacity(138);
    for number in [r, s] {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let digits = number.get(zeros..)?;
        let sign = digits.first().is_none_or(|byte| *byte >= 0x80);
        body.extend([0x02, u8::try_from(digits.len() + usize::from(sign)).ok()?]);
        body.extend(sign.then_some(0));
        body.extend(digits);
    }
    let mut der = Vec::with_capacity(3 + body.len());
    der.push(0x30);
    der.extend((body.len() >= 0x80).then_some(0x81));
    der.push(u8::try_from(body.len()).ok()?);
    der.extend(body);
    Some(der)
}

/// The other form of a raw signature, `r‖n−s`: whoever has one has both, and both are valid.
///
/// # Errors
/// [`Error::SignatureInvalid`] if it is no signature of the curve.
pub fn other_form(curve: Curve, signature: &[u8]) -> Result<Vec<u8>, Error> {
    let invalid = |_| Error::SignatureInvalid;
    match curve {
        Curve::P256 => {
            let (r, s) = p256::ecdsa::Signature::from_slice(signature)
                .map_err(invalid)?
                .split_scalars();
            let other = p256::ecdsa::Signature::from_scalars(r, -s).map_err(invalid)?;
            Ok(other.to_bytes().to_vec())
        }
        Curve::P384 => {
            let (r, s) = p384::ecdsa::Signature::from_slice(signature)
                .map_err(invalid)?
                .split_scalars();
            let other = p384::ecdsa::Signature::from_scalars(r, -s).map_err(invalid)?;
            Ok(other.to_bytes().to_vec())
        }
    }
}

/// A private key of a node, a service or a member.
pub struct SigningKey {
    key: Private,
    public: VerifyingKey,
}

/// Both wipe themselves on drop.
pub(super) enum Private {
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
}

impl SigningKey {
    /// A new key; the same generator state gives the same key.
    pub fn generate(curve: Curve, rng: &mut impl CryptoRng) -> Self {
        let mut scalar = Zeroizing::new([0; 48]);
        let (bytes, _) = scalar.split_at_mut(curve.scalar_bytes());
        loop {
            rng.fill_bytes(bytes);
            // Fails for zero and for what is not below the group order: at most once in 2^32 for a fair generator.
            let key = match curve {
                Curve::P256 => p256::ecdsa::SigningKey::from_slice(bytes).map(Private::P256),
                Curve::P384 => p384::ecdsa::SigningKey::from_slice(bytes).map(Private::P384),
            };
            if let Ok(key) = key {
                return Self::new(key);
            }
        }
    }

    /// Reads a PEM `PRIVATE KEY` (PKCS#8) or `EC PRIVATE KEY` (SEC1).
    ///
    /// # Errors
    /// [`Error::MalformedPem`], [`Error::WrongPemKind`], [`Error::UnsupportedKey`] or [`Error::MalformedKey`].
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, Error> {
        const EXPECTED: &str = "an elliptic-curve private key";
        let malformed = Error::MalformedKey { what: EXPECTED };
        // `openssl ecparam -genkey` puts the curve in a block of its own in front of the key.
        let pem = pem
            .split_once("-----END EC PARAMETERS-----")
            .map_or(pem, |(_, rest)| rest);
        let block = pem::first_block(pem)?;
        let key = match block.label {
            "PRIVATE KEY" => {
                let info = PrivateKeyInfoRef::from_der(&block.der).map_err(|_| malformed.clone())?;
                let parameters = info.algorithm.parameters.and_then(|any| any.decode_as().ok());
                match supported_curve(info.algorithm.oid, parameters)? {
                    Curve::P256 => p256::ecdsa::SigningKey::from_pkcs8_der(&block.der).map(Private::P256),
                    Curve::P384 => p384::ecdsa::SigningKey::from_pkcs8_der(&block.der).map(Private::P384),
                }
                .map_err(|_| malformed)?
            }
            "EC PRIVATE KEY" => {
                let p256 = p256::SecretKey::from_sec1_der(&block.der).map(|key| Private::P256(key.into()));
                let p384 = || p384::SecretKey::from_sec1_der(&block.der).map(|key| Private::P384(key.into()));
                p256.or_else(|_| p384()).map_err(|_| malformed)?
            }
            other => return Err(pem::wrong_kind(EXPECTED, other)),
        };
        Ok(Self::new(key))
    }

    #[allow(clippy::expect_used)] // The public key was just derived from a valid private one.
    fn new(key: Private) -> Self {
        let spki = match &key {
            Private::P256(key) => key.verifying_key().to_public_key_der(),
            Private::P384(key) => key.verifying_key().to_public_key_der(),
        };
        let spki = spki.expect("a public key of fixed size encodes");
        let public = VerifyingKey::from_spki_der(spki.as_bytes()).expect("a derived public key is valid");
        Self { key, public }
    }

    /// The key as a PEM `PRIVATE KEY`, wiped on drop.
    #[allow(clippy::expect_used)] // Encoding a key of fixed size into memory has no failing path.
    pub fn to_pkcs8_pem(&self) -> Zeroizing<String> {
        match &self.key {
            Private::P256(key) => key.to_pkcs8_pem(LineEnding::LF),
            Private::P384(key) => key.to_pkcs8_pem(LineEnding::LF),
        }
        .expect("a private key of fixed size encodes")
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.public.clone()
    }

    pub(super) fn private(&self) -> &Private {
        &self.key
    }

    /// DER signature of a 32-byte digest used directly (format specification, section 6.2).
    #[allow(clippy::expect_used)] // RFC 6979 retries until it has a signature: it returns no error.
    pub fn sign_prehashed_der(&self, digest: &Digest) -> Vec<u8> {
        match &self.key {
            Private::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign_prehash(digest).expect("never fails");
                signature.to_der().as_bytes().to_vec()
            }
            Private::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign_prehash(digest).expect("never fails");
                signature.to_der().as_bytes().to_vec()
            }
        }
    }

    /// Raw `r‖s` signature of `message`, hashed by the curve's hash: COSE ES256 (64 bytes) or ES384 (96).
    pub fn sign_fixed(&self, message: &[u8]) -> Vec<u8> {
        match &self.key {
            Private::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            Private::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
        }
    }

    /// As [`SigningKey::sign_fixed`], with numbers from `rng` mixed into the nonce (RFC 6979, section 3.6): no two
    /// signatures of a message are the same, and a weak generator does no harm.
    pub fn sign_fixed_hedged(&self, rng: &mut impl CryptoRng, message: &[u8]) -> Vec<u8> {
        match &self.key {
            Private::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign_with_rng(rng, message);
                signature.to_bytes().to_vec()
            }
            Private::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign_with_rng(rng, message);
                signature.to_bytes().to_vec()
            }
        }
    }

    /// DER signature of `message`, hashed by the curve's hash.
    pub fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        match &self.key {
            Private::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
            Private::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
        }
    }
}

/// What a private key in PKCS#8 is for, where it is not an RSA key: for error messages.
pub(super) fn describe_pkcs8(der: &[u8]) -> Option<&'static str> {
    let info = PrivateKeyInfoRef::from_der(der).ok()?;
    match info.algorithm.oid {
        ID_RSA_ENCRYPTION => Some("RSA"),
        ID_EC_PUBLIC_KEY => Some("EC"),
        _ => Some("other"),
    }
}

#[cfg(test)]
mod tests;
