//! Public keys from private ones, and out of the formats they are written in (Canton's `crypto.proto`, CryptoKeyFormat).
//!
//! A fingerprint is computed from the bare key: of Ed25519 the 32 bytes, also where they are written inside a
//! SubjectPublicKeyInfo, as newer releases do; of everything else the bytes as they are written.

use p384::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePublicKey, PrivateKeyInfoRef};
use x509_cert::der::Decode;
use x509_cert::der::asn1::{ObjectIdentifier, OctetStringRef};
use x509_cert::spki::SubjectPublicKeyInfoRef;
use zeroize::Zeroizing;

const DER: u64 = 2;
const RAW: u64 = 3;
const SPKI: u64 = 4;
const PKCS8: u64 = 5;
const SYMBOLIC: u64 = 10_000;
const ID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ID_EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ID_P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
/// Bytes of the longest RSA key that is computed with, as PKCS #8: 4096 bits have 2.4 KiB. Canton's have 2048.
const LONGEST_RSA: usize = 3 << 10;

/// What a key computes with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// EdDSA on Curve25519.
    Ed25519,
    /// ECDSA or ECIES on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA.
    Rsa,
    /// One that is not computed with here, and what it is called.
    Unknown(&'static str),
}

impl Algorithm {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Ed25519 => "Ed25519",
            Algorithm::P256 => "P-256",
            Algorithm::P384 => "P-384",
            Algorithm::Rsa => "RSA",
            Algorithm::Unknown(name) => name,
        }
    }
}

/// A public key.
pub struct Public {
    /// What its fingerprint is computed from.
    pub bare: Vec<u8>,
    /// The key itself, in one form however it was written: a point uncompressed.
    plain: Vec<u8>,
}

impl Public {
    /// Whether both are the same key, whatever their forms.
    pub fn is_same(&self, other: &Public) -> bool {
        self.plain == other.plain
    }
}

/// What a private key gives.
pub enum Derived {
    /// Its public key.
    Public(Public),
    /// It is not what its algorithm and format say.
    Malformed,
    /// It can't be told here, and why.
    Unknown(&'static str),
}

fn plain(bare: Vec<u8>) -> Public {
    Public {
        plain: bare.clone(),
        bare,
    }
}

/// A public key as it is written; `None` where it is malformed.
pub fn written(algorithm: Algorithm, format: u64, bytes: &[u8]) -> Option<Public> {
    let public = |plain: Vec<u8>| Public {
        bare: bytes.to_vec(),
        plain,
    };
    match (algorithm, format) {
        (Algorithm::Ed25519, RAW) => ed25519_point(bytes).map(plain),
        (Algorithm::Ed25519, SPKI) => {
            let spki = SubjectPublicKeyInfoRef::from_der(bytes).ok()?;
            let is_ours = spki.algorithm.oid == ID_ED25519 && spki.algorithm.parameters.is_none();
            is_ours.then_some(())?;
            ed25519_point(spki.subject_public_key.as_bytes()?).map(plain)
        }
        (Algorithm::P256, DER | SPKI) => {
            let key = p256::PublicKey::from_public_key_der(bytes).ok()?;
            Some(public(key.to_public_key_der().ok()?.into_vec()))
        }
        (Algorithm::P384, DER | SPKI) => {
            let key = p384::PublicKey::from_public_key_der(bytes).ok()?;
            Some(public(key.to_public_key_der().ok()?.into_vec()))
        }
        (Algorithm::Rsa, DER | SPKI) if bytes.len() <= LONGEST_RSA => {
            let key = rsa::RsaPublicKey::from_public_key_der(bytes).ok()?;
            Some(public(key.to_public_key_der().ok()?.into_vec()))
        }
        (Algorithm::Unknown(_), _) | (_, SYMBOLIC) => Some(plain(bytes.to_vec())),
        _ => None,
    }
}

fn ed25519_point(bytes: &[u8]) -> Option<Vec<u8>> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(bytes.try_into().ok()?).ok()?;
    Some(key.to_bytes().to_vec())
}

/// The public key of a private one.
pub fn from_private(algorithm: Algorithm, format: u64, bytes: &[u8]) -> Derived {
    let derived = match (algorithm, format) {
        (Algorithm::Unknown(_), _) => {
            return Derived::Unknown("this program does not compute with keys of its algorithm");
        }
        (_, SYMBOLIC) => return Derived::Unknown("it is a symbolic key, which only tests of Canton use"),
        (Algorithm::Ed25519, RAW) => ed25519(bytes),
        (Algorithm::Ed25519, DER | PKCS8) => ed25519_pkcs8(bytes),
        (Algorithm::P256, DER | PKCS8) => is_on(bytes, ID_P256).then_some(()).and_then(|()| {
            let key = p256::SecretKey::from_pkcs8_der(bytes).ok()?.public_key();
            key.to_public_key_der().ok().map(|der| plain(der.into_vec()))
        }),
        (Algorithm::P384, DER | PKCS8) => is_on(bytes, ID_P384).then_some(()).and_then(|()| {
            let key = p384::SecretKey::from_pkcs8_der(bytes).ok()?.public_key();
            key.to_public_key_der().ok().map(|der| plain(der.into_vec()))
        }),
        (Algorithm::Rsa, DER | PKCS8) if bytes.len() <= LONGEST_RSA => rsa::RsaPrivateKey::from_pkcs8_der(bytes)
            .ok()
            .and_then(|key| key.to_public_key().to_public_key_der().ok())
            .map(|der| plain(der.into_vec())),
        _ => None,
    };
    derived.map_or(Derived::Malformed, Derived::Public)
}

fn ed25519(seed: &[u8]) -> Option<Public> {
    let seed = Zeroizing::new(<[u8; 32]>::try_from(seed).ok()?);
    let key = ed25519_dalek::SigningKey::from_bytes(&seed);
    Some(plain(key.verifying_key().to_bytes().to_vec()))
}

fn ed25519_pkcs8(der: &[u8]) -> Option<Public> {
    let info = PrivateKeyInfoRef::from_der(der).ok()?;
    let is_ours = info.algorithm.oid == ID_ED25519 && info.algorithm.parameters.is_none();
    is_ours.then_some(())?;
    let seed = <&OctetStringRef>::from_der(info.private_key.as_bytes()).ok()?;
    let public = ed25519(seed.as_bytes())?;
    // RFC 8410 lets the public key stand beside the private one.
    match info.public_key {
        Some(beside) if beside.as_bytes()? != public.bare => None,
        _ => Some(public),
    }
}

/// Whether a PKCS #8 key says to be on this curve, wherever it says so.
fn is_on(der: &[u8], curve: ObjectIdentifier) -> bool {
    let Ok(info) = PrivateKeyInfoRef::from_der(der) else {
        return false;
    };
    let outer = info
        .algorithm
        .parameters
        .and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    info.algorithm.oid == ID_EC_PUBLIC_KEY && outer == Some(curve)
}
