//! The provider on RustCrypto: same items as `aws_lc`, no C and no assembler to build.

use aes_gcm::aead::{AeadInOut, Generate, KeyInit};
use aes_gcm::{Aes256Gcm, Key};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use p384::ecdsa::signature::hazmat::PrehashVerifier;

use super::ecdsa::{Curve, HashAlgorithm};

/// SHA-256 of one message.
#[inline]
pub(super) fn sha256(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

/// An expanded AES-256-GCM key, wiped on drop.
pub(super) struct AesKey(Aes256Gcm);

impl AesKey {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    /// Appends the plaintext to `out`; false, with anything after what was in `out`, if the tag is wrong.
    pub(super) fn open(&self, iv: &[u8; 12], aad: &[u8], tag: &[u8; 16], ciphertext: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        out.extend_from_slice(ciphertext);
        let Some(buffer) = out.get_mut(start..) else {
            return false;
        };
        self.0
            .decrypt_inout_detached(iv.into(), aad, buffer.into(), tag.into())
            .is_ok()
    }

    /// Encrypts `buffer` in place.
    pub(super) fn seal(&self, iv: &[u8; 12], aad: &[u8], buffer: &mut [u8]) -> Option<[u8; 16]> {
        self.0
            .encrypt_inout_detached(iv.into(), aad, buffer.into())
            .ok()
            .map(Into::into)
    }
}

/// A public key on one of the two curves.
pub(super) enum PublicKey {
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
}

impl PublicKey {
    /// From a SEC1 point; `None` if it is not on the curve.
    pub(super) fn from_sec1(curve: Curve, point: &[u8]) -> Option<Self> {
        match curve {
            Curve::P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(point).ok().map(Self::P256),
            Curve::P384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(point).ok().map(Self::P384),
        }
    }

    /// Whether the DER signature is of `digest`, which has the length of `hash`.
    pub(super) fn verify(&self, _hash: HashAlgorithm, digest: &[u8], der: &[u8]) -> bool {
        match self {
            Self::P256(key) => p256::ecdsa::Signature::from_der(der)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
            Self::P384(key) => p384::ecdsa::Signature::from_der(der)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
        }
    }
}

/// A public key on P-521.
pub(super) struct P521Key(p521::ecdsa::VerifyingKey);

impl P521Key {
    /// From an uncompressed SEC1 point; `None` if it is not on the curve.
    pub(super) fn from_sec1(point: &[u8]) -> Option<Self> {
        p521::ecdsa::VerifyingKey::from_sec1_bytes(point).ok().map(Self)
    }

    /// Whether the DER signature is of `message`.
    pub(super) fn verify(&self, hash: HashAlgorithm, message: &[u8], der: &[u8]) -> bool {
        // The crate asks for at least half a scalar's length, which SHA-256 is not: zeros in front change no number.
        let mut digest = digest(hash, message);
        digest.splice(0..0, std::iter::repeat_n(0, 66_usize.saturating_sub(digest.len())));
        p521::ecdsa::Signature::from_der(der).is_ok_and(|signature| self.0.verify_prehash(&digest, &signature).is_ok())
    }
}

/// An RSA public key for verification.
pub(super) struct RsaPublicKey(::rsa::RsaPublicKey);

impl RsaPublicKey {
    /// From a key that is already parsed, and its PKCS#1 DER.
    pub(super) fn from_pkcs1(parsed: ::rsa::RsaPublicKey, _pkcs1_der: &[u8]) -> Option<Self> {
        Some(Self(parsed))
    }

    /// RSASSA-PSS with a salt as long as the digest.
    pub(super) fn verify_pss(&self, hash: HashAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        let digest = digest(hash, message);
        match hash {
            HashAlgorithm::Sha256 => self.0.verify(::rsa::Pss::<Sha256>::new(), &digest, signature),
            HashAlgorithm::Sha384 => self.0.verify(::rsa::Pss::<Sha384>::new(), &digest, signature),
            HashAlgorithm::Sha512 => self.0.verify(::rsa::Pss::<Sha512>::new(), &digest, signature),
        }
        .is_ok()
    }

    /// RSASSA-PKCS1-v1_5.
    pub(super) fn verify_pkcs1(&self, hash: HashAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        let digest = digest(hash, message);
        let scheme = match hash {
            HashAlgorithm::Sha256 => ::rsa::Pkcs1v15Sign::new::<Sha256>(),
            HashAlgorithm::Sha384 => ::rsa::Pkcs1v15Sign::new::<Sha384>(),
            HashAlgorithm::Sha512 => ::rsa::Pkcs1v15Sign::new::<Sha512>(),
        };
        self.0.verify(scheme, &digest, signature).is_ok()
    }
}

fn digest(hash: HashAlgorithm, message: &[u8]) -> Vec<u8> {
    match hash {
        HashAlgorithm::Sha256 => Sha256::digest(message).to_vec(),
        HashAlgorithm::Sha384 => Sha384::digest(message).to_vec(),
        HashAlgorithm::Sha512 => Sha512::digest(message).to_vec(),
    }
}

/// An RSA private key for OAEP with SHA-256.
pub(super) struct OaepKey(::rsa::RsaPrivateKey);

impl OaepKey {
    /// From a key that is already parsed.
    pub(super) fn from_pkcs8(parsed: &::rsa::RsaPrivateKey, _pkcs8_der: &[u8]) -> Option<Self> {
        Some(Self(parsed.clone()))
    }

    /// The plaintext of `ciphertext`.
    ///
    /// Blinded with fresh randomness, because the `rsa` crate's private-key operation does not take constant
    /// time (RUSTSEC-2023-0071).
    pub(super) fn decrypt(&self, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let seed = Key::<Aes256Gcm>::try_generate().ok()?;
        let mut rng = ChaCha20Rng::from_seed(seed.into());
        let padding = ::rsa::Oaep::<Sha256>::new();
        self.0
            .decrypt_blinded(&mut rng, padding, ciphertext)
            .ok()
            .map(Zeroizing::new)
    }
}
